"""Synthetic raw copy of PAD-UFES-20 in six classes: the synthetic pictures and table of `pad_ufes_20`.

The default layout is that of the Open-PMC evaluation: all pictures in `Dataset/`.
"""

import dataclasses
from pathlib import Path

from climb_hf.miniatures import pad_ufes_20
from climb_hf.miniatures._common import Expected

__all__ = ["make"]

_CLASSES = {
    "BCC": "Basal Cell Carcinoma",
    "MEL": "Melanoma",
    "SCC": "Squamous Cell Carcinoma",
    "ACK": "Actinic Keratosis",
    "NEV": "Nevus",
    "SEK": "Seborrheic Keratosis",
}


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "openpmc") -> list[Expected]:
    """Write a synthetic PAD-UFES-20 folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of pictures, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of pictures and rows.
        layout (`str`, *optional*, defaults to `"openpmc"`): one of the maker of `pad_ufes_20`.

    Returns:
        `list[Expected]`: as that maker's, with the six classes.

    Raises:
        OptionError: an option out of range.
    """
    expected = pad_ufes_20.make(root, n, seed, layout=layout)
    return [dataclasses.replace(row, classes=(_six_class(row),)) for row in expected]


def _six_class(row: Expected) -> str:
    codes = row.values["raw_labels"]
    return next(name for code, name in _CLASSES.items() if codes == (code,))
