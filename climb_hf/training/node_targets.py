"""Targets of the masked loss for graphs whose nodes carry the labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from climb_hf.errors import SchemaError
from climb_hf.training.targets import TargetBuilder

__all__ = ["has_node_labels", "node_targets"]


def has_node_labels(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether the labels of a batch are those of nodes.

    Args:
        rows (`Sequence[Mapping]`): rows of a dataset of the graph family.

    Returns:
        `bool`

    Raises:
        SchemaError: some rows have labels of nodes and others do not.

    Example:
        >>> has_node_labels([{"node_labels": [[0, 1]]}]), has_node_labels([{"node_labels": None}, {}])
        (True, False)
    """
    found = {row.get("node_labels") is not None for row in rows}
    if len(found) > 1:
        raise SchemaError(
            "expected a batch of graphs that all have labels of nodes, or none; found both. Train such sources apart."
        )
    return found == {True}


def node_targets(rows: Sequence[Mapping[str, Any]], targets: TargetBuilder) -> dict[str, torch.Tensor]:
    """Build the targets of all nodes of some graphs.

    Column j of `node_labels` is the j-th class of the row's source. A node label of -1 (not scored) leaves the mask.

    Args:
        rows (`Sequence[Mapping]`): each with `source` and `node_labels` (nodes, classes).
        targets (`TargetBuilder`): knows the model's vocabulary.

    Returns:
        `dict`: `labels` (nodes, |V|) float32, `target_mask` (nodes, |V|) bool, `exclusive` (nodes,) bool, all false:
        labels of nodes are multi-label.

    Raises:
        SchemaError: a row has another number of labels than its source has classes.
        VocabularyError: a class is not in the model's vocabulary.
    """
    from climb_hf.vocabulary import source_vocabulary

    labels, masks = [], []
    for row in rows:
        values = np.asarray(row["node_labels"])
        concepts = source_vocabulary(row["source"]).concepts
        if values.ndim != 2 or values.shape[1] != len(concepts):
            raise SchemaError(
                f"record `{row.get('id')}` of `{row['source']}`: expected {len(concepts)} labels per node, found the "
                f"shape {values.shape}; rebuild the dataset."
            )
        outputs = targets.outputs_of(row["source"], concepts)
        known = outputs >= 0
        positive = np.zeros((len(values), len(targets.vocabulary)), dtype=np.float32)
        positive[:, outputs[known]] = values[:, known] == 1
        mask = np.zeros(positive.shape, dtype=bool)
        mask[:, outputs[known]] = values[:, known] >= 0
        labels.append(positive)
        masks.append(mask)
    joined = torch.from_numpy(np.concatenate(labels))
    return {
        "labels": joined,
        "target_mask": torch.from_numpy(np.concatenate(masks)),
        "exclusive": torch.zeros(len(joined), dtype=torch.bool),
    }
