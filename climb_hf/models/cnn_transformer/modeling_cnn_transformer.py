"""CNN-Transformer: segments of the signal become tokens by residual blocks over their spectrograms.

After "Transformer Convolutional Neural Networks for Automated Artifact Detection in Scalp EEG" (Peh et al. 2022), as
it is run as a baseline in the BIOT repository. Written from a description of its layers.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from climb_hf.errors import SchemaError
from climb_hf.models.cnn_transformer.configuration_cnn_transformer import CnnTransformerConfig
from climb_hf.models.convolutional import ConvolutionalPreTrainedModel
from climb_hf.models.layers import FeedForward, SelfAttention, check_signal, present_channels
from climb_hf.models.outputs import ClimbClassifierOutput
from climb_hf.models.spectrogram import SpectrogramEncoder
from climb_hf.models.vocabulary_head import VocabularyHead

__all__ = [
    "CnnTransformerForClassification",
    "CnnTransformerModel",
    "CnnTransformerPreTrainedModel",
    "PostNormBlock",
    "sinusoids",
]


def sinusoids(length: int, width: int) -> Tensor:
    """Return fixed positions: sines at even features and cosines at odd ones, at the rates 10000^(-2i / width).

    Args:
        length (`int`): positions.
        width (`int`): features.

    Returns:
        `torch.Tensor`: (length, width) float32.

    Example:
        >>> [round(value, 6) for value in sinusoids(2, 256)[1, :3].tolist()]
        [0.841471, 0.540302, 0.801962]
    """
    feature = torch.arange(width)
    rates = 10000.0 ** (-(feature // 2 * 2).double() / width)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rates  # (n, D)
    return torch.where(feature % 2 == 0, angles.sin(), angles.cos()).float()


class PostNormBlock(GradientCheckpointingLayer):
    """norm(x + attention(x)), then norm(x + feed-forward(x)), as torch's encoder layer has it by default.

    Args:
        width (`int`): width of the tokens.
        heads (`int`): number of heads.
        hidden (`int`): width of the feed-forward layer.
        dropout (`float`): of attention weights, of the attention's output and of the feed-forward layers.
    """

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attn = SelfAttention(width, heads, qkv_bias=True, dropout=dropout)
        self.norm1 = nn.LayerNorm(width)
        self.mlp = FeedForward(width, hidden, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.attn.proj, self.mlp.fc1, self.mlp.fc2):  # marks for `_init_weights`
            layer.of_encoder = True  # type: ignore[assignment]
        self.attn.qkv.of_attention = self.attn.proj.of_attention = True  # type: ignore[assignment]

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform tokens (batch, n, width)."""
        tokens = self.norm1(tokens + self.dropout(self.attn(tokens)))
        return self.norm2(tokens + self.mlp(tokens))


class CnnTransformerPreTrainedModel(ConvolutionalPreTrainedModel):
    """What the models share: loading and initialisation."""

    config: CnnTransformerConfig
    base_model_prefix = "cnn_transformer"
    _supports_sdpa = True
    _no_split_modules = ["ResidualBlock", "PostNormBlock"]  # noqa: RUF012 - as transformers declares it

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if getattr(module, "of_attention", False):  # as torch's `MultiheadAttention` begins
            if not getattr(module, "of_encoder", False):
                init.xavier_uniform_(module.weight)  # type: ignore[arg-type]
            init.zeros_(module.bias)  # type: ignore[arg-type]
        if isinstance(module, CnnTransformerModel):
            init.copy_(module.position_embedding, sinusoids(*module.position_embedding.shape))


