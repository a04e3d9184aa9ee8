"""The tables of INSPECT, joined to one object per study: labels, split, report, acquisition, person."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from climb_hf.errors import LayoutError
from climb_hf.readers.omop import Person, parse_time, read_persons
from climb_hf.readers.tables import find_table, read_csv_rows, to_bool, to_float

__all__ = ["Study", "newest_table", "read_old_studies", "read_studies"]

_KEY, _IMAGE, _PERSON = "impression_id", "image_id", "person_id"
_SUFFIX = ".nii.gz"
_CENSORED = ("", "NA", "NaN", "nan", "null", "Censored", "Censor", "censored", "CENSORED")
_FLAGS = ("pe_positive", "pe_positive_nlp", "pe_acute", "pe_subsegmentalonly")
_MINUTES_PER_DAY = 1440
_SERIES = (
    "Manufacturer", "num_slices", "SliceThickness", "PixelSpacing_0", "PixelSpacing_1", "WindowCenter", "WindowWidth",
    "RescaleIntercept", "RescaleSlope",
)  # fmt: skip
_STUDY = ("StudyDescription", "KVP", "ConvolutionKernel", "PatientPosition", "Rows", "Columns")
_PERSONS = ("person.csv", "EHR/person.csv", "EHR/*/person.csv", "EHR/person.csv.gz", "EHR/*/person.csv.gz")


@dataclass
class Study:
    """One study with everything the tables say of it.

    Args:
        number (`str`): `impression_id`.
        image (`str`): name of the volume without its ending, empty where the mapping lists none.
        labels (`Mapping[str, str]`): the row of the labels.
        person (`str`): `person_id`, empty where unknown.
        split (`str`): as written, empty where unknown.
        report (`str`, *optional*): the impression.
        mapping (`Mapping[str, str]`): the row that joins report and volume.
        series (`Mapping[str, str]`): acquisition of the volume.
        acquisition (`Mapping[str, str]`): acquisition of the study.
        ehr_person (`str`, *optional*): person of the volume by the table that links volumes and health records.
        person_facts (`Person`, *optional*): sex, birth and race.
    """

    number: str
    image: str
    labels: Mapping[str, str]
    person: str = ""
    split: str = ""
    report: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    series: Mapping[str, str] = field(default_factory=dict)
    acquisition: Mapping[str, str] = field(default_factory=dict)
    ehr_person: str | None = None
    person_facts: Person | None = None

    @property
    def time(self) -> datetime | None:
        """When the CT was taken."""
        return parse_time(self.mapping.get("procedure_DATETIME", ""))

    def raw_label(self) -> str | None:
        """Return the columns that make the class in words, such as `"pe_positive=1 pe_acute=1 pe_subsegmentalonly=0"`.

        A blank `pe_positive` is replaced by `pe_positive_nlp`; without embolism the other columns do not count.

        Returns:
            `str`, or `None` where a column is blank that decides.

        Raises:
            SchemaError: a cell is neither yes nor no.
        """
        positive, nlp, *flags = (to_bool(self.labels.get(name, ""), _CENSORED) for name in _FLAGS)
        positive = nlp if positive is None else positive
        if positive is None or (positive and None in flags):
            return None
        if not positive:
            return f"{_FLAGS[0]}=0"
        return " ".join((f"{_FLAGS[0]}=1", *(f"{n}={int(bool(v))}" for n, v in zip(_FLAGS[2:], flags, strict=True))))

    def targets(self) -> dict[str, Any]:
        """Return the outcomes: months as true, false or null (censored); times to an event in days."""
        found: dict[str, Any] = {}
        for name, cell in self.labels.items():
            if "_month_" in name or name.startswith("is_censored_"):
                found[name] = to_bool(cell, _CENSORED)
            elif name.startswith("tte_"):
                minutes = to_float(cell, strict=False)
                found[f"{name}_days"] = None if minutes is None else minutes / _MINUTES_PER_DAY
        return found

    def metadata(self) -> dict[str, Any]:
        """Return the rest as JSON values; cells that hold nothing are null."""
        flags = {name: cell or None for name, cell in self.labels.items() if name.startswith("pe_")}
        person = self.person_facts
        return {
            _KEY: int(self.number) if self.number.isdigit() else self.number,
            _PERSON: self.person or None,
            "ehr_person_id": self.ehr_person,
            **{name: self.mapping.get(name) or None for name in ("note_id", "procedure_DATETIME", "provenance")},
            **flags,
            **{name: _cell(self.series[name]) for name in _SERIES if name in self.series},
            **{name: _cell(self.acquisition[name]) for name in _STUDY if name in self.acquisition},
            **({"race": person.race, "ethnicity": person.ethnicity} if person else {}),
        }


def newest_table(root: Path, stem: str) -> Path | None:
    """Find the newest edition of a table: `<stem>_<date>.tsv`, else `<stem>.tsv`.

    Args:
        root (`Path`): the folder.
        stem (`str`): name without date, such as `"labels"`.

    Returns:
        `Path`, *optional*
    """
    dated = sorted(path for path in root.glob(f"{stem}_*.tsv") if path.stem.removeprefix(f"{stem}_").isdigit())
    return dated[-1] if dated else find_table(root / f"{stem}.tsv")


def read_studies(root: Path) -> Iterator[Study]:
    """Read the tables of the current release, in the order of the labels.

    Args:
        root (`Path`): the folder of the tables. Those of reports, acquisition and persons may be absent.

    Yields:
        `Study`: repeated rows of the tables give repeated studies; joins take the first row of a key.

    Raises:
        LayoutError: the labels or the mapping are not there.
        SchemaError: a column is missing.
    """
    mapping = _by(root, "study_mapping", _KEY, required=(_IMAGE,), needed=True)
    splits = _by(root, "splits", _KEY, required=(_PERSON, "split"))
    reports = _by(root, "impressions", _KEY, required=("impressions",))
    acquisitions = _by(root, "study_metadata", _KEY)
    series = _main_series(root)
    of_person = {row[_PERSON]: row["split"] for row in splits.values()}
    crosswalk = sorted([*root.glob("image_ehr_crosswalk_*.csv"), *root.glob("EHR/image_ehr_crosswalk_*.csv")])
    linked = {}
    for row in read_csv_rows(crosswalk[-1], required=(_PERSON, _IMAGE)) if crosswalk else ():
        linked[row[_IMAGE].removesuffix(_SUFFIX)] = row[_PERSON]
    people = next((read_persons(path) for pattern in _PERSONS for path in root.glob(pattern)), {})
    for row in _rows(root, "labels", required=(_KEY,), needed=True):
        number = row[_KEY].strip()
        join, split = mapping.get(number, {}), splits.get(number, {})
        image = join.get(_IMAGE, "").strip().removesuffix(_SUFFIX)
        person = split.get(_PERSON) or join.get(_PERSON) or ""
        yield Study(
            number=number,
            image=image,
            labels=row,
            person=person,
            split=split.get("split") or of_person.get(person, ""),
            report=reports.get(number, {}).get("impressions") or None,
            mapping=join,
            series=series.get(image, {}),
            acquisition=acquisitions.get(number, {}),
            ehr_person=linked.get(image),
            person_facts=people.get(person),
        )


def read_old_studies(table: Path) -> Iterator[Study]:
    """Read the one table of the older release, whose volumes are named after the reports.

    Args:
        table (`Path`): the table.

    Yields:
        `Study`
    """
    for row in read_csv_rows(table, required=(_KEY, "pe_positive", "pe_acute", "pe_subsegmentalonly")):
        number = row[_KEY].strip()
        yield Study(number, number, row, person=(row.get(_PERSON) or "").strip())


def _rows(root: Path, stem: str, *, required: tuple[str, ...] = (), needed: bool = False) -> Iterator[dict[str, str]]:
    table = newest_table(root, stem)
    if table is None and needed:
        raise LayoutError(f"`{stem}_*.tsv` not found in `{root}`. Download it from the publisher into that folder.")
    yield from read_csv_rows(table, required=required, delimiter="\t") if table else ()


def _by(
    root: Path, stem: str, key: str, *, required: tuple[str, ...] = (), needed: bool = False
) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in _rows(root, stem, required=(key, *required), needed=needed):
        found.setdefault(row[key].strip(), row)
    return found


def _main_series(root: Path) -> dict[str, dict[str, str]]:
    """Return volume -> its series: the one of most slices, of those the one of the thinnest."""
    found: dict[str, tuple[tuple[float, float], dict[str, str]]] = {}
    for row in _rows(root, "series_metadata", required=(_IMAGE,)):
        count, thickness = (to_float(row.get(name, ""), strict=False) for name in ("num_slices", "SliceThickness"))
        order = (-(count or 0), thickness or float("inf"))
        image = row[_IMAGE].strip().removesuffix(_SUFFIX)
        if image not in found or order < found[image][0]:
            found[image] = order, row
    return {image: row for image, (_, row) in found.items()}


def _cell(text: str) -> str | float | None:
    number = to_float(text, strict=False)
    return number if number is not None else text.strip() or None
