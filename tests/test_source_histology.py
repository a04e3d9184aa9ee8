"""Oddities of `pcam`, `nct_crc_he`, `bach`, `sicapv2` and the halves of `lc25000`, on miniatures."""

import csv
import gzip
import hashlib
from collections import Counter, defaultdict

import numpy as np
import pytest
from PIL import Image
from source_helpers import by_id, left_out

import climb_hf
from climb_hf.errors import ClimbError, LayoutError, OptionError, SchemaError, SplitError
from climb_hf.indexing import build_index
from climb_hf.source import Options

h5py = pytest.importorskip("h5py")
NAMES = ("pcam", "nct_crc_he", "lc25000_lung", "lc25000_colon", "bach", "sicapv2")
ZERO_SHOT = {  # names, full stop: as the evaluation's code has them
    "pcam": ("lymph node|lymph node containing metastatic tumor tissue", False),
    "nct_crc_he": (
        "adipose|debris|lymphocytes|mucus|smooth muscle|normal colon mucosa|cancer-associated stroma|"
        "colorectal adenocarcinoma epithelium",
        False,
    ),
    "lc25000_lung": ("benign lung|lung adenocarcinoma|lung squamous cell carcinoma", True),
    "lc25000_colon": ("benign colonic tissue|colon adenocarcinoma", True),
    "bach": (
        "breast non-malignant benign tissue|breast malignant in-situ carcinoma|breast malignant invasive carcinoma|"
        "breast normal breast tissue",
        False,
    ),
    "sicapv2": (
        "benign glands|atrophic dense glands|cribriform ill-formed fused papillary patterns|"
        "isolated nest cells without lumen roseting patterns",
        True,
    ),
}


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def index_of(name, root, **options):
    """Return the index of a folder; nothing is decoded, so the pictures need not be there."""
    source = climb_hf.get_source(name)
    extra = {key: options.pop(key, default) for key, default in source.extra_options.items()}
    checked = Options(**options, extra=extra)
    source.check_options(checked)
    return build_index(source, source.find_root(root), checked)


def split_of(index):
    return {record.id: split for split, records in index.splits.items() for record in records}


def digest(ids):
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()[:16]


# ---- all


@pytest.mark.parametrize("name", NAMES)
def test_facts_of_the_evaluation(name):
    source = climb_hf.get_source(name)
    names, ends_with_stop = ZERO_SHOT[name]
    assert (source.zero_shot_names, source.prompts_end_with_stop) == (tuple(names.split("|")), ends_with_stop)
    assert source.benchmark == "openpmc"
    assert climb_hf.get_source("lc25000").benchmark == "climb"
    assert climb_hf.get_source("lc25000").zero_shot_names == ()


@pytest.mark.parametrize("name", NAMES)
def test_miniatures_repeat_to_the_byte_and_can_be_told_apart(miniatures, tmp_path, name):
    folder, expected = miniatures(name)
    first, again, other = (climb_hf.miniature(name, tmp_path / key, n=9, seed=int(key == "c")) for key in "abc")
    assert first == again
    assert [row.classes for row in other] == [row.classes for row in first]
    contents = [
        {p.relative_to(tmp_path / key): p.read_bytes() for p in (tmp_path / key).rglob("*") if p.is_file()}
        for key in "abc"
    ]
    assert contents[0] == contents[1] != contents[2]
    rows = by_id(load(name, folder, tmp_path / "cache", image_size=64))
    colours = defaultdict(list)
    for truth in expected:
        picture = np.asarray(rows[truth.id][1]["image"].convert("RGB"), float) / 255
        colours[truth.classes].append([*picture.mean(axis=(0, 1)), *picture.std(axis=(0, 1))])
    centres = {label: np.mean(values[::2], axis=0) for label, values in colours.items()}
    hits = [
        min(centres, key=lambda other: np.linalg.norm(centres[other] - value)) == label
        for label, values in colours.items()
        for value in values[1::2]
    ]
    assert np.mean(hits) > 0.8, "nearest mean colour of the other half"


# ---- pcam


