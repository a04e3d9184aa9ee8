"""The command `fuse`: fusion of picture, signal and text for one outcome."""

from pathlib import Path
from typing import Annotated

import typer

from climb_hf.cli.options import AsJson, CacheDir, Miniature, MiniatureSize, NumProc, Overrides, Resamples

__all__ = ["register"]

_MODALITIES = ["image", "signal", "text"]


def fuse(
    source: Annotated[str, typer.Argument(help="A multimodal source, NAME or NAME=DIR with its raw data.")],
    to: Annotated[Path, typer.Option(help="Folder for results.jsonl, report.html, figures and checkpoints.")],
    task: Annotated[str, typer.Option(help="ihm48 (death within 48 hours) or los_days (length of stay).")] = "ihm48",
    strategy: Annotated[
        list[str] | None, typer.Option(help="late, mlp, cross_attention: several joined by commas; all by default.")
    ] = None,
    shots: Annotated[
        list[str] | None, typer.Option(help="full, or records per class to train on; several joined by commas.")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Runs of each kind, from the seed of the recipe on.")] = 1,
    modalities: Annotated[
        list[str] | None,
        typer.Option(help="image, signal, text: several joined by commas; all by default."),
    ] = None,
    singles: Annotated[bool, typer.Option(help="Also train on each modality alone.")] = False,
    image: Annotated[str | None, typer.Option(help="Checkpoint of the picture encoder: folder or repository.")] = None,
    signal: Annotated[str | None, typer.Option(help="Checkpoint of the signal encoder: folder or repository.")] = None,
    text: Annotated[str | None, typer.Option(help="Checkpoint of the text encoder: folder or repository.")] = None,
    recipe: Annotated[
        str | None, typer.Option(help="A recipe or a YAML file; fusion/paper, with --miniature fusion/quick.")
    ] = None,
    overrides: Overrides = None,
    miniature: Miniature = False,
    miniature_n: MiniatureSize = 256,
    n_bootstrap: Resamples = 1000,
    skip_empty: Annotated[
        bool, typer.Option("--skip-empty", help="Leave out records without any of the modalities, and count them.")
    ] = False,
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
    as_json: AsJson = False,
) -> None:
    """Train and score fusion models of picture, signal and text.

    Example: climb fuse mimic_iv=raw/mimic --task ihm48 --shots full,8 --signal models/ecg-jepa --to runs/fusion
    """
    from climb_hf.cli.app import show_results
    from climb_hf.models.fusion.configuration_fusion import STRATEGIES
    from climb_hf.protocols.fusion import fuse as run
    from climb_hf.protocols.miniature import named_sources
    from climb_hf.report.fusion import fusion_table, write_fusion_report

    counts = [_shots(name) for name in _listed(shots, ["full"])]
    with named_sources([source], to, cache_dir, miniature=miniature, n=miniature_n) as (sources, cache):
        rows = run(
            sources, to, task=task, strategies=_listed(strategy, list(STRATEGIES)), shots=counts, seeds=seeds,
            modalities=_listed(modalities, _MODALITIES), singles=singles,
            checkpoints={"image": image, "signal": signal, "text": text},
            recipe=recipe or ("fusion/quick" if miniature else "fusion/paper"), overrides=overrides or [],
            n_bootstrap=n_bootstrap, skip_empty=skip_empty, cache_dir=cache, num_proc=num_proc,
        )  # fmt: skip
    show_results(rows, fusion_table(rows), as_json=as_json)
    typer.echo(f"wrote {write_fusion_report(to, rows)}", err=as_json)


def _listed(values: list[str] | None, default: list[str]) -> list[str]:
    """Split values that are joined by commas."""
    return [part for value in values or default for part in value.split(",") if part]


def _shots(name: str) -> int | None:
    from climb_hf.errors import OptionError

    if name == "full":
        return None
    if not name.isdecimal():
        raise OptionError(f"`--shots` must be `full` or a number of records per class, found {name!r}.")
    return int(name)


def register(app: typer.Typer) -> None:
    """Add the command of this module to the application."""
    app.command()(fuse)
