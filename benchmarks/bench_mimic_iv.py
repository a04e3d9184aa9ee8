"""The MIMIC-IV cohort from compressed tables against a pandas pipeline: time, peak memory, full size extrapolated.

The tables are generated (synthetic): 10 million chart events and, in the proportion of MIMIC-IV 3.1, 3.66 million lab
events, each one gzip stream, with the admissions, ICU stays, ECGs and films that belong to them. Both sides run in a
process of their own, alternately, and must give the same visits, labels, histories, ECGs and films. The reference is
what one writes with pandas: `read_csv` of the needed columns, rows of wanted items, `merge`, window, `groupby`.
"""

import gzip
import hashlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

CHART_ROWS, LAB_ROWS = 10_000_000, 3_660_000
#: Rows of MIMIC-IV 3.1 (validate.sql of mimic-code).
FULL_CHART_ROWS, FULL_LAB_ROWS = 432_997_491, 158_374_764
ADMISSIONS, STAYS, ROUNDS, LIMIT_GB = 12_610, 2_180, 3, 4.0

_STAMP = "'%Y-%m-%d %H:%M:%S'"
_ADMIT = "(timestamp '2110-01-01' + to_hours(cast(a // 2 * 41 % 500000 + a % 2 * 3000 as int)))"
_HADM, _SUBJECT = "(20000000 + a * 7919 % 9999991) as hadm_id", "(10000000 + a // 2 * 1187) as subject_id"
_STAY = "(30000000 + a * 4201 % 9999991) as stay_id"
_VITALS = (
    "220045,220179,220180,220181,220210,220277,223761,223900,223901,220739,220621,223835,224650,224642,224080,224054,"
    "224055,224056,224057,224058,224059,226104,226253,227943,227944,228096,228097,228305,223781,223782,227121,224001,"
    "225054,229321,220046,220047,223751,223752,223769,223770,224161,224162,220056,220058"
)
_LABS = (
    "50983,50971,50902,50882,50931,50893,50960,50868,50970,50912,51006,51301,51222,51221,51265,50813,51237,51274,51275,"
    "51248,51249,51250,51277,51279,51146,51200,51244,51254,51256,50934,50947,51678"
)


def _after(hours: str) -> str:
    """Return the text of a moment some hours after admission."""
    return f"strftime({_ADMIT} + to_minutes(cast(60 * ({hours}) as bigint)), {_STAMP})"


def _people() -> dict[str, str]:
    """Return the queries of patients and visits; `a` is the number of an admission, two to a patient."""
    visits = f"(select i as a from range({ADMISSIONS}) t(i))"
    return {
        "hosp/patients": f"""
            select {_SUBJECT}, ['F', 'M'][a // 2 % 2 + 1] as gender, 20 + a // 2 % 70 as anchor_age,
                year({_ADMIT}) as anchor_year, '2014 - 2016' as anchor_year_group, null as dod
            from {visits} where a % 2 = 0""",
        "hosp/admissions": f"""
            select {_SUBJECT}, {_HADM}, {_after("0")} as admittime, {_after("a % 4 * 36 + 60")} as dischtime,
                case when a % 9 = 5 then {_after("30 + a % 60")} end as deathtime, 'URGENT' as admission_type,
                null as admit_provider_id, 'EMERGENCY ROOM' as admission_location, 'HOME' as discharge_location,
                'Medicare' as insurance, 'English' as language, null as marital_status, 'WHITE' as race,
                null as edregtime, null as edouttime, cast(a % 9 = 5 as int) as hospital_expire_flag
            from {visits}""",
        "hosp/diagnoses_icd": f"""
            select {_SUBJECT}, {_HADM}, n as seq_num, '00' || n as icd_code, 9 as icd_version
            from {visits}, range(1, 13) s(n)""",
        "icu/icustays": f"""
            select {_SUBJECT}, {_HADM}, {_STAY}, 'MICU' as first_careunit, 'MICU' as last_careunit,
                {_after("2")} as intime, {_after("58")} as outtime, 2.33 as los
            from {visits} where a < {STAYS}""",
        "ecg/record_list": f"""
            select {_SUBJECT}, 40000000 + a * 2 + n as study_id, a as file_name, {_after("n * 30 + 2")} as ecg_time,
                'files/p/s' || a || '/' || n as path
            from {visits}, range(2) s(n) where a // 2 % 5 < 3""",
        "cxr/metadata": f"""
            select 'd' || a || '-' || n as dicom_id, {_SUBJECT}, 50000000 + a as study_id,
                null as PerformedProcedureStepDescription, ['AP', 'LATERAL', 'PA'][a % 3 + 1] as ViewPosition,
                2500 as "Rows", 3050 as "Columns", strftime(moment, '%Y%m%d') as StudyDate,
                cast(strftime(moment, '%H%M%S') as int) + 0.5 as StudyTime
            from (select *, {_ADMIT} + to_hours(cast(n * 20 + 3 as int)) as moment from {visits}, range(2) s(n))
            where a // 2 % 5 > 0""",
    }


