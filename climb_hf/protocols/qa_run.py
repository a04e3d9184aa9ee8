"""Asking a vision-language model the questions of CLIMB-QA, and scoring what it says (CLIMB paper, appendix B)."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from climb_hf.errors import OptionError
from climb_hf.hub.licence import check_hosted
from climb_hf.miniatures import is_miniature
from climb_hf.mixture import source_options
from climb_hf.protocols.data import Sources, is_synthetic, load_parts
from climb_hf.qa.answering import Normalisation
from climb_hf.qa.journal import Journal, answer_of, batches, read_run

if TYPE_CHECKING:
    from datasets import Dataset

    from climb_hf.qa.answering import Answerer
    from climb_hf.results import ResultRow

__all__ = ["AnswerSettings", "answer_questions", "load_questions", "run_questions", "score_run"]

Choice = Literal["generate", "likelihood"]


@dataclass(frozen=True)
class AnswerSettings:
    """What shapes an answer besides model and question.

    Args:
        choice (`str`, *optional*, defaults to `"generate"`): `"generate"` lets the model write, `"likelihood"` takes
            the choice that it finds most likely; see `climb_hf.qa.answering.Likelihood`.
        normalise (`str`, *optional*, defaults to `"tokens"`): with `"likelihood"`: per answer token, or `"none"`.
        max_new_tokens (`int`, *optional*, defaults to `64`): tokens of a written answer at most.
        temperature (`float`, *optional*, defaults to `0.0`): 0 is greedy.
        seed (`int`, *optional*, defaults to `0`): seed of drawn answers.
    """

    choice: Choice = "generate"
    normalise: Normalisation = "tokens"
    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in (("choice", Choice), ("normalise", Normalisation)):
            if getattr(self, name) not in get_args(kind):
                raise OptionError(f"`{name}` must be one of {list(get_args(kind))}, got {getattr(self, name)!r}.")
        if self.max_new_tokens < 1 or self.temperature < 0:
            raise OptionError(
                f"`max_new_tokens` must be at least 1 and `temperature` at least 0, got {self.max_new_tokens} and "
                f"{self.temperature}."
            )


def load_questions(
    sources: Sources,
    split: str,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
    limit: int | None = None,
    is_required: bool = True,
) -> "dict[str, Dataset]":
    """Load one split of several sources as questions.

    Args:
        sources (`Mapping`): folder of the raw data by source name.
        split (`str`): the split.
        options (`Mapping`, *optional*): options by source, those under `"*"` for all, such as `qa_seed`, `num_frames`.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of each build.
        limit (`int`, *optional*): only the first questions of each source.
        is_required (`bool`, *optional*, defaults to `True`): whether a source without the split is an error.

    Returns:
        `dict[str, Dataset]`: questions whose `images` are not decoded.

    Raises:
        OptionError: a source has no questions, with the reason.
        SplitError: a source has no such split.
    """
    import datasets

    asked = {name: {**source_options(name, options or {}), "qa": True} for name in sources}
    parts = load_parts(sources, split, asked, cache_dir=cache_dir, num_proc=num_proc, is_required=is_required)
    undecoded = datasets.List(datasets.Image(mode="RGB", decode=False))
    found = {name: part.cast_column("images", undecoded) for name, part in parts.items()}
    return {name: part.select(range(min(limit, len(part)))) if limit else part for name, part in found.items()}


def run_questions(
    model: str | Path,
    sources: Sources,
    output_dir: str | Path,
    *,
    split: str = "test",
    settings: AnswerSettings | None = None,
    batch_size: int = 8,
    limit: int | None = None,
    hosted: str | None = None,
    allowed_by: str | None = None,
    workers: int = 4,
    chat_template: str | Path | None = None,
    device: str | None = None,
    dtype: str = "auto",
    n_bootstrap: int = 1000,
    bootstrap_seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    synthetic: bool = False,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
) -> "list[ResultRow]":
    """Ask a model, keep every raw answer, and score them.

    Answers are appended to `predictions.jsonl` batch by batch; the same call goes on where a run was stopped. They are
    kept by source, id, model and options: answers of another model or of other options in the folder are refused.

    Args:
        model (`str` or `Path`): folder or Hub repository of any image-text-to-text model of transformers, folder of
            `finetune_questions`, or with `hosted` the name of the model there.
        sources (`Mapping`): folder of the raw data by source name.
        output_dir (`str` or `Path`): for `predictions.jsonl`, `run.json`, `results.jsonl`.
        split (`str`, *optional*, defaults to `"test"`): the split to ask about.
        settings (`AnswerSettings`, *optional*): how answers are made; greedy generation by default.
        batch_size (`int`, *optional*, defaults to `8`): questions per batch; sequences with `"likelihood"`.
        limit (`int`, *optional*): only the first questions of each source; the results say so.
        hosted (`str`, *optional*): address of an OpenAI-compatible endpoint; see `climb_hf.qa.hosted.Hosted`.
        allowed_by (`str`, *optional*): see `climb_hf.hub.licence.check_hosted`.
        workers (`int`, *optional*, defaults to `4`): requests at a time, with `hosted`.
        chat_template (`str` or `Path`, *optional*): a Jinja file in place of the processor's template.
        device (`str`, *optional*): torch device; by default a GPU if there is one.
        dtype (`str`, *optional*, defaults to `"auto"`): type of the weights.
        n_bootstrap (`int`, *optional*, defaults to `1000`): resamples of the intervals; 0 for none.
        bootstrap_seed (`int`, *optional*, defaults to `0`): seed of the bootstrap.
        options (`Mapping`, *optional*): see `load_questions`.
        synthetic (`bool`, *optional*, defaults to `False`): the data is synthetic; miniatures are recognised without.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of each build.

    Returns:
        `list[ResultRow]`: as `climb_hf.qa.score_predictions`; `settings["training"]` is `"zero-shot"` or
        `"fine-tuned"`.

    Raises:
        LicenseError: a source must not be sent to a hosted model.
        AccessError: model, raw data, a picture or the endpoint is not there.
        OptionError: options that do not go together, a question that does not fit into the context, a processor
            without chat template, or a folder with other answers.
    """
    how = settings or AnswerSettings()
    if hosted is not None:
        if how.choice != "generate":
            raise OptionError("`choice='likelihood'` needs the model's own scores, which a hosted endpoint hides.")
        check_hosted(_real(sources), allowed_by)
    answerer, training, digest = _answerer(
        model, how, hosted=hosted, batch_size=batch_size, workers=workers, chat_template=chat_template,
        device=device, dtype=dtype,
    )  # fmt: skip
    parts = load_questions(sources, split, options, cache_dir=cache_dir, num_proc=num_proc, limit=limit)
    chosen = {name: source_options(name, options or {}) for name in sources}
    facts = {
        "model": Path(str(model)).name if Path(str(model)).exists() else str(model),
        "model_digest": digest,
        "hosted": hosted,
        "allowed_by": allowed_by,
        "split": split,
        "limit": limit,
        "options": chosen,
        "settings": asdict(how),
        "chat_template": None if chat_template is None else Path(chat_template).read_text(encoding="utf-8"),
        "training": "fine-tuned" if training else "zero-shot",
        "trained_on": training.get("sources", []),
        "recipe_hash": training.get("recipe_hash"),
        "seed": training.get("seed"),
        "synthetic": synthetic or is_synthetic(sources) or bool(training.get("synthetic", False)),
    }
    shaping = ("model", "model_digest", "hosted", "split", "options", "settings", "chat_template")
    key = hashlib.sha256(
        json.dumps({name: facts[name] for name in shaping}, sort_keys=True, default=str).encode()
    ).hexdigest()[:16]
    journal = Journal(Path(output_dir), key, facts)
    per_call = batch_size * workers if hosted else batch_size
    answer_questions(answerer, parts, journal, batch_size=per_call)
    return score_run(output_dir, parts, n_bootstrap=n_bootstrap, seed=bootstrap_seed, to=output_dir)


def _real(sources: Sources) -> list[str]:
    """Names of the sources that are no synthetic miniatures, which belong to nobody."""
    from climb_hf.builder import raw_folder
    from climb_hf.registry import get_source

    folders = {name: raw_folder(get_source(name), str(folder) if folder else None) for name, folder in sources.items()}
    return [name for name, folder in folders.items() if folder is None or not is_miniature(folder)]


def _answerer(
    model: str | Path,
    how: AnswerSettings,
    *,
    hosted: str | None,
    batch_size: int,
    workers: int,
    chat_template: str | Path | None,
    device: str | None,
    dtype: str,
) -> "tuple[Answerer, dict[str, Any], str]":
    """Return what answers, facts of its fine-tuning, and a digest of its weights."""
    if hosted is not None:
        from climb_hf.qa.hosted import Hosted

        served = Hosted(
            hosted, str(model), max_new_tokens=how.max_new_tokens, temperature=how.temperature, seed=how.seed,
            workers=workers,
        )  # fmt: skip
        return served, {}, ""
    from climb_hf.qa.answering import Generator, Likelihood
    from climb_hf.qa.vlm import load_vlm, weights_print

    vlm = load_vlm(model, device=device, dtype=dtype, chat_template=chat_template)
    if how.choice == "likelihood":
        return Likelihood(vlm, how.normalise, batch_size), vlm.training, weights_print(model)
    return Generator(vlm, how.max_new_tokens, how.temperature, how.seed), vlm.training, weights_print(model)


def answer_questions(
    answerer: "Answerer", parts: "Mapping[str, Dataset]", journal: Journal, *, batch_size: int = 8
) -> None:
    """Answer the questions that a journal does not hold yet, the longest of each source first.

    A question that is too long for the model is so found before the hours that the others take.

    Args:
        answerer (`Answerer`): what answers.
        parts (`Mapping[str, Dataset]`): questions by source, `images` not decoded.
        journal (`Journal`): where answers go.
        batch_size (`int`, *optional*, defaults to `8`): questions per call.
    """
    from datasets.utils import are_progress_bars_disabled
    from tqdm.auto import tqdm

    total = sum(len(part) for part in parts.values())
    with tqdm(
        total=total, initial=0, unit=" questions", desc="asking", disable=are_progress_bars_disabled()
    ) as progress:
        done = sum((name, id_) in journal.answered for name, part in parts.items() for id_ in part["id"])
        progress.update(done)
        for batch in batches(_open_rows(parts, journal), batch_size):
            journal.append(batch, answerer.answer(batch))
            progress.update(len(batch))


def _open_rows(parts: "Mapping[str, Dataset]", journal: Journal) -> Iterable[dict[str, Any]]:
    for name, part in parts.items():
        rows = part.with_format(None)
        ids, texts = rows["id"], rows["question"]
        todo = [place for place, id_ in enumerate(ids) if (name, id_) not in journal.answered]
        if todo:
            longest = max(todo, key=lambda place: len(texts[place]))
            todo.remove(longest)
            todo.insert(0, longest)
        for place in todo:
            yield dict(rows[place])


def score_run(
    folder: str | Path,
    parts: "Mapping[str, Dataset] | None" = None,
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
    to: str | Path | None = None,
) -> "list[ResultRow]":
    """Score the answers of a run.

    Args:
        folder (`str` or `Path`): folder of the run.
        parts (`Mapping[str, Dataset]`, *optional*): only these questions.
        n_bootstrap (`int`, *optional*, defaults to `1000`): resamples of the intervals; 0 for none.
        seed (`int`, *optional*, defaults to `0`): seed of the bootstrap.
        to (`str` or `Path`, *optional*): folder for `results.jsonl`.

    Returns:
        `list[ResultRow]`.
    """
    from climb_hf.qa.scoring import score_predictions
    from climb_hf.results import write_results

    rows, facts = read_run(folder)
    if parts is not None:
        wanted = {(name, id_) for name, part in parts.items() for id_ in part["id"]}
        rows = [row for row in rows if (row["source"], row["id"]) in wanted]
    answered = [{**row, "prediction": answer_of(row)} for row in rows]
    settings = {name: facts[name] for name in ("training", "trained_on", "limit", "hosted") if facts.get(name)}
    found = score_predictions(
        answered,
        n_bootstrap=n_bootstrap,
        seed=seed,
        synthetic=bool(facts.get("synthetic")),
        model=facts.get("model"),
        recipe_hash=facts.get("recipe_hash"),
        settings={**settings, **facts.get("settings", {})},
    )
    if to is not None:
        write_results(Path(to) / "results.jsonl", found)
    return found
