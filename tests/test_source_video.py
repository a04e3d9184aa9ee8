"""Oddities of the ultrasound videos: `echonet_dynamic` and `covid_us`, on miniatures."""

import csv
import json
import logging
import shutil
from collections import Counter

import numpy as np
import pytest
from source_helpers import by_id, left_out

import climb_hf
from climb_hf import vocabulary
from climb_hf.builder import ClimbConfig
from climb_hf.errors import LayoutError, OptionError, SchemaError, SplitError
from climb_hf.indexing import build_index


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def index_of(name, folder, **options):
    source, config = climb_hf.get_source(name), ClimbConfig(name=name)
    for option, value in options.items():
        setattr(config, option, value)
    return build_index(source, source.find_root(folder), config.options())


def records(index):
    return {record.id: record for part in index.splits.values() for record in part}


def skipped(cache):
    (file,) = cache.rglob("skipped.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def cut(file, share=0.6):
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def edit_table(path, change, encoding="utf-8"):
    """Rewrite a table: `change` gets its rows as lists, the header first."""
    with path.open(newline="", encoding=encoding) as stream:
        rows = change(list(csv.reader(stream)))
    with path.open("w", newline="", encoding=encoding) as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)


# echonet_dynamic


def test_echonet_targets_splits_and_metadata(miniatures, tmp_path):
    folder, expected = miniatures("echonet_dynamic")
    dataset = load("echonet_dynamic", folder, tmp_path, num_frames=4)
    assert {split: part["id"][:] for split, part in dataset.items()} == {
        split: [e.id for e in expected if e.split == split] for split in ("train", "validation", "test")
    }
    rows = by_id(dataset)
    for truth in expected:
        _, row = rows[truth.id]
        assert row["targets"] == {name: truth.values[name] for name in ("ef", "esv", "edv")}
        esv, edv = row["targets"]["esv"], row["targets"]["edv"]
        assert row["targets"]["ef"] == pytest.approx((edv - esv) / edv * 100, abs=1e-6)
        assert len(row["frames"]) == 4
        assert row["frames"][0].size == (112, 112)  # whatever the table says
        assert row["fps"] == pytest.approx(truth.values["fps"] * 3 / (truth.values["num_frames"] - 1))
        assert (row["metadata"]["n_frames"], row["metadata"]["fps"]) == (
            truth.values["num_frames"],
            truth.values["fps"],
        )
        traced = row["metadata"]["tracings"]
        assert [one["frame"] for one in traced] == truth.values["traced"]
        assert {one["n_chords"] for one in traced} == ({truth.values["n_chords"]} if traced else set())
        if truth is not expected[6]:  # the outline that crosses itself has no reliable size
            roles = {one["role"]: one["frame"] for one in traced}
            assert roles == ({role: truth.values[role] for role in ("diastole", "systole")} if traced else {})
    odd = rows[expected[2].id][1]
    assert (odd["metadata"]["frame_height"], odd["metadata"]["frame_width"]) == (768, 1024)
    assert (odd["masks"], odd["frame_labels"], odd["metadata"]["tracings"]) == (None, None, [])


def geometry(values, size=(112, 112)):
    row, column, along, across, tilt = values
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    dy, dx = y - row, x - column
    u, v = np.cos(tilt) * dy - np.sin(tilt) * dx, np.sin(tilt) * dy + np.cos(tilt) * dx
    return (u / along) ** 2 + (v / across) ** 2 <= 1


