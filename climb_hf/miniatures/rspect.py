"""Synthetic raw copy of RSPECT: drawn chest CT slices as DICOM, and the table of the competition.

Every slice is drawn and every row is made up; none comes from a patient. Slices show two pulmonary arteries full of
contrast. A slice with acute embolism has a dark disc in the middle of both, one with chronic embolism a dark crescent
along the outer wall of both; all others have none.

Oddities of the release that it writes:

* 17 columns of 0 and 1: one of the slice, thirteen of the exam, no column for "acute"; exams of all five kinds:
  acute, chronic, acute on chronic, negative and indeterminate (which is not negative either, and has no positive
  slice); positive exams have negative slices too;
* rows of a study in another order than its slices, names of 12 hexadecimal digits instead of UIDs;
* stored values signed and unsigned, with and without an intercept, padding of -2000 around the field of view, JPEG
  2000 and uncompressed studies, a size that differs, a window of the file's own that is not the one for embolism;
* `test.csv` without labels, with its slices, and `sample_submission.csv`.

`layout="jpeg"` writes the common derivative instead of DICOM: 256 × 256 JPEG whose red, green and blue are the lung,
embolism and mediastinal windows, with the slice number in front of the name.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import (
    Expected,
    check_choice,
    check_count,
    ellipse,
    grid,
    rng,
    save_image,
    smooth_noise,
    to_uint8,
    write_csv,
)
from climb_hf.optional import require

__all__ = ["make"]

_IDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
_COLUMNS = (
    "pe_present_on_image", "negative_exam_for_pe", "qa_motion", "qa_contrast", "flow_artifact", "rv_lv_ratio_gte_1",
    "rv_lv_ratio_lt_1", "leftsided_pe", "chronic_pe", "true_filling_defect_not_pe", "rightsided_pe",
    "acute_and_chronic_pe", "central_pe", "indeterminate",
)  # fmt: skip
_KINDS = ("acute", "chronic", "negative", "indeterminate", "acute_and_chronic", "negative", "chronic", "negative")
_POSITIVE = {  # kind of exam -> class of its positive slices, and the value that says so
    "acute": ("Acute PE", "pe_present_on_image=1 chronic_pe=0"),
    "acute_and_chronic": ("Acute PE", "pe_present_on_image=1 chronic_pe=0"),
    "chronic": ("Chronic PE", "pe_present_on_image=1 chronic_pe=1"),
}
_NEGATIVE = ("No PE", "pe_present_on_image=0")
_COUNTS = (3, 2, 3, 2, 3, 2, 2)  # slices per study, in turn
_SIZES = ((128, 128), (128, 128), (128, 128), (112, 136))
_WINDOWS = ((-600, 1500), (100, 700), (40, 400))  # centre, width of red, green and blue
_MAKERS = ("SIEMENS", "GE MEDICAL SYSTEMS", "TOSHIBA", "Philips")
_DEFECT_HU, _VESSEL_HU = 30, 320


@dataclass(frozen=True)
class _Study:
    number: int
    kind: str
    count: int
    uid: str
    series: str

    @property
    def shape(self) -> tuple[int, int]:
        return _SIZES[self.number % len(_SIZES)]

    def is_positive(self, slice_number: int) -> bool:
        return self.kind in _POSITIVE and slice_number < max(1, self.count - 1)


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "dicom") -> list[Expected]:
    """Write a synthetic RSPECT folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of labelled slices, at least 8; two or three per study.
        seed (`int`, *optional*, defaults to `0`): seed of slices and rows.
        layout (`str`, *optional*, defaults to `"dicom"`): `"dicom"` (`train/`) or `"jpeg"` (`train-jpegs/`).

    Returns:
        `list[Expected]`: in the order of `train.csv`, `split` is `None`; `values`: `raw_labels`, `kind` (of the exam),
        `series`, `exam` (column -> bool), `hu_at` (row, column, Hounsfield units of one pixel), `size` (width,
        height), `instance_number`, `slice_position_mm`, `manufacturer`, `syntax`.

    Raises:
        OptionError: an option out of range.
        DependencyError: pydicom or a pixel encoder is not installed.
    """
    check_count("rspect", n, seed)
    check_choice("rspect", "layout", layout, ("dicom", "jpeg"))
    require("pydicom", extra="dicom")
    require("openjpeg", extra="dicom")
    rows: list[list[object]] = [[*_IDS, *_COLUMNS]]
    expected = []
    for study in _studies(n, seed):
        exam = _exam(study, seed)
        for number in (int(i) for i in rng(seed, "rspect", "order", study.number).permutation(study.count)):
            sop = _uid(seed, "slice", study.number, number)
            name, raw = _POSITIVE[study.kind] if study.is_positive(number) else _NEGATIVE
            rows.append([study.uid, study.series, sop, int(study.is_positive(number)), *exam.values()])
            pixels, place = _slice(study, number, seed)
            values: dict[str, object] = {
                "raw_labels": (raw,),
                "kind": study.kind,
                "series": study.series,
                "exam": {column: bool(value) for column, value in exam.items()},
                "hu_at": (*place, int(pixels[place])),
                "size": (pixels.shape[1], pixels.shape[0]),
            }
            if layout == "dicom":
                path = root / "train" / study.uid / study.series / f"{sop}.dcm"
                values |= _write_dicom(path, study, number, sop, pixels)
            else:
                _write_jpeg(root / "train-jpegs" / study.uid / study.series / f"{number:04d}_{sop}.jpg", pixels)
            expected.append(Expected(sop, None, study.uid, (name,), values))
    write_csv(root / "train.csv", rows)
    _write_test(root, seed)
    return expected


def _uid(seed: int, *key: object) -> str:
    return hashlib.md5(f"{seed} rspect {key}".encode(), usedforsecurity=False).hexdigest()[:12]


def _studies(n: int, seed: int) -> list[_Study]:
    studies: list[_Study] = []
    left = n
    while left > 0:
        i = len(studies)
        count = min(left, _COUNTS[i % len(_COUNTS)])
        kind = _KINDS[i % len(_KINDS)]
        studies.append(_Study(i, kind, count, _uid(seed, "study", i), _uid(seed, "series", i)))
        left -= count
    return studies


def _exam(study: _Study, seed: int) -> dict[str, int]:
    """The columns of the exam, in the order of the table."""
    random = rng(seed, "rspect", "exam", study.number)
    exam = dict.fromkeys(_COLUMNS[1:], 0)
    if study.kind not in _POSITIVE:
        exam["negative_exam_for_pe" if study.kind == "negative" else "indeterminate"] = 1
        exam["qa_motion" if study.number % 2 else "qa_contrast"] = int(study.kind == "indeterminate")
        exam["true_filling_defect_not_pe"] = int(random.random() < 0.2)
    else:
        exam["rv_lv_ratio_gte_1" if random.random() < 0.4 else "rv_lv_ratio_lt_1"] = 1
        exam["leftsided_pe"] = exam["rightsided_pe"] = 1
        exam["central_pe"] = int(random.random() < 0.3)
        if study.kind != "acute":
            exam[{"chronic": "chronic_pe"}.get(study.kind, "acute_and_chronic_pe")] = 1
    exam["flow_artifact"] = int(random.random() < 0.2)
    return exam


def _slice(study: _Study, number: int, seed: int) -> tuple[NDArray[np.int16], tuple[int, int]]:
    """Whole Hounsfield units of a drawn slice, and the (row, column) of a pixel inside the right-hand artery."""
    random = rng(seed, "rspect", "slice", study.number, number)
    height, width = study.shape
    y, x = grid(height, width, angle=random.uniform(-0.08, 0.08), scale=random.uniform(0.95, 1.05))
    y = y - np.float32(random.uniform(-0.04, 0.04))
    units = np.full((height, width), -1000.0, np.float32)

    def lay(value: float, mask: NDArray[np.floating]) -> None:
        units[...] = units + mask * (np.float32(value) - units)

    lay(40, ellipse(y, x, 0, 0, 0.72, 0.92, edge=0.05))
    for side in (-1, 1):
        lay(-850, ellipse(y, x, 0, side * 0.5, 0.55, 0.33, edge=0.08))
    lay(60, ellipse(y, x, -0.05, 0, 0.45, 0.36, edge=0.1))
    lay(420, ellipse(y, x, 0.55, 0, 0.12, 0.14, edge=0.15))
    units += 15 * smooth_noise(random, height, width, 12)
    radius = random.uniform(0.2, 0.23)
    kind = study.kind if study.is_positive(number) else None
    for side in (-1, 1):
        cy, cx = -0.1, side * 0.3
        lay(_VESSEL_HU, ellipse(y, x, cy, cx, radius, radius, edge=0.1))
        if kind in ("acute", "acute_and_chronic"):
            lay(_DEFECT_HU, ellipse(y, x, cy, cx, radius * 0.6, radius * 0.6, edge=0.15))
        elif kind == "chronic":
            inner = ellipse(y, x, cy, cx - side * radius * 0.6, radius, radius, edge=0.1)
            lay(_DEFECT_HU, ellipse(y, x, cy, cx, radius, radius, edge=0.1) * (1 - inner))
    units += random.normal(0, 10, units.shape).astype(np.float32)
    if study.number % 4 == 2:  # nothing is measured outside the circle of the scanner
        units[np.hypot(*grid(height, width)) > 1] = -3024  # padding -2000 with intercept -1024
    place = np.unravel_index(int(np.argmin(np.hypot(y + 0.1, x - 0.3))), units.shape)
    return np.rint(units).astype(np.int16), (int(place[0]), int(place[1]))


def _write_dicom(path: Path, study: _Study, number: int, sop: str, units: NDArray[np.int16]) -> dict[str, object]:
    """Write one slice; returns the values that its header gives."""
    pydicom = require("pydicom", extra="dicom")
    variant = study.number % 4  # 0 unsigned, 1 signed without intercept, 2 signed with padding, 3 JPEG 2000
    intercept = 0 if variant == 1 else -1024
    position = -100.0 - 1.25 * number
    with pydicom.config.disable_value_validation():
        data = pydicom.dataset.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = pydicom.uid.CTImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = pydicom.uid.UID(sop)
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.file_meta.ImplementationClassUID = pydicom.uid.UID("2.25.1")
        data.StudyInstanceUID, data.SeriesInstanceUID = pydicom.uid.UID(study.uid), pydicom.uid.UID(study.series)
        data.Modality, data.Manufacturer, data.PatientID = "CT", _MAKERS[variant], study.uid
        data.SliceThickness, data.KVP, data.InstanceNumber = 1.25, 100 + 20 * (variant % 2), number + 1
        data.ImagePositionPatient = [-180.0, -180.0, position]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.Rows, data.Columns = units.shape
        data.PixelSpacing = [2.8125, 2.8125]
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16 if variant in (1, 2) else 12, 11
        data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(variant in (1, 2))
        data.WindowCenter, data.WindowWidth = -600, 1500  # not the one for embolism
        data.RescaleIntercept, data.RescaleSlope = intercept, 1
        stored = units.astype(np.int32) - intercept
        if variant == 2:
            data.add_new("PixelPaddingValue", "SS", -2000)
        elif variant != 1:
            stored = np.clip(stored, 0, 4095)
        data.PixelData = stored.astype("<i2" if data.PixelRepresentation else "<u2").tobytes()
        if variant == 3:
            data.compress(pydicom.uid.JPEG2000Lossless, generate_instance_uid=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path, enforce_file_format=True)
    return {
        "instance_number": number + 1,
        "slice_position_mm": position,
        "manufacturer": _MAKERS[variant],
        "syntax": str(data.file_meta.TransferSyntaxUID),
    }


def _write_jpeg(path: Path, units: NDArray[np.int16]) -> None:
    """Write the three windows of a slice as the channels of a picture of 256 × 256."""
    rows, columns = (np.arange(256) * size // 256 for size in units.shape)
    enlarged = units[np.ix_(rows, columns)].astype(np.float32)
    channels = [(enlarged - (center - width / 2)) / width for center, width in _WINDOWS]
    save_image(path, to_uint8(np.stack(channels, axis=-1)), quality=95, subsampling=0)


def _write_test(root: Path, seed: int) -> None:
    """Write the public test set: a table without labels, one study of two slices, and the sample submission."""
    study = _Study(8, "negative", 2, _uid(seed, "test study"), _uid(seed, "test series"))
    rows = [[study.uid, study.series, _uid(seed, "test slice", number)] for number in range(study.count)]
    for number, row in enumerate(rows):
        units, _ = _slice(study, number, seed)
        _write_dicom(root / "test" / row[0] / row[1] / f"{row[2]}.dcm", study, number, row[2], units)
    write_csv(root / "test.csv", [[*_IDS], *rows])
    ids = [f"{study.uid}_{column}" for column in _COLUMNS[1:]] + [row[2] for row in rows]
    write_csv(root / "sample_submission.csv", [["id", "label"], *([name, 0.5] for name in ids)])
