"""Georgia: 10,344 12-lead ECGs of 5 to 10 s from Emory University, Atlanta, of the PhysioNet/CinC Challenge 2020.

Features: 12 leads, 500 Hz, 5,000 samples (2,500 to 5,000 for a few), in mV; SNOMED CT codes, age, sex.
Classes: the seven of the CLIMB paper, multi-label, from the codes (BenchMD's table with its lost codes put back).
Splits: by hash of the recording, 80/20; `paper` = BenchMD's list, 8,277/2,067, drawn per record.
Layouts: Challenge 2020 and 2021 trees, and the flat copy on Kaggle.
Options: `labels="benchmd"` gives BenchMD's labels, in which no record has atrial fibrillation.
Licence: CC-BY-4.0. Cite: doi 10.1088/1361-6579/abc960.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.readers.benchmd import as_benchmd
from climb_hf.readers.ecg import ECG_LEADS, challenge_rows, find_challenge_root, read_twelve_leads
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

LIST = "Ga_splits.csv"
NAMES = re.compile(r"E\d{5}")
#: The headers of 2020, which the copy on Kaggle still has, state a gain that the publisher has since put right.
WRONG_GAINS = {4880.0: 1000.0}


class Georgia(Source):
    """The Georgia 12-lead ECG Challenge database with the seven classes of the CLIMB paper."""

    name = "georgia"
    title = "Georgia 12-lead ECG Challenge database"
    homepage = "https://physionet.org/content/challenge-2021/1.0.3/"
    citation = (
        "@article{perezalday2020challenge, title={Classification of 12-lead ECGs: the PhysioNet/Computing in "
        "Cardiology Challenge 2020}, author={Perez Alday, Erick A. and others}, journal={Physiological Measurement}, "
        "volume={41}, number={12}, year={2020}}"
    )
    license = "CC-BY-4.0"
    license_note = "The copy on Kaggle states CC0-1.0; the terms of PhysioNet ask for attribution and are kept here."
    redistributable = True
    access = "open"
    how_to_get = (
        "`wget -r -N -c -np https://physionet.org/files/challenge-2021/1.0.3/training/georgia/` (about 1.2 GB, no "
        "account), or `kaggle datasets download -d bjoernjostein/georgia-12lead-ecg-challenge-database --unzip`.",
        "Pass the folder that holds the `Ennnnn.hea` and `.mat` files, at any depth.",
    )
    modality = "ECG"
    family = "signal"
    channels = ECG_LEADS
    domains = ("Cardiology",)
    tasks = ("Diagnostics",)
    published_splits = {"train": 8277, "test": 2067}
    cautions = (
        "The CLIMB paper counts 20,689 records (18,622 train), twice the 10,344 that exist; 2,067 is BenchMD's test.",
        "No patient is known: ECGs with the same age, sex and codes under adjacent names may be of one patient and "
        "stand in both splits. Only identical recordings are kept together, and named in `duplicate_of`.",
        "Headers of 2020 (the copy on Kaggle) state a gain of 4880 per mV, which makes signals 4.88 times too small; "
        "the publisher's correction, 1000, is used for them and `gain_in_header` tells of it.",
        "Class `STTC` means ST/T changes; the paper's printed name for it is an error kept for fidelity.",
        "BenchMD's labels lose 18 codes to a letter-case bug, all of atrial fibrillation and flutter among them, and "
        "give the 107 records left without a class a random label; `labels='benchmd'` keeps them as they are.",
    )
    splits = ("official", "paper")
    label_schemes = ("climb", "raw", "benchmd")
    fingerprint_patterns = ("**/E*.hea", "**/E*.mat", LIST)
    root_markers = ("WFDB", "training")

    def find_root(self, data_dir: Path) -> Path:
        """Return the given folder where it holds records, at whatever depth."""
        return find_challenge_root(data_dir, "E[0-9][0-9][0-9][0-9][0-9].hea", self)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the ECGs by record name, from the headers."""
        rows = challenge_rows(root, NAMES, self.vocabulary())
        return as_benchmd(rows, Path(options.split_file or root / LIST), options, source=self.name)

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Read the twelve leads in standard order, in mV."""
        return read_twelve_leads(root / record.files[0], options, wrong_gains=WRONG_GAINS)
