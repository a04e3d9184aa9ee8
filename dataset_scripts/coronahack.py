"""CoronaHack: 5,908 chest X-rays, normal, bacterial or viral pneumonia, compiled for Kaggle by Praveen Govi, 2020.

Features: frontal films as 8-bit JPEG; 5,840 of children aged 1 to 5 (Guangzhou, Kermany et al., 2018), 70 collected
from publications (Cohen et al., 2020), among them PNG with alpha and a few lateral views. No age, sex or view.
Classes: three; COVID-19 and SARS count as viral, Streptococcus as bacterial, the two ARDS rows have none and are left
out; `labels="raw"` keeps the publisher's seven combinations, ARDS included.
Splits: the publisher's `Dataset_type`, 5,284 train and 624 test. Licence: CC-BY-4.0 for the Guangzhou films.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from climb_hf.readers.duplicates import first_copies
from climb_hf.readers.tables import is_junk, read_csv_rows
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

TABLE = "Chest_xray_Corona_Metadata.csv"
PICTURES = "Coronahack-Chest-XRay-Dataset"
LEVELS = ("Label", "Label_1_Virus_category", "Label_2_Virus_category")
SPLITS = {"TRAIN": "train", "TEST": "test"}
#: One group key per pattern of the Guangzhou names; N alone is no key, both kinds and the test set count from 1.
GUANGZHOU = re.compile(r"(person\d+_(?:bacteria|virus))_|((?:NORMAL\d+-)?IM-\d+)-")
#: Rows that later copies of the table appended; the publisher's table has no such name.
APPENDED = re.compile(r"COVID19_\d+\.jpg")


class CoronaHack(Source):
    """CoronaHack chest X-rays."""

    name = "coronahack"
    title = "CoronaHack chest X-ray dataset"
    homepage = "https://www.kaggle.com/datasets/praveengovi/coronahack-chest-xraydataset"
    citation = (
        "@misc{cohen2020covid, title={COVID-19 Image Data Collection}, author={Cohen, Joseph Paul and Morrison, Paul "
        "and Dao, Lan}, year={2020}, note={arXiv:2003.11597; most films: Kermany et al., Labeled Optical Coherence "
        "Tomography and Chest X-Ray Images, 2018, doi 10.17632/rscbjbr9sj}}"
    )
    license = "CC-BY-4.0"
    license_note = (
        "CC-BY-4.0 covers the Guangzhou films; the 70 others (`origin` = `collected` in `metadata`) carry a licence "
        "each, some CC-BY-NC-SA-4.0, so the whole is not passed on."
    )
    redistributable = False
    access = "registration"
    how_to_get = (
        "With a Kaggle account: `kaggle datasets download -d praveengovi/coronahack-chest-xraydataset --unzip` "
        "(1.3 GB).",
        f"Pass the folder that holds `{TABLE}` and `{PICTURES}/`.",
    )
    modality = "Chest X-ray"
    family = "image"
    domains = ("Radiology",)
    tasks = ("Diagnostics",)
    published_splits = {"train": 5284, "test": 624}
    cautions = (
        "All 58 COVID-19 and 4 SARS films stand in train: no COVID-19 score can be taken on the official test set.",
        "COVID-19 and SARS films are of adults and from publications, the others of children: origin leaks the class.",
        "`group` is the person of the file name for Guangzhou films, and a weak key (the stem) for collected ones.",
        "The same films occur in `covid19_cxr` and PneumoniaMNIST: do not pretrain on one and score on the other.",
        "At least one collected film of a COVID-19 series is labelled Normal; some are lateral views or CT figures.",
    )
    splits = ("official", "paper")
    fingerprint_patterns = (TABLE, "train", "test", f"{PICTURES}/t*", f"{PICTURES}/{PICTURES}/t*")
    root_markers = (TABLE,)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Join table and pictures by file name, in the order of the table."""
        levels = (f"{PICTURES}/{PICTURES}/", f"{PICTURES}/", "")  # the archive doubles its folder
        folder = next((f for f in levels if any((root / f / s).is_dir() for s in SPLITS.values())), levels[0])
        rows = list(read_csv_rows(root / TABLE, required=("X_ray_image_name", "Dataset_type", *LEVELS)))
        files = [f"{folder}{row['Dataset_type'].strip().lower()}/{row['X_ray_image_name'].strip()}" for row in rows]
        copies = first_copies(root, files)
        for row, file in zip(rows, files, strict=True):
            first = copies.get(file)
            yield self._row(row, file, PurePosixPath(first).name if first else None, keep_all=options.labels == "raw")
        listed = set(files)
        for split in SPLITS.values():
            for path in sorted((root / folder / split).glob("*")):
                name = f"{folder}{split}/{path.name}"
                if name not in listed and path.is_file() and not is_junk(path.name):
                    yield LeftOut(name, f"picture without a row in `{TABLE}`")

    def _row(
        self, row: dict[str, str], file: str, duplicate_of: str | None, *, keep_all: bool
    ) -> Record | Skipped | LeftOut:
        name, kind = row["X_ray_image_name"].strip(), row["Dataset_type"].strip()
        label, label_1, label_2 = (row[column].strip() for column in LEVELS)
        value, vocabulary = "/".join(filter(None, (label, label_1, label_2))), self.vocabulary()
        if APPENDED.fullmatch(name):
            return LeftOut(name, f"row that a later copy of `{TABLE}` appended (`COVID19_<n>.jpg`)")
        if not label:
            return LeftOut(name, f"row without a label in `{TABLE}`")
        if kind not in SPLITS:
            reason = f"`{TABLE}`: expected `Dataset_type` TRAIN or TEST, found {kind!r}. Restore the table."
            return Skipped(name, file, reason, "SchemaError")
        if not keep_all and vocabulary.knows(value) and vocabulary.class_of(value) is None:
            return LeftOut(name, f"row of no class (`{value}`)")
        match = GUANGZHOU.match(name)
        return Record(
            id=name,
            group=(match[1] or match[2]) if match else self._collected_group(name),
            split=SPLITS[kind],
            raw_labels=(value,),
            files=(file,),
            duplicate_of=duplicate_of,
            metadata={
                "label": label,
                "label_1": label_1 or None,
                "label_2": label_2 or None,
                "dataset_type": kind,
                "origin": "guangzhou" if match else "collected",
            },
        )

    @staticmethod
    def _collected_group(name: str) -> str:
        """Return the stem without what tells days, views and parts of a figure apart."""
        stem = re.sub(r"[-_]day\d+$", "", PurePosixPath(name).stem)
        return re.sub(r"(?:(?<=\d)[a-z]|[-_](?:[A-Za-z]|AP|PA))$", "", stem)
