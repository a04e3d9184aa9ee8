"""Oddities of the dermoscopy sources `isic2020` and `ham10000` and of the tissue source `lc25000`, on miniatures."""

import csv
import hashlib
import json
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image
from source_helpers import by_id, left_out

import climb_hf
from climb_hf.errors import LayoutError, OptionError, SchemaError, SplitError
from climb_hf.indexing import build_index
from climb_hf.readers.image_splits import hash_order, read_evaluation_list, share_per_class
from climb_hf.source import Options
from climb_hf.vocabulary import source_vocabulary

NAMES = ("isic2020", "ham10000", "lc25000")


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def skipped(cache):
    return [json.loads(line) for log in cache.rglob("skipped.jsonl") for line in log.read_text().splitlines()]


def index_of(name, root, **options):
    """Return the index of a folder; nothing is decoded, so the pictures need not be there."""
    extra = {key: options.pop(key, default) for key, default in climb_hf.get_source(name).extra_options.items()}
    return build_index(climb_hf.get_source(name), root, Options(**options, extra=extra))


def counts(index, split):
    return dict(Counter(record.raw_labels[0] for record in index.splits.get(split, ())))


def digest(ids):
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]


def edit_rows(table, change):
    """Rewrite a table through `change`, which gets and returns the list of its rows."""
    with table.open(newline="") as stream:
        rows = change(list(csv.DictReader(stream)))
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


# ---- all three


@pytest.mark.parametrize("name", NAMES)
def test_the_drawn_pictures_can_be_told_apart(miniatures, tmp_path, name):
    folder, expected = miniatures(name)
    rows = by_id(load(name, folder, tmp_path))
    pixels = {i: np.asarray(row["image"].resize((24, 24)), float) for i, (_, row) in rows.items()}
    features = np.stack([np.r_[np.sort(pixels[t.id].reshape(-1, 3), axis=0)[::16].ravel()] for t in expected])
    labels = np.array([t.classes[0] for t in expected])
    distances = np.linalg.norm(features[:, None] - features[None], axis=2) + 1e9 * np.eye(len(labels))
    assert (labels[distances.argmin(axis=1)] == labels).mean() > 0.85


@pytest.mark.parametrize("name", NAMES)
def test_miniatures_are_the_same_byte_for_byte_and_hold_every_class(tmp_path, name):
    made = [
        climb_hf.miniature(name, tmp_path / part, n=20, seed=seed) for part, seed in (("a", 3), ("b", 3), ("c", 4))
    ]
    files = [{p.name: p.read_bytes() for p in (tmp_path / part).rglob("*") if p.is_file()} for part in "abc"]
    assert made[0] == made[1]
    assert files[0] == files[1]
    assert files[0] != files[2]
    assert {row.classes[0] for row in made[0]} == set(climb_hf.get_source(name).classes)
    assert len({row.id for row in made[0]}) == len(made[2]) == 20


@pytest.mark.parametrize("name", NAMES)
def test_both_parts_of_the_default_hold_every_class_in_the_miniature(miniatures, tmp_path, name):
    folder, expected = miniatures(name)
    seen = {split: {i for (i,) in part["labels"]} for split, part in load(name, folder, tmp_path).items()}
    assert len(seen["train"]) == len(climb_hf.get_source(name).classes)
    assert len(seen["test"]) >= 2
    assert {row.classes[0] for row in expected} == set(climb_hf.get_source(name).classes)


@pytest.mark.parametrize("name", ["isic2020", "ham10000"])
def test_the_papers_list_gives_the_papers_split(miniatures, tmp_path, name):
    folder, expected = miniatures(name, with_list=True)
    rows = by_id(load(name, folder, tmp_path, split_by="paper", split_file=str(folder / "annotation_valid.jsonl")))
    assert {i: split for i, (split, _) in rows.items()} == {
        t.id: "test" if t.values["evaluation"] else "train" for t in expected
    }
    with pytest.raises(SplitError, match=r"(?s)`split_file=`, but none was given.*annotation_valid\.jsonl"):
        load(name, folder, tmp_path, split_by="paper")


