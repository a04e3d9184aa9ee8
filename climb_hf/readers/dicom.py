"""DICOM: headers, rendering to grey or colour, and a Pillow plugin.

Rendering: stored values, then the modality LUT or rescale, then the VOI LUT or window (the first, where a file holds
several; the range of the values, where it holds none), then inversion of MONOCHROME1; the result fills the whole
output range. The arithmetic is in `dicom_pixels`. pydicom is imported when the first file is opened, not with this
module.
"""

import contextlib
import io
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageFile

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.optional import require
from climb_hf.readers.dicom_pixels import (
    WINDOWS,
    Window,
    apply_window,
    decode_stored,
    n_frames,
    render_stored,
    resolve_window,
)
from climb_hf.readers.integrity import damage_named, source_name

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = [
    "WINDOWS",
    "DicomImageFile",
    "apply_window",
    "check_extent",
    "check_pixels",
    "dicom_to_image",
    "read_dicom_header",
    "register_pillow_plugin",
    "render_dicom",
    "resolve_window",
]

_UNDEFINED = 0xFFFFFFFF
_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # float, double float, integer
_DEFLATED = "1.2.840.10008.1.2.1.99"
_NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", _DEFLATED)


def read_dicom_header(
    source: "str | Path | bytes | BinaryIO | Dataset", *, tags: Sequence[str] | None = None
) -> "Dataset":
    """Read the header of a DICOM file: all elements before the pixel data, which are not read.

    Args:
        source (`str`, `Path`, `bytes` or binary file): the file; `DICM` must stand at byte 128 (nothing is forced).
        tags (sequence of `str`, *optional*): keywords to keep, such as `["PatientAge", "Rows"]`; faster than all.

    Returns:
        `pydicom.Dataset`: with `file_meta`, without pixel data.

    Raises:
        CorruptFileError: not DICOM, without a Transfer Syntax UID, or cut off inside the header.
        DependencyError: pydicom is not installed.
    """
    with _opened(source) as file:
        return _parse_header(file, source_name(source), tags)[0]


def render_dicom(
    source: "str | Path | bytes | BinaryIO | Dataset",
    *,
    window: Window = None,
    bit_depth: int = 8,
    frame: int | None = None,
) -> np.ndarray:
    """Render one DICOM image for display.

    Args:
        source (`str`, `Path`, `bytes`, binary file or `pydicom.Dataset`): the image.
        window (`str` or pair of `float`, *optional*): a key of `WINDOWS`, `(centre, width)`, or `"raw"`: modality
            values + 1024 (CT: Hounsfield units + 1024), clipped to uint16 and never inverted. By default the file's
            own VOI LUT or first window; without one (40, 400) for CT and the range of the values for all else.
        bit_depth (`int`, *optional*, defaults to `8`): 8 or 16 bits per grey value. Colour always has 8.
        frame (`int`, *optional*): which frame of a multi-frame image, from 0.

    Returns:
        `np.ndarray`: (rows, columns) uint8 or uint16, or (rows, columns, 3) uint8 RGB. Grey fills 0–255 or 0–65535,
        high is bright whatever the photometric interpretation; values marked as padding are black.

    Raises:
        CorruptFileError: the file is damaged or holds no image.
        DependencyError: pydicom, or the decoder of the file's transfer syntax, is not installed.
        OptionError: a bad `window` or `bit_depth`, a window for a colour image, or `frame` missing for a multi-frame
            image or out of range.
    """
    resolved = resolve_window(window)
    if bit_depth not in (8, 16):
        raise OptionError(f"`bit_depth` must be 8 or 16, not {bit_depth!r}.")
    name = source_name(source)
    dataset = _read(source, name)
    with damage_named(name, "rendering"):
        is_colour = (
            dataset.PhotometricInterpretation == "PALETTE COLOR" or int(dataset.get("SamplesPerPixel") or 1) > 1
        )
        if is_colour and resolved is not None:
            raise OptionError(f"`{name}` is a colour image; `window` applies to grey ones only. Leave it out.")
        index = _checked_frame(dataset, frame, name)
        return render_stored(dataset, decode_stored(dataset, index, name), index, resolved, bit_depth)


def dicom_to_image(
    source: "str | Path | bytes | BinaryIO | Dataset",
    *,
    window: Window = None,
    bit_depth: int = 8,
    frame: int | None = None,
) -> Image.Image:
    """Render one DICOM image as a Pillow image; arguments and errors are those of `render_dicom`.

    Returns:
        `PIL.Image.Image`: mode `L`, `I;16` (16 bits or `window="raw"`) or `RGB`.
    """
    return Image.fromarray(render_dicom(source, window=window, bit_depth=bit_depth, frame=frame))


