"""The report of any results: the papers' tables and figures from result files, in a folder and as one page."""

import csv
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from climb_hf.errors import OptionError
from climb_hf.report import benchmark_figures as draw
from climb_hf.report import benchmark_points as points
from climb_hf.report.cells import Cell, Results, cells_of, find_results
from climb_hf.report.html import Section, figure_picture, write_report
from climb_hf.report.layouts import own_tables
from climb_hf.report.naming import Names
from climb_hf.report.paper import TABLES
from climb_hf.report.runs import SYNTHETIC_NOTICE
from climb_hf.report.side_by_side import Rendered, render
from climb_hf.report.tables import format_table
from climb_hf.report.taking import take

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["AGAINST", "Drawn", "paper_tables", "write_benchmark_report"]

#: What our numbers can stand beside, and the name of that paper's tables.
AGAINST = {"paper": "climb", "openpmc": "openpmc"}


@dataclass(frozen=True)
class Drawn:
    """A figure of the report.

    Args:
        name (`str`): of its files.
        figure (`matplotlib.figure.Figure`): the figure.
        caption (`str`): what it shows.
    """

    name: str
    figure: "Figure"
    caption: str


@dataclass
class _Report:
    """What goes into the folder."""

    tables: list[Rendered] = field(default_factory=list)
    figures: list[Drawn] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)


def paper_tables() -> list[Rendered]:
    """Return every table of the papers with their own numbers alone.

    Returns:
        `list[Rendered]`: in printed order, with notes where a number contradicts others.

    Example:
        >>> paper_tables()[0].table.heading
        'Table 2: Vision encoders, multitask training, by modality'
    """
    return [rendered for table in TABLES if (rendered := render(table, [], "paper")) is not None]


def write_benchmark_report(
    results: Sequence[str | Path],
    to: str | Path,
    *,
    against: Sequence[str] = (),
    names: Names | None = None,
    compare: tuple[str | Path, str | Path] | None = None,
    paper_only: bool = False,
    n_bootstrap: int = 1000,
) -> Path:
    """Write tables, figures and one self-contained page.

    Args:
        results (`Sequence[str or Path]`): `results.jsonl` files, or folders that hold some.
        to (`str` or `Path`): `report.html`, `tables.md`, `tables/*.md`, `tables/*.csv`, `figures/*.png`,
            `figures/*.svg`.
        against (`Sequence[str]`, *optional*): `"paper"` (the CLIMB paper) and `"openpmc"`: whose numbers stand beside
            ours.
        names (`Names`, *optional*): what checkpoints are called in the papers.
        compare (`tuple`, *optional*): two folders with `predictions.npz` of the same records, to compare.
        paper_only (`bool`, *optional*, defaults to `False`): the papers' own numbers, without results.
        n_bootstrap (`int`, *optional*, defaults to `1000`): resamples of the comparison.

    Returns:
        `Path`: the page.

    Raises:
        OptionError: nothing to report, or another paper.
        AccessError: a result file is not there.
        SchemaError: a file of another format, or a number that stands twice.
    """
    if unknown := [name for name in against if name not in AGAINST]:
        raise OptionError(f"`--against` must be one of {', '.join(AGAINST)}, found {unknown[0]!r}.")
    if not results and not paper_only and compare is None:
        raise OptionError("nothing to report: give results.jsonl files, `--compare A B`, or `--paper-only`.")
    found = find_results(results) if results else Results()
    cells = cells_of(found, names or Names())
    report = _Report()
    if paper_only:
        report.tables += paper_tables()
    report.tables += _tables(cells, {AGAINST[name] for name in against})
    report.figures += _figures(cells, beside="paper" in against, alone=paper_only)
    if compare is not None:
        report.sections += _comparison(compare, n_bootstrap, Path(to))
    if found.files:
        report.figures += _of_predictions(found)
    return _write(Path(to), report, _with_compared(found, compare))


def _with_compared(found: Results, compare: tuple[str | Path, str | Path] | None) -> Results:
    """Add the results beside compared predictions: where these come from, and whether their data is synthetic."""
    files = [file for folder in compare or () if (file := Path(folder) / "results.jsonl").is_file()]
    more = find_results([file for file in files if file not in found.files])
    return Results((*found.found, *more.found), (*found.files, *more.files))


