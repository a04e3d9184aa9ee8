"""The eleven sets of MedMNIST+: labels and pictures by content, sizes, MD5, refused files, facts, ways to the data."""

import hashlib
import json
import shutil
import zipfile

import numpy as np
import pytest
from source_helpers import by_id

import climb_hf
from climb_hf.access import ways
from climb_hf.access.records import Zenodo
from climb_hf.builder import Climb
from climb_hf.diagnosis import diagnose
from climb_hf.errors import CorruptFileError, LayoutError, OptionError, SchemaError
from climb_hf.miniatures._medmnist import SETS
from climb_hf.source import Options

NAMES = tuple(sorted(SETS))
#: Train, val, test and all, as published for v2.2.4 and later.
COUNTS = {
    "pathmnist": (89996, 10004, 7180, 107180),
    "dermamnist": (7007, 1003, 2005, 10015),
    "octmnist": (97477, 10832, 1000, 109309),
    "pneumoniamnist": (4708, 524, 624, 5856),
    "retinamnist": (1080, 120, 400, 1600),
    "breastmnist": (546, 78, 156, 780),
    "bloodmnist": (11959, 1712, 3421, 17092),
    "tissuemnist": (165466, 23640, 47280, 236386),
    "organamnist": (34561, 6491, 17778, 58830),
    "organcmnist": (12975, 2392, 8216, 23583),
    "organsmnist": (13932, 2452, 8827, 25211),
}


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def genuine(folder):
    """Make a miniature look like a download: without its marker, the published MD5 counts."""
    (folder / ".climb_miniature.json").unlink()
    return folder


def rewrite(path, **changed):
    """Write an `.npz` file anew with some arrays replaced, or left out where `None`."""
    with np.load(path) as old:
        arrays = {**{key: old[key] for key in old.files}, **changed}
    np.savez_compressed(path, **{key: array for key, array in arrays.items() if array is not None})


@pytest.fixture
def breast(miniatures, tmp_path):
    return miniatures.copy("breastmnist", tmp_path / "raw", size=28)


@pytest.mark.parametrize("name", NAMES)
def test_facts(name):
    source = climb_hf.get_source(name)
    assert tuple(source.published_splits.values()) == COUNTS[name][:3]
    assert sum(source.published_splits.values()) == COUNTS[name][3]
    n_channels, classes = SETS[name]
    assert (source.n_channels, source.classes) == (n_channels, classes)
    assert sorted(source.md5) == [28, 64, 128, 224]
    assert all(len(md5) == 32 and int(md5, 16) for md5 in source.md5.values())
    assert (source.benchmark, source.prompts_end_with_stop) == ("openpmc", True)
    assert len(source.zero_shot_names) == len(source.classes)
    assert source.license == ("CC-BY-NC-4.0" if name == "dermamnist" else "CC-BY-4.0")


def test_no_two_files_share_an_md5_and_some_are_pinned():
    every = [md5 for name in NAMES for md5 in climb_hf.get_source(name).md5.values()]
    assert len(set(every)) == 44
    assert climb_hf.get_source("pathmnist").md5[28] == "a8b06965200029087d5bd730944a56c1"
    assert climb_hf.get_source("organsmnist").md5[224] == "b354719e553fbbb2513d5533f52a4cb1"
    assert hashlib.sha256("".join(every).encode()).hexdigest()[:16] == "54764d5e14fc7fb4"


def test_zero_shot_names_are_the_publishers_but_for_two_sets():
    differ = [name for name in NAMES if climb_hf.get_source(name).zero_shot_names != SETS[name][1]]
    assert differ == ["bloodmnist", "retinamnist"]
    blood, retina = (climb_hf.get_source(name).zero_shot_names for name in differ)
    assert blood[3] == "immature granulocytes (myelocytes, metamyelocytes, and promyelocytes)"
    assert blood[:3] + blood[4:] == SETS["bloodmnist"][1][:3] + SETS["bloodmnist"][1][4:]
    assert retina[1:4] == tuple(
        f"{g} NPDR, non-proliferative diabetic retinopathy" for g in ("mild", "moderate", "severe")
    )
    assert (retina[0], retina[4]) == ("no apparent retinopathy", "PDR, proliferative diabetic retinopathy")


def test_sources_of_the_evaluation_are_told_apart():
    evaluation = set(climb_hf.list_sources(benchmark="openpmc"))
    assert {*NAMES, "skincancer", "pad_ufes_20_6class"} <= evaluation
    assert not evaluation & set(climb_hf.list_sources(benchmark="climb"))
    assert {"ham10000", "pad_ufes_20", "ptbxl"} <= set(climb_hf.list_sources(benchmark="climb"))


