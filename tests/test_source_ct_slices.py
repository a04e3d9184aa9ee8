"""Oddities of the slice sources: `rspect` and `hemorrhage` (CT), `busi` (ultrasound), on miniatures."""

import csv
import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image
from source_helpers import by_id, left_out

import climb_hf
from climb_hf import vocabulary
from climb_hf.builder import ClimbConfig
from climb_hf.errors import DamagedDataError, LayoutError, OptionError, SchemaError, SplitError
from climb_hf.indexing import build_index
from climb_hf.source import Options


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def index_of(name, folder, **options):
    source, config = climb_hf.get_source(name), ClimbConfig(name=name)
    for option, value in options.items():
        setattr(config, option, value)
    return build_index(source, source.find_root(folder), config.options())


def skipped(cache):
    (file,) = cache.rglob("skipped.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def edit_table(path, change, **style):
    """Rewrite a table: `change` gets its rows as lists, the header first."""
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.reader(stream))
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n", **style).writerows(change(rows))


def grey(row):
    """The picture of a row as (height, width), checked to be grey."""
    pixels = np.asarray(row["image"])
    if pixels.ndim == 3:
        assert (pixels == pixels[..., :1]).all()
        pixels = pixels[..., 0]
    return pixels


# rspect


def test_rspect_labels_of_the_five_kinds_of_exam(miniatures, tmp_path):
    folder, expected = miniatures("rspect")
    rows = by_id(load("rspect", folder, tmp_path))
    names, seen = vocabulary.concepts(), set()
    for truth in expected:
        _, row = rows[truth.id]
        (label,) = (names[i] for i in row["labels"])
        kind, is_positive = truth.values["kind"], label != "chest_ct.no_pe"
        seen.add((kind, label))
        assert row["raw_labels"] == list(truth.values["raw_labels"])
        assert row["raw_labels"][0].startswith(f"pe_present_on_image={int(is_positive)}")
        assert {column: row["metadata"][column] for column in truth.values["exam"]} == truth.values["exam"]
        assert (row["metadata"]["study_id"], row["metadata"]["series_id"]) == (truth.group, truth.values["series"])
    assert seen == {
        ("acute", "chest_ct.acute_pe"),
        ("acute", "chest_ct.no_pe"),
        ("acute_and_chronic", "chest_ct.acute_pe"),
        ("acute_and_chronic", "chest_ct.no_pe"),
        ("chronic", "chest_ct.chronic_pe"),
        ("chronic", "chest_ct.no_pe"),
        ("negative", "chest_ct.no_pe"),
        ("indeterminate", "chest_ct.no_pe"),
    }


def test_rspect_indeterminate_exams_stay_unless_dropped(miniatures, tmp_path):
    folder, expected = miniatures("rspect")
    indeterminate = {t.id for t in expected if t.values["kind"] == "indeterminate"}
    assert indeterminate
    kept = by_id(load("rspect", folder, tmp_path, drop_indeterminate=True))
    assert set(kept) == {t.id for t in expected} - indeterminate
    assert left_out(tmp_path) == {
        "slice of an indeterminate exam (`drop_indeterminate=True`)": len(indeterminate),
        "slice of the public test set, whose labels are not published": 2,
    }


def test_rspect_shows_the_embolism_window_in_hounsfield_units(miniatures, tmp_path):
    folder, expected = miniatures("rspect")
    rows = by_id(load("rspect", folder, tmp_path))
    assert len({t.values["syntax"] for t in expected}) == 2
    for truth in expected:
        row, column, units = truth.values["hu_at"]
        picture = grey(rows[truth.id][1])
        assert picture.shape == truth.values["size"][::-1]
        assert picture[row, column] == round((np.clip(units, -250, 450) + 250) / 700 * 255)
    padded = [t for t in expected if t.values["manufacturer"] == "TOSHIBA"]
    assert all(grey(rows[t.id][1])[0, 0] == 0 for t in padded)


@pytest.mark.parametrize(("window", "low", "width"), [("lung", -1350, 1500), ([40, 400], -160, 400)])
def test_rspect_other_windows(miniatures, tmp_path, window, low, width):
    folder, expected = miniatures("rspect")
    rows = by_id(load("rspect", folder, tmp_path, window=window))
    for truth in expected:
        row, column, units = truth.values["hu_at"]
        shown = (np.clip(units, low, low + width) - low) / width * 255
        assert abs(int(grey(rows[truth.id][1])[row, column]) - shown) <= 0.5


