"""Oddities of the mammography sources, on miniatures and on a table of the published structure."""

import csv
import json
import shutil
from collections import Counter, defaultdict

import numpy as np
import pydicom
import pytest
from source_helpers import by_id

import climb_hf
from climb_hf import vocabulary
from climb_hf.builder import ClimbConfig
from climb_hf.errors import AccessError, DamagedDataError, SchemaError
from climb_hf.indexing import build_index
from climb_hf.source import LeftOut, Record, Skipped

CMMD_TABLE = "CMMD_clinicaldata_revision.csv"


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def index_of(name, folder, **options):
    return build_index(climb_hf.get_source(name), folder, ClimbConfig(name=name, **options).options())


def options_of(name, **values):
    config = ClimbConfig(name=name)
    for key, value in values.items():
        setattr(config, key, value)
    return config.options()


def classes_of(name, row):
    source = climb_hf.get_source(name)
    display = dict(zip(source.concepts, source.classes, strict=True))
    return tuple(display[vocabulary.concepts()[i]] for i in row["labels"])


def edit(path, change):
    """Rewrite a table as lists of cells."""
    with path.open(newline="") as stream:
        rows = list(csv.reader(stream))
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(change(rows))


def skipped(cache):
    return [json.loads(line) for log in cache.rglob("skipped.jsonl") for line in log.read_text().splitlines()]


# cmmd


@pytest.mark.parametrize(
    ("layout", "table"), [("old", "csv"), ("quoted", "semicolon"), ("idc", "xlsx"), ("nbia", "semicolon")]
)
def test_cmmd_layouts_and_tables_give_the_same_records(miniatures, layout, table):
    plain = index_of("cmmd", miniatures("cmmd")[0])
    folder, expected = miniatures("cmmd", layout=layout, table=table)
    other = index_of("cmmd", folder)
    assert not plain.failures + other.failures
    assert plain.left_out == other.left_out
    for split, records in plain.splits.items():
        assert [(r.id, r.group, r.raw_labels, r.age) for r in records] == [
            (r.id, r.group, r.raw_labels, r.age) for r in other.splits[split]
        ]
    files = {record.id: record.files for records in other.splits.values() for record in records}
    assert files == {t.id: (t.values["file"],) for t in expected}


def test_cmmd_joins_by_patient_and_side(miniatures, tmp_path):
    folder, expected = miniatures("cmmd", 48)
    rows = by_id(load("cmmd", folder, tmp_path))
    sides = defaultdict(set)
    for truth in expected:
        split, row = rows[truth.id]
        header = pydicom.dcmread(folder / truth.values["file"], stop_before_pixels=True)
        assert truth.id == f"{header.PatientID}_{header.ImageLaterality}_{truth.values['view']}"
        assert classes_of("cmmd", row) == truth.classes
        assert (row["age"], row["sex"], row["view"]) == (truth.values["age"], "female", truth.values["view"])
        for key in ("laterality", "breast", "cohort", "abnormality", "subtype"):
            assert row["metadata"][key] == truth.values[key]
        assert row["metadata"]["bits_stored"] == truth.values["bits"]
        assert row["metadata"]["imager_pixel_spacing_mm"] == [0.094090909, 0.094090909]
        assert row["metadata"]["study_id"] == header.StudyInstanceUID
        sides[truth.group].add((truth.values["laterality"], *truth.classes, split))
    mixed = [found for found in sides.values() if len({label for _, label, _ in found}) == 2]
    assert mixed, "a benign and a malignant breast in one patient"
    assert all(len({split for *_, split in found}) == 1 for found in sides.values())
    views = Counter(row["metadata"]["breast"] for _, row in rows.values())
    assert set(views.values()) == {2}


