"""Backbones of the vision encoder: built, run and filled with weights in one way, whether timm's or transformers'.

A backbone is used as its library makes it; nothing here knows an architecture by name.
"""

import difflib
import inspect
from collections.abc import Iterable
from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init

from climb_hf.errors import OptionError
from climb_hf.models.vision.configuration_vision import ClimbVisionConfig

__all__ = [
    "Backbone",
    "Encoded",
    "architecture",
    "backbone_width",
    "block_names",
    "build_backbone",
    "checkpointable",
    "encode",
    "is_foreign",
    "mark_initialized",
    "refill",
    "shared_parameters",
    "timm_arguments",
    "transformers_arguments",
]

#: A timm model or a transformers model: both have methods that `nn.Module` does not declare.
Backbone = Any

_CLASS_TOKENS = ("cls_token", "class_embedding", "class_token")
_FOREIGN = "_climb_foreign"


class Encoded(NamedTuple):
    """What a backbone makes of n images: tokens (n, tokens, width), pooled (n, hidden), and on request its layers."""

    tokens: Tensor
    pooled: Tensor
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


def architecture(config: ClimbVisionConfig) -> str:
    """Return timm's name without the tag: weights come from a checkpoint, so a retired tag must not stop a load."""
    return str(config.timm_name).partition(".")[0]


def timm_arguments(config: ClimbVisionConfig) -> dict[str, Any]:
    """Return the arguments of `timm.create_model` for a configuration, without weights and without timm's head."""
    arguments = {"num_classes": 0, "in_chans": config.num_channels, **config.backbone_kwargs}
    name = architecture(config)
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=4)
        raise OptionError(
            f"`backbone` names the architecture {name!r}, which timm {timm.__version__} does not have"
            f"{' (near: ' + ', '.join(near) + ')' if near else ''}. `timm.list_models()` lists them all."
        )
    facts = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if facts is not None and facts.fixed_input_size:
        arguments.setdefault("img_size", config.input_size)
    return arguments


def build_backbone(config: ClimbVisionConfig) -> Backbone:
    """Build the backbone of a configuration with its own library's random initialisation.

    Args:
        config (`ClimbVisionConfig`): the configuration.

    Returns:
        `nn.Module`: the timm model without head, or the transformers model. Parameters that features never use
        (mask tokens of transformers models) are frozen, so that distributed training finds no unused parameter.

    Raises:
        OptionError: timm has no such architecture.
    """
    if config.timm_name is not None:
        backbone = timm.create_model(architecture(config), pretrained=False, **timm_arguments(config))
        for module in backbone.modules():
            setattr(module, _FOREIGN, True)
        return backbone
    return _build_transformers(config.backbone_config, config.backbone_pooling)


def transformers_arguments(config: Any, pooling: str) -> dict[str, bool]:  # noqa: ANN401 - any configuration class
    """Return further arguments of a transformers backbone: no pooler where its output would go unused."""
    from transformers import MODEL_MAPPING

    found: Any = MODEL_MAPPING[type(config)]
    known = inspect.signature(found[0] if isinstance(found, tuple) else found).parameters
    return {"add_pooling_layer": False} if pooling in ("cls", "mean") and "add_pooling_layer" in known else {}


def _build_transformers(config: Any, pooling: str) -> Backbone:  # noqa: ANN401 - any configuration class
    from transformers import AutoModel

    backbone = AutoModel.from_config(
        config, dtype=torch.get_default_dtype(), **transformers_arguments(config, pooling)
    )
    for name, parameter in backbone.named_parameters():
        if name.endswith("mask_token"):
            parameter.requires_grad_(False)
    return backbone


def backbone_width(backbone: Backbone, config: ClimbVisionConfig) -> int:
    """Return the width of the backbone's pooled feature.

    Raises:
        OptionError: the configuration of a transformers backbone does not say its width.
    """
    if config.timm_name is not None:
        projected = config.backbone_kwargs.get("num_classes", 0)
        return int(projected or getattr(backbone, "head_hidden_size", None) or backbone.num_features)
    width = getattr(config.backbone_config, "hidden_size", None)
    if width is None:
        width = next(iter(reversed(getattr(config.backbone_config, "hidden_sizes", None) or [])), None)
    if not isinstance(width, int):
        raise OptionError(
            f"`backbone_config` of type {type(config.backbone_config).__name__} has neither `hidden_size` nor "
            "`hidden_sizes`, so the width of its features is unknown. Choose another backbone."
        )
    return width


def checkpointable(backbone: Backbone) -> bool:
    """Tell whether the backbone can trade compute for memory (gradient checkpointing)."""
    if isinstance(backbone, PreTrainedModel):
        return bool(backbone.supports_gradient_checkpointing)
    try:
        backbone.set_grad_checkpointing(True)
        backbone.set_grad_checkpointing(False)
    except (AttributeError, AssertionError, NotImplementedError):
        return False
    return True


