"""Pictures to arrays, fast: one place for decoding, colour rules, orientation and resizing.

A JPEG that will be resized is decoded at a reduced scale: the inverse cosine transform of libjpeg yields 1/2, 1/4 or
1/8 of the size directly, and the smallest of these that is still at least as large as the target on both sides is then
resized with an antialiased bicubic filter. On 1–2 megapixel pictures this saves most of the time of decoding.
"""

import contextlib
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from climb_hf.errors import OptionError
from climb_hf.readers.dicom import register_pillow_plugin
from climb_hf.readers.integrity import damage_named, source_name

__all__ = ["encode_image", "load_image", "resize_image", "to_rgb"]

Size = int | tuple[int, int]
Aspect = Literal["stretch", "crop", "pad"]
Box = tuple[float, float, float, float]

_ORIENTATION = 0x0112  # EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_image(
    source: str | Path | bytes | Mapping[str, Any] | Image.Image,
    *,
    size: Size | None = None,
    mode: Literal["RGB", "L"] = "RGB",
    keep_aspect: Aspect = "stretch",
) -> np.ndarray:
    """Decode a picture, upright, in RGB or grey, and resize it on the way.

    Colour rules are those of `to_rgb`; EXIF orientation is applied; of an animation the first frame is taken. DICOM is
    rendered as by `render_dicom` without options.

    Args:
        source (`str`, `Path`, `bytes`, mapping or `PIL.Image.Image`): a file, its content, `{"path": …, "bytes": …}`
            as `datasets` stores it (`bytes` go first), or a picture.
        size (`int` or `(height, width)`, *optional*): size in pixels; an `int` gives a square. By default unchanged.
        mode (`str`, *optional*, defaults to `"RGB"`): `"RGB"` or `"L"` (grey).
        keep_aspect (`str`, *optional*, defaults to `"stretch"`): `"stretch"` ignores the aspect ratio, `"crop"` takes
            the largest centred part that has the ratio of `size`, to the pixel as torchvision's `Resize` and
            `CenterCrop`, `"pad"` fits all in and fills up with black.

    Returns:
        `np.ndarray`: (height, width, 3) or, for `"L"`, (height, width, 1) uint8.

    Raises:
        CorruptFileError: the file is missing, truncated or no picture.
        OptionError: a bad `size`, `mode` or `keep_aspect`.

    Example:
        >>> load_image(Image.new("L", (64, 48), 7), size=8).shape
        (8, 8, 3)
    """
    if mode not in ("RGB", "L"):
        raise OptionError(f"`mode` must be 'RGB' or 'L', not {mode!r}.")
    target = _checked_size(size, keep_aspect)
    name = source_name((source.get("path") or source.get("bytes")) if isinstance(source, Mapping) else source)
    with damage_named(name, "decoding"), _opened(source) as image:
        array = np.array(_upright(image, target, mode, keep_aspect, may_draft=image is not source))
    if array.ndim == 3:
        return array
    return array[..., None] if mode == "L" else np.repeat(array[..., None], 3, axis=2)


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any picture to RGB by the one rule of climb-hf.

    Grey is repeated, palettes are resolved, transparent parts are laid on white, 16-bit grey 0–65535 becomes 0–255.
    Grey as floats or as integers beyond 16 bits has no declared range: its own range becomes 0–255.

    Args:
        image (`PIL.Image.Image`): any mode.

    Returns:
        `PIL.Image.Image`: mode `RGB`; the same object if it already was that and opaque.

    Example:
        >>> to_rgb(Image.new("RGBA", (1, 1), (255, 0, 0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    picture = _flatten(image, "RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def resize_image(pixels: np.ndarray, size: Size, *, keep_aspect: Aspect = "stretch") -> np.ndarray:
    """Resize an array of pixels with the filter of `load_image` (bicubic, antialiased).

    Args:
        pixels (`np.ndarray`): (height, width), (height, width, 1) or (height, width, 3) uint8, or uint16 grey.
        size (`int` or `(height, width)`): an `int` gives a square.
        keep_aspect (`str`, *optional*, defaults to `"stretch"`): as in `load_image`.

    Returns:
        `np.ndarray`: of the new size, number of dimensions and dtype unchanged.

    Raises:
        OptionError: a bad option, shape or dtype.

    Example:
        >>> resize_image(np.full((40, 30), 9, np.uint16), 8).max()
        np.uint16(9)
    """
    target = _checked_size(size, keep_aspect)
    picture = _from_array(pixels)
    if target is None:
        raise OptionError("`size` must be given: an int or (height, width).")
    if picture.mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.float32))
    extent = (0.0, 0.0, float(picture.width), float(picture.height))
    resized = np.array(_resize(picture, target, keep_aspect, extent))
    if resized.dtype == np.float32:
        resized = np.clip(np.rint(resized), 0, 65535).astype(np.uint16)
    return resized[..., None] if pixels.ndim == 3 and resized.ndim == 2 else resized


def encode_image(
    image: np.ndarray | Image.Image, format: Literal["PNG", "JPEG"] = "PNG", *, quality: int = 95
) -> bytes:
    r"""Encode a picture to the bytes of a file.

    Args:
        image (`np.ndarray` or `PIL.Image.Image`): (height, width[, 1]) uint8, uint16 or bool, (height, width, 3 or 4)
            uint8, or a picture.
        format (`str`, *optional*, defaults to `"PNG"`): `"PNG"` is lossless and keeps 16 bits; `"JPEG"` holds 8-bit
            grey or RGB (alpha is laid on white) without chroma subsampling.
        quality (`int`, *optional*, defaults to `95`): of JPEG, 1–100.

    Returns:
        `bytes`

    Raises:
        OptionError: a format, shape or dtype that cannot be encoded.

    Example:
        >>> encode_image(np.zeros((2, 2), np.uint8))[:4]
        b'\x89PNG'
    """
    picture = image if isinstance(image, Image.Image) else _from_array(image)
    buffer = io.BytesIO()
    if format == "PNG":
        # Level 1 costs up to a sixth more space than the default 6, and a third to two thirds of its time.
        picture.save(buffer, format="PNG", compress_level=1)
    elif format == "JPEG":
        if picture.mode.startswith("I;16"):
            raise OptionError("JPEG holds 8 bits per value: encode 16-bit pictures with `format='PNG'`.")
        picture = picture if picture.mode == "L" else to_rgb(picture)
        picture.save(buffer, format="JPEG", quality=quality, subsampling=0)
    else:
        raise OptionError(f"`format` must be 'PNG' or 'JPEG', not {format!r}.")
    return buffer.getvalue()


def _upright(
    image: Image.Image, target: tuple[int, int] | None, mode: Literal["RGB", "L"], keep_aspect: str, *, may_draft: bool
) -> Image.Image:
    """Decode, at reduced scale where that is enough; flatten, resize to `target`, and turn upright."""
    turn = image.getexif().get(_ORIENTATION, 1)
    if keep_aspect == "crop" and target is not None and turn in _TURNS:  # a crop that is rounded knows left from right
        picture = _flatten(image, mode).transpose(_TURNS[turn])
        return _resize(picture, target, keep_aspect, (0.0, 0.0, float(picture.width), float(picture.height)))
    if target is not None and turn >= 5:  # height and width change places
        target = target[::-1]
    extent = (0.0, 0.0, float(image.width), float(image.height))
    if may_draft:
        wanted = None if target is None else _needed_size(image.size, target, keep_aspect)
        drafted = image.draft("L" if mode == "L" else None, wanted)
        extent = extent if drafted is None else drafted[1]
    picture = _flatten(image, mode)
    if target is not None:
        picture = _resize(picture, target, keep_aspect, extent)
    return picture.transpose(_TURNS[turn]) if turn in _TURNS else picture


@contextlib.contextmanager
def _opened(source: str | Path | bytes | Mapping[str, Any] | Image.Image) -> Iterator[Image.Image]:
    """Open a source; a picture that was handed in is neither closed nor changed."""
    if isinstance(source, Image.Image):
        yield source
        return
    content = (source.get("bytes") or source.get("path")) if isinstance(source, Mapping) else source
    if not isinstance(content, (str, Path, bytes)):
        raise OptionError(f"expected a path, bytes, a mapping with one of them, or a picture, not {source!r:.80}.")
    register_pillow_plugin()
    with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
        yield image


def _checked_size(size: Size | None, keep_aspect: str) -> tuple[int, int] | None:
    """Return (height, width)."""
    if keep_aspect not in ("stretch", "crop", "pad"):
        raise OptionError(f"`keep_aspect` must be 'stretch', 'crop' or 'pad', not {keep_aspect!r}.")
    if size is None:
        return None
    pair = tuple(size) if isinstance(size, (tuple, list)) else (size, size)
    if len(pair) != 2 or not all(isinstance(side, (int, np.integer)) and side > 0 for side in pair):
        raise OptionError(f"`size` must be a positive int or (height, width), not {size!r}.")
    return int(pair[0]), int(pair[1])


def _needed_size(size: tuple[int, int], target: tuple[int, int], keep_aspect: str) -> tuple[int, int]:
    """Return the smallest (width, height) of the whole picture that does not have to be enlarged for `target`."""
    (width, height), (rows, columns) = size, target
    if keep_aspect == "stretch":
        return columns, rows
    choose = max if keep_aspect == "crop" else min
    ratio = choose(columns / width, rows / height)
    return math.ceil(width * ratio), math.ceil(height * ratio)


def _resize(picture: Image.Image, target: tuple[int, int], keep_aspect: str, extent: Box) -> Image.Image:
    """Resize the part `extent` of a picture to (height, width) `target`."""
    rows, columns = target
    width, height = extent[2], extent[3]
    if keep_aspect == "pad":
        ratio = min(columns / width, rows / height)
        inner = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        canvas = Image.new(picture.mode, (columns, rows))
        resized = picture.resize(inner, Image.Resampling.BICUBIC, box=extent)
        canvas.paste(resized, ((columns - inner[0]) // 2, (rows - inner[1]) // 2))
        return canvas
    if keep_aspect == "crop":
        extent = _central_part(width, height, target)
    return picture.resize((columns, rows), Image.Resampling.BICUBIC, box=extent)


def _central_part(width: float, height: float, target: tuple[int, int]) -> Box:
    """Return the part that torchvision keeps: the tighter side resized to `target`, then a central crop.

    The looser side is rounded down and the crop begins at a whole pixel of the resized picture, as in torchvision's
    `Resize` and `CenterCrop`; resampling that part alone gives the same pixels.
    """
    rows, columns = target
    if width * rows >= height * columns:
        whole = (rows, max(columns, int(rows * width / height)))
    else:
        whole = (max(rows, int(columns * height / width)), columns)
    top, left = round((whole[0] - rows) / 2), round((whole[1] - columns) / 2)
    step_y, step_x = height / whole[0], width / whole[1]
    return left * step_x, top * step_y, (left + columns) * step_x, (top + rows) * step_y


def _flatten(image: Image.Image, mode: Literal["RGB", "L"]) -> Image.Image:
    """Return a picture of mode `RGB` or `L`, `L` only if it is grey or `mode` asks for it."""
    if image.mode in (mode, "L") and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_grey_8(np.asarray(image), is_16_bit=image.mode != "F"))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    elif image.mode == "1":
        return image.convert("L")
    return image.convert(mode)


def _grey_8(values: np.ndarray, *, is_16_bit: bool) -> np.ndarray:
    """Map grey of more than 8 bits to uint8: 0–65535 as declared, anything else by its own range."""
    if is_16_bit and values.min() >= 0 and values.max() <= 65535:
        return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    values = values.astype(np.float64)
    usable = np.isfinite(values)
    low, high = (values[usable].min(), values[usable].max()) if usable.any() else (0.0, 0.0)
    scaled = (np.where(usable, values, low) - low) * (255 / (high - low) if high > low else 0)
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def _from_array(pixels: np.ndarray) -> Image.Image:
    pixels = np.asarray(pixels)
    plane = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    if plane.dtype == bool:
        plane = plane.astype(np.uint8) * 255
    is_grey = plane.ndim == 2 and plane.dtype in (np.uint8, np.uint16)
    if not is_grey and not (plane.ndim == 3 and plane.shape[2] in (3, 4) and plane.dtype == np.uint8):
        raise OptionError(
            f"a picture must be (height, width[, 1]) uint8, uint16 or bool, or (height, width, 3 or 4) uint8, not "
            f"{pixels.shape} {pixels.dtype}. Convert it first."
        )
    return Image.fromarray(np.ascontiguousarray(plane))
