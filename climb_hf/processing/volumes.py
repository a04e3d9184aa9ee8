"""From a CT volume to the columns of the frames family: slices, display window, spacing and masks."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from climb_hf.errors import CorruptFileError
from climb_hf.readers.dicom import apply_window
from climb_hf.readers.image import encode_image, resize_image
from climb_hf.readers.video import frame_indices
from climb_hf.readers.volume import Volume, read_slices
from climb_hf.source import Options

__all__ = ["DEFAULT_VOLUME_FRAMES", "OTHER_CODE", "MaskLayer", "read_volume_columns"]

#: Slices of a volume handed out where `num_frames` is not given.
DEFAULT_VOLUME_FRAMES = 32
#: Value of a mask's pixel whose code is not among the known ones.
OTHER_CODE = 255
_AIR = -1024.0  # Hounsfield units


@dataclass(frozen=True)
class MaskLayer:
    """A volume of codes over the voxels of another one.

    Args:
        volume (`Volume`): of the same shape; voxel by voxel as the image, whatever its own affine says.
        codes (`Mapping[int, int]`, *optional*): stored code -> value of the mask, 1 to 254; other codes but 0 become
            `OTHER_CODE`. By default codes are kept.
    """

    volume: Volume
    codes: Mapping[int, int] | None = None

    def convert(self, stored: np.ndarray) -> np.ndarray:
        """Map stored codes to values of the mask.

        Args:
            stored (`np.ndarray`): any shape, whole numbers in any dtype.

        Returns:
            `np.ndarray`: same shape, uint8.
        """
        if self.codes is None:
            return np.where((stored >= 0) & (stored < OTHER_CODE), stored, OTHER_CODE).astype(np.uint8)
        values = np.where(stored == 0, 0, OTHER_CODE).astype(np.uint8)
        for code, value in self.codes.items():
            values[stored == code] = value
        return values


def read_volume_columns(
    volume: Volume, options: Options, *, slices: range | None = None, masks: Sequence[MaskLayer] = ()
) -> dict[str, Any]:
    """Return `frames`, `spacing`, `masks` and geometry of one CT volume.

    Frames are axial planes in display orientation (row 0 anterior, column 0 the patient's right), from superior to
    inferior, PNG with one grey channel. Only their voxels are kept while reading.

    Args:
        volume (`Volume`): voxels in Hounsfield units; NaN counts as air.
        options (`Options`): `num_frames` (default 32, or `"all"`; fewer where there are fewer slices), `window` and
            `bit_depth` (8-bit grey through the window, 16 bits if asked; `"raw"` gives HU + 1024 as 16 bits), and
            `image_size` apply.
        slices (`range`, *optional*): slice numbers of the file to choose from; by default all.
        masks (`Sequence[MaskLayer]`, *optional*): where several cover a voxel, the first that is not 0 counts.

    Returns:
        `dict`: `frames`; `spacing`, the mean distance of the frames handed out and of their rows and columns, mm;
        `masks`, one 8-bit PNG per frame, or `None` without `masks`; `metadata` with `slice_numbers` (in the file, per
        frame), `volume_shape` (slices, rows, columns) and `voxel_mm` in the same order.

    Raises:
        CorruptFileError: a file is damaged, or a mask has another shape.
        OptionError: `slices` lie outside the volume.
    """
    numbers = slices or range(volume.display_shape[0])
    every = sorted(volume.flip_slices(numbers))
    wanted = options.num_frames or DEFAULT_VOLUME_FRAMES
    chosen = frame_indices(len(every), len(every) if wanted == "all" else int(wanted))
    positions = [every[index] for index in chosen]

    pixels = read_slices(volume, positions, lambda values: _shown(values, options))
    steps = (positions[-1] - positions[0]) / (len(positions) - 1) if len(positions) > 1 else 1
    distance, rows, columns = volume.spacing
    if options.image_size is not None:
        rows *= volume.display_shape[1] / options.image_size
        columns *= volume.display_shape[2] / options.image_size
    return {
        "frames": [_frame(plane, options.image_size) for plane in pixels],
        "spacing": [distance * steps, rows, columns],
        "masks": _masks(volume, positions, masks, options.image_size) if masks else None,
        "metadata": {
            "slice_numbers": volume.flip_slices(positions),
            "volume_shape": list(volume.display_shape),
            "voxel_mm": [round(value, 6) for value in volume.spacing],
        },
    }


def _shown(values: np.ndarray, options: Options) -> np.ndarray:
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=_AIR)
    return apply_window(values, options.window, bit_depth=options.bit_depth)


def _frame(plane: np.ndarray, image_size: int | None) -> dict[str, Any]:
    picture = plane if image_size is None else resize_image(plane, image_size)
    return {"bytes": encode_image(picture), "path": None}


def _masks(
    volume: Volume, positions: Sequence[int], layers: Sequence[MaskLayer], image_size: int | None
) -> list[dict[str, Any]]:
    merged: np.ndarray | None = None
    for layer in layers:
        if layer.volume.shape != volume.shape:
            raise CorruptFileError(
                f"`{layer.volume.path}`: expected a mask of {volume.shape} voxels as its image, found "
                f"{layer.volume.shape}. Take image and mask from the same release."
            )
        values = read_slices(replace(layer.volume, affine=volume.affine), positions, layer.convert)
        merged = values if merged is None else np.where(merged == 0, values, merged)
    encoded = []
    for plane in () if merged is None else merged:
        picture, buffer = Image.fromarray(np.ascontiguousarray(plane)), io.BytesIO()
        if image_size is not None:
            picture = picture.resize((image_size, image_size), Image.Resampling.NEAREST)
        picture.save(buffer, format="PNG")
        encoded.append({"bytes": buffer.getvalue(), "path": None})
    return encoded
