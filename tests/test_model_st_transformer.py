"""ST-Transformer: what all encoders do, the recorded numbers of the published one, its converter."""

import pytest
import torch
import torch.nn.functional as F
from model_contract import ModelCase, ModelContract, poisoned_memory, vocabulary_fields  # noqa: F401 - a fixture
from reference_states import assert_fingerprint, reference_input, reference_state

from climb_hf.errors import CorruptFileError, OptionError, SchemaError
from climb_hf.models import StTransformerConfig, StTransformerForClassification, StTransformerModel
from climb_hf.models.st_transformer.convert_st_transformer import convert_checkpoint

TINY = {
    "num_channels": 4,
    "signal_length": 90,
    "pooling_size": 20,
    "score_steps": 4,
    "stem_channels": 8,
    "kernel_size": 5,
    "stride": 3,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def inputs(*, mask: bool = False):
    def make(n, generator):
        batch = {"signal": torch.randn(n, 4, 90, generator=generator)}
        if mask:
            batch["channel_mask"] = torch.rand(n, 4, generator=generator) < 0.7
        return batch

    return make


#: A bias before batch normalisation; and, where the channel attention has no effect, all of its query and key.
IDLE = tuple(
    f"channel_attention.{part}.{layer}.{kind}"
    for part in ("query", "key")
    for layer in ("linear", "norm")
    for kind in ("weight", "bias")
)
CASES = [
    ModelCase(
        name=f"st_transformer-{attention}",
        config=lambda attention=attention: StTransformerConfig(
            **TINY, channel_attention=attention, **vocabulary_fields()
        ),
        base=StTransformerModel,
        classifier=StTransformerForClassification,
        inputs=inputs(mask=attention == "corrected"),
        zero_gradient=("conv1.bias", *(IDLE if attention == "published" else ())),
    )
    for attention in ("published", "corrected")
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestContract(ModelContract):
    pass


def st_state(
    length: int = 2000, *, channels: int = 16, stem: int = 64, kernel: int = 15, width: int = 256, depth: int = 4
) -> dict[str, torch.Tensor]:
    """The reference's names and shapes, its spelling and all."""
    shapes: dict[str, tuple[int, ...]] = {f"channel_attension.fn.0.{kind}": (length,) for kind in ("weight", "bias")}
    for part in ("query", "key", "projection"):
        prefix = f"channel_attension.fn.1.{part}."
        shapes[f"{prefix}0.weight"] = (channels, channels)
        shapes |= {f"{prefix}{name}": (channels,) for name in ("0.bias", "1.weight", "1.bias")}
    shapes |= {
        "patch_embedding.projection.0.weight": (stem, channels, kernel),
        "patch_embedding.projection.0.bias": (stem,),
        "patch_embedding.projection.3.weight": (width, stem, kernel),
        "patch_embedding.projection.3.bias": (width,),
    }
    shapes |= {
        f"patch_embedding.projection.1.{kind}": (stem,) for kind in ("weight", "bias", "running_mean", "running_var")
    }
    for index in range(depth):
        attention, forward = f"transformer.{index}.0.fn.", f"transformer.{index}.1.fn."
        shapes |= {f"{part}0.{kind}": (width,) for part in (attention, forward) for kind in ("weight", "bias")}
        for part in ("keys", "queries", "values", "projection"):
            shapes |= {f"{attention}1.{part}.weight": (width, width), f"{attention}1.{part}.bias": (width,)}
        shapes |= {
            f"{forward}1.0.weight": (4 * width, width),
            f"{forward}1.0.bias": (4 * width,),
            f"{forward}1.3.weight": (width, 4 * width),
            f"{forward}1.3.bias": (width,),
        }
    shapes |= {"classification.1.weight": (6, width), "classification.1.bias": (6,)}
    return reference_state(shapes, {"patch_embedding.projection.1.num_batches_tracked": torch.tensor(0)})


def small_state() -> dict[str, torch.Tensor]:
    return st_state(90, channels=4, stem=8, kernel=5, width=32, depth=2)


SMALL = {"stride": 3, "pooling_size": 20, "num_attention_heads": 4}


class TestPublished:
    def test_logits(self):
        state = st_state()
        assert len(state) == 89
        model = convert_checkpoint(state)
        assert type(model) is StTransformerForClassification
        assert sum(parameter.numel() for parameter in model.parameters()) == 3_427_062
        with torch.no_grad():
            output = model(reference_input(2, 16, 2000))
        assert output.last_hidden_state.shape == (2, 30, 256)
        assert_fingerprint(output.logits, [-0.481747, 2.00474, 0.611001, -0.801145], mean=-0.396631, std=1.33653)

    def test_the_default_configuration_is_the_published_one(self):
        with torch.device("meta"):
            model = StTransformerForClassification(StTransformerConfig(num_labels=6))
        assert sum(parameter.numel() for parameter in model.parameters()) == 3_427_062

    def test_short_recordings(self):
        model = convert_checkpoint(st_state(1000, depth=1))
        assert model.config.signal_length == 1000
        assert model.st_transformer.channel_attention.scale == 20**-0.5  # whatever the length
        assert model(torch.randn(1, 16, 1000)).last_hidden_state.shape == (1, 14, 256)


class TestChannelAttention:
    @staticmethod
    def _mixed(attention: str, signal: torch.Tensor):
        torch.manual_seed(0)
        layer = StTransformerModel(StTransformerConfig(**TINY, channel_attention=attention)).channel_attention.eval()
        layer.projection = torch.nn.Identity()
        return layer, layer(signal)

    def test_as_published_it_has_no_effect(self):
        signal = torch.randn(2, 4, 90)
        torch.testing.assert_close(self._mixed("published", signal)[1], signal)
        model = CASES[0].build()
        before = model(signal).logits
        with torch.no_grad():
            model.st_transformer.channel_attention.query.linear.weight.add_(1)
        torch.testing.assert_close(model(signal).logits, before)

    def test_corrected_it_is_a_sum_over_the_attended_channels(self):
        signal = torch.randn(2, 4, 90)
        layer, mixed = self._mixed("corrected", signal)
        expected = torch.zeros_like(signal)
        for row in range(2):
            pooled = [
                torch.stack([part(signal[row].T)[20 * step : 20 * step + 20].mean(0) for step in range(4)])
                for part in (layer.query, layer.key)
            ]
            scores = pooled[0].T @ pooled[1] / 2  # √4 steps; channels × channels
            for channel in range(4):
                weights = scores[channel].softmax(0)
                expected[row, channel] = sum(weights[other] * signal[row, other] for other in range(4))
        torch.testing.assert_close(mixed, expected)

    def test_the_choice_is_kept_with_the_checkpoint(self, tmp_path):
        CASES[1].build().save_pretrained(tmp_path)
        signal = CASES[0].batch()["signal"]
        loaded = StTransformerForClassification.from_pretrained(tmp_path)
        published = StTransformerForClassification.from_pretrained(tmp_path, channel_attention="published")
        assert loaded.config.channel_attention == "corrected"
        assert not torch.allclose(loaded(signal).logits, published(signal).logits, atol=1e-4)


def test_scores_are_divided_by_the_root_of_the_width():
    attention = CASES[0].build().st_transformer.blocks[0].attn
    tokens = torch.randn(1, 5, 32)
    query, key, value = attention.qkv(tokens)[0].unflatten(1, (3, 4, 8)).permute(1, 2, 0, 3)
    mixed = (query @ key.transpose(1, 2) / 32**0.5).softmax(-1) @ value  # heads of 8
    torch.testing.assert_close(attention(tokens)[0], attention.proj(mixed.transpose(0, 1).flatten(1)))


def test_what_is_dropped_in_training(monkeypatch):
    drawn, plain, attend = [], F.dropout, F.scaled_dot_product_attention
    monkeypatch.setattr(F, "dropout", lambda x, p, *rest: drawn.append((p, x.shape[1:])) or plain(x, p, *rest))
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *a, **k: drawn.append((a[4], "weights")) or attend(*a, **k)
    )
    case = CASES[0]
    case.build().train()(**case.batch())
    tokens = case.config().num_tokens
    channels = [(0.3, (90, 4))] * 3 + [(0.5, (4, 90))]  # query, key, projection; the branch
    block = [(0.5, "weights"), (0.5, (tokens, 32)), (0.5, (tokens, 128)), (0.5, (tokens, 32))]
    assert [one for one in drawn if one[0]] == [*channels, *block, *block]


def test_initial_values():
    model = StTransformerForClassification(StTransformerConfig(num_hidden_layers=1, num_labels=200))
    weight = model.st_transformer.blocks[0].attn.qkv.weight
    assert weight.abs().max().item() == pytest.approx(1 / 16, rel=1e-3)  # torch's own: 1 / √256
    assert model.st_transformer.conv1.bias.abs().max().item() == pytest.approx((16 * 15) ** -0.5, rel=0.1)
    assert model.classifier.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_absent_channels_have_no_effect():
    for case in CASES:
        model, signal = case.build(), torch.randn(2, 4, 90)
        mask = torch.tensor([True, False, True, True]).expand(2, -1)
        other = signal.clone()
        other[:, 1] = torch.nan
        assert torch.equal(model(signal, mask).logits, model(other, mask).logits)


class TestConverter:
    @pytest.mark.parametrize("prefix", ["", "model.", "module."])
    def test_names(self, prefix, tmp_path):
        state = {prefix + name: value for name, value in small_state().items()}
        torch.save({"state_dict": state, "epoch": 1}, tmp_path / "last.ckpt")
        signal = torch.randn(2, 4, 90)
        expected = convert_checkpoint(small_state(), **SMALL)(signal).logits
        torch.testing.assert_close(convert_checkpoint(tmp_path / "last.ckpt", **SMALL)(signal).logits, expected)

    def test_shapes_tell_the_sizes(self):
        config = convert_checkpoint(small_state(), **SMALL, vocabulary=list("abcdef")).config
        assert (config.num_channels, config.signal_length, config.stem_channels, config.kernel_size) == (4, 90, 8, 5)
        assert (config.hidden_size, config.intermediate_size, config.num_hidden_layers) == (32, 128, 2)
        assert config.channel_attention == "published"
        assert config.vocabulary == list("abcdef")

    def test_without_a_head(self):
        state = {name: value for name, value in small_state().items() if not name.startswith("classification.")}
        model = convert_checkpoint(state, **SMALL, channel_attention="corrected")
        assert type(model) is StTransformerModel
        assert torch.isfinite(model(torch.randn(2, 4, 90)).pooler_output).all()

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("transformer.1.1.fn.0.bias", r"1 missing \(st_transformer.blocks.1.norm2.bias\)"),
            ("transformer.1.0.fn.1.keys.bias", r"1 missing .*qkv.bias\); 2 left over .*queries.bias"),
            ("classification.1.weight", r"1 left over \(classification.1.bias\)"),
        ],
    )
    def test_what_is_missing_is_named(self, name, message):
        state = small_state()
        del state[name]
        with pytest.raises(CorruptFileError, match=message):
            convert_checkpoint(state, **SMALL)

    def test_what_is_left_over_is_named(self):
        with pytest.raises(CorruptFileError, match=r"left over \(stranger\.weight\)"):
            convert_checkpoint({**small_state(), "stranger.weight": torch.zeros(2)}, **SMALL)

    def test_another_architecture_is_refused(self):
        with pytest.raises(CorruptFileError, match="it is none of ST-Transformer"):
            convert_checkpoint({"conv1.weight": torch.zeros(1, 1, 3)})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestInput:
    @pytest.mark.parametrize("shape", [(1, 3, 90), (1, 4, 91), (4, 90), (0, 4, 90)])
    def test_shapes_that_do_not_fit(self, case, shape):
        with pytest.raises(SchemaError, match="EegFeatureExtractor"):
            case.build()(torch.zeros(shape))

    def test_a_channel_mask_of_another_shape(self, case):
        with pytest.raises(SchemaError, match="channel_mask"):
            case.build()(torch.zeros(2, 4, 90), torch.ones(2, 3, dtype=torch.bool))

    def test_export(self, case):
        model, batch = case.build(), case.batch(2)
        exported = torch.export.export(model, (), batch).module()
        torch.testing.assert_close(exported(**batch).logits, model(**batch).logits, atol=1e-5, rtol=1e-5)

    def test_hidden_states(self, case):
        output = case.build()(**case.batch(2), output_hidden_states=True)
        assert len(output.hidden_states) == 3
        assert output.hidden_states[0].shape == output.last_hidden_state.shape == (2, case.config().num_tokens, 32)


@pytest.mark.parametrize(
    "fields",
    [
        {"num_channels": 0},
        {"signal_length": 126},
        {"channel_attention": "repaired"},
        {"hidden_size": 100},
        {"attention_dropout": 1.0},
    ],
)
def test_configurations_that_cannot_be(fields):
    with pytest.raises(OptionError, match=next(iter(fields))):
        StTransformerConfig(**fields)
