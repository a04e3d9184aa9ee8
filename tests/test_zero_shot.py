"""Zero-shot classification: prompts, ensembling, numbers against scikit-learn, absent classes, the command."""

import json
import math

import numpy as np
import pytest
import torch
from image_text_models import dual_encoder
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from typer.testing import CliRunner

import climb_hf
from climb_hf import get_source
from climb_hf.cli.app import app
from climb_hf.errors import OptionError, VocabularyError
from climb_hf.protocols import prompts
from climb_hf.protocols.dual_encoder import load_dual_encoder
from climb_hf.protocols.zero_shot import Task, class_embeddings, zero_shot
from climb_hf.protocols.zero_shot_scores import Scored, score_tasks
from climb_hf.results import read_results

FOUR = (
    "a histopathology slide showing {}",
    "histopathology image of {}",
    "pathology tissue showing {}",
    "presence of {} tissue on image",
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return dual_encoder(tmp_path_factory.mktemp("dual"))


def by_name(rows, **settings):
    chosen = [row for row in rows if all(row.settings.get(key) == value for key, value in settings.items())]
    return {row.metric: row for row in chosen if row.level == "source" and not row.settings.get("without_duplicates")}


def test_templates_of_the_protocol_and_of_the_modality(monkeypatch):
    source = get_source("brain_tumor")
    monkeypatch.setattr(type(source), "prompts_end_with_stop", False, raising=False)
    assert prompts.templates_of(source, "openpmc") == FOUR
    monkeypatch.setattr(type(source), "prompts_end_with_stop", True, raising=False)
    assert prompts.templates_of(source, "openpmc") == tuple(f"{sentence}." for sentence in FOUR)
    assert prompts.templates_of(source, "domain")[0] == "an MRI slice showing {}"
    words = {
        "chexpert": "chest X-ray",
        "cmmd": "mammogra",
        "busi": "ultrasound",
        "aptos2019": "fundus",
        "isic2020": "dermoscopic",
        "lc25000": "tissue",
        "hemorrhage": "CT",
    }
    for name, word in words.items():
        assert word in prompts.templates_of(get_source(name), "domain")[0]
    assert prompts.templates_of(source, ["see {}"]) == ("see {}",)
    for wrong in ("clinical", [], ["no place"], ["{} and {}"]):
        with pytest.raises(OptionError):
            prompts.templates_of(source, wrong)


def test_class_names_come_from_the_user_the_source_or_the_table(monkeypatch):
    source = get_source("brain_tumor")
    assert prompts.class_names(source) == prompts.CLASS_NAMES["brain_tumor"]
    monkeypatch.setattr(type(source), "zero_shot_names", ("w", "x", "y", "z"), raising=False)
    assert prompts.class_names(source) == ("w", "x", "y", "z")
    assert prompts.class_names(source, given={"brain_tumor": list("abcd")}) == ("a", "b", "c", "d")
    with pytest.raises(VocabularyError, match="expected 4 different names"):
        prompts.class_names(source, given={"brain_tumor": ["a", "b"]})
    with pytest.raises(VocabularyError, match="4 different"):
        prompts.class_names(source, given={"brain_tumor": ["a", "b", "c", "c"]})
    chexpert = get_source("chexpert")
    assert prompts.class_names(chexpert) == chexpert.classes


def test_every_image_source_has_a_task():
    for source in climb_hf.list_sources(family="image"):
        name = getattr(source, "name", source)
        own = Task.of(name, "climb", None)
        assert len(own.concepts) == len(own.names) == len(set(own.names)) >= 2
    for name, names in prompts.CLASS_NAMES.items():
        assert len(names) == len(get_source(name).classes), name
    with pytest.raises(OptionError, match="family `image`"):
        Task.of("ptbxl", "climb", None)


def test_a_class_is_the_normalised_mean_of_its_normalised_prompts(encoder):
    model, processor = load_dual_encoder(encoder, device="cpu")
    sentences = prompts.prompts_of(["a {} mri", "brain with {}", "{}"], ["no tumor", "glioma"])
    found, n_cut = class_embeddings(model, processor, sentences)
    expected = []
    for own in sentences:
        each = []
        for sentence in own:
            with torch.no_grad():
                vector = model.get_text_features(**processor.tokenizer([sentence], return_tensors="pt")).pooler_output[
                    0
                ]
            each.append(vector / vector.norm())
        mean = torch.stack(each).mean(dim=0)
        expected.append((mean / mean.norm()).numpy())
    assert np.abs(found - np.stack(expected)).max() < 1e-5
    assert n_cut == 0


@pytest.fixture(scope="module")
def scored(encoder, miniatures, tmp_path_factory):
    folder, _ = miniatures("brain_tumor", 64)
    out = tmp_path_factory.mktemp("zero_shot")
    rows = zero_shot(
        encoder,
        {"brain_tumor": folder},
        split="train",
        output_dir=out,
        own_templates=["{} ."],
        n_bootstrap=40,
        cache_dir=out,
        device="cpu",
    )
    return rows, out, folder


def test_numbers_equal_scikit_learn_on_a_forward_pass(encoder, scored):
    rows, out, folder = scored
    model, processor = load_dual_encoder(encoder, device="cpu")
    data = climb_hf.load_dataset("brain_tumor", folder, cache_dir=out)["train"]
    pixels = processor.image_processor(images=data["image"][:], return_tensors="pt")["pixel_values"]
    concepts = get_source("brain_tumor").concepts
    vocabulary = data.features["labels"].feature.names
    truth = [concepts.index(vocabulary[labels[0]]) for labels in data["labels"]]
    written = json.loads((out / "prompts.json").read_text())
    for key in ("openpmc", "domain", "own"):
        sentences = written[key]["brain_tumor"]
        with torch.no_grad():
            images = model.get_image_features(pixel_values=pixels).pooler_output
            images = images / images.norm(dim=1, keepdim=True)
            classes = []
            for own in sentences:
                words = processor.tokenizer(own, padding=True, return_tensors="pt")
                each = model.get_text_features(**words).pooler_output
                mean = (each / each.norm(dim=1, keepdim=True)).mean(dim=0)
                classes.append(mean / mean.norm())
            logits = 100 * images @ torch.stack(classes).T
        called = logits.argmax(dim=1).numpy()
        found = by_name(rows, templates=key)
        assert found["f1"].value == pytest.approx(
            f1_score(truth, called, average="macro", labels=sorted({*truth, *called}))
        )
        assert found["top1"].value == pytest.approx(accuracy_score(truth, called))
        probabilities = logits.double().softmax(dim=1).numpy()
        assert found["auc"].value == pytest.approx(
            roc_auc_score(truth, probabilities, multi_class="ovr", average="macro"), abs=1e-3
        )
        for metric in ("f1", "auc", "top1"):
            low, high = found[metric].interval
            assert low <= high
    assert written["openpmc"]["brain_tumor"][2] == [
        sentence.format("a glioma") for sentence in prompts.templates_of(get_source("brain_tumor"), "openpmc")
    ]


def test_rows_and_files(scored):
    rows, out, _ = scored
    assert [row.to_json() for row in read_results(out / "results.jsonl")] == [row.to_json() for row in rows]
    assert all(row.synthetic and row.protocol == "zero_shot" for row in rows)
    assert {row.settings["templates"] for row in rows} == {"openpmc", "domain", "own"}
    per_class = [row for row in rows if row.metric == "class_auc" and row.settings["templates"] == "domain"]
    per_class = [row for row in per_class if not row.settings.get("without_duplicates")]
    assert [row.settings["class"] for row in per_class] == list(get_source("brain_tumor").concepts)
    auc = by_name(rows, templates="domain")["auc"]
    assert np.mean([row.value for row in per_class]) == pytest.approx(auc.value)
    kept = np.load(out / "cosines_brain_tumor.npz", allow_pickle=False)
    assert kept["domain"].shape == (auc.n, 4)
    assert np.abs(kept["domain"]).max() <= 1 + 1e-6


def made(classes, outcomes, logits, *, multi_label=False, copies=None, name="brain_tumor"):
    n = len(logits)
    task = Task(name, classes, tuple(f"name of {c}" for c in classes), multi_label)
    return Scored(
        task,
        np.asarray(outcomes, bool),
        np.ones((n, len(classes)), bool),
        np.asarray(logits, float),
        [f"p{i}" for i in range(n)],
        np.zeros(n, bool) if copies is None else np.asarray(copies, bool),
    )


FACTS = {"split": "test", "settings": {"templates": "domain"}, "facts_by_source": {}}


def test_absent_class_is_undefined_and_counted():
    outcomes = np.eye(3)[[0, 0, 1, 1]]
    logits = [[2, 1, 0], [1, 2, 0], [0, 2, 1], [0, 2, 1]]
    rows = score_tasks([made(("a", "b", "c"), outcomes, logits)], FACTS, n_bootstrap=20, seed=0)
    found = {(row.metric, row.settings.get("class")): row for row in rows if row.level == "source"}
    assert (found["auc", None].n_classes, found["auc", None].n_defined) == (3, 2)
    assert math.isnan(found["class_auc", "c"].value)
    assert "no record of the class" in found["class_auc", "c"].reason
    assert math.isnan(found["class_f1", "c"].value)
    assert found["f1", None].value == pytest.approx((2 / 3 + 4 / 5) / 2)
    logits[0] = [1, 0, 2]  # now the absent class is called once: its F1 is 0
    rows = score_tasks([made(("a", "b", "c"), outcomes, logits)], FACTS, n_bootstrap=0, seed=0)
    found = {(row.metric, row.settings.get("class")): row for row in rows if row.level == "source"}
    assert found["class_f1", "c"].value == 0
    assert found["f1", None].value == pytest.approx(f1_score([0, 0, 1, 1], [2, 1, 1, 1], average="macro"))


def test_two_classes_have_the_f1_of_the_second_beside_the_macro_one():
    truth, called = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 0, 1, 1, 1, 0, 1])
    rows = score_tasks([made(("a", "b"), np.eye(2)[truth], np.eye(2)[called])], FACTS, n_bootstrap=30, seed=0)
    found = {row.metric: row for row in rows if row.level == "source"}
    assert found["f1_positive"].value == pytest.approx(f1_score(truth, called))
    assert found["f1"].value == pytest.approx(f1_score(truth, called, average="macro"))
    assert found["f1_positive"].settings["class"] == "b"
    assert found["f1_positive"].interval[0] <= found["f1_positive"].value <= found["f1_positive"].interval[1]
    nobody = score_tasks([made(("a", "b"), np.eye(2)[[0, 0]], np.eye(2)[[0, 0]])], FACTS, n_bootstrap=0, seed=0)
    undefined = next(row for row in nobody if row.metric == "f1_positive")
    assert (undefined.is_defined, "none called so" in undefined.reason) == (False, True)


