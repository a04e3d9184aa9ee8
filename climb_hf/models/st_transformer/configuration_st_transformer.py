"""Configuration of ST-Transformer."""

from typing import Any

from climb_hf.errors import OptionError
from climb_hf.models.vocabulary_config import VocabularyConfig

__all__ = ["StTransformerConfig"]

_CHANNEL_ATTENTION = ("published", "corrected")


class StTransformerConfig(VocabularyConfig):
    """Configuration of `StTransformerModel` and `StTransformerForClassification`.

    The defaults are those of the runs of `ycq091044/BIOT` on 10 s of 16 derivations at 200 Hz, the baseline of the
    CLIMB paper's Table 23.

    Args:
        num_channels (`int`, *optional*, defaults to `16`): channels.
        signal_length (`int`, *optional*, defaults to `2000`): samples per recording; a layer norm has this width.
        channel_attention (`str`, *optional*, defaults to `"published"`):
            `"published"`: the attention over channels has no effect, as in the code that gave the published numbers;
            `"corrected"`: each channel becomes the weighted sum of the channels that it attends to. The parameters
            are the same.
        pooling_size (`int`, *optional*, defaults to `100`): samples over which queries and keys of channels are
            averaged.
        score_steps (`int`, *optional*, defaults to `20`):
            the scores of channels are divided by its square root: 20, whatever the length.
        stem_channels (`int`, *optional*, defaults to `64`): channels after the first convolution.
        kernel_size (`int`, *optional*, defaults to `15`): samples that a convolution reads.
        stride (`int`, *optional*, defaults to `8`): samples between its outputs.
        hidden_size (`int`, *optional*, defaults to `256`): width of the tokens; a multiple of the number of heads.
        num_hidden_layers (`int`, *optional*, defaults to `4`): blocks.
        num_attention_heads (`int`, *optional*, defaults to `8`): heads of a block.
        intermediate_size (`int`, *optional*): width of the feed-forward layers; defaults to 4 × `hidden_size`.
        layer_norm_eps (`float`, *optional*, defaults to `1e-5`): of every layer norm.
        channel_dropout (`float`, *optional*, defaults to `0.3`): of the three projections of the channel attention.
        hidden_dropout (`float`, *optional*, defaults to `0.5`): of every residual branch and inside feed-forward
            layers.
        attention_dropout (`float`, *optional*, defaults to `0.5`): of the attention weights of the blocks.
        **kwargs: see `VocabularyConfig`.

    Raises:
        OptionError: a size out of range, or sizes that do not fit together.
        VocabularyError: a vocabulary and sources that do not fit together.

    Example:
        >>> StTransformerConfig().num_tokens, StTransformerConfig(signal_length=1000).num_tokens
        (30, 14)
    """

    model_type = "climb_st_transformer"

    num_channels: int = 16
    signal_length: int = 2000
    channel_attention: str = "published"
    pooling_size: int = 100
    score_steps: int = 20
    stem_channels: int = 64
    kernel_size: int = 15
    stride: int = 8
    hidden_size: int = 256
    num_hidden_layers: int = 4
    num_attention_heads: int = 8
    intermediate_size: int | None = None
    layer_norm_eps: float = 1e-5
    channel_dropout: float | int = 0.3
    hidden_dropout: float | int = 0.5
    attention_dropout: float | int = 0.5

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - unknown keys become attributes, as in the base
        super().__post_init__(**kwargs)
        if self.intermediate_size is None:
            self.intermediate_size = 4 * self.hidden_size
        sizes = ("num_channels", "signal_length", "pooling_size", "score_steps", "stem_channels", "kernel_size")
        for name in (*sizes, "stride", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"`{name}` must be at least 1, but is {getattr(self, name)!r}.")
        if self.channel_attention not in _CHANNEL_ATTENTION:
            raise OptionError(
                f"`channel_attention` must be one of {_CHANNEL_ATTENTION}, but is {self.channel_attention!r}."
            )
        if self.hidden_size % self.num_attention_heads:
            raise OptionError(
                f"`hidden_size` must be a multiple of `num_attention_heads`, but {self.hidden_size} is none of "
                f"{self.num_attention_heads}."
            )
        for name in ("channel_dropout", "hidden_dropout", "attention_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(f"`{name}` must be in [0, 1), but is {getattr(self, name)!r}.")
        shortest = max(self.pooling_size, (self.kernel_size - 1) * self.stride + self.kernel_size)
        if self.signal_length < shortest:
            raise OptionError(
                f"`signal_length` must be at least {shortest}, for `pooling_size` and two convolutions, but is "
                f"{self.signal_length}."
            )

    @property
    def num_tokens(self) -> int:
        """Tokens of a recording."""
        once = (self.signal_length - self.kernel_size) // self.stride + 1
        return (once - self.kernel_size) // self.stride + 1
