"""Parts of the fusion model: cross-attention of one query, the heads, and rows of a batch put back in their places."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from climb_hf.models.layers import FeedForward

__all__ = [
    "CrossAttention",
    "CrossAttentionBlock",
    "FusionHead",
    "HiddenLayers",
    "build_encoder",
    "encoder_widths",
    "mean_of_tokens",
    "scattered",
    "token_mask",
]


def scattered(values: Tensor, rows: Tensor | None, count: int, absent: Tensor | None = None) -> Tensor:
    """Put the rows of a part of the batch back in their places.

    Args:
        values (`torch.Tensor`): (present, …), one row for each of `rows`.
        rows (`torch.Tensor`, *optional*): (present,) int64 positions; all rows where absent.
        count (`int`): size of the batch.
        absent (`torch.Tensor`, *optional*): what the other rows hold, broadcastable to a row; zeros where absent.

    Returns:
        `torch.Tensor`: (count, …).

    Example:
        >>> scattered(torch.ones(1, 2), torch.tensor([1]), 2).tolist()
        [[0.0, 0.0], [1.0, 1.0]]
    """
    if rows is None:
        return values
    shape = (count, *values.shape[1:])
    whole = values.new_zeros(shape) if absent is None else absent.to(values.dtype).expand(shape)
    return whole.index_copy(0, rows, values)


class CrossAttention(nn.Module):
    """Multi-head attention of queries over the tokens of their own example.

    Args:
        width (`int`): width of queries, tokens and output.
        heads (`int`): heads.
        head_size (`int`, *optional*): width of a head; defaults to `width / heads`.
    """

    def __init__(self, width: int, heads: int, head_size: int | None = None) -> None:
        super().__init__()
        self.heads = heads
        inner = heads * (head_size or width // heads)
        self.query = nn.Linear(width, inner)
        self.key_value = nn.Linear(width, 2 * inner)
        self.proj = nn.Linear(inner, width)

    def forward(self, queries: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Attend.

        Args:
            queries (`torch.Tensor`): (batch, m, width).
            tokens (`torch.Tensor`): (batch, n, width).
            mask (`torch.Tensor`): (batch, n) bool, `True` for a token that may be seen; at least one per row.

        Returns:
            `torch.Tensor`: (batch, m, width).
        """
        query = self.query(queries).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, m, D) -> (B, h, m, d)
        key, value = self.key_value(tokens).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(query, key, value, mask[:, None, None])  # mask: (B, n) -> (B, 1, 1, n)
        return self.proj(mixed.transpose(1, 2).flatten(2))  # (B, h, m, d) -> (B, m, D)


