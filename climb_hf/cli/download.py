"""The command `download`: raw data of one or several sources into a folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from climb_hf.access.downloading import DownloadReport

__all__ = ["register"]

_LISTED = 20


def download(
    names: Annotated[list[str], typer.Argument(help="Sources of `climb sources`.")],
    to: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the data; several sources get a folder each in it. $CLIMB_DATA/NAME by default."
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only files that fit this glob pattern or lie in this folder; repeatable.")
    ] = None,
    via: Annotated[str | None, typer.Option(help="Which way, where a source has several, such as kaggle.")] = None,
    from_: Annotated[
        list[Path] | None,
        typer.Option("--from", help="A file you got by hand: it is checked and unpacked; repeatable."),
    ] = None,
    accept_license: Annotated[
        bool, typer.Option("--accept-license", help="I have read the licence and accept it; recorded in the folder.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list files and sizes; nothing is written.")] = False,
    connections: Annotated[int, typer.Option(min=1, max=64, help="Files at a time, as far as the site bears it.")] = 8,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Download raw data: verified, resumed where it stopped, under an accepted licence.

    Example: climb download ptbxl --to raw/ptb-xl --accept-license
    """
    import json

    from climb_hf.access.downloading import download as fetch
    from climb_hf.access.downloading import licence_text
    from climb_hf.registry import get_source

    if from_ and len(names) > 1:
        raise typer.BadParameter("`--from` belongs to one source; name only that.")
    sources = [get_source(name) for name in names]
    reports = []
    for source in sources:
        if accept_license and not (as_json or dry_run):
            typer.echo(licence_text(source), err=True)
        report = fetch(
            source.name,
            to / source.name if to is not None and len(names) > 1 else to,
            only=tuple(only or ()),
            via=via,
            archives=tuple(from_ or ()),
            accept_license=accept_license,
            dry_run=dry_run,
            connections=connections,
            quiet=as_json,
        )
        reports.append(report)
        if not as_json:
            typer.echo(_planned(report) if dry_run else _done(report))
    if as_json:
        typer.echo(json.dumps([report.as_dict() for report in reports], indent=1))


def _planned(report: "DownloadReport") -> str:
    from climb_hf.access.files import format_bytes

    about = "about " if report.is_estimate and report.n_bytes is not None else ""
    lines = [
        f"{report.name}: {report.n_files:,} files, {about}{format_bytes(report.n_bytes)}, from {report.description}"
    ]
    for file in report.files[:_LISTED]:
        lines.append(f"  {format_bytes(file['bytes']):>12}  {file['path']}{' (unpacked)' if file['unpack'] else ''}")
    if len(report.files) > _LISTED:
        lines.append(f"  … and {len(report.files) - _LISTED:,} more")
    lines += [f"then by hand: {step}" for step in report.remaining]
    return "\n".join([*lines, f"Next: {report.next_command}"])


def _done(report: "DownloadReport") -> str:
    from climb_hf.access.files import format_bytes

    speed = f" ({format_bytes(report.received_bytes / report.seconds)}/s)" if report.seconds > 1 else ""
    lines = [
        f"{report.name}: {report.n_received:,} files downloaded, {format_bytes(report.received_bytes)}{speed}; "
        f"{report.n_kept:,} were there already"
    ]
    lines += [f"note: {note}" for note in report.notes]
    lines += [f"still by hand: {step}" for step in report.remaining]
    return "\n".join([*lines, f"Next: {report.next_command}"])


def register(app: typer.Typer) -> None:
    """Add the command of this module to the application."""
    app.command()(download)
