"""VinDr-CXR: 18,000 postero-anterior chest X-rays with 22 local and 6 global labels, by Nguyen et al., 2022.

Features: DICOM of 8 to 16 bits, both photometric interpretations; boxes of the local labels; sex and age.
Classes: the six global labels; `labels="findings"` maps the 28 columns to CheXpert's 14; `labels="raw"` keeps all 28.
Train labels are the majority of three readers, a minority vote goes to `uncertain`; test labels are a consensus.
Splits: the publisher's folders `train` (15,000) and `test` (3,000); no patient key is published.
Licence: PhysioNet Credentialed Health Data License 1.5.0. Cite: doi 10.1038/s41597-022-01498-w.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from climb_hf.errors import LayoutError, SchemaError
from climb_hf.readers.dicom import read_dicom_header
from climb_hf.readers.dicom_tags import dicom_demographics
from climb_hf.readers.tables import is_junk, read_csv_rows, to_float
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

SPLITS = ("train", "test")
SUFFIX = ".dicom"
BOX = ("x_min", "y_min", "x_max", "y_max")
MAJORITY = 0.5
#: The test table spells the column in the singular.
OTHER = ("Other diseases", "Other disease")


class VindrCxr(Source):
    """VinDr-CXR."""

    name = "vindr_cxr"
    title = "VinDr-CXR: chest X-rays with radiologists' annotations"
    homepage = "https://physionet.org/content/vindr-cxr/1.0.0/"
    citation = (
        "@article{nguyen2022vindrcxr, title={VinDr-CXR: An open dataset of chest X-rays with radiologist's "
        "annotations}, author={Nguyen, Ha Q. and others}, journal={Scientific Data}, volume={9}, number={429}, "
        "year={2022}}"
    )
    license = "LicenseRef-PhysioNet-Credentialed-1.5.0"
    license_note = "The licence forbids sharing the data with anyone else."
    redistributable = False
    access = "credentialed"
    how_to_get = (
        "Create a PhysioNet account, take the CITI course `Data or Specimens Only Research`, become credentialed.",
        "Sign the data use agreement at https://physionet.org/content/vindr-cxr/1.0.0/.",
        "`wget -r -N -c -np --user USER --ask-password https://physionet.org/files/vindr-cxr/1.0.0/`.",
        "Pass the folder that holds `annotations/`, `train/`, `test/`. The Kaggle copy lacks global labels.",
    )
    modality = "Chest X-ray"
    family = "image"
    domains = ("Radiology",)
    tasks = ("Diagnostics", "Abnormality Detection")
    published_splits = {"train": 15000, "test": 3000}
    cautions = ("Train labels are a majority of three readers, test labels a consensus of five.",)
    splits = ("official", "paper")
    label_schemes = ("climb", "findings", "raw")
    extra_options = {"window": None, "bit_depth": 8}
    fingerprint_patterns = ("annotations/*.csv", f"train/*{SUFFIX}", f"test/*{SUFFIX}")
    root_markers = ("annotations",)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Join tables and files by image id, in the order of the label tables."""
        for split in SPLITS:
            table = root / "annotations" / f"image_labels_{split}.csv"
            if not table.is_file() and not (root / split).is_dir():
                continue
            if not table.is_file():
                raise LayoutError(f"{self.name}: `annotations/{table.name}` not found. {self.how_to_get[-1]}")
            files = {p.stem: p for p in (root / split).glob(f"*{SUFFIX}") if not is_junk(p.name)}
            boxes = self._boxes(root / "annotations" / f"annotations_{split}.csv")
            for image_id, readers in self._readers(table).items():
                files.pop(image_id, None)
                if not (root / split).is_dir():
                    yield LeftOut(image_id, f"folder `{split}/` not downloaded")
                    continue
                try:
                    yield self._record(image_id, split, readers, boxes)
                except SchemaError as error:
                    yield Skipped(image_id, table.name, str(error), "SchemaError")
            for image_id in sorted(files):
                yield LeftOut(image_id, f"file in `{split}/` without a row in `{table.name}`")

    def _readers(self, table: Path) -> dict[str, dict[str, list[str] | str]]:
        """Return image id -> reader -> columns marked, or what is wrong; the test consensus is one reader."""
        vocabulary = self.vocabulary()
        images: dict[str, dict[str, list[str] | str]] = {}
        for row in read_csv_rows(table, required=("image_id", *(set(vocabulary.raw_values) - {OTHER[0]}))):
            if not row.keys() & {*OTHER}:
                raise SchemaError(f"`{table}`: column `{OTHER[0]}` is missing. Restore the table from the publisher.")
            readers = images.setdefault(row["image_id"], {})
            reader = row.get("rad_id") or f"consensus{len(readers) or ''}"
            try:
                values = {name: to_float(value) or 0 for name, value in row.items() if vocabulary.knows(name)}
                readers[reader] = [vocabulary.canonical(name) for name, value in values.items() if value > 0]
            except SchemaError as error:
                readers[reader] = str(error)
        return images

    def _boxes(self, table: Path) -> dict[str, list[dict[str, str]]] | None:
        if not table.is_file():
            return None
        boxes = defaultdict(list)
        for row in read_csv_rows(table, required=("image_id", "class_name", *BOX)):
            if row["x_min"]:
                boxes[row["image_id"]].append(row)
        return boxes

    def _record(
        self,
        image_id: str,
        split: str,
        readers: dict[str, list[str] | str],
        boxes: dict[str, list[dict[str, str]]] | None,
    ) -> Record:
        votes: dict[str, int] = defaultdict(int)
        for marked in readers.values():
            if isinstance(marked, str):
                raise SchemaError(marked)
            for name in marked:
                votes[name] += 1
        positive = tuple(name for name, count in votes.items() if count / len(readers) >= MAJORITY)
        rows = (boxes or {}).get(image_id, [])
        corners = [[to_float(row[name], missing=()) or 0.0 for name in BOX] for row in rows]
        objects = {
            "bbox": [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in corners],
            "category": [row["class_name"] for row in rows],
        }
        return Record(
            id=image_id,
            group=image_id,
            split=split,
            raw_labels=positive,
            uncertain=tuple(name for name in votes if name not in positive),
            files=(f"{split}/{image_id}{SUFFIX}",),
            metadata={"readers": readers, "votes": dict(votes), "box_readers": [row.get("rad_id") for row in rows]},
            inputs={"view": "PA", "objects": objects if boxes is not None else None},
        )

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return the picture, with sex, age and geometry from the header; pixels are decoded at access."""
        header = read_dicom_header(root / record.files[0])
        age, sex = dicom_demographics(header)
        spacing = header.get("PixelSpacing")
        metadata = {
            "photometric_interpretation": str(header.get("PhotometricInterpretation", "")),
            "pixel_spacing_mm": [float(value) for value in spacing] if isinstance(spacing, Sequence) else None,
            "bits_stored": header.get("BitsStored"),
        }
        return {**super().read(record, root, options), "age": age, "sex": sex, "metadata": metadata}
