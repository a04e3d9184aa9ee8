"""Contrastive training: the loss by hand, gradient caching, schedule, groups of parameters, processes, resuming."""

import json
import math
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing
from pair_helpers import curve, make_dataset, make_model, make_pairs, make_processor, make_trainer
from torch import nn

from climb_hf.errors import OptionError, SchemaError, TrainingError
from climb_hf.training.contrastive import contrastive_loss, effective_scale, recall_at_1, warmup_cosine
from climb_hf.training.contrastive_arguments import ContrastiveTrainingArguments
from climb_hf.training.contrastive_data import TEXT_KEY, ContrastiveCollator, pairs_fingerprint, usable_pairs


def unit(rows, width, seed):
    values = np.random.default_rng(seed).standard_normal((rows, width))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def numpy_loss(image, text, scale, keys=None):
    logits = scale * image @ text.T
    if keys is not None:
        logits = np.where((keys[:, None] == keys) & ~np.eye(len(keys), dtype=bool), -np.inf, logits)
    rows = np.log(np.exp(logits).sum(1)) - np.diag(logits)
    columns = np.log(np.exp(logits).sum(0)) - np.diag(logits)
    return (rows.mean() + columns.mean()) / 2


def test_loss_equals_the_reference():
    image, text = unit(12, 5, 0), unit(12, 5, 1)
    keys = np.array([0, 1, 2, 3, 4, 5, 0, 1, 0, 9, 10, 11])
    tensors = [torch.from_numpy(value) for value in (image, text, keys)]
    assert contrastive_loss(*tensors[:2], 14.0).item() == pytest.approx(numpy_loss(image, text, 14.0), rel=1e-12)
    masked = contrastive_loss(*tensors[:2], 14.0, tensors[2]).item()
    assert masked == pytest.approx(numpy_loss(image, text, 14.0, keys), rel=1e-12)
    assert masked < contrastive_loss(*tensors[:2], 14.0).item()
    assert tensors[2].tolist() == keys.tolist()


def test_loss_equals_that_of_transformers():
    model, inputs = make_model(), ContrastiveCollator(make_processor())(make_pairs(6))
    features = {key: inputs[key] for key in ("pixel_values", "input_ids", "attention_mask")}
    with torch.no_grad():
        outputs = model(**features, return_loss=True)
    ours = contrastive_loss(outputs.image_embeds, outputs.text_embeds, effective_scale(model.logit_scale, "single"))
    assert ours.item() == pytest.approx(outputs.loss.item(), rel=1e-6)


def test_squared_scale_is_the_square_of_the_single_one():
    log_scale = torch.tensor(math.log(1 / 0.07))
    assert effective_scale(log_scale, "single").item() == pytest.approx(1 / 0.07, rel=1e-6)
    assert effective_scale(log_scale, "squared").item() == pytest.approx(204.0816, rel=1e-5)
    with pytest.raises(OptionError, match="must be `single` or `squared`"):
        effective_scale(log_scale, "cubed")


def test_recall_counts_ties_as_a_random_order_does():
    queries, gallery = torch.from_numpy(unit(1500, 6, 0)), torch.from_numpy(unit(1500, 6, 1))
    gallery[:500] = queries[:500]
    scores = queries @ gallery.T
    expected = (scores.argmax(1) == torch.arange(1500)).double().mean().item()
    assert 0.3 < expected == pytest.approx(recall_at_1(queries, gallery))
    twice = torch.eye(3)[[0, 0, 1, 2]]
    assert recall_at_1(twice, twice) == pytest.approx((0.5 + 0.5 + 1 + 1) / 4)
    assert math.isnan(recall_at_1(torch.zeros(0, 2), torch.zeros(0, 2)))


def test_schedule_is_that_of_the_published_code(tmp_path):
    steps, warmup = 139_597, 13_959
    assert warmup_cosine(0, steps, warmup) == pytest.approx(1 / warmup)
    assert warmup_cosine(warmup - 1, steps, warmup) == warmup_cosine(warmup, steps, warmup) == 1.0
    assert warmup_cosine(50_000, steps, warmup) == pytest.approx(
        0.5 * (1 + math.cos(math.pi * (50_000 - warmup) / (steps - warmup)))
    )
    assert warmup_cosine(steps, steps, warmup) == 0.0
    assert warmup_cosine(0, 10, 0) == 1.0
    trainer = make_trainer(tmp_path, make_pairs(32), num_train_epochs=6, warmup_steps=0.13)  # T = 24, W = 3
    trainer.train()
    rates = [entry["learning_rate"] for entry in trainer.state.log_history if "learning_rate" in entry]
    assert rates == pytest.approx([1e-3 * warmup_cosine(step, 24, 3) for step in range(24)])


