"""Perceptual fingerprints of pictures: a 64-bit code to find candidates, and a 32 × 32 view to confirm them.

The code follows the idea of pHash (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions",
2010): signs of the low frequencies of a cosine transform against their median. Pictures of one organ look alike, so
codes alone would accuse many innocent pairs; a pair counts only if the grey values of the small views correlate too.
"""

import functools
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from climb_hf.readers.image import load_image

__all__ = ["MIN_SIMILARITY", "SIDE", "flat_pictures", "picture_codes", "picture_similarity", "picture_view"]

SIDE = 32
N_BITS = 64
#: Correlation of two views from which pictures count as near duplicates. On the 3,027 distinct pictures of the real
#: Brain Tumor set, resized, re-encoded and brightened copies reach 0.985 and more; between 0.98 and 0.99 lie
#: neighbouring slices of one head; pictures of different heads stay below.
MIN_SIMILARITY = 0.98
#: Standard deviation of grey values below which a picture shows nothing that could be recognised.
FLAT = 2.0
#: Rows worked on at a time.
_BLOCK = 8192


class Views(Protocol):
    """Views by place: an array, or rows that stay on disk until they are asked for."""

    def __len__(self) -> int:
        """Return the number of views."""

    def __getitem__(self, which: Any) -> np.ndarray:  # noqa: ANN401 - slice or indices
        """Return (k, 1024) uint8."""


def picture_view(picture: str | Path | bytes | dict[str, Any]) -> np.ndarray:
    """Decode a picture at reduced scale to its small grey view.

    Args:
        picture (`str`, `Path`, `bytes` or `dict`): as in `climb_hf.readers.image.load_image`.

    Returns:
        `np.ndarray`: (1024,) uint8, rows of a 32 × 32 picture that is stretched to a square.

    Raises:
        CorruptFileError: the picture cannot be decoded.
    """
    return load_image(picture, size=SIDE, mode="L").reshape(-1)


@functools.cache
def _basis() -> np.ndarray:
    """Return the cosine transform of a view at its 64 lowest frequencies but the mean: (1024, 64) float32."""
    steps = (np.arange(SIDE) + 0.5) * np.pi / SIDE
    waves = np.stack([np.cos(frequency * steps) for frequency in range(N_BITS)])
    waves[0] /= np.sqrt(2)  # orthonormal up to a factor common to all
    chosen = sorted((u + v, u, v) for u in range(12) for v in range(12) if u + v > 0)[:N_BITS]
    return np.stack([np.outer(waves[u], waves[v]).reshape(-1) for _, u, v in chosen], axis=1).astype(np.float32)


def picture_codes(views: Views) -> np.ndarray:
    """Return the codes of views: half of the bits are set, brightness and contrast have no part in them.

    Args:
        views (`np.ndarray`): (n, 1024) uint8, of `picture_view`.

    Returns:
        `np.ndarray`: (n,) uint64.

    Example:
        >>> view = np.arange(1024).reshape(1, -1) % 251
        >>> picture_codes(view.astype(np.uint8)) == picture_codes((view // 2 + 40).astype(np.uint8))
        array([ True])
    """
    codes = np.empty(len(views), dtype=np.uint64)
    for start in range(0, len(views), _BLOCK):
        waves = views[start : start + _BLOCK].astype(np.float32) @ _basis()
        bits = waves > np.median(waves, axis=1, keepdims=True)
        codes[start : start + _BLOCK] = np.packbits(bits, axis=1).view(np.uint64)[:, 0]
    return codes


def flat_pictures(views: Views) -> np.ndarray:
    """Tell which views show nothing: blank pages, black frames. Their codes are noise and are not compared.

    Args:
        views (`np.ndarray`): (n, 1024) uint8.

    Returns:
        `np.ndarray`: (n,) bool.

    Example:
        >>> flat_pictures(np.array([[7] * 1024, [0, 255] * 512], dtype=np.uint8))
        array([ True, False])
    """
    blocks = range(0, len(views), _BLOCK)
    parts = [views[start : start + _BLOCK].astype(np.float32).std(axis=1) < FLAT for start in blocks]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=bool)


def picture_similarity(views: Views, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the correlation of the grey values of pairs of views.

    Args:
        views (`np.ndarray`): (n, 1024) uint8, none of them flat.
        left (`np.ndarray`): (p,) places of the first of each pair.
        right (`np.ndarray`): (p,) places of the second.

    Returns:
        `np.ndarray`: (p,) float32, in [-1, 1].
    """
    found = np.empty(len(left), dtype=np.float32)
    for start in range(0, len(left), _BLOCK):
        one, other = (_standardised(views[side[start : start + _BLOCK]]) for side in (left, right))
        found[start : start + _BLOCK] = np.einsum("ij,ij->i", one, other)
    return found


def _standardised(views: np.ndarray) -> np.ndarray:
    values = views.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
    return values
