"""Oddities of the fundus sources, and the published image-level draw that three of them share."""

import hashlib
import json
from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from source_helpers import by_id

import climb_hf
from climb_hf import vocabulary
from climb_hf.builder import ClimbConfig
from climb_hf.errors import ClimbError, DamagedDataError, LabelError, LayoutError, SchemaError, SplitError
from climb_hf.indexing import build_index
from climb_hf.miniatures import miniature
from climb_hf.splits import draw_per_class

SOURCES = ("messidor2", "aptos2019", "jichi")
#: Images of each grade and, of these, in the paper's train part; jichi's totals are known to within four only.
COUNTS = {
    "messidor2": {1017: 813, 270: 216, 347: 277, 75: 60, 35: 28},
    "aptos2019": {1805: 1444, 370: 296, 999: 799, 193: 154, 295: 236},
    "jichi": {6563: 6563 - 1313, 2113: 2113 - 423, 458: 458 - 92, 805: 805 - 161},
}


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def index_of(name, folder, **options):
    """The index alone, which needs no cache."""
    config = ClimbConfig(name=name)
    for option, value in options.items():
        setattr(config, option, value)
    source = climb_hf.get_source(name)
    return build_index(source, source.find_root(folder), config.options())


def splits_of(index):
    return {record.id: split for split, records in index.splits.items() for record in records}


def records_of(index):
    return {record.id: record for records in index.splits.values() for record in records}


def edit(path, *changes):
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


# the draw of the papers


@pytest.mark.parametrize("name", SOURCES)
def test_the_draw_gives_the_published_counts_and_is_that_of_pandas(name):
    counts = COUNTS[name]
    grades = np.random.default_rng(1).permutation([count for count in counts for _ in range(count)]).tolist()
    split = draw_per_class(grades)
    assert Counter(grade for grade, part in zip(grades, split, strict=True) if part == "train") == counts
    published = climb_hf.get_source(name).published_splits
    assert {part: split.count(part) for part in ("train", "test")} == published
    frame = pd.Series(grades)
    for grade, n_train in counts.items():
        drawn = frame[frame == grade].sample(n_train, random_state=0).index
        assert {at for at, part in enumerate(split) if part == "train" and grades[at] == grade} == set(drawn)


@pytest.mark.parametrize(("count", "positions"), [(1017, [9, 11, 19]), (270, [9, 25, 28]), (35, [0, 3, 7])])
def test_the_draw_begins_as_on_the_published_list(count, positions):
    # in the published table of messidor2 these are 20051020_56791_0100 (grade 0), _63829_ (1) and _45110_ (4)
    split = draw_per_class(["grade"] * count)
    assert [at for at, part in enumerate(split) if part == "test"][:3] == positions


def test_the_draw_of_small_classes():
    assert draw_per_class([]) == []
    assert draw_per_class(["a", "b", "b"]) == ["test", "test", "train"]
    assert draw_per_class([1] * 10, fraction=0.5).count("train") == 5
    assert draw_per_class([1] * 10, seed=1) != draw_per_class([1] * 10)


@pytest.mark.parametrize("name", SOURCES)
def test_paper_split_of_the_miniature(miniatures, name):
    folder, expected = miniatures(name, 64)
    found = splits_of(index_of(name, folder, split_by="paper"))
    assert found == {truth.id: truth.values["paper_split"] for truth in expected}
    assert set(found.values()) == {"train", "test"}


@pytest.mark.parametrize("name", SOURCES)
def test_paper_split_is_taken_on_the_table_not_on_the_files_present(miniatures, tmp_path, name):
    folder, expected = miniatures.copy(name, tmp_path / "raw", 64)
    for truth in expected[1::8]:
        next(folder.rglob(f"{truth.id.split('.')[0]}.*")).unlink()
    found = splits_of(index_of(name, folder, split_by="paper"))
    assert found == {truth.id: truth.values["paper_split"] for truth in expected}


