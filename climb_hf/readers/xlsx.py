"""Rows of an Excel workbook (`.xlsx`) by column name, with the standard library alone.

A workbook is a ZIP archive of XML parts (ECMA-376, part 1, section 18). The parts are parsed as streams by expat; a
document type declaration, which no workbook has and every entity-expansion attack needs, is refused as it is met, and
so is a part that unpacks to more than a workbook can sensibly hold.
"""

import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.parsers import expat

from climb_hf.errors import ClimbError, CorruptFileError, SchemaError
from climb_hf.readers.tables import check_header, missing_table, read_csv_rows

__all__ = ["read_sheet_rows", "read_xlsx_rows"]

_WORKBOOK = "xl/workbook.xml"
_LINKS = "xl/_rels/workbook.xml.rels"
_STRINGS = "xl/sharedStrings.xml"
_MAX_PART = 1 << 29  # bytes that one part may unpack to; the largest clinical tables have a few million
_CHUNK = 1 << 16
_COLUMNS = 16384  # of a sheet, by the format's own limit
_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")  # characters that XML cannot hold
_REFERENCE = re.compile(r"([A-Z]{1,3})[0-9]+")

#: One event of a part: tag and attributes at the start of an element, tag, `None` and text at its end.
_Event = tuple[str, Mapping[str, str] | None, str]


def read_xlsx_rows(path: Path, *, required: Sequence[str] = (), sheet: str | None = None) -> Iterator[dict[str, str]]:
    """Read a sheet with a header row; cells are addressed by column name, as by `read_csv_rows`.

    The header is the first row that is not blank. Cells come as the text that a CSV export would hold: numbers in
    their shortest form (`44`, `0.1`), truth values as `TRUE` and `FALSE`, formulas as their stored result, absent
    cells as `""`; dates stay the serial numbers that the file holds. Blank rows are left out. All errors but a missing
    workbook arise while iterating.

    Args:
        path (`Path`): the workbook.
        required (`Sequence[str]`, *optional*): columns that must be there; `""` is an unnamed one.
        sheet (`str`, *optional*): name of the sheet; by default the first one.

    Returns:
        `Iterator[dict[str, str]]`: column name -> cell, in the order of the sheet.

    Raises:
        LayoutError: the workbook does not exist.
        SchemaError: the sheet or a required column is missing, a name stands twice, or a value stands beyond the last
            named column.
        CorruptFileError: not an `.xlsx` workbook, damaged, empty, or with a document type declaration.

    Example:
        >>> import tempfile
        >>> import climb_hf
        >>> folder = tempfile.TemporaryDirectory()
        >>> _ = climb_hf.miniature("cmmd", folder.name, n=8)
        >>> row = next(read_xlsx_rows(Path(folder.name) / "CMMD_clinicaldata_revision.xlsx", required=("ID1",)))
        >>> row["ID1"], row["LeftRight"], row["number"], row["subtype"]
        ('D1-0003', 'L', '2', '')
        >>> folder.cleanup()
    """
    if not path.is_file():
        raise missing_table(path)
    return _rows(path, required, sheet)


def read_sheet_rows(path: Path, *, required: Sequence[str] = ()) -> Iterator[dict[str, str]]:
    r"""Read a workbook, or the CSV file that somebody saved it as.

    Args:
        path (`Path`): the workbook; where it is absent, the file of the same name with `.csv` is read, its cells
            parted by semicolons if there is one in its first line, else by commas.
        required (`Sequence[str]`, *optional*): as of `read_xlsx_rows`.

    Returns:
        `Iterator[dict[str, str]]`: column name -> cell, in the order of the table.

    Raises:
        LayoutError: neither file exists.
        SchemaError: as of `read_xlsx_rows` and `read_csv_rows`.
        CorruptFileError: likewise.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "ages.csv").write_text("id;age\n7;61\n")
        >>> list(read_sheet_rows(folder / "ages.xlsx"))
        [{'id': '7', 'age': '61'}]
    """
    text = path.with_suffix(".csv")
    if path.is_file() or not text.is_file():
        return read_xlsx_rows(path, required=required)
    with text.open("rb") as stream:
        delimiter = ";" if b";" in stream.readline() else ","
    return read_csv_rows(text, required=required, delimiter=delimiter)


def _rows(path: Path, required: Sequence[str], sheet: str | None) -> Iterator[dict[str, str]]:
    with _opened(path) as archive:
        part = _sheet_part(archive, path, sheet)
        strings = _shared_strings(archive, path) if _STRINGS in archive.namelist() else []
        names: list[str] = []
        for number, cells in _cells(archive, part, path, strings):
            if not cells:
                continue
            if not names:
                names = [cells.get(column, "").strip() for column in range(max(cells) + 1)]
                check_header(names, required, path)
                continue
            if max(cells) >= len(names):
                raise SchemaError(
                    f"`{path}`, row {number}: expected {len(names)} cells, found {cells[max(cells)][:80]!r} in column "
                    f"{max(cells) + 1}. Restore the table from the publisher."
                )
            yield {name: cells.get(column, "") for column, name in enumerate(names)}
        if not names:
            check_header(names, required, path)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the archive; damage met while reading becomes an error that names the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except ClimbError:
        raise
    except KeyError as error:
        raise CorruptFileError(
            f"`{path}`: not an Excel workbook (.xlsx), a part is missing ({error}). Restore it from the publisher."
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, expat.ExpatError) as error:
        raise CorruptFileError(
            f"`{path}`: not a readable Excel workbook (.xlsx) ({error}). Restore it from the publisher."
        ) from error


