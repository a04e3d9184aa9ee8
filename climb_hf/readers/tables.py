"""Text tables by column name, values of their cells, and the root folder of a source's raw data.

A table is read row by row with the standard library: millions of rows are indexed without a data frame, and a missing
column, a ragged row or a truncated `.gz` is named with its line instead of shifting values into the wrong column.
"""

import csv
import difflib
import gzip
import math
import os
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TextIO, cast

from climb_hf.errors import AccessError, CorruptFileError, LayoutError, SchemaError

__all__ = [
    "check_header",
    "find_root",
    "find_table",
    "is_junk",
    "missing_table",
    "read_csv_rows",
    "to_bool",
    "to_float",
    "to_int",
]

#: Cell texts that mean "no value" unless a source says otherwise.
MISSING = ("", "NA", "N/A", "NaN", "nan", "None", "null", "NULL")
_TRUE = ("true", "1", "1.0", "yes")
_FALSE = ("false", "0", "0.0", "no")
_JUNK = frozenset({".ds_store", "__macosx", "thumbs.db", "desktop.ini"})
_MAX_DEPTH = 4  # folders between `data_dir` and the documented root: an archive's own folder, a mirror's path
_MAX_FOLDERS = 5000  # looked at before a wrong `data_dir` (a home folder, say) is given up
_LISTED = 8  # names shown in a message


def is_junk(name: str) -> bool:
    """Tell whether a file or folder name is litter of an operating system or archiver, not data.

    Args:
        name (`str`): the last part of a path.

    Returns:
        `bool`

    Example:
        >>> [is_junk(name) for name in (".DS_Store", "._a.csv", "__MACOSX", "Thumbs.db", "a.csv")]
        [True, True, True, True, False]
    """
    return name.startswith("._") or name.lower() in _JUNK


def find_table(path: Path) -> Path | None:
    """Give the table `path`, or the same table with or without `.gz`; `None` if there is neither.

    Args:
        path (`Path`): the documented name, such as `tables/admissions.csv`.

    Returns:
        `Path`, *optional*

    Example:
        >>> find_table(Path("nowhere/admissions.csv")) is None
        True
    """
    twin = path.with_suffix("") if path.suffix == ".gz" else path.with_name(path.name + ".gz")
    return next((candidate for candidate in (path, twin) if candidate.is_file()), None)


def read_csv_rows(
    path: Path,
    *,
    required: Sequence[str] = (),
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
    ragged: Literal["error", "last"] = "error",
    longest_cell: int | None = None,
    header: Sequence[str] = (),
) -> Iterator[dict[str, str]]:
    r"""Read a table with a header line row by row; cells are addressed by column name, never by position.

    Quoted cells may hold delimiters and line ends; a byte order mark, CRLF and gzip compression are accepted, and
    `name.csv` is found as `name.csv.gz` and the other way round. Names lose outer spaces, cells stay as written, blank
    lines are left out. All errors but a missing table arise while iterating.

    Args:
        path (`Path`): the table.
        required (`Sequence[str]`, *optional*): columns that must be there; `""` is the unnamed index column.
        delimiter (`str`, *optional*, defaults to `","`): one character.
        encoding (`str`, *optional*, defaults to `"utf-8-sig"`): the default takes UTF-8 with or without a mark.
        ragged (`str`, *optional*, defaults to `"error"`): `"last"` joins the cells beyond the last column to it, for
            tables whose last column holds unquoted delimiters.
        longest_cell (`int`, *optional*): characters of the longest cell, where a table has longer ones than the
            131,072 beyond which a cell counts as damage.
        header (`Sequence[str]`, *optional*): names of the columns of a table that has no header line.

    Returns:
        `Iterator[dict[str, str]]`: column name -> cell, in the order of the file.

    Raises:
        LayoutError: the table does not exist.
        SchemaError: a required column is missing, a name stands twice, or a row has too few or too many cells.
        CorruptFileError: the file is empty, truncated, not in `encoding`, or not a table.

    Example:
        >>> import tempfile
        >>> table = Path(tempfile.mkdtemp()) / "ages.csv"
        >>> _ = table.write_text("id,age\n7,61\n")
        >>> list(read_csv_rows(table, required=("id", "age")))
        [{'id': '7', 'age': '61'}]
    """
    file = find_table(path)
    if file is None:
        raise missing_table(path)
    return _rows(file, required, delimiter, encoding, ragged == "last", longest_cell, header)


def _rows(
    file: Path, required: Sequence[str], delimiter: str, encoding: str, join_last: bool, longest_cell: int | None,
    header: Sequence[str],
) -> Iterator[dict[str, str]]:  # fmt: skip
    with _open_text(file, encoding) as stream:
        reader = csv.reader(stream, delimiter=delimiter)
        names = [name.strip() for name in (header or next(reader, []))]
        check_header(names, required, file)
        width = len(names)
        for row in reader if longest_cell is None else _long_rows(reader, longest_cell):
            if len(row) != width:
                if not row:
                    continue
                if len(row) < width or not join_last:
                    raise SchemaError(
                        f"`{file}`, line {reader.line_num}: expected {width} cells, found {len(row)} "
                        f"({delimiter.join(row)[:80]!r}). Restore the table from the publisher."
                    )
                row[width - 1 :] = [delimiter.join(row[width - 1 :])]
            yield dict(zip(names, row, strict=False))  # lengths are equal here


