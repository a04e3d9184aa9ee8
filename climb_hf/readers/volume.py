"""Slices of a volume on disk, in display orientation, without the volume in memory.

NIfTI and MetaImage store voxels alike: first axis fastest, one block from an offset on. So what differs between them
is the header, and one reader serves both. Where the axial slices are the slowest axis, a plain file is read by seeking
to the slices that are asked for; a compressed one is decompressed in pieces up to the last of them. Where they are
another axis, the file runs through a buffer of one plane, of which the asked lines are kept. Nothing is memory-mapped.

Display orientation: slices from superior to inferior, row 0 anterior, column 0 the patient's right. Oblique volumes
are not resampled: the axis nearest to superior-inferior gives the slices.
"""

import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.readers.integrity import damage_named

__all__ = ["Volume", "check_affine", "check_extent", "check_shape", "display_axes", "read_head", "read_slices"]

_GZIP = b"\x1f\x8b"
_PIECE = 1 << 20  # bytes decompressed at a time
_INPUT = 1 << 18  # compressed bytes read at a time
_MAX_RATIO = 1032  # deflate cannot compress more than this
_MAX_VOXELS = 1 << 33  # 8.6 thousand million: far beyond any scanner
_MIN_DETERMINANT = 1e-3  # of the unit axes: below, two of them fall together


@dataclass(frozen=True, eq=False)
class Volume:
    """Where the voxels of a volume lie, in the file and in the patient.

    Args:
        path (`Path`): the file that holds the voxels.
        shape (`tuple[int, int, int]`): voxels along the axes of the file, the fastest first.
        affine (`np.ndarray`): (4, 4) float64, from voxel indices to mm to the patient's right, anterior, superior.
        dtype (`np.dtype`): of the stored voxels, byte order included.
        offset (`int`): bytes before the first voxel, after decompression.
        slope (`float`): values are stored voxels × slope + intercept.
        intercept (`float`): see `slope`.
        is_compressed (`bool`): the file is a gzip or zlib stream.
        n_bytes (`int`): bytes of voxels that the header declares; more than one volume where the file holds several.
        start (`int`): bytes of the file before the stream, such as a header that is not compressed with it.
    """

    path: Path
    shape: tuple[int, int, int]
    affine: np.ndarray
    dtype: np.dtype
    offset: int = 0
    slope: float = 1.0
    intercept: float = 0.0
    is_compressed: bool = False
    n_bytes: int = 0
    start: int = 0

    @cached_property
    def display(self) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
        """Axes of the file that give slices, rows and columns, and whether each runs backwards; see `display_axes`."""
        return display_axes(self.affine)

    @property
    def display_shape(self) -> tuple[int, int, int]:
        """Number of slices, rows and columns."""
        slices, rows, columns = (self.shape[axis] for axis in self.display[0])
        return slices, rows, columns

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance of neighbouring slices, rows and columns in mm."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        slices, rows, columns = (float(lengths[axis]) for axis in self.display[0])
        return slices, rows, columns

    def flip_slices(self, indices: Sequence[int]) -> list[int]:
        """Turn slice numbers of the file into positions from superior, or the other way round."""
        last = self.display_shape[0] - 1
        return [last - index for index in indices] if self.display[1][0] else [int(index) for index in indices]

    def voxel_of(self, point: Sequence[float]) -> tuple[int, int, int]:
        """Return the voxel nearest to a point.

        Args:
            point (`Sequence[float]`): mm to the patient's right, anterior and superior.

        Returns:
            `tuple[int, int, int]`: indices along the axes of the file; they may lie outside the volume.
        """
        indices = np.linalg.solve(self.affine[:3, :3], np.asarray(point, np.float64) - self.affine[:3, 3])
        i, j, k = (int(index) for index in np.rint(indices))
        return i, j, k


