"""ECG-JEPA: eight leads cut into patches, a transformer whose tokens see their own lead and their own moment.

After "Learning General Representation of 12-Lead Electrocardiogram with a Joint-Embedding Predictive Architecture"
(Kim 2024; code `sehunfromdaegu/ECG_JEPA`, MIT, commit d937ad2). Written from a description of its layers. The
pretraining objective is in `pretraining_ecg_jepa.py`.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from climb_hf.models.ecg_jepa.configuration_ecg_jepa import EcgJepaConfig
from climb_hf.models.layers import PreNormBlock, check_signal, present_channels
from climb_hf.models.outputs import ClimbClassifierOutput
from climb_hf.models.vocabulary_head import VocabularyHead

__all__ = ["EcgJepaForClassification", "EcgJepaModel", "EcgJepaPreTrainedModel", "positions"]


def positions(leads: int, patches: int, width: int) -> Tensor:
    """Return the fixed positions of the tokens: time in the first half of the features, lead in the second.

    Each half holds the sines of all frequencies, then their cosines, at 10000^(-i / (width / 4)).

    Args:
        leads (`int`): leads.
        patches (`int`): patches per lead.
        width (`int`): a multiple of 4.

    Returns:
        `torch.Tensor`: (leads · patches, width) float32, lead by lead.

    Example:
        >>> table = positions(8, 50, 64)
        >>> [round(value, 6) for value in table[1, [0, 1, 16]].tolist()], table[50, 0].item()
        ([0.841471, 0.533168, 0.540302], 0.0)
    """
    rates = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    time = torch.arange(patches, dtype=torch.float64)[:, None] * rates  # (T, w/4)
    lead = torch.arange(leads, dtype=torch.float64)[:, None] * rates  # (L, w/4)
    time = torch.cat([time.sin(), time.cos()], 1).expand(leads, patches, -1)  # (T, w/2) -> (L, T, w/2)
    lead = torch.cat([lead.sin(), lead.cos()], 1)[:, None].expand(leads, patches, -1)  # (L, w/2) -> (L, T, w/2)
    return torch.cat([time, lead], -1).flatten(0, 1).float()  # (L, T, w) -> (L·T, w)


class EcgJepaPreTrainedModel(PreTrainedModel):
    """What the models share: loading and initialisation."""

    config: EcgJepaConfig
    base_model_prefix = "ecg_jepa"
    main_input_name = "signal"
    input_modalities = ("time",)  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["PreNormBlock"]  # noqa: RUF012 - as transformers declares it
    #: The loss is a mean already; the Trainer must not divide it again.
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if depth := getattr(module, "residual_depth", 0):
            init.normal_(module.weight, std=self.config.initializer_range / math.sqrt(2 * depth))  # type: ignore[arg-type]
        if isinstance(module, EcgJepaModel):
            config = self.config
            init.copy_(
                module.position_embedding, positions(config.num_channels, config.num_patches, config.hidden_size)
            )


class TokenStack(nn.Module):
    """Blocks with the positions added before each of them, then a layer norm.

    Args:
        width (`int`): width of the tokens.
        layers (`int`): number of blocks.
        heads (`int`): heads of a block.
        hidden (`int`): width of the feed-forward layers.
        eps (`float`): of the layer norms.
        drop_path_rate (`float`, *optional*, defaults to `0.0`): of the last block.
    """

    def __init__(
        self, width: int, layers: int, heads: int, hidden: int, eps: float, drop_path_rate: float = 0.0
    ) -> None:
        super().__init__()
        rates = [drop_path_rate * index / max(layers - 1, 1) for index in range(layers)]
        self.blocks = nn.ModuleList(PreNormBlock(width, heads, hidden, eps=eps, drop_path=rate) for rate in rates)
        self.norm = nn.LayerNorm(width, eps=eps)
        for depth, block in enumerate(self.blocks, start=1):  # deeper branches start smaller: see `_init_weights`
            block.attn.proj.residual_depth = block.mlp.fc2.residual_depth = depth  # type: ignore[union-attr]

    def forward(self, tokens: Tensor, position: Tensor, mask: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """Return the normalised tokens (batch, n, width), and what went into and came out of each block."""
        states = [tokens]
        for block in self.blocks:
            tokens = block(tokens + position, mask)  # again in every block: the stream accumulates the positions
            states.append(tokens)
        return self.norm(tokens), states


class EcgJepaModel(EcgJepaPreTrainedModel):
    """Encoder without a head: one feature per record, from any of its leads.

    Args:
        config (`EcgJepaConfig`): the configuration; `vocabulary` plays no part.

    Example:
        >>> model = EcgJepaModel(EcgJepaConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=4))
        >>> model(torch.zeros(2, 8, 2500)).last_hidden_state.shape
        torch.Size([2, 400, 64])
    """

    position_embedding: Tensor

    def __init__(self, config: EcgJepaConfig) -> None:
        super().__init__(config)
        self.patch_embedding = nn.Linear(config.patch_size, config.hidden_size)
        shape = (config.num_channels * config.num_patches, config.hidden_size)
        self.register_buffer("position_embedding", torch.empty(shape))
        self.encoder = TokenStack(
            config.hidden_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            int(config.intermediate_size or 4 * config.hidden_size),
            config.layer_norm_eps,
            config.drop_path_rate,
        )
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        signal: Tensor,
        channel_mask: Tensor | None = None,
        visible: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - whatever a Trainer passes along
    ) -> BaseModelOutputWithPooling:
        """Encode records.

        Args:
            signal (`torch.Tensor`): (batch, channels, time) in mV, of the configuration's channels and length.
            channel_mask (`torch.Tensor`, *optional*):
                (batch, channels) bool, `True` for a recorded lead. The tokens of the others are attended to by none
                and are not part of the feature; the rest keep their own places. Their own outputs mean nothing.
            visible (`torch.Tensor`, *optional*):
                (n,) int64: the patches to encode, the same for every lead and record; all by default. For pretraining.
            output_hidden_states (`bool`, *optional*): return the tokens before the first and after every block.
            **kwargs: ignored.

        Returns:
            `BaseModelOutputWithPooling`: `last_hidden_state` (batch, channels · patches, width), lead by lead;
            `pooler_output` (batch, width), the mean over the tokens of the recorded leads.

        Raises:
            SchemaError: shapes that do not fit.
        """
        config = self.config
        check_signal(signal, config.num_channels, config.signal_length, processor="EcgFeatureExtractor")
        signal = present_channels(signal, channel_mask).to(self.dtype)
        patches = signal.unflatten(2, (config.num_patches, config.patch_size))  # (B, C, L) -> (B, C, T, p)
        position = self.position_embedding.unflatten(0, (config.num_channels, config.num_patches))  # (C, T, D)
        if visible is not None:
            patches, position = patches.index_select(2, visible), position.index_select(1, visible)
        tokens = self.patch_embedding(patches).flatten(1, 2)  # (B, C, T, p) -> (B, C·T, D)
        mask = cross_pattern(config.num_channels, patches.shape[2], channel_mask, signal.device)
        hidden, states = self.encoder(tokens, position.flatten(0, 1), mask)
        wanted = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return BaseModelOutputWithPooling(
            last_hidden_state=hidden,
            pooler_output=_mean_of_present(hidden, channel_mask, patches.shape[2]),
            hidden_states=tuple(states) if wanted else None,
        )


def cross_pattern(channels: int, patches: int, channel_mask: Tensor | None, device: torch.device) -> Tensor:
    """Return who attends to whom ("CroPA"): tokens of the same lead, and tokens of the same moment.

    Args:
        channels (`int`): leads.
        patches (`int`): patches per lead.
        channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool; tokens of absent leads are seen by none but
            themselves.
        device (`torch.device`): of the result.

    Returns:
        `torch.Tensor`: (n, n) bool, or (batch, 1, n, n) with a `channel_mask`; n = channels · patches.

    Example:
        >>> cross_pattern(8, 50, None, torch.device("cpu")).sum(1).unique()
        tensor([57])
    """
    token = torch.arange(channels * patches, device=device)
    lead, moment = token // patches, token % patches
    allowed = (lead[:, None] == lead) | (moment[:, None] == moment)
    if channel_mask is None:
        return allowed
    present = channel_mask.repeat_interleave(patches, 1)[:, None, None]  # (B, C) -> (B, 1, 1, n)
    return (allowed & present) | (token[:, None] == token)


def _mean_of_present(hidden: Tensor, channel_mask: Tensor | None, patches: int) -> Tensor:
    if channel_mask is None:
        return hidden.mean(1)
    leads = hidden.unflatten(1, (-1, patches)).mean(2)  # (B, C·T, D) -> (B, C, D)
    total = leads.masked_fill(~channel_mask[:, :, None], 0).sum(1)
    return total / channel_mask.sum(1, keepdim=True).clamp(min=1).to(total.dtype)


class EcgJepaForClassification(VocabularyHead, EcgJepaPreTrainedModel):
    """The encoder with a linear head over the vocabulary V.

    Args:
        config (`EcgJepaConfig`): the configuration, with a `vocabulary`.

    Raises:
        VocabularyError: the configuration has no vocabulary.

    Example:
        >>> config = EcgJepaConfig(
        ...     hidden_size=64,
        ...     num_hidden_layers=1,
        ...     num_attention_heads=4,
        ...     vocabulary=["normal_ecg", "myocardial_infarction"],
        ... )
        >>> EcgJepaForClassification(config)(torch.zeros(2, 8, 2500)).logits.shape
        torch.Size([2, 2])
    """

    def __init__(self, config: EcgJepaConfig) -> None:
        super().__init__(config)
        self.check_head()
        self.ecg_jepa = EcgJepaModel(config)
        self.build_head(config.hidden_size)
        self.post_init()

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
            signal (`torch.Tensor`): (batch, channels, time) in mV.
            channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool, `True` for a recorded lead.
            labels (`torch.Tensor`, *optional*): see `VocabularyHead.classify`.
            target_mask (`torch.Tensor`, *optional*): (batch, |V|) bool: V_k of each row's source.
            exclusive (`torch.Tensor`, *optional*): (batch,) bool: single-label rows.
            **kwargs: `output_hidden_states`, `return_dict`; anything else is ignored.

        Returns:
            `ClimbClassifierOutput`: with `logits` (batch, |V|) and, for labels, the mean loss.

        Raises:
            SchemaError: shapes that do not fit.
        """
        outputs = self.ecg_jepa(signal, channel_mask, **{**kwargs, "return_dict": True})
        return self.classify(outputs, labels, target_mask, exclusive)
