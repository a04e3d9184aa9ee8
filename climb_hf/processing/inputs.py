"""The default `read` of picture and video sources: from a file to the input columns of its family."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import CorruptFileError
from climb_hf.source import Options

if TYPE_CHECKING:
    import numpy as np

__all__ = ["encode_frames", "read_frames_columns", "read_image_columns"]

#: Frames of a video handed out where `num_frames` is not given.
DEFAULT_VIDEO_FRAMES = 16
_DICOM = (".dcm", ".dicom", ".dic")
#: Formats that may hold transparency or 16-bit grey, as `file_kind` calls them: publishers do name a PNG `.jpg`.
_MAY_CONVERT_BADLY = ("png", "tiff", "gif", "webp")


def read_image_columns(path: Path, options: Options) -> dict[str, Any]:
    """Return the `image` column of one picture file.

    Without options that change the picture its path is stored and Pillow decodes at access; nothing is copied. With
    `image_size`, `window` or `bit_depth=16` the picture is decoded now and stored as PNG (grey ones with one channel),
    so nothing is lost twice. So are pictures that `datasets.Image(mode="RGB")` would get wrong: it drops alpha (we lay
    it on white) and cuts 16-bit grey at 255.

    Args:
        path (`Path`): JPEG, PNG, TIFF or DICOM file.
        options (`Options`): `image_size`, `window` and `bit_depth` apply.

    Returns:
        `dict`: with the key `image`: a path, or `{"bytes": png, "path": None}`.

    Raises:
        CorruptFileError: the file cannot be decoded.
    """
    is_plain = options.window is None and options.bit_depth == 8
    if path.suffix.lower() in _DICOM:
        _refuse_several_frames(path)
    if is_plain and options.image_size is None and _converts_well(path):
        return {"image": str(path)}
    from climb_hf.readers.image import encode_image, load_image, resize_image

    if is_plain:
        pixels = load_image(path, size=options.image_size, mode="L" if _is_grey(path) else "RGB")
    else:
        from climb_hf.readers.dicom import render_dicom

        pixels = render_dicom(path, window=options.window, bit_depth=options.bit_depth)
        if options.image_size is not None:
            pixels = resize_image(pixels, options.image_size)
    return {"image": {"bytes": encode_image(pixels, format="PNG"), "path": None}}


def _refuse_several_frames(path: Path) -> None:
    """Pillow would show the first frame of a multi-frame file without a word; such a file is not one picture."""
    from climb_hf.readers.dicom import read_dicom_header

    frames = int(read_dicom_header(path, tags=["NumberOfFrames"]).get("NumberOfFrames") or 1)
    if frames > 1:
        raise CorruptFileError(
            f"`{path.name}` holds {frames} frames, expected one picture per file. A source of multi-frame files must "
            "read its frames itself (`climb_hf.readers.dicom.render_dicom(path, frame=...)`)."
        )


def _is_grey(path: Path) -> bool:
    """Tell from its header whether a picture has one channel."""
    from PIL import Image

    from climb_hf.readers.integrity import damage_named

    with damage_named(str(path), "opening"), Image.open(path) as picture:
        return picture.mode in ("1", "L") or picture.mode.startswith("I")


def _converts_well(path: Path) -> bool:
    """Tell whether `datasets` shows a picture as we do: it has no transparent pixel and no 16-bit grey."""
    from climb_hf.readers.integrity import damage_named, file_kind

    with path.open("rb") as file:
        if file_kind(file.read(132)) not in _MAY_CONVERT_BADLY:
            return True
    from PIL import Image

    with damage_named(str(path), "opening"), Image.open(path) as picture:
        if picture.mode.startswith(("I", "F")):
            return False
        if picture.mode not in ("RGBA", "LA", "PA") and "transparency" not in picture.info:
            return True
        lowest, _ = picture.convert("RGBA").getchannel("A").getextrema()
        return lowest == 255


def read_frames_columns(path: Path, options: Options) -> dict[str, Any]:
    """Return the `frames` and `fps` columns of one video.

    Args:
        path (`Path`): a video file.
        options (`Options`): `num_frames` (default 16, or `"all"`) and `image_size` apply.

    Returns:
        `dict`: `frames`, PNG bytes in time order, at most `num_frames` and as many as the clip has; `fps`, the rate of
        the frames handed out in Hz.

    Raises:
        CorruptFileError: not one frame can be decoded.
    """
    from climb_hf.readers.video import read_frames

    frames, fps = read_frames(path, options.num_frames or DEFAULT_VIDEO_FRAMES)
    return {"frames": encode_frames(frames, options), "fps": fps}


def encode_frames(frames: "Iterable[np.ndarray]", options: Options) -> list[dict[str, Any]]:
    """Return decoded frames as values of the `frames` column.

    Args:
        frames (`Iterable[np.ndarray]`): each (height, width) or (height, width, 3) uint8.
        options (`Options`): `image_size` applies.

    Returns:
        `list[dict]`: `{"bytes": png, "path": None}` for each.
    """
    from climb_hf.readers.image import encode_image, resize_image

    size = options.image_size
    shown = (frame if size is None else resize_image(frame, size) for frame in frames)
    return [{"bytes": encode_image(frame, format="PNG"), "path": None} for frame in shown]
