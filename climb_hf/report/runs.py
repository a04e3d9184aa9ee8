"""HTML pages of an evaluation and of a whole run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.report.figures import learning_curve, metric_by_source
from climb_hf.report.html import Picture, Section, figure_picture, write_report
from climb_hf.report.results import result_table

if TYPE_CHECKING:
    from climb_hf.results import ResultRow

__all__ = ["evaluation_sections", "history_section", "write_evaluation_report"]

SYNTHETIC_NOTICE = (
    "All data behind these numbers is synthetic: drawn by a seeded generator with learnable content. They show that "
    "the software works and say nothing about any clinical question."
)


def evaluation_sections(rows: "Sequence[ResultRow]") -> list[Section]:
    """Return the sections of an evaluation: the table, the AUC figure, where the numbers come from.

    Args:
        rows (`Sequence[ResultRow]`): results of one evaluation.

    Returns:
        `list[Section]`.
    """
    first = rows[0]
    settings = first.settings
    origin = [
        {"item": "split", "value": first.split},
        {"item": "definition of the metrics", "value": first.definition},
        {"item": "interval", "value": f"{first.confidence:.0%}, patient-cluster bootstrap"},
        {"item": "resamples", "value": settings.get("n_bootstrap", 0)},
        {"item": "seed of the bootstrap", "value": settings.get("bootstrap_seed")},
        {"item": "seed of the training", "value": first.seed},
        {"item": "recipe", "value": first.recipe_hash},
        *({"item": f"version of {name}", "value": version} for name, version in first.versions.items()),
    ]
    fingerprints = {row.source: row.data_fingerprint for row in rows if row.level == "source"}
    origin += [{"item": f"data of {name}", "value": value} for name, value in fingerprints.items()]
    figure = figure_picture(metric_by_source(_distinct(rows)), "Macro one-vs-rest AUC by source with its interval.")
    return [
        Section("Scores by source", rows=result_table(rows), figures=[figure]),
        Section("Where the numbers come from", rows=origin),
    ]


def _distinct(rows: "Sequence[ResultRow]") -> "list[ResultRow]":
    return [row for row in rows if not row.settings.get("without_duplicates")]


def history_section(history: Sequence[Mapping[str, Any]]) -> Section:
    """Return the section with the learning curve.

    Args:
        history (`Sequence[Mapping]`): `trainer.state.log_history`.

    Returns:
        `Section`.
    """
    caption = "Loss by epoch, and mean AUC on the held-out part of the train groups."
    return Section("Learning curve", figures=[figure_picture(learning_curve(history), caption)])


def write_evaluation_report(
    path: str | Path, model: str | Path, rows: "Sequence[ResultRow]", *, gallery: Sequence[Picture] = ()
) -> Path:
    """Write the page of an evaluation.

    Args:
        path (`str` or `Path`): the HTML file.
        model (`str` or `Path`): what was scored, for the title.
        rows (`Sequence[ResultRow]`): its results.
        gallery (`Sequence[Picture]`, *optional*): sample pictures.

    Returns:
        `Path`: the file.
    """
    sections = evaluation_sections(rows)
    if gallery:
        sections.append(Section("Samples", gallery=gallery))
    notice = SYNTHETIC_NOTICE if any(row.synthetic for row in rows) else ""
    return write_report(path, f"Evaluation of {Path(model).name}", sections, notice=notice)
