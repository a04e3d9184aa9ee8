"""The command `fuse`: fusion of picture, signal and text for one outcome."""

from pathlib import Path
from typing import Annotated

import typer

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
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key of the recipe: SECTION.KEY=VALUE.")
    ] = None,
    miniature: Annotated[bool, typer.Option("--miniature", help="Run on synthetic data, written to TO/data.")] = False,
    n: Annotated[int, typer.Option(help="Records of the synthetic data.")] = 256,
    n_bootstrap: Annotated[int, typer.Option(help="Bootstrap resamples for the intervals; 0 for none.")] = 1000,
    skip_empty: Annotated[
        bool, typer.Option("--skip-empty", help="Leave out records without any of the modalities, and count them.")
    ] = False,
    cache_dir: Annotated[Path | None, typer.Option(help="Where tables are built.")] = None,
    num_proc: Annotated[int | None, typer.Option("--num-proc", help="Worker processes of the build.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Train and score fusion models of picture, signal and text.

    Example: climb fuse mimic_iv=raw/mimic --task ihm48 --shots full,8 --signal models/ecg-jepa --to runs/fusion
    """
    from climb_hf.cli.app import show
    from climb_hf.models.fusion.configuration_fusion import STRATEGIES
    from climb_hf.protocols.data import parse_sources
    from climb_hf.protocols.fusion import fuse as run
    from climb_hf.protocols.miniature import miniature_sources
    from climb_hf.report.fusion import fusion_table, write_fusion_report

    counts = [_shots(name) for name in _listed(shots, ["full"])]
    sources = miniature_sources([source], to / "data", n=n) if miniature else parse_sources([source])
    rows = run(
        sources, to, task=task, strategies=_listed(strategy, list(STRATEGIES)), shots=counts, seeds=seeds,
        modalities=_listed(modalities, _MODALITIES), singles=singles,
        checkpoints={"image": image, "signal": signal, "text": text},
        recipe=recipe or ("fusion/quick" if miniature else "fusion/paper"), overrides=overrides or [],
        n_bootstrap=n_bootstrap, skip_empty=skip_empty, cache_dir=cache_dir or (to / "cache" if miniature else None),
        num_proc=num_proc, synthetic=miniature,
    )  # fmt: skip
    show([dict(vars(row)) for row in rows] if as_json else fusion_table(rows), as_json=as_json)
    typer.echo(f"wrote {write_fusion_report(to, rows)}", err=as_json)


def _listed(values: list[str] | None, default: list[str]) -> list[str]:
    """Split values that are joined by commas."""
    return [part for value in values or default for part in value.split(",") if part]


def _shots(name: str) -> int | None:
    from climb_hf.errors import OptionError

    if name == "full":
        return None
    if not name.isdigit():
        raise OptionError(f"`--shots` must be `full` or a number of records per class, found {name!r}.")
    return int(name)


def register(app: typer.Typer) -> None:
    """Add the command of this module to the application."""
    app.command()(fuse)
