"""Oddities of `covid19_cxr`, `coronahack` and `brain_mri`: labels, splits, copies, wrong suffixes."""

import csv
import hashlib
import json
from collections import Counter

import numpy as np
import pytest
from climb_hf.dataset_scripts.brain_mri import paper_split
from PIL import Image
from source_helpers import by_id, left_out

import climb_hf
from climb_hf.builder import ClimbConfig
from climb_hf.errors import ClimbError, LayoutError, OptionError
from climb_hf.indexing import build_index


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def index_of(name, folder):
    return build_index(climb_hf.get_source(name), folder, ClimbConfig(name=name).options())


def class_counts(name, records):
    vocabulary = climb_hf.get_source(name).vocabulary()
    return Counter(vocabulary.class_of(record.raw_labels[0]) for record in records)


def check_pictures(rows, expected):
    for truth in expected:
        _, row = rows[truth.id]
        assert row["image"].mode == "RGB"
        assert row["image"].size == truth.values["size"]
        assert row["raw_labels"] == list(truth.values["raw_labels"])
        assert row["duplicate_of"] == truth.values["duplicate_of"]


def rewrite_table(folder, change):
    """Pass the rows of the CoronaHack table, header first, through `change` and write them back."""
    table = folder / "Chest_xray_Corona_Metadata.csv"
    with table.open(newline="") as file:
        rows = change(list(csv.reader(file)))
    with table.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


# covid19_cxr


@pytest.mark.parametrize("layout", ["plain", "nested"])
def test_covid19_cxr_labels_and_metadata_come_from_the_folders(miniatures, tmp_path, layout):
    folder, expected = miniatures("covid19_cxr", layout=layout)
    dataset = load("covid19_cxr", folder, tmp_path)
    rows = by_id(dataset)
    assert [i for part in dataset.values() for i in part["id"]] == [t.id for t in expected]
    check_pictures(rows, expected)
    for truth in expected:
        top, folder_name, _ = truth.id.split("/")
        assert rows[truth.id][1]["metadata"] == {
            "path": truth.id,
            "split_folder": top,
            "class_folder": folder_name,
            "augmented": truth.values["augmented"],
            "source_index": truth.values["source_index"],
        }
    assert {t.values["mode"] for t in expected} == {"L", "RGB"}
    assert any(t.id.endswith(".JPEG") for t in expected)


def test_covid19_cxr_augmented_siblings_share_a_group_within_their_class_only(miniatures):
    folder, _ = miniatures("covid19_cxr")
    train = index_of("covid19_cxr", folder).splits["train"]
    sizes = Counter(record.group for record in train)
    assert set(sizes.values()) == {1, 2}
    assert sizes["TrainData/Normal/2"] == sizes["TrainData/COVID-19/2"] == 2


def test_covid19_cxr_never_mixes_the_two_training_folders_and_counts_what_it_leaves(miniatures, tmp_path):
    folder, expected = miniatures("covid19_cxr")
    n_original = sum(1 for _ in folder.glob("NonAugmentedTrain/*/*"))
    n_oversampled = sum(1 for _ in folder.glob("TrainData/Oversampled*/*/*"))
    n_train = sum(t.split == "train" for t in expected)
    load("covid19_cxr", folder, tmp_path / "a")
    assert sorted(left_out(tmp_path / "a").values()) == sorted([n_original, n_oversampled])
    plain = load("covid19_cxr", folder, tmp_path / "b", augmented=False)
    assert all(name.startswith("NonAugmentedTrain/") for name in plain["train"]["id"])
    assert plain["train"].num_rows == n_original
    assert set(plain["train"]["group"]) == set(plain["train"]["id"])
    assert set(plain["test"]["id"]) == {t.id for t in expected if t.split == "test"}
    assert sum(left_out(tmp_path / "b").values()) == n_train + n_oversampled


