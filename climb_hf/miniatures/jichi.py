"""Synthetic raw copy of Jichi (Davis grading): drawn fundus photographs and the table `list.csv`.

Every photograph is drawn and every grade is made up; none comes from a patient. The signs of retinopathy that a
picture shows follow from its grade of one figure.

Oddities of the release that it writes:

* names `<patient>_<running number>_<L|R>.jpg`, the number restarting with each patient, patient numbers with gaps;
* two grade columns that differ in some rows, the grade of the concatenated figures standing before the one of one
  figure;
* no diabetic retinopathy (`ndr`) as the largest class and `ppdr` as the rarest;
* square pictures; several per patient, of both eyes, of several grades.
"""

from pathlib import Path

from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, save_image, write_csv
from climb_hf.miniatures._fundus import paper_split, photograph

__all__ = ["make"]

_FOLDERS = {"flat": ".", "dmr": "dmr", "documents": "documents"}
_CLASSES = {  # `Davis_grading_of_one_figure` -> Table 7, with the class that Table 7 leaves out
    "ndr": "NDR (no diabetic retinopathy)",
    "sdr": "SDR (simple diabetic retinopathy)",
    "ppdr": "PPDR (pre-proliferative diabetic retinopathy)",
    "pdr": "PDR (proliferative diabetic retinopathy)",
}
_SEVERITY = {"ndr": 0, "sdr": 2, "ppdr": 3, "pdr": 4}
_CYCLE = ("ndr", "sdr", "ppdr", "pdr", "ndr", "sdr", "pdr", "ndr")
_SIDES = {"L": "left", "R": "right"}
_COLUMNS = ["Image", "Davis_grading_of_concatenated_figures", "Davis_grading_of_one_figure"]


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "flat", suffix: str = ".jpg") -> list[Expected]:
    """Write a synthetic Jichi folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of images, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of pictures and grades.
        layout (`str`, *optional*, defaults to `"flat"`): pictures beside `list.csv`, or in `"dmr"` or `"documents"`.
        suffix (`str`, *optional*, defaults to `".jpg"`): ending of the files, `".jpg"` or `".JPG"`; the table always
            writes `.jpg`.

    Returns:
        `list[Expected]`: in the order of the table, `split` is `None`; `values`: `raw_labels`, `concatenated`,
        `running_number`, `laterality`, `paper_split`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("jichi", n, seed)
    check_choice("jichi", "layout", layout, tuple(_FOLDERS))
    check_choice("jichi", "suffix", suffix, (".jpg", ".JPG"))
    random = rng(seed, "jichi", "grades")
    grades = [str(grade) for grade in random.permutation([_CYCLE[i % len(_CYCLE)] for i in range(n)])]
    codes = list(_CLASSES)
    rows: list[list[object]] = [[*_COLUMNS]]
    expected, at, patient = [], 0, 1
    splits = paper_split(grades)
    while at < n:
        for running in range(1, min((2, 4, 1, 3)[patient % 4], n - at) + 1):
            eye = "RL"[(running - 1) // 2 % 2] if patient % 4 == 1 else "RL"[running % 2]
            name, grade = f"{patient}_{running}_{eye}.jpg", grades[at]
            worse = codes[min(codes.index(grade) + 1, 3)] if at % 4 == 2 else grade
            rows.append([name, worse, grade])
            picture = photograph(rng(seed, "jichi", "picture", at), 112, 112, _SEVERITY[grade], _SIDES[eye])
            save_image(root / _FOLDERS[layout] / name.replace(".jpg", suffix), picture, quality=92)
            values: dict[str, object] = {
                "raw_labels": (grade,),
                "concatenated": worse,
                "running_number": running,
                "laterality": _SIDES[eye],
                "paper_split": splits[at],
            }
            expected.append(Expected(name, None, str(patient), (_CLASSES[grade],), values))
            at += 1
        patient += 1 + patient % 3
    write_csv(root / "list.csv", rows)
    return expected
