"""Synthetic raw copy of CT-ICH 1.0.0: drawn head slices in two windows, masks, and the two tables.

Every slice is drawn and every row is made up; none comes from a patient. Hemorrhage is a bright shape in the brain
window whose place and form depend on its type: in the ventricles, inside a hemisphere, along the base, a lens at the
skull or a crescent along it. A fracture is a dark gap of the skull in the bone window.

Oddities of the release that it writes:

* `hemorrhage_diagnosis.csv` with a byte order mark and CRLF, two types in one slice, fractures with and without
  hemorrhage; `patient_demographics.csv` with a line break inside a quoted column name, flags that are 1 or empty, ages
  that are fractions of a year, texts with trailing blanks, and a patient whose free text contradicts the flags;
* folders padded to three digits, slices not padded, masks of hemorrhages only and beside the slices, with the blurred
  border of JPEG; from n = 16 on one slice with hemorrhage has no mask;
* `README.txt`, which misspells the name of the table.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import (
    Expected,
    Floats,
    check_count,
    ellipse,
    grid,
    rng,
    save_image,
    smooth_noise,
    to_uint8,
    write_bytes,
    write_text,
)

__all__ = ["make"]

_TYPES = ("Intraventricular", "Intraparenchymal", "Subarachnoid", "Epidural", "Subdural")
_TEST = (49, 53, 59, 61, 67, 71, 77, 79, 80, 82, 84, 94, 98, 102, 117, 118, 124)
_SIDE, _TIMES = 130, 5  # drawn small, stored at 650 × 650
_AGES = ("27", "0.75", "61", "0.002747253", "35", "0.583333333", "44", "8")
_HEADER = (
    '"Patient Number","Age\n(years)","Gender","Intraventricular","Intraparenchymal","Subarachnoid","Epidural",'
    '"Subdural","Fracture (Yes/No)","Condition on file","Note"\n'
)
_ROOT_FILES = {
    "README.txt": "Synthetic data in the format of CT-ICH 1.0.0. No patient is behind any of it.\n"
    "hemmorhage_diagnosis.csv: one row per slice.\n",
    "ct_ich.yml": "name: ct_ich\n",
    "split_data.py": "# Synthetic: stands for the publisher's script of cross-validation.\n",
}
_Slice = tuple[int, int, tuple[str, ...], bool]  # patient, number, types, fracture


def make(root: Path, n: int = 32, seed: int = 0) -> list[Expected]:
    """Write a synthetic CT-ICH folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of slices, at least 8; three or four per patient.
        seed (`int`, *optional*, defaults to `0`): seed of slices and patients.

    Returns:
        `list[Expected]`: in the order of the table; `values`: `age`, `sex`, `raw_labels`, `fracture`, `types`,
        `condition` (or `None`), `mask` ((height, width) bool at full size, or `None`), `has_mask`.

    Raises:
        OptionError: `n` or `seed` out of range.
    """
    check_count("hemorrhage", n, seed)
    slices = _plan(n, seed)
    for name, text in _ROOT_FILES.items():
        write_text(root / name, text)
    people = {patient: _person(i, patient, seed) for i, patient in enumerate(dict.fromkeys(s[0] for s in slices))}
    table = [",".join(["PatientNumber", "SliceNumber", *_TYPES, "No_Hemorrhage", "Fracture_Yes_No"])]
    expected = []
    positive = 0
    for patient, number, types, fracture in slices:
        positive += bool(types)
        cells = [patient, number, *(int(t in types) for t in _TYPES), int(not types), int(fracture)]
        table.append(",".join(map(str, cells)))
        brain, bone, mask = _pictures(patient, number, types, fracture, seed)
        folder = root / "Patients_CT" / f"{patient:03d}"
        save_image(folder / "brain" / f"{number}.jpg", brain, quality=90)
        save_image(folder / "bone" / f"{number}.jpg", bone, quality=90)
        has_mask = bool(types) and not (positive == 3 and n >= 16)
        if has_mask:
            save_image(folder / "brain" / f"{number}_HGE_Seg.jpg", mask.astype(np.uint8) * 255, quality=75)
        age, sex, condition = people[patient]
        values: dict[str, object] = {
            "age": float(age),
            "sex": sex.lower(),
            "raw_labels": ((*types,) if types else ("No_Hemorrhage",)) + (("Fracture_Yes_No",) if fracture else ()),
            "fracture": fracture,
            "types": types,
            "condition": condition.strip() or None,
            "mask": mask if has_mask else None,
            "has_mask": has_mask,
        }
        split = "test" if patient in _TEST else "train"
        name = "Has Hemorrhage" if types else "No Hemorrhage"
        expected.append(Expected(f"{patient:03d}/{number}", split, f"{patient:03d}", (name,), values))
    write_bytes(root / "hemorrhage_diagnosis.csv", ("\ufeff" + "\r\n".join(table) + "\r\n").encode())
    write_text(root / "patient_demographics.csv", _demographics(slices, people))
    return expected


def _plan(n: int, seed: int) -> list[_Slice]:
    """The slices in the order of the table; every fourth patient is one of the test patients."""
    random = rng(seed, "hemorrhage", "plan")
    train = [int(p) for p in random.permutation([p for p in range(49, 131) if p not in _TEST])]
    test = [int(p) for p in random.permutation(_TEST)]
    counts: dict[int, tuple[int, int]] = {}  # patient -> (turn, slices)
    per_patient = max(3, -(-n // 70))
    left, turn = n, 0
    while left > 0:
        pool = test if (turn % 4 == 1 and test) or not train else train
        size = min(left, per_patient + turn % 2)
        counts[pool.pop()] = (turn, size)
        left -= size
        turn += 1
    slices: list[_Slice] = []
    for patient in sorted(counts):
        turn, size = counts[patient]
        for number in range(1, size + 1):
            bleeds = (turn % 3 != 2 and number % 3 == 2) or (turn == 0 and number == 3)
            kind = _TYPES[(turn + number) % 5]
            types = {kind, "Subdural"} if turn % 5 == 3 else {kind}
            ordered = tuple(t for t in _TYPES if t in types) if bleeds else ()
            slices.append((patient, number, ordered, (turn + number) % 7 == 3))
    return slices


def _person(index: int, patient: int, seed: int) -> tuple[str, str, str]:
    """Age, sex and condition as they are written; one condition contradicts the flags of the first patient."""
    random = rng(seed, "hemorrhage", "patient", patient)
    texts = ("", "Extradural HGE ", "Trauma", "Normal CT ")
    condition = "Normal CT" if index == 0 else texts[random.integers(len(texts))]
    return _AGES[index % len(_AGES)], ("Male", "Female")[random.integers(2)], condition


def _demographics(slices: list[_Slice], people: dict[int, tuple[str, str, str]]) -> str:
    """The patient table: flags are the union over the slices, 1 or empty."""
    lines = [_HEADER]
    for patient, (age, sex, condition) in people.items():
        types = {t for s in slices if s[0] == patient for t in s[2]}
        flags = ["1" if t in types else "" for t in _TYPES]
        flags.append("1" if any(s[3] for s in slices if s[0] == patient) else "")
        text = f'"{condition}"' if condition else ""
        lines.append(f'{patient},{age},"{sex}",{",".join(flags)},{text},\n')
    return "".join(lines)


def _pictures(
    patient: int, number: int, types: tuple[str, ...], fracture: bool, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """Brain window, bone window and mask of a drawn slice, each (650, 650)."""
    random = rng(seed, "hemorrhage", "slice", patient, number)
    y, x = grid(_SIDE, _SIDE, angle=random.uniform(-0.1, 0.1), scale=random.uniform(0.92, 1.0))
    y, x = y - np.float32(random.uniform(-0.05, 0.05)), x - np.float32(random.uniform(-0.05, 0.05))
    head = ellipse(y, x, 0, 0, 0.92, 0.76, edge=0.04)
    inside = ellipse(y, x, 0, 0, 0.82, 0.66, edge=0.04)
    skull = head - inside
    brain = skull + inside * (0.42 + 0.05 * smooth_noise(random, _SIDE, _SIDE, 9))
    for left_or_right in (-1, 1):
        brain -= 0.25 * ellipse(y, x, -0.05, left_or_right * 0.12, 0.24, 0.07, angle=left_or_right * 0.25, edge=0.3)
    blood = np.zeros_like(brain)
    side = float(random.choice((-1.0, 1.0)))
    for kind in types:
        blood = np.maximum(blood, _shape(kind, y, x, side) * inside)
    brain += 0.45 * blood
    bone = 0.9 * skull + 0.12 * inside
    if fracture:
        gap = np.exp(-(((y - 0.35 * side) / 0.03) ** 2)) * (x * side > 0)
        bone -= 0.8 * skull * gap
    noise = random.normal(0, 0.02, brain.shape).astype(np.float32)

    def enlarge(values: NDArray[np.generic]) -> NDArray[np.generic]:
        return values.repeat(_TIMES, axis=0).repeat(_TIMES, axis=1)

    return enlarge(to_uint8(brain + noise)), enlarge(to_uint8(bone + noise)), enlarge(blood > 0.5)  # type: ignore[return-value]


def _shape(kind: str, y: Floats, x: Floats, side: float) -> Floats:
    """Where a hemorrhage of one type lies, 0 to 1."""
    if kind == "Intraventricular":
        return ellipse(y, x, 0, 0, 0.26, 0.18, edge=0.2)
    if kind == "Intraparenchymal":
        return ellipse(y, x, -0.2, side * 0.36, 0.2, 0.17, edge=0.2)
    if kind == "Subarachnoid":
        return ellipse(y, x, 0.42, 0, 0.09, 0.45, edge=0.3)
    if kind == "Epidural":  # a lens whose outer side is the skull
        return ellipse(y, x, 0.1, side * 0.66, 0.35, 0.22, edge=0.15)
    outer, inner = ellipse(y, x, 0, 0, 0.84, 0.68, edge=0.05), ellipse(y, x, 0, -side * 0.12, 0.8, 0.64, edge=0.05)
    return outer * (1 - inner) * (x * side > 0)
