"""PTB-XL: 21,799 (1.0.1: 21,837) clinical 12-lead ECGs of 10 s from 18,869 patients, by Wagner et al., 2020.

Features: 12 leads, 500 Hz (5,000 samples) and 100 Hz, in mV; SCP-ECG statements, report text, demographics.
Classes: the seven of the CLIMB paper, multi-label, from the SCP statements and the heart axis (rule of BenchMD).
Splits: `strat_fold` 1-8 / 9 / 10, no patient shared; `paper` = BenchMD's list, which shares patients.
Layouts: native 1.0.1-1.0.3, and Challenge 2020 and 2021 copies (`HRnnnnn.mat`, where nnnnn is the ecg_id).
Licence: CC-BY-4.0. Cite: doi 10.1038/s41597-020-0495-6.
"""

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import SchemaError
from climb_hf.readers.benchmd import draw_label, read_split_list
from climb_hf.readers.ecg import ECG_LEADS, challenge_rows, read_twelve_leads
from climb_hf.readers.tables import find_root, read_csv_rows, to_float
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

logger = logging.getLogger(__name__)
TABLE, STATEMENTS, PAPER_LIST = "ptbxl_database.csv", "scp_statements.csv", "ptbxl_splits.csv"
NAMES = re.compile(r"HR\d+")
FOLDS = {**dict.fromkeys(map(str, range(1, 9)), "train"), "9": "validation", "10": "test"}
SEX = {"0": "male", "1": "female"}
UNTYPED = ("ecg_id", "patient_id", "age", "sex", "scp_codes", "report", "filename_lr", "filename_hr")
#: Ages above 89 are stored as 300 in versions 1.0.2 and later.
AGE_CODE = 300


class PtbXl(Source):
    """PTB-XL with the seven classes of the CLIMB paper."""

    name = "ptbxl"
    title = "PTB-XL: a large publicly available electrocardiography dataset"
    homepage = "https://physionet.org/content/ptb-xl/1.0.3/"
    citation = (
        "@article{wagner2020ptbxl, title={PTB-XL, a large publicly available electrocardiography dataset}, "
        "author={Wagner, Patrick and others}, journal={Scientific Data}, volume={7}, number={154}, year={2020}}"
    )
    license = "CC-BY-4.0"
    redistributable = True
    access = "open"
    how_to_get = (
        "`wget -r -N -c -np https://physionet.org/files/ptb-xl/1.0.3/` (about 3 GB, no account needed).",
        "Pass the folder that holds `ptbxl_database.csv`, or a Challenge folder with `HR00001.hea` and on.",
    )
    modality = "ECG"
    family = "signal"
    channels = ECG_LEADS
    patient_ids = "ptbxl"
    domains = ("Cardiology",)
    tasks = ("Diagnostics", "Attribute Recognition")
    published_splits = {"train": 17476, "test": 4361}
    cautions = (
        "Class `STTC` means ST/T changes; the paper's printed name for it is an error kept for fidelity.",
        "The paper's split (`split_by='paper'`) is per record and shares patients between train and test.",
        "Challenge copies carry neither patient nor fold: their split is by record and may share patients.",
    )
    splits = ("official", "paper")
    label_schemes = ("climb", "raw", "benchmd")
    fractions = {"train": 0.8, "validation": 0.1, "test": 0.1}
    fingerprint_patterns = (TABLE, STATEMENTS, PAPER_LIST, "records*/*/*.dat", "**/HR*.hea")
    root_markers = (TABLE,)

    def find_root(self, data_dir: Path) -> Path:
        """Return the folder of the table, or the given folder where it holds a Challenge copy."""
        is_challenge = next(data_dir.rglob("HR[0-9]*.hea"), None) and not next(data_dir.rglob(TABLE), None)
        return data_dir if is_challenge else find_root(data_dir, self.root_markers, self.name)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the ECGs by `ecg_id`, from the table or from the Challenge headers."""
        paper = None
        if options.split_by == "paper":
            listed = read_split_list(Path(options.split_file or root / PAPER_LIST), source=self.name)
            paper = {name[2:].lstrip("0"): split for name, split in listed.items()}
        rows = self._native(root, options) if (root / TABLE).is_file() else self._challenge(root)
        for row in rows:
            if isinstance(row, Record):
                values, is_listed = row.label_values or row.raw_labels, paper is None or row.id in paper
                if not (values or row.raw_labels) or not is_listed:
                    yield LeftOut(row.id, "no statement given" if is_listed else "not in the paper's split list")
                    continue
                row.split = row.split if paper is None else paper[row.id]
                if options.labels == "benchmd":
                    drawn = draw_label(values, self.vocabulary(), self.vocabulary("benchmd"), int(row.id) - 1)
                    row.label_values = (drawn,) if drawn else ()
            yield row

    def _native(self, root: Path, options: Options) -> Iterator[Record | Skipped]:
        has_low, has_high = ((root / folder).is_dir() for folder in ("records100", "records500"))
        is_low = has_low and (options.sampling_rate == 100 or not has_high)
        if is_low and options.sampling_rate != 100:
            logger.warning("%s: `records500` is absent; the 100 Hz records are used", self.name)
        column = "filename_lr" if is_low else "filename_hr"
        required = ("ecg_id", "patient_id", "scp_codes", "heart_axis", "strat_fold", column)
        for row in read_csv_rows(root / TABLE, required=required):
            try:
                yield self._record(root, row, row[column])
            except (ValueError, SyntaxError, TypeError, ArithmeticError, MemoryError, RecursionError) as error:
                yield Skipped(row["ecg_id"], TABLE, f"row of `{TABLE}` cannot be read: {error}", "SchemaError")

    def _record(self, root: Path, row: dict[str, str], path: str) -> Record:
        codes, fold = ast.literal_eval(row["scp_codes"]), row["strat_fold"].removesuffix(".0")
        if not isinstance(codes, dict) or fold not in FOLDS:
            raise SchemaError(f"expected a dictionary of SCP codes and a fold of 1 to 10, got {codes!r} and {fold!r}")
        patient, age = str(int(float(row["patient_id"]))), to_float(row.get("age", ""))
        rest: dict[str, Any] = {key: value or None for key, value in row.items() if key not in UNTYPED}
        numbers = {key: to_float(row[key]) for key in ("height", "weight") if key in row}
        return Record(
            id=str(int(float(row["ecg_id"]))),
            group=patient,
            split=FOLDS[fold],
            raw_labels=tuple(codes),
            label_values=self._label_values(root, codes, row["heart_axis"]),
            files=(f"{path}.hea", f"{path}.dat"),
            age=age if age is not None and age < AGE_CODE else None,
            sex=SEX.get(row.get("sex", "").removesuffix(".0")),
            metadata={**rest, **numbers, "scp_codes": codes, "patient_id": patient},
            inputs={"report": row.get("report") or None},
        )

    def _label_values(self, root: Path, codes: dict[str, float], heart_axis: str) -> tuple[str, ...]:
        return (*codes, *filter(None, [heart_axis]))

    def _challenge(self, root: Path) -> Iterator[Record | Skipped | LeftOut]:
        for row in challenge_rows(root, NAMES, self.vocabulary(), id_of=lambda name: str(int(name[2:]))):
            if isinstance(row, Record):
                row.age = row.age if row.age is None or row.age < AGE_CODE else None
                row.metadata = {"record": Path(row.files[0]).stem, **(row.metadata or {})}
            yield row

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Read the twelve leads in standard order, in mV."""
        return read_twelve_leads(root / record.files[0], options)
