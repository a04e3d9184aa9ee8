"""`climb pretrain`: what is trained, how the target follows, what is saved, and that it helps."""

import json

import numpy as np
import pytest
import torch

import climb_hf
from climb_hf.errors import OptionError
from climb_hf.models import (
    BiotConfig,
    BiotModel,
    EcgJepaConfig,
    EcgJepaForClassification,
    EcgJepaForPretraining,
    EcgJepaModel,
)
from climb_hf.processing import EcgFeatureExtractor
from climb_hf.processing.batching import RowBatcher
from climb_hf.protocols.multitask import train
from climb_hf.protocols.pretrain import pretrain
from climb_hf.training.arguments import ClimbTrainingArguments
from climb_hf.training.pretraining import PretrainingCollator, PretrainingTrainer, target_momentum

TINY = [
    "model.hidden_size=16",
    "model.num_hidden_layers=1",
    "model.num_attention_heads=2",
    "model.predictor_hidden_size=16",
    "model.predictor_num_heads=2",
    "training.num_train_epochs=1",
    "training.logging_steps=1",
    "training.use_cpu=true",
]
JEPA = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "signal_length": 100, "patch_size": 20}
PREDICTOR = {"predictor_hidden_size": 16, "predictor_num_layers": 1, "predictor_num_heads": 2}


def rows(n: int, leads: int = 12) -> list[dict]:
    rng = np.random.default_rng(0)
    keys = {"source": "ptbxl", "group": "p"}
    return [
        {"id": str(k), **keys, "signal": rng.standard_normal((100, leads)).astype("float32"), "sampling_rate": 250.0}
        for k in range(n)
    ]


def trainer(tmp_path, model, **arguments):
    extractor = EcgFeatureExtractor.preset("ecg_jepa", length=100)
    fields = {"per_device_train_batch_size": 4, "use_cpu": True, "save_strategy": "no", **arguments}
    return PretrainingTrainer(
        model,
        ClimbTrainingArguments(str(tmp_path), **fields),
        PretrainingCollator(extractor),
        train_dataset=rows(8),
        processing_class=extractor,
    )


def test_the_target_follows_with_rising_momentum(tmp_path, monkeypatch):
    seen = []
    update = EcgJepaForPretraining.update_target
    monkeypatch.setattr(
        EcgJepaForPretraining, "update_target", lambda self, momentum: (seen.append(momentum), update(self, momentum))
    )
    torch.manual_seed(0)
    model = EcgJepaForPretraining(EcgJepaConfig(**JEPA, **PREDICTOR))
    start = model.target.patch_embedding.weight.clone()
    trainer(tmp_path, model, num_train_epochs=3, learning_rate=0.01).train()
    assert seen == [target_momentum(step, 6) for step in range(1, 7)]
    assert seen[-1] == 1.0
    moved = (model.target.patch_embedding.weight - start).abs().max()
    assert 0 < moved < (model.ecg_jepa.patch_embedding.weight - start).abs().max() / 10


def test_the_rate_falls_in_steps(tmp_path):
    model = EcgJepaForPretraining(EcgJepaConfig(**JEPA, **PREDICTOR))
    run = trainer(
        tmp_path,
        model,
        num_train_epochs=3,
        learning_rate=1e-3,
        optimizer="adam",
        lr_scheduler_type="constant",
        lr_scheduler_kwargs={"step_size": 2, "gamma": 0.3},
        logging_steps=1,
    )
    run.train()
    rates = [entry["learning_rate"] for entry in run.state.log_history if "learning_rate" in entry]
    np.testing.assert_allclose(rates, np.array([1, 1, 0.3, 0.3, 0.09, 0.09]) * 1e-3, rtol=1e-9)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretraining")
    climb_hf.miniature("ptbxl", folder / "raw", n=32)
    made = pretrain(
        {"ptbxl": folder / "raw"},
        folder / "run",
        recipe="pretrain/ecg_jepa_quick",
        overrides=TINY,
        cache_dir=folder / "cache",
        synthetic=True,
    )
    return folder, made


