"""SICAPv2: 12,081 patches of prostate biopsies, benign or Gleason grade 3 to 5, by Silva-Rodríguez et al., 2020.

Features: RGB JPEG of 512 x 512 px at 10x, neighbours overlap by half; masks with the codes 0 (non-cancerous) and 1 to
3 (grades 3 to 5). Classes: the grade of most of the mask; benign patches come from slides without cancer.
Splits: the publisher's, by patient, 9,959 of 124 slides and 2,122 of 31; `val1` to `val4` are its folds of the train
part. `cribriform` tells the patches with that pattern among grade 4.
Licence: CC-BY-4.0. Cite: doi 10.1016/j.cmpb.2020.105637.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import SchemaError
from climb_hf.readers.masks import read_label_mask
from climb_hf.readers.tables import is_junk, to_int
from climb_hf.readers.xlsx import read_sheet_rows
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

logger = logging.getLogger(__name__)

GRADES = ("NC", "G3", "G4", "G5")
NAME = re.compile(
    r"(?P<slide>[^_]+)_Block_Region_(?P<region>\d+)_(?P<tile_y>\d+)_(?P<tile_x>\d+)_xini_(?P<xini>\d+)_yini_(?P<yini>\d+)"
)
FOLDS = ("val1", "val2", "val3", "val4")
SLIDES = "wsi_labels.xlsx"


class Sicapv2(Source):
    """SICAPv2."""

    name = "sicapv2"
    title = "SICAPv2: prostate patches with Gleason grades"
    homepage = "https://data.mendeley.com/datasets/9xxm58dvs3"
    citation = (
        "@article{silva2020sicap, title={Going deeper through the {G}leason scoring scale: An automatic end-to-end "
        "system for histology prostate grading and cribriform pattern detection}, author={Silva-Rodr{\\'i}guez, Julio "
        "and Colomer, Adri{\\'a}n and Sales, Mar{\\'i}a A. and Molina, Rafael and Naranjo, Valery}, journal={Computer "
        "Methods and Programs in Biomedicine}, volume={195}, pages={105637}, year={2020}, "
        "doi={10.1016/j.cmpb.2020.105637}}"
    )
    license = "CC-BY-4.0"
    license_note = "Check the page of the version you download."
    redistributable = True
    access = "open"
    how_to_get = (
        "Download `SICAPv2.zip` from https://data.mendeley.com/datasets/9xxm58dvs3 (no account needed).",
        "Unzip it and pass the folder that holds `images/` and `partition/`. Re-releases with normalised colours are "
        "other data sets.",
    )
    modality = "Tissues"
    family = "image"
    domains = ("Pathology", "Oncology")
    tasks = ("Classification", "Segmentation")
    published_splits = {"train": 9959, "test": 2122}
    cautions = (
        "Neighbouring patches overlap by half: never split this source patch by patch.",
        "`group` is the patient where `wsi_labels.xlsx` is there, else the slide; a patient may have several.",
        "6,702 of the 18,783 pictures are in no partition and have no label.",
        "The zero-shot names describe patterns of grades 3 to 5 and are not what a pathologist would call them.",
    )
    benchmark = "openpmc"
    zero_shot_names = (
        "benign glands", "atrophic dense glands", "cribriform ill-formed fused papillary patterns",
        "isolated nest cells without lumen roseting patterns",
    )  # fmt: skip
    splits = ("official", *FOLDS)
    fingerprint_patterns = ("partition/**/*.*", SLIDES, "wsi_labels.csv*", "images/*.jpg", "masks/*.*")
    root_markers = ("partition/Test",)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Read the workbooks of the partition; slides give patients, names the rest."""
        parts = {"train": "Test/Train", "test": "Test/Test"}
        if options.split_by in FOLDS:
            fold = options.split_by.capitalize()
            parts |= {"train": f"Validation/{fold}/Train", "validation": f"Validation/{fold}/Test"}
        slides = self._slides(root)
        rows = [
            (split, row)
            for split, table in parts.items()
            for row in read_sheet_rows(root / f"partition/{table}.xlsx", required=("image_name", *GRADES))
        ]
        masks = {path.stem: path.name for path in sorted(root.glob("masks/*.*")) if not is_junk(path.name)}
        parts_of: defaultdict[str, set[str]] = defaultdict(set)
        for split, row in rows:
            parts_of[slides.get(row["image_name"].split("_")[0], {}).get("patient") or ""].add(split)
        torn = {patient for patient, found in parts_of.items() if patient and len(found) > 1}
        if torn:
            logger.warning("%s: %d patients are in several parts; their slides are the groups", self.name, len(torn))
        for split, row in rows:
            yield self._record(row["image_name"].strip(), row, split, slides, masks, torn)
        listed = {row["image_name"].strip() for _, row in rows}
        for path in sorted(root.glob("images/*.jpg")):
            if path.name not in listed and not is_junk(path.name):
                yield LeftOut(path.name, "picture that is in no table of the partition")

    def _record(
        self,
        name: str,
        row: dict[str, str],
        split: str,
        slides: dict[str, dict[str, Any]],
        masks: dict[str, str],
        torn: set[str],
    ) -> Record | Skipped:
        stem = name.rpartition(".")[0]
        match = NAME.fullmatch(stem)
        grades = [grade for grade in GRADES if to_int(row[grade])]
        if match is None or len(grades) != 1:
            reason = f"{self.name}: expected a name of slide, region and place with one of {GRADES}, found {grades}."
            return Skipped(stem, f"images/{name}", reason, "SchemaError")
        about: dict[str, Any] = match.groupdict()
        about |= {key: int(value) for key, value in about.items() if key != "slide"}
        slide = slides.get(about["slide"], {})
        patient = slide.get("patient")
        mask = (f"masks/{masks[stem]}",) if stem in masks else ()
        cribriform = to_int(row.get("G4C", ""))
        return Record(
            id=name,
            group=patient if patient and patient not in torn else about["slide"],
            split=split,
            raw_labels=(grades[0],),
            files=(f"images/{name}", *mask),
            metadata={**about, "cribriform": None if cribriform is None else bool(cribriform), **slide},
        )

    def _slides(self, root: Path) -> dict[str, dict[str, Any]]:
        """Return what the table of slides says, by slide; nothing where it is absent."""
        if not (root / SLIDES).is_file() and not (root / SLIDES).with_suffix(".csv").is_file():
            return {}
        found: dict[str, dict[str, Any]] = {}
        for row in read_sheet_rows(root / SLIDES, required=("slide_id",)):
            if row["slide_id"].strip() in found:
                raise SchemaError(f"{self.name}: `{SLIDES}` lists the slide `{row['slide_id']}` twice; restore it.")
            found[row["slide_id"].strip()] = {
                "patient": row.get("patient_id", "").strip() or None,
                "gleason_primary": to_int(row.get("Gleason_primary", "")),
                "gleason_secondary": to_int(row.get("Gleason_secondary", "")),
            }
        return found

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return the patch with its mask of codes."""
        mask = read_label_mask(root / record.files[1], options.image_size) if len(record.files) > 1 else None
        return {**super().read(record, root, options), "mask": mask}
