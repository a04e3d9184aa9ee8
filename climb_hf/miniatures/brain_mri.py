"""Synthetic raw copy of Brain MRI (tumour yes/no): head-like slices in the folders `no` and `yes`.

Every picture is drawn, none comes from a patient. `yes` slices hold one bright mass with a dark rim, `no` slices none.

Oddities of the release that it writes:

* the publisher's names in all their patterns: `Y1.jpg`, `Y100.JPG`, `Y92.png`, `1 no.jpeg`, `44no.jpg`, `no 9.png`,
  `no.jpg`, `No11.jpg`, `N1.JPG`; some differ by a blank or by case only;
* PNG files named `.jpg` (some with alpha, clear outside the head), a palette PNG, grey and RGB JPEG, mixed sizes;
* byte-identical copies within a class (`Expected.values["duplicate_of"]` names the first in order of path);
* with `layout="navoneel"` both folders twice, again inside `brain_tumor_dataset/`;
* `.DS_Store` files.
"""

import hashlib
import io
from pathlib import Path

import numpy as np
from PIL import Image

from climb_hf.miniatures._common import (
    Expected,
    check_choice,
    check_count,
    ellipse,
    grid,
    rng,
    smooth_noise,
    to_uint8,
    write_bytes,
)

__all__ = ["make"]

_LAYOUTS = {"jjprotube": ("",), "navoneel": ("", "brain_tumor_dataset/"), "nested": ("brain_tumor_dataset/",)}
_CLASSES = {"no": "No", "yes": "Yes"}
#: Names of the release, the odd ones first; more files than these continue the publisher's patterns.
_NAMES = {
    "no": (
        "no.jpg", "1 no.jpeg", "10 no.jpg", "N1.JPG", "49 no.jpg", "no 1.jpg", "No15.jpg", "No17.jpg", "no 9.png",
        "44no.jpg", "No11.jpg", "N11.jpg", "N15.jpg", "no 5.jpeg", "N19.JPG", "no 96.jpg", "9 no.jpg", "no 90.jpg",
    ),
    "yes": (
        "Y1.jpg", "Y100.JPG", "Y10.jpg", "Y92.png", "Y15.jpg", "Y181.jpg", "Y34.jpg", "Y30.jpg", "Y38.jpg", "Y54.jpg",
        "Y102.jpg", "Y16.JPG", "Y182.JPG", "Y2.jpg", "Y3.jpg", "Y101.jpg", "Y109.JPG", "Y11.jpg", "Y27.jpg", "Y4.jpg",
        "Y12.jpg", "Y14.jpg", "Y40.JPG", "Y66.JPG", "Y76.jpg", "Y81.jpg", "Y99.JPG", "Y20.jpg",
    ),
}  # fmt: skip
#: Content of a file that is a copy of another one.
_COPIES = {
    "no 1.jpg": "49 no.jpg", "No17.jpg": "No15.jpg", "Y181.jpg": "Y15.jpg", "Y34.jpg": "Y15.jpg",
    "Y38.jpg": "Y30.jpg", "Y54.jpg": "Y30.jpg",
}  # fmt: skip
_PNG = {"no.jpg": "RGBA", "no 96.jpg": "RGBA", "No15.jpg": "RGB", "no 9.png": "P", "Y92.png": "L"}
_SIZES = ((128, 128), (150, 110), (112, 140), (160, 160), (144, 128))  # (height, width)


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "jjprotube") -> list[Expected]:
    """Write a synthetic Brain MRI folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of pictures, copies included, at least 8; three fifths are
            `yes`.
        seed (`int`, *optional*, defaults to `0`): seed of the content.
        layout (`str`, *optional*, defaults to `"jjprotube"`): `"jjprotube"` (`yes/` and `no/`), `"navoneel"` (the
            same again inside `brain_tumor_dataset/`) or `"nested"` (only there).

    Returns:
        `list[Expected]`: `no` before `yes`, each in byte order of the names; `split` is `None`; `values`:
        `duplicate_of`, `raw_labels`, `size` (width, height), `mode`, `format`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("brain_mri", n, seed)
    check_choice("brain_mri", "layout", layout, tuple(_LAYOUTS))
    n_no = n * 2 // 5
    expected = []
    for folder, count in (("no", n_no), ("yes", n - n_no)):
        names = [*_NAMES[folder], *(_more(folder, k) for k in range(count - len(_NAMES[folder])))][:count]
        first: dict[str, str] = {}
        for name in sorted(names):
            picture = _slice(folder, _COPIES.get(name, name), seed)
            true_format = "PNG" if _COPIES.get(name, name) in _PNG else "JPEG"
            contents = [_save(root / prefix / folder / name, picture, true_format) for prefix in _LAYOUTS[layout]]
            identity = f"{folder}/{name}"
            group = hashlib.sha256(contents[0]).hexdigest()
            copy_of = first.setdefault(group, identity)
            values: dict[str, object] = {
                "duplicate_of": None if copy_of == identity else copy_of,
                "raw_labels": (folder,),
                "size": picture.size,
                "mode": picture.mode,
                "format": true_format,
            }
            expected.append(Expected(identity, None, group, (_CLASSES[folder],), values))
    for prefix in _LAYOUTS[layout]:
        write_bytes(root / prefix / "no" / ".DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64))
    return expected


def _more(folder: str, k: int) -> str:
    """A name beyond those of the release, in its pattern."""
    return f"Y{300 + k}.{'JPG' if k % 2 else 'jpg'}" if folder == "yes" else f"{100 + k} no.jpg"


def _save(path: Path, picture: Image.Image, true_format: str) -> bytes:
    """Write a picture in its true format, whatever the suffix says."""
    buffer = io.BytesIO()
    options: dict[str, int] = {"compress_level": 6} if true_format == "PNG" else {"quality": 90}
    picture.save(buffer, format=true_format, **options)
    return write_bytes(path, buffer.getvalue())


def _slice(folder: str, name: str, seed: int) -> Image.Image:
    """A drawn head slice in the mode of its name, with a mass if it lies in `yes`."""
    random = rng(seed, "brain_mri", folder, name)
    height, width = _SIZES[int(random.integers(len(_SIZES)))]
    y, x = grid(height, width, angle=random.uniform(-0.15, 0.15), scale=random.uniform(0.92, 1.05))
    head = ellipse(y, x, 0, 0, 0.88, 0.74, edge=0.05)
    brain = ellipse(y, x, 0, 0, 0.74, 0.6, edge=0.05)
    picture = 0.55 * (head - brain) + brain * (0.33 + 0.05 * smooth_noise(random, height, width, 7))
    picture -= 0.12 * brain * np.exp(-((x / 0.02) ** 2))  # midline
    if folder == "yes":
        cy, cx = random.uniform(-0.3, 0.25), random.choice((-1.0, 1.0)) * random.uniform(0.2, 0.3)
        radius, turn = random.uniform(0.22, 0.3), random.uniform(0, np.pi)
        picture -= 0.15 * ellipse(y, x, cy, cx, radius * 1.35, radius * 1.1, angle=turn, edge=0.4)
        picture += 0.6 * ellipse(y, x, cy, cx, radius, radius * 0.8, angle=turn, edge=0.2)
    grey = to_uint8(picture + random.normal(0, 0.02, (height, width)))
    mode = _PNG.get(name, "L" if random.random() < 0.15 else "RGB")
    if mode == "RGBA":
        return Image.fromarray(np.dstack([grey] * 3 + [to_uint8(head)]))
    return Image.fromarray(grey if mode in "LP" else np.dstack([grey] * 3)).convert(mode)
