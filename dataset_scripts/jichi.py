"""Jichi: 9,939 fundus photographs of 2,740 patients with modified Davis grades, by Takahashi et al., 2017.

Features: square RGB JPEG of a non-mydriatic 45-degree camera; patient, eye, two grades; no age, sex or date.
Classes: the modified Davis grade of the single photograph: none (NDR), simple, pre-proliferative, proliferative.
The CLIMB paper's Table 7 lists the last three, although its sizes hold all four: `drop_ndr=True` gives those three.
Splits: none published; default by patient (hash), 80/20; `paper` is drawn per image, 7,950/1,989.
Licence: CC-BY-4.0. Cite: doi 10.1371/journal.pone.0179790.
"""

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from climb_hf.readers.folders import files_by_name
from climb_hf.readers.tables import read_csv_rows
from climb_hf.source import LeftOut, Options, Record, Skipped, Source
from climb_hf.splits import draw_per_class

TABLE = "list.csv"
IMAGE, ONE, CONCATENATED = "Image", "Davis_grading_of_one_figure", "Davis_grading_of_concatenated_figures"
NAME = re.compile(r"(\d+)_(\d+)_([LR])\.jpe?g", re.IGNORECASE)
SIDES = {"L": "left", "R": "right"}
NDR = "ndr"


class Jichi(Source):
    """Jichi: Davis grading of fundus photographs."""

    name = "jichi"
    title = "Jichi: Davis grading of one and concatenated fundus photographs"
    homepage = "https://figshare.com/articles/figure/Davis_Grading_of_One_and_Concatenated_Figures/4879853/1"
    citation = (
        "@article{takahashi2017davis, title={Applying artificial intelligence to disease staging: Deep learning for "
        "improved staging of diabetic retinopathy}, author={Takahashi, Hidenori and Tampo, Hironobu and Arai, Yusuke "
        "and Inoue, Yuji and Kawashima, Hidetoshi}, journal={PLOS ONE}, volume={12}, number={6}, pages={e0179790}, "
        "year={2017}, doi={10.1371/journal.pone.0179790}}"
    )
    license = "CC-BY-4.0"
    license_note = "Attribution: Takahashi et al., PLOS ONE 2017; data at doi 10.6084/m9.figshare.4879853."
    redistributable = True
    access = "open"
    how_to_get = (
        "Open the figshare item https://doi.org/10.6084/m9.figshare.4879853 and download its archive (no account).",
        "Unpack it: a folder `dmr` with `list.csv` and 9,939 JPEG.",
        "Pass the folder that holds `list.csv`; pictures are found below it by their names.",
    )
    modality = "Fundus"
    family = "image"
    domains = ("Ophthalmology",)
    tasks = ("Diagnostics", "Prognostics", "Severity Grading")
    published_splits = {"train": 7950, "test": 1989}
    cautions = (
        "`split_by='paper'` is drawn per image: a patient has 3.6 images on average, so most test patients are in "
        "train too. The default keeps a patient together.",
        "Table 7 of the CLIMB paper lists three classes; its sizes and results are those of four, with `ndr` about "
        "two thirds of the images. `drop_ndr=True`, or `labels='drop_ndr'`, leaves those images out.",
        "Labels grade the single photograph; `grade_concatenated` in `metadata` grades four photographs of the eye "
        "and may differ. The Davis scale is not the five-step scale of messidor2 and aptos2019.",
        "The prognosis grades of the article are not released; images of all qualities are included.",
    )
    splits = ("official", "paper")
    label_schemes = ("climb", "drop_ndr", "raw")
    extra_options = {"drop_ndr": False}
    option_schemes = {"drop_ndr": "drop_ndr"}
    fingerprint_patterns = (TABLE, "**/*_[LRlr].[jJ][pP]*[gG]")
    root_markers = (TABLE,)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Read `list.csv` and join the pictures by file name in any letter case, wherever they lie."""
        pictures = files_by_name(root, (".jpg", ".jpeg"))
        rows = list(read_csv_rows(root / TABLE, required=(IMAGE, ONE, CONCATENATED)))
        names = [PurePosixPath(row[IMAGE].strip().replace("\\", "/")).name for row in rows]
        grades = [row[ONE].strip().lower() for row in rows]
        drawn = iter(draw_per_class([grade for grade in grades if grade]) if options.split_by == "paper" else ())
        drops_ndr = options["drop_ndr"] or options.labels == "drop_ndr"
        for name, grade, row in zip(names, grades, rows, strict=True):
            files = pictures.pop(name.lower(), [name])
            split = next(drawn, None) if grade else None
            parts = NAME.fullmatch(name)
            if not grade:
                yield LeftOut(name, f"row without a value in `{ONE}`")
            elif parts is None:
                reason = f"{self.name}: expected a name `<patient>_<number>_<L|R>.jpg`, found `{name}` in `{TABLE}`."
                yield Skipped(name, files[0], reason, "SchemaError")
            elif drops_ndr and grade == NDR:
                yield LeftOut(name, "no diabetic retinopathy, `ndr` (`drop_ndr`)")
            else:
                patient, number, side = parts.groups()
                yield Record(
                    id=name,
                    group=str(int(patient)),
                    split=split,
                    raw_labels=(grade,),
                    files=(files[0],),
                    metadata={
                        "patient_id": str(int(patient)),
                        "running_number": int(number),
                        "laterality": SIDES[side.upper()],
                        "grade_one_figure": grade,
                        "grade_concatenated": row[CONCATENATED].strip().lower() or None,
                    },
                )
            for file in files[1:]:
                yield LeftOut(file, "second picture of the same name")
        for file in (file for found in pictures.values() for file in found):
            yield LeftOut(file, f"picture without a row in `{TABLE}`")
