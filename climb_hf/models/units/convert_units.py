"""Checkpoints of `mims-harvard/UniTS` (MIT with a disclaimer of MIT Lincoln Laboratory, commit 0e02814).

Files of its release `ckpt`: `units_x32_pretrain_checkpoint.pth`, `units_x64_…` and `units_x128_…` are dictionaries
`{"student": tensors, "optimizer", "epoch", "args": argparse.Namespace}`; `units_x64_supervised_checkpoint.pth` holds
the tensors alone. All names begin with `module.`. The hashes of the files are not known; the conversion is verified
against recorded numbers of the published code with drawn weights, not against the files.

What is shared between tasks is converted. Left out on purpose: `blocks.*.{seq,var}_att_block.proj.*`, which the
published forward pass never uses; the tokens of other datasets and tasks (`prompt_tokens.*`, `mask_tokens.*`,
`cls_tokens.*`, `category_tokens.*`); and, but for `convert_pretraining`, what only reconstruction uses
(`prompt2forecat.*`, `forecast_head.*`, `pretrain_head.*`, `mask_tokens.*`), after its names and shapes were checked.
"""

import logging
import re
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.models.checkpoints import load_exactly, read_state_dict, strip_prefix
from climb_hf.models.units.configuration_units import UnitsConfig
from climb_hf.models.units.modeling_units import UnitsForClassification, UnitsModel
from climb_hf.models.units.pretraining_units import UnitsForPretraining

__all__ = ["convert_checkpoint", "convert_pretraining"]

_logger = logging.getLogger(__name__)

_HEADS = 8  # of the published models; shapes do not tell
_CHANNELS = 12
#: Kinds of tokens by dataset (the first two) and by task.
_KINDS = ("prompt_tokens", "mask_tokens", "cls_tokens", "category_tokens")
_PER_DATASET = tuple(f"{kind}." for kind in _KINDS)
_TIME = r"blocks\.(\d+)\.seq_att_block\."
_VARIABLE = r"blocks\.(\d+)\.var_att_block\."
_MLP = r"blocks\.(\d+)\.dynamic_mlp\."
_UNUSED = r"blocks\.(\d+)\.(seq|var)_att_block\.proj\.(weight|bias)"
_PLACES = (
    (r"patch_embeddings\.value_embedding\.weight", r"units.patch_embedding.weight"),
    (r"position_embedding\.pe", r"units.position_embedding"),
    (r"prompt2forecat\.weights", r"mask_map.weight"),
    (r"prompt2forecat\.bias", r"mask_map.bias"),
    (_TIME + r"norm1\.(.+)", r"units.blocks.\1.time_norm.\2"),
    (_TIME + r"attn_seq\.(.+)", r"units.blocks.\1.time_attention.\2"),
    (_TIME + r"ls1\.gate\.(.+)", r"units.blocks.\1.time_gate.\2"),
    (_VARIABLE + r"norm1\.(.+)", r"units.blocks.\1.variable_norm.\2"),
    (_VARIABLE + r"attn_var\.(.+)", r"units.blocks.\1.variable_attention.\2"),
    (_VARIABLE + r"ls1\.gate\.(.+)", r"units.blocks.\1.variable_gate.\2"),
    (_MLP + r"norm2\.(.+)", r"units.blocks.\1.mlp_norm.\2"),
    (_MLP + r"mlp\.fc1\.(.+)", r"units.blocks.\1.mlp.conv.\2"),
    (_MLP + r"mlp\.seq_fc\.weights", r"units.blocks.\1.mlp.data_map.weight"),
    (_MLP + r"mlp\.seq_fc\.bias", r"units.blocks.\1.mlp.data_map.bias"),
    (_MLP + r"mlp\.prompt_fc\.weights", r"units.blocks.\1.mlp.prompt_map.weight"),
    (_MLP + r"mlp\.prompt_fc\.bias", r"units.blocks.\1.mlp.prompt_map.bias"),
    (_MLP + r"mlp\.fc2\.(.+)", r"units.blocks.\1.mlp.fc2.\2"),
    (_MLP + r"ls2\.gate\.(.+)", r"units.blocks.\1.mlp_gate.\2"),
    (r"cls_head\.proj_in\.(.+)", r"units.class_head.proj_in.\1"),
    (r"cls_head\.cross_att\.q\.(.+)", r"units.class_head.query.\1"),
    (r"cls_head\.cross_att\.kv\.(.+)", r"units.class_head.key_value.\1"),
    (r"cls_head\.cross_att\.proj\.(.+)", r"units.class_head.proj.\1"),
    (r"cls_head\.mlp\.norm2\.(.+)", r"units.class_head.norm.\1"),
    (r"cls_head\.mlp\.mlp\.(.+)", r"units.class_head.mlp.\1"),
    (r"cls_head\.mlp\.ls2\.gate\.(.+)", r"units.class_head.gate.\1"),
    (r"forecast_head\.pos_proj\.weights", r"token_head.position_map.weight"),
    (r"forecast_head\.pos_proj\.bias", r"token_head.position_map.bias"),
    (r"forecast_head\.(.+)", r"token_head.\1"),
    (r"pretrain_head\.pos_proj\.weights", r"class_feature_head.position_map.weight"),
    (r"pretrain_head\.pos_proj\.bias", r"class_feature_head.position_map.bias"),
    (r"pretrain_head\.(.+)", r"class_feature_head.\1"),
    (r"prompt_tokens\.(.+)", r"units.prompt_tokens"),
    (r"mask_tokens\.(.+)", r"mask_tokens"),
    (r"cls_tokens\.(.+)", r"units.class_tokens"),
)


