"""Synthetic raw copy of EchoNet-Dynamic: drawn apical four-chamber clips, the file list and the tracings.

Every frame is drawn and every row is made up; none comes from a patient. In a fan-shaped sector a bright wall encloses
a dark, beating cavity: an ellipse whose size at the end of diastole follows EDV, and whose shrinking follows EF.

Oddities of the release that it writes:

* names of 15 to 18 characters (`0X` and upper-case hexadecimal digits without leading zeros), not in string order;
  `FileList.csv` without `.avi`, `VolumeTracings.csv` with it and in another order of the videos;
* MJPG in AVI, grey content in three channels, 112 x 112, several frame rates;
* one video without tracings whose table row says 768 x 1024 although the file is 112 x 112;
* one video with fewer chords, one with two chords swapped so that its outline crosses itself, one whose first traced
  frame is the larger one, one whose last traced frame lies one past the end of the video;
* `.DS_Store` files.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Expected, check_count, ellipse, rng, to_uint8, write_bytes, write_csv
from climb_hf.miniatures._video import write_video
from climb_hf.optional import require

__all__ = ["make"]

_HEADER = ("FileName", "EF", "ESV", "EDV", "FrameHeight", "FrameWidth", "FPS", "NumberOfFrames", "Split")
_SPLITS = ("TRAIN", "TRAIN", "VAL", "TRAIN", "TEST", "TRAIN", "TRAIN", "TRAIN")
_NAMES = {"TRAIN": "train", "VAL": "validation", "TEST": "test"}
_RATES = (50, 50, 32, 50, 63)
_SIZE = 112
_BEAT = 24  # frames of one heartbeat
_CHORDS = 20
_UNTRACED, _REVERSED, _FEW, _PAST_END, _CROSSING = 2, 3, 4, 5, 6  # numbers of the odd videos


def make(root: Path, n: int = 32, seed: int = 0) -> list[Expected]:
    """Write a synthetic EchoNet-Dynamic folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of videos, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of tables and videos.

    Returns:
        `list[Expected]`: in the order of `FileList.csv`; `values`: `file`, `ef` (%), `esv`, `edv` (mL), `fps`,
        `num_frames`, `traced` (traced frames as listed), `n_chords`, `diastole` and `systole` (frames, or `None`) and
        `ellipses`: frame -> centre row, centre column, half axis along, half axis across (pixels), tilt (radians).

    Raises:
        OptionError: `n` or `seed` out of range.
        DependencyError: PyAV is not installed.
    """
    check_count("echonet_dynamic", n, seed)
    require("av", extra="video")
    rows: list[list[object]] = [[*_HEADER]]
    expected, blocks = [], []
    for number in range(n):
        random = rng(seed, "echonet_dynamic", number)
        name = f"0X{random.integers(1, 16):X}" + "".join(f"{d:X}" for d in random.integers(0, 16, 12 + number % 4))
        edv = round(float(random.uniform(60, 180)), 8)
        esv = round(edv * float(random.uniform(0.25, 0.8)), 8)
        ef = round((edv - esv) / edv * 100, 8)
        rate, frames, split = _RATES[number % 5], 30 + number * 7 % 23, _SPLITS[number % 8]
        heart = _Heart(edv, esv, random)
        if number == _PAST_END:
            frames = heart.diastole + 2 * _BEAT + 1  # the last frame shows the end of a diastole
        write_video(root / "Videos" / f"{name}.avi", heart.pictures(frames, random), rate)
        sides = (768, 1024) if number == _UNTRACED else (_SIZE, _SIZE)
        rows.append([name, ef, esv, edv, *sides, rate, frames, split])
        diastole, systole = heart.diastole, heart.diastole + _BEAT // 2
        traced = [diastole, systole] if number == _REVERSED else [systole, diastole]
        values: dict[str, object] = {
            "file": f"Videos/{name}.avi", "ef": ef, "esv": esv, "edv": edv, "fps": rate, "num_frames": frames,
            "traced": traced, "diastole": diastole, "systole": systole, "n_chords": 1 + _CHORDS,
            "ellipses": {frame: heart.ellipse(frame) for frame in traced},
        }  # fmt: skip
        if number == _UNTRACED:
            values |= {"traced": [], "n_chords": None, "diastole": None, "systole": None, "ellipses": {}}
        else:
            block, shown = _tracings(name, heart, traced, number, frames)
            blocks.append(block)
            values |= shown
        expected.append(Expected(name, _NAMES[split], name, (), values))
    write_csv(root / "FileList.csv", rows)
    order = rng(seed, "echonet_dynamic", "tracings").permutation(len(blocks))
    tracings = [row for i in order for row in blocks[i]]
    write_csv(root / "VolumeTracings.csv", [["FileName", "X1", "Y1", "X2", "Y2", "Frame"], *tracings])
    for folder in (root, root / "Videos"):
        write_bytes(folder / ".DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64))
    return expected


def _tracings(
    name: str, heart: "_Heart", traced: list[int], number: int, frames: int
) -> tuple[list[list[object]], dict[str, object]]:
    """Rows of one video, and what its oddity changes in the expectation."""
    shown: dict[str, object] = {}
    chords = {frame: heart.chords(frame) for frame in traced}
    if number == _FEW:
        chords = {frame: lines[:16] for frame, lines in chords.items()}
        shown["n_chords"] = 16
    if number == _CROSSING:
        for lines in chords.values():
            lines[8], lines[12] = lines[12], lines[8]
    if number == _PAST_END:  # the diastole is traced in the last frame, which the table calls one later
        systole, last = traced[0], frames - 1
        chords = {systole: chords[systole], frames: heart.chords(last)}
        shown = {"traced": [systole, frames], "diastole": frames}
        shown["ellipses"] = {systole: heart.ellipse(systole), frames: heart.ellipse(last)}
    rows: list[list[object]] = []
    for frame, lines in chords.items():
        rows += [[f"{name}.avi", *(round(v, 8) for v in line), frame] for line in lines]
    return rows, shown


class _Heart:
    """The drawn cavity: where it lies and how large it is in each frame."""

    def __init__(self, edv: float, esv: float, random: np.random.Generator) -> None:
        self.diastole = int(random.integers(1, 8))
        self.row, self.column = random.uniform(55, 62), random.uniform(52, 60)
        self.tilt = random.uniform(-0.25, 0.25)
        self.length = 5.0 * edv ** (1 / 3)
        self.shrink = (esv / edv) ** (1 / 3)

    def ellipse(self, frame: int) -> tuple[float, float, float, float, float]:
        """Centre row, centre column, half axis along, half axis across, tilt."""
        beat = 0.5 + 0.5 * np.cos(2 * np.pi * (frame - self.diastole) / _BEAT)
        along = self.length * (self.shrink + (1 - self.shrink) * beat)
        return float(self.row), float(self.column), float(along), float(0.55 * along), float(self.tilt)

    def chords(self, frame: int) -> list[tuple[float, float, float, float]]:
        """X1, Y1, X2, Y2: the long axis from the apex down, then the short axes from apex to mitral plane."""
        row, column, along, across, tilt = self.ellipse(frame)
        down, side = np.array([-np.sin(tilt), np.cos(tilt)]), np.array([np.cos(tilt), np.sin(tilt)])  # x, y
        centre = np.array([column, row])
        lines = [(*(centre - along * down), *(centre + along * down))]
        for u in np.linspace(-0.97, 0.97, _CHORDS):
            half = across * np.sqrt(1 - u * u)
            middle = centre + along * u * down
            lines.append((*(middle - half * side), *(middle + half * side)))
        return [tuple(float(v) for v in line) for line in lines]  # type: ignore[misc]

    def pictures(self, frames: int, random: np.random.Generator) -> list[NDArray[np.uint8]]:
        """All frames, (112, 112) grey."""
        y, x = np.mgrid[0:_SIZE, 0:_SIZE].astype(np.float32)
        sector = (np.hypot(y, x - 55.5) < 108) & (np.abs(x - 55.5) < 0.75 * y + 4)
        speckle = random.rayleigh(0.12, (_SIZE, _SIZE)).astype(np.float32)
        shown = []
        for frame in range(frames):
            row, column, along, across, tilt = self.ellipse(frame)
            wall = ellipse(y, x, row, column, along + 7, across + 7, angle=tilt, edge=0.1)
            cavity = ellipse(y, x, row, column, along, across, angle=tilt, edge=0.1)
            picture = 0.15 + 0.6 * wall * (1 - cavity) - 0.15 * cavity
            picture = picture + np.roll(speckle, frame, axis=0) * (1 - cavity)
            shown.append(to_uint8(np.where(sector, picture, 0)))
        return shown
