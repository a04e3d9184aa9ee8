"""The linear probe: the protocol's optimiser step by step, separable data, masks, sources, and the command."""

import inspect
import json
import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from typer.testing import CliRunner

from climb_hf.cli.app import app
from climb_hf.errors import CorruptFileError, OptionError, SchemaError, TrainingError
from climb_hf.protocols.features import Features
from climb_hf.protocols.linear_head import ProbeSettings, fit_linear_head
from climb_hf.protocols.linear_probe import linear_probe, probe_source, random_encoder
from climb_hf.protocols.scoring import ScoredSource
from climb_hf.results import read_results

TINY = ["model.backbone=timm/test_convnext", "model.image_size=32", "processor.size=32",
        "data.options={'*': {image_size: 32, num_frames: 2, validation: 0.2}}"]  # fmt: skip


def plain_loop(x, y, mask, multi_label, settings):
    """The protocol by autograd, DataLoader-free but otherwise as published."""
    generator = torch.Generator().manual_seed(settings.seed)
    layer = torch.nn.Linear(x.shape[1], y.shape[1])
    bound = 1 / math.sqrt(x.shape[1])
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    groups = [{"params": [layer.weight], "weight_decay": settings.weight_decay},
              {"params": [layer.bias], "weight_decay": 0.0}]  # fmt: skip
    betas = (settings.beta1, settings.beta2)
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, eps=settings.eps)
    steps = math.ceil(len(x) / settings.batch_size) * settings.epochs
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    for _ in range(settings.epochs):
        order = torch.randperm(len(x), generator=generator) if settings.shuffle else torch.arange(len(x))
        for rows in order.split(settings.batch_size):
            logits = layer(x[rows])
            if multi_label:
                terms = torch.nn.functional.binary_cross_entropy_with_logits(logits, y[rows], reduction="none")
                loss = ((terms * mask[rows]).sum(1) / mask[rows].sum(1)).mean()
            else:
                logits = logits.masked_fill(~mask[rows], -torch.inf)
                loss = torch.nn.functional.cross_entropy(logits, y[rows].argmax(1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return layer


def test_the_defaults_are_those_of_the_published_evaluation():
    published = {"epochs": 40, "learning_rate": 0.1, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.98, "eps": 1e-6,
                 "batch_size": 64, "seed": 0}  # fmt: skip
    assert ProbeSettings().as_dict() == {**published, "shuffle": True}  # the published files are not shuffled
    assert inspect.signature(linear_probe).parameters["split"].default == "test"
    assert inspect.signature(linear_probe).parameters["best_on_test"].default is False


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_layer_is_that_of_the_published_loop(multi_label, masked, shuffle):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(150, 9)).astype(np.float32)
    wanted = generator.random((150, 4)) < 0.4
    if not multi_label:
        wanted = np.eye(4, dtype=bool)[generator.integers(0, 4, 150)]
    known = np.ones_like(wanted)
    if masked:
        known = (generator.random(wanted.shape) < 0.8) | wanted
    settings = ProbeSettings(epochs=3, shuffle=shuffle, seed=5)
    found = fit_linear_head(x, wanted, known, multi_label=multi_label, settings=settings)
    assert found.n_left_out == 0 or multi_label
    rows = known.any(1)
    layer = plain_loop(
        torch.from_numpy(x[rows]), torch.from_numpy(wanted[rows]).float(), torch.from_numpy(known[rows]),
        multi_label, settings,
    )  # fmt: skip
    torch.testing.assert_close(found.weight, layer.weight.detach(), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found.bias, layer.bias.detach(), atol=2e-5, rtol=1e-4)
    np.testing.assert_allclose(found.scores(x[:3]), layer(torch.from_numpy(x[:3])).detach(), atol=1e-4)


def test_separable_data_points_where_logistic_regression_does():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, 2000)
    direction = generator.normal(size=16)
    x = generator.normal(size=(2000, 16)) + np.outer(2 * truth - 1, 2 * direction / np.linalg.norm(direction))
    labels = np.eye(2, dtype=bool)[truth]
    found = fit_linear_head(x.astype(np.float16), labels)
    reference = LogisticRegression(C=1.0).fit(x, truth).coef_[0]
    ours = (found.weight[1] - found.weight[0]).numpy()
    cosine = ours @ reference / np.linalg.norm(ours) / np.linalg.norm(reference)
    assert cosine > 0.98
    assert (found.scores(x.astype(np.float16)).argmax(1) == truth).mean() > 0.96
    assert found.losses[-1] < found.losses[0]


def test_rows_without_a_label_are_left_out_and_counted():
    x = np.array([[1.0], [2.0], [-1.0], [5.0]], dtype=np.float16)
    labels = np.array([[1, 0], [1, 0], [0, 1], [1, 1]], dtype=bool)
    head = fit_linear_head(x, labels)
    assert (head.n_rows, head.n_left_out) == (3, 1)
    with pytest.raises(SchemaError, match="none of the 4 rows"):
        fit_linear_head(x, np.zeros((4, 2), bool))
    with pytest.raises(SchemaError, match=r"\(4, 1\)"):
        fit_linear_head(x, labels[:2])
    with pytest.raises(TrainingError, match="not finite"):
        fit_linear_head(np.full((4, 1), np.inf, np.float32), labels)
    with pytest.raises(OptionError, match="epochs"):
        ProbeSettings(epochs=0)


