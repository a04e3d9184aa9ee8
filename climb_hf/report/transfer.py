"""Tables and figures of few-shot transfer: a number per k with its interval over seeds, one curve per model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from climb_hf.protocols.aggregating import AGGREGATE, DIFFERENCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from climb_hf.results import ResultRow

__all__ = ["transfer_curve", "transfer_table", "write_transfer_report"]

_COLOURS = ("#1f5fa8", "#b35900", "#3a7d44", "#7a4988")
_SHOWN = ("auc", "sensitivity", "specificity", "f1", "accuracy")


def transfer_table(rows: "Sequence[ResultRow]", metrics: Sequence[str] = _SHOWN) -> list[dict[str, object]]:
    """Return one line per model and k: means over seeds with their intervals, and the difference of two models.

    Args:
        rows (`Sequence[ResultRow]`): results of `climb_hf.protocols.transfer.transfer`.
        metrics (`Sequence[str]`, *optional*): metrics in order.

    Returns:
        `list[dict]`: `model`, `k`, `seeds`, `records` (learned from), then the metrics as text.
    """
    lines: dict[tuple[str, object, bool], dict[str, object]] = {}
    for row in rows:
        kind = row.settings.get("aggregate")
        if kind is None:
            continue
        metric = row.metric.removesuffix("_difference") if kind == DIFFERENCE else row.metric
        name = f"{row.model} − {row.settings['against']}" if kind == DIFFERENCE else str(row.model)
        name += ", without duplicates" if row.is_without_duplicates else ""
        start = {"model": name, "k": str(row.settings["k"]), "seeds": row.settings["n_seeds"],
                 "records": row.settings["n_train"], **dict.fromkeys(metrics)}  # fmt: skip
        line = lines.setdefault((name, row.settings["k"], not row.is_without_duplicates), start)
        if metric in metrics:
            line[metric] = row.text(signed=kind == DIFFERENCE)
    return list(lines.values())


def transfer_curve(rows: "Sequence[ResultRow]", metric: str = "auc") -> "Figure":
    """Draw the mean over seeds against k with its 95 % interval, and every run as a small point.

    Args:
        rows (`Sequence[ResultRow]`): results of `climb_hf.protocols.transfer.transfer`.
        metric (`str`, *optional*, defaults to `"auc"`): the metric.

    Returns:
        `matplotlib.figure.Figure`: an undefined number leaves its place empty.
    """
    from matplotlib.figure import Figure

    chosen = [row for row in rows if row.metric == metric and not row.is_without_duplicates and row.is_defined]
    means = [row for row in chosen if row.settings.get("aggregate") == AGGREGATE]
    ks = list(dict.fromkeys(row.settings["k"] for row in rows))
    models = list(dict.fromkeys(str(row.model) for row in rows))
    figure = Figure(figsize=(6.5, 3.8), layout="constrained")
    axes = figure.subplots()
    for number, model in enumerate(models):
        colour, shift = _COLOURS[number % len(_COLOURS)], 0.12 * (number - (len(models) - 1) / 2)
        points = [(ks.index(row.settings["k"]) + shift, row) for row in means if row.model == model]
        for place, row in points:
            if row.interval is not None:
                axes.plot([place] * 2, row.interval, color=colour, linewidth=1.5)
        if points:
            axes.plot([p for p, _ in points], [row.value for _, row in points], "o-", color=colour, label=model)
        runs = [row for row in chosen if row.model == model and "aggregate" not in row.settings]
        places = [ks.index(row.settings["k"]) + shift for row in runs]
        axes.plot(places, [row.value for row in runs], ".", color=colour, markersize=3, alpha=0.5)
    axes.set_xticks(range(len(ks)), [str(k) for k in ks])
    axes.set(xlabel="examples per class", ylabel=f"{metric.upper()}, mean and 95 % interval over seeds")
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, 0.0), min(high, 1.0))  # an interval over few seeds may leave the range of the metric
    if metric == "auc":
        axes.axhline(0.5, color="#8c959f", linewidth=1, linestyle=":")
    if means:
        axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def write_transfer_report(folder: str | Path, rows: "Sequence[ResultRow]") -> Path:
    """Write `transfer.png`, `transfer.svg` and `report.html` into a folder.

    Args:
        folder (`str` or `Path`): where to; made if absent.
        rows (`Sequence[ResultRow]`): results of `climb_hf.protocols.transfer.transfer`.

    Returns:
        `Path`: the page.
    """
    from climb_hf.report.html import Section, figure_picture, write_report
    from climb_hf.report.runs import SYNTHETIC_NOTICE, origin_section

    folder, first = Path(folder), rows[0]
    folder.mkdir(parents=True, exist_ok=True)
    figure = figure_picture(
        transfer_curve(rows), "Mean over seeds against the examples per class; points are runs.",
        save_as=folder / "transfer",
    )  # fmt: skip
    known = {str(row.model): row.settings["known_concepts"] for row in rows}
    overlap = [
        {"model": model, "known": len(names), "of": first.settings["n_concepts"], "concepts": ", ".join(names)}
        for model, names in known.items()
    ]
    sections = [
        Section(
            "Means over seeds",
            ["Intervals are Student's t over seeds: how much another draw of examples and new weights would move the "
             "mean. The uncertainty of the scored patients is in the interval of each run, in results.jsonl."],
            rows=transfer_table(rows),
            figures=[figure],
        ),
        Section("Concepts that were known before", rows=overlap),
        origin_section(rows, {"method": first.settings["method"]}),
    ]  # fmt: skip
    notice = SYNTHETIC_NOTICE if first.synthetic else ""
    return write_report(folder / "report.html", f"Transfer to {first.source}", sections, notice=notice)