def test_rspect_raw_is_hounsfield_units_plus_1024_in_16_bits(miniatures, tmp_path):
    folder, expected = miniatures("rspect")
    raw = by_id(load("rspect", folder, tmp_path, window="raw"))
    deep = by_id(load("rspect", folder, tmp_path, bit_depth=16))
    for truth in expected:
        row, column, units = truth.values["hu_at"]
        assert raw[truth.id][1]["image"].mode.startswith("I;16")
        assert np.asarray(raw[truth.id][1]["image"])[row, column] == units + 1024
        share = (np.clip(units, -250, 450) + 250) / 700
        assert abs(int(np.asarray(deep[truth.id][1]["image"])[row, column]) - share * 65535) <= 0.5
    assert Options(window="raw", bit_depth=8).bit_depth == 16
    with pytest.raises(OptionError, match="window"):
        load("rspect", folder, tmp_path, window="nonsense")


def test_rspect_geometry_and_scanner_come_from_the_header(miniatures, tmp_path):
    folder, expected = miniatures("rspect")
    rows = by_id(load("rspect", folder, tmp_path))
    for truth in expected:
        metadata = rows[truth.id][1]["metadata"]
        for key in ("instance_number", "slice_position_mm", "manufacturer"):
            assert metadata[key] == truth.values[key]
        assert metadata["pixel_spacing_mm"] == [2.8125, 2.8125]
        assert (metadata["slice_thickness_mm"], metadata["tube_voltage_kv"]) in ((1.25, 100.0), (1.25, 120.0))
    order = [t.values["instance_number"] for t in expected if t.group == expected[5].group]
    assert order != sorted(order), "the table does not follow the position of the slices"


def test_rspect_split_keeps_studies_whole_and_the_papers_is_refused(miniatures, tmp_path):
    folder, _ = miniatures.copy("rspect", tmp_path / "raw")

    def many_studies(rows):
        return [*rows[:1], *([f"{i // 5:012x}", f"{i // 5:012x}", f"{i:012x}", *rows[9][3:]] for i in range(2000))]

    edit_table(folder / "train.csv", many_studies)
    index = index_of("rspect", folder)
    groups = {split: {r.group for r in records} for split, records in index.splits.items()}
    assert not groups["train"] & groups["test"]
    assert index.n_records == 2000
    assert 0.68 < len(index.splits["train"]) / index.n_records < 0.82
    with pytest.raises(SplitError, match="without a seed"):
        load("rspect", folder, tmp_path, split_by="paper")


def test_rspect_index_needs_the_table_alone_and_shares_what_belongs_to_an_exam(miniatures, tmp_path):
    folder, expected = miniatures("rspect")
    shutil.copy(folder / "train.csv", tmp_path)
    index = index_of("rspect", tmp_path)
    assert index.n_records == len(expected)
    assert not index.left_out
    exams = {}
    for record in (r for records in index.splits.values() for r in records):
        assert record.files == (f"train/{record.group}/{record.metadata['series_id']}/{record.id}.dcm",)
        assert exams.setdefault(record.group, record.metadata) is record.metadata
    with pytest.raises(DamagedDataError, match="5%"):
        load("rspect", tmp_path, tmp_path / "cache")


def test_rspect_columns_are_found_by_name_and_a_lost_one_is_named(miniatures, tmp_path):
    folder, _ = miniatures.copy("rspect", tmp_path / "raw")
    before = {r.id: r for part in index_of("rspect", folder).splits.values() for r in part}
    edit_table(folder / "train.csv", lambda rows: [row[::-1] for row in rows])
    assert {r.id: r for part in index_of("rspect", folder).splits.values() for r in part} == before
    edit_table(folder / "train.csv", lambda rows: [[c.replace("chronic_pe", "chronic") for c in row] for row in rows])
    with pytest.raises(SchemaError, match="chronic_pe"):
        index_of("rspect", folder)


