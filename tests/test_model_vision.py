import copy

import pytest
import timm
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForVideoClassification,
    CLIPConfig,
    CLIPModel,
    ConvNextV2Config,
    Dinov2Config,
    Dinov2Model,
    InternVLVisionConfig,
    ResNetConfig,
    Swinv2Config,
    ViTConfig,
    ViTModel,
)

pytest.register_assert_rewrite("model_contract")

from model_contract import (  # noqa: E402
    MULTI_LABEL,
    SOURCES,
    VOCABULARY,
    ModelCase,
    ModelContract,
    assert_same_tensors,
    exact,
    forward,
    poisoned_memory,  # noqa: F401 - a fixture
    switch_checkpointing,
    vocabulary_fields,
)

from climb_hf.errors import CorruptFileError, OptionError, SchemaError, VocabularyError  # noqa: E402
from climb_hf.models import ClimbVisionConfig, ClimbVisionForClassification, ClimbVisionModel  # noqa: E402

CONVNEXT = {"depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32), "drop_path_rate": 0.0}
SWIN = {"depths": (1, 2), "embed_dim": 16, "num_heads": (1, 2), "window_size": 4, "drop_path_rate": 0.0}
EVA = {"depth": 2, "embed_dim": 48, "num_heads": 3}
DINO = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "image_size": 32}


def timm_config(name="test_vit", size=32, **fields):
    return ClimbVisionConfig(**{"backbone": f"timm/{name}", "image_size": size, **vocabulary_fields(), **fields})


def hub_config(backbone, **fields):
    return ClimbVisionConfig(backbone="transformers", backbone_config=backbone, **{**vocabulary_fields(), **fields})


def images(size=32, channels=3):
    return lambda rows, generator: {"pixel_values": torch.randn(rows, channels, size, size, generator=generator)}


def videos(size=32, frames=3):
    def make(rows, generator):
        pixels = torch.randn(rows, frames, 3, size, size, generator=generator)
        mask = torch.arange(frames) < 1 + torch.arange(rows)[:, None] % frames
        return {"pixel_values": pixels, "frame_mask": mask}

    return make


def case(name, config, inputs, **extra):
    return ModelCase(name, config, ClimbVisionModel, ClimbVisionForClassification, inputs, **extra)


