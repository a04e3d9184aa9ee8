"""Synthetic raw copy of HAM10000: drawn dermoscopy pictures, lesion masks and the tables of its three publications.

Every picture is drawn and every row is made up; none comes from a patient. Of the seven diagnoses,
mel is a large uneven dark patch, nv a small round brown spot, bcc a pink nodule with a bright rim, akiec a red patch
with yellow dots, bkl a grey plaque with white dots, df a tan ring with a white centre, vasc purple pools.

Oddities of the release that it writes:

* pictures of 600 x 450 pixels in two part folders, in one folder, or in the challenge's folder with text files beside
  them; several pictures of a lesion under one `lesion_id`, spread over both parts; one diagnosis per lesion;
* `HAM10000_metadata` as Kaggle's CSV (age `80.0`), as Dataverse's tab-separated file with quoted text and the column
  `dataset`, or as that table's CSV without an ending; empty ages, `unknown` for sex and body site;
* the challenge's one-hot table (`1.0` / `0.0`, inside a folder of its own name or moved to the root) and the table of
  lesion groups, which have no age, sex or site;
* masks named `<image_id>_segmentation.png`, in Dataverse's copy in a doubled folder;
* Kaggle's `hmnist_*.csv`; as an option, the second, lower-case copy of a part folder.
"""

import json
import shutil
from pathlib import Path

from climb_hf.miniatures._common import (
    Expected,
    check_choice,
    check_count,
    csv_text,
    rng,
    save_image,
    write_csv,
    write_text,
)
from climb_hf.miniatures._dermoscopy import KINDS, dermoscopy

__all__ = ["make"]

_CLASSES = {  # `dx` -> Table 7
    "mel": "Melanoma (MEL)",
    "nv": "Nevus (NV)",
    "bcc": "Basal Cell Carcinoma (BCC)",
    "akiec": "Actinic Keratosis/Intraepithelial Carcinoma (AKIEC)",
    "bkl": "Other (OTHER)",
    "df": "Other (OTHER)",
    "vasc": "Other (OTHER)",
}
_PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
_CHALLENGE = "ISIC2018_Task3_Training"
_LAYOUTS = ("kaggle", "kaggle_twice", "dataverse", "flat", "isic", "climb")
_MASKS = "HAM10000_segmentations_lesion_tschandl"
_COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
_TYPES = ("histo", "follow_up", "consensus", "confocal")
_SITES = ("back", "lower extremity", "trunk", "upper extremity", "abdomen", "face", "chest", "unknown", "scalp")
_ORIGINS = ("vidir_molemax", "vidir_modern", "rosendahl", "vienna_dias")
_SIZE = (450, 600)
_FIRST_LESION = 6866  # with it, both parts of the hash split hold all classes from 32 pictures on

_Row = dict[str, str]


def make(
    root: Path, n: int = 32, seed: int = 0, *, layout: str = "kaggle", masks: bool = True, with_list: bool = False
) -> list[Expected]:
    """Write a synthetic HAM10000 folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of pictures, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of pictures and rows.
        layout (`str`, *optional*, defaults to `"kaggle"`): `"kaggle"` and `"dataverse"` (two part folders; CSV, or
            `.tab` with `dataset`), `"kaggle_twice"` (with a lower-case copy of a part folder), `"flat"` (one folder
            `HAM10000_images`, table without ending), `"isic"` (the challenge's files) or `"climb"` (the same, with
            the one-hot table moved to the root).
        masks (`bool`, *optional*, defaults to `True`): write the lesion masks, but for every seventh picture.
        with_list (`bool`, *optional*, defaults to `False`): add CLIMB's evaluation list, `annotation_valid.jsonl`.

    Returns:
        `list[Expected]`: in the order of the table, `split` is `None`; `values`: `age`, `sex` (both `None` where the
        layout has no such table), `raw_labels`, `dx`, `dx_type`, `localization`, `size` (width, height), `mask_pixels`
        (pixels of the lesion, or `None`) and `evaluation` (named by CLIMB's list).

    Raises:
        OptionError: an option out of range.
    """
    check_count("ham10000", n, seed)
    check_choice("ham10000", "layout", layout, _LAYOUTS)
    lesions = _lesions(n, seed)
    rows, expected = [], []
    for number in (int(i) for i in rng(seed, "ham10000", "order").permutation(n)):
        row = _row(number, lesions[number], seed)
        rows.append(row)
        picture, mask = dermoscopy(row["dx"], rng(seed, "ham10000", "picture", number), _SIZE, factor=3)
        name = row["image_id"]
        save_image(root / _picture_folder(layout, number) / f"{name}.jpg", picture, quality=95)
        has_mask = masks and number % 7 != 6
        if has_mask:
            save_image(root / _mask_folder(layout) / f"{name}_segmentation.png", mask)
        has_table = layout not in ("isic", "climb")
        values: dict[str, object] = {
            "age": float(row["age"]) if has_table and row["age"] else None,
            "sex": row["sex"] if has_table and row["sex"] != "unknown" else None,
            "raw_labels": (row["dx"] if has_table else row["dx"].upper(),),
            "dx": row["dx"],
            "dx_type": row["dx_type"],
            "localization": row["localization"] if has_table else None,
            "size": (600, 450),
            "mask_pixels": int((mask > 0).sum()) if has_mask else None,
            "evaluation": number % 5 == 1,
        }
        expected.append(Expected(name, None, row["lesion_id"], (_CLASSES[row["dx"]],), values))
    _write_tables(root, layout, rows)
    if layout.startswith("kaggle"):
        write_text(root / "hmnist_8_8_L.csv", "pixel0000,pixel0001,label\n169,171,2\n")
    if layout == "kaggle_twice":
        shutil.copytree(root / _PARTS[0], root / _PARTS[0].lower())
    if with_list:
        lines = [_question(e) for e in expected if e.values["evaluation"]]
        write_text(root / "annotation_valid.jsonl", "".join(lines))
    return expected