def test_rspect_bad_cells_are_skipped_left_out_or_warned_of(miniatures, tmp_path, caplog):
    folder, expected = miniatures.copy("rspect", tmp_path / "raw")
    negative = next(i for i, t in enumerate(expected) if t.values["kind"] == "negative")

    def change(rows):
        rows[1][3], rows[2][3], rows[negative + 1][3] = "yes?", "", "1"
        return rows

    edit_table(folder / "train.csv", change)
    with caplog.at_level(logging.WARNING):
        index = index_of("rspect", folder)
    assert [(f.id, f.error) for f in index.failures] == [(expected[0].id, "LabelError")]
    assert "yes?" in index.failures[0].reason
    assert index.left_out["slice without the values that make its label"] == 1
    assert index.n_records == len(expected) - 2
    assert "1 positive slices in exams without embolism" in caplog.text


def test_rspect_missing_slice_is_named(miniatures, tmp_path):
    folder, expected = miniatures.copy("rspect", tmp_path / "raw")
    next(folder.rglob(f"{expected[3].id}.dcm")).unlink()
    rows = by_id(load("rspect", folder, tmp_path / "cache"))
    assert set(rows) == {t.id for t in expected} - {expected[3].id}
    (entry,) = skipped(tmp_path / "cache")
    assert entry["file"].endswith(f"{expected[3].id}.dcm")


@pytest.mark.parametrize(
    ("window", "low", "width"), [("pe", -250, 700), ("lung", -1350, 1500), ("soft_tissue", -160, 400)]
)
def test_rspect_jpeg_derivative_gives_the_window_of_a_channel(miniatures, tmp_path, window, low, width):
    folder, expected = miniatures("rspect", layout="jpeg")
    rows = by_id(load("rspect", folder, tmp_path, window=window))
    assert set(rows) == {t.id for t in expected}
    for truth in expected:
        row, column, units = truth.values["hu_at"]
        picture = grey(rows[truth.id][1])
        assert picture.shape == (256, 256)
        at = [
            (2 * place + 1) * 256 // (2 * size)
            for place, size in zip((row, column), truth.values["size"][::-1], strict=True)
        ]
        shown = (np.clip(units, low, low + width) - low) / width * 255
        assert abs(int(picture[tuple(at)]) - shown) < 12


@pytest.mark.parametrize("options", [{"window": "raw"}, {"window": "bone"}, {"bit_depth": 16}])
def test_rspect_jpeg_derivative_refuses_what_it_does_not_hold(miniatures, tmp_path, options):
    folder, _ = miniatures("rspect", layout="jpeg")
    with pytest.raises(OptionError, match="get the DICOM files"):
        load("rspect", folder, tmp_path, **options)


# hemorrhage


def test_hemorrhage_types_and_fractures_stay_beside_the_two_classes(miniatures, tmp_path):
    folder, expected = miniatures("hemorrhage")
    assert (folder / "hemorrhage_diagnosis.csv").read_bytes().startswith(b"\xef\xbb\xbfPatientNumber")
    rows = by_id(load("hemorrhage", folder, tmp_path))
    raw = load("hemorrhage", folder, tmp_path, labels="raw")
    names = raw["train"].features["labels"].feature.names
    unmerged = {i: {names[k] for k in row["labels"]} for i, (_, row) in by_id(raw).items()}
    assert any(len(t.values["types"]) == 2 for t in expected)
    assert {(bool(t.values["types"]), t.values["fracture"]) for t in expected} >= {(True, False), (False, True)}
    for truth in expected:
        row = rows[truth.id][1]
        assert row["raw_labels"] == list(truth.values["raw_labels"])
        assert unmerged[truth.id] == set(truth.values["raw_labels"])
        for kind in ("Intraventricular", "Intraparenchymal", "Subarachnoid", "Epidural", "Subdural"):
            assert row["metadata"][kind.lower()] == (kind in truth.values["types"])
        assert row["metadata"]["fracture"] == truth.values["fracture"]
        assert truth.id == f"{row['metadata']['patient_number']:03d}/{row['metadata']['slice_number']}"


def test_hemorrhage_test_patients_are_those_of_the_papers_seed(miniatures, tmp_path):
    from climb_hf.dataset_scripts.hemorrhage import TEST_PATIENTS

    drawn = np.random.RandomState(42).permutation(82)[:17] + 49
    assert set(drawn.tolist()) == TEST_PATIENTS
    folder, expected = miniatures("hemorrhage", 120)
    for split_by in ("official", "paper"):
        index = index_of("hemorrhage", folder, split_by=split_by)
        found = {r.id: split for split, records in index.splits.items() for r in records}
        assert found == {t.id: t.split for t in expected}
        assert {r.group for r in index.splits["test"]} <= {f"{p:03d}" for p in TEST_PATIENTS}