@pytest.mark.parametrize("name", SOURCES)
def test_miniatures_are_reproducible_synthetic_and_hold_every_class(tmp_path, name):
    def tree(folder):
        return {
            p.name: hashlib.sha256(p.read_bytes()).hexdigest()
            for p in folder.rglob("*")
            if p.is_file() and p.name != ".climb_miniature.json"
        }

    n = 4 * len(climb_hf.get_source(name).classes)
    first, again, other = (miniature(name, tmp_path / d, n, seed=s) for d, s in (("a", 3), ("b", 3), ("c", 4)))
    assert first == again
    assert tree(tmp_path / "a") == tree(tmp_path / "b") != tree(tmp_path / "c")
    assert len(first) == len({truth.id for truth in first}) == len(other) == n
    for split in ("train", "test"):
        classes = {truth.classes[0] for truth in first if truth.values["paper_split"] == split}
        assert classes == set(climb_hf.get_source(name).classes)
    assert len(miniature(name, tmp_path / "d", 9)) == 9
    assert "synthetic" in __import__(f"climb_hf.miniatures.{name}", fromlist=["make"]).__doc__.lower()


@pytest.mark.parametrize("name", SOURCES)
def test_the_grade_can_be_seen_in_the_miniature(miniatures, name):
    from sklearn.linear_model import LogisticRegression

    folder, expected = miniatures(name, 64)
    records = records_of(index_of(name, folder))
    features, grades = [], []
    for truth in expected:
        if truth.values.get("duplicate_of"):
            continue
        with Image.open(folder / records[truth.id].files[0]) as picture:
            pixels = np.asarray(picture.convert("RGB"), float)
        field = pixels[pixels.sum(-1) > 60] / 255
        dark, pale = field[:, 0] < 0.4, field[:, 2] > 0.6
        yellow = (field[:, 0] > 0.85) & (field[:, 2] < 0.6)
        features.append([share.mean() * 20 for share in (dark, pale, yellow)])
        grades.append(truth.classes[0])
    fitted = LogisticRegression(C=100, max_iter=2000).fit(features[::2], grades[::2])
    assert fitted.score(features[1::2], grades[1::2]) > 0.8


def test_scales_are_shared_only_where_they_are_the_same():
    messidor2, aptos2019, jichi = map(climb_hf.get_source, SOURCES)
    assert messidor2.concepts == aptos2019.concepts
    assert not set(jichi.concepts) & set(messidor2.concepts)
    assert [source.redistributable for source in (messidor2, aptos2019, jichi)] == [False, False, True]
    assert "CC0" in messidor2.license_note
    assert messidor2.license != "CC0-1.0"


# messidor2


@pytest.mark.parametrize("table", ["grades", "preprocessed"])
@pytest.mark.parametrize("layout", ["adcis", "doubled", "lower", "documents"])
def test_messidor2_layouts_and_tables(miniatures, tmp_path, layout, table):
    folder, expected = miniatures("messidor2", layout=layout, table=table)
    rows = by_id(load("messidor2", folder, tmp_path))
    assert set(rows) == {truth.id for truth in expected}
    assert {i.rpartition(".")[2] for i in rows} == {"png", "JPG"}
    for truth in expected:
        _, row = rows[truth.id]
        metadata = row["metadata"]
        assert row["raw_labels"] == list(truth.values["raw_labels"])
        assert row["image"].size == truth.values["size"]
        assert row["image"].mode == "RGB"
        assert metadata["image_id"] == truth.values["image_id"]
        assert metadata["adjudicated_dme"] == truth.values["dme"]
        assert metadata["adjudicated_gradable"] == 1
        assert metadata["part"] == truth.values["part"]
        assert metadata["laterality"] == truth.values["laterality"]
    assert {row["metadata"]["adjudicated_dme"] for _, row in rows.values()} == {0, 1}


