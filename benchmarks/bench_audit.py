"""Search among the codes of 100,000 and 1,000,000 pictures against all pairs in numpy; views of pictures per second.

The codes are those of synthetic views that look alike, as pictures of one organ do: a common template, smooth
differences, one in a hundred a noisy copy of another. All pairs are measured on a part of the rows, half of which is
counted as every pair is needed once only, and extrapolated to all of them; both sides run in this process, in turns,
one thread each. The limits are those that we hold ourselves to: 60 s and, for "minutes", 300 s.

Views are made of 1.2-megapixel synthetic JPEG files from the page cache; the reference decodes in full, then resizes.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from climb_hf.auditing.hamming import near_pairs
from climb_hf.auditing.pictures import SIDE, picture_codes, picture_view

RADIUS = 8
SIZES = ((100_000, 60.0, 3), (1_000_000, 300.0, 1))
ROWS = 500
PICTURES = 60
REPETITIONS = 5


def codes_of_alike_pictures(count: int) -> np.ndarray:
    """Return distinct codes of synthetic views that share a template."""
    rng = np.random.default_rng(0)
    axis = np.linspace(-1, 1, SIDE)
    template = 120 * np.exp(-2 * (axis[:, None] ** 2 + axis[None, :] ** 2))
    waves = np.stack([np.cos(np.pi * k * (np.arange(SIDE) + 0.5) / SIDE) for k in range(10)])
    found = []
    for start in range(0, count, 10_000):
        size = min(10_000, count - start)
        weights = rng.normal(size=(size, 10, 10)) * 12 / (1 + np.add.outer(np.arange(10), np.arange(10)))
        views = template + np.einsum("nuv,ui,vj->nij", weights, waves, waves, optimize=True)
        copies = rng.integers(0, size, size // 100)
        views[: len(copies)] = views[copies] + rng.normal(0, 2, (len(copies), SIDE, SIDE))
        found.append(picture_codes(np.clip(views + 60, 0, 255).astype(np.uint8).reshape(size, -1)))
    return np.unique(np.concatenate(found))


def all_pairs(codes: np.ndarray, rows: int) -> int:
    """Count the pairs within the radius of some rows with all codes."""
    return sum(int((np.bitwise_count(code ^ codes) <= RADIUS).sum()) - 1 for code in codes[:rows])


def search(codes: np.ndarray) -> int:
    """Count the pairs within the radius."""
    return sum(len(distance) for _, _, distance in near_pairs(codes, RADIUS))


def seconds(function, *arguments) -> tuple[float, int]:
    """Return wall time and result of one call."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def search_rows(count: int, limit: float, repetitions: int) -> list[dict]:
    """Measure the search among `count` pictures."""
    codes = codes_of_alike_pictures(count)
    check = codes[:: max(1, len(codes) // 4000)]
    if 2 * search(check) != all_pairs(check, len(check)):
        raise RuntimeError("the search and all pairs disagree")
    times = [(seconds(search, codes), seconds(all_pairs, codes, ROWS)) for _ in range(repetitions)]
    ours = statistics.median(mine[0] for mine, _ in times)
    reference = statistics.median(its[0] for _, its in times) * len(codes) / ROWS / 2
    name = f"audit: {len(codes):,} distinct codes within {RADIUS} bits"
    row = {"ours": ours, "required": 1.0, "unit": "s"}
    return [
        {**row, "name": f"{name} / all pairs, from {ROWS} rows", "reference": reference, "ratio": reference / ours},
        {**row, "name": f"{name} (limit)", "reference": limit, "ratio": limit / ours},
    ]


def full_decode(path: Path) -> np.ndarray:
    """Decode in full, then resize, as a plain script does."""
    with Image.open(path) as image:
        return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def picture_row() -> dict:
    """Measure views and codes of pictures per second on one core."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.jpg" for number in range(PICTURES)]
        for path in paths:
            coarse = Image.fromarray(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8))
            coarse.resize((1280, 960), Image.Resampling.BICUBIC).save(path, quality=90)

        def ours() -> np.ndarray:
            return picture_codes(np.stack([picture_view(path) for path in paths]))

        def reference() -> np.ndarray:
            return picture_codes(np.stack([full_decode(path).reshape(-1) for path in paths]))

        times = [(seconds(ours)[0], seconds(reference)[0]) for _ in range(REPETITIONS)]
    mine, its = (PICTURES / statistics.median(column) for column in zip(*times, strict=True))
    name = "audit: pictures hashed per core, 1280 x 960 JPEG / full decode"
    return {"name": name, "ours": mine, "reference": its, "ratio": mine / its, "required": 2.0, "unit": "1/s"}


def run() -> list[dict]:
    """Measure; rows of name, ours, reference, ratio, required ratio, unit."""
    return [*(row for size in SIZES for row in search_rows(*size)), picture_row()]


if __name__ == "__main__":
    for row in run():
        print("{name:80s} {ours:9.2f} {reference:9.2f} {unit:4s} ratio {ratio:8.1f}".format(**row))
