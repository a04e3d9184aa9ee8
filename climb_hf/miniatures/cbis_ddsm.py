"""Synthetic raw copy of CBIS-DDSM: drawn mammograms, crops and masks as DICOM or JPEG, with the four case tables.

Every film is drawn and every row is made up; none comes from a patient. A breast is a half ellipse at the chest wall;
each abnormality is a spot whose size and brightness grow with its BI-RADS assessment, and its mask covers the spot.

Oddities of the release that it writes:

* four tables whose records end with CRLF and whose last or last but one cell ends with a line feed inside quotes;
  `breast_density` in the mass tables, `breast density` in the calcification tables; `N/A` cells, density 0;
* paths that name `000000.dcm`, which is on disk as `1-1.dcm`, in folders named after the last five digits of the UIDs,
  some with `DDSM-NA-`; `metadata.csv` of the NBIA Data Retriever links them;
* 16-bit mammograms and crops without window tags, 8-bit masks, in one series of either order, with descriptions that
  may be wrong, or in two series; masks of another size than their mammogram; several abnormalities on an image;
* images with BI-RADS 0 only, an image with 0 and more, an image in both tables of a split as two series;
* patients in train and test (one through a row with BI-RADS 0), one image in both with different assessments;
* a series that no table lists, and `.DS_Store`.
"""

import csv
import io
from dataclasses import dataclass, field
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
    write_bytes,
    write_csv,
    write_text,
)
from climb_hf.optional import require

__all__ = ["make"]

_MANIFEST = "manifest-1600000000000"
_TAIL = ",assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
_WHO = "left or right breast,image view,abnormality id,abnormality type"
_HEADERS = {
    "mass": f"patient_id,breast_density,{_WHO},mass shape,mass margins{_TAIL}",
    "calc": f"patient_id,breast density,{_WHO},calc type,calc distribution{_TAIL}",
}
_SERIES = (
    "Series UID,Collection,3rd Party Analysis,Data Description URI,Subject ID,Study UID,Study Description,Study Date,"
    "Series Description,Manufacturer,Modality,SOP Class Name,SOP Class UID,Number of Images,File Size,File Location,"
    "Download Timestamp"
)
_FILES = "file_path,image_path,PatientID,Laterality,SeriesDescription,SeriesInstanceUID,StudyInstanceUID"
_TYPES = {"mass": "mass", "calc": "calcification"}
_PATHOLOGY = ("BENIGN_WITHOUT_CALLBACK", "BENIGN_WITHOUT_CALLBACK", "BENIGN", "BENIGN", "MALIGNANT", "MALIGNANT")
_SHAPES = (("OVAL", "CIRCUMSCRIBED"), ("IRREGULAR-ARCHITECTURAL_DISTORTION", "SPICULATED"), ("N/A", "N/A"))
_CALCS = (("PLEOMORPHIC", "CLUSTERED"), ("PUNCTATE-AMORPHOUS", "N/A"), ("N/A", "DIFFUSELY_SCATTERED"))
_SIZES = ((120, 80), (112, 84), (128, 72))  # rows, columns
_NAMES = {"train": "Training", "test": "Test"}
_RANK = ("BENIGN_WITHOUT_CALLBACK", "BENIGN", "MALIGNANT")


