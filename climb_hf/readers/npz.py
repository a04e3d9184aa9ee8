"""Rows of the arrays in an `.npz` file, read one at a time, whatever the size of the array.

An `.npz` file is a zip archive of `.npy` files. A row of a stored member lies at a known place of the file and is read
from there. A deflated member has no such places: it is decompressed from its start, row after row, and on the way the
state of the decoder is kept at regular distances, so that going back, or to a row far away, costs a part of the member
only. Neither way holds more than one row and one block in memory. Object arrays are pickles and are refused.
"""

import bisect
import functools
import struct
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError
from climb_hf.readers.integrity import damage_named
from climb_hf.readers.npy import NpyHeader, parse_npy_header

__all__ = ["NpzMember", "open_npz", "read_npz_array", "read_npz_row"]

_LOCAL_HEADER = 30
_BLOCK = 1 << 16  # compressed bytes taken from the file at a time
_SKIPPED = 1 << 20  # decompressed bytes thrown away at a time
_MARK_EVERY = 1 << 23  # least distance between two kept states of a decoder, in decompressed bytes
_MARKS = 128  # most states kept per member; each takes up to 110 KB
_MOST_EXPANDED = 1040  # deflate makes at most 1,032 bytes of one


@dataclass(frozen=True)
class NpzMember:
    """An array of an `.npz` file.

    Args:
        name (`str`): its key, without `.npy`.
        header ([`NpyHeader`]): shape, type, and bytes before the first element once decompressed.
        is_stored (`bool`): whether it is not compressed.
        start (`int`): first byte of its data in the file.
        size (`int`): bytes of its data in the file.
        length (`int`): bytes once decompressed.
    """

    name: str
    header: NpyHeader
    is_stored: bool
    start: int
    size: int
    length: int