CASES = [
    case("vit", timm_config, images()),
    case("convnextv2", lambda: timm_config("convnextv2_atto", backbone_kwargs=CONVNEXT), images(), lora=r".*\.fc\d"),
    case("swin", lambda: timm_config("swin_tiny_patch4_window7_224", backbone_kwargs=SWIN), images()),
    case("swinv2", lambda: timm_config("swinv2_tiny_window8_256", backbone_kwargs=SWIN), images()),
    case("eva02", lambda: timm_config("eva02_tiny_patch14_224", 28, backbone_kwargs=EVA), images(28)),
    case("batch_norm", lambda: timm_config("test_resnet"), images(), lora=r".*\.conv2"),
    case("grey", lambda: timm_config(num_channels=1), images(channels=1)),
    case("video_mean", timm_config, videos()),
    case("video_attention", lambda: timm_config(pooling="attention", pooling_heads=4), videos()),
    case("hub_dinov2", lambda: hub_config(Dinov2Config(**DINO)), images(28)),
    case("hub_vit_cls", lambda: hub_config(ViTConfig(**VIT), backbone_pooling="cls"), images()),
    case(
        "hub_convnextv2",
        lambda: hub_config(ConvNextV2Config(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2, image_size=32)),
        images(),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
class TestContract(ModelContract):
    pass


@pytest.mark.parametrize("name", ["test_vit", "test_resnet"])
def test_padded_frames_change_nothing_to_the_last_bit(name):
    torch.manual_seed(0)
    model = ClimbVisionForClassification(timm_config(name)).eval()
    pixels = torch.randn(2, 3, 3, 32, 32)
    expected = forward(model, {"pixel_values": pixels})
    for places, frames in (([0, 1, 2], 8), ([1, 4, 6], 9), ([0, 1, 2], 3)):
        padded, mask = torch.full((2, frames, 3, 32, 32), float("nan")), torch.zeros(2, frames, dtype=torch.bool)
        padded[:, places], mask[:, places] = pixels, True
        found = forward(model, {"pixel_values": padded, "frame_mask": mask})
        assert torch.equal(found.logits, expected.logits)
        assert torch.equal(found.last_hidden_state[:, places], expected.last_hidden_state)
        assert (found.last_hidden_state[~mask] == 0).all()


def test_attention_over_frames_ignores_padding():
    torch.manual_seed(0)
    model = ClimbVisionForClassification(timm_config(pooling="attention")).eval()
    pixels = torch.randn(2, 3, 3, 32, 32)
    expected = forward(model, {"pixel_values": pixels}).logits
    padded = torch.cat([pixels, torch.full((2, 4, 3, 32, 32), float("nan"))], dim=1)
    mask = torch.arange(7).expand(2, 7) < 3
    found = forward(model, {"pixel_values": padded, "frame_mask": mask}).logits
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_the_feature_of_a_video_is_the_mean_of_its_frames():
    torch.manual_seed(0)
    model = ClimbVisionModel(timm_config()).eval()
    pixels = torch.randn(1, 4, 3, 32, 32)
    mask = torch.tensor([[True, False, True, True]])
    found = forward(model, {"pixel_values": pixels, "frame_mask": mask}).pooler_output
    single = forward(model, {"pixel_values": pixels[0, [0, 2, 3]]}).pooler_output
    torch.testing.assert_close(found, single.mean(0, keepdim=True), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_a_row_without_frames_has_a_feature_of_zeros(pooling):
    model = ClimbVisionModel(timm_config(pooling=pooling)).eval()
    pixels, mask = torch.randn(2, 2, 3, 32, 32), torch.tensor([[True, True], [False, False]])
    pooled = forward(model, {"pixel_values": pixels, "frame_mask": mask}).pooler_output
    assert (pooled[0] != 0).any()
    assert (pooled[1] == 0).all()
    with pytest.raises(SchemaError, match="no valid frame in the whole batch"):
        model(pixels, torch.zeros(2, 2, dtype=torch.bool))


def test_padding_stays_out_of_batch_norm():
    torch.manual_seed(0)
    model = ClimbVisionModel(timm_config("test_resnet")).train()
    other = copy.deepcopy(model)
    pixels = torch.randn(2, 2, 3, 32, 32)
    model(pixels)
    other(torch.cat([pixels, 100 * torch.ones(2, 3, 3, 32, 32)], 1), torch.arange(5).expand(2, 5) < 2)
    assert_same_tensors(model, other)


def test_grey_images_are_repeated_for_a_backbone_of_three_channels():
    model = ClimbVisionModel(timm_config()).eval()
    grey = torch.randn(2, 1, 32, 32)
    expected = forward(model, {"pixel_values": grey.repeat(1, 3, 1, 1)}).pooler_output
    assert torch.equal(forward(model, {"pixel_values": grey}).pooler_output, expected)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"pixel_values": torch.zeros(3, 32, 32)}, "must be \\(batch, channels, height, width\\)"),
        ({"pixel_values": torch.zeros(1, 2, 32, 32)}, "AutoImageProcessor"),
        ({"pixel_values": torch.zeros(1, 3, 32, 32), "frame_mask": torch.ones(1, 1).bool()}, "take no `frame_mask`"),
        ({"pixel_values": torch.zeros(1, 2, 3, 32, 32), "frame_mask": torch.ones(1, 2)}, "must be bool"),
    ],
)
def test_inputs_that_do_not_fit_are_named(inputs, message):
    with pytest.raises(SchemaError, match=message):
        ClimbVisionModel(timm_config())(**inputs)


