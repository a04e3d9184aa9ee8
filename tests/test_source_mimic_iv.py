"""MIMIC-IV: windows of every input, labels and rules by hand, missing parts, bad tables, the cohort cache."""

import gzip
import json
import logging
import os
import re
from pathlib import Path

import datasets
import numpy as np
import pytest
from mimic_world import ADMIT, HADM, SUBJECT, World, at
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from source_helpers import by_id, left_out

import climb_hf
from climb_hf.errors import CorruptFileError, DamagedDataError, LayoutError, OptionError, SchemaError
from climb_hf.readers import mimic_build
from climb_hf.readers.mimic_cohort import Cohort, Request, cohort_folder, load_cohort
from climb_hf.readers.mimic_layout import find_layout
from climb_hf.readers.mimic_sql import RULES

LIMIT = {"paper": 24.0, "benchmark": 49.0}  # hours after admission at which the window ends; the stay begins at 1


def visits(root, **request):
    """Return the rows of a cohort by id, with their text, and the rules of what was left out."""
    cohort = load_cohort(root, Request(**request))
    rows = {row["id"]: {**row, "text": cohort.text_of(row["id"])} for row in cohort.rows()}
    return rows, {row["id"]: row["rule"] for row in cohort.left_out.to_pylist()}


def only(root, **request):
    (row,) = visits(root, **request)[0].values()
    return row


def base(task="paper"):
    """Return a world with a patient of both cohorts, whose ECG and film of the rule lie years before."""
    world = World().admission().stay()
    return world.ecg(40000001, at(-9999)).film("old", at(-9999), study=50000009)


# ---- what the records hold


@pytest.mark.parametrize("task", ["paper", "benchmark"])
def test_every_input_is_the_one_of_the_window(miniatures, tmp_path, task):
    folder, expected = miniatures("mimic_iv", 48, task=task)
    rows = by_id(climb_hf.load_dataset("mimic_iv", folder, task=task, cache_dir=tmp_path).with_format("numpy"))
    assert len(rows) == len(expected)
    for truth in expected:
        row, value = rows[truth.id][1], truth.values
        metadata = row["metadata"]
        assert row["targets"] == {"ihm48": value["ihm48"], "los_days": pytest.approx(value["los_days"])}
        assert list(row["raw_labels"]) == [str(value["ihm48"])]
        assert metadata["dicom_id"] == value.get("dicom_id")
        assert metadata["ecg_study_id"] == value.get("ecg_study_id")
        assert (metadata["prediction_time"], metadata["window_end"]) == (value["deadline"], value["end"])
        assert metadata["ended_before_prediction"] == (value["end"] < value["deadline"])
        assert (row["image"] is None) == ("image" in value["missing"])
        if "signal" in value["missing"]:
            assert row["signal"].shape == (0, 12)
            assert np.isnan(row["sampling_rate"])
        else:
            assert row["signal"].shape == (5000, 12)
            assert row["sampling_rate"] == 500
            np.testing.assert_allclose(row["signal"][0], value["lead_values"], atol=1e-6)
        found = dict(re.findall(r"(Lactate|Creatinine) (\S+) m", row["text"]))
        expected_labs = {k: value[k.lower()] for k in ("Lactate", "Creatinine") if k.lower() in value}
        assert found == expected_labs
        assert not re.search("late|Ectopy|pH|0030|DIED|HOME", row["text"])


def test_history_is_written_the_same_way_always(tmp_path):
    world = World().admission(admission_location="EMERGENCY ROOM").stay()
    world.ecg(1, at(-9)).film("x", at(-9))
    world.lab(at(2), value="4.0").lab(at(5), value="1.50").lab(at(3), value="0.9").lab(at(4), value="___")
    world.vital(at(3), value="88").vital(at(3), value="Oriented", item=223900).lab(at(1), item=99999)
    world.add("hosp/d_labitems", itemid=50912, label="Kreatinin")
    text = only(world.write(tmp_path))["text"]
    assert text == (
        "Patient: female, 61 years\nAdmission: URGENT, from EMERGENCY ROOM\n"
        "Vital signs: GCS - Verbal Response Oriented bpm; Heart Rate 88 bpm\n"
        "Laboratory: Kreatinin 1.50 mg/dL (0.9 to 4.0)"
    )
    assert "Creatinine 1.50" in only(world.write(tmp_path / "b", without=("hosp/d_labitems",)))["text"]
    assert "item 99999 1.0 mg/dL" in only(tmp_path, items="all")["text"]


