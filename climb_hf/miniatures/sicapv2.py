"""Synthetic raw copy of SICAPv2: drawn prostate patches with masks, workbooks of labels and splits.

Every picture is drawn, none comes from a patient. Benign patches have large glands with wide lumina, grade 3 small
round ones, grade 4 fused ragged ones, grade 5 scattered cells without glands; the mask marks the middle of the patch
with the code of its grade.

Oddities of the release that it writes:

* names that hold slide, region, tile and place: `16B0001851_Block_Region_1_0_0_xini_6803_yini_59786.jpg`;
* Excel workbooks with one column per class, `G4C` for the cribriform patches among `G4`; four folds of the train part;
  the tables for the cribriform task beside them; a copy may lack `G4C` and have an unnamed first column;
* benign patches come from slides without cancer only, and a patient may have several slides;
* pictures that no partition lists; masks as PNG, or as the JPEG that some copies hold.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from climb_hf.miniatures._common import (
    Expected,
    Floats,
    check_choice,
    check_count,
    ellipse,
    grid,
    rng,
    save_image,
    to_uint8,
    write_bytes,
    write_text,
)
from climb_hf.miniatures._stained import glands, stained
from climb_hf.miniatures._xlsx import write_xlsx

__all__ = ["make"]

_CLASSES = {
    "NC": "Non-cancerous prostate",
    "G3": "Gleason grade 3",
    "G4": "Gleason grade 4",
    "G5": "Gleason grade 5",
}
_COLUMNS = ("image_name", *_CLASSES, "G4C")
_SIDE, _DRAWN = 512, 128
_FOLDS = 4
_Row = tuple[str | int | None, ...]


def make(
    root: Path,
    n: int = 32,
    seed: int = 0,
    *,
    masks: str = "png",
    tables: str = "full",
    with_slides: bool = True,
) -> list[Expected]:
    """Write a synthetic SICAPv2 folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of patches in the partition, at least 8; one more is in none.
        seed (`int`, *optional*, defaults to `0`): seed of the content.
        masks (`str`, *optional*, defaults to `"png"`): `"png"`, `"jpg"` or `"none"`.
        tables (`str`, *optional*, defaults to `"full"`): `"full"`, or `"reduced"` (without `G4C`, with an unnamed
            first column).
        with_slides (`bool`, *optional*, defaults to `True`): write `wsi_labels.xlsx`.

    Returns:
        `list[Expected]`: train, then test, by name; `values`: `raw_labels`, `file`, `slide`, `patient`, `xini`,
        `yini`, `cribriform` (`None` without the column), `fold` (of the train part, 1 to 4) and `inside` (pixels of
        the mask that are not 0).

    Raises:
        OptionError: an option out of range.
    """
    check_count("sicapv2", n, seed)
    check_choice("sicapv2", "masks", masks, ("png", "jpg", "none"))
    check_choice("sicapv2", "tables", tables, ("full", "reduced"))
    base = root / "SICAPv2"
    rows: dict[str, _Row] = {}
    expected = []
    for i in range(n + 1):
        name, place = _name(i, seed)
        grade = list(_CLASSES)[i % 4]
        slide, random = name.split("_")[0], rng(seed, "sicapv2", i)
        codes = _codes(i % 4, random)
        save_image(base / "images" / f"{name}.jpg", to_uint8(_patch(grade, random)), quality=85)
        if masks != "none":
            save_image(base / "masks" / f"{name}.{masks}", codes)
        if i == n:
            continue  # in no partition
        cribriform = int(grade == "G4" and i % 8 == 2)
        rows[name] = (f"{name}.jpg", *(int(grade == other) for other in _CLASSES), cribriform)
        split = "test" if _is_test(i) else "train"
        patient = _patient(i) if with_slides else None
        values: dict[str, object] = {
            "raw_labels": (grade,),
            "file": f"SICAPv2/images/{name}.jpg",
            "slide": slide,
            "patient": patient,
            "xini": place[0],
            "yini": place[1],
            "cribriform": bool(cribriform) if tables == "full" else None,
            "fold": None if split == "test" else i // 8 % _FOLDS + 1,
            "inside": int((codes > 0).sum()),
        }
        expected.append(Expected(f"{name}.jpg", split, str(patient or slide), (_CLASSES[grade],), values))
    expected.sort(key=lambda row: (row.split == "test", row.id))
    _tables(base, rows, expected, reduced=tables == "reduced")
    if with_slides:
        _slides(base, [_name(i, seed)[0].split("_")[0] for i in range(n)])
    write_text(base / "readme.txt", "Synthetic data in the format of SICAPv2.\n")
    write_bytes(base / "images" / "Thumbs.db", bytes(16))
    return expected


def _slide(i: int) -> int:
    """Number of the slide of a patch: benign patches have slides of their own."""
    return 2 * (i // 8) + (0 if i % 4 == 0 else 1)


def _is_test(i: int) -> bool:
    return i % 8 >= 4


def _patient(i: int) -> int:
    """Two slides of a patient in train, of another in test."""
    return 100 + i // 8 + 50 * _is_test(i)


def _name(i: int, seed: int) -> tuple[str, tuple[int, int]]:
    """Name of a patch, and the place in it."""
    x, y = (int(v) for v in rng(seed, "sicapv2", "place", i).integers(1000, 90_000, 2))
    slide = f"{16 + _is_test(i)}B{1851 + _slide(i):07d}"
    return f"{slide}_Block_Region_{1 + i % 3}_{i // 3}_{i % 5}_xini_{x}_yini_{y}", (x, y)


def _codes(grade: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """The (512, 512) mask: the code of the grade in an ellipse, 0 around it."""
    y, x = grid(_SIDE, _SIDE)
    area = ellipse(y, x, random.uniform(-0.1, 0.1), 0.0, random.uniform(0.6, 0.9), 0.75, edge=0.01) > 0.5
    return (area * grade).astype(np.uint8)


def _patch(grade: str, random: np.random.Generator) -> Floats:
    """Draw a patch of (512, 512, 3), 0 to 1."""
    ground = {"NC": (0.93, 0.76, 0.86), "G3": (0.88, 0.68, 0.80), "G4": (0.80, 0.58, 0.74), "G5": (0.74, 0.56, 0.72)}
    nuclei = 0.8 if grade == "G5" else 0.25
    picture = stained(random, _DRAWN, _DRAWN, ground[grade], nuclei=nuclei, cells=22)
    if grade != "G5":
        count, radius, lumen, ragged = {
            "NC": (2, 0.42, 0.75, 0.02),
            "G3": (4, 0.17, 0.45, 0.0),
            "G4": (3, 0.36, 0.25, 0.15),
        }[grade]
        picture = glands(picture, random, count=count, radius=radius, lumen=lumen, ragged=ragged)
    large = Image.fromarray(to_uint8(picture)).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
    return np.asarray(large).astype(np.float32) / 255.0


def _tables(base: Path, rows: dict[str, _Row], expected: list[Expected], *, reduced: bool) -> None:
    """Write the partition's workbooks: the test part, four folds of the train part, and the cribriform task."""

    def save(name: str, chosen: list[Expected]) -> None:
        found = [rows[row.id.removesuffix(".jpg")] for row in chosen]
        crib = [(row[0], row[-1]) for row in found if row[3]]
        write_xlsx(base / "partition" / name.replace(".", "Cribfriform."), [("image_name", "G4C"), *crib])
        full: list[_Row] = [_COLUMNS, *found]
        if reduced:
            full = [(None if k == 0 else k - 1, *row[:-1]) for k, row in enumerate(full)]
        write_xlsx(base / "partition" / name, full)

    train = [row for row in expected if row.split == "train"]
    save("Test/Train.xlsx", train)
    save("Test/Test.xlsx", [row for row in expected if row.split == "test"])
    for fold in range(1, _FOLDS + 1):
        save(f"Validation/Val{fold}/Train.xlsx", [row for row in train if row.values["fold"] != fold])
        save(f"Validation/Val{fold}/Test.xlsx", [row for row in train if row.values["fold"] == fold])


def _slides(base: Path, slides: list[str]) -> None:
    """Write the table of slides with patients and Gleason scores; benign slides have none."""
    table: dict[str, _Row] = {}
    for i, slide in enumerate(slides):
        is_benign = i % 4 == 0
        table[slide] = (slide, _patient(i), 0 if is_benign else 4, 0 if is_benign else 3)
    write_xlsx(
        base / "wsi_labels.xlsx", [("slide_id", "patient_id", "Gleason_primary", "Gleason_secondary"), *table.values()]
    )
