"""Oddities of the EEG sources: windows of TUAB, annotation rows of TUEV, arrays and votes of IIIC."""

import hashlib
import logging

import numpy as np
import pytest
from source_helpers import left_out

import climb_hf
from climb_hf.errors import AccessError, ClimbError, DamagedDataError, LayoutError, OptionError, SchemaError
from climb_hf.miniatures._eeg import ELECTRODES, to_trace, write_edf
from climb_hf.readers.montage import BIPOLAR_16
from climb_hf.readers.sparcnet import draw_patients
from climb_hf.registry import get_source


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def rows_of(dataset):
    rows = {}
    for split, part in dataset.items():
        signals = part.select_columns("signal").with_format("numpy")
        for row, other in zip(part.remove_columns("signal"), signals, strict=True):
            rows[row["id"]] = (split, {**row, **other})
    return rows


def names_of(name, row):
    source, names = get_source(name), climb_hf.vocabulary.concepts()
    return tuple(source.classes[source.concepts.index(names[i])] for i in row["labels"])


def recording(path, seconds=12, rate=100, names=ELECTRODES, **header):
    random = np.random.default_rng(len(str(path)))
    path.parent.mkdir(parents=True, exist_ok=True)
    traces = [to_trace(f"EEG {name}-REF", random.normal(0, 50, seconds * rate), rate) for name in names]
    write_edf(path, traces, "X F X X Age:50", **header)


@pytest.mark.parametrize("name", ["tuab", "tuev", "iiic"])
def test_signals_are_the_derivations_in_microvolt_at_their_own_rate(miniatures, tmp_path, name):
    folder, expected = miniatures(name)
    rows = rows_of(load(name, folder, tmp_path))
    assert get_source(name).channels == BIPOLAR_16
    for truth in expected:
        split, row = rows[truth.id]
        assert (split, row["group"], names_of(name, row)) == (truth.split, truth.group, truth.classes)
        assert row["signal"].shape == (truth.values["num_samples"], 16)
        assert row["signal"].dtype == np.float32
        assert row["sampling_rate"] == truth.values["sampling_rate"]
        np.testing.assert_allclose(row["signal"][0], truth.values["first_sample"], atol=2e-3)


@pytest.mark.parametrize(("name", "seconds"), [("tuab", 10), ("tuev", 5), ("iiic", 10)])
def test_rate_and_length_are_options(miniatures, tmp_path, name, seconds):
    folder, _ = miniatures(name)
    for _, row in rows_of(load(name, folder, tmp_path, sampling_rate=200)).values():
        assert (row["signal"].shape, row["sampling_rate"]) == ((200 * seconds, 16), 200)
    for _, row in rows_of(load(name, folder, tmp_path, sampling_rate=100, length=1050)).values():
        assert row["signal"].shape == (1050, 16)
        assert np.isnan(row["signal"][100 * seconds :]).all()
        assert np.isfinite(row["signal"][: 100 * seconds]).all()


@pytest.mark.parametrize("name", ["tuab", "tuev", "iiic"])
def test_the_papers_split_is_the_default(miniatures, tmp_path, name):
    folder, _ = miniatures(name)
    default, paper = (load(name, folder, tmp_path, split_by=way) for way in ("official", "paper"))
    assert {s: p["id"][:] for s, p in default.items()} == {s: p["id"][:] for s, p in paper.items()}


# ---- tuab


@pytest.mark.parametrize("layout", ["v3.0.1", "v2.0.0"])
def test_tuab_layouts_and_header_facts(miniatures, tmp_path, layout):
    folder, expected = miniatures("tuab", 40, layout=layout)
    rows = rows_of(load("tuab", folder, tmp_path))
    assert set(rows) == {truth.id for truth in expected}
    assert {truth.values["age"] is None for truth in expected} == {True, False}, "an age of 999 is there"
    for truth in expected:
        row, meta = rows[truth.id][1], rows[truth.id][1]["metadata"]
        assert row["sex"] == truth.values["sex"]
        assert row["age"] == truth.values["age"]
        for key in ("subject", "session", "token", "window", "start_second"):
            assert meta[key] == truth.values[key]
        assert meta["original_sampling_rate"] == truth.values["sampling_rate"]
        assert meta["recording"] == truth.id.rpartition("_")[0]
        assert "EEG FP1-REF" in meta["channel_names"]


