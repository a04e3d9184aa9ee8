"""UniTS: what all encoders do, the recorded numbers of the published code, its objective, and the converter."""

import math
from argparse import Namespace

import numpy as np
import pytest
import torch
from model_contract import ModelCase, ModelContract, poisoned_memory, vocabulary_fields  # noqa: F401 - a fixture
from reference_states import assert_fingerprint, drawn, reference_input, reference_state
from torch.nn import functional

from climb_hf.errors import CorruptFileError, OptionError, SchemaError
from climb_hf.models import UnitsConfig, UnitsForClassification, UnitsForPretraining, UnitsModel
from climb_hf.models.units.convert_units import convert_checkpoint, convert_pretraining
from climb_hf.models.units.layers_units import DynamicLinear, positions
from climb_hf.models.units.pretraining_units import draw_masked_tokens

TINY = {
    "num_channels": 4,
    "patch_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_prompt_tokens": 3,
    "intermediate_size": 32,
    "token_map_size": 12,
    "class_head_size": 24,
    "reconstruction_size": 24,
    "reconstruction_map_size": 12,
    "max_positions": 20,
}


def inputs(masked: bool):
    def make(n, generator):
        batch = {"signal": torch.randn(n, 4, 60, generator=generator)}
        if masked:
            mask = torch.rand(n, 4, generator=generator) < 0.6
            mask[:, 0] = True
            batch["channel_mask"] = mask
        return batch

    return make


