"""The fusion model: what all models do, absent modalities bit for bit, late fusion as written, processors."""

import copy

import numpy as np
import pytest
import torch
from model_contract import ModelCase, ModelContract, assert_same_tensors, poisoned_memory, vocabulary_fields  # noqa: F401
from torch.nn import functional
from transformers import AutoConfig, AutoModel, AutoProcessor, BertConfig, BertModel

from climb_hf.errors import OptionError, SchemaError
from climb_hf.models import (
    AutoModelForClimbClassification,
    ClimbFusionConfig,
    ClimbFusionForClassification,
    ClimbFusionForRegression,
    ClimbFusionModel,
    ClimbVisionConfig,
    ClimbVisionModel,
    EcgJepaConfig,
    EcgJepaModel,
    EcgTransformerConfig,
)
from climb_hf.processing import ClimbFusionProcessor, ClimbImageProcessor, EcgFeatureExtractor
from climb_hf.processing.text import fit_tokenizer

SIGNAL = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "signal_length": 100, "patch_size": 20}
TEXT = {"model_type": "distilbert", "vocab_size": 60, "dim": 16, "n_heads": 2, "n_layers": 1, "hidden_dim": 24,
        "max_position_embeddings": 16}  # fmt: skip
VISION = {"model_type": "climb_vision", "backbone": "timm/test_vit", "image_size": 32}
SHORT = {"hidden_size": 24, "num_attention_heads": 2, "intermediate_size": 32, "head_dropout": 0.0}
STRATEGIES = ("late", "mlp", "cross_attention")
CONTENT = {"image": ("pixel_values",), "signal": ("signal", "channel_mask"), "text": ("input_ids", "attention_mask")}
PRESENT = torch.tensor([[1, 1, 1], [0, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=torch.bool)


def config(strategy: str, **fields) -> ClimbFusionConfig:
    parts = {
        "image_config": dict(VISION),
        "signal_config": EcgJepaConfig(**SIGNAL).to_dict(),
        "text_config": dict(TEXT),
    }
    return ClimbFusionConfig(**{**parts, **SHORT, "frozen": [], "strategy": strategy, **fields})


def contents(n, generator):
    channels = torch.rand(n, 8, generator=generator) < 0.7
    channels[:, 0] = True
    words = torch.ones(n, 6, dtype=torch.int64)
    words[1::2, 4:] = 0
    return {
        "pixel_values": torch.randn(n, 3, 32, 32, generator=generator),
        "signal": torch.randn(n, 8, 100, generator=generator),
        "channel_mask": channels,
        "input_ids": torch.randint(5, 60, (n, 6), generator=generator),
        "attention_mask": words,
    }


def batches(n, generator):
    return {"modality_mask": PRESENT[torch.arange(n) % 4], **contents(n, generator)}


CASES = [
    ModelCase(
        name=f"fusion-{strategy}",
        config=lambda strategy=strategy: config(strategy, **vocabulary_fields()),
        base=ClimbFusionModel,
        classifier=ClimbFusionForClassification,
        inputs=batches,
        head=("classifier.", "hidden."),
    )
    for strategy in STRATEGIES
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestContract(ModelContract):
    pass


def build(strategy: str, seed: int = 0, **fields) -> ClimbFusionForClassification:
    case = ModelCase("", lambda: config(strategy, vocabulary=["death"], **fields), ClimbFusionModel,
                     ClimbFusionForClassification, batches)  # fmt: skip
    return case.build(seed)


def spoil(inputs: dict[str, torch.Tensor], value: float = float("nan")) -> dict[str, torch.Tensor]:
    """Other content in the place of every absent modality."""
    changed = {key: tensor.clone() for key, tensor in inputs.items()}
    for column, keys in enumerate(CONTENT.values()):
        for key in keys:
            rows = ~inputs["modality_mask"][:, column]
            filling = value if changed[key].is_floating_point() else 1 - changed[key][rows].long().clamp(max=1)
            changed[key][rows] = filling if changed[key].is_floating_point() else filling.to(changed[key].dtype)
    return changed


@pytest.mark.parametrize("strategy", STRATEGIES)
class TestAbsentModalities:
    @pytest.mark.parametrize("value", [float("nan"), 1e30])
    def test_their_content_has_no_effect_on_outputs_and_gradients(self, strategy, value):
        one, other = build(strategy).train(), build(strategy).train()
        inputs = batches(8, torch.Generator().manual_seed(0))
        changed = spoil(inputs, value)
        assert not torch.equal(changed["input_ids"], inputs["input_ids"])
        labels = (torch.arange(8) % 2).float()[:, None]
        results = []
        for model, given in ((one, inputs), (other, changed)):
            torch.manual_seed(0)  # of the dropout of the text encoder
            results.append(model(**given, labels=labels))
        assert torch.equal(results[0].logits, results[1].logits)
        assert torch.equal(results[0].pooler_output, results[1].pooler_output)
        for result in results:
            result.loss.backward()
        pairs = list(zip(one.named_parameters(), other.parameters(), strict=True))
        assert sum(ours.grad is not None for (_, ours), _ in pairs) > 20
        for (name, ours), theirs in pairs:
            assert (ours.grad is None) == (theirs.grad is None), name
            assert ours.grad is None or torch.equal(ours.grad, theirs.grad), name

    def test_no_gradient_reaches_their_content(self, strategy):
        inputs = batches(4, torch.Generator().manual_seed(0))
        for key in ("pixel_values", "signal"):
            inputs[key].requires_grad_()
        build(strategy)(**inputs).logits.sum().backward()
        for column, key in enumerate(("pixel_values", "signal")):
            per_row = inputs[key].grad.flatten(1).abs().sum(1)
            assert torch.equal(per_row > 0, inputs["modality_mask"][:, column])

    def test_their_content_may_be_left_out(self, strategy):
        model, inputs = build(strategy), contents(3, torch.Generator().manual_seed(0))
        only_text = {key: inputs[key] for key in CONTENT["text"]}
        mask = torch.tensor([[False, False, True]]).expand(3, -1)
        expected = model(modality_mask=mask, **inputs).logits
        assert torch.equal(model(modality_mask=mask, **only_text).logits, expected)
        assert torch.equal(model(**only_text).logits, expected)

    def test_a_prediction_does_not_depend_on_the_rest_of_the_batch(self, strategy):
        model, inputs = build(strategy), batches(8, torch.Generator().manual_seed(0))
        with torch.no_grad():
            whole = model(**inputs).logits
            for row in range(8):
                alone = model(**{key: value[row : row + 1] for key, value in inputs.items()}).logits
                torch.testing.assert_close(alone, whole[row : row + 1], atol=1e-6, rtol=1e-5)
            doubled = {key: torch.cat([value, 3 * value if value.is_floating_point() else value])
                       for key, value in inputs.items()}  # fmt: skip
            torch.testing.assert_close(model(**doubled).logits[:8], whole, atol=1e-6, rtol=1e-5)

    def test_every_modality_matters_where_it_is(self, strategy):
        model, inputs = build(strategy), batches(4, torch.Generator().manual_seed(0))
        before = model(**inputs).logits
        for column, keys in enumerate(CONTENT.values()):
            changed = dict(inputs)
            value = inputs[keys[0]]
            changed[keys[0]] = value + 1 if value.is_floating_point() else (value + 7) % 60
            moved = (model(**changed).logits != before).flatten()
            assert torch.equal(moved, inputs["modality_mask"][:, column]), keys

    def test_nothing_present_is_an_error(self, strategy):
        inputs = batches(4, torch.Generator().manual_seed(0))
        inputs["modality_mask"] = torch.tensor([[True, True, True], [False, False, False]] * 2)
        with pytest.raises(SchemaError, match=r"rows \[1, 3\].*Leave such records out"):
            build(strategy)(**inputs)

    def test_running_statistics_see_present_rows_only(self, strategy):
        medvit = {"model_type": "climb_vision", "backbone": "timm/test_resnet", "image_size": 32}
        model = build(strategy, image_config=medvit).train()
        inputs = batches(8, torch.Generator().manual_seed(0))
        other = copy.deepcopy(model)
        model(**inputs)
        other(**spoil(inputs))
        assert other.fusion.image_encoder.training
        moved = dict(model.named_buffers())
        assert any("running_mean" in name for name in moved)
        for name, value in other.named_buffers():
            assert torch.equal(value, moved[name]), name


class TestLateFusion:
    def test_it_is_the_mean_of_the_present_heads(self):
        model, inputs = build("late"), batches(4, torch.Generator().manual_seed(0))
        weight, bias = model.classifier.weight[0], model.classifier.bias[0]
        names, widths = list(model.hidden), [layers.width for layers in model.hidden.values()]
        parts, biases = weight[: sum(widths)].split(widths), weight[sum(widths) :]
        logits = model(**inputs).logits[:, 0]
        features = model.fusion(**inputs).pooler_output.split([model.fusion.widths[name][0] for name in names], 1)
        heads = torch.stack(
            [model.hidden[name](feature) @ part for name, feature, part in zip(names, features, parts, strict=True)], 1
        )
        heads = heads + biases  # a head per modality: its own layers, weights and bias
        present = inputs["modality_mask"]
        expected = torch.stack([row[kept].mean() for row, kept in zip(heads, present, strict=True)]) + bias
        torch.testing.assert_close(logits, expected)


def test_the_encoders_of_the_paper():
    with torch.device("meta"):
        model = ClimbFusionForClassification(ClimbFusionConfig(vocabulary=["death"]))
        attended = ClimbFusionModel(ClimbFusionConfig(strategy="cross_attention", attention_head_size=512))
    assert model.fusion.widths == {"image": (1024, 1024), "signal": (768, 768), "text": (768, 768)}
    assert model.fusion.hidden_size == 2560
    assert [tuple(layer.weight.shape) for layer in (model.hidden["fused"][0], model.classifier)] == [
        (1280, 2560),
        (1, 1280),
    ]
    assert sum(p.numel() for p in model.fusion.image_encoder.parameters()) == 87_692_800
    assert sum(p.numel() for p in model.fusion.signal_encoder.parameters()) == 85_067_520
    assert attended.blocks[0].attention.query.weight.shape == (4096, 512)
    assert attended.hidden_size == 512
    with torch.device("meta"):
        stay = ClimbFusionForRegression(ClimbFusionConfig(regression_targets=["los_days"]))
    linear = [layer for layer in stay.hidden["fused"] if hasattr(layer, "weight")]
    assert [layer.out_features for layer in (*linear, stay.regressor)] == [1280, 320, 1]


class TestFrozenEncoders:
    def test_they_stay_as_they_are_also_after_loading(self, tmp_path):
        model = build("mlp", frozen=["text", "image"])
        model.save_pretrained(tmp_path)
        loaded = ClimbFusionForClassification.from_pretrained(tmp_path)
        for one in (model, loaded):
            one.train()
            assert not one.fusion.text_encoder.training
            assert one.fusion.signal_encoder.training
            frozen = {name.split("_encoder")[0] for name, p in one.named_parameters() if not p.requires_grad}
            assert frozen == {"fusion.image", "fusion.text"}
        one = copy.deepcopy(loaded)
        optimizer = torch.optim.SGD([p for p in one.parameters() if p.requires_grad], lr=0.1)
        one(**batches(4, torch.Generator().manual_seed(0)), labels=torch.ones(4, 1)).loss.backward()
        optimizer.step()
        assert_same_tensors(loaded.fusion.text_encoder, one.fusion.text_encoder)
        assert not torch.equal(loaded.fusion.signal_encoder.patch_embedding.weight,
                               one.fusion.signal_encoder.patch_embedding.weight)  # fmt: skip

    def test_from_encoders_takes_their_weights(self, tmp_path):
        encoders = {
            "image": ClimbVisionModel(ClimbVisionConfig(backbone="timm/test_vit", image_size=32)),
            "signal": EcgJepaModel(EcgJepaConfig(**SIGNAL)),
            "text": BertModel(BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=60,
                                         intermediate_size=16, max_position_embeddings=16)),
        }  # fmt: skip
        encoders["image"].save_pretrained(tmp_path)
        encoders["image"] = AutoModel.from_pretrained(tmp_path)
        model = ClimbFusionForClassification.from_encoders(encoders, vocabulary=["death"], strategy="mlp")
        for name, encoder in encoders.items():
            own = getattr(model.fusion, f"{name}_encoder").state_dict()
            for key, value in encoder.state_dict().items():
                assert "pooler" in key if key not in own else torch.equal(own[key], value), key
        assert model.fusion.text_encoder.pooler is None
        assert model.config.frozen == ["text"]
        words = {"input_ids": torch.tensor([[2, 9, 3]]), "attention_mask": torch.ones(1, 3, dtype=torch.int64)}
        torch.testing.assert_close(
            model.fusion(**words).pooler_output[0, -16:], encoders["text"].eval()(**words).last_hidden_state[0, 0]
        )


class TestRegression:
    def model(self, **fields):
        torch.manual_seed(0)
        return ClimbFusionForRegression(config("mlp", regression_targets=["los_days", "cost"], **fields)).eval()

    def test_the_loss_is_the_mean_squared_error_of_known_targets(self):
        model, inputs = self.model(), batches(4, torch.Generator().manual_seed(0))
        labels = torch.tensor([[1.0, 2.0], [3.0, torch.nan], [torch.nan, torch.nan], [5.0, 0.0]])
        outputs = model(**inputs, labels=labels)
        errors = (outputs.logits - labels).square()
        expected = torch.stack([errors[0].mean(), errors[1, 0], errors[3].mean()]).mean()
        torch.testing.assert_close(outputs.loss, expected)
        outputs.loss.backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)

    def test_mean_and_scale_are_in_the_units_of_the_target(self, tmp_path):
        model, inputs = self.model(), batches(4, torch.Generator().manual_seed(0))
        plain, labels = model(**inputs).logits, torch.full((4, 2), 7.0)
        model.config.target_mean, model.config.target_scale = [5.0, 0.0], [2.0, 1.0]
        outputs = model(**inputs, labels=labels)
        torch.testing.assert_close(outputs.logits, plain * torch.tensor([2.0, 1.0]) + torch.tensor([5.0, 0.0]))
        expected = ((outputs.logits - labels) / torch.tensor([2.0, 1.0])).square().mean()
        torch.testing.assert_close(outputs.loss, expected)
        model.save_pretrained(tmp_path)
        loaded = ClimbFusionForRegression.from_pretrained(tmp_path)
        assert loaded.config.target_mean == [5.0, 0.0]
        assert_same_tensors(model, loaded)
        torch.testing.assert_close(copy.deepcopy(loaded)(**inputs).logits, outputs.logits, atol=0, rtol=0)

    def test_it_needs_a_target(self):
        with pytest.raises(OptionError, match="regression_targets"):
            ClimbFusionForRegression(config("mlp"))


def test_the_positive_weight_is_that_of_pytorch():
    model, inputs = build("mlp", positive_weight=3.5), batches(4, torch.Generator().manual_seed(0))
    labels = torch.tensor([[1.0], [0.0], [0.0], [1.0]])
    outputs = model(**inputs, labels=labels)
    expected = functional.binary_cross_entropy_with_logits(outputs.logits, labels, pos_weight=torch.tensor(3.5))
    torch.testing.assert_close(outputs.loss, expected)


def test_frames_and_other_encoders():
    other = EcgTransformerConfig(signal_length=60, segment_length=20, hidden_size=32, num_hidden_layers=1,
                                 num_attention_heads=2, head_dim=8, intermediate_size=16)  # fmt: skip
    model = build("cross_attention", modalities=["image", "signal"], signal_config=other.to_dict())
    generator = torch.Generator().manual_seed(0)
    inputs = {"signal": torch.randn(2, 12, 60, generator=generator),
              "pixel_values": torch.randn(2, 3, 3, 32, 32, generator=generator),
              "frame_mask": torch.tensor([[True, True, False], [True, True, True]])}  # fmt: skip
    expected = model(**inputs).logits
    inputs["pixel_values"][0, 2] = torch.nan
    assert torch.equal(model(**inputs).logits, expected)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"strategy": "early"}, "strategy"),
        ({"modalities": ["video"]}, "modalities"),
        ({"modalities": []}, "at least one"),
        ({"modalities": ["text"], "strategy": "cross_attention"}, "choose `mlp`"),
        ({"signal_config": dict(VISION)}, "ecg_jepa"),
        ({"text_config": EcgJepaConfig(**SIGNAL).to_dict()}, "text encoder"),
        ({"image_config": {"backbone": "timm/test_vit"}}, "model_type"),
        ({"num_attention_heads": 5}, "attention_head_size"),
        ({"positive_weight": 0}, "positive_weight"),
        ({"target_mean": [1.0]}, "regression_targets"),
        ({"head_divisors": [0]}, "head_divisors"),
        ({"head_activation": "tanh"}, "head_activation"),
    ],
)
def test_what_does_not_fit_is_refused(fields, message):
    with pytest.raises(OptionError, match=message):
        config(fields.pop("strategy", "mlp"), **fields)


