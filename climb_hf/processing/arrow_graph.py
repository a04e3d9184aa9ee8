"""Graph columns read straight from the Arrow storage of a `datasets.Dataset`.

`edge_index`, `edge_attr`, `node_feat` and `node_labels` are stored as list<list<number>>: one flat buffer with two
levels of offsets. `datasets` rebuilds every number as a Python object, 500,000 of them for a dense graph of 360 nodes;
here a row is a NumPy view of the flat buffer.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from climb_hf.arrow_columns import nests_numbers
from climb_hf.errors import SchemaError

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["MatrixReader"]


class MatrixReader:
    """Reads a column of matrices (lists of lists of numbers) without going through Python lists.

    Index mappings (`select`, `shuffle`, `filter`), chunked tables, empty rows and null rows are handled. The reader
    keeps views of the table's buffers, so make it once and use it for every batch; it pickles as the dataset does.

    Args:
        dataset (`datasets.Dataset`): any map-style dataset.
        column (`str`): a column of the type `List(List(Value(…)))` of numbers.

    Raises:
        SchemaError: the column is absent or of another type.

    Example:
        >>> import datasets
        >>> features = datasets.Features({"edge_index": datasets.List(datasets.List(datasets.Value("int64")))})
        >>> rows = {"edge_index": [[[0, 1], [1, 0]], [[], []]]}
        >>> reader = MatrixReader(datasets.Dataset.from_dict(rows, features=features), "edge_index")
        >>> [row.shape for row in reader.rows([1, 0])]
        [(2, 0), (2, 2)]
    """

    def __init__(self, dataset: "Dataset", column: str) -> None:
        feature = dataset.features.get(column)
        if not nests_numbers(feature):
            raise SchemaError(
                f"column `{column}` must be a `List(List(Value(…)))` of numbers, found `{feature}`; the dataset has "
                f"the columns {dataset.column_names}."
            )
        self.column = column
        self._dtype = np.dtype(feature.feature.feature.pa_type.to_pandas_dtype())
        self._dataset = dataset
        self._open()

    def _open(self) -> None:
        self._chunks: list[pa.Array] = self._dataset.data.column(self.column).chunks
        self._starts = np.cumsum([0, *(len(chunk) for chunk in self._chunks)])
        mapping = self._dataset._indices  # `select`, `shuffle` and `filter` leave the table alone
        self._mapping = None if mapping is None else np.concatenate([np.asarray(c) for c in mapping.column(0).chunks])
        self._opened: dict[int, _Chunk] = {}

    def __getstate__(self) -> dict[str, Any]:
        # The views would be copied into the pickle of every spawned worker; the dataset pickles as file names.
        return {"column": self.column, "_dtype": self._dtype, "_dataset": self._dataset}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __len__(self) -> int:
        return len(self._dataset)

    def rows(self, indices: Sequence[int]) -> list[np.ndarray | None]:
        """Return one matrix per index.

        Args:
            indices (`Sequence[int]`): positions in the dataset, in any order, repeats allowed; negative ones count
                from the end.

        Returns:
            `list`: (rows, columns) arrays of the stored type, in the order of `indices`: read-only views of the
            storage where it has no nulls, copies otherwise. A null row is `None`; no rows give the shape (0, 0).

        Raises:
            IndexError: an index outside the dataset.
            SchemaError: a row whose lists differ in length.
        """
        positions = np.asarray(indices, dtype=np.int64)
        if not positions.size:
            return []
        total = len(self)
        if positions.min() < -total or positions.max() >= total:
            raise IndexError(f"indices must lie in [-{total}, {total}), found {positions.min()} to {positions.max()}.")
        positions = np.where(positions < 0, positions + total, positions)
        if self._mapping is not None:
            positions = self._mapping[positions].astype(np.int64)
        chunks = np.searchsorted(self._starts, positions, side="right") - 1
        inside = positions - self._starts[chunks]
        return [self._row(chunk, row) for chunk, row in zip(chunks.tolist(), inside.tolist(), strict=True)]

    def _row(self, chunk: int, row: int) -> np.ndarray | None:
        if chunk not in self._opened:
            self._opened[chunk] = _Chunk(self._chunks[chunk], self._dtype)
        opened = self._opened[chunk]
        if opened.null is not None and opened.null[row]:
            return None
        first, last = opened.outer[row : row + 2]
        ends = opened.inner[first : last + 1]
        count = int(last - first)
        width = int(ends[1] - ends[0]) if count else 0
        if count > 1 and (np.diff(ends) != width).any():
            raise SchemaError(
                f"column `{self.column}`: expected {count} lists of {width} numbers in a row, found lists of other "
                "lengths; rebuild the dataset from its source."
            )
        return opened.values[ends[0] : ends[-1]].reshape(count, width)


class _Chunk:
    """One chunk of a list<list<number>> column as NumPy views: flat values and the two levels of offsets."""

    def __init__(self, chunk: pa.Array, dtype: np.dtype) -> None:
        self.null = chunk.is_null().to_numpy(zero_copy_only=False) if chunk.null_count else None
        self.outer = chunk.offsets.to_numpy()
        self.inner = chunk.values.offsets.to_numpy()
        values = chunk.values.values
        if values.null_count and dtype.kind != "f":
            raise SchemaError(f"a list of whole numbers holds {values.null_count} nulls; rebuild the dataset.")
        self.values = values.to_numpy(zero_copy_only=not values.null_count)  # nulls become NaN, in a copy
