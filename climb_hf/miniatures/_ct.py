"""What the makers of CT volumes share: a drawn trunk in Hounsfield units, balls in it, and NIfTI files."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import ellipse, grid, smooth_noise, write_bytes
from climb_hf.optional import require

__all__ = ["add_ball", "nifti_bytes", "trunk", "write_nifti"]

AIR, LUNG, FAT, MUSCLE, BONE, ORGAN = -1000.0, -850.0, -90.0, 45.0, 500.0, 110.0


def trunk(random: np.random.Generator, shape: tuple[int, int, int], *, lungs: bool) -> NDArray[np.float64]:
    """Draw a trunk that shows how it lies: spine at the back, a bright organ low on the patient's right.

    Args:
        random (`numpy.random.Generator`): source of randomness.
        shape (`tuple[int, int, int]`): slices from superior to inferior, rows from anterior to posterior, columns from
            the patient's right to left.
        lungs (`bool`): with two lungs.

    Returns:
        array of that shape, Hounsfield units, whole numbers.
    """
    slices, rows, columns = shape
    y, x = grid(rows, columns)
    base = np.full((rows, columns), AIR)
    shapes: list[tuple[tuple[float, float, float, float], float]] = [
        ((0, 0, 0.78, 0.92), FAT),
        ((0, 0, 0.7, 0.84), MUSCLE),
    ]
    if lungs:
        shapes += [((-0.05, -0.42, 0.45, 0.3), LUNG), ((-0.05, 0.42, 0.45, 0.3), LUNG)]
    shapes.append(((0.5, 0, 0.14, 0.12), BONE))
    for (cy, cx, ry, rx), value in shapes:
        inside = ellipse(y, x, cy, cx, ry, rx)
        base = base * (1 - inside) + value * inside
    volume = np.repeat(base[None], slices, axis=0)
    organ = ellipse(y, x, -0.3, -0.5, 0.22, 0.22)
    low = np.arange(slices) >= slices * 3 // 4  # the last quarter of the slices
    volume[low] = volume[low] * (1 - organ) + ORGAN * organ
    texture = np.stack([smooth_noise(random, rows, columns, 6) for _ in range(3)])
    return np.rint(volume + 12 * texture[np.arange(slices) % 3])


def add_ball(
    volume: NDArray[Any], centre: Sequence[float], radius_mm: float, voxel_mm: Sequence[float], value: float
) -> NDArray[np.bool_]:
    """Set the voxels whose centre lies in a ball.

    Args:
        volume (array): changed in place.
        centre (`Sequence[float]`): indices.
        radius_mm (`float`): radius.
        voxel_mm (`Sequence[float]`): size of a voxel along each axis.
        value (`float`): what to set.

    Returns:
        bool array: the voxels that were set.
    """
    offsets = [(np.arange(size) - at) * step for size, at, step in zip(volume.shape, centre, voxel_mm, strict=True)]
    squares = [offset**2 for offset in offsets]
    inside = squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :] <= radius_mm**2
    volume[inside] = value
    return inside


def nifti_bytes(
    display: NDArray[Any], voxel_mm: Sequence[float], codes: str, *, form: str = "sform", scaled: bool = False
) -> bytes:
    """Make an uncompressed NIfTI file of a volume in display orientation.

    Args:
        display (array): slices from superior, rows from anterior, columns from the right; the data type is kept.
        voxel_mm (`Sequence[float]`): distance of slices, rows and columns.
        codes (`str`): where the axes of the file point to, such as `"LAS"`.
        form (`str`, *optional*, defaults to `"sform"`): `"sform"` (qform code 0, as KiTS23 has it), `"qform"` (sform
            code 0) or `"both"`.
        scaled (`bool`, *optional*, defaults to `False`): store Hounsfield units + 1024 with an intercept of -1024.

    Returns:
        `bytes`: the file.
    """
    nibabel = require("nibabel", extra="volumes")
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = -np.asarray(voxel_mm, float)  # slices to I, rows to P, columns to L
    affine[:3, 3] = [s * (n - 1) / 2 for s, n in zip(voxel_mm[::-1], display.shape[::-1], strict=True)]
    affine[3, 3] = 1
    orientations = nibabel.orientations
    turn = orientations.ornt_transform(
        orientations.axcodes2ornt(("I", "P", "L")), orientations.axcodes2ornt(tuple(codes))
    )
    spatial = orientations.apply_orientation(display, turn)
    affine = affine @ orientations.inv_ornt_aff(turn, display.shape[:3])
    image = nibabel.Nifti1Image(spatial + 1024 if scaled else spatial, affine, dtype=display.dtype)
    image.set_sform(affine, code=0 if form == "qform" else 2)
    image.set_qform(affine, code=0 if form == "sform" else 1)
    if scaled:
        image.header.set_slope_inter(1, -1024)
    return image.to_bytes()


def write_nifti(path: Path, display: NDArray[Any], voxel_mm: Sequence[float], codes: str, **how: Any) -> None:  # noqa: ANN401
    """Write a gzip-compressed NIfTI file, the same bytes for the same arguments; see `nifti_bytes`."""
    write_bytes(path, gzip.compress(nifti_bytes(display, voxel_mm, codes, **how), compresslevel=3, mtime=0))
