"""Frames of a video, exact by presentation time.

A video is first walked packet by packet without decoding (a few microseconds a frame), which gives the time of every
frame; so the frames to hand out are chosen before the first one is decoded, variable frame rates and containers that
do not store a count included. Decoding then seeks to the keyframe before a chosen frame wherever that skips work.
"""

import contextlib
import functools
import logging
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.optional import require
from climb_hf.readers.integrity import ends_early

__all__ = ["VideoInfo", "check_frames", "frame_indices", "probe_video", "read_frames"]

logger = logging.getLogger(__name__)

# Containers that hold video themselves. Play lists, which name other files or hosts, are not among them.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,avi,asf,gif,matroska,webm,mpeg,mpegts,ogg,flv"
_SEEK_GAIN = 8  # frames a seek must skip before it is worth the flush of the decoder


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video without decoding it.

    Args:
        width (`int`): pixels.
        height (`int`): pixels.
        fps (`float`): average frame rate of the file in Hz, NaN where it states none.
        n_frames (`int`): number of frames; see `is_exact`.
        duration_seconds (`float`): from the first frame to the end of the last one, NaN where unknown.
        is_exact (`bool`): `True` if the frames were counted, `False` if the number is what the header says (or, where
            it says none, duration × rate).
        is_truncated (`bool`): the file ends before what its header declares. Frames before that can still be read.
        codec (`str`): name of the codec, such as `"h264"`.
    """

    width: int
    height: int
    fps: float
    n_frames: int
    duration_seconds: float
    is_exact: bool
    is_truncated: bool
    codec: str


@dataclass(frozen=True)
class _Timeline:
    """Presentation times of a file's usable frames, ascending, in units of `time_base` seconds."""

    times: np.ndarray  # (n,) int64; ordinals 0 … n - 1 where the container has no usable times
    keyframes: np.ndarray  # (k,) int64, times of the frames at which decoding can start
    time_base: Fraction
    has_times: bool
    is_truncated: bool


