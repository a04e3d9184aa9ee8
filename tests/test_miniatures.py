"""The makers of synthetic raw copies, checked with independent libraries against the publishers' formats."""

import csv
import hashlib
import importlib
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from climb_hf.errors import ClimbError, OptionError, UnknownSourceError
from climb_hf.miniatures import available, miniature

CLASSES = {  # Table 7 (Table 9 for the fine-grained configuration): number of classes, splits that must hold them all
    "brain_tumor": (4, {"train", "test"}),
    "covid_blues": (2, {"train", "test"}),
    "pad_ufes_20": (5, {None}),
    "proteins": (2, {None}),
    "ptbxl": (7, {"train", "validation", "test"}),
    "ptbxl_finegrained": (23, {"train", "validation", "test"}),
    "vindr_cxr": (6, {"train", "test"}),
}
NAMES = sorted(CLASSES)


def tree(root: Path) -> dict[str, str]:
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file() and p.name != ".climb_miniature.json"
    }


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def header(path: Path) -> str:
    return path.read_text(encoding="utf-8").split("\n", 1)[0]


# ---- what holds for every maker


def test_available_lists_the_makers_and_no_helper():
    assert set(NAMES) <= set(available())
    assert not [name for name in available() if name.startswith("_")]


@pytest.mark.parametrize("name", NAMES)
def test_same_arguments_same_bytes_and_other_seed_other_bytes(name, tmp_path):
    first, again, other = (miniature(name, tmp_path / d, n=9, seed=s) for d, s in (("a", 3), ("b", 3), ("c", 4)))
    assert first == again
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert tree(tmp_path / "a") != tree(tmp_path / "c")
    assert len(first) == len(other) == 9
    assert len({e.id for e in first}) == 9


@pytest.mark.parametrize("name", NAMES)
def test_every_class_in_every_split_from_four_records_per_class(name, miniatures):
    count, splits = CLASSES[name]
    n = max(4 * count, 8)
    _, expected = miniatures(name, n=n)
    assert len(expected) == n
    found = defaultdict(set)
    for record in expected:
        found[record.split] |= set(record.classes)
    assert set(found) == splits
    assert {split: len(classes) for split, classes in found.items()} == dict.fromkeys(splits, count)
    groups = defaultdict(set)
    for record in expected:
        groups[record.group].add(record.split)
    assert all(len(where) == 1 for where in groups.values())


@pytest.mark.parametrize("name", NAMES)
def test_module_says_that_its_data_is_synthetic(name):
    assert "synthetic" in importlib.import_module(f"climb_hf.miniatures.{name}").__doc__.lower()


