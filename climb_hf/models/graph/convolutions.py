"""Graph convolutions: the layers of torch_geometric, or the same functions in plain PyTorch, under the same names.

Edges go from a source s to a target t, E of them between N nodes; every node collects over its incoming edges. The
plain layers compute the functions that torch_geometric documents for `GCNConv` (Kipf and Welling 2017), `GATConv`
(Veličković et al. 2018), `GATv2Conv` (Brody et al. 2022) and `TransformerConv` (Shi et al. 2021), with two rules of
their own: shapes depend on N and E alone, so that they compile and export, and what is linear in the edge attributes
is summed before it is projected, which saves tensors of the size (E, heads, width).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from transformers.modeling_layers import GradientCheckpointingLayer

from climb_hf.models.graph.configuration_graph import ClimbGraphConfig
from climb_hf.optional import is_available, require

__all__ = ["GatConvolution", "Gatv2Convolution", "GcnConvolution", "GraphLayer", "TransformerConvolution"]

_SLOPE = 0.2  # of the leaky ReLU of attention scores


def collect(values: Tensor, target: Tensor, nodes: int) -> Tensor:
    """Sum the values (E, …) of the edges that enter each node: (N, …)."""
    return values.new_zeros((nodes, *values.shape[1:])).index_add(0, target, values)


def softmax_over_incoming(scores: Tensor, target: Tensor, nodes: int) -> Tensor:
    """Softmax of the scores (E, heads) over the edges that enter the same node; -inf takes an edge out."""
    index = target[:, None].expand_as(scores)
    highest = scores.new_full((nodes, scores.shape[1]), -torch.inf)
    highest = highest.scatter_reduce(0, index, scores.detach(), "amax")
    weights = (scores - highest.index_select(0, target)).exp()
    return weights / (collect(weights, target, nodes) + 1e-16).index_select(0, target)


def replace_self_loops(
    edge_index: Tensor, edge_attr: Tensor | None, nodes: int
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Give every node a self-loop whose attributes are the mean of those that enter it, instead of its own ones.

    Args:
        edge_index (`torch.Tensor`): (2, E) int64.
        edge_attr (`torch.Tensor`, *optional*): (E, k).
        nodes (`int`): N.

    Returns:
        `tuple`: edges (2, E + N), attributes (E + N, k), and (E + N, 1) bool, `True` for the self-loops of before,
        which stay in their places and must get no weight.
    """
    loops = torch.arange(nodes, device=edge_index.device)
    replaced = edge_index[0] == edge_index[1]
    if edge_attr is not None:
        kept = torch.where(replaced, 0, 1).to(edge_attr)[:, None]
        count = collect(kept, edge_index[1], nodes).clamp(min=1)
        edge_attr = torch.cat([edge_attr, collect(edge_attr * kept, edge_index[1], nodes) / count])
    replaced = torch.cat([replaced, torch.zeros_like(loops, dtype=torch.bool)])
    return torch.cat([edge_index, loops.expand(2, -1)], 1), edge_attr, replaced[:, None]


