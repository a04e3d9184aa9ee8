"""Checkpoints of `sehunfromdaegu/ECG_JEPA` (MIT, commit d937ad2), which hold the encoder.

Files: `multiblock_epoch100.pth` (SHA-256 said to be
61334869f905a7d6de32bc573c60024eaf6efba7c35c0e45fc2ea7d52b6ff66e, not verified) and one of random masking, behind
file-share links of its README: `{"encoder": tensors by name, "epoch": int}`. The repository is under MIT and makes no
separate statement about weights; they were trained on Chapman-Shaoxing and CODE-15 (CC-BY-4.0).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from climb_hf.errors import CorruptFileError
from climb_hf.models.checkpoints import load_exactly, read_state_dict, strip_prefix
from climb_hf.models.ecg_jepa.configuration_ecg_jepa import EcgJepaConfig
from climb_hf.models.ecg_jepa.modeling_ecg_jepa import EcgJepaModel
from climb_hf.models.ecg_jepa.pretraining_ecg_jepa import EcgJepaForPretraining

__all__ = ["convert_checkpoint", "convert_pretraining"]

_HEAD_WIDTH = 48  # of the published encoder: 768 / 16
_PREDICTOR_HEAD_WIDTH = 32  # 384 / 12


def convert_checkpoint(
    path_or_state_dict: "str | Path | Mapping[str, Tensor]",
    **config: Any,  # noqa: ANN401 - fields of EcgJepaConfig
) -> EcgJepaModel:
    """Build the encoder of a checkpoint; nothing of it is left over and nothing of ours is left unfilled.

    Args:
        path_or_state_dict (`str`, `Path` or `Mapping`): the file, or its tensors by name.
        **config: fields of `EcgJepaConfig` that shapes do not tell: `num_attention_heads` where a head's width is not
            48, `num_channels` where it is not 8.

    Returns:
        The encoder in evaluation mode.

    Raises:
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
    """
    state = strip_prefix(read_state_dict(path_or_state_dict), "module.")
    model = EcgJepaModel(EcgJepaConfig(**{**_sizes(state, config), **config}))
    load_exactly(model, _flat_positions(state), rename=_encoder_name)
    return model.eval()


def convert_pretraining(
    encoder: "str | Path | Mapping[str, Tensor]",
    predictor: "str | Path | Mapping[str, Tensor]",
    **config: Any,  # noqa: ANN401 - fields of EcgJepaConfig
) -> EcgJepaForPretraining:
    """Build the pretraining model from an encoder and a predictor; the target encoder starts as a copy.

    Args:
        encoder (`str`, `Path` or `Mapping`): as for `convert_checkpoint`.
        predictor (`str`, `Path` or `Mapping`): tensors of the published code's predictor.
        **config: fields of `EcgJepaConfig`, among them `predictor_num_heads` where a head's width is not 32.

    Returns:
        The model in evaluation mode.

    Raises:
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
    """
    fast = strip_prefix(read_state_dict(encoder), "module.")
    ahead = _flat_positions(strip_prefix(read_state_dict(predictor), "module."))
    try:
        width = ahead["predictor_embed.weight"].shape[0]
    except KeyError as error:
        raise CorruptFileError(f"the predictor has no tensor {error}: it is none of ECG-JEPA.") from error
    sizes = {
        **_sizes(fast, config),
        "predictor_hidden_size": width,
        "predictor_num_heads": max(width // _PREDICTOR_HEAD_WIDTH, 1),
        "predictor_num_layers": _layers(ahead, "predictor_blocks.blocks"),
    }
    model = EcgJepaForPretraining(EcgJepaConfig(**{**sizes, **config}))
    for part in (model.ecg_jepa, model.target):
        load_exactly(part, _flat_positions(fast), rename=_encoder_name)
    load_exactly(model.predictor, ahead, rename=_predictor_name, of="the predictor")
    return model.eval()


def _encoder_name(name: str) -> str:
    name = {"pos_embed": "position_embedding"}.get(name, name)
    name = re.sub(r"^W_P\.", "patch_embedding.", name)
    name = re.sub(r"^norm\.", "encoder.norm.", name)
    return re.sub(r"^encoder_blocks\.blocks\.", "encoder.blocks.", name)


def _predictor_name(name: str) -> str:
    name = {"pos_embed": "position_embedding"}.get(name, name)
    name = re.sub(r"^predictor_embed\.", "embedding.", name)
    name = re.sub(r"^predictor_norm\.", "stack.norm.", name)
    name = re.sub(r"^predictor_proj\.", "projection.", name)
    return re.sub(r"^predictor_blocks\.blocks\.", "stack.blocks.", name)


def _flat_positions(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with `pos_embed` as (tokens, width): some copies have an axis of 1 before."""
    state = dict(state)
    if "pos_embed" in state:
        state["pos_embed"] = state["pos_embed"].flatten(0, -2)
    return state


def _layers(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({found[1] for name in state if (found := re.match(rf"{re.escape(prefix)}\.(\d+)\.", name))})


def _sizes(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    try:
        width, patch = state["W_P.weight"].shape
        tokens = state["pos_embed"].flatten(0, -2).shape[0]
        hidden = state["encoder_blocks.blocks.0.mlp.fc1.weight"].shape[0]
    except KeyError as error:
        raise CorruptFileError(f"the checkpoint has no tensor {error}: it is none of ECG-JEPA.") from error
    return {
        "patch_size": patch,
        "signal_length": patch * (tokens // int(config.get("num_channels", 8))),
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": _layers(state, "encoder_blocks.blocks"),
        "num_attention_heads": max(width // _HEAD_WIDTH, 1),
    }
