"""COVID-BLUES: 362 lung ultrasound videos of 63 patients by the BLUE protocol, by Wiedemann et al., 2025.

Features: MP4, 350 x 350, 25 frames/s, 7 to 101 frames, six points per patient; clinical table, severity per video.
Classes: the patient's PCR result. Target: age in years.
Splits: the paper's, by patient: ids in order, the first three quarters of the table's patients are train (266 / 96).
Licence: CC-BY-NC-ND-4.0. Cite: doi 10.1109/JBHI.2025.3543686.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import SchemaError
from climb_hf.readers.tables import is_junk, read_csv_rows, to_float, to_int
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

CLINICAL, SEVERITY, VIDEOS = "clinical_variables.csv", "severity.csv", "lus_videos"
VIDEO_NAME = re.compile(r"patient_(\d+)_([LR][123])(?:_(\d+))?(?i:\.mp4)")
#: Empty, unknown and not applicable.
MISSING = ("", "-99", "-99.0", "-96", "-96.0")
#: Columns that say the label in other words: kept, but under a key that warns.
LABEL_SIDE = ("cov_test", "PCR_CT", "number_video_files")
LABEL_SIDE_PREFIXES = ("clin_diagn#", "test_meth_covid#")
SEX = {None: None, 0.0: "female", 1.0: "male"}
COLUMNS = {"pat_age": "age", "pat_sex": "sex", "pat_weight": "weight_kg", "pat_height": "height_cm", "pat_bmi": "bmi"}


def _order(path: Path) -> tuple[int, str, int, str]:
    """Order videos by patient, point and take; files with another name come first."""
    match = VIDEO_NAME.fullmatch(path.name)
    return (int(match[1]), match[2], int(match[3] or 1), path.name) if match else (-1, "", 0, path.name)


def _value(text: str) -> float | str | None:
    """Return a cell of the clinical table: a number, null for its codes of "missing", or the text as written."""
    number = to_float(text, missing=MISSING, strict=False)
    return number if number is not None or text.strip() in MISSING else text.strip()


class CovidBlues(Source):
    """COVID-BLUES."""

    name = "covid_blues"
    title = "COVID-BLUES: bluepoint lung ultrasound videos"
    homepage = "https://github.com/NinaWie/COVID-BLUES"
    citation = (
        "@article{wiedemann2025covidblues, title={COVID-BLUeS - A Prospective Study on the Value of AI in Lung "
        "Ultrasound Analysis}, author={Wiedemann, Nina and others}, journal={IEEE Journal of Biomedical and Health "
        "Informatics}, volume={29}, number={9}, pages={6301--6310}, year={2025}, doi={10.1109/JBHI.2025.3543686}}"
    )
    license = "CC-BY-NC-ND-4.0"
    license_note = "No derivatives: frames and re-encoded videos must not be redistributed."
    redistributable = False
    access = "open"
    how_to_get = (
        "`git clone https://github.com/NinaWie/COVID-BLUES` (about 75 MB, no account needed).",
        "Pass the folder that holds `clinical_variables.csv`, `severity.csv` and `lus_videos/`.",
    )
    modality = "Ultrasound"
    family = "frames"
    domains = ("Radiology",)
    tasks = ("Diagnostics",)
    published_splits = {"train": 266, "test": 96}
    cautions = (
        "`clin_diagn`, `PCR_CT`, `test_meth_covid` and `number_video_files` repeat the label; they stand in "
        "`metadata['label_side']` and must not be inputs.",
    )
    splits = ("official", "paper")
    fingerprint_patterns = (CLINICAL, SEVERITY, f"{VIDEOS}/*.[mM][pP]4")
    root_markers = (CLINICAL,)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the videos that are there, by patient, point and take, with the tables' rows."""
        patients: dict[int, dict[str, str]] = {}
        for row in read_csv_rows(root / CLINICAL, required=("patient_id", "cov_test", "pat_age", "pat_sex")):
            try:
                patient = to_int(row["patient_id"])
            except SchemaError:
                patient = None
            if patient is None or patient in patients:
                reason = f"expected a `patient_id` of its own, found {row['patient_id']!r}"
                yield Skipped(f"patient {row['patient_id']}", CLINICAL, reason, "SchemaError")
            else:
                patients[patient] = row
        rows = read_csv_rows(root / SEVERITY, required=("video_file",)) if (root / SEVERITY).is_file() else ()
        severity = {row["video_file"].strip(): row for row in rows}
        ids = sorted(patients)
        train = set(ids[: int(0.75 * len(ids))])  # the border is taken on the table, not on the videos present
        listed = set(severity)
        for path in sorted((root / VIDEOS).glob("*.[mM][pP]4"), key=_order):
            if is_junk(path.name):
                continue
            listed.discard(path.stem)
            match = VIDEO_NAME.fullmatch(path.name)
            if match is None:
                yield LeftOut(path.stem, "name is not `patient_<id>_<point>.mp4`")
                continue
            key = int(match[1]), match[2], int(match[3] or 1)
            try:
                if key[0] not in patients:
                    raise SchemaError(f"patient {key[0]} has no row in `{CLINICAL}`")
                if patients[key[0]]["cov_test"].strip() in MISSING:
                    yield LeftOut(path.stem, f"no PCR result in `{CLINICAL}`")
                    continue
                split = "train" if key[0] in train else "test"
                yield self._record(root, path, key, patients[key[0]], severity.get(path.stem, {}), split)
            except SchemaError as error:
                yield Skipped(path.stem, path.name, str(error), "SchemaError")
        yield from (LeftOut(name, f"listed in `{SEVERITY}`, video not present") for name in sorted(listed))

    def _record(
        self,
        root: Path,
        path: Path,
        key: tuple[int, str, int],
        row: dict[str, str],
        severity: dict[str, str],
        split: str,
    ) -> Record:
        values = {name: _value(text) for name, text in row.items()}
        age, sex = (to_float(row[name], missing=MISSING) for name in ("pat_age", "pat_sex"))
        if sex not in SEX:
            raise SchemaError(f"expected `pat_sex` 0, 1 or a code of `missing`, found {row['pat_sex']!r}")
        is_label_side = {name: name in LABEL_SIDE or name.startswith(LABEL_SIDE_PREFIXES) for name in row}
        clinical = {n: v for n, v in values.items() if n not in COLUMNS and not is_label_side[n] and n != "patient_id"}
        measures = {COLUMNS[n]: values[n] for n in COLUMNS if n in values and COLUMNS[n] not in ("age", "sex")}
        scores: dict[str, Any] = {
            "severity_score": to_float(severity.get("Severity Score", "")),
            "a_lines": severity.get("A-lines", "").strip() or None,
            "b_lines": severity.get("B-lines", "").strip() or None,
            "comment": severity.get("comments", "").strip() or None,
        }
        return Record(
            id=path.stem,
            group=str(key[0]),
            split=split,
            raw_labels=(str(to_int(row["cov_test"])),),
            files=(path.relative_to(root).as_posix(),),
            age=age,
            sex=SEX[sex],
            targets=None if age is None else {"age": age},
            metadata={
                **measures, **scores, "patient_id": key[0], "point": key[1], "side": key[1][0], "take": key[2],
                "clinical": clinical, "label_side": {n: v for n, v in values.items() if is_label_side[n]},
            },
        )  # fmt: skip
