"""Configuration of SPaRCNet."""

from typing import Any

from climb_hf.errors import OptionError
from climb_hf.models.spectrogram_config import check_sizes
from climb_hf.models.vocabulary_config import VocabularyConfig

__all__ = ["SparcNetConfig"]


class SparcNetConfig(VocabularyConfig):
    """Configuration of `SparcNetModel` and `SparcNetForClassification`.

    The defaults are those of the BIOT paper's baseline: 16 channels, 10 s at 200 Hz.

    Args:
        num_channels (`int`, *optional*, defaults to `16`): channels c of the signal; the first convolution has
            2^(⌊log2 c⌋ + 1) outputs.
        signal_length (`int`, *optional*, defaults to `2000`): samples that the depth is made for. Windows of other
            lengths are encoded, too, as long as every block leaves a step of them.
        num_blocks (`int`, *optional*): dense blocks, each of which halves time; defaults to
            ⌊log2(⌊`signal_length` / 4⌋)⌋, which is 8 for 2,000 samples and 7 for 1,000.
        layers_per_block (`int`, *optional*, defaults to `4`): dense layers of a block.
        growth_rate (`int`, *optional*, defaults to `16`): channels that a dense layer adds.
        bottleneck_size (`int`, *optional*, defaults to `256`): channels between the two convolutions of a dense layer.
        hidden_dropout (`float`, *optional*, defaults to `0.5`): of what a dense layer adds, in [0, 1).
        **kwargs: see `VocabularyConfig`.

    Raises:
        OptionError: a size below 1, a probability outside [0, 1), or more blocks than the signal is long for.
        VocabularyError: a vocabulary and sources that do not fit together.

    Example:
        >>> config = SparcNetConfig(signal_length=1000)
        >>> config.depth, config.widths, config.hidden_size
        (7, [32, 48, 56, 60, 62, 63, 63, 63], 63)
    """

    model_type = "climb_sparcnet"

    num_channels: int = 16
    signal_length: int = 2000
    num_blocks: int | None = None
    layers_per_block: int = 4
    growth_rate: int = 16
    bottleneck_size: int = 256
    hidden_dropout: float | int = 0.5

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - unknown keys become attributes, as in the base
        super().__post_init__(**kwargs)
        check_sizes(self, "num_channels", "signal_length", "layers_per_block", "growth_rate", "bottleneck_size")
        if self.num_blocks is not None:
            check_sizes(self, "num_blocks")
        if not 0 <= self.hidden_dropout < 1:
            raise OptionError(f"`hidden_dropout` must be a probability in [0, 1), but is {self.hidden_dropout!r}.")
        if self.depth < 1 or self.steps(self.signal_length) < 1:
            raise OptionError(
                f"`signal_length` must leave a step after every dense block, but {self.signal_length} samples are too "
                f"few for {self.depth or 'any'}. Use longer signals, or fewer `num_blocks`."
            )

    @property
    def depth(self) -> int:
        """Dense blocks: `num_blocks`, or what `signal_length` gives."""
        return max((self.signal_length // 4).bit_length() - 1, 0) if self.num_blocks is None else self.num_blocks

    @property
    def widths(self) -> list[int]:
        """Channels after the first convolution and after every block: a block adds its layers', then halves all."""
        widths = [1 << self.num_channels.bit_length()]
        for _ in range(self.depth):
            widths.append((widths[-1] + self.layers_per_block * self.growth_rate) // 2)
        return widths

    @property
    def hidden_size(self) -> int:
        """Width of the tokens and of the feature."""
        return self.widths[-1]

    def steps(self, length: int) -> int:
        """Return how many steps are left of a signal after the last block.

        Args:
            length (`int`): samples.

        Returns:
            `int`: 0 where the signal is too short.

        Example:
            >>> SparcNetConfig().steps(2000), SparcNetConfig().steps(2047), SparcNetConfig().steps(1000)
            (1, 2, 0)
        """
        return (length + 3) // 4 >> self.depth  # convolution and pooling of the stem round up, the blocks down
