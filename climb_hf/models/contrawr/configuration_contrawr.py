"""Configuration of ContraWR."""

from climb_hf.models.spectrogram_config import SpectrogramConfig

__all__ = ["ContraWrConfig"]


class ContraWrConfig(SpectrogramConfig):
    """Configuration of `ContraWrModel` and `ContraWrForClassification`.

    The defaults are those of the BIOT paper's baseline: 16 channels at 200 Hz. Windows of any length above half a
    second are encoded; the head of the paper was trained on 10 s (2,000 samples) or 5 s.

    Args:
        num_channels (`int`, *optional*, defaults to `16`): channels of the signal.
        n_fft (`int`, *optional*, defaults to `200`): samples of a spectrogram's window.
        hop_length (`int`, *optional*, defaults to `10`): samples from one window to the next.
        hidden_sizes (`list[int]`, *optional*, defaults to `[32, 64, 128, 256]`): channels after each residual block.
        hidden_dropout (`float`, *optional*, defaults to `0.5`): after each residual block.
        **kwargs: see `VocabularyConfig`.

    Raises:
        OptionError: a size below 1, or a probability outside [0, 1).
        VocabularyError: a vocabulary and sources that do not fit together.

    Example:
        >>> ContraWrConfig(num_channels=18).hidden_size
        256
    """

    model_type = "climb_contrawr"

    @property
    def hidden_size(self) -> int:
        """Width of the feature."""
        return self.hidden_sizes[-1]
