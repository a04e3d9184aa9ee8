"""Is a file whole? Cheap checks of magic bytes and end markers, and a full decode for those who want it.

`quick_check` reads a few hundred bytes at the start and at the end of a file. It tells a truncated download, an error
page saved as an image, or an empty file from a usable one; it does not see damage in the middle of the compressed
data, which `check(path, "full")` does. What a file is, is decided by its content; its suffix only says which families
of content are acceptable, because publishers do name a PNG `.jpg`.
"""

import contextlib
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from climb_hf.errors import ClimbError, CorruptFileError, OptionError

__all__ = ["check", "damage_named", "ends_early", "file_kind", "quick_check", "source_name"]

TAIL = 1024  # bytes read at the end of a file
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
_MAGIC = (
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (128, b"DICM", "dicom"),  # before TIFF: a DICOM preamble may hold a TIFF header
    (0, b"II*\x00", "tiff"),
    (0, b"MM\x00*", "tiff"),
    (0, b"II+\x00", "tiff"),
    (0, b"MM\x00+", "tiff"),
    (0, b"BM", "bmp"),
    (8, b"WEBP", "webp"),
    (8, b"AVI ", "avi"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
)
_MP4_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"uuid"})
# What libraries raise on damaged content; programming errors of ours (NameError, ImportError) are not among them.
_DAMAGE: tuple[type[Exception], ...] = (
    *(ArithmeticError, AttributeError, EOFError, LookupError, OSError, RuntimeError, SyntaxError, TypeError),
    *(ValueError, struct.error, zlib.error),
)


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
        Nothing; errors of climb-hf and missing packages pass unchanged.

    Raises:
        CorruptFileError: the body raised an error that damaged content causes.
    """
    try:
        yield
    except ClimbError:
        raise
    except _DAMAGE as error:
        text = str(error).rstrip(".") or type(error).__name__
        raise CorruptFileError(f"`{name}`: {action} failed ({text}). Fetch the file again or leave it out.") from error


def file_kind(head: bytes) -> str | None:
    """Recognise a format by the first bytes of a file.

    Args:
        head (`bytes`): at least the first 132 bytes, fewer only if the file is shorter.

    Returns:
        `str` or `None`: `"jpeg"`, `"png"`, `"gif"`, `"bmp"`, `"tiff"`, `"webp"`, `"dicom"`, `"mp4"` (also QuickTime),
        `"avi"`, `"asf"`, `"matroska"`, `"gzip"`, `"zip"`, or `None` for anything else.

    Example:
        >>> file_kind(b"GIF89a" + bytes(200))
        'gif'
    """
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    return "mp4" if head[4:8] in _MP4_BOXES else None


def quick_check(path: str | Path) -> None:
    """Check that a file exists, is not empty, is what its suffix promises, and does not end too early.

    JPEG must hold an end-of-image marker and PNG an `IEND` chunk (bytes after them are tolerated), GIF a trailer, BMP,
    TIFF and WebP the extent their header declares, DICOM all of its pixel data, MP4/MOV boxes that fit the file and a
    `moov`, AVI its RIFF size, ZIP and NPZ a central directory. Files of other formats only have to exist and hold
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
        if kind in _CHECKS:
            with damage_named(str(path), f"checking as {kind}"):
                _CHECKS[kind](file, head, size)


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
            if kind in _CHECKS:
                with damage_named(str(path), f"checking as {kind}"):
                    _CHECKS[kind](file, head, path.stat().st_size)
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
        with damage_named(str(path), f"decoding as {kind}"):
            _decode(path, kind)


def _decode(path: Path, kind: str) -> None:
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


def _tail(file: BinaryIO, size: int, length: int = TAIL) -> bytes:
    file.seek(max(0, size - length))
    return file.read(length)


