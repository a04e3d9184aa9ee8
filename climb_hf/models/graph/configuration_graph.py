"""Configuration of the graph networks."""

from typing import Any

from climb_hf.errors import OptionError
from climb_hf.models.vocabulary_config import VocabularyConfig

__all__ = ["ClimbGraphConfig"]

_CHOICES = {
    "convolution": ("gcn", "gat", "gatv2", "graph_transformer"),
    "head": ("mlp", "convolution"),
    "head_activation": (None, "gelu", "leaky_relu"),
    "level": ("graph", "node"),
    "backend": ("auto", "torch_geometric", "torch"),
}


class ClimbGraphConfig(VocabularyConfig):
    """Configuration of `ClimbGraphModel` and `ClimbGraphForClassification`.

    The defaults are those of the CLIMB authors' models of brain networks: 360 regions with a mask of missing values,
    so 720 features per node. Their models of proteins have no batch norm and no edge attributes (`batch_norm=False`,
    `edge_dim=None`); the one of PPI scores nodes with its last convolution (`level="node"`, `head="convolution"`,
    `hidden_size=256`).

    Args:
        convolution (`str`, *optional*, defaults to `"gcn"`):
            `"gcn"`, `"gat"`, `"gatv2"` or `"graph_transformer"`.
        num_features (`int`, *optional*, defaults to `720`): features of a node.
        edge_dim (`int`, *optional*, defaults to `1`):
            columns of `edge_attr`; `None` for networks that read the edges alone. The GCN takes the absolute value of
            one column as the weight of the edge.
        hidden_size (`int`, *optional*, defaults to `64`): width of a convolution, for one head.
        num_hidden_layers (`int`, *optional*, defaults to `2`): convolutions.
        num_attention_heads (`int`, *optional*, defaults to `4`):
            heads of every convolution but the last, concatenated. The GCN has none.
        num_output_heads (`int`, *optional*, defaults to `1`): heads of the last convolution, concatenated.
        batch_norm (`bool`, *optional*, defaults to `True`):
            normalise between convolutions; one module with one set of statistics, as in the authors' code.
        hidden_dropout (`float`, *optional*, defaults to `0.5`): between convolutions.
        attention_dropout (`float`, *optional*, defaults to `0.0`): of the attention weights.
        head (`str`, *optional*, defaults to `"mlp"`):
            `"mlp"`: linear, activation, dropout, linear. `"convolution"`: the last convolution has an output per
            concept of the vocabulary, and there is nothing behind it; such a vocabulary cannot grow.
        head_hidden_size (`int`, *optional*): width between the two linear layers; defaults to `hidden_size`.
        head_activation (`str`, *optional*):
            `"gelu"` or `"leaky_relu"` (slope 0.01); defaults to the authors' choice, `"leaky_relu"` for the graph
            transformer and `"gelu"` for the others.
        level (`str`, *optional*, defaults to `"graph"`): `"graph"` or `"node"`: what is classified.
        backend (`str`, *optional*, defaults to `"auto"`):
            `"torch_geometric"` (the layers of that package), `"torch"` (the same functions in plain PyTorch, which
            also export), or `"auto"`: torch_geometric where it is installed. Weights fit either.
        dropout (`float`, *optional*, defaults to `0.5`): before the last linear layer of the head.
        **kwargs: see `VocabularyConfig`.

    Raises:
        OptionError: an unknown choice, a size below 1, a probability outside [0, 1), a GCN with several edge columns,
            or `head="convolution"` without a vocabulary or with several output heads.
        VocabularyError: a vocabulary and sources that do not fit together.

    Example:
        >>> ClimbGraphConfig(convolution="gat", num_features=400).output_size
        64
    """

    model_type = "climb_graph"

    convolution: str = "gcn"
    num_features: int = 720
    edge_dim: int | None = 1
    hidden_size: int = 64
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    num_output_heads: int = 1
    batch_norm: bool = True
    hidden_dropout: float | int = 0.5
    attention_dropout: float | int = 0.0
    head: str = "mlp"
    head_hidden_size: int | None = None
    head_activation: str | None = None
    level: str = "graph"
    backend: str = "auto"
    dropout: float | int = 0.5

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - unknown keys become attributes, as in the base
        super().__post_init__(**kwargs)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                known = ", ".join(f"`{choice}`" for choice in choices if choice)
                raise OptionError(f"`{name}` must be one of {known}, but is {getattr(self, name)!r}.")
        sizes = ("num_features", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_output_heads")
        for name in (*sizes, "edge_dim", "head_hidden_size"):
            if (size := getattr(self, name)) is not None and size < 1:
                raise OptionError(f"`{name}` must be at least 1, but is {size!r}.")
        for name in ("hidden_dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(f"`{name}` must be a probability in [0, 1), but is {getattr(self, name)!r}.")
        if self.convolution == "gcn" and self.edge_dim not in (None, 1):
            raise OptionError(
                f"the GCN weighs edges by one number, but `edge_dim` is {self.edge_dim}. Pass `edge_dim=1`, or choose "
                "a convolution that reads several."
            )
        if self.head == "convolution" and (not self.vocabulary or self.num_output_heads > 1):
            raise OptionError(
                "`head='convolution'` needs a `vocabulary` (one output of the last convolution each) and "
                f"`num_output_heads=1`, but there are {len(self.vocabulary)} concepts and {self.num_output_heads} "
                "heads."
            )

    @property
    def layer_widths(self) -> list[tuple[int, int]]:
        """(width of a head, heads) of every convolution."""
        has_heads = self.convolution != "gcn"
        inner = (self.hidden_size, self.num_attention_heads if has_heads else 1)
        last = (self.hidden_size, self.num_output_heads if has_heads else 1)
        if self.head == "convolution":
            last = (len(self.vocabulary), 1)
        return [inner] * (self.num_hidden_layers - 1) + [last]

    @property
    def output_size(self) -> int:
        """Width of `last_hidden_state` and `pooler_output`."""
        width, heads = self.layer_widths[-1]
        return width * heads
