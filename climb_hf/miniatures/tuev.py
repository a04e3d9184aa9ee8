"""Synthetic raw copy of the TUH EEG Events Corpus: drawn recordings in EDF with their annotation files.

Every signal is drawn and every annotation is made up; none comes from a patient. Each event draws the pattern of its
class around its second.

Oddities of the release that it writes:

* train files `<subject>_<number>` in subject folders, eval files `<event>_<session>_a_<k>` in session folders, where
  the event of the name need not be the one of the rows;
* `.rec` with one line, with five columns, with the same second on several channels (same or another code);
* 22 `.lab` files per recording, in units of 10 µs; one `.htk`;
* events at the very start and end of a recording, rows that are not one second long, a file at 256 Hz;
* headers with patient `/aa`, birth date `01-JAN-0000`, 26 channels in an order of their own.

Records are rows of the `.rec` files. Eval files have one row; train files one to four.
"""

from dataclasses import dataclass
from pathlib import Path

from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, write_bytes, write_text
from climb_hf.miniatures._eeg import ELECTRODES, PAIRS, draw_eeg, to_trace, trace_values, write_edf

__all__ = ["make"]

_EVENTS = ("spsw", "gped", "pled", "eyem", "artf", "bckg")
_CLASSES = (
    "Spike and Slow Wave (SPSW)",
    "Generalized Periodic Epileptiform Discharge (GPED)",
    "Periodic Lateralized Epileptiform Discharge (PLED)",
    "Eye Movement (EYEM)",
    "Artifact (ARTF)",
    "Background (BCKG)",
)
_PATTERNS = ("spike", "gpd", "lpd", "eye", "artefact", "alpha")
_TCP = (
    "FP1-F7", "F7-T3", "T3-T5", "T5-O1", "FP2-F8", "F8-T4", "T4-T6", "T6-O2", "A1-T3", "T3-C3", "C3-CZ", "CZ-C4",
    "C4-T4", "T4-A2", "FP1-F3", "F3-C3", "C3-P3", "P3-O1", "FP2-F4", "F4-C4", "C4-P4", "P4-O2",
)  # fmt: skip
_ROWS_OF_TRAIN = (1, 3, 2, 1, 4)
SECONDS = 14


@dataclass(frozen=True)
class _Row:
    channel: int
    start: int  # tenths of a second
    stop: int
    code: int  # 1 to 6