@pytest.mark.parametrize("task", ["paper", "benchmark"])
def test_nothing_after_the_prediction_time_in_any_modality(tmp_path, task):
    end, world = LIMIT[task], base()
    inside, outside = at(end), at(end, seconds=1)
    world.lab(inside, value="2.0").lab(outside, value="9.0").lab(at(end - 1), outside, value="8.0")
    world.vital(inside, value="70").vital(outside, value="170").vital(at(end - 1), outside, value="171")
    world.ecg(40000002, inside).ecg(40000003, outside).ecg(40000004, at(end + 5))
    world.film("in", inside).film("out", outside).film("later", at(end + 5))
    world.note("radiology", "R1", at(end - 1), inside, "report in time")
    world.note("radiology", "R2", at(end - 1), outside, "stored late").note("radiology", "R3", outside, "", "late")
    world.note("discharge", "D1", at(-5), at(-5), "summary of this visit", hadm=HADM)
    row = only(world.write(tmp_path), task=task, text="both")
    assert "2.0 mg/dL" in row["text"]
    assert "70 bpm" in row["text"]
    assert not re.search("9.0|8.0|170|171|late|summary", row["text"])
    assert "report in time" in row["text"]
    assert row["note_ids"] == "R1"
    assert row["ecg"]["study"] == 40000002
    assert row["film"]["dicom"] == "in"


@pytest.mark.parametrize("task", ["paper", "benchmark"])
def test_nothing_before_the_window_either(tmp_path, task):
    start, world = {"paper": 0.0, "benchmark": 1.0}[task], base()
    before = at(start, seconds=-1)
    world.lab(before, value="9.0").vital(before, value="170").ecg(40000002, before).film("early", before)
    world.note("radiology", "R1", before, before, "too early")
    row = only(world.write(tmp_path), task=task, text="both")
    assert row["n_items"] == 0
    assert (row["ecg"], row["film"], row["note_ids"]) == (None, None, None)
    assert row["text"] == "Patient: female, 61 years\nAdmission: URGENT"
    assert only(tmp_path, task=task, text="notes")["text"] is None


def test_the_window_ends_with_the_visit(tmp_path):
    world = base().admission(20000002, admit=1000, disch=1010).admission(20000003, admit=2000, disch=2300, death=2012)
    for hadm, gone in ((20000002, 1010), (20000003, 2012)):
        world.ecg(hadm + 1, at(gone)).ecg(hadm + 5, at(gone + 0.1))
        world.lab(at(gone), value="2.0", hadm=hadm).lab(at(gone + 0.1), value="9.0", hadm=hadm)
    rows, _ = visits(world.write(tmp_path))
    for hadm, gone in ((20000002, 1010), (20000003, 2012)):
        assert rows[hadm]["ecg"]["study"] == hadm + 1
        assert rows[hadm]["ending"].isoformat() == at(gone).replace(" ", "T")
        assert "Creatinine 2.0 mg/dL" in rows[hadm]["text"]
    assert rows[HADM]["ending"] == rows[HADM]["deadline"]


