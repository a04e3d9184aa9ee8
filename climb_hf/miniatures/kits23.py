"""Synthetic raw copy of KiTS23: drawn kidney CTs as NIfTI with segmentations, and the list of cases.

Every voxel is drawn and every value is made up; none comes from a patient. Benign cases have a small, bright ball in
the kidney on the patient's left, malignant ones a large, dark one with a bright rim.

Oddities of the release that it writes:

* axes in the order slices, rows, columns, pointing to inferior, posterior and left, so that the slices are not in one
  piece in the file; images as float64, segmentations as uint8, sform only;
* case numbers 0 to 299 and from 400 on; a segmentation by three readers for the former; instances, one of them hidden
  (`.suppl.`); a case that is wider than the others;
* `malignant` null or absent; gender `transgender_male_to_female`; stages as strings; nulls; nested objects;
* a case whose image was not downloaded (segmentation only), and one whose download broke off
  (`.partial.imaging.nii.gz`).

The paper's split is the order of the list: the first `int(0.75 * cases)` are train, cases without a label counted.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Expected, check_count, rng, write_bytes, write_text
from climb_hf.miniatures._ct import add_ball, trunk, write_nifti
from climb_hf.optional import require

__all__ = ["make"]

_CODES, _VOXEL = "IPL", (3.0, 4.0, 4.0)  # of the file's axes; mm: slices, rows, columns
_LEFT, _RIGHT = (27, 33), (27, 15)  # row, column of the kidneys
_COMORBIDITIES = (
    "myocardial_infarction", "congestive_heart_failure", "peripheral_vascular_disease", "cerebrovascular_disease",
    "dementia", "copd", "connective_tissue_disease", "peptic_ulcer_disease", "uncomplicated_diabetes_mellitus",
    "diabetes_mellitus_with_end_organ_damage", "chronic_kidney_disease", "hemiplegia_from_stroke", "leukemia",
    "malignant_lymphoma", "localized_solid_tumor", "metastatic_solid_tumor", "mild_liver_disease",
    "moderate_to_severe_liver_disease", "aids",
)  # fmt: skip
_GENDERS = ("male", "female", "male", "female", "transgender_male_to_female")
_BENIGN, _MALIGNANT = ("oncocytoma", "angiomyolipoma"), ("clear_cell_rcc", "papillary_rcc", "chromophobe_rcc")


def make(root: Path, n: int = 32, seed: int = 0) -> list[Expected]:
    """Write a synthetic KiTS23 repository after its download command.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of cases with image and label, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of volumes and values.

    Returns:
        `list[Expected]`: in the order of `kits23.json`, `split` is `None`; `values`: `file` (image), `age`, `sex`,
        `gender`, `paper_split`, `shape` (slices, rows, columns), `tumor_at` (slice, row, column and Hounsfield units),
        `tumor_voxels`, `malignant`.

    Raises:
        OptionError: `n` or `seed` out of range.
        DependencyError: nibabel is not installed.
    """
    check_count("kits23", n, seed)
    require("nibabel", extra="volumes")
    expected = []
    cases: list[dict[str, Any]] = []
    unusual = {3: "null", n // 2 + 1: "no key", n // 2 + 3: "no image", n + 1: "partial"}
    total = n + len(unusual)
    for position in range(total):
        number = position if position < total // 2 else 400 + position - total // 2
        kind, border = unusual.get(position, "whole"), int(0.75 * total)
        case, values = _write_case(root, number, position, kind, seed)
        cases.append(case)
        if kind == "whole":
            malignant = bool(case["malignant"])
            values |= {"paper_split": "train" if position < border else "test", "malignant": malignant}
            name = case["case_id"]
            expected.append(Expected(name, None, name, ("Malignant" if malignant else "Benign",), values))
    write_text(root / "dataset" / "kits23.json", json.dumps(cases, indent=2) + "\n")
    write_text(root / "LICENSE", "Synthetic data in the format of KiTS23. No patient is behind any of it.\n")
    return expected


def _write_case(
    root: Path, number: int, position: int, kind: str, seed: int
) -> tuple[dict[str, Any], dict[str, object]]:
    """Write the folder of a case; returns its object in the list and what a reader finds."""
    name, malignant = f"case_{number:05d}", position % 3 != 1
    folder = root / "dataset" / name
    case = _case(name, malignant, rng(seed, "kits23", "case", number), position)
    if kind == "null":
        case["malignant"] = None
    elif kind == "no key":
        del case["malignant"]
    image, codes, place = _draw(malignant, position, rng(seed, "kits23", "volume", number))
    write_nifti(folder / "segmentation.nii.gz", codes, _VOXEL, _CODES)
    _write_instances(folder, codes, readers=3 if number < 300 else 1)
    if kind == "partial":
        write_bytes(folder / ".partial.imaging.nii.gz", b"\x1f\x8b\x08\x00")
    elif kind != "no image":
        write_nifti(folder / "imaging.nii.gz", image.astype("<f8"), _VOXEL, _CODES)
    age, gender = case["age_at_nephrectomy"], case["gender"]
    return case, {
        "file": f"dataset/{name}/imaging.nii.gz",
        "age": None if age is None else float(age),
        "sex": gender if gender in ("male", "female") else None,
        "gender": gender,
        "shape": image.shape,
        "tumor_at": place,
        "tumor_voxels": int((codes == 2).sum()),
    }


def _draw(
    malignant: bool, position: int, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.uint8], tuple[int, int, int, float]]:
    """Return image, segmentation, and a voxel inside the tumour with its value; all in display orientation."""
    shape = (12 + position % 7, 48, 56 if position == 2 else 48)
    image = trunk(random, shape, lungs=False)
    codes = np.zeros(shape, np.uint8)
    middle = shape[0] // 2
    for row, column in (_LEFT, _RIGHT):
        codes[add_ball(image, (middle, row, column), 17.0, _VOXEL, 180.0)] = 1
    if position % 5 == 0:
        codes[add_ball(image, (middle, *_RIGHT), 6.0, _VOXEL, 5.0)] = 3
    slice_, row, column = middle + 1, _LEFT[0] - 2, _LEFT[1] + 3
    if malignant:
        codes[add_ball(image, (slice_, row, column), 15.0, _VOXEL, 240.0)] = 2
        add_ball(image, (slice_, row, column), 10.0, _VOXEL, -20.0)
    else:
        codes[add_ball(image, (slice_, row, column), 7.0, _VOXEL, 90.0)] = 2
    return image, codes, (slice_, row, column, float(image[slice_, row, column]))


def _write_instances(folder: Path, codes: NDArray[np.uint8], *, readers: int) -> None:
    for region, code in (("kidney", 1), ("tumor", 2), ("cyst", 3)):
        if (codes == code).any():
            for reader in range(1, readers + 1):
                file = folder / "instances" / f"{region}_instance-1_annotation-{reader}.nii.gz"
                write_nifti(file, (codes == code).astype(np.uint8), _VOXEL, _CODES)
    if folder.name.endswith("2"):
        file = folder / "instances" / ".suppl.tumor_instance-1_annotation-1.nii.gz"
        write_nifti(file, (codes == 2).astype(np.uint8), _VOXEL, _CODES)


def _case(name: str, malignant: bool, random: np.random.Generator, position: int) -> dict[str, Any]:
    """One object of the list, keys in the publisher's order."""
    subtypes = _MALIGNANT if malignant else _BENIGN
    flag = [bool(value) for value in random.integers(0, 2, 12)]
    size = round(float(random.uniform(1.5, 9.0)), 1)
    return {
        "case_id": name,
        "gender": _GENDERS[position % len(_GENDERS)],
        "vital_status": "censored" if flag[0] else "dead",
        "vital_days_after_surgery": int(random.integers(10, 3000)),
        "bmi": round(float(random.uniform(19, 41)), 2),
        "comorbidities": {key: bool(random.random() < 0.1) for key in _COMORBIDITIES},
        "age_at_nephrectomy": None if position == 6 else int(random.integers(1, 91)),
        "hospitalization": int(random.integers(1, 9)),
        "er_visit": flag[1],
        "readmission": None if position % 4 == 3 else flag[2],
        "surgery_type": "robotic",
        "surgical_approach": "transperitoneal",
        "surgical_procedure": "partial_nephrectomy" if flag[3] else "radical_nephrectomy",
        "estimated_blood_loss": int(random.integers(10, 900)),
        "clavien_surgical_complications": None,
        "intraoperative_complications": {
            "blood_transfusion": flag[4], "injury_to_surrounding_organ": False, "cardiac_event": False,
        },
        "ischemia_time": None if flag[3] else round(float(random.uniform(8, 40)), 1),
        "operative_time": int(random.integers(90, 400)),
        "smoking_history": ("never_smoked", "previous_smoker", "current_smoker")[position % 3],
        "age_when_quit_smoking": int(random.integers(25, 60)) if position % 3 == 1 else None,
        "pack_years": round(float(random.uniform(0, 60)), 1),
        "chewing_tobacco_use": "never_or_not_in_last_3mo",
        "alcohol_use": "two_or_less_daily",
        "radiographic_size": size,
        "cytoreductive": False,
        "pathologic_size": round(size + 0.2, 1),
        "malignant": malignant,
        "pathology_t_stage": ("1a", "1b", "3")[position % 3] if malignant else "na",
        "pathology_n_stage": "x" if flag[5] else "0",
        "pathology_m_stage": "0",
        "tumor_histologic_subtype": subtypes[position % len(subtypes)],
        "tumor_necrosis": flag[6],
        "tumor_isup_grade": str(position % 4 + 1) if malignant else None,
        "positive_resection_margins": False,
        "sarcomatoid_features": False,
        "rhabdoid_features": False,
        "last_preop_egfr": {"days_before_nephrectomy": int(random.integers(1, 30)), "value": 78.0},
        "first_postop_egfr": {"days_after_nephrectomy": 1, "value": ">=90" if position == 4 else 61.5},
        "last_postop_egfr": {"days_after_nephrectomy": None, "value": None},
        "aua_risk_score": "high_risk" if malignant else "benign",
    }  # fmt: skip
