"""Checkpoints of FFCL in the names of `ycq091044/BIOT:model/ffcl.py`.

Commit d138e32, MIT licence; no weights were published: this converts what a user trained with that code.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from climb_hf.models.baseline_weights import convert_baseline, place_of_block, spectrogram_sizes, tensor_of
from climb_hf.models.ffcl.configuration_ffcl import FfclConfig
from climb_hf.models.ffcl.modeling_ffcl import FfclForClassification, FfclModel

__all__ = ["convert_checkpoint"]


def convert_checkpoint(
    path_or_state_dict: "str | Path | Mapping[str, Tensor]",
    **config: Any,  # noqa: ANN401 - fields of FfclConfig
) -> "FfclForClassification | FfclModel":
    """Build the model of a checkpoint; nothing of it is left over and nothing of ours is left unfilled.

    Args:
        path_or_state_dict (`str`, `Path` or `Mapping`): the file, or its tensors by name.
        **config: fields of `FfclConfig` that shapes do not tell: `num_phases` (20), `n_fft` (200), `hop_length`
            (10); `vocabulary` names the outputs of the head.

    Returns:
        The model in evaluation mode: with its head where the checkpoint has `classifier.1`, else the encoder.

    Raises:
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
    """
    classes = (FfclConfig, FfclModel, FfclForClassification)
    return convert_baseline(path_or_state_dict, config, classes, _sizes, _place)


def _place(name: str) -> str | None:
    return name if name.startswith("lstm.") else place_of_block(name)


def _sizes(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    gates, inputs = tensor_of(state, "lstm.weight_ih_l0", FfclModel).shape
    return {
        **spectrogram_sizes(state, FfclModel),
        "signal_length": inputs * int(config.get("num_phases", 20)),
        "lstm_hidden_size": gates // 4,
        "lstm_num_layers": sum(name.startswith("lstm.weight_ih_l") for name in state),
    }
