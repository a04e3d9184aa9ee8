"""MedViT: stages of convolutional blocks with few transformer blocks among them, for medical pictures.

After "MedViT: A Robust Vision Transformer for Generalized Medical Image Classification" (Manzari et al. 2023; code
`Omid-Nejati/MedViT`, MIT, commit 1abcaf6). Written from a description of its layers. Frames of videos and volumes are
flattened into the batch and averaged, as in the CLIMB paper's code; see `climb_hf.models.frames`.
"""

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
from climb_hf.models.frames import flatten_frames, mean_over_frames, restore_frames
from climb_hf.models.layers import drop_path
from climb_hf.models.medvit.configuration_medvit import MedVitConfig
from climb_hf.models.outputs import ClimbClassifierOutput
from climb_hf.models.vocabulary_head import VocabularyHead

__all__ = ["MedVitForClassification", "MedVitModel", "MedVitPreTrainedModel"]

_STEM_STRIDE = 4


class MedVitPreTrainedModel(PreTrainedModel):
    """What the models share: loading and initialisation."""

    config: MedVitConfig
    base_model_prefix = "medvit"
    main_input_name = "pixel_values"
    input_modalities = ("image",)  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["MedVitConvBlock", "MedVitTransformerBlock"]  # noqa: RUF012 - as transformers declares it
    #: The loss is a mean already; the Trainer must not divide it again.
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d | nn.Linear):
            init.trunc_normal_(module.weight, std=self.config.initializer_range)

    def get_input_embeddings(self) -> None:  # type: ignore[override]
        """Return `None`: images have no token embeddings."""


