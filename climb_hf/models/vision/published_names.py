"""How published checkpoints name the tensors of backbones that timm has too, as tables, and the way into timm's names.

In a table `{i}` and `{j}` are numbers (`{next}` and `{prev}` are i ± 1) and `*` is any rest. A target with `#k` is the
k-th of several parts that are put one after the other, one with `#T` is transposed.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["LAYOUTS", "Layout", "find_layout", "in_timm_names"]


class Layout(NamedTuple):
    """The names of one publisher.

    Args:
        title (`str`): what it is, for messages.
        marker (`str`): a name that every checkpoint of it has, and none of the layouts after it.
        places (`dict[str, str]`): table from its names to timm's; what is not in it keeps its name.
        computed (`tuple[str, ...]`): patterns of tensors that timm computes itself.
        zeros (`str`, *optional*): a bias of timm's that the publisher does not have.
    """

    title: str
    marker: str
    places: dict[str, str]
    computed: tuple[str, ...] = ()
    zeros: str | None = None


_SWIN_BLOCK = "encoder.layers.{i}.blocks.{j}."
_CONVNEXT_BLOCK = "encoder.stages.{i}.layers.{j}."
_RESNET_BLOCK = "layer{i}.{j}."

LAYOUTS = (
    Layout(
        title="Swin V2 in the names of transformers",
        marker="encoder.layers.0.blocks.0.attention.self.logit_scale",
        places={
            "embeddings.patch_embeddings.projection.*": "patch_embed.proj.*",
            "embeddings.norm.*": "patch_embed.norm.*",
            "encoder.layers.{i}.downsample.*": "layers.{next}.downsample.*",
            **{
                _SWIN_BLOCK + ours: "layers.{i}.blocks.{j}." + theirs
                for ours, theirs in {
                    "attention.self.logit_scale": "attn.logit_scale",
                    "attention.self.continuous_position_bias_mlp.*": "attn.cpb_mlp.*",
                    "attention.self.query.weight": "attn.qkv.weight#0",
                    "attention.self.key.weight": "attn.qkv.weight#1",
                    "attention.self.value.weight": "attn.qkv.weight#2",
                    "attention.self.query.bias": "attn.q_bias",
                    "attention.self.value.bias": "attn.v_bias",
                    "attention.output.dense.*": "attn.proj.*",
                    "layernorm_before.*": "norm1.*",
                    "layernorm_after.*": "norm2.*",
                    "intermediate.dense.*": "mlp.fc1.*",
                    "output.dense.*": "mlp.fc2.*",
                }.items()
            },
            "layernorm.*": "norm.*",
        },
        computed=(r".*\.relative_(coords_table|position_index)", r"embeddings\.mask_token"),
    ),
    Layout(
        title="ConvNeXt V2 in the names of transformers",
        marker="encoder.stages.0.layers.0.grn.weight",
        places={
            "embeddings.patch_embeddings.*": "stem.0.*",
            "embeddings.layernorm.*": "stem.1.*",
            "encoder.stages.{i}.downsampling_layer.{j}.*": "stages.{i}.downsample.{j}.*",
            _CONVNEXT_BLOCK + "dwconv.*": "stages.{i}.blocks.{j}.conv_dw.*",
            _CONVNEXT_BLOCK + "layernorm.*": "stages.{i}.blocks.{j}.norm.*",
            _CONVNEXT_BLOCK + "pwconv1.*": "stages.{i}.blocks.{j}.mlp.fc1.*",
            _CONVNEXT_BLOCK + "pwconv2.*": "stages.{i}.blocks.{j}.mlp.fc2.*",
            _CONVNEXT_BLOCK + "grn.*": "stages.{i}.blocks.{j}.mlp.grn.*",
            "layernorm.*": "head.norm.*",
        },
    ),
    Layout(
        title="InternViT",
        marker="encoder.layers.0.attn.qkv.weight",
        places={
            "embeddings.class_embedding": "cls_token",
            "embeddings.position_embedding": "pos_embed",
            "embeddings.patch_embedding.*": "patch_embed.proj.*",
            "encoder.layers.{i}.ls1": "blocks.{i}.ls1.gamma",
            "encoder.layers.{i}.ls2": "blocks.{i}.ls2.gamma",
            "encoder.layers.{i}.*": "blocks.{i}.*",
        },
    ),
    Layout(
        title="InternViT in the names of transformers",
        marker="encoder.layer.0.lambda_1",
        places={
            "embeddings.cls_token": "cls_token",
            "embeddings.position_embeddings": "pos_embed",
            "embeddings.patch_embeddings.projection.*": "patch_embed.proj.*",
            "encoder.layer.{i}.lambda_1": "blocks.{i}.ls1.gamma",
            "encoder.layer.{i}.lambda_2": "blocks.{i}.ls2.gamma",
            "encoder.layer.{i}.layernorm_before.*": "blocks.{i}.norm1.*",
            "encoder.layer.{i}.layernorm_after.*": "blocks.{i}.norm2.*",
            "encoder.layer.{i}.attention.q_proj.*": "blocks.{i}.attn.qkv.*#0",
            "encoder.layer.{i}.attention.k_proj.*": "blocks.{i}.attn.qkv.*#1",
            "encoder.layer.{i}.attention.v_proj.*": "blocks.{i}.attn.qkv.*#2",
            "encoder.layer.{i}.attention.projection_layer.*": "blocks.{i}.attn.proj.*",
            "encoder.layer.{i}.mlp.*": "blocks.{i}.mlp.*",
        },
        computed=(r"embeddings\.mask_token",),
    ),
    Layout(
        title="EVA-02",
        marker="blocks.0.mlp.w1.weight",
        places={
            "blocks.{i}.attn.q_bias": "blocks.{i}.attn.q_proj.bias",
            "blocks.{i}.attn.v_bias": "blocks.{i}.attn.v_proj.bias",
            "blocks.{i}.mlp.ffn_ln.*": "blocks.{i}.mlp.norm.*",
            "blocks.{i}.mlp.w1.*": "blocks.{i}.mlp.fc1_g.*",
            "blocks.{i}.mlp.w2.*": "blocks.{i}.mlp.fc1_x.*",
            "blocks.{i}.mlp.w3.*": "blocks.{i}.mlp.fc2.*",
        },
        computed=(r"(blocks\.\d+\.attn\.)?rope\.freqs_(cos|sin)",),
    ),
    Layout(
        title="a ViT of open_clip",
        marker="class_embedding",
        places={
            "class_embedding": "cls_token",
            "positional_embedding": "pos_embed",
            "conv1.*": "patch_embed.proj.*",
            "ln_pre.*": "norm_pre.*",
            "ln_post.*": "norm.*",
            "proj": "head.weight#T",
            "transformer.resblocks.{i}.ln_1.*": "blocks.{i}.norm1.*",
            "transformer.resblocks.{i}.ln_2.*": "blocks.{i}.norm2.*",
            "transformer.resblocks.{i}.attn.in_proj_weight": "blocks.{i}.attn.qkv.weight",
            "transformer.resblocks.{i}.attn.in_proj_bias": "blocks.{i}.attn.qkv.bias",
            "transformer.resblocks.{i}.attn.out_proj.*": "blocks.{i}.attn.proj.*",
            "transformer.resblocks.{i}.mlp.c_fc.*": "blocks.{i}.mlp.fc1.*",
            "transformer.resblocks.{i}.mlp.c_proj.*": "blocks.{i}.mlp.fc2.*",
        },
        zeros="head.bias",
    ),
    Layout(
        title="a CLIP ViT in the names of transformers",
        marker="pre_layrnorm.weight",
        places={
            "embeddings.class_embedding": "cls_token",
            "embeddings.position_embedding.weight": "pos_embed",
            "embeddings.patch_embedding.*": "patch_embed.proj.*",
            "pre_layrnorm.*": "norm_pre.*",
            "post_layernorm.*": "norm.*",
            "visual_projection.weight": "head.weight",
            "encoder.layers.{i}.layer_norm1.*": "blocks.{i}.norm1.*",
            "encoder.layers.{i}.layer_norm2.*": "blocks.{i}.norm2.*",
            "encoder.layers.{i}.self_attn.q_proj.*": "blocks.{i}.attn.qkv.*#0",
            "encoder.layers.{i}.self_attn.k_proj.*": "blocks.{i}.attn.qkv.*#1",
            "encoder.layers.{i}.self_attn.v_proj.*": "blocks.{i}.attn.qkv.*#2",
            "encoder.layers.{i}.self_attn.out_proj.*": "blocks.{i}.attn.proj.*",
            "encoder.layers.{i}.mlp.*": "blocks.{i}.mlp.*",
        },
        computed=(r"embeddings\.position_ids",),
        zeros="head.bias",
    ),
    Layout(
        title="a ResNet of CLIP",
        marker="attnpool.positional_embedding",
        places={
            "conv{i}.*": "stem.conv{i}.conv.*",
            "bn{i}.*": "stem.conv{i}.bn.*",
            _RESNET_BLOCK + "downsample.0.*": "stages.{prev}.{j}.shortcut.conv.conv.*",
            _RESNET_BLOCK + "downsample.1.*": "stages.{prev}.{j}.shortcut.conv.bn.*",
            **{
                f"{_RESNET_BLOCK}{kind}{place}.*": f"stages.{{prev}}.{{j}}.{layer}.{kind}.*"
                for kind in ("conv", "bn")
                for place, layer in enumerate(("conv1_1x1", "conv2_kxk", "conv3_1x1"), start=1)
            },
            "attnpool.positional_embedding": "head.pos_embed",
            "attnpool.q_proj.*": "head.q.*",
            "attnpool.k_proj.*": "head.k.*",
            "attnpool.v_proj.*": "head.v.*",
            "attnpool.c_proj.*": "head.proj.*",
        },
    ),
)


def find_layout(state: Mapping[str, Tensor]) -> Layout | None:
    """Return the layout of a checkpoint by the names it has; `None` where it is none of `LAYOUTS`, such as timm's own.

    Args:
        state (`Mapping[str, Tensor]`): tensors of the backbone by name.

    Returns:
        `Layout`, *optional*.
    """
    return next((layout for layout in LAYOUTS if layout.marker in state), None)


def in_timm_names(state: Mapping[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """Rename the tensors of a checkpoint to timm's names, and put together what timm keeps in one.

    Args:
        state (`Mapping[str, Tensor]`): tensors of the backbone by name.
        layout (`Layout`): of the checkpoint.

    Returns:
        `dict[str, Tensor]`: without what timm computes; names that the table does not know are kept as they are.
    """
    rules = [(_pattern(source), target) for source, target in layout.places.items()]
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        if any(re.fullmatch(pattern, name) for pattern in layout.computed):
            continue
        ours = _renamed(name, rules)
        if ours.endswith("#T"):
            ours, value = ours.removesuffix("#T"), value.T
        renamed[ours] = value
    for name in {name[:-2] for name in renamed if name.endswith("#0")}:
        parts = [renamed[f"{name}#{part}"] for part in range(3) if f"{name}#{part}" in renamed]
        if len(parts) == 3:  # otherwise the parts stay, and are reported as left over
            renamed[name] = torch.cat(parts)
            for part in range(3):
                del renamed[f"{name}#{part}"]
    if layout.zeros is not None and "head.weight" in renamed:
        renamed[layout.zeros] = renamed["head.weight"].new_zeros(renamed["head.weight"].shape[0])
    return renamed


def _pattern(source: str) -> re.Pattern[str]:
    text = re.escape(source).replace(r"\{i\}", r"(?P<i>\d+)").replace(r"\{j\}", r"(?P<j>\d+)")
    return re.compile(text.replace(r"\*", "(?P<rest>.+)"))


def _renamed(name: str, rules: list[tuple[re.Pattern[str], str]]) -> str:
    for pattern, target in rules:
        if found := pattern.fullmatch(name):
            values: dict[str, str | int] = dict(found.groupdict())
            if "i" in values:
                values |= {"next": int(values["i"]) + 1, "prev": int(values["i"]) - 1}
            return target.replace("*", "{rest}").format(**values)
    return name
