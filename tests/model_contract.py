"""What every encoder of climb-hf must do, written once: a model adds a row to a table and a subclass, not tests.

Use, in the test file of a model::

    @pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
    class TestContract(ModelContract):
        pass
"""

import copy
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel

Inputs = dict[str, Tensor]
VOCABULARY = ["atelectasis", "edema", "nevus", "melanoma", "normal_rhythm", "unused_concept"]
SOURCES = {"skin": ["melanoma", "nevus", "normal_rhythm"], "chest": ["edema", "atelectasis", "nevus"]}
MULTI_LABEL = {"skin": False, "chest": True}


def vocabulary_fields() -> dict:
    """The vocabulary of every case: a single-label and a multi-label source that share a concept."""
    return {"vocabulary": VOCABULARY, "source_classes": SOURCES, "source_multi_label": MULTI_LABEL}


def index_rows(inputs: Inputs, rows: Tensor) -> Inputs:
    """The rows of inputs whose tensors are all batch first."""
    return {name: value[rows] for name, value in inputs.items()}


@dataclass(frozen=True)
class ModelCase:
    """One row: how to build a tiny model and its input.

    Args:
        name: readable id of the test.
        config: makes a fresh configuration with `vocabulary_fields()`.
        base: the encoder's class.
        classifier: the class with a head.
        inputs: (batch size, generator) -> keyword arguments of `forward`.
        select: (inputs, rows) -> the inputs of these rows in this order; for tensors that are not batch first.
        lora: `target_modules` of the LoRA test.
        head: beginnings of the names of parameters that the encoder has not got.
        zero_gradient: ends of the names of parameters whose gradient may vanish by construction.
    """

    name: str
    config: Callable[[], PreTrainedConfig]
    base: type[PreTrainedModel]
    classifier: type[PreTrainedModel]
    inputs: Callable[[int, torch.Generator], Inputs]
    select: Callable[[Inputs, Tensor], Inputs] = index_rows
    lora: str | list[str] = "all-linear"
    head: tuple[str, ...] = ("classifier.",)
    zero_gradient: tuple[str, ...] = ()

    def build(self, seed: int = 0) -> PreTrainedModel:
        torch.manual_seed(seed)
        model = self.classifier(self.config()).eval()
        with torch.no_grad():  # away from constant initial values, so that a lost weight shows
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        return model

    def batch(self, size: int = 4, seed: int = 0) -> Inputs:
        return self.inputs(size, torch.Generator().manual_seed(seed))


def targets(size: int = 4) -> dict[str, Tensor]:
    """Labels of rows that alternate between the single-label and the multi-label source."""
    labels, mask = torch.zeros(size, len(VOCABULARY)), torch.zeros(size, len(VOCABULARY), dtype=torch.bool)
    for row in range(size):
        classes = [VOCABULARY.index(name) for name in SOURCES["chest" if row % 2 else "skin"]]
        mask[row, classes] = True
        labels[row, classes[row % 3]] = 1
        if row % 2:
            labels[row, classes[0]] = 1
    return {"labels": labels, "target_mask": mask, "exclusive": torch.arange(size) % 2 == 0}


@pytest.fixture
def poisoned_memory(monkeypatch):
    """What `from_pretrained` allocates holds NaN (or a wrong integer) instead of, often, zeros."""
    empty_like = torch.empty_like

    def poisoned(*args, **kwargs):
        tensor = empty_like(*args, **kwargs)
        if tensor.is_meta:
            return tensor
        return tensor.fill_(float("nan") if tensor.is_floating_point() else 77)

    monkeypatch.setattr(torch, "empty_like", poisoned)


def switch_checkpointing(model: PreTrainedModel, *, on: bool) -> None:
    """Recompute activations or not: `activation_checkpointing_*` in transformers 5.23, `gradient_...` before."""
    prefix = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    getattr(model, f"{prefix}_checkpointing_{'enable' if on else 'disable'}")()
    assert getattr(model, f"is_{prefix}_checkpointing") is on


def exact(model: PreTrainedModel) -> PreTrainedModel:
    """A copy in memory of its own: kernels may round differently on the unaligned tensors of a mapped file."""
    return copy.deepcopy(model)


def forward(model: PreTrainedModel, inputs: dict[str, Tensor]):
    with torch.no_grad():
        return model(**inputs)


def assert_same_tensors(one: PreTrainedModel, other: PreTrainedModel) -> None:
    for kind in ("named_parameters", "named_buffers"):
        ours, theirs = dict(getattr(one, kind)()), dict(getattr(other, kind)())
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            assert tensor.dtype == theirs[name].dtype, name
            assert torch.equal(tensor, theirs[name]), name


