"""Synthetic raw copy of CMMD: drawn mammograms as DICOM in NBIA's folders, and the clinical table as a workbook.

Every mammogram is drawn and every row is made up; none comes from a patient. A benign breast shows one smooth round
mass, a malignant one a larger, brighter mass with spikes; a breast without a row shows neither.

Oddities of the release that it writes:

* D2 folders with four images of which the table lists one breast, the other being unlabelled;
* patients with two rows, some with a benign left and a malignant right breast; one patient whose MLO comes first;
* files numbered 1-1, 1-2, …; side and view stand in the header only (ImageLaterality, ViewCodeSequence);
* the table sorted by id, D1 before D2, ids with gaps, `subtype` in D2 only, numbers as numbers and empty cells absent;
* 8-bit pictures with a sigmoid window of the full range, but 16 bits in the two images of D1-1343;
* `metadata.csv` and `LICENSE` of NBIA's retriever, litter of an operating system.

Pictures have 128 × 96 pixels instead of 2294 × 1914.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from climb_hf.miniatures._common import (
    Expected,
    Floats,
    check_choice,
    check_count,
    ellipse,
    grid,
    rng,
    smooth_noise,
    write_bytes,
    write_csv,
    write_text,
)
from climb_hf.miniatures._xlsx import write_xlsx
from climb_hf.optional import require

__all__ = ["make"]

_HEADER = ("ID1", "LeftRight", "Age", "number", "abnormality", "classification", "subtype")
_ABNORMALITIES = ("mass", "calcification", "both")
_SUBTYPES = ("Luminal A", "Luminal B", "HER2-enriched", "triple negative", None)
_VIEWS = {"CC": ("399162004", "cranio-caudal"), "MLO": ("399368009", "medio-lateral oblique")}
_DATES = ("07-18-2010", "07-18-2011")
_TABLE = "CMMD_clinicaldata_revision"
#: (cohort, class of the left breast, of the right breast); "?" is imaged but not in the table, "" is not imaged.
_KINDS = (
    ("D1", "Benign", ""),
    ("D2", "Malignant", "?"),
    ("D1", "", "Malignant"),
    ("D1", "Benign", "Malignant"),
    ("D2", "?", "Malignant"),
    ("D1", "Benign", "Benign"),
    ("D1", "Malignant", ""),
    ("D2", "?", "Benign"),
)
_SHAPE = (128, 96)
_ROOT = "1.3.6.1.4.1.9590.100.1.2"


@dataclass
class _Patient:
    """One patient: id, age and the class of each breast; `single` leaves the second view of a breast out."""

    name: str
    age: int
    sides: dict[str, str]
    kind: int
    single: bool = False


def make(root: Path, n: int = 32, seed: int = 0, layout: str = "nbia", table: str = "xlsx") -> list[Expected]:
    """Write a synthetic CMMD folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of labelled images, at least 8; images of unlabelled breasts
            come on top. Where it is odd, the last breast has one view and the table says so.
        seed (`int`, *optional*, defaults to `0`): seed of pictures and values.
        layout (`str`, *optional*, defaults to `"nbia"`): `"nbia"`; `"old"`, folder names with `NA` as older retrievers
            wrote them; `"quoted"`, folder names in quotes; `"idc"`, unique identifiers instead of names.
        table (`str`, *optional*, defaults to `"xlsx"`): `"xlsx"`, `"csv"` or `"semicolon"`.

    Returns:
        `list[Expected]`: in the order of the table, CC before MLO; `values`: `age`, `sex`, `laterality`, `view`,
        `breast`, `cohort`, `abnormality`, `subtype`, `file` (path below `root`), `row` (of the table, from 0) and
        `bits`.

    Raises:
        OptionError: `n`, `seed`, `layout` or `table` out of range.
        DependencyError: pydicom is not installed.
    """
    check_count("cmmd", n, seed)
    check_choice("cmmd", "layout", layout, ("nbia", "old", "quoted", "idc"))
    check_choice("cmmd", "table", table, ("xlsx", "csv", "semicolon"))
    require("pydicom", extra="dicom")
    rows: list[tuple[str | int | None, ...]] = [_HEADER]
    series: list[tuple[object, ...]] = []
    expected = []
    for patient in _patients(n, seed):
        files = _write_patient(root, patient, seed, layout, series)
        for side, label in patient.sides.items():
            if label in ("", "?"):
                continue
            random = rng(seed, "cmmd", patient.name, side)
            subtype = random.choice(np.array(_SUBTYPES, object)) if patient.name[1] + label == "2Malignant" else None
            number = 1 if patient.single else 2
            abnormality = str(random.choice(_ABNORMALITIES))
            rows.append((patient.name, side, patient.age, number, abnormality, label, subtype))
            for view in list(_VIEWS)[:number]:
                breast = f"{patient.name}_{side}"
                values = {
                    "age": float(patient.age), "sex": "female", "laterality": side, "view": view, "breast": breast,
                    "cohort": patient.name[:2], "abnormality": abnormality, "subtype": subtype,
                    "file": files[side, view], "bits": 16 if patient.name == "D1-1343" else 8, "row": len(rows) - 2,
                }  # fmt: skip
                expected.append(Expected(f"{breast}_{view}", None, patient.name, (label,), values))
    _write_table(root, table, rows)
    _write_series(root, layout, series)
    return expected


def _patients(n: int, seed: int) -> list[_Patient]:
    """Patients in the order of the table, with n labelled images in all."""
    patients: list[_Patient] = []
    count = {"D1": 0, "D2": 0}
    left = n
    while left > 0:
        kind = len(patients) % len(_KINDS)
        cohort, *labels = _KINDS[kind]
        sides = {side: label for side, label in zip("LR", labels, strict=True) if label}
        if left < 4 and sum(label != "?" for label in sides.values()) == 2:
            sides = {"R": sides["R"]}
        if left == 1:
            sides = {side: label for side, label in sides.items() if label != "?"}
        count[cohort] += 1
        name = f"{cohort}-{count[cohort] * (3 if cohort == 'D1' else 1):04d}"
        age = int(rng(seed, "cmmd", name).integers(20, 85))
        patients.append(_Patient(name, age, sides, kind, single=left == 1))
        left -= 2 * sum(label != "?" for label in sides.values())  # -1 where only one view was due
    first = next(p for p in reversed(patients) if p.name.startswith("D1") and p.kind == 2)
    first.name = "D1-1343"
    return sorted(patients, key=lambda patient: patient.name)


def _write_patient(
    root: Path, patient: _Patient, seed: int, layout: str, series: list[tuple[object, ...]]
) -> dict[tuple[str, str], str]:
    """Write the images of a patient; returns the path of each side and view."""
    random = rng(seed, "cmmd", "folder", patient.name)
    study, group = (int(value) for value in random.integers(10000, 99999, 2))
    date = str(random.choice(_DATES))
    parts = [date, str(study)], ["1.000000", str(group)]
    folders = ["-".join([first, "NA", *(["NA"] if i == 0 else []), last] if layout == "old" else [first, last])
               for i, (first, last) in enumerate(parts)]  # fmt: skip
    uids = [f"{_ROOT}.{int(hashlib.sha256(f'{seed} {patient.name} {i}'.encode()).hexdigest()[:24], 16)}"
            for i in range(2)]  # fmt: skip
    folder = {
        "nbia": f"manifest-1616439774456/CMMD/{patient.name}/{folders[0]}/{folders[1]}",
        "old": f"CMMD/{patient.name}/{folders[0]}/{folders[1]}",
        "quoted": f'The-Chinese-Mammography-Database/"CMMD"/"{patient.name}"/"{folders[0]}"/"{folders[1]}"',
        "idc": f"cmmd/{uids[0]}/{uids[1]}",
    }[layout]
    views = [(side, view) for side in patient.sides for view in _VIEWS][: 1 if patient.single else None]
    if patient.kind == 6:  # the one patient whose MLO comes first
        views.reverse()
    files = {}
    for number, (side, view) in enumerate(views, 1):
        instance = f"{uids[1]}.{number}"
        files[side, view] = f"{folder}/{instance if layout == 'idc' else f'1-{number}'}.dcm"
        picture = _picture(patient.sides[side], side, view, rng(seed, "cmmd", patient.name, side, view))
        _write_dicom(root / files[side, view], patient, side, view, [*uids, instance], picture)
    location = "./" + folder.removeprefix("manifest-1616439774456/")
    series.append((uids[1], "CMMD", "NO", "https://doi.org/10.7937/tcia.eqde-4b16", patient.name, uids[0], "", date,
                   "", "", "MG", "Digital Mammography X-Ray Image Storage - For Presentation",
                   "1.2.840.10008.5.1.4.1.1.1.2", len(views), "26 KB", location, "2021-06-01T10:00:00.0"))  # fmt: skip
    return files


def _picture(label: str, side: str, view: str, random: np.random.Generator) -> Floats:
    """(height, width) picture, 0 to 1; the chest wall is at the left border for L and at the right one for R."""
    height, width = _SHAPE
    y, x = grid(height, width)
    breast = ellipse(y, x, 0, -1, 0.85, 1.5, edge=0.1)
    if view == "MLO":  # the pectoral muscle in the upper corner
        breast = np.maximum(breast, ((y + x) < -1.1).astype(np.float32))
    picture = breast * (0.4 + 0.06 * smooth_noise(random, height, width, 8))
    cy, cx = random.uniform(-0.35, 0.35), random.uniform(-0.55, -0.1)
    if label == "Benign":
        picture += 0.25 * ellipse(y, x, cy, cx, 0.15, 0.2, edge=0.2)
    elif label == "Malignant":
        angle, radius = np.arctan2(y - cy, x - cx), np.hypot(y - cy, x - cx)
        picture += 0.5 * np.clip(1.2 - radius / (0.3 + 0.1 * np.cos(9 * angle)), 0, 1)
    picture = np.clip(picture + random.normal(0, 0.01, _SHAPE), 0, 1)
    return picture if side == "L" else picture[:, ::-1]


def _write_dicom(path: Path, patient: _Patient, side: str, view: str, uids: list[str], picture: Floats) -> None:
    pydicom = require("pydicom", extra="dicom")
    data, code = pydicom.dataset.Dataset(), pydicom.dataset.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = uids[2]
    data.file_meta.ImplementationClassUID = "2.25.1"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = uids[0], uids[1], "MG"
    data.PatientName = data.PatientID = patient.name
    data.PatientSex, data.PatientAge = "F", f"{patient.age:03d}Y"
    data.ImageLaterality = side
    code.CodeValue, code.CodeMeaning = _VIEWS[view]
    code.CodingSchemeDesignator = "SCT"
    data.ViewCodeSequence = [code]
    deep = patient.name == "D1-1343"
    bits = 16 if deep else 8
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = picture.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, 0
    data.ImagerPixelSpacing = ["0.094090909", "0.094090909"]
    data.WindowCenter, data.WindowWidth = 2 ** (bits - 1), 2**bits
    data.RescaleIntercept, data.RescaleSlope, data.VOILUTFunction = 0, 1, "SIGMOID"
    data.PixelData = np.rint(picture * (2**bits - 1)).astype("<u2" if deep else "u1").tobytes()
    data["PixelData"].VR = "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)


def _write_table(root: Path, table: str, rows: list[tuple[str | int | None, ...]]) -> None:
    if table == "xlsx":
        write_xlsx(root / f"{_TABLE}.xlsx", rows)
    elif table == "csv":
        write_csv(root / f"{_TABLE}.csv", rows)
    else:
        lines = (";".join("" if cell is None else str(cell) for cell in row) for row in rows)
        write_text(root / f"{_TABLE}.csv", "\ufeff" + "\r\n".join(lines) + "\r\n")


def _write_series(root: Path, layout: str, series: list[tuple[object, ...]]) -> None:
    """Write what the retriever leaves beside the images, and litter."""
    if layout == "nbia":
        header = (
            "Series UID,Collection,3rd Party Analysis,Data Description URI,Subject ID,Study UID,Study Description,"
            "Study Date,Series Description,Manufacturer,Modality,SOP Class Name,SOP Class UID,Number of Images,"
            "File Size,File Location,Download Timestamp"
        )
        write_csv(root / "manifest-1616439774456" / "metadata.csv", [header.split(","), *series])
        write_text(root / "manifest-1616439774456" / "LICENSE", "Synthetic data in the format of CMMD.\n")
        write_bytes(root / "manifest-1616439774456" / "CMMD" / ".DS_Store", b"\0\0\0\1Bud1")
        write_bytes(root / "manifest-1616439774456" / "CMMD" / "._1-1.dcm", b"\0\5\x16\7")
