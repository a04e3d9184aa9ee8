"""BUSI: 780 breast ultrasound pictures with masks, normal, benign or malignant, by Al-Dhabyani et al., 2020.

Features: RGB PNG with grey content, of varying size; binary masks of the lesions, several per picture in 17 of them.
Where: Baheya Hospital, Cairo, 2018; 600 women of 25 to 75 years. Classes: from the names of folders and files.
Splits: none published; default by content (hash), 75/25; the paper's split by string order is rebuilt exactly.
Licence: none by the authors (a re-upload says CC0). Cite: doi 10.1016/j.dib.2019.104863.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import LayoutError
from climb_hf.readers.duplicates import first_copies
from climb_hf.readers.tables import is_junk
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

#: Folder and first word of the names -> pictures published, numbered from 1.
PUBLISHED = {"benign": 437, "malignant": 210, "normal": 133}
TRAIN_SHARE = 0.75
NAME = re.compile(r"(benign|malignant|normal) \((\d+)\)(_mask(?:_\d+)?)?\.png")
#: What some archivers make of blanks and parentheses.
MANGLED = re.compile(r"(benign|malignant|normal)[ _]?_\d+_(_mask(_\d+)?)?\.png")


def paper_split() -> dict[str, str]:
    """Return file name -> split of the CLIMB paper: names of a class in string order, the first 75 % are training."""
    splits = {}
    for word, count in PUBLISHED.items():
        for position, name in enumerate(sorted(f"{word} ({number}).png" for number in range(1, count + 1))):
            splits[name] = "train" if position < int(TRAIN_SHARE * count) else "test"
    return splits


class Busi(Source):
    """BUSI, the Breast Ultrasound Images dataset."""

    name = "busi"
    title = "BUSI: Breast Ultrasound Images"
    homepage = "https://scholar.cu.edu.eg/?q=afahmy/pages/dataset"
    citation = (
        "@article{aldhabyani2020busi, title={Dataset of breast ultrasound images}, author={Al-Dhabyani, Walid and "
        "Gomaa, Mohammed and Khaled, Hussien and Fahmy, Aly}, journal={Data in Brief}, volume={28}, pages={104863}, "
        "year={2020}, doi={10.1016/j.dib.2019.104863}}"
    )
    license = "LicenseRef-BUSI-unstated"
    license_note = "The authors state no licence; CC0-1.0 is what the uploader of the Kaggle copy claims."
    redistributable = False
    access = "registration"
    how_to_get = (
        "With a Kaggle account: `kaggle datasets download -d aryashah2k/breast-ultrasound-images-dataset --unzip`.",
        "Pass the folder `Dataset_BUSI_with_GT` that holds `benign/`, `malignant/` and `normal/`.",
    )
    modality = "Ultrasound"
    family = "image"
    domains = ("Radiology", "Oncology")
    tasks = ("Diagnostics", "Segmentation")
    published_splits = {"train": 583, "test": 197}
    cautions = (
        "No patient key is published, and a review (Pawłowska et al., 2023) found 235 duplicated pictures, 8 lesions "
        "that are both benign and malignant, 70 pictures of the axilla and 295 with overlaid marks. `duplicate_of` "
        "and the default split only see byte-identical copies; scores are optimistic.",
        "The paper's accuracy on BUSI is a mean over one-vs-rest problems, not comparable with plain accuracy.",
    )
    splits = ("official", "paper")
    fractions = {"train": 0.75, "test": 0.25}
    fingerprint_patterns = ("*.png", "*/*.png")
    root_markers = (
        "benign/benign*.png", "malignant/malignant*.png", "normal/normal*.png", "benign*.png", "malignant*.png",
        "normal*.png",
    )  # fmt: skip

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the pictures and their masks by file name, in the class folders or in one folder, in string order."""
        files: dict[str, str] = {}  # name -> path below the root
        masks: dict[str, list[str]] = defaultdict(list)
        for path in sorted((p for pattern in ("*.png", "*/*.png") for p in root.glob(pattern)), key=lambda p: p.name):
            match = NAME.fullmatch(path.name)
            if match is None:
                if MANGLED.fullmatch(path.name):
                    raise LayoutError(
                        f"{self.name}: expected names such as `benign (1).png`, found `{path.name}`: the archiver "
                        "replaced the parentheses. Unpack the archive again with another tool."
                    )
                if not is_junk(path.name):
                    yield LeftOut(path.name, "picture whose name is not of the data set")
            elif match[3]:
                masks[f"{match[1]} ({match[2]}).png"].append(path.relative_to(root).as_posix())
            elif path.name in files:
                yield LeftOut(path.relative_to(root).as_posix(), "second file of one name")
            else:
                files[path.name] = path.relative_to(root).as_posix()
        copies = first_copies(root, list(files.values()))
        names = {file: name for name, file in files.items()}
        paper = paper_split() if options.split_by == "paper" else None
        for name, file in files.items():
            if paper is not None and name not in paper:
                yield LeftOut(name, "picture beyond the published numbers (`split_by='paper'`)")
                continue
            word, number = NAME.fullmatch(name).groups()[:2]  # type: ignore[union-attr]
            first = names.get(copies.get(file, ""))
            own = sorted(masks.pop(name, []), key=lambda mask: (len(mask), mask))
            yield Record(
                id=name,
                group=first or name,
                split=paper[name] if paper else None,
                raw_labels=(word,),
                files=(file, *own),
                duplicate_of=first,
                metadata={
                    "image_id": f"{word} {number}",
                    "number": int(number),
                    "mask_files": own,
                    "is_multifocal": len(own) > 1,
                },
            )
        for mask in (mask for orphans in masks.values() for mask in orphans):
            yield LeftOut(mask, "mask without its picture")

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return the picture with the union of its masks; a copy without mask files has none."""
        from climb_hf.readers.masks import read_mask

        picture, *masks = (root / file for file in record.files)
        mask = read_mask(masks, picture, options.image_size)
        return {**super().read(record, root, options), "mask": mask}
