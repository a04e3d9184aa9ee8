"""Chapman-Shaoxing: 10,247 12-lead ECGs of 10 s from two hospitals, by Zheng et al., 2020; with Ningbo 45,152.

Features: 12 leads, 500 Hz, 5,000 samples, in mV; SNOMED CT codes, age, sex.
Classes: the seven of the CLIMB paper, multi-label, from the codes (BenchMD's table with its lost codes put back).
Splits: by hash of the recording, 80/20; `paper` = BenchMD's list, 8,196/2,051, one record per patient as published.
Layouts: PhysioNet `ecg-arrhythmia` 1.0.0, Challenge 2021, and the flat copy on Kaggle.
Options: `include_ningbo=True` adds JS10647 and on, to train under `paper`; `labels="benchmd"` gives BenchMD's labels.
Licence: CC-BY-4.0. Cite: doi 10.1038/s41597-020-0386-x.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.readers.benchmd import as_benchmd
from climb_hf.readers.ecg import ECG_LEADS, challenge_rows, find_challenge_root, read_twelve_leads
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

LIST = "ChapmanShaoxing_splits.csv"
NAMES = re.compile(r"JS\d{5}")
#: Numbers above this are the recordings of the hospital in Ningbo.
LAST_CHAPMAN = 10_646
LEFT_OUT = "recorded in Ningbo (`include_ningbo=True` takes it in)"


class ChapmanShaoxing(Source):
    """Chapman-Shaoxing with the seven classes of the CLIMB paper."""

    name = "chapman_shaoxing"
    title = "A 12-lead electrocardiogram database for arrhythmia research (Chapman-Shaoxing, with Ningbo)"
    homepage = "https://physionet.org/content/ecg-arrhythmia/1.0.0/"
    citation = (
        "@article{zheng2020chapman, title={A 12-lead electrocardiogram database for arrhythmia research covering more "
        "than 10,000 patients}, author={Zheng, Jianwei and others}, journal={Scientific Data}, volume={7}, "
        "number={48}, year={2020}}"
    )
    license = "CC-BY-4.0"
    redistributable = True
    access = "open"
    how_to_get = (
        "`wget -r -N -c -np https://physionet.org/files/ecg-arrhythmia/1.0.0/` (about 5 GB with Ningbo, no account "
        "needed), or `https://physionet.org/files/challenge-2021/1.0.3/training/chapman_shaoxing/`.",
        "Pass the folder that holds the `JSnnnnn.hea` and `.mat` files, at any depth.",
    )
    modality = "ECG"
    family = "signal"
    channels = ECG_LEADS
    domains = ("Cardiology",)
    tasks = ("Diagnostics",)
    published_splits = {"train": 8196, "test": 2051}
    cautions = (
        "The CLIMB paper counts 40,258 records (38,207 train), which no public copy gives; 2,051 is BenchMD's test.",
        "Class `STTC` means ST/T changes; the paper's printed name for it is an error kept for fidelity.",
        "BenchMD's labels lose 59118001 (RBBB) to a letter-case bug; `labels='benchmd'` keeps its labels as they are.",
        "JS01052 (damaged header) and JS23074 (no lead I) are skipped; some leads are flat, see `flat_leads`.",
    )
    splits = ("official", "paper")
    label_schemes = ("climb", "raw", "benchmd")
    extra_options = {"include_ningbo": False}
    fingerprint_patterns = ("**/JS*.hea", "**/JS*.mat", LIST)
    root_markers = ("WFDBRecords", "WFDB_ChapmanShaoxing")

    def find_root(self, data_dir: Path) -> Path:
        """Return the given folder where it holds records, at whatever depth."""
        return find_challenge_root(data_dir, "JS[0-9]*.hea", self)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the ECGs by record name, from the headers."""
        path = Path(options.split_file or root / LIST)
        yield from as_benchmd(self._rows(root, options), path, options, source=self.name)

    def _rows(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        for row in challenge_rows(root, NAMES, self.vocabulary()):
            is_ningbo = isinstance(row, Record | Skipped) and int(row.id[2:]) > LAST_CHAPMAN
            if is_ningbo and not options["include_ningbo"]:
                yield LeftOut(row.id, LEFT_OUT)
                continue
            if isinstance(row, Record):
                tranche = "ningbo" if is_ningbo else "chapman_shaoxing"
                row.metadata = {**(row.metadata or {}), "tranche": tranche}
                row.split = "train" if is_ningbo and options.split_by == "paper" else None
            yield row

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Read the twelve leads in standard order, in mV."""
        return read_twelve_leads(root / record.files[0], options)
