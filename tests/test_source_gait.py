"""Oddities of HuGaDB: head lines, units, activities per sample, layouts, splits, corrupted gyroscopes."""

import logging

import numpy as np
import pytest
from source_helpers import left_out

import climb_hf
from climb_hf.errors import CorruptFileError, LayoutError, SplitError
from climb_hf.readers.hugadb import (
    ACTIVITIES,
    CHANNELS,
    RATE,
    corrupted_gyroscopes,
    draw_files,
    fit_activity,
    read_activities,
    read_gait,
    read_gait_head,
    runs,
)
from climb_hf.registry import get_source


def load(folder, cache, **options):
    return climb_hf.load_dataset("hugadb", folder, cache_dir=cache, **options)


def rows_of(dataset):
    rows = {}
    for split, part in dataset.items():
        signals = part.select_columns("signal").with_format("numpy")
        for row, other in zip(part.remove_columns("signal"), signals, strict=True):
            rows[row["id"]] = (split, {**row, **other})
    return rows


def classes_of(row):
    source, names = get_source("hugadb"), climb_hf.vocabulary.concepts()
    return tuple(source.classes[source.concepts.index(names[i])] for i in row["labels"])


@pytest.mark.parametrize(
    "options", [{}, {"version": "v1"}, {"layout": "csv"}, {"layout": "csv-bare"}], ids=["v2", "v1", "csv", "bare"]
)
def test_every_layout_gives_units_activities_and_people(miniatures, tmp_path, options):
    folder, expected = miniatures("hugadb", **options)
    rows = rows_of(load(folder, tmp_path))
    assert set(rows) == {truth.id for truth in expected}
    assert any(not truth.classes for truth in expected), "a recording with none of the four classes is there"
    for truth in expected:
        row, meta, values = rows[truth.id][1], rows[truth.id][1]["metadata"], truth.values
        assert row["signal"].shape == (values["num_samples"], 38)
        np.testing.assert_allclose(row["signal"][0], values["first_sample"], rtol=1e-6)
        assert row["sampling_rate"] == pytest.approx(RATE)
        assert classes_of(row) == truth.classes
        assert row["raw_labels"] == [str(act) for act in sorted({act for act, _, _ in values["runs"]})]
        names = [ACTIVITIES[act] for act, start, stop in values["runs"] for _ in range(start, stop)]
        assert row["frame_labels"] == names
        assert meta["segments"] == [list(run) for run in values["runs"]]
        for key in ("weight_kg", "height_cm", "gyro_corrupted_v1", "date"):
            assert meta[key] == values[key]
        assert (row["age"], row["sex"], row["group"]) == (values["age"], values["sex"], truth.group)
    if not options:
        assert {flags for row in rows.values() if (flags := row[1]["metadata"]["gyro_corrupted_v1"])} >= {"C-C-C-"}


def test_channels_are_named_in_the_order_of_the_signal():
    assert len(CHANNELS) == 38
    assert [CHANNELS[i] for i in (0, 3, 6, 18, 35, 36, 37)] == [
        "acc_rf_x", "gyro_rf_x", "acc_rs_x", "acc_lf_x", "gyro_lt_z", "EMG_r", "EMG_l"
    ]  # fmt: skip


def test_labels_follow_rate_and_length(miniatures, tmp_path):
    folder, expected = miniatures("hugadb", 8)
    for truth, (_, row) in zip(
        expected,
        sorted(rows_of(load(folder, tmp_path, sampling_rate=30)).values(), key=lambda r: r[1]["id"]),
        strict=True,
    ):
        assert len(row["frame_labels"]) == len(row["signal"]) == int(np.ceil(truth.values["num_samples"] * 30 / RATE))
        changes = [row["frame_labels"].index(ACTIVITIES[act]) for act, _, _ in truth.values["runs"][:2]]
        assert changes[1] == pytest.approx(truth.values["runs"][1][1] * 30 / RATE, abs=1)
    padded = rows_of(load(folder, tmp_path, length=700))
    for truth in expected:
        row = padded[truth.id][1]
        assert len(row["frame_labels"]) == len(row["signal"]) == 700
        assert row["frame_labels"].count(None) == max(700 - truth.values["num_samples"], 0)
    assert fit_activity(np.array([0, 5]), 3, RATE) == [None, "Sitting", None]


def test_the_default_split_is_by_participant_and_others_are_named(miniatures, tmp_path):
    folder, expected = miniatures("hugadb", 40)
    rows = rows_of(load(folder, tmp_path))
    people = {split: {row["group"] for where, row in rows.values() if where == split} for split in ("train", "test")}
    assert (len(people["train"]), len(people["test"])) == (14, 4)
    assert not people["train"] & people["test"]
    held_out = rows_of(load(folder, tmp_path, split_by="held_out"))
    assert {row["group"] for split, row in held_out.values() if split == "test"} == {"05", "10", "15"}
    random = rows_of(load(folder, tmp_path, split_by="random"))
    assert sum(split == "train" for split, _ in random.values()) == int(0.8 * len(expected))
    with pytest.raises(SplitError, match="291 and 73"):
        load(folder, tmp_path, split_by="paper")


