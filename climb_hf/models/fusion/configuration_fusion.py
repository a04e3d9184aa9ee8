"""Configuration of the fusion model: which encoders read which modality, and how their features become one."""

from dataclasses import field
from typing import Any, ClassVar, Self

from transformers.configuration_utils import PreTrainedConfig, SubConfigSpec

from climb_hf.errors import OptionError
from climb_hf.models.vocabulary_config import VocabularyConfig

__all__ = ["MODALITIES", "STRATEGIES", "ClimbFusionConfig"]

#: The modalities, in the order of the columns of `modality_mask`.
MODALITIES = ("image", "signal", "text")
STRATEGIES = ("late", "mlp", "cross_attention")
_TEXT_POOLING = ("first", "mean")
_ACTIVATIONS = ("relu", "gelu")
#: Inputs of our encoders, by the modality that may use them.
_INPUTS = {"image": ("image",), "signal": ("ecg", "eeg")}
#: `medicalai/ClinicalBERT`: the text encoder that the paper's fusion code loads.
_CLINICAL_BERT = {"model_type": "distilbert", "vocab_size": 119_547}


class ClimbFusionConfig(VocabularyConfig):
    """Configuration of `ClimbFusionModel`, `ClimbFusionForClassification` and `ClimbFusionForRegression`.

    Args:
        modalities (`list[str]`, *optional*, defaults to `["image", "signal", "text"]`):
            what is fused, some of these three; they are always kept in this order.
        image_config (`dict` or `PreTrainedConfig`, *optional*):
            configuration of an encoder of ours for pictures, with its `model_type`. Defaults to `ClimbVisionConfig`
            of the preset `"convnextv2_base"`.
        signal_config (`dict` or `PreTrainedConfig`, *optional*):
            configuration of an encoder of ours for ECG or EEG. Defaults to `EcgJepaConfig`.
        text_config (`dict` or `PreTrainedConfig`, *optional*):
            configuration of any text encoder of `transformers.AutoModel`. Defaults to that of
            `medicalai/ClinicalBERT`.
        strategy (`str`, *optional*, defaults to `"mlp"`):
            `"late"` (a head per modality, the mean of the logits of those that are present), `"mlp"` (the features
            behind each other, a learned token in the place of an absent one, two layers) or `"cross_attention"` (the
            text asks the tokens of picture and signal, example by example).
        frozen (`list[str]`, *optional*, defaults to `["text"]`):
            modalities whose encoder is not trained; it stays in evaluation mode.
        text_pooling (`str`, *optional*, defaults to `"first"`):
            what the feature of a text is: its `"first"` token, or the `"mean"` of its tokens.
        hidden_size (`int`, *optional*, defaults to `512`):
            width of the cross-attention.
        num_attention_heads (`int`, *optional*, defaults to `8`):
            heads of the cross-attention.
        attention_head_size (`int`, *optional*):
            width of a head; `hidden_size / num_attention_heads` where absent. The paper's code has 512, as wide as
            the whole.
        intermediate_size (`int`, *optional*):
            width of the feed-forward layer of the cross-attention; four times `hidden_size` where absent.
        num_fusion_layers (`int`, *optional*, defaults to `1`):
            blocks of cross-attention.
        head_divisors (`list[int]`, *optional*):
            hidden layers of a head as divisors of its input's width. Defaults to the paper's code: `[2]` for
            classification (d, d/2, outputs), `[2, 8]` for regression (d, d/2, d/8, outputs).
        head_activation (`str`, *optional*):
            `"relu"` or `"gelu"`. Defaults to the paper's code: ReLU for classification, GELU for regression.
        head_dropout (`float`, *optional*, defaults to `0.1`):
            after the first hidden layer of a head.
        positive_weight (`float`, *optional*):
            factor of the positive term of the binary cross-entropy (PyTorch's `pos_weight`); 1 where absent. The
            fusion protocol sets negatives / positives of the training rows.
        regression_targets (`list[str]`, *optional*, defaults to `[]`):
            names of the outputs of `ClimbFusionForRegression`, such as `["los_days"]`.
        target_mean (`list[float]`, *optional*):
            one per target, in its unit: added to the output. 0 where absent.
        target_scale (`list[float]`, *optional*):
            one per target, in its unit, above 0: what one unit of the head's output is; errors are divided by it
            before they are squared. 1 where absent: the plain mean squared error.
        **kwargs:
            `vocabulary`, `source_classes`, `source_multi_label`, `dropout` (of the input of the last layer of a
            classification head), `initializer_range` (see `VocabularyConfig`), and what `PreTrainedConfig` takes.

    Raises:
        OptionError: an unknown modality or strategy, an encoder that does not read its modality, or a size out of
            range.
        VocabularyError: a vocabulary and sources that do not fit together.

    Example:
        >>> config = ClimbFusionConfig(modalities=["text", "signal"], strategy="cross_attention")
        >>> config.modalities, config.signal_config.model_type, config.text_config.hidden_size
        (['signal', 'text'], 'climb_ecg_jepa', 768)
    """

    model_type = "climb_fusion"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {
        f"{name}_config": SubConfigSpec(config_class=PreTrainedConfig, optional=True) for name in MODALITIES
    }

    modalities: list[str] = field(default_factory=lambda: list(MODALITIES))
    image_config: dict | PreTrainedConfig | None = None
    signal_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    strategy: str = "mlp"
    frozen: list[str] = field(default_factory=lambda: ["text"])
    text_pooling: str = "first"
    hidden_size: int = 512
    num_attention_heads: int = 8
    attention_head_size: int | None = None
    intermediate_size: int | None = None
    num_fusion_layers: int = 1
    head_divisors: list[int] | None = None
    head_activation: str | None = None
    head_dropout: float | int = 0.1
    positive_weight: float | int | None = None
    regression_targets: list[str] = field(default_factory=list)
    target_mean: list[float] | None = None
    target_scale: list[float] | None = None

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - unknown keys become attributes, as in the base
        self._check_modalities()
        for name in MODALITIES:
            given = getattr(self, f"{name}_config")
            setattr(self, f"{name}_config", self._encoder(name, given) if name in self.modalities else None)
        super().__post_init__(**kwargs)
        self._check_strategy()
        self._check_heads()

    @property
    def encoder_configs(self) -> dict[str, PreTrainedConfig]:
        """Configuration of the encoder of every modality that is fused, in order."""
        return {name: getattr(self, f"{name}_config") for name in self.modalities}

    @classmethod
    def from_encoders(cls, **encoders: Any) -> Self:  # noqa: ANN401 - configurations, and fields
        """Return the configuration of a fusion of encoders.

        Args:
            **encoders: `image`, `signal`, `text`: configuration of an encoder, or a model that has one; those that
                are absent are not fused. Everything else is a field of the configuration.

        Returns:
            `ClimbFusionConfig`.

        Raises:
            OptionError: see the class.

        Example:
            >>> from climb_hf.models import EcgJepaConfig
            >>> ClimbFusionConfig.from_encoders(signal=EcgJepaConfig(), strategy="late").modalities
            ['signal']
        """
        given = {name: encoders.pop(name, None) for name in MODALITIES}
        configs = {name: getattr(one, "config", one) for name, one in given.items() if one is not None}
        parts = {f"{name}_config": one.to_dict() for name, one in configs.items()}
        return cls(**{"modalities": list(configs), **parts, **encoders})

    def _check_modalities(self) -> None:
        for key in ("modalities", "frozen"):
            value = getattr(self, key)
            if isinstance(value, str) or (unknown := [name for name in value if name not in MODALITIES]):
                wrong = value if isinstance(value, str) else unknown
                raise OptionError(f"`{key}` must be a list of some of {list(MODALITIES)}, but holds {wrong!r}.")
        self.modalities = [name for name in MODALITIES if name in self.modalities]
        self.frozen = [name for name in MODALITIES if name in self.frozen and name in self.modalities]
        if not self.modalities:
            raise OptionError(f"`modalities` is empty; name at least one of {list(MODALITIES)}.")

    @staticmethod
    def _encoder(name: str, given: Any) -> PreTrainedConfig:  # noqa: ANN401 - a dictionary or a configuration
        """Return the configuration of an encoder, checked for what it reads."""
        if given is None:
            given = _default(name)
        if isinstance(given, dict):
            from transformers import CONFIG_MAPPING

            fields = dict(given)
            kind = fields.pop("model_type", None)
            if kind is None or kind not in CONFIG_MAPPING:
                raise OptionError(
                    f"`{name}_config` must say a `model_type` that transformers or climb-hf knows, but says {kind!r}."
                )
            given = CONFIG_MAPPING[kind](**fields)
        from climb_hf.models.catalogue import MODELS

        entry = next((one for one in MODELS if f"climb_{one.name}" == given.model_type), None)
        reads = None if entry is None else entry.inputs
        if name == "text" and entry is not None:
            raise OptionError(f"`text_config` must be that of a text encoder, but `{entry.stem}` reads {reads}.")
        if name != "text" and reads not in _INPUTS[name]:
            known = [one.name for one in MODELS if one.inputs in _INPUTS[name]]
            raise OptionError(
                f"`{name}_config` must be that of an encoder of ours that reads {' or '.join(_INPUTS[name])} "
                f"({', '.join(known)}), but is `{given.model_type}`. Any timm or transformers backbone of pictures "
                "goes into a `climb_vision`."
            )
        if name == "text" and not isinstance(getattr(given, "hidden_size", None), int):
            raise OptionError(f"`text_config` of the type `{given.model_type}` has no `hidden_size`.")
        return given

    def _check_strategy(self) -> None:
        for key, choices in (("strategy", STRATEGIES), ("text_pooling", _TEXT_POOLING)):
            if getattr(self, key) not in choices:
                raise OptionError(f"`{key}` must be one of {choices}, but is {getattr(self, key)!r}.")
        if self.strategy == "cross_attention" and self.modalities == ["text"]:
            raise OptionError(
                "`strategy='cross_attention'` needs tokens that the text can ask, but `modalities` is ['text']; add "
                "`image` or `signal`, or choose `mlp`."
            )
        sizes = ("hidden_size", "num_attention_heads", "num_fusion_layers", "attention_head_size", "intermediate_size")
        for key in sizes:
            value = getattr(self, key)
            if value is not None and value < 1:
                raise OptionError(f"`{key}` must be at least 1, but is {value!r}.")
        if self.attention_head_size is None and self.hidden_size % self.num_attention_heads:
            raise OptionError(
                f"`num_attention_heads` ({self.num_attention_heads}) must divide `hidden_size` ({self.hidden_size}), "
                "or `attention_head_size` must be given."
            )

    def _check_heads(self) -> None:
        if self.head_activation not in (None, *_ACTIVATIONS):
            raise OptionError(f"`head_activation` must be one of {_ACTIVATIONS}, but is {self.head_activation!r}.")
        if any(type(divisor) is not int or divisor < 1 for divisor in self.head_divisors or ()):
            raise OptionError(f"`head_divisors` must be whole numbers from 1 on, but is {self.head_divisors!r}.")
        if not 0 <= self.head_dropout < 1:
            raise OptionError(f"`head_dropout` must be a probability in [0, 1), but is {self.head_dropout!r}.")
        if self.positive_weight is not None and not self.positive_weight > 0:
            raise OptionError(f"`positive_weight` must be above 0, but is {self.positive_weight!r}.")
        for key in ("target_mean", "target_scale"):
            value = getattr(self, key)
            if value is not None and len(value) != len(self.regression_targets):
                raise OptionError(
                    f"`{key}` must have one number for each of `regression_targets` {self.regression_targets}, but is "
                    f"{value!r}."
                )
        if any(not scale > 0 for scale in self.target_scale or ()):
            raise OptionError(f"`target_scale` must be above 0, but is {self.target_scale!r}.")


def _default(name: str) -> PreTrainedConfig | dict[str, Any]:
    """The encoders of the CLIMB paper's fusion experiments."""
    if name == "image":
        from climb_hf.models.vision.configuration_vision import ClimbVisionConfig

        return ClimbVisionConfig.preset("convnextv2_base")
    if name == "signal":
        from climb_hf.models.ecg_jepa.configuration_ecg_jepa import EcgJepaConfig

        return EcgJepaConfig()
    return dict(_CLINICAL_BERT)
