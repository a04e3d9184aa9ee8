"""Synthetic raw copy of VinDr-Mammo: drawn mammograms as DICOM, breast-level and finding tables, header table.

Every mammogram is drawn and every row is made up; none comes from a patient. BI-RADS 1 is a plain breast, 2 has one
round calcification, 3 a smooth mass, 4 a cluster of dots, 5 a large bright mass with spikes; both views of a breast
show it.

Oddities of the release that it writes:

* one row per image in `breast-level_annotations.csv` in another order than the files; the class is the breast's;
* `finding_annotations.csv` repeats an image once per box, has `No Finding` rows without corners, lists of categories
  in one quoted cell, empty `finding_birads`, boxes that leave the picture on either side;
* `metadata.csv` headed by tag names with apostrophes and stray spaces, ages missing there or in the headers;
* DICOM with a dummy SOP class, MONOCHROME1 and 2, 10 to 14 of 16 bits, padding (a value or a range) that is black,
  windows single and double, LINEAR, LINEAR_EXACT, SIGMOID and a VOI look-up table, one JPEG 2000 and one RLE file;
* `index.html` files, as a recursive download leaves them.

Pictures have about 160 × 128 pixels instead of 3518 × 2800.
"""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.miniatures._common import (
    Expected,
    Floats,
    check_count,
    ellipse,
    grid,
    rng,
    sha256_lines,
    smooth_noise,
    write_csv,
    write_text,
)
from climb_hf.optional import require

__all__ = ["make"]

_BREAST = [
    "study_id", "series_id", "image_id", "laterality", "view_position", "height", "width", "breast_birads",
    "breast_density", "split",
]  # fmt: skip
_FINDING = ("finding_categories", "finding_birads", "xmin", "ymin", "xmax", "ymax")
_TAGS = (
    "SOP Instance UID", "Series Instance UID", "Study Instance UID", " Manufacturer", "Manufacturer's Model Name ",
    "Patient's Age", "Rows", "Columns",
)  # fmt: skip
_CATEGORIES = {  # BI-RADS of the breast -> categories of its box, BI-RADS of the finding
    2: (["Skin Thickening"], None),
    3: (["Focal Asymmetry"], "BI-RADS 3"),
    4: (["Suspicious Calcification"], "BI-RADS 4"),
    5: (["Mass", "Skin Retraction"], "BI-RADS 5"),
}
_VIEWS = (("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO"))
_SHAPES = ((160, 128), (176, 140), (152, 152))
_MODELS = (("SIEMENS", "Mammomat Inspiration"), ("IMS s.r.l.", "GIOTTO CLASS"), ("Planmed", "Planmed Nuance"))
_PAD = 6  # columns of padding beside the breast


def make(root: Path, n: int = 32, seed: int = 0) -> list[Expected]:
    """Write a synthetic VinDr-Mammo folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of images, at least 8, four per study; the last study has the
            rest. Three of eight studies are test. Every class is in both splits from 32 on.
        seed (`int`, *optional*, defaults to `0`): seed of pictures and values.

    Returns:
        `list[Expected]`: in the order of the breast-level table; `values`: `age`, `sex`, `laterality`, `view`,
        `density`, `boxes` (clipped [x, y, width, height] with their category, one per category), `n_findings` (rows
        with a box), `photometric`, `voi`, `padded` (columns of padding), `size` (width, height), `model`.

    Raises:
        OptionError: `n` or `seed` out of range.
        DependencyError: pydicom or a pixel encoder is not installed.
    """
    check_count("vindr_mammo", n, seed)
    require("pydicom", extra="dicom")
    require("openjpeg", extra="dicom")
    tables = [list(_BREAST)], [[*_BREAST, *_FINDING]], [list(_TAGS)]
    expected = [_add(root, int(number), n, seed, *tables) for number in rng(seed, "vindr_mammo").permutation(n)]
    for name, table in zip(("breast-level_annotations", "finding_annotations", "metadata"), tables, strict=True):
        write_csv(root / f"{name}.csv", table)
    write_text(root / "LICENSE.txt", "Synthetic data in the format of VinDr-Mammo. No patient is behind any of it.\n")
    write_text(root / "SHA256SUMS.txt", sha256_lines(root))
    for folder in (root, root / "images", *sorted((root / "images").iterdir())):
        write_text(folder / "index.html", "<html><head><title>Index of /</title></head></html>\n")
    return expected


