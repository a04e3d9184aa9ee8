"""CBIS-DDSM: 3,103 scanned film mammograms of 1,566 patients with masks of every abnormality, by Lee et al., 2017.

Features: 16-bit grey DICOM of 4,000 to 7,000 rows (or the 8-bit JPEG copy of Kaggle), masks and boxes in the pixels of
the original picture. One record per breast, view and split; films of both tables are one record.
Classes: BI-RADS 1 to 5, the highest assessment of the image; rows with 0 (more imaging needed) count only with
`include_birads0=True`. Mask and boxes hold the abnormalities that are in the label.
Splits: the publisher's, which are drawn per table and share 31 patients; the default leaves out their train images.
Licence: CC-BY-3.0. Cite: doi 10.1038/sdata.2017.177 and 10.7937/K9/TCIA.2016.7O02S9CY.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import LayoutError, OptionError
from climb_hf.readers.roi_masks import picture_size, roi_columns
from climb_hf.readers.tables import read_csv_rows, to_int
from climb_hf.readers.tcia import SeriesFolders
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

logger = logging.getLogger(__name__)
NAMES = {"train": "Training", "test": "Test"}
KEY = ("patient_id", "left or right breast", "image view")
PATHS = ("image file path", "cropped image file path", "ROI mask file path")
CELLS = ("abnormality id", "abnormality type", "assessment", "pathology")
FOUND = ("in_label", "roi_files")
SHAPES = ("mass shape", "mass margins", "calc type", "calc distribution")
TREES = ("CBIS-DDSM", "jpeg")
PATHOLOGIES = ("BENIGN_WITHOUT_CALLBACK", "BENIGN", "MALIGNANT")  # ascending


class CbisDdsm(Source):
    """CBIS-DDSM."""

    name = "cbis_ddsm"
    title = "CBIS-DDSM: curated breast imaging subset of the Digital Database for Screening Mammography"
    homepage = "https://www.cancerimagingarchive.net/collection/cbis-ddsm/"
    citation = (
        "@article{lee2017cbisddsm, title={A curated mammography data set for use in computer-aided detection and "
        "diagnosis research}, author={Lee, Rebecca Sawyer and others}, journal={Scientific Data}, volume={4}, "
        "number={170177}, year={2017}, doi={10.1038/sdata.2017.177}}"
    )
    license = "CC-BY-3.0"
    license_note = "Attribution names the paper and the collection (doi 10.7937/K9/TCIA.2016.7O02S9CY)."
    redistributable = True
    access = "open"
    how_to_get = (
        "Download the manifest and the four case description tables from "
        "https://www.cancerimagingarchive.net/collection/cbis-ddsm/; no account is needed.",
        "Open the manifest with the NBIA Data Retriever (163.6 GB) and keep its tree. Or, in 8 bits: "
        "`kaggle datasets download -d awsaf49/cbis-ddsm-breast-cancer-image-dataset` (about 6 GB).",
        "Put the tables beside it, or into a folder `csv/`, and pass the folder that holds both.",
    )
    modality = "Mammography"
    family = "image"
    domains = ("Radiology", "Oncology")
    tasks = ("Diagnostics", "Abnormality Detection", "Classification")
    published_splits = {"train": 2230, "test": 595}
    cautions = (
        "31 patients are in train of one table and test of the other: the default leaves out their 64 train images "
        "(2,166 / 595); `split_by='paper'` keeps them (2,230 / 595) and leaks, 29 images are then in both splits, 13 "
        "of them with different labels, which `duplicate_of` names.",
        "The paper lists six classes, but its counts have none of the 236 images with BI-RADS 0 only; "
        "`include_birads0=True` adds them. BI-RADS 1 has three images.",
        "Masks of another size than their mammogram are resized, which `mask_resized` says.",
    )
    splits = ("official", "paper")
    option_schemes = {"include_birads0": "include_birads0"}
    extra_options = {"include_birads0": False, "window": None, "bit_depth": 8}
    fingerprint_patterns = (
        "*_description_*_set.csv",
        "*/*_description_*_set.csv",
        "*/metadata.csv",
        "*/CBIS*",
        *TREES,
    )
    root_markers = (*(f"{folder}mass_case_description_train_set.csv" for folder in ("", "csv/")), "manifest-*", *TREES)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Join the four tables by patient, breast and view, and their paths to files by Series UID."""
        dicom, jpeg = SeriesFolders(root), SeriesFolders(root, ".jpg")
        if not dicom and (options.window is not None or options.bit_depth != 8):
            raise OptionError(f"{self.name}: `window` and `bit_depth=16` need the DICOM files, found only JPEG.")
        images: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for split, kind in (("train", "mass"), ("train", "calc"), ("test", "mass"), ("test", "calc")):
            for row in self._rows(root, f"{kind}_case_description_{split}_set.csv"):
                parts = [(*row[name].split("/"), "", "", "")[:3] for name in PATHS]
                found = [dicom.find(uid, patient) or jpeg.find(uid) for patient, _, uid in parts]
                row |= {"files": found[0], "roi_files": sorted({*found[1], *found[2]})}
                row["in_label"] = options["include_birads0"] or row["assessment"] != "0"
                images.setdefault((split, *(row[name] for name in KEY)), []).append(row)
        tested = {patient for split, patient, *_ in images if split == "test"}
        if is_paper := options.split_by == "paper":
            logger.warning("%s: `split_by='paper'` leaks. %s", self.name, self.cautions[0])
        for (split, *who), rows in images.items():
            identity = "_".join((NAMES[split], *who))
            original = images.get(("train", *who), []) if split == "test" and is_paper else []
            if not any(row["in_label"] for row in rows):
                yield LeftOut(identity, "BI-RADS 0 only (`include_birads0=False`)")
            elif split == "train" and who[0] in tested and not is_paper:
                yield LeftOut(identity, "train image of a patient who is also in a test table")
            else:
                yield self._record(identity, split, rows, any(row["in_label"] for row in original))
        for folder in dicom.unused() + jpeg.unused():
            yield LeftOut(folder, "series that no case description table lists")

    def _rows(self, root: Path, name: str) -> Iterator[dict[str, Any]]:
        table = next((path for folder in ("", "*/") for path in sorted(root.glob(f"{folder}{name}*"))), root / name)
        if "od_img_path" in next(read_csv_rows(table), {}):
            text = f"expected the present `{name}`, found that of 2017 (column `od_img_path`), whose rows differ."
            raise LayoutError(f"{self.name}: {text} Download it from {self.homepage}.")
        for row in read_csv_rows(table, required=(*KEY, *CELLS, *PATHS)):
            yield {column: cell.strip() for column, cell in row.items()}  # some cells end with a line feed

    def _record(self, identity: str, split: str, rows: list[dict[str, Any]], is_copy: bool) -> Record:
        patient, side, view = (rows[0][name] for name in KEY)
        labelled = [row for row in rows if row["in_label"]]
        pathologies = (row["pathology"] for row in labelled if row["pathology"] in PATHOLOGIES)
        files = next((row["files"] for row in rows if row["files"]), (rows[0][PATHS[0]] or f"{identity}.dcm",))
        density = rows[0].get("breast_density") or rows[0].get("breast density") or ""
        return Record(
            identity,
            patient,
            split,
            raw_labels=tuple(row["assessment"] for row in rows),
            label_values=(max(row["assessment"] for row in labelled),),
            files=files[:1],
            duplicate_of=f"{NAMES['train']}_{patient}_{side}_{view}" if is_copy else None,
            metadata={
                **{"patient_id": patient, "laterality": side.lower(), "density": to_int(density)},
                "pathology": max(pathologies, key=PATHOLOGIES.index, default=None),
                "abnormalities": [_abnormality(row) for row in rows],
            },
            inputs={"view": view},
        )

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return the picture, and merged mask and boxes of its label; content decides which file is a mask."""
        size, entries = picture_size(root / record.files[0]), (record.metadata or {})["abnormalities"]
        return {**super().read(record, root, options), **roi_columns(root, entries, size, options.image_size)}


def _abnormality(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a row says of an abnormality, under the publisher's names with underscores."""
    kept = {name.replace(" ", "_"): row[name] for name in (*CELLS, *SHAPES, "subtlety", *FOUND) if name in row}
    return {name: None if value in ("", "N/A", "NA") else value for name, value in kept.items()}