def test_unknown_source_offers_near_names(tmp_path):
    with pytest.raises(UnknownSourceError, match=r"`ptbx`.*ptbxl"):
        miniature("ptbx", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_unknown_option_and_bad_values_name_the_remedy(tmp_path):
    with pytest.raises(OptionError, match=r"no option `rate`.*`layout`, `with_benchmd`"):
        miniature("ptbxl", tmp_path, rate=100)
    with pytest.raises(OptionError, match='one of "publisher", "flat", "pyg", found `\'zip\'`'):
        miniature("proteins", tmp_path, layout="zip")
    with pytest.raises(OptionError, match="`n` to be an integer of at least 8, found `7`"):
        miniature("proteins", tmp_path, n=7)
    with pytest.raises(OptionError, match="`seed` to be an integer of at least 0"):
        miniature("proteins", tmp_path, seed=-1)
    assert list(tmp_path.iterdir()) == []


def test_foreign_files_are_refused_and_kept(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match=r"no miniature wrote \(first: `notes.txt`\)"):
        miniature("proteins", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "notes.txt").unlink()
    miniature("proteins", tmp_path)
    (tmp_path / "PROTEINS" / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match=r"PROTEINS/notes.txt"):
        miniature("proteins", tmp_path)
    assert (tmp_path / "PROTEINS" / "PROTEINS_A.txt").is_file()
    file = tmp_path / "PROTEINS" / "notes.txt"
    with pytest.raises(OptionError, match="expected a folder"):
        miniature("proteins", file)


def test_own_folder_is_replaced_and_a_failure_leaves_nothing(tmp_path, monkeypatch):
    miniature("proteins", tmp_path / "a", n=20)
    miniature("pad_ufes_20", tmp_path / "a", n=8)
    miniature("pad_ufes_20", tmp_path / "b", n=8)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    module = importlib.import_module("climb_hf.miniatures.pad_ufes_20")
    monkeypatch.setattr(module, "_photograph", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        miniature("pad_ufes_20", tmp_path / "c", n=8)
    assert list((tmp_path / "c").iterdir()) == []


def test_damaged_marker_is_not_trusted(tmp_path):
    (tmp_path / ".climb_miniature.json").write_text("[]")
    with pytest.raises(ClimbError, match="file list of an earlier miniature"):
        miniature("proteins", tmp_path)
    assert json.loads((tmp_path / ".climb_miniature.json").read_text()) == []


# ---- brain_tumor


def test_brain_tumor_names_pictures_and_copies(miniatures):
    root, expected = miniatures("brain_tumor", n=96)
    patterns = {
        "Training/glioma_tumor": r"gg \(\d+\)\.jpg",
        "Training/meningioma_tumor": r"m1\(\d+\)\.jpg|m[23]? \(\d+\)\.jpg",
        "Training/no_tumor": r"image ?\(\d+\)\.jpg|[1-8]\.jpg|image\.jpg",
        "Training/pituitary_tumor": r"p \(\d+\)\.jpg",
        "Testing": r"image\(\d+\)\.jpg|image\.jpg",
    }
    names = {"no_tumor": "No Tumor", "pituitary_tumor": "Pituitary Tumor"}
    names |= {"glioma_tumor": "Glioma Tumor", "meningioma_tumor": "Meningioma Tumor"}
    files = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.jpg"))
    order = [f for f in files if f.startswith("Training")] + [f for f in files if f.startswith("Testing")]
    assert [e.id for e in expected] == order
    seen = {}
    for e in expected:
        top, folder, name = e.id.split("/")
        assert re.fullmatch(patterns[top if top == "Testing" else f"{top}/{folder}"], name)
        assert (e.split, e.group, e.classes) == ({"Training": "train", "Testing": "test"}[top], e.id, (names[folder],))
        assert e.values["duplicate_of"] == seen.get((root / e.id).read_bytes())
        seen.setdefault((root / e.id).read_bytes(), e.id)
        with Image.open(root / e.id) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", e.values["size"])
            assert np.ptp(np.asarray(image).astype(int), axis=2).max() <= 8
    copies = [e for e in expected if e.values["duplicate_of"]]
    assert {(e.split, e.values["duplicate_of"].split("/")[0]) for e in copies} == {
        ("train", "Training"),
        ("test", "Training"),
    }
    assert {e.id.split("/")[1] for e in copies if e.split == "test"} == {"no_tumor"}
    glioma = {e.values["size"] for e in expected if e.id.startswith("Training/glioma")}
    assert len(glioma) == 1
    assert (root / ".DS_Store").is_file()


# ---- covid_blues


def test_covid_blues_tables_and_split(miniatures):
    root, expected = miniatures("covid_blues", n=60)
    people = {row["patient_id"]: row for row in rows(root / "clinical_variables.csv")}
    ids = [int(i) for i in people]
    assert sorted(ids) == list(range(1, len(ids) + 1))
    assert ids != sorted(ids)
    border = int(0.75 * len(ids))
    notes = rows(root / "severity.csv")
    assert header(root / "severity.csv") == "video_file,Severity Score,A-lines,B-lines,comments"
    assert [row["video_file"] for row in notes] == [e.id for e in expected]
    assert {p.stem for p in (root / "lus_videos").glob("*.mp4")} == {e.id for e in expected}
    counts = Counter(e.group for e in expected)
    for row, e in zip(notes, expected, strict=True):
        patient, point, take = re.fullmatch(r"patient_(\d+)_([LR][123])(?:_(\d+))?", e.id).groups()
        person = people[patient]
        assert (e.group, e.values["point"], e.values["take"]) == (patient, point, int(take or 1))
        assert e.split == ("train" if int(patient) <= border else "test")
        assert e.classes == ({"1": "Has COVID", "0": "No COVID"}[person["cov_test"]],)
        assert person["clin_diagn#COVID19_pneumonia"] == person["cov_test"]
        assert e.values["age"] == float(person["pat_age"])
        assert e.values["sex"] == {"1.0": "male", "0.0": "female"}[person["pat_sex"]]
        assert float(person["number_video_files"]) == counts[patient]
        height = float(person["pat_height"])
        assert (e.values["height"], e.values["bmi"] is None) == ((None, True) if height < 0 else (height, False))
        assert e.values["severity"] == float(row["Severity Score"])
        assert e.values["b_lines"] == row["B-lines"].strip()
    assert any(row["B-lines"].endswith(" ") for row in notes)
    assert {"-96", "-99", "90-92"} <= {p["oxygen_saturation_with_ox"] for p in people.values()}
    assert any(p["pat_height"] == "-99.0" and p["pat_bmi"] == "" for p in people.values())
    assert any(e.values["take"] == 2 for e in expected)
    lines = (root / "variable_explanations.csv").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("pat_sex,") and line.count(",") == 4 and '"' not in line for line in lines)
    assert [line.split(",")[0] for line in lines[1:]] == header(root / "clinical_variables.csv").split(",")


def test_covid_blues_columns_are_the_publishers(miniatures, real_dir):
    root, _ = miniatures("covid_blues", n=60)
    for table in ("clinical_variables.csv", "severity.csv"):
        assert header(root / table) == header(real_dir / "covid_blues" / table)
    assert len(header(root / "clinical_variables.csv").split(",")) == 127


def test_covid_blues_videos(miniatures):
    av = pytest.importorskip("av")
    root, expected = miniatures("covid_blues", n=60)
    for e in expected[:8]:
        with av.open(str(root / "lus_videos" / f"{e.id}.mp4")) as container:
            assert len(container.streams) == 1
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 350, 350)
            assert stream.average_rate == e.values["fps"] == 25
            frames = [frame.to_ndarray(format="gray") for frame in container.decode(stream)]
        assert len(frames) == stream.frames == e.values["num_frames"]
        assert np.abs(np.diff(np.stack(frames).astype(int), axis=0)).max() > 40  # the content moves
    assert {7, 8} <= {e.values["num_frames"] for e in expected}


