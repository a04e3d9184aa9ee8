"""BIOT: what all encoders do, the recorded numbers of the published one, its converter and its pretraining."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from model_contract import ModelCase, ModelContract, poisoned_memory, vocabulary_fields  # noqa: F401 - a fixture
from reference_states import assert_fingerprint, reference_input, reference_state

from climb_hf.errors import CorruptFileError, OptionError, SchemaError
from climb_hf.models import BiotConfig, BiotForClassification, BiotForPretraining, BiotModel
from climb_hf.models.biot.convert_biot import convert_checkpoint
from climb_hf.models.biot.modeling_biot import LinearAttention, frame_spectra, positions
from climb_hf.models.biot.pretraining_biot import draw_kept_frames
from climb_hf.processing.eeg_extractor import EegFeatureExtractor

TINY = {
    "num_channels": 4,
    "fft_size": 20,
    "hop_length": 10,
    "max_frames": 12,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def inputs(*, mask: bool = False, ids: bool = False):
    def make(n, generator):
        batch = {"signal": torch.randn(n, 4, 70, generator=generator)}
        if mask:
            batch["channel_mask"] = torch.rand(n, 4, generator=generator) < 0.7
            batch["channel_mask"][:, 0] = True
        if ids:
            batch["channel_ids"] = torch.rand(n, 6, generator=generator).argsort(1)[:, :4]
        return batch

    return make


CASES = [
    ModelCase(
        name=name,
        config=lambda extra=extra: BiotConfig(**TINY, **extra, **vocabulary_fields()),
        base=BiotModel,
        classifier=BiotForClassification,
        inputs=make,
    )
    for name, extra, make in (
        ("biot", {}, inputs()),
        ("biot-absent-channels", {}, inputs(mask=True)),
        ("biot-channels-by-number", {"num_channel_tokens": 6}, inputs(mask=True, ids=True)),
    )
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestContract(ModelContract):
    pass


def biot_state(
    channels: int = 16,
    *,
    classes: int = 6,
    width: int = 256,
    depth: int = 4,
    bins: int = 101,
    prediction: bool = False,
) -> dict[str, torch.Tensor]:
    """The reference's names and shapes, `biot.` and all."""
    shapes: dict[str, tuple[int, ...]] = {
        "biot.patch_embedding.projection.weight": (width, bins),
        "biot.patch_embedding.projection.bias": (width,),
        "biot.channel_tokens.weight": (channels, width),
    }
    for index in range(depth):
        layer = f"biot.transformer.layers.layers.{index}."
        for part in "01":
            shapes |= {f"{layer}{part}.norm.{kind}": (width,) for kind in ("weight", "bias")}
        shapes |= {f"{layer}0.fn.to_{kind}.weight": (width, width) for kind in ("q", "k", "v", "out")}
        shapes |= {
            f"{layer}0.fn.to_out.bias": (width,),
            f"{layer}1.fn.fn.w1.weight": (4 * width, width),
            f"{layer}1.fn.fn.w1.bias": (4 * width,),
            f"{layer}1.fn.fn.w2.weight": (width, 4 * width),
            f"{layer}1.fn.fn.w2.bias": (width,),
        }
    if classes:
        shapes |= {"classifier.clshead.1.weight": (classes, width), "classifier.clshead.1.bias": (classes,)}
    if prediction:
        shapes |= {f"prediction.{index}.weight": (width, width) for index in (0, 2)}
        shapes |= {f"prediction.{index}.bias": (width,) for index in (0, 2)}
    kept = {"biot.index": torch.arange(channels), "biot.positional_encoding.pe": positions(1000, width)[None]}
    return reference_state(shapes, kept)


def small_state(channels: int = 4, **kinds) -> dict[str, torch.Tensor]:
    return biot_state(channels, width=32, depth=2, bins=11, **kinds)


SMALL = {"hop_length": 10, "num_attention_heads": 4}