def test_covid19_cxr_paper_split_is_the_default_and_needs_the_augmented_films(miniatures, tmp_path):
    folder, expected = miniatures("covid19_cxr")
    rows = by_id(load("covid19_cxr", folder, tmp_path, split_by="paper"))
    assert {i: split for i, (split, _) in rows.items()} == {t.id: t.split for t in expected}
    with pytest.raises(OptionError, match="augmented=False"):
        load("covid19_cxr", folder, tmp_path, split_by="paper", augmented=False)


def test_covid19_cxr_counts_strange_folders_and_names_copies(miniatures, tmp_path):
    folder, expected = miniatures.copy("covid19_cxr", tmp_path / "raw")
    victim = folder / expected[0].id
    for target in ("ValData/Normal/77.png.jpeg", "ValData/Extra/1.jpeg", "TrainData/Normal/sub/1.jpeg"):
        (folder / target).parent.mkdir(exist_ok=True)
        (folder / target).write_bytes(victim.read_bytes())
    rows = by_id(load("covid19_cxr", folder, tmp_path / "cache"))
    assert set(rows) == {t.id for t in expected} | {"ValData/Normal/77.png.jpeg"}
    assert rows["ValData/Normal/77.png.jpeg"][1]["duplicate_of"] == expected[0].id
    assert left_out(tmp_path / "cache")["picture outside the four class folders"] == 2


# coronahack


@pytest.mark.parametrize("layout", ["doubled", "single", "flat"])
def test_coronahack_joins_table_and_pictures_in_every_layout(miniatures, tmp_path, layout):
    folder, expected = miniatures("coronahack", layout=layout)
    dataset = load("coronahack", folder, tmp_path)
    rows = by_id(dataset)
    assert [i for part in dataset.values() for i in part["id"]] == [t.id for t in expected]
    check_pictures(rows, expected)
    for truth in expected:
        metadata = rows[truth.id][1]["metadata"]
        assert metadata["origin"] == truth.values["origin"]
        assert metadata["dataset_type"] == truth.split.upper()
        parts = [metadata[key] for key in ("label", "label_1", "label_2")]
        assert "/".join(filter(None, parts)) == truth.values["raw_labels"][0]
    assert {t.values["mode"] for t in expected} == {"L", "RGB", "RGBA"}
    assert sorted(left_out(tmp_path).values()) == [2, 2], "two ARDS rows, two pictures without a row"


def test_coronahack_raw_labels_keep_what_the_three_classes_merge(miniatures, tmp_path):
    folder, expected = miniatures("coronahack")
    raw = load("coronahack", folder, tmp_path, labels="raw")
    names = raw["train"].features["labels"].feature.names
    counts = Counter(names[i] for part in raw.values() for (i,) in part["labels"])
    wanted = Counter(t.values["raw_labels"][0] for t in expected)
    assert counts == wanted | {"Pnemonia/Stress-Smoking/ARDS": 2}
    assert wanted["Pnemonia/Virus/COVID-19"] == 3
    merged = {
        t.classes for t in expected if "COVID" in t.values["raw_labels"][0] or "SARS" in t.values["raw_labels"][0]
    }
    assert merged == {("Viral Pneumonia",)}
    assert {t.split for t in expected if t.values["origin"] == "collected"} == {"train"}


