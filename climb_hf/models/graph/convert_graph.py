"""Checkpoints of the graph networks in the names of `DDVD233/CLIMB:models/graphs`, over layers of torch_geometric.

`convs.{i}.*`, `bn.*`, `mlp.{0,3}.*`. No checkpoint was published, and the repository has no licence: this converts
what a user trained with that code, or with the layers of torch_geometric (MIT) under the same names. The layout with
several heads over one trunk has no published names and is not read.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from climb_hf.errors import CorruptFileError
from climb_hf.models.checkpoints import load_exactly, read_state_dict, strip_prefix
from climb_hf.models.graph.configuration_graph import ClimbGraphConfig
from climb_hf.models.graph.modeling_graph import ClimbGraphForClassification, ClimbGraphModel

__all__ = ["convert_checkpoint"]

#: A tensor that tells the convolution, in the order in which they are looked for.
_MARKS = {"graph_transformer": "lin_query.weight", "gat": "att_src", "gatv2": "att", "gcn": "lin.weight"}
#: The layer that reads the nodes.
_LINEAR = {
    "graph_transformer": "lin_query.weight",
    "gat": "lin.weight",
    "gatv2": "lin_l.weight",
    "gcn": "lin.weight",
}
_MOST_HEADS = 16  # of a graph transformer that is recognised by its widths
_HEAD = (("mlp.0.", "head_dense."), ("mlp.3.", "classifier."))


def convert_checkpoint(
    path_or_state_dict: "str | Path | Mapping[str, Tensor]",
    **config: Any,  # noqa: ANN401 - fields of ClimbGraphConfig
) -> "ClimbGraphForClassification | ClimbGraphModel":
    """Build the model of a checkpoint; nothing of it is left over and nothing of ours is left unfilled.

    Convolution, widths, heads, depth, edge attributes, batch norm and classes follow from names and shapes.

    Args:
        path_or_state_dict (`str`, `Path` or `Mapping`): the file, or its tensors by name.
        **config: fields of `ClimbGraphConfig` that shapes do not tell: `num_attention_heads` (4) of a graph
            transformer where the width of the last convolution does not give it, `edge_dim=None` for a GCN without
            weights, `head` where there is no `mlp`; `vocabulary` names the outputs.

    Returns:
        The model in evaluation mode: with its head where the checkpoint has `mlp`. Without it, a last convolution that
        is as wide as one head of those before is the end of an encoder; any other width scores the concepts of nodes
        (`level="node"`, `head="convolution"`, as the authors' PPI models do).

    Raises:
        CorruptFileError: another architecture, or tensors missing, left over or of other shapes.
    """
    state = _without_twins(strip_prefix(read_state_dict(path_or_state_dict), "module."))
    try:
        sizes, is_classifier = _sizes(state, config)
    except (KeyError, IndexError, TypeError) as error:  # a tensor that tells a size is missing or has too few axes
        raise CorruptFileError(
            f"the checkpoint has convolutions of torch_geometric, but one of their tensors is missing or of another "
            f"shape ({error}): it is none of these graph networks."
        ) from error
    settings = ClimbGraphConfig(**{**sizes, **config})
    model = ClimbGraphForClassification(settings) if is_classifier else ClimbGraphModel(settings)
    prefix = "climb_graph." if is_classifier else ""

    def rename(name: str) -> str | None:
        if name.startswith("bn.") and settings.num_hidden_layers == 1:
            return None  # it stands in the code, but there is no gap to normalise
        for theirs, ours in _HEAD:
            if is_classifier and name.startswith(theirs):
                return ours + name.removeprefix(theirs)
        return prefix + re.sub(r"^convs\.(\d+)\.", r"convs.\1.convolution.", name)

    load_exactly(model, state, rename=rename)
    return model.eval()


def _without_twins(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join what older releases of torch_geometric saved twice: the linear layer of `GATConv`, as source and target."""
    joined = {}
    for name, value in state.items():
        stem, _, last = name.rpartition(".lin_src.")
        twin = state.get(name.replace(".lin_dst.", ".lin_src."))
        if ".lin_dst." in name and twin is not None and torch.equal(value, twin):
            continue
        joined[f"{stem}.lin.{last}" if stem else name] = value
    return joined


def _sizes(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Return the fields of the configuration that names and shapes tell, and whether there is a head."""
    depth = 1 + max((int(found[1]) for name in state if (found := re.match(r"convs\.(\d+)\.", name))), default=-1)
    kind = next((kind for kind, mark in _MARKS.items() if f"convs.0.{mark}" in state), None)
    if kind is None or f"convs.{depth - 1}.{_LINEAR[kind]}" not in state:
        raise CorruptFileError(
            "the checkpoint has no convolutions `convs.{i}` of one of the four kinds: it is none of these graph "
            f"networks. Its first tensors are {', '.join(f'`{name}`' for name in list(state)[:4])}."
        )
    has_mlp, names_outputs = "mlp.3.weight" in state, bool(config.keys() & {"vocabulary", "num_labels", "id2label"})
    sizes: dict[str, Any] = {
        "convolution": kind,
        "num_features": state[f"convs.0.{_LINEAR[kind]}"].shape[1],
        "num_hidden_layers": depth,
        "batch_norm": "bn.weight" in state,
    }
    if kind != "gcn":
        edges = state.get("convs.0.lin_edge.weight")
        sizes["edge_dim"] = None if edges is None else edges.shape[1]
    heads, is_encoder = _heads(state, kind, depth, config)
    scores = config.get("head", "convolution") == "convolution" and (names_outputs or "head" in config)
    if has_mlp:
        sizes["head_hidden_size"], outputs = len(state["mlp.0.weight"]), len(state["mlp.3.weight"])
    elif scores or (not is_encoder and "head" not in config):
        scores, outputs = True, len(state[f"convs.{depth - 1}.{_LINEAR[kind]}"])
        sizes |= {"head": "convolution", "level": "node"}
        heads["num_output_heads"] = 1
    if (has_mlp or scores) and not names_outputs:
        sizes["num_labels"] = outputs
    return {**sizes, **heads}, has_mlp or scores


def _heads(
    state: Mapping[str, Tensor], kind: str, depth: int, config: Mapping[str, Any]
) -> tuple[dict[str, int], bool]:
    """Return width and heads, and whether the last convolution looks like the others: then it ends an encoder."""
    first, last = (len(state[f"convs.{index}.{_LINEAR[kind]}"]) for index in (0, depth - 1))
    if kind == "gcn":
        return {"hidden_size": first, "num_output_heads": 1}, first == last
    if kind in ("gat", "gatv2"):
        shapes = [state[f"convs.{index}.{_MARKS[kind]}"].shape for index in (0, depth - 1)]
        (inner, width), (outer, last_width) = ((shape[1], shape[2]) for shape in shapes)
        heads = {"hidden_size": width, "num_attention_heads": inner, "num_output_heads": outer}
        return heads, width == last_width
    # The shapes of a graph transformer do not tell its heads, but the published one has a single one in the end; if
    # the last convolution is as wide as the first, both have several.
    ratio = first // last if first % last == 0 else 0
    guess = ratio if 1 < ratio <= _MOST_HEADS else 4 if first % 4 == 0 else 1
    inner = int(
        config.get("num_attention_heads", first // config["hidden_size"] if "hidden_size" in config else guess)
    )
    width = max(first // inner, 1)
    if depth == 1:
        inner, width = 4, last // int(config.get("num_output_heads", 1))
    heads = {"hidden_size": width, "num_attention_heads": inner, "num_output_heads": max(last // width, 1)}
    return heads, last % width == 0
