"""Numbers of retrieval and zero-shot classification as the tables people read."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from climb_hf.results import ResultRow

__all__ = ["retrieval_table", "zero_shot_table"]

_ZERO_SHOT = ("f1", "f1_positive", "auc", "top1")


def _text(row: "ResultRow") -> str:
    return row.text(1 if row.metric == "median_rank" else 3)


def _source(row: "ResultRow") -> str:
    name = {"source": row.source, "modality": f"mean of {row.source}"}.get(row.level, "mean of all sources")
    return f"{name} without duplicates" if row.is_without_duplicates else name


def _repeats(row: "ResultRow") -> bool:
    """Whether a row is the mean over one source, which is that source."""
    return row.level != "source" and row.n_defined == 1


def retrieval_table(rows: "Sequence[ResultRow]") -> list[dict[str, object]]:
    """Return one line per source, kind of match and direction.

    Args:
        rows (`Sequence[ResultRow]`): results of `climb_hf.protocols.retrieval.retrieve`.

    Returns:
        `list[dict]`: `source`, `match`, `direction`, `rows` (queries), then each metric with its interval as text, and
        the chance level of each depth.

    Example:
        >>> from climb_hf.results import ResultRow
        >>> settings = {"positives": "row", "direction": "image_to_text", "chance": 0.1}
        >>> row = ResultRow(source="a", split="test", metric="recall@10", value=0.9, n=100, settings=settings)
        >>> retrieval_table([row])[0]["recall@10"]
        '0.900 (chance 0.100)'
    """
    lines: dict[tuple[object, ...], dict[str, object]] = {}
    metrics = dict.fromkeys(row.metric for row in rows)
    for row in rows:
        if _repeats(row):
            continue
        key = (_source(row), row.settings.get("positives"), row.settings.get("direction"))
        first = {"source": key[0], "match": key[1], "direction": key[2], "rows": row.n, **metrics}
        chance = row.settings.get("chance")
        text = _text(row)
        lines.setdefault(key, first)[row.metric] = text if chance is None else f"{text} (chance {chance:.3f})"
    return list(lines.values())


def zero_shot_table(rows: "Sequence[ResultRow]") -> list[dict[str, object]]:
    """Return one line per template set and source or average.

    Args:
        rows (`Sequence[ResultRow]`): results of `climb_hf.protocols.zero_shot.zero_shot`.

    Returns:
        `list[dict]`: `source`, `templates`, `rows`, `groups`, macro F1, F1 of the positive class where there are two,
        AUC and top-1 accuracy with their intervals as text.

    Example:
        >>> from climb_hf.results import ResultRow
        >>> row = ResultRow(source="a", split="test", metric="f1", value=0.5, n=9, settings={"templates": "domain"})
        >>> zero_shot_table([row])[0]["f1"]
        '0.500'
    """
    lines: dict[tuple[object, ...], dict[str, object]] = {}
    for row in rows:
        if row.metric not in _ZERO_SHOT or _repeats(row):
            continue
        key = (_source(row), row.settings.get("templates"))
        first: dict[str, object] = {"source": key[0], "templates": key[1], "rows": row.n, "groups": row.n_groups}
        lines.setdefault(key, {**first, **dict.fromkeys(_ZERO_SHOT)})[row.metric] = _text(row)
    return list(lines.values())
