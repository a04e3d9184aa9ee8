"""COVID-19 chest X-ray collection of Kaggle (darshan1504): 2,990 films in four classes.

Features: frontal films as 8-bit JPEG of mixed size and mode; folders only, no table, no patient, age, sex or view.
Classes: normal, bacterial pneumonia, COVID-19, viral pneumonia, from the folder names.
Splits: `TrainData` (2,002 augmented copies) and `ValData` (988), as in the CLIMB paper; `augmented=False` trains on
`NonAugmentedTrain`, the films `TrainData` was made of, instead. The two are never mixed.
Licence: not settled, see `license_note`. Cite: the two collections the films come from.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from climb_hf.errors import OptionError
from climb_hf.readers.duplicates import first_copies
from climb_hf.readers.tables import is_junk
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

AUGMENTED, ORIGINAL, TEST = "TrainData", "NonAugmentedTrain", "ValData"
OVERSAMPLED = "OversampledAugmentedCOVID-19"
SUFFIXES = (".jpg", ".jpeg", ".png")
#: `_<number of the film within its class>_<random>.jpeg`, as an image generator with an empty prefix writes it.
AUGMENTED_NAME = re.compile(r"_(\d+)_\d+\.")


class Covid19Cxr(Source):
    """COVID-19 chest X-ray collection of Kaggle."""

    name = "covid19_cxr"
    title = "COVID-19 chest X-ray collection (Kaggle, darshan1504)"
    homepage = "https://www.kaggle.com/datasets/darshan1504/covid19-detection-xray-dataset"
    citation = (
        "@misc{darshan2020covid19, title={COVID-19 Detection X-Ray Dataset}, author={darshan1504}, "
        "howpublished={Kaggle}, note={films of Kermany et al., doi 10.17632/rscbjbr9sj, and of Cohen et al., "
        "COVID-19 Image Data Collection, arXiv:2003.11597}}"
    )
    license = "LicenseRef-Unverified"
    license_note = (
        "The CLIMB paper says CC-BY-4.0, which holds for the films of Kermany et al.; those of the Cohen collection "
        "carry a licence each, some CC-BY-NC-SA-4.0. The page's own field could not be checked."
    )
    redistributable = False
    access = "registration"
    how_to_get = (
        "With a Kaggle account: `kaggle datasets download -d darshan1504/covid19-detection-xray-dataset --unzip`.",
        "Pass the folder that holds `TrainData/`, `ValData/` and `NonAugmentedTrain/`.",
    )
    modality = "Chest X-ray"
    family = "image"
    domains = ("Radiology",)
    tasks = ("Diagnostics",)
    published_splits = {"train": 2002, "test": 988}
    cautions = (
        "Films of children (all but COVID-19) and of adults (COVID-19): age alone can separate the classes.",
        "`TrainData` holds augmented copies of `NonAugmentedTrain`: never train on one and score on the other.",
        "No patient id is published; `group` in train is (class, number of the film), which is weak.",
        "The same films occur in `coronahack`, PneumoniaMNIST and the Guangzhou set: do not pretrain on this source "
        "what is scored on those, nor the reverse.",
    )
    splits = ("official", "paper")
    extra_options = {"augmented": True}
    fingerprint_patterns = (f"{AUGMENTED}/*/*", f"{ORIGINAL}/*/*", f"{TEST}/*/*")
    root_markers = (AUGMENTED, ORIGINAL, TEST)

    def check_options(self, options: Options) -> None:
        """Refuse, besides what every source refuses, the paper's split without the films it was made of.

        Raises:
            OptionError: `split_by="paper"` together with `augmented=False`.
        """
        super().check_options(options)
        if options.split_by == "paper" and not options["augmented"]:
            raise OptionError(
                f"{self.name}: the paper trains on `{AUGMENTED}`; use `split_by='official'` with `augmented=False`."
            )

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the films, train before test, sorted by path."""
        train, other = (AUGMENTED, ORIGINAL) if options["augmented"] else (ORIGINAL, AUGMENTED)
        kept = []
        for name in (name for top in (train, TEST) for name in self._pictures(root, top)):
            folder, _, rest = name.partition("/")[2].partition("/")
            if self.vocabulary().knows(folder) and "/" not in rest:
                kept.append((name, folder))
            elif folder == OVERSAMPLED:
                yield LeftOut(name, f"oversampled copy in `{AUGMENTED}/{OVERSAMPLED}`")
            else:
                yield LeftOut(name, "picture outside the four class folders")
        for name in self._pictures(root, other):
            yield LeftOut(name, f"picture in `{other}`: only one of the two training folders is read")
        copies = first_copies(root, [name for name, _ in kept])
        for name, folder in kept:
            yield self._record(name, folder, copies.get(name))

    @staticmethod
    def _pictures(root: Path, top: str) -> list[str]:
        """Return the pictures below a top folder, relative to the root and sorted by path."""
        found = [p for p in sorted((root / top).rglob("*")) if p.suffix.lower() in SUFFIXES and not is_junk(p.name)]
        return [path.relative_to(root).as_posix() for path in found]

    @staticmethod
    def _record(name: str, folder: str, duplicate_of: str | None) -> Record:
        top = name.partition("/")[0]
        match = AUGMENTED_NAME.match(Path(name).name) if top == AUGMENTED else None
        number = int(match[1]) if match else None
        return Record(
            id=name,
            group=name if number is None else f"{top}/{folder}/{number}",
            split="test" if top == TEST else "train",
            raw_labels=(folder,),
            files=(name,),
            duplicate_of=duplicate_of,
            metadata={
                "path": name,
                "split_folder": top,
                "class_folder": folder,
                "augmented": top == AUGMENTED,
                "source_index": number,
            },
        )
