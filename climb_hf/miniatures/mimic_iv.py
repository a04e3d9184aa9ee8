"""Synthetic raw copy of MIMIC-IV 3.1 with MIMIC-IV-ECG, MIMIC-CXR-JPG and MIMIC-IV-Note: one coherent set of patients.

Everything is made up: no row, sentence, film or tracing comes from a patient.

What can be learned, by design: every visit draws two bits for each of its three inputs, a risk and a burden.

========  =================================  =================================
input     risk bit                           burden bit
========  =================================  =================================
X-ray     opacity and oedema                 large heart
ECG       ST depression, inverted T waves    tall QRS
tables    lactate 6 instead of 1.2 mmol/L    creatinine 3.5 instead of 0.8
========  =================================  =================================

Death is the majority of the three risk bits, which are independent and even: each input alone gives an AUC of 0.75,
two together 0.875, all three 1. A survivor stays 3 days plus 2 for every burden bit, give or take a quarter of a day,
so each input explains a third of that variance. Reports repeat the bits of their film. Vital signs are noise.

Oddities of the releases that it writes:

* visits whose film, ECG or table values lie after the prediction time only, and for every visit later data of every
  kind that says the opposite; a lab value drawn in time and stored too late; an earlier and a lateral film in time;
* admissions that end before the prediction time; deaths in hospital after 48 hours; a death stored after discharge;
* a repeated admission row, a negative length of stay, a death before admission, no discharge time, a patient without
  an X-ray, one without an ECG, visits whose diagnoses are not coded yet (those of the ICU stays of the benchmark);
* ICU stays: short ones, one with a change of unit, one admission with two, one that ends before it starts;
* labs without `hadm_id` (three in ten), `___` as a value, comments with commas and quotes, rows out of order, an empty
  `caregiver_id`; times of films that lost leading zeros; codes such as `0030`; leads stored aVR, aVF, aVL; lost
  samples in one of 64 ECGs;
* a discharge summary whose `charttime` is midnight of the day it belongs to, which lies before it was written.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from climb_hf.miniatures import _mimic_inputs as inputs
from climb_hf.miniatures._common import Expected, check_choice, check_count, csv_text, rng, write_bytes, write_text
from climb_hf.miniatures._mimic_tables import FOLDERS, HEADERS, LAB_ITEMS, PLAIN, VITAL_ITEMS, Rows, stamp

__all__ = ["make"]

_TYPES = (("EW EMER.", "EMERGENCY ROOM"), ("URGENT", "TRANSFER FROM HOSPITAL"), ("ELECTIVE", "PHYSICIAN REFERRAL"))
_INSURANCE = ("Medicare", "Medicaid", "Private", "Other", "")
_RACE = ("WHITE", "BLACK/AFRICAN AMERICAN", "HISPANIC/LATINO - PUERTO RICAN", "ASIAN - CHINESE", "UNKNOWN")


@dataclass
class Visit:
    """One admission and what is to be found in its window."""

    number: int
    subject: int
    hadm: int
    admit: datetime
    risk: tuple[int, int, int]
    burden: tuple[int, int, int]
    disch: datetime
    death: datetime | None
    stays: list[tuple[int, datetime, datetime, str, str]] = field(default_factory=list)
    start: datetime = datetime(2100, 1, 1)  # of the window
    hours: int = 24
    missing: tuple[str, ...] = ()
    found: dict[str, object] = field(default_factory=dict)

    @property
    def dies(self) -> bool:
        """Whether two of the three risk bits are set."""
        return sum(self.risk) >= 2

    @property
    def deadline(self) -> datetime:
        """The prediction time."""
        return self.start + timedelta(hours=self.hours)

    @property
    def end(self) -> datetime:
        """The last moment of the window: the prediction time, or discharge or death before it."""
        return min(filter(None, (self.deadline, self.disch, self.death)))


def make(
    root: Path, n: int = 32, seed: int = 0, *, task: str = "paper", layout: str = "physionet", modules: str = "all"
) -> list[Expected]:
    """Write a synthetic MIMIC-IV with its sister projects.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): admissions of the paper's cohort, at least 8; half as many ICU stays
            of the benchmark and a few admissions that no cohort holds come on top.
        seed (`int`, *optional*, defaults to `0`): seed of everything.
        task (`str`, *optional*, defaults to `"paper"`): whose records are told, `"paper"` or `"benchmark"`; what is
            written is the same.
        layout (`str`, *optional*, defaults to `"physionet"`): `"physionet"` (`mimiciv/3.1/`, ...), `"climb"`
            (`multimodal/mimiciv/`, `ecg/mimiciv/`, `chest_xray/mimic-cxr/`) or `"plain"` (no version folders, tables
            not compressed).
        modules (`str`, *optional*, defaults to `"all"`): `"hosp"` leaves out the ECG, X-ray and note projects and
            `icu/`.

    Returns:
        `list[Expected]`: by admission (or stay) id; `values`: `age`, `sex`, `ihm48`, `los_days`, `file` (of the film,
        else of the ECG), `dicom_id`, `ecg_study_id`, `lead_values` (mV, twelve leads, first sample), `lactate`,
        `creatinine` (as written), `missing` (inputs without data in the window), `deadline`, `end` (ISO times),
        `risk`, `burden` (bits of X-ray, ECG, tables).

    Raises:
        OptionError: an option out of range.
    """
    check_count("mimic_iv", n, seed)
    check_choice("mimic_iv", "task", task, ("paper", "benchmark"))
    check_choice("mimic_iv", "layout", layout, tuple(FOLDERS))
    check_choice("mimic_iv", "modules", modules, ("all", "hosp"))
    folders = FOLDERS[layout]
    rows: Rows = {name: [] for name in HEADERS}
    admissions, stays = _admissions(n, seed), _icu_visits(max(8, n // 2), seed)
    people: dict[int, tuple[str, int, int]] = {}
    for visit in admissions + stays:
        _add_person(rows, people, visit)
        _add_admission(rows, visit)
        inputs.add(rows, root, folders, visit, seed, with_files=modules == "all")
    _add_oddities(rows, people, stays, seed)
    _write(root, folders, rows, layout, modules, seed)
    chosen = admissions if task == "paper" else stays
    expected = [_expected(visit, people[visit.subject], task) for visit in chosen]
    return sorted(expected, key=lambda row: int(row.id))


def _patterns(count: int, seed: int, name: str) -> list[int]:
    """Risk patterns 0 to 7, each once in eight visits, in an order of its own."""
    blocks = -(-count // 8)
    return [int(p) for k in range(blocks) for p in rng(seed, "mimic_iv", name, k).permutation(8)][:count]


def _bits(pattern: int) -> tuple[int, int, int]:
    return pattern & 1, pattern >> 1 & 1, pattern >> 2 & 1


def _ids_of(number: int, patient: int) -> tuple[int, int]:
    """Return the ids of patient and admission; the factor gives the hash split a fifth of the visits as test."""
    return 10_000_032 + patient * 1_234_831 % 9_899_000, 20_000_019 + number * 7_654_321 % 9_979_000


def _moment(number: int, patient: int) -> datetime:
    return datetime(2110 + patient * 13 % 80, 1 + patient % 12, 1 + patient % 28, number * 5 % 24, number * 7 % 60)


def _admissions(n: int, seed: int) -> list[Visit]:
    """The admissions of the paper's cohort; some patients have two, of which they survive the first."""
    patterns = _patterns(n, seed, "risk")
    for i in range(0, n - 1, 4):
        if sum(_bits(patterns[i])) >= 2:
            patterns[i], patterns[i + 1] = patterns[i + 1], patterns[i]
    visits = []
    for i in range(n):
        random = rng(seed, "mimic_iv", "visit", i)
        is_second = i % 4 == 1 and sum(_bits(patterns[i - 1])) < 2
        patient = i - is_second
        admit = _moment(i, patient) + timedelta(days=100 * is_second)
        burden = _bits(int(random.integers(8)))
        subject, hadm = _ids_of(i, patient)
        days = 3 + 2 * sum(burden) + float(random.uniform(-0.25, 0.25))
        disch, death = admit + timedelta(minutes=round(days * 1440)), None
        if sum(_bits(patterns[i])) >= 2:
            death = admit + timedelta(hours=14 if patterns[i] == 7 and i % 16 >= 8 else 30 + i * 5 % 17)
            disch = death - timedelta(minutes=5 * (i % 8 == 3))
        elif i % 16 == 5:
            death = disch  # in hospital, long after the 48 hours
        visit = Visit(i, subject, hadm, admit, _bits(patterns[i]), burden, disch, death, start=admit)
        visit.missing = {3: ("image",), 5: ("signal",)}.get(i % 7, ()) + (("values",) if i % 11 == 9 else ())
        if i % 2 == 0:
            out = min(admit + timedelta(hours=30), disch)
            visit.stays = [(30_000_017 + i * 6_543_217 % 9_979_000, admit + timedelta(hours=1), out, "MICU", "MICU")]
        visits.append(visit)
    return visits