def test_echonet_masks_lie_on_the_traced_frames_and_on_the_ventricle(miniatures, tmp_path, caplog):
    folder, expected = miniatures("echonet_dynamic")
    with caplog.at_level(logging.WARNING):
        rows = by_id(load("echonet_dynamic", folder, tmp_path / "all", num_frames="all"))
    late = expected[5]
    assert f"{late.id}: tracings of frames [{late.values['num_frames']}] are taken for the last frame" in caplog.text
    for number, truth in enumerate(expected):
        _, row = rows[truth.id]
        if not truth.values["traced"]:
            continue
        count = truth.values["num_frames"]
        assert len(row["frames"]) == len(row["masks"]) == len(row["frame_labels"]) == count
        at = {min(frame, count - 1): values for frame, values in truth.values["ellipses"].items()}
        assert {k for k, mask in enumerate(row["masks"]) if mask is not None} == set(at)
        for frame, values in at.items():
            mask = np.asarray(row["masks"][frame])
            assert (mask.shape, set(np.unique(mask))) == ((112, 112), {0, 255})
            ventricle = geometry(values)
            overlap = ((mask > 0) & ventricle).sum() / ((mask > 0) | ventricle).sum()
            assert overlap > {4: 0.6, 6: 0.5}.get(number, 0.9), truth.id
            if number not in (4, 6):  # the drawn cavity is dark
                grey = np.asarray(row["frames"][frame]).mean(axis=2)
                assert grey[mask > 0].mean() < 0.5 * grey[mask == 0].mean()
    truth = expected[0]
    labels = rows[truth.id][1]["frame_labels"]
    assert {label: labels.index(label) for label in labels if label} == {
        role: truth.values[role] for role in ("systole", "diastole")
    }


def test_echonet_traced_frames_only(miniatures, tmp_path):
    folder, expected = miniatures("echonet_dynamic")
    rows = by_id(load("echonet_dynamic", folder, tmp_path / "cache", traced_only=True, image_size=56))
    assert set(rows) == {e.id for e in expected if e.values["traced"]}
    assert left_out(tmp_path / "cache") == {"no tracing (`traced_only=True`)": 1}
    for truth in expected:
        if truth.id not in rows or truth is expected[6]:
            continue
        _, row = rows[truth.id]
        first, last = sorted(truth.values["traced"])
        last = min(last, truth.values["num_frames"] - 1)
        assert len(row["frames"]) == len(row["masks"]) == 2
        assert row["fps"] == pytest.approx(truth.values["fps"] / (last - first))
        order = ["diastole", "systole"] if truth.values["diastole"] == first else ["systole", "diastole"]
        assert row["frame_labels"] == order
        masks = [np.asarray(mask) for mask in row["masks"]]
        assert {mask.shape for mask in masks} == {(56, 56)}
        areas = dict(zip(row["frame_labels"], ((mask > 0).sum() for mask in masks), strict=True))
        assert areas["diastole"] > areas["systole"]


def test_echonet_users_copies_of_the_tables(miniatures, tmp_path):
    folder, expected = miniatures.copy("echonet_dynamic", tmp_path / "raw")
    (folder / "Videos").rename(folder / "a4c-video-dir")
    edit_table(
        folder / "FileList.csv", lambda rows: [["", "Unnamed: 0", *rows[0]], *(["1", "2", *r] for r in rows[1:])]
    )
    (folder / "VolumeTracings.csv").unlink()
    index = index_of("echonet_dynamic", folder)
    assert set(records(index)) == {e.id for e in expected}
    with pytest.raises(LayoutError, match=r"VolumeTracings\.csv"):
        index_of("echonet_dynamic", folder, traced_only=True)
    edit_table(folder / "FileList.csv", lambda rows: [row[:-1] for row in rows])
    with pytest.raises(SchemaError, match="`Split` is missing"):
        index_of("echonet_dynamic", folder)
    shutil.rmtree(folder / "a4c-video-dir")
    with pytest.raises(LayoutError, match="no folder `Videos/`"):
        index_of("echonet_dynamic", folder)


def test_echonet_bad_rows_missing_and_unlisted_videos(miniatures, tmp_path):
    folder, expected = miniatures.copy("echonet_dynamic", tmp_path / "raw", n=64)
    names = [e.id for e in expected]

    def change(rows):
        rows[1][-1] = "VALID"
        rows[2][1] = "high"
        return [row for row in rows if row[0] != names[3]]

    edit_table(folder / "FileList.csv", change)
    with (folder / "VolumeTracings.csv").open("a") as table:
        table.write(f"0XDEAD.avi,1,1,2,2,4\n{names[7]}.avi,1,1,2,2,soon\n")
    index = index_of("echonet_dynamic", folder)
    assert {f.id: f.error for f in index.failures} == dict.fromkeys((names[0], names[1], names[7]), "SchemaError")
    assert index.left_out == {
        "video without a row in `FileList.csv`": 1,
        "tracing of a video without a row in `FileList.csv`": 2,
    }