def test_masks_and_content_that_do_not_fit():
    model, inputs = build("mlp"), batches(4, torch.Generator().manual_seed(0))
    with pytest.raises(SchemaError, match="no `signal` was passed"):
        model(**{key: value for key, value in inputs.items() if key != "signal"})
    with pytest.raises(SchemaError, match="modality_mask"):
        model(**{**inputs, "modality_mask": inputs["modality_mask"].long()})
    with pytest.raises(SchemaError, match="one batch size"):
        model(**{**inputs, "signal": inputs["signal"][:2]})


def test_export_of_complete_examples():
    model = build("cross_attention")
    inputs = contents(2, torch.Generator().manual_seed(0))
    program = torch.export.export(model, (), inputs)
    torch.testing.assert_close(program.module()(**inputs).logits, model(**inputs).logits)


class TestProcessor:
    texts = ("heart rate 74 bpm", "lactate 6.0 mmol/L", "lactate 1.2")

    def processor(self) -> ClimbFusionProcessor:
        ecg = EcgFeatureExtractor.preset("ecg_jepa", length=100)
        return ClimbFusionProcessor(ClimbImageProcessor(size=32), ecg, fit_tokenizer(self.texts, 60), max_length=8)

    def rows(self):
        random = np.random.default_rng(0)
        picture = random.integers(0, 255, (40, 40, 3), dtype=np.uint8)
        signal, nothing = random.normal(size=(200, 12)).astype("float32"), np.zeros((0, 12), "float32")
        return [
            {"id": "a", "source": "s", "image": picture, "signal": signal, "sampling_rate": 500.0, "text": "  "},
            {"id": "b", "source": "s", "image": None, "signal": nothing, "sampling_rate": None, "text": self.texts[0]},
            {"id": "c", "source": "s", "image": None, "signal": signal, "sampling_rate": 500.0, "text": None},
        ]

    def test_what_is_absent_is_masked(self):
        processor, rows = self.processor(), self.rows()
        batch = processor(rows)
        assert batch["modality_mask"].tolist() == [[True, True, False], [False, False, True], [False, True, False]]
        assert torch.equal(batch["pixel_values"][:1], processor.image_processor(rows[0]["image"])["pixel_values"])
        assert torch.equal(batch["signal"][[0, 2]], processor.feature_extractor([rows[0], rows[2]])["signal"])
        assert not batch["pixel_values"][1:].any()
        assert not batch["signal"][1].any()
        own = processor.tokenizer(self.texts[0])["input_ids"]
        assert batch["input_ids"][1].tolist() == own[:8]
        assert batch["attention_mask"].sum(1).tolist() == [0, len(own), 0]
        assert torch.isfinite(build("mlp")(**batch).logits).all()
        empty_list = {**rows[1], "signal": [], "frames": []}
        assert processor(empty_list)["modality_mask"].tolist() == [[False, False, True]]
        nan = {**rows[0], "signal": np.full((200, 12), np.nan, "float32")}
        assert processor(nan)["modality_mask"].tolist() == [[True, False, False]]

    def test_records_without_anything_are_named(self):
        rows = [self.rows()[0], {"id": "x", "source": "mimic_iv", "text": ""}, {"id": "y", "source": "mimic_iv"}]
        with pytest.raises(SchemaError, match=r"`mimic_iv:x`, `mimic_iv:y` \(2 in all\).*--skip-empty"):
            self.processor()(rows)

    def test_save_load_and_auto_classes(self, tmp_path):
        processor, rows = self.processor(), self.rows()
        model = build("cross_attention", signal_config=EcgJepaConfig(**SIGNAL).to_dict())
        model.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        loaded = AutoProcessor.from_pretrained(tmp_path)
        assert type(loaded) is ClimbFusionProcessor
        assert loaded.to_dict() == processor.to_dict()
        expected, found = processor(rows), loaded(rows)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)
        assert AutoConfig.from_pretrained(tmp_path).strategy == "cross_attention"
        again = copy.deepcopy(AutoModelForClimbClassification.from_pretrained(tmp_path))
        assert torch.equal(again(**found).logits, model(**expected).logits)

    def test_some_parts_only(self, tmp_path):
        ClimbFusionProcessor(ClimbImageProcessor(size=32)).save_pretrained(tmp_path)
        loaded = AutoProcessor.from_pretrained(tmp_path)
        assert loaded.modalities == ["image"]
        assert loaded.tokenizer is None
        with pytest.raises(OptionError, match="at least one"):
            ClimbFusionProcessor()


class TestTokenizer:
    def test_it_is_the_same_for_every_order(self):
        texts = ["heart rate 74", "lactate 6.0 mmol/L", "creatinine 3.5", "heart rate 98"]
        one, other = fit_tokenizer(texts, 80), fit_tokenizer(texts[::-1], 80)
        assert one.get_vocab() == other.get_vocab()
        assert (one.pad_token_id, one.cls_token_id, one.sep_token_id) == (0, 2, 3)
        ids = one("Heart RATE 98")["input_ids"]
        assert (ids[0], ids[-1]) == (2, 3)
        assert one.decode(ids[1:-1]) == "heart rate 98"

    def test_without_text_there_is_none(self):
        with pytest.raises(SchemaError, match="no text"):
            fit_tokenizer([None, " "])
        with pytest.raises(OptionError, match="vocab_size"):
            fit_tokenizer(["a"], vocab_size=5)
