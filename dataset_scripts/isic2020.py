"""ISIC 2020: 33,126 dermoscopy pictures of 2,056 patients, 584 of them malignant, by ISDIS (Rotemberg et al., 2021).

Features: RGB JPEG of mixed size, or the same as DICOM; one table with patient, sex, age, body site and diagnosis.
Classes: Malignant, Benign, from `benign_malignant`; every malignant lesion is a melanoma.
Splits: the challenge's test labels were never released; default by patient (hash), 80/20. `paper` reads the CLIMB
paper's evaluation list (`split_file=`); `image` draws per image and class with the paper's sizes and leaks patients.
Licence: CC-BY-NC-4.0. Cite: doi 10.34970/2020-ds01.
"""

from collections.abc import Iterator
from pathlib import Path

from climb_hf.errors import LayoutError
from climb_hf.readers.duplicates import first_copies
from climb_hf.readers.image_splits import read_evaluation_list, share_per_class
from climb_hf.readers.tables import read_csv_rows, to_float
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

TABLES = ("ISIC_2020_Training_GroundTruth_v2.csv", "ISIC_2020_Training_GroundTruth.csv", "train.csv")
DUPLICATES = "ISIC_2020_Training_Duplicates.csv"
#: Where the pictures lie: official archive, BenchMD, Kaggle, archives unpacked into a folder of their own.
FOLDERS = ("train", "ISIC_2020_Training", "jpeg/train", *(f"ISIC_2020_Training_{k}/train" for k in ("JPEG", "Dicom")))
SUFFIXES = (".jpg", ".dcm")
REQUIRED = ("image_name", "patient_id", "sex", "age_approx", "benign_malignant")
KEPT = ("patient_id", "lesion_id", "anatom_site_general_challenge", "diagnosis")
TARGETS = {"benign": "0", "malignant": "1"}
TRAIN_SHARE = 0.8


