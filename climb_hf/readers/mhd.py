"""MetaImage volumes (`.mhd` with its `.raw`, or `.mha`): header parsed here, voxels slice by slice.

Rules are those of MetaIO, as ITK applies them (itk.org/Wiki/ITK/MetaIO/Documentation): row i of `TransformMatrix` is
the direction of axis i, world coordinates grow to the patient's left, posterior and superior, `MET_LONG` has 4 bytes,
and `AnatomicalOrientation`, which repeats the matrix in words, is not looked at.
"""

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from climb_hf.errors import CorruptFileError
from climb_hf.readers.integrity import damage_named
from climb_hf.readers.volume import Volume, check_affine, check_extent, check_shape

__all__ = ["open_mhd", "read_mhd_header"]

_DTYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_REQUIRED = ("NDims", "DimSize", "ElementType", "ElementDataFile")
_MAX_HEADER = 1 << 16  # bytes; real headers have a few hundred
_LAST, _LOCAL = "ElementDataFile", "LOCAL"
_AXES = 3
_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def read_mhd_header(path: str | Path) -> dict[str, str]:
    """Read the `key = value` lines of a MetaImage header, which end with `ElementDataFile`.

    Args:
        path (`str` or `Path`): the `.mhd` or `.mha` file.

    Returns:
        `dict[str, str]`: values as they are written.

    Raises:
        CorruptFileError: no MetaImage header, or one without `NDims`, `DimSize`, `ElementType` or `ElementDataFile`.
    """
    return _read_header(Path(path))[0]


def open_mhd(path: str | Path, *, check: bool = True) -> Volume:
    """Read the header of a MetaImage; no voxel is read.

    Args:
        path (`str` or `Path`): the `.mhd` or `.mha` file.
        check (`bool`, *optional*, defaults to `True`): the file of the voxels must exist and have the size that the
            header declares; `False` is for those who need the geometry only.

    Returns:
        `Volume`: to be read with `climb_hf.readers.volume.read_slices`; its affine is turned to the patient's right,
        anterior and superior.

    Raises:
        CorruptFileError: a damaged header, a file of voxels that is missing, outside the folder of the header, or of
            another size, or a form that is not read (lists of files, text, several channels, not three axes).
    """
    path = Path(path)
    fields, end = _read_header(path)
    with damage_named(str(path), "reading the MetaImage header"):
        if _numbers(fields, "NDims", 1, int) != [_AXES]:
            raise CorruptFileError(f"`{path}`: expected `NDims = 3`, found {fields['NDims']!r}. It is no volume.")
        _refuse_forms(fields, path)
        dtype = _dtype(fields, path)
        shape = check_shape(_numbers(fields, "DimSize", _AXES, int), path)
        n_bytes = shape[0] * shape[1] * shape[2] * dtype.itemsize
        is_compressed = _flag(fields, "CompressedData")
        data = _data_file(fields, path)
        start, is_exact = (end, False) if data == path else _start(fields, data, n_bytes)
        affine = _affine(fields)
        check_affine(affine, path)
    volume = Volume(data, shape, affine, dtype, is_compressed=is_compressed, n_bytes=n_bytes, start=start)
    if check:
        _check_data(volume, path, is_exact=is_exact and not is_compressed)
    return volume


def _read_header(path: Path) -> tuple[dict[str, str], int]:
    """Return the fields and the byte behind the line of `ElementDataFile`."""
    with damage_named(str(path), "reading"), path.open("rb") as file:
        head = file.read(_MAX_HEADER)
    fields: dict[str, str] = {}
    position = 0
    while position < len(head) and _LAST not in fields:
        stop = head.find(b"\n", position)
        stop = len(head) if stop < 0 else stop
        key, equals, value = head[position:stop].decode("latin-1").partition("=")
        if not equals:
            if key.strip():
                break
        else:
            fields[key.strip()] = value.strip()
        position = stop + 1
    missing = [name for name in _REQUIRED if not fields.get(name)]
    if missing:
        raise CorruptFileError(
            f"`{path}` is not a MetaImage header, or a damaged one: `{missing[0]}` is missing, found "
            f"{', '.join(f'`{name}`' for name in list(fields)[:12]) or 'no `key = value`'}. Fetch it again."
        )
    return fields, position


