"""Frames of a video, exact by presentation time.

A video is first walked packet by packet without decoding (a few microseconds a frame), which gives the time of every
frame; so the frames to hand out are chosen before the first one is decoded, variable frame rates and containers that
do not store a count included. Decoding then seeks to the keyframe before a chosen frame wherever that skips work.
"""

import contextlib
import functools
import logging
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.optional import require
from climb_hf.readers.integrity import ends_early

__all__ = ["Clip", "VideoInfo", "check_frames", "frame_indices", "probe_video", "read_clip", "read_frames"]

logger = logging.getLogger(__name__)

# Containers that hold video themselves. Play lists, which name other files or hosts, are not among them.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,avi,asf,gif,matroska,webm,mpeg,mpegts,ogg,flv"
# Codecs that mark the frames which no other frame needs; those of HEVC may still serve a higher temporal layer.
_UNREFERENCED = ("h264", "mpeg4")
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
        is_exact (`bool`): frames were counted; else their number is the header's or, without one, duration × rate.
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
class Clip:
    """Frames handed out of a video.

    Args:
        frames (`list[numpy.ndarray]`): each (height, width, 3) uint8 RGB, in time order.
        indices (`list[int]`): place of each among the frames of the file, from 0.
        seconds (`list[float]`): time of each from the first frame of the file.
        fps (`float`): rate of the frames in Hz: (n − 1) / (time of the last − time of the first) for n of them, so
            for a constant rate `fps · (n − 1) / (N − 1)` over N frames, and the mean one where it varies. One frame
            alone has the file's own rate, NaN where it states none.
    """

    frames: list[np.ndarray]
    indices: list[int]
    seconds: list[float]
    fps: float


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

    Index i is (n_total − 1) · i / (n_out − 1), rounded half up in integer arithmetic; all are distinct and ascending.
    A single one is the middle, (n_total − 1) // 2. Where `n_total` ≤ `n_out`, all indices are returned.

    Args:
        n_total (`int`): how many there are, at least 0.
        n_out (`int`): how many to choose, at least 1.

    Returns:
        `list[int]`: min(n_total, n_out) of them.

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
        count_frames (`bool`, *optional*, defaults to `False`): read the file once without decoding, so that the count
            is exact and a truncated file is recognised in every container.

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
        n_frames = n_frames or (round(seconds * rate) if np.isfinite(seconds * rate) else 0)
    return VideoInfo(width, height, rate, n_frames, seconds, count_frames, is_truncated, codec)


