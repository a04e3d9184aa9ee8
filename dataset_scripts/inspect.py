"""INSPECT: 23,248 CT pulmonary angiographies of 19,402 patients with reports and outcomes, by Huang et al., 2023.

Features: NIfTI volumes shown in the window for embolism; the impression of the report; outcomes up to 12 months as
targets; sex, age and race where the OMOP table of persons is there. Stanford Medicine, 2000 to 2021.
Classes: no embolism, and four by acute or not and subsegmental only or not, from three columns of a report model.
Splits: the publisher's, by patient (18,937 / 1,089 / 3,214 with a volume); `split_by="paper"`: the first three
quarters of the older release's table.
Licence: Stanford University Dataset Research Use Agreement. Cite: doi 10.48550/arXiv.2311.10798.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import AccessError, SchemaError, SplitError
from climb_hf.readers.inspect_tables import Study, read_old_studies, read_studies
from climb_hf.readers.tables import read_csv_rows
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

OLD, FOLDER = "Final_Impressions_labels.csv", "CTPA"
SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}


class Inspect(Source):
    """INSPECT."""

    name = "inspect"
    title = "INSPECT: CT pulmonary angiography with reports and outcomes"
    homepage = "https://github.com/som-shahlab/INSPECT_public"
    citation = (
        "@inproceedings{huang2023inspect, title={INSPECT: A Multimodal Dataset for Pulmonary Embolism Diagnosis and "
        "Prognosis}, author={Huang, Shih-Cheng and others}, booktitle={NeurIPS Datasets and Benchmarks}, year={2023}, "
        "doi={10.48550/arXiv.2311.10798}}"
    )
    license = "LicenseRef-Stanford-University-Dataset-Research-Use-Agreement"
    license_note = "Non-commercial research only; nothing of it may be passed on."
    redistributable = False
    access = "registration"
    how_to_get = (
        "Register at https://redivis.com, find the dataset `inspect` of the organisation `aimi` and accept its terms.",
        "Download the files of the table `full` (tables and `CTPA/*.nii.gz`; hundreds of GB).",
        "Optional: sex, age and race need `person.csv` of the separate EHR dataset (Shah Lab), in `EHR/`.",
        "Pass the folder that holds `labels_*.tsv`, or `Final_Impressions_labels.csv` of the older release.",
    )
    modality = "CT"
    family = "frames"
    domains = ("Radiology",)
    tasks = ("Diagnostics", "Prognostics")
    published_splits = {"train": 18937, "validation": 1089, "test": 3214}
    cautions = (
        "Labels are a language model's reading of the report, and `report` states them: it must not be an input.",
        "`Chronic PE` is what is neither acute nor subsegmental only; no column says chronic.",
        "The paper's split is by row: patients stand on both sides, and only the older table has its order.",
        "About 80 % are No PE.",
        "The older release gives no patient: there each study is its own group, and patients may be in two splits.",
    )
    splits = ("official", "paper")
    fractions = {"train": 0.815, "validation": 0.047, "test": 0.138}
    extra_options = {"window": "pe", "bit_depth": 8}
    fingerprint_patterns = ("*.tsv", "*.csv", "EHR/*.csv*", FOLDER)
    root_markers = ("labels_*.tsv", "labels.tsv", OLD)

    def find_root(self, data_dir: Path) -> Path:
        """Return the root; of `full/` and `sample/` side by side the former."""
        places = (data_dir / "full", *sorted(data_dir.glob("*/full")))
        return next((path for path in places if any(path.glob("labels*.tsv"))), None) or super().find_root(data_dir)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Join the tables by report and volume, in the order of the labels."""
        is_old = not any(root.glob("labels*.tsv"))
        studies = read_old_studies(root / OLD) if is_old else read_studies(root)
        paper = self._paper(root, options) if options.split_by == "paper" else None
        volumes = {path.name.split(".nii")[0]: path.name for path in (root / FOLDER).glob("*.nii*")}
        listed = set()
        for study in studies:
            name, label, targets, fault = study.image or f"impression {study.number}", None, {}, ""
            try:
                label, targets = study.raw_label(), study.targets()
            except SchemaError as error:
                fault = str(error)
            if study.split and study.split not in SPLITS:
                fault = f"expected a split of {list(SPLITS)}, found {study.split!r}"
            if name in listed:
                yield LeftOut(name, "row that repeats an earlier study")
            elif fault:
                yield Skipped(name, "labels", f"{self.name}: {fault}", "SchemaError")
            elif label is None:
                yield LeftOut(name, "study without the columns that make its label")
            elif not study.image:
                yield LeftOut(name, "study that the mapping to volumes does not list")
            elif study.image not in volumes:
                yield LeftOut(name, "study whose volume is not there (eight in all, else a partial download)")
            elif paper is not None and study.number not in paper:
                yield LeftOut(name, f"study that `{OLD}` does not list")
            else:
                split = paper[study.number] if paper is not None else SPLITS.get(study.split)
                yield self._record(study, label, targets, split, f"{FOLDER}/{volumes[study.image]}")
            listed.add(name)
        for name in sorted(volumes.keys() - listed):
            yield LeftOut(volumes[name], "volume without a row in the tables")

    def _paper(self, root: Path, options: Options) -> dict[str, str]:
        """Return report -> split of the paper: by its place in the older release's table."""
        table = Path(options.split_file) if options.split_file else root / OLD
        try:
            rows = [row["impression_id"].strip() for row in read_csv_rows(table, required=("impression_id",))]
        except AccessError as error:
            raise SplitError(
                f"{self.name}: `split_by='paper'` needs the order of `{OLD}` of the older release, which is not in "
                f"`{table.parent}`. Pass it as `split_file=`, or use `split_by='official'`."
            ) from error
        border = int(0.75 * len(rows))
        return {number: "train" if place < border else "test" for place, number in reversed([*enumerate(rows)])}

    @staticmethod
    def _record(study: Study, label: str, targets: dict[str, Any], split: str | None, file: str) -> Record:
        person = study.person_facts
        return Record(
            id=study.image,
            group=study.person or study.image,
            split=split,
            raw_labels=(label,),
            files=(file,),
            age=person.age_at(study.time) if person else None,
            sex=person.sex if person else None,
            targets=targets or None,
            metadata=study.metadata(),
            inputs={"report": study.report},
        )

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Read the slices of the volume."""
        from climb_hf.processing.volumes import read_volume_columns
        from climb_hf.readers.nifti import open_nifti

        return read_volume_columns(open_nifti(root / record.files[0]), options)