def _events() -> dict[str, str]:
    """Return the queries of the event tables: sorted by visit and time, as the publisher's are."""
    per_stay, per_visit = CHART_ROWS // STAYS, LAB_ROWS // ADMISSIONS
    return {
        "icu/chartevents": f"""
            select {_SUBJECT}, {_HADM}, {_STAY},
                case when j % 11 = 0 then null else hash(i // 44) % 90000 + 5000 end as caregiver_id,
                strftime(moment, {_STAMP}) as charttime,
                strftime(moment + to_minutes(12), {_STAMP}) as storetime, [{_VITALS}][j % 44 + 1] as itemid,
                case when j % 44 in (7, 8, 9, 13, 14, 15, 21, 22, 24, 28, 30)
                    then ['Obeys Commands', 'Oriented', 'Spontaneously', 'Alert, oriented', 'No Response', 'Yes',
                        'WNL'][cast(hash(i) % 7 as bigint) + 1]
                    else cast(60 + hash(i) % 80 as varchar) end as value,
                60 + hash(i) % 80 as valuenum, case when j % 44 < 7 then 'mmHg' end as valueuom, 0 as warning
            from (select *, {_ADMIT} + to_minutes(cast(120 + j // 44 * 35 + hash(i // 44) % 20 as int)) as moment
                from (select i, i // {per_stay} as a, i % {per_stay} as j from range({CHART_ROWS}) t(i)))
            where a < {STAYS} order by i""",
        "hosp/labevents": f"""
            select i + 1 as labevent_id, {_SUBJECT}, if(i % 100 < 29, null, {_HADM.split(" as ")[0]}) as hadm_id,
                hash(i // 32) % 99000000 + 900000 as specimen_id, [{_LABS}][j % 32 + 1] as itemid,
                if(i % 3 = 0, null, 'P' || (hash(i // 32) % 90 + 10) || 'XYZ') as order_provider_id,
                strftime(moment, {_STAMP}) as charttime,
                strftime(moment + to_minutes(60), {_STAMP}) as storetime,
                if(i % 50 = 0, '___', cast(hash(i) % 1500 / 10.0 as varchar)) as value,
                if(i % 50 = 0, null, hash(i) % 1500 / 10.0) as valuenum,
                ['mEq/L', 'mg/dL', 'g/dL', '%', 'K/uL'][j % 5 + 1] as valueuom, 3.5 as ref_range_lower,
                5.5 as ref_range_upper, if(i % 4 = 0, 'abnormal', null) as flag,
                ['STAT', 'ROUTINE'][j % 2 + 1] as priority,
                if(i % 6 = 0, 'HEMOLYSIS FALSELY ELEVATES, THIS RESULT.  ___', null) as comments
            from (select *, {_ADMIT} + to_minutes(cast(j // 32 * 400 + hash(i // 32) % 300 as int)) as moment
                from (select i, i // {per_visit} as a, i % {per_visit} as j from range({LAB_ROWS}) t(i)))
            where a < {ADMISSIONS} order by i""",
    }


FILES = {"ecg/record_list": "mimic-iv-ecg/1.0/record_list.csv",
         "cxr/metadata": "mimic-cxr-jpg/2.1.0/mimic-cxr-2.0.0-metadata.csv"}  # fmt: skip


def path_of(root: Path, name: str) -> Path:
    """Return where a table lies, without `.gz`."""
    return root / FILES.get(name, f"mimiciv/3.1/{name}.csv")


