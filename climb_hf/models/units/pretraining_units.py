"""How UniTS is pretrained: records are rebuilt from a few of their tokens, and once more from their class feature."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from climb_hf.errors import SchemaError
from climb_hf.models.layers import present_channels
from climb_hf.models.units.configuration_units import UnitsConfig
from climb_hf.models.units.layers_units import DynamicLinear, ReconstructionHead
from climb_hf.models.units.modeling_units import UnitsModel, UnitsPreTrainedModel

__all__ = ["UnitsForPretraining", "UnitsPretrainingOutput", "draw_masked_tokens"]


def draw_masked_tokens(
    batch: int,
    tokens: int,
    *,
    right_probability: float = 0.5,
    ratio: "tuple[float, float] | list[float]" = (0.7, 0.8),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw the tokens to hide, the same for every channel of a record.

    For the whole batch at once it is drawn whether the end of the records is hidden or scattered tokens; how many is
    drawn for each record.

    Args:
        batch (`int`): records.
        tokens (`int`): data tokens of a channel.
        right_probability (`float`, *optional*, defaults to `0.5`): how often the end is hidden.
        ratio (`tuple[float, float]`, *optional*, defaults to `(0.7, 0.8)`): range of the share that is hidden.
        generator (`torch.Generator`, *optional*): of the CPU; torch's global one by default.

    Returns:
        `torch.Tensor`: (batch, tokens) bool on the CPU, `True` for a hidden token; int(tokens · (1 − share)) are kept.

    Example:
        >>> hidden = draw_masked_tokens(4, 100, right_probability=1, generator=torch.Generator().manual_seed(0))
        >>> hidden[:, :20].any().item(), hidden[:, 30:].all().item()
        (False, True)
    """
    low, high = ratio
    right = torch.rand((), generator=generator).item() < right_probability
    share = low + (high - low) * torch.rand(batch, 1, generator=generator)
    kept = (tokens * (1 - share)).long()  # (B, 1)
    if right:
        rank = torch.arange(tokens).expand(batch, -1)
    else:
        rank = torch.rand(batch, tokens, generator=generator).argsort(1).argsort(1)
    return rank >= kept


@dataclass
class UnitsPretrainingOutput(ModelOutput):
    """Output of `UnitsForPretraining`.

    Args:
        loss (`torch.Tensor`): scalar float32: `mask_loss` + `class_loss`.
        mask_loss (`torch.Tensor`): mean squared error of `reconstruction`, over all samples of recorded channels.
        class_loss (`torch.Tensor`): that of `class_reconstruction`.
        reconstruction (`torch.Tensor`): (batch, channels, time), from the tokens, in the unit of the signal.
        class_reconstruction (`torch.Tensor`): (batch, channels, time), from the class feature.
        target (`torch.Tensor`): (batch, channels, time): the signal that was to be rebuilt; shorter where cropped.
    """

    loss: torch.Tensor | None = None
    mask_loss: torch.Tensor | None = None
    class_loss: torch.Tensor | None = None
    reconstruction: torch.Tensor | None = None
    class_reconstruction: torch.Tensor | None = None
    target: torch.Tensor | None = None