def _lesions(n: int, seed: int) -> list[tuple[int, str]]:
    """(lesion, diagnosis) of every picture."""
    random = rng(seed, "ham10000", "lesions")
    lesions: list[tuple[int, str]] = []
    codes, name = list(KINDS), _FIRST_LESION + 50 * seed
    for number in range(n):
        name += int(random.integers(1, 5))
        lesions += [(name, codes[number % len(codes)])] * (1, 2, 1, 3, 1, 1, 2, 1, 1, 1, 6, 1)[number % 12]
    return lesions[:n]


def _row(number: int, lesion: tuple[int, str], seed: int) -> _Row:
    """Cells of a picture's row in `HAM10000_metadata`."""
    patient = rng(seed, "ham10000", "lesion", lesion[0])
    origin = int(patient.integers(len(_ORIGINS)))
    age, sex = 5 * int(patient.integers(0, 18)), ("male", "female")[patient.integers(2)]
    is_unknown = lesion[0] % 9 == 4
    return {
        "lesion_id": f"HAM_{lesion[0]:07d}",
        "image_id": f"ISIC_{99_001 + 7 * number + seed:07d}",
        "dx": lesion[1],
        "dx_type": "histo" if lesion[1] in ("mel", "bcc", "akiec") else _TYPES[patient.integers(len(_TYPES))],
        "age": "" if is_unknown else f"{age}.0",
        "sex": "unknown" if is_unknown else sex,
        "localization": _SITES[lesion[0] % len(_SITES)],
        "dataset": _ORIGINS[origin],
    }


def _picture_folder(layout: str, number: int) -> str:
    if layout in ("isic", "climb"):
        return f"{_CHALLENGE}_Input"
    return "HAM10000_images" if layout == "flat" else _PARTS[number % 2]


def _mask_folder(layout: str) -> str:
    return f"{_MASKS}/{_MASKS}" if layout == "dataverse" else _MASKS


def _write_tables(root: Path, layout: str, rows: list[_Row]) -> None:
    if layout in ("isic", "climb"):
        codes = [code.upper() for code in KINDS]
        cells = [[row["image_id"], *(f"{float(code == row['dx'].upper()):.1f}" for code in codes)] for row in rows]
        folder = root / f"{_CHALLENGE}_GroundTruth" if layout == "isic" else root
        write_csv(folder / f"{_CHALLENGE}_GroundTruth.csv", [["image", *codes], *cells])
        groups = [[row["image_id"], row["lesion_id"], row["dx_type"]] for row in rows]
        write_csv(
            root / f"{_CHALLENGE}_LesionGroupings.csv", [["image", "lesion_id", "diagnosis_confirm_type"], *groups]
        )
        for name in ("ATTRIBUTION.txt", "LICENSE.txt"):
            write_text(root / f"{_CHALLENGE}_Input" / name, "Synthetic pictures in the format of HAM10000.\n")
        return
    if layout.startswith("kaggle"):
        write_csv(root / "HAM10000_metadata.csv", [_COLUMNS, *([row[column] for column in _COLUMNS] for row in rows)])
        return
    columns = (*_COLUMNS, "dataset")
    if layout == "flat":
        write_text(
            root / "HAM10000_metadata", csv_text([columns, *([row[column] for column in columns] for row in rows)])
        )
        return
    lines = [columns, *([row[c] if c == "age" else f'"{row[c]}"' for c in columns] for row in rows)]  # text in quotes
    write_text(root / "HAM10000_metadata.tab", "".join("\t".join(line) + "\n" for line in lines))


def _question(record: Expected) -> str:
    """A line of CLIMB's question list."""
    talk = [{"from": "human", "value": "<image>\nsynthetic"}, {"from": "gpt", "value": "synthetic"}]
    image = f"{_CHALLENGE}_Input/{record.id}.jpg"
    return json.dumps({"images": [image], "explanation": "", "conversations": talk}) + "\n"
