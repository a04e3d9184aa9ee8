"""Synthetic raw copy of APTOS 2019: drawn fundus photographs in the tree of the Kaggle competition's archive.

Every photograph is drawn and every grade is made up; none comes from a patient. The signs of retinopathy that a
picture shows follow from its grade.

Oddities of the release that it writes:

* `test_images/` without grades beside `train_images/`, and `sample_submission.csv` whose `diagnosis` is a dummy;
* very mixed sizes and shapes: square crops, 4:3 and 3:2;
* from n = 16 on byte-identical copies under other ids, one with the same grade and one with a conflicting grade
  (`Expected.values["duplicate_of"]` names the copy that the table lists first).
"""

from pathlib import Path

from climb_hf.miniatures._common import Expected, check_count, rng, save_image, write_bytes, write_csv
from climb_hf.miniatures._fundus import paper_split, photograph

__all__ = ["make"]

_CLASSES = ("No DR", "Mild", "Moderate", "Severe", "Proliferative DR")  # Table 7, by grade
_SIZES = ((108, 144), (128, 128), (96, 144), (144, 192), (80, 106), (112, 112))


def make(root: Path, n: int = 32, seed: int = 0) -> list[Expected]:
    """Write a synthetic APTOS 2019 folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of graded images, copies included, at least 8; an eighth of
            that many comes on top without grades.
        seed (`int`, *optional*, defaults to `0`): seed of names, pictures and grades.

    Returns:
        `list[Expected]`: in the order of `train.csv`; `values`: `raw_labels`, `duplicate_of`, `paper_split`, `size`
        (width, height).

    Raises:
        OptionError: `n` or `seed` out of range.
    """
    check_count("aptos2019", n, seed)
    random = rng(seed, "aptos2019", "plan")
    unlabelled = max(2, n // 8)
    ids = [f"{int(number):012x}" for number in random.choice(2**47, n + unlabelled, replace=False)]
    graded, blind = sorted(ids[:n]), sorted(ids[n:])
    grades = [int(grade) for grade in random.permutation([i % len(_CLASSES) for i in range(n)])]
    copies = _copies(grades)
    expected: list[Expected] = []
    content: dict[int, bytes] = {}  # position of a first copy -> its file
    for at, (name, grade, split) in enumerate(zip(graded, grades, paper_split(grades), strict=True)):
        size = _SIZES[copies.get(at, at) % len(_SIZES)]
        path = root / "train_images" / f"{name}.png"
        if at in copies:
            write_bytes(path, content[copies[at]])
        else:
            pixels = photograph(rng(seed, "aptos2019", "picture", at), *size, grade, ("left", "right")[at % 2])
            content[at] = save_image(path, pixels, compress_level=3)
        values: dict[str, object] = {
            "raw_labels": (str(grade),),
            "duplicate_of": graded[copies[at]] if at in copies else None,
            "paper_split": split,
            "size": size[::-1],
        }
        expected.append(Expected(name, split, name, (_CLASSES[grade],), values))
    for at, name in enumerate(blind):
        pixels = photograph(rng(seed, "aptos2019", "blind", at), *_SIZES[at % len(_SIZES)], at % 5, "right")
        save_image(root / "test_images" / f"{name}.png", pixels, compress_level=3)
    write_csv(root / "train.csv", [["id_code", "diagnosis"], *map(list, zip(graded, grades, strict=True))])
    write_csv(root / "test.csv", [["id_code"], *([name] for name in blind)])
    write_csv(root / "sample_submission.csv", [["id_code", "diagnosis"], *([name, 0] for name in blind)])
    return expected


def _copies(grades: list[int]) -> dict[int, int]:
    """Position of a copy -> position of its first: one of the same grade, one of a conflicting one, from 16 on."""
    if len(grades) < 16:
        return {}
    same = next(at for at in range(1, len(grades)) if grades[at] == grades[0])
    free = [at for at in range(1, len(grades)) if at != same]
    first = free[0]
    other = next(at for at in free[1:] if grades[at] != grades[first])
    return {same: 0, other: first}
