"""The commands `climb qa …` that need a model: `run`, `finetune`, `compare`; and `export` to other frameworks."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from climb_hf.cli.options import (
    AsJson,
    CacheDir,
    Device,
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

__all__ = ["add_commands"]

_Dtype = Annotated[str, typer.Option(help="Type of the weights: auto, float32, bfloat16, float16.")]
_Template = Annotated[Path | None, typer.Option(help="A Jinja file in place of the processor's chat template.")]
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


def run(
    model: Annotated[str, typer.Argument(help="Folder or Hub repository of an image-text-to-text model or adapter.")],
    sources: Sources,
    to: Annotated[Path, typer.Option(help="Folder for predictions.jsonl and results.jsonl; a run there goes on.")],
    split: Split = "test",
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
    device: Device = None,
    dtype: _Dtype = "auto",
    n_bootstrap: Resamples = 1000,
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
    synthetic: Synthetic = False,
    miniature: Miniature = False,
    miniature_n: MiniatureSize = 64,
    as_json: AsJson = False,
) -> None:
    """Ask a vision-language model, keep every raw answer, and score them.

    Example: climb qa run models/llava-med brain_tumor=raw/brain_tumor busi=raw/busi --to runs/zero-shot
    """
    from climb_hf.cli.app import show_results
    from climb_hf.protocols.miniature import named_sources
    from climb_hf.protocols.qa_run import AnswerSettings, run_questions
    from climb_hf.report.qa import answer_table

    settings = AnswerSettings(cast(Any, choice.value), cast(Any, normalise.value), max_new_tokens, temperature, seed)
    with named_sources(sources, to, cache_dir, miniature=miniature, n=miniature_n) as (folders, cache):
        rows = run_questions(
            model, folders, to, split=split, settings=settings, batch_size=batch_size, limit=limit, hosted=hosted,
            allowed_by=allowed_by, workers=workers, chat_template=chat_template, device=device, dtype=dtype,
            n_bootstrap=n_bootstrap, bootstrap_seed=seed,
            options=_options(labels, num_frames, image_size, question_seed, paraphrase),
            synthetic=synthetic, cache_dir=cache, num_proc=num_proc,
        )  # fmt: skip
    show_results(rows, answer_table(rows), as_json=as_json)
    typer.echo(f"wrote {to / 'predictions.jsonl'} and {to / 'results.jsonl'}", err=as_json)


def finetune(
    model: Annotated[str, typer.Argument(help="Folder or Hub repository of an image-text-to-text model.")],
    sources: Sources,
    to: Annotated[Path, typer.Option(help="Folder of the run; the adapter goes to TO/adapter.")],
    recipe: Recipe = "qa/lora",
    overrides: Overrides = None,
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
    resume: Resume = False,
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
    synthetic: Synthetic = False,
    miniature: Miniature = False,
    miniature_n: MiniatureSize = 64,
) -> None:
    """Fine-tune a vision-language model on questions with low-rank adapters; the loss is on the answers only.

    Example: climb qa finetune models/llava-med brain_tumor=raw/brain_tumor busi=raw/busi --to runs/lora
    """
    from climb_hf.protocols.miniature import named_sources
    from climb_hf.protocols.qa_finetune import finetune_questions

    with named_sources(sources, to, cache_dir, miniature=miniature, n=miniature_n) as (folders, cache):
        found = finetune_questions(
            model, folders, to, recipe=recipe, overrides=overrides or [], base_model=base_model,
            base_model_license=base_model_license, chat_template=chat_template,
            options=_options(labels, num_frames, image_size, question_seed, paraphrase), resume=resume,
            synthetic=synthetic, cache_dir=cache, num_proc=num_proc,
        )  # fmt: skip
    typer.echo(f"saved {found.adapter}; ask it with `climb qa run {to} {' '.join(sources)} --to {to / 'test'}`")


def compare(
    sources: Sources,
    encoder: Annotated[list[str] | None, typer.Option(help="Checkpoint of `climb train`; may be repeated.")] = None,
    vlm: Annotated[
        list[Path] | None, typer.Option(help="Folder of `climb qa run`, or a file of answers; may be repeated.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder for results.jsonl and the answers of encoders.")] = None,
    split: Split = "test",
    partial: Annotated[bool, typer.Option("--partial", help="Compare on what all of them answered.")] = False,
    n_bootstrap: Resamples = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
    batch_size: Annotated[int, typer.Option(help="Records per batch of an encoder.")] = 64,
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
    synthetic: Synthetic = False,
    miniature: Miniature = False,
    miniature_n: MiniatureSize = 64,
    as_json: AsJson = False,
) -> None:
    """Score encoders and vision-language models on the same questions, per modality and per source.

    Example: climb qa compare brain_tumor=raw/brain_tumor --encoder runs/mri --vlm runs/zero-shot --vlm runs/lora/test
    """
    from climb_hf.cli.app import show, show_results
    from climb_hf.protocols.miniature import named_sources
    from climb_hf.protocols.qa_compare import compare_answers
    from climb_hf.report.qa import comparison_table

    with named_sources(sources, to, cache_dir, miniature=miniature, n=miniature_n) as (folders, cache):
        rows = compare_answers(
            folders, encoders=encoder or (), predictions=vlm or (), split=split, output_dir=to, partial=partial,
            n_bootstrap=n_bootstrap, seed=seed, batch_size=batch_size, synthetic=synthetic,
            cache_dir=cache, num_proc=num_proc,
        )  # fmt: skip
    if as_json:
        show_results(rows, [], as_json=True)
    else:
        typer.echo("Per modality (Table 4 of the paper):")
        show(comparison_table(rows, "modality"), as_json=False)
        typer.echo("\nPer source (Table 22):")
        show(comparison_table(rows, "source"), as_json=False)
    if to is not None:
        typer.echo(f"wrote {to / 'results.jsonl'}", err=as_json)


def export(
    sources: Sources,
    framework: Annotated[Frameworks, typer.Option("--format", help="The framework that is to read the files.")],
    to: Annotated[Path, typer.Option(help="Folder for the files.")],
    split: Split = "test",
    limit: Annotated[int | None, typer.Option(help="Only the first questions of each source.")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Tokens of an answer at most.")] = 64,
    labels: _Labels = None,
    num_frames: _Frames = None,
    image_size: _Size = None,
    question_seed: _QuestionSeed = 0,
    paraphrase: _Paraphrase = "0",
    cache_dir: CacheDir = None,
    num_proc: NumProc = None,
    miniature: Miniature = False,
    miniature_n: MiniatureSize = 64,
) -> None:
    """Write questions with their pictures as lmms-eval, VLMEvalKit or lighteval read them.

    Example: climb qa export busi=raw/busi --format lmms-eval --to export/lmms
    """
    from climb_hf.protocols.data import is_synthetic
    from climb_hf.protocols.miniature import named_sources
    from climb_hf.protocols.qa_run import load_questions
    from climb_hf.qa.exporting import export_questions

    with named_sources(sources, to, cache_dir, miniature=miniature, n=miniature_n) as (folders, cache):
        options = _options(labels, num_frames, image_size, question_seed, paraphrase)
        parts = load_questions(folders, split, options, cache_dir=cache, num_proc=num_proc, limit=limit)
        written = export_questions(
            parts, to, cast(Any, framework.value), split=split, max_new_tokens=max_new_tokens,
            synthetic=is_synthetic(folders),
        )  # fmt: skip
    for path in written:
        typer.echo(str(path))


def add_commands(application: typer.Typer) -> None:
    """Add the commands of this module to the group `climb qa`."""
    known = {command.name or getattr(command.callback, "__name__", "") for command in application.registered_commands}
    for command in (run, finetune, compare, export):
        if command.__name__ not in known:
            application.command()(command)
