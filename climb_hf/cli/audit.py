"""The command `audit`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from climb_hf.cli.options import AsJson, Miniature, MiniatureSize, Sources

__all__ = ["FailOn", "register"]


class FailOn(StrEnum):
    """What makes the command end with exit code 1."""

    leak = "leak"
    warning = "warning"


def audit(
    sources: Sources,
    split: Annotated[list[str] | None, typer.Option(help="Only this split; may be repeated.")] = None,
    split_by: Annotated[str | None, typer.Option(help="Look at this split of the sources, such as paper.")] = None,
    near: Annotated[bool, typer.Option(help="Look for near duplicates too, which decodes every file once.")] = True,
    radius: Annotated[int, typer.Option(min=0, max=16, help="Bits of 64 in which near duplicates may differ.")] = 8,
    to: Annotated[Path | None, typer.Option(help="Folder for audit.json and audit.html.")] = None,
    thumbnails: Annotated[
        bool | None,
        typer.Option(help="Show pictures in audit.html; by default where the licences of the sources allow it."),
    ] = None,
    fail_on: Annotated[FailOn | None, typer.Option(help="Exit with 1 if there is one, or something worse.")] = None,
    cache_dir: Annotated[Path | None, typer.Option(help="Where prints of files are remembered.")] = None,
    num_proc: Annotated[int | None, typer.Option(help="Worker processes; all cores by default.")] = None,
    miniature: Miniature = False,
    miniature_n: MiniatureSize = 64,
    as_json: AsJson = False,
) -> None:
    """Find leaks, duplicates and implausible values within and across sources and splits.

    Example: climb audit brain_tumor=raw/brain_tumor brain_mri=raw/brain_mri --to audits/mri --fail-on leak
    """
    import json

    from climb_hf.auditing.run import audit as run
    from climb_hf.protocols.miniature import named_sources

    options = {"*": {"split_by": split_by}} if split_by else None
    with named_sources(sources, to, cache_dir, miniature=miniature, n=miniature_n) as (folders, cache):
        report = run(
            folders, split or None, options=options, near=near, radius=radius, cache_dir=cache, num_proc=num_proc
        )
        typer.echo(json.dumps(report.as_dict(), indent=1, ensure_ascii=False) if as_json else str(report))
        if to is not None:
            report.write_json(to / "audit.json")
            page = report.write_html(to / "audit.html", thumbnails=thumbnails)
            typer.echo(f"wrote {to / 'audit.json'} and {page}", err=as_json)
    worst = report.worst()
    if fail_on is not None and worst in ("leak", fail_on.value):
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(audit)
