"""MedViT: what all encoders do, the recorded numbers of the published one, and its converter."""

from argparse import Namespace

import pytest
import torch
from model_contract import (
    ModelCase,
    ModelContract,
    assert_same_tensors,
    forward,
    poisoned_memory,  # noqa: F401 - a fixture
    vocabulary_fields,
)
from reference_states import assert_fingerprint, reference_input, reference_state
from transformers import AutoImageProcessor, AutoModelForImageClassification, AutoModelForVideoClassification

from climb_hf.errors import CorruptFileError, OptionError, SchemaError
from climb_hf.models import MedVitConfig, MedVitForClassification, MedVitModel
from climb_hf.models.medvit.convert_medvit import convert_checkpoint
from climb_hf.processing.image_processor import ClimbImageProcessor

TINY = {
    "stem_widths": [8, 8, 8, 8],
    "depths": [1, 1, 5, 1],
    "conv_widths": [8, 16, 24, 32],
    "transformer_widths": [32, 32, 32],
    "head_dim": 8,
    "image_size": 40,
    "drop_path_rate": 0.0,
}
PUBLISHED = {  # parameters with 1000 classes, without head, entries of the state dictionary
    "small": ([3, 4, 10, 3], 32_161_440, 31_136_440, 832),
    "base": ([3, 4, 20, 3], 45_430_972, 44_405_972, 1232),
    "large": ([3, 4, 30, 3], 58_700_504, 57_675_504, 1632),
}


def tiny(**fields):
    return MedVitConfig(**{**TINY, **vocabulary_fields(), **fields})


def images(rows, generator):
    return {"pixel_values": torch.randn(rows, 3, 40, 40, generator=generator)}


def videos(rows, generator):
    pixels = torch.randn(rows, 3, 3, 40, 40, generator=generator)
    return {"pixel_values": pixels, "frame_mask": torch.arange(3) < 1 + torch.arange(rows)[:, None] % 3}


