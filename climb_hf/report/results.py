"""Results of an evaluation as the table people read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from climb_hf.results import ResultRow

__all__ = ["result_table"]

_SHOWN = ("auc", "sensitivity", "specificity", "f1", "accuracy")


def _text(row: "ResultRow | None") -> str | None:
    if row is None:
        return None
    if not row.is_defined:
        return f"n/a ({row.reason})"
    interval = "" if row.interval is None else f" [{row.interval[0]:.3f}, {row.interval[1]:.3f}]"
    return f"{row.value:.3f}{interval}"


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
            key = (row.level, row.source, bool(row.settings.get("without_duplicates")))
            lines.setdefault(key, {})[row.metric] = row
    table: list[dict[str, object]] = []
    for (level, source, is_reduced), found in lines.items():
        first = next(iter(found.values()))
        name = {"source": source, "modality": f"mean of {source}", "overall": "mean of all sources"}[level]
        name += " without duplicates" if is_reduced else ""
        table.append(
            {"source": name, "rows": first.n, "groups": first.n_groups, **{m: _text(found.get(m)) for m in metrics}}
        )
    return table
