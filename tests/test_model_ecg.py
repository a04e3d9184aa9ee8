"""The ECG encoders: what all encoders do, the recorded numbers of the published ones, and their converters."""

import numpy as np
import pytest
import torch
from model_contract import ModelCase, ModelContract, poisoned_memory, vocabulary_fields  # noqa: F401 - a fixture
from reference_states import assert_fingerprint, reference_input, reference_state

from climb_hf.errors import CorruptFileError, OptionError, SchemaError
from climb_hf.models import (
    EcgJepaConfig,
    EcgJepaForClassification,
    EcgJepaForPretraining,
    EcgJepaModel,
    EcgTransformerConfig,
    EcgTransformerForClassification,
    EcgTransformerModel,
)
from climb_hf.models.ecg_jepa.convert_ecg_jepa import convert_checkpoint as convert_jepa
from climb_hf.models.ecg_jepa.convert_ecg_jepa import convert_pretraining
from climb_hf.models.ecg_jepa.modeling_ecg_jepa import positions
from climb_hf.models.ecg_jepa.pretraining_ecg_jepa import draw_hidden_patches
from climb_hf.models.ecg_transformer.convert_ecg_transformer import convert_checkpoint as convert_transformer

JEPA = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "signal_length": 100, "patch_size": 20}
PREDICTOR = {"predictor_hidden_size": 16, "predictor_num_layers": 2, "predictor_num_heads": 2}
TRANSFORMER = {
    "signal_length": 60,
    "segment_length": 20,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
}


def signals(channels: int, length: int):
    return lambda n, generator: {"signal": torch.randn(n, channels, length, generator=generator)}


def masked(channels: int, length: int):
    def make(n, generator):
        mask = torch.rand(n, channels, generator=generator) < 0.7
        mask[:, 0] = True
        return {"signal": torch.randn(n, channels, length, generator=generator), "channel_mask": mask}

    return make


