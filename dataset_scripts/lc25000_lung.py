"""LC25000, lung half: 15,000 pictures of lung tissue in three classes, a task of the Open-PMC-18M evaluation.

Features: as of `lc25000`: RGB JPEG of 768 x 768 px, H&E, each a turned or flipped copy of one of 750 originals.
Classes: benign lung, lung adenocarcinoma, lung squamous cell carcinoma, in the order of the evaluation's ids.
Splits: none published; default by file name (hash), 80/20; `random` has the evaluation's sizes, 12,000 / 3,000, whose
members were drawn without a seed. Both put siblings on both sides; `grouped=` takes a table of them.
Licence: none stated. Cite: arXiv 1912.12142.
"""

import functools

from climb_hf.dataset_scripts.lc25000 import PER_CLASS, PLACES, Lc25000

from climb_hf.readers.image_splits import hash_order
from climb_hf.source import Options

FOLDERS = ("lung_n", "lung_aca", "lung_scc")
TEST_SHARE = 0.2
_LOST = "its test pictures were drawn without a seed and no list is published; `random` has its sizes."


class Lc25000Half(Lc25000):
    """One organ of LC25000."""

    cautions = (
        "The default split leaks: every original stands in the set about 20 times, turned or flipped, and siblings of "
        "about 99 % of the test pictures are in train. Scores near 1 measure that, not diagnosis.",
        "`grouped=PATH` keeps siblings together by a table of clusters, such as LC25000-clean's (third party).",
        "`split_by='random'` leaks in the same way. It has the evaluation's sizes; which pictures those were depended "
        "on a draw without a seed, so the members here are drawn by hash.",
    )
    benchmark = "openpmc"
    splits = ("official", "random")
    unavailable_splits = {"openpmc": _LOST, "paper": _LOST}

    def _drawn(self, folder: str, options: Options) -> dict[int, str] | None:
        return None if options.split_by != "random" else _random(self.folders, options.seed)[folder]


@functools.lru_cache(maxsize=2)
def _random(folders: tuple[str, ...], seed: int) -> dict[str, dict[int, str]]:
    """Return class folder -> number -> split: a fifth of all published pictures of an organ, whatever their class."""
    order = hash_order([f"{folder}/{number}" for folder in folders for number in range(1, PER_CLASS + 1)], seed)
    found: dict[str, dict[int, str]] = {folder: {} for folder in folders}
    for place, name in enumerate(order):
        folder, number = name.split("/")
        found[folder][int(number)] = "test" if place < TEST_SHARE * len(order) else "train"
    return found


class Lc25000Lung(Lc25000Half):
    """The lung half of LC25000."""

    name = "lc25000_lung"
    title = "LC25000, lung half"
    published_splits = {"train": 12000, "test": 3000}
    zero_shot_names = ("benign lung", "lung adenocarcinoma", "lung squamous cell carcinoma")
    folders = FOLDERS
    fingerprint_patterns = tuple(f"{place}{name}/*" for place in PLACES for name in FOLDERS)
    root_markers = ("lung_image_sets", *(f"{name}/*.jp*g" for name in FOLDERS))
