"""The numbers of the figures of the benchmark, from results and from the papers' tables."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from climb_hf.metrics.significance import mean_interval
from climb_hf.report.cells import Cell
from climb_hf.report.paper import paper_numbers
from climb_hf.report.paper.origins import origin_of

__all__ = [
    "Difference",
    "Point",
    "auc_differences",
    "composition_rows",
    "curve_points",
    "fusion_points",
    "modality_points",
    "paper_differences",
    "paper_modality_points",
]


def composition_rows() -> tuple[list[dict[str, Any]], list[str]]:
    """Return the samples per modality of the CLIMB benchmark, from the published sizes of the splits.

    Returns:
        `tuple[list[dict], list[str]]`: `modality`, `sources`, `samples`, the largest first; and the sources that
        publish no sizes. Finer classes of the same records are not counted again.

    Example:
        >>> composition_rows()[0][0]["modality"]
        'CT'
    """
    from climb_hf.registry import get_source, list_sources

    sizes: dict[str, list[int]] = defaultdict(list)
    unknown = []
    for name in list_sources(benchmark="climb"):
        source = get_source(name)
        if name == "ptbxl_finegrained":  # the records of ptbxl
            continue
        if source.published_splits:
            sizes[source.modality].append(sum(source.published_splits.values()))
        else:
            unknown.append(name)
    rows = [{"modality": name, "sources": len(own), "samples": sum(own)} for name, own in sizes.items()]
    return sorted(rows, key=lambda row: -row["samples"]), unknown


@dataclass(frozen=True)
class Difference:
    """What joint training changes for a source.

    Args:
        source (`str`): the source.
        multitask (`float`): AUC of the model of many sources.
        single_task (`float`): AUC of the source's own model.
    """

    source: str
    multitask: float
    single_task: float

    @property
    def value(self) -> float:
        """Multitask minus single-task."""
        return self.multitask - self.single_task

    @property
    def marks(self) -> tuple[str, ...]:
        """See `climb_hf.report.paper.origins`."""
        origin = origin_of(self.source)
        return origin.marks if origin is not None else ()


def auc_differences(cells: Sequence[Cell]) -> dict[str, list[Difference]]:
    """Pair the AUC of multitask and single-task training of one architecture.

    Args:
        cells (`Sequence[Cell]`): our numbers.

    Returns:
        `dict[str, list[Difference]]`: by multitask model, the largest gain first; only sources that both define, by
        the same definition, on the same split, and either both or neither on synthetic data.
    """
    joint: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    single: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for cell in cells:
        key, condition = cell.place.key, dict(cell.place.condition)
        if cell.place.protocol != "multitask" or cell.place.level != "source" or key.metric != "auc":
            continue
        same = tuple(condition.get(name, "") for name in ("architecture", "definition", "split", "synthetic"))
        if key.training == "single-task" and not math.isnan(cell.value):
            single[same].setdefault(key.dataset, cell.value)
        elif key.training == "multitask" and not math.isnan(cell.value):
            called = condition.get("model", "")
            joint[key.model, called, condition.get("recipe", ""), *same][key.dataset] = cell.value
    models = [head[0] for head in joint]
    paired = {}
    for head, own in joint.items():
        if pairs := _sorted(own, single.get(head[3:], {})):
            title = head[0] if models.count(head[0]) == 1 else f"{head[0]} ({head[1]}, definition {head[4]})"
            while title in paired:
                title += f", {head[2]}"
            paired[title] = pairs
    return paired


def _sorted(multitask: Mapping[str, float], single_task: Mapping[str, float]) -> list[Difference]:
    pairs = [Difference(name, multitask[name], single_task[name]) for name in multitask if name in single_task]
    return sorted(pairs, key=lambda pair: -pair.value)


def paper_differences() -> list[Difference]:
    """Return the differences between the CLIMB paper's Tables 16 and 21.

    Returns:
        `list[Difference]`: ConvNeXtV2, the sources with both numbers, the largest gain first.

    Example:
        >>> len(paper_differences())
        23
    """
    tables: dict[str, dict[str, float]] = {"16": {}, "21": {}}
    for number in paper_numbers("climb"):
        if number.table in tables and number.key.metric == "auc" and number.text and number.key.dataset != "overall":
            tables[number.table][number.key.dataset] = number.value
    return _sorted(tables["16"], tables["21"])


@dataclass(frozen=True)
class Point:
    """A number of a figure.

    Args:
        value (`float`): the number.
        interval (`tuple[float, float]`, *optional*): around it.
    """

    value: float
    interval: tuple[float, float] | None = None


def _point(cell: Cell) -> Point:
    return Point(cell.value, mean_interval(cell.values)[1] or cell.interval)


def _called(cell: Cell) -> str:
    key = cell.place.key
    return " · ".join(part for part in (key.model, key.pretrain, dict(cell.place.condition).get("method", "")) if part)


def curve_points(cells: Sequence[Cell], metric: str = "auc") -> dict[str, dict[str, dict[str, Point]]]:
    """Return the curves over shots.

    Args:
        cells (`Sequence[Cell]`): our numbers.
        metric (`str`, *optional*, defaults to `"auc"`): the metric.

    Returns:
        `dict`: source -> model -> shots -> `Point`; intervals over seeds where there are several.
    """
    found: dict[str, dict[str, dict[str, Point]]] = {}
    for cell in cells:
        key = cell.place.key
        if cell.place.protocol == "transfer" and key.metric == metric and not math.isnan(cell.value):
            found.setdefault(key.dataset, {}).setdefault(_called(cell), {}).setdefault(key.shots, _point(cell))
    return found


def modality_points(cells: Sequence[Cell], metric: str = "auc") -> dict[str, dict[str, Point]]:
    """Return the numbers of models by modality.

    Args:
        cells (`Sequence[Cell]`): our numbers.
        metric (`str`, *optional*, defaults to `"auc"`): the metric.

    Returns:
        `dict`: model -> modality -> `Point`.
    """
    found: dict[str, dict[str, Point]] = {}
    for cell in cells:
        key = cell.place.key
        if cell.place.protocol == "multitask" and cell.place.level == "modality" and key.metric == metric:
            definition = dict(cell.place.condition)["definition"]
            name = key.model if definition == "climb" else f"{key.model} ({definition})"
            if not math.isnan(cell.value):
                found.setdefault(name, {}).setdefault(key.dataset, _point(cell))
    return found


def paper_modality_points(metric: str = "auc") -> dict[str, dict[str, Point]]:
    """Return the numbers of Table 2 of the CLIMB paper.

    Args:
        metric (`str`, *optional*, defaults to `"auc"`): the metric.

    Returns:
        `dict`: model -> modality -> `Point`.
    """
    found: dict[str, dict[str, Point]] = {}
    for number in paper_numbers("climb"):
        key = number.key
        if number.table == "2" and key.metric == metric and number.text and key.dataset != "overall":
            found.setdefault(f"{key.model} (paper)", {})[key.dataset] = Point(number.value)
    return found


def fusion_points(cells: Sequence[Cell], metric: str, *, of_paper: bool = False) -> dict[str, dict[str, Point]]:
    """Return the numbers of fusion by strategy.

    Args:
        cells (`Sequence[Cell]`): our numbers.
        metric (`str`): `"auc"` (48 h mortality) or `"mae"` (length of stay).
        of_paper (`bool`, *optional*, defaults to `False`): Table 5 of the CLIMB paper instead of ours.

    Returns:
        `dict`: setting (shots, pretraining) -> strategy -> `Point`.
    """
    found: dict[str, dict[str, Point]] = {}
    if of_paper:
        for number in paper_numbers("climb"):
            if number.table == "5" and number.key.metric == metric:
                name = f"{_shots(number.key.shots)}, {number.key.pretrain} encoders (paper)"
                found.setdefault(name, {})[number.key.model.removeprefix("fusion/")] = Point(number.value)
        return found
    for cell in cells:
        key = cell.place.key
        if cell.place.protocol == "fusion" and key.metric == metric and not math.isnan(cell.value):
            name = _shots(key.shots) + (f", {key.pretrain} encoders" if key.pretrain else "")
            found.setdefault(name, {}).setdefault(key.model.removeprefix("fusion/"), _point(cell))
    return found


def _shots(text: str) -> str:
    return f"{text} per class" if text.isdecimal() else "all records"
