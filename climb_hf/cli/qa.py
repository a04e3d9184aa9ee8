"""The commands `climb qa …`: questions from sources, scores from answers. The rest is in `climb_hf.cli.qa_models`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from climb_hf.cli.options import AsJson, Miniature, MiniatureSize, Resamples, Sources, Synthetic

__all__ = ["application", "register"]

application = typer.Typer(
    name="qa",
    help="CLIMB-QA: sources as questions for vision-language models. Example: climb qa build brain_tumor --to qa",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class FileFormat(StrEnum):
    """Formats of the files of questions."""

    jsonl = "jsonl"
    parquet = "parquet"


class ChoiceOrder(StrEnum):
    """Orders of the choices."""

    shuffled = "shuffled"
    fixed = "fixed"


class Hedging(StrEnum):
    """What an answer that names several choices where one is right, or all, counts as."""

    invalid = "invalid"
    named = "named"


class Uncertain(StrEnum):
    """What choices count as that the publisher is not sure of."""

    ignore = "ignore"
    negative = "negative"


@application.command()
def build(
    sources: Sources,
    to: Annotated[Path, typer.Option(help="Folder for SOURCE/SPLIT.jsonl and climb_qa.json.")],
    split: Annotated[str | None, typer.Option(help="Only this split; all by default.")] = None,
    file_format: Annotated[FileFormat, typer.Option("--format", help="Format of the files.")] = FileFormat.jsonl,
    embed: Annotated[
        bool, typer.Option("--embed", help="Put the pictures into the files (Parquet); decodes videos and volumes.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the order of the choices and of random wordings.")] = 0,
    paraphrase: Annotated[str, typer.Option(help="Wording of the questions: a number, or random.")] = "0",
    order: Annotated[ChoiceOrder, typer.Option(help="Order of the choices.")] = ChoiceOrder.shuffled,
    labels: Annotated[str | None, typer.Option(help="Label scheme, for sources that have several.")] = None,
    split_by: Annotated[str | None, typer.Option(help="Split of the sources, such as paper.")] = None,
    num_frames: Annotated[int | None, typer.Option(help="Frames of a video or volume, with --embed.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first damaged record.")] = False,
    synthetic: Synthetic = False,
    miniature: Miniature = False,
    miniature_n: MiniatureSize = 64,
    as_json: AsJson = False,
) -> None:
    """Write the questions of sources as JSON lines or Parquet, without opening a picture.

    Example: climb qa build brain_tumor=raw/brain_tumor busi=raw/busi --to qa --split test
    """
    from dataclasses import asdict

    from climb_hf.cli.app import show
    from climb_hf.protocols.miniature import named_sources
    from climb_hf.qa.build import build_files

    options = {"labels": labels, "split_by": split_by, "num_frames": num_frames, "strict": strict or None}
    chosen = {key: value for key, value in options.items() if value is not None}
    with named_sources(sources, to, miniature=miniature, n=miniature_n) as (folders, _):
        built = build_files(
            folders, to, split=split, file_format=file_format.value, embed=embed, seed=seed,
            paraphrase=wording(paraphrase), order=order.value, options={"*": chosen} if chosen else None,
            synthetic=synthetic,
        )  # fmt: skip
    show([asdict(file) for file in built], as_json=as_json)
    lacking = sorted({file.source for file in built if file.with_images < file.questions})
    if lacking and not embed:
        typer.echo(
            f"without pictures: {', '.join(lacking)} (they must be decoded: --format parquet --embed, or "
            "load_dataset('climb', NAME, qa=True); questions without pictures by design have none)",
            err=True,
        )


def wording(text: str) -> int | Literal["random"]:
    """Return a wording as typed on the command line: a number, or `random`."""
    if text == "random":
        return "random"
    if not text.isdigit():
        raise typer.BadParameter(f"expected a number or `random`, got {text!r}.", param_hint="--paraphrase")
    return int(text)


@application.command()
def score(
    predictions: Annotated[Path, typer.Argument(help="JSON lines with id, source and the answer of the model.")],
    questions: Annotated[
        Path | None, typer.Option(help="Questions of `climb qa build`, where the answers come without them.")
    ] = None,
    field: Annotated[str, typer.Option(help="Column of the answers.")] = "prediction",
    to: Annotated[Path | None, typer.Option(help="File for the result rows, such as results.jsonl.")] = None,
    parsed: Annotated[Path | None, typer.Option(help="File for what was understood, row by row.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Score what is there if questions lack answers.")] = False,
    hedges: Annotated[Hedging, typer.Option(help="Answers that name too many choices.")] = Hedging.invalid,
    uncertain: Annotated[Uncertain, typer.Option(help="Choices that are not certain.")] = Uncertain.ignore,
    n_bootstrap: Resamples = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    model: Annotated[str | None, typer.Option(help="Name of the model, for the result rows.")] = None,
    synthetic: Synthetic = False,
    as_json: AsJson = False,
) -> None:
    """Score the answers of a model: exact match of answer sets, rates per class, invalid answers apart.

    Example: climb qa score answers.jsonl --questions qa --to results/qa.jsonl
    """
    from climb_hf.cli.app import show
    from climb_hf.qa.scoring import score_predictions
    from climb_hf.results import write_results

    rows = score_predictions(
        predictions, questions=questions, field=field, partial=partial, hedges=hedges.value,
        uncertain=uncertain.value, n_bootstrap=n_bootstrap, seed=seed, synthetic=synthetic, parsed_to=parsed,
        model=model,
    )  # fmt: skip
    if to is not None:
        write_results(to, rows)
    show(
        [
            {
                "level": row.level,
                "source": row.source + ("" if row.level != "overall" else f" (mean over {row.settings['average']})"),
                "metric": row.metric,
                "value": round(row.value, 4) if row.is_defined else None,
                "interval": None if row.interval is None else [round(end, 4) for end in row.interval],
                "n": row.n,
                "note": row.reason or ("without duplicates" if row.is_without_duplicates else ""),
            }
            for row in rows
        ],
        as_json=as_json,
    )


def register(app: typer.Typer) -> None:
    """Add the group of commands to the application."""
    from climb_hf.cli import qa_models

    qa_models.add_commands(application)
    app.add_typer(application)
