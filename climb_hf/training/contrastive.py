"""The contrastive objective for pairs of image and text: symmetric InfoNCE over the pairs of all processes.

The loss is that of CLIP (Radford et al., 2021): cross-entropy of each image over all texts and of each text over all
images, averaged. Every process gathers the embeddings of the others with their gradient and computes the whole matrix,
as in mmlearn with `gather_with_grad=True, local_loss=False`.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from climb_hf.errors import OptionError

__all__ = [
    "DEFAULT_LOGIT_SCALE",
    "clamp_logit_scale",
    "contrastive_loss",
    "gather_with_gradient",
    "recall_at_1",
    "warmup_cosine",
]

#: Logarithm of the scale at the beginning, 1 / 0.07.
DEFAULT_LOGIT_SCALE = math.log(1 / 0.07)

_BLOCK = 1024  # rows of a similarity matrix held at once


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:  # noqa: ANN401 - the context of autograd
        world = torch.distributed.get_world_size()
        parts = [torch.empty_like(local) for _ in range(world)]
        torch.distributed.all_gather(parts, local.contiguous())
        ctx.rows = len(local)
        return torch.cat(parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ANN401 - see forward
        gradient = gradient.contiguous().clone()
        torch.distributed.all_reduce(gradient)
        first = torch.distributed.get_rank() * ctx.rows
        return gradient[first : first + ctx.rows]


def gather_with_gradient(local: Tensor) -> Tensor:
    """Concatenate the rows of all processes, such that gradients find their way back to the process of each row.

    The backward pass sums the gradients that all processes have for a row. Where every process computes the same loss
    L of the gathered rows, a row's gradient is thus W · dL/drow, and the average over W processes that
    `DistributedDataParallel` takes is the gradient of L: the loss needs no factor.

    Args:
        local (`Tensor`): (n, …), with the same n and shape on every process.

    Returns:
        `Tensor`: (W · n, …) in the order of the ranks; `local` itself without a process group.

    Example:
        >>> gather_with_gradient(torch.eye(2)).shape
        torch.Size([2, 2])
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return local
    if torch.distributed.get_world_size() == 1:
        return local
    gathered: Tensor = _Gather.apply(local)
    return gathered


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor | float, text_keys: Tensor | None = None) -> Tensor:
    """Return the symmetric InfoNCE loss of pairs.

    Args:
        image (`Tensor`): (n, d) float, unit length.
        text (`Tensor`): (n, d) float, unit length; row i belongs to image i.
        scale (`Tensor` or `float`): what the cosine similarities are multiplied with.
        text_keys (`Tensor`, *optional*): (n,) int64, equal for equal texts: pairs with the same text are then no
            negatives of each other. Without it every other row is a negative.

    Returns:
        `Tensor`: scalar, in nats: log n for embeddings that know nothing.

    Example:
        >>> same = torch.ones(4, 2) / 2**0.5
        >>> round(float(contrastive_loss(same, same, 10.0)), 4)  # log 4
        1.3863
    """
    logits = scale * (image @ text.T)  # (n, d), (n, d) -> (n, n)
    if text_keys is not None:
        same = text_keys[:, None] == text_keys[None, :]
        logits = logits.masked_fill(same.fill_diagonal_(False), -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def recall_at_1(queries: Tensor, gallery: Tensor) -> float:
    """Return the share of queries whose own row of the gallery is the most similar.

    Args:
        queries (`Tensor`): (n, d) float32, unit length.
        gallery (`Tensor`): (n, d) float32, unit length; row i is the one right answer to query i.

    Returns:
        `float`: in [0, 1]; a query whose right answer ties with k others for the first place counts 1 / (k + 1), what
        a random order among equals gives. NaN without queries.

    Example:
        >>> recall_at_1(torch.eye(3), torch.eye(3)), recall_at_1(torch.ones(4, 1), torch.ones(4, 1))
        (1.0, 0.25)
    """
    if not len(queries):
        return float("nan")
    hits = 0.0
    for first in range(0, len(queries), _BLOCK):
        scores = queries[first : first + _BLOCK] @ gallery.T  # (block, d), (n, d) -> (block, n)
        own = scores.diagonal(offset=first)[:, None]
        leads = ~(scores > own).any(1)
        hits += float((leads / (scores == own).sum(1)).sum())
    return hits / len(queries)


def warmup_cosine(step: int, steps: int, warmup: int) -> float:
    """Return the factor of the learning rate at one optimizer step.

    (s + 1) / W for s < W, after that (1 + cos(π (s − W) / (T − W))) / 2: the schedule of mmlearn. transformers' own
    `cosine` begins with a step at rate zero.

    Args:
        step (`int`): s, optimizer steps done before, from 0.
        steps (`int`): T, of the whole training.
        warmup (`int`): W, of the linear warm-up.

    Returns:
        `float`: in [0, 1].

    Example:
        >>> [round(warmup_cosine(step, 12, 2), 3) for step in (0, 1, 2, 7, 12)]
        [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * min((step - warmup) / max(steps - warmup, 1), 1.0)))


def clamp_logit_scale(logit_scale: nn.Parameter, largest: float) -> None:
    """Keep the learned scale at or below a bound, in place.

    Args:
        logit_scale (`nn.Parameter`): logarithm of the scale.
        largest (`float`): bound of the scale itself.
    """
    with torch.no_grad():
        logit_scale.clamp_(max=math.log(largest))


def effective_scale(logit_scale: Tensor, form: Literal["single", "squared"]) -> Tensor:
    """Return what similarities are multiplied with.

    Args:
        logit_scale (`Tensor`): scalar, the learned logarithm of the scale s.
        form (`str`): `"single"` for s, `"squared"` for s².

    Returns:
        `Tensor`: scalar.

    Raises:
        OptionError: another form.
    """
    if form not in ("single", "squared"):
        raise OptionError(f"`logit_scale` must be `single` or `squared`, found {form!r}.")
    # At the commit that the Open-PMC-18M runs pinned, mmlearn scales both towers' embeddings and not the logits, so
    # these are s² · cos. Later releases and CLIP have one s; so do we, and `squared` gives the other back.
    scale = logit_scale.exp()
    return scale if form == "single" else scale.square()
