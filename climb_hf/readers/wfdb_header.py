"""Headers of WFDB records: header(5) of the WFDB Applications Guide, without regular expressions.

A corpus of tens of thousands of ECGs is indexed through its headers, so one costs about as much as opening the file.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from climb_hf.errors import CorruptFileError

__all__ = ["WfdbChannel", "WfdbHeader", "header_path", "read_header"]

_DEFAULT_GAIN = 200.0  # header(5): assumed where the gain is absent or 0
_DEFAULT_RATE = 250.0  # header(5): assumed where the sampling frequency is absent


@dataclass(slots=True)
class WfdbChannel:
    """One signal line of a header; absent fields hold the defaults of header(5).

    Args:
        file_name (`str`): signal file, in the folder of the header; `"~"` for a signal without samples.
        format (`int`): storage format, such as `16` or `212`.
        samples_per_frame (`int`): samples of this signal per frame.
        skew (`int`): frames by which the signal lags.
        byte_offset (`int`): bytes before the first sample.
        gain (`float`): ADC units per physical unit.
        baseline (`int`): ADC value that corresponds to 0 physical units.
        unit (`str`): physical unit as written, such as `"mV"`.
        adc_resolution (`int`): bits of the converter.
        adc_zero (`int`): ADC value in the middle of the converter's range.
        initial_value (`int`): first sample, ADC units.
        checksum (`int`, *optional*): 16-bit sum of all samples as a signed number, if stated.
        name (`str`): description; for ECGs the lead name as written.
    """

    file_name: str
    format: int
    samples_per_frame: int
    skew: int
    byte_offset: int
    gain: float
    baseline: int
    unit: str
    adc_resolution: int
    adc_zero: int
    initial_value: int
    checksum: int | None
    name: str


@dataclass(slots=True)
class WfdbHeader:
    """A parsed `.hea` file.

    Args:
        name (`str`): record name as the header states it.
        n_signals (`int`): number of signals.
        sampling_rate (`float`): frames per second, Hz.
        n_samples (`int`, *optional*): samples (frames) per signal; `None` if the header leaves it to the file size.
        start (`str`): the time and date fields as written, uninterpreted; `""` if absent.
        channels (`tuple` of `WfdbChannel`): the signal lines; empty for a multi-segment record.
        segments (`tuple` of `(str, int)`): record name and samples of each segment; empty for an ordinary record.
        comments (`tuple` of `str`): comment lines without `#` and outer spaces, such as `"Dx: 426783006"`.
    """

    name: str
    n_signals: int
    sampling_rate: float
    n_samples: int | None
    start: str = ""
    channels: tuple[WfdbChannel, ...] = ()
    segments: tuple[tuple[str, int], ...] = ()
    comments: tuple[str, ...] = ()

    @property
    def info(self) -> dict[str, str]:
        """The comments of the form `key: value` by key; the first of equal keys counts."""
        pairs = (comment.partition(":") for comment in reversed(self.comments))
        return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def read_header(path: str | os.PathLike[str]) -> WfdbHeader:
    r"""Parse a WFDB header.

    Args:
        path (`str` or `os.PathLike`): the record, with or without `.hea`.

    Returns:
        [`WfdbHeader`]

    Raises:
        CorruptFileError: the header is missing or a line does not follow header(5); names file and line.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "r1.hea"
        >>> _ = file.write_text("r1 1 500 5000\nr1.mat 16x1+24 1000.0(0)/mV 16 0 7 11 0 aVR\n# Dx: 426783006\n")
        >>> header = read_header(file)
        >>> header.sampling_rate, header.channels[0].name, header.channels[0].byte_offset, header.info
        (500.0, 'aVR', 24, {'Dx': '426783006'})
    """
    file = header_path(path)
    try:
        with file.open("rb", buffering=0) as stream:
            data = stream.read()
    except FileNotFoundError as error:
        raise CorruptFileError(f"`{file}`: the record has no header file. Restore it from the publisher.") from error
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    lines: list[str] = []
    comments: list[str] = []
    for raw in text.split("\n"):
        line = raw.strip()
        if line.startswith("#"):
            comments.append(line[1:].strip())
        elif line:
            lines.append(line)
    if not lines:
        raise CorruptFileError(f"`{file}`: expected a record line, found an empty header.")
    return _parse_lines(lines, tuple(comments), file)


def header_path(path: str | os.PathLike[str]) -> Path:
    """Give the path of a record's header, whether or not `path` ends in `.hea`."""
    text = os.fspath(path)
    return Path(text if text.endswith(".hea") else text + ".hea")


