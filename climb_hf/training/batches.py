"""The keys of a batch: what the model sees, what the loss sees, and who the rows are."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from climb_hf.errors import SchemaError

__all__ = [
    "DRAW",
    "RECORD_KEYS",
    "ROW_INDEX",
    "TARGET_KEYS",
    "check_rows",
    "describe",
    "empty_stand_ins",
    "logits_of",
    "split_batch",
]

#: Targets of the masked loss.
TARGET_KEYS = ("labels", "target_mask", "exclusive")
#: Who the rows are: lists with one entry per row.
RECORD_KEYS = ("ids", "sources", "groups")
#: Under this key a row carries its position in the dataset, and a batch those of its rows; -1 - position marks a row
#: that only fills up the last batch of an epoch and must not count.
ROW_INDEX = "row_index"
#: Under this key a row carries the number of its draw, counted over all epochs: what happens to it at random.
DRAW = "draw"

_NAMED = 20  # records that a description lists


def split_batch(batch: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Separate what the model is called with from the targets; records and row numbers are in neither.

    Args:
        batch (`Mapping`): a collated batch; it is not changed.

    Returns:
        `tuple[dict, dict]`: arguments of the model, and the targets that are there.

    Example:
        >>> split_batch({"pixel_values": 1, "labels": 2, "ids": ["a"], "exclusive": None})
        ({'pixel_values': 1}, {'labels': 2})
    """
    aside = (*TARGET_KEYS, *RECORD_KEYS, ROW_INDEX)
    features = {key: value for key, value in batch.items() if key not in aside}
    return features, {key: batch[key] for key in TARGET_KEYS if batch.get(key) is not None}


def logits_of(outputs: Any) -> Tensor:  # noqa: ANN401 - a ModelOutput or a tuple
    """Return the logits of a model's output.

    Args:
        outputs: a `ModelOutput` with `logits`, or a tuple that begins with them.

    Returns:
        `Tensor`: (batch, |V|).
    """
    return outputs["logits"] if isinstance(outputs, Mapping) else outputs[0]


def check_rows(logits: Tensor, labels: Tensor) -> None:
    """Check that the model scored what the labels are about.

    Args:
        logits (`Tensor`): (rows, |V|).
        labels (`Tensor`): (rows, |V|).

    Raises:
        SchemaError: graphs were scored and nodes are labelled, or the other way round.
    """
    if len(logits) != len(labels):
        raise SchemaError(
            f"the model scored {len(logits)} rows, but {len(labels)} are labelled. Graph models score graphs with "
            '`level="graph"` in their configuration and nodes with `level="node"`; choose what the source labels.'
        )


def empty_stand_ins(batch: dict[str, Any]) -> None:
    """Empty the masks of the rows that only fill up a batch, in place; they then have no part in the loss.

    Args:
        batch (`dict`): a batch with `labels`; without row numbers it stays as it is. Where the labels are those of
            nodes, `batch` says which graph a node belongs to.
    """
    index = batch.get(ROW_INDEX)
    if index is None:
        return
    mask = batch.get("target_mask")
    mask = torch.ones_like(batch["labels"], dtype=torch.bool) if mask is None else mask.bool()
    counts = index >= 0
    if len(mask) != len(index) and "batch" in batch:  # rows are nodes
        counts = counts[batch["batch"]]
    batch["target_mask"] = mask & counts.unsqueeze(1)


def stored_column(dataset: Any, column: str) -> tuple[Any, np.ndarray | None]:  # noqa: ANN401 - a datasets.Dataset
    """Return a column as it is stored, and which stored row each row of the dataset is.

    Reading a selected or shuffled dataset row by row takes seconds per million rows; this takes none.

    Args:
        dataset (`datasets.Dataset`): any map-style dataset.
        column (`str`): one of its columns.

    Returns:
        `tuple[pyarrow.Array, np.ndarray | None]`: the stored values in one piece, and (rows,) int64 positions in them,
        or `None` where the rows are the stored ones.
    """
    stored = dataset.data.column(column).combine_chunks()
    mapping = dataset._indices  # `select`, `shuffle` and `filter` leave the table alone and keep its rows here
    if mapping is None:
        return stored, None
    return stored, mapping.column(0).to_numpy().astype(np.int64)


def describe(batch: Mapping[str, Any]) -> str:
    """Name the records of a batch, and those whose inputs are not finite.

    Args:
        batch (`Mapping`): a batch.

    Returns:
        `str`: "source:id, source:id, …", at most 20 of them.
    """
    size = len(batch.get("ids") or next(value for value in batch.values() if isinstance(value, Tensor)))
    ids, sources = (batch.get(key) or ["?"] * size for key in ("ids", "sources"))
    names = [f"{source}:{record}" for source, record in zip(sources, ids, strict=True)]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    broken = np.zeros(size, dtype=bool)
    owner = batch.get("batch")
    for key, value in batch.items():
        if key in TARGET_KEYS or not isinstance(value, Tensor) or not value.is_floating_point():
            continue
        bad = ~torch.isfinite(value).reshape(len(value), -1).all(dim=1).cpu().numpy()
        if key == "x" and owner is not None:  # nodes of graphs
            broken[np.unique(owner.cpu().numpy()[bad])] = True
        elif len(value) == size:
            broken |= bad
    inputs = [name for name, wrong in zip(names, broken, strict=True) if wrong]
    found = f" (with inputs that are not finite: {', '.join(inputs[:_NAMED])})" if inputs else ""
    return ", ".join(names[:_NAMED]) + more + found
