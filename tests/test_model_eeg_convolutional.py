"""SPaRCNet, ContraWR, CNN-Transformer and FFCL: what all encoders do, their recorded numbers, their converters."""

import copy
import math

import numpy as np
import pytest
import torch
from model_contract import (  # noqa: F401 - a fixture
    ModelCase,
    ModelContract,
    poisoned_memory,
    targets,
    vocabulary_fields,
)
from reference_states import assert_fingerprint, reference_input, reference_state
from torch import nn

from climb_hf.errors import CorruptFileError, OptionError, SchemaError
from climb_hf.models import (
    CnnTransformerConfig,
    CnnTransformerModel,
    ContraWrConfig,
    FfclConfig,
    FfclModel,
    SparcNetConfig,
    SparcNetModel,
)
from climb_hf.models.catalogue import MODELS
from climb_hf.models.cnn_transformer.convert_cnn_transformer import convert_checkpoint as convert_cnn_transformer
from climb_hf.models.cnn_transformer.modeling_cnn_transformer import sinusoids
from climb_hf.models.contrawr.convert_contrawr import convert_checkpoint as convert_contrawr
from climb_hf.models.convolutional import FirstPass
from climb_hf.models.ffcl.convert_ffcl import convert_checkpoint as convert_ffcl
from climb_hf.models.sparcnet.convert_sparcnet import convert_checkpoint as convert_sparcnet
from climb_hf.models.spectrogram import magnitude_spectrogram

BLOCKS = {"num_channels": 4, "n_fft": 20, "hop_length": 5, "hidden_sizes": [8, 16], "hidden_dropout": 0.1}
SPARCNET = {"num_channels": 4, "signal_length": 60, "layers_per_block": 2, "growth_rate": 8, "bottleneck_size": 16}
TRANSFORMER = {"num_segments": 3, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
LSTM = {"signal_length": 60, "num_phases": 5, "lstm_hidden_size": 12}
SIZES = {
    "sparcnet": SPARCNET,
    "contrawr": BLOCKS,
    "cnn_transformer": {**BLOCKS, **TRANSFORMER},
    "ffcl": {**BLOCKS, **LSTM},
}
#: Configuration, encoder, classifier.
FAMILIES = {
    entry.name: tuple(entry.load(kind) for kind in ("Config", "Model", "ForClassification"))
    for entry in MODELS
    if entry.name in SIZES
}
#: Biases before a batch norm are subtracted again in training: their gradients are rounding errors.
UNDONE = ("conv1.bias", "conv2.bias", "downsample.0.bias", "conv.bias")


def windows(n, generator):
    mask = torch.rand(n, 4, generator=generator) < 0.7
    mask[:, 0] = True
    return {"signal": torch.randn(n, 4, 60, generator=generator), "channel_mask": mask}


def case_of(name: str) -> ModelCase:
    config, base, classifier = FAMILIES[name]
    return ModelCase(
        name=name,
        config=lambda: config(**SIZES[name], **vocabulary_fields()),
        base=base,
        classifier=classifier,
        inputs=windows,
        lora=["conv1", "conv2"],
        zero_gradient=UNDONE,
    )


CASES = [case_of(name) for name in FAMILIES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestContract(ModelContract):
    pass


def convolution(name: str, outputs: int, *inputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, *inputs), f"{name}.bias": (outputs,)}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}


def residual_shapes(channels: int = 16, widths=(32, 64, 128, 256)) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (inputs, outputs) in enumerate(zip((channels, *widths), widths, strict=False), start=1):
        block = f"conv{index}."
        shapes |= convolution(f"{block}conv1", outputs, inputs, 3, 3) | norm(f"{block}bn1", outputs)
        shapes |= convolution(f"{block}conv2", outputs, outputs, 3, 3) | norm(f"{block}bn2", outputs)
        shapes |= convolution(f"{block}downsample.0", outputs, inputs, 3, 3) | norm(f"{block}downsample.1", outputs)
    return shapes


def contrawr_shapes(length: int = 2000, classes: int = 6, **blocks) -> dict[str, tuple[int, ...]]:
    return residual_shapes(**blocks) | convolution("classifier.1", classes, blocks.get("widths", (256,))[-1])