def generate(root: Path) -> None:
    """Write the tables, each compressed as one gzip stream, but for that of the ECGs."""
    import duckdb

    session = duckdb.connect(config={"temp_directory": str(root / "spill")})
    for name, query in (_people() | _events()).items():
        path = path_of(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        session.execute(f"copy ({query}) to '{path}' (format csv, header true)")
        if name != "ecg/record_list":
            with path.open("rb") as plain, gzip.open(f"{path}.gz", "wb", compresslevel=6) as packed:
                shutil.copyfileobj(plain, packed, 1 << 20)
            path.unlink()
    session.close()
    shutil.rmtree(root / "spill", ignore_errors=True)


def with_climb(root: Path) -> list[tuple]:
    """Build the cohort as a build of the dataset does, but uncached."""
    from climb_hf.readers.mimic_build import Request, build_cohort
    from climb_hf.readers.mimic_cohort import Cohort
    from climb_hf.readers.mimic_layout import find_layout

    folder = root / f"cohort-{time.time_ns()}"
    build_cohort(find_layout(root), Request(), folder)
    cohort = Cohort(folder)
    texts = cohort.visits["text"].to_pylist()
    rows = [
        (r["id"], r["ihm48"], r["los_days"], text, r["ecg"] and r["ecg"]["study"], r["film"] and r["film"]["dicom"])
        for r, text in zip(cohort.rows("id", "ihm48", "los_days", "ecg", "film"), texts, strict=True)
    ]
    shutil.rmtree(folder)
    return rows


def history(events, names):
    """Return the words of every visit's measurements, with pandas."""
    import pandas as pd

    events = events[(events.charttime >= events.admittime) & (events.charttime <= events.ending)]
    events = events[events.storetime.isna() | (events.storetime <= events.ending)]
    events = events[events.value.notna() & (events.value != "___")]
    events = events.sort_values(["hadm_id", "itemid", "charttime", "storetime"])
    groups = events.groupby(["hadm_id", "itemid"])
    last = groups[["value", "valueuom"]].last()
    numbers = events[events.valuenum.notna()].sort_values(["hadm_id", "itemid", "valuenum"])
    extremes = numbers.groupby(["hadm_id", "itemid"]).value.agg(["first", "last"])
    last = last.join(extremes).reset_index()
    last["label"] = last.itemid.map(names)
    words = last.label + " " + last.value + (" " + last.valueuom).fillna("")
    moved = pd.to_numeric(last.value, errors="coerce").notna() & (last["first"] != last["last"])
    words = words.where(~moved, words + " (" + last["first"].fillna("") + " to " + last["last"].fillna("") + ")")
    return last.assign(words=words).sort_values(["label", "itemid"]).groupby("hadm_id").words.agg("; ".join)


def last_inputs(ecgs, films, windows):
    """Return the last ECG and the last frontal film of every visit, with pandas."""
    import pandas as pd

    ecgs = ecgs.merge(windows, on="subject_id")
    ecgs = ecgs[(ecgs.ecg_time >= ecgs.admittime) & (ecgs.ecg_time <= ecgs.ending)]
    ecg = ecgs.sort_values(["ecg_time", "study_id"]).groupby("hadm_id").study_id.last()
    films = films[films.ViewPosition.isin(["AP", "PA"])].merge(windows, on="subject_id")
    clock = films.StudyTime.astype(int).astype(str).str.zfill(6)
    films["moment"] = pd.to_datetime(films.StudyDate.astype(str) + clock, format="%Y%m%d%H%M%S")
    films["moment"] += pd.to_timedelta(films.StudyTime % 1, unit="s")
    films = films[(films.moment >= films.admittime) & (films.moment <= films.ending)]
    film = films.sort_values(["moment", "dicom_id"]).groupby("hadm_id").dicom_id.last()
    return ecg, film


def with_pandas(root: Path) -> list[tuple]:
    """Build the same cohort with pandas."""
    import numpy as np
    import pandas as pd

    from climb_hf.readers.mimic_text import LAB_ITEMS, VITAL_ITEMS

    def read(name, columns, dates=()):
        path = path_of(root, name)
        path = path if path.is_file() else f"{path}.gz"
        return pd.read_csv(path, usecols=columns, parse_dates=list(dates))

    hours, days = pd.Timedelta(hours=1), pd.Timedelta(days=1)
    times = ["admittime", "dischtime", "deathtime"]
    visits = read("hosp/admissions", ["subject_id", "hadm_id", "admission_type", "admission_location", *times], times)
    people = read("hosp/patients", ["subject_id", "gender", "anchor_age", "anchor_year"])
    ecgs = read("ecg/record_list", ["subject_id", "study_id", "ecg_time"], ["ecg_time"])
    films = read("cxr/metadata", ["dicom_id", "subject_id", "ViewPosition", "StudyDate", "StudyTime"])
    coded = read("hosp/diagnoses_icd", ["hadm_id"])
    visits = visits[visits.hadm_id.isin(coded.hadm_id) & visits.subject_id.isin(ecgs.subject_id)]
    visits = visits[visits.subject_id.isin(films.subject_id)].merge(people, on="subject_id", how="left")
    visits["ending"] = np.minimum(visits.admittime + 24 * hours, visits.dischtime)
    visits["ending"] = np.minimum(visits.ending, visits.deathtime.fillna(visits.dischtime))
    visits["ihm48"] = ((visits.deathtime - visits.admittime) < 48 * hours).astype(int)
    visits["los_days"] = (visits.dischtime - visits.admittime) / days
    windows = visits[["subject_id", "hadm_id", "admittime", "ending"]]

    columns = ["hadm_id", "itemid", "charttime", "storetime", "value", "valuenum", "valueuom"]
    stamps = ["charttime", "storetime"]
    charted = read("icu/chartevents", columns, stamps)
    charted = charted[charted.itemid.isin(VITAL_ITEMS)]
    vitals = history(charted.merge(windows, on="hadm_id"), VITAL_ITEMS)
    drawn = read("hosp/labevents", ["subject_id", *columns], stamps)
    drawn = drawn[drawn.itemid.isin(LAB_ITEMS)]
    known = drawn[drawn.hadm_id.notna()].drop(columns="subject_id").merge(windows, on="hadm_id")
    others = drawn[drawn.hadm_id.isna()].drop(columns="hadm_id").merge(windows, on="subject_id")
    labs = history(pd.concat([known, others]), LAB_ITEMS)

    ecg, film = last_inputs(ecgs, films, windows)
    visits = visits.sort_values("hadm_id").set_index("hadm_id")
    age = visits.anchor_age + visits.admittime.dt.year - visits.anchor_year
    text = "Patient: " + visits.gender.map({"F": "female", "M": "male"}) + ", " + age.astype(str) + " years"
    text += "\nAdmission: " + visits.admission_type + ", from " + visits.admission_location
    text += ("\nVital signs: " + vitals).reindex(visits.index).fillna("")
    text += ("\nLaboratory: " + labs).reindex(visits.index).fillna("")
    table = visits[["ihm48", "los_days"]].assign(text=text, ecg=ecg, film=film)
    return [
        (h, i, d, t, None if pd.isna(e) else int(e), None if pd.isna(f) else f)
        for h, i, d, t, e, f in table.itertuples()
    ]


def measure(side: str, root: Path) -> dict[str, object]:
    """Run one side in this process; returns seconds, peak memory in GB, and a digest of the result."""
    run_side = {"climb": with_climb, "pandas": with_pandas}[side]
    import duckdb  # noqa: F401
    import numpy  # noqa: F401 - imported before the clock starts, as are pandas and DuckDB
    import pandas  # noqa: F401
    import pyarrow.csv  # noqa: F401

    start = time.perf_counter()
    rows = run_side(root)
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    digest = hashlib.sha256(json.dumps([(*r[:2], round(r[2], 9), *r[3:]) for r in rows]).encode()).hexdigest()
    return {"seconds": seconds, "peak_gb": peak, "rows": len(rows), "digest": digest}


def run() -> list[dict]:
    """Return rows of time, peak memory and the time at full size."""
    with tempfile.TemporaryDirectory() as root:
        # in a process of its own: a child's peak memory starts at that of the process it was forked from
        subprocess.run([sys.executable, __file__, "--generate", root], check=True, stdout=subprocess.DEVNULL)
        found: dict[str, list[dict]] = {"climb": [], "pandas": []}
        for _ in range(ROUNDS):
            for side, results in found.items():
                command = [sys.executable, __file__, "--measure", side, root]
                results.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    digests = {result["digest"] for results in found.values() for result in results}
    if len(digests) != 1:
        raise RuntimeError(f"the two pipelines differ: {found}")
    ours, theirs = (median(result["seconds"] for result in found[side]) for side in found)
    peak, other = (max(result["peak_gb"] for result in found[side]) for side in found)
    scale = (FULL_CHART_ROWS + FULL_LAB_ROWS) / (CHART_ROWS + LAB_ROWS) / 60
    name = "MIMIC-IV cohort, 10 M chart and 3.66 M lab events"
    return [
        {"name": f"{name} vs pandas", "ours": ours, "reference": theirs, "ratio": theirs / ours, "required": 10.0,
         "unit": "s"},
        {"name": f"{name}: peak memory (limit)", "ours": peak, "reference": LIMIT_GB, "ratio": LIMIT_GB / peak,
         "required": 1.0, "unit": "GB"},
        {"name": f"{name}: peak memory vs pandas", "ours": peak, "reference": other, "ratio": other / peak,
         "required": None, "unit": "GB"},
        {"name": "MIMIC-IV 3.1 cohort (extrapolated by rows) vs pandas", "ours": ours * scale,
         "reference": theirs * scale, "ratio": theirs / ours, "required": None, "unit": "min"},
    ]  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], Path(sys.argv[3]))))
    elif sys.argv[1:2] == ["--generate"]:
        generate(Path(sys.argv[2]))
    else:
        for row in run():
            print(row)
