"""HTML page of an audit: findings as a table, then the offending pairs side by side."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from climb_hf.report.html import Picture, Section, figure_picture, image_picture, write_report

if TYPE_CHECKING:
    from climb_hf.auditing.collection import Part
    from climb_hf.auditing.result import AuditReport, Finding, Pair
    from climb_hf.source import Record

__all__ = ["draw_pair", "write_audit_page"]

#: Side in pixels of each of two pictures.
_SIDE = 224
#: Pairs shown of a finding that is only a note.
_FEW = 6
#: Rows of a finding's table of pairs.
_MAX_ROWS = 200
_SECONDS = 10.0
_BLUE, _ORANGE = "#1f5fa8", "#b35900"


def write_audit_page(
    report: "AuditReport",
    path: str | Path,
    *,
    thumbnails: bool | None,
    max_pictures: int,
    notice: str,
    draw: "Callable[[Pair], Picture | None] | None",
) -> Path:
    """Write the page of an audit; see `AuditReport.write_html`.

    Args:
        report (`AuditReport`): the result.
        path (`str` or `Path`): the HTML file.
        thumbnails (`bool`, *optional*): show pictures and signals; by default where the sources allow it.
        max_pictures (`int`): pairs shown per finding.
        notice (`str`): a warning above everything.
        draw: a picture of a pair, `None` where there is nothing to draw.

    Returns:
        `Path`: the file.
    """
    paragraphs = [
        "Severities: a leak makes a score on the later split look better than it is; see the ids in the JSON."
    ]
    shown = [name for name in report.withheld if thumbnails]
    if shown:
        notice = " ".join(
            [notice, f"This page shows data of {', '.join(shown)}, which must not be passed on: keep it to yourself."]
        ).strip()
    elif report.withheld and thumbnails is None:
        paragraphs += [f"Pictures of {name} are left out ({why})." for name, why in report.withheld.items()]
        paragraphs.append("To see them, on this machine only: `climb audit … --thumbnails`.")
    elif thumbnails is False:
        paragraphs.append("Pictures are left out, as asked.")
    table = report.rows() or [{"finding": "nothing found"}]
    sections = [
        Section("Findings", paragraphs, table),
        Section("What was looked at", rows=report.sources),
        Section("What was compared", rows=report.compared),
    ]
    for finding in report.findings:
        if finding.pairs:
            sections.append(_finding_section(report, finding, thumbnails, max_pictures, draw))
    origin = [{"item": key, "value": str(value)} for key, value in {**report.settings, **report.versions}.items()]
    sections.append(Section("Where the findings come from", rows=origin))
    names = dict.fromkeys(row["source"] for row in report.sources)
    return write_report(path, f"Audit of {', '.join(names)}", sections, notice=notice)


def _finding_section(
    report: "AuditReport",
    finding: "Finding",
    thumbnails: bool | None,
    max_pictures: int,
    draw: "Callable[[Pair], Picture | None] | None",
) -> Section:
    figures: list[Picture] = []
    if draw is not None and finding.check not in ("groups", "patients"):  # those are other recordings of one person
        for pair in finding.pairs[: min(max_pictures, _FEW) if finding.severity == "note" else max_pictures]:
            if not report.hides((pair.first.source, pair.second.source), thumbnails):
                figures += [drawn] if (drawn := draw(pair)) is not None else []
    rows = [_pair_row(pair) for pair in finding.pairs[:_MAX_ROWS]]
    text = [finding.text]
    if finding.count > len(rows):
        text.append(f"The first {len(rows):,} of {finding.count:,} are listed.")
    if figures and finding.count > len(figures):
        text.append(f"The first {len(figures):,} are shown.")
    return Section(f"{finding.severity}: {finding.check}, {finding.where}", text, rows, figures)


def _pair_row(pair: "Pair") -> dict[str, object]:
    row: dict[str, object] = {}
    for title, name in (("first", pair.first), ("second", pair.second)):
        row |= {title: f"{name.source} {name.split}: {name.id}", f"group of {title}": name.group}
        row[f"labels of {title}"] = list(name.labels or ())
    return {**row, "bits": pair.distance, "similarity": pair.similarity}


def draw_pair(found: "Sequence[tuple[Part, Record]]", pair: "Pair") -> Picture | None:
    """Draw two records side by side: pictures as they are, signals one above the other.

    Args:
        found (`Sequence[tuple[Part, Record]]`): source and record of both.
        pair (`Pair`): the pair, for the caption.

    Returns:
        `Picture`, or `None` where a record cannot be drawn.
    """
    names = [f"{name.source} {name.split} {name.id}" for name in (pair.first, pair.second)]
    bits = "" if pair.distance is None else f" ({pair.distance} bits, similarity {pair.similarity:.3f})"
    caption = f"{names[0]}  |  {names[1]}{bits}"
    try:
        contents = [_content(part, record) for part, record in found]
    except (ValueError, OSError, LookupError):  # named among the findings on files
        return None
    if all(content is not None and content.ndim == 3 for content in contents):
        gap = np.full((_SIDE, 8, 3), 255, dtype=np.uint8)
        return image_picture(
            np.concatenate([contents[0], gap, contents[1]], axis=1), caption, side=2 * _SIDE + 8, format="JPEG"
        )
    if all(content is not None and content.ndim == 2 for content in contents):
        return _signal_figure(contents, names, caption)
    return None


def _content(part: "Part", record: "Record") -> Any:  # noqa: ANN401 - picture, signal or nothing
    """Return (side, side, 3) uint8 of a picture, (time, 2) of a signal's first channel, or `None`."""
    from dataclasses import replace

    from climb_hf.readers.image import load_image

    family = part.source.family
    if family == "signal":
        columns = part.source.read(record, part.root, part.options)
        rate = float(columns["sampling_rate"])
        values = columns["signal"][: round(_SECONDS * rate)]
        channel = int(np.nanargmax(np.nanstd(values, axis=0)))
        return np.stack([np.arange(len(values)) / rate, values[:, channel]], axis=1)
    if family == "frames":
        frames = part.source.read(record, part.root, replace(part.options, num_frames=3))["frames"]
        return load_image(frames[len(frames) // 2], size=_SIDE, keep_aspect="pad")
    if family == "image":
        columns = part.source.read(record, part.root, replace(part.options, image_size=_SIDE))
        return load_image(columns["image"], size=_SIDE)
    if family == "text-image" and record.files:
        return load_image(part.root / record.files[0], size=_SIDE, keep_aspect="pad")
    return None


def _signal_figure(contents: list[np.ndarray], names: list[str], caption: str) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 2.8), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    for panel, content, name, colour in zip(panels, contents, names, (_BLUE, _ORANGE), strict=True):
        panel.plot(content[:, 0], content[:, 1], color=colour, linewidth=0.7)
        panel.set_title(name, fontsize=8, loc="left")
        panel.spines[["top", "right"]].set_visible(False)
    panels[1].set_xlabel("seconds (channel of the largest variation)")
    return figure_picture(figure, caption)
