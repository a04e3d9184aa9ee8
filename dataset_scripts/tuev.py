"""TUH EEG Events Corpus: 518 clinical EEGs with 112,000 annotated events, by Harati, Obeid, Picone and others, 2015.

Features: EDF against a common reference, 250 Hz; an event is one second of one of 22 derivations. Here each row of the
annotations is a window of 5 s around its event: sixteen bipolar derivations in µV, cyclic beyond the ends.
Classes: spike and slow wave, GPED, PLED, eye movement, artifact, background.
Splits: the publisher's `train` (290 subjects) and `eval` (78), which share no subject.
Licence: a signed form; the recordings must not be passed on. Cite: doi 10.1109/SPMB.2015.7405421.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.processing.signal import fit_signal
from climb_hf.readers.edf import EdfHeader, read_edf_header
from climb_hf.readers.montage import BIPOLAR_16, TCP_22
from climb_hf.readers.tuh import (
    SPLITS,
    TuhEvent,
    files_below,
    part_of,
    read_event,
    read_lab,
    read_person,
    read_rec,
    stem_of,
)
from climb_hf.source import LeftOut, Options, Record, Skipped, Source


class Tuev(Source):
    """TUH EEG Events Corpus, one record per annotation row."""

    name = "tuev"
    title = "TUH EEG Events Corpus"
    homepage = "https://isip.piconepress.com/projects/nedc/html/tuh_eeg/"
    citation = (
        "@inproceedings{harati2015improved, title={Improved {EEG} Event Classification Using Differential Energy}, "
        "author={Harati, Amir and Golmohammadi, Meysam and Lopez, Silvia and Obeid, Iyad and Picone, Joseph}, "
        "booktitle={IEEE Signal Processing in Medicine and Biology Symposium}, year={2015}, "
        "doi={10.1109/SPMB.2015.7405421}}"
    )
    license = "LicenseRef-TUH-EEG-Data-Use"
    license_note = "A signed form of the Neural Engineering Data Consortium; no passing on to third parties."
    redistributable = False
    access = "application"
    how_to_get = (
        "Fill in the form linked from https://isip.piconepress.com/projects/nedc/html/tuh_eeg/ and mail it to "
        "help@nedcdata.org with your public ssh key (answer within one or two days).",
        '`rsync -auxvL -e "ssh -i ~/.ssh/id_ed25519" '
        "nedc-tuh-eeg@www.isip.piconepress.com:data/tuh_eeg/tuh_eeg_events/v2.0.1 .` (about 19 GB; `-L` is needed).",
        "Pass the folder that holds `edf/train` and `edf/eval`.",
    )
    modality = "EEG"
    family = "signal"
    channels = BIPOLAR_16
    patient_ids = "tuh"
    domains = ("Neurological Disorders",)
    tasks = ("Diagnostics",)
    published_splits = {}
    cautions = (
        "One record per row: a second annotated on k derivations gives k records with the same signal, sometimes with "
        "different labels. `duplicate_of` names the first; `deduplicate=True` keeps one per (start, stop, code).",
        "About 112,500 rows in both splits together (the paper: 111.9k); background dominates: use balanced accuracy.",
        "The event in the name of an eval file is what the file was chosen for, not the label of its rows.",
        "TUEV and TUAB share subjects under the same ids: pretraining on one leaks into the other.",
    )
    splits = ("official", "paper")
    extra_options = {"deduplicate": False, "missing_electrodes": "raise"}
    fingerprint_patterns = ("**/*.rec", "**/*.edf")
    root_markers = tuple(
        f"{top}{part}/*/*.{kind}" for top in ("edf/", "") for part in SPLITS for kind in ("rec", "lab")
    )

    def check_options(self, options: Options) -> None:
        """Refuse other values of `missing_electrodes` than `"raise"` and `"nan"`."""
        super().check_options(options)
        if options["missing_electrodes"] not in ("raise", "nan"):
            found = options["missing_electrodes"]
            raise OptionError(f"{self.name}: `missing_electrodes` must be 'raise' or 'nan', got {found!r}.")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the rows of every annotation file: `.rec`, else the `.lab` files of the same recording."""
        files = files_below(root, ".edf", ".rec", ".lab")
        recordings, tables = ({file[:-4]: file for file in files[kind]} for kind in (".edf", ".rec"))
        labs: dict[str, list[str]] = {}
        for file in files[".lab"]:
            labs.setdefault(file.rpartition("_ch")[0], []).append(file)
        for base in sorted({*recordings, *tables, *labs}):
            edf, stem, part = recordings.get(base, f"{base}.edf"), stem_of(f"{base}.edf"), part_of(base, tuple(SPLITS))
            if part is None or (base not in tables and base not in labs):
                yield LeftOut(stem, "no annotation file" if part else "not below `train` or `eval`")
                continue
            try:
                header = read_edf_header(root / edf, check_size=False) if base in recordings else None
                events = read_rec(root / tables[base]) if base in tables else read_lab([root / f for f in labs[base]])
            except (CorruptFileError, OSError) as error:
                yield Skipped(stem, edf, str(error))
                continue
            yield from self._records(edf, part, header, events, options)

    def _records(
        self, edf: str, part: str, header: EdfHeader | None, events: list[TuhEvent], options: Options
    ) -> Iterator[Record | Skipped | LeftOut]:
        stem, folder = stem_of(edf), edf.split("/")[-2]
        age, sex = read_person(header.patient) if header else (None, None)
        firsts: dict[tuple[float, float], str] = {}
        coded: set[tuple[float, float, str]] = set()
        for row, event in enumerate(events):
            id_, span = f"{stem}_{row:04d}", (event.start, event.stop)
            if event.fault or (header is not None and header.is_complete and event.start >= header.duration):
                reason = event.fault or f"starts at {event.start:g} s, after the end of the recording"
                yield Skipped(id_, edf, f"annotation row {row} {reason}", "SchemaError")
                continue
            if options["deduplicate"] and (*span, event.code) in coded:
                yield LeftOut(id_, "same event on another derivation (`deduplicate=True`)")
                continue
            coded.add((*span, event.code))
            yield Record(
                id=id_,
                group=folder if part == "eval" else stem.split("_")[0],
                split=SPLITS[part],
                raw_labels=(event.code,),
                files=(edf,),
                age=age,
                sex=sex,
                duplicate_of=firsts.get(span),
                metadata={
                    "recording": stem, "folder": folder, "channel_index": event.channel, "start": event.start,
                    "channel_name": TCP_22[event.channel], "stop": event.stop, "code": event.code,
                    "file_event": stem.split("_")[0] if part == "eval" else None,
                },
            )  # fmt: skip
            firsts.setdefault(span, id_)

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Read five seconds of the sixteen derivations around the event, in µV at the recording's own rate."""
        event = record.metadata or {}
        path = root / record.files[0]
        eeg = read_event(path, event["start"], event["stop"], missing=options["missing_electrodes"])
        signal, rate = fit_signal(eeg.signal, eeg.sampling_rate, options.sampling_rate, options.length)
        return {"signal": signal, "sampling_rate": rate, "metadata": {"original_sampling_rate": eeg.sampling_rate}}