# ---- proteins


@pytest.mark.parametrize(("layout", "folder"), [("publisher", "PROTEINS"), ("flat", "."), ("pyg", "PROTEINS/raw")])
def test_proteins_text(miniatures, layout, folder):
    root, expected = miniatures("proteins", n=48, layout=layout)
    names = ("A", "graph_indicator", "graph_labels", "node_attributes", "node_labels")
    text = {name: (root / folder / f"PROTEINS_{name}.txt").read_text() for name in names}
    assert (root / folder / "README.txt").is_file()
    assert all(re.fullmatch(r"\d+, \d+", line) for line in text["A"].splitlines())
    assert all(re.fullmatch(r"(?=.{10,11}$) *-?\d+\.000000", line) for line in text["node_attributes"].splitlines())
    edges = np.array([[int(v) for v in line.split(", ")] for line in text["A"].splitlines()])
    graph = np.array(text["graph_indicator"].split(), int)
    labels = text["graph_labels"].split()
    assert labels == sorted(labels) == [e.values["raw_labels"][0] for e in expected]
    assert [e.classes for e in expected] == [({"1": "Enzyme", "2": "Not enzyme"}[label],) for label in labels]
    assert (np.lexsort((edges[:, 0], edges[:, 1])) == np.arange(len(edges))).all()
    assert {(a, b) for a, b in edges.tolist()} == {(b, a) for a, b in edges.tolist()}
    assert len(np.unique(edges, axis=0)) == len(edges)
    assert (edges[:, 0] != edges[:, 1]).all()
    assert (graph[edges[:, 0] - 1] == graph[edges[:, 1] - 1]).all()
    for i, e in enumerate(expected, start=1):
        nodes = np.flatnonzero(graph == i) + 1
        assert (e.id, e.group, e.split, e.values["num_nodes"]) == (str(i), str(i), None, len(nodes))
        assert e.values["num_edges"] == (graph[edges[:, 0] - 1] == i).sum()
        assert e.values["num_isolated"] == len(set(nodes) - set(edges[:, 0]))
    attributes = [float(v) for v in text["node_attributes"].split()]
    assert attributes == [v for e in expected for v in e.values["node_attributes"]]
    assert [int(v) for v in text["node_labels"].split()] == [v for e in expected for v in e.values["node_labels"]]
    assert min(attributes) < 0
    last = [np.flatnonzero(graph == i).max() + 1 for i in range(1, 49)]
    assert set(last) - set(edges[:, 0].tolist())  # a last node without neighbours