@dataclass
class _Image:
    """One mammogram of a split: (table, assessment) of each abnormality, and what is odd about it."""

    split: str
    patient: int
    side: str
    view: str
    findings: list[tuple[str, int]]
    odd: str = ""
    film: str = ""  # name of the picture, where another image shows the same
    spots: list[NDArray[np.bool_]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Part of the publisher's PatientID that both tables share."""
        return f"{_NAMES[self.split]}_P_{self.patient:05d}_{self.side}_{self.view}"


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "tcia") -> list[Expected]:
    """Write a synthetic CBIS-DDSM folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of mammograms that the default split uses, at least 8; seven
            more are left out by documented rules.
        seed (`int`, *optional*, defaults to `0`): seed of films and rows.
        layout (`str`, *optional*, defaults to `"tcia"`): `"tcia"` (NBIA Data Retriever), `"uid"` (its older form with
            UIDs for folder names and no `metadata.csv`) or `"kaggle"` (8-bit JPEG).

    Returns:
        `list[Expected]`: train before test, mass before calcification, in the order of the tables; `values`: `view`,
        `laterality`, `density`, `pathology`, `raw_labels`, `size` (width, height), `boxes` (x, y, width, height of
        each mask in the label), `categories`, `mask_pixels` (of the merged mask).

    Raises:
        OptionError: an option out of range.
        DependencyError: pydicom is not installed.
    """
    check_count("cbis_ddsm", n, seed)
    check_choice("cbis_ddsm", "layout", layout, ("tcia", "uid", "kaggle"))
    usable, extra = _plan(n)
    writer = _Writer(root, seed, layout)
    expected: dict[str, Expected] = {}
    for split in _NAMES:
        for table in _HEADERS:
            images = [image for image in usable + extra if image.split == split]
            for image in sorted(images, key=lambda image: (image.patient, image.side, image.view)):
                rows = [k for k, (kind, _) in enumerate(image.findings) if kind == table]
                values = writer.add(image, table, rows) if rows else {}
                if rows and image in usable and image.name not in expected:
                    top = f"BI-RAD {max(value for _, value in image.findings)}"
                    expected[image.name] = Expected(image.name, split, f"P_{image.patient:05d}", (top,), values)
    writer.finish()
    return list(expected.values())


