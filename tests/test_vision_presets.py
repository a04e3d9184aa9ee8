"""The named vision encoders of the paper: their sizes, configurations and processors, without any download."""

import pytest
import timm
import torch
from transformers import AutoConfig, Dinov2Config, Dinov2Model

from climb_hf.errors import AccessError, CorruptFileError, OptionError
from climb_hf.models import ClimbVisionConfig, ClimbVisionForClassification, ClimbVisionModel
from climb_hf.models.vision import VISION_PRESETS, VisionPreset, get_preset
from climb_hf.processing.image_processor import ClimbImageProcessor

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
OPENAI_CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
#: name -> row of the paper, side, frames, width of the feature, parameters, precision, licence
FACTS = {
    "convnextv2_base": ("ConvNeXTv2", 224, 1, 1024, 87_692_800, "bfloat16", "cc-by-nc-4.0"),
    "convnextv2_large": ("ConvNeXTv2", 384, 1, 1536, 196_419_840, "bfloat16", "cc-by-nc-4.0"),
    "swinv2_large": ("Swin Transformer", 192, 8, 1536, 195_202_932, "bfloat16", "mit"),
    "eva02_large": ("EVA-2", 448, 2, 1024, 304_055_232, "bfloat16", "mit"),
    "sbb2_mediumd": ("SBB2", 384, 1, 512, 63_759_872, "float32", "apache-2.0"),
    "internvit_300m": ("InternViT", 448, 1, 1024, 304_012_288, "bfloat16", "mit"),
    "rad_dino": ("RAD-DINO", 518, 1, 768, 86_580_480, "bfloat16", "msrla"),
    "pmc_vit_l14": ("PMC-CLIP", 224, 1, 768, 303_966_208 + 768, "float32", "unknown"),  # with timm's bias
    "pmc_clip_rn50": ("PMC-CLIP", 224, 1, 768, 37_792_352, "float32", "unknown"),
    "clip_l2b": ("CLIP-L2B", 224, 1, 1024, 1_011_203_840 + 1024 * 1408 + 1024, "bfloat16", "apache-2.0"),
}
TINY = {"image_size": 32, "backbone_kwargs": {"depth": 1, "embed_dim": 64, "num_heads": 2}}
TINY_DINO = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28}


def test_every_preset_is_tested():
    assert FACTS.keys() == VISION_PRESETS.keys()
    assert [preset.name for preset in VISION_PRESETS.values()] == list(VISION_PRESETS)


@pytest.mark.parametrize("name", VISION_PRESETS)
def test_facts(name):
    preset = get_preset(name)
    row, size, frames, width, parameters, precision, license = FACTS[name]
    assert (preset.row, preset.image_size, preset.frames) == (row, size, frames)
    assert (preset.precision, preset.license) == (precision, license)
    assert preset.redistributable is (license not in ("msrla", "unknown"))
    with torch.device("meta"):
        model = ClimbVisionModel(ClimbVisionConfig.preset(name))
    assert model.config.input_size == (size, size)
    assert model.hidden_size == width == preset.width
    assert sum(parameter.numel() for parameter in model.backbone.parameters()) == parameters == preset.parameters


@pytest.mark.parametrize("name", [name for name, preset in VISION_PRESETS.items() if preset.weights[:5] == "timm/"])
def test_what_timm_records_about_its_weights(name):
    preset = get_preset(name)
    facts = timm.get_pretrained_cfg(preset.weights.removeprefix("timm/"), allow_unregistered=False)
    assert facts.has_weights
    assert preset.license == facts.license
    assert preset.statistics == (facts.mean, facts.std)
    assert preset.image_size == (
        384 if name == "convnextv2_large" else facts.input_size[-1]
    )  # the paper's, not timm's


def test_widths_without_projection():
    with torch.device("meta"):
        tower = ClimbVisionModel(ClimbVisionConfig.preset("pmc_vit_l14", backbone_kwargs={"num_classes": 0}))
        resnet = ClimbVisionModel(ClimbVisionConfig.preset("pmc_clip_rn50", backbone_kwargs={"num_classes": 0}))
    assert (tower.hidden_size, tower.num_parameters()) == (1024, 303_179_776)
    assert (resnet.hidden_size, resnet.num_parameters()) == (2048, 36_218_720)
    assert resnet.backbone.head.num_heads == 32


def test_fields_take_precedence():
    config = ClimbVisionConfig.preset("swinv2_large", image_size=256, pooling="attention", num_labels=3)
    assert (config.image_size, config.pooling, len(config.vocabulary)) == (256, "attention", 3)
    assert ClimbVisionConfig.preset("swinv2_large").pooling == "mean"
    config = ClimbVisionConfig.preset("pmc_vit_l14", backbone_kwargs={"drop_path_rate": 0.1})
    assert config.backbone_kwargs == {"num_classes": 768, "drop_path_rate": 0.1}
    config = ClimbVisionConfig.preset("rad_dino", backbone_config={"hidden_size": 384, "num_attention_heads": 6})
    assert type(config.backbone_config) is Dinov2Config
    assert (config.backbone_config.hidden_size, config.backbone_config.image_size) == (384, 518)
    assert get_preset("pmc_vit_l14").config["backbone_kwargs"] == {"num_classes": 768}  # the table is as it was
    with pytest.raises(OptionError, match=r"no preset 'swin_large' \(near: swinv2_large"):
        ClimbVisionConfig.preset("swin_large")


