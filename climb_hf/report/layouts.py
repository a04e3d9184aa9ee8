"""Layouts for results that no printed table has a place for: those of the fitting printed tables."""

import dataclasses
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from climb_hf.report.cells import Cell
from climb_hf.report.paper.tables import PaperTable

__all__ = ["own_tables"]

_ALL = ("source", "modality", "overall")


@dataclass(frozen=True)
class _Layout:
    title: str
    split_by: tuple[str, ...]
    lines: tuple[str, ...]
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    main: tuple[str, ...]


_SCORES = ("auc", "sensitivity", "specificity", "f1", "accuracy", "top1", "exact_match")
_LAYOUTS = {
    "multitask": _Layout("{model}, {training} training, by source", ("model", "training"), ("dataset",), ("metric",),
                         (*_SCORES, "brier", "ece"), ("auc",)),
    "transfer": _Layout("Few-shot transfer to {dataset}", ("dataset",), ("model", "pretrain"), ("shots", "metric"),
                        ("auc", "sensitivity", "specificity"), ("auc",)),
    "fusion": _Layout("Fusion", (), ("model", "pretrain"), ("shots", "task", "metric"),
                      ("mae", "auc", "sensitivity", "specificity"), ("mae", "auc")),
    "retrieval": _Layout("Image-text retrieval", (), ("model", "dataset", "task"), ("metric",),
                         ("recall@1", "recall@5", "recall@10", "recall@50", "recall@200", "median_rank",
                          "average_recall"), ("recall@1", "recall@5", "recall@10", "recall@50", "recall@200")),
    "zero_shot": _Layout("Zero-shot classification", (), ("model", "task", "dataset"), ("metric",),
                         ("f1", "f1_positive", "auc", "top1"), ("f1",)),
    "linear_probe": _Layout("Linear probing", (), ("model", "dataset"), ("metric",),
                            ("f1", "f1_positive", "auc", "accuracy", "top1"), ("f1",)),
    "qa": _Layout("CLIMB-QA by source", (), ("model", "training", "dataset"), ("metric",),
                  ("accuracy", "sensitivity", "specificity", "f1", "invalid"), ("accuracy",)),
}  # fmt: skip


def own_tables(cells: Sequence[Cell], placed: Collection[Cell]) -> list[tuple[PaperTable, list[Cell]]]:
    """Return tables for the cells that no printed table has taken.

    Args:
        cells (`Sequence[Cell]`): all cells.
        placed (`Collection[Cell]`): those that stand in a printed table.

    Returns:
        `list[tuple[PaperTable, list[Cell]]]`: layouts without a number, each with its cells.
    """
    taken = {id(cell) for cell in placed}
    groups: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for cell in cells:
        layout = _layout(cell)
        groups[cell.place.protocol, *cell.place.key.get(layout.split_by)].append(cell)
    tables = []
    for own in groups.values():
        layout = _layout(own[0])
        left = [
            c for c in own if id(c) not in taken and c.place.level == "source" and c.place.key.metric in layout.main
        ]
        if left:
            models = {cell.place.key.model for cell in left}
            tables.append((_table(own[0], layout), [cell for cell in own if cell.place.key.model in models]))
    return tables


def _layout(cell: Cell) -> _Layout:
    found = _LAYOUTS.get(cell.place.protocol)
    if found is None:
        metric = (cell.place.key.metric,)
        return _Layout(f"Results of `{cell.place.protocol}`", (), ("model", "dataset"), ("metric",), metric, metric)
    return found


def _table(cell: Cell, layout: _Layout) -> PaperTable:
    words = dataclasses.asdict(cell.place.key)
    words["training"] = words["training"] or "unknown"
    return PaperTable(
        "", layout.title.format(**words), cell.place.protocol, layout.lines, layout.columns, layout.metrics,
        levels=_ALL,
    )  # fmt: skip
