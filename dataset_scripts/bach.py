"""BACH, part A: 400 labelled photos of breast tissue in four classes, by Aresta et al., 2019.

Features: RGB TIFF of 2048 x 1536 px at 0.42 µm per pixel, H&E. Classes: benign, carcinoma in situ, invasive carcinoma,
normal tissue, 100 each. The challenge's own 100 test photos have no public labels and are not read.
Splits: none published. Default: the patient-aware one of kaiko's eva, 268 / 132. `openpmc`: the 300 / 100 of the
Open-PMC-18M evaluation, drawn by its seed over the photos by class and name (their order there is not known for sure).
Licence: CC-BY-NC-ND-4.0, so no converted copy may be shared. Cite: doi 10.1016/j.media.2019.05.010.
"""

import functools
import re
from collections.abc import Iterator
from pathlib import Path

from climb_hf.errors import LayoutError
from climb_hf.readers.tables import is_junk, read_csv_rows
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

STEMS = {"Benign": "b", "InSitu": "is", "Invasive": "iv", "Normal": "n"}
PER_CLASS = 100
TABLE = "Photos/microscopy_ground_truth.csv"
NAME = re.compile(r"(b|is|iv|n)(\d{3})")
#: Positions of eva's train photos among all 400, by class and name: whole patients.
EVA_TRAIN = ((0, 41), (59, 60), (90, 139), (169, 240), (258, 260), (273, 345), (368, 400))
OPENPMC_TEST = 100


class Bach(Source):
    """BACH, part A."""

    name = "bach"
    title = "BACH part A: breast cancer histology photos (ICIAR 2018)"
    homepage = "https://zenodo.org/records/3632035"
    citation = (
        "@article{aresta2019bach, title={{BACH}: Grand challenge on breast cancer histology images}, author={Aresta, "
        "Guilherme and others}, journal={Medical Image Analysis}, volume={56}, pages={122--139}, year={2019}, "
        "doi={10.1016/j.media.2019.05.010}}"
    )
    license = "CC-BY-NC-ND-4.0"
    license_note = "No derivatives: converted copies, such as a Hub data set, may not be shared."
    redistributable = False
    access = "open"
    how_to_get = (
        "Download `ICIAR2018_BACH_Challenge.zip` (10.4 GB) from https://zenodo.org/records/3632035.",
        "Unzip it and pass the folder that holds `Photos/`. Its `WSI/` and the archive of test photos are not used.",
    )
    modality = "Tissues"
    family = "image"
    domains = ("Pathology", "Oncology")
    tasks = ("Classification",)
    published_splits = {"train": 300, "test": 100}
    cautions = (
        "`split_by='openpmc'` cuts photos at random: patients are in train and test. Its rule (seed 0) is exact, but "
        "it was applied to a copy whose row order is not known; here that order is by class and name.",
        "Patients are not named in the release; the default keeps them apart by eva's list, `validation=` does not.",
        "Few test photos (132, 23 to 48 per class; `openpmc` 100, 20 to 31): intervals are wide.",
    )
    benchmark = "openpmc"
    zero_shot_names = (
        "breast non-malignant benign tissue", "breast malignant in-situ carcinoma",
        "breast malignant invasive carcinoma", "breast normal breast tissue",
    )  # fmt: skip
    prompts_end_with_stop = False
    splits = ("official", "openpmc")
    fingerprint_patterns = (TABLE, *(f"Photos/{folder}/*.tif" for folder in STEMS))
    root_markers = (TABLE, *(f"Photos/{folder}" for folder in STEMS))

    def find_root(self, data_dir: Path) -> Path:
        """Return the folder above `Photos/`; the unlabelled photos of the challenge are refused by name."""
        places = [place for depth in ("", "*/", "*/*/") for place in data_dir.glob(f"{depth}Photos")]
        if places and not any((place / folder).is_dir() for place in places for folder in STEMS):
            raise LayoutError(
                f"{self.name}: expected class folders in `{places[0]}`, found none: the challenge's test photos have "
                f"no labels. {self.how_to_get[0]}"
            )
        return super().find_root(data_dir)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Read the table, or list the class folders where a copy has none."""
        present = {
            path.name: folder
            for folder in STEMS
            for path in sorted((root / "Photos" / folder).glob("*.tif"))
            if not is_junk(path.name)
        }
        listed = present
        if (root / TABLE).is_file():
            listed = {row["file"]: row["class"] for row in read_csv_rows(root / TABLE, header=("file", "class"))}
        for name, label in listed.items():
            stem = name.rpartition(".")[0]
            match = NAME.fullmatch(stem)
            if match is None or match[1] != STEMS.get(label) or not 1 <= int(match[2]) <= PER_CLASS:
                reason = f"{self.name}: expected a photo such as `is042.tif` of `InSitu`, found `{name}` of `{label}`."
                yield Skipped(stem, name, reason, "SchemaError")
                continue
            position = PER_CLASS * list(STEMS).index(label) + int(match[2]) - 1
            yield Record(
                id=stem,
                group=stem,
                split="test" if position in _test_positions(options.split_by) else "train",
                raw_labels=(label,),
                files=(f"Photos/{label}/{name}",),
                metadata={"file_name": name, "position": position},
            )
        for name in sorted(present.keys() - listed.keys()):
            yield LeftOut(name, "photo that the table does not list")


@functools.cache
def _test_positions(split_by: str) -> frozenset[int]:
    """Return the positions of the test photos among all 400, by class and name."""
    everything = range(PER_CLASS * len(STEMS))
    if split_by == "openpmc":
        import numpy as np

        return frozenset(np.random.default_rng(0).permutation(len(everything))[:OPENPMC_TEST].tolist())
    return frozenset(everything) - {at for start, end in EVA_TRAIN for at in range(start, end)}