def encode(
    backbone: Backbone, config: ClimbVisionConfig, images: Tensor, *, hidden_states: bool, attentions: bool
) -> Encoded:
    """Run the backbone on images of its own dtype and channels.

    Args:
        backbone (`nn.Module`): what `build_backbone` returned.
        config (`ClimbVisionConfig`): its configuration.
        images (`torch.Tensor`): (n, channels, height, width).
        hidden_states (`bool`): return every layer's output.
        attentions (`bool`): return attention weights; transformers backbones only.

    Returns:
        `Encoded`: tokens are (n, tokens, width) for every backbone: the places of a feature map in row-major order.

    Raises:
        OptionError: attention weights were asked of a timm backbone, `backbone_pooling="pooler"` of one without a
            pooler, or the backbone returns several feature maps.
    """
    if config.timm_name is None:
        return _encode_transformers(backbone, config, images, hidden_states=hidden_states, attentions=attentions)
    if attentions:
        raise OptionError(
            f"`output_attentions` is not available from the timm backbone {config.backbone!r}. Use a transformers "
            "backbone with `attn_implementation='eager'`."
        )
    layers = None
    if hidden_states:
        features, layers = backbone.forward_intermediates(images)
    else:
        features = backbone.forward_features(images)
    if not isinstance(features, Tensor):
        raise OptionError(
            f"`backbone` {config.backbone!r} returns several feature maps, not one. Choose another architecture."
        )
    pooled = backbone.forward_head(features)  # (n, N, D) or a map -> (n, hidden)
    channels_last = getattr(backbone, "output_fmt", "NCHW") == "NHWC"
    return Encoded(_as_tokens(features, channels_last), pooled, None if layers is None else tuple(layers))


def _as_tokens(features: Tensor, channels_last: bool) -> Tensor:
    if features.ndim == 4:
        if not channels_last:
            features = features.permute(0, 2, 3, 1)  # (n, D, h, w) -> (n, h, w, D)
        features = features.flatten(1, 2)  # (n, h, w, D) -> (n, h·w, D)
    return features if features.ndim == 3 else features.unsqueeze(1)


def _encode_transformers(
    backbone: Backbone, config: ClimbVisionConfig, images: Tensor, *, hidden_states: bool, attentions: bool
) -> Encoded:
    asked = {"output_hidden_states": True} if hidden_states else {}
    if attentions:
        asked["output_attentions"] = True
    outputs = backbone(images, **asked)
    tokens = _as_tokens(outputs.last_hidden_state, channels_last=False)
    own = getattr(outputs, "pooler_output", None)
    pooling = config.backbone_pooling
    if pooling == "pooler" and own is None:
        raise OptionError(
            f"`backbone_pooling='pooler'`, but {type(backbone).__name__} returns no `pooler_output`. Use `cls` or "
            "`mean`."
        )
    if own is not None and pooling in ("auto", "pooler"):
        pooled = own.flatten(1)  # (n, D, 1, 1) of convolutional models -> (n, D)
    elif pooling == "cls" or (pooling == "auto" and _has_class_token(backbone)):
        pooled = tokens[:, 0]
    else:
        pooled = tokens.mean(1)
    return Encoded(tokens, pooled, getattr(outputs, "hidden_states", None), getattr(outputs, "attentions", None))


def _has_class_token(backbone: Backbone) -> bool:
    return any(name.rpartition(".")[2] in _CLASS_TOKENS for name, _ in backbone.named_parameters())


def mark_initialized(backbone: Backbone) -> None:
    """Keep transformers from initialising a timm backbone a second time; timm did it when it was built.

    On the meta device nothing is marked: what a checkpoint does not bring is filled by `refill` later.
    """
    if not any(parameter.is_meta for parameter in backbone.parameters()):
        for module in backbone.modules():
            if is_foreign(module):
                module._is_hf_initialized = True


def is_foreign(module: nn.Module) -> bool:
    """Tell whether a module belongs to a timm backbone."""
    return hasattr(module, _FOREIGN)


@torch.no_grad()
def refill(backbone: Backbone, config: ClimbVisionConfig) -> None:
    """Give real values to everything in a timm backbone that a checkpoint did not bring.

    `from_pretrained` builds on the meta device, so non-persistent buffers (relative positions, rotary tables) and
    parameters absent from the checkpoint come back as uninitialised memory. Buffers are computed by timm's own method
    where every module that has them offers it; for anything else a backbone is built anew and copied from.

    Args:
        backbone (`nn.Module`): a timm backbone whose loaded tensors carry transformers' mark.
        config (`ClimbVisionConfig`): its configuration.
    """
    lacking = [tensor for tensor in backbone.state_dict(keep_vars=True).values() if not _is_loaded(tensor)]
    holders = [module for module in backbone.modules() if _has_temporary(module)]
    if not lacking and all(hasattr(module, "init_non_persistent_buffers") for module in holders):
        for module in holders:
            module.init_non_persistent_buffers()
    else:
        fresh = _fresh_timm(config)
        values = {**dict(fresh.named_parameters()), **dict(fresh.named_buffers())}
        for name, tensor in (*backbone.named_parameters(), *backbone.named_buffers()):
            init.copy_(tensor, values[name])
    for module in backbone.modules():
        module._is_hf_initialized = True


def _is_loaded(tensor: Tensor) -> bool:
    return getattr(tensor, "_is_hf_initialized", False)


def _has_temporary(module: nn.Module) -> bool:
    return any(module._buffers.get(name) is not None for name in module._non_persistent_buffers_set)


def _fresh_timm(config: ClimbVisionConfig) -> Backbone:
    """Build the timm backbone on the CPU in float32, whatever device and dtype are the default at the moment."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            return timm.create_model(architecture(config), pretrained=False, **timm_arguments(config))
    finally:
        torch.set_default_dtype(dtype)


def shared_parameters(backbone: Backbone) -> dict[str, str]:
    """Return the further names of parameters that several modules share, each with the name it is saved under."""
    first: dict[int, str] = {}
    shared = {}
    for name, parameter in backbone.named_parameters(remove_duplicate=False):
        if first.setdefault(id(parameter), name) != name:
            shared[name] = first[id(parameter)]
    return shared


def block_names(modules: Iterable[nn.Module]) -> list[str]:
    """Return the class names of the repeated blocks: the units that sharding keeps whole."""
    names = {type(module).__name__ for module in modules}
    return sorted(name for name in names if name.endswith(("Block", "Bottleneck")))
