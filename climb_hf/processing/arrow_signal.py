"""Signals read straight from the Arrow storage of a `datasets.Dataset`.

`datasets` stores an `Array2D((None, C))` column as list<list<float>>: one flat float32 buffer with two levels of
offsets. Its own formatters rebuild every example through Python objects; here each example is a NumPy view of the flat
buffer, and a batch is one copy per example.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from climb_hf.errors import SchemaError

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["SignalReader", "signal_batch", "signal_rows"]


class SignalReader:
    """Reads the signal column of a map-style dataset without going through Python lists.

    Index mappings (`select`, `shuffle`, `filter`), chunked tables, empty rows and null rows are handled. The reader
    keeps views of the table's buffers, so make it once and use it for every batch; it pickles as the dataset does.

    Args:
        dataset (`datasets.Dataset`): any dataset with a two-dimensional array column.
        column (`str`, *optional*, defaults to `"signal"`): the column, an `Array2D` whose second axis is fixed.

    Raises:
        SchemaError: the column is absent or is no `Array2D`.

    Example:
        >>> import datasets, numpy as np
        >>> features = datasets.Features({"signal": datasets.Array2D((None, 2), "float32")})
        >>> rows = {"signal": [np.ones((3, 2), "float32"), np.zeros((1, 2), "float32")]}
        >>> reader = SignalReader(datasets.Dataset.from_dict(rows, features=features))
        >>> [row.shape for row in reader.rows([1, 0])]
        [(1, 2), (3, 2)]
        >>> batch, lengths = reader.batch([1, 0])
        >>> batch.shape, lengths.tolist()
        ((2, 3, 2), [1, 3])
    """

    def __init__(self, dataset: "Dataset", column: str = "signal") -> None:
        from datasets import Array2D

        feature = dataset.features.get(column)
        if not isinstance(feature, Array2D):
            raise SchemaError(
                f"column `{column}` must be an `Array2D((None, C))`, found `{feature}`; the dataset has the columns "
                f"{dataset.column_names}. Name the signal column with `column=`."
            )
        self.column = column
        self.channels = int(feature.shape[1])
        self._dataset = dataset
        self._open()

    def _open(self) -> None:
        self._chunks: list[pa.Array] = self._dataset.data.column(self.column).chunks
        self._starts = np.cumsum([0, *(len(chunk) for chunk in self._chunks)])
        # `select`, `shuffle` and `filter` leave the table alone and keep a list of its rows in `_indices`.
        mapping = self._dataset._indices
        self._mapping = None if mapping is None else np.concatenate([np.asarray(c) for c in mapping.column(0).chunks])
        self._opened: dict[int, _Chunk] = {}

    def __getstate__(self) -> dict:
        # The views would be copied into the pickle of every spawned worker; the dataset pickles as file names.
        return {"column": self.column, "channels": self.channels, "_dataset": self._dataset}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._open()

    def __len__(self) -> int:
        return len(self._dataset)

    def rows(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return one array per index.

        Args:
            indices (`Sequence[int]`): positions in the dataset, in any order, repeats allowed; negative ones count
                from the end.

        Returns:
            `list[np.ndarray]`: (time, C) float32 each, in the order of `indices`. They are read-only views of the
            dataset's storage where it is float32 without nulls, copies otherwise. A null row is (0, C).

        Raises:
            IndexError: an index outside the dataset.
            SchemaError: a row whose number of values is not time × C.
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

    def batch(self, indices: Sequence[int], length: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows as one zero-padded array.

        Args:
            indices (`Sequence[int]`): positions in the dataset.
            length (`int`, *optional*): time steps of the result; longer rows are cut at the end. Defaults to the
                longest row of the batch.

        Returns:
            `tuple[np.ndarray, np.ndarray]`: (batch, time, C) float32 and the number of real time steps of every row,
            (batch,) int64, at most `length`.
        """
        rows = self.rows(indices)
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        steps = int(lengths.max(initial=0)) if length is None else int(length)
        lengths = np.minimum(lengths, steps)
        full = bool(len(rows)) and bool((lengths == steps).all())
        shape = (len(rows), steps, self.channels)
        out = np.empty(shape, dtype=np.float32) if full else np.zeros(shape, dtype=np.float32)
        for position, (row, count) in enumerate(zip(rows, lengths, strict=True)):
            out[position, :count] = row[:count]
        return out, lengths

    def _row(self, chunk: int, row: int) -> np.ndarray:
        if chunk not in self._opened:
            self._opened[chunk] = _Chunk(self._chunks[chunk])
        opened = self._opened[chunk]
        if opened.null is not None and opened.null[row]:
            return opened.values[:0].reshape(0, self.channels)
        first, last = opened.outer[row : row + 2]
        values = opened.values[opened.inner[first] : opened.inner[last]]
        steps = int(last - first)
        if values.size != steps * self.channels:
            raise SchemaError(
                f"column `{self.column}`: a row of {steps} time steps holds {values.size} values, expected "
                f"{steps * self.channels} ({self.channels} channels); rebuild the dataset from its source."
            )
        return values.reshape(steps, self.channels)


class _Chunk:
    """One chunk of a list<list<float>> column as NumPy views: flat values and the two levels of offsets."""

    def __init__(self, chunk: pa.Array) -> None:
        storage = chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk
        self.null = storage.is_null().to_numpy(zero_copy_only=False) if storage.null_count else None
        self.outer = storage.offsets.to_numpy()
        self.inner = storage.values.offsets.to_numpy()
        values = storage.values.values
        # A view needs a float32 buffer without holes; anything else (other widths, null samples) is converted once.
        direct = values.null_count == 0 and pa.types.is_float32(values.type)
        if not direct:
            first, last = self.inner[self.outer[0]], self.inner[self.outer[-1]]
            values = values.slice(int(first), int(last - first))
            self.inner = self.inner - first
        flat = values.to_numpy(zero_copy_only=direct)
        self.values = flat if direct else flat.astype(np.float32)


def signal_rows(dataset: "Dataset", indices: Sequence[int], column: str = "signal") -> list[np.ndarray]:
    """Return the signals of some rows as a list of (time, C) float32 arrays.

    Args:
        dataset (`datasets.Dataset`): a dataset with an `Array2D` column.
        indices (`Sequence[int]`): positions in the dataset.
        column (`str`, *optional*, defaults to `"signal"`): the signal column.

    Returns:
        `list[np.ndarray]`: as `SignalReader.rows`.
    """
    return SignalReader(dataset, column).rows(indices)


def signal_batch(dataset: "Dataset", indices: Sequence[int], column: str = "signal") -> np.ndarray:
    """Return the signals of some rows as one (batch, time, C) float32 array, zero-padded at the end.

    For many batches of one dataset make a `SignalReader` once; it also hands out the real lengths.

    Args:
        dataset (`datasets.Dataset`): a dataset with an `Array2D` column.
        indices (`Sequence[int]`): positions in the dataset.
        column (`str`, *optional*, defaults to `"signal"`): the signal column.

    Returns:
        `np.ndarray`: (batch, longest time, C) float32, writable.

    Example:
        >>> import datasets, numpy as np
        >>> features = datasets.Features({"signal": datasets.Array2D((None, 2), "float32")})
        >>> rows = {"signal": [np.ones((3, 2), "float32"), np.zeros((0, 2), "float32")]}
        >>> signal_batch(datasets.Dataset.from_dict(rows, features=features), [0, 1]).sum(axis=(1, 2)).tolist()
        [6.0, 0.0]
    """
    return SignalReader(dataset, column).batch(indices)[0]