def open_npz(path: Path) -> Mapping[str, NpzMember]:
    """List the arrays of an `.npz` file without reading their elements; an unchanged file is looked at once.

    Args:
        path (`Path`): the file.

    Returns:
        `Mapping[str, NpzMember]`: by key, in the order of the archive.

    Raises:
        CorruptFileError: the file is missing, truncated or no zip archive; a member is no array in row-major order,
            holds Python objects, is encrypted or compressed by another method than deflate, or its head contradicts
            its size.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.npz"
        >>> np.savez_compressed(path, labels=np.zeros((3, 1), np.uint8))
        >>> open_npz(path)["labels"].header.shape
        (3, 1)
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise CorruptFileError(f"`{path}` cannot be read ({error.strerror}). Fetch it, or leave it out.") from error
    return _members(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _members(path: Path, size: int, _modified: int) -> Mapping[str, NpzMember]:
    with damage_named(str(path), "opening as `.npz`"), zipfile.ZipFile(path) as archive, path.open("rb") as file:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        twice = [name for name, count in Counter(info.filename for info in infos).items() if count > 1]
        if twice:
            raise CorruptFileError(f"`{path}`: the member `{twice[0]}` stands twice in the archive. Fetch it again.")
        members = [_member(path, archive, info, file, size) for info in infos]
    return {member.name: member for member in members}


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo, file: IO[bytes], size: int) -> NpzMember:
    where = f"`{path}`, member `{info.filename}`"
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CorruptFileError(f"{where}: expected a stored or deflated array, found encryption or another method.")
    is_stored = info.compress_type == zipfile.ZIP_STORED
    if info.file_size > (info.compress_size if is_stored else _MOST_EXPANDED * (info.compress_size + 64)):
        raise CorruptFileError(f"{where}: {info.compress_size} bytes cannot hold {info.file_size}. Fetch it again.")
    with archive.open(info) as stream:
        header = parse_npy_header(stream, where)
    if header.dtype.hasobject:
        raise CorruptFileError(f"{where}: expected numbers, found Python objects (a pickle), which are never loaded.")
    promised = header.offset + header.shape[0] * header.row_bytes
    if promised != info.file_size:
        raise CorruptFileError(
            f"{where}: its head promises {promised} bytes (shape {header.shape}, {header.dtype}), the archive holds "
            f"{info.file_size}. Fetch it again."
        )
    file.seek(info.header_offset)
    local = file.read(_LOCAL_HEADER)
    start = info.header_offset + _LOCAL_HEADER + sum(struct.unpack("<HH", local[26:30]))
    if start + info.compress_size > size:
        raise CorruptFileError(f"{where}: it ends after the end of the file, which is truncated. Fetch it again.")
    name = info.filename.removesuffix(".npy")
    return NpzMember(name, header, is_stored, start, info.compress_size, info.file_size)


def _known(path: Path, name: str) -> NpzMember:
    members = open_npz(path)
    if name not in members:
        raise CorruptFileError(f"`{path}`: expected an array `{name}`, found {sorted(members)}.")
    return members[name]


def read_npz_array(path: Path, name: str) -> NDArray[Any]:
    """Read a whole array, for labels and other small ones; its checksum is verified.

    Args:
        path (`Path`): an `.npz` file.
        name (`str`): key of the array.

    Returns:
        `np.ndarray`: of the shape and type of the head; read-only.

    Raises:
        CorruptFileError: as `open_npz`; there is no such array, or its data are damaged.
    """
    member = _known(path, name)
    with damage_named(str(path), f"reading `{name}`"), zipfile.ZipFile(path) as archive:
        data = archive.read(f"{name}.npy" if f"{name}.npy" in archive.namelist() else name)
    return np.frombuffer(data, member.header.dtype, offset=member.header.offset).reshape(member.header.shape)


def read_npz_row(path: Path, name: str, row: int) -> NDArray[Any]:
    """Read one row along the first axis of an array, without the rest of it.

    Rows of a deflated array are cheapest in ascending order; see the module.

    Args:
        path (`Path`): an `.npz` file.
        name (`str`): key of the array.
        row (`int`): its number, from 0.

    Returns:
        `np.ndarray`: of shape `shape[1:]`; read-only.

    Raises:
        CorruptFileError: as `open_npz`; the array has no such row, or the data before it are damaged.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.npz"
        >>> np.savez_compressed(path, images=np.arange(12).reshape(3, 4))
        >>> read_npz_row(path, "images", 2).tolist()
        [8, 9, 10, 11]
    """
    member = _known(path, name)
    header = member.header
    if not 0 <= row < header.shape[0]:
        raise CorruptFileError(f"`{path}`: expected a row {row} of `{name}`, found {header.shape[0]} rows.")
    start = header.offset + row * header.row_bytes
    if member.is_stored:
        with path.open("rb", buffering=0) as file:
            file.seek(member.start + start)
            data = file.read(header.row_bytes)
        if len(data) != header.row_bytes:
            raise CorruptFileError(f"`{path}`: `{name}` ends inside row {row}: the file is truncated. Fetch it again.")
    else:
        stat = path.stat()
        data = _stream(path, name, stat.st_size, stat.st_mtime_ns).read(start, header.row_bytes)
    return np.frombuffer(data, header.dtype).reshape(header.shape[1:])


@functools.lru_cache(maxsize=6)
def _stream(path: Path, name: str, _size: int, _modified: int) -> "_Inflater":
    return _Inflater(path, _known(path, name))


@dataclass
class _State:
    """A decoder and where it stands: decompressed bytes given out, compressed bytes taken in."""

    given: int
    taken: int
    decoder: Any

    def copy(self) -> "_State":
        return _State(self.given, self.taken, self.decoder.copy())


class _Inflater:
    """The decompressed bytes of a member, from any place, with the states of the decoder kept on the way.

    The file is opened for every read, so a copy in a forked process shares nothing with the original.
    """

    def __init__(self, path: Path, member: NpzMember) -> None:
        self._path, self._member = path, member
        self._now = _State(0, 0, zlib.decompressobj(-zlib.MAX_WBITS))
        self._marks = [self._now.copy()]
        self._distance = max(_MARK_EVERY, member.length // _MARKS)
        self._lock = threading.Lock()

    def read(self, start: int, length: int) -> bytes:
        """Return `length` bytes from `start` on."""
        with self._lock, self._path.open("rb", buffering=0) as file:
            try:
                self._go_back(start)
                while self._now.given < start:
                    self._pull(file, min(_SKIPPED, start - self._now.given))
                parts, missing = [], length
                while missing:
                    parts.append(self._pull(file, missing))
                    missing -= len(parts[-1])
            except (zlib.error, EOFError) as error:
                self._now = self._marks[0].copy()
                raise CorruptFileError(
                    f"`{self._path}`: `{self._member.name}` cannot be decompressed up to byte {start + length} "
                    f"({error}). Fetch the file again."
                ) from error
        return b"".join(parts)

    def _go_back(self, start: int) -> None:
        """Take the kept state that is nearest before `start`, if it is nearer than the present one."""
        place = bisect.bisect_right(self._marks, start, key=lambda mark: mark.given) - 1
        if not self._marks[place].given <= self._now.given <= start:
            self._now = self._marks[place].copy()

    def _pull(self, file: IO[bytes], most: int) -> bytes:
        """Decompress between one and `most` further bytes."""
        now, data = self._now, b""
        while not data:
            compressed = now.decoder.unconsumed_tail
            if not compressed and (left := self._member.size - now.taken):
                file.seek(self._member.start + now.taken)
                compressed = file.read(min(_BLOCK, left))
                now.taken += len(compressed)
            data = now.decoder.decompress(compressed, most)
            if not data and (now.decoder.eof or not compressed):
                raise EOFError("the data end too early")
        now.given += len(data)
        if now.given >= self._marks[-1].given + self._distance:
            self._marks.append(now.copy())
        return data