def _long_rows(reader: Iterator[list[str]], longest_cell: int) -> Iterator[list[str]]:
    """Read rows of long cells; the limit holds for the whole process, so it is raised for the moment only."""
    while True:
        usual = csv.field_size_limit(longest_cell)
        try:
            row = next(reader, None)
        finally:
            csv.field_size_limit(usual)
        if row is None:
            return
        yield row


@contextmanager
def _open_text(file: Path, encoding: str) -> Iterator[TextIO]:
    """Open a plain or compressed table; damage met while reading becomes an error that names the file."""
    try:
        if file.suffix == ".gz":
            with gzip.open(file, "rt", encoding=encoding, newline="") as stream:
                yield cast(TextIO, stream)
        else:
            with file.open(encoding=encoding, newline="") as stream:
                yield stream
    except UnicodeDecodeError as error:
        raise CorruptFileError(
            f"`{file}`: expected {encoding} text, found byte 0x{error.object[error.start]:02x}. "
            "Restore the table from the publisher, or read it with another `encoding`."
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CorruptFileError(f"`{file}`: the compressed table is damaged ({error}). Download it again.") from error
    except csv.Error as error:
        raise CorruptFileError(f"`{file}`: not a readable table ({error}). Restore it from the publisher.") from error


def missing_table(path: Path) -> LayoutError:
    """Make the error that says a table is not there.

    Args:
        path (`Path`): where the table should be.

    Returns:
        `LayoutError`: names the table and what its folder holds instead.
    """
    return LayoutError(
        f"`{path.name}` not found in `{path.parent}` ({_listing(path.parent)}). "
        "Restore it from the publisher, or pass the folder that holds it as `data_dir`."
    )


def check_header(names: Sequence[str], required: Sequence[str], file: Path) -> None:
    """Check the column names of a table, whatever its format.

    Args:
        names (`Sequence[str]`): the names in order, without outer spaces.
        required (`Sequence[str]`): columns that must be there; `""` is an unnamed one.
        file (`Path`): the table, for the message.

    Raises:
        SchemaError: a required column is missing, or a name stands twice.
        CorruptFileError: there is no name at all.
    """
    if not any(names):
        raise CorruptFileError(f"`{file}`: expected a header line, found an empty file. Download it again.")
    twice = sorted({name for name in names if list(names).count(name) > 1} - ({""} - set(required)))
    if twice:
        raise SchemaError(f"`{file}`: column `{twice[0]}` stands more than once. Rename or remove one of them.")
    for name in required:
        if name not in names:
            spellings = {other.lower(): other for other in names}
            near = difflib.get_close_matches(name.lower(), spellings, n=1)
            hint = f" (nearest name: `{spellings[near[0]]}`)" if near else ""
            raise SchemaError(
                f"`{file}`: column `{name}` is missing{hint}; found {len(names)} columns: "
                f"{', '.join(f'`{other}`' for other in names[:40])}. Restore the table from the publisher."
            )


def to_float(text: str, missing: Collection[str] = MISSING, *, strict: bool = True) -> float | None:
    """Read a cell as a finite number.

    Args:
        text (`str`): the cell; outer spaces are ignored.
        missing (`Collection[str]`, *optional*): texts that mean "no value"; anything that parses as NaN does too.
        strict (`bool`, *optional*, defaults to `True`): refuse other texts instead of taking them for "no value".

    Returns:
        `float`, *optional*

    Raises:
        SchemaError: the cell is not a finite number (`strict=True`).

    Example:
        >>> to_float(" 61.5 "), to_float(""), to_float("-99", missing=("", "-99")), to_float("n.a.", strict=False)
        (61.5, None, None, None)
    """
    text = text.strip()
    if text in missing:
        return None
    try:
        value = math.inf if "_" in text else float(text)  # Python would take `1_000` for a number
    except ValueError:
        value = math.inf
    if math.isfinite(value):
        return value
    if strict and not math.isnan(value):
        raise SchemaError(f"expected a finite number or one of {list(missing)}, found {text!r}. Correct the table.")
    return None


def to_int(text: str, missing: Collection[str] = MISSING) -> int | None:
    """Read a cell as a whole number; `6.0`, as data frames write it, is 6.

    Args:
        text (`str`): the cell; outer spaces are ignored.
        missing (`Collection[str]`, *optional*): texts that mean "no value"; anything that parses as NaN does too.

    Returns:
        `int`, *optional*

    Raises:
        SchemaError: the cell is not a whole number.

    Example:
        >>> to_int("6.0"), to_int("9007199254740993"), to_int("")
        (6, 9007199254740993, None)
    """
    text = text.strip()
    digits = text[1:] if text[:1] in ("-", "+") else text
    if digits.isascii() and digits.isdigit() and text not in missing:  # exact beyond 2**53
        return int(text)
    value = to_float(text, missing)
    if value is not None and not value.is_integer():
        raise SchemaError(f"expected a whole number, found {text!r}. Correct the table.")
    return None if value is None else int(value)


def to_bool(
    text: str,
    missing: Collection[str] = MISSING,
    *,
    true: Collection[str] = _TRUE,
    false: Collection[str] = _FALSE,
) -> bool | None:
    """Read a cell as yes or no, in any letter case.

    Args:
        text (`str`): the cell; outer spaces are ignored.
        missing (`Collection[str]`, *optional*): texts that mean "no value", such as `("", "UNK")`.
        true (`Collection[str]`, *optional*): lower-case texts for yes; by default `true`, `1`, `1.0`, `yes`.
        false (`Collection[str]`, *optional*): lower-case texts for no; by default `false`, `0`, `0.0`, `no`.

    Returns:
        `bool`, *optional*

    Raises:
        SchemaError: the cell is none of these.

    Example:
        >>> to_bool("TRUE"), to_bool("0"), to_bool("UNK", missing=("", "UNK"))
        (True, False, None)
    """
    text = text.strip()
    if text in missing:
        return None
    key = text.lower()
    if key in true or key in false:
        return key in true
    expected = [*true, *false, *missing]
    raise SchemaError(f"expected one of {expected}, found {text!r}. Correct the table.")


def find_root(data_dir: str | Path, marker_names: Sequence[str], source: str) -> Path:
    """Find the documented root of a source: `data_dir`, or the one folder below it that holds a marker.

    The shallowest folder wins, up to four levels down; junk and hidden folders are passed over.

    Args:
        data_dir (`str` or `Path`): what the user gave.
        marker_names (`Sequence[str]`): names or glob patterns, relative to the root, one of which marks it.
        source (`str`): name of the source, for the message.

    Returns:
        `Path`: the root.

    Raises:
        AccessError: `data_dir` does not exist.
        LayoutError: no folder has a marker, or several of the same depth do.

    Example:
        >>> import tempfile
        >>> top = Path(tempfile.mkdtemp())
        >>> (top / "ptb-xl-1.0.3").mkdir()
        >>> _ = (top / "ptb-xl-1.0.3" / "ptbxl_database.csv").write_text("")
        >>> find_root(top, ("ptbxl_database.csv",), "ptbxl").name
        'ptb-xl-1.0.3'
    """
    top = Path(data_dir)
    wanted = " or ".join(f"`{name}`" for name in marker_names)
    advice = f"See the expected tree with `climb doctor {source}`, or pass another `data_dir`."
    if not top.exists():
        raise AccessError(f"{source}: expected a folder with {wanted}, but `{top}` does not exist. {advice}")
    if not top.is_dir():
        raise LayoutError(f"{source}: expected a folder with {wanted}, found the file `{top}`. Unpack it. {advice}")
    level, seen = [top], 0
    for depth in range(_MAX_DEPTH + 1):
        roots = [folder for folder in level if _has_marker(folder, marker_names)]
        if len(roots) == 1:
            return roots[0]
        if roots:
            names = ", ".join(f"`{folder.relative_to(top).as_posix()}`" for folder in roots[:_LISTED])
            raise LayoutError(
                f"{source}: {wanted} marks {len(roots)} folders in `{top}` ({names}). Pass one of them as `data_dir`."
            )
        seen += len(level)
        level = _subfolders(level, _MAX_FOLDERS - seen) if depth < _MAX_DEPTH else []
    if _has_marker(top.parent, marker_names):
        advice = f"Its parent `{top.parent}` looks right: pass that as `data_dir`."
    raise LayoutError(
        f"{source}: {wanted} not found in `{top}`, nor up to {_MAX_DEPTH} levels below ({_listing(top)}). {advice}"
    )


def _has_marker(folder: Path, names: Sequence[str]) -> bool:
    try:
        return any(
            next(folder.glob(name), None) is not None if set(name) & set("*?[") else (folder / name).exists()
            for name in names
        )
    except PermissionError:  # somebody else's folder is not the root
        return False


def _subfolders(folders: Sequence[Path], limit: int) -> list[Path]:
    """List the folders one level down, in order of name, without junk and hidden ones, `limit` at most."""
    found: list[Path] = []
    for folder in folders:
        try:
            with os.scandir(folder) as entries:  # one system call per hundreds of names: folders hold 100,000 files
                names = sorted(entry.name for entry in entries if entry.is_dir())
        except PermissionError:
            continue
        found.extend(folder / name for name in names if not name.startswith(".") and not is_junk(name))
        if len(found) >= limit:
            return found[: max(limit, 0)]
    return found


def _listing(folder: Path) -> str:
    """Say what a folder holds, for a message."""
    if not folder.is_dir():
        return "the folder does not exist"
    names = sorted(path.name for path in folder.iterdir() if not is_junk(path.name))
    rest = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"found {len(names)} entries: {', '.join(names[:_LISTED])}{rest}" if names else "the folder is empty"
