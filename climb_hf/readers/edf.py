"""Segments of EDF, EDF+ and BDF recordings, in physical units, without reading the rest of the file.

Only the data records that cover the asked samples are read; where records are so long that the asked channels are a
small part of them, only those channels are. Physical value = (digital - digital minimum) * (physical range / digital
range) + physical minimum, computed in float64 and rounded once to float32.

A discontinuous recording (EDF+D) is read as it stands if its records follow each other without a gap, as they do in
many files that are called so. With a gap it is refused, or the gap is filled with NaN where the caller asks for that.
"""

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError, OptionError, SchemaError
from climb_hf.readers.edf_header import EdfChannel, EdfHeader, read_edf_header

__all__ = [
    "EdfAnnotation",
    "EdfChannel",
    "EdfHeader",
    "EdfSignal",
    "read_edf",
    "read_edf_annotations",
    "read_edf_header",
]

#: The third is the micro sign of Shift-JIS, read as Latin-1.
_PER_VOLT = {"v": 1.0, "mv": 1e3, "uv": 1e6, "\x83\xeav": 1e6, "\u03bcv": 1e6, "nv": 1e9}
_CHUNK = 1 << 24  # bytes read at once: a whole recording is converted piece by piece
_SPARSE = 8  # read channel by channel where the records are this many times larger than what is asked
_LARGE = 1 << 16  # bytes of a data record below which one read of all channels is always cheaper
_ONSET = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14")


@dataclass(slots=True, eq=False)
class EdfSignal:
    """Signals of a recording, or of a part of it.

    Args:
        signal (`np.ndarray`): (time, channels) float32 in `unit`; gaps of a discontinuous recording are NaN.
        sampling_rate (`float`): Hz.
        channel_names (`tuple[str, ...]`): name of each column.
        unit (`str`, *optional*): unit of all columns; `None` where each has the unit of its channel.
        header (`EdfHeader`): the whole header.
    """

    signal: NDArray[np.float32]
    sampling_rate: float
    channel_names: tuple[str, ...]
    unit: str | None
    header: EdfHeader = field(repr=False)


@dataclass(frozen=True, slots=True)
class EdfAnnotation:
    """One annotation of an EDF+ file.

    Args:
        onset (`float`): seconds after the start of the recording.
        duration (`float`, *optional*): seconds.
        text (`str`): the annotation.
    """

    onset: float
    duration: float | None
    text: str


def read_edf(
    path: str | os.PathLike[str],
    *,
    channels: Sequence[str] | None = None,
    start: int = 0,
    stop: int | None = None,
    unit: str | None = "uV",
    gaps: Literal["raise", "nan"] = "raise",
) -> EdfSignal:
    """Read channels of the same rate, or a part of them, in physical units.

    Args:
        path (`str` or `os.PathLike`): an EDF, EDF+ or BDF file.
        channels (`Sequence[str]`, *optional*): labels in the wanted order, in any letter case; default: all channels
            that hold samples.
        start (`int`, *optional*, defaults to `0`): first sample, at the rate of the channels.
        stop (`int`, *optional*): one past the last sample; default: the end of the recording.
        unit (`str`, *optional*, defaults to `"uV"`): `V`, `mV`, `uV`, `µV` or `nV`; `None`: as the header states.
        gaps (`str`, *optional*, defaults to `"raise"`): what a gap of a discontinuous recording gives: an error, or
            NaN samples (`"nan"`).

    Returns:
        [`EdfSignal`]: `signal` (time, channels) float32 in `unit`.

    Raises:
        CorruptFileError: the file is damaged, contradicts its header or has a gap; a channel is missing, stands twice
            or has no usable range; the channels have different rates.
        SchemaError: the unit of a channel is not a voltage, so it cannot be converted.
        OptionError: `start`, `stop`, `unit` or `gaps` is not possible.
    """
    header = read_edf_header(path)
    if gaps not in ("raise", "nan"):
        raise OptionError(f"expected `gaps` to be 'raise' or 'nan', found {gaps!r}.")
    chosen = _select(header, channels)
    rate, count = header.sampling_rate(chosen[0]), chosen[0].samples_per_record
    scales = [_scale(header.path, channel, unit) for channel in chosen]
    with header.path.open("rb", buffering=0) as stream:
        first = _record_starts(stream, header, count) if header.is_discontinuous else None
        total = header.n_records * count if first is None else int(first[-1]) + count
        stop = _check_range(header, start, stop, total)
        if first is None:
            signal = np.empty((stop - start, len(chosen)), np.float32)
            _fill(stream, header, chosen, scales, start, stop, signal)
        elif gaps == "raise":
            raise _gap(header, first, count)
        else:
            signal = np.full((stop - start, len(chosen)), np.nan, np.float32)
            for record, at in enumerate(first.tolist()):
                low, high = max(start, at), min(stop, at + count)
                if low < high:
                    shift = record * count - at
                    part = signal[low - start : high - start]
                    _fill(stream, header, chosen, scales, low + shift, high + shift, part)
    return EdfSignal(signal, rate, tuple(channel.name for channel in chosen), unit, header)


