"""Batches of dense brain networks, and how they are stored: ours against lists of Python numbers, in one run."""

import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch
from datasets import Dataset, Features, disable_progress_bars
from datasets.arrow_writer import ArrowWriter

from climb_hf import schema
from climb_hf.arrow_columns import ArrowFeatures
from climb_hf.processing.graph_processor import ClimbGraphProcessor
from climb_hf.readers.connectome import connectome_columns
from climb_hf.training.sampling import IndexedRows

GRAPHS, NODES, BATCH, ROUNDS = 32, 360, 16, 3
REQUIRED, REQUIRED_STORED = 10.0, 3.0
FEATURES = Features(schema.input_columns("graph"))


def _examples(seed: int = 0) -> list[dict]:
    random = np.random.default_rng(seed)
    examples = []
    for number in range(GRAPHS):
        matrix = random.standard_normal((NODES, NODES))
        columns = connectome_columns((matrix + matrix.T) / 2)
        del columns["metadata"]
        examples.append({**columns, "node_labels": None, "id": str(number)})
    return examples


def _store(path: str, features: Features, examples: list[dict], *, lists: bool) -> float:
    """Write the examples as a build does; return seconds."""
    start = time.perf_counter()
    with ArrowWriter(features=features, path=path, writer_batch_size=BATCH) as writer:
        for example in examples:
            row = {name: example[name] for name in features}
            if lists:
                row = {name: value.tolist() if hasattr(value, "tolist") else value for name, value in row.items()}
            writer.write(features.encode_example(row))
        writer.finalize()
    return time.perf_counter() - start


def _ours(rows: IndexedRows, processor: ClimbGraphProcessor, indices: list[int]) -> torch.Tensor:
    batch = processor.batch(rows.__getitems__(indices))
    return batch.edge_index


def _theirs(dataset: Dataset, indices: list[int]) -> torch.Tensor:
    from torch_geometric.data import Batch, Data

    rows = [dataset[index] for index in indices]
    graphs = [
        Data(
            x=torch.tensor(row["node_feat"]),
            edge_index=torch.tensor(row["edge_index"]),
            edge_attr=torch.tensor(row["edge_attr"]),
        )
        for row in rows
    ]
    return Batch.from_data_list(graphs).edge_index


def _in_memory(graphs: list, indices: list[int]) -> torch.Tensor:
    from torch_geometric.data import Batch

    return Batch.from_data_list([graphs[index] for index in indices]).edge_index


def _data(example: dict) -> object:
    from torch_geometric.data import Data

    tensors = {name: torch.from_numpy(example[name]) for name in ("node_feat", "edge_index", "edge_attr")}
    return Data(x=tensors["node_feat"], edge_index=tensors["edge_index"], edge_attr=tensors["edge_attr"])


def _seconds(read: Callable[[list[int]], torch.Tensor], order: np.ndarray) -> float:
    start = time.perf_counter()
    for first in range(0, GRAPHS, BATCH):
        edges = read(order[first : first + BATCH].tolist())
        if tuple(edges.shape) != (2, BATCH * NODES * (NODES - 1)):
            raise ValueError(f"expected {BATCH} complete graphs, got edges of {tuple(edges.shape)}")
    return time.perf_counter() - start


def run() -> list[dict]:
    """Return the rows: graphs per second, medians of alternating rounds over shuffled indices."""
    disable_progress_bars()
    examples = _examples()
    processor = ClimbGraphProcessor(nan_mask=False, self_loops=False)
    order = np.random.default_rng(1).permutation(GRAPHS)
    with tempfile.TemporaryDirectory() as folder:
        stored = [
            (
                _store(f"{folder}/ours.arrow", ArrowFeatures(FEATURES), examples, lists=False),
                _store(f"{folder}/theirs.arrow", FEATURES, examples, lists=True),
            )
            for _ in range(3)
        ]
        dataset = Dataset.from_file(f"{folder}/ours.arrow")
        dataset = dataset.add_column("id", [str(k) for k in range(GRAPHS)])
        rows, graphs = IndexedRows(dataset), [_data(example) for example in examples]
        batches = [
            (
                _seconds(lambda indices: _ours(rows, processor, indices), order),
                _seconds(lambda indices: _theirs(dataset, indices), order),
                _seconds(lambda indices: _in_memory(graphs, indices), order),
            )
            for _ in range(ROUNDS)
        ]
    ours, lists, memory = (statistics.median(column) for column in zip(*batches, strict=True))
    matrices, numbers = (statistics.median(column) for column in zip(*stored, strict=True))
    name = f"graph batches, {BATCH} x {NODES} nodes complete"
    return [
        _row(f"{name}, vs torch_geometric from lists", ours, lists, REQUIRED),
        _row(f"{name}, from storage, vs torch_geometric from tensors in memory", ours, memory, None),
        _row(f"storing graphs of {NODES} nodes complete, vs lists", matrices, numbers, REQUIRED_STORED),
    ]


def _row(name: str, ours: float, reference: float, required: float | None) -> dict:
    return {
        "name": name,
        "ours": GRAPHS / ours,
        "reference": GRAPHS / reference,
        "ratio": reference / ours,
        "required": required,
        "unit": "graphs/s",
    }


if __name__ == "__main__":
    for row in run():
        print(row)