def test_one_concept_per_row_as_integers():
    torch.manual_seed(0)
    model = ClimbVisionForClassification(timm_config()).eval()
    pixels, labels = torch.randn(3, 3, 32, 32), torch.tensor([5, 0, 2])
    outputs = model(pixels, labels=labels)
    torch.testing.assert_close(outputs.loss, nn.functional.cross_entropy(outputs.logits, labels))


def test_layers_and_attention_weights():
    pixels = torch.randn(2, 3, 28, 28)
    model = ClimbVisionForClassification(hub_config(Dinov2Config(**DINO), attn_implementation="eager")).eval()
    outputs = model(pixels, output_hidden_states=True, output_attentions=True)
    assert [tuple(layer.shape) for layer in outputs.hidden_states] == [(2, 5, 32)] * 3
    assert [tuple(layer.shape) for layer in outputs.attentions] == [(2, 2, 5, 5)] * 2
    model = ClimbVisionModel(timm_config()).eval()
    plain = forward(model, {"pixel_values": torch.ones(2, 3, 32, 32)})
    outputs = forward(model, {"pixel_values": torch.ones(2, 3, 32, 32), "output_hidden_states": True})
    assert len(outputs.hidden_states) == len(model.backbone.blocks)
    torch.testing.assert_close(outputs.pooler_output, plain.pooler_output)
    assert plain.hidden_states is None
    with pytest.raises(OptionError, match="transformers backbone with `attn_implementation='eager'`"):
        model(torch.zeros(1, 3, 32, 32), output_attentions=True)


def test_how_a_transformers_backbone_is_pooled():
    def pooled(backbone, pixels, **fields):
        torch.manual_seed(0)
        model = ClimbVisionModel(hub_config(backbone, **fields)).eval()
        return model, forward(model, {"pixel_values": pixels})

    pixels = torch.randn(2, 3, 32, 32)
    model, outputs = pooled(ViTConfig(**VIT), pixels)
    assert torch.equal(outputs.pooler_output, model.backbone(pixels).pooler_output)
    model, outputs = pooled(ViTConfig(**VIT), pixels, backbone_pooling="cls")
    assert model.backbone.pooler is None
    assert torch.equal(outputs.pooler_output, outputs.last_hidden_state[:, 0])
    model, outputs = pooled(ViTConfig(**VIT), pixels, backbone_pooling="mean")
    torch.testing.assert_close(outputs.pooler_output, outputs.last_hidden_state.mean(1))
    model, outputs = pooled(Dinov2Config(**DINO), pixels[..., :28, :28])
    assert torch.equal(outputs.pooler_output, outputs.last_hidden_state[:, 0])
    backbone = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    model, outputs = pooled(backbone, pixels, image_size=32)
    assert outputs.last_hidden_state.shape == (2, 16, 16)
    torch.testing.assert_close(outputs.pooler_output, outputs.last_hidden_state.mean(1))
    intern = InternVLVisionConfig(**{**DINO, "intermediate_size": 64})
    model, outputs = pooled(intern, pixels[..., :28, :28])
    assert torch.equal(outputs.pooler_output, outputs.last_hidden_state[:, 0])
    with pytest.raises(OptionError, match="returns no `pooler_output`"):
        pooled(intern, pixels[..., :28, :28], backbone_pooling="pooler")


