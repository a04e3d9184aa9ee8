"""PPI: 24 human tissue-specific protein interaction graphs, by Hamilton et al., 2017 (GraphSAGE).

Features: one row per graph; nodes are proteins (56,944 in all) with 50 features (positional gene sets, motif gene
sets, immunological signatures), edges are interactions. Classes: 121 gene ontology sets per node in `node_labels`; a
graph's `labels` are those of any of its nodes. Splits: the official 20 / 2 / 2 graphs. Access: open. Licence: none
stated for the files. Cite: arXiv 1706.02216.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.errors import SchemaError
from climb_hf.readers.connectome import both_directions
from climb_hf.readers.ppi_files import PpiGraph, read_ppi
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

logger = logging.getLogger(__name__)

LABELS = 121
GRAPHS = 24
NOT_SCORED = -1


class Ppi(Source):
    """Protein-protein interactions of GraphSAGE."""

    name = "ppi"
    title = "PPI (GraphSAGE)"
    homepage = "https://snap.stanford.edu/graphsage/"
    citation = (
        "@inproceedings{hamilton2017graphsage, title={Inductive representation learning on large graphs}, "
        "author={Hamilton, William L. and Ying, Rex and Leskovec, Jure}, booktitle={Advances in Neural Information "
        "Processing Systems}, year={2017}}"
    )
    license = "LicenseRef-None-Stated"
    license_note = (
        "The archive states none. The interactions come from BioGRID (MIT), the labels from the Gene Ontology "
        "(CC-BY-4.0), the features from MSigDB, which has terms of its own; so the data is not pushed."
    )
    redistributable = False
    access = "open"
    how_to_get = (
        "Download https://data.dgl.ai/dataset/ppi.zip (14 MB), or http://snap.stanford.edu/graphsage/ppi.zip "
        "(no account needed for either).",
        "Unzip it and pass the folder with `train_graph.json` or `ppi-G.json`; PyTorch Geometric's `PPI/` is fine.",
    )
    modality = "Molecule"
    family = "graph"
    domains = ("Molecular Biology",)
    tasks = ("Classification",)
    published_splits = {"train": 45555, "test": 11389}
    cautions = (
        "A row is a graph; the published counts are nodes. Scores are per node: micro-F1 in the literature, macro AUC "
        "over the 121 labels in the CLIMB paper.",
        "Proteins recur across tissues with the same features and partly the same labels, also between the official "
        "train and test graphs.",
        "`split_by='paper'` splits nodes at random (the paper's draw has no seed; this one has its size): train and "
        "test nodes are neighbours, and every graph stands in both. Its `node_labels` of the other part are -1.",
        "The names of the 121 sets are not in the files; they are numbered in file order.",
    )
    splits = ("official", "paper")
    fingerprint_patterns = ("*.json", "*.npy", "ppi/*", "raw/*")
    root_markers = ("train_graph.json", "ppi-G.json", "toy-ppi-G.json", "raw/train_graph.json")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the graphs; by `split_by="paper"` each of them twice, with its train and its test nodes."""
        graphs = read_ppi(root)
        if graphs[0].labels.shape[1] != LABELS:
            raise SchemaError(f"{self.name}: expected {LABELS} labels per node, found {graphs[0].labels.shape[1]}.")
        if len(graphs) != GRAPHS:
            logger.warning("%s: found %d graphs, the published collection has %d", self.name, len(graphs), GRAPHS)
        if options.split_by == "official":
            yield from (self._record(graph, graph.split, np.ones(len(graph.labels), bool)) for graph in graphs)
            return
        is_train = _drawn_nodes(graphs, options.seed)
        for graph, train in zip(graphs, is_train, strict=True):
            for split, scored in (("train", train), ("test", ~train)):
                if scored.any():
                    yield self._record(graph, split, scored, f"-{split}")

    def _record(self, graph: PpiGraph, split: str, scored: np.ndarray, ending: str = "") -> Record:
        name = str(graph.graph_id)
        present = np.flatnonzero(graph.labels[scored].any(axis=0)).tolist()
        return Record(
            id=f"{name}{ending}",
            group=name,
            split=split,
            raw_labels=tuple(f"go_{label:03d}" for label in present),
            metadata={
                "graph_id": graph.graph_id,
                "first_node": graph.first_node,
                "num_scored_nodes": int(scored.sum()),
                "official_split": graph.split,
                "part": split if ending else None,
            },
        )

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return one graph in the Hub's graph convention, with the labels of every node."""
        facts = record.metadata or {}
        graphs = read_ppi(root)
        position = next(k for k, graph in enumerate(graphs) if graph.graph_id == facts["graph_id"])
        graph = graphs[position]
        labels = graph.labels
        if facts["part"]:
            train = _drawn_nodes(graphs, options.seed)[position]
            labels = np.where((train == (facts["part"] == "train"))[:, None], labels, NOT_SCORED)
        edge_index, counts = both_directions(graph.pairs, len(labels))
        return {
            "edge_index": edge_index,
            "node_feat": graph.features,
            "num_nodes": len(labels),
            "node_labels": labels,
            "metadata": counts,
        }


def _drawn_nodes(graphs: list[PpiGraph], seed: int) -> list[np.ndarray]:
    """Return for every graph which nodes a random draw of 80 % of all nodes puts into train."""
    sizes = [len(graph.labels) for graph in graphs]
    drawn = np.zeros(sum(sizes), dtype=bool)
    drawn[np.random.RandomState(seed).permutation(len(drawn))[: round(0.8 * len(drawn))]] = True
    return np.split(drawn, np.cumsum(sizes)[:-1])
