"""The tables of the COVIDx-US repository, joined by the id of the video."""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from climb_hf.errors import SchemaError
from climb_hf.readers.tables import read_csv_rows, to_float, to_int
from climb_hf.readers.xlsx import read_xlsx_rows

__all__ = ["LABELS", "NAME", "VIDEOS", "read_covidx_tables"]

LABELS, VIDEOS = "labels/COVIDx-US1.4_4class.csv", "utils/video_metadata.csv"
_CROPPING, _CLINICAL = "utils/video_cropping_metadata.csv", "labels/CovidxUS1.5_metadata.xlsx"
#: Id of a video, `<n>_<source>_<class>`, which is its file name too.
NAME = re.compile(r"(\d+)_([a-z]+)_(covid|pneumonia|normal|other)")
_ENCODING = "cp1252"
_KEPT = ("source", "probe", "type", "case_no", "class_on_website", "comment", "version", "date_added")
#: Licence of the videos of a source by the token of its name; the others state none.
_LICENCES = {
    "pocusatlas": "CC-BY-NC-4.0",
    "litfl": "CC-BY-NC-SA-4.0",
    "radio": "CC-BY-NC-SA-3.0",
    "paper": "CC-BY-4.0",
}


def read_covidx_tables(root: Path) -> dict[str, dict[str, Any]]:
    """Join the tables of the repository.

    Args:
        root (`Path`): folder with `labels/` and `utils/`; a table that is not there adds nothing.

    Returns:
        `dict`: id -> `class` (as written), `patient` (`p1`, `p2` …, only from the label table), `age` in years,
        `sex`, `luss` (severity 0 to 3), each `None` where blank or `NA`, `metadata`, and `fault`: what is wrong with
        the row, else `None`.

    Raises:
        SchemaError: a column is missing.
    """
    labels = _rows(root / LABELS, ("id", "LUSS", "class", "patient"))
    videos, cropping = _rows(root / VIDEOS, ("id", "class")), _rows(root / _CROPPING, ("filename",))
    clinical: dict[str, dict[str, str]] = {}
    if (root / _CLINICAL).is_file():
        clinical = {row["id"].strip(): row for row in read_xlsx_rows(root / _CLINICAL, required=("id",))}
    return {
        video: _joined(video, labels.get(video, {}), videos.get(video, {}), cropping.get(video, {}), clinical)
        for video in {**labels, **videos}
    }


def _rows(table: Path, required: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Return the rows by id; the first of the required columns holds it, in one table with a suffix."""
    if not table.is_file():
        return {}
    rows = {}
    for row in read_csv_rows(table, required=required, encoding=_ENCODING):
        video = PurePosixPath(row[required[0]].strip()).stem
        if NAME.fullmatch(video):  # the last row of one table is empty
            rows[video] = {name: cell.strip() for name, cell in row.items()}
    return rows


def _joined(
    video: str,
    label: dict[str, str],
    known: dict[str, str],
    cropping: dict[str, str],
    clinical: dict[str, dict[str, str]],
) -> dict[str, Any]:
    told = {name: cell for name, cell in clinical.get(video, {}).items() if cell.strip()}
    merged = {**told, **{name: cell for row in (label, known) for name, cell in row.items() if cell}}
    age, sex = merged.get("age", ""), merged.get("gender", "").lower()
    box = [int(number) for number in re.findall(r"-?\d+", cropping.get("x1_w_y1_h", ""))]
    years, word = to_float(age, strict=False), label.get("class") or known.get("class") or ""
    luss, fault = None, None
    if word.lower() != video.split("_")[2]:
        fault = f"expected the tables to give the class of the name, found {word!r}. Restore them."
    try:
        luss = to_int(label.get("LUSS", ""))
    except SchemaError as error:
        fault = f"`LUSS`: {error}"
    return {
        "class": word,
        "patient": label.get("patient") or None,
        "age": years,
        "sex": sex if sex in ("female", "male") else None,
        "luss": luss,
        "fault": fault,
        "metadata": {
            **{name: merged.get(name) for name in _KEPT},
            "patient": known.get("patient") or None,
            "age_as_written": age if age and years is None else None,
            "licence": known.get("license") or _LICENCES.get(video.split("_")[1]),
            "crop_box": box if len(box) == 4 else None,  # x, width, y, height
            "clinical": {name: cell for name, cell in told.items() if name not in {"id", *label, *known}},
        },
    }