@pytest.mark.parametrize(
    ("config", "parameters", "width"),
    [  # counts of timm's and transformers' published architectures without their heads
        (lambda: timm_config("vit_mediumd_patch16_reg4_gap_384", 384), 63_759_872, 512),
        (lambda: timm_config("swin_base_patch4_window7_224", 224), 86_743_224, 1024),
        (lambda: timm_config("eva02_large_patch14_448", 448), 304_055_232, 1024),
        (lambda: timm_config("vit_intern300m_patch14_448", 448), 304_012_288, 1024),
        (lambda: timm_config("convnextv2_base", 224), 87_692_800, 1024),
        (lambda: timm_config("resnet50_clip", 224), 36_218_720, 2048),
        (lambda: timm_config("resnet50_clip", 224, backbone_kwargs={"num_classes": 768}), 37_792_352, 768),
        (
            lambda: hub_config(
                Swinv2Config(
                    embed_dim=192, depths=[2, 2, 18, 2], num_heads=[6, 12, 24, 48], window_size=12, image_size=192
                )
            ),
            195_202_932,
            1536,
        ),
        (lambda: hub_config(Dinov2Config(image_size=518)), 86_580_480, 768),
    ],
)
def test_sizes_of_the_backbones_in_the_paper(config, parameters, width):
    with torch.device("meta"):
        model = ClimbVisionModel(config())
    assert sum(parameter.numel() for parameter in model.backbone.parameters()) == parameters
    assert model.hidden_size == width


def test_tokens_have_one_layout():
    model = ClimbVisionModel(timm_config("swin_tiny_patch4_window7_224", backbone_kwargs=SWIN)).eval()
    pixels = torch.randn(1, 3, 32, 32)
    features = model.backbone.forward_features(pixels)  # (1, 4, 4, 32), channels last
    tokens = forward(model, {"pixel_values": pixels}).last_hidden_state
    assert torch.equal(tokens[0, 6], features[0, 1, 2])
    model = ClimbVisionModel(timm_config("test_resnet", 64)).eval()
    pixels = torch.randn(1, 3, 64, 64)
    features = model.backbone.forward_features(pixels)  # (1, 96, 2, 2), channels first
    tokens = forward(model, {"pixel_values": pixels}).last_hidden_state
    assert torch.equal(tokens[0, 2], features[0, :, 1, 0])
    with pytest.raises(OptionError, match="returns several feature maps"):
        ClimbVisionModel(timm_config("crossvit_9_240", 240))(torch.zeros(1, 3, 240, 240))


def test_checkpointing_reaches_the_backbone():
    model = ClimbVisionForClassification(timm_config())
    switch_checkpointing(model, on=True)
    assert model.climb_vision.backbone.grad_checkpointing
    switch_checkpointing(model, on=False)
    assert not model.climb_vision.backbone.grad_checkpointing
    backbone = ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
    model = ClimbVisionForClassification(hub_config(backbone, image_size=32))
    assert not model.supports_gradient_checkpointing


def test_weights_that_modules_share_are_saved_once(tmp_path):
    entry = timm.create_model("coat_lite_tiny", num_classes=0, serial_depths=(2, 1, 1, 1))
    assert entry.serial_blocks1[0].cpe is entry.serial_blocks1[1].cpe
    config = timm_config("coat_lite_tiny", 224, backbone_kwargs={"serial_depths": (2, 1, 1, 1)})
    model = ClimbVisionForClassification(config).eval()
    model.save_pretrained(tmp_path)
    loaded = ClimbVisionForClassification.from_pretrained(tmp_path)
    assert_same_tensors(model, loaded)
    assert loaded.climb_vision.backbone.serial_blocks1[0].cpe is loaded.climb_vision.backbone.serial_blocks1[1].cpe


def test_a_backbone_without_weights_has_its_own_initialisation():
    torch.manual_seed(0)
    model = ClimbVisionForClassification(timm_config("convnextv2_atto", backbone_kwargs=CONVNEXT))
    torch.manual_seed(0)
    backbone = timm.create_model("convnextv2_atto", num_classes=0, **CONVNEXT)
    for name, value in backbone.state_dict().items():
        assert torch.equal(model.climb_vision.backbone.state_dict()[name], value), name


