"""What the makers of miniatures share: the promise type, seeded randomness, soft drawing and exact writing."""

import csv
import hashlib
import io
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from climb_hf.errors import OptionError

__all__ = [
    "Expected",
    "Floats",
    "check_choice",
    "check_count",
    "csv_text",
    "ellipse",
    "grid",
    "rng",
    "save_image",
    "sha256_lines",
    "smooth_noise",
    "to_uint8",
    "write_bytes",
    "write_csv",
    "write_text",
]

Floats = NDArray[np.floating]

MINIMUM = 8  # below that no maker can show its oddities


@dataclass(frozen=True)
class Expected:
    """What a correct reader finds for one record of a miniature.

    Args:
        id (`str`): id of the record, unique in the source.
        split (`str`, *optional*): the publisher's (or the stated) split; `None` where a group hash decides.
        group (`str`): leakage key.
        classes (`tuple[str, ...]`): positive classes as Table 7 spells them, in its order; empty = all negative.
        values (`dict`): further truths, by column name where the schema has one (`age`, `sex`, `duplicate_of`, …).
    """

    id: str
    split: str | None
    group: str
    classes: tuple[str, ...]
    values: dict[str, object] = field(default_factory=dict)


def rng(seed: int, *key: int | str) -> np.random.Generator:
    """Generator that depends on the seed and a key only, so one record never shifts another.

    Args:
        seed (`int`): seed of the miniature, at least 0.
        key: names and numbers, such as the source, the purpose and the record.

    Returns:
        `numpy.random.Generator`: PCG64.
    """
    words = [zlib.crc32(k.encode()) if isinstance(k, str) else int(k) for k in key]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))


