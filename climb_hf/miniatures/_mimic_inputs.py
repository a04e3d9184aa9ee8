"""Films, ECGs, table values and notes of one synthetic visit: in its window, and later ones that say the opposite."""

import functools
import hashlib
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._chest import FINDINGS, film
from climb_hf.miniatures._common import rng, save_image, write_bytes, write_text
from climb_hf.miniatures._ecg import draw_ecg
from climb_hf.miniatures._mimic_tables import LAB_ITEMS, VITAL_ITEMS, Rows, stamp

if TYPE_CHECKING:
    from climb_hf.miniatures.mimic_iv import Visit

__all__ = ["add", "list_ecg", "list_film"]

_STANDARD = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_STORED = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
_VIEWS = {"AP": "antero-posterior", "PA": "postero-anterior", "LATERAL": "lateral"}
_INVALID = -32768
_HOUR = timedelta(hours=1)


def add(rows: Rows, root: Path, folders: dict[str, str], visit: "Visit", seed: int, *, with_files: bool) -> None:
    """Write everything a visit has in time, and what comes too late.

    Args:
        rows (`dict`): tables, appended to.
        root (`Path`): folder of the miniature.
        folders (`dict`): folder of each project.
        visit (`Visit`): the visit; `found` and `missing` are filled in.
        seed (`int`): seed of the miniature.
        with_files (`bool`): `False` writes no film and no tracing, and counts them as missing.
    """
    if not with_files:
        visit.missing = (*dict.fromkeys((*visit.missing, "image", "signal")),)
    _films(rows, root, folders["mimic-cxr-jpg"], visit, seed, with_files=with_files)
    _ecgs(rows, root, folders["mimic-iv-ecg"], visit, seed, with_files=with_files)
    visit.found["file"] = visit.found.get("film_file") or f"{visit.found.get('ecg_file')}.dat"
    _labs(rows, visit, seed)
    _vitals(rows, visit, seed)
    _notes(rows, visit)


def _late(visit: "Visit", hours: float = 1) -> datetime:
    """A time after the window: after the prediction time, or after an end that comes before it."""
    return visit.end + hours * _HOUR


def _flip(bits: tuple[int, int, int], k: int) -> int:
    return 1 - bits[k]


def list_film(rows: Rows, visit: "Visit", moment: datetime, study: int, view: str, seed: int) -> str:
    """Add the rows of a film.

    Args:
        rows (`dict`): tables, appended to.
        visit (`Visit`): whose film it is.
        moment (`datetime`): when it was taken.
        study (`int`): its study.
        view (`str`): `ViewPosition`.
        seed (`int`): seed of the miniature.

    Returns:
        `str`: `dicom_id`.
    """
    digest = hashlib.md5(f"{seed} {study} {view}".encode(), usedforsecurity=False).hexdigest() + f"{study:08x}"
    dicom = "-".join(digest[i : i + 8] for i in range(0, 40, 8))
    clock = moment.hour * 10000 + moment.minute * 100 + moment.second + 0.875  # the leading zeros are lost
    rows["mimic-cxr-jpg/mimic-cxr-2.0.0-metadata"].append(
        [dicom, visit.subject, study, "CHEST (PORTABLE AP)", view, 96, 96, moment.strftime("%Y%m%d"), clock,
         "CHEST (PORTABLE AP)", _VIEWS.get(view), "Erect"]
    )  # fmt: skip
    rows["mimic-cxr-jpg/mimic-cxr-2.0.0-split"].append(
        [dicom, study, visit.subject, ("train", "test")[study % 5 == 0]]
    )
    return dicom


def _films(rows: Rows, root: Path, folder: str, visit: "Visit", seed: int, *, with_files: bool) -> None:
    """One frontal film that counts; before it one of the opposite, with it a lateral one, and a later one."""
    study = 50_000_007 + visit.number * 10
    risk, burden = visit.risk[0], visit.burden[0]
    shown = [(_late(visit), study + 9, "AP", 1 - risk, 1 - burden, True)]
    if "image" not in visit.missing:
        view, time = ("AP", "PA")[visit.number % 2], visit.start + (3 + visit.number % 5) * _HOUR
        shown.insert(0, (time, study, view, risk, burden, False))
        if visit.number % 3 == 0:
            shown.insert(0, (visit.start + _HOUR, study + 1, "AP", 1 - risk, 1 - burden, True))
            shown.append((time + _HOUR, study, "LATERAL", 1 - risk, 1 - burden, True))
    for time, number, view, is_opaque, is_large, is_decoy in shown:
        dicom = list_film(rows, visit, time, number, view, seed)
        positive = ("Lung Opacity", "Edema") * is_opaque + ("Cardiomegaly",) * is_large
        stated = [1.0 if name in positive else None for name in sorted(FINDINGS)]
        if view != "LATERAL":
            rows["mimic-cxr-jpg/mimic-cxr-2.0.0-chexpert"].append([visit.subject, number, *stated])
            _report(rows, visit, time, number, positive)
        file = f"{folder}/files/p{str(visit.subject)[:2]}/p{visit.subject}/s{number}/{dicom}.jpg"
        if not is_decoy and with_files:
            visit.found |= {"dicom_id": dicom, "view": view, "film_file": file}
        if with_files:
            random = rng(seed, "mimic_iv", "film", number, view)
            pixels = _decoy_film(is_opaque, is_large) if is_decoy else film(positive, 96, 96, random)
            save_image(root / file, pixels, quality=90)


