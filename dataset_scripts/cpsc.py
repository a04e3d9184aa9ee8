"""CPSC 2018: 6,877 12-lead ECGs of 6 to 60 s from 11 hospitals in China, by Liu et al., 2018.

Features: 12 leads, 500 Hz, any length, in mV; nine diagnoses, age, sex.
Classes: the seven of the CLIMB paper, multi-label, of which HYP and MI never occur here.
Splits: by hash of the recording, 80/20; `paper` = BenchMD's list, 5,500/1,377, one record per patient as published.
Layouts: Challenge 2020 and 2021 trees, the flat copy on Kaggle, the original MATLAB structs with REFERENCE.csv.
Options: `labels="benchmd"` gives BenchMD's labels, in which every atrial fibrillation is a conduction delay too.
Licence: CC-BY-4.0. Cite: doi 10.1166/jmihi.2018.2442.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import CorruptFileError
from climb_hf.readers.benchmd import as_benchmd
from climb_hf.readers.ecg import (
    ECG_LEADS,
    NO_CODE,
    NO_KNOWN_CODE,
    challenge_rows,
    find_challenge_root,
    find_stems,
    known_codes,
    read_twelve_leads,
    sex_of,
    signal_columns,
    warn_of_unknown,
)
from climb_hf.readers.mat5 import content_key, read_struct
from climb_hf.readers.tables import read_csv_rows
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

LIST, REFERENCE = "CPSC_splits.csv", "REFERENCE.csv"
COLUMNS = ("First_label", "Second_label", "Third_label")
NAMES = re.compile(r"A\d{4}")
RATE = 500.0


class Cpsc(Source):
    """CPSC 2018 with the seven classes of the CLIMB paper."""

    name = "cpsc"
    title = "China Physiological Signal Challenge 2018"
    homepage = "https://physionet.org/content/challenge-2021/1.0.3/"
    citation = (
        "@article{liu2018cpsc, title={An open access database for evaluating the algorithms of electrocardiogram "
        "rhythm and morphology abnormality detection}, author={Liu, Feifei and others}, journal={Journal of Medical "
        "Imaging and Health Informatics}, volume={8}, number={7}, pages={1368--1373}, year={2018}}"
    )
    license = "CC-BY-4.0"
    license_note = "The licence of the Challenge 2020 and 2021 copies; the original archives state none."
    redistributable = True
    access = "open"
    how_to_get = (
        "`wget -r -N -c -np https://physionet.org/files/challenge-2021/1.0.3/training/cpsc_2018/` (about 1.3 GB, no "
        "account needed), or the original `TrainingSet1.zip` to `TrainingSet3.zip` and `REFERENCE.csv`.",
        "Pass the folder that holds the `Annnn.hea` and `.mat` files, or `REFERENCE.csv` and the `.mat` files.",
    )
    modality = "ECG"
    family = "signal"
    channels = ECG_LEADS
    domains = ("Cardiology",)
    tasks = ("Abnormality Detection",)
    published_splits = {"train": 5500, "test": 1377}
    cautions = (
        "The CLIMB paper describes CPSC 2021 and counts 4,815 train records; its code, classes and test are of 2018.",
        "Hypertrophy and myocardial infarction never occur; their 5 + 5 test labels of BenchMD are random.",
        "Class `STTC` means ST/T changes; the paper's printed name for it is an error kept for fidelity.",
        "BenchMD's labels forget 164909002 (LBBB) and count atrial fibrillation and ventricular ectopics as "
        "conduction delay; `labels='benchmd'` keeps them as they are.",
    )
    splits = ("official", "paper")
    label_schemes = ("climb", "raw", "benchmd")
    fingerprint_patterns = ("**/A*.hea", "**/A*.mat", f"**/{REFERENCE}", LIST)
    root_markers = ("Training_WFDB", REFERENCE)

    def find_root(self, data_dir: Path) -> Path:
        """Return the given folder where it holds records, at whatever depth."""
        return find_challenge_root(data_dir, "A[0-9][0-9][0-9][0-9].hea", self, other=REFERENCE)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the ECGs by record name, from the headers or from the original table."""
        has_headers = next(root.rglob("A[0-9][0-9][0-9][0-9].hea"), None)
        rows = challenge_rows(root, NAMES, self.vocabulary()) if has_headers else self._original(root)
        return as_benchmd(rows, Path(options.split_file or root / LIST), options, source=self.name)

    def _original(self, root: Path) -> Iterator[Record | LeftOut]:
        files = {stem: f"{paths[0]}.mat" for stem, paths in find_stems(root, NAMES, ".mat").items()}
        tables = (read_csv_rows(path, required=("Recording", *COLUMNS)) for path in sorted(root.rglob(REFERENCE)))
        rows = {(row["Recording"], *(row[name].strip() for name in COLUMNS)) for table in tables for row in table}
        firsts: dict[tuple[int, bytes], str] = {}
        unknown: Counter[str] = Counter()
        for stem, *cells in sorted(rows):
            values = tuple(cell.removesuffix(".0") for cell in cells if cell)
            known, others = known_codes(values, self.vocabulary())
            unknown.update(others)
            if not known:
                yield LeftOut(stem, NO_KNOWN_CODE if values else NO_CODE)
                continue
            first = firsts.setdefault(content_key(root / files[stem]), stem) if stem in files else stem
            yield Record(
                id=stem,
                group=first,
                raw_labels=values,
                label_values=known,
                files=(files.get(stem, f"{stem}.mat"),),
                duplicate_of=None if first == stem else first,
                metadata={"unknown_codes": list(others)},
            )
        listed = {row[0] for row in rows}
        yield from (LeftOut(stem, f"not in `{REFERENCE}`") for stem in files if stem not in listed)
        warn_of_unknown(self.name, unknown)

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Read the twelve leads in standard order, in mV; the original files also hold age and sex."""
        path = root / record.files[0]
        if path.suffix == ".hea":
            return read_twelve_leads(path, options)
        ecg = read_struct(path, "ECG", ("sex", "age", "data"))
        data, age = ecg["data"], ecg["age"]
        if isinstance(data, str) or isinstance(age, str) or data.ndim != 2 or data.shape[0] != len(ECG_LEADS):
            found = data if isinstance(data, str) else data.shape
            raise CorruptFileError(f"`{path}`: expected a number `age` and `data` of 12 × samples, found {found}.")
        years = float(age.flat[0]) if age.size else 0.0
        columns = signal_columns(data.T.astype("f4", order="C"), RATE, options, path)
        return {**columns, "age": years if years > 0 else None, "sex": sex_of(str(ecg["sex"]))}