def test_counts_of_the_replaced_release():
    replaced = {name: climb_hf.get_source(name).replaced_counts for name in NAMES}
    assert {name: counts for name, counts in replaced.items() if counts} == {
        "organamnist": (34581, 6491, 17778),
        "organcmnist": (13000, 2392, 8268),
        "organsmnist": (13940, 2452, 8829),
    }


@pytest.mark.parametrize("name", ["bloodmnist", "organamnist"])
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("size", [28, 64, 128, 224])
def test_pictures_labels_and_places_by_content(miniatures, tmp_path, name, stored, size):
    folder, expected = miniatures(name, n=16, size=size, stored=stored)
    rows = by_id(load(name, folder, tmp_path, size=size))
    assert list(rows) == [truth.id for truth in expected]
    for truth in expected:
        split, row = rows[truth.id]
        assert (split, row["raw_labels"], row["group"]) == (truth.split, list(truth.values["raw_labels"]), truth.id)
        assert row["image"].mode == "RGB"
        pixels = truth.values["pixels"]
        shown = np.asarray(row["image"])
        np.testing.assert_array_equal(shown, pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, 2))
        facts = {"flag": name, "size": size, "split": truth.id.split("/")[0], "index": truth.values["index"]}
        label = {"label": int(truth.values["raw_labels"][0]), "label_name": truth.values["label_name"]}
        assert row["metadata"] == facts | label


def test_samples_and_ids_are_the_same_at_every_size(miniatures, tmp_path):
    ids = {
        size: {
            key: row["raw_labels"]
            for key, (_, row) in by_id(
                load("octmnist", miniatures("octmnist", size=size)[0], tmp_path, size=size)
            ).items()
        }
        for size in (28, 64)
    }
    assert ids[28] == ids[64]


def test_image_size_resizes_and_the_file_is_the_fingerprint(miniatures, tmp_path):
    folder, _ = miniatures("breastmnist")
    rows = load("breastmnist", folder, tmp_path, image_size=32)
    assert {row["image"].size for part in rows.values() for row in part} == {(32, 32)}
    source = climb_hf.get_source("breastmnist")
    assert [path.name for path in source.fingerprint_files(folder)] == ["breastmnist_224.npz"]


def test_all_sizes_may_lie_in_one_folder_with_other_sets(miniatures, tmp_path):
    for name, size in (("breastmnist", 28), ("breastmnist", 64), ("octmnist", 28)):
        folder, _ = miniatures(name, n=8, size=size)
        shutil.copytree(folder, tmp_path / "raw", dirs_exist_ok=True, ignore=shutil.ignore_patterns(".climb*"))
    options = {"verify": "none", "cache_dir": tmp_path / "cache"}
    sizes = {s: climb_hf.load_dataset("breastmnist", tmp_path / "raw", size=s, **options) for s in (28, 64)}
    assert {s: ds["train"][0]["image"].size for s, ds in sizes.items()} == {28: (28, 28), 64: (64, 64)}
    with pytest.raises(
        LayoutError, match=r"`size=224` needs `breastmnist_224.npz`, found `breastmnist_64.npz`, `breastmn"
    ):
        climb_hf.load_dataset("breastmnist", tmp_path / "raw", **options)


@pytest.mark.parametrize("size", [32, 224.5, "224", True, None])
def test_other_sizes_are_refused(size):
    source = climb_hf.get_source("octmnist")
    with pytest.raises(OptionError, match=r"`size` must be one of \[224, 128, 64, 28\]"):
        source.check_options(Options(extra={"size": size}))


# ---- files that are not what they should be


def test_a_wrong_md5_is_a_warning_and_with_full_an_error(breast, tmp_path, caplog):
    folder, expected = breast
    path = genuine(folder) / "breastmnist.npz"
    md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    message = f"breastmnist.npz` has the MD5 {md5}, published is 750601b1f35ba3300ea97c75c52ff8f6"
    with pytest.raises(CorruptFileError, match=rf"{message}.*10519652; `verify='quick'`"):
        load("breastmnist", folder, tmp_path / "full", size=28, verify="full")
    with pytest.raises(CorruptFileError, match=message):
        climb_hf.load_dataset("breastmnist", folder, size=28, streaming=True, verify="full")
    assert not list((tmp_path / "full").rglob("*.arrow"))
    for verify, n_warnings in (("quick", 1), ("none", 0)):
        caplog.clear()
        rows = load("breastmnist", folder, tmp_path / verify, size=28, verify=verify)
        assert list(by_id(rows)) == [truth.id for truth in expected]
        assert [message in text for text in caplog.messages] == [True] * n_warnings


