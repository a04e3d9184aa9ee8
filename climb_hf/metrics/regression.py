"""Regression error with its interval, and age bands for subgroup tables."""

import itertools
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from climb_hf.errors import OptionError, SchemaError
from climb_hf.metrics.auc import name_rows
from climb_hf.metrics.bootstrap import check_bootstrap, cluster_weights, interval_of, weighted_sums
from climb_hf.metrics.inputs import group_codes

__all__ = ["age_bands", "mean_absolute_error"]


def age_bands(ages: Iterable[float | None], edges: Sequence[float] = (18, 40, 60, 80)) -> list[str]:
    """Name the age band of each row, for `subgroups=`.

    Args:
        ages (`Iterable`): ages in years; `None` or NaN where unknown.
        edges (`Sequence`, *optional*, defaults to `(18, 40, 60, 80)`): borders in years, increasing; a border belongs
            to the band above it.

    Returns:
        `list[str]`: one band per row, such as `"<18"`, `"18-<40"`, `">=80"` or `"unknown"`.

    Raises:
        OptionError: `edges` is empty or does not increase.

    Example:
        >>> age_bands([3, 40, 91.5, None])
        ['<18', '40-<60', '>=80', 'unknown']
    """
    borders = [float(edge) for edge in edges]
    if not borders or any(low >= high for low, high in itertools.pairwise(borders)):
        raise OptionError(f"`edges` must be increasing ages in years, at least one, found {list(edges)}.")
    inner = [f"{low:g}-<{high:g}" for low, high in itertools.pairwise(borders)]
    names = [f"<{borders[0]:g}", *inner, f">={borders[-1]:g}", "unknown"]
    years = np.array([np.nan if age is None else age for age in ages], dtype=np.float64)
    bands = np.where(np.isnan(years), len(names) - 1, np.searchsorted(borders, years, side="right"))
    return [names[band] for band in bands]


def mean_absolute_error(
    references: ArrayLike,
    predictions: ArrayLike,
    *,
    groups: Sequence[Hashable] | None = None,
    n_bootstrap: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
    name: str = "",
) -> dict[str, Any]:
    """Mean absolute error of a regression target, with a cluster bootstrap interval.

    Args:
        references (`ArrayLike`): true values, shape `(n,)`, target's unit; NaN where unknown (left out and counted).
        predictions (`ArrayLike`): predicted values, shape `(n,)`, same unit, finite where the reference is known.
        groups (`Sequence`, *optional*): patient (or other cluster) of each row, shape `(n,)`; by default each row.
        n_bootstrap (`int`, *optional*, defaults to `0`): resamples for the interval; 0 for none.
        confidence (`float`, *optional*, defaults to `0.95`): level of the interval, in (0, 1).
        seed (`int`, *optional*, defaults to `0`): seed of the bootstrap.
        name (`str`, *optional*): what is resampled, such as the source's name; with `seed` it fixes the resamples.

    Returns:
        `dict`: `mae` (NaN without a known reference), `n`, `n_missing`, `n_groups`, `n_bootstrap`, `confidence`,
        `seed`, and with a bootstrap `interval` and `n_resamples`.

    Raises:
        SchemaError: the shapes differ, or a prediction is not finite; the rows are named.
        OptionError: an option of the bootstrap is out of range.

    Example:
        >>> result = mean_absolute_error([1.0, 4.0, float("nan")], [2.0, 2.0, 0.0])
        >>> result["mae"], result["n"], result["n_missing"]
        (1.5, 2, 1)
    """
    check_bootstrap(n_bootstrap, confidence, seed)
    truth = np.asarray(references, dtype=np.float64)
    predicted = np.asarray(predictions, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != predicted.shape:
        raise SchemaError(f"`references` and `predictions` must be (n,), found {truth.shape} and {predicted.shape}.")
    if groups is not None and len(groups) != len(truth):
        raise SchemaError(f"`groups` must have one value per row, {len(truth)}, found {len(groups)}.")
    known = np.flatnonzero(~np.isnan(truth))
    bad = known[~(np.isfinite(predicted[known]) & np.isfinite(truth[known]))]
    if len(bad):
        raise SchemaError(f"`predictions` and `references` must be finite, found inf or NaN in row {name_rows(bad)}.")
    errors = np.abs(truth - predicted)[known]
    codes = group_codes(None if groups is None else list(groups), known)
    n_groups = len(known) if codes is None else int(codes.max(initial=-1)) + 1
    result: dict[str, Any] = {
        "mae": float(errors.mean()) if len(errors) else float("nan"),
        "n": len(known),
        "n_missing": len(truth) - len(known),
        "n_groups": n_groups,
        "n_bootstrap": n_bootstrap,
        "confidence": confidence,
        "seed": seed,
    }
    if n_bootstrap:
        draws = [np.full(n_bootstrap, np.nan)]
        if n_groups > 1:
            columns = np.stack([errors, np.ones(len(errors))])
            chunks = cluster_weights(codes, len(errors), n_bootstrap, seed, name)
            sums = [weighted_sums(weights, 2, lambda rows: columns[:, rows]) for weights in chunks]
            draws = [part[:, 0] / part[:, 1] for part in sums]
        result["interval"], result["n_resamples"] = interval_of(np.concatenate(draws), confidence)
    return result
