"""EchoNet-Dynamic: 10,030 apical four-chamber echocardiograms with ejection fraction, by Ouyang et al., 2020.

Features: AVI (MJPG), 112 x 112, 28 to 1,002 frames at 18 to 138 frames/s; the left ventricle traced in two frames.
Where: Stanford University Hospital, 2016 to 2018; no demographics. Classes: none. Targets: `ef` in percent, `esv` and
`edv` in mL. `masks`: the tracings filled, aligned with `frames`, null for frames nobody traced.
Splits: the publisher's, 7,465 / 1,288 / 1,277. Licence: research use agreement, nothing may be passed on.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import LayoutError, SchemaError
from climb_hf.readers.tables import find_table, is_junk, read_csv_rows, to_float
from climb_hf.readers.tracings import Chords, chords_mask, read_tracings, traced_roles
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

logger = logging.getLogger(__name__)

FILES, TRACINGS, VIDEOS = "FileList.csv", "VolumeTracings.csv", ("Videos", "a4c-video-dir")
SUFFIX = ".avi"
SPLITS = {"TRAIN": "train", "VAL": "validation", "TEST": "test"}
#: Keys of `metadata` -> columns of the file list.
NUMBERS = {"n_frames": "NumberOfFrames", "frame_height": "FrameHeight", "frame_width": "FrameWidth", "fps": "FPS"}


class EchoNetDynamic(Source):
    """EchoNet-Dynamic."""

    name = "echonet_dynamic"
    title = "EchoNet-Dynamic: echocardiogram videos with ejection fraction"
    homepage = "https://echonet.github.io/dynamic/"
    citation = (
        "@article{ouyang2020echonet, title={Video-based AI for beat-to-beat assessment of cardiac function}, "
        "author={Ouyang, David and others}, journal={Nature}, volume={580}, pages={252--256}, year={2020}, "
        "doi={10.1038/s41586-020-2145-8}}"
    )
    license = "LicenseRef-EchoNet-Dynamic-Research-Use-Agreement"
    license_note = "Personal, non-commercial research; no part, derived work or link may be passed on."
    redistributable = False
    access = "registration"
    how_to_get = (
        "Register at https://echonet.github.io/dynamic/ and accept Stanford's research use agreement.",
        "Download `EchoNet-Dynamic.zip` (about 7 GB) from the Stanford AIMI page that opens, and unpack it.",
        f"Pass the folder that holds `{FILES}`, `{TRACINGS}` and `{VIDEOS[0]}/`.",
    )
    modality = "Ultrasound"
    family = "frames"
    domains = ("Radiology",)
    tasks = ("Segmentation",)
    published_splits = {"train": 7465, "validation": 1288, "test": 1277}
    cautions = (
        "Nobody labelled which traced frame is the end of systole: the larger outline is called diastole here, where "
        "the publisher's code trusts the order of the table, which some videos break.",
        "Some tracings cross themselves or have fewer than 21 chords (`n_chords`); none is left out.",
        "Few frames are traced: `traced_only=True` hands out those two of each video, with both masks.",
    )
    unavailable_splits = {
        "paper": "its 8,196 and 2,051 records sum to 10,247, but the publisher has 10,030 videos and no list exists.",
    }
    extra_options = {"traced_only": False}
    fingerprint_patterns = (FILES, TRACINGS, *(f"{folder}/*{SUFFIX}" for folder in VIDEOS))
    root_markers = (FILES,)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Join both tables by name, in the order of the file list."""
        folder = next((name for name in VIDEOS if (root / name).is_dir()), None)
        if folder is None:
            raise LayoutError(f"{self.name}: `{root}` has no folder `{VIDEOS[0]}/`. {self.how_to_get[-1]}")
        traced: dict[str, dict[int, Chords] | str] = {}
        if options["traced_only"] or find_table(root / TRACINGS) is not None:
            traced = read_tracings(root / TRACINGS)
        else:
            logger.warning("%s: `%s` is not there: no masks", self.name, TRACINGS)
        columns = ("FileName", "EF", "ESV", "EDV", *NUMBERS.values(), "Split")
        listed = set()
        for row in read_csv_rows(root / FILES, required=columns):
            name = row["FileName"].strip().removesuffix(SUFFIX)
            listed.add(name)
            frames = traced.pop(name, {})
            if options["traced_only"] and not frames:
                yield LeftOut(name, "no tracing (`traced_only=True`)")
                continue
            try:
                if isinstance(frames, str):
                    raise SchemaError(frames)
                yield self._record(name, f"{folder}/{name}{SUFFIX}", row, frames)
            except SchemaError as error:
                yield Skipped(name, FILES, str(error), "SchemaError")
        for path in sorted((root / folder).glob(f"*{SUFFIX}")):
            if path.stem not in listed and not is_junk(path.name):
                yield LeftOut(path.stem, f"video without a row in `{FILES}`")
        yield from (LeftOut(name, f"tracing of a video without a row in `{FILES}`") for name in traced)

    def _record(self, name: str, file: str, row: dict[str, str], frames: dict[int, Chords]) -> Record:
        split = row["Split"].strip()
        if split not in SPLITS:
            raise SchemaError(f"`{FILES}`: expected `Split` {', '.join(SPLITS)}, found {split!r}. Restore the table.")
        roles = traced_roles(frames)
        return Record(
            id=name,
            group=name,
            split=SPLITS[split],
            files=(file,),
            targets={target: to_float(row[target.upper()]) for target in ("ef", "esv", "edv")},
            metadata={
                **{key: to_float(row[column]) for key, column in NUMBERS.items()},
                "tracings": [
                    {"frame": frame, "role": roles.get(frame), "n_chords": len(chords), "chords": chords}
                    for frame, chords in frames.items()
                ],
            },
        )

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Decode the frames asked for; the tracings among them become masks, 255 inside the left ventricle."""
        from climb_hf.processing.inputs import DEFAULT_VIDEO_FRAMES, encode_frames
        from climb_hf.readers.masks import encode_mask
        from climb_hf.readers.video import probe_video, read_clip

        path, tracings = root / record.files[0], (record.metadata or {})["tracings"]
        last = probe_video(path, count_frames=True).n_frames - 1 if tracings else 0
        if late := [t["frame"] for t in tracings if t["frame"] > last]:
            logger.warning("%s: tracings of frames %s are taken for the last frame, %d", record.id, late, last)
        at = {min(t["frame"], last): t for t in tracings}
        number = options.num_frames or DEFAULT_VIDEO_FRAMES
        clip = read_clip(path, number, indices=[*at] if options["traced_only"] else None)
        size = clip.frames[0].shape[:2]
        masks = {
            i: encode_mask(chords_mask(at[i]["chords"], size), options.image_size) for i in {*at} & {*clip.indices}
        }
        return {
            "frames": encode_frames(clip.frames, options),
            "fps": clip.fps,
            "masks": [masks.get(i) for i in clip.indices] if tracings else None,
            "frame_labels": [at[i]["role"] if i in at else None for i in clip.indices] if tracings else None,
        }