@dataclass(frozen=True)
class _Chosen:
    """Whose tokens are taken; `None`: fresh ones."""

    dataset: str | None = None
    task: str | None = None

    @property
    def names(self) -> set[str]:
        """Names of the tensors that are taken."""
        sets = {f"{kind}.{self.dataset}" for kind in _KINDS[:2] if self.dataset is not None}
        return sets | {f"{kind}.{self.task}" for kind in _KINDS[2:] if self.task is not None}


def convert_checkpoint(
    path_or_state_dict: "str | Path | Mapping[str, Tensor]",
    *,
    dataset: str | None = None,
    task: str | None = None,
    fresh_tokens: bool = False,
    **config: Any,  # noqa: ANN401 - fields of UnitsConfig
) -> "UnitsForClassification | UnitsModel":
    """Build the model of a checkpoint; nothing of it is left over and nothing of ours is left unfilled.

    Args:
        path_or_state_dict (`str`, `Path` or `Mapping`): the file, or its tensors by name.
        dataset (`str`, *optional*): whose prompt tokens to take; follows from `task` where that ends with its name.
        task (`str`, *optional*): whose class tokens and category tokens to take. Where neither is given: the only task
            of the checkpoint, or its only classification task with as many variables as the model (`num_channels`, 12
            by default), which the log names.
        fresh_tokens (`bool`, *optional*, defaults to `False`): take no tokens of the checkpoint.
        **config: fields of `UnitsConfig` that shapes do not tell, such as `num_attention_heads` where it is not 8;
            `vocabulary` names the classes of the task.

    Returns:
        The model in evaluation mode: with its head where a task with category tokens was taken, else the encoder.
        Prompt and class tokens are drawn anew where none were taken.

    Raises:
        OptionError: the checkpoint has no such dataset or task, or it has another number of variables.
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
    """
    state, chosen = _read(path_or_state_dict, dataset, task, fresh_tokens, config)
    category = state.pop(f"category_tokens.{chosen.task}", None)
    settings = _settings(state, chosen, config)
    if category is not None and not config.keys() & {"vocabulary", "num_labels", "id2label"}:
        settings["num_labels"] = category.shape[2]
    whole = _load(state, UnitsConfig(**settings))
    if category is None:
        return whole.units.eval()
    model = UnitsForClassification(UnitsConfig(**settings))
    filled = {f"units.{name}": value for name, value in whole.units.state_dict().items()}
    filled["classifier.weight"] = _classifier(category)
    filled["classifier.bias"] = filled["classifier.weight"].new_zeros(category.shape[2])
    load_exactly(model, filled)
    return model.eval()


