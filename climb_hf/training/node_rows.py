"""Evaluation of models that score nodes: a record is one row while rows are gathered, and a node is one in the end.

The loops of transformers and accelerate gather tensors whose first axis counts records, drop the records that came
twice, and pad the second axis. So the nodes of a graph go through them as the second axis of its record.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from climb_hf.errors import OptionError

__all__ = ["nodes_per_record", "record_first", "rows_of_nodes", "scores_nodes"]


def scores_nodes(config: Any) -> bool:  # noqa: ANN401 - any configuration
    """Tell whether the rows of a model's logits are nodes: its configuration has `level="node"`."""
    return getattr(config, "level", None) == "node"


def nodes_per_record(features: Mapping[str, Any], records: int) -> Tensor:
    """Return how many nodes each record of a batch has.

    Args:
        features (`Mapping`): arguments of the model, with `batch` (nodes,) int64.
        records (`int`): records of the batch.

    Returns:
        `Tensor`: (records,) int64.

    Raises:
        OptionError: a batch that does not say which nodes belong together.

    Example:
        >>> nodes_per_record({"batch": torch.tensor([0, 0, 2])}, 4).tolist()
        [2, 0, 1, 0]
    """
    owner = features.get("batch")
    if owner is None:
        raise OptionError(
            "a model that scores nodes is evaluated on batches with `batch`, the graph of every node; use "
            "`ClassificationCollator` with `ClimbGraphProcessor`."
        )
    return torch.bincount(owner, minlength=records)


def record_first(values: Tensor, counts: Tensor) -> Tensor:
    """Move the nodes of each record to the second axis, filled up with 0.

    Args:
        values (`Tensor`): (nodes, …), record after record.
        counts (`Tensor`): (records,) int64.

    Returns:
        `Tensor`: (records, most nodes, …).

    Example:
        >>> record_first(torch.tensor([1, 2, 3]), torch.tensor([1, 2])).tolist()
        [[1, 0], [2, 3]]
    """
    places = torch.arange(int(counts.max()), device=counts.device) < counts[:, None]  # (records, most nodes)
    padded = values.new_zeros((*places.shape, *values.shape[1:]))
    padded[places] = values
    return padded


def rows_of_nodes(rows: dict[str, Any], counts: np.ndarray) -> dict[str, Any]:
    """Turn the gathered rows of records into rows of nodes.

    Args:
        rows (`dict`): as `ClimbTrainer.predict_rows` returns them, but the arrays of classes have an axis of nodes
            behind that of records.
        counts (`np.ndarray`): (records,) nodes of each record.

    Returns:
        `dict`: with a row per node: `ids` are "<record>:<node>"; the group is that of the record, or the record
        itself; `row_index` repeats the position of the record.

    Example:
        >>> one = {"ids": ["a"], "sources": ["s"], "groups": [None], "scores": np.ones((1, 3, 2))}
        >>> rows = rows_of_nodes({**one, "row_index": np.array([5])}, np.array([2]))
        >>> rows["ids"], rows["groups"], rows["scores"].shape, rows["row_index"].tolist()
        (['a:0', 'a:1'], ['a', 'a'], (2, 2), [5, 5])
    """
    found: dict[str, Any] = {}
    for key, value in rows.items():
        if not isinstance(value, np.ndarray):
            found[key] = [entry for entry, count in zip(value, counts, strict=True) for _ in range(count)]
        elif value.ndim == 1:
            found[key] = np.repeat(value, counts)
        else:
            found[key] = value[np.arange(value.shape[1]) < counts[:, None]]  # (records, nodes, |V|) -> (nodes, |V|)
    found["groups"] = [
        id_ if group is None else group for id_, group in zip(found["ids"], found["groups"], strict=True)
    ]
    numbers = (node for count in counts for node in range(count))
    found["ids"] = [f"{id_}:{node}" for id_, node in zip(found["ids"], numbers, strict=True)]
    return found