def test_hemorrhage_patients_with_a_line_break_in_a_column_name(miniatures, tmp_path):
    folder, expected = miniatures("hemorrhage")
    assert '"Age\n(years)"' in (folder / "patient_demographics.csv").read_text()
    rows = by_id(load("hemorrhage", folder, tmp_path))
    for truth in expected:
        row = rows[truth.id][1]
        assert row["age"] == pytest.approx(truth.values["age"])
        assert row["sex"] == truth.values["sex"]
        assert row["metadata"]["condition"] == truth.values["condition"]
    assert {0.75, 0.002747253} <= {t.values["age"] for t in expected}
    contradicted = [t for t in expected if t.values["condition"] == "Normal CT" and t.values["types"]]
    assert all(t.classes == ("Has Hemorrhage",) for t in contradicted)
    assert contradicted


def test_hemorrhage_without_the_patient_table_has_no_age(miniatures, tmp_path):
    folder, expected = miniatures.copy("hemorrhage", tmp_path / "raw")
    (folder / "patient_demographics.csv").unlink()
    rows = by_id(load("hemorrhage", folder, tmp_path / "cache"))
    assert len(rows) == len(expected)
    assert {(row["age"], row["sex"]) for _, row in rows.values()} == {(None, None)}


def test_hemorrhage_masks(miniatures, tmp_path):
    folder, expected = miniatures("hemorrhage")
    rows = by_id(load("hemorrhage", folder, tmp_path))
    small = by_id(load("hemorrhage", folder, tmp_path, image_size=130))
    assert {(bool(t.values["types"]), t.values["has_mask"]) for t in expected} == {(1, 1), (1, 0), (0, 0)}
    for truth in expected:
        mask = rows[truth.id][1]["mask"]
        if not truth.values["has_mask"]:
            assert mask is None
            continue
        pixels, wanted = np.asarray(mask), truth.values["mask"]
        assert set(np.unique(pixels)) == {0, 255}
        assert mask.size == rows[truth.id][1]["image"].size == (650, 650)
        assert ((pixels > 0) & wanted).sum() / ((pixels > 0) | wanted).sum() > 0.99
        reduced = np.asarray(small[truth.id][1]["mask"])
        assert reduced.shape == (130, 130)
        assert set(np.unique(reduced)) == {0, 255}
        assert (reduced > 0).mean() == pytest.approx(wanted.mean(), rel=0.05)


def test_hemorrhage_bone_window_is_the_other_file_under_the_same_id(miniatures, tmp_path):
    folder, expected = miniatures("hemorrhage")
    brain, bone = (by_id(load("hemorrhage", folder, tmp_path, window=w)) for w in ("brain", "bone"))
    assert set(brain) == set(bone) == {t.id for t in expected}
    for truth in expected:
        patient, number = truth.id.split("/")
        for window, rows in (("brain", brain), ("bone", bone)):
            file = f"Patients_CT/{patient}/{window}/{number}.jpg"
            row = rows[truth.id][1]
            assert row["metadata"][f"{window}_file"] == file
            assert row["image"].tobytes() == Image.open(folder / file).convert("RGB").tobytes()
    with pytest.raises(OptionError, match="bone"):
        load("hemorrhage", folder, tmp_path, window="lung")


def test_hemorrhage_the_slice_without_bone_window_is_left_out_others_are_named(miniatures, tmp_path):
    folder, expected = miniatures.copy("hemorrhage", tmp_path / "raw")
    edit_table(folder / "hemorrhage_diagnosis.csv", lambda rows: [*rows, [84, 36, 0, 0, 0, 0, 0, 1, 0]])
    patient, number = expected[0].id.split("/")
    target = folder / "Patients_CT" / "084" / "brain" / "36.jpg"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "Patients_CT" / patient / "brain" / f"{number}.jpg", target)
    rows = by_id(load("hemorrhage", folder, tmp_path / "brain"))
    assert rows["084/36"][0] == "test"
    assert rows["084/36"][1]["metadata"]["bone_file"] is None
    (folder / "Patients_CT" / patient / "bone" / f"{number}.jpg").unlink()
    rows = by_id(load("hemorrhage", folder, tmp_path / "bone", window="bone"))
    assert set(rows) == {t.id for t in expected[1:]}
    assert left_out(tmp_path / "bone") == {"slice that the publisher has in the brain window only": 1}
    assert [entry["id"] for entry in skipped(tmp_path / "bone")] == [expected[0].id]


