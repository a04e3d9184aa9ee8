"""Published checkpoints of vision encoders: the converted timm models compute what the originals compute."""

import re

import pytest
import timm
import torch
from model_contract import exact, forward
from safetensors.torch import save_file
from torch import nn
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    ConvNextV2Config,
    ConvNextV2ForImageClassification,
    ConvNextV2Model,
    Dinov2Config,
    Dinov2Model,
    InternVLVisionConfig,
    InternVLVisionModel,
    Swinv2Config,
    Swinv2Model,
)

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.models import ClimbVisionForClassification, ClimbVisionModel
from climb_hf.models.vision.convert_vision import convert_checkpoint
from climb_hf.models.vision.published_names import LAYOUTS, find_layout, in_timm_names

TOLERANCE = {"atol": 2e-6, "rtol": 1e-5}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def shaken(model):
    """Random weights everywhere, so that a tensor in a wrong place shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def swin():
    fields = {"image_size": 32, "embed_dim": 16, "depths": [1, 2], "num_heads": [1, 2], "window_size": 4}
    return shaken(Swinv2Model(Swinv2Config(**fields)))


SWIN = {"depths": (1, 2), "embed_dim": 16, "num_heads": (1, 2), "window_size": 4}
SWIN_FIELDS = {"preset": "swinv2_large", "image_size": 32, "backbone_kwargs": SWIN}


def convnext(kind=ConvNextV2Model, **fields):
    config = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 2, 1, 1], "image_size": 32}
    return shaken(kind(ConvNextV2Config(**config, **fields)))


CONVNEXT_FIELDS = {
    "preset": "convnextv2_base",
    "image_size": 32,
    "backbone_kwargs": {"depths": (1, 2, 1, 1), "dims": (8, 16, 24, 32)},
}

VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128, "patch_size": 14}


def internvit(size=56):
    config = InternVLVisionConfig(**VIT, image_size=[size, size], attention_bias=True)
    return shaken(InternVLVisionModel(config))


def internvit_fields(size=56):
    sizes = {"depth": 2, "embed_dim": 32, "num_heads": 2}
    return {"preset": "internvit_300m", "image_size": size, "backbone_kwargs": sizes}


def in_internvit_names(model):
    """The tensors of transformers' model in the names of InternViT's own code."""
    named, parts = {}, {}
    for name, value in state_of(model).items():
        name = name.replace("embeddings.cls_token", "embeddings.class_embedding")
        name = name.replace("embeddings.patch_embeddings.projection", "embeddings.patch_embedding")
        name = name.replace("embeddings.position_embeddings", "embeddings.position_embedding")
        name = name.replace("encoder.layer.", "encoder.layers.").replace("lambda_", "ls")
        name = name.replace("layernorm_before", "norm1").replace("layernorm_after", "norm2")
        name = name.replace("attention.projection_layer", "attn.proj")
        if found := re.fullmatch(r"(.+)attention\.([qkv])_proj\.(.+)", name):
            parts.setdefault(f"{found[1]}attn.qkv.{found[3]}", {})[found[2]] = value
        else:
            named[name] = value
    return named | {name: torch.cat([three[key] for key in "qkv"]) for name, three in parts.items()}


def clip(act="gelu"):
    config = CLIPVisionConfig(**VIT, image_size=28, projection_dim=24, hidden_act=act)
    return shaken(CLIPVisionModelWithProjection(config))


CLIP_FIELDS = {
    "preset": "pmc_vit_l14",
    "image_size": 28,
    "backbone_kwargs": {"depth": 2, "embed_dim": 32, "num_heads": 2, "num_classes": 24},
}


def in_open_clip_names(model):
    """The tensors of transformers' CLIP tower in the names of open_clip, without the `visual.` before them."""
    state = {name.removeprefix("vision_model."): value for name, value in state_of(model).items()}
    named = {
        "class_embedding": state.pop("embeddings.class_embedding"),
        "conv1.weight": state.pop("embeddings.patch_embedding.weight"),
        "positional_embedding": state.pop("embeddings.position_embedding.weight"),
        "proj": state.pop("visual_projection.weight").T.contiguous(),
    }
    for index in range(2):
        ours, theirs = f"encoder.layers.{index}.", f"transformer.resblocks.{index}."
        for kind in ("weight", "bias"):
            parts = [state.pop(f"{ours}self_attn.{part}_proj.{kind}") for part in "qkv"]
            named[f"{theirs}attn.in_proj_{kind}"] = torch.cat(parts)
    for name, value in state.items():
        name = name.replace("pre_layrnorm", "ln_pre").replace("post_layernorm", "ln_post")
        name = name.replace("encoder.layers", "transformer.resblocks").replace("self_attn.out_proj", "attn.out_proj")
        name = name.replace("layer_norm1", "ln_1").replace("layer_norm2", "ln_2")
        named[name.replace("mlp.fc1", "mlp.c_fc").replace("mlp.fc2", "mlp.c_proj")] = value
    return named


