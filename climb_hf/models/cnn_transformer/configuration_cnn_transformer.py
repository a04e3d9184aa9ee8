"""Configuration of the CNN-Transformer."""

from typing import Any

from climb_hf.errors import OptionError
from climb_hf.models.spectrogram_config import SpectrogramConfig, check_sizes

__all__ = ["CnnTransformerConfig"]


class CnnTransformerConfig(SpectrogramConfig):
    """Configuration of `CnnTransformerModel` and `CnnTransformerForClassification`.

    The defaults are those of the BIOT paper's baseline: 16 channels at 200 Hz, five segments. Windows of any length
    are encoded whose segments are longer than half a spectrogram's window.

    Args:
        num_channels (`int`, *optional*, defaults to `16`): channels of the signal.
        num_segments (`int`, *optional*, defaults to `5`): equal segments of the signal, one token each.
        num_hidden_layers (`int`, *optional*, defaults to `4`): layers of the transformer.
        num_attention_heads (`int`, *optional*, defaults to `4`): heads of a layer; must divide the last of
            `hidden_sizes`, which is the width of the transformer.
        intermediate_size (`int`, *optional*, defaults to `256`): width of the feed-forward layers.
        position_dropout (`float`, *optional*, defaults to `0.1`): of the tokens, after their positions are added.
        transformer_dropout (`float`, *optional*, defaults to `0.2`): of attention and feed-forward layers.
        joint_segments (`bool`, *optional*, defaults to `False`): in training, whether a batch norm takes all segments
            of a batch together; otherwise it takes the first segment of all rows, then the second, and so on. No
            effect in evaluation.
        n_fft (`int`, *optional*, defaults to `200`): samples of a spectrogram's window.
        hop_length (`int`, *optional*, defaults to `10`): samples from one window to the next.
        hidden_sizes (`list[int]`, *optional*, defaults to `[32, 64, 128, 256]`): channels after each residual block.
        hidden_dropout (`float`, *optional*, defaults to `0.5`): after each residual block.
        **kwargs: see `VocabularyConfig`.

    Raises:
        OptionError: a size below 1, a probability outside [0, 1), or heads that do not divide the width.
        VocabularyError: a vocabulary and sources that do not fit together.

    Example:
        >>> CnnTransformerConfig(hidden_sizes=[32, 64]).hidden_size
        64
    """

    model_type = "climb_cnn_transformer"

    num_segments: int = 5
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    intermediate_size: int = 256
    position_dropout: float | int = 0.1
    transformer_dropout: float | int = 0.2
    joint_segments: bool = False

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - unknown keys become attributes, as in the base
        super().__post_init__(**kwargs)
        check_sizes(self, "num_segments", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        self.check_probability("position_dropout")
        self.check_probability("transformer_dropout")
        if self.hidden_size % self.num_attention_heads:
            raise OptionError(
                f"`num_attention_heads` must divide the last of `hidden_sizes`, but {self.hidden_size} is no multiple "
                f"of {self.num_attention_heads}."
            )

    @property
    def hidden_size(self) -> int:
        """Width of the tokens and of the feature."""
        return self.hidden_sizes[-1]
