"""The ECG sources `chapman_shaoxing`, `georgia` and `cpsc`: code tables, BenchMD's labels, layouts, bad input."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from source_helpers import left_out

import climb_hf
from climb_hf import vocabulary
from climb_hf.errors import AccessError, ClimbError, CorruptFileError, LayoutError, SplitError
from climb_hf.indexing import build_index
from climb_hf.readers.benchmd import SHA256, read_benchmd_list
from climb_hf.readers.ecg import ECG_LEADS, signal_columns
from climb_hf.source import Options

NAMES = ("chapman_shaoxing", "georgia", "cpsc")
LAYOUTS = {
    "chapman_shaoxing": ("physionet", "challenge-2021", "kaggle"),
    "georgia": ("challenge-2021", "kaggle"),
    "cpsc": ("challenge-2021", "kaggle", "original"),
}
LISTS = {"chapman_shaoxing": "ChapmanShaoxing_splits.csv", "georgia": "Ga_splits.csv", "cpsc": "CPSC_splits.csv"}
CLASSES = {
    "normal": "Normal",
    "cd": "Conduction Delay (CD)",
    "hyp": "Hypertrophy (HYP)",
    "mi": "Myocardial Infarction (MI)",
    "sttc": "Sinus Tachycardia/Bradycardia/Conduction (STTC)",
    "afib": "Atrial Fibrillation/Atrial Flutter (A. Fib/Aflutter)",
    "other": "Other",
}
CODES = list(csv.DictReader((Path(__file__).parent / "golden" / "ecg_codes.csv").open(encoding="utf-8")))


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def by_id(dataset):
    return {row["id"]: (split, row) for split, part in dataset.items() for row in part.with_format("numpy")}


def class_names(row, name):
    source = climb_hf.get_source(name)
    return {source.classes[source.concepts.index(vocabulary.concepts()[i])] for i in row["labels"]}


def skipped(cache):
    return [json.loads(line) for log in cache.rglob("skipped.jsonl") for line in log.read_text().splitlines()]


def header_of(folder, truth):
    return (folder / truth.values["file"]).with_suffix(".hea")


def edit(path, *pairs):
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


# ---- code tables


def test_the_tables_hold_every_code_of_the_releases():
    counts = {name: sum(row["source"] == name for row in CODES) for name in NAMES}
    assert counts == {"chapman_shaoxing": 94, "georgia": 123, "cpsc": 9}
    for name in NAMES:
        known = {row["code"] for row in CODES if row["source"] == name}
        assert set(vocabulary.source_vocabulary(name).raw_values) == known
        assert climb_hf.get_source(name).classes == tuple(CLASSES.values())
        assert climb_hf.get_source(name).multi_label


@pytest.mark.parametrize("row", CODES, ids=lambda row: f"{row['source']}-{row['code']}")
def test_every_code_has_its_class(row):
    assert vocabulary.source_vocabulary(row["source"]).class_of(row["code"]) == CLASSES[row["class"]]


def test_the_numbers_of_the_original_cpsc_mean_the_same_codes():
    plain = vocabulary.source_vocabulary("cpsc")
    codes = "426783006 164889003 270492004 164909002 59118001 284470004 164884008 429622005 164931005"
    assert " ".join(plain.canonical(str(number)) for number in range(1, 10)) == codes
    assert plain.classes_without_values == ("Hypertrophy (HYP)", "Myocardial Infarction (MI)")


@pytest.mark.parametrize("name", NAMES)
def test_the_classes_are_those_of_all_codes_together(miniatures, tmp_path, name):
    folder, expected = miniatures(name, 64)
    of_code = {row["code"]: CLASSES[row["class"]] for row in CODES if row["source"] == name}
    rows = by_id(load(name, folder, tmp_path))
    assert any(len(truth.classes) > 1 for truth in expected)
    for truth in expected:
        assert class_names(rows[truth.id][1], name) == {of_code[code] for code in truth.values["codes"]}


# ---- BenchMD


@pytest.mark.parametrize("name", NAMES)
def test_the_papers_split_and_benchmds_labels_come_from_its_list(miniatures, tmp_path, name):
    folder, expected = miniatures(name, 64, with_benchmd=True)
    names = {"train": "train", "val": "test"}
    rows = by_id(load(name, folder, tmp_path, split_by="paper", labels="benchmd"))
    assert {id_: split for id_, (split, _) in rows.items()} == {
        truth.id: names[truth.values["benchmd_split"]] for truth in expected
    }
    of_code = {row["code"]: row["benchmd"].split() for row in CODES if row["source"] == name}
    differs = 0
    for truth in expected:
        row = rows[truth.id][1]
        assert class_names(row, name) == {CLASSES[truth.values["benchmd_label"]]}
        exact = {short for code in truth.values["codes"] for short in of_code[code]}
        assert set(row["metadata"]["benchmd_classes"]) == exact == set(truth.values["benchmd_classes"])
        differs += {CLASSES[short] for short in exact} != set(truth.classes)
        assert list(row["raw_labels"])[: len(truth.values["codes"])] == list(truth.values["codes"])
    assert differs > 5, "BenchMD's table loses codes that the default keeps"


@pytest.mark.parametrize("name", NAMES)
def test_the_list_may_lie_anywhere_and_may_be_short(miniatures, tmp_path, name):
    folder, expected = miniatures(name, with_benchmd=True)
    lines = (folder / LISTS[name]).read_text().splitlines(keepends=True)
    listed = tmp_path / "list.csv"
    listed.write_text("".join(lines[:-3]))
    rows = by_id(load(name, folder, tmp_path, split_by="paper", split_file=str(listed)))
    assert set(rows) == {truth.id for truth in expected[:-3]}
    assert class_names(rows[expected[1].id][1], name) == set(expected[1].classes), (
        "default labels with the paper's split"
    )
    assert left_out(tmp_path) == {"not in BenchMD's list": 3}
    plain, _ = miniatures(name)
    for options in ({"split_by": "paper"}, {"labels": "benchmd"}):
        with pytest.raises(SplitError, match=rf"BenchMD/2d1fe92.*{LISTS[name]} \(sha256 {SHA256[LISTS[name]][:8]}"):
            load(name, plain, tmp_path, **options)


@pytest.mark.parametrize(("column", "value"), [("label", "7"), ("label", ""), ("cd", "yes"), ("split", "dev")])
def test_a_damaged_list_is_refused(miniatures, tmp_path, column, value):
    folder, _ = miniatures("georgia", with_benchmd=True)
    with (folder / "Ga_splits.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    rows[3][column] = value
    with (tmp_path / "list.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(SplitError, match=r"list\.csv"):
        read_benchmd_list(tmp_path / "list.csv", source="georgia")


@pytest.mark.parametrize(("position", "label"), [(76, 1), (145, 5), (7520, 4), (7540, 2), (7670, 0)])
def test_a_record_without_a_class_got_a_random_label(position, label):
    """Rows of the published `Ga_splits.csv` whose seven classes are all 0."""
    assert np.random.RandomState(position).choice(7) == label


# ---- default split, duplicates


@pytest.mark.parametrize("name", NAMES)
def test_copies_of_a_recording_are_named_and_stay_together(miniatures, tmp_path, name):
    for layout in LAYOUTS[name]:
        folder, expected = miniatures(name, layout=layout)
        index = build_index(climb_hf.get_source(name), folder, _options(name))
        records = {record.id: (split, record) for split, part in index.splits.items() for record in part}
        copies = {record.id: record.duplicate_of for _, record in records.values() if record.duplicate_of}
        assert copies == {truth.id: truth.values["duplicate_of"] for truth in expected if truth.values["duplicate_of"]}
        assert len(copies) == 1
        for copy, first in copies.items():
            assert records[copy][1].group == records[first][1].group == first
            assert records[copy][0] == records[first][0]


def _options(name, **options):
    extra = {key: options.pop(key, default) for key, default in climb_hf.get_source(name).extra_options.items()}
    return Options(**options, extra=extra)


# ---- signals and layouts


@pytest.mark.parametrize(("name", "layout"), [(name, layout) for name in NAMES for layout in LAYOUTS[name]])
def test_every_layout_gives_the_same_signals_and_people(miniatures, tmp_path, name, layout):
    folder, expected = miniatures(name, layout=layout)
    rows = by_id(load(name, folder, tmp_path))
    assert set(rows) == {truth.id for truth in expected}
    for truth in expected:
        row, values = rows[truth.id][1], truth.values
        assert row["signal"].shape == (values["num_samples"], 12)
        assert row["signal"].dtype == np.float32
        assert row["sampling_rate"] == 500
        np.testing.assert_allclose(row["signal"][0], values["first_sample"], atol=1e-6)
        assert class_names(row, name) == set(truth.classes)
        assert row["sex"] == values["sex"]
        assert (row["age"] is None or np.isnan(row["age"])) if values["age"] is None else row["age"] == values["age"]
        assert tuple(row["metadata"]["flat_leads"]) == values["flat_leads"]
        assert tuple(row["metadata"]["invalid_leads"]) == values["invalid_leads"]
        assert row["metadata"]["n_samples"] == values["num_samples"]
        for lead in values["invalid_leads"]:
            assert np.isnan(row["signal"][:, ECG_LEADS.index(lead)]).all()
        for lead in values["flat_leads"]:
            assert (row["signal"][:, ECG_LEADS.index(lead)] == 0).all()
    assert any(truth.values["flat_leads"] for truth in expected)
    assert any(truth.values["invalid_leads"] for truth in expected)


@pytest.mark.parametrize("layout", ["challenge-2021", "original"])
def test_rate_and_length_are_options_of_every_layout(miniatures, tmp_path, layout):
    folder, expected = miniatures("cpsc", 8, layout=layout)
    rows = by_id(load("cpsc", folder, tmp_path, sampling_rate=250, length=2000))
    assert {row["signal"].shape for _, row in rows.values()} == {(2000, 12)}
    short = next(truth.id for truth in expected if truth.values["num_samples"] == 3000)
    assert np.isfinite(rows[short][1]["signal"][:1500, 0]).all()
    assert np.isnan(rows[short][1]["signal"][1500:]).all()


def test_the_extra_records_of_cpsc_are_no_part_of_it(miniatures, tmp_path):
    folder, _ = miniatures("cpsc")
    assert list(folder.rglob("Q0001.hea"))
    assert "Q0001" not in by_id(load("cpsc", folder, tmp_path))


def test_the_wrong_gain_of_the_headers_of_2020_is_put_right(miniatures, tmp_path):
    folder, expected = miniatures("georgia", layout="kaggle")
    text = header_of(folder, expected[0]).read_text()
    assert text.startswith(f"{expected[0].id}.mat 12 500 ")
    assert text.count(" 16+24 4880/mV ") == 12
    now, _ = miniatures("georgia")
    old_rows, rows = by_id(load("georgia", folder, tmp_path / "a")), by_id(load("georgia", now, tmp_path / "b"))
    for id_, (_, row) in rows.items():
        np.testing.assert_array_equal(old_rows[id_][1]["signal"], row["signal"])
        assert old_rows[id_][1]["metadata"]["gain_in_header"] == 4880
        assert "gain_in_header" not in row["metadata"]


def test_ningbo_is_taken_in_on_demand(miniatures, tmp_path):
    folder, expected = miniatures("chapman_shaoxing", with_ningbo=True, with_benchmd=True)
    ningbo = {truth.id for truth in expected if truth.values["tranche"] == "ningbo"}
    assert len(ningbo) == 16
    plain = by_id(load("chapman_shaoxing", folder, tmp_path / "a"))
    assert set(plain) == {truth.id for truth in expected} - ningbo
    assert left_out(tmp_path / "a") == {"recorded in Ningbo (`include_ningbo=True` takes it in)": 16}
    rows = by_id(load("chapman_shaoxing", folder, tmp_path / "b", include_ningbo=True))
    assert set(rows) == {truth.id for truth in expected}
    for truth in expected:
        assert rows[truth.id][1]["metadata"]["tranche"] == truth.values["tranche"]
        assert class_names(rows[truth.id][1], "chapman_shaoxing") == set(truth.classes)
    paper = by_id(load("chapman_shaoxing", folder, tmp_path / "c", include_ningbo=True, split_by="paper"))
    assert set(paper) == set(rows)
    assert {paper[id_][0] for id_ in ningbo} == {"train"}
    labels = by_id(load("chapman_shaoxing", folder, tmp_path / "d", include_ningbo=True, labels="benchmd"))
    assert set(labels) == set(plain), "BenchMD has no label for the others"


def test_the_two_damaged_headers_of_the_release_are_skipped(miniatures, tmp_path):
    folder, expected = miniatures("chapman_shaoxing", 64, with_ningbo=True, with_defects=True)
    rows = by_id(load("chapman_shaoxing", folder, tmp_path, include_ningbo=True))
    assert set(rows) == {truth.id for truth in expected}
    reasons = {entry["id"]: entry["reason"] for entry in skipped(tmp_path)}
    assert set(reasons) == {"JS01052", "JS23074"}
    assert "500000/mV" in reasons["JS01052"]
    assert "lead `I` is missing" in reasons["JS23074"]


def test_commas_at_the_end_and_in_a_row_and_repeated_codes(miniatures, tmp_path):
    folder, expected = miniatures("chapman_shaoxing")
    texts = [header_of(folder, truth).read_text() for truth in expected]
    assert any(line.startswith("#Dx:") and line.endswith(",") for text in texts for line in text.splitlines())
    rows = by_id(load("chapman_shaoxing", folder, tmp_path / "a"))
    assert all(code.isdigit() for _, row in rows.values() for code in row["raw_labels"])
    folder, expected = miniatures("georgia")
    rows = by_id(load("georgia", folder, tmp_path / "b"))
    assert any(len(set(row["raw_labels"])) < len(row["raw_labels"]) for _, row in rows.values())


# ---- bad input


def test_flat_and_invalid_leads_are_found_wherever_they_change():
    signal = np.zeros((5000, 12), np.float32)
    signal[:, 1:] += np.arange(5000)[:, None]
    signal[:, 2] = 7
    signal[3333, 2] = 8  # changes once
    signal[:, 3] = np.nan
    signal[:, 4] = np.nan
    signal[17, 4] = 1  # one valid sample
    signal[:4000, 5] = np.nan
    found = signal_columns(signal, 500.0, Options(), Path("E00001.hea"))
    assert found["metadata"] == {"n_samples": 5000, "flat_leads": ["I", "aVL"], "invalid_leads": ["aVR"]}
    assert found["signal"] is signal
    for nothing in (np.full((9, 12), np.nan, np.float32), np.zeros((0, 12), np.float32)):
        with pytest.raises(CorruptFileError, match=r"E00001\.hea.*at least one valid sample"):
            signal_columns(nothing, 500.0, Options(), Path("E00001.hea"))


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_code_stays_and_is_counted(miniatures, tmp_path, caplog, name):
    folder, expected = miniatures.copy(name, tmp_path / "raw")
    only, beside = expected[0], expected[1]
    path = header_of(folder, only)
    path.write_text("\n".join("# Dx: 99" if "Dx:" in line else line for line in path.read_text().splitlines()) + "\n")
    path = header_of(folder, beside)
    path.write_text("\n".join(f"{line},98,99" if "Dx:" in line else line for line in path.read_text().splitlines()))
    with caplog.at_level(logging.WARNING):
        rows = by_id(load(name, folder, tmp_path / "cache"))
    assert "99 (2), 98 (1)" in caplog.text
    assert set(rows) == {truth.id for truth in expected} - {only.id}
    row = rows[beside.id][1]
    assert class_names(row, name) == set(beside.classes)
    assert list(row["raw_labels"])[-2:] == ["98", "99"] == list(row["metadata"]["unknown_codes"])
    assert left_out(tmp_path / "cache") == {"no code of the source's label table": 1}
    assert not skipped(tmp_path / "cache")
    assert set(by_id(load(name, folder, tmp_path / "raw_labels", labels="raw"))) == set(rows)


def test_an_unknown_code_of_a_challenge_copy_of_ptbxl(miniatures, tmp_path, caplog):
    folder, expected = miniatures.copy("ptbxl", tmp_path / "raw", layout="challenge")
    path = next(folder.rglob(f"HR{int(expected[0].id):05d}.hea"))
    path.write_text("\n".join(f"{line},99" if "Dx:" in line else line for line in path.read_text().splitlines()))
    rows = by_id(load("ptbxl", folder, tmp_path / "cache"))
    assert set(rows) == {truth.id for truth in expected}
    assert class_names(rows[expected[0].id][1], "ptbxl") == set(expected[0].classes)
    assert rows[expected[0].id][1]["raw_labels"][-1] == "99"
    assert "99 (1)" in caplog.text


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (("samples", " 500 5000", " 500 6000"), "expected 144024 bytes"),
        (("checksum", None, None), "expected checksum"),
        (("lead", " 0 V3\n", " 0 V9\n"), "lead `V3` is missing"),
        (("unit", "/mV", "/mmHg"), "mmHg"),
    ],
)
def test_headers_that_contradict_their_samples_are_skipped(miniatures, tmp_path, damage, match):
    folder, expected = miniatures.copy("georgia", tmp_path / "raw")
    victim = next(truth for truth in expected[5:] if truth.values["num_samples"] == 5000)
    path = header_of(folder, victim)
    kind, old, new = damage
    if kind == "checksum":
        line = path.read_text().splitlines()[4]
        cells = line.split()
        cells[6] = str((int(cells[6]) + 1 + 2**15) % 2**16 - 2**15)
        old, new = line, " ".join(cells)
    edit(path, (old, new))
    rows = by_id(load("georgia", folder, tmp_path / "cache"))
    assert set(rows) == {truth.id for truth in expected} - {victim.id}
    (entry,) = skipped(tmp_path / "cache")
    assert entry["id"] == victim.id
    assert match in entry["reason"]
    with pytest.raises(ClimbError, match=victim.id):
        load("georgia", folder, tmp_path / "strict", strict=True)
    if kind == "checksum":
        unverified = by_id(load("georgia", folder, tmp_path / "none", verify="none"))
        assert set(unverified) == {truth.id for truth in expected}


def test_a_record_without_a_valid_sample_and_files_that_miss_their_other_half(miniatures, tmp_path):
    folder, expected = miniatures.copy("georgia", tmp_path / "raw", 64)
    silent, lone, bare = expected[3], expected[20], expected[30]
    file = folder / silent.values["file"]
    size = (file.stat().st_size - 24) // 24
    file.write_bytes(file.read_bytes()[:24] + np.full(12 * size, -32768, "<i2").tobytes())
    path = header_of(folder, silent)
    checksum = (-32768 * size + 2**15) % 2**16 - 2**15
    lines = [
        " ".join([*line.split()[:5], "-32768", str(checksum), *line.split()[7:]]) if ".mat" in line else line
        for line in path.read_text().splitlines()
    ]
    path.write_text("\n".join(lines) + "\n")
    header_of(folder, lone).unlink()
    (folder / bare.values["file"]).unlink()
    rows = by_id(load("georgia", folder, tmp_path / "cache"))
    assert set(rows) == {truth.id for truth in expected} - {silent.id, lone.id, bare.id}
    reasons = {entry["id"]: entry["reason"] for entry in skipped(tmp_path / "cache")}
    assert "at least one valid sample" in reasons[silent.id]
    assert "header" in reasons[lone.id]
    assert bare.id in reasons


def test_the_original_cpsc_files_are_checked(miniatures, tmp_path):
    folder, expected = miniatures.copy("cpsc", tmp_path / "raw", 64, layout="original")
    table = folder / "REFERENCE.csv"
    missing, unlisted = expected[0], expected[1]
    (folder / missing.values["file"]).unlink()
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(line for line in lines if not line.startswith(unlisted.id)))
    narrow = expected[2]
    savemat(folder / narrow.values["file"], {"ECG": {"sex": "F", "age": 3, "data": np.ones((2, 500))}})
    cut = expected[5]
    content = (folder / cut.values["file"]).read_bytes()
    (folder / cut.values["file"]).write_bytes(content[: len(content) // 2])
    rows = by_id(load("cpsc", folder, tmp_path / "cache"))
    lost = {truth.id for truth in (missing, unlisted, narrow, cut)}
    assert set(rows) == {truth.id for truth in expected} - lost
    reasons = {entry["id"]: entry["reason"] for entry in skipped(tmp_path / "cache")}
    assert set(reasons) == lost - {unlisted.id}
    assert "12 × samples" in reasons[narrow.id]
    assert left_out(tmp_path / "cache") == {"not in `REFERENCE.csv`": 1}
    with pytest.raises(CorruptFileError, match=f"{missing.id}|{narrow.id}|{cut.id}"):
        load("cpsc", folder, tmp_path / "strict", strict=True)


@pytest.mark.parametrize("name", NAMES)
def test_another_data_set_is_refused_with_the_steps_to_the_right_one(miniatures, tmp_path, name):
    other = {"chapman_shaoxing": "georgia", "georgia": "cpsc", "cpsc": "chapman_shaoxing"}[name]
    folder, _ = miniatures(other)
    with pytest.raises(AccessError, match=rf"{name}: expected records .*physionet"):
        load(name, folder, tmp_path)


# ---- real records


def test_real_georgia_records(real_dir, tmp_path):
    rows = by_id(load("georgia", real_dir / "ecg_cinc2021", tmp_path))
    expected = {
        "E07500": "normal hyp", "E07501": "normal hyp", "E07502": "normal", "E07503": "normal hyp", "E07504": "other",
        "E07505": "hyp", "E07506": "normal", "E07507": "sttc other", "E07508": "normal hyp", "E07509": "normal cd",
        "E07510": "normal cd", "E07511": "normal", "E07512": "normal", "E07513": "normal", "E07514": "normal mi sttc",
        "E07515": "normal", "E07516": "sttc", "E07517": "normal", "E07518": "normal", "E07519": "hyp",
    }  # fmt: skip
    assert {id_: class_names(row, "georgia") for id_, (_, row) in rows.items()} == {
        id_: {CLASSES[short] for short in text.split()} for id_, text in expected.items()
    }
    first, copy = rows["E07509"], rows["E07510"]
    assert copy[1]["duplicate_of"] == copy[1]["group"] == first[1]["group"] == "E07509"
    assert first[0] == copy[0]
    row = rows["E07500"][1]
    assert (row["age"], row["sex"], row["signal"].shape) == (78.0, "male", (5000, 12))
    first_sample = np.array([-68, -58, 9, 63, -39, -24, 156, 97, -146, -68, -48, -156])
    np.testing.assert_allclose(row["signal"][0], first_sample / 1000, atol=1e-6)
    assert row["metadata"]["sx"] is None, "these headers have no such line"


def test_real_georgia_records_with_their_rows_of_the_published_list(real_dir, tmp_path):
    """The rows E07500 to E07519 of `Ga_splits.csv`: classes in BenchMD's order, split, label."""
    text = (
        "1000001t0 1000001t0 1000000t0 1000001t0 0000100t4 0000001t6 1000000t0 0001100t4 1000001t0 1100000t1 "
        "1100000t1 1000000t0 1000000t0 1000000v0 1001000v0 1000000v0 0001000t3 1000000v0 1000000v0 0000001v6"
    )
    published = text.split()
    order = ("normal", "cd", "mi", "sttc", "other", "afib", "hyp")
    lines = [",".join(["", "Unnamed: 0", "file_name", *order, "patient", "split", "label"])]
    for i, text in enumerate(published, 7499):
        name = f"E{i + 1:05d}"
        split = {"t": "train", "v": "val"}[text[7]]
        lines.append(f"{i},{i},/home/ubuntu/raw/ecg/WFDB_Ga/{name}.hea,{','.join(text[:7])},{name},{split},{text[8]}")
        assert np.random.RandomState(i).choice(np.flatnonzero([int(c) for c in text[:7]])) == int(text[8])
    listed = tmp_path / "Ga_splits.csv"
    listed.write_text("\n".join(lines) + "\n")
    options = {"split_by": "paper", "labels": "benchmd", "split_file": str(listed)}
    rows = by_id(load("georgia", real_dir / "ecg_cinc2021", tmp_path, **options))
    assert {id_: split for id_, (split, _) in rows.items()} == {
        f"E{7500 + i:05d}": "train" if text[7] == "t" else "test" for i, text in enumerate(published)
    }
    exact = {row["code"]: row["benchmd"].split() for row in CODES if row["source"] == "georgia"}
    for i, text in enumerate(published):
        row = rows[f"E{7500 + i:05d}"][1]
        assert class_names(row, "georgia") == {CLASSES[order[int(text[8])]]}
        of_header = {short for code in row["raw_labels"] for short in exact[code]}
        assert set(row["metadata"]["benchmd_classes"]) == of_header


