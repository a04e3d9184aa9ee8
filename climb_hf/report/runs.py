"""HTML pages of an evaluation and of a whole run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.report.figures import learning_curve, metric_by_source
from climb_hf.report.html import Picture, Section, figure_picture, write_report
from climb_hf.report.results import result_table

if TYPE_CHECKING:
    from climb_hf.results import ResultRow

__all__ = ["evaluation_sections", "history_section", "origin_section", "write_evaluation_report"]

SYNTHETIC_NOTICE = (
    "All data behind these numbers is synthetic: drawn by a seeded generator with learnable content. They show that "
    "the software works and say nothing about any clinical question."
)


def origin_section(rows: "Sequence[ResultRow]", details: Mapping[str, object]) -> Section:
    """Return the section that says where the numbers of one run come from.

    Args:
        rows (`Sequence[ResultRow]`): results of the run.
        details (`Mapping`): what is particular to the protocol, by name.

    Returns:
        `Section`: split, the details, recipe, fingerprint of each source's data, versions.

    Example:
        >>> from climb_hf.results import ResultRow
        >>> row = ResultRow(source="a", split="test", metric="auc", value=0.9, n=7, data_fingerprint="1f")
        >>> origin_section([row], {}).rows[-1]
        {'item': 'data of a', 'value': '1f'}
    """
    first = rows[0]
    prints = {f"data of {row.source}": row.data_fingerprint for row in rows if row.level == "source"}
    versions = {f"version of {name}": version for name, version in first.versions.items()}
    items = {"split": first.split, **details, "recipe": first.recipe_hash, **versions, **prints}
    return Section("Where the numbers come from", rows=[{"item": k, "value": v} for k, v in items.items()])


def evaluation_sections(rows: "Sequence[ResultRow]") -> list[Section]:
    """Return the sections of an evaluation: the table, the AUC figure, where the numbers come from.

    Args:
        rows (`Sequence[ResultRow]`): results of one evaluation.

    Returns:
        `list[Section]`.
    """
    first = rows[0]
    settings = first.settings
    details = {
        "definition of the metrics": first.definition,
        "interval": f"{first.confidence:.0%}, patient-cluster bootstrap",
        "resamples": settings.get("n_bootstrap", 0),
        "seed of the bootstrap": settings.get("bootstrap_seed"),
        "seed of the training": first.seed,
    }
    figure = figure_picture(metric_by_source(_distinct(rows)), "Macro one-vs-rest AUC by source with its interval.")
    return [
        Section("Scores by source", rows=result_table(rows), figures=[figure]),
        origin_section(rows, details),
    ]


def _distinct(rows: "Sequence[ResultRow]") -> "list[ResultRow]":
    return [row for row in rows if not row.is_without_duplicates]


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
