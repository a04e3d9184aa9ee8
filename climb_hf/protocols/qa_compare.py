"""Encoders against vision-language models on the same questions, by the same metric (CLIMB paper, Tables 4 and 22)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import OptionError, SchemaError
from climb_hf.mixture import label_schemes
from climb_hf.protocols.data import Sources, is_synthetic
from climb_hf.qa.journal import answer_of, read_run
from climb_hf.qa.parsing import Parsed
from climb_hf.qa.templates import NONE_OF_THE_ABOVE

if TYPE_CHECKING:
    from climb_hf.protocols.multitask import Predicted
    from climb_hf.results import ResultRow

__all__ = ["compare_answers", "encoder_answers"]

_SHOWN = 3
_UNASKED = "the questions are about ranges of a target, which an encoder of classes does not predict"
_Key = tuple[str, str]


def compare_answers(
    sources: Sources,
    *,
    encoders: Sequence[str | Path] = (),
    predictions: Sequence[str | Path] = (),
    split: str = "test",
    output_dir: str | Path | None = None,
    partial: bool = False,
    n_bootstrap: int = 1000,
    seed: int = 0,
    batch_size: int = 64,
    synthetic: bool = False,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
) -> "list[ResultRow]":
    """Score encoders and vision-language models on the same questions.

    An encoder answers with the class of the highest logit among V_k (single-label sources), or with every class whose
    probability is at least 0.5 (multi-label sources), "None of the above" where there is none. Its answers are never
    invalid. Everything else is as for a model that writes: exact match of answer sets, rates per class.

    Args:
        sources (`Mapping`): folder of the raw data by source name.
        encoders (`Sequence`, *optional*): checkpoints of `climb train`.
        predictions (`Sequence`, *optional*): folders of `climb qa run`, or files of answers with their questions.
        split (`str`, *optional*, defaults to `"test"`): the split that the encoders answer for.
        output_dir (`str` or `Path`, *optional*): where `results.jsonl` and the answers of encoders go.
        partial (`bool`, *optional*, defaults to `False`): score the questions that all of them answered, where some
            lack answers.
        n_bootstrap (`int`, *optional*, defaults to `1000`): resamples of the intervals; 0 for none.
        seed (`int`, *optional*, defaults to `0`): seed of the bootstrap.
        batch_size (`int`, *optional*, defaults to `64`): records per batch of an encoder.
        synthetic (`bool`, *optional*, defaults to `False`): the data is synthetic; miniatures are recognised without.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of each build.

    Returns:
        `list[ResultRow]`: those of `climb_hf.qa.score_predictions` for each model, told apart by `model` and
        `settings["training"]`: `"encoder"`, `"zero-shot"` or `"fine-tuned"`.

    Raises:
        OptionError: nothing to compare, or two of the same name and training.
        SchemaError: answers of another split, to other questions, or to fewer of them.
        VocabularyError: an encoder lacks classes of a source.
    """
    if not encoders and not predictions:
        raise OptionError("give something to compare: `encoders` (`--encoder`) or `predictions` (`--vlm`).")
    known = is_synthetic(sources) or synthetic
    contestants = [_of_run(path, sources, split) for path in predictions]
    unasked: list[dict[str, Any]] = []
    for checkpoint in encoders:
        found, reasons = _of_encoder(checkpoint, sources, split, batch_size, cache_dir, num_proc)
        contestants.append(found)
        unasked += reasons
    names = [(one["model"], one["settings"]["training"]) for one in contestants]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise OptionError(f"two models are called {repeated}; rename a folder, so that the rows can be told apart.")
    _same_questions(contestants, partial=partial)
    results: list[ResultRow] = []
    for one in contestants:
        results += _scored(one, split, n_bootstrap, seed, synthetic=known)
    results += [_undefined(facts, split, synthetic=known) for facts in unasked]
    if output_dir is not None:
        _write(Path(output_dir), results, contestants)
    return results


def _of_run(path: str | Path, sources: Sources, split: str) -> dict[str, Any]:
    rows, facts = read_run(path)
    rows = [row for row in rows if row["source"] in sources]
    if other := sorted({row.get("split") or split for row in rows} - {split}):
        raise SchemaError(
            f"`{path}` answers the split {other}, but `{split}` is compared; choose `split` (`--split`)."
        )
    if absent := [name for name in sources if not any(row["source"] == name for row in rows)]:
        raise SchemaError(f"`{path}` holds no answers about {absent}; ask about them, or leave them out.")
    settings = {"training": facts.get("training", "zero-shot"), **facts.get("settings", {})}
    return {
        "model": str(facts.get("model") or Path(path).stem),
        "settings": settings,
        "recipe_hash": facts.get("recipe_hash"),
        "synthetic": bool(facts.get("synthetic")),
        "rows": {(row["source"], str(row["id"])): {**row, "prediction": answer_of(row)} for row in rows},
    }


def _of_encoder(
    checkpoint: str | Path,
    sources: Sources,
    split: str,
    batch_size: int,
    cache_dir: str | Path | None,
    num_proc: int | None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the answers of an encoder, and facts of the sources whose questions it cannot answer."""
    from climb_hf.protocols.checkpoints import architecture_of
    from climb_hf.protocols.multitask import predict
    from climb_hf.qa.templates import template_of
    from climb_hf.registry import get_source

    folder = Path(checkpoint)
    common = {"model": folder.resolve().name if folder.exists() else str(checkpoint)}
    asked = {name: raw for name, raw in sources.items() if not template_of(get_source(name)).bins}
    settings: dict[str, Any] = {"training": "encoder"}
    if not asked:
        raise OptionError(f"{', '.join(sources)}: {_UNASKED}.")
    found = predict(checkpoint, asked, split=split, batch_size=batch_size, cache_dir=cache_dir, num_proc=num_proc)
    settings["architecture"] = architecture_of(found.trainer.model, found.facts).get("architecture")
    reasons = [{**common, "settings": settings, "source": name} for name in sources if name not in asked]
    return {
        **common,
        "settings": settings,
        "recipe_hash": found.facts.get("recipe_hash"),
        "seed": found.facts.get("seed"),
        "synthetic": bool(found.facts.get("synthetic")),
        "rows": encoder_answers(found, split),
    }, reasons