def _icu_visits(m: int, seed: int) -> list[Visit]:
    """Admissions with an ICU stay of 48 hours and more; their deaths come later than that."""
    patterns, visits = _patterns(m, seed, "icu"), []
    for k in range(m):
        i = 1000 + k
        random = rng(seed, "mimic_iv", "visit", i)
        burden = _bits(int(random.integers(8)))
        subject, hadm = _ids_of(i, i)
        admit = _moment(i, i)
        start = admit + timedelta(hours=6)
        days = 2.5 + 1.5 * sum(burden) + float(random.uniform(-0.25, 0.25))
        out = start + timedelta(minutes=round(days * 1440))
        death = None
        if sum(_bits(patterns[k])) >= 2:
            death = start + timedelta(hours=60 + k % 5 * 10)
            out = min(out, death)
        last = "CVICU" if k == 2 else "MICU"
        disch = death or out + timedelta(days=2)
        visit = Visit(i, subject, hadm, admit, _bits(patterns[k]), burden, disch, death, start=start, hours=48)
        visit.stays = [(30_000_017 + i * 6_543_217 % 9_979_000, start, out, "MICU", last)]
        visit.missing = {3: ("image",), 5: ("signal",)}.get(k % 7, ())
        visits.append(visit)
    return visits


def _add_person(rows: Rows, people: dict[int, tuple[str, int, int]], visit: Visit) -> None:
    if visit.subject not in people:
        i = visit.number
        person = ("FM"[i % 2], 91 if i % 16 == 15 else 25 + i * 7 % 60, visit.admit.year - i % 3)
        people[visit.subject] = person
        died = visit.death.date().isoformat() if visit.death else None
        rows["hosp/patients"].append([visit.subject, *person, "2014 - 2016", died])


