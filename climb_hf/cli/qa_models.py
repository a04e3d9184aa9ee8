"""The commands `climb qa …` that need a model: `run`, `finetune`, `compare`; and `export` to other frameworks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from climb_hf.protocols.data import Sources

__all__ = ["add_commands"]

_Sources = Annotated[list[str], typer.Argument(help="Sources, each NAME or NAME=DIR with its raw data.")]
_Split = Annotated[str, typer.Option(help="The split.")]
_Cache = Annotated[Path | None, typer.Option(help="Where tables are built; the cache of datasets by default.")]
_Workers = Annotated[int | None, typer.Option("--num-proc", help="Worker processes of each build.")]
_Synthetic = Annotated[bool, typer.Option("--synthetic", help="The data is synthetic: say so.")]
_Miniature = Annotated[bool, typer.Option("--miniature", help="Dry run on synthetic data, written first.")]
_MiniatureSize = Annotated[int, typer.Option("--miniature-n", help="Synthetic records per source.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
_Device = Annotated[str | None, typer.Option(help="Torch device; a GPU if there is one by default.")]
_Dtype = Annotated[str, typer.Option(help="Type of the weights: auto, float32, bfloat16, float16.")]
_Template = Annotated[Path | None, typer.Option(help="A Jinja file in place of the processor's chat template.")]
_Bootstrap = Annotated[int, typer.Option(help="Resamples of the intervals; 0 for none.")]
_Labels = Annotated[str | None, typer.Option(help="Label scheme, for sources that have several.")]
_Frames = Annotated[int | None, typer.Option(help="Pictures of a video or volume.")]
_Size = Annotated[int | None, typer.Option(help="Pictures are resized to this at build.")]
_QuestionSeed = Annotated[int, typer.Option(help="Seed of the order of the choices and of random wordings.")]
_Paraphrase = Annotated[str, typer.Option(help="Wording of the questions: a number, or random.")]


class Choosing(StrEnum):
    """How an answer is made."""

    generate = "generate"
    likelihood = "likelihood"


class Frameworks(StrEnum):
    """Frameworks that questions are exported for."""

    lmms_eval = "lmms-eval"
    vlmevalkit = "vlmevalkit"
    lighteval = "lighteval"


class Normalising(StrEnum):
    """What a log-likelihood is divided by."""

    tokens = "tokens"
    none = "none"


def _options(
    labels: str | None, num_frames: int | None, image_size: int | None, seed: int = 0, paraphrase: str = "0"
) -> dict[str, dict[str, Any]]:
    """Return the options of all sources."""
    from climb_hf.cli.qa import wording

    values = {"labels": labels, "num_frames": num_frames, "image_size": image_size}
    chosen: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    if seed:
        chosen["qa_seed"] = seed
    if paraphrase != "0":
        chosen["qa_paraphrase"] = wording(paraphrase)
    return {"*": chosen} if chosen else {}


@contextmanager
def _data(
    sources: list[str], to: Path | None, cache_dir: Path | None, miniature: bool, n: int
) -> "Iterator[tuple[Sources, Path | None]]":
    """Give folders of raw data, or synthetic copies below the folder of the run, and the cache."""
    from tempfile import TemporaryDirectory

    from climb_hf.protocols.data import parse_sources
    from climb_hf.protocols.miniature import miniature_sources

    if not miniature:
        yield parse_sources(sources), cache_dir
    elif to is not None:
        yield miniature_sources(sources, to / "miniature", n=n), cache_dir
    else:
        with TemporaryDirectory(prefix="climb-miniatures-") as folder:
            yield miniature_sources(sources, folder, n=n), cache_dir or Path(folder) / "cache"


def run(
    model: Annotated[str, typer.Argument(help="Folder or Hub repository of an image-text-to-text model or adapter.")],
    sources: _Sources,
    to: Annotated[Path, typer.Option(help="Folder for predictions.jsonl and results.jsonl; a run there goes on.")],
    split: _Split = "test",
    choice: Annotated[Choosing, typer.Option(help="Free text, or the most likely choice.")] = Choosing.generate,
    normalise: Annotated[
        Normalising, typer.Option(help="With likelihood: per answer token, or not.")
    ] = Normalising.tokens,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens of an answer at most.")] = 64,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Seed of drawn answers and of the bootstrap.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Questions per batch.")] = 8,
    limit: Annotated[int | None, typer.Option(help="Only the first questions of each source.")] = None,
    hosted: Annotated[
        str | None, typer.Option(help="Address of an OpenAI-compatible endpoint; the key in CLIMB_HOSTED_API_KEY.")
    ] = None,
    allowed_by: Annotated[
        str | None, typer.Option(help="With --hosted: the agreement that allows to send signed data there.")
    ] = None,
    workers: Annotated[int, typer.Option(help="With --hosted: requests at a time.")] = 4,
    labels: _Labels = None,
    num_frames: _Frames = None,
    image_size: _Size = None,
    question_seed: _QuestionSeed = 0,
    paraphrase: _Paraphrase = "0",
    chat_template: _Template = None,
    device: _Device = None,
    dtype: _Dtype = "auto",
    n_bootstrap: _Bootstrap = 1000,
    cache_dir: _Cache = None,
    num_proc: _Workers = None,
    synthetic: _Synthetic = False,
    miniature: _Miniature = False,
    miniature_n: _MiniatureSize = 64,
    as_json: _Json = False,
) -> None:
    """Ask a vision-language model, keep every raw answer, and score them.

    Example: climb qa run models/llava-med brain_tumor=raw/brain_tumor busi=raw/busi --to runs/zero-shot
    """
    from climb_hf.cli.app import show
    from climb_hf.protocols.qa_run import AnswerSettings, run_questions
    from climb_hf.report.qa import answer_table

    settings = AnswerSettings(cast(Any, choice.value), cast(Any, normalise.value), max_new_tokens, temperature, seed)
    with _data(sources, to, cache_dir, miniature, miniature_n) as (folders, cache):
        rows = run_questions(
            model, folders, to, split=split, settings=settings, batch_size=batch_size, limit=limit, hosted=hosted,
            allowed_by=allowed_by, workers=workers, chat_template=chat_template, device=device, dtype=dtype,
            n_bootstrap=n_bootstrap, bootstrap_seed=seed,
            options=_options(labels, num_frames, image_size, question_seed, paraphrase),
            synthetic=synthetic or miniature, cache_dir=cache, num_proc=num_proc,
        )  # fmt: skip
    show([json.loads(row.to_json()) for row in rows] if as_json else answer_table(rows), as_json=as_json)
    typer.echo(f"wrote {to / 'predictions.jsonl'} and {to / 'results.jsonl'}", err=as_json)


def finetune(
    model: Annotated[str, typer.Argument(help="Folder or Hub repository of an image-text-to-text model.")],
    sources: _Sources,
    to: Annotated[Path, typer.Option(help="Folder of the run; the adapter goes to TO/adapter.")],
    recipe: Annotated[str, typer.Option(help="A recipe of the library, or a YAML file.")] = "qa/lora",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key of the recipe: SECTION.KEY=VALUE.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Hub name of the base, for the card, where MODEL is a local copy.")
    ] = None,
    base_model_license: Annotated[str | None, typer.Option(help="Licence of the base, for the card.")] = None,
    labels: _Labels = None,
    num_frames: _Frames = None,
    image_size: _Size = None,
    question_seed: _QuestionSeed = 0,
    paraphrase: _Paraphrase = "0",
    chat_template: _Template = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint of TO.")] = False,
    cache_dir: _Cache = None,
    num_proc: _Workers = None,
    synthetic: _Synthetic = False,
    miniature: _Miniature = False,
    miniature_n: _MiniatureSize = 64,
) -> None:
    """Fine-tune a vision-language model on questions with low-rank adapters; the loss is on the answers only.

    Example: climb qa finetune models/llava-med brain_tumor=raw/brain_tumor busi=raw/busi --to runs/lora
    """
    from climb_hf.protocols.qa_finetune import finetune_questions

    with _data(sources, to, cache_dir, miniature, miniature_n) as (folders, cache):
        found = finetune_questions(
            model, folders, to, recipe=recipe, overrides=overrides or [], base_model=base_model,
            base_model_license=base_model_license, chat_template=chat_template,
            options=_options(labels, num_frames, image_size, question_seed, paraphrase), resume=resume,
            synthetic=synthetic or miniature, cache_dir=cache, num_proc=num_proc,
        )  # fmt: skip
    typer.echo(f"saved {found.adapter}; ask it with `climb qa run {to} {' '.join(sources)} --to {to / 'test'}`")


def compare(
    sources: _Sources,
    encoder: Annotated[list[str] | None, typer.Option(help="Checkpoint of `climb train`; may be repeated.")] = None,
    vlm: Annotated[
        list[Path] | None, typer.Option(help="Folder of `climb qa run`, or a file of answers; may be repeated.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder for results.jsonl and the answers of encoders.")] = None,
    split: _Split = "test",
    partial: Annotated[bool, typer.Option("--partial", help="Compare on what all of them answered.")] = False,
    n_bootstrap: _Bootstrap = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Records per batch of an encoder.")] = 64,
    cache_dir: _Cache = None,
    num_proc: _Workers = None,
    synthetic: _Synthetic = False,
    miniature: _Miniature = False,
    miniature_n: _MiniatureSize = 64,
    as_json: _Json = False,
) -> None:
    """Score encoders and vision-language models on the same questions, per modality and per source.

    Example: climb qa compare brain_tumor=raw/brain_tumor --encoder runs/mri --vlm runs/zero-shot --vlm runs/lora/test
    """
    from climb_hf.cli.app import show
    from climb_hf.protocols.qa_compare import compare_answers
    from climb_hf.report.qa import comparison_table

    with _data(sources, to, cache_dir, miniature, miniature_n) as (folders, cache):
        rows = compare_answers(
            folders, encoders=encoder or (), predictions=vlm or (), split=split, output_dir=to, partial=partial,
            n_bootstrap=n_bootstrap, seed=seed, batch_size=batch_size, synthetic=synthetic or miniature,
            cache_dir=cache, num_proc=num_proc,
        )  # fmt: skip
    if as_json:
        show([json.loads(row.to_json()) for row in rows], as_json=True)
    else:
        typer.echo("Per modality (Table 4 of the paper):")
        show(comparison_table(rows, "modality"), as_json=False)
        typer.echo("\nPer source (Table 22):")
        show(comparison_table(rows, "source"), as_json=False)
    if to is not None:
        typer.echo(f"wrote {to / 'results.jsonl'}", err=as_json)


def export(
    sources: _Sources,
    framework: Annotated[Frameworks, typer.Option("--format", help="The framework that is to read the files.")],
    to: Annotated[Path, typer.Option(help="Folder for the files.")],
    split: _Split = "test",
    limit: Annotated[int | None, typer.Option(help="Only the first questions of each source.")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens of an answer at most.")] = 64,
    labels: _Labels = None,
    num_frames: _Frames = None,
    image_size: _Size = None,
    question_seed: _QuestionSeed = 0,
    paraphrase: _Paraphrase = "0",
    cache_dir: _Cache = None,
    num_proc: _Workers = None,
    miniature: _Miniature = False,
    miniature_n: _MiniatureSize = 64,
) -> None:
    """Write questions with their pictures as lmms-eval, VLMEvalKit or lighteval read them.

    Example: climb qa export busi=raw/busi --format lmms-eval --to export/lmms
    """
    from climb_hf.protocols.data import is_synthetic
    from climb_hf.protocols.qa_run import load_questions
    from climb_hf.qa.exporting import export_questions

    with _data(sources, to, cache_dir, miniature, miniature_n) as (folders, cache):
        options = _options(labels, num_frames, image_size, question_seed, paraphrase)
        parts = load_questions(folders, split, options, cache_dir=cache, num_proc=num_proc, limit=limit)
        written = export_questions(
            parts, to, cast(Any, framework.value), split=split, max_new_tokens=max_new_tokens,
            synthetic=miniature or is_synthetic(folders),
        )  # fmt: skip
    for path in written:
        typer.echo(str(path))


def add_commands(application: typer.Typer) -> None:
    """Add the commands of this module to the group `climb qa`."""
    known = {command.name or getattr(command.callback, "__name__", "") for command in application.registered_commands}
    for command in (run, finetune, compare, export):
        if command.__name__ not in known:
            application.command()(command)
