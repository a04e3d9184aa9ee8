"""Rate and length of signals: polyphase resampling, cutting, padding with NaN."""

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["fit_signal", "resample"]


def resample(signal: "np.ndarray", rate: float, target_rate: float) -> "np.ndarray":
    """Resample a signal with SciPy's polyphase filter (`scipy.signal.resample_poly`).

    Args:
        signal (`np.ndarray`): (time, channels) float32.
        rate (`float`): its sampling rate in Hz.
        target_rate (`float`): the wanted rate in Hz.

    Returns:
        `np.ndarray`: (ceil(time * target_rate / rate), channels) float32, in the same unit. A channel that holds NaN
        comes back as NaN throughout, as a filter cannot bridge a gap.

    Example:
        >>> import numpy as np
        >>> resample(np.ones((500, 12), np.float32), 500, 100).shape
        (100, 12)
    """
    import numpy as np
    from scipy.signal import resample_poly

    if rate == target_rate:
        return signal
    ratio = Fraction(target_rate / rate).limit_denominator(1000)
    resampled = resample_poly(signal.astype(np.float64), ratio.numerator, ratio.denominator, axis=0, padtype="line")
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
