"""What was learned from a file, remembered until its size or time changes: one table of fixed-width rows per kind.

A table is a plain array file, sorted by key and memory-mapped, so a million rows are looked up in about a second.
"""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np

__all__ = ["FileTable", "file_key"]


def file_key(path: str, size: int, modified: int, *more: str) -> int:
    """Return the key of a file in its present state, and of what is asked of it.

    Args:
        path (`str`): absolute path.
        size (`int`): bytes.
        modified (`int`): time of the last change in nanoseconds.
        *more (`str`): what else the row depends on, such as the id of one of several records in the file.

    Returns:
        `int`: 64 bits of a cryptographic hash.

    Example:
        >>> file_key("/a", 1, 2) == file_key("/a", 1, 2), file_key("/a", 1, 2) == file_key("/a", 1, 3)
        (True, False)
    """
    text = "\0".join((path, str(size), str(modified), *more))
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")


class FileTable:
    """Rows by key: a vector, and two numbers beside it.

    Args:
        path (`Path`, *optional*): the table's file; without one nothing outlives the process.
        dtype (`str`): of the vector, such as `"u1"`.
        width (`int`): length of the vector.
    """

    def __init__(self, path: Path | None, dtype: str, width: int) -> None:
        self._path = path
        self.dtype = np.dtype([("key", "<u8"), ("vector", dtype, (width,)), ("facts", "<f4", (2,))])
        self._hold(self._read())
        self._new: list[np.ndarray] = []

    def _read(self) -> np.ndarray:
        if self._path is not None and self._path.is_file():
            with contextlib.suppress(ValueError, OSError, EOFError):  # damaged or of another release: made anew
                stored = np.load(self._path, mmap_mode="r", allow_pickle=False)
                if stored.dtype == self.dtype and stored.ndim == 1:
                    return stored
        return np.empty(0, dtype=self.dtype)

    def _hold(self, rows: np.ndarray) -> None:
        self._stored, self._keys = rows, np.ascontiguousarray(rows["key"])

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Return the place of each key in the table, -1 where it is not there; after `save` new rows are found too.

        Args:
            keys (`np.ndarray`): (n,) uint64.

        Returns:
            `np.ndarray`: (n,) int64.
        """
        known = self._keys
        places = np.searchsorted(known, keys)
        places[places == len(known)] = 0
        return np.where(known[places] == keys, places, -1) if len(known) else np.full(len(keys), -1)

    def rows(self, places: np.ndarray) -> np.ndarray:
        """Return rows by their places, as a structured array with the fields `key`, `vector` and `facts`."""
        return self._stored[places]

    def add(self, rows: np.ndarray) -> None:
        """Add rows of this table's `dtype`."""
        self._new.append(rows)

    def add_vectors(self, keys: np.ndarray, vectors: bytes) -> None:
        """Add rows of which only the vectors are known, as the bytes of one after the other."""
        if len(keys):
            rows = np.zeros(len(keys), dtype=self.dtype)
            rows["key"] = keys
            rows["vector"] = np.frombuffer(vectors, dtype=self.dtype["vector"].base).reshape(len(keys), -1)
            self.add(rows)

    def save(self) -> None:
        """Write the table with what was added; a reader sees the old file or the new one."""
        if not self._new:
            return
        merged = np.concatenate([*self._new, self._stored])
        _, first = np.unique(merged["key"], return_index=True)
        merged = merged[first]
        self._new = []
        if self._path is None:
            self._hold(merged)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.stem}-", suffix=".npy")
        try:
            with os.fdopen(handle, "wb") as stream:
                np.save(stream, merged, allow_pickle=False)
            Path(name).replace(self._path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._hold(self._read())