def test_real_ningbo_records(real_dir, tmp_path):
    folder = real_dir / "ecg_cinc2021"
    with pytest.raises(LayoutError, match="include_ningbo=True"):
        load("chapman_shaoxing", folder, tmp_path)
    rows = by_id(load("chapman_shaoxing", folder, tmp_path, include_ningbo=True))
    expected = {
        "JS20000": "normal cd sttc other", "JS20001": "normal cd other", "JS20002": "cd sttc other",
        "JS20003": "normal hyp sttc other", "JS20004": "normal hyp other", "JS20005": "normal hyp other",
        "JS20006": "normal hyp sttc other", "JS20007": "normal sttc other", "JS20008": "normal other",
        "JS20009": "normal sttc other", "JS20010": "normal sttc other", "JS20011": "normal other",
        "JS20012": "normal cd sttc other", "JS20013": "normal cd hyp other", "JS20014": "normal cd hyp sttc other",
        "JS20015": "normal cd sttc other", "JS20016": "normal cd other", "JS20017": "normal cd hyp sttc other",
        "JS20018": "normal cd other", "JS20019": "normal sttc other",
    }  # fmt: skip
    assert {id_: class_names(row, "chapman_shaoxing") for id_, (_, row) in rows.items()} == {
        id_: {CLASSES[short] for short in text.split()} for id_, text in expected.items()
    }
    flat = {id_: list(row["metadata"]["flat_leads"]) for id_, (_, row) in rows.items()}
    flat = {id_: leads for id_, leads in flat.items() if leads}
    assert flat == {"JS20004": ["V2", "V4", "V6"], "JS20008": ["V2", "V4", "V6"]}
    assert (rows["JS20008"][1]["age"], rows["JS20008"][1]["sex"]) == (5.0, "male")
    assert {row["metadata"]["tranche"] for _, row in rows.values()} == {"ningbo"}
