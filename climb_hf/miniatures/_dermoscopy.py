"""Synthetic dermoscopy pictures: skin with the lesion of a diagnosis, and the lesion's mask."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from climb_hf.miniatures._common import Floats, ellipse, grid, smooth_noise, to_uint8

__all__ = ["KINDS", "dermoscopy"]

_Colour = tuple[float, float, float]
_Layers = list[tuple[_Colour, Floats]]


def dermoscopy(
    kind: str, random: np.random.Generator, size: tuple[int, int], factor: int = 1
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw a lesion on skin.

    Args:
        kind (`str`): one of `KINDS`, the codes of HAM10000.
        random (`numpy.random.Generator`): source of randomness.
        size (`tuple[int, int]`): (height, width) in pixels, multiples of `factor`.
        factor (`int`, *optional*, defaults to `1`): drawn that many times smaller and enlarged.

    Returns:
        `tuple`: picture (height, width, 3) uint8 RGB, and mask (height, width) uint8, 255 inside the lesion.
    """
    height, width = size[0] // factor, size[1] // factor
    y, x = grid(height, width, scale=random.uniform(0.95, 1.1))
    x = x * np.float32(width / height)
    tone = np.array([0.88, 0.70, 0.62]) * random.uniform(0.92, 1.05) + random.uniform(-0.02, 0.02, 3)
    picture = tone + 0.03 * smooth_noise(random, height, width, 6)[..., None] + random.normal(0, 0.01, (*y.shape, 1))
    cy, cx = random.uniform(-0.12, 0.12, 2)
    layers = KINDS[kind](random, y - cy, x - cx, random.uniform(0, np.pi))
    for colour, cover in layers:
        picture = picture + cover[..., None] * (np.array(colour) - picture)
    for _ in range(int(random.integers(0, 3))):  # hairs
        slope, at = random.uniform(-1.5, 1.5), random.uniform(-1, 1)
        picture = picture * (1 - 0.4 * np.exp(-(((y - slope * x - at) / 0.015) ** 2)))[..., None]
    pixels, mask = to_uint8(picture), np.where(layers[0][1] > 0.5, 255, 0).astype(np.uint8)
    if factor > 1:
        full = (size[1], size[0])
        pixels = np.asarray(Image.fromarray(pixels).resize(full, Image.Resampling.BICUBIC))
        mask = np.asarray(Image.fromarray(mask).resize(full, Image.Resampling.NEAREST))
    return pixels, mask


def _melanoma(random: np.random.Generator, y: Floats, x: Floats, turn: float) -> _Layers:
    wavy = 0.14 * smooth_noise(random, y.shape[0], y.shape[1], 6)
    whole = ellipse(y + wavy, x - wavy, 0, 0, 0.66, 0.52, angle=turn)
    inner = ellipse(y + wavy, x, 0.2 * np.cos(turn), 0.2 * np.sin(turn), 0.28, 0.22)
    return [((0.20, 0.12, 0.10), whole), ((0.12, 0.14, 0.28), inner)]


def _nevus(random: np.random.Generator, y: Floats, x: Floats, turn: float) -> _Layers:
    radius = random.uniform(0.24, 0.30)
    return [((0.47, 0.29, 0.18), ellipse(y, x, 0, 0, radius, radius * 1.1, angle=turn, edge=0.3))]


def _basal(random: np.random.Generator, y: Floats, x: Floats, turn: float) -> _Layers:
    radius = random.uniform(0.40, 0.48)
    rim = ellipse(y, x, 0, 0, radius, radius, edge=0.12)
    return [
        ((0.98, 0.84, 0.88), rim),
        ((0.85, 0.55, 0.62), ellipse(y, x, 0, 0, radius * 0.72, radius * 0.72, edge=0.2)),
        ((0.40, 0.42, 0.58), ellipse(y, x, 0, 0, radius * 0.3, radius * 0.25, angle=turn, edge=0.3)),
    ]


def _actinic(random: np.random.Generator, y: Floats, x: Floats, turn: float) -> _Layers:
    layers: _Layers = [((0.83, 0.36, 0.32), ellipse(y, x, 0, 0, 0.56, 0.48, angle=turn, edge=0.3))]
    for dy, dx in random.uniform(-0.28, 0.28, (8, 2)):
        layers.append(((0.95, 0.85, 0.45), ellipse(y, x, dy, dx, 0.06, 0.06, edge=0.4)))
    return layers


def _keratosis(random: np.random.Generator, y: Floats, x: Floats, turn: float) -> _Layers:
    layers: _Layers = [((0.55, 0.50, 0.46), ellipse(y, x, 0, 0, 0.50, 0.40, angle=turn, edge=0.05))]
    for dy, dx in random.uniform(-0.26, 0.26, (10, 2)):
        layers.append(((0.93, 0.90, 0.80), ellipse(y, x, dy, dx, 0.045, 0.045, edge=0.4)))
    return layers


def _fibroma(random: np.random.Generator, y: Floats, x: Floats, turn: float) -> _Layers:
    radius = random.uniform(0.32, 0.38)
    whole = ellipse(y, x, 0, 0, radius, radius * 1.05, angle=turn, edge=0.3)
    return [((0.70, 0.52, 0.40), whole), ((0.97, 0.94, 0.92), ellipse(y, x, 0, 0, radius * 0.5, radius * 0.5))]


def _vascular(random: np.random.Generator, y: Floats, x: Floats, turn: float) -> _Layers:
    layers: _Layers = [((0.66, 0.20, 0.42), ellipse(y, x, 0, 0, 0.42, 0.36, angle=turn, edge=0.2))]
    for dy, dx in random.uniform(-0.2, 0.2, (6, 2)):
        layers.append(((0.42, 0.05, 0.25), ellipse(y, x, dy, dx, 0.10, 0.10, edge=0.3)))
    return layers


#: What is drawn for each diagnosis code of HAM10000; the first layer is the whole lesion.
KINDS: dict[str, Callable[[np.random.Generator, Floats, Floats, float], _Layers]] = {
    "mel": _melanoma,
    "nv": _nevus,
    "bcc": _basal,
    "akiec": _actinic,
    "bkl": _keratosis,
    "df": _fibroma,
    "vasc": _vascular,
}
