"""Oddities of CBIS-DDSM and BCSS, on miniatures; the rules of their splits are recomputed from the tables here."""

import csv
import json
import logging
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from source_helpers import by_id, left_out

import climb_hf
from climb_hf import vocabulary
from climb_hf.errors import ClimbError, DamagedDataError, LayoutError, OptionError, SchemaError, SplitError
from climb_hf.protocols.data import model_classes
from climb_hf.readers.regions import bounding_box, cover_box, outer_boxes
from climb_hf.readers.roi_masks import find_mask
from climb_hf.readers.tcia import SeriesFolders


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def skipped(cache):
    (file,) = cache.rglob("skipped.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


# cbis_ddsm

LEAK = "train image of a patient who is also in a test table"
ZERO = "BI-RADS 0 only (`include_birads0=False`)"


def images_of(folder, *, keep_zero=False):
    """Recompute image -> (labels, patient) of each split from the tables: the highest assessment of its rows."""
    images = {"train": defaultdict(list), "test": defaultdict(list)}
    for split, found in images.items():
        for kind in ("mass", "calc"):
            with next(folder.rglob(f"{kind}_case_description_{split}_set.csv")).open(newline="") as file:
                for row in csv.DictReader(file):
                    key = row["patient_id"], row["left or right breast"], row["image view"]
                    found[key].append(int(row["assessment"]))
    return {
        split: {key: max(values) for key, values in found.items() if keep_zero or max(values)}
        for split, found in images.items()
    }


def birads(row):
    """Return the number behind the label of a row."""
    (label,) = row["labels"]
    return int(vocabulary.concepts()[label].removeprefix("mammography.birads_"))


@pytest.mark.parametrize("layout", ["tcia", "uid", "kaggle"])
def test_cbis_ddsm_values_masks_and_boxes_in_every_layout(miniatures, tmp_path, layout):
    folder, expected = miniatures("cbis_ddsm", layout=layout)
    rows = by_id(load("cbis_ddsm", folder, tmp_path))
    assert set(rows) == {t.id for t in expected}
    for truth in expected:
        split, row = rows[truth.id]
        assert split == truth.split
        assert f"BI-RAD {birads(row)}" == truth.classes[0]
        assert row["view"] == truth.values["view"]
        assert row["raw_labels"] == list(truth.values["raw_labels"])
        for key in ("laterality", "density", "pathology"):
            assert row["metadata"][key] == truth.values[key], (truth.id, key)
        assert row["image"].mode == "RGB"
        assert row["image"].size == row["mask"].size == truth.values["size"]
        mask = np.asarray(row["mask"])
        assert set(np.unique(mask)) == {0, 255}
        tolerance = 0.02 * truth.values["mask_pixels"] if layout == "kaggle" else 0
        assert abs(int((mask > 0).sum()) - truth.values["mask_pixels"]) <= tolerance
        np.testing.assert_allclose(row["objects"]["bbox"], truth.values["boxes"], atol=layout == "kaggle")
        assert row["objects"]["category"] == truth.values["categories"]
        assert (row["age"], row["sex"], row["duplicate_of"]) == (None, None, None)


def test_cbis_ddsm_default_split_drops_train_images_of_tested_patients(miniatures, tmp_path):
    folder, _ = miniatures("cbis_ddsm")
    images, every = images_of(folder), images_of(folder, keep_zero=True)
    tested = {patient for patient, *_ in every["test"]}
    assert tested - {patient for patient, *_ in images["test"]}, "a patient whose only test image has BI-RADS 0"
    leaking = [key for key in images["train"] if key[0] in tested]
    assert len(leaking) == 3
    rows = by_id(load("cbis_ddsm", folder, tmp_path))
    wanted = {f"Training_{'_'.join(key)}": value for key, value in images["train"].items() if key not in leaking}
    wanted |= {f"Test_{'_'.join(key)}": value for key, value in images["test"].items()}
    assert {i: birads(row) for i, (_, row) in rows.items()} == wanted
    counts = left_out(tmp_path)
    assert counts[LEAK] == 3
    assert counts[ZERO] == sum(not value for part in every.values() for value in part.values()) == 4
    assert counts["series that no case description table lists"] == 1


def test_cbis_ddsm_paper_split_keeps_them_names_copies_and_warns(miniatures, tmp_path, caplog):
    folder, _ = miniatures("cbis_ddsm")
    with caplog.at_level(logging.WARNING):
        rows = by_id(load("cbis_ddsm", folder, tmp_path, split_by="paper"))
    assert "leaks" in caplog.text
    images = images_of(folder)
    wanted = {
        f"{name}_{'_'.join(key)}": (split, value)
        for split, name in (("train", "Training"), ("test", "Test"))
        for key, value in images[split].items()
    }
    assert {i: (split, birads(row)) for i, (split, row) in rows.items()} == wanted
    shared = set(images["train"]) & set(images["test"])
    assert len(shared) == 1
    (copy,) = [row for _, row in rows.values() if row["duplicate_of"]]
    original = rows[copy["duplicate_of"]][1]
    assert copy["id"].removeprefix("Test") == original["id"].removeprefix("Training")
    assert birads(copy) != birads(original), "the two tables disagree"
    assert LEAK not in left_out(tmp_path)


def test_cbis_ddsm_birads_0_is_an_option(miniatures, tmp_path):
    folder, _ = miniatures("cbis_ddsm")
    rows = by_id(load("cbis_ddsm", folder, tmp_path, include_birads0=True))
    every = images_of(folder, keep_zero=True)
    tested = {patient for patient, *_ in every["test"]}
    wanted = {f"Training_{'_'.join(key)}": v for key, v in every["train"].items() if key[0] not in tested}
    wanted |= {f"Test_{'_'.join(key)}": value for key, value in every["test"].items()}
    assert {i: birads(row) for i, (_, row) in rows.items()} == wanted
    zero = [row for _, row in rows.values() if birads(row) == 0]
    assert len(zero) == 3
    assert all(row["mask"] is not None for row in zero), "with the option, they are in the label"
    classes = model_classes(["cbis_ddsm"], {"cbis_ddsm": {"include_birads0": True}})["source_classes"]["cbis_ddsm"]
    assert classes == [f"mammography.birads_{k}" for k in range(6)]
    assert len(model_classes(["cbis_ddsm"])["source_classes"]["cbis_ddsm"]) == 5
    raw = load("cbis_ddsm", folder, tmp_path, include_birads0=True, labels="raw")
    names = raw["train"].features["labels"].feature.names
    assert {names[i] for part in raw.values() for (i,) in part["labels"]} == set("012345")


def test_cbis_ddsm_mask_holds_only_what_is_in_the_label(miniatures, tmp_path):
    folder, _expected = miniatures("cbis_ddsm")
    plain = by_id(load("cbis_ddsm", folder, tmp_path))
    full = by_id(load("cbis_ddsm", folder, tmp_path, include_birads0=True))
    (mixed,) = [i for i, (_, row) in plain.items() if "0" in row["raw_labels"]]
    used = {entry["assessment"]: entry["in_label"] for entry in plain[mixed][1]["metadata"]["abnormalities"]}
    assert used == {"3": True, "0": False}
    assert len(plain[mixed][1]["objects"]["bbox"]) == 1
    assert len(full[mixed][1]["objects"]["bbox"]) == 2
    small, large = (np.asarray(rows[mixed][1]["mask"]) > 0 for rows in (plain, full))
    assert (large & small).sum() == small.sum() < large.sum()


def test_cbis_ddsm_masks_are_told_from_crops_by_content(miniatures, tmp_path):
    import pydicom

    folder, _ = miniatures("cbis_ddsm")
    rows = by_id(load("cbis_ddsm", folder, tmp_path))
    entries = [entry for _, row in rows.values() for entry in row["metadata"]["abnormalities"]]
    for entry in entries:
        bits = {file: pydicom.dcmread(folder / file).BitsAllocated for file in entry["roi_files"]}
        assert sorted(bits.values()) == [8, 16]
        assert bits[entry["mask_file"]] == 8
    names = {entry["mask_file"].rsplit("/", 1)[1] for entry in entries}
    assert names == {"1-1.dcm", "1-2.dcm"}, "either order"
    folders = [{file.rsplit("/", 1)[0] for file in entry["roi_files"]} for entry in entries]
    assert {len(f) for f in folders} == {1, 2}, "one series of two files, or two series"
    assert any("cropped" in entry["mask_file"] for entry in entries), "the description is no guide"
    assert sum(bool(entry["mask_resized"]) for entry in entries) == 2
    assert any(entry.get("mass_shape", "-") is None for entry in entries), "`N/A` is no value"


def test_cbis_ddsm_image_size_moves_the_mask_along(miniatures, tmp_path):
    folder, expected = miniatures("cbis_ddsm")
    rows = by_id(load("cbis_ddsm", folder, tmp_path, image_size=40))
    for truth in expected[:6]:
        row = rows[truth.id][1]
        assert row["image"].size == row["mask"].size == (40, 40)
        width, height = truth.values["size"]
        share = (np.asarray(row["mask"]) > 0).mean()
        assert share == pytest.approx(truth.values["mask_pixels"] / width / height, abs=0.01)
        np.testing.assert_allclose(row["objects"]["bbox"], truth.values["boxes"], err_msg="pixels of the file")


def test_cbis_ddsm_depth_and_windows(miniatures, tmp_path):
    folder, _ = miniatures("cbis_ddsm")
    deep = np.asarray(load("cbis_ddsm", folder, tmp_path, bit_depth=16)["test"][0]["image"])
    assert deep.max() == 65535
    assert len(np.unique(deep)) > 1000
    flat = load("cbis_ddsm", folder, tmp_path, window=[30000, 10])["test"][0]["image"]
    assert (np.isin(np.asarray(flat), (0, 255))).mean() > 0.99
    jpeg, _ = miniatures("cbis_ddsm", layout="kaggle")
    with pytest.raises(OptionError, match="JPEG"):
        load("cbis_ddsm", jpeg, tmp_path / "jpeg", bit_depth=16)


def test_cbis_ddsm_series_are_found_without_metadata_csv(miniatures, tmp_path):
    folder, expected = miniatures.copy("cbis_ddsm", tmp_path / "raw")
    next(folder.rglob("metadata.csv")).unlink()
    rows = by_id(load("cbis_ddsm", folder, tmp_path / "cache"))
    assert set(rows) == {t.id for t in expected}
    assert all(row["mask"] is not None for _, row in rows.values())


def test_cbis_ddsm_full_images_alone_load_without_masks(miniatures, tmp_path):
    folder, expected = miniatures.copy("cbis_ddsm", tmp_path / "raw")
    for file in folder.rglob("*.dcm"):
        if "full mammogram" not in file.parent.name:
            file.unlink()
    rows = by_id(load("cbis_ddsm", folder, tmp_path / "cache"))
    assert set(rows) == {t.id for t in expected}
    assert all(row["mask"] is None and row["objects"] is None for _, row in rows.values())


def test_cbis_ddsm_missing_pictures_and_damaged_masks_are_named(miniatures, tmp_path):
    folder, expected = miniatures.copy("cbis_ddsm", tmp_path / "raw", 64)
    absent, damaged = expected[5].id, expected[7].id
    next(file for file in folder.rglob("*.dcm") if file.parents[2].name.endswith(absent)).unlink()
    (mask, *_) = [file for file in folder.rglob("*.dcm") if file.parents[2].name.endswith(f"{damaged}_1")]
    mask.write_bytes(mask.read_bytes()[:200])
    rows = by_id(load("cbis_ddsm", folder, tmp_path / "cache"))
    assert set(rows) == {t.id for t in expected} - {absent, damaged}
    entries = {entry["id"]: entry for entry in skipped(tmp_path / "cache")}
    assert set(entries) == {absent, damaged}
    assert "000000.dcm" in entries[absent]["file"]
    assert mask.name in entries[damaged]["reason"]


def test_cbis_ddsm_refuses_the_release_of_2017_and_missing_tables(miniatures, tmp_path):
    folder, _ = miniatures.copy("cbis_ddsm", tmp_path / "raw")
    table = folder / "mass_case_description_train_set.csv"
    old = "patient_id,breast_density,side,view,abn_num,abnormality_type,mass_shape,mass_margins,assessment,pathology,"
    table.write_text(
        old + "subtlety,od_img_path,od_crop_path,mask_path\nP_00001,3,LEFT,CC,1,mass,,,4,BENIGN,4,a,b,c\n"
    )
    with pytest.raises(LayoutError, match="2017"):
        load("cbis_ddsm", folder, tmp_path / "cache")
    table.unlink()
    with pytest.raises(LayoutError, match="mass_case_description_train_set"):
        load("cbis_ddsm", folder, tmp_path / "cache")


def test_cbis_ddsm_an_unknown_assessment_is_named(miniatures, tmp_path):
    folder, _ = miniatures.copy("cbis_ddsm", tmp_path / "raw")
    table = folder / "mass_case_description_train_set.csv"
    table.write_text(table.read_text().replace("SPICULATED,2,", "SPICULATED,7,").replace("CIRCUMSCRIBED,4,", "N/A,7,"))
    with pytest.raises(ClimbError, match="'7'"):
        load("cbis_ddsm", folder, tmp_path / "cache", strict=True)


def test_series_folders_take_only_nbia_tables_and_the_right_patient(tmp_path):
    for patient in ("A", "B"):
        (tmp_path / patient / "study" / "1.0-full-34567").mkdir(parents=True)
        (tmp_path / patient / "study" / "1.0-full-34567" / "1-1.DCM").write_bytes(b"")
    (tmp_path / "metadata.csv").write_text("id,age\n1,2\n")
    folders = SeriesFolders(tmp_path)
    assert len(folders) == 2
    assert folders.find("1.2.34567", "B") == ("B/study/1.0-full-34567/1-1.DCM",)
    assert folders.find("1.2.34567") == ()
    assert folders.find("1.2.99999", "B") == ()
    assert folders.unused() == ["A/study/1.0-full-34567"]


def test_find_mask_needs_content(tmp_path):
    Image.fromarray(np.full((20, 20), 90, np.uint8)).save(tmp_path / "crop.jpg")
    Image.fromarray(np.kron(np.eye(2, dtype=np.uint8), np.full((40, 40), 255, np.uint8))).save(tmp_path / "m.jpg")
    crop, mask = tmp_path / "crop.jpg", tmp_path / "m.jpg"
    assert find_mask([crop, mask], (300, 200)) == find_mask([mask, crop], (300, 200)) == mask
    assert find_mask([crop], (300, 200)) is None
    assert find_mask([crop, mask], (20, 20)) == crop, "the size of the picture decides first"


# bcss


@pytest.mark.parametrize("layout", ["drive", "script"])
def test_bcss_crops_masks_and_metadata(miniatures, tmp_path, layout):
    folder, expected = miniatures("bcss", layout=layout)
    dataset = load("bcss", folder, tmp_path)
    rows = by_id(dataset)
    assert [row.id for row in expected if row.split == "train"] == dataset["train"]["id"][:]
    for truth in expected:
        split, row = rows[truth.id]
        assert split == truth.split
        x, y, width, height = truth.values["window"]
        stem = truth.id.rsplit("_", 2)[0]
        (picture,) = [p for p in folder.rglob(f"{stem}.png") if p.parent.name != "masks"]
        whole = np.asarray(Image.open(picture))[y : y + height, x : x + width]
        np.testing.assert_array_equal(np.asarray(row["image"]), whole)
        codes = np.asarray(row["mask"])
        assert row["mask"].mode == "L"
        assert (codes == truth.values["code"]).sum() == truth.values["inside"]
        assert row["raw_labels"] == [str(truth.values["code"])]
        metadata = row["metadata"]
        for key in ("site", "slide", "magnification", "is_split"):
            assert metadata[key] == truth.values[key], key
        for key in ("box", "window", "roi_size"):
            assert tuple(metadata[key]) == truth.values[key], key
        assert stem.startswith(f"{metadata['slide']}_xmin{metadata['xmin']}_ymin{metadata['ymin']}_MPP")
        assert metadata["mpp"] == 0.25
        assert min(width, height) >= 224
        assert max(width, height) <= 1024


def test_bcss_first_region_shows_every_rule(miniatures, tmp_path):
    folder, _ = miniatures("bcss")
    rows = {
        i: row for i, (_, row) in by_id(load("bcss", folder, tmp_path)).items() if row["group"].startswith("TCGA-A1")
    }
    windows = sorted((i.split("_", 4)[-1], tuple(row["metadata"]["window"])) for i, row in rows.items())
    assert windows == [
        ("1_0", (500, 60, 300, 300)),  # two squares that touch at a corner
        ("1_1", (60, 100, 400, 400)),  # the ring; stroma inside it is no region of its own
        ("2_0", (0, 0, 1024, 620)),
        ("2_1", (276, 0, 1024, 620)),
        ("3_0", (560, 380, 224, 224)),
    ]
    ring = next(row for i, row in rows.items() if i.endswith("_1_1"))
    assert set(np.unique(np.asarray(ring["mask"]))) == {1, 2}, "other tissue stays in the crop"
    assert {10, 4} <= set(np.unique(np.asarray(next(r for i, r in rows.items() if i.endswith("_2_1"))["mask"])))


def test_bcss_default_split_holds_out_six_hospitals(miniatures, tmp_path):
    folder, _ = miniatures("bcss")
    dataset = load("bcss", folder, tmp_path)
    sites = {split: {m["site"] for m in part["metadata"]} for split, part in dataset.items()}
    assert sites["test"] <= {"OL", "LL", "E2", "EW", "GM", "S3"}
    assert not sites["train"] & {"OL", "LL", "E2", "EW", "GM", "S3"}
    names = vocabulary.concepts()
    for part in dataset.values():
        assert {names[i] for (i,) in part["labels"]} == set(climb_hf.get_source("bcss").concepts)
    with pytest.raises(SplitError, match="80/20"):
        load("bcss", folder, tmp_path, split_by="paper")


def test_bcss_image_size_keeps_codes_whole(miniatures, tmp_path):
    folder, expected = miniatures("bcss")
    rows = by_id(load("bcss", folder, tmp_path, image_size=64))
    for truth in expected[:8]:
        row = rows[truth.id][1]
        assert row["image"].size == row["mask"].size == (64, 64)
        _, _, width, height = truth.values["window"]
        codes = np.asarray(row["mask"])
        assert codes.max() <= 21
        share = (codes == truth.values["code"]).mean()
        assert share == pytest.approx(truth.values["inside"] / width / height, abs=0.02)


def test_bcss_reads_indices_of_palette_masks_and_refuses_colours(miniatures, tmp_path):
    folder, expected = miniatures.copy("bcss", tmp_path / "raw")
    stem = expected[-1].id.rsplit("_", 2)[0]
    (mask,) = [path for path in folder.rglob(f"{stem}.png") if path.parent.name == "masks"]
    codes = np.asarray(Image.open(mask))
    picture = Image.fromarray(codes, "P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255] + [7] * 759)
    picture.save(mask)
    rows = by_id(load("bcss", folder, tmp_path / "palette"))
    assert set(rows) == {t.id for t in expected}
    x, y, width, height = expected[-1].values["window"]
    stored = rows[expected[-1].id][1]["mask"]
    np.testing.assert_array_equal(np.asarray(stored), codes[y : y + height, x : x + width])
    for wrong, text in ((picture.convert("RGB"), "mode RGB"), (Image.fromarray(codes * 10), "codes 0 to 21")):
        wrong.save(mask)
        load("bcss", folder, tmp_path / text.replace(" ", ""))
        (entry,) = skipped(tmp_path / text.replace(" ", ""))
        assert entry["id"] == stem
        assert text in entry["reason"]
        with pytest.raises(SchemaError, match=text):
            load("bcss", folder, tmp_path / "strict", strict=True)
    for path in mask.parent.glob("*.png"):
        Image.open(path).convert("RGB").save(path)
    with pytest.raises(DamagedDataError, match="coloured"):
        load("bcss", folder, tmp_path / "all")


def test_bcss_missing_unlisted_and_unequal_files(miniatures, tmp_path):
    folder, expected = miniatures.copy("bcss", tmp_path / "raw", 64)
    files = {path.parent.name: path.parent for path in folder.rglob("TCGA*.png")}
    pictures, masks = files["rgbs_colorNormalized"], files["masks"]
    absent, unequal, bare = (expected[k].id.rsplit("_", 2)[0] for k in (10, 12, 14))
    (pictures / f"{absent}.png").unlink()
    whole = Image.open(pictures / f"{unequal}.png")
    whole.resize((whole.width + 1, whole.height)).save(pictures / f"{unequal}.png")
    (masks / f"{bare}.png").unlink()
    Image.new("L", (300, 300)).save(masks / "TCGA-ZZ-0000-DX1_xmin1_ymin2_MPP-0.2500.png")
    Image.new("L", (300, 300), 1).save(masks / "holiday.png")
    rows = by_id(load("bcss", folder, tmp_path / "cache"))
    assert set(rows) == {t.id for k, t in enumerate(expected) if k not in (10, 12, 14)}
    entries = {entry["id"]: entry["reason"] for entry in skipped(tmp_path / "cache")}
    assert set(entries) == {expected[10].id, expected[12].id}
    assert f"{whole.width + 1} x" in entries[expected[12].id]
    assert left_out(tmp_path / "cache") == {
        "picture without a mask": 1,
        "region without an area of 224 pixels per side": 1,
        "mask whose name is not that of a region": 1,
    }


@pytest.mark.parametrize("tile", ["train_512/a.png", "BCSS_512/train_512/a.png", "train/TCGA-A1+3[1010].png"])
def test_bcss_refuses_tile_sets(tmp_path, tile):
    path = tmp_path / "raw" / tile
    path.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(path)
    with pytest.raises(LayoutError, match="another data set"):
        load("bcss", tmp_path / "raw", tmp_path / "cache")


def reference_boxes(mask):
    """Outer boxes by filling holes and labelling with SciPy."""
    padded = np.pad(mask, 1)
    background, _ = ndimage.label(~padded)
    regions, _ = ndimage.label(background != background[0, 0], np.ones((3, 3)))
    found = ndimage.find_objects(regions)
    return [(c.start - 1, r.start - 1, c.stop - c.start, r.stop - r.start) for r, c in found]


def test_outer_boxes_equal_filling_and_labelling():
    random = np.random.default_rng(0)
    for trial in range(200):
        mask = random.random(random.integers(1, 40, 2)) < random.uniform(0.1, 0.9)
        if trial % 2:
            mask = ndimage.binary_closing(mask)
        assert sorted(outer_boxes(mask)) == sorted(reference_boxes(mask)), trial
        total = bounding_box(mask)
        assert (total is None) == (not mask.any())
    assert outer_boxes(np.zeros((3, 4), bool)) == []
    assert outer_boxes(np.ones((3, 4), bool)) == [(0, 0, 4, 3)] == [bounding_box(np.ones((3, 4), bool))]


@pytest.mark.parametrize(
    ("box", "starts", "sides"),
    [
        ((5, 7, 224, 1024), [(5, 7)], (224, 1024)),
        ((5, 7, 223, 2000), [], None),
        ((0, 0, 1025, 300), [(0, 0), (1, 0)], (1024, 300)),
        ((10, 0, 1920, 224), [(10, 0), (906, 0)], (1024, 224)),
        ((10, 0, 1921, 224), [(10, 0), (458, 0), (907, 0)], (1024, 224)),  # (1921 - 1024) / 2 = 448.5, cut
        ((0, 0, 1100, 1200), [(0, 0), (76, 0), (0, 176), (76, 176)], (1024, 1024)),
    ],
)
def test_cover_box_by_hand(box, starts, sides):
    assert cover_box(box, 224, 1024, 128) == [(*start, *sides) for start in starts]