def test_cmmd_leaves_images_of_unlabelled_breasts_out_and_counts_them(miniatures):
    folder, expected = miniatures("cmmd", 48)
    index = index_of("cmmd", folder)
    images = [p for p in folder.rglob("*.dcm") if not p.name.startswith("._")]
    assert dict(index.left_out) == {"image of a breast without a row in the clinical table": len(images) - 48}
    assert len(images) > 48
    assert index.n_records == len(expected) == 48


def test_cmmd_numbers_of_files_say_nothing_about_the_view(miniatures):
    _, expected = miniatures("cmmd", 48)
    names = defaultdict(set)
    for truth in expected:
        names[truth.values["file"].rsplit("/", 1)[1]].add((truth.values["laterality"], truth.values["view"]))
    assert len(names["1-1.dcm"]) > 2


def test_cmmd_pictures_follow_the_sigmoid_of_the_file_at_both_depths(miniatures, tmp_path):
    folder, expected = miniatures("cmmd")
    rows = by_id(load("cmmd", folder, tmp_path))
    assert {t.values["bits"] for t in expected} == {8, 16}
    for truth in (expected[0], next(t for t in expected if t.values["bits"] == 16)):
        file = pydicom.dcmread(folder / truth.values["file"])
        center, width = float(file.WindowCenter), float(file.WindowWidth)
        wanted = 255 / (1 + np.exp(-4 * (file.pixel_array.astype(float) - center) / width))
        picture = rows[truth.id][1]["image"]
        assert (picture.mode, picture.size) == ("RGB", (96, 128))
        np.testing.assert_allclose(np.asarray(picture)[..., 1], wanted, atol=0.51)
        assert abs(int(np.asarray(picture).min()) - 30) <= 1
    deep = load("cmmd", folder, tmp_path, bit_depth=16)["train"][0]["image"]
    assert np.asarray(deep).max() > 255
    linear = by_id(load("cmmd", folder, tmp_path, window=[128, 256]))[expected[0].id][1]["image"]
    stored = pydicom.dcmread(folder / expected[0].values["file"]).pixel_array
    np.testing.assert_allclose(np.asarray(linear)[..., 0], stored, atol=1)


def published_rows():
    """Rows with the published counts: cohorts, classes, patients with two rows, order; ids and sides are made up."""
    rows = []
    for number in range(1026):
        both = number < 81
        labels = ["Benign", "Malignant" if number < 30 else "Benign"] if both else ["Malignant"]
        rows += [[f"D1-{number + 1:04d}", side, label] for side, label in zip("LR", labels, strict=False)]
    malignant = [row for row in rows if row[2] == "Malignant"]
    for row in malignant[563:]:
        row[2] = "Benign"
    for number in range(1, 750):
        for side in "LR"[: 1 + (number <= 10 or 300 < number <= 306)]:
            benign = side == "L" and (number <= 9 or 400 < number <= 403)
            rows.append([f"D2-{number:04d}", side, "Benign" if benign else "Malignant"])
    return rows


@pytest.fixture
def published(tmp_path):
    lines = [f"{patient},{side},50,2,mass,{label}," for patient, side, label in published_rows()]
    header = "ID1,LeftRight,Age,number,abnormality,classification,subtype"
    (tmp_path / CMMD_TABLE).write_text("\n".join([header, *lines, ""]))
    source = climb_hf.get_source("cmmd")
    breasts = source._breasts(tmp_path)
    assert len(breasts) == 1872
    assert len({row["ID1"] for row in breasts.values()}) == 1775
    return source, breasts


def test_cmmd_paper_split_cuts_the_published_table_in_order(published):
    source, breasts = published
    splits = source._splits(breasts, options_of("cmmd", split_by="paper"))
    assert Counter(splits.values()) == {"train": 1404, "test": 468}
    assert [list(splits)[i] for i in (1403, 1404)] == ["D2-0287_L", "D2-0288_L"]
    found = Counter((splits[breast], row["classification"]) for breast, row in breasts.items())
    assert (found["train", "Malignant"], found["train", "Benign"]) == (851, 553)
    assert (found["test", "Malignant"], found["test", "Benign"]) == (465, 3)


