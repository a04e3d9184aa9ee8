"""Video files of the miniatures: the same frames always give the same bytes."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.optional import require

__all__ = ["write_video"]

# Codec, pixel format and encoder options by suffix, as publishers of clinical video use them.
_FORMATS = {
    ".mp4": ("libx264", "yuv420p", {"preset": "ultrafast", "crf": "20"}),
    ".mov": ("libx264", "yuv420p", {"preset": "ultrafast", "crf": "20"}),
    ".avi": ("mjpeg", "yuvj420p", {"q": "3"}),
    ".wmv": ("wmv2", "yuv420p", {}),
    ".gif": ("gif", "rgb8", {}),
}


def write_video(path: Path, frames: Iterable[NDArray[np.uint8]], rate: int, *, gop: int = 250) -> None:
    """Write a video without sound; the suffix decides container and codec.

    Args:
        path (`pathlib.Path`): target, `.mp4`, `.mov` (both H.264), `.avi` (MJPG), `.wmv` (WMV 8) or `.gif`; missing
            folders are made.
        frames: (height, width) or (height, width, 3) uint8 pictures, all of one size, even sides but for GIF.
        rate (`int`): frames per second.
        gop (`int`, *optional*, defaults to `250`): most frames between two keyframes.

    Raises:
        DependencyError: PyAV is not installed.
    """
    av = require("av", extra="video")
    codec, pixels, options = _FORMATS[path.suffix.lower()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.pix_fmt, stream.time_base = pixels, Fraction(1, rate)
        context = stream.codec_context
        context.thread_count = 1  # more threads would cut slices by the machine's cores
        context.options, context.gop_size, context.bit_rate = dict(options), gop, 2_000_000
        context.flags |= av.codec.context.Flags.bitexact
        for number, frame in enumerate(frames):
            if not number:
                stream.height, stream.width = frame.shape[:2]
            picture = av.VideoFrame.from_ndarray(frame, format="gray" if frame.ndim == 2 else "rgb24")
            picture.pts, picture.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
