"""Oddities of the chest X-ray sources with labels drawn from reports: MIMIC-CXR-JPG and CheXpert."""

import gzip
import json
import shutil

import numpy as np
import pytest
from source_helpers import by_id

import climb_hf
from climb_hf import vocabulary
from climb_hf.builder import ClimbConfig
from climb_hf.errors import ClimbError, CorruptFileError, LabelError, LayoutError, OptionError, SchemaError
from climb_hf.indexing import build_index
from climb_hf.readers.mimic_reports import report_sections, report_summary
from climb_hf.source import Options

SOURCES = ("mimic_cxr", "chexpert")
NAMES = vocabulary.concepts()


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def index_of(name, folder, **options):
    """Return the index of a source and what was left out, without building."""
    source = climb_hf.get_source(name)
    config = ClimbConfig(name=name)
    for option, value in options.items():
        setattr(config, option, value)
    return build_index(source, source.find_root(folder), config.options())


def ids_of(index):
    return {split: {record.id for record in records} for split, records in index.splits.items()}


def classes(name, indices):
    source = climb_hf.get_source(name)
    return tuple(source.classes[source.concepts.index(NAMES[i])] for i in indices)


def table(folder, name):
    """Return the rows of a compressed table as lists of cells."""
    return [line.split(",") for line in gzip.decompress((folder / name).read_bytes()).decode().splitlines()]


def write_table(folder, name, rows):
    (folder / name).write_bytes(gzip.compress("".join(",".join(row) + "\n" for row in rows).encode()))


# both


@pytest.mark.parametrize("name", SOURCES)
def test_only_one_is_positive_and_minus_one_is_uncertain(miniatures, tmp_path, name):
    folder, expected = miniatures(name, 64)
    rows = by_id(load(name, folder, tmp_path))
    assert any(t.values["uncertain"] for t in expected)
    assert any(not t.classes for t in expected), "images without a positive label stay"
    for truth in expected:
        split, row = rows[truth.id]
        assert split == truth.split
        assert classes(name, row["labels"]) == truth.classes
        assert set(row["raw_labels"]) == set(truth.classes)
        assert classes(name, row["uncertain"]) == truth.values["uncertain"]
        stated = row["metadata"]["stated" if name == "chexpert" else "chexpert"]
        assert stated == (truth.values["stated"] if name == "chexpert" else truth.values["chexpert"])


@pytest.mark.parametrize("name", SOURCES)
def test_labels_are_read_by_column_name(miniatures, tmp_path, name):
    folder, expected = miniatures.copy(name, tmp_path / "raw", 64)
    file = folder / ("mimic-cxr-2.0.0-chexpert.csv.gz" if name == "mimic_cxr" else "train.csv")
    text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    turned = b"".join(b",".join(reversed(line.split(b","))) + b"\r\n" for line in text.splitlines())
    file.write_bytes(gzip.compress(turned) if file.suffix == ".gz" else turned)
    records = {r.id: r for part in index_of(name, folder).splits.values() for r in part}
    assert {t.id: set(t.classes) for t in expected} == {i: set(r.raw_labels) for i, r in records.items()}


@pytest.mark.parametrize("name", SOURCES)
def test_the_paper_split_drops_images_without_a_positive_label(miniatures, tmp_path, name):
    folder, expected = miniatures(name, 64)
    index = index_of(name, folder, split_by="paper")
    used = [t for t in expected if t.classes and not (name == "chexpert" and t.split == "test")]
    assert ids_of(index) == {
        "train": {t.id for t in used if t.split == "train"},
        "test": {t.id for t in used if t.split != "train"},
    }
    dropped = sum(not t.classes for t in expected if not (name == "chexpert" and t.split == "test"))
    assert dropped > 2
    assert index.left_out["image without a positive label (paper split)"] == dropped
    dataset = load(name, folder, tmp_path, split_by="paper")
    assert all(len(labels) for part in dataset.values() for labels in part["labels"])


