"""16 frames of a video without decoding all of it, against decoding all frames with PyAV (synthetic).

Two files: 30 s of 112 x 112 MJPG in AVI at 50 frames/s, as EchoNet-Dynamic; 10 min of 854 x 480 H.264 in MP4 at 25
frames/s with a keyframe every 250 frames, as Cholec80. The second one repeats 20 s of packets, so it is made in
seconds and decodes like any other. The time line of a file, which is walked once per file, is part of ours. The
reference decodes every frame and converts the 16 chosen ones to RGB; both sides must give the same pixels.

Run: `python benchmarks/bench_video.py`. A figure is the median over repetitions in which both sides take turns.
"""

import statistics
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from climb_hf.readers import video
from climb_hf.readers.video import frame_indices, read_clip

NUM_FRAMES = 16


def moving_scene(height: int, width: int, count: int) -> list[np.ndarray]:
    """Return frames that pan over a noisy texture."""
    random = np.random.default_rng(0)
    rows, columns = height // 8 + 12, width // 8 + 16
    texture = np.kron(random.normal(120, 30, (rows, columns, 3)), np.ones((8, 8, 1)))
    texture = np.clip(texture + random.normal(0, 6, texture.shape), 0, 255).astype(np.uint8)
    places = [(round(40 + 38 * np.cos(k / 31)), round(60 + 55 * np.sin(k / 20))) for k in range(count)]
    return [np.ascontiguousarray(texture[y : y + height, x : x + width]) for y, x in places]


def write_video(path: Path, codec: str, rate: int, frames: list[np.ndarray], repeats: int = 1, **options: str) -> None:
    """Encode the frames once and write their packets `repeats` times, one after the other."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, rate)
        packets = []
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            packets += stream.encode(frame)
        packets += stream.encode()
        facts = [(bytes(p), p.pts, p.dts, p.time_base, p.duration, p.is_keyframe) for p in packets]
        for turn in range(repeats):
            for content, pts, dts, base, duration, is_keyframe in facts:
                packet = av.Packet(content)
                shift = int(len(frames) * turn / (rate * base))
                packet.stream, packet.time_base, packet.duration = stream, base, duration
                packet.pts, packet.dts, packet.is_keyframe = pts + shift, dts + shift, is_keyframe
                container.mux(packet)


def decode_all(path: Path, chosen: set[int]) -> list[np.ndarray]:
    """Decode every frame with PyAV and convert those chosen."""
    with av.open(str(path)) as container:
        frames = enumerate(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for number, frame in frames if number in chosen]


def compare(name: str, path: Path, count: int, repetitions: int, required: float | None) -> dict[str, Any]:
    """Time both in turns, ours without what it remembers of the file."""
    chosen = set(frame_indices(count, NUM_FRAMES))
    times: dict[str, list[float]] = {"ours": [], "reference": []}
    for _ in range(repetitions):
        video._cached_timeline.cache_clear()
        start = time.perf_counter()
        ours = read_clip(path, NUM_FRAMES).frames
        middle = time.perf_counter()
        reference = decode_all(path, chosen)
        times["ours"].append(1e3 * (middle - start))
        times["reference"].append(1e3 * (time.perf_counter() - middle))
        if len(reference) != NUM_FRAMES or not all(map(np.array_equal, ours, reference)):
            raise RuntimeError(f"{path.name}: the two sides disagree")
    fast, slow = (statistics.median(times[side]) for side in ("ours", "reference"))
    return {"name": name, "ours": fast, "reference": slow, "ratio": slow / fast, "required": required, "unit": "ms"}


def run() -> list[dict[str, Any]]:
    """Measure; rows of name, ours, reference, ratio, required ratio (or `None`), unit."""
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "short.avi", Path(folder) / "long.mp4"
        write_video(short, "mjpeg", 50, moving_scene(112, 112, 1500), q="3")
        write_video(long, "libx264", 25, moving_scene(480, 854, 500), 30, preset="veryfast", crf="23")
        return [
            compare("16 frames of 30 s, 112 x 112, MJPG AVI", short, 1500, 15, None),
            compare("16 frames of 10 min, 854 x 480, H.264 MP4", long, 15000, 5, 5),
        ]


if __name__ == "__main__":
    for row in run():
        print("{name:44s} {ours:9.1f} {unit}   {reference:9.1f} {unit}   ratio {ratio:6.1f}".format(**row))
