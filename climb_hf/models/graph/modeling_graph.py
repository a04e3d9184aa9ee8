"""Graph networks: convolutions with a norm between them, the mean of all nodes, a small head.

After the models of brain networks and proteins in the CLIMB authors' repository (`DDVD233/CLIMB:models/graphs`), which
are built from the layers of torch_geometric (MIT). Written from a description of their layers.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from climb_hf.errors import OptionError, SchemaError
from climb_hf.models.graph.configuration_graph import ClimbGraphConfig
from climb_hf.models.graph.convolutions import GraphLayer
from climb_hf.models.outputs import ClimbClassifierOutput
from climb_hf.models.vocabulary_head import VocabularyHead

__all__ = ["ClimbGraphForClassification", "ClimbGraphModel", "ClimbGraphPreTrainedModel"]


def check_graph(x: Tensor, edge_index: Tensor, batch: Tensor | None, features: int) -> None:
    """Check the types and shapes of a batch of graphs.

    Args:
        x (`torch.Tensor`): (nodes, features) floats.
        edge_index (`torch.Tensor`): (2, edges) int64.
        batch (`torch.Tensor`, *optional*): (nodes,) int64.
        features (`int`): features of a node that the model reads.

    Raises:
        SchemaError: anything else.
    """
    if x.ndim != 2 or not x.is_floating_point() or x.shape[1] != features:
        raise SchemaError(
            f"`x` must be floats of the shape (nodes, {features}), but is {x.dtype} {tuple(x.shape)}. Prepare it with "
            "the checkpoint's `ClimbGraphProcessor`: its `pad_features_to` and `nan_mask` decide how many features a "
            "node has."
        )
    if edge_index.ndim != 2 or edge_index.shape[0] != 2 or edge_index.dtype != torch.int64:
        raise SchemaError(
            "`edge_index` must be int64 of the shape (2, edges), sources above targets, but is "
            f"{edge_index.dtype} {tuple(edge_index.shape)}."
        )
    if batch is not None and (batch.shape != x.shape[:1] or batch.dtype != torch.int64):
        raise SchemaError(
            f"`batch` must be int64 of the shape ({x.shape[0]},), the graph of every node, but is {batch.dtype} "
            f"{tuple(batch.shape)}."
        )


def edge_values(edge_attr: Tensor | None, edges: int, columns: int | None, like: Tensor) -> Tensor | None:
    """Return the attributes that the convolutions read, in float32 at least.

    Args:
        edge_attr (`torch.Tensor`, *optional*): (edges, columns), or (edges,) for one column; 1 where it is absent.
        edges (`int`): number of edges.
        columns (`int`, *optional*): `config.edge_dim`; `None` reads no attributes.
        like (`torch.Tensor`): gives the type and the device.

    Returns:
        `torch.Tensor`: (edges, columns), or `None`.

    Raises:
        SchemaError: attributes of another shape, or whole numbers.
    """
    if columns is None:
        return None
    dtype = torch.promote_types(like.dtype, torch.float32)
    if edge_attr is None:
        return torch.ones(edges, columns, dtype=dtype, device=like.device)
    values = edge_attr[:, None] if edge_attr.ndim == 1 else edge_attr
    if values.shape != (edges, columns) or not values.is_floating_point():
        raise SchemaError(
            f"`edge_attr` must be floats of the shape ({edges}, {columns}), (edges, `edge_dim`), but is "
            f"{edge_attr.dtype} {tuple(edge_attr.shape)}."
        )
    return values.to(dtype)


def mean_over_nodes(values: Tensor, batch: Tensor | None, ptr: Tensor | None = None) -> Tensor:
    """Return the mean feature of the nodes of each graph, summed in float32 at least; 0 for a graph without nodes.

    Args:
        values (`torch.Tensor`): (nodes, width).
        batch (`torch.Tensor`, *optional*): (nodes,) int64, the graph of every node; all belong to one if absent.
        ptr (`torch.Tensor`, *optional*):
            (graphs + 1,) int64, where each graph begins, as torch_geometric gives it. With it, the number of graphs
            need not be read back from the device, and the last of them may be empty.

    Returns:
        `torch.Tensor`: (graphs, width).
    """
    wide = values.to(torch.promote_types(values.dtype, torch.float32))
    if batch is None and ptr is not None:
        graphs = torch.arange(ptr.shape[0] - 1, device=ptr.device)
        batch = torch.repeat_interleave(graphs, ptr.diff(), output_size=values.shape[0])
    elif batch is None:
        return wide.mean(0, keepdim=True).to(values.dtype)
    count = int(batch.max()) + 1 if ptr is None else ptr.shape[0] - 1
    sums = wide.new_zeros(count, wide.shape[1]).index_add(0, batch, wide)  # (N, D) -> (B, D)
    nodes = wide.new_zeros(count).index_add(0, batch, wide.new_ones(wide.shape[0]))
    return (sums / nodes.clamp(min=1)[:, None]).to(values.dtype)


class ClimbGraphPreTrainedModel(PreTrainedModel):
    """What the models share: loading and initialisation."""

    config: ClimbGraphConfig
    base_model_prefix = "climb_graph"
    main_input_name = "x"
    input_modalities = ("graph",)  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    _no_split_modules = ["GraphLayer"]  # noqa: RUF012 - as transformers declares it
    #: The loss is a mean already; the Trainer must not divide it again.
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        kind = getattr(module, "initializer", None)  # what torch_geometric chooses for the layer
        for name, parameter in module.named_parameters(recurse=False) if kind else ():
            if kind == "uniform":
                bound = 1 / math.sqrt(module.in_features)  # type: ignore[arg-type]
                init.uniform_(parameter, -bound, bound)
            elif parameter.ndim > 1:
                bound = math.sqrt(6 / (parameter.shape[-2] + parameter.shape[-1]))
                init.uniform_(parameter, -bound, bound)
            elif name == "bias" and isinstance(module, nn.Linear):
                bound = 1 / math.sqrt(module.in_features)
                init.uniform_(parameter, -bound, bound)
            else:
                init.zeros_(parameter)


class ClimbGraphModel(ClimbGraphPreTrainedModel):
    """Encoder without a head: one feature per graph, and one per node.

    Args:
        config (`ClimbGraphConfig`): the configuration; `vocabulary` plays a part only with `head="convolution"`.

    Raises:
        DependencyError: `backend="torch_geometric"`, and it is not installed.

    Example:
        >>> model = ClimbGraphModel(ClimbGraphConfig(num_features=3, backend="torch")).eval()
        >>> edges = torch.tensor([[0, 1, 2], [1, 2, 3]])
        >>> output = model(torch.ones(5, 3), edges, batch=torch.tensor([0, 0, 0, 0, 1]))
        >>> output.last_hidden_state.shape, output.pooler_output.shape
        (torch.Size([5, 64]), torch.Size([2, 64]))
    """

    def __init__(self, config: ClimbGraphConfig) -> None:
        super().__init__(config)
        count = config.num_hidden_layers
        self.convs = nn.ModuleList(GraphLayer(config, index) for index in range(count))
        # One norm for all gaps: the published code calls a single module again and again. With two convolutions there
        # is one gap, so it shows only in deeper networks.
        has_norm = config.batch_norm and count > 1
        self.bn = nn.BatchNorm1d(math.prod(config.layer_widths[0])) if has_norm else None
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        ptr: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - whatever a Trainer passes along
    ) -> BaseModelOutputWithPooling:
        """Encode graphs; the names are those of torch_geometric.

        Args:
            x (`torch.Tensor`): (nodes, features) float, the nodes of all graphs.
            edge_index (`torch.Tensor`): (2, edges) int64, source above target, positions in `x`.
            edge_attr (`torch.Tensor`, *optional*):
                (edges, `edge_dim`) float. Absent attributes are 1; with `edge_dim=None` they are not read. The GCN
                reads absolute values: with negative weights the degree of a node could be negative.
            batch (`torch.Tensor`, *optional*): (nodes,) int64, the graph of every node; one graph if absent.
            ptr (`torch.Tensor`, *optional*):
                (graphs + 1,) int64, where each graph's nodes begin. It spares a look at `batch` on the device.
            output_hidden_states (`bool`, *optional*): return the nodes before the first and after every convolution.
            **kwargs: ignored.

        Returns:
            `BaseModelOutputWithPooling`: `last_hidden_state` (nodes, width) and `pooler_output` (graphs, width), the
            mean over the nodes; the width is `config.output_size`.

        Raises:
            SchemaError: shapes that do not fit.
        """
        config = self.config
        check_graph(x, edge_index, batch, config.num_features)
        edges = edge_values(edge_attr, edge_index.shape[1], config.edge_dim, x)
        if config.convolution == "gcn" and edges is not None:
            edges = edges[:, 0].abs()  # (E, 1) -> (E,)
        nodes = x.to(self.dtype)
        states: Sequence[Tensor] = (nodes,)
        for index, convolution in enumerate(self.convs, start=1):
            nodes = convolution(nodes, edge_index, edges)  # (N, D) -> (N, D')
            if index < config.num_hidden_layers:
                nodes = nodes if self.bn is None else self.bn(nodes)
                nodes = F.dropout(F.relu(nodes), float(config.hidden_dropout), self.training)
            states = (*states, nodes)
        wanted = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return BaseModelOutputWithPooling(
            last_hidden_state=nodes,
            pooler_output=mean_over_nodes(nodes, batch, ptr),
            hidden_states=tuple(states) if wanted else None,
        )


class ClimbGraphForClassification(VocabularyHead, ClimbGraphPreTrainedModel):
    """The encoder with a head over the vocabulary V, for graphs or for nodes (`config.level`).

    Args:
        config (`ClimbGraphConfig`): the configuration, with a `vocabulary`.

    Raises:
        DependencyError: `backend="torch_geometric"`, and it is not installed.
        VocabularyError: the configuration has no vocabulary.

    Example:
        >>> config = ClimbGraphConfig(num_features=3, backend="torch", vocabulary=["enzyme", "non_enzyme"])
        >>> edges = torch.tensor([[0, 1], [1, 0]])
        >>> ClimbGraphForClassification(config).eval()(torch.ones(2, 3), edges).logits.shape
        torch.Size([1, 2])
    """

    def __init__(self, config: ClimbGraphConfig) -> None:
        super().__init__(config)
        self.check_head()
        self.climb_graph = ClimbGraphModel(config)
        if config.head == "mlp":
            width = config.head_hidden_size or config.hidden_size
            self.head_dense = nn.Linear(config.output_size, width)
            self.head_dense.initializer = "uniform"  # type: ignore[assignment]
            self.build_head(width)
        else:  # the last convolution has scored the concepts
            self.dropout, self.classifier = nn.Identity(), nn.Identity()  # type: ignore[assignment]
        self.post_init()

    def head_input(self, outputs: Any) -> Tensor:  # noqa: ANN401 - a ModelOutput of the encoder
        """Return what the last layer reads: (graphs, width), or (nodes, width) where nodes are classified."""
        features = outputs.last_hidden_state if self.config.level == "node" else outputs.pooler_output
        if self.config.head == "convolution":
            return features
        activation = self.config.head_activation
        if activation == "leaky_relu" or (activation is None and self.config.convolution == "graph_transformer"):
            return F.leaky_relu(self.head_dense(features), 0.01)
        return F.gelu(self.head_dense(features))

    def extend_vocabulary(self, new_concepts: Sequence[str]) -> list[str]:
        """Add outputs for new concepts at the end of the head; see `VocabularyHead.extend_vocabulary`.

        Args:
            new_concepts (`Sequence[str]`): names of concepts.

        Returns:
            `list[str]`: the concepts that were added, in order.

        Raises:
            OptionError: `head="convolution"`: every output takes part in the attention of that layer.
        """
        if self.config.head == "convolution":
            raise OptionError(
                "the vocabulary of a model with `head='convolution'` cannot grow: its last convolution has one output "
                "per concept. Train a model with `head='mlp'`."
            )
        return super().extend_vocabulary(new_concepts)

    @can_return_tuple
    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
        ptr: Tensor | None = None,
        labels: Tensor | None = None,
        target_mask: Tensor | None = None,
        exclusive: Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401 - output options of the encoder
    ) -> ClimbClassifierOutput:
        """Score the concepts of V for every graph, or for every node, and compute the loss where labels are given.

        Args:
            x (`torch.Tensor`): (nodes, features) float.
            edge_index (`torch.Tensor`): (2, edges) int64.
            edge_attr (`torch.Tensor`, *optional*): (edges, `edge_dim`) float, see `ClimbGraphModel`.
            batch (`torch.Tensor`, *optional*): (nodes,) int64, the graph of every node.
            ptr (`torch.Tensor`, *optional*): (graphs + 1,) int64, where each graph's nodes begin.
            labels (`torch.Tensor`, *optional*): see `VocabularyHead.classify`; rows are graphs, or nodes.
            target_mask (`torch.Tensor`, *optional*): (rows, |V|) bool: V_k of each row's source.
            exclusive (`torch.Tensor`, *optional*): (rows,) bool: single-label rows.
            **kwargs: `output_hidden_states`, `return_dict`; anything else is ignored.

        Returns:
            `ClimbClassifierOutput`: with `logits` (rows, |V|) and, for labels, the mean loss.

        Raises:
            SchemaError: shapes that do not fit.
        """
        outputs = self.climb_graph(x, edge_index, edge_attr, batch, ptr, **{**kwargs, "return_dict": True})
        return self.classify(outputs, labels, target_mask, exclusive)