def test_coronahack_groups_by_person_and_kind_never_by_number_alone(miniatures):
    folder, expected = miniatures("coronahack")
    records = {r.id: r for part in index_of("coronahack", folder).splits.values() for r in part}
    assert {i: r.group for i, r in records.items()} == {t.id: t.group for t in expected}
    groups = {t.split: {t2.group for t2 in expected if t2.split == t.split} for t in expected}
    assert "person1_bacteria" in groups["train"]
    assert "person1_virus" in groups["test"]
    assert max(Counter(t.group for t in expected).values()) > 1


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("IM-0429-0001-0002.jpeg", "IM-0429"),
        ("NORMAL2-IM-1442-0001.jpeg", "NORMAL2-IM-1442"),
        ("person64_bacteria_320.jpeg", "person64_bacteria"),
        ("person64_virus_320.jpeg", "person64_virus"),
        ("99999_2020_999_Fig1_HTML.webp-day5.png", "99999_2020_999_Fig1_HTML.webp"),
        ("journal9999_f1-PA.jpeg", "journal9999_f1"),
        ("case-9b.jpg", "case-9"),
        ("F951E918-DAD9-4596-AD93-BE9CA29E969B.jpeg", "F951E918-DAD9-4596-AD93-BE9CA29E969B"),
    ],
)
def test_coronahack_group_keys(tmp_path, name, group):
    (tmp_path / "Chest_xray_Corona_Metadata.csv").write_text(
        ",X_ray_image_name,Label,Dataset_type,Label_2_Virus_category,Label_1_Virus_category\n"
        f"0,{name},Pnemonia,TRAIN,,Virus\n"
    )
    (record,) = index_of("coronahack", tmp_path).splits["train"]
    assert record.group == group
    assert record.files == (f"{'Coronahack-Chest-XRay-Dataset/' * 2}train/{name}",)


def test_coronahack_published_table_gives_the_papers_counts(tmp_path):
    """A table with the publisher's number of rows per label, which is what the paper's counts follow from."""
    published = {  # (Label, Label_1, Label_2): TRAIN, TEST
        ("Normal", "", ""): (1342, 234),
        ("Pnemonia", "bacteria", ""): (2530, 242),
        ("Pnemonia", "bacteria", "Streptococcus"): (5, 0),
        ("Pnemonia", "Virus", ""): (1345, 148),
        ("Pnemonia", "Virus", "COVID-19"): (58, 0),
        ("Pnemonia", "Virus", "SARS"): (4, 0),
        ("Pnemonia", "Stress-Smoking", "ARDS"): (2, 0),
    }
    lines = [",X_ray_image_name,Label,Dataset_type,Label_2_Virus_category,Label_1_Virus_category"]
    for (label, first, second), counts in published.items():
        for kind, count in zip(("TRAIN", "TEST"), counts, strict=True):
            lines += [f"{len(lines)},{kind}{len(lines) + k}.jpg,{label},{kind},{second},{first}" for k in range(count)]
    (tmp_path / "Chest_xray_Corona_Metadata.csv").write_text("\n".join(lines) + "\n")
    index = index_of("coronahack", tmp_path)
    source = climb_hf.get_source("coronahack")
    assert {split: len(records) for split, records in index.splits.items()} == dict(source.published_splits)
    assert class_counts("coronahack", index.splits["train"]) == {
        "Normal": 1342,
        "Bacterial Pneumonia": 2535,
        "Viral Pneumonia": 1407,
    }
    assert class_counts("coronahack", index.splits["test"]) == {
        "Normal": 234,
        "Bacterial Pneumonia": 242,
        "Viral Pneumonia": 148,
    }
    assert sum(index.left_out.values()) == 2


def test_coronahack_reads_columns_by_name_and_leaves_appended_rows(miniatures, tmp_path):
    folder, expected = miniatures.copy("coronahack", tmp_path / "raw")

    def change(rows):
        rows += [["9", "COVID19_3.jpg", "Pnemonia", "TEST", "COVID-19", "Virus"]]
        rows += [["10", "person8_virus_1.jpeg", "", "TEST", "", ""]]
        return [["View" if i == 0 else "PA", *reversed(row)] for i, row in enumerate(rows)]

    rewrite_table(folder, change)
    assert set(by_id(load("coronahack", folder, tmp_path / "cache"))) == {t.id for t in expected}
    assert sorted(left_out(tmp_path / "cache").values()) == [1, 1, 2, 2]


