"""Messidor-2: 1,748 fundus photographs of 874 examinations, with the adjudicated grades of Krause et al., 2018.

Features: RGB PNG (Messidor-Original) and JPEG (extension) of about 3:2; laterality from the list of pairs; macular
oedema. Classes: the international five-step scale of diabetic retinopathy; four ungradable images have no grade.
Splits: none published; default by examination (hash), 80/20; `paper` is drawn per image, 1,394/350.
Licence: Messidor terms for the images (no copies), CC0-1.0 for the grades. Cite: doi 10.1016/j.ophtha.2018.01.034.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

from climb_hf.errors import LayoutError, SchemaError, SplitError
from climb_hf.readers.folders import files_by_name
from climb_hf.readers.tables import read_csv_rows, to_int
from climb_hf.source import LeftOut, Options, Record, Skipped, Source
from climb_hf.splits import draw_per_class

logger = logging.getLogger(__name__)

TABLE, PAIRS = "messidor_data.csv", "messidor-2.csv"
#: Columns of image and grade: the published table, and re-shared copies of it.
COLUMNS = {"image_id": "adjudicated_dr_grade", "id_code": "diagnosis"}
SUFFIXES = (".png", ".jpg", ".jpeg")


class Messidor2(Source):
    """Messidor-2 with adjudicated grades."""

    name = "messidor2"
    title = "Messidor-2: fundus photographs with adjudicated grades of diabetic retinopathy"
    homepage = "https://www.adcis.net/en/third-party/messidor2/"
    citation = (
        "@article{krause2018grader, title={Grader variability and the importance of reference standards for "
        "evaluating machine learning models for diabetic retinopathy}, author={Krause, Jonathan and others}, "
        "journal={Ophthalmology}, volume={125}, number={8}, pages={1264--1272}, year={2018}, "
        "doi={10.1016/j.ophtha.2018.01.034}}"
    )
    license = "LicenseRef-Messidor"
    license_note = (
        "The images are for research and education only and may not be copied or passed on; only the grade table is "
        "CC0-1.0. To be acknowledged: kindly provided by the Messidor program partners (see "
        "https://www.adcis.net/en/third-party/messidor/)."
    )
    redistributable = False
    access = "application"
    how_to_get = (
        "Fill in the form and accept the licence agreement at https://www.adcis.net/en/third-party/messidor2/; "
        "download `IMAGES.zip.001` to `.004` and `messidor-2.csv` with the code that is mailed.",
        "`cat IMAGES.zip.00* > IMAGES.zip && unzip IMAGES.zip` (2.5 GB).",
        "Grades, with a Kaggle account: `kaggle datasets download -d google-brain/messidor2-dr-grades` and unzip.",
        "Put `messidor_data.csv`, `messidor-2.csv` and `IMAGES/` into one folder and pass it.",
    )
    modality = "Fundus"
    family = "image"
    domains = ("Ophthalmology",)
    tasks = ("Diagnostics",)
    published_splits = {"train": 1394, "test": 350}
    cautions = (
        "`split_by='paper'` is drawn per image: it may divide a patient's two eyes. The default keeps them together.",
        "The CLIMB paper gives the licence as CC0; that holds for the grade table only, not for the images.",
        "Four of the 1,748 images are ungradable and left out. `messidor-2.csv` holds pairs of eyes and no grades.",
    )
    splits = ("official", "paper")
    fingerprint_patterns = ("**/messidor*.csv", "**/*.[pPjJ][nNpP][gG]")
    root_markers = (TABLE, PAIRS)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Read grades and pairs and join the pictures by file name in any letter case, wherever they lie."""
        tables = {name: root / paths[0] for name, paths in files_by_name(root, (".csv",)).items()}
        rows = self._grades(tables.get(TABLE, root / TABLE))
        pictures = files_by_name(root, SUFFIXES)
        if not pictures:
            raise LayoutError(
                f"{self.name}: no `.png` or `.JPG` picture below `{root}`; expected them in `IMAGES/`. If the parts "
                f"`IMAGES.zip.001` to `.004` are there: {self.how_to_get[1]} The `.tif` pictures of Messidor (1) are "
                "another release."
            )
        pairs = self._pairs(tables.get(PAIRS), options)
        graded = [row for row in rows if row["grade"]]
        splits = draw_per_class([row["grade"] for row in graded]) if options.split_by == "paper" else []
        drawn = {row["id"]: split for row, split in zip(graded, splits, strict=False)}
        alone = [row["id"] for row in graded if pairs and row["id"].lower() not in pairs]
        if alone:
            logger.warning("%s: %d graded images are in no pair of `%s`: %s", self.name, len(alone), PAIRS, alone[:5])
        for row in rows:
            files = pictures.pop(row["id"].lower(), [f"IMAGES/{row['id']}"])
            if row["grade"]:
                yield self._record(row, files[0], drawn.get(row["id"]), pairs.get(row["id"].lower()))
            else:
                yield LeftOut(row["id"], "ungradable image without an adjudicated grade")
            for file in files[1:]:
                yield LeftOut(file, "second picture of the same name")
        for file in (file for files in pictures.values() for file in files):
            yield LeftOut(file, f"picture without a row in `{TABLE}`")

    def _record(self, row: dict[str, str], file: str, split: str | None, pair: tuple[str, int, str] | None) -> Record:
        first, examination, laterality = pair or (row["id"], None, None)
        return Record(
            id=row["id"],
            group=first,
            split=split,
            raw_labels=(row["grade"],),
            files=(file,),
            metadata={
                "image_id": row["name"],
                "adjudicated_dme": to_int(row.get("adjudicated_dme", "")),
                "adjudicated_gradable": to_int(row.get("adjudicated_gradable", "")),
                "examination": examination,
                "laterality": laterality,
                "part": "original" if row["id"].lower().endswith("_pp.png") else "extension",
            },
        )

    def _grades(self, table: Path) -> list[dict[str, str]]:
        """Return the rows of the grade table with `name` as written, `id` as on disk and `grade`, in file order."""
        advice = f"The grades are a download of their own: {self.how_to_get[2]}"
        if not table.is_file():
            raise LayoutError(f"{self.name}: `{table}` not found; `{PAIRS}` holds no grades. {advice}")
        rows = list(read_csv_rows(table))
        found = list(rows[0]) if rows else []
        key = next((key for key, grade in COLUMNS.items() if {key, grade} <= set(found)), None)
        if key is None:
            raise SchemaError(
                f"{self.name}: expected the columns `image_id`, `adjudicated_dr_grade` in `{table}`, found "
                f"{found[:8]}. This is not the grade table (ADCIS's pairs have `left;right`). {advice}"
            )
        known = self.vocabulary()
        for row in rows:
            name, grade = row[key].strip(), row[COLUMNS[key]].strip()
            stem, dot, ending = name.rpartition(".")
            row["name"], row["id"] = name, f"{stem}{dot}{'JPG' if ending.lower() == 'jpg' else ending}"
            row["grade"] = known.canonical(grade) if known.knows(grade) else grade  # `2.0` is 2
        return rows

    def _pairs(self, table: Path | None, options: Options) -> dict[str, tuple[str, int, str]]:
        """Return lower-cased name -> (left image of its examination, number of the examination, laterality)."""
        if table is None and options.split_by == "official":
            raise SplitError(
                f"{self.name}: the default split keeps the two eyes of an examination together and needs `{PAIRS}`, "
                f"not found below `data_dir`. It comes from {self.homepage} with the images; add it, or choose "
                "`split_by='paper'`, which is drawn per image and may divide a patient's eyes."
            )
        rows = read_csv_rows(table, required=("left", "right"), delimiter=";") if table else ()
        return {
            row[side].strip().lower(): (row["left"].strip(), number, side)
            for number, row in enumerate(rows)
            for side in ("left", "right")
        }
