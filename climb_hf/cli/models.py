"""Commands about models: `train`, `pretrain`, `evaluate`, `convert`, `push`, `quickstart`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from climb_hf.cli.options import (
    AsJson,
    CacheDir,
    Miniature,
    MiniatureSize,
    NumProc,
    Overrides,
    Recipe,
    Resamples,
    Resume,
    Sources,
    Split,
    Synthetic,
)

__all__ = ["register"]


def _say(text: str) -> None:
    from climb_hf.protocols.miniature import is_first_process

    if is_first_process():
        typer.echo(text)


def train(
    sources: Sources,
    to: Annotated[Path, typer.Option(help="Folder of the run; the checkpoint goes to TO/model.")],
    recipe: Recipe = "quick",
    overrides: Overrides = None,
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
    resume: Resume = False,
    synthetic: Synthetic = False,
    miniature: Miniature = False,
    miniature_n: MiniatureSize = 64,
    single_task: Annotated[bool, typer.Option(help="One model per source, in TO/NAME, to compare with.")] = False,
    search: Annotated[bool, typer.Option(help="Try the values of the recipe's `search`; keep the best.")] = False,
) -> None:
    """Train one encoder jointly on several sources, or one per source; with openpmc/…, on pairs of image and text.

    Example: climb train brain_tumor=raw/brain_tumor covid_blues=raw/COVID-BLUES --to runs/mri-us --recipe quick

    Example: climb train vital --miniature --recipe openpmc/quick --to runs/pairs
    """
    from climb_hf.errors import OptionError
    from climb_hf.protocols import contrastive, multitask
    from climb_hf.protocols.miniature import named_sources
    from climb_hf.protocols.search import search as run_search
    from climb_hf.protocols.single_task import train_each
    from climb_hf.training.recipes import is_contrastive, load_recipe

    pairs = is_contrastive(load_recipe(recipe, overrides or []))
    if single_task + search + (pairs and (single_task or search)) > 1:
        raise OptionError(
            "`--single-task` and `--search` exclude each other, and neither fits pairs of image and text."
        )
    options: dict[str, Any] = {
        "recipe": recipe, "overrides": overrides or [], "num_proc": num_proc, "resume": resume, "synthetic": synthetic
    }  # fmt: skip
    with named_sources(sources, to, cache_dir, miniature=miniature, n=miniature_n) as (folders, cache):
        if single_task:
            train_each(folders, to, cache_dir=cache, **options)
        elif search:
            found = run_search(folders, to, cache_dir=cache, **options)
            _say(f"{found.chosen} has the lowest held-out loss of {len(found.table)}; see {to / 'search.json'}")
        else:
            (contrastive if pairs else multitask).train(folders, to, cache_dir=cache, **options)
    saved = "one model per source" if single_task else str(to / "model")
    named = " ".join(f"{name}={folder}" for name, folder in folders.items()) if miniature else " ".join(sources)
    following = f"climb retrieve {to} --sources {named}" if pairs else f"climb evaluate {to} {named}"
    _say(f"saved {saved}; score with `{following}`")


def pretrain(
    sources: Sources,
    to: Annotated[Path, typer.Option(help="Folder of the run; the encoder goes to TO/encoder.")],
    recipe: Recipe = "pretrain/ecg_jepa",
    overrides: Overrides = None,
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
    resume: Resume = False,
    synthetic: Synthetic = False,
    miniature: Miniature = False,
    miniature_n: MiniatureSize = 64,
) -> None:
    """Pretrain an encoder without labels, by the objective of its paper.

    Example: climb pretrain chapman_shaoxing=raw/chapman ptbxl=raw/ptb-xl --to runs/jepa --recipe pretrain/ecg_jepa
    """
    from climb_hf.protocols.miniature import named_sources
    from climb_hf.protocols.pretrain import pretrain as run

    with named_sources(sources, to, cache_dir, miniature=miniature, n=miniature_n) as (folders, cache):
        result = run(
            folders, to, recipe=recipe, overrides=overrides or [], cache_dir=cache, num_proc=num_proc, resume=resume,
            synthetic=synthetic,
        )  # fmt: skip
    _say(f"saved {result.checkpoint}; train on it with `--set model.pretrained={result.checkpoint}`")


def convert(
    name: Annotated[str, typer.Argument(help="An encoder: biot, ecg_jepa, medvit … (see docs/models.md).")],
    file: Annotated[Path, typer.Argument(help="The published checkpoint.")],
    to: Annotated[Path, typer.Option(help="Folder for the converted checkpoint.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="A field that the shapes do not tell: KEY=VALUE."),
    ] = None,
) -> None:
    """Convert a published checkpoint into one that `from_pretrained` loads; nothing in the file is run.

    Example: climb convert ecg_jepa multiblock_epoch100.pth --to models/ecg-jepa
    """
    from climb_hf.protocols.convert import convert as run

    typer.echo(f"saved {run(name, file, to, overrides or [])}")


def evaluate(
    checkpoint: Annotated[str, typer.Argument(help="Folder of a run or checkpoint, or a Hub repository.")],
    sources: Sources,
    split: Split = "test",
    to: Annotated[Path | None, typer.Option(help="Folder for results.jsonl, predictions and report.html.")] = None,
    n_bootstrap: Resamples = 1000,
    definition: Annotated[
        str, typer.Option(help="climb, or paper for the numbers of the CLIMB paper's tables.")
    ] = "climb",
    subgroups: Annotated[bool, typer.Option(help="Also by sex and age band, where a source has them.")] = True,
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
    as_json: AsJson = False,
    miniature: Miniature = False,
    miniature_n: MiniatureSize = 64,
) -> None:
    """Score a checkpoint source by source, with patient-cluster bootstrap intervals.

    Example: climb evaluate runs/mri-us brain_tumor=raw/brain_tumor covid_blues=raw/COVID-BLUES --to runs/mri-us/test
    """
    from climb_hf.cli.app import show_results
    from climb_hf.protocols.miniature import named_sources
    from climb_hf.protocols.multitask import evaluate as evaluate_one
    from climb_hf.protocols.single_task import evaluate_each, is_single_task
    from climb_hf.report.results import result_table
    from climb_hf.report.runs import write_evaluation_report

    run = evaluate_each if is_single_task(checkpoint) else evaluate_one
    with named_sources(sources, to, cache_dir, miniature=miniature, n=miniature_n) as (folders, cache):
        rows = run(
            checkpoint, folders, split=split, output_dir=to, n_bootstrap=n_bootstrap, definition=definition,
            subgroups=subgroups, cache_dir=cache, num_proc=num_proc,
        )  # fmt: skip
    show_results(rows, result_table(rows), as_json=as_json)
    if to is not None:
        typer.echo(f"wrote {write_evaluation_report(to / 'report.html', checkpoint, rows)}", err=as_json)


def push(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a run or checkpoint, or of `climb prepare`.")],
    repo_id: Annotated[str, typer.Argument(help="Repository on the Hub, USER/NAME.")],
    results: Annotated[Path | None, typer.Option(help="results.jsonl of `climb evaluate`, for the card.")] = None,
    private: Annotated[bool, typer.Option(help="Make the repository private.")] = False,
    base_model: Annotated[
        str | None, typer.Option(help="Hub name of an adapter's base, where it was trained on a local copy.")
    ] = None,
) -> None:
    """Publish a checkpoint: model, processor, vocabulary, card and results, in one commit. Or prepared data.

    Example: climb push runs/mri-us somebody/climb-mri-us --results runs/mri-us/test/results.jsonl
    """
    from climb_hf.protocols.publish import publish

    typer.echo(publish(checkpoint, repo_id, results=results, private=private, base_model=base_model))


def quickstart(
    to: Annotated[Path, typer.Option(help="Folder for data, model and report.")] = Path("climb-quickstart"),
    n: Annotated[int, typer.Option(help="Synthetic records per source.")] = 240,
    seed: Annotated[int, typer.Option(help="Seed of data and training.")] = 0,
) -> None:
    """Try everything on synthetic data: write, load, train, score, save, reload, predict, report. Under 3 minutes.

    Example: climb quickstart --to runs/quickstart
    """
    from climb_hf.protocols.quickstart import quickstart as run

    run(to, n=n, seed=seed, say=typer.echo)


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the application."""
    for command in (train, pretrain, evaluate, convert, push, quickstart):
        app.command()(command)