def test_multi_label_has_an_auc_and_nothing_else():
    y = np.array([[1, 0], [1, 1], [0, 0], [0, 1]])
    cosines = np.array([[0.9, 0.1], [0.4, 0.5], [0.5, 0.2], [0.1, 0.3]])
    many = made(("a", "b"), y, cosines, multi_label=True, name="chexpert")
    one = made(("c", "d"), np.eye(2)[[0, 1, 1]], np.eye(2)[[0, 1, 0]])
    rows = score_tasks([many, one], FACTS, n_bootstrap=20, seed=0)
    found = {row.metric: row for row in rows if row.source == "chexpert" and row.metric != "class_auc"}
    assert found["auc"].value == pytest.approx(roc_auc_score(y, cosines, average="macro"))
    for metric in ("f1", "accuracy", "sensitivity", "specificity", "exact_match"):
        assert math.isnan(found[metric].value)
        assert "no threshold" in found[metric].reason
    assert "f1_positive" not in found
    overall = {row.metric: row for row in rows if row.level == "overall"}
    single = {row.metric: row for row in rows if row.source == "brain_tumor"}
    assert overall["auc"].n_defined == 2
    assert (overall["f1"].n_defined, overall["f1"].value) == (1, single["f1"].value)


def test_copies_are_left_out_of_a_second_scoring():
    truth, called = [0, 0, 1, 1], [0, 1, 1, 1]
    own = made(("a", "b"), np.eye(2)[truth], np.eye(2)[called], copies=[False, True, False, False])
    rows = score_tasks([own], FACTS, n_bootstrap=0, seed=0)
    tops = {row.settings.get("without_duplicates", False): row for row in rows if row.metric == "top1"}
    top = {row.level: row for row in rows if row.metric == "top1" and not row.settings.get("without_duplicates")}
    assert top["source"].value == 0.75
    assert (tops[True].value, tops[True].n) == (1.0, 3)


