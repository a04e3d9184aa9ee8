"""BCSS: 151 regions of breast cancer slides with masks of 21 tissue codes, by Amgad et al., 2019.

Features: crops of H&E pictures at 0.25 µm per pixel around one area of a class, 224 to 1,024 pixels per side, and the
same crop of the mask of codes 0 to 21 (0 is outside the region: not annotated, never a class).
Classes: tumor, stroma, lymphocytic infiltrate and necrosis/debris, the code whose area gave the crop; other tissue
stays in the picture. Crops follow CLIMB's rule: the box of each outermost area, covered by windows where it is large.
Splits: the publisher's six hospitals for testing; one region per patient. The masks decide how many crops there are.
Licence: CC0-1.0. Cite: doi 10.1093/bioinformatics/btz083.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from climb_hf.errors import ClimbError, LayoutError
from climb_hf.readers.image import encode_image, resize_image
from climb_hf.readers.memo import memoize_by_files
from climb_hf.readers.regions import cover_box, crop_codes, crop_picture, outer_boxes, read_codes
from climb_hf.readers.tables import is_junk, read_csv_rows, to_float
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

CODES = {1: "tumor", 2: "stroma", 3: "lymphocytic_infiltrate", 4: "necrosis_or_debris"}
HIGHEST_CODE = 21
TEST_SITES = ("OL", "LL", "E2", "EW", "GM", "S3")
PICTURES = ("images", "rgbs_colorNormalized")
STEM = re.compile(r"((TCGA-(\w\w)-\w{4})-DX\w+)_xmin(\d+)_ymin(\d+)_(MPP|MAG)-([\d.]+)")
SIDES = (224, 1024, 128)  # pixels: shortest side of a box, longest of a window, nominal overlap of windows
#: Names of derived tiles that are other data sets: the Kaggle tiles and BCSS-WSSS.
FOREIGN = ("*_512", "*/*_512", "*_224", "*/*_224", "train*/*+*.png", "*/train*/*+*.png")
Area = tuple[int, int, dict[str, Any]]  # number among the samples of a code, the code, metadata


class Bcss(Source):
    """BCSS."""

    name = "bcss"
    title = "BCSS: breast cancer semantic segmentation"
    homepage = "https://github.com/PathologyDataScience/BCSS"
    citation = (
        "@article{amgad2019bcss, title={Structured crowdsourcing enables convolutional segmentation of histology "
        "images}, author={Amgad, Mohamed and others}, journal={Bioinformatics}, volume={35}, number={18}, "
        "pages={3461--3467}, year={2019}, doi={10.1093/bioinformatics/btz083}}"
    )
    license = "CC0-1.0"
    license_note = "The slides are of TCGA, open tier."
    redistributable = True
    access = "open"
    how_to_get = (
        "Open the Google Drive folder that https://github.com/PathologyDataScience/BCSS links, and download "
        "`0_Public-data-Amgad2019_0.25MPP` (no account needed); or run the script of that repository.",
        "Pass the folder that holds `masks/` and `rgbs_colorNormalized/` (or `images/`). Tile sets made from BCSS "
        "(the Kaggle tiles of 224 or 512 pixels, BCSS-WSSS) are other data sets.",
    )
    modality = "Tissues"
    family = "image"
    domains = ("Pathology",)
    tasks = ("Classification",)
    published_splits = {"train": 4211, "test": 1053}
    cautions = (
        "The paper's 4,211 / 1,053 are 80 % and 20 % of 5,264 crops, without a list. Here the publisher's six test "
        "hospitals (45 of 151 regions) are `test`, and the counts follow from the masks.",
        "Windows of a large area overlap, and boxes of neighbouring areas may: crops of a slide are not independent.",
        "A crop shows other tissue beside its class; mask code 0 is not annotated and must be ignored.",
        "Pictures of the Drive folder are colour-normalised, those of the publisher's script are not.",
    )
    unavailable_splits = {
        "paper": "its sizes are a plain 80/20 cut of all crops, no list is published, and the split in the published "
        "code depends on the order of a folder;"
    }
    fingerprint_patterns = ("masks/*.png", "meta/*", *PICTURES)
    root_markers = ("masks",)

    def find_root(self, data_dir: Path) -> Path:
        """Return the folder that holds `masks/`; tiles made from BCSS are refused by name."""
        if found := next((path for pattern in FOREIGN for path in data_dir.glob(pattern)), None):
            raise LayoutError(
                f"{self.name}: expected `masks/` with whole regions, found `{found.name}`, a part of a tile set made "
                f"from BCSS, which is another data set. {self.how_to_get[0]}"
            )
        return super().find_root(data_dir)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Read the masks, which decide what the records are, in order of name; pictures are not opened."""
        folder = next((name for name in PICTURES if (root / name).is_dir()), PICTURES[0])
        pictures = {path.name for path in (root / folder).glob("*.png") if not is_junk(path.name)}
        powers = _magnifications(root)
        for name, areas in _areas(root).items():
            pictures.discard(name)
            stem = name.removesuffix(".png")
            if isinstance(areas, Skipped):
                yield areas
            elif (match := STEM.fullmatch(stem)) is None:
                yield LeftOut(stem, "mask whose name is not that of a region")
            elif not areas:
                yield LeftOut(stem, "region without an area of 224 pixels per side")
            else:
                slide, patient, site, x, y, unit, scale = match.groups()
                about = {"slide": slide, "site": site, "xmin": int(x), "ymin": int(y), unit.lower(): float(scale)}
                for number, code, area in areas:
                    yield Record(
                        f"{stem}_{code}_{number}",
                        patient,
                        "test" if site in TEST_SITES else "train",
                        raw_labels=(str(code),),
                        files=(f"{folder}/{name}", f"masks/{name}"),
                        metadata={"label": CODES[code], **area, **about, "magnification": powers.get(patient)},
                    )
        for name in sorted(pictures):
            yield LeftOut(name, "picture without a mask")

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Cut picture and mask; both are stored as PNG, so that nothing is lost."""
        area, size = record.metadata or {}, options.image_size
        picture = crop_picture(root / record.files[0], area["window"], area["roi_size"])
        codes = crop_codes(root / record.files[1], area["window"], area["roi_size"])
        if size is not None:
            picture = resize_image(picture, size)
            codes = np.asarray(Image.fromarray(codes).resize((size, size), Image.Resampling.NEAREST))
        return {name: {"bytes": encode_image(p), "path": None} for name, p in (("image", picture), ("mask", codes))}


@memoize_by_files("masks/*.png")
def _areas(root: Path) -> dict[str, Skipped | list[Area]]:
    """Map each mask to its samples, in the order of the codes and from top left."""
    found: dict[str, Skipped | list[Area]] = {}
    for path in sorted(path for path in (root / "masks").glob("*.png") if not is_junk(path.name)):
        try:
            codes = read_codes(path, HIGHEST_CODE)
        except ClimbError as error:
            found[path.name] = Skipped(path.stem, f"masks/{path.name}", str(error), type(error).__name__)
            continue
        samples: list[Area] = []
        for code in CODES:
            pairs = [(box, window) for box in outer_boxes(codes == code) for window in cover_box(box, *SIDES)]
            for number, (box, window) in enumerate(pairs):
                area = {"box": box, "window": window, "is_split": box != window, "roi_size": codes.shape[::-1]}
                samples.append((number, code, area))
        found[path.name] = samples
    return found


def _magnifications(root: Path) -> dict[str, float | None]:
    """Map patients to the objective power of their slide, where the repository's table was put into `meta/`."""
    table = root / "meta" / "slide_magnifications.csv"
    rows = read_csv_rows(table, required=("", "magnification")) if table.is_file() else ()
    return {row[""]: to_float(row["magnification"]) for row in rows}
