"""All pairs of 64-bit codes within a Hamming radius, exactly and without comparing all pairs.

Multi-index hashing (Norouzi, Punjani and Fleet, "Fast Exact Search in Hamming Space with Multi-Index Hashing", IEEE
TPAMI 2014) with the general pigeonhole principle (Qin et al., "GPH: Similarity Search in Hamming Space", ICDE 2018):
the bits are dealt out to m bands with thresholds t that sum to r - m + 1. Were the distance of two codes above t in
every band, it would be at least the sum of all t + 1, which is r + 1. So every pair within r is within t in some band,
and is found by looking up each code's band, and the values up to t bits from it, in a table of that band.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from climb_hf.errors import OptionError

__all__ = ["MAX_RADIUS", "near_pairs"]

BITS = 64
MAX_RADIUS = 16
#: Candidate pairs in memory at a time: about 100 bytes each.
CHUNK = 2_000_000
#: Bands that are tried: fewer make tables of more than 2^22 places, more make buckets too full.
_BANDS = range(3, 9)
#: Cost of looking up one place of a table, in candidates compared.
_LOOKUP = 3.0
_SAMPLE = (512, 4096)

Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


def near_pairs(codes: np.ndarray, radius: int) -> Iterator[Pairs]:
    """Yield every pair of distinct codes that differ in at most `radius` bits, each pair once.

    How many bands are used is chosen by a sample of the codes, as codes of real pictures are far from uniform; the
    result does not depend on it.

    Args:
        codes (`np.ndarray`): (n,) uint64, all different: group equal codes first, they would be quadratic.
        radius (`int`): largest distance in bits, 0 to 16.

    Yields:
        `tuple[np.ndarray, np.ndarray, np.ndarray]`: places i < j in `codes`, int64, and the distance, uint8; at most
        a few million at a time.

    Raises:
        OptionError: `radius` out of range, or a code that stands twice.

    Example:
        >>> codes = np.array([0b0000, 0b0111, 0b1000], dtype=np.uint64)
        >>> [(int(i), int(j), int(d)) for part in near_pairs(codes, 3) for i, j, d in zip(*part)]
        [(0, 2, 1), (0, 1, 3)]
    """
    codes = np.ascontiguousarray(codes, dtype=np.uint64)
    if not 0 <= radius <= MAX_RADIUS:
        raise OptionError(f"`radius` must be from 0 to {MAX_RADIUS} bits, got {radius!r}.")
    if len(np.unique(codes)) != len(codes):
        raise OptionError("`near_pairs` needs codes that are all different; group equal ones by `np.unique` first.")
    if radius and len(codes) > 1:
        bits = np.unpackbits(codes[:, None].view(np.uint8), axis=1, bitorder="little")
        yield from _search(codes, bits, radius, _best_bands(codes, radius))


def _band_masks(bands: int) -> list[np.uint64]:
    """Return the bits of each band: dealt out in turn, as neighbouring bits of a code go together."""
    return [np.uint64(sum(1 << bit for bit in range(band, BITS, bands))) for band in range(bands)]


def _thresholds(radius: int, bands: int) -> list[int]:
    """Return thresholds that differ by at most 1 and sum to radius - bands + 1; -1 means that a band is not needed."""
    base, extra = divmod(radius - bands + 1, bands)
    return [base + (band < extra) for band in range(bands)]


def _probes(width: int, threshold: int) -> list[int]:
    """Return all patterns of `width` bits of which at most `threshold` are set."""
    return [
        sum(1 << bit for bit in chosen)
        for count in range(threshold + 1)
        for chosen in combinations(range(width), count)
    ]


def _best_bands(codes: np.ndarray, radius: int) -> int:
    """Return the number of bands that makes the least work, as far as a sample can tell."""
    rng = np.random.default_rng(0)
    few, many = (codes[rng.permutation(len(codes))[:size]] for size in _SAMPLE)
    differing = few[:, None] ^ many[None, :]
    scale = len(codes) ** 2 / 2 / differing.size
    costs = {}
    for bands in _BANDS:
        costs[bands] = 0.0
        for mask, threshold in zip(_band_masks(bands), _thresholds(radius, bands), strict=True):
            if threshold >= 0:
                hits = int((np.bitwise_count(differing & mask) <= threshold).sum())
                lookups = len(_probes(int(mask).bit_count(), threshold)) * len(codes)
                costs[bands] += scale * hits + _LOOKUP * lookups
    return min(costs, key=lambda bands: costs[bands])


def _search(codes: np.ndarray, bits: np.ndarray, radius: int, bands: int) -> Iterator[Pairs]:
    masks, thresholds = _band_masks(bands), _thresholds(radius, bands)
    for band, threshold in enumerate(thresholds):
        if threshold < 0:
            continue
        columns = bits[:, band::bands]
        values = columns @ (1 << np.arange(columns.shape[1], dtype=np.int64))
        order = np.argsort(values, kind="stable")
        ends = np.cumsum(np.bincount(values, minlength=1 << columns.shape[1]))
        ordered, own = codes[order], values[order]
        for probe in _probes(columns.shape[1], threshold):
            for left, right in _candidates(own, ends, probe):
                differing = ordered[left] ^ ordered[right]
                distance = np.bitwise_count(differing)
                close = distance <= radius
                for earlier in range(band):  # a pair that an earlier band has found is not given again
                    if thresholds[earlier] >= 0:
                        close &= np.bitwise_count(differing & masks[earlier]) > thresholds[earlier]
                if close.any():
                    one, other = order[left[close]], order[right[close]]
                    yield np.minimum(one, other), np.maximum(one, other), distance[close]


def _candidates(own: np.ndarray, ends: np.ndarray, probe: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield places (left, right) in the order of a band's values whose values differ by exactly `probe`."""
    places = np.arange(len(own))
    if probe:
        left = places[(own >> (probe.bit_length() - 1)) & 1 == 0]  # each pair from its smaller value only
        target = own[left] ^ probe
        last = ends[target]
        first = np.where(target > 0, ends[target - 1], 0)
    else:
        left, first, last = places, places + 1, ends[own]
    counts = last - first
    filled = counts > 0
    left, first, counts = left[filled], first[filled], counts[filled]
    totals = np.cumsum(counts)
    start = 0
    while start < len(left):
        done = totals[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(totals, done + CHUNK, side="right")))
        part = counts[start:stop]
        within = np.arange(part.sum()) - np.repeat(np.cumsum(part) - part, part)
        yield np.repeat(left[start:stop], part), np.repeat(first[start:stop], part) + within
        start = stop
