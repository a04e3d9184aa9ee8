"""Synthetic raw copy of DeepEyeNet: three JSON lists of drawn retinal pictures with keywords and descriptions.

Every picture is drawn and every sentence made up; none is of a patient. The description names the signs its picture
shows, the side and the kind of photograph, so that a model can learn to match the two.

Oddities of the release that it writes:

* each list holds dictionaries of one key, the picture's path, the hyphenated `clinical-description` behind `keywords`;
  one dictionary of two keys, as the publisher's page shows it; optionally one plain dictionary instead of the list;
* `DeepEyeNet_valid.json`, which some copies call `DeepEyeNet_val.json`; the lists beside or inside `eyenet0420/`;
* empty keywords; a description that several pictures of one eye share; one empty description (no record);
* colour photographs and grey angiograms; a picture that no list names.
"""

import json
from pathlib import Path

import numpy as np

from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, save_image, write_text
from climb_hf.miniatures._fundus import photograph

__all__ = ["make"]

_SETS = {"train": ("train", "train_set"), "valid": ("validation", "val_set"), "test": ("test", "test_set")}
_SIGNS = (
    ("healthy retina", "no abnormality"),
    ("microaneurysms", "a few dark dots"),
    ("hard exudates", "dark dots and yellow exudates"),
    ("retinal vein occlusion", "large blots in every quadrant"),
    ("preretinal hemorrhage", "a broad dark bleeding below and a pale frond"),
)
_SIZE = (72, 72)


def make(
    root: Path, n: int = 32, seed: int = 0, *, layout: str = "beside", validation: str = "valid", form: str = "list"
) -> list[Expected]:
    """Write a synthetic DeepEyeNet folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of pictures with a description, at least 8; one without comes
            on top.
        seed (`int`, *optional*, defaults to `0`): seed of the pictures.
        layout (`str`, *optional*, defaults to `"beside"`): the lists `"beside"` or `"inside"` the folder `eyenet0420`;
            `"flat"`: what that folder holds, without it.
        validation (`str`, *optional*, defaults to `"valid"`): name of the second list, `"valid"` or `"val"`.
        form (`str`, *optional*, defaults to `"list"`): `"dict"` writes one plain dictionary per file.

    Returns:
        `list[Expected]`: train, validation, test, each in the order of its list; `values`: `file`, `size`, `text`,
        `keywords` (a list), `keyword_text` (as written), `series` (the file's stem before its last hyphen).

    Raises:
        OptionError: an option out of range.
    """
    check_count("deepeyenet", n, seed)
    check_choice("deepeyenet", "layout", layout, ("beside", "inside", "flat"))
    check_choice("deepeyenet", "validation", validation, ("valid", "val"))
    check_choice("deepeyenet", "form", form, ("list", "dict"))
    few = max(2, n // 4)
    prefix = "" if layout == "flat" else "eyenet0420/"
    expected: list[Expected] = []
    number = 0
    for name, count in (("train", n - 2 * few), ("valid", few), ("test", few)):
        split, folder = _SETS[name]
        entries: dict[str, dict[str, str]] = {}
        for place in range(count):
            record, texts = _picture(root, prefix, (split, folder), number, seed, follows=place % 6 == 5)
            expected.append(record)
            entries[record.id] = texts
            number += 1
        if name == "train":
            lost = f"eyenet0420/{folder}/group999-1.jpg"
            _draw(root / prefix / folder / "group999-1.jpg", 0, 0, 999, seed)
            entries[lost] = {"keywords": "drusen", "clinical-description": ""}
        _draw(root / prefix / folder / "unlisted-7.jpg", 0, 0, 1000 + number, seed)
        file = f"DeepEyeNet_{validation if name == 'valid' else name}.json"
        write_text(root / (prefix if layout == "inside" else "") / file, _listing(entries, form))
    return expected


def _listing(entries: dict[str, dict[str, str]], form: str) -> str:
    """Return a list as JSON: dictionaries of one key, the first two in one dictionary."""
    if form == "dict":
        return json.dumps(entries)
    items = list(entries.items())
    return json.dumps([dict(items[:2]), *({path: texts} for path, texts in items[2:])])


def _picture(
    root: Path, prefix: str, names: tuple[str, str], number: int, seed: int, *, follows: bool
) -> tuple[Expected, dict[str, str]]:
    """Write a picture; returns its record and what the list says of it: some repeat the description before."""
    split, folder = names
    eye = number - 1 if follows else number
    kind, is_grey, side = eye % 5, eye // 5 % 2, "left" if eye % 3 else "right"
    condition, seen = _SIGNS[kind]
    view = "fluorescein angiogram" if is_grey else "color fundus photograph"
    text = f"{40 + eye}-year-old {'female' if eye % 2 else 'male'}, {condition}: {view} of the {side} eye with {seen}."
    keywords = "" if number % 7 == 4 else f"{condition}, {view.split()[0]} imaging (synthetic)"
    file = f"{folder}/group{eye}-{number}.jpg"
    _draw(root / prefix / file, kind, is_grey, number, seed, side=side)
    values: dict[str, object] = {
        "file": prefix + file,
        "size": _SIZE,
        "text": text,
        "keywords": keywords.split(", ") if keywords else [],
        "keyword_text": keywords,
        "series": f"group{eye}",
    }
    path = f"eyenet0420/{file}"
    return Expected(path, split, path, (), values), {"keywords": keywords, "clinical-description": text}


def _draw(path: Path, kind: int, is_grey: int, number: int, seed: int, side: str = "right") -> None:
    """Draw a photograph; an angiogram is grey, its vessels bright."""
    random = rng(seed, "deepeyenet", number)
    pixels = photograph(random, _SIZE[1], _SIZE[0], kind, side)
    if is_grey:
        grey = 255 - pixels.mean(axis=-1)
        grey[pixels.sum(axis=-1) < 30] = 0
        pixels = np.stack([grey.astype(np.uint8)] * 3, axis=-1)
    save_image(path, pixels, quality=92)