def encoder_answers(predicted: "Predicted", split: str) -> dict[_Key, dict[str, Any]]:
    """Turn the logits of an encoder into answers to questions.

    Args:
        predicted (`Predicted`): of `climb_hf.protocols.multitask.predict`.
        split (`str`): the split.

    Returns:
        `dict`: by source and id, the question with the answer (`Parsed`) as `prediction`, and `scores` by choice:
        logits of single-label questions, probabilities of multi-label ones.
    """
    import numpy as np

    from climb_hf.qa.questions import build_questions
    from climb_hf.vocabulary import string_vocabulary

    config = predicted.trainer.model.config
    column = {name: index for index, name in enumerate(config.vocabulary)}
    data = predicted.facts.get("recipe_settings", {}).get("data", {})
    options = data.get("options") or {}
    schemes = label_schemes(list(predicted.parts), options)
    merged = data.get("vocabulary", "concepts") == "strings"
    units = string_vocabulary(list(predicted.parts), schemes)[1] if merged else {}
    place = {key: row for row, key in enumerate(zip(predicted.rows["sources"], predicted.rows["ids"], strict=True))}
    answers: dict[_Key, dict[str, Any]] = {}
    for name, part in predicted.parts.items():
        for question in build_questions(part, labels=schemes[name], split=split):
            logits = np.asarray(predicted.rows["scores"][place[name, question.id]], dtype=np.float64)
            pairs = [
                (text, float(logits[column[units.get((name, concept), concept)]]))
                for text, concept in zip(question.choices, question.concepts, strict=True)
                if concept is not None
            ]
            texts, values = [text for text, _ in pairs], np.array([value for _, value in pairs])
            if question.multi_label:
                chosen = tuple(text for text, value in pairs if value >= 0) or (NONE_OF_THE_ABOVE,)  # p >= 0.5
                values = 1 / (1 + np.exp(-values))
            else:
                chosen = (texts[int(values.argmax())],)
            asked = {key: value for key, value in question.as_dict(0).items() if key != "messages"}
            scores = dict(zip(texts, values.tolist(), strict=True))
            answers[name, question.id] = {**asked, "prediction": Parsed(chosen, "ok", chosen), "scores": scores}
    return answers