# ---- vindr_cxr


def test_vindr_cxr_tables(miniatures):
    root, expected = miniatures("vindr_cxr", n=64)
    table = root / "annotations"
    findings = (
        "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,Edema,Emphysema,"
        "Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,Mediastinal shift,Nodule/Mass,"
        "Pleural effusion,Pleural thickening,Pneumothorax,Pulmonary fibrosis,Rib fracture,Other lesion,COPD,"
        "Lung tumor,Pneumonia,Tuberculosis,"
    )
    assert header(table / "image_labels_train.csv") == f"image_id,rad_id,{findings}Other diseases,No finding"
    assert header(table / "image_labels_test.csv") == f"image_id,{findings}Other disease,No finding"
    assert header(table / "annotations_train.csv") == "image_id,rad_id,class_name,x_min,y_min,x_max,y_max"
    assert header(table / "annotations_test.csv") == "image_id,class_name,x_min,y_min,x_max,y_max"
    names = ("Lung tumor", "Pneumonia", "Tuberculosis", "COPD", "Other diseases", "No finding")
    for split, per_image in (("train", 3), ("test", 1)):
        labels = rows(table / f"image_labels_{split}.csv")
        boxes = Counter(row["image_id"] for row in rows(table / f"annotations_{split}.csv") if row["x_min"])
        here = [e for e in expected if e.split == split]
        assert [row["image_id"] for row in labels[::per_image]] == [e.id for e in here]
        assert {p.stem for p in (root / split).glob("*.dicom")} == {e.id for e in here}
        for i, e in enumerate(here):
            block = labels[per_image * i : per_image * (i + 1)]
            assert {row["image_id"] for row in block} == {e.id}
            columns = [n if n in block[0] else "Other disease" for n in names]
            votes = [sum(float(row[c] or 0) for row in block) for c in columns]
            assert e.classes == tuple(n for n, v in zip(names, votes, strict=True) if 2 * v > per_image)
            assert e.values["uncertain"] == tuple(
                n for n, v in zip(names, votes, strict=True) if v == 1 and per_image == 3
            )
            assert e.values["n_boxes"] == boxes[e.id]
        assert [e.id for e in here] != sorted(e.id for e in here)
    train = rows(table / "image_labels_train.csv")
    assert all(re.fullmatch(r"R([1-9]|1[0-7])", row["rad_id"]) for row in train)
    assert any("" in row.values() for row in train)
    assert {len(e.values["uncertain"]) for e in expected if e.classes == ()} == {3}
    assert any(e.values["uncertain"] for e in expected if e.classes)


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")  # an image id is not a UID; so is the publisher's
def test_vindr_cxr_dicom(miniatures):
    pydicom = pytest.importorskip("pydicom")
    root, expected = miniatures("vindr_cxr", n=64)
    kept = (
        "PatientSex PatientAge PatientSize PatientWeight PhotometricInterpretation Rows Columns PixelSpacing "
        "PixelAspectRatio BitsAllocated BitsStored HighBit PixelRepresentation SmallestImagePixelValue "
        "LargestImagePixelValue WindowCenter WindowWidth RescaleIntercept RescaleSlope LossyImageCompression "
        "SamplesPerPixel NumberOfFrames PixelData"
    )
    seen = defaultdict(set)
    for e in expected:
        data = pydicom.dcmread(root / e.split / f"{e.id}.dicom")
        assert {element.keyword for element in data} <= set(kept.split())
        assert data.file_meta.MediaStorageSOPInstanceUID == e.id
        pixels = data.pixel_array
        assert (pixels.shape[::-1], data.BitsStored, pixels.dtype) == (e.values["size"], 12, np.uint16)
        assert pixels.max() < 4096
        inverted = data.PhotometricInterpretation == "MONOCHROME1"
        corner, spine = pixels[:12, :12].mean(), pixels[:, pixels.shape[1] // 2].mean()
        assert (spine < corner) == inverted  # air outside the chest is black, the spine bright
        age = data.get("PatientAge")
        assert e.values["age"] == (float(age[:3]) if age else None)
        assert e.values["sex"] == {"M": "male", "F": "female"}.get(data.get("PatientSex"))
        seen["syntax"].add(data.file_meta.TransferSyntaxUID.name)
        seen["inverted"].add(inverted)
        seen["windows"].add(0 if "WindowCenter" not in data else data["WindowCenter"].VM)
        seen["rescale"].add(data.get("RescaleIntercept"))
        seen["age"].add("absent" if age is None else age or "empty")
    assert seen["syntax"] == {
        "Explicit VR Little Endian",
        "JPEG 2000 Image Compression (Lossless Only)",
        "RLE Lossless",
    }
    assert (seen["inverted"], seen["windows"]) == ({True, False}, {0, 1, 2})
    assert {None, 0, -200} == seen["rescale"]
    assert {"absent", "empty"} <= seen["age"]


# ---- pad_ufes_20


@pytest.mark.parametrize(
    ("layout", "pattern"),
    [("mendeley", r"images/imgs_part_([123])"), ("kaggle", r"imgs_part_([123])/imgs_part_\1"), ("flat", "images")],
)
def test_pad_ufes_20(miniatures, layout, pattern):
    root, expected = miniatures("pad_ufes_20", n=48, layout=layout)
    assert header(root / "metadata.csv") == (
        "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide,gender,"
        "skin_cancer_history,cancer_history,has_piped_water,has_sewage_system,fitspatrick,region,diameter_1,"
        "diameter_2,diagnostic,itch,grew,hurt,changed,bleed,elevation,img_id,biopsed"
    )
    akiec = "Actinic Keratosis/Intraepithelial Carcinoma (AKIEC)"
    names = {"MEL": "Melanoma (MEL)", "NEV": "Nevus (NV)", "BCC": "Basal Cell Carcinoma (BCC)", "ACK": akiec}
    names |= {"SCC": akiec, "SEK": "Other (OTHER)"}
    table = rows(root / "metadata.csv")
    files = {p.name: p for p in root.rglob("*.png")}
    assert set(files) == {e.id for e in expected}
    first = {}
    for row, e in zip(table, expected, strict=True):
        patient, lesion = re.fullmatch(r"PAT_(\d+)_(\d+)_\d+\.png", e.id).groups()
        assert (row["img_id"], row["patient_id"], row["lesion_id"]) == (e.id, f"PAT_{patient}", lesion)
        assert (e.split, e.group, e.classes) == (None, row["patient_id"], (names[row["diagnostic"]],))
        assert (e.values["age"], e.values["raw_labels"]) == (float(row["age"]), (row["diagnostic"],))
        assert e.values["sex"] == {"MALE": "male", "FEMALE": "female", "": None}[row["gender"]]
        assert re.fullmatch(pattern, files[e.id].parent.relative_to(root).as_posix())
        content = files[e.id].read_bytes()
        assert e.values["duplicate_of"] == first.get(content)
        first.setdefault(content, e.id)
        with Image.open(files[e.id]) as image:
            assert (image.format, image.mode, image.size) == ("PNG", e.values["mode"], e.values["size"])
    assert '"' not in (root / "metadata.csv").read_text()
    assert {e.values["mode"] for e in expected} == {"RGB", "RGBA"}
    assert max(Counter(e.group for e in expected).values()) > 1
    by_id = {e.id: e for e in expected}
    (copy,) = [e for e in expected if e.values["duplicate_of"]]
    original = by_id[copy.values["duplicate_of"]]
    assert copy.group == original.group
    assert copy.classes != original.classes
    assert copy.values["lesion_id"] != original.values["lesion_id"]
    owners = defaultdict(set)
    for e in expected:
        owners[e.values["lesion_id"]].add(e.group)
    assert any(len(groups) > 1 for groups in owners.values())
    sparse = [row for row in table if not row["gender"]]
    assert 0.15 < len(sparse) / len(table) < 0.5
    assert all(not row["fitspatrick"] and row["diagnostic"] not in ("MEL", "BCC", "SCC") for row in sparse)
    assert "UNK" in {row["itch"] for row in table}