def test_cmmd_default_split_is_stratified_by_cohort_and_classes(published):
    source, breasts = published
    splits = source._splits(breasts, options_of("cmmd"))
    patients, strata = {}, defaultdict(set)
    for breast, row in breasts.items():
        assert patients.setdefault(row["ID1"], splits[breast]) == splits[breast]
        strata[row["ID1"]] |= {row["ID1"][:2], row["classification"]}
    assert Counter(patients.values()) == {"train": 1331, "test": 444}
    of = Counter(frozenset(stratum) for stratum in strata.values())
    train = Counter(frozenset(strata[patient]) for patient, split in patients.items() if split == "train")
    assert len(of) == 6
    assert all(abs(train[stratum] - 0.75 * size) < 1 for stratum, size in of.items())
    other = source._splits(breasts, options_of("cmmd", seed=1))
    assert other != splits


def test_cmmd_paper_split_of_a_miniature_and_seed(miniatures, tmp_path):
    folder, expected = miniatures("cmmd", 48)
    border = int(0.75 * (1 + max(t.values["row"] for t in expected)))
    rows = by_id(load("cmmd", folder, tmp_path, split_by="paper"))
    assert {i: split for i, (split, _) in rows.items()} == {
        t.id: "train" if t.values["row"] < border else "test" for t in expected
    }
    official = by_id(load("cmmd", folder, tmp_path))
    for split in ("train", "test"):
        assert {classes_of("cmmd", row) for s, row in official.values() if s == split} == {("Benign",), ("Malignant",)}


def test_cmmd_a_partial_download_names_what_is_missing_and_moves_nobody(miniatures, tmp_path):
    folder, expected = miniatures.copy("cmmd", tmp_path / "raw", 100)
    before = {r.id: split for split, records in index_of("cmmd", folder).splits.items() for r in records}
    (folder / expected[7].values["file"]).unlink()
    index = index_of("cmmd", folder)
    (failure,) = index.failures
    assert failure.id == expected[7].id
    assert f"no file holds the image `{expected[7].id}`" in failure.reason
    after = {r.id: split for split, records in index.splits.items() for r in records}
    assert after == {id_: split for id_, split in before.items() if id_ != expected[7].id}
    rows = by_id(load("cmmd", folder, tmp_path / "cache"))
    assert set(rows) == set(after)


@pytest.mark.parametrize("layout", ["nbia", "quoted", "idc"])
def test_cmmd_a_file_without_a_readable_header_counts_once(miniatures, tmp_path, layout):
    folder, expected = miniatures.copy("cmmd", tmp_path / "raw", 48, layout=layout)
    (folder / expected[3].values["file"]).write_bytes(b"<html>not found</html>")
    index = index_of("cmmd", folder)
    assert [failure.id for failure in index.failures] == [expected[3].values["file"]]
    assert index.n_records == 47


def test_cmmd_header_without_a_side_is_skipped_and_named(miniatures, tmp_path):
    folder, expected = miniatures.copy("cmmd", tmp_path / "raw")
    path = folder / expected[0].values["file"]
    header = pydicom.dcmread(path)
    del header.ImageLaterality
    header.save_as(path)
    (failure,) = index_of("cmmd", folder).failures
    assert failure.id == expected[0].values["file"]
    assert "no side or view" in failure.reason


def test_cmmd_copies_and_other_collections_are_left_out(miniatures, tmp_path):
    folder, expected = miniatures.copy("cmmd", tmp_path / "raw")
    shutil.copy(folder / expected[0].values["file"], folder / "zz-again.dcm")
    other = pydicom.dcmread(folder / expected[1].values["file"])
    other.PatientID, other.SOPInstanceUID = "P_00038", "1.2.3"
    other.save_as(folder / "other.dcm")
    plain = index_of("cmmd", miniatures("cmmd")[0])
    index = index_of("cmmd", folder)
    assert index.n_records == plain.n_records
    assert index.left_out - plain.left_out == {
        "further copy of an image (same SOPInstanceUID)": 1,
        "image of a breast without a row in the clinical table": 1,
    }


