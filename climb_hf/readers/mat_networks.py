"""Connectivity matrices in MATLAB files: one file with a cell array of networks, or a file per visit."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError, SchemaError
from climb_hf.readers.memo import memoize_by_files

__all__ = ["load_mat", "read_cells"]


def load_mat(path: Path, *names: str) -> dict[str, Any]:
    """Read some variables of a MATLAB file of version 4 to 7.2.

    Args:
        path (`Path`): the file.
        *names (`str`): the variables; others are not read.

    Returns:
        `dict[str, np.ndarray]`: a cell array is an object array.

    Raises:
        CorruptFileError: the file is missing, truncated, of version 7.3 (HDF5) or no MATLAB file.
        SchemaError: a variable is not in the file.
    """
    from scipy.io import loadmat

    try:
        found = loadmat(path, variable_names=list(names))
    except NotImplementedError as error:
        raise CorruptFileError(
            f"`{path}`: expected a MATLAB file up to version 7.2, found version 7.3 (HDF5). Save it with `-v7`."
        ) from error
    except Exception as error:  # the parser raises whatever damaged bytes lead it into
        raise CorruptFileError(f"`{path}`: expected a whole MATLAB file ({error}). Fetch it again.") from error
    for name in names:
        if name not in found:
            raise SchemaError(f"`{path}`: the variable `{name}` is not there. Is it the file that is documented?")
    return found


@memoize_by_files("PPMI.mat")
def read_cells(root: Path) -> tuple[list[NDArray[Any]], NDArray[np.int64]]:
    """Read the networks and labels of `PPMI.mat`, once per process.

    Args:
        root (`Path`): the folder that holds the file.

    Returns:
        `tuple`: the networks, each (regions, regions, views), and the labels, (N,) int64 of -1 and 1.

    Raises:
        CorruptFileError: the file cannot be read.
        SchemaError: it is another data set: `X` holds no square matrices, or `label` not one -1 or 1 for each.
    """
    path = root / "PPMI.mat"
    content = load_mat(path, "X", "label")
    cells, labels = content["X"].reshape(-1), content["label"].reshape(-1).astype(np.int64)
    shapes = {np.shape(cell) for cell in cells} if content["X"].dtype.kind == "O" else {content["X"].shape}
    square = all(len(shape) == 3 and shape[0] == shape[1] for shape in shapes)
    if not square or not len(cells) or len(labels) != len(cells) or not np.isin(labels, (-1, 1)).all():
        raise SchemaError(
            f"`{path}`: expected `X`, a cell array of (regions, regions, views), and `label`, one -1 or 1 for each; "
            f"found cells of {sorted(shapes)[:3]} and {len(labels)} labels of {sorted(set(labels.tolist()))[:5]}. "
            "Other files of this name exist; get the one of the BrainGB group."
        )
    return list(cells), labels
