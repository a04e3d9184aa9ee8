"""`climb_hf.audit`: planted copies, leaks, contradictions and odd values are found, and nothing else is."""

import csv
import io
import json
import os
import shutil
import signal

import numpy as np
import pytest
from PIL import Image

import climb_hf
from climb_hf.auditing import prints as prints_module
from climb_hf.auditing import shared_records
from climb_hf.auditing.checks import check_headers
from climb_hf.auditing.collection import collect
from climb_hf.errors import AccessError, ClimbError, OptionError, SplitError
from climb_hf.indexing import build_index
from climb_hf.splits import group_split

CLASSES = ("glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor")


def picture(seed, side=200):
    """A synthetic picture with structure at several scales, RGB."""
    rng = np.random.default_rng(seed)
    total = np.zeros((side, side))
    for cells in (4, 9, 20):
        coarse = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
        total += np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    total = (total - total.min()) / np.ptp(total)
    return Image.fromarray((30 + 180 * total).astype(np.uint8)).convert("RGB")


def jpeg(image, quality=92):
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()


def put(root, name, content):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return name


@pytest.fixture
def planted(tmp_path):
    """A folder in the layout of `brain_tumor`: 12 pictures in train, 8 in test, of which 5 are copies."""
    root = tmp_path / "planted"
    for seed in range(12):
        put(root, f"Training/{CLASSES[seed % 4]}/{seed}.jpg", jpeg(picture(seed)))
    for seed in range(100, 103):
        put(root, f"Testing/{CLASSES[seed % 4]}/{seed}.jpg", jpeg(picture(seed)))
    pixels = np.asarray(picture(4), dtype=np.float64)
    brighter = Image.fromarray(np.clip(pixels * 1.15 + 20, 0, 255).astype(np.uint8))
    put(root, f"Testing/{CLASSES[0]}/same.jpg", jpeg(picture(0)))
    put(root, f"Testing/{CLASSES[1]}/resized.jpg", jpeg(picture(1).resize((87, 113), Image.Resampling.BILINEAR)))
    put(root, f"Testing/{CLASSES[2]}/reencoded.jpg", jpeg(picture(2), quality=25))
    put(root, f"Testing/{CLASSES[0]}/brighter.jpg", jpeg(brighter))
    put(root, f"Testing/{CLASSES[3]}/other_label.jpg", jpeg(picture(5)))  # a meningioma of train
    return root


def run(sources, tmp_path, **arguments):
    return climb_hf.audit(sources, cache_dir=tmp_path / "cache", **{"num_proc": 1, "progress": False, **arguments})


def partners(report, check, severity=None):
    """Map the later record to the earlier one."""
    return {pair.second.id: pair.first.id for f in report.select(check, severity) for pair in f.pairs}


def test_planted_copies_are_found_with_their_partners_and_nothing_else(planted, tmp_path):
    report = run({"brain_tumor": planted}, tmp_path)
    assert partners(report, "identical") == {
        "Testing/glioma_tumor/same.jpg": "Training/glioma_tumor/0.jpg",
        "Testing/pituitary_tumor/other_label.jpg": "Training/meningioma_tumor/5.jpg",
    }
    assert partners(report, "near") == {
        "Testing/meningioma_tumor/resized.jpg": "Training/meningioma_tumor/1.jpg",
        "Testing/no_tumor/reencoded.jpg": "Training/no_tumor/2.jpg",
        "Testing/glioma_tumor/brighter.jpg": "Training/glioma_tumor/4.jpg",
    }
    (near,) = report.select("near")
    assert (near.severity, near.count) == ("leak", 3)
    assert all(pair.distance <= 8 and pair.similarity >= 0.98 for pair in near.pairs)
    (conflict,) = report.select("labels")
    assert (conflict.severity, conflict.ids) == ("warning", ("Testing/pituitary_tumor/other_label.jpg",))
    assert conflict.pairs[0].first.labels != conflict.pairs[0].second.labels
    assert report.worst() == "leak"
    assert report.sources == [
        {"source": "brain_tumor", "split": "train", "records": 12, "groups": 12},
        {"source": "brain_tumor", "split": "test", "records": 8, "groups": 8},
    ]
    assert {f.check for f in report.findings} == {"identical", "near", "labels"}


