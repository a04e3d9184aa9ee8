"""Checkpoints of the EEG baselines of `ycq091044/BIOT` (MIT, commit d138e32), in the names of its folder `model/`.

No weights of these baselines were published: this reads what a user trained with that code. A classifier keeps its
encoder's tensors at the top and its head, an ELU before a linear layer, as `classifier.1`.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from climb_hf.errors import CorruptFileError
from climb_hf.models.checkpoints import load_exactly, read_state_dict, strip_prefix
from climb_hf.models.vocabulary_config import VocabularyConfig

__all__ = [
    "convert_baseline",
    "fill_batch_counts",
    "place_of_block",
    "read_baseline",
    "spectrogram_sizes",
    "tensor_of",
]

_HEAD = "classifier.1."


def convert_baseline(
    source: "str | Path | Mapping[str, Tensor]",
    config: Mapping[str, Any],
    classes: tuple[type[VocabularyConfig], type[PreTrainedModel], type[PreTrainedModel]],
    sizes: Callable[[Mapping[str, Tensor], Mapping[str, Any]], dict[str, Any]],
    place: Callable[[str], str | None],
) -> Any:  # noqa: ANN401 - one of the last two classes
    """Build the model of a checkpoint; nothing of it is left over and nothing of ours is left unfilled.

    Args:
        source (`str`, `Path` or `Mapping`): the file, or its tensors by name; names may begin with `module.` and
            `model.`, as parallel and Lightning training write them.
        config (`Mapping[str, Any]`): fields of the configuration that the caller gives.
        classes (`tuple`): configuration, encoder, classifier.
        sizes (`Callable`): (tensors, `config`) -> fields that shapes tell.
        place (`Callable`): a published name of the encoder -> ours; `None` for a tensor that has no place there.

    Returns:
        The model in evaluation mode: with its head where the checkpoint has `classifier.1`, else the encoder.

    Raises:
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
    """
    make_config, make_encoder, make_classifier = classes
    state = read_baseline(source)
    has_head = any(name.startswith(_HEAD) for name in state)
    fields = sizes(state, config)
    if has_head and not config.keys() & {"vocabulary", "num_labels", "id2label"}:
        fields["num_labels"] = tensor_of(state, f"{_HEAD}weight", make_classifier).shape[0]
    settings = make_config(**{**fields, **config})
    model = make_classifier(settings) if has_head else make_encoder(settings)
    prefix = f"{model.base_model_prefix}." if has_head else ""

    def rename(name: str) -> str:
        if name.startswith(_HEAD):
            return "classifier." + name.removeprefix(_HEAD)
        ours = place(name)
        return name if ours is None else prefix + ours  # a name that is none of ours is reported as it is

    load_exactly(model, state, rename=rename)
    return model.eval()


def read_baseline(source: "str | Path | Mapping[str, Tensor]") -> dict[str, Tensor]:
    """Read a checkpoint, take what training scripts put before names away, and fill in counters of batch norms.

    Args:
        source (`str`, `Path` or `Mapping`): the file, or its tensors by name.

    Returns:
        `dict[str, Tensor]`: tensors in the published names.
    """
    return fill_batch_counts(strip_prefix(strip_prefix(read_state_dict(source), "module."), "model."))


def tensor_of(state: Mapping[str, Tensor], name: str, model: type[PreTrainedModel]) -> Tensor:
    """Return a tensor that a checkpoint of the architecture must have.

    Args:
        state (`Mapping[str, Tensor]`): tensors in the published names.
        name (`str`): published name.
        model (`type`): our class, for the message.

    Returns:
        `torch.Tensor`.

    Raises:
        CorruptFileError: it is not there.
    """
    if name not in state:
        raise CorruptFileError(
            f"the checkpoint has no tensor `{name}`: it is none of `{model.__name__}`, or not all of one. Pass a "
            "checkpoint of this architecture, or use the converter of its own."
        )
    return state[name]


def spectrogram_sizes(state: Mapping[str, Tensor], model: type[PreTrainedModel]) -> dict[str, Any]:
    """Return what shapes tell of a `SpectrogramConfig`: `num_channels` and `hidden_sizes`.

    Args:
        state (`Mapping[str, Tensor]`): tensors in the published names.
        model (`type`): our class, for the message.

    Returns:
        `dict[str, Any]`.

    Raises:
        CorruptFileError: the checkpoint has no residual blocks.
    """
    widths = [tensor_of(state, "conv1.conv1.weight", model).shape[0]]
    while (weight := state.get(f"conv{len(widths) + 1}.conv1.weight")) is not None:
        widths.append(weight.shape[0])
    return {"num_channels": state["conv1.conv1.weight"].shape[1], "hidden_sizes": widths}


def place_of_block(name: str) -> str | None:
    """Return our name for a tensor of the published residual blocks `conv1`, `conv2`, …, and `None` for others.

    Args:
        name (`str`): published name.

    Returns:
        `str`, *optional*.

    Example:
        >>> place_of_block("conv1.downsample.0.weight"), place_of_block("lstm.bias_hh_l0")
        ('spectrogram.blocks.0.downsample.0.weight', None)
    """
    found = re.fullmatch(r"conv([1-9]\d*)\.(.+)", name)
    return f"spectrogram.blocks.{int(found[1]) - 1}.{found[2]}" if found else None


def fill_batch_counts(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add a counter of 0 to every batch norm that has none: only norms with cumulative averages read it, ours do not.

    Args:
        state (`Mapping[str, Tensor]`): tensors by name.

    Returns:
        `dict[str, Tensor]`: the same tensors, and `….num_batches_tracked` (int64) for every `….running_mean`.

    Example:
        >>> list(fill_batch_counts({"norm.running_mean": torch.zeros(2)}))
        ['norm.num_batches_tracked', 'norm.running_mean']
    """
    norms = [name.removesuffix("running_mean") for name in state if name.endswith(".running_mean")]
    return {**{f"{norm}num_batches_tracked": torch.zeros((), dtype=torch.int64) for norm in norms}, **state}
