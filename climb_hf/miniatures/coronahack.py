"""Synthetic raw copy of CoronaHack: drawn chest films, the metadata table and the summary table.

Every film is drawn and every row is made up; none comes from a patient. The classes differ by the pattern of lung
opacity; COVID-19 and SARS rows are viral films, Streptococcus rows bacterial ones.

Oddities of the release that it writes:

* the doubled picture folder; a table whose first column has no name and whose old index has gaps; `Pnemonia`;
  `bacteria` in lower case beside `Virus` and `Stress-Smoking`; blanks where a level does not apply;
* `person<N>_<kind>_<m>.jpeg`, several files a person, N used again for the other kind and in the test set;
  `IM-…`, `NORMAL2-IM-…` and a third number (`IM-0429-0001-0002.jpeg`);
* collected films with dots in their names, RGB JPEG and RGBA PNG, in TRAIN only; two ARDS rows, which have no class;
* files in `train/` that have no row; `.DS_Store` files.
"""

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import (
    Expected,
    check_choice,
    check_count,
    rng,
    save_image,
    to_uint8,
    write_bytes,
    write_csv,
)
from climb_hf.miniatures._pneumonia_films import film

__all__ = ["make"]

_FOLDERS = {
    "doubled": "Coronahack-Chest-XRay-Dataset/Coronahack-Chest-XRay-Dataset/",
    "single": "Coronahack-Chest-XRay-Dataset/",
    "flat": "",
}
_NORMAL, _BACTERIA, _VIRUS = ("Normal", "", ""), ("Pnemonia", "bacteria", ""), ("Pnemonia", "Virus", "")
_COVID, _SARS = ("Pnemonia", "Virus", "COVID-19"), ("Pnemonia", "Virus", "SARS")
_STREP, _ARDS = ("Pnemonia", "bacteria", "Streptococcus"), ("Pnemonia", "Stress-Smoking", "ARDS")
_Label = tuple[str, str, str]  # Label, Label_1_Virus_category, Label_2_Virus_category
_CLASSES = {  # -> Table 7, kind of film
    _NORMAL: ("Normal", "normal"),
    _BACTERIA: ("Bacterial Pneumonia", "bacterial"),
    _STREP: ("Bacterial Pneumonia", "bacterial"),
    _VIRUS: ("Viral Pneumonia", "viral"),
    _COVID: ("Viral Pneumonia", "viral"),
    _SARS: ("Viral Pneumonia", "viral"),
    _ARDS: (None, "covid"),
}
_COLLECTED = (  # name, weak group, label; the names are made in the style of the collection
    ("9-s9.0-S9999999999999999-main.pdf-001.jpg", "9-s9.0-S9999999999999999-main.pdf-001", _COVID),
    ("99999_2020_999_Fig1_HTML.webp-day5.png", "99999_2020_999_Fig1_HTML.webp", _COVID),
    ("SARS-99.9999rg.999999999-g04-Fig8a-day0.jpeg", "SARS-99.9999rg.999999999-g04-Fig8", _SARS),
    ("streptococcus-case9a.jpg", "streptococcus-case9", _STREP),
    ("99999_2020_999_Fig1_HTML.webp-day10.png", "99999_2020_999_Fig1_HTML.webp", _COVID),
    ("SARS-99.9999rg.999999999-g04-Fig8b-day5.jpeg", "SARS-99.9999rg.999999999-g04-Fig8", _SARS),
)
_SIZES = ((140, 170), (120, 150), (160, 200), (110, 140))  # (height, width)


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "doubled") -> list[Expected]:
    """Write a synthetic CoronaHack folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of rows with a class, at least 8; two ARDS rows come on top.
        seed (`int`, *optional*, defaults to `0`): seed of the content.
        layout (`str`, *optional*, defaults to `"doubled"`): `"doubled"` (as the archive unpacks), `"single"` (one
            picture folder) or `"flat"` (`train/` and `test/` beside the tables).

    Returns:
        `list[Expected]`: in the order of the table; `values`: `duplicate_of` (`None`), `raw_labels` (levels joined by
        `/`), `size` (width, height), `mode`, `origin`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("coronahack", n, seed)
    check_choice("coronahack", "layout", layout, tuple(_FOLDERS))
    plan = _plan(n)
    header = ["X_ray_image_name", "Label", "Dataset_type", "Label_2_Virus_category", "Label_1_Virus_category"]
    table: list[list[object]] = [["", *header]]
    expected = []
    for number, (name, group, label, kind) in enumerate(plan):
        index = number + number // 7 * 3  # gaps
        table.append([index, name, label[0], kind, label[2], label[1]])
        pixels = _picture(name, label, number, seed)
        save = {"quality": 88} if pixels.ndim == 2 or pixels.shape[2] == 3 else {"compress_level": 3}
        save_image(root / _FOLDERS[layout] / kind.lower() / name, pixels, **save)
        class_name = _CLASSES[label][0]
        if class_name is not None:
            values: dict[str, object] = {
                "duplicate_of": None,
                "raw_labels": ("/".join(filter(None, label)),),
                "size": (pixels.shape[1], pixels.shape[0]),
                "mode": "L" if pixels.ndim == 2 else "RGBA" if pixels.shape[2] == 4 else "RGB",
                "origin": "collected" if name[:2] not in ("pe", "IM", "NO") else "guangzhou",
            }
            split = {"TRAIN": "train", "TEST": "test"}[kind]
            expected.append(Expected(name, split, group, (class_name,), values))
    write_csv(root / "Chest_xray_Corona_Metadata.csv", table)
    write_csv(root / "Chest_xray_Corona_dataset_Summary.csv", _summary(Counter(row[2] for row in plan)))
    for name in ("IM-9001-0001.jpeg", "person9001_virus_9001.jpeg"):
        picture = _picture(name, _NORMAL, len(plan), seed)
        save_image(root / _FOLDERS[layout] / "train" / name, picture, quality=88)
    write_bytes(root / _FOLDERS[layout] / "train" / ".DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64))
    return expected


def _plan(n: int) -> list[tuple[str, str, _Label, str]]:
    """(file name, group, label, Dataset_type) of every row."""
    n_test = max(3, n // 5)
    n_collected = min(len(_COLLECTED), max(1, n // 6))
    n_train = n - n_test - n_collected
    rows = [(*_named(i, i // 3, test=False), "TRAIN") for i in range(n_train)]
    rows += [(*row, "TRAIN") for row in _COLLECTED[:n_collected]]
    rows += [
        (f"acute-respiratory-distress-syndrome-ards-{k}.jpg", f"acute-respiratory-ards-{k}", _ARDS, "TRAIN")
        for k in (8, 9)
    ]
    return rows + [(*_named(i, i // 3, test=True), "TEST") for i in range(n_test)]


def _named(number: int, i: int, *, test: bool) -> tuple[str, str, _Label]:
    """Name, group and label of the i-th Guangzhou film of its class, classes in turn."""
    if number % 3 == 0:
        prefix, first = ("NORMAL2-IM", 7 if test else 383) if i % 4 == 3 else ("IM", 1 if test else 115)
        group = f"{prefix}-{first + i // 2:04}"
        third = "-0002" if i % 4 == 1 else ""
        return f"{group}-{i + 1:04}{third}.jpeg", group, _NORMAL
    kind, label = (("bacteria", _BACTERIA), ("virus", _VIRUS))[number % 3 - 1]
    person = 1 + i // 2 + (1600 if test and kind == "bacteria" else 0)  # viral test persons count from 1 again
    if not test and kind == "virus":
        person += 300
    group = f"person{person}_{kind}"
    return f"{group}_{i * 7 + 5}.jpeg", group, label


def _picture(name: str, label: _Label, number: int, seed: int) -> NDArray[np.uint8]:
    """A film of (height, width), (height, width, 3) or (height, width, 4) uint8, as its name asks for."""
    random = rng(seed, "coronahack", name)
    height, width = _SIZES[number % len(_SIZES)]
    pixels = to_uint8(film(random, height, width, _CLASSES[label][1]))
    collected = any(name == row[0] for row in _COLLECTED)
    if name.endswith(".png"):
        return np.dstack([pixels] * 3 + [np.full_like(pixels, 255)])
    return np.dstack([pixels] * 3) if collected or number % 11 == 4 else pixels


def _summary(counts: Counter[_Label]) -> list[list[object]]:
    """Rows of the summary table: the labels and how many films each has."""
    rows: list[list[object]] = [
        ["", "Label", "Label_1_Virus_category", "Label_2_Virus_category", "Image_Count"],
    ]
    order = (_NORMAL, _ARDS, _VIRUS, _COVID, _SARS, _BACTERIA, _STREP)
    return rows + [[i, *label, counts[label]] for i, label in enumerate(order)]
