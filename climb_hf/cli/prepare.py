"""The command `prepare`: raw data to Parquet shards."""

from typing import Annotated

import typer

from climb_hf.cli.options import AsJson, Miniature, MiniatureSize, SourceOptions, Sources, Synthetic, parse_options

__all__ = ["register"]


def prepare(
    sources: Sources,
    to: Annotated[str, typer.Option(help="A folder, s3://BUCKET/PREFIX, or hf://datasets/USER/NAME.")],
    options: SourceOptions = None,
    engine: Annotated[str, typer.Option(help="local, or ray for many machines.")] = "local",
    num_proc: Annotated[int | None, typer.Option("--num-proc", help="Worker processes; all cores by default.")] = None,
    address: Annotated[str | None, typer.Option(help="Address of the Ray cluster.")] = None,
    shard_size: Annotated[str, typer.Option(help="Size of a shard, about.")] = "500MB",
    private: Annotated[bool, typer.Option(help="Make the repository of the Hub private.")] = False,
    synthetic: Synthetic = False,
    overwrite: Annotated[bool, typer.Option(help="Replace what was prepared there otherwise.")] = False,
    miniature: Miniature = False,
    miniature_n: MiniatureSize = 64,
    as_json: AsJson = False,
) -> None:
    """Write sources as Parquet that `datasets.load_dataset` loads without this package. Resumes where it stopped.

    Example: climb prepare ptbxl=raw/ptb-xl brain_tumor=raw/brain_tumor --to prepared --set image_size=224
    """
    from climb_hf.cli.app import show
    from climb_hf.prepare import prepare as run
    from climb_hf.protocols.miniature import named_sources

    with named_sources(sources, None, miniature=miniature, n=miniature_n) as (folders, _):
        done = run(
            folders, to, options=parse_options(options or [], list(folders)), engine=engine, num_proc=num_proc,
            address=address, shard_size=shard_size, private=private, synthetic=synthetic, overwrite=overwrite,
        )  # fmt: skip
    columns = ["source", "rows", "shards", "reused", "skipped", "bytes", "manifest"]
    rows = [{**vars(part), "manifest": part.sha256[:16]} for part in done]
    show([dict(vars(part)) for part in done] if as_json else rows, as_json=as_json, columns=columns)
    if not as_json and "://" not in to:
        typer.echo(f"load it: datasets.load_dataset({to!r}, {done[0].source!r})")


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the application."""
    app.command()(prepare)
