"""Published checkpoints of the vision encoders, and those of the CLIMB paper's code, for `ClimbVision`.

Sources, with the licence of their weights (`climb_hf.models.vision.presets` has the notes):

* classifiers of `DDVD233/InternVL` (MIT): `vision_model.` before the backbone's own names, the head `fc.`, and for
  Swin the attention over frames `temporal_pool.`. No checkpoint of them was published so far;
* transformers' names of `microsoft/swinv2-*` (said to be apache-2.0, original MIT), `facebook/convnextv2-*`
  (CC-BY-NC-4.0 by the original, apache-2.0 by the cards) and CLIP towers;
* InternViT: `vision_model.` of `OpenGVLab/InternVL2-8B` and its kin (MIT);
* EVA-02: files of `Yuxin-CV/EVA-02` (MIT), weights under `module`;
* PMC-ViT-L/14: `open_clip_model.safetensors` or `open_clip_pytorch_model.bin` of `ryanyip7777/pmc_vit_l_14` (no
  licence stated: convert for yourself, do not pass on);
* PMC-CLIP: `image_encoder(resnet50).pth` or `checkpoint.pt` of the Hub data set `axiong/pmc_oa`
  (`WeixiongLin/PMC-CLIP`, commit b0b81e3, code MIT, licence of the weights not verified);
* `microsoft/rad-dino` (msrla, research use only), in old and new names of transformers.

None of the files was at hand (so no hashes): the maps are checked against transformers' and timm's own models.
"""

import copy
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.models.checkpoints import load_exactly, read_state_dict, strip_prefix
from climb_hf.models.vision.backbones import transformers_arguments
from climb_hf.models.vision.configuration_vision import ClimbVisionConfig
from climb_hf.models.vision.modeling_vision import ClimbVisionForClassification, ClimbVisionModel
from climb_hf.models.vision.presets import VISION_PRESETS, get_preset
from climb_hf.models.vision.published_names import find_layout, in_timm_names

__all__ = ["convert_checkpoint", "fill_encoder"]

#: Before all names where a model was saved as it was trained: distributed, compiled.
_WRAPPERS = ("module.", "_orig_mod.", "module.")
_TOWER = "vision_model."
_OPEN_CLIP_TOWER = "visual."
_LANGUAGE_MODEL = "language_model."
#: Parts of image-text models beside the tower of pictures: of CLIP, and of InternVL.
_OTHER_PARTS = ("text_model.", "text_projection.", "logit_scale", "logit_bias")
_INTERNVL_PARTS = (_LANGUAGE_MODEL, "mlp1.")
_FAMILIES = ("swinv2.", "convnextv2.", "dinov2.")
#: Heads by what stands before `weight` and `bias`: the paper's code and timm's ResNets, transformers, timm, EVA-02.
_HEADS = ("fc.", "classifier.", "head.fc.", "head.")
_FRAME_ATTENTION = "temporal_pool."


class _Parts(NamedTuple):
    """A checkpoint taken apart: names of the backbone, of the head and of the attention over frames."""

    backbone: dict[str, Tensor]
    head: dict[str, Tensor]
    frames: dict[str, Tensor]


