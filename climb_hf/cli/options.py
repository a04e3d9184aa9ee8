"""Arguments and options that several commands share, so that they are called and explained alike everywhere."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AsJson",
    "CacheDir",
    "Device",
    "Miniature",
    "MiniatureSize",
    "NumProc",
    "Overrides",
    "Recipe",
    "Resamples",
    "Resume",
    "Sources",
    "Split",
    "Synthetic",
]

Sources = Annotated[list[str], typer.Argument(help="Sources, each NAME or NAME=DIR with its raw data.")]
Split = Annotated[str, typer.Option(help="The split to score.")]
Recipe = Annotated[str, typer.Option(help="A recipe of the library, or a YAML file.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="Override a key of the recipe: SECTION.KEY=VALUE.")]
Resume = Annotated[bool, typer.Option(help="Go on from the last checkpoint of TO.")]
Resamples = Annotated[int, typer.Option("--n-bootstrap", help="Bootstrap resamples for the intervals; 0 for none.")]
Device = Annotated[str | None, typer.Option(help="Torch device; a GPU if there is one by default.")]
CacheDir = Annotated[Path | None, typer.Option(help="Where tables are built; the cache of datasets by default.")]
NumProc = Annotated[int | None, typer.Option("--num-proc", help="Worker processes of each build.")]
Synthetic = Annotated[bool, typer.Option("--synthetic", help="The data is synthetic: say so. Miniatures are known.")]
Miniature = Annotated[
    bool, typer.Option("--miniature", help="Dry run: write synthetic data of each source first, and use that.")
]
MiniatureSize = Annotated[int, typer.Option("--miniature-n", help="Synthetic records per source.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