def _tables(cells: Sequence[Cell], against: set[str]) -> list[Rendered]:
    rendered, placed = [], []
    everything = [*cells, *_sets(cells)]
    for table in TABLES:
        taken = take(table, everything)
        placed += [item.cell for item in taken]
        if taken and (own := render(table, taken, "against" if table.paper in against else "ours")) is not None:
            rendered.append(own)
    for layout, own_cells in own_tables(cells, placed):
        if (own := render(layout, take(layout, own_cells))) is not None:
            rendered.append(own)
    return rendered


def _sets(cells: Sequence[Cell]) -> list[Cell]:
    """Sizes of the evaluation sets of Open-PMC-18M that were scored, for its Table 1."""
    import dataclasses

    from climb_hf.registry import get_source, source_names

    tasks = {"retrieval": "retrieval", "zero_shot": "classification", "linear_probe": "classification"}
    known = set(source_names())
    sets: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        task, name = tasks.get(cell.place.protocol), cell.place.key.dataset
        if task is None or cell.place.level != "source" or name not in known:
            continue
        place = dataclasses.replace(cell.place, protocol="sets", condition=())
        counts = {"samples": cell.n} | ({"classes": len(get_source(name).classes)} if task == "classification" else {})
        for metric, count in counts.items():
            key = dataclasses.replace(cell.place.key, model="", metric=metric, task=task, training="", pretrain="")
            sets.setdefault((name, metric), Cell(dataclasses.replace(place, key=key), float(count), cell.n))
    return list(sets.values())


def _figures(cells: Sequence[Cell], *, beside: bool, alone: bool) -> Iterator[Drawn]:
    """Figures of ours, with the paper's numbers `beside` them, or of the paper's numbers `alone`."""
    rows, unknown = points.composition_rows()
    total = sum(row["samples"] for row in rows)
    text = f"Composition of the benchmark (after Figure 2a): {total:,} samples by published sizes"
    text += f"; {', '.join(unknown)} publish none and are not counted." if unknown else "."
    yield Drawn("composition", draw.composition(), text)
    caption = "AUC of multitask minus single-task training by source (after Figure 4), marked by our own rules: {}."
    own = points.auc_differences(cells)
    for number, (model, pairs) in enumerate(own.items()):
        name = f"auc_difference{f'_{number + 1}' if number else ''}"
        yield Drawn(name, draw.difference_figure(pairs), caption.format(model))
    if alone or (beside and own):
        text = caption.format("ConvNeXtV2, the paper's Tables 16 and 21")
        yield Drawn("auc_difference_paper", draw.difference_figure(points.paper_differences()), text)
    if curves := points.curve_points(cells):
        text = "Few-shot transfer (after Figure 5): mean and 95 % interval, over seeds where there are several."
        yield Drawn("few_shot", draw.few_shot_figure(curves), text)
    series = points.modality_points(cells)
    if alone or (beside and series):
        series |= points.paper_modality_points()
    if series:
        yield Drawn("modalities", draw.modality_figure(series), "AUC of models by modality (after Figure 6).")
    for metric in ("auc", "mae"):
        bars = points.fusion_points(cells, metric)
        if alone or (beside and bars):
            bars |= points.fusion_points(cells, metric, of_paper=True)
        if bars:
            text = "Strategies of fusion on MIMIC-IV (after Figure 7)."
            yield Drawn(f"fusion_{metric}", draw.fusion_figure(bars, metric), text)


def _of_predictions(found: Results) -> Iterator[Drawn]:
    """Subgroups from the rows, reliability from the predictions that lie beside the files."""
    from climb_hf.report.prediction_figures import forest_figure, forest_rows, reliability_figure
    from climb_hf.report.predictions import load_predictions, predictions_beside

    for number, (model, rows) in enumerate(forest_rows(found.rows).items(), start=1):
        text = f"AUC by sex and age band: {model}."
        yield Drawn(f"subgroups_{number}", forest_figure(rows), text)
    for number, file in enumerate(found.files, start=1):
        if predictions_beside(file.parent) and (own := load_predictions(file.parent)):
            left_out = len(own) - 12
            text = f"Reliability of the probabilities of {'/'.join(file.parts[-3:-1])}, bins of equal width"
            text += f"; {left_out} more sources are not drawn." if left_out > 0 else "."
            yield Drawn(f"reliability_{number}", reliability_figure(own), text)


