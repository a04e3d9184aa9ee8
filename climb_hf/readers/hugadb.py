"""Recordings of the Human Gait Database: the text files, the people, and the known faults of the first version.

A file has up to four header lines (activities, their ids, a date, column names) and a table of integers. Columns are
found by name. Accelerometers count 32768 for 2 g and gyroscopes for 2000 °/s; the EMG is left in counts of 0 to 255,
as its scale is not published.
"""

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError
from climb_hf.splits import group_fraction

__all__ = [
    "ACTIVITIES",
    "CHANNELS",
    "PARTICIPANTS",
    "RATE",
    "Gait",
    "GaitHead",
    "corrupted_gyroscopes",
    "draw_files",
    "fit_activity",
    "read_activities",
    "read_gait",
    "read_gait_head",
    "runs",
]

#: Nominal samples per second: the publisher's totals, 2,111,962 samples in 35,903 s.
RATE = 58.82
#: Activity ids and their names in the publisher's readme.
ACTIVITIES = {
    1: "Walking", 2: "Running", 3: "Going up", 4: "Going down", 5: "Sitting", 6: "Sitting down", 7: "Standing up",
    8: "Standing", 9: "Bicycling", 10: "Up by elevator", 11: "Down by elevator", 12: "Sitting in car",
}  # fmt: skip
#: The columns of the signal: right and left foot, shin (s) and thigh (t), then the EMG of both thighs.
CHANNELS = (
    *(f"{kind}_{place}_{axis}" for place in ("rf", "rs", "rt", "lf", "ls", "lt")
      for kind in ("acc", "gyro") for axis in "xyz"),
    "EMG_r", "EMG_l",
)  # fmt: skip
#: Participant: weight in kg, height in cm, age in years, sex.
PARTICIPANTS = {
    1: (75, 177, 24, "male"), 2: (80, 183, 22, "male"), 3: (65, 183, 23, "male"), 4: (93, 189, 24, "male"),
    5: (63, 183, 35, "male"), 6: (54, 168, 25, "female"), 7: (52, 161, 22, "female"), 8: (80, 176, 23, "male"),
    9: (65, 175, 24, "female"), 10: (118, 183, 27, "male"), 11: (85, 203, 24, "male"), 12: (85, 192, 23, "male"),
    13: (64, 174, 18, "male"), 14: (68, 175, 19, "male"), 15: (72, 178, 23, "male"), 16: (48, 164, 26, "female"),
    17: (85, 179, 25, "male"), 18: (70, 180, 19, "male"),
}  # fmt: skip
#: `various` recordings of version 1 with corrupted gyroscopes: participant, first and last counter, flags of right and
#: left foot, shin, thigh.
_CORRUPTED = (
    (3, 0, 24, "C-C-C-"), (4, 0, 19, "CCCCCC"), (5, 0, 0, "C-C---"), (5, 1, 20, "CCC---"), (7, 0, 24, "C-C---"),
    (9, 0, 8, "CCCCCC"), (9, 13, 20, "-C-C-C"), (11, 4, 20, "-C----"), (12, 0, 18, "CCCCCC"), (13, 7, 24, "CCCCCC"),
    (14, 0, 21, "CCCCCC"), (15, 0, 11, "CCCCCC"), (16, 0, 19, "CCCCCC"), (17, 0, 23, "CCCCCC"), (18, 0, 16, "CCCC-C"),
)  # fmt: skip
_HEAD_LINE = re.compile(r"#\s*(Activity|ActivityID|Date|Date-Time)\b[\s,:]*(.*)")
_HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class GaitHead:
    """The header lines of a recording.

    Args:
        activities (`tuple[str, ...]`): names of the annotated stretches in time order; empty where the line is absent.
        ids (`tuple[int, ...]`): their activity ids.
        date (`str`, *optional*): as written, month-day-hour-minute.
        columns (`tuple[str, ...]`): names of the columns.
        separator (`str`): tabulator or comma.
        offset (`int`): bytes before the table.
    """

    activities: tuple[str, ...]
    ids: tuple[int, ...]
    date: str | None
    columns: tuple[str, ...]
    separator: str
    offset: int


@dataclass(slots=True, eq=False)
class Gait:
    """A recording.

    Args:
        signal (`np.ndarray`): (time, 38) float32, columns as `CHANNELS`: g, °/s, and counts of 0 to 255 for the EMG.
        activity (`np.ndarray`): (time,) int64, id of the activity at each sample.
        head (`GaitHead`): the header lines.
    """

    signal: NDArray[np.float32]
    activity: NDArray[np.int64]
    head: GaitHead = field(repr=False)


