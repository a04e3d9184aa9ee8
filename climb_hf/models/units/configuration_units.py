"""Configuration of UniTS."""

from dataclasses import field
from typing import Any

from climb_hf.errors import OptionError
from climb_hf.models.vocabulary_config import VocabularyConfig

__all__ = ["UnitsConfig"]

_SIZES = (
    "num_channels",
    "patch_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_prompt_tokens",
    "intermediate_size",
    "token_map_size",
    "class_head_size",
    "reconstruction_size",
    "reconstruction_map_size",
    "max_positions",
)


class UnitsConfig(VocabularyConfig):
    """Configuration of `UnitsModel`, `UnitsForClassification` and `UnitsForPretraining`.

    The published sizes x32, x64 and x128 (`mims-harvard/UniTS`) differ in `hidden_size` only. The size that the CLIMB
    paper used is not stated; 64 is that of the published supervised weights.

    Args:
        num_channels (`int`, *optional*, defaults to `12`): variables; the leads of an ECG.
        patch_size (`int`, *optional*, defaults to `16`): samples per token; the end is padded with zeros.
        hidden_size (`int`, *optional*, defaults to `64`): width of the tokens: 32, 64 or 128; even, and a multiple of
            the number of heads.
        num_hidden_layers (`int`, *optional*, defaults to `3`): blocks.
        num_attention_heads (`int`, *optional*, defaults to `8`): heads of every attention.
        num_prompt_tokens (`int`, *optional*, defaults to `10`): learned tokens before the data of each variable.
        intermediate_size (`int`, *optional*): hidden channels of a block's dynamic MLP, even; defaults to
            8 × `hidden_size`.
        token_map_size (`int`, *optional*): tokens for which the maps along time are stored; they are resized to the
            input's. Defaults to `intermediate_size` / 4.
        class_head_size (`int`, *optional*): hidden width of the class head's MLP; defaults to 8 × `hidden_size`.
        reconstruction_size (`int`, *optional*): that of the reconstruction heads (pretraining only); defaults to
            4 × `hidden_size`.
        reconstruction_map_size (`int`, *optional*, defaults to `128`): as `token_map_size`, for reconstruction.
        max_positions (`int`, *optional*, defaults to `5000`): the most data tokens of a variable.
        hidden_dropout (`float`, *optional*, defaults to `0.1`): of the embedding and the feed-forward layers.
        mask_ratio (`list[float]`, *optional*, defaults to `[0.7, 0.8]`): range of the share of tokens that pretraining
            hides.
        right_mask_probability (`float`, *optional*, defaults to `0.5`): how often it hides the end of the records
            instead of scattered tokens.
        min_crop (`float`, *optional*, defaults to `0.5`): in training it crops batches to a random part of their
            length, at least this one; 1 crops nothing.
        **kwargs: see `VocabularyConfig`.

    Raises:
        OptionError: a value out of range, or sizes that do not fit together.
        VocabularyError: a vocabulary and sources that do not fit together.

    Example:
        >>> UnitsConfig().intermediate_size, UnitsConfig(hidden_size=128).token_map_size
        (512, 256)
    """

    model_type = "climb_units"

    num_channels: int = 12
    patch_size: int = 16
    hidden_size: int = 64
    num_hidden_layers: int = 3
    num_attention_heads: int = 8
    num_prompt_tokens: int = 10
    intermediate_size: int | None = None
    token_map_size: int | None = None
    class_head_size: int | None = None
    reconstruction_size: int | None = None
    reconstruction_map_size: int = 128
    max_positions: int = 5000
    hidden_dropout: float | int = 0.1
    mask_ratio: list[float] = field(default_factory=lambda: [0.7, 0.8])
    right_mask_probability: float | int = 0.5
    min_crop: float | int = 0.5

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - unknown keys become attributes, as in the base
        super().__post_init__(**kwargs)
        if self.intermediate_size is None:
            self.intermediate_size = 8 * self.hidden_size
        if self.token_map_size is None:
            self.token_map_size = self.intermediate_size // 4
        if self.class_head_size is None:
            self.class_head_size = 8 * self.hidden_size
        if self.reconstruction_size is None:
            self.reconstruction_size = 4 * self.hidden_size
        self._check_sizes()
        self._check_pretraining()

    def _check_sizes(self) -> None:
        for name in _SIZES:
            if getattr(self, name) < 1:
                raise OptionError(f"`{name}` must be at least 1, but is {getattr(self, name)!r}.")
        if self.hidden_size % 2 or self.hidden_size % self.num_attention_heads:
            raise OptionError(
                f"`hidden_size` must be even and a multiple of `num_attention_heads`, but {self.hidden_size} is not "
                f"(heads: {self.num_attention_heads})."
            )
        if int(self.intermediate_size or 0) % 2:
            raise OptionError(f"`intermediate_size` must be even, but is {self.intermediate_size}.")
        for name in ("token_map_size", "reconstruction_map_size"):
            if getattr(self, name) <= self.num_prompt_tokens:
                raise OptionError(
                    f"`{name}` must be above `num_prompt_tokens` ({self.num_prompt_tokens}), as these have fixed "
                    f"columns of it, but is {getattr(self, name)}."
                )
        if not 0 <= self.hidden_dropout < 1:
            raise OptionError(f"`hidden_dropout` must be a probability in [0, 1), but is {self.hidden_dropout!r}.")

    def _check_pretraining(self) -> None:
        self.mask_ratio = list(self.mask_ratio)
        if len(self.mask_ratio) != 2 or not 0 < self.mask_ratio[0] <= self.mask_ratio[1] < 1:
            raise OptionError(f"`mask_ratio` must be two rising shares in (0, 1), but is {self.mask_ratio}.")
        if not 0 <= self.right_mask_probability <= 1:
            raise OptionError(
                f"`right_mask_probability` must be a probability, but is {self.right_mask_probability!r}."
            )
        if not 0 < self.min_crop <= 1:
            raise OptionError(f"`min_crop` must be a share in (0, 1], but is {self.min_crop!r}.")
