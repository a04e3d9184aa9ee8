"""GEO's two text formats of expression data: SOFT files of curated data sets (GDS), and series matrix files (GSE).

`read_geo_header` stops at the first line of the table, so indexing thousands of files reads a few kilobytes of each.
`read_geo_matrix` reads the table: the gzip checksum and the end marker tell a cut-off download, and a damaged line is
named. Text is UTF-8, or Latin-1 where it is not.

Facts: https://www.ncbi.nlm.nih.gov/geo/info/soft.html, and the rules of GEOquery and GEOparse for what files in the
wild do: `^DATASET` twice, carriage returns inside values, repeated attribute keys, four spellings of null.
"""

import gzip
import logging
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal, cast

import pyarrow as pa

from climb_hf.errors import CorruptFileError, SchemaError
from climb_hf.readers.expression import ExpressionMatrix, parse_matrix

__all__ = ["GeoHeader", "geo_accession", "read_geo_header", "read_geo_matrix"]

logger = logging.getLogger(__name__)

_NAME = re.compile(r"(GDS\d+)\.soft(\.gz)?|((GSE\d+)(-GPL\d+)?)_series_matrix\.txt(\.gz)?", re.IGNORECASE)
#: A header line of a series of 20,000 samples is a few megabytes; far longer ones are no text.
_MAX_LINE = 1 << 26
_MARKS = {"GDS": (b"!dataset_table_begin", b"!dataset_table_end"),
          "GSE": (b"!series_matrix_table_begin", b"!series_matrix_table_end")}  # fmt: skip


@dataclass
class GeoHeader:
    """What stands before the table of a GEO file.

    Args:
        kind (`str`): `"GDS"` (SOFT file of a data set) or `"GSE"` (series matrix file).
        attributes (`dict[str, list[str]]`): attributes of the data set or series without their prefix, such as
            `reference_series` or `pubmed_id`; several values where a key repeats.
        subsets (`list[dict[str, str]]`): subsets of a data set: `description`, `sample_id` (comma-joined), `type`.
        samples (`dict[str, dict[str, list[str]]]`): sample accession -> attributes, in the order of the table's
            columns. A data set states `description`; a series `title`, `characteristics_ch1` and the like.
        columns (`list[str]`): the table's header line.
        is_empty (`bool`): the table has no line, as in series of sequencing data.
    """

    kind: Literal["GDS", "GSE"]
    attributes: dict[str, list[str]] = field(default_factory=dict)
    subsets: list[dict[str, str]] = field(default_factory=list)
    samples: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    is_empty: bool = False

    def first(self, key: str) -> str | None:
        """Return the first value of an attribute, `None` where it is absent or empty."""
        return next(iter(self.attributes.get(key, ())), "") or None

    def subsets_of(self, sample: str) -> dict[str, str]:
        """Return the curated annotation of a sample: subset type -> description."""
        found: dict[str, str] = {}
        for subset in self.subsets:
            if sample in subset["sample_id"].split(","):
                found.setdefault(subset["type"], subset["description"])
        return found


def geo_accession(name: str) -> str | None:
    """Return the accession of a file of one of the two formats by its name.

    Args:
        name (`str`): name of a file.

    Returns:
        `str`, *optional*: `None` for other files, `_full` copies and family files included.

    Example:
        >>> [geo_accession(n) for n in ("GDS507.soft.gz", "GSE781-GPL97_series_matrix.txt", "GDS507_full.soft.gz")]
        ['GDS507', 'GSE781-GPL97', None]
    """
    match = _NAME.fullmatch(name)
    return None if match is None else (match[1] or match[3]).upper()


