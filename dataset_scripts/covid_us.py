"""COVIDx-US: 242 lung ultrasound videos of nine public sources, collected by Ebadi et al., 2022 (COVID-US).

Features: MP4 (default) or, with `formats="all"`, also GIF, WMV, MOV and AVI; sizes, rates and overlays differ.
Classes: COVID-19, pneumonia, normal; videos of the class `Other` only with `labels="raw"`. Target: `luss`, the
severity score 0 to 3. Age and sex where a source tells them.
Splits: none published; default by patient of the label table, stratified by class, 75/25.
Licence: tables AGPL-3.0-or-later; every source of videos has terms of its own.
"""

import logging
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from climb_hf.errors import OptionError
from climb_hf.readers.covidx_us import LABELS, NAME, VIDEOS, read_covidx_tables
from climb_hf.readers.folders import files_by_name
from climb_hf.source import LeftOut, Options, Record, Skipped, Source
from climb_hf.splits import stratified_split

logger = logging.getLogger(__name__)

SUFFIXES = (".mp4", ".gif", ".mov", ".avi", ".wmv")
#: Withdrawn by Butterfly in March 2021.
WITHDRAWN = "22_butterfly_covid"


class CovidUs(Source):
    """COVIDx-US."""

    name = "covid_us"
    title = "COVIDx-US: lung ultrasound videos"
    homepage = "https://github.com/nrc-cnrc/COVID-US"
    citation = (
        "@article{ebadi2022covidxus, title={COVIDx-US: An open-access benchmark dataset of ultrasound imaging data "
        "for AI-driven COVID-19 analytics}, author={Ebadi, Ashkan and others}, journal={Frontiers in Bioscience-"
        "Landmark}, volume={27}, number={7}, pages={198}, year={2022}, doi={10.31083/j.fbl2707198}}"
    )
    license = "LicenseRef-COVIDx-US-per-source"
    license_note = (
        "AGPL-3.0-or-later covers the repository's code and tables only. Videos: CC-BY-NC-4.0 (PocusAtlas), "
        "CC-BY-NC-SA-4.0 (LITFL), CC-BY-NC-SA-3.0 (Radiopaedia), CC-BY-4.0 (papers), none stated for the others; "
        "they are not passed on."
    )
    redistributable = False
    access = "open"
    how_to_get = (
        "`git clone https://github.com/nrc-cnrc/COVID-US` (tables and code, no videos).",
        "Run its `create_COVIDxUS.ipynb`, which fetches the videos from their sources; some are no longer there.",
        "Pass the folder with `labels/` and `utils/`; the videos may lie in any folder below it.",
    )
    modality = "Ultrasound"
    family = "frames"
    domains = ("Radiology",)
    tasks = ("Diagnostics", "Severity Grading")
    published_splits = {"train": 74, "test": 25}
    cautions = (
        "Sources differ in probe, overlay and class mix: a model can tell the class by the source.",
        f"Without `{LABELS}` the patients are unknown: every video is then a group of its own and one patient's "
        "videos may stand in both splits.",
        "A few clips are no lungs (`type` in `metadata`).",
    )
    unavailable_splits = {
        "paper": "its 74 / 25 videos were drawn from an unsorted listing of files, and one of them was lost.",
    }
    fractions = {"train": 0.75, "test": 0.25}
    extra_options = {"formats": "mp4"}
    fingerprint_patterns = (
        "labels/*.csv", "utils/*.csv", "labels/*.xlsx", "[0-9]*_*_*.*", "videos", "videos/*", "data/video/**/*",
    )  # fmt: skip
    root_markers = (VIDEOS, LABELS, "videos/[0-9]*_*_*.mp4", "[0-9]*_*_*.mp4")

    def check_options(self, options: Options) -> None:
        """Refuse other values of `formats`."""
        super().check_options(options)
        if options["formats"] not in ("mp4", "all"):
            raise OptionError(f"{self.name}: `formats` must be 'mp4' or 'all', got {options['formats']!r}.")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the videos below the root by number and join them with the tables by id."""
        rows = read_covidx_tables(root)
        has_patients = any(row["patient"] for row in rows.values())
        if not has_patients:
            logger.warning("%s: `%s` is not there: the split is by video, not by patient", self.name, LABELS)
        files: dict[str, str] = {}
        for name, paths in files_by_name(root, SUFFIXES).items():
            if NAME.fullmatch(stem := PurePosixPath(name).stem):
                files.setdefault(stem, paths[0])
                yield from (LeftOut(path, "another file of one video") for path in paths if path != files[stem])
        splits = self._splits(rows, options.seed)
        for video in sorted(files.keys() | rows.keys(), key=lambda name: (int(name.split("_")[0]), name)):
            row, file, word = rows.get(video, {}), files.get(video, ""), video.rsplit("_", 1)[-1]
            if video == WITHDRAWN:
                yield LeftOut(video, "withdrawn by its source")
            elif word == "other" and options.labels != "raw":
                yield LeftOut(video, "video of the class `Other`")
            elif not file:
                yield LeftOut(video, "video that the tables list and that is not there")
            elif options["formats"] == "mp4" and not file.lower().endswith(".mp4"):
                yield LeftOut(video, "no MP4 (`formats='all'` takes it)")
            elif has_patients and not row.get("patient"):
                yield LeftOut(video, f"video without a patient in `{LABELS}`")
            elif row and row["fault"]:
                yield Skipped(video, file, row["fault"], "SchemaError")
            else:
                group = row.get("patient") or video
                yield self._record(video, file, row or {"class": word}, group, splits.get(group))

    def _splits(self, rows: dict[str, dict[str, Any]], seed: int) -> dict[str, str]:
        """Return patient -> split, over all patients of the label table with a video of a class."""
        classes: dict[str, set[str]] = {}
        for video, row in rows.items():
            if row["patient"] and row["class"] != "Other" and video != WITHDRAWN:
                classes.setdefault(row["patient"], set()).add(row["class"])
        strata = {patient: "+".join(sorted(kinds)) for patient, kinds in classes.items()}
        return stratified_split(strata, self.fractions, seed) if strata else {}

    @staticmethod
    def _record(video: str, file: str, row: dict[str, Any], group: str, split: str | None) -> Record:
        luss = row.get("luss")
        return Record(
            id=video,
            group=group,
            split=split,
            raw_labels=(row["class"],),
            files=(file,),
            age=row.get("age"),
            sex=row.get("sex"),
            targets=None if luss is None else {"luss": luss},
            metadata={"file": file, **row.get("metadata", {})},
        )