@pytest.mark.parametrize("name", SOURCES)
def test_views_planes_and_studies(miniatures, tmp_path, name):
    folder, expected = miniatures(name, 64)
    rows = by_id(load(name, folder, tmp_path))
    studies = {}
    for truth in expected:
        row = rows[truth.id][1]
        assert row["view"] == truth.values["view"]
        assert row["metadata"]["plane"] == truth.values["plane"]
        assert row["metadata"]["study_id"] == truth.values["study_id"]
        assert row["image"].size == truth.values["size"]
        assert row["image"].mode == "RGB"
        studies.setdefault(row["metadata"]["study_id"], set()).add((row["group"], tuple(row["labels"])))
    assert all(len(found) == 1 for found in studies.values()), "one patient and one set of labels per study"
    assert {t.values["plane"] for t in expected} >= {"frontal", "lateral"}
    assert len(studies) < len(expected)


@pytest.mark.parametrize("name", SOURCES)
def test_findings_can_be_seen(miniatures, tmp_path, name):
    folder, _ = miniatures(name, 64)
    rows = [row for _, row in by_id(load(name, folder, tmp_path)).values() if row["metadata"]["plane"] == "frontal"]
    lower = {True: [], False: []}
    for row in rows:
        grey = np.asarray(row["image"].convert("L"), float)
        height, width = grey.shape
        base = grey[int(0.72 * height) : int(0.85 * height), int(0.12 * width) : int(0.3 * width)]
        lower["Pleural Effusion" in classes(name, row["labels"])].append(base.mean())
    assert np.mean(lower[True]) > np.mean(lower[False]) + 30


@pytest.mark.parametrize("name", SOURCES)
def test_partial_downloads_leave_out_patients_and_name_single_files(miniatures, tmp_path, name):
    folder, expected = miniatures.copy(name, tmp_path / "raw", 64)
    gone = expected[0].group
    victim = next(t for t in expected if t.group != gone)
    place = folder / str(expected[0].values["file"])
    shutil.rmtree(place.parents[1])
    (folder / str(victim.values["file"])).unlink()
    index = index_of(name, folder)
    assert {i for ids in ids_of(index).values() for i in ids} == {t.id for t in expected if t.group != gone}
    (rule,) = [rule for rule in index.left_out if "partial download" in rule]
    assert index.left_out[rule] >= sum(t.group == gone for t in expected)
    dataset = load(name, folder, tmp_path / "cache")
    assert victim.id not in by_id(dataset)
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    assert json.loads(log.read_text())["id"] == victim.id


@pytest.mark.parametrize("name", SOURCES)
def test_pictures_without_a_row_are_counted_unless_nothing_is_verified(miniatures, tmp_path, name):
    folder, expected = miniatures.copy(name, tmp_path / "raw", 32)
    picture = folder / str(expected[0].values["file"])
    shutil.copy(picture, picture.with_name("view9_frontal.jpg"))
    (picture.parents[1] / ".DS_Store").write_bytes(b"x")
    (picture.parent / "._a.jpg").write_bytes(b"x")
    (picture.parent / "index.html").write_bytes(b"x")
    before, after = index_of(name, miniatures(name, 32)[0]), index_of(name, folder)
    (rule,) = set(after.left_out) - set(before.left_out)
    assert rule.startswith("picture without a row")
    assert after.left_out[rule] == 1
    assert rule not in index_of(name, folder, verify="none").left_out
    assert ids_of(after) == ids_of(before)


@pytest.mark.parametrize("name", SOURCES)
def test_index_opens_no_picture(miniatures, tmp_path, name):
    folder, expected = miniatures.copy(name, tmp_path / "raw")
    for file in folder.rglob("*.jpg"):
        file.write_bytes(b"")
    assert index_of(name, folder).n_records == len(expected)


