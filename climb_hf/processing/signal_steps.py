"""The steps of a signal feature extractor on whole batches: filter, cut, scale. Every row is treated by itself.

All arrays are (batch, channels, time) float32; the numbers in between are float64.
"""

from collections.abc import Sequence

import numpy as np

from climb_hf.errors import OptionError, SchemaError

__all__ = ["NORMALIZATIONS", "bandpass", "cut", "joined", "normalize"]

#: How `normalize` can scale a signal.
NORMALIZATIONS = ("none", "zscore", "quantile95", "range")
_EPSILON = 1e-8  # of the published EEG pipelines, added to the divisor


def bandpass(signal: np.ndarray, rate: float, band: Sequence[float], order: int = 4) -> np.ndarray:
    """Keep a band of frequencies: a Butterworth filter run forwards and backwards, so that nothing is delayed.

    Args:
        signal (`np.ndarray`): (batch, channels, time) float32 without NaN.
        rate (`float`): its sampling rate in Hz.
        band (`(float, float)`): lower and upper edge in Hz, 0 < lower < upper < rate / 2.
        order (`int`, *optional*, defaults to `4`): order of the filter, before it is run twice.

    Returns:
        `np.ndarray`: the same shape, float32: `scipy.signal.sosfiltfilt` of `scipy.signal.butter(..., "bandpass")`.

    Raises:
        OptionError: the band does not lie below half the rate.
        SchemaError: the signal is shorter than the padding of the filter at its ends.

    Example:
        >>> time = np.arange(1000) / 250
        >>> slow, fast = np.sin(2 * np.pi * 0.1 * time), np.sin(2 * np.pi * 10 * time)
        >>> kept = bandpass((slow + fast).astype(np.float32)[None, None], 250, (0.67, 40))
        >>> bool(np.abs(kept[0, 0, 250:750] - fast[250:750]).max() < 0.05)
        True
    """
    from scipy.signal import butter, sosfiltfilt

    low, high = band
    if not 0 < low < high < rate / 2:
        raise OptionError(
            f"`bandpass` must be (low, high) with 0 < low < high < {rate / 2:g} Hz (half the sampling rate), found "
            f"({low:g}, {high:g})."
        )
    sections = butter(order, (low, high), btype="bandpass", fs=rate, output="sos")
    try:
        filtered = sosfiltfilt(sections, signal.astype(np.float64), axis=-1)
    except ValueError as error:
        raise SchemaError(
            f"a signal of {signal.shape[-1]} samples at {rate:g} Hz is too short for a band-pass of order {order} "
            f"({error}). Leave such records out, or lower `filter_order`."
        ) from error
    return filtered.astype(np.float32)


def cut(signal: np.ndarray, length: int, crop: str, seeds: Sequence[int] | None = None) -> np.ndarray:
    """Cut a window out of every row.

    Args:
        signal (`np.ndarray`): (batch, channels, time), time at least `length`.
        length (`int`): samples of the window.
        crop (`str`): `"start"`, `"center"`, or `"random"`: anywhere with equal probability.
        seeds (`Sequence[int]`, *optional*): one per row for `"random"`; without them `"random"` is `"center"`.

    Returns:
        `np.ndarray`: (batch, channels, length); a view unless windows differ between rows.

    Example:
        >>> cut(np.arange(6.0)[None, None], 2, "center").tolist()
        [[[2.0, 3.0]]]
    """
    spare = signal.shape[-1] - length
    if crop == "random" and seeds is not None:
        starts = [int(np.random.default_rng(seed).integers(spare + 1)) for seed in seeds]
        return np.stack([row[:, start : start + length] for row, start in zip(signal, starts, strict=True)])
    start = 0 if crop == "start" else spare // 2
    return signal[..., start : start + length]


