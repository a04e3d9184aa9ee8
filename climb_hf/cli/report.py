"""Command about results: `report`."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def report(
    to: Annotated[Path, typer.Option(help="Folder of the report: report.html, tables, figures.")],
    results: Annotated[
        list[Path] | None, typer.Argument(help="results.jsonl files, or folders that hold some.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Put numbers of `paper` (CLIMB) or `openpmc` beside ours; may be repeated."),
    ] = None,
    paper_model: Annotated[
        list[str] | None,
        typer.Option(help="NAME=ROW or NAME=ROW:PRETRAIN: the row of a checkpoint in the paper; NAME may hold `*`."),
    ] = None,
    compare: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Two folders of `climb evaluate` on the same records, to test.")
    ] = None,
    paper_only: Annotated[bool, typer.Option(help="The papers' own tables, without results.")] = False,
    n_bootstrap: Annotated[int, typer.Option(help="Resamples of the comparison.")] = 1000,
) -> None:
    """Write the papers' tables and figures from result files, as one page, Markdown, CSV, PNG and SVG.

    Example: climb report runs/mri-us/test --to runs/report --against paper
    """
    from climb_hf.report.benchmark import write_benchmark_report
    from climb_hf.report.naming import Names

    page = write_benchmark_report(
        results or [], to, against=against or [], names=Names.parse(paper_model or []), compare=compare,
        paper_only=paper_only, n_bootstrap=n_bootstrap,
    )  # fmt: skip
    typer.echo(f"wrote {page}")


def register(app: typer.Typer) -> None:
    """Add the command of this module to the application."""
    app.command()(report)
