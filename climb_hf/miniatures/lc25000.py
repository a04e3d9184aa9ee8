"""Synthetic raw copy of LC25000: drawn tissue pictures in the publisher's folders, each a turned sibling of others.

Every picture is drawn, none comes from a patient. Benign colon has round glands with a white lumen, colon
adenocarcinoma crowded ragged glands with dark nuclei; benign lung is a net of thin walls around white air spaces, lung
adenocarcinoma ragged glands in pink stroma, squamous cell carcinoma solid sheets with round pink pearls.

Oddities of the release that it writes:

* JPEG of 768 x 768 pixels ending in `.jpeg`; the folder `colon_aca` holds `colonca1.jpeg`, `lung_aca` `lungaca1.jpeg`;
  numbers run from 1 without gaps in every class;
* every picture is an original turned by up to 25 degrees and perhaps flipped, and siblings are scattered over the
  numbers; nothing in the release says which belong together (`Expected.values["cluster"]` does);
* the folders below one or two `lung_colon_image_set`, or flat; `.jpg` and the stem `colonaca` of a re-export;
* optionally the third-party cluster tables of LC25000-clean.
"""

from collections.abc import Sequence
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
    smooth_noise,
    to_uint8,
    write_bytes,
    write_csv,
)

__all__ = ["make", "write_pictures"]

_CLASSES = {  # folder -> Table 7
    "colon_aca": "Colon adenocarcinomas",
    "colon_n": "Benign colon",
    "lung_aca": "Lung adenocarcinomas",
    "lung_scc": "Lung squamous cell carcinomas",
    "lung_n": "Benign lung",
}
_STEMS = {"colon_aca": "colonca", "colon_n": "colonn", "lung_aca": "lungaca", "lung_scc": "lungscc", "lung_n": "lungn"}
_LAYOUTS = {
    "official": "lung_colon_image_set/{organ}_image_sets/",
    "kaggle": "lung_colon_image_set/lung_colon_image_set/{organ}_image_sets/",
    "unzipped": "{organ}_image_sets/",
    "flat": "",
    "reexport": "",
}
_DRAWN = 96  # pixels; enlarged to 768
_SIBLINGS = 3


def make(
    root: Path, n: int = 32, seed: int = 0, *, layout: str = "official", with_clusters: bool = False
) -> list[Expected]:
    """Write a synthetic LC25000 folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of pictures, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of the content.
        layout (`str`, *optional*, defaults to `"official"`): `"official"` (`lung_colon_image_set/` with
            `colon_image_sets/` and `lung_image_sets/`), `"kaggle"` (wrapped once more), `"unzipped"` (without the
            outer folder), `"flat"` (the five class folders) or `"reexport"` (flat, `.jpg`, `colonaca1.jpg`).
        with_clusters (`bool`, *optional*, defaults to `False`): add
            `LC25000-clean/annotations/<class>/UNI/resize_only/final_clusters.csv`.

    Returns:
        `list[Expected]`: by class in the order of Table 7, then by number; `split` is `None`; `values`: `raw_labels`,
        `organ`, `number`, `cluster` (pictures of one original share it) and `size` (width, height).

    Raises:
        OptionError: an option out of range.
    """
    check_count("lc25000", n, seed)
    return write_pictures(root, n, seed, "lc25000", tuple(_CLASSES), layout, with_clusters)