def _numbers(fields: Mapping[str, str], name: str, count: int, kind: Callable[[str], float]) -> list:
    words = fields[name].split()
    if len(words) != count:
        raise CorruptFileError(f"expected {count} numbers in `{name}`, found {fields[name]!r}")
    return [kind(word) for word in words]


def _flag(fields: Mapping[str, str], *names: str) -> bool:
    return any(fields.get(name, "").lower() in ("true", "1", "t") for name in names)


def _refuse_forms(fields: Mapping[str, str], path: Path) -> None:
    if fields.get("BinaryData", "True").lower() in ("false", "0", "f"):
        raise CorruptFileError(f"`{path}` stores its voxels as text (`BinaryData = False`). Convert it with ITK.")
    if fields.get("ElementNumberOfChannels", "1") != "1":
        channels = fields["ElementNumberOfChannels"]
        raise CorruptFileError(f"`{path}`: expected one number per voxel, found {channels} channels.")


def _dtype(fields: Mapping[str, str], path: Path) -> np.dtype:
    name = fields["ElementType"]
    if name not in _DTYPES:
        raise CorruptFileError(f"`{path}`: expected `ElementType` one of {', '.join(_DTYPES)}, found {name!r}.")
    is_big = _flag(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    return np.dtype(_DTYPES[name]).newbyteorder(">" if is_big else "<")


def _data_file(fields: Mapping[str, str], path: Path) -> Path:
    """Return the file of the voxels, which must lie in the folder of the header or below it."""
    name = fields["ElementDataFile"]
    if name.upper() == _LOCAL:
        return path
    if name.split()[0].upper() == "LIST" or "%" in name:
        raise CorruptFileError(f"`{path}` keeps its voxels in several files ({name!r}). Convert it with ITK.")
    inside = PurePosixPath(name.replace("\\", "/"))
    if inside.is_absolute() or ".." in inside.parts or ":" in name:
        raise CorruptFileError(
            f"`{path}`: `ElementDataFile` names `{name}`, a path outside its own folder; it is not read. Put the file "
            "beside the header and write its bare name there."
        )
    return path.parent / inside


def _start(fields: Mapping[str, str], data: Path, n_bytes: int) -> tuple[int, bool]:
    """Return the bytes before the voxels, and whether the file must end with them."""
    skipped = int(fields.get("HeaderSize", "0"))
    if skipped == -1:  # the voxels are the last bytes, whatever stands before them
        return max(0, data.stat().st_size - n_bytes if data.is_file() else 0), False
    if skipped < 0:
        raise CorruptFileError(f"expected `HeaderSize` -1, 0 or more, found {skipped}")
    return skipped, skipped == 0


def _affine(fields: Mapping[str, str]) -> np.ndarray:
    spacing_name = "ElementSpacing" if "ElementSpacing" in fields else "ElementSize"
    if spacing_name not in fields:
        raise CorruptFileError("`ElementSpacing` is missing, so distances in mm are unknown")
    spacing = np.array(_numbers(fields, spacing_name, _AXES, float))
    matrix, origin = np.eye(_AXES), np.zeros(_AXES)
    for name in ("TransformMatrix", "Rotation", "Orientation"):
        if name in fields:
            matrix = np.array(_numbers(fields, name, _AXES**2, float)).reshape(_AXES, _AXES)
            break
    for name in ("Offset", "Position", "Origin"):
        if name in fields:
            origin = np.array(_numbers(fields, name, _AXES, float))
            break
    affine = np.eye(_AXES + 1)
    affine[:_AXES, :_AXES] = _TO_RAS @ (matrix.T * spacing)
    affine[:_AXES, _AXES] = _TO_RAS @ origin
    return affine


def _check_data(volume: Volume, path: Path, *, is_exact: bool) -> None:
    if not volume.path.is_file():
        raise CorruptFileError(
            f"`{path}`: its voxels should lie in `{volume.path.name}`, which is not there. Fetch it, or leave it out."
        )
    check_extent(volume)
    if is_exact and (size := volume.path.stat().st_size) != volume.n_bytes:
        sizes = " × ".join(map(str, volume.shape))
        raise CorruptFileError(
            f"`{path}`: `DimSize` {sizes} of {volume.dtype} asks for {volume.n_bytes} bytes, `{volume.path.name}` has "
            f"{size}. Take header and voxels from the same release."
        )
