"""Cholec80: 80 videos of cholecystectomies with phases and tools, by Twinanda et al., 2016.

Features: one record per interval, 90 equal ones of a video, cut in seconds; from MP4 (25 frames/s, 854 x 480, the last
three 1920 x 1080) or from PNG at 1 frame/s. `frame_labels`: phase and tools of each frame, as annotated.
Where: University Hospital of Strasbourg, 13 surgeons. Classes: the 7 phases and 7 tools that occur in the interval;
`labels="phase"` and `labels="tool"` give one kind.
Splits: the publisher's, videos 1 to 40 and 41 to 80; `paper` is 64 / 16 videos. Licence: CC-BY-NC-SA-4.0.
"""

import random
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import CorruptFileError, OptionError, SchemaError
from climb_hf.readers.folders import files_by_name
from climb_hf.readers.workflow import Interval, cut_intervals, frame_labels, read_phases, read_tools
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

FPS = 25
VIDEOS = [f"video{number:02d}" for number in range(1, 81)]
TOOLS = ("Grasper", "Bipolar", "Hook", "Scissors", "Clipper", "Irrigator", "SpecimenBag")
PHASE, TOOL, VIDEO = "-phase.txt", "-tool.txt", ".mp4"
FILE = re.compile(r"(video\d\d+)(\.mp4|-phase\.txt|-tool\.txt|_\d{6}\.png)")


def paper_train() -> set[str]:
    """Return the 64 training videos of the CLIMB paper: drawn from the sorted names by Python's generator, seed 0."""
    return set(random.Random(0).sample(VIDEOS, 64))  # noqa: S311 - a published draw, nothing secret


