"""Synthetic raw copy of PROTEINS: random graphs in the text files of the TU Dortmund collection.

Every graph is drawn at random; none is a protein. Graphs of class 1 (`Enzyme`) have mostly nodes of label 0 and many
spatial edges beside the chain, graphs of class 2 (`Not enzyme`) mostly label 1 and few such edges; lengths differ too.

Oddities of the release that it writes:

* graphs sorted by class (about 60 % are class 1), 1-based ids over all graphs, both directions of every edge, sorted
  by the second column, `row, col` with a blank;
* isolated nodes, also as the last node of a graph, so `num_nodes` cannot come from the edges;
* lengths as `%10.6f`, a few of them negative or zero;
* a `README.txt` beside the five tables.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, write_text

__all__ = ["make"]

_FOLDERS = {"publisher": "PROTEINS", "flat": "", "pyg": "PROTEINS/raw"}
_CLASSES = {1: "Enzyme", 2: "Not enzyme"}
_HELIX = {1: (0.8, 0.15, 0.05), 2: (0.15, 0.8, 0.05)}  # class -> shares of node labels 0, 1, 2
_LENGTH = {1: 12, 2: 6}  # class -> mean length of an element, amino acids
_DIRT = (-345, -96, 0)


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "publisher") -> list[Expected]:
    """Write a synthetic PROTEINS folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of graphs, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of the graphs.
        layout (`str`, *optional*, defaults to `"publisher"`): where the files lie: `"publisher"` (`PROTEINS/`),
            `"flat"` (in the root) or `"pyg"` (`PROTEINS/raw/`).

    Returns:
        `list[Expected]`: by graph id; `values`: `num_nodes`, `num_edges` (both directions counted), `num_isolated`,
        `raw_labels`, `node_labels` and `node_attributes` (tuples in node order).

    Raises:
        OptionError: an option out of range.
    """
    check_count("proteins", n, seed)
    check_choice("proteins", "layout", layout, tuple(_FOLDERS))
    files: dict[str, list[str]] = {
        name: [] for name in ("A", "graph_indicator", "graph_labels", "node_attributes", "node_labels")
    }
    expected, before = [], 0
    for graph in range(1, n + 1):
        label = 1 if graph <= round(0.6 * n) else 2
        edges, kinds, lengths = _graph(graph, label, rng(seed, "proteins", graph))
        files["A"] += [f"{row + before + 1}, {column + before + 1}" for row, column in edges]
        files["graph_indicator"] += [str(graph)] * len(kinds)
        files["graph_labels"].append(str(label))
        files["node_attributes"] += [f"{length:10.6f}" for length in lengths]
        files["node_labels"] += [str(kind) for kind in kinds]
        before += len(kinds)
        values: dict[str, object] = {
            "num_nodes": len(kinds),
            "num_edges": len(edges),
            "num_isolated": len(kinds) - len(np.unique(edges)),
            "raw_labels": (str(label),),
            "node_labels": tuple(int(kind) for kind in kinds),
            "node_attributes": tuple(float(length) for length in lengths),
        }
        expected.append(Expected(str(graph), None, str(graph), (_CLASSES[label],), values))
    folder = root / _FOLDERS[layout]
    for name, lines in files.items():
        write_text(folder / f"PROTEINS_{name}.txt", "".join(f"{line}\n" for line in lines))
    write_text(
        folder / "README.txt", "Synthetic graphs in the text format of the TU Dortmund collection (PROTEINS).\n"
    )
    return expected


def _graph(
    graph: int, label: int, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Edges (E, 2) in both directions sorted by the second column, node labels (N,) and lengths (N,)."""
    nodes = int(random.integers(8, 33)) if graph % 13 else 4
    chain = np.stack([np.arange(nodes - 1), np.arange(1, nodes)], axis=1)
    spatial = random.integers(0, nodes, (round(nodes * (1.3 if label == 1 else 0.2)), 2))
    pairs = np.concatenate([chain, spatial[spatial[:, 0] != spatial[:, 1]]])
    if graph % 8 in (3, 6):  # one node without neighbours: the last one, or one of the middle
        lone = nodes - 1 if graph % 8 == 3 else nodes // 2
        pairs = pairs[(pairs != lone).all(axis=1)]
    pairs = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)
    pairs = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    kinds = random.choice(3, nodes, p=_HELIX[label])
    lengths = 1 + random.poisson(_LENGTH[label], nodes)
    if graph % 8 == 2:
        lengths[int(random.integers(nodes))] = _DIRT[graph // 8 % len(_DIRT)]
    return pairs, kinds, lengths
