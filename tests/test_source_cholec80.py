"""Oddities of `cholec80`, on miniatures: layouts, intervals, labels per frame, splits, what is missing or cut off."""

import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from source_helpers import by_id, left_out

import climb_hf
from climb_hf import vocabulary
from climb_hf.builder import ClimbConfig
from climb_hf.errors import AccessError, DamagedDataError, OptionError, SchemaError
from climb_hf.indexing import build_index
from climb_hf.readers.video import probe_video
from climb_hf.readers.workflow import Phases, equal_intervals, read_phases, read_tools


def load(name, folder, cache, **options):
    return climb_hf.load_dataset(name, folder, cache_dir=cache, **options)


def index_of(name, folder, **options):
    source, config = climb_hf.get_source(name), ClimbConfig(name=name)
    for option, value in options.items():
        setattr(config, option, value)
    return build_index(source, source.find_root(folder), config.options())


def records(index):
    return {record.id: record for part in index.splits.values() for record in part}


def cut(file, share=0.6):
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


@pytest.mark.parametrize("layout", ["png", "mp4", "flat"])
def test_cholec80_layouts(miniatures, tmp_path, layout):
    folder, expected = miniatures("cholec80", layout=layout)
    dataset = load("cholec80", folder, tmp_path, num_frames=4)
    rows = by_id(dataset)
    assert [*rows] == [e.id for e in expected]
    for truth in expected:
        split, row = rows[truth.id]
        values, metadata = truth.values, row["metadata"]
        assert split == truth.split == metadata["official_split"]
        assert (metadata["start_frame"], metadata["end_frame"]) == (values["start_frame"], values["end_frame"])
        assert {frame.size for frame in row["frames"]} == {values["size"]}
        places = [0] if layout == "png" else [0, 8, 16, 24]
        assert row["frame_labels"] == [[values["frame_phases"][k], *values["tools"]] for k in places]
        assert row["fps"] == pytest.approx(1.0 if layout == "png" else 25 * 3 / 24)
    stored = {s: p.data.column("frames")[0].as_py()[0] for s, p in dataset.items()}["train"]
    assert (stored["bytes"] is None) == (layout == "png"), "pictures that are files are not copied"
    assert left_out(tmp_path) == {"second with a phase or tools only": 5}


def test_cholec80_intervals_of_several_seconds(miniatures, tmp_path):
    pictures, expected = miniatures("cholec80", n=80)
    videos, _ = miniatures("cholec80", n=80, layout="mp4")
    by_video = {}
    for truth in expected:
        by_video.setdefault(truth.group, []).append(truth)
    from_png = by_id(load("cholec80", pictures, tmp_path / "png", intervals=3))
    from_mp4 = by_id(load("cholec80", videos, tmp_path / "mp4", intervals=3, num_frames=5, image_size=32))
    assert from_png.keys() == from_mp4.keys()
    concepts, source = vocabulary.concepts(), climb_hf.get_source("cholec80")
    name_of = dict(zip(source.concepts, source.classes, strict=True))
    for video, seconds in by_video.items():
        assert len(seconds) == 10
        for number, (low, high) in enumerate(((0, 3), (3, 6), (6, 10))):
            own = seconds[low:high]
            classes = {name for truth in own for name in truth.classes}
            for rows in (from_png, from_mp4):
                _, row = rows[f"{video}_{number:02d}"]
                assert {name_of[concepts[i]] for i in row["labels"]} == classes
                assert row["metadata"]["tools"] == [list(truth.values["tools"]) for truth in own]
            _, row = from_png[f"{video}_{number:02d}"]
            assert (len(row["frames"]), row["fps"]) == (high - low, 1.0)
            first = Image.open(pictures / own[0].values["file"])
            np.testing.assert_array_equal(np.asarray(row["frames"][0]), np.asarray(first))
            assert row["frame_labels"] == [[t.values["frame_phases"][0], *t.values["tools"]] for t in own]
            _, row = from_mp4[f"{video}_{number:02d}"]
            frames = [phase for truth in own for phase in truth.values["frame_phases"]]
            places = [round((len(frames) - 1) * k / 4 + 1e-9) for k in range(5)]
            assert [labels[0] for labels in row["frame_labels"]] == [frames[k] for k in places]
            assert row["fps"] == pytest.approx(25 * 4 / (len(frames) - 1), rel=1e-6)


def test_cholec80_reads_only_its_interval(miniatures, tmp_path, monkeypatch):
    from climb_hf.readers import video

    folder, _ = miniatures("cholec80", n=80, layout="mp4")
    source, config = climb_hf.get_source("cholec80"), ClimbConfig(name="cholec80")
    record = records(index_of("cholec80", folder))["video01_09"]  # frames 225 to 249 of 251, keyframes every 40
    decoded, pictures = [], video._pictures
    monkeypatch.setattr(
        video, "_pictures", lambda *args, **kw: (decoded.append(f.pts) or f for f in pictures(*args, **kw))
    )
    columns = source.read(record, folder, config.options())
    assert len(columns["frames"]) == 16
    assert len(decoded) <= 50


def test_cholec80_phases_and_tools_alone(miniatures, tmp_path):
    folder, expected = miniatures("cholec80")
    phases = set(vocabulary.source_vocabulary("cholec80", "phase").classes)
    concepts, source = vocabulary.concepts(), climb_hf.get_source("cholec80")
    name_of = dict(zip(source.concepts, source.classes, strict=True))
    for scheme in ("phase", "tool"):
        rows = by_id(load("cholec80", folder, tmp_path, labels=scheme))
        for truth in expected:
            _, row = rows[truth.id]
            wanted = [name for name in truth.classes if (name in phases) == (scheme == "phase")]
            assert [name_of[concepts[i]] for i in row["labels"]] == wanted
    assert any(not row["labels"] for _, row in rows.values()), "no tool in use is an empty list"