def convert_checkpoint(
    path_or_state_dict: "str | Path | Mapping[str, Tensor]",
    preset: str | None = None,
    **config: Any,  # noqa: ANN401 - fields of ClimbVisionConfig
) -> "ClimbVisionForClassification | ClimbVisionModel":
    """Build the model of a checkpoint; nothing of it is left over and nothing of ours is left unfilled.

    Learned positions of another grid than that of `image_size` are resized (bicubic without antialiasing, as InternViT
    and transformers do it).

    Args:
        path_or_state_dict (`str`, `Path` or `Mapping`): the file, or its tensors by name.
        preset (`str`, *optional*): one of `climb_hf.models.vision.presets.VISION_PRESETS`.
        **config: fields of `ClimbVisionConfig`, over those of the preset; without a preset at least `backbone`.
            `vocabulary` names the outputs of the head (`LABEL_0` … without it).

    Returns:
        The model in evaluation mode: with its head where the checkpoint has one, else the encoder (for the encoder of
        a model with a head, take `.climb_vision`).

    Raises:
        OptionError: neither `preset` nor `backbone`.
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
    """
    state = _unwrapped(read_state_dict(path_or_state_dict))
    fields = _fields(state, preset, config)
    parts = _parts(state, projected=bool(fields.get("backbone_kwargs", {}).get("num_classes")))
    if parts.head and not config.keys() & {"vocabulary", "num_labels", "id2label"}:
        fields["num_labels"] = next(iter(parts.head.values())).shape[0]
    if parts.frames:
        fields.setdefault("pooling", "attention")
    settings = ClimbVisionConfig(**fields)
    model = ClimbVisionForClassification(settings) if parts.head else ClimbVisionModel(settings)
    _fill(model, parts)
    return model.eval()


def fill_encoder(model: ClimbVisionModel, path_or_state_dict: "str | Path | Mapping[str, Tensor]") -> None:
    """Put the weights of a checkpoint into an encoder; its head and, for `pooling="mean"`, its attention are left out.

    Args:
        model (`ClimbVisionModel`): the encoder; it is filled in place.
        path_or_state_dict (`str`, `Path` or `Mapping`): the file, or its tensors by name.

    Raises:
        OptionError: the path is no file.
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
    """
    state = _unwrapped(read_state_dict(path_or_state_dict))
    parts = _parts(state, projected=bool(model.config.backbone_kwargs.get("num_classes")))
    frames = parts.frames if model.frame_pooling is not None else {}
    _fill(model, parts._replace(head={}, frames=frames))


def _unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of the tower of pictures, and of the heads beside it, without what stands before them."""
    state = dict(state)
    for wrapper in _WRAPPERS:
        state = strip_prefix(state, wrapper)
    if any(name.startswith(_TOWER) for name in state):
        chat = any(name.startswith(_LANGUAGE_MODEL) for name in state)
        others = (*_OTHER_PARTS, *(_INTERNVL_PARTS if chat else ()))
        state = {name: value for name, value in state.items() if not name.startswith(others)}
        return strip_prefix(state, _TOWER)
    if any(name.startswith(_OPEN_CLIP_TOWER) for name in state):  # the rest is the tower of texts, of any kind
        return strip_prefix(
            {name: value for name, value in state.items() if name.startswith(_OPEN_CLIP_TOWER)}, _OPEN_CLIP_TOWER
        )
    return strip_prefix(state, *_FAMILIES)


def _fields(state: Mapping[str, Tensor], preset: str | None, config: Mapping[str, Any]) -> dict[str, Any]:
    if preset is not None:
        return get_preset(preset).fields(**config)
    if "backbone" in config:
        return dict(config)
    layout = find_layout(state)
    kind = "names of no layout but perhaps timm's own" if layout is None else f"the names of {layout.title}"
    raise OptionError(
        f"shapes do not tell every size of a backbone. The checkpoint has {kind}: pass `preset`, one of "
        f"{', '.join(VISION_PRESETS)}, or `backbone='timm/<architecture>'`."
    )


def _parts(state: Mapping[str, Tensor], *, projected: bool) -> _Parts:
    """Take a checkpoint apart; where the backbone ends in a projection, timm's `head` is that, and no classifier."""
    heads = _HEADS[:2] if projected else _HEADS
    found = next((prefix for prefix in heads if f"{prefix}weight" in state), None)
    head, frames, backbone = {}, {}, {}
    for name, value in state.items():
        if found is not None and name in (f"{found}weight", f"{found}bias"):
            head[name.removeprefix(found)] = value
        elif name.startswith(_FRAME_ATTENTION):
            frames[name.removeprefix(_FRAME_ATTENTION)] = value
        else:
            backbone[name] = value
    # a constant added to every score has no effect on the attention: our keys have no bias
    frames.pop("k_proj.bias", None)
    if "temporal_query" in frames:
        frames["query"] = frames.pop("temporal_query")
    return _Parts(backbone, head, frames)


