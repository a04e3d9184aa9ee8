"""HAM10000: 10,015 dermoscopy pictures of 7,470 pigmented lesions, by Tschandl et al., 2018.

Features: RGB JPEG of 600 x 450 px, lesion masks in an archive of their own, age, sex, body site per picture.
Classes: the publisher's seven diagnoses in the CLIMB paper's five: bkl, df and vasc are Other.
Splits: default by lesion (hash), 80/20, as there is no patient id. `paper` reads the CLIMB paper's evaluation list
(`split_file=`); `image` draws per image and class with the paper's sizes and leaks lesions.
Licence: CC-BY-NC-4.0 (Harvard Dataverse). Cite: doi 10.7910/DVN/DBW86T.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import LayoutError
from climb_hf.readers.image_splits import read_evaluation_list, share_per_class
from climb_hf.readers.masks import read_label_mask
from climb_hf.readers.tables import read_csv_rows, to_float
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

logger = logging.getLogger(__name__)
METADATA = ("HAM10000_metadata.csv", "HAM10000_metadata.tab", "HAM10000_metadata")
CHALLENGE = "ISIC2018_Task3_Training_GroundTruth"
TRUTHS = (f"{CHALLENGE}.csv", f"{CHALLENGE}/{CHALLENGE}.csv")
LESIONS = "ISIC2018_Task3_Training_LesionGroupings.csv"
CODES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
MASK = "_segmentation"
N_PUBLISHED = 10015
TRAIN_SHARE = 0.8
Row = dict[str, str]


class Ham10000(Source):
    """HAM10000."""

    name = "ham10000"
    title = "HAM10000: dermoscopy pictures of common pigmented skin lesions"
    homepage = "https://doi.org/10.7910/DVN/DBW86T"
    citation = (
        "@article{tschandl2018ham10000, title={The HAM10000 dataset, a large collection of multi-source dermatoscopic "
        "images of common pigmented skin lesions}, author={Tschandl, Philipp and Rosendahl, Cliff and Kittler, "
        "Harald}, journal={Scientific Data}, volume={5}, number={180161}, year={2018}, doi={10.1038/sdata.2018.161}}"
    )
    license = "CC-BY-NC-4.0"
    license_note = "The owner's licence; a Kaggle copy says CC-BY-NC-SA-4.0."
    redistributable = True
    access = "open"
    how_to_get = (
        "From https://doi.org/10.7910/DVN/DBW86T (no account) fetch `HAM10000_images_part_1.zip`, `..._part_2.zip`, "
        "`HAM10000_metadata` and, for masks, `HAM10000_segmentations_lesion_tschandl.zip`; unzip all in one folder.",
        "Or, without age, sex and site, from https://isic-challenge-data.s3.amazonaws.com/2018/: "
        "`ISIC2018_Task3_Training_Input.zip`, `..._GroundTruth.zip`, `..._LesionGroupings.csv`.",
        "Pass the folder that holds the tables; pictures and masks are found below it by their names.",
    )
    modality = "Dermoscopy"
    family = "image"
    domains = ("Dermatology", "Oncology")
    tasks = ("Diagnostics", "Segmentation")
    published_splits = {"train": 8012, "test": 2003}
    cautions = (
        "4,501 pictures share their lesion with another one: `split_by` `paper` and `image` show lesions in both "
        "parts. No patient id is published.",
        "53 % of the diagnoses rest on histology, others on follow-up, consensus or confocal microscopy.",
        "The same pictures are in ISIC 2019's training data, under the same ids.",
    )
    splits = ("official", "paper", "image")
    fingerprint_patterns = (*METADATA, *TRUTHS, LESIONS, "**/ISIC_*.jpg", f"**/ISIC_*{MASK}.png")
    root_markers = (*METADATA, *TRUTHS)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Join the tables, pictures and masks by image id, in the order of the table."""
        pictures, masks = self._files(root, ".jpg"), self._files(root, f"{MASK}.png")
        rows = self._rows(root)
        train = self._train(rows, options)
        listed = {row["image_id"] for row in rows}
        for row in rows:
            name = row["image_id"]
            picture = pictures.get(name, f"{name}.jpg")
            if not row["dx"]:
                yield LeftOut(name, "row without a diagnosis")
            elif not row["lesion_id"]:
                yield Skipped(name, picture, f"no `lesion_id` for `{name}`; restore the table.", "SchemaError")
            else:
                split = None if train is None else "train" if name in train else "test"
                yield self._record(row, split, [picture, *([masks[name]] if name in masks else [])])
        for name in sorted(pictures.keys() - listed):
            yield LeftOut(pictures[name], "picture without a row in the tables")

    @staticmethod
    def _files(root: Path, ending: str) -> dict[str, str]:
        """Return image id -> file below the root; of several copies the first one by path."""
        paths = sorted(root.rglob(f"ISIC_*{ending}"), reverse=True)
        return {path.name.removesuffix(ending): path.relative_to(root).as_posix() for path in paths}

    @staticmethod
    def _record(row: Row, split: str | None, files: list[str]) -> Record:
        sex, kept = row.get("sex", "").lower(), ("lesion_id", "dx_type", "localization", "dataset")
        return Record(
            id=row["image_id"],
            group=row["lesion_id"],
            split=split,
            raw_labels=(row["dx"],),
            files=tuple(files),
            age=to_float(row.get("age", "")),
            sex=None if sex in ("", "unknown") else sex,
            metadata={"dx": row["dx"].lower(), **{key: row[key] or None for key in kept if key in row}},
        )

    def _rows(self, root: Path) -> list[Row]:
        """Return the rows of `HAM10000_metadata`, or the same from the challenge's two tables."""
        table = next((root / name for name in METADATA if (root / name).is_file()), None)
        if table is not None:
            with table.open(encoding="utf-8-sig", errors="replace") as stream:
                delimiter = "\t" if "\t" in stream.readline() else ","
            rows = list(read_csv_rows(table, required=("lesion_id", "image_id", "dx"), delimiter=delimiter))
            if len(rows) > N_PUBLISHED:
                logger.warning("%s: `%s` has %d rows, published: %d", self.name, table.name, len(rows), N_PUBLISHED)
            return rows
        if not (root / LESIONS).is_file():
            raise LayoutError(
                f"{self.name}: expected `HAM10000_metadata.csv` or `{LESIONS}` beside the challenge's table, found "
                f"neither in `{root}`. Without lesion ids pictures of one lesion would stand in both parts; fetch "
                f"https://isic-challenge-data.s3.amazonaws.com/2018/{LESIONS}."
            )
        lesions = {row["image"]: row for row in read_csv_rows(root / LESIONS, required=("image", "lesion_id"))}
        truth = next(root / name for name in TRUTHS if (root / name).is_file())
        rows = []
        for row in read_csv_rows(truth, required=("image", *CODES)):
            lesion = lesions.get(row["image"], {})
            positive = [code for code in CODES if (to_float(row[code]) or 0) > 0]
            rows.append({"image_id": row["image"], "dx": " and ".join(positive)})
            rows[-1] |= {"lesion_id": lesion.get("lesion_id", ""), "dx_type": lesion.get("diagnosis_confirm_type", "")}
        return rows

    def _train(self, rows: list[Row], options: Options) -> frozenset[str] | None:
        """Return the train images of the split per image that was asked for."""
        vocabulary = self.vocabulary()
        classes = {r["image_id"]: vocabulary.class_of(r["dx"]) or "" for r in rows if vocabulary.knows(r["dx"])}
        if options.split_by == "paper":
            where = "`annotation_valid.jsonl`, named by the CLIMB repository's `src/datasets/derm/HAM10000.py`."
            listed = read_evaluation_list(options.split_file, source=self.name, known=classes, where=where)
            return frozenset(classes.keys() - listed)
        return share_per_class(classes, TRAIN_SHARE, options.seed) if options.split_by == "image" else None

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return the picture and, where there is one, the mask of the lesion, resized as the picture is."""
        columns = super().read(record, root, options)
        if len(record.files) > 1:
            columns["mask"] = read_label_mask(root / record.files[1], options.image_size)
        return columns