def test_presets_survive_json(tmp_path):
    for name in VISION_PRESETS:
        config = ClimbVisionConfig.preset(name, num_labels=2)
        config.save_pretrained(tmp_path)
        assert AutoConfig.from_pretrained(tmp_path).to_diff_dict() == config.to_diff_dict()


def test_processors():
    processor = ClimbImageProcessor.from_preset("eva02_large")
    assert processor.size == {"height": 448, "width": 448}
    assert (processor.image_mean, processor.image_std) == OPENAI_CLIP
    assert (processor.num_frames, processor.resize_mode) == (2, "stretch")
    rad_dino = ClimbImageProcessor.from_preset("rad_dino", resize_mode="crop")
    assert (rad_dino.image_mean, rad_dino.image_std, rad_dino.num_frames) == ([0.5307] * 3, [0.2583] * 3, None)
    for name, preset in VISION_PRESETS.items():
        paper = ClimbImageProcessor.from_preset(name, statistics="paper")
        assert (paper.image_mean, paper.image_std) == IMAGENET
        assert paper.size["height"] == preset.image_size
    grey = ClimbImageProcessor.from_preset("sbb2_mediumd", num_channels=1, size=64, num_frames=4)
    assert (grey.image_mean, grey.image_std, grey.num_frames, grey.size["width"]) == ([0.5], [0.5], 4, 64)
    with pytest.raises(OptionError, match="`statistics` must be one of"):
        ClimbImageProcessor.from_preset("sbb2_mediumd", statistics="imagenet")


def test_random_weights():
    torch.manual_seed(0)
    model = ClimbVisionForClassification.from_preset("sbb2_mediumd", pretrained=False, vocabulary=["a", "b"], **TINY)
    assert not model.training
    assert model(torch.zeros(1, 2, 3, 32, 32)).logits.shape == (1, 2)


def test_weights_of_a_local_file(tmp_path):
    torch.manual_seed(0)
    original = timm.create_model(
        "vit_mediumd_patch16_reg4_gap_384", img_size=32, num_classes=7, **TINY["backbone_kwargs"]
    )
    torch.save(original.state_dict(), tmp_path / "sbb2.pth")
    for kind, extra in ((ClimbVisionForClassification, {"vocabulary": ["a", "b"]}), (ClimbVisionModel, {})):
        model = kind.from_preset("sbb2_mediumd", pretrained=tmp_path / "sbb2.pth", **TINY, **extra)
        pixels = torch.randn(2, 3, 32, 32)
        expected = original.eval().forward_head(original.forward_features(pixels), pre_logits=True)
        assert torch.equal(model(pixels).pooler_output, expected)
    torch.save({"stranger": torch.zeros(1), **original.state_dict()}, tmp_path / "sbb2.pth")
    with pytest.raises(CorruptFileError, match=r"1 left over \(backbone.stranger\)"):
        ClimbVisionModel.from_preset("sbb2_mediumd", pretrained=tmp_path / "sbb2.pth", **TINY)
    with pytest.raises(OptionError, match="is no file"):
        ClimbVisionModel.from_preset("sbb2_mediumd", pretrained=tmp_path / "absent.pth", **TINY)


def test_weights_of_a_local_folder(tmp_path):
    torch.manual_seed(0)
    original = Dinov2Model(Dinov2Config(**TINY_DINO)).eval()
    original.save_pretrained(tmp_path)  # in the older names, as the Hub has them
    pixels = torch.randn(1, 3, 28, 28)
    for place in (tmp_path, tmp_path / "model.safetensors"):
        model = ClimbVisionModel.from_preset(
            "rad_dino", pretrained=place, image_size=28, backbone_config=dict(TINY_DINO)
        )
        torch.testing.assert_close(model(pixels).pooler_output, original(pixels).pooler_output)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("pmc_vit_l14", "ryanyip7777/pmc_vit_l_14:open_clip_model.safetensors"),
        ("pmc_clip_rn50", r"axiong/pmc_oa:image_encoder\(resnet50\).pth"),
        ("sbb2_mediumd", "timm/vit_mediumd_patch16_reg4_gap_384.sbb2_e200_in12k_ft_in1k"),
    ],
)
def test_published_weights_out_of_reach(name, place):
    tiny = {} if name == "pmc_clip_rn50" else TINY
    with pytest.raises(AccessError, match=f"`{place}` are not in the cache"):
        ClimbVisionModel.from_preset(name, **tiny)


def test_where_files_are():
    assert get_preset("pmc_clip_rn50").file == ("dataset", "axiong/pmc_oa", "image_encoder(resnet50).pth")
    assert get_preset("pmc_vit_l14").file == ("model", "ryanyip7777/pmc_vit_l_14", "open_clip_model.safetensors")
    assert get_preset("rad_dino").file is None
    assert isinstance(get_preset("rad_dino"), VisionPreset)
