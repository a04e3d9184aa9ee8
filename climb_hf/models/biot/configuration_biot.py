"""Configuration of BIOT."""

from typing import Any

from climb_hf.errors import OptionError
from climb_hf.models.vocabulary_config import VocabularyConfig

__all__ = ["BiotConfig"]


class BiotConfig(VocabularyConfig):
    """Configuration of `BiotModel`, `BiotForClassification` and `BiotForPretraining`.

    The defaults are those of the published runs on 16 derivations at 200 Hz (`ycq091044/BIOT`).

    Args:
        num_channels (`int`, *optional*, defaults to `16`): channels of an input that comes without `channel_ids`.
        num_channel_tokens (`int`, *optional*):
            channels that the model knows, one learned token each; defaults to `channel_offset + num_channels`. The
            published encoders know 16 (the derivations of our datasets) or 18 (C3-A2 and C4-A1 follow). An encoder
            with 18 reads 16 channels where `num_channels` is 16.
        channel_offset (`int`, *optional*, defaults to `0`): the token of the first channel of an input without
            `channel_ids`; the others follow it.
        fft_size (`int`, *optional*, defaults to `200`): samples of a frame; it has `fft_size // 2 + 1` frequencies.
        hop_length (`int`, *optional*, defaults to `100`): samples between the starts of two frames.
        max_frames (`int`, *optional*, defaults to `1000`): frames of the longest input.
        hidden_size (`int`, *optional*, defaults to `256`): width of the tokens; even, a multiple of the heads.
        num_hidden_layers (`int`, *optional*, defaults to `4`): blocks.
        num_attention_heads (`int`, *optional*, defaults to `8`): heads of a block.
        intermediate_size (`int`, *optional*): width of the feed-forward layers; defaults to 4 × `hidden_size`.
        layer_norm_eps (`float`, *optional*, defaults to `1e-5`): of every layer norm.
        embedding_dropout (`float`, *optional*, defaults to `0.1`): of the tokens before the first block.
        hidden_dropout (`float`, *optional*, defaults to `0.2`): of the output of every attention layer.
        temperature (`float`, *optional*, defaults to `0.2`): of the similarities (pretraining only).
        **kwargs: see `VocabularyConfig`.

    Raises:
        OptionError: a size out of range, or sizes that do not fit together.
        VocabularyError: a vocabulary and sources that do not fit together.

    Example:
        >>> BiotConfig().num_frames(2000), BiotConfig(hidden_size=64).intermediate_size
        (19, 256)
    """

    model_type = "climb_biot"

    num_channels: int = 16
    num_channel_tokens: int | None = None
    channel_offset: int = 0
    fft_size: int = 200
    hop_length: int = 100
    max_frames: int = 1000
    hidden_size: int = 256
    num_hidden_layers: int = 4
    num_attention_heads: int = 8
    intermediate_size: int | None = None
    layer_norm_eps: float = 1e-5
    embedding_dropout: float | int = 0.1
    hidden_dropout: float | int = 0.2
    temperature: float | int = 0.2

    def __post_init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - unknown keys become attributes, as in the base
        super().__post_init__(**kwargs)
        if self.intermediate_size is None:
            self.intermediate_size = 4 * self.hidden_size
        if self.num_channel_tokens is None:
            self.num_channel_tokens = self.channel_offset + self.num_channels
        self.check_sizes()

    def check_sizes(self) -> None:
        """Check the sizes against each other; the model calls it when it is built.

        Raises:
            OptionError: a size out of range, or sizes that do not fit together.
        """
        sizes = ("num_channels", "num_channel_tokens", "hop_length", "max_frames", "hidden_size", "num_hidden_layers")
        for name in (*sizes, "num_attention_heads", "intermediate_size"):
            if getattr(self, name) < 1:
                raise OptionError(f"`{name}` must be at least 1, but is {getattr(self, name)!r}.")
        if self.fft_size < 2:
            raise OptionError(f"`fft_size` must be at least 2, but is {self.fft_size!r}.")
        if self.hidden_size % 2 or self.hidden_size % self.num_attention_heads:
            raise OptionError(
                f"`hidden_size` must be even and a multiple of `num_attention_heads`, but {self.hidden_size} is not "
                f"(heads: {self.num_attention_heads})."
            )
        for name in ("embedding_dropout", "hidden_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise OptionError(f"`{name}` must be in [0, 1), but is {getattr(self, name)!r}.")
        if not self.temperature > 0:
            raise OptionError(f"`temperature` must be above 0, but is {self.temperature!r}.")
        needed, known = self.channel_offset + self.num_channels, int(self.num_channel_tokens or 0)
        if self.channel_offset < 0 or needed > known:
            raise OptionError(
                f"`channel_offset` {self.channel_offset} and `num_channels` {self.num_channels} ask for the channel "
                f"tokens {self.channel_offset} to {needed - 1}, but `num_channel_tokens` is {known}."
            )

    def num_frames(self, length: int) -> int:
        """Return the frames of a signal of so many samples; 0 where it is shorter than one frame."""
        return max(0, (length - self.fft_size) // self.hop_length + 1)
