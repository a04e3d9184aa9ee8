"""Compound figures (synthetic, 3 × 3 tiles of 300 px): figures per second of one core, from the file to the panels.

Ours decodes, finds the gutters, crops and encodes the panels of a figure. The reference does the least that any
pipeline must: it decodes the figure and encodes the panels whose places it is told, with Pillow alone and the same
settings. The share of the panels that is found is asserted, so speed is not bought with misses.
"""

import io
import statistics
import time

FIGURES, ROUNDS, TILE = 40, 5, 300


def drawn() -> list:
    """Return figures with nine panels, encoded, with their truth."""
    from climb_hf.miniatures._compound_figures import draw_figure

    figures, number = [], 0
    while len(figures) < FIGURES:
        figure = draw_figure(number, tile=TILE, gap=12, panels=9)
        number += 1
        if len(figure.panels) >= 4:
            figures.append((figure.encoded(), figure))
    return figures


def ours(figures: list) -> int:
    """Make the rows of all figures; returns their number."""
    from climb_hf.figures.panels import FigureOptions, PanelMaker
    from climb_hf.figures.reading import Figure

    items = [
        Figure(f"F{number}", "PMC1", figure.caption, content, "CC-BY-4.0", "benchmark")
        for number, (content, figure) in enumerate(figures)
    ]
    return sum(1 for _ in PanelMaker(FigureOptions(caption="split")).rows(items))


def told(figures: list) -> int:
    """Decode, crop at known places, encode; returns the number of panels."""
    from PIL import Image

    total = 0
    for content, figure in figures:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
        for panel in figure.panels:
            buffer = io.BytesIO()
            picture.crop(panel.box).save(buffer, format="JPEG", quality=95, subsampling=0)
            total += 1
    return total


def seconds(function, figures: list) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    function(figures)
    return time.perf_counter() - start


def run() -> list[dict]:
    """Return one row: figures per second of one core, against known places."""
    figures = drawn()
    panels = sum(len(figure.panels) for _, figure in figures)
    found = ours(figures)
    if not 0.95 <= found / panels <= 1.05:
        raise AssertionError(f"{found} panels found of {panels}")
    told(figures)
    pairs = [(seconds(ours, figures), seconds(told, figures)) for _ in range(ROUNDS)]
    mine, reference = (len(figures) / statistics.median(column) for column in zip(*pairs, strict=True))
    return [
        {"name": "figures: decode, gutters, crop, encode, vs places known", "ours": mine, "reference": reference,
         "ratio": mine / reference, "required": 0.5, "unit": "figures/s"}
    ]  # fmt: skip


if __name__ == "__main__":
    for row in run():
        print(row)
