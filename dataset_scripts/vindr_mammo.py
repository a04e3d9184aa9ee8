"""VinDr-Mammo: 20,000 digital mammograms of 5,000 studies with BI-RADS and findings, by Nguyen et al., 2023.

Features: DICOM of 16 bits, both photometric interpretations, padding; boxes of findings, clipped to the picture, once
for each of their categories; density, age, device.
Classes: BI-RADS 1 to 5 of the breast, which both of its views carry.
Splits: the publisher's column `split`, by study (16,000 / 4,000 images).
Licence: PhysioNet Restricted Health Data License 1.5.0. Cite: doi 10.1038/s41597-023-02100-7.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import SchemaError
from climb_hf.readers.dicom import read_dicom_header
from climb_hf.readers.dicom_tags import dicom_demographics
from climb_hf.readers.tables import is_junk, read_csv_rows, to_float, to_int
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

BREASTS, FINDINGS, HEADERS = "breast-level_annotations.csv", "finding_annotations.csv", "metadata.csv"
SPLITS = {"training": "train", "test": "test"}
CORNERS = ("xmin", "ymin", "xmax", "ymax")
COLUMNS = "study_id series_id image_id laterality view_position height width breast_birads breast_density split"


class VindrMammo(Source):
    """VinDr-Mammo."""

    name = "vindr_mammo"
    title = "VinDr-Mammo: full-field digital mammograms with breast-level BI-RADS and findings"
    homepage = "https://www.physionet.org/content/vindr-mammo/1.0.0/"
    citation = (
        "@article{nguyen2023vindrmammo, title={VinDr-Mammo: A large-scale benchmark dataset for computer-aided "
        "diagnosis in full-field digital mammography}, author={Nguyen, Hieu T. and others}, year={2023}, "
        "journal={Scientific Data}, volume={10}, number={277}, doi={10.1038/s41597-023-02100-7}}"
    )
    license = "LicenseRef-PhysioNet-Restricted-1.5.0"
    license_note = "The licence forbids sharing the data with anyone else."
    redistributable = False
    access = "registration"
    how_to_get = (
        f"Create a PhysioNet account and sign the data use agreement at {homepage} (no course is asked for).",
        "`wget -r -N -c -np --user USER --ask-password https://physionet.org/files/vindr-mammo/1.0.0/` (about 340 GB)",
        f"Pass the folder that holds `{BREASTS}` and `images/`, `physionet.org/files/vindr-mammo/1.0.0` after wget.",
    )
    modality = "Mammography"
    family = "image"
    domains = ("Radiology", "Oncology")
    tasks = ("Diagnostics", "Abnormality Detection")
    published_splits = {"train": 16000, "test": 4000}
    cautions = (
        "The class is the breast's and both of its views carry it: 20,000 images hold 10,000 independent labels.",
        "No patient id is published; the split is by study, and one study per patient is assumed.",
        "BI-RADS is the radiologists' assessment; no pathology is published.",
        "Boxes are in pixels of the original picture (`height`, `width` in `metadata`), also with `image_size`.",
    )
    splits = ("official", "paper")
    extra_options = {"window": None, "bit_depth": 8}
    fingerprint_patterns = ("*.csv", "images", "images/*")
    root_markers = (BREASTS, FINDINGS)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Join the tables and files by image id, in the order of the breast-level table."""
        paths = (path for path in sorted(root.glob("images/*/*.dicom")) if not is_junk(path.name))
        files = {path.stem: path.relative_to(root).as_posix() for path in paths}
        findings, headers = self._findings(root), self._headers(root)
        for row in read_csv_rows(root / BREASTS, required=COLUMNS.split()):
            image = row["image_id"]
            file = files.pop(image, f"images/{row['study_id']}/{image}.dicom")
            try:
                yield self._record(row, file, findings, headers.get(image, {}))
            except (ValueError, SyntaxError) as error:
                yield Skipped(image, file, f"{self.name}: rows of `{image}` cannot be read: {error}", "SchemaError")
        for image in files:
            yield LeftOut(image, f"file without a row in `{BREASTS}`")

    def _findings(self, root: Path) -> dict[str, list[dict[str, str]]] | None:
        """Return the rows of the finding table by image, which it repeats once per box."""
        if not (root / FINDINGS).is_file():
            return None
        findings = defaultdict(list)
        for row in read_csv_rows(root / FINDINGS, required=("image_id", "finding_categories", *CORNERS)):
            findings[row["image_id"]].append(row)
        return findings

    def _headers(self, root: Path) -> dict[str, dict[str, str]]:
        """Return the table of header values by image."""
        if not (root / HEADERS).is_file():
            return {}
        return {row["SOP Instance UID"]: row for row in read_csv_rows(root / HEADERS, required=("SOP Instance UID",))}

    def _record(
        self, row: dict[str, str], file: str, findings: dict[str, list[dict[str, str]]] | None, header: dict[str, str]
    ) -> Record:
        if row["split"] not in SPLITS:
            raise SchemaError(f"expected `split` to be one of {list(SPLITS)}, found {row['split']!r}")
        size = {"height": to_int(row["height"]), "width": to_int(row["width"])}
        found = [self._finding(item) for item in (findings or {}).get(row["image_id"], [])]
        found = [item for item in found if item["categories"] != ["No Finding"]]
        bbox: list[list[float]] = []
        category: list[str] = []
        for item in found:
            if box := _clip(item["corners"], size["width"], size["height"]):
                bbox += [box] * len(item["categories"])
                category += item["categories"]
        metadata = {
            "study_id": row["study_id"], "series_id": row["series_id"], "laterality": row["laterality"],
            "breast": f"{row['study_id']}_{row['laterality']}", "breast_density": row["breast_density"] or None,
            "manufacturer": header.get("Manufacturer"), "model": header.get("Manufacturer's Model Name"),
            "findings": found, **size,
        }  # fmt: skip
        objects = {"bbox": bbox, "category": category} if findings is not None else None
        return Record(
            row["image_id"], row["study_id"], SPLITS[row["split"]], (row["breast_birads"],), files=(file,),
            age=dicom_demographics({"PatientAge": header.get("Patient's Age")})[0], metadata=metadata,
            inputs={"view": row["view_position"], "objects": objects},
        )  # fmt: skip

    @staticmethod
    def _finding(row: dict[str, str]) -> dict[str, Any]:
        """Return categories, BI-RADS and corners, as published, of one row of the finding table."""
        categories = ast.literal_eval(row["finding_categories"])
        if not isinstance(categories, list) or not all(isinstance(item, str) for item in categories):
            raise SchemaError(f"expected a list of categories, found {row['finding_categories']!r}")
        corners = [to_float(row[name]) for name in CORNERS]
        birads = row.get("finding_birads") or None
        return {"categories": categories, "birads": birads, "corners": None if None in corners else corners}

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return the picture, with sex, geometry and, where the table has none, age from the header."""
        header = read_dicom_header(root / record.files[0])
        age, sex = dicom_demographics(header)
        spacing = header.get("ImagerPixelSpacing")
        metadata = {
            "photometric_interpretation": str(header.get("PhotometricInterpretation", "")),
            "imager_pixel_spacing_mm": [float(value) for value in spacing] if spacing else None,
            "bits_stored": header.get("BitsStored"),
        }
        columns = {"age": age if record.age is None else record.age, "sex": sex, "metadata": metadata}
        return super().read(record, root, options) | columns


def _clip(corners: list[float] | None, width: int | None, height: int | None) -> list[float] | None:
    """Return x, y, width, height of the part of a box that lies in the picture; `None` if nothing does."""
    if corners is None or width is None or height is None:
        return None
    x0, y0, x1, y1 = (min(max(value, 0.0), limit) for value, limit in zip(corners, (width, height) * 2, strict=True))
    return [x0, y0, x1 - x0, y1 - y0] if x1 > x0 and y1 > y0 else None
