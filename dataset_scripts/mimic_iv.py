"""MIMIC-IV with its ECGs, chest X-rays and notes: hospital visits seen from four projects, by Johnson et al., 2023.

Features: the last frontal chest X-ray, the last 12-lead ECG (10 s, 500 Hz, mV) and the structured history as text,
each of the observation window only, each possibly absent. From Beth Israel Deaconess Medical Center, Boston.
Classes: No, Yes: death within 48 hours of admission (`task="paper"`), in hospital after 48 hours of intensive care
(`task="benchmark"`); `targets`: `ihm48` (the same as a number) and `los_days`.
Window: `task="paper"`: admission to 24 hours later, `task="benchmark"`: 48 hours from ICU admission; it ends early at
discharge or death. Nothing measured, taken, written or stored after its end is used.
Splits: none published; by patient (hash), 80/20; `paper`: admissions in the order of their ids, which shares patients.
Licence: PhysioNet Credentialed Health Data License 1.5.0 (ECG: ODbL). Cite: doi 10.1038/s41597-022-01899-x.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import LayoutError
from climb_hf.processing.inputs import read_image_columns
from climb_hf.processing.signal import fit_signal
from climb_hf.readers.ecg import ECG_LEADS
from climb_hf.readers.mimic_cohort import Request, open_cohort
from climb_hf.readers.mimic_layout import ROOT_MARKERS, find_layout, fingerprint_paths, refuse_old_release
from climb_hf.readers.mimic_records import Places, ecg_facts, film_facts, visit_facts
from climb_hf.readers.mimic_sql import RULES
from climb_hf.readers.wfdb import read_record
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

IMAGE_SPLITS = {"train": "train", "validate": "validation", "test": "test"}


class MimicIv(Source):
    """MIMIC-IV, multimodal."""

    name = "mimic_iv"
    title = "MIMIC-IV with MIMIC-IV-ECG, MIMIC-CXR-JPG and MIMIC-IV-Note"
    homepage = "https://physionet.org/content/mimiciv/3.1/"
    citation = (
        "@article{johnson2023mimiciv, title={MIMIC-IV, a freely accessible electronic health record dataset}, "
        "author={Johnson, Alistair E. W. and others}, journal={Scientific Data}, volume={10}, number={1}, year={2023}}"
    )
    license = "LicenseRef-PhysioNet-Credentialed-1.5.0"
    license_note = (
        "The licence forbids sharing the data, derived rows included, with anyone else, and sending them to online "
        "services. Only MIMIC-IV-ECG and the demo of 100 patients are open (ODbL-1.0)."
    )
    redistributable = False
    patient_ids = "mimic"
    access = "credentialed"
    how_to_get = (
        "Create a PhysioNet account, take the CITI course `Data or Specimens Only Research`, become credentialed.",
        "Sign the agreements of `mimiciv` (3.1), `mimic-cxr-jpg` (2.1.0) and, for notes, `mimic-iv-note` (2.2): each "
        "project has its own. `mimic-iv-ecg` (1.0) needs none.",
        "In one folder: `wget -r -N -c -np -nH --cut-dirs=1 --user USER --ask-password "
        "https://physionet.org/files/mimiciv/3.1/` (10 GB), and the same for the other projects (ECG 90 GB, JPG 570 "
        "GB). Projects that lie elsewhere may be linked into the folder; those that are absent are null columns.",
        "Pass the folder that holds `mimiciv/3.1/hosp`, `mimic-iv-ecg/1.0`, `mimic-cxr-jpg/2.1.0`.",
    )
    modality = "EHR, ECG, X-ray"
    family = "multimodal"
    channels = ECG_LEADS
    domains = ("Cardiology", "Radiology")
    tasks = ("Diagnostics", "Prognostics", "Severity Grading")
    published_splits = {"train": 166215, "test": 41554}
    cautions = (
        "The paper's 800,000 samples are the ECGs; its fusion experiments use the 207,769 admissions given here.",
        "The paper's inputs are not limited in time and hold what came after the outcome; here they end with the "
        "observation window.",
        "`task='paper'`: some admissions end before the prediction time (`metadata['ended_before_prediction']`): "
        "their outcome is known by then. Leave them out for a fair prognosis.",
        "The paper's split is by admission: one patient's admissions stand on both sides.",
        "An image encoder trained on MIMIC-CXR has seen most of these patients: `split_by='mimic_cxr'` keeps its "
        "publisher's test patients in test.",
        "ECGs and X-rays carry no admission id; they are joined by patient and time.",
    )
    splits = ("official", "paper", "mimic_cxr")
    #: `task`: "paper" or "benchmark"; `cohort`: "standard", "all" or "single_stay"; `observation_hours`: 24 or 48 by
    #: task; `items`: measurements in the history, "core" or "all"; `text`: "history", "notes" or "both".
    extra_options = {
        "task": "paper",
        "cohort": "standard",
        "observation_hours": None,
        "items": "core",
        "text": "history",
    }
    root_markers = ROOT_MARKERS
    fingerprint_patterns = ROOT_MARKERS

    def find_root(self, data_dir: Path) -> Path:
        """Return the folder that holds the projects; a release with `core/` is named as what it is."""
        try:
            return super().find_root(data_dir)
        except LayoutError:
            refuse_old_release(data_dir)
            raise

    def fingerprint_files(self, root: Path) -> Iterator[Path]:
        """Yield the tables, and the folders that change when films or ECGs are added."""
        return fingerprint_paths(find_layout(root))

    def check_options(self, options: Options) -> None:
        """Check the common options and the source's own."""
        super().check_options(options)
        Request(**options.extra)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the visits of the cohort in the order of their ids; the cohort is built once and cached."""
        cohort, places = open_cohort(root, Request(**options.extra), is_fresh=True), Places(find_layout(root))
        for row in cohort.left_out.to_pylist():
            yield LeftOut(str(row["id"]), RULES[row["rule"]])
        n_train = int(0.8 * cohort.visits.num_rows)
        for number, row in enumerate(cohort.rows()):
            film, ecg, split = places.film(row), places.ecg(row), None
            if options.split_by == "paper":
                split = "train" if number < n_train else "test"
            elif options.split_by == "mimic_cxr":
                split = IMAGE_SPLITS.get(row["image_split"] or "")
            yield Record(
                id=str(row["id"]),
                group=str(row["subject_id"]),
                split=split,
                raw_labels=(str(row["ihm48"]),),
                files=(*film.files, *ecg.files),
                age=row["age"],
                sex=row["sex"],
                targets={"ihm48": row["ihm48"], "los_days": row["los_days"]},
                metadata=visit_facts(row) | film_facts(row, film) | ecg_facts(row, ecg),
            )
        places.say_what_is_absent()

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return the film, the ECG in standard lead order in mV, and the text; what the window lacks is absent."""
        columns: dict[str, Any] = {"text": open_cohort(root, Request(**options.extra)).text_of(int(record.id))}
        for file in record.files:
            if file.endswith(".jpg"):
                columns |= read_image_columns(root / file, options)
            elif file.endswith(".hea"):
                ecg = read_record(root / file, channels=ECG_LEADS)
                signal, rate = fit_signal(ecg.signal, ecg.sampling_rate, options.sampling_rate, options.length)
                columns |= {"signal": signal, "sampling_rate": rate}
        return columns