def _add_admission(rows: Rows, visit: Visit) -> None:
    i = visit.number
    kind, place = _TYPES[i % 3]
    gone = ("DIED" if visit.death else "HOME", _INSURANCE[i % 5], "English", ("MARRIED", "")[i % 2], _RACE[i % 5])
    registered = stamp(visit.admit - timedelta(hours=3)) if i % 3 == 0 else None
    times = [stamp(visit.admit), stamp(visit.disch), stamp(visit.death)]
    came = (kind, f"P{i:05d}"[:6], place)
    rows["hosp/admissions"].append(
        [visit.subject, visit.hadm, *times, *came, *gone, registered, registered and times[0], int(bool(visit.death))]
    )
    if visit.hours == 24:
        for number, code in enumerate(("0030", "I10", "E119")[: 1 + i % 3]):
            rows["hosp/diagnoses_icd"].append([visit.subject, visit.hadm, number + 1, code, 9 if number == 0 else 10])
        rows["hosp/procedures_icd"].append([visit.subject, visit.hadm, 1, visit.admit.date(), "0210093", 10])
    drug = ("MAIN", "Sodium Chloride 0.9%, Flush", *[None] * 10, "IV")
    rows["hosp/prescriptions"].append([visit.subject, visit.hadm, i + 1, *[None] * 3, times[0], times[1], *drug])
    for stay, begin, end, first, last in visit.stays:
        los = (end - begin).total_seconds() / 86400
        rows["icu/icustays"].append([visit.subject, visit.hadm, stay, first, last, stamp(begin), stamp(end), los])


