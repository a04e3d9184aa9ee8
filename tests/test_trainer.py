"""`ClimbTrainer`: the loss curve of one process under accumulation and DDP, stops, resuming, numbers per source."""

import json
import math
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from climb_hf.errors import OptionError, TrainingError, VocabularyError
from climb_hf.metrics import masked_metrics
from climb_hf.training.arguments import ClimbTrainingArguments
from climb_hf.training.evaluation import load_rows
from climb_hf.training.losses import masked_classification_loss
from climb_hf.training.targets import TargetBuilder
from climb_hf.training.trainer import ClimbTrainer

VOCABULARY = ["nevus", "melanoma", "edema", "effusion", "fracture"]
CLASSES = {"skin": ["melanoma", "nevus"], "chest": ["edema", "effusion", "fracture"]}
MULTI = {"skin": False, "chest": True}


class TinyConfig(PreTrainedConfig):
    model_type = "climb_tiny_test"
    vocabulary: list = None
    source_classes: dict = None
    source_multi_label: dict = None


class TinyModel(PreTrainedModel):
    config: TinyConfig
    main_input_name = "pixel_values"
    accepts_loss_kwargs = False

    def __init__(self, config):
        super().__init__(config)
        self.body, self.norm, self.head = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, len(config.vocabulary))
        self.post_init()

    def forward(self, pixel_values, labels=None):
        assert labels is None
        return {"logits": self.head(torch.tanh(self.norm(self.body(pixel_values))))}


class Collator:
    """Rows of vectors; what it has in common with the picture collator are the targets and the records."""

    def __init__(self, **options):
        self.targets = TargetBuilder(VOCABULARY, CLASSES, MULTI, label_names=VOCABULARY, **options)

    def __call__(self, rows):
        return {
            "pixel_values": torch.tensor(np.stack([row["pixel_values"] for row in rows])),
            **self.targets(rows),
            "ids": [row["id"] for row in rows],
            "sources": [row["source"] for row in rows],
            "groups": [row["group"] for row in rows],
        }


