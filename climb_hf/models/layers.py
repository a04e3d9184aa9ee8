"""Building blocks that several encoders share: self-attention, feed-forward, the pre-norm block, checks of signals."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from climb_hf.errors import OptionError, SchemaError

__all__ = ["FeedForward", "PreNormBlock", "SelfAttention", "check_signal", "drop_path", "present_channels"]


def check_signal(signal: Tensor, channels: int | None = None, length: int | None = None, *, processor: str) -> None:
    """Check the shape of a batch of signals.

    Args:
        signal (`torch.Tensor`): (batch, channels, time) floats.
        channels (`int`, *optional*): the channels that the model reads.
        length (`int`, *optional*): the samples that the model reads.
        processor (`str`): name of the feature extractor that makes such input, for the message.

    Raises:
        SchemaError: another shape, or whole numbers.
    """
    fits = signal.ndim == 3 and signal.is_floating_point() and 0 not in signal.shape
    if fits and channels in (None, signal.shape[1]) and length in (None, signal.shape[2]):
        return
    expected = f"(batch, {channels or 'channels'}, {length or 'time'})"
    raise SchemaError(
        f"`signal` must be floats of the shape {expected}, but is {signal.dtype} {tuple(signal.shape)}. Prepare it "
        f"with the checkpoint's `{processor}`: channels, rate and length are part of the model."
    )


def present_channels(signal: Tensor, channel_mask: Tensor | None) -> Tensor:
    """Set the content of absent channels to 0, so that it has no effect, whatever it is.

    Args:
        signal (`torch.Tensor`): (batch, channels, time).
        channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool, `True` for a channel that was recorded.

    Returns:
        `torch.Tensor`: (batch, channels, time).

    Raises:
        SchemaError: a mask of another type or shape.

    Example:
        >>> present_channels(torch.full((1, 2, 1), torch.nan), torch.tensor([[False, False]])).flatten()
        tensor([0., 0.])
    """
    if channel_mask is None:
        return signal
    if channel_mask.dtype != torch.bool or channel_mask.shape != signal.shape[:2]:
        raise SchemaError(
            f"`channel_mask` must be bool of the shape {tuple(signal.shape[:2])}, (batch, channels), but is "
            f"{channel_mask.dtype} {tuple(channel_mask.shape)}."
        )
    return signal.masked_fill(~channel_mask[:, :, None], 0)


def drop_path(update: Tensor, probability: float, *, training: bool) -> Tensor:
    """Drop the update of a residual branch for whole rows (stochastic depth), scaled such that its mean stays.

    Args:
        update (`torch.Tensor`): (batch, …).
        probability (`float`): of dropping a row, in [0, 1).
        training (`bool`): nothing is dropped otherwise.

    Returns:
        `torch.Tensor`: the same shape.
    """
    if not training or not probability:
        return update
    kept = update.new_empty(update.shape[:1] + (1,) * (update.ndim - 1)).bernoulli_(1 - probability)
    return update * kept / (1 - probability)


class SelfAttention(nn.Module):
    """Multi-head self-attention through `torch.nn.functional.scaled_dot_product_attention`.

    Args:
        width (`int`): width of the tokens.
        heads (`int`): number of heads.
        head_width (`int`, *optional*): width of a head; defaults to `width / heads`.
        qkv_bias (`bool`, *optional*, defaults to `False`): bias of queries, keys and values.
        dropout (`float`, *optional*, defaults to `0.0`): of the attention weights.
        scale (`float`, *optional*): factor of the scores; defaults to 1 / √head_width.

    Raises:
        OptionError: `heads` does not divide `width` where `head_width` is not given.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        head_width: int | None = None,
        qkv_bias: bool = False,
        dropout: float = 0.0,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        if head_width is None and width % heads:
            raise OptionError(f"the number of heads must divide the width, but {width} is no multiple of {heads}.")
        self.heads, self.dropout, self.scale = heads, dropout, scale
        inner = heads * (head_width or width // heads)
        self.qkv = nn.Linear(width, 3 * inner, bias=qkv_bias)
        self.proj = nn.Linear(inner, width)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            tokens (`torch.Tensor`): (batch, n, width).
            mask (`torch.Tensor`, *optional*): broadcastable to (batch, heads, n, n), bool, `True` where attended.

        Returns:
            `torch.Tensor`: (batch, n, width).
        """
        batch, count = tokens.shape[:2]
        qkv = self.qkv(tokens).view(batch, count, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, n, 3, h, d) -> 3 × (B, h, n, d)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, mask, dropout, scale=self.scale)
        return self.proj(mixed.transpose(1, 2).reshape(batch, count, -1))  # (B, h, n, d) -> (B, n, width)


class FeedForward(nn.Module):
    """Linear, GELU, linear.

    Args:
        width (`int`): width of the tokens.
        hidden (`int`): width between.
        dropout (`float`, *optional*, defaults to `0.0`): after the activation and after the second layer.
    """

    def __init__(self, width: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (…, width) one by one."""
        return self.dropout(self.fc2(self.dropout(F.gelu(self.fc1(tokens)))))


class PreNormBlock(GradientCheckpointingLayer):
    """x + attention(norm(x)), then x + feed-forward(norm(x)).

    Args:
        width (`int`): width of the tokens.
        heads (`int`): number of heads.
        hidden (`int`): width of the feed-forward layer.
        eps (`float`, *optional*, defaults to `1e-5`): of the layer norms.
        dropout (`float`, *optional*, defaults to `0.0`): of the feed-forward layers.
        drop_path (`float`, *optional*, defaults to `0.0`): probability of dropping a branch for a row, in training.
        **attention: further arguments of `SelfAttention`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        *,
        eps: float = 1e-5,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        **attention: Any,  # noqa: ANN401 - of SelfAttention
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = SelfAttention(width, heads, **attention)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = FeedForward(width, hidden, dropout)
        self.drop_path = drop_path

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Transform tokens (batch, n, width); see `SelfAttention` for the mask."""
        update = self.attn(self.norm1(tokens), mask)
        tokens = tokens + drop_path(update, self.drop_path, training=self.training)
        update = self.mlp(self.norm2(tokens))
        return tokens + drop_path(update, self.drop_path, training=self.training)
