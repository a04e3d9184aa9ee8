"""Synthetic raw copy of NCT-CRC-HE-100K and CRC-VAL-HE-7K: drawn colorectal patches in class folders of TIFF files.

Every picture is drawn, none comes from a patient. Fat is white with thin walls, background empty, debris mottled,
lymphocytes dark and dense, mucus bluish and smooth, muscle streaky and pink, mucosa round glands with a lumen, stroma
pale and streaky, tumor crowded ragged glands.

Oddities of the release that it writes:

* one archive per set, `ADI/ADI-AAAFLCLY.tif` in the first and `ADI/ADI-TCGA-AAICEQFN.tif` in the second;
* the folder of a set twice in each other, or class folders at the top with both sets in them;
* the background class, which the default leaves out;
* optionally the set without stain normalisation, under the same file names.
"""

from pathlib import Path

import numpy as np

from climb_hf.miniatures._common import (
    Expected,
    Floats,
    check_choice,
    check_count,
    ellipse,
    grid,
    rng,
    smooth_noise,
    to_uint8,
    write_bytes,
)
from climb_hf.miniatures._stained import glands, save_tiff, stained

__all__ = ["make"]

_CLASSES = {
    "ADI": "Adipose",
    "DEB": "Debris",
    "LYM": "Lymphocytes",
    "MUC": "Mucus",
    "MUS": "Smooth muscle",
    "NORM": "Normal colon mucosa",
    "STR": "Cancer-associated stroma",
    "TUM": "Colorectal adenocarcinoma epithelium",
}
_SETS = {"train": "NCT-CRC-HE-100K", "test": "CRC-VAL-HE-7K"}
_RAW = "NCT-CRC-HE-100K-NONORM"
_SIDE = 224


def make(
    root: Path, n: int = 32, seed: int = 0, *, layout: str = "zenodo", with_nonorm: bool = False
) -> list[Expected]:
    """Write a synthetic NCT-CRC-HE folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of patches of the eight tissue classes, at least 8; one of
            background is added to each set.
        seed (`int`, *optional*, defaults to `0`): seed of the content.
        layout (`str`, *optional*, defaults to `"zenodo"`): `"zenodo"` (`NCT-CRC-HE-100K/ADI/`), `"nested"` (the
            folder of the set twice) or `"classes"` (`ADI/`, both sets together).
        with_nonorm (`bool`, *optional*, defaults to `False`): add the train set without stain normalisation.

    Returns:
        `list[Expected]`: without background, train first, by class and name; `values`: `raw_labels`, `file`, and
        `tone` (mean of red, green and blue).

    Raises:
        OptionError: an option out of range.
    """
    check_count("nct_crc_he", n, seed)
    check_choice("nct_crc_he", "layout", layout, ("zenodo", "nested", "classes"))
    folders = list(_CLASSES)
    expected = []
    for i in range(n + 2):
        folder = folders[i % 8] if i < n else "BACK"
        split = ("test" if (i % 8 + i // 8) % 3 == 2 else "train") if i < n else ("train", "test")[i - n]
        random = rng(seed, "nct_crc_he", i)
        letters = "".join(chr(65 + int(k)) for k in random.integers(0, 26, 8))
        stem = f"{folder}-TCGA-{letters}" if split == "test" else f"{folder}-{letters}"
        pixels = to_uint8(_patch(folder, random))
        place = {"zenodo": "{0}/", "nested": "{0}/{0}/", "classes": ""}[layout]
        file = f"{place.format(_SETS[split])}{folder}/{stem}.tif"
        save_tiff(root / file, pixels)
        if with_nonorm and split == "train":
            save_tiff(root / f"{place.format(_RAW) or f'{_RAW}/'}{folder}/{stem}.tif", pixels // 2 + 90)
        if i < n:
            values = {"raw_labels": (folder,), "file": file, "tone": float(pixels.mean())}
            expected.append(Expected(stem, split, stem, (_CLASSES[folder],), values))
    write_bytes(root / ".DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64))
    return sorted(expected, key=lambda row: (row.split == "test", row.values["raw_labels"], row.id))


def _patch(folder: str, random: np.random.Generator) -> Floats:
    """Draw a patch of (224, 224, 3), 0 to 1."""
    if folder in ("ADI", "BACK"):
        empty: Floats = np.full((_SIDE, _SIDE, 3), 0.93) + random.normal(0, 0.01, (_SIDE, _SIDE, 1))
        walls = np.exp(-((smooth_noise(random, _SIDE, _SIDE, 5) / 0.06) ** 2)) * (folder == "ADI")
        return empty + 0.8 * walls[..., None] * (np.array([0.80, 0.50, 0.66]) - empty)
    looks = {
        "DEB": ((0.72, 0.58, 0.70), 0.35, 40, 0.0),
        "LYM": ((0.70, 0.58, 0.78), 0.85, 26, 0.0),
        "MUC": ((0.78, 0.80, 0.90), 0.10, 20, 0.0),
        "MUS": ((0.86, 0.50, 0.68), 0.15, 24, 0.07),
        "NORM": ((0.88, 0.68, 0.80), 0.40, 30, 0.0),
        "STR": ((0.94, 0.74, 0.84), 0.25, 24, 0.03),
        "TUM": ((0.70, 0.50, 0.70), 0.45, 18, 0.0),
    }
    ground, nuclei, cells, streaks = looks[folder]
    picture = stained(random, _SIDE, _SIDE, ground, nuclei=nuclei, cells=cells, streaks=streaks)
    if folder == "NORM":
        return glands(picture, random, count=3, radius=0.26, lumen=0.5)
    if folder == "TUM":
        return glands(picture, random, count=4, radius=0.24, lumen=0.2, ragged=0.12)
    if folder == "MUC":
        y, x = grid(_SIDE, _SIDE)
        pool = ellipse(y, x, random.uniform(-0.3, 0.3), random.uniform(-0.3, 0.3), 0.7, 0.9, edge=0.6)
        return picture + 0.4 * pool[..., None] * (np.array([0.70, 0.78, 0.95]) - picture)
    return picture
