"""UniTS: patches of every channel between prompt tokens and a class token; attention over time and over channels.

After "UniTS: A Unified Multi-Task Time Series Model" (Gao et al. 2024; code `mims-harvard/UniTS`, MIT with a
disclaimer of MIT Lincoln Laboratory, commit 0e02814). Written from a description of its layers. The pretraining
objective is in `pretraining_units.py`.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from climb_hf.errors import SchemaError
from climb_hf.models.layers import check_signal, present_channels
from climb_hf.models.outputs import ClimbClassifierOutput
from climb_hf.models.units.configuration_units import UnitsConfig
from climb_hf.models.units.layers_units import ClassHead, DynamicLinear, UnitsBlock, positions
from climb_hf.models.vocabulary_head import VocabularyHead

__all__ = ["UnitsForClassification", "UnitsModel", "UnitsModelOutput", "UnitsPreTrainedModel"]

_EPS = 1e-5  # of the variance, as published


@dataclass
class UnitsModelOutput(ModelOutput):
    """Output of `UnitsModel`.

    Args:
        last_hidden_state (`torch.Tensor`):
            (batch, channels · tokens, width), channel by channel; a channel's tokens are prompts, data, class.
        pooler_output (`torch.Tensor`):
            (batch, width): the mean over the recorded channels of their class features.
        hidden_states (`tuple[torch.Tensor, ...]`, *optional*):
            the tokens before the first and after every block, when asked for.
        channel_features (`torch.Tensor`):
            (batch, channels, width): the class feature of each channel after the class head. Those of absent channels
            are 0 and the others are scaled by channels / recorded channels, so their mean is `pooler_output`.
    """

    last_hidden_state: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    channel_features: torch.Tensor | None = None


class UnitsPreTrainedModel(PreTrainedModel):
    """What the models share: loading and initialisation."""

    config: UnitsConfig
    base_model_prefix = "units"
    main_input_name = "signal"
    input_modalities = ("time",)  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["UnitsBlock"]  # noqa: RUF012 - as transformers declares it
    #: The loss is a mean already; the Trainer must not divide it again.
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, DynamicLinear):  # as nn.Linear starts in torch: half of it would vanish at 0.02
            bound = 1 / math.sqrt(module.weight.shape[1])
            init.uniform_(module.weight, -bound, bound)
            init.uniform_(module.bias, -bound, bound)
        if isinstance(module, UnitsModel):
            init.normal_(module.prompt_tokens, std=self.config.initializer_range)
            init.normal_(module.class_tokens, std=self.config.initializer_range)
            table = positions(self.config.max_positions, self.config.hidden_size)
            init.copy_(module.position_embedding, table[None, None])


class UnitsModel(UnitsPreTrainedModel):
    """Encoder without a classifier: one feature per record, from any of its channels and of any length.

    Args:
        config (`UnitsConfig`): the configuration; `vocabulary` plays no part.

    Example:
        >>> output = UnitsModel(UnitsConfig(hidden_size=32, num_hidden_layers=1))(torch.zeros(2, 12, 2500))
        >>> output.last_hidden_state.shape, output.pooler_output.shape  # 12 x (10 + 157 + 1) tokens
        (torch.Size([2, 2016, 32]), torch.Size([2, 32]))
    """

    def __init__(self, config: UnitsConfig) -> None:
        super().__init__(config)
        channels, width = config.num_channels, config.hidden_size
        self.patch_embedding = nn.Linear(config.patch_size, width, bias=False)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.position_embedding = nn.Parameter(torch.empty(1, 1, config.max_positions, width))
        self.prompt_tokens = nn.Parameter(torch.empty(1, channels, config.num_prompt_tokens, width))
        self.class_tokens = nn.Parameter(torch.empty(1, channels, 1, width))
        self.blocks = nn.ModuleList(UnitsBlock(config) for _ in range(config.num_hidden_layers))
        self.class_head = ClassHead(config)
        self.post_init()

    def embed(self, signal: Tensor, channel_mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Normalise each channel of each record by its own mean and deviation, and cut it into tokens.

        Args:
            signal (`torch.Tensor`): (batch, channels, time), of any length up to `max_positions` patches.
            channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool, `True` for a recorded channel.

        Returns:
            Tokens (batch, channels, data tokens, width) without positions; the means and the deviations that were
            taken out, each (batch, channels, 1) float32 (float64 for a float64 signal).

        Raises:
            SchemaError: shapes that do not fit, or a record that is too long.
        """
        config = self.config
        check_signal(signal, config.num_channels, processor="EcgFeatureExtractor")
        if signal.shape[2] > config.max_positions * config.patch_size:
            raise SchemaError(
                f"`signal` must have at most {config.max_positions} patches of {config.patch_size} samples, but has "
                f"{signal.shape[2]} samples. Cut it, or lower its rate."
            )
        signal = present_channels(signal, channel_mask).to(torch.promote_types(signal.dtype, torch.float32))
        mean = signal.mean(2, keepdim=True)
        deviation = (signal.var(2, keepdim=True, correction=0) + _EPS).sqrt()
        signal = ((signal - mean) / deviation).to(self.dtype)
        patches = F.pad(signal, (0, -signal.shape[2] % config.patch_size)).unflatten(2, (-1, config.patch_size))
        return self.dropout(self.patch_embedding(patches)), mean, deviation  # (B, V, N, p) -> (B, V, N, D)

    def encode(self, tokens: Tensor, channel_mask: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """Run the blocks over prompts, data and class token of every channel.

        Args:
            tokens (`torch.Tensor`): (batch, channels, data tokens, width) of `embed`.
            channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool, `True` for a recorded channel.

        Returns:
            The tokens (batch, channels, prompts + data + 1, width), and what went into and came out of each block.
        """
        batch = len(tokens)
        tokens = tokens + self.position_embedding[:, :, : tokens.shape[2]]
        prompts, ends = (part.expand(batch, -1, -1, -1) for part in (self.prompt_tokens, self.class_tokens))
        tokens = torch.cat([prompts, tokens, ends], 2)  # (B, V, N, D) -> (B, V, P + N + 1, D)
        mask = _recorded_pairs(channel_mask)
        states = [tokens]
        for block in self.blocks:
            tokens = block(tokens, mask)
            states.append(tokens)
        return tokens, states

    @can_return_tuple
    def forward(
        self,
        signal: Tensor,
        channel_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - whatever a Trainer passes along
    ) -> UnitsModelOutput:
        """Encode records.

        Args:
            signal (`torch.Tensor`):
                (batch, channels, time) in any unit: each channel is normalised by itself. Of the configuration's
                channels and of any length up to `max_positions` patches.
            channel_mask (`torch.Tensor`, *optional*):
                (batch, channels) bool, `True` for a recorded channel. The others are attended to by none and are not
                part of the feature. Their own tokens mean nothing.
            output_hidden_states (`bool`, *optional*): return the tokens before the first and after every block.
            **kwargs: ignored.

        Returns:
            `UnitsModelOutput`

        Raises:
            SchemaError: shapes that do not fit, or a record that is too long.
        """
        tokens, _, _ = self.embed(signal, channel_mask)
        tokens, states = self.encode(tokens, channel_mask)
        features = _balanced(self.class_head(tokens), channel_mask)
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return UnitsModelOutput(
            last_hidden_state=tokens.flatten(1, 2),  # (B, V, T, D) -> (B, V·T, D)
            pooler_output=features.mean(1),
            hidden_states=tuple(state.flatten(1, 2) for state in states) if wanted else None,
            channel_features=features,
        )


def _recorded_pairs(channel_mask: Tensor | None) -> Tensor | None:
    """Return which channel attends to which, (batch, 1, V, V): recorded ones to each other, every one to itself."""
    if channel_mask is None:
        return None
    itself = torch.eye(channel_mask.shape[1], dtype=torch.bool, device=channel_mask.device)
    return channel_mask[:, None, None] | itself


def _balanced(features: Tensor, channel_mask: Tensor | None) -> Tensor:
    """Set the features (batch, V, D) of absent channels to 0 and scale the others, so that means stay means."""
    if channel_mask is None:
        return features
    recorded = channel_mask.sum(1).clamp(min=1)[:, None, None]  # (B, V) -> (B, 1, 1)
    weight = channel_mask[:, :, None] * (channel_mask.shape[1] / recorded).to(features.dtype)
    return features.masked_fill(~channel_mask[:, :, None], 0) * weight


class UnitsForClassification(VocabularyHead, UnitsPreTrainedModel):
    """The encoder with a linear head over the vocabulary V, which reads the class features of all channels.

    The published model has no such matrix: it multiplies each channel's class feature with one "category token" per
    class and channel, averages over the channels, and (as it repeats the feature once per class and sums over the
    repetitions) multiplies by the number of classes. That is this linear layer without a bias, weight = category token
    · classes / channels. What differs is the start of an untrained head, whose weights are drawn from N(0,
    `initializer_range`²) without that factor, as in our other models.

    Absent channels: their features are 0 and the sum over the others is scaled by channels / recorded channels, so a
    logit stays a mean over the channels that are there.

    Args:
        config (`UnitsConfig`): the configuration, with a `vocabulary`.

    Raises:
        VocabularyError: the configuration has no vocabulary.

    Example:
        >>> config = UnitsConfig(
        ...     hidden_size=32,
        ...     num_hidden_layers=1,
        ...     vocabulary=["normal_ecg", "myocardial_infarction"],
        ... )
        >>> UnitsForClassification(config)(torch.zeros(2, 12, 2500)).logits.shape
        torch.Size([2, 2])
    """

    def __init__(self, config: UnitsConfig) -> None:
        super().__init__(config)
        self.check_head()
        self.units = UnitsModel(config)
        self.build_head(config.num_channels * config.hidden_size)
        self.post_init()

    def head_input(self, outputs: Any) -> Tensor:  # noqa: ANN401 - a ModelOutput of the encoder
        """Return the class features of all channels (batch, channels · width); see `VocabularyHead`."""
        return outputs.channel_features.flatten(1)

    @can_return_tuple
    def forward(
        self,
        signal: Tensor,
        channel_mask: Tensor | None = None,
        labels: Tensor | None = None,
        target_mask: Tensor | None = None,
        exclusive: Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401 - output options of the encoder
    ) -> ClimbClassifierOutput:
        """Score the concepts of V, and compute the loss where labels are given.

        Args:
            signal (`torch.Tensor`): (batch, channels, time) in any unit.
            channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool, `True` for a recorded channel.
            labels (`torch.Tensor`, *optional*): see `VocabularyHead.classify`.
            target_mask (`torch.Tensor`, *optional*): (batch, |V|) bool: V_k of each row's source.
            exclusive (`torch.Tensor`, *optional*): (batch,) bool: single-label rows.
            **kwargs: `output_hidden_states`, `return_dict`; anything else is ignored.

        Returns:
            `ClimbClassifierOutput`: with `logits` (batch, |V|) and, for labels, the mean loss.

        Raises:
            SchemaError: shapes that do not fit, or a record that is too long.
        """
        outputs = self.units(signal, channel_mask, **{**kwargs, "return_dict": True})
        return self.classify(outputs, labels, target_mask, exclusive)
