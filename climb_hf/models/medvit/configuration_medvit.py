"""Configuration of MedViT."""

from dataclasses import field
from typing import Any, Self

from climb_hf.errors import OptionError
from climb_hf.models.vocabulary_config import VocabularyConfig

__all__ = ["PERIOD", "MedVitConfig"]

#: Blocks per stage and drop-path rate of the published sizes; everything else they share.
_PRESETS: dict[str, dict[str, Any]] = {
    "small": {"depths": [3, 4, 10, 3], "drop_path_rate": 0.1},
    "base": {"depths": [3, 4, 20, 3], "drop_path_rate": 0.2},
    "large": {"depths": [3, 4, 30, 3], "drop_path_rate": 0.2},
}
_STAGES = 4
#: In the third stage every block of this number is a transformer block.
PERIOD = 5


class MedVitConfig(VocabularyConfig):
    """Configuration of `MedVitModel` and `MedVitForClassification`.

    The defaults are those of MedViT-L (`Omid-Nejati/MedViT`), which the CLIMB paper names; `MedVitConfig.preset` has
    the three sizes. Blocks are convolutional, except the last of the second and of the fourth stage and every fifth of
    the third, which are transformer blocks.

    Args:
        num_channels (`int`, *optional*, defaults to `3`): channels of the pictures; one channel is repeated.
        image_size (`int`, *optional*, defaults to `384`):
            side in pixels that pictures are prepared at. The model itself takes any size, square or not, that leaves
            its transformer blocks a key (25 pixels a side for the published ratios).
        stem_widths (`list[int]`, *optional*, defaults to `[64, 32, 64, 64]`):
            widths of the four 3×3 convolutions before the stages; the first and the last have stride 2.
        depths (`list[int]`, *optional*, defaults to `[3, 4, 30, 3]`): blocks of each of the four stages.
        conv_widths (`list[int]`, *optional*, defaults to `[96, 192, 384, 768]`):
            width of the convolutional blocks, by stage; multiples of `head_dim`.
        transformer_widths (`list[int]`, *optional*, defaults to `[256, 512, 1024]`):
            width of the transformer blocks of the second, third and fourth stage. The last is the feature's width.
        reduction_ratios (`list[int]`, *optional*, defaults to `[4, 2, 1]`):
            of the transformer blocks by stage: keys and values are means over r² tokens.
        head_dim (`int`, *optional*, defaults to `32`): width of an attention head and of a group of the convolutions.
        attention_share (`float`, *optional*, defaults to `0.75`):
            share of a transformer block's width that attention makes, rounded to a multiple of `head_dim`; its
            convolution makes the rest.
        conv_expansion (`int`, *optional*, defaults to `3`):
            hidden width of the feed-forward layer of a convolutional block, as a multiple of its width.
        transformer_expansion (`int`, *optional*, defaults to `2`): the same of a transformer block.
        batch_norm_eps (`float`, *optional*, defaults to `1e-5`): of every batch norm.
        drop_path_rate (`float`, *optional*, defaults to `0.2`):
            probability of dropping a branch in the last block, falling linearly to 0 in the first.
        **kwargs: see `VocabularyConfig`.

    Raises:
        OptionError: a size out of range, or sizes that do not fit together.
        VocabularyError: a vocabulary and sources that do not fit together.

    Example:
        >>> MedVitConfig().depths, MedVitConfig.preset("small").depths, MedVitConfig().hidden_size
        ([3, 4, 30, 3], [3, 4, 10, 3], 1024)
    """

    model_type = "climb_medvit"

    num_channels: int = 3
    image_size: int = 384
    stem_widths: list[int] = field(default_factory=lambda: [64, 32, 64, 64])
    depths: list[int] = field(default_factory=lambda: [3, 4, 30, 3])
    conv_widths: list[int] = field(default_factory=lambda: [96, 192, 384, 768])
    transformer_widths: list[int] = field(default_factory=lambda: [256, 512, 1024])
    reduction_ratios: list[int] = field(default_factory=lambda: [4, 2, 1])
    head_dim: int = 32
    attention_share: float = 0.75
    conv_expansion: int = 3
    transformer_expansion: int = 2
    batch_norm_eps: float = 1e-5
    drop_path_rate: float | int = 0.2

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - unknown keys become attributes, as in the base
        super().__post_init__(**kwargs)
        self._check_lists()
        for name in ("num_channels", "image_size", "head_dim", "conv_expansion", "transformer_expansion"):
            if getattr(self, name) < 1:
                raise OptionError(f"`{name}` must be at least 1, but is {getattr(self, name)!r}.")
        if not 0 <= self.drop_path_rate < 1:
            raise OptionError(f"`drop_path_rate` must be in [0, 1), but is {self.drop_path_rate!r}.")
        self._check_widths()

    @classmethod
    def preset(cls, name: str, **fields: Any) -> Self:  # noqa: ANN401 - fields of the configuration
        """Return the configuration of a published size.

        Args:
            name (`str`): `"small"`, `"base"` or `"large"`.
            **fields: fields that take precedence.

        Returns:
            `MedVitConfig`.

        Raises:
            OptionError: no such size.

        Example:
            >>> MedVitConfig.preset("base", vocabulary=["nevus"]).drop_path_rate
            0.2
        """
        if name not in _PRESETS:
            raise OptionError(f"MedViT has the sizes {', '.join(map(repr, _PRESETS))}, but {name!r} was asked for.")
        return cls(**{**{key: _copied(value) for key, value in _PRESETS[name].items()}, **fields})

    @property
    def hidden_size(self) -> int:
        """Width of the feature."""
        return self.transformer_widths[-1]

    def attention_width(self, width: int) -> int:
        """Return the part of a transformer block's width that attention makes: the nearest multiple of `head_dim`."""
        return max(int(self.attention_share * width + self.head_dim / 2) // self.head_dim, 1) * self.head_dim

    def transformer_blocks(self, stage: int) -> list[bool]:
        """Tell of each block of a stage, counted from 0, whether it is a transformer block."""
        depth = self.depths[stage]
        if stage == 0:
            return [False] * depth
        if stage == 2:
            return [(index + 1) % PERIOD == 0 for index in range(depth)]
        return [index + 1 == depth for index in range(depth)]

    def _check_lists(self) -> None:
        lengths = {"stem_widths": 4, "depths": _STAGES, "conv_widths": _STAGES}
        lengths |= {"transformer_widths": _STAGES - 1, "reduction_ratios": _STAGES - 1}
        for name, length in lengths.items():
            values = list(getattr(self, name))
            if len(values) != length or not all(type(value) is int and value > 0 for value in values):
                raise OptionError(f"`{name}` must be {length} whole numbers above 0, but is {getattr(self, name)!r}.")
            setattr(self, name, values)

    def _check_widths(self) -> None:
        if odd := [width for width in self.conv_widths if width % self.head_dim]:
            raise OptionError(f"`conv_widths` must be multiples of `head_dim` ({self.head_dim}), but {odd} are not.")
        for width in self.transformer_widths:
            rest = width - self.attention_width(width)
            if rest < 1 or rest % self.head_dim:
                raise OptionError(
                    f"`transformer_widths` must split into an attention part of about {self.attention_share:g} and a "
                    f"rest, both multiples of `head_dim` ({self.head_dim}), but {width} splits into "
                    f"{self.attention_width(width)} and {rest}."
                )


def _copied(value: Any) -> Any:  # noqa: ANN401 - a list or a number
    return list(value) if isinstance(value, list) else value
