"""Graph networks over dense brain networks: ours against the same network written with torch_geometric, in one run.

ABIDE's size: 200 regions, all 40,000 edges of a matrix, 400 features, hidden 64, two convolutions, four heads.
"""

import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch import Tensor, nn

from climb_hf.models import ClimbGraphConfig, ClimbGraphForClassification

GRAPHS, NODES, ROUNDS = 2, 200, 7
REQUIRED = {"torch_geometric": None, "torch": 0.8}  # the former are the same layers, so its ratio shows the noise
LAYERS = {"gcn": "GCNConv", "gat": "GATConv", "gatv2": "GATv2Conv", "graph_transformer": "TransformerConv"}


class Plain(nn.Module):
    """The network as a user of torch_geometric writes it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        from torch_geometric import nn as geometric

        layer, self.pool, self.kind = getattr(geometric, LAYERS[kind]), geometric.global_mean_pool, kind
        heads = 1 if kind == "gcn" else 4
        first, last = ({}, {}) if kind == "gcn" else ({"heads": 4, "edge_dim": 1}, {"heads": 1, "edge_dim": 1})
        self.convs = nn.ModuleList([layer(2 * NODES, 64, **first), layer(64 * heads, 64, **last)])
        self.bn = nn.BatchNorm1d(64 * heads)
        activation = nn.LeakyReLU() if kind == "graph_transformer" else nn.GELU()
        self.mlp = nn.Sequential(nn.Linear(64, 64), activation, nn.Dropout(0.5), nn.Linear(64, 2))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor) -> Tensor:
        """Return the logits (graphs, 2)."""
        edges = edge_attr.abs().flatten() if self.kind == "gcn" else edge_attr
        x = nn.functional.dropout(self.bn(self.convs[0](x, edge_index, edges)).relu(), 0.5, self.training)
        return self.mlp(self.pool(self.convs[1](x, edge_index, edges), batch))


def _inputs() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    places = torch.arange(NODES)
    edges = torch.stack([places.repeat_interleave(NODES), places.repeat(NODES)])
    edges = torch.cat([edges + graph * NODES for graph in range(GRAPHS)], 1)
    x = torch.randn(GRAPHS * NODES, 2 * NODES, generator=generator)
    weights = torch.randn(edges.shape[1], 1, generator=generator)
    return x, edges, weights, torch.arange(GRAPHS).repeat_interleave(NODES)


def _seconds(run: Callable[[], object]) -> float:
    start = time.process_time()  # one thread: seconds of a core, whatever else runs on the machine
    run()
    return time.process_time() - start


def _forward(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    model.eval()
    with torch.no_grad():
        model(*inputs)


def _train(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    model.train()
    model.zero_grad()
    found = model(*inputs)
    (found if isinstance(found, Tensor) else found.logits).square().mean().backward()


def run() -> list[dict]:
    """Return two rows per convolution and backend: graphs per second, medians of alternating rounds."""
    torch.set_num_threads(1)
    inputs, rows = _inputs(), []
    for kind in LAYERS:
        config = {"convolution": kind, "num_features": 2 * NODES, "num_labels": 2}
        models = {name: ClimbGraphForClassification(ClimbGraphConfig(backend=name, **config)) for name in REQUIRED}
        models["plain"] = Plain(kind)
        for what, step in (("forward", _forward), ("training", _train)):
            times = [
                {name: _seconds(lambda model=model, step=step: step(model, inputs)) for name, model in models.items()}
                for _ in range(ROUNDS + 1)
            ][1:]
            median = {name: statistics.median(one[name] for one in times) for name in models}
            rows += [
                {
                    "name": f"{kind}, {what}, {GRAPHS} x {NODES} nodes complete, backend {name}, vs torch_geometric",
                    "ours": GRAPHS / median[name],
                    "reference": GRAPHS / median["plain"],
                    "ratio": statistics.median(one["plain"] / one[name] for one in times),
                    "required": required,
                    "unit": "graphs/s",
                }
                for name, required in REQUIRED.items()
            ]
    return rows


if __name__ == "__main__":
    for row in run():
        print(row)