def test_the_last_frontal_film_with_a_time_is_taken(tmp_path):
    world = base().film("pa", at(3), "PA").film("ap", at(2)).film("lat", at(4), "LATERAL").film("none", at(4), "")
    world.add("mimic-cxr-jpg/mimic-cxr-2.0.0-metadata", dicom_id="undated", subject_id=SUBJECT, study_id=5,
              ViewPosition="AP", StudyDate="21500301")  # fmt: skip
    world.film("wrong", at(5), "AP")
    world.rows["mimic-cxr-jpg/mimic-cxr-2.0.0-metadata"][-1][8] = "256161.0"  # no such time
    row = only(world.write(tmp_path))
    assert row["film"]["dicom"] == "pa"
    assert row["film"]["moment"].isoformat() == at(3).replace(" ", "T")
    early = base().film("zeros", "2150-03-02 00:05:03")
    early.rows["mimic-cxr-jpg/mimic-cxr-2.0.0-metadata"][-1][8] = "503.875"  # leading zeros lost
    assert str(only(early.write(tmp_path / "b"))["film"]["moment"]) == "2150-03-02 00:05:03.875000"


def test_labs_without_admission_are_joined_by_patient_and_time(tmp_path):
    world = base().admission(20000002, admit=1000, disch=1100)
    world.lab(at(3), value="2.0", hadm="").lab(at(1003), value="3.0", hadm="").lab(at(500), value="7.0", hadm="")
    world.lab(at(4), value="8.0", hadm=20000002).lab(at(5), value="9.0", subject=10000002, hadm="")
    rows, _ = visits(world.write(tmp_path))
    assert "Creatinine 2.0 mg/dL" in rows[HADM]["text"]
    assert "Creatinine 3.0 mg/dL" in rows[20000002]["text"]
    assert not re.search("7.0|8.0|9.0", rows[HADM]["text"] + rows[20000002]["text"])


def test_earlier_summaries_are_notes_but_never_one_of_the_visit(tmp_path):
    world = base().admission(20000002, admit=-500, disch=-400)
    world.note("discharge", "D1", at(-400), at(-390), '  first line\nsecond, "quoted" line \n', hadm=20000002)
    world.note("discharge", "D0", at(-800), at(-790), "older", hadm=20000009)
    world.note("discharge", "D2", at(-1), at(1), "stored after admission", hadm=20000009)
    world.note("discharge", "D3", at(-1), "", "no time of storage", hadm=20000009)
    world.note("discharge", "D4", at(-10), at(-9), "of this visit", hadm=HADM)
    world.note("radiology", "R1", at(3), at(4), "of another visit", hadm=20000002)
    world.note("radiology", "R2", at(5), "", "no admission id", hadm="")
    rows, _ = visits(world.write(tmp_path), text="notes")
    assert rows[HADM]["text"] == 'first line\nsecond, "quoted" line\n\nno admission id'
    assert rows[HADM]["note_ids"] == "D1 R2"
    assert rows[20000002]["text"] == "older"


# ---- labels and rules


def test_death_within_48_hours_of_this_admission(tmp_path):
    world = World().ecg(1, at(-9)).film("x", at(-9))
    deaths = {20000001: 47.999, 20000002: 1048.0, 20000003: None, 20000004: 3012.0}
    for number, (hadm, death) in enumerate(deaths.items()):
        world.admission(hadm, admit=1000 * number, disch=1000 * number + 60, death=death)
    rows, rules = visits(world.write(tmp_path))
    assert {hadm: row["ihm48"] for hadm, row in rows.items()} == dict(zip(deaths, (1, 0, 0, 1), strict=True))
    assert {row["los_days"] for row in rows.values()} == {2.5}
    assert rules == {}


def test_hospital_death_and_length_of_the_icu_stay(tmp_path):
    world = World().admission(20000001, disch=200, death=190).stay(30000001, 20000001, 10, 100)
    world.admission(20000002, admit=1000, disch=1200, death=None).stay(30000002, 20000002, 1000, 1048)
    world.admission(20000003, admit=2000, disch=2100, death=2030).stay(30000003, 20000003, 2000, 2050)
    world.admission(20000004, admit=3000, disch=3200).stay(30000004, 20000004, 3000, 3047.9)
    world.admission(20000005, admit=4000, disch=4300).stay(30000005, 20000005, 4000, 4060, units=("MICU", "SICU"))
    world.admission(20000006, admit=5000, disch=5300).stay(30000006, 20000006, 5000, 5060)
    world.stay(30000007, 20000006, 5100, 5160).stay(30000008, 20000006, 5200, 5190)
    world.vital(at(12), stay=30000001, hadm=20000001)
    rows, rules = visits(world.write(tmp_path), task="benchmark")
    assert {stay: (row["ihm48"], row["los_days"]) for stay, row in rows.items()} == {
        30000001: (1, 3.75), 30000002: (0, 2.0), 30000005: (0, 2.5), 30000006: (0, 2.5), 30000007: (0, 2.5),
    }  # fmt: skip
    assert rules == {30000003: "late", 30000004: "short", 30000008: "negative"}
    assert rows[30000001]["stay_id"] == 30000001
    strict, why = visits(tmp_path, task="benchmark", cohort="single_stay")
    assert set(strict) == {30000001}
    assert {why[30000002], why[30000005], why[30000006]} == {"silent", "moved", "several"}


