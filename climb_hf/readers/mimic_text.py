"""The structured history of a hospital visit as text: which measurements, in which order and words.

The text of a visit holds sex and age, type and place of admission, and of every measurement in the window the last
value with its unit and, where it moved, the lowest and the highest one. Values are written as the tables have them, so
no rounding depends on a platform; measurements stand in the order of their names. Codes of diagnoses, discharge and
anything later than the window never enter it. The rows of the text follow the example of CLIMB, which lists the last
value of every measurement of the whole admission.
"""

# ruff: noqa: S608 - queries are put together from the names and numbers of this package and quoted paths only

__all__ = [
    "ITEM_SETS", "LAB_ITEMS", "NO_NOTES", "TEXTS", "VITAL_ITEMS", "history_sql", "noted_sql", "reports_sql",
    "summaries_sql",
]  # fmt: skip

#: `core`: the 17 variables of the mimic3-benchmarks (Harutyunyan et al., 2019) as MIMIC-IV numbers them, and the labs
#: below; `all`: every measurement of `chartevents` and `labevents`.
ITEM_SETS = ("core", "all")
#: What the `text` column holds.
TEXTS = ("history", "notes", "both")

#: Item of `chartevents` -> name used where `d_items` is not there.
VITAL_ITEMS = {
    220045: "Heart Rate", 220050: "Arterial Blood Pressure systolic", 220051: "Arterial Blood Pressure diastolic",
    220052: "Arterial Blood Pressure mean", 220179: "Non Invasive Blood Pressure systolic",
    220180: "Non Invasive Blood Pressure diastolic", 220181: "Non Invasive Blood Pressure mean",
    225309: "ART BP Systolic", 225310: "ART BP Diastolic", 225312: "ART BP Mean", 220210: "Respiratory Rate",
    224690: "Respiratory Rate (Total)", 220277: "O2 saturation pulseoxymetry", 220227: "Arterial O2 Saturation",
    223761: "Temperature Fahrenheit", 223762: "Temperature Celsius", 223835: "Inspired O2 Fraction",
    220739: "GCS - Eye Opening", 223900: "GCS - Verbal Response", 223901: "GCS - Motor Response",
    223951: "Capillary Refill R", 224308: "Capillary Refill L", 220621: "Glucose (serum)",
    225664: "Glucose finger stick", 226537: "Glucose (whole blood)", 226707: "Height", 226730: "Height (cm)",
    226512: "Admission Weight (Kg)", 224639: "Daily Weight", 226531: "Admission Weight (lbs.)",
    223830: "PH (Arterial)", 220274: "PH (Venous)",
}  # fmt: skip
#: Item of `labevents` -> name used where `d_labitems` is not there: the ten groups of PyHealth's mortality task
#: (sodium to phosphate) and common markers of organ failure.
LAB_ITEMS = {
    50824: "Sodium, Whole Blood", 52455: "Sodium, Whole Blood", 50983: "Sodium", 52623: "Sodium",
    50822: "Potassium, Whole Blood", 52452: "Potassium, Whole Blood", 50971: "Potassium", 52610: "Potassium",
    50806: "Chloride, Whole Blood", 52434: "Chloride, Whole Blood", 50902: "Chloride", 52535: "Chloride",
    50803: "Calculated Bicarbonate, Whole Blood", 50804: "Calculated Total CO2", 50882: "Bicarbonate",
    50809: "Glucose", 52027: "Glucose, Whole Blood", 50931: "Glucose", 52569: "Glucose", 50808: "Free Calcium",
    51624: "Free Calcium", 50893: "Calcium, Total", 50960: "Magnesium", 50868: "Anion Gap", 52500: "Anion Gap",
    52031: "Osmolality", 50964: "Osmolality, Measured", 51701: "Osmolality", 50970: "Phosphate", 50912: "Creatinine",
    51006: "Urea Nitrogen", 51300: "WBC Count", 51301: "White Blood Cells", 51222: "Hemoglobin", 51221: "Hematocrit",
    51265: "Platelet Count", 50813: "Lactate", 50885: "Bilirubin, Total", 50861: "Alanine Aminotransferase (ALT)",
    50878: "Asparate Aminotransferase (AST)", 50862: "Albumin", 51237: "INR(PT)", 51274: "PT", 51275: "PTT",
    51003: "Troponin T", 50820: "pH", 50821: "pO2", 50818: "pCO2", 50802: "Base Excess",
}  # fmt: skip


