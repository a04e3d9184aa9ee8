"""Synthetic raw copy of BioMed-VITAL: one JSON array of conversations about drawn figures, and the figures.

Every figure is drawn and every sentence made up; none is of an article or a patient. A figure shows a disc for a CT, a
grid for histology, stripes for an X-ray and so on, and the answers name it.

Oddities of the release that it writes:

* `id`: a running number that repeats in the BioMed-VITAL part, the figure's name in the LLaVA-Med part; not a key;
* some rows spell `conversatons`; `<image>` before or behind the first question in the LLaVA-Med part only;
* `domain` with its keys in varying order, with several flags or none;
* the same figure in several rows, a row that stands twice, several figures of one article;
* figures that are a PNG named `.jpg`, or grey; a figure that is not there; keys left of the generation, null or not;
* indentation by four blanks, text that is not ASCII.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.miniatures._common import (
    Expected,
    check_choice,
    check_count,
    ellipse,
    grid,
    rng,
    save_image,
    to_uint8,
    write_bytes,
    write_text,
)

__all__ = ["make"]

_FLAGS = ("chest_xray", "mri", "ct_scan", "histology", "gross")
_NAMES = ("a chest X-ray", "an MRI", "a CT scan", "a histology slide", "a gross specimen")
_PARTS = ("210K", "150K", "80K", "60K")


def make(root: Path, n: int = 32, seed: int = 0, *, part: str = "210K") -> list[Expected]:
    """Write a synthetic BioMed-VITAL folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of rows, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of the figures.
        part (`str`, *optional*, defaults to `"210K"`): which file to write.

    Returns:
        `list[Expected]`: in file order; `values`: `file` (where the figure is there), `turns` (role and text without
        the token), `domain`, `part`, `size` (width, height) and `duplicate_of`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("vital", n, seed)
    check_choice("vital", "part", part, _PARTS)
    rows, urls, expected, seen = [], [], [], dict[str, int]()
    for place in range(n):
        number = place
        if place % 8 == 1:
            number = place - 1  # the same figure, asked about again
        if place % 16 == 10:
            number = place - 2  # and the same row once more
        figure = _figure(number)
        kind, has_picture = number % 6, place % 16 != 2
        row, turns = _row(place, number, figure, kind)
        rows.append(row)
        size = (72 + 8 * (number % 3), 64)
        if figure not in seen:
            urls.append({"pair_id": figure, "pmc_tar_url": f"https://example.org/oa_package/PMC{number}.tar.gz",
                         "image_file_path": f"PMC{number}/{figure}.jpg"})  # fmt: skip
            if has_picture:
                _draw(root / "images" / f"{figure}.jpg", kind, size, number, seed)
        seen[figure] = seen.get(figure, 0) + 1
        values: dict[str, Any] = {
            "turns": turns,
            "domain": tuple(sorted(name for name, is_set in row["domain"].items() if is_set)),
            "part": "BioMed-VITAL" if isinstance(row["id"], int) else "LLaVA-Med",
            "duplicate_of": f"{figure}#1" if place % 16 == 10 else None,
        }
        if has_picture:
            values |= {"file": f"images/{figure}.jpg", "size": size}
        expected.append(Expected(f"{figure}#{seen[figure]}", None, figure.partition("_")[0], (), values))
    text = json.dumps(rows, indent=4, ensure_ascii=False)
    write_text(root / f"BioMed-VITAL-instructions-{part}.json", text)
    write_text(root / "PMC_image_urls.jsonl", "".join(f"{json.dumps(url)}\n" for url in urls))
    return expected


def _figure(number: int) -> str:
    """Return the name of a figure: PMID, figure id; every third article has two figures."""
    article = number - 1 if number % 3 == 1 and number % 8 not in (1, 2) else number
    return f"{28000000 + 37 * article}_{'fig' if number % 2 else 'F'}{number}"


def _row(place: int, number: int, figure: str, kind: int) -> tuple[dict[str, Any], tuple[tuple[str, str], ...]]:
    """Return a row of the file, and its turns without the image token."""
    flags = {name: kind < 5 and name == _FLAGS[kind] for name in _FLAGS}
    if kind == 2 and number % 4 == 0:
        flags["mri"] = True  # a composite of both
    order = _FLAGS if number % 2 else _FLAGS[::-1]
    what = _NAMES[kind] if kind < 5 else "a drawing"
    is_med = place % 8 in (1, 5)
    first = "Which modality is used – and what is shown?" if number % 2 else "What does the figure show?"
    turns = [
        ("user", first if not is_med else f"{first} (asked again)"), ("assistant", f"The figure shows {what}."),
        ("user", "Is the diameter over 5 µm?"), ("assistant", f"The caption of figure {number} does not say."),
    ]  # fmt: skip
    said = [{"from": "human" if role == "user" else "gpt", "value": text} for role, text in turns]
    if is_med:
        said[0]["value"] = f"<image>\n{said[0]['value']}" if place % 8 == 1 else f"{said[0]['value']}\n<image>"
    row: dict[str, Any] = {
        "id": figure if is_med else number % 8,
        "image": f"{figure}.jpg",
        "domain": {name: flags[name] for name in order},
        "conversatons" if place % 8 == 5 else "conversations": said,
    }
    if is_med:
        row |= {"pair_id": figure, "fig_caption": f"Synthetic figure {number}.", "in_text_mention": None}
    return row, tuple(turns)


def _draw(path: Path, kind: int, size: tuple[int, int], number: int, seed: int) -> None:
    """Draw a figure of a kind; every eighth is a PNG by content, every eighth grey."""
    width, height = size
    random = rng(seed, "vital", number)
    y, x = grid(height, width)
    shapes = (
        np.sin(18 * x) > 0, np.hypot(y, x) % 0.3 > 0.15, ellipse(y, x, 0, 0, 0.7, 0.6),
        (np.sin(14 * x) > 0) ^ (np.sin(14 * y) > 0), y > 0.2, x + y > 0,
    )  # fmt: skip
    grey = np.clip(0.15 + 0.6 * np.asarray(shapes[kind], np.float32) + random.normal(0, 0.05, (height, width)), 0, 1)
    pixels = to_uint8(grey)
    if number % 8 == 3:
        write_bytes(path, save_image(path.with_suffix(".png"), np.stack([pixels] * 3, axis=-1)))
        path.with_suffix(".png").unlink()
    elif number % 8 == 6:
        save_image(path, pixels, quality=95)
    else:
        save_image(path, np.stack([pixels] * 3, axis=-1), quality=95)
