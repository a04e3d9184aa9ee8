"""Figures of a training run: the learning curve, and one number per source with its interval."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from climb_hf.results import ResultRow

__all__ = ["learning_curve", "metric_by_source"]

_BLUE, _ORANGE = "#1f5fa8", "#b35900"


def learning_curve(history: Sequence[Mapping[str, Any]], metric: str = "eval_mean_auc") -> "Figure":
    """Draw loss and a validation metric against the epoch.

    Args:
        history (`Sequence[Mapping]`): `trainer.state.log_history`.
        metric (`str`, *optional*, defaults to `"eval_mean_auc"`): key of the metric.

    Returns:
        `matplotlib.figure.Figure`: without a window; nothing is shown.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 3.2), layout="constrained")
    axes = figure.subplots(1, 2)
    series = (("loss", "training loss", _BLUE), ("eval_loss", "held-out loss", _ORANGE))
    for key, label, colour in series:
        points = [(row["epoch"], row[key]) for row in history if key in row and "epoch" in row]
        if points:
            axes[0].plot(*zip(*points, strict=True), color=colour, label=label, marker="o", markersize=3)
    points = [(row["epoch"], row[metric]) for row in history if metric in row]
    if points:
        axes[1].plot(*zip(*points, strict=True), color=_ORANGE, marker="o", markersize=3)
    axes[0].set(xlabel="epoch", ylabel="cross-entropy")
    axes[1].set(xlabel="epoch", ylabel="mean AUC over sources", ylim=(min([0.45, *(y for _, y in points)]), 1.01))
    axes[0].legend(frameon=False)
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
    return figure


def metric_by_source(rows: "Sequence[ResultRow]", metric: str = "auc") -> "Figure":
    """Draw one metric per source as a point with its interval; an undefined number leaves its line empty.

    Args:
        rows (`Sequence[ResultRow]`): results; only rows of single sources with this metric are drawn.
        metric (`str`, *optional*, defaults to `"auc"`): the metric.

    Returns:
        `matplotlib.figure.Figure`.
    """
    from matplotlib.figure import Figure

    chosen = [row for row in rows if row.metric == metric and row.level == "source" and row.subgroup is None]
    figure = Figure(figsize=(8.5, 0.9 + 0.4 * len(chosen)), layout="constrained")
    axes = figure.subplots()
    for position, row in enumerate(reversed(chosen)):
        if row.interval is not None:
            axes.plot(row.interval, [position] * 2, color=_BLUE, linewidth=2)
        axes.plot([row.value], [position], "o", color=_BLUE)
    axes.set_yticks(range(len(chosen)), [f"{row.source} (n = {row.n})" for row in reversed(chosen)])
    axes.set(xlabel=f"{metric.upper()}, 95 % interval", xlim=(min([0.45, *(r.value for r in chosen)]), 1.01))
    axes.axvline(0.5, color="#8c959f", linewidth=1, linestyle=":")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