def _all(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read()


def _check_jpeg(file: BinaryIO, head: bytes, size: int) -> None:
    tail = _tail(file, size)
    if tail.rstrip(b"\x00\xff\r\n ").endswith(b"\xff\xd9"):
        return
    # No marker at the very end: walk the segments, so that a thumbnail's marker does not pass for the image's.
    data = _all(file)
    position = 2
    while position + 4 <= size:
        marker, length = struct.unpack(">HH", data[position : position + 4])
        if marker == 0xFFD9:
            return
        if marker < 0xFF01:
            raise ValueError(f"no marker where one is due, at byte {position}")
        if marker == 0xFFFF:  # fill byte
            position += 1
            continue
        position += 2 + length
        if marker == 0xFFDA:  # entropy-coded data: skip stuffed bytes and restart markers
            position = _next_marker(data, position)
    if data[position : position + 2] != b"\xff\xd9":
        raise ValueError("no end-of-image marker FF D9: the file is truncated")


def _next_marker(data: bytes, position: int) -> int:
    while (position := data.find(b"\xff", position)) >= 0:
        follower = data[position + 1 : position + 2]
        if follower not in (b"\x00", b"\xff") and not b"\xd0" <= follower <= b"\xd7":
            return position
        position += 1
    return len(data)


def _check_png(file: BinaryIO, head: bytes, size: int) -> None:
    if b"IEND\xaeB`\x82" in _tail(file, size):
        return
    position = 8
    while position + 12 <= size:  # something follows the image: walk its chunks
        file.seek(position)
        length, name = struct.unpack(">I4s", file.read(8))
        position += 12 + length
        if name == b"IEND":
            return
    raise ValueError("no IEND chunk: the file is truncated")


def _check_gif(file: BinaryIO, head: bytes, size: int) -> None:
    if _tail(file, size).rstrip(b"\x00\r\n").endswith(b";"):
        return
    data = _all(file)
    flags = data[10]
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while position < size and data[position] != 0x3B:
        if data[position] == 0x21:  # extension
            position += 2
        elif data[position] == 0x2C:  # image: descriptor, local colours, code size
            flags = data[position + 9]
            position += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        else:
            raise ValueError(f"no block where one is due, at byte {position}")
        while data[position]:  # sub-blocks
            position += 1 + data[position]
        position += 1
    if position >= size:
        raise ValueError("no trailer: the file is truncated")


def _check_bmp(file: BinaryIO, head: bytes, size: int) -> None:
    offset, header_size = struct.unpack("<II", head[10:18])
    end = offset
    if header_size >= 40:
        width, height, _, bits, compression = struct.unpack("<iiHHI", head[18:34])
        if compression in (0, 3):
            end = offset + (width * bits + 31) // 32 * 4 * abs(height)
    if end > size:
        raise ValueError(f"the header asks for {end} bytes, the file has {size}: it is truncated")


def _check_tiff(file: BinaryIO, head: bytes, size: int) -> None:
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\x00", b"\x00+")
    (offset,) = struct.unpack(order + "Q", head[8:16]) if big else struct.unpack(order + "I", head[4:8])
    if not 8 <= offset <= size - (16 if big else 6):
        raise ValueError(
            f"the first directory should lie at byte {offset}, the file has {size} bytes: it is truncated"
        )


def _check_riff(file: BinaryIO, head: bytes, size: int) -> None:
    (declared,) = struct.unpack("<I", head[4:8])
    # 0 and FFFFFFFF are left by writers that could not seek back; then only decoding can tell.
    if declared not in (0, 0xFFFFFFFF) and declared + 8 > size:
        raise ValueError(f"the RIFF header declares {declared + 8} bytes, the file has {size}: it is truncated")


def _check_dicom(file: BinaryIO, head: bytes, size: int) -> None:
    from climb_hf.readers.dicom import check_extent

    file.seek(0)
    check_extent(file)


def _check_mp4(file: BinaryIO, head: bytes, size: int) -> None:
    position, names = 0, set()
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length, name = struct.unpack(">I4s", header[:8])
        if not header.strip(b"\x00"):
            break  # padding after the last box
        if length == 1:
            length = struct.unpack(">Q", header[8:16])[0]
        elif length == 0:
            length = size - position  # runs to the end of the file
        if length < 8:
            raise ValueError(f"box at byte {position} has an impossible size of {length}")
        names.add(name)
        position += length
    if position > size:
        raise ValueError(f"the boxes end at byte {position}, the file has {size}: it is truncated")
    if b"moov" not in names:
        raise ValueError("no `moov` box: the file is truncated or its recording was not finished")


def _check_gzip(file: BinaryIO, head: bytes, size: int) -> None:
    if size < 18 or head[2] != 8:
        raise ValueError("no complete gzip member")


def _check_zip(file: BinaryIO, head: bytes, size: int) -> None:
    if b"PK\x05\x06" not in _tail(file, size) and b"PK\x05\x06" not in _tail(file, size, 22 + 0xFFFF):
        raise ValueError("no end of central directory: the file is truncated")


_CHECKS: dict[str, Callable[[BinaryIO, bytes, int], None]] = {
    "jpeg": _check_jpeg,
    "png": _check_png,
    "gif": _check_gif,
    "bmp": _check_bmp,
    "tiff": _check_tiff,
    "webp": _check_riff,
    "avi": _check_riff,
    "dicom": _check_dicom,
    "mp4": _check_mp4,
    "gzip": _check_gzip,
    "zip": _check_zip,
}