def test_evaluation_lists_that_cannot_be_meant_are_refused(tmp_path):
    file = tmp_path / "annotation_valid.jsonl"
    options = {"source": "isic2020", "known": {"ISIC_1"}, "where": "there."}
    file.write_text('{"images": ["train/ISIC_2.jpg"]}\n')
    with pytest.raises(SplitError, match="names 1 images, but not one of the 1"):
        read_evaluation_list(file, **options)
    file.write_text('{"images": ["train\\\\ISIC_1.jpg"]}\n\n')
    assert read_evaluation_list(file, **options) == {"ISIC_1"}
    for broken in ("ISIC_1.jpg\n", '{"image": "ISIC_1.jpg"}\n', '["ISIC_1.jpg"]\n', '{"images": [7]}\n'):
        file.write_text('{"images": ["train/ISIC_1.jpg"]}\n' + broken)
        with pytest.raises(SchemaError, match="line 2: expected a JSON object"):
            read_evaluation_list(file, **options)
    with pytest.raises(SplitError, match="is not a file"):
        read_evaluation_list(tmp_path / "other.jsonl", **options)


def test_shares_per_class_do_not_depend_on_the_order_and_are_pinned():
    classes = {f"ISIC_{i:07d}": "ab"[i % 3 == 0] for i in range(300)}
    chosen = share_per_class(classes, 0.8)
    assert chosen == share_per_class(dict(reversed(classes.items())), 0.8)
    assert Counter(classes[name] for name in chosen) == {"a": 160, "b": 80}
    assert digest(chosen) == "b77f17f2987f30aa"
    assert share_per_class(classes, 0.8, seed=1) != chosen
    assert sorted(hash_order(classes)) == sorted(classes)


# ---- isic2020

ISIC_LAYOUTS = ("official", "unzipped", "benchmd", "kaggle", "dicom")


@pytest.mark.parametrize("layout", ISIC_LAYOUTS)
def test_isic2020_reads_every_layout_and_table_version(miniatures, tmp_path, layout):
    folder, expected = miniatures("isic2020", layout=layout)
    rows = by_id(load("isic2020", folder, tmp_path))
    assert set(rows) == {t.id for t in expected}
    for truth in expected:
        _, row = rows[truth.id]
        assert row["image"].mode == "RGB"
        assert row["image"].size == truth.values["size"]
        assert row["raw_labels"] == list(truth.values["raw_labels"])
        assert row["group"] == row["metadata"]["patient_id"] == truth.group
        assert (row["age"], row["sex"]) == (truth.values["age"], truth.values["sex"])
        assert row["duplicate_of"] == truth.values["duplicate_of"]
        assert row["metadata"]["diagnosis"] == truth.values["diagnosis"]
        site = truth.values["anatom_site_general_challenge"] or None
        assert row["metadata"]["anatom_site_general_challenge"] == site
        has_lesions = layout not in ("benchmd", "kaggle")
        assert row["metadata"].get("lesion_id") == (truth.values["lesion_id"] if has_lesions else None)
    assert any(t.values["duplicate_of"] for t in expected)
    assert any(t.values["age"] is None and t.values["sex"] is None for t in expected)


def test_isic2020_dicom_shows_the_same_colours_as_jpeg(miniatures, tmp_path):
    (jpeg, expected), (dicom, _) = (miniatures("isic2020", layout=layout) for layout in ("official", "dicom"))
    plain = by_id(load("isic2020", jpeg, tmp_path / "a"))
    other = by_id(load("isic2020", dicom, tmp_path / "b"))
    for truth in expected[:6]:
        one, two = (np.asarray(rows[truth.id][1]["image"], float) for rows in (plain, other))
        assert np.abs(one - two).mean() < 1.5


def test_isic2020_prefers_jpeg_where_kaggles_dicom_lies_beside_it(miniatures):
    folder, expected = miniatures("isic2020", layout="kaggle")
    assert len(list((folder / "train").glob("*.dcm"))) == len(expected)
    files = {r.files[0] for records in index_of("isic2020", folder).splits.values() for r in records}
    assert files == {f"jpeg/train/{t.id}.jpg" for t in expected}


def test_isic2020_takes_extra_columns_and_names_missing_and_unlisted_pictures(miniatures, tmp_path):
    folder, expected = miniatures.copy("isic2020", tmp_path / "raw")
    victim = folder / "train" / f"{expected[0].id}.jpg"
    victim.rename(victim.with_name("ISIC_9999999.jpg"))
    edit_rows(folder / "ISIC_2020_Training_GroundTruth_v2.csv", lambda rows: [r | {"asymmetry": "0"} for r in rows])
    rows = by_id(load("isic2020", folder, tmp_path / "cache"))
    assert set(rows) == {t.id for t in expected[1:]}
    assert [entry["id"] for entry in skipped(tmp_path / "cache")] == [expected[0].id]
    assert left_out(tmp_path / "cache") == {"picture without a row in `ISIC_2020_Training_GroundTruth_v2.csv`": 1}


