"""RSPECT: 1,790,594 CT slices of 7,279 pulmonary angiographies with embolism labels, by Colak et al., 2021 (RSNA).

Features: one DICOM slice of 512 × 512 per record, shown in the window for embolism; labels of slice and exam.
Classes: no, chronic and acute embolism: visible on the slice, then chronic by the exam's label, else acute.
Splits: none published with labels; default by study (hash), 75/25. Licence: RSNA's terms, non-commercial.
Cite: doi 10.1148/ryai.2021200254.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import OptionError, SchemaError
from climb_hf.readers.tables import find_table, read_csv_rows, to_bool
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

logger = logging.getLogger(__name__)

TABLE, UNLABELLED = "train.csv", "test.csv"
STUDY, SERIES, SLICE = IDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
PRESENT = "pe_present_on_image"
#: Columns of the exam; `acute` has none: it is a positive exam that is not chronic.
EXAM = (
    "negative_exam_for_pe", "qa_motion", "qa_contrast", "flow_artifact", "rv_lv_ratio_gte_1", "rv_lv_ratio_lt_1",
    "leftsided_pe", "chronic_pe", "true_filling_defect_not_pe", "rightsided_pe", "acute_and_chronic_pe", "central_pe",
    "indeterminate",
)  # fmt: skip
ABSENT, CHRONIC, ACUTE = (f"{PRESENT}=0",), (f"{PRESENT}=1 chronic_pe=1",), (f"{PRESENT}=1 chronic_pe=0",)
#: Folder of the 256 × 256 JPEG derivative, and the window that each channel of its pictures holds.
JPEGS, CHANNELS = "train-jpegs", {"lung": 0, "pe": 1, "mediastinum": 2, "soft_tissue": 2}
TAGS = (
    "InstanceNumber", "ImagePositionPatient", "PixelSpacing", "SliceThickness", "Manufacturer", "KVP", "PatientAge",
    "PatientSex",
)  # fmt: skip


class Rspect(Source):
    """RSPECT, the RSNA-STR Pulmonary Embolism CT dataset."""

    name = "rspect"
    title = "RSPECT: RSNA-STR Pulmonary Embolism CT"
    homepage = "https://www.kaggle.com/competitions/rsna-str-pulmonary-embolism-detection"
    citation = (
        "@article{colak2021rspect, title={The RSNA Pulmonary Embolism CT Dataset}, author={Colak, Errol and others}, "
        "journal={Radiology: Artificial Intelligence}, volume={3}, number={2}, year={2021}, "
        "doi={10.1148/ryai.2021200254}}"
    )
    license = "LicenseRef-RSNA-RSPECT"
    license_note = (
        "RSNA: non-commercial research and education, no re-identification, with the citation (Copyright RSNA, 2020). "
        "Copies from Kaggle are bound to the competition's rules and are not passed on."
    )
    redistributable = False
    access = "competition"
    how_to_get = (
        "With a Kaggle account, accept the rules at https://www.kaggle.com/c/rsna-str-pulmonary-embolism-detection.",
        "`kaggle competitions download -c rsna-str-pulmonary-embolism-detection` and unzip (900 GB); or, without an "
        "account, take `rsna-ped-dataset.zip` (534 GB) from the open AWS bucket `pulmonary-embolism-detection`.",
        "Pass the folder that holds `train.csv` and `train/` (or `train-jpegs/` of the 256 × 256 JPEG derivative).",
    )
    modality = "CT"
    family = "image"
    domains = ("Radiology",)
    tasks = ("Diagnostics", "Classification")
    published_splits = {"train": 1342945, "test": 447649}
    cautions = (
        "Acute or chronic is a label of the exam, laid on its positive slices; acute on chronic counts as acute.",
        "157 indeterminate exams have no positive slice and count as No PE; `drop_indeterminate=True` removes them.",
        "The CLIMB paper split single slices, so its test set shares patients with its training set; here no study is "
        "in two splits, and sizes differ a little from the paper's. No patient key is published.",
        "94.6 % of the slices are No PE: accuracy says little.",
    )
    unavailable_splits = {"paper": "the paper permuted single slices without a seed, and published no list;"}
    fractions = {"train": 0.75, "test": 0.25}
    extra_options = {"window": "pe", "bit_depth": 8, "drop_indeterminate": False}
    fingerprint_patterns = (TABLE, f"{TABLE}.gz", UNLABELLED, "train", JPEGS)
    root_markers = (TABLE, f"{TABLE}.gz")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Read the table; the tree of DICOM files is never listed."""
        is_jpeg = (root / JPEGS).is_dir() and not (root / "train").is_dir()
        if is_jpeg and (options.bit_depth != 8 or options.window not in tuple(CHANNELS)):
            raise OptionError(
                f"{self.name}: `{JPEGS}/` holds the windows {list(CHANNELS)} in 8 bits, got `window="
                f"{options.window!r}` and `bit_depth={options.bit_depth}`. For others get the DICOM files (`train/`)."
            )
        # What belongs to the exam exists once and is shared by its slices: millions of records fit into memory.
        exams: dict[tuple[str, ...], tuple[str, dict[str, Any], dict[str, str] | None]] = {}
        n_contradictions = 0
        for row in read_csv_rows(root / TABLE, required=(*IDS, PRESENT, *EXAM)):
            key = (row[STUDY], row[SERIES], *(row[column] for column in EXAM))
            sop = row[SLICE]
            try:
                if key not in exams:
                    values = {column: to_bool(row[column]) for column in EXAM}
                    files = self._jpegs(root, row[STUDY], row[SERIES]) if is_jpeg else None
                    exams[key] = row[STUDY], {"study_id": row[STUDY], "series_id": row[SERIES], **values}, files
                present = to_bool(row[PRESENT])
            except SchemaError as error:
                yield Skipped(sop, TABLE, str(error), "LabelError")
                continue
            study, exam, jpegs = exams[key]
            if present is None or (present and exam["chronic_pe"] is None):
                yield LeftOut(sop, "slice without the values that make its label")
                continue
            if exam["indeterminate"] and options["drop_indeterminate"]:
                yield LeftOut(sop, "slice of an indeterminate exam (`drop_indeterminate=True`)")
                continue
            n_contradictions += present and bool(exam["negative_exam_for_pe"] or exam["indeterminate"])
            file = f"{study}/{exam['series_id']}/{sop}."
            file = f"train/{file}dcm" if jpegs is None else f"{JPEGS}/{jpegs.get(sop, f'{file}jpg')}"
            labels = (CHRONIC if exam["chronic_pe"] else ACUTE) if present else ABSENT
            yield Record(id=sop, group=study, raw_labels=labels, files=(file,), metadata=exam)
        if n_contradictions:
            logger.warning("%s: %d positive slices in exams without embolism", self.name, n_contradictions)
        if find_table(root / UNLABELLED):
            for row in read_csv_rows(root / UNLABELLED, required=IDS):
                yield LeftOut(row[SLICE], "slice of the public test set, whose labels are not published")

    @staticmethod
    def _jpegs(root: Path, study: str, series: str) -> dict[str, str]:
        """Return slice -> path below `train-jpegs` of one series, whose names begin with a slice number."""
        folder = root / JPEGS / study / series
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return {name[:-4].rpartition("_")[2]: f"{study}/{series}/{name}" for name in names if name.endswith(".jpg")}

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Render the slice; geometry and scanner come from its header."""
        path = root / record.files[0]
        if path.suffix == ".jpg":
            from climb_hf.readers.image import encode_image, load_image

            pixels = load_image(path, size=options.image_size)[..., CHANNELS[options.window]]
            return {"image": {"bytes": encode_image(pixels), "path": None}}
        from climb_hf.readers.dicom import read_dicom_header
        from climb_hf.readers.dicom_tags import dicom_demographics

        header = read_dicom_header(path, tags=TAGS)
        age, sex = dicom_demographics(header)
        position, spacing = header.get("ImagePositionPatient"), header.get("PixelSpacing")
        metadata = {
            "instance_number": header.get("InstanceNumber"),
            "slice_position_mm": float(position[2]) if position else None,
            "pixel_spacing_mm": [float(value) for value in spacing] if spacing else None,
            "slice_thickness_mm": header.get("SliceThickness"),
            "manufacturer": header.get("Manufacturer"),
            "tube_voltage_kv": header.get("KVP"),
        }
        return {**super().read(record, root, options), "age": age, "sex": sex, "metadata": metadata}
