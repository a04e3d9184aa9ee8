"""Checkpoints of ST-Transformer in the names of `ycq091044/BIOT:model/st_transformer.py` (MIT, commit d138e32).

No checkpoint was published: this converts what a user trained with that code.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from climb_hf.errors import CorruptFileError
from climb_hf.models.checkpoints import load_exactly, read_state_dict, strip_prefix
from climb_hf.models.st_transformer.configuration_st_transformer import StTransformerConfig
from climb_hf.models.st_transformer.modeling_st_transformer import (
    StTransformerForClassification,
    StTransformerModel,
)

__all__ = ["convert_checkpoint"]

_PLACES = (
    (r"channel_attension\.fn\.0\.(.+)", r"signal_norm.\1"),  # the reference's spelling
    (r"channel_attension\.fn\.1\.(query|key|projection)\.0\.(.+)", r"channel_attention.\1.linear.\2"),
    (r"channel_attension\.fn\.1\.(query|key|projection)\.1\.(.+)", r"channel_attention.\1.norm.\2"),
    (r"patch_embedding\.projection\.0\.(.+)", r"conv1.\1"),
    (r"patch_embedding\.projection\.1\.(.+)", r"norm.\1"),
    (r"patch_embedding\.projection\.3\.(.+)", r"conv2.\1"),
    (r"transformer\.(\d+)\.0\.fn\.0\.(.+)", r"blocks.\1.norm1.\2"),
    (r"transformer\.(\d+)\.0\.fn\.1\.qkv\.(.+)", r"blocks.\1.attn.qkv.\2"),
    (r"transformer\.(\d+)\.0\.fn\.1\.projection\.(.+)", r"blocks.\1.attn.proj.\2"),
    (r"transformer\.(\d+)\.1\.fn\.0\.(.+)", r"blocks.\1.norm2.\2"),
    (r"transformer\.(\d+)\.1\.fn\.1\.0\.(.+)", r"blocks.\1.mlp.fc1.\2"),
    (r"transformer\.(\d+)\.1\.fn\.1\.3\.(.+)", r"blocks.\1.mlp.fc2.\2"),
)
_HEAD = "classification.1."


def convert_checkpoint(
    path_or_state_dict: "str | Path | Mapping[str, Tensor]",
    **config: Any,  # noqa: ANN401 - fields of StTransformerConfig
) -> "StTransformerForClassification | StTransformerModel":
    """Build the model of a checkpoint; nothing of it is left over and nothing of ours is left unfilled.

    Args:
        path_or_state_dict (`str`, `Path` or `Mapping`): the file, or its tensors by name, which may all begin with
            `model.` or `module.`.
        **config: fields of `StTransformerConfig` that shapes do not tell: `num_attention_heads` (8), `stride` (8),
            `pooling_size` (100); `vocabulary` names the outputs of the head.

    Returns:
        The model in evaluation mode: with its head where the checkpoint has `classification`, else the encoder. Its
        channel attention is the published one, which has no effect, unless `channel_attention` says otherwise.

    Raises:
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
        OptionError: fields that do not fit the checkpoint or each other.
    """
    state = strip_prefix(read_state_dict(path_or_state_dict), "model.module.", "module.model.", "model.", "module.")
    has_head = _HEAD + "weight" in state
    settings = StTransformerConfig(**{**_sizes(state, config, has_head=has_head), **config})
    model = StTransformerForClassification(settings) if has_head else StTransformerModel(settings)
    before = "st_transformer." if has_head else ""

    def rename(name: str) -> str:
        if has_head and name.startswith(_HEAD):
            return "classifier." + name.removeprefix(_HEAD)
        for pattern, replacement in _PLACES:
            if found := re.fullmatch(pattern, name):
                return before + found.expand(replacement)
        return name

    load_exactly(model, _with_joined_attention(state), rename=rename)
    return model.eval()


def _with_joined_attention(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with `queries`, `keys` and `values` of a layer as one `qkv`, where all three are there."""
    joined = dict(state)
    for name in state:
        if found := re.fullmatch(r"(transformer\.\d+\.0\.fn\.1\.)queries\.(weight|bias)", name):
            parts = [f"{found[1]}{part}.{found[2]}" for part in ("queries", "keys", "values")]
            if all(part in state for part in parts):
                joined[f"{found[1]}qkv.{found[2]}"] = torch.cat([joined.pop(part) for part in parts])
    return joined


def _sizes(state: Mapping[str, Tensor], config: Mapping[str, Any], *, has_head: bool) -> dict[str, Any]:
    try:
        (length,) = state["channel_attension.fn.0.weight"].shape
        stem, channels, kernel = state["patch_embedding.projection.0.weight"].shape
        width = state["patch_embedding.projection.3.weight"].shape[0]
        hidden = state["transformer.0.1.fn.1.0.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise CorruptFileError(f"the checkpoint has no tensor {error}: it is none of ST-Transformer.") from error
    sizes: dict[str, Any] = {
        "num_channels": channels,
        "signal_length": length,
        "stem_channels": stem,
        "kernel_size": kernel,
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": len({found[1] for name in state if (found := re.match(r"transformer\.(\d+)\.", name))}),
    }
    if has_head and not config.keys() & {"vocabulary", "num_labels", "id2label"}:
        sizes["num_labels"] = state[_HEAD + "weight"].shape[0]
    return sizes
