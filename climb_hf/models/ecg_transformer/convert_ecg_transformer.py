"""Checkpoints of the plain ECG transformer in the names of `DDVD233/CLIMB:src/models/transformer.py`.

Commit 0f767b1, from BenchMD / DABS; no checkpoint was published, and the repository has no licence: this converts what
a user trained with that code.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from climb_hf.errors import CorruptFileError
from climb_hf.models.checkpoints import load_exactly, read_state_dict, strip_prefix
from climb_hf.models.ecg_transformer.configuration_ecg_transformer import EcgTransformerConfig
from climb_hf.models.ecg_transformer.modeling_ecg_transformer import (
    EcgTransformerForClassification,
    EcgTransformerModel,
)

__all__ = ["convert_checkpoint"]

_PLACES = (
    (r"cls_token", "class_token"),
    (r"pos_embedding", "position_embedding"),
    (r"embed_modules\.0\.embed\.1\.(.+)", r"embedding.\1"),
    (r"transformer\.layers\.(\d+)\.0\.norm\.(.+)", r"blocks.\1.norm1.\2"),
    (r"transformer\.layers\.(\d+)\.0\.fn\.to_qkv\.(.+)", r"blocks.\1.attn.qkv.\2"),
    (r"transformer\.layers\.(\d+)\.0\.fn\.to_out\.0\.(.+)", r"blocks.\1.attn.proj.\2"),
    (r"transformer\.layers\.(\d+)\.1\.norm\.(.+)", r"blocks.\1.norm2.\2"),
    (r"transformer\.layers\.(\d+)\.1\.fn\.net\.0\.(.+)", r"blocks.\1.mlp.fc1.\2"),
    (r"transformer\.layers\.(\d+)\.1\.fn\.net\.3\.(.+)", r"blocks.\1.mlp.fc2.\2"),
)
_HEAD = ((r"mlp_head\.0\.(.+)", r"head_norm.\1"), (r"mlp_head\.1\.(.+)", r"classifier.\1"))


def convert_checkpoint(
    path_or_state_dict: "str | Path | Mapping[str, Tensor]",
    **config: Any,  # noqa: ANN401 - fields of EcgTransformerConfig
) -> "EcgTransformerForClassification | EcgTransformerModel":
    """Build the model of a checkpoint; nothing of it is left over and nothing of ours is left unfilled.

    Args:
        path_or_state_dict (`str`, `Path` or `Mapping`): the file, or its tensors by name.
        **config: fields of `EcgTransformerConfig` that shapes do not tell: `num_channels` (12) and, where a head's
            width is not 64, `num_attention_heads`; `vocabulary` names the outputs of the head.

    Returns:
        The model in evaluation mode: with its head where the checkpoint has `mlp_head`, else the encoder.

    Raises:
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
    """
    state = strip_prefix(read_state_dict(path_or_state_dict), "module.")
    has_head = any(name.startswith("mlp_head.") for name in state)
    settings = EcgTransformerConfig(**{**_sizes(state, config, has_head=has_head), **config})
    model = EcgTransformerForClassification(settings) if has_head else EcgTransformerModel(settings)
    prefix = "ecg_transformer." if has_head else ""

    def rename(name: str) -> str:
        for places, before in ((_PLACES, prefix), (_HEAD, "")):
            for pattern, replacement in places:
                if found := re.fullmatch(pattern, name):
                    return before + found.expand(replacement)
        return name

    load_exactly(model, state, rename=rename)
    return model.eval()


def _sizes(state: Mapping[str, Tensor], config: Mapping[str, Any], *, has_head: bool) -> dict[str, Any]:
    try:
        width, segment = state["embed_modules.0.embed.1.weight"].shape
        tokens = state["pos_embedding"].shape[1]
        inner = state["transformer.layers.0.0.fn.to_out.0.weight"].shape[1]
        hidden = state["transformer.layers.0.1.fn.net.0.weight"].shape[0]
    except KeyError as error:
        raise CorruptFileError(
            f"the checkpoint has no tensor {error}: it is none of the plain ECG transformer."
        ) from error
    layers = {int(found[1]) for name in state if (found := re.match(r"transformer\.layers\.(\d+)\.", name))}
    channels = int(config.get("num_channels", 12))
    head = int(config.get("head_dim", 64))
    heads = int(config.get("num_attention_heads", max(inner // head, 1)))
    sizes: dict[str, Any] = {
        "num_channels": channels,
        "segment_length": segment // channels,
        "signal_length": segment // channels * (tokens - 1),
        "hidden_size": width,
        "num_hidden_layers": len(layers),
        "num_attention_heads": heads,
        "head_dim": inner // heads,
        "intermediate_size": hidden,
    }
    if has_head and not config.keys() & {"vocabulary", "num_labels", "id2label"}:
        sizes["num_labels"] = state["mlp_head.1.weight"].shape[0]
    return sizes