def test_the_random_split_has_the_papers_sizes_whatever_the_order():
    files = [f"f{i:03d}" for i in range(364)]
    drawn = draw_files(files, int(0.8 * 364), 42)
    assert len(drawn) == 291
    assert set(drawn) == set(draw_files(files[::-1], 291, 42)) != set(draw_files(files, 291, 43))


def test_the_first_version_beside_the_second_is_left_out(miniatures, tmp_path):
    folder, expected = miniatures.copy("hugadb", tmp_path / "raw", 8)
    other, _ = miniatures("hugadb", 8, version="v1")
    for file in (other / "Data").glob("HuGaDB_v1*"):
        (folder / "HuGaDB v2" / file.name).write_bytes(file.read_bytes())
    assert set(rows_of(load(folder, tmp_path / "cache"))) == {truth.id for truth in expected}
    assert left_out(tmp_path / "cache") == {"version 1 beside version 2": 8}


def test_a_pointer_of_git_lfs_is_named(tmp_path):
    (tmp_path / "HumanGaitDataBase.zip").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:26ab\n")
    with pytest.raises(LayoutError, match=r"pointer of Git LFS.*git lfs pull"):
        load(tmp_path, tmp_path / "cache")
    (tmp_path / "HumanGaitDataBase.zip").write_bytes(b"PK\3\4")
    with pytest.raises(LayoutError, match="not found"):
        load(tmp_path, tmp_path / "cache")


def test_a_head_that_disagrees_is_said_and_the_samples_count(miniatures, tmp_path, caplog):
    folder, expected = miniatures.copy("hugadb", tmp_path / "raw", 8)
    truth = next(t for t in expected if len(t.classes) == 4)
    file = folder / truth.values["file"]
    head, rest = file.read_text().split("\n#Date", 1)
    file.write_text(f"{head.split(chr(10))[0]}\n#ActivityID\t1 2 \n#Date{rest}")
    with caplog.at_level(logging.WARNING):
        rows = rows_of(load(folder, tmp_path / "cache"))
    assert classes_of(rows[truth.id][1]) == truth.classes
    assert f"`{truth.id}`: the head's activities are not those of the samples" in caplog.text


def test_listed_gyroscopes():
    assert corrupted_gyroscopes("various", 5, 0) == "C-C---"
    assert corrupted_gyroscopes("various", 5, 20) == "CCC---"
    assert corrupted_gyroscopes("various", 9, 10) == "------"
    assert corrupted_gyroscopes("walking", 4, 0) is None


def test_files_are_read_by_column_name_and_damage_is_named(miniatures, tmp_path):
    folder, expected = miniatures("hugadb", 8)
    original = folder / expected[0].values["file"]
    gait, text = read_gait(original), original.read_text()
    assert gait.signal.dtype == np.float32
    assert runs(read_activities(original)) == expected[0].values["runs"]
    head, table = text.split("acc_rf_x", 1)
    lines = ("acc_rf_x" + table).splitlines()
    swapped = [line.split("\t")[::-1] for line in lines]
    path = tmp_path / "a.txt"
    path.write_text(head + "\n".join("\t".join(cells) for cells in swapped) + "\n")
    np.testing.assert_array_equal(read_gait(path).signal, gait.signal)
    path.write_bytes(text.replace("\n", "\r\n").encode())
    np.testing.assert_array_equal(read_gait(path).signal, gait.signal)
    assert read_gait_head(path).ids == tuple(act for act, _, _ in expected[0].values["runs"])
    last = text.rstrip("\n").rpartition("\n")[2]
    damaged = (
        "", "\n\n", head, text.replace("gyro_lt_z", "gyro_lt_y"), text.replace("\tact", ""), text[:-9],
        text + "7\t8\n",
        text.replace(last, last.replace("\t", "\tx", 1)), text[:-2].rpartition("\t")[0] + "\t1",
        text.replace(last, last.replace("\t", "\t\t", 1)), lines[0] + "\n",
    )  # fmt: skip
    for content in damaged:
        path.write_text(content)
        with pytest.raises(CorruptFileError):
            read_gait(path)
    with pytest.raises(CorruptFileError, match="cannot be read"):
        read_gait(tmp_path / "none.txt")


def test_a_recording_without_columns_is_skipped_like_any_damage(miniatures, tmp_path):
    folder, expected = miniatures.copy("hugadb", tmp_path / "raw", 32)
    (folder / expected[3].values["file"]).write_text("#Activity\tsitting \n")
    assert set(rows_of(load(folder, tmp_path / "cache"))) == {t.id for t in expected} - {expected[3].id}
