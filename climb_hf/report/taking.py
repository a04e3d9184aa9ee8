"""Which of our numbers belong in a table, under which key and label, and the averages by the table's own rule."""

import dataclasses
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from climb_hf.report.cells import Cell
from climb_hf.report.paper import CellKey, PaperTable, paper_rows

__all__ = ["Taken", "take"]

#: What tells models apart, the most telling first.
_TELLING = ("model", "architecture", "definition", "method", "split", "synthetic")
#: Numbers that differ in one of these never share a column, whatever names the lines.
_NEVER_MIXED = ("definition", "split", "synthetic")


@dataclass(frozen=True)
class Taken:
    """A cell of ours in the words of a table.

    Args:
        key (`CellKey`): the paper's key.
        cell (`Cell`): the number.
        label (`str`): name of its column.
    """

    key: CellKey
    cell: Cell
    label: str = "ours"


def take(table: PaperTable, cells: Sequence[Cell]) -> list[Taken]:
    """Return the cells that belong in a table, with labels that tell them apart.

    Args:
        table (`PaperTable`): the table.
        cells (`Sequence[Cell]`): our numbers.

    Returns:
        `list[Taken]`: in the order of the cells, then averages that the table's rule asks for.
    """
    found = []
    for cell in cells:
        place = cell.place
        if place.protocol != table.protocol or place.level not in table.levels:
            continue
        condition = dict(place.condition)
        if any(condition.get(name, value) != value for name, value in table.needs.items()):
            continue
        key = table.own(place.key)
        if key is not None and place.level == "overall":
            if table.number and table.protocol == "multitask" and table.average == "modalities":
                continue  # computed below, by the table's rule
            if place.average not in ("", table.average) and table.number:
                continue
            if not table.number and place.average == "modalities":
                key = dataclasses.replace(key, dataset="overall, by modality")
            elif table.number:
                key = dataclasses.replace(key, dataset=table.overall)
        if key is not None and table.holds(key):
            found.append(Taken(key, cell))
    found = _labelled(found)
    return found + _own_averages(table, found)


def _labelled(found: Sequence[Taken]) -> list[Taken]:
    conditions = list(dict.fromkeys(item.cell.place.condition for item in found))
    values = [dict(condition) for condition in conditions]
    chosen: list[str] = []
    for name in _needed(found, values):
        if len({tuple(own.get(n) for n in [*chosen, name]) for own in values}) > len(
            {tuple(own.get(n) for n in chosen) for own in values}
        ):
            chosen.append(name)
    if not chosen:
        return list(found)
    labels = {
        condition: ", ".join(_label(name, own.get(name, "")) for name in chosen)
        for condition, own in zip(conditions, values, strict=True)
    }
    return [dataclasses.replace(item, label=labels[item.cell.place.condition]) for item in found]


def _needed(found: Sequence[Taken], values: Sequence[Mapping[str, str]]) -> list[str]:
    """Conditions that the columns have to name: those never mixed, and what the name of a line leaves open."""
    names = sorted({name for own in values for name in own}, key=lambda name: (_rank(name), name))
    lines: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    for item in found:
        lines[item.key.get(("model", "pretrain", "training"))].append(dict(item.cell.place.condition))
    return [
        name
        for name in names
        if name in _NEVER_MIXED or any(len({own.get(name) for own in line}) > 1 for line in lines.values())
    ]


def _rank(name: str) -> int:
    return _TELLING.index(name) if name in _TELLING else len(_TELLING) + (name == "recipe")


def _label(name: str, value: str) -> str:
    if name == "synthetic":
        return "synthetic" if value == "True" else "not synthetic"
    return value if name in ("model", "architecture") and value else f"{name} {value or 'unknown'}"


def _own_averages(table: PaperTable, found: Sequence[Taken]) -> list[Taken]:
    """Averages by the rule of the table, where it is not that of the results."""
    by_modality = table.average == "modalities" and table.protocol == "multitask"
    if not table.number or not (by_modality or table.average == "columns"):
        return []
    groups: dict[tuple[object, ...], list[Taken]] = defaultdict(list)
    for item in found:
        if by_modality and item.cell.place.level != "modality":
            continue
        if item.key.task == "average" or item.key.dataset == table.overall:
            continue
        groups[item.label, dataclasses.replace(item.key, dataset="", task="")].append(item)
    columns = {n.key.get(("dataset", "task")) for n in paper_rows(table) if n.key.dataset != table.overall}
    averages = []
    for own in groups.values():
        defined = [item.cell.value for item in own if not math.isnan(item.cell.value)]
        remark = "Ours is the mean of the means by modality, as the paper's."
        if table.average == "columns":
            remark = "" if len(defined) == len(columns) else f"Ours is the mean of {len(defined)} of {len(columns)}."
        key = dataclasses.replace(
            own[0].key, dataset=table.overall, task="average" if table.columns[0] == "task" else own[0].key.task
        )
        cell = Cell(
            dataclasses.replace(own[0].cell.place, level="overall", key=key),
            statistics.fmean(defined) if defined else math.nan, sum(item.cell.n for item in own),
            n_defined=len(defined), reason="" if defined else "undefined for every column", remark=remark,
        )  # fmt: skip
        averages.append(Taken(key, cell, own[0].label))
    return averages