def make_rows(count, source=None, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        name = source or ("skin" if number % 3 == 0 else "chest")
        labels = (
            [int(rng.integers(2))] if name == "skin" else [2 + int(k) for k in np.flatnonzero(rng.random(3) < 0.4)]
        )
        if name == "chest" and number % 5 == 1:
            labels = None  # unlabelled: never in the loss, so micro-batches differ in their number of valid rows
        pixels = rng.standard_normal(6).astype("float32")
        for label in labels or []:
            pixels[label] += 1.5
        rows.append(
            {"id": f"{name}-{number}", "source": name, "group": f"p{number // 2}", "labels": labels}
            | {"uncertain": [4] if name == "chest" and number % 7 == 2 else [], "pixel_values": pixels}
        )
    return rows


def make_trainer(folder, rows=None, evaluation=None, collator=None, model_seed=0, **options):
    torch.manual_seed(model_seed)
    model = TinyModel(TinyConfig(vocabulary=VOCABULARY, source_classes=CLASSES, source_multi_label=MULTI))
    defaults = {
        "num_train_epochs": 2,
        "learning_rate": 0.05,
        "per_device_train_batch_size": 8,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 7,
    }
    keywords = {key: options.pop(key) for key in ("compute_metrics", "class_weights") if key in options}
    arguments = ClimbTrainingArguments(str(folder), **{**defaults, **options})
    return ClimbTrainer(
        model, arguments, collator or Collator(), rows, evaluation, modalities={"skin": "D", "chest": "X"}, **keywords
    )


def curve(trainer):
    return [(entry["loss"], entry["grad_norm"]) for entry in trainer.state.log_history if "grad_norm" in entry]


def train(folder, count=26, **options):
    trainer = make_trainer(folder, make_rows(count), **options)
    trainer.train()
    return curve(trainer)


def test_first_steps_equal_a_loop_by_hand(tmp_path):
    trainer = make_trainer(tmp_path, make_rows(16), num_train_epochs=1, max_grad_norm=0, lr_scheduler_type="constant")
    rows, order = make_rows(16), None
    reference = make_trainer(tmp_path / "reference").model
    trainer.train()
    order = trainer._sampler.order(0)
    optimizer = torch.optim.AdamW(reference.parameters(), lr=0.05, weight_decay=0.0)
    losses = []
    for start in (0, 8):
        batch = Collator()([rows[position] for position in order[start : start + 8]])
        loss = masked_classification_loss(
            reference(batch["pixel_values"])["logits"], batch["labels"], batch["target_mask"], batch["exclusive"]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert [loss for loss, _ in curve(trainer)] == pytest.approx(losses, rel=1e-6)
    for one, other in zip(trainer.model.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("batch", "steps"), [(4, 2), (2, 4), (1, 8)])
def test_accumulation_gives_the_curve_of_the_whole_batch(tmp_path, batch, steps):
    whole = train(tmp_path / "whole")
    assert len(whole) == 8  # 26 rows: three batches of 8 and one of 2, twice
    parts = train(tmp_path / "parts", per_device_train_batch_size=batch, gradient_accumulation_steps=steps)
    np.testing.assert_allclose(parts, whole, rtol=2e-4)


def _process(rank, world, folder, options, port):
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    torch.set_num_threads(1)
    trainer = make_trainer(folder, make_rows(26), evaluation=make_rows(19, seed=4), ddp_backend="gloo", **options)
    result = {"world": trainer.accelerator.num_processes}
    try:
        trainer.train(resume_from_checkpoint=options.get("resume_from_checkpoint"))
        metrics = trainer.evaluate()
        rows = trainer.predict_rows(make_rows(19, seed=4))
        result |= {"curve": curve(trainer), "ids": rows["ids"], "scores": rows["scores"].tolist()}
        result["metrics"] = {key: value for key, value in metrics.items() if not key.endswith(("second", "runtime"))}
    except TrainingError as error:
        result["error"] = str(error)
    (Path(folder) / f"rank{rank}.json").write_text(json.dumps(result))
    torch.distributed.barrier()
    os._exit(0)  # gloo's threads abort now and then when the interpreter takes them down


def two_processes(folder, **options):
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_process, (2, str(folder), options, port), nprocs=2)
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "steps"), [(4, 1), (2, 2)])
def test_two_processes_give_the_curve_of_one(tmp_path, batch, steps):
    one = make_trainer(tmp_path / "one", make_rows(26), evaluation=make_rows(19, seed=4))
    one.train()
    metrics, rows = one.evaluate(), one.predict_rows(make_rows(19, seed=4))
    first, second = two_processes(
        tmp_path / "two", per_device_train_batch_size=batch, gradient_accumulation_steps=steps
    )
    assert first["world"] == 2
    np.testing.assert_allclose(first["curve"], curve(one), rtol=2e-4)
    assert first["ids"] == second["ids"] == rows["ids"]
    np.testing.assert_allclose(first["scores"], rows["scores"], rtol=1e-3, atol=1e-5)
    for key, value in first["metrics"].items():
        assert value == pytest.approx(metrics[key], rel=1e-4, nan_ok=True), key
    assert first["metrics"]["eval_skin_n"] + first["metrics"]["eval_chest_n"] == 19 - 3


@pytest.mark.slow
def test_two_processes_resume_exactly(tmp_path):
    whole, _ = two_processes(tmp_path / "whole", per_device_train_batch_size=4, save_strategy="steps", save_steps=6)
    resumed, _ = two_processes(
        tmp_path / "resumed",
        per_device_train_batch_size=4,
        resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-6"),
    )
    np.testing.assert_allclose(resumed["curve"], whole["curve"], rtol=1e-6)


@pytest.mark.slow
def test_two_processes_both_stop_at_a_loss_that_is_not_finite(tmp_path):
    results = two_processes(tmp_path / "two", per_device_train_batch_size=4, collator=_PoisonedCollator())
    assert [result["error"] for result in results] == [results[0]["error"]] * 2
    assert "chest-4" in results[0]["error"]


class _PoisonedCollator(Collator):
    """Gives one record an input that is not a number."""

    def __call__(self, rows):
        batch = super().__call__(rows)
        for position, row in enumerate(rows):
            if row["id"] == "chest-4":
                batch["pixel_values"][position, 2] = float("nan")
        return batch


