"""Results of an evaluation as the table people read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from climb_hf.results import ResultRow

__all__ = ["result_table"]

_SHOWN = ("auc", "sensitivity", "specificity", "f1", "accuracy")


def result_table(rows: "Sequence[ResultRow]", metrics: Sequence[str] = _SHOWN) -> list[dict[str, object]]:
    """Return one line per source and average, with the number and its interval in each cell.

    Args:
        rows (`Sequence[ResultRow]`): results of one evaluation.
        metrics (`Sequence[str]`, *optional*): metrics in order.

    Returns:
        `list[dict]`: `source`, `rows` (records scored), `groups` (patients), then the metrics as text. Sources scored
        without copies of other records are named so; an undefined number is `n/a` with its reason; a modality of one
        source has no line of its own.

    Example:
        >>> from climb_hf.results import ResultRow
        >>> result_table([ResultRow(source="a", split="test", metric="auc", value=0.9, n=7)], ["auc"])
        [{'source': 'a', 'rows': 7, 'groups': None, 'auc': '0.900'}]
    """
    lines: dict[tuple[str, str, bool], dict[str, ResultRow]] = {}
    for row in rows:
        is_repetition = row.level == "modality" and row.n_defined == 1  # the mean over one source is that source
        if row.subgroup is None and not is_repetition:
            key = (row.level, row.source, row.is_without_duplicates)
            lines.setdefault(key, {})[row.metric] = row
    table: list[dict[str, object]] = []
    for (level, source, is_reduced), found in lines.items():
        first = next(iter(found.values()))
        name = {"source": source, "modality": f"mean of {source}", "overall": "mean of all sources"}[level]
        name += " without duplicates" if is_reduced else ""
        line: dict[str, object] = {"source": name, "rows": first.n, "groups": first.n_groups}
        table.append(line | {metric: found[metric].text() if metric in found else None for metric in metrics})
    return table
