"""Arrays of HDF5 files, row by row: only what is asked for comes into memory.

An HDF5 file may refer to other files (external links, external storage, virtual data sets); those are refused, so a
file shows nothing but its own content. A file that its publisher compressed as a whole (`.h5.gz`) has no rows that
could be looked up: it is unpacked once, below the cache of `datasets`, and read there.
"""

import gzip
import hashlib
import io
import logging
import math
import os
import shutil
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError
from climb_hf.optional import require
from climb_hf.readers.integrity import damage_named

__all__ = ["read_hdf5_array", "read_hdf5_row", "unpacked"]

logger = logging.getLogger(__name__)

_OPEN = 4  # files that a process keeps open
_CHUNK_CACHE = 1 << 26  # bytes of unpacked chunks kept per data set, so that neighbouring rows share one
_MAX_BYTES = 1 << 28  # of one row, one chunk, or an array that is read whole
#: By process and state of the file: the open file, and its data sets that were looked at.
_files: OrderedDict[tuple[int, Path, int, int], tuple[Any, dict[str, Any]]] = OrderedDict()
_failed: dict[Path, str] = {}


def read_hdf5_row(path: Path, name: str, row: int) -> NDArray[Any]:
    """Read one row along the first axis of an array of numbers, without the rest of the file.

    Args:
        path (`Path`): an HDF5 file, or one compressed by gzip (`.gz`), which is unpacked into the cache first.
        name (`str`): name of the data set in the file, such as `"x"`.
        row (`int`): its number, from 0.

    Returns:
        `np.ndarray`: of shape `shape[1:]`.

    Raises:
        CorruptFileError: no readable HDF5 file, no such data set of numbers in the file itself, or no such row.
        DependencyError: h5py is not installed.

    Example:
        >>> import tempfile
        >>> import h5py
        >>> path = Path(tempfile.mkdtemp()) / "a.h5"
        >>> with h5py.File(path, "w") as file:
        ...     file["x"] = np.arange(6).reshape(3, 2)
        >>> read_hdf5_row(path, "x", 2).tolist()
        [4, 5]
    """
    plain = unpacked(path)
    with damage_named(str(path), "reading"):
        file, known = _opened(plain)
        if name not in known:
            known[name] = _dataset(file, name, path)
        data = known[name]
        if not data.shape or not 0 <= row < data.shape[0]:
            raise CorruptFileError(f"`{path}`: expected a row {row} of `{name}`, found the shape {data.shape}.")
        _check_size(math.prod(data.shape[1:]) * data.dtype.itemsize, f"a row of `{name}`", path)
        return np.asarray(data[row])


def read_hdf5_array(path: Path, name: str) -> NDArray[Any]:
    """Read a small array of numbers whole, such as the labels beside the pictures.

    Args:
        path (`Path`): an HDF5 file, or one compressed by gzip (`.gz`), which is unpacked in memory.
        name (`str`): name of the data set in the file.

    Returns:
        `np.ndarray`.

    Raises:
        CorruptFileError: as `read_hdf5_row`, or the array is larger than 256 MiB.
        DependencyError: h5py is not installed.
    """
    h5py = require("h5py", extra="hdf5")
    with damage_named(str(path), "reading"):
        place: Path | io.BytesIO = path
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as packed:
                content = packed.read(_MAX_BYTES + 1)
            _check_size(len(content), "the unpacked file", path)
            place = io.BytesIO(content)
        with h5py.File(place, "r") as file:
            data = _dataset(file, name, path)
            _check_size(math.prod(data.shape) * data.dtype.itemsize, f"`{name}`", path)
            return np.asarray(data[()])


def unpacked(path: Path) -> Path:
    """Return a file that can be read at any place: itself, or the unpacked copy of a `.gz` file in the cache.

    The copy lies below `HF_DATASETS_CACHE` in `climb_unpacked/`, never beside the raw data. It is made once per state
    of the file, by one process at a time, and appears only when it is complete.

    Args:
        path (`Path`): the file.

    Returns:
        `Path`.

    Raises:
        CorruptFileError: the file is missing, or its compressed data is damaged; or the copy does not fit the disk.
    """
    if path.suffix.lower() != ".gz":
        return path
    from datasets import config
    from filelock import FileLock

    try:
        stat = path.stat()
    except OSError as error:
        raise CorruptFileError(f"`{path}` cannot be read ({error.strerror}). Fetch it, or leave it out.") from error
    key = f"{path.absolute()}\0{stat.st_size}\0{stat.st_mtime_ns}"
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    target = Path(config.HF_DATASETS_CACHE) / "climb_unpacked" / digest / path.stem
    if target in _failed:  # every record of the file asks again
        raise CorruptFileError(_failed[target])
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / "lock"):
            if not target.is_file():
                _unpack(path, target)
    return target


def _unpack(path: Path, target: Path) -> None:
    logger.warning("unpacking `%s` to `%s`, once; `gunzip` it yourself to save the copy", path, target)
    part = target.with_name(f"{target.name}.part")
    try:
        with gzip.open(path) as packed, part.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
        part.replace(target)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        _failed[target] = f"`{path}`: the compressed file is damaged ({error}). Download it again."
        raise CorruptFileError(_failed[target]) from error
    except OSError as error:
        free = shutil.disk_usage(target.parent).free
        _failed[target] = (
            f"`{path}` could not be unpacked to `{target}` ({error.strerror or error}; {free:,} bytes are free). Set "
            "`HF_DATASETS_CACHE` to a larger disk, or `gunzip` the file beside itself."
        )
        raise CorruptFileError(_failed[target]) from error
    finally:
        part.unlink(missing_ok=True)


def _opened(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return the open file and its known data sets; a process keeps the last few, a forked one opens its own."""
    stat = path.stat()
    key = (os.getpid(), path, stat.st_size, stat.st_mtime_ns)
    if key not in _files:
        h5py = require("h5py", extra="hdf5")
        while len(_files) >= _OPEN:
            _files.popitem(last=False)[1][0].close()
        _files[key] = h5py.File(path, "r", rdcc_nbytes=_CHUNK_CACHE), {}
    _files.move_to_end(key)
    return _files[key]


def _dataset(file: Any, name: str, path: Path) -> Any:  # noqa: ANN401 - h5py has no types
    """Return a data set of numbers that lies in the file itself."""
    h5py = require("h5py", extra="hdf5")
    links = file.id.links  # `name in file` and `file.get` would follow a reference to another file
    if not links.exists(name.encode()):
        raise CorruptFileError(f"`{path}`: expected a data set `{name}`, found {sorted(file)[:8]}. Fetch it again.")
    data = file[name] if links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD else None
    if not isinstance(data, h5py.Dataset) or data.external is not None or data.is_virtual:
        raise CorruptFileError(
            f"`{path}`: expected `{name}` to be an array in the file itself, found a group or a reference to other "
            "data, which is not followed. Fetch the file again."
        )
    if data.dtype.kind not in "uifb" or data.shape is None:
        raise CorruptFileError(f"`{path}`: expected numbers in `{name}`, found {data.dtype}. Fetch it again.")
    _check_size(math.prod(data.chunks or (0,)) * data.dtype.itemsize, f"a chunk of `{name}`", path)
    return data


def _check_size(n_bytes: int, what: str, path: Path) -> None:
    if n_bytes > _MAX_BYTES:
        raise CorruptFileError(
            f"`{path}`: {what} would take {n_bytes:,} bytes, more than the {_MAX_BYTES:,} accepted. Fetch it again."
        )
