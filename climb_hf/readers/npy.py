"""Rows of NumPy array files, read one at a time, and arrays of strings that were stored as Python objects.

`numpy.load` maps the whole file and so refuses one whose end is missing; here each row is found by its own offset, so
a truncated array loses only the rows that are gone. Object arrays are pickles, which are never loaded: a reader that
knows nothing but lists of strings takes the strings out, and refuses everything else.
"""

import functools
import math
import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError

__all__ = ["NpyHeader", "parse_npy_header", "read_npy_header", "read_npy_row", "read_npy_strings"]


@dataclass(frozen=True)
class NpyHeader:
    """What the head of a `.npy` file says.

    Args:
        shape (`tuple[int, ...]`): shape of the array.
        dtype (`np.dtype`): type of its elements.
        offset (`int`): bytes before the first element.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row along the first axis."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize


def read_npy_header(path: Path) -> NpyHeader:
    """Read the head of a `.npy` file; an unchanged file is looked at once.

    Args:
        path (`Path`): the file.

    Returns:
        [`NpyHeader`].

    Raises:
        CorruptFileError: the file is missing, or does not begin with the head of an array in row-major order.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise CorruptFileError(f"`{path}` cannot be read ({error.strerror}). Fetch it, or leave it out.") from error
    return _header(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _header(path: Path, _size: int, _modified: int) -> NpyHeader:
    with path.open("rb") as stream:
        return parse_npy_header(stream, f"`{path}`")


def parse_npy_header(stream: IO[bytes], name: str) -> NpyHeader:
    """Read the head of a NumPy array from an open stream, which stands at the first element afterwards.

    Args:
        stream: binary stream at the first byte of the array file; it must be able to tell its position.
        name (`str`): what to call it in an error.

    Returns:
        [`NpyHeader`].

    Raises:
        CorruptFileError: it does not begin with the head of an array in row-major order.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(stream)
    except (ValueError, TypeError, SyntaxError, RecursionError, EOFError) as error:
        raise CorruptFileError(f"{name}: expected a NumPy array file ({error}). Fetch it again.") from error
    if is_fortran and len(shape) > 1:
        raise CorruptFileError(f"{name}: expected an array in row-major order, found column-major order.")
    if not shape:
        raise CorruptFileError(f"{name}: expected an array with a first axis, found a single value.")
    return NpyHeader(shape, dtype, stream.tell())


def read_npy_row(path: Path, row: int) -> NDArray[Any]:
    """Read one row along the first axis of a numeric array, without the rest of the file.

    Args:
        path (`Path`): a `.npy` file.
        row (`int`): its number, from 0.

    Returns:
        `np.ndarray`: of shape `shape[1:]`.

    Raises:
        CorruptFileError: as `read_npy_header`; the array has no such row, the file ends before its end, or the array
            holds Python objects.
    """
    header = read_npy_header(path)
    if header.dtype.hasobject:
        raise CorruptFileError(f"`{path}`: expected numbers, found an array of Python objects, which is never loaded.")
    if not 0 <= row < header.shape[0]:
        raise CorruptFileError(f"`{path}`: expected a row {row}, found {header.shape[0]} rows.")
    start = header.offset + row * header.row_bytes
    with path.open("rb", buffering=0) as stream:
        if os.fstat(stream.fileno()).st_size < start + header.row_bytes:
            raise CorruptFileError(
                f"`{path}`: expected {header.shape[0]} rows by its head, but it ends inside row {row} or before: the "
                "file is truncated. Fetch it again."
            )
        stream.seek(start)
        data = stream.read(header.row_bytes)
    return np.frombuffer(data, header.dtype).reshape(header.shape[1:])


def read_npy_strings(path: Path) -> list[str]:
    """Read a one-dimensional array of strings: fixed-width text, bytes, or Python objects.

    Args:
        path (`Path`): a `.npy` file; an array of shape (n, 1) counts as one-dimensional.

    Returns:
        `list[str]`.

    Raises:
        CorruptFileError: the array holds something else, or the file is damaged.
    """
    header = read_npy_header(path)
    try:
        with path.open("rb") as stream:
            if header.dtype.hasobject:
                stream.seek(header.offset)
                values = _Strings(stream).strings()
            else:
                values = np.lib.format.read_array(stream, allow_pickle=False).reshape(-1).tolist()
    except (ValueError, EOFError, pickle.UnpicklingError, LookupError, TypeError, AttributeError) as error:
        raise CorruptFileError(f"`{path}`: expected an array of strings ({error}). Fetch it again.") from error
    texts = [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values]
    n_expected = math.prod(header.shape)
    if len(texts) != n_expected or not all(isinstance(text, str) for text in texts):
        raise CorruptFileError(f"`{path}`: expected {n_expected} strings, found something else. Fetch it again.")
    return texts


class _Shell:
    """Stands for the array and its type while the pickle is taken apart; keeps the state, does nothing with it."""

    def __init__(self, *_: object) -> None:
        self.state: Any = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Strings(pickle.Unpickler):
    """Takes an object array of strings apart without calling anything but `_Shell`."""

    _NAMES = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
    )

    def find_class(self, module: str, name: str) -> type[_Shell]:
        """Return the harmless stand-in for the three names an object array needs, and refuse all others."""
        if (module, name) not in self._NAMES:
            raise pickle.UnpicklingError(f"it asks for `{module}.{name}`, which is never loaded")
        return _Shell

    def persistent_load(self, pid: object) -> NoReturn:
        """Refuse references to other objects."""
        raise pickle.UnpicklingError(f"it refers to another object, {pid!r}")

    def strings(self) -> list[Any]:
        """Return the elements of the array."""
        array = self.load()
        state = array.state if isinstance(array, _Shell) else None
        if not (isinstance(state, tuple) and len(state) == 5 and isinstance(state[4], list)):
            raise pickle.UnpicklingError("it is no array of objects")
        return state[4]
