"""From outcomes and scores of one source to its numbers: the arithmetic below `climb_hf.metrics.masked_metrics`.

Arrays are kept class by class, `(K, n)`: what is sorted and counted is contiguous.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from climb_hf.metrics.auc import class_aucs, parallel, thread_count
from climb_hf.metrics.bootstrap import RankPlan, cluster_weights, resampled_aucs, weighted_sums

__all__ = ["METRIC_NAMES", "Decided", "class_rates", "decide", "mean_defined", "measure", "resample"]

Definition = Literal["climb", "paper"]
Values = dict[str, NDArray[np.float64]]

RATE_NAMES = ("sensitivity", "specificity", "f1", "accuracy")
METRIC_NAMES = ("auc", *RATE_NAMES, "top1", "exact_match")
_SOFTMAX_ROWS = 8192


@dataclass(frozen=True, slots=True)
class Decided:
    """One source with its decisions taken; `K` classes, `n` rows.

    Args:
        outcomes (`NDArray`): shape `(K, n)`, bool.
        ranking (`NDArray`): what the area under the curve ranks, shape `(K, n)`.
        decisions (`NDArray`): shape `(K, n)`, bool.
        counted (`NDArray`, *optional*): cells that count, shape `(K, n)`, bool; `None`: all.
        hits (`NDArray`): rows that are right as a whole, shape `(n,)`, bool.
        whole (`NDArray`): rows that can be right as a whole, shape `(n,)`, bool.
        kept (`NDArray`): which of the source's classes the `K` are.
        multi_label (`bool`): whether a row can have any number of positives.
        definition (`str`): `"climb"` or `"paper"`.
        ranks_logits (`bool`): whether `ranking` holds logits; else it holds probabilities.
    """

    outcomes: NDArray[np.bool_]
    ranking: NDArray[Any]
    decisions: NDArray[np.bool_]
    counted: NDArray[np.bool_] | None
    hits: NDArray[np.bool_]
    whole: NDArray[np.bool_]
    kept: NDArray[np.intp]
    multi_label: bool
    definition: Definition
    ranks_logits: bool

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Probabilities, shape `(K, n)`, float64."""
        return sigmoid(self.ranking) if self.ranks_logits else self.ranking.astype(np.float64, copy=False)


