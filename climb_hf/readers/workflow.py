"""Annotations of operations as Cholec80 lists them: a phase for every video frame, tools for every second."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from climb_hf.errors import SchemaError
from climb_hf.readers.tables import read_csv_rows, to_int

__all__ = ["Interval", "Phases", "cut_intervals", "equal_intervals", "frame_labels", "read_phases", "read_tools"]


@dataclass(frozen=True)
class Phases:
    """Phases of one operation, as runs of frames.

    Args:
        starts (`tuple[int, ...]`): first frame of each run; the first is 0.
        names (`tuple[str, ...]`): phase of each run; neighbours differ.
        n_frames (`int`): frames annotated.
    """

    starts: tuple[int, ...]
    names: tuple[str, ...]
    n_frames: int

    def between(self, start: int, end: int) -> list[tuple[int, str]]:
        """Return the runs of the frames `start` to `end` − 1, the first one cut to begin at `start`.

        Example:
            >>> Phases((0, 40, 90), ("a", "b", "a"), 120).between(25, 90)
            [(25, 'a'), (40, 'b')]
        """
        first, last = bisect_right(self.starts, start) - 1, bisect_left(self.starts, end)
        return [(max(start, self.starts[k]), self.names[k]) for k in range(max(0, first), last)]


def read_phases(table: Path) -> Phases:
    """Read `videoNN-phase.txt`.

    Args:
        table (`Path`): tab-separated, columns `Frame`, which counts from 0 without a gap, and `Phase`.

    Returns:
        `Phases`.

    Raises:
        SchemaError: a column is missing, or `Frame` is not the number of its row.
    """
    starts: list[int] = []
    names: list[str] = []
    number, previous = 0, ""
    for row in read_csv_rows(table, required=("Frame", "Phase"), delimiter="\t"):
        if row["Frame"] != str(number) and to_int(row["Frame"]) != number:
            raise SchemaError(f"`{table}`: expected the row of frame {number}, found {row['Frame']!r}. Restore it.")
        name = row["Phase"]
        if name != previous:
            previous, name = name, name.strip()
            if not names or names[-1] != name:
                starts.append(number)
                names.append(name)
        number += 1
    return Phases(tuple(starts), tuple(names), number)


def read_tools(table: Path, tools: Sequence[str], rate: int) -> dict[int, tuple[str, ...]]:
    """Read `videoNN-tool.txt`.

    Args:
        table (`Path`): tab-separated, columns `Frame` (0, `rate`, 2 · `rate` …) and one of 0 and 1 for each tool.
        tools (`Sequence[str]`): names of the tools.
        rate (`int`): frames per second.

    Returns:
        `dict[int, tuple[str, ...]]`: second -> tools in use, in the order of `tools`.

    Raises:
        SchemaError: a column is missing, `Frame` is no multiple of `rate` or stands twice, or a value is not 0 or 1.
    """
    used: dict[int, tuple[str, ...]] = {}
    for row in read_csv_rows(table, required=("Frame", *tools), delimiter="\t"):
        frame = to_int(row["Frame"])
        values = {tool: row[tool].strip() for tool in tools}
        if frame is None or frame % rate or frame // rate in used or not {*values.values()} <= {"0", "1"}:
            raise SchemaError(
                f"`{table}`: expected a multiple of {rate} once as `Frame` and 0 or 1 for each tool, found "
                f"{[*row.values()]}. Restore it."
            )
        used[frame // rate] = tuple(tool for tool, value in values.items() if value == "1")
    return used


def equal_intervals(n: int, count: int) -> list[tuple[int, int]]:
    """Cut a sequence into equal parts; the last one takes the rest, as CLIMB's code does.

    Args:
        n (`int`): length of the sequence.
        count (`int`): parts; of a shorter sequence every element is a part.

    Returns:
        `list`: first place and one behind the last of each part.

    Example:
        >>> equal_intervals(11, 4)
        [(0, 2), (2, 4), (4, 6), (6, 11)]
    """
    count = min(n, count)
    size = n // count if count else 0
    return [(k * size, (k + 1) * size if k < count - 1 else n) for k in range(count)]


@dataclass(frozen=True)
class Interval:
    """One part of an operation.

    Args:
        start (`int`): first second.
        end (`int`): first second after it.
        phase_runs (`list[tuple[int, str]]`): first frame and name of each phase in it.
        tools (`list[tuple[str, ...] | None]`): tools of each of its seconds, `None` for one without a row.
    """

    start: int
    end: int
    phase_runs: list[tuple[int, str]]
    tools: list[tuple[str, ...] | None]

    @property
    def phases_present(self) -> tuple[str, ...]:
        """The phases that occur in it, each once, by time."""
        return tuple(dict.fromkeys(name for _, name in self.phase_runs))

    @property
    def tools_present(self) -> tuple[str, ...]:
        """The tools that occur in it, each once, by time."""
        return tuple(dict.fromkeys(tool for tools in self.tools for tool in tools or ()))


def cut_intervals(
    phases: Phases, tools: Mapping[int, tuple[str, ...]], count: int, rate: int
) -> tuple[list[Interval], list[int]]:
    """Cut an operation into equal intervals of the seconds that have both a phase and a tool row.

    Args:
        phases (`Phases`): of `read_phases`.
        tools (`Mapping[int, tuple[str, ...]]`): of `read_tools`.
        count (`int`): how many intervals.
        rate (`int`): frames per second.

    Returns:
        `tuple`: the intervals by time, and the seconds that have only one of the two annotations.
    """
    with_phase = set(range(-(-phases.n_frames // rate)))
    seconds = sorted(with_phase & tools.keys())
    intervals = []
    for low, high in equal_intervals(len(seconds), count):
        start, end = seconds[low], seconds[high - 1] + 1
        runs = phases.between(start * rate, end * rate)
        intervals.append(Interval(start, end, runs, [tools.get(second) for second in range(start, end)]))
    return intervals, sorted(with_phase ^ tools.keys())


def frame_labels(interval: Mapping[str, Any], frames: Iterable[int]) -> list[list[str]]:
    """Return what is annotated for frames of an interval: the phase, then the tools of the frame's second.

    Args:
        interval (`Mapping`): `phase_runs`, `tools`, `start_seconds` and `fps` of a record.
        frames (`Iterable[int]`): numbers of frames in the video, from 0.

    Returns:
        `list[list[str]]`: names as annotated, for each frame.

    Example:
        >>> part = {"phase_runs": [[25, "a"], [40, "b"]], "tools": [["x"], None], "start_seconds": 1, "fps": 25}
        >>> frame_labels(part, (30, 60))
        [['a', 'x'], ['b']]
    """
    starts, names = zip(*interval["phase_runs"], strict=True)
    labels = []
    for frame in frames:
        second = min(max(frame // interval["fps"] - interval["start_seconds"], 0), len(interval["tools"]) - 1)
        phase = names[max(0, bisect_right(starts, frame) - 1)]
        labels.append([phase, *(interval["tools"][second] or ())])
    return labels
