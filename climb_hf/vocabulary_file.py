"""Reading and checking of the vocabulary's CSV file; see `climb_hf.vocabulary` for what it means.

Columns: `source,scheme,raw_value,class_name,concept,modality,task,multi_label`. The rows of a source and scheme stand
in one block; those of a class stand together, classes in the order of the CLIMB paper's Table 7, values of no class
last. Other spellings of a raw value follow it after a `|`. A row without raw value declares a class that no value
gives, or, without class as well, a source that has no classes.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from climb_hf.errors import VocabularyError

__all__ = ["HEADER", "Row", "read_blocks"]

HEADER = ("source", "scheme", "raw_value", "class_name", "concept", "modality", "task", "multi_label")
_SLUG = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\.[a-z0-9]+(_[a-z0-9]+)*")
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


@dataclass(frozen=True)
class Row:
    """One row of the vocabulary file.

    Args:
        line (`int`): line of the file, for error messages.
        source (`str`): name of the source.
        scheme (`str`): label scheme.
        spellings (`tuple[str, ...]`): the raw value and its other spellings; empty where the row has no raw value.
        class_name (`str`): the class, empty for a value of no class.
        concept (`str`): its concept, empty with it.
        modality (`str`): modality of the source.
        task (`str`): task of the source.
        multi_label (`str`): `"true"` or `"false"`.
    """

    line: int
    source: str
    scheme: str
    spellings: tuple[str, ...]
    class_name: str
    concept: str
    modality: str
    task: str
    multi_label: str

    def fault(self, found: str, remedy: str) -> VocabularyError:
        """Return the error that names this row, what is wrong with it and what to do."""
        return VocabularyError(f"vocabulary, line {self.line} ({self.source}, {self.scheme}): {found}; {remedy}.")


def read_blocks(text: str) -> dict[tuple[str, str], list[Row]]:
    """Read and check the text of a vocabulary file.

    Args:
        text (`str`): the content of the CSV file.

    Returns:
        The rows of each (source, scheme), in file order.

    Raises:
        VocabularyError: a rule of the file is broken; the message names the line and the remedy.
    """
    blocks: dict[tuple[str, str], list[Row]] = {}
    first: dict[str, Row] = {}
    last_key: tuple[str, str] | None = None
    for row in _read_rows(text):
        key = (row.source, row.scheme)
        if key in blocks and key != last_key:
            raise row.fault("its rows are not in one block", "move the row to the others of its source and scheme")
        if key not in blocks and row.scheme != "climb" and (row.source, "climb") not in blocks:
            raise row.fault("the first scheme of a source is not `climb`", "put the `climb` rows first")
        earlier = first.setdefault(row.concept, row) if row.concept else row
        if earlier.modality != row.modality:
            raise row.fault(
                f"concept `{row.concept}` is of modality {earlier.modality!r} in line {earlier.line}",
                "give the class a concept of its own",
            )
        blocks.setdefault(key, []).append(row)
        last_key = key
    for rows in blocks.values():
        _check_block(rows)
    return blocks


def _read_rows(text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = next(reader, [])
    if tuple(header) != HEADER:
        raise VocabularyError(
            f"vocabulary: found the header {','.join(header)!r}; write {','.join(HEADER)!r} as the first line."
        )
    for cells in _cells(reader):
        if len(cells) != len(HEADER):
            raise VocabularyError(
                f"vocabulary, line {reader.line_num}: expected {len(HEADER)} cells, found {len(cells)}; "
                "quote cells that hold a comma."
            )
        values = dict(zip(HEADER, cells, strict=True))
        raw = values.pop("raw_value")
        row = Row(line=reader.line_num, spellings=tuple(raw.split("|")) if raw else (), **values)
        _check_row(row, cells)
        yield row


def _cells(reader: Any) -> Iterator[list[str]]:  # noqa: ANN401 - csv has no public type for its reader
    try:
        yield from reader
    except csv.Error as error:
        raise VocabularyError(
            f"vocabulary, line {reader.line_num}: no valid CSV ({error}); quote cells that hold a comma or a quote."
        ) from error


def _check_row(row: Row, cells: Sequence[str]) -> None:
    if any(text != text.strip() for text in (*cells, *row.spellings)) or "" in row.spellings:
        raise row.fault("a spelling is empty or a cell has blanks at its ends", "remove them")
    if not (_NAME.fullmatch(row.source) and _NAME.fullmatch(row.scheme)):
        raise row.fault("source and scheme must be lower_snake names", "rename")
    if not row.modality or not row.task:
        raise row.fault("modality or task is empty", "fill both")
    if row.multi_label not in ("true", "false"):
        raise row.fault(f"multi_label is {row.multi_label!r}", "write `true` or `false`")
    if bool(row.class_name) != bool(row.concept):
        raise row.fault(
            f"class_name {row.class_name!r} with concept {row.concept!r}",
            "fill both, or neither for a value of no class",
        )
    if row.concept and not _SLUG.fullmatch(row.concept):
        raise row.fault(f"concept {row.concept!r} is no slug", "write `<region_or_modality>.<snake_case>`")


def _check_block(rows: Sequence[Row]) -> None:
    """Check the rows of one source and scheme against each other."""
    head = rows[0]
    seen: set[str] = set()
    for row in rows:
        if (row.modality, row.task, row.multi_label) != (head.modality, head.task, head.multi_label):
            raise row.fault("modality, task or multi_label differs from its first row", "use the same in all rows")
        for spelling in row.spellings:
            if spelling in seen:
                raise row.fault(f"raw value {spelling!r} stands twice", "keep one row per raw value")
            seen.add(spelling)
    concept_of = _check_classes(rows)
    if not concept_of and head.multi_label != "true":
        raise head.fault("without classes a record has no label, so the source is multi-label", "write `true`")


def _check_classes(rows: Sequence[Row]) -> Mapping[str, str]:
    concept_of: dict[str, str] = {}
    previous: str | None = None
    for row in rows:
        is_new = row.class_name != previous
        if row.class_name and is_new:
            if previous == "" or row.class_name.lower() in {name.lower() for name in concept_of}:
                raise row.fault(
                    f"class {row.class_name!r} is not in one block, or follows a value of no class", "reorder the rows"
                )
            if row.concept in concept_of.values():
                raise row.fault(f"two classes share the concept `{row.concept}`", "give each class its own concept")
            concept_of[row.class_name] = row.concept
        elif row.class_name and row.concept != concept_of[row.class_name]:
            raise row.fault(f"class {row.class_name!r} has another concept above", "use one concept per class")
        if not row.spellings and not (is_new and row.class_name) and len(rows) > 1:
            raise row.fault("a raw value is missing", "name it, or remove the row")
        previous = row.class_name
    return concept_of