def test_coronahack_names_missing_pictures_and_unknown_values(miniatures, tmp_path):
    folder, expected = miniatures.copy("coronahack", tmp_path / "raw", 64)
    next(folder.rglob(expected[0].id)).unlink()

    def change(rows):
        rows[2][3], rows[3][5] = "VALID", "Fungus"
        return rows

    rewrite_table(folder, change)
    rows = by_id(load("coronahack", folder, tmp_path / "cache"))
    assert set(rows) == {t.id for t in expected[3:]}
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    reasons = {entry["id"]: entry["reason"] for entry in map(json.loads, log.read_text().splitlines())}
    assert set(reasons) == {t.id for t in expected[:3]}
    assert "cannot be read" in reasons[expected[0].id]
    assert "'VALID'" in reasons[expected[1].id]
    assert "Pnemonia/Fungus" in reasons[expected[2].id]
    with pytest.raises(ClimbError, match="record `"):
        load("coronahack", folder, tmp_path / "strict", strict=True)


# brain_mri


@pytest.mark.parametrize("layout", ["jjprotube", "navoneel", "nested"])
def test_brain_mri_reads_each_picture_once_in_every_layout(miniatures, tmp_path, layout):
    folder, expected = miniatures("brain_mri", layout=layout)
    rows = by_id(load("brain_mri", folder, tmp_path))
    assert set(rows) == {t.id for t in expected}
    check_pictures(rows, expected)
    for truth in expected:
        metadata = rows[truth.id][1]["metadata"]
        assert (metadata["format"], metadata["mode"]) == (truth.values["format"], truth.values["mode"])
        assert tuple(metadata["size"]) == truth.values["size"]
    if layout == "navoneel":
        assert left_out(tmp_path) == {"second copy of the pictures in `brain_tumor_dataset/`": len(expected)}


def test_brain_mri_classes_put_the_tumour_at_index_one(miniatures):
    source = climb_hf.get_source("brain_mri")
    assert source.classes == ("No", "Yes")
    folder, expected = miniatures("brain_mri")
    order = [r.id for part in index_of("brain_mri", folder).splits.values() for r in part]
    assert set(order) == {t.id for t in expected}
    assert [t.id for t in expected] == sorted((t.id for t in expected), key=lambda i: (i[:2] != "no", i))


@pytest.mark.parametrize("bits", [0, 128, 255])
def test_brain_mri_lays_the_alpha_of_a_png_named_jpg_on_white(miniatures, tmp_path, bits):
    folder, _ = miniatures.copy("brain_mri", tmp_path / "raw")
    victim = folder / "no" / "no.jpg"
    Image.fromarray(np.full((64, 48, 4), (200, 100, 50, bits), np.uint8)).save(victim, format="PNG")
    for options in ({}, {"image_size": 24}):
        _, row = by_id(load("brain_mri", folder, tmp_path / "cache", **options))["no/no.jpg"]
        wanted = [round(value * bits / 255 + 255 * (1 - bits / 255)) for value in (200, 100, 50)]
        np.testing.assert_allclose(np.asarray(row["image"])[0, 0], wanted, atol=1)
        assert (row["metadata"]["format"], row["metadata"]["mode"]) == ("PNG", "RGBA")


def test_brain_mri_default_split_keeps_copies_together(miniatures, tmp_path):
    folder, expected = miniatures("brain_mri")
    copies = {t.id: t.values["duplicate_of"] for t in expected if t.values["duplicate_of"]}
    assert set(copies) == {"no/no 1.jpg", "no/No17.jpg", "yes/Y181.jpg", "yes/Y34.jpg", "yes/Y38.jpg", "yes/Y54.jpg"}
    for seed in (42, 1, 2, 3):
        rows = by_id(load("brain_mri", folder, tmp_path, seed=seed))
        assert {i: row["duplicate_of"] for i, (_, row) in rows.items() if row["duplicate_of"]} == copies
        assert all(rows[i][0] == rows[first][0] for i, first in copies.items())
        assert all(rows[i][1]["group"] == rows[first][1]["group"] for i, first in copies.items())


