"""Scores of answered questions: order-agnostic exact match of answer sets, and rates per class.

Pure functions of sets and numbers. Averages are those of the CLIMB paper: over sources (its Table 22) and over
modalities (its Table 4).
"""

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import OptionError, SchemaError, VocabularyError
from climb_hf.metrics.bootstrap import check_bootstrap, cluster_weights, codes_of, interval_of, weighted_sums
from climb_hf.metrics.scoring import class_rates, mean_defined

__all__ = ["QA_METRICS", "qa_match"]

#: Metrics of a source, its modality and all sources.
QA_METRICS = ("accuracy", "sensitivity", "specificity", "f1", "invalid")
_RATES = ("sensitivity", "specificity", "f1")
_VALID = "ok"
_Draws = dict[str, NDArray[np.float64]]


def qa_match(
    references: Sequence[Collection[str]],
    predictions: Sequence[Collection[str] | None],
    sources: Sequence[str],
    *,
    classes: Mapping[str, Sequence[str]],
    modalities: Mapping[str, str] | None = None,
    statuses: Sequence[str] | None = None,
    uncertain: Sequence[Collection[str]] | None = None,
    groups: Sequence[Hashable] | None = None,
    n_bootstrap: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """Score answer sets, source by source.

    `accuracy` is the share of questions whose answer set equals the right one, whatever the order. `sensitivity`,
    `specificity` and `f1` are computed per class of V_k and averaged over the classes that define them. An invalid
    answer is never right, predicts no class, and is counted in `invalid` (a share) and by reason. Choices that are
    uncertain for a question are left out of its comparison and of the rates.

    Args:
        references (`Sequence[Collection[str]]`): right choices of each question, `n` of them; "none of the above" is
            the empty set.
        predictions (`Sequence[Collection[str] | None]`): choices answered; `None` for an invalid answer.
        sources (`Sequence[str]`): source of each question.
        classes (`Mapping[str, Sequence[str]]`): V_k: the choices of each source.
        modalities (`Mapping[str, str]`, *optional*): modality of each source, for the averages.
        statuses (`Sequence[str]`, *optional*): `"ok"`, or why an answer is invalid; counted by reason.
        uncertain (`Sequence[Collection[str]]`, *optional*): choices that are not scored, by question.
        groups (`Sequence[Hashable]`, *optional*): patient of each question; whole patients are drawn.
        n_bootstrap (`int`, *optional*, defaults to `0`): resamples for the intervals; 0 for none.
        confidence (`float`, *optional*, defaults to `0.95`): level of the intervals, in (0, 1).
        seed (`int`, *optional*, defaults to `0`): seed of the bootstrap.

    Returns:
        `dict`: `sources` (per source `n`, `n_groups`, `n_classes`, `n_invalid`, `invalid_by`, `QA_METRICS`,
        `n_…_defined`, `per_class`, and `intervals` where asked), `modalities` (mean over the sources of each),
        `overall` (mean over sources, as the paper's Table 22), `modality_average` (mean over modalities, as its
        Table 4), `n`, `n_bootstrap`, `confidence`, `seed`. NaN where undefined.

    Raises:
        SchemaError: lengths differ, or a reference or prediction is no class of its source.
        VocabularyError: a source has no classes.
        OptionError: an option has a value that is not allowed.

    Example:
        >>> result = qa_match(
        ...     [{"a"}, {"b"}, {"a", "b"}, set()],
        ...     [{"a"}, {"a"}, {"b", "a"}, None],
        ...     ["s"] * 4,
        ...     classes={"s": ["a", "b"]},
        ... )
        >>> table = result["sources"]["s"]
        >>> table["accuracy"], table["sensitivity"], table["specificity"], table["invalid"]
        (0.5, 0.75, 0.75, 0.25)
    """
    check_bootstrap(n_bootstrap, confidence, seed)
    n = len(references)
    columns = {"predictions": predictions, "sources": sources, "statuses": statuses, "uncertain": uncertain}
    for name, values in {**columns, "groups": groups}.items():
        if values is not None and len(values) != n:
            raise SchemaError(f"`{name}` has {len(values)} rows and `references` {n}; pass one of each per question.")
    if statuses is None:
        statuses = ["invalid" if prediction is None else _VALID for prediction in predictions]
    codes, present = codes_of(list(sources))
    tables: dict[str, dict[str, Any]] = {}
    draws: dict[str, _Draws] = {}
    for code, name in enumerate(map(str, present)):
        if not classes.get(name):
            raise VocabularyError(f"`classes` has no choices for the source {name!r}; it has {sorted(classes)}.")
        rows = np.flatnonzero(codes == code)
        cells = _Cells(name, list(classes[name]), rows, references, predictions, uncertain)
        clusters = None if groups is None else codes_of([groups[row] for row in rows.tolist()])[0]
        tables[name], draws[name] = _table(cells, clusters, n_bootstrap, confidence, seed)
        reasons = Counter(statuses[row] for row in rows.tolist() if predictions[row] is None)
        tables[name].update(modality=(modalities or {}).get(name), invalid_by=dict(sorted(reasons.items())))
    return _with_averages(tables, draws, modalities or {}, n_bootstrap, confidence) | {
        "n": n, "n_bootstrap": n_bootstrap, "confidence": confidence, "seed": seed,
    }  # fmt: skip


class _Cells:
    """Questions of one source as matrices, class by class: `(K, n)`."""

    def __init__(
        self,
        name: str,
        classes: list[str],
        rows: NDArray[np.intp],
        references: Sequence[Collection[str]],
        predictions: Sequence[Collection[str] | None],
        uncertain: Sequence[Collection[str]] | None,
    ) -> None:
        self.name, self.classes, self.n = name, classes, len(rows)
        column = {text: index for index, text in enumerate(classes)}
        if len(column) < len(classes):
            raise OptionError(f"the classes of {name!r} must differ, found {classes}.")
        self.invalid = np.array([predictions[row] is None for row in rows], dtype=np.bool_)
        self.truth = self._matrix("references", column, rows, references)
        self.said = self._matrix("predictions", column, rows, predictions)
        self.counted = ~self._matrix("uncertain", column, rows, uncertain or [()] * (int(rows.max(initial=-1)) + 1))
        differs = (self.truth != self.said) & self.counted
        self.right = ~differs.any(axis=0) & ~self.invalid

    def _matrix(
        self, what: str, column: Mapping[str, int], rows: NDArray[np.intp], sets: Sequence[Collection[str] | None]
    ) -> NDArray[np.bool_]:
        cells = np.zeros((len(column), len(rows)), dtype=np.bool_)
        for position, row in enumerate(rows):
            for text in sets[row] or ():
                if text not in column:
                    raise SchemaError(
                        f"`{what}` of row {row} has {text!r}, which is no class of {self.name!r}; expected some of "
                        f"{self.classes}. An answer outside the choices is invalid: pass `None`."
                    )
                cells[column[text], position] = True
        return cells

    def columns(self, rows: slice) -> NDArray[np.bool_]:
        """What is added up over a resample, `(4 K + 2, rows)`."""
        truth, said, counted = self.truth[:, rows], self.said[:, rows], self.counted[:, rows]
        parts = [truth & said & counted, truth & counted, said & counted, counted]
        return np.concatenate([*parts, self.right[None, rows], self.invalid[None, rows]])


def _table(
    cells: _Cells, clusters: NDArray[np.intp] | None, n_bootstrap: int, confidence: float, seed: int
) -> tuple[dict[str, Any], _Draws]:
    width = 4 * len(cells.classes) + 2
    total = weighted_sums(np.ones((1, cells.n), dtype=np.int32), width, cells.columns)
    values, per_class = _values(total, np.array([cells.n]), len(cells.classes))
    n_groups = cells.n if clusters is None else int(clusters.max(initial=-1)) + 1
    table: dict[str, Any] = {
        "n": cells.n,
        "n_groups": n_groups,
        "n_classes": len(cells.classes),
        "n_invalid": int(cells.invalid.sum()),
        **{metric: float(values[metric][0]) for metric in QA_METRICS},
        **{f"n_{metric}_defined": int((~np.isnan(per_class[metric][0])).sum()) for metric in _RATES},
        "per_class": {
            "class": cells.classes,
            "positives": (cells.truth & cells.counted).sum(axis=1).tolist(),
            "predicted": (cells.said & cells.counted).sum(axis=1).tolist(),
            **{metric: per_class[metric][0].tolist() for metric in _RATES},
        },
    }
    if not n_bootstrap:
        return table, {}
    if n_groups < 2:  # a single cluster says nothing about the spread between clusters
        draws = dict.fromkeys(QA_METRICS, np.full(n_bootstrap, np.nan))
    else:
        chunks = [
            _values(weighted_sums(weights, width, cells.columns), weights.sum(axis=1), len(cells.classes))[0]
            for weights in cluster_weights(clusters, cells.n, n_bootstrap, seed, cells.name)
        ]
        draws = {metric: np.concatenate([chunk[metric] for chunk in chunks]) for metric in QA_METRICS}
    table["intervals"] = {metric: interval_of(draws[metric], confidence)[0] for metric in QA_METRICS}
    return table, draws


def _values(sums: NDArray[np.float64], n: NDArray[Any], n_classes: int) -> tuple[_Draws, _Draws]:
    """Metrics from summed columns `(B, 4 K + 2)` and rows `(B,)`: each `(B,)`, and the rates per class `(B, K)`."""
    counts = sums[:, :-2].reshape(len(sums), 4, n_classes).transpose(1, 0, 2)
    per_class = class_rates(counts)
    values = {metric: mean_defined(per_class[metric]) for metric in _RATES}
    rows = np.asarray(n, dtype=np.float64)
    return {**values, "accuracy": sums[:, -2] / rows, "invalid": sums[:, -1] / rows}, per_class


def _with_averages(
    tables: Mapping[str, dict[str, Any]],
    draws: Mapping[str, _Draws],
    modalities: Mapping[str, str],
    n_bootstrap: int,
    confidence: float,
) -> dict[str, Any]:
    members: dict[str, list[str]] = {}
    for name in tables:
        if name in modalities:
            members.setdefault(modalities[name], []).append(name)
    by_modality, drawn = {}, {}
    for modality, names in members.items():
        parts = {name: tables[name] for name in names}
        by_modality[modality], drawn[modality] = _average(parts, draws, n_bootstrap, confidence)
    overall, _ = _average(tables, draws, n_bootstrap, confidence)
    result: dict[str, Any] = {"sources": dict(tables), "modalities": by_modality, "overall": overall}
    if by_modality:
        result["modality_average"], _ = _average(by_modality, drawn, n_bootstrap, confidence)
    return result


def _average(
    tables: Mapping[str, Mapping[str, Any]], draws: Mapping[str, _Draws], n_bootstrap: int, confidence: float
) -> tuple[dict[str, Any], _Draws]:
    """Unweighted means, each metric over the tables that define it."""
    result: dict[str, Any] = {
        "n_sources": len(tables),
        "n": sum(table["n"] for table in tables.values()),
        "n_invalid": sum(table["n_invalid"] for table in tables.values()),
    }
    means: _Draws = {}
    for metric in QA_METRICS:
        defined = [name for name, table in tables.items() if not np.isnan(table[metric])]
        result[metric] = float(mean_defined(np.array([tables[name][metric] for name in tables])))
        result[f"n_{metric}_defined"] = len(defined)
        if n_bootstrap:
            drawn = [draws[name][metric] for name in defined]
            means[metric] = np.mean(drawn, axis=0) if drawn else np.full(n_bootstrap, np.nan)
    if n_bootstrap:
        result["intervals"] = {metric: interval_of(means[metric], confidence)[0] for metric in QA_METRICS}
    return result, means
