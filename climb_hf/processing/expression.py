"""Rows of gene expression as one matrix with aligned gene names: NumPy, SciPy sparse, or AnnData.

The columns `genes` and `expression` are read as Arrow, row by row; a gene list that many rows share is looked at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from climb_hf.errors import OptionError, SchemaError
from climb_hf.optional import require

if TYPE_CHECKING:
    from datasets import Dataset
    from scipy.sparse import csr_matrix

__all__ = ["ExpressionTable", "to_anndata", "to_matrix"]

_BATCH = 16
#: Shared columns that describe a row.
_SHARED = ("source", "group", "age", "sex", "duplicate_of")


@dataclass(frozen=True, eq=False)
class ExpressionTable:
    """Expression values of the rows of a dataset.

    Args:
        values (`np.ndarray` or `scipy.sparse.csr_matrix`): (rows, genes) float32; NaN where a row has no value.
        genes (`tuple[str, ...]`): names of the columns.
        ids (`tuple[str, ...]`): ids of the rows.
    """

    values: "np.ndarray | csr_matrix"
    genes: tuple[str, ...]
    ids: tuple[str, ...]


def to_matrix(
    dataset: "Dataset",
    *,
    genes: Literal["union", "intersection"] | Sequence[str] = "union",
    layout: Literal["dense", "csr"] = "dense",
) -> ExpressionTable:
    """Put the rows of an expression dataset into one matrix.

    Units and scales are left as they are: choose rows of one unit, species or platform first.

    Args:
        dataset (`datasets.Dataset`): one split, with the columns `id`, `genes` and `expression`.
        genes (`str` or `Sequence[str]`, *optional*, defaults to `"union"`): `"union"` of the rows' genes in order of
            first appearance, `"intersection"`, or the names wanted, in their order.
        layout (`str`, *optional*, defaults to `"dense"`): `"dense"`, or `"csr"`, which stores no zeros. A gene that a
            row does not have is NaN in both, and stored in the second: it is not the same as zero.

    Returns:
        `ExpressionTable`.

    Raises:
        OptionError: `layout` or `genes` has another value.
        SchemaError: columns are missing, or a row holds a gene twice or more values than genes.

    Example:
        >>> from datasets import Dataset
        >>> rows = {"id": ["x", "y"], "genes": [["a", "b"], ["b", "c"]], "expression": [[1.0, 2.0], [3.0, 4.0]]}
        >>> table = to_matrix(Dataset.from_dict(rows))
        >>> table.genes, table.values.tolist()
        (('a', 'b', 'c'), [[1.0, 2.0, nan], [nan, 3.0, 4.0]])
        >>> to_matrix(Dataset.from_dict(rows), genes=["b"]).values.tolist()
        [[2.0], [3.0]]
    """
    if layout not in ("dense", "csr"):
        raise OptionError(f"`layout` must be 'dense' or 'csr', got {layout!r}.")
    _check_columns(dataset)
    lists = _GeneLists()
    ids: list[str] = []
    places = []
    for name, names, _ in _rows(dataset, ("id", "genes")):
        ids.append(name)
        places.append(lists.place(names, name))
    wanted = lists.wanted(genes)
    maps = [_map(names, wanted) for names in lists.known]
    filled = _fill_dense if layout == "dense" else _fill_csr
    rows = ((maps[place], values, name) for place, (name, _, values) in zip(places, _rows(dataset), strict=True))
    return ExpressionTable(filled(rows, len(ids), len(wanted)), tuple(wanted.to_pylist()), tuple(ids))


def to_anndata(
    dataset: "Dataset",
    *,
    genes: Literal["union", "intersection"] | Sequence[str] = "union",
    layout: Literal["dense", "csr"] = "dense",
) -> Any:  # noqa: ANN401 - a class of an optional package
    """Return the rows of an expression dataset as an `anndata.AnnData`.

    Args:
        dataset (`datasets.Dataset`): one split of a source of the expression family.
        genes (`str` or `Sequence[str]`, *optional*, defaults to `"union"`): as in `to_matrix`.
        layout (`str`, *optional*, defaults to `"dense"`): as in `to_matrix`.

    Returns:
        `anndata.AnnData`: `X` (rows, genes) float32; `obs` with the ids as index, the shared columns and whatever of
        the metadata is a single value (`subsets.disease state` for a nested one); `var` with the genes as index.

    Raises:
        DependencyError: `anndata` is not installed.
        OptionError: `layout` or `genes` has another value.
        SchemaError: columns are missing, or a row holds a gene twice.
    """
    anndata = require("anndata", extra="genomics")
    import pandas as pd

    table = to_matrix(dataset, genes=genes, layout=layout)
    shared = [name for name in (*_SHARED, "metadata") if name in dataset.column_names]
    rows = dataset.with_format(None).select_columns(shared) if shared else [{}] * len(dataset)
    facts = [_flat(row) for row in rows]
    observations = pd.DataFrame(facts, index=pd.Index(table.ids, name="id"))
    return anndata.AnnData(
        X=table.values, obs=observations, var=pd.DataFrame(index=pd.Index(table.genes, name="gene"))
    )


class _GeneLists:
    """The distinct gene lists of a dataset, in order of appearance."""

    def __init__(self) -> None:
        self.known: list[pa.Array] = []
        self._by_ends: dict[tuple[Any, ...], list[int]] = {}
        self._last = -1

    def place(self, names: pa.Array, row: str) -> int:
        """Return the place of a list, taking it up where it is new."""
        if self._last >= 0 and self.known[self._last].equals(names):
            return self._last
        ends = (len(names), *(names[place].as_py() for place in (0, -1) if len(names)))
        candidates = self._by_ends.setdefault(ends, [])
        found = next((place for place in candidates if self.known[place].equals(names)), None)
        if found is None:
            if len(names.unique()) < len(names):
                raise SchemaError(f"row `{row}`: expected each gene once in `genes`; merge the repeated ones first.")
            found = len(self.known)
            self.known.append(pa.concat_arrays([names]))  # a copy, so that the batch can be freed
            candidates.append(found)
        self._last = found
        return found

    def wanted(self, genes: str | Sequence[str]) -> pa.Array:
        """Return the columns of the matrix."""
        if not isinstance(genes, str):
            return pa.array(list(genes), pa.string())
        if genes not in ("union", "intersection"):
            raise OptionError(f"`genes` must be 'union', 'intersection' or a list of names, got {genes!r}.")
        every = pa.chunked_array(self.known or [pa.array([], pa.string())], pa.string()).unique()
        if genes == "intersection":
            for names in self.known:
                every = every.filter(pc.is_in(every, names))
        return every


def _check_columns(dataset: "Dataset") -> None:
    found = getattr(dataset, "column_names", None)
    if not isinstance(found, list) or not {"id", "genes", "expression"} <= set(found):
        raise SchemaError(
            "expected one split of an expression dataset with the columns `id`, `genes` and `expression`, found "
            f"{found}."
        )


def _rows(
    dataset: "Dataset", columns: Sequence[str] = ("id", "genes", "expression")
) -> Iterator[tuple[str, pa.Array, pa.Array | None]]:
    """Yield id, genes and values (float32) of each row, as Arrow; index mappings are respected."""
    for table in dataset.select_columns(list(columns)).with_format("arrow").iter(_BATCH):
        genes = table.column("genes")
        values = table.column("expression") if "expression" in columns else None
        for row, name in enumerate(table.column("id").to_pylist()):
            numbers = None if values is None else values[row].values.cast(pa.float32())
            yield name, genes[row].values, numbers


def _map(names: pa.Array, wanted: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the places in a row of the wanted genes it has, and their columns, in the order of the columns."""
    found = pc.index_in(wanted, names)
    columns = np.flatnonzero(found.is_valid().to_numpy(zero_copy_only=False))
    return found.drop_null().to_numpy().astype(np.int64), columns