def test_isic2020_blank_labels_are_left_out_and_contradictions_skipped(miniatures):
    folder, expected = miniatures("isic2020")

    def change(rows):
        rows[0]["benign_malignant"] = ""
        rows[1]["target"] = str(1 - int(rows[1]["target"]))
        return rows

    target = folder.parent / "isic2020-changed"
    (target / "train").mkdir(parents=True)
    table = target / "ISIC_2020_Training_GroundTruth_v2.csv"
    table.write_bytes((folder / table.name).read_bytes())
    edit_rows(table, change)
    index = index_of("isic2020", target)
    assert index.left_out == {"row without `benign_malignant`": 1}
    (failure,) = index.failures
    assert (failure.id, failure.error) == (expected[1].id, "LabelError")
    assert index.n_records == len(expected) - 2


def isic_table(folder):
    """Write a made-up table with the published numbers of rows, patients' sizes roughly as published."""
    (folder / "train").mkdir(parents=True)
    lines = ["image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target"]
    for i in range(33126):
        label = "malignant" if i % 56 == 7 and i // 56 < 584 else "benign"
        lines.append(f"ISIC_{i:07d},IP_{i // 16:07d},male,45.0,torso,unknown,{label},{int(label == 'malignant')}")
    (folder / "ISIC_2020_Training_GroundTruth.csv").write_text("\n".join(lines) + "\n")


def test_isic2020_image_split_has_the_papers_counts_and_the_default_keeps_patients_together(tmp_path):
    isic_table(tmp_path / "raw")
    drawn = index_of("isic2020", tmp_path / "raw", split_by="image")
    assert counts(drawn, "train") == {"benign": 26034, "malignant": 467}
    assert counts(drawn, "test") == {"benign": 6508, "malignant": 117}
    assert digest(record.id for record in drawn.splits["test"]) == "5a3ca58b49ed7eb3"
    default = index_of("isic2020", tmp_path / "raw")
    groups = {split: {record.group for record in records} for split, records in default.splits.items()}
    assert not groups["train"] & groups["test"]
    assert len(default.splits["test"]) / 33126 == pytest.approx(0.2, abs=0.02)
    assert sum(climb_hf.get_source("isic2020").published_splits.values()) == default.n_records == 33126


def test_isic2020_refuses_other_data_sets(miniatures, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "train.csv").write_text("id_code,diagnosis\na,1\n")
    (tmp_path / "other" / "train").mkdir()
    with pytest.raises(SchemaError, match="column `image_name` is missing"):
        load("isic2020", tmp_path / "other", tmp_path / "cache")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "ISIC_2020_Test_Metadata.csv").write_text("image_name,patient_id\n")
    with pytest.raises(LayoutError, match=r"ISIC_2020_Training_GroundTruth_v2\.csv"):
        load("isic2020", tmp_path / "test", tmp_path / "cache")
    folder, _ = miniatures.copy("isic2020", tmp_path / "raw")
    (folder / "train").rename(folder / "pictures")
    with pytest.raises(LayoutError, match=r"none of the picture folders .*ISIC_2020_Training_JPEG\.zip"):
        load("isic2020", folder, tmp_path / "cache")


# ---- ham10000

HAM_LAYOUTS = ("kaggle", "kaggle_twice", "dataverse", "flat", "isic", "climb")


@pytest.mark.parametrize("layout", HAM_LAYOUTS)
def test_ham10000_reads_every_layout(miniatures, tmp_path, layout):
    folder, expected = miniatures("ham10000", layout=layout)
    rows = by_id(load("ham10000", folder, tmp_path))
    assert set(rows) == {t.id for t in expected}
    for truth in expected:
        _, row = rows[truth.id]
        metadata = row["metadata"]
        assert row["group"] == metadata["lesion_id"] == truth.group
        assert (row["age"], row["sex"]) == (truth.values["age"], truth.values["sex"])
        assert row["raw_labels"] == list(truth.values["raw_labels"])
        assert metadata["dx"] == truth.values["dx"]
        assert metadata["dx_type"] == truth.values["dx_type"]
        assert metadata.get("localization") == truth.values["localization"]
        assert ("dataset" in metadata) == (layout in ("dataverse", "flat"))
        assert row["image"].size == (600, 450)
    if layout not in ("isic", "climb"):
        assert any(t.values["age"] is None and t.values["sex"] is None for t in expected)
        assert any(t.values["localization"] == "unknown" for t in expected)


