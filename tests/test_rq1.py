"""Multitask against single-task training, the search for a rate, subgroups: as commands, on synthetic data."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from climb_hf.cli.app import app
from climb_hf.errors import AccessError, OptionError
from climb_hf.protocols.demographics import demographics
from climb_hf.protocols.multitask import Run, evaluate, train
from climb_hf.protocols.search import search
from climb_hf.protocols.single_task import evaluate_each, train_each
from climb_hf.results import read_results

TINY = [
    "model.backbone=timm/test_convnext",
    "training.num_train_epochs=1",
    "training.per_device_train_batch_size=8",
]


@pytest.fixture(scope="module")
def sources(miniatures):
    return {name: miniatures(name)[0] for name in ("brain_tumor", "pad_ufes_20")}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(sources, cache, tmp_path_factory):
    return train(sources, tmp_path_factory.mktemp("joint"), recipe="rq1/vision_quick", overrides=TINY, cache_dir=cache)


def test_subgroups_are_scored_where_a_source_has_them(run, sources, cache):
    rows = evaluate(run.checkpoint, sources, n_bootstrap=20, cache_dir=cache)
    groups = {(row.source, row.subgroup) for row in rows if row.subgroup}
    assert {subgroup.partition("=")[0] for source, subgroup in groups if source == "pad_ufes_20"} == {"sex", "age"}
    assert not [source for source, _ in groups if source == "brain_tumor"]  # it publishes neither
    by_sex = [row for row in rows if row.source == "pad_ufes_20" and (row.subgroup or "").startswith("sex=")]
    whole = next(row for row in rows if row.source == "pad_ufes_20" and row.metric == "accuracy" and not row.subgroup)
    assert sum(row.n for row in by_sex if row.metric == "accuracy") == whole.n
    assert {"brier", "ece"} <= {row.metric for row in rows if row.source == "pad_ufes_20"}
    assert whole.settings["architecture"] == "timm/test_convnext"
    assert whole.settings["training"] == "multitask"
    without = evaluate(run.checkpoint, sources, n_bootstrap=0, subgroups=False, calibration=False, cache_dir=cache)
    assert not [row for row in without if row.subgroup or row.metric in ("brier", "ece")]


def test_demographics_follow_the_rows_not_the_table(sources, cache):
    import climb_hf

    part = climb_hf.load_dataset("pad_ufes_20", sources["pad_ufes_20"], split="test", cache_dir=str(cache))
    order = [2, 0, 2]
    rows = {"sources": ["pad_ufes_20"] * 3, "ids": [part["id"][position] for position in order]}
    found = demographics(part, rows)
    assert found["sex"] == [part["sex"][position] or "unknown" for position in order]
    assert found["age"][0] == found["age"][2]


def test_one_model_per_source_is_scored_with_its_own(sources, cache, tmp_path):
    runs = train_each(sources, tmp_path / "single", recipe="rq1/vision_quick", overrides=TINY, cache_dir=cache)
    assert list(runs) == ["brain_tumor", "pad_ufes_20"]
    rows = evaluate_each(tmp_path / "single", sources, output_dir=tmp_path / "test", n_bootstrap=0, cache_dir=cache)
    assert {row.source for row in rows} == set(sources)
    assert {row.settings["training"] for row in rows} == {"single-task"}
    assert {row.level for row in rows} == {"source"}
    again = read_results(tmp_path / "test" / "results.jsonl")
    assert [(row.source, row.metric, row.subgroup) for row in again] == [
        (row.source, row.metric, row.subgroup) for row in rows
    ]
    again = train_each(
        sources, tmp_path / "single", recipe="rq1/vision_quick", overrides=TINY, cache_dir=cache, resume=True
    )
    assert again == {}
    with pytest.raises(AccessError, match="holds no model of `covid_blues`; its models are brain_tumor, pad_ufes_20"):
        evaluate_each(tmp_path / "single", {"covid_blues": None})


def faked_training(losses, tried):
    def train(sources, folder, *, recipe, overrides, **options):
        tried.append(overrides)
        loss = losses[len(tried) - 1]
        if loss is None:
            from climb_hf.errors import TrainingError

            raise TrainingError("the loss is no longer finite")
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "config.json").write_text(json.dumps({"tried": len(tried)}))
        return Run(folder / "model", [{"eval_loss": loss + 1, "epoch": 1}, {"eval_loss": loss, "epoch": 2}])

    return train


def test_the_lowest_held_out_loss_is_chosen(monkeypatch, tmp_path):
    tried = []
    monkeypatch.setattr("climb_hf.protocols.search.train", faked_training([0.7, 0.2, None, 0.4, 0.9], tried))
    found = search({"brain_tumor": None}, tmp_path, recipe="rq1/vision", overrides=["training.seed=1"])
    rates = [next(part for part in one if "learning_rate" in part).partition("=")[2] for one in tried]
    assert [float(rate) for rate in rates] == [1e-5, 3e-5, 1e-4, 3e-4, 1e-3]
    assert all(one[0] == "training.seed=1" for one in tried)
    assert found.chosen == "learning_rate=3e-05"
    assert json.loads((tmp_path / "model" / "config.json").read_text()) == {"tried": 2}
    written = json.loads((tmp_path / "search.json").read_text())
    assert [row["loss"] for row in written["tried"]] == [0.7, 0.2, None, 0.4, 0.9]


def test_a_stopped_search_goes_on_and_a_run_that_never_began_says_so(monkeypatch, tmp_path, sources):
    asked = []

    def resumed(sources, folder, *, resume=False, **options):
        asked.append(resume)
        return faked_training([0.5], [])(sources, folder, **options)

    (tmp_path / "search" / "learning_rate=0.0003" / "trainer" / "checkpoint-3").mkdir(parents=True)
    monkeypatch.setattr("climb_hf.protocols.search.train", resumed)
    search({"brain_tumor": None}, tmp_path, recipe="rq1/vision_quick", resume=True)
    assert asked == [True, False]
    with pytest.raises(AccessError, match=r"holds no checkpoint to go on from; start without `--resume`"):
        train(sources, tmp_path / "new", recipe="rq1/vision_quick", resume=True)


def test_a_search_without_values_or_without_a_loss_is_an_error(monkeypatch, tmp_path):
    with pytest.raises(OptionError, match="has no values to try"):
        search({"brain_tumor": None}, tmp_path, recipe="quick")
    with pytest.raises(OptionError, match="has no values to try"):
        search({"brain_tumor": None}, tmp_path, recipe="rq1/vision", overrides=["training.learning_rate=1e-4"])
    monkeypatch.setattr("climb_hf.protocols.search.train", faked_training([None, None], []))
    with pytest.raises(OptionError, match="none of the 2 runs has a finite held-out loss"):
        search({"brain_tumor": None}, tmp_path, recipe="rq1/vision_quick")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "names"),
    [
        ("rq1/vision_quick", ["brain_tumor", "covid_blues"]),
        ("rq1/eeg_quick", ["iiic", "tuev"]),
        ("rq1/ecg_quick", ["ptbxl", "georgia"]),
        ("rq1/graph_quick", ["abide", "ppmi"]),
    ],
)
def test_the_whole_protocol_runs_on_synthetic_data(recipe, names, tmp_path):
    runner, shared = CliRunner(), ["--miniature", "--cache-dir", str(tmp_path / "cache")]
    rows = {}
    for kind in ("joint", "single"):
        extra = ["--single-task"] if kind == "single" else []
        result = runner.invoke(
            app, ["train", *names, "--to", str(tmp_path / kind), "--recipe", recipe, *shared, *extra]
        )
        assert result.exit_code == 0, result.output
        target = tmp_path / kind / "test"
        result = runner.invoke(
            app, ["evaluate", str(tmp_path / kind), *names, "--to", str(target), "--n-bootstrap", "50", *shared]
        )
        assert result.exit_code == 0, result.output
        rows[kind] = read_results(target / "results.jsonl")
        assert all(row.synthetic for row in rows[kind])
    assert {row.settings["training"] for row in rows["joint"]} == {"multitask"}
    assert {row.source for row in rows["single"]} == set(names)


@pytest.mark.slow
def test_two_processes_write_the_synthetic_data_once_and_speak_once(tmp_path):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "climb_hf",
    ]
    command += ["train", "brain_tumor", "--to", str(tmp_path / "run"), "--recipe", "rq1/vision_quick", "--miniature"]
    command += ["--cache-dir", str(tmp_path / "cache"), "--search", "--set", "training.use_cpu=true"]
    command += [part for override in TINY for part in ("--set", override)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("saved ") == 1
    assert done.stdout.count("has the lowest held-out loss of 2") == 1
    assert len(json.loads((tmp_path / "run" / "search.json").read_text())["tried"]) == 2
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