def renamed(state, old: str, new: str) -> dict[str, torch.Tensor]:
    return {new + name.removeprefix(old) if name.startswith(old) else name: value for name, value in state.items()}


def parameters(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


class TestPublished:
    def test_logits_and_feature(self):
        state = biot_state()
        assert len(state) == 59
        model = convert_checkpoint(state)
        assert type(model) is BiotForClassification
        assert parameters(model) == 3_187_718
        with torch.no_grad():
            output = model(reference_input(2, 16, 2000))
        assert output.last_hidden_state.shape == (2, 304, 256)
        assert_fingerprint(output.logits, [-4.23248, -16.1898, -0.0924478, 11.0946], mean=-2.89808, std=9.52557)
        assert_fingerprint(output.pooler_output, [6.95017, -1.94177, 11.9069, 14.0541], std=11.3715)

    def test_feature_of_the_last_two_of_18_channels(self):
        state = biot_state(18, classes=0)
        expected = [6.64801, -2.13519, 12.2355, 13.3141]
        signal = reference_input(2, 2, 6000)
        with torch.no_grad():
            by_offset = convert_checkpoint(renamed(state, "biot.", ""), channel_offset=16)(signal)
            model = convert_checkpoint(state)
            by_number = model(signal, channel_ids=torch.tensor([16, 17]))
            masked = model(F.pad(signal, (0, 0, 16, 0)), (torch.arange(18) >= 16).expand(2, -1))
        assert by_offset.last_hidden_state.shape == (2, 118, 256)
        for output in (by_offset, by_number, masked):
            assert_fingerprint(output.pooler_output, expected, std=11.3872)

    def test_sizes_of_the_pretraining_model(self):
        state = biot_state(18, classes=0, prediction=True)
        assert len(state) == 61
        model = convert_checkpoint(state)
        assert type(model) is BiotForPretraining
        assert parameters(model) == 3_318_272

    def test_default_configurations_are_the_published_ones(self):
        with torch.device("meta"):
            assert parameters(BiotForClassification(BiotConfig(num_labels=6))) == 3_187_718
            assert parameters(BiotForPretraining(BiotConfig(num_channel_tokens=18))) == 3_318_272


class TestPieces:
    def test_frames_are_those_of_a_plain_fourier_transform(self):
        signal = torch.randn(2, 3, 250, dtype=torch.float64)
        expected = torch.stack(
            [
                torch.stft(
                    signal[:, channel], 40, 15, window=torch.ones(40).double(), center=False, return_complex=True
                ).abs()
                for channel in range(3)
            ],
            1,
        ).transpose(2, 3)
        torch.testing.assert_close(frame_spectra(signal, 40, 15), expected)
        assert [BiotConfig().num_frames(length) for length in (199, 200, 1000, 2000, 6000)] == [0, 1, 9, 19, 59]

    def test_positions(self):
        table = positions(1000, 256)
        angle = 7 * np.exp(-np.log(10000) * 2 * np.arange(128) / 256)
        np.testing.assert_allclose(table[7, 0::2], np.sin(angle), atol=1e-6)
        np.testing.assert_allclose(table[7, 1::2], np.cos(angle), atol=1e-6)

    def test_attention_in_the_order_that_costs_more(self):
        torch.manual_seed(0)
        layer, tokens = LinearAttention(12, 3, 0.5).double().eval(), torch.randn(2, 5, 12, dtype=torch.float64)
        parts = []
        for head in range(3):
            one = slice(4 * head, 4 * head + 4)
            query = F.linear(tokens, layer.query.weight[one]).softmax(2) / 2
            key = F.linear(tokens, layer.key.weight[one]).softmax(1)
            parts.append(query @ key.transpose(1, 2) @ F.linear(tokens, layer.value.weight[one]))
        torch.testing.assert_close(layer(tokens), layer.proj(torch.cat(parts, 2)))

    def test_what_is_dropped_in_training(self, monkeypatch):
        drawn, plain = [], F.dropout
        monkeypatch.setattr(F, "dropout", lambda x, p, *rest: drawn.append((p, x.shape[1:])) or plain(x, p, *rest))
        CASES[0].build().train()(torch.randn(3, 4, 70))
        blocks = [(0.2, (24, 32))] * 2  # of the attention layers; nothing in the feed-forward layers
        assert [one for one in drawn if one[0]] == [(0.1, (4, 6, 32)), *blocks]

    def test_initial_values(self):
        model = BiotForClassification(BiotConfig(num_hidden_layers=1, num_labels=200))
        layer = model.biot.blocks[0].attn
        assert layer.query.weight.abs().max().item() == pytest.approx(1 / 16, rel=1e-3)  # torch's own: 1 / √256
        assert layer.proj.bias.abs().max().item() == pytest.approx(1 / 16, rel=0.1)
        assert model.biot.channel_embedding.weight.std().item() == pytest.approx(1, rel=0.1)
        assert model.classifier.weight.std().item() == pytest.approx(0.02, rel=0.1)


class TestChannels:
    @pytest.fixture
    def model(self):
        return CASES[0].build()

    def test_absent_channels_are_as_if_they_were_not_there(self, model):
        signal = torch.randn(3, 4, 70)
        mask = torch.tensor([[True, False, True, True], [False, True, False, False], [True, True, True, True]])
        with torch.no_grad():
            together = model(signal.masked_fill(~mask[:, :, None], torch.nan), mask)
            for row, present in enumerate(mask):
                ids = present.nonzero().squeeze(1)
                alone = model(signal[row : row + 1, ids], channel_ids=ids)
                torch.testing.assert_close(together.pooler_output[row], alone.pooler_output[0], atol=1e-6, rtol=1e-5)
                torch.testing.assert_close(together.logits[row], alone.logits[0], atol=1e-6, rtol=1e-5)

    def test_a_recording_without_channels_has_no_feature(self, model):
        output = model(torch.randn(2, 4, 70), torch.tensor([[False] * 4, [True] * 4]))
        assert torch.equal(output.pooler_output[0], torch.zeros(32))
        assert torch.isfinite(output.logits).all()
        output.logits.sum().backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())

    def test_the_order_of_channels_does_not_matter(self, model):
        signal, order = torch.randn(2, 4, 70), torch.tensor([2, 0, 3, 1])
        with torch.no_grad():
            expected = model(signal).logits
            torch.testing.assert_close(model(signal[:, order], channel_ids=order).logits, expected)
            rows = order.expand(2, -1).to(torch.int32)
            torch.testing.assert_close(model(signal[:, order], channel_ids=rows).logits, expected)
            assert not torch.allclose(model(signal[:, order]).logits, expected, atol=1e-3)

    def test_recordings_prepared_by_the_feature_extractor(self):
        model = convert_checkpoint(biot_state(18, depth=1)).eval()
        window = np.random.default_rng(0).standard_normal((2000, 16)).astype(np.float32)
        wide = EegFeatureExtractor.preset("biot_18")(window, 200.0)
        narrow = EegFeatureExtractor.preset("biot")(window, 200.0)
        assert wide["channel_mask"].sum().item() == 16
        with torch.no_grad():
            alone = model(narrow["signal"], channel_ids=torch.arange(16)).logits
            torch.testing.assert_close(model(**wide).logits, alone, atol=1e-4, rtol=1e-4)


