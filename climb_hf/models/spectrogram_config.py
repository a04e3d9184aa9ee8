"""The part of a configuration that the encoders of spectrograms share."""

from dataclasses import field
from typing import Any

from climb_hf.errors import OptionError
from climb_hf.models.vocabulary_config import VocabularyConfig

__all__ = ["SpectrogramConfig", "check_sizes"]


def check_sizes(config: VocabularyConfig, *names: str) -> None:
    """Check that fields of a configuration are at least 1.

    Args:
        config (`VocabularyConfig`): the configuration.
        *names (`str`): its fields.

    Raises:
        OptionError: one is not.
    """
    for name in names:
        if getattr(config, name) < 1:
            raise OptionError(f"`{name}` must be at least 1, but is {getattr(config, name)!r}.")


class SpectrogramConfig(VocabularyConfig):
    """Base of the configurations of `ContraWr`, `CnnTransformer` and `Ffcl`.

    Args:
        num_channels (`int`, *optional*, defaults to `16`): channels of the signal.
        n_fft (`int`, *optional*, defaults to `200`): samples of a window, 1 s at 200 Hz; gives n_fft // 2 + 1
            frequencies.
        hop_length (`int`, *optional*, defaults to `10`): samples from one window to the next.
        hidden_sizes (`list[int]`, *optional*, defaults to `[32, 64, 128, 256]`): channels after each residual block.
        hidden_dropout (`float`, *optional*, defaults to `0.5`): after each residual block, in [0, 1).
        **kwargs: see `VocabularyConfig`.

    Raises:
        OptionError: a size below 1, or a probability outside [0, 1).
        VocabularyError: a vocabulary and sources that do not fit together.
    """

    num_channels: int = 16
    n_fft: int = 200
    hop_length: int = 10
    hidden_sizes: list[int] = field(default_factory=lambda: [32, 64, 128, 256])
    hidden_dropout: float | int = 0.5

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - unknown keys become attributes, as in the base
        super().__post_init__(**kwargs)
        check_sizes(self, "num_channels", "n_fft", "hop_length")
        self.hidden_sizes = list(self.hidden_sizes)
        if not self.hidden_sizes or min(self.hidden_sizes) < 1:
            raise OptionError(f"`hidden_sizes` must be numbers of channels above 0, but is {self.hidden_sizes!r}.")
        self.check_probability("hidden_dropout")

    def check_probability(self, name: str) -> None:
        """Check that a field is a probability below 1.

        Args:
            name (`str`): the field.

        Raises:
            OptionError: it is not.
        """
        if not 0 <= getattr(self, name) < 1:
            raise OptionError(f"`{name}` must be a probability in [0, 1), but is {getattr(self, name)!r}.")