class Cholec80(Source):
    """Cholec80."""

    name = "cholec80"
    title = "Cholec80: phases and tools of cholecystectomy videos"
    homepage = "https://camma.u-strasbg.fr/datasets"
    citation = (
        "@article{twinanda2016endonet, title={EndoNet: A Deep Architecture for Recognition Tasks on Laparoscopic "
        "Videos}, author={Twinanda, Andru P. and others}, journal={IEEE Transactions on Medical Imaging}, "
        "volume={36}, number={1}, pages={86--97}, year={2017}, doi={10.1109/TMI.2016.2593957}}"
    )
    license = "CC-BY-NC-SA-4.0"
    license_note = "Handed out on request; copies are not put on a hub unless the owner agrees."
    redistributable = False
    access = "application"
    how_to_get = (
        "Fill in the request form of the CAMMA group at https://camma.u-strasbg.fr/datasets (85 GB).",
        "Unpack the archive: `videos/` (or `frames/video01/` ...), `phase_annotations/` and `tool_annotations/`.",
        "Pass the folder that holds them. With `image_size=224` the dataset takes an eighth of the space.",
    )
    modality = "Video"
    family = "frames"
    domains = ("Surgery",)
    tasks = ("Workflow Analysis", "Segmentation")
    published_splits = {"train": 3600, "test": 3600}
    cautions = (
        "The paper counts each interval twice, for its question on phases and on tools: 7,200 records, 14,400 rows.",
        "Phases are cut on frames and tools on seconds in the paper's code; here one cut in seconds serves both.",
        "The same operations occur in CholecT45 and CholecT50: do not train on one and score on the other.",
    )
    splits = ("official", "paper")
    label_schemes = ("climb", "phase", "tool", "raw")
    extra_options = {"intervals": 90}
    fingerprint_patterns = ("phase_annotations/*", "tool_annotations/*", "videos/*.mp4", "frames/*", "video*")
    root_markers = ("phase_annotations", "video[0-9][0-9]-phase.txt")

    def check_options(self, options: Options) -> None:
        """Refuse a number of intervals below 1."""
        super().check_options(options)
        count = options["intervals"]
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise OptionError(f"{self.name}: `intervals` must be a positive whole number, got {count!r}.")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the intervals of the videos whose annotations and pictures are there, by video and time."""
        files: dict[str, dict[str, str]] = defaultdict(dict)  # video -> what follows it in the name -> path
        for name, paths in files_by_name(root, (".txt", ".mp4", ".png")).items():
            if match := FILE.fullmatch(name):
                files[match[1]][match[2]] = paths[0]
        train = paper_train() if options.split_by == "paper" else set(VIDEOS[:40])
        for video in sorted(files):
            own = files[video]
            lacking = next((kind for kind in (PHASE, TOOL) if kind not in own), None)
            if video not in VIDEOS:
                yield LeftOut(video, "not one of the 80 videos")
            elif lacking:
                yield LeftOut(video, f"video without its table `videoNN{lacking}`")
            elif not own.keys() - {PHASE, TOOL}:
                yield LeftOut(video, "annotated video that is not there")
            else:
                try:
                    tables = read_phases(root / own[PHASE]), read_tools(root / own[TOOL], TOOLS, FPS)
                except SchemaError as error:
                    yield Skipped(video, own[PHASE], str(error), "SchemaError")
                    continue
                intervals, lone = cut_intervals(*tables, options["intervals"], FPS)
                yield from (LeftOut(f"{video} second {k}", "second with a phase or tools only") for k in lone)
                labelled = (second for part in intervals for second in range(part.start, part.end))
                absent = [k for k in labelled if VIDEO not in own and f"_{k + 1:06d}.png" not in own]
                yield from (LeftOut(f"{video} second {k}", "labelled second without its picture") for k in absent)
                for number, interval in enumerate(intervals):
                    record = self._record(video, number, interval, own, options)
                    record.split = "train" if video in train else "test"
                    yield record

    @staticmethod
    def _record(video: str, number: int, interval: Interval, files: dict[str, str], options: Options) -> Record:
        start, end = interval.start, interval.end
        raw = {"phase": interval.phases_present, "tool": interval.tools_present}
        names = [f"_{second + 1:06d}.png" for second in range(start, end)]  # pictures count from 1
        own = (files[VIDEO],) if VIDEO in files else tuple(files[name] for name in names if name in files)
        return Record(
            id=f"{video}_{number:02d}",
            group=video,
            raw_labels=raw["phase"] + raw["tool"],
            label_values=raw.get(options.labels),
            files=own or (f"frames/{video}/{video}{names[0]}",),  # absent: it will be skipped by that name
            metadata={
                "video": video, "interval": number, "official_split": "train" if video in VIDEOS[:40] else "test",
                "fps": FPS, "start_seconds": start, "end_seconds": end, "start_frame": start * FPS,
                "end_frame": end * FPS, "phase_runs": [[*run] for run in interval.phase_runs],
                "tools": [None if tools is None else [*tools] for tools in interval.tools],
            },
        )  # fmt: skip

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Decode frames of the interval only, and look up the phase and the tools of each."""
        from climb_hf.processing.inputs import DEFAULT_VIDEO_FRAMES, encode_frames, read_image_columns
        from climb_hf.readers.video import frame_indices, read_clip

        interval, number = record.metadata or {}, options.num_frames or DEFAULT_VIDEO_FRAMES
        if record.files[0].endswith(VIDEO):
            start, end = interval["start_seconds"], interval["end_seconds"]
            try:
                clip = read_clip(root / record.files[0], number, start_seconds=start, end_seconds=end)
            except OptionError as error:  # no frame there, whatever the options say
                raise CorruptFileError(f"the video ends before interval {interval['interval']}: {error}") from error
            frames, indices, fps = encode_frames(clip.frames, options), clip.indices, clip.fps
        else:
            count = len(record.files)
            chosen = [record.files[k] for k in frame_indices(count, count if number == "all" else number)]
            frames = [read_image_columns(root / file, options)["image"] for file in chosen]
            seconds = [int(Path(file).stem.split("_")[1]) - 1 for file in chosen]
            indices, span = [second * FPS for second in seconds], seconds[-1] - seconds[0]
            fps = (len(seconds) - 1) / span if span else 1.0
        return {"frames": frames, "fps": fps, "frame_labels": frame_labels(interval, indices)}
