"""The builder: atomic builds, the cache, skipping, and what a null or moved file does later."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import datasets
import numpy as np
import pytest
from PIL import Image as PillowImage

import climb_hf
from climb_hf.build_log import BuildLog, Failure
from climb_hf.errors import CorruptFileError, DamagedDataError, LabelError, LayoutError, OptionError, SplitError
from climb_hf.indexing import IndexReport, build_index
from climb_hf.source import LeftOut, Options, Record, Skipped


class Stub:
    """A source reduced to what the index needs."""

    name = "stub"
    fractions = {"train": 0.5, "test": 0.5}  # noqa: RUF012

    def __init__(self, *rows):
        self._rows = rows

    def index(self, root, options):
        return self._rows


def test_duplicate_ids_are_failures_and_the_first_record_is_kept(tmp_path):
    index = build_index(Stub(Record("a", "1", "train"), Record("a", "2", "test")), tmp_path, Options())
    assert [r.group for r in index.splits["train"]] == ["1"]
    assert "test" not in index.splits
    assert [(f.id, f.error) for f in index.failures] == [("a", "SchemaError")]


def test_a_default_split_that_leaks_is_refused(tmp_path):
    leaky = Stub(Record("a", "p", "train"), Record("b", "p", "test"))
    with pytest.raises(SplitError, match="`p` in both `train` and `test`"):
        build_index(leaky, tmp_path, Options())
    assert build_index(leaky, tmp_path, Options(split_by="paper")).n_records == 2


def test_rows_left_out_by_rule_are_counted_apart_from_failures(tmp_path):
    rows = (Record("a", "1"), LeftOut("b", "no label"), LeftOut("c", "no label"), Skipped("d", "t.csv", "bad row"))
    index = build_index(Stub(*rows), tmp_path, Options())
    assert index.left_out == {"no label": 2}
    assert [f.id for f in index.failures] == ["d"]
    with pytest.raises(LayoutError, match="no label"):
        build_index(Stub(LeftOut("b", "no label")), tmp_path, Options())


@pytest.mark.parametrize("file", ["../secret.png", "/etc/passwd", "a/../../b.png", "C:\\x.png", "..\\x.png"])
def test_paths_that_leave_the_raw_folder_are_never_read(tmp_path, file):
    index = build_index(
        Stub(Record("a", "1", files=(file,)), Record("b", "2", files=("a/b.png",))), tmp_path, Options()
    )
    assert [(f.id, f.file) for f in index.failures] == [("a", file)]
    assert index.n_records == 1


def test_the_limit_is_more_than_five_percent():
    source, failure = Stub(), Failure("a", "f", "CorruptFileError", "truncated")
    BuildLog.judge(source, [failure], IndexReport(20), strict=False)
    with pytest.raises(DamagedDataError, match="2 of 39"):
        BuildLog.judge(source, [failure] * 2, IndexReport(39), strict=False)
    with pytest.raises(CorruptFileError, match="record `a`, file `f`: truncated"):
        BuildLog.judge(source, [failure], IndexReport(1000), strict=True)


def test_the_split_is_stable_and_group_wise(tmp_path):
    records = [Record(str(i), f"patient-{i % 400}") for i in range(2000)]
    source = Stub(*records)
    source.fractions = {"train": 0.8, "test": 0.2}
    index = build_index(source, tmp_path, Options())
    assert 0.75 < len(index.splits["train"]) / 2000 < 0.85
    few = Stub(*records[::3])
    few.fractions = source.fractions
    where = {r.id: s for s, rows in index.splits.items() for r in rows}
    assert all(where[r.id] == s for s, rows in build_index(few, tmp_path, Options()).splits.items() for r in rows)
    other = build_index(source, tmp_path, Options(seed=7))
    assert {r.id for r in other.splits["test"]} != {r.id for r in index.splits["test"]}


def test_an_unknown_label_is_skipped_and_named(miniatures, tmp_path):
    folder, expected = miniatures.copy("brain_tumor", tmp_path / "raw", n=64)
    (folder / "Training" / "glioma_tumor").joinpath("x.jpg").write_bytes(b"")
    source = folder / "Training" / "glioma_tumor" / "gg (1).jpg"
    unknown = folder / "Training" / "unheard_of"
    unknown.mkdir()
    (unknown / "x.jpg").write_bytes(source.read_bytes())
    (folder / "Training" / "glioma_tumor" / "x.jpg").unlink()
    dataset = climb_hf.load_dataset("brain_tumor", folder, cache_dir=tmp_path / "cache")
    assert sum(part.num_rows for part in dataset.values()) == len(expected)
    (log,) = (tmp_path / "cache").rglob("skipped.jsonl")
    entry = json.loads(log.read_text())
    assert entry["id"] == "Training/unheard_of/x.jpg"
    assert entry["error"] == "LabelError"
    assert "no_tumor" in entry["reason"]
    with pytest.raises(LabelError, match="unheard_of"):
        climb_hf.load_dataset("brain_tumor", folder, cache_dir=tmp_path / "strict", strict=True)


def test_a_killed_build_leaves_nothing_that_loads(miniatures, tmp_path):
    folder, expected = miniatures("ptbxl", 64)
    cache = tmp_path / "cache"
    code = (
        "import time, climb_hf, climb_hf.builder as b; read = b.read_record\n"
        "def slow(*a):\n    time.sleep(0.05)\n    return read(*a)\n"
        f"b.read_record = slow; climb_hf.load_dataset('ptbxl', {str(folder)!r}, cache_dir={str(cache)!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(cache.rglob("*.arrow")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the build must be killed while it runs"
    complete = [p for p in cache.rglob("*.arrow") if ".incomplete" not in p.as_posix()]
    assert not complete
    dataset = climb_hf.load_dataset("ptbxl", folder, cache_dir=cache)
    assert sum(part.num_rows for part in dataset.values()) == len(expected)


def test_options_at_their_default_share_the_cache(miniatures, tmp_path):
    folder, _ = miniatures("brain_tumor")
    plain = climb_hf.load_dataset("brain_tumor", folder, cache_dir=tmp_path)
    same = climb_hf.load_dataset("brain_tumor", folder, cache_dir=tmp_path, strict=False, image_size=None)
    other = climb_hf.load_dataset("brain_tumor", folder, cache_dir=tmp_path, seed=1)
    files = [d["train"].cache_files[0]["filename"] for d in (plain, same, other)]
    assert files[0] == files[1] != files[2]


def test_image_size_stores_resized_pictures(miniatures, tmp_path):
    folder, _ = miniatures("brain_tumor")
    dataset = climb_hf.load_dataset("brain_tumor", folder, cache_dir=tmp_path, image_size=48)
    assert {picture.size for picture in dataset["test"]["image"]} == {(48, 48)}
    assert dataset["test"][0]["image"].mode == "RGB"


@pytest.mark.parametrize(
    ("options", "files"), [({"image_size": 16}, 2), ({}, 1), ({"image_size": 16, "num_proc": 1}, 1)]
)
def test_many_pictures_are_resized_by_all_cores(miniatures, tmp_path, monkeypatch, options, files):
    monkeypatch.setattr("climb_hf.builder.MANY_PICTURES", 20)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    folder, _ = miniatures("brain_tumor")
    dataset = climb_hf.load_dataset("brain_tumor", folder, cache_dir=tmp_path, **options)
    assert len(dataset["train"].cache_files) == files
    assert len(dataset["test"].cache_files) == 1, "a small split stays in one process"


def test_resized_grey_pictures_are_stored_with_one_channel(miniatures, tmp_path):
    folder, _ = miniatures("vindr_cxr")
    dataset = climb_hf.load_dataset("vindr_cxr", folder, cache_dir=tmp_path, image_size=48, split="test")
    stored = dataset.cast_column("image", datasets.Image(decode=False))[0]["image"]["bytes"]
    assert PillowImage.open(io.BytesIO(stored)).mode == "L"
    assert dataset[0]["image"].mode == "RGB"


def test_info_carries_licence_citation_and_homepage(miniatures, tmp_path):
    folder, _ = miniatures("covid_blues")
    info = climb_hf.load_dataset("covid_blues", folder, cache_dir=tmp_path)["train"].info
    assert info.license == "CC-BY-NC-ND-4.0"
    assert "wiedemann2025covidblues" in info.citation
    assert info.homepage.endswith("COVID-BLUES")
    assert info.config_name == "covid_blues"


def test_a_slice_of_a_split_and_full_verification(miniatures, tmp_path):
    folder, _ = miniatures("brain_tumor")
    half = climb_hf.load_dataset("brain_tumor", folder, split="train[:50%]", cache_dir=tmp_path, verify="full")
    assert half.num_rows == 12


def test_a_damaged_picture_that_only_decoding_shows_is_found_by_full_verification(miniatures, tmp_path):
    folder, expected = miniatures.copy("pad_ufes_20", tmp_path / "raw")
    opaque = next(row for row in expected if row.values["mode"] == "RGB")  # others are decoded for their alpha anyway
    victim = next(folder.rglob(opaque.id))
    content = bytearray(victim.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    victim.write_bytes(content)
    quick = climb_hf.load_dataset("pad_ufes_20", folder, cache_dir=tmp_path / "quick")
    full = climb_hf.load_dataset("pad_ufes_20", folder, cache_dir=tmp_path / "full", verify="full")
    assert victim.name in {i for part in quick.values() for i in part["id"]}
    assert victim.name not in {i for part in full.values() for i in part["id"]}


def test_parquet_of_our_rows_embeds_pictures_when_asked(miniatures, tmp_path):
    folder, _ = miniatures.copy("brain_tumor", tmp_path / "raw")
    dataset = climb_hf.load_dataset("brain_tumor", folder, split="test", cache_dir=tmp_path / "cache")
    pixels = np.asarray(dataset[0]["image"])
    dataset.save_to_disk(tmp_path / "saved")
    folder.rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        dataset[0]["image"].load()
    saved = datasets.load_from_disk(tmp_path / "saved")
    assert np.array_equal(np.asarray(saved[0]["image"]), pixels)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("brain_tumor", "image_size", "64"),
        ("brain_tumor", "image_size", 64.5),
        ("brain_tumor", "validation", "0.1"),
        ("covid_blues", "num_frames", "16"),
        ("covid_blues", "num_frames", 2.5),
        ("ptbxl", "length", 2.5),
        ("ptbxl", "sampling_rate", float("inf")),
    ],
)
def test_options_of_the_wrong_type_are_refused_by_name(miniatures, tmp_path, name, option, value):
    with pytest.raises(OptionError, match=f"`{option}` must be"):
        climb_hf.load_dataset(name, miniatures(name)[0], cache_dir=tmp_path, **{option: value})


def test_a_record_that_names_no_file_is_a_failure_not_a_crash(tmp_path):
    index = build_index(Stub(Record("a", "1", "train", files=("",)), Record("b", "2", "train")), tmp_path, Options())
    assert [failure.id for failure in index.failures] == ["a"]


@pytest.mark.parametrize("error", [IndexError("i"), KeyError("k"), OverflowError("o"), TypeError("t")])
def test_whatever_a_decoder_raises_costs_one_record(miniatures, tmp_path, monkeypatch, error):
    folder, expected = miniatures("brain_tumor")
    source = climb_hf.get_source("brain_tumor")
    read = type(source).read

    def break_one(self, record, root, options):
        if record.id == expected[0].id:
            raise error
        return read(self, record, root, options)

    monkeypatch.setattr(type(source), "read", break_one)
    dataset = climb_hf.load_dataset("brain_tumor", folder, cache_dir=tmp_path)
    assert sum(map(len, dataset.values())) == len(expected) - 1


def test_streamed_numbers_are_those_of_the_built_table(miniatures, tmp_path):
    folder, _ = miniatures("covid_blues")
    built = climb_hf.load_dataset("covid_blues", folder, cache_dir=tmp_path, split="train", num_frames=3)
    streamed = climb_hf.load_dataset("covid_blues", folder, streaming=True, split="train", num_frames=3)
    assert [row["fps"] for row in streamed] == built["fps"][:]


def test_the_error_for_missing_data_names_a_command_that_works(tmp_path):
    from typer.testing import CliRunner

    from climb_hf.cli.app import app

    with pytest.raises(FileNotFoundError, match="`climb miniature proteins DIR`"):
        climb_hf.load_dataset("proteins", tmp_path / "absent")
    assert CliRunner().invoke(app, ["miniature", "proteins", str(tmp_path / "raw")]).exit_code == 0


def test_the_limit_holds_while_streaming_too(miniatures, tmp_path):
    folder, expected = miniatures.copy("brain_tumor", tmp_path / "raw", n=40)
    for row in expected[:2]:  # 2 of 40 are tolerated, 3 are not
        (folder / row.id).write_bytes(b"")
    streamed = climb_hf.load_dataset("brain_tumor", folder, streaming=True)
    for _ in range(2):  # a second epoch does not count the same records again
        assert sum(len(list(part)) for part in streamed.values()) == 38
    (folder / expected[2].id).write_bytes(b"")
    with pytest.raises(DamagedDataError, match="3 of 40 records"):
        [list(part) for part in climb_hf.load_dataset("brain_tumor", folder, streaming=True).values()]
