"""Synthetic raw copy of Quilt-1M: one table of image-caption pairs over a flat folder of drawn tissue pictures.

Every picture is drawn and every sentence made up; none is of a patient, a lecture or an article. A caption names what
its picture shows (pattern, stain, how large it is drawn), so that a model can learn to match the two.

Oddities of the release that it writes:

* an unnamed index column, the pair's only id, with gaps; captions with commas, quotes and line feeds;
* cells that are Python lists (`pathology`, `roi_text`, `med_umls_ids`), some empty, one broken; `med_umls_ids` of one
  row is longer than 131,072 characters, the cell limit of many readers;
* `magnification`, `height` and `width` for the subset `quilt` only; JPEG and PNG, RGB and grey;
* an image with two captions; a row without caption; an image of `val` that a row of `train` names again; a picture no
  row names; `not_histology` and `single_wsi`, which older copies of the table lack.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import (
    Expected,
    check_choice,
    check_count,
    ellipse,
    grid,
    rng,
    save_image,
    smooth_noise,
    to_uint8,
    write_csv,
)

__all__ = ["make"]

_HEADER = (
    "", "caption", "image_path", "subset", "split", "pathology", "roi_text", "noisy_text", "corrected_text",
    "med_umls_ids", "magnification", "height", "width",
)  # fmt: skip
_LATER = ("not_histology", "single_wsi")
_SUBSETS = ("quilt", "openpath", "quilt", "pubmed", "quilt", "laion")
_PATTERNS = ("round glands", "spindle cells in bundles", "solid sheets of nuclei", "thin walls around air spaces",
             "a keratin pearl", "a layered epithelium")  # fmt: skip
_STAINS = {"pink": (0.95, 0.66, 0.78), "purple": (0.66, 0.48, 0.76), "brown": (0.76, 0.60, 0.42)}
_SCALES = {"low": 3.0, "medium": 2.0, "high": 1.0}
_TABLES = {"lookup": "quilt_1M_lookup.csv", "entries": "quilt_1M_entries.csv"}
_FOLDERS = ("quilt_1m", "images", "root")


def make(
    root: Path, n: int = 32, seed: int = 0, *, layout: str = "lookup", folder: str = "quilt_1m", is_later: bool = True
) -> list[Expected]:
    """Write a synthetic Quilt-1M folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of pairs, at least 8; two rows that are no record come on top.
        seed (`int`, *optional*, defaults to `0`): seed of the pictures.
        layout (`str`, *optional*, defaults to `"lookup"`): the table: `"lookup"`, `"entries"` (its renamed copy), or
            `"split"`, two tables by split as other code derives them.
        folder (`str`, *optional*, defaults to `"quilt_1m"`): where the pictures lie: `"quilt_1m"`, `"images"` or
            `"root"`, beside the table.
        is_later (`bool`, *optional*, defaults to `True`): the table of October 2023, with its two further columns.

    Returns:
        `list[Expected]`: in the order of the table; `values`: `file`, `size` (width, height), `text`, `subset`,
        `pathology`, `magnification`, `height`, `width`, `not_histology`, `single_wsi` and `kind` (pattern and stain).

    Raises:
        OptionError: an option out of range.
    """
    check_count("quilt1m", n, seed)
    check_choice("quilt1m", "layout", layout, (*_TABLES, "split"))
    check_choice("quilt1m", "folder", folder, _FOLDERS)
    base = "" if folder == "root" else f"{folder}/"
    expected: list[Expected] = []
    rows: list[list[object]] = []
    for place in range(n):
        number = place - 1 if place % 8 == 1 else place  # the same image, captioned again
        split, subset = ("val" if number % 4 == 3 else "train"), _SUBSETS[number % len(_SUBSETS)]
        pattern, stain = _PATTERNS[number % 6], tuple(_STAINS)[number // 6 % 3]
        scale = tuple(_SCALES)[number // 2 % 3]
        stem = f"{'xYz' if subset == 'quilt' else subset}{number:03d}_image_{number % 7}"
        name = f"{stem}.{'png' if number % 5 == 4 else 'jpg'}"
        caption = _caption(place, pattern, stain, scale)
        size = (64 + 8 * (number % 3), 64)
        if number == place:
            _draw(root / base / name, (pattern, stain, scale), size, number, seed)
        values, cells = _facts(place, number, subset, scale, is_later=is_later)
        rows.append([3 * place + 7, caption, name, subset, split, *cells])
        values |= {"file": base + name, "size": size, "text": caption, "subset": subset, "kind": f"{pattern}, {stain}"}
        id_ = f"{split}-{3 * place + 7}" if layout == "split" else str(3 * place + 7)
        expected.append(Expected(id_, "validation" if split == "val" else "train", name, (), values))
    rows.insert(5, [22222, "", rows[4][2], *rows[4][3:]])
    again = next(row for row in rows if row[4] == "val")
    rows.insert(2, [33333, "The same image, captioned for train.", again[2], again[3], "train", *again[5:]])
    _draw(root / base / "unlisted_image_0.jpg", (_PATTERNS[0], "pink", "low"), (64, 64), n, seed)
    header = [*_HEADER, *(_LATER if is_later else ())]
    if layout != "split":
        write_csv(root / _TABLES[layout], [header, *rows])
        return expected
    for split in ("train", "val"):
        write_csv(root / f"quilt_1m_{split}.csv", [header, *(row for row in rows if row[4] == split)])
    return sorted(expected, key=lambda record: record.split == "validation")


def _caption(place: int, pattern: str, stain: str, scale: str) -> str:
    """Return a caption; some hold a comma, a quote or a line feed."""
    form = (
        "The section shows {p}, sharply bordered, with a {s} stain at {m} power.",
        '{S} stained tissue: "{p}" at {m} power.',
        "At {m} power we see {p}.\nThe stain is {s}.",
        "{p} – {s}, {m} power",
    )[place % 4]
    return f"{form.format(p=pattern, s=stain, S=stain.capitalize(), m=scale)} (synthetic {place})"


def _facts(
    place: int, number: int, subset: str, scale: str, *, is_later: bool
) -> tuple[dict[str, object], list[object]]:
    """Return what a reader finds in the further cells of a row, and the cells."""
    is_quilt = subset == "quilt"
    pathology = ["Dermatopathology", "Soft tissue"][: 1 + place % 2] if is_quilt else []
    entities: list[list[dict[str, str]]] = [[{"entity": "nodule"}]] if is_quilt else []
    if place == 6:
        entities = [[{"entity": "nodule", "note": "x" * 140_000}]]
    written: str | None = str(pathology) if is_quilt or place % 2 else None
    if place == 4:
        pathology, written = [], "['Dermatopathology', 'Soft"
    values: dict[str, object] = {
        "pathology": pathology,
        "magnification": {"low": 0.0, "medium": 1.0, "high": 2.0}[scale] if is_quilt else None,
        "height": 720.0 if is_quilt else None,
        "width": 1280.0 if is_quilt else None,
        "not_histology": bool(number % 9 == 8) if is_later else None,
        "single_wsi": bool(number % 2) if is_later else None,
    }
    cells: list[object] = [
        written, "['dermal nodule']" if is_quilt else None, "so here you see" if is_quilt else None,
        "Here you see" if is_quilt else None, str(entities) if entities else None,
        *(values[key] for key in ("magnification", "height", "width")),
    ]  # fmt: skip
    if is_later:
        cells += [int(bool(values[key])) for key in _LATER]
    return values, cells


def _draw(path: Path, kind: tuple[str, str, str], size: tuple[int, int], number: int, seed: int) -> None:
    """Draw a tissue picture of a pattern and stain, every eleventh grey."""
    width, height = size
    random = rng(seed, "quilt1m", number)
    pattern, stain, scale = kind
    y, x = grid(height, width, scale=1.0 / _SCALES[scale] * 2.0)
    noise, fine = smooth_noise(random, height, width, 6), smooth_noise(random, height, width, 32)
    shapes: dict[str, NDArray[Any]] = {
        _PATTERNS[0]: np.cos(5 * y) * np.cos(5 * x) > 0.35,
        _PATTERNS[1]: np.sin(14 * (x + y) + 2 * noise) > 0.2,
        _PATTERNS[2]: fine > 0.05,
        _PATTERNS[3]: np.abs(noise) < 0.12,
        _PATTERNS[4]: ellipse(y, x, 0, 0, 0.6, 0.6) * (0.5 + 0.5 * np.cos(16 * np.hypot(y, x))),
        _PATTERNS[5]: y > 0.1 * np.sin(4 * x),
    }
    mask = np.asarray(shapes[pattern], np.float32)[..., None]
    ground = np.array(_STAINS[stain]) * random.uniform(0.96, 1.04)
    picture = ground + mask * 0.8 * (np.array([0.28, 0.16, 0.42]) - ground)
    pixels: NDArray[np.uint8] = to_uint8(picture + random.normal(0, 0.02, (height, width, 1)))
    if number % 11 == 10:
        pixels = pixels.mean(axis=-1).astype(np.uint8)
    save_image(path, pixels, **({} if path.suffix == ".png" else {"quality": 92}))