def read_geo_header(path: Path) -> GeoHeader:
    """Read a file up to its table.

    Args:
        path (`Path`): `GDS*.soft[.gz]` or `GSE*_series_matrix.txt[.gz]`.

    Returns:
        `GeoHeader`.

    Raises:
        CorruptFileError: the file ends before its table, or is of another format.
        SchemaError: a sample stands twice in the table.
    """
    kind: Literal["GDS", "GSE"] = "GDS" if path.name.upper().startswith("GDS") else "GSE"
    header = GeoHeader(kind)
    begin, end = _MARKS[kind]
    parse = _parse_dataset_line if kind == "GDS" else _parse_series_line
    with _opened(path) as stream:
        for raw in _lines(stream, path):
            if raw.rstrip().lower() == begin:
                break
            parse(header, _text(raw).rstrip("\r\n"))
        else:
            raise CorruptFileError(f"`{path.name}`: no line `{begin.decode()}`: the file is cut off. Get it again.")
        header.columns = _cells(_text(stream.readline(_MAX_LINE)))
        header.is_empty = stream.readline(_MAX_LINE).rstrip().lower() == end
    names = [column for column in header.columns if column.startswith("GSM")]
    if not names or "ID_REF" not in header.columns:
        raise CorruptFileError(
            f"`{path.name}`: expected a table with `ID_REF` and columns of samples (GSM…), found the columns "
            f"{header.columns[:6]}: the file is cut off or of another format. Get it again."
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SchemaError(f"`{path.name}`: sample `{twice}` stands more than once in the table.")
    header.samples = {name: header.samples.get(name, {}) for name in names}
    return header


def read_geo_matrix(path: Path, ids: Literal["probe", "symbol"] = "probe") -> ExpressionMatrix:
    """Read the table of a file.

    Args:
        path (`Path`): `GDS*.soft[.gz]` or `GSE*_series_matrix.txt[.gz]`.
        ids (`str`, *optional*, defaults to `"probe"`): `"probe"` names the values by `ID_REF`; `"symbol"` by
            `IDENTIFIER`, the gene symbol, which only data sets have: probes of one gene are averaged, control probes
            (`--Control`) are dropped.

    Returns:
        `ExpressionMatrix`: all samples, values as published (the scale differs between data sets).

    Raises:
        CorruptFileError: the file is cut off, or a line is damaged; the line is named.
        SchemaError: there is no column of symbols.
    """
    header = read_geo_header(path)
    if ids == "symbol" and "IDENTIFIER" not in header.columns:
        raise SchemaError(f"`{path.name}`: expected a column `IDENTIFIER` of gene symbols, found only probe ids.")
    with _opened(path) as stream:
        data = stream.read()
    begin, end = _MARKS[header.kind]
    start = data.find(b"\n", _line_start(data, begin, path))
    start = data.find(b"\n", start + 1) + 1  # behind the header line
    stop = _line_start(data, end, path, start)
    body = pa.py_buffer(data).slice(start, stop - start)
    if not body.size:
        raise CorruptFileError(f"`{path.name}`: expected a table of values, found an empty one.")
    lines_before = data.count(b"\n", 0, start)
    if not _is_utf8(body):
        body = pa.py_buffer(bytes(body).decode("latin-1").encode())
    matrix = parse_matrix(
        body, header.columns, name=path.name, samples=list(header.samples), quoted=header.kind == "GSE",
        id_column=header.columns.index("ID_REF" if ids == "probe" else "IDENTIFIER"), first_line=lines_before + 1,
    )  # fmt: skip
    _compare_counts(header, matrix, path)
    return _without_controls(matrix) if ids == "symbol" else matrix


def _parse_dataset_line(header: GeoHeader, line: str) -> None:
    """Take up one line of a SOFT file; the second `^DATASET` block adds to the first."""
    key, _, value = line[1:].partition("=")
    key, value = key.strip(), value.strip()
    if line.startswith("^SUBSET"):
        header.subsets.append({"description": "", "sample_id": "", "type": ""})
    elif line.startswith("!subset_") and header.subsets:
        header.subsets[-1][key.removeprefix("subset_")] = value
    elif line.startswith("!dataset_"):
        header.attributes.setdefault(key.removeprefix("dataset_"), []).append(value)
    elif line.startswith("#GSM"):
        header.samples[key] = {"description": [value]}


def _parse_series_line(header: GeoHeader, line: str) -> None:
    """Take up one line of a series matrix file."""
    key, *values = _cells(line)
    if key.startswith("!Series_"):
        header.attributes.setdefault(key.removeprefix("!Series_"), []).extend(values)
    elif key == "!Sample_geo_accession":
        known = list(header.samples.values())  # attributes may stand before the accession
        header.samples = {name: known[place] if place < len(known) else {} for place, name in enumerate(values)}
    elif key.startswith("!Sample_"):
        if not header.samples:
            header.samples = {str(place): {} for place in range(len(values))}
        for sample, value in zip(header.samples.values(), values, strict=False):
            sample.setdefault(key.removeprefix("!Sample_"), []).append(value)


def _cells(line: str) -> list[str]:
    """Split a line at tabs and take one pair of outer quotes off each cell; quotes inside a value stay."""
    cells = line.rstrip("\r\n").split("\t")
    return [cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell for cell in cells]


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _is_utf8(body: pa.Buffer) -> bool:
    try:
        return bool(str(memoryview(body), "utf-8"))
    except UnicodeDecodeError:
        return False


def _lines(stream: IO[bytes], path: Path) -> Iterator[bytes]:
    """Yield lines that end in a line feed; a carriage return inside a value does not end one."""
    while line := stream.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise CorruptFileError(f"`{path.name}`: a line of over {_MAX_LINE} bytes: this is no GEO file.")
        yield line


def _line_start(data: bytes, mark: bytes, path: Path, start: int = 0) -> int:
    """Find the line of a marker, whatever its letter case."""
    place = data.find(b"\n" + mark, max(start - 1, 0))
    if place >= 0:
        return place + 1
    found = re.compile(rb"^" + mark + rb"[ \r]*$", re.MULTILINE | re.IGNORECASE).search(data, start)
    if found is None:
        raise CorruptFileError(f"`{path.name}`: no line `{mark.decode()}`: the file is cut off. Get it again.")
    return found.start()


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a plain or compressed file; a damaged archive becomes an error that names it."""
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as stream:
            yield cast(IO[bytes], stream)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CorruptFileError(f"`{path.name}`: the compressed file is cut off or damaged ({error}).") from error


def _compare_counts(header: GeoHeader, matrix: ExpressionMatrix, path: Path) -> None:
    """Say so where the table has other counts than its header states; the end marker tells a cut-off file."""
    found = {
        "feature_count": len(matrix.genes) + matrix.n_merged + matrix.n_unnamed,
        "sample_count": len(matrix.samples),
    }
    for key, count in found.items():
        stated = header.first(key)
        if stated is not None and stated.isdigit() and int(stated) != count:
            logger.warning("%s: the header states a %s of %s, the table has %d", path.name, key, stated, count)


def _without_controls(matrix: ExpressionMatrix) -> ExpressionMatrix:
    import numpy as np
    import pyarrow.compute as pc

    kept = pc.invert(pc.starts_with(matrix.genes, "--")).to_numpy(zero_copy_only=False)
    if kept.all():
        return matrix
    values = np.ascontiguousarray(matrix.values[:, kept])
    return ExpressionMatrix(matrix.genes.filter(pa.array(kept)), matrix.samples, values, matrix.n_merged)
