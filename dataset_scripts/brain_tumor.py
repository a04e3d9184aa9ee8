"""Brain Tumor Classification (MRI): 3,264 JPEG slices in four classes, by Bhuvaji et al., 2020.

Features: single 2-D slices of mixed planes and contrasts, RGB JPEG with grey content, no patient id, no spacing.
Classes: no tumor, pituitary tumor, glioma, meningioma, from the folder names.
Splits: the publisher's folders `Training` (2,870) and `Testing` (394), which share 88 byte-identical images.
Licence: MIT as stated by the uploader. Cite: doi 10.34740/kaggle/dsv/1183165.
"""

from collections.abc import Iterator
from pathlib import Path

from climb_hf.errors import LayoutError
from climb_hf.readers.duplicates import first_copies
from climb_hf.readers.tables import is_junk
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

SPLITS = {"Training": "train", "Testing": "test"}
SUFFIXES = (".jpg", ".jpeg", ".png")
#: Folder names of a later, larger re-upload (7,023 images) that is another data set.
FOREIGN_FOLDERS = {"glioma", "meningioma", "notumor", "pituitary"}


class BrainTumor(Source):
    """Brain Tumor Classification (MRI)."""

    name = "brain_tumor"
    title = "Brain Tumor Classification (MRI)"
    homepage = "https://www.kaggle.com/datasets/sartajbhuvaji/brain-tumor-classification-mri"
    citation = (
        "@misc{bhuvaji2020brain, title={Brain Tumor Classification (MRI)}, author={Bhuvaji, Sartaj and Kadam, Ankita "
        "and Bhumkar, Prajakta and Dedge, Sameer and Kanchan, Swati}, year={2020}, doi={10.34740/KAGGLE/DSV/1183165}}"
    )
    license = "MIT"
    license_note = "MIT as stated by the uploader; the origin of the films is not stated."
    redistributable = True
    access = "registration"
    how_to_get = (
        "With a Kaggle account: `kaggle datasets download -d sartajbhuvaji/brain-tumor-classification-mri` and unzip; "
        "or, without one: `git clone https://github.com/SartajBhuvaji/Brain-Tumor-Classification-DataSet`.",
        "Keep the folders `Training/` and `Testing/` as they are and pass the folder that holds them.",
    )
    modality = "MRI"
    family = "image"
    domains = ("Radiology", "Oncology")
    tasks = ("Diagnostics",)
    published_splits = {"train": 2870, "test": 394}
    cautions = (
        "88 of the 394 test images are byte-identical to a training image (all `no_tumor`); `duplicate_of` names the "
        "first copy, and evaluation reports the score without them too.",
        "171 further test images look the same as a training image (`climb audit brain_tumor`: correlation at least "
        "0.98), so 259 of 394 have a training copy; scores on this test split are too good.",
        "No patient id is published: slices of one patient may stand on both sides of the split.",
    )
    splits = ("official", "paper")
    extra_options = {"drop_duplicates": False}
    fingerprint_patterns = ("Training/*/*", "Testing/*/*")
    root_markers = ("Training", "Testing")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the pictures, Training before Testing, sorted by path."""
        pictures = [(split, *entry) for folder, split in SPLITS.items() for entry in self._pictures(root / folder)]
        copies = first_copies(root, [path.relative_to(root).as_posix() for _, _, path in pictures])
        for split, folder, path in pictures:
            name = path.relative_to(root).as_posix()
            if options["drop_duplicates"] and name in copies:
                yield LeftOut(name, "later copy of a byte-identical image (`drop_duplicates=True`)")
                continue
            yield Record(
                id=name,
                group=name,
                split=split,
                raw_labels=(folder,),
                files=(name,),
                duplicate_of=copies.get(name),
                metadata={"path": name, "folder": folder, "official_split": path.parts[-3]},
            )

    def _pictures(self, folder: Path) -> Iterator[tuple[str, Path]]:
        classes = sorted(path for path in folder.glob("*") if path.is_dir() and not is_junk(path.name))
        if {path.name for path in classes} & FOREIGN_FOLDERS:
            raise LayoutError(
                f"{self.name}: expected class folders such as `glioma_tumor` in `{folder.name}`, found "
                f"{[path.name for path in classes]}: this is the later re-upload with 7,023 images, another data "
                "set. " + self.how_to_get[0]
            )
        for parent in classes:
            for path in sorted(parent.iterdir()):
                if path.suffix.lower() in SUFFIXES and not is_junk(path.name):
                    yield parent.name, path