def _plan(n: int) -> tuple[list[_Image], list[_Image]]:
    """The images that the default split uses, and those it leaves out."""
    n_test = max(5, n // 4) if n >= 20 else max(2, n // 4)
    usable = []
    for split, count, first in (("train", n - n_test, 3), ("test", n_test, 1300)):
        for i in range(count):
            kind = "calc" if i % 4 > 1 else "mass"
            image = _Image(split, first + 5 * (i // 2), ("LEFT", "RIGHT")[i // 2 % 2], ("CC", "MLO")[i % 2], [])
            image.findings = [(kind, 1 + i % 5)]
            usable.append(image)
    train, test = usable[: n - n_test], usable[n - n_test :]
    train[1].findings += [("calc", 1)]
    train[2].findings += [("calc", 0)]
    train[3].findings = [("calc", 2), ("calc", 4)]
    train[4].odd = "two series"
    test[0].odd = train[5].odd = "mask of another size"
    leaking = test[1]
    only_zero = _Image("test", 1997, "LEFT", "CC", [("calc", 0)])
    extra = [
        _Image("train", 2, "LEFT", "CC", [("mass", 0)]),
        _Image("train", 4, "RIGHT", "MLO", [("calc", 0), ("calc", 0)]),
        only_zero,
        _Image("train", only_zero.patient, "RIGHT", "CC", [("mass", 4)]),
        _Image("train", leaking.patient, "RIGHT", leaking.view, [("calc", 3)]),
        _Image("train", leaking.patient, leaking.side, leaking.view, [("calc", 5)], film=leaking.name),
        _Image("train", leaking.patient, "RIGHT", test[0].view, [("calc", 0)]),
    ]
    return usable, extra


class _Writer:
    """Writes series and collects the rows of all tables."""

    def __init__(self, root: Path, seed: int, layout: str) -> None:
        self.root, self.seed, self.layout = root, seed, layout
        self.tables: dict[tuple[str, str], list[list[object]]] = {
            (kind, split): [[*_HEADERS[kind].split(",")]] for split in _NAMES for kind in _HEADERS
        }
        self.series: list[list[object]] = [[*_SERIES.split(",")]]
        self.files: list[list[object]] = [[*_FILES.split(",")]]

    def add(self, image: _Image, table: str, rows: list[int]) -> dict[str, object]:
        """Write the series of an image that one table lists; returns the truths of the whole image."""
        picture, spots = _film(image, self.seed)
        folder = f"{_TYPES[table][:4].capitalize()}-{image.name}"
        full = self._write(folder, "full mammogram images", [picture])
        random = rng(self.seed, "cbis_ddsm", folder)
        density = 0 if (image.split, table) == ("test", "calc") and image.patient % 4 else int(image.patient % 4) + 1
        for k in rows:
            number, assessment = rows.index(k) + 1, image.findings[k][1]
            y, x = np.nonzero(spots[k])
            crop = picture[max(0, y.min() - 3) : y.max() + 4, max(0, x.min() - 3) : x.max() + 4]
            mask = spots[k].astype(np.uint8) * 255
            if image.odd == "mask of another size":
                mask = np.kron(mask, np.ones((2, 2), np.uint8))
            cropped, masked = self._pair(f"{folder}_{number}", crop, mask, image, int(random.integers(3)))
            shape = (_SHAPES if table == "mass" else _CALCS)[int(random.integers(3))]
            feeds = ("", "\n") if table == "mass" else ("\n", "")
            cells = [f"P_{image.patient:05d}", density, image.side, image.view, number, _TYPES[table], *shape]
            cells += [assessment, _PATHOLOGY[assessment], int(random.integers(6))]
            cells += [f"{full}/000000.dcm", f"{cropped}{feeds[0]}", f"{masked}{feeds[1]}"]
            self.tables[table, image.split].append(cells)
        counted = [k for k, (_, assessment) in enumerate(image.findings) if assessment]
        counted.sort(key=lambda k: image.findings[k][0] != "mass")
        return {
            "view": image.view,
            "laterality": image.side.lower(),
            "density": density,
            "pathology": max((_PATHOLOGY[image.findings[k][1]] for k in counted), key=_RANK.index, default=None),
            "raw_labels": tuple(str(assessment) for _, assessment in image.findings),
            "size": (picture.shape[1], picture.shape[0]),
            "boxes": [_box(spots[k]) for k in counted],
            "categories": [_TYPES[image.findings[k][0]] for k in counted],
            "mask_pixels": int(np.any([spots[k] for k in counted], axis=0).sum()) if counted else 0,
        }

    def _pair(
        self, folder: str, crop: NDArray[np.uint16], mask: NDArray[np.uint8], image: _Image, order: int
    ) -> tuple[str, str]:
        """Write crop and mask in one of the publisher's arrangements; returns what the table says of them."""
        if image.odd == "two series":
            first = self._write(folder, "cropped images", [crop])
            return f"{first}/000000.dcm", f"{self._write(folder, 'cropped images', [mask])}/000000.dcm"
        pair: list[NDArray[np.uint16] | NDArray[np.uint8]] = [mask, crop] if order else [crop, mask]
        path = self._write(folder, ("ROI mask images", "cropped images")[order % 2], pair)
        return f"{path}/000000.dcm", f"{path}/000001.dcm"

    def _write(self, folder: str, description: str, pictures: list[NDArray[np.uint16] | NDArray[np.uint8]]) -> str:
        """Write a series; returns its `<PatientID>/<Study UID>/<Series UID>`."""
        number = len(self.series)
        random = rng(self.seed, "cbis_ddsm", "uid", number)
        study, series = (f"1.3.6.1.4.1.9590.100.1.2.{random.integers(10**12, 10**13)}{k}{number:05d}" for k in (1, 2))
        middle = "NA-" if number % 4 == 3 else ""
        place = f"CBIS-DDSM/{folder}/08-29-2017-DDSM-{middle}{study[-5:]}/1.000000-{description}-{series[-5:]}"
        if self.layout == "uid":
            place = f"{folder}/{study}/{series}"
        for k, pixels in enumerate(pictures):
            if self.layout == "kaggle":
                name = f"jpeg/{series}/{k + 1}-{number * 3 % 256:03d}.jpg"
                grey = (pixels >> 8 if pixels.dtype == np.uint16 else pixels).astype(np.uint8)
                save_image(self.root / name, grey, quality=95)
                kind = description if number % 5 else ""
                side = folder.split("_")[3][0]
                row = [f"CBIS-DDSM/dicom/{series}/{k}.dcm", f"CBIS-DDSM/{name}", folder, side, kind, series, study]
                self.files.append([*row])
            else:
                base = self.root / ("CBIS-DDSM" if self.layout == "uid" else _MANIFEST)
                file = f"{k:06d}.dcm" if self.layout == "uid" else f"1-{k + 1}.dcm"
                uids = (study, series, f"{series}.{k + 1}")
                _write_dicom(base / place / file, np.ascontiguousarray(pixels), folder, description, uids)
        cells: list[object] = [series, "CBIS-DDSM", "", "", folder, study, "", "08-29-2017", description, "", "MG"]
        cells += ["Secondary Capture Image Storage", "1.2.840.10008.5.1.4.1.1.7", len(pictures), "1.2 MB"]
        self.series.append([*cells, f"./{place}", "2020-09-13T00:00:00"])
        return f"{folder}/{study}/{series}"

    def finish(self) -> None:
        """Write a series without a row, then all tables."""
        self._write("Mass-Training_P_09999_LEFT_CC", "full mammogram images", [np.full((9, 9), 7, np.uint16)])
        tables = self.root if self.layout == "tcia" else self.root / "csv"
        for (kind, split), rows in self.tables.items():
            buffer = io.StringIO()
            csv.writer(buffer, lineterminator="\r\n").writerows(rows)
            write_text(tables / f"{kind}_case_description_{split}_set.csv", buffer.getvalue())
        if self.layout == "tcia":
            write_csv(self.root / _MANIFEST / "metadata.csv", self.series)
            write_text(self.root / _MANIFEST / "LICENSE", "Synthetic data in the format of CBIS-DDSM.\n")
            write_bytes(self.root / _MANIFEST / "CBIS-DDSM" / ".DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64))
        if self.layout == "kaggle":
            write_csv(tables / "dicom_info.csv", self.files)


def _film(image: _Image, seed: int) -> tuple[NDArray[np.uint16], list[NDArray[np.bool_]]]:
    """The (rows, columns) uint16 mammogram, and the mask of each abnormality."""
    key = image.film or image.name
    random = rng(seed, "cbis_ddsm", "film", key)
    height, width = _SIZES[image.patient % len(_SIZES)]
    y, x = grid(height, width)
    wall = x + 1 if image.side == "LEFT" else 1 - x  # distance from the chest wall
    breast = ellipse(y, wall, random.uniform(-0.1, 0.1), 0, 0.85, 1.3, edge=0.1)
    picture = breast * (0.3 + 0.06 * smooth_noise(random, height, width, 8)) + 0.01 * random.random((height, width))
    spots = []
    for k, (_, assessment) in enumerate(image.findings):
        radius = 0.1 + 0.045 * assessment
        centre = (-0.4 if k % 2 else 0.35) + random.uniform(-0.08, 0.08)
        spot = ellipse(y, wall, centre, random.uniform(0.4, 0.6), radius, radius * 1.2, edge=0.3)
        picture = picture + (0.08 + 0.11 * assessment) * spot
        spots.append(spot > 0.5)
    return np.clip(np.rint(picture * 65535), 0, 65535).astype(np.uint16), spots


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    y, x = np.nonzero(mask)
    return int(x.min()), int(y.min()), int(x.max() - x.min() + 1), int(y.max() - y.min() + 1)


def _write_dicom(
    path: Path, pixels: NDArray[np.generic], patient: str, description: str, uids: tuple[str, str, str]
) -> None:
    """Write one Secondary Capture image without window tags."""
    pydicom = require("pydicom", extra="dicom")
    pixels = np.atleast_2d(pixels)
    data = pydicom.dataset.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.ImplementationClassUID = pydicom.uid.UID("2.25.1")
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = pydicom.uid.UID(uids[2])
    data.Modality, data.SeriesDescription = "MG", description
    data.PatientName = data.PatientID = patient
    data.PatientBirthDate = data.PatientSex = ""
    data.StudyInstanceUID, data.SeriesInstanceUID = uids[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    bits = pixels.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = bits, bits, bits - 1, 0
    data.SmallestImagePixelValue, data.LargestImagePixelValue = int(pixels.min()), int(pixels.max())
    content = pixels.astype(f"<u{bits // 8}").tobytes()
    data.PixelData = content + b"\x00" * (len(content) % 2)
    data["PixelData"].VR = "OB" if bits == 8 else "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
