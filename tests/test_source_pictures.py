"""Oddities of the picture and video sources, on miniatures and, where it is there, on real data."""

import csv
import json
import shutil
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from source_helpers import by_id, left_out

import climb_hf
from climb_hf import vocabulary
from climb_hf.errors import AccessError, LayoutError, OptionError, SchemaError, SplitError


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def skipped(cache):
    (file,) = cache.rglob("skipped.jsonl")
    return {row["id"]: row["reason"] for row in map(json.loads, file.read_text().splitlines())}


def edit(table, change):
    """Rewrite a table after `change(rows)`; columns stay."""
    with table.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = list(rows[0])
    change(rows)
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


# brain_tumor


def test_brain_tumor_names_copies_and_can_drop_them(miniatures, tmp_path):
    folder, expected = miniatures("brain_tumor")
    copies = {t.id: t.values["duplicate_of"] for t in expected if t.values["duplicate_of"]}
    assert any(i.startswith("Testing") and first.startswith("Training") for i, first in copies.items())
    rows = by_id(load("brain_tumor", folder, tmp_path / "a"))
    assert {i: row["duplicate_of"] for i, (_, row) in rows.items() if row["duplicate_of"]} == copies
    kept = by_id(load("brain_tumor", folder, tmp_path / "b", drop_duplicates=True))
    assert set(kept) == set(rows) - set(copies)
    assert sum(left_out(tmp_path / "b").values()) == len(copies)


def test_brain_tumor_refuses_the_later_reupload(tmp_path):
    for folder in ("glioma", "notumor"):
        (tmp_path / "raw" / "Training" / folder).mkdir(parents=True)
    with pytest.raises(LayoutError, match="another data set"):
        load("brain_tumor", tmp_path / "raw", tmp_path / "cache")


def test_brain_tumor_real_counts(real_dir, tmp_path):
    dataset = load("brain_tumor", real_dir / "brain_tumor", tmp_path)
    assert {split: part.num_rows for split, part in dataset.items()} == {"train": 2870, "test": 394}
    names = dataset["train"].features["labels"].feature.names
    counts = {s: Counter(names[i] for (i,) in part["labels"]) for s, part in dataset.items()}
    per_class = {"no_tumor": (395, 105), "pituitary_tumor": (827, 74), "glioma_tumor": (826, 100)}
    for concept, (train, test) in {**per_class, "meningioma_tumor": (822, 115)}.items():
        assert (counts["train"][f"brain_mri.{concept}"], counts["test"][f"brain_mri.{concept}"]) == (train, test)
    crossing = [d for d in dataset["test"]["duplicate_of"] if d and d.startswith("Training/")]
    assert len(crossing) == 88
    assert sum(d is not None for part in dataset.values() for d in part["duplicate_of"]) == 3264 - 3027


# pad_ufes_20


@pytest.mark.parametrize("layout", ["mendeley", "kaggle", "flat"])
def test_pad_ufes_20_finds_pictures_by_name_in_every_layout(miniatures, tmp_path, layout):
    folder, expected = miniatures("pad_ufes_20", layout=layout)
    rows = by_id(load("pad_ufes_20", folder, tmp_path))
    assert set(rows) == {t.id for t in expected}
    for truth in expected:
        _, row = rows[truth.id]
        assert row["image"].mode == "RGB"
        assert row["image"].size == truth.values["size"]
        assert row["raw_labels"] == list(truth.values["raw_labels"])
        assert row["duplicate_of"] == truth.values["duplicate_of"]
        assert row["metadata"]["lesion_id"] == truth.values["lesion_id"]


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_pad_ufes_20_lays_transparency_on_white(miniatures, tmp_path, alpha):
    folder, expected = miniatures.copy("pad_ufes_20", tmp_path / "raw")
    victim = next(folder.rglob(expected[0].id))
    pixels = np.full((64, 64, 4), (200, 100, 50, alpha), np.uint8)
    Image.fromarray(pixels, "RGBA").save(victim)
    _, row = by_id(load("pad_ufes_20", folder, tmp_path / "cache"))[victim.name]
    share = alpha / 255
    wanted = [round(value * share + 255 * (1 - share)) for value in (200, 100, 50)]
    assert row["image"].mode == "RGB"
    np.testing.assert_allclose(np.asarray(row["image"])[0, 0], wanted, atol=1)


def test_pad_ufes_20_keeps_blank_and_unknown_apart(miniatures, tmp_path):
    folder, _ = miniatures("pad_ufes_20", 64)
    metadata = [row["metadata"] for _, row in by_id(load("pad_ufes_20", folder, tmp_path)).values()]
    assert any(m["smoke"] is None for m in metadata)
    assert {type(m["smoke"]) for m in metadata} == {bool, type(None)}
    assert any(m["hurt"] == "UNK" for m in metadata)
    assert {m["hurt"] for m in metadata} <= {"TRUE", "FALSE", "UNK", None}
    assert any(isinstance(m["fitspatrick"], float) for m in metadata)