def test_decay_acts_on_matrices_alone(tmp_path):
    trainer = make_trainer(tmp_path, make_pairs(8))
    optimizer = trainer.create_optimizer()
    names = {id(value): name for name, value in trainer.model.named_parameters()}
    groups = {
        group["weight_decay"]: [names[id(value)] for value in group["params"]] for group in optimizer.param_groups
    }
    assert set(groups) == {0.2, 0.0}
    assert sorted(groups[0.2]) == sorted(name for name, value in trainer.model.named_parameters() if value.ndim > 1)
    assert {"visual_projection.weight", "vision_model.backbone.pos_embed"} <= set(groups[0.2])
    assert "logit_scale" in groups[0.0]
    assert all((group["betas"], group["eps"]) == ((0.9, 0.98), 1e-6) for group in optimizer.param_groups)


def test_scale_is_clamped(tmp_path):
    model = make_model(logit_scale_init_value=math.log(250.0))
    trainer = make_trainer(tmp_path, make_pairs(16), model=model, num_train_epochs=1)
    trainer.train()
    assert model.logit_scale.item() <= np.float32(math.log(100.0))
    scales = [entry["logit_scale"] for entry in trainer.state.log_history if "logit_scale" in entry]
    assert scales[0] == pytest.approx(100.0, rel=1e-5)
    assert make_model().logit_scale.item() == pytest.approx(math.log(1 / 0.07))


def gradients(tmp_path, rows, **options):
    """Gradients of the first optimizer step, and its loss."""
    found = {}
    trainer = make_trainer(tmp_path, rows, max_steps=1, num_train_epochs=1, **options)

    def keep(*args, **kwargs):
        found.update({name: value.grad.clone() for name, value in trainer.model.named_parameters()})
        return type(trainer).check_finite(trainer)

    trainer.check_finite = keep
    trainer.train()
    return found, curve(trainer)[0], trainer


@pytest.mark.parametrize(("size", "steps"), [(3, 1), (8, 1), (1, 1), (4, 2), (100, 1)])
def test_gradient_caching_equals_the_plain_step(tmp_path, size, steps):
    rows, options = make_pairs(16), {"gradient_accumulation_steps": steps, "false_negatives": "mask"}
    plain, loss, _ = gradients(tmp_path / "plain", rows, model=make_model().double(), **options)
    options["gradient_cache_size"] = size
    cached, other, _ = gradients(tmp_path / "cached", rows, model=make_model().double(), **options)
    assert other == pytest.approx(loss, abs=1e-6)
    for name, value in plain.items():
        torch.testing.assert_close(cached[name], value, rtol=0, atol=1e-9, msg=name)
    single = gradients(tmp_path / "single", rows, **options)[0]
    distance = torch.stack([(single[name] - value).norm() for name, value in plain.items()]).norm()
    assert distance < 1e-5 * torch.stack([value.norm() for value in plain.values()]).norm()
    assert plain["logit_scale"].abs() > 1e-6


def test_chunks_are_embedded_again_with_the_same_dropout(tmp_path):
    seen = []
    model = make_model(dropout=0.5)
    model.register_forward_hook(lambda module, args, outputs: seen.append(outputs.text_embeds.detach().clone()))
    gradients(tmp_path, make_pairs(8), model=model, gradient_cache_size=3)
    assert len(seen) == 6
    for first, again in zip(seen[:3], seen[3:], strict=True):
        assert torch.equal(first, again)
    # With one chunk the whole step is the plain one, dropout included.
    results = [
        gradients(tmp_path, make_pairs(8), model=make_model(dropout=0.5), gradient_cache_size=size)
        for size in (8, None)
    ]
    for name, value in results[0][0].items():
        torch.testing.assert_close(results[1][0][name], value, rtol=1e-5, atol=1e-6, msg=name)


