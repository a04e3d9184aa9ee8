"""Checkpoints of `Omid-Nejati/MedViT` (MIT, commit 1abcaf6), and MedViT classifiers of the CLIMB paper's code.

Files: `MedViT_small_im1k.pth`, `MedViT_base_im1k.pth` and `MedViT_large_im1k.pth` behind file-share links of its
README, which gives no hashes (not verified against the files themselves): a pickle with the weights under the key
`model`, perhaps with the training options as an `argparse.Namespace`. ImageNet-1k top-1 as stated there: 83.70, 83.92
and 83.96 %. The repository is under MIT and makes no separate statement about weights. `MedViTV2` of the same authors
is another architecture.

The CLIMB paper's code (`DDVD233/InternVL`, MIT) wraps the large size: `vision_model.` before the names, and a head
`fc.`. It reads the ImageNet file in a way that loads nothing, so the paper's MedViT was in effect trained from
scratch; a recipe that starts from the file, as this converter allows, is not the paper's.
"""

import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from climb_hf.errors import CorruptFileError
from climb_hf.models.checkpoints import load_exactly, read_state_dict, strip_prefix
from climb_hf.models.medvit.configuration_medvit import PERIOD, MedVitConfig
from climb_hf.models.medvit.modeling_medvit import MedVitForClassification, MedVitModel

__all__ = ["convert_checkpoint"]

_FEED_FORWARD = {
    "0": "widen",
    "1": "widen_norm",
    "3": "depthwise",
    "4": "depthwise_norm",
    "6.fc.0": "squeeze",
    "6.fc.2": "excite",
    "7": "narrow",
    "8": "narrow_norm",
}
_ATTENTION = {"q": "query", "k": "key", "v": "value", "proj": "output", "norm": "norm"}
_LAYERS = "|".join(map(re.escape, _FEED_FORWARD))
#: Of the CLIMB paper's code, and of MedViT itself.
_HEADS = ("fc.", "proj_head.0.")
#: Before all names where a model was saved as it was trained: distributed, compiled, within a classifier.
_WRAPPERS = ("module.", "_orig_mod.", "module.", "vision_model.")
_STAGES = 4


class _Block(NamedTuple):
    """What the shapes of a block tell."""

    transformer: bool
    width: int
    expansion: int
    embedding: tuple[int, int] | None  # channels in and out of its patch embedding


def convert_checkpoint(
    path_or_state_dict: "str | Path | Mapping[str, Tensor]",
    **config: Any,  # noqa: ANN401 - fields of MedVitConfig
) -> "MedVitForClassification | MedVitModel":
    """Build the model of a checkpoint; nothing of it is left over and nothing of ours is left unfilled.

    Args:
        path_or_state_dict (`str`, `Path` or `Mapping`): the file, or its tensors by name.
        **config: fields of `MedVitConfig` that shapes do not tell: `reduction_ratios` and `attention_share` where they
            are not the published ones, and `depths` where the third and fourth stage are equally wide. `vocabulary`
            names the outputs of the head (`LABEL_0` … without it); `image_size` and `drop_path_rate` are for use.

    Returns:
        The model in evaluation mode: with its head where the checkpoint has one, else the encoder (for the encoder of
        a model with a head, take `.medvit`).

    Raises:
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
    """
    state = read_state_dict(path_or_state_dict, allowed=(Namespace,))
    for wrapper in _WRAPPERS:
        state = strip_prefix(state, wrapper)
    head = next((prefix for prefix in _HEADS if f"{prefix}weight" in state and len(state[f"{prefix}weight"])), None)
    if head != _HEADS[1]:  # without outputs, or under another head: it has no part in the result
        state = {name: value for name, value in state.items() if not name.startswith(_HEADS[1])}
    sizes = _sizes(state, config.get("depths"))
    if head and not config.keys() & {"vocabulary", "num_labels", "id2label"}:
        sizes["num_labels"] = state[f"{head}weight"].shape[0]
    settings = MedVitConfig(**{**sizes, **config})
    model = MedVitForClassification(settings) if head else MedVitModel(settings)

    def rename(name: str) -> str:
        if head and name.startswith(head):
            return f"classifier.{name.removeprefix(head)}"
        return ("medvit." if head else "") + _our_name(name)

    load_exactly(model, state, rename=rename)
    return model.eval()