def test_pretrained_timm_weights_survive(tmp_path):
    torch.manual_seed(3)
    original = timm.create_model("test_vit", img_size=32)  # with its own head of 1000 classes
    torch.save({"state_dict": original.state_dict()}, tmp_path / "vit.pth")
    fields = {"image_size": 32, **vocabulary_fields()}
    model = ClimbVisionForClassification.from_backbone("timm/test_vit", pretrained=tmp_path / "vit.pth", **fields)
    model.save_pretrained(tmp_path / "saved")
    loaded = ClimbVisionForClassification.from_pretrained(tmp_path / "saved")
    pixels = torch.randn(2, 3, 32, 32)
    expected = original.eval().forward_head(original.forward_features(pixels), pre_logits=True)
    for one in (model, loaded):
        assert not one.training
        assert torch.equal(exact(one)(pixels).pooler_output, expected)
    grey = ClimbVisionModel.from_backbone(
        "timm/test_vit", pretrained=tmp_path / "vit.pth", image_size=32, num_channels=1
    )
    folded = original.patch_embed.proj.weight.sum(1, keepdim=True)
    torch.testing.assert_close(grey.backbone.patch_embed.proj.weight, folded)


def test_weights_that_do_not_arrive_are_noticed(tmp_path):
    state = timm.create_model("test_vit", img_size=32).state_dict()
    torch.save({f"vision_model.{name}": value for name, value in state.items()}, tmp_path / "prefixed.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    torch.save(nn.Linear(1, 1), tmp_path / "module.pth")
    for name, message in [
        ("prefixed.pth", "strip a prefix"),
        ("empty.pth", "holds no state dictionary"),
        ("module.pth", "no plain file of tensors"),
    ]:
        with pytest.raises(CorruptFileError, match=message):
            ClimbVisionModel.from_backbone("timm/test_vit", pretrained=tmp_path / name, image_size=32)
    with pytest.raises(OptionError, match="is no file"):
        ClimbVisionModel.from_backbone("timm/test_vit", pretrained=tmp_path / "absent.pth", image_size=32)
    with pytest.raises(CorruptFileError, match=r"do(es)? not fit the backbone"):
        ClimbVisionModel.from_backbone("timm/test_vit2", pretrained=tmp_path / "prefixed.pth", image_size=32)


def test_pretrained_transformers_weights_survive(tmp_path):
    torch.manual_seed(3)
    original = Dinov2Model(Dinov2Config(**DINO)).eval()
    original.save_pretrained(tmp_path / "dino")
    model = ClimbVisionForClassification.from_backbone(str(tmp_path / "dino"), **vocabulary_fields())
    assert model.config.image_size == 28
    model.save_pretrained(tmp_path / "saved")
    pixels = torch.randn(2, 3, 28, 28)
    expected = original(pixels).pooler_output
    for one in (model, ClimbVisionForClassification.from_pretrained(tmp_path / "saved")):
        assert torch.equal(exact(one)(pixels).pooler_output, expected)
    vit = ViTModel(ViTConfig(**VIT)).to(torch.bfloat16)
    vit.save_pretrained(tmp_path / "vit")
    model = ClimbVisionModel.from_backbone(str(tmp_path / "vit"), backbone_pooling="cls")
    model.save_pretrained(tmp_path / "saved")
    for one in (model, ClimbVisionModel.from_pretrained(tmp_path / "saved")):
        assert {parameter.dtype for parameter in one.parameters()} == {torch.float32}
        assert torch.equal(one.backbone.layernorm.weight, vit.layernorm.weight.float())
    fresh = ClimbVisionModel.from_backbone(str(tmp_path / "dino"), pretrained=False)
    assert not torch.equal(forward(fresh, {"pixel_values": pixels}).pooler_output, expected)


def test_the_vision_tower_of_an_image_text_model(tmp_path):
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    clip = CLIPModel(
        CLIPConfig(
            text_config={**tower, "vocab_size": 99}, vision_config={**tower, "image_size": 32, "patch_size": 16}
        )
    ).eval()
    clip.save_pretrained(tmp_path)
    model = ClimbVisionModel.from_backbone(str(tmp_path))
    pixels = torch.randn(2, 3, 32, 32)
    expected = clip.vision_model(pixels).pooler_output
    assert torch.equal(exact(model)(pixels).pooler_output, expected)


def test_configurations_survive_json(tmp_path):
    for config in (timm_config(pooling="attention", dropout=0.25, image_size=[32, 48]), hub_config(ViTConfig(**VIT))):
        config.save_pretrained(tmp_path)
        loaded = AutoConfig.from_pretrained(tmp_path)
        assert type(loaded) is ClimbVisionConfig
        assert loaded.to_diff_dict() == config.to_diff_dict()
        assert loaded.source_multi_label == MULTI_LABEL
    assert loaded.input_size == (32, 32)
    assert type(loaded.backbone_config) is ViTConfig


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"backbone": "resnet50"}, OptionError, "must be `timm/<architecture>` or `transformers`"),
        ({"backbone": "timm/hf-hub:a/b"}, OptionError, "must name an architecture of timm"),
        ({"backbone": "transformers"}, OptionError, "needs `backbone_config`"),
        ({"backbone": "transformers", "backbone_config": {"model_type": "nope"}}, OptionError, "'nope'"),
        ({"backbone_config": {"model_type": "vit"}}, OptionError, "belongs to `backbone='transformers'`"),
        ({"backbone_pooling": "cls"}, OptionError, "global_pool"),
        ({"image_size": 0}, OptionError, "`image_size` must be"),
        ({"image_size": 32, "backbone_kwargs": {"img_size": 48}}, OptionError, "Pass one of them"),
        ({"num_channels": 2}, OptionError, "`num_channels` must be 1 or 3"),
        ({"pooling": "max"}, OptionError, "`pooling` must be one of"),
        ({"dropout": 1.0}, OptionError, "`dropout` must be a probability"),
        ({"vocabulary": ["a", "a"]}, VocabularyError, r"repeats \['a'\]"),
        ({"vocabulary": ["a"], "num_labels": 3}, VocabularyError, "`num_labels` is 3"),
        ({"vocabulary": ["a"], "source_classes": {"s": ["a"]}}, OptionError, r"in one only: \['s'\]"),
        (
            {"vocabulary": ["a"], "source_classes": {"s": ["a", "b"]}, "source_multi_label": {"s": True}},
            VocabularyError,
            r"not in `vocabulary`: \['b'\]. Add them",
        ),
        (
            {"vocabulary": ["a"], "source_classes": {"s": ["a"]}, "source_multi_label": {"s": False}},
            VocabularyError,
            "two to choose from",
        ),
    ],
)
def test_configurations_that_contradict_themselves(fields, error, message):
    with pytest.raises(error, match=message):
        ClimbVisionConfig(**fields)