def test_cmmd_refuses_another_table(miniatures, tmp_path):
    folder, _ = miniatures.copy("cmmd", tmp_path / "raw", table="csv")
    table = folder / CMMD_TABLE
    edit(table, lambda rows: [*rows, rows[1]])
    with pytest.raises(SchemaError, match=r"expected one row per breast, `D1-\d{4}_[LR]` has two"):
        index_of("cmmd", folder)
    edit(table, lambda rows: [[cell.replace("classification", "label") for cell in row] for row in rows])
    with pytest.raises(SchemaError, match="column `classification` is missing"):
        index_of("cmmd", folder)
    table.unlink()
    with pytest.raises(AccessError, match=r"CMMD_clinicaldata_revision\.xlsx"):
        load("cmmd", folder, tmp_path / "cache")


# vindr_mammo


def test_vindr_mammo_class_is_the_breasts_and_one_row_is_one_image(miniatures, tmp_path):
    folder, expected = miniatures("vindr_mammo", 48)
    with (folder / "finding_annotations.csv").open() as stream:
        repeats = Counter(row["image_id"] for row in csv.DictReader(stream))
    assert max(repeats.values()) > 1
    assert len(repeats) == 48
    for split_by in ("official", "paper"):
        rows = by_id(load("vindr_mammo", folder, tmp_path, split_by=split_by))
        assert {i: split for i, (split, _) in rows.items()} == {t.id: t.split for t in expected}
    breasts = defaultdict(set)
    for truth in expected:
        _, row = rows[truth.id]
        assert classes_of("vindr_mammo", row) == truth.classes
        assert row["raw_labels"] == [truth.classes[0].replace("BI-RAD", "BI-RADS")]
        metadata = row["metadata"]
        assert (row["view"], metadata["laterality"]) == (truth.values["view"], truth.values["laterality"])
        assert (metadata["study_id"], metadata["breast_density"]) == (truth.group, truth.values["density"])
        breasts[metadata["breast"]].add(truth.classes)
    assert len(breasts) == 24
    assert all(len(found) == 1 for found in breasts.values())


def test_vindr_mammo_boxes_are_clipped_and_stand_once_per_category(miniatures, tmp_path):
    folder, expected = miniatures("vindr_mammo", 48)
    rows = by_id(load("vindr_mammo", folder, tmp_path))
    outside = categories = 0
    for truth in expected:
        _, row = rows[truth.id]
        boxes, findings = truth.values["boxes"], row["metadata"]["findings"]
        assert row["objects"]["category"] == [category for _, category in boxes]
        np.testing.assert_allclose(
            np.reshape(row["objects"]["bbox"], (-1, 4)), np.reshape([b for b, _ in boxes], (-1, 4)), atol=1e-3
        )
        width, height = truth.values["size"]
        assert (row["metadata"]["width"], row["metadata"]["height"]) == (width, height) == row["image"].size
        for x, y, w, h in row["objects"]["bbox"]:
            assert min(x, y) >= 0
            assert x + w <= width + 1e-3
            assert y + h <= height + 1e-3
        assert len(findings) == truth.values["n_findings"]
        outside += sum(item["corners"][0] < 0 or item["corners"][2] > width for item in findings)
        categories += sum(len(item["categories"]) == 2 for item in findings)
        for item in findings:
            assert (item["birads"] is None) == (item["categories"] == ["Skin Thickening"])
        assert bool(findings) or truth.classes[0] in ("BI-RAD 1", "BI-RAD 2")
    assert outside > 2
    assert categories > 2