CASES = [
    ModelCase(
        name=name,
        config=lambda: UnitsConfig(**TINY, **vocabulary_fields()),
        base=UnitsModel,
        classifier=UnitsForClassification,
        inputs=inputs(masked),
    )
    for name, masked in (("units", False), ("units-absent-channels", True))
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestContract(ModelContract):
    pass


Shapes = dict[str, tuple[int, ...]]


def linear(name: str, outputs: int, inputs: int, *, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), **({f"{name}.bias": (outputs,)} if bias else {})}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def dynamic(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weights": (outputs, inputs), f"{name}.bias": (outputs,)}


def reconstruction(name: str, d: int) -> Shapes:
    return {
        **linear(f"{name}.proj_in", d, d),
        **linear(f"{name}.mlp.fc1", 4 * d, d),
        **linear(f"{name}.mlp.fc2", d, 4 * d),
        **linear(f"{name}.proj_out", 16, d),
        **dynamic(f"{name}.pos_proj", 128, 128),
    }


def shared_shapes(d: int, layers: int = 3, *, pretrain_head: bool = False) -> Shapes:
    """Names and shapes of what the published tasks share, without the table of positions."""
    shapes = {"patch_embeddings.value_embedding.weight": (d, 16), **dynamic("prompt2forecat", 128, 128)}
    for index in range(layers):
        for part, attention in (("seq_att_block", "attn_seq"), ("var_att_block", "attn_var")):
            block = f"blocks.{index}.{part}."
            shapes |= norm(f"{block}norm1", d) | linear(f"{block}{attention}.qkv", 3 * d, d, bias=False)
            shapes |= linear(f"{block}{attention}.proj", d, d) | linear(f"{block}ls1.gate", 1, d)
            shapes |= linear(f"{block}proj", d, d)
        block = f"blocks.{index}.dynamic_mlp."
        shapes |= norm(f"{block}norm2", d) | linear(f"{block}ls2.gate", 1, d) | linear(f"{block}mlp.fc2", d, 8 * d)
        shapes |= {f"{block}mlp.fc1.weight": (8 * d, d, 3), f"{block}mlp.fc1.bias": (8 * d,)}
        shapes |= dynamic(f"{block}mlp.seq_fc", 2 * d, 2 * d) | dynamic(f"{block}mlp.prompt_fc", 10, 2 * d)
    shapes |= linear("cls_head.proj_in", d, d) | linear("cls_head.cross_att.q", d, d, bias=False)
    shapes |= linear("cls_head.cross_att.kv", 2 * d, d, bias=False) | linear("cls_head.cross_att.proj", d, d)
    shapes |= norm("cls_head.mlp.norm2", d) | linear("cls_head.mlp.ls2.gate", 1, d)
    shapes |= linear("cls_head.mlp.mlp.fc1", 8 * d, d) | linear("cls_head.mlp.mlp.fc2", d, 8 * d)
    shapes |= reconstruction("forecast_head", d)
    return shapes | (reconstruction("pretrain_head", d) if pretrain_head else {})


def token_shapes(d: int, variables: int, dataset: str, task: str, classes: int = 0) -> Shapes:
    shapes = {
        f"prompt_tokens.{dataset}": (1, variables, 10, d),
        f"mask_tokens.{dataset}": (1, variables, 1, d),
        f"cls_tokens.{task}": (1, variables, 1, d),
    }
    return shapes | ({f"category_tokens.{task}": (1, variables, classes, d)} if classes else {})


def filled(shapes: Shapes, d: int, prefix: str = "") -> dict[str, torch.Tensor]:
    state = reference_state(shapes, {"position_embedding.pe": positions(5000, d)[None, None]})
    return {prefix + name: value for name, value in state.items()}


def supervised(d: int = 64, prefix: str = "") -> dict[str, torch.Tensor]:
    return filled(shared_shapes(d) | token_shapes(d, 12, "PTBXL", "CLS_PTBXL", 7), d, prefix)


def pretrained(d: int = 64) -> dict[str, torch.Tensor]:
    return filled(shared_shapes(d, pretrain_head=True) | token_shapes(d, 12, "PTBXL", "CLS_PTBXL"), d)


LOGITS = [-0.227507, 0.326277, 0.0356877, 0.162501]


class TestRecordedNumbers:
    @pytest.mark.parametrize(
        ("d", "plain", "with_head"),
        [(32, 371_000, 397_448), (64, 1_052_984, 1_107_784), (128, 3_449_144, 3_615_944)],
    )
    def test_sizes(self, d, plain, with_head):
        with torch.device("meta"):
            model = UnitsForPretraining(UnitsConfig(hidden_size=d))
        tokens = 12 * (10 + 1 + 1) * d
        unused = 2 * 3 * (d * d + d)  # linear layers of the published blocks that nothing reads
        assert model.num_parameters() == with_head - unused + tokens
        head = sum(parameter.numel() for parameter in model.class_feature_head.parameters())
        assert with_head - head == plain
        table = 5000 * d
        assert sum(map(math.prod, shared_shapes(d).values())) + table == plain
        assert sum(map(math.prod, shared_shapes(d, pretrain_head=True).values())) + table == with_head

    def test_logits(self):
        state = supervised(prefix="module.")
        assert sum(value.numel() for value in state.values()) == 1_067_576
        model = convert_checkpoint(state, dataset="PTBXL", task="CLS_PTBXL")
        assert type(model) is UnitsForClassification
        assert not model.training
        signal = reference_input(2, 2500, 12).transpose(1, 2)
        output = model(signal)
        assert_fingerprint(output.logits, LOGITS, mean=0.0676238, std=0.206042)
        assert output.last_hidden_state.shape == (2, 12 * 168, 64)
        # the published head, in its own words: features of the variables times category tokens
        features = model.units(signal).channel_features
        torch.testing.assert_close(features.mean(1), output.pooler_output)
        tokens = state["module.category_tokens.CLS_PTBXL"][0]
        published = 7 * torch.einsum("bvd,vcd->bvc", features, tokens).mean(1)
        torch.testing.assert_close(output.logits, published, atol=1e-6, rtol=1e-5)
        everything = model(signal, torch.ones(2, 12, dtype=torch.bool))
        torch.testing.assert_close(everything.logits, output.logits, atol=1e-6, rtol=1e-5)

    def test_pretraining(self):
        model = convert_pretraining(pretrained(), dataset="PTBXL")
        signal = reference_input(2, 2500, 12).transpose(1, 2)
        hidden = torch.zeros(2, 157, dtype=torch.bool)
        hidden[:, 40:] = True
        output = model(signal, hidden)
        assert output.mask_loss.item() == pytest.approx(2.981404, rel=1e-4)
        assert output.class_loss.item() == pytest.approx(2.695773, rel=1e-4)
        assert output.loss.item() == pytest.approx(2.981404 + 2.695773, rel=1e-4)
        first = [0.798585, 1.44799, 0.637858, 1.49847]
        assert_fingerprint(output.reconstruction.transpose(1, 2), first, std=1.41192)
        first = [-1.13359, -1.09854, -2.50707, -2.29623]
        assert_fingerprint(output.class_reconstruction.transpose(1, 2), first, std=1.30224)


class TestConversion:
    def test_a_training_checkpoint_from_a_file(self, tmp_path):
        path = tmp_path / "checkpoint.pth"
        student = {f"module.{name}": value for name, value in pretrained().items()}
        torch.save({"student": student, "optimizer": {"state": {}}, "epoch": 9, "args": Namespace(d_model=64)}, path)
        model = convert_checkpoint(path)
        assert type(model) is UnitsModel
        signal = torch.randn(1, 12, 500)
        expected = convert_pretraining(path).units(signal).pooler_output
        assert torch.equal(model(signal).pooler_output, expected)

    def test_tokens_of_other_datasets_are_dropped(self):
        others = token_shapes(64, 3, "Heartbeat", "CLS_Heartbeat", 2) | token_shapes(64, 12, "Weather", "LTF_Weather")
        state = supervised() | reference_state(others)
        signal = reference_input(2, 2500, 12).transpose(1, 2)
        for options in ({}, {"dataset": "PTBXL"}, {"task": "CLS_PTBXL"}, {"vocabulary": list("abcdefg")}):
            model = convert_checkpoint(state, **options)
            assert_fingerprint(model(signal).logits, LOGITS)
            assert model.config.vocabulary == options.get("vocabulary", [f"LABEL_{i}" for i in range(7)])
        other = convert_checkpoint(state, num_channels=3)
        assert torch.equal(other.units.class_tokens, state["cls_tokens.CLS_Heartbeat"])
        weather = convert_checkpoint(state, dataset="Weather")
        assert torch.equal(weather.prompt_tokens, state["prompt_tokens.Weather"])

    def test_fresh_tokens(self, caplog):
        others = token_shapes(64, 3, "Heartbeat", "CLS_Heartbeat", 2) | token_shapes(64, 12, "Vowels", "CLS_Vowels", 9)
        state = filled(shared_shapes(64), 64) | reference_state(others)
        model = convert_checkpoint(state)
        assert type(model) is UnitsForClassification
        assert "tokens of CLS_Vowels are taken" in caplog.text
        torch.manual_seed(0)
        for options in ({"num_channels": 8}, {"num_channels": 12, "fresh_tokens": True}):
            model = convert_checkpoint(state, **options)
            assert type(model) is UnitsModel
            assert model.config.num_channels == options["num_channels"]
            for tokens in (model.prompt_tokens, model.class_tokens):
                assert tokens.std().item() == pytest.approx(0.02, rel=0.1)
        assert torch.equal(model.blocks[1].mlp.conv.bias, state["blocks.1.dynamic_mlp.mlp.fc1.bias"])
        fresh = convert_pretraining(state, num_channels=8)
        assert torch.equal(fresh.mask_tokens, torch.zeros(1, 8, 1, 64))
        assert torch.isfinite(fresh(torch.randn(2, 8, 300)).loss)  # its `pretrain_head` is fresh, too

    @pytest.mark.parametrize(("d", "layers", "variables", "classes", "heads"), [(32, 3, 12, 5, 8), (48, 2, 8, 3, 4)])
    def test_other_sizes(self, d, layers, variables, classes, heads):
        shapes = shared_shapes(d, layers) | token_shapes(d, variables, "A_B", "CLS_A_B", classes)
        state = filled(shapes, d)
        model = convert_checkpoint(state, num_attention_heads=heads)
        assert (model.config.num_channels, model.config.num_hidden_layers) == (variables, layers)
        for length in (5, 160, 1234):
            logits = model(torch.randn(2, variables, length)).logits
            assert logits.shape == (2, classes)
            assert torch.isfinite(logits).all()

    @pytest.mark.parametrize("convert", [convert_checkpoint, convert_pretraining])
    def test_what_does_not_fit_is_named(self, convert):
        state = supervised()
        with pytest.raises(CorruptFileError, match=r"left over \(stranger\.weight\)"):
            convert({**state, "stranger.weight": torch.zeros(2)})
        for name in ("blocks.1.var_att_block.attn_var.qkv.weight", "cls_head.mlp.norm2.bias", "prompt2forecat.bias"):
            with pytest.raises(CorruptFileError, match="missing"):
                convert({key: value for key, value in state.items() if key != name})
        with pytest.raises(CorruptFileError, match="of another shape"):
            convert({**state, "cls_head.proj_in.bias": torch.zeros(3)})
        with pytest.raises(CorruptFileError, match="should have the shape"):
            convert({**state, "blocks.0.seq_att_block.proj.bias": torch.zeros(3)})
        with pytest.raises(CorruptFileError, match="it is none of UniTS"):
            convert({"conv1.weight": torch.zeros(1, 1, 3)})
        with pytest.raises(CorruptFileError, match="zero-shot variant"):
            convert({**state, "prompt_token": torch.zeros(1, 10, 64)})
        with pytest.raises(CorruptFileError, match="four axes"):
            convert({**state, "cls_tokens.X": torch.zeros(64)})

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"dataset": "MIT"}, "no tokens of the dataset 'MIT'; it has Other, PTBXL"),
            ({"task": "CLS_MIT"}, "no tokens of the task 'CLS_MIT'"),
            ({"dataset": "Other", "task": "CLS_PTBXL"}, "different numbers of variables"),
            ({"task": "CLS_PTBXL", "num_channels": 8}, "`num_channels` is 8"),
            ({"task": "strange"}, "does not end with that of a dataset"),
            ({"dataset": "PTBXL", "fresh_tokens": True}, "leave `dataset` and `task` out"),
        ],
    )
    def test_tokens_that_are_not_there(self, options, message):
        more = token_shapes(64, 3, "Other", "CLS_Other", 2) | {"cls_tokens.strange": (1, 12, 1, 64)}
        with pytest.raises(OptionError, match=message):
            convert_checkpoint(supervised() | reference_state(more), **options)

    def test_several_tasks_of_a_dataset(self):
        more = token_shapes(64, 12, "PTBXL", "FORM_PTBXL", 4)
        state = supervised() | reference_state(more)
        with pytest.raises(OptionError, match="has the tasks CLS_PTBXL, FORM_PTBXL"):
            convert_checkpoint(state, dataset="PTBXL")
        assert convert_checkpoint(state, task="FORM_PTBXL").classifier.out_features == 4
        with pytest.raises(CorruptFileError, match=r"classifier\.weight"):
            convert_checkpoint(state, task="FORM_PTBXL", vocabulary=["a", "b"])
        assert type(convert_checkpoint(state)) is UnitsModel


