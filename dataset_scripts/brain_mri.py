"""Brain MRI images for tumour detection: 253 slices with and without a tumour, collected by Chakrabarty, 2019.

Features: single 2-D slices of mixed planes and contrasts from the web, JPEG and PNG; no patient, no table.
Classes: No, Yes (98 and 155), from the folder names; index 1 is the tumour. Table 7 prints Yes first.
Splits: none published; default by content (hash), 80/20, as 22 groups of files are byte-identical; `split_by="paper"`
is the paper's 202/51: the published file names, `no` then `yes`, each in byte order, shuffled by seed 42. 6 of its 51
test files have a twin in train. Licence: none stated.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import LayoutError
from climb_hf.readers.duplicates import file_digest, first_copies
from climb_hf.readers.integrity import damage_named
from climb_hf.readers.tables import is_junk
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

FOLDERS = ("no", "yes")
NESTED = "brain_tumor_dataset"
SUFFIXES = (".jpg", ".jpeg", ".png")
#: Names of augmented re-uploads and of the 3,000-image set Br35H, which are other data sets.
FOREIGN = re.compile(r"aug_|y\d|no\d")
#: The names of the release, from which the paper's split is drawn whatever part of the files is present.
NO_NAMES = (
    "1 no.jpeg|10 no.jpg|11 no.jpg|12 no.jpg|13 no.jpg|14 no.jpg|15 no.jpg|17 no.jpg|18 no.jpg|19 no.jpg|2 no.jpeg|"
    "20 no.jpg|21 no.jpg|22 no.jpg|23 no.jpg|24 no.jpg|25 no.jpg|26 no.jpg|27 no.jpg|28 no.jpg|29 no.jpg|3 no.jpg|"
    "30 no.jpg|31 no.jpg|32 no.jpg|33 no.jpg|34 no.jpg|35 no.jpg|36 no.jpg|37 no.jpg|38 no.jpg|39 no.jpg|4 no.jpg|"
    "40 no.jpg|41 no.jpg|42 no.jpg|43 no.jpg|44no.jpg|45 no.jpg|46 no.jpg|47 no.jpg|48 no.jpeg|49 no.jpg|5 no.jpg|"
    "50 no.jpg|6 no.jpg|7 no.jpg|8 no.jpg|9 no.jpg|N1.JPG|N11.jpg|N15.jpg|N16.jpg|N17.jpg|N19.JPG|N2.JPG|N20.JPG|"
    "N21.jpg|N22.JPG|N26.JPG|N3.jpg|N5.jpg|N6.jpg|No11.jpg|No12.jpg|No13.jpg|No14.jpg|No15.jpg|No16.jpg|No17.jpg|"
    "No18.jpg|No19.jpg|No20.jpg|No21.jpg|No22.jpg|no 1.jpg|no 10.jpg|no 100.jpg|no 2.jpg|no 3.jpg|no 4.jpg|no 5.jpeg|"
    "no 6.jpg|no 7.jpeg|no 8.jpg|no 89.jpg|no 9.png|no 90.jpg|no 91.jpeg|no 92.jpg|no 923.jpg|no 94.jpg|no 95.jpg|"
    "no 96.jpg|no 97.jpg|no 98.jpg|no 99.jpg|no.jpg"
)
#: `Y<number>`, `.jpg` where nothing else is said.
YES_NAMES = (
    "1|10|100.JPG|101|102|103|104|105|106|107|108|109.JPG|11|111.JPG|112.JPG|113.JPG|114.JPG|115.JPG|116.JPG|117.JPG|"
    "12|120.JPG|13|14|146.JPG|147.JPG|148.JPG|15|153|154|155.JPG|156.JPG|157.JPG|158.JPG|159.JPG|16.JPG|160.JPG|"
    "161.JPG|162|163.JPG|164.JPG|165.JPG|166.JPG|167.JPG|168|169|17|170.JPG|18.JPG|180|181|182.JPG|183|184.JPG|185|"
    "186|187|188|19.JPG|192.JPG|193.JPG|194|195.JPG|2|20|21|22|23.JPG|24|242.JPG|243.JPG|244.JPG|245|246.JPG|247.JPG|"
    "248.JPG|249.JPG|25|250|251.JPG|252|253.JPG|254|255.JPG|256.JPG|257|258.JPG|259.JPG|26|27|28|29|3|30|31|32|33|34|"
    "35|36.JPG|37|38|39|4|40.JPG|41|42|44.JPG|45.JPG|46|47.JPG|49.JPG|50.JPG|51|52|53|54|55|56|58.JPG|59.JPG|6|60|61|"
    "62|65.JPG|66.JPG|67.JPG|69|7|70|71.JPG|73|74|75.JPG|76|77|78|79|8|81|82|85.JPG|86.JPG|89.JPG|9|90|91|92|92.png|"
    "95|96|97.JPG|98.JPG|99.JPG"
)


class BrainMri(Source):
    """Brain MRI images for tumour detection."""

    name = "brain_mri"
    title = "Brain MRI images for brain tumour detection"
    homepage = "https://www.kaggle.com/datasets/navoneel/brain-mri-images-for-brain-tumor-detection"
    citation = (
        "@misc{chakrabarty2019brain, title={Brain MRI Images for Brain Tumor Detection}, author={Chakrabarty, "
        "Navoneel}, year={2019}, howpublished={Kaggle}}"
    )
    license = "LicenseRef-None-Stated"
    license_note = "No licence is stated and the pictures come from the web: they are not passed on."
    redistributable = False
    access = "registration"
    how_to_get = (
        "With a Kaggle account: `kaggle datasets download -d navoneel/brain-mri-images-for-brain-tumor-detection "
        "--unzip` (15 MB); the re-upload `jjprotube/...` of the same name holds the same files.",
        "Pass the folder that holds `yes/` (155 files) and `no/` (98 files); a second copy of both inside "
        "`brain_tumor_dataset/` is not read.",
    )
    modality = "MRI"
    family = "image"
    domains = ("Radiology", "Oncology")
    tasks = ("Diagnostics",)
    published_splits = {"train": 202, "test": 51}
    cautions = (
        "No patient id is published: slices of one patient may stand on both sides of every split.",
        "228 contents among 253 files; 6 of the paper's 51 test files have a byte-identical twin in its train split. "
        "The default split keeps twins together.",
        "The classes differ by size, mode and format of their files, which a model can see.",
    )
    splits = ("official", "paper")
    fingerprint_patterns = ("no/*", "yes/*", f"{NESTED}/*/*")
    root_markers = ("no", "yes", NESTED)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the pictures, `no` before `yes`, each in byte order of the names."""
        both = [all((root / top / folder).is_dir() for folder in FOLDERS) for top in ("", NESTED)]
        prefix, other = (f"{NESTED}/", "") if both == [False, True] else ("", f"{NESTED}/")
        files = self._files(root, prefix)
        copies = first_copies(root, files)
        paper = paper_split() if options.split_by == "paper" else None
        for file in files:
            identity = file.removeprefix(prefix)
            if paper is not None and identity not in paper:
                yield LeftOut(identity, "file that is not among the 253 of the release, which the paper's split names")
                continue
            first = copies.get(file)
            yield Record(
                id=identity,
                group=file_digest(root / file),
                split=paper[identity] if paper else None,
                raw_labels=(identity.partition("/")[0],),
                files=(file,),
                duplicate_of=first.removeprefix(prefix) if first else None,
                metadata={"path": file},
            )
        for file in self._files(root, other):
            yield LeftOut(file, f"second copy of the pictures in `{other or '.'}`")

    def _files(self, root: Path, prefix: str) -> list[str]:
        """Return the pictures of both folders, relative to the root."""
        names = [(f, path.name) for f in FOLDERS for path in sorted((root / prefix / f).glob("*"))]
        names = [(f, n) for f, n in names if n.lower().endswith(SUFFIXES) and not is_junk(n)]
        if foreign := [f"{f}/{n}" for f, n in names if FOREIGN.match(n)]:
            raise LayoutError(
                f"{self.name}: expected names such as `yes/Y1.jpg` and `no/1 no.jpeg`, found `{foreign[0]}`: this is "
                f"an augmented copy or the set Br35H, another data set. {self.how_to_get[0]}"
            )
        return [f"{prefix}{folder}/{name}" for folder, name in names]

    def read(self, record: Record, root: Path, options: Options) -> dict[str, Any]:
        """Return the picture, with its true format (names lie), mode and size in the metadata."""
        from PIL import Image

        path = root / record.files[0]
        with damage_named(str(path), "opening"), Image.open(path) as picture:
            metadata = {"format": picture.format, "mode": picture.mode, "size": list(picture.size)}
        return {**super().read(record, root, options), "metadata": metadata}


def paper_split() -> dict[str, str]:
    """Return the paper's split of every file of the release: the first 202 of a shuffle by seed 42 are train."""
    import numpy as np

    yes = (f"Y{name}" if "." in name else f"Y{name}.jpg" for name in YES_NAMES.split("|"))
    names = [*(f"no/{name}" for name in sorted(NO_NAMES.split("|"))), *(f"yes/{name}" for name in sorted(yes))]
    order = np.random.RandomState(42).permutation(len(names))  # the same draw as a shuffle in place
    return {names[at]: "train" if place < len(names) * 8 // 10 else "test" for place, at in enumerate(order)}