def joined(
    parts: Sequence[tuple[np.ndarray, np.ndarray]],
    rows: Sequence[Sequence[int]],
    shape: tuple[int, int],
    value: float = 0.0,
    *,
    is_left: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put parts of a batch together, padded to one length.

    Args:
        parts (`Sequence`): (signal (n, channels, time) float32, mask (n, channels) bool) each.
        rows (`Sequence[Sequence[int]]`): where the rows of every part stand in the batch.
        shape (`(int, int)`): rows and samples of the batch.
        value (`float`, *optional*, defaults to `0.0`): the padding.
        is_left (`bool`, *optional*, defaults to `False`): whether it stands before the signal.

    Returns:
        Signal (batch, channels, time) float32, mask (batch, channels) bool, and (batch, time) bool: the real samples.

    Example:
        >>> part = np.ones((1, 1, 2), np.float32), np.ones((1, 1), bool)
        >>> [array.tolist() for array in joined([part], [[0]], (1, 3))]
        [[[[1.0, 1.0, 0.0]]], [[True]], [[True, True, False]]]
    """
    count, longest = shape
    real = np.zeros((count, longest), dtype=bool)
    places = [slice(longest - part.shape[-1], None) if is_left else slice(part.shape[-1]) for part, _ in parts]
    for place, chosen in zip(places, rows, strict=True):
        real[chosen, place] = True
    signal, mask = parts[0]
    if len(parts) == 1 and signal.shape[-1] == longest:
        return np.ascontiguousarray(signal), mask, real
    batch = np.full((count, signal.shape[1], longest), value, dtype=np.float32)
    masks = np.empty((count, signal.shape[1]), dtype=bool)
    for (signal, mask), place, chosen in zip(parts, places, rows, strict=True):
        batch[chosen, :, place], masks[chosen] = signal, mask
    return batch, masks, real


def normalize(signal: np.ndarray, how: str, mask: np.ndarray) -> np.ndarray:
    """Scale every record by numbers of its own.

    Args:
        signal (`np.ndarray`): (batch, channels, time) float32 without NaN.
        how (`str`): `"none"`; `"zscore"`: each channel less its mean, divided by its standard deviation (of the
            population) + 1e-8; `"quantile95"`: each channel divided by the 0.95 quantile of its absolute values
            (linear interpolation) + 1e-8, the rule of BIOT and its baselines (`ycq091044/BIOT:utils.py`); `"range"`:
            the whole record divided by its largest less its smallest value over all channels that `mask` keeps, the
            rule of BenchMD's 12-lead ECG; a record without any range stays as it is.
        mask (`np.ndarray`): (batch, channels) bool, which channels count for `"range"`.

    Returns:
        `np.ndarray`: the same shape, float32.

    Example:
        >>> signal = np.arange(-10, 11, dtype=np.float32)[None, None]
        >>> normalize(signal, "quantile95", np.ones((1, 1), bool))[0, 0, [0, 10, 20]].tolist()
        [-1.0, 0.0, 1.0]
    """
    if how == "none":
        return signal
    if how == "zscore":
        mean = signal.mean(axis=-1, keepdims=True, dtype=np.float64)
        centred = signal - mean
        return (centred / (np.sqrt(np.square(centred).mean(axis=-1, keepdims=True)) + _EPSILON)).astype(np.float32)
    if how == "quantile95":
        return (signal / (_quantile(np.abs(signal), 0.95) + _EPSILON)).astype(np.float32)
    kept = mask[..., None]
    high = signal.max(axis=(1, 2), keepdims=True, where=kept, initial=-np.inf).astype(np.float64)
    low = signal.min(axis=(1, 2), keepdims=True, where=kept, initial=np.inf).astype(np.float64)
    return (signal / np.where(high > low, high - low, 1.0)).astype(np.float32)


def _quantile(values: np.ndarray, q: float) -> np.ndarray:
    """`numpy.quantile(values, q, axis=-1, keepdims=True)` in float64, by one partition instead of two passes."""
    position = q * (values.shape[-1] - 1)
    below = int(position)
    ordered = np.partition(values, below, axis=-1)
    lower = ordered[..., below : below + 1].astype(np.float64)
    if below == position:
        return lower
    upper = ordered[..., below + 1 :].min(axis=-1, keepdims=True)
    return lower + (upper - lower) * (position - below)