def test_hemorrhage_pictures_without_a_row_and_contradictory_rows(miniatures, tmp_path):
    folder, expected = miniatures.copy("hemorrhage", tmp_path / "raw")
    patient, number = expected[-1].id.split("/")
    contradictory = next(i for i, t in enumerate(expected) if t.values["types"])

    def change(rows):
        rows[contradictory + 1][7] = "1"
        return rows[:-1]

    edit_table(folder / "hemorrhage_diagnosis.csv", change)
    rows = by_id(load("hemorrhage", folder, tmp_path / "cache"))
    assert set(rows) == {t.id for t in expected[:-1]} - {expected[contradictory].id}
    assert left_out(tmp_path / "cache") == {"picture without a row in `hemorrhage_diagnosis.csv`": 1}
    (entry,) = skipped(tmp_path / "cache")
    assert (entry["id"], entry["error"]) == (expected[contradictory].id, "LabelError")
    assert (folder / "Patients_CT" / patient / "brain" / f"{number}.jpg").is_file()


@pytest.mark.parametrize("name", ["ct_scans/049.nii", "hemorrhage_diagnosis_raw_ct.csv"])
def test_hemorrhage_refuses_the_volumes_of_later_versions(tmp_path, name):
    file = tmp_path / "raw" / name
    file.parent.mkdir(parents=True)
    file.write_text("x")
    with pytest.raises(LayoutError, match="later version"):
        load("hemorrhage", tmp_path / "raw", tmp_path / "cache")


# busi


def write_all_names(folder, numbers=None):
    """Write a file, which is no picture, under every published name."""
    for word, count in (("benign", 437), ("malignant", 210), ("normal", 133)):
        (folder / word).mkdir(parents=True)
        for number in numbers or range(1, count + 1):
            (folder / word / f"{word} ({number}).png").write_text(f"{word} {number}")
            (folder / word / f"{word} ({number})_mask.png").write_text(f"mask of {word} {number}")


def test_busi_paper_split_is_that_of_the_names_in_string_order(tmp_path):
    write_all_names(tmp_path)
    index = index_of("busi", tmp_path, split_by="paper")
    counts = {s: [sum(r.raw_labels == (w,) for r in part) for w in ("normal", "benign", "malignant")]
              for s, part in index.splits.items()}  # fmt: skip
    assert counts == {"train": [99, 327, 157], "test": [34, 110, 53]}
    first = [r.id for r in index.splits["train"][:4]]
    assert first == ["benign (1).png", "benign (10).png", "benign (100).png", "benign (101).png"]
    ids = {split: [r.id for r in part if r.raw_labels == ("malignant",)] for split, part in index.splits.items()}
    assert (ids["train"][-1], ids["test"][0]) == ("malignant (50).png", "malignant (51).png")


def test_busi_paper_split_of_a_partial_copy_is_the_published_one(tmp_path):
    write_all_names(tmp_path / "all")
    write_all_names(tmp_path / "part", (2, 30, 31, 99, 100))
    splits = [
        {
            r.id: split
            for split, part in index_of("busi", tmp_path / name, split_by="paper").splits.items()
            for r in part
        }
        for name in ("all", "part")
    ]
    assert len(splits[1]) == 15
    assert splits[1].items() <= splits[0].items()
    (tmp_path / "part" / "normal" / "normal (134).png").write_text("new")
    index = index_of("busi", tmp_path / "part", split_by="paper")
    assert dict(index.left_out) == {"picture beyond the published numbers (`split_by='paper'`)": 1}
    assert index_of("busi", tmp_path / "part").n_records == 16


