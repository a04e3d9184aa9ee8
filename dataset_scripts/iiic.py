"""IIIC / SPaRCNet: 134,450 EEG segments of ten seconds from 1,950 patients, rated by 124 experts, Jing et al., 2023.

Features: sixteen bipolar derivations, 200 Hz, µV, already filtered (60 Hz notch, 0.5 to 40 Hz) and clipped at ±500.
Classes: seizure, LPD, GPD, LRDA, GRDA, other: the most voted one, the first in the arrays' order where votes tie.
Splits: 60/20/20 of the patients, the paper's draw (sorted patients, legacy NumPy generator, seed 42).
Licence: BDSP Restricted Health Data License. Cite: doi 10.1212/WNL.0000000000207127.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.processing.signal import fit_signal
from climb_hf.readers.folders import files_by_name
from climb_hf.readers.montage import BIPOLAR_16
from climb_hf.readers.npy import read_npy_header, read_npy_row
from climb_hf.readers.sparcnet import CLASSES, draw_patients, patient_of, read_keys, read_part, read_people
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

RATE = 200.0
PARTS = {"all": "all_train", "expert10": "10_train"}
DEMOGRAPHICS = "patient_demo.mat"


class Iiic(Source):
    """IIIC segments of the SPaRCNet release."""

    name = "iiic"
    title = "Ictal-interictal-injury continuum patterns (SPaRCNet)"
    homepage = "https://bdsp.io/content/bdsp-sparcnet/1.1/"
    citation = (
        "@article{jing2023development, title={Development of Expert-Level Classification of Seizures and Rhythmic and "
        "Periodic Patterns During {EEG} Interpretation}, author={Jing, Jin and Ge, Wendong and Hong, Shenda and "
        "others}, journal={Neurology}, volume={100}, number={17}, pages={e1750--e1762}, year={2023}, "
        "doi={10.1212/WNL.0000000000207127}}"
    )
    license = "LicenseRef-BDSP-Restricted-1.0.0"
    license_note = "BDSP Restricted Health Data License 1.0.0 and data use agreement: no copy may be passed on."
    redistributable = False
    access = "application"
    how_to_get = (
        "Register at https://bdsp.io with an AWS account id, sign the agreement of "
        "https://bdsp.io/content/bdsp-sparcnet/1.1/ and wait for the approval.",
        "`aws s3 cp --recursive s3://arn:aws:s3:us-east-1:184438910517:accesspoint/bdsp-sparcnet-access-point/"
        "sparcnet_data/ iiic/` (region us-east-1, with the credentials of that account).",
        "Pass the folder that holds `all_train_X.npy`, `all_train_Y.npy` and `all_train_key.npy`, at any depth.",
    )
    modality = "EEG"
    family = "signal"
    channels = BIPOLAR_16
    domains = ("Neurological Disorders",)
    tasks = ("Diagnostics",)
    published_splits = {}
    cautions = (
        "Votes and one-hot labels stand in the order Other, SZ, LPD, GPD, LRDA, GRDA, not in that of the classes; "
        "`metadata['votes']` keeps the counts for soft labels.",
        "`subset='expert10'` (`10_train`, 10 votes and more) is contained in the whole: a patient has the same split.",
        "The signals are filtered and clipped at ±500 µV by the publisher; the montage order is that of its code.",
    )
    splits = ("official", "paper")
    extra_options = {"subset": "all"}
    fingerprint_patterns = ("**/*.npy", "**/patient_demo.mat")
    root_markers = ("all_train_X.npy", "10_train_X.npy", "*/all_train_X.npy", "*/10_train_X.npy")

    def check_options(self, options: Options) -> None:
        """Refuse other values of `subset` than `"all"` and `"expert10"`."""
        super().check_options(options)
        if options["subset"] not in PARTS:
            raise OptionError(f"{self.name}: `subset` must be one of {list(PARTS)}, got {options['subset']!r}.")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the segments in the order of the arrays, from keys and votes."""
        files = {name: paths[0] for name, paths in files_by_name(root, (".npy", ".mat")).items()}
        part = read_part(root, files, PARTS[options["subset"]])
        whole = read_keys(root, files, PARTS["all"]) or []  # a patient's split does not depend on the subset
        split_of = draw_patients({patient_of(key)[0] for key in (*whole, *part.keys)})
        people = read_people(root / files[DEMOGRAPHICS]) if DEMOGRAPHICS in files else {}
        for row, (key, votes) in enumerate(zip(part.keys, part.votes.tolist(), strict=True)):
            patient, segment = patient_of(key)
            if not max(votes) > 0:
                yield LeftOut(key, "no vote")
                continue
            label = votes.index(max(votes))  # ties go to the lowest index
            age, sex = people.get(patient, (None, None))
            yield Record(
                id=key,
                group=patient,
                split=split_of[patient],
                raw_labels=(str(label),),
                files=(part.signals,),
                age=age,
                sex=sex,
                metadata={
                    "segment": segment, "row": row, "raw_name": CLASSES[label],
                    "votes": [int(v) for v in votes] if part.has_votes else None,
                    "n_votes": int(sum(votes)) if part.has_votes else None,
                },
            )  # fmt: skip
        for name, path in files.items():
            if "test_x" in name:
                count = read_npy_header(root / path).shape[0]
                yield from (LeftOut(name, "segment of a test patient, label not published") for _ in range(count))

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Read the segment's row of the signal array, in µV."""
        path, row = root / record.files[0], (record.metadata or {})["row"]
        values = read_npy_row(path, row).T.astype("float32")
        if not (values == values).any():
            raise CorruptFileError(f"`{path}`, row {row}: expected a signal, found NaN only. Leave the segment out.")
        signal, rate = fit_signal(values, RATE, options.sampling_rate, options.length)
        return {"signal": signal, "sampling_rate": rate}
