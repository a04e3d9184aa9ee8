"""Synthetic raw copy of HuGaDB: drawn inertial and EMG recordings in the database's text files.

Every value is drawn; none comes from a person. Each activity has an amplitude, a frequency and an offset of its own.

Oddities of the release that it writes:

* four header lines, blanks at the end of two of them, TAB-separated integers, LF;
* activities of no class of the paper beside the four; recordings with none of the four;
* gyroscopes of some participants multiplied by ten and clipped;
* a readme among the recordings; `version="v1"` with activity names that hold underscores;
* `layout="csv"` (comma-separated, with the head) and `"csv-bare"` (without it).

Records are files, spread over the 18 participants.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, write_text

__all__ = ["make"]

_SENSORS = ("rf", "rs", "rt", "lf", "ls", "lt")
_COLUMNS = [f"{kind}_{place}_{axis}" for place in _SENSORS for kind in ("acc", "gyro") for axis in "xyz"]
_COLUMNS += ["EMG_r", "EMG_l", "act"]
_TOKENS = {1: "walking", 2: "running", 3: "going_up", 4: "going_down", 5: "sitting", 6: "sitting_down",
           7: "standing_up", 8: "standing", 9: "bicycling", 10: "elevator_up", 11: "elevator_down",
           12: "sitting_car"}  # fmt: skip
_CLASSES = {5: "Sitting", 8: "Standing", 6: "Sitting down", 7: "Standing up"}
_SEQUENCES = ((5, 7, 8, 6, 5), (8, 1, 8), (1, 3, 4), (5, 7, 1, 8), (8, 6, 5), (1, 2), (10, 8, 11), (5, 7, 8))
#: frequency in Hz, amplitude, offset of the foot's x axis, both in raw units
_MOTION = {1: (0.9, 9000, 0), 2: (1.4, 16000, 0), 3: (0.8, 8000, 2500), 4: (0.8, 8000, -2500), 5: (0.1, 150, -7600),
           6: (0.4, 3500, -4000), 7: (0.4, 3500, 4000), 8: (0.1, 150, 7600), 9: (1.1, 7000, -5000),
           10: (0.2, 400, 6000), 11: (0.2, 400, 6500), 12: (0.3, 700, -6500)}  # fmt: skip
_PEOPLE = {  # id: weight kg, height cm, age, sex; the published table
    1: (75, 177, 24, "M"), 2: (80, 183, 22, "M"), 3: (65, 183, 23, "M"), 4: (93, 189, 24, "M"), 5: (63, 183, 35, "M"),
    6: (54, 168, 25, "F"), 7: (52, 161, 22, "F"), 8: (80, 176, 23, "M"), 9: (65, 175, 24, "F"),
    10: (118, 183, 27, "M"), 11: (85, 203, 24, "M"), 12: (85, 192, 23, "M"), 13: (64, 174, 18, "M"),
    14: (68, 175, 19, "M"), 15: (72, 178, 23, "M"), 16: (48, 164, 26, "F"), 17: (85, 179, 25, "M"),
    18: (70, 180, 19, "M"),
}  # fmt: skip
#: participant: counters -> sensors (both feet, shins, thighs) with corrupted gyroscopes; the published list
_CORRUPTED = {
    3: {range(25): "C-C-C-"}, 4: {range(20): "CCCCCC"}, 5: {range(1): "C-C---", range(1, 21): "CCC---"},
    7: {range(25): "C-C---"}, 9: {range(9): "CCCCCC", range(13, 21): "-C-C-C"}, 11: {range(4, 21): "-C----"},
    12: {range(19): "CCCCCC"}, 13: {range(7, 25): "CCCCCC"}, 14: {range(22): "CCCCCC"}, 15: {range(12): "CCCCCC"},
    16: {range(20): "CCCCCC"}, 17: {range(24): "CCCCCC"}, 18: {range(17): "CCCC-C"},
}  # fmt: skip
_ORDER = ("rf", "lf", "rs", "ls", "rt", "lt")
_V1_NAMES = ("walking", "running", "sitting", "standing", "sitting_in_car", "various")
RATE = 58.82


def make(root: Path, n: int = 32, seed: int = 0, *, version: str = "v2", layout: str = "txt") -> list[Expected]:
    """Write a synthetic HuGaDB folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of recordings.
        seed (`int`, *optional*, defaults to `0`): seed of the signals.
        version (`str`, *optional*, defaults to `"v2"`): `"v2"` or `"v1"`.
        layout (`str`, *optional*, defaults to `"txt"`): `"txt"`, `"csv"` or `"csv-bare"`.

    Returns:
        `list[Expected]`: by file name; `values`: `file`, `age`, `sex`, `weight_kg`, `height_cm`, `num_samples`,
        `sampling_rate`, `first_sample` (38 values: g, °/s, counts), `runs` (activity id, start, stop),
        `gyro_corrupted_v1`, `date`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("hugadb", n, seed)
    check_choice("hugadb", "version", version, ("v2", "v1"))
    check_choice("hugadb", "layout", layout, ("txt", "csv", "csv-bare"))
    folder = "HuGaDB v2" if version == "v2" else "Data"
    expected = [_write(root, folder, number, seed, version, layout) for number in range(n)]
    write_text(root / folder / "Readme.txt", "Synthetic data in the format of the Human Gait Database.\n")
    return sorted(expected, key=lambda row: row.id)


