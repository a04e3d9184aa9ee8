"""The layers of UniTS: maps along time that fit any length, attention over variables, the class head."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from climb_hf.models.layers import FeedForward, SelfAttention
from climb_hf.models.units.configuration_units import UnitsConfig

__all__ = ["ClassHead", "DynamicLinear", "ReconstructionHead", "UnitsBlock", "positions"]


def positions(count: int, width: int) -> Tensor:
    """Return the sinusoidal table that the learned positions start from: sines at even, cosines at odd features.

    Args:
        count (`int`): positions.
        width (`int`): features, even.

    Returns:
        `torch.Tensor`: (count, width) float32, at the rates 10000^(-2i / width).

    Example:
        >>> positions(2, 4)[1].tolist()[::2] == [torch.tensor(1.0).sin().item(), torch.tensor(0.01).sin().item()]
        True
    """
    rates = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.arange(count, dtype=torch.float64)[:, None] * rates  # (n, w/2)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1).float()  # (n, w/2, 2) -> (n, w)


class DynamicLinear(nn.Module):
    """A linear map whose stored matrix is resized to whatever sizes are needed.

    The columns of the first inputs, which are always there (prompt tokens), are resized to the number of outputs only;
    the rest in both directions, as pictures are: bilinear, corners not aligned. At the stored sizes it is `nn.Linear`.

    Args:
        in_features (`int`): stored inputs.
        out_features (`int`): stored outputs.
        fixed_in (`int`): inputs that are always there, fewer than `in_features`.

    Example:
        >>> DynamicLinear(128, 128, fixed_in=10)(torch.zeros(3, 167), 157).shape
        torch.Size([3, 157])
    """

    def __init__(self, in_features: int, out_features: int, fixed_in: int) -> None:
        super().__init__()
        self.fixed_in = fixed_in
        self.weight = nn.Parameter(torch.zeros(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def resized(self, inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
        """Return the weight (outputs, inputs) and the bias (outputs,) for the needed sizes."""
        if self.weight.shape == (outputs, inputs):
            return self.weight, self.bias
        dtype = torch.promote_types(self.weight.dtype, torch.float32)  # half precision is resized in full
        stored = self.weight.to(dtype)[None, None]
        parts = [
            F.interpolate(part, size=size, mode="bilinear", align_corners=False)[0, 0]
            for part, size in (
                (stored[..., : self.fixed_in], (outputs, self.fixed_in)),
                (stored[..., self.fixed_in :], (outputs, inputs - self.fixed_in)),
            )
        ]
        bias = F.interpolate(self.bias.to(dtype)[None, None], size=outputs, mode="linear", align_corners=False)[0, 0]
        return torch.cat(parts, 1).to(self.weight.dtype), bias.to(self.bias.dtype)

    def forward(self, values: Tensor, outputs: int) -> Tensor:
        """Map values (…, inputs) to (…, outputs)."""
        return F.linear(values, *self.resized(values.shape[-1], outputs))


class VariableAttention(nn.Module):
    """Attention of the variables to each other: one score per pair, the same for all of their tokens.

    Queries and keys are means over the tokens of a variable. They are linear in the tokens, so the mean is taken
    before the projection; the published layer projects every token first, with the same result.

    Args:
        width (`int`): width of the tokens.
        heads (`int`): number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key = nn.Linear(width, 2 * width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            tokens (`torch.Tensor`): (batch, variables, tokens, width).
            mask (`torch.Tensor`, *optional*): (batch, 1, variables, variables) bool, `True` where attended.

        Returns:
            `torch.Tensor`: the same shape as `tokens`.
        """
        batch, variables, count, _ = tokens.shape
        pair = self.query_key(tokens.mean(2)).view(batch, variables, 2, self.heads, -1)
        query, key = pair.permute(2, 0, 3, 1, 4).unbind(0)  # (B, V, 2, h, e) -> 2 × (B, h, V, e)
        value = self.value(tokens).view(batch, variables, count, self.heads, -1)
        value = value.permute(0, 3, 1, 2, 4).flatten(3)  # (B, V, T, h, e) -> (B, h, V, T·e)
        mixed = F.scaled_dot_product_attention(query, key, value, mask)
        mixed = mixed.unflatten(3, (count, -1)).permute(0, 2, 3, 1, 4).flatten(3)  # -> (B, V, T, h·e)
        return self.proj(mixed)


class DynamicMlp(nn.Module):
    """A convolution over neighbouring tokens, maps along time for half of its channels, and a linear layer.

    Args:
        config (`UnitsConfig`): the configuration.
    """

    def __init__(self, config: UnitsConfig) -> None:
        super().__init__()
        hidden, stored = int(config.intermediate_size or 0), int(config.token_map_size or 0)
        self.prompts = config.num_prompt_tokens
        self.conv = nn.Conv1d(config.hidden_size, hidden, 3, padding=1)
        self.prompt_map = DynamicLinear(stored, self.prompts, fixed_in=self.prompts)
        self.data_map = DynamicLinear(stored, stored, fixed_in=self.prompts)
        self.fc2 = nn.Linear(hidden, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (n, prompts + data + 1, width), each row of the batch by itself."""
        hidden = self.conv(tokens.transpose(1, 2))  # (n, T, D) -> (n, H, T)
        mapped, plain = hidden.chunk(2, 1)
        before = tokens.shape[1] - 1  # prompts and data; the class token is left alone
        maps = (self.prompt_map.resized(before, self.prompts), self.data_map.resized(before, before - self.prompts))
        weight, bias = (torch.cat(pair) for pair in zip(*maps, strict=True))
        mapped = torch.cat([F.linear(mapped[..., :before], weight, bias), mapped[..., before:]], 2)
        hidden = F.gelu(torch.cat([mapped, plain], 1)).transpose(1, 2)  # (n, H, T) -> (n, T, H)
        return self.dropout(self.fc2(self.dropout(hidden)))


def _gated(update: Tensor, gate: nn.Module) -> Tensor:
    return update * gate(update).sigmoid()


class UnitsBlock(GradientCheckpointingLayer):
    """Attention over time, attention over variables and the dynamic MLP, each a gated residual.

    Args:
        config (`UnitsConfig`): the configuration.
    """

    def __init__(self, config: UnitsConfig) -> None:
        super().__init__()
        width, heads = config.hidden_size, config.num_attention_heads
        self.time_norm = nn.LayerNorm(width)
        self.time_attention = SelfAttention(width, heads)
        self.time_gate = nn.Linear(width, 1)
        self.variable_norm = nn.LayerNorm(width)
        self.variable_attention = VariableAttention(width, heads)
        self.variable_gate = nn.Linear(width, 1)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = DynamicMlp(config)
        self.mlp_gate = nn.Linear(width, 1)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Transform tokens (batch, variables, tokens, width); `mask` is that of `VariableAttention`."""
        rows = tokens.shape[:2]
        update = self.time_attention(self.time_norm(tokens).flatten(0, 1)).unflatten(0, rows)  # by variable
        tokens = tokens + _gated(update, self.time_gate)
        update = self.variable_attention(self.variable_norm(tokens), mask)
        tokens = tokens + _gated(update, self.variable_gate)
        update = self.mlp(self.mlp_norm(tokens).flatten(0, 1)).unflatten(0, rows)  # by variable
        return tokens + _gated(update, self.mlp_gate)


class ClassHead(nn.Module):
    """The class token gathers from all tokens of its variable, then passes a gated MLP.

    Args:
        config (`UnitsConfig`): the configuration.
    """

    def __init__(self, config: UnitsConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.proj_in = nn.Linear(width, width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.proj = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.mlp = FeedForward(width, int(config.class_head_size or 0), config.hidden_dropout)
        self.gate = nn.Linear(width, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return one feature per variable.

        Args:
            tokens (`torch.Tensor`): (batch, variables, tokens, width), the class token last.

        Returns:
            `torch.Tensor`: (batch, variables, width).
        """
        rows, count = tokens.shape[:2], tokens.shape[2]
        tokens = self.proj_in(tokens).flatten(0, 1)  # (B, V, T, D) -> (B·V, T, D)
        query = self.query(tokens[:, -1:]).view(len(tokens), 1, self.heads, -1).transpose(1, 2)  # (B·V, h, 1, e)
        pair = self.key_value(tokens).view(len(tokens), count, 2, self.heads, -1)
        key, value = pair.permute(2, 0, 3, 1, 4).unbind(0)  # (B·V, T, 2, h, e) -> 2 × (B·V, h, T, e)
        feature = self.proj(F.scaled_dot_product_attention(query, key, value).flatten(1))  # (B·V, h, 1, e) -> (B·V, D)
        feature = feature + _gated(self.mlp(self.norm(feature)), self.gate)  # the class token itself is not added
        return feature.unflatten(0, rows)


class ReconstructionHead(nn.Module):
    """Turns data tokens back into samples.

    Args:
        config (`UnitsConfig`): the configuration.
        fixed_in (`int`): tokens before those of the data.
    """

    def __init__(self, config: UnitsConfig, fixed_in: int) -> None:
        super().__init__()
        width, stored = config.hidden_size, config.reconstruction_map_size
        self.fixed_in = fixed_in
        self.proj_in = nn.Linear(width, width)
        self.position_map = DynamicLinear(stored, stored, fixed_in=fixed_in)
        self.mlp = FeedForward(width, int(config.reconstruction_size or 0), config.hidden_dropout)
        self.proj_out = nn.Linear(width, config.patch_size)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return samples (batch, variables, data · patch) for tokens (batch, variables, fixed + data, width)."""
        tokens = self.proj_in(tokens)
        data = tokens[:, :, self.fixed_in :]
        moved = self.position_map(tokens.transpose(2, 3), data.shape[2]).transpose(2, 3)  # along time
        return self.proj_out(self.mlp(data + moved)).flatten(2)  # (B, V, N, p) -> (B, V, N·p)