def test_stops_at_a_loss_that_is_not_finite(tmp_path):
    trainer = make_trainer(tmp_path, make_rows(26), collator=_PoisonedCollator())
    before = [value.clone() for value in trainer.model.parameters()]
    order = trainer.get_train_dataloader() and trainer._sampler.order(0)
    step = int(np.flatnonzero(order == 4)[0]) // 8
    with pytest.raises(
        TrainingError, match=rf"the loss is not finite at step {step + 1}; the optimizer has not"
    ) as stop:
        trainer.train()
    text = str(stop.value)
    assert "inputs that are not finite: chest:chest-4)" in text
    for position in order[8 * step : 8 * step + 8]:
        assert make_rows(26)[position]["id"] in text
    assert len(curve(trainer)) == step
    assert all(value.isfinite().all() for value in trainer.model.parameters())
    assert step > 0 or all(
        torch.equal(one, other) for one, other in zip(before, trainer.model.parameters(), strict=True)
    )


def test_stops_at_a_gradient_that_is_not_finite(tmp_path):
    trainer = make_trainer(tmp_path, make_rows(8))
    trainer.model.head.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(
        TrainingError, match=r"the gradient is not finite at step 1.*Records of the batch: .*skin:skin-0"
    ):
        trainer.train()
    assert trainer.model.head.weight.isfinite().all()