def test_accumulated_batches_are_averaged_and_do_not_see_each_other(tmp_path):
    rows = make_pairs(16)
    found, loss, trainer = gradients(tmp_path, rows, model=make_model().double(), gradient_accumulation_steps=2)
    order = trainer._sampler.order(0)
    model, collator = make_model().double().train(), ContrastiveCollator(make_processor())
    losses = []
    for start in (0, 8):
        inputs = collator([rows[position] for position in order[start : start + 8]])
        features = {key: inputs[key] for key in ("pixel_values", "input_ids", "attention_mask")}
        losses.append(model(**features, return_loss=True).loss)
    (sum(losses) / 2).backward()
    assert loss == pytest.approx((sum(losses) / 2).item(), abs=1e-6)
    for name, value in model.named_parameters():
        torch.testing.assert_close(found[name], value.grad, rtol=0, atol=1e-9, msg=name)


@pytest.mark.parametrize("size", [None, 3])
def test_embeddings_that_are_not_finite_are_named(tmp_path, size):
    class Poisoned(ContrastiveCollator):
        def __call__(self, rows):
            batch = super().__call__(rows)
            for position, row in enumerate(rows):
                if row["id"] in ("r3", "r11"):
                    batch["pixel_values"][position, 0, 2] = float("nan")
            return batch

    trainer = make_trainer(tmp_path, make_pairs(16), contrastive_batch_size=16, gradient_cache_size=size)
    trainer.data_collator.collator = Poisoned(trainer.processing_class)
    with pytest.raises(
        TrainingError, match=r"embeddings of squares:r(3|11), squares:r(3|11) are not finite at step 1"
    ):
        trainer.train()
    assert all(value.isfinite().all() for value in trainer.model.parameters())


def test_texts_are_cleaned_cut_and_keyed():
    rows = make_pairs(3)
    rows[0]["text"], rows[1]["text"] = " red\n square ", "red square"
    rows[2]["text"] = "red " * 50
    batch = ContrastiveCollator(make_processor(max_length=12))(rows)
    assert batch["input_ids"].shape == (3, 12)
    assert batch["attention_mask"].sum(1).tolist() == [4, 4, 12]
    keys = batch[TEXT_KEY].tolist()
    assert keys[0] == keys[1] != keys[2]
    rows[1]["text"] = " \n"
    with pytest.raises(SchemaError, match="record `r1` of `squares` has no `text`"):
        ContrastiveCollator(make_processor())(rows)


def test_rows_that_are_no_pair_are_left_out_and_counted():
    rows = make_pairs(8)
    rows[1]["image"], rows[2]["text"], rows[3]["text"], rows[4]["text"] = None, None, " \t", "red " * 50
    dataset = make_dataset(rows)
    kept, counts = usable_pairs(dataset.remove_columns(["source", "group"]), make_processor().tokenizer, name="own")
    assert kept["id"][:] == ["r0", "r4", "r5", "r6", "r7"]
    assert counts.as_dict() == {"rows": 8, "without_image": 1, "without_text": 2, "truncated": 1}
    assert set(kept["source"][:]) == {"own"}
    assert pairs_fingerprint(kept) == pairs_fingerprint(kept.select([4, 3, 2, 1, 0]))
    assert pairs_fingerprint(kept) != pairs_fingerprint(kept.select([0, 1, 2, 3]))
    with pytest.raises(SchemaError, match="none of its 1 rows is a pair: 1 have no image, 0 no text"):
        usable_pairs(dataset.select([1]), make_processor().tokenizer, name="own")
    with pytest.raises(SchemaError, match=r"\['text'\] are missing"):
        usable_pairs(dataset.remove_columns("text"), make_processor().tokenizer, name="own")


def test_evaluation_covers_every_row_once(tmp_path):
    rows = make_pairs(19, seed=5)
    trainer = make_trainer(tmp_path, make_pairs(8), evaluation=rows, per_device_eval_batch_size=4)
    metrics = trainer.evaluate()
    with torch.no_grad():
        inputs = ContrastiveCollator(make_processor())(rows)
        features = {key: inputs[key] for key in ("pixel_values", "input_ids", "attention_mask")}
        outputs = trainer.model(**features)
    image, text = outputs.image_embeds.numpy(), outputs.text_embeds.numpy()
    blocks = [slice(0, 8), slice(8, 16), slice(16, 19)]
    expected = sum(numpy_loss(image[at], text[at], 1 / 0.07) * len(image[at]) for at in blocks) / 19
    assert metrics["eval_loss"] == pytest.approx(expected, rel=1e-4)
    assert metrics["eval_n"] == 19
    assert metrics["eval_chance_at_1"] == pytest.approx(1 / 19)
    halves = [metrics[f"eval_recall_at_1_{way}"] for way in ("image_to_text", "text_to_image")]
    assert metrics["eval_recall_at_1"] == pytest.approx(sum(halves) / 2)


