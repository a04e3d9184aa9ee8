"""Polygons filled to masks, against the definition computed with fractions and against known shapes."""

from fractions import Fraction

import numpy as np
import pytest

from climb_hf.readers.polygons import fill_polygon, polygon_area
from climb_hf.readers.tracings import chords_mask, outline, read_tracings, traced_roles


def inside(row, column, rows, columns):
    """Even-odd rule with exact crossings; the outline belongs to the polygon."""
    count = 0
    for i in range(len(rows)):
        (r0, c0), (r1, c1) = (rows[i - 1], columns[i - 1]), (rows[i], columns[i])
        is_between = min(r0, r1) <= row <= max(r0, r1) and min(c0, c1) <= column <= max(c0, c1)
        if is_between and (c1 - c0) * (row - r0) == (column - c0) * (r1 - r0):
            return True
        if (r0 > row) != (r1 > row):
            count += c0 + Fraction((row - r0) * (c1 - c0), r1 - r0) > column
    return count % 2 == 1


def test_random_polygons_equal_the_definition():
    random = np.random.default_rng(0)
    for corners in (1, 2, 3, 3, 4, 5, 8, 13):
        rows, columns = random.integers(-3, 15, (2, corners)).tolist()
        expected = [[inside(r, c, rows, columns) for c in range(12)] for r in range(13)]
        np.testing.assert_array_equal(fill_polygon(rows, columns, (13, 12)), expected)


def test_known_shapes():
    square = fill_polygon([2, 2, 6, 6], [3, 8, 8, 3], (10, 12))
    assert square.sum() == 5 * 6  # both borders belong to it
    assert square[2:7, 3:9].all()
    y, x = np.mgrid[0:112, 0:112]
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    ellipse = fill_polygon(56 + 30 * np.sin(angle), 50 + 17 * np.cos(angle), (112, 112))
    truth = ((y - 56) / 30) ** 2 + ((x - 50) / 17) ** 2 <= 1
    assert (ellipse & truth).sum() / (ellipse | truth).sum() > 0.94
    bow = fill_polygon([0, 4, 0, 4], [0, 4, 4, 0], (5, 5))  # crosses itself in the middle
    assert bow.astype(int).tolist() == [
        [1, 0, 0, 0, 1],
        [1, 1, 0, 1, 1],
        [1, 1, 1, 1, 1],
        [1, 1, 0, 1, 1],
        [1, 0, 0, 0, 1],
    ]


def test_corners_are_rounded_and_what_lies_outside_is_cut():
    assert fill_polygon([0.5, 0.5, 2.4], [0.4, 1.6, 1.5], (4, 4)).astype(int).tolist() == [
        [1, 1, 1, 0],
        [0, 1, 1, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 0],
    ]
    assert fill_polygon([-9, -9, 20, 20], [-9, 20, 20, -9], (3, 4)).all()
    assert not fill_polygon([5, 5, 7], [5, 7, 7], (4, 4)).any()
    assert not fill_polygon([], [], (4, 4)).any()


def test_area():
    assert polygon_area([0, 0, 4], [0, 3, 0]) == 6
    assert polygon_area([4, 0, 0], [0, 3, 0]) == 6
    assert polygon_area([0, 4, 0, 4], [0, 4, 4, 0]) == 0  # two halves that cancel
    assert polygon_area([], []) == 0


def test_tracings_by_hand(tmp_path):
    table = tmp_path / "VolumeTracings.csv"
    rows = [("5", "0", "5", "9", "7"), ("3", "1", "7", "1", "7"), ("2", "8", "8", "8", "7")]
    rows += [("5", "0", "5", "9", "3"), ("4", "1", "6", "1", "3"), ("4", "8", "6", "8", "3")]
    lines = ["FileName,X1,Y1,X2,Y2,Frame", *(f"0XA.avi,{','.join(row)}" for row in rows), "0XB.avi,1,1,oops,1,4"]
    table.write_text("\n".join([*lines, "0XB.avi,1,1,2,1,4", "0XC.avi,1,1,nan,1,4", "0XD.avi,1,1,1,1,-2", ""]))
    found = read_tracings(table)
    assert found["0XA"] == {
        7: [[5, 0, 5, 9], [3, 1, 7, 1], [2, 8, 8, 8]],
        3: [[5, 0, 5, 9], [4, 1, 6, 1], [4, 8, 6, 8]],
    }
    assert "'oops'" in found["0XB"]
    assert all("both ends of a chord" in found[name] for name in ("0XC", "0XD"))
    assert outline(found["0XA"][7]) == ([1, 8, 8, 1], [3, 2, 8, 7])
    assert traced_roles(found["0XA"]) == {3: "systole", 7: "diastole"}
    assert traced_roles({3: found["0XA"][3]}) == traced_roles({}) == {}
    mask = chords_mask(found["0XA"][3], (10, 10))
    assert mask.sum() == 8 * 3
    assert mask[1:9, 4:7].all()


@pytest.mark.parametrize("column", ["FileName", "X1", "Frame"])
def test_a_missing_column_is_named(tmp_path, column):
    table = tmp_path / "VolumeTracings.csv"
    names = [name for name in ("FileName", "X1", "Y1", "X2", "Y2", "Frame") if name != column]
    table.write_text(",".join(names) + "\n")
    with pytest.raises(ValueError, match=f"`{column}` is missing"):
        read_tracings(table)