@pytest.mark.parametrize("layout", ["kaggle", "dataverse", "isic"])
def test_ham10000_masks_lie_on_the_lesion(miniatures, tmp_path, layout):
    folder, expected = miniatures("ham10000", layout=layout)
    rows = by_id(load("ham10000", folder, tmp_path))
    assert any(t.values["mask_pixels"] is None for t in expected)
    for truth in expected:
        mask = rows[truth.id][1]["mask"]
        if truth.values["mask_pixels"] is None:
            assert mask is None
            continue
        values = np.asarray(mask)
        assert values.shape == (450, 600)
        assert set(np.unique(values)) == {0, 255}
        assert (values == 255).sum() == truth.values["mask_pixels"]
        if truth.values["dx"] in ("mel", "nv", "vasc"):
            grey = np.asarray(rows[truth.id][1]["image"].convert("L"), float)
            assert grey[values == 255].mean() < grey[values == 0].mean() - 50


def test_ham10000_resizes_masks_with_their_pictures(miniatures, tmp_path):
    folder, expected = miniatures("ham10000")
    rows = by_id(load("ham10000", folder, tmp_path, image_size=64))
    for truth in expected:
        row = rows[truth.id][1]
        assert row["image"].size == (64, 64)
        if truth.values["mask_pixels"] is not None:
            values = np.asarray(row["mask"])
            assert values.shape == (64, 64)
            assert set(np.unique(values)) == {0, 255}
            share = truth.values["mask_pixels"] / (600 * 450)
            assert (values == 255).mean() == pytest.approx(share, abs=0.01)


def test_ham10000_names_a_damaged_mask_and_works_without_masks(miniatures, tmp_path):
    folder, expected = miniatures.copy("ham10000", tmp_path / "raw")
    victim = next(t for t in expected if t.values["mask_pixels"])
    (mask,) = folder.rglob(f"{victim.id}_segmentation.png")
    mask.write_bytes(mask.read_bytes()[:200])
    assert set(by_id(load("ham10000", folder, tmp_path / "cache"))) == {t.id for t in expected} - {victim.id}
    assert [entry["id"] for entry in skipped(tmp_path / "cache")] == [victim.id]
    bare, _ = miniatures("ham10000", masks=False)
    rows = by_id(load("ham10000", bare, tmp_path / "bare"))
    assert {row["mask"] for _, row in rows.values()} == {None}


def test_ham10000_merges_seven_diagnoses_into_the_concepts_of_pad_ufes_20(miniatures, tmp_path):
    ham, pad = source_vocabulary("ham10000"), source_vocabulary("pad_ufes_20")
    assert (ham.classes, ham.concepts) == (pad.classes, pad.concepts)
    assert {ham.class_of(code) for code in ("bkl", "df", "vasc", "BKL", "DF", "VASC")} == {"Other (OTHER)"}
    folder, expected = miniatures("ham10000")
    raw = load("ham10000", folder, tmp_path, labels="raw")
    names = raw["train"].features["labels"].feature.names
    assert names == ["mel", "nv", "bcc", "akiec", "bkl", "df", "vasc"]
    found = {i: [names[k] for k in row["labels"]] for i, (_, row) in by_id(raw).items()}
    assert found == {t.id: [t.values["dx"]] for t in expected}


def test_ham10000_image_split_has_the_papers_counts_and_the_default_keeps_lesions_together(tmp_path):
    sizes = {"nv": 6705, "mel": 1113, "bkl": 1099, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115}
    lines, number = ["lesion_id,image_id,dx,dx_type,age,sex,localization"], 0
    for dx, size in sizes.items():
        for k in range(size):
            lines.append(f"HAM_{dx}{k // 2},ISIC_{24306 + number:07d},{dx},histo,80.0,male,scalp")
            number += 1
    (tmp_path / "HAM10000_metadata.csv").write_text("\n".join(lines) + "\n")
    drawn = index_of("ham10000", tmp_path, split_by="image")
    train, test = counts(drawn, "train"), counts(drawn, "test")
    assert {dx: (train[dx], test[dx]) for dx in ("mel", "nv", "bcc", "akiec")} == {
        "mel": (890, 223), "nv": (5364, 1341), "bcc": (411, 103), "akiec": (262, 65),
    }  # fmt: skip
    assert (sum(train.values()), sum(test.values())) == (8012, 2003)
    assert dict(climb_hf.get_source("ham10000").published_splits) == {"train": 8012, "test": 2003}
    assert digest(record.id for record in drawn.splits["test"]) == "5c7c430c431a9285"
    default = index_of("ham10000", tmp_path)
    groups = {split: {record.group for record in records} for split, records in default.splits.items()}
    assert not groups["train"] & groups["test"]
    assert len(default.splits["test"]) / 10015 == pytest.approx(0.2, abs=0.02)


