"""Synthetic raw copy of BUSI: drawn ultrasound pictures in three class folders, with masks beside them.

Every picture is drawn; none comes from a patient. On layers of speckled tissue, a benign lesion is a dark smooth
ellipse that lies flat with a bright echo below it, a malignant one a dark ragged patch, taller than wide, with a
shadow below it; normal pictures have none.

Oddities of the release that it writes:

* names with a blank and parentheses, numbered per class, in the numbers of the publisher's list, with gaps;
* RGB PNG with grey content, of varying size, some with caliper marks or a frame of text;
* masks as 1-bit, 8-bit grey and RGB PNG; all black ones for normal pictures; second and third masks of the pictures
  that have them in the release, such as `benign (4)`, `benign (195)` and `malignant (53)`;
* from n = 16 on, byte-identical copies: one within a class, one under the other diagnosis.
"""

import io
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
)

__all__ = ["make"]

_CLASSES = {"benign": "Benign", "malignant": "Malignant", "normal": "Normal"}  # folder -> Table 7
_PUBLISHED = {"benign": 437, "malignant": 210, "normal": 133}
_FIRST = {"benign": (4, 1, 10, 195), "malignant": (53, 1, 10), "normal": (1, 2, 10)}  # numbers always taken
_TWO_MASKS = (4, 25, 54, 58, 83, 92, 93, 98, 100, 163, 173, 181, 195, 315, 346, 424)
_MASKS = {**{("benign", i): 2 for i in _TWO_MASKS}, ("benign", 195): 3, ("malignant", 53): 2}
_SIZES = ((190, 232), (204, 250), (221, 198), (240, 260))
_Picture = tuple[NDArray[np.uint8], list[NDArray[np.bool_]]]


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "folders", masks: bool = True) -> list[Expected]:
    """Write a synthetic BUSI folder.

    Args:
        root (`pathlib.Path`): folder to write into; stands for `Dataset_BUSI_with_GT`.
        n (`int`, *optional*, defaults to `32`): number of pictures, copies included, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of the content.
        layout (`str`, *optional*, defaults to `"folders"`): `"folders"` (a folder per class) or `"flat"` (one folder).
        masks (`bool`, *optional*, defaults to `True`): write the masks; some copies in circulation lack them.

    Returns:
        `list[Expected]`: sorted by file name as text, `split` is `None`; `values`: `duplicate_of`, `raw_labels`,
        `size` (width, height), `n_masks` and `mask` ((height, width) bool, the union, or `None` without masks).

    Raises:
        OptionError: an option out of range.
    """
    check_count("busi", n, seed)
    check_choice("busi", "layout", layout, ("folders", "flat"))
    first: dict[bytes, str] = {}
    expected = []
    for word, number, source in sorted(_plan(n, seed), key=lambda item: f"{item[0]} ({item[1]}).png"):
        name = f"{word} ({number}).png"
        folder = root / word if layout == "folders" else root
        count = 0 if not masks else _MASKS.get((word, number), 1)
        pixels, lesions = _picture(*source, seed)
        content = save_image(folder / name, pixels, compress_level=3)
        parts = _parts(lesions, count)
        for position, part in enumerate(parts):
            suffix = "_mask" if position == 0 else f"_mask_{position}"
            _save_mask(folder / f"{word} ({number}){suffix}.png", part, ("1", "L", "RGB")[(number + position) % 3])
        copy_of = first.setdefault(content, name)
        values: dict[str, object] = {
            "duplicate_of": None if copy_of == name else copy_of,
            "raw_labels": (word,),
            "size": (pixels.shape[1], pixels.shape[0]),
            "n_masks": count,
            "mask": np.logical_or.reduce(parts) if parts else None,
        }
        expected.append(Expected(name, None, copy_of, (_CLASSES[word],), values))
    write_bytes(root / ".DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64))
    return expected


def _plan(n: int, seed: int) -> list[tuple[str, int, tuple[str, int]]]:
    """(class, number, class and number of what the picture shows) of every picture."""
    numbers = {}
    for word, count in _PUBLISHED.items():
        rest = [i for i in range(1, count + 1) if i not in _FIRST[word]]
        drawn = [int(i) for i in rng(seed, "busi", word).permutation(rest)]
        numbers[word] = [*_FIRST[word], *drawn]
    words = ("benign", "malignant", "normal", "benign")
    plan: list[tuple[str, int, tuple[str, int]]] = []
    taken = dict.fromkeys(_PUBLISHED, 0)
    for position in range(n):
        word = next(w for w in (words[position % 4], *_PUBLISHED) if taken[w] < _PUBLISHED[w])
        number = numbers[word][taken[word]]
        taken[word] += 1
        plan.append((word, number, (word, number)))
    if n >= 16:
        copies = {("benign", 10): ("benign", 1), ("malignant", 10): ("benign", 1)}
        plan = [(word, number, copies.get((word, number), source)) for word, number, source in plan]
    return plan


def _parts(lesions: list[NDArray[np.bool_]], count: int) -> list[NDArray[np.bool_]]:
    """Spread the lesions over the masks; what is left over is empty."""
    if not count:
        return []
    empty = np.zeros_like(lesions[0])
    return [*lesions[:count], *([empty] * (count - len(lesions)))]


def _save_mask(path: Path, mask: NDArray[np.bool_], mode: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).convert(mode).save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())