def test_pad_ufes_20_has_no_paper_split_and_says_why(miniatures, tmp_path):
    folder, _ = miniatures("pad_ufes_20")
    with pytest.raises(SplitError, match="without a seed"):
        load("pad_ufes_20", folder, tmp_path, split_by="paper")


def test_pad_ufes_20_counts_pictures_without_a_row_and_names_missing_ones(miniatures, tmp_path):
    folder, expected = miniatures.copy("pad_ufes_20", tmp_path / "raw")
    victim = next(folder.rglob(expected[0].id))
    victim.with_name("PAT_99_98_97.png").write_bytes(victim.read_bytes())
    victim.unlink()
    rows = by_id(load("pad_ufes_20", folder, tmp_path / "cache"))
    assert set(rows) == {t.id for t in expected[1:]}
    assert sum(left_out(tmp_path / "cache").values()) == 1
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    assert json.loads(log.read_text())["id"] == expected[0].id


# vindr_cxr


def test_vindr_cxr_majority_votes_uncertain_and_boxes(miniatures, tmp_path):
    folder, expected = miniatures("vindr_cxr")
    rows = by_id(load("vindr_cxr", folder, tmp_path))
    source = climb_hf.get_source("vindr_cxr")
    names = vocabulary.concepts()
    assert any(t.values["uncertain"] for t in expected)
    for truth in expected:
        _, row = rows[truth.id]
        uncertain = {source.classes[source.concepts.index(names[i])] for i in row["uncertain"]}
        assert uncertain == set(truth.values["uncertain"])
        assert len(row["objects"]["bbox"]) == truth.values["n_boxes"] == len(row["objects"]["category"])
        assert all(w > 0 and h > 0 for _, _, w, h in row["objects"]["bbox"])
        assert row["metadata"]["photometric_interpretation"] == truth.values["photometric"]
        assert row["view"] == "PA"