def test_ham10000_challenge_tables_need_lesions_and_exactly_one_diagnosis(miniatures, tmp_path):
    folder, expected = miniatures.copy("ham10000", tmp_path / "raw", layout="climb")

    def change(rows):
        rows[0] |= {"MEL": "1.0", "NV": "1.0"}
        rows[1] |= dict.fromkeys(("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"), "0.0")
        return rows

    edit_rows(folder / "ISIC2018_Task3_Training_GroundTruth.csv", change)
    lesions = folder / "ISIC2018_Task3_Training_LesionGroupings.csv"
    edit_rows(lesions, lambda rows: [row for row in rows if row["image"] != expected[2].id])
    index = index_of("ham10000", folder)
    assert index.left_out == {"row without a diagnosis": 1}
    assert [(f.id, f.error) for f in index.failures] == [(expected[2].id, "SchemaError")]
    assert next(r for s in index.splits.values() for r in s if r.id == expected[0].id).raw_labels == ("MEL and NV",)
    lesions.unlink()
    with pytest.raises(LayoutError, match=r"HAM10000_metadata\.csv.*pictures of one lesion"):
        load("ham10000", folder, tmp_path / "cache")


def test_ham10000_refuses_the_table_of_isic_2019_and_warns_of_foreign_rows(tmp_path, caplog):
    header = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"
    (tmp_path / "ISIC2018_Task3_Training_GroundTruth.csv").write_text(header)
    (tmp_path / "ISIC2018_Task3_Training_LesionGroupings.csv").write_text("image,lesion_id\n")
    with pytest.raises(SchemaError, match="column `AKIEC` is missing"):
        index_of("ham10000", tmp_path)
    rows = [f"HAM_{i},ISIC_{i:07d},nv" for i in range(10016)]
    (tmp_path / "HAM10000_metadata.csv").write_text("\n".join(["lesion_id,image_id,dx", *rows]) + "\n")
    assert index_of("ham10000", tmp_path).n_records == 10016
    assert "has 10016 rows, published: 10015" in caplog.text


def test_ham10000_counts_pictures_of_the_challenges_test_part(miniatures, tmp_path):
    folder, expected = miniatures.copy("ham10000", tmp_path / "raw")
    (folder / "ISIC2018_Task3_Test_Images").mkdir()
    Image.new("RGB", (60, 45)).save(folder / "ISIC2018_Task3_Test_Images" / "ISIC_0034321.jpg")
    assert load("ham10000", folder, tmp_path / "cache")["train"].num_rows < len(expected)
    assert left_out(tmp_path / "cache") == {"picture without a row in the tables": 1}


# ---- lc25000


@pytest.mark.parametrize("layout", ["official", "kaggle", "unzipped", "flat", "reexport"])
def test_lc25000_finds_the_class_folders_in_every_layout(miniatures, tmp_path, layout):
    folder, expected = miniatures("lc25000", layout=layout)
    rows = by_id(load("lc25000", folder, tmp_path))
    assert set(rows) == {t.id for t in expected}
    for truth in expected:
        _, row = rows[truth.id]
        assert row["raw_labels"] == [truth.id.split("/")[0]]
        assert row["image"].size == (768, 768)
        assert row["metadata"]["number"] == truth.values["number"]
        assert row["metadata"]["organ"] == truth.values["organ"]


def test_lc25000_grouped_keeps_siblings_together_where_the_default_does_not(miniatures, tmp_path):
    folder, expected = miniatures("lc25000", 64, with_clusters=True)
    cluster = {t.id: t.values["cluster"] for t in expected}

    def parts(rows):
        found = defaultdict(set)
        for identity, (split, _) in rows.items():
            found[cluster[identity]].add(split)
        return found

    plain = parts(by_id(load("lc25000", folder, tmp_path)))
    assert sum(len(splits) == 2 for splits in plain.values()) > len(plain) / 3
    grouped = load("lc25000", folder, tmp_path, grouped=str(folder / "LC25000-clean" / "annotations"))
    assert set(map(len, parts(by_id(grouped)).values())) == {1}
    assert set(grouped) == {"train", "test"}
    assert {row["group"] for _, row in by_id(grouped).values()} == {
        f"{folder}/cluster{label}" for folder, label in (value.split("/") for value in cluster.values())
    }
    text = " ".join(climb_hf.get_source("lc25000").cautions)
    assert "The default split leaks" in text
    assert "grouped" in text


