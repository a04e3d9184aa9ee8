"""Configuration of FFCL."""

from typing import Any

from climb_hf.errors import OptionError
from climb_hf.models.spectrogram_config import SpectrogramConfig, check_sizes

__all__ = ["FfclConfig"]


class FfclConfig(SpectrogramConfig):
    """Configuration of `FfclModel` and `FfclForClassification`.

    The defaults are those of the BIOT paper's baseline: 16 channels, 10 s at 200 Hz.

    Args:
        num_channels (`int`, *optional*, defaults to `16`): channels of the signal.
        signal_length (`int`, *optional*, defaults to `2000`): samples of the signal; part of the LSTM's weights.
        num_phases (`int`, *optional*, defaults to `20`): interleaved parts of the signal that the LSTM walks over;
            must divide `signal_length`.
        lstm_hidden_size (`int`, *optional*, defaults to `256`): width of the LSTM.
        lstm_num_layers (`int`, *optional*, defaults to `2`): its layers.
        lstm_dropout (`float`, *optional*, defaults to `0.5`): between its layers, in [0, 1).
        n_fft (`int`, *optional*, defaults to `200`): samples of a spectrogram's window.
        hop_length (`int`, *optional*, defaults to `10`): samples from one window to the next.
        hidden_sizes (`list[int]`, *optional*, defaults to `[32, 64, 128, 256]`): channels after each residual block.
        hidden_dropout (`float`, *optional*, defaults to `0.5`): after each residual block.
        **kwargs: see `VocabularyConfig`.

    Raises:
        OptionError: a size below 1, a probability outside [0, 1), or phases that do not divide the signal.
        VocabularyError: a vocabulary and sources that do not fit together.

    Example:
        >>> FfclConfig(signal_length=1000).hidden_size
        512
    """

    model_type = "climb_ffcl"

    signal_length: int = 2000
    num_phases: int = 20
    lstm_hidden_size: int = 256
    lstm_num_layers: int = 2
    lstm_dropout: float | int = 0.5

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - unknown keys become attributes, as in the base
        super().__post_init__(**kwargs)
        check_sizes(self, "signal_length", "num_phases", "lstm_hidden_size", "lstm_num_layers")
        self.check_probability("lstm_dropout")
        if self.signal_length % self.num_phases:
            raise OptionError(
                f"`num_phases` must divide `signal_length`, but {self.signal_length} is no multiple of "
                f"{self.num_phases}."
            )

    @property
    def hidden_size(self) -> int:
        """Width of the feature: that of the spectrogram, then that of the LSTM."""
        return self.hidden_sizes[-1] + self.lstm_hidden_size
