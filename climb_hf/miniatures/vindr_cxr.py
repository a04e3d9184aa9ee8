"""Synthetic raw copy of VinDr-CXR: drawn chest films as DICOM, three readers per training film, boxes.

Every film is drawn and every vote is made up; none comes from a patient. Lung tumor is one bright mass, Pneumonia a
patch over a lower lung, Tuberculosis small dots in both upper lungs, COPD long dark lungs with a narrow heart, Other
diseases a large heart; No finding has none of these.

Oddities of the release that it writes:

* three rows per training film (`rad_id` R1 to R17) that disagree: at least two votes of a class make the label, one
  vote makes it `uncertain`; training films where no class has a majority (from n = 32 on); votes as `1` in one file
  and as `1.0` in the other, a few empty cells for 0;
* the test table has no `rad_id` and says `Other disease`;
* tables in another order than the files, box rows with empty corners for `No finding`;
* DICOM without Modality, PatientID or UIDs in the data set, MediaStorageSOPInstanceUID = image id, 12 of 16 bits
  stored, MONOCHROME1 and MONOCHROME2, windows that are absent, single or double, rescale tags present or absent, age
  `043Y`, empty or absent, one JPEG 2000 and one RLE file per split among uncompressed ones;
* `index.html` files, as a recursive download leaves them.
"""

import hashlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from pydicom.dataset import FileMetaDataset

__all__ = ["make"]

_LOCAL = (
    "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,Edema,Emphysema,"
    "Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,Mediastinal shift,Nodule/Mass,Pleural effusion,"
    "Pleural thickening,Pneumothorax,Pulmonary fibrosis,Rib fracture,Other lesion"
)
_CLASSES = ("Lung tumor", "Pneumonia", "Tuberculosis", "COPD", "Other diseases", "No finding")  # Table 7
_GLOBAL = "COPD,Lung tumor,Pneumonia,Tuberculosis,Other diseases,No finding"  # order of the columns
_SIGN = {  # class -> local finding that its box names
    "Lung tumor": "Nodule/Mass",
    "Pneumonia": "Consolidation",
    "Tuberculosis": "Infiltration",
    "COPD": "Emphysema",
    "Other diseases": "Cardiomegaly",
}
_SHAPES = ((192, 160), (176, 176), (208, 192), (224, 184))

_Box = tuple[float, float, float, float]  # x_min, y_min, x_max, y_max in pixels


