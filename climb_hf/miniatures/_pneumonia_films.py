"""Drawn chest films for the miniatures of the pneumonia collections: four patterns of lung opacity.

Nothing comes from a patient. `normal` has clear lungs, `bacterial` one dense patch in one lung, `viral` a fine pattern
over both lungs, `covid` soft patches low and outward in both lungs.
"""

import numpy as np

from climb_hf.miniatures._common import Floats, ellipse, grid, smooth_noise

__all__ = ["film"]


def film(random: np.random.Generator, height: int, width: int, kind: str) -> Floats:
    """Draw a frontal chest film.

    Args:
        random (`numpy.random.Generator`): source of randomness.
        height (`int`): rows.
        width (`int`): columns.
        kind (`str`): `"normal"`, `"bacterial"`, `"viral"` or `"covid"`.

    Returns:
        (height, width) float32 array, nominally 0 (air) to 1 (bone).
    """
    y, x = grid(height, width, angle=random.uniform(-0.06, 0.06), scale=random.uniform(0.95, 1.05))
    body = ellipse(y, x, 0.35, 0, 1.3, 0.95, edge=0.08)
    sides = [ellipse(y, x, 0.0, side * 0.42, 0.62, 0.3, angle=side * 0.12, edge=0.15) for side in (-1, 1)]
    lungs = np.clip(sides[0] + sides[1], 0, 1)
    picture = 0.62 * body - 0.42 * lungs + 0.22 * body * np.exp(-((x / 0.09) ** 2))
    picture += 0.05 * lungs * np.maximum(0, np.cos((y + 0.25 * np.abs(x)) * 22))  # ribs
    picture += 0.16 * ellipse(y, x, 0.32, 0.14, 0.3, 0.26, edge=0.3)  # heart
    picture += lungs * _opacity(random, y, x, kind)
    return picture * random.uniform(0.9, 1.1) + random.normal(0, 0.015, (height, width))


def _opacity(random: np.random.Generator, y: Floats, x: Floats, kind: str) -> Floats:
    """What is added to the lungs."""
    height, width = y.shape
    if kind == "bacterial":
        side = random.choice((-1.0, 1.0))
        cy, cx = random.uniform(-0.15, 0.25), side * random.uniform(0.38, 0.46)
        return 0.5 * ellipse(y, x, cy, cx, random.uniform(0.28, 0.34), 0.28, edge=0.3)
    if kind == "viral":
        return 0.12 + 0.22 * smooth_noise(random, height, width, 22)
    if kind == "covid":
        return np.sum(
            [0.38 * ellipse(y, x, random.uniform(0.25, 0.4), side * 0.58, 0.26, 0.2, edge=0.6) for side in (-1, 1)],
            axis=0,
        )
    return np.zeros_like(y)