class TestSameNumbers:
    def test_swin(self):
        original, pixels = swin(), torch.randn(2, 3, 32, 32)
        model = convert_checkpoint(state_of(original), **SWIN_FIELDS)
        assert type(model) is ClimbVisionModel
        expected = original(pixels).pooler_output
        torch.testing.assert_close(model(pixels).pooler_output, expected, **TOLERANCE)

    def test_convnext(self):
        original, pixels = convnext(), torch.randn(2, 3, 32, 32)
        model = convert_checkpoint(state_of(original), **CONVNEXT_FIELDS)
        torch.testing.assert_close(model(pixels).pooler_output, original(pixels).pooler_output, **TOLERANCE)
        atto = {**CONVNEXT_FIELDS, "preset": None, "backbone": "timm/convnextv2_atto"}  # with 1×1 convolutions
        model = convert_checkpoint(state_of(original), **atto)
        torch.testing.assert_close(model(pixels).pooler_output, original(pixels).pooler_output, **TOLERANCE)

    @pytest.mark.parametrize("names", [in_internvit_names, state_of])
    def test_internvit(self, names):
        original, pixels = internvit(), torch.randn(2, 3, 56, 56)
        state = {f"vision_model.{name}": value for name, value in names(original).items()}
        state |= {"language_model.model.norm.weight": torch.zeros(3), "mlp1.0.weight": torch.zeros(3)}
        model = convert_checkpoint(state, **internvit_fields())
        expected = original(pixels).last_hidden_state[:, 0]
        torch.testing.assert_close(model(pixels).pooler_output, expected, **TOLERANCE)

    def test_internvit_at_another_size(self):
        original, pixels = internvit(), torch.randn(1, 3, 28, 28)
        model = convert_checkpoint(in_internvit_names(original), **internvit_fields(28))
        expected = original(pixels, interpolate_pos_encoding=True).last_hidden_state[:, 0]
        torch.testing.assert_close(model(pixels).pooler_output, expected, **TOLERANCE)

    @pytest.mark.parametrize("prefix", ["visual.", "module.visual.", ""])
    def test_open_clip(self, prefix):
        original, pixels = clip(), torch.randn(2, 3, 28, 28)
        state = {f"{prefix}{name}": value for name, value in in_open_clip_names(original).items()}
        if prefix:
            before = prefix.removesuffix("visual.")
            state |= {
                f"{before}{name}": torch.zeros(2) for name in ("logit_scale", "transformer.resblocks.0.ln_1.bias")
            }
        model = convert_checkpoint(state, **CLIP_FIELDS)
        torch.testing.assert_close(model(pixels).pooler_output, original(pixels).image_embeds, **TOLERANCE)
        assert (model.backbone.head.bias == 0).all()

    def test_clip_in_the_names_of_transformers(self):
        original, pixels = clip(), torch.randn(2, 3, 28, 28)
        model = convert_checkpoint(state_of(original), **CLIP_FIELDS)
        torch.testing.assert_close(model(pixels).pooler_output, original(pixels).image_embeds, **TOLERANCE)
        text = {**VIT, "vocab_size": 99}
        text.pop("patch_size")
        both = CLIPModel(CLIPConfig(text_config=text, vision_config=original.config.to_dict(), projection_dim=24))
        shaken(both).vision_model.load_state_dict(original.vision_model.state_dict())
        both.visual_projection.load_state_dict(original.visual_projection.state_dict())
        model = convert_checkpoint(state_of(both), **CLIP_FIELDS)
        torch.testing.assert_close(model(pixels).pooler_output, original(pixels).image_embeds, **TOLERANCE)

    def test_the_projection_may_be_left_out(self):
        original, pixels = clip(), torch.randn(2, 3, 28, 28)
        fields = {**CLIP_FIELDS, "backbone_kwargs": {**CLIP_FIELDS["backbone_kwargs"], "num_classes": 0}}
        model = convert_checkpoint(in_open_clip_names(original), **fields)
        expected = original.vision_model(pixels).pooler_output
        torch.testing.assert_close(model(pixels).pooler_output, expected, **TOLERANCE)

    def test_plain_gelu_is_meant(self):
        original, pixels = clip("quick_gelu"), torch.randn(2, 3, 28, 28)
        model = convert_checkpoint(in_open_clip_names(original), **CLIP_FIELDS)
        assert not torch.allclose(model(pixels).pooler_output, original(pixels).image_embeds, atol=1e-4)

    def test_rad_dino(self, tmp_path):
        sizes = {name: VIT[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
        original, pixels = shaken(Dinov2Model(Dinov2Config(**sizes, image_size=28))), torch.randn(2, 3, 28, 28)
        original.save_pretrained(tmp_path)  # in the older names, as the Hub has them
        fields = {"preset": "rad_dino", "image_size": 28, "backbone_config": {**sizes, "image_size": 28}}
        for place in (tmp_path / "model.safetensors", state_of(original)):
            model = convert_checkpoint(place, **fields)
            torch.testing.assert_close(exact(model)(pixels).pooler_output, original(pixels).pooler_output)
        wrapped = {f"vision_model.{name}": value for name, value in state_of(original).items()}
        wrapped |= {"fc.weight": torch.randn(3, 32), "fc.bias": torch.randn(3)}
        model = convert_checkpoint(wrapped, **fields)
        expected = original(pixels).pooler_output @ wrapped["fc.weight"].T + wrapped["fc.bias"]
        torch.testing.assert_close(model(pixels).logits, expected)
        del wrapped["vision_model.layernorm.bias"]
        with pytest.raises(
            CorruptFileError, match=r"does not fit `Dinov2Model`: \{'missing_keys': \['layernorm.bias'"
        ):
            convert_checkpoint(wrapped, **fields)
        wrapped["vision_model.layernorm.bias"] = torch.zeros(7)
        with pytest.raises(CorruptFileError, match="does not fit `Dinov2Model`"):
            convert_checkpoint(wrapped, **fields)


EVA = {"depth": 2, "embed_dim": 48, "num_heads": 3}


def eva():
    """timm's model of EVA-02, and its tensors in the names of the original code."""
    model = shaken(timm.create_model("eva02_large_patch14_448", img_size=28, num_classes=5, **EVA))
    state = {}
    for name, value in state_of(model).items():
        name = re.sub(r"attn\.([qv])_proj\.bias", r"attn.\1_bias", name)
        name = name.replace("mlp.fc1_g", "mlp.w1").replace("mlp.fc1_x", "mlp.w2").replace("mlp.fc2", "mlp.w3")
        state[name.replace("mlp.norm", "mlp.ffn_ln")] = value
    for name in ("rope.", "blocks.0.attn.rope.", "blocks.1.attn.rope."):
        state |= {f"{name}freqs_cos": torch.zeros(4, 16), f"{name}freqs_sin": torch.zeros(4, 16)}
    return model, state


class TestEva:
    def test_same_numbers(self, tmp_path):
        original, state = eva()
        torch.save({"module": state}, tmp_path / "eva.pt")
        fields = {"preset": "eva02_large", "image_size": 28, "backbone_kwargs": EVA}
        model, pixels = convert_checkpoint(tmp_path / "eva.pt", **fields), torch.randn(2, 3, 28, 28)
        assert torch.equal(exact(model)(pixels).logits, original(pixels))
        assert len(model.config.vocabulary) == 5
        encoder = ClimbVisionModel.from_preset(
            "eva02_large", pretrained=tmp_path / "eva.pt", image_size=28, backbone_kwargs=EVA
        )
        assert torch.equal(exact(encoder)(pixels).pooler_output, exact(model)(pixels).pooler_output)

    def test_as_timm_reads_it(self):
        original, state = eva()
        theirs = timm.models.eva.checkpoint_filter_fn(dict(state), original)
        ours = in_timm_names(state, find_layout(state))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def resnet_shapes(projection=768):
    """Names and shapes of CLIP's ResNet-50: three convolutions, stages of 3, 4, 6, 3 blocks, attention pool."""

    def norm(name, width):
        shapes = {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
        return {**shapes, f"{name}.num_batches_tracked": ()}

    shapes: dict[str, tuple[int, ...]] = {}
    for index, (channels, width) in enumerate(((3, 32), (32, 32), (32, 64)), start=1):
        shapes |= {f"conv{index}.weight": (width, channels, 3, 3), **norm(f"bn{index}", width)}
    channels = 64
    for stage, depth in enumerate((3, 4, 6, 3), start=1):
        inner = 64 * 2 ** (stage - 1)
        for block in range(depth):
            name = f"layer{stage}.{block}."
            convolutions = ((inner, channels, 1, 1), (inner, inner, 3, 3), (4 * inner, inner, 1, 1))
            for index, shape in enumerate(convolutions, start=1):
                shapes |= {f"{name}conv{index}.weight": shape, **norm(f"{name}bn{index}", shape[0])}
            if block == 0:
                shapes[f"{name}downsample.0.weight"] = (4 * inner, channels, 1, 1)
                shapes |= norm(f"{name}downsample.1", 4 * inner)
            channels = 4 * inner
    shapes["attnpool.positional_embedding"] = (50, 2048)
    for part in "qkvc":
        width = projection if part == "c" else 2048
        shapes |= {f"attnpool.{part}_proj.weight": (width, 2048), f"attnpool.{part}_proj.bias": (width,)}
    return shapes


@pytest.fixture(scope="module")
def resnet():
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in resnet_shapes().items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
        elif name.endswith("running_var"):
            state[name] = torch.rand(shape, generator=generator) + 0.5
        else:
            state[name] = 0.02 * torch.randn(shape, generator=generator)
    return state


class TestPmcClip:
    def test_counts(self, resnet):
        assert len(resnet) == 339
        trained = (value for name, value in resnet.items() if not re.search("running_|num_batches", name))
        assert sum(value.numel() for value in trained) == 37_792_352

    def test_as_timm_reads_it(self, resnet):
        with torch.device("meta"):
            model = timm.create_model("resnet50_clip", num_classes=768)
        prefixed = {f"visual.{name}": value for name, value in resnet.items()}
        theirs = timm.models.byobnet._convert_openai_clip(prefixed, model)
        ours = in_timm_names(resnet, find_layout(resnet))
        assert ours.keys() == theirs.keys() == model.state_dict().keys()
        assert all(ours[name] is theirs[name] for name in theirs)

    @pytest.mark.parametrize("wrapping", ["plain", "checkpoint"])
    def test_files(self, resnet, wrapping, tmp_path):
        content = resnet
        if wrapping == "checkpoint":
            content = {f"module.visual.{name}": value for name, value in resnet.items()}
            content = {"epoch": 3, "state_dict": {**content, "module.text_encoder.weight": torch.zeros(2)}}
        torch.save(content, tmp_path / "image_encoder(resnet50).pth")
        model = convert_checkpoint(tmp_path / "image_encoder(resnet50).pth", preset="pmc_clip_rn50")
        assert type(model) is ClimbVisionModel
        assert torch.equal(model.backbone.head.proj.weight, resnet["attnpool.c_proj.weight"])
        assert torch.equal(
            model.backbone.stages[3][0].shortcut.conv.conv.weight, resnet["layer4.0.downsample.0.weight"]
        )
        assert model.backbone.head.num_heads == 32


class TestPaperClassifiers:
    """What the CLIMB paper's code saves: `vision_model.`, `fc.` and, for Swin, `temporal_pool.`."""

    def wrapped(self, model, width, classes=3):
        generator = torch.Generator().manual_seed(1)
        state = {f"vision_model.{name}": value for name, value in state_of(model).items()}
        state["fc.weight"] = torch.randn(classes, width, generator=generator)
        state["fc.bias"] = torch.randn(classes, generator=generator)
        return state

    @pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
    def test_mean_over_frames(self, prefix, tmp_path):
        original, pixels = convnext(), torch.randn(2, 3, 3, 32, 32)
        state = self.wrapped(original, 32)
        save_file({f"{prefix}{name}": value for name, value in state.items()}, tmp_path / "model.safetensors")
        model = convert_checkpoint(tmp_path / "model.safetensors", **CONVNEXT_FIELDS)
        assert type(model) is ClimbVisionForClassification
        assert model.config.vocabulary == ["LABEL_0", "LABEL_1", "LABEL_2"]
        mask = torch.tensor([[True, True, False], [True, True, True]])
        features = original(pixels.flatten(0, 1)).pooler_output.unflatten(0, (2, 3)) * mask[..., None]
        expected = (features.sum(1) / mask.sum(1, keepdim=True)) @ state["fc.weight"].T + state["fc.bias"]
        found = forward(exact(model), {"pixel_values": pixels, "frame_mask": mask}).logits
        torch.testing.assert_close(found, expected.detach(), atol=1e-5, rtol=1e-4)

    def test_attention_over_frames(self):
        original, pixels = swin(), torch.randn(2, 4, 3, 32, 32)
        state = self.wrapped(original, 32)
        layers = {name: shaken(nn.Linear(32, 32)) for name in ("q_proj", "k_proj", "v_proj", "out_proj")}
        norm, query = shaken(nn.LayerNorm(32)), torch.randn(1, 1, 32)
        for name, layer in (*layers.items(), ("norm", norm)):
            state |= {f"temporal_pool.{name}.{kind}": value for kind, value in layer.state_dict().items()}
        state["temporal_pool.temporal_query"] = query
        model = convert_checkpoint(state, **SWIN_FIELDS, vocabulary=["a", "b", "c"])
        assert model.config.pooling == "attention"
        mask = torch.tensor([[True, False, True, False], [True] * 4])

        frames = norm(original(pixels.flatten(0, 1)).pooler_output).unflatten(0, (2, 4))
        heads = [layers["q_proj"](query.expand(2, -1, -1)), layers["k_proj"](frames), layers["v_proj"](frames)]
        queries, keys, values = (part.unflatten(2, (8, 4)).transpose(1, 2) for part in heads)
        scores = (queries @ keys.transpose(2, 3) / 2).masked_fill(~mask[:, None, None], -torch.inf)
        pooled = layers["out_proj"]((scores.softmax(-1) @ values).transpose(1, 2).flatten(2)).squeeze(1)
        expected = pooled @ state["fc.weight"].T + state["fc.bias"]
        found = forward(model, {"pixel_values": pixels, "frame_mask": mask}).logits
        torch.testing.assert_close(found, expected.detach(), atol=1e-5, rtol=1e-4)

    def test_swin_without_the_attention(self):
        original = swin()
        model = convert_checkpoint(self.wrapped(original, 32), **SWIN_FIELDS)
        assert model.config.pooling == "mean"
        model = convert_checkpoint(self.wrapped(original, 32), **SWIN_FIELDS, pooling="attention")
        assert model.climb_vision.frame_pooling.query.abs().max() > 0  # fresh

    def test_timm_backbones(self):
        sizes = {"depth": 1, "embed_dim": 64, "num_heads": 2}
        original = shaken(timm.create_model("vit_mediumd_patch16_reg4_gap_384", img_size=32, num_classes=0, **sizes))
        state, pixels = self.wrapped(original, 64), torch.randn(2, 3, 32, 32)
        model = convert_checkpoint(state, preset="sbb2_mediumd", image_size=32, backbone_kwargs=sizes)
        expected = original(pixels) @ state["fc.weight"].T + state["fc.bias"]
        torch.testing.assert_close(model(pixels).logits, expected, **TOLERANCE)

    def test_the_projected_tower(self):
        original, pixels = clip(), torch.randn(2, 3, 28, 28)
        state = {f"vision_model.{name}": value for name, value in in_open_clip_names(original).items()}
        state |= {"fc.weight": torch.randn(3, 24), "fc.bias": torch.randn(3)}
        model = convert_checkpoint(state, **CLIP_FIELDS)
        expected = original(pixels).image_embeds @ state["fc.weight"].T + state["fc.bias"]
        torch.testing.assert_close(model(pixels).logits, expected, atol=1e-5, rtol=1e-4)


def test_classifiers_of_transformers_keep_their_head():
    original, pixels = convnext(ConvNextV2ForImageClassification, num_labels=4), torch.randn(2, 3, 32, 32)
    model = convert_checkpoint(state_of(original), **CONVNEXT_FIELDS, vocabulary=["a", "b", "c", "d"])
    torch.testing.assert_close(model(pixels).logits, original(pixels).logits, **TOLERANCE)
    with pytest.raises(CorruptFileError, match=r"classifier.weight \(4, 32\) instead of \(2, 32\)"):
        convert_checkpoint(state_of(original), **CONVNEXT_FIELDS, vocabulary=["a", "b"])


def test_what_does_not_fit_is_named():
    state = state_of(swin())
    with pytest.raises(CorruptFileError, match=r"the checkpoint \(Swin V2 .+\).+: 1 left over \(backbone.stranger\)"):
        convert_checkpoint({**state, "stranger": torch.zeros(1)}, **SWIN_FIELDS)
    with pytest.raises(CorruptFileError, match="of another shape"):
        convert_checkpoint(state, **{**SWIN_FIELDS, "backbone_kwargs": {**SWIN, "embed_dim": 32}})
    with pytest.raises(CorruptFileError, match=r"missing \(cls_token|missing \(backbone"):
        convert_checkpoint(state, **internvit_fields())
    del state["encoder.layers.1.blocks.0.attention.self.key.weight"]
    with pytest.raises(
        CorruptFileError, match=r"1 missing \(backbone.layers.1.blocks.0.attn.qkv.weight\); 2 left over"
    ):
        convert_checkpoint(state, **SWIN_FIELDS)


def test_a_backbone_has_to_be_named():
    with pytest.raises(OptionError, match="the names of InternViT: pass `preset`, one of convnextv2_base"):
        convert_checkpoint(in_internvit_names(internvit()))
    with pytest.raises(OptionError, match="no layout but perhaps timm's own"):
        convert_checkpoint({"patch_embed.proj.weight": torch.zeros(1)})


def test_no_marker_belongs_to_two_layouts():
    checkpoints = [state_of(swin()), state_of(convnext()), in_internvit_names(internvit()), state_of(internvit())]
    checkpoints += [eva()[1], in_open_clip_names(clip()), dict.fromkeys(resnet_shapes())]
    checkpoints.append({name.removeprefix("vision_model."): value for name, value in state_of(clip()).items()})
    found = [[layout.title for layout in LAYOUTS if layout.marker in state] for state in checkpoints]
    assert all(len(titles) == 1 for titles in found)
    assert len({titles[0] for titles in found}) == len(LAYOUTS)
    assert find_layout(state_of(timm.create_model("test_vit"))) is None
