"""The tables and files of a set of CTs whose nodules several radiologists marked, as LNDb publishes them."""

import ast
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from climb_hf.errors import ClimbError, LayoutError, SchemaError
from climb_hf.readers.folders import files_by_name
from climb_hf.readers.memo import memoize_by_files
from climb_hf.readers.mhd import open_mhd
from climb_hf.readers.nodules import Mark, MergedFinding, finding_slices, merge_marks
from climb_hf.readers.tables import read_csv_rows, to_bool, to_float, to_int

__all__ = ["CtFiles", "CtTables", "Span", "ct_files", "ct_spans", "read_ct_tables"]

#: First slice, last slice, and what they were taken from: `"mask"`, `"sphere"` or `"centre"`.
Span = tuple[int, int, str]
_SCAN, _MASK = re.compile(r"lndb-(\d{4})\.mhd"), re.compile(r"lndb-(\d{4})_rad(\d)\.mhd")
_MARKS, _LABELLED, _UNLABELLED = "trainNodules.csv", "trainCTs.csv", "testCTs.csv"
_TRAITS, _RISK, _FOLDS, _SCANNER = (
    "chars_trainNodules.csv",
    "trainFleischner.csv",
    "trainFolds.csv",
    "LNDbAcqParams.csv",
)
_ID, _MARK_KEY = "LNDbID", ("LNDbID", "RadID", "FindingID")
_ACQUISITION = {
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "scanner",
    "SliceThickness": "slice_thickness_mm",
    "KVP": "tube_voltage_kv",
    "Exposure": "exposure_mas",
    "ConvolutionKernel": "convolution_kernel",
    "PixelSpacing": "pixel_spacing_mm",
}
_TABLES = ("*.csv", "*/*.csv")


@dataclass
class CtTables:
    """What the tables say.

    Args:
        listed (`set[int]`): numbers of all CTs with published labels.
        unlabelled (`set[int]`): numbers of the CTs of the hidden test set.
        merged (`dict[int, list[MergedFinding]]`): findings by CT; CTs without one are not in it.
        about (`dict[int, dict]`): acquisition, follow-up class and fold by CT.
        traits (`dict[tuple[int, ...], dict]`): characteristics by CT, reader and finding.
    """

    listed: set[int] = field(default_factory=set)
    unlabelled: set[int] = field(default_factory=set)
    merged: dict[int, list[MergedFinding]] = field(default_factory=dict)
    about: dict[int, dict[str, Any]] = field(default_factory=dict)
    traits: dict[tuple[int | None, ...], dict[str, Any]] = field(default_factory=dict)

    def findings(self, number: int) -> list[MergedFinding]:
        """Return the merged findings of a CT; the value of a mask is the position in this list, from 1."""
        return self.merged.get(number, [])

    def codes(self, number: int, reader: int) -> dict[int, int]:
        """Return the reader's own number of a finding -> its value in the merged mask."""
        return {
            mark.number: value
            for value, finding in enumerate(self.findings(number), 1)
            for mark in finding.marks
            if mark.reader == reader
        }

    def describe(self, number: int, finding: MergedFinding) -> dict[str, Any]:
        """Return a finding as JSON values, with what each of its readers said."""
        readers = [
            {
                "reader": mark.reader,
                "finding": mark.number,
                "volume_mm3": mark.volume_mm3,
                "texture": mark.texture,
                **self.traits.get((number, mark.reader, mark.number), {}),
            }
            for mark in finding.marks
        ]
        return {
            "is_nodule": finding.is_nodule,
            "diameter_mm": round(finding.diameter_mm, 3) if finding.is_nodule else None,
            "texture": round(finding.texture, 3) if finding.is_nodule else None,
            "world_mm": [round(value, 3) for value in finding.point],
            "readers": readers,
        }


@dataclass(frozen=True)
class CtFiles:
    """Headers of CTs by number, and of their masks by number and reader; paths relative to the root."""

    scans: Mapping[int, str]
    masks: Mapping[int, Mapping[int, str]]