class ConvNorm(nn.Module):
    """Convolution without bias, then batch norm.

    Args:
        channels (`int`): of the input.
        width (`int`): of the output.
        kernel (`int`): side of the kernel; the picture is padded to keep its size.
        eps (`float`): of the batch norm.
        stride (`int`, *optional*, defaults to `1`): of the convolution.
        relu (`bool`, *optional*, defaults to `False`): whether negative outputs are set to 0.
    """

    def __init__(
        self, channels: int, width: int, kernel: int, eps: float, *, stride: int = 1, relu: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, kernel, stride=stride, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(width, eps=eps)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """Transform (n, channels, h, w) into (n, width, ⌈h / stride⌉, ⌈w / stride⌉)."""
        x = self.norm(self.conv(x))
        return F.relu(x) if self.relu else x


class PatchEmbedding(ConvNorm):
    """Brings a map to a block's width and grid: at stride 2 the mean of 2×2 places, then 1×1 convolution and norm.

    At an odd side the last mean is over the places that are there.
    """

    def __init__(self, channels: int, width: int, eps: float, *, stride: int) -> None:
        super().__init__(channels, width, 1, eps)
        self.pool = stride > 1

    def forward(self, x: Tensor) -> Tensor:
        """Transform (n, channels, h, w) into (n, width, ⌈h / stride⌉, ⌈w / stride⌉)."""
        if self.pool:
            x = F.avg_pool2d(x, 2, 2, ceil_mode=True, count_include_pad=False)
        return super().forward(x)


def _embedding(channels: int, width: int, stride: int, eps: float) -> nn.Module:
    """Return the patch embedding of a block; where nothing changes, it has no parameters."""
    if stride == 1 and channels == width:
        return nn.Identity()
    return PatchEmbedding(channels, width, eps, stride=stride)


class ConvAttention(nn.Module):
    """Multi-head convolutional attention: a 3×3 convolution in groups, norm, ReLU, and a 1×1 mix of the groups."""

    def __init__(self, width: int, config: MedVitConfig) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(width, width, 3, padding=1, groups=width // config.head_dim, bias=False)
        self.norm = nn.BatchNorm2d(width, eps=config.batch_norm_eps)
        self.projection = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (n, width, h, w)."""
        return self.projection(F.relu(self.norm(self.grouped(x))))


class LocalFeedForward(nn.Module):
    """Widen, 3×3 depthwise convolution, squeeze-and-excite gate, narrow; the input is added to the result.

    The gate's hidden layer is as wide as the expansion (3 or 2 units): the published reduction is the block's width.
    """

    def __init__(self, width: int, expansion: int, eps: float) -> None:
        super().__init__()
        hidden = expansion * width
        self.widen = nn.Conv2d(width, hidden, 1, bias=False)
        self.widen_norm = nn.BatchNorm2d(hidden, eps=eps)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(hidden, eps=eps)
        self.squeeze = nn.Linear(hidden, expansion)
        self.excite = nn.Linear(expansion, hidden)
        self.narrow = nn.Conv2d(hidden, width, 1, bias=False)
        self.narrow_norm = nn.BatchNorm2d(width, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (n, width, h, w)."""
        y = F.hardswish(self.widen_norm(self.widen(x)))  # (n, D, h, w) -> (n, e·D, h, w)
        y = F.hardswish(self.depthwise_norm(self.depthwise(y)))
        gate = F.hardsigmoid(self.excite(F.relu(self.squeeze(y.mean((2, 3))))))  # (n, e·D, h, w) -> (n, e·D)
        return x + self.narrow_norm(self.narrow(y * gate[:, :, None, None]))  # (n, e·D, h, w) -> (n, D, h, w)


class TokenAttention(nn.Module):
    """Self-attention over the places of a map, whose keys and values are means over runs of r² tokens.

    As published, the means are over the flattened sequence (row by row), not over squares of the picture, and the
    tokens after the last full run have no part in them.
    """

    def __init__(self, width: int, ratio: int, config: MedVitConfig) -> None:
        super().__init__()
        self.heads, self.run = width // config.head_dim, ratio * ratio
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width, eps=config.batch_norm_eps) if ratio > 1 else None

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform (n, N, width)."""
        context = tokens
        if self.norm is not None:
            pooled = F.avg_pool1d(tokens.transpose(1, 2), self.run)  # (n, N, D) -> (n, D, N // r²)
            context = self.norm(pooled).transpose(1, 2)  # (n, D, N // r²) -> (n, N // r², D)
        mixed = F.scaled_dot_product_attention(
            self._split(self.query(tokens)), self._split(self.key(context)), self._split(self.value(context))
        )  # scores are scaled by 1 / √head_dim
        return self.output(mixed.transpose(1, 2).flatten(2))  # (n, heads, N, d) -> (n, N, D)

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (n, N, D) -> (n, heads, N, d)


class MedVitConvBlock(GradientCheckpointingLayer):
    """Convolutional attention, then the local feed-forward layer.

    The normed map goes into the feed-forward layer and, because that adds its input, into the sum a second time.
    """

    def __init__(self, channels: int, width: int, stride: int, drop: float, config: MedVitConfig) -> None:
        super().__init__()
        self.drop = drop
        self.patch_embedding = _embedding(channels, width, stride, config.batch_norm_eps)
        self.local_attention = ConvAttention(width, config)
        self.norm = nn.BatchNorm2d(width, eps=config.batch_norm_eps)
        self.feed_forward = LocalFeedForward(width, config.conv_expansion, config.batch_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (n, channels, h, w) into (n, width, ⌈h / stride⌉, ⌈w / stride⌉)."""
        x = self.patch_embedding(x)
        x = x + drop_path(self.local_attention(x), self.drop, training=self.training)
        return x + self.feed_forward(self.norm(x))


class MedVitTransformerBlock(GradientCheckpointingLayer):
    """Self-attention for most of the width, convolutional attention for the rest, then the feed-forward layer.

    The drop-path rate is shared out between the two branches as their widths are: 0.75 and 0.25 of it by default.
    """

    def __init__(self, channels: int, width: int, stride: int, ratio: int, drop: float, config: MedVitConfig) -> None:
        super().__init__()
        global_width = config.attention_width(width)
        local_width, eps = width - global_width, config.batch_norm_eps
        self.global_drop, self.local_drop = drop * config.attention_share, drop * (1 - config.attention_share)
        self.patch_embedding = _embedding(channels, global_width, stride, eps)
        self.norm1 = nn.BatchNorm2d(global_width, eps=eps)
        self.attention = TokenAttention(global_width, ratio, config)
        self.projection = PatchEmbedding(global_width, local_width, eps, stride=1)
        self.local_attention = ConvAttention(local_width, config)
        self.norm2 = nn.BatchNorm2d(width, eps=eps)
        self.feed_forward = LocalFeedForward(width, config.transformer_expansion, eps)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (n, channels, h, w) into (n, width, ⌈h / stride⌉, ⌈w / stride⌉)."""
        x = self.patch_embedding(x)
        update = self.attention(self.norm1(x).flatten(2).transpose(1, 2))  # (n, G, h, w) -> (n, h·w, G)
        update = update.transpose(1, 2).unflatten(2, x.shape[2:])  # (n, h·w, G) -> (n, G, h, w)
        x = x + drop_path(update, self.global_drop, training=self.training)
        z = self.projection(x)  # (n, G, h, w) -> (n, L, h, w)
        z = z + drop_path(self.local_attention(z), self.local_drop, training=self.training)
        x = torch.cat([x, z], 1)  # (n, G + L, h, w)
        return x + self.feed_forward(self.norm2(x))


def _blocks(config: MedVitConfig) -> nn.ModuleList:
    """Return the blocks of all stages in one list, with drop-path rates that rise linearly over it."""
    rates = iter(
        [config.drop_path_rate * index / max(sum(config.depths) - 1, 1) for index in range(sum(config.depths))]
    )
    blocks, channels = nn.ModuleList(), config.stem_widths[-1]
    for stage in range(len(config.depths)):
        for index, transformer in enumerate(config.transformer_blocks(stage)):
            stride = 2 if index == 0 and stage > 0 else 1
            if transformer:
                width, ratio = config.transformer_widths[stage - 1], config.reduction_ratios[stage - 1]
                blocks.append(MedVitTransformerBlock(channels, width, stride, ratio, next(rates), config))
            else:
                width = config.conv_widths[stage]
                blocks.append(MedVitConvBlock(channels, width, stride, next(rates), config))
            channels = width
    return blocks


class MedVitModel(MedVitPreTrainedModel):
    """Encoder without a head: one feature per image, video or volume.

    With recomputed activations the running statistics of batch norms are updated twice per step, as by any batch norm
    that torch recomputes; gradients are the same.

    Args:
        config (`MedVitConfig`): the configuration; `vocabulary` plays no part.

    Example:
        >>> config = MedVitConfig(
        ...     depths=[1, 1, 5, 1], conv_widths=[8, 16, 24, 32], transformer_widths=[32, 32, 32], head_dim=8
        ... )
        >>> MedVitModel(config).eval()(torch.zeros(2, 3, 3, 64, 64)).pooler_output.shape  # two videos of 3 frames
        torch.Size([2, 32])
    """

    def __init__(self, config: MedVitConfig) -> None:
        super().__init__(config)
        widths = [config.num_channels, *config.stem_widths]
        self.stem = nn.Sequential(
            *(
                ConvNorm(before, after, 3, config.batch_norm_eps, stride=stride, relu=True)
                for before, after, stride in zip(widths, widths[1:], (2, 1, 1, 2), strict=False)
            )
        )
        self.blocks = _blocks(config)
        self.norm = nn.BatchNorm2d(config.hidden_size, eps=config.batch_norm_eps)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        frame_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - whatever a Trainer passes along
    ) -> BaseModelOutputWithPooling:
        """Encode images, videos or volumes.

        Args:
            pixel_values (`torch.Tensor`):
                (batch, channels, height, width) or (batch, frames, channels, height, width), normalised floats.
                One channel is repeated where the model reads three.
            frame_mask (`torch.Tensor`, *optional*):
                (batch, frames) bool, `True` for a valid frame; only with frames, all valid if absent.
            output_hidden_states (`bool`, *optional*):
                return the maps (n, width, h, w) after the stem and after every block, for the valid frames in order.
            **kwargs: ignored.

        Returns:
            `BaseModelOutputWithPooling`: `last_hidden_state` (batch, places, width) or (batch, frames, places, width),
            row by row, with zeros in padded frames; `pooler_output` (batch, width), the mean over places and frames.

        Raises:
            SchemaError: shapes that do not fit, or no valid frame in the whole batch.
        """
        images, valid = flatten_frames(pixel_values, frame_mask, self.config.num_channels)
        self._check_size(images.shape[2], images.shape[3])
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        x = self.stem(images.to(self.dtype))  # (n, C, H, W) -> (n, D, H/4, W/4)
        states: tuple[Tensor, ...] = (x,)
        for block in self.blocks:
            x = block(x)
            states = (*states, x) if wanted else ()
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (n, D, h, w) -> (n, h·w, D)
        tokens, pooled = restore_frames(tokens, tokens.mean(1), valid, pixel_values)  # pooled: (B, F, D)
        return BaseModelOutputWithPooling(
            last_hidden_state=tokens,
            pooler_output=mean_over_frames(pooled, frame_mask),  # (B, F, D) -> (B, D)
            hidden_states=states if wanted else None,
        )

    def _check_size(self, height: int, width: int) -> None:
        """Refuse pictures so small that a transformer block would have no keys."""
        for stage, ratio in enumerate(self.config.reduction_ratios, start=1):
            stride = _STEM_STRIDE * 2**stage
            if any(self.config.transformer_blocks(stage)) and -(-height // stride) * -(-width // stride) < ratio**2:
                raise SchemaError(
                    f"`pixel_values` has {height}×{width} pixels, which leave fewer than {ratio**2} places at stride "
                    f"{stride}, of which a key is made; {(ratio - 1) * stride + 1} pixels a side are enough. "
                    f"`image_size` of the configuration is {self.config.image_size}."
                )


class MedVitForClassification(VocabularyHead, MedVitPreTrainedModel):
    """The encoder with a linear head over the vocabulary V.

    Args:
        config (`MedVitConfig`): the configuration, with a `vocabulary`.

    Raises:
        VocabularyError: the configuration has no vocabulary.

    Example:
        >>> config = MedVitConfig(
        ...     depths=[1, 1, 1, 1],
        ...     conv_widths=[8, 16, 24, 32],
        ...     transformer_widths=[32, 32, 32],
        ...     head_dim=8,
        ...     vocabulary=["nevus", "melanoma"],
        ... )
        >>> MedVitForClassification(config).eval()(torch.zeros(2, 3, 64, 64)).logits.shape
        torch.Size([2, 2])
    """

    def __init__(self, config: MedVitConfig) -> None:
        super().__init__(config)
        self.check_head()
        self.medvit = MedVitModel(config)
        self.build_head(config.hidden_size)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        frame_mask: Tensor | None = None,
        labels: Tensor | None = None,
        target_mask: Tensor | None = None,
        exclusive: Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401 - output options of the encoder
    ) -> ClimbClassifierOutput:
        """Score the concepts of V, and compute the loss where labels are given.

        Args:
            pixel_values (`torch.Tensor`):
                (batch, channels, height, width) or (batch, frames, channels, height, width), normalised floats.
            frame_mask (`torch.Tensor`, *optional*): (batch, frames) bool, `True` for a valid frame.
            labels (`torch.Tensor`, *optional*): see `VocabularyHead.classify`.
            target_mask (`torch.Tensor`, *optional*): (batch, |V|) bool: V_k of each row's source.
            exclusive (`torch.Tensor`, *optional*): (batch,) bool: single-label rows.
            **kwargs: `output_hidden_states`, `return_dict`; anything else is ignored.

        Returns:
            `ClimbClassifierOutput`: with `logits` (batch, |V|) and, for labels, the mean loss.

        Raises:
            SchemaError: shapes that do not fit.
        """
        outputs = self.medvit(pixel_values, frame_mask, **{**kwargs, "return_dict": True})
        return self.classify(outputs, labels, target_mask, exclusive)
