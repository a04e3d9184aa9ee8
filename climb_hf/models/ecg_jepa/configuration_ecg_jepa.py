"""Configuration of ECG-JEPA."""

from typing import Any

from climb_hf.errors import OptionError
from climb_hf.models.vocabulary_config import VocabularyConfig

__all__ = ["EcgJepaConfig"]

_STRATEGIES = ("block", "random")


class EcgJepaConfig(VocabularyConfig):
    """Configuration of `EcgJepaModel`, `EcgJepaForClassification` and `EcgJepaForPretraining`.

    The defaults are those of the published encoder (`sehunfromdaegu/ECG_JEPA`).

    Args:
        num_channels (`int`, *optional*, defaults to `8`): leads, in the order I, II, V1–V6.
        signal_length (`int`, *optional*, defaults to `2500`): samples per record, 10 s at 250 Hz.
        patch_size (`int`, *optional*, defaults to `50`): samples per token; must divide `signal_length`.
        hidden_size (`int`, *optional*, defaults to `768`): width of the tokens; a multiple of 4 (positions) and of the
            number of heads.
        num_hidden_layers (`int`, *optional*, defaults to `12`): blocks of the encoder.
        num_attention_heads (`int`, *optional*, defaults to `16`): heads of a block.
        intermediate_size (`int`, *optional*): width of the feed-forward layers; defaults to 4 × `hidden_size`.
        layer_norm_eps (`float`, *optional*, defaults to `1e-5`): of every layer norm.
        drop_path_rate (`float`, *optional*, defaults to `0.0`):
            probability of dropping a branch in the last block, falling linearly to 0 in the first; 0.1 in pretraining.
        predictor_hidden_size (`int`, *optional*, defaults to `384`): width of the predictor (pretraining only).
        predictor_num_layers (`int`, *optional*, defaults to `6`): its blocks.
        predictor_num_heads (`int`, *optional*, defaults to `12`): its heads.
        masking (`str`, *optional*, defaults to `"block"`):
            how pretraining hides patches: `"block"` (four blocks) or `"random"` (scattered).
        **kwargs: see `VocabularyConfig`.

    Raises:
        OptionError: a size out of range, or sizes that do not fit together.
        VocabularyError: a vocabulary and sources that do not fit together.

    Example:
        >>> EcgJepaConfig().num_patches, EcgJepaConfig(hidden_size=64, num_attention_heads=4).intermediate_size
        (50, 256)
    """

    model_type = "climb_ecg_jepa"

    num_channels: int = 8
    signal_length: int = 2500
    patch_size: int = 50
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 16
    intermediate_size: int | None = None
    layer_norm_eps: float = 1e-5
    drop_path_rate: float | int = 0.0
    predictor_hidden_size: int = 384
    predictor_num_layers: int = 6
    predictor_num_heads: int = 12
    masking: str = "block"

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - unknown keys become attributes, as in the base
        super().__post_init__(**kwargs)
        if self.intermediate_size is None:
            self.intermediate_size = 4 * self.hidden_size
        self._check_sizes()
        if not 0 <= self.drop_path_rate < 1:
            raise OptionError(f"`drop_path_rate` must be in [0, 1), but is {self.drop_path_rate!r}.")
        if self.masking not in _STRATEGIES:
            raise OptionError(f"`masking` must be one of {_STRATEGIES}, but is {self.masking!r}.")

    def _check_sizes(self) -> None:
        sizes = ("num_channels", "signal_length", "patch_size", "hidden_size", "num_hidden_layers")
        for name in (*sizes, "num_attention_heads", "intermediate_size", "predictor_hidden_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"`{name}` must be at least 1, but is {getattr(self, name)!r}.")
        if self.signal_length % self.patch_size:
            raise OptionError(
                f"`patch_size` must divide `signal_length`, but {self.signal_length} is no multiple of "
                f"{self.patch_size}."
            )
        for width, heads in (
            ("hidden_size", "num_attention_heads"),
            ("predictor_hidden_size", "predictor_num_heads"),
        ):
            if getattr(self, width) % 4 or getattr(self, width) % getattr(self, heads):
                raise OptionError(
                    f"`{width}` must be a multiple of 4 and of `{heads}`, but {getattr(self, width)} is not (heads: "
                    f"{getattr(self, heads)})."
                )

    @property
    def num_patches(self) -> int:
        """Patches per lead."""
        return self.signal_length // self.patch_size