def _same_questions(contestants: list[dict[str, Any]], *, partial: bool) -> None:
    """Check that all answered the same questions with the same right answers; keep those in common."""
    everything = {key for one in contestants for key in one["rows"]}
    common = set.intersection(*(set(one["rows"]) for one in contestants))
    by_source = {
        name: {key for key in everything if key[0] == name} for name in dict.fromkeys(key[0] for key in everything)
    }
    for one in contestants:
        own_sources = {key[0] for key in one["rows"]}
        missing = [key for name in own_sources for key in by_source[name] if key not in one["rows"]]
        if missing and not partial:
            raise SchemaError(
                f"`{one['model']}` ({one['settings']['training']}) lacks answers to {len(missing)} questions that "
                f"others answered, such as {sorted(missing)[:_SHOWN]}. Finish the run, or pass `partial=True` "
                "(`--partial`) to compare on what all of them answered."
            )
    whole = set.intersection(*({key[0] for key in one["rows"]} for one in contestants))
    for key in sorted(common):
        rows = [one["rows"][key] for one in contestants]
        for what in ("answers", "choices"):
            if any(set(row[what]) != set(rows[0][what]) for row in rows):
                raise SchemaError(
                    f"{key[0]}: the {what} of question `{key[1]}` differ between the models: "
                    f"{sorted({tuple(sorted(row[what])) for row in rows})}. Use the same label scheme for all."
                )
    for one in contestants:
        # A source that one model cannot answer for stays in the rows of the others, but in nobody's averages.
        one["rows"] = {key: row for key, row in one["rows"].items() if key in common or key[0] not in whole}
        one["shared"] = whole


def _scored(one: Mapping[str, Any], split: str, n_bootstrap: int, seed: int, *, synthetic: bool) -> "list[ResultRow]":
    """Score one model: averages over the sources that all models answered for, the other sources by themselves."""
    from climb_hf.qa.scoring import score_predictions

    settings = dict(one["settings"])
    if one.get("seed") is not None:
        settings["training_seed"] = one["seed"]
    common: dict[str, Any] = {
        "n_bootstrap": n_bootstrap, "seed": seed, "synthetic": synthetic or one["synthetic"], "model": one["model"],
        "settings": settings, "split": split, "recipe_hash": one.get("recipe_hash"),
    }  # fmt: skip
    shared = [row for key, row in one["rows"].items() if key[0] in one["shared"]]
    further = [row for key, row in one["rows"].items() if key[0] not in one["shared"]]
    results = score_predictions(shared, **common) if shared else []
    if further:
        results += [row for row in score_predictions(further, **common) if row.level == "source"]
    return results


def _undefined(facts: Mapping[str, Any], split: str, *, synthetic: bool) -> "ResultRow":
    from climb_hf.results import ResultRow

    return ResultRow(
        source=facts["source"], split=split, metric="accuracy", value=float("nan"), n=0, reason=_UNASKED,
        protocol="qa", model=facts["model"], settings=dict(facts["settings"]), synthetic=synthetic,
    )  # fmt: skip


def _write(folder: Path, results: "Sequence[ResultRow]", contestants: Sequence[Mapping[str, Any]]) -> None:
    import json

    from climb_hf.results import write_results

    write_results(folder / "results.jsonl", results)
    for one in contestants:
        if one["settings"]["training"] != "encoder":
            continue
        with (folder / f"answers_{one['model']}.jsonl").open("w", encoding="utf-8") as stream:
            for row in one["rows"].values():
                chosen = list(row["prediction"].answers)
                line = {**row, "prediction": json.dumps(chosen, ensure_ascii=False), "chosen": chosen}
                stream.write(json.dumps(line, ensure_ascii=False) + "\n")