def history_sql() -> str:
    """Return the query of the history: `k`, `history`, and how many measurements it names.

    Returns:
        `str`: SQL that reads `part` (one row per visit, numbered by `k`) and `measured` (one row per visit and item).
    """
    return """
        with words as (
            select k, is_lab, label, itemid,
                concat_ws(' ', label, last.v, last.u) || case
                    when lo.v is distinct from hi.v and try_cast(last.v as double) is not null
                    then ' (' || lo.v || ' to ' || hi.v || ')' else '' end as words
            from measured
        ), lines as (
            select k,
                string_agg(words, '; ' order by label, itemid) filter (not is_lab) as vitals,
                string_agg(words, '; ' order by label, itemid) filter (is_lab) as labs,
                count(*) as n_items
            from words group by k
        )
        select part.k, coalesce(n_items, 0) as n_items, concat_ws(chr(10),
            'Patient: ' || concat_ws(', ', coalesce(sex, 'sex unknown'), age::bigint::varchar || ' years'),
            'Admission: ' || nullif(concat_ws(', from ', admission_type, admission_location), ''),
            'Vital signs: ' || vitals,
            'Laboratory: ' || labs) as history
        from part left join lines using (k)"""


#: Notes of visits, not one of them.
NO_NOTES = (
    "select null::bigint as k, null::timestamp as moment, null::varchar as id, null::varchar as body where false"
)


def reports_sql(radiology: str) -> str:
    """Return the query of the radiology reports written and stored in the window: `k`, `moment`, `id`, `body`.

    Args:
        radiology (`str`): relation of the reports.

    Returns:
        `str`: SQL that reads `span`.
    """
    return f"""
        select k, n.charttime as moment, n.note_id as id, n.text as body
        from {radiology} n join span on n.subject_id = span.subject_id
        where (n.hadm_id is null or n.hadm_id = span.hadm_id) and n.charttime between span.start and span.ending
            and coalesce(n.storetime, n.charttime) <= span.ending"""


def summaries_sql(discharge: str) -> str:
    """Return the query of all summaries of earlier admissions: `k`, `moment`, `id`, `body`.

    A summary's `charttime` is midnight of a day, so only its `storetime` says when it was there; one without is not
    used, nor is ever one of the visit itself.

    Args:
        discharge (`str`): relation of the discharge summaries.

    Returns:
        `str`: SQL that reads `span`.
    """
    return f"""
        select k, n.storetime as moment, n.note_id as id, n.text as body
        from {discharge} n join span on n.subject_id = span.subject_id
        where n.hadm_id is distinct from span.hadm_id and n.storetime is not null
            and greatest(n.storetime, n.charttime) < span.start"""


def noted_sql(first: int, last: int) -> str:
    """Return the query of the notes of some visits as one text: `k`, `note_ids`, `notes`.

    The last summary of an earlier admission comes first, then the reports in the order of time.

    Args:
        first (`int`): first `k`.
        last (`int`): last `k`.

    Returns:
        `str`: SQL that reads `report` and `summary`.
    """
    return f"""
        with latest as (
            select k, max(struct_pack(moment := moment, id := id)) as chosen from summary
            where k between {first} and {last} group by k
        ), notes as (
            select s.k, s.moment, s.id, s.body
            from summary s join latest on s.k = latest.k and s.id = chosen.id and s.moment = chosen.moment
            union all select * from report where k between {first} and {last}
        )
        select k, string_agg(id, ' ' order by moment, id) as note_ids,
            string_agg(trim(body, ' ' || chr(9) || chr(10) || chr(13)), chr(10) || chr(10) order by moment, id)
                as notes
        from notes group by k"""
