"""Where the projects of MIMIC-IV lie below one folder, which columns their tables need, and the state they are in."""

import csv
import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from climb_hf.errors import CorruptFileError, LayoutError, SchemaError
from climb_hf.readers.tables import check_header, find_table, missing_table

__all__ = [
    "FINDINGS",
    "ROOT_MARKERS",
    "TABLES",
    "Layout",
    "Table",
    "find_layout",
    "fingerprint_paths",
    "refuse_old_release",
    "tables_digest",
]

#: Columns of CheXpert's labels.
FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip

#: Table -> columns that are used, with their types. The others are never converted.
TABLES: dict[str, dict[str, str]] = {
    "patients": {"subject_id": "BIGINT", "gender": "VARCHAR", "anchor_age": "DOUBLE", "anchor_year": "BIGINT"},
    "admissions": {
        "subject_id": "BIGINT", "hadm_id": "BIGINT", "admittime": "TIMESTAMP", "dischtime": "TIMESTAMP",
        "deathtime": "TIMESTAMP", "admission_type": "VARCHAR", "admission_location": "VARCHAR",
        "insurance": "VARCHAR", "language": "VARCHAR", "marital_status": "VARCHAR", "race": "VARCHAR",
        "hospital_expire_flag": "BIGINT",
    },
    "diagnoses_icd": {"hadm_id": "BIGINT", "icd_code": "VARCHAR"},
    "icustays": {
        "subject_id": "BIGINT", "hadm_id": "BIGINT", "stay_id": "BIGINT", "first_careunit": "VARCHAR",
        "last_careunit": "VARCHAR", "intime": "TIMESTAMP", "outtime": "TIMESTAMP",
    },
    "labevents": {
        "subject_id": "BIGINT", "hadm_id": "BIGINT", "itemid": "BIGINT", "charttime": "TIMESTAMP",
        "storetime": "TIMESTAMP", "value": "VARCHAR", "valuenum": "DOUBLE", "valueuom": "VARCHAR",
    },
    "chartevents": {
        "subject_id": "BIGINT", "hadm_id": "BIGINT", "stay_id": "BIGINT", "charttime": "TIMESTAMP",
        "storetime": "TIMESTAMP", "itemid": "BIGINT", "value": "VARCHAR", "valuenum": "DOUBLE", "valueuom": "VARCHAR",
    },
    "d_labitems": {"itemid": "BIGINT", "label": "VARCHAR"},
    "d_items": {"itemid": "BIGINT", "label": "VARCHAR"},
    "record_list": {"subject_id": "BIGINT", "study_id": "BIGINT", "ecg_time": "TIMESTAMP", "path": "VARCHAR"},
    "machine_measurements": {"study_id": "BIGINT", **{f"report_{i}": "VARCHAR" for i in range(18)}},
    "metadata": {
        "dicom_id": "VARCHAR", "subject_id": "BIGINT", "study_id": "BIGINT", "ViewPosition": "VARCHAR",
        "StudyDate": "BIGINT", "StudyTime": "DOUBLE",
    },
    "split": {"subject_id": "BIGINT", "split": "VARCHAR"},
    "chexpert": {"study_id": "BIGINT", **dict.fromkeys(FINDINGS, "DOUBLE")},
    "discharge": {
        "note_id": "VARCHAR", "subject_id": "BIGINT", "hadm_id": "BIGINT", "charttime": "TIMESTAMP",
        "storetime": "TIMESTAMP", "text": "VARCHAR",
    },
    "radiology": {
        "note_id": "VARCHAR", "subject_id": "BIGINT", "hadm_id": "BIGINT", "charttime": "TIMESTAMP",
        "storetime": "TIMESTAMP", "text": "VARCHAR",
    },
}  # fmt: skip
#: Project -> folders in which it may lie below the root, and its tables with the path below that folder.
_FOLDERS = {
    "mimiciv": (
        "mimiciv", "mimiciv/*", "mimic-iv", "mimic-iv/*", "mimic-iv-[0-9]*", "multimodal/mimiciv", "mimic-iv-demo/*",
        "mimic-iv-clinical-database-demo-*", ".",
    ),
    "ecg": ("mimic-iv-ecg*", "mimic-iv-ecg*/*", "ecg/mimiciv", "."),
    "cxr": ("mimic-cxr-jpg*", "mimic-cxr-jpg*/*", "chest_xray/mimic-cxr", "."),
    "note": ("mimic-iv-note*", "mimic-iv-note*/*", "."),
}  # fmt: skip
_PATHS = {
    "mimiciv": {
        **{
            name: f"hosp/{name}.csv" for name in ("admissions", "patients", "diagnoses_icd", "labevents", "d_labitems")
        },
        **{name: f"icu/{name}.csv" for name in ("icustays", "chartevents", "d_items")},
    },
    "ecg": {"record_list": "record_list.csv", "machine_measurements": "machine_measurements.csv"},
    "cxr": {name: f"mimic-cxr-2.0.0-{name}.csv" for name in ("metadata", "split", "chexpert")},
    "note": {name: f"note/{name}.csv" for name in ("discharge", "radiology")},
}
#: The tables without which there is no cohort; all others are optional.
_NEEDED = ("admissions", "patients")


#: Patterns one of which the root of a download holds.
ROOT_MARKERS = tuple(f"{folder}/hosp/admissions.csv*".removeprefix("./") for folder in _FOLDERS["mimiciv"])


