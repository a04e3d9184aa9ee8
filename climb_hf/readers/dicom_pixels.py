"""From the stored values of a DICOM image to grey or colour: PS3.3 C.7.6.3, C.11.1 and C.11.2.

The grey pipeline runs on the stored values between the extremes of the image, not on its pixels; the pixels then look
their grey up. A 16-bit mammogram so costs one table look-up, and nothing is approximated.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from climb_hf.errors import CorruptFileError, DependencyError, OptionError
from climb_hf.optional import require

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["WINDOWS", "Window", "apply_window", "decode_stored", "n_frames", "render_stored", "resolve_window"]

Window = str | Sequence[float] | None

#: Named display windows: (centre, width) in Hounsfield units. `lung`, `mediastinum` and `pe_wide` are those of INSPECT
#: (som-shahlab/INSPECT_public), `pe` is the usual one for pulmonary embolism, `cta` the one CLIMB's code used on CT.
WINDOWS: dict[str, tuple[float, float]] = {
    "lung": (-600, 1500),
    "mediastinum": (40, 400),
    "soft_tissue": (40, 400),
    "brain": (40, 80),
    "bone": (600, 2800),
    "pe": (100, 700),
    "pe_wide": (400, 1000),
    "cta": (80, 700),
}
_CT_DEFAULT = WINDOWS["soft_tissue"]
_COLOURS = ("Red", "Green", "Blue")


def resolve_window(window: Window) -> tuple[float, float] | str | None:
    """Check a window option and look up its name.

    Args:
        window (`str`, pair of `float`, *optional*): a key of `WINDOWS`, `"raw"`, `(centre, width)`, or `None`.

    Returns:
        `(centre, width)`, `"raw"`, or `None` for `None`.

    Raises:
        OptionError: an unknown name, or not a pair with a positive width.

    Example:
        >>> resolve_window("brain")
        (40, 80)
    """
    if window is None or isinstance(window, str):
        if window is None or window == "raw":
            return window
        if window not in WINDOWS:
            raise OptionError(f"`window` must be one of {', '.join(WINDOWS)}, raw or (centre, width), not {window!r}.")
        return WINDOWS[window]
    try:
        center, width = (float(value) for value in window)
    except (TypeError, ValueError) as error:
        raise OptionError(f"`window` must be a name or (centre, width), not {window!r}.") from error
    if not (np.isfinite(center) and np.isfinite(width) and width > 0):
        raise OptionError(f"`window` needs a finite centre and a positive width, not {window!r}.")
    return center, width


def apply_window(values: np.ndarray, window: Window, *, bit_depth: int = 8) -> np.ndarray:
    """Map values such as Hounsfield units to grey: centre − width / 2 becomes black, centre + width / 2 white.

    Args:
        values (`np.ndarray`): any shape, any real dtype.
        window (`str` or pair of `float`): as in `resolve_window`; `"raw"` gives value + 1024 as uint16.
        bit_depth (`int`, *optional*, defaults to `8`): 8 or 16.

    Returns:
        `np.ndarray`: same shape, uint8 (0–255) or uint16 (0–65535).

    Raises:
        OptionError: a bad `window` or `bit_depth`.

    Example:
        >>> apply_window(np.array([-1350.0, -600.0, 150.0]), "lung").tolist()
        [0, 128, 255]
    """
    resolved = resolve_window(window)
    if resolved is None:
        raise OptionError(f"`window` must be given: one of {', '.join(WINDOWS)}, raw or (centre, width).")
    if isinstance(resolved, str):
        return _raw(np.asarray(values))
    return _quantise(_linear(np.asarray(values, dtype=np.float64), *resolved), bit_depth)


def n_frames(dataset: "Dataset") -> int:
    """Return how many frames an image has (1 where the header does not say)."""
    return max(1, int(dataset.get("NumberOfFrames") or 1))


def decode_stored(dataset: "Dataset", index: int, name: str) -> np.ndarray:
    """Decode one frame to stored values, or to RGB samples for colour.

    Values above the declared depth (`BitsStored`) are kept as they are: such files exist, and cutting the bits off
    would fold white into black. The bits are removed only where an overlay is stored in them, and a sign is extended
    only where the file left it out.

    Args:
        dataset (`pydicom.Dataset`): with pixel data.
        index (`int`): the frame, from 0.
        name (`str`): the file, for messages.

    Returns:
        `np.ndarray`: (rows, columns) integers or floats, or (rows, columns, samples).

    Raises:
        CorruptFileError: no pixel data.
        DependencyError: no decoder of the file's transfer syntax is installed.
    """
    pixels = require("pydicom.pixels", extra="dicom")
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise CorruptFileError(f"`{name}` holds no complete pixel data. Fetch it again or leave it out.")
    syntax = dataset.file_meta.TransferSyntaxUID
    if not pixels.get_decoder(syntax).is_available:
        raise DependencyError(
            f"`{name}` is compressed as {syntax.name}, for which no decoder is installed. "
            "Install them with `pip install 'climb-hf[dicom]'`."
        )
    try:
        array = pixels.pixel_array(dataset, index=index, correct_unused_bits=False)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # a decoder written in Rust gave up; not an `Exception`
            raise
        raise ValueError(f"the {syntax.name} decoder failed: {error}") from error
    unused = array.dtype.itemsize * 8 - int(dataset.get("BitsStored") or 0)
    if array.dtype.kind == "f" or array.ndim != 2 or unused <= 0 or "BitsStored" not in dataset:
        return array
    codes = array.view(f"u{array.dtype.itemsize}")
    has_overlay = any(
        (element := dataset.get((group, 0x0102))) is not None and element.value for group in range(0x6000, 0x6020, 2)
    )
    if has_overlay or (array.dtype.kind == "i" and not int(codes.max()) >> int(dataset.BitsStored)):
        return (array << unused) >> unused
    return array


def render_stored(
    dataset: "Dataset", stored: np.ndarray, index: int, window: tuple[float, float] | str | None, bit_depth: int
) -> np.ndarray:
    """Render decoded values for display.

    Args:
        dataset (`pydicom.Dataset`): the header.
        stored (`np.ndarray`): as from `decode_stored`.
        index (`int`): the frame, for functional groups.
        window: as from `resolve_window`.
        bit_depth (`int`): 8 or 16, for grey.

    Returns:
        `np.ndarray`: (rows, columns) uint8 or uint16, or (rows, columns, 3) uint8.
    """
    if dataset.PhotometricInterpretation == "PALETTE COLOR" or stored.ndim == 3:
        return _colour(dataset, stored)
    if stored.dtype.kind == "f" or stored.dtype.itemsize > 2:
        return _grey(dataset, stored.ravel(), index, window, bit_depth).reshape(stored.shape)
    codes = stored.view(f"u{stored.dtype.itemsize}")
    table_size = 1 << 8 * stored.dtype.itemsize
    if "ModalityLUTSequence" in dataset or "PixelPaddingValue" in dataset:
        occurs = np.zeros(table_size, dtype=bool)
        occurs[codes] = True
        present = np.flatnonzero(occurs).astype(codes.dtype)
    else:  # the extremes decide the range, and they occur: what lies between may stay in
        present = np.arange(int(stored.min()), int(stored.max()) + 1).astype(stored.dtype).view(codes.dtype)
    greys = _grey(dataset, present.view(stored.dtype), index, window, bit_depth)
    table = np.zeros(table_size, dtype=greys.dtype)
    table[present] = greys
    return table[codes]


def _grey(
    dataset: "Dataset", stored: np.ndarray, index: int, window: tuple[float, float] | str | None, bit_depth: int
) -> np.ndarray:
    """Run modality, VOI and polarity over a vector of stored values."""
    values = _modality(stored.astype(np.float64), dataset, index)
    if isinstance(window, str):
        return _raw(values)
    padding = _first(dataset.get("PixelPaddingValue"))
    is_padding = np.zeros(len(stored), dtype=bool)
    if padding is not None:
        limit = _first(dataset.get("PixelPaddingRangeLimit"))
        low, high = sorted((padding, padding if limit is None else limit))
        is_padding = (stored >= low) & (stored <= high)
    shown = _linear(values, *window) if window is not None else _own_window(values, ~is_padding, dataset, index)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        shown = 1 - shown
    shown[is_padding] = 0  # as the publisher of VinDr-Mammo renders it
    return _quantise(shown, bit_depth)


def _modality(values: np.ndarray, dataset: "Dataset", index: int) -> np.ndarray:
    if sequence := dataset.get("ModalityLUTSequence"):
        return _look_up(values, sequence[0].LUTDescriptor, sequence[0].LUTData, dataset)[0]
    item = _functional(dataset, index, "PixelValueTransformationSequence")
    slope, intercept = _first(item.get("RescaleSlope")), _first(item.get("RescaleIntercept"))
    return values * (1 if slope is None else slope) + (intercept or 0)


def _own_window(values: np.ndarray, usable: np.ndarray, dataset: "Dataset", index: int) -> np.ndarray:
    """Apply what the file itself asks for, to 0–1; without a wish, the usual CT window or the range of the values."""
    item = _functional(dataset, index, "FrameVOILUTSequence")
    sequence = item.get("VOILUTSequence")
    if sequence and "LUTDescriptor" in sequence[0] and "LUTData" in sequence[0]:
        entries, depth = _look_up(values, sequence[0].LUTDescriptor, sequence[0].LUTData, dataset)
        return entries / (2**depth - 1)
    center, width = _first(item.get("WindowCenter")), _first(item.get("WindowWidth"))
    function = str(item.get("VOILUTFunction") or "LINEAR").upper()
    if center is not None and width is not None and width > 0:
        if function == "SIGMOID":
            return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
        if function == "LINEAR_EXACT":
            return _linear(values, center, width)
        if width >= 1:  # LINEAR: from the first to the last integer of the window
            return _linear(values, center - 0.5, width - 1)
    if dataset.get("Modality") == "CT":
        return _linear(values, *_CT_DEFAULT)
    if not usable.any():
        return np.zeros_like(values)
    low, high = float(values[usable].min()), float(values[usable].max())
    return _linear(values, (low + high) / 2, high - low)


def _linear(values: np.ndarray, center: float, width: float) -> np.ndarray:
    if width == 0:
        return (values > center).astype(np.float64)
    return np.clip((values - (center - width / 2)) / width, 0, 1)


def _quantise(shown: np.ndarray, bit_depth: int) -> np.ndarray:
    if bit_depth not in (8, 16):
        raise OptionError(f"`bit_depth` must be 8 or 16, not {bit_depth!r}.")
    return np.rint(shown * (2**bit_depth - 1)).astype(np.uint8 if bit_depth == 8 else np.uint16)


def _raw(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values) + 1024, 0, 65535).astype(np.uint16)


def _functional(dataset: "Dataset", index: int, keyword: str) -> "Dataset":
    """Find where an enhanced multi-frame image keeps a group of attributes; other images keep them at the top."""
    for groups, position in (("PerFrameFunctionalGroupsSequence", index), ("SharedFunctionalGroupsSequence", 0)):
        items = dataset.get(groups)
        if items and position < len(items) and items[position].get(keyword):
            return items[position][keyword].value[0]
    return dataset


def _first(value: Any) -> float | None:  # noqa: ANN401 - whatever stands in the header
    """Return the first of one or several numbers, `None` for anything unusable."""
    if value is not None and not isinstance(value, (str, int, float)):
        value = value[0] if len(value) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _look_up(
    values: np.ndarray, descriptor: Sequence[int], data: bytes | int | Sequence[int], dataset: "Dataset"
) -> tuple[np.ndarray, int]:
    """Look values up in a LUT of the header; values outside it take its first or last entry.

    Returns:
        The entries, float64, and the depth of the LUT in bits.
    """
    n_entries, first, depth = (descriptor[0] & 0xFFFF) or 1 << 16, descriptor[1], descriptor[2]
    if isinstance(data, bytes):
        is_little = dataset.original_encoding[1] is not False
        is_packed = len(data) < 2 * n_entries
        entries = np.frombuffer(data, dtype=np.uint8 if is_packed else ("<u2" if is_little else ">u2"))
    else:
        entries = np.atleast_1d(np.asarray(data, dtype=np.int64))
    if len(entries) < n_entries:
        raise ValueError(f"a look-up table of {n_entries} entries holds {len(entries)}")
    entries = entries[:n_entries]
    position = np.clip(np.rint(values) - first, 0, n_entries - 1).astype(np.int64)
    return entries[position].astype(np.float64), max(depth, int(entries.max()).bit_length())


def _colour(dataset: "Dataset", stored: np.ndarray) -> np.ndarray:
    if dataset.PhotometricInterpretation != "PALETTE COLOR":
        if stored.shape[-1] != 3:
            raise ValueError(f"{stored.shape[-1]} samples per pixel, where 1 or 3 are due")
        depth = max(int(dataset.BitsStored), int(stored.max()).bit_length())
        return stored if stored.dtype == np.uint8 else np.rint(stored * (255 / (2**depth - 1))).astype(np.uint8)
    if "RedPaletteColorLookupTableData" not in dataset:  # segmented tables
        rgb = require("pydicom.pixels", extra="dicom").apply_color_lut(stored, dataset)[..., :3]
        return rgb if rgb.dtype == np.uint8 else (rgb >> 8).astype(np.uint8)
    channels = []
    for colour in _COLOURS:
        descriptor = dataset[f"{colour}PaletteColorLookupTableDescriptor"].value
        entries, depth = _look_up(stored, descriptor, dataset[f"{colour}PaletteColorLookupTableData"].value, dataset)
        channels.append(np.rint(entries * (255 / (2**depth - 1))).astype(np.uint8))
    return np.stack(channels, axis=-1)
