"""Commands about what a trained encoder is worth elsewhere: `probe` and `transfer`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from climb_hf.cli.options import (
    AsJson,
    CacheDir,
    Miniature,
    MiniatureSize,
    NumProc,
    Resamples,
    SourceOptions,
    Sources,
    Split,
    parse_options,
)

__all__ = ["register"]

_FeatureCache = Annotated[Path | None, typer.Option(help="Where features are kept; beside the tables by default.")]
_Recipe = Annotated[str | None, typer.Option(help="Architecture of MODEL `random`: a recipe, or a YAML file.")]
_Overrides = Annotated[
    list[str] | None, typer.Option("--recipe-set", help="Override a key of the recipe: SECTION.KEY=VALUE.")
]
_PROBE_METRICS = ("f1", "f1_positive", "auc", "accuracy", "top1")


def probe(
    model: Annotated[str, typer.Argument(help="Folder of a run or checkpoint, a Hub repository, or `random`.")],
    sources: Sources,
    to: Annotated[Path, typer.Option(help="Folder for results.jsonl, predictions and the layers.")],
    options: SourceOptions = None,
    split: Split = "test",
    epochs: Annotated[int, typer.Option(help="Passes over the features.")] = 40,
    lr: Annotated[float, typer.Option(help="Learning rate at the start.")] = 0.1,
    batch_size: Annotated[int, typer.Option(help="Rows per step.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed of the layer and of the order.")] = 0,
    shuffle: Annotated[bool, typer.Option(help="New order every epoch; off as in the published files.")] = True,
    best_on_test: Annotated[bool, typer.Option(help="Also report the best epoch on the scored split.")] = False,
    n_bootstrap: Resamples = 1000,
    recipe: _Recipe = None,
    recipe_set: _Overrides = None,
    miniature: Miniature = False,
    miniature_n: MiniatureSize = 64,
    feature_cache: _FeatureCache = None,
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
    as_json: AsJson = False,
) -> None:
    """Train one linear layer on the frozen features of a model, source by source, and score it.

    Example: climb probe runs/mri-us brain_tumor=raw/brain_tumor covid_blues=raw/COVID-BLUES --to runs/mri-us/probe
    """
    from climb_hf.cli.app import show, show_results
    from climb_hf.protocols.linear_head import ProbeSettings
    from climb_hf.protocols.linear_probe import linear_probe, random_encoder
    from climb_hf.protocols.miniature import named_sources
    from climb_hf.report.results import result_table

    settings = ProbeSettings(epochs=epochs, learning_rate=lr, batch_size=batch_size, seed=seed, shuffle=shuffle)
    encoder: Any = random_encoder(recipe or "quick", recipe_set or []) if model == "random" else model
    with named_sources(sources, to, cache_dir, miniature=miniature, n=miniature_n) as (folders, cache):
        rows = linear_probe(
            encoder, folders, settings=settings, split=split, output_dir=to, n_bootstrap=n_bootstrap,
            best_on_test=best_on_test, feature_cache=feature_cache, cache_dir=cache, num_proc=num_proc,
            options=_source_options(encoder, options or [], list(folders)),
        )  # fmt: skip
    last = [row for row in rows if row.settings["selection"] == "last epoch"]
    show_results(rows, result_table(last, _PROBE_METRICS), as_json=as_json)
    if best_on_test and not as_json:
        typer.echo("\nbest epoch on the scored split (optimistic):")
        show(result_table([row for row in rows if row not in last], _PROBE_METRICS), as_json=False)


def _source_options(encoder: Any, texts: list[str], names: list[str]) -> dict[str, dict[str, Any]] | None:  # noqa: ANN401
    """Return the options of `--set` over those the checkpoint was trained with; `None` where there are none."""
    from climb_hf.protocols.encoders import checkpoint_facts
    from climb_hf.protocols.linear_probe import data_options

    if not texts:
        return None
    found = data_options(checkpoint_facts(encoder) if isinstance(encoder, str) else encoder.facts)
    for name, own in parse_options(texts, names).items():
        found[name] = {**found.get(name, {}), **own}
    return found


def transfer(
    model: Annotated[
        str | None, typer.Argument(help="Folder of a run or checkpoint, a Hub repository, or `random`.")
    ] = None,
    more_shots: Annotated[list[str] | None, typer.Argument(hidden=True, metavar="")] = None,
    to: Annotated[str | None, typer.Option(help="The new source, NAME or NAME=DIR with its raw data.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for results.jsonl, figures and report.html.")] = None,
    shots: Annotated[str | None, typer.Option(help="Examples per class, such as 1 8 32 full (the default).")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds; 5 by default.")] = None,
    method: Annotated[str, typer.Option(help="full (fine-tuning), linear (frozen features) or lora.")] = "full",
    against: Annotated[str | None, typer.Option(help="A second checkpoint, or `random` weights.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the sample.")] = 20,
    min_steps: Annotated[int | None, typer.Option(help="Optimizer steps at least; 100 by default.")] = None,
    batch_size: Annotated[int, typer.Option(help="Records per step.")] = 16,
    lr: Annotated[float | None, typer.Option(help="Learning rate; 5e-4 for full, 1e-3 for lora.")] = None,
    training_set: Annotated[
        list[str] | None, typer.Option("--set", help="A further training argument: KEY=VALUE.")
    ] = None,
    split: Split = "test",
    trained: Annotated[
        list[str] | None, typer.Option(help="Raw data of a training source, NAME=DIR: look for shared records.")
    ] = None,
    allow_seen: Annotated[bool, typer.Option(help="Go on although the model has seen the source.")] = False,
    n_bootstrap: Resamples = 1000,
    recipe: _Recipe = None,
    recipe_set: _Overrides = None,
    miniature: Miniature = False,
    miniature_n: MiniatureSize = 64,
    list_tasks: Annotated[bool, typer.Option("--list", help="Show the ten out-of-distribution tasks.")] = False,
    feature_cache: _FeatureCache = None,
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
    as_json: AsJson = False,
) -> None:
    """Adapt a model to a new source with a few examples per class; a curve over k with intervals over seeds.

    Example: climb transfer runs/mri --to covid_blues=raw/COVID-BLUES --shots 1 8 full --against random --out runs/few
    """
    from climb_hf.cli.app import show, show_results
    from climb_hf.protocols.adapting import AdaptSettings
    from climb_hf.protocols.data import parse_sources
    from climb_hf.protocols.miniature import named_sources
    from climb_hf.protocols.ood_tasks import ood_table
    from climb_hf.protocols.transfer import transfer as run
    from climb_hf.report.transfer import transfer_table

    if list_tasks:
        show(ood_table(), as_json=as_json)
        return
    if model is None or to is None or out is None:
        raise typer.BadParameter("MODEL, --to and --out are needed; `--list` shows the out-of-distribution tasks.")
    chosen = _shots(shots, more_shots or [], ["1", "full"] if miniature else ["1", "8", "32", "full"])
    settings = AdaptSettings(
        epochs=epochs, min_steps=(20 if miniature else 100) if min_steps is None else min_steps,
        batch_size=batch_size, learning_rate=lr, training=_values(training_set or []),
    )  # fmt: skip
    with named_sources([to], out, cache_dir, miniature=miniature, n=miniature_n) as (folders, cache):
        ((name, folder),) = folders.items()
        rows = run(
            model, name, folder, shots=chosen,
            seeds=(2 if miniature else 5) if seeds is None else seeds, method=method, against=against,  # type: ignore[arg-type]
            recipe=recipe or ("quickstart" if miniature else None), overrides=recipe_set or [], settings=settings,
            split=split, trained_data=parse_sources(trained) if trained else None, allow_seen=allow_seen,
            output_dir=out, n_bootstrap=n_bootstrap, feature_cache=feature_cache, cache_dir=cache, num_proc=num_proc,
        )  # fmt: skip
    show_results(rows, transfer_table(rows), as_json=as_json)
    typer.echo(f"wrote {out / 'report.html'}", err=as_json)


def _shots(first: str | None, more: list[str], default: list[str]) -> list[int | str]:
    """Read `--shots 1 8 32 full`: an option takes one value, the others arrive as arguments; commas do as well."""
    if first is None and more:
        raise typer.BadParameter(f"unexpected arguments {more}; one model is adapted to one source (`--to`).")
    parts = default if first is None else " ".join([first, *more]).replace(",", " ").split()
    return [int(part) if part.isdecimal() else part for part in parts]


def _values(pairs: list[str]) -> dict[str, Any]:
    """Read KEY=VALUE as recipes do, where `1e-4` is a number."""
    from climb_hf.training.recipes import load_recipe

    found = load_recipe("quick", [f"training.{pair}" for pair in pairs])["training"]
    return {name: found[name] for name in (pair.partition("=")[0].strip() for pair in pairs)}


def register(app: typer.Typer) -> None:
    """Add the commands of this module to the application."""
    for command in (probe, transfer):
        app.command()(command)