def test_echonet_absent_and_empty_videos_are_skipped_and_named(miniatures, tmp_path):
    folder, expected = miniatures.copy("echonet_dynamic", tmp_path / "raw", n=64)
    absent, empty = (folder / expected[k].values["file"] for k in (9, 10))
    absent.unlink()
    shutil.copy(write_empty_video(tmp_path / "empty.avi"), empty)
    rows = by_id(load("echonet_dynamic", folder, tmp_path / "cache", num_frames=1))
    assert set(rows) == {e.id for e in expected} - {absent.stem, empty.stem}
    reasons = {entry["id"]: (entry["file"], entry["reason"]) for entry in skipped(tmp_path / "cache")}
    assert reasons[absent.stem][0] == f"Videos/{absent.name}"
    assert "cannot be read" in reasons[absent.stem][1]
    assert "no whole frame" in reasons[empty.stem][1]


def write_empty_video(path):
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=50)
        stream.width = stream.height = 112
        stream.pix_fmt = "yuvj420p"
        container.start_encoding()
    return path


def test_echonet_usable_frames_of_a_truncated_video(miniatures, tmp_path, caplog):
    folder, expected = miniatures.copy("echonet_dynamic", tmp_path / "raw")
    truth = expected[0]
    cut(folder / truth.values["file"])
    with caplog.at_level(logging.WARNING):
        rows = by_id(load("echonet_dynamic", folder, tmp_path / "cache", num_frames=5, verify="none"))
    assert "is truncated" in caplog.text or "can be decoded" in caplog.text
    whole, part = rows[expected[1].id][1], rows[truth.id][1]
    assert len(whole["frames"]) == len(part["frames"]) == 5
    assert part["fps"] > 1.3 * truth.values["fps"] * 4 / (truth.values["num_frames"] - 1)  # they lie closer together


def test_echonet_paper_split_says_why_not(miniatures):
    folder, _ = miniatures("echonet_dynamic")
    with pytest.raises(SplitError, match="10,030"):
        climb_hf.load_dataset("echonet_dynamic", folder, split_by="paper")


# covid_us

LICENCES = {"pocusatlas": "CC BY-NC 4.0", "litfl": "CC BY-NC-SA 4.0", "radio": "CC BY-NC-SA 3.0"}  # as the table says


def test_covid_us_tables_by_id(miniatures, tmp_path):
    folder, expected = miniatures("covid_us")
    rows = by_id(load("covid_us", folder, tmp_path, num_frames="all"))
    numbers = [int(e.id.split("_")[0]) for e in expected]
    assert numbers == sorted(numbers)
    for truth in expected:
        _, row = rows[truth.id]
        values = truth.values
        assert row["targets"] == (None if values["luss"] is None else {"luss": values["luss"]})
        assert len(row["frames"]) == values["num_frames"]
        assert row["frames"][0].size == values["size"]
        assert row["fps"] == pytest.approx(values["fps"])
        metadata = row["metadata"]
        assert (metadata["probe"], metadata["type"], metadata["crop_box"]) == (
            values["probe"],
            values["type"],
            values["crop_box"],
        )
        assert metadata["file"] == values["file"]
        assert metadata["licence"] == LICENCES.get(truth.id.split("_")[1])
    comments = [row["metadata"]["comment"] for _, row in rows.values() if row["metadata"]["comment"]]
    assert comments[0] == "synthetic clip – the operator’s note,\nsecond line at 37°"
    assert any(row["metadata"]["clinical"].get("drug_use") == "yes" for _, row in rows.values())
    assert left_out(tmp_path) == {
        "withdrawn by its source": 1,
        "video of the class `Other`": 2,
        "video that the tables list and that is not there": 1,
        "no MP4 (`formats='all'` takes it)": 4,
    }


