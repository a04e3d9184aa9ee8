"""BenchMD's published ECG lists: the split of each record, and the rule that draws one label from several.

Source: `rajpurkarlab/BenchMD`, `src/datasets/ecg`, commit 2d1fe92 (the CLIMB paper's code ships the same files).
"""

from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import TypeVar

from climb_hf.errors import SplitError
from climb_hf.readers.tables import read_csv_rows

__all__ = ["LIST_URL", "draw_single", "read_split_list"]

#: Where the lists are published, by file name.
LIST_URL = (
    "https://raw.githubusercontent.com/rajpurkarlab/BenchMD/2d1fe92290c65b685ad524b2f3c42306c704e212/src/datasets/ecg/"
)
_SPLITS = {"train": "train", "val": "test"}
_T = TypeVar("_T")


def draw_single(values: Sequence[_T], position: int) -> _T:
    """Draw one of several true labels as BenchMD draws it: NumPy's legacy generator seeded with the record's position.

    Args:
        values (`Sequence`): the record's positive classes in BenchMD's class order, not empty.
        position (`int`): 0-based position of the record in the sorted list of all records.

    Returns:
        One of `values`.

    Example:
        >>> draw_single(["cd", "mi"], 0)
        'cd'
    """
    import numpy as np

    return values[int(np.random.RandomState(position).choice(len(values)))]


def read_split_list(path: Path, *, source: str, sha256: str) -> dict[str, str]:
    """Read a `*_splits.csv` of BenchMD.

    Args:
        path (`Path`): the file, from the raw folder or `split_file=`.
        source (`str`): name for the message.
        sha256 (`str`): checksum of the published file, for the message.

    Returns:
        `dict[str, str]`: record name (file name without folder and ending) -> `"train"` or `"test"`; BenchMD calls its
        test part `val`.

    Raises:
        SplitError: the file is absent, or names another split.
    """
    if not path.is_file():
        raise SplitError(
            f"{source}: `split_by='paper'` needs BenchMD's `{path.name}`, not found at `{path}`. Download "
            f"{LIST_URL}{path.name} (sha256 {sha256}) and pass it as `split_file=`."
        )
    splits = {}
    for row in read_csv_rows(path, required=("file_name", "split")):
        if row["split"] not in _SPLITS:
            raise SplitError(
                f"{source}: `{path.name}` has the split {row['split']!r}; expected one of {list(_SPLITS)}."
            )
        splits[PureWindowsPath(row["file_name"]).stem] = _SPLITS[row["split"]]
    return splits
