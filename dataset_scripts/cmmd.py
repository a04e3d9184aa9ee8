"""CMMD, the Chinese Mammography Database: 5,202 mammograms of 1,775 patients, biopsy-confirmed, by Cui et al., 2021.

Features: DICOM of 2294 × 1914 px, 8 bits (two files 16); side and view in the header; age, abnormality, subtype (D2).
Classes: Benign, Malignant, per breast; 3,744 images are of the 1,872 breasts in the clinical table.
Splits: none published; default by patient, 75/25 in every stratum of cohort (D1, D2) and classes. `split_by="paper"`
cuts the rows of the table in order, which leaves 3 benign breasts among the 468 of the test split.
Licence: CC-BY-4.0. Cite: doi 10.7937/tcia.eqde-4b16.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import CorruptFileError, SchemaError
from climb_hf.readers.dicom import read_dicom_header
from climb_hf.readers.dicom_tags import dicom_demographics, dicom_view
from climb_hf.readers.tables import is_junk, to_float, to_int
from climb_hf.readers.xlsx import read_sheet_rows
from climb_hf.source import LeftOut, Options, Record, Skipped, Source
from climb_hf.splits import stratified_split

TABLE = "CMMD_clinicaldata_revision.xlsx"
COLUMNS = ("ID1", "LeftRight", "Age", "number", "abnormality", "classification", "subtype")
TAGS = (
    "SOPInstanceUID", "StudyInstanceUID", "PatientID", "PatientAge", "PatientSex", "Laterality", "ImageLaterality",
    "ViewPosition", "ViewCodeSequence", "ImagerPixelSpacing", "BitsStored",
)  # fmt: skip


class Cmmd(Source):
    """CMMD, the Chinese Mammography Database."""

    name = "cmmd"
    title = "CMMD: the Chinese Mammography Database"
    homepage = "https://www.cancerimagingarchive.net/collection/cmmd/"
    citation = (
        "@misc{cui2021cmmd, title={The Chinese Mammography Database (CMMD)}, author={Cui, Chunyan and others}, "
        "publisher={The Cancer Imaging Archive}, year={2021}, doi={10.7937/tcia.eqde-4b16}}"
    )
    license = "CC-BY-4.0"
    redistributable = True
    access = "open"
    how_to_get = (
        f"Load the `.tcia` manifest of {homepage} with the NBIA Data Retriever (no account needed, about 23 GB).",
        f"Download the clinical data, `{TABLE}`, into the folder that holds `manifest-…/`; pass that folder.",
    )
    modality = "Mammography"
    family = "image"
    domains = ("Radiology", "Oncology")
    tasks = ("Diagnostics",)
    published_splits = {"train": 1404, "test": 468}
    cautions = (
        "The published sizes count breasts (rows of the table); a record is one image, and a breast has two.",
        "The class belongs to one breast: 30 patients have a benign and a malignant one, and 1,458 images of breasts "
        "without a class are left out; code that joins by patient alone labels them wrongly.",
        "Prevalence differs by cohort (rows: D1 544 benign, 563 malignant; D2 12 and 753), which is thus a shortcut.",
        "`split_by='paper'` has 3 benign and 465 malignant breasts in test: accuracy there says nothing.",
        "The files ask for a sigmoid display curve, which shows stored black as grey 30 and white as 224 of 255.",
    )
    splits = ("official", "paper")
    fractions = {"train": 0.75, "test": 0.25}
    extra_options = {"window": None, "bit_depth": 8}
    fingerprint_patterns = ("CMMD_clinicaldata_revision.*", "**/*.dcm")
    root_markers = (TABLE, "CMMD_clinicaldata_revision.csv")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Join table and headers by patient and side, in the order of the table; side and view stand in no path."""
        breasts = self._breasts(root)
        splits = self._splits(breasts, options)
        images: dict[str, list[Record]] = defaultdict(list)
        damaged: Counter[str] = Counter()
        patients = {row["ID1"] for row in breasts.values()}
        for image in self._images(root, breasts, patients):
            if isinstance(image, Record):
                images[image.id.rpartition("_")[0]].append(image)
                continue
            if isinstance(image, Skipped):  # its patient, where the path names one
                damaged[next((part for part in image.file.replace('"', "").split("/") if part in patients), "")] += 1
            yield image
        for breast, row in breasts.items():
            for record in sorted(images[breast], key=lambda record: record.id):
                record.split = splits[breast]
                yield record
            found = {record.id for record in images[breast]}
            absent = [f"{breast}_{view}" for view in ("CC", "MLO") if f"{breast}_{view}" not in found]
            for id_ in absent[: max(0, (to_int(row["number"]) or 0) - len(images[breast]))]:
                patient = row["ID1"] if damaged[row["ID1"]] else ""
                damaged[patient] -= 1
                if damaged[patient] < 0:  # else it is a file named above
                    yield Skipped(id_, "", f"{self.name}: no file holds the image `{id_}` of the table; fetch it.")

    def _breasts(self, root: Path) -> dict[str, dict[str, str]]:
        """Return the rows of the clinical table by breast, such as `D1-0001_L`."""
        breasts: dict[str, dict[str, str]] = {}
        for row in read_sheet_rows(root / TABLE, required=COLUMNS):
            breast = f"{row['ID1']}_{row['LeftRight']}"
            if breast in breasts:
                raise SchemaError(f"{self.name}: expected one row per breast, `{breast}` has two. Restore the table.")
            breasts[breast] = row
        return breasts

    def _splits(self, breasts: dict[str, dict[str, str]], options: Options) -> dict[str, str]:
        """Return the split of every breast: by the order of rows, or by patient within cohort and classes."""
        if options.split_by == "paper":
            border = int(self.fractions["train"] * len(breasts))
            return {breast: "train" if i < border else "test" for i, breast in enumerate(breasts)}
        strata: dict[str, str] = {}
        for row in sorted(breasts.values(), key=lambda row: row["classification"]):
            stratum = strata.get(row["ID1"], row["ID1"].partition("-")[0]).removesuffix(" " + row["classification"])
            strata[row["ID1"]] = f"{stratum} {row['classification']}"
        split_of = stratified_split(strata, self.fractions, options.seed)
        return {breast: split_of[row["ID1"]] for breast, row in breasts.items()}

    def _images(
        self, root: Path, breasts: dict[str, dict[str, str]], patients: set[str]
    ) -> Iterator[Record | Skipped | LeftOut]:
        known: set[str] = set()
        for path in sorted(path for path in root.rglob("*.dcm") if not is_junk(path.name)):
            file = path.relative_to(root).as_posix()
            try:
                header = read_dicom_header(path, tags=TAGS)
            except CorruptFileError as error:
                yield Skipped(file, file, str(error))
                continue
            patient, (side, view) = header.get("PatientID", ""), dicom_view(header)
            breast, uid = f"{patient}_{side}", header.get("SOPInstanceUID") or file
            if uid in known:
                yield LeftOut(file, "further copy of an image (same SOPInstanceUID)")
            elif patient in patients and not (side and view):
                yield Skipped(file, file, f"{self.name}: the header of `{file}` states no side or view", "SchemaError")
            elif breast in breasts:
                yield self._record(f"{breast}_{view}", str(view), breasts[breast], file, header)
            else:
                yield LeftOut(file, "image of a breast without a row in the clinical table")
            known.add(uid)

    @staticmethod
    def _record(id_: str, view: str, row: dict[str, str], file: str, header: Any) -> Record:  # noqa: ANN401 - a Dataset
        (age, sex), spacing = dicom_demographics(header), header.get("ImagerPixelSpacing")
        metadata = {
            "breast": id_.rpartition("_")[0], "laterality": row["LeftRight"], "cohort": row["ID1"].partition("-")[0],
            "abnormality": row["abnormality"] or None, "subtype": row["subtype"] or None,
            "imager_pixel_spacing_mm": [float(value) for value in spacing] if spacing else None,
            "study_id": str(header.get("StudyInstanceUID") or "") or None, "bits_stored": header.get("BitsStored"),
        }  # fmt: skip
        return Record(
            id_, row["ID1"], raw_labels=(row["classification"],), files=(file,), age=to_float(row["Age"]) or age,
            sex=sex, metadata=metadata, inputs={"view": view},
        )  # fmt: skip