def test_rules_of_the_papers_cohort(tmp_path):
    world = base().admission(20000002, admit=100, disch=90).admission(20000003, admit=200, disch=300, death=199)
    world.admission(20000004, admit=400, disch=None).admission(20000005, admit=500, disch=600, coded=False)
    world.admission(HADM, admit=5, disch=300)  # the same id again, later
    for subject, has in ((10000002, "ecg"), (10000003, "film")):
        world.admission(20000000 + subject % 100 * 10, subject=subject)
        getattr(world, has)(45, at(5), subject=subject)
    rows, rules = visits(world.write(tmp_path))
    assert set(rows) == {HADM}
    assert rows[HADM]["start"] == ADMIT
    assert rules == {HADM: "copy", 20000002: "negative", 20000003: "dead", 20000004: "times", 20000005: "code",
                     20000020: "film", 20000030: "ecg"}  # fmt: skip
    everyone, _ = visits(tmp_path, cohort="all")
    assert set(everyone) == {HADM, 20000020, 20000030}
    assert everyone[20000020]["sex"] is None
    assert everyone[20000020]["text"].startswith("Patient: sex unknown\n")


def test_what_is_left_out_is_counted_by_rule(miniatures, tmp_path):
    folder, _ = miniatures("mimic_iv", 32)
    climb_hf.load_dataset("mimic_iv", folder, cache_dir=tmp_path)
    ones = ("copy", "negative", "dead", "times", "ecg", "film")
    assert left_out(tmp_path) == {**{RULES[rule]: 1 for rule in ones}, RULES["code"]: 16}


# ---- splits and options


def test_splits_by_patient_by_admission_and_by_image(miniatures, tmp_path):
    folder, expected = miniatures("mimic_iv", 40)
    default = climb_hf.load_dataset("mimic_iv", folder, cache_dir=tmp_path)
    assert {label for (label,) in default["test"]["raw_labels"]} == {"0", "1"}
    assert 0.1 < default["test"].num_rows / 40 < 0.3
    paper = by_id(climb_hf.load_dataset("mimic_iv", folder, split_by="paper", cache_dir=tmp_path))
    hadms = sorted(int(row.id) for row in expected)
    assert {int(i) for i, (split, _) in paper.items() if split == "train"} == set(hadms[:32])
    image = by_id(climb_hf.load_dataset("mimic_iv", folder, split_by="mimic_cxr", cache_dir=tmp_path))
    published = {row["subject_id"]: row["split"] for row in split_rows(folder)}
    assert {(row["group"], split) for split, row in image.values()} == {
        (subject, published[subject]) for subject in {row.group for row in expected}
    }


def split_rows(folder):
    (path,) = folder.rglob("mimic-cxr-2.0.0-split.csv.gz")
    header, *lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    return [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]


