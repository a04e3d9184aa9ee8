"""Regions of masks: outermost connected regions, boxes, and rectangles cut out of large pictures.

Connected regions are found on the runs of each row instead of on pixels: a mask of 20 megapixels has some ten thousand
runs, which NumPy compares at once, so tracing it takes about as long as decoding it.
"""

import functools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError, SchemaError
from climb_hf.readers.integrity import damage_named

__all__ = ["Box", "bounding_box", "cover_box", "crop_codes", "crop_picture", "outer_boxes", "read_codes"]

_PIXELS = 1 << 31  # limit of Pillow while a picture of a whole region is read: a few hundred megapixels are normal
Box = tuple[int, int, int, int]  # x, y, width, height in pixels
_Runs = tuple[NDArray[np.int64], NDArray[np.int64]]  # first flat position, one behind the last


def bounding_box(mask: NDArray[np.bool_]) -> Box | None:
    """Return the smallest upright box around the true pixels of a mask.

    Args:
        mask (`np.ndarray`): (height, width) bool.

    Returns:
        x, y, width and height in pixels, or `None` where no pixel is true.

    Example:
        >>> bounding_box(np.eye(4, dtype=bool)[:3])
        (0, 0, 3, 3)
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1


def outer_boxes(mask: NDArray[np.bool_]) -> list[Box]:
    """Return the boxes of the outermost regions of a mask.

    Pixels that touch at a side or a corner belong to one region. A region in a hole of another one is not listed, as
    external contours do not list it.

    Args:
        mask (`np.ndarray`): (height, width) bool.

    Returns:
        `list`: (x, y, width, height) in pixels, in the order of each region's first pixel from top left by rows.

    Example:
        >>> ring = np.pad(np.zeros((3, 3), bool), 1, constant_values=True)
        >>> ring[2, 2] = True
        >>> outer_boxes(ring)
        [(0, 0, 5, 5)]
    """
    padded = np.pad(np.asarray(mask, dtype=bool), 1)
    height, width = padded.shape
    flat = padded.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return []
    lines = np.arange(height) * width
    gaps = np.sort(np.concatenate([lines, ends])), np.sort(np.concatenate([starts, lines + width]))
    region, outside = _components((starts, ends), width, reach=1), _components(gaps, width, reach=0)
    _, first = np.unique(region, return_index=True)
    # What lies above the first pixel of a region is the background around it: the outside, or a hole of another one.
    above = np.searchsorted(gaps[0], starts[first] - width, "right") - 1
    count = len(first)
    x0, x1 = np.full(count, width), np.zeros(count, np.int64)
    last = np.zeros(count, np.int64)
    np.minimum.at(x0, region, starts % width)
    np.maximum.at(x1, region, ends % width)
    np.maximum.at(last, region, starts // width)
    top = starts[first] // width
    kept = [k for k in np.argsort(first) if outside[above[k]] == outside[0]]
    return [(int(x0[k]) - 1, int(top[k]) - 1, int(x1[k] - x0[k]), int(last[k] - top[k] + 1)) for k in kept]


def cover_box(box: Box, smallest: int, largest: int, overlap: int) -> list[Box]:
    """Cover a box with windows, as CLIMB's code cuts pathology samples.

    Along an axis a side of at most `largest` is one window; a longer one gets ceil((side - overlap) / (largest -
    overlap)) windows of `largest` pixels, their starts spread evenly from the first to the last place and cut to whole
    pixels.

    Args:
        box (`tuple`): x, y, width and height in pixels.
        smallest (`int`): a box with a shorter side gives nothing.
        largest (`int`): longest side of a window.
        overlap (`int`): overlap of neighbouring windows that decides how many there are.

    Returns:
        `list`: windows as x, y, width, height, by rows.

    Example:
        >>> cover_box((0, 10, 1300, 620), 224, 1024, 128)
        [(0, 10, 1024, 620), (276, 10, 1024, 620)]
    """
    x, y, width, height = box
    if min(width, height) < smallest:
        return []

    def spread(start: int, side: int) -> list[tuple[int, int]]:
        length, count = min(side, largest), max(1, math.ceil((side - overlap) / (largest - overlap)))
        step = (side - length) / (count - 1) if count > 1 else 0.0
        return [(int(start + k * step), length) for k in range(count)]

    return [(x0, y0, w, h) for y0, h in spread(y, height) for x0, w in spread(x, width)]


def _components(runs: _Runs, width: int, reach: int) -> NDArray[np.int64]:
    """Number the connected groups of runs; runs of neighbouring rows touch if they overlap within `reach` columns."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    starts, ends = runs
    low = np.searchsorted(ends, starts + width - reach, "right")
    high = np.searchsorted(starts, ends + width + reach, "left")
    counts = np.maximum(high - low, 0)
    source = np.repeat(np.arange(len(starts)), counts)
    offset = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts, counts)
    target = np.repeat(low, counts) + offset
    links = coo_matrix((np.ones(len(source), np.int8), (source, target)), shape=(len(starts), len(starts)))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