class CrossAttentionBlock(GradientCheckpointingLayer):
    """q + attention(norm(q), norm(tokens)), then q + feed-forward(norm(q)).

    Args:
        width (`int`): width of queries and tokens.
        heads (`int`): heads.
        hidden (`int`): width of the feed-forward layer.
        head_size (`int`, *optional*): width of a head.
    """

    def __init__(self, width: int, heads: int, hidden: int, head_size: int | None = None) -> None:
        super().__init__()
        self.norm_query = nn.LayerNorm(width)
        self.norm_tokens = nn.LayerNorm(width)
        self.attention = CrossAttention(width, heads, head_size)
        self.norm = nn.LayerNorm(width)
        self.mlp = FeedForward(width, hidden)

    def forward(self, queries: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Update the queries; see `CrossAttention` for the shapes."""
        queries = queries + self.attention(self.norm_query(queries), self.norm_tokens(tokens), mask)
        return queries + self.mlp(self.norm(queries))


class HiddenLayers(nn.Sequential):
    """The hidden layers of a head: linear and activation, with dropout after the first of them.

    Args:
        width (`int`): width of the input.
        divisors (`Sequence[int]`): each layer is `width // divisor` wide, at least 1.
        activation (`str`): `"relu"` or `"gelu"`.
        dropout (`float`): probability.

    Example:
        >>> HiddenLayers(64, [2, 8], "gelu", 0.1).width
        8
    """

    def __init__(self, width: int, divisors: Sequence[int], activation: str, dropout: float) -> None:
        layers: list[nn.Module] = []
        inner = width
        for number, divisor in enumerate(divisors):
            outer = max(1, width // divisor)
            layers += [nn.Linear(inner, outer), nn.ReLU() if activation == "relu" else nn.GELU()]
            if number == 0:
                layers.append(nn.Dropout(dropout))
            inner = outer
        super().__init__(*layers)
        self.width = inner


def mean_of_tokens(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Return the mean over the tokens that are not padding.

    Args:
        tokens (`torch.Tensor`): (batch, n, width).
        mask (`torch.Tensor`, *optional*): (batch, n), not 0 where a token counts.

    Returns:
        `torch.Tensor`: (batch, width).
    """
    if mask is None:
        return tokens.mean(1)
    kept = mask.bool()
    total = tokens.masked_fill(~kept[:, :, None], 0).sum(1)
    return total / kept.sum(1, keepdim=True).clamp(min=1).to(total.dtype)


def token_mask(tokens: Tensor, channels: Tensor | None, frames: Tensor | None) -> Tensor:
    """Return which tokens of an encoder mean anything.

    Args:
        tokens (`torch.Tensor`): (batch, n, width).
        channels (`torch.Tensor`, *optional*): (batch, channels) bool; tokens stand channel by channel.
        frames (`torch.Tensor`, *optional*): (batch, frames) bool; tokens stand frame by frame.

    Returns:
        `torch.Tensor`: (batch, n) bool.
    """
    for mask in (channels, frames):
        if mask is not None:
            return mask.repeat_interleave(tokens.shape[1] // mask.shape[1], 1)  # (B, C) -> (B, C·T)
    return torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)


class FusionHead:
    """The hidden layers of the heads: one stack for the fused feature, or for late fusion one per modality."""

    config: Any  # a ClimbFusionConfig

    def build_hidden(self, widths: dict[str, int], divisors: list[int], activation: str) -> int:
        """Make the hidden layers.

        Args:
            widths (`dict[str, int]`): width of every modality's feature, or of the one `"fused"` feature.
            divisors (`list[int]`): see `HiddenLayers`, where the configuration does not say.
            activation (`str`): likewise.

        Returns:
            `int`: width of what the last layer reads.
        """
        config = self.config
        divisors = divisors if config.head_divisors is None else config.head_divisors
        activation = config.head_activation or activation
        self.hidden = nn.ModuleDict(
            {
                name: HiddenLayers(width, divisors, activation, float(config.head_dropout))
                for name, width in widths.items()
            }
        )
        total = sum(one.width for one in self.hidden.values())  # type: ignore[misc]
        return total + (len(widths) if config.strategy == "late" else 0)

    def hidden_features(self, feature: Tensor, modality_mask: Tensor | None, present: list[bool]) -> Tensor:
        """Return what the last layer reads.

        For late fusion that is, for each modality, what its own hidden layers give times its weight: 1 / number of
        modalities that are there, 0 where it is absent, and behind them the weights themselves. One linear layer over
        it is the mean over the present modalities of one linear layer each, biases included.

        Args:
            feature (`torch.Tensor`): (batch, width), the model's `pooler_output`.
            modality_mask (`torch.Tensor`, *optional*): (batch, modalities) bool.
            present (`list[bool]`): what was passed at all, where there is no mask.

        Returns:
            `torch.Tensor`: (batch, hidden).
        """
        if self.config.strategy != "late":
            return self.hidden["fused"](feature)
        if modality_mask is None:
            modality_mask = torch.tensor(present, device=feature.device).expand(len(feature), -1)
        weight = (modality_mask / modality_mask.sum(1, keepdim=True)).to(feature.dtype)  # (B, M)
        widths = [one[0].in_features for one in self.hidden.values()]  # type: ignore[index]
        parts = [
            layers(part) * weight[:, [column]]
            for column, (layers, part) in enumerate(zip(self.hidden.values(), feature.split(widths, 1), strict=True))
        ]
        return torch.cat([*parts, weight], 1)


def build_encoder(config: Any) -> PreTrainedModel:  # noqa: ANN401 - any configuration
    """Build an encoder, without the pooler of BERT and its kin, which nothing here would use."""
    from transformers import MODEL_MAPPING

    found: Any = MODEL_MAPPING[type(config)]
    kind = found[0] if isinstance(found, tuple) else found
    lean = "add_pooling_layer" in inspect.signature(kind.__init__).parameters
    dtype = torch.get_default_dtype()
    return AutoModel.from_config(config, dtype=dtype, **({"add_pooling_layer": False} if lean else {}))


def encoder_widths(encoder: Any) -> tuple[int, int]:  # noqa: ANN401 - any encoder
    """Return the widths of an encoder's feature and of its tokens."""
    pooled = int(getattr(encoder, "hidden_size", None) or encoder.config.hidden_size)
    backbone = getattr(encoder, "backbone", None)  # a projection may make the feature narrower than the tokens
    tokens = getattr(backbone, "num_features", None)
    return pooled, int(tokens or pooled)