def test_signals_pictures_and_window_as_asked(miniatures, tmp_path):
    folder, expected = miniatures("mimic_iv", 40)
    options = {"sampling_rate": 100, "length": 1200, "image_size": 32, "observation_hours": 4.5}
    rows = by_id(climb_hf.load_dataset("mimic_iv", folder, cache_dir=tmp_path, **options).with_format("numpy"))
    assert {row["signal"].shape for _, row in rows.values()} == {(1200, 12), (0, 12)}
    assert {row["image"].shape for _, row in rows.values() if row["image"] is not None} == {(32, 32, 3)}
    assert all((row["metadata"]["signal_hours"] or 0) <= 4.5 for _, row in rows.values())
    gap = next(row for row in expected if row.values.get("ecg_study_id") == "40000383")
    whole = by_id(climb_hf.load_dataset("mimic_iv", folder, cache_dir=tmp_path).with_format("numpy"))
    lost = np.isnan(whole[gap.id][1]["signal"])
    assert lost.sum() == 20
    assert lost[100:120, 5].all()  # aVF, which the file keeps in fifth place


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "icu"}, r"`task` must be one of \['paper', 'benchmark'\]"),
        ({"cohort": "single_stay"}, "needs `task='benchmark'`"),
        ({"observation_hours": 49}, "at most 48"),
        ({"observation_hours": 0}, "above 0"),
        ({"text": "reports"}, "`text` must be one of"),
    ],
)
def test_wrong_options_are_refused(miniatures, options, message):
    folder, _ = miniatures("mimic_iv", 32)
    with pytest.raises(OptionError, match=message):
        climb_hf.load_dataset("mimic_iv", folder, **options)


@pytest.mark.parametrize("layout", ["climb", "plain"])
def test_other_layouts_give_the_same_records(miniatures, tmp_path, layout):
    folder, expected = miniatures("mimic_iv", 32, layout=layout)
    rows = by_id(climb_hf.load_dataset("mimic_iv", folder, cache_dir=tmp_path))
    assert set(rows) == {row.id for row in expected}
    assert sum(row["image"] is not None for _, row in rows.values()) == sum("film_file" in e.values for e in expected)


# ---- missing parts and bad tables


def test_without_the_sister_projects_the_cohort_still_builds_and_says_so(miniatures, tmp_path, caplog):
    folder, expected = miniatures("mimic_iv", 32, modules="hosp")
    with caplog.at_level(logging.WARNING, logger="climb_hf"):
        rows = by_id(climb_hf.load_dataset("mimic_iv", folder, cache_dir=tmp_path).with_format("numpy"))
    assert {row.id for row in expected} <= set(rows)
    assert all(row["image"] is None and row["signal"].shape == (0, 12) for _, row in rows.values())
    for part, table in (("ECG", "record_list"), ("chest X-rays", "metadata"), ("vital signs", "chartevents")):
        assert f"no {part}: `{table}`" in caplog.text
    with pytest.raises(LayoutError, match=r"icu/icustays\.csv\.gz"):
        climb_hf.load_dataset("mimic_iv", folder, task="benchmark", cache_dir=tmp_path)
    with pytest.raises(LayoutError, match="needs MIMIC-IV-Note"):
        climb_hf.load_dataset("mimic_iv", folder, text="notes", cache_dir=tmp_path)


def test_films_and_ecgs_that_are_not_downloaded_are_absent_and_lost_ones_are_named(miniatures, tmp_path, caplog):
    folder, expected = miniatures.copy("mimic_iv", tmp_path / "raw", 32)
    shown = [row for row in expected if "film_file" in row.values and "ecg_file" in row.values]
    (folder / shown[0].values["film_file"]).parents[1].rename(folder / "elsewhere")
    (folder / f"{shown[1].values['ecg_file']}.dat").unlink()
    with caplog.at_level(logging.WARNING, logger="climb_hf"):
        rows = by_id(climb_hf.load_dataset("mimic_iv", folder, cache_dir=tmp_path))
    assert "have an X-ray that is not downloaded" in caplog.text
    assert rows[shown[0].id][1]["image"] is None
    assert rows[shown[0].id][1]["metadata"]["image"] == "not downloaded"
    assert shown[1].id not in rows
    (log,) = tmp_path.rglob("skipped.jsonl")
    assert json.loads(log.read_text())["id"] == shown[1].id
    for row in shown[2:6]:
        (folder / f"{row.values['ecg_file']}.hea").write_text("")
    with pytest.raises(DamagedDataError):
        climb_hf.load_dataset("mimic_iv", folder, cache_dir=tmp_path / "other")