def convert_pretraining(
    path_or_state_dict: "str | Path | Mapping[str, Tensor]",
    *,
    dataset: str | None = None,
    task: str | None = None,
    fresh_tokens: bool = False,
    **config: Any,  # noqa: ANN401 - fields of UnitsConfig
) -> UnitsForPretraining:
    """Build the pretraining model of a checkpoint.

    Args:
        path_or_state_dict (`str`, `Path` or `Mapping`): the file, or its tensors by name.
        dataset (`str`, *optional*): whose prompt and mask tokens to take.
        task (`str`, *optional*): whose class tokens to take; where neither is given as for `convert_checkpoint`.
        fresh_tokens (`bool`, *optional*, defaults to `False`): take no tokens of the checkpoint.
        **config: see `convert_checkpoint`.

    Returns:
        The model in evaluation mode. Tokens that were not taken are drawn anew, and so is the head of the class
        feature where the checkpoint has no `pretrain_head`.

    Raises:
        OptionError: the checkpoint has no such dataset or task, or it has another number of variables.
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
    """
    state, chosen = _read(path_or_state_dict, dataset, task, fresh_tokens, config)
    state.pop(f"category_tokens.{chosen.task}", None)
    return _load(state, UnitsConfig(**_settings(state, chosen, config))).eval()


def _classifier(category: Tensor) -> Tensor:
    """Return the matrix (classes, V · width) that scores as category tokens (1, V, classes, width) do.

    The published code repeats the class feature once per class and sums over the repetitions: its logits are the mean
    over the variables times the number of classes. So are these.
    """
    _, variables, classes, _ = category.shape
    return category[0].transpose(0, 1).flatten(1) * (classes / variables)  # (V, C, D) -> (C, V·D)


def _load(state: Mapping[str, Tensor], settings: UnitsConfig) -> UnitsForPretraining:
    state = dict(state)
    width = settings.hidden_size
    for name in [name for name in state if re.fullmatch(_UNUSED, name)]:
        shape = (width, width) if name.endswith("weight") else (width,)
        if state.pop(name).shape != shape:
            raise CorruptFileError(f"`{name}` of the checkpoint should have the shape {shape}. Fetch it again.")
    for name in [name for name in state if re.fullmatch(_VARIABLE + r"attn_var\.qkv\.weight", name)]:
        pair, value = state.pop(name).tensor_split([2 * width])  # queries and keys apart: see `VariableAttention`
        prefix = name.removesuffix("qkv.weight")
        state |= {f"{prefix}query_key.weight": pair, f"{prefix}value.weight": value}
    model = UnitsForPretraining(settings)
    fresh = [
        ours
        for kind, ours in zip(_KINDS, ("units.prompt_tokens", "mask_tokens", "units.class_tokens"), strict=False)
        if not any(name.startswith(f"{kind}.") for name in state)
    ]
    if not any(name.startswith("pretrain_head.") for name in state):
        fresh.append("class_feature_head.")
    load_exactly(model, state, rename=_renamed, fresh=fresh)
    return model


def _renamed(name: str) -> str:
    for pattern, replacement in _PLACES:
        if found := re.fullmatch(pattern, name):
            return found.expand(replacement)
    return name


def _read(
    source: "str | Path | Mapping[str, Tensor]",
    dataset: str | None,
    task: str | None,
    fresh_tokens: bool,
    config: Mapping[str, Any],
) -> tuple[dict[str, Tensor], _Chosen]:
    """Return the tensors without those of other datasets and tasks, and whose tokens they hold."""
    state = strip_prefix(read_state_dict(source, allowed=(Namespace,)), "module.")
    if "prompt_token" in state:
        raise CorruptFileError(
            "the checkpoint has one `prompt_token` for all datasets: it is of the zero-shot variant of UniTS, another "
            "model. Convert a pretraining or supervised checkpoint."
        )
    if wrong := [name for name, value in state.items() if name.startswith(_PER_DATASET) and value.ndim != 4]:
        raise CorruptFileError(f"tokens of UniTS have four axes, but `{wrong[0]}` of the checkpoint has others.")
    if fresh_tokens and (dataset or task):
        raise OptionError("`fresh_tokens=True` takes no tokens of the checkpoint: leave `dataset` and `task` out.")
    chosen = _Chosen() if fresh_tokens else _choose(state, dataset, task, config.get("num_channels"))
    kept = chosen.names
    return {name: value for name, value in state.items() if not name.startswith(_PER_DATASET) or name in kept}, chosen


def _variables(state: Mapping[str, Tensor], kind: str) -> dict[str, int]:
    """Return dataset or task -> number of variables, for one kind of tokens."""
    prefix = f"{kind}."
    return {name.removeprefix(prefix): value.shape[1] for name, value in state.items() if name.startswith(prefix)}


