"""KiTS23: 489 contrast CTs of kidney tumours with segmentations and clinical data, by Heller et al., 2023.

Features: NIfTI volumes of 29 to 1,059 slices, shown in the soft-tissue window; masks of kidney (1), tumour (2) and
cyst (3). Minnesota, United States.
Classes: benign, malignant, by pathology; cases without that value are left out.
Splits: all public cases are the publisher's training set; default by case (hash), 75/25; `split_by="paper"`: the first
three quarters of the list. Licence: CC-BY-NC-SA-4.0. Cite: doi 10.48550/arXiv.2307.01984.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import CorruptFileError, LayoutError, SchemaError
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

TABLE, IMAGES, MASK = "kits23.json", ("imaging.nii.gz", "imaging.nii"), "segmentation.nii.gz"
PARTIAL = ".partial.imaging.nii.gz"
SEX = {"male": "male", "female": "female"}
#: Cases 0 to 499 show the arterial phase, later ones the nephrographic (issue 19 of the publisher's repository).
FIRST_NEPHROGRAPHIC = 500


class Kits23(Source):
    """KiTS23."""

    name = "kits23"
    title = "KiTS23: kidney tumours in contrast CT"
    homepage = "https://github.com/neheller/kits23"
    citation = (
        "@article{heller2023kits21, title={The KiTS21 Challenge: Automatic segmentation of kidneys, renal tumors, and "
        "renal cysts in corticomedullary-phase CT}, author={Heller, Nicholas and others}, journal={arXiv:2307.01984}, "
        "year={2023}, doi={10.48550/arXiv.2307.01984}}"
    )
    license = "CC-BY-NC-SA-4.0"
    license_note = "Non-commercial; what is passed on stays under the same licence."
    redistributable = True
    access = "open"
    how_to_get = (
        "`git clone https://github.com/neheller/kits23` (about 6 GB: segmentations and `kits23.json`, no images).",
        "`cd kits23 && pip install -e . && kits23_download_data` fetches the images (12 GB and more, no account "
        "needed); if an older copy fails, pull first: the images have moved.",
        "Pass the repository, or its folder `dataset/`.",
    )
    modality = "CT"
    family = "frames"
    domains = ("Radiology", "Oncology")
    tasks = ("Segmentation",)
    published_splits = {"train": 361, "test": 117}
    cautions = (
        "About 9 % of the cases are benign: accuracy says nothing, and the test part holds about ten of them.",
        "Cases from 500 on show another contrast phase, so the paper's split by position differs in it "
        "(`contrast_phase` in `metadata`).",
        "Stage, grade, subtype, risk score and sizes by pathology follow from the label's source; they stand in "
        "`metadata['label_side']` and must not be inputs.",
        "`malignant` was revised: files of 2024 give 361 / 117 cases to the paper's split, those since August 2025 "
        "365 / 117.",
    )
    splits = ("official", "paper")
    fractions = {"train": 0.75, "test": 0.25}
    extra_options = {"window": "soft_tissue", "bit_depth": 8}
    fingerprint_patterns = (TABLE, "case_*/imaging.nii*")
    root_markers = (TABLE,)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the cases in the order of the publisher's list."""
        cases = self._cases(root / TABLE)
        border, n_images = int(0.75 * len(cases)), 0
        listed = set()
        for position, case in enumerate(cases):
            name = case.get("case_id") if isinstance(case, dict) else None
            if not isinstance(name, str) or not name.removeprefix("case_").isdigit():
                reason = f"expected an object with a `case_id` such as `case_00000`, found {str(case)[:80]}"
                yield Skipped(f"entry {position}", TABLE, reason, "SchemaError")
                continue
            listed.add(name)
            image = next((f"{name}/{file}" for file in IMAGES if (root / name / file).is_file()), None)
            n_images += image is not None
            if case.get("malignant") is None:
                yield LeftOut(name, f"case without `malignant` in `{TABLE}`")
            elif image is None:
                is_broken = (root / name / PARTIAL).is_file()
                yield LeftOut(name, "case whose image download broke off" if is_broken else "case without its image")
            else:
                split = ("train" if position < border else "test") if options.split_by == "paper" else None
                try:
                    yield self._record(root, name, case, image, split)
                except SchemaError as error:
                    yield Skipped(name, TABLE, str(error), "SchemaError")
        if cases and not n_images:
            raise LayoutError(
                f"{self.name}: `{TABLE}` is there, but not one `imaging.nii.gz` in its {len(listed)} case folders: "
                f"only the segmentations were fetched. {self.how_to_get[1]}"
            )
        for path in sorted(root.glob("case_*")):
            if path.name not in listed and any((path / file).is_file() for file in IMAGES):
                yield LeftOut(path.name, f"image of a case that `{TABLE}` does not list")

    def _cases(self, table: Path) -> list[Any]:
        try:
            cases = json.loads(table.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CorruptFileError(f"`{table}` is no readable JSON ({error}). {self.how_to_get[0]}") from error
        if not isinstance(cases, list):
            raise SchemaError(f"`{table}`: expected a list of cases, found {type(cases).__name__}. Restore the file.")
        return cases

    def _record(self, root: Path, name: str, case: dict[str, Any], image: str, split: str | None) -> Record:
        age = case.get("age_at_nephrectomy")
        if not isinstance(case["malignant"], bool) or not isinstance(age, int | float | None):
            raise SchemaError(
                f"`{TABLE}`: expected `malignant` true or false and an age in years, found {case['malignant']!r} and "
                f"{age!r} for `{name}`. Restore the file."
            )
        mask = f"{name}/{MASK}" if (root / name / MASK).is_file() else None
        instances = sorted(
            f"{name}/instances/{path.name}" for path in (root / name / "instances").glob("[!.]*.nii.gz")
        )
        is_late = int(name.removeprefix("case_")) >= FIRST_NEPHROGRAPHIC
        told = ("case_id", "malignant", "age_at_nephrectomy")
        side = {key: case[key] for key in case if key.startswith(("patholog", "tumor_", "aua_"))}
        return Record(
            id=name,
            group=name,
            split=split,
            raw_labels=("true" if case["malignant"] else "false",),
            files=(image, mask) if mask else (image,),
            age=age,
            sex=SEX.get(str(case.get("gender"))),
            metadata={
                **{key: value for key, value in case.items() if key not in (*told, *side)},
                "label_side": side,
                "contrast_phase": "nephrographic" if is_late else "arterial",
                "mask_file": mask,
                "instance_files": instances,
            },
        )

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Read the slices and, where there is one, the segmentation of the same slices."""
        from climb_hf.processing.volumes import MaskLayer, read_volume_columns
        from climb_hf.readers.nifti import open_nifti

        image, *masks = (open_nifti(root / file) for file in record.files)
        return read_volume_columns(image, options, masks=[MaskLayer(mask) for mask in masks])