def test_vindr_mammo_boxes_lie_on_what_is_drawn(miniatures, tmp_path):
    folder, expected = miniatures("vindr_mammo", 48)
    rows = by_id(load("vindr_mammo", folder, tmp_path))
    for truth in (t for t in expected if t.classes == ("BI-RAD 5",)):
        grey = np.asarray(rows[truth.id][1]["image"])[..., 0].astype(float)
        x, y, w, h = (round(value) for value in truth.values["boxes"][0][0])
        inside = grey[y : y + h, x : x + w].mean()
        assert inside > grey.mean() + 30, truth.id


def test_vindr_mammo_age_and_device_come_from_the_table_else_the_header(miniatures, tmp_path):
    folder, expected = miniatures.copy("vindr_mammo", tmp_path / "raw", 32)
    with (folder / "metadata.csv").open() as stream:
        reader = csv.DictReader(stream)
        stated = {row["SOP Instance UID"]: row["Patient's Age"] for row in reader}
        assert [name for name in reader.fieldnames if name != name.strip()]
    in_header = {p.stem: "PatientAge" in pydicom.dcmread(p, stop_before_pixels=True) for p in folder.rglob("*.dicom")}
    assert any(not in_header[i] and age for i, age in stated.items())
    assert any(in_header[i] and not age for i, age in stated.items())
    rows = by_id(load("vindr_mammo", folder, tmp_path / "a"))
    for truth in expected:
        _, row = rows[truth.id]
        assert (row["age"], row["sex"]) == (truth.values["age"], "female")
        assert row["metadata"]["model"] == truth.values["model"]
        assert row["metadata"]["manufacturer"]
        assert row["metadata"]["imager_pixel_spacing_mm"] == [0.085, 0.085]
    (folder / "metadata.csv").unlink()
    (folder / "finding_annotations.csv").unlink()
    rows = by_id(load("vindr_mammo", folder, tmp_path / "b"))
    for truth in expected:
        _, row = rows[truth.id]
        assert row["age"] == (truth.values["age"] if in_header[truth.id] else None)
        assert row["objects"] is None


def publisher_rendering(file):
    """Grey as the publisher shows it: linear window, inversion, padding black."""
    values = file.pixel_array.astype(float)
    center, width = (np.atleast_1d(file[name].value)[0] for name in ("WindowCenter", "WindowWidth"))
    center, width = float(center), float(width)
    grey = np.clip((values - (center - width / 2)) / width, 0, 1) * 255
    if file.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    padding = file.get("PixelPaddingValue")
    if padding is not None:
        limit = file.get("PixelPaddingRangeLimit", padding)
        grey[(values >= padding) & (values <= limit)] = 0
    return grey


def test_vindr_mammo_is_shown_as_its_publisher_shows_it(miniatures, tmp_path):
    folder, expected = miniatures("vindr_mammo", 48)
    rows = by_id(load("vindr_mammo", folder, tmp_path))
    seen = Counter()
    for truth in expected:
        picture = rows[truth.id][1]["image"]
        assert (picture.mode, picture.size) == ("RGB", truth.values["size"])
        grey = np.asarray(picture)[..., 0].astype(float)
        file = pydicom.dcmread(next(folder.rglob(f"{truth.id}.dicom")))
        assert rows[truth.id][1]["metadata"]["photometric_interpretation"] == truth.values["photometric"]
        assert rows[truth.id][1]["metadata"]["bits_stored"] == file.BitsStored
        seen[truth.values["voi"], truth.values["photometric"]] += 1
        if truth.values["voi"].startswith("LINEAR"):
            np.testing.assert_allclose(grey, publisher_rendering(file), atol=1)
        if truth.values["padded"]:
            first, last = truth.values["padded"]
            assert grey[:, first:last].max() == 0
        upright = grey if truth.values["laterality"] == "L" else grey[:, ::-1]
        assert upright[60:100, 10:40].mean() > upright[:10, -40:-10].mean() + 20, "bright breast on dark air"
    assert {voi for voi, _ in seen} == {"LINEAR", "LINEAR_EXACT", "SIGMOID", "LUT"}
    assert {photometric for _, photometric in seen} == {"MONOCHROME1", "MONOCHROME2"}