@memoize_by_files(*_TABLES)
def read_ct_tables(root: Path) -> CtTables:
    """Read the tables below a folder, wherever in it they lie.

    Args:
        root (`Path`): the folder; tables are found by name, the shallowest of a name counts.

    Returns:
        `CtTables`

    Raises:
        LayoutError: the table of the radiologists' marks is not there.
        SchemaError: a table lacks a column or holds a value that is no number.
    """
    places = files_by_name(root, (".csv",))

    def rows(name: str, *columns: str) -> list[dict[str, str]]:
        found = places.get(name.lower())
        return list(read_csv_rows(root / found[0], required=columns)) if found else []

    marks = rows(_MARKS, *_MARK_KEY, "x", "y", "z", "Nodule", "Volume", "Text")
    if not marks:
        raise LayoutError(f"`{_MARKS}` not found below `{root}`. Unpack the tables of the publisher into it.")
    of_ct: dict[int, list[Mark]] = defaultdict(list)
    for row in marks:
        of_ct[_number(row, _MARKS)].append(_mark(row))
    tables = CtTables(merged={number: merge_marks(of_ct[number]) for number in sorted(of_ct)})
    tables.listed = {_number(row, _LABELLED) for row in rows(_LABELLED, _ID)} | of_ct.keys()
    tables.unlabelled = {_number(row, _UNLABELLED) for row in rows(_UNLABELLED, _ID)}
    for row in rows(_TRAITS, *_MARK_KEY):
        key = tuple(to_int(row[name]) for name in _MARK_KEY)
        tables.traits[key] = {name: to_float(row[name], strict=False) for name in row if name not in _MARK_KEY}
    tables.about = {number: {} for number in tables.listed}
    for row in rows(_SCANNER, _ID):
        values = {new: _cell(row[old]) for old, new in _ACQUISITION.items() if row.get(old)}
        tables.about.setdefault(_number(row, _SCANNER), {}).update(values)
    for row in rows(_RISK, _ID, "Fleischner"):
        tables.about.setdefault(_number(row, _RISK), {})["fleischner"] = to_int(row["Fleischner"])
    for row in rows(_FOLDS):
        for fold, cell in row.items():
            if (number := to_int(cell)) is not None:
                tables.about.setdefault(number, {})["fold"] = fold
    return tables


def ct_files(root: Path) -> CtFiles:
    """Find the headers of CTs and masks below a folder, by name; other `.mhd` files are passed over."""
    scans: dict[int, str] = {}
    masks: dict[int, dict[int, str]] = defaultdict(dict)
    for name, paths in sorted(files_by_name(root, (".mhd",)).items()):
        if match := _SCAN.fullmatch(name):
            scans[int(match[1])] = paths[0]
        elif match := _MASK.fullmatch(name):
            masks[int(match[1])][int(match[2])] = paths[0]
    return CtFiles(scans, masks)


@memoize_by_files(*_TABLES, "*.mhd", "*/*.mhd")
def ct_spans(root: Path) -> dict[int, tuple[int, list[Span]] | ClimbError]:
    """Find, for every CT of the tables that is there, its number of slices and the slices of each merged finding.

    Masks are read around the centres of findings only, and once in a process.

    Args:
        root (`Path`): the folder of `read_ct_tables`.

    Returns:
        `dict`: number of the CT -> slices and spans, or the error that a damaged header or mask gives.
    """
    tables, files = read_ct_tables(root), ct_files(root)
    found: dict[int, tuple[int, list[Span]] | ClimbError] = {}
    for number in sorted(tables.listed & files.scans.keys()):
        try:
            volume = open_mhd(root / files.scans[number], check=False)
            masks = {reader: open_mhd(root / file) for reader, file in files.masks.get(number, {}).items()}
            spans = [finding_slices(finding, volume, masks) for finding in tables.findings(number)]
            found[number] = volume.display_shape[0], spans
        except ClimbError as error:
            found[number] = error
    return found


def _number(row: Mapping[str, str], table: str) -> int:
    number = to_int(row[_ID])
    if number is None:
        raise SchemaError(f"`{table}`: expected a number in `{_ID}`, found {row[_ID]!r}. Restore the table.")
    return number


def _mark(row: Mapping[str, str]) -> Mark:
    values = [to_float(row[name]) for name in ("RadID", "FindingID", "x", "y", "z", "Volume", "Text")]
    is_nodule = to_bool(row["Nodule"])
    if is_nodule is None or any(value is None for value in values):
        raise SchemaError(f"`{_MARKS}`: expected numbers in every column, found {dict(row)}. Restore the table.")
    reader, number, x, y, z, volume, texture = (value or 0.0 for value in values)
    return Mark(int(reader), int(number), (x, y, z), is_nodule, volume, texture)


def _cell(text: str) -> str | float | list[float]:
    """Return a cell as a number, a list of numbers where it is a list in Python's notation, or the text."""
    if text.startswith("["):
        try:
            return [float(value) for value in ast.literal_eval(text)]
        except (ValueError, SyntaxError, TypeError):
            return text
    number = to_float(text, strict=False)
    return text if number is None else number