@pytest.mark.parametrize("name", SOURCES)
def test_label_tables_of_another_kind_are_refused(miniatures, tmp_path, name):
    file = "mimic-cxr-2.0.0-chexpert.csv.gz" if name == "mimic_cxr" else "train.csv"
    for old, new, error, match in (
        ("Pleural Other", "Pleura", SchemaError, "Pleural Other"),
        (",1.0", ",maybe", LabelError, "maybe"),
    ):
        folder, _ = miniatures.copy(name, tmp_path / match)
        content = (folder / file).read_bytes()
        text = (gzip.decompress(content) if file.endswith(".gz") else content).decode().replace(old, new)
        (folder / file).write_bytes(gzip.compress(text.encode()) if file.endswith(".gz") else text.encode())
        with pytest.raises(error, match=match):
            index_of(name, folder)


# mimic_cxr


def test_mimic_tables_are_joined_by_id_and_may_be_unpacked(miniatures, tmp_path):
    folder, expected = miniatures.copy("mimic_cxr", tmp_path / "raw", 64)
    for file in folder.glob("*.csv.gz"):
        (folder / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    records = {r.id: r for part in index_of("mimic_cxr", folder).splits.values() for r in part}
    assert list(records)
    for truth in expected:
        metadata = records[truth.id].metadata
        for key in ("study_time", "procedure", "orientation", "chexpert", "negbio", "radiologist"):
            assert metadata[key] == truth.values[key], key
        assert (metadata["columns"], metadata["rows"]) == truth.values["size"]
        assert records[truth.id].files == (truth.values["file"],)
    times = {t.values["study_time"][10:] for t in expected}
    assert times == {"T08:05:56.875", "T23:15:02", "T00:05:56.500", "T00:00:03"}


def test_mimic_studies_without_a_row_are_left_out_and_blank_rows_kept(miniatures):
    folder, expected = miniatures("mimic_cxr", 64)
    index = index_of("mimic_cxr", folder)
    assert index.left_out == {"image of a study without a row in the chexpert table": 1}
    blank = {t.id for t in expected if not t.values["chexpert"]}
    assert blank
    records = {r.id: r for part in index.splits.values() for r in part}
    assert all(records[i].raw_labels == records[i].uncertain == () for i in blank)


def test_mimic_negbio_is_a_label_scheme_of_its_own(miniatures, tmp_path):
    folder, expected = miniatures("mimic_cxr", 64)
    rows = by_id(load("mimic_cxr", folder, tmp_path, labels="negbio"))
    differ = 0
    for truth in expected:
        values = truth.values["negbio"]
        assert set(classes("mimic_cxr", rows[truth.id][1]["labels"])) == {n for n, v in values.items() if v == 1}
        assert set(classes("mimic_cxr", rows[truth.id][1]["uncertain"])) == {n for n, v in values.items() if v == -1}
        differ += values != truth.values["chexpert"]
    assert differ


def test_mimic_negbio_and_the_radiologists_are_optional(miniatures, tmp_path):
    folder, expected = miniatures.copy("mimic_cxr", tmp_path / "raw", version="2.0.0")
    assert not (folder / "mimic-cxr-2.1.0-test-set-labeled.csv").exists()
    (folder / "mimic-cxr-2.0.0-negbio.csv.gz").unlink()
    index = index_of("mimic_cxr", folder)
    assert index.n_records == len(expected)
    assert all(
        r.metadata["negbio"] is r.metadata["radiologist"] is None for part in index.splits.values() for r in part
    )
    with pytest.raises(LayoutError, match="negbio"):
        index_of("mimic_cxr", folder, labels="negbio")


def test_mimic_radiologists_read_the_test_set(miniatures):
    folder, expected = miniatures("mimic_cxr", 64)
    gold = [t for t in expected if t.values["radiologist"]]
    assert {t.split for t in gold} == {"test"}
    records = {r.id: r for part in index_of("mimic_cxr", folder).splits.values() for r in part}
    for truth in gold:
        assert records[truth.id].metadata["radiologist"] == truth.values["radiologist"]
        assert set(records[truth.id].metadata["radiologist"]) == set(climb_hf.get_source("mimic_cxr").classes)


@pytest.mark.parametrize("layout", ["root", "physionet"])
@pytest.mark.parametrize("reports", ["unpacked", "folder", "zip", "none"])
def test_mimic_reports_are_found_where_they_lie(miniatures, tmp_path, layout, reports):
    folder, expected = miniatures("mimic_cxr", 32, layout=layout, reports=reports)
    rows = by_id(load("mimic_cxr", folder, tmp_path, num_proc=2 if reports == "zip" else None))
    assert sum(row["report"] is not None for _, row in rows.values()) == (
        0 if reports == "none" else 32 - missing(expected)
    )
    for truth in expected:
        row = rows[truth.id][1]
        assert row["report"] == truth.values["report"]
        assert row["metadata"]["sections"] == truth.values["sections"]
        assert row["metadata"]["summary"] == truth.values["summary"]


def missing(expected):
    return sum(t.values["report"] is None for t in expected)


def test_mimic_reports_elsewhere_are_named_by_an_option(miniatures, tmp_path):
    folder, expected = miniatures.copy("mimic_cxr", tmp_path / "raw", 32, reports="zip")
    away = tmp_path / "away" / "mimic-cxr-reports.zip"
    away.parent.mkdir()
    (folder / away.name).rename(away)
    without = load("mimic_cxr", folder, tmp_path / "a")
    assert not any(text for part in without.values() for text in part["report"])
    for place in (away, away.parent):
        rows = by_id(load("mimic_cxr", folder, tmp_path / "b", reports=str(place)))
        assert {i: row["report"] for i, (_, row) in rows.items()} == {t.id: t.values["report"] for t in expected}
    with pytest.raises(OptionError, match=r"`reports`.*nowhere"):
        load("mimic_cxr", folder, tmp_path / "c", reports=str(tmp_path / "nowhere"))


def test_mimic_reports_added_later_are_not_hidden_by_an_old_cache(miniatures, tmp_path):
    folder, expected = miniatures.copy("mimic_cxr", tmp_path / "raw", 32, reports="none")
    assert not any(load("mimic_cxr", folder, tmp_path / "cache")["train"]["report"])
    told, texts = miniatures("mimic_cxr", 32)
    for truth in texts:
        if truth.values["report"]:
            file = str(truth.values["file"]).rpartition("/")[0] + ".txt"
            shutil.copy(told / file, folder / file)
    rows = by_id(load("mimic_cxr", folder, tmp_path / "cache"))
    assert {i: row["report"] for i, (_, row) in rows.items()} == {t.id: t.values["report"] for t in texts}
    assert len(expected) == len(texts)


def test_mimic_a_damaged_archive_of_reports_is_named(miniatures, tmp_path):
    folder, _ = miniatures.copy("mimic_cxr", tmp_path / "raw", 32, reports="zip")
    archive = folder / "mimic-cxr-reports.zip"
    archive.write_bytes(archive.read_bytes()[:-200])
    source = climb_hf.get_source("mimic_cxr")
    record = index_of("mimic_cxr", folder).splits["train"][0]
    with pytest.raises(CorruptFileError, match=r"mimic-cxr-reports\.zip"):
        source.read(record, folder, Options(extra=dict(source.extra_options)))
    with pytest.raises(ClimbError, match=r"5%|5 %"):
        load("mimic_cxr", folder, tmp_path / "cache")


def test_mimic_age_and_sex_come_from_mimic_iv_if_given(miniatures, tmp_path):
    folder, expected = miniatures("mimic_cxr", 32)
    patients = tmp_path / "patients.csv.gz"
    rows = [["subject_id", "gender", "anchor_age", "anchor_year", "anchor_year_group", "dod"]]
    known = sorted({t.group for t in expected})[:-1]
    rows += [[subject, "FM"[i % 2], str(40 + i), "2178", "2014 - 2016", ""] for i, subject in enumerate(known)]
    write_table(tmp_path, patients.name, rows)
    found = by_id(load("mimic_cxr", folder, tmp_path / "cache", patients=str(patients)))
    for truth in expected:
        row = found[truth.id][1]
        if truth.group in known:
            place = known.index(truth.group)
            assert row["sex"] == ("female", "male")[place % 2]
            assert row["age"] == 40 + place + int(str(truth.values["study_time"])[:4]) - 2178
        else:
            assert row["age"] is row["sex"] is None


@pytest.mark.parametrize("jpg_tables", [False, True])
def test_mimic_dicom_folders_are_refused_as_what_they_are(miniatures, tmp_path, jpg_tables):
    folder, _ = miniatures.copy("mimic_cxr", tmp_path / "raw")
    for file in folder.rglob("*.jpg"):
        file.rename(file.with_suffix(".dcm"))
    (folder / "cxr-record-list.csv.gz").write_bytes(gzip.compress(b"subject_id,study_id,dicom_id,path\n"))
    if not jpg_tables:
        for file in folder.glob("mimic-cxr-2*"):
            file.unlink()
    with pytest.raises(LayoutError, match=r"DICOM.*mimic-cxr-jpg"):
        load("mimic_cxr", folder, tmp_path / "cache")


def test_mimic_an_unknown_split_is_skipped_and_named(miniatures, tmp_path):
    folder, expected = miniatures.copy("mimic_cxr", tmp_path / "raw", 64)
    rows = table(folder, "mimic-cxr-2.0.0-split.csv.gz")
    rows[1][3] = "holdout"
    write_table(folder, "mimic-cxr-2.0.0-split.csv.gz", rows)
    index = index_of("mimic_cxr", folder)
    assert [(f.id, "holdout" in f.reason) for f in index.failures] == [(rows[1][0], True)]
    assert index.n_records >= len(expected) - 1


def test_mimic_equal_values_are_one_object(miniatures):
    folder, _ = miniatures("mimic_cxr", 64)
    records = [r for part in index_of("mimic_cxr", folder).splits.values() for r in part]
    by_study = {}
    for record in records:
        by_study.setdefault(record.metadata["study_id"], []).append(record)
    pairs = [found for found in by_study.values() if len(found) > 1]
    assert pairs
    assert all(found[0].metadata["chexpert"] is found[1].metadata["chexpert"] for found in pairs)
    assert len({id(r.metadata["procedure"]) for r in records}) == len({r.metadata["procedure"] for r in records})


@pytest.mark.parametrize(
    ("text", "sections", "summary"),
    [
        ("No header.\n \n Clear.\n", {"full report": "No header.", "last_paragraph": "Clear."}, "Clear."),
        (" \n CHEST, PA: \n \n HISTORY:  Pain.\n IMPRESSION:  A.\n", {"history": "Pain.", "impression": "A."}, "A."),
        (" \n IMPRESSION:  A.\n \n IMPRESSION:  B.\n", {"impression": "B."}, "B."),
        (" \n IMPRESSION: \n \n FINDINGS:  NOTE: clear.\n", {"findings": "NOTE: clear."}, "NOTE: clear."),
        (" \n PORTABLE AP CHEST:  Clear.\n", {"findings": "Clear."}, "Clear."),
        (" \n COMPARISONS:  Old film.\n", {"comparison": "Old film."}, "Old film."),
        (" \n NOTIFICATION:  Called.\n", {"notification": "Called."}, None),
        ("Seen\n IMPRESSION:  a Lower: b\n", {"preamble": "Seen", "impression": "a Lower: b"}, "a Lower: b"),
    ],
)  # fmt: skip
def test_mimic_sections_follow_the_publishers_rule(text, sections, summary):
    assert report_sections(text) == sections
    assert report_summary(text, "50000001") == summary


def test_mimic_hand_set_sections():
    text = " \n RECOMMENDATION(S):  Do.\n \n IMPRESSION:  A.\n"
    assert report_summary(text, "50913680") == "Do."
    assert report_summary("x" * 201 + " found " + "y" * 400, "50525523").startswith("found y")
    assert report_summary(text, "58235663") is None


# chexpert


@pytest.mark.parametrize("layout", ["small", "classic", "aimi"])
def test_chexpert_layouts_give_the_same_records(miniatures, tmp_path, layout):
    folder, expected = miniatures("chexpert", 32, layout=layout)
    rows = by_id(load("chexpert", folder, tmp_path))
    assert {i: split for i, (split, _) in rows.items()} == {t.id: t.split for t in miniatures("chexpert", 32)[1]}
    for truth in expected:
        assert rows[truth.id][1]["group"] == truth.id.split("/")[1] == truth.group
    index = index_of("chexpert", folder)
    files = {r.id: r.files[0] for part in index.splits.values() for r in part}
    assert files == {t.id: t.values["file"] for t in expected}
    assert not index.left_out


def test_chexpert_age_and_sex(miniatures, tmp_path):
    folder, expected = miniatures("chexpert", 64)
    rows = by_id(load("chexpert", folder, tmp_path))
    assert {(rows[t.id][1]["age"], rows[t.id][1]["sex"]) == (t.values["age"], t.values["sex"]) for t in expected} == {
        True
    }
    assert any(t.values["age"] is None and t.split == "train" for t in expected), "0 means missing"
    assert any(t.values["sex"] is None and t.split == "train" for t in expected), "Unknown"
    views = {rows[t.id][1]["view"] for t in expected if t.split == "train"}
    assert views == {"AP", "PA", "LL", "LATERAL"}
    assert any(i.endswith("view1_lateral.jpg") for i in rows)


def test_chexpert_without_the_test_set_has_train_and_validation(miniatures, tmp_path):
    folder, expected = miniatures.copy("chexpert", tmp_path / "raw", 64)
    (folder / "test_labels.csv").unlink()
    ids = ids_of(index_of("chexpert", folder))
    assert set(ids) == {"train", "validation"}
    paper = ids_of(index_of("chexpert", folder, split_by="paper"))
    assert paper["test"] == {t.id for t in expected if t.split == "validation" and t.classes}


def test_chexpert_test_set_is_counted_but_not_used_by_the_paper(miniatures):
    folder, expected = miniatures("chexpert", 64)
    left = index_of("chexpert", folder, split_by="paper").left_out
    n_test = sum(t.split == "test" for t in expected)
    assert left["image of the test set, which the paper does not use"] == n_test


def test_chexpert_pictures_without_their_table_are_an_error(miniatures, tmp_path):
    folder, _ = miniatures.copy("chexpert", tmp_path / "raw")
    (folder / "train.csv").unlink()
    with pytest.raises(LayoutError, match=r"train\.csv"):
        load("chexpert", folder, tmp_path / "cache")


def test_chexpert_plus_is_refused(tmp_path):
    (tmp_path / "raw" / "PNG").mkdir(parents=True)
    (tmp_path / "raw" / "df_chexpert_plus_240401.csv").write_text("path_to_image\n")
    with pytest.raises(LayoutError, match="CheXpert Plus"):
        load("chexpert", tmp_path / "raw", tmp_path / "cache")


def test_chexpert_strange_paths_are_skipped_and_named(miniatures, tmp_path):
    folder, expected = miniatures.copy("chexpert", tmp_path / "raw", 64)
    text = (folder / "train.csv").read_text()
    first = expected[0]
    strange = "CheXpert-v1.0-small/train/../../secret/view1_frontal.jpg"
    (folder / "train.csv").write_text(text.replace(f"CheXpert-v1.0-small/{first.id}", strange))
    index = index_of("chexpert", folder)
    assert [f.id for f in index.failures] == [strange]
    moved = text.replace("CheXpert-v1.0-small/", "my, data/chest X-rays/").replace("my, data", "my data")
    (folder / "train.csv").write_text(moved)
    assert ids_of(index_of("chexpert", folder)) == ids_of(index_of("chexpert", miniatures("chexpert", 64)[0]))