def test_cholec80_splits_of_the_whole_release():
    source = climb_hf.get_source("cholec80")
    train = sys.modules[type(source).__module__].paper_train()
    test = sorted({f"video{k:02d}" for k in range(1, 81)} - train)
    assert [int(name[5:]) for name in test] == [2, 9, 12, 15, 25, 30, 32, 38, 42, 43, 45, 51, 57, 67, 69, 76]


def test_cholec80_paper_split(miniatures):
    folder, _ = miniatures("cholec80")
    index = index_of("cholec80", folder, split_by="paper")
    groups = {split: {r.group for r in part} for split, part in index.splits.items()}
    assert groups == {
        "train": {"video01", "video24", "video33", "video41", "video78"},
        "test": {"video02", "video15", "video57"},
    }


def test_cholec80_ninety_intervals_as_the_paper_cuts_them():
    parts = equal_intervals(1733, 90)
    assert (len(parts), parts[0], parts[88], parts[89]) == (90, (0, 19), (1672, 1691), (1691, 1733))
    assert equal_intervals(4, 90) == [(0, 1), (1, 2), (2, 3), (3, 4)]
    assert equal_intervals(0, 90) == []
    assert Phases((0, 10), ("a", "b"), 20).between(0, 10) == [(0, "a")]


def test_cholec80_tables_that_contradict_themselves(tmp_path):
    table = tmp_path / "video01-phase.txt"
    table.write_text(" Frame \tPhase\r\n0\tPreparation\r\n1\tPreparation \r\n2\tCleaningCoagulation\r\n", newline="")
    assert read_phases(table) == Phases((0, 2), ("Preparation", "CleaningCoagulation"), 3)
    table.write_text("Frame\tPhase\n0\tPreparation\n2\tPreparation\n")
    with pytest.raises(SchemaError, match="expected the row of frame 1, found '2'"):
        read_phases(table)
    tools = tmp_path / "video01-tool.txt"
    tools.write_text("Frame\tHook\tGrasper\n0\t1\t0\n50\t1\t1\n")
    assert read_tools(tools, ("Grasper", "Hook"), 25) == {0: ("Hook",), 2: ("Grasper", "Hook")}
    for row in ("30\t1\t1", "0\t1\t0", "25\t2\t0"):
        tools.write_text(f"Frame\tHook\tGrasper\n0\t1\t0\n{row}\n")
        with pytest.raises(SchemaError, match="expected a multiple of 25"):
            read_tools(tools, ("Grasper", "Hook"), 25)


def test_cholec80_what_is_missing_is_counted(miniatures, tmp_path):
    folder, _ = miniatures.copy("cholec80", tmp_path / "raw", n=80)
    shutil.rmtree(folder / "frames/video02")
    (folder / "phase_annotations/video24-phase.txt").unlink()
    (folder / "tool_annotations/video33-tool.txt").unlink()
    (folder / "frames/video41/video41_000003.png").unlink()
    shutil.copy(folder / "tool_annotations/video41-tool.txt", folder / "tool_annotations/video81-tool.txt")
    (folder / "phase_annotations/video57-phase.txt").write_text("Frame\tPhase\n1\tPreparation\n")
    index = index_of("cholec80", folder, intervals=4)
    assert {r.group for r in records(index).values()} == {"video01", "video15", "video41", "video78"}
    assert index.left_out == {
        "annotated video that is not there": 1,
        "video without its table `videoNN-phase.txt`": 1,
        "video without its table `videoNN-tool.txt`": 1,
        "not one of the 80 videos": 1,
        "labelled second without its picture": 1,
        "second with a phase or tools only": 3,
    }
    assert [f.id for f in index.failures] == ["video57"]
    assert len(records(index)["video41_01"].files) == 1  # seconds 2 and 3, the first one absent


def test_cholec80_truncated_video(miniatures, tmp_path):
    import av

    folder, _ = miniatures.copy("cholec80", tmp_path / "raw", n=80, layout="mp4")
    front = folder / "videos/video01.mp4"

    with (
        av.open(str(front)) as source,
        av.open(str(tmp_path / "f.mp4"), "w", options={"movflags": "faststart"}) as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    shutil.copy(tmp_path / "f.mp4", front)
    cut(front, 0.7)
    usable = probe_video(front, count_frames=True).n_frames
    assert 50 < usable < 225
    with pytest.raises(DamagedDataError, match="5 of 80 records cannot be read"):
        load("cholec80", folder, tmp_path / "cache")
    source, options = climb_hf.get_source("cholec80"), ClimbConfig(name="cholec80").options()
    own = records(index_of("cholec80", folder))
    assert len(source.read(own["video01_00"], folder, options)["frames"]) == 16
    with pytest.raises(ValueError, match="the video ends before interval 9"):
        source.read(own["video01_09"], folder, options)


def test_cholec80_options_and_root(miniatures, tmp_path):
    folder, _ = miniatures("cholec80")
    with pytest.raises(OptionError, match="`intervals` must be a positive whole number"):
        climb_hf.load_dataset("cholec80", folder, intervals=0)
    with pytest.raises(AccessError, match="phase_annotations"):
        climb_hf.load_dataset("cholec80", folder / "frames" / "video01", cache_dir=tmp_path)
