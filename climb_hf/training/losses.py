"""The masked classification loss: every row is scored over the classes of its own source only.

A row of a multi-label source contributes the mean binary cross-entropy over V_k, a row of a single-label source the
softmax cross-entropy over V_k; the batch loss is the mean over rows of either kind (CLIMB paper, multitask training).
Everything is computed in float32 whatever the precision of the model, a logit outside V_k has a gradient of exactly
zero, and a NaN or infinite logit inside V_k makes the loss NaN or infinite: nothing is hidden.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from climb_hf.errors import SchemaError

__all__ = ["class_weights_from_counts", "masked_classification_loss", "masked_row_losses", "valid_rows"]


def valid_rows(labels: Tensor, target_mask: Tensor | None = None, exclusive: Tensor | None = None) -> Tensor:
    """Tell which rows have a defined loss.

    A row is valid if its mask holds at least one class and, where the row is exclusive, exactly one of the classes
    inside the mask is positive. All other rows are left out of the loss and of its denominator.

    Args:
        labels (`Tensor`): (batch, classes), 0/1 of any dtype; positive means > 0.5.
        target_mask (`Tensor`, *optional*): (batch, classes), true where a class belongs to the row's source and its
            label is known. Defaults to all classes.
        exclusive (`Tensor`, *optional*): (batch,), true for rows of single-label sources. Defaults to all false.

    Returns:
        `Tensor`: (batch,) bool.

    Raises:
        SchemaError: shapes that do not fit together.

    Example:
        >>> labels = torch.tensor([[1, 0, 1], [1, 0, 1]])
        >>> valid_rows(labels, torch.tensor([[1, 1, 0], [1, 1, 1]]), torch.tensor([True, True])).tolist()
        [True, False]
    """
    target_mask, exclusive = _checked(labels, target_mask, exclusive)
    positives = ((labels > 0.5) & target_mask).sum(dim=1)
    return target_mask.any(dim=1) & (~exclusive | (positives == 1))


def masked_row_losses(
    logits: Tensor,
    labels: Tensor,
    target_mask: Tensor | None = None,
    exclusive: Tensor | None = None,
    *,
    class_weights: Tensor | None = None,
    positive_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the loss of every row.

    Args:
        logits (`Tensor`): (batch, classes), any floating dtype.
        labels (`Tensor`): (batch, classes), 0/1; multi-label rows also take probabilities.
        target_mask (`Tensor`, *optional*): (batch, classes), true inside V_k. Defaults to all classes.
        exclusive (`Tensor`, *optional*): (batch,), true for single-label rows. Defaults to all false.
        class_weights (`Tensor`, *optional*): (classes,), factors of the classes' terms in multi-label rows, for
            positives and negatives alike (`class_weights_from_counts`). Exclusive rows are not weighted.
        positive_weights (`Tensor`, *optional*): (classes,) or a scalar, factors of the positive part of those terms
            alone (PyTorch's `pos_weight`).

    Returns:
        `tuple[Tensor, Tensor]`: (batch,) float32 losses, 0 where a row is not valid, and (batch,) bool validity.

    Raises:
        SchemaError: shapes that do not fit together.
    """
    if logits.shape != labels.shape:
        raise SchemaError(
            f"`logits` and `labels` must have one shape (batch, classes), found {tuple(logits.shape)} and "
            f"{tuple(labels.shape)}; build the labels over the model's own `config.vocabulary`."
        )
    valid = valid_rows(labels, target_mask, exclusive)
    target_mask, exclusive = _checked(labels, target_mask, exclusive)
    logits, labels = logits.float(), labels.float()
    # Invalid rows get a full mask, so that their (discarded) loss and its gradient stay finite.
    mask = target_mask | ~valid.unsqueeze(1)

    inside = torch.where(mask, logits, 0.0)
    factor = None if positive_weights is None else positive_weights.to(inside)
    terms = functional.binary_cross_entropy_with_logits(inside, labels, reduction="none", pos_weight=factor)
    if class_weights is not None:
        terms = terms * class_weights.to(terms)
    binary = torch.where(mask, terms, 0.0).sum(dim=1) / mask.sum(dim=1)

    positive = mask & (labels > 0.5)
    target = torch.where(positive, logits, 0.0).sum(dim=1)
    softmax = logits.masked_fill(~mask, float("-inf")).logsumexp(dim=1) - target
    rows = torch.where(exclusive, softmax, binary)
    return torch.where(valid, rows, 0.0), valid


