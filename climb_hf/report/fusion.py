"""Fusion results as a table, a bar chart of the strategies, and one page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import OptionError
from climb_hf.metrics.significance import mean_interval
from climb_hf.report.html import Section, figure_picture, write_report
from climb_hf.report.runs import SYNTHETIC_NOTICE, origin_section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from climb_hf.results import ResultRow

__all__ = ["fusion_table", "strategy_bars", "write_fusion_report"]

_COLOURS = ("#1f5fa8", "#b35900", "#4d7c2f", "#7a4ea3")
_LABELS = {"auc": "AUC", "mae": "mean absolute error in days"}
_KEYS = ("task", "strategy", "modalities", "shots")


def _grouped(rows: "Sequence[ResultRow]") -> "dict[tuple[str, str, str, str], list[ResultRow]]":
    """Rows of the runs that differ in their seed alone, by task, strategy, modalities and shots."""
    found: dict[tuple[str, str, str, str], list[ResultRow]] = {}
    for row in (one for one in rows if one.protocol == "fusion"):
        own = row.settings
        key = (str(own["task"]), str(own["strategy"]), " + ".join(own["modalities"]), str(own["shots"]))
        found.setdefault(key, []).append(row)
    return found


def _summary(rows: "Sequence[ResultRow]") -> tuple[float, tuple[float, float] | None]:
    """Mean over the seeds with Student's t interval, or the one run with its own; undefined numbers are left out."""
    known = [row for row in rows if row.is_defined]
    if len(known) == 1:
        return known[0].value, known[0].interval
    return mean_interval([row.value for row in known])


def fusion_table(rows: "Sequence[ResultRow]") -> list[dict[str, object]]:
    """Return one line per task, strategy, modalities and number of shots.

    Args:
        rows (`Sequence[ResultRow]`): results of the fusion protocol; others are left out.

    Returns:
        `list[dict]`: `task`, `strategy`, `modalities`, `shots`, `seeds`, `records` scored, `left_out`, and each metric
        with its interval: of the run over patients, or of the mean of several seeds over these (Student's t).

    Example:
        >>> from climb_hf.results import ResultRow
        >>> settings = {"task": "los_days", "strategy": "mlp", "modalities": ["image", "text"], "shots": "full"}
        >>> row = ResultRow(source="mimic_iv", split="test", metric="mae", value=2.5, n=9, protocol="fusion",
        ...     interval=(2.0, 3.0), settings=settings, seed=42)
        >>> fusion_table([row])[0]["mae"]
        '2.500 [2.000, 3.000]'
    """
    table: list[dict[str, object]] = []
    for key, found in _grouped(rows).items():
        line: dict[str, object] = dict(zip(_KEYS, key, strict=True))
        line |= {"seeds": len({row.seed for row in found}), "records": found[0].n, "left_out": found[0].n_left_out}
        for metric in dict.fromkeys(row.metric for row in found):
            own = [row for row in found if row.metric == metric]
            value, ends = _summary(own)
            text = f"n/a ({own[0].reason})" if value != value else f"{value:.3f}"
            line[metric] = text if ends is None else f"{text} [{ends[0]:.3f}, {ends[1]:.3f}]"
        table.append(line)
    return table


def strategy_bars(rows: "Sequence[ResultRow]", metric: str = "auc") -> "Figure":
    """Draw one bar per strategy (and modality alone), coloured by the number of shots, with its interval.

    Args:
        rows (`Sequence[ResultRow]`): results of the fusion protocol, of one task.
        metric (`str`, *optional*, defaults to `"auc"`): the metric.

    Returns:
        `matplotlib.figure.Figure`: bars are means over the seeds, dots the seeds, lines the intervals of
        `fusion_table`. An undefined number leaves its place empty.

    Raises:
        OptionError: no row has the metric.
    """
    from matplotlib.figure import Figure

    groups = {key: own for key, found in _grouped(rows).items() if (own := [r for r in found if r.metric == metric])}
    if not groups:
        raise OptionError(f"no fusion result has the metric `{metric}`; run `climb fuse` first.")
    kinds = list(dict.fromkeys(_kind(key) for key in groups))
    shots = list(dict.fromkeys(key[3] for key in groups))
    figure = Figure(figsize=(max(5.0, 1.6 + 1.1 * len(kinds)), 3.6), layout="constrained")
    axes: Any = figure.subplots()
    width = 0.8 / len(shots)
    for key, found in groups.items():
        number = shots.index(key[3])
        place = kinds.index(_kind(key)) + (number - (len(shots) - 1) / 2) * width
        value, ends = _summary(found)
        if value != value:
            continue
        axes.bar(place, value, 0.92 * width, color=_COLOURS[number % len(_COLOURS)], alpha=0.75)
        if ends is not None:
            axes.plot([place, place], ends, color="#24292f", linewidth=1.5)
        if len(found) > 1:
            known = [row.value for row in found if row.is_defined]
            axes.plot([place] * len(known), known, "o", color="#24292f", markersize=3)
    axes.set_xticks(range(len(kinds)), kinds)
    axes.set_ylabel(f"{_LABELS.get(metric, metric)}, 95 % interval")
    if metric == "auc":
        axes.axhline(0.5, color="#8c959f", linewidth=1, linestyle=":")
        axes.set_ylim(0, 1.02)
    if len(shots) > 1:
        names = ["all records" if name == "full" else f"{name} per class" for name in shots]
        handles = [axes.bar(0, 0, color=_COLOURS[i % len(_COLOURS)], alpha=0.75) for i in range(len(shots))]
        axes.legend(handles, names, frameon=False, ncols=len(shots), loc="upper left", bbox_to_anchor=(0, 1.14))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _kind(key: tuple[str, str, str, str]) -> str:
    _, strategy, modalities, _ = key
    return f"{modalities}\nalone" if strategy == "alone" else strategy.replace("_", "\n")


def write_fusion_report(folder: str | Path, rows: "Sequence[ResultRow]") -> Path:
    """Write `fusion-<metric>.png` and `.svg`, and one page with table and figures.

    Args:
        folder (`str` or `Path`): where to.
        rows (`Sequence[ResultRow]`): results of the fusion protocol, of one task.

    Returns:
        `Path`: the page, `report.html`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    own = [row for row in rows if row.protocol == "fusion"]
    figures = []
    for metric in (name for name in ("auc", "mae") if any(row.metric == name for row in own)):
        caption = f"{_LABELS[metric]} by strategy, with 95 % intervals: over patients, or over several seeds."
        figures.append(figure_picture(strategy_bars(own, metric), caption, save_as=folder / f"fusion-{metric}"))
    first = own[0]
    encoders = ", ".join(f"{modality}: {name}" for modality, name in first.settings["encoders"].items())
    sections = [
        Section("Scores", rows=fusion_table(own), figures=figures),
        origin_section(own, {"encoders": encoders, "resamples": first.settings.get("n_bootstrap", 0)}),
    ]
    notice = SYNTHETIC_NOTICE if any(row.synthetic for row in own) else ""
    return write_report(folder / "report.html", f"Fusion: {first.settings['task']}", sections, notice=notice)