def test_without_near_nothing_is_decoded_and_one_split_alone_does_not_leak(planted, tmp_path, monkeypatch):
    monkeypatch.setattr(prints_module, "_print_records", None)
    assert not run({"brain_tumor": planted}, tmp_path, near=False).select("near")
    assert not run({"brain_tumor": planted}, tmp_path, near=False, splits=["test"]).findings


def test_damaged_flat_and_missing_files_are_named_and_not_compared(planted, tmp_path):
    damaged = put(planted, "Training/no_tumor/cut.jpg", jpeg(picture(50))[:900])
    for level in range(40):  # blank pictures, all different byte by byte
        grey = Image.new("RGB", (64 + level, 64), (level, level, level))
        put(planted, f"{'Training' if level % 2 else 'Testing'}/no_tumor/blank{level}.jpg", jpeg(grey))
    report = run({"brain_tumor": planted}, tmp_path)
    severities = {f.severity: f for f in report.select("files")}
    assert severities["warning"].ids == (damaged,)
    assert "could not be decoded" in severities["warning"].text
    assert severities["note"].count == 40
    assert "show nothing" in severities["note"].text
    assert report.select("near", "leak")[0].count == 3


def test_a_patient_in_two_splits_is_found_where_a_build_refuses(miniatures, tmp_path):
    root, _ = miniatures.copy("vindr_mammo", tmp_path / "mammo")
    table = root / "breast-level_annotations.csv"
    rows = list(csv.DictReader(table.open(newline="")))
    moved = next(row for row in rows if row["split"] == "training")
    moved["split"] = "test"
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    source = climb_hf.get_source("vindr_mammo")
    options = climb_hf.builder.ClimbConfig(name="vindr_mammo").options()
    with pytest.raises(SplitError, match=moved["study_id"]):
        build_index(source, root, options)
    (finding,) = run({"vindr_mammo": root}, tmp_path, near=False).select("groups")
    assert (finding.severity, finding.ids) == ("leak", (moved["image_id"],))
    pair = finding.pairs[0]
    assert (pair.first.split, pair.second.split, pair.first.group) == ("train", "test", moved["study_id"])


def test_copies_across_sources_and_shared_records(planted, miniatures, tmp_path):
    other, _ = miniatures.copy("brain_mri", tmp_path / "mri")
    same, near = other / "no" / "N901.jpg", other / "yes" / "Y902.jpg"
    shutil.copy(planted / "Training/no_tumor/6.jpg", same)
    near.write_bytes(jpeg(picture(7).resize((150, 150)), quality=60))
    arguments = {"cache_dir": tmp_path / "cache", "num_proc": 1, "progress": False}
    shared = shared_records(("brain_mri", other), ("brain_tumor", planted), **arguments)
    assert {id_: (record.kind, record.other_id) for id_, record in shared.items()} == {
        "no/N901.jpg": ("identical", "Training/no_tumor/6.jpg"),
        "yes/Y902.jpg": ("near", "Training/pituitary_tumor/7.jpg"),
    }
    back = shared_records(("brain_tumor", planted), ("brain_mri", other), kinds=["identical"], **arguments)
    assert [(r.id, r.split, r.other_id) for r in back.values()] == [
        ("Training/no_tumor/6.jpg", "train", "no/N901.jpg")
    ]
    report = run({"brain_tumor": planted, "brain_mri": other}, tmp_path)
    found = {f.where: f.severity for f in report.findings if "brain_mri" in f.where and "brain_tumor" in f.where}
    assert all(
        severity == ("warning" if "train / brain_mri train" in where else "leak") for where, severity in found.items()
    )
    assert found
    with pytest.raises(OptionError, match=r"use `climb_hf\.audit`"):
        shared_records("brain_mri", "brain_mri")
    with pytest.raises(OptionError, match="`kinds` must be among"):
        shared_records("brain_mri", "brain_tumor", kinds=["exact"])


