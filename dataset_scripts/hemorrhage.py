"""CT-ICH: 2,501 head CT slices of 82 patients with five types of intracranial hemorrhage, by Hssayeni et al., 2020.

Features: each slice as two grey JPEG of 650 × 650 (brain and bone window, no HU), masks of the hemorrhages, age, sex.
Where: Al Hilla Teaching Hospital, Iraq, 2018. Classes: with and without hemorrhage; `labels="raw"` has the five types.
Splits: none published; the CLIMB paper's 17 test patients, listed here. Licence: CC-BY-4.0 (version 1.0.0).
Cite: doi 10.3390/data5010014.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from climb_hf.errors import LayoutError, OptionError
from climb_hf.readers.tables import find_table, read_csv_rows, to_bool, to_float, to_int
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

TABLE, PATIENTS, FOLDER = "hemorrhage_diagnosis.csv", "patient_demographics.csv", "Patients_CT"
#: Names of later versions: volumes of 75 patients, another product under another licence.
LATER = ("hemorrhage_diagnosis_raw_ct.csv", "ct_scans")
NONE, TYPES = "No_Hemorrhage", ("Intraventricular", "Intraparenchymal", "Subarachnoid", "Epidural", "Subdural")
FRACTURE = "Fracture_Yes_No"
WINDOWS, MASK = ("brain", "bone"), "_HGE_Seg.jpg"
#: scikit-learn's `train_test_split(range(49, 131), test_size=0.2, random_state=42)`.
TEST_PATIENTS = frozenset({49, 53, 59, 61, 67, 71, 77, 79, 80, 82, 84, 94, 98, 102, 117, 118, 124})
#: (patient, slice) that the publisher has in the brain window only.
WITHOUT_BONE = frozenset({(84, 36)})


class Hemorrhage(Source):
    """CT-ICH, version 1.0.0."""

    name = "hemorrhage"
    title = "CT-ICH: head CT slices with intracranial hemorrhage"
    homepage = "https://physionet.org/content/ct-ich/1.0.0/"
    citation = (
        "@article{hssayeni2020ctich, title={Intracranial Hemorrhage Segmentation Using a Deep Convolutional Model}, "
        "author={Hssayeni, Murtadha D. and others}, journal={Data}, volume={5}, number={1}, pages={14}, year={2020}, "
        "doi={10.3390/data5010014}}"
    )
    license = "CC-BY-4.0"
    license_note = "Holds for version 1.0.0; later versions are volumes under PhysioNet's restricted licence."
    redistributable = True
    access = "open"
    how_to_get = (
        "With a Kaggle account: `kaggle datasets download -d vbookshelf/computed-tomography-ct-images --unzip`, a "
        "copy of version 1.0.0 of https://physionet.org/content/ct-ich/1.0.0/.",
        "Pass the folder that holds `hemorrhage_diagnosis.csv` and `Patients_CT/`, or the one above it.",
    )
    modality = "CT"
    family = "image"
    domains = ("Radiology",)
    tasks = ("Diagnostics", "Segmentation")
    published_splits = {"train": 1986, "test": 515}
    cautions = (
        "A record is a slice; the 515 test records are slices of 17 patients, so take intervals over patients.",
        "Pictures are screenshots of two display windows without HU; later versions are volumes, not this data set.",
        "Fracture is independent of hemorrhage (195 slices) and belongs to no class.",
    )
    splits = ("official", "paper")
    extra_options = {"window": "brain"}
    fingerprint_patterns = (TABLE, PATIENTS, f"{FOLDER}/*/*/*")
    root_markers = (TABLE, *LATER)

    def check_options(self, options: Options) -> None:
        """Refuse windows other than the two the publisher exported, beside what every source refuses."""
        super().check_options(options)
        if options.window not in WINDOWS:
            raise OptionError(f"{self.name}: `window` must be one of {list(WINDOWS)}, got {options.window!r}.")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Join the slice table with patients by number, and with files by patient and slice number."""
        if find_table(root / TABLE) is None:
            raise LayoutError(
                f"{self.name}: `{TABLE}` not found in `{root}`, but {' or '.join(f'`{n}`' for n in LATER)} is: these "
                f"are the volumes of a later version, another product. {self.how_to_get[0]}"
            )
        people = self._people(root)
        found = {p.relative_to(root).as_posix() for p in root.glob(f"{FOLDER}/*/*/*.jpg")}
        listed: set[str] = set()
        for row in read_csv_rows(root / TABLE, required=("PatientNumber", "SliceNumber", NONE, *TYPES, FRACTURE)):
            patient, number = to_int(row["PatientNumber"]), to_int(row["SliceNumber"])
            if patient is None or number is None:
                yield Skipped("", TABLE, f"expected a patient and a slice number, found {row}", "SchemaError")
                continue
            folder = f"{FOLDER}/{patient:03d}"
            views = {window: f"{folder}/{window}/{number}.jpg" for window in WINDOWS}
            listed.update(views.values())
            if (patient, number) in WITHOUT_BONE and options.window == "bone" and views["bone"] not in found:
                yield LeftOut(f"{patient:03d}/{number}", "slice that the publisher has in the brain window only")
                continue
            mask = f"{folder}/brain/{number}{MASK}"
            mask_file = mask if mask in found else None
            files = (views[options.window], mask_file) if mask_file else (views[options.window],)
            person = people.get(patient, {})
            yield Record(
                id=f"{patient:03d}/{number}",
                group=f"{patient:03d}",
                split="test" if patient in TEST_PATIENTS else "train",
                raw_labels=tuple(name for name in (NONE, *TYPES, FRACTURE) if to_bool(row[name])),
                files=files,
                age=to_float(person.get("Age (years)", "")),
                sex={"male": "male", "female": "female"}.get(person.get("Gender", "").lower()),
                metadata={
                    "patient_number": patient,
                    "slice_number": number,
                    **{name.lower(): to_bool(row[name]) for name in TYPES},
                    "fracture": to_bool(row[FRACTURE]),
                    "condition": person.get("Condition on file") or None,
                    "note": person.get("Note") or None,
                    **{f"{window}_file": file if file in found else None for window, file in views.items()},
                    "mask_file": mask_file,
                },
            )
        for file in sorted(found - listed):
            if re.search(rf"/{options.window}/\d+\.jpg$", file):
                yield LeftOut(file, f"picture without a row in `{TABLE}`")

    @staticmethod
    def _people(root: Path) -> dict[int, dict[str, str]]:
        """Return patient -> row of the patient table, by column names without their line breaks; absent in samples."""
        people = {}
        for row in read_csv_rows(root / PATIENTS) if find_table(root / PATIENTS) else ():
            cells = {" ".join(name.split()): value.strip() for name, value in row.items()}
            number = to_int(cells.get("Patient Number", ""))
            if number is not None:
                people[number] = cells
        return people

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return the picture of the window, which its file already shows, and the mask."""
        from climb_hf.readers.masks import read_mask

        picture, *masks = (root / file for file in record.files)
        columns = super().read(record, root, replace(options, window=None))
        return {**columns, "mask": read_mask(masks, picture, options.image_size)}
