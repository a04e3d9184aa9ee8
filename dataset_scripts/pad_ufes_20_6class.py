"""PAD-UFES-20 with its six diagnoses, as the evaluation of Open-PMC-18M uses it.

Features, tables, licence: those of `pad_ufes_20`, the same pictures; the folder `Dataset/` of that evaluation is read
too. Classes: the publisher's six codes, in the order of that evaluation. Splits: default by patient (hash), 80/20;
`image_random` draws per picture and leaks patients. The evaluation's own split cannot be had.
"""

from collections.abc import Iterator
from pathlib import Path

from climb_hf.dataset_scripts.pad_ufes_20 import PadUfes20

from climb_hf.readers.image_splits import hash_order
from climb_hf.source import LeftOut, Options, Record, Skipped

TEST_SHARE = 0.2
_LOST = (
    "the evaluation drew 20 % of the pictures without a seed, for train and for test apart, and kept the lists in a "
    "cache that nobody else has; the published code gives train and test that overlap. `image_random` has its sizes;"
)


class PadUfes20SixClasses(PadUfes20):
    """PAD-UFES-20 in six classes."""

    name = "pad_ufes_20_6class"
    title = "PAD-UFES-20 with six diagnoses (Open-PMC)"
    published_splits = {"train": 1838, "test": 460}
    cautions = (
        "The published linear-probing scores (F1 62 to 83) come from a split whose train and test may overlap: do not "
        "compare with them.",
        "`split_by='image_random'` shows patients on both sides; 829 of 1,373 have one picture only.",
        *PadUfes20.cautions[1:],
    )
    splits = ("official", "image_random")
    unavailable_splits = {"openpmc": _LOST, "paper": _LOST}
    benchmark = "openpmc"
    zero_shot_names = (
        "Basal Cell Carcinoma",
        "Melanoma",
        "Squamous Cell Carcinoma",
        "Actinic Keratosis",
        "Nevus",
        "Seborrheic Keratosis",
    )
    prompts_end_with_stop = True

    def index(self, root: Path, options: Options) -> Iterator[Record | Skipped | LeftOut]:
        """Read the table as `pad_ufes_20` does; `image_random` gives a fifth of its pictures, by hash, to test."""
        rows = list(super().index(root, options))
        if options.split_by == "image_random":
            records = [row for row in rows if isinstance(row, Record)]
            names = hash_order((record.id for record in records), options.seed)
            test = frozenset(names[: round(TEST_SHARE * len(names))])
            for record in records:
                record.split = "test" if record.id in test else "train"
        yield from rows