class TestConverter:
    @pytest.fixture
    def signal(self):
        return torch.randn(2, 4, 90, generator=torch.Generator().manual_seed(0))

    @pytest.fixture
    def expected(self, signal):
        with torch.no_grad():
            return convert_checkpoint(small_state(), **SMALL)(signal)

    @pytest.mark.parametrize("layout", ["model.", "module.", "lightning", "braindecode", "file", "no-positions"])
    def test_whole_models(self, layout, signal, expected, tmp_path):
        state = small_state()
        if layout in ("model.", "module."):
            state = renamed(state, "", layout)
        elif layout == "lightning":
            state = {"state_dict": renamed(state, "", "model."), "epoch": 3}
        elif layout == "braindecode":
            del state["biot.index"]
            state = renamed(state, "classifier.clshead.1.", "final_layer.classification_head.")
            state = renamed(state, "biot.", "encoder.")
        elif layout == "no-positions":
            del state["biot.positional_encoding.pe"]
        else:
            torch.save(state, tmp_path / "model.ckpt")
            state = tmp_path / "model.ckpt"
        model = convert_checkpoint(state, **SMALL)
        assert type(model) is BiotForClassification
        torch.testing.assert_close(model(signal).logits, expected.logits)

    @pytest.mark.parametrize("prefix", ["", "biot.", "encoder.", "model.biot."])
    def test_encoders(self, prefix, signal, expected):
        model = convert_checkpoint(renamed(small_state(classes=0), "biot.", prefix), **SMALL)
        assert type(model) is BiotModel
        torch.testing.assert_close(model(signal).pooler_output, expected.pooler_output)

    def test_an_encoder_with_more_channels_than_the_input(self, signal):
        state = small_state(6)
        kept = convert_checkpoint(state, num_channels=4, **SMALL)
        first = convert_checkpoint(state, num_channel_tokens=4, **SMALL)
        assert (kept.config.num_channels, kept.config.num_channel_tokens) == (4, 6)
        assert (first.config.num_channels, first.config.num_channel_tokens) == (4, 4)
        assert first.biot.channel_embedding.weight.shape == (4, 32)
        assert torch.equal(kept(signal).logits, first(signal).logits)
        with pytest.raises(SchemaError, match=r"\(batch, 6, time\)"):
            convert_checkpoint(state, **SMALL)(signal)

    def test_shapes_tell_the_sizes(self):
        model = convert_checkpoint(small_state(5, classes=3), num_attention_heads=2, vocabulary=["a", "b", "c"])
        config = model.config
        assert (config.num_channels, config.fft_size, config.hop_length, config.hidden_size) == (5, 20, 100, 32)
        assert (config.num_hidden_layers, config.intermediate_size, config.max_frames) == (2, 128, 1000)
        assert config.vocabulary == ["a", "b", "c"]
        assert convert_checkpoint(small_state()).config.vocabulary == [f"LABEL_{index}" for index in range(6)]

    def test_what_is_missing_is_named(self):
        state = small_state()
        del state["biot.transformer.layers.layers.1.0.fn.to_k.weight"]
        with pytest.raises(CorruptFileError, match=r"1 missing \(biot.blocks.1.attn.key.weight\)"):
            convert_checkpoint(state)

    def test_what_is_left_over_is_named(self):
        with pytest.raises(CorruptFileError, match=r"left over \(stranger\.weight\)"):
            convert_checkpoint({**small_state(), "stranger.weight": torch.zeros(2)})

    @pytest.mark.parametrize("state", [{"conv1.weight": torch.zeros(1, 1, 3)}, {"biot.index": torch.arange(3)}])
    def test_another_architecture_is_refused(self, state):
        with pytest.raises(CorruptFileError, match="it is none of BIOT"):
            convert_checkpoint(state)

    def test_more_channels_than_there_are_tokens(self):
        with pytest.raises(OptionError, match="`num_channel_tokens` is 4"):
            convert_checkpoint(small_state(), num_channels=5)
        with pytest.raises(CorruptFileError, match="of another shape"):
            convert_checkpoint(small_state(), num_channel_tokens=5)


