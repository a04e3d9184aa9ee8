"""The protein interaction graphs of GraphSAGE, in its own files or in those of DGL and PyTorch Geometric.

Both hold node-link JSON of networkx 1, in which `source` and `target` are positions in the list of nodes, and each
undirected edge stands once. DGL's files state the graph of every node; in GraphSAGE's file graphs are recovered as
runs of nodes that no edge leaves, an isolated node at a border going to the graph before it.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError, LayoutError
from climb_hf.readers.memo import memoize_by_files
from climb_hf.readers.tables import is_junk, missing_table

__all__ = ["PpiGraph", "read_ppi"]

_SPLITS = {"train": "train", "valid": "validation", "test": "test"}  # DGL's name -> ours
_AGAIN = "Download the collection again."


@dataclass(frozen=True, slots=True, eq=False)
class PpiGraph:
    """One graph.

    Args:
        graph_id (`int`): 1-based number over all splits.
        split (`str`): `"train"`, `"validation"` or `"test"`.
        first_node (`int`): position of its first node in the publisher's file.
        pairs (`np.ndarray`): (links, 2) int64, node numbers from 0 within the graph, as listed.
        features (`np.ndarray`): (nodes, features) float32.
        labels (`np.ndarray`): (nodes, labels) int64, 0 or 1.
    """

    graph_id: int
    split: str
    first_node: int
    pairs: NDArray[np.int64]
    features: NDArray[np.float32]
    labels: NDArray[np.int64]


@memoize_by_files("*graph.json", "*G.json", "*.npy", "*map.json", "raw/*", "ppi/*")
def read_ppi(root: Path) -> list[PpiGraph]:
    """Read all graphs, once per process.

    Args:
        root (`Path`): the folder that holds the files, or `ppi/` or `raw/` with them.

    Returns:
        `list[PpiGraph]`: in the order of their numbers.

    Raises:
        LayoutError: a file is missing.
        CorruptFileError: a file is damaged, or the files contradict each other.
    """
    for folder in (root, root / "raw", root / "ppi"):
        if (folder / "train_graph.json").is_file():
            return _read_dgl(folder)
        if graphs := sorted(path for path in folder.glob("*ppi-G.json") if not is_junk(path.name)):
            return _read_graphsage(graphs[0])
    raise LayoutError(f"expected `train_graph.json` or `ppi-G.json` in `{root}`, `raw/` or `ppi/`. {_AGAIN}")


def _read_dgl(folder: Path) -> list[PpiGraph]:
    found: list[PpiGraph] = []
    for name, split in _SPLITS.items():
        file = folder / f"{name}_graph.json"
        nodes, pairs = _node_link(file)
        features, labels, owner = (_load(folder / f"{name}_{what}.npy") for what in ("feats", "labels", "graph_id"))
        lengths = {"nodes": len(nodes), "feats": len(features), "labels": len(labels), "graph_id": len(owner)}
        if len(set(lengths.values())) != 1 or (np.diff(owner) < 0).any():
            raise CorruptFileError(f"`{file}`: expected one row per node in every file, found {lengths}. {_AGAIN}")
        starts = np.flatnonzero(np.diff(owner, prepend=-1))
        found += _cut(file, pairs, features, labels, starts, owner[starts].tolist(), [split] * len(starts))
    return found


def _read_graphsage(file: Path) -> list[PpiGraph]:
    prefix = str(file).removesuffix("G.json")
    nodes, pairs = _node_link(file)
    id_map, class_map = (_json(Path(f"{prefix}{what}.json")) for what in ("id_map", "class_map"))
    table = _load(Path(f"{prefix}feats.npy"))
    try:
        ids = [str(node["id"]) for node in nodes]
        features = table[[id_map[id_] for id_ in ids]]
        labels = np.array([class_map[id_] for id_ in ids], dtype=np.int64)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise CorruptFileError(f"`{file}`: a node has no features or labels ({error!r}). {_AGAIN}") from error
    kinds = np.array([2 * bool(node.get("test")) + bool(node.get("val")) for node in nodes])
    if (kinds == 3).any():
        raise CorruptFileError(f"`{file}`: node {int((kinds == 3).argmax())} is both `val` and `test`. {_AGAIN}")
    starts = _runs(pairs, kinds)
    splits = [("train", "validation", "test")[kind] for kind in kinds[starts]]
    return _cut(file, pairs, features, labels, starts, list(range(1, len(starts) + 1)), splits)


def _runs(pairs: NDArray[np.int64], kinds: NDArray[np.int64]) -> NDArray[np.int64]:
    """(graphs,) position of the first node of each run of nodes that no edge leaves."""
    n_nodes = len(kinds)
    low, high = pairs.min(axis=1, initial=n_nodes), pairs.max(axis=1, initial=0)
    # an edge covers the borders low + 1 … high; a border that no edge covers separates two runs
    covered = np.cumsum(np.bincount(low + 1, minlength=n_nodes + 2) - np.bincount(high + 1, minlength=n_nodes + 2))
    starts = np.flatnonzero(covered[:n_nodes] == 0)
    lonely = np.diff(starts, append=n_nodes) == 1
    follows = np.concatenate([[False], kinds[starts[1:]] == kinds[starts[1:] - 1]])
    return starts[~(lonely & follows)]


def _cut(
    file: Path,
    pairs: NDArray[np.int64],
    features: NDArray[Any],
    labels: NDArray[Any],
    starts: NDArray[np.int64],
    ids: list[int],
    splits: list[str],
) -> list[PpiGraph]:
    """Cut joined graphs apart."""
    n_nodes = len(features)
    if labels.ndim != 2 or features.ndim != 2 or len(labels) != n_nodes or not np.isin(labels, (0, 1)).all():
        raise CorruptFileError(f"`{file}`: expected a row of features and one of labels 0 or 1 per node. {_AGAIN}")
    owner = np.searchsorted(starts, pairs, side="right") - 1
    across = owner[:, 0] != owner[:, 1]
    if across.any():
        raise CorruptFileError(
            f"`{file}`: expected edges within one graph, found {pairs[across.argmax()].tolist()} between two. {_AGAIN}"
        )
    order = np.argsort(owner[:, 0], kind="stable")
    cuts = np.searchsorted(owner[order, 0], np.arange(len(starts) + 1))
    ends = [*starts[1:].tolist(), n_nodes]
    return [
        PpiGraph(
            graph_id=ids[k],
            split=splits[k],
            first_node=int(start),
            pairs=pairs[order[cuts[k] : cuts[k + 1]]] - start,
            features=features[start:end].astype(np.float32),
            labels=labels[start:end].astype(np.int64),
        )
        for k, (start, end) in enumerate(zip(starts.tolist(), ends, strict=True))
    ]


def _node_link(file: Path) -> tuple[list[dict[str, Any]], NDArray[np.int64]]:
    """Nodes, and (links, 2) positions in their list."""
    content = _json(file)
    try:
        nodes, links = content["nodes"], content["links"]
        flat = np.fromiter((link[end] for link in links for end in ("source", "target")), np.int64, 2 * len(links))
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"`{file}`: expected `nodes` and `links` of a node-link graph ({error!r}).") from error
    if not nodes or (flat < 0).any() or (flat >= len(nodes)).any():
        raise CorruptFileError(f"`{file}`: expected links between its {len(nodes)} nodes, found others. {_AGAIN}")
    return nodes, flat.reshape(-1, 2)


def _json(file: Path) -> Any:  # noqa: ANN401 - any JSON value
    if not file.is_file():
        raise missing_table(file)
    try:
        return json.loads(file.read_bytes())
    except ValueError as error:
        raise CorruptFileError(f"`{file}`: expected a whole JSON file ({error}). {_AGAIN}") from error


def _load(file: Path) -> NDArray[Any]:
    if not file.is_file():
        raise missing_table(file)
    try:
        return np.load(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CorruptFileError(f"`{file}`: expected a whole array of numbers ({error}). {_AGAIN}") from error
