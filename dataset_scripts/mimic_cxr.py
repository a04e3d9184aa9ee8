"""MIMIC-CXR-JPG: 377,110 chest X-rays of 227,835 studies with reports and 14 labels, by Johnson et al., 2019.

Features: histogram-equalised 8-bit JPEG; view, study, time; the reports of MIMIC-CXR where they lie beside the images.
Collected at Beth Israel Deaconess Medical Center, Boston, 2011 to 2016.
Classes: 14 of CheXpert's labeler (1, 0, -1, blank) per study; `labels="negbio"` takes the other labeler's.
Only 1 is positive; -1 goes to `uncertain`; 0 and blank count as negative.
Splits: the publisher's `train`, `validate`, `test` by patient; `split_by="paper"`: train, and validate with test as
test, each without the images that have no positive label.
`task="pairs"`: `image` and `text`, one picture and its report per study: 222,758, 1,808 and 3,269 (see `mimic_pairs`).
Licence: PhysioNet Credentialed Health Data License 1.5.0. Cite: arXiv 1901.07042.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import LayoutError
from climb_hf.readers import tables
from climb_hf.readers.findings import study_findings
from climb_hf.readers.mimic_images import read_people, read_pictures, refuse_dicom_file, refuse_dicom_project
from climb_hf.readers.mimic_pairs import check_task, one_per_study, report_columns
from climb_hf.readers.mimic_reports import read_report, report_places, watched_reports
from climb_hf.readers.patient_folders import subfolders, unlisted_files
from climb_hf.source import Family, LeftOut, Options, Record, Skipped, Source

TABLE = "mimic-cxr-2.0.0-{}.csv.gz"  # the names say 2.0.0 in release 2.1.0 too
LABELS = {name: TABLE.format(name) for name in ("chexpert", "negbio")}
LABELS["radiologist"] = "mimic-cxr-2.1.0-test-set-labeled.csv"
SPLITS = {"train": "train", "validate": "validation", "test": "test"}
COLUMNS = ("dicom_id", "study_id", "subject_id", "split")


class MimicCxr(Source):
    """MIMIC-CXR-JPG."""

    name = "mimic_cxr"
    title = "MIMIC-CXR-JPG: chest X-rays with reports and structured labels"
    homepage = "https://physionet.org/content/mimic-cxr-jpg/2.1.0/"
    citation = (
        "@article{johnson2019mimiccxrjpg, title={MIMIC-CXR-JPG, a large publicly available database of labeled chest "
        "radiographs}, author={Johnson, Alistair E. W. and others}, journal={arXiv:1901.07042}, year={2019}}"
    )
    license = "LicenseRef-PhysioNet-Credentialed-1.5.0"
    license_note = "The licence forbids sharing the data with anyone else, reports and labels included."
    redistributable = False
    access = "credentialed"
    how_to_get = (
        "Create a PhysioNet account, take the CITI course `Data or Specimens Only Research`, become credentialed.",
        "Sign the agreements of https://physionet.org/content/mimic-cxr-jpg/2.1.0/ and, for the reports, of "
        "https://physionet.org/content/mimic-cxr/2.1.0/: each has its own.",
        "`wget -r -N -c -np --user USER --ask-password https://physionet.org/files/mimic-cxr-jpg/2.1.0/` (570 GB); "
        "of `mimic-cxr` only `mimic-cxr-reports.zip` (140 MB) is used: put it, or what it holds, beside the tables.",
        "Pass the folder that holds `mimic-cxr-2.0.0-split.csv.gz` and `files/`.",
    )
    modality = "Chest X-ray"
    family = "image"
    patient_ids = "mimic"
    domains = ("Radiology",)
    tasks = ("Diagnostics", "Classification")
    published_splits = {"train": 368960, "validation": 2991, "test": 5159}
    cautions = (
        "Labels are a labeler's reading of the report of a study; all its images carry them, whatever they show.",
        "Test is richer in abnormal studies than train (89 % against 77 %).",
        "Images of a study may be one exposure in several renderings: never split below the patient.",
        "Dates are shifted per patient; they order its studies and mean nothing else.",
    )
    splits = ("official", "paper")
    label_schemes = ("climb", "negbio", "raw")
    vocabulary_scheme = {"raw": "climb", "negbio": "climb"}
    #: `reports`: folder or archive of the reports, where not beside the images; `patients`: MIMIC-IV's table, for sex
    #: and age; `task`: `"pairs"` for picture and report; `text`: which part of it.
    extra_options = {"reports": None, "patients": None, "task": "labels", "text": "findings+impression"}
    pair_options = {"task": "pairs"}
    fingerprint_patterns = ("mimic-cxr-2.*.csv*", "files/p1?")
    root_markers = ("mimic-cxr-2.*-split.csv*",)

    def check_options(self, options: Options) -> None:
        """Check the own options too."""
        super().check_options(options)
        check_task(self.name, options)

    def family_for(self, options: Options) -> Family:
        """Return `"text-image"` for pairs."""
        return "text-image" if options["task"] == "pairs" else self.family

    def find_root(self, data_dir: Path) -> Path:
        """Return the folder of the tables; the DICOM project, which looks alike, is named as what it is."""
        try:
            return super().find_root(data_dir)
        except LayoutError:
            refuse_dicom_project(data_dir, self.homepage)
            raise

    def fingerprint_files(self, root: Path) -> Iterator[Path]:
        """Yield the tables and whatever changes when images or reports are added."""
        yield from super().fingerprint_files(root)
        yield from watched_reports(root)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Join the tables by study and image id; `verify="none"` saves the walk that counts unlisted pictures."""
        list(report_places(root, options["reports"]))  # a wrong path is refused before anything is read
        labeler, is_pairs = "negbio" if options.labels == "negbio" else "chexpert", check_task(self.name, options)
        needed, known = None if is_pairs else labeler, self.vocabulary()
        stated = {name: study_findings(root / file, known, is_needed=name == needed) for name, file in LABELS.items()}
        pictures = read_pictures(root / TABLE.format("metadata"))
        people = read_people(Path(options["patients"])) if options["patients"] else {}
        patients, listed = subfolders(root, [f"files/p{number}" for number in range(10, 20)], "p"), set()
        is_paper, is_jpg, split_table = options.split_by == "paper", False, root / TABLE.format("split")
        chosen = one_per_study(root, split_table, pictures, patients, options["reports"]) if is_pairs else ()
        for row in tables.read_csv_rows(split_table, required=COLUMNS):
            dicom, study, subject, split = (row[name] for name in COLUMNS)
            found, picture = stated[labeler].get(study), pictures.pop(dicom, {})
            file = f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.jpg"
            listed.add(file)
            if split not in SPLITS:
                reason = f"{self.name}: expected a split of {list(SPLITS)}, found {split!r}"
                yield Skipped(dicom, file, reason, "SchemaError")
            elif is_pairs and dicom not in chosen:
                yield LeftOut(dicom, "further image of a study (`task='pairs'` takes one)")
            elif f"p{subject}" not in patients:
                yield LeftOut(dicom, "image of a patient whose folder is not there (partial download)")
            elif found is None and not is_pairs:
                yield LeftOut(dicom, f"image of a study without a row in the {labeler} table")
            elif is_paper and not (found and found.positive):
                yield LeftOut(dicom, "image without a positive label (paper split)")
            else:
                is_jpg = is_jpg or refuse_dicom_file(root / file, self.homepage)
                values = {name: rows[study].values if study in rows else None for name, rows in stated.items()}
                person = people.get(subject)
                yield Record(
                    id=study if is_pairs else dicom,
                    group=subject,
                    split="test" if is_paper and split != "train" else SPLITS[split],
                    raw_labels=found.positive if found else (),
                    uncertain=found.uncertain if found else (),
                    files=(file,),
                    age=person.age_at(picture.get("study_time")) if person else None,
                    sex=person.sex if person else None,
                    inputs=None if is_pairs else {"view": picture.pop("view", None)},
                    metadata={"study_id": study, **({"dicom_id": dicom} if is_pairs else {}), **picture, **values},
                )
        if options.verify != "none":
            for name in unlisted_files(root, [f"{top}/{name}" for name, top in patients.items()], ".jpg", listed):
                yield LeftOut(name, "picture without a row in the split table")

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return the picture, and the report of its study with its sections where there is one, or the pair's text."""
        study = (record.metadata or {})["study_id"]
        report = read_report(root, record.group, study, options["reports"])
        return {**super().read(record, root, options), **report_columns(report, study, options)}