class Isic2020(Source):
    """ISIC 2020."""

    name = "isic2020"
    title = "ISIC 2020: dermoscopy pictures for melanoma classification"
    homepage = "https://challenge2020.isic-archive.com/"
    citation = (
        "@article{rotemberg2021isic2020, title={A patient-centric dataset of images and metadata for identifying "
        "melanomas using clinical context}, author={Rotemberg, Veronica and others}, journal={Scientific Data}, "
        "volume={8}, number={34}, year={2021}, doi={10.1038/s41597-021-00815-z}}"
    )
    license = "CC-BY-NC-4.0"
    license_note = (
        "Attribution: The ISIC 2020 Challenge Dataset https://doi.org/10.34970/2020-ds01 (c) by ISDIS, 2020, and the "
        "six institutions it names. The Kaggle copy comes under competition rules instead."
    )
    redistributable = True
    access = "open"
    how_to_get = (
        "From https://isic-challenge-data.s3.amazonaws.com/2020/ (no account) fetch `ISIC_2020_Training_JPEG.zip` "
        "(23 GB), `ISIC_2020_Training_GroundTruth_v2.csv` and `ISIC_2020_Training_Duplicates.csv`.",
        "Unzip the pictures, which gives `train/`, and pass the folder that holds `train/` and the tables.",
        "For `split_by='paper'`, fetch the CLIMB paper's `annotation_valid.jsonl` and pass it as `split_file=`.",
    )
    modality = "Dermoscopy"
    family = "image"
    domains = ("Dermatology", "Oncology")
    tasks = ("Diagnostics", "Classification")
    published_splits = {"train": 26501, "test": 6625}
    cautions = (
        "584 of 33,126 pictures (1.8 %) are malignant: accuracy says nothing, and small samples must be stratified.",
        "`split_by` `paper` and `image` are drawn per image: patients, and copies of one lesion, are in both parts.",
        "The publisher lists 425 near-copies; all are kept, as in the paper, and `duplicate_of` names the first one "
        "(without that list, of byte-identical files only).",
        "27,124 diagnoses are `unknown`: benign there rests on no histology. `melanoma` in it gives the label.",
        "Image ids are those of the ISIC archive: pictures of HAM10000 and ISIC 2018/2019 share the name space.",
    )
    splits = ("official", "paper", "image")
    fingerprint_patterns = (*TABLES, DUPLICATES, *(f"{folder}/ISIC_*" for folder in FOLDERS))
    root_markers = TABLES

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Join table and pictures by image name, in the order of the table."""
        table = next(root / name for name in TABLES if (root / name).is_file())
        rows = list(read_csv_rows(table, required=REQUIRED))
        folders = [folder for folder in FOLDERS if (root / folder).is_dir()]
        if not folders:
            raise LayoutError(
                f"{self.name}: `{table.name}` is there, but none of the picture folders {list(FOLDERS)} in `{root}`. "
                "Unzip `ISIC_2020_Training_JPEG.zip` beside the table."
            )
        found = self._pictures(root, folders)
        files = {row["image_name"]: f"{folders[0]}/{row['image_name']}{SUFFIXES[0]}" for row in rows}
        files |= {name: file for name, file in found.items() if name in files}
        copies, train = self._copies(root, files), self._train(rows, options)
        for row in rows:
            name, label = row["image_name"], row["benign_malignant"].lower()
            if not label:
                yield LeftOut(name, "row without `benign_malignant`")
            elif row.get("target", "").removesuffix(".0") not in ("", TARGETS.get(label)):
                reason = f"`{table.name}` says {label!r}, but `target` {row['target']!r}. Restore the table."
                yield Skipped(name, table.name, reason, "LabelError")
            else:
                split = None if train is None else "train" if name in train else "test"
                yield self._record(row, label, split, files[name], copies.get(name))
        for name in sorted(found.keys() - files.keys()):
            yield LeftOut(found[name], f"picture without a row in `{table.name}`")

    @staticmethod
    def _record(row: dict[str, str], label: str, split: str | None, file: str, copy_of: str | None) -> Record:
        return Record(
            id=row["image_name"],
            group=row["patient_id"] or row["image_name"],
            split=split,
            raw_labels=(label,),
            files=(file,),
            age=to_float(row["age_approx"]),
            sex=row["sex"].lower() or None,
            duplicate_of=copy_of,
            metadata={key: row[key] or None for key in KEPT if key in row},
        )

    @staticmethod
    def _pictures(root: Path, folders: list[str]) -> dict[str, str]:
        """Return image name -> file; JPEG goes before DICOM, an earlier folder before a later one."""
        found: dict[tuple[str, str], str] = {}
        for folder in folders:
            for path in sorted((root / folder).glob("ISIC_*")):
                found.setdefault((path.suffix.lower(), path.stem), f"{folder}/{path.name}")
        return {stem: found[suffix, stem] for kind in reversed(SUFFIXES) for suffix, stem in found if suffix == kind}

    def _copies(self, root: Path, files: dict[str, str]) -> dict[str, str]:
        """Return later copy -> first copy, from the publisher's list or, without it, of byte-identical files."""
        if not (root / DUPLICATES).is_file():
            names = {file: name for name, file in files.items()}
            return {names[copy]: names[first] for copy, first in first_copies(root, list(names)).items()}
        copies: dict[str, str] = {}
        for row in read_csv_rows(root / DUPLICATES, required=("image_name_1", "image_name_2")):
            first, copy = (Path(row[column]).stem for column in ("image_name_1", "image_name_2"))
            first = copies.get(first, first)
            if first in files and first != copy:
                copies.setdefault(copy, first)
        return {copy: copies.get(first, first) for copy, first in copies.items()}

    def _train(self, rows: list[dict[str, str]], options: Options) -> frozenset[str] | None:
        """Return the train images of the split per image that was asked for."""
        labels = {row["image_name"]: row["benign_malignant"].lower() for row in rows}
        if options.split_by == "paper":
            where = "`annotation_valid.jsonl`, Google Drive id 1iNIBJIMllPvA1b-pSQ63PmZDcPgGmJrh (CLIMB's repository)."
            listed = read_evaluation_list(options.split_file, source=self.name, known=labels, where=where)
            return frozenset(labels.keys() - listed)
        return share_per_class(labels, TRAIN_SHARE, options.seed) if options.split_by == "image" else None
