"""ST-Transformer: attention over EEG channels, two convolutions over time, a transformer over their outputs.

After "Transformer-based Spatial-Temporal Feature Learning for EEG Decoding" (Song 2021) as the baseline of
`ycq091044/BIOT` (commit d138e32) and of the CLIMB paper has it. Written from a description of its layers.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from climb_hf.models.layers import PreNormBlock, check_signal, present_channels
from climb_hf.models.outputs import ClimbClassifierOutput
from climb_hf.models.st_transformer.configuration_st_transformer import StTransformerConfig
from climb_hf.models.vocabulary_head import VocabularyHead

__all__ = ["StTransformerForClassification", "StTransformerModel", "StTransformerPreTrainedModel"]


class StTransformerPreTrainedModel(PreTrainedModel):
    """What the models share: loading and initialisation."""

    config: StTransformerConfig
    base_model_prefix = "st_transformer"
    main_input_name = "signal"
    input_modalities = ("time",)  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["StTransformerBlock"]  # noqa: RUF012 - as transformers declares it
    #: The loss is a mean already; the Trainer must not divide it again.
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Conv1d) and module is not getattr(self, "classifier", None):
            module.reset_parameters()  # torch's own choice, as in the published code; a new head starts as ours do
        else:
            super()._init_weights(module)


class ChannelProjection(nn.Module):
    """A linear layer over the channels of every sample, a layer norm over them, dropout.

    Args:
        config (`StTransformerConfig`): the configuration.
    """

    def __init__(self, config: StTransformerConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.num_channels, config.num_channels)
        self.norm = nn.LayerNorm(config.num_channels, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.channel_dropout)

    def forward(self, signal: Tensor) -> Tensor:
        """Transform (batch, time, channels)."""
        return self.dropout(self.norm(self.linear(signal)))


class ChannelAttention(nn.Module):
    """Attention of channels to channels, from queries and keys that are averaged over stretches of time.

    The published code sums the attention weights of a channel on their own before it multiplies them with the signal.
    A softmax sums to 1, so the attention has no effect there and its query and key learn nothing; what remains is the
    projection. `config.channel_attention = "corrected"` multiplies first and sums over the attended channels.

    Args:
        config (`StTransformerConfig`): the configuration.
    """

    def __init__(self, config: StTransformerConfig) -> None:
        super().__init__()
        self.query = ChannelProjection(config)
        self.key = ChannelProjection(config)
        self.projection = ChannelProjection(config)
        self.pooling_size, self.scale = config.pooling_size, config.score_steps**-0.5
        self.is_corrected = config.channel_attention == "corrected"

    def forward(self, signal: Tensor) -> Tensor:
        """Attend; (batch, channels, time) before and after."""
        samples = signal.transpose(1, 2)  # (B, C, L) -> (B, L, C)
        query, key = self._pooled(self.query(samples)), self._pooled(self.key(samples))
        scores = query.transpose(1, 2) @ key * self.scale  # (B, C, n) · (B, n, C) -> (B, C, C)
        weights = scores.to(torch.promote_types(scores.dtype, torch.float32)).softmax(-1)
        # as published, the factor is 1; it stays in the graph, where its gradients of 0 keep DDP content
        factor = weights.sum(-1, keepdim=True).to(signal.dtype)  # (B, C, 1)
        mixed = weights.to(signal.dtype) @ signal if self.is_corrected else signal * factor  # (B, C, L)
        return self.projection(mixed.transpose(1, 2)).transpose(1, 2)

    def _pooled(self, samples: Tensor) -> Tensor:
        steps = samples.shape[1] // self.pooling_size
        return samples[:, : steps * self.pooling_size].unflatten(1, (steps, -1)).mean(2)  # (B, L, C) -> (B, n, C)


class StTransformerBlock(PreNormBlock):
    """The pre-norm block with scores divided by √width (not √head width) and dropout of both branches.

    Args:
        config (`StTransformerConfig`): the configuration.
    """

    def __init__(self, config: StTransformerConfig) -> None:
        super().__init__(
            config.hidden_size,
            config.num_attention_heads,
            int(config.intermediate_size or 4 * config.hidden_size),
            eps=config.layer_norm_eps,
            dropout=config.hidden_dropout,
            qkv_bias=True,
            scale=config.hidden_size**-0.5,
        )
        self.attn.dropout = config.attention_dropout
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Transform tokens (batch, n, width); see `SelfAttention` for the mask."""
        tokens = tokens + self.dropout(self.attn(self.norm1(tokens), mask))
        return tokens + self.mlp(self.norm2(tokens))  # whose own dropout ends the branch