def masked_classification_loss(
    logits: Tensor,
    labels: Tensor,
    target_mask: Tensor | None = None,
    exclusive: Tensor | None = None,
    *,
    class_weights: Tensor | None = None,
    positive_weights: Tensor | None = None,
    num_items_in_batch: Tensor | float | None = None,
) -> Tensor:
    """Return the mean loss over the valid rows of a batch.

    Args:
        logits (`Tensor`): (batch, classes), any floating dtype.
        labels (`Tensor`): (batch, classes), 0/1; multi-label rows also take probabilities.
        target_mask (`Tensor`, *optional*): (batch, classes), true inside V_k. Defaults to all classes.
        exclusive (`Tensor`, *optional*): (batch,), true for rows of single-label sources. Defaults to all false.
        class_weights (`Tensor`, *optional*): (classes,), see `masked_row_losses`.
        positive_weights (`Tensor`, *optional*): (classes,) or a scalar, see `masked_row_losses`.
        num_items_in_batch (`Tensor` or `float`, *optional*): the number of valid rows of the whole optimizer step,
            over all micro-batches and processes. Given, the sum over this batch is divided by it, so the losses of the
            parts add up to the loss of the whole. Defaults to the number of valid rows of this batch.

    Returns:
        `Tensor`: float32 scalar. Without any valid row it is 0 and still part of the graph (all gradients are zero);
        `valid_rows` gives the count.

    Raises:
        SchemaError: shapes that do not fit together.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0, 9.0], [0.0, 0.0, 9.0]])
        >>> labels = torch.tensor([[1, 0, 0], [0, 1, 0]])
        >>> mask = torch.tensor([[True, True, False]]).expand(2, 3)
        >>> loss = masked_classification_loss(logits, labels, mask, torch.tensor([True, False]))
        >>> round(loss.item(), 4)  # (log(1 + exp(-2)) + log(2)) / 2
        0.41
    """
    rows, valid = masked_row_losses(
        logits, labels, target_mask, exclusive, class_weights=class_weights, positive_weights=positive_weights
    )
    items = valid.sum() if num_items_in_batch is None else num_items_in_batch
    items = torch.as_tensor(items, device=rows.device, dtype=rows.dtype)
    return rows.sum() / items.clamp(min=1.0)


def class_weights_from_counts(counts: Sequence[int] | Tensor, rows: int) -> Tensor:
    """Return one weight per class: 1 / (share of the training rows in which the class is positive).

    This is the weighting of the CLIMB vision code (DDVD233/InternVL): the weight multiplies the class's whole term,
    negatives included, so it is no `pos_weight` of PyTorch. A class without a positive has no frequency; it gets 1.

    Args:
        counts (`Sequence[int]` or `Tensor`): (classes,), rows in which each class is positive.
        rows (`int`): number of training rows, over all sources.

    Returns:
        `Tensor`: (classes,) float32, each at least 1 where `counts` does not exceed `rows`.

    Raises:
        SchemaError: `rows` below 1, or a negative count.

    Example:
        >>> class_weights_from_counts([5, 10, 0], 20).tolist()
        [4.0, 2.0, 1.0]
    """
    count = torch.as_tensor(counts, dtype=torch.float64)
    if rows < 1 or bool((count < 0).any()):
        raise SchemaError(
            f"class weights need at least one row and counts of 0 or more, found {rows} rows and counts from "
            f"{count.min().item() if count.numel() else 'nothing'}; count the labels of the training split."
        )
    return torch.where(count > 0, rows / count.clamp(min=1), 1.0).float()


def _checked(labels: Tensor, target_mask: Tensor | None, exclusive: Tensor | None) -> tuple[Tensor, Tensor]:
    if labels.ndim != 2:
        raise SchemaError(f"`labels` must be (batch, classes), found the shape {tuple(labels.shape)}.")
    if target_mask is None:
        target_mask = torch.ones_like(labels, dtype=torch.bool)
    if exclusive is None:
        exclusive = torch.zeros(labels.shape[0], dtype=torch.bool, device=labels.device)
    if target_mask.shape != labels.shape or exclusive.shape != labels.shape[:1]:
        raise SchemaError(
            f"`target_mask` must have the shape of `labels` {tuple(labels.shape)} and `exclusive` "
            f"{tuple(labels.shape[:1])}, found {tuple(target_mask.shape)} and {tuple(exclusive.shape)}."
        )
    return target_mask.bool(), exclusive.bool()