def _parse_lines(lines: list[str], comments: tuple[str, ...], path: Path) -> WfdbHeader:
    fields = lines[0].split()
    try:
        name, slash, n_segments = fields[0].partition("/")
        n_signals = int(fields[1])
        rate = float(fields[2].partition("/")[0].partition("(")[0]) if len(fields) > 2 else _DEFAULT_RATE
        n_samples = int(fields[3]) if len(fields) > 3 else 0
        n_lines = int(n_segments) if slash else n_signals
        if not 0 < rate < float("inf") or min(n_signals, n_samples, n_lines) < 0:
            raise ValueError("a negative count, or a sampling rate that is not positive")
    except (ValueError, IndexError) as error:
        raise CorruptFileError(
            f"`{path}`: expected a record line `name signals rate samples`, found `{lines[0]}` ({error}). "
            "Restore the header from the publisher, or skip this record."
        ) from error
    if len(lines) <= n_lines:
        kind = "segment" if slash else "signal"
        raise CorruptFileError(
            f"`{path}`: the record line promises {n_lines} {kind} lines, found {len(lines) - 1}. "
            "Restore the header from the publisher, or skip this record."
        )
    line = ""
    channels: list[WfdbChannel] = []
    segments: list[tuple[str, int]] = []
    try:
        for i, line in enumerate(lines[1 : n_lines + 1]):
            if slash:
                segment, samples = line.split()[:2]
                segments.append((segment, int(samples)))
            else:
                channels.append(_parse_channel(line, name, i))
    except (ValueError, IndexError) as error:
        raise CorruptFileError(
            f"`{path}`: the line `{line}` does not follow header(5) ({error}). Restore it, or skip this record."
        ) from error
    start = " ".join(fields[4:])
    return WfdbHeader(name, n_signals, rate, n_samples or None, start, tuple(channels), tuple(segments), comments)


def _parse_channel(line: str, record: str, number: int) -> WfdbChannel:
    """Parse one signal line; absent fields get the defaults of header(5)."""
    fields = line.split(None, 8)
    n = len(fields)
    form, per_frame, skew, offset = _parse_format(fields[1])
    gain, baseline, unit = _parse_gain(fields[2] if n > 2 else "")
    resolution = int(fields[3]) if n > 3 else 0
    adc_zero = int(fields[4]) if n > 4 else 0
    return WfdbChannel(
        fields[0],
        form,
        per_frame,
        skew,
        offset,
        gain,
        adc_zero if baseline is None else baseline,
        unit,
        resolution or (10 if form == 8 else 12),
        adc_zero,
        int(fields[5]) if n > 5 else adc_zero,
        int(fields[6]) if n > 6 else None,
        fields[8] if n > 8 else f"record {record}, signal {number}",
    )


@lru_cache(maxsize=256)
def _parse_format(text: str) -> tuple[int, int, int, int]:
    """Split `16x1:0+24` into format, samples per frame, skew and byte offset."""
    rest, _, offset = text.partition("+")
    rest, _, skew = rest.partition(":")
    form, _, per_frame = rest.partition("x")
    values = int(form), int(per_frame or 1), int(skew or 0), int(offset or 0)
    if min(values) < 0 or values[1] < 1:
        raise ValueError(f"`{text}` is not a format field")
    return values


@lru_cache(maxsize=256)
def _parse_gain(text: str) -> tuple[float, int | None, str]:
    """Split `1000.0(0)/mV` into gain, baseline (`None` if absent) and unit."""
    rest, _, unit = text.partition("/")
    number, parenthesis, baseline = rest.partition("(")
    gain = float(number or 0)
    if not abs(gain) < float("inf") or bool(parenthesis) != baseline.endswith(")"):
        raise ValueError(f"`{text}` is not a gain field")
    return gain or _DEFAULT_GAIN, int(baseline[:-1]) if parenthesis else None, unit or "mV"