@pytest.mark.parametrize(
    ("table", "column"),
    [("hosp/admissions", "deathtime"), ("hosp/labevents", "storetime"), ("icu/chartevents", "itemid"),
     ("hosp/patients", "anchor_age"), ("mimic-cxr-jpg/mimic-cxr-2.0.0-metadata", "StudyTime")],
)  # fmt: skip
def test_a_missing_column_is_named(tmp_path, table, column):
    root = base().write(tmp_path)
    (path,) = root.rglob(f"{table.split('/')[1]}.csv.gz")
    text = gzip.decompress(path.read_bytes()).decode().replace(column, "renamed", 1)
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(SchemaError, match=rf"{path.name}`: column `{column}` is missing"):
        visits(root)
    assert not list(Path(datasets.config.HF_DATASETS_CACHE).rglob("*.incomplete"))


@pytest.mark.parametrize("table", ["hosp/labevents", "hosp/admissions", "icu/chartevents"])
def test_a_truncated_table_is_named(tmp_path, table):
    world = base()
    for number in range(500):
        world.lab(at(number % 24), value=str(number)).vital(at(number % 24), value=str(number))
        world.admission(21000000 + number * 7919, admit=1000 + number * 20, disch=1005 + number * 20)
    root = world.write(tmp_path)
    (path,) = root.rglob(f"{table}.csv.gz")
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(CorruptFileError, match=rf"{Path(table).name}.*Download it again"):
        visits(root)


@pytest.mark.parametrize(("name", "position"), [("hosp/admissions", 2), ("hosp/labevents", 6), ("icu/chartevents", 8)])
def test_a_value_of_the_wrong_type_is_named(tmp_path, name, position):
    world = base().lab(at(3)).vital(at(3))
    world.rows[name][0][position] = "yesterday"
    with pytest.raises(SchemaError, match=rf"(?s){name}.*Restore"):
        visits(world.write(tmp_path))


def test_cells_with_line_ends_and_rows_out_of_order(tmp_path):
    world = base().vital(at(3), value="71").vital(at(9), value="73").vital(at(5), value="72")
    world.lab(at(2), value="9.0").lab(at(5), value="2.0", comments='two\nlines, "quoted"').lab(at(1), value="8.0")
    world.lab(at(23), at(22), value="3.0")  # stored before it was drawn
    text = only(world.write(tmp_path))["text"]
    assert "Heart Rate 73 bpm (71 to 73)" in text
    assert "Creatinine 3.0 mg/dL (2.0 to 9.0)" in text


def test_releases_with_core_are_named(tmp_path):
    (tmp_path / "mimic-iv-1.0" / "core").mkdir(parents=True)
    (tmp_path / "mimic-iv-1.0" / "core" / "admissions.csv.gz").write_bytes(b"")
    with pytest.raises(LayoutError, match=r"MIMIC-IV 1\.0 or older"):
        climb_hf.load_dataset("mimic_iv", tmp_path)


# ---- the cache and the two ways of scanning


def test_a_cohort_is_built_once_and_again_when_a_table_changes(tmp_path, monkeypatch):
    root, built = base().lab(at(3), value="2.0").write(tmp_path), []
    build = mimic_build.build_cohort
    monkeypatch.setattr("climb_hf.readers.mimic_cohort.build_cohort", lambda *a: built.append(a[2]) or build(*a))
    before = {path: path.stat() for path in root.rglob("*")}
    assert "2.0" in only(root)["text"]
    assert "2.0" in only(root)["text"]
    assert len(built) == 1
    only(root, observation_hours=12)
    assert len(set(built)) == 2
    (path,) = root.rglob("labevents.csv.gz")
    times = path.stat()
    text = gzip.decompress(path.read_bytes()).replace(b"2.0", b"5.0")
    path.write_bytes(gzip.compress(text, mtime=0))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # even with the time put back
    assert "5.0" in only(root)["text"]
    assert len(set(built)) == 3
    assert built[0].is_relative_to(datasets.config.HF_DATASETS_CACHE)
    assert {path: path.stat() for path in root.rglob("*")}.keys() == before.keys(), "nothing beside the raw data"


