"""One linear layer on frozen features, trained as the Open-PMC-18M evaluation does, in seconds.

Supplement of arXiv 2506.02738, and the public code beside it: a single linear layer with bias on features that are not
normalised, 40 epochs of AdamW (learning rate 0.1, weight decay 0.1 on the weights and none on the bias, betas 0.9 and
0.98, eps 1e-6), cosine to 0 over all steps, batches of 64, seed 0, the last epoch reported. Deviations: float32
instead of mixed float16; rows are shuffled every epoch (`shuffle=False` gives the published order, which learns
little from files sorted by class); the training split is not augmented, since features are extracted once.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from climb_hf.errors import OptionError, SchemaError, TrainingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["LinearHead", "ProbeSettings", "fit_linear_head"]

_CHUNK = 128  # batches fetched at once
_SCORED = 1 << 16  # rows scored at once
_SMALL_STEP = 10_000_000  # multiplications of a step below which one thread is faster


@dataclass(frozen=True)
class ProbeSettings:
    """Hyperparameters of the linear layer; the defaults are the protocol's.

    Args:
        epochs (`int`, *optional*, defaults to `40`): passes over the rows.
        learning_rate (`float`, *optional*, defaults to `0.1`): at the first step; cosine to 0 per step, no warm-up.
        weight_decay (`float`, *optional*, defaults to `0.1`): decoupled, on the weights only.
        beta1 (`float`, *optional*, defaults to `0.9`): of AdamW.
        beta2 (`float`, *optional*, defaults to `0.98`): of AdamW.
        eps (`float`, *optional*, defaults to `1e-6`): of AdamW.
        batch_size (`int`, *optional*, defaults to `64`): rows per step; the last batch of an epoch may be smaller.
        seed (`int`, *optional*, defaults to `0`): of the initial weights and the order of the rows.
        shuffle (`bool`, *optional*, defaults to `True`): a new order every epoch.

    Raises:
        OptionError: a value out of range.
    """

    epochs: int = 40
    learning_rate: float = 0.1
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.98
    eps: float = 1e-6
    batch_size: int = 64
    seed: int = 0
    shuffle: bool = True

    def __post_init__(self) -> None:
        for name, lowest in (("epochs", 1), ("batch_size", 1), ("seed", 0), ("weight_decay", 0)):
            if getattr(self, name) < lowest:
                raise OptionError(f"`{name}` must be at least {lowest}, found {getattr(self, name)!r}.")
        if not self.learning_rate > 0:
            raise OptionError(f"`learning_rate` must be above 0, found {self.learning_rate!r}.")

    def as_dict(self) -> dict[str, Any]:
        """Return the values by name."""
        return asdict(self)


@dataclass(frozen=True)
class LinearHead:
    """A trained linear layer.

    Args:
        weight (`Tensor`): (K, width) float32.
        bias (`Tensor`): (K,) float32.
        losses (`list[float]`): mean training loss of every epoch.
        n_rows (`int`): rows that it was trained on.
        n_left_out (`int`): rows without a usable label.
    """

    weight: "Tensor"
    bias: "Tensor"
    losses: list[float]
    n_rows: int
    n_left_out: int

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Score features.

        Args:
            features (`np.ndarray`): (n, width) float16 or float32.

        Returns:
            `np.ndarray`: (n, K) float32 logits.
        """
        import torch

        found = np.empty((len(features), len(self.bias)), dtype=np.float32)
        for start in range(0, len(features), _SCORED):
            block = torch.from_numpy(np.array(features[start : start + _SCORED])).float()
            found[start : start + _SCORED] = torch.addmm(self.bias, block, self.weight.T).numpy()
        return found


def fit_linear_head(
    features: np.ndarray,
    labels: np.ndarray,
    known: np.ndarray | None = None,
    *,
    multi_label: bool = False,
    settings: ProbeSettings | None = None,
    after_epoch: "Callable[[int, LinearHead], None] | None" = None,
) -> LinearHead:
    """Train one linear layer.

    The features are read into memory once, in the precision they are stored in; a batch is a slice of an epoch's
    permutation. Single-label rows have the softmax cross-entropy, multi-label rows the mean binary cross-entropy over
    their known classes, as everywhere in this library.

    Args:
        features (`np.ndarray`): (n, width) float16 or float32, not normalised; a memory map is fine.
        labels (`np.ndarray`): (n, K) bool positives.
        known (`np.ndarray`, *optional*): (n, K) bool, false where a label is uncertain; such cells do not count.
        multi_label (`bool`, *optional*, defaults to `False`): the kind of the rows. Single-label rows without exactly
            one known positive are left out.
        settings (`ProbeSettings`, *optional*): hyperparameters.
        after_epoch (`Callable`, *optional*): called with the number of the epoch and the layer as it is then.

    Returns:
        `LinearHead`: of the last epoch.

    Raises:
        SchemaError: shapes that differ, or no row to train on.
        TrainingError: a loss that is not finite.

    Example:
        >>> rows = np.array([[-1.0], [-2.0], [1.0], [2.0]], dtype=np.float16)
        >>> head = fit_linear_head(rows, np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=bool))
        >>> head.scores(rows).argmax(1).tolist()
        [0, 0, 1, 1]
    """
    settings = settings or ProbeSettings()
    with _few_threads(labels.shape[-1] * features.shape[-1] * settings.batch_size):
        return _fit(features, labels, known, multi_label, settings, after_epoch)