def test_linked_sources_share_patients(miniatures, tmp_path):
    tuab, _ = miniatures.copy("tuab", tmp_path / "tuab")
    tuev, _ = miniatures.copy("tuev", tmp_path / "tuev")
    for stem in sorted({path.name.split("_")[0] for path in tuab.rglob("*.edf")}):  # so that no subject is in both
        for path in list(tuab.rglob(f"{stem}_*.edf")):
            path.rename(path.with_name(path.name.replace(stem, f"b{stem[1:]}", 1)))
    assert not run({"tuev": tuev, "tuab": tuab}, tmp_path, near=False).select("patients")
    shared = min(path.name for path in (tuev / "edf" / "train").iterdir())
    donor = min((tuab / "edf/eval").rglob("*.edf"))
    donor.rename(donor.with_name(f"{shared}_s001_t000.edf"))
    report = run({"tuev": tuev, "tuab": tuab}, tmp_path, near=False)
    (leak,) = report.select("patients")
    assert (leak.where, leak.severity) == ("tuev train / tuab test", "leak")
    assert {pair.first.group for pair in leak.pairs} == {pair.second.group for pair in leak.pairs} == {shared}
    assert all(id_.startswith(f"{shared}_s001_t000") for id_ in leak.ids)
    assert not run({"tuab": tuab, "brain_mri": miniatures("brain_mri")[0]}, tmp_path, near=False).select("patients")


def write_ecg(folder, name, signal, like):
    """Write a record of the challenge: (12, time) int16, with the header of another record."""
    stem = next(folder.rglob(f"{like}.hea"))
    lines = stem.read_text().replace(like, name).splitlines()
    lines[0] = f"{name} 12 500 {signal.shape[1]}"
    values = signal.astype("<i2")
    for lead, samples in enumerate(values):
        words = lines[1 + lead].split()
        words[5:7] = str(samples[0]), str(samples.sum(dtype="<i2"))
        lines[1 + lead] = " ".join(words)
    stem.with_name(f"{name}.hea").write_text("\n".join(lines) + "\n")
    head = np.array([30, 12, signal.shape[1], 0, 4], dtype="<i4").tobytes() + b"val\0"
    stem.with_name(f"{name}.mat").write_bytes(head + values.T.tobytes())


def test_shifted_rescaled_and_shortened_signals_are_near(miniatures, tmp_path):
    root, expected = miniatures.copy("georgia", tmp_path / "ecg", n=12)
    like = expected[0].id
    rng = np.random.default_rng(3)
    beats = np.cumsum(rng.normal(400, 60, 30)).astype(int)
    ecg = np.zeros((12, 7000))
    for beat in beats[beats < 6900]:
        ecg[:, beat : beat + 60] += np.hanning(60) * rng.normal(500, 30, (12, 1))
        ecg[:, beat + 60 : beat + 90] -= np.hanning(30) * rng.normal(200, 30, (12, 1))
    ecg += np.cumsum(rng.normal(0, 3, ecg.shape), axis=1) * 0.2 + rng.normal(0, 5, ecg.shape)
    names = {split: [] for split in ("train", "test")}
    for number in range(9000, 9200):
        split = group_split(f"E0{number}", climb_hf.get_source("georgia").fractions)
        names[split].append(f"E0{number}")
    first, (shifted, scaled, shorter) = names["train"][0], names["test"][:3]
    write_ecg(root, first, ecg[:, :5000], like)
    write_ecg(root, shifted, ecg[:, 700:5700], like)  # begins 1.4 s later
    write_ecg(root, scaled, 1.7 * ecg[:, :5000] + rng.normal(0, 4, (12, 5000)), like)
    write_ecg(root, shorter, ecg[:, 500:4500], like)
    report = run({"georgia": root}, tmp_path)
    found = {pair.second.id: pair for f in report.select("near", "leak") for pair in f.pairs}
    for name in (shifted, scaled, shorter):
        assert found[name].first.id == first
        assert found[name].similarity >= 0.94