def test_messidor2_keeps_an_examination_together_by_default_only(miniatures):
    folder, expected = miniatures("messidor2", 128)
    default, paper = index_of("messidor2", folder), index_of("messidor2", folder, split_by="paper")
    splits, drawn = splits_of(default), splits_of(paper)
    pairs = [(truth.id, truth.values["partner"]) for truth in expected if truth.values["partner"] in splits]
    assert len(pairs) > 100
    assert all(splits[one] == splits[other] for one, other in pairs)
    assert any(drawn[one] != drawn[other] for one, other in pairs)
    records = records_of(paper)
    examinations = defaultdict(set)
    for one, other in pairs:
        assert records[one].group == records[other].group
        assert records[one].metadata["examination"] == records[other].metadata["examination"]
        examinations[records[one].metadata["examination"]] |= {one, other}
    assert all(len(eyes) == 2 for eyes in examinations.values())
    assert 0.7 < list(splits.values()).count("train") / len(splits) < 0.9


def test_messidor2_ungradable_images_are_counted_not_read(miniatures):
    folder, expected = miniatures("messidor2")
    index = index_of("messidor2", folder)
    assert index.left_out == {"ungradable image without an adjudicated grade": 2}
    assert index.n_records == len(expected)


def test_messidor2_grades_written_as_floats_are_the_same(miniatures, tmp_path):
    folder, expected = miniatures.copy("messidor2", tmp_path / "raw")
    table = folder / "messidor_data.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    lines[1:] = [
        [name, *(f"{cell}.0" if cell else "" for cell in (grade, dme)), ok] for name, grade, dme, ok in lines[1:]
    ]
    table.write_text("\n".join(map(",".join, lines)) + "\n")
    rows = by_id(load("messidor2", folder, tmp_path / "cache", labels="raw"))
    assert {i: row["raw_labels"] for i, (_, row) in rows.items()} == {
        truth.id: list(truth.values["raw_labels"]) for truth in expected
    }
    drawn = splits_of(index_of("messidor2", folder, split_by="paper"))
    assert drawn == {truth.id: truth.values["paper_split"] for truth in expected}


def test_messidor2_without_pairs_has_the_paper_split_only(miniatures):
    folder, expected = miniatures("messidor2", with_pairs=False)
    with pytest.raises(SplitError, match=r"messidor-2\.csv.*split_by='paper'"):
        index_of("messidor2", folder)
    records = records_of(index_of("messidor2", folder, split_by="paper"))
    assert {i: record.group for i, record in records.items()} == {truth.id: truth.id for truth in expected}
    assert {record.metadata["laterality"] for record in records.values()} == {None}


def test_messidor2_refuses_other_tables(miniatures, tmp_path):
    folder, _ = miniatures.copy("messidor2", tmp_path / "raw")
    table = folder / "messidor_data.csv"
    grades = table.read_text()
    table.unlink()
    with pytest.raises(LayoutError, match=r"holds no grades.*google-brain/messidor2-dr-grades"):
        index_of("messidor2", folder)
    table.write_bytes((folder / "messidor-2.csv").read_bytes())
    with pytest.raises(SchemaError, match=r"left;right.*not the grade table"):
        index_of("messidor2", folder)
    table.write_text("image,level\n10_left,0\n")
    with pytest.raises(SchemaError, match=r"`adjudicated_dr_grade`.*'level'"):
        index_of("messidor2", folder)
    table.write_text(grades)
    edit(folder / "messidor-2.csv", (";", ","))
    with pytest.raises(SchemaError, match="column `left` is missing"):
        index_of("messidor2", folder)


def test_messidor2_names_the_parts_that_are_still_packed(miniatures, tmp_path):
    folder, _ = miniatures.copy("messidor2", tmp_path / "raw")
    for picture in (folder / "IMAGES").iterdir():
        picture.unlink()
    (folder / "IMAGES.zip.001").write_bytes(b"PK\x03\x04")
    with pytest.raises(LayoutError, match=r"cat IMAGES\.zip\.00\* > IMAGES\.zip.*Messidor \(1\)"):
        index_of("messidor2", folder)