def read_edf_annotations(path: str | os.PathLike[str]) -> list[EdfAnnotation]:
    """Read the annotations of an EDF+ or BDF+ file; the time stamps of the data records are not among them.

    Args:
        path (`str` or `os.PathLike`): the file.

    Returns:
        `list[EdfAnnotation]`: in file order; empty for a file without an annotation channel.

    Raises:
        CorruptFileError: the file is damaged or contradicts its header.
    """
    header = read_edf_header(path)
    found = []
    with header.path.open("rb", buffering=0) as stream:
        for channel in (channel for channel in header.channels if channel.is_annotation):
            for record in range(header.n_records):
                for block in _text_of(stream, header, channel, record).split(b"\0"):
                    match = _ONSET.match(block)
                    texts = block[match.end() :].split(b"\x14")[:-1] if match else []
                    for text in texts:
                        if match and text:
                            length = float(match[2]) if match[2] else None
                            found.append(EdfAnnotation(float(match[1]), length, text.decode("utf-8", "replace")))
    return found


def _select(header: EdfHeader, wanted: Sequence[str] | None) -> list[EdfChannel]:
    """Find the wanted channels by name, letter case ignored, and check that they have one rate."""
    stored = [channel for channel in header.channels if not channel.is_annotation]
    if wanted is None:
        chosen = stored
    else:
        by_name: dict[str, list[EdfChannel]] = {}
        for channel in stored:
            by_name.setdefault(channel.name.casefold(), []).append(channel)
        chosen = []
        for name in wanted:
            found = by_name.get(name.strip().casefold(), [])
            if len(found) != 1:
                what = "stands more than once" if found else "is missing"
                raise CorruptFileError(
                    f"`{header.path}`: channel `{name}` {what}; the file has {', '.join(header.channel_names)}. "
                    "Leave the file out or ask for other `channels`."
                )
            chosen += found
    if not chosen:
        raise CorruptFileError(f"`{header.path}`: expected at least one channel with samples, found none.")
    if len({channel.samples_per_record for channel in chosen}) > 1 or not chosen[0].samples_per_record:
        rates = ", ".join(f"{channel.name} {header.sampling_rate(channel):g} Hz" for channel in chosen)
        raise CorruptFileError(
            f"`{header.path}`: expected channels of one rate, found {rates}. Ask for those of one rate by `channels`."
        )
    return chosen


def _scale(path: Path, channel: EdfChannel, unit: str | None) -> tuple[float, float]:
    """Return factor and addend that turn digital values into `unit`."""
    factor = 1.0
    if unit is not None:
        target, written = _PER_VOLT.get(unit.casefold()), _PER_VOLT.get(channel.unit.casefold())
        if target is None:
            raise OptionError(f"expected `unit` to be `V`, `mV`, `uV`, `nV` or `None`, found {unit!r}.")
        if written is None:
            raise SchemaError(
                f"`{path}`: expected channel `{channel.name}` in V, mV, uV or nV, found `{channel.unit}`, which "
                f"cannot be converted to `{unit}`. Leave the channel out by `channels=`, or pass `unit=None`."
            )
        factor = target / written
    physical, digital = channel.physical_max - channel.physical_min, channel.digital_max - channel.digital_min
    if not math.isfinite(physical) or not math.isfinite(digital) or not digital or not physical:
        raise CorruptFileError(
            f"`{path}`: expected a range of values for channel `{channel.name}`, found digital "
            f"{channel.digital_min:g} to {channel.digital_max:g} for physical {channel.physical_min:g} to "
            f"{channel.physical_max:g}. Leave the file out."
        )
    gain = physical / digital * factor
    return gain, channel.physical_min * factor - channel.digital_min * gain