def _choose(state: Mapping[str, Tensor], dataset: str | None, task: str | None, channels: int | None) -> _Chosen:
    datasets, tasks = _variables(state, "prompt_tokens"), _variables(state, "cls_tokens")
    scored = _variables(state, "category_tokens")
    for given, known, kind in ((dataset, datasets, "dataset"), (task, tasks, "task")):
        if given is not None and given not in known:
            raise OptionError(
                f"the checkpoint has no tokens of the {kind} {given!r}; it has {', '.join(sorted(known)) or 'none'}."
            )
    if task is None and dataset is None:
        task = _only_task(datasets, tasks, scored, channels)
        if task is None:
            return _Chosen()
    elif task is None:
        of_dataset = [name for name in tasks if _dataset_of(name, datasets) == dataset]
        of_dataset = [name for name in of_dataset if name in scored] or of_dataset
        if len(of_dataset) > 1:
            raise OptionError(f"the dataset {dataset!r} has the tasks {', '.join(of_dataset)}. Name one: `task=…`.")
        task = of_dataset[0] if of_dataset else None
    if dataset is None and task is not None:
        dataset = _dataset_of(task, datasets)
        if dataset is None:
            raise OptionError(
                f"the name of the task {task!r} does not end with that of a dataset. Name the dataset: `dataset=…` "
                f"({', '.join(sorted(datasets)) or 'none'})."
            )
    return _Chosen(dataset, task)


def _only_task(
    datasets: Mapping[str, int], tasks: Mapping[str, int], scored: Mapping[str, int], channels: int | None
) -> str | None:
    """Return the one task that a model of so many channels can be for, if there is exactly one."""
    found = [name for name in (scored or tasks) if _dataset_of(name, datasets)]
    if len(found) > 1 or channels is not None:
        wanted = _CHANNELS if channels is None else channels
        found = [name for name in found if scored.get(name) == wanted]
    if len(found) != 1:
        return None
    if len(tasks) > 1:
        _logger.warning(
            "of %d tasks, the tokens of %s are taken: the only one for classification with %d variables. Pass "
            "`fresh_tokens=True` where the model is for other data.",
            len(tasks),
            found[0],
            scored[found[0]],
        )
    return found[0]


def _dataset_of(task: str, datasets: Mapping[str, int]) -> str | None:
    """Return the dataset whose name ends a task's (`CLS_PTBXL` is of `PTBXL`), the longest of several."""
    return max((name for name in datasets if task == name or task.endswith(f"_{name}")), key=len, default=None)


def _settings(state: Mapping[str, Tensor], chosen: _Chosen, config: Mapping[str, Any]) -> dict[str, Any]:
    try:
        width, patch = state["patch_embeddings.value_embedding.weight"].shape
        sizes: dict[str, Any] = {
            "hidden_size": width,
            "patch_size": patch,
            "max_positions": state["position_embedding.pe"].shape[2],
            "num_prompt_tokens": state["blocks.0.dynamic_mlp.mlp.prompt_fc.weights"].shape[0],
            "intermediate_size": state["blocks.0.dynamic_mlp.mlp.fc1.weight"].shape[0],
            "token_map_size": state["blocks.0.dynamic_mlp.mlp.seq_fc.weights"].shape[0],
            "class_head_size": state["cls_head.mlp.mlp.fc1.weight"].shape[0],
            "reconstruction_size": state["forecast_head.mlp.fc1.weight"].shape[0],
            "reconstruction_map_size": state["forecast_head.pos_proj.weights"].shape[0],
            "num_attention_heads": _HEADS,
        }
    except (KeyError, IndexError, ValueError) as error:
        raise CorruptFileError(
            f"the checkpoint has no tensor of this layout ({error}): it is none of UniTS."
        ) from error
    sizes["num_hidden_layers"] = len({found[1] for name in state if (found := re.match(r"blocks\.(\d+)\.", name))})
    variables = {value.shape[1] for name, value in state.items() if name.startswith(_PER_DATASET)}
    if len(variables) > 1:
        raise OptionError(
            f"the tokens of the dataset {chosen.dataset!r} and the task {chosen.task!r} have different numbers of "
            f"variables: {sorted(variables)}. Name a dataset and a task that belong together."
        )
    if variables:
        sizes["num_channels"] = variables.pop()
        if config.get("num_channels", sizes["num_channels"]) != sizes["num_channels"]:
            raise OptionError(
                f"`num_channels` is {config['num_channels']}, but the tokens of {chosen.dataset!r} have "
                f"{sizes['num_channels']} variables. Leave it out, or name no dataset and task for fresh tokens."
            )
    return {**sizes, **config}
