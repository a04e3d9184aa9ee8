"""Synthetic raw copy of ISIC 2020: drawn dermoscopy pictures and the ground-truth table in its published forms.

Every picture is drawn and every row is made up; none comes from a patient. Malignant is a large uneven dark patch with
a blue-black part, benign a small round brown spot or a grey plaque with white dots.

Oddities of the release that it writes:

* the table in version 2 (`lesion_id`, CRLF, age as `45`) or version 1 / Kaggle (no `lesion_id`, LF, age as `45.0`);
  blank sex, age and body site; most benign diagnoses `unknown`; malignant is rare (1.8 %, but at least n / 5 up to 6);
* 2 and more pictures per patient, the table in another order than the file names;
* near-copies: two pictures of one lesion of one patient, listed in `ISIC_2020_Training_Duplicates.csv` without endings
  (`Expected.values["duplicate_of"]` names `image_name_1`), every other pair byte-identical;
* the unlabelled test metadata beside the ground truth, and the Kaggle copy's DICOM files beside its JPEG files;
* pictures of mixed sizes; DICOM as JPEG Baseline with `YBR_FULL_422`.
"""

import io
import json
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from climb_hf.miniatures._common import (
    Expected,
    check_choice,
    check_count,
    csv_text,
    rng,
    write_bytes,
    write_csv,
    write_text,
)
from climb_hf.miniatures._dermoscopy import dermoscopy
from climb_hf.optional import require

__all__ = ["make"]

_FOLDERS = {
    "official": "train",
    "unzipped": "ISIC_2020_Training_JPEG/train",
    "benchmd": "ISIC_2020_Training",
    "kaggle": "jpeg/train",
    "dicom": "train",
}
_TABLES = {"benchmd": "ISIC_2020_Training_GroundTruth.csv", "kaggle": "train.csv"}  # version 1; the others: version 2
_V2 = "ISIC_2020_Training_GroundTruth_v2.csv"
_COLUMNS = (
    "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target"
)
_COPIES = (3, 9)  # of every 16 pictures; each copies the one before
_FIRST_PATIENT = 3352  # with it, both parts of the hash split hold both classes at the usual sizes
_SITES = ("torso", "lower extremity", "upper extremity", "head/neck", "palms/soles", "oral/genital", "")
_BENIGN = ("unknown", "unknown", "nevus", "unknown", "seborrheic keratosis", "unknown", "nevus", "lentigo NOS")
_SIZES = ((192, 256), (240, 320), (180, 180), (160, 240), (300, 400))


def make(
    root: Path, n: int = 32, seed: int = 0, *, layout: str = "official", with_list: bool = False
) -> list[Expected]:
    """Write a synthetic ISIC 2020 folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of pictures, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of pictures and rows.
        layout (`str`, *optional*, defaults to `"official"`): `"official"` (`train/`), `"unzipped"`
            (`ISIC_2020_Training_JPEG/train/`), `"dicom"` (`train/*.dcm`), all three with table version 2; `"benchmd"`
            (`ISIC_2020_Training/`, version 1) or `"kaggle"` (`jpeg/train/`, `train.csv`, no list of duplicates).
        with_list (`bool`, *optional*, defaults to `False`): add CLIMB's two overlapping annotation lists.

    Returns:
        `list[Expected]`: in the order of the table, `split` is `None`; `values`: `age`, `sex`, `duplicate_of` (also in
        the Kaggle layout, where only byte-identical pairs can be known), `raw_labels`, `patient_id`, `lesion_id`,
        `anatom_site_general_challenge`, `diagnosis`, `size` (width, height), and `evaluation` (named by CLIMB's
        evaluation list).

    Raises:
        OptionError: an option out of range.
        DependencyError: pydicom is not installed (`layout="dicom"` and `"kaggle"`).
    """
    check_count("isic2020", n, seed)
    check_choice("isic2020", "layout", layout, tuple(_FOLDERS))
    plan = _plan(n, seed)
    names = [f"ISIC_{9_900_000 + int(k)}" for k in rng(seed, "isic2020", "names").choice(99_999, n, replace=False)]
    rows, pairs, expected = [], [["image_name_1", "image_name_2"]], []
    listed: dict[int, str] = {}  # number of a picture -> the file of it that the table lists first
    for number in (int(i) for i in rng(seed, "isic2020", "order").permutation(n)):
        patient, lesion, malignant, first = plan[number]
        row = _row(names[number], patient, lesion, malignant, number, seed)
        rows.append(row)
        exact = first == number or number % 4 == 3  # else another compression of the same picture
        pixels = _picture(malignant, first, seed)
        _write_picture(root / _FOLDERS[layout], names[number], _jpeg(pixels, 90 if exact else 80), layout, row)
        copy_of = names[first]
        if layout == "kaggle":  # without the list only byte-identical files are known to be copies
            copy_of = listed.setdefault(first, names[number]) if exact else names[number]
        values: dict[str, object] = {
            "age": float(row["age_approx"]) if row["age_approx"] else None,
            "sex": row["sex"] or None,
            "duplicate_of": None if copy_of == names[number] else copy_of,
            "raw_labels": (row["benign_malignant"],),
            "size": (pixels.shape[1], pixels.shape[0]),
            "evaluation": number % 5 == 1,
            **{key: row[key] for key in ("patient_id", "lesion_id", "anatom_site_general_challenge", "diagnosis")},
        }
        if first != number:
            pairs.append([names[first], names[number]])
        classes = ("Malignant",) if malignant else ("Benign",)
        expected.append(Expected(names[number], None, row["patient_id"], classes, values))
    _write_tables(root, layout, rows, pairs)
    if with_list:
        _write_lists(root, expected)
    return expected


