"""Rate and length of signals: resampling, cutting, padding with NaN."""

from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from climb_hf.errors import OptionError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["fit_signal", "resample"]


def resample(
    signal: "np.ndarray",
    rate: float,
    target_rate: float,
    *,
    method: Literal["polyphase", "fft"] = "polyphase",
    axis: int = 0,
) -> "np.ndarray":
    """Resample a signal with SciPy: `scipy.signal.resample_poly`, or `scipy.signal.resample`.

    Args:
        signal (`np.ndarray`): (time, channels) float32, or any shape with time on `axis`.
        rate (`float`): its sampling rate in Hz.
        target_rate (`float`): the wanted rate in Hz.
        method (`str`, *optional*, defaults to `"polyphase"`): `"fft"` takes the signal as one period of a periodic
            one, as several published pipelines do; it rings where start and end differ.
        axis (`int`, *optional*, defaults to `0`): the axis of time.

    Returns:
        `np.ndarray`: float32 in the same unit, with ceil(time * target_rate / rate) samples on `axis` (`"fft"`:
        rounded to the nearest). A channel that holds NaN comes back as NaN throughout, as a filter cannot bridge a
        gap.

    Raises:
        OptionError: rates further apart than a factor of 1,000.

    Example:
        >>> import numpy as np
        >>> resample(np.ones((500, 12), np.float32), 500, 100).shape
        (100, 12)
        >>> resample(np.ones((2, 12, 500), np.float32), 500, 100, method="fft", axis=-1).shape
        (2, 12, 100)
    """
    import numpy as np
    from scipy.signal import resample as resample_fft
    from scipy.signal import resample_poly

    if rate == target_rate:
        return signal
    if not 1e-3 <= target_rate / rate <= 1e3:
        raise OptionError(
            f"cannot resample from {rate:g} Hz to {target_rate:g} Hz: the rates must lie within a factor of 1,000. "
            "Are both in Hz?"
        )
    values = signal.astype(np.float64)
    if method == "fft":
        resampled = resample_fft(values, max(1, round(signal.shape[axis] * target_rate / rate)), axis=axis)
    else:
        ratio = Fraction(target_rate / rate).limit_denominator(1000)
        resampled = resample_poly(values, ratio.numerator, ratio.denominator, axis=axis, padtype="line")
    return resampled.astype(np.float32)


def fit_signal(
    signal: "np.ndarray", rate: float, target_rate: float | None = None, length: int | None = None
) -> "tuple[np.ndarray, float]":
    """Bring a signal to the wanted rate and length.

    Args:
        signal (`np.ndarray`): (time, channels) float32.
        rate (`float`): its sampling rate in Hz.
        target_rate (`float`, *optional*): wanted rate in Hz; `None` keeps the rate.
        length (`int`, *optional*): wanted number of samples after resampling: the end is cut, or padded with NaN,
            which says "not recorded" and is filled by the processor. `None` keeps the length.

    Returns:
        The signal (time, channels) float32 and its rate in Hz.

    Example:
        >>> import numpy as np
        >>> signal, rate = fit_signal(np.ones((1000, 12), np.float32), 500, length=2500)
        >>> signal.shape, rate, int(np.isnan(signal[:, 0]).sum())
        ((2500, 12), 500.0, 1500)
    """
    import numpy as np

    if target_rate is not None:
        signal, rate = resample(signal, rate, target_rate), target_rate
    if length is not None and length != len(signal):
        padding = np.full((max(length - len(signal), 0), signal.shape[1]), np.nan, dtype=signal.dtype)
        signal = np.concatenate([signal[:length], padding])
    return signal, float(rate)