def _add_oddities(rows: Rows, people: dict[int, tuple[str, int, int]], stays: list[Visit], seed: int) -> None:
    """Admissions and stays that a documented rule leaves out."""
    rows["hosp/admissions"].append(list(rows["hosp/admissions"][0]))  # a repeated row
    no = (0, 0, 0)

    def visit(k: int, disch: float | None, death: float | None = None) -> Visit:
        i = 2000 + k
        subject, hadm = _ids_of(i, i)
        admit = _moment(i, i)
        late = admit + timedelta(days=disch or 0)
        gone = None if death is None else admit + timedelta(days=death)
        made = Visit(i, subject, hadm, admit, no, no, late, gone, start=admit)
        _add_person(rows, people, made)
        _add_admission(rows, made)
        if disch is None:
            rows["hosp/admissions"][-1][3] = None
        return made

    visit(0, -0.5)  # negative length of stay
    visit(1, 2, -0.1)  # death before admission
    visit(2, None)  # no discharge time
    only_ecg, only_film = visit(3, 4), visit(4, 4)
    inputs.list_ecg(rows, only_ecg, only_ecg.admit + timedelta(hours=1), 49_000_001)
    inputs.list_film(rows, only_film, only_film.admit + timedelta(hours=1), 59_000_001, "PA", seed)
    two = stays[4]
    late = two.stays[0][2] + timedelta(hours=5)
    second = (39_999_001, "SICU", "SICU", stamp(late), stamp(late + timedelta(hours=9)), 0.375)
    backwards = (39_999_002, "SICU", "SICU", stamp(late), stamp(late - timedelta(hours=1)), -0.04)
    rows["icu/icustays"].append([two.subject, two.hadm, *second])
    rows["icu/icustays"].append([only_ecg.subject, only_ecg.hadm, *backwards])


def _write(root: Path, folders: dict[str, str], rows: Rows, layout: str, modules: str, seed: int) -> None:
    """Write the tables; events by subject and time, with a few neighbours exchanged."""
    rows["hosp/d_labitems"] = [[item, label, fluid, category] for item, (label, fluid, category) in LAB_ITEMS.items()]
    rows["icu/d_items"] = [
        [item, label, short, "chartevents", group, unit, "Numeric", None, None]
        for item, (label, short, group, unit) in VITAL_ITEMS.items()
    ]
    rows["hosp/d_icd_diagnoses"] = [["0030", 9, "Salmonella gastroenteritis"], ["I10", 10, "Essential hypertension"]]
    rows["hosp/d_icd_procedures"] = [["0210093", 10, "Bypass Coronary Artery"]]
    _order(rows["hosp/labevents"], lambda row: (row[1], row[6]))
    for number, row in enumerate(rows["hosp/labevents"], 1):
        row[0] = number
    _order(rows["icu/chartevents"], lambda row: (row[0], row[4]))
    for name in ("hosp/patients", "hosp/admissions", "icu/icustays"):
        rows[name].sort(key=lambda row: row[:2])
    for name, header in HEADERS.items():
        module = name.split("/")[0]
        if modules == "hosp" and module != "hosp":
            continue
        text = csv_text([header.split(","), *rows[name]])
        path = root / folders[module] / f"{name.split('/', 1)[1] if module not in ('hosp', 'icu') else name}.csv"
        if layout == "plain" or name in PLAIN:
            write_text(path, text)
        else:
            write_bytes(path.with_name(f"{path.name}.gz"), gzip.compress(text.encode(), compresslevel=6, mtime=0))
    notice = "Synthetic data in the format of MIMIC-IV. No patient is behind any of it.\n"
    write_text(root / folders["hosp"] / "LICENSE.txt", notice)
    if modules == "all":
        write_text(root / folders["mimic-cxr-jpg"] / "files" / "index.html", "<html></html>\n")


def _order(rows: list[list[object]], key: Callable[[list[Any]], tuple[int, str]]) -> None:
    rows.sort(key=key)
    for i in range(5, len(rows) - 1, 37):
        rows[i], rows[i + 1] = rows[i + 1], rows[i]


def _expected(visit: Visit, person: tuple[str, int, int], task: str) -> Expected:
    gender, anchor_age, anchor_year = person
    number = visit.hadm if task == "paper" else visit.stays[0][0]
    begin, end = (visit.admit, visit.disch) if task == "paper" else visit.stays[0][1:3]
    values: dict[str, object] = {
        "age": float(anchor_age + visit.admit.year - anchor_year),
        "sex": {"F": "female", "M": "male"}[gender],
        "ihm48": int(visit.dies),
        "los_days": (end - begin) / timedelta(days=1),
        "hadm_id": str(visit.hadm),
        "missing": visit.missing,
        "deadline": visit.deadline.isoformat(),
        "end": visit.end.isoformat(),
        "risk": visit.risk,
        "burden": visit.burden,
        **visit.found,
    }
    return Expected(str(number), None, str(visit.subject), ("Yes",) if visit.dies else ("No",), values)
