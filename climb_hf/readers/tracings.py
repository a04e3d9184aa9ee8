"""Tracings of the left ventricle as EchoNet-Dynamic lists them: chords per frame, their outline, masks."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import SchemaError
from climb_hf.readers.polygons import fill_polygon, polygon_area
from climb_hf.readers.tables import read_csv_rows, to_float, to_int

__all__ = ["Chords", "chords_mask", "outline", "read_tracings", "traced_roles"]

#: Chords of one frame: x1, y1, x2, y2 in pixels; the long axis first, then the short axes from the apex down.
Chords = list[list[float]]
_ENDS = ("X1", "Y1", "X2", "Y2")


def read_tracings(table: Path) -> dict[str, dict[int, Chords] | str]:
    """Read `VolumeTracings.csv`.

    Args:
        table (`Path`): columns `FileName` (with `.avi`), `X1`, `Y1`, `X2`, `Y2` in pixels, `Frame` from 0.

    Returns:
        `dict`: name without suffix -> frame -> chords, all in the order of the table, or what is wrong with a row.

    Raises:
        LayoutError: there is no such table.
        SchemaError: a column is missing.
    """
    traced: dict[str, dict[int, Chords] | str] = defaultdict(dict)
    for row in read_csv_rows(table, required=("FileName", *_ENDS, "Frame")):
        name = row["FileName"].strip().removesuffix(".avi")
        frames = traced[name]
        if isinstance(frames, str):
            continue
        try:
            frame, ends = to_int(row["Frame"], ()), [to_float(row[end], ()) for end in _ENDS]
        except SchemaError as error:
            traced[name] = f"`{table.name}`: {error}"
            continue
        chord = [end for end in ends if end is not None]
        if frame is None or frame < 0 or len(chord) < len(ends):
            traced[name] = f"`{table.name}`: expected a frame and both ends of a chord, found {[*row.values()]}"
        else:
            frames.setdefault(frame, []).append(chord)
    return dict(traced)


def outline(chords: Chords) -> tuple[list[float], list[float]]:
    """Return the outline of the ventricle: one end of the short axes down, the other ones back up.

    The first chord is the long axis and no part of it, as in the publisher's code (`echonet/datasets/echo.py`).

    Args:
        chords (`list`): x1, y1, x2, y2 of each, as `read_tracings` gives them.

    Returns:
        `tuple`: rows and columns of the corners, two of each for every chord but the first.

    Example:
        >>> outline([[2, 0, 2, 9], [1, 1, 3, 1], [0, 8, 4, 8]])
        ([1, 8, 8, 1], [1, 0, 4, 3])
    """
    short = chords[1:]
    return [c[1] for c in short] + [c[3] for c in short[::-1]], [c[0] for c in short] + [c[2] for c in short[::-1]]


def traced_roles(frames: Mapping[int, Chords]) -> dict[int, str]:
    """Tell the two traced frames apart: the larger outline is the end of diastole.

    Args:
        frames (`Mapping[int, Chords]`): traced frame -> chords.

    Returns:
        `dict[int, str]`: frame -> `"diastole"` or `"systole"`; empty unless two outlines of different area are given.
    """
    areas = {frame: polygon_area(*outline(chords)) for frame, chords in frames.items()}
    order = sorted(areas, key=areas.__getitem__)
    if len(order) != 2 or areas[order[0]] == areas[order[1]]:
        return {}
    return dict(zip(order, ("systole", "diastole"), strict=True))


def chords_mask(chords: Chords, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill the outline of a tracing.

    Args:
        chords (`list`): as `read_tracings` gives them.
        size (`(int, int)`): height and width of the frame.

    Returns:
        `np.ndarray`: (height, width) bool, true in the left ventricle.
    """
    rows, columns = outline(chords)
    return fill_polygon(rows, columns, size)