def display_axes(affine: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """Find which axes of a volume are slices, rows and columns for display, and which must be turned round.

    Args:
        affine (`np.ndarray`): (4, 4), from voxel indices to mm to the right, anterior and superior; not singular.

    Returns:
        The axes, and for each whether its indices run backwards: slices go from superior to inferior, rows from
        anterior to posterior, columns from the patient's right to left.

    Example:
        >>> display_axes(np.diag([1.0, 1.0, 1.0, 1.0]))
        ((2, 1, 0), (True, True, True))
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    world = (2, 1, 0)  # superior, anterior, right: the world axes of slices, rows and columns
    axes = max(
        itertools.permutations(range(3)),
        key=lambda order: sum(abs(directions[w, axis]) for w, axis in zip(world, order, strict=True)),
    )
    flips = tuple(bool(directions[w, axis] > 0) for w, axis in zip(world, axes, strict=True))
    return (axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2])


def check_affine(affine: np.ndarray, path: Path) -> None:
    """Refuse an affine that gives no orientation or spacing.

    Args:
        affine (`np.ndarray`): (4, 4).
        path (`Path`): the file, for the message.

    Raises:
        CorruptFileError: a value is not finite, an axis has no length, or the axes lie in one plane.
    """
    matrix = np.asarray(affine, np.float64)[:3, :3]
    is_usable = bool(np.isfinite(affine).all()) and bool((lengths := np.linalg.norm(matrix, axis=0)).all())
    if not is_usable or abs(np.linalg.det(matrix / lengths)) < _MIN_DETERMINANT:
        raise CorruptFileError(
            f"`{path}`: its affine is broken (expected three finite axes that span space, found "
            f"{np.asarray(affine)[:3].tolist()}), so orientation and spacing are unknown. Fetch the file again, or "
            "correct its header."
        )


def check_shape(shape: Sequence[int], path: Path) -> tuple[int, int, int]:
    """Check the size of a volume as its header states it.

    Args:
        shape (`Sequence[int]`): three numbers.
        path (`Path`): the file, for the message.

    Returns:
        `tuple[int, int, int]`: the numbers.

    Raises:
        CorruptFileError: a number is below 1, or their product absurd.
    """
    sizes = [int(size) for size in shape]
    n_voxels = 1
    for size in sizes:
        n_voxels *= size
    if len(sizes) != 3 or min(sizes) < 1 or n_voxels > _MAX_VOXELS:
        raise CorruptFileError(
            f"`{path}`: expected three sizes of a volume in its header, found {sizes}. It is damaged."
        )
    return sizes[0], sizes[1], sizes[2]


def check_extent(volume: Volume) -> None:
    """Check, without reading voxels, that the file can hold what its header declares.

    Args:
        volume (`Volume`): the volume.

    Raises:
        CorruptFileError: the file is missing, or too short; a compressed one beyond what compression can do.
    """
    try:
        size = volume.path.stat().st_size
    except OSError as error:
        raise CorruptFileError(
            f"`{volume.path}` cannot be read ({error.strerror}). Fetch it, or leave it out."
        ) from error
    needed = volume.offset + volume.n_bytes
    if (size - volume.start) * (_MAX_RATIO if volume.is_compressed else 1) < needed:
        raise CorruptFileError(
            f"`{volume.path}` is truncated: its header asks for {needed} bytes, the file has {size - volume.start}"
            f"{' (compressed)' if volume.is_compressed else ''}. Fetch it again or leave it out."
        )


def read_head(path: Path, size: int) -> tuple[bytes, bool]:
    """Read the first bytes of a plain or gzip-compressed file, by content and not by name.

    Args:
        path (`Path`): the file.
        size (`int`): bytes wanted; a shorter file gives fewer.

    Returns:
        The bytes, and whether the file is compressed.

    Raises:
        CorruptFileError: the file cannot be read, or its compressed data are damaged.
    """
    with damage_named(str(path), "reading"), path.open("rb") as file:
        head = file.read(max(size, 2))
        if not head.startswith(_GZIP):
            return head[:size], False
        file.seek(0)
        stream, parts = _Inflated(file), b""
        while len(parts) < size and (piece := stream.take(size - len(parts))):
            parts += piece
        return parts, True


def read_slices(
    volume: Volume, positions: Sequence[int], convert: Callable[[np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """Read slices of a volume in display orientation.

    Beside the result, memory is needed for one plane of the file. `convert` is applied plane by plane, so with a
    display window only 8 bits per voxel are ever kept.

    Args:
        volume (`Volume`): the volume.
        positions (`Sequence[int]`): slices, counted from the most superior one; in any order.
        convert (`Callable`, *optional*): an elementwise function of scaled values; by default they stay as they are.

    Returns:
        `np.ndarray`: (slices, rows, columns), in the order of `positions`.

    Raises:
        CorruptFileError: the file is truncated or its compressed data are damaged.
        OptionError: a position is not in the volume.
    """
    (axis, row_axis, _), (_, flip_rows, flip_columns) = volume.display
    n_slices = volume.display_shape[0]
    if not len(positions) or not all(0 <= position < n_slices for position in positions):
        raise OptionError(f"`{volume.path}`: expected slices from 0 to {n_slices - 1}, found {list(positions)}.")
    check_extent(volume)
    indices = volume.flip_slices(positions)
    with _opened(volume) as stream, damage_named(str(volume.path), "reading voxels"):
        planes = _read_planes(volume, stream, axis, indices, convert or (lambda values: values))
        stream.check_end(volume)
    # `planes` is (slice, slower axis, faster axis) of the file.
    faster = min(other for other in range(3) if other != axis)
    if row_axis == faster:
        planes = planes.transpose(0, 2, 1)
    return planes[:, :: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def _read_planes(
    volume: Volume,
    stream: "_Plain | _Inflated",
    axis: int,
    indices: Sequence[int],
    convert: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Return (n, slower, faster) converted values of the planes across `axis`, reading the file once, forwards."""
    ni, nj, nk = volume.shape
    size = ni * nj * volume.dtype.itemsize
    wanted: dict[int, list[int]] = {}
    for place, index in enumerate(indices):
        wanted.setdefault(index, []).append(place)
    is_slowest = axis == 2
    planes: np.ndarray | None = None
    for k in sorted(wanted) if is_slowest else range(nk):
        content = stream.read_at(volume.offset + k * size, size)
        plane = np.frombuffer(content, volume.dtype).reshape(nj, ni)
        if not is_slowest:
            plane = plane[list(indices)] if axis == 1 else plane[:, list(indices)].T
        values = convert(_scaled(plane, volume))
        if planes is None:
            shape = (len(indices), nj, ni) if is_slowest else (len(indices), nk, values.shape[1])
            planes = np.empty(shape, values.dtype)
        if is_slowest:
            planes[wanted[k]] = values
        else:
            planes[:, k] = values
    if planes is None:
        raise CorruptFileError(f"`{volume.path}`: no plane could be read. Fetch it again.")
    return planes


def _scaled(stored: np.ndarray, volume: Volume) -> np.ndarray:
    if volume.slope == 1 and volume.intercept == 0:
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    return stored * np.float64(volume.slope) + np.float64(volume.intercept)


@contextmanager
def _opened(volume: Volume) -> Iterator["_Plain | _Inflated"]:
    with volume.path.open("rb", buffering=0) as file:
        if not volume.is_compressed:
            yield _Plain(file, volume.start)
            return
        file.seek(-4, 2)
        stated = int.from_bytes(file.read(4), "little")  # a gzip file ends with its length
        file.seek(volume.start)
        yield _Inflated(file, is_whole=stated == (volume.offset + volume.n_bytes) % (1 << 32))


class _Plain:
    """Bytes of a plain file at ascending positions."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start = file, start

    def read_at(self, position: int, size: int) -> bytearray:
        self._file.seek(self._start + position)
        content = bytearray(size)
        view, done = memoryview(content), 0
        while done < size:
            count = self._file.readinto(view[done:])  # type: ignore[attr-defined]
            if not count:
                raise EOFError(f"the file ends at byte {position + done}, {position + size} are due")
            done += count
        return content

    def check_end(self, volume: Volume) -> None:
        """Do nothing: the size of a plain file was checked before."""


class _Inflated:
    """Bytes of a gzip stream, of one or several members, or of a zlib stream; positions must ascend."""

    def __init__(self, file: BinaryIO, *, is_whole: bool = False) -> None:
        self._file, self._input, self._position, self._is_whole = file, b"", 0, is_whole
        self._engine = zlib.decompressobj(47)  # gzip or zlib, by its header; checks the checksum at the end

    def read_at(self, position: int, size: int) -> bytearray:
        while self._position < position:
            self._take_due(min(position - self._position, _PIECE))
        content = bytearray()
        while len(content) < size:
            content += self._take_due(min(size - len(content), _PIECE))
        return content

    def _take_due(self, size: int) -> bytes:
        if piece := self.take(size):
            return piece
        raise EOFError(f"the compressed data end after {self._position} bytes")

    def take(self, size: int) -> bytes:
        """Return the next bytes, at most `size`; none at the end of the stream."""
        while True:
            if self._engine.eof:
                rest = self._engine.unused_data or self._file.read(_INPUT)
                if not rest:
                    return b""
                self._engine, self._input = zlib.decompressobj(47), rest.lstrip(b"\0")
                if not self._input:  # padding with zeros
                    return b""
            self._input = self._input or self._file.read(_INPUT)
            has_input = bool(self._input)
            piece = self._engine.decompress(self._input, size)
            self._input = self._engine.unconsumed_tail
            if piece:
                self._position += len(piece)
                return piece
            if not has_input and not self._engine.eof:
                raise EOFError("the compressed data end early")

    def check_end(self, volume: Volume) -> None:
        """Find a truncated file even where the slices came from its beginning.

        Only where the length at the end of the file does not fit (a file cut off, several members, something appended,
        or a zlib stream, which states none) the rest is decompressed.
        """
        due = volume.offset + volume.n_bytes
        while not self._is_whole and self._position < due:
            self._take_due(_PIECE)
        if self._position >= due:
            self.take(1)  # beyond the last voxel stands the checksum
