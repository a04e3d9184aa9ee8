"""NCT-CRC-HE-100K and CRC-VAL-HE-7K: colorectal patches in nine tissue classes, by Kather et al., 2018.

Features: RGB TIFF of 224 x 224 px at 0.5 µm per pixel, H&E, colours normalised (Macenko).
Classes: eight tissues; `include_background=True` adds the ninth, which the Open-PMC-18M evaluation leaves out.
Splits: the publisher's, 100,000 patches of 86 patients (train) and 7,180 of 50 others of another centre (test); 89,434
and 6,333 without background. `variant="nonorm"` takes the train patches before normalisation.
Licence: CC-BY-4.0. Cite: doi 10.5281/zenodo.1214456.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from climb_hf.errors import LayoutError, OptionError
from climb_hf.readers.tables import is_junk
from climb_hf.source import LeftOut, Options, Record, Skipped, Source

CLASSES = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
BACKGROUND = "BACK"
#: Name of the set in a path -> variant; the patches for testing exist in one only.
SETS = {"NCT-CRC-HE-100K-NONORM": "nonorm", "NCT-CRC-HE-100K": "norm", "CRC-VAL-HE-7K": "test"}
SUFFIXES = (".tif", ".tiff")


class NctCrcHe(Source):
    """NCT-CRC-HE-100K with CRC-VAL-HE-7K."""

    name = "nct_crc_he"
    title = "NCT-CRC-HE-100K and CRC-VAL-HE-7K"
    homepage = "https://zenodo.org/records/1214456"
    citation = (
        "@misc{kather2018nct, title={100,000 histological images of human colorectal cancer and healthy tissue}, "
        "author={Kather, Jakob Nikolas and Halama, Niels and Marx, Alexander}, publisher={Zenodo}, year={2018}, "
        "doi={10.5281/zenodo.1214456}}"
    )
    license = "CC-BY-4.0"
    redistributable = True
    access = "open"
    how_to_get = (
        "Download `NCT-CRC-HE-100K.zip` (11.7 GB) and `CRC-VAL-HE-7K.zip` (0.8 GB) from "
        "https://zenodo.org/records/1214456; for `variant='nonorm'` also `NCT-CRC-HE-100K-NONORM.zip`.",
        "Unzip them into one folder and pass that.",
    )
    modality = "Tissues"
    family = "image"
    domains = ("Pathology", "Oncology")
    tasks = ("Classification",)
    published_splits = {"train": 89434, "test": 6333}
    cautions = (
        "PathMNIST is the same data (train and validation from the 100,000, test the 7,180): never train on one and "
        "test on the other.",
        "Colour normalisation, JPEG artefacts that differ by class and a damaged dynamic range of some patches let a "
        "model tell classes by other things than tissue (Ignatov & Malivenko, arXiv 2409.11546).",
        "No patient is named: train and test have different ones, but `validation=` carves patches of the same "
        "patients as train.",
    )
    benchmark = "openpmc"
    zero_shot_names = (
        "adipose", "debris", "lymphocytes", "mucus", "smooth muscle", "normal colon mucosa",
        "cancer-associated stroma", "colorectal adenocarcinoma epithelium",
    )  # fmt: skip
    prompts_end_with_stop = False
    option_schemes = {"include_background": "include_background"}
    extra_options = {"include_background": False, "variant": "norm"}
    fingerprint_patterns = tuple(f"{'*/' * depth}{name}/*.tif*" for depth in range(3) for name in CLASSES)
    root_markers = (*SETS, *(f"{name}/{name}-*.tif*" for name in CLASSES))

    def check_options(self, options: Options) -> None:
        """Refuse values of `variant` that do not exist."""
        super().check_options(options)
        if options["variant"] not in ("norm", "nonorm"):
            raise OptionError(f"{self.name}: `variant` must be 'norm' or 'nonorm', got {options['variant']!r}.")

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """List the patches: set and class are the first parts of a path that name one, train first."""
        found: dict[str, dict[tuple[str, str], list[str]]] = {"norm": {}, "nonorm": {}, "test": {}}
        for path in self._patches(root):
            folder = next((part for part in path.split("/") if part in CLASSES), None)
            stem = path.rpartition("/")[2].rpartition(".")[0]
            if folder is None or not stem.startswith(f"{folder}-"):
                yield LeftOut(path, "picture outside the class folders, or named after another class")
                continue
            parts = (*reversed(path.split("/")), root.name)
            kind = "test" if "-TCGA-" in stem else next((SETS[part] for part in parts if part in SETS), "norm")
            found[kind].setdefault((folder, stem), []).append(path)
        if not found[options["variant"]] and options["variant"] == "nonorm" and found["norm"]:
            raise LayoutError(f"{self.name}: `variant='nonorm'` needs `NCT-CRC-HE-100K-NONORM/`. {self.how_to_get[0]}")
        other = "norm" if options["variant"] == "nonorm" else "nonorm"
        yield from (LeftOut(stem, f"patch of `variant={other!r}`") for _, stem in found[other])
        for kind, split in ((options["variant"], "train"), ("test", "test")):
            for (folder, stem), paths in sorted(found[kind].items()):
                for path in paths[1:]:
                    yield LeftOut(path, "second file of one name")
                if folder == BACKGROUND and not options["include_background"]:
                    yield LeftOut(stem, "background (`include_background=False`)")
                    continue
                about = {"folder": folder, "set": "CRC-VAL-HE-7K" if kind == "test" else "NCT-CRC-HE-100K"}
                yield Record(
                    id=stem,
                    group=stem,
                    split=split,
                    raw_labels=(folder,),
                    files=(paths[0],),
                    metadata={**about, "variant": "norm" if kind == "test" else kind},
                )

    @staticmethod
    def _patches(root: Path) -> Iterator[str]:
        """Yield the TIFF files below the root, relative to it, in order of name."""
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if not name.startswith(".") and not is_junk(name))
            inside = Path(folder).relative_to(root)
            for name in sorted(files):
                if name.lower().endswith(SUFFIXES) and not is_junk(name):
                    yield (inside / name).as_posix()