def test_brain_mri_paper_split_equals_the_published_numbers():
    split = paper_split()
    digests = {}
    for name in ("train", "test"):
        files = sorted(file for file, part in split.items() if part == name)
        digests[name] = (len(files), hashlib.sha256("\n".join(files).encode()).hexdigest())
    assert digests == {
        "train": (202, "161fa42ebc1a2bcd2d5a16b2d9e1e75c7a7caeb8fbb08bb05e841d8e5aaa13d9"),
        "test": (51, "75f2f20c844087e88fc84aafd2aa1e092a66d45486b73341c0ad9398afe3fd7a"),
    }
    assert Counter(file.split("/")[0] for file in split) == {"yes": 155, "no": 98}
    assert Counter(file.split("/")[0] for file, part in split.items() if part == "test") == {"yes": 34, "no": 17}
    assert Counter(file.rsplit(".", 1)[1] for file in split if file.startswith("no")) == {
        "jpg": 85, "jpeg": 6, "JPG": 6, "png": 1,
    }  # fmt: skip


def test_brain_mri_paper_split_is_the_same_whatever_part_of_the_files_is_there(miniatures, tmp_path):
    folder, expected = miniatures.copy("brain_mri", tmp_path / "raw")
    wanted = paper_split()
    rows = by_id(load("brain_mri", folder, tmp_path / "a", split_by="paper"))
    assert {i: split for i, (split, _) in rows.items()} == {t.id: wanted[t.id] for t in expected}
    assert {split for split, _ in rows.values()} == {"train", "test"}
    for truth in expected[::2]:
        (folder / truth.id).unlink()
    (folder / "yes" / "Y999.jpg").write_bytes((folder / expected[1].id).read_bytes())
    rows = by_id(load("brain_mri", folder, tmp_path / "b", split_by="paper"))
    assert {i: split for i, (split, _) in rows.items()} == {t.id: wanted[t.id] for t in expected[1::2]}
    assert sum(left_out(tmp_path / "b").values()) == 1, "a file the paper's list does not name"


@pytest.mark.parametrize("name", ["yes/y0.jpg", "no/no12.jpg", "yes/aug_Y1_0_123.jpg"])
def test_brain_mri_refuses_other_collections(miniatures, tmp_path, name):
    folder, _ = miniatures.copy("brain_mri", tmp_path / "raw")
    (folder / "yes" / "Y1.jpg").rename(folder / name)
    with pytest.raises(LayoutError, match=r"(?s)another data set.*kaggle"):
        load("brain_mri", folder, tmp_path / "cache")


# all three


@pytest.mark.parametrize("name", ["covid19_cxr", "coronahack", "brain_mri"])
@pytest.mark.parametrize("n", [8, 12, 48])
def test_miniatures_hold_every_class_and_split_at_every_size(miniatures, tmp_path, name, n):
    folder, expected = miniatures(name, n)
    rows = by_id(load(name, folder, tmp_path, verify="full"))
    assert len(rows) == len(expected) == n
    splits = climb_hf.get_source(name).published_splits if expected[0].split else [None]
    for split in splits:
        found = {c for t in expected if t.split == split for c in t.classes}
        assert found == set(climb_hf.get_source(name).classes)


@pytest.mark.parametrize("name", ["covid19_cxr", "coronahack", "brain_mri"])
def test_miniatures_are_the_same_bytes_for_the_same_seed(tmp_path, name):
    def content(folder, seed):
        climb_hf.miniature(name, tmp_path / folder, n=9, seed=seed)
        files = sorted(p for p in (tmp_path / folder).rglob("*") if p.is_file() and not p.name.startswith(".climb"))
        return {p.relative_to(tmp_path / folder).as_posix(): p.read_bytes() for p in files}

    assert content("a", 3) == content("b", 3) != content("c", 4)
