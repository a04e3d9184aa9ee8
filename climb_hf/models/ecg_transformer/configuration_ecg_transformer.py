"""Configuration of the plain ECG transformer."""

from typing import Any

from climb_hf.errors import OptionError
from climb_hf.models.vocabulary_config import VocabularyConfig

__all__ = ["EcgTransformerConfig"]


class EcgTransformerConfig(VocabularyConfig):
    """Configuration of `EcgTransformerModel` and `EcgTransformerForClassification`.

    The defaults are those of the BenchMD / DABS transformer in the CLIMB authors' repository, the baseline of the
    paper's Table 25.

    Args:
        num_channels (`int`, *optional*, defaults to `12`): leads.
        signal_length (`int`, *optional*, defaults to `5000`): samples per record, 10 s at 500 Hz.
        segment_length (`int`, *optional*, defaults to `25`): samples per token; must divide `signal_length`.
        hidden_size (`int`, *optional*, defaults to `256`): width of the tokens.
        num_hidden_layers (`int`, *optional*, defaults to `12`): blocks.
        num_attention_heads (`int`, *optional*, defaults to `8`): heads of a block.
        head_dim (`int`, *optional*, defaults to `64`): width of a head.
        intermediate_size (`int`, *optional*, defaults to `512`): width of the feed-forward layers.
        hidden_dropout (`float`, *optional*, defaults to `0.0`): of attention and feed-forward layers.
        **kwargs: see `VocabularyConfig`.

    Raises:
        OptionError: a size below 1, or segments that do not divide the record.
        VocabularyError: a vocabulary and sources that do not fit together.

    Example:
        >>> EcgTransformerConfig(signal_length=2500).num_segments
        100
    """

    model_type = "climb_ecg_transformer"

    num_channels: int = 12
    signal_length: int = 5000
    segment_length: int = 25
    hidden_size: int = 256
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    head_dim: int = 64
    intermediate_size: int = 512
    hidden_dropout: float | int = 0.0

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - unknown keys become attributes, as in the base
        super().__post_init__(**kwargs)
        sizes = ("num_channels", "signal_length", "segment_length", "hidden_size", "num_hidden_layers")
        for name in (*sizes, "num_attention_heads", "head_dim", "intermediate_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"`{name}` must be at least 1, but is {getattr(self, name)!r}.")
        if self.signal_length % self.segment_length:
            raise OptionError(
                f"`segment_length` must divide `signal_length`, but {self.signal_length} is no multiple of "
                f"{self.segment_length}."
            )

    @property
    def num_segments(self) -> int:
        """Tokens of a record, without the class token."""
        return self.signal_length // self.segment_length