def make(root: Path, n: int = 32, seed: int = 0, *, annotations: str = "rec") -> list[Expected]:
    """Write a synthetic TUEV folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of annotated events.
        seed (`int`, *optional*, defaults to `0`): seed of headers, rows and signals.
        annotations (`str`, *optional*, defaults to `"rec"`): `"rec"` (with the `.lab` files beside) or `"lab"` only.

    Returns:
        `list[Expected]`: by path and row; `values`: `file`, `age`, `sex`, `sampling_rate`, `num_samples`,
        `first_sample` (16 derivations, µV), `channel_index`, `channel_name`, `start`, `stop`, `duplicate_of`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("tuev", n, seed)
    check_choice("tuev", "annotations", annotations, ("rec", "lab"))
    expected: list[Expected] = []
    n_eval, number = max(2, n // 4), 0
    for split, total in (("eval", n_eval), ("train", n - n_eval)):
        done, code = 0, 0
        while done < total:
            size = 1 if split == "eval" else _ROWS_OF_TRAIN[number % 5]
            rows, code = _rows(min(size, total - done), code, number, seed)
            expected += _write(root, split, number, rows, seed, annotations)
            done, number = done + len(rows), number + 1
    write_text(root / "AAREADME.txt", "Synthetic data in the format of the TUH EEG Events Corpus.\n")
    return sorted(expected, key=lambda row: (str(row.values["file"]), row.id))


def _rows(count: int, code: int, number: int, seed: int) -> tuple[list[_Row], int]:
    """Draw the rows of a file; the class goes round. Returns the rows and the next class."""
    random = rng(seed, "tuev", "rows", number)
    rows: list[_Row] = []
    for place in range(count):
        start = {0: 6, 1: 10 * SECONDS - 10}.get(number % 4, 10 * int(random.integers(4, 9)))
        channel, length = int(random.integers(0, 21)), 10
        if place == 1:  # the same second on another channel, of another class
            start, channel = rows[0].start, rows[0].channel + 1
        elif place == 2:  # not one second long
            start, length = 92, (20, 6)[number % 2]
        elif place == 3:  # the event before, on another channel
            rows.append(_Row(21, rows[2].start, rows[2].stop, rows[2].code))
            continue
        rows.append(_Row(channel, start, start + length, 1 + code % 6))
        code += 1
    return rows, code


def _write(root: Path, split: str, number: int, rows: list[_Row], seed: int, annotations: str) -> list[Expected]:
    """Write one recording with its annotations and return its rows."""
    random = rng(seed, "tuev", "file", number)
    if split == "train":
        group = "aaaaa" + "".join("abcdefghijklmnopqrstuvwxyz"[(number // 2 // 26**k) % 26] for k in (2, 1, 0))
        stem, patient = f"{group}_{1 + number % 2:08d}", "/aa"
    else:
        group = f"{number // 2:03d}"
        stem, patient = f"{_EVENTS[(number * 5) % 6]}_{group}_a_{number % 2 or ''}", group
    relative = f"edf/{split}/{group}/{stem}.edf"
    rate = 256 if len(rows) == 2 else 250
    if rate == 256:  # whole seconds, where the window starts at a whole sample
        rows = [_Row(row.channel, 10 * (row.start // 10), 10 * (row.start // 10) + 10, row.code) for row in rows]
    waves = draw_eeg(random, [(_PATTERNS[r.code - 1], (r.start + r.stop) / 20) for r in rows], SECONDS, rate)
    traces = {name: to_trace(f"EEG {name}-REF", waves[name], rate) for name in ELECTRODES}
    extra = [to_trace(f"EEG {i}-REF", random.normal(0.0, 9.0, SECONDS * rate), rate) for i in range(26, 31)]
    channels = [*traces.values(), *extra]
    person = rng(seed, "tuev", "person", group)
    sex, age = "FM"[int(person.integers(2))], int(person.integers(18, 90))
    ordered = [channels[i] for i in random.permutation(len(channels))]
    write_edf(root / relative, ordered, f"{patient} {sex} 01-JAN-0000 {patient} Age:{age}")
    if annotations == "lab":
        rows = sorted(rows, key=lambda row: row.channel)
    _write_annotations(root / relative, rows, annotations, number)
    values = {name: trace_values(trace) for name, trace in traces.items()}
    ids = [f"{stem}_{place:04d}" for place in range(len(rows))]
    spans = [(row.start, row.stop) for row in rows]
    expected = []
    for place, row in enumerate(rows):
        first = (row.start + row.stop - 50) * rate // 20  # centre minus 2.5 s, in samples; negative wraps around
        at, copy = first % (SECONDS * rate), spans.index(spans[place])
        truth: dict[str, object] = {
            "file": relative, "age": float(age), "sex": {"M": "male", "F": "female"}[sex],
            "sampling_rate": float(rate), "num_samples": 5 * rate, "channel_index": row.channel,
            "first_sample": tuple(float(values[a][at] - values[b][at]) for a, b in PAIRS), "first_index": first,
            "channel_name": _TCP[row.channel], "start": row.start / 10, "stop": row.stop / 10,
            "duplicate_of": ids[copy] if copy < place else None, "raw": (str(row.code), _EVENTS[row.code - 1]),
        }  # fmt: skip
        side = {"train": "train", "eval": "test"}[split]
        expected.append(Expected(ids[place], side, group, (_CLASSES[row.code - 1],), truth))
    return expected


def _write_annotations(recording: Path, rows: list[_Row], annotations: str, number: int) -> None:
    """Write `.rec`, the 22 `.lab` files and a feature file."""
    stem = recording.with_suffix("")
    if annotations == "rec":
        fifth = ",1.0" if number % 6 == 5 else ""
        lines = [f"{r.channel},{r.start / 10},{r.stop / 10},{r.code}{fifth}\n" for r in rows]
        write_text(recording.with_suffix(".rec"), "".join(lines))
    for channel in range(22):
        own = [f"{r.start * 10000} {r.stop * 10000} {_EVENTS[r.code - 1]}\n" for r in rows if r.channel == channel]
        write_text(stem.with_name(f"{stem.name}_ch{channel:03d}.lab"), "".join(own))
    write_bytes(stem.with_name(f"{stem.name}_ch000.htk"), bytes(12))
