"""APTOS 2019 Blindness Detection: 3,662 graded fundus photographs of the Aravind Eye Hospital, India.

Features: RGB PNG of about 474x358 to 4288x2848 px from several cameras; no patient, eye, age or sex.
Classes: the international five-step scale of diabetic retinopathy. The competition's 1,928 test images have no grades.
Splits: none published for the graded part; default and `paper` are drawn per image, 2,929/733.
Licence: competition rules of Kaggle. Cite: https://www.kaggle.com/c/aptos2019-blindness-detection.
"""

from collections.abc import Iterator
from pathlib import Path

from climb_hf.errors import LayoutError, SchemaError
from climb_hf.readers.duplicates import first_copies
from climb_hf.readers.folders import files_by_name
from climb_hf.readers.tables import find_table, read_csv_rows
from climb_hf.source import LeftOut, Options, Record, Skipped, Source
from climb_hf.splits import draw_per_class

TABLE, FOLDER = "train.csv", "train_images"
UNLABELLED_TABLE, UNLABELLED_FOLDER = "test.csv", "test_images"
SUFFIX = ".png"


class Aptos2019(Source):
    """APTOS 2019 Blindness Detection."""

    name = "aptos2019"
    title = "APTOS 2019 Blindness Detection: graded fundus photographs"
    homepage = "https://www.kaggle.com/competitions/aptos2019-blindness-detection"
    citation = (
        "@misc{aptos2019, title={APTOS 2019 Blindness Detection}, author={Karthik and Maggie and Dane, Sohier}, "
        "publisher={Kaggle}, year={2019}, url={https://kaggle.com/competitions/aptos2019-blindness-detection}}"
    )
    license = "LicenseRef-Kaggle-Competition-Rules"
    license_note = "The competition rules forbid passing the data on; the archive carries no licence of its own."
    redistributable = False
    access = "competition"
    how_to_get = (
        "With a Kaggle account, accept the rules at https://www.kaggle.com/competitions/aptos2019-blindness-detection.",
        "`kaggle competitions download -c aptos2019-blindness-detection` (10.2 GB) and unzip.",
        "Pass the folder that holds `train.csv` and `train_images/`; `test_images/` has no grades and is not needed.",
    )
    modality = "Fundus"
    family = "image"
    domains = ("Ophthalmology",)
    tasks = ("Diagnostics",)
    published_splits = {"train": 2929, "test": 733}
    cautions = (
        "No patient or eye id is published: the split is drawn per image, and eyes of one patient may stand on both "
        "sides.",
        "Some images are exact or near copies of others, some with a conflicting grade and some on the other side of "
        "the split. `duplicate_of` names the first byte-identical copy; `split_by='content'` keeps such copies "
        "together. Near copies are not detected.",
        "`sample_submission.csv` holds dummy grades; it is never read.",
    )
    splits = ("official", "paper", "content")
    fingerprint_patterns = (TABLE, UNLABELLED_TABLE, f"{FOLDER}/**/*{SUFFIX}")
    root_markers = (TABLE, FOLDER)

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Read `train.csv` and join the pictures by `id_code`; count what has no grade."""
        rows = self._rows(root)
        pictures = files_by_name(root / FOLDER, (SUFFIX,))
        files = []
        for name, _ in rows:
            first, *others = pictures.pop(f"{name}{SUFFIX}".lower(), [f"{name}{SUFFIX}"])
            files.append(f"{FOLDER}/{first}")
            for file in others:
                yield LeftOut(f"{FOLDER}/{file}", "second picture of the same name")
        copies = first_copies(root, files)
        ids = dict(zip(files, (name for name, _ in rows), strict=True))
        graded = [grade for _, grade in rows if grade]
        splits = iter(draw_per_class(graded))
        for (name, grade), file in zip(rows, files, strict=True):
            if not grade:
                yield LeftOut(name, "row without a grade")
                continue
            split = next(splits)
            copy_of = ids.get(copies.get(file, ""))
            by_content = options.split_by == "content"
            yield Record(
                id=name,
                group=(copy_of or name) if by_content else name,
                split=None if by_content else split,
                raw_labels=(grade,),
                files=(file,),
                duplicate_of=copy_of,
                metadata={"id_code": name},
            )
        for file in (file for found in pictures.values() for file in found):
            yield LeftOut(f"{FOLDER}/{file}", f"picture without a row in `{TABLE}`")
        for name in self._unlabelled(root):
            yield LeftOut(name, "test image of the competition, without a published grade")

    def _rows(self, root: Path) -> list[tuple[str, str]]:
        """Return (id, grade) of each row of `train.csv`, in file order."""
        missing = [name for name, there in self._layout(root).items() if not there]
        if missing:
            raise LayoutError(
                f"{self.name}: `{'`, `'.join(missing)}` not found in `{root}`. Expected the competition's own archive "
                "with `train.csv` and `train_images/`; re-uploads with `train_1.csv` or with class-named folders of "
                f"small images are other data. {self.how_to_get[1]}"
            )
        try:
            rows = list(read_csv_rows(root / TABLE, required=("id_code", "diagnosis")))
        except SchemaError as error:
            raise SchemaError(f"{self.name}: {error} Is this the `{TABLE}` of another Kaggle competition?") from error
        return [(row["id_code"].strip(), row["diagnosis"].strip()) for row in rows]

    @staticmethod
    def _layout(root: Path) -> dict[str, bool]:
        return {TABLE: find_table(root / TABLE) is not None, f"{FOLDER}/": (root / FOLDER).is_dir()}

    @staticmethod
    def _unlabelled(root: Path) -> list[str]:
        """Return the ids of the competition's test images that the table or the folder names."""
        names = {name.removesuffix(SUFFIX) for name in files_by_name(root / UNLABELLED_FOLDER, (SUFFIX,))}
        if find_table(root / UNLABELLED_TABLE) is not None:
            names |= {row["id_code"].strip() for row in read_csv_rows(root / UNLABELLED_TABLE, required=("id_code",))}
        return sorted(names)
