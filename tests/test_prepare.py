"""`climb prepare`: the rows of `load_dataset` without our package, resuming byte for byte, full targets."""

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from prepare_helpers import comparable, shards, start_command, tree
from typer.testing import CliRunner

import climb_hf
from climb_hf.cli.app import app
from climb_hf.errors import (
    AccessError,
    CorruptFileError,
    DamagedDataError,
    LayoutError,
    OptionError,
    UnknownSourceError,
)
from climb_hf.prepare import engines, prepare, read_manifest, verify
from climb_hf.prepare.plan import parse_size
from climb_hf.prepare.stores import LocalStore, open_store

SMALL = {"num_proc": 1, "shard_size": "60KB"}
#: One source of every family, with DICOM (vindr_cxr), masks (busi), Arrow columns and JSON.
FAMILIES = (
    "brain_tumor",
    "vindr_cxr",
    "busi",
    "ptbxl",
    "abide",
    "expression_atlas",
    "vital",
    "kits23",
    "echonet_dynamic",
)


class Killed(BaseException):
    """Stands for the death of the process in tests that stay in it."""


def stop_after(monkeypatch, number):
    """Let the process die after a number of shards."""
    built = []

    def build(task, store):
        if len(built) == number:
            raise Killed
        built.append(task.path)
        return real(task, store)

    real = engines.build_shard
    monkeypatch.setattr(engines, "build_shard", build)


@pytest.mark.parametrize("name", FAMILIES)
def test_rows_and_features_are_those_of_load_dataset(name, miniatures, tmp_path):
    raw, _ = miniatures(name, 12)
    (done,) = prepare({name: raw}, tmp_path / "out", **SMALL)
    expected = climb_hf.load_dataset(name, raw, cache_dir=tmp_path / "cache")
    found = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert list(found) == list(expected)
    assert done.splits == {split: len(part) for split, part in expected.items()}
    for split, part in expected.items():
        assert found[split].features == part.features
        for row, truth in zip(found[split], part, strict=True):
            assert comparable(row) == comparable(truth), truth["id"]


def test_loads_without_our_package_and_without_the_raw_folder(miniatures, tmp_path):
    raw, _ = miniatures.copy("vindr_cxr", tmp_path / "raw", n=8)
    truth = climb_hf.load_dataset("vindr_cxr", raw, cache_dir=tmp_path / "cache")["train"][0]
    prepare({"vindr_cxr": raw}, tmp_path / "out", **SMALL)
    raw.rename(tmp_path / "moved")
    code = (
        "import sys, datasets, hashlib\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('climb_hf', 'pydicom'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "row = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2], split='train')[0]\n"
        "print(row['id'], row['image'].mode, hashlib.sha256(row['image'].tobytes()).hexdigest())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out"), str(tmp_path / "plain")], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    digest = hashlib.sha256(truth["image"].tobytes()).hexdigest()
    assert run.stdout.split() == [truth["id"], "RGB", digest]


def test_pictures_are_embedded_resized_and_without_dicom_headers(miniatures, tmp_path):
    raw, _ = miniatures("vindr_cxr", 8)
    prepare({"vindr_cxr": raw}, tmp_path / "out", options={"*": {"image_size": 32}}, **SMALL)
    for path in shards(tmp_path / "out"):
        content = (tmp_path / "out" / path).read_bytes()
        assert b"DICM" not in content
        assert str(raw).encode() not in content
        column = pq.read_table(tmp_path / "out" / path)["image"].to_pylist()
        assert all(item["bytes"].startswith(b"\x89PNG") for item in column)
    rows = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path), split="train")
    assert {row["image"].size for row in rows} == {(32, 32)}
    assert read_manifest(tmp_path / "out", "vindr_cxr").header["options"]["image_size"] == 32


