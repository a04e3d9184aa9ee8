"""Drawn compound figures with known panels, labels and captions, as tables and as packages of PMC Open Access.

The layout follows the synthesis that Open-PMC-18M trains its detector on (see docs/figures.md): tiles of a common
aspect in a grid of 1 to 5 rows and columns, labels on, above, below or left of the tiles, gutters that are absent in a
fifth of the figures. **All of it is synthetic**: tiles are drawn, captions are invented.
"""

import gzip
import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from climb_hf.miniatures._common import ellipse, grid, rng, smooth_noise, to_uint8, write_bytes
from climb_hf.miniatures._stained import stained

__all__ = ["CompoundFigure", "Panel", "draw_figure", "write_packages", "write_table"]

Box = tuple[int, int, int, int]

_MODALITIES = ("radiology", "histopathology", "dermatology", "retina", "plot")
_NOUNS = {
    "radiology": "axial CT of the chest", "histopathology": "section of the liver", "dermatology": "lesion of the arm",
    "retina": "fundus of the left eye", "plot": "number of cells by day",
}  # fmt: skip
_STATES = ("before treatment", "after one week", "after one month", "in a control", "with a mask", "at low dose")
_PLACES = ("overlay-top", "overlay-bottom", "pad-left", "pad-bottom", "pad-above")
_PLACE_ODDS = (0.15, 0.15, 0.3, 0.3, 0.1)
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv", "xv", "xvi")
_LICENCES = ("by/4.0", "by-nc/4.0", "by-nd/4.0", "by/4.0", "by-nc-sa/4.0", "")
_MARGIN = 3


@dataclass(frozen=True)
class Panel:
    """A panel of a drawn figure.

    Args:
        box (`Box`): left, top, right, bottom in pixels, the room of its label included.
        label (`str`): label in the caption, `""` for the only panel of a figure.
        label_box (`Box`, *optional*): where the label is drawn.
        text (`str`): what the caption says of it, with what it says of all.
    """

    box: Box
    label: str
    label_box: Box | None
    text: str


@dataclass(frozen=True)
class CompoundFigure:
    """A drawn figure and all that is known of it.

    Args:
        pixels (array): (height, width, 3) uint8.
        panels (`tuple[Panel, ...]`): in reading order.
        caption (`str`): the caption.
        gap (`int`): width of the gutters in pixels, 0 where panels touch.
    """

    pixels: NDArray[np.uint8]
    panels: tuple[Panel, ...]
    caption: str
    gap: int

    def encoded(self, kind: str = "JPEG") -> bytes:
        """Return the figure as a file."""
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, format=kind, **({"quality": 92} if kind == "JPEG" else {}))
        return buffer.getvalue()


