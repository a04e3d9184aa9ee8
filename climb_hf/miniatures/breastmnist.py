"""Synthetic raw copy of BreastMNIST+: one `.npz` file of drawn pictures; `_medmnist` says what is in it."""

from pathlib import Path

from climb_hf.miniatures._common import Expected
from climb_hf.miniatures._medmnist import make_set

__all__ = ["make"]


def make(root: Path, n: int = 32, seed: int = 0, *, size: int = 224, stored: bool = False) -> list[Expected]:
    """Write a synthetic BreastMNIST+ file; arguments, result and errors are those of `_medmnist.make_set`."""
    return make_set("breastmnist", root, n, seed, size=size, stored=stored)
