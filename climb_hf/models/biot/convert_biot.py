"""Checkpoints of `ycq091044/BIOT` (MIT, commit d138e32) and copies of them under the names of braindecode.

Files under `pretrained-models/` of the repository, torch pickles of about 13 MB that hold the tensors of the encoder
by name (SHA-256 not recorded): `EEG-PREST-16-channels.ckpt` (5 million resting recordings),
`EEG-SHHS+PREST-18-channels.ckpt`, `EEG-six-datasets-18-channels.ckpt`. The last one was trained with the labels of
the training sets of TUAB, TUEV, CHB-MIT and IIIC: it must not be tested for transfer to these. Copies in the names
of braindecode (BSD-3-Clause) lie on the Hub as safetensors.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from climb_hf.errors import CorruptFileError
from climb_hf.models.biot.configuration_biot import BiotConfig
from climb_hf.models.biot.modeling_biot import BiotForClassification, BiotModel
from climb_hf.models.biot.pretraining_biot import BiotForPretraining
from climb_hf.models.checkpoints import load_exactly, read_state_dict, strip_prefix

__all__ = ["convert_checkpoint"]

_BLOCK = r"transformer\.layers\.layers\.(\d+)\."
_PLACES = (
    (r"patch_embedding\.projection\.(.+)", r"patch_embedding.\1"),
    (r"channel_tokens\.(.+)", r"channel_embedding.\1"),
    (r"positional_encoding\.pe", r"position_embedding"),
    (_BLOCK + r"0\.norm\.(.+)", r"blocks.\1.norm1.\2"),
    (_BLOCK + r"0\.fn\.to_q\.(.+)", r"blocks.\1.attn.query.\2"),
    (_BLOCK + r"0\.fn\.to_k\.(.+)", r"blocks.\1.attn.key.\2"),
    (_BLOCK + r"0\.fn\.to_v\.(.+)", r"blocks.\1.attn.value.\2"),
    (_BLOCK + r"0\.fn\.to_out\.(.+)", r"blocks.\1.attn.proj.\2"),
    (_BLOCK + r"1\.norm\.(.+)", r"blocks.\1.norm2.\2"),
    (_BLOCK + r"1\.fn\.fn\.w1\.(.+)", r"blocks.\1.mlp.fc1.\2"),
    (_BLOCK + r"1\.fn\.fn\.w2\.(.+)", r"blocks.\1.mlp.fc2.\2"),
)
_HEADS = ("classifier.clshead.1.", "final_layer.classification_head.")  # the second as braindecode names it
_INDEX = "index"  # 0, 1, 2, …: the channel tokens as integers


def convert_checkpoint(
    path_or_state_dict: "str | Path | Mapping[str, Tensor]",
    **config: Any,  # noqa: ANN401 - fields of BiotConfig
) -> "BiotForClassification | BiotForPretraining | BiotModel":
    """Build the model of a checkpoint; nothing of it is left over and nothing of ours is left unfilled.

    The names may begin with `biot.` or `encoder.`, or with nothing where there is the encoder only, and all of it
    with `model.` or `module.`, as training frameworks save.

    Args:
        path_or_state_dict (`str`, `Path` or `Mapping`): the file, or its tensors by name.
        **config: fields of `BiotConfig` that shapes do not tell: `hop_length` (100), `num_attention_heads` (8),
            `fft_size` where it is odd; `vocabulary` names the outputs of the head. An encoder with 18 channels reads
            16 with `num_channels=16`: all tokens are kept, as in the published runs, or the first 16 with
            `num_channel_tokens=16`. `channel_offset=16` reads the last two.

    Returns:
        The model in evaluation mode: with its head where the checkpoint has one, `BiotForPretraining` where it has the
        layers of pretraining, else the encoder.

    Raises:
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
        OptionError: fields that do not fit the checkpoint or each other.
    """
    state = strip_prefix(read_state_dict(path_or_state_dict), "model.module.", "module.model.", "model.", "module.")
    state = strip_prefix(state, "biot.", "encoder.")
    head = next((head for head in _HEADS if head + "weight" in state), None)
    settings = BiotConfig(**{**_sizes(state, config, head), **config})
    model: BiotForClassification | BiotForPretraining | BiotModel
    if head is not None:
        model = BiotForClassification(settings)
    elif any(name.startswith("prediction.") for name in state):
        model = BiotForPretraining(settings)
    else:
        model = BiotModel(settings)
    before = "" if isinstance(model, BiotModel) else "biot."

    load_exactly(
        model,
        _fitted(state, settings),
        rename=lambda name: _our_name(name, before, head),
        fresh=() if "positional_encoding.pe" in state else (before + "position_embedding",),  # computed, if left out
    )
    return model.eval()


def _our_name(name: str, before: str, head: str | None) -> str | None:
    if name == _INDEX:
        return None
    if head is not None and name.startswith(head):
        return "classifier." + name.removeprefix(head)
    for pattern, replacement in _PLACES:
        if found := re.fullmatch(pattern, name):
            return before + found.expand(replacement)
    return name


def _fitted(state: Mapping[str, Tensor], config: BiotConfig) -> dict[str, Tensor]:
    """Return the tensors with the channel tokens that are wanted, and the positions as (frames, width)."""
    state = dict(state)
    state["channel_tokens.weight"] = state["channel_tokens.weight"][: config.num_channel_tokens]
    if "positional_encoding.pe" in state:
        state["positional_encoding.pe"] = state["positional_encoding.pe"].flatten(0, -2)
    return state


def _sizes(state: Mapping[str, Tensor], config: Mapping[str, Any], head: str | None) -> dict[str, Any]:
    try:
        width, bins = state["patch_embedding.projection.weight"].shape
        channels = state["channel_tokens.weight"].shape[0]
        hidden = state["transformer.layers.layers.0.1.fn.fn.w1.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise CorruptFileError(f"the checkpoint has no tensor {error}: it is none of BIOT.") from error
    channels = int(config.get("num_channel_tokens") or channels)
    sizes: dict[str, Any] = {
        "num_channels": channels - int(config.get("channel_offset", 0)),
        "num_channel_tokens": channels,
        "fft_size": 2 * (bins - 1),
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": len({found[1] for name in state if (found := re.match(_BLOCK, name))}),
    }
    if "positional_encoding.pe" in state:
        sizes["max_frames"] = state["positional_encoding.pe"].flatten(0, -2).shape[0]
    if head is not None and not config.keys() & {"vocabulary", "num_labels", "id2label"}:
        sizes["num_labels"] = state[head + "weight"].shape[0]
    return sizes
