"""Headers of EDF, EDF+ and BDF files: parsed once per file, checked against the file's size.

Formats: Kemp et al., "A simple format for exchange of digitized polygraphic recordings" (1992); Kemp and Olivan,
"European data format 'plus' (EDF+)" (2003); BioSemi's 24-bit BDF. Publishers write these headers by hand-made
programs, so text may be Latin-1, UTF-8 or neither, dates may not exist, numbers may hold a decimal comma, and channels
nobody asks for may have no usable range: only what the reading of the asked channels depends on is checked.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from climb_hf.errors import CorruptFileError

__all__ = ["EdfChannel", "EdfHeader", "read_edf_header"]

_WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)
_MAGIC = {b"0       ": ("EDF", 2), b"\xffBIOSEMI": ("BDF", 3)}
_ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
_KEPT = 64  # headers remembered by each process


@dataclass(frozen=True, slots=True)
class EdfChannel:
    """One channel of a header.

    Args:
        name (`str`): label without outer blanks, such as `"EEG FP1-REF"`.
        unit (`str`): physical unit as written, such as `"uV"`.
        physical_min (`float`): value that `digital_min` stands for; NaN where the header holds no number.
        physical_max (`float`): value that `digital_max` stands for.
        digital_min (`float`): smallest digital value.
        digital_max (`float`): largest digital value.
        samples_per_record (`int`): samples in one data record.
        offset (`int`): samples of other channels before it in a data record.
    """

    name: str
    unit: str
    physical_min: float
    physical_max: float
    digital_min: float
    digital_max: float
    samples_per_record: int
    offset: int

    @property
    def is_annotation(self) -> bool:
        """Whether the channel holds text, not samples."""
        return self.name in _ANNOTATIONS


@dataclass(frozen=True, slots=True)
class EdfHeader:
    """What the header of a file says, and how many data records the file holds.

    Args:
        path (`Path`): the file.
        kind (`str`): `"EDF"`, `"EDF+C"`, `"EDF+D"`, `"BDF"`, `"BDF+C"` or `"BDF+D"`.
        patient (`str`): local patient identification, such as `"00000000 M 01-JAN-1978 00000000 Age:37"`.
        recording (`str`): local recording identification.
        start_date (`str`): `dd.mm.yy` as written, valid or not.
        start_time (`str`): `hh.mm.ss` as written.
        stated_records (`int`): number of data records the header states; -1 = not known to it.
        n_records (`int`): number of whole data records in the file.
        record_seconds (`float`): length of a data record.
        channels (`tuple[EdfChannel, ...]`): all channels, annotations included.
        header_bytes (`int`): size of the header.
        sample_bytes (`int`): 2 (EDF) or 3 (BDF).
    """

    path: Path
    kind: str
    patient: str
    recording: str
    start_date: str
    start_time: str
    stated_records: int
    n_records: int
    record_seconds: float
    channels: tuple[EdfChannel, ...] = field(repr=False)
    header_bytes: int
    sample_bytes: int

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of the channels that hold samples, in file order."""
        return tuple(channel.name for channel in self.channels if not channel.is_annotation)

    @property
    def record_samples(self) -> int:
        """Samples of all channels in one data record."""
        return sum(channel.samples_per_record for channel in self.channels)

    @property
    def duration(self) -> float:
        """Seconds of recorded signal."""
        return self.n_records * self.record_seconds

    @property
    def is_discontinuous(self) -> bool:
        """Whether the data records may have time between them (EDF+D)."""
        return self.kind.endswith("+D")

    @property
    def is_complete(self) -> bool:
        """Whether the file holds as many data records as the header states, or the header does not know."""
        return self.n_records > 0 and self.stated_records in (-1, self.n_records)

    def sampling_rate(self, channel: EdfChannel) -> float:
        """Return the rate of a channel in Hz."""
        return channel.samples_per_record / self.record_seconds

    def check_size(self) -> None:
        """Raise where the file holds fewer or more data records than the header states.

        Raises:
            CorruptFileError: the two contradict each other, or there is no data at all.
        """
        if self.is_complete:
            return
        stated = max(self.stated_records, 1)
        kind = "truncated" if self.n_records < stated else "longer than its header says"
        raise CorruptFileError(
            f"`{self.path}`: expected {stated} data records by the header, found {self.n_records}: the file is "
            f"{kind}. Fetch it again or leave it out."
        )