def test_tuab_windows_follow_each_other_and_the_tail_is_dropped(tmp_path):
    recording(tmp_path / "raw/edf/eval/normal/01_tcp_ar/aaaaaaab_s001_t000.edf", seconds=37)
    recording(tmp_path / "raw/edf/eval/normal/01_tcp_ar/aaaaaaac_s001_t000.edf", seconds=9)
    recording(tmp_path / "raw/edf/other/x.edf")
    rows = rows_of(load("tuab", tmp_path / "raw", tmp_path / "cache"))
    assert list(rows) == [f"aaaaaaab_s001_t000_{k:04d}" for k in range(3)]
    signal = np.concatenate([row["signal"] for _, row in rows.values()])
    whole = climb_hf.readers.montage.read_bipolar(
        tmp_path / "raw/edf/eval/normal/01_tcp_ar/aaaaaaab_s001_t000.edf"
    ).signal
    np.testing.assert_array_equal(signal, whole[:3000])
    assert left_out(tmp_path / "cache") == {
        "recording shorter than a window of 10 s": 1,
        "not below a folder of a split and a class": 1,
    }


def test_tuab_record_count_of_minus_one_loads_and_a_wrong_one_is_skipped(tmp_path):
    folder = tmp_path / "raw/edf/train/abnormal/01_tcp_ar"
    recording(folder / "aaaaaaab_s001_t000.edf", seconds=400, rate=20, n_records="-1")
    recording(folder / "aaaaaaac_s001_t000.edf", seconds=12, rate=20, n_records="13")
    rows = rows_of(load("tuab", tmp_path / "raw", tmp_path / "cache"))
    assert len(rows) == 40
    assert {row["group"] for _, row in rows.values()} == {"aaaaaaab"}
    with pytest.raises(ClimbError, match=r"aaaaaaac_s001_t000_0000.*expected 13 data records by the header, found 12"):
        load("tuab", tmp_path / "raw", tmp_path / "strict", strict=True)


def test_tuab_every_window_of_a_cut_recording_counts_toward_the_limit(miniatures, tmp_path):
    folder, expected = miniatures.copy("tuab", tmp_path / "raw", 40)
    victim = next(t for t in expected if t.values["window"] == 2).values["file"]
    content = (folder / victim).read_bytes()
    (folder / victim).write_bytes(content[:-100])
    with pytest.raises(DamagedDataError, match="2 of 39"):
        load("tuab", folder, tmp_path / "cache")


def test_tuab_missing_electrode_is_skipped_or_nan(tmp_path):
    folder = tmp_path / "raw/edf/train/normal/01_tcp_ar"
    recording(folder / "aaaaaaab_s001_t000.edf", seconds=400, rate=20)
    recording(folder / "aaaaaaac_s001_t000.edf", names=[n for n in ELECTRODES if n != "O2"])
    rows = rows_of(load("tuab", tmp_path / "raw", tmp_path / "cache"))
    assert {row["group"] for _, row in rows.values()} == {"aaaaaaab"}
    filled = rows_of(load("tuab", tmp_path / "raw", tmp_path / "cache", missing_electrodes="nan"))
    signal = filled["aaaaaaac_s001_t000_0000"][1]["signal"]
    assert np.flatnonzero(np.isnan(signal).all(axis=0)).tolist() == [7, 15]
    with pytest.raises(OptionError, match="missing_electrodes"):
        load("tuab", tmp_path / "raw", tmp_path / "cache", missing_electrodes="zero")


def test_corpora_are_not_mistaken_for_each_other(miniatures, tmp_path):
    for name, other in (("tuab", "tuev"), ("tuev", "tuab"), ("iiic", "tuab")):
        with pytest.raises(AccessError, match=name):
            load(name, miniatures(other)[0], tmp_path)


# ---- tuev


@pytest.mark.parametrize("annotations", ["rec", "lab"])
def test_tuev_rows_carry_their_annotation(miniatures, tmp_path, annotations):
    folder, expected = miniatures("tuev", 48, annotations=annotations)
    rows = rows_of(load("tuev", folder, tmp_path))
    assert set(rows) == {truth.id for truth in expected}
    for truth in expected:
        split, row = rows[truth.id]
        assert (split, names_of("tuev", row)) == (truth.split, truth.classes)
        assert row["raw_labels"] == [truth.values["raw"][annotations == "lab"]]
        assert row["duplicate_of"] == truth.values["duplicate_of"]
        for key in ("channel_index", "channel_name"):
            assert row["metadata"][key] == truth.values[key]
        for key in ("start", "stop"):
            assert row["metadata"][key] == pytest.approx(truth.values[key])
        assert (row["age"], row["sex"]) == (truth.values["age"], truth.values["sex"])
        np.testing.assert_allclose(row["signal"][0], truth.values["first_sample"], atol=2e-3)
    assert any(truth.values["first_index"] < 0 for truth in expected), "a window begins before the recording"
    assert {truth.values["stop"] - truth.values["start"] == 1 for truth in expected} == {True, False}
    events = {rows[t.id][1]["metadata"]["file_event"] for t in expected if t.split == "test"}
    assert events <= {"spsw", "gped", "pled", "eyem", "artf", "bckg"}


