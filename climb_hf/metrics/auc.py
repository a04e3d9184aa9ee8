"""Areas under the ROC curve, exact to the last tie: the kernels below `climb_hf.metrics`.

The area is the Mann-Whitney statistic: the share of (positive, negative) pairs in which the positive scores higher,
ties counting one half (Hanley and McNeil, Radiology 143, 1982). Pairs are counted in integers, so no order of
summation can change the result.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from climb_hf.errors import OptionError, SchemaError

__all__ = ["auc_matrix", "binary_auc"]

_T = TypeVar("_T")
_R = TypeVar("_R")
_THREADED_CELLS = 1_000_000  # below this, starting threads costs more than it saves
_MAX_THREADS = 8


def thread_count(num_threads: int | None, cells: int) -> int:
    """Threads to use for `cells` numbers: the caller's choice, else the cores at hand when the work is worth it."""
    if num_threads is not None:
        if num_threads < 1:
            raise OptionError(f"`num_threads` must be at least 1, found {num_threads}: pass 1 for no threads.")
        return num_threads
    if cells < _THREADED_CELLS:
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    return min(cores, _MAX_THREADS)


def parallel(function: Callable[[_T], _R], items: Iterable[_T], threads: int) -> list[_R]:
    """`[function(item) for item in items]`, over threads where there is more than one."""
    if threads == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


def name_rows(rows: Sequence[int] | NDArray[np.intp], limit: int = 5) -> str:
    """The first few of `rows` as text, and how many more there are."""
    shown = ", ".join(str(int(row)) for row in rows[:limit])
    return shown if len(rows) <= limit else f"{shown} and {len(rows) - limit} more"


def _numbers(bad: NDArray[np.bool_], row_ids: NDArray[np.intp] | None) -> NDArray[np.intp]:
    rows = np.unique(np.nonzero(bad)[0])
    return rows if row_ids is None else row_ids[rows]


def as_outcomes(values: ArrayLike, name: str, row_ids: NDArray[np.intp] | None = None) -> NDArray[np.bool_]:
    """`values` as booleans; anything but 0, 1, `False` and `True` is refused with its rows (numbered by `row_ids`)."""
    array = np.asarray(values)
    if array.dtype == np.bool_:
        return array
    try:
        array = array.astype(np.float64) if array.dtype == object else array
        truth = array == 1
    except (TypeError, ValueError) as error:
        raise SchemaError(f"`{name}` must hold 0 and 1 only, found {array.dtype} values ({error}).") from error
    bad = ~(truth | (array == 0))
    if bad.any():
        rows = _numbers(bad, row_ids)
        raise SchemaError(
            f"`{name}` must hold 0 and 1 only, found {array[bad][0]} in row {name_rows(rows)}. "
            f"Leave unknown cells out with a mask."
        )
    return truth


