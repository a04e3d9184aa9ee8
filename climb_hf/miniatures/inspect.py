"""Synthetic raw copy of INSPECT: drawn CT pulmonary angiographies as NIfTI, tables of labels, splits and reports.

Every voxel is drawn and every row is made up; none comes from a patient. Volumes show a bright vessel on either side
of the chest. A central embolism is a dark ball in the left one, an embolism of small branches a dark ball in the
right one; acute ones are large, others small; without embolism there is none.

Oddities of the release that it writes:

* tables whose name ends with a date, two editions of one of them (the newer counts); tabs, quoted reports with line
  breaks and quotes; labels as `1`, `1.0` and `TRUE`, months as `TRUE`, `False` and `Censored`, blanks;
* a study without `pe_positive` (the other column counts), one without either, one without its volume;
* ids of the reports that are not the names of the volumes, names with `.nii.gz` in the mapping, repeated rows in the
  splits, studies without a date, persons with two studies, several series per study;
* volumes of 16 bits with axes to the left or right, anterior or posterior, orientation as sform or qform, stored with
  an intercept, one with a fourth axis.

`layout="old"` writes the older release: one table of labels in commas, volumes named after the reports. With
`with_persons=True` the OMOP table of persons stands in `EHR/`.
"""

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Expected, check_choice, check_count, csv_text, rng, write_bytes, write_text
from climb_hf.miniatures._ct import add_ball, nifti_bytes, trunk
from climb_hf.optional import require

__all__ = ["make"]

_CLASSES = (  # name, pe_positive, pe_acute, pe_subsegmentalonly
    ("No PE", 0, 0, 0),
    ("Acute Subsegmental-only PE", 1, 1, 1),
    ("Acute PE", 1, 1, 0),
    ("Subsegmental-only PE", 1, 0, 1),
    ("Chronic PE", 1, 0, 0),
)
_VOXEL = (3.0, 4.0, 4.5)  # mm: slices, rows, columns
_CODES = ("LAS", "RAS", "LPS", "RPI", "LAS")
_FORMS = ("both", "sform", "qform")
_LEFT, _RIGHT = (26, 31), (26, 12)  # row and column of the vessels
_MONTHS = ("1_month_mortality", "6_month_mortality", "12_month_mortality", "1_month_readmission",
           "6_month_readmission", "12_month_readmission", "12_month_PH")  # fmt: skip
_EVENTS = ("mortality", "readmission", "PH", "Atelectasis", "Cardiomegaly", "Consolidation", "Edema",
           "Pleural_Effusion")  # fmt: skip
_SPLITS = ("train", "valid", "test", "train", "train")
_DATE = "_20250611.tsv"


