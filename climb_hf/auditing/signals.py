"""Shift-tolerant fingerprints of signals: features that do not see when a recording starts, and a trace to confirm.

Of the first ten seconds are kept: the power of each channel in bands and the correlation of each pair of channels,
neither of which changes much when the start is moved; and a trace of 25.6 values per second of one mixture of all
channels. Signs of random projections of the features are the code that finds candidates (Charikar, "Similarity
Estimation Techniques from Rounding Algorithms", STOC 2002); a pair counts only if the traces, moved against each other
by up to four seconds, correlate.
"""

import numpy as np
import scipy.fft

__all__ = [
    "MIN_SIMILARITY",
    "SECONDS",
    "flat_signals",
    "signal_codes",
    "signal_print",
    "signal_similarity",
    "signal_width",
]

SECONDS = 10.0
MAX_SHIFT_SECONDS = 4.0
#: What is compared is brought to this rate first, in Hz.
RATE = 100.0
TRACE = 256
TRACE_RATE = TRACE / SECONDS
#: Correlation of two traces, at the best shift, from which signals count as near duplicates. On 50 real ECGs, copies
#: that begin up to 3 s later have 0.99 in the median and 0.95 at the 5th percentile; different recordings stay
#: below 0.93.
MIN_SIMILARITY = 0.94
#: Edges in Hz of the bands whose power is compared; all lie below the Nyquist frequency of 100 Hz recordings.
BANDS = (0.5, 1.5, 2.5, 4.0, 6.0, 8.0, 11.0, 15.0, 20.0, 28.0, 40.0)
#: Drift below this frequency is taken away, in Hz.
LOWEST = 0.5
#: Shortest overlap, as a share of the shorter trace, at which a correlation means anything.
_OVERLAP = 0.6
#: Where the trace begins and ends to see frequencies, in Hz.
_TRACE_BAND = (2.5, 8.0)
_SEGMENT_SECONDS = 2.0
#: Parts of a sample by which traces are moved: a QRS complex is narrow.
_FINE = 4
_BLOCK = 2048


def signal_width(channels: int) -> int:
    """Return the length of a print: features, then the trace.

    Example:
        >>> signal_width(12)
        442
    """
    return channels * (len(BANDS) - 1) + channels * (channels - 1) // 2 + TRACE


def signal_print(signal: np.ndarray, rate: float) -> np.ndarray:
    """Return the features and the trace of a signal; its amplitude and its sampling rate have no part in them.

    Args:
        signal (`np.ndarray`): (time, channels), floats in any unit; NaN where nothing was recorded.
        rate (`float`): sampling rate in Hz.

    Returns:
        `np.ndarray`: (`signal_width(channels)`,) float16; the trace is zero if the signal is flat or too short.

    Example:
        >>> print_ = signal_print(np.random.default_rng(0).normal(size=(1000, 12)), 100.0)
        >>> print_.shape, print_.dtype.name
        ((442,), 'float16')
    """
    values = np.asarray(signal, dtype=np.float64)
    values = values[~np.isnan(values).all(axis=1)][: round(SECONDS * rate)]
    if len(values) < _SEGMENT_SECONDS * rate or rate < 4 * LOWEST:
        return np.zeros(signal_width(values.shape[1]), dtype=np.float16)
    held = ~np.isnan(values)
    means = np.where(held, values, 0).sum(axis=0) / np.maximum(held.sum(axis=0), 1)
    values = _resample(np.where(held, values - means, 0.0), rate)
    scale = float(np.sqrt((values**2).mean()))
    values = values / scale if scale > 1e-9 else np.zeros_like(values)
    parts = (_band_powers(values).reshape(-1), _channel_correlations(values), _trace(values))
    return np.concatenate(parts).astype(np.float16)


