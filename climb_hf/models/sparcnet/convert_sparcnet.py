"""Checkpoints of SPaRCNet in the names of `ycq091044/BIOT:model/sparcnet.py`.

Commit d138e32, MIT licence; no weights were published: this converts what a user trained with that code.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from climb_hf.models.baseline_weights import convert_baseline, tensor_of
from climb_hf.models.sparcnet.configuration_sparcnet import SparcNetConfig
from climb_hf.models.sparcnet.modeling_sparcnet import SparcNetForClassification, SparcNetModel

__all__ = ["convert_checkpoint"]


def convert_checkpoint(
    path_or_state_dict: "str | Path | Mapping[str, Tensor]",
    **config: Any,  # noqa: ANN401 - fields of SparcNetConfig
) -> "SparcNetForClassification | SparcNetModel":
    """Build the model of a checkpoint; nothing of it is left over and nothing of ours is left unfilled.

    Args:
        path_or_state_dict (`str`, `Path` or `Mapping`): the file, or its tensors by name.
        **config: fields of `SparcNetConfig` that shapes do not tell: `signal_length`, of which the number of blocks
            tells the power of two (8 blocks: 2,000; 7: 1,000; and so on); `vocabulary` names the outputs of the head.

    Returns:
        The model in evaluation mode: with its head where the checkpoint has `classifier.1`, else the encoder.

    Raises:
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
    """
    classes = (SparcNetConfig, SparcNetModel, SparcNetForClassification)
    return convert_baseline(path_or_state_dict, config, classes, _sizes, _place)


def _place(name: str) -> str | None:
    if found := re.fullmatch(r"encoder\.(conv|norm)0\.(.+)", name):
        return f"{found[1]}.{found[2]}"
    if found := re.fullmatch(r"encoder\.transition([1-9]\d*)\.(.+)", name):
        return f"blocks.{int(found[1]) - 1}.{found[2]}"
    if found := re.fullmatch(r"encoder\.denseblock([1-9]\d*)\.denselayer([1-9]\d*)\.(.+)", name):
        return f"blocks.{int(found[1]) - 1}.layers.{int(found[2]) - 1}.{found[3]}"
    return None


def _sizes(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    growth, bottleneck = tensor_of(state, "encoder.denseblock1.denselayer1.conv2.weight", SparcNetModel).shape[:2]
    blocks = {found[1] for name in state if (found := re.match(r"encoder\.transition(\d+)\.", name))}
    layers = {found[1] for name in state if (found := re.match(r"encoder\.denseblock1\.denselayer(\d+)\.", name))}
    return {
        "num_channels": tensor_of(state, "encoder.conv0.weight", SparcNetModel).shape[1],
        "num_blocks": len(blocks),
        "signal_length": 2000 * 2 ** len(blocks) // 256,
        "layers_per_block": len(layers),
        "growth_rate": growth,
        "bottleneck_size": bottleneck,
    }
