"""Whether two models differ on the same rows: DeLong's test of one class, and the paired bootstrap of any metric.

DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988) give the covariance of two areas under the ROC curve over the
same rows; Obuchowski (Biometrics 53, 1997) extends it to rows that come in clusters, such as several pictures of one
patient. Midranks make both n log n (Sun and Xu, IEEE Signal Processing Letters 21, 2014).
"""

import math
import statistics
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from climb_hf.errors import OptionError, SchemaError
from climb_hf.metrics.auc import as_outcomes, as_scores, refuse_nan
from climb_hf.metrics.bootstrap import check_bootstrap, codes_of, interval_of
from climb_hf.metrics.inputs import Arrays, SourceRows, group_codes, source_order
from climb_hf.metrics.scoring import METRIC_NAMES, Decided, decide, mean_defined, measure, resample

__all__ = ["compare_scores", "delong_test", "mean_interval"]


def delong_test(
    y: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
) -> dict[str, float]:
    """Compare the areas under the ROC curve of two scores of the same rows.

    Args:
        y (`ArrayLike`): outcomes, shape `(n,)`, bool or 0/1.
        scores_a (`ArrayLike`): scores of the first model, shape `(n,)`, no NaN.
        scores_b (`ArrayLike`): scores of the second model, shape `(n,)`, no NaN.
        groups (`Sequence`, *optional*): patient of each row, shape `(n,)`; each row its own by default, which is the
            test of DeLong et al.; with groups it is Obuchowski's.
        confidence (`float`, *optional*, defaults to `0.95`): level of the interval, in (0, 1).

    Returns:
        `dict`: `auc_a`, `auc_b`, `difference` (a - b), `standard_error`, `low` and `high` of the normal interval, `z`,
        two-sided `p`. All NaN where an outcome is absent; standard error, interval, `z` and `p` are NaN with fewer
        than two groups that hold a positive or a negative row, and where the areas differ but no row varies (scores
        all right and all wrong): that says nothing of chance. Scores of equal rank give `z` 0 and `p` 1.

    Raises:
        SchemaError: the shapes differ, an outcome is not 0 or 1, a score is NaN, or a row has no group.
        OptionError: `confidence` outside (0, 1).

    Example:
        >>> result = delong_test([0, 0, 1, 1, 1], [0.1, 0.4, 0.35, 0.8, 0.9], [0.5, 0.4, 0.3, 0.6, 0.2])
        >>> round(result["difference"], 3), round(result["p"], 3)
        (0.5, 0.134)
    """
    check_bootstrap(0, confidence, 0)
    outcomes = as_outcomes(y, "y")
    pair = [as_scores(scores, name, ndim=1) for scores, name in ((scores_a, "scores_a"), (scores_b, "scores_b"))]
    for scores, name in zip(pair, ("scores_a", "scores_b"), strict=True):
        if scores.shape != outcomes.shape:
            raise SchemaError(f"`{name}` must have the shape of `y`, {outcomes.shape}, found {scores.shape}.")
        refuse_nan(scores, name)
    if groups is not None and len(groups) != len(outcomes):
        raise SchemaError(f"`groups` must have one entry per row, {len(outcomes)}, found {len(groups)}.")
    rows = np.arange(len(outcomes))
    clusters = group_codes(None if groups is None else list(groups), rows)
    codes = rows if clusters is None else clusters
    keys = ("auc_a", "auc_b", "difference", "standard_error", "low", "high", "z", "p")
    result = dict.fromkeys(keys, math.nan)
    if not outcomes.any() or outcomes.all():
        return result
    placements = [_placements(outcomes, scores) for scores in pair]
    areas = [float(above.mean()) for above, _ in placements]
    result.update(auc_a=areas[0], auc_b=areas[1], difference=areas[0] - areas[1])
    variance = _variance_of_difference(outcomes, codes, placements, areas)
    if variance > 0 or (variance == 0 and result["difference"] == 0):
        result.update(_normal_test(result["difference"], variance, confidence))
    return result