def make(root: Path, n: int = 32, seed: int = 0) -> list[Expected]:
    """Write a synthetic VinDr-CXR folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of films, at least 8; about a quarter are test films. Every
            class is in both splits from 24 on.
        seed (`int`, *optional*, defaults to `0`): seed of films and votes.

    Returns:
        `list[Expected]`: train before test, each in the order of its label table; `values`: `age`, `sex`,
        `uncertain` (Table 7 strings), `n_boxes` (rows with corners, all readers together), `votes` (class -> number
        of readers; train only), `rad_ids` (train only), `photometric`, `size` (width, height).

    Raises:
        OptionError: `n` or `seed` out of range.
        DependencyError: pydicom or a pixel encoder is not installed.
    """
    check_count("vindr_cxr", n, seed)
    require("pydicom", extra="dicom")
    require("openjpeg", extra="dicom")
    test = min(max(6, n // 4), n // 2)
    expected = []
    for split, count in (("train", n - test), ("test", test)):
        random = rng(seed, "vindr_cxr", split)
        tables = _Tables(split)
        for number in random.permutation(count):
            identity = hashlib.md5(f"{seed} {split} {number}".encode(), usedforsecurity=False).hexdigest()
            film = rng(seed, "vindr_cxr", split, int(number))
            positive, readers = _reading(int(number), n, split == "train", film)
            shape = _SHAPES[int(number) % len(_SHAPES)]
            picture, boxes = _film(positive, shape, film)
            values = _write_dicom(root / split / f"{identity}.dicom", identity, int(number), picture, film)
            values |= tables.add(identity, readers if split == "train" else [positive], boxes, film)
            expected.append(Expected(identity, split, identity, tuple(c for c in _CLASSES if c in positive), values))
        write_csv(root / "annotations" / f"image_labels_{split}.csv", tables.labels)
        write_csv(root / "annotations" / f"annotations_{split}.csv", tables.annotations)
    write_text(root / "LICENSE.txt", "Synthetic data in the format of VinDr-CXR. No patient is behind any of it.\n")
    write_text(root / "SHA256SUMS.txt", sha256_lines(root))
    for folder in ("", "train/", "test/", "annotations/"):
        write_text(root / f"{folder}index.html", "<html><head><title>Index of /</title></head></html>\n")
    return expected


def _reading(number: int, n: int, train: bool, random: np.random.Generator) -> tuple[set[str], list[set[str]]]:
    """Majority classes of a film and what each of three readers says."""
    if train and number % 96 == 13 and n >= 32:  # three opinions, no majority
        return set(), [{"Pneumonia"}, {"Tuberculosis"}, {"No finding"}]
    positive = {_CLASSES[number % 6]}
    if positive != {"No finding"} and random.random() < 0.25:
        positive.add(str(random.choice(_CLASSES[:3])))  # never COPD with a large heart
    odd = set(positive)
    if number % 2 == 1:  # the third reader differs
        others = sorted(set(_CLASSES[:5]) - positive)
        if positive == {"No finding"}:
            odd = {str(random.choice(others))}
        elif random.random() < 0.5:
            odd = {"No finding"}
        else:
            odd.add(str(random.choice(others)))
    readers = [positive, positive, odd]
    return positive, [readers[i] for i in random.permutation(3)]


class _Tables:
    """The label table and the box table of one split, row by row."""

    def __init__(self, split: str) -> None:
        self.train = split == "train"
        who = ["image_id", "rad_id"] if self.train else ["image_id"]
        columns = f"{_LOCAL},{_GLOBAL}" if self.train else f"{_LOCAL},{_GLOBAL}".replace("diseases", "disease")
        self.labels: list[list[object]] = [[*who, *columns.split(",")]]
        self.annotations: list[list[object]] = [[*who, "class_name", "x_min", "y_min", "x_max", "y_max"]]

    def add(
        self, identity: str, readers: list[set[str]], boxes: dict[str, list[_Box]], random: np.random.Generator
    ) -> dict[str, object]:
        """Append the rows of one film; returns the values that follow from them."""
        rads = [f"R{i}" for i in sorted(random.choice(np.arange(1, 18), len(readers), replace=False))]
        count = 0
        for rad, found in zip(rads, readers, strict=True):
            who = [identity, rad] if self.train else [identity]
            marked = found | {_SIGN[c] for c in found if c in _SIGN}
            cells: list[object] = [int(c in marked) for c in f"{_LOCAL},{_GLOBAL}".split(",")]
            if len(self.labels) % 9 == 4 and cells[2] == 0:
                cells[2] = None  # `Calcification`, never drawn
            self.labels.append([*who, *(cells if self.train else [c if c is None else float(str(c)) for c in cells])])
            for name in sorted(found):
                for box in boxes[name] if name in _SIGN else ():
                    jitter = random.uniform(-2, 2, 4) if self.train else np.zeros(4)
                    corners = [round(float(max(0.0, v)), 1) for v in np.array(box) + jitter]
                    self.annotations.append([*who, _SIGN[name], *corners])
                    count += 1
            if found == {"No finding"}:
                self.annotations.append([*who, "No finding", None, None, None, None])
        if not self.train:
            return {"uncertain": (), "n_boxes": count}
        votes = {c: sum(c in found for found in readers) for c in _CLASSES}
        uncertain = tuple(c for c in _CLASSES if votes[c] == 1)
        return {"uncertain": uncertain, "n_boxes": count, "votes": votes, "rad_ids": tuple(rads)}


def _film(
    classes: set[str], shape: tuple[int, int], random: np.random.Generator
) -> tuple[Floats, dict[str, list[_Box]]]:
    """(height, width) picture, 0 black to 1 white, and where each class would show, present or not."""
    height, width = shape
    scale = random.uniform(0.95, 1.05)
    y, x = grid(height, width, scale=scale)
    shift = random.uniform(-0.04, 0.04, 2)
    y, x = y - shift[0], x - shift[1]
    picture = 0.55 * ellipse(y, x, 0.25, 0, 1.25, 0.95, edge=0.1) + 0.06 * smooth_noise(random, height, width, 9)
    blown = "COPD" in classes
    for side in (-1, 1):
        lung = ellipse(y, x, 0.05 if blown else -0.1, side * 0.45, 0.78 if blown else 0.55, 0.33 if blown else 0.26)
        picture -= (0.5 if blown else 0.33) * lung
    for rib in np.arange(-0.7, 0.5, 0.2):
        picture += 0.04 * np.exp(-(((y - rib - 0.25 * x * x) / 0.025) ** 2))
    heart = 0.48 if "Other diseases" in classes else 0.12 if blown else 0.24
    picture += 0.3 * np.exp(-((x / 0.1) ** 2)) + 0.25 * ellipse(y, x, 0.25, 0.08, 0.3, heart, edge=0.2)
    side, low = random.choice((-1.0, 1.0), 2)
    places = {
        "Lung tumor": [(random.uniform(-0.35, -0.1), side * random.uniform(0.42, 0.5), 0.14, 0.14)],
        "Pneumonia": [(0.25, low * 0.48, 0.22, 0.22)],
        "Tuberculosis": [(-0.4, -0.42, 0.2, 0.2), (-0.4, 0.42, 0.2, 0.2)],
        "COPD": [(0.05, 0.0, 0.78, 0.78)],
        "Other diseases": [(0.25, 0.08, 0.3, 0.48)],
    }
    for name in classes & {"Lung tumor", "Pneumonia"}:
        cy, cx, ry, rx = places[name][0]
        if name == "Lung tumor":
            picture += 0.55 * ellipse(y, x, cy, cx, ry, rx, edge=0.2)
        else:
            picture += 0.4 * ellipse(y, x, cy, cx, ry, rx, edge=0.7) * (1 + smooth_noise(random, height, width, 16))
    for cy, cx, ry, rx in places["Tuberculosis"] if "Tuberculosis" in classes else ():
        for dy, dx in random.uniform(-0.85, 0.85, (9, 2)):
            picture += 0.45 * ellipse(y, x, cy + dy * ry, cx + dx * rx, 0.045, 0.045, edge=0.5)
    picture = np.clip(random.uniform(0.9, 1.1) * picture + random.normal(0, 0.02, shape), 0, 1)
    boxes: dict[str, list[_Box]] = {name: [] for name in places}
    for name, items in places.items():
        for cy, cx, ry, rx in items:
            x_min, x_max = ((cx + shift[1] + d) * scale * width / 2 + width / 2 for d in (-rx, rx))
            y_min, y_max = ((cy + shift[0] + d) * scale * height / 2 + height / 2 for d in (-ry, ry))
            boxes[name].append((float(x_min), float(y_min), float(x_max), float(y_max)))
    return picture, boxes


def _file_meta(identity: str) -> "FileMetaDataset":
    """File meta information, the only place of a UID; it is the image id and not a valid one."""
    pydicom = require("pydicom", extra="dicom")
    meta: FileMetaDataset = pydicom.dataset.FileMetaDataset()
    with pydicom.config.disable_value_validation():
        meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(identity)
    meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.ImplementationClassUID = pydicom.uid.UID("2.25.1")
    meta.ImplementationVersionName = "SYNTHETIC"
    return meta


def _write_dicom(
    path: Path, identity: str, number: int, picture: Floats, random: np.random.Generator
) -> dict[str, object]:
    """Write one film; returns the values that its header gives."""
    pydicom = require("pydicom", extra="dicom")
    data = pydicom.dataset.Dataset()
    data.file_meta = _file_meta(identity)
    sex, age = ("M", "F", "M", "F", "", None)[number % 6], int(random.integers(18, 90))
    text = (f"{age:03d}Y", f"{age:03d}Y", f"{age:03d}Y", "", None)[number % 5]
    if sex is not None:
        data.PatientSex = sex
    if text is not None:
        data.PatientAge = text
    inverted = number % 4 == 1
    stored = np.rint(300 + 3200 * (1 - picture if inverted else picture)).astype(np.uint16)
    shift = -200 if number % 8 == 5 else 0
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    if number % 3 == 0:
        data.NumberOfFrames = 1
    data.Rows, data.Columns = picture.shape
    data.PixelSpacing = [0.139, 0.139] if number % 2 else [1.4, 1.4]
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.SmallestImagePixelValue, data.LargestImagePixelValue = int(stored.min()), int(stored.max())
    if number % 3 == 1:
        data.WindowCenter, data.WindowWidth = 1900 + shift, 3200
    elif number % 3 == 2:
        data.WindowCenter, data.WindowWidth = [1900 + shift, 2400], [3200, 4000]
    if number % 2 or shift:
        data.RescaleIntercept, data.RescaleSlope = shift, 1
    data.LossyImageCompression = "00"
    data.PixelData = stored.astype("<u2").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    syntax = {1: pydicom.uid.JPEG2000Lossless, 3: pydicom.uid.RLELossless}.get(number)
    with pydicom.config.disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if syntax:
            data.compress(syntax, generate_instance_uid=False)
        data.save_as(path, enforce_file_format=True)
    return {
        "age": float(age) if text else None,
        "sex": {"M": "male", "F": "female"}.get(sex or ""),
        "photometric": str(data.PhotometricInterpretation),
        "size": (picture.shape[1], picture.shape[0]),
    }
