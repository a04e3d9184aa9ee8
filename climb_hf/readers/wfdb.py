"""WFDB records: signals in physical units, selected by lead name, and checked against their headers.

Records whose signals lie interleaved in one file (plain `.dat` files, and the MATLAB v4 `.mat` files of the
PhysioNet/CinC Challenges) are read with numpy alone, in every format but 8 and FLAC: one read and one vectorised
conversion per record. Several files or samples per frame, skew and multi-segment records go through the `wfdb` package
and come back in the same form. File formats: WFDB Applications Guide, header(5) and signal(5); MathWorks, "MAT-File
Format" (version 4).
"""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError, OptionError, SchemaError
from climb_hf.readers.wfdb_formats import COMPRESSED, DECODED, GROUPS, INVALID, decode
from climb_hf.readers.wfdb_header import WfdbChannel, WfdbHeader, header_path, read_header

__all__ = ["WfdbChannel", "WfdbHeader", "WfdbRecord", "quick_check_record", "read_header", "read_record"]

_PER_VOLT = {"v": 1.0, "mv": 1e3, "uv": 1e6, "\u03bcv": 1e6, "nv": 1e9}  # case folding makes a Greek mu of `µ`


@dataclass(slots=True, eq=False)
class WfdbRecord:
    """Signals of a record.

    Args:
        signal (`np.ndarray`): (time, channels) float32 in `units`; samples marked invalid are NaN.
        sampling_rate (`float`): Hz.
        channel_names (`tuple` of `str`): as asked for, else as the header writes them.
        units (`tuple` of `str`): unit of each channel.
        header (`WfdbHeader`): the whole header; `n_samples` is filled in where it was derived.
    """

    signal: NDArray[np.float32]
    sampling_rate: float
    channel_names: tuple[str, ...]
    units: tuple[str, ...]
    header: WfdbHeader = field(repr=False)


def read_record(
    path: str | os.PathLike[str],
    *,
    channels: Sequence[str] | None = None,
    start: int = 0,
    stop: int | None = None,
    unit: str | None = "mV",
    verify_checksum: bool = False,
) -> WfdbRecord:
    """Read a record, or a part of it, in physical units: `(value - baseline) / gain`, rounded once to float32.

    Skew is undone, and several samples per frame are averaged to one (NaN if one of them is invalid).

    Args:
        path (`str` or `os.PathLike`): the record, with or without `.hea`.
        channels (`Sequence[str]`, *optional*): lead names in the wanted order, in any letter case; default: as stored.
        start (`int`, *optional*, defaults to `0`): first sample.
        stop (`int`, *optional*): one past the last sample; default: the end of the record.
        unit (`str`, *optional*, defaults to `"mV"`): `V`, `mV`, `uV`, `µV` or `nV`; `None`: as the header states.
        verify_checksum (`bool`, *optional*, defaults to `False`): check all stated checksums (reads the whole record).

    Returns:
        [`WfdbRecord`]: `signal` (time, channels) float32 in `unit`.

    Raises:
        CorruptFileError: a file is missing, contradicts the header or its checksum, or a wanted lead is missing.
        SchemaError: the unit of a channel is not a voltage, so it cannot be converted.
        OptionError: `start`, `stop` or `unit` is not possible.
    """
    file = header_path(path)
    header = read_header(file)
    if _is_plain(header):
        raw, header = _read_plain(file, header, start, stop, verify_checksum)
        columns, names = _select([channel.name for channel in header.channels], channels, file)
        chosen = [header.channels[i] for i in columns]
        units, scales, target = _scales([channel.unit for channel in chosen], unit, file)
        values = raw if columns == list(range(header.n_signals)) else raw.take(columns, axis=1)
        gains = [channel.gain * scale / target for channel, scale in zip(chosen, scales, strict=True)]
        invalid = INVALID[header.channels[0].format]
        signal = _to_physical(values, gains, [channel.baseline for channel in chosen], invalid)
    else:
        physical, stored, written = _read_with_wfdb(file, header, start, stop, verify_checksum)
        columns, names = _select(stored, channels, file)
        units, scales, target = _scales([written[i] for i in columns], unit, file)
        signal = (physical.take(columns, axis=1) * target / np.array(scales)).astype(np.float32)
    return WfdbRecord(signal, header.sampling_rate, names, units, header)