class CnnTransformerModel(CnnTransformerPreTrainedModel):
    """Encoder without a head: a token per segment, one feature per window.

    Args:
        config (`CnnTransformerConfig`): the configuration; `vocabulary` plays no part.
    """

    position_embedding: Tensor

    def __init__(self, config: CnnTransformerConfig) -> None:
        super().__init__(config)
        self.spectrogram = SpectrogramEncoder(config)
        self.register_buffer("position_embedding", torch.empty(config.num_segments, config.hidden_size))
        self.position_dropout = nn.Dropout(config.position_dropout)
        self.blocks = nn.ModuleList(
            PostNormBlock(
                config.hidden_size,
                config.num_attention_heads,
                config.intermediate_size,
                config.transformer_dropout,
            )
            for _ in range(config.num_hidden_layers)
        )
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        signal: Tensor,
        channel_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - whatever a Trainer passes along
    ) -> BaseModelOutputWithPooling:
        """Encode windows.

        Args:
            signal (`torch.Tensor`): (batch, channels, time) floats at 200 Hz, each channel divided by the 0.95
                quantile of its absolute values. Time must be a multiple of `num_segments`, and a segment longer than
                `n_fft` / 2.
            channel_mask (`torch.Tensor`, *optional*):
                (batch, channels) bool, `True` for a recorded channel. The others are read as 0: this architecture
                mixes the channels in its first layer and cannot leave one out.
            output_hidden_states (`bool`, *optional*): return the tokens before the first and after every layer of the
                transformer.
            **kwargs: ignored.

        Returns:
            `BaseModelOutputWithPooling`: `last_hidden_state` (batch, segments, width); `pooler_output` (batch, width),
            the mean of the segments.

        Raises:
            SchemaError: shapes that do not fit.
        """
        config = self.config
        check_signal(signal, config.num_channels, processor="EegFeatureExtractor")
        if signal.shape[2] % config.num_segments:
            raise SchemaError(
                f"`signal` must have a multiple of {config.num_segments} samples, one part per segment, but has "
                f"{signal.shape[2]}. Set another `length` of the checkpoint's `EegFeatureExtractor`."
            )
        tokens = self._embed(present_channels(signal, channel_mask)) + self.position_embedding
        tokens = self.position_dropout(tokens)
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

    def _embed(self, signal: Tensor) -> Tensor:
        count = self.config.num_segments
        segments = signal.unflatten(2, (count, -1)).transpose(1, 2)  # (B, C, L) -> (B, C, n, l) -> (B, n, C, l)
        if self.training and not self.config.joint_segments:  # the statistics of the batch norms are of one segment
            parts = [self.spectrogram(segments[:, index], self.dtype)[0].mean(1) for index in range(count)]
            return torch.stack(parts, 1)  # n × (B, D) -> (B, n, D)
        tokens, _ = self.spectrogram(segments.flatten(0, 1), self.dtype)  # (B·n, C, l) -> (B·n, places, D)
        return tokens.mean(1).unflatten(0, (-1, count))  # -> (B·n, D) -> (B, n, D)


class CnnTransformerForClassification(VocabularyHead, CnnTransformerPreTrainedModel):
    """The encoder with an ELU and a linear head over the vocabulary V.

    Args:
        config (`CnnTransformerConfig`): the configuration, with a `vocabulary`.

    Raises:
        VocabularyError: the configuration has no vocabulary.

    Example:
        >>> config = CnnTransformerConfig(vocabulary=["normal_eeg", "abnormal_eeg"])
        >>> CnnTransformerForClassification(config)(torch.zeros(2, 16, 2000)).logits.shape
        torch.Size([2, 2])
    """

    def __init__(self, config: CnnTransformerConfig) -> None:
        super().__init__(config)
        self.check_head()
        self.cnn_transformer = CnnTransformerModel(config)
        self.build_head(config.hidden_size)
        self.post_init()

    def head_input(self, outputs: Any) -> Tensor:  # noqa: ANN401 - a ModelOutput of the encoder
        """Return the activated feature (batch, width); see `VocabularyHead`."""
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
            signal (`torch.Tensor`): (batch, channels, time), see `CnnTransformerModel`.
            channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool, see `CnnTransformerModel`.
            labels (`torch.Tensor`, *optional*): see `VocabularyHead.classify`.
            target_mask (`torch.Tensor`, *optional*): (batch, |V|) bool: V_k of each row's source.
            exclusive (`torch.Tensor`, *optional*): (batch,) bool: single-label rows.
            **kwargs: `output_hidden_states`, `return_dict`; anything else is ignored.

        Returns:
            `ClimbClassifierOutput`: with `logits` (batch, |V|) and, for labels, the mean loss.

        Raises:
            SchemaError: shapes that do not fit.
        """
        outputs = self.cnn_transformer(signal, channel_mask, **{**kwargs, "return_dict": True})
        return self.classify(outputs, labels, target_mask, exclusive)
