"""The vision encoder: any timm or transformers backbone, one feature per image, video or volume, one head over V.

Frames are flattened into the batch, encoded, and averaged over the valid ones, as in the vision models of the
CLIMB paper's code (DDVD233/InternVL); see `climb_hf.models.frames`.
"""

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from climb_hf.models.frames import flatten_frames, mean_over_frames, restore_frames
from climb_hf.models.outputs import ClimbClassifierOutput
from climb_hf.models.vision import backbone_weights, backbones
from climb_hf.models.vision.configuration_vision import ClimbVisionConfig
from climb_hf.models.vision.pooling import FrameAttention
from climb_hf.models.vision.presets import get_preset
from climb_hf.models.vocabulary_head import VocabularyHead

__all__ = ["ClimbVisionForClassification", "ClimbVisionModel", "ClimbVisionPreTrainedModel"]


class ClimbVisionPreTrainedModel(PreTrainedModel):
    """What the vision models share: loading, initialisation, and building from a pretrained backbone."""

    config: ClimbVisionConfig
    base_model_prefix = "climb_vision"
    main_input_name = "pixel_values"
    input_modalities = ("image",)  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    #: The loss is a mean already; the Trainer must not divide it again.
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if backbones.is_foreign(module):
            backbones.refill(self.backbone, self.config)
            return
        super()._init_weights(module)
        if isinstance(module, FrameAttention):
            init.normal_(module.query, mean=0.0, std=self.config.initializer_range)

    def get_input_embeddings(self) -> None:  # type: ignore[override]
        """Return `None`: images have no token embeddings."""

    @classmethod
    def from_backbone(
        cls,
        backbone_name: str,
        *,
        pretrained: bool | str | Path = True,
        **config: Any,  # noqa: ANN401 - fields of ClimbVisionConfig
    ) -> Self:
        """Build a model around a backbone, with the backbone's pretrained weights in it.

        The weights are put in after construction, so nothing initialises over them, and they are saved with the model:
        `from_pretrained` never needs the backbone's own repository again.

        Args:
            backbone_name (`str`):
                `"timm/<architecture>[.<tag>]"`, or a Hub repository or local folder of a transformers model (of an
                image-text model the vision tower is taken).
            pretrained (`bool`, `str` or `Path`, *optional*, defaults to `True`):
                `True` loads the published weights, `False` leaves the random initialisation; a path loads a local
                file of weights (timm; safetensors or a plain state dictionary in the names of timm or of the original
                release) or a local folder (transformers).
            **config:
                fields of `ClimbVisionConfig`. `image_size` defaults to the size that the weights were trained at.

        Returns:
            The model in evaluation mode, on the CPU, its head freshly initialised.

        Raises:
            OptionError: timm has no such architecture, or `pretrained` is no file.
            CorruptFileError: the file does not fit the architecture.

        Example:
            >>> model = ClimbVisionForClassification.from_backbone(
            ...     "timm/test_vit", pretrained=False, vocabulary=["nevus", "melanoma"], image_size=32
            ... )
            >>> model(torch.zeros(1, 3, 32, 32)).logits.shape
            torch.Size([1, 2])
        """
        if backbone_name.startswith("timm/"):
            native = backbone_weights.native_statistics(backbone_name)
            config = {"image_size": native["size"], **config, "backbone": backbone_name}
        else:
            inner = backbone_weights.resolve_transformers_config(backbone_name)
            config = {**config, "backbone": "transformers", "backbone_config": inner}
        model = cls(ClimbVisionConfig(**config))
        if pretrained is not False:
            weights = backbone_weights.with_weights(model.config, pretrained, backbone_name)
            model.base_model.get_submodule("backbone").load_state_dict(weights.state_dict())
        return model.eval()

    @classmethod
    def from_preset(
        cls,
        name: str,
        *,
        pretrained: bool | str | Path = True,
        **config: Any,  # noqa: ANN401 - fields of ClimbVisionConfig
    ) -> Self:
        """Build an encoder of the CLIMB paper, with its pretrained weights in it and a fresh head.

        Mind the licence of the weights: `climb_hf.models.vision.VISION_PRESETS[name].license` and `.notes`.

        Args:
            name (`str`): one of `climb_hf.models.vision.VISION_PRESETS`.
            pretrained (`bool`, `str` or `Path`, *optional*, defaults to `True`):
                `True` loads the published weights, `False` leaves the random initialisation; a path loads a local file
                in any layout of `climb_hf.models.vision.convert_vision` (whose `convert_checkpoint` keeps the head
                too), or, for a transformers backbone, a local folder.
            **config: fields of `ClimbVisionConfig`, over those of the preset.

        Returns:
            The model in evaluation mode, on the CPU.

        Raises:
            OptionError: no such preset, or `pretrained` is no file.
            AccessError: published weights cannot be fetched and are not in the cache.
            CorruptFileError: the file does not fit the architecture.

        Example:
            >>> tiny = {"image_size": 32, "backbone_kwargs": {"depth": 1, "embed_dim": 64, "num_heads": 2}}
            >>> model = ClimbVisionModel.from_preset("sbb2_mediumd", pretrained=False, **tiny)
            >>> model(torch.zeros(1, 3, 32, 32)).pooler_output.shape
            torch.Size([1, 64])
        """
        preset = get_preset(name)
        fields = preset.fields(**config)
        source: Any = pretrained
        if source is True and preset.file is not None:
            source = backbone_weights.published_file(*preset.file)
        elif source is True:
            return cls.from_backbone(preset.weights, **fields)
        elif source is not False and fields["backbone"] == "transformers" and Path(source).is_dir():
            return cls.from_backbone(str(source), **fields)
        model = cls(ClimbVisionConfig(**fields))
        if source is not False:
            from climb_hf.models.vision.convert_vision import fill_encoder

            fill_encoder(model.base_model, source)  # type: ignore[arg-type]  # declared as any module
        return model.eval()