def _resample(values: np.ndarray, rate: float) -> np.ndarray:
    """Return what lies between 0.5 and 40 Hz, at 100 Hz: (time, channels)."""
    steps = np.linspace(-1, 1, len(values))
    values = values - np.outer(steps, steps @ values) / (steps @ steps)
    spectrum = np.fft.rfft(values, axis=0)
    spectrum[np.fft.rfftfreq(len(values), 1 / rate) < LOWEST] = 0
    length = round(len(values) / rate * RATE)
    kept = np.zeros((length // 2 + 1, values.shape[1]), dtype=complex)
    shared = min(len(kept), len(spectrum), int(BANDS[-1] * len(values) / rate) + 1)
    kept[:shared] = spectrum[:shared]
    return np.fft.irfft(kept, length, axis=0) * (length / len(values))


def _band_powers(values: np.ndarray) -> np.ndarray:
    """Return log10 of the mean power in each band, (channels, bands), of overlapping Hann windows of two seconds."""
    size = round(_SEGMENT_SECONDS * RATE)
    windows = np.lib.stride_tricks.sliding_window_view(values, size, axis=0)[:: size // 2]
    spectra = np.fft.rfft(windows * np.hanning(size), axis=2)
    power = (np.abs(spectra) ** 2).mean(axis=0) / size**2  # (channels, frequencies)
    places = np.searchsorted(np.fft.rfftfreq(size, 1 / RATE), BANDS)
    return np.log10(np.add.reduceat(power, places, axis=1)[:, :-1] + 1e-6)


def _channel_correlations(values: np.ndarray) -> np.ndarray:
    scale = np.sqrt((values**2).sum(axis=0))
    scaled = values / np.where(scale > 0, scale, 1)
    return (scaled.T @ scaled)[np.triu_indices(values.shape[1], 1)]


def _trace(values: np.ndarray) -> np.ndarray:
    """Return the mixture of the channels at 25.6 Hz, (256,); shorter signals end in zeros."""
    mixed = values @ np.random.default_rng(values.shape[1]).normal(size=values.shape[1])
    length = min(TRACE, round(len(mixed) / RATE * TRACE_RATE))
    trace = np.zeros(TRACE)
    frequencies = np.fft.rfftfreq(len(mixed), 1 / RATE)
    low, high = _TRACE_BAND  # smooth edges: sharp ones would spread what lies at the ends over the whole trace
    passed = (1 - np.exp(-((frequencies / low) ** 2))) * np.exp(-((frequencies / high) ** 2))
    trace[:length] = np.fft.irfft((np.fft.rfft(mixed) * passed)[: length // 2 + 1], length)
    norm = float(np.linalg.norm(trace))
    return trace * (16 / norm) if norm > 1e-9 else np.zeros(TRACE)  # 16: a typical value is 1, good for float16


def flat_signals(prints: np.ndarray) -> np.ndarray:
    """Tell which signals are flat, or too short to be compared.

    Args:
        prints (`np.ndarray`): (n, width) of `signal_print`.

    Returns:
        `np.ndarray`: (n,) bool.
    """
    return np.logical_not(np.any(prints[:, -TRACE:], axis=1))


def signal_codes(prints: np.ndarray) -> np.ndarray:
    """Return codes that suit these signals: signs of random projections of their standardised features.

    Codes are comparable within one call only, as the middle of each feature is that of the signals given.

    Args:
        prints (`np.ndarray`): (n, width) float16.

    Returns:
        `np.ndarray`: (n,) uint64.
    """
    features = prints[:, :-TRACE].astype(np.float32)
    features -= np.median(features, axis=0)
    features /= np.maximum(features.std(axis=0), 1e-3)
    np.clip(features, -3, 3, out=features)
    planes = np.random.default_rng(64).normal(size=(features.shape[1], 64)).astype(np.float32)
    return np.packbits(features @ planes > 0, axis=1).view(np.uint64)[:, 0]


def signal_similarity(prints: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the correlation of pairs of traces at their best shift of up to four seconds.

    Args:
        prints (`np.ndarray`): (n, width) float16.
        left (`np.ndarray`): (p,) places of the first of each pair.
        right (`np.ndarray`): (p,) places of the second.

    Returns:
        `np.ndarray`: (p,) float32, in [-1, 1].
    """
    found = np.empty(len(left), dtype=np.float32)
    for start in range(0, len(left), _BLOCK):
        one, other = (prints[side[start : start + _BLOCK], -TRACE:].astype(np.float32) for side in (left, right))
        found[start : start + _BLOCK] = _best_correlation(one, other)
    return found


def _best_correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return max over s of the correlation of one[t + s] with other[t] over the samples both have."""
    spectrum = scipy.fft.rfft(one, 2 * TRACE) * np.conj(scipy.fft.rfft(other, 2 * TRACE))
    fine = _FINE * scipy.fft.irfft(spectrum, 2 * TRACE * _FINE)  # products at shifts of a fraction of a sample
    products = np.roll(fine, _FINE // 2, axis=1).reshape(len(one), 2 * TRACE, _FINE).max(axis=2)
    energies = [np.pad(np.cumsum(side**2, axis=1), ((0, 0), (1, 0))) for side in (one, other)]
    lengths = [TRACE - np.argmax(side[:, ::-1] != 0, axis=1) for side in (one, other)]
    shortest, rows = _OVERLAP * np.minimum(*lengths), np.arange(len(one))
    reach = int(MAX_SHIFT_SECONDS * TRACE_RATE)
    best = np.full(len(one), -1.0)
    for shift in range(-reach, reach + 1):
        begins = max(shift, 0), max(-shift, 0)
        overlap = np.minimum(lengths[0] - begins[0], lengths[1] - begins[1])
        usable, overlap = overlap >= shortest, np.maximum(overlap, 0)
        parts = [e[rows, start + overlap] - e[rows, start] for e, start in zip(energies, begins, strict=True)]
        value = products[:, shift] / np.sqrt(np.maximum(parts[0] * parts[1], 1e-12))
        best = np.where(usable & (value > best), value, best)
    return np.clip(best, -1, 1).astype(np.float32)
