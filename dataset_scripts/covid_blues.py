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

from climb_hf.readers.tables import is_junk, read_csv_rows, to_float
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

CLINICAL, SEVERITY, VIDEOS = "clinical_variables.csv", "severity.csv", "lus_videos"
VIDEO_NAME = re.compile(r"patient_(\d+)_([LR][123])(?:_(\d+))?\.mp4")
#: Empty, unknown and not applicable.
MISSING = ("", "-99", "-99.0", "-96", "-96.0")
#: Columns that say the label in other words: kept, but under a key that warns.
LABEL_SIDE = ("cov_test", "PCR_CT", "number_video_files")
LABEL_SIDE_PREFIXES = ("clin_diagn#", "test_meth_covid#")
COLUMNS = {"pat_age": "age", "pat_sex": "sex", "pat_weight": "weight_kg", "pat_height": "height_cm", "pat_bmi": "bmi"}


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
    fingerprint_patterns = (CLINICAL, SEVERITY, f"{VIDEOS}/*.mp4")
    root_markers = (CLINICAL,)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the videos that are there, by patient, point and take, with the tables' rows."""
        patients = {int(float(row["patient_id"])): row for row in self._clinical(root)}
        rows = read_csv_rows(root / SEVERITY, required=("video_file",)) if (root / SEVERITY).is_file() else ()
        severity = {row["video_file"].strip(): row for row in rows}
        ids = sorted(patients)
        train = set(ids[: int(0.75 * len(ids))])  # the border is taken on the table, not on the videos present
        listed = set(severity)
        for key, path in sorted(self._videos(root / VIDEOS)):
            listed.discard(path.stem)
            if key[0] not in patients:
                yield Skipped(path.stem, path.name, f"patient {key[0]} has no row in `{CLINICAL}`", "SchemaError")
                continue
            row = patients[key[0]]
            yield self._record(
                root, path, key, row, severity.get(path.stem, {}), "train" if key[0] in train else "test"
            )
        yield from (LeftOut(name, f"listed in `{SEVERITY}`, video not present") for name in sorted(listed))

    def _clinical(self, root: Path) -> Iterator[dict[str, str]]:
        return read_csv_rows(root / CLINICAL, required=("patient_id", "cov_test", "pat_age", "pat_sex"))

    @staticmethod
    def _videos(folder: Path) -> Iterator[tuple[tuple[int, str, int], Path]]:
        for path in folder.glob("*.mp4"):
            match = VIDEO_NAME.fullmatch(path.name)
            if match and not is_junk(path.name):
                yield (int(match[1]), match[2], int(match[3] or 1)), path

    def _record(
        self,
        root: Path,
        path: Path,
        key: tuple[int, str, int],
        row: dict[str, str],
        severity: dict[str, str],
        split: str,
    ) -> Record:
        values = {name: to_float(text, missing=MISSING, strict=False) for name, text in row.items()}
        sex = values["pat_sex"]
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
            raw_labels=(str(int(float(row["cov_test"]))),),
            files=(path.relative_to(root).as_posix(),),
            age=values["pat_age"],
            sex=None if sex is None else ("female", "male")[int(sex)],
            targets=None if values["pat_age"] is None else {"age": values["pat_age"]},
            metadata={
                **measures, **scores, "patient_id": key[0], "point": key[1], "side": key[1][0], "take": key[2],
                "clinical": clinical, "label_side": {n: v for n, v in values.items() if is_label_side[n]},
            },
        )  # fmt: skip
