"""Figures of the benchmark: its composition, what joint training changes, curves over shots, modalities, fusion."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from climb_hf.report.benchmark_points import Difference, Point, composition_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["composition", "difference_figure", "few_shot_figure", "fusion_figure", "modality_figure"]

_COLOURS = ("#1f5fa8", "#b35900", "#3a7d44", "#7a4988", "#8a6d1f", "#2b8a8f", "#a33b4a", "#57606a")
_GREY = "#8c959f"
_SHAPES = {"novel task": ("*", "#b35900"), "understudied modality": ("s", "#3a7d44"),
           "underrepresented region": ("^", "#7a4988")}  # fmt: skip


def composition() -> "Figure":
    """Draw the samples per modality, on a logarithmic axis.

    Returns:
        `matplotlib.figure.Figure`: one bar per modality.
    """
    rows = composition_rows()[0][::-1]
    figure, axes = _canvas(7.5, 0.8 + 0.32 * len(rows))
    axes.barh([row["modality"] for row in rows], [row["samples"] for row in rows], color=_COLOURS[0], height=0.7)
    for place, row in enumerate(rows):
        axes.text(row["samples"] * 1.15, place, f"{row['samples']:,} · {row['sources']}", va="center", fontsize=8)
    axes.set_xscale("log")
    axes.set(xlabel="samples (and number of sources), published sizes", xlim=(50, 4e7))
    return figure


def difference_figure(pairs: Sequence[Difference]) -> "Figure":
    """Draw the difference per source, with the marks of the source.

    Args:
        pairs (`Sequence[Difference]`): in the order of the lines.

    Returns:
        `matplotlib.figure.Figure`: one bar per source.
    """
    figure, axes = _canvas(8.0, 1.3 + 0.28 * len(pairs))
    places = range(len(pairs))
    colours = [_COLOURS[0] if pair.value >= 0 else _COLOURS[1] for pair in pairs]
    axes.barh(list(places), [pair.value for pair in pairs], color=colours, alpha=0.8, height=0.65)
    values = [0.0, *(pair.value for pair in pairs)]
    step = 0.05 * (max(values) - min(values) or 1.0)
    right = max(values) + step
    for number, (mark, (shape, colour)) in enumerate(_SHAPES.items()):
        marked = [place for place in places if mark in pairs[place].marks]
        axes.plot([right + step * number] * len(marked), marked, shape, color=colour, label=mark, linestyle="none")
    axes.axvline(0, color=_GREY, linewidth=1)
    axes.set_yticks(list(places), [pair.source for pair in pairs])
    axes.invert_yaxis()
    axes.set_xlabel("AUC, multitask minus single-task")
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.4, 1.0), fontsize=8)
    return figure


def few_shot_figure(curves: Mapping[str, Mapping[str, Mapping[str, Point]]], metric: str = "auc") -> "Figure":
    """Draw one panel per source, one curve per model.

    Args:
        curves (`Mapping`): from `curve_points`.
        metric (`str`, *optional*, defaults to `"auc"`): its metric.

    Returns:
        `matplotlib.figure.Figure`.
    """
    from matplotlib.figure import Figure

    columns = min(3, len(curves))
    n_rows = -(-len(curves) // columns)
    figure = Figure(figsize=(3.6 * columns + 0.6, 3.0 * n_rows), layout="constrained")
    panels: Any = figure.subplots(n_rows, columns, squeeze=False).flat
    models = list(dict.fromkeys(model for own in curves.values() for model in own))
    for axes, (source, own) in zip(panels, curves.items(), strict=False):
        shots = sorted({k for curve in own.values() for k in curve}, key=_shot_order)
        for model, curve in own.items():
            _draw_series(axes, {k: curve.get(k) for k in shots}, model, models, is_line=True)
        axes.set_xticks(range(len(shots)), shots)
        axes.set(title=source, xlabel="examples per class", ylabel=metric.upper())
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0.0), min(high, 1.0))  # an interval over few seeds may leave the range of the metric
        _bare(axes)
    for axes in list(panels):
        axes.set_visible(False)
    handles = {
        text: handle for axes in figure.axes for handle, text in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(handles.values()), list(handles), frameon=False, loc="outside lower center", ncols=1, fontsize=8
    )
    return figure


def _shot_order(text: str) -> tuple[int, str]:
    return (int(text) if text.isdecimal() else 10**9, text)


def _draw_series(
    axes: Any,  # noqa: ANN401 - a matplotlib panel
    points: Mapping[str, Point | None],
    name: str,
    names: Sequence[str],
    *,
    is_line: bool,
) -> None:
    number = names.index(name)
    colour, shift = _COLOURS[number % len(_COLOURS)], (number - (len(names) - 1) / 2) * min(0.12, 0.7 / len(names))
    placed = [(place + shift, point) for place, point in enumerate(points.values()) if point is not None]
    for place, point in placed:
        if point.interval is not None:
            axes.plot([place] * 2, point.interval, color=colour, linewidth=1.4, label="_interval")
    style = "o-" if is_line else "o"
    axes.plot(
        [p for p, _ in placed], [point.value for _, point in placed], style, color=colour, label=name, markersize=5
    )


def modality_figure(series: Mapping[str, Mapping[str, Point]], metric: str = "auc") -> "Figure":
    """Draw one column of points per modality, one colour per model.

    Args:
        series (`Mapping`): model -> modality -> `Point`.
        metric (`str`, *optional*, defaults to `"auc"`): its metric.

    Returns:
        `matplotlib.figure.Figure`.
    """
    modalities = list(dict.fromkeys(name for own in series.values() for name in own))
    figure, axes = _canvas(max(5.0, 1.2 + 1.15 * len(modalities)), 4.2)
    for model, own in series.items():
        _draw_series(axes, {name: own.get(name) for name in modalities}, model, list(series), is_line=False)
    axes.set_xticks(range(len(modalities)), [name.replace("_", "\n") for name in modalities])
    axes.set_ylabel(f"{metric.upper()}, mean over the sources")
    if metric == "auc":
        axes.axhline(0.5, color=_GREY, linewidth=1, linestyle=":")
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    return figure


def fusion_figure(series: Mapping[str, Mapping[str, Point]], metric: str = "auc") -> "Figure":
    """Draw bars per strategy, one colour per setting.

    Args:
        series (`Mapping`): setting -> strategy -> `Point`.
        metric (`str`, *optional*, defaults to `"auc"`): its metric.

    Returns:
        `matplotlib.figure.Figure`: one bar per number.
    """
    kinds = list(dict.fromkeys(kind for own in series.values() for kind in own))
    figure, axes = _canvas(max(5.0, 1.8 + 1.5 * len(kinds)), 3.8)
    width = 0.8 / len(series)
    for number, (name, own) in enumerate(series.items()):
        places = [kinds.index(kind) + (number - (len(series) - 1) / 2) * width for kind in own]
        colour = _COLOURS[number % len(_COLOURS)]
        axes.bar(places, [p.value for p in own.values()], 0.92 * width, color=colour, alpha=0.8, label=name)
        for place, point in zip(places, own.values(), strict=True):
            if point.interval is not None:
                axes.plot([place] * 2, point.interval, color="#24292f", linewidth=1.3, label="_interval")
    axes.set_xticks(range(len(kinds)), [kind.replace("_", "\n") for kind in kinds])
    axes.set_ylabel("AUC, 48 h mortality" if metric == "auc" else "mean absolute error, days")
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    return figure


def _canvas(width: float, height: float) -> "tuple[Figure, Any]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes: Any = figure.subplots()
    _bare(axes)
    return figure, axes


def _bare(axes: Any) -> None:  # noqa: ANN401 - a matplotlib panel
    axes.spines[["top", "right"]].set_visible(False)
