"""Synthetic raw copy of Cholec80: drawn scenes of an operation, phases per frame, tools per second.

Every picture is drawn and every row is made up; none comes from a patient. A round endoscopic view shows tissue whose
colour tells the phase; every tool in use is a bar of its own colour that enters from its own direction.

Oddities of the release that it writes:

* `phase_annotations/videoNN-phase.txt`: tab-separated, one row per frame at 25 frames/s, from 0; LF or CRLF; phases
  change in the middle of a second too;
* `tool_annotations/videoNN-tool.txt`: one row per second (frames 0, 25, 50, ...); in videos with an odd number the
  last second has a phase but no tool row;
* `video15`: one phase row past the end of the video;
* `video78`: larger pictures than the others, as the release has 1920 x 1080 beside 854 x 480;
* `videoNN-timestamp.txt`, whose column `Frame` holds times (layouts with videos);
* an operation of fewer than 90 s, as all here are, has as many intervals as seconds.

The layout `"png"` is that of the public archive: pictures at 1 frame/s, counted from 1, and no videos.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import (
    Expected,
    check_choice,
    check_count,
    ellipse,
    grid,
    rng,
    save_image,
    smooth_noise,
    to_uint8,
    write_text,
)
from climb_hf.miniatures._video import write_video
from climb_hf.optional import require

__all__ = ["make"]

_PHASES = {  # as annotated -> Table 7
    "Preparation": "Preparation",
    "CalotTriangleDissection": "Calot Triangle Dissection",
    "ClippingCutting": "Clipping Cutting",
    "GallbladderDissection": "Gallbladder Dissection",
    "GallbladderPackaging": "Gallbladder Packaging",
    "CleaningCoagulation": "Cleaning Coagulation",
    "GallbladderRetraction": "Gallbladder Retraction",
}
_TOOLS = {
    "Grasper": "Grasper", "Bipolar": "Bipolar", "Hook": "Hook", "Scissors": "Scissors", "Clipper": "Clipper",
    "Irrigator": "Irrigator", "SpecimenBag": "Specimen Bag",
}  # fmt: skip
_FPS = 25
_VIDEOS = (1, 2, 15, 24, 33, 41, 57, 78)  # the first in use; more follow where records need them
_COLOURS = np.array(  # of the tissue in each phase, of each tool
    [(0.75, 0.45, 0.35), (0.80, 0.65, 0.30), (0.55, 0.20, 0.20), (0.70, 0.30, 0.45), (0.45, 0.45, 0.30),
     (0.35, 0.15, 0.30), (0.85, 0.60, 0.55), (0.8, 0.8, 0.85), (0.3, 0.3, 0.9), (0.95, 0.9, 0.4), (0.2, 0.6, 0.9),
     (0.3, 0.9, 0.4), (0.1, 0.1, 0.15), (0.95, 0.95, 0.95)],
    np.float32,
)  # fmt: skip


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "png") -> list[Expected]:
    """Write a synthetic Cholec80 folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of records, one per second of video, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of tables and pictures.
        layout (`str`, *optional*, defaults to `"png"`): `"png"` (`frames/videoNN/`, pictures at 1 frame/s), `"mp4"`
            (`videos/`, the original release) or `"flat"` (as `"mp4"` with all files in one folder).

    Returns:
        `list[Expected]`: by video and second; `values`: `file`, `interval`, `start_frame`, `end_frame` (the first one
        after it), `frame_phases` (as annotated, of every frame), `tools` (as annotated), `size` (width, height).

    Raises:
        OptionError: an option out of range.
        DependencyError: PyAV is not installed (layouts with videos).
    """
    check_count("cholec80", n, seed)
    check_choice("cholec80", "layout", layout, ("png", "mp4", "flat"))
    if layout != "png":
        require("av", extra="video")
    count = max(len(_VIDEOS), -(-n // 90))
    videos = sorted([*_VIDEOS, *(v for v in range(1, 81) if v not in _VIDEOS)][:count])
    expected = []
    for place, video in enumerate(videos):
        seconds = n // count + (place < n % count)
        operation = _Operation(video, place, seconds, seed)
        folder = "" if layout == "flat" else {"png": "frames/", "mp4": "videos/"}[layout]
        name = f"video{video:02d}"
        _write_tables(root, operation, name, place, flat=layout == "flat")
        if layout == "png":
            for k in range(seconds + operation.has_tail):
                path = root / f"{folder}{name}/{name}_{k + 1:06d}.png"
                save_image(path, operation.picture(k * _FPS), compress_level=1)
        else:
            shown = [operation.picture(frame) for frame in range(seconds * _FPS + operation.has_tail)]
            write_video(root / f"{folder}{name}.mp4", shown, _FPS, gop=40)
            lines = [f"{_clock(frame)}\t{phase}" for frame, phase in enumerate(operation.phases)]
            write_text(root / f"{folder}{name}-timestamp.txt", "\n".join(["Frame\tPhase", *lines, ""]))
        for k in range(seconds):
            file = f"{folder}{name}/{name}_{k + 1:06d}.png" if layout == "png" else f"{folder}{name}.mp4"
            expected.append(operation.expected(k, file))
    notice = "Synthetic data in the format of Cholec80. No patient is behind any of it.\n"
    write_text(root / "README.txt", notice)
    return expected


def _clock(frame: int) -> str:
    """Time of a frame as the time stamps write it."""
    seconds = frame // _FPS
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{frame % _FPS * 100 // _FPS:02d}"


def _write_tables(root: Path, operation: "_Operation", name: str, place: int, *, flat: bool) -> None:
    """Write phases of all frames and tools of all seconds but a last odd one."""
    end = "\r\n" if place % 3 == 1 else "\n"
    phases = ["Frame\tPhase", *(f"{frame}\t{phase}" for frame, phase in enumerate(operation.phases)), ""]
    write_text(root / ("" if flat else "phase_annotations") / f"{name}-phase.txt", end.join(phases))
    rows = ["\t".join(["Frame", *_TOOLS])]
    for second, tools in enumerate(operation.tools):
        rows.append("\t".join([str(second * _FPS), *(str(int(tool in tools)) for tool in _TOOLS)]))
    write_text(root / ("" if flat else "tool_annotations") / f"{name}-tool.txt", end.join([*rows, ""]))


class _Operation:
    """One video: its phases by frame, its tools by second, and its pictures."""

    def __init__(self, video: int, place: int, seconds: int, seed: int) -> None:
        self.video, self.seconds, self._seed = video, seconds, seed
        random = rng(seed, "cholec80", video)
        self.has_tail = video % 2 == 1 and video != 15  # a frame beyond the last whole second
        names = list(_PHASES)
        # A short video shows a part of the operation, a long one all of it.
        first = place * seconds % len(names) if seconds < len(names) else 0
        first = min(first, max(0, len(names) - seconds))
        steps = [first + (k * len(names) // seconds if seconds >= len(names) else k) for k in range(seconds)]
        self.phases: list[str] = []
        for k, step in enumerate(steps):
            after = steps[k + 1] if k + 1 < seconds else step
            is_split = k % 2 == 0 and after != step  # the next phase begins in the middle of this second
            middle = int(random.integers(8, 18)) if is_split else _FPS
            self.phases += [names[step]] * middle + [names[after]] * (_FPS - middle)
        self.phases += self.phases[-1:] * (self.has_tail or video == 15)
        self.tools: list[tuple[str, ...]] = []
        for k in range(seconds):
            number = (place * seconds + k) % 9  # seven tools, no tool, three at once
            tools = [list(_TOOLS)[number]] if number < 7 else [] if number == 7 else ["Grasper", "Hook", "Clipper"]
            self.tools.append(tuple(tools))
        scale = 0.28 if video >= 78 else 0.25
        self._height, self._width = (round(480 * scale / 2) * 2, round(854 * scale / 2) * 2)
        self._tissue = smooth_noise(random, self._height, self._width, 7)

    def picture(self, frame: int) -> NDArray[np.uint8]:
        """The (height, width, 3) picture of a frame."""
        y, x = grid(self._height, self._width)
        x = x * np.float32(self._width / self._height)
        tissue = _COLOURS[list(_PHASES).index(self.phases[frame])]
        picture = tissue * (1 + 0.3 * np.roll(self._tissue, frame // 3, axis=1))[..., None]
        tools = self.tools[min(frame // _FPS, self.seconds - 1)]
        for number, tool in enumerate(_TOOLS):
            if tool in tools:
                angle = 2 * np.pi * number / len(_TOOLS) + 0.1 * np.sin(frame / 9)
                cy, cx = 0.75 * np.sin(angle), 0.75 * np.cos(angle)
                bar = ellipse(y, x, cy, cx, 0.6, 0.14, angle=angle - np.pi / 2, edge=0.3)
                picture = picture + bar[..., None] * (_COLOURS[len(_PHASES) + number] - picture)
        return to_uint8(picture * (np.hypot(y, x) < 1.1)[..., None])

    def expected(self, second: int, file: str) -> Expected:
        """What a reader finds for one second."""
        frames = self.phases[second * _FPS : (second + 1) * _FPS]
        tools = self.tools[second]
        classes = [name for raw, name in _PHASES.items() if raw in frames]
        classes += [name for raw, name in _TOOLS.items() if raw in tools]
        values: dict[str, object] = {
            "file": file,
            "interval": second,
            "start_frame": second * _FPS,
            "end_frame": (second + 1) * _FPS,
            "frame_phases": frames,
            "tools": tools,
            "size": (self._width, self._height),
        }
        name = f"video{self.video:02d}"
        split = "train" if self.video <= 40 else "test"
        return Expected(f"{name}_{second:02d}", split, name, tuple(classes), values)
