"""Signals through the collator, the trainer and a checkpoint, with a feature extractor as the processor."""

import datasets
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import AutoFeatureExtractor, PreTrainedConfig, PreTrainedModel

import climb_hf.schema
from climb_hf.errors import SchemaError
from climb_hf.hub import save_checkpoint
from climb_hf.processing import EcgFeatureExtractor
from climb_hf.training import ClassificationCollator, ClimbTrainer, ClimbTrainingArguments
from climb_hf.training.sampling import IndexedRows

NAMES = list(climb_hf.get_source("ptbxl").concepts)
STEPS, RATE = 200, 100.0


class SignalConfig(PreTrainedConfig):
    model_type = "climb_signal_test"
    vocabulary: list = None
    source_classes: dict = None
    source_multi_label: dict = None


class SignalModel(PreTrainedModel):
    config: SignalConfig
    main_input_name = "signal"
    accepts_loss_kwargs = False

    def __init__(self, config):
        super().__init__(config)
        self.head = nn.Linear(12, len(config.vocabulary))
        self.post_init()

    def forward(self, signal, channel_mask):
        assert signal.shape[1:] == (12, STEPS // 2)
        assert channel_mask.dtype == torch.bool
        return {"logits": self.head((signal * channel_mask[..., None]).mean(dim=-1))}


def make_dataset(count=24):
    """Synthetic: the mean of lead I says whether the first class is present."""
    rng, rows = np.random.default_rng(0), []
    features = climb_hf.schema.features("signal", NAMES, channels=12)
    for number in range(count):
        signal = rng.standard_normal((STEPS, 12)).astype("float32") * 0.1
        signal[:, 0] += 2.0 * (number % 2)
        columns = {"id": str(number), "source": "ptbxl", "group": str(number), "signal": signal, "uncertain": []}
        rows.append(dict.fromkeys(features) | columns | {"sampling_rate": RATE, "labels": [0] if number % 2 else [1]})
    columns = {name: [row[name] for row in rows] for name in features}
    return datasets.Dataset.from_dict(columns, features=features)


def make_extractor(**fields):
    return EcgFeatureExtractor(**{"sampling_rate": RATE, "length": STEPS // 2, "crop": "center", **fields})


def make_collator(extractor):
    return ClassificationCollator(extractor, NAMES, {"ptbxl": NAMES}, {"ptbxl": True}, label_names=NAMES)


def make_model():
    torch.manual_seed(0)
    return SignalModel(
        SignalConfig(vocabulary=NAMES, source_classes={"ptbxl": NAMES}, source_multi_label={"ptbxl": True})
    )


@pytest.mark.parametrize("workers", [0, 2])
def test_collated_signals_are_the_extractors(workers):
    dataset, extractor = make_dataset(8), make_extractor()
    loader = DataLoader(IndexedRows(dataset), 4, collate_fn=make_collator(extractor), num_workers=workers)
    batches = list(loader)
    assert [len(batch["ids"]) for batch in batches] == [4, 4]
    signal = torch.cat([batch["signal"] for batch in batches])
    stored = np.stack(dataset.with_format("numpy")["signal"])
    np.testing.assert_array_equal(signal.numpy(), stored[:, 50:150].transpose(0, 2, 1))
    assert batches[0]["channel_mask"].all()
    assert batches[1]["labels"][:, :2].tolist() == [[0, 1], [1, 0]] * 2
    assert batches[1]["ids"] == ["4", "5", "6", "7"]


def test_streamed_rows_give_the_same_batch():
    dataset, collator = make_dataset(4), make_collator(make_extractor())
    streamed = collator.prepare_dataset(dataset.to_iterable_dataset())
    fast = collator(IndexedRows(dataset).__getitems__(range(4)))
    assert torch.equal(collator(list(streamed))["signal"], fast["signal"])


def test_random_windows_depend_on_seed_and_draw_alone():
    rows = IndexedRows(make_dataset(6)).__getitems__([(number, 10 + number) for number in range(6)])
    collator = make_collator(make_extractor(crop="random"))
    training = collator.for_training(3)
    batch, turned = training(rows)["signal"], training(rows[::-1])["signal"]
    assert torch.equal(batch, turned.flip(0))
    assert not torch.equal(batch, collator.for_training(4)(rows)["signal"])
    assert torch.equal(collator(rows)["signal"], make_collator(make_extractor())(rows)["signal"])  # in evaluation
    steady = make_collator(make_extractor())
    assert steady.for_training(3) is steady


def test_errors_name_the_record():
    rows = IndexedRows(make_dataset(3)).__getitems__([0, 1, 2])
    rows[1]["signal"] = rows[1]["signal"][:, :8]
    with pytest.raises(SchemaError, match="record `1` of `ptbxl` has 8 channels"):
        make_collator(make_extractor())(rows)
    rows[1]["signal"] = np.zeros((0, 12), np.float32)  # absent, as in a mixture
    with pytest.raises(SchemaError, match="record `1` of `ptbxl` has no samples"):
        make_collator(make_extractor())(rows)


def test_a_trainer_uses_the_extractor_it_is_given(tmp_path):
    dataset, extractor, model = make_dataset(), make_extractor(), make_model()
    arguments = ClimbTrainingArguments(
        str(tmp_path), num_train_epochs=12, learning_rate=0.2, per_device_train_batch_size=8, use_cpu=True,
        disable_tqdm=True, save_strategy="epoch", save_total_limit=1, logging_steps=1,
    )  # fmt: skip
    trainer = ClimbTrainer(model, arguments, train_dataset=dataset, eval_dataset=dataset, processing_class=extractor)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0] / 2
    metrics = trainer.evaluate()
    assert metrics["eval_ptbxl_auc"] == 1.0
    checkpoint = next(tmp_path.glob("checkpoint-*"))
    assert AutoFeatureExtractor.from_pretrained(checkpoint).to_dict() == extractor.to_dict()


def test_a_checkpoint_and_one_raw_example_predict(tmp_path):
    model, extractor = make_model().eval(), make_extractor()
    folder = save_checkpoint(tmp_path / "ecg", model, extractor)
    assert (folder / "preprocessor_config.json").is_file()
    loaded, processor = SignalModel.from_pretrained(folder), AutoFeatureExtractor.from_pretrained(folder)
    example = make_dataset(1)[0]
    inputs, expected = processor(example), extractor([example])
    assert all(torch.equal(inputs[name], expected[name]) for name in ("signal", "channel_mask"))
    assert torch.equal(loaded.head.weight, model.head.weight)
    with torch.inference_mode():  # where weights lie in memory may change the last bit of a product
        torch.testing.assert_close(loaded(**inputs)["logits"], model(**expected)["logits"])
