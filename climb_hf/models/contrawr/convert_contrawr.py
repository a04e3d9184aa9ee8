"""Checkpoints of ContraWR in the names of `ycq091044/BIOT:model/contrawr.py`.

Commit d138e32, MIT licence; no weights were published: this converts what a user trained with that code.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from climb_hf.models.baseline_weights import convert_baseline, place_of_block, spectrogram_sizes
from climb_hf.models.contrawr.configuration_contrawr import ContraWrConfig
from climb_hf.models.contrawr.modeling_contrawr import ContraWrForClassification, ContraWrModel

__all__ = ["convert_checkpoint"]


def convert_checkpoint(
    path_or_state_dict: "str | Path | Mapping[str, Tensor]",
    **config: Any,  # noqa: ANN401 - fields of ContraWrConfig
) -> "ContraWrForClassification | ContraWrModel":
    """Build the model of a checkpoint; nothing of it is left over and nothing of ours is left unfilled.

    Args:
        path_or_state_dict (`str`, `Path` or `Mapping`): the file, or its tensors by name.
        **config: fields of `ContraWrConfig` that shapes do not tell: `n_fft` (200), `hop_length` (10); `vocabulary`
            names the outputs of the head.

    Returns:
        The model in evaluation mode: with its head where the checkpoint has `classifier.1`, else the encoder.

    Raises:
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
    """
    classes = (ContraWrConfig, ContraWrModel, ContraWrForClassification)
    return convert_baseline(path_or_state_dict, config, classes, _sizes, place_of_block)


def _sizes(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Any]:
    return spectrogram_sizes(state, ContraWrModel)