class ModelContract:
    """The behaviours; `case` is parametrised by the subclass."""

    def test_save_and_load_keep_every_bit(self, case: ModelCase, tmp_path: Path, poisoned_memory):
        model = case.build()
        model.save_pretrained(tmp_path)
        loaded, info = case.classifier.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info.values()), info
        assert not loaded.training
        assert_same_tensors(model, loaded)
        inputs = case.batch()
        assert torch.equal(forward(exact(model), inputs).logits, forward(exact(loaded), inputs).logits)
        assert loaded.config.vocabulary == VOCABULARY
        assert loaded.config.source_classes == SOURCES
        assert loaded.config.id2label == dict(enumerate(VOCABULARY))

    def test_auto_classes_find_the_model(self, case: ModelCase, tmp_path: Path):
        model = case.build()
        model.save_pretrained(tmp_path)
        assert type(AutoConfig.from_pretrained(tmp_path)) is type(case.config())
        encoder = AutoModel.from_pretrained(tmp_path)
        assert type(encoder) is case.base
        assert_same_tensors(model.base_model, encoder)

    def test_a_head_over_an_encoder_checkpoint_starts_fresh(self, case: ModelCase, tmp_path: Path, poisoned_memory):
        encoder = case.build().base_model
        encoder.save_pretrained(tmp_path)
        torch.manual_seed(1)
        model, info = case.classifier.from_pretrained(tmp_path, output_loading_info=True)
        assert info["missing_keys"] == {name for name in model.state_dict() if name.startswith(case.head)}
        assert {"classifier.weight", "classifier.bias"} <= info["missing_keys"]
        assert_same_tensors(encoder, model.base_model)
        assert torch.equal(model.classifier.bias, torch.zeros(len(VOCABULARY)))
        std = model.config.initializer_range
        assert std / 2 < model.classifier.weight.std().item() < std * 2

    @pytest.mark.parametrize("half", [0, 1])
    def test_what_a_checkpoint_lacks_is_initialised(self, case: ModelCase, half, tmp_path: Path, poisoned_memory):
        model = case.build()
        model.save_pretrained(tmp_path)
        state = load_file(tmp_path / "model.safetensors")
        kept = {name: state[name] for name in sorted(state)[half::2]}
        save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
        loaded, info = case.classifier.from_pretrained(tmp_path, output_loading_info=True)
        missing = info["missing_keys"]  # in the names of the model; those of the file may be older
        assert len(missing) == len(state) - len(kept)
        torch.manual_seed(0)
        fresh, before, now = (one.state_dict() for one in (case.classifier(case.config()), model, loaded))
        for name, value in now.items():
            expected = fresh[name].double()
            assert torch.isfinite(value).all(), name
            if name not in missing:
                assert torch.equal(value, before[name]), name
            elif expected.unique().numel() == 1:
                assert torch.equal(value.double(), expected), name
            elif expected.numel() >= 64:
                assert value.double().std().item() == pytest.approx(expected.std().item(), rel=0.5), name
        assert torch.isfinite(forward(loaded, case.batch()).logits).all()

    def test_it_can_be_built_on_the_meta_device(self, case: ModelCase):
        with torch.device("meta"):
            model = case.classifier(case.config())
        assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
        assert model.state_dict().keys() == case.build().state_dict().keys()

    def test_each_output_depends_on_its_own_row_only(self, case: ModelCase):
        model, inputs = case.build(), case.batch(4)
        whole = forward(model, inputs)
        order = torch.tensor([2, 0, 3, 1])
        permuted = forward(model, case.select(inputs, order))
        one = forward(model, case.select(inputs, torch.tensor([1])))
        for key in ("logits", "pooler_output"):
            torch.testing.assert_close(permuted[key], whole[key][order], atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(one[key], whole[key][1:2], atol=1e-6, rtol=1e-5)

    def test_evaluation_repeats_exactly(self, case: ModelCase):
        model, inputs = case.build(), case.batch()
        assert torch.equal(forward(model, inputs).logits, forward(model, inputs).logits)

    def test_labels_outside_the_source_have_no_part_in_the_loss(self, case: ModelCase):
        model, inputs, given = case.build(), case.batch(), targets()
        loss = model(**inputs, **given).loss
        loss.backward()
        used = given["target_mask"].any(0)
        assert not used[VOCABULARY.index("unused_concept")]
        head = model.classifier
        assert torch.equal(head.weight.grad[~used], torch.zeros_like(head.weight.grad[~used]))
        assert torch.equal(head.bias.grad[~used], torch.zeros_like(head.bias.grad[~used]))
        assert (head.bias.grad[used] != 0).all()
        flipped = torch.where(given["target_mask"], given["labels"], 1 - given["labels"])
        assert torch.equal(model(**inputs, **{**given, "labels": flipped}).loss, loss)
        with torch.no_grad():
            head.bias[~used] = 1e4
        assert torch.equal(model(**inputs, **given).loss, loss)

    def test_the_loss_is_the_one_written_down(self, case: ModelCase):
        model, inputs, given = case.build(), case.batch(), targets()
        outputs = model(**inputs, **given)
        rows = []
        for logits, labels, mask, exclusive in zip(outputs.logits.double(), *given.values(), strict=True):
            logits, labels = logits[mask], labels[mask].double()
            if exclusive:
                rows.append(-(logits.log_softmax(0) * labels).sum())
            else:
                rows.append(-(labels * logits.sigmoid().log() + (1 - labels) * (1 - logits.sigmoid()).log()).mean())
        assert outputs.loss.item() == pytest.approx(torch.stack(rows).mean().item(), rel=1e-5)

    def test_the_gradient_reaches_every_parameter(self, case: ModelCase):
        model = case.build().train()
        model(**case.batch(), **targets()).loss.backward()
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            if not name.endswith(case.zero_gradient or ("\0",)):
                assert (parameter.grad != 0).any(), name

    def test_recomputed_activations_give_the_same_gradient(self, case: ModelCase):
        model = case.build()
        if not model.supports_gradient_checkpointing:
            with pytest.raises(ValueError, match="does not support"):
                switch_checkpointing(model, on=True)
            return
        other = exact(model)
        switch_checkpointing(other, on=True)
        for one in (model, other):
            one.train()
            torch.manual_seed(0)
            one(**case.batch(), **targets()).loss.backward()
        for (name, ours), theirs in zip(model.named_parameters(), other.parameters(), strict=True):
            if ours.grad is not None:
                torch.testing.assert_close(theirs.grad, ours.grad, atol=1e-6, rtol=1e-4, msg=name)
        switch_checkpointing(other, on=False)

    def test_bfloat16(self, case: ModelCase, tmp_path: Path, poisoned_memory):
        model, inputs = case.build(), case.batch()
        expected = forward(model, inputs).logits
        model.save_pretrained(tmp_path)
        loaded = case.classifier.from_pretrained(tmp_path, dtype=torch.bfloat16)
        half = exact(model).to(torch.bfloat16)
        assert_same_tensors(half, loaded)
        logits = forward(loaded, inputs).logits
        assert logits.dtype == torch.bfloat16
        scale = expected.abs().max().item()
        torch.testing.assert_close(logits.float(), expected, atol=0.1 * scale, rtol=0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = model(**inputs, **targets())
        assert mixed.loss.dtype == torch.float32
        torch.testing.assert_close(mixed.logits.float(), expected, atol=0.1 * scale, rtol=0)

    def test_lora(self, case: ModelCase, tmp_path: Path):
        model, inputs = case.build(), case.batch()
        before = forward(model, inputs).logits
        lora = LoraConfig(r=2, target_modules=case.lora, modules_to_save=["classifier"])
        adapted = get_peft_model(exact(model), lora).eval()
        torch.testing.assert_close(forward(adapted, inputs).logits, before, atol=1e-6, rtol=1e-5)
        trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
        assert any("lora_" in name for name in trained)
        assert all("lora_" in name or "classifier" in name for name in trained)
        optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.5)
        for _ in range(2):  # the second factor of LoRA starts at zero: the first moves in the second step only
            optimizer.zero_grad()
            adapted(**inputs, **targets()).loss.backward()
            optimizer.step()
        after = forward(adapted, inputs).logits
        assert not torch.allclose(after, before, atol=1e-4)
        adapted.save_pretrained(tmp_path)
        again = PeftModel.from_pretrained(exact(model), tmp_path).eval()
        torch.testing.assert_close(forward(again, inputs).logits, after, atol=1e-6, rtol=1e-5)

    def test_the_vocabulary_grows_and_old_rows_stay(self, case: ModelCase, tmp_path: Path):
        model, inputs = case.build(), case.batch()
        weight, before = model.classifier.weight.clone(), forward(model, inputs)
        assert model.extend_vocabulary(["edema", "stroke", "stroke"]) == ["stroke"]
        assert model.config.id2label[len(VOCABULARY)] == "stroke"
        assert torch.equal(model.classifier.weight[:-1], weight)
        assert torch.equal(forward(model, inputs).pooler_output, before.pooler_output)
        torch.testing.assert_close(forward(model, inputs).logits[:, :-1], before.logits, atol=1e-6, rtol=1e-6)
        model.save_pretrained(tmp_path)
        assert_same_tensors(model, case.classifier.from_pretrained(tmp_path))

    def test_the_trainer_is_told_how_the_loss_is_normalised(self, case: ModelCase):
        assert case.classifier.accepts_loss_kwargs is False
        assert case.classifier.main_input_name == next(iter(case.batch()))
        outputs = forward(case.build(), {**case.batch(), **targets()})
        assert set(outputs) - set(case.config().keys_to_ignore_at_inference) == {"loss", "logits"}

    def test_outputs_as_a_tuple(self, case: ModelCase):
        model, inputs, given = case.build(), case.batch(), targets()
        loss, logits, pooled = model(**inputs, **given, return_dict=False)[:3]
        named = model(**inputs, **given)
        assert torch.equal(loss, named.loss)
        assert torch.equal(logits, named.logits)
        assert torch.equal(pooled, named.pooler_output)

    @pytest.mark.slow
    def test_compile(self, case: ModelCase):
        if not any(map(shutil.which, ("c++", "g++", "clang++"))):
            pytest.skip("torch.compile needs a C++ compiler, and none is on the path")
        model, inputs, given = case.build(), case.batch(), targets()
        expected = model(**inputs, **given)
        compiled = torch.compile(model)(**inputs, **given)
        torch.testing.assert_close(compiled.logits, expected.logits, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(compiled.loss, expected.loss, atol=1e-4, rtol=1e-4)