def make(
    root: Path, n: int = 32, seed: int = 0, *, layout: str = "redivis", with_persons: bool = False
) -> list[Expected]:
    """Write a synthetic INSPECT folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of usable studies, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of volumes and rows.
        layout (`str`, *optional*, defaults to `"redivis"`): `"redivis"` (in `full/`) or `"old"`.
        with_persons (`bool`, *optional*, defaults to `False`): with `EHR/person.csv`.

    Returns:
        `list[Expected]`: in the order of the labels; `values`: `file`, `report`, `month` (of `12_month_mortality`),
        `days` (of `tte_mortality`), `shape` (slices, rows, columns), `codes`, `embolus_at` (slice, row, column,
        Hounsfield units of a voxel), `number` (`impression_id`), and with persons `age` and `sex`.

    Raises:
        OptionError: an option out of range.
        DependencyError: nibabel is not installed.
    """
    check_count("inspect", n, seed)
    check_choice("inspect", "layout", layout, ("redivis", "old"))
    require("nibabel", extra="volumes")
    top = root if layout == "old" else root / "full"
    tables = _Tables(seed)
    expected = []
    for position in range(n):
        random = rng(seed, "inspect", "study", position)
        number, image = str(1000 + 7 * position), f"PE{random.integers(1 << 40):010x}"
        person = position // 2 if position % 8 < 2 else 500 + position
        name, *flags = _CLASSES[position % len(_CLASSES)]
        split = _SPLITS[(position // 8 if position % 8 < 2 else position) % len(_SPLITS)]
        stem = number if layout == "old" else image
        path = top / "CTPA" / f"{stem}.nii.gz"
        values = _write_volume(path, position, rng(seed, "inspect", "volume", position))
        values |= {"file": path.relative_to(root).as_posix(), "number": int(number)}
        values |= tables.add(position, number, image, str(person), split, (flags[0], flags[1], flags[2]))
        if with_persons and layout == "redivis":
            values |= tables.add_person(str(person), random)
        where = None if layout == "old" else "validation" if split == "valid" else split
        group = number if layout == "old" else str(person)
        expected.append(Expected(stem, where, group, (name,), values))
    if layout == "redivis":
        tables.add(n, "9001", "PE0000009001", "9001", "train", (1, 1, 0))  # no volume
        tables.add(n, "9002", "PE0000009002", "9002", "test", None)  # no label
        tables.write(top, with_persons=with_persons)
    else:
        tables.write_old(top)
    return expected


def _write_volume(path: Path, position: int, random: np.random.Generator) -> dict[str, object]:
    shape = (14 + position % 9, 44, 44)
    units = trunk(random, shape, lungs=True)
    middle = shape[0] // 2
    for row, column in (_LEFT, _RIGHT):
        add_ball(units, (middle, row, column), 16.0, _VOXEL, 330.0)
    _, positive, acute, subsegmental = _CLASSES[position % len(_CLASSES)]
    place = (middle, *(_RIGHT if subsegmental else _LEFT))
    if positive:
        add_ball(units, place, 12.0 if acute else 6.5, _VOXEL, 25.0)
    codes, stored = _CODES[position % len(_CODES)], units.astype(np.int16)
    content = nifti_bytes(stored, _VOXEL, codes, form=_FORMS[position % len(_FORMS)], scaled=position % 4 == 3)
    if position % 11 == 9:
        content = _with_fourth_axis(content, stored)
    write_bytes(path, gzip.compress(content, compresslevel=3, mtime=0))
    return {"shape": shape, "codes": codes, "embolus_at": (*place, int(units[place])), "voxel_mm": _VOXEL}


def _with_fourth_axis(content: bytes, stored: NDArray[np.int16]) -> bytes:
    """Append a second volume of zeros: dim[0] becomes 4, dim[4] 2."""
    head = bytearray(content)
    head[40:42], head[48:50] = (4).to_bytes(2, "little"), (2).to_bytes(2, "little")
    return bytes(head) + bytes(stored.nbytes)


class _Tables:
    """The rows of all tables."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        events = [column for event in _EVENTS for column in (f"tte_{event}", f"is_censored_{event}")]
        flags = ("pe_positive_nlp", "pe_positive", "pe_acute", "pe_subsegmentalonly")
        self.labels: list[list[object]] = [["impression_id", *flags, *_MONTHS, *events]]
        self.splits: list[list[object]] = [["impression_id", "person_id", "split"]]
        self.mapping: list[list[object]] = [
            ["impression_id", "image_id", "person_id", "note_id", "procedure_DATETIME", "note_DATETIME", "provenance"]
        ]
        self.impressions: list[list[object]] = [["impression_id", "impressions"]]
        series = (
            "image_id,Manufacturer,num_slices,SliceThickness,PixelSpacing_0,PixelSpacing_1,WindowCenter,WindowWidth,"
            "RescaleIntercept,RescaleSlope"
        )
        self.series: list[list[object]] = [[*series.split(",")]]
        self.studies: list[list[object]] = [
            ["impression_id", "StudyDescription", "Modality", "KVP", "ConvolutionKernel", "PatientPosition", "Rows",
             "Columns"]
        ]  # fmt: skip
        self.persons: dict[str, Sequence[object]] = {}

    def add(
        self, position: int, number: str, image: str, person: str, split: str, flags: tuple[int, int, int] | None
    ) -> dict[str, object]:
        """Add a study; returns what a reader finds of it. `flags` is `None` for a study without labels."""
        random = rng(self._seed, "inspect", "rows", number)
        style = (("0", "1"), ("0.0", "1.0"), ("FALSE", "TRUE"))[position % 3]
        cells = [""] * 4
        if flags is not None:
            cells = [("FALSE", "TRUE")[flags[0]], *(style[flag] for flag in flags)]
            if position % 10 == 7:
                cells[1] = ""  # the other column counts
        month = ("FALSE", "True", "Censored", "Censor", "")[position % 5]
        months = [("TRUE", "FALSE", "Censored")[int(random.integers(3))] for _ in _MONTHS]
        months[2] = month
        minutes = [round(float(random.uniform(1e3, 4e6)), 1) for _ in _EVENTS]
        events = [cell for value in minutes for cell in (value, ("True", "False")[int(random.integers(2))])]
        self.labels.append([number, *cells, *months, *events])
        self.splits.append([number, person, split])
        if position % 9 == 4:
            self.splits.append([number, person, split])  # the same row again
        date = "" if position % 12 == 5 else f"2012-0{position % 9 + 1}-15 08:30:00"
        written = f"{image}.nii.gz" if position % 6 == 1 else image
        self.mapping.append([number, written, person, 70000 + position, date, date, "STARR"])
        report = (
            f'1. Synthetic report {number}.\n2. "Quoted"\tand tabbed.' if position % 4 == 1 else f"Synthetic {number}"
        )
        self.impressions.append([number, report])
        self.series.append([image, "SIEMENS", 1, 1.0, 0.5, 0.5, 40, 400, -1024, 1])
        self.series.append([image, "SIEMENS", 120, 3.0, 0.7, 0.7, 40, 400, -1024, 1])
        self.series.append([image, "SIEMENS", 120, 1.25, 0.75, 0.75, 100, 700, -1024, 1])
        for kernel in ("I26f", "B60f")[: 1 + position % 2]:
            self.studies.append([number, "CT CHEST PE", "CT", 100 + 20 * (position % 2), kernel, "FFS", 512, 512])
        value = {"FALSE": False, "True": True}.get(month)
        return {"report": report, "month": value, "days": minutes[0] / 1440, "date": date, "manufacturer": "SIEMENS"}

    def add_person(self, person: str, random: np.random.Generator) -> dict[str, object]:
        """Add a person, born on January 15; returns sex, and age for studies with a date in 2012."""
        year, sex = int(1930 + int(person) * 7 % 60), ("male", "female")[int(person) % 2]
        concept = {"male": 8507, "female": 8532}[sex]
        birth = f"{year}-01-15 00:00:00"
        self.persons[person] = [person, concept, year, 1, 15, birth, 8527, 38003564, sex[0].upper()]
        return {"sex": sex, "birth_year": year}

    def write(self, top: Path, *, with_persons: bool) -> None:
        stale = [self.labels[0], *([row[0], "FALSE", *["0"] * 3, *row[5:]] for row in self.labels[1:])]
        write_text(top / "labels_20240102.tsv", _tabs(stale))
        for stem, rows in (
            ("labels", self.labels), ("splits", self.splits), ("study_mapping", self.mapping),
            ("impressions", self.impressions), ("series_metadata", self.series), ("study_metadata", self.studies),
        ):  # fmt: skip
            write_text(top / f"{stem}{_DATE}", ("\ufeff" if stem == "splits" else "") + _tabs(rows))
        crosswalk: list[list[object]] = [
            ["person_id", "image_id"],
            *([row[2], str(row[1]).removesuffix(".nii.gz")] for row in self.mapping[1:]),
        ]
        write_text(top / "image_ehr_crosswalk_20250418.csv", csv_text(crosswalk))
        write_text(top / "EHR" / "README.md", "Synthetic data in the format of INSPECT. No patient is behind it.\n")
        if with_persons:
            names = [
                "person_id", "gender_concept_id", "year_of_birth", "month_of_birth", "day_of_birth", "birth_DATETIME",
                "race_concept_id", "ethnicity_concept_id", "gender_source_value",
            ]  # fmt: skip
            write_text(top / "EHR" / "person.csv", csv_text([names, *self.persons.values()]))

    def write_old(self, top: Path) -> None:
        rows = [[row[0], row[2] or int(row[1] == "TRUE"), *row[3:5]] for row in self.labels]
        write_text(top / "Final_Impressions_labels.csv", csv_text(rows))


def _tabs(rows: list[list[object]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter="\t", lineterminator="\n").writerows(rows)
    return buffer.getvalue()
