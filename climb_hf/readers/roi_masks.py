"""Masks of regions of interest that publishers file together with the crops they belong to."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from climb_hf.readers.dicom import read_dicom_header, register_pillow_plugin
from climb_hf.readers.image import encode_image, load_image
from climb_hf.readers.integrity import damage_named
from climb_hf.readers.regions import bounding_box

__all__ = ["find_mask", "picture_size", "read_mask", "roi_columns"]

_EDGE = 16  # greys this close to black or white are black or white, as JPEG leaves a little noise
_SHARE = 0.98  # of the pixels of a mask are black or white; its blurred outline is the rest


def picture_size(path: Path) -> tuple[int, int]:
    """Return width and height of a picture, DICOM included, from its header.

    Args:
        path (`Path`): the picture.

    Returns:
        `tuple[int, int]`: pixels.

    Raises:
        CorruptFileError: the file is missing, damaged or no picture.
    """
    register_pillow_plugin()
    with damage_named(str(path), "opening"), Image.open(path) as picture:
        return picture.size


def find_mask(files: Sequence[Path], size: tuple[int, int]) -> Path | None:
    """Tell by content which of the files of an abnormality is its mask; names and descriptions are no guide.

    The mask has the size of the whole picture. Where none has, it is the DICOM file of 8 bits (crops have 16), or the
    picture of another format that is black and white.

    Args:
        files (sequence of `Path`): crop and mask, in any order; either may be absent.
        size (`tuple[int, int]`): width and height of the whole picture.

    Returns:
        `Path`, *optional*: the first file that is a mask.

    Raises:
        CorruptFileError: a file cannot be read.
    """
    by_size = [path for path in files if picture_size(path) == size]
    return by_size[0] if by_size else next((path for path in files if _is_two_valued(path)), None)


def _is_two_valued(path: Path) -> bool:
    if path.suffix.lower() == ".dcm":
        return read_dicom_header(path, tags=["BitsAllocated"]).get("BitsAllocated") == 8
    grey = load_image(path, mode="L")
    return float(np.mean((grey < _EDGE) | (grey > 255 - _EDGE))) >= _SHARE


def read_mask(path: Path, size: tuple[int, int]) -> tuple[NDArray[np.bool_], bool]:
    """Read a mask and bring it to the size of its picture.

    Args:
        path (`Path`): the mask; brighter than half is inside.
        size (`tuple[int, int]`): width and height of the picture.

    Returns:
        (height, width) bool array, and whether it had another size (nearest neighbour gave the one asked for).

    Raises:
        CorruptFileError: the file is damaged.
    """
    mask = load_image(path, mode="L")[..., 0] > 127
    if mask.shape == size[::-1]:
        return mask, False
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST)), True


def roi_columns(
    root: Path, entries: Sequence[Mapping[str, Any]], size: tuple[int, int], image_size: int | None = None
) -> dict[str, Any]:
    """Return what the masks of a picture's abnormalities give: their union, their boxes, and which file each is.

    Args:
        root (`Path`): folder the paths are relative to.
        entries (sequence of mappings): one per abnormality, with `roi_files` (crop and mask, in any order), `in_label`
            (whether it counts), `abnormality_type`, and anything else.
        size (`tuple[int, int]`): width and height of the picture.
        image_size (`int`, *optional*): side of the square the picture is resized to; the mask follows by nearest
            neighbour, the boxes stay in pixels of the file.

    Returns:
        `dict`: `mask` (PNG, 255 inside any mask that counts; `None` without one), `objects` (`bbox` as x, y, width,
        height, and `category`) and `metadata` with the entries as `abnormalities`, where `mask_file` and
        `mask_resized` are added.

    Raises:
        CorruptFileError: a file cannot be read.
    """
    masks, boxes, names, found = [], [], [], []
    for entry in entries:
        path = find_mask([root / file for file in entry["roi_files"]], size)
        mask, resized = read_mask(path, size) if path and entry["in_label"] else (None, None)
        if mask is not None and (box := bounding_box(mask)):
            masks.append(mask)
            boxes.append(box)
            names.append(entry["abnormality_type"])
        mask_file = path.relative_to(root).as_posix() if path else None
        found.append({**entry, "mask_file": mask_file, "mask_resized": resized})
    columns: dict[str, Any] = {"mask": None, "objects": None, "metadata": {"abnormalities": found}}
    if masks:
        merged = Image.fromarray(np.any(masks, axis=0).astype(np.uint8) * 255)
        if image_size is not None:
            merged = merged.resize((image_size, image_size), Image.Resampling.NEAREST)
        columns["mask"] = {"bytes": encode_image(merged), "path": None}
        columns["objects"] = {"bbox": boxes, "category": names}
    return columns