def test_two_sources_are_two_configurations_and_a_third_is_added_later(miniatures, tmp_path):
    out = tmp_path / "out"
    prepare({name: miniatures(name, 12)[0] for name in ("brain_tumor", "proteins")}, out, **SMALL)
    before = tree(out)
    prepare({"pad_ufes_20": miniatures("pad_ufes_20", 12)[0]}, out, **SMALL)
    assert datasets.get_dataset_config_names(str(out)) == ["brain_tumor", "pad_ufes_20", "proteins"]
    assert len(datasets.load_dataset(str(out), "proteins", cache_dir=str(tmp_path / "c"), split="train")) > 0
    written = ("README.md", "LICENSE.md")  # over all sources
    assert {path: before[path] for path in before if path not in written} == {
        path: content for path, content in tree(out).items() if path in before and path not in written
    }
    card = yaml.safe_load((out / "README.md").read_text().split("---")[1])
    assert card["climb_sources"] == ["brain_tumor", "pad_ufes_20", "proteins"]
    assert card["license"] == "other"  # proteins states no licence
    assert "Not to be passed on" in (out / "README.md").read_text()
    sizes = {info["config_name"]: info for info in card["dataset_info"]}
    assert sum(split["num_examples"] for split in sizes["pad_ufes_20"]["splits"]) == 12


def test_a_killed_run_goes_on_and_writes_the_same_bytes(miniatures, tmp_path, monkeypatch):
    raw, _ = miniatures("ptbxl", 12)
    (whole,) = prepare({"ptbxl": raw}, tmp_path / "a" / "out", **SMALL)
    for number in (0, 1, 4):
        with monkeypatch.context() as patched:
            stop_after(patched, number)
            with pytest.raises(Killed):
                prepare({"ptbxl": raw}, tmp_path / "b" / "out", **SMALL)
    interrupted = tree(tmp_path / "b" / "out")
    assert b"not-finished" in interrupted["README.md"], "a half-built target must not load"
    assert len([path for path in interrupted if path.endswith(".parquet")]) == 5
    (done,) = prepare({"ptbxl": raw}, tmp_path / "b" / "out", **SMALL)
    assert done.reused == 5
    assert done.sha256 == whole.sha256
    assert tree(tmp_path / "b" / "out") == tree(tmp_path / "a" / "out")
    (again,) = prepare({"ptbxl": raw}, tmp_path / "b" / "out", **SMALL)
    assert again.reused == again.shards == done.shards


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_half_built_folder_does_not_load(miniatures, tmp_path, monkeypatch, overwrite, streaming):
    raw, out = {"ptbxl": miniatures("ptbxl", 12)[0]}, tmp_path / "out"
    load = functools.partial(datasets.load_dataset, str(out), streaming=streaming, cache_dir=str(tmp_path / "cache"))
    if overwrite:
        prepare(raw, out, options={"*": {"length": 100}}, **SMALL)
        assert "train" in load("ptbxl")
    with monkeypatch.context() as patched:
        stop_after(patched, 11)  # of 12: something of every split is there
        with pytest.raises(Killed):
            prepare(raw, out, overwrite=overwrite, **SMALL)
    assert len(shards(out)) == 11
    for config in ((), ("ptbxl",)):
        with pytest.raises(FileNotFoundError, match="not-finished--run-climb-prepare-again"):
            load(*config)
    prepare(raw, out, **SMALL)
    whole = prepare(raw, tmp_path / "fresh" / "out", **SMALL)
    assert {split: sum(1 for _ in rows) for split, rows in load().items()} == whole[0].splits
    assert (out / "README.md").read_bytes() == (tmp_path / "fresh/out/README.md").read_bytes()


def test_half_written_records_and_shards_are_built_again(miniatures, tmp_path, monkeypatch):
    raw, _ = miniatures("ptbxl", 12)
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        with pytest.raises(Killed):
            prepare({"ptbxl": raw}, out, **SMALL)
    first, second, third = sorted(path for path in tree(out) if path.endswith(".parquet"))
    (out / first).write_bytes((out / first).read_bytes()[:-7])  # cut short by the file system
    (out / "manifest" / second).with_suffix(".json").write_text('{"path": "ptb')
    (out / "ptbxl" / ".tmp-0a1b-of-somebody").write_bytes(b"left")
    (done,) = prepare({"ptbxl": raw}, out, **SMALL)
    assert done.reused == 1
    assert verify(out, "ptbxl") == []
    assert [path for path in tree(out) if ".tmp-" in path or path.endswith(".json")] == []
    assert third in tree(out)