def _comparison(compare: tuple[str | Path, str | Path], n_bootstrap: int, to: Path) -> list[Section]:
    from climb_hf.report.comparison import compare_predictions

    found = compare_predictions(*compare, n_bootstrap=n_bootstrap)
    parts = (
        ("comparison_sources", f"{found.names[0]} against {found.names[1]}: macro AUC by source", found.sources,
         ["Paired bootstrap over patients: the same resamples for both; differences are first minus second.",
          *found.remarks]),
        ("comparison_classes", f"{found.names[0]} against {found.names[1]}: AUC by class", found.classes,
         ["DeLong's test with patients as clusters; `p (Holm)` is adjusted for the number of classes here."]),
    )  # fmt: skip
    (to / "tables").mkdir(parents=True, exist_ok=True)
    sections = []
    for name, heading, rows, remarks in parts:
        table = format_table(rows)
        text = f"## {heading}\n\n{table}\n\n" + "\n".join(f"* {remark}" for remark in remarks) + "\n"
        (to / "tables" / f"{name}.md").write_text(text, encoding="utf-8")
        with (to / "tables" / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        sections.append(Section(heading, remarks, rows))
    return sections


def _write(to: Path, report: _Report, found: Results) -> Path:
    from tqdm.auto import tqdm

    (to / "tables").mkdir(parents=True, exist_ok=True)
    (to / "figures").mkdir(exist_ok=True)
    sections = []
    for rendered, name in zip(report.tables, _file_names(report.tables), strict=True):
        (to / "tables" / f"{name}.md").write_text(rendered.markdown(), encoding="utf-8")
        (to / "tables" / f"{name}.csv").write_text(rendered.csv(), encoding="utf-8")
        sections.append(Section(rendered.table.heading, rendered.footnotes, rendered.lines))
    (to / "tables.md").write_text("\n".join(r.markdown() for r in report.tables), encoding="utf-8")
    pictures = []
    for drawn in tqdm(report.figures, desc="drawing", unit="figure", dynamic_ncols=True, disable=None):
        pictures.append(figure_picture(drawn.figure, drawn.caption, save_as=to / "figures" / drawn.name))
    sections = [*report.sections, *sections, Section("Figures", figures=pictures), *_provenance(found)]
    notice = SYNTHETIC_NOTICE if any(row.synthetic for row in found.rows) else ""
    return write_report(to / "report.html", "Results of climb-hf", sections, notice=notice)


def _file_names(tables: Sequence[Rendered]) -> list[str]:
    names: list[str] = []
    for rendered in tables:
        name = rendered.table.name if rendered.table.number else f"own_{rendered.table.protocol}"
        while name in names:
            stem, _, number = name.rpartition("-")
            name = f"{stem}-{int(number) + 1}" if stem and number.isdecimal() else f"{name}-2"
        names.append(name)
    return names


def _provenance(found: Results) -> list[Section]:
    """Files with their digests, models with recipe, data and versions."""
    if not found.files:
        return []
    files = [
        {"file": "/".join(file.parts[-3:]), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()[:16],
         "rows": sum(item.file == file for item in found.found)}
        for file in found.files
    ]  # fmt: skip
    runs = dict.fromkeys(
        (row.model, row.protocol, row.split, row.definition, row.seed, row.recipe_hash, row.date, row.synthetic,
         ", ".join(f"{name} {version}" for name, version in row.versions.items()))
        for row in found.rows
    )  # fmt: skip
    names = ("model", "protocol", "split", "definition", "seed", "recipe", "date", "synthetic", "versions")
    prints = dict.fromkeys((row.source, row.data_fingerprint) for row in found.rows if row.data_fingerprint)
    return [
        Section("Where the numbers come from: files", rows=files),
        Section("Where the numbers come from: runs", rows=[dict(zip(names, run, strict=True)) for run in runs]),
        Section("Where the numbers come from: data", rows=[{"source": s, "fingerprint": p} for s, p in prints]),
    ]
