"""Wide expression tables: one line per gene, one column per sample, read into one float32 matrix without Python cells.

pyarrow tokenises and converts the text; a matrix holds its gene names once, as Arrow strings, and each sample is a row
of contiguous float32. `ExpressionMatrix.columns` hands a sample out as one-element Arrow arrays, which the builder
writes as they are: 60,000 genes never become 60,000 Python objects.

Lines that share a gene id (several probes of one gene, a repeated line) are averaged per sample, missing values left
out, at the place of the first; lines without an id are dropped. Both are counted.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv

from climb_hf.errors import CorruptFileError, SchemaError

__all__ = ["MISSING", "ExpressionMatrix", "merge_genes", "parse_matrix", "read_matrix_file"]

#: Cells that mean "no value" in the tables of Expression Atlas and GEO.
MISSING = ("", "NA", "-", "null", "NULL", "Null", "NaN", "nan")
#: Place of the median among the five quartiles of a cell, and how many commas part them.
_MEDIAN, _COMMAS = 2, 4
_MIN_BLOCK = 1 << 22
_MAX_BLOCK = (1 << 31) - 1
_ROW = re.compile(r"Row #(\d+)")


@dataclass(frozen=True, eq=False)
class ExpressionMatrix:
    """Expression values of the samples of one table.

    Args:
        genes (`pa.Array`): string, length G: gene or probe ids, each once, in file order.
        samples (`tuple[str, ...]`): S column names in file order.
        values (`np.ndarray`): (S, G) float32, contiguous by sample, in the unit of the table; NaN where missing.
        n_merged (`int`, *optional*, defaults to `0`): lines averaged into an earlier line of the same id.
        n_unnamed (`int`, *optional*, defaults to `0`): lines without an id, dropped.
    """

    genes: pa.Array
    samples: tuple[str, ...]
    values: NDArray[np.float32]
    n_merged: int = 0
    n_unnamed: int = 0

    def columns(self, sample: str) -> dict[str, pa.Array]:
        """Return the columns `genes` and `expression` of one sample.

        Args:
            sample (`str`): one of `samples`.

        Returns:
            `dict[str, pa.Array]`: each a list array of length 1 over the matrix's own memory: list<string> and
            list<float>, both of length G.

        Raises:
            SchemaError: there is no such sample.
        """
        if sample not in self.samples:
            raise SchemaError(f"expected a column `{sample}`, found {len(self.samples)}: {list(self.samples[:8])}.")
        offsets = pa.array([0, len(self.genes)], pa.int32())
        row = pa.array(self.values[self.samples.index(sample)])  # NaN stays NaN: it is not made null
        return {
            "genes": pa.ListArray.from_arrays(offsets, self.genes),
            "expression": pa.ListArray.from_arrays(offsets, row),
        }


def read_matrix_file(
    path: Path, *, id_column: int, first_value: int, columns: Sequence[str] | None = None, quartiles: bool = False
) -> ExpressionMatrix:
    """Read a tab-separated matrix with a header line and no quoting, as Expression Atlas publishes them.

    Args:
        path (`Path`): the table.
        id_column (`int`): place of the ids; the publisher's own header of that column varies.
        first_value (`int`): place of the first sample.
        columns (`Sequence[str]`, *optional*): names of the samples to read; all by default.
        quartiles (`bool`, *optional*, defaults to `False`): cells may hold five comma-joined numbers (minimum,
            quartiles, maximum), of which the median is taken.

    Returns:
        `ExpressionMatrix`.

    Raises:
        CorruptFileError: the file is empty, cut off, not UTF-8, or a line is damaged; the line is named.
        SchemaError: a sample stands twice, or a wanted one is absent.
    """
    data = path.read_bytes()
    end = data.find(b"\n")
    if end < 0:
        raise CorruptFileError(f"`{path.name}`: expected a header line and values, found {len(data)} bytes in a line.")
    if not data.endswith(b"\n"):
        raise CorruptFileError(f"`{path.name}`: the last line has no line end: the file is cut off. Get it again.")
    try:
        header = data[:end].decode().rstrip("\r").split("\t")
    except UnicodeDecodeError as error:
        raise CorruptFileError(f"`{path.name}`, line 1: expected UTF-8 text ({error}). Get it again.") from error
    return parse_matrix(
        pa.py_buffer(data).slice(end + 1), header, name=path.name, id_column=id_column,
        samples=header[first_value:] if columns is None else columns, quartiles=quartiles,
    )  # fmt: skip


def parse_matrix(
    body: pa.Buffer,
    header: Sequence[str],
    *,
    name: str,
    id_column: int,
    samples: Sequence[str],
    quartiles: bool = False,
    quoted: bool = False,
    missing: Collection[str] = MISSING,
    first_line: int = 2,
) -> ExpressionMatrix:
    r"""Parse the lines of a tab-separated matrix.

    Args:
        body (`pa.Buffer`): UTF-8 text after the header line.
        header (`Sequence[str]`): the cells of the header line.
        name (`str`): the file, for messages.
        id_column (`int`): place of the ids.
        samples (`Sequence[str]`): names of the columns to read.
        quartiles (`bool`, *optional*, defaults to `False`): take the median of cells of five numbers.
        quoted (`bool`, *optional*, defaults to `False`): cells may stand in double quotes.
        missing (`Collection[str]`, *optional*): cells that mean "no value"; ids are never missing but where empty.
        first_line (`int`, *optional*, defaults to `2`): number of `body`'s first line, for messages.

    Returns:
        `ExpressionMatrix`.

    Raises:
        CorruptFileError: a line has too few or too many cells, or a value is no number; the line is named.
        SchemaError: a sample stands twice, or is absent.

    Example:
        >>> text = pa.py_buffer(b"a\t1,2,3,4,5\nb\tNA\na\t5\n")
        >>> matrix = parse_matrix(text, ["GeneID", "g7"], name="x", id_column=0, samples=["g7"], quartiles=True)
        >>> matrix.genes.to_pylist(), matrix.values.tolist(), matrix.n_merged
        (['a', 'b'], [[4.0, nan]], 1)
    """
    places = _places(header, samples, name)
    table = _table(
        body, header, f"c{id_column}", places, missing, name, first_line, quartiles=quartiles, quoted=quoted
    )
    genes = table.column(0).combine_chunks()
    values = np.empty((len(places), len(genes)), np.float32)
    for row, place in enumerate(places):
        column = table.column(place).combine_chunks()
        if pa.types.is_string(column.type):
            column = _medians(column, missing, name, first_line)
        values[row] = column.to_numpy(zero_copy_only=False)
    return merge_genes(genes, tuple(samples), values)


def merge_genes(genes: pa.Array, samples: tuple[str, ...], values: NDArray[np.float32]) -> ExpressionMatrix:
    """Average the columns that share an id and drop those without one.

    Args:
        genes (`pa.Array`): string, length G; empty or null where a line has no id.
        samples (`tuple[str, ...]`): S names.
        values (`np.ndarray`): (S, G) float32.

    Returns:
        `ExpressionMatrix`: each id once, at its first place; a mean leaves NaN out and is NaN where all are.

    Example:
        >>> matrix = merge_genes(pa.array(["a", "b", "a", ""]), ("s",), np.array([[1, 2, 4, 8]], np.float32))
        >>> matrix.genes.to_pylist(), matrix.values.tolist(), matrix.n_merged, matrix.n_unnamed
        (['a', 'b'], [[2.5, 2.0]], 1, 1)
    """
    named = pc.not_equal(pc.fill_null(genes, ""), "")
    n_unnamed = len(genes) - pc.sum(named).as_py() if len(genes) else 0
    if n_unnamed:
        genes, values = genes.filter(named), np.ascontiguousarray(values[:, named.to_numpy(zero_copy_only=False)])
    encoded = genes.dictionary_encode()
    unique = encoded.dictionary
    if len(unique) == len(genes):
        return ExpressionMatrix(genes, samples, values, 0, n_unnamed)
    codes = encoded.indices.to_numpy()
    merged = np.empty((len(values), len(unique)), np.float32)
    for row, sample in zip(merged, values, strict=True):
        known = ~np.isnan(sample)
        sums = np.bincount(codes, np.where(known, sample, 0), len(unique))
        with np.errstate(invalid="ignore"):
            row[:] = sums / np.bincount(codes, known, len(unique))
    return ExpressionMatrix(unique, samples, merged, len(genes) - len(unique), n_unnamed)


def _places(header: Sequence[str], samples: Sequence[str], name: str) -> list[str]:
    """Return the internal column name of each sample."""
    where: dict[str, int] = {}
    for place, cell in enumerate(header):
        if cell in where and cell in samples:
            raise SchemaError(f"`{name}`: column `{cell}` stands more than once. Rename or remove one of them.")
        where[cell] = place
    if absent := [sample for sample in samples if sample not in where]:
        raise SchemaError(f"`{name}`: column `{absent[0]}` is missing; found {len(header)} columns: {header[:12]}.")
    return [f"c{where[sample]}" for sample in samples]


def _table(
    body: pa.Buffer,
    header: Sequence[str],
    ids: str,
    places: Sequence[str],
    missing: Collection[str],
    name: str,
    first_line: int,
    *,
    quartiles: bool,
    quoted: bool,
) -> pa.Table:
    """Read ids and samples as numbers; where that fails, as texts (`quartiles`) or to an error that names the row."""
    numbers, texts = dict.fromkeys(places, pa.float32()), dict.fromkeys(places, pa.string())
    error: Exception | None = None
    for types, threads in ((numbers, True), *(((texts, True),) if quartiles else ()), (numbers, False)):
        try:
            return _read(body, header, ids, types, missing, quoted=quoted, threads=threads)
        except pa.ArrowInvalid as fault:  # only with one thread the message says which row
            error = fault
    raise _damage(str(error), name, first_line) from error


def _read(
    body: pa.Buffer,
    header: Sequence[str],
    ids: str,
    types: dict[str, pa.DataType],
    missing: Collection[str],
    *,
    quoted: bool,
    threads: bool,
) -> pa.Table:
    """Tokenise the text and convert the id column and the wanted ones."""
    wanted = {ids: pa.string(), **types}
    if not body.size:
        return pa.table({name: pa.array([], kind) for name, kind in wanted.items()})
    line = bytes(body.slice(0, min(body.size, _MIN_BLOCK))).find(b"\n") + 1 or body.size
    return csv.read_csv(
        pa.BufferReader(body),
        csv.ReadOptions(
            use_threads=threads,
            block_size=min(max(_MIN_BLOCK, 16 * line), _MAX_BLOCK),  # a line must fit into a block
            column_names=[f"c{place}" for place in range(len(header))],
        ),
        csv.ParseOptions(delimiter="\t", quote_char='"' if quoted else False),
        csv.ConvertOptions(include_columns=list(wanted), column_types=wanted, null_values=list(missing)),
    )


def _medians(cells: pa.Array, missing: Collection[str], name: str, first_line: int) -> pa.Array:
    """Return the numbers of a column whose cells hold one number, or five of which the third is the median."""
    commas = pc.count_substring(cells, ",").to_numpy(zero_copy_only=False)
    is_five = commas == _COMMAS
    if odd := np.flatnonzero(~is_five & (commas != 0)).tolist():
        raise _bad_cell(cells[odd[0]].as_py(), odd[0], name, first_line)
    parts = pc.split_pattern(cells, ",")
    middle = parts.values.take(pa.array(parts.offsets.to_numpy()[:-1] + np.where(is_five, _MEDIAN, 0)))
    middle = pc.if_else(pc.is_in(middle, pa.array(list(missing))), pa.scalar(None, pa.string()), middle)
    try:
        return middle.cast(pa.float32())
    except pa.ArrowInvalid as error:
        for row, text in enumerate(middle.to_pylist()):
            try:
                float(text or 0)
            except ValueError:
                raise _bad_cell(cells[row].as_py(), row, name, first_line) from error
        raise _damage(str(error), name, first_line) from error


def _bad_cell(cell: str, row: int, name: str, first_line: int) -> CorruptFileError:
    return CorruptFileError(
        f"`{name}`, line {first_line + row}: expected a number, or five joined by commas, found {cell!r}. "
        "Get it again."
    )


def _damage(message: str, name: str, first_line: int) -> CorruptFileError:
    """Turn pyarrow's message, which counts rows from 1, into one that names the line of the file."""
    found = _ROW.search(message)
    where = f", line {int(found[1]) + first_line - 1}" if found else ""
    text = message.split(found[0] + ": ", 1)[-1] if found else message
    return CorruptFileError(f"`{name}`{where}: {text.strip()[:200]}. The table is damaged or cut off: get it again.")