def test_messidor2_counts_unlisted_pictures_and_names_missing_ones(miniatures, tmp_path):
    folder, expected = miniatures.copy("messidor2", tmp_path / "raw")
    victim = next(truth for truth in expected if truth.id.endswith(".JPG"))
    picture = folder / "IMAGES" / victim.id
    picture.rename(picture.with_name("IM999999.JPG"))
    (folder / "preprocess").mkdir()
    (folder / "preprocess" / expected[0].id).write_bytes(b"another rendering")
    rows = by_id(load("messidor2", folder, tmp_path / "cache"))
    assert set(rows) == {truth.id for truth in expected} - {victim.id}
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    assert [json.loads(line)["id"] for line in log.read_text().splitlines()] == [victim.id]
    (counts,) = (tmp_path / "cache").rglob("left_out.json")
    assert json.loads(counts.read_text()) == {
        "ungradable image without an adjudicated grade": 2,
        "second picture of the same name": 1,
        "picture without a row in `messidor_data.csv`": 1,
    }


def test_messidor2_warns_of_graded_images_in_no_pair(miniatures, tmp_path, caplog):
    folder, expected = miniatures.copy("messidor2", tmp_path / "raw")
    pairs = (folder / "messidor-2.csv").read_text().splitlines()
    (folder / "messidor-2.csv").write_text("\n".join(pairs[:1] + pairs[2:]) + "\n")
    records = records_of(index_of("messidor2", folder))
    assert f"2 graded images are in no pair of `messidor-2.csv`: ['{expected[0].id}'" in caplog.text
    assert records[expected[0].id].group == expected[0].id


def test_messidor2_real_table_gives_the_published_draw(real_dir, tmp_path):
    table = real_dir / "messidor2" / "messidor_data.csv"
    if not table.is_file():
        pytest.skip("the grade table does not lie in `shared/real/messidor2`")
    (tmp_path / table.name).write_bytes(table.read_bytes())
    (tmp_path / "IM.JPG").write_bytes(b"no picture is needed")
    splits = splits_of(index_of("messidor2", tmp_path, split_by="paper"))
    test = sorted(name for name, split in splits.items() if split == "test")
    assert (len(splits), len(test)) == (1744, 350)
    digest = hashlib.sha256("\n".join(test).encode()).hexdigest()
    assert digest == "aad572946523f29081641a4730048011d2168712e56dde98e527b387b219007c"


# aptos2019


def test_aptos2019_names_copies_and_conflicting_grades(miniatures, tmp_path):
    folder, expected = miniatures("aptos2019")
    copies = {t.id: t.values["duplicate_of"] for t in expected if t.values["duplicate_of"]}
    rows = by_id(load("aptos2019", folder, tmp_path))
    assert {i: row["duplicate_of"] for i, (_, row) in rows.items() if row["duplicate_of"]} == copies
    assert {rows[i][1]["labels"] == rows[first][1]["labels"] for i, first in copies.items()} == {True, False}
    for truth in expected:
        split, row = rows[truth.id]
        assert split == truth.values["paper_split"], "without a patient id the default is the paper's draw"
        assert row["image"].size == truth.values["size"]
        assert row["metadata"] == {"id_code": truth.id}
    assert len({row["image"].size for _, row in rows.values()}) >= 5


def test_aptos2019_content_split_keeps_copies_together(miniatures):
    folder, expected = miniatures("aptos2019", 64)
    index = index_of("aptos2019", folder, split_by="content")
    splits, records = splits_of(index), records_of(index)
    copies = {t.id: t.values["duplicate_of"] for t in expected if t.values["duplicate_of"]}
    assert len(copies) == 2
    for later, first in copies.items():
        assert records[later].group == records[first].group == first
        assert splits[later] == splits[first]
    assert set(splits) == {truth.id for truth in expected}
    other = splits_of(index_of("aptos2019", folder, split_by="content", seed=7))
    assert other != splits