def draw_figure(
    number: int, seed: int = 0, *, tile: int = 100, gap: int | None = None, panels: int | None = None
) -> CompoundFigure:
    """Draw a compound figure.

    Args:
        number (`int`): number of the figure; another number is another figure.
        seed (`int`, *optional*, defaults to `0`): seed of the generator.
        tile (`int`, *optional*, defaults to `100`): shorter side of a tile in pixels.
        gap (`int`, *optional*): width of the gutters in pixels; drawn by default, a fifth of the figures has none.
        panels (`int`, *optional*): at most so many panels.

    Returns:
        `CompoundFigure`: the same for the same arguments.
    """
    random = rng(seed, "compound", number)
    rows, columns = (int(random.integers(1, 6)) for _ in range(2))
    limit = panels or 25
    while rows * columns > limit:
        rows, columns = max(1, rows - 1), max(1, columns - 1)
    stretch = random.uniform(1.0, 1.5)
    height, width = (tile, round(tile * stretch)) if random.random() < 0.5 else (round(tile * stretch), tile)
    if gap is None:
        gap = 0 if random.random() < 0.2 else int(50 * random.beta(2, 10) * tile / 100)
    labels = _labels(random, rows, columns)
    place = _PLACES[random.choice(5, p=_PLACE_ODDS)] if rows * columns > 1 else "none"
    kinds = list(_MODALITIES) if random.random() < 1 / 6 else [_MODALITIES[random.integers(5)]]
    modalities = [kinds[random.integers(len(kinds))] for _ in labels]
    font = ImageFont.load_default(max(12, round(0.14 * tile)))
    drawn = [_style(label, place, font) for label in labels]
    room_x = max((box[2] - box[0] for _, box in drawn), default=0) + 2 * _MARGIN if place == "pad-left" else 0
    room_y = (
        max((box[3] - box[1] for _, box in drawn), default=0) + 2 * _MARGIN if "pad" in place and not room_x else 0
    )
    outer = int(random.integers(1, 20))
    step = (width + room_x + gap, height + room_y + gap)
    size = (2 * outer + columns * step[0] - gap, 2 * outer + rows * step[1] - gap)
    canvas = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(canvas)
    caption, texts = _caption(random, labels, modalities)
    found = []
    for index, label in enumerate(labels):
        left, top = outer + index % columns * step[0], outer + index // columns * step[1]
        corner = (left + room_x, top + (room_y if place == "pad-above" else 0))
        canvas.paste(Image.fromarray(_tile(random, height, width, modalities[index])), corner)
        box = (left, top, left + room_x + width, top + room_y + height)
        found.append(Panel(box, label if len(labels) > 1 else "", _write(pen, drawn[index], place, corner, box, font),
                           texts[index]))  # fmt: skip
    return CompoundFigure(np.asarray(canvas), tuple(found), caption, gap)


def _labels(random: np.random.Generator, rows: int, columns: int) -> list[str]:
    """Labels in reading order: letters mostly, digits, roman numbers, or row and column."""
    n = rows * columns
    kind = random.choice(4, p=(0.4, 0.4, 0.1, 0.1))
    if kind == 2 and n <= 20:
        return [str(number + 1) for number in range(n)]
    if kind == 3 and n <= len(_ROMAN):
        return list(_ROMAN[:n])
    if rows > 1 and columns > 1 and random.random() < 0.15:
        return [f"{chr(65 + row)}{column + 1}" for row in range(rows) for column in range(columns)]
    return [chr((97 if kind == 0 else 65) + number) for number in range(n)]


