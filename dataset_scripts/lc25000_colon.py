"""LC25000, colon half: 10,000 pictures of colon tissue in two classes, a task of the Open-PMC-18M evaluation.

Features: as of `lc25000`: RGB JPEG of 768 x 768 px, H&E, each a turned or flipped copy of one of 500 originals.
Classes: benign colonic tissue, colon adenocarcinoma, in the order of the evaluation's ids.
Splits: as of `lc25000_lung`, with 8,000 / 2,000 pictures.
Licence: none stated. Cite: arXiv 1912.12142.
"""

from climb_hf.dataset_scripts.lc25000 import PLACES
from climb_hf.dataset_scripts.lc25000_lung import Lc25000Half

FOLDERS = ("colon_n", "colon_aca")


class Lc25000Colon(Lc25000Half):
    """The colon half of LC25000."""

    name = "lc25000_colon"
    title = "LC25000, colon half"
    published_splits = {"train": 8000, "test": 2000}
    zero_shot_names = ("benign colonic tissue", "colon adenocarcinoma")
    folders = FOLDERS
    fingerprint_patterns = tuple(f"{place}{name}/*" for place in PLACES for name in FOLDERS)
    root_markers = ("colon_image_sets", *(f"{name}/*.jp*g" for name in FOLDERS))
