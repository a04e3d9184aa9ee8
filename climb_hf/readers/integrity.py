"""Is a file whole? Cheap checks of magic bytes and end markers, and a full decode for those who want it.

`quick_check` reads a few hundred bytes at the start and at the end of a file. It tells a truncated download, an error
page saved as an image, or an empty file from a usable one; it does not see damage in the middle of the compressed
data, which `check(path, "full")` does. What a file is, is decided by its content; its suffix only says which families
of content are acceptable, because publishers do name a PNG `.jpg`.
"""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from climb_hf.errors import ClimbError, CorruptFileError, OptionError
from climb_hf.readers.file_formats import CHECKS, TAIL, file_kind

__all__ = ["check", "damage_named", "ends_early", "file_kind", "quick_check", "source_name"]

_IMAGES = frozenset({"jpeg", "png", "gif", "bmp", "tiff", "webp"})
_VIDEOS = frozenset({"mp4", "avi", "asf", "matroska", "gif"})
_FAMILIES = {
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"), _IMAGES),
    **dict.fromkeys((".mp4", ".m4v", ".mov", ".avi", ".wmv", ".mkv", ".webm"), _VIDEOS),
    **dict.fromkeys((".dcm", ".dicom", ".dic"), frozenset({"dicom"})),
    **dict.fromkeys((".zip", ".npz", ".xlsx"), frozenset({"zip"})),
    ".gz": frozenset({"gzip"}),
    ".tgz": frozenset({"gzip"}),
}


def source_name(source: object) -> str:
    """Name a source for a message: the path where there is one, else what kind of object it is.

    Args:
        source: path, bytes, file object, or anything else.

    Returns:
        `str`: the path, the `name` of a file object, or such as `"<bytes>"`.

    Example:
        >>> source_name(b"abc")
        '<bytes>'
    """
    if isinstance(source, (str, Path)):
        return str(source)
    name = getattr(source, "filename", "") or getattr(source, "name", "")
    return name if isinstance(name, str) and name else f"<{type(source).__name__}>"


@contextlib.contextmanager
def damage_named(name: str, action: str) -> Iterator[None]:
    """Turn what a decoder raises on damaged content into a `CorruptFileError` that names the file.

    Args:
        name (`str`): the file, as in `source_name`.
        action (`str`): what was tried, such as `"decoding"`.

    Yields:
        Nothing. Errors of climb-hf, missing packages and lack of memory pass unchanged.

    Raises:
        CorruptFileError: the body raised anything else; the original error is its cause.
    """
    try:
        yield
    except (ClimbError, ImportError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever they like: their own classes, SyntaxError, TypeError …
        text = str(error).rstrip(".") or type(error).__name__
        raise CorruptFileError(f"`{name}`: {action} failed ({text}). Fetch the file again or leave it out.") from error


def quick_check(path: str | Path) -> None:
    """Check that a file exists, is not empty, is what its suffix promises, and does not end too early.

    JPEG must hold an end-of-image marker and PNG an `IEND` chunk (bytes after them are tolerated), GIF a trailer;
    BMP, TIFF, WebP, AVI and WMV the extent their header declares; DICOM all of its pixel data; MP4/MOV boxes that fit
    the file and a `moov`; ZIP and NPZ a central directory. Files of other formats only have to exist and hold
    something.

    Args:
        path (`str` or `Path`): the file.

    Raises:
        CorruptFileError: the file is missing, empty, truncated or of another format.
        DependencyError: a DICOM file, and pydicom is not installed.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CorruptFileError(f"`{path}` cannot be read ({error.strerror}). Fetch it, or leave it out.") from error
    if not path.is_file():
        raise CorruptFileError(f"`{path}` is not a file. Check the path in the publisher's table.")
    if size == 0:
        raise CorruptFileError(f"`{path}` is empty (0 bytes). Fetch it again or leave it out.")
    with path.open("rb") as file:
        head = file.read(TAIL)
        kind = file_kind(head)
        family = _FAMILIES.get(path.suffix.lower())
        if family is not None and kind not in family:
            raise CorruptFileError(
                f"`{path}`: a `{path.suffix}` file should hold {' or '.join(sorted(family))}, but this holds "
                f"{kind or 'something else'} (first bytes {head[:8].hex(' ')}). Fetch it again or leave it out."
            )
        if kind in CHECKS:
            with damage_named(str(path), f"checking as {kind}"):
                CHECKS[kind](file, head, size)


def ends_early(path: str | Path) -> bool:
    """Tell whether a file of a known format ends before its headers say, whatever its suffix.

    Args:
        path (`str` or `Path`): an existing file.

    Returns:
        `bool`: `True` if the end marker is missing or the declared extent does not fit the file.
    """
    path = Path(path)
    with path.open("rb") as file:
        head = file.read(TAIL)
        kind = file_kind(head)
        try:
            if kind in CHECKS:
                with damage_named(str(path), f"checking as {kind}"):
                    CHECKS[kind](file, head, path.stat().st_size)
        except CorruptFileError:
            return True
    return False


def check(path: str | Path, mode: Literal["quick", "full", "none"] = "quick") -> None:
    """Check a file as far as `mode` says.

    Args:
        path (`str` or `Path`): the file.
        mode (`str`, *optional*, defaults to `"quick"`): `"quick"` (see `quick_check`), `"full"` (also decodes every
            image, frame and archive member) or `"none"`.

    Raises:
        CorruptFileError: the file fails the check.
        OptionError: `mode` is none of the three.
    """
    if mode not in ("quick", "full", "none"):
        raise OptionError(f"`verify` must be 'quick', 'full' or 'none', not {mode!r}.")
    if mode == "none":
        return
    quick_check(path)
    if mode == "full":
        path = Path(path)
        with path.open("rb") as file:
            kind = file_kind(file.read(TAIL)) or ""
        status = path.stat()
        with damage_named(str(path), f"decoding as {kind}"):
            _decode(path, kind, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=8)  # the records cut from one long recording share one decode
def _decode(path: Path, kind: str, size: int, modified: int) -> None:
    """Decode all of a file, discarding the result."""
    if kind == "dicom":
        from climb_hf.readers.dicom import check_pixels

        check_pixels(path)
    elif kind == "gif" or kind in _IMAGES:
        from PIL import Image, ImageSequence

        with Image.open(path) as image:
            for frame in ImageSequence.Iterator(image):
                frame.load()
    elif kind in _VIDEOS:
        from climb_hf.readers.video import check_frames

        check_frames(path)
    elif kind == "gzip":
        import gzip

        with gzip.open(path) as stream:
            while stream.read(1 << 20):
                continue
    elif kind == "zip":
        import zipfile

        with zipfile.ZipFile(path) as archive:
            if (member := archive.testzip()) is not None:
                raise ValueError(f"the checksum of member `{member}` is wrong")
