"""The array file of ABIDE that BrainGB's scripts write: a pickled dictionary without subject ids."""

from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.errors import OptionError, SchemaError
from climb_hf.readers.guarded_pickle import read_pickled_npy
from climb_hf.readers.memo import memoize_by_files

__all__ = ["ARRAYS", "autism_label", "read_abide_array"]

#: Names of the file: BrainGB's script and the CLIMB paper's code spell it differently.
ARRAYS = ("abide.npy", "ABIDE.npy")
_SUBJECTS = 1009
_CONTROLS_TO_AUTISM_LABEL = {516: 0, 493: 1}  # subjects of label 1 -> the label that is autism


@memoize_by_files(*ARRAYS)
def read_abide_array(root: Path) -> dict[str, Any]:
    """Read what is needed of the file, once per process.

    Args:
        root (`Path`): the folder that holds `abide.npy` or `ABIDE.npy`.

    Returns:
        `dict`: `file` (its name), `corr` (N, R, R) Fisher-transformed correlations with a zero diagonal, `label` (N,)
        int64 0 or 1, `site` (N,) texts.

    Raises:
        CorruptFileError: the file is damaged, or its pickle asks for more than arrays.
        SchemaError: an array is missing or the arrays do not belong together.
    """
    file = next(name for name in ARRAYS if (root / name).is_file())
    data = read_pickled_npy(root / file)
    shapes = {key: np.shape(data.get(key, ())) for key in ("corr", "label", "site")}
    one_each = shapes["label"] == shapes["site"] == shapes["corr"][:1]
    if len(shapes["corr"]) != 3 or not one_each or not np.isin(data["label"], (0, 1)).all():
        raise SchemaError(
            f"`{root / file}`: expected `corr` (N, R, R), `label` (N,) of 0 and 1 and `site` (N,), found {shapes}. "
            "Write the file again with BrainGB's scripts."
        )
    return {"file": file, "corr": data["corr"], "label": np.asarray(data["label"], np.int64), "site": data["site"]}


def autism_label(labels: np.ndarray, given: int | None, source: str = "abide") -> int:
    """Tell which label is autism.

    BrainGB's script writes `DX_GROUP` - 1: autism is 0, although its README says 1. The complete file has 493 subjects
    with autism and 516 without, which tells the two apart.

    Args:
        labels (`np.ndarray`): (N,) 0 or 1.
        given (`int`, *optional*): what the user says.
        source (`str`, *optional*, defaults to `"abide"`): for the message.

    Returns:
        `int`: 0 or 1.

    Raises:
        OptionError: the counts are not those of the complete file and nothing was given.

    Example:
        >>> autism_label(np.repeat([0, 1], [493, 516]), None)
        0
    """
    ones = int(labels.sum())
    found = _CONTROLS_TO_AUTISM_LABEL.get(ones) if len(labels) == _SUBJECTS else None
    if given is None and found is None:
        raise OptionError(
            f"{source}: the array has {len(labels)} rows, {ones} of label 1 (the complete file: 1009, 516 or 493), so "
            "which label is autism cannot be told. Pass `asd_label=0` (BrainGB's script) or `asd_label=1`."
        )
    return given if given is not None else int(found or 0)