def test_tuev_deduplicate_keeps_one_row_per_event_and_code(miniatures, tmp_path):
    folder, expected = miniatures("tuev", 48)
    rows = rows_of(load("tuev", folder, tmp_path, deduplicate=True))
    kept, seen = set(), set()
    for truth in expected:
        key = (truth.values["file"], truth.values["start"], truth.values["stop"], truth.classes)
        kept |= set() if key in seen else {truth.id}
        seen.add(key)
    assert set(rows) == kept
    assert len(kept) < len(expected)


def test_tuev_faulty_rows_are_skipped_one_by_one(tmp_path):
    folder = tmp_path / "raw/edf/train/aaaaaaar"
    recording(folder / "aaaaaaar_00000001.edf", seconds=60, rate=20)
    good = "".join(f"{k % 22},{k % 50}.5,{k % 50 + 1}.5,{1 + k % 6}\n" for k in range(200))
    bad = "22,1,2,6\n3,5,4,6\n3,61,62,6\n3,nan,2,6\n3,1,2\nx,1,2,6\n-1,1,2,6\n3,1,2,9\n"
    (folder / "aaaaaaar_00000001.rec").write_text(f"{good}\n{bad}")
    rows = rows_of(load("tuev", tmp_path / "raw", tmp_path / "cache"))
    assert len(rows) == 200
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    text = log.read_text()
    assert len(text.splitlines()) == 8
    for reason in ("names channel 22", "a later stop", "after the end of the recording", "should hold channel", "'9'"):
        assert reason in text


def test_tuev_recordings_without_rows_and_rows_without_recording(tmp_path):
    folder = tmp_path / "raw/edf/eval"
    recording(folder / "000/bckg_000_a_.edf", seconds=60, rate=20)
    (folder / "000/bckg_000_a_.rec").write_text("".join(f"0,{k}.0,{k + 1}.0,6.0,0.9\n" for k in range(50)))
    recording(folder / "001/spsw_001_a_1.edf", rate=20)
    (folder / "002").mkdir()
    (folder / "002/pled_002_a_1.rec").write_text("0,1.0,2.0,3\n")
    rows = rows_of(load("tuev", tmp_path / "raw", tmp_path / "cache"))
    assert {(split, row["group"]) for split, row in rows.values()} == {("test", "000")}
    assert names_of("tuev", rows["bckg_000_a__0003"][1]) == ("Background (BCKG)",)
    assert left_out(tmp_path / "cache") == {"no annotation file": 1}
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    assert "pled_002_a_1.edf" in log.read_text()


# ---- iiic


@pytest.mark.parametrize("options", [{}, {"dtype": "float64", "keys": "object"}, {"dtype": "int16"}])
def test_iiic_labels_are_the_most_voted_class_the_first_on_ties(miniatures, tmp_path, options):
    folder, expected = miniatures("iiic", 48, **options)
    rows = rows_of(load("iiic", folder, tmp_path))
    ties = 0
    for truth in expected:
        row, votes = rows[truth.id][1], truth.values["votes"]
        assert row["metadata"]["votes"] == votes
        assert row["raw_labels"] == [str(int(np.argmax(votes)))]
        assert (names_of("iiic", row), row["metadata"]["n_votes"]) == (truth.classes, sum(votes))
        np.testing.assert_allclose(row["signal"][0], truth.values["first_sample"], atol=1e-3)
        ties += votes.count(max(votes)) > 1
    assert ties
    assert left_out(tmp_path) == {"segment of a test patient, label not published": 3}


def test_iiic_split_is_the_papers_draw():
    split = draw_patients(f"subject{i:04d}" for i in range(1950))
    counts = {name: list(split.values()).count(name) for name in ("train", "validation", "test")}
    assert counts == {"train": 1170, "validation": 390, "test": 390}
    patients = [f"subject{i:04d}" for i in range(1950)]
    np.random.seed(42)
    np.random.shuffle(patients)
    assert [p for p, s in split.items() if s == "train"] == patients[:1170]
    assert [p for p, s in split.items() if s == "test"] == patients[1560:]
    assert list(draw_patients(reversed(patients))) == patients
    digest = hashlib.sha256(" ".join(patients).encode()).hexdigest()
    assert digest.startswith("6379565e761c3a8b"), "the generator's stream has changed"