def test_vindr_mammo_window_depth_and_size(miniatures, tmp_path):
    folder, _ = miniatures("vindr_mammo")
    deep = load("vindr_mammo", folder, tmp_path, bit_depth=16)["test"][0]["image"]
    assert np.asarray(deep).max() > 255
    narrow = load("vindr_mammo", folder, tmp_path, window=[900, 10])["test"][0]["image"]
    assert len(np.unique(np.asarray(narrow))) < 30
    assert load("vindr_mammo", folder, tmp_path, image_size=64)["test"][0]["image"].size == (64, 64)


def test_vindr_mammo_missing_unlisted_and_unreadable_rows_are_named(miniatures, tmp_path):
    folder, expected = miniatures.copy("vindr_mammo", tmp_path / "raw", 100)
    files = {p.stem: p for p in folder.rglob("*.dicom")}
    missing, broken, wrong = (expected[i].id for i in (3, 4, 5))
    shutil.copy(files[missing], files[missing].with_name("f" * 32 + ".dicom"))
    (files[missing].parent / "._a.dicom").write_bytes(b"\0")
    files[missing].unlink()
    edit(folder / "finding_annotations.csv", lambda rows: [
        [*row[:10], "[Mass", *row[11:]] if row[2] == broken else row for row in rows
    ])  # fmt: skip
    edit(folder / "breast-level_annotations.csv", lambda rows: [
        [*row[:9], "validation"] if row[2] == wrong else row for row in rows
    ])  # fmt: skip
    rows = by_id(load("vindr_mammo", folder, tmp_path / "cache"))
    assert set(rows) == {t.id for t in expected} - {missing, broken, wrong}
    reasons = {entry["id"]: entry["reason"] for entry in skipped(tmp_path / "cache")}
    assert set(reasons) == {missing, broken, wrong}
    assert "'validation'" in reasons[wrong]
    (left,) = (tmp_path / "cache").rglob("left_out.json")
    assert json.loads(left.read_text()) == {"file without a row in `breast-level_annotations.csv`": 1}


def test_vindr_mammo_needs_the_breast_level_table(miniatures, tmp_path):
    folder, _ = miniatures.copy("vindr_mammo", tmp_path / "raw")
    (folder / "breast-level_annotations.csv").unlink()
    with pytest.raises(AccessError, match=r"`breast-level_annotations\.csv` not found"):
        load("vindr_mammo", folder, tmp_path / "cache")


def test_vindr_mammo_unknown_assessments_are_refused(miniatures, tmp_path):
    folder, _ = miniatures.copy("vindr_mammo", tmp_path / "raw")
    edit(folder / "breast-level_annotations.csv", lambda rows: [
        [cell.replace("BI-RADS 3", "BI-RADS 0") for cell in row] for row in rows
    ])  # fmt: skip
    with pytest.raises(DamagedDataError, match="BI-RADS 0"):
        load("vindr_mammo", folder, tmp_path / "cache")


@pytest.mark.parametrize("name", ["cmmd", "vindr_mammo"])
def test_index_decodes_no_picture(miniatures, tmp_path, name):
    folder, expected = miniatures.copy(name, tmp_path / "raw")
    for file in [*folder.rglob("*.dicom"), *folder.rglob("1-?.dcm")]:
        data = pydicom.dcmread(file)
        data.PixelData = b"\0\0"
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data["PixelData"].VR, data["PixelData"].is_undefined_length = "OW", False
        data.save_as(file)
    kinds = Counter(type(row) for row in climb_hf.get_source(name).index(folder, options_of(name)))
    assert kinds[Record] == len(expected)
    assert set(kinds) <= {Record, LeftOut}
    assert Skipped not in kinds