def _write(root: Path, folder: str, number: int, seed: int, version: str, layout: str) -> Expected:
    """Write one recording."""
    random = rng(seed, "hugadb", "file", number)
    person, counter = 1 + (number * 5) % 18, number // 18
    kind = "various" if version == "v2" else _V1_NAMES[number % 6]
    stem = f"HuGaDB_{version}_{kind}_{person:02d}_{counter:02d}"
    runs, start = [], 0
    for act in _SEQUENCES[number % len(_SEQUENCES)]:
        stop = start + int(random.integers(60, 110))
        runs.append((act, start, stop))
        start = stop
    listed = [flags for counters, flags in _CORRUPTED.get(person, {}).items() if counter in counters]
    flags = (listed or ["------"])[0] if kind == "various" else None
    values = _draw(random, runs, flags or "------")
    acts = np.concatenate([np.full(stop - start, act) for act, start, stop in runs])
    file = f"{folder}/{stem}.{layout[:3]}"
    date = f"{1 + number % 12:02d}-{1 + number % 28:02d}-17-47"
    _write_text(root / file, values, acts, [act for act, _, _ in runs], date, layout)
    weight, height, age, sex = _PEOPLE[person]
    scale = np.array([2.0 if c.startswith("acc") else 2000.0 for c in _COLUMNS[:36]]) / 32768.0
    first = [*(values[0, :36] * scale), *map(float, values[0, 36:])]
    present = {act for act, _, _ in runs}
    truth = {
        "file": file, "age": float(age), "sex": {"M": "male", "F": "female"}[sex], "weight_kg": weight,
        "height_cm": height, "num_samples": len(acts), "sampling_rate": RATE, "first_sample": tuple(map(float, first)),
        "runs": runs, "gyro_corrupted_v1": flags, "date": None if layout == "csv-bare" else date,
    }  # fmt: skip
    classes = tuple(name for act, name in _CLASSES.items() if act in present)
    return Expected(stem, None, f"{person:02d}", classes, truth)


def _draw(random: np.random.Generator, runs: list[tuple[int, int, int]], flags: str) -> NDArray[np.int64]:
    """(time, 38) raw integers of a recording."""
    parts = []
    for act, start, stop in runs:
        frequency, size, offset = _MOTION[act]
        angle = 2 * np.pi * (frequency * np.arange(stop - start) / RATE + random.uniform())
        phase = np.arange(36) * 0.35
        part = offset * np.cos(phase) + size * np.sin(angle[:, None] + phase)
        part += random.normal(0.0, 60.0, part.shape)
        part[:, [i for i in range(36) if i % 6 >= 3]] *= 0.2  # the gyroscopes turn less than they move
        emg = 128.0 + random.normal(0.0, 2.0 + size / 400.0, (stop - start, 2))
        parts.append(np.concatenate([part, emg], axis=1))
    values = np.rint(np.concatenate(parts)).astype(np.int64)
    for sensor, flag in zip(_ORDER, flags, strict=True):
        if flag == "C":
            at = 6 * _SENSORS.index(sensor) + 3
            values[:, at : at + 3] *= 10
    values[:, :36] = np.clip(values[:, :36], -32768, 32767)
    values[:, 36:] = np.clip(values[:, 36:], 0, 255)
    return values


def _write_text(
    path: Path, values: NDArray[np.int64], acts: NDArray[np.int64], sequence: list[int], date: str, layout: str
) -> None:
    """Write the head and the table."""
    comma = layout != "txt"
    separator = "," if comma else "\t"
    head = [
        f"#Activity{separator}{' '.join(_TOKENS[act] for act in sequence)} ",
        f"#ActivityID{separator}{' '.join(map(str, sequence))} ",
        f"#Date {date}",
    ]
    lines = [] if layout == "csv-bare" else head
    lines.append(separator.join(_COLUMNS))
    table = np.concatenate([values, acts[:, None]], axis=1).tolist()
    lines += [separator.join(map(str, row)) for row in table]
    write_text(path, "\n".join(lines) + "\n")
