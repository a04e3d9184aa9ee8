"""Synthetic scalp EEG that shows its label, and the EDF files that publishers keep it in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Floats, write_bytes

__all__ = ["ELECTRODES", "PAIRS", "Trace", "bipolar", "draw_eeg", "to_trace", "trace_values", "write_edf"]

ELECTRODES = (
    "FP1", "FP2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "F7", "F8", "T3", "T4", "T5", "T6", "A1", "A2",
    "FZ", "CZ", "PZ",
)  # fmt: skip
#: The sixteen derivations of the signal column, with the old names of the temporal electrodes.
PAIRS = (
    ("FP1", "F7"), ("F7", "T3"), ("T3", "T5"), ("T5", "O1"), ("FP2", "F8"), ("F8", "T4"), ("T4", "T6"), ("T6", "O2"),
    ("FP1", "F3"), ("F3", "C3"), ("C3", "P3"), ("P3", "O1"), ("FP2", "F4"), ("F4", "C4"), ("C4", "P4"), ("P4", "O2"),
)  # fmt: skip
_LEFT = ("FP1", "F3", "C3", "P3", "O1", "F7", "T3", "T5", "A1")
_SIZE = dict(zip(ELECTRODES, (1.0, 1.0, 0.3, 0.3, 0.9, 0.9, 0.2, 0.2, 1.1, 1.1, 0.4, 0.4, 1.0, 1.0, 0.3, 0.3, 0.6,
                              0.6, 0.5, 0.7, 0.4), strict=True))  # fmt: skip
_POSTERIOR = {"O1": 1.0, "O2": 1.0, "P3": 0.4, "P4": 0.4, "T5": 0.3, "T6": 0.3}
_FRONTAL = {"FP1": 1.0, "FP2": 1.0, "F7": 0.3, "F8": 0.3, "F3": 0.2, "F4": 0.2}


@dataclass(frozen=True)
class Trace:
    """One channel of an EDF file.

    Args:
        label (`str`): channel label, at most 16 characters.
        digital (array): (samples,) int16.
        per_record (`int`): samples per data record.
        physical (`tuple[str, str]`): minimum and maximum as the header writes them.
        unit (`str`): unit as the header writes it.
        limits (`tuple[int, int]`): digital minimum and maximum.
    """

    label: str
    digital: NDArray[np.int16]
    per_record: int
    physical: tuple[str, str] = ("-5000.00", "5000.00")
    unit: str = "uV"
    limits: tuple[int, int] = (-32768, 32767)


def draw_eeg(
    random: np.random.Generator, events: Sequence[tuple[str, float | None]], seconds: float, rate: float
) -> dict[str, Floats]:
    """Draw 21 electrodes against a common reference: background, and the pattern of every event.

    Args:
        random (`numpy.random.Generator`): source of randomness.
        events: pattern and the second it is centred on; `None` fills the whole recording. Patterns: `alpha`, `delta`,
            `spike`, `gpd`, `lpd`, `grda`, `lrda`, `seizure`, `eye`, `artefact`.
        seconds (`float`): length.
        rate (`float`): Hz.

    Returns:
        `dict`: electrode -> (seconds * rate,) float64, µV.
    """
    time = np.arange(round(seconds * rate)) / rate
    slow = np.sin(2 * np.pi * (random.uniform(0.2, 0.6) * time + random.uniform()))
    waves = [(pattern, _wave(pattern, time, at, random)) for pattern, at in events]
    traces: dict[str, Floats] = {}
    for name in ELECTRODES:
        values = random.normal(0.0, 4.0, len(time)) + 6.0 * random.uniform(0.5, 1.5) * slow
        for pattern, wave in waves:
            values += _weight(pattern, name) * wave
        traces[name] = values
    return traces


def _wave(pattern: str, time: Floats, at: float | None, random: np.random.Generator) -> Floats:
    phase, size = random.uniform(), random.uniform(0.85, 1.15)
    middle = time[len(time) // 2] if at is None else at
    around = time - middle
    if pattern in ("gpd", "lpd"):
        beat = (time * 1.0 + phase) % 1.0 - 0.5
        wave = 160.0 * np.exp(-((beat / 0.04) ** 2)) - 60.0 * np.exp(-(((beat - 0.15) / 0.08) ** 2))
    elif pattern == "spike":
        wave = 220.0 * np.exp(-((around / 0.03) ** 2)) - 120.0 * np.exp(-(((around - 0.25) / 0.12) ** 2))
    elif pattern == "eye":
        wave = 250.0 * np.exp(-((around / 0.18) ** 2))
    elif pattern == "artefact":
        wave = 180.0 * np.sin(2 * np.pi * (36.0 * time + phase)) * np.exp(-((around / 0.6) ** 2))
    else:
        height, frequency = {
            "alpha": (40.0, 10.0), "delta": (110.0, 1.5), "grda": (120.0, 2.3), "lrda": (120.0, 2.3),
            "seizure": (150.0, 5.0),
        }[pattern]  # fmt: skip
        wave = height * np.sin(2 * np.pi * (frequency * time + phase))
    envelope = 1.0 if at is None else np.exp(-((around / 1.5) ** 4))
    return size * wave * envelope


def _weight(pattern: str, electrode: str) -> float:
    if pattern == "alpha":
        return _POSTERIOR.get(electrode, 0.1)
    if pattern == "eye":
        return _FRONTAL.get(electrode, 0.02)
    side = 0.1 if pattern in ("lpd", "lrda") and electrode not in _LEFT else 1.0
    return side * _SIZE[electrode]


def bipolar(traces: Mapping[str, Floats]) -> Floats:
    """Subtract the electrodes of each derivation.

    Args:
        traces: electrode -> (time,) values.

    Returns:
        (16, time) array in the same unit.
    """
    return np.stack([traces[plus] - traces[minus] for plus, minus in PAIRS])


def to_trace(
    label: str, microvolt: Floats, per_record: int, physical: tuple[str, str] = ("-5000.00", "5000.00")
) -> Trace:
    """Digitise a channel over the whole 16-bit range.

    Args:
        label (`str`): channel label.
        microvolt (array): (samples,) µV.
        per_record (`int`): samples per data record.
        physical (`tuple[str, str]`, *optional*): physical minimum and maximum, µV.

    Returns:
        `Trace`.
    """
    low, high = map(float, physical)
    digital = np.rint((microvolt - low) * 65535.0 / (high - low) - 32768.0)
    return Trace(label, np.clip(digital, -32768, 32767).astype(np.int16), per_record, physical)


def trace_values(trace: Trace) -> Floats:
    """Physical values that the digital ones of a channel stand for.

    Args:
        trace (`Trace`): the channel.

    Returns:
        (samples,) float64 array in the channel's unit.
    """
    (low, high), (first, last) = map(float, trace.physical), trace.limits
    return (trace.digital.astype(np.float64) - first) * (high - low) / (last - first) + low


def write_edf(
    path: Path,
    traces: Sequence[Trace],
    patient: str,
    *,
    recording: str = "Startdate 02-JAN-2010 EEG 1 synthetic",
    start: tuple[str, str] = ("02.01.10", "10.00.00"),
    record_seconds: str = "1",
    n_records: str | None = None,
    reserved: str = "",
) -> None:
    """Write an EDF file.

    Args:
        path (`pathlib.Path`): target; missing folders are made.
        traces (`Sequence[Trace]`): the channels, all of the same number of data records.
        patient (`str`): local patient identification.
        recording (`str`, *optional*): local recording identification.
        start (`tuple[str, str]`, *optional*): date `dd.mm.yy` and time `hh.mm.ss`.
        record_seconds (`str`, *optional*, defaults to `"1"`): length of a data record as the header writes it.
        n_records (`str`, *optional*): number of data records the header states; the true one where not given.
        reserved (`str`, *optional*): reserved field, such as `EDF+C`.
    """
    count = len(traces[0].digital) // traces[0].per_record
    stated = str(count) if n_records is None else n_records
    head = [("0", 8), (patient, 80), (recording, 80), (start[0], 8), (start[1], 8), (256 * (1 + len(traces)), 8)]
    head += [(reserved, 44), (stated, 8), (record_seconds, 8), (len(traces), 4)]
    columns: list[tuple[int, list[object]]] = [
        (16, [t.label for t in traces]),
        (80, ["" for _ in traces]),
        (8, [t.unit for t in traces]),
        (8, [t.physical[0] for t in traces]),
        (8, [t.physical[1] for t in traces]),
        (8, [t.limits[0] for t in traces]),
        (8, [t.limits[1] for t in traces]),
        (80, ["HP:0.000 Hz LP:0.0 Hz N:0.0" for _ in traces]),
        (8, [t.per_record for t in traces]),
        (32, ["" for _ in traces]),
    ]
    head += [(value, width) for width, values in columns for value in values]
    header = b"".join(str(value).encode("latin-1").ljust(width)[:width] for value, width in head)
    records = np.concatenate([t.digital.reshape(count, t.per_record) for t in traces], axis=1)
    write_bytes(path, header + records.astype("<i2").tobytes())
