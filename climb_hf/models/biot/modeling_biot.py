"""BIOT: the spectrum of every short frame of every channel is a token; linear attention over all of them.

After "BIOT: Biosignal Transformer for Cross-data Learning in the Wild" (Yang, Westover, Sun, 2023; code
`ycq091044/BIOT`, MIT, commit d138e32). Written from a description of its layers. The contrastive objective is in
`pretraining_biot.py`.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from climb_hf.errors import SchemaError
from climb_hf.models.biot.configuration_biot import BiotConfig
from climb_hf.models.layers import FeedForward, check_signal, present_channels
from climb_hf.models.outputs import ClimbClassifierOutput
from climb_hf.models.vocabulary_head import VocabularyHead

__all__ = ["BiotForClassification", "BiotModel", "BiotPreTrainedModel", "frame_spectra", "positions"]


def frame_spectra(signal: Tensor, fft_size: int, hop_length: int) -> Tensor:
    """Return the magnitude spectra of overlapping frames: a short-time Fourier transform, all channels at once.

    Rectangular window, frames that lie inside the signal only (not centred), not normalised.

    Args:
        signal (`torch.Tensor`): (batch, channels, time) float32 or float64.
        fft_size (`int`): samples of a frame.
        hop_length (`int`): samples between the starts of two frames.

    Returns:
        `torch.Tensor`: (batch, channels, frames, fft_size // 2 + 1), at least 0.

    Example:
        >>> frame_spectra(torch.ones(1, 1, 400), 200, 100)[0, 0, :, :2]
        tensor([[200.,   0.],
                [200.,   0.],
                [200.,   0.]])
    """
    frames = signal.unfold(2, fft_size, hop_length)  # (B, C, L) -> (B, C, T, fft_size), a view
    return torch.fft.rfft(frames).abs()  # -> (B, C, T, fft_size // 2 + 1)


def positions(frames: int, width: int) -> Tensor:
    """Return the fixed positions: sines on even features, cosines on odd ones, rates 10000^(-2i / width).

    Args:
        frames (`int`): number of positions.
        width (`int`): an even number.

    Returns:
        `torch.Tensor`: (frames, width) float32.

    Example:
        >>> [round(value, 6) for value in positions(3, 256)[1, :3].tolist()]
        [0.841471, 0.540302, 0.801962]
    """
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float64) * (-math.log(10000.0) / width))
    angles = torch.arange(frames, dtype=torch.float64)[:, None] * rates  # (T, w/2)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1).float()  # (T, w/2, 2) -> (T, w)


class LinearAttention(nn.Module):
    """Self-attention whose cost grows linearly with the tokens: softmax(q) · (softmax over tokens(k)ᵀ · v).

    Args:
        width (`int`): width of the tokens.
        heads (`int`): number of heads.
        dropout (`float`): of the output.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """Attend.

        Args:
            tokens (`torch.Tensor`): (batch, n, width), finite.
            present (`torch.Tensor`, *optional*): (batch, n) bool: the tokens that are there. The others give nothing
                to any token; their own outputs mean nothing.

        Returns:
            `torch.Tensor`: (batch, n, width).
        """
        query, key, value = self.query(tokens), self.key(tokens), self.value(tokens)
        if present is not None:  # the lowest number, not -inf: a row without any channel stays finite
            key = key.masked_fill(~present[:, :, None], torch.finfo(key.dtype).min)
        query = query.unflatten(-1, (self.heads, -1)).softmax(-1) * self.scale  # (B, n, D) -> (B, n, h, d)
        key = key.softmax(1).unflatten(-1, (self.heads, -1))  # over the tokens
        value = value.unflatten(-1, (self.heads, -1))
        context = key.permute(0, 2, 3, 1) @ value.transpose(1, 2)  # (B, h, d, n) · (B, h, n, d) -> (B, h, d, d)
        mixed = query.transpose(1, 2) @ context  # (B, h, n, d)
        return self.dropout(self.proj(mixed.transpose(1, 2).flatten(2)))  # -> (B, n, D)


class BiotBlock(GradientCheckpointingLayer):
    """x + attention(norm(x)), then x + feed-forward(norm(x)).

    Args:
        config (`BiotConfig`): the configuration.
    """

    def __init__(self, config: BiotConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.norm1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.attn = LinearAttention(width, config.num_attention_heads, config.hidden_dropout)
        self.norm2 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.mlp = FeedForward(width, int(config.intermediate_size or 4 * width))

    def forward(self, tokens: Tensor, present: Tensor | None = None) -> Tensor:
        """Transform tokens (batch, n, width); see `LinearAttention` for `present`."""
        tokens = tokens + self.attn(self.norm1(tokens), present)
        return tokens + self.mlp(self.norm2(tokens))


class BiotPreTrainedModel(PreTrainedModel):
    """What the models share: loading and initialisation."""

    config: BiotConfig
    base_model_prefix = "biot"
    main_input_name = "signal"
    input_modalities = ("time",)  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    _no_split_modules = ["BiotBlock"]  # noqa: RUF012 - as transformers declares it
    #: The loss is a mean already; the Trainer must not divide it again.
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding) and module is not getattr(self, "classifier", None):
            module.reset_parameters()  # torch's own choice, as in the published code; a new head starts as ours do
        else:
            super()._init_weights(module)
        if isinstance(module, BiotModel):
            init.copy_(module.position_embedding, positions(self.config.max_frames, self.config.hidden_size))


class BiotModel(BiotPreTrainedModel):
    """Encoder without a head: one feature per recording, from any of the channels that it knows.

    Args:
        config (`BiotConfig`): the configuration; `vocabulary` plays no part.

    Example:
        >>> model = BiotModel(BiotConfig(num_hidden_layers=1)).eval()
        >>> model(torch.zeros(2, 16, 2000)).last_hidden_state.shape
        torch.Size([2, 304, 256])
        >>> model(torch.zeros(2, 3, 1000), channel_ids=torch.tensor([0, 4, 8])).pooler_output.shape
        torch.Size([2, 256])
    """

    position_embedding: Tensor

    def __init__(self, config: BiotConfig) -> None:
        super().__init__(config)
        config.check_sizes()
        width = config.hidden_size
        self.patch_embedding = nn.Linear(config.fft_size // 2 + 1, width)
        self.channel_embedding = nn.Embedding(int(config.num_channel_tokens or config.num_channels), width)
        self.register_buffer("position_embedding", torch.empty(config.max_frames, width))
        self.dropout = nn.Dropout(config.embedding_dropout)
        self.blocks = nn.ModuleList(BiotBlock(config) for _ in range(config.num_hidden_layers))
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        signal: Tensor,
        channel_mask: Tensor | None = None,
        channel_ids: Tensor | None = None,
        kept_frames: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - whatever a Trainer passes along
    ) -> BaseModelOutputWithPooling:
        """Encode recordings.

        Args:
            signal (`torch.Tensor`):
                (batch, channels, time), each channel divided by the 0.95 quantile of its absolute values, 200 Hz; of
                any length from one frame (1 s) to `max_frames` frames.
            channel_mask (`torch.Tensor`, *optional*):
                (batch, channels) bool, `True` for a recorded channel. The tokens of the others are not there: the
                result is that of the recorded channels alone. Their own outputs mean nothing.
            channel_ids (`torch.Tensor`, *optional*):
                (channels,) or (batch, channels) integers: the channel token of each channel, below
                `num_channel_tokens`; then any number of channels may be given. Without it the signal has
                `num_channels` channels, whose tokens start at `channel_offset`.
            kept_frames (`torch.Tensor`, *optional*):
                (channels, frames) bool: the tokens to encode, the same for every recording; all by default. For
                pretraining.
            output_hidden_states (`bool`, *optional*): return the tokens before the first and after every block.
            **kwargs: ignored.

        Returns:
            `BaseModelOutputWithPooling`: `last_hidden_state` (batch, channels · frames, width), channel by channel;
            `pooler_output` (batch, width), the mean over the tokens that are there; 0 without any.

        Raises:
            SchemaError: shapes that do not fit, or channel tokens that the model has not got.
        """
        places, frames = self._channel_ids(signal, channel_ids), self._frames(signal)
        tokens = self._embedded(present_channels(signal, channel_mask), places).flatten(1, 2)  # -> (B, C·T, D)
        present = None if channel_mask is None else channel_mask.repeat_interleave(frames, 1)  # (B, C) -> (B, C·T)
        if kept_frames is not None:
            kept = self._kept(kept_frames, signal.shape[1], frames).to(signal.device)
            tokens = tokens.index_select(1, kept)
            present = None if present is None else present.index_select(1, kept)
        states = [tokens]
        for block in self.blocks:
            tokens = block(tokens, present)
            states.append(tokens)
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return BaseModelOutputWithPooling(
            last_hidden_state=tokens,
            pooler_output=_mean_of_present(tokens, present),
            hidden_states=tuple(states) if wanted else None,
        )

    def _embedded(self, signal: Tensor, places: Tensor) -> Tensor:
        """Return the tokens (batch, channels, frames, width) of signals whose channels have these tokens."""
        signal = signal.to(torch.promote_types(self.dtype, torch.float32))  # no transform in half precision
        spectra = frame_spectra(signal, self.config.fft_size, self.config.hop_length).to(self.dtype)
        tokens = self.patch_embedding(spectra)  # (B, C, L) -> (B, C, T, bins) -> (B, C, T, D)
        tokens = tokens + self.channel_embedding(places).unsqueeze(-2)  # (C, 1, D) or (B, C, 1, D)
        return self.dropout(tokens + self.position_embedding[: tokens.shape[2]])  # counted anew in every channel

    def _channel_ids(self, signal: Tensor, channel_ids: Tensor | None) -> Tensor:
        """Return the channel tokens, (channels,) or (batch, channels), after a look at the number of channels."""
        config = self.config
        if channel_ids is None:
            check_signal(signal, config.num_channels, processor="EegFeatureExtractor")
            return torch.arange(config.num_channels, device=signal.device) + config.channel_offset
        check_signal(signal, processor="EegFeatureExtractor")
        shapes, known = (signal.shape[1:2], signal.shape[:2]), self.channel_embedding.num_embeddings
        if channel_ids.dtype not in (torch.int64, torch.int32) or channel_ids.shape not in shapes:
            raise SchemaError(
                f"`channel_ids` must be integers of the shape {tuple(shapes[0])}, (channels,), or {tuple(shapes[1])}, "
                f"(batch, channels), but is {channel_ids.dtype} {tuple(channel_ids.shape)}."
            )
        # a look at the values would break the graph; there the embedding itself fails
        if not torch.compiler.is_compiling() and bool(((channel_ids < 0) | (channel_ids >= known)).any()):
            raise SchemaError(
                f"`channel_ids` must be in 0 … {known - 1}, the channels that the model knows, but has "
                f"{channel_ids.min().item()} … {channel_ids.max().item()}."
            )
        return channel_ids

    def _frames(self, signal: Tensor) -> int:
        config, length = self.config, signal.shape[2]
        frames = config.num_frames(length)
        if not 1 <= frames <= config.max_frames:
            longest = config.fft_size + config.hop_length * config.max_frames - 1
            raise SchemaError(
                f"`signal` must have {config.fft_size} to {longest} samples, 1 to {config.max_frames} frames, but has "
                f"{length}. Cut or pad it with the checkpoint's `EegFeatureExtractor`."
            )
        return frames

    @staticmethod
    def _kept(kept_frames: Tensor, channels: int, frames: int) -> Tensor:
        """Return the places of the kept tokens, (n,) int64."""
        if kept_frames.dtype != torch.bool or kept_frames.shape != (channels, frames) or not bool(kept_frames.any()):
            raise SchemaError(
                f"`kept_frames` must be bool of the shape {(channels, frames)}, (channels, frames), and keep a frame, "
                f"but is {kept_frames.dtype} {tuple(kept_frames.shape)}."
            )
        return kept_frames.flatten().nonzero().squeeze(1)


def _mean_of_present(tokens: Tensor, present: Tensor | None) -> Tensor:
    if present is None:
        return tokens.mean(1)
    total = tokens.masked_fill(~present[:, :, None], 0).sum(1)
    return total / present.sum(1, keepdim=True).clamp(min=1).to(total.dtype)


class BiotForClassification(VocabularyHead, BiotPreTrainedModel):
    """The encoder with ELU and a linear head over the vocabulary V.

    Args:
        config (`BiotConfig`): the configuration, with a `vocabulary`.

    Raises:
        VocabularyError: the configuration has no vocabulary.

    Example:
        >>> config = BiotConfig(num_hidden_layers=1, vocabulary=["seizure", "lpd", "gpd", "lrda", "grda", "other"])
        >>> BiotForClassification(config)(torch.zeros(2, 16, 2000)).logits.shape
        torch.Size([2, 6])
    """

    def __init__(self, config: BiotConfig) -> None:
        super().__init__(config)
        self.check_head()
        self.biot = BiotModel(config)
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
        channel_ids: Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401 - output options of the encoder
    ) -> ClimbClassifierOutput:
        """Score the concepts of V, and compute the loss where labels are given.

        Args:
            signal (`torch.Tensor`): (batch, channels, time), see `BiotModel`.
            channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool, `True` for a recorded channel.
            labels (`torch.Tensor`, *optional*): see `VocabularyHead.classify`.
            target_mask (`torch.Tensor`, *optional*): (batch, |V|) bool: V_k of each row's source.
            exclusive (`torch.Tensor`, *optional*): (batch,) bool: single-label rows.
            channel_ids (`torch.Tensor`, *optional*): (channels,) or (batch, channels) integers, see `BiotModel`.
            **kwargs: `output_hidden_states`, `return_dict`; anything else is ignored.

        Returns:
            `ClimbClassifierOutput`: with `logits` (batch, |V|) and, for labels, the mean loss.

        Raises:
            SchemaError: shapes that do not fit.
        """
        outputs = self.biot(signal, channel_mask, channel_ids, **{**kwargs, "return_dict": True})
        return self.classify(outputs, labels, target_mask, exclusive)
