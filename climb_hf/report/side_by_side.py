"""Tables with our numbers, the papers', and their difference, as Markdown, CSV and sections of a page."""

import csv
import dataclasses
import io
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from climb_hf.report.paper import CellKey, PaperNumber, PaperTable, notes_of, paper_numbers, paper_rows
from climb_hf.report.paper.checks import modality_of
from climb_hf.report.tables import format_table
from climb_hf.report.taking import Taken

__all__ = ["Rendered", "render"]

Mode = Literal["ours", "against", "paper"]

#: More columns than this (beside the papers' numbers, and alone), and what else names one moves into the lines.
_MAX_COLUMNS = {True: 18, False: 24}
_DETAILS = frozenset(str(number) for number in (*range(10, 21), 22, 23, 25))
_CLIMB_DEFINITION = (
    "Ours by the definition `climb`: every class of the source counts, and no decision is forced. The paper's follow "
    "the definition `paper`, which `climb evaluate` computes with `--definition paper`."
)
_DASH = "–"


@dataclass
class Rendered:
    """A table that is ready to be written.

    Args:
        table (`PaperTable`): its layout.
        lines (`list[dict[str, str]]`): cells as text by column.
        notes (`list[str]`): footnotes; the first is †1.
        remarks (`list[str]`): about the whole table.
        records (`list[dict[str, object]]`): one per number, for the CSV file.
    """

    table: PaperTable
    lines: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    records: list[dict[str, object]] = field(default_factory=list)

    def mark(self, texts: Iterable[str]) -> str:
        """Return the marks of some footnotes, which are added where they are new."""
        numbers = []
        for text in dict.fromkeys(texts):
            if text not in self.notes:
                self.notes.append(text)
            numbers.append(self.notes.index(text) + 1)
        return "".join(f" †{number}" for number in numbers)

    @property
    def footnotes(self) -> list[str]:
        """The footnotes with their marks, after what concerns the whole table."""
        return [*self.remarks, *(f"†{number} {text}" for number, text in enumerate(self.notes, start=1))]

    def markdown(self, level: int = 2) -> str:
        """Return heading, table and footnotes.

        Args:
            level (`int`, *optional*, defaults to `2`): level of the heading.

        Returns:
            `str`.
        """
        footnotes = "\n".join(f"* {text}" for text in self.footnotes)
        parts = [f"{'#' * level} {self.table.heading}", format_table(self.lines), footnotes]
        return "\n\n".join(part for part in parts if part) + "\n"

    def csv(self) -> str:
        """Return one line per number, with all that is known of it."""
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(self.records[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.records)
        return stream.getvalue()


def render(table: PaperTable, taken: Sequence[Taken], mode: Mode = "ours") -> Rendered | None:
    """Lay out a table.

    Args:
        table (`PaperTable`): its layout.
        taken (`Sequence[Taken]`): our numbers, from `take`.
        mode (`str`, *optional*, defaults to `"ours"`): `"against"` for ours, the paper's and the difference, `"paper"`
            for the paper's alone.

    Returns:
        `Rendered` or `None`: `None` where there is nothing to show.
    """
    numbers = {number.key: number for number in paper_rows(table)} if mode != "ours" and table.number else {}
    own: dict[tuple[CellKey, str], Taken] = {}
    for item in taken if mode != "paper" else ():
        own.setdefault((item.key, item.label), item)
    if not (own if mode != "paper" else numbers):
        return None
    labels = list(dict.fromkeys(label for _, label in own))
    keys = list(dict.fromkeys([*numbers, *_in_order(table, (key for key, _ in own))]))
    is_against = mode == "against" and bool(numbers)
    lines, columns = _axes(table, keys, len(labels), is_against=is_against)
    if is_against and "model" in table.lines and "dataset" in lines:
        models = {key.model for key, _ in own}
        keys = [key for key in keys if key.model in models]
    rendered = Rendered(table)
    _fill(rendered, keys, lines, columns, labels, own, numbers)
    _remarks(rendered, own, is_against=is_against, has_numbers=bool(numbers))
    return rendered


def _in_order(table: PaperTable, keys: Iterable[CellKey]) -> list[CellKey]:
    """Our keys in the order of the metrics within each line, averages last."""
    order = {metric: place for place, metric in enumerate(table.metrics)}
    listed = list(dict.fromkeys(keys))
    places = {key.get(("model", "pretrain", "training")): i for i, key in reversed(list(enumerate(listed)))}
    is_mean = {"overall": 2, "average": 2, "overall, by modality": 2}

    def rank(key: CellKey) -> tuple[int, ...]:
        shots = int(key.shots) if key.shots.isdecimal() else 10**9
        mean = is_mean.get(key.dataset, 0 if modality_of(key.dataset) or key.dataset not in _slugs() else 1)
        return (places[key.get(("model", "pretrain", "training"))], shots, mean, order[key.metric])

    return sorted(listed, key=rank)


def _slugs() -> frozenset[str]:
    from climb_hf.report.paper.tables import MODALITIES

    return frozenset(MODALITIES.values())


def _axes(
    table: PaperTable, keys: Sequence[CellKey], n_labels: int, *, is_against: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Fields of the lines and of the columns; all but the metric move into the lines where a table gets too wide."""
    per_column = (2 * n_labels + 1) if is_against else max(1, n_labels)
    n_columns = len({key.get(table.columns) for key in keys}) * per_column
    if n_columns <= _MAX_COLUMNS[is_against]:
        return table.lines, table.columns
    moved = tuple(name for name in table.columns if name != "metric")
    return (*table.lines, *moved), ("metric",)


def _fill(
    rendered: Rendered,
    keys: Sequence[CellKey],
    lines: tuple[str, ...],
    columns: tuple[str, ...],
    labels: Sequence[str],
    own: Mapping[tuple[CellKey, str], Taken],
    numbers: Mapping[CellKey, PaperNumber],
) -> None:
    table = rendered.table
    known = notes_of(table.number, table.paper) if numbers else ()
    digits = max((n.decimals for n in numbers.values()), default=1 if table.scale == 100 else 3)
    digits = max(3, digits) if table.scale == 1 and table.number != "S1" else digits
    titles = {key.get(columns): _title(key, columns, table) for key in keys}
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for key in keys:
        line = found.setdefault(key.get(lines), _new_line(key, lines, titles.values(), labels, is_paper=bool(numbers)))
        title, number = titles[key.get(columns)], numbers.get(key)
        notes = [note.text for note in known if note.is_of_cells and note.concerns(key)] if number else []
        paper_text = (number.text or _DASH) + rendered.mark(notes) if number else ""
        for label in labels:
            item = own.get((key, label))
            paper = None if number is None or not number.text else number
            ours, difference, remarks = _texts(rendered, item, paper, digits)
            if item is not None:
                line[_column(title, label)] = ours
                if numbers:
                    line[_column(title, f"{label} − paper")] = difference
            if item is not None or number is not None:
                rendered.records.append(_record(table, key, label, item, number, [*remarks, *notes]))
        if number is not None:
            line[title if not labels else _column(title, "paper")] = paper_text
            if not labels:
                rendered.records.append(_record(table, key, "", None, number, notes))
    rendered.lines = list(found.values())


def _new_line(
    key: CellKey, lines: Sequence[str], titles: Iterable[str], labels: Sequence[str], *, is_paper: bool
) -> dict[str, str]:
    line = {name: getattr(key, name) or _DASH for name in lines}
    for title in dict.fromkeys(titles):
        names = [_column(title, label) for label in labels]
        if is_paper and labels:
            names += [_column(title, "paper"), *(_column(title, f"{label} − paper") for label in labels)]
        line |= dict.fromkeys(names or [title], "")
    return line


def _title(key: CellKey, columns: Sequence[str], table: PaperTable) -> str:
    words = []
    for name in columns:
        value = getattr(key, name)
        if name == "metric" and len(table.metrics) == 1 and len(columns) > 1:
            continue
        words.append(f"k={value}" if name == "shots" and value.isdecimal() else value)
    return " ".join(word for word in words if word)


def _column(title: str, label: str) -> str:
    return title if label == "ours" else f"{title}: {label}".replace("ours − paper", "difference")


def _texts(
    rendered: Rendered, item: Taken | None, paper: PaperNumber | None, digits: int
) -> tuple[str, str, list[str]]:
    """Our number, its difference to the paper's, and what is to know of it."""
    if item is None:
        return "", "", []
    cell, scale = item.cell, rendered.table.scale
    if math.isnan(cell.value):
        remark = f"Ours is undefined: {cell.reason}."
        return f"n/a{rendered.mark([remark])}", "", [remark]
    if item.key.metric in ("samples", "classes"):
        digits = 0
    elif item.key.metric == "median_rank":
        digits = 1
    text = f"{cell.value * scale:.{digits}f}"
    is_mean = cell.place.level != "source" and rendered.table.average != "columns"
    counted = [_sources(cell.n_defined)] if is_mean and cell.n_defined else []
    counted += [f"{cell.n_seeds} seeds"] if cell.sd is not None else []
    if cell.sd is not None:
        text += f" ± {cell.sd * scale:.{digits}f}"
    elif cell.interval is not None:
        text += f" [{cell.interval[0] * scale:.{digits}f}, {cell.interval[1] * scale:.{digits}f}]"
    if item.key.metric not in ("samples", "classes"):
        text += f" ({', '.join([*counted, f'n={cell.n}'])})"
    remarks = [_sentence(cell.remark)] if cell.remark else []
    if paper is not None and (remark := _other_sources(rendered.table, item, paper)):
        remarks.append(remark)
    difference = "" if paper is None else f"{cell.value * scale - paper.value:+.{digits}f}"
    return text + rendered.mark(remarks), difference, remarks


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text[0].upper()}{text[1:]}."


def _other_sources(table: PaperTable, item: Taken, paper: PaperNumber) -> str:
    """Say so where an average of ours and the printed one are over different numbers of sources."""
    if item.cell.place.level == "source" or table.average == "columns" or table.paper != "climb":
        return ""
    details = [
        n for n in paper_numbers("climb")
        if n.table in _DETAILS and n.text and n.key.get(("model", "metric", "training")) ==
        paper.key.get(("model", "metric", "training")) and modality_of(n.key.dataset)
    ]  # fmt: skip
    is_part = item.cell.place.level == "modality"
    parts = [n for n in details if not is_part or modality_of(n.key.dataset) == item.key.dataset]
    own = item.cell.n_defined
    if not parts or own is None or (own == len(parts) and not item.cell.sources):
        return ""
    if table.average == "modalities" and not is_part:
        return ""
    same = [n.value for n in parts if n.key.dataset in item.cell.sources]
    if own == len(parts) == len(same):
        return ""
    text = f"Ours is the mean of {_sources(own)}, the paper's of {len(parts)}"
    if own == len(same):
        text += (
            f"; over the same as ours the paper's numbers have the mean {statistics.fmean(same):.{paper.decimals}f}"
        )
    return f"{text}."


def _sources(count: int) -> str:
    return f"{count} source{'s' if count != 1 else ''}"


def _remarks(
    rendered: Rendered, own: Mapping[tuple[CellKey, str], Taken], *, is_against: bool, has_numbers: bool
) -> None:
    table = rendered.table
    if has_numbers:
        rendered.remarks += [n.text for n in notes_of(table.number, table.paper) if not n.is_of_cells]
    definitions = {dict(item.cell.place.condition).get("definition") for item in own.values()}
    if is_against and table.protocol == "multitask" and "climb" in definitions:
        rendered.remarks.append(_CLIMB_DEFINITION)
    if any(dict(item.cell.place.condition).get("synthetic") == "True" for item in own.values()):
        rendered.remarks.append("Scored on synthetic data: these numbers say nothing about any clinical question.")


def _record(
    table: PaperTable,
    key: CellKey,
    label: str,
    item: Taken | None,
    number: PaperNumber | None,
    notes: Sequence[str],
) -> dict[str, object]:
    """One line of the CSV file."""
    cell, scale = (item.cell if item else None), table.scale
    is_defined = cell is not None and not math.isnan(cell.value)
    interval = cell.interval if cell is not None and cell.interval is not None else (None, None)
    value = cell.value * scale if cell is not None and is_defined else None
    paper = number.value if number is not None and number.text else None
    return {
        "table": table.number, **dataclasses.asdict(key), "column": label, "value": _number(value),
        "low": _number(interval[0], scale), "high": _number(interval[1], scale),
        "sd": _number(cell.sd if cell else None, scale), "seeds": cell.n_seeds if cell and is_defined else None,
        "n": cell.n if cell else None,
        "definition": dict(cell.place.condition).get("definition") if cell else None,
        "reason": cell.reason if cell else None,
        "paper": number.text if number is not None else None,
        "difference": None if value is None or paper is None else _number(value - paper),
        "notes": " ".join(notes),
    }  # fmt: skip


def _number(value: float | None, scale: float = 1.0) -> float | None:
    return None if value is None else round(value * scale, 9)
