"""How the formats that publishers use begin and end: magic bytes, end markers, declared extents.

Every check reads a few hundred bytes, or walks the headers of boxes, chunks or items; nothing is decoded. The rare
file that has something behind its end marker is walked in full.
"""

import struct
from collections.abc import Callable
from typing import BinaryIO

__all__ = ["CHECKS", "TAIL", "file_kind"]

TAIL = 1024  # bytes read at the end of a file
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
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_MP4_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"uuid"})


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
        raise ValueError(f"the first directory should lie at byte {offset}, the file has {size}: it is truncated")
    from PIL import Image

    file.seek(0)
    with Image.open(file, formats=["TIFF"]) as image:  # parses the directory only
        tags = getattr(image, "tag_v2", {})
    for offsets, lengths in ((273, 279), (324, 325)):  # strips, tiles
        extents = zip(tags.get(offsets, ()), tags.get(lengths, ()), strict=False)
        end = max((start + length for start, length in extents), default=0)
        if end > size:
            raise ValueError(f"the pixel data end at byte {end}, the file has {size}: it is truncated")


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


def _check_asf(file: BinaryIO, head: bytes, size: int) -> None:
    position = head.find(_ASF_PROPERTIES)
    declared = struct.unpack("<Q", head[position + 40 : position + 48])[0] if 0 <= position <= len(head) - 48 else 0
    if declared > size:
        raise ValueError(f"the header declares {declared} bytes, the file has {size}: it is truncated")


def _check_gzip(file: BinaryIO, head: bytes, size: int) -> None:
    if size < 18 or head[2] != 8:
        raise ValueError("no complete gzip member")


def _check_zip(file: BinaryIO, head: bytes, size: int) -> None:
    for length in (TAIL, 22 + 0xFFFF):  # the record may be followed by a comment of up to 64 KiB
        tail = _tail(file, size, length)
        position = tail.rfind(b"PK\x05\x06")
        if 0 <= position <= len(tail) - 22:
            (comment,) = struct.unpack("<H", tail[position + 20 : position + 22])
            if position + 22 + comment <= len(tail):
                return
    raise ValueError("no complete end of central directory: the file is truncated")


#: Structure check per kind: `(file, first bytes, size)`, raises on truncation.
#: Structure check per kind: `(file, first bytes, size)`; raises where the file ends early.
CHECKS: dict[str, Callable[[BinaryIO, bytes, int], None]] = {
    "jpeg": _check_jpeg,
    "png": _check_png,
    "gif": _check_gif,
    "bmp": _check_bmp,
    "tiff": _check_tiff,
    "webp": _check_riff,
    "avi": _check_riff,
    "asf": _check_asf,
    "dicom": _check_dicom,
    "mp4": _check_mp4,
    "gzip": _check_gzip,
    "zip": _check_zip,
}
