"""Raw copies of the tissue sources of Open-PMC-18M, written here file by file: what a record is, by its pixels."""

import gzip

import numpy as np
import pytest
from PIL import Image
from source_helpers import by_id, left_out

import climb_hf
from climb_hf.errors import SplitError
from climb_hf.miniatures._xlsx import write_xlsx

TISSUES = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
PCAM = "camelyonpatch_level_2_split_{}_{}"
PATCH = "{}_Block_Region_{}_10_1_xini_8636_yini_63869"
SIZES = {  # train, validation and test as they are published
    "pcam": {"train": 262144, "validation": 32768, "test": 32768},
    "nct_crc_he": {"train": 89434, "test": 6333},
    "lc25000_lung": {"train": 12000, "test": 3000},
    "lc25000_colon": {"train": 8000, "test": 2000},
    "bach": {"train": 300, "test": 100},
    "sicapv2": {"train": 9959, "test": 2122},
}


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def flat(path, tone, size=(8, 8), **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (tone, tone, tone)).save(path, **how)


def shown(dataset):
    """Return (split, raw label, class, tone of the picture) of every row, in order."""
    names = next(iter(dataset.values())).features["labels"].feature.names
    return [
        (split, *row["raw_labels"], *(names[k].split(".")[1] for k in row["labels"]), row["image"].getpixel((3, 3))[0])
        for split, part in dataset.items()
        for row in part
    ]


@pytest.mark.parametrize("name", SIZES)
def test_published_sizes(name):
    assert dict(climb_hf.get_source(name).published_splits) == SIZES[name]


def test_pcam_rows_go_together_by_place_in_three_files(tmp_path):
    h5py = pytest.importorskip("h5py")
    root = tmp_path / "raw"
    root.mkdir()
    for start, (word, labels) in {10: ("train", "0110"), 50: ("valid", "10"), 90: ("test", "001")}.items():
        pictures = np.stack([np.full((96, 96, 3), start + k, np.uint8) for k in range(len(labels))])
        values = np.array([int(c) for c in labels], np.uint8).reshape(-1, 1, 1, 1)
        for key, array in {"x": pictures, "y": values}.items():
            path = root / f"{PCAM.format(word, key)}.h5"
            with h5py.File(path, "w") as file:
                file[key] = array
            if word != "test":  # one split unpacked, two not
                path.with_suffix(".h5.gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
        rows = [
            f"{k},{7 + k},{900 + k},True,{c == '1'},camelyon16_{word}_tumor_03{k // 2}" for k, c in enumerate(labels)
        ]
        text = "\n".join([",coord_y,coord_x,tumor_patch,center_tumor_patch,wsi", *rows])
        (root / f"{PCAM.format(word, 'meta')}.csv").write_text(f"{text}\n")
    dataset = load("pcam", root, tmp_path / "cache")
    no, yes = "no_metastatic_tumor", "metastatic_tumor"
    assert shown(dataset) == [
        ("train", "0", no, 10), ("train", "1", yes, 11), ("train", "1", yes, 12), ("train", "0", no, 13),
        ("validation", "1", yes, 50), ("validation", "0", no, 51),
        ("test", "0", no, 90), ("test", "0", no, 91), ("test", "1", yes, 92),
    ]  # fmt: skip
    about = dataset["train"][3]["metadata"]
    assert (about["coord_y"], about["coord_x"], about["index"], about["tumor_patch"]) == (10, 903, 3, True)
    assert dataset["train"]["group"] == ["camelyon16_train_tumor_030"] * 2 + ["camelyon16_train_tumor_031"] * 2


@pytest.fixture
def colorectal(tmp_path):
    """The three archives, each unpacked in its own way; the tone tells set and class."""
    root = tmp_path / "raw"
    for place, tissue in enumerate(TISSUES):
        flat(root / f"NCT-CRC-HE-100K/{tissue}/{tissue}-AAAFLCLY.tif", 10 + place)
        flat(root / f"NCT-CRC-HE-100K-NONORM/{tissue}/{tissue}-AAAFLCLY.tif", 50 + place)
        flat(root / f"CRC-VAL-HE-7K/CRC-VAL-HE-7K/{tissue}/{tissue}-TCGA-AAICEQFN.tif", 90 + place)
    return root


def test_nct_classes_sets_and_ids(colorectal, tmp_path):
    names = (
        "adipose", "background", "debris", "lymphocytes", "mucus", "smooth_muscle", "normal_colon_mucosa",
        "cancer_associated_stroma", "colorectal_adenocarcinoma_epithelium",
    )  # fmt: skip

    def rows(train, places):
        return [
            (split, TISSUES[k], names[k], tone + k) for split, tone in (("train", train), ("test", 90)) for k in places
        ]

    eight = [0, *range(2, 9)]
    assert shown(load("nct_crc_he", colorectal, tmp_path / "a")) == rows(10, eight)
    assert shown(load("nct_crc_he", colorectal, tmp_path / "b", variant="nonorm")) == rows(50, eight)
    full = load("nct_crc_he", colorectal, tmp_path / "c", include_background=True)
    assert shown(full) == rows(10, range(9))
    assert full["test"]["id"][:2] == ["ADI-TCGA-AAICEQFN", "BACK-TCGA-AAICEQFN"]
    source = climb_hf.get_source("nct_crc_he")
    assert tuple(concept.split(".")[1] for concept in source.concepts) == tuple(names[k] for k in eight)
    assert tuple(c.split(".")[1] for c in source.vocabulary("include_background").concepts) == names


def test_nct_patches_of_the_other_variant_are_counted(colorectal, tmp_path):
    (colorectal / "NCT-CRC-HE-100K").rename(tmp_path / "elsewhere")
    assert set(load("nct_crc_he", colorectal, tmp_path / "cache")) == {"test"}
    assert left_out(tmp_path / "cache") == {
        "background (`include_background=False`)": 1,
        "patch of `variant='nonorm'`": 9,
    }


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("lc25000_lung", {"lung_n": "benign", "lung_aca": "adenocarcinoma", "lung_scc": "squamous_cell_carcinoma"}),
        ("lc25000_colon", {"colon_n": "benign", "colon_aca": "adenocarcinoma"}),
    ],
)
def test_lc25000_halves_by_folder_and_number(tmp_path, name, classes):
    stems = {
        "lung_n": "lungn", "lung_aca": "lungaca", "lung_scc": "lungscc", "colon_n": "colonn", "colon_aca": "colonca",
    }  # fmt: skip
    root = tmp_path / "raw"
    for place, (folder, stem) in enumerate(stems.items()):
        for number in range(1, 13):
            organ = folder.partition("_")[0]
            file = root / f"lung_colon_image_set/{organ}_image_sets/{folder}/{stem}{number}.jpeg"
            flat(file, 40 * place + number, (768, 768), quality=100)
    dataset = load(name, root, tmp_path / "cache")
    rows = by_id(dataset)
    assert list(classes) == list(climb_hf.get_source(name).folders)
    assert sorted(shown(dataset), key=lambda row: row[3]) == sorted(
        [
            (rows[f"{folder}/{stems[folder]}{number}.jpeg"][0], folder, called, 40 * [*stems].index(folder) + number)
            for folder, called in classes.items()
            for number in range(1, 13)
        ],
        key=lambda row: row[3],
    )
    for part in dataset.values():
        order = [([*classes].index(about["folder"]), about["number"]) for about in part["metadata"]]
        assert order == sorted(order), "2 before 10"
    for split_by in ("openpmc", "paper"):
        with pytest.raises(SplitError, match=r"drawn without a seed.*`random` has its sizes"):
            load(name, root, tmp_path / "cache", split_by=split_by)


