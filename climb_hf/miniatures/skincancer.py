"""Synthetic raw copy of SkinCancer: HAM10000's synthetic pictures and table with the seven diagnoses as classes.

Everything that `climb_hf.miniatures.ham10000` draws and writes is synthetic. Beside its layouts there is the one of
the Open-PMC evaluation: all pictures in `skin_cancer/`, and the two tables `HAM10000_train.csv` and
`HAM10000_test.csv` that its code leaves behind, which are no part of the release.
"""

import dataclasses
from pathlib import Path

from climb_hf.miniatures import ham10000
from climb_hf.miniatures._common import Expected, write_text

__all__ = ["make"]

_CLASSES = {
    "nv": "Melanocytic Nevi",
    "mel": "Melanoma",
    "bkl": "Benign Keratosis-like Lesions",
    "bcc": "Basal Cell Carcinoma",
    "akiec": "Actinic Keratoses and Intraepithelial Carcinoma",
    "vasc": "Vascular Lesions",
    "df": "Dermatofibroma",
}


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "openpmc", masks: bool = False) -> list[Expected]:
    """Write a synthetic SkinCancer folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of pictures, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of pictures and rows.
        layout (`str`, *optional*, defaults to `"openpmc"`): `"openpmc"`, or a layout of the maker of `ham10000`.
        masks (`bool`, *optional*, defaults to `False`): write the lesion masks.

    Returns:
        `list[Expected]`: as the maker of `ham10000`, with the seven classes.

    Raises:
        OptionError: an option out of range.
    """
    expected = ham10000.make(root, n, seed, layout="kaggle" if layout == "openpmc" else layout, masks=masks)
    if layout == "openpmc":
        for picture in sorted(root.glob("HAM10000_images_part_*/*.jpg")):
            target = root / "skin_cancer" / picture.name
            target.parent.mkdir(exist_ok=True)
            picture.rename(target)
        for folder in root.glob("HAM10000_images_part_*"):
            folder.rmdir()
        header, *rows = (root / "HAM10000_metadata.csv").read_text(encoding="utf-8").splitlines(keepends=True)
        write_text(root / "HAM10000_test.csv", header + "".join(rows[: n // 5]))
        write_text(root / "HAM10000_train.csv", header + "".join(rows[n // 5 :]))
    return [dataclasses.replace(row, classes=(_CLASSES[str(row.values["dx"])],)) for row in expected]