def _style(label: str, place: str, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont") -> tuple[str, Box]:
    """What is drawn of a label, and its extent."""
    text = {"overlay-top": label, "overlay-bottom": f"({label})", "pad-left": label, "pad-bottom": f"({label})"}.get(
        place, f"{label})"
    )
    left, top, right, bottom = font.getbbox(text)
    return text, (round(left), round(top), round(right + 0.5), round(bottom + 0.5))


def _write(
    pen: ImageDraw.ImageDraw, drawn: tuple[str, Box], place: str, corner: tuple[int, int], box: Box,
    font: "ImageFont.FreeTypeFont | ImageFont.ImageFont",
) -> Box | None:  # fmt: skip
    """Draw a label; returns where."""
    if place == "none":
        return None
    text, extent = drawn
    width, height = extent[2] - extent[0], extent[3] - extent[1]
    x, y = {
        "overlay-top": (corner[0] + _MARGIN, corner[1] + _MARGIN),
        "overlay-bottom": (corner[0] + _MARGIN, box[3] - height - _MARGIN),
        "pad-left": (corner[0] - width - _MARGIN, corner[1] + 1),
        "pad-bottom": (box[0] + (box[2] - box[0] - width) // 2, box[3] - height - _MARGIN),
        "pad-above": (box[0] + 1, box[1] + _MARGIN),
    }[place]
    colour, edge = ("white", "black") if "overlay" in place else ("black", None)
    pen.text((x - extent[0], y - extent[1]), text, fill=colour, font=font, stroke_width=int(edge is not None),
             stroke_fill=edge)  # fmt: skip
    return x, y, x + width, y + height


def _tile(random: np.random.Generator, height: int, width: int, modality: str) -> NDArray[np.uint8]:
    """Draw the picture of a panel; nothing on its border is white."""
    if modality == "histopathology":
        return to_uint8(stained(random, height, width, (0.86, 0.66, 0.78)))
    y, x = grid(height, width)
    noise = smooth_noise(random, height, width, 8)[..., None]
    if modality == "plot":
        return _plot(random, height, width)
    if modality == "radiology":
        body = ellipse(y, x, 0, 0, random.uniform(0.6, 0.8), random.uniform(0.7, 0.9))
        lung = ellipse(y, x, 0, -0.35, 0.45, 0.25) + ellipse(y, x, 0, 0.35, 0.45, 0.25)
        return to_uint8(np.repeat((0.05 + 0.55 * body - 0.4 * lung)[..., None] + 0.03 * noise, 3, axis=2))
    if modality == "retina":
        disc = ellipse(y, x, 0, 0, 0.9, 0.9)[..., None]
        spot = ellipse(y, x, random.uniform(-0.2, 0.2), 0.4, 0.15, 0.15)[..., None]
        return to_uint8(disc * (np.array([0.7, 0.3, 0.12]) + 0.3 * spot + 0.06 * noise) + 0.02)
    lesion = ellipse(y, x, *random.uniform(-0.2, 0.2, 2), *random.uniform(0.25, 0.5, 2))[..., None]
    return to_uint8(np.array([0.82, 0.62, 0.52]) + 0.05 * noise - lesion * np.array([0.4, 0.42, 0.38]))


def _plot(random: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    """A line plot within a frame."""
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    pen.rectangle((1, 1, width - 2, height - 2), outline=(40, 40, 40), width=max(1, height // 100))
    heights = np.clip(0.5 + 0.12 * np.cumsum(random.normal(size=8)), 0.1, 0.9)
    points = [(8 + number * (width - 16) / 7, height * (1 - value)) for number, value in enumerate(heights)]
    pen.line(points, fill=(200, 40, 40), width=max(2, height // 50))
    return np.asarray(picture)


def _caption(random: np.random.Generator, labels: Sequence[str], modalities: Sequence[str]) -> tuple[str, list[str]]:
    """A caption in one of several styles, and the text of each panel."""
    start = f"Synthetic case {random.integers(1000)}, {random.integers(20, 90)} years old."
    own = [f"{_NOUNS[kind]} {_STATES[random.integers(len(_STATES))]}" for kind in modalities]
    own = [f"{text[0].upper()}{text[1:]}" for text in own]
    if len(labels) == 1:
        return f"{start} {own[0]}.", [f"{start} {own[0]}."]
    style = random.integers(4)
    if style == 1 and not labels[0].isdigit():
        return " ".join([start, *(f"{label}, {text}." for label, text in zip(labels, own, strict=True))]), [
            f"{start} {text}." for text in own
        ]
    if style == 2:
        parts = [f"{text} ({label})" for label, text in zip(labels, own, strict=True)]
        return f"{start} {', '.join(parts[:-1])} and {parts[-1]}.", [f"{start} {text}" for text in own]
    if style == 3 and len(labels[0]) == 1 and len(labels) > 2:
        own = [own[0]] * 2 + own[2:]
        parts = [f"({labels[0]}–{labels[1]}) {own[0]}."]
        parts += [f"({label}) {text}." for label, text in zip(labels[2:], own[2:], strict=True)]
        return " ".join([start, *parts]), [f"{start} {text}." for text in own]
    parts = [f"({label}) {text}." for label, text in zip(labels, own, strict=True)]
    return " ".join([start, *parts]), [f"{start} {text}." for text in own]


# ---------------------------------------------------------------------- files


def write_packages(
    root: Path, n: int = 32, seed: int = 0, *, tile: int = 100, gap: int | None = None, panels: int | None = 9
) -> dict[str, CompoundFigure]:
    """Write drawn figures as packages of PMC Open Access, one to three figures in each.

    Args:
        root (`Path`): folder to write to.
        n (`int`, *optional*, defaults to `32`): number of figures.
        seed (`int`, *optional*, defaults to `0`): seed of the generator.
        tile (`int`, *optional*, defaults to `100`): shorter side of a tile in pixels.
        gap (`int`, *optional*): width of all gutters; drawn by default.
        panels (`int`, *optional*, defaults to `9`): most panels of a figure.

    Returns:
        `dict[str, CompoundFigure]`: by `"PMC…/F…"`, in the order in which a reader finds them.
    """
    found: dict[str, CompoundFigure] = {}
    article = 0
    while len(found) < n:
        figures = [
            draw_figure(len(found) + number, seed, tile=tile, gap=gap, panels=panels)
            for number in range(min(1 + article % 3, n - len(found)))
        ]
        name = f"PMC{9_000_000 + article}"
        write_bytes(root / f"{name}.tar.gz", _package(name, figures, _LICENCES[article % len(_LICENCES)]))
        found.update({f"{name}/F{number}": figure for number, figure in enumerate(figures, 1)})
        article += 1
    return found


def _package(name: str, figures: Sequence[CompoundFigure], licence: str) -> bytes:
    files = {f"{name}/{name}.nxml": _article(name, figures, licence).encode()}
    files.update({f"{name}/{name}-g{number:03d}.jpg": fig.encoded() for number, fig in enumerate(figures, 1)})
    files[f"{name}/{name}.pdf"] = b"%PDF-1.4 synthetic"
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), 6, mtime=0)


def _article(name: str, figures: Sequence[CompoundFigure], licence: str) -> str:
    url = f"https://creativecommons.org/licenses/{licence}/"
    terms = f'<license license-type="open-access" xlink:href="{url}"><license-p>Synthetic.</license-p></license>'
    shown = "".join(
        f'<fig id="F{number}"><label>Figure {number}</label><caption><p>{escape(figure.caption)}</p></caption>'
        f'<graphic xlink:href="{name}-g{number:03d}"/></fig>'
        for number, figure in enumerate(figures, 1)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE article PUBLIC "-//NLM//DTD JATS (Z39.96) Journal '
        'Archiving and Interchange DTD v1.3 20210610//EN" "JATS-archivearticle1-3.dtd">\n'
        '<article xmlns:xlink="http://www.w3.org/1999/xlink"><front><article-meta>'
        f'<article-id pub-id-type="pmcid">{name}</article-id><permissions>{terms if licence else ""}</permissions>'
        f"</article-meta></front><body><sec><title>Synthetic</title>{shown}</sec></body></article>\n"
    )


def write_table(
    path: Path, n: int = 32, seed: int = 0, *, rows_per_group: int = 8, tile: int = 100, gap: int | None = None,
    panels: int | None = 9,
) -> dict[str, CompoundFigure]:  # fmt: skip
    """Write drawn figures as a Parquet table with the columns of BIOMEDICA's serialisation.

    Args:
        path (`Path`): the file.
        n (`int`, *optional*, defaults to `32`): number of figures.
        seed (`int`, *optional*, defaults to `0`): seed of the generator.
        rows_per_group (`int`, *optional*, defaults to `8`): rows of a row group.
        tile (`int`, *optional*, defaults to `100`): shorter side of a tile in pixels.
        gap (`int`, *optional*): width of all gutters; drawn by default.
        panels (`int`, *optional*, defaults to `9`): most panels of a figure.

    Returns:
        `dict[str, CompoundFigure]`: by `"PMC…/KEY"`, in the order of the rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    figures = [draw_figure(number, seed, tile=tile, gap=gap, panels=panels) for number in range(n)]
    keys = [f"synthetic_{number:06d}" for number in range(n)]
    articles = [f"PMC{8_000_000 + number // 2}" for number in range(n)]
    licences = [("CC BY", "CC BY-NC", "NO-CC CODE")[number // 2 % 3] for number in range(n)]
    table = pa.table(
        {
            "__key__": keys,
            "jpg": [{"bytes": figure.encoded(), "path": None} for figure in figures],
            "txt": [figure.caption for figure in figures],
            "article_accession_id": articles,
            "article_license": licences,
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows_per_group)
    return {f"{article}/{key}": figure for article, key, figure in zip(articles, keys, figures, strict=True)}
