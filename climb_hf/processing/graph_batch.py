"""From graphs as examples hold them to the tensors of one batch: one big graph without edges between its parts.

Every number is copied once, from where it is stored into its place in the batch; node ids move up while they are
copied. The names are those of torch_geometric, which is needed only for its `Batch` (`to_pyg`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from climb_hf.errors import SchemaError
from climb_hf.optional import require

__all__ = ["GraphBatch", "graph_batch"]


@dataclass
class GraphBatch:
    """Several graphs as one.

    Args:
        x (`Tensor`): (nodes, features) float32.
        edge_index (`Tensor`): (2, edges) int64, source and target, positions in `x`; graph after graph.
        batch (`Tensor`): (nodes,) int64, the graph of every node.
        ptr (`Tensor`): (graphs + 1,) int64, where each graph's nodes begin.
        edge_ptr (`Tensor`): (graphs + 1,) int64, where each graph's edges begin.
        edge_attr (`Tensor`, *optional*): (edges, k) float32; `None` where no graph has weights.
        y (`Tensor`, *optional*): (nodes, labels) int64, 0 or 1, -1 where it is not known or not scored; `None` where
            no graph has labels of nodes.
    """

    x: Tensor
    edge_index: Tensor
    batch: Tensor
    ptr: Tensor
    edge_ptr: Tensor
    edge_attr: Tensor | None = None
    y: Tensor | None = None

    def inputs(self) -> dict[str, Tensor]:
        """Return what a graph model is called with: `x`, `edge_index`, `edge_attr` (where there are any), `batch`."""
        found = {"x": self.x, "edge_index": self.edge_index, "edge_attr": self.edge_attr, "batch": self.batch}
        return {name: value for name, value in found.items() if value is not None}

    def to_pyg(self) -> Any:  # noqa: ANN401 - a class of an optional package
        """Return the same tensors, not copied, as a `torch_geometric.data.Batch`.

        Returns:
            `torch_geometric.data.Batch`: with `x`, `edge_index`, `edge_attr`, `y`, `batch` and `ptr` as far as they
            are there; `get_example` and `to_data_list` give the single graphs back.

        Raises:
            DependencyError: torch_geometric is not installed.
        """
        data = require("torch_geometric.data", extra="graph")
        n_graphs = len(self.ptr) - 1
        none = torch.zeros(n_graphs, dtype=torch.int64)
        made = {
            "x": (self.x, self.ptr, none),
            "edge_index": (self.edge_index, self.edge_ptr, self.ptr[:-1]),
            "edge_attr": (self.edge_attr, self.edge_ptr, none),
            "y": (self.y, self.ptr, none),
        }
        made = {name: parts for name, parts in made.items() if parts[0] is not None}
        batch = data.Batch(_base_cls=data.Data, **{name: parts[0] for name, parts in made.items()})
        batch.batch, batch.ptr = self.batch, self.ptr
        batch._num_graphs = n_graphs
        batch._slice_dict = {name: parts[1] for name, parts in made.items()}
        batch._inc_dict = {name: parts[2] for name, parts in made.items()}
        return batch


def graph_batch(
    graphs: Sequence[Mapping[str, Any]],
    *,
    pad_features_to: int | None = None,
    nan_mask: bool = False,
    self_loops: bool = False,
    scale: tuple[np.ndarray, np.ndarray] | None = None,
) -> GraphBatch:
    """Batch graphs in the Hub's graph convention.

    Args:
        graphs (`Sequence[Mapping]`): each with `node_feat` (nodes, features), `edge_index` (2, edges) and, optionally,
            `edge_attr` (edges, k), `node_labels` (nodes, labels) and `num_nodes`: arrays, tensors or nested lists.
            `None` is "absent".
        pad_features_to (`int`, *optional*): columns of `node_feat` after zeros have been added; without it all graphs
            must have the same number.
        nan_mask (`bool`, *optional*, defaults to `False`): NaN features become 0, and as many columns are appended, 1
            where a feature was NaN. Padding comes first, so the width is twice `pad_features_to`.
        self_loops (`bool`, *optional*, defaults to `False`): add the diagonal, as the CLIMB paper's brain networks
            have it: an edge from a node to itself where the diagonal of the (square) `node_feat` is not zero, of that
            strength (NaN: 0).
        scale (`tuple`, *optional*): mean and standard deviation of every feature, (features,) each; features are
            standardised by them before all else.

    Returns:
        `GraphBatch`. A graph without edges and a node without neighbours keep their place. Where some graphs have edge
        weights, those without get 1; where some have node labels, the others get -1.

    Raises:
        SchemaError: no graph; features absent, of differing or too many columns; arrays that contradict each other; an
            edge to a node that is not there.

    Example:
        >>> one = {"node_feat": [[1.0], [2.0]], "edge_index": [[0, 1], [1, 0]]}
        >>> batch = graph_batch([one, {"node_feat": [[3.0]], "edge_index": [[], []]}, one])
        >>> batch.x.flatten().tolist(), batch.edge_index.tolist(), batch.batch.tolist()
        ([1.0, 2.0, 3.0, 1.0, 2.0], [[0, 1, 3, 4], [1, 0, 4, 3]], [0, 0, 1, 2, 2])
    """
    if not len(graphs):
        raise SchemaError("expected at least one graph, found an empty batch.")
    parts = [_Graph(graph, position, self_loops) for position, graph in enumerate(graphs)]
    ptr = np.cumsum([0, *(part.n_nodes for part in parts)])
    edge_ptr = np.cumsum([0, *(part.n_edges + len(part.loops) for part in parts)])
    edges, weights = _edges(parts, ptr, edge_ptr)
    return GraphBatch(
        x=torch.from_numpy(_features(parts, ptr, pad_features_to, nan_mask, scale)),
        edge_index=torch.from_numpy(edges),
        batch=torch.from_numpy(np.repeat(np.arange(len(parts)), np.diff(ptr))),
        ptr=torch.from_numpy(ptr),
        edge_ptr=torch.from_numpy(edge_ptr),
        edge_attr=None if weights is None else torch.from_numpy(weights),
        y=_node_labels(parts, ptr),
    )


class _Graph:
    """One graph as arrays, views where the example holds arrays."""

    def __init__(self, graph: Mapping[str, Any], position: int, self_loops: bool) -> None:
        self.name = f"graph `{graph['id']}`" if graph.get("id") is not None else f"graph {position} of the batch"
        if graph.get("node_feat") is None or graph.get("edge_index") is None:
            raise SchemaError(f"{self.name} has no `node_feat` or no `edge_index`; leave such rows out.")
        self.features = self._matrix(graph, "node_feat", np.float32)
        self.edges = self._matrix(graph, "edge_index", np.int64)
        self.n_nodes, self.n_edges = len(self.features), self.edges.shape[1]
        if len(self.edges) != 2 and self.edges.size == 0:
            self.edges, self.n_edges = np.empty((2, 0), dtype=np.int64), 0
        stated = graph.get("num_nodes")
        if len(self.edges) != 2 or (stated is not None and int(stated) != self.n_nodes):
            raise SchemaError(
                f"{self.name}: expected `edge_index` (2, edges) and `num_nodes` rows of features, found "
                f"{self.edges.shape} and {self.n_nodes} rows for {stated} nodes; rebuild the dataset."
            )
        if self.n_edges and not 0 <= self.edges.min() <= self.edges.max() < self.n_nodes:
            raise SchemaError(
                f"{self.name}: expected edges between its nodes 0 to {self.n_nodes - 1}, found "
                f"{self.edges.min()} to {self.edges.max()}; rebuild the dataset."
            )
        self.weights = self._matrix(graph, "edge_attr", np.float32, self.n_edges)
        self.labels = self._matrix(graph, "node_labels", np.int64, self.n_nodes)
        self.loops = self._diagonal() if self_loops else np.empty(0, dtype=np.int64)

    def _matrix(self, graph: Mapping[str, Any], name: str, dtype: type, length: int | None = None) -> Any:  # noqa: ANN401
        value = graph.get(name)
        if value is None:
            return None
        try:
            found: np.ndarray = np.asarray(value, dtype=dtype)
        except (ValueError, TypeError) as error:
            raise SchemaError(f"{self.name}: `{name}` is not a matrix of numbers ({error}).") from error
        if found.ndim == 1 and (length is not None or not found.size):
            found = found.reshape(len(found), -1 if found.size else 0)
        if found.ndim != 2 or (length is not None and len(found) != length):
            raise SchemaError(
                f"{self.name}: expected `{name}` with {length or 'any number of'} rows, found the shape {found.shape}."
            )
        return found

    def _diagonal(self) -> np.ndarray:
        """Node numbers whose entry on the diagonal of the features is not zero."""
        if self.features.shape[1] != self.n_nodes:
            raise SchemaError(
                f"{self.name}: `self_loops` takes the diagonal of square node features (connection profiles), found "
                f"the shape {self.features.shape}; pass `self_loops=False`."
            )
        if self.weights is not None and self.weights.shape[1] > 1:
            raise SchemaError(
                f"{self.name}: `self_loops` knows the strength of one view, the edges have {self.weights.shape[1]}; "
                "pass `self_loops=False`."
            )
        return np.flatnonzero(self.features.diagonal())


def _features(
    parts: list[_Graph],
    ptr: np.ndarray,
    pad_to: int | None,
    nan_mask: bool,
    scale: tuple[np.ndarray, np.ndarray] | None,
) -> np.ndarray:
    """(nodes, width) float32."""
    widths = [part.features.shape[1] for part in parts if part.n_nodes]
    width = pad_to if pad_to is not None else max(widths, default=0)
    wrong = [part for part in parts if part.n_nodes and part.features.shape[1] != width]
    if pad_to is None and wrong:
        raise SchemaError(
            f"expected graphs with equally many node features, found {wrong[0].features.shape[1]} in {wrong[0].name} "
            f"and {width} in another; pass `pad_features_to={width}` to fill up with zeros."
        )
    if too_wide := [part for part in wrong if part.features.shape[1] > width]:
        raise SchemaError(
            f"{too_wide[0].name} has {too_wide[0].features.shape[1]} node features, more than "
            f"`pad_features_to={width}`."
        )
    found = np.empty((int(ptr[-1]), 2 * width if nan_mask else width), dtype=np.float32)
    for part, start in zip(parts, ptr, strict=False):
        rows, own = found[start : start + part.n_nodes], part.features.shape[1]
        rows[:, :own] = part.features
        rows[:, own:] = 0.0
        if scale is not None:
            if own != len(scale[0]):
                raise SchemaError(f"{part.name}: expected {len(scale[0])} node features to standardise, found {own}.")
            rows[:, :own] -= scale[0]
            rows[:, :own] /= scale[1]
        if nan_mask and np.isnan(values := rows[:, :own]).any():
            missing = np.isnan(values)
            rows[:, width : width + own] = missing
            values[missing] = 0.0
    return found


def _edges(parts: list[_Graph], ptr: np.ndarray, edge_ptr: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """(2, edges) int64 and (edges, k) float32."""
    widths = {part.weights.shape[1] for part in parts if part.weights is not None and part.n_edges}
    if len(widths) > 1:
        raise SchemaError(
            f"expected graphs with equally many edge weights, found {sorted(widths)} columns in a batch."
        )
    has_weights = any(part.weights is not None for part in parts)
    edges = np.empty((2, int(edge_ptr[-1])), dtype=np.int64)
    weights = np.empty((edges.shape[1], max(widths, default=1)), dtype=np.float32) if has_weights else None
    for part, node, edge in zip(parts, ptr, edge_ptr, strict=False):
        end, last = edge + part.n_edges, edge + part.n_edges + len(part.loops)
        np.add(part.edges, node, out=edges[:, edge:end])
        edges[:, end:last] = part.loops + node
        if weights is None:
            continue
        if part.n_edges:
            weights[edge:end] = 1.0 if part.weights is None else part.weights
        if last > end:
            weights[end:last, 0] = np.nan_to_num(part.features[part.loops, part.loops])
    return edges, weights


def _node_labels(parts: list[_Graph], ptr: np.ndarray) -> Tensor | None:
    widths = {part.labels.shape[1] for part in parts if part.labels is not None and part.n_nodes}
    if not widths:
        return None
    if len(widths) > 1:
        raise SchemaError(f"expected graphs with equally many node labels, found {sorted(widths)} in one batch.")
    found = np.full((int(ptr[-1]), max(widths)), -1, dtype=np.int64)
    for part, start in zip(parts, ptr, strict=False):
        if part.labels is not None and part.n_nodes:
            found[start : start + part.n_nodes] = part.labels
    return torch.from_numpy(found)