def test_unknown_architectures_get_near_names():
    with pytest.raises(OptionError, match=r"near: .*convnextv2_atto"):
        ClimbVisionModel(timm_config("convnextv2_ato"))
    with pytest.raises(OptionError, match=r"no weights called 'timm/test_vit\.nope'"):
        ClimbVisionModel.from_backbone("timm/test_vit.nope")
    ClimbVisionModel(timm_config("test_vit.a_tag_that_was_retired"))  # weights come from the checkpoint
    with pytest.raises(OptionError, match="`pooling_heads` must divide"):
        ClimbVisionModel(timm_config(pooling="attention", pooling_heads=7))
    with pytest.raises(VocabularyError, match="needs a `vocabulary`"):
        ClimbVisionForClassification(ClimbVisionConfig(backbone="timm/test_vit", image_size=32))


def test_a_checkpoint_with_another_vocabulary(tmp_path):
    model = ClimbVisionForClassification(timm_config())
    model.save_pretrained(tmp_path)
    own = {"source_classes": {}, "source_multi_label": {}, "ignore_mismatched_sizes": True}
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path, vocabulary=["x", "y"], **own)
    assert loaded.config.id2label == {0: "x", 1: "y"}
    assert loaded.config.label2id == {"x": 0, "y": 1}
    assert loaded.classifier.weight.shape[0] == 2
    assert_same_tensors(model.climb_vision, loaded.climb_vision)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path, id2label={1: "y", 0: "x", 2: "z"}, **own)
    assert loaded.config.vocabulary == ["x", "y", "z"]
    with pytest.raises(VocabularyError, match="not in `vocabulary`"):
        AutoModelForImageClassification.from_pretrained(tmp_path, vocabulary=["x"], ignore_mismatched_sizes=True)