@pytest.mark.parametrize("layout", ["gz", "h5"])
def test_pcam_rows_are_those_of_the_files(miniatures, tmp_path, layout):
    folder, expected = miniatures("pcam", layout=layout, with_mask=True)
    rows = by_id(load("pcam", folder, tmp_path))
    assert Counter(split for split, _ in rows.values()) == {"train": 16, "validation": 8, "test": 8}
    arrays = {}
    for path in folder.glob("*_[xy].h5*"):
        plain = tmp_path / path.name.removesuffix(".gz")
        plain.write_bytes(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
        with h5py.File(plain) as file:
            arrays.update({(path.name.split("_")[4], key): values[()] for key, values in file.items()})
    for truth in expected:
        split, row = rows[truth.id]
        word, number = truth.id.split("_")
        assert split == {"valid": "validation"}.get(word, word)
        assert (np.asarray(row["image"]) == arrays[word, "x"][int(number)]).all()
        assert row["raw_labels"] == [str(arrays[word, "y"][int(number)].item())]
        for key in ("wsi", "coord_x", "coord_y", "tumor_patch", "index"):
            assert row["metadata"][key] == truth.values[key]
        if word == "train":
            assert (np.asarray(row["mask"]) == 255).sum() == truth.values["mask_pixels"]
        else:
            assert row["mask"] is None


def test_pcam_label_is_the_centre_and_not_the_patch(miniatures, tmp_path):
    folder, expected = miniatures("pcam")
    outside = [row for row in expected if row.values["tumor_patch"] and row.classes == ("No metastatic tumor",)]
    assert outside
    rows = by_id(load("pcam", folder, tmp_path))
    for truth in outside:
        _, row = rows[truth.id]
        assert row["raw_labels"] == ["0"]
        assert (row["metadata"]["tumor_patch"], row["metadata"]["center_tumor_patch"]) == (True, False)


def test_pcam_groups_are_slides_and_without_tables_patches(miniatures, tmp_path):
    folder, expected = miniatures("pcam")
    groups = Counter(record.group for records in index_of("pcam", folder).splits.values() for record in records)
    assert groups == Counter(row.values["wsi"] for row in expected)
    assert max(groups.values()) == 2
    bare, expected = miniatures("pcam", with_meta=False)
    assert {r.id: r.group for records in index_of("pcam", bare).splits.values() for r in records} == {
        row.id: row.id for row in expected
    }


def test_pcam_resized_at_build(miniatures, tmp_path):
    folder, _ = miniatures("pcam", with_mask=True)
    row = load("pcam", folder, tmp_path, image_size=48)["train"][1]
    assert row["image"].size == row["mask"].size == (48, 48)
    assert set(np.unique(np.asarray(row["mask"]))) <= {0, 255}


def test_pcam_partial_download_and_files_without_labels(miniatures, tmp_path):
    folder, expected = miniatures.copy("pcam", tmp_path / "raw", layout="h5")
    (folder / "camelyonpatch_level_2_split_train_y.h5").unlink()
    index = index_of("pcam", folder)
    assert set(split_of(index)) == {row.id for row in expected if row.split != "train"}
    assert index.left_out == {"file of pictures without its file of labels": 1}
    (folder / "camelyonpatch_level_2_split_test_x.h5").unlink()
    with pytest.raises(ClimbError, match=r"camelyonpatch_level_2_split_test_x\.h5"):
        load("pcam", folder, tmp_path / "cache")


def test_pcam_tables_that_do_not_fit_are_refused(miniatures, tmp_path):
    folder, _ = miniatures.copy("pcam", tmp_path / "raw")
    table = folder / "camelyonpatch_level_2_split_test_meta.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(SchemaError, match=r"test_meta\.csv` has 7 rows, but .*_y` 8 labels"):
        index_of("pcam", folder)
    swapped = [lines[0], lines[2], lines[1], *lines[3:]]
    table.write_text("\n".join(swapped) + "\n")
    index = index_of("pcam", folder)
    assert [failure.id for failure in index.failures] == ["test_000000", "test_000001"]
    assert "`center_tumor_patch` to be the label" in index.failures[0].reason


def test_pcam_refuses_other_arrays_and_the_kaggle_release(miniatures, tmp_path):
    folder, _ = miniatures.copy("pcam", tmp_path / "raw", layout="h5")
    with h5py.File(folder / "camelyonpatch_level_2_split_test_x.h5", "w") as file:
        file["x"] = np.zeros((8, 64, 64, 3), np.uint8)
    with pytest.raises(ClimbError, match=r"expected rows of \(96, 96, 3\) uint8, found \(64, 64, 3\) uint8"):
        load("pcam", folder, tmp_path / "cache", strict=True)
    (tmp_path / "kaggle" / "train").mkdir(parents=True)
    (tmp_path / "kaggle" / "train_labels.csv").write_text("id,label\n")
    with pytest.raises(LayoutError, match=r"histopathologic-cancer-detection.*zenodo"):
        load("pcam", tmp_path / "kaggle", tmp_path / "cache")


# ---- nct_crc_he


@pytest.mark.parametrize("layout", ["zenodo", "nested", "classes"])
def test_nct_finds_sets_and_classes_in_every_layout(miniatures, tmp_path, layout):
    folder, expected = miniatures("nct_crc_he", layout=layout)
    rows = by_id(load("nct_crc_he", folder, tmp_path))
    assert {i: (s, r["raw_labels"], r["metadata"]["folder"]) for i, (s, r) in rows.items()} == {
        t.id: (t.split, list(t.values["raw_labels"]), t.values["raw_labels"][0]) for t in expected
    }
    assert left_out(tmp_path) == {"background (`include_background=False`)": 2}
    for truth in expected:
        _, row = rows[truth.id]
        assert row["image"].size == (224, 224)
        assert np.asarray(row["image"]).mean() == pytest.approx(truth.values["tone"])


def test_nct_background_is_a_ninth_class_on_request(miniatures, tmp_path):
    folder, expected = miniatures("nct_crc_he")
    full = load("nct_crc_he", folder, tmp_path, include_background=True)
    assert sum(map(len, full.values())) == len(expected) + 2
    names = full["train"].features["labels"].feature.names
    found = {names[row["labels"][0]] for part in full.values() for row in part}
    assert len(found) == 9
    assert "colon_tissue.background" in found
    assert len(climb_hf.get_source("nct_crc_he").classes) == 8
    assert len(climb_hf.get_source("nct_crc_he").vocabulary("include_background").classes) == 9


def test_nct_variant_takes_the_train_patches_before_normalisation(miniatures, tmp_path):
    folder, expected = miniatures("nct_crc_he", with_nonorm=True)
    plain = by_id(load("nct_crc_he", folder, tmp_path))
    other = by_id(load("nct_crc_he", folder, tmp_path, variant="nonorm"))
    assert {i: s for i, (s, _) in plain.items()} == {i: s for i, (s, _) in other.items()}
    for truth in expected:
        tones = [np.asarray(rows[truth.id][1]["image"]).mean() for rows in (plain, other)]
        if truth.split == "train":
            assert tones[1] == pytest.approx(tones[0] / 2 + 90, abs=1)
            assert other[truth.id][1]["metadata"]["variant"] == "nonorm"
        else:
            assert tones[0] == tones[1]
    assert set(split_of(index_of("nct_crc_he", folder / "NCT-CRC-HE-100K-NONORM", variant="nonorm")).values()) == {
        "train"
    }
    bare, _ = miniatures("nct_crc_he")
    with pytest.raises(LayoutError, match="NCT-CRC-HE-100K-NONORM"):
        index_of("nct_crc_he", bare, variant="nonorm")
    with pytest.raises(OptionError, match="`variant` must be 'norm' or 'nonorm', got 'raw'"):
        load("nct_crc_he", folder, tmp_path, variant="raw")


def test_nct_misplaced_and_doubled_files_are_left_out(miniatures, tmp_path):
    folder, expected = miniatures.copy("nct_crc_he", tmp_path / "raw")
    truth = expected[0]
    source = folder / truth.values["file"]
    (folder / "NCT-CRC-HE-100K" / "TUM" / source.name).write_bytes(source.read_bytes())
    (folder / "NCT-CRC-HE-100K" / "copy" / "ADI").mkdir(parents=True)
    (folder / "NCT-CRC-HE-100K" / "copy" / "ADI" / source.name).write_bytes(source.read_bytes())
    (folder / "CRC-VAL-HE-7K" / "._ADI-x.tif").write_bytes(b"x")
    index = index_of("nct_crc_he", folder)
    assert set(split_of(index)) == {row.id for row in expected}
    assert index.left_out == {
        "background (`include_background=False`)": 2,
        "second file of one name": 1,
        "picture outside the class folders, or named after another class": 1,
    }


# ---- the halves of lc25000


@pytest.mark.parametrize(
    ("name", "organ", "sizes", "hashed"),
    [
        ("lc25000_lung", "lung", (12000, 3000), "f562c2d857420c96"),
        ("lc25000_colon", "colon", (8000, 2000), "b6c882bd97b998f4"),
    ],
)
def test_lc25000_halves_read_one_organ_and_draw_the_sizes_of_the_evaluation(
    miniatures, tmp_path, name, organ, sizes, hashed
):
    folder, expected = miniatures(name)
    rows = by_id(load(name, folder, tmp_path / "cache"))
    assert set(rows) == {row.id for row in expected}
    assert {row["metadata"]["organ"] for _, row in rows.values()} == {organ}
    assert len(list(folder.rglob("*.jpeg"))) > len(expected), "the other organ lies beside it"
    source = climb_hf.get_source(name)
    assert tuple(source.published_splits.values()) == sizes
    drawn = {
        f"{kind}/{number}": split
        for kind in source.folders
        for number, split in source._drawn(kind, Options(split_by="random")).items()
    }
    assert tuple(Counter(drawn.values())[split] for split in ("train", "test")) == sizes
    test = [identity for identity, split in drawn.items() if split == "test"]
    assert digest(test) == hashed
    assert all(900 < count < 1100 for count in Counter(identity.split("/")[0] for identity in test).values())
    found = index_of(name, folder, split_by="random")
    assert {
        f"{r.raw_labels[0]}/{r.metadata['number']}": s for s, records in found.splits.items() for r in records
    } == {
        f"{row.values['raw_labels'][0]}/{row.values['number']}": drawn[
            f"{row.values['raw_labels'][0]}/{row.values['number']}"
        ]
        for row in expected
    }
    with pytest.raises(SplitError, match=r"drawn without a seed.*`random` has its sizes"):
        load(name, folder, tmp_path / "cache", split_by="openpmc")


def test_lc25000_half_keeps_siblings_together_by_a_table(miniatures, tmp_path):
    folder, expected = miniatures("lc25000_lung", 60, with_clusters=True)
    cluster = {row.id: row.values["cluster"] for row in expected}
    parts = defaultdict(set)
    for identity, (split, _) in by_id(load("lc25000_lung", folder, tmp_path, grouped=str(folder))).items():
        parts[cluster[identity]].add(split)
    assert set(map(len, parts.values())) == {1}


# ---- bach


def test_bach_splits_are_those_of_their_rules(tmp_path):
    photos = tmp_path / "Photos"
    rows = []
    for folder, stem in {"Normal": "n", "Benign": "b", "InSitu": "is", "Invasive": "iv"}.items():
        (photos / folder).mkdir(parents=True)
        for number in range(1, 101):
            (photos / folder / f"{stem}{number:03d}.tif").touch()
            rows.append([f"{stem}{number:03d}.tif", folder])
    with (photos / "microscopy_ground_truth.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    official, openpmc = index_of("bach", tmp_path), index_of("bach", tmp_path, split_by="openpmc")

    def sizes(index):
        return [
            [
                sum(r.raw_labels == (c,) for r in index.splits[split])
                for c in ("Benign", "InSitu", "Invasive", "Normal")
            ]
            for split in ("train", "test")
        ]

    assert sizes(official) == [[52, 70, 69, 77], [48, 30, 31, 23]]
    assert sizes(openpmc) == [[77, 80, 74, 69], [23, 20, 26, 31]]
    first = {record.id for record in openpmc.splits["test"]}
    assert {"is034", "iv003", "iv094", "b089", "b056", "b037"} <= first  # positions 133, 202, 293, 88, 55, 36
    assert digest(first) == "9d7aff6aeff1843f"
    assert digest(record.id for record in official.splits["test"]) == "24c00acff2c3287c"
    for path in [*photos.glob("Benign/*")][::2]:
        path.unlink()
    assert split_of(index_of("bach", tmp_path, split_by="openpmc")) == split_of(openpmc), "whatever files are there"


def test_bach_table_without_header_and_copies_without_a_table(miniatures, tmp_path):
    folder, expected = miniatures("bach")
    assert (
        (folder / "ICIAR2018_BACH_Challenge/Photos/microscopy_ground_truth.csv").read_text().startswith("n004.tif,N")
    )
    rows = by_id(load("bach", folder, tmp_path))
    bare, _ = miniatures("bach", with_table=False, with_test=True)
    same = by_id(load("bach", bare, tmp_path))
    assert {i: (s, r["raw_labels"]) for i, (s, r) in rows.items()} == {
        t.id: (t.split, list(t.values["raw_labels"])) for t in expected
    }
    assert set(same) == set(rows)
    assert all(same[i][0] == rows[i][0] and same[i][1]["labels"] == rows[i][1]["labels"] for i in rows)
    assert {row["image"].size for _, row in rows.values()} == {(256, 192)}


def test_bach_missing_unlisted_and_wrong_photos(miniatures, tmp_path):
    folder, expected = miniatures.copy("bach", tmp_path / "raw")
    photos = folder / "ICIAR2018_BACH_Challenge" / "Photos"
    table = photos / "microscopy_ground_truth.csv"
    lines = table.read_text().splitlines()
    victim = expected[0]
    (folder / victim.values["file"]).unlink()
    table.write_text("\n".join([*lines[:-1], "is042.tif,Normal"]) + "\n")
    index = index_of("bach", folder)
    assert index.left_out == {"photo that the table does not list": 1}
    (failure,) = index.failures
    assert (failure.id, failure.error) == ("is042", "SchemaError")
    assert victim.id in split_of(index), "listed, so the build names it"
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(ClimbError, match=victim.id):
        load("bach", folder, tmp_path / "cache", strict=True)


def test_bach_refuses_the_unlabelled_photos(miniatures, tmp_path):
    folder, _ = miniatures("bach", with_test=True)
    with pytest.raises(LayoutError, match="test photos have no labels"):
        load("bach", folder / "ICIAR2018_BACH_Challenge_TestDataset", tmp_path)


# ---- sicapv2


@pytest.mark.parametrize(
    ("masks", "tables", "with_slides"), [("png", "full", True), ("jpg", "reduced", True), ("none", "full", False)]
)
def test_sicapv2_tables_masks_and_names(miniatures, tmp_path, masks, tables, with_slides):
    folder, expected = miniatures("sicapv2", masks=masks, tables=tables, with_slides=with_slides)
    rows = by_id(load("sicapv2", folder, tmp_path))
    assert left_out(tmp_path) == {"picture that is in no table of the partition": 1}
    code = {"NC": 0, "G3": 1, "G4": 2, "G5": 3}
    for truth in expected:
        split, row = rows[truth.id]
        about = row["metadata"]
        assert (split, row["group"], row["raw_labels"]) == (truth.split, truth.group, list(truth.values["raw_labels"]))
        assert (about["slide"], about["xini"], about["yini"]) == tuple(
            truth.values[k] for k in ("slide", "xini", "yini")
        )
        assert about["cribriform"] == truth.values["cribriform"]
        assert about.get("patient") == (str(truth.values["patient"]) if with_slides else None)
        if masks == "png":
            mask = np.asarray(row["mask"])
            assert set(np.unique(mask)) == {0, code[row["raw_labels"][0]]}
            assert (mask > 0).sum() == truth.values["inside"]
        assert (row["mask"] is None) == (masks == "none")
    benign = [row["metadata"] for _, row in rows.values() if row["raw_labels"] == ["NC"]]
    assert not with_slides or {(a["gleason_primary"], a["gleason_secondary"]) for a in benign} == {(0, 0)}
    assert any(row.values["cribriform"] for row in expected) == (tables == "full")


def test_sicapv2_folds_cut_the_train_part_by_patient(miniatures, tmp_path):
    folder, expected = miniatures("sicapv2")
    seen = Counter()
    for fold in range(1, 5):
        index = index_of("sicapv2", folder, split_by=f"val{fold}")
        assert split_of(index) == {
            row.id: "test" if row.split == "test" else "validation" if row.values["fold"] == fold else "train"
            for row in expected
        }
        seen.update(record.id for record in index.splits["validation"])
    assert seen == Counter(row.id for row in expected if row.split == "train")
    patients = {split: {r.group for r in records} for split, records in index.splits.items()}
    assert not patients["train"] & patients["validation"]


def test_sicapv2_mask_is_resized_without_new_codes(miniatures, tmp_path):
    folder, _ = miniatures("sicapv2")
    for row in load("sicapv2", folder, tmp_path, image_size=100)["train"]:
        assert row["image"].size == row["mask"].size == (100, 100)
        assert set(np.unique(np.asarray(row["mask"]))) <= {0, 1, 2, 3}


def test_sicapv2_patients_in_both_parts_fall_back_to_slides(miniatures, tmp_path, caplog):
    from climb_hf.miniatures._xlsx import write_xlsx

    folder, expected = miniatures.copy("sicapv2", tmp_path / "raw")
    slides = sorted({row.values["slide"] for row in expected})
    write_xlsx(folder / "SICAPv2/wsi_labels.xlsx", [("slide_id", "patient_id"), *((slide, 7) for slide in slides)])
    index = index_of("sicapv2", folder)
    assert {r.id: r.group for records in index.splits.values() for r in records} == {
        row.id: row.values["slide"] for row in expected
    }
    assert "1 patients are in several parts" in caplog.text
    write_xlsx(folder / "SICAPv2/wsi_labels.xlsx", [("slide_id", "patient_id"), (slides[0], 7), (slides[0], 8)])
    with pytest.raises(SchemaError, match=f"lists the slide `{slides[0]}` twice"):
        index_of("sicapv2", folder)


def test_sicapv2_rows_without_one_label_and_missing_files(miniatures, tmp_path):
    from climb_hf.miniatures._xlsx import write_xlsx

    folder, expected = miniatures.copy("sicapv2", tmp_path / "raw")
    test = [row for row in expected if row.split == "test"]
    cells = [(row.id, 1, 0, 0, 0) for row in test]
    cells[0], cells[1] = (test[0].id, 0, 0, 0, 0), (test[1].id, 1, 1, 0, 0)
    table = folder / "SICAPv2/partition/Test/Test.xlsx"
    write_xlsx(table, [("image_name", "NC", "G3", "G4", "G5"), *cells])
    index = index_of("sicapv2", folder)
    assert [failure.reason.partition(", found ")[2] for failure in index.failures] == ["[].", "['NC', 'G3']."]
    table.unlink()
    with pytest.raises(LayoutError, match=r"`Test\.xlsx` not found"):
        index_of("sicapv2", folder)


def test_pictures_open_as_their_publishers_write_them(miniatures):
    for name, kind in {"nct_crc_he": "TIFF", "bach": "TIFF", "sicapv2": "JPEG", "lc25000_lung": "JPEG"}.items():
        folder, expected = miniatures(name)
        file = expected[0].values.get("file") or next(folder.rglob(expected[0].id.split("/")[1])).relative_to(folder)
        with Image.open(folder / file) as picture:
            assert (picture.format, picture.mode) == (kind, "RGB")