def test_busi_masks_are_merged_whatever_their_mode(miniatures, tmp_path):
    folder, expected = miniatures("busi")
    assert {Image.open(path).mode for path in folder.rglob("*_mask*.png")} == {"1", "L", "RGB"}
    rows = by_id(load("busi", folder, tmp_path))
    assert [t.values["n_masks"] for t in expected if t.id in ("benign (195).png", "malignant (53).png")] == [3, 2]
    for truth in expected:
        row = rows[truth.id][1]
        assert row["image"].size == row["mask"].size == truth.values["size"]
        np.testing.assert_array_equal(np.asarray(row["mask"]), truth.values["mask"] * 255)
        assert (np.asarray(row["mask"]).max() == 0) == (truth.classes == ("Normal",))
        assert len(row["metadata"]["mask_files"]) == truth.values["n_masks"]
        assert row["metadata"]["is_multifocal"] == (truth.values["n_masks"] > 1)
    assert rows["benign (195).png"][1]["metadata"]["mask_files"] == [
        f"benign/benign (195)_mask{end}.png" for end in ("", "_1", "_2")
    ]


def test_busi_masks_are_resized_with_their_pictures_and_may_be_absent(miniatures, tmp_path):
    folder, expected = miniatures("busi")
    small = by_id(load("busi", folder, tmp_path, image_size=96))
    for truth in expected:
        row = small[truth.id][1]
        assert row["image"].size == row["mask"].size == (96, 96)
        assert set(np.unique(row["mask"])) <= {0, 255}
        assert (np.asarray(row["mask"]) > 0).mean() == pytest.approx(truth.values["mask"].mean(), rel=0.1, abs=1e-3)
    bare, expected = miniatures("busi", masks=False)
    rows = by_id(load("busi", bare, tmp_path))
    assert set(rows) == {t.id for t in expected}
    assert all(row["mask"] is None for _, row in rows.values())


def test_busi_a_mask_of_another_size_is_named(miniatures, tmp_path):
    folder, expected = miniatures.copy("busi", tmp_path / "raw")
    Image.new("L", (20, 20)).save(folder / "benign" / "benign (1)_mask.png")
    rows = by_id(load("busi", folder, tmp_path / "cache"))
    assert set(rows) == {t.id for t in expected} - {"benign (1).png"}
    (entry,) = skipped(tmp_path / "cache")
    assert "20 × 20" in entry["reason"]


def test_busi_copies_are_named_and_stay_in_one_split(miniatures, tmp_path):
    folder, expected = miniatures("busi")
    rows = by_id(load("busi", folder, tmp_path))
    copies = {t.id: t.values["duplicate_of"] for t in expected if t.values["duplicate_of"]}
    assert copies == {"benign (10).png": "benign (1).png", "malignant (10).png": "benign (1).png"}
    assert {i: row["duplicate_of"] for i, (_, row) in rows.items() if row["duplicate_of"]} == copies
    assert len({rows[i][0] for i in ("benign (1).png", *copies)}) == 1
    assert rows["malignant (10).png"][1]["raw_labels"] == ["malignant"]


def test_busi_flat_copy_gives_the_same_records(miniatures, tmp_path):
    (folder, expected), (flat, _) = miniatures("busi"), miniatures("busi", layout="flat")
    rows, again = (by_id(load("busi", f, tmp_path)) for f in (folder, flat))
    assert list(rows) == list(again)
    assert {t.id for t in expected} == set(again)
    for name, (split, row) in again.items():
        assert (split, row["labels"]) == (rows[name][0], rows[name][1]["labels"])
        assert row["image"].tobytes() == rows[name][1]["image"].tobytes()


def test_busi_foreign_names_are_counted_and_mangled_ones_refused(miniatures, tmp_path):
    folder, expected = miniatures.copy("busi", tmp_path / "raw")
    for name in ("benign/figure.png", "benign/benign (436)_mask.png", "normal (1).png"):
        shutil.copy(folder / "normal" / "normal (1).png", folder / name)
    rows = by_id(load("busi", folder, tmp_path / "cache"))
    assert set(rows) == {t.id for t in expected}
    assert left_out(tmp_path / "cache") == {
        "picture whose name is not of the data set": 1,
        "mask without its picture": 1,
        "second file of one name": 1,
    }
    (folder / "benign" / "benign (1).png").rename(folder / "benign" / "benign _1_.png")
    with pytest.raises(LayoutError, match="archiver"):
        load("busi", folder, tmp_path / "cache")