def sigmoid(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Logistic function in float64, without overflow."""
    small = np.exp(-np.abs(logits, dtype=np.float64))
    return np.where(logits >= 0, 1.0, small) / (1.0 + small)


def softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Softmax over the last axis of `(n, K)` in float64, by blocks that stay in the cache."""
    result = np.empty(logits.shape)
    for start in range(0, len(logits), _SOFTMAX_ROWS):
        rows = slice(start, start + _SOFTMAX_ROWS)
        block = logits[rows].astype(np.float64)
        block -= block.max(axis=1, keepdims=True)
        np.exp(block, out=block)
        np.divide(block, block.sum(axis=1, keepdims=True), out=result[rows])
    return result


def _transposed(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array.T)


def _any_class(cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return np.asarray(cells.any(axis=0), dtype=np.bool_)


def decide(
    y: NDArray[np.bool_],
    scores: NDArray[Any],
    counted: NDArray[np.bool_] | None,
    *,
    multi_label: bool,
    definition: Definition,
    from_logits: bool,
) -> Decided:
    """Probabilities, ranking and decisions of one source.

    `"climb"`: all classes; softmax and argmax, or sigmoid and p >= 0.5. `"paper"`: the classes without both outcomes
    in these rows are dropped first; p > 0.5; a row without any decision gets the first kept class, because the
    published code takes the argmax of the decisions, which are all zero there, where that of the probabilities was
    meant.

    Args:
        y (`NDArray`): outcomes, shape `(n, C)`.
        scores (`NDArray`): logits or probabilities, shape `(n, C)`, finite.
        counted (`NDArray`, *optional*): cells that count, shape `(n, C)`.
        multi_label (`bool`): whether a row can have any number of positives.
        definition (`str`): `"climb"` or `"paper"`.
        from_logits (`bool`): whether `scores` are logits.

    Returns:
        `Decided`: with `K <= C` classes.
    """
    n_classes = y.shape[1]
    kept = np.arange(n_classes)
    if definition == "paper":
        kept = np.flatnonzero(y.any(axis=0) & ~y.all(axis=0))
        if len(kept) < n_classes:
            y, scores = y[:, kept], scores[:, kept]
    outcomes = _transposed(y)
    cells = None if counted is None else _transposed(counted)
    if multi_label:
        ranking, decisions = _multi_label_decisions(scores, definition, from_logits)
        whole = np.full(len(y), len(kept) > 0) if cells is None else _any_class(cells)
        wrong = decisions != outcomes
        hits = whole & ~_any_class(wrong if cells is None else wrong & cells)
    else:
        ranking = _transposed(_single_label_probabilities(scores, from_logits, renormalise=len(kept) < n_classes))
        chosen = scores.argmax(axis=1) if len(kept) else np.zeros(len(y), dtype=np.intp)
        decisions = chosen[None, :] == np.arange(len(kept))[:, None]
        whole = _any_class(outcomes if cells is None else outcomes & cells)
        hits = whole & _any_class(decisions & outcomes)
    return Decided(
        outcomes=outcomes,
        ranking=ranking,
        decisions=decisions,
        counted=cells,
        hits=hits,
        whole=whole,
        kept=kept,
        multi_label=multi_label,
        definition=definition,
        ranks_logits=multi_label and from_logits and definition == "climb",
    )


def _multi_label_decisions(
    scores: NDArray[Any], definition: Definition, from_logits: bool
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """What is ranked and what is decided, both `(K, n)`; logits rank as they are, so nothing saturates into a tie."""
    ranking = _transposed(scores)
    if definition == "climb":
        return ranking, ranking >= (0 if from_logits else 0.5)
    likely = sigmoid(ranking) if from_logits else ranking.astype(np.float64, copy=False)
    decisions = likely > 0.5
    if len(decisions):
        decisions[0] |= ~decisions.any(axis=0)
    return likely, decisions


def _single_label_probabilities(scores: NDArray[Any], from_logits: bool, renormalise: bool) -> NDArray[np.float64]:
    if not scores.size:
        return np.zeros(scores.shape)
    if from_logits:
        return softmax(scores)
    given = scores.astype(np.float64, copy=False)
    return given / np.maximum(given.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny) if renormalise else given


def mean_defined(values: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Mean without the NaN; NaN where nothing is defined.

    Example:
        >>> mean_defined(np.array([[0.5, np.nan, 1.0], [np.nan, np.nan, np.nan]])).tolist()
        [0.75, nan]
    """
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    return _ratio(total, defined.sum(axis=axis))


def _ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[np.float64]:
    shape = np.broadcast_shapes(np.shape(numerator), np.shape(denominator))
    return np.divide(numerator, denominator, out=np.full(shape, np.nan), where=np.asarray(denominator) > 0)


def class_rates(counts: NDArray[Any], definition: Definition = "climb") -> Values:
    """Rates per class; NaN where a denominator is zero.

    Args:
        counts (`NDArray`): true positives, positives, decided positive, cells; each of shape `(…, K)`.
        definition (`str`, *optional*, defaults to `"climb"`): `"paper"` leaves out classes without both outcomes.

    Returns:
        `dict`: `sensitivity`, `specificity`, `f1` and `accuracy`, each of shape `(…, K)`.
    """
    both, positive, decided, cells = counts
    negative = cells - positive
    rates = {
        "sensitivity": _ratio(both, positive),
        "specificity": _ratio(negative - decided + both, negative),
        "f1": _ratio(2 * both, positive + decided),
        "accuracy": _ratio(cells - positive - decided + 2 * both, cells),
    }
    if definition == "paper":  # a class without both outcomes is left out of everything
        defined = (positive > 0) & (negative > 0)
        rates = {name: np.where(defined, values, np.nan) for name, values in rates.items()}
    return rates


def _summary(source: Decided, per_class: Values, hits: NDArray[Any], whole: NDArray[Any]) -> Values:
    """Macro means of `per_class` `(…, K)`, and the share of whole rows that are right."""
    values = {name: mean_defined(array) for name, array in per_class.items()}
    share = _ratio(hits, whole)
    undefined = np.full(share.shape, np.nan)
    values["top1"] = undefined if source.multi_label or source.definition == "paper" else share
    values["exact_match"] = share if source.multi_label else undefined
    if source.definition == "paper" and not source.multi_label:
        values["exact_match"] = values["accuracy"]  # the published code repeats the cell accuracy here
    return values


def _rows_of(source: Decided, rows: slice) -> NDArray[np.bool_]:
    """Columns whose weighted sums give every count of a resample, shape `(4 K + 2 or 3 K + 2, rows)`."""
    outcomes, decisions = source.outcomes[:, rows], source.decisions[:, rows]
    parts = [outcomes & decisions, outcomes, decisions]
    if source.counted is not None:
        cells = source.counted[:, rows]
        parts = [part & cells for part in parts] + [cells]
    return np.concatenate([*parts, source.hits[None, rows], source.whole[None, rows]])


def measure(source: Decided, num_threads: int | None = None) -> tuple[Values, Values, NDArray[np.int64]]:
    """The numbers of one source.

    Args:
        source (`Decided`): outcomes and decisions.
        num_threads (`int`, *optional*): threads over the classes.

    Returns:
        `tuple`: macro values (shape `()`), values per class (shape `(K,)`), and the counts true positives, positives,
        decided positive, cells (shape `(4, K)`).
    """

    def count(k: int) -> tuple[int, ...]:
        truth, decided = source.outcomes[k], source.decisions[k]
        if source.counted is not None:
            truth, decided = truth & source.counted[k], decided & source.counted[k]
        cells = len(truth) if source.counted is None else np.count_nonzero(source.counted[k])
        numbers = np.count_nonzero(truth & decided), np.count_nonzero(truth), np.count_nonzero(decided), cells
        return tuple(int(number) for number in numbers)

    n_classes = len(source.outcomes)
    threads = thread_count(num_threads, source.outcomes.size)
    counts = np.array(parallel(count, range(n_classes), threads), dtype=np.int64).reshape(n_classes, 4).T
    areas = class_aucs(source.outcomes, source.ranking, source.counted, num_threads)
    per_class = {"auc": areas, **class_rates(counts, source.definition)}
    hits, whole = np.count_nonzero(source.hits), np.count_nonzero(source.whole)
    return _summary(source, per_class, np.array(hits), np.array(whole)), per_class, counts


def resample(
    source: Decided,
    groups: NDArray[np.intp] | None,
    *,
    n_bootstrap: int,
    seed: int,
    name: str,
    num_threads: int | None = None,
) -> tuple[Values, NDArray[np.float64]]:
    """The numbers of one source in every resample of its groups; decisions stay those of the full sample.

    Args:
        source (`Decided`): outcomes and decisions.
        groups (`NDArray`, *optional*): group code of each row, shape `(n,)`; `None`: each row is a group.
        n_bootstrap (`int`): number of resamples `B`.
        seed (`int`): seed.
        name (`str`): what is resampled; with `seed` it fixes the resamples.
        num_threads (`int`, *optional*): threads over the resamples.

    Returns:
        `tuple`: macro values, each of shape `(B,)`, and the areas per class, shape `(B, K)`; NaN where undefined.
    """
    n_classes, n_rows = source.outcomes.shape
    masks: list[NDArray[np.bool_] | None] = [None] * n_classes if source.counted is None else list(source.counted)
    threads = thread_count(num_threads, source.outcomes.size)
    plans = parallel(lambda k: RankPlan.of(source.outcomes[k], source.ranking[k], masks[k]), range(n_classes), threads)
    n_parts = 3 if source.counted is None else 4
    chunks: list[Values] = []
    for weights in cluster_weights(groups, n_rows, n_bootstrap, seed, name):
        sums = weighted_sums(weights, n_parts * n_classes + 2, lambda rows: _rows_of(source, rows))
        counts = sums[:, :-2].reshape(len(weights), n_parts, n_classes).transpose(1, 0, 2)
        if source.counted is None:
            total = weights.sum(axis=1, dtype=np.float64)[:, None]
            counts = np.concatenate([counts, np.broadcast_to(total, counts.shape[1:])[None]])
        areas = resampled_aucs(weights, plans, counts[1], counts[3] - counts[1], num_threads)
        per_class = {"auc": areas, **class_rates(counts, source.definition)}
        chunks.append({**_summary(source, per_class, sums[:, -2], sums[:, -1]), "areas": areas})
    joined = {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}
    return joined, joined.pop("areas")