def test_manifest_names_every_shard_and_finds_changes(miniatures, tmp_path):
    raw, _ = miniatures("brain_tumor", 12)
    (done,) = prepare({"brain_tumor": raw}, tmp_path / "out", **SMALL)
    manifest = read_manifest(tmp_path / "out", "brain_tumor")
    assert done.sha256 == manifest.sha256
    assert manifest.header["license"] == "MIT"
    assert manifest.header["options"]["labels"] == "climb"
    for shard in manifest.shards:
        content = (tmp_path / "out" / shard.path).read_bytes()
        assert (shard.bytes, shard.sha256) == (len(content), hashlib.sha256(content).hexdigest())
        assert pq.read_metadata(tmp_path / "out" / shard.path).num_rows == shard.rows == shard.records
    text = (tmp_path / "out" / "manifest" / "brain_tumor.jsonl").read_text()
    assert str(raw) not in text
    path = tmp_path / "out" / manifest.shards[0].path
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert verify(tmp_path / "out", "brain_tumor") == [
        f"`{manifest.shards[0].path}` has changed: {manifest.shards[0].bytes:,} bytes found, "
        f"{manifest.shards[0].bytes:,} expected."
    ]
    with pytest.raises(LayoutError, match="climb prepare ptbxl"):
        read_manifest(tmp_path / "out", "ptbxl")
    (tmp_path / "out" / "manifest" / "brain_tumor.jsonl").write_text("{}\nnonsense\n")
    with pytest.raises(CorruptFileError, match="no manifest"):
        read_manifest(tmp_path / "out", "brain_tumor")


def test_shards_have_the_size_that_was_asked_for(miniatures, tmp_path):
    raw, _ = miniatures("brain_tumor", 96)
    prepare({"brain_tumor": raw}, tmp_path / "out", **{**SMALL, "shard_size": "200KB"})
    sizes = [shard.bytes for shard in read_manifest(tmp_path / "out", "brain_tumor").shards]
    assert len(sizes) > 3
    assert all(100_000 < size < 300_000 for size in sizes)
    assert [parse_size(text) for text in ("500MB", "1GiB", 7, "1.5 kB")] == [500_000_000, 2**30, 7, 1500]
    for wrong in ("", "0", "-1MB", "many", "nan"):
        with pytest.raises(OptionError, match="500MB"):
            parse_size(wrong)


# ---------------------------------------------------------------------- damage


def test_skipped_records_are_named_and_the_limit_is_over_the_whole_run(miniatures, tmp_path):
    raw, _ = miniatures.copy("pad_ufes_20", tmp_path / "raw", n=48)
    damaged = sorted((raw / "images" / "imgs_part_1").glob("PAT*.png"))
    damaged[0].write_bytes(b"\x89PNG cut")
    (done,) = prepare({"pad_ufes_20": raw}, tmp_path / "out", **SMALL)
    assert (done.rows, done.skipped) == (47, 1)
    (failure,) = [f for shard in read_manifest(tmp_path / "out", "pad_ufes_20").shards for f in shard.skipped]
    assert failure["file"] == f"images/imgs_part_1/{damaged[0].name}"
    assert str(raw) not in json.dumps(failure)
    expected = climb_hf.load_dataset("pad_ufes_20", raw, cache_dir=tmp_path / "cache")
    found = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: part["id"][:] for split, part in found.items()} == {
        split: part["id"][:] for split, part in expected.items()
    }

    kept = {path: path.read_bytes() for path in damaged}
    for path in damaged[:3]:
        path.write_bytes(b"\x89PNG cut")
    with pytest.raises(DamagedDataError, match=r"3 of 48 records .*climb doctor"):
        prepare({"pad_ufes_20": raw}, tmp_path / "more", **SMALL)
    for path in damaged[1:3]:  # two files are got again: the same command goes on
        path.write_bytes(kept[path])
    (again,) = prepare({"pad_ufes_20": raw}, tmp_path / "more", **SMALL)
    assert (again.rows, again.skipped) == (47, 1)
    assert again.reused > 0
    with pytest.raises(CorruptFileError, match=damaged[0].name):
        prepare({"pad_ufes_20": raw}, tmp_path / "strict", options={"*": {"strict": True}}, **SMALL)


