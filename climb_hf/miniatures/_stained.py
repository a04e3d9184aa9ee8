"""Drawn H&E patches for the miniatures of the histology sources: all synthetic, nothing comes from a patient."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from climb_hf.miniatures._common import Floats, ellipse, grid, smooth_noise, write_bytes

__all__ = ["glands", "save_tiff", "stained"]

Colour = tuple[float, float, float]
NUCLEUS: Colour = (0.27, 0.16, 0.42)


def stained(
    random: np.random.Generator,
    height: int,
    width: int,
    ground: Colour,
    *,
    nuclei: float = 0.5,
    cells: int = 24,
    streaks: float = 0.0,
) -> Floats:
    """Draw stained tissue: a cloudy ground with dark nuclei, perhaps streaky.

    Args:
        random (`numpy.random.Generator`): source of randomness.
        height (`int`): rows.
        width (`int`): columns.
        ground (`tuple`): colour of the ground, red, green and blue from 0 to 1.
        nuclei (`float`, *optional*, defaults to `0.5`): share of what nuclei may cover, 0 to 1.
        cells (`int`, *optional*, defaults to `24`): nuclei along an axis; fewer are larger.
        streaks (`float`, *optional*, defaults to `0.0`): strength of the fibres.

    Returns:
        (height, width, 3) array, nominally 0 to 1.
    """
    picture: Floats = (
        np.array(ground) * random.uniform(0.96, 1.04) + 0.05 * smooth_noise(random, height, width, 6)[..., None]
    )
    if streaks:
        y, x = grid(height, width, angle=random.uniform(0.4, 0.9))
        waves = np.sin(38 * y + 4 * smooth_noise(random, height, width, 5)) + 0.3 * x
        picture = picture + streaks * waves[..., None] * np.array([0.3, 1.0, 0.6])
    dots = np.clip((smooth_noise(random, height, width, cells) - (1 - nuclei)) * 4, 0, 1)
    return picture + dots[..., None] * (np.array(NUCLEUS) - picture)


def glands(
    picture: Floats, random: np.random.Generator, *, count: int, radius: float, lumen: float, ragged: float = 0.0
) -> Floats:
    """Add round glands on a grid: a ring of nuclei around a lumen.

    Args:
        picture (array): (height, width, 3), nominally 0 to 1.
        random (`numpy.random.Generator`): source of randomness.
        count (`int`): glands along an axis.
        radius (`float`): radius of a gland, in half sides of the picture.
        lumen (`float`): part of the radius that is white lumen; 0 gives solid nests.
        ragged (`float`, *optional*, defaults to `0.0`): how uneven the borders are.

    Returns:
        (height, width, 3) array.
    """
    height, width = picture.shape[:2]
    y, x = grid(height, width)
    wave = ragged * smooth_noise(random, height, width, 12)
    edges = np.linspace(-1, 1, count + 1)
    for cy in (edges[:-1] + edges[1:]) / 2:
        for cx in (edges[:-1] + edges[1:]) / 2:
            dy, dx = random.uniform(-0.05, 0.05, 2)
            outer = ellipse(y + wave, x - wave, cy + dy, cx + dx, radius, radius * 0.9)
            picture = picture + 0.75 * outer[..., None] * (np.array(NUCLEUS) - picture)
            if lumen:
                inner = ellipse(y + wave, x - wave, cy + dy, cx + dx, radius * lumen, radius * lumen * 0.9)
                picture = picture + inner[..., None] * (np.array([0.97, 0.94, 0.97]) - picture)
    return picture


def save_tiff(path: Path, pixels: NDArray[np.uint8]) -> bytes:
    """Write an uncompressed TIFF.

    Args:
        path (`pathlib.Path`): target; missing folders are made.
        pixels (array): (height, width, 3) uint8.

    Returns:
        `bytes`: the content of the file.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="TIFF")
    return write_bytes(path, buffer.getvalue())