def _placements(outcomes: NDArray[np.bool_], scores: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of negatives below each positive, and share of positives above each negative; ties count one half."""
    positive, negative = scores[outcomes], scores[~outcomes]
    lower, upper = np.sort(negative), np.sort(positive)
    below = np.searchsorted(lower, positive, "left") + np.searchsorted(lower, positive, "right")
    under = np.searchsorted(upper, negative, "left") + np.searchsorted(upper, negative, "right")
    return below / (2 * len(negative)), 1 - under / (2 * len(positive))


def _variance_of_difference(
    outcomes: NDArray[np.bool_],
    codes: NDArray[np.intp],
    placements: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]],
    areas: Sequence[float],
) -> float:
    """Obuchowski's variance of the difference of two areas, equations 4 to 6; NaN with too few clusters."""
    size = int(codes.max()) + 1
    positives, negatives = (np.bincount(codes[mask], minlength=size) for mask in (outcomes, ~outcomes))
    n_positive, n_negative = int(positives.sum()), int(negatives.sum())
    clusters = np.count_nonzero(positives), np.count_nonzero(negatives)
    if min(clusters) < 2:
        return math.nan
    first, second = [], []
    for (above, under), area in zip(placements, areas, strict=True):
        first.append(np.bincount(codes[outcomes], above, size) - positives * area)
        second.append(np.bincount(codes[~outcomes], under, size) - negatives * area)
    one, two = first[0] - first[1], second[0] - second[1]
    s10 = clusters[0] / ((clusters[0] - 1) * n_positive) * float(one @ one)
    s01 = clusters[1] / ((clusters[1] - 1) * n_negative) * float(two @ two)
    s11 = size / (size - 1) * float(one @ two)
    return max(0.0, s10 / n_positive + s01 / n_negative + 2 * s11 / (n_positive * n_negative))


def _normal_test(difference: float, variance: float, confidence: float) -> dict[str, float]:
    from statistics import NormalDist

    error = math.sqrt(variance)
    reach = NormalDist().inv_cdf(0.5 + confidence / 2) * error
    z = difference / error if error else 0.0
    p = math.erfc(abs(z) / math.sqrt(2))
    return {"standard_error": error, "low": difference - reach, "high": difference + reach, "z": z, "p": p}


def compare_scores(
    references: ArrayLike,
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    sources: Sequence[str],
    *,
    source_classes: Mapping[str, Sequence[int]],
    multi_label: Mapping[str, bool],
    groups: Sequence[Hashable] | None = None,
    valid: ArrayLike | None = None,
    metrics: Sequence[str] = ("auc",),
    n_bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    from_logits: bool = True,
) -> dict[str, dict[str, dict[str, float]]]:
    """Compare two models source by source and on average, by a bootstrap that draws the same groups for both.

    Args:
        references (`ArrayLike`): outcomes, shape `(n, |V|)`; see `masked_metrics`.
        scores_a (`ArrayLike`): logits of the first model, shape `(n, |V|)`.
        scores_b (`ArrayLike`): logits of the second model, shape `(n, |V|)`.
        sources (`Sequence[str]`): source of each row, shape `(n,)`.
        source_classes (`Mapping`): for each source the columns of its classes.
        multi_label (`Mapping`): for each source whether a row can have any number of positives.
        groups (`Sequence`, *optional*): patient of each row; each row its own by default.
        valid (`ArrayLike`, *optional*): shape `(n, |V|)`, bool; `False` leaves a cell out.
        metrics (`Sequence[str]`, *optional*): of `METRIC_NAMES`.
        n_bootstrap (`int`, *optional*, defaults to `1000`): resamples.
        confidence (`float`, *optional*, defaults to `0.95`): level of the intervals.
        seed (`int`, *optional*, defaults to `0`): seed of the resamples.
        from_logits (`bool`, *optional*, defaults to `True`): whether the scores are logits.

    Returns:
        `dict`: for each source and `"overall"` (mean over the sources), per metric: `a`, `b`, `difference` (a - b),
        `low`, `high`, `p` (two-sided: twice the smaller share of resamples on either side of zero, with one added to
        both counts, so never 0), `n_resamples` in which both are defined. NaN where undefined.

    Raises:
        SchemaError: as `masked_metrics`.
        OptionError: a metric without a bootstrap, or no resamples.

    Example:
        >>> table = compare_scores(
        ...     [[1, 0], [0, 1]] * 10, [[1.0, 0.0], [0.0, 1.0]] * 10, [[0.0, 1.0], [0.0, 1.0]] * 10, ["a"] * 20,
        ...     source_classes={"a": [0, 1]}, multi_label={"a": False}, n_bootstrap=200,
        ... )
        >>> table["a"]["auc"]["difference"], table["a"]["auc"]["p"] < 0.05
        (0.5, True)
    """
    check_bootstrap(n_bootstrap, confidence, seed)
    if not n_bootstrap:
        raise OptionError("`n_bootstrap` must be at least 1 to compare two models, found 0: 1000 is usual.")
    if unknown := sorted(set(metrics) - set(METRIC_NAMES)):
        raise OptionError(f"`metrics` must be of {', '.join(METRIC_NAMES)}, found {unknown[0]!r}.")
    pair = [Arrays.of(references, scores, valid) for scores in (scores_a, scores_b)]
    pair[0].check_length("sources", sources)
    codes, present = codes_of(sources)
    values: dict[str, list[dict[str, Any]]] = {}
    for name in source_order(present, source_classes, multi_label):
        chosen = np.flatnonzero(codes == present.index(name))
        clusters = group_codes(None if groups is None else list(groups), chosen)
        options = {"multi_label": bool(multi_label[name]), "from_logits": from_logits}
        rows = [arrays.rows_of(name, chosen, source_classes[name], clusters, **options) for arrays in pair]
        values[name] = [_measured(part, name, n_bootstrap, seed, from_logits) for part in rows]
    table = {
        name: {metric: _difference(a[metric], b[metric], confidence) for metric in metrics}
        for name, (a, b) in values.items()
    }
    table["overall"] = {metric: _mean_difference(values, metric, confidence) for metric in metrics}
    return table


def _measured(rows: SourceRows, name: str, n_bootstrap: int, seed: int, from_logits: bool) -> dict[str, Any]:
    """Value and resamples of every metric of one model on one source."""
    source: Decided = decide(
        rows.y, rows.scores, rows.counted, multi_label=rows.multi_label, definition="climb", from_logits=from_logits
    )
    point = measure(source)[0]
    undefined = dict.fromkeys(METRIC_NAMES, np.full(n_bootstrap, np.nan))  # one patient says nothing about the spread
    drawn = (
        undefined
        if rows.n_groups < 2
        else resample(source, rows.groups, n_bootstrap=n_bootstrap, seed=seed, name=name)[0]
    )
    return {metric: (float(point[metric]), drawn[metric]) for metric in METRIC_NAMES}


def _difference(
    a: tuple[float, NDArray[np.float64]], b: tuple[float, NDArray[np.float64]], confidence: float
) -> dict[str, float]:
    differences = a[1] - b[1]
    (low, high), n_resamples = interval_of(differences, confidence)
    defined = differences[~np.isnan(differences)]
    tail = 1 + min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    p = min(1.0, 2 * int(tail) / (n_resamples + 1)) if n_resamples and not math.isnan(a[0] - b[0]) else math.nan
    return {
        "a": a[0],
        "b": b[0],
        "difference": a[0] - b[0],
        "low": low,
        "high": high,
        "p": p,
        "n_resamples": n_resamples,
    }


def _mean_difference(values: Mapping[str, list[dict[str, Any]]], metric: str, confidence: float) -> dict[str, float]:
    """The comparison of the means over the sources that both models define."""
    kept = [pair for pair in values.values() if not any(math.isnan(part[metric][0]) for part in pair)]
    if not kept:
        nothing = (math.nan, np.zeros(0))
        return _difference(nothing, nothing, confidence)
    means = [
        (
            float(mean_defined(np.array([pair[side][metric][0] for pair in kept]))),
            np.mean([pair[side][metric][1] for pair in kept], axis=0),
        )
        for side in (0, 1)
    ]
    return _difference(means[0], means[1], confidence)


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, tuple[float, float] | None]:
    """Return the mean of some runs and Student's t interval around it.

    The interval says how much another draw of examples and weights would move the mean; it knows nothing of the
    patients who were scored, which the interval of each run is about. It may reach beyond the range of the metric.

    Args:
        values (`Sequence[float]`): one number per run.
        confidence (`float`, *optional*, defaults to `0.95`): level.

    Returns:
        `tuple[float, tuple[float, float] | None]`: NaN and `None` without values; no interval of a single one.

    Example:
        >>> mean, (low, high) = mean_interval([0.6, 0.7, 0.8])
        >>> round(mean, 3), round(low, 3), round(high, 3)
        (0.7, 0.452, 0.948)
    """
    from scipy.stats import t

    if not values:
        return math.nan, None
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None
    half = float(t.ppf(0.5 + confidence / 2, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, (mean - half, mean + half)