def _our_name(name: str) -> str:
    """Return our name of a published one; what is not known stays, and is reported as left over."""
    found = re.fullmatch(r"features\.(\d+)\.(.+)", name)
    if found is None:
        return name  # stem, norm
    block, rest = f"blocks.{found[1]}.", found[2]
    rest = re.sub(r"^patch_embed\.", "patch_embedding.", rest)
    rest = re.sub(r"^mhca\.group_conv3x3\.", "local_attention.grouped.", rest)
    rest = re.sub(r"^mhca\.", "local_attention.", rest)
    rest = re.sub(r"^e_mhsa\.(q|k|v|proj|norm)\.", lambda part: f"attention.{_ATTENTION[part[1]]}.", rest)
    rest = re.sub(rf"^conv\.conv\.({_LAYERS})\.", lambda part: f"feed_forward.{_FEED_FORWARD[part[1]]}.", rest)
    return block + rest


def _sizes(state: Mapping[str, Tensor], depths: Sequence[int] | None) -> dict[str, Any]:
    """Read the sizes from the shapes.

    Raises:
        CorruptFileError: the tensors are none of MedViT.
    """
    try:
        stem = [state[f"stem.{index}.conv.weight"].shape for index in range(4)]
        head_dim = state["features.0.mhca.group_conv3x3.weight"].shape[1]
        blocks = _blocks(state)
    except KeyError as error:
        raise CorruptFileError(
            f"the checkpoint has no tensor {error}: it is none of MedViT (MedViTV2 is another architecture)."
        ) from error
    stages = _stages(blocks) if depths is None else _cut(blocks, depths)
    if len(stages) != _STAGES or not all(stages):
        raise CorruptFileError(
            f"the {len(blocks)} blocks of the checkpoint form {len(stages)} stages by their widths, not {_STAGES}. "
            "Pass `depths=[…]`, or check that it is a checkpoint of MedViT."
        )
    plain = [[block for block in stage if not block.transformer] for stage in stages]
    mixed = [[block for block in stage if block.transformer] for stage in stages[1:]]
    return {
        "num_channels": stem[0][1],
        "stem_widths": [shape[0] for shape in stem],
        "depths": [len(stage) for stage in stages],
        # widths of blocks that a stage does not have play no part; they only have to be possible
        "conv_widths": [stage[0].width if stage else head_dim for stage in plain],
        "transformer_widths": [stage[0].width if stage else 4 * head_dim for stage in mixed],
        "head_dim": head_dim,
        "conv_expansion": next((stage[0].expansion for stage in plain if stage), 1),
        "transformer_expansion": next((stage[0].expansion for stage in mixed if stage), 1),
    }


def _blocks(state: Mapping[str, Tensor]) -> list[_Block]:
    count = 1 + max((int(found[1]) for name in state if (found := re.match(r"features\.(\d+)\.", name))), default=-1)
    blocks = []
    for index in range(count):
        hidden, width = state[f"features.{index}.conv.conv.0.weight"].shape[:2]
        patch = state.get(f"features.{index}.patch_embed.conv.weight")
        embedding = None if patch is None else (patch.shape[1], patch.shape[0])
        blocks.append(_Block(f"features.{index}.e_mhsa.q.weight" in state, width, hidden // width, embedding))
    return blocks


def _stages(blocks: Sequence[_Block]) -> list[list[_Block]]:
    """Group blocks into stages, each of which begins with a patch embedding."""
    stages: list[list[_Block]] = []
    for block in blocks:
        if not stages or (block.embedding is not None and _begins(block, block.embedding, stages)):
            stages.append([])
        stages[-1].append(block)
    return stages


def _begins(block: _Block, embedding: tuple[int, int], stages: Sequence[list[_Block]]) -> bool:
    """Tell whether a block with a patch embedding begins a stage, or only changes the width within one."""
    if embedding[0] == embedding[1]:
        return True  # it is there to halve the grid
    same = [other for other in stages[-1] if other.transformer is block.transformer]
    of_another_width = any(other.width != block.width for other in same)
    if block.transformer:  # the first stage has none, the third has them at every fifth place
        misplaced = len(stages) == 3 and len(stages[-1]) % PERIOD != PERIOD - 1
        return len(stages) == 1 or misplaced or of_another_width
    after_last = len(stages) == 2 and stages[-1][-1].transformer  # the second stage has one, at its end
    return after_last or not same or of_another_width


def _cut(blocks: Sequence[_Block], depths: Sequence[int]) -> list[list[_Block]]:
    ends = list(accumulate(depths))
    return [list(blocks[end - depth : end]) for depth, end in zip(depths, ends, strict=True)]