class StTransformerModel(StTransformerPreTrainedModel):
    """Encoder without a head: one feature per recording.

    Args:
        config (`StTransformerConfig`): the configuration; `vocabulary` plays no part.

    Example:
        >>> model = StTransformerModel(StTransformerConfig(num_hidden_layers=1)).eval()
        >>> model(torch.zeros(2, 16, 2000)).last_hidden_state.shape
        torch.Size([2, 30, 256])
    """

    def __init__(self, config: StTransformerConfig) -> None:
        super().__init__(config)
        self.signal_norm = nn.LayerNorm(config.signal_length, eps=config.layer_norm_eps)
        self.channel_attention = ChannelAttention(config)
        self.dropout = nn.Dropout(config.hidden_dropout)
        kernel, stride = config.kernel_size, config.stride
        self.conv1 = nn.Conv1d(config.num_channels, config.stem_channels, kernel, stride)
        self.norm = nn.BatchNorm1d(config.stem_channels)
        self.conv2 = nn.Conv1d(config.stem_channels, config.hidden_size, kernel, stride)
        self.blocks = nn.ModuleList(StTransformerBlock(config) for _ in range(config.num_hidden_layers))
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        signal: Tensor,
        channel_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - whatever a Trainer passes along
    ) -> BaseModelOutputWithPooling:
        """Encode recordings.

        Args:
            signal (`torch.Tensor`):
                (batch, channels, time) of the configuration's channels and length, each channel divided by the 0.95
                quantile of its absolute values, 200 Hz.
            channel_mask (`torch.Tensor`, *optional*):
                (batch, channels) bool, `True` for a recorded channel. The others are read as 0: this architecture
                mixes the channels in its first layers and cannot leave one out.
            output_hidden_states (`bool`, *optional*): return the tokens before the first and after every block.
            **kwargs: ignored.

        Returns:
            `BaseModelOutputWithPooling`: `last_hidden_state` (batch, tokens, width); `pooler_output` (batch, width),
            the mean of the tokens.

        Raises:
            SchemaError: shapes that do not fit.
        """
        config = self.config
        check_signal(signal, config.num_channels, config.signal_length, processor="EegFeatureExtractor")
        signal = present_channels(signal, channel_mask).to(self.dtype)
        signal = signal + self.dropout(self.channel_attention(self.signal_norm(signal)))
        stem = F.leaky_relu(self.norm(self.conv1(signal)), 0.2)  # (B, C, L) -> (B, 64, ~L/8)
        tokens = self.conv2(stem).transpose(1, 2)  # -> (B, D, ~L/64) -> (B, n, D); no positions
        states = [tokens]
        for block in self.blocks:
            tokens = block(tokens)
            states.append(tokens)
        wanted = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return BaseModelOutputWithPooling(
            last_hidden_state=tokens,
            pooler_output=tokens.mean(1),
            hidden_states=tuple(states) if wanted else None,
        )


class StTransformerForClassification(VocabularyHead, StTransformerPreTrainedModel):
    """The encoder with ELU and a linear head over the vocabulary V.

    Args:
        config (`StTransformerConfig`): the configuration, with a `vocabulary`.

    Raises:
        VocabularyError: the configuration has no vocabulary.

    Example:
        >>> config = StTransformerConfig(num_hidden_layers=1, vocabulary=["normal_eeg", "abnormal_eeg"])
        >>> StTransformerForClassification(config)(torch.zeros(2, 16, 2000)).logits.shape
        torch.Size([2, 2])
    """

    def __init__(self, config: StTransformerConfig) -> None:
        super().__init__(config)
        self.check_head()
        self.st_transformer = StTransformerModel(config)
        self.build_head(config.hidden_size)
        self.post_init()

    def head_input(self, outputs: Any) -> Tensor:  # noqa: ANN401 - a ModelOutput of the encoder
        """Return ELU of the feature (batch, width); see `VocabularyHead`."""
        return F.elu(outputs.pooler_output)

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
            signal (`torch.Tensor`): (batch, channels, time), see `StTransformerModel`.
            channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool, see `StTransformerModel`.
            labels (`torch.Tensor`, *optional*): see `VocabularyHead.classify`.
            target_mask (`torch.Tensor`, *optional*): (batch, |V|) bool: V_k of each row's source.
            exclusive (`torch.Tensor`, *optional*): (batch,) bool: single-label rows.
            **kwargs: `output_hidden_states`, `return_dict`; anything else is ignored.

        Returns:
            `ClimbClassifierOutput`: with `logits` (batch, |V|) and, for labels, the mean loss.

        Raises:
            SchemaError: shapes that do not fit.
        """
        outputs = self.st_transformer(signal, channel_mask, **{**kwargs, "return_dict": True})
        return self.classify(outputs, labels, target_mask, exclusive)