def as_scores(values: ArrayLike, name: str, ndim: int) -> NDArray[Any]:
    """`values` as an array of real numbers of `ndim` axes, in a type that keeps distinct scores distinct."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise SchemaError(f"`{name}` must be numbers, found type {array.dtype} ({error}).") from error
    if array.ndim != ndim:
        raise SchemaError(f"`{name}` must have {ndim} axes, found shape {array.shape}.")
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def refuse_nan(scores: NDArray[Any], name: str, row_ids: NDArray[np.intp] | None = None) -> None:
    """Raise a `SchemaError` that names the rows of `scores` that hold NaN."""
    if scores.dtype.kind == "f" and (bad := np.isnan(scores)).any():
        rows = name_rows(_numbers(bad, row_ids))
        raise SchemaError(f"`{name}` must not be NaN, found NaN in row {rows}: check the model's output.")


def _wins_twice(positives: NDArray[Any], negatives: NDArray[Any]) -> int:
    """Twice the number of pairs that the positives win, ties counting one half; exact."""
    positives, negatives = np.sort(positives), np.sort(negatives)
    swap = len(positives) > len(negatives)
    few, many = (negatives, positives) if swap else (positives, negatives)
    below = np.searchsorted(many, few, side="left")
    upto = below.copy()
    tied = many[np.minimum(below, len(many) - 1)] == few
    if tied.any():
        upto[tied] = np.searchsorted(many, few[tied], side="right")
    won = int(below.sum()) + int(upto.sum())
    return 2 * len(few) * len(many) - won if swap else won


def _column_auc(outcomes: NDArray[np.bool_], scores: NDArray[Any]) -> float:
    positives, negatives = scores[outcomes], scores[~outcomes]
    if not len(positives) or not len(negatives):
        return float("nan")
    return _wins_twice(positives, negatives) / (2 * len(positives) * len(negatives))


def _weighted_auc(outcomes: NDArray[np.bool_], scores: NDArray[Any], weights: NDArray[np.float64]) -> float:
    total_positive, total_negative = weights[outcomes].sum(), weights[~outcomes].sum()
    if not total_positive or not total_negative:
        return float("nan")
    order = np.argsort(scores, kind="stable")
    outcomes, scores, weights = outcomes[order], scores[order], weights[order]
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))  # last row of every tie
    negative = np.diff(np.cumsum(np.where(outcomes, 0.0, weights))[ends], prepend=0.0)
    positive = np.diff(np.cumsum(np.where(outcomes, weights, 0.0))[ends], prepend=0.0)
    below = np.cumsum(negative) - negative
    return float(np.sum(positive * (below + 0.5 * negative)) / (total_positive * total_negative))


def binary_auc(y: ArrayLike, s: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Area under the ROC curve of one class.

    Args:
        y (`ArrayLike`): outcomes, shape `(n,)`, bool or 0/1.
        s (`ArrayLike`): scores, shape `(n,)`, any real type; higher means more likely positive; no NaN.
        weights (`ArrayLike`, *optional*): weights of the rows, shape `(n,)`, finite and not negative.

    Returns:
        `float`: the area in [0, 1]; NaN where one of the two outcomes is absent (or weighs nothing).

    Raises:
        SchemaError: the shapes differ, an outcome is not 0 or 1, a score is NaN, or a weight is negative.

    Example:
        >>> binary_auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8])
        0.875
        >>> binary_auc([1, 1], [0.2, 0.3])
        nan
    """
    outcomes, scores = as_outcomes(y, "y"), as_scores(s, "s", ndim=1)
    if outcomes.shape != scores.shape:
        raise SchemaError(f"`y` and `s` must have the same shape, found {outcomes.shape} and {scores.shape}.")
    refuse_nan(scores, "s")
    if weights is None:
        return _column_auc(outcomes, scores)
    mass = np.asarray(weights, dtype=np.float64)
    if mass.shape != scores.shape:
        raise SchemaError(f"`weights` must have the shape of `s`, {scores.shape}, found {mass.shape}.")
    if not (np.isfinite(mass) & (mass >= 0)).all():
        raise SchemaError("`weights` must be finite and not negative: leave a row out with weight 0.")
    return _weighted_auc(outcomes, scores, mass)


def auc_matrix(
    Y: ArrayLike,
    S: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    num_threads: int | None = None,
) -> NDArray[np.float64]:
    """Area under the ROC curve of every column, one-vs-rest.

    Args:
        Y (`ArrayLike`): outcomes, shape `(n, K)`, bool or 0/1.
        S (`ArrayLike`): scores, shape `(n, K)`, any real type; no NaN in cells that count.
        mask (`ArrayLike`, *optional*): shape `(n, K)`, bool; `False` leaves a cell out.
        num_threads (`int`, *optional*): threads over the columns; all cores (at most 8) for large inputs by default.

    Returns:
        `NDArray`: shape `(K,)`, float64, in [0, 1]; NaN where a column lacks one of the two outcomes.

    Raises:
        SchemaError: the shapes differ, an outcome is not 0 or 1, or a score that counts is NaN.

    Example:
        >>> auc_matrix([[1, 0], [0, 0], [1, 0]], [[0.9, 0.1], [0.2, 0.3], [0.2, 0.5]]).tolist()
        [0.75, nan]
    """
    scores = as_scores(S, "S", ndim=2)
    counted = None if mask is None else as_outcomes(mask, "mask")
    labels = np.asarray(Y)
    for name, array in (("Y", labels), ("mask", counted)):
        if array is not None and array.shape != scores.shape:
            raise SchemaError(f"`{name}` must have the shape of `S`, {scores.shape}, found {array.shape}.")
    outcomes = as_outcomes(labels if counted is None else np.where(counted, labels, 0), "Y")
    refuse_nan(scores if counted is None else np.where(counted, scores, 0), "S")
    kept = None if counted is None else np.ascontiguousarray(counted.T)
    return class_aucs(np.ascontiguousarray(outcomes.T), np.ascontiguousarray(scores.T), kept, num_threads)


def class_aucs(
    outcomes: NDArray[np.bool_],
    scores: NDArray[Any],
    counted: NDArray[np.bool_] | None,
    num_threads: int | None,
) -> NDArray[np.float64]:
    """`auc_matrix` without the checks, class by class: contiguous arrays of shape `(K, n)`, no NaN that counts."""

    def area(k: int) -> float:
        if counted is None:
            return _column_auc(outcomes[k], scores[k])
        return _column_auc(outcomes[k][counted[k]], scores[k][counted[k]])

    threads = thread_count(num_threads, scores.size)
    return np.array(parallel(area, range(len(scores)), threads), dtype=np.float64)
