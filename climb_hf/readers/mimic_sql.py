"""The queries that make a cohort of MIMIC-IV: visits and why some are left out, windows, measurements, films, ECGs."""

# ruff: noqa: S608 - queries are put together from the names and numbers of this package and quoted paths only

from climb_hf.readers.mimic_layout import FINDINGS

__all__ = [
    "ADULT_YEARS",
    "HORIZON_HOURS",
    "NOTHING_FOUND",
    "RULES",
    "ecg_sql",
    "film_sql",
    "found_sql",
    "kept_sql",
    "measured_sql",
    "visit_sql",
]

#: Hours after admission within which death is the positive class of the paper's task.
HORIZON_HOURS = 48
#: Least age of the benchmark's cohort, in years.
ADULT_YEARS = 18
#: Why a row is no record, in the order in which the reasons are looked at.
RULES = {
    "copy": "repeated row of an admission or stay (the earliest is kept)",
    "times": "admission or discharge time not given",
    "negative": "discharge before admission",
    "dead": "death before admission",
    "code": "admission without a coded diagnosis",
    "ecg": "patient without an ECG",
    "film": "patient without a chest X-ray",
    "short": "stay shorter than the observation window",
    "late": "death before the prediction time",
    "young": "patient younger than 18 years",
    "moved": "change of care unit during the stay",
    "several": "several ICU stays in the admission",
    "silent": "no measurement in the observation window",
}

_ALWAYS = ("copy", "times", "negative", "dead")
#: `found` without a row.
NOTHING_FOUND = """
    select null::bigint as k, false as is_lab, null::bigint as itemid, null::timestamp as t, null::timestamp as s,
        null::double as x, null::varchar as u, null::varchar as v where false"""


def visit_sql(task: str, hours: float, sources: dict[str, str | None], required: tuple[str, ...]) -> str:
    """Return the query of all visits: one row per row of the admissions (or ICU stays), with the `rule` that bars it.

    Args:
        task (`str`): `"paper"` or `"benchmark"`.
        hours (`float`): length of the observation window.
        sources (`dict`): relation of each table, `None` where it is not there.
        required (`tuple[str, ...]`): keys of `RULES` that apply beside the always valid ones.

    Returns:
        `str`: SQL with the columns of the source's records before any input.
    """
    patients = _one_per("subject_id", sources["patients"], "anchor_year, anchor_age, gender")
    window = f"to_microseconds({round(hours * 3_600_000_000)})"
    if task == "paper":
        place, begin, finish, label = "", "a.admittime", "a.dischtime", _died_within(HORIZON_HOURS)
        identity, stay = "a.hadm_id", "null::bigint"
    else:
        begin, finish, identity, stay = "s.intime", "s.outtime", "s.stay_id", "s.stay_id"
        label = "(a.deathtime is not null or a.hospital_expire_flag = 1)"
        place = f"""join (
            select *, row_number() over (partition by stay_id order by intime, outtime, subject_id) as copy,
                count(distinct stay_id) over (partition by hadm_id) as n_stays
            from {sources["icustays"]}) s on s.hadm_id = a.hadm_id and a.copy = 1"""
    tests = _tests(task, begin, finish, window)
    cases = " ".join(f"when {tests[key]} then '{key}'" for key in tests if key in (*_ALWAYS, *required))
    return f"""
        with a as (
            select *, row_number() over (partition by hadm_id order by admittime, dischtime, subject_id) as copy
            from {sources["admissions"]}), {_subsets(sources)}
        select {identity} as id, a.subject_id, a.hadm_id, {stay} as stay_id, a.admittime,
            {begin} as start, {begin} + {window} as deadline, {finish} as finish,
            least({begin} + {window}, a.dischtime, coalesce(a.deathtime, a.dischtime), {finish}) as ending,
            cast({label} as int) as ihm48,
            (epoch_us({finish}) - epoch_us({begin})) / 86400000000.0 as los_days,
            case p.gender when 'F' then 'female' when 'M' then 'male' end as sex,
            p.anchor_age + year(a.admittime) - p.anchor_year as age,
            a.admission_type, a.admission_location, a.insurance, a.language, a.marital_status, a.race,
            case {cases} end as rule
        from a {place} left join ({patients}) p on p.subject_id = a.subject_id"""


def _tests(task: str, begin: str, finish: str, window: str) -> dict[str, str]:
    """Return the condition of every rule but `silent`, in the order in which they are looked at."""
    stays = task == "benchmark"
    return {
        "copy": f"{'s' if stays else 'a'}.copy > 1",
        "times": f"{begin} is null or {finish} is null or a.admittime is null",
        "negative": f"{finish} < {begin}",
        "dead": f"a.deathtime < {begin}",
        "code": "a.hadm_id not in (select hadm_id from coded)",
        "ecg": "a.subject_id not in (select subject_id from has_ecg)",
        "film": "a.subject_id not in (select subject_id from has_film)",
        "short": f"{finish} < {begin} + {window}",
        "late": f"a.deathtime < {begin} + {window}",
        "young": f"p.anchor_age + year(a.admittime) - p.anchor_year < {ADULT_YEARS}",
        "moved": "s.first_careunit is distinct from s.last_careunit" if stays else "false",
        "several": "s.n_stays > 1" if stays else "false",
    }


def _subsets(sources: dict[str, str | None]) -> str:
    """Return the sets of ids that rules look into; a set whose table is not there is empty."""
    subsets = {
        "coded": ("hadm_id", "diagnoses_icd"),
        "has_ecg": ("subject_id", "record_list"),
        "has_film": ("subject_id", "metadata"),
    }
    return ", ".join(
        f"{name} as (select distinct {column} from {relation} where {column} is not null)"
        if (relation := sources.get(table))
        else f"{name} as (select null::bigint as {column} where false)"
        for name, (column, table) in subsets.items()
    )


