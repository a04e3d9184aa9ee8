"""TUH Abnormal EEG Corpus: 2,993 clinical EEGs labelled normal or abnormal, by López, Obeid, Picone and others, 2015.

Features: EDF, 24 to 36 channels against a common reference, mostly 250 Hz, 16 minutes to 5.5 hours; here windows of 10
seconds of sixteen bipolar derivations in µV, from the first sample on, without overlap, the rest dropped.
Classes: normal, abnormal; one label per recording, from the folder, given to all of its windows.
Splits: the publisher's `train` (2,717 recordings) and `eval` (276), which share no subject.
Licence: a signed form; the recordings must not be passed on. Cite: doi 10.1109/SPMB.2015.7405423.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.processing.signal import fit_signal
from climb_hf.readers.edf import read_edf_header
from climb_hf.readers.montage import BIPOLAR_16, bipolar_rate, read_bipolar
from climb_hf.readers.tuh import SPLITS, files_below, part_of, read_person, stem_of
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

WINDOW_SECONDS = 10.0
LABELS = ("normal", "abnormal")


class Tuab(Source):
    """TUH Abnormal EEG Corpus, in windows of ten seconds."""

    name = "tuab"
    title = "TUH Abnormal EEG Corpus"
    homepage = "https://isip.piconepress.com/projects/nedc/html/tuh_eeg/"
    citation = (
        "@inproceedings{lopez2015automated, title={Automated Identification of Abnormal Adult {EEGs}}, "
        "author={L{\\'o}pez, Silvia and Suarez, G. and Jungreis, D. and Obeid, Iyad and Picone, Joseph}, "
        "booktitle={IEEE Signal Processing in Medicine and Biology Symposium}, year={2015}, "
        "doi={10.1109/SPMB.2015.7405423}}"
    )
    license = "LicenseRef-TUH-EEG-Data-Use"
    license_note = "A signed form of the Neural Engineering Data Consortium; no passing on to third parties."
    redistributable = False
    access = "application"
    how_to_get = (
        "Fill in the form linked from https://isip.piconepress.com/projects/nedc/html/tuh_eeg/ and mail it to "
        "help@nedcdata.org with your public ssh key (answer within one or two days).",
        '`rsync -auxvL -e "ssh -i ~/.ssh/id_ed25519" '
        "nedc-tuh-eeg@www.isip.piconepress.com:data/tuh_eeg/tuh_eeg_abnormal/v3.0.1 .` (about 58 GB; `-L` is needed).",
        "Pass the folder that holds `edf/train/normal` and the others.",
    )
    modality = "EEG"
    family = "signal"
    channels = BIPOLAR_16
    patient_ids = "tuh"
    domains = ("Neurological Disorders",)
    tasks = ("Abnormality Detection",)
    published_splits = {"train": 372510, "test": 36945}
    cautions = (
        "A recording's label is given to each of its windows; most windows of an abnormal recording look normal. "
        "Windows of one recording are not independent: `metadata['recording']` names it.",
        "The published sizes are the 409,455 windows of BIOT's processing; a window here is cut before resampling.",
        "TUAB and TUEV share subjects under the same ids: pretraining on one leaks into the other.",
    )
    splits = ("official", "paper")
    extra_options = {"missing_electrodes": "raise"}
    fingerprint_patterns = ("**/*.edf",)
    root_markers = tuple(f"{top}{part}/{label}" for top in ("edf/", "") for part in SPLITS for label in LABELS)

    def check_options(self, options: Options) -> None:
        """Refuse other values of `missing_electrodes` than `"raise"` and `"nan"`."""
        super().check_options(options)
        if options["missing_electrodes"] not in ("raise", "nan"):
            found = options["missing_electrodes"]
            raise OptionError(f"{self.name}: `missing_electrodes` must be 'raise' or 'nan', got {found!r}.")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the windows of every recording, from the headers alone."""
        for file in files_below(root, ".edf")[".edf"]:
            part, label, stem = part_of(file, tuple(SPLITS)), part_of(file, LABELS), stem_of(file)
            if part is None or label is None:
                yield LeftOut(stem, "not below a folder of a split and a class")
                continue
            try:
                header = read_edf_header(root / file, check_size=False)
            except CorruptFileError as error:
                yield Skipped(stem, file, str(error))
                continue
            count = math.floor(header.duration / WINDOW_SECONDS + 1e-9)
            if not header.is_complete:
                count = max(count, 1)  # `read` refuses each window of a file that contradicts its header
            elif not count:
                yield LeftOut(stem, "recording shorter than a window of 10 s")
            age, sex = read_person(header.patient)
            subject, session, token = (*stem.split("_"), None, None)[:3]
            files, group, split, values = (file,), str(subject), SPLITS[part], (label,)
            for window in range(count):
                yield Record(
                    id=f"{stem}_{window:04d}",
                    group=group,
                    split=split,
                    raw_labels=values,
                    files=files,
                    age=age,
                    sex=sex,
                    metadata={"recording": stem, "session": session, "token": token, "window": window},
                )

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Read the sixteen derivations of a window, in µV at the recording's own rate."""
        path, window = root / record.files[0], (record.metadata or {})["window"]
        header = read_edf_header(path)
        rate = bipolar_rate(header)
        start = math.floor(window * WINDOW_SECONDS * rate + 1e-6)
        stop = start + math.floor(WINDOW_SECONDS * rate + 1e-6)
        eeg = read_bipolar(path, start=start, stop=stop, missing=options["missing_electrodes"])
        signal, shown = fit_signal(eeg.signal, rate, options.sampling_rate, options.length)
        metadata = {
            "subject": record.group, "start_second": window * WINDOW_SECONDS, "original_sampling_rate": rate,
            "start_date": header.start_date, "n_channels": len(header.channels),
            "channel_names": list(header.channel_names),
        }  # fmt: skip
        return {"signal": signal, "sampling_rate": shown, "metadata": metadata}