def test_a_failed_build_leaves_nothing(tmp_path, monkeypatch):
    root = base().write(tmp_path)
    folder = cohort_folder(find_layout(root), Request())
    monkeypatch.setattr(mimic_build._Builder, "_traced", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        visits(root)
    assert not folder.exists()
    assert not list(folder.parent.glob("*.incomplete"))


@pytest.mark.parametrize("request_", [{}, {"items": "all"}, {"task": "benchmark"}], ids=str)
def test_ways_of_scanning_and_batches_change_no_cohort(miniatures, tmp_path, monkeypatch, request_):
    folder, _ = miniatures("mimic_iv", 96)
    results = []
    for way in ("filter", "duckdb"):
        if way == "duckdb":
            monkeypatch.setattr(mimic_build, "can_scan", lambda table: False)
            monkeypatch.setattr(mimic_build, "_BATCH", 7)
        mimic_build.build_cohort(find_layout(folder), Request(**request_), tmp_path / way)
        cohort = Cohort(tmp_path / way)
        results.append([cohort.visits.to_pylist(), cohort.left_out.to_pylist()])
    assert results[0] == results[1]


# ---- what can be learned


def test_the_miniature_is_the_same_bytes_again(tmp_path):
    def tree(folder):
        files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != ".climb_miniature.json")
        return [(p.relative_to(folder), p.read_bytes()) for p in files]

    one, same, other = (
        climb_hf.miniature("mimic_iv", tmp_path / d, n=9, seed=s) for d, s in (("a", 3), ("b", 3), ("c", 4))
    )
    assert one == same
    assert tree(tmp_path / "a") == tree(tmp_path / "b") != tree(tmp_path / "c")
    assert len({row.id for row in one}) == len(other) == 9
    assert {row.classes for row in one} == {("No",), ("Yes",)}


def test_each_input_tells_a_part_and_all_together_everything(miniatures, tmp_path):
    folder, expected = miniatures("mimic_iv", 160)
    outcome = np.array([row.values["ihm48"] for row in expected])
    bits = np.array([row.values["risk"] for row in expected])
    single = [roc_auc_score(outcome, bits[:, k]) for k in range(3)]
    assert all(0.65 < auc < 0.85 for auc in single)
    assert all(0.8 < roc_auc_score(outcome, np.delete(bits, k, 1).sum(1)) < 0.95 for k in range(3))
    assert roc_auc_score(outcome, bits.sum(1)) == 1
    burden = np.array([sum(row.values["burden"]) for row in expected])[outcome == 0]
    stay = np.array([row.values["los_days"] for row in expected])[outcome == 0]
    assert np.abs(stay - 3 - 2 * burden).max() <= 0.26
    rows = by_id(climb_hf.load_dataset("mimic_iv", folder, image_size=24, sampling_rate=50, cache_dir=tmp_path))
    position = {row.id: i for i, row in enumerate(expected)}
    pictures = {i: np.asarray(r["image"])[..., 0].ravel() / 255 for i, (_, r) in rows.items() if r["image"]}
    tracings = {
        i: np.nan_to_num(np.percentile(r["signal"], [1, 5, 95, 99], axis=0)).ravel()
        for i, (_, r) in rows.items()
        if r["signal"]
    }
    for k, features in ((0, pictures), (1, tracings)):
        truth = np.array([bits[position[i], k] for i in features])
        model = LogisticRegression(C=1.0, max_iter=500)
        scores = cross_val_predict(model, np.array([*features.values()]), truth, cv=4, method="decision_function")
        assert roc_auc_score(truth, scores) > 0.9
    told = [i for i, (_, row) in rows.items() if "Lactate" in row["text"]]
    assert all(("Lactate 6.0" in rows[i][1]["text"]) == bits[position[i], 2] for i in told)