def test_options_that_contradict_are_refused(tmp_path):
    for fields, message in (
        ({"logit_scale": "double"}, "`logit_scale` must be one of single, squared"),
        ({"false_negatives": "drop"}, "`false_negatives` must be one of keep, mask"),
        ({"gradient_cache_size": 0}, "`gradient_cache_size` must be at least 1"),
        ({"max_logit_scale": 0}, "`max_logit_scale` must be above 0"),
    ):
        with pytest.raises(OptionError, match=message):
            ContrastiveTrainingArguments(str(tmp_path), use_cpu=True, **fields)
    for name in ("contrastive_batch_size", "per_device_train_batch_size"):
        with pytest.raises(OptionError, match="must hold at least 2 pairs, found 1"):
            ContrastiveTrainingArguments(str(tmp_path), use_cpu=True, **{name: 1})
    with pytest.raises(OptionError, match="leaves no batch: an epoch has 7 rows, a batch 8"):
        make_trainer(tmp_path, make_pairs(7), dataloader_drop_last=True).train()
    model = make_model()
    model.extra = nn.BatchNorm1d(2)
    with pytest.raises(OptionError, match="the model has batch norm"):
        make_trainer(tmp_path, make_pairs(8), model=model, gradient_cache_size=4)


def test_resumes_exactly(tmp_path):
    options = {"augmentation": {"crop_of": "picture"}, "num_train_epochs": 4, "gradient_cache_size": 5}
    whole = make_trainer(
        tmp_path / "whole",
        make_pairs(20),
        model=make_model(dropout=0.1),
        save_strategy="steps",
        save_steps=5,
        **options,
    )
    whole.train()  # three batches an epoch: step 5 is in the middle of the second
    again = make_trainer(tmp_path / "again", make_pairs(20), model=make_model(seed=1, dropout=0.1), **options)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-5"))
    assert curve(again) == curve(whole)
    for one, other in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_dropped_batches_are_not_trained_on(tmp_path):
    sizes = []
    trainer = make_trainer(tmp_path, make_pairs(22), dataloader_drop_last=True, gradient_accumulation_steps=2)
    trainer.model.register_forward_hook(lambda module, args, outputs: sizes.append(len(outputs.text_embeds)))
    trainer.train()
    assert sizes == [8, 8, 8, 8]  # two epochs of 22 pairs
    assert trainer.state.global_step == 2


def _double_trainer(folder, **options):
    # In float64, or rounding and the division of Adam would hide small errors of the gradient.
    model = make_model().double()
    return make_trainer(folder, make_pairs(26), evaluation=make_pairs(19, seed=4), model=model, **options)


def _process(rank, world, folder, options, port):
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    torch.set_num_threads(1)
    trainer = _double_trainer(folder, ddp_backend="gloo", **options)
    trainer.train()
    metrics = trainer.evaluate()
    result = {"world": trainer.accelerator.num_processes, "curve": curve(trainer)}
    result["metrics"] = {key: value for key, value in metrics.items() if not key.endswith(("second", "runtime"))}
    if rank == 0:
        torch.save(trainer.model.state_dict(), Path(folder) / "weights.pt")
    (Path(folder) / f"rank{rank}.json").write_text(json.dumps(result))
    torch.distributed.barrier()
    os._exit(0)  # gloo's threads abort now and then when the interpreter takes them down


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gradient_cache_size": 3, "false_negatives": "mask"},
        {"gradient_accumulation_steps": 2, "gradient_cache_size": 2},
    ],
)
def test_two_processes_give_the_curve_and_weights_of_one(tmp_path, options):
    folder = tmp_path / "two"
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_process, (2, str(folder), options, port), nprocs=2)
    first, second = (json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1))
    # 26 pairs in batches of 8: the last batch has two, which two processes fill up.
    one = _double_trainer(tmp_path / "one", **options)
    one.train()
    metrics = one.evaluate()
    assert first["world"] == 2
    np.testing.assert_allclose(first["curve"], curve(one), rtol=1e-6)
    assert first["curve"] == second["curve"]
    for key, value in first["metrics"].items():
        assert value == pytest.approx(metrics[key], rel=1e-5), key
    weights = torch.load(folder / "weights.pt", weights_only=True)
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-6, msg=name)
