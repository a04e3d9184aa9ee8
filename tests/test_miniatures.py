"""The makers of synthetic raw copies, checked with independent libraries against the publishers' formats."""

import ast
import csv
import hashlib
import importlib
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import wfdb
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

# the code table of PTB-XL, once more: SCP codes and heart axis, and SNOMED CT codes of the Challenge headers
SCP = {
    "Normal": "NORM SR STACH SARRH SBRAD",
    "Conduction Delay (CD)": "LAFB LPFB IRBBB CRBBB ILBBB CLBBB IVCD 1AVB 2AVB 3AVB WPW LPR SVARR SVTAC PSVT",
    "Hypertrophy (HYP)": "LVH RVH SEHYP VCLVH LAO/LAE RAO/RAE LAD ALAD RAD ARAD",
    "Myocardial Infarction (MI)": "AMI ASMI ALMI IMI ILMI IPMI IPLMI LMI PMI INJAS INJAL INJLA INJIN INJIL INVT",
    "Sinus Tachycardia/Bradycardia/Conduction (STTC)": "NDT NST_ DIG LNGQT EL ANEUR ISC_ ISCAL ISCAN ISCAS ISCIL "
    "ISCIN ISCLA STD_ STE_ TAB_ NT_ LOWT",
    "Atrial Fibrillation/Atrial Flutter (A. Fib/Aflutter)": "AFIB AFLT",
    "Other": "ABQRS PVC PAC PRC(S) BIGU TRIGU QWAVE LVOLT HVOLT PACE AXL AXR SAG",
}
SNOMED = {
    "Normal": "426783006 427393009 426177001 427084000",
    "Conduction Delay (CD)": "270492004 195042002 27885002 65778007 164909002 713427006 251120003 713426002 "
    "698252002 445118002 445211001 164947007 67198005 63593006 426761007 74390002",
    "Hypertrophy (HYP)": "39732003 47665007 266249003 67741000119109 164873001 446358003 89792004",
    "Myocardial Infarction (MI)": "164865005 54329005 59931005",
    "Sinus Tachycardia/Bradycardia/Conduction (STTC)": "428750005 164861001 426434006 425419005 425623009 111975006 "
    "164934002 55930002 429622005 164931005",
    "Atrial Fibrillation/Atrial Flutter (A. Fib/Aflutter)": "164889003 164890007",
    "Other": "164951009 251200008 11157007 251146004 284470004 10370003 164884008 164917005 251180001",
}


def classes_by(table, codes):
    return tuple(name for name, members in table.items() if set(codes) & set(members.split()))