@dataclass(frozen=True)
class Table:
    """A table that is there.

    Args:
        name (`str`): key of `TABLES`.
        path (`Path`): the file, compressed or not.
        header (`tuple[str, ...]`): its column names in order.
    """

    name: str
    path: Path
    header: tuple[str, ...]

    @property
    def types(self) -> dict[str, str]:
        """Type of every column of the file, in its order; columns that are not used stay text."""
        return {name: TABLES[self.name].get(name, "VARCHAR") for name in self.header}


@dataclass(frozen=True)
class Layout:
    """What of MIMIC-IV lies below a root.

    Args:
        root (`Path`): the root.
        folders (`Mapping[str, str]`): project (`mimiciv`, `ecg`, `cxr`, `note`) -> its folder relative to the root.
        files (`Mapping[str, Path]`): table -> file, for the tables that are there.
    """

    root: Path
    folders: Mapping[str, str]
    files: Mapping[str, Path]

    def has(self, *names: str) -> bool:
        """Tell whether all of these tables are there."""
        return all(name in self.files for name in names)

    def table(self, name: str) -> Table:
        """Open a table's header and check that the columns in use are there.

        Args:
            name (`str`): key of `TABLES`.

        Returns:
            `Table`.

        Raises:
            LayoutError: the table is not there.
            SchemaError: a column is missing, named with the table.
        """
        path = self.files.get(name)
        if path is None:
            raise missing_table(self.root / f"{name}.csv.gz")
        header = tuple(_header(path))
        check_header(header, tuple(TABLES[name]), path)
        return Table(name, path, header)


def _header(path: Path) -> list[str]:
    """Read the first line; an empty header is for the caller to judge."""
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as lines:
            return [name.strip() for name in next(csv.reader(lines), [])]
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise CorruptFileError(f"`{path}`: not a readable table ({error}). Download it again.") from error


def find_layout(root: Path) -> Layout:
    """Find the projects and tables below a root, with or without version folders, compressed or not.

    Where several versions of a project lie there, the highest is taken.

    Args:
        root (`Path`): folder that holds MIMIC-IV and, beside it, the other projects.

    Returns:
        `Layout`.

    Raises:
        LayoutError: the tables of admissions or patients are not there.
    """
    folders: dict[str, str] = {}
    files: dict[str, Path] = {}
    for project, paths in _PATHS.items():
        places = {place for pattern in _FOLDERS[project] for place in _places(root, pattern)}
        for place in sorted(places, key=_version, reverse=True):
            found = {name: table for name, path in paths.items() if (table := find_table(root / place / path))}
            if found and (project != "mimiciv" or "admissions" in found):
                folders[project] = place
                files.update(found)
                break
    for name in _NEEDED:
        if name not in files:
            raise missing_table(root / folders.get("mimiciv", ".") / "hosp" / f"{name}.csv.gz")
    return Layout(root, folders, files)


def _places(root: Path, pattern: str) -> Iterator[str]:
    if pattern == ".":
        yield "."
    else:
        yield from (path.relative_to(root).as_posix() for path in root.glob(pattern) if path.is_dir())


def _version(place: str) -> tuple[int, list[int], str]:
    """Order folders by the numbers in their names, the root itself last."""
    return int(place != "."), [int(number) for number in re.findall(r"\d+", place)], place


def fingerprint_paths(layout: Layout) -> Iterator[Path]:
    """Yield the tables, and the folders of patients, which change when films or ECGs are added.

    Args:
        layout (`Layout`): the tables and folders.
    """
    yield from sorted(layout.files.values())
    for project in ("cxr", "ecg"):
        if project in layout.folders:
            yield from sorted((layout.root / layout.folders[project]).glob("files/p1*"))


def tables_digest(paths: Iterator[Path] | list[Path], root: Path) -> str:
    """Digest the state of tables: name, size, time, and the checksum a gzip file ends with.

    The last eight bytes of a gzip file are the CRC-32 and the length of its content, so changed content is noticed
    even where size and time were restored; of a plain table the first and last bytes are taken.

    Args:
        paths (`list[Path]`): the files.
        root (`Path`): what their names are relative to: a moved download keeps its digest.

    Returns:
        `str`: 32 hexadecimal digits.

    Raises:
        SchemaError: a path is no file.
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        if not path.is_file():
            raise SchemaError(f"expected the table `{path}` to be a file. Restore it from the publisher.")
        stat = path.stat()
        digest.update(f"{path.relative_to(root).as_posix()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        with path.open("rb") as stream:
            digest.update(stream.read(4096) if path.suffix != ".gz" else b"")
            stream.seek(max(stat.st_size - 4096, 0))
            digest.update(stream.read())
    return digest.hexdigest()[:32]


def refuse_old_release(data_dir: Path) -> None:
    """Say so if a folder is MIMIC-IV 1.0 or older, whose admissions lie in `core/`.

    Args:
        data_dir (`Path`): a folder without `hosp/admissions`.

    Raises:
        LayoutError: it is.
    """
    for pattern in ("core/admissions.csv*", "*/core/admissions.csv*", "*/*/core/admissions.csv*"):
        old = next(data_dir.glob(pattern), None)
        if old is not None:
            raise LayoutError(
                f"mimic_iv: `{old}` belongs to MIMIC-IV 1.0 or older (folder `core/`); this reads 2.0 and later, "
                "which keep admissions in `hosp/`. Get https://physionet.org/content/mimiciv/3.1/."
            )