def _plan(n: int, seed: int) -> list[tuple[int, int, bool, int]]:
    """(patient, lesion, is malignant, number of the picture it is a copy of, else its own) of every picture."""
    random = rng(seed, "isic2020", "plan")
    rare = max(2, min(n // 5, 6), round(n * 584 / 33126))
    own = [number for number in range(n) if number % 16 not in _COPIES]
    malignant = {own[1 + k * len(own) // rare] for k in range(rare)}
    plan: list[tuple[int, int, bool, int]] = []
    patient, left = _FIRST_PATIENT + seed, 0
    for number in range(n):
        is_copy = number % 16 in _COPIES
        if left <= 0 and not is_copy:
            patient += int(random.integers(1, 9))
            left = int(random.choice((2, 2, 2, 2, 3)))
        left -= 1
        first = number - 1 if is_copy else number
        plan.append((patient, 5_000_000 + first, first in malignant, first))
    return plan


def _row(name: str, patient: int, lesion: int, malignant: bool, number: int, seed: int) -> dict[str, str]:
    """Cells of a picture's row in version 2."""
    person = rng(seed, "isic2020", "patient", patient)
    sex, age = ("male", "female")[person.integers(2)], 5 * int(person.integers(0, 19))
    is_blank = number % 13 in (5, 6)
    return {
        "image_name": name,
        "patient_id": f"IP_{9_900_000 + patient}",
        "lesion_id": f"IL_{lesion}",
        "sex": "" if is_blank else sex,
        "age_approx": "" if is_blank else str(age),
        "anatom_site_general_challenge": _SITES[number % len(_SITES)],
        "diagnosis": "melanoma" if malignant else _BENIGN[number % len(_BENIGN)],
        "benign_malignant": "malignant" if malignant else "benign",
        "target": str(int(malignant)),
    }


def _picture(malignant: bool, number: int, seed: int) -> NDArray[np.uint8]:
    random = rng(seed, "isic2020", "picture", number)
    return dermoscopy("mel" if malignant else ("nv", "bkl")[number % 2], random, _SIZES[number % len(_SIZES)], 2)[0]


def _jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def _write_picture(folder: Path, name: str, content: bytes, layout: str, row: dict[str, str]) -> None:
    if layout != "dicom":
        write_bytes(folder / f"{name}.jpg", content)
    if layout in ("dicom", "kaggle"):
        target = folder.parent.parent / "train" if layout == "kaggle" else folder
        _write_dicom(target / f"{name}.dcm", content, row)


def _write_dicom(path: Path, content: bytes, row: dict[str, str]) -> None:
    """Write a JPEG as a DICOM file of the transfer syntax JPEG Baseline."""
    pydicom = require("pydicom", extra="dicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
    meta.MediaStorageSOPClassUID = pydicom.uid.UID("1.2.840.10008.5.1.4.1.1.77.1.4")
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(f"1.2.826.0.1.3680043.8.498.{int(row['image_name'][5:])}")
    data = pydicom.dataset.Dataset()
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Modality, data.PatientID = "XC", row["patient_id"]
    data.PatientSex = row["sex"][:1].upper()
    data.PatientAge = f"{int(row['age_approx']):03d}Y" if row["age_approx"] else ""
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PlanarConfiguration = 3, "YBR_FULL_422", 0
    data.Columns, data.Rows = Image.open(io.BytesIO(content)).size
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.LossyImageCompression = "01"
    data.PixelData = pydicom.encaps.encapsulate([content])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(path, enforce_file_format=True)


def _write_tables(root: Path, layout: str, rows: list[dict[str, str]], pairs: list[list[str]]) -> None:
    columns = _COLUMNS.split(",")
    if layout in _TABLES:
        columns.remove("lesion_id")
        cells = [[f"{r[c]}.0" if c == "age_approx" and r[c] else r[c] for c in columns] for r in rows]
        write_csv(root / _TABLES[layout], [columns, *cells])
    else:
        text = csv_text([columns, *[[row[column] for column in columns] for row in rows]])
        write_text(root / _V2, text.replace("\n", "\r\n"))
    if layout != "kaggle":
        write_csv(root / "ISIC_2020_Training_Duplicates.csv", pairs)
    test = ["image_name,patient_id,sex,age_approx,anatom_site_general_challenge", "ISIC_9899999,IP_9899999,male,70.0,"]
    name = "test.csv" if layout == "kaggle" else "ISIC_2020_Test_Metadata.csv"
    write_text(root / name, "\n".join(test) + "\n")


def _write_lists(root: Path, expected: list[Expected]) -> None:
    """CLIMB's lists; the train list was drawn apart and holds some of the evaluation images too."""
    chosen = {
        "train": [e for i, e in enumerate(expected) if not e.values["evaluation"] or i % 3 == 0],
        "valid": [e for e in expected if e.values["evaluation"]],
    }
    for part, members in chosen.items():
        lines = []
        for member in members:
            talk = [{"from": "human", "value": "<image>\nsynthetic"}, {"from": "gpt", "value": member.classes[0]}]
            lines.append(
                json.dumps({"images": [f"train/{member.id}.jpg"], "explanation": "", "conversations": talk}) + "\n"
            )
        write_text(root / f"annotation_{part}.jsonl", "".join(lines))