def tree(root: Path) -> dict[str, str]:
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
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
    with pytest.raises(UnknownSourceError, match="`ptbx`.*ptbxl"):
        miniature("ptbx", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_unknown_option_and_bad_values_name_the_remedy(tmp_path):
    with pytest.raises(OptionError, match="no option `rate`.*`layout`, `with_benchmd`"):
        miniature("ptbxl", tmp_path, rate=100)
    with pytest.raises(OptionError, match='`layout` to be one of "publisher", "flat", "pyg", found \'zip\''):
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
    with pytest.raises(OptionError, match="PROTEINS/notes.txt"):
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


# ---- ptbxl


def test_ptbxl_tables(miniatures):
    root, expected = miniatures("ptbxl", n=64)
    assert header(root / "ptbxl_database.csv") == (
        "ecg_id,patient_id,age,sex,height,weight,nurse,site,device,recording_date,report,scp_codes,heart_axis,"
        "infarction_stadium1,infarction_stadium2,validated_by,second_opinion,initial_autogenerated_report,"
        "validated_by_human,baseline_drift,static_noise,burst_noise,electrodes_problems,extra_beats,pacemaker,"
        "strat_fold,filename_lr,filename_hr"
    )
    table = rows(root / "ptbxl_database.csv")
    assert [row["ecg_id"] for row in table] == [e.id for e in expected]
    assert [int(row["ecg_id"]) for row in table] == sorted(int(row["ecg_id"]) for row in table)
    folds = defaultdict(set)
    for row, e in zip(table, expected, strict=True):
        codes = ast.literal_eval(row["scp_codes"])
        assert codes == e.values["scp_codes"]
        assert e.classes == classes_by(SCP, [*codes, row["heart_axis"]])
        assert e.split == {"9": "validation", "10": "test"}.get(row["strat_fold"], "train")
        assert (row["patient_id"], row["sex"]) == (f"{e.group}.0", str(["male", "female"].index(e.values["sex"])))
        assert e.values["age"] == (None if row["age"] == "300.0" else float(row["age"]))
        assert row["filename_hr"] == f"records500/{int(e.id) // 1000 * 1000:05d}/{int(e.id):05d}_hr"
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", row["recording_date"])
        folds[e.group].add(row["strat_fold"])
    assert all(len(fold) == 1 for fold in folds.values())
    assert max(Counter(e.group for e in expected).values()) > 1
    assert any(row["age"] == "300.0" for row in table)
    assert any(0.0 in codes.values() and set(codes) & set(SCP["Conduction Delay (CD)"].split()) for codes in
               (e.values["scp_codes"] for e in expected))  # fmt: skip
    axis_only = [e for e in expected if "Hypertrophy (HYP)" in e.classes and
                 "Hypertrophy (HYP)" not in classes_by(SCP, e.values["scp_codes"])]  # fmt: skip
    assert axis_only
    assert {e.values["heart_axis"] for e in axis_only} <= {"LAD", "ALAD", "RAD", "ARAD"}


def test_ptbxl_statements(miniatures):
    root, _ = miniatures("ptbxl", n=64)
    path = root / "scp_statements.csv"
    assert header(path) == (
        ",description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass,Statement Category,"
        "SCP-ECG Statement Description,AHA code,aECG REFID,CDISC Code,DICOM Code"
    )
    table = rows(path)
    assert "NORM,normal ECG,1.0,,,NORM,NORM,Normal/abnormal,normal ECG,1,,,F-000B7" in path.read_text()
    assert len(table) == len({row[""] for row in table}) == 71
    assert {row[""] for row in table} == {c for codes in SCP.values() for c in codes.split()} - {
        "LAD", "ALAD", "RAD", "ARAD", "AXL", "AXR", "SAG"
    }  # fmt: skip
    diagnostic = [row for row in table if row["diagnostic"] == "1.0"]
    assert len(diagnostic) == 44
    assert len({row["diagnostic_subclass"] for row in diagnostic}) == 23
    assert {row["diagnostic_class"] for row in table} == {"NORM", "MI", "STTC", "CD", "HYP", ""}
    assert sum(row["form"] == "1.0" for row in table) == 19
    assert sum(row["rhythm"] == "1.0" for row in table) == 12


def test_ptbxl_signals(miniatures):
    root, expected = miniatures("ptbxl", n=64)
    for row, e in list(zip(rows(root / "ptbxl_database.csv"), expected, strict=True))[:12]:
        for name, rate, key in (("filename_hr", 500, "first_sample"), ("filename_lr", 100, "first_sample_100")):
            record = wfdb.rdrecord(str(root / row[name]), physical=False)
            assert (record.fs, record.d_signal.shape) == (rate, (10 * rate, 12))
            assert record.sig_name == "I,II,III,AVR,AVL,AVF,V1,V2,V3,V4,V5,V6".split(",")
            assert (set(record.units), set(record.adc_gain), set(record.fmt)) == ({"mV"}, {1000.0}, {"16"})
            assert record.init_value == record.d_signal[0].tolist()
            assert [c % 65536 for c in record.checksum] == [c % 65536 for c in record.calc_checksum()]
            physical = wfdb.rdrecord(str(root / row[name])).p_signal
            np.testing.assert_allclose(physical[0], e.values[key], atol=1e-9)
            np.testing.assert_allclose(physical[:, 1] - physical[:, 0], physical[:, 2], atol=2.1e-3)  # Einthoven
            assert (root / f"{row[name]}.dat").stat().st_size == 240 * rate
            assert 0.3 < np.abs(physical).max() < 10
    line = (root / f"{row['filename_hr']}.hea").read_text().splitlines()[1]
    assert re.fullmatch(r"\d{5}_hr\.dat 16 1000\.0\(0\)/mV 16 0 -?\d+ -?\d+ 0 I", line)
    for line in (root / "SHA256SUMS.txt").read_text().splitlines():
        digest, name = line.split(" ", 1)
        assert hashlib.sha256((root / name).read_bytes()).hexdigest() == digest
    assert len((root / "RECORDS").read_text().splitlines()) == 128


@pytest.mark.parametrize(
    ("layout", "pattern"),
    [("challenge", r"WFDB_PTBXL/HR\d{5}\.mat"), ("challenge-2021", r"training/ptb-xl/g\d+/HR\d{5}\.mat")],
)
def test_ptbxl_challenge_layouts(miniatures, layout, pattern):
    root, expected = miniatures("ptbxl", n=40, layout=layout)
    native = {e.id: e for e in miniatures("ptbxl", n=40)[1]}
    files = {str(int(p.stem[2:])): p for p in root.rglob("HR*.mat")}
    assert sorted(files, key=int) == [e.id for e in expected]
    marks = Counter()
    for e in expected:
        path = files[e.id]
        assert re.fullmatch(pattern, path.relative_to(root).as_posix())
        assert path.stat().st_size == 120_024
        lines = path.with_suffix(".hea").read_text().splitlines()
        assert lines[0] == f"{path.stem} 12 500 5000"
        assert re.fullmatch(rf"{path.name} 16x1\+24 1000\.0\(0\)/mv 16 0 -?\d+ -?\d+ 0 aVR", lines[4])
        fields = dict(re.fullmatch(r"# ?(\w+): (.*)", line).groups() for line in lines[13:])
        marks[lines[15][:2]] += 1
        assert e.classes == classes_by(SNOMED, fields["Dx"].split(",")) == native[e.id].classes
        assert fields["Sex"].lower() == e.values["sex"]
        assert fields["Age"] == ("NaN" if e.values["age"] is None else str(int(e.values["age"])))
        assert (e.split, e.group) == (None, e.id)
    assert marks == {"#D": 20, "# ": 20}
    assert any(e.values["age"] is None for e in expected)
    assert any((e.values["age"] or 0) > 89 for e in expected)
    record = wfdb.rdrecord(str(path.with_suffix("")), physical=False)
    assert [c % 65536 for c in record.checksum] == [c % 65536 for c in record.calc_checksum()]
    np.testing.assert_array_equal(scipy.io.loadmat(path)["val"].T, record.d_signal)
    np.testing.assert_allclose(record.d_signal[0] / 1000, e.values["first_sample"])


def test_ptbxl_benchmd_splits_follow_the_seeded_draw(miniatures):
    root, expected = miniatures("ptbxl", n=64, with_benchmd=True)
    order = ["normal", "cd", "mi", "sttc", "other", "afib", "hyp"]
    names = [list(SCP)[i] for i in (0, 1, 3, 4, 6, 5, 2)]
    assert header(root / "ptbxl_splits.csv") == ",".join(
        ["", "Unnamed: 0", "file_name", *order, "patient", "split", "label"]
    )
    for row, e in zip(rows(root / "ptbxl_splits.csv"), expected, strict=True):
        assert row["file_name"] == f"/home/ubuntu/raw/ecg/ptbxl/{row['patient']}.hea"
        assert row["patient"] == f"HR{int(e.id):05d}"
        assert [row[name] for name in order] == [str(int(name in e.classes)) for name in names]
        np.random.seed(int(e.id) - 1)
        label = np.random.choice([i for i, name in enumerate(order) if row[name] == "1"])
        assert (row["label"], row["split"]) == (str(label), e.values["benchmd_split"])
        assert e.values["benchmd_label"] == label
    assert {e.values["benchmd_split"] for e in expected} == {"train", "val"}


def test_ptbxl_finegrained_is_the_same_tree_with_subclasses(miniatures):
    root, expected = miniatures("ptbxl_finegrained", n=92)
    plain, coarse = miniatures("ptbxl", n=92)
    marker = {".climb_miniature.json": None}
    assert tree(root) | marker == tree(plain) | marker
    subclass = {r[""]: r["diagnostic_subclass"] for r in rows(root / "scp_statements.csv") if r["diagnostic"] == "1.0"}
    for fine, e in zip(expected, coarse, strict=True):
        assert (fine.id, fine.group, fine.split, fine.values) == (e.id, e.group, e.split, e.values)
        codes = {subclass[c] for c in ast.literal_eval(str(e.values["scp_codes"])) if c in subclass}
        assert {re.search(r"\(([^()]+)\)$", name)[1] for name in fine.classes} == codes
    assert any(e.classes == () for e in expected)
    assert any(len(e.classes) == 1 for e in expected)
