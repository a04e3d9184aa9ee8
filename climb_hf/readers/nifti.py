"""NIfTI volumes, plain or gzip-compressed: the header through nibabel, the voxels slice by slice.

nibabel's own array proxy also reads parts only, but a compressed file from its beginning for every slice, and a plain
one through strided reads where the axial slices are not the slowest axis; `climb_hf.readers.volume` goes through the
file once.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.errors import CorruptFileError
from climb_hf.optional import require
from climb_hf.readers.integrity import damage_named
from climb_hf.readers.volume import Volume, check_affine, check_extent, check_shape, read_head

__all__ = ["open_nifti"]

#: Belongs to no tree of loggers: what nibabel repairs in a header is nobody's concern, what it cannot it raises.
_silent = logging.Logger(__name__)
_silent.addHandler(logging.NullHandler())

_SIZES = {348: "Nifti1Header", 540: "Nifti2Header"}
_MAX_ITEM = 8  # bytes per voxel
#: Spatial unit codes of `xyzt_units` -> mm; 0 is "unknown", which everybody reads as mm.
_UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}


def open_nifti(path: str | Path) -> Volume:
    """Read the header of a NIfTI-1 or NIfTI-2 file (`.nii`, `.nii.gz`; the content decides); no voxel is read.

    The affine is the sform where its code is set, else the qform, else the voxel sizes alone, with nibabel's
    convention that the first axis runs to the left. Of several volumes in a file (a fourth axis) the first is taken.

    Args:
        path (`str` or `Path`): the file.

    Returns:
        `Volume`: to be read with `climb_hf.readers.volume.read_slices`.

    Raises:
        CorruptFileError: not a single-file NIfTI, truncated, a broken affine, or voxels that are not plain numbers.
        DependencyError: nibabel is not installed.
    """
    path = Path(path)
    head, is_compressed = read_head(path, max(_SIZES))
    with damage_named(str(path), "reading the NIfTI header"):
        header = _parse(head, path)
        dtype = header.get_data_dtype()
        if dtype.kind not in "iuf" or dtype.itemsize > _MAX_ITEM:
            raise CorruptFileError(f"`{path}`: expected one real number per voxel, found {dtype}. Convert it first.")
        sizes = [int(size) for size in header.get_data_shape()]
        shape = check_shape([*sizes, 1, 1][:3], path)
        further = int(np.prod(sizes[3:], dtype=object))
        if further < 1:
            raise CorruptFileError(f"`{path}`: expected sizes of at least 1, found {sizes}. Its header is damaged.")
        slope, intercept = header.get_slope_inter()
        affine = np.asarray(header.get_best_affine(), np.float64)
        affine[:3] *= _UNITS.get(int(header["xyzt_units"]) & 7, 1.0)
        check_affine(affine, path)
        volume = Volume(
            path=path,
            shape=shape,
            affine=affine,
            dtype=dtype,
            offset=max(int(header.get_data_offset()), int(header.single_vox_offset)),  # 0 is written for "as usual"
            slope=1.0 if slope is None else float(slope),
            intercept=0.0 if intercept is None else float(intercept),
            is_compressed=is_compressed,
            n_bytes=shape[0] * shape[1] * shape[2] * further * dtype.itemsize,
        )
    check_extent(volume)
    return volume


def _parse(head: bytes, path: Path) -> Any:  # noqa: ANN401 - a header object of nibabel
    """Make and check the header object; faults that nibabel would repair are repaired without a word."""
    found = {int.from_bytes(head[:4], order) for order in ("little", "big")} & _SIZES.keys()
    if not found or len(head) < min(found):
        raise CorruptFileError(
            f"`{path}` is not a NIfTI file: it begins with {head[:4].hex(' ') or 'nothing'}, where the header's size, "
            "348 or 540, is due. Fetch it again or leave it out."
        )
    size = min(found)
    nibabel = require("nibabel", extra="volumes")
    header = getattr(nibabel, _SIZES[size])(head[:size], check=False)
    if not bytes(header["magic"]).startswith(b"n+"):
        raise CorruptFileError(
            f"`{path}`: expected a single-file NIfTI (magic `n+1` or `n+2`), found {bytes(header['magic'])!r}: voxels "
            "in a file of their own (`.hdr` and `.img`), or Analyze. Convert it with nibabel."
        )
    header.check_fix(logger=_silent)
    return header