def transformer_shapes(length: int = 2000, classes: int = 6, layers: int = 4, hidden: int = 256, **blocks):
    shapes, width = residual_shapes(**blocks), blocks.get("widths", (256,))[-1]
    for index in range(layers):
        layer = f"transformer.layers.{index}."
        shapes |= {
            f"{layer}self_attn.in_proj_weight": (3 * width, width),
            f"{layer}self_attn.in_proj_bias": (3 * width,),
            **convolution(f"{layer}self_attn.out_proj", width, width),
            **convolution(f"{layer}linear1", hidden, width),
            **convolution(f"{layer}linear2", width, hidden),
            **{f"{layer}{part}": (width,) for part in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias")},
        }
    return shapes | convolution("classifier.1", classes, width)


def ffcl_shapes(length: int = 2000, classes: int = 6, hidden: int = 256, **blocks) -> dict[str, tuple[int, ...]]:
    shapes, gates = residual_shapes(**blocks), 4 * hidden
    for layer, inputs in enumerate((length // 20, hidden)):
        shapes |= {f"lstm.weight_ih_l{layer}": (gates, inputs), f"lstm.weight_hh_l{layer}": (gates, hidden)}
        shapes |= {f"lstm.bias_ih_l{layer}": (gates,), f"lstm.bias_hh_l{layer}": (gates,)}
    return shapes | convolution("classifier.1", classes, blocks.get("widths", (256,))[-1] + hidden)


def sparcnet_shapes(
    length: int = 2000, classes: int = 6, channels: int = 16, layers: int = 4, growth: int = 16, inner: int = 256
) -> dict[str, tuple[int, ...]]:
    width = 2 ** (int(math.log2(channels)) + 1)
    shapes = convolution("encoder.conv0", width, channels, 7) | norm("encoder.norm0", width)
    for block in range(1, int(math.log2(length // 4)) + 1):
        for layer in range(1, layers + 1):
            name = f"encoder.denseblock{block}.denselayer{layer}."
            shapes |= norm(f"{name}norm1", width) | convolution(f"{name}conv1", inner, width, 1)
            shapes |= norm(f"{name}norm2", inner) | convolution(f"{name}conv2", growth, inner, 3)
            width += growth
        name = f"encoder.transition{block}."
        shapes |= norm(f"{name}norm", width) | convolution(f"{name}conv", width // 2, width, 1)
        width //= 2
    return shapes | convolution("classifier.1", classes, width)


def published(make, **sizes) -> dict[str, torch.Tensor]:
    shapes = make(**sizes)
    kept = {
        name.replace("running_mean", "num_batches_tracked"): torch.tensor(5)
        for name in shapes
        if name.endswith("running_mean")
    }
    if make is transformer_shapes:
        kept["positional_encoding.pe"] = sinusoids(1000, sizes.get("widths", (256,))[-1])[None]
    return reference_state(shapes, kept)


CONVERTERS = {
    "sparcnet": (convert_sparcnet, sparcnet_shapes),
    "contrawr": (convert_contrawr, contrawr_shapes),
    "cnn_transformer": (convert_cnn_transformer, transformer_shapes),
    "ffcl": (convert_ffcl, ffcl_shapes),
}
#: Entries, parameters, first logits, mean and standard deviation of 2 × 16 × 2000 and six classes.
RECORDED = {
    "sparcnet": (513, 1_141_921, [-0.159408, -0.612128, -0.289625, 0.572593], -0.0923856, 0.391365),
    "contrawr": (86, 1_572_582, [1.32109, 0.688055, -2.75815, 2.81514], 1.28965, 2.11224),
    "cnn_transformer": (135, 3_155_686, [0.170228, -0.573346, -0.995469, 0.0709838], -0.351902, 0.412215),
    "ffcl": (94, 2_467_046, [0.95401, -2.13797, 1.52506, 1.92413], 0.661423, 1.48858),
}
WIDTHS = {"sparcnet": 63, "contrawr": 256, "cnn_transformer": 256, "ffcl": 512}


@pytest.mark.parametrize("name", FAMILIES)
class TestConverters:
    def test_recorded_numbers(self, name):
        convert, shapes = CONVERTERS[name]
        entries, parameters, first, mean, std = RECORDED[name]
        state = published(shapes)
        assert len(state) == entries
        model = convert(state)
        assert type(model) is FAMILIES[name][2]
        assert model.num_parameters() == parameters
        assert model.config.vocabulary == [f"LABEL_{index}" for index in range(6)]
        counters = [value for key, value in model.state_dict().items() if key.endswith("num_batches_tracked")]
        assert counters
        assert all(value.dtype == torch.int64 and value.item() == 5 for value in counters)
        with torch.no_grad():
            output = model(reference_input(2, 16, 2000))
        assert_fingerprint(output.logits, first, mean=mean, std=std)
        assert output.pooler_output.shape == (2, WIDTHS[name])
        assert output.last_hidden_state.shape == (2, 5 if name == "cnn_transformer" else 1, WIDTHS[name])

    def test_an_encoder_in_a_training_checkpoint(self, name):
        convert, shapes = CONVERTERS[name]
        state = published(shapes)
        bare = {key: value for key, value in state.items() if not key.startswith("classifier")}
        model = convert({"state_dict": {f"model.{key}": value for key, value in bare.items()}, "epoch": 3})
        assert type(model) is FAMILIES[name][1]
        signal = reference_input(2, 16, 2000)
        with torch.no_grad():
            pooled, expected = model(signal).pooler_output, convert(state)(signal).pooler_output
        assert torch.equal(pooled, expected)

    def test_counters_may_be_absent(self, name):
        convert, shapes = CONVERTERS[name]
        state = reference_state(shapes())  # nor has the transformer's its table of positions
        model = convert(state, vocabulary=list("abcdef"), dropout=0.1)
        counters = [value for key, value in model.state_dict().items() if key.endswith("num_batches_tracked")]
        assert all(value.dtype == torch.int64 and value.item() == 0 for value in counters)
        assert (model.config.vocabulary, model.config.dropout) == (list("abcdef"), 0.1)
        with torch.no_grad():
            assert_fingerprint(model(reference_input(2, 16, 2000)).logits, RECORDED[name][2])

    @pytest.mark.parametrize("length", [1000, 1500, 3000])
    def test_other_lengths(self, name, length):
        convert, shapes = CONVERTERS[name]
        model = convert(published(shapes, length=length, classes=1))
        with torch.no_grad():
            output = model(reference_input(2, 16, length))
        assert output.logits.shape == (2, 1)
        assert torch.isfinite(output.logits).all()
        torch.testing.assert_close(output.last_hidden_state.mean(1), output.pooler_output)
        places = {"sparcnet": 1, "contrawr": {3000: 2}.get(length, 1), "cnn_transformer": 5, "ffcl": 1}
        assert output.last_hidden_state.shape[1] == places[name]
        if (name, length) in (("sparcnet", 1000), ("ffcl", 1000)):  # recorded for six classes
            expected = {"sparcnet": 991_531, "ffcl": 2_415_846}[name]
            assert model.num_parameters() == expected - 5 * (WIDTHS[name] + 1)

    def test_other_sizes(self, name):
        convert, shapes = CONVERTERS[name]
        sizes = {"channels": 5, "widths": (12, 20, 24)}
        if name == "sparcnet":
            sizes = {"channels": 5, "length": 500, "layers": 3, "growth": 12, "inner": 40}
        elif name == "ffcl":
            sizes |= {"length": 500, "hidden": 28}
        elif name == "cnn_transformer":
            sizes |= {"layers": 2, "hidden": 48}
        model = convert(published(shapes, **sizes), **({"num_segments": 4} if name == "cnn_transformer" else {}))
        output = model(reference_input(3, 5, 500))
        assert torch.isfinite(output.logits).all()
        assert output.pooler_output.shape == (3, model.config.hidden_size)

    def test_what_is_missing_or_left_over_is_named(self, name):
        convert, shapes = CONVERTERS[name]
        state = published(shapes)
        lost = dict(state)
        del lost[next(key for key in state if key.endswith(("norm1.bias", "bn1.bias")))]
        with pytest.raises(CorruptFileError, match="1 missing"):
            convert(lost)
        with pytest.raises(CorruptFileError, match=r"left over \(stranger\.weight\)"):
            convert({**state, "stranger.weight": torch.zeros(2)})

    def test_another_architecture_is_refused(self, name):
        convert, _ = CONVERTERS[name]
        for other, (_, shapes) in CONVERTERS.items():
            if other != name:
                with pytest.raises(CorruptFileError, match=r"it is none of|left over|missing"):
                    convert(published(shapes))
        with pytest.raises(CorruptFileError, match="it is none of"):
            convert({"conv1.weight": torch.zeros(1, 1, 3)})

    def test_another_vocabulary_is_refused(self, name):
        convert, shapes = CONVERTERS[name]
        with pytest.raises(CorruptFileError, match=r"classifier\.weight \(6, \d+\) instead of \(2, \d+\)"):
            convert(published(shapes), vocabulary=["a", "b"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestEncoders:
    @pytest.mark.parametrize("shape", [(1, 3, 60), (2, 60), (1, 0, 60), (1, 4, 7)])
    def test_shapes_that_do_not_fit(self, case, shape):
        with pytest.raises(SchemaError, match=r"EegFeatureExtractor|half|samples"):
            case.build()(torch.zeros(shape))

    def test_a_channel_mask_of_another_shape(self, case):
        with pytest.raises(SchemaError, match="channel_mask"):
            case.build()(torch.zeros(2, 4, 60), torch.ones(2, 3, dtype=torch.bool))

    def test_what_absent_channels_hold_has_no_effect(self, case):
        model, inputs = case.build(), case.batch()
        expected = model(**inputs).logits
        zeros, junk = inputs["signal"].clone(), inputs["signal"].clone()
        zeros[~inputs["channel_mask"]] = 0
        junk[~inputs["channel_mask"]] = torch.nan
        assert torch.equal(model(zeros).logits, expected)
        assert torch.equal(model(junk, inputs["channel_mask"]).logits, expected)

    def test_the_head_reads_the_activated_feature(self, case):
        model = case.build()
        output = model(**case.batch())
        feature = output.pooler_output
        assert (feature < 0).any()
        activated = torch.where(feature > 0, feature, feature.exp() - 1)
        torch.testing.assert_close(model.classifier(activated), output.logits)

    @pytest.mark.parametrize("reentrant", [False, True])
    def test_a_recomputed_batch_counts_once(self, case, reentrant):
        model = case.build().train()
        other = copy.deepcopy(model)
        enable = getattr(other, "activation_checkpointing_enable", None) or other.gradient_checkpointing_enable
        enable({"use_reentrant": reentrant})
        inputs = case.batch()
        inputs["signal"].requires_grad_()  # re-entrant checkpoints need it
        for one in (model, other):
            torch.manual_seed(0)
            for _ in range(2):  # two passes before one backward pass, as in gradient accumulation
                loss = one(**inputs, **targets()).loss + one(**inputs, **targets()).loss
                loss.backward()
        for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(theirs.grad, ours.grad, atol=1e-6, rtol=1e-4)
        for (name, ours), theirs in zip(model.named_buffers(), other.buffers(), strict=True):
            assert torch.equal(theirs, ours), name
            if name.endswith("num_batches_tracked"):
                segments = 3 if case.name == "cnn_transformer" else 1
                assert ours.item() == 4 * segments

    def test_activations_are_recomputed(self, case):
        def kept(model) -> int:
            kept = []
            with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one) or one, lambda one: one):
                model(**case.batch(), **targets())
            return sum(tensor.numel() for tensor in kept)

        model = case.build().train()
        before = kept(model)
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable()
        assert kept(model) < (0.95 if case.name == "ffcl" else 0.7) * before  # not the LSTM's

    def test_one_graph(self, case):
        if case.name == "ffcl":
            pytest.skip("torch.compile leaves an LSTM to its own kernel, which is a graph of its own")
        model, inputs = case.build().eval(), case.batch()
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(**inputs).logits, model(**inputs).logits)

    def test_export(self, case):
        model, inputs = case.build(), case.batch(2)
        exported = torch.export.export(model, (), inputs).module()
        torch.testing.assert_close(exported(**inputs).logits, model(**inputs).logits, atol=1e-5, rtol=1e-5)

    def test_hidden_states(self, case):
        output = case.build()(**case.batch(2), output_hidden_states=True)
        counts = {"sparcnet": 4, "contrawr": 3, "cnn_transformer": 3, "ffcl": 3}
        assert len(output.hidden_states) == counts[case.name]

    def test_initial_weights(self, case):
        config = case.config()
        model = case.classifier(config)
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d):
                fan = module.weight[0].numel()
                variance = 2 / fan if case.name == "sparcnet" else 1 / (3 * fan)
                assert module.weight.std().item() == pytest.approx(variance**0.5, rel=0.35), name
                assert 0 < module.bias.abs().max() <= fan**-0.5, name
            elif isinstance(module, nn.LSTM):
                assert all(0.9 < parameter.abs().max() * 12**0.5 <= 1 for parameter in module.parameters())
            elif name.endswith("attn.qkv"):
                assert module.weight.std().item() == pytest.approx((2 / (16 + 48)) ** 0.5, rel=0.2)
            elif name.endswith(("mlp.fc1", "mlp.fc2", "attn.proj")):
                assert module.weight.std().item() == pytest.approx((3 * module.in_features) ** -0.5, rel=0.2)
            elif name == "classifier":
                assert torch.equal(module.bias, torch.zeros_like(module.bias))

    def test_the_catalogue_names_its_processor(self, case):
        entry = next(entry for entry in MODELS if entry.name == case.name)
        assert entry.inputs == "eeg"
        extractor = entry.load("processor").preset("spectrogram")
        config = FAMILIES[case.name][0]()
        assert (len(extractor.channels), extractor.sampling_rate) == (config.num_channels, 200)
        assert extractor.length == getattr(config, "signal_length", 2000)


class TestSpectrogram:
    def test_it_is_the_fourier_transform_of_mirrored_windows(self):
        signal = torch.randn(2, 3, 57, dtype=torch.float64)
        mirrored = np.pad(signal.numpy(), ((0, 0), (0, 0), (10, 10)), mode="reflect")
        frames = [mirrored[..., start : start + 20] for start in range(0, 58, 5)]
        expected = np.abs(np.fft.rfft(np.stack(frames, -1), axis=2)) / 20**0.5
        np.testing.assert_allclose(magnitude_spectrogram(signal, 20, 5).numpy(), expected, rtol=1e-10, atol=1e-12)

    def test_half_precision_is_computed_in_single(self):
        signal = torch.randn(1, 2, 50).bfloat16()
        assert torch.equal(magnitude_spectrogram(signal, 20, 5), magnitude_spectrogram(signal.float(), 20, 5))

    def test_a_signal_that_cannot_be_mirrored(self):
        with pytest.raises(SchemaError, match="more than 100 samples, but has 100"):
            magnitude_spectrogram(torch.zeros(1, 1, 100), 200, 10)
        assert magnitude_spectrogram(torch.zeros(1, 1, 101), 200, 10).shape == (1, 1, 101, 11)


class TestSparcNet:
    @pytest.mark.parametrize("length", [8, 60, 1000, 1023, 2000, 2047, 2048, 6000])
    def test_steps(self, length):
        config = SparcNetConfig(signal_length=length, layers_per_block=1, growth_rate=2, bottleneck_size=2)
        assert config.depth == int(math.log2(length // 4))
        output = SparcNetModel(config).eval()(torch.randn(1, 16, length))
        assert output.last_hidden_state.shape == (1, config.steps(length), config.hidden_size)

    def test_too_short_for_its_depth(self):
        model = SparcNetModel(SparcNetConfig(**{**SPARCNET, "signal_length": 2000})).eval()
        assert torch.isfinite(model(torch.randn(1, 4, 1021)).pooler_output).all()
        with pytest.raises(SchemaError, match="at least 1021 samples for 8 dense blocks, but has 1020"):
            model(torch.randn(1, 4, 1020))


class TestCnnTransformer:
    def test_each_token_is_of_its_segment(self):
        torch.manual_seed(0)
        model = CnnTransformerModel(CnnTransformerConfig(**BLOCKS, **TRANSFORMER)).eval()
        signal = torch.randn(2, 4, 60)
        other = signal.clone()
        other[:, :, 20:40] = 0
        tokens, changed = (model(x, output_hidden_states=True).hidden_states[0] for x in (signal, other))
        assert torch.equal((tokens != changed).any(-1), torch.tensor([[False, True, False]] * 2))

    def test_segments_are_normalised_apart_or_together(self):
        torch.manual_seed(0)
        fields = {**BLOCKS, **TRANSFORMER, "hidden_dropout": 0, "position_dropout": 0, "transformer_dropout": 0}
        apart = CnnTransformerModel(CnnTransformerConfig(**fields))
        together = CnnTransformerModel(CnnTransformerConfig(**fields, joint_segments=True))
        together.load_state_dict(apart.state_dict())
        signal = torch.randn(3, 4, 60) * torch.tensor([1.0, 4.0, 9.0]).repeat_interleave(20)
        torch.testing.assert_close(apart.eval()(signal).pooler_output, together.eval()(signal).pooler_output)
        apart.train(), together.train()
        assert not torch.allclose(apart(signal).pooler_output, together(signal).pooler_output, atol=1e-3)
        counts = [model.spectrogram.blocks[0].bn1.num_batches_tracked.item() for model in (apart, together)]
        assert counts == [3, 1]

    def test_a_length_without_equal_segments(self):
        with pytest.raises(SchemaError, match="multiple of 3 samples"):
            CnnTransformerModel(CnnTransformerConfig(**BLOCKS, **TRANSFORMER))(torch.zeros(1, 4, 61))

    def test_a_block_is_torchs_own(self):
        torch.manual_seed(0)
        block = CnnTransformerModel(CnnTransformerConfig(**BLOCKS, **TRANSFORMER)).blocks[0].eval()
        theirs = nn.TransformerEncoderLayer(16, 2, 24, 0.2, "gelu", batch_first=True).eval()
        names = {"self_attn.in_proj_": "attn.qkv.", "self_attn.out_proj": "attn.proj", "linear": "mlp.fc"}
        ours = {}
        for name in theirs.state_dict():
            place = name
            for old, new in names.items():
                place = place.replace(old, new)
            ours[place] = theirs.state_dict()[name]
        block.load_state_dict(ours)
        tokens = torch.randn(2, 3, 16)
        torch.testing.assert_close(block(tokens), theirs(tokens))


class TestFfcl:
    def test_rows_of_the_lstm(self):
        model = FfclModel(FfclConfig(**BLOCKS, **LSTM)).eval()
        signal, seen = torch.randn(2, 4, 60), []
        model.lstm.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
        model(signal)
        assert seen[0].shape == (2, 20, 12)
        for phase in range(5):
            for channel in range(4):
                assert torch.equal(seen[0][:, 4 * phase + channel], signal[:, channel, phase::5])

    def test_the_length_is_part_of_the_model(self):
        with pytest.raises(SchemaError, match=r"\(batch, 4, 60\)"):
            FfclModel(FfclConfig(**BLOCKS, **LSTM))(torch.zeros(1, 4, 80))


def test_only_the_first_pass_counts():
    layer, once = nn.Sequential(nn.BatchNorm1d(2, momentum=None)).train(), FirstPass()
    for factor in (2, 3, 5):
        with once.of(layer):
            layer(torch.tensor([[0.0, 1.0], [2.0, 5.0]]) * factor)
    assert layer[0].momentum is None
    assert layer[0].num_batches_tracked.item() == 1
    assert torch.equal(layer[0].running_mean, torch.tensor([2.0, 6.0]))
    assert torch.equal(layer[0].running_var, torch.tensor([8.0, 32.0]))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (SparcNetConfig, {"signal_length": 7}),
        (SparcNetConfig, {"signal_length": 1000, "num_blocks": 8}),
        (SparcNetConfig, {"growth_rate": 0}),
        (SparcNetConfig, {"hidden_dropout": 1.0}),
        (ContraWrConfig, {"hidden_sizes": []}),
        (ContraWrConfig, {"hop_length": 0}),
        (ContraWrConfig, {"hidden_dropout": -0.1}),
        (CnnTransformerConfig, {"num_attention_heads": 5}),
        (CnnTransformerConfig, {"transformer_dropout": 1.0}),
        (FfclConfig, {"signal_length": 1010}),
        (FfclConfig, {"lstm_dropout": 2.0}),
    ],
)
def test_configurations_that_cannot_be(kind, fields):
    with pytest.raises(OptionError, match=next(iter(fields))):
        kind(**fields)
