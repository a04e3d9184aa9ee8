"""What the makers of brain networks share: random series and matrices; the class decides what goes together."""

import io

import numpy as np
from numpy.typing import NDArray

__all__ = ["matrix", "npy_bytes", "series"]


def series(random: np.random.Generator, points: int, regions: int, positive: bool) -> NDArray[np.float64]:
    """Draw the time series of one synthetic subject.

    Regions of the first half swing together where `positive`, those of the second half where not.

    Args:
        random (`numpy.random.Generator`): source of randomness.
        points (`int`): time points.
        regions (`int`): regions.
        positive (`bool`): the class.

    Returns:
        `np.ndarray`: (points, regions) float64 without unit.
    """
    noise = random.standard_normal((points, regions)) * 10.0
    swing = random.standard_normal((points, 1)) * 12.0
    together = (np.arange(regions) < regions // 2) == positive
    return noise + swing * together


def matrix(random: np.random.Generator, regions: int, positive: bool) -> NDArray[np.float64]:
    """Draw the correlation matrix of one synthetic subject.

    Args:
        random (`numpy.random.Generator`): source of randomness.
        regions (`int`): regions.
        positive (`bool`): the class, as in `series`.

    Returns:
        `np.ndarray`: (regions, regions) float64, exactly symmetric, 1 on the diagonal.
    """
    found = np.asarray(np.corrcoef(series(random, 4 * regions, regions, positive), rowvar=False))
    found = (found + found.T) / 2
    np.fill_diagonal(found, 1.0)
    return found


def npy_bytes(values: NDArray[np.generic]) -> bytes:
    """Return the content of a `.npy` file.

    Args:
        values (`np.ndarray`): what it holds; an object array is pickled, as publishers do.

    Returns:
        `bytes`
    """
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()