CASES = [
    ModelCase(
        name="ecg_jepa",
        config=lambda: EcgJepaConfig(**JEPA, **vocabulary_fields()),
        base=EcgJepaModel,
        classifier=EcgJepaForClassification,
        inputs=signals(8, 100),
    ),
    ModelCase(
        name="ecg_jepa-absent-leads",
        config=lambda: EcgJepaConfig(**JEPA, **vocabulary_fields()),
        base=EcgJepaModel,
        classifier=EcgJepaForClassification,
        inputs=masked(8, 100),
    ),
    ModelCase(
        name="ecg_transformer",
        config=lambda: EcgTransformerConfig(**TRANSFORMER, **vocabulary_fields()),
        base=EcgTransformerModel,
        classifier=EcgTransformerForClassification,
        inputs=masked(12, 60),
        head=("classifier.", "head_norm."),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestContract(ModelContract):
    pass


def vit_shapes(prefix: str, depth: int, width: int, hidden: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for index in range(depth):
        block = f"{prefix}.{index}."
        for norm in ("norm1", "norm2"):
            shapes |= {f"{block}{norm}.weight": (width,), f"{block}{norm}.bias": (width,)}
        shapes |= {
            f"{block}attn.qkv.weight": (3 * width, width),
            f"{block}attn.proj.weight": (width, width),
            f"{block}attn.proj.bias": (width,),
            f"{block}mlp.fc1.weight": (hidden, width),
            f"{block}mlp.fc1.bias": (hidden,),
            f"{block}mlp.fc2.weight": (width, hidden),
            f"{block}mlp.fc2.bias": (width,),
        }
    return shapes


def jepa_encoder(width: int = 64, depth: int = 2, patches: int = 50) -> dict[str, torch.Tensor]:
    shapes = {"W_P.weight": (width, 50), "W_P.bias": (width,), "norm.weight": (width,), "norm.bias": (width,)}
    shapes |= vit_shapes("encoder_blocks.blocks", depth, width, 4 * width)
    return reference_state(shapes, {"pos_embed": positions(8, patches, width)[None]})


def jepa_predictor(width: int = 48, depth: int = 2, outer: int = 64) -> dict[str, torch.Tensor]:
    shapes = {
        "predictor_embed.weight": (width, outer),
        "predictor_embed.bias": (width,),
        "mask_token": (1, 1, width),
        "predictor_norm.weight": (width,),
        "predictor_norm.bias": (width,),
        "predictor_proj.weight": (outer, width),
        "predictor_proj.bias": (outer,),
    }
    shapes |= vit_shapes("predictor_blocks.blocks", depth, width, 4 * width)
    return reference_state(shapes, {"pos_embed": positions(1, 50, width)})


class TestEcgJepa:
    def test_positions(self):
        table = positions(8, 50, 64)
        np.testing.assert_allclose(table[1, [0, 1, 16, 17]], [0.841471, 0.533168, 0.540302, 0.846009], rtol=1e-5)
        np.testing.assert_allclose(table[50, [0, 32, 33, 48]], [0, 0.841471, 0.533168, 0.540302], rtol=1e-5)
        single = positions(1, 50, 48)
        assert torch.equal(single[:, 24:36], torch.zeros(50, 12))
        assert torch.equal(single[:, 36:], torch.ones(50, 12))

    def test_representation(self):
        model = convert_jepa({"encoder": jepa_encoder(), "epoch": 100}, num_attention_heads=4)
        assert type(model) is EcgJepaModel
        output = model(reference_input(2, 8, 2500)).pooler_output
        assert_fingerprint(output, [-1.01679, -0.956227, -0.396086, 0.371078], std=0.693719)

    def test_representation_of_four_leads(self):
        model = convert_jepa(jepa_encoder(), num_attention_heads=4)
        signal = reference_input(2, 8, 2500)
        mask = torch.zeros(2, 8, dtype=torch.bool)
        mask[:, [0, 1, 6, 7]] = True
        expected = [-1.06679, -0.962171, -0.283183, 0.374678]
        assert_fingerprint(model(signal, mask).pooler_output, expected)
        signal[:, 2:6] = torch.nan  # the content of absent leads has no effect
        assert_fingerprint(model(signal, mask).pooler_output, expected)

    def test_objective(self):
        model = convert_pretraining(jepa_encoder(), jepa_predictor(), num_attention_heads=4, predictor_num_heads=4)
        hidden = torch.tensor([*range(10, 30), *range(40, 45)])
        output = model(reference_input(2, 8, 2500), hidden)
        assert output.context.numel() == 25_600
        assert_fingerprint(output.context, [-0.901109, -2.62515, -0.188542, 0.233977], std=1.0081)
        assert_fingerprint(output.predictions, [0.606536, -0.403443, -0.0143308, 0.466611])
        assert output.loss.item() == pytest.approx(0.7420043, rel=1e-4)

    def test_sizes_of_the_published_encoder(self):
        with torch.device("meta"):
            model = EcgJepaForPretraining(EcgJepaConfig())
        trained = sum(p.numel() for p in model.ecg_jepa.parameters())
        assert trained == 85_067_520
        assert trained + model.ecg_jepa.position_embedding.numel() == 85_374_720
        assert len(model.ecg_jepa.state_dict()) == 137
        ahead = sum(p.numel() for p in model.predictor.parameters())
        assert trained + ahead == 96_299_520
        assert ahead + model.predictor.position_embedding.numel() == 11_251_200
        assert len(model.predictor.state_dict()) == 74

    def test_each_token_sees_its_lead_and_its_moment(self):
        config = EcgJepaConfig(**{**JEPA, "num_hidden_layers": 1})
        model = EcgJepaModel(config).eval()
        signal = torch.randn(1, 8, 100)
        signal.requires_grad_()
        model(signal).last_hidden_state[0, 7].sum().backward()  # lead 1, patch 2 of 5
        seen = (signal.grad[0].unflatten(1, (5, 20)) != 0).any(-1)
        expected = torch.zeros(8, 5, dtype=torch.bool)
        expected[1], expected[:, 2] = True, True
        assert torch.equal(seen, expected)

    @pytest.mark.parametrize(("masking", "low", "high"), [("block", 0.22, 0.82), ("random", 0.6, 0.7)])
    def test_hidden_patches(self, masking, low, high):
        generator = torch.Generator().manual_seed(0)
        drawn = [draw_hidden_patches(50, masking, generator) for _ in range(300)]
        shares = torch.tensor([len(hidden) / 50 for hidden in drawn])
        assert low - 0.06 <= shares.min()
        assert shares.max() <= high
        assert all((hidden.diff() > 0).all() for hidden in drawn)
        if masking == "block":
            assert shares.mean().item() == pytest.approx(0.55, abs=0.02)

    @pytest.mark.parametrize("masking", ["block", "random"])
    def test_something_is_hidden_and_something_seen_of_few_patches(self, masking):
        generator = torch.Generator().manual_seed(0)
        for patches in (2, 3, 5):
            assert all(0 < len(draw_hidden_patches(patches, masking, generator)) < patches for _ in range(50))

    def test_the_target_follows_and_is_not_trained(self):
        torch.manual_seed(0)
        model = EcgJepaForPretraining(EcgJepaConfig(**JEPA, **PREDICTOR, drop_path_rate=0.5)).train()
        assert not model.target.training
        for slow, fast in zip(model.target.parameters(), model.ecg_jepa.parameters(), strict=True):
            assert torch.equal(slow, fast)
        signal, hidden = torch.randn(3, 8, 100), torch.tensor([1, 3])
        assert torch.equal(model(signal, hidden).targets, model(signal, hidden).targets)
        quiet = EcgJepaForPretraining(EcgJepaConfig(**JEPA, **PREDICTOR)).train()
        quiet(signal, hidden).loss.backward()
        assert all(p.grad is None for p in quiet.target.parameters())
        assert all((p.grad != 0).any() for n, p in quiet.named_parameters() if not n.startswith("target."))
        before = model.target.encoder.norm.weight.clone()
        with torch.no_grad():
            model.ecg_jepa.encoder.norm.weight.add_(1)
        model.update_target(0.75)
        torch.testing.assert_close(model.target.encoder.norm.weight, before + 0.25)

    def test_pretraining_round_trip(self, tmp_path):
        model = EcgJepaForPretraining(EcgJepaConfig(**JEPA, **PREDICTOR)).eval()
        with torch.no_grad():
            model.ecg_jepa.patch_embedding.weight.add_(1)
        model.save_pretrained(tmp_path)
        again, info = EcgJepaForPretraining.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info.values()), info
        for (name, ours), theirs in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
            assert torch.equal(ours, theirs), name
        encoder = EcgJepaModel.from_pretrained(tmp_path)
        assert torch.equal(encoder.patch_embedding.weight, model.ecg_jepa.patch_embedding.weight)
        encoder.save_pretrained(tmp_path / "encoder")
        fresh = EcgJepaForPretraining.from_pretrained(tmp_path / "encoder", **PREDICTOR)
        assert torch.equal(fresh.target.patch_embedding.weight, encoder.patch_embedding.weight)

    def test_deeper_branches_start_smaller(self):
        model = EcgJepaModel(EcgJepaConfig(**{**JEPA, "hidden_size": 128, "num_hidden_layers": 8}))
        for depth in (1, 8):
            block = model.encoder.blocks[depth - 1]
            for layer in (block.attn.proj, block.mlp.fc2):
                assert layer.weight.std().item() == pytest.approx(0.02 / (2 * depth) ** 0.5, rel=0.05)

    def test_records_with_absent_leads_are_not_pretrained_on(self):
        model = EcgJepaForPretraining(EcgJepaConfig(**JEPA, **PREDICTOR))
        with pytest.raises(SchemaError, match="absent ones"):
            model(torch.randn(1, 8, 100), channel_mask=torch.arange(8)[None] > 0)

    def test_other_sizes_convert(self):
        model = convert_jepa(jepa_encoder(96, 3, patches=20))
        assert (model.config.signal_length, model.config.num_attention_heads) == (1000, 2)
        assert torch.isfinite(model(torch.randn(1, 8, 1000)).pooler_output).all()


def transformer_state(length: int = 5000, head: bool = True) -> dict[str, torch.Tensor]:
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, 256),
        "pos_embedding": (1, length // 25 + 1, 256),
        "embed_modules.0.embed.1.weight": (256, 300),
        "embed_modules.0.embed.1.bias": (256,),
    }
    for index in range(12):
        attention, forward = f"transformer.layers.{index}.0.", f"transformer.layers.{index}.1."
        shapes |= {f"{part}norm.{kind}": (256,) for part in (attention, forward) for kind in ("weight", "bias")}
        shapes |= {
            f"{attention}fn.to_qkv.weight": (1536, 256),
            f"{attention}fn.to_out.0.weight": (256, 512),
            f"{attention}fn.to_out.0.bias": (256,),
            f"{forward}fn.net.0.weight": (512, 256),
            f"{forward}fn.net.0.bias": (512,),
            f"{forward}fn.net.3.weight": (256, 512),
            f"{forward}fn.net.3.bias": (256,),
        }
    if head:
        shapes |= {
            "mlp_head.0.weight": (256,),
            "mlp_head.0.bias": (256,),
            "mlp_head.1.weight": (128, 256),
            "mlp_head.1.bias": (128,),
        }
    return reference_state(shapes)


class TestEcgTransformer:
    def test_recorded_numbers(self):
        state = transformer_state()
        assert len(state) == 140
        model = convert_transformer(state)
        assert sum(p.numel() for p in model.parameters()) == 9_623_936
        with torch.no_grad():
            output = model(reference_input(2, 5000, 12).transpose(1, 2))
        assert_fingerprint(output.pooler_output, [0.83365, 1.65222, 0.549334, -5.70176], std=2.5957)
        assert_fingerprint(output.logits, [0.451602, -0.580259, -0.3077, -0.389763])
        encoder = convert_transformer(transformer_state(head=False))
        assert type(encoder) is EcgTransformerModel
        assert encoder.num_parameters() == 9_590_528

    def test_short_records(self):
        model = convert_transformer(transformer_state(2500, head=False))
        assert model.num_parameters() == 9_564_928
        assert model(torch.randn(1, 12, 2500)).last_hidden_state.shape == (1, 101, 256)

    def test_absent_leads_have_no_effect(self):
        model = EcgTransformerModel(EcgTransformerConfig(**TRANSFORMER)).eval()
        signal = torch.randn(2, 12, 60)
        mask = torch.ones(2, 12, dtype=torch.bool)
        mask[:, 5] = False
        other = signal.clone()
        other[:, 5] = torch.nan
        assert torch.equal(model(signal, mask).pooler_output, model(other, mask).pooler_output)


@pytest.mark.parametrize(
    ("convert", "state"), [(convert_jepa, jepa_encoder), (convert_transformer, transformer_state)]
)
class TestConverters:
    def test_what_is_missing_is_named(self, convert, state):
        given = state()
        name = next(name for name in given if name.endswith("1.norm2.bias") or name.endswith("1.1.norm.bias"))
        del given[name]
        with pytest.raises(CorruptFileError, match="1 missing"):
            convert(given)

    def test_what_is_left_over_is_named(self, convert, state):
        with pytest.raises(CorruptFileError, match=r"left over \(stranger\.weight\)"):
            convert({**state(), "stranger.weight": torch.zeros(2)})

    def test_another_architecture_is_refused(self, convert, state):
        with pytest.raises(CorruptFileError, match="it is none of"):
            convert({"conv1.weight": torch.zeros(1, 1, 3)})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestInput:
    @pytest.mark.parametrize("shape", [(1, 3, 100), (1, 12, 61), (2, 100), (1, 0, 100)])
    def test_shapes_that_do_not_fit(self, case, shape):
        with pytest.raises(SchemaError, match="EcgFeatureExtractor"):
            case.build()(torch.zeros(shape))

    def test_a_channel_mask_of_another_shape(self, case):
        signal = case.batch(2)["signal"]
        with pytest.raises(SchemaError, match="channel_mask"):
            case.build()(signal, torch.ones(2, 3, dtype=torch.bool))

    def test_export(self, case):
        model, inputs = case.build(), case.batch(2)
        exported = torch.export.export(model, (), inputs).module()
        torch.testing.assert_close(exported(**inputs).logits, model(**inputs).logits, atol=1e-5, rtol=1e-5)

    def test_hidden_states(self, case):
        output = case.build()(**case.batch(2), output_hidden_states=True)
        assert len(output.hidden_states) == 3
        assert output.hidden_states[0].shape == output.last_hidden_state.shape


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (EcgJepaConfig, {"patch_size": 49}),
        (EcgJepaConfig, {"hidden_size": 770}),
        (EcgJepaConfig, {"masking": "none"}),
        (EcgJepaConfig, {"drop_path_rate": 1.0}),
        (EcgTransformerConfig, {"segment_length": 26}),
        (EcgTransformerConfig, {"num_attention_heads": 0}),
    ],
)
def test_configurations_that_cannot_be(kind, fields):
    with pytest.raises(OptionError, match=next(iter(fields))):
        kind(**fields)