def write_pictures(
    root: Path, n: int, seed: int, source: str, folders: Sequence[str], layout: str, with_clusters: bool
) -> list[Expected]:
    """Write the pictures of some of the five classes.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`): number of pictures.
        seed (`int`): seed of the content.
        source (`str`): name of the source, for messages.
        folders (`Sequence[str]`): the class folders, in the order of the result.
        layout (`str`): as in `make`.
        with_clusters (`bool`): as in `make`.

    Returns:
        `list[Expected]`: as in `make`.

    Raises:
        OptionError: no such layout.
    """
    check_choice(source, "layout", layout, tuple(_LAYOUTS))
    expected = []
    for place, folder in enumerate(folders):
        count = n // len(folders) + (place < n % len(folders))
        originals = rng(seed, "lc25000", folder).permutation(np.arange(count) // _SIBLINGS)
        rows: list[list[object]] = [["cluster_label", "img_path"]]
        organ = folder.split("_")[0]
        tissues = [_tissue(folder, rng(seed, "lc25000", folder, "tissue", k)) for k in range(-(-count // _SIBLINGS))]
        for number, original in enumerate((int(o) for o in originals), 1):
            stem, suffix = (_STEMS[folder], ".jpeg")
            if layout == "reexport":
                stem, suffix = stem.replace("colonca", "colonaca"), ".jpg"
            name = f"{folder}/{stem}{number}{suffix}"
            pixels = _sibling(tissues[original], rng(seed, "lc25000", folder, "turn", number))
            save_image(root / (_LAYOUTS[layout].format(organ=organ) + name), pixels, quality=75)
            rows.append([original, f"./LC25000/{folder}/{_STEMS[folder]}{number}.jpeg"])
            values: dict[str, object] = {
                "raw_labels": (folder,),
                "organ": organ,
                "number": number,
                "cluster": f"{folder}/{original}",
                "size": (768, 768),
            }
            expected.append(Expected(name, None, name, (_CLASSES[folder],), values))
        if with_clusters:
            write_csv(root / f"LC25000-clean/annotations/{folder}/UNI/resize_only/final_clusters.csv", rows)
    write_bytes(root / ".DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64))
    return expected


def _sibling(tissue: Floats, random: np.random.Generator) -> NDArray[np.uint8]:
    """(768, 768, 3) uint8: an original, turned by up to 25 degrees and perhaps flipped."""
    picture = Image.fromarray(to_uint8(tissue))
    picture = picture.rotate(random.uniform(-25, 25), Image.Resampling.BILINEAR)
    margin = (picture.width - _DRAWN) // 2  # the turned corners stay outside
    picture = picture.crop((margin, margin, margin + _DRAWN, margin + _DRAWN))
    if random.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(picture.resize((768, 768), Image.Resampling.BICUBIC))


def _tissue(folder: str, random: np.random.Generator) -> Floats:
    """Draw an original of (144, 144, 3), 0 to 1."""
    side = _DRAWN * 3 // 2
    y, x = grid(side, side)
    noise = smooth_noise(random, side, side, 24)
    fine = smooth_noise(random, side, side, 64)
    tone = {"colon_aca": (0.72, 0.45, 0.66), "lung_n": (0.97, 0.93, 0.95), "lung_scc": (0.66, 0.50, 0.74)}
    picture = np.array(tone.get(folder, (0.90, 0.66, 0.78))) * random.uniform(0.95, 1.03) + 0.05 * noise[..., None]
    dark = np.array([0.30, 0.18, 0.45])
    if folder == "lung_n":  # walls of the air spaces
        walls = np.exp(-((smooth_noise(random, side, side, 7) / 0.09) ** 2))
        picture = picture + (0.85 * walls)[..., None] * (np.array([0.86, 0.50, 0.64]) - picture)
        return picture + (np.clip(fine - 0.45, 0, 1) * walls)[..., None] * (dark - picture) * 1.5
    ragged = 0.0 if folder == "colon_n" else 0.10
    for cy in np.linspace(-0.8, 0.8, 5 if folder != "lung_scc" else 3):
        for cx in np.linspace(-0.8, 0.8, 5 if folder != "lung_scc" else 3):
            dy, dx = random.uniform(-0.06, 0.06, 2)
            turn, radius = random.uniform(0, np.pi), random.uniform(0.13, 0.17)
            wave = ragged * noise
            outer = ellipse(y + wave, x - wave, cy + dy, cx + dx, radius, radius * 1.1, angle=turn)
            inner = ellipse(y + wave, x - wave, cy + dy, cx + dx, radius * 0.6, radius * 0.6, angle=turn)
            if folder == "lung_scc":  # a pearl in a sheet of nuclei
                picture = picture + inner[..., None] * (np.array([0.95, 0.55, 0.68]) - picture)
                continue
            lumen = (0.97, 0.94, 0.97) if folder == "colon_n" else (0.85, 0.62, 0.76)
            ring = (outer - inner).clip(0, 1) * (0.55 if folder == "colon_n" else 0.9)
            picture = picture + ring[..., None] * (dark - picture) + inner[..., None] * (np.array(lumen) - picture)
    nuclei = {"colon_n": 0.6, "lung_scc": 0.1}.get(folder, 0.35)
    return picture + np.clip(fine - nuclei, 0, 1)[..., None] * (dark - picture)