def features(values, labels, concepts):
    names = [[concepts[label]] for label in labels]
    ids = [str(row) for row in range(len(values))]
    return Features(values, ids, ["s"] * len(ids), [f"p{row // 2}" for row in range(len(ids))], names, [[]] * len(ids))


def test_scores_are_those_of_sklearn_and_the_last_epoch_is_reported():
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 2, 120)
    values = (generator.normal(size=(120, 5)) + labels[:, None]).astype(np.float16)
    concepts = ["healthy", "ill"]
    train, test = features(values[:80], labels[:80], concepts), features(values[80:], labels[80:], concepts)
    source = ScoredSource("s", concepts, False)
    facts = {"split": "test", "settings": {"a": 1}}
    rows, _, found = probe_source(train, test, source, ProbeSettings(), facts, n_bootstrap=200)
    called = rows["scores"].argmax(1)
    value = {row.metric: row for row in found}
    assert value["f1"].value == pytest.approx(f1_score(labels[80:], called, average="macro"))
    assert value["f1_positive"].value == pytest.approx(f1_score(labels[80:], called))
    assert value["f1_positive"].settings["positive_class"] == "ill"
    low, high = value["f1_positive"].interval
    assert low <= value["f1_positive"].value <= high
    assert value["f1"].n_groups == 20
    assert {row.settings["selection"] for row in found} == {"last epoch"}
    *_, both = probe_source(train, test, source, ProbeSettings(), facts, n_bootstrap=0, best_on_test=True)
    kinds = {row.settings["selection"]: row.value for row in both if row.metric == "f1"}
    assert len(kinds) == 2
    assert kinds["best epoch on the scored split (optimistic)"] >= kinds["last epoch"]


def test_a_class_that_the_split_lacks_is_undefined_not_half():
    concepts = ["healthy", "ill"]
    values = np.array([[1.0], [-1.0], [1.0], [1.0]], np.float16)
    train, test = features(values, [0, 1, 0, 0], concepts), features(values[2:], [0, 0], concepts)
    *_, found = probe_source(train, test, ScoredSource("s", concepts, False), ProbeSettings(), {"split": "test"})
    value = {row.metric: row for row in found}
    assert math.isnan(value["auc"].value)
    assert "both outcomes" in value["auc"].reason


@pytest.fixture(scope="module")
def sources(miniatures):
    return {name: miniatures(name)[0] for name in ("brain_tumor", "covid_blues", "vindr_cxr")}


def test_images_videos_and_multi_label_sources(sources, tmp_path):
    options = {"*": {"image_size": 32, "num_frames": 2}}
    rows = linear_probe(
        random_encoder("quick", TINY), sources, output_dir=tmp_path, n_bootstrap=20, options=options,
        cache_dir=tmp_path / "cache", feature_cache=tmp_path / "features", settings=ProbeSettings(epochs=5),
    )  # fmt: skip
    assert {row.source for row in rows} == set(sources)
    assert all(row.protocol == "linear_probe" and row.synthetic for row in rows)
    assert {row.settings["source_seen"] for row in rows} == {False}
    assert "f1_positive" in {row.metric for row in rows if row.source == "covid_blues"}
    assert "exact_match" in {row.metric for row in rows if row.source == "vindr_cxr"}
    copies = [row for row in rows if row.settings.get("without_duplicates")]
    assert {row.source for row in copies} >= {"brain_tumor"}
    assert [row.to_json() for row in read_results(tmp_path / "results.jsonl")] == [row.to_json() for row in rows]
    with np.load(tmp_path / "predictions-vindr_cxr.npz", allow_pickle=False) as kept:
        assert kept["scores"].shape == kept["references"].shape
    assert (tmp_path / "brain_tumor.safetensors").is_file()


def test_the_command_on_miniatures(tmp_path):
    arguments = ["probe", "random", "brain_tumor", "--to", str(tmp_path), "--miniature", "--epochs", "2", "--recipe",
                 "quickstart", "--n-bootstrap", "0", "--cache-dir", str(tmp_path / "c"), "--feature-cache",
                 str(tmp_path / "f"), "--best-on-test"]  # fmt: skip
    for override in TINY:
        arguments += ["--recipe-set", override]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "optimistic" in result.output
    assert all(row.synthetic for row in read_results(tmp_path / "results.jsonl"))
    result = CliRunner().invoke(app, [*arguments, "--json"])
    rows = json.loads(result.stdout)
    assert rows[0]["protocol"] == "linear_probe"
    result = CliRunner().invoke(app, [*arguments, "--json", "--set", "drop_duplicates=true"])
    assert json.loads(result.stdout)[0]["n"] < rows[0]["n"]


def test_a_partly_random_checkpoint_is_refused(tmp_path, sources):
    from safetensors.torch import load_file, save_file

    encoder = random_encoder("quick", TINY)
    for part in (encoder.model, encoder.processor):
        part.save_pretrained(tmp_path / "run")
    file = tmp_path / "run" / "model.safetensors"
    save_file(dict(list(load_file(file).items())[1:]), file)
    with pytest.raises(CorruptFileError, match="1 missing"):
        linear_probe(tmp_path / "run", {"covid_blues": sources["covid_blues"]})