@functools.cache
def _decoy_film(is_opaque: int, is_large: int) -> NDArray[np.uint8]:
    return film(("Lung Opacity", "Edema") * is_opaque + ("Cardiomegaly",) * is_large, 96, 96, rng(0, "mimic_iv decoy"))


def _report(rows: Rows, visit: "Visit", time: datetime, number: int, positive: tuple[str, ...]) -> None:
    found = f"There is {', '.join(positive).lower()}." if positive else "The lungs are clear, the heart is normal."
    text = f'EXAMINATION:  CHEST\n \nFINDINGS: \n \n{found}\n \nIMPRESSION: \n \n"Synthetic" report {number}.\n'
    hadm = visit.hadm if visit.number % 2 else None
    rows["mimic-iv-note/radiology"].append(
        [f"{visit.subject}-RR-{number % 1000}", visit.subject, hadm, "RR", number % 1000, stamp(time),
         stamp(time + 0.5 * _HOUR), text]
    )  # fmt: skip


def _notes(rows: Rows, visit: "Visit") -> None:
    """The summary: `charttime` is midnight of the day of discharge, `storetime` when it was written."""
    day = visit.disch.replace(hour=0, minute=0, second=0)
    outcome = "died" if visit.death else "went home"
    text = f"Name:  ___\n\nBrief Hospital Course:\nSynthetic summary of {visit.hadm}: the patient {outcome}.\n"
    rows["mimic-iv-note/discharge"].append(
        [f"{visit.subject}-DS-{visit.number}", visit.subject, visit.hadm, "DS", visit.number, stamp(day),
         stamp(visit.disch + 10 * _HOUR), text]
    )  # fmt: skip


def list_ecg(rows: Rows, visit: "Visit", moment: datetime, study: int) -> str:
    """Add the rows of an ECG.

    Args:
        rows (`dict`): tables, appended to.
        visit (`Visit`): whose ECG it is.
        moment (`datetime`): when it was taken.
        study (`int`): its id.

    Returns:
        `str`: path of the record, without suffix, below the project's folder.
    """
    subject = str(visit.subject)
    path = f"files/p{subject[:4]}/p{subject}/s{study}/{study}"
    rows["mimic-iv-ecg/record_list"].append([subject, study, study, stamp(moment), path])
    lines = ["Sinus rhythm", "Abnormal ECG" if visit.risk[1] else "Normal ECG, unconfirmed"]
    measures = ["0-150 Hz", "60 Hz notch", 800, 29999, 29999, 200, 290, 600, 29999, 40, 35]
    rows["mimic-iv-ecg/machine_measurements"].append(
        [subject, study, 6848296, stamp(moment), *lines, *[None] * 16, *measures]
    )
    return path


def _ecgs(rows: Rows, root: Path, folder: str, visit: "Visit", seed: int, *, with_files: bool) -> None:
    """One ECG that counts; for some visits an earlier one of the opposite; always a later one."""
    study = 40_000_003 + visit.number * 10
    risk, burden = visit.risk[1], visit.burden[1]
    made = [(_late(visit, 1.5), study + 9, 1 - risk, 1 - burden, True)]
    if "signal" not in visit.missing:
        made.insert(0, (visit.start + (2 + visit.number % 4) * _HOUR, study, risk, burden, False))
        if visit.number % 4 == 1:
            made.append((visit.start + _HOUR, study + 1, 1 - risk, 1 - burden, True))  # listed last, taken first
    for time, number, is_ischaemic, is_tall, is_decoy in made:
        path = list_ecg(rows, visit, time, number)
        if not with_files:
            continue
        random = rng(seed, "mimic_iv", "ecg", number)
        signal = _decoy_ecg(is_ischaemic, is_tall) if is_decoy else _draw(random, is_ischaemic, is_tall)
        signal = signal.copy()
        if visit.number % 64 == 38 and not is_decoy:
            signal[100:120, 5] = _INVALID
        _write_ecg(root / folder / path, signal, time)
        if not is_decoy:
            leads = tuple(float(v) / 200.0 for v in signal[0])
            visit.found |= {"ecg_study_id": str(number), "lead_values": leads, "ecg_file": f"{folder}/{path}"}