class TestLayers:
    def test_positions(self):
        table = positions(5000, 64)
        np.testing.assert_allclose(table[3, [0, 1]], [math.sin(3), math.cos(3)], rtol=1e-6)
        np.testing.assert_allclose(table[3, [62, 63]], [math.sin(3 * 10**-3.875), math.cos(3 * 10**-3.875)], rtol=1e-6)
        assert torch.equal(UnitsModel(UnitsConfig(**TINY)).position_embedding[0, 0], positions(20, 16))

    def test_a_dynamic_map_of_the_stored_size_is_linear(self):
        layer = DynamicLinear(12, 9, fixed_in=3)
        with torch.no_grad():
            layer.weight.copy_(drawn("weight", (9, 12)))
            layer.bias.copy_(drawn("bias", (9,)))
        values = torch.randn(4, 12)
        assert torch.equal(layer(values, 9), functional.linear(values, layer.weight, layer.bias))

    def test_a_dynamic_map_is_resized(self):
        layer = DynamicLinear(4, 2, fixed_in=2)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[1.0, 2.0, 0.0, 4.0], [5.0, 6.0, 8.0, 12.0]]))
            layer.bias.copy_(torch.tensor([0.0, 4.0]))
        weight, bias = layer.resized(6, 4)  # doubled: weights 1, 3/4 and 1/4, 1/4 and 3/4, 1 of the stored values
        assert bias.tolist() == [0, 1, 3, 4]
        assert weight[:, :2].tolist() == [[1, 2], [2, 3], [4, 5], [5, 6]]  # the first columns are not stretched
        assert weight[0, 2:].tolist() == [0, 1, 3, 4]
        assert weight[3, 2:].tolist() == [8, 9, 11, 12]
        assert weight[1, 2:].tolist() == [2, 3, 5, 6]

    def test_dynamic_maps_start_as_linear_layers_do(self):
        weight = UnitsModel(UnitsConfig()).blocks[0].mlp.data_map.weight
        assert weight.abs().max().item() <= 128**-0.5
        assert weight.std().item() == pytest.approx((3 * 128) ** -0.5, rel=0.05)


