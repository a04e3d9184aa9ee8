"""Outlines traced by hand, filled to masks."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["fill_polygon", "polygon_area"]


def fill_polygon(
    rows: Sequence[float] | NDArray[np.floating],
    columns: Sequence[float] | NDArray[np.floating],
    size: tuple[int, int],
) -> NDArray[np.bool_]:
    """Fill a closed polygon whose corners are rounded to whole pixels.

    A pixel is inside if its centre lies in the polygon by the even-odd rule, or on its outline: the rule of
    scikit-image's `draw.polygon`, which published segmentation code uses. It is decided in integers, so it is exact.

    Args:
        rows (`Sequence[float]`): row of each corner, in order; rounded half to even, as NumPy does.
        columns (`Sequence[float]`): column of each corner.
        size (`(int, int)`): height and width of the mask; what lies outside is cut off.

    Returns:
        `np.ndarray`: (height, width) bool.

    Example:
        >>> fill_polygon([0, 0, 2], [0, 2, 0], (3, 4)).astype(int)
        array([[1, 1, 1, 0],
               [1, 1, 0, 0],
               [1, 0, 0, 0]])
    """
    mask = np.zeros(size, dtype=bool)
    r0, c0 = (np.rint(np.asarray(values, dtype=np.float64)).astype(np.int64) for values in (rows, columns))
    if not len(r0):
        return mask
    low = np.maximum([r0.min(), c0.min()], 0)
    high = np.minimum([r0.max(), c0.max()], np.array(size) - 1) + 1
    if (low >= high).any():
        return mask
    r1, c1 = np.roll(r0, -1), np.roll(c0, -1)
    r = np.arange(low[0], high[0])[:, None, None]  # (rows, columns, edges) below
    c = np.arange(low[1], high[1])[None, :, None]
    side = (c1 - c0) * (r - r0) - (c - c0) * (r1 - r0)  # 0 on the line of an edge; its sign tells the side
    crosses = ((r0 > r) != (r1 > r)) & ((side > 0) == (r1 > r0)) & (side != 0)
    within_rows = (np.minimum(r0, r1) <= r) & (r <= np.maximum(r0, r1))
    within_columns = (np.minimum(c0, c1) <= c) & (c <= np.maximum(c0, c1))
    on_outline = (side == 0) & within_rows & within_columns
    inside = (np.count_nonzero(crosses, axis=2) % 2 == 1) | on_outline.any(axis=2)
    mask[low[0] : high[0], low[1] : high[1]] = inside
    return mask


def polygon_area(rows: Sequence[float], columns: Sequence[float]) -> float:
    """Return the area that a closed polygon encloses; parts of a self-crossing one cancel.

    Args:
        rows (`Sequence[float]`): row of each corner, in order.
        columns (`Sequence[float]`): column of each corner.

    Returns:
        `float`: square pixels.

    Example:
        >>> polygon_area([0, 0, 2, 2], [0, 3, 3, 0])
        6.0
    """
    twice = sum(rows[i - 1] * columns[i] - rows[i] * columns[i - 1] for i in range(len(rows)))
    return abs(twice) / 2