def read_gait_head(path: Path) -> GaitHead:
    """Read the header lines of a recording.

    Args:
        path (`Path`): a `.txt` or `.csv` file.

    Returns:
        [`GaitHead`].

    Raises:
        CorruptFileError: the file is missing, or has no line of column names with all columns of the database.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(_HEAD_BYTES)
    except OSError as error:
        raise CorruptFileError(f"`{path}` cannot be read ({error.strerror}). Fetch it, or leave it out.") from error
    values: dict[str, str] = {}
    offset = 0
    for line in data.splitlines(keepends=True):
        text = line.decode("utf-8-sig", "replace").strip()
        offset += len(line)
        if match := _HEAD_LINE.match(text):
            values[match[1]] = match[2].strip()
        elif text and not text.startswith("#"):
            separator = "\t" if "\t" in text else ","
            columns = tuple(cell.strip() for cell in text.split(separator))
            break
    else:
        raise CorruptFileError(f"`{path}`: expected a line of column names, found none. Fetch the file again.")
    missing = [name for name in (*CHANNELS, "act") if columns.count(name) != 1]
    if missing:
        raise CorruptFileError(
            f"`{path}`: expected the columns of HuGaDB once each, but `{missing[0]}` stands "
            f"{columns.count(missing[0])} times among {len(columns)}. Fetch the file again or leave it out."
        )
    ids = tuple(int(word) for word in values.get("ActivityID", "").split() if word.isdecimal())
    date = values.get("Date") or values.get("Date-Time")
    return GaitHead(tuple(values.get("Activity", "").split()), ids, date or None, columns, separator, offset)


def read_gait(path: Path) -> Gait:
    """Read a recording in physical units.

    Args:
        path (`Path`): a `.txt` or `.csv` file.

    Returns:
        [`Gait`].

    Raises:
        CorruptFileError: as `read_gait_head`; the table is empty, or a row is cut off or holds something else than
            whole numbers.
    """
    head = read_gait_head(path)
    table = _table(path, head, (*CHANNELS, "act"))
    signal = np.empty((len(table["act"]), len(CHANNELS)), np.float32)
    for i, name in enumerate(CHANNELS):
        scale = {"acc": 2.0 / 32768.0, "gyro": 2000.0 / 32768.0}.get(name.partition("_")[0], 1.0)
        signal[:, i] = table[name] * scale
    return Gait(signal, table["act"], head)


def read_activities(path: Path) -> NDArray[np.int64]:
    """Read the activity of every sample, and nothing else.

    Args:
        path (`Path`): a `.txt` or `.csv` file.

    Returns:
        `np.ndarray`: (time,) int64.

    Raises:
        CorruptFileError: as `read_gait`.
    """
    return _table(path, read_gait_head(path), ("act",))["act"]


def _table(path: Path, head: GaitHead, names: tuple[str, ...]) -> dict[str, NDArray[np.int64]]:
    import pyarrow as pa
    from pyarrow import csv

    with path.open("rb") as stream:
        stream.seek(head.offset)
        data = stream.read()
    try:
        table = csv.read_csv(
            io.BytesIO(data),
            csv.ReadOptions(column_names=list(head.columns), use_threads=False),
            csv.ParseOptions(delimiter=head.separator, quote_char=False),
            csv.ConvertOptions(
                column_types=dict.fromkeys(head.columns, pa.int64()), include_columns=list(names), null_values=[]
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise CorruptFileError(
            f"`{path}`: expected rows of {len(head.columns)} whole numbers ({error}). Fetch the file again."
        ) from error
    if not data.endswith((b"\n", b"\r")) and head.ids and int(table["act"][-1].as_py()) != head.ids[-1]:
        raise CorruptFileError(
            f"`{path}`: expected to end with activity {head.ids[-1]} by its head, but the last row is cut off. "
            "Fetch the file again."
        )
    return {name: table[name].to_numpy() for name in names}


def runs(activity: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Cut a sequence of activities into its stretches.

    Args:
        activity (`np.ndarray`): (time,) ids.

    Returns:
        `list` of (id, first sample, one past the last).

    Example:
        >>> runs(np.array([5, 5, 7, 8, 8]))
        [(5, 0, 2), (7, 2, 3), (8, 3, 5)]
    """
    starts = [0, *(np.flatnonzero(np.diff(activity)) + 1).tolist()] if len(activity) else []
    return [(int(activity[a]), a, b) for a, b in zip(starts, [*starts[1:], len(activity)], strict=True)]


def fit_activity(activity: NDArray[np.int64], length: int, rate: float) -> list[str | None]:
    """Name the activity of every sample of a signal that may have been resampled, cut or padded.

    Args:
        activity (`np.ndarray`): (time,) ids at `RATE`.
        length (`int`): samples of the signal.
        rate (`float`): its rate in Hz.

    Returns:
        `list`: for each sample the name of the activity at its time; `None` for an id without a name and for padding.

    Example:
        >>> fit_activity(np.array([5, 5, 8, 8]), 3, RATE / 2)
        ['Sitting', 'Standing', None]
    """
    place = np.rint(np.arange(length) * (RATE / rate)).astype(np.int64)
    n_signal = math.ceil(len(activity) * rate / RATE - 1e-6)
    ids = activity[np.minimum(place, len(activity) - 1)].tolist()
    return [ACTIVITIES.get(act) if i < n_signal else None for i, act in enumerate(ids)]


def draw_files(files: Sequence[str], count: int, seed: int) -> list[str]:
    """Draw `count` of the files, the same ones whatever their order.

    Args:
        files (`Sequence[str]`): names.
        count (`int`): how many.
        seed (`int`): seed of the draw.

    Returns:
        `list[str]`: those drawn.

    Example:
        >>> len(draw_files(["a", "b", "c", "d", "e"], 4, seed=42))
        4
    """
    return sorted(files, key=lambda name: group_fraction(name, seed, salt="hugadb random"))[:count]


def corrupted_gyroscopes(kind: str, participant: int, counter: int) -> str | None:
    """Tell which gyroscopes of a recording the publisher lists as corrupted in version 1 (times ten and clipped).

    Args:
        kind (`str`): kind of recording in the file's name; only `various` ones are in the list.
        participant (`int`): 1 to 18.
        counter (`int`): number of the recording.

    Returns:
        Six flags, `C` for corrupted, in the order right foot, left foot, right shin, left shin, right thigh, left
        thigh; `None` for other kinds.

    Example:
        >>> corrupted_gyroscopes("various", 3, 7), corrupted_gyroscopes("various", 1, 0)
        ('C-C-C-', '------')
    """
    if kind != "various":
        return None
    listed = (flags for person, a, b, flags in _CORRUPTED if person == participant and a <= counter <= b)
    return next(listed, "------")