def test_batches_without_a_valid_row_change_nothing(tmp_path):
    rows = [row | {"labels": None} for row in make_rows(8)]
    trainer = make_trainer(tmp_path, rows, num_train_epochs=1, weight_decay=0.0)
    before = [value.clone() for value in trainer.model.parameters()]
    trainer.train()
    assert curve(trainer) == [(0.0, 0.0)]
    assert all(torch.equal(one, other) for one, other in zip(before, trainer.model.parameters(), strict=True))


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "soap"])
def test_resuming_is_exact(tmp_path, optimizer):
    options = {"save_strategy": "steps", "save_steps": 3, "optimizer": optimizer, "mixture": "balanced"}
    whole = make_trainer(tmp_path / "whole", make_rows(26), **options)
    whole.train()
    resumed = make_trainer(tmp_path / "resumed", make_rows(26), model_seed=99, **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    assert len(curve(whole)) == 8
    assert curve(resumed) == curve(whole)
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_optimizers_and_decay(tmp_path):
    groups = {}
    for name in ("adamw", "adam", "soap"):
        trainer = make_trainer(tmp_path, make_rows(8), optimizer=name, weight_decay=0.1, learning_rate=0.01)
        optimizer = trainer.create_optimizer()
        groups[name] = type(optimizer).__name__
        decayed, plain = optimizer.param_groups
        assert {value.ndim for value in decayed["params"]} == {2}
        assert {value.ndim for value in plain["params"]} == {1}
        assert (decayed["weight_decay"], plain["weight_decay"], decayed["lr"]) == (0.1, 0.0, 0.01)
    assert groups == {"adamw": "AdamW", "adam": "Adam", "soap": "SOAP"}
    extra = make_trainer(tmp_path, make_rows(8), optimizer_kwargs='{"amsgrad": true}').create_optimizer()
    assert extra.param_groups[0]["amsgrad"] is True


def test_numbers_per_source_equal_masked_metrics(tmp_path):
    rows = make_rows(60, seed=2)
    trainer = make_trainer(tmp_path, evaluation=rows, n_bootstrap=20, per_device_eval_batch_size=7)
    metrics = trainer.evaluate()
    predicted = trainer.predict_rows(rows)
    known = [position for position, row in enumerate(rows) if row["labels"] is not None]
    columns = {"skin": [1, 0], "chest": [2, 3, 4]}
    with torch.no_grad():
        scores = trainer.model(torch.tensor(np.stack([row["pixel_values"] for row in rows])))["logits"].numpy()
    targets = Collator().targets(rows)
    inside = np.array([[column in columns[row["source"]] for column in range(5)] for row in rows])
    table = masked_metrics(
        targets["labels"].numpy()[known],
        scores[known],
        [rows[position]["source"] for position in known],
        source_classes=columns,
        multi_label=MULTI,
        groups=[rows[position]["group"] for position in known],
        valid=(targets["target_mask"].numpy() | ~inside)[known],
        n_bootstrap=20,
        seed=7,
    )
    np.testing.assert_allclose(predicted["scores"], scores, rtol=1e-5, atol=1e-6)
    for source, own in (("skin", "top1"), ("chest", "exact_match")):
        for name in ("auc", "sensitivity", "specificity", "f1", "accuracy", own):
            assert metrics[f"eval_{source}_{name}"] == pytest.approx(table["sources"][source][name]), (source, name)
        interval = table["sources"][source]["intervals"]["auc"]
        assert [metrics[f"eval_{source}_auc_low"], metrics[f"eval_{source}_auc_high"]] == pytest.approx(interval)
        assert metrics[f"eval_{source}_n"] == table["sources"][source]["n"]
    assert metrics["eval_mean_auc"] == pytest.approx(table["overall"]["auc"])
    assert metrics["eval_modality_x_auc"] == pytest.approx(table["sources"]["chest"]["auc"])
    assert (metrics["eval_n_sources"], metrics["eval_chest_n_left_out"]) == (2, 60 - len(known))
    logits = torch.tensor(scores)
    expected = masked_classification_loss(logits, targets["labels"], targets["target_mask"], targets["exclusive"])
    assert metrics["eval_loss"] == pytest.approx(expected.item(), rel=1e-5)
    assert trainer.evaluation_table["sources"]["chest"]["n_left_out"] == 60 - len(known)
    assert "eval_chest_top1" not in metrics


def test_source_without_labelled_rows_is_undefined_not_zero(tmp_path):
    rows = [row | ({"labels": None} if row["source"] == "chest" else {}) for row in make_rows(30)]
    trainer = make_trainer(tmp_path, evaluation=rows)
    metrics = trainer.evaluate()
    assert (metrics["eval_chest_n"], metrics["eval_chest_n_left_out"]) == (0, 20)
    assert math.isnan(metrics["eval_chest_auc"])
    assert math.isnan(metrics["eval_chest_loss"])
    assert metrics["eval_mean_auc"] == metrics["eval_skin_auc"]
    assert metrics["eval_n_sources_auc_defined"] == 1
    nothing = trainer.evaluate([row for row in rows if row["labels"] is None])
    assert math.isnan(nothing["eval_mean_auc"])
    assert math.isnan(nothing["eval_loss"])


def test_uncertain_cells_are_left_out_of_the_numbers(tmp_path):
    rows = make_rows(60, "chest", seed=3)
    ignored = make_trainer(tmp_path, evaluation=rows).evaluate()
    negative = make_trainer(tmp_path, evaluation=rows, collator=Collator(uncertain="negative")).evaluate()
    paper = make_trainer(tmp_path, evaluation=rows, metric_definition="paper").evaluate()
    assert ignored["eval_chest_auc"] != negative["eval_chest_auc"]
    assert paper["eval_chest_auc"] == pytest.approx(negative["eval_chest_auc"])  # blank and uncertain are negative


def test_two_evaluation_sources_and_shapes(tmp_path):
    sets = {"skin": make_rows(9, "skin"), "extra": make_rows(15, seed=3)}
    trainer = make_trainer(tmp_path, evaluation=sets, per_device_eval_batch_size=4, save_predictions=True)
    metrics = trainer.evaluate()
    assert {"eval_skin_auc", "eval_extra_skin_auc", "eval_extra_chest_auc", "eval_mean_auc", "eval_loss"} <= set(
        metrics
    )
    parts = [metrics[f"eval_{name}_auc"] for name in ("skin", "extra_skin", "extra_chest")]
    assert metrics["eval_mean_auc"] == pytest.approx(np.mean(parts))
    output = trainer.predict(sets["extra"])
    assert output.predictions.shape == output.label_ids.shape == (15, 5)
    assert output.predictions.dtype == np.float32
    assert "test_chest_auc" in output.metrics
    saved = load_rows(tmp_path / "predictions" / "eval-extra-0.npz")
    assert saved["ids"] == [row["id"] for row in sets["extra"]]
    np.testing.assert_array_equal(saved["scores"], output.predictions)


def test_evaluation_counts_every_row_even_when_training_drops(tmp_path):
    trainer = make_trainer(tmp_path, evaluation=make_rows(10), dataloader_drop_last=True, per_device_eval_batch_size=8)
    assert len(trainer.predict_rows()["ids"]) == 10
    assert trainer.args.dataloader_drop_last


def test_evaluation_stops_at_logits_that_are_not_finite(tmp_path):
    trainer = make_trainer(tmp_path, evaluation=make_rows(10), collator=_PoisonedCollator())
    with pytest.raises(TrainingError, match="1 of 10 records have logits that are not finite: chest:chest-4"):
        trainer.evaluate()


def test_best_checkpoint_by_mean_auc_and_own_metrics(tmp_path):
    trainer = make_trainer(
        tmp_path,
        make_rows(26),
        evaluation=make_rows(40, seed=5),
        eval_strategy="epoch",
        save_strategy="best",
        metric_for_best_model="mean_auc",
        compute_metrics=lambda prediction: {"rows": len(prediction.predictions)},
    )
    trainer.train()
    history = [entry for entry in trainer.state.log_history if "eval_mean_auc" in entry]
    assert len(history) == 2
    assert trainer.state.best_metric == max(entry["eval_mean_auc"] for entry in history)
    assert all(entry["eval_rows"] == 40 for entry in history)
    assert not any("total_flos" in entry for entry in trainer.state.log_history)


def test_class_weights_from_the_training_rows(tmp_path):
    rows = make_rows(26)
    trainer = make_trainer(tmp_path, rows, class_weighting="inverse_frequency")
    positives = [sum(label in (row["labels"] or []) for row in rows) for label in range(5)]
    assert trainer.class_weights().tolist() == pytest.approx([26 / count for count in positives])
    assert train(tmp_path / "w", class_weighting="inverse_frequency")[0] != train(tmp_path / "n")[0]


def test_mixture_reaches_the_sampler(tmp_path):
    trainer = make_trainer(tmp_path, make_rows(24), mixture="temperature", temperature=1e6, data_seed=3)
    trainer.get_train_dataloader()
    assert trainer._sampler.quotas == [12, 12]
    assert trainer._sampler.seed == 3


def test_model_with_its_own_loss(tmp_path):
    class Own(Collator):
        def __call__(self, rows):
            return {"pixel_values": super().__call__(rows)["pixel_values"]}

    def run(folder, **options):
        trainer = make_trainer(folder, make_rows(16), collator=Own(), num_train_epochs=1, **options)
        forward = trainer.model.forward
        trainer.model.forward = lambda pixel_values: {"loss": forward(pixel_values)["logits"].square().mean()}
        trainer.train()
        return curve(trainer)

    whole = run(tmp_path / "whole")
    parts = run(tmp_path / "parts", per_device_train_batch_size=4, gradient_accumulation_steps=2)
    assert whole[0][0] > 0
    np.testing.assert_allclose(parts, whole, rtol=1e-4)


def test_arguments_that_contradict_the_loss(tmp_path):
    for name, value in (
        ("label_smoothing_factor", 0.1),
        ("remove_unused_columns", True),
        ("batch_eval_metrics", True),
    ):
        with pytest.raises(OptionError, match=f"`{name}` must stay"):
            ClimbTrainingArguments(str(tmp_path), use_cpu=True, **{name: value})
    for name in ("mixture", "optimizer", "uncertain", "class_weighting", "metric_definition"):
        with pytest.raises(OptionError, match=f"`{name}` must be one of"):
            ClimbTrainingArguments(str(tmp_path), use_cpu=True, **{name: "x"})
    for options in ({"temperature": 0}, {"n_bootstrap": -1}, {"optimizer_kwargs": "{"}, {"optimizer_kwargs": "[1]"}):
        with pytest.raises(OptionError, match=next(iter(options))):
            ClimbTrainingArguments(str(tmp_path), use_cpu=True, **options)
    with pytest.raises(OptionError, match=r"override `ClimbTrainer\.classification_loss`"):
        ClimbTrainer(None, ClimbTrainingArguments(str(tmp_path), use_cpu=True), compute_loss_func=lambda *_: None)
    with pytest.raises(OptionError, match="no `data_collator` was given"):
        make_trainer(tmp_path, collator=None).__class__(
            TinyModel(TinyConfig(vocabulary=VOCABULARY)), ClimbTrainingArguments(str(tmp_path), use_cpu=True)
        )


def test_source_without_classes_at_evaluation(tmp_path):
    trainer = make_trainer(tmp_path, evaluation=make_rows(6, "skin"))
    trainer.model.config.source_classes = {"chest": CLASSES["chest"]}
    trainer.model.config.source_multi_label = {"chest": True}
    with pytest.raises(VocabularyError, match=r"rows of \['skin'\] cannot be scored"):
        trainer.evaluate()
