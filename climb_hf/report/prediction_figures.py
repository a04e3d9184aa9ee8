"""Figures that the papers do not have: scores of subgroups, and how far probabilities can be believed."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from climb_hf.report.predictions import SourcePredictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from climb_hf.results import ResultRow

__all__ = ["ReliabilityBin", "forest_figure", "forest_rows", "reliability_bins", "reliability_figure"]

_BLUE, _ORANGE, _GREY = "#1f5fa8", "#b35900", "#8c959f"
_MAX_PANELS = 12


def forest_rows(rows: "Sequence[ResultRow]", metric: str = "auc") -> "dict[str, list[ResultRow]]":
    """Return the scores of subgroups by model, each source's own score before them.

    Args:
        rows (`Sequence[ResultRow]`): results.
        metric (`str`, *optional*, defaults to `"auc"`): the metric.

    Returns:
        `dict[str, list[ResultRow]]`: by model, definition and seed, only sources that have subgroups.
    """
    found: dict[str, dict[str, list[ResultRow]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.metric == metric and row.level == "source" and not row.is_without_duplicates:
            is_single = row.settings.get("training") == "single-task"
            called = f"{row.settings.get('architecture')}, one model per source" if is_single else row.model or "model"
            name = f"{called}, definition {row.definition}, seed {row.seed}"
            found[name][row.source].append(row)
    chosen = {
        name: [row for own in sources.values() if any(r.subgroup for r in own)
               for row in sorted(own, key=lambda r: (r.subgroup is not None, r.subgroup or ""))]
        for name, sources in found.items()
    }  # fmt: skip
    return {name: own for name, own in chosen.items() if own}


def forest_figure(rows: "Sequence[ResultRow]", metric: str = "auc") -> "Figure":
    """Draw one line per source and subgroup; an undefined number leaves its line empty.

    Args:
        rows (`Sequence[ResultRow]`): from `forest_rows`.
        metric (`str`, *optional*, defaults to `"auc"`): their metric.

    Returns:
        `matplotlib.figure.Figure`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 0.9 + 0.26 * len(rows)), layout="constrained")
    axes: Any = figure.subplots()
    for place, row in enumerate(rows):
        colour = _ORANGE if row.subgroup is None else _BLUE
        if row.interval is not None:
            axes.plot(row.interval, [place] * 2, color=colour, linewidth=1.6, label="_interval")
        if row.is_defined:
            axes.plot([row.value], [place], "s" if row.subgroup is None else "o", color=colour, markersize=5)
    axes.set_yticks(range(len(rows)), [f"{row.subgroup or row.source} (n = {row.n})" for row in rows])
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_fontweight("normal" if row.subgroup else "bold")
    axes.invert_yaxis()
    axes.set_xlabel(f"{metric.upper()}, 95 % interval")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions of like confidence.

    Args:
        confidence (`float`): their mean probability.
        share (`float`): how often they were right.
        count (`int`): how many.
    """

    confidence: float
    share: float
    count: int


def reliability_bins(own: SourcePredictions, n_bins: int = 15) -> list[ReliabilityBin]:
    """Put predictions into bins of equal width, as `climb_hf.metrics.expected_calibration_error` does.

    Args:
        own (`SourcePredictions`): of one source. Single-label: the highest probability of a row and whether that class
            is right. Multi-label: every class's probability and whether it is present.
        n_bins (`int`, *optional*, defaults to `15`): bins between 0 and 1.

    Returns:
        `list[ReliabilityBin]`: those that hold something, in ascending order.
    """
    chances = own.probabilities()
    if own.multi_label:
        confidence, correct = chances[own.counted], own.references[own.counted]
    else:
        rows = np.flatnonzero((own.references & own.counted).any(axis=1))
        top = chances[rows].argmax(axis=1)
        confidence, correct = chances[rows, top], own.references[rows, top]
    bins = np.searchsorted(np.arange(1, n_bins) / n_bins, confidence, side="left")
    return [
        ReliabilityBin(float(confidence[chosen].mean()), float(correct[chosen].mean()), int(chosen.sum()))
        for number in range(n_bins)
        if (chosen := bins == number).any()
    ]


def reliability_figure(sources: Mapping[str, SourcePredictions]) -> "Figure":
    """Draw a reliability diagram per source: points on the diagonal are probabilities that can be believed.

    Args:
        sources (`Mapping[str, SourcePredictions]`): by source; the first twelve are drawn.

    Returns:
        `matplotlib.figure.Figure`: the area of a point follows the number of predictions.
    """
    from matplotlib.figure import Figure

    drawn = list(sources.items())[:_MAX_PANELS]
    columns = min(4, len(drawn))
    n_rows = math.ceil(len(drawn) / columns)
    figure = Figure(figsize=(2.6 * columns + 0.4, 2.7 * n_rows), layout="constrained")
    panels = list(figure.subplots(n_rows, columns, squeeze=False).flat)
    for axes, (name, own) in zip(panels, drawn, strict=False):
        bins = reliability_bins(own)
        total = sum(item.count for item in bins)
        sizes = [8 + 150 * item.count / total for item in bins]
        axes.plot([0, 1], [0, 1], color=_GREY, linewidth=1, linestyle=":", label="_diagonal")
        axes.plot([b.confidence for b in bins], [b.share for b in bins], color=_BLUE, linewidth=1)
        axes.scatter([b.confidence for b in bins], [b.share for b in bins], s=sizes, color=_BLUE, alpha=0.7)
        axes.set(title=name, xlim=(0, 1), ylim=(0, 1), xlabel="probability", ylabel="share that is right")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(drawn) :]:
        axes.set_visible(False)
    return figure