def _draw(random: np.random.Generator, is_ischaemic: int, is_tall: int) -> NDArray[np.int16]:
    """(5000, 12) int16 at 200 per mV, leads in standard order."""
    classes = ("normal", *("sttc",) * is_ischaemic, *("hyp",) * is_tall)
    return np.rint(draw_ecg(random, classes) / 5.0).astype(np.int16)


@functools.cache
def _decoy_ecg(is_ischaemic: int, is_tall: int) -> NDArray[np.int16]:
    return _draw(rng(0, "mimic_iv decoy ecg"), is_ischaemic, is_tall)


def _write_ecg(stem: Path, signal: NDArray[np.int16], moment: datetime) -> None:
    """Write a record as MIMIC-IV-ECG does: aVF before aVL, gain 200 per mV, time and date in the header."""
    stored = signal[:, [_STANDARD.index(lead) for lead in _STORED]]
    write_bytes(stem.with_name(f"{stem.name}.dat"), stored.astype("<i2").tobytes())
    sums = stored.sum(axis=0, dtype=np.int64).astype(np.int16)
    lines = [f"{stem.name} 12 500 {len(stored)} {moment:%H:%M:%S} {moment:%d/%m/%Y}"]
    lines += [
        f"{stem.name}.dat 16 200.0(0)/mV 16 0 {first} {total} 0 {lead}"
        for first, total, lead in zip(stored[0], sums, _STORED, strict=True)
    ]
    write_text(stem.with_name(f"{stem.name}.hea"), "".join(f"{line}\n" for line in lines))


def _labs(rows: Rows, visit: "Visit", seed: int) -> None:
    """Two draws in time (the later one counts), one drawn in time and stored late, one drawn late."""
    random = rng(seed, "mimic_iv", "labs", visit.number)
    lactate, creatinine = ("1.2", "6.0")[visit.risk[2]], ("0.8", "3.5")[visit.burden[2]]
    wrong = {50813: ("1.2", "6.0")[_flip(visit.risk, 2)], 50912: ("0.8", "3.5")[_flip(visit.burden, 2)]}
    right = {50813: lactate, 50912: creatinine}
    units = {50813: "mmol/L", 50912: "mg/dL", 50983: "mEq/L", 51222: "g/dL", 51491: "units"}
    draws = [(_late(visit), _late(visit, 2), wrong)]
    if "values" not in visit.missing:
        draws += [(visit.start + _HOUR, visit.start + 1.5 * _HOUR, wrong)]
        draws += [(visit.start + 5 * _HOUR, visit.start + 6 * _HOUR, right)]
        draws += [(visit.end - 0.25 * _HOUR, visit.end + 0.25 * _HOUR, wrong)]
        visit.found |= {"lactate": lactate, "creatinine": creatinine}
    for number, (drawn, stored, values) in enumerate(draws):
        noise = {50983: f"{random.integers(130, 148)}", 51222: f"{random.uniform(8, 15):.1f}", 51491: "6.5"}
        for position, item in enumerate(LAB_ITEMS):
            value = values.get(item) or noise[item]
            is_hidden = item == 50983 and visit.number % 5 == 0
            comment = 'HEMOLYSIS, "MODERATE", FALSELY ELEVATES THIS RESULT.' if position == 2 else None
            hadm = None if (visit.number + position + number) % 10 < 3 else visit.hadm
            rows["hosp/labevents"].append(
                [0, visit.subject, hadm, 7_000_000 + visit.number * 10 + number, item, ("P12ABC", None)[position % 2],
                 stamp(drawn), stamp(stored), "___" if is_hidden else value, None if is_hidden else value,
                 units[item], 0.5, 2, "abnormal" if position == 0 else None, "STAT", comment]
            )  # fmt: skip


def _vitals(rows: Rows, visit: "Visit", seed: int) -> None:
    """Noise in time for visits with an ICU stay, wild values after the window."""
    random = rng(seed, "mimic_iv", "vitals", visit.number)
    for stay, begin, _, _, _ in visit.stays:
        hours = () if "values" in visit.missing else (1, 3, 5)
        times = [begin + h * _HOUR for h in hours] + [_late(visit)]
        for number, time in enumerate(times):
            is_late = number == len(hours)
            for item, (_, _, _, unit) in VITAL_ITEMS.items():
                value: object = 40 if is_late else int(random.integers(70, 100))
                if item == 223900:
                    value = "No Response-ETT, late" if is_late else "Oriented"
                rows["icu/chartevents"].append(
                    [visit.subject, visit.hadm, stay, (18704, None)[number % 2], stamp(time),
                     stamp(time + (0.5 if number else -0.25) * _HOUR), item, value, 5 if item == 223900 else value,
                     unit, 0]
                )  # fmt: skip