def test_covid_us_other_formats_and_raw_labels(miniatures, tmp_path):
    folder, expected = miniatures.copy("covid_us", tmp_path / "raw")
    old = next((folder / "data/video/original").glob("*_butterfly_*.mp4"))
    shutil.copy(old, old.with_name("22_butterfly_covid.mp4"))  # of an old download
    (folder / "copies").mkdir()
    shutil.copy(old, folder / "copies" / old.name)
    rows = by_id(load("covid_us", folder, tmp_path / "cache", formats="all", num_frames=2))
    extra = {
        row["metadata"]["file"].rsplit(".")[-1]: row
        for i, (_, row) in rows.items()
        if i not in {e.id for e in expected}
    }
    assert set(extra) == {"gif", "wmv", "mov", "avi"}
    assert all(len(row["frames"]) == 2 for row in extra.values())
    assert "22_butterfly_covid" not in rows
    assert left_out(tmp_path / "cache")["another file of one video"] == 1
    raw = index_of("covid_us", folder, labels="raw", formats="all")
    kinds = Counter(r.raw_labels[0] for r in records(raw).values())
    assert kinds["Other"] == 2
    assert set(kinds) == {"COVID", "Pneumonia", "Normal", "Other"}
    with pytest.raises(OptionError, match="`formats` must be 'mp4' or 'all'"):
        climb_hf.load_dataset("covid_us", folder, formats="gif")
    with pytest.raises(SplitError, match="unsorted listing"):
        climb_hf.load_dataset("covid_us", folder, split_by="paper")


def test_covid_us_split_is_by_patient_and_does_not_move(miniatures, tmp_path):
    folder, expected = miniatures.copy("covid_us", tmp_path / "raw", n=96)
    index = index_of("covid_us", folder)
    found = {r.id: split for split, part in index.splits.items() for r in part}
    shares = Counter((r.raw_labels[0], split) for split, part in index.splits.items() for r in part)
    for word in ("COVID", "Pneumonia", "Normal"):
        assert 0.15 < shares[word, "test"] / (shares[word, "test"] + shares[word, "train"]) < 0.36
    for file in sorted((folder / "data/video/original").glob("*.mp4"))[::2]:
        file.unlink()
    fewer = {r.id: split for split, part in index_of("covid_us", folder).splits.items() for r in part}
    assert len(fewer) < len(found)
    assert fewer.items() <= found.items()
    other = {r.id: s for s, part in index_of("covid_us", folder, seed=1).splits.items() for r in part}
    assert other != fewer
    assert {e.group for e in expected} == {r.group for r in records(index).values()}


def test_covid_us_videos_without_tables(miniatures, tmp_path, caplog):
    folder, expected = miniatures("covid_us", layout="videos")
    with caplog.at_level(logging.WARNING):
        rows = by_id(load("covid_us", folder, tmp_path, num_frames=1))
    assert "by video, not by patient" in caplog.text
    names = vocabulary.concepts()
    for truth in expected:
        _, row = rows[truth.id]
        assert (row["group"], row["age"], row["targets"]) == (truth.id, None, None)
        assert names[row["labels"][0]] == vocabulary.source_vocabulary("covid_us").concept_of(truth.id.split("_")[2])
    flat = index_of("covid_us", folder / "videos")
    assert set(records(flat)) == set(rows)


def test_covid_us_contradictions_are_named(miniatures, tmp_path):
    folder, expected = miniatures.copy("covid_us", tmp_path / "raw")
    first, second, third = (e.id for e in expected[:3])

    def change(rows):
        by_name = {row[0]: row for row in rows}
        by_name[first][4] = "Other"
        by_name[second][1] = "high"
        return [row for row in rows if row[0] != third]

    edit_table(folder / "labels/COVIDx-US1.4_4class.csv", change, "cp1252")
    index = index_of("covid_us", folder)
    assert {f.id for f in index.failures} == {first, second}
    assert "found 'Other'" in next(f.reason for f in index.failures if f.id == first)
    assert index.left_out["video without a patient in `labels/COVIDx-US1.4_4class.csv`"] == 1


# the makers


@pytest.mark.parametrize(("name", "n_classes"), [("echonet_dynamic", 0), ("covid_us", 3), ("cholec80", 14)])
def test_miniatures_are_the_same_byte_for_byte_and_hold_every_class(name, n_classes, tmp_path):
    folders = {key: tmp_path / key for key in "abc"}
    n = max(9, 4 * n_classes)
    made = [climb_hf.miniature(name, folders[key], n=n, seed=seed) for key, seed in (("a", 3), ("b", 3), ("c", 4))]
    trees = [
        {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
        for folder in folders.values()
    ]
    assert made[0] == made[1]
    assert trees[0] == trees[1]
    assert trees[0] != trees[2]
    assert [len(rows) for rows in made] == [n] * 3
    assert len({label for row in made[0] for label in row.classes}) == n_classes