def test_doctor_looks_at_a_sample_too(breast, monkeypatch, caplog):
    found = diagnose_of("breastmnist", genuine(breast[0]), monkeypatch)
    assert found.recognised
    assert "test: 8 records found, 156 published" in found.findings
    assert "has the MD5" in caplog.text


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_written_by_hand_loads_by_default(tmp_path, name):
    """The publisher's form, from its description alone: no marker, labels in no order, splits of unequal length."""
    n_channels, classes = SETS[name]
    shape = (224, 224) if n_channels == 1 else (224, 224, 3)
    random, arrays = np.random.default_rng(7), {}
    last = len(classes) - 1
    for split, labels in {"test": (1, 0), "val": (last,), "train": range(last, -1, -1)}.items():
        arrays[f"{split}_images"] = random.integers(0, 256, (len(labels), *shape), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.array(labels, np.uint8)[:, None]
    np.savez_compressed(tmp_path / f"{name}_224.npz", **arrays)
    built, source = load(name, tmp_path, tmp_path / "cache"), climb_hf.get_source(name)
    assert list(built) == ["train", "validation", "test"]
    for split, part in zip(("train", "val", "test"), built.values(), strict=True):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"][:, 0].tolist()
        assert part["id"] == part["group"] == [f"{split}/{number}" for number in range(len(labels))]
        concepts = part.features["labels"].feature.names
        assert [[concepts[i] for i in row] for row in part["labels"]] == [[source.concepts[label]] for label in labels]
        assert [row["label_name"] for row in part["metadata"]] == [classes[label] for label in labels]
        for pixels, image in zip(images, part["image"], strict=True):
            np.testing.assert_array_equal(np.asarray(image), pixels if n_channels == 3 else np.stack([pixels] * 3, 2))


def test_the_published_md5_is_accepted(breast, tmp_path, monkeypatch, caplog):
    folder, expected = breast
    content = (genuine(folder) / "breastmnist.npz").read_bytes()
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    monkeypatch.setattr(type(climb_hf.get_source("breastmnist")), "md5", {28: md5})
    assert len(by_id(load("breastmnist", folder, tmp_path / "cache", size=28, verify="full"))) == len(expected)
    assert not caplog.messages


def test_only_files_that_the_marker_names_are_taken_as_synthetic(breast, tmp_path):
    folder, _ = breast
    marker = folder / ".climb_miniature.json"
    facts = json.loads(marker.read_text())
    for content in (json.dumps({**facts, "files": ["other.npz"]}), "[]", "{"):
        marker.write_text(content)
        with pytest.raises(CorruptFileError, match="has the MD5"):
            load("breastmnist", folder, tmp_path / "cache", size=28, verify="full")


def test_the_replaced_release_is_recognised_by_its_counts(miniatures, tmp_path, monkeypatch):
    folder, expected = miniatures("organcmnist", size=28)
    source = type(climb_hf.get_source("organcmnist"))
    assert source.replaced_counts == (13000, 2392, 8268)
    monkeypatch.setattr(source, "replaced_counts", (16, 8, 8))
    assert len(expected) == 32
    with pytest.raises(LayoutError, match=r"MedMNIST v2.0 to v2.2.3 .* v2.2.4 replaced. Download `organcmnist.npz`"):
        load("organcmnist", folder, tmp_path, size=28)
    found = diagnose_of("organcmnist", folder, monkeypatch)
    assert not found.recognised


def diagnose_of(name, folder, monkeypatch):
    monkeypatch.setattr(type(climb_hf.get_source(name)), "extra_options", {"size": 28})
    return diagnose(name, folder)


def test_object_arrays_are_refused_before_anything_is_read(breast, tmp_path):
    folder, _ = breast
    with np.load(folder / "breastmnist.npz") as old:
        labels = np.array([*old["train_labels"].tolist(), None], dtype=object)[:-1]
    rewrite(folder / "breastmnist.npz", train_labels=labels)
    with pytest.raises(CorruptFileError, match=r"`train_labels.npy`: expected numbers, found Python objects"):
        load("breastmnist", folder, tmp_path / "cache", size=28)


def test_arrays_of_another_kind_are_refused(breast, tmp_path):
    folder, _ = breast
    path = folder / "breastmnist.npz"
    whole = path.read_bytes()
    with np.load(path) as old:
        images, labels = old["val_images"], old["val_labels"]
    cases = [
        ({"val_images": None}, r"must hold `val_images` and `val_labels`, found \['test_images'"),
        (
            {"val_images": images[..., :27]},
            r"`val` pictures \(N, 28, 28\) and labels \(N, 1\) of uint8, found \(8, 28, 27\)",
        ),
        ({"val_images": np.repeat(images[..., None], 3, 3)}, r"found \(8, 28, 28, 3\) uint8"),
        ({"val_images": images.astype(np.float32)}, "float32"),
        ({"val_labels": labels[:-1]}, r"\(7, 1\) uint8"),
        ({"val_labels": labels.astype(np.int64)}, "int64"),
        ({"val_labels": np.repeat(labels, 2, 1)}, r"\(8, 2\)"),
    ]
    for changed, message in cases:
        path.write_bytes(whole)
        rewrite(path, **changed)
        with pytest.raises(SchemaError, match=message):
            load("breastmnist", folder, tmp_path / "cache", size=28)


def test_labels_without_a_second_axis_are_read(breast, tmp_path):
    folder, _ = breast
    with np.load(folder / "breastmnist.npz") as old:
        labels = old["test_labels"]
    rewrite(folder / "breastmnist.npz", test_labels=labels[:, 0])
    rows = load("breastmnist", folder, tmp_path / "cache", size=28)["test"]
    assert [r["raw_labels"] for r in rows] == [[str(label)] for label in labels[:, 0]]


def test_an_unknown_label_is_skipped_and_named(miniatures, tmp_path):
    folder, _ = miniatures.copy("pneumoniamnist", tmp_path / "raw", n=64, size=28)
    with np.load(folder / "pneumoniamnist.npz") as old:
        labels = old["train_labels"].copy()
    labels[3] = 7
    rewrite(folder / "pneumoniamnist.npz", train_labels=labels)
    rows = by_id(load("pneumoniamnist", folder, tmp_path / "cache", size=28))
    assert "train/3" not in rows
    assert len(rows) == 63
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    entry = json.loads(log.read_text())
    assert entry["id"] == "train/3"
    assert "'7'" in entry["reason"]


def test_a_class_absent_from_a_split_is_no_error(breast, tmp_path):
    folder, _ = breast
    with np.load(folder / "breastmnist.npz") as old:
        labels = old["test_labels"]
    rewrite(folder / "breastmnist.npz", test_labels=np.zeros_like(labels))
    rows = load("breastmnist", folder, tmp_path / "cache", size=28)
    assert {tuple(r["raw_labels"]) for r in rows["test"]} == {("0",)}
    assert {tuple(r["raw_labels"]) for r in rows["train"]} == {("0",), ("1",)}


def test_truncated_and_damaged_files(breast, tmp_path):
    folder, _ = breast
    path = folder / "breastmnist.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptFileError, match="truncated"):
        load("breastmnist", folder, tmp_path / "cache", size=28)
    with zipfile.ZipFile(path.with_name("x.npz"), "w"):
        pass
    path.write_bytes(path.with_name("x.npz").read_bytes())
    with pytest.raises(SchemaError, match=r"found \[\]"):
        load("breastmnist", folder, tmp_path / "cache", size=28)


# ---- indexing and download


def test_the_index_decompresses_no_pictures(miniatures, monkeypatch):
    folder, expected = miniatures("pathmnist")
    from climb_hf.readers import npz

    monkeypatch.setattr(npz._Inflater, "read", lambda *_: pytest.fail("a picture was decompressed"))
    builder = Climb(config_name="pathmnist", data_dir=str(folder))
    source = climb_hf.get_source("pathmnist")
    records = list(source.index(folder, builder.config.options()))
    assert [record.id for record in records] == [truth.id for truth in expected]


@pytest.mark.parametrize("name", NAMES)
def test_ways_to_the_data(name):
    found = {way.name: way for way in ways(name)}
    assert list(found) == ["zenodo_224", "zenodo_128", "zenodo_64", "zenodo_28"]
    assert all(way.is_open for way in found.values())
    files = {key: part.only for key, way in found.items() for part in way.parts if isinstance(part, Zenodo)}
    assert files == {
        f"zenodo_{size}": (f"{name}{f'_{size}' if size != 28 else ''}.npz",) for size in (224, 128, 64, 28)
    }
    assert {part.record for way in found.values() for part in way.parts} == {"10519652"}
    assert files["zenodo_224"][0] in climb_hf.get_source(name).how_to_get[0]


# ---- the maker


@pytest.mark.parametrize("name", NAMES)
def test_miniatures_are_the_publishers_files(miniatures, name):
    n_channels, classes = SETS[name]
    folder, expected = miniatures(name, n=4 * len(classes), size=28)
    keys = [f"{split}_{kind}" for split in ("train", "val", "test") for kind in ("images", "labels")]
    with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
        assert arrays.files == keys
        for split in ("train", "val", "test"):
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
            assert images.shape == (len(labels), 28, 28, 3)[: 4 if n_channels == 3 else 3]
            assert (images.dtype, labels.dtype, labels.shape) == ("uint8", "uint8", (len(images), 1))
            assert set(labels[:, 0].tolist()) == set(range(len(classes)))
    assert len(expected) == 4 * len(classes)


def test_miniatures_are_the_same_bytes_every_time(tmp_path):
    written = [
        (
            climb_hf.miniature("bloodmnist", tmp_path / d, n=9, seed=s, size=28),
            (tmp_path / d / "bloodmnist.npz").read_bytes(),
        )
        for d, s in (("a", 3), ("b", 3), ("c", 4))
    ]
    assert written[0][1] == written[1][1] != written[2][1]