def _fill(model: "ClimbVisionForClassification | ClimbVisionModel", parts: _Parts) -> None:
    encoder = cast(ClimbVisionModel, model.base_model)
    if model.config.timm_name is None:
        title, named = "the checkpoint", _transformers_names(encoder, parts.backbone)
    else:
        title, named = _timm_names(encoder, parts.backbone)
    prefix = "" if encoder is model else f"{model.base_model_prefix}."
    state = {f"{prefix}backbone.{name}": value for name, value in named.items()}
    state |= {f"{prefix}frame_pooling.{name}": value for name, value in parts.frames.items()}
    state |= {f"classifier.{name}": value for name, value in parts.head.items()}
    fresh = [] if parts.frames else [f"{prefix}frame_pooling."]
    load_exactly(model, state, fresh=[*fresh, *([] if parts.head else ["classifier."])], of=title)


def _timm_names(encoder: ClimbVisionModel, state: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    layout = find_layout(state)
    named = dict(state) if layout is None else in_timm_names(state, layout)
    expected = encoder.backbone.state_dict()
    if layout is not None:  # a projection that the configuration does not ask for
        for name in ("head.weight", "head.bias", "head.proj.weight", "head.proj.bias"):
            if name not in expected:
                named.pop(name, None)
    fitted = {name: _fitted(name, value, expected, encoder.backbone) for name, value in named.items()}
    return "the checkpoint" if layout is None else f"the checkpoint ({layout.title})", fitted


def _fitted(name: str, value: Tensor, expected: Mapping[str, Tensor], backbone: Any) -> Tensor:  # noqa: ANN401 - timm's
    """Add or remove axes of 1, and resize learned positions."""
    if name not in expected or value.shape == expected[name].shape:
        return value
    shape = expected[name].shape
    if [side for side in value.shape if side != 1] == [side for side in shape if side != 1]:
        return value.reshape(shape)
    if name == "pos_embed" and value.shape[-1] == shape[-1] and hasattr(backbone, "patch_embed"):
        return _resized_positions(value.reshape(1, -1, shape[-1]), shape[1], backbone.patch_embed.grid_size)
    return value


def _resized_positions(positions: Tensor, count: int, grid: tuple[int, int]) -> Tensor:
    """Resize positions (1, prefix + n², width) to a grid of (height, width) places."""
    prefix = count - grid[0] * grid[1]
    places = positions[:, prefix:]
    side = math.isqrt(places.shape[1])
    if side * side != places.shape[1]:
        return positions
    places = places.float().unflatten(1, (side, side)).permute(0, 3, 1, 2)  # (1, n², D) -> (1, D, n, n)
    places = torch.nn.functional.interpolate(places, size=grid, mode="bicubic", align_corners=False)
    return torch.cat([positions[:, :prefix], places.flatten(2).transpose(1, 2).to(positions.dtype)], 1)


def _transformers_names(encoder: ClimbVisionModel, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Let transformers load the weights, which knows older names of its own models, and return them in its names."""
    inner = copy.deepcopy(encoder.config.backbone_config)  # loading writes the checkpoint's dtype into it
    kind = type(encoder.backbone)
    try:
        loaded, info = kind.from_pretrained(
            None,
            config=inner,
            state_dict=dict(state),
            output_loading_info=True,
            **transformers_arguments(inner, encoder.config.backbone_pooling),
        )
    except RuntimeError as error:
        raise CorruptFileError(f"the checkpoint does not fit `{kind.__name__}`: {error}") from error
    wrong = {what: sorted(map(str, names)) for what, names in info.items() if names}
    if wrong:
        raise CorruptFileError(
            f"the checkpoint does not fit `{kind.__name__}`: {wrong}. Check that it is a checkpoint of this "
            "architecture and that `backbone_config` has its sizes."
        )
    return loaded.state_dict()