def test_iiic_expert_subset_keeps_every_patient_in_its_split(miniatures, tmp_path):
    folder, expected = miniatures("iiic", 48)
    subset = rows_of(load("iiic", folder, tmp_path, subset="expert10"))
    assert set(subset) == {t.id for t in expected if t.values["n_votes"] >= 10}
    for truth in expected:
        if truth.id in subset:
            split, row = subset[truth.id]
            assert (split, names_of("iiic", row)) == (truth.split, truth.classes)
            np.testing.assert_allclose(row["signal"][0], truth.values["first_sample"], atol=1e-3)
    with pytest.raises(OptionError, match="expert10"):
        load("iiic", folder, tmp_path, subset="all_train")


def test_iiic_without_votes_takes_the_one_hot_labels(miniatures, tmp_path, caplog):
    folder, expected = miniatures.copy("iiic", tmp_path / "raw")
    hard = np.load(folder / "sparcnet_data/all_train_Y2_hard.npy")
    np.save(folder / "sparcnet_data/all_train_Y2_hard.npy", np.roll(hard, 1, axis=1))
    with caplog.at_level(logging.WARNING):
        rows = rows_of(load("iiic", folder, tmp_path / "votes"))
    assert "32 of 32 one-hot labels are not the most voted class" in caplog.text
    assert all(names_of("iiic", rows[t.id][1]) == t.classes for t in expected)
    np.save(folder / "sparcnet_data/all_train_Y2_hard.npy", hard)
    (folder / "sparcnet_data/all_train_Y.npy").unlink()
    rows = rows_of(load("iiic", folder, tmp_path / "hard"))
    assert all(names_of("iiic", rows[t.id][1]) == t.classes for t in expected)
    assert {row["metadata"]["votes"] for _, row in rows.values()} == {None}


def test_iiic_segments_without_votes_or_signal_are_not_loaded(miniatures, tmp_path):
    folder, expected = miniatures.copy("iiic", tmp_path / "raw", 48)
    data = folder / "sparcnet_data"
    votes, signals = np.load(data / "all_train_Y.npy"), np.load(data / "all_train_X.npy")
    votes[3], votes[4], signals[7], signals[8, 2] = 0, np.nan, np.nan, np.nan
    np.save(data / "all_train_Y.npy", votes)
    np.save(data / "all_train_X.npy", signals)
    rows = rows_of(load("iiic", folder, tmp_path / "cache"))
    assert {t.id for t in expected} - set(rows) == {expected[i].id for i in (3, 4, 7)}
    assert np.isnan(rows[expected[8].id][1]["signal"][:, 2]).all()
    assert left_out(tmp_path / "cache")["no vote"] == 2


def test_iiic_a_cut_array_loses_its_last_segments_only(miniatures, tmp_path):
    folder, expected = miniatures.copy("iiic", tmp_path / "raw", 48)
    file = folder / "sparcnet_data/all_train_X.npy"
    file.write_bytes(file.read_bytes()[:-150_000])
    rows = rows_of(load("iiic", folder, tmp_path / "cache"))
    assert set(rows) == {t.id for t in expected[:-2]}
    file.write_bytes(file.read_bytes()[:-1_500_000])
    with pytest.raises(DamagedDataError, match="truncated"):
        load("iiic", folder, tmp_path / "cache")


def test_iiic_arrays_of_different_versions_are_refused(miniatures, tmp_path):
    folder, _ = miniatures.copy("iiic", tmp_path / "raw")
    keys = folder / "sparcnet_data/all_train_key.npy"
    np.save(keys, np.load(keys)[:-1])
    with pytest.raises(SchemaError, match="31 keys, 32 rows and signals of shape"):
        load("iiic", folder, tmp_path / "cache")
    keys.unlink()
    with pytest.raises(LayoutError, match="all_train_key"):
        load("iiic", folder, tmp_path / "cache")


def test_iiic_ages_come_from_the_authors_table(miniatures, tmp_path):
    folder, expected = miniatures("iiic", demographics=True)
    rows = rows_of(load("iiic", folder, tmp_path))
    patients = sorted({t.group for t in expected})
    for _, row in rows.values():
        place = patients.index(row["group"])
        assert row["sex"] == ("male", "female")[place % 2]
        assert row["age"] == (None if place == len(patients) - 1 else 40 + place)