def test_other_data_or_options_are_refused_and_replaced_on_demand(miniatures, tmp_path):
    raw, _ = miniatures("brain_tumor", 12)
    prepare({"brain_tumor": raw}, tmp_path / "out", **SMALL)
    wider = {**SMALL, "options": {"brain_tumor": {"image_size": 24}}}
    with pytest.raises(OptionError, match=r"`options` was .*`--overwrite`"):
        prepare({"brain_tumor": raw}, tmp_path / "out", **wider)
    other, _ = miniatures("brain_tumor", 16, seed=3)
    with pytest.raises(OptionError, match="the raw data has changed"):
        prepare({"brain_tumor": other}, tmp_path / "out", **SMALL)
    (done,) = prepare({"brain_tumor": other}, tmp_path / "out", overwrite=True, **SMALL)
    assert done.rows == 16
    copy = Path(shutil.copytree(other, tmp_path / "copy"))
    assert prepare({"brain_tumor": copy}, tmp_path / "out", **SMALL)[0].reused == done.shards
    Image.new("L", (90, 70), 9).save(min(copy.rglob("*.jpg")))  # the same name, another picture
    with pytest.raises(OptionError, match="the raw data has changed"):
        prepare({"brain_tumor": copy}, tmp_path / "out", **SMALL)
    assert set(shards(tmp_path / "out")) == {s.path for s in read_manifest(tmp_path / "out", "brain_tumor").shards}


def test_real_rows_that_replace_synthetic_ones_are_not_called_synthetic(miniatures, tmp_path):
    raw, _ = miniatures("brain_tumor", 12)
    real = Path(shutil.copytree(raw, tmp_path / "real"))
    (real / ".climb_miniature.json").unlink()  # stands for a publisher's copy
    prepare({"brain_tumor": raw}, tmp_path / "a" / "out", **SMALL)
    assert b"synthetic" in (tmp_path / "a/out/README.md").read_bytes()
    prepare({"brain_tumor": real}, tmp_path / "a" / "out", overwrite=True, **SMALL)
    prepare({"brain_tumor": real}, tmp_path / "b" / "out", **SMALL)
    assert b"ynthetic" not in (tmp_path / "a/out/README.md").read_bytes()
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


# ---------------------------------------------------------------------- targets


def test_only_one_process_at_a_time_writes_to_a_target(miniatures, tmp_path):
    raw, _ = miniatures("brain_tumor", 12)
    code = (
        "import sys\nfrom climb_hf.prepare.stores import LocalStore\n"
        "with LocalStore(sys.argv[1]).lock():\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    root = str(Path(__file__).resolve().parents[1])
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])},
    )  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(AccessError, match="another `climb prepare` is writing there"):
        prepare({"brain_tumor": raw}, tmp_path / "out", **SMALL)
    assert tree(tmp_path / "out") == {}
    holder.kill()  # a lock dies with its process
    holder.wait()
    assert prepare({"brain_tumor": raw}, tmp_path / "out", **SMALL)[0].rows == 12


def test_a_full_disk_leaves_whole_shards_and_the_run_goes_on(miniatures, tmp_path, monkeypatch):
    raw, _ = miniatures("ptbxl", 12)
    out, real, made = tmp_path / "out", LocalStore._create, []

    def create(self, path):
        made.append(path)
        return Path("/dev/full").open("wb") if path.name.endswith("parquet") and len(made) > 7 else real(self, path)

    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "_create", create)
        with pytest.raises(AccessError, match=r"no space left .*run the same command again"):
            prepare({"ptbxl": raw}, out, **SMALL)
    left = tree(out)
    assert len([path for path in left if path.endswith(".parquet")]) == 3
    assert not [path for path in left if ".tmp-" in path]
    assert prepare({"ptbxl": raw}, out, **SMALL)[0].reused == 3


