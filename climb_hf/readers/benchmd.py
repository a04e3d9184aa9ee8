"""BenchMD's published ECG lists: the split of each record, its classes, and the one label drawn from several.

Source: `rajpurkarlab/BenchMD`, `src/datasets/ecg`, commit 2d1fe92 (the CLIMB paper's code ships the same files).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from climb_hf.errors import SplitError
from climb_hf.readers.tables import read_csv_rows
from climb_hf.source import LeftOut, Options, Record, Skipped
from climb_hf.vocabulary import SourceVocabulary

__all__ = ["LIST_URL", "BenchmdRow", "as_benchmd", "draw_label", "read_benchmd_list", "read_split_list"]

#: Where the lists are published, by file name.
LIST_URL = (
    "https://raw.githubusercontent.com/rajpurkarlab/BenchMD/2d1fe92290c65b685ad524b2f3c42306c704e212/src/datasets/ecg/"
)
#: BenchMD's column order, which its random single label depends on.
_ORDER = ("normal", "cd", "mi", "sttc", "other", "afib", "hyp")
#: Checksums of the published lists.
SHA256 = {
    "ptbxl_splits.csv": "e48f07e91d6b2616707483bfff3863d4c3bd02866274ccf935d8363269713ba9",
    "ChapmanShaoxing_splits.csv": "b3ec97578d4f780c7f01c61383194a8780734b286523c8411e2c685795406be9",
    "Ga_splits.csv": "6e47ca14de188d0a5086e2759f8019d5560a529516c39f1ad3183722c3ec306a",
    "CPSC_splits.csv": "e008e2ba52280c568d986fa34e4a46c751c633cb67afb73e367ce890015440b1",
}
_SPLITS = {"train": "train", "val": "test"}
#: The rule under which records that BenchMD does not list are left out.
UNLISTED = "not in BenchMD's list"


@dataclass(frozen=True, slots=True)
class BenchmdRow:
    """One record of a list.

    Args:
        split (`str`): `"train"` or `"test"`.
        classes (`tuple[str, ...]`): columns that are 1, in BenchMD's order; empty where its table lost every code.
        label (`str`): the column of the single label, drawn from `classes`, or from all seven where there are none.
    """

    split: str
    classes: tuple[str, ...]
    label: str


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
    """Read the splits of a `*_splits.csv` of BenchMD.

    Args:
        path (`Path`): the file, from the raw folder or `split_file=`.
        source (`str`): name for the message.

    Returns:
        `dict[str, str]`: record name (file name without folder and ending) -> `"train"` or `"test"`; BenchMD calls its
        test part `val`.

    Raises:
        SplitError: the file is absent, or names another split.
    """
    return {name: _split(row, path, source) for name, row in _rows(path, source, "`split_by='paper'`", ())}


def read_benchmd_list(path: Path, *, source: str) -> dict[str, BenchmdRow]:
    """Read splits and labels of a `*_splits.csv` of BenchMD.

    Args:
        path (`Path`): the file, from the raw folder or `split_file=`.
        source (`str`): name for the message.

    Returns:
        `dict[str, BenchmdRow]`: by record name (file name without folder and ending).

    Raises:
        SplitError: the file is absent, names another split, or has a label that its own classes exclude.
        SchemaError: a class column is missing.
    """
    found = {}
    for name, row in _rows(path, source, "`labels='benchmd'`", (*_ORDER, "label")):
        label, cells = row["label"], {column: row[column] for column in _ORDER}
        classes = tuple(column for column, cell in cells.items() if cell == "1")
        known = label.isascii() and label.isdigit() and int(label) < len(_ORDER) and {*cells.values()} <= {"0", "1"}
        if not known or (classes and _ORDER[int(label)] not in classes):
            raise SplitError(
                f"{source}: `{path.name}`, record `{name}`: expected class columns of 0 and 1 and a label of 0 to 6 "
                f"that is one of them, found {cells} and label {label!r}. Download the list again."
            )
        found[name] = BenchmdRow(_split(row, path, source), classes, _ORDER[int(label)])
    return found


def as_benchmd(
    rows: Iterable[Record | Skipped | LeftOut], path: Path, options: Options, *, source: str
) -> Iterator[Record | Skipped | LeftOut]:
    """Give the rows of an index BenchMD's splits (`split_by="paper"`) and labels (`labels="benchmd"`), as asked for.

    The label is BenchMD's single one; its multi-hot row goes to `metadata["benchmd_classes"]`. A record that the list
    does not hold is left out, unless it has a split already and keeps its own labels.

    Args:
        rows: rows of an index whose ids are BenchMD's record names.
        path (`Path`): the list; it is read only if the options need it.
        options (`Options`): options of the build.
        source (`str`): name for messages.

    Yields:
        The rows, changed in place.

    Raises:
        SplitError: see `read_benchmd_list`.
    """
    listed: dict[str, BenchmdRow] = {}
    splits: dict[str, str] = {}
    if options.labels == "benchmd":
        listed = read_benchmd_list(path, source=source)
        splits = {name: entry.split for name, entry in listed.items()}
    elif options.split_by == "paper":
        splits = read_split_list(path, source=source)
    for row in rows:
        if isinstance(row, Record):
            if options.split_by == "paper":
                row.split = splits.get(row.id, row.split)
            if (listed and row.id not in listed) or (options.split_by == "paper" and row.split is None):
                yield LeftOut(row.id, UNLISTED)
                continue
            if listed:
                row.label_values = (listed[row.id].label,)
                row.metadata = {**(row.metadata or {}), "benchmd_classes": list(listed[row.id].classes)}
        yield row


def _rows(path: Path, source: str, need: str, required: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the rows of a list with their record names."""
    if not path.is_file():
        raise SplitError(
            f"{source}: {need} needs BenchMD's `{path.name}`, not found at `{path}`. Download "
            f"{LIST_URL}{path.name} (sha256 {SHA256.get(path.name, 'not known')}) and pass it as `split_file=`."
        )
    for row in read_csv_rows(path, required=("file_name", "split", *required)):
        yield PureWindowsPath(row["file_name"]).stem, row


def _split(row: dict[str, str], path: Path, source: str) -> str:
    if row["split"] not in _SPLITS:
        raise SplitError(f"{source}: `{path.name}` has the split {row['split']!r}; expected one of {list(_SPLITS)}.")
    return _SPLITS[row["split"]]