def test_aptos2019_images_without_grades_are_counted(miniatures, tmp_path):
    folder, expected = miniatures.copy("aptos2019", tmp_path / "raw")
    rule = "test image of the competition, without a published grade"
    assert index_of("aptos2019", folder).left_out == {rule: 4}
    (folder / "sample_submission.csv").write_text("id_code,diagnosis\nnonsense,9\n")
    (folder / "test.csv").unlink()
    assert index_of("aptos2019", folder).left_out == {rule: 4}, "the folder alone says as much"
    extra = folder / "train_images" / "0123456789ab.png"
    extra.write_bytes((folder / "train_images" / f"{expected[0].id}.png").read_bytes())
    edit(folder / "train.csv", (f"{expected[-1].id},{expected[-1].values['raw_labels'][0]}", f"{expected[-1].id},"))
    index = index_of("aptos2019", folder)
    assert index.left_out == {rule: 4, "picture without a row in `train.csv`": 1, "row without a grade": 1}
    assert set(splits_of(index)) == {truth.id for truth in expected[:-1]}


def test_aptos2019_doubled_folder_and_missing_pictures(miniatures, tmp_path):
    folder, expected = miniatures.copy("aptos2019", tmp_path / "raw")
    (folder / "train_images").rename(folder / "inner")
    (folder / "train_images").mkdir()
    (folder / "inner").rename(folder / "train_images" / "train_images")
    missing = expected[3].id
    (folder / "train_images" / "train_images" / f"{missing}.png").unlink()
    rows = by_id(load("aptos2019", folder, tmp_path / "cache"))
    assert set(rows) == {truth.id for truth in expected} - {missing}
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    assert json.loads(log.read_text())["id"] == missing


def test_aptos2019_refuses_other_data(miniatures, tmp_path):
    folder, _ = miniatures.copy("aptos2019", tmp_path / "raw")
    (folder / "train.csv").rename(folder / "train_1.csv")
    with pytest.raises(LayoutError, match=r"`train\.csv` not found.*re-uploads with `train_1\.csv`"):
        index_of("aptos2019", folder)
    (folder / "train.csv").write_text("image_name,patient_id,target\nISIC_1,IP_1,0\n")
    with pytest.raises(SchemaError, match=r"`id_code` is missing.*another Kaggle competition"):
        index_of("aptos2019", folder)
    (folder / "train_images").rename(folder / "gaussian_filtered_images")
    with pytest.raises(LayoutError, match=r"`train_images/` not found.*other data"):
        index_of("aptos2019", folder)


def test_aptos2019_unknown_grade_is_named(miniatures, tmp_path):
    folder, expected = miniatures.copy("aptos2019", tmp_path / "raw")
    edit(folder / "train.csv", (f"{expected[0].id},{expected[0].values['raw_labels'][0]}", f"{expected[0].id},5"))
    with pytest.raises(LabelError, match=rf"{expected[0].id}.*'5' is unknown"):
        load("aptos2019", folder, tmp_path / "cache", strict=True)
    assert expected[0].id not in by_id(load("aptos2019", folder, tmp_path / "cache"))


# jichi


@pytest.mark.parametrize(("layout", "suffix"), [("flat", ".jpg"), ("dmr", ".JPG"), ("documents", ".jpg")])
def test_jichi_layouts_and_both_grades(miniatures, tmp_path, layout, suffix):
    folder, expected = miniatures("jichi", layout=layout, suffix=suffix)
    rows = by_id(load("jichi", folder, tmp_path))
    assert set(rows) == {truth.id for truth in expected}
    for truth in expected:
        _, row = rows[truth.id]
        metadata, values = row["metadata"], truth.values
        assert row["raw_labels"] == list(values["raw_labels"]) == [metadata["grade_one_figure"]]
        assert metadata["grade_concatenated"] == values["concatenated"]
        assert metadata["patient_id"] == row["group"] == truth.group
        assert metadata["running_number"] == values["running_number"]
        assert metadata["laterality"] == values["laterality"]
    assert any(truth.values["concatenated"] != truth.values["raw_labels"][0] for truth in expected)


