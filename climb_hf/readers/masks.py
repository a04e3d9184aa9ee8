"""Segmentation masks that lie beside a picture: several files of whatever mode become one binary mask."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from climb_hf.errors import CorruptFileError
from climb_hf.readers.image import encode_image, resize_image
from climb_hf.readers.integrity import damage_named

__all__ = ["encode_mask", "merge_masks", "read_label_mask", "read_mask"]

#: Grey above this is inside: JPEG blurs the border of a mask, and a resized PNG has grey ones too.
THRESHOLD = 127


def merge_masks(paths: Sequence[Path], size: tuple[int, int]) -> np.ndarray:
    """Return the union of mask files.

    Args:
        paths (`Sequence[Path]`): one file or more, of any mode; grey above 127 of 255 is inside.
        size (`(int, int)`): width and height that every file must have, those of the picture.

    Returns:
        `np.ndarray`: (height, width) bool.

    Raises:
        CorruptFileError: a file cannot be decoded or has another size.
    """
    union = np.zeros(size[::-1], dtype=bool)
    for path in paths:
        with damage_named(str(path), "decoding"), Image.open(path) as mask:
            if mask.size != size:
                raise CorruptFileError(
                    f"`{path}`: expected a mask of {size[0]} × {size[1]} as its picture, found {mask.size[0]} × "
                    f"{mask.size[1]}. Take picture and mask from the same release."
                )
            union |= np.asarray(mask.convert("L")) > THRESHOLD
    return union


def read_mask(paths: Sequence[Path], picture: Path, image_size: int | None = None) -> dict[str, Any] | None:
    """Return the value of the `mask` column: the union of mask files as PNG, 0 outside and 255 inside.

    Args:
        paths (`Sequence[Path]`): the files; none gives `None`.
        picture (`Path`): the picture they belong to, which gives the size.
        image_size (`int`, *optional*): side in pixels to which the picture is resized too.

    Returns:
        `dict` with `bytes` and `path`, *optional*.

    Raises:
        CorruptFileError: a file cannot be decoded, or a mask has another size than the picture.
    """
    if not paths:
        return None
    with damage_named(str(picture), "opening"), Image.open(picture) as image:
        size = image.size
    return encode_mask(merge_masks(paths, size), image_size)


def encode_mask(mask: np.ndarray, image_size: int | None = None) -> dict[str, Any]:
    """Return a mask as value of a `mask` or `masks` column: a PNG, 0 outside and 255 inside.

    Args:
        mask (`np.ndarray`): (height, width) bool.
        image_size (`int`, *optional*): side in pixels to which the picture is resized too.

    Returns:
        `dict`: `{"bytes": png, "path": None}`.
    """
    if image_size is not None:
        mask = resize_image(mask.astype(np.uint8) * 255, image_size) > THRESHOLD
    return {"bytes": encode_image(mask), "path": None}


def read_label_mask(path: Path, image_size: int | None = None) -> str | dict[str, Any]:
    """Return the value of the `mask` column for one mask file whose values are kept as they are.

    Args:
        path (`Path`): a mask of one channel, or of a palette.
        image_size (`int`, *optional*): stretch it to that square by nearest neighbour, so that no new value arises.

    Returns:
        The path, or `{"bytes": png, "path": None}`.

    Raises:
        CorruptFileError: the file cannot be decoded (`image_size` only).
    """
    if image_size is None:
        return str(path)
    buffer = io.BytesIO()
    with damage_named(str(path), "decoding"), Image.open(path) as mask:
        mask.resize((image_size, image_size), Image.Resampling.NEAREST).save(buffer, format="PNG")
    return {"bytes": buffer.getvalue(), "path": None}