def test_lc25000_cluster_tables_that_change_are_seen(tmp_path, monkeypatch):
    for number in range(1, 5):
        flat(tmp_path / f"raw/lung_n/lungn{number}.jpeg", number, (768, 768))
    monkeypatch.setenv("HOME", str(tmp_path))
    table = tmp_path / "annotations/lung_n/UNI/resize_only/final_clusters.csv"
    table.parent.mkdir(parents=True)
    for path in ("annotations", "~/annotations", f"~/{table.relative_to(tmp_path)}"):
        for cluster in (7, 41):
            rows = [f"{cluster},./LC25000/lung_n/lungn{number}.jpeg" for number in range(1, 5)]
            table.write_text("\n".join(["cluster_label,img_path", *rows]) + "\n")
            grouped = path if path.startswith("~") else str(tmp_path / path)
            dataset = load("lc25000_lung", tmp_path / "raw", tmp_path / "cache", grouped=grouped)
            assert {row["group"] for _, row in by_id(dataset).values()} == {f"lung_n/cluster{cluster}"}, path


def test_bach_class_order_and_patient_split(tmp_path):
    photos = tmp_path / "raw" / "ICIAR2018_BACH_Challenge" / "Photos"
    rows = []
    for folder, stem in {"Normal": "n", "Benign": "b", "InSitu": "is", "Invasive": "iv"}.items():
        for number in (41, 42, 100):
            flat(photos / folder / f"{stem}{number:03d}.tif", len(rows) + 1, (2048, 1536))
            rows.append(f"{stem}{number:03d}.tif,{folder}")
    (photos / "microscopy_ground_truth.csv").write_text("\n".join(rows) + "\n")
    dataset = load("bach", tmp_path / "raw", tmp_path / "cache")
    names = ("normal", "benign", "carcinoma_in_situ", "invasive_carcinoma")
    found = {(tone, split, raw, called) for split, raw, called, tone in shown(dataset)}
    places = {"n": (340, 341, 399), "b": (40, 41, 99), "is": (140, 141, 199), "iv": (240, 241, 299)}
    train = {340, 341, 399, 40, 99, 199, 299}  # positions by class folder and name; the other five are held out
    assert found == {
        (3 * k + j + 1, "train" if place in train else "test", rows[3 * k].partition(",")[2], names[k])
        for k, stem in enumerate(places)
        for j, place in enumerate(places[stem])
    }
    assert dataset["train"]["id"] == ["n041", "n042", "n100", "b041", "b100", "is100", "iv100"], "order of the table"
    assert {picture.size for picture in dataset["test"]["image"]} == {(2048, 1536)}
    concepts = climb_hf.get_source("bach").concepts
    assert [c.split(".")[1] for c in concepts] == ["benign", "carcinoma_in_situ", "invasive_carcinoma", "normal"]