def check_count(source: str, n: int, seed: int) -> None:
    """Refuse a number of records or a seed that a maker cannot serve.

    Args:
        source (`str`): name, for the message.
        n (`int`): number of records.
        seed (`int`): seed.

    Raises:
        OptionError: `n` below 8 or not an integer, or a negative seed.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < MINIMUM:
        raise OptionError(f"{source}: expected `n` to be an integer of at least {MINIMUM}, found `{n!r}`.")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise OptionError(f"{source}: expected `seed` to be an integer of at least 0, found `{seed!r}`.")


def check_choice(source: str, option: str, value: object, allowed: Sequence[str]) -> None:
    """Refuse a value that an option does not have.

    Args:
        source (`str`): name, for the message.
        option (`str`): name of the option.
        value: what was given.
        allowed (`Sequence[str]`): what may be given.

    Raises:
        OptionError: `value` is not in `allowed`.
    """
    if value not in allowed:
        names = ", ".join(f'"{a}"' for a in allowed)
        raise OptionError(f"{source}: expected `{option}` to be one of {names}, found `{value!r}`.")


def grid(height: int, width: int, angle: float = 0.0, scale: float = 1.0) -> tuple[Floats, Floats]:
    """Coordinates of every pixel, -1 to 1 along both axes, optionally turned and enlarged.

    Args:
        height (`int`): rows.
        width (`int`): columns.
        angle (`float`, *optional*, defaults to `0.0`): rotation of what is drawn, radians, clockwise.
        scale (`float`, *optional*, defaults to `1.0`): magnification of what is drawn.

    Returns:
        `tuple`: `y` and `x`, each (height, width) float32, `y` growing downwards.
    """
    y, x = np.meshgrid(
        np.linspace(-1.0, 1.0, height, dtype=np.float32),
        np.linspace(-1.0, 1.0, width, dtype=np.float32),
        indexing="ij",
    )
    cos, sin = np.float32(np.cos(angle) / scale), np.float32(np.sin(angle) / scale)
    return cos * y - sin * x, sin * y + cos * x


def ellipse(
    y: Floats, x: Floats, cy: float, cx: float, ry: float, rx: float, *, angle: float = 0.0, edge: float = 0.15
) -> Floats:
    """Filled ellipse with a soft border.

    Args:
        y (array): (height, width) row coordinates of `grid`.
        x (array): (height, width) column coordinates.
        cy (`float`): centre, row.
        cx (`float`): centre, column.
        ry (`float`): half axis along rows.
        rx (`float`): half axis along columns.
        angle (`float`, *optional*, defaults to `0.0`): rotation in radians.
        edge (`float`, *optional*, defaults to `0.15`): width of the border as a fraction of the radius.

    Returns:
        (height, width) float32 array, 1 inside, 0 outside.
    """
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dy, dx = y - np.float32(cy), x - np.float32(cx)
    radius = np.hypot((cos * dy - sin * dx) / np.float32(ry), (sin * dy + cos * dx) / np.float32(rx))
    return np.clip((1.0 - radius) / np.float32(edge) + 0.5, 0.0, 1.0)


def smooth_noise(random: np.random.Generator, height: int, width: int, cells: int) -> Floats:
    """Cloudy texture: a coarse random grid, interpolated.

    Args:
        random (`numpy.random.Generator`): source of randomness.
        height (`int`): rows.
        width (`int`): columns.
        cells (`int`): cells of the coarse grid along each axis; more is finer.

    Returns:
        (height, width) float32 array of zero mean, about -1 to 1.
    """
    coarse = random.uniform(-1.0, 1.0, (cells + 1, cells + 1)).astype(np.float32)
    return _interpolation(height, cells) @ coarse @ _interpolation(width, cells).T


def _interpolation(size: int, cells: int) -> Floats:
    """(size, cells + 1) matrix of smoothed linear interpolation weights."""
    position = np.linspace(0.0, cells, size)
    left = np.minimum(position.astype(int), cells - 1)
    part = position - left
    part = part * part * (3.0 - 2.0 * part)
    matrix = np.zeros((size, cells + 1), np.float32)
    matrix[np.arange(size), left] = 1.0 - part
    matrix[np.arange(size), left + 1] = part
    return matrix


def to_uint8(picture: Floats) -> NDArray[np.uint8]:
    """Scale 0..1 to 0..255, clipping what lies outside.

    Args:
        picture (array): any shape, nominally 0 to 1.

    Returns:
        uint8 array of the same shape.
    """
    return np.clip(np.rint(picture * 255.0), 0, 255).astype(np.uint8)


def save_image(path: Path, pixels: NDArray[np.uint8], **options: object) -> bytes:
    """Write an 8-bit picture; the suffix decides the format.

    Args:
        path (`pathlib.Path`): target; missing folders are made.
        pixels (array): (height, width), (height, width, 3) or (height, width, 4) uint8.
        options: parameters of Pillow's `save`.

    Returns:
        `bytes`: the content of the file, for byte-identical copies.
    """
    buffer = io.BytesIO()
    kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}[path.suffix.lower()]
    Image.fromarray(pixels).save(buffer, format=kind, **options)
    return write_bytes(path, buffer.getvalue())


def write_bytes(path: Path, content: bytes) -> bytes:
    """Write a file, making the folders above it.

    Args:
        path (`pathlib.Path`): target.
        content (`bytes`): all of it.

    Returns:
        `bytes`: `content`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return content


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with its line ends as they are.

    Args:
        path (`pathlib.Path`): target; missing folders are made.
        text (`str`): content.
    """
    write_bytes(path, text.encode("utf-8"))


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Comma-separated text with line feeds, quotes only where needed; `None` is an empty cell.

    Args:
        rows: the rows, header first.

    Returns:
        `str`: the text of the file.
    """
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write `csv_text(rows)`.

    Args:
        path (`pathlib.Path`): target; missing folders are made.
        rows: the rows, header first.
    """
    write_text(path, csv_text(rows))


def sha256_lines(root: Path) -> str:
    """PhysioNet's checksum list of all files below a folder.

    Args:
        root (`pathlib.Path`): folder of the release.

    Returns:
        `str`: lines of hex digest, space, relative path; sorted by path.
    """
    files = sorted((p.relative_to(root).as_posix(), p) for p in root.rglob("*") if p.is_file())
    return "".join(f"{hashlib.sha256(p.read_bytes()).hexdigest()} {name}\n" for name, p in files)