def _died_within(hours: int) -> str:
    return f"(a.deathtime is not null and a.deathtime < a.admittime + to_hours({hours}))"


def _one_per(key: str, relation: str | None, order: str) -> str:
    """Keep the first row per key, so that a repeated one cannot multiply what it is joined to."""
    return f"select * from {relation} qualify row_number() over (partition by {key} order by {order}) = 1"


def kept_sql() -> str:
    """Return the query of the visits no rule bars, numbered from 0 in the order of their ids."""
    return "select row_number() over (order by id) - 1 as k, * exclude (rule) from visit where rule is null"


def found_sql(relation: str, *, is_lab: bool, by_stay: bool, items: str) -> str:
    """Return the query of the measurements inside the windows (`span`: one row per visit).

    A value counts if it was measured inside the window and, where its time of storage is given, was stored by its end.
    A lab value without an admission id belongs to the admission of its patient in which it was drawn.

    Args:
        relation (`str`): rows of `labevents` or `chartevents`.
        is_lab (`bool`): which of the two.
        by_stay (`bool`): join by stay instead of admission (ICU rows of the benchmark).
        items (`str`): condition on `e.itemid`.

    Returns:
        `str`: SQL with the columns `k`, `is_lab`, `itemid`, `t`, `s`, `x` (number), `u` (unit), `v` (text).
    """
    if is_lab:
        match = "e.subject_id = span.subject_id and (e.hadm_id is null or e.hadm_id = span.hadm_id)"
    else:
        match = "e.stay_id = span.stay_id" if by_stay else "e.hadm_id = span.hadm_id"
    return f"""
        select k, {str(is_lab).lower()} as is_lab, e.itemid, e.charttime as t, e.storetime as s, e.valuenum as x,
            e.valueuom as u, coalesce(nullif(nullif(trim(e.value), ''), '___'), format('{{:g}}', e.valuenum)) as v
        from {relation} e join span on {match}
        where {items} and e.charttime between span.start and span.ending
            and coalesce(e.storetime, e.charttime) <= span.ending"""


def measured_sql(first: int, last: int) -> str:
    """Return the query of one row per visit and item: the last value, the lowest and the highest.

    Of values with the same times the greatest text is the last.

    Args:
        first (`int`): first `k`.
        last (`int`): last `k`.

    Returns:
        `str`: SQL that reads `found` and `named` (the name of each item).
    """
    return f"""
        with grouped as (
            select k, is_lab, itemid, max(struct_pack(t := t, s := s, v := v, u := u)) as last,
                min(struct_pack(x := x, v := v)) filter (x is not null) as lo,
                max(struct_pack(x := x, v := v)) filter (x is not null) as hi
            from found where v is not null and k between {first} and {last} group by k, is_lab, itemid)
        select grouped.*, coalesce(named.label, 'item ' || itemid) as label
        from grouped left join named using (is_lab, itemid)"""


def named_sql(labels: str) -> str:
    """Return the query of the name of each item: that of the lowest rank.

    Args:
        labels (`str`): relation with `rank`, `is_lab`, `itemid`, `label`.

    Returns:
        `str`: SQL.
    """
    return _one_per("is_lab, itemid", labels, "rank, label")


def ecg_sql(record_list: str, measurements: str | None) -> str:
    """Return the query of the last ECG in each window: `k`, `ecg` (time, study, path) and the machine's report."""
    report = "null::varchar"
    join = ""
    if measurements:
        columns = ", ".join(f"m.report_{i}" for i in range(18))
        report = f"concat_ws('; ', {columns})"
        join = f"left join ({_one_per('study_id', measurements, 'report_0')}) m on m.study_id = chosen.ecg.study"
    return f"""
        with chosen as (
            select k, max(struct_pack(moment := e.ecg_time, study := e.study_id, path := e.path)) as ecg
            from {record_list} e join span on e.subject_id = span.subject_id
            where e.ecg_time between span.start and span.ending group by k)
        select k, ecg, nullif({report}, '') as ecg_report from chosen {join}"""


def film_sql(metadata: str, chexpert: str | None) -> str:
    """Return the query of the last frontal film in each window: `k`, `film` (time, ids, view) and its labels.

    `StudyTime` lost its leading zeros: 80556.875 is 08:05:56. A film without date or time cannot be placed and is not
    used.
    """
    labels, join = "null::varchar", ""
    if chexpert:
        pairs = ", ".join(f"""'{name}': c."{name}\"""" for name in FINDINGS)
        labels = f"{{{pairs}}}"
        one = _one_per("study_id", chexpert, '"No Finding", Pneumonia')
        join = f"left join ({one}) c on c.study_id = chosen.film.study"
    clock = "cast(floor(StudyTime) as bigint)"
    return f"""
        with films as (
            select subject_id, dicom_id, study_id, ViewPosition as shown,
                try_strptime(printf('%08d %06d', StudyDate, {clock}), '%Y%m%d %H%M%S')
                    + to_microseconds(cast(round((StudyTime - {clock}) * 1000) as bigint) * 1000) as moment
            from {metadata} where StudyDate is not null and StudyTime is not null and ViewPosition in ('AP', 'PA')
        ), chosen as (
            select k, max(struct_pack(moment := f.moment, dicom := dicom_id, study := study_id, shown := shown))
                    as film
            from films f join span on f.subject_id = span.subject_id
            where f.moment between span.start and span.ending group by k)
        select k, film, {labels} as chexpert from chosen {join}"""