class TestAbsentChannels:
    def test_they_have_no_effect(self):
        case = CASES[1]
        model, batch = case.build(), case.batch(3)
        mask = batch["channel_mask"]
        assert not mask.all()
        noise = torch.where(mask[:, :, None], batch["signal"], torch.nan)
        for key in ("logits", "pooler_output"):
            assert torch.equal(model(**batch)[key], model(noise, mask)[key])
        with torch.no_grad():  # nor have their prompt and class tokens
            mask[:, 3] = False
            before = model(batch["signal"], mask).logits
            model.units.prompt_tokens[:, 3] += 1
            model.units.class_tokens[:, 3] += 1
            model.classifier.weight[:, 48:] += 1
            torch.testing.assert_close(model(batch["signal"], mask).logits, before)

    def test_the_others_are_a_model_of_fewer_channels(self):
        model = CASES[0].build()
        small = UnitsForClassification(UnitsConfig(**{**TINY, "num_channels": 3}, **vocabulary_fields())).eval()
        state = model.state_dict()
        for name in ("units.prompt_tokens", "units.class_tokens"):
            state[name] = state[name][:, :3]
        state["classifier.weight"] = state["classifier.weight"][:, :48] * 4 / 3  # the mean is over three
        small.load_state_dict(state)
        signal, mask = torch.randn(2, 4, 60), torch.tensor([[True, True, True, False]] * 2)
        for key in ("logits", "pooler_output"):
            torch.testing.assert_close(model(signal, mask)[key], small(signal[:, :3])[key], atol=1e-6, rtol=1e-5)

    def test_a_record_without_any_channel_is_finite(self):
        output = CASES[0].build()(torch.randn(1, 4, 60), torch.zeros(1, 4, dtype=torch.bool))
        assert torch.equal(output.pooler_output, torch.zeros(1, 16))

    def test_they_have_no_part_in_the_pretraining_loss(self):
        torch.manual_seed(0)
        model = UnitsForPretraining(UnitsConfig(**TINY, hidden_dropout=0))
        signal, mask = torch.randn(2, 4, 60), torch.tensor([[True, True, False, True]] * 2)
        signal[:, 2] = torch.nan
        output = model(signal, torch.arange(8).expand(2, -1) > 2, mask)
        error = (output.reconstruction - signal)[mask].square().mean()
        assert output.mask_loss.item() == pytest.approx(error.item(), rel=1e-5)
        output.loss.backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


