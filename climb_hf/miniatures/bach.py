"""Synthetic raw copy of BACH part A: drawn breast tissue photos as TIFF, with the table of their classes.

Every picture is drawn, none comes from a patient. Normal tissue has a few round glands, benign many, carcinoma in situ
solid round nests, invasive carcinoma ragged nests all over. The photos are smaller than the publisher's.

Oddities of the release that it writes:

* `Photos/microscopy_ground_truth.csv` without a header line, in the order n, b, is, iv;
* class folders `InSitu` and `Invasive` whose files are `is001.tif` and `iv001.tif`;
* a folder `WSI` with slides that are not read; the challenge's unlabelled test photos beside it, if asked for.
"""

from pathlib import Path

import numpy as np

from climb_hf.errors import OptionError
from climb_hf.miniatures._common import Expected, Floats, check_count, rng, to_uint8, write_bytes, write_csv
from climb_hf.miniatures._stained import glands, save_tiff, stained

__all__ = ["make"]

_CLASSES = {  # folder -> stem, class; in the order of the publisher's table
    "Normal": ("n", "Normal breast tissue"),
    "Benign": ("b", "Benign breast tissue"),
    "InSitu": ("is", "Breast carcinoma in situ"),
    "Invasive": ("iv", "Invasive breast carcinoma"),
}
_ROOT = "ICIAR2018_BACH_Challenge"
_HEIGHT, _WIDTH = 192, 256
_PER_CLASS = 100
#: Positions of the train photos among all 400, by class folder and name, in the patient-aware split of kaiko's eva.
_TRAIN = ((0, 41), (59, 60), (90, 139), (169, 240), (258, 260), (273, 345), (368, 400))


def make(
    root: Path, n: int = 32, seed: int = 0, *, with_table: bool = True, with_test: bool = False
) -> list[Expected]:
    """Write a synthetic BACH folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of photos, 8 to 400.
        seed (`int`, *optional*, defaults to `0`): seed of the content.
        with_table (`bool`, *optional*, defaults to `True`): write the table, which copies may lack.
        with_test (`bool`, *optional*, defaults to `False`): add the unlabelled photos of the challenge.

    Returns:
        `list[Expected]`: in the order of the table; `values`: `raw_labels`, `file`, `size` (width, height).

    Raises:
        OptionError: an option out of range.
    """
    check_count("bach", n, seed)
    if n > 4 * _PER_CLASS:
        raise OptionError(f"bach: expected `n` to be at most {4 * _PER_CLASS}, as many as are published, found {n}.")
    table, expected = [], []
    for place, (folder, (stem, class_name)) in enumerate(_CLASSES.items()):
        count = n // 4 + (place < n % 4)
        for number in sorted(1 + (3 + 37 * k) % _PER_CLASS for k in range(count)):
            name = f"{stem}{number:03d}"
            file = f"{_ROOT}/Photos/{folder}/{name}.tif"
            save_tiff(root / file, to_uint8(_tissue(folder, rng(seed, "bach", name))))
            position = _PER_CLASS * sorted(_CLASSES).index(folder) + number - 1
            split = "train" if any(start <= position < end for start, end in _TRAIN) else "test"
            table.append([f"{name}.tif", folder])
            values: dict[str, object] = {"raw_labels": (folder,), "file": file, "size": (_WIDTH, _HEIGHT)}
            expected.append(Expected(name, split, name, (class_name,), values))
    if with_table:
        write_csv(root / _ROOT / "Photos" / "microscopy_ground_truth.csv", table)
    write_bytes(root / _ROOT / "WSI" / "A01.svs", b"II*\x00" + bytes(64))
    write_bytes(root / _ROOT / "Photos" / "Normal" / "Thumbs.db", bytes(16))
    for number in range(2 * with_test):
        pixels = to_uint8(_tissue("Benign", rng(seed, "bach", "test", number)))
        save_tiff(root / "ICIAR2018_BACH_Challenge_TestDataset" / "Photos" / f"test{number}.tif", pixels)
    return expected


def _tissue(folder: str, random: np.random.Generator) -> Floats:
    """Draw tissue of (192, 256, 3), 0 to 1."""
    ground = {"Normal": (0.95, 0.78, 0.87), "Benign": (0.90, 0.70, 0.82), "InSitu": (0.87, 0.66, 0.80)}
    picture = stained(
        random, _HEIGHT, _WIDTH, ground.get(folder, (0.74, 0.52, 0.72)), nuclei=0.3, cells=30,
        streaks=0.03 if folder in ("Normal", "Invasive") else 0.0,
    )  # fmt: skip
    count, radius, lumen, ragged = {
        "Normal": (2, 0.18, 0.6, 0.0),
        "Benign": (4, 0.17, 0.6, 0.02),
        "InSitu": (3, 0.28, 0.0, 0.02),
        "Invasive": (5, 0.15, 0.0, 0.2),
    }[folder]
    return glands(picture, random, count=count, radius=radius, lumen=lumen, ragged=ragged)