def frame_indices(n_total: int, n_out: int) -> list[int]:
    """Choose equally spaced indices, first and last included.

    Index i is (n_total − 1) · i / (n_out − 1), rounded half up in integer arithmetic; all indices are distinct and
    ascending. A single one is the middle, (n_total − 1) // 2. Where `n_total` ≤ `n_out`, all indices are returned.

    Args:
        n_total (`int`): how many there are, at least 0.
        n_out (`int`): how many to choose, at least 1.

    Returns:
        `list[int]`: min(n_total, n_out) indices.

    Raises:
        OptionError: `n_out` < 1.

    Example:
        >>> frame_indices(101, 5)
        [0, 25, 50, 75, 100]
        >>> frame_indices(3, 16)
        [0, 1, 2]
    """
    if n_out < 1:
        raise OptionError(f"`num_frames` must be at least 1 or 'all', not {n_out}.")
    if n_total <= n_out:
        return list(range(n_total))
    if n_out == 1:
        return [(n_total - 1) // 2]
    gaps = n_out - 1
    return [(2 * i * (n_total - 1) + gaps) // (2 * gaps) for i in range(n_out)]


def probe_video(path: str | Path, *, count_frames: bool = False) -> VideoInfo:
    """Read size, rate, length and codec of a video.

    Args:
        path (`str` or `Path`): a video file (MP4, MOV, AVI, WMV, GIF, MKV, WebM …).
        count_frames (`bool`, *optional*, defaults to `False`): walk all packets, so that the count is exact and a
            truncated file is recognised in every container. It reads the file once, without decoding.

    Returns:
        `VideoInfo`

    Raises:
        CorruptFileError: not a video, or not one whole frame is left of it.
    """
    with _opened(path) as (container, stream):
        rate = float(stream.average_rate or 0) or float("nan")
        seconds = float("nan")
        if stream.duration:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration:
            seconds = container.duration / 1e6
        n_frames, width, height, codec = stream.frames, stream.width, stream.height, stream.codec_context.name
    if count_frames:
        line = _timeline(path)
        n_frames, is_truncated = len(line.times), line.is_truncated
    else:
        is_truncated = ends_early(path)
        if not n_frames and np.isfinite(seconds * rate):
            n_frames = round(seconds * rate)
    return VideoInfo(width, height, rate, n_frames, seconds, count_frames, is_truncated, codec)


def read_frames(
    path: str | Path,
    num_frames: int | Literal["all"] = 16,
    *,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> tuple[list[np.ndarray], float]:
    """Decode equally spaced frames of a video, or of a part of it, in time order.

    The indices are those of `frame_indices` over the frames of the file (or of the part). A clip with fewer frames
    than `num_frames` yields all it has: padding is the collator's job. What can be decoded of a truncated file is
    used; a warning names it, and `probe_video(path, count_frames=True).is_truncated` tells.

    Args:
        path (`str` or `Path`): the video file.
        num_frames (`int` or `"all"`, *optional*, defaults to `16`): how many frames to hand out.
        start_seconds (`float`, *optional*): only frames at or after this time, counted from the first frame.
        end_seconds (`float`, *optional*): only frames before this time.

    Returns:
        `tuple`: the frames, each (height, width, 3) uint8 RGB, and their rate in Hz: (n − 1) / (time of the last −
        time of the first) for n frames handed out, so for a constant rate `fps · (n − 1) / (N − 1)` over N frames. One
        frame alone has the file's own rate.

    Raises:
        CorruptFileError: not one frame can be decoded.
        OptionError: `num_frames` is below 1, or no frame lies between `start_seconds` and `end_seconds`.
    """
    line = _timeline(path)
    every = len(line.times) if num_frames == "all" else num_frames
    chosen = _choose(path, line, every, start_seconds, end_seconds)
    decoded = _decode(path, chosen, line)
    if len(decoded) < len(chosen):  # packets without a picture: find out which frames do decode, and choose again
        decodable = np.array([time for time, _ in _walk(path, line, wanted=None)], dtype=np.int64)
        if not len(decodable):
            raise CorruptFileError(f"`{path}`: none of its {len(line.times)} frames can be decoded. Fetch it again.")
        logger.warning("%s: %d of %d frames can be decoded; these are used", path, len(decodable), len(line.times))
        line = _Timeline(decodable, decodable[:1], line.time_base, line.has_times, True)
        chosen = _choose(path, line, every, start_seconds, end_seconds)
        decoded = _decode(path, chosen, line)
    elif line.is_truncated:
        logger.warning("%s is truncated: the %d frames before the break are used", path, len(line.times))
    if not decoded:
        raise CorruptFileError(f"`{path}`: no frame can be decoded. Fetch it again or leave it out.")
    times = sorted(decoded)
    span = float((times[-1] - times[0]) * line.time_base)
    rate = (len(times) - 1) / span if span > 0 else probe_video(path).fps
    return [decoded[time] for time in times], rate


def check_frames(path: str | Path) -> None:
    """Decode every frame of a video.

    Args:
        path (`str` or `Path`): the video file.

    Raises:
        CorruptFileError: a frame cannot be decoded, or the file ends early.
    """
    line = _timeline(path)
    with _opened(path) as (container, stream):
        damaged: list[int | None] = []
        n_decoded = 0
        for frame in _pictures(container, stream, damaged):
            n_decoded += 1
            if frame.is_corrupt:
                damaged.append(frame.pts)
    if line.is_truncated or damaged or not n_decoded:
        raise CorruptFileError(
            f"`{path}`: {n_decoded} frames decode, {len(damaged)} packets or frames are damaged"
            f"{', and the file ends early' if line.is_truncated else ''}. Fetch it again or leave it out."
        )


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """Open a file and its first video stream; everything FFmpeg cannot make sense of becomes a `CorruptFileError`."""
    av = require("av", extra="video")
    name = str(Path(path).absolute())  # absolute: never taken for a URL
    try:
        with av.open(name, options={"format_whitelist": _FORMATS}, metadata_errors="ignore") as container:
            if not container.streams.video:
                raise CorruptFileError(f"`{path}` holds no video stream. Check that it is the right file.")
            yield container, container.streams.video[0]
    except av.error.FFmpegError as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CorruptFileError(f"`{path}` cannot be read as a video ({reason}). Fetch it again.") from error


def _timeline(path: str | Path) -> _Timeline:
    path = Path(path).absolute()
    try:
        status = path.stat()
    except OSError as error:
        raise CorruptFileError(f"`{path}` cannot be read ({error.strerror}). Fetch it, or leave it out.") from error
    return _cached_timeline(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=16)  # the many clips of one long recording share one walk
def _cached_timeline(path: Path, size: int, modified: int) -> _Timeline:
    av = require("av", extra="video")
    times: list[int | None] = []
    keys: list[int | None] = []
    with _opened(path) as (container, stream):
        # Only the sample table of MP4/MOV counts reliably; the header of an AVI may be off by a frame.
        declared = stream.frames if container.format.name.startswith("mov") else 0
        rate, time_base = stream.average_rate or Fraction(25), stream.time_base
        is_truncated = ends_early(path)
        n_discarded = 0
        try:
            for packet in container.demux(stream):
                if packet.is_discard:
                    n_discarded += 1
                elif packet.is_corrupt:
                    is_truncated = True
                elif packet.size:
                    times.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
        except av.error.FFmpegError:
            is_truncated = True
    if not times:
        raise CorruptFileError(f"`{path}` holds no whole frame. Fetch it again or leave it out.")
    is_truncated = is_truncated or len(times) + n_discarded < declared
    known = {time for time in times if time is not None}
    if len(known) == len(times):
        ordered = np.array(sorted(known), dtype=np.int64)
        starts = np.array(sorted(time for time in keys if time is not None), dtype=np.int64)
        return _Timeline(ordered, starts, time_base, True, is_truncated)
    # Missing or repeated times: count frames instead, at the average rate.
    ordinals = np.arange(len(times), dtype=np.int64)
    return _Timeline(ordinals, ordinals[:1], 1 / Fraction(rate), False, is_truncated)


def _choose(path: str | Path, line: _Timeline, n_out: int, start: float | None, end: float | None) -> np.ndarray:
    """Return the times of the frames to hand out, ascending."""
    seconds = (line.times - line.times[0]) * float(line.time_base)
    # Half a nanosecond of tolerance: a border computed as i · fps must not lose its frame to rounding.
    low = 0 if start is None else int(np.searchsorted(seconds, start - 5e-10))
    high = len(seconds) if end is None else int(np.searchsorted(seconds, end - 5e-10))
    if low >= high:
        raise OptionError(
            f"`{path}` has no frame between `start_seconds`={start} and `end_seconds`={end}; "
            f"its {len(seconds)} frames run from 0 to {seconds[-1]:.3f} s."
        )
    return line.times[low:high][frame_indices(high - low, n_out)]


def _decode(path: str | Path, wanted: np.ndarray, line: _Timeline) -> dict[int, np.ndarray]:
    """Return the wanted frames that decode, as RGB arrays by time."""
    remaining = {int(time) for time in wanted}
    return {time: frame.to_ndarray(format="rgb24") for time, frame in _walk(path, line, wanted) if time in remaining}


def _walk(path: str | Path, line: _Timeline, wanted: np.ndarray | None) -> Iterator[tuple[int, Any]]:
    """Decode in time order, skipping ahead to a keyframe where no wanted frame lies before it; `None` decodes all."""
    seeks = line.has_times and wanted is not None and len(line.keyframes) > 1
    if seeks and wanted is not None:
        overshot = yield from _walk_by_seeking(path, line, wanted)
        if not overshot:
            return
    last = None if wanted is None else int(wanted[-1])
    with _opened(path) as (container, stream):
        for ordinal, frame in enumerate(_pictures(container, stream)):
            time = frame.pts if line.has_times else ordinal
            if time is not None and not _is_remnant(frame, line):
                yield time, frame
                if last is not None and time >= last:
                    return


def _is_remnant(frame: Any, line: _Timeline) -> bool:  # noqa: ANN401 - an object of PyAV
    """Tell whether a frame is the rest of one that the end of the file cut in two, patched up by the decoder."""
    return line.is_truncated and frame.is_corrupt


def _walk_by_seeking(path: str | Path, line: _Timeline, wanted: np.ndarray) -> Generator[tuple[int, Any], None, bool]:
    """As `_walk`; returns `True` where a seek landed behind the frame it should reach: the caller then starts over."""
    with _opened(path) as (container, stream):
        pictures = _pictures(container, stream)
        at = -1  # index on the time line of the last decoded frame
        for target in wanted:
            if at >= int(np.searchsorted(line.times, target)):
                continue  # passed by without a picture
            key = line.keyframes[max(0, int(np.searchsorted(line.keyframes, target, side="right")) - 1)]
            has_moved = int(np.searchsorted(line.times, key)) - at > _SEEK_GAIN
            if has_moved:
                container.seek(int(key), stream=stream)
                pictures = _pictures(container, stream)
            for frame in pictures:
                if frame.pts is None or (has_moved and frame.pts > target):
                    return True
                has_moved = False
                at = int(np.searchsorted(line.times, frame.pts))
                if frame.pts == target and not _is_remnant(frame, line):
                    yield frame.pts, frame
                if frame.pts >= target:
                    break
    return False


def _pictures(container: Any, stream: Any, damaged: list[int | None] | None = None) -> Iterator[Any]:  # noqa: ANN401 - objects of PyAV
    """Yield the frames that decode, passing over damaged packets, whose times go to `damaged`."""
    av = require("av", extra="video")
    damaged = [] if damaged is None else damaged
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            if not packet.is_corrupt:
                yield from packet.decode()
                continue
            damaged.append(packet.pts)
        except StopIteration:
            return
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            damaged.append(None)