def test_implausible_values_and_lacking_classes(miniatures, tmp_path):
    root, _ = miniatures.copy("ham10000", tmp_path / "ham")
    table = root / "HAM10000_metadata.csv"
    rows = list(csv.DictReader(table.open(newline="")))
    rows[0]["age"] = "512"
    lesion, other = rows[1:3]
    other["lesion_id"] = lesion["lesion_id"]
    lesion["sex"], other["sex"] = "male", "female"
    for row in rows:
        row["dx"] = "nv" if row["dx"] == "df" else row["dx"]
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    report = run({"ham10000": root}, tmp_path, near=False)
    texts = {f.text.split(":")[0]: f for f in report.select("values")}
    assert texts["age outside 0 to 122 years"].ids == (rows[0]["image_id"],)
    assert texts["patient with two sexes"].count == 1
    assert set(texts) == {"age outside 0 to 122 years", "patient with two sexes"}
    train = climb_hf.audit({"brain_tumor": _one_class(tmp_path)}, cache_dir=tmp_path, near=False, progress=False)
    lacking = {f.where: f.text for f in train.select("classes", "warning")}
    assert list(lacking) == ["brain_tumor: test"]
    assert "`Glioma Tumor`" in lacking["brain_tumor: test"]
    assert "`No Tumor`" not in lacking["brain_tumor: test"]


def _one_class(tmp_path):
    root = tmp_path / "one"
    for seed, name in enumerate(CLASSES):
        put(root, f"Training/{name}/{seed}.jpg", jpeg(picture(seed, 32)))
    put(root, "Testing/no_tumor/9.jpg", jpeg(picture(9, 32)))
    return root


def test_implausible_rates_and_spacings_of_headers(miniatures):
    collection = collect({"georgia": miniatures("georgia", n=12)[0], "vindr_mammo": miniatures("vindr_mammo")[0]})

    class Facts:
        def __init__(self, *facts):
            self._facts = np.array(facts, dtype=np.float32)

        def facts(self):
            return self._facts

    mammo = int(np.flatnonzero(collection.part == 1)[0])
    signals = prints_module.Prints("signal", "ECG", np.array([0, 1]), Facts((500, 0), (5, 0)))
    pictures = prints_module.Prints(
        "picture",
        "pictures",
        np.array([mammo, mammo + 1, mammo + 2]),
        Facts((0.07, 0.07), (np.nan, np.nan), (0.07, 70)),
    )
    found = {f.text.split(":")[0]: f.ids for f in check_headers(collection, [signals, pictures])}
    assert found == {
        "sampling rate outside 50 to 5,000 Hz": (collection.records[1].id,),
        "pixel spacing outside 0.0001 to 20 mm": (collection.records[mammo + 2].id,),
    }


def test_a_second_run_decodes_nothing_and_a_changed_file_is_decoded_again(planted, tmp_path, monkeypatch):
    first = run({"brain_tumor": planted}, tmp_path)
    decoded = []
    original = prints_module._print_records
    monkeypatch.setattr(
        prints_module, "_print_records", lambda *job: decoded.extend(r.id for r in job[3]) or original(*job)
    )
    assert run({"brain_tumor": planted}, tmp_path).as_dict() == first.as_dict()
    assert decoded == []
    changed = put(planted, "Training/glioma_tumor/8.jpg", jpeg(picture(101)))
    again = run({"brain_tumor": planted}, tmp_path)
    assert decoded == [changed]
    assert partners(again, "identical")["Testing/meningioma_tumor/101.jpg"] == changed
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(b"\x93NUMPY cut")
    assert run({"brain_tumor": planted}, tmp_path).as_dict() == again.as_dict()