def _add(
    root: Path,
    number: int,
    n: int,
    seed: int,
    breasts: list[list[str]],
    findings: list[list[str]],
    tags: list[list[str]],
) -> Expected:
    """Write one image and its rows; returns what a reader finds."""
    study, (side, view), n_studies = number // 4, _VIEWS[number % 4], -(-n // 4)
    first_test = n_studies - max(1, 3 * n_studies // 8)
    split = "test" if study >= first_test else "train"
    study_id, series_id, image_id = (
        hashlib.md5(f"{seed} {what}".encode(), usedforsecurity=False).hexdigest()
        for what in (f"study {study}", f"series {study}", f"image {number}")
    )
    place = 2 * (study - first_test * (split == "test")) + (side == "R")  # breasts go round the classes in each split
    birads, shape = (3, 5, 1, 4, 2)[place % 5], _SHAPES[study % len(_SHAPES)]
    picture, box = _picture(birads, side, view, shape, rng(seed, "vindr_mammo", number))
    age = int(rng(seed, "vindr_mammo", "age", study).integers(25, 85))
    path = root / "images" / study_id / f"{image_id}.dicom"
    values = _write_dicom(path, number, picture, side, None if number % 8 == 2 else age)
    density, (maker, model) = f"DENSITY {'ABCD'[study % 4]}", _MODELS[study % 3]
    size = [str(length) for length in shape]
    published = "training" if split == "train" else "test"
    breasts.append([study_id, series_id, image_id, side, view, *size, f"BI-RADS {birads}", density, published])
    rows, boxes = _boxes(birads, box, number, shape)
    findings += [[*breasts[-1], *cells] for cells in rows]
    tags.append([image_id, series_id, study_id, maker, model, "" if number % 8 in (5, 7) else f"{age:03d}Y", *size])
    values |= {
        "age": float(age), "laterality": side, "view": view, "density": density, "model": model, "boxes": boxes,
        "n_findings": len(rows) if rows[0][2] else 0, "size": shape[::-1],
    }  # fmt: skip
    return Expected(image_id, split, study_id, (f"BI-RAD {birads}",), values)


def _boxes(
    birads: int, box: tuple[float, ...], number: int, shape: tuple[int, int]
) -> tuple[list[list[str]], list[tuple[list[float], str]]]:
    """Rows of the finding table without the breast's columns, and the boxes that follow."""
    if birads == 1 or (birads == 2 and number % 3):
        return [[str(["No Finding"]), "", "", "", "", ""]], []
    categories, assessment = _CATEGORIES[birads]
    corners = [box, (box[0] + 2, box[1] + 2, box[2] - 2, box[3] - 2)][: 2 if birads == 4 else 1]
    rows, boxes = [], []
    for x0, y0, x1, y1 in corners:
        rows.append([str(categories), assessment or "", *(f"{value:.6f}" for value in (x0, y0, x1, y1))])
        left, top, right, bottom = max(x0, 0.0), max(y0, 0.0), min(x1, shape[1]), min(y1, shape[0])
        boxes += [([left, top, right - left, bottom - top], category) for category in categories]
    return rows, boxes


def _picture(
    birads: int, side: str, view: str, shape: tuple[int, int], random: np.random.Generator
) -> tuple[Floats, tuple[float, ...]]:
    """(height, width) picture, 0 to 1, and the corners of its finding; the chest wall is at the left for L."""
    height, width = shape
    y, x = grid(height, width)
    breast = ellipse(y, x, 0, -1, 0.85, 1.4, edge=0.1)
    if view == "MLO":
        breast = np.maximum(breast, ((y + x) < -1.2).astype(np.float32))
    picture = 0.35 * breast + 0.05 * breast * smooth_noise(random, height, width, 8)
    cy, cx = random.uniform(-0.35, 0.35), random.uniform(-0.6, -0.2)
    radius = {1: 0.1, 2: 0.12, 3: 0.22, 4: 0.3, 5: 0.34}[birads]
    if birads == 5 and view == "CC":
        cx = -0.8  # cut by the border
    distance, angle = np.hypot(y - cy, x - cx), np.arctan2(y - cy, x - cx)
    if birads == 2:
        picture += 0.6 * np.clip((radius - distance) / 0.04, 0, 1)
    elif birads == 3:
        picture += 0.2 * np.clip((radius - distance) / 0.1, 0, 1)
    elif birads == 4:
        for dy, dx in random.uniform(-0.8, 0.8, (14, 2)):
            picture += 0.5 * ellipse(y, x, cy + dy * radius, cx + dx * radius, 0.035, 0.035, edge=0.5)
    elif birads == 5:
        picture += 0.6 * np.clip(1.3 - distance / (radius * (0.8 + 0.25 * np.cos(11 * angle))), 0, 1)
    picture = np.clip(picture + random.normal(0, 0.01, shape), 0, 1)
    x0, x1 = ((cx + d) * (width - 1) / 2 + (width - 1) / 2 for d in (-radius, radius))
    y0, y1 = ((cy + d) * (height - 1) / 2 + (height - 1) / 2 for d in (-radius, radius))
    if side == "R":
        picture, x0, x1 = picture[:, ::-1], width - x1, width - x0
    return picture, tuple(round(float(value), 6) for value in (x0, y0, x1, y1))


def _write_dicom(path: Path, number: int, picture: Floats, side: str, age: int | None) -> dict[str, Any]:
    """Write one image; returns what its header says."""
    pydicom = require("pydicom", extra="dicom")
    data: Any = pydicom.dataset.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    bits, inverted = (12, 14, 10)[number % 3], number % 4 == 1
    top = 2**bits - 1
    stored = np.rint(40 + (top - 80) * (1 - picture if inverted else picture)).astype(np.uint16)
    padded = ((0, _PAD) if side == "R" else (picture.shape[1] - _PAD, picture.shape[1])) if number % 2 else None
    if padded:
        data.PixelPaddingValue = 0
        if number % 3 == 2:
            data.PixelPaddingRangeLimit = 10
        stored[:, padded[0] : padded[1]] = 5 if number % 3 == 2 else 0
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = pydicom.uid.UID(path.stem)
        data.file_meta.MediaStorageSOPClassUID = pydicom.uid.UID("1.2.3.4")
        data.file_meta.ImplementationClassUID = pydicom.uid.UID("2.25.1")
        data.PatientSex, data.Modality, data.ImageLaterality = "F", "MG", side
        if age is not None:
            data.PatientAge = f"{age:03d}Y"
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME1" if inverted else "MONOCHROME2"
        data.Rows, data.Columns = picture.shape
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, bits, bits - 1, 0
        data.ImagerPixelSpacing = [0.085, 0.085]
        voi = _set_display(data, number, top)
        data.PixelData = stored.astype("<u2").tobytes()
        if syntax := {2: pydicom.uid.JPEG2000Lossless, 3: pydicom.uid.RLELossless}.get(number):
            data.compress(syntax, generate_instance_uid=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(path, enforce_file_format=True)
    return {"sex": "female", "photometric": str(data.PhotometricInterpretation), "voi": voi, "padded": padded}


def _set_display(data: Any, number: int, top: int) -> str:  # noqa: ANN401 - a pydicom Dataset
    """Give an image of values up to `top` a window or look-up table; returns which."""
    voi = ("LINEAR", "", "LINEAR_EXACT", "SIGMOID", "LUT")[number % 5]
    if voi == "LUT":
        item = require("pydicom", extra="dicom").dataset.Dataset()
        item.add_new("LUTDescriptor", "US", [top + 1, 0, 16])
        item.add_new("LUTData", "OW", np.linspace(0, 65535, top + 1).astype("<u2").tobytes())
        data.VOILUTSequence = [item]
    else:
        center, width = top // 2, top - 80
        data.WindowCenter, data.WindowWidth = (center, width) if number % 2 else ([center, 99], [width, 99])
        if voi:
            data.VOILUTFunction = voi
    if number % 2 == 0:
        data.RescaleIntercept, data.RescaleSlope, data.RescaleType = 0, 1, "US"
    return voi or "LINEAR"