def test_the_outputs_of_a_source():
    model = ClimbVisionForClassification(timm_config())
    assert model.logits_for("skin").tolist() == [3, 2, 4]
    assert model.require_source("other", ["edema", "nevus"]).tolist() == [1, 2]
    with pytest.raises(VocabularyError, match=r"it knows: chest, skin.*get_source\('eye'\)"):
        model.require_source("eye")
    with pytest.raises(VocabularyError, match=r"lacks 2 of the 3.*extend_vocabulary\(\['drusen', 'cataract'\]\)"):
        model.require_source("eye", ["drusen", "edema", "cataract"])


def test_probabilities_of_a_source():
    model = ClimbVisionForClassification(timm_config())
    logits = torch.tensor([[0.0, 1.0, 2.0, -1.0, 0.5, 50.0]])
    skin = torch.softmax(torch.tensor([[-1.0, 2.0, 0.5]]), -1)
    torch.testing.assert_close(model.masked_probabilities(logits, "skin"), skin)
    chest = torch.sigmoid(torch.tensor([[1.0, 0.0, 2.0]]))
    torch.testing.assert_close(model.masked_probabilities(logits, "chest"), chest)
    assert model.masked_probabilities(logits.bfloat16(), "chest").dtype == torch.float32
    with pytest.raises(SchemaError, match="must have 6 columns"):
        model.masked_probabilities(logits[:, :5], "skin")


def test_a_new_source_joins_a_checkpoint(tmp_path):
    model = ClimbVisionForClassification(timm_config())
    old = model.classifier.weight.clone()
    assert model.add_source("eye", ["drusen", "edema", "cataract"], multi_label=True) == ["drusen", "cataract"]
    model.save_pretrained(tmp_path)
    loaded = ClimbVisionForClassification.from_pretrained(tmp_path)
    assert loaded.logits_for("eye").tolist() == [6, 1, 7]
    assert loaded.config.source_multi_label == {**MULTI_LABEL, "eye": True}
    assert torch.equal(loaded.classifier.weight[: len(VOCABULARY)], old)
    assert loaded.classifier.bias[len(VOCABULARY) :].tolist() == [0.0, 0.0]
    assert loaded.config.source_classes == {**SOURCES, "eye": ["drusen", "edema", "cataract"]}
    with pytest.raises(OptionError, match="must be a list of names"):
        model.extend_vocabulary("stroke")
    model.classifier = nn.Sequential(model.classifier)
    with pytest.raises(OptionError, match="before the model is wrapped"):
        model.extend_vocabulary(["stroke"])


def test_the_auto_classes_take_the_models(tmp_path):
    AutoConfig.register("climb_vision", ClimbVisionConfig, exist_ok=True)
    AutoModel.register(ClimbVisionConfig, ClimbVisionModel, exist_ok=True)
    for auto in (AutoModelForImageClassification, AutoModelForVideoClassification):
        auto.register(ClimbVisionConfig, ClimbVisionForClassification, exist_ok=True)
        auto.from_config(timm_config()).save_pretrained(tmp_path)
        assert type(auto.from_pretrained(tmp_path)) is ClimbVisionForClassification
