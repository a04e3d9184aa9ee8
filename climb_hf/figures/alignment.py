"""Which panel has which label: by the letters a detector found in the figure, else by reading order."""

import math
from collections.abc import Mapping, Sequence

from climb_hf.figures.boxes import Box, reading_order

__all__ = ["align_panels"]


def align_panels(
    boxes: Sequence[Box],
    labels: Sequence[str],
    *,
    label_boxes: Mapping[str, Box] | None = None,
    order: str = "rows",
) -> list[str]:
    """Give every panel its label.

    Where the places of all labels are known, each label goes to the panel that it stands in or nearest to, one to
    one, with the least sum of distances. Else panels in reading order take the labels in their order, if there are as
    many panels as labels. Otherwise nothing is guessed.

    Args:
        boxes (`Sequence[Box]`): panels: left, top, right, bottom.
        labels (`Sequence[str]`): labels of the caption, in order.
        label_boxes (`Mapping[str, Box]`, *optional*): where labels are drawn.
        order (`str`, *optional*, defaults to `"rows"`): reading order, `"rows"` or `"columns"`.

    Returns:
        `list[str]`: label of each panel; all `""` where the numbers do not fit.

    Example:
        >>> align_panels([(50, 0, 90, 40), (0, 0, 40, 40)], ["a", "b"])
        ['b', 'a']
        >>> align_panels([(0, 0, 40, 40)], ["a", "b"])
        ['']
    """
    sequence = reading_order(boxes, order)
    if len(boxes) != len(labels) or not labels:
        return [""] * len(boxes)
    folded = {name.casefold(): box for name, box in (label_boxes or {}).items()}
    if all(label.casefold() in folded for label in labels):
        return _nearest(boxes, labels, [folded[label.casefold()] for label in labels])
    found = [""] * len(boxes)
    for label, position in zip(labels, sequence, strict=True):
        found[position] = label
    return found


def _nearest(boxes: Sequence[Box], labels: Sequence[str], places: Sequence[Box]) -> list[str]:
    import numpy as np
    from scipy.optimize import linear_sum_assignment

    costs = np.array([[_distance(box, place) for place in places] for box in boxes])
    found = [""] * len(boxes)
    for panel, label in zip(*linear_sum_assignment(costs), strict=True):
        found[panel] = labels[label]
    return found


def _distance(panel: Box, place: Box) -> float:
    """Distance of the middle of a letter from a panel; inside, a little for the way to its top left corner."""
    x, y = (place[0] + place[2]) / 2, (place[1] + place[3]) / 2
    dx = max(panel[0] - x, 0.0, x - panel[2])
    dy = max(panel[1] - y, 0.0, y - panel[3])
    corner = math.hypot(x - panel[0], y - panel[1])
    return math.hypot(dx, dy) + 1e-3 * corner