def test_vindr_cxr_pictures_decode_bright_on_dark_whatever_the_photometry(miniatures, tmp_path):
    folder, expected = miniatures("vindr_cxr")
    rows = by_id(load("vindr_cxr", folder, tmp_path))
    means = {"MONOCHROME1": [], "MONOCHROME2": []}
    for truth in expected:
        picture = rows[truth.id][1]["image"]
        assert picture.mode == "RGB"
        assert picture.size == truth.values["size"]
        grey = np.asarray(picture)[..., 0].astype(float)
        assert grey.max() - grey.min() > 150, "full range"
        # lungs are darker than the body around the spine, in both photometric interpretations after rendering
        height, _width = grey.shape
        means[truth.values["photometric"]].append(grey[height // 3 : height // 2].mean())
    assert means["MONOCHROME1"]
    assert abs(np.mean(means["MONOCHROME1"]) - np.mean(means["MONOCHROME2"])) < 30


def test_vindr_cxr_label_schemes(miniatures, tmp_path):
    folder, _ = miniatures("vindr_cxr")
    findings = load("vindr_cxr", folder, tmp_path, labels="findings")
    allowed = set(vocabulary.source_vocabulary("vindr_cxr", "findings").indices)
    assert {i for part in findings.values() for labels in part["labels"] for i in labels} <= allowed
    raw = load("vindr_cxr", folder, tmp_path, labels="raw")
    assert len(raw["train"].features["labels"].feature.names) == 28


def test_vindr_cxr_sixteen_bits_and_window(miniatures, tmp_path):
    folder, _expected = miniatures("vindr_cxr")
    deep = load("vindr_cxr", folder, tmp_path, bit_depth=16)["test"][0]["image"]
    assert deep.mode.startswith("I")
    assert np.asarray(deep).max() > 255
    with pytest.raises(OptionError, match="window"):
        load("vindr_cxr", folder, tmp_path, window="nonsense")
    narrow = load("vindr_cxr", folder, tmp_path, window=[2000, 10])["test"][0]["image"]
    assert len(np.unique(np.asarray(narrow))) < 30


def test_a_dicom_file_of_several_frames_is_skipped_with_the_reason(miniatures, tmp_path):
    import pydicom

    folder, expected = miniatures.copy("vindr_cxr", tmp_path / "raw")
    uncompressed = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")
    for victim in sorted(folder.rglob("*.dicom")):
        dataset = pydicom.dcmread(victim)
        if dataset.file_meta.TransferSyntaxUID in uncompressed:
            break
    dataset.NumberOfFrames = 2
    dataset.PixelData = dataset.PixelData * 2
    dataset.save_as(victim)
    rows = by_id(load("vindr_cxr", folder, tmp_path / "cache"))
    assert set(rows) == {t.id for t in expected} - {victim.stem}
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    assert "2 frames" in json.loads(log.read_text())["reason"]


def test_vindr_cxr_loads_where_only_one_folder_was_downloaded(miniatures, tmp_path):
    folder, expected = miniatures.copy("vindr_cxr", tmp_path / "raw")
    shutil.rmtree(folder / "train")
    dataset = load("vindr_cxr", folder, tmp_path / "cache")
    assert list(dataset) == ["test"]
    n_train = sum(truth.split == "train" for truth in expected)
    assert left_out(tmp_path / "cache") == {"folder `train/` not downloaded": n_train}


def test_vindr_cxr_without_its_label_table_names_it(miniatures, tmp_path):
    folder, _ = miniatures.copy("vindr_cxr", tmp_path / "raw")
    (folder / "annotations" / "image_labels_train.csv").unlink()
    with pytest.raises(AccessError, match=r"image_labels_train\.csv"):
        load("vindr_cxr", folder, tmp_path / "cache")


def test_vindr_cxr_index_opens_no_picture(miniatures, tmp_path):
    from climb_hf.builder import ClimbConfig
    from climb_hf.indexing import build_index

    folder, expected = miniatures.copy("vindr_cxr", tmp_path / "raw")
    for file in folder.rglob("*.dicom"):
        file.write_bytes(b"")
    index = build_index(climb_hf.get_source("vindr_cxr"), folder, ClimbConfig(name="vindr_cxr").options())
    assert index.n_records == len(expected)


# covid_blues


def test_covid_blues_frames_and_clinical_values(miniatures, tmp_path):
    folder, expected = miniatures("covid_blues")
    rows = by_id(load("covid_blues", folder, tmp_path, num_frames="all"))
    for truth in expected:
        _, row = rows[truth.id]
        assert len(row["frames"]) == truth.values["num_frames"]
        assert row["fps"] == pytest.approx(truth.values["fps"])
        assert row["frames"][0].size == (350, 350)
        assert row["targets"] == {"age": truth.values["age"]}
        metadata = row["metadata"]
        assert metadata["weight_kg"] == truth.values["weight"]
        assert metadata["height_cm"] == truth.values["height"]
        assert metadata["point"] == truth.values["point"]
        assert metadata["take"] == truth.values["take"]
        assert metadata["severity_score"] == truth.values["severity"]
        assert metadata["b_lines"] == truth.values["b_lines"]
        assert not any(key.startswith("clin_diagn#") for key in metadata["clinical"])
        assert -99.0 not in metadata["clinical"].values()
        assert -96.0 not in metadata["clinical"].values()


def test_covid_blues_short_clips_keep_all_their_frames(miniatures, tmp_path):
    folder, expected = miniatures("covid_blues")
    rows = by_id(load("covid_blues", folder, tmp_path, num_frames=10))
    counts = {t.id: len(rows[t.id][1]["frames"]) for t in expected}
    assert counts == {t.id: min(10, t.values["num_frames"]) for t in expected}
    assert 7 in counts.values()


def test_covid_blues_real_subset(real_dir, tmp_path):
    dataset = load("covid_blues", real_dir / "covid_blues", tmp_path, num_frames=2)
    names = vocabulary.concepts()
    counts = {s: Counter(names[i] for (i,) in part["labels"]) for s, part in dataset.items()}
    assert counts["train"] == {"lung_ultrasound.covid_19": 50, "lung_ultrasound.no_covid_19": 30}
    assert counts["test"] == {"lung_ultrasound.covid_19": 19, "lung_ultrasound.no_covid_19": 12}
    assert {int(g) for g in dataset["test"]["group"]} == {50, 53, 55, 56, 61}
    assert sum(left_out(tmp_path).values()) == 362 - 111
    patient_3 = next(row for row in dataset["train"] if row["id"] == "patient_3_R2")
    assert (patient_3["age"], patient_3["sex"]) == (80.0, "female")
    assert patient_3["metadata"]["bmi"] == 22.77


# rows of tables that are not what they should be


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("age", "old", "expected a finite number"),
        ("smoke", "maybe", "expected one of"),
        ("patient_id", "", "expected a `patient_id`"),
        ("img_id", "", "expected a `patient_id` and an `img_id`"),
    ],
)
def test_pad_ufes_20_names_a_bad_row_and_keeps_the_others(miniatures, tmp_path, column, value, reason):
    folder, expected = miniatures.copy("pad_ufes_20", tmp_path / "raw")
    edit(folder / "metadata.csv", lambda rows: rows[0].update({column: value}))
    rows = load("pad_ufes_20", folder, tmp_path / "cache").values()
    assert sum(map(len, rows)) == len(expected) - 1
    (text,) = skipped(tmp_path / "cache").values()
    assert reason in text


