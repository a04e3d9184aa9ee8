"""From the logits of zero-shot classification to result rows: `climb_hf.metrics` over the sources' own classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from climb_hf.metrics import masked_metrics
from climb_hf.registry import get_source
from climb_hf.results import WITHOUT_DUPLICATES, ResultRow, rows_from_metrics

if TYPE_CHECKING:
    from datasets import Dataset

    from climb_hf.protocols.zero_shot import Task

__all__ = ["Scored", "score_tasks"]

_NO_THRESHOLD = "a cosine has no threshold at which a class of a multi-label source is present"
_DECIDED = ("sensitivity", "specificity", "f1", "accuracy", "exact_match")


@dataclass(frozen=True)
class Scored:
    """The records of one source with their logits.

    Args:
        task (`Task`): the classes.
        outcomes (`NDArray`): shape `(n, C)`, bool.
        known (`NDArray`): cells whose outcome is known, shape `(n, C)`, bool.
        logits (`NDArray`): shape `(n, C)`, float64.
        groups (`list[str]`): patient of each record.
        is_copy (`NDArray`): records that are copies of another, shape `(n,)`, bool.
    """

    task: "Task"
    outcomes: NDArray[np.bool_]
    known: NDArray[np.bool_]
    logits: NDArray[np.float64]
    groups: list[str]
    is_copy: NDArray[np.bool_]

    @classmethod
    def of(cls, task: "Task", part: "Dataset", logits: NDArray[np.float64]) -> "Scored":
        """Take labels and groups from the columns of a split."""
        columns = part.with_format(None)
        names = part.features["labels"].feature.names
        position = {names.index(concept): column for column, concept in enumerate(task.concepts)}

        def table(column: str) -> NDArray[np.bool_]:
            cells = np.zeros(logits.shape, dtype=np.bool_)
            for row, labels in enumerate(columns[column]):
                cells[row, [position[label] for label in labels if label in position]] = True
            return cells

        copies = np.array([of is not None for of in columns["duplicate_of"]], dtype=np.bool_)
        return cls(task, table("labels"), ~table("uncertain"), logits, list(columns["group"]), copies)

    def without_copies(self) -> "Scored":
        """The records that are no copy of another."""
        kept = ~self.is_copy
        groups = [group for group, is_kept in zip(self.groups, kept, strict=True) if is_kept]
        return replace(
            self,
            outcomes=self.outcomes[kept],
            known=self.known[kept],
            logits=self.logits[kept],
            groups=groups,
            is_copy=self.is_copy[kept],
        )


def score_tasks(scored: Sequence[Scored], facts: Mapping[str, Any], *, n_bootstrap: int, seed: int) -> list[ResultRow]:
    """Score sources, each over its own classes.

    Args:
        scored (`Sequence[Scored]`): the sources.
        facts (`Mapping`): fields of every row, and `facts_by_source`.
        n_bootstrap (`int`): bootstrap resamples; 0 for no intervals.
        seed (`int`): seed of the bootstrap.

    Returns:
        `list[ResultRow]`: per source, modality and over all; per class `class_auc` and `class_f1`; for two classes
        `f1_positive`; then, per source with copies, without them.
    """
    options = {"n_bootstrap": n_bootstrap, "seed": seed}
    results = _score(scored, facts, options)
    reduced = [own.without_copies() for own in scored if own.is_copy.any()]
    reduced = [own for own in reduced if len(own.groups)]
    if reduced:
        again = _score(reduced, {**facts, "settings": {**facts["settings"], **WITHOUT_DUPLICATES}}, options)
        results += [row for row in again if row.level == "source"]
    return results


def _score(scored: Sequence[Scored], facts: Mapping[str, Any], options: Mapping[str, Any]) -> list[ResultRow]:
    if not scored:
        return []
    everything = _metrics(scored, options)
    rows = rows_from_metrics(everything, **facts)
    single = [own for own in scored if not own.task.multi_label]
    if len(single) < len(scored):  # of the multi-label sources the area under the curve counts, and nothing else
        rows = [row for row in rows if row.metric == "auc"]
        if single:
            rows += [row for row in rows_from_metrics(_metrics(single, options), **facts) if row.metric != "auc"]
    for own in scored:
        table = everything["sources"][own.task.source]
        by_source = facts["facts_by_source"].get(own.task.source, {})
        common = {
            **{key: value for key, value in facts.items() if key != "facts_by_source"},
            **by_source,
            "source": own.task.source,
            "n": table["n"],
            "n_groups": table["n_groups"],
        }
        if own.task.multi_label:
            rows += [
                ResultRow(**common, metric=metric, value=float("nan"), reason=_NO_THRESHOLD) for metric in _DECIDED
            ]
        rows += _class_rows(own, table, common)
        if len(own.task.names) == 2 and not own.task.multi_label:
            rows.append(_positive_f1(own, common, options))
    return rows


def _metrics(scored: Sequence[Scored], options: Mapping[str, Any]) -> dict[str, Any]:
    """`masked_metrics` over the classes of all sources side by side."""
    widths = [own.logits.shape[1] for own in scored]
    starts = np.concatenate(([0], np.cumsum(widths)))
    n = sum(len(own.logits) for own in scored)
    outcomes, known = np.zeros((n, starts[-1]), np.bool_), np.zeros((n, starts[-1]), np.bool_)
    logits = np.zeros((n, starts[-1]))
    top = 0
    for own, start, width in zip(scored, starts, widths, strict=False):
        cells = (slice(top, top + len(own.logits)), slice(start, start + width))
        outcomes[cells], known[cells], logits[cells] = own.outcomes, own.known, own.logits
        top += len(own.logits)
    names = [own.task.source for own in scored]
    return masked_metrics(
        outcomes,
        logits,
        [name for name, own in zip(names, scored, strict=True) for _ in own.groups],
        source_classes={
            name: range(start, start + width) for name, start, width in zip(names, starts, widths, strict=False)
        },
        multi_label={own.task.source: own.task.multi_label for own in scored},
        modalities={name: get_source(name).modality for name in names},
        groups=[group for own in scored for group in own.groups],
        valid=None if all(own.known.all() for own in scored) else known,
        **options,
    )


def _class_rows(own: Scored, table: Mapping[str, Any], common: Mapping[str, Any]) -> list[ResultRow]:
    """AUC and (single-label) F1 of every class; what an absent class leaves undefined is NaN with that reason."""
    per_class, rows = table["per_class"], []
    for index, name in enumerate(own.task.names):
        n_positive = per_class["positives"][index]
        settings = {**common["settings"], "class": own.task.concepts[index], "name": name, "n_positive": n_positive}
        values = {"class_auc": per_class["auc"][index], "class_f1": per_class["f1"][index]}
        if own.task.multi_label:
            del values["class_f1"]
        reason = "no record of the class in the split" if not n_positive else "no record of another class"
        ends = per_class.get("auc_interval")
        for metric, value in values.items():
            interval = ends[index] if ends and metric == "class_auc" else None
            if interval is not None and (value != value or any(end != end for end in interval)):
                interval = None
            rows.append(
                ResultRow(
                    **{**common, "settings": settings},
                    metric=metric,
                    value=float(value),
                    interval=None if interval is None else (interval[0], interval[1]),
                    reason=reason if value != value else None,
                )
            )
    return rows


def _positive_f1(own: Scored, common: Mapping[str, Any], options: Mapping[str, Any]) -> ResultRow:
    """F1 of the second of two classes, with its interval."""
    called = (own.logits.argmax(axis=1) == 1).astype(np.float64)
    result = masked_metrics(
        own.outcomes[:, 1:],
        called[:, None],
        [own.task.source] * len(called),
        source_classes={own.task.source: [0]},
        multi_label={own.task.source: True},
        groups=own.groups,
        from_logits=False,
        **options,
    )
    table = result["sources"][own.task.source]
    ends = table.get("intervals", {}).get("f1")
    value = table["f1"]
    is_defined = value == value
    return ResultRow(
        **{**common, "settings": {**common["settings"], "class": own.task.concepts[1], "name": own.task.names[1]}},
        metric="f1_positive",
        value=value,
        interval=tuple(ends) if ends and is_defined and all(end == end for end in ends) else None,
        reason=None if is_defined else "no record of the class, and none called so",
    )
