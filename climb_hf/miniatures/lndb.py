"""Synthetic raw copy of LNDb: drawn chest CTs as MetaImage with readers' masks, and the tables of the release.

Every voxel is drawn and every row is made up; none comes from a patient. Windows with a nodule of at least 3 mm show a
bright ball in the patient's left lung, those with a smaller one a dot in the right lung, those with a non-nodule a
thin streak.

Oddities of the release that it writes:

* ids with gaps; CTs of one to three readers; `<= 3 mm` findings with the constant volume 14.13716694, of which only
  the centre was marked; findings that one reader calls a nodule and another does not; marks of several readers that
  differ a little, so that they must be merged; numbers of findings that differ between readers, as do their masks;
* CTs without any finding (in `trainCTs.csv` only), CTs of the hidden test set, a stray checkpoint beside the masks;
* windows in which a nodule shows on one slice only, with the next slice behind the window;
* headers whose axes run to the patient's right and anterior, CTs of different size, numbers of slices that are no
  multiple of 12; CRLF line ends; quoted lists; ids written as floats; `trainNodules_gt.csv` may be absent.

`layout="flat"` puts all files into one folder instead of one per archive.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Expected, check_choice, check_count, csv_text, rng, write_bytes, write_text
from climb_hf.miniatures._ct import add_ball, trunk

__all__ = ["make"]

LARGE, SMALL, NONE = "nodule >= 3mm", "nodule < 3mm", "non-nodule"
_KINDS = ("large", "small", "non", "none", "large", "small", "two", "disputed")
_WINDOWS = (1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 3, 1)  # per CT, in turn
_SIZES = ((44, 48), (44, 48), (40, 52))
_VOLUME = 14.13716694
_INTENSITY = 60
_BIG, _DOT, _STREAK = (20, 33), (22, 13), (14, 14)  # rows and columns, counted from anterior and from the right
_TRAITS = ("calcification", "internalStructure", "lobulation", "malignancy", "margin", "sphericity", "spiculation",
           "subtlety")  # fmt: skip


@dataclass
class _Mark:
    """One row of `trainNodules.csv`."""

    reader: int
    number: int
    centre: tuple[float, int, int]  # slice counted from inferior, row, column
    is_nodule: bool
    volume: float


@dataclass
class _Scan:
    number: int
    kind: str
    windows: int
    slices: int
    shape: tuple[int, int]
    voxel: tuple[float, float, float]  # mm: slices, rows, columns
    is_turned: bool
    readers: int
    marks: list[_Mark] = field(default_factory=list)
    masks: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    spans: list[tuple[str, int, int]] = field(default_factory=list)  # class, first and last slice

    @property
    def name(self) -> str:
        return f"LNDb-{self.number:04d}"


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "archives") -> list[Expected]:
    """Write a synthetic LNDb folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of windows of 24 slices, at least 8; one to three per CT.
        seed (`int`, *optional*, defaults to `0`): seed of volumes and rows.
        layout (`str`, *optional*, defaults to `"archives"`): `"archives"` or `"flat"`.

    Returns:
        `list[Expected]`: by CT and window, `split` is `None`; `values`: `file` (of the voxels), `start_slice`,
        `n_slices`, `voxel_mm` (slice, row, column), `is_turned`, `shape` (rows, columns), `mask_readers`, `kind`,
        `paper_class`, and where there is a large nodule in the window `large_at` (slice of the file, row, column).

    Raises:
        OptionError: an option out of range.
    """
    check_count("lndb", n, seed)
    check_choice("lndb", "layout", layout, ("archives", "flat"))
    expected: list[Expected] = []
    scans = _scans(n)
    for position, scan in enumerate(scans):
        units = _draw(scan, rng(seed, "lndb", "volume", scan.number))
        folder = "" if layout == "flat" else f"data{position % 2}/"
        _write_mhd(root / f"{folder}{scan.name}.mhd", units, "MET_SHORT", scan)
        for reader, mask in scan.masks.items():
            name = f"{scan.name}_rad{reader}.mhd"
            _write_mhd(root / (name if layout == "flat" else f"masks/{name}"), mask, "MET_UCHAR", scan)
        expected += _expected(scan, f"{folder}{scan.name}.raw")
    stray = scans[0].name + "_rad1-checkpoint.mhd"
    write_text(root / (stray if layout == "flat" else f"masks/{stray}"), "ObjectType = Image\n")
    hidden = _Scan(312, "none", 1, 36, (44, 48), (1.0, 2.0, 2.0), False, 0)
    hidden_units = _draw(hidden, rng(seed, "lndb", "volume", 312))
    _write_mhd(
        root / ("LNDb-0312.mhd" if layout == "flat" else "data1/LNDb-0312.mhd"), hidden_units, "MET_SHORT", hidden
    )
    _write_tables(root, "" if layout == "flat" else "trainset_csv/", scans, hidden, seed)
    return expected


def _scans(n: int) -> list[_Scan]:
    scans: list[_Scan] = []
    left = n
    while left > 0:
        i = len(scans)
        windows = min(left, _WINDOWS[i % len(_WINDOWS)])
        kind = "border" if windows > 1 else _KINDS[i % len(_KINDS)]
        voxel = (1.4, 2.0, 2.0) if kind == "border" else (1.0, 2.0, 2.0)
        slices = 24 + 12 * windows + i % 11
        readers = 3 if kind == "border" else 2 if kind == "disputed" else 1 + i % 3
        number = i + 1 + i // 5
        scans.append(_Scan(number, kind, windows, slices, _SIZES[i % 3], voxel, i % 3 == 1, readers))
        left -= windows
    return scans


def _draw(scan: _Scan, random: np.random.Generator) -> NDArray[np.int16]:
    """Draw a CT and fill in its marks, masks and spans; slices from inferior, as in the file."""
    units = trunk(random, (scan.slices, *scan.shape), lungs=True)[::-1].copy()
    for reader in range(1, scan.readers + 1):
        scan.masks[reader] = np.zeros(units.shape, np.uint8)
    if scan.kind in ("large", "two"):
        _add_large(scan, units, 14, 6.0)
    if scan.kind in ("small", "two"):
        _add_dot(scan, units, 10, range(1, scan.readers + 1))
    if scan.kind == "non":
        _add_streak(scan, units, 12)
    if scan.kind == "disputed":  # one reader sees a small nodule where the other sees none
        _add_dot(scan, units, 15, (1,))
        scan.marks.append(_Mark(2, 1, (15, *_DOT), False, _VOLUME))
        scan.spans.append((NONE, 13, 17))
    if scan.kind == "border":  # slices 23 to 27 and 0 to 4
        _add_large(scan, units, 25, 3.5)
        _add_dot(scan, units, 2, (2,))
    return np.rint(units).astype(np.int16)


def _next(scan: _Scan, reader: int) -> int:
    return 1 + sum(mark.reader == reader for mark in scan.marks)


def _add_large(scan: _Scan, units: NDArray[np.float64], centre: int, radius: float) -> None:
    """A ball whose outermost slices only the first reader has in the mask."""
    inside = add_ball(units, (centre, *_BIG), radius, scan.voxel, _INTENSITY)
    slices = np.flatnonzero(inside.any(axis=(1, 2)))
    for reader in range(1, scan.readers + 1):
        if reader == 2:  # so that a finding's number differs between readers
            scan.marks.append(_Mark(2, _next(scan, 2), (30, *_STREAK), False, _VOLUME))
            scan.spans.append((NONE, 28, 32))
        number, own = _next(scan, reader), radius - scan.voxel[0] * (reader > 1)
        add_ball(scan.masks[reader], (centre, *_BIG), own, scan.voxel, number)
        place = (centre + 0.3 * (reader - 1), *_BIG)
        scan.marks.append(_Mark(reader, number, place, True, 4 / 3 * np.pi * own**3))
    scan.spans.append((LARGE, int(slices[0]), int(slices[-1])))


def _add_dot(scan: _Scan, units: NDArray[np.float64], centre: int, readers: "range | tuple[int, ...]") -> None:
    add_ball(units, (centre, *_DOT), 2.1, scan.voxel, _INTENSITY + 400)
    for reader in readers:
        number = _next(scan, reader)
        add_ball(scan.masks[reader], (centre, *_DOT), 1.5, scan.voxel, number)
        scan.marks.append(_Mark(reader, number, (centre, *_DOT), True, _VOLUME))
    scan.spans.append((SMALL, max(0, centre - 2), centre + 2))


def _add_streak(scan: _Scan, units: NDArray[np.float64], centre: int) -> None:
    row, column = _STREAK
    units[centre - 6 : centre + 7, row, column - 4 : column + 5] = _INTENSITY
    scan.marks.append(_Mark(1, 1, (centre, *_STREAK), False, _VOLUME))
    scan.spans.append((NONE, centre - 2, centre + 2))


def _expected(scan: _Scan, file: str) -> list[Expected]:
    rows = []
    for window in range(scan.windows):
        start = 12 * window
        values: dict[str, object] = {
            "file": file,
            "start_slice": start,
            "n_slices": scan.slices,
            "voxel_mm": scan.voxel,
            "is_turned": scan.is_turned,
            "shape": scan.shape,
            "mask_readers": sorted(scan.masks),
            "kind": scan.kind,
            "paper_class": _class(scan, start, start + 25),
        }
        name = _class(scan, start, start + 24)
        if name == LARGE:
            centre = 25 if scan.kind == "border" else 14
            values["large_at"] = (centre, *_BIG)
        rows.append(Expected(f"{scan.name}_{start:03d}", None, scan.name, (name,), values))
    return rows


def _class(scan: _Scan, start: int, stop: int) -> str:
    counts = {LARGE: 0, SMALL: 0, NONE: 0}
    for name, first, last in scan.spans:
        counts[name] += len(set(range(start, stop)) & set(range(first, last + 1)))
    return LARGE if counts[LARGE] >= 2 else SMALL if counts[SMALL] >= 2 else NONE


def _world(scan: _Scan, centre: tuple[float, int, int]) -> tuple[float, float, float]:
    """World mm (to the left, posterior, superior) of a voxel given as slice from inferior, row, column."""
    z, row, column = centre
    rows, columns = scan.shape
    x = (column - (columns - 1) / 2) * scan.voxel[2] + 3.5
    y = (row - (rows - 1) / 2) * scan.voxel[1] - 150.25
    return x, y, z * scan.voxel[0] - 300.5


def _write_mhd(path: Path, array: NDArray[np.generic], kind: str, scan: _Scan) -> None:
    """Write header and voxels; a turned CT has rows from posterior and columns from the left."""
    rows, columns = scan.shape
    stored = array[:, ::-1, ::-1] if scan.is_turned else array
    corner = (0.0, rows - 1, columns - 1) if scan.is_turned else (0.0, 0, 0)
    origin = _world(scan, (corner[0], int(corner[1]), int(corner[2])))
    matrix = "-1 0 0 0 -1 0 0 0 1" if scan.is_turned else "1 0 0 0 1 0 0 0 1"
    slices, height, width = scan.voxel
    lines = (
        "ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False",
        "CompressedData = False", f"TransformMatrix = {matrix}", f"Offset = {' '.join(f'{v:.10g}' for v in origin)}",
        "CenterOfRotation = 0 0 0", f"AnatomicalOrientation = {'LPI' if scan.is_turned else 'RAI'}",
        f"ElementSpacing = {width} {height} {slices}", f"DimSize = {columns} {rows} {len(stored)}",
        f"ElementType = {kind}", f"ElementDataFile = {path.stem}.raw",
    )  # fmt: skip
    write_text(path, "\n".join(lines) + "\n")
    write_bytes(
        path.with_suffix(".raw"), np.ascontiguousarray(stored).astype("<i2" if kind == "MET_SHORT" else "u1").tobytes()
    )


def _table(path: Path, rows: Sequence[Sequence[object]]) -> None:
    write_text(path, csv_text(rows).replace("\n", "\r\n"))


def _write_tables(root: Path, folder: str, scans: list[_Scan], hidden: _Scan, seed: int) -> None:
    marks: list[list[object]] = [["LNDbID", "RadID", "FindingID", "x", "y", "z", "Nodule", "Volume", "Text"]]
    traits: list[list[object]] = [["LNDbID", "RadID", "FindingID", *_TRAITS]]
    for scan in scans:
        for mark in sorted(scan.marks, key=lambda mark: (mark.reader, mark.number)):
            place = [f"{value:.10g}" for value in _world(scan, mark.centre)]
            key = [scan.number, mark.reader, mark.number]
            marks.append([*key, *place, int(mark.is_nodule), f"{mark.volume:.10g}", 5 if mark.is_nodule else 0])
            random = rng(seed, "lndb", "traits", *key)
            traits.append([*(f"{value}.0" for value in key), *(f"{v}.0" for v in random.integers(1, 6, len(_TRAITS)))])
    _table(root / f"{folder}trainNodules.csv", marks)
    _table(root / f"{folder}trainCTs.csv", [["LNDbID", "RadN"], *[[s.number, s.readers] for s in scans]])
    risks = [[scan.number, 3 if scan.kind == "large" else 0] for scan in scans]
    _table(root / f"{folder}trainFleischner.csv", [["LNDbID", "Fleischner"], *risks])
    numbers: list[object] = [scan.number for scan in scans]
    numbers += [""] * (-len(numbers) % 4)
    folds = [numbers[i : i + 4] for i in range(0, len(numbers), 4)]
    _table(root / f"{folder}trainFolds.csv", [["Fold0", "Fold1", "Fold2", "Fold3"], *folds])
    _table(root / "testCTs.csv", [["LNDbID"], [hidden.number]])
    _table(root / "testNodules.csv", [["LNDbID", "FindingID", "x", "y", "z"], [hidden.number, 1, 1.5, -150, -290]])
    _table(root / "chars_trainNodules.csv", traits)
    columns = (
        "LNDbID,Modality,Manufacturer,ManufacturerModelName,SliceThickness,KVP,Exposure,ConvolutionKernel,PixelSpacing"
    )
    rows: list[list[object]] = [[*columns.split(",")]]
    for scan in [*scans, hidden]:
        kernel = "B50f" if hashlib.md5(scan.name.encode(), usedforsecurity=False).digest()[0] % 2 else "B60f"
        spacing = str([str(value) for value in scan.voxel[1:]])
        rows.append([scan.number, "CT", "SIEMENS", "Sensation 16", 1.0, 120, 50 + scan.number % 7, kernel, spacing])
    _table(root / "LNDbAcqParams.csv", rows)