@contextmanager
def _few_threads(work: int) -> Iterator[None]:
    """Use one thread for small steps: handing them out costs more than it saves, much more on a busy machine."""
    import torch

    before = torch.get_num_threads()
    if work < _SMALL_STEP:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fit(
    features: np.ndarray,
    labels: np.ndarray,
    known: np.ndarray | None,
    multi_label: bool,
    settings: ProbeSettings,
    after_epoch: "Callable[[int, LinearHead], None] | None",
) -> LinearHead:
    import torch

    used, x, y, mask = _usable(features, labels, known, multi_label)
    generator = torch.Generator().manual_seed(settings.seed)
    weight, bias = _initial(y.shape[1], x.shape[1], generator)
    weight.grad, bias.grad = torch.empty_like(weight), torch.empty_like(bias)
    groups: list[dict[str, Any]] = [{"params": [weight]}, {"params": [bias], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.eps,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    gradient = _multi_label_gradient if multi_label else _single_label_gradient
    per_epoch = math.ceil(len(x) / settings.batch_size)
    losses: list[float] = []
    for epoch in range(settings.epochs):
        order = torch.randperm(len(x), generator=generator) if settings.shuffle else torch.arange(len(x))
        total = torch.zeros(())
        for step, (rows, wanted, cells) in enumerate(_batches(order, x, y, mask, settings.batch_size)):
            rate = _cosine(settings.learning_rate, epoch * per_epoch + step, settings.epochs * per_epoch)
            for group in optimizer.param_groups:
                group["lr"] = rate
            error, loss = gradient(torch.addmm(bias.detach(), rows, weight.detach().T), wanted, cells)
            total += loss
            torch.mm(error.T, rows, out=weight.grad)
            torch.sum(error, 0, out=bias.grad)
            optimizer.step()
        losses.append(float(total) / len(x))
        if not math.isfinite(losses[-1]):
            raise TrainingError(
                f"the loss of the linear layer is not finite in epoch {epoch + 1}; look at the range of the features, "
                f"or lower `learning_rate` ({settings.learning_rate:g})."
            )
        head = LinearHead(weight.detach().clone(), bias.detach().clone(), losses, used, len(features) - used)
        if after_epoch is not None:
            after_epoch(epoch, head)
    return head


def _usable(
    features: np.ndarray, labels: np.ndarray, known: np.ndarray | None, multi_label: bool
) -> "tuple[int, Tensor, Tensor, Tensor | None]":
    import torch

    known = np.ones(labels.shape, bool) if known is None else known
    if not (labels.ndim == features.ndim == 2 and labels.shape == known.shape and len(features) == len(labels)):
        raise SchemaError(
            f"`features` must be (n, width) and `labels` and `known` (n, K), found {features.shape}, {labels.shape} "
            f"and {known.shape}."
        )
    positive = labels & known
    valid = known.any(axis=1) if multi_label else positive.sum(axis=1) == 1
    if not valid.any():
        raise SchemaError(f"none of the {len(labels)} rows has a usable label; nothing can be trained.")
    chosen = features if valid.all() else features[valid]
    x = torch.from_numpy(np.array(chosen))
    whole = bool(known[valid].all())
    # of a single-label row one positive is known: an uncertain class beside it leaves the softmax
    cells = None if whole else torch.from_numpy(known[valid])
    return len(x), x, torch.from_numpy(positive[valid].astype(np.float32)), cells


def _initial(classes: int, width: int, generator: "torch.Generator") -> "tuple[Any, Any]":
    """Draw the weights as `torch.nn.Linear` does: uniform in ±1/sqrt(width)."""
    import torch

    bound = 1 / math.sqrt(width)
    parts = (torch.empty(classes, width), torch.empty(classes))
    return tuple(torch.nn.Parameter(part.uniform_(-bound, bound, generator=generator)) for part in parts)  # type: ignore[return-value]


def _batches(order: "Tensor", x: "Tensor", y: "Tensor", mask: "Tensor | None", size: int) -> Any:  # noqa: ANN401
    for start in range(0, len(order), size * _CHUNK):
        chosen = order[start : start + size * _CHUNK]
        rows, wanted = x.index_select(0, chosen).float(), y.index_select(0, chosen)
        cells = None if mask is None else mask.index_select(0, chosen)
        for at in range(0, len(chosen), size):
            yield rows[at : at + size], wanted[at : at + size], None if cells is None else cells[at : at + size]


def _single_label_gradient(logits: "Tensor", wanted: "Tensor", cells: "Tensor | None") -> "tuple[Tensor, Tensor]":
    """Return the gradient of the batch's mean loss by the logits, and the sum of its losses."""
    if cells is not None:
        logits = logits.masked_fill(~cells, float("-inf"))
    logs = logits.log_softmax(1)
    losses = logs.mul(wanted) if cells is None else logs.masked_fill(wanted == 0, 0.0)
    return (logs.exp_() - wanted).div_(len(logits)), -losses.sum()


def _multi_label_gradient(logits: "Tensor", wanted: "Tensor", cells: "Tensor | None") -> "tuple[Tensor, Tensor]":
    from torch.nn import functional

    losses = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    error = logits.sigmoid() - wanted
    if cells is None:
        return error.div_(logits.numel()), losses.sum() / logits.shape[1]
    share = cells / cells.sum(1, keepdim=True)
    return error * share / len(logits), (losses * share).sum()


def _cosine(rate: float, step: int, steps: int) -> float:
    return rate * 0.5 * (1 + math.cos(math.pi * step / steps))
