"""Where MedMNIST+ is: eleven sets in one Zenodo record, a file per size."""

from climb_hf.access.records import Zenodo
from climb_hf.access.way import Way

__all__ = ["MEDMNIST"]

_SETS = ("blood", "breast", "derma", "oct", "organa", "organc", "organs", "path", "pneumonia", "retina", "tissue")
_SUFFIXES = {224: "_224", 128: "_128", 64: "_64", 28: ""}  # of the file names, by side in pixels

#: Ways by source; each size is a way of its own, and 224 px the default.
MEDMNIST = {
    f"{name}mnist": tuple(
        Way(f"zenodo_{size}", (Zenodo("10519652", only=(f"{name}mnist{suffix}.npz",)),))
        for size, suffix in _SUFFIXES.items()
    )
    for name in _SETS
}