def quick_check_record(path: str | os.PathLike[str]) -> WfdbHeader:
    """Check that a header parses and that each of its signal files has exactly the promised size; decode nothing.

    Args:
        path (`str` or `os.PathLike`): the record, with or without `.hea`.

    Returns:
        [`WfdbHeader`]: the parsed header, for the caller that also wants its comments.

    Raises:
        CorruptFileError: the header is damaged, or a file is missing, truncated or too long.
    """
    file = header_path(path)
    header = read_header(file)
    _check_files(file, header)
    return header


def _is_plain(header: WfdbHeader) -> bool:
    """Tell whether all signals are interleaved in one file and format, one sample per frame, without skew."""
    if not header.channels:
        return False
    first = header.channels[0]
    file_name, offset, form = first.file_name, first.byte_offset, first.format
    return form in DECODED and all(
        c.format == form
        and c.file_name == file_name
        and c.byte_offset == offset
        and c.samples_per_frame == 1
        and not c.skew
        for c in header.channels
    )


def _read_plain(
    path: Path, header: WfdbHeader, start: int, stop: int | None, verify: bool
) -> tuple[NDArray[np.signedinteger], WfdbHeader]:
    """Read interleaved signals: (time, channels) integers and the header with `n_samples` known."""
    n, form, offset = header.n_signals, header.channels[0].format, header.channels[0].byte_offset
    samples, width = GROUPS[form]
    file = _signal_file(path, header.channels[0].file_name)
    try:
        stream = file.open("rb", buffering=0)
    except FileNotFoundError as error:
        raise _missing(path, file) from error
    with stream:
        size = os.fstat(stream.fileno()).st_size
        if header.n_samples is None:
            header = replace(header, n_samples=max(size - offset, 0) * samples // width // n)
        total = header.n_samples or 0
        low, high = _data_bytes(path, form, max(total, 1) * n)
        if not offset + low <= size <= offset + high:
            raise _wrong_size(path, file, offset + low, size)
        if file.suffix.lower() == ".mat" and form == 16:
            _check_mat_header(file, stream.read(offset), n, total)
        stop = _check_range(path, start, stop, total)
        first, last = (0, total) if verify else (start, stop)
        skipped = n * first // samples  # whole groups before the part
        stream.seek(offset + width * skipped)
        end = min(offset + width * -(-n * last // samples), size)
        data, done = bytearray(end - offset - width * skipped), 0
        while done < len(data):  # one turn, but for parts above 2 GiB
            got = stream.readinto(memoryview(data)[done:])
            if not got:
                raise _wrong_size(path, file, size, offset + width * skipped + done)
            done += got
    values = decode(data, form)
    start_at = n * first - samples * skipped
    raw = values[start_at : start_at + n * (last - first)].reshape(-1, n)
    if verify:
        _check_sums(file, header, _sums(raw))
        raw = raw[start:stop]
    return raw, header


def _check_range(path: Path, start: int, stop: int | None, total: int) -> int:
    end = total if stop is None else stop
    if not 0 <= start < end <= total:
        raise OptionError(
            f"`{path}`: expected 0 <= `start` < `stop` <= {total} (the samples of the record), "
            f"found `start={start}`, `stop={stop}`."
        )
    return end


def _check_mat_header(file: Path, data: bytes, n_signals: int, n_samples: int) -> None:
    """Check the MATLAB v4 header of a Challenge file: little-endian int16 matrix `val` of signals × samples."""
    form, rows, columns, imaginary, length = struct.unpack("<5i", data[:20]) if len(data) >= 20 else (-1,) * 5
    found = (form, rows, columns, imaginary, length, data[20:])
    if found != (30, n_signals, n_samples, 0, 4, b"val\0"):
        raise CorruptFileError(
            f"`{file}`: expected a MATLAB v4 file (type 30) with one {n_signals} × {n_samples} int16 matrix `val` "
            f"before byte {len(data)}, found type {form}, {rows} × {columns}, name {data[20:]!r}. "
            "Restore it from the publisher, or skip this record."
        )


def _sums(raw: NDArray[np.signedinteger]) -> list[int]:
    """Sum each channel of (time, channels) integers."""
    if raw.dtype.itemsize == 2:  # float64 is exact far beyond any such sum, and a product is four times as fast
        return [int(total) for total in (np.ones(len(raw)) @ raw).tolist()]
    return raw.sum(axis=0, dtype=np.int64).tolist()


def _check_sums(file: Path, header: WfdbHeader, sums: list[int]) -> None:
    for channel, total in zip(header.channels, sums, strict=True):
        if channel.checksum is not None and (total - channel.checksum) & 0xFFFF:
            found = ((total + 0x8000) & 0xFFFF) - 0x8000
            raise CorruptFileError(
                f"`{file}`: expected checksum {channel.checksum} for `{channel.name}`, found {found}. "
                "Restore the file from the publisher."
            )


def _select(stored: list[str], wanted: Sequence[str] | None, path: Path) -> tuple[list[int], tuple[str, ...]]:
    """Find the wanted leads by name, letter case ignored: their columns and their names as asked for."""
    if wanted is None:
        return list(range(len(stored))), tuple(stored)
    if not wanted:
        raise OptionError("expected at least one lead name in `channels`, found none. Pass `None` for all leads.")
    if list(wanted) == stored and len({*stored}) == len(stored):
        return list(range(len(stored))), tuple(stored)
    keys = [name.strip().casefold() for name in stored]
    columns = []
    for name in wanted:
        key = name.strip().casefold()
        if keys.count(key) != 1:
            what = "is missing" if key not in keys else "stands more than once"
            raise CorruptFileError(
                f"`{path}`: lead `{name}` {what}; the record has {', '.join(stored)}. "
                "Skip this record or ask for other `channels`."
            )
        columns.append(keys.index(key))
    return columns, tuple(wanted)


def _scales(written: list[str], unit: str | None, path: Path) -> tuple[tuple[str, ...], list[float], float]:
    """Give the unit of each channel after conversion, its written units per volt, and the target units per volt."""
    if unit is None:
        return tuple(written), [1.0] * len(written), 1.0
    target = _PER_VOLT.get(unit.casefold())
    if target is None:
        raise OptionError(f"expected `unit` to be `V`, `mV`, `uV`, `nV` or `None`, found `{unit}`.")
    per_volt = {name: _PER_VOLT.get(name.casefold(), 0.0) for name in dict.fromkeys(written)}
    if not all(per_volt.values()):
        unknown = next(name for name, factor in per_volt.items() if not factor)
        raise SchemaError(
            f"`{path}`: expected every channel in V, mV, uV or nV, found `{unknown}`, which cannot be converted to "
            f"`{unit}`. Leave the channel out with `channels=`, or pass `unit=None`."
        )
    return (unit,) * len(written), [per_volt[name] for name in written], target


def _to_physical(
    raw: NDArray[np.signedinteger], gains: list[float], baselines: list[int], invalid: int
) -> NDArray[np.float32]:
    """Convert (time, channels) integers to float32, in float64 where float32 would round more than once."""
    exact = all(float(np.float32(gain)) == gain for gain in set(gains)) and max(map(abs, baselines)) < 2**23
    exact = exact and raw.dtype.itemsize == 2
    number: type[np.floating] = np.float32 if exact else np.float64
    uniform = len(set(gains)) == 1 and len(set(baselines)) == 1
    divisor = number(gains[0]) if uniform else np.array(gains, dtype=number)
    if any(baselines):
        out = raw.astype(number)
        out -= number(baselines[0]) if uniform else np.array(baselines, dtype=number)
        out /= divisor
    else:
        out = raw / divisor
    if raw.min() == invalid:  # much cheaper than a mask, and rare
        out[raw == invalid] = np.nan
    return out.astype(np.float32, copy=False)


def _read_with_wfdb(
    path: Path, header: WfdbHeader, start: int, stop: int | None, verify: bool
) -> tuple[NDArray[np.float64], list[str], list[str]]:
    """Read what the fast path does not cover: (time, channels) float64, names and units as stored."""
    import wfdb  # 1 s of imports: only for the rare formats

    if header.n_signals == 0:
        raise CorruptFileError(f"`{path}`: expected at least one signal, found none. Skip this record.")
    _check_files(path, header)
    if header.n_samples is not None:
        _check_range(path, start, stop, header.n_samples)
    base = str(path.with_suffix(""))
    try:
        whole = wfdb.rdrecord(base, smooth_frames=False, ignore_skew=True) if verify and header.channels else None
        record = wfdb.rdrecord(base, sampfrom=start, sampto=stop, smooth_frames=False)
    except Exception as error:  # the package raises bare `Exception` too
        raise CorruptFileError(f"`{path}`: the `wfdb` package cannot read this record ({error}). Skip it.") from error
    if whole is not None:
        pairs = zip(header.channels, whole.e_p_signal, strict=True)
        _check_sums(path, header, [_digital_sum(channel, values) for channel, values in pairs])
    for name, length in header.segments if verify else ():
        if name != "~" and length:
            read_record(path.with_name(name), unit=None, verify_checksum=True)
    frames = zip(record.e_p_signal, record.samps_per_frame, strict=True)
    signal = np.stack([values.reshape(-1, width).mean(axis=1) for values, width in frames], axis=1)
    names = [channel.name for channel in header.channels] or [str(name) for name in record.sig_name]
    return signal, names, [unit or "mV" for unit in record.units]


def _digital_sum(channel: WfdbChannel, values: NDArray[np.float64]) -> int:
    """Sum the ADC values behind physical ones (the package does not hand out the digital values of every format)."""
    digital = np.rint(values * channel.gain + channel.baseline)
    digital[np.isnan(digital)] = INVALID.get(channel.format, -32768)
    return int(digital.sum())


def _check_files(path: Path, header: WfdbHeader) -> None:
    """Compare the size of every signal file with what the header promises."""
    groups: dict[str, list[WfdbChannel]] = {}
    for channel in header.channels:
        if channel.file_name != "~":
            groups.setdefault(channel.file_name, []).append(channel)
    for name, group in groups.items():
        file = _signal_file(path, name)
        try:
            size = file.stat().st_size
        except FileNotFoundError as error:
            raise _missing(path, file) from error
        form, offset = group[0].format, group[0].byte_offset
        width = sum(channel.samples_per_frame for channel in group)
        if form in COMPRESSED:
            if size <= offset:
                raise _wrong_size(path, file, offset + 1, size)
            continue
        samples, size_of_group = GROUPS.get(form, (1, 1))
        frames = header.n_samples or max(size - offset, 0) * samples // size_of_group // width
        low, high = _data_bytes(path, form, max(frames, 1) * width)
        if not offset + low <= size <= offset + high:
            raise _wrong_size(path, file, offset + low, size)
    if header.segments and sum(length for _, length in header.segments) != (header.n_samples or 0):
        raise CorruptFileError(
            f"`{path}`: expected {header.n_samples} samples, found segments of another total length."
        )
    for name, length in header.segments:
        if name != "~" and length:
            inner_path = header_path(_signal_file(path, name))
            inner = read_header(inner_path)
            if inner.segments or inner.n_samples not in (None, length):
                found = "segments" if inner.segments else inner.n_samples
                raise CorruptFileError(f"`{path}`: expected {length} samples in segment `{name}`, found {found}.")
            _check_files(inner_path, inner)


def _data_bytes(path: Path, form: int, samples: int) -> tuple[int, int]:
    """Fewest and most bytes that `samples` samples of a format may take (the last group may be padded)."""
    if form not in GROUPS:
        raise CorruptFileError(f"`{path}`: expected a storage format of signal(5), found `{form}`. Skip this record.")
    group, size = GROUPS[form]
    return -(-samples * size // group), -(-samples // group) * size


def _signal_file(path: Path, name: str) -> Path:
    if name in (".", "..") or not {"/", "\\", "\0"}.isdisjoint(name):
        raise CorruptFileError(f"`{path}`: expected a file name without folders, found `{name}`. Restore the header.")
    return path.with_name(name)


def _missing(path: Path, file: Path) -> CorruptFileError:
    return CorruptFileError(f"`{path}`: the signal file `{file.name}` is missing. Restore it from the publisher.")


def _wrong_size(path: Path, file: Path, expected: int, found: int) -> CorruptFileError:
    kind = "truncated" if found < expected else "longer than its header promises"
    return CorruptFileError(
        f"`{file}`: expected {expected} bytes by `{path.name}`, found {found}: the file is {kind}. "
        "Restore both files from the publisher, or skip this record."
    )