def check_extent(file: BinaryIO) -> None:
    """Check, without decoding, that a DICOM file holds all of its pixel data.

    Native pixel data must have the length that rows × columns × samples × frames × bits ask for and lie inside the
    file; encapsulated data must be whole items up to the sequence delimiter.

    Args:
        file (binary file): seekable.

    Raises:
        CorruptFileError: the header is damaged, or pixel data are absent or cut off.
    """
    name = source_name(file)
    dataset, start, length = _parse_header(file, name)
    size = file.seek(0, io.SEEK_END)
    if start is None:
        raise CorruptFileError(f"`{name}` holds no pixel data. Fetch it again or leave it out.")
    syntax = dataset.file_meta.TransferSyntaxUID
    if length == _UNDEFINED:
        _check_items(file, name, start, size)
        return
    if start + length > size and syntax != _DEFLATED:
        raise CorruptFileError(
            f"`{name}` is truncated: pixel data of {length} bytes begin at byte {start}, the file has {size}. "
            "Fetch it again or leave it out."
        )
    with damage_named(name, "reading the image size"):
        needed = _native_length(dataset)
    if syntax in _NATIVE and length < needed:
        raise CorruptFileError(
            f"`{name}`: its header asks for {needed} bytes of pixel data, it holds {length}. Fetch it again."
        )


def check_pixels(source: "str | Path | bytes | BinaryIO | Dataset") -> None:
    """Decode every frame of a DICOM image.

    Args:
        source (`str`, `Path`, `bytes`, binary file or `pydicom.Dataset`): the image.

    Raises:
        CorruptFileError: a frame cannot be decoded.
    """
    name = source_name(source)
    dataset = _read(source, name)
    with damage_named(name, "decoding"):
        for index in range(n_frames(dataset)):
            decode_stored(dataset, index, name)


class DicomImageFile(ImageFile.ImageFile):
    """Pillow's view of a DICOM file: `PIL.Image.open` gives size and mode from the header, `load` decodes.

    The picture is that of `render_dicom` with default arguments (mode `L` or `RGB`). The frames of a multi-frame file
    are reached with `seek`, as in any Pillow animation; the first one is shown at opening.
    """

    format = "DICOM"
    format_description = "Digital Imaging and Communications in Medicine"
    n_frames = 1
    is_animated = False
    _shown = 0
    _is_pending = False  # on the class: an unpickled image has its pixels
    _dataset: "Dataset | None" = None

    def _open(self) -> None:
        file = self._open_file()
        file.seek(128)
        if file.read(4) != b"DICM":
            raise SyntaxError("not a DICOM file")
        name = source_name(self)
        header, start, _ = _parse_header(file, name)
        if start is None:
            raise CorruptFileError(f"`{name}` holds no pixel data. Fetch it again or leave it out.")
        with damage_named(name, "reading the image size"):
            self._size = (int(header.Columns), int(header.Rows))
            is_colour = (
                header.PhotometricInterpretation == "PALETTE COLOR" or int(header.get("SamplesPerPixel") or 1) > 1
            )
            self.n_frames = n_frames(header)
        self._mode = "RGB" if is_colour else "L"
        self.is_animated = self.n_frames > 1
        self._is_pending = True

    def _open_file(self) -> BinaryIO:
        if self.fp is None:
            raise ValueError(f"`{source_name(self)}` was closed before its pixels were read. Open it again.")
        return cast(BinaryIO, self.fp)

    def load(self) -> Any:  # noqa: ANN401 - Pillow's pixel access object
        """Decode the current frame, once.

        Raises:
            CorruptFileError: the pixel data are damaged or contradict the header.
        """
        if self._is_pending:
            name = source_name(self)
            dataset = self._dataset or _parse_all(self._open_file(), name)
            with damage_named(name, "rendering"):
                stored = decode_stored(dataset, self._shown, name)
                image = Image.fromarray(render_stored(dataset, stored, self._shown, None, 8))
            if (image.size, image.mode) != (self.size, self.mode):
                raise CorruptFileError(
                    f"`{name}`: the header says {self.size} {self.mode}, the pixel data {image.size} {image.mode}. "
                    "Fetch it again or leave it out."
                )
            self.im = image.im
            self._is_pending = False
            if self.n_frames > 1:
                self._dataset = dataset
            elif self.fp is not None:
                if self._exclusive_fp:
                    self.fp.close()
                self.fp = None
        return super().load()

    def seek(self, frame: int) -> None:
        """Go to a frame, from 0; it is decoded when its pixels are needed."""
        if self._seek_check(frame):
            self._shown = frame
            self._is_pending = True

    def tell(self) -> int:
        """Return the index of the current frame."""
        return self._shown


def register_pillow_plugin() -> None:
    """Teach Pillow to open DICOM files, by content and for `.dcm`, `.dicom` and `.dic`; calling it again is harmless.

    `datasets.Image`, `torchvision` and everything else that opens pictures through Pillow then decodes DICOM, in every
    process that called this (importing climb_hf does).
    """
    if DicomImageFile.format not in Image.OPEN:
        Image.register_open(DicomImageFile.format, DicomImageFile, _may_be_dicom)
        Image.register_extensions(DicomImageFile.format, [".dcm", ".dicom", ".dic"])
        Image.register_mime(DicomImageFile.format, "application/dicom")