class TestPretraining:
    def test_hidden_tokens(self):
        generator = torch.Generator().manual_seed(0)
        right = draw_masked_tokens(64, 157, right_probability=1, generator=generator)
        assert (right.int().diff(dim=1) >= 0).all()
        scattered = draw_masked_tokens(64, 157, right_probability=0, generator=generator)
        assert not (scattered.int().diff(dim=1) >= 0).all()
        for hidden in (right, scattered):
            share = hidden.float().mean(1)
            assert 0.7 <= share.min() < 0.72
            assert 0.78 < share.max() <= 0.81
        kinds = [(draw_masked_tokens(1, 157).int().diff(dim=1) >= 0).all().item() for _ in range(300)]
        assert 0.4 < sum(kinds) / 300 < 0.6

    def test_hidden_content_has_no_effect_but_on_the_scale(self):
        model = UnitsForPretraining(UnitsConfig(**TINY)).eval()
        hidden = torch.arange(8).expand(1, -1) >= 4
        signal = torch.randn(1, 4, 64)
        other = signal.clone()
        other[..., 32:] = other[..., 32:].flip(2)  # the same mean and deviation
        for key in ("reconstruction", "class_reconstruction"):
            torch.testing.assert_close(model(signal, hidden)[key], model(other, hidden)[key])

    def test_only_the_class_feature_learns_from_the_second_loss(self):
        model = UnitsForPretraining(UnitsConfig(**TINY)).eval()
        model(torch.randn(2, 4, 64)).loss.backward()
        assert all((parameter.grad != 0).any() for parameter in model.parameters())
        model.zero_grad()
        with torch.no_grad():
            model.class_feature_head.position_map.weight[:, 0] = 0  # the way from the class feature to the samples
        model(torch.randn(2, 4, 64)).class_loss.backward()
        assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.units.parameters())

    def test_batches_are_cropped_in_training(self):
        torch.manual_seed(0)
        model = UnitsForPretraining(UnitsConfig(**TINY, min_crop=0.5)).train()
        signal = torch.arange(160.0).expand(2, 4, -1)
        lengths = []
        for _ in range(30):
            target = model(signal).target
            assert torch.equal(target.diff(dim=2), torch.ones_like(target[..., 1:]))
            lengths.append(target.shape[2])
        assert 80 <= min(lengths) < 100
        assert 140 < max(lengths) <= 160
        assert model.eval()(signal).target.shape == signal.shape
        whole = UnitsForPretraining(UnitsConfig(**TINY, min_crop=1)).train()
        assert whole(signal).target.shape == signal.shape

    def test_the_loss_falls(self):
        torch.manual_seed(0)
        model = UnitsForPretraining(UnitsConfig(**TINY, hidden_dropout=0, min_crop=1)).train()
        phase = torch.rand(16, 4, 1) * 6
        signal = torch.sin(torch.arange(64) / 5 + phase)
        hidden = torch.arange(8).expand(16, -1) % 4 > 0
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        losses = []
        for _ in range(60):
            loss = model(signal, hidden).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.5 * losses[0]

    def test_round_trip(self, tmp_path, poisoned_memory):  # noqa: F811 - the fixture
        model = UnitsForPretraining(UnitsConfig(**TINY)).eval()
        with torch.no_grad():
            model.mask_tokens.normal_()
        model.save_pretrained(tmp_path)
        again, info = UnitsForPretraining.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info.values()), info
        for (name, ours), theirs in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
            assert torch.equal(ours, theirs), name
        encoder = UnitsModel.from_pretrained(tmp_path)
        assert torch.equal(encoder.prompt_tokens, model.units.prompt_tokens)
        encoder.save_pretrained(tmp_path / "encoder")
        fresh = UnitsForPretraining.from_pretrained(tmp_path / "encoder")
        assert torch.equal(fresh.mask_tokens, torch.zeros(1, 4, 1, 16))

    def test_shapes_that_do_not_fit(self):
        model = UnitsForPretraining(UnitsConfig(**TINY))
        with pytest.raises(SchemaError, match="masked_tokens"):
            model(torch.randn(1, 4, 64), torch.ones(1, 9, dtype=torch.bool))
        with pytest.raises(SchemaError, match="EcgFeatureExtractor"):
            model(torch.randn(4, 64))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestInput:
    @pytest.mark.parametrize("shape", [(1, 3, 60), (1, 12, 60), (2, 60), (1, 0, 60), (1, 4, 0)])
    def test_shapes_that_do_not_fit(self, case, shape):
        with pytest.raises(SchemaError, match="EcgFeatureExtractor"):
            case.build()(torch.zeros(shape))

    def test_records_that_are_too_long(self, case):
        with pytest.raises(SchemaError, match="at most 20 patches of 8 samples, but has 161"):
            case.build()(torch.zeros(1, 4, 161))

    def test_a_channel_mask_of_another_shape(self, case):
        with pytest.raises(SchemaError, match="channel_mask"):
            case.build()(case.batch(2)["signal"], torch.ones(2, 3, dtype=torch.bool))

    def test_export(self, case):
        model, batch = case.build(), case.batch(2)
        exported = torch.export.export(model, (), batch).module()
        torch.testing.assert_close(exported(**batch).logits, model(**batch).logits, atol=1e-5, rtol=1e-5)

    def test_hidden_states(self, case):
        output = case.build()(**case.batch(2), output_hidden_states=True)
        assert len(output.hidden_states) == 3
        assert output.hidden_states[0].shape == output.last_hidden_state.shape == (2, 4 * 12, 16)
        assert torch.equal(output.hidden_states[-1], output.last_hidden_state)

    def test_scale_and_offset_of_a_channel_have_no_effect(self, case):
        model, batch = case.build(), case.batch(2)
        other = {**batch, "signal": batch["signal"] * torch.tensor([2.0, 3, 100, 5])[:, None] + 7}
        torch.testing.assert_close(model(**other).logits, model(**batch).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_channels": 0},
        {"hidden_size": 36},
        {"hidden_size": 15, "num_attention_heads": 5},
        {"intermediate_size": 31},
        {"token_map_size": 10},
        {"reconstruction_map_size": 4},
        {"hidden_dropout": 1},
        {"mask_ratio": [0.8, 0.7]},
        {"right_mask_probability": 1.1},
        {"min_crop": 0},
    ],
)
def test_configurations_that_cannot_be(fields):
    with pytest.raises(OptionError, match=next(iter(fields))):
        UnitsConfig(**fields)