CASES = [
    ModelCase(
        name=name,
        config=tiny,
        base=MedVitModel,
        classifier=MedVitForClassification,
        inputs=inputs,
        lora=["query", "key", "value", "output", "narrow"],
        zero_gradient=("key.bias",),  # the same number added to every score
    )
    for name, inputs in (("images", images), ("videos", videos))
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestContract(ModelContract):
    pass


def norm(name, width):
    return {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}


def block_shapes(block, channels, width, *, stride, ratio, head_dim=32, transformer=False):
    """Names and shapes of one published block."""
    first = 3 * width // 4 if transformer else width
    local = width - first if transformer else width
    expansion = 2 if transformer else 3
    hidden = expansion * width
    shapes = {}
    if stride == 2 or channels != first:
        shapes |= {
            f"{block}patch_embed.conv.weight": (first, channels, 1, 1),
            **norm(f"{block}patch_embed.norm", first),
        }
    if transformer:
        shapes |= norm(f"{block}norm1", first)
        for part in ("q", "k", "v", "proj"):
            shapes |= {f"{block}e_mhsa.{part}.weight": (first, first), f"{block}e_mhsa.{part}.bias": (first,)}
        shapes |= norm(f"{block}e_mhsa.norm", first) if ratio > 1 else {}
        shapes |= {f"{block}projection.conv.weight": (local, first, 1, 1), **norm(f"{block}projection.norm", local)}
    shapes |= {
        f"{block}mhca.group_conv3x3.weight": (local, head_dim, 3, 3),
        **norm(f"{block}mhca.norm", local),
        f"{block}mhca.projection.weight": (local, local, 1, 1),
        f"{block}conv.conv.0.weight": (hidden, width, 1, 1),
        **norm(f"{block}conv.conv.1", hidden),
        f"{block}conv.conv.3.weight": (hidden, 1, 3, 3),
        **norm(f"{block}conv.conv.4", hidden),
        f"{block}conv.conv.6.fc.0.weight": (expansion, hidden),
        f"{block}conv.conv.6.fc.0.bias": (expansion,),
        f"{block}conv.conv.6.fc.2.weight": (hidden, expansion),
        f"{block}conv.conv.6.fc.2.bias": (hidden,),
        f"{block}conv.conv.7.weight": (width, hidden, 1, 1),
        **norm(f"{block}conv.conv.8", width),
        **norm(f"{block}{'norm2' if transformer else 'norm'}", width),
    }
    return shapes


def published_state(depths, classes=1000, *, conv=(96, 192, 384, 768), mixed=(256, 512, 1024), head_dim=32, draw=True):
    """A state dictionary in the published names; on the meta device where nothing is drawn."""
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 3
    for index, width in enumerate((64, 32, 64, 64)):
        shapes |= {f"stem.{index}.conv.weight": (width, channels, 3, 3), **norm(f"stem.{index}.norm", width)}
        channels = width
    block = 0
    for stage, depth in enumerate(depths):
        for place in range(depth):
            transformer = (stage in (1, 3) and place == depth - 1) or (stage == 2 and place % 5 == 4)
            width = mixed[stage - 1] if transformer else conv[stage]
            kind = {
                "stride": 2 if stage and place == 0 else 1,
                "ratio": (8, 4, 2, 1)[stage],
                "transformer": transformer,
            }
            shapes |= block_shapes(f"features.{block}.", channels, width, head_dim=head_dim, **kind)
            channels, block = width, block + 1
    shapes |= norm("norm", channels)
    if classes:
        shapes |= {"proj_head.0.weight": (classes, channels), "proj_head.0.bias": (classes,)}
    counters = [
        name.replace("running_mean", "num_batches_tracked") for name in shapes if name.endswith("running_mean")
    ]
    if draw:
        return reference_state(shapes, {name: torch.tensor(0) for name in counters})
    return {name: torch.empty(shape, device="meta") for name, shape in (shapes | dict.fromkeys(counters, ())).items()}


def small_state(classes=5, **fields):
    return published_state((2, 2, 6, 2), classes, conv=(16, 16, 32, 48), mixed=(32, 64, 96), head_dim=8, **fields)


@pytest.fixture(scope="module")
def recorded():
    with torch.no_grad():
        model = convert_checkpoint({"model": published_state(PUBLISHED["small"][0])})
        return model, model(reference_input(1, 3, 224, 224), output_hidden_states=True)


class TestRecordedNumbers:
    def test_stages(self, recorded):
        states = recorded[1].hidden_states
        stem = [0.514241, 0.394217, 0.322679, 0.677758]
        assert_fingerprint(states[0], stem, mean=0.161071, std=0.240959, rtol=1e-3)
        assert_fingerprint(states[1], [0.208649, 0.0474718, -0.0724384, -0.302775], std=0.771835, rtol=1e-3)
        assert states[4].shape == (1, 192, 28, 28)
        assert_fingerprint(states[4], [-9.4493, -10.4006, -8.96778, -7.48513], std=10.272, rtol=1e-3)
        assert states[7].shape == (1, 256, 28, 28)
        assert_fingerprint(states[7], [-7.64534, 26.7992, 40.6771, 57.8248], std=165.608, rtol=1e-3)
        assert states[12].shape == (1, 512, 14, 14)
        assert_fingerprint(states[12], [1393.48, 3040.55, 6979.94, 6744.38], rtol=1e-3)

    def test_feature_and_logits(self, recorded):
        outputs = recorded[1]
        feature = [-1.94415e6, -1.36348e6, 9.36279e6, -2.28728e7]
        assert_fingerprint(outputs.pooler_output, feature, std=1.5567e7, rtol=1e-3)
        assert_fingerprint(outputs.logits, [3.00843e7, -1.10789e7, 1.29353e7, 5.47105e6], rtol=1e-3)

    def test_sizes_that_shapes_tell(self, recorded):
        config = recorded[0].config
        expected = MedVitConfig.preset("small")
        fields = ("depths", "stem_widths", "conv_widths", "transformer_widths", "head_dim", "num_channels")
        for name in (*fields, "conv_expansion", "transformer_expansion", "hidden_size"):
            assert getattr(config, name) == getattr(expected, name), name
        assert config.vocabulary == [f"LABEL_{index}" for index in range(1000)]

    @pytest.mark.parametrize("size", PUBLISHED)
    def test_counts(self, size):
        depths, with_head, without, entries = PUBLISHED[size]
        state = published_state(depths, draw=False)
        assert len(state) == entries
        with torch.device("meta"):
            model = MedVitForClassification(MedVitConfig.preset(size, num_labels=1000))
        assert model.config.depths == depths
        assert len(model.state_dict()) == entries
        assert sum(parameter.numel() for parameter in model.parameters()) == with_head
        assert sum(parameter.numel() for parameter in model.medvit.parameters()) == without


class TestConverter:
    def test_other_sizes(self):
        model = convert_checkpoint(small_state())
        assert model.config.depths == [2, 2, 6, 2]
        assert (model.config.conv_widths, model.config.transformer_widths) == ([16, 16, 32, 48], [32, 64, 96])
        assert len(model.config.vocabulary) == 5
        assert torch.isfinite(forward(model, {"pixel_values": torch.randn(2, 3, 50, 70)}).logits).all()

    def test_stages_of_one_block(self):
        depths = (1, 1, 2, 1)  # the third stage has no transformer block
        model = convert_checkpoint(published_state(depths, 0, conv=(16, 16, 32, 48), mixed=(32, 64, 96), head_dim=8))
        assert type(model) is MedVitModel
        assert model.config.depths == list(depths)
        assert (model.config.transformer_widths[0], model.config.transformer_widths[2]) == (32, 96)

    def test_stages_that_widths_do_not_tell(self):
        same = {"conv": (16, 16, 16, 16), "mixed": (32, 32, 32), "head_dim": 8}
        for depths in ((1, 1, 1, 1), (1, 3, 1, 1), (2, 2, 4, 2)):
            assert convert_checkpoint(published_state(depths, 0, **same)).config.depths == list(depths)
        state = published_state((1, 1, 5, 2), 0, **same)  # these shapes could also be (1, 1, 6, 1)
        assert convert_checkpoint(state, depths=[1, 1, 5, 2]).config.depths == [1, 1, 5, 2]
        with pytest.raises(CorruptFileError, match="does not fit"):
            convert_checkpoint(state, depths=[2, 1, 5, 1])
        with pytest.raises(CorruptFileError, match=r"form 3 stages by their widths, not 4\. Pass `depths"):
            convert_checkpoint(published_state((2, 2, 4, 0), 0))

    def test_the_files_wrapper_and_its_options(self, tmp_path):
        state = small_state()
        torch.save({"model": state, "args": Namespace(lr=0.1), "epoch": 3}, tmp_path / "medvit.pth")
        model = convert_checkpoint(tmp_path / "medvit.pth", vocabulary=["a", "b", "c", "d", "e"], drop_path_rate=0.3)
        assert not model.training
        assert model.config.vocabulary == ["a", "b", "c", "d", "e"]
        assert torch.equal(model.classifier.weight, state["proj_head.0.weight"])

    def test_the_names_of_the_papers_classifier(self):
        state = small_state(classes=0)
        feature = forward(convert_checkpoint(state), {"pixel_values": (pixels := torch.randn(1, 2, 3, 40, 40))})
        wrapped = {f"_orig_mod.vision_model.{name}": value for name, value in state.items()}
        wrapped |= {
            "_orig_mod.vision_model.proj_head.0.weight": torch.zeros(0, 96),
            "_orig_mod.vision_model.proj_head.0.bias": torch.zeros(0),
        }
        assert type(convert_checkpoint(wrapped)) is MedVitModel
        wrapped |= {"_orig_mod.fc.weight": torch.randn(4, 96), "_orig_mod.fc.bias": torch.randn(4)}
        model = convert_checkpoint(wrapped)
        expected = feature.pooler_output @ wrapped["_orig_mod.fc.weight"].T + wrapped["_orig_mod.fc.bias"]
        torch.testing.assert_close(forward(model, {"pixel_values": pixels}).logits, expected)

    def test_what_does_not_fit_is_named(self):
        state = small_state(draw=False)
        with pytest.raises(CorruptFileError, match=r"1 left over \(medvit.blocks.0.stranger\)"):
            convert_checkpoint({**state, "features.0.stranger": torch.zeros(2)})
        with pytest.raises(CorruptFileError, match="it is none of MedViT"):
            convert_checkpoint({"stages.0.weight": torch.zeros(2)})
        del state["features.3.e_mhsa.k.bias"]
        with pytest.raises(CorruptFileError, match=r"1 missing \(medvit.blocks.3.attention.key.bias\)"):
            convert_checkpoint(state)


class TestBlocks:
    def test_which_blocks_are_transformers(self):
        config = MedVitConfig.preset("base")
        found = [config.transformer_blocks(stage) for stage in range(4)]
        assert found[0] == [False] * 3
        assert found[1] == [False, False, False, True]
        assert found[2] == [False, False, False, False, True] * 4
        assert found[3] == [False, False, True]
        assert [config.attention_width(width) for width in config.transformer_widths] == [192, 384, 768]

    def test_drop_path_rates_rise_over_all_blocks(self):
        with torch.device("meta"):
            blocks = MedVitModel(MedVitConfig.preset("small")).blocks
        assert [blocks[0].drop, blocks[1].drop] == pytest.approx([0, 0.1 / 19])
        assert blocks[6].global_drop == pytest.approx(0.75 * 0.1 * 6 / 19)
        assert blocks[19].local_drop == pytest.approx(0.25 * 0.1)

    def test_drop_path_works_in_training_only(self):
        torch.manual_seed(0)
        model = MedVitModel(tiny(drop_path_rate=0.9))
        pixels = torch.randn(2, 3, 40, 40)
        assert torch.equal(model.eval()(pixels).pooler_output, model(pixels).pooler_output)
        for module in model.modules():
            module.training = hasattr(module, "drop") or hasattr(module, "global_drop")  # batch norms stay
        assert not torch.equal(model(pixels).pooler_output, model(pixels).pooler_output)

    def test_padding_changes_nothing_to_the_last_bit(self):
        torch.manual_seed(0)
        model = MedVitForClassification(tiny()).eval()
        pixels = torch.randn(2, 2, 3, 40, 40)
        expected = forward(model, {"pixel_values": pixels})
        padded, mask = torch.full((2, 4, 3, 40, 40), torch.nan), torch.zeros(2, 4, dtype=torch.bool)
        padded[:, [1, 3]], mask[:, [1, 3]] = pixels, True
        found = forward(model, {"pixel_values": padded, "frame_mask": mask})
        assert torch.equal(found.logits, expected.logits)
        assert torch.equal(found.last_hidden_state[:, [1, 3]], expected.last_hidden_state)
        assert (found.last_hidden_state[:, [0, 2]] == 0).all()

    def test_the_feature_is_the_mean_over_places_and_frames(self):
        model = MedVitModel(tiny()).eval()
        outputs = forward(model, {"pixel_values": torch.randn(2, 3, 3, 40, 72)})
        assert outputs.last_hidden_state.shape == (2, 3, 2 * 3, 32)  # 40 and 72 pixels at stride 32, rounded up
        torch.testing.assert_close(outputs.pooler_output, outputs.last_hidden_state.mean((1, 2)))
        outputs = forward(model, {"pixel_values": torch.randn(1, 1, 40, 40), "output_hidden_states": True})
        assert len(outputs.hidden_states) == 9

    @pytest.mark.parametrize(
        ("inputs", "message"),
        [
            ({"pixel_values": torch.zeros(3, 40, 40)}, "must be \\(batch, channels, height, width\\)"),
            ({"pixel_values": torch.zeros(1, 4, 40, 40)}, "with 3 channels or 1"),
            ({"pixel_values": torch.zeros(1, 3, 16, 24)}, "25 pixels a side are enough"),
            ({"pixel_values": torch.zeros(1, 2, 3, 40, 40), "frame_mask": torch.ones(1, 2)}, "must be bool"),
        ],
    )
    def test_inputs_that_do_not_fit(self, inputs, message):
        with pytest.raises(SchemaError, match=message):
            MedVitModel(tiny())(**inputs)
        assert MedVitModel(tiny()).eval()(torch.zeros(1, 3, 25, 25)).pooler_output.shape == (1, 32)

    def test_initial_weights(self):
        torch.manual_seed(0)
        model = MedVitModel(tiny(conv_widths=[8, 16, 24, 96]))
        block = model.blocks[-2]
        assert block.feed_forward.widen.weight.std().item() == pytest.approx(0.02, rel=0.1)
        assert block.feed_forward.excite.bias.abs().max() == 0
        assert block.norm2.weight.unique().tolist() == [1]

    @pytest.mark.parametrize("shape", [(2, 3, 40, 40), (2, 2, 3, 40, 40)])
    def test_export(self, shape):
        model, pixels = MedVitForClassification(tiny()).eval(), torch.randn(shape)
        exported = torch.export.export(model, (), {"pixel_values": pixels}).module()
        expected = forward(model, {"pixel_values": pixels}).logits
        torch.testing.assert_close(exported(pixel_values=pixels).logits, expected, atol=1e-5, rtol=1e-5)


def test_the_auto_classes_take_model_and_processor(tmp_path):
    model = MedVitForClassification(tiny()).eval()
    model.save_pretrained(tmp_path)
    ClimbImageProcessor(size=model.config.image_size).save_pretrained(tmp_path)
    for auto in (AutoModelForImageClassification, AutoModelForVideoClassification):
        assert_same_tensors(model, auto.from_pretrained(tmp_path))
    assert type(AutoImageProcessor.from_pretrained(tmp_path)) is ClimbImageProcessor


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"depths": [1, 2, 3]}, "`depths` must be 4 whole numbers"),
        ({"conv_widths": [8, 16, 20, 32]}, r"multiples of `head_dim` \(8\), but \[20\] are not"),
        ({"transformer_widths": [32, 8, 32]}, "8 splits into 8 and 0"),
        ({"transformer_widths": [32, 36, 32]}, "36 splits into 24 and 12"),
        ({"drop_path_rate": 1.0}, "`drop_path_rate` must be in"),
        ({"head_dim": 0}, "`head_dim` must be at least 1"),
    ],
)
def test_configurations_that_cannot_be(fields, message):
    with pytest.raises(OptionError, match=message):
        MedVitConfig(**{**TINY, **fields})


def test_sizes_by_name():
    assert MedVitConfig.preset("large").to_dict() == MedVitConfig().to_dict()
    assert MedVitConfig.preset("small").drop_path_rate == 0.1
    assert MedVitConfig.preset("small", drop_path_rate=0.0).drop_path_rate == 0
    with pytest.raises(OptionError, match="the sizes 'small', 'base', 'large'"):
        MedVitConfig.preset("tiny")