def _check_range(header: EdfHeader, start: int, stop: int | None, total: int) -> int:
    end = total if stop is None else stop
    if not 0 <= start < end <= total:
        raise OptionError(
            f"`{header.path}`: expected 0 <= `start` < `stop` <= {total} (the samples of the recording), "
            f"found `start={start}`, `stop={stop}`."
        )
    if stop is None and total > 100 * header.record_samples * header.n_records:
        raise OptionError(f"`{header.path}`: its gaps make {total} samples. Ask for a part by `start` and `stop`.")
    return end


def _fill(
    stream: FileIO,
    header: EdfHeader,
    chosen: Sequence[EdfChannel],
    scales: Sequence[tuple[float, float]],
    start: int,
    stop: int,
    out: NDArray[np.float32],
) -> None:
    """Convert samples `start` to `stop`, counted over the data records, into `out` (time, channels)."""
    count, width, samples = chosen[0].samples_per_record, header.sample_bytes, header.record_samples
    first, last = start // count, -(-stop // count)
    sparse = width * samples > _LARGE and samples * (last - first) > _SPARSE * len(chosen) * (stop - start)
    step = 1 if sparse else max(_CHUNK // (width * samples), 1)
    for record in range(first, last, step):
        end = min(record + step, last)
        low, high = max(start, record * count), min(stop, end * count)
        part = out[low - start : high - start]
        offset = header.header_bytes + width * samples * record
        if sparse:
            for i, (channel, (gain, addend)) in enumerate(zip(chosen, scales, strict=True)):
                at = offset + width * (channel.offset + low - record * count)
                values = _integers(_read(stream, header, at, width * (high - low)), width)
                part[:, i] = values * gain + addend
            continue
        data = _read(stream, header, offset, width * samples * (end - record))
        block = _integers(data, width).reshape(end - record, samples)
        skip = low - record * count
        for i, (channel, (gain, addend)) in enumerate(zip(chosen, scales, strict=True)):
            values = block[:, channel.offset : channel.offset + count].reshape(-1)[skip : skip + high - low]
            part[:, i] = values * gain + addend


def _read(stream: FileIO, header: EdfHeader, offset: int, size: int) -> bytearray:
    data, done = bytearray(size), 0
    stream.seek(offset)
    while done < size:
        got = stream.readinto(memoryview(data)[done:])
        if not got:
            raise CorruptFileError(f"`{header.path}`: ends at byte {offset + done}, inside its data. Fetch it again.")
        done += got
    return data


def _integers(data: bytearray, width: int) -> NDArray[np.signedinteger]:
    """View 16-bit samples, or widen 24-bit ones, little-endian."""
    if width == 2:
        return np.frombuffer(data, "<i2")
    wide = np.zeros((len(data) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return wide.reshape(-1).view("<i4") >> 8


def _text_of(stream: FileIO, header: EdfHeader, channel: EdfChannel, record: int) -> bytes:
    width = header.sample_bytes
    offset = header.header_bytes + width * (record * header.record_samples + channel.offset)
    return bytes(_read(stream, header, offset, width * channel.samples_per_record))


def _onsets(stream: FileIO, header: EdfHeader) -> Iterator[float]:
    """Yield the time stamp of every data record: the first entry of the first annotation channel."""
    channel = next((channel for channel in header.channels if channel.is_annotation), None)
    for record in range(header.n_records):
        match = _ONSET.match(_text_of(stream, header, channel, record)) if channel else None
        if match is None:
            raise CorruptFileError(
                f"`{header.path}`: expected a time stamp in data record {record} of a {header.kind} file, found none. "
                "Fetch the file again or leave it out."
            )
        yield float(match[1])


def _record_starts(stream: FileIO, header: EdfHeader, count: int) -> NDArray[np.int64] | None:
    """First sample of every data record in time; `None` where they follow each other without a gap."""
    onsets = np.fromiter(_onsets(stream, header), np.float64, header.n_records)
    first = np.rint((onsets - onsets[0]) * count / header.record_seconds).astype(np.int64)
    distances = np.diff(first)
    if (distances < count).any():
        record = int(np.argmax(distances < count)) + 1
        raise CorruptFileError(
            f"`{header.path}`: data record {record} starts before the one before it has ended. "
            "Fetch the file again or leave it out."
        )
    return None if (distances == count).all() else first


def _gap(header: EdfHeader, first: NDArray[np.int64], count: int) -> CorruptFileError:
    record = int(np.argmax(np.diff(first) > count))
    seconds = (int(first[record + 1] - first[record]) - count) * header.record_seconds / count
    return CorruptFileError(
        f"`{header.path}`: the recording is discontinuous, with {seconds:g} s missing after data record {record}. "
        'Leave the file out, or read it with `gaps="nan"`.'
    )