class TestPretraining:
    @pytest.fixture
    def model(self):
        torch.manual_seed(0)
        return BiotForPretraining(BiotConfig(**TINY, num_channel_tokens=6)).eval()

    def test_kept_frames(self):
        generator = torch.Generator().manual_seed(0)
        drawn = torch.stack([draw_kept_frames(16, 7, generator) for _ in range(400)])
        counts = drawn.sum(2).flatten()
        assert counts.unique().tolist() == [3, 4, 5, 6]  # 7 // 2 … 7 - 1
        np.testing.assert_allclose(counts.bincount(minlength=7)[3:] / counts.numel(), 0.25, atol=0.03)
        np.testing.assert_allclose(drawn.float().mean((0, 1)), 4.5 / 7, atol=0.03)  # any frame
        assert (drawn[0] != drawn[0, :1]).any()  # each channel its own
        with pytest.raises(SchemaError, match="longer signals"):
            draw_kept_frames(4, 1)

    def test_kept_frames_are_encoded_alone(self, model):
        signal = torch.randn(2, 4, 70)
        kept = torch.zeros(4, 6, dtype=torch.bool)
        kept[1, :2] = True
        part = model.biot(signal, kept_frames=kept)
        expected = model.biot(signal[:, 1:2, :30], channel_ids=torch.tensor([1]))
        torch.testing.assert_close(part.last_hidden_state, expected.last_hidden_state)
        every = model.biot(signal, kept_frames=torch.ones(4, 6, dtype=torch.bool))
        torch.testing.assert_close(every.pooler_output, model.biot(signal).pooler_output)
        mask = torch.tensor([[True] * 4, [False, True, True, True]])
        kept[0, 3] = True
        part = model.biot(signal, mask, kept_frames=kept).pooler_output[1]
        torch.testing.assert_close(part, expected.pooler_output[1])

    def test_objective(self, model):
        signal, sleep = torch.randn(5, 4, 70), torch.randn(3, 2, 50)
        kept, sleep_kept = draw_kept_frames(4, 6), draw_kept_frames(2, 4)
        given = {"kept_frames": kept, "sleep_kept_frames": sleep_kept}
        output = model(signal, sleep_signal=sleep, **given)
        losses = []
        ids = torch.tensor([4, 5])
        for whole, part in (
            (model.biot(signal), model.biot(signal, kept_frames=kept)),
            (model.biot(sleep, channel_ids=ids), model.biot(sleep, channel_ids=ids, kept_frames=sleep_kept)),
        ):
            first, _, last = model.prediction
            part = last(F.gelu(first(part.pooler_output)))
            cosines = F.cosine_similarity(whole.pooler_output[:, None], part[None], dim=-1)
            losses.append(-(cosines / 0.2).log_softmax(1).diagonal().mean())
        assert output.loss.item() == pytest.approx(sum(losses).item(), rel=1e-5)
        assert list(output) == [
            "loss", "similarities", "sleep_similarities", "pooler_output", "sleep_pooler_output"
        ]  # fmt: skip
        assert list(model(signal, **given)) == ["loss", "similarities", "pooler_output"]
        assert torch.equal(model(signal, **given, return_dict=False)[2], model.biot(signal).pooler_output)
        assert output.similarities.shape == (5, 5)
        assert output.sleep_similarities.shape == (3, 3)
        assert model(signal, **given).loss.item() == pytest.approx(losses[0].item(), rel=1e-5)
        assert model(sleep_signal=sleep, **given).loss.item() == pytest.approx(losses[1].item(), rel=1e-5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert model(signal, **given).similarities.dtype == torch.float32

    def test_the_gradient_reaches_every_parameter(self, model):
        model.train()(torch.randn(4, 4, 70), sleep_signal=torch.randn(4, 2, 70)).loss.backward()
        assert all((parameter.grad != 0).any() for parameter in model.parameters())
        rows = (model.biot.channel_embedding.weight.grad != 0).any(1)
        assert rows.all()

    def test_the_loss_falls(self, model):
        generator = torch.Generator().manual_seed(0)
        time = torch.arange(120) / 20
        rate = torch.linspace(1, 9, 16)[:, None, None]
        signal = torch.sin(2 * torch.pi * rate * time) + 0.3 * torch.randn(16, 4, 120, generator=generator)
        optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-3)
        torch.manual_seed(0)
        losses = []
        for _ in range(40):
            optimizer.zero_grad()
            loss = model(signal).loss
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])

    def test_round_trip(self, model, tmp_path):
        model.save_pretrained(tmp_path)
        again, info = BiotForPretraining.from_pretrained(tmp_path, output_loading_info=True)
        assert not any(info.values()), info
        for (name, ours), theirs in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
            assert torch.equal(ours, theirs), name
        narrow = BiotForClassification.from_pretrained(tmp_path, num_channels=4, vocabulary=["a", "b"])
        assert torch.equal(narrow.biot.channel_embedding.weight, model.biot.channel_embedding.weight)
        with pytest.raises(OptionError, match="`num_channel_tokens` is 6"):
            BiotModel.from_pretrained(tmp_path, num_channels=7)

    def test_a_converted_checkpoint(self):
        model = convert_checkpoint(renamed(small_state(6, classes=0, prediction=True), "", "model."), **SMALL)
        assert type(model) is BiotForPretraining
        assert torch.equal(model.prediction[2].bias, small_state(prediction=True)["prediction.2.bias"])

    def test_batches_that_do_not_fit(self, model):
        with pytest.raises(SchemaError, match="neither"):
            model()
        with pytest.raises(SchemaError, match="channels that the model knows"):
            model(sleep_signal=torch.randn(2, 3, 70))
        for kept in (torch.ones(4, 5, dtype=torch.bool), torch.zeros(4, 6, dtype=torch.bool), torch.ones(4, 6)):
            with pytest.raises(SchemaError, match="kept_frames"):
                model(torch.randn(2, 4, 70), kept_frames=kept)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestInput:
    @pytest.mark.parametrize("shape", [(1, 3, 70), (1, 4, 19), (1, 4, 140), (4, 70), (0, 4, 70)])
    def test_shapes_that_do_not_fit(self, case, shape):
        with pytest.raises(SchemaError, match="EegFeatureExtractor"):
            case.build()(torch.zeros(shape))

    @pytest.mark.parametrize("ids", [[0, 1, 2], [[0, 1, 2, 3]], [0.0, 1.0, 2.0, 3.0], [0, 1, 2, 99], [-1, 0, 1, 2]])
    def test_channel_ids_that_do_not_fit(self, case, ids):
        with pytest.raises(SchemaError, match="channel_ids"):
            case.build()(torch.zeros(2, 4, 70), channel_ids=torch.tensor(ids))

    def test_a_channel_mask_of_another_shape(self, case):
        with pytest.raises(SchemaError, match="channel_mask"):
            case.build()(torch.zeros(2, 4, 70), torch.ones(2, 3, dtype=torch.bool))

    def test_export(self, case):
        model, batch = case.build(), case.batch(2)
        exported = torch.export.export(model, (), batch).module()
        torch.testing.assert_close(exported(**batch).logits, model(**batch).logits, atol=1e-5, rtol=1e-5)

    def test_hidden_states(self, case):
        output = case.build()(**case.batch(2), output_hidden_states=True)
        assert len(output.hidden_states) == 3
        assert output.hidden_states[0].shape == output.last_hidden_state.shape == (2, 24, 32)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("num_channels", {"num_channels": 0}),
        ("fft_size", {"fft_size": 1}),
        ("hidden_size", {"hidden_size": 100}),
        ("hidden_dropout", {"hidden_dropout": 1.0}),
        ("temperature", {"temperature": 0}),
        ("num_channel_tokens", {"num_channel_tokens": 15}),
        ("channel_offset", {"channel_offset": -1}),
        ("channel_offset", {"channel_offset": 3, "num_channel_tokens": 18}),
    ],
)
def test_configurations_that_cannot_be(name, fields):
    with pytest.raises(OptionError, match=name):
        BiotConfig(**fields)