@pytest.fixture
def prostate(tmp_path):
    """Two slides of one patient in train, one in test; the tone of a patch is its place."""
    root = tmp_path / "raw" / "SICAPv2"
    grades = ("NC", "G3", "G4", "G5")
    parts = {"Train": [("16B0001851", "NC"), ("16B0003388", "G4"), ("16B0003388", "G5")]}
    parts["Test"] = [("17B0022915", "G3"), ("17B0022915", "G4")]
    place = 0
    for part, patches in parts.items():
        rows = []
        for slide, grade in patches:
            place += 1
            name = PATCH.format(slide, place)
            flat(root / f"images/{name}.jpg", 20 * place, (512, 512), quality=100)
            (root / "masks").mkdir(exist_ok=True)
            Image.new("L", (512, 512), grades.index(grade)).save(root / f"masks/{name}.png")
            rows.append((f"{name}.jpg", *(int(grade == g) for g in grades), int(place == 2)))
        write_xlsx(root / f"partition/Test/{part}.xlsx", [("image_name", *grades, "G4C"), *rows])
    slides = [("16B0001851", 31, 0, 0), ("16B0003388", 31, 4, 5), ("17B0022915", 32, 3, 4)]
    write_xlsx(root / "wsi_labels.xlsx", [("slide_id", "patient_id", "Gleason_primary", "Gleason_secondary"), *slides])
    return root


def test_sicapv2_grades_masks_patients_and_names(prostate, tmp_path):
    dataset = load("sicapv2", prostate.parent, tmp_path / "cache")
    grade = "gleason_grade_{}".format
    assert shown(dataset) == [
        ("train", "NC", "non_cancerous", 20), ("train", "G4", grade(4), 40), ("train", "G5", grade(5), 60),
        ("test", "G3", grade(3), 80), ("test", "G4", grade(4), 100),
    ]  # fmt: skip
    assert [np.unique(row["mask"]).tolist() for part in dataset.values() for row in part] == [[0], [2], [3], [1], [2]]
    assert {split: set(part["group"]) for split, part in dataset.items()} == {"train": {"31"}, "test": {"32"}}
    row = dataset["train"][1]
    assert row["id"] == f"{PATCH.format('16B0003388', 2)}.jpg"
    assert row["metadata"] == {
        "slide": "16B0003388", "region": 2, "tile_y": 10, "tile_x": 1, "xini": 8636, "yini": 63869, "cribriform": True,
        "patient": "31", "gleason_primary": 4, "gleason_secondary": 5,
    }  # fmt: skip


def test_sicapv2_files_that_come_later_are_seen(prostate, tmp_path):
    (prostate / "masks").rename(tmp_path / "masks")
    assert [row["mask"] for row in load("sicapv2", prostate, tmp_path / "cache")["test"]] == [None, None]
    (tmp_path / "masks").rename(prostate / "masks")
    masks = load("sicapv2", prostate, tmp_path / "cache")["test"]["mask"]
    assert [np.unique(mask).tolist() for mask in masks] == [[1], [2]]
    (prostate / "wsi_labels.xlsx").unlink()
    assert set(load("sicapv2", prostate, tmp_path / "cache")["test"]["group"]) == {"17B0022915"}
    (prostate / "wsi_labels.csv").write_text("slide_id;patient_id\n17B0022915;32\n")
    assert set(load("sicapv2", prostate, tmp_path / "cache")["test"]["group"]) == {"32"}