def read_frames(
    path: str | Path,
    num_frames: int | Literal["all"] = 16,
    *,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> tuple[list[np.ndarray], float]:
    """Decode equally spaced frames of a video, or of a part of it: `frames` and `fps` of `read_clip`.

    Args:
        path (`str` or `Path`): the video file.
        num_frames (`int` or `"all"`, *optional*, defaults to `16`): how many frames to hand out.
        start_seconds (`float`, *optional*): as of `read_clip`.
        end_seconds (`float`, *optional*): as of `read_clip`.

    Returns:
        `tuple`: the frames, each (height, width, 3) uint8 RGB, in time order, and their rate in Hz.
    """
    clip = read_clip(path, num_frames, start_seconds=start_seconds, end_seconds=end_seconds)
    return clip.frames, clip.fps


def read_clip(
    path: str | Path,
    num_frames: int | Literal["all"] = 16,
    *,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    indices: Sequence[int] | None = None,
) -> Clip:
    """Decode equally spaced frames of a video, of a part of it, or the frames named, and say which they are.

    The frames are those of `frame_indices` over the file (or its part). A clip with fewer frames than `num_frames`
    yields all it has: padding is the collator's job. What can be decoded of a truncated file is used; a warning names
    it, and `probe_video(path, count_frames=True).is_truncated` tells.

    Args:
        path (`str` or `Path`): the video file.
        num_frames (`int` or `"all"`, *optional*, defaults to `16`): how many frames to hand out.
        start_seconds (`float`, *optional*): only frames at or after this time, from the first frame of the file.
        end_seconds (`float`, *optional*): only frames before this time.
        indices (`Sequence[int]`, *optional*): the frames to hand out, from 0, whatever the above.

    Returns:
        `Clip`.

    Raises:
        CorruptFileError: not one frame can be decoded, or not all of `indices`.
        OptionError: `num_frames` is below 1, or no frame lies between the two times or has such an index.
    """
    line = _timeline(path)
    part = _part(path, line, start_seconds, end_seconds) if indices is None else _named(path, line, indices)
    n_out = len(part) if num_frames == "all" or indices is not None else num_frames
    wanted = part[frame_indices(len(part), n_out)]
    decoded = _decode(path, line, wanted, wanted)
    if len(decoded) < len(wanted):  # packets without a picture: find out which frames do decode, and choose again
        usable = np.intersect1d(part, [time for time, _ in _walk(path, line, part)])
        if not len(usable) or (indices is not None and len(usable) < len(part)):
            what = f"none of {len(part)} frames" if indices is None else f"not all of the frames {list(indices)}"
            raise CorruptFileError(f"`{path}`: {what} can be decoded. Fetch it again or leave it out.")
        logger.warning("%s: %d of %d frames can be decoded; these are used", path, len(usable), len(part))
        decoded = _decode(path, line, part, usable[frame_indices(len(usable), n_out)])
    elif line.is_truncated:
        logger.warning("%s is truncated: the %d frames before the break are used", path, len(line.times))
    times = np.array(sorted(decoded), dtype=np.int64)
    span = float((times[-1] - times[0]) * line.time_base)
    rate = (len(times) - 1) / span if span > 0 else probe_video(path).fps
    seconds = (times - line.times[0]) * float(line.time_base)
    return Clip([decoded[int(t)] for t in times], np.searchsorted(line.times, times).tolist(), seconds.tolist(), rate)


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
        is_truncated, n_discarded = ends_early(path), 0
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
        ordered, starts = (np.array(sorted(some), np.int64) for some in (known, known.intersection(keys)))
        return _Timeline(ordered, starts, time_base, True, is_truncated)
    # Missing or repeated times: count frames instead, at the average rate.
    ordinals = np.arange(len(times), dtype=np.int64)
    return _Timeline(ordinals, ordinals[:1], 1 / Fraction(rate), False, is_truncated)


def _part(path: str | Path, line: _Timeline, start: float | None, end: float | None) -> np.ndarray:
    """Return the times of the frames between two moments, ascending."""
    seconds = (line.times - line.times[0]) * float(line.time_base)
    # Half a nanosecond of tolerance: a border computed as i · fps must not lose its frame to rounding.
    low = 0 if start is None else int(np.searchsorted(seconds, start - 5e-10))
    high = len(seconds) if end is None else int(np.searchsorted(seconds, end - 5e-10))
    if low >= high:
        raise OptionError(
            f"`{path}` has no frame between `start_seconds`={start} and `end_seconds`={end}; "
            f"its {len(seconds)} frames run from 0 to {seconds[-1]:.3f} s."
        )
    return line.times[low:high]


def _named(path: str | Path, line: _Timeline, indices: Sequence[int]) -> np.ndarray:
    """Return the times of the frames of some indices, ascending and each once."""
    wanted = np.unique(np.array(indices, dtype=np.int64))
    if not len(wanted) or wanted[0] < 0 or wanted[-1] >= len(line.times):
        raise OptionError(f"`{path}` has frames 0 to {len(line.times) - 1}; `indices` asks for {list(indices)}.")
    return line.times[wanted]


def _decode(path: str | Path, line: _Timeline, walked: np.ndarray, wanted: np.ndarray) -> dict[int, np.ndarray]:
    """Return the wanted frames, part of those `walked`, that decode, as RGB arrays by time."""
    kept = {int(time) for time in wanted}
    return {time: frame.to_ndarray(format="rgb24") for time, frame in _walk(path, line, walked) if time in kept}


def _walk(path: str | Path, line: _Timeline, wanted: np.ndarray) -> Iterator[tuple[int, Any]]:
    """Decode the wanted frames in time order, and others; skip ahead to a keyframe where none lies before it."""
    if line.has_times and len(line.keyframes) > 1:
        overshot = yield from _walk_by_seeking(path, line, wanted)
        if not overshot:
            return
    with _opened(path) as (container, stream):
        for ordinal, frame in enumerate(_pictures(container, stream)):
            time = frame.pts if line.has_times else ordinal
            if time is not None and not (line.is_truncated and frame.is_corrupt):  # patched up after a cut
                yield time, frame
                if time >= wanted[-1]:
                    return


def _walk_by_seeking(path: str | Path, line: _Timeline, wanted: np.ndarray) -> Generator[tuple[int, Any], None, bool]:
    """As `_walk`; returns `True` where a seek landed behind the frame it should reach: the caller then starts over."""
    with _opened(path) as (container, stream):
        needed = {int(time) for time in wanted}
        pictures = _pictures(container, stream, needed=needed)
        at = -1  # index on the time line of the last decoded frame
        for target in wanted:
            if at >= int(np.searchsorted(line.times, target)):
                continue  # passed by without a picture
            key = line.keyframes[max(0, int(np.searchsorted(line.keyframes, target, side="right")) - 1)]
            has_moved = int(np.searchsorted(line.times, key)) - at > _SEEK_GAIN
            if has_moved:
                container.seek(int(key), stream=stream)
                pictures = _pictures(container, stream, needed=needed)
            for frame in pictures:
                if frame.pts is None or (has_moved and frame.pts > target):
                    return True
                has_moved = False
                at = int(np.searchsorted(line.times, frame.pts))
                if frame.pts in needed and not (line.is_truncated and frame.is_corrupt):
                    yield frame.pts, frame
                if frame.pts >= target:
                    break
    return False


def _pictures(
    container: Any,  # noqa: ANN401 - an object of PyAV
    stream: Any,  # noqa: ANN401 - an object of PyAV
    damaged: list[int | None] | None = None,
    needed: Collection[int] | None = None,
) -> Iterator[Any]:
    """Yield the frames that decode but perhaps those that neither the caller nor another frame needs; note damage."""
    av = require("av", extra="video")
    damaged = [] if damaged is None else damaged
    context = stream.codec_context
    may_skip = context.name in _UNREFERENCED
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            if not packet.is_corrupt:
                if needed is not None and may_skip:
                    context.skip_frame = "DEFAULT" if packet.pts is None or packet.pts in needed else "NONREF"
                yield from packet.decode()
                continue
            damaged.append(packet.pts)
        except StopIteration:
            return
        except av.error.EOFError:
            return
        except av.error.FFmpegError:
            damaged.append(None)