def test_pad_ufes_20_without_a_diagnosis_is_left_out_and_unknown_two_state_answers_are_null(miniatures, tmp_path):
    folder, expected = miniatures.copy("pad_ufes_20", tmp_path / "raw")

    def change(rows):
        rows[0]["diagnostic"] = ""
        rows[1]["smoke"] = "UNK"

    edit(folder / "metadata.csv", change)
    found = by_id(load("pad_ufes_20", folder, tmp_path / "cache"))
    assert len(found) == len(expected) - 1
    assert left_out(tmp_path / "cache")["no diagnosis in the table"] == 1
    assert not skipped(tmp_path / "cache")


def test_vindr_cxr_refuses_a_table_without_one_of_its_columns(miniatures, tmp_path):
    folder, _ = miniatures.copy("vindr_cxr", tmp_path / "raw")
    edit(folder / "annotations" / "image_labels_train.csv", lambda rows: None)
    table = folder / "annotations" / "image_labels_train.csv"
    table.write_text(table.read_text().replace("COPD", "Copd", 1))
    with pytest.raises(SchemaError, match="column `COPD` is missing"):
        load("vindr_cxr", folder, tmp_path / "cache")


@pytest.mark.parametrize(("name", "column"), [("image_labels_train", "Pneumonia"), ("annotations_train", "y_max")])
def test_vindr_cxr_names_the_image_of_a_bad_cell(miniatures, tmp_path, name, column):
    folder, expected = miniatures.copy("vindr_cxr", tmp_path / "raw")
    ids = []

    def change(rows):
        row = next(row for row in rows if row.get("x_min", "1"))
        row[column] = "?"
        ids.append(row["image_id"])

    edit(folder / "annotations" / f"{name}.csv", change)
    found = by_id(load("vindr_cxr", folder, tmp_path / "cache"))
    assert set(found) == {truth.id for truth in expected} - set(ids)
    assert list(skipped(tmp_path / "cache")) == ids


def test_vindr_cxr_raw_window_keeps_sixteen_bits(miniatures, tmp_path):
    folder, _ = miniatures("vindr_cxr")
    row = load("vindr_cxr", folder, tmp_path, window="raw")["train"][0]
    assert row["image"].mode == "I;16"


def test_vindr_cxr_is_found_where_wget_was_started(miniatures, tmp_path):
    folder, expected = miniatures.copy("vindr_cxr", tmp_path / "here/physionet.org/files/vindr-cxr/1.0.0")
    assert folder.is_dir()
    assert sum(map(len, load("vindr_cxr", tmp_path / "here", tmp_path / "cache").values())) == len(expected)


def test_covid_blues_finds_upper_case_endings_counts_other_names_and_keeps_text(miniatures, tmp_path):
    folder, expected = miniatures.copy("covid_blues", tmp_path / "raw")
    first = sorted((folder / "lus_videos").glob("*.mp4"))[0]
    (folder / "lus_videos" / "patient_1_X9.mp4").write_bytes(first.read_bytes())
    first.rename(first.with_suffix(".MP4"))
    edit(
        folder / "clinical_variables.csv",
        lambda rows: [row.update(oxygen_saturation_with_ox="90-92") for row in rows],
    )
    found = by_id(load("covid_blues", folder, tmp_path / "cache", num_frames=1))
    assert set(found) == {truth.id for truth in expected}
    assert left_out(tmp_path / "cache")["name is not `patient_<id>_<point>.mp4`"] == 1
    assert {row["metadata"]["clinical"]["oxygen_saturation_with_ox"] for _, row in found.values()} == {"90-92"}


def test_covid_blues_without_a_pcr_result_is_left_out(miniatures, tmp_path):
    folder, expected = miniatures.copy("covid_blues", tmp_path / "raw")
    patients = []

    def change(rows):
        rows[0]["cov_test"] = "-99"
        patients.append(str(int(float(rows[0]["patient_id"]))))

    edit(folder / "clinical_variables.csv", change)
    found = by_id(load("covid_blues", folder, tmp_path / "cache", num_frames=1))
    assert set(found) == {truth.id for truth in expected if truth.group not in patients}


@pytest.mark.parametrize(("column", "value"), [("patient_id", ""), ("pat_sex", "2"), ("pat_age", "x")])
def test_covid_blues_bad_clinical_rows_are_failures_with_a_reason(miniatures, tmp_path, column, value):
    folder, _ = miniatures.copy("covid_blues", tmp_path / "raw")
    edit(folder / "clinical_variables.csv", lambda rows: rows[0].update({column: value}))
    with pytest.raises(SchemaError, match=r"record `patient.*expected"):
        load("covid_blues", folder, tmp_path / "cache", num_frames=1, strict=True)