class UnitsForPretraining(UnitsPreTrainedModel):
    """The encoder with the mask tokens and the two reconstruction heads.

    The published recipe: Adam, learning rate 5e-5 · (effective batch / 32), weight decay 5e-6, 10 epochs.

    Args:
        config (`UnitsConfig`): the configuration; `vocabulary` plays no part.

    Example:
        >>> model = UnitsForPretraining(UnitsConfig(hidden_size=32, num_hidden_layers=1)).eval()
        >>> model(torch.zeros(2, 12, 1000)).reconstruction.shape
        torch.Size([2, 12, 1000])
    """

    def __init__(self, config: UnitsConfig) -> None:
        super().__init__(config)
        prompts, stored = config.num_prompt_tokens, config.reconstruction_map_size
        self.units = UnitsModel(config)
        self.mask_tokens = nn.Parameter(torch.empty(1, config.num_channels, 1, config.hidden_size))
        self.mask_map = DynamicLinear(stored, stored, fixed_in=prompts)
        self.token_head = ReconstructionHead(config, fixed_in=prompts)
        self.class_feature_head = ReconstructionHead(config, fixed_in=1)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, UnitsForPretraining):
            init.zeros_(module.mask_tokens)

    def _hide(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Replace hidden tokens (batch, N) by the mask token, then by what a map along time makes of all tokens."""
        place = hidden[:, None, :, None]
        tokens = torch.where(place, self.mask_tokens.to(tokens.dtype), tokens)
        prompts = self.units.prompt_tokens.expand(len(tokens), -1, -1, -1)
        every = torch.cat([prompts, tokens], 2).transpose(2, 3)  # (B, V, D, P + N)
        return torch.where(place, self.mask_map(every, tokens.shape[2]).transpose(2, 3).to(tokens.dtype), tokens)

    @can_return_tuple
    def forward(
        self,
        signal: Tensor,
        masked_tokens: Tensor | None = None,
        channel_mask: Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401 - whatever a Trainer passes along
    ) -> UnitsPretrainingOutput:
        """Compute the loss of a batch.

        In training, and where no `masked_tokens` are given, the batch is first cropped to a random part of its
        length, at least `min_crop` of it. (The published code crops each record by itself and pads the batch; here
        the records of a batch are cropped alike, so nothing is padded.)

        Args:
            signal (`torch.Tensor`): (batch, channels, time) in any unit.
            masked_tokens (`torch.Tensor`, *optional*):
                (batch, data tokens) bool: the tokens to hide; drawn with torch's global generator where absent.
            channel_mask (`torch.Tensor`, *optional*):
                (batch, channels) bool, `True` for a recorded channel; the others have no part in the loss.
            **kwargs: ignored.

        Returns:
            `UnitsPretrainingOutput`

        Raises:
            SchemaError: shapes that do not fit.
        """
        config = self.config
        if masked_tokens is None and self.training:
            signal = self._cropped(signal)
        tokens, mean, deviation = self.units.embed(signal, channel_mask)
        batch, length, count = len(signal), signal.shape[2], tokens.shape[2]
        if masked_tokens is None:
            masked_tokens = draw_masked_tokens(
                batch, count, right_probability=config.right_mask_probability, ratio=config.mask_ratio
            )
        elif masked_tokens.dtype != torch.bool or masked_tokens.shape != (batch, count):
            raise SchemaError(
                f"`masked_tokens` must be bool of the shape {(batch, count)}, (batch, data tokens), but is "
                f"{masked_tokens.dtype} {tuple(masked_tokens.shape)}."
            )
        tokens, _ = self.units.encode(self._hide(tokens, masked_tokens.to(signal.device)), channel_mask)
        without_class = tokens[:, :, :-1]
        feature = self.units.class_head(tokens)[:, :, None]  # (B, V, D) -> (B, V, 1, D)
        data = without_class[:, :, config.num_prompt_tokens :].detach()  # the class feature has to carry the record
        rebuilt = self.token_head(without_class), self.class_feature_head(torch.cat([feature, data], 2))
        outputs = [part[..., :length].to(mean.dtype) * deviation + mean for part in rebuilt]
        target = present_channels(signal, channel_mask)
        losses = [_mean_squared_error(output, target, channel_mask) for output in outputs]
        return UnitsPretrainingOutput(
            loss=losses[0] + losses[1],
            mask_loss=losses[0],
            class_loss=losses[1],
            reconstruction=outputs[0],
            class_reconstruction=outputs[1],
            target=target,
        )

    def _cropped(self, signal: Tensor) -> Tensor:
        if signal.ndim != 3 or self.config.min_crop == 1:
            return signal
        length = signal.shape[2]
        part = self.config.min_crop + (1 - self.config.min_crop) * torch.rand(()).item()
        kept = max(int(length * part), 1)
        start = int(torch.randint(0, length - kept + 1, ()))
        return signal[..., start : start + kept]


def _mean_squared_error(output: Tensor, target: Tensor, channel_mask: Tensor | None) -> Tensor:
    """Return the error over all samples of recorded channels, those of visible tokens included, as published."""
    error = (output.float() - target.float()).square()
    if channel_mask is None:
        return error.mean()
    error = error.mean(2).masked_fill(~channel_mask, 0)  # (B, V, L) -> (B, V)
    return error.sum() / channel_mask.sum().clamp(min=1)
