"""Calibration of predicted probabilities: Brier score and expected calibration error, for `climb_hf.metrics`."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from climb_hf.errors import OptionError, SchemaError
from climb_hf.metrics.auc import as_outcomes, as_scores, name_rows

__all__ = ["brier_score", "expected_calibration_error"]

N_BINS = 15  # as in Guo et al., ICML 2017


def _checked(
    y: ArrayLike, p: ArrayLike, mask: ArrayLike | None
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.bool_]]:
    probabilities = as_scores(p, "p", ndim=2).astype(np.float64, copy=False)
    counted = np.ones(probabilities.shape, dtype=bool) if mask is None else as_outcomes(mask, "mask")
    labels = np.asarray(y)
    for name, array in (("y", labels), ("mask", counted)):
        if array.shape != probabilities.shape:
            raise SchemaError(f"`{name}` must have the shape of `p`, {probabilities.shape}, found {array.shape}.")
    bad = counted & ~((probabilities >= 0) & (probabilities <= 1))
    if bad.any():
        rows = np.unique(np.nonzero(bad)[0])
        raise SchemaError(f"`p` must lie in [0, 1], found {probabilities[bad][0]} in row {name_rows(rows)}.")
    return as_outcomes(np.where(counted, labels, 0), "y"), probabilities, counted


def brier_score(y: ArrayLike, p: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Mean over the classes of the mean squared distance between probability and outcome (Brier, 1950), one-vs-rest.

    Args:
        y (`ArrayLike`): outcomes, shape `(n, K)`, bool or 0/1.
        p (`ArrayLike`): probabilities in [0, 1], shape `(n, K)`.
        mask (`ArrayLike`, *optional*): shape `(n, K)`, bool; `False` leaves a cell out.

    Returns:
        `float`: in [0, 1], 0 is best; classes without a cell are left out; NaN where no cell counts.

    Raises:
        SchemaError: the shapes differ, an outcome is not 0 or 1, or a probability lies outside [0, 1].

    Example:
        >>> brier_score([[1, 0], [0, 1]], [[0.5, 0.0], [0.5, 1.0]])
        0.125
    """
    outcomes, probabilities, counted = _checked(y, p, mask)
    squares = np.where(counted, np.square(np.where(counted, probabilities, 0.0) - outcomes), 0.0).sum(axis=0)
    cells = counted.sum(axis=0)
    return float(np.mean(squares[cells > 0] / cells[cells > 0])) if cells.any() else float("nan")


def _binned_gap(confidence: NDArray[np.float64], correct: NDArray[np.bool_], n_bins: int) -> float:
    """Mean over rows of |mean confidence - share correct| of their bin; bins are (0, 1/b], …, with 0 in the first."""
    edges = np.arange(1, n_bins) / n_bins
    bins = np.searchsorted(edges, confidence, side="left")
    surplus = np.bincount(bins, weights=confidence - correct, minlength=n_bins)
    return float(np.abs(surplus).sum() / len(confidence))


def expected_calibration_error(
    y: ArrayLike, p: ArrayLike, *, multi_label: bool, mask: ArrayLike | None = None, n_bins: int = N_BINS
) -> float:
    """Expected calibration error over bins of equal width.

    Single-label: the gap between the highest probability of a row and how often that class is right (Guo et al., ICML
    2017). Multi-label: the gap between a class's probability and how often it is present, averaged over the classes.

    Args:
        y (`ArrayLike`): outcomes, shape `(n, K)`, bool or 0/1.
        p (`ArrayLike`): probabilities in [0, 1], shape `(n, K)`.
        multi_label (`bool`): whether a row can have any number of positives.
        mask (`ArrayLike`, *optional*): shape `(n, K)`, bool; `False` leaves a cell out (single-label: the rows without
            a positive cell that counts are left out).
        n_bins (`int`, *optional*, defaults to `15`): bins between 0 and 1; a border belongs to the bin below it.

    Returns:
        `float`: in [0, 1], 0 is best; NaN where no cell counts.

    Raises:
        SchemaError: as `brier_score`.
        OptionError: `n_bins` is below 1.

    Example:
        >>> expected_calibration_error([[1, 0], [0, 1]], [[0.75, 0.25], [0.75, 0.25]], multi_label=False)
        0.25
    """
    if n_bins < 1:
        raise OptionError(f"`n_bins` must be at least 1, found {n_bins}: 15 is usual.")
    outcomes, probabilities, counted = _checked(y, p, mask)
    if multi_label:
        cells = [(probabilities[:, k][counted[:, k]], outcomes[:, k][counted[:, k]]) for k in range(outcomes.shape[1])]
    else:
        rows = np.flatnonzero((outcomes & counted).any(axis=1))
        top = probabilities[rows].argmax(axis=1) if len(rows) else np.zeros(0, dtype=np.intp)
        cells = [(probabilities[rows, top], outcomes[rows, top])]
    gaps = [_binned_gap(confidence, correct, n_bins) for confidence, correct in cells if len(confidence)]
    return float(np.mean(gaps)) if gaps else float("nan")