def _picture(word: str, number: int, seed: int) -> _Picture:
    """A drawn picture of (height, width, 3) uint8, and where each of its lesions lies; `normal` has one empty mask."""
    random = rng(seed, "busi", "picture", word, number)
    height, width = _SIZES[number % len(_SIZES)]
    y, x = grid(height, width)
    bands = 0.45 + 0.12 * np.sin(9 * y + 0.6 * smooth_noise(random, height, width, 4)) - 0.12 * y
    picture = bands + 0.08 * smooth_noise(random, height, width, 8)
    lesions = []
    count = 0 if word == "normal" else _MASKS.get((word, number), 1)
    for position in range(count):
        cy, cx = random.uniform(-0.3, -0.1), random.uniform(-0.2, 0.2)
        if count > 1:
            cx = -0.55 + 1.1 * position / (count - 1)
        lesion, halo = _lesion(word, random, y - np.float32(cy), x - np.float32(cx), 0.24 if count > 1 else 0.36)
        picture = picture + halo - lesion * (picture - np.float32(0.1))
        lesions.append(lesion > 0.5)
    speckle = random.gamma(9.0, 1 / 9.0, picture.shape).astype(np.float32)
    pixels = to_uint8(picture * (0.5 + 0.5 * speckle))
    if number % 5 == 0:  # calipers
        pixels[8:20:3, 10:90:10] = 255
    if number % 7 == 3:  # a frame with text
        pixels[:12] = 0
        pixels[3:9, 4:60:4] = 230
    return np.repeat(pixels[..., None], 3, axis=2), lesions or [np.zeros((height, width), bool)]


def _lesion(word: str, random: np.random.Generator, y: Floats, x: Floats, size: float) -> tuple[Floats, Floats]:
    """A lesion, 0 to 1, and what it adds to the tissue below it."""
    if word == "benign":
        ry, rx = size * random.uniform(0.55, 0.65), size
        below = ellipse(y, x, ry * 2.2, 0, ry * 1.2, rx * 0.8, edge=0.8)
        return ellipse(y, x, 0, 0, ry, rx, edge=0.1), 0.25 * below
    wavy = size * 0.35 * smooth_noise(random, y.shape[0], y.shape[1], 14)
    ry, rx = size * 1.1, size * random.uniform(0.7, 0.8)
    below = ellipse(y, x, ry * 2.2, 0, ry * 1.4, rx * 0.9, edge=0.8)
    return ellipse(y + wavy, x - wavy, 0, 0, ry, rx, edge=0.1), -0.35 * below