def test_lc25000_one_cluster_table_is_enough_and_unlisted_pictures_are_left_out(miniatures, tmp_path):
    folder, expected = miniatures("lc25000")
    table = tmp_path / "mine.csv"
    kept = [t for t in expected if t.values["number"] != 2]
    lines = [f"{t.values['cluster'].split('/')[1]},C:\\LC25000\\{t.id.replace('/', chr(92))}" for t in kept]
    table.write_text("\n".join(["cluster_label,img_path", *lines]) + "\n")
    index = index_of("lc25000", folder / "lung_colon_image_set", grouped=str(table))
    assert {r.id for records in index.splits.values() for r in records} == {t.id for t in kept}
    assert index.left_out == {"picture without a row in the cluster table (`grouped`)": len(expected) - len(kept)}
    table.write_text("cluster_label,img_path\n1,./LC25000/lung_n/lungn1.jpeg\n2,./LC25000/lung_n/lungn1.jpeg\n")
    with pytest.raises(SchemaError, match="second cluster"):
        index_of("lc25000", folder / "lung_colon_image_set", grouped=str(table))
    with pytest.raises(OptionError, match=r"found none at .*nowhere"):
        index_of("lc25000", folder / "lung_colon_image_set", grouped=str(tmp_path / "nowhere"))


def test_lc25000_paper_split_has_the_papers_counts_whatever_files_are_there(tmp_path):
    (tmp_path / "colon_aca").mkdir()
    for number in range(1, 5001):
        (tmp_path / "colon_aca" / f"colonca{number}.jpeg").touch()
    default = index_of("lc25000", tmp_path)
    assert default.n_records == 5000
    assert len(default.splits["test"]) / 5000 == pytest.approx(0.2, abs=0.02)
    paper = index_of("lc25000", tmp_path, split_by="paper")
    assert (counts(paper, "train"), counts(paper, "test")) == ({"colon_aca": 3000}, {"colon_aca": 750})
    assert paper.left_out == {"not among the 18,750 pictures of `split_by='paper'`": 1250}
    assert digest(record.id for record in paper.splits["test"]) == "f02bb4d7dc9dd3d5"
    assert dict(climb_hf.get_source("lc25000").published_splits) == {"train": 5 * 3000, "test": 5 * 750}
    kept = {record.id: split for split, records in paper.splits.items() for record in records}
    for number in range(1, 5001, 2):
        (tmp_path / "colon_aca" / f"colonca{number}.jpeg").unlink()
    half = {r.id: s for s, records in index_of("lc25000", tmp_path, split_by="paper").splits.items() for r in records}
    assert half == {identity: split for identity, split in kept.items() if (tmp_path / identity).is_file()}


def test_lc25000_refuses_copies_and_resplit_reuploads(miniatures, tmp_path):
    folder, _ = miniatures.copy("lc25000", tmp_path / "twice", layout="flat")
    (folder / "lung_image_sets" / "lung_n").mkdir(parents=True)
    with pytest.raises(
        LayoutError, match=r"expected one folder `lung_n`, found \['lung_n', 'lung_image_sets/lung_n'\]"
    ):
        load("lc25000", folder, tmp_path / "cache")
    for part in ("Train and Validation Set", "Test Set"):
        (tmp_path / "resplit" / part / "lung_n").mkdir(parents=True)
        (tmp_path / "resplit" / part / "lung_n" / "lungn1.jpeg").touch()
    with pytest.raises(LayoutError, match="marks 2 folders"):
        load("lc25000", tmp_path / "resplit", tmp_path / "cache")


def test_lc25000_ignores_what_is_no_picture(miniatures, tmp_path):
    folder, expected = miniatures.copy("lc25000", tmp_path / "raw", layout="flat")
    for name in ("Thumbs.db", "._lungn1.jpeg", "notes.txt"):
        (folder / "lung_n" / name).write_bytes(b"x")
    index = index_of("lc25000", folder)
    assert index.n_records == len(expected)
    assert not index.failures
