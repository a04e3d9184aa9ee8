"""What the corpora of Temple University Hospital share: tree, annotations, patient field of headers, event windows."""

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from climb_hf.readers.edf import EdfSignal, read_edf_header
from climb_hf.readers.montage import TCP_22, bipolar_rate, read_bipolar
from climb_hf.readers.tables import is_junk

__all__ = [
    "SPLITS",
    "TuhEvent",
    "files_below",
    "part_of",
    "read_event",
    "read_lab",
    "read_person",
    "read_rec",
    "stem_of",
]

#: Folder of the corpora -> split.
SPLITS = {"train": "train", "eval": "test"}
_SEX = re.compile(r"(?:^|\s)([FM])(?=\s|$)")
_AGE = re.compile(r"Age:\s*(\d+(?:\.\d+)?)")
#: Ages from here on are codes for "unknown", such as 999.
_OLDEST = 120.0
#: Units of the times of `.lab` files in a second.
_LAB_UNITS = 100_000
_LAB_CHANNEL = re.compile(r"_ch(\d+)$")


@dataclass(frozen=True, slots=True)
class TuhEvent:
    """One annotation row.

    Args:
        channel (`int`): place of the derivation in `climb_hf.readers.montage.TCP_22`.
        start (`float`): first second.
        stop (`float`): last second.
        code (`str`): label as written: `"6"` in a `.rec` file, `"bckg"` in a `.lab` file.
        fault (`str`): what is wrong with the row; empty where nothing is.
    """

    channel: int
    start: float
    stop: float
    code: str
    fault: str = ""


def _event(cells: Sequence[str], channel: str, unit: float = 1.0) -> TuhEvent:
    """Make an event of a row's (start, stop, code, …); a row that says nothing usable carries its fault."""
    try:
        place, start, stop = int(float(channel)), float(cells[0]) / unit, float(cells[1]) / unit
        code = cells[2].strip().removesuffix(".0")
    except (ValueError, IndexError, OverflowError):
        return TuhEvent(0, 0.0, 0.0, "", f"should hold channel, start, stop and code, not {[channel, *cells]}")
    fault = ""
    if not 0 <= place < len(TCP_22):
        fault = f"names channel {channel}; expected 0 to {len(TCP_22) - 1}"
    elif not 0 <= start < stop < math.inf:
        fault = f"lasts from {start:g} to {stop:g} s; expected a start of 0 or more and a later stop"
    return TuhEvent(place, start, stop, code, fault)


def read_rec(path: Path) -> list[TuhEvent]:
    """Read a `.rec` file: lines of `channel,start,stop,code`, with a fifth column in some copies.

    Args:
        path (`Path`): the file.

    Returns:
        `list[TuhEvent]`: in file order; empty lines are passed over.
    """
    lines = (
        line.split(",") for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
    )
    return [_event(cells[1:], cells[0]) for cells in lines]


def read_lab(paths: Sequence[Path]) -> list[TuhEvent]:
    """Read the `.lab` files of a recording: one per derivation, lines of `start stop label` in units of 10 µs.

    Args:
        paths (`Sequence[Path]`): files whose names end with `_ch000` and so on.

    Returns:
        `list[TuhEvent]`: by derivation, then in file order.
    """
    events = []
    for path in sorted(paths):
        channel = match[1] if (match := _LAB_CHANNEL.search(path.stem)) else path.stem
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.strip():
                events.append(_event(line.split(), channel, _LAB_UNITS))
    return events


def files_below(root: Path, *suffixes: str) -> dict[str, list[str]]:
    """List the files below a folder by suffix, in the order of their paths.

    Args:
        root (`Path`): the folder; junk is passed over, links to folders are followed (the corpora are made of them).
        *suffixes (`str`): lower-case suffixes such as `".edf"`.

    Returns:
        `dict[str, list[str]]`: suffix -> paths relative to `root`.
    """
    found: dict[str, list[str]] = {suffix: [] for suffix in suffixes}
    for folder, folders, files in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".") and not is_junk(name)]
        inside = Path(folder).relative_to(root).as_posix()
        for name in files:
            suffix = Path(name).suffix.lower()
            if suffix in found and not is_junk(name):
                found[suffix].append(name if inside == "." else f"{inside}/{name}")
    return {suffix: sorted(paths) for suffix, paths in found.items()}


def part_of(path: str, names: tuple[str, ...]) -> str | None:
    """Return the folder of a relative path that is one of `names`.

    Args:
        path (`str`): relative path.
        names (`tuple[str, ...]`): folder names.

    Returns:
        `str`, *optional*

    Example:
        >>> part_of("edf/eval/normal/01_tcp_ar/a.edf", ("train", "eval"))
        'eval'
    """
    return next((part for part in path.split("/")[:-1] if part in names), None)


def stem_of(path: str) -> str:
    """Return the file name of a relative path without its suffix.

    Example:
        >>> stem_of("edf/eval/000/bckg_000_a_.edf")
        'bckg_000_a_'
    """
    return path.rpartition("/")[2].rpartition(".")[0]


def read_person(patient: str) -> tuple[float | None, str | None]:
    """Read age and sex from the patient field of a header.

    Args:
        patient (`str`): such as `"00000000 M 01-JAN-1978 00000000 Age:37"`.

    Returns:
        Age in years (`None` for 999 and other codes) and sex (`"female"`, `"male"` or `None`).

    Example:
        >>> read_person("00000000 M 01-JAN-1978 00000000 Age:37"), read_person("X X X X Age:999")
        ((37.0, 'male'), (None, None))
    """
    sex, age = _SEX.search(patient), _AGE.search(patient)
    years = float(age[1]) if age else _OLDEST
    return (years if years < _OLDEST else None), ({"F": "female", "M": "male"}[sex[1]] if sex else None)


def read_event(
    path: Path, start: float, stop: float, *, seconds: float = 5.0, missing: Literal["raise", "nan"] = "raise"
) -> EdfSignal:
    """Read the sixteen derivations around an event; beyond the ends the recording goes on cyclically.

    For an event of one second this is the window of BIOT's processing (repository ycq091044/BIOT): two seconds before
    the first sample at or after `start` to two seconds after the event. Events of another length are centred.

    Args:
        path (`Path`): the recording.
        start (`float`): first second of the event.
        stop (`float`): its last second.
        seconds (`float`, *optional*, defaults to `5.0`): length of the window.
        missing (`str`, *optional*, defaults to `"raise"`): as in `read_bipolar`.

    Returns:
        [`EdfSignal`]: `signal` (seconds * rate, 16) float32, µV.

    Raises:
        CorruptFileError: as `read_bipolar`.
    """
    header = read_edf_header(path)
    rate = bipolar_rate(header)
    total, length = round(header.duration * rate), round(seconds * rate)
    first = math.ceil(((start + stop - seconds) / 2) * rate - 1e-6) % total
    if first + length <= total:
        return read_bipolar(path, start=first, stop=first + length, missing=missing)
    if length > total:
        whole = read_bipolar(path, missing=missing)
        whole.signal = whole.signal.take(np.arange(first, first + length) % total, axis=0)
        return whole
    tail = read_bipolar(path, start=first, missing=missing)
    head = read_bipolar(path, stop=first + length - total, missing=missing)
    tail.signal = np.concatenate([tail.signal, head.signal])
    return tail