def test_what_is_saved(run):
    folder, made = run
    assert made.checkpoint == folder / "run" / "encoder"
    encoder = EcgJepaModel.from_pretrained(made.checkpoint)
    whole = EcgJepaForPretraining.from_pretrained(folder / "run" / "model")
    assert torch.equal(encoder.patch_embedding.weight, whole.ecg_jepa.patch_embedding.weight)
    extractor = EcgFeatureExtractor.from_pretrained(made.checkpoint)
    assert extractor.to_dict() == EcgFeatureExtractor.preset("ecg_jepa").to_dict()
    kept = json.loads((made.checkpoint / "training.json").read_text())
    assert (kept["sources"], kept["synthetic"], kept["recipe"]) == (["ptbxl"], True, "pretrain/ecg_jepa_quick")
    assert kept["n_examples"]["ptbxl"] > 0
    losses = [entry["loss"] for entry in made.history if "loss" in entry]
    assert len(losses) == -(-kept["n_examples"]["ptbxl"] // 16)
    assert np.isfinite(losses).all()


def test_training_starts_from_the_encoder(run, tmp_path):
    folder, made = run
    recipe = tmp_path / "probe.yaml"
    recipe.write_text(
        f"model: {{type: climb_ecg_jepa, pretrained: {made.checkpoint}}}\n"
        "processor: {preset: ecg_jepa}\ndata: {}\n"
        "training: {num_train_epochs: 1, learning_rate: 0.0, save_strategy: 'no', use_cpu: true}\n"
    )
    done = train(
        {"ptbxl": folder / "raw"}, tmp_path / "run", recipe=recipe, cache_dir=folder / "cache", synthetic=True
    )
    model = EcgJepaForClassification.from_pretrained(done.checkpoint)
    encoder = EcgJepaModel.from_pretrained(made.checkpoint)
    assert torch.equal(model.ecg_jepa.patch_embedding.weight, encoder.patch_embedding.weight)


def test_sources_that_do_not_fit_are_refused_before_they_are_built(tmp_path):
    for name, message in (("brain_tumor", "family `image`"), ("tuab", "its channels are")):
        with pytest.raises(OptionError, match=message):
            pretrain({name: tmp_path}, tmp_path / "run", recipe="pretrain/ecg_jepa_quick", overrides=TINY)
    recipe = tmp_path / "none.yaml"
    recipe.write_text("model: {type: climb_ecg_transformer}\nprocessor: {}\ndata: {}\ntraining: {}\n")
    with pytest.raises(OptionError, match="no pretraining objective"):
        pretrain({"ptbxl": tmp_path}, tmp_path / "run", recipe=recipe)


def test_biot_from_its_recipe(tmp_path):
    climb_hf.miniature("tuab", tmp_path / "raw", n=24)
    overrides = [
        "model.hidden_size=16",
        "model.num_hidden_layers=1",
        "model.num_attention_heads=2",
        "training.num_train_epochs=1",
        "training.per_device_train_batch_size=8",
        "training.save_strategy='no'",
        "training.logging_steps=1",
        "training.use_cpu=true",
    ]
    made = pretrain(
        {"tuab": tmp_path / "raw"},
        tmp_path / "run",
        recipe="pretrain/biot",
        overrides=overrides,
        cache_dir=tmp_path / "cache",
        synthetic=True,
    )
    assert isinstance(BiotModel.from_pretrained(made.checkpoint).config, BiotConfig)
    losses = [entry["loss"] for entry in made.history if "loss" in entry]
    assert losses[0] == pytest.approx(np.log(8), rel=0.8)  # of 8 records, none is told apart at first


@pytest.mark.slow
def test_a_probe_on_the_pretrained_encoder_beats_random_ones(tmp_path):
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    climb_hf.miniature("ptbxl", tmp_path / "raw", n=200)
    made = pretrain(
        {"ptbxl": tmp_path / "raw"},
        tmp_path / "run",
        recipe="pretrain/ecg_jepa_quick",
        overrides=["training.use_cpu=true"],
        cache_dir=tmp_path / "cache",
        synthetic=True,
    )
    losses = [entry["loss"] for entry in made.history if "loss" in entry]
    assert np.mean(losses[-3:]) < 0.5 * losses[0]
    data = climb_hf.load_dataset("ptbxl", tmp_path / "raw", cache_dir=tmp_path / "cache")
    held_out = [*data["test"], *data["validation"]]
    batcher = RowBatcher(EcgFeatureExtractor.preset("ecg_jepa"))

    def features(model, part):
        with torch.no_grad():
            return np.concatenate(
                [model(**batcher(part[at : at + 32])).pooler_output.numpy() for at in range(0, len(part), 32)]
            )

    def score(model):
        known = list(data["train"])
        fitted, scored = features(model, known), features(model, held_out)
        found = []
        for label in sorted({label for row in known for label in row["labels"]}):
            probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, C=0.1))
            probe.fit(fitted, [label in row["labels"] for row in known])
            truth = [label in row["labels"] for row in held_out]
            found.append(roc_auc_score(truth, probe.decision_function(scored)))
        return np.mean(found)

    encoder = EcgJepaModel.from_pretrained(made.checkpoint).eval()
    random = []
    for seed in range(3):
        torch.manual_seed(seed)
        random.append(score(EcgJepaModel(encoder.config).eval()))
    assert score(encoder) > np.mean(random)
