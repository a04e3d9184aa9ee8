"""Magnitude spectrograms and the stack of residual blocks over them, which three EEG encoders share.

After the baselines of "BIOT: Cross-data Biosignal Learning in the Wild" (Yang et al. 2023; code `ycq091044/BIOT`, MIT,
commit d138e32). Written from a description of their layers.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from climb_hf.errors import SchemaError
from climb_hf.models.convolutional import FirstPass, first_pass, normed_once
from climb_hf.models.spectrogram_config import SpectrogramConfig

__all__ = ["ResidualBlock", "SpectrogramEncoder", "magnitude_spectrogram"]


def magnitude_spectrogram(signal: Tensor, n_fft: int, hop_length: int) -> Tensor:
    """Return the magnitudes of a short-time Fourier transform with rectangular, centred windows.

    Signals are mirrored at their ends by half a window; magnitudes are divided by √n_fft.

    Args:
        signal (`torch.Tensor`): (batch, channels, time) floats; half precision is computed in float32.
        n_fft (`int`): samples of a window.
        hop_length (`int`): samples from one window to the next.

    Returns:
        `torch.Tensor`: (batch, channels, n_fft // 2 + 1, 1 + time // hop_length), at least float32.

    Raises:
        SchemaError: the signal is too short to be mirrored.

    Example:
        >>> magnitude_spectrogram(torch.ones(1, 16, 2000), 200, 10).shape
        torch.Size([1, 16, 101, 201])
    """
    if signal.shape[2] <= n_fft // 2:
        raise SchemaError(
            f"a spectrogram with windows of {n_fft} samples needs more than {n_fft // 2} samples, but has "
            f"{signal.shape[2]}. Pass longer signals, or use a smaller `n_fft`."
        )
    rows = signal.flatten(0, 1)  # (B, C, L) -> (B·C, L)
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))  # there is no Fourier transform in half precision
    window = rows.new_ones(n_fft)
    spectra = torch.stft(rows, n_fft, hop_length, window=window, normalized=True, return_complex=True)
    # the transform lays out time before frequency; every convolution that reads the maps would copy them again
    return spectra.abs().contiguous().unflatten(0, signal.shape[:2])  # (B·C, f, t) -> (B, C, f, t)


class ResidualBlock(GradientCheckpointingLayer):
    """Two convolutions beside a third, added, pooled: both axes end up a quarter as long.

    Args:
        inputs (`int`): channels of the input.
        outputs (`int`): channels of the output.
        dropout (`float`): after the pooling.
    """

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.BatchNorm2d(outputs))
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: Tensor, once: FirstPass | None = None) -> Tensor:
        """Transform maps (batch, inputs, f, t) to (batch, outputs, ⌈⌈f / 2⌉ / 2⌉, ⌈⌈t / 2⌉ / 2⌉)."""
        with normed_once(self, once):
            update = self.bn1(self.conv1(maps)).relu()  # (B, C, f, t) -> (B, D, f/2, t/2)
            update = self.bn2(self.conv2(update))
            return self.dropout(self.pool(update + self.downsample(maps)))  # no activation of the sum; -> f/4, t/4


class SpectrogramEncoder(nn.Module):
    """The spectrogram of a signal, and residual blocks over it.

    Args:
        config (`SpectrogramConfig`): the sizes.
    """

    def __init__(self, config: SpectrogramConfig) -> None:
        super().__init__()
        self.n_fft, self.hop_length = config.n_fft, config.hop_length
        widths = [config.num_channels, *config.hidden_sizes]
        self.blocks = nn.ModuleList(
            ResidualBlock(inputs, outputs, config.hidden_dropout) for inputs, outputs in pairwise(widths)
        )

    def forward(self, signal: Tensor, dtype: torch.dtype) -> tuple[Tensor, list[Tensor]]:
        """Encode signals.

        Args:
            signal (`torch.Tensor`): (batch, channels, time) floats.
            dtype (`torch.dtype`): of the weights.

        Returns:
            `tuple`: (batch, n, width), a token per place of the last map (one up to 2,500 samples with the default
            sizes); and the maps (batch, width, f, t) before the first and after every block.

        Raises:
            SchemaError: the signal is shorter than half a window.
        """
        maps = [magnitude_spectrogram(signal, self.n_fft, self.hop_length).to(dtype)]
        for block in self.blocks:
            maps.append(block(maps[-1], first_pass(block)))
        return maps[-1].flatten(2).transpose(1, 2), maps  # (B, D, f, t) -> (B, f·t, D)