@contextmanager
def _large_pictures() -> Iterator[None]:
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = _PIXELS
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def read_codes(path: Path, highest: int = 255) -> NDArray[np.uint8]:
    """Read a mask whose pixels are class codes; of a palette picture the indices, never its colours.

    Args:
        path (`Path`): PNG of 8 bits per pixel.
        highest (`int`, *optional*, defaults to `255`): highest code there is.

    Returns:
        `np.ndarray`: (height, width) uint8.

    Raises:
        CorruptFileError: the file is missing or damaged.
        SchemaError: the picture has colours or more than 8 bits, or a code above `highest`.
    """
    from PIL import Image

    with damage_named(str(path), "decoding"), _large_pictures(), Image.open(path) as picture:
        if picture.mode not in ("L", "P"):
            raise SchemaError(
                f"`{path}`: expected one 8-bit code per pixel (mode L or P), found mode {picture.mode}. This is a "
                "coloured or converted copy; take the masks of the publisher."
            )
        codes = np.asarray(picture, dtype=np.uint8)
    if codes.size and (top := int(codes.max())) > highest:
        raise SchemaError(f"`{path}`: expected codes 0 to {highest}, found {top}. Take the masks of the publisher.")
    return codes


def crop_codes(path: Path, window: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Cut a window out of a mask; the last mask read stays in memory for the next window of it.

    Args:
        path (`Path`): as in `read_codes`.
        window (`tuple`): x, y, width and height in pixels.
        size (`tuple[int, int]`): width and height that the mask must have.

    Returns:
        `np.ndarray`: (height, width) uint8 class codes.

    Raises:
        CorruptFileError: the mask has another size, or the file is damaged.
    """
    return _cut(_last_codes(*_state(path)), window, size, path)


def crop_picture(path: Path, window: Box, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Cut a window out of a colour picture; the last picture read stays in memory for the next window of it.

    Args:
        path (`Path`): any picture.
        window (`tuple`): x, y, width and height in pixels.
        size (`tuple[int, int]`): width and height that the picture must have.

    Returns:
        `np.ndarray`: (height, width, 3) uint8 RGB.

    Raises:
        CorruptFileError: the picture has another size, or the file is damaged.
    """
    return _cut(_last_picture(*_state(path)), window, size, path)


def _state(path: Path) -> tuple[Path, int, int]:
    with damage_named(str(path), "opening"):
        stat = path.stat()
    return path, stat.st_size, stat.st_mtime_ns


@functools.lru_cache(maxsize=1)
def _last_codes(path: Path, _size: int, _time: int) -> NDArray[np.uint8]:
    return read_codes(path)


@functools.lru_cache(maxsize=1)
def _last_picture(path: Path, _size: int, _time: int) -> NDArray[np.uint8]:
    from climb_hf.readers.image import load_image

    with _large_pictures():
        return load_image(path)


def _cut(pixels: NDArray[np.uint8], window: Box, size: tuple[int, int], path: Path) -> NDArray[np.uint8]:
    x, y, width, height = window
    found = pixels.shape[1], pixels.shape[0]
    if found != tuple(size):
        raise CorruptFileError(
            f"`{path}`: expected {size[0]} x {size[1]} pixels, as the mask it belongs to has, found {found[0]} x "
            f"{found[1]}. Fetch picture and mask of one release."
        )
    return pixels[y : y + height, x : x + width]