def _may_be_dicom(prefix: bytes) -> bool:
    """Sort out the common formats by their first bytes; `DICM` stands too far in for Pillow to hand it over."""
    return not prefix.startswith((b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF"))


@contextlib.contextmanager
def _opened(source: "str | Path | bytes | BinaryIO | Dataset") -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    elif isinstance(source, (str, Path)):
        try:
            file = Path(source).open("rb")  # noqa: SIM115 - closed below; errors of the body are not of opening
        except OSError as error:
            raise CorruptFileError(
                f"`{source}` cannot be read ({error.strerror}). Fetch it, or leave it out."
            ) from error
        with file:
            yield file
    elif hasattr(source, "read"):
        yield cast(BinaryIO, source)
    else:
        raise OptionError(f"expected a path, bytes or a binary file with DICOM content, not {type(source).__name__}.")


def _parse_header(file: BinaryIO, name: str, tags: Sequence[str] | None = None) -> tuple["Dataset", int | None, int]:
    """Return the header, the byte at which the value of the pixel data begins (`None`: there are none), its length."""
    reader = require("pydicom.filereader", extra="dicom")
    tag_of = require("pydicom.tag", extra="dicom").Tag
    pixels: list[tuple[str | None, int]] = []

    def is_at_pixels(tag: int, vr: str | None, length: int) -> bool:
        if tag in _PIXEL_TAGS:
            pixels.append((vr, length))
        return tag in _PIXEL_TAGS

    with damage_named(name, "reading the DICOM header"):
        file.seek(0)
        if file.read(132)[128:] != b"DICM":
            raise CorruptFileError(f"`{name}` is not a DICOM file: no `DICM` at byte 128. Fetch it again.")
        file.seek(0)
        wanted = [tag_of(tag) for tag in tags] if tags else None
        dataset = reader.read_partial(file, stop_when=is_at_pixels, specific_tags=wanted)
        position = file.tell()
        if "TransferSyntaxUID" not in dataset.file_meta:
            raise CorruptFileError(f"`{name}` has no Transfer Syntax UID, so it is damaged. Fetch it again.")
    if pixels:
        vr, length = pixels[0]
        return dataset, position + (8 if vr is None else 12), length
    if tags:
        return _parse_header(file, name)
    # The file ended before any pixel data: an object without an image, or a header cut off.
    with damage_named(name, "reading the DICOM header"):
        last = dataset.get_item(max(dataset.keys())) if len(dataset) else None
        value = getattr(last, "value", None)
        is_short = isinstance(value, bytes) and len(value) < getattr(last, "length", 0)
        if last is None or is_short or "Rows" in dataset:
            raise CorruptFileError(f"`{name}` is truncated: it ends before its pixel data. Fetch it again.")
    return dataset, None, 0


def _parse_all(file: BinaryIO, name: str) -> "Dataset":
    _, start, _ = _parse_header(file, name, ["Rows"])
    if start is None:
        raise CorruptFileError(f"`{name}` holds no pixel data. Fetch it again or leave it out.")
    file.seek(0)
    with damage_named(name, "reading"):
        return require("pydicom", extra="dicom").dcmread(file)


def _read(source: "str | Path | bytes | BinaryIO | Dataset", name: str) -> "Dataset":
    if hasattr(source, "PhotometricInterpretation"):
        return cast("Dataset", source)
    with _opened(source) as file:
        return _parse_all(file, name)


def _checked_frame(dataset: "Dataset", frame: int | None, name: str) -> int:
    count = n_frames(dataset)
    if frame is None and count > 1:
        raise OptionError(f"`{name}` holds {count} frames: pass `frame=` from 0 to {count - 1}.")
    if not 0 <= (frame or 0) < count:
        raise OptionError(f"`frame` must be from 0 to {count - 1} for `{name}`, not {frame}.")
    return frame or 0


def _native_length(dataset: "Dataset") -> int:
    """Return the bytes that uncompressed pixel data must have."""
    samples = int(dataset.SamplesPerPixel)
    if samples == 3 and dataset.PhotometricInterpretation == "YBR_FULL_422":
        samples = 2  # chroma at half the horizontal resolution
    bits = int(dataset.Rows) * int(dataset.Columns) * samples * n_frames(dataset) * int(dataset.BitsAllocated)
    return (bits + 7) // 8


def _check_items(file: BinaryIO, name: str, start: int, size: int) -> None:
    """Walk the items of encapsulated pixel data: an offset table, at least one fragment, and the delimiter."""
    position = start
    count = 0
    while True:
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            raise CorruptFileError(f"`{name}` is truncated: pixel data without a sequence delimiter. Fetch it again.")
        group, element, length = struct.unpack("<HHL", header)
        if (group, element) == (0xFFFE, 0xE0DD):
            break
        position += 8 + length
        count += 1
        if (group, element) != (0xFFFE, 0xE000) or position > size:
            raise CorruptFileError(
                f"`{name}`: item {count} of the pixel data is damaged or ends at byte {position}, behind the end of "
                f"the file ({size} bytes). Fetch it again."
            )
    if count < 2:
        raise CorruptFileError(f"`{name}`: its pixel data hold no frame. Fetch it again or leave it out.")


register_pillow_plugin()
