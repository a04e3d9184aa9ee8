"""Commands about data: `sources`, `info`, `doctor`, `miniature`."""

from pathlib import Path
from typing import Annotated

import typer

from climb_hf.cli.options import AsJson
from climb_hf.report.tables import format_table

__all__ = ["register"]


def sources(
    modality: Annotated[str | None, typer.Option(help="Only this modality, such as ECG.")] = None,
    family: Annotated[str | None, typer.Option(help="Only this family: image, frames, signal, graph, …")] = None,
    access: Annotated[
        str | None, typer.Option(help="Only this access level: open, registration, credentialed, …")
    ] = None,
    benchmark: Annotated[str | None, typer.Option(help="Only the sources of climb, or of openpmc.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the sources with modality, access, licence and published sizes.

    Example: climb sources --family image --access open
    """
    from climb_hf.cli.app import show
    from climb_hf.report.sources import source_rows

    show(source_rows(modality, family, access, benchmark), as_json=as_json)


def info(
    name: Annotated[str, typer.Argument(help="A source of `climb sources`.")],
    as_json: AsJson = False,
) -> None:
    """Print everything a user must know about a source, how to get it included.

    Example: climb info ptbxl
    """
    import json

    from climb_hf.report.sources import source_facts, source_text

    typer.echo(json.dumps(source_facts(name), indent=1) if as_json else source_text(name))


def doctor(
    name: Annotated[str, typer.Argument(help="A source of `climb sources`.")],
    data_dir: Annotated[Path | None, typer.Option(help="The folder to look at; $CLIMB_DATA/NAME by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare a folder of raw data with what the source expects: release, tables, files, records, what to do next.

    Example: climb doctor brain_tumor --data-dir raw/brain_tumor
    """
    import json

    from climb_hf.diagnosis import diagnose

    diagnosis = diagnose(name, data_dir, progress=not as_json)
    if as_json:
        typer.echo(json.dumps(diagnosis.as_dict(), indent=1))
    else:
        release = f" ({diagnosis.release})" if diagnosis.release else ""
        typer.echo(f"{name}: {'root' if diagnosis.recognised else 'NOT the layout,'} {diagnosis.root}{release}\n")
        for rows in (diagnosis.tables, diagnosis.folders, diagnosis.split_rows()):
            if rows:
                typer.echo(f"{format_table(rows)}\n")
        for finding in diagnosis.findings:
            typer.echo(f"- {finding}")
        typer.echo(f"\nNext: {diagnosis.next_command}")
    if not diagnosis.recognised:
        raise typer.Exit(1)


def miniature(
    name: Annotated[str, typer.Argument(help="A source of `climb sources`.")],
    to: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    n: Annotated[int, typer.Option(help="Number of records.")] = 32,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic content.")] = 0,
) -> None:
    """Write a synthetic raw copy of a source in its publisher's format, to try everything before real data is there.

    Example: climb miniature ptbxl raw/ptbxl-synthetic --n 64
    """
    from climb_hf.miniatures import miniature as make

    expected = make(name, to, n=n, seed=seed)
    typer.echo(f"wrote {len(expected)} synthetic records of {name} to {to}")
    typer.echo(f"load them: datasets.load_dataset('climb', {name!r}, data_dir={str(to)!r})")


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the application."""
    for command in (sources, info, doctor, miniature):
        app.command()(command)
