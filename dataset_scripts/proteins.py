"""PROTEINS: 1,113 protein graphs of the TU Dortmund collection, enzyme or not, by Borgwardt et al., 2005.

Features: nodes are secondary structure elements (helix, sheet, turn), edges join neighbours along the chain or in
space; `node_feat` is the one-hot element type (3 columns); the length of each element in amino acids stands in
`metadata`.
Classes: 1 = enzyme (663), 2 = not an enzyme (450). Splits: none published; default by graph (hash), 80/20.
Licence: none stated. Cite: doi 10.1093/bioinformatics/bti1007.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.errors import CorruptFileError, LayoutError, SchemaError
from climb_hf.readers.memo import memoize_by_files
from climb_hf.readers.tudataset import TuDataset, read_tu_dataset
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

NODE_TYPES = 3


class Proteins(Source):
    """PROTEINS of TUDataset."""

    name = "proteins"
    title = "PROTEINS (TUDataset)"
    homepage = "https://chrsmrrs.github.io/datasets/"
    citation = (
        "@article{borgwardt2005protein, title={Protein function prediction via graph kernels}, author={Borgwardt, "
        "Karsten M. and others}, journal={Bioinformatics}, volume={21}, pages={i47--i56}, year={2005}}"
    )
    license = "unknown"
    license_note = "The publisher states none; the data is neither shipped nor pushed."
    redistributable = False
    access = "open"
    how_to_get = (
        "Download https://www.chrsmrrs.com/graphkerneldatasets/PROTEINS.zip (under 1 MB, no account needed).",
        "Unzip it and pass the folder that holds `PROTEINS/`.",
    )
    modality = "Molecule"
    family = "graph"
    domains = ("Molecular Biology",)
    tasks = ("Classification",)
    published_splits = {"train": 890, "test": 223}
    cautions = (
        "The CLIMB paper describes nodes as amino acids (the D&D set). Here they are secondary structure elements.",
        "Ten element lengths are zero or negative in the publisher's files; they are kept as they are.",
    )
    unavailable_splits = {"paper": "the paper's 80/20 draw is random without a seed and no list was published;"}
    extra_options = {"node_attributes": False}
    fingerprint_patterns = ("**/PROTEINS_*.txt",)
    root_markers = ("PROTEINS_A.txt", "PROTEINS", "raw")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the graphs in file order; the 1-based graph id is the record's id."""
        data = _read(root)
        if len(data):
            self._check(data, options)
        for position, label in enumerate(data.graph_labels.tolist()):
            name = str(position + 1)
            yield Record(id=name, group=name, raw_labels=(str(label),), metadata={"graph_id": position + 1})

    def _check(self, data: TuDataset, options: Options) -> None:
        """Parse every table: a damaged one is an error of the source, not of its records."""
        graph = data.graph(0)
        if not data.edge_counts["edges"]:
            raise CorruptFileError(f"`{data.folder / 'PROTEINS_A.txt'}` holds no edge. Download the collection again.")
        needed: dict[str, Any] = {"PROTEINS_node_labels.txt": graph.node_labels}
        if options["node_attributes"]:
            needed["PROTEINS_node_attributes.txt"] = graph.node_attributes
        for file, table in needed.items():
            if table is None:
                raise LayoutError(f"{self.name}: `{file}` not found in `{data.folder}`. {self.how_to_get[0]}")

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return one graph in the Hub's graph convention: 0-based local node ids, both directions of every edge."""
        graph = _read(root).graph(int(record.id) - 1)
        types = [] if graph.node_labels is None else graph.node_labels.tolist()
        if unknown := sorted(set(types) - set(range(NODE_TYPES))):
            raise SchemaError(f"expected node labels 0 (helix), 1 (sheet) and 2 (turn), found {unknown}")
        one_hot = np.eye(NODE_TYPES, dtype=np.float32)[types]
        lengths = graph.node_attributes
        features = np.concatenate([lengths, one_hot], axis=1) if options["node_attributes"] else one_hot
        return {
            "edge_index": graph.edge_index.tolist(),
            "node_feat": features.tolist(),
            "num_nodes": graph.num_nodes,
            "metadata": {
                "node_types": types,
                "element_lengths": None if lengths is None else lengths[:, 0].tolist(),
                "num_isolated_nodes": graph.num_isolated_nodes,
            },
        }


@memoize_by_files("**/PROTEINS_*.txt")
def _read(root: Path) -> TuDataset:
    """Parse the text files once per process."""
    return read_tu_dataset(root, "PROTEINS")