class ClimbVisionModel(ClimbVisionPreTrainedModel):
    """Encoder without a head: one feature per image, video or volume.

    Args:
        config (`ClimbVisionConfig`): the configuration; `vocabulary` plays no part.

    Raises:
        OptionError: timm does not know the backbone, or `pooling_heads` does not divide its width.
    """

    def __init__(self, config: ClimbVisionConfig) -> None:
        super().__init__(config)
        self.backbone = backbones.build_backbone(config)
        self.hidden_size = backbones.backbone_width(self.backbone, config)
        self.frame_pooling = None
        if config.pooling == "attention":
            self.frame_pooling = FrameAttention(self.hidden_size, config.pooling_heads)
        self._checkpointing = False
        self.supports_gradient_checkpointing = backbones.checkpointable(self.backbone)
        if config.timm_name is not None:
            self._tied_weights_keys = {
                f"backbone.{key}": f"backbone.{value}"
                for key, value in backbones.shared_parameters(self.backbone).items()
            }
            self._no_split_modules = backbones.block_names(self.backbone.modules())
            backbones.mark_initialized(self.backbone)
        self.post_init()

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether the backbone recomputes its activations; set by `activation_checkpointing_enable()`."""
        return self._checkpointing

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, enable: bool) -> None:
        self._checkpointing = enable
        if self.config.timm_name is not None:
            self.backbone.set_grad_checkpointing(enable)

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        frame_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - whatever a Trainer passes along
    ) -> BaseModelOutputWithPooling:
        """Encode images, videos or volumes.

        Args:
            pixel_values (`torch.Tensor`):
                (batch, channels, height, width) or (batch, frames, channels, height, width), normalised floats.
                One channel is repeated where the backbone reads three.
            frame_mask (`torch.Tensor`, *optional*):
                (batch, frames) bool, `True` for a valid frame; only with frames, all valid if absent.
            output_hidden_states (`bool`, *optional*):
                return the backbone's layers, for the valid frames of the batch in order.
            output_attentions (`bool`, *optional*):
                return attention weights (transformers backbones with `attn_implementation="eager"`).
            **kwargs:
                ignored.

        Returns:
            `BaseModelOutputWithPooling`: `last_hidden_state` (batch, tokens, width) or (batch, frames, tokens, width)
            with zeros in padded frames; `pooler_output` (batch, hidden).

        Raises:
            SchemaError: shapes that do not fit, or no valid frame in the whole batch.
        """
        images, valid = flatten_frames(pixel_values, frame_mask, self.config.num_channels)
        encoded = backbones.encode(
            self.backbone,
            self.config,
            images.to(self.dtype),
            hidden_states=_asked(output_hidden_states, self.config.output_hidden_states),
            attentions=_asked(output_attentions, self.config.output_attentions),
        )
        tokens, pooled = restore_frames(encoded.tokens, encoded.pooled, valid, pixel_values)  # pooled: (B, F, D)
        if self.frame_pooling is not None:
            pooled = self.frame_pooling(pooled, frame_mask)  # (B, F, D) -> (B, D)
        else:
            pooled = mean_over_frames(pooled, frame_mask)  # (B, F, D) -> (B, D)
        return BaseModelOutputWithPooling(
            last_hidden_state=tokens,
            pooler_output=pooled,
            hidden_states=encoded.hidden_states,
            attentions=encoded.attentions,
        )


def _asked(argument: bool | None, default: bool | None) -> bool:
    return bool(default if argument is None else argument)


class ClimbVisionForClassification(VocabularyHead, ClimbVisionPreTrainedModel):
    """The encoder with a linear head over the vocabulary V.

    Args:
        config (`ClimbVisionConfig`): the configuration, with a `vocabulary`.

    Raises:
        VocabularyError: the configuration has no vocabulary.

    Example:
        >>> config = ClimbVisionConfig(
        ...     backbone="timm/test_vit",
        ...     image_size=32,
        ...     vocabulary=["nevus", "melanoma", "edema"],
        ...     source_classes={"skin": ["nevus", "melanoma"]},
        ...     source_multi_label={"skin": False},
        ... )
        >>> model = ClimbVisionForClassification(config).eval()
        >>> logits = model(torch.zeros(2, 4, 3, 32, 32)).logits  # two videos of four frames
        >>> model.masked_probabilities(logits, "skin").shape
        torch.Size([2, 2])
    """

    def __init__(self, config: ClimbVisionConfig) -> None:
        super().__init__(config)
        self.check_head()
        self.climb_vision = ClimbVisionModel(config)
        self.supports_gradient_checkpointing = self.climb_vision.supports_gradient_checkpointing
        self.build_head(self.climb_vision.hidden_size)
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
            frame_mask (`torch.Tensor`, *optional*):
                (batch, frames) bool, `True` for a valid frame.
            labels (`torch.Tensor`, *optional*):
                (batch, |V|) float in {0, 1}: the positives of each row; or (batch,) int64: one concept per row, which
                makes every row exclusive unless `exclusive` says otherwise.
            target_mask (`torch.Tensor`, *optional*):
                (batch, |V|) bool: V_k of each row's source. Outputs outside never contribute. All count if absent.
            exclusive (`torch.Tensor`, *optional*):
                (batch,) bool: `True` for softmax cross-entropy over V_k, `False` (default) for binary cross-entropy.
            **kwargs:
                `output_hidden_states`, `output_attentions`, `return_dict`; anything else is ignored.

        Returns:
            `ClimbClassifierOutput`: with `logits` (batch, |V|) and, for labels, the mean loss.

        Raises:
            SchemaError: shapes that do not fit.
        """
        outputs = self.climb_vision(pixel_values, frame_mask, **{**kwargs, "return_dict": True})
        return self.classify(outputs, labels, target_mask, exclusive)
