"""Synthetic raw copy of the Kaggle COVID-19 film collection: class folders below three training and test folders.

Every film is drawn, none comes from a patient; the classes differ by the pattern of lung opacity.

Oddities of the release that it writes:

* no table at all: the label is the class folder, the split the top folder;
* `TrainData` holds augmented copies (mirrored, shifted in brightness) of `NonAugmentedTrain` under names that start
  with `_`, such as `_3_4754176.jpeg`; several copies of one film share the number within the class;
* `TrainData/OversampledAugmentedCOVID-19/COVID-19/`, one level deeper, with more copies of the COVID-19 films;
* names that repeat across folders (`0.jpeg`), grey and RGB files, very different sizes, one `.JPEG`;
* `.DS_Store` files.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import Expected, check_choice, check_count, rng, save_image, to_uint8, write_bytes
from climb_hf.miniatures._pneumonia_films import film

__all__ = ["make"]

_CLASSES = {  # folder -> Table 7, kind of film
    "BacterialPneumonia": ("Bacterial Pneumonia", "bacterial"),
    "COVID-19": ("COVID-19", "covid"),
    "Normal": ("Normal", "normal"),
    "ViralPneumonia": ("Viral Pneumonia", "viral"),
}
_SIZES = ((120, 144), (96, 128), (180, 200), (128, 112), (150, 150))  # (height, width)
_OVERSAMPLED = "TrainData/OversampledAugmentedCOVID-19/COVID-19"
_SIBLINGS = 4  # every fourth augmented file is a second copy of the film before


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "plain") -> list[Expected]:
    """Write a synthetic copy of the collection.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of files in the four class folders of `TrainData` and
            `ValData` together, at least 8; those of `NonAugmentedTrain` and the oversampled folder come on top.
        seed (`int`, *optional*, defaults to `0`): seed of the content.
        layout (`str`, *optional*, defaults to `"plain"`): `"nested"` puts one folder above the three.

    Returns:
        `list[Expected]`: `TrainData` before `ValData`, sorted by path; `values`: `duplicate_of` (`None`),
        `raw_labels`, `size` (width, height), `mode`, `augmented`, `source_index`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("covid19_cxr", n, seed)
    check_choice("covid19_cxr", "layout", layout, ("plain", "nested"))
    top = root / "COVID19Detection" if layout == "nested" else root
    n_test = max(4, n // 3)
    expected = []
    for number in range(n - n_test):
        folder, index = list(_CLASSES)[number % 4], number // 4
        source = index - index // _SIBLINGS - (index % _SIBLINGS == _SIBLINGS - 1)
        pixels = _film(folder, source, "train", seed)
        save_image(top / "NonAugmentedTrain" / folder / f"{source}.jpeg", pixels, quality=88)
        random = rng(seed, "covid19_cxr", "augmented", folder, index)
        name = f"_{source}_{random.integers(1_000_000, 9_999_999)}.jpeg"
        expected.append(_write(top, f"TrainData/{folder}/{name}", _augmented(pixels, random), source))
        if folder == "COVID-19":
            name = f"_{source}_{random.integers(1_000_000, 9_999_999)}.jpeg"
            save_image(top / _OVERSAMPLED / name, _augmented(pixels, random), quality=88)
    for number in range(n_test):
        folder, index = list(_CLASSES)[number % 4], number // 4
        name = f"{index}.JPEG" if number == 4 else f"{index}.jpeg"
        expected.append(_write(top, f"ValData/{folder}/{name}", _film(folder, index, "test", seed), None))
    for junk in ("", "TrainData/", "ValData/Normal/"):
        write_bytes(top / f"{junk}.DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64))
    return sorted(expected, key=lambda row: row.id.split("/"))


def _write(top: Path, identity: str, pixels: NDArray[np.uint8], source: int | None) -> Expected:
    """Write one file and say what a reader finds."""
    save_image(top / identity, pixels, quality=88)
    split, folder, _ = identity.split("/")
    values: dict[str, object] = {
        "duplicate_of": None,
        "raw_labels": (folder,),
        "size": (pixels.shape[1], pixels.shape[0]),
        "mode": "RGB" if pixels.ndim == 3 else "L",
        "augmented": source is not None,
        "source_index": source,
    }
    group = identity if source is None else f"{split}/{folder}/{source}"
    return Expected(identity, "test" if source is None else "train", group, (_CLASSES[folder][0],), values)


def _film(folder: str, index: int, purpose: str, seed: int) -> NDArray[np.uint8]:
    """A film of (height, width) or (height, width, 3) uint8."""
    random = rng(seed, "covid19_cxr", purpose, folder, index)
    height, width = _SIZES[int(random.integers(len(_SIZES)))]
    pixels = to_uint8(film(random, height, width, _CLASSES[folder][1]))
    return np.repeat(pixels[..., None], 3, axis=2) if index % 3 == 1 else pixels


def _augmented(pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """The film as an image generator varies it."""
    pixels = pixels[:, ::-1] if random.random() < 0.5 else pixels
    return np.clip(pixels.astype(np.int16) + random.integers(-20, 21), 0, 255).astype(np.uint8)
