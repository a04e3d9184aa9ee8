"""Synthetic raw copy of BCSS: drawn tissue regions as RGB PNG with masks of class codes.

Every picture is drawn and every mask is made up; none comes from a patient. Tumor is densely dotted violet, stroma
pink and streaky, lymphocytic infiltrate full of small dark dots, necrosis or debris pale and mottled.

Oddities of the release that it writes:

* masks of one channel whose grey values are the codes 0 to 21, so they look black; 0 (outside) at the corners of
  turned regions and inside crops;
* a first region with all rules at once: an area wider than 1,024 pixels that gives two overlapping windows, a ring
  around an area of the code outside it, two areas that touch at a corner, one area of exactly 224 pixels, one of 223,
  and a large area of a code that gives no sample;
* one region per patient, names with the institution, six of which are for testing;
* `meta/gtruth_codes.tsv` with tabs and CRLF; tables whose first column has no name; `.DS_Store`.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
    write_text,
)

__all__ = ["make"]

_DRIVE = "0_Public-data-Amgad2019_0.25MPP"
_LABELS = (
    "outside_roi,tumor,stroma,lymphocytic_infiltrate,necrosis_or_debris,glandular_secretions,blood,exclude,"
    "metaplasia_NOS,fat,plasma_cells,other_immune_infiltrate,mucoid_material,normal_acinus_or_duct,lymphatics,"
    "undetermined,nerve,skin_adnexa,blood_vessel,angioinvasion,dcis,other"
)
_CLASSES = {1: "Tumor", 2: "Stroma", 3: "Lymphocytic infiltrate", 4: "Necrosis/debris"}
_TRAIN_SITES = ("A2", "A7", "AO", "AR", "BH", "C8", "D8", "AC", "AN")
_TEST_SITES = ("E2", "EW", "OL", "GM", "LL", "S3")
_COLOURS = {  # ground, dots
    1: ((0.62, 0.44, 0.70), (0.33, 0.16, 0.46)),
    2: ((0.93, 0.68, 0.80), (0.80, 0.48, 0.66)),
    3: ((0.80, 0.68, 0.85), (0.16, 0.10, 0.34)),
    4: ((0.90, 0.84, 0.84), (0.78, 0.62, 0.62)),
}
_OTHER = ((0.95, 0.93, 0.95), (0.90, 0.88, 0.90))

_Box = tuple[int, int, int, int]  # x, y, width, height
_Sample = tuple[int, _Box, _Box]  # code, box of the area, window


def make(root: Path, n: int = 32, seed: int = 0, *, layout: str = "drive") -> list[Expected]:
    """Write a synthetic BCSS folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of samples, at least 8: five of the first region, and one of
            each further region.
        seed (`int`, *optional*, defaults to `0`): seed of pictures and masks.
        layout (`str`, *optional*, defaults to `"drive"`): `"drive"` (folder of the publisher's drive, pictures in
            `rgbs_colorNormalized/`) or `"script"` (`images/`, with the tables of the repository in `meta/`).

    Returns:
        `list[Expected]`: by region name, then code, then place; `values`: `code`, `box` and `window` (x, y, width,
        height), `is_split`, `roi_size` (width, height), `site`, `slide`, `magnification` (`None` without the table),
        `inside` (pixels of the window that have the code).

    Raises:
        OptionError: an option out of range.
    """
    check_count("bcss", n, seed)
    check_choice("bcss", "layout", layout, ("drive", "script"))
    base = root / _DRIVE if layout == "drive" else root
    pictures = base / ("rgbs_colorNormalized" if layout == "drive" else "images")
    expected, bounds = [], []
    for number in range(n - 4):
        random = rng(seed, "bcss", "region", number)
        codes, samples = _first() if number == 0 else _single(number, random)
        is_test = number % 3 == 2
        site = "A1" if number == 0 else _TEST_SITES[number // 3 % 6] if is_test else _TRAIN_SITES[number % 9]
        patient = f"TCGA-{site}-A{number:03d}"
        x, y = (int(v) for v in random.integers(900, 90_000, 2))
        stem = f"{patient}-DX1_xmin{x}_ymin{y}_MPP-0.2500"
        save_image(pictures / f"{stem}.png", _tissue(codes, random), compress_level=1)
        save_image(base / "masks" / f"{stem}.png", codes, compress_level=1)
        height, width = codes.shape
        power = 20.0 if number % 10 == 9 else 40.0
        scale = round(power / 40 * width), round(power / 40 * height)
        bounds.append((patient, x, y, x + scale[0], y + scale[1], power))
        counts: dict[int, int] = {}
        for code, box, window in samples:
            index = counts[code] = counts.get(code, -1) + 1
            x0, y0, w, h = window
            values: dict[str, object] = {
                "code": code,
                "box": box,
                "window": window,
                "is_split": box != window,
                "roi_size": (width, height),
                "site": site,
                "slide": f"{patient}-DX1",
                "magnification": power if layout == "script" else None,
                "inside": int((codes[y0 : y0 + h, x0 : x0 + w] == code).sum()),
            }
            split = "test" if is_test else "train"
            expected.append(Expected(f"{stem}_{code}_{index}", split, patient, (_CLASSES[code],), values))
    _tables(base, bounds, seed, full=layout == "script")
    write_bytes(base / "masks" / ".DS_Store", b"\x00\x00\x00\x01Bud1" + bytes(64))
    return sorted(expected, key=lambda row: row.id)


def _first() -> tuple[NDArray[np.uint8], list[_Sample]]:
    """The region with all rules at once: 1,300 x 620 pixels, five samples."""
    codes = np.full((620, 1300), 2, np.uint8)  # stroma over all: box 1300 x 620, windows at 0 and 276
    codes[100:500, 60:460] = 1  # a ring of tumor around stroma, which is then no region of its own
    codes[180:420, 140:380] = 2
    codes[60:210, 500:650] = 1  # two squares of 150 that touch at a corner: one area of 300 x 300
    codes[210:360, 650:800] = 1
    codes[380:604, 560:784] = 3  # 224 x 224: just large enough
    codes[20:320, 1040:1263] = 4  # 223 wide: too small
    codes[340:600, 1000:1290] = 10  # plasma cells give no sample
    area = (0, 0, 1300, 620)
    corner, ring, square = (500, 60, 300, 300), (60, 100, 400, 400), (560, 380, 224, 224)
    return codes, [
        (1, corner, corner),
        (1, ring, ring),
        (2, area, (0, 0, 1024, 620)),
        (2, area, (276, 0, 1024, 620)),
        (3, square, square),
    ]


def _single(number: int, random: np.random.Generator) -> tuple[NDArray[np.uint8], list[_Sample]]:
    """A region with one area that gives a sample, in other tissue, its corners outside."""
    code = 1 + number % 4
    height, width = (int(v) for v in random.integers(290, 330, 2))
    y, x = grid(height, width)
    area = ellipse(y, x, 0, 0, random.uniform(0.84, 0.95), random.uniform(0.84, 0.95), edge=0.01) > 0.5
    codes = np.where(area, code, int(random.choice((7, 9, 10, 13, 18, 20)))).astype(np.uint8)
    codes[np.abs(x) + np.abs(y) > 1.7] = 0
    small = 1 + (code + 1) % 4  # another class, too small for a sample
    codes[height // 2 - 20 : height // 2 + 20, width // 2 - 20 : width // 2 + 20] = small
    codes[height // 2 - 60 : height // 2 - 40, width // 2 - 10 : width // 2 + 10] = 0
    rows, columns = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    box = left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1
    return codes, [(code, box, box)]


def _tissue(codes: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """The (height, width, 3) picture of a mask."""
    height, width = codes.shape
    tile = 128
    cloud = smooth_noise(random, height, width, 8)[..., None]
    picture = np.empty((height, width, 3), np.float32)
    rows, columns = -(-height // tile), -(-width // tile)
    for code in np.unique(codes):
        ground, dots = _COLOURS.get(int(code), _OTHER)
        y, x = grid(tile, tile)
        spots: Floats = np.zeros((tile, tile), np.float32)
        if code in (1, 3):
            for cy, cx in random.uniform(-0.95, 0.95, (22 if code == 1 else 60, 2)):
                size = 0.1 if code == 1 else 0.05
                spots = np.maximum(spots, ellipse(y, x, cy, cx, size, size, edge=0.4))
        else:
            spots = 0.5 + 0.5 * np.sin((25 if code == 2 else 9) * (x + 0.3 * np.sin(3 * y)))
        spots = np.tile(spots, (rows, columns))[:height, :width, None]
        here = np.array(ground, np.float32) + spots * (np.array(dots, np.float32) - np.array(ground, np.float32))
        picture = np.where((codes == code)[..., None], here, picture)
    return to_uint8(picture * (1 + 0.06 * cloud))


def _tables(base: Path, bounds: list[tuple[str, int, int, int, int, float]], seed: int, *, full: bool) -> None:
    """Write the codes and, where asked, the tables of the publisher's repository."""
    codes = "".join(f"{label}\t{code}\r\n" for code, label in enumerate(_LABELS.split(",")))
    write_text(base / "meta" / "gtruth_codes.tsv", f"label\tGT_code\r\n{codes}")
    if not full:
        write_text(base / "logs" / "log.txt", "synthetic\n")
        return
    link = "https://ndownloader.figshare.com/files/"
    rows = [f"{p}-DX1,{x0},{y0},{x1},{y1},{link}{k}" for k, (p, x0, y0, x1, y1, _) in enumerate(bounds)]
    write_text(base / "meta" / "roiBounds.csv", "\r\n".join([",xmin,ymin,xmax,ymax,mask_link", *rows, ""]))
    random = rng(seed, "bcss", "slides")
    names = [f"{p},{p}-01Z-00-DX1.SYNTHETIC.svs,{random.bytes(12).hex()},{power}" for p, *_, power in bounds]
    write_text(base / "meta" / "slide_magnifications.csv", "\r\n".join([",name,_id,magnification", *names, ""]))
