"""Configuration of the vision encoder: which backbone, at which size, and how frames become one feature."""

from dataclasses import field
from typing import Any, ClassVar, Self

from transformers.configuration_utils import PreTrainedConfig, SubConfigSpec

from climb_hf.errors import OptionError
from climb_hf.models.vocabulary_config import VocabularyConfig

__all__ = ["ClimbVisionConfig"]

_TIMM = "timm/"
_BACKBONE_POOLING = ("auto", "pooler", "cls", "mean")
_POOLING = ("mean", "attention")


class ClimbVisionConfig(VocabularyConfig):
    """Configuration of `ClimbVisionModel` and `ClimbVisionForClassification`.

    Args:
        backbone (`str`, *optional*, defaults to `"timm/convnextv2_atto"`):
            `"timm/<architecture>"`, with timm's own name (a `.tag` may follow and only records which weights were
            meant), or `"transformers"`, with the architecture in `backbone_config`.
        backbone_config (`dict` or `PreTrainedConfig`, *optional*):
            configuration of the transformers backbone, with its `model_type`; only for `backbone="transformers"`.
        backbone_kwargs (`dict`, *optional*, defaults to `{}`):
            further arguments of `timm.create_model`, such as `{"drop_path_rate": 0.2}`; only for timm backbones.
            `num_classes` keeps timm's own head of that width as a projection (`resnet50_clip` with 768).
        backbone_pooling (`str`, *optional*, defaults to `"auto"`):
            how the tokens of one image become its feature. timm backbones pool themselves (`"auto"` only). For
            transformers backbones: `"pooler"` (`pooler_output`), `"cls"` (first token), `"mean"` (over tokens or
            space); `"auto"` takes the pooler output where there is one, else the first token where the backbone has a
            class token, else the mean.
        image_size (`int` or `list[int]`, *optional*):
            side of the input in pixels, or [height, width]. Defaults to `backbone_kwargs["img_size"]`, else to the
            backbone configuration's `image_size`, else to 224.
        num_channels (`int`, *optional*, defaults to `3`):
            channels that the backbone reads, 1 or 3. A backbone of 3 accepts grey images and repeats the channel.
        pooling (`str`, *optional*, defaults to `"mean"`):
            how the features of the frames become one: `"mean"` over the valid frames, or `"attention"`, a learned
            query over them.
        pooling_heads (`int`, *optional*, defaults to `8`):
            attention heads of `pooling="attention"`.
        **kwargs:
            `vocabulary`, `source_classes`, `source_multi_label`, `dropout`, `initializer_range` (see
            `VocabularyConfig`), and whatever `PreTrainedConfig` takes.

    Raises:
        OptionError: an unknown backbone kind, pooling or size, or options that contradict each other.
        VocabularyError: a vocabulary and sources that do not fit together.

    Example:
        >>> config = ClimbVisionConfig(
        ...     vocabulary=["melanoma", "nevus", "edema"],
        ...     source_classes={"skin": ["nevus", "melanoma"], "chest": ["edema"]},
        ...     source_multi_label={"skin": False, "chest": True},
        ... )
        >>> config.id2label[2], config.image_size
        ('edema', 224)
    """

    model_type = "climb_vision"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {
        "backbone_config": SubConfigSpec(config_class=PreTrainedConfig, optional=True)
    }

    backbone: str = "timm/convnextv2_atto"
    backbone_config: dict | PreTrainedConfig | None = None
    backbone_kwargs: dict[str, Any] = field(default_factory=dict)
    backbone_pooling: str = "auto"
    image_size: int | list[int] | None = None
    num_channels: int = 3
    pooling: str = "mean"
    pooling_heads: int = 8

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - unknown keys become attributes, as in the base
        self._check_backbone()
        super().__post_init__(**kwargs)
        self._resolve_image_size()
        self._check_input()

    @classmethod
    def preset(cls, name: str, **fields: Any) -> Self:  # noqa: ANN401 - fields of the configuration
        """Return the configuration of an encoder of the CLIMB paper.

        Args:
            name (`str`): one of `climb_hf.models.vision.VISION_PRESETS`.
            **fields: fields that take precedence; `backbone_kwargs` and `backbone_config` are merged key by key.

        Returns:
            `ClimbVisionConfig`.

        Raises:
            OptionError: no such preset.

        Example:
            >>> config = ClimbVisionConfig.preset("swinv2_large", pooling="attention", vocabulary=["nevus"])
            >>> config.backbone, config.image_size
            ('timm/swinv2_large_window12_192.ms_in22k', 192)
        """
        from climb_hf.models.vision.presets import get_preset

        return cls(**get_preset(name).fields(**fields))

    @property
    def timm_name(self) -> str | None:
        """The backbone's name in timm, or `None` for a transformers backbone."""
        return self.backbone.removeprefix(_TIMM) if self.backbone.startswith(_TIMM) else None

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the input in pixels."""
        size = self.image_size
        return (size, size) if isinstance(size, int) else tuple(size)  # type: ignore[arg-type, return-value]

    def _check_backbone(self) -> None:
        if self.timm_name is None and self.backbone != "transformers":
            raise OptionError(
                f"`backbone` must be `timm/<architecture>` or `transformers`, but is {self.backbone!r}. "
                "For a Hub repository use `ClimbVisionForClassification.from_backbone(…)`."
            )
        if self.timm_name is not None:
            if self.timm_name == "" or any(character in self.timm_name for character in "/\\:"):
                raise OptionError(
                    f"`backbone` must name an architecture of timm after `timm/`, but is {self.backbone!r}."
                )
            if self.backbone_config is not None:
                raise OptionError(
                    "`backbone_config` belongs to `backbone='transformers'`, but the backbone is "
                    f"{self.backbone!r}. Pass arguments of timm as `backbone_kwargs`."
                )
            if self.backbone_pooling != "auto":
                raise OptionError(
                    f"`backbone_pooling` must be `auto` for a timm backbone, which pools itself, but is "
                    f"{self.backbone_pooling!r}. Choose timm's pooling with `backbone_kwargs={{'global_pool': …}}`."
                )
            return
        if self.backbone_kwargs:
            raise OptionError(
                f"`backbone_kwargs` belongs to timm backbones, but is {self.backbone_kwargs}. Put the values of a "
                "transformers backbone into `backbone_config`."
            )
        self._check_backbone_config()

    def _check_backbone_config(self) -> None:
        from transformers import CONFIG_MAPPING

        config = self.backbone_config
        kind = config.get("model_type") if isinstance(config, dict) else getattr(config, "model_type", None)
        if kind is None:
            raise OptionError(
                "`backbone='transformers'` needs `backbone_config`: the configuration of the backbone, or its "
                f"dictionary with `model_type`, but it is {config!r}."
            )
        if isinstance(config, dict) and kind not in CONFIG_MAPPING:
            raise OptionError(
                f"`backbone_config` has the `model_type` {kind!r}, which this transformers does not know."
            )

    def _resolve_image_size(self) -> None:
        asked = self.backbone_kwargs.get("img_size")
        if asked is None and self.backbone_config is not None:
            asked = getattr(self.backbone_config, "image_size", None)
        if isinstance(asked, tuple):
            asked = list(asked)
        if isinstance(self.image_size, tuple):
            self.image_size = list(self.image_size)
        if self.image_size is None:
            self.image_size = 224 if asked is None else asked
        elif self.backbone_kwargs.get("img_size") is not None and self.image_size != asked:
            raise OptionError(
                f"`image_size` is {self.image_size}, but `backbone_kwargs['img_size']` is {asked}. Pass one of them."
            )

    def _check_input(self) -> None:
        sides = [self.image_size] if isinstance(self.image_size, int) else self.image_size
        if not isinstance(sides, list) or len(sides) not in (1, 2) or not all(type(s) is int and s > 0 for s in sides):
            raise OptionError(f"`image_size` must be a side or [height, width] in pixels, but is {self.image_size!r}.")
        channels = getattr(self.backbone_config, "num_channels", self.num_channels)
        if self.num_channels not in (1, 3) or channels != self.num_channels:
            raise OptionError(
                f"`num_channels` must be 1 or 3 and the same as the backbone's, but is {self.num_channels!r} "
                f"(backbone: {channels!r})."
            )
        if self.backbone_pooling not in _BACKBONE_POOLING:
            raise OptionError(
                f"`backbone_pooling` must be one of {_BACKBONE_POOLING}, but is {self.backbone_pooling!r}."
            )
        if self.pooling not in _POOLING:
            raise OptionError(f"`pooling` must be one of {_POOLING}, but is {self.pooling!r}.")
        if self.pooling_heads < 1:
            raise OptionError(f"`pooling_heads` must be at least 1, but is {self.pooling_heads!r}.")