def test_multi_label_source_end_to_end(encoder, miniatures, tmp_path):
    folder, _ = miniatures("vindr_cxr", 32)
    rows = zero_shot(
        encoder, {"vindr_cxr": folder}, templates=["domain"], n_bootstrap=0, cache_dir=tmp_path, device="cpu"
    )
    found = by_name(rows)
    assert 0 <= found["auc"].value <= 1
    assert not found["f1"].is_defined


def test_command_line(encoder, miniatures, tmp_path):
    folder, _ = miniatures("brain_tumor", 64)
    names = tmp_path / "names.yaml"
    names.write_text("brain_tumor: [no tumor, pituitary tumor, glioma tumor, meningioma tumor]\n")
    command = ["zeroshot", str(encoder), "--source", f"brain_tumor={folder}", "--names", str(names), "--synthetic"]
    command += ["--templates", "openpmc", "--template", "brain mri with {}", "--n-bootstrap", "10"]
    command += ["--cache-dir", str(tmp_path / "cache"), "--to", str(tmp_path / "out")]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "brain_tumor" in shown.output
    assert "own" in shown.output
    written = json.loads((tmp_path / "out" / "prompts.json").read_text())
    assert written["own"]["brain_tumor"][2] == ["brain mri with glioma tumor"]
    rows = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert rows
    assert all(row["synthetic"] for row in rows)
    mini = ["zeroshot", str(encoder), "--source", "brain_mri", "--miniature", "--n-bootstrap", "0"]
    done = CliRunner().invoke(app, mini)
    assert done.exit_code == 0, done.output
    assert "f1_positive" in done.output
    names.write_text("brain_tumor: no list\n")
    wrong = CliRunner().invoke(app, command)
    assert isinstance(wrong.exception, OptionError)