def test_what_was_decoded_before_an_interruption_is_kept(planted, tmp_path, monkeypatch):
    original, calls = prints_module._print_records, []

    def stopped(*job):
        calls.append(len(job[3]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*job)

    monkeypatch.setattr(prints_module, "_CHUNK", 4)
    monkeypatch.setattr(prints_module, "_print_records", stopped)
    with pytest.raises(KeyboardInterrupt):
        run({"brain_tumor": planted}, tmp_path)
    calls[:] = [0, 0, 0, 0]  # never stopped again
    assert run({"brain_tumor": planted}, tmp_path).select("near")[0].count == 3
    assert sum(calls) == 18 - 8  # 20 records of 18 contents, of which two chunks were kept


def test_processes_give_the_same_as_one(planted, tmp_path, monkeypatch):
    alone = run({"brain_tumor": planted}, tmp_path / "one").as_dict()
    monkeypatch.setattr(prints_module, "_FEW", 1)
    monkeypatch.setattr(prints_module, "_CHUNK", 3)
    assert run({"brain_tumor": planted}, tmp_path / "two", num_proc=2).as_dict() == alone


def _die(*job):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_is_named(planted, tmp_path, monkeypatch):
    monkeypatch.setattr(prints_module, "_FEW", 1)
    monkeypatch.setattr(prints_module, "_CHUNK", 3)
    monkeypatch.setattr(prints_module, "_print_records", _die)
    with pytest.raises(ClimbError, match=r"worker process died .* memory.*num_proc"):
        run({"brain_tumor": planted}, tmp_path, num_proc=2)


def test_a_report_names_no_local_path_and_is_json_whatever_the_options(planted, tmp_path):
    options = {"brain_tumor": {"split_file": tmp_path / "splits.csv"}}  # not read by this split
    report = run({"brain_tumor": planted}, tmp_path, near=False, options=options)
    text = report.write_json(tmp_path / "audit.json").read_text()
    assert str(tmp_path) not in text
    assert json.loads(text)["settings"]["options"] == {"brain_tumor": {"split_file": "splits.csv"}}


def test_bad_arguments_say_what_is_allowed(planted, tmp_path):
    for arguments, message in (
        ({"radius": 17}, "from 0 to 16"),
        ({"radius": 2.5}, "whole number"),
        ({"min_similarity": 0}, "correlation in"),
        ({"num_proc": 0}, "at least 1"),
        ({"options": {"brain_tumor": {"fps": 3}}}, "no option `fps`"),
    ):
        with pytest.raises(OptionError, match=message):
            run({"brain_tumor": planted}, tmp_path, **arguments)
    with pytest.raises(SplitError, match="must be among"):
        run({"brain_tumor": planted}, tmp_path, splits=["dev"])
    with pytest.raises(AccessError, match="climb miniature"):
        run({"brain_tumor": tmp_path / "absent"}, tmp_path)


def test_the_real_brain_tumor_set_has_88_test_images_of_training_images(real_dir, tmp_path):
    report = run({"brain_tumor": real_dir / "brain_tumor"}, tmp_path, near=False)
    (leak,) = report.select("identical", "leak")
    assert leak.count == len(leak.ids) == 88
    assert all(id_.startswith("Testing/no_tumor/") for id_ in leak.ids)
    assert {f.where: f.count for f in report.select("identical", "note")} == {
        "brain_tumor train": 93,
        "brain_tumor test": 80,
    }
    assert not report.select("labels")


@pytest.mark.slow
def test_the_real_brain_tumor_set_has_more_near_copies(real_dir, tmp_path):
    report = run({"brain_tumor": real_dir / "brain_tumor"}, tmp_path, num_proc=2)
    (leak,) = report.select("near", "leak")
    assert leak.count == 171
    assert sum(pair.similarity > 0.995 for pair in leak.pairs) >= 160
    assert {f.where: f.count for f in report.select("labels")} == {
        "brain_tumor test": 4,
        "brain_tumor train / brain_tumor test": 2,
    }


@pytest.mark.slow
def test_real_ecgs_have_one_copy_and_no_false_alarm(real_dir, tmp_path):
    folder = real_dir / "ecg_cinc2021"
    report = run({"georgia": folder, "ptbxl": folder}, tmp_path)
    assert partners(report, "identical") == {"E07510": "E07509"}
    assert not report.select("near")
