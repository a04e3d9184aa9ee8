"""HuGaDB: 364 recordings (version 2) of 18 people walking, sitting, standing, by Chereshnev and Kertész-Farkas, 2017.

Features: six inertial sensors on feet, shins and thighs (accelerometer in g, gyroscope in °/s) and two EMG channels in
counts of 0 to 255, about 58.8 Hz; an activity at every sample (`frame_labels`).
Classes: the four activities of the CLIMB paper that occur in a recording, multi-label; the other eight give no class.
Splits: none published; by participant (14 and 4 of the 18), so nobody is in two splits.
Licence: none stated, so not to be redistributed. Cite: arXiv 1705.08506.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import CorruptFileError, LayoutError
from climb_hf.processing.signal import fit_signal
from climb_hf.readers.folders import files_by_name
from climb_hf.readers.hugadb import (
    ACTIVITIES,
    CHANNELS,
    PARTICIPANTS,
    RATE,
    corrupted_gyroscopes,
    draw_files,
    fit_activity,
    read_activities,
    read_gait,
    runs,
)
from climb_hf.source import LeftOut, Options, Record, Skipped, Source
from climb_hf.splits import stratified_split

logger = logging.getLogger(__name__)
NAME = re.compile(r"(?:HuGaDB|HGD)_v(\d+)_(\w+)_(\d+)_(\d+)\.(?:txt|csv)", re.IGNORECASE)
#: Participants that a public benchmark holds out.
HELD_OUT = (5, 10, 15)
POINTER = b"version https://git-lfs"


class HuGaDb(Source):
    """Human Gait Database."""

    name = "hugadb"
    title = "HuGaDB: Human Gait Database"
    homepage = "https://github.com/romanchereshnev/HuGaDB"
    citation = (
        "@inproceedings{chereshnev2017hugadb, title={{HuGaDB}: Human Gait Database for Activity Recognition from "
        "Wearable Inertial Sensor Networks}, author={Chereshnev, Roman and Kert{\\'e}sz-Farkas, Attila}, "
        "booktitle={Analysis of Images, Social Networks and Texts}, year={2017}, note={arXiv:1705.08506}}"
    )
    license = "LicenseRef-None-Stated"
    license_note = "No licence is stated, so there is no permission to pass copies on."
    redistributable = False
    access = "open"
    how_to_get = (
        "Version 2, which the paper uses: `curl -L -o hugadb_v2.zip "
        "'https://www.dropbox.com/s/406z5oqjlr6fcy9/HuGaDB%20v2.zip?dl=1'` and unzip.",
        "Pass the folder that holds the `HuGaDB_v2_various_*.txt` files, or the one above it.",
    )
    modality = "IMU"
    family = "signal"
    channels = CHANNELS
    domains = ("Physical Medicine", "Rehabilitation")
    tasks = ("Motion Analysis", "Classification")
    published_splits = {"train": 291, "test": 73}
    cautions = (
        "The paper's four classes cover a third of the activities; a recording with none of them has empty labels.",
        "`split_by='random'` (80/20 of the files) has the paper's sizes but shares participants between the splits.",
        "Gyroscopes of most participants were corrupted in version 1 (times ten and clipped): "
        "`metadata['gyro_corrupted_v1']`; whether version 2 kept the numbering is not published.",
        "The EMG is in counts, as its scale is not published; the sampling rate is nominal.",
    )
    splits = ("official", "random", "held_out")
    unavailable_splits = {"paper": "the paper gives the sizes 291 and 73, but neither a list nor a rule or seed."}
    fingerprint_patterns = ("**/H*_v*_*.txt", "**/H*_v*_*.csv")
    root_markers = tuple(f"{name}_v*_*.{kind}" for name in ("HuGaDB", "HGD") for kind in ("txt", "csv"))

    def find_root(self, data_dir: Path) -> Path:
        """Return the folder of the recordings; say so where only a pointer of Git LFS was downloaded."""
        try:
            return super().find_root(data_dir)
        except LayoutError:
            for archive in sorted(data_dir.rglob("*.zip")):
                with archive.open("rb") as stream:
                    if stream.read(len(POINTER)) == POINTER:
                        raise LayoutError(
                            f"{self.name}: `{archive}` is a pointer of Git LFS, not the archive. Run `git lfs pull` "
                            f"in its repository, or get version 2: {self.how_to_get[0]}"
                        ) from None
            raise

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the recordings by file name, with the activities that occur in each."""
        named = [paths[0] for paths in files_by_name(root, (".txt", ".csv")).values()]
        files = [(file, match) for file in sorted(named) if (match := NAME.fullmatch(file.rpartition("/")[2]))]
        newest = max((match[1] for _, match in files), default="")
        kept = [(file, match) for file, match in files if match[1] == newest]
        yield from (LeftOut(file, "version 1 beside version 2") for file, match in files if match[1] != newest)
        split_of = stratified_split({f"{p:02d}": "people" for p in PARTICIPANTS}, self.fractions, options.seed)
        train = set(draw_files([file for file, _ in kept], int(0.8 * len(kept)), options.seed))
        is_official = options.split_by == "official"
        for file, match in kept:
            person, counter, stem = int(match[3]), int(match[4]), file.rpartition("/")[2].rpartition(".")[0]
            weight, height, age, sex = PARTICIPANTS.get(person, (None, None, None, None))
            present = self._activities(root / file)
            is_train = file in train if options.split_by == "random" else person not in HELD_OUT
            yield Record(
                id=stem,
                group=f"{person:02d}",
                split=split_of.get(f"{person:02d}") if is_official else "train" if is_train else "test",
                raw_labels=tuple(str(act) for act in present),
                files=(file,),
                age=age,
                sex=sex,
                metadata={
                    "participant": person, "counter": counter, "version": f"v{match[1]}", "kind": match[2],
                    "weight_kg": weight, "height_cm": height,
                    "gyro_corrupted_v1": corrupted_gyroscopes(match[2], person, counter),
                },
            )  # fmt: skip

    def _activities(self, path: Path) -> list[int]:
        """Ids of the activities in a recording; none where it is damaged, which `read` will say."""
        try:
            return sorted(set(read_activities(path).tolist()) & set(ACTIVITIES))
        except CorruptFileError:
            return []

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Read the 38 channels, the activity of every sample and the stretches of one activity."""
        gait = read_gait(root / record.files[0])
        signal, rate = fit_signal(gait.signal, RATE, options.sampling_rate, options.length)
        activity = fit_activity(gait.activity, len(signal), rate)
        stretches = runs(gait.activity)
        if gait.head.ids and [act for act, _, _ in stretches] != list(gait.head.ids):
            logger.warning("%s: `%s`: the head's activities are not those of the samples", self.name, record.id)
        metadata = {"date": gait.head.date, "segments": stretches, "activities": list(gait.head.activities)}
        return {"signal": signal, "sampling_rate": rate, "frame_labels": activity, "metadata": metadata}
