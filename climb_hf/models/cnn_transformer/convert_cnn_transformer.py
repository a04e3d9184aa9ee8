"""Checkpoints of the CNN-Transformer in the names of `ycq091044/BIOT:model/cnn_transformer.py`.

Commit d138e32, MIT licence; no weights were published: this converts what a user trained with that code.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from climb_hf.models.baseline_weights import (
    convert_baseline,
    place_of_block,
    read_baseline,
    spectrogram_sizes,
    tensor_of,
)
from climb_hf.models.cnn_transformer.configuration_cnn_transformer import CnnTransformerConfig
from climb_hf.models.cnn_transformer.modeling_cnn_transformer import (
    CnnTransformerForClassification,
    CnnTransformerModel,
    sinusoids,
)

__all__ = ["convert_checkpoint"]

_TABLE = "positional_encoding.pe"
_LAYER = r"transformer\.layers\.(\d+)\."
_PLACES = (
    (rf"{_LAYER}self_attn\.in_proj_(weight|bias)", r"blocks.\1.attn.qkv.\2"),
    (rf"{_LAYER}self_attn\.out_proj\.(.+)", r"blocks.\1.attn.proj.\2"),
    (rf"{_LAYER}linear([12])\.(.+)", r"blocks.\1.mlp.fc\2.\3"),
    (rf"{_LAYER}(norm[12]\..+)", r"blocks.\1.\2"),
    (re.escape(_TABLE), "position_embedding"),
)


def convert_checkpoint(
    path_or_state_dict: "str | Path | Mapping[str, Tensor]",
    **config: Any,  # noqa: ANN401 - fields of CnnTransformerConfig
) -> "CnnTransformerForClassification | CnnTransformerModel":
    """Build the model of a checkpoint; nothing of it is left over and nothing of ours is left unfilled.

    Of the published table of positions the rows of the segments are taken; where a checkpoint has none, they are
    computed.

    Args:
        path_or_state_dict (`str`, `Path` or `Mapping`): the file, or its tensors by name.
        **config: fields of `CnnTransformerConfig` that shapes do not tell: `num_segments` (5), `num_attention_heads`
            (4), `n_fft` (200), `hop_length` (10); `vocabulary` names the outputs of the head.

    Returns:
        The model in evaluation mode: with its head where the checkpoint has `classifier.1`, else the encoder.

    Raises:
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
    """
    state = read_baseline(path_or_state_dict)
    count = int(config.get("num_segments", 5))
    width = spectrogram_sizes(state, CnnTransformerModel)["hidden_sizes"][-1]
    table = state.get(_TABLE)
    state[_TABLE] = sinusoids(count, width) if table is None else table.flatten(0, -2)[:count]  # (1, n, D) -> (n, D)
    classes = (CnnTransformerConfig, CnnTransformerModel, CnnTransformerForClassification)
    return convert_baseline(state, config, classes, _sizes, _place)


def _place(name: str) -> str | None:
    for pattern, replacement in _PLACES:
        if found := re.fullmatch(pattern, name):
            return found.expand(replacement)
    return place_of_block(name)


def _sizes(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    hidden = tensor_of(state, "transformer.layers.0.linear1.weight", CnnTransformerModel).shape[0]
    layers = {found[1] for name in state if (found := re.match(_LAYER, name))}
    sizes = spectrogram_sizes(state, CnnTransformerModel)
    return {**sizes, "num_hidden_layers": len(layers), "intermediate_size": hidden}
