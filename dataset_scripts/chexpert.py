"""CheXpert: 224,316 frontal and lateral chest X-rays of 65,240 patients with 14 labels, by Irvin et al., 2019.

Features: grey JPEG, full size or down-scaled; sex, age, view. Collected at Stanford Hospital, 2002 to 2017.
Classes: 14, drawn from the reports by a labeler (train: 1, 0, -1, blank) or stated by radiologists (valid, test).
Only 1 is positive; -1 goes to `uncertain`; 0 and blank count as negative.
Splits: `train.csv` as train, `valid.csv` as validation, the later released test set as test where it is there;
`split_by="paper"`: train and, as test, valid, each without the images that have no positive label.
Licence: Stanford University Dataset Research Use Agreement. Cite: doi 10.1609/aaai.v33i01.3301590.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from climb_hf.errors import LayoutError
from climb_hf.readers.findings import Findings, read_findings
from climb_hf.readers.patient_folders import subfolders, unlisted_files
from climb_hf.readers.tables import find_table, to_float
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

#: Folder of the pictures -> split, and the names its table may have.
SPLITS = {"train": "train", "valid": "validation", "test": "test"}
TABLES = {"train": ("train.csv",), "valid": ("valid.csv",), "test": ("test_labels.csv", "test.csv")}
#: Folders of the full-size download; those of train hold the patients without a `train/` level.
BATCHES = "CheXpert-v1.0 batch *"
TRAIN_BATCH = "(train"
PATH = re.compile(r"(?:.*/)?(patient\d+)/(study\d+)/(view\d+_(frontal|lateral)\.jpe?g)", re.IGNORECASE)
SEX = {"Female": "female", "Male": "male"}
PLUS = "df_chexpert_plus*.csv"
RULE_NO_POSITIVE = "image without a positive label (paper split)"


class Chexpert(Source):
    """CheXpert."""

    name = "chexpert"
    title = "CheXpert: chest X-rays with uncertain labels"
    homepage = "https://stanfordaimi.azurewebsites.net/datasets/8cbd9ed4-2eb9-4565-affc-111cf4f7ebe2"
    citation = (
        "@inproceedings{irvin2019chexpert, title={CheXpert: A large chest radiograph dataset with uncertainty labels "
        "and expert comparison}, author={Irvin, Jeremy and Rajpurkar, Pranav and others}, booktitle={AAAI}, "
        "year={2019}, doi={10.1609/aaai.v33i01.3301590}}"
    )
    license = "LicenseRef-Stanford-University-Dataset-Research-Use-Agreement"
    license_note = "Non-commercial research only; neither images nor labels may be passed on."
    redistributable = False
    access = "registration"
    how_to_get = (
        "Register at https://stanfordaimi.azurewebsites.net/ and accept the agreement of `CheXpert`.",
        "Download the four batches (about 440 GB), or the down-scaled `CheXpert-v1.0-small.zip` (11 GB); unzip them.",
        "Optional test set: from the download of `CheXlocalize` copy `CheXpert/test/` and `CheXpert/test_labels.csv`.",
        "Pass the folder that holds `train.csv` and `valid.csv`, or the one that holds the four batch folders.",
    )
    modality = "Chest X-ray"
    family = "image"
    domains = ("Radiology",)
    tasks = ("Diagnostics", "Classification")
    published_splits = {"train": 223414, "validation": 234, "test": 668}
    cautions = (
        "Train labels are a labeler's reading of the reports, those of valid and test a consensus of radiologists.",
        "Without the test set, a download of its own, the default has no `test`; the paper tests on `valid.csv`.",
        "`valid.csv` has next to no positives of several classes (fracture, lung lesion, pleural other): their AUC is "
        "undefined or rests on one or two images.",
        "Ages are cut at 90; labels belong to the study, so all its views carry them whether visible there or not.",
    )
    splits = ("official", "paper")
    fingerprint_patterns = ("*.csv", f"{BATCHES}/*.csv", "train", "valid", "test", BATCHES)
    root_markers = ("train.csv", "valid.csv", BATCHES, PLUS)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Read the tables in the order train, valid, test and find each patient's folder by listing, not by asking.

        Pictures no table lists are counted, for which every folder is walked; `verify="none"` saves that.
        """
        if next(root.glob(PLUS), None) and not self._table(root, "train"):
            raise LayoutError(
                f"{self.name}: `{root}` holds CheXpert Plus, another release (PNG or DICOM, other tables). "
                f"{self.how_to_get[0]} {self.how_to_get[1]}"
            )
        for folder in SPLITS:
            table, patients = self._table(root, folder), subfolders(root, self._places(root, folder), "patient")
            if table is not None:
                yield from self._rows(root, folder, table, patients, options)
            elif patients and folder != "test":
                raise LayoutError(
                    f"{self.name}: found {len(patients)} patients of `{folder}` but not `{TABLES[folder][0]}`, which "
                    f"holds their labels. Download it from {self.homepage} into `{root}`."
                )

    def _table(self, root: Path, folder: str) -> Path | None:
        places = (root, *sorted(root.glob(BATCHES)))
        found = (find_table(place / name) for place in places for name in TABLES[folder])
        return next((table for table in found if table), None)

    @staticmethod
    def _places(root: Path, folder: str) -> list[str]:
        batches = sorted(path.name for path in root.glob(BATCHES))
        own = [name for name in batches if folder == "train" and TRAIN_BATCH in name]
        return [folder, *(f"{name}/{folder}" for name in batches), *own]

    def _rows(
        self, root: Path, folder: str, table: Path, patients: dict[str, str], options: Options
    ) -> Iterator[Record | Skipped | LeftOut]:
        is_paper, listed = options.split_by == "paper", set()
        for row, found in read_findings(table, self.vocabulary(), required=("Path",)):
            match = PATH.fullmatch(row["Path"].replace("\\", "/"))
            if match is None:
                reason = f"expected a path such as `…/patient00001/study1/view1_frontal.jpg`, found {row['Path']!r}"
                yield Skipped(row["Path"], table.name, f"{self.name}: {reason}", "SchemaError")
                continue
            record = self._record(folder, match, row, found, patients.get(match[1], folder))
            listed.add(record.files[0])
            if match[1] not in patients:
                yield LeftOut(record.id, f"patient of `{table.name}` whose folder is not there (partial download)")
            elif is_paper and folder == "test":
                yield LeftOut(record.id, "image of the test set, which the paper does not use")
            elif is_paper and not found.positive:
                yield LeftOut(record.id, RULE_NO_POSITIVE)
            else:
                record.split = "test" if is_paper and folder == "valid" else SPLITS[folder]
                yield record
        if options.verify != "none":
            holders = [f"{holder}/{patient}" for patient, holder in patients.items()]
            for name in unlisted_files(root, holders, ".jpg", listed):
                yield LeftOut(name, f"picture without a row in `{table.name}`")

    @staticmethod
    def _record(folder: str, match: re.Match[str], row: dict[str, str], found: Findings, holder: str) -> Record:
        patient, study, file, stated_plane = match.groups()
        plane = (row.get("Frontal/Lateral") or stated_plane).lower()  # the test set's table has no such column
        return Record(
            id=f"{folder}/{patient}/{study}/{file}",
            group=patient,
            raw_labels=found.positive,
            uncertain=found.uncertain,
            files=(f"{holder}/{patient}/{study}/{file}",),
            age=to_float(row.get("Age", ""), strict=False) or None,  # 0 stands for missing
            sex=SEX.get(row.get("Sex", "")),
            metadata={"study_id": f"{patient}/{study}", "plane": plane, "stated": found.values},
            inputs={"view": row.get("AP/PA") or ("LATERAL" if plane == "lateral" else None)},
        )
