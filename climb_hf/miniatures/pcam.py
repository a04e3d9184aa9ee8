"""Synthetic raw copy of PatchCamelyon: drawn lymph node patches in the publisher's HDF5 files.

Every picture is drawn, none comes from a patient. Patches without tumor are full of small dark lymphocytes; a tumor is
a pale nest with few large nuclei, in the centre of the patch where the label is 1.

Oddities of the release that it writes:

* HDF5 files of their own for pictures (`x`, N x 96 x 96 x 3) and labels (`y`, N x 1 x 1 x 1), each compressed as a
  whole (`.h5.gz`) or unpacked, the train pictures in chunks and the others in one piece;
* the second split is called `valid`; the tables have an unnamed first column and `True`/`False`;
* tumor outside the central 32 x 32 pixels: `tumor_patch` is `True`, the label 0;
* several patches per slide, no slide in two splits, and two identical patches;
* optionally the masks of the train patches that some mirrors hold.
"""

import gzip
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import (
    Expected,
    check_choice,
    check_count,
    ellipse,
    grid,
    rng,
    to_uint8,
    write_bytes,
    write_csv,
)
from climb_hf.miniatures._stained import stained
from climb_hf.optional import require

__all__ = ["make"]

_CLASSES = ("No metastatic tumor", "Metastatic tumor")
_STEM = "camelyonpatch_level_2_split_{}_{}"
_SLIDES = {"train": "train_tumor", "valid": "train_normal", "test": "test"}
_SIDE = 96
_PER_SLIDE = 2


def make(
    root: Path, n: int = 32, seed: int = 0, *, layout: str = "gz", with_meta: bool = True, with_mask: bool = False
) -> list[Expected]:
    """Write a synthetic PatchCamelyon folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of patches, at least 8: half of them train, a quarter valid.
        seed (`int`, *optional*, defaults to `0`): seed of the content.
        layout (`str`, *optional*, defaults to `"gz"`): `"gz"` (as published) or `"h5"` (unpacked).
        with_meta (`bool`, *optional*, defaults to `True`): write the three tables of slides and coordinates.
        with_mask (`bool`, *optional*, defaults to `False`): add the masks of the train patches.

    Returns:
        `list[Expected]`: by split, then row; `values`: `raw_labels`, `index`, `wsi`, `coord_x`, `coord_y`,
        `tumor_patch`, `file`, and `mask_pixels` where there are masks.

    Raises:
        OptionError: an option out of range.
        DependencyError: h5py is not installed.
    """
    check_count("pcam", n, seed)
    check_choice("pcam", "layout", layout, ("gz", "h5"))
    ending = ".h5.gz" if layout == "gz" else ".h5"
    expected = []
    for split, count in (("train", n - 2 * (n // 4)), ("valid", n // 4), ("test", n // 4)):
        drawn = [_patch(split, row, seed) for row in range(count)]
        pictures, masks = (np.stack([patch[k] for patch in drawn]) for k in (0, 1))
        if split == "train":
            pictures[-1], masks[-1] = pictures[-3], masks[-3]  # of the same class
        tumors = [bool(mask.any()) for mask in masks]
        labels = np.array([row % 2 for row in range(count)], np.uint8)
        table: list[list[object]] = [["", "coord_y", "coord_x", "tumor_patch", "center_tumor_patch", "wsi"]]
        for row in range(count):
            x, y = (int(v) for v in rng(seed, "pcam", split, "place", row).integers(1000, 90_000, 2))
            slide = row // _PER_SLIDE
            wsi = f"camelyon16_{_SLIDES[split]}_{slide:03d}"
            table.append([row, y, x, tumors[row], bool(labels[row]), wsi])
            values: dict[str, object] = {
                "raw_labels": (str(labels[row]),),
                "index": row,
                "wsi": wsi if with_meta else None,
                "coord_x": x,
                "coord_y": y,
                "tumor_patch": tumors[row],
                "file": f"{_STEM.format(split, 'x')}{ending}",
                "mask_pixels": int(masks[row].sum()),
            }
            name, group = f"{split}_{row:06d}", wsi if with_meta else f"{split}_{row:06d}"
            part = "validation" if split == "valid" else split
            expected.append(Expected(name, part, group, (_CLASSES[labels[row]],), values))
        _write(root / f"{_STEM.format(split, 'x')}{ending}", "x", pictures, chunked=split == "train")
        _write(root / f"{_STEM.format(split, 'y')}{ending}", "y", labels.reshape(-1, 1, 1, 1))
        if with_meta:
            write_csv(root / f"{_STEM.format(split, 'meta')}.csv", table)
        if with_mask and split == "train":
            _write(root / f"{_STEM.format(split, 'mask')}{ending}", "mask", masks[..., None])
    write_bytes(root / ".DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64))
    return expected


def _patch(split: str, row: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(96, 96, 3) picture and (96, 96) mask; odd rows have tumor in the centre, some even ones at the border."""
    random = rng(seed, "pcam", split, row)
    picture = stained(random, _SIDE, _SIDE, (0.80, 0.66, 0.84), nuclei=0.75, cells=20)
    y, x = grid(_SIDE, _SIDE)
    nest = np.zeros((_SIDE, _SIDE), np.float32)
    if row % 2:
        nest = ellipse(y, x, random.uniform(-0.2, 0.2), random.uniform(-0.2, 0.2), 0.75, random.uniform(0.6, 0.9))
    elif row % 4 == 2:
        nest = ellipse(y, x, random.uniform(0.9, 1.0), 0.8, 0.4, 0.4)  # far from the central third
    tumor = stained(random, _SIDE, _SIDE, (0.93, 0.72, 0.82), nuclei=0.35, cells=8)
    return to_uint8(picture + nest[..., None] * (tumor - picture)), nest > 0.5


def _write(path: Path, name: str, values: NDArray[np.generic], *, chunked: bool = False) -> None:
    h5py = require("h5py", extra="hdf5")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset(name, data=values, chunks=(min(16, len(values)), *values.shape[1:]) if chunked else None)
    content = buffer.getvalue()
    write_bytes(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