def test_jichi_keeps_a_patient_together_by_default_only(miniatures):
    folder, expected = miniatures("jichi", 96)
    splits, drawn = splits_of(index_of("jichi", folder)), splits_of(index_of("jichi", folder, split_by="paper"))
    default, paper = defaultdict(set), defaultdict(set)
    for truth in expected:
        default[truth.group].add(splits[truth.id])
        paper[truth.group].add(drawn[truth.id])
    assert all(len(where) == 1 for where in default.values())
    assert any(len(where) == 2 for where in paper.values())


def test_jichi_has_four_classes_or_three_of_table_7(miniatures, tmp_path):
    folder, expected = miniatures("jichi")
    source = climb_hf.get_source("jichi")
    assert len(source.classes) == 4
    three = vocabulary.source_vocabulary("jichi", "drop_ndr")
    assert three.classes == source.classes[1:] == source.vocabulary("drop_ndr").classes
    with_disease = {truth.id for truth in expected if truth.values["raw_labels"] != ("ndr",)}
    option = by_id(load("jichi", folder, tmp_path / "a", drop_ndr=True))
    scheme = by_id(load("jichi", folder, tmp_path / "b", labels="drop_ndr"))
    assert set(option) == set(scheme) == with_disease
    assert {row["labels"][0] for _, row in option.values()} == set(three.indices)
    assert {i: row["labels"] for i, (_, row) in option.items()} == {i: row["labels"] for i, (_, row) in scheme.items()}
    (counts,) = (tmp_path / "b").rglob("left_out.json")
    assert sum(json.loads(counts.read_text()).values()) == len(expected) - len(with_disease)
    paper = splits_of(index_of("jichi", folder, drop_ndr=True, split_by="paper"))
    assert paper == {t.id: t.values["paper_split"] for t in expected if t.id in with_disease}


def test_jichi_reads_columns_by_name_and_labels_in_any_case(miniatures, tmp_path):
    folder, expected = miniatures.copy("jichi", tmp_path / "raw")
    table = folder / "list.csv"
    lines = [line.split(",") for line in table.read_text().splitlines()]
    swapped = [lines[0][::-1], *([f" {one.upper()} ", both, name] for name, both, one in lines[1:])]
    table.write_bytes(b"\xef\xbb\xbf" + "".join(",".join(row) + "\r\n" for row in swapped).encode())
    records = records_of(index_of("jichi", folder))
    assert {i: record.raw_labels for i, record in records.items()} == {t.id: t.values["raw_labels"] for t in expected}


def test_jichi_rows_that_cannot_be_used_are_named_or_counted(miniatures, tmp_path):
    folder, expected = miniatures.copy("jichi", tmp_path / "raw")
    with (folder / "list.csv").open("a") as table:
        table.write("9001_1_R.jpg,sdr,\nscan.jpg,sdr,sdr\n")
    (folder / "9002_1_L.jpg").write_bytes((folder / expected[0].id).read_bytes())
    index = index_of("jichi", folder)
    assert [(failure.id, failure.error) for failure in index.failures] == [("scan.jpg", "SchemaError")]
    assert "<patient>_<number>_<L|R>.jpg" in index.failures[0].reason
    assert index.left_out == {
        "row without a value in `Davis_grading_of_one_figure`": 1,
        "picture without a row in `list.csv`": 1,
    }
    assert index.n_records == len(expected)


def test_jichi_refuses_grades_of_another_scale(miniatures, tmp_path):
    folder, _ = miniatures.copy("jichi", tmp_path / "raw")
    edit(folder / "list.csv", (",sdr\n", ",mild\n"))
    with pytest.raises(DamagedDataError, match=r"'mild' is unknown.*'ndr', 'sdr', 'ppdr', 'pdr'"):
        load("jichi", folder, tmp_path / "cache")
    edit(folder / "list.csv", ("Davis_grading_of_one_figure", "grade"))
    with pytest.raises(ClimbError, match="`Davis_grading_of_one_figure` is missing"):
        index_of("jichi", folder)
