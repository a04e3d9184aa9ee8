"""What the JPG and the DICOM project of MIMIC-CXR look like, and the tables of images and patients, kept small."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from climb_hf.errors import LayoutError, SchemaError
from climb_hf.readers.tables import find_root, read_csv_rows, to_float, to_int

__all__ = ["PLANES", "Person", "iso_time", "read_people", "read_pictures", "refuse_dicom_file", "refuse_dicom_project"]

#: The publisher's grouping of `ViewPosition`; other views have no plane.
PLANES = {"AP": "frontal", "PA": "frontal", "LATERAL": "lateral", "LL": "lateral"}
_DICOM_TABLES = ("cxr-record-list.csv*", "cxr-study-list.csv*")
_SEX = {"F": "female", "M": "male"}
_PROCEDURE = "PerformedProcedureStepDescription"
_ORIENTATION = "PatientOrientationCodeSequence_CodeMeaning"


def iso_time(date: str, time: str) -> str | None:
    """Join a date and a time of day that lost its leading zeros.

    Args:
        date (`str`): `yyyymmdd`.
        time (`str`): `hhmmss.fff` read as a number: `80556.875` is 08:05:56.875.

    Returns:
        `str`, *optional*: ISO 8601 without zone, which sorts by time; the date alone where the time is blank.

    Raises:
        SchemaError: one of them is no number.

    Example:
        >>> iso_time("21800506", "80556.875"), iso_time("21800506", "3.0")
        ('2180-05-06T08:05:56.875', '2180-05-06T00:00:03')
    """
    day, value = to_int(date), to_float(time)
    if day is None:
        return None
    text = f"{day // 10000:04d}-{day // 100 % 100:02d}-{day % 100:02d}"
    if value is None:
        return text
    whole, thousandths = divmod(round(value * 1000), 1000)
    clock = f"{whole // 10000:02d}:{whole // 100 % 100:02d}:{whole % 100:02d}"
    return f"{text}T{clock}.{thousandths:03d}" if thousandths else f"{text}T{clock}"


def read_pictures(path: Path) -> dict[str, dict[str, Any]]:
    """Read the table of image metadata.

    Args:
        path (`Path`): `mimic-cxr-2.0.0-metadata.csv.gz`.

    Returns:
        `dict`: image id -> `view` (`None` where blank), `plane`, `procedure`, `orientation`, `rows`, `columns` in
        pixels and `study_time` (ISO 8601, shifted dates). Each value belongs to the caller.

    Raises:
        LayoutError: the table does not exist.
        SchemaError: a column is missing, or a number is none.
    """
    shared: dict[object, Any] = {}
    pictures = {}
    for row in read_csv_rows(path, required=("dicom_id", "ViewPosition", "Rows", "Columns", "StudyDate", "StudyTime")):
        moment = (row["StudyDate"], row["StudyTime"])
        if moment not in shared:
            shared[moment] = iso_time(*moment)
        sizes = [row[name] for name in ("Rows", "Columns")]
        texts = [row["ViewPosition"], row.get(_PROCEDURE, ""), row.get(_ORIENTATION, "")]
        view, procedure, orientation = (shared.setdefault(text, text) or None for text in texts)
        height, width = (shared.setdefault(("size", text), to_int(text)) for text in sizes)
        pictures[row["dicom_id"]] = {
            "view": view,
            "plane": PLANES.get(view or ""),
            "procedure": procedure,
            "orientation": orientation,
            "rows": height,
            "columns": width,
            "study_time": shared[moment],
        }
    return pictures


@dataclass(frozen=True, slots=True)
class Person:
    """A patient of MIMIC-IV.

    Args:
        sex (`str`, *optional*): `"female"` or `"male"`.
        anchor_age (`float`): years in the anchor year; 91 stands for all above 89.
        anchor_year (`int`): a shifted year.
    """

    sex: str | None
    anchor_age: float
    anchor_year: int

    def age_at(self, time: str | None) -> float | None:
        """Return the age in years at an ISO time in the patient's shifted calendar, `None` without a time."""
        return None if time is None else self.anchor_age + int(time[:4]) - self.anchor_year


def read_people(path: Path) -> dict[str, Person]:
    """Read MIMIC-IV's table `hosp/patients.csv.gz`, whose patients and shifted dates MIMIC-CXR shares.

    Args:
        path (`Path`): the table.

    Returns:
        `dict[str, Person]`: by `subject_id`.

    Raises:
        LayoutError: the table does not exist.
        SchemaError: a column is missing, or an age or year is no number.
    """
    people = {}
    for row in read_csv_rows(path, required=("subject_id", "gender", "anchor_age", "anchor_year")):
        age, year = to_float(row["anchor_age"]), to_int(row["anchor_year"])
        if age is None or year is None:
            raise SchemaError(
                f"`{path.name}`: expected an anchor age and year for every patient, found none for subject "
                f"{row['subject_id']}. Restore the publisher's table."
            )
        people[row["subject_id"]] = Person(_SEX.get(row["gender"]), age, year)
    return people


def refuse_dicom_project(data_dir: Path, homepage: str) -> None:
    """Say so if a folder is the project MIMIC-CXR, which has DICOM images and reports but no labels and no splits.

    Args:
        data_dir (`Path`): a folder without the tables of MIMIC-CXR-JPG.
        homepage (`str`): where MIMIC-CXR-JPG is to be had.

    Raises:
        LayoutError: it is.
    """
    try:
        root = find_root(data_dir, _DICOM_TABLES, "mimic_cxr")
    except LayoutError:
        return
    raise LayoutError(
        f"mimic_cxr: `{root}` holds MIMIC-CXR (DICOM images, reports), which lacks the labels and splits of "
        f"MIMIC-CXR-JPG. Get {homepage} and pass its folder; the reports may stay where they are (`reports=`)."
    )


def refuse_dicom_file(file: Path, homepage: str) -> bool:
    """Tell whether an image is there; a DICOM file in its place is an error.

    Args:
        file (`Path`): where the JPEG file should be.
        homepage (`str`): where MIMIC-CXR-JPG is to be had.

    Returns:
        `bool`: whether the JPEG file exists.

    Raises:
        LayoutError: a `.dcm` of the same name lies there instead.
    """
    if not file.exists() and file.with_suffix(".dcm").exists():
        raise LayoutError(
            f"mimic_cxr: expected `{file.name}`, found `{file.stem}.dcm` in `{file.parent}`: these are the DICOM "
            f"files of MIMIC-CXR. Get the images of MIMIC-CXR-JPG, {homepage}."
        )
    return file.exists()
