"""One self-contained HTML page: text, tables, figures and pictures, nothing loaded from elsewhere."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from climb_hf.report.tables import format_value

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure as MatplotlibFigure
    from PIL.Image import Image

__all__ = ["Picture", "Section", "figure_picture", "image_picture", "write_report"]


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Args:
        source (`str`): a `data:` URL.
        caption (`str`): text below it, also read out in its place.
    """

    source: str
    caption: str


@dataclass
class Section:
    """A section of the page; empty parts are left out.

    Args:
        heading (`str`): its title.
        paragraphs (`Sequence[str]`): plain text.
        rows (`Sequence[Mapping]`): a table, cells by column name.
        figures (`Sequence[Picture]`): below each other, in full width.
        gallery (`Sequence[Picture]`): small, beside each other.
        code (`str`): shown as it is.
    """

    heading: str
    paragraphs: Sequence[str] = ()
    rows: Sequence[Mapping[str, object]] = ()
    figures: Sequence[Picture] = ()
    gallery: Sequence[Picture] = field(default_factory=list)
    code: str = ""


def _data_url(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def figure_picture(figure: "MatplotlibFigure", caption: str, *, save_as: Path | None = None) -> Picture:
    """Turn a matplotlib figure into a vector picture of the page, and close it.

    Args:
        figure (`matplotlib.figure.Figure`): the figure.
        caption (`str`): text below it.
        save_as (`Path`, *optional*): also write it to this path with `.png` and `.svg` behind.

    Returns:
        `Picture`.
    """
    for suffix in () if save_as is None else ("png", "svg"):
        figure.savefig(f"{save_as}.{suffix}", dpi=150, bbox_inches="tight")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    figure.clear()
    return Picture(_data_url(buffer.getvalue(), "image/svg+xml"), caption)


def image_picture(
    image: "Image | np.ndarray", caption: str, side: int = 160, *, format: Literal["PNG", "JPEG"] = "PNG"
) -> Picture:
    """Turn a picture into a small one of the page.

    Args:
        image (`PIL.Image.Image` or `np.ndarray`): a picture, or (height, width[, 3]) uint8.
        caption (`str`): text below it.
        side (`int`, *optional*, defaults to `160`): longest side in pixels.
        format (`str`, *optional*, defaults to `"PNG"`): `"JPEG"` where a page holds many pictures.

    Returns:
        `Picture`.
    """
    from PIL import Image

    from climb_hf.readers.image import encode_image, to_rgb

    picture = to_rgb(image if isinstance(image, Image.Image) else Image.fromarray(image)).copy()
    picture.thumbnail((side, side))
    return Picture(_data_url(encode_image(picture, format=format), f"image/{format.lower()}"), caption)


def write_report(path: str | Path, title: str, sections: Sequence[Section], *, notice: str = "") -> Path:
    """Write the page.

    Args:
        path (`str` or `Path`): the HTML file; folders are made.
        title (`str`): heading and title of the page.
        sections (`Sequence[Section]`): in order.
        notice (`str`, *optional*): a warning above everything, such as that the data is synthetic.

    Returns:
        `Path`: the file.

    Example:
        >>> import tempfile
        >>> page = write_report(tempfile.mkdtemp() + "/report.html", "Demo", [Section("Numbers", rows=[{"n": 3}])])
        >>> "<h2>Numbers</h2>" in page.read_text()
        True
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("climb_hf.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["cell_text"] = format_value
    page = environment.get_template("report.html.j2").render(title=title, sections=sections, notice=notice)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path
