"""BenchMD's published ECG lists: the split of each record, and the rule that draws one label from several.

Source: `rajpurkarlab/BenchMD`, `src/datasets/ecg`, commit 2d1fe92 (the CLIMB paper's code ships the same files).
"""

from collections.abc import Iterable
from pathlib import Path, PureWindowsPath

from climb_hf.errors import SplitError
from climb_hf.readers.tables import read_csv_rows
from climb_hf.vocabulary import SourceVocabulary

__all__ = ["LIST_URL", "draw_label", "read_split_list"]

#: Where the lists are published, by file name.
LIST_URL = (
    "https://raw.githubusercontent.com/rajpurkarlab/BenchMD/2d1fe92290c65b685ad524b2f3c42306c704e212/src/datasets/ecg/"
)
#: BenchMD's column order, which its random single label depends on.
_ORDER = ("normal", "cd", "mi", "sttc", "other", "afib", "hyp")
#: Checksums of the published lists.
SHA256 = {"ptbxl_splits.csv": "e48f07e91d6b2616707483bfff3863d4c3bd02866274ccf935d8363269713ba9"}
_SPLITS = {"train": "train", "val": "test"}


def draw_label(values: Iterable[str], plain: SourceVocabulary, benchmd: SourceVocabulary, position: int) -> str | None:
    """Draw one of several true labels as BenchMD draws it: NumPy's legacy generator seeded with the record's position.

    Args:
        values (`Iterable[str]`): the record's label values.
        plain (`SourceVocabulary`): the default vocabulary of the source, which maps `values` to classes.
        benchmd (`SourceVocabulary`): its `benchmd` vocabulary, whose raw values are BenchMD's column names.
        position (`int`): 0-based position of the record in the sorted list of all records.

    Returns:
        `str`: one of BenchMD's column names, or `None` for a record without a class.

    Example:
        >>> from climb_hf.vocabulary import source_vocabulary
        >>> draw_label(["WPW"], source_vocabulary("ptbxl"), source_vocabulary("ptbxl", "benchmd"), 0)
        'cd'
    """
    import numpy as np

    classes = {plain.class_of(value) for value in values}
    positive = [name for name in _ORDER if benchmd.knows(name) and benchmd.class_of(name) in classes]
    return positive[int(np.random.RandomState(position).choice(len(positive)))] if positive else None


def read_split_list(path: Path, *, source: str) -> dict[str, str]:
    """Read a `*_splits.csv` of BenchMD.

    Args:
        path (`Path`): the file, from the raw folder or `split_file=`.
        source (`str`): name for the message.

    Returns:
        `dict[str, str]`: record name (file name without folder and ending) -> `"train"` or `"test"`; BenchMD calls its
        test part `val`.

    Raises:
        SplitError: the file is absent, or names another split.
    """
    if not path.is_file():
        raise SplitError(
            f"{source}: `split_by='paper'` needs BenchMD's `{path.name}`, not found at `{path}`. Download "
            f"{LIST_URL}{path.name} (sha256 {SHA256.get(path.name, 'not known')}) and pass it as `split_file=`."
        )
    splits = {}
    for row in read_csv_rows(path, required=("file_name", "split")):
        if row["split"] not in _SPLITS:
            raise SplitError(
                f"{source}: `{path.name}` has the split {row['split']!r}; expected one of {list(_SPLITS)}."
            )
        splits[PureWindowsPath(row["file_name"]).stem] = _SPLITS[row["split"]]
    return splits
