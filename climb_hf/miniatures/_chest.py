"""Drawn chest films and label rows of the 14 CheXpert findings, for the sources that share them."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Floats, ellipse, grid, smooth_noise, to_uint8

__all__ = ["FINDINGS", "draw_findings", "film"]

#: Table 7 of the CLIMB paper, in its order, the typo of one name corrected.
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "Pleural Effusion", "Pneumonia", "Pneumothorax", "Pleural Other", "Support Devices", "No Finding",
)  # fmt: skip


def draw_findings(number: int, random: np.random.Generator) -> dict[str, float]:
    """Make up what the labels of a study state: 1 positive, 0 negative, -1 uncertain; an absent name is a blank cell.

    Every class is positive once in 14 consecutive numbers; every eleventh study has no positive at all, nor has one
    whose number leaves 21 on division by 22 any statement. `No Finding` is 1 or blank and stands with `Support
    Devices` only.

    Args:
        number (`int`): number of the study.
        random (`numpy.random.Generator`): source of randomness.

    Returns:
        `dict[str, float]`: finding -> 1.0, 0.0 or -1.0.
    """
    if number % 22 == 21:
        return {}
    if number % 11 == 10:
        return {"Pneumonia": -1.0, "Pneumothorax": 0.0, "Edema": -1.0}
    main = FINDINGS[(number - number // 11) % 14]
    stated = {main: 1.0}
    others = [name for name in FINDINGS if name not in (main, "No Finding")]
    if main == "No Finding":
        others = ["Support Devices"]
    for name in others:
        draw = random.random()
        if draw < 0.15:
            stated[name] = 1.0
        elif draw < 0.4 and main != "No Finding":
            stated[name] = 0.0 if draw < 0.3 else -1.0
    if main == "No Finding":
        stated |= {"Pneumothorax": 0.0, "Pleural Effusion": 0.0}
    return stated


def film(
    positive: Collection[str], height: int, width: int, random: np.random.Generator, *, lateral: bool = False
) -> NDArray[np.uint8]:
    """Draw a chest film, dark outside the body, in which each positive finding has a sign of its own.

    Args:
        positive (`Collection[str]`): names of `FINDINGS`.
        height (`int`): rows.
        width (`int`): columns.
        random (`numpy.random.Generator`): source of randomness.
        lateral (`bool`, *optional*, defaults to `False`): one lung behind the other, the spine at the side.

    Returns:
        (height, width) uint8 array.
    """
    y, x = grid(height, width, scale=random.uniform(0.95, 1.05))
    shift = random.uniform(-0.03, 0.03, 2)
    y, x = y - shift[0], x - shift[1]
    sides, spine = ((0.1, -0.1), 0.7) if lateral else ((-0.45, 0.45), 0.0)
    picture = 0.5 * ellipse(y, x, 0.25, 0, 1.25, 0.92, edge=0.1) + 0.04 * smooth_noise(random, height, width, 8)
    for side in sides:
        picture -= (0.2 if lateral else 0.32) * ellipse(y, x, -0.05, side, 0.62, 0.3)
    for rib in np.arange(-0.65, 0.5, 0.2):
        picture += 0.04 * np.exp(-(((y - rib - 0.25 * x * x) / 0.03) ** 2))
    picture += 0.28 * np.exp(-(((x - spine) / 0.1) ** 2))
    picture += 0.25 * ellipse(y, x, 0.25, 0.08, 0.3, 0.5 if "Cardiomegaly" in positive else 0.22, edge=0.2)
    for name in sorted(set(positive) & set(_SIGNS)):
        picture = picture + _SIGNS[name](y, x)
    picture = random.uniform(0.92, 1.08) * picture + random.normal(0, 0.015, (height, width))
    return to_uint8(np.clip(picture, 0, 1))


def _rim(y: Floats, x: Floats) -> Floats:
    radius = np.hypot((y + 0.05) / 0.62, (x - 0.45) / 0.3)
    return 0.4 * np.exp(-(((radius - 1.0) / 0.07) ** 2))


def _devices(y: Floats, x: Floats) -> Floats:
    box = (np.abs(y + 0.75) < 0.09) & (np.abs(x - 0.6) < 0.12)
    wire = (np.abs(x - 0.6 - 0.6 * (y + 0.7)) < 0.03) & (y > -0.75) & (y < 0.2)
    return 0.5 * (box | wire)


_SIGNS = {
    "Atelectasis": lambda y, x: 0.4 * ellipse(y, x, 0.4, -0.45, 0.05, 0.28, edge=0.3),
    "Consolidation": lambda y, x: 0.4 * ellipse(y, x, -0.05, -0.45, 0.2, 0.18, edge=0.4),
    "Edema": lambda y, x: 0.3 * (ellipse(y, x, 0, -0.25, 0.3, 0.2, edge=1) + ellipse(y, x, 0, 0.25, 0.3, 0.2, edge=1)),
    "Enlarged Cardiomediastinum": lambda y, x: 0.35 * ellipse(y, x, -0.4, 0, 0.35, 0.25, edge=0.2),
    "Fracture": lambda y, x: 0.45 * ((np.abs(y + 0.3 - x) < 0.05) & (x < -0.55) & (x > -0.85)),
    "Lung Lesion": lambda y, x: 0.5 * ellipse(y, x, -0.4, -0.45, 0.1, 0.1, edge=0.2),
    "Lung Opacity": lambda y, x: 0.22 * ellipse(y, x, -0.05, 0.45, 0.6, 0.28, edge=0.3),
    "Pleural Effusion": lambda y, x: 0.45 * np.clip((y - 0.3) * 8, 0, 1) * (np.abs(x) < 0.85) * (np.abs(x) > 0.2),
    "Pneumonia": lambda y, x: 0.4 * ellipse(y, x, 0.3, 0.5, 0.16, 0.16, edge=0.7),
    "Pneumothorax": lambda y, x: -0.3 * ellipse(y, x, -0.45, 0.6, 0.3, 0.16, edge=0.2),
    "Pleural Other": _rim,
    "Support Devices": _devices,
}
