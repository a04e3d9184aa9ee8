"""Drawn fundus photographs for the miniatures of the fundus sources, and the split that their publishers' papers drew.

Everything here is synthetic: no pixel comes from a patient.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Floats, ellipse, grid, smooth_noise, to_uint8

__all__ = ["paper_split", "photograph"]

_RED, _DARK, _YELLOW, _PALE = (0.42, 0.06, 0.04), (0.30, 0.03, 0.03), (0.97, 0.88, 0.45), (0.98, 0.95, 0.78)


def paper_split(classes: Sequence[Hashable]) -> list[str]:
    """Split of each record by the rule of the papers: of each class the first 80 % of NumPy's permutation of seed 0.

    Args:
        classes (`Sequence`): class of each record, in the order of the publisher's table.

    Returns:
        `list[str]`: `"train"` or `"test"` for each record.
    """
    split = ["test"] * len(classes)
    for name in dict.fromkeys(classes):
        members = [at for at, other in enumerate(classes) if other == name]
        shuffled = np.random.RandomState(0).permutation(len(members))
        for position in shuffled[: len(members) * 4 // 5]:
            split[members[position]] = "train"
    return split


def photograph(random: np.random.Generator, height: int, width: int, severity: int, side: str) -> NDArray[np.uint8]:
    """Draw a fundus photograph: a round orange field on black with disc, macula, vessels and the signs of its grade.

    Severity 0 shows none; 1 a few dark dots; 2 dots and yellow exudates; 3 large blots in every quadrant; 4 a broad
    dark bleeding below and a pale frond.

    Args:
        random (`numpy.random.Generator`): source of randomness.
        height (`int`): rows.
        width (`int`): columns, at least as many as rows.
        severity (`int`): 0 to 4.
        side (`str`): `"right"` puts the optic disc right of the centre, `"left"` left of it.

    Returns:
        (height, width, 3) uint8 array.
    """
    y, x = grid(height, width)
    x = x * np.float32(width / height)
    field = ellipse(y, x, 0, 0, 0.95, 0.95, edge=0.03)
    tone = np.array([0.80, 0.42, 0.20]) * random.uniform(0.92, 1.08)
    picture: Floats = tone * (1.0 - 0.25 * (y * y + x * x) + 0.05 * smooth_noise(random, height, width, 6))[..., None]
    nasal = 1.0 if side == "right" else -1.0
    disc_y, disc_x = random.uniform(-0.08, 0.08), nasal * random.uniform(0.48, 0.55)
    picture = _paint(picture, _RED, 0.5 * ellipse(y, x, 0.02, -0.1 * nasal, 0.16, 0.16, edge=0.8))  # macula
    for up in (-1.0, 1.0):  # arcades
        bow = y - disc_y - up * 0.55 * (1.0 - np.exp(-np.abs(x - disc_x) / 0.35))
        temporal = np.clip((disc_x - x) * nasal / 0.1, 0.0, 1.0)
        picture = _paint(picture, _DARK, 0.7 * temporal * np.exp(-((bow / 0.025) ** 2)))
    picture = _paint(picture, _PALE, ellipse(y, x, disc_y, disc_x, 0.15, 0.13, edge=0.3))
    for colour, mask in _signs(random, y, x, severity, nasal):
        picture = _paint(picture, colour, mask)
    picture = picture + random.normal(0.0, 0.012, (height, width, 1))
    return to_uint8(picture * field[..., None])


def _paint(picture: Floats, colour: tuple[float, float, float], mask: Floats) -> Floats:
    return picture + mask[..., None] * (np.array(colour) - picture)


def _signs(
    random: np.random.Generator, y: Floats, x: Floats, severity: int, nasal: float
) -> list[tuple[tuple[float, float, float], Floats]]:
    """Colour and mask of each sign of a severity."""
    signs = []
    for _ in range((0, 6, 6, 4, 4)[severity]):
        cy, cx = random.uniform(-0.6, 0.6), -nasal * random.uniform(-0.2, 0.6)
        signs.append((_DARK, ellipse(y, x, cy, cx, 0.05, 0.05, edge=0.5)))
    if severity == 2:
        for k in range(6):
            at = k * np.pi / 3 + random.uniform(-0.2, 0.2)
            signs.append((_YELLOW, ellipse(y, x, 0.28 * np.sin(at), 0.28 * np.cos(at) - 0.1 * nasal, 0.07, 0.07)))
    if severity == 3:
        for up, along in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            cy, cx = up * random.uniform(0.38, 0.5), along * random.uniform(0.35, 0.5)
            signs.append((_DARK, ellipse(y, x, cy, cx, 0.17, 0.2, angle=random.uniform(0, np.pi), edge=0.3)))
    if severity == 4:
        signs.append((_DARK, ellipse(y, x, 0.55, 0.0, 0.22, 0.6, edge=0.2)))
        signs.append((_PALE, ellipse(y, x, -0.45, random.uniform(-0.2, 0.2), 0.1, 0.4, angle=0.4, edge=0.4)))
    return signs
