"""Commands about image-text encoders: `retrieve`, `zeroshot`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from climb_hf.cli.options import (
    AsJson,
    CacheDir,
    Device,
    Miniature,
    MiniatureSize,
    NumProc,
    Resamples,
    SourceOptions,
    Split,
    Synthetic,
    parse_options,
)

if TYPE_CHECKING:
    from climb_hf.results import ResultRow

__all__ = ["register"]

_Model = Annotated[str, typer.Argument(help="Folder of a run or checkpoint, or a Hub repository.")]
_Sources = Annotated[
    list[str], typer.Option("--source", "--sources", help="NAME or NAME=DIR with its raw data; may be repeated.")
]
_Seed = Annotated[int, typer.Option(help="Seed of the bootstrap.")]
_Length = Annotated[int | None, typer.Option(help="Tokens kept of a text; all that the encoder reads by default.")]
_Batch = Annotated[int, typer.Option(help="Records per batch.")]


def retrieve(
    model: _Model,
    source: _Sources,
    options: SourceOptions = None,
    split: Annotated[
        str | None, typer.Option(help="The split to score; that of the published numbers by default.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder for results.jsonl and the ranks of every query.")] = None,
    k: Annotated[list[int] | None, typer.Option("--k", help="Depth of recall; may be repeated. 10, 50, 200.")] = None,
    positives: Annotated[
        list[str] | None, typer.Option(help="What is a match: row, text (same text), group; may be repeated.")
    ] = None,
    ties: Annotated[
        str, typer.Option(help="Rule for equal scores: expected, optimistic or pessimistic.")
    ] = "expected",
    max_length: _Length = None,
    n_bootstrap: Resamples = 1000,
    seed: _Seed = 0,
    batch_size: _Batch = 64,
    backend: Annotated[str, typer.Option(help="blocks, or faiss; the numbers are the same.")] = "blocks",
    device: Device = None,
    miniature: Miniature = False,
    miniature_n: MiniatureSize = 64,
    synthetic: Synthetic = False,
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
    as_json: AsJson = False,
) -> None:
    """Score how well an image-text encoder finds texts by images and images by texts.

    Example: climb retrieve runs/openpmc --source deepeyenet=raw/DeepEyeNet --source quilt1m=raw/quilt --to runs/r
    """
    from climb_hf.metrics.retrieval import DEPTHS
    from climb_hf.protocols.miniature import named_sources
    from climb_hf.protocols.retrieval import retrieve as run
    from climb_hf.report.image_text import retrieval_table

    with named_sources(source, to, cache_dir, miniature=miniature, n=miniature_n) as (sources, cache):
        rows = run(
            model, sources, split=split, output_dir=to, ks=k or DEPTHS, positives=positives or ("row", "text"),
            ties=cast(Any, ties), max_length=max_length, n_bootstrap=n_bootstrap, seed=seed, batch_size=batch_size,
            backend=cast(Any, backend), device=device, synthetic=synthetic, cache_dir=cache, num_proc=num_proc,
            options=parse_options(options or [], list(sources)),
        )  # fmt: skip
    _show(rows, retrieval_table(rows), to, as_json=as_json)


def zeroshot(
    model: _Model,
    source: _Sources,
    options: SourceOptions = None,
    split: Split = "test",
    to: Annotated[Path | None, typer.Option(help="Folder for results.jsonl, prompts.json and the cosines.")] = None,
    templates: Annotated[
        list[str] | None, typer.Option(help="Template set: openpmc, domain; may be repeated. Both by default.")
    ] = None,
    template: Annotated[
        list[str] | None, typer.Option(help="A sentence of your own with {} for the class; may be repeated.")
    ] = None,
    names: Annotated[Path | None, typer.Option(help="YAML file: names of the classes in prompts by source.")] = None,
    max_length: _Length = None,
    n_bootstrap: Resamples = 1000,
    seed: _Seed = 0,
    batch_size: _Batch = 64,
    device: Device = None,
    miniature: Miniature = False,
    miniature_n: MiniatureSize = 64,
    synthetic: Synthetic = False,
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
    as_json: AsJson = False,
) -> None:
    """Classify images by prompts, without training, and score it source by source.

    Example: climb zeroshot runs/openpmc --source pcam=raw/pcam --source bach=raw/bach --templates domain --to runs/z
    """
    from climb_hf.protocols.miniature import named_sources
    from climb_hf.protocols.prompts import TEMPLATE_SETS, read_names
    from climb_hf.protocols.zero_shot import zero_shot as run
    from climb_hf.report.image_text import zero_shot_table

    given = None if names is None else read_names(names)
    chosen = templates if templates or template else TEMPLATE_SETS
    with named_sources(source, to, cache_dir, miniature=miniature, n=miniature_n) as (sources, cache):
        rows = run(
            model, sources, split=split, output_dir=to, templates=chosen or (), own_templates=template or (),
            names=given, max_length=max_length, n_bootstrap=n_bootstrap, seed=seed, batch_size=batch_size,
            device=device, synthetic=synthetic, cache_dir=cache, num_proc=num_proc,
            options=parse_options(options or [], list(sources)),
        )  # fmt: skip
    _show(rows, zero_shot_table(rows), to, as_json=as_json)


def _show(rows: "list[ResultRow]", table: list[dict[str, object]], to: Path | None, *, as_json: bool) -> None:
    """Print the table, or all rows as strict JSON (undefined values are `null`)."""
    from climb_hf.cli.app import show_results

    show_results(rows, table, as_json=as_json)
    if to is not None:
        typer.echo(f"wrote {to / 'results.jsonl'}", err=as_json)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the application."""
    for command in (retrieve, zeroshot):
        app.command()(command)
