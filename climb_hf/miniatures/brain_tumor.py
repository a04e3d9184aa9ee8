"""Synthetic raw copy of Brain Tumor: head-like slices in the publisher's `Training`/`Testing` folder tree.

Every picture is drawn, none comes from a patient. The classes differ by a lesion: none, a small bright disc at the
skull base (pituitary), a large bright ring with a dark centre inside one hemisphere (glioma), a solid bright disc that
touches the skull (meningioma).

Oddities of the release that it writes:

* file names with blanks and parentheses in the publisher's patterns, numbers with gaps, names that repeat across
  folders;
* grey content in three-channel JPEG; one common size in `Training/glioma_tumor`, mixed sizes elsewhere;
* byte-identical copies inside `Training`, and test images of `no_tumor` that are copies of training images
  (`Expected.values["duplicate_of"]` names the first copy in the order Training, Testing, then path); from n = 16 on;
* `.DS_Store` files.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.miniatures._common import (
    Expected,
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

_CLASSES = {  # folder -> Table 7
    "no_tumor": "No Tumor",
    "pituitary_tumor": "Pituitary Tumor",
    "glioma_tumor": "Glioma Tumor",
    "meningioma_tumor": "Meningioma Tumor",
}
_SIZES = ((128, 128), (128, 128), (160, 160), (176, 148), (140, 120), (112, 132), (196, 180))
_File = tuple[str, int, tuple[int, int]]  # name, number of the picture, (height, width)
_SPLITS = {"Training": "train", "Testing": "test"}


def make(root: Path, n: int = 32, seed: int = 0) -> list[Expected]:
    """Write a synthetic Brain Tumor folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of JPEG files, duplicates included, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of the content.

    Returns:
        `list[Expected]`: Training before Testing, sorted by path; `values`: `duplicate_of`, `raw_labels`,
        `size` (width, height).

    Raises:
        OptionError: `n` or `seed` out of range.
    """
    check_count("brain_tumor", n, seed)
    written: dict[bytes, str] = {}
    expected = []
    for top, folders in _plan(n, seed).items():
        for folder in sorted(folders):
            for name, key, size in sorted(folders[folder]):
                identity = f"{top}/{folder}/{name}"
                content = save_image(root / identity, _slice(folder, key, size, seed), quality=90)
                first = written.setdefault(content, identity)
                values: dict[str, object] = {
                    "duplicate_of": None if first == identity else first,
                    "raw_labels": (folder,),
                    "size": (size[1], size[0]),
                }
                expected.append(Expected(identity, _SPLITS[top], identity, (_CLASSES[folder],), values))
    for junk in ("", "Training/", "Testing/no_tumor/"):
        write_bytes(root / f"{junk}.DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64))
    return expected


def _plan(n: int, seed: int) -> dict[str, dict[str, list[_File]]]:
    """Top folder -> class folder -> files; copies share number and size."""
    test = min(max(8, n // 4), n // 2)
    plan: dict[str, dict[str, list[_File]]] = {}
    for top, count in (("Training", n - test), ("Testing", test)):
        plan[top] = {folder: [] for folder in _CLASSES}
        for i in range(count):
            folder = list(_CLASSES)[i % 4]
            size = _SIZES[0] if (top, folder) == ("Training", "glioma_tumor") else _SIZES[(i // 4 + i) % len(_SIZES)]
            plan[top][folder].append((_name(top, folder, i // 4), i + (n if top == "Testing" else 0), size))
    train, tested = plan["Training"]["no_tumor"], plan["Testing"]["no_tumor"]
    for copies in range(max(1, n // 60)):
        files = (train, plan["Training"]["meningioma_tumor"])[copies % 2]
        at = copies + 1
        if at < len(files):
            files[at] = (files[at][0], *files[at - 1][1:])
    for at, source in enumerate(rng(seed, "brain_tumor", "copies").integers(0, len(train), len(tested) // 2)):
        tested[at] = (tested[at][0], *train[source][1:])
    return plan


def _name(top: str, folder: str, i: int) -> str:
    """The publisher's name of the i-th file of a folder."""
    number = i + 1 + i // 5  # gaps
    if top == "Testing":
        return "image.jpg" if i == 1 else f"image({number}).jpg"
    if folder == "glioma_tumor":
        return f"gg ({i + 1}).jpg"
    if folder == "pituitary_tumor":
        return f"p ({i + 1}).jpg"
    if folder == "meningioma_tumor":
        return ("m ({}).jpg", "m1({}).jpg", "m2 ({}).jpg", "m3 ({}).jpg")[i % 4].format(number)
    if i == 2:
        return "image.jpg"
    if i % 9 == 3:
        return f"{i // 9 + 1}.jpg" if i < 72 else f"image ({number}).jpg"
    return f"image ({number}).jpg" if i % 6 == 1 else f"image({number}).jpg"


def _slice(folder: str, key: int, size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """A drawn head slice of (height, width, 3) uint8 with the lesion of its class."""
    random = rng(seed, "brain_tumor", folder, key)
    height, width = size
    y, x = grid(height, width, angle=random.uniform(-0.15, 0.15), scale=random.uniform(0.92, 1.05))
    y, x = y - random.uniform(-0.06, 0.06), x - random.uniform(-0.06, 0.06)
    ry, rx = random.uniform(0.84, 0.92), random.uniform(0.70, 0.80)
    head = ellipse(y, x, 0, 0, ry, rx, edge=0.05)
    brain = ellipse(y, x, 0, 0, ry - 0.14, rx - 0.14, edge=0.05)
    picture = 0.55 * (head - brain) + brain * (0.33 + 0.06 * smooth_noise(random, height, width, 7))
    picture -= 0.12 * brain * np.exp(-((x / 0.02) ** 2))  # midline
    for side in (-1, 1):  # ventricles
        picture -= 0.2 * ellipse(y, x, -0.05, side * 0.13, 0.25, 0.08, angle=side * 0.25, edge=0.3)
    side = random.choice((-1.0, 1.0))
    if folder == "pituitary_tumor":
        radius = random.uniform(0.15, 0.20)
        picture += 0.5 * ellipse(y, x, random.uniform(0.42, 0.5), random.uniform(-0.04, 0.04), radius, radius * 1.1)
    elif folder == "glioma_tumor":
        cy, cx = random.uniform(-0.3, 0.1), side * random.uniform(0.26, 0.34)
        ry, rx = random.uniform(0.24, 0.32), random.uniform(0.20, 0.26)
        turn = random.uniform(0, np.pi)
        picture -= 0.12 * ellipse(y, x, cy, cx, ry * 1.4, rx * 1.4, angle=turn, edge=0.4)
        picture += 0.55 * ellipse(y, x, cy, cx, ry, rx, angle=turn, edge=0.2)
        picture -= 0.65 * ellipse(y, x, cy, cx, ry * 0.6, rx * 0.6, angle=turn, edge=0.3)
    elif folder == "meningioma_tumor":
        at = random.uniform(-1.0, 0.35)  # along the upper convexity
        cy, cx = (ry - 0.3) * np.sin(at), side * (rx - 0.3) * np.cos(at)
        radius = random.uniform(0.20, 0.26)
        picture += 0.5 * brain * ellipse(y, x, cy, cx, radius, radius, edge=0.15)
    picture = picture * random.uniform(0.85, 1.1) + random.normal(0.0, 0.02, size)
    return np.repeat(to_uint8(picture)[..., None], 3, axis=2)