def _events(archive: zipfile.ZipFile, part: str, path: Path) -> Iterator[_Event]:
    """Parse one part as a stream; tags come without their namespace, attributes with it (`URI name`)."""
    if archive.getinfo(part).file_size > _MAX_PART:
        raise CorruptFileError(
            f"`{path}`: its part `{part}` would unpack to {archive.getinfo(part).file_size:,} bytes, more than the "
            f"{_MAX_PART:,} accepted. Restore the table from the publisher."
        )
    events: list[_Event] = []
    text: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        text.clear()
        events.append((tag.rpartition(" ")[2], attributes, ""))

    def end(tag: str) -> None:
        events.append((tag.rpartition(" ")[2], None, "".join(text)))
        text.clear()

    def refuse(*_: object) -> None:
        raise CorruptFileError(
            f"`{path}`: its part `{part}` declares a document type, which no Excel workbook does; it is not read. "
            "Restore the table from the publisher."
        )

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text.append, refuse
    with archive.open(part) as stream:
        while chunk := stream.read(_CHUNK):
            parser.Parse(chunk)
            yield from events
            events.clear()
        parser.Parse(b"", True)
        yield from events


def _sheet_part(archive: zipfile.ZipFile, path: Path, sheet: str | None) -> str:
    """Return the archive's name of a sheet."""
    links = {}
    for tag, attributes, _ in _events(archive, _LINKS, path):
        if tag == "Relationship" and attributes:
            links[attributes.get("Id", "")] = attributes.get("Target", "")
    sheets: dict[str, str] = {}
    for tag, attributes, _ in _events(archive, _WORKBOOK, path):
        if tag == "sheet" and attributes:
            link = next((value for key, value in attributes.items() if key.endswith(" id")), "")
            sheets[attributes.get("name", "")] = links.get(link, "")
    wanted = next(iter(sheets), "") if sheet is None else sheet
    if wanted not in sheets:
        raise SchemaError(f"`{path}`: sheet `{wanted}` is missing; found {', '.join(map(repr, sheets)) or 'none'}.")
    return posixpath.normpath(posixpath.join("xl", sheets[wanted])).lstrip("/")


def _shared_strings(archive: zipfile.ZipFile, path: Path) -> list[str]:
    """Return the strings that cells refer to by number; runs of rich text are joined, phonetic hints left out."""
    strings: list[str] = []
    parts: list[str] = []
    is_hint = False
    for tag, attributes, text in _events(archive, _STRINGS, path):
        if tag == "rPh":
            is_hint = attributes is not None
        elif tag == "t" and attributes is None and not is_hint:
            parts.append(text)
        elif tag == "si" and attributes is None:
            strings.append(_unescape("".join(parts)))
            parts.clear()
    return strings


def _cells(
    archive: zipfile.ZipFile, part: str, path: Path, strings: Sequence[str]
) -> Iterator[tuple[int, dict[int, str]]]:
    """Yield the number of each row, from 1, and its cells that hold something, by column from 0."""
    number, column, kind, is_hint = 0, -1, "n", False
    row: dict[int, str] = {}
    value: list[str] = []
    for tag, attributes, text in _events(archive, part, path):
        if tag == "row" and attributes is not None:
            row, column = {}, -1
            number = int(attributes.get("r") or number + 1)
        elif tag == "row":
            yield number, row
        elif tag == "c" and attributes is not None:
            column = _column(attributes["r"], path) if "r" in attributes else column + 1
            kind = attributes.get("t", "n")
            value.clear()
        elif tag == "c":
            if cell := _text(kind, "".join(value), strings, f"`{path}`, row {number}, column {column + 1}"):
                row[column] = cell
        elif tag == "rPh":
            is_hint = attributes is not None
        elif tag in ("v", "t") and attributes is None and not is_hint:
            value.append(text)


def _column(reference: str, path: Path) -> int:
    """Return the column of a reference such as `AB12`, from 0."""
    match = _REFERENCE.fullmatch(reference)
    column = 0
    for letter in match[1] if match else "":
        column = column * 26 + ord(letter) - 64
    if not 0 < column <= _COLUMNS:
        raise CorruptFileError(f"`{path}`: {reference!r} is not the name of a cell. Restore it from the publisher.")
    return column - 1


def _text(kind: str, value: str, strings: Sequence[str], where: str) -> str:
    """Return a cell as text; `kind` is its type attribute."""
    if kind in ("str", "inlineStr", "e", "d"):
        return _unescape(value)
    if not value:
        return ""
    try:
        if kind == "s":
            return strings[int(value)]
        if kind == "b":
            return "TRUE" if int(value) else "FALSE"
        if value.lstrip("-").isdigit():
            return value
        number = float(value)
    except (ValueError, IndexError) as error:
        raise CorruptFileError(f"{where}: {value!r} of type `{kind}` cannot be read. Restore the table.") from error
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text
