"""Panels by their white gutters: a figure is cut along blank rows and columns until nothing can be cut.

Needs no checkpoint. It finds grids and nested layouts whose panels stand apart; panels that touch, or that are mostly
white themselves (line plots without a frame), are beyond it. The recursion over projection profiles is the XY-cut of
Nagy and Seth (1984), with one rule more: a strip too narrow for a panel (a drawn letter, a title, tick labels, a
colour bar) belongs to its nearest neighbour. A title that bridges gutters is left out.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from climb_hf.errors import OptionError
from climb_hf.figures.boxes import Detection

__all__ = ["gutter_boxes"]

#: A panel is at least this part of the figure's longer side, and this part of its largest neighbour.
_OF_FIGURE, _OF_NEIGHBOUR = 0.05, 0.25

_Span = tuple[int, int]
_Region = tuple[int, int, int, int]


def gutter_boxes(
    image: Image.Image, *, white: int = 235, min_gap: int | None = None, min_side: int = 20
) -> list[Detection]:
    """Find the panels of a compound figure that white gutters separate.

    Args:
        image (`PIL.Image.Image`): the figure, grey or RGB.
        white (`int`, *optional*, defaults to `235`): grey value from which a pixel is blank, 1 to 255. Leaves room
            for the noise of JPEG beside edges.
        min_gap (`int`, *optional*): width of a gutter in pixels at least. Defaults to 3, or 0.3 % of the longer side.
        min_side (`int`, *optional*, defaults to `20`): a narrower strip is part of its neighbour, in pixels. So is
            one below 5 % of the figure's longer side.

    Returns:
        `list[Detection]`: boxes without score, from the top left; one for a figure that cannot be cut, none for a
        blank one.

    Raises:
        OptionError: an option out of range.

    Example:
        >>> figure = Image.new("L", (230, 100), 255)
        >>> for left in (0, 130):
        ...     figure.paste(40, (left, 0, left + 100, 100))
        >>> [found.box for found in gutter_boxes(figure)]
        [(0, 0, 100, 100), (130, 0, 230, 100)]
    """
    if not 1 <= white <= 255 or (min_gap is not None and min_gap < 1) or min_side < 1:
        raise OptionError(
            f"expected `white` from 1 to 255 and `min_gap` and `min_side` of 1 or more, found {white!r}, {min_gap!r} "
            f"and {min_side!r}."
        )
    ink = np.asarray(image.convert("L")) < white
    longer = max(ink.shape)
    gap = max(3, round(0.003 * longer)) if min_gap is None else min_gap
    least = max(min_side, round(_OF_FIGURE * longer))
    return [Detection(box) for box in _cut(ink, (0, 0, ink.shape[1], ink.shape[0]), gap, least)]


def _cut(ink: NDArray[np.bool_], region: _Region, gap: int, least: int) -> Iterator[_Region]:
    """Yield the uncuttable parts of a region, trimmed to what is drawn."""
    left, top, right, bottom = region
    part = ink[top:bottom, left:right]
    rows: NDArray[np.bool_] = np.asarray(part.any(axis=1))
    columns: NDArray[np.bool_] = np.asarray(part.any(axis=0))
    if not rows.any():
        return
    (y0, y1), (x0, x1) = _extent(rows), _extent(columns)
    cuts = [_panels(rows, gap, least), _panels(columns, gap, least)]
    axis = max((0, 1), key=lambda number: len(cuts[number]))
    if len(cuts[axis]) < 2:
        core = _core(ink, region, (rows, columns), gap, least)
        if core is not None:
            yield from _cut(ink, core, gap, least)
            return
        yield left + x0, top + y0, left + x1, top + y1
        return
    for start, stop in cuts[axis]:
        if axis == 0:
            yield from _cut(ink, (left + x0, top + start, left + x1, top + stop), gap, least)
        else:
            yield from _cut(ink, (left + start, top + y0, left + stop, top + y1), gap, least)


def _core(
    ink: NDArray[np.bool_], region: _Region, profiles: tuple[NDArray[np.bool_], ...], gap: int, least: int
) -> _Region | None:
    """Return a region without the title that bridges its gutters, where it can be cut then."""
    left, top, right, bottom = region
    for axis, profile in enumerate(profiles):
        spans = _spans(profile, gap)
        start, stop = max(spans, key=lambda span: span[1] - span[0])
        core = (left, top + start, right, top + stop) if axis == 0 else (left + start, top, left + stop, bottom)
        across = np.asarray(ink[core[1] : core[3], core[0] : core[2]].any(axis=axis))
        if len(spans) > 1 and len(_panels(across, gap, least)) > 1:
            return core
    return None


def _extent(profile: NDArray[np.bool_]) -> _Span:
    return int(profile.argmax()), int(len(profile) - profile[::-1].argmax())


def _spans(profile: NDArray[np.bool_], gap: int) -> list[_Span]:
    """Return what is drawn along a profile, between gaps of at least `gap`."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], profile, [False])).astype(np.int8)))
    spans: list[_Span] = []
    for start, stop in edges.reshape(-1, 2).tolist():
        if spans and start - spans[-1][1] < gap:
            spans[-1] = (spans[-1][0], stop)
        else:
            spans.append((start, stop))
    return spans


def _panels(profile: NDArray[np.bool_], gap: int, least: int) -> list[_Span]:
    """Return the spans of a profile that are as large as panels, with the narrow strips beside them."""
    spans = _spans(profile, gap)
    while len(spans) > 1:
        sizes = [stop - start for start, stop in spans]
        narrow = min(range(len(spans)), key=sizes.__getitem__)
        if sizes[narrow] >= max(least, _OF_NEIGHBOUR * max(sizes)):
            break
        gaps = [later[0] - earlier[1] for earlier, later in pairwise(spans)]
        before = gaps[narrow - 1] if narrow else None
        after = gaps[narrow] if narrow < len(gaps) else None
        first = narrow if before is None or (after is not None and after <= before) else narrow - 1
        spans[first : first + 2] = [(spans[first][0], spans[first + 1][1])]
    return spans