class GcnConvolution(nn.Module):
    """Mean of the neighbours' features, weighted by edge and by the degrees of both ends; every node has a self-loop.

    Args:
        inputs (`int`): width of the nodes.
        outputs (`int`): width of the result.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lin = nn.Linear(inputs, outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        """Collect: nodes (N, inputs), edges (2, E), weights (E,) of at least 0 -> (N, outputs)."""
        nodes, (source, target) = x.shape[0], edge_index
        weight = x.new_ones(source.shape) if edge_attr is None else edge_attr
        # a self-loop that is there keeps its weight, the others weigh 1; place N takes what is no self-loop
        is_loop = source == target
        loop = x.new_ones(nodes + 1).scatter(0, torch.where(is_loop, source, nodes), weight)[:nodes]
        weight = torch.where(is_loop, 0, weight)
        scale = collect(weight, target, nodes).add(loop).rsqrt()
        scale = scale.masked_fill(scale.isinf(), 0)  # a node without any weight
        x = self.lin(x)
        norm = scale.index_select(0, source) * weight * scale.index_select(0, target)  # (E,)
        sums = collect(norm[:, None] * x.index_select(0, source), target, nodes)  # (E, D) -> (N, D)
        return sums + (scale * loop * scale)[:, None] * x + self.bias


class GatConvolution(nn.Module):
    """Attention of every node over its neighbours and itself, by a sum of scores of the two ends and of the edge.

    Args:
        inputs (`int`): width of the nodes.
        outputs (`int`): width of a head.
        heads (`int`): heads, concatenated.
        edge_dim (`int`, *optional*): columns of the edge attributes.
        dropout (`float`, *optional*, defaults to `0.0`): of the attention weights.
    """

    def __init__(
        self, inputs: int, outputs: int, heads: int, edge_dim: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads, self.outputs, self.dropout = heads, outputs, dropout
        self.lin = nn.Linear(inputs, heads * outputs, bias=False)
        self.att_src = nn.Parameter(torch.empty(1, heads, outputs))
        self.att_dst = nn.Parameter(torch.empty(1, heads, outputs))
        self.lin_edge = None if edge_dim is None else nn.Linear(edge_dim, heads * outputs, bias=False)
        self.att_edge = None if edge_dim is None else nn.Parameter(torch.empty(1, heads, outputs))
        self.bias = nn.Parameter(torch.zeros(heads * outputs))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        """Collect: nodes (N, inputs), edges (2, E), attributes (E, k) -> (N, heads · outputs)."""
        nodes = x.shape[0]
        edge_index, edge_attr, replaced = replace_self_loops(edge_index, edge_attr, nodes)
        source, target = edge_index
        x = self.lin(x).view(nodes, self.heads, self.outputs)  # (N, inputs) -> (N, H, C)
        scores = (x * self.att_src).sum(-1).index_select(0, source)  # (N, H) -> (E, H)
        scores = scores + (x * self.att_dst).sum(-1).index_select(0, target)
        if edge_attr is not None and self.lin_edge is not None and self.att_edge is not None:
            projection = project_edges(self.lin_edge, edge_attr, self.heads)
            scores = scores + edge_attr @ (projection * self.att_edge).sum(-1)  # (E, k) @ (k, H)
        scores = F.leaky_relu(scores, _SLOPE).masked_fill(replaced, -torch.inf)
        weights = F.dropout(softmax_over_incoming(scores, target, nodes), self.dropout, self.training)
        messages = weights[:, :, None] * x.index_select(0, source)  # (E, H, C)
        return collect(messages, target, nodes).flatten(1) + self.bias  # (E, H, C) -> (N, H·C)


class Gatv2Convolution(nn.Module):
    """Attention as in `GatConvolution`, with a score that is not linear in the pair of ends.

    Args:
        inputs (`int`): width of the nodes.
        outputs (`int`): width of a head.
        heads (`int`): heads, concatenated.
        edge_dim (`int`, *optional*): columns of the edge attributes.
        dropout (`float`, *optional*, defaults to `0.0`): of the attention weights.
    """

    def __init__(
        self, inputs: int, outputs: int, heads: int, edge_dim: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads, self.outputs, self.dropout = heads, outputs, dropout
        self.lin_l = nn.Linear(inputs, heads * outputs)
        self.lin_r = nn.Linear(inputs, heads * outputs)
        self.att = nn.Parameter(torch.empty(1, heads, outputs))
        self.lin_edge = None if edge_dim is None else nn.Linear(edge_dim, heads * outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(heads * outputs))

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        """Collect: nodes (N, inputs), edges (2, E), attributes (E, k) -> (N, heads · outputs)."""
        nodes, shape = x.shape[0], (-1, self.heads, self.outputs)
        edge_index, edge_attr, replaced = replace_self_loops(edge_index, edge_attr, nodes)
        source, target = edge_index
        left, right = self.lin_l(x).view(shape), self.lin_r(x).view(shape)  # (N, inputs) -> (N, H, C)
        left = left.index_select(0, source)  # (N, H, C) -> (E, H, C)
        pair = left + right.index_select(0, target)
        if edge_attr is not None and self.lin_edge is not None:
            pair = pair + self.lin_edge(edge_attr).view(shape)
        scores = (F.leaky_relu(pair, _SLOPE) * self.att).sum(-1).masked_fill(replaced, -torch.inf)
        weights = F.dropout(softmax_over_incoming(scores, target, nodes), self.dropout, self.training)
        return collect(weights[:, :, None] * left, target, nodes).flatten(1) + self.bias  # (E, H, C) -> (N, H·C)


class TransformerConvolution(nn.Module):
    """Dot-product attention of every node over its neighbours, whose keys and values the edge adds to; plus itself.

    Args:
        inputs (`int`): width of the nodes.
        outputs (`int`): width of a head.
        heads (`int`): heads, concatenated.
        edge_dim (`int`, *optional*): columns of the edge attributes.
        dropout (`float`, *optional*, defaults to `0.0`): of the attention weights.
    """

    def __init__(
        self, inputs: int, outputs: int, heads: int, edge_dim: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads, self.outputs, self.dropout = heads, outputs, dropout
        self.lin_key = nn.Linear(inputs, heads * outputs)
        self.lin_query = nn.Linear(inputs, heads * outputs)
        self.lin_value = nn.Linear(inputs, heads * outputs)
        self.lin_edge = None if edge_dim is None else nn.Linear(edge_dim, heads * outputs, bias=False)
        self.lin_skip = nn.Linear(inputs, heads * outputs)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        """Collect: nodes (N, inputs), edges (2, E), attributes (E, k) -> (N, heads · outputs)."""
        nodes, shape, (source, target) = x.shape[0], (-1, self.heads, self.outputs), edge_index
        query = self.lin_query(x).view(shape) / math.sqrt(self.outputs)  # (N, inputs) -> (N, H, C)
        key, value = self.lin_key(x).view(shape), self.lin_value(x).view(shape)
        scores = (query.index_select(0, target) * key.index_select(0, source)).sum(-1)  # (E, H, C) -> (E, H)
        projection = None
        if edge_attr is not None and self.lin_edge is not None:
            projection = project_edges(self.lin_edge, edge_attr, self.heads)  # (k, H, C)
            asked = torch.einsum("nhc,khc->nhk", query, projection)
            scores = scores + (asked.index_select(0, target) * edge_attr[:, None]).sum(-1)  # (E, H, k) -> (E, H)
        weights = F.dropout(softmax_over_incoming(scores, target, nodes), self.dropout, self.training)
        sums = collect(weights[:, :, None] * value.index_select(0, source), target, nodes)  # (E, H, C) -> (N, H, C)
        if projection is not None and edge_attr is not None:
            told = collect(weights[:, :, None] * edge_attr[:, None], target, nodes)  # (E, H, k) -> (N, H, k)
            sums = sums + torch.einsum("nhk,khc->nhc", told, projection)
        return sums.flatten(1) + self.lin_skip(x)  # (N, H, C) -> (N, H·C)


def project_edges(linear: nn.Module, edge_attr: Tensor, heads: int) -> Tensor:
    """Return what the layer, which peft may have adapted, makes of each single attribute: (k, heads, width)."""
    columns = torch.eye(edge_attr.shape[1], dtype=edge_attr.dtype, device=edge_attr.device)
    return linear(columns).unflatten(1, (heads, -1))


_PLAIN: dict[str, type[nn.Module]] = {
    "gat": GatConvolution,
    "gatv2": Gatv2Convolution,
    "graph_transformer": TransformerConvolution,
}
_THEIRS = {"gcn": "GCNConv", "gat": "GATConv", "gatv2": "GATv2Conv", "graph_transformer": "TransformerConv"}


class GraphLayer(GradientCheckpointingLayer):
    """One convolution of the configured kind and backend, computed in float32 at least.

    In half precision a degree or a softmax over some hundred neighbours would stop growing at 256 (bfloat16), so
    autocast is switched off inside and half-precision weights are widened; the result has the type of the input.

    Args:
        config (`ClimbGraphConfig`): the configuration.
        index (`int`): which of its convolutions.

    Raises:
        DependencyError: `backend="torch_geometric"`, and it is not installed.
    """

    def __init__(self, config: ClimbGraphConfig, index: int) -> None:
        super().__init__()
        widths = config.layer_widths
        inputs = config.num_features if index == 0 else math.prod(widths[index - 1])
        outputs, heads = widths[index]
        options = {"heads": heads, "edge_dim": config.edge_dim, "dropout": float(config.attention_dropout)}
        if config.convolution == "gcn":
            options = {}
        backend = config.backend
        if backend == "torch_geometric" or (backend == "auto" and is_available("torch_geometric")):
            kind = getattr(require("torch_geometric.nn", extra="graph"), _THEIRS[config.convolution])
            convolution = kind(inputs, outputs, **options)
            _use_plain_linear_layers(convolution)
        else:
            convolution = _PLAIN.get(config.convolution, GcnConvolution)(inputs, outputs, **options)
        initializer = "uniform" if config.convolution == "graph_transformer" else "glorot"
        for module in convolution.modules():  # for `_init_weights`: torch_geometric's own choices
            module.initializer = initializer
        self.convolution = convolution

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        """Collect: nodes (N, inputs), edges (2, E), attributes in float32 (GCN: weights (E,)) -> (N, outputs)."""
        if torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self._wide(x, edge_index, edge_attr)
        return self._wide(x, edge_index, edge_attr)

    def _wide(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None) -> Tensor:
        if x.dtype not in (torch.bfloat16, torch.float16):
            return self.convolution(x, edge_index, edge_attr)
        weights = {name: weight.float() for name, weight in self.convolution.named_parameters()}
        return functional_call(self.convolution, weights, (x.float(), edge_index, edge_attr)).to(x.dtype)


def _use_plain_linear_layers(convolution: nn.Module) -> None:
    """Put `torch.nn.Linear` with the same parameters in place of torch_geometric's own class, which peft knows not."""
    for name, child in list(convolution.named_children()):
        weight = getattr(child, "weight", None)
        if isinstance(weight, nn.Parameter):
            outputs, inputs = weight.shape
            with torch.device("meta"):
                linear = nn.Linear(inputs, outputs, bias=child.bias is not None)
            linear.weight, linear.bias = weight, child.bias  # type: ignore[assignment]
            setattr(convolution, name, linear)