def _checked(values: pa.Array, places: np.ndarray, row: str) -> np.ndarray:
    numbers = values.to_numpy(zero_copy_only=False)
    if len(places) and places.max() >= len(numbers):
        raise SchemaError(f"row `{row}`: `expression` has {len(numbers)} values, fewer than `genes` has names.")
    return numbers[places]


def _fill_dense(rows: Iterator[Any], n_rows: int, n_genes: int) -> np.ndarray:
    matrix = np.full((n_rows, n_genes), np.nan, np.float32)
    for row, ((places, columns), values, name) in enumerate(rows):
        matrix[row, columns] = _checked(values, places, name)
    return matrix


def _fill_csr(rows: Iterator[Any], n_rows: int, n_genes: int) -> "csr_matrix":
    from scipy.sparse import csr_matrix

    data, columns_of, ends = [np.zeros(0, np.float32)], [np.zeros(0, np.int64)], [0]
    for (places, columns), values, name in rows:
        row = np.full(n_genes, np.nan, np.float32)
        row[columns] = _checked(values, places, name)
        stored = np.flatnonzero(row)  # NaN is not zero
        data.append(row[stored])
        columns_of.append(stored)
        ends.append(ends[-1] + len(stored))
    return csr_matrix((np.concatenate(data), np.concatenate(columns_of), ends), shape=(n_rows, n_genes))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return the single values of a row, those of its metadata under their own names."""
    flat = {name: value for name, value in row.items() if name != "metadata"}
    for key, value in (row.get("metadata") or {}).items():
        nested = {f"{key}.{name}": item for name, item in value.items()} if isinstance(value, dict) else {key: value}
        for name, item in nested.items():
            if not isinstance(item, list | dict):
                flat.setdefault(name, item)
    return flat