def read_edf_header(path: str | os.PathLike[str], *, check_size: bool = True) -> EdfHeader:
    """Read the header of an EDF, EDF+ or BDF file; the same unchanged file is parsed once.

    A record count of -1, which a recorder leaves that was not stopped, is taken from the file's size. Bytes after the
    last data record that do not make another one are ignored.

    Args:
        path (`str` or `os.PathLike`): the file.
        check_size (`bool`, *optional*, defaults to `True`): refuse a file that is shorter or longer than its header
            says; otherwise `n_records` tells what is there.

    Returns:
        [`EdfHeader`].

    Raises:
        CorruptFileError: the file is missing, is not EDF, or its header is damaged or contradicts the file's size.
    """
    file = Path(path)
    try:
        stat = file.stat()
    except OSError as error:
        raise CorruptFileError(f"`{file}` cannot be read ({error.strerror}). Fetch it, or leave it out.") from error
    header = _parse(file, stat.st_size, stat.st_mtime_ns)
    if check_size:
        header.check_size()
    return header


@lru_cache(maxsize=_KEPT)
def _parse(path: Path, size: int, _modified: int) -> EdfHeader:
    with path.open("rb") as stream:
        head = stream.read(256)
        if len(head) < 256 or head[:8] not in _MAGIC:
            raise _damaged(path, "a header that begins with version `0` (EDF) or `BIOSEMI` (BDF)", repr(head[:8]))
        kind, sample_bytes = _MAGIC[head[:8]]
        n_channels = _whole(path, head[252:256], "number of channels")
        header_bytes = _whole(path, head[184:192], "header size")
        if n_channels < 1 or header_bytes != 256 * (1 + n_channels):
            raise _damaged(
                path, f"a header of {256 * (1 + n_channels)} bytes ({n_channels} channels)", f"{header_bytes}"
            )
        body = stream.read(256 * n_channels)
    if len(body) < 256 * n_channels:
        raise _damaged(path, f"{n_channels} channels in the header", f"a file of {size} bytes")
    channels = _channels(path, _columns(body, n_channels))
    record_bytes = sample_bytes * sum(channel.samples_per_record for channel in channels)
    seconds = _number(head[244:252])
    has_samples = any(not channel.is_annotation for channel in channels)
    if not record_bytes or not (0 < seconds < math.inf or (seconds == 0 and not has_samples)):
        found = f"{record_bytes} bytes and {_text(head[244:252])!r} seconds"
        raise _damaged(path, "data records with samples and a positive duration", found)
    reserved = _text(head[192:236])
    return EdfHeader(
        path=path,
        kind=reserved[:5] if reserved[:5] in (f"{kind}+C", f"{kind}+D") else kind,
        patient=_text(head[8:88]),
        recording=_text(head[88:168]),
        start_date=_text(head[168:176]),
        start_time=_text(head[176:184]),
        stated_records=_whole(path, head[236:244], "number of data records"),
        n_records=(size - header_bytes) // record_bytes,
        record_seconds=seconds,
        channels=channels,
        header_bytes=header_bytes,
        sample_bytes=sample_bytes,
    )


def _columns(body: bytes, n_channels: int) -> list[list[bytes]]:
    """Cut the channel part of a header into its columns: all labels, then all transducers, and so on."""
    columns, start = [], 0
    for width in _WIDTHS:
        columns.append([body[start + i * width : start + (i + 1) * width] for i in range(n_channels)])
        start += n_channels * width
    return columns


def _channels(path: Path, columns: Sequence[Sequence[bytes]]) -> tuple[EdfChannel, ...]:
    names, _, units, low, high, first, last, _, counts, _ = columns
    channels, offset = [], 0
    for i, name in enumerate(names):
        count = _whole(path, counts[i], f"samples per record of channel `{_text(name)}`")
        if count < 0:
            raise _damaged(path, f"a number of samples for channel `{_text(name)}`", str(count))
        limits = (_number(low[i]), _number(high[i]), _number(first[i]), _number(last[i]))
        channels.append(EdfChannel(_text(name), _text(units[i]), *limits, count, offset))
        offset += count
    return tuple(channels)


def _text(field_bytes: bytes) -> str:
    """Decode a field: UTF-8 where it is valid, else Latin-1, which takes any byte."""
    try:
        text = field_bytes.decode("utf-8")
    except UnicodeDecodeError:
        text = field_bytes.decode("latin-1")
    return text.replace("\0", " ").strip()


def _number(field_bytes: bytes) -> float:
    """Read a number; NaN where there is none. Some programs write a decimal comma."""
    try:
        return float(_text(field_bytes).replace(",", "."))
    except ValueError:
        return math.nan


def _whole(path: Path, field_bytes: bytes, what: str) -> int:
    value = _number(field_bytes)
    if not value.is_integer():
        raise _damaged(path, f"a whole number as {what}", repr(_text(field_bytes)))
    return int(value)


def _damaged(path: Path, expected: str, found: str) -> CorruptFileError:
    return CorruptFileError(f"`{path}`: expected {expected}, found {found}. Fetch the file again or leave it out.")
