"""Boxes of panels: overlap, suppression of doubles, growing, clipping, reading order."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from climb_hf.errors import OptionError

__all__ = ["Box", "Detection", "clean_boxes", "intersection_over_union", "reading_order", "suppress"]

#: Left, top, right, bottom in pixels; right and bottom are outside.
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Detection:
    """A part of a figure that was found.

    Args:
        box (`tuple[float, float, float, float]`): left, top, right, bottom in pixels, right and bottom outside.
        score (`float`, *optional*): confidence from 0 to 1; `None` where the method has none.
        label (`str`, *optional*, defaults to `""`): for the drawn letter of a panel, that letter; `""` for a panel.
    """

    box: Box
    score: float | None = None
    label: str = ""


def intersection_over_union(first: Box, second: Box) -> float:
    """Return the shared part of the area of two boxes.

    Args:
        first (`Box`): left, top, right, bottom.
        second (`Box`): left, top, right, bottom.

    Returns:
        `float`: 0 to 1; 0 for boxes without area.

    Example:
        >>> intersection_over_union((0, 0, 2, 2), (1, 0, 3, 2))
        0.3333333333333333
    """
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (_area(first) + _area(second) - shared)


def suppress(detections: Sequence[Detection], threshold: float = 0.2) -> list[Detection]:
    """Keep the best of boxes that overlap: greedy, by falling score, as in the Open-PMC-18M pipeline.

    Args:
        detections (`Sequence[Detection]`): in any order; without a score they count as 1, equal scores keep the order.
        threshold (`float`, *optional*, defaults to `0.2`): overlap (IoU) above which the lower score goes, 0 to 1.

    Returns:
        `list[Detection]`: by falling score.

    Example:
        >>> pair = [Detection((0, 0, 10, 10), 0.5), Detection((1, 0, 11, 10), 0.9)]
        >>> [found.score for found in suppress(pair)]
        [0.9]
    """
    kept: list[Detection] = []
    for found in sorted(detections, key=_falling):
        if all(intersection_over_union(found.box, other.box) <= threshold for other in kept):
            kept.append(found)
    return kept


def clean_boxes(
    detections: Sequence[Detection],
    size: tuple[int, int],
    *,
    expand: float = 0.0,
    min_side: int = 1,
    threshold: float = 0.2,
) -> tuple[list[Detection], int]:
    """Make detections fit for cropping: doubles out, grown, rounded, clipped to the figure, the small ones out.

    Args:
        detections (`Sequence[Detection]`): panels.
        size (`tuple[int, int]`): width and height of the figure.
        expand (`float`, *optional*, defaults to `0.0`): part of its width and height that a box grows by on each side.
        min_side (`int`, *optional*, defaults to `1`): shorter side in pixels that a box must have at least.
        threshold (`float`, *optional*, defaults to `0.2`): overlap above which the lower score goes.

    Returns:
        `tuple[list[Detection], int]`: whole-numbered boxes by falling score, and how many were too small.

    Raises:
        OptionError: an option out of range.

    Example:
        >>> clean_boxes([Detection((-3, 0, 10.4, 20)), Detection((0, 30, 2, 32))], (40, 40), min_side=8)
        ([Detection(box=(0, 0, 10, 20), score=None, label='')], 1)
    """
    if not 0 <= expand <= 1 or min_side < 1 or not 0 <= threshold <= 1:
        raise OptionError(
            f"expected `expand` and `threshold` from 0 to 1 and `min_side` of 1 or more, found {expand!r}, "
            f"{threshold!r} and {min_side!r}."
        )
    width, height = size
    kept, small = [], 0
    usable = [found for found in detections if all(map(math.isfinite, found.box))]
    for found in suppress(usable, threshold):
        left, top, right, bottom = found.box
        dx, dy = expand * (right - left), expand * (bottom - top)
        box = (
            max(0, round(left - dx)), max(0, round(top - dy)), min(width, round(right + dx)),
            min(height, round(bottom + dy)),
        )  # fmt: skip
        if min(box[2] - box[0], box[3] - box[1]) < min_side:
            small += 1
        else:
            kept.append(Detection(box, found.score, found.label))
    return kept, small + len(detections) - len(usable)


def reading_order(boxes: Sequence[Box], order: str = "rows") -> list[int]:
    """Return the order in which people read panels.

    Panels are of one row where they share more than half of the height of the lower one.

    Args:
        boxes (`Sequence[Box]`): panels.
        order (`str`, *optional*, defaults to `"rows"`): `"rows"` goes left to right, then down; `"columns"` goes
            down, then right.

    Returns:
        `list[int]`: positions in `boxes`.

    Raises:
        OptionError: another order.

    Example:
        >>> reading_order([(50, 2, 90, 40), (0, 60, 40, 99), (0, 0, 40, 40)])
        [2, 0, 1]
    """
    if order not in ("rows", "columns"):
        raise OptionError(f"`order` must be rows or columns, got {order!r}.")
    turned = [box if order == "rows" else (box[1], box[0], box[3], box[2]) for box in boxes]
    rows: list[list[int]] = []
    for number in sorted(range(len(turned)), key=lambda i: (turned[i][1], turned[i][0])):
        row = next((row for row in rows if _share_a_row(turned[row[0]], turned[number])), None)
        if row is None:
            rows.append([number])
        else:
            row.append(number)
    return [number for row in rows for number in sorted(row, key=lambda i: turned[i][0])]


def _share_a_row(first: Box, second: Box) -> bool:
    shared = min(first[3], second[3]) - max(first[1], second[1])
    return shared > 0.5 * min(first[3] - first[1], second[3] - second[1])


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _falling(found: Detection) -> float:
    return -(1.0 if found.score is None else found.score)
