"""PAD-UFES-20: 2,298 smartphone photographs of skin lesions with clinical data, by Pacheco et al., 2020.

Features: RGB or RGBA PNG of 147 to 3,476 px; one table with 26 columns; 1,373 patients, 1,891 (patient, lesion) pairs.
Classes: the publisher's six diagnoses in the CLIMB paper's five: ACK and SCC are both AKIEC.
Splits: none published; default by patient (hash), 80/20. Licence: CC-BY-4.0. Cite: doi 10.17632/zr7vgbcyr2.1.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from climb_hf.errors import SchemaError
from climb_hf.readers.duplicates import first_copies
from climb_hf.readers.tables import is_junk, read_csv_rows, to_bool, to_float
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

TABLE = "metadata.csv"
NUMBERS = ("fitspatrick", "diameter_1", "diameter_2")
TWO_STATES = (
    "smoke", "drink", "pesticide", "skin_cancer_history", "cancer_history", "has_piped_water", "has_sewage_system",
    "biopsed",
)  # fmt: skip
#: True, False, or asked and unknown; the text is kept, as "not known" is not "not asked".
THREE_STATES = ("itch", "grew", "hurt", "changed", "bleed", "elevation")
TEXTS = ("lesion_id", "background_father", "background_mother", "region")
#: Not collected, or asked and unknown: both leave a column of two states empty.
UNKNOWN = ("", "NA", "NaN", "nan", "UNK", "unk")
SEX = {"MALE": "male", "FEMALE": "female"}


class PadUfes20(Source):
    """PAD-UFES-20."""

    name = "pad_ufes_20"
    title = "PAD-UFES-20: skin lesion photographs from smartphones with clinical data"
    homepage = "https://data.mendeley.com/datasets/zr7vgbcyr2/1"
    citation = (
        "@article{pacheco2020padufes, title={PAD-UFES-20: A skin lesion dataset composed of patient data and clinical "
        "images collected from smartphones}, author={Pacheco, Andre G. C. and others}, journal={Data in Brief}, "
        "volume={32}, year={2020}, doi={10.1016/j.dib.2020.106221}}"
    )
    license = "CC-BY-4.0"
    redistributable = True
    access = "open"
    how_to_get = (
        "Open https://data.mendeley.com/datasets/zr7vgbcyr2/1 and choose `Download All` (no account needed, 3.6 GB).",
        "Unzip it, then unzip `images/imgs_part_1.zip`, `imgs_part_2.zip` and `imgs_part_3.zip`.",
        "Pass the folder that holds `metadata.csv`; pictures are found below it by their names.",
    )
    modality = "Dermoscopy"
    family = "image"
    domains = ("Dermatology", "Oncology")
    tasks = ("Diagnostics", "Classification")
    published_splits = {"train": 1839, "test": 459}
    cautions = (
        "The pictures are clinical photographs, although the CLIMB paper lists them under dermoscopy.",
        "Blank clinical columns occur only with non-cancer diagnoses and every cancer is biopsied: both leak it.",
        "15 pairs of byte-identical pictures lie within one patient, 12 of them with contradictory diagnoses.",
    )
    unavailable_splits = {
        "paper": "the paper drew 80 % of each class per image without a seed, and published no list;"
    }
    fingerprint_patterns = (TABLE, "**/PAT_*.png")
    root_markers = (TABLE,)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Read the table and join the pictures by file name, wherever they lie below the root."""
        found = {
            path.name.lower(): path.relative_to(root).as_posix() for path in sorted(root.rglob("PAT_*.[pP][nN][gG]"))
        }
        rows = list(read_csv_rows(root / TABLE, required=("patient_id", "lesion_id", "diagnostic", "img_id")))
        names = [PurePosixPath(row["img_id"].strip().replace("\\", "/")).name for row in rows]
        files = [found.get(name.lower(), name) for name in names]
        copies = first_copies(root, files)
        ids = dict(zip(files, names, strict=True))
        for row, name, file in zip(rows, names, files, strict=True):
            if not row["diagnostic"].strip():
                yield LeftOut(name, "no diagnosis in the table")
                continue
            try:
                yield self._record(row, name, file, ids.get(copies.get(file, "")))
            except SchemaError as error:
                yield Skipped(name, TABLE, f"row of `{TABLE}` cannot be read: {error}", "SchemaError")
        listed = {name.lower() for name in names}
        for name, file in found.items():
            if name not in listed and not is_junk(name):
                yield LeftOut(file, f"picture without a row in `{TABLE}`")

    def _record(self, row: dict[str, str], name: str, file: str, duplicate_of: str | None) -> Record:
        patient = row["patient_id"].strip()
        if not (patient and name):
            raise SchemaError(f"expected a `patient_id` and an `img_id`, found {patient!r} and {name!r}")
        return Record(
            id=name,
            group=patient,
            raw_labels=(row["diagnostic"].strip().upper(),),
            files=(file,),
            age=to_float(row.get("age", "")),
            sex=SEX.get(row.get("gender", "").strip().upper()),
            duplicate_of=duplicate_of,
            metadata={"patient_id": patient, **self._clinical(row)},
        )

    @staticmethod
    def _clinical(row: dict[str, str]) -> dict[str, Any]:
        values: dict[str, Any] = {name: to_float(row[name]) for name in NUMBERS if name in row}
        values |= {name: to_bool(row[name], missing=UNKNOWN) for name in TWO_STATES if name in row}
        values |= {name: row[name].upper() or None for name in THREE_STATES if name in row}
        return values | {name: row[name] or None for name in TEXTS if name in row}
