"""From a row of a MIMIC-IV cohort to the files and the metadata of a record."""

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from climb_hf.readers.mimic_layout import Layout
from climb_hf.readers.patient_folders import subfolders

__all__ = ["Input", "Places", "ecg_facts", "film_facts", "visit_facts"]

logger = logging.getLogger(__name__)

#: States of a film or an ECG.
PRESENT, NONE, NOT_THERE = "present", "none in the window", "not downloaded"
_PLAIN = (
    "admission_type", "admission_location", "insurance", "language", "marital_status", "race",
)  # fmt: skip


@dataclass(frozen=True)
class Input:
    """The film or the ECG of a visit.

    Args:
        state (`str`): `"present"`, `"none in the window"` or `"not downloaded"` (the patient's folder is not there).
        files (`tuple[str, ...]`, *optional*): its files, relative to the root.
    """

    state: str
    files: tuple[str, ...] = ()


class Places:
    """Which patients' films and ECGs are there.

    Args:
        layout (`Layout`): the projects.
    """

    def __init__(self, layout: Layout) -> None:
        self._folders = layout.folders
        self._films = self._patients(layout, "cxr", 2)
        self._ecgs = self._patients(layout, "ecg", 4)
        self._absent: Counter[str] = Counter()

    @staticmethod
    def _patients(layout: Layout, project: str, digits: int) -> dict[str, str]:
        if project not in layout.folders:
            return {}
        top = f"{layout.folders[project]}/files"
        tens = range(10 ** (digits - 1), 2 * 10 ** (digits - 1))
        return subfolders(layout.root, [f"{top}/p{number}" for number in tens], "p")

    def film(self, row: dict[str, Any]) -> Input:
        """Return the film of a visit."""
        if row["film"] is None:
            return Input(NONE)
        holder = self._films.get(f"p{row['subject_id']}")
        if holder is None:
            return self._count("X-ray")
        film = row["film"]
        return Input(PRESENT, (f"{holder}/p{row['subject_id']}/s{film['study']}/{film['dicom']}.jpg",))

    def ecg(self, row: dict[str, Any]) -> Input:
        """Return the ECG of a visit: header and samples."""
        if row["ecg"] is None:
            return Input(NONE)
        if f"p{row['subject_id']}" not in self._ecgs:
            return self._count("ECG")
        stem = f"{self._folders['ecg']}/{row['ecg']['path']}".removeprefix("./")
        return Input(PRESENT, (f"{stem}.hea", f"{stem}.dat"))

    def _count(self, what: str) -> Input:
        self._absent[what] += 1
        return Input(NOT_THERE)

    def say_what_is_absent(self) -> None:
        """Log how many visits have an input in the tables whose patient's folder is not there."""
        for what, count in sorted(self._absent.items()):
            logger.warning("mimic_iv: %d visits have an %s that is not downloaded; it is null", count, what)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _hours(moment: datetime, start: datetime) -> float:
    return (moment - start).total_seconds() / 3600


def visit_facts(row: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of a visit: ids, the window, what the tables say of the patient.

    Times are shifted per patient; they order its visits and mean nothing else.

    Args:
        row (`dict`): a row of the cohort.

    Returns:
        `dict`: `prediction_time` and `window_end` (ISO; the earlier of prediction time, discharge and death), ...
    """
    facts = {name: None if row[name] is None else str(row[name]) for name in ("subject_id", "hadm_id", "stay_id")}
    facts |= {"window_start": _iso(row["start"]), "window_end": _iso(row["ending"])}
    facts |= {"prediction_time": _iso(row["deadline"])}
    return {
        **facts,
        "ended_before_prediction": row["ending"] < row["deadline"],
        "measured_items": row["n_items"],
        "note_ids": row["note_ids"].split() if row["note_ids"] else [],
        "image_split": row["image_split"],
        **{name: row[name] for name in _PLAIN},
    }


def film_facts(row: dict[str, Any], film: Input) -> dict[str, Any]:
    """Return the metadata of the film: ids, view, hours after the start of the window, CheXpert's labels."""
    facts: dict[str, Any] = {"image": film.state, "dicom_id": None, "cxr_study_id": None, "view": None}
    facts |= {"image_hours": None, "chexpert": None}
    if row["film"] is not None:
        labels = row["chexpert"] or {}
        facts |= {
            "dicom_id": row["film"]["dicom"],
            "cxr_study_id": str(row["film"]["study"]),
            "view": row["film"]["shown"],
            "image_hours": _hours(row["film"]["moment"], row["start"]),
            "chexpert": {name: value for name, value in labels.items() if value is not None},
        }
    return facts


def ecg_facts(row: dict[str, Any], ecg: Input) -> dict[str, Any]:
    """Return the metadata of the ECG: id, hours after the start of the window, the machine's report."""
    facts: dict[str, Any] = {"signal": ecg.state, "ecg_study_id": None, "signal_hours": None, "ecg_report": None}
    if row["ecg"] is not None:
        facts |= {
            "ecg_study_id": str(row["ecg"]["study"]),
            "signal_hours": _hours(row["ecg"]["moment"], row["start"]),
            "ecg_report": row["ecg_report"],
        }
    return facts
