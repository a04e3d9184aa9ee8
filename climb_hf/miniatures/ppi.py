"""Synthetic raw copy of PPI: random graphs in the files of GraphSAGE, or of DGL and PyTorch Geometric.

Every graph is drawn at random; none is a protein network. Nodes belong to one of four hidden families, which decide
their features, most of their edges and most of their 121 labels.

Oddities of the releases that it writes:

* node-link JSON of networkx 1: `links` with positions as `source` and `target`, each undirected edge once, self loops
  among them; isolated nodes, also as the last node of a graph; a node without any label;
* GraphSAGE: one file for all graphs, `val` and `test` on the nodes, texts as keys of `ppi-id_map.json` and
  `ppi-class_map.json`, float64 features, no graph ids; `__MACOSX` litter;
* DGL: three files per split, the validation split called `valid`, graph ids that go on from split to split.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, write_bytes, write_text
from climb_hf.miniatures._networks import npy_bytes

__all__ = ["make"]

_FEATURES, _LABELS, _FAMILIES = 50, 121, 4
_FOLDERS = {"graphsage": "ppi/ppi-", "toy": "example_data/toy-ppi-", "dgl": "ppi/", "pyg": "PPI/raw/"}


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "dgl") -> list[Expected]:
    """Write a synthetic PPI folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of graphs, at least 8; the last two are for testing, the two
            before them for validation. The real collection has 24.
        seed (`int`, *optional*, defaults to `0`): seed of the graphs.
        layout (`str`, *optional*, defaults to `"dgl"`): `"dgl"`, `"pyg"` (the same files in `raw/`), `"graphsage"` or
            `"toy"` (GraphSAGE's example files, named `toy-ppi-…`).

    Returns:
        `list[Expected]`: by graph id; `values`: `num_nodes`, `num_edges` (both directions counted), `num_isolated`,
        `num_self_loops`, `first_node` (position of the graph's first node in its file), `features` (nodes, 50) and
        `labels` (nodes, 121), both as lists.

    Raises:
        OptionError: an option out of range.
    """
    check_count("ppi", n, seed)
    check_choice("ppi", "layout", layout, tuple(_FOLDERS))
    splits = ["train"] * (n - 4) + ["validation"] * 2 + ["test"] * 2
    graphs = [_graph(number, rng(seed, "ppi", number)) for number in range(n)]
    prefix = str(root / _FOLDERS[layout])
    if layout in ("dgl", "pyg"):
        for split, name in (("train", "train"), ("validation", "valid"), ("test", "test")):
            _write_split(f"{prefix if prefix.endswith('/') else prefix + '/'}{name}_", graphs, splits, split)
    else:
        _write_all(prefix, graphs, splits)
        write_bytes(root / "__MACOSX" / "ppi" / "._ppi-G.json", b"\0\5\26\7")
    expected, before, last = [], 0, ""
    for number, (graph, split) in enumerate(zip(graphs, splits, strict=True)):
        before = 0 if layout in ("dgl", "pyg") and split != last else before
        values = {
            **graph["truths"],
            "first_node": before,
            "features": graph["features"].tolist(),
            "labels": graph["labels"].tolist(),
        }
        positive = np.flatnonzero(graph["labels"].any(axis=0))
        classes = tuple(f"go_{label:03d}" for label in positive)
        expected.append(Expected(str(number + 1), split, str(number + 1), classes, values))
        before, last = before + len(graph["features"]), split
    return expected


def _graph(number: int, random: np.random.Generator) -> dict[str, Any]:
    """One graph: `pairs` (links, 2) as listed, features, labels and what a reader finds."""
    nodes = int(random.integers(12, 22))
    family = random.integers(0, _FAMILIES, nodes)
    i, j = np.triu_indices(nodes, 1)
    linked = random.random(len(i)) < np.where(family[i] == family[j], 0.5, 0.08)
    pairs = np.stack([i[linked], j[linked]], axis=1)
    chain = np.stack([np.arange(nodes - 1), np.arange(1, nodes)], axis=1)
    pairs = np.unique(np.concatenate([pairs, chain]), axis=0)
    lone = {2: nodes - 1, 5: nodes // 2}.get(number % 8)
    if lone is not None:
        pairs = pairs[(pairs != lone).all(axis=1)]
        if lone < nodes - 1:  # the graph stays in one piece
            pairs = np.unique(np.concatenate([pairs, [[lone - 1, lone + 1]]]), axis=0)
    loops = np.repeat(random.choice(nodes, 1 + number % 3, replace=False)[:, None], 2, axis=1)
    loops = loops[loops[:, 0] != lone] if lone is not None else loops
    share = np.where(np.arange(_FEATURES) % _FAMILIES == family[:, None], 0.5, 0.05)
    features = (random.random((nodes, _FEATURES)) < share).astype(np.float64)
    features[:, 0] = random.normal(0, 1, nodes).round(6)
    share = np.where(np.arange(_LABELS) % _FAMILIES == family[:, None], 0.85, 0.1)
    labels = (random.random((nodes, _LABELS)) < share).astype(np.int64)
    labels[nodes // 3] = 0
    truths = {
        "num_nodes": nodes,
        "num_edges": 2 * len(pairs),
        "num_isolated": nodes - len(np.unique(pairs)),
        "num_self_loops": len(loops),
    }
    return {"pairs": np.concatenate([pairs, loops]), "features": features, "labels": labels, "truths": truths}


def _joined(graphs: list[dict[str, Any]]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    starts = np.cumsum([0, *(len(graph["features"]) for graph in graphs)])
    pairs = np.concatenate([graph["pairs"] + start for graph, start in zip(graphs, starts[:-1], strict=True)])
    features, labels = (np.concatenate([graph[key] for graph in graphs]) for key in ("features", "labels"))
    return pairs, features, labels


def _node_link(nodes: list[dict[str, Any]], pairs: NDArray[np.int64], name: str) -> str:
    links = [{"source": source, "target": target} for source, target in pairs.tolist()]
    content = {"directed": False, "graph": {"name": name}, "nodes": nodes, "links": links, "multigraph": False}
    return json.dumps(content)


def _write_split(prefix: str, graphs: list[dict[str, Any]], splits: list[str], split: str) -> None:
    """Write one split as DGL has it."""
    numbers = [number for number, name in enumerate(splits) if name == split]
    pairs, features, labels = _joined([graphs[number] for number in numbers])
    nodes = [{"id": position} for position in range(len(features))]
    write_text(Path(f"{prefix}graph.json"), _node_link(nodes, pairs, f"{split} graphs"))
    write_bytes(Path(f"{prefix}feats.npy"), npy_bytes(features))
    write_bytes(Path(f"{prefix}labels.npy"), npy_bytes(labels))
    owner = np.repeat([number + 1 for number in numbers], [len(graphs[number]["features"]) for number in numbers])
    write_bytes(Path(f"{prefix}graph_id.npy"), npy_bytes(owner))


def _write_all(prefix: str, graphs: list[dict[str, Any]], splits: list[str]) -> None:
    """Write all graphs as GraphSAGE has them."""
    pairs, features, labels = _joined(graphs)
    split_of = np.repeat(splits, [len(graph["features"]) for graph in graphs]).tolist()
    nodes = [
        {"test": split == "test", "id": position, "val": split == "validation"}
        for position, split in enumerate(split_of)
    ]
    write_text(Path(f"{prefix}G.json"), _node_link(nodes, pairs, "disjoint_union( ,  )"))
    write_bytes(Path(f"{prefix}feats.npy"), npy_bytes(features))
    write_text(Path(f"{prefix}id_map.json"), json.dumps({str(i): i for i in range(len(features))}))
    write_text(Path(f"{prefix}class_map.json"), json.dumps({str(i): row for i, row in enumerate(labels.tolist())}))
    write_text(Path(f"{prefix}walks.txt"), "".join(f"{a}\t{b}\n" for a, b in pairs[:50].tolist()))