def test_targets_that_cannot_be_written(miniatures, tmp_path):
    raw, _ = miniatures("brain_tumor", 12)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    closed = Path("/sys") if os.geteuid() == 0 else closed  # nothing else is read-only for root
    with pytest.raises(AccessError, match=r"cannot be written .*Choose another `--to`"):
        prepare({"brain_tumor": raw}, closed / "out", **SMALL)
    (tmp_path / "file").write_text("a file")
    with pytest.raises(AccessError, match="expected a folder"):
        prepare({"brain_tumor": raw}, tmp_path / "file" / "out", **SMALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("# My notes\n")
    with pytest.raises(OptionError, match="did not write"):
        prepare({"brain_tumor": raw}, tmp_path / "mine", **SMALL)
    assert (tmp_path / "mine" / "README.md").read_text() == "# My notes\n"


@pytest.mark.parametrize("address", ["ftp://host/x", "hf://user/name/more", "hf://datasets/user", "s3:///prefix"])
def test_addresses_that_are_none(address):
    with pytest.raises(OptionError, match=r"s3://BUCKET/PREFIX|hf://datasets/USER/NAME"):
        open_store(address)


def test_paths_stay_inside_the_target(tmp_path):
    for path in ("../x", "/etc/x", "a/../../x"):
        with pytest.raises(OptionError, match="inside the target"):
            LocalStore(str(tmp_path)).write(path, b"")


def test_wrong_arguments(miniatures, tmp_path):
    raw, _ = miniatures("brain_tumor", 12)
    with pytest.raises(UnknownSourceError, match="brain_tumor"):
        prepare("brain_tumour", tmp_path)
    with pytest.raises(OptionError, match="local or ray"):
        prepare({"brain_tumor": raw}, tmp_path / "o", engine="spark")
    with pytest.raises(OptionError, match="`address` is for"):
        prepare({"brain_tumor": raw}, tmp_path / "p", address="auto")
    with pytest.raises(OptionError, match="`num_proc` must be 1 or more, got 0"):
        prepare({"brain_tumor": raw}, tmp_path / "n", num_proc=0)
    with pytest.raises(OptionError, match="`private` is for"):
        prepare({"brain_tumor": raw}, tmp_path / "q", private=True)
    with pytest.raises(OptionError, match="there is no option `num_frames`"):
        prepare({"brain_tumor": raw}, tmp_path / "r", options={"brain_tumor": {"num_frames": 3}})
    with pytest.raises(AccessError, match="climb miniature ptbxl"):
        prepare("ptbxl", tmp_path / "s")
    with pytest.raises(OptionError, match=r"takes `\*`, `\?` and `\[` for patterns"):  # what is there would not load
        prepare({"brain_tumor": raw}, tmp_path / "t[1]")
    with pytest.raises(OptionError, match="holds the raw data of `brain_tumor`"):
        prepare({"brain_tumor": raw}, f"{raw}/")
    assert not (Path(raw) / "README.md").exists()


# ---------------------------------------------------------------------- command line


def test_command_prints_a_table_json_and_the_next_step(miniatures, tmp_path):
    raw, _ = miniatures("brain_tumor", 12)
    arguments = ["prepare", f"brain_tumor={raw}", "--to", str(tmp_path / "out"), "--num-proc", "1", "--synthetic"]
    result = CliRunner().invoke(app, [*arguments, "--set", "image_size=24"])
    assert result.exit_code == 0, result.output
    line = f"load it: datasets.load_dataset({str(tmp_path / 'out')!r}, 'brain_tumor')"
    assert line in result.output  # with its name: the folder may hold other sources already
    again = CliRunner().invoke(app, [*arguments, "--set", "brain_tumor.image_size=24", "--json"])
    (row,) = json.loads(again.stdout)
    assert (row["rows"], row["reused"], row["splits"]) == (12, row["shards"], row["splits"])
    for wrong, remedy in (("image_sise=24", "Did you mean"), ("ptbxl.length=2", "not among"), ("image_size", "KEY=")):
        result = CliRunner().invoke(app, [*arguments, "--set", wrong])
        assert isinstance(result.exception, OptionError)
        assert remedy in str(result.exception)


def test_command_exits_with_1_and_one_message(tmp_path):
    run = start_command("prepare", "ptbxl", "--to", tmp_path / "out", CLIMB_DATA=str(tmp_path))
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "climb miniature ptbxl" in output
    assert "Traceback" not in output


def test_questions_are_prepared_like_any_other_build(miniatures, tmp_path):
    raw, _ = miniatures("aptos2019", 12)
    prepare({"aptos2019": raw}, tmp_path / "out", options={"aptos2019": {"qa": True}}, **SMALL)
    expected = climb_hf.load_dataset("aptos2019", raw, split="test", qa=True, cache_dir=tmp_path / "cache")
    found = datasets.load_dataset(str(tmp_path / "out"), split="test", cache_dir=str(tmp_path / "cache"))
    assert found.features == expected.features
    assert found["question"] == expected["question"]
    assert found[0]["images"][0].size == expected[0]["images"][0].size
