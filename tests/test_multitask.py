"""Train and evaluate as commands do, on synthetic miniatures with a tiny model; the quickstart as a whole is slow."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoModelForImageClassification
from typer.testing import CliRunner

import climb_hf
from climb_hf.cli.app import app
from climb_hf.errors import AccessError, OptionError, TrainingError, UnknownSourceError, VocabularyError
from climb_hf.protocols.data import data_fingerprint, is_synthetic, model_classes, parse_sources
from climb_hf.protocols.miniature import miniature_sources
from climb_hf.protocols.multitask import evaluate, train
from climb_hf.results import read_results

TINY = [
    "model.backbone=timm/test_convnext",
    "model.pretrained=false",
    "model.image_size=32",
    "processor.size=32",
    "data.options={'*': {image_size: 32, num_frames: 2, validation: 0.2}}",
    "training.num_train_epochs=1",
]


@pytest.fixture(scope="module")
def sources(miniatures):
    return {name: miniatures(name)[0] for name in ("brain_tumor", "covid_blues", "vindr_cxr")}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(sources, cache, tmp_path_factory):
    return train(sources, tmp_path_factory.mktemp("run"), overrides=TINY, cache_dir=cache, synthetic=True)


def test_a_run_leaves_a_complete_checkpoint(run, sources):
    names = {path.name for path in run.checkpoint.iterdir()}
    assert {
        "model.safetensors",
        "config.json",
        "README.md",
        "vocabulary.json",
        "training.json",
        "history.json",
    } <= names
    facts = json.loads((run.checkpoint / "training.json").read_text())
    assert facts["sources"] == list(sources)
    assert facts["synthetic"] is True
    assert len(facts["recipe_hash"]) == 16
    assert "synthetic" in (run.checkpoint / "README.md").read_text().lower()
    assert any("eval_mean_auc" in row for row in run.history)


def test_images_and_frames_of_a_checkpoint_predict_after_reload(run, sources, cache):
    model = AutoModelForImageClassification.from_pretrained(run.checkpoint).eval()
    processor = AutoImageProcessor.from_pretrained(run.checkpoint)
    video = climb_hf.load_dataset("covid_blues", sources["covid_blues"], split="test", cache_dir=cache)[0]["frames"]
    with torch.inference_mode():
        logits = model(**processor([video], return_tensors="pt")).logits
    probabilities = model.masked_probabilities(logits, "covid_blues")
    assert probabilities.shape == (1, 2)
    assert float(probabilities.sum()) == pytest.approx(1, abs=1e-5)


def test_evaluation_gives_a_row_per_source_with_interval_and_provenance(run, sources, cache, tmp_path):
    rows = evaluate(run.checkpoint, sources, output_dir=tmp_path, n_bootstrap=50, cache_dir=cache)
    whole = [row for row in rows if row.level == "source" and not is_reduced(row) and row.subgroup is None]
    auc = {row.source: row for row in whole if row.metric == "auc"}
    assert set(auc) == set(sources)
    for row in auc.values():
        assert row.interval[0] <= row.value <= row.interval[1]
        assert row.synthetic
        assert row.seed == 42
        assert row.data_fingerprint
        assert row.versions["climb_hf"]
    assert auc["brain_tumor"].n == 8
    again = read_results(tmp_path / "results.jsonl")
    assert [(r.source, r.metric, r.level) for r in again] == [(r.source, r.metric, r.level) for r in rows]
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as kept:
        assert len(kept["ids"]) == sum(row.n for row in auc.values())


def is_reduced(row):
    return bool(row.settings.get("without_duplicates"))


def test_copies_are_scored_apart(run, sources, cache):
    rows = evaluate(run.checkpoint, sources, n_bootstrap=0, cache_dir=cache)
    test = climb_hf.load_dataset("brain_tumor", sources["brain_tumor"], split="test", cache_dir=cache)
    copies = sum(of is not None for of in test["duplicate_of"])
    reduced = [row for row in rows if is_reduced(row) and row.metric == "top1"]
    assert [row.source for row in reduced] == ["brain_tumor"]
    assert copies > 0
    assert reduced[0].n == len(test) - copies


def test_a_checkpoint_without_a_class_says_which(run, miniatures, cache):
    folder, _ = miniatures("pad_ufes_20")
    with pytest.raises(VocabularyError, match="pad_ufes_20"):
        evaluate(run.checkpoint, {"pad_ufes_20": folder}, cache_dir=cache)


def test_bad_requests(run, sources, miniatures, cache, tmp_path):
    with pytest.raises(AccessError, match="climb train --to"):
        evaluate(tmp_path, sources, cache_dir=cache)
    with pytest.raises(OptionError, match="family image"):
        train({"proteins": miniatures("proteins")[0]}, tmp_path, overrides=TINY, cache_dir=cache)
    with pytest.raises(UnknownSourceError, match="Did you mean"):
        parse_sources(["brain_tumour"])
    with pytest.raises(OptionError, match="named twice"):
        parse_sources(["ptbxl", "ptbxl=x"])


def test_a_loss_that_is_not_finite_names_the_records(sources, cache, tmp_path):
    with pytest.raises(TrainingError, match=r"Training/|patient_|[0-9a-f]{32}"):
        train(
            sources,
            tmp_path,
            overrides=[*TINY, "training.learning_rate=1e30", "training.max_grad_norm=0"],
            cache_dir=cache,
        )


def test_published_weights_that_cannot_be_fetched_say_what_to_do(sources, cache, tmp_path):
    overrides = [*TINY, "model.backbone=timm/test_convnext.r160_in1k", "model.pretrained=true"]
    with pytest.raises(AccessError, match=r"model\.pretrained=false"):
        train(sources, tmp_path, overrides=overrides, cache_dir=cache)


def test_strings_as_outputs(sources, cache, tmp_path):
    chosen = {name: sources[name] for name in ("brain_tumor", "covid_blues")}
    run = train(chosen, tmp_path, overrides=[*TINY, "data.vocabulary=strings"], cache_dir=cache)
    config = json.loads((run.checkpoint / "config.json").read_text())
    assert "no tumor" in config["vocabulary"]
    assert len(config["vocabulary"]) == 6
    rows = evaluate(run.checkpoint, chosen, n_bootstrap=0, cache_dir=cache)
    assert {row.source for row in rows if row.level == "source"} == set(chosen)


def test_model_classes_leave_out_what_no_value_can_give():
    fields = model_classes(["vindr_cxr"], {"vindr_cxr": {"labels": "findings"}})
    assert "chest_xray.support_devices" not in fields["source_classes"]["vindr_cxr"]
    assert len(fields["source_classes"]["vindr_cxr"]) == 13
    assert fields["source_multi_label"] == {"vindr_cxr": True}


def test_the_fingerprint_is_of_the_records_and_labels(sources, miniatures, cache, tmp_path):
    one = climb_hf.load_dataset("brain_tumor", sources["brain_tumor"], split="test", cache_dir=cache)
    elsewhere, _ = miniatures.copy("brain_tumor", tmp_path / "elsewhere")
    same = climb_hf.load_dataset("brain_tumor", elsewhere, split="test", cache_dir=tmp_path)
    assert data_fingerprint(one) == data_fingerprint(same.shuffle(seed=1))
    assert data_fingerprint(one) != data_fingerprint(one.select(range(len(one) - 1)))


def test_a_dry_run_trains_and_scores_on_synthetic_data_and_says_so(tmp_path):
    run, cache, dry = str(tmp_path / "run"), str(tmp_path / "cache"), ("--miniature", "--miniature-n", "16")
    overrides = [part for one in TINY for part in ("--set", one)]
    test = str(tmp_path / "test")
    trained = CliRunner().invoke(app, ["train", "brain_tumor", "--to", run, *dry, "--cache-dir", cache, *overrides])
    assert trained.exit_code == 0, trained.output
    scored = CliRunner().invoke(
        app, ["evaluate", run, "brain_tumor", *dry, "--to", test, "--n-bootstrap", "0", "--cache-dir", cache]
    )
    assert scored.exit_code == 0, scored.output
    rows = read_results(tmp_path / "test" / "results.jsonl")
    assert rows
    assert all(row.synthetic for row in rows)


def test_scores_say_where_they_are_not_on_the_default_split(sources, cache, tmp_path):
    paper = [*TINY, "data.options.brain_tumor.split_by=paper"]
    train(sources, tmp_path / "run", overrides=paper, cache_dir=cache)
    rows = evaluate(tmp_path / "run", sources, n_bootstrap=0, cache_dir=cache)
    assert {str(row.settings["split_by"]) for row in rows} == {"{'brain_tumor': 'paper'}"}


def test_rows_of_a_source_come_several_times_in_an_epoch(sources, cache, tmp_path):
    once = train(sources, tmp_path / "a", overrides=TINY, cache_dir=cache)
    twice = train(sources, tmp_path / "b", overrides=[*TINY, "data.repeat={brain_tumor: 3}"], cache_dir=cache)
    assert twice.facts["n_examples"] == once.facts["n_examples"]
    steps = [run.history[-1]["step"] for run in (once, twice)]
    assert steps[1] > steps[0]
    with pytest.raises(
        OptionError, match=r"`data.repeat` must give whole numbers from 1 on, found \{'brain_tumor': 0"
    ):
        train(sources, tmp_path / "c", overrides=[*TINY, "data.repeat={brain_tumor: 0}"], cache_dir=cache)


def test_scores_on_a_miniature_are_synthetic_whatever_the_checkpoint_says(tmp_path):
    folders = miniature_sources(["proteins"], tmp_path, n=8)
    assert is_synthetic(folders)
    assert not is_synthetic({"proteins": tmp_path / "elsewhere"})


@pytest.mark.slow
def test_quickstart_learns_says_synthetic_and_writes_its_report(tmp_path):
    from climb_hf.protocols.quickstart import SOURCES, quickstart

    said = []
    rows = quickstart(tmp_path / "q", say=said.append)
    auc = {
        row.source: row.value for row in rows if row.metric == "auc" and row.level == "source" and not is_reduced(row)
    }
    assert set(auc) == set(SOURCES)
    assert np.mean(list(auc.values())) >= 0.9
    text = "\n".join(said)
    assert "SYNTHETIC" in text
    assert "its label is" in text
    report = (tmp_path / "q" / "report.html").read_text()
    assert "synthetic" in report
    assert report.count("data:image/png;base64") == 4 * len(SOURCES)
    assert "Learning curve" in report
    assert "http://" not in report.replace("http://www.w3.org", "")
