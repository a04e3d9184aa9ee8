"""From a file of answers to result rows: parse, compare, average, with patient-cluster bootstrap intervals."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from climb_hf.errors import OptionError, SchemaError
from climb_hf.metrics.qa import QA_METRICS, qa_match
from climb_hf.provenance import provenance
from climb_hf.qa.parsing import Parsed, parse_answer
from climb_hf.qa.reading import from_synthetic, read_questions
from climb_hf.qa.templates import NONE_OF_THE_ABOVE
from climb_hf.results import WITHOUT_DUPLICATES, ResultRow

__all__ = ["fingerprints_of", "rows_from_qa", "score_answers", "score_predictions"]

Hedges = Literal["invalid", "named"]
_NEEDED = ("id", "source", "choices", "answers")
_REASONS = {
    "sensitivity": "no class has a positive",
    "specificity": "no class has a negative",
    "f1": "no class is present or predicted",
}
_SHOWN = 3


def score_answers(
    questions: Sequence[Mapping[str, Any]],
    answers: Sequence[Any],
    *,
    hedges: Hedges = "invalid",
    uncertain: Literal["ignore", "negative"] = "ignore",
    n_bootstrap: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[dict[str, Any], list[Parsed]]:
    """Parse the answers to questions and score them.

    Args:
        questions (`Sequence[Mapping]`): rows with `id`, `source`, `choices`, `answers`, `multi_label`, and where given
            `group`, `modality`, `uncertain`.
        answers (`Sequence`): what the model wrote to each, or `Parsed`.
        hedges (`str`, *optional*, defaults to `"invalid"`): `"named"` takes the choices that an invalid answer names
            as its answer (several where one is right, or all), which is how a model that names every class comes to a
            sensitivity of 1 and a specificity of 0 in the paper's Table 4.
        uncertain (`str`, *optional*, defaults to `"ignore"`): `"negative"` scores uncertain choices as wrong ones, as
            the paper does.
        n_bootstrap (`int`, *optional*, defaults to `0`): resamples for the intervals; 0 for none.
        confidence (`float`, *optional*, defaults to `0.95`): level of the intervals.
        seed (`int`, *optional*, defaults to `0`): seed of the bootstrap.

    Returns:
        `tuple`: the result of `climb_hf.metrics.qa_match`, and the parsed answers.

    Raises:
        SchemaError: a row lacks a column, or the choices of a source differ from row to row.
        OptionError: a value of `hedges` or `uncertain` that does not exist.

    Example:
        >>> asked = {"id": "1", "source": "s", "choices": ["a b", "c d"], "answers": ["a b"], "multi_label": False}
        >>> result, parsed = score_answers([asked], ["A"])
        >>> result["overall"]["accuracy"], parsed[0].answers
        (1.0, ('a b',))
    """
    if hedges not in get_args(Hedges) or uncertain not in ("ignore", "negative"):
        raise OptionError(
            f"`hedges` must be 'invalid' or 'named' and `uncertain` 'ignore' or 'negative', got {hedges!r} and "
            f"{uncertain!r}."
        )
    classes, modalities = _facts(questions)
    parsed = [
        answer if isinstance(answer, Parsed) else parse_answer(answer, question)
        for question, answer in zip(questions, answers, strict=True)
    ]
    groups = [question.get("group") for question in questions]
    result = qa_match(
        [_classes_in(question["answers"]) for question in questions],
        [_prediction(answer, hedges) for answer in parsed],
        [question["source"] for question in questions],
        classes=classes,
        modalities=modalities,
        statuses=[answer.status for answer in parsed],
        uncertain=[question.get("uncertain") or () for question in questions] if uncertain == "ignore" else None,
        groups=None if None in groups else groups,
        n_bootstrap=n_bootstrap,
        confidence=confidence,
        seed=seed,
    )
    return {**result, "hedges": hedges, "uncertain": uncertain}, parsed


def _classes_in(names: Iterable[str]) -> set[str]:
    return {name for name in names if name != NONE_OF_THE_ABOVE}


def _prediction(parsed: Parsed, hedges: str) -> set[str] | None:
    if parsed.is_valid:
        return _classes_in(parsed.answers)
    return _classes_in(parsed.named) if hedges == "named" and parsed.named else None


def _facts(questions: Sequence[Mapping[str, Any]]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Return V_k and the modality of each source."""
    classes: dict[str, list[str]] = {}
    known: dict[str, frozenset[str]] = {}
    modalities: dict[str, str] = {}
    for number, question in enumerate(questions):
        if missing := [key for key in _NEEDED if not question.get(key)]:
            raise SchemaError(
                f"row {number} (id {question.get('id')!r}) lacks {missing}; give the questions of `climb qa build` "
                "with `questions=` (`--questions`), or rows that hold both question and answer."
            )
        source, choices = question["source"], frozenset(question["choices"])
        if known.setdefault(source, choices) != choices:
            raise SchemaError(
                f"{source}: the choices of row {number} (id {question['id']!r}) are not those of the rows before: "
                f"{sorted(choices ^ known[source])}. Score one label scheme at a time."
            )
        if source not in classes:
            classes[source] = sorted(_classes_in(choices))
            if question.get("modality"):
                modalities[source] = question["modality"]
    return classes, modalities


def score_predictions(
    predictions: str | Path | Iterable[Mapping[str, Any]],
    *,
    questions: str | Path | Iterable[Mapping[str, Any]] | None = None,
    field: str = "prediction",
    partial: bool = False,
    hedges: Hedges = "invalid",
    uncertain: Literal["ignore", "negative"] = "ignore",
    n_bootstrap: int = 1000,
    seed: int = 0,
    synthetic: bool = False,
    parsed_to: str | Path | None = None,
    **facts: Any,  # noqa: ANN401 - fields of ResultRow
) -> list[ResultRow]:
    """Score a file of answers.

    Args:
        predictions (`str`, `Path` or rows): rows with `id`, `source` and the answer, and the question's columns unless
            `questions` is given.
        questions (`str`, `Path` or rows, *optional*): what `climb qa build` wrote; joined by source and id.
        field (`str`, *optional*, defaults to `"prediction"`): column of the answers.
        partial (`bool`, *optional*, defaults to `False`): score what is there where questions are unanswered, instead
            of refusing it.
        hedges (`str`, *optional*, defaults to `"invalid"`): as in `score_answers`.
        uncertain (`str`, *optional*, defaults to `"ignore"`): as in `score_answers`.
        n_bootstrap (`int`, *optional*, defaults to `1000`): resamples of the 95 % intervals; 0 for none.
        seed (`int`, *optional*, defaults to `0`): seed of the bootstrap.
        synthetic (`bool`, *optional*, defaults to `False`): the data is synthetic; the rows say so. Known without it
            where the manifest of the questions or the run says so.
        parsed_to (`str` or `Path`, *optional*): JSON lines of what was understood, row by row.
        **facts: fields of `ResultRow` for every row, such as `model` or `recipe_hash`.

    Returns:
        `list[ResultRow]`: per source, without its duplicates where it names some, per modality, and two averages: over
        sources (the paper's Table 22) and over modalities (its Table 4), told apart by `settings["average"]`.

    Raises:
        SchemaError: a row without answer, a question answered twice, unanswered questions, or no row at all.
    """
    paths = [path for path in (predictions, questions) if isinstance(path, str | Path)]
    rows = [dict(row) for row in (read_questions(predictions) if isinstance(predictions, str | Path) else predictions)]
    if questions is not None:
        asked = read_questions(questions) if isinstance(questions, str | Path) else questions
        rows = _joined(rows, list(asked), field, partial)
    _check_rows(rows, field)
    how: dict[str, Any] = {"hedges": hedges, "uncertain": uncertain, "n_bootstrap": n_bootstrap, "seed": seed}
    result, parsed = score_answers(rows, [row[field] for row in rows], **how)
    if parsed_to is not None:
        _write_parsed(Path(parsed_to), rows, parsed)
    prints = fingerprints_of(rows)
    common = {
        "protocol": "qa",
        "synthetic": synthetic or any(map(from_synthetic, paths)),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": provenance(),
        "facts_by_source": {name: {"data_fingerprint": value} for name, value in prints.items()},
        **facts,
    }
    splits = {row.get("split") or "test" for row in rows}
    common["split"] = facts.get("split") or (splits.pop() if len(splits) == 1 else "all")
    results = rows_from_qa(result, **common)
    affected = {row["source"] for row in rows if row.get("duplicate_of")}
    kept = [i for i, row in enumerate(rows) if row["source"] in affected and not row.get("duplicate_of")]
    if kept:
        again, _ = score_answers([rows[i] for i in kept], [parsed[i] for i in kept], **how)
        settings = {**common.get("settings", {}), **WITHOUT_DUPLICATES}
        again_rows = rows_from_qa(again, **{**common, "settings": settings})
        results += [row for row in again_rows if row.level == "source"]
    return results


def _joined(
    rows: list[dict[str, Any]], asked: list[Mapping[str, Any]], field: str, partial: bool
) -> list[dict[str, Any]]:
    known = {(row.get("source"), str(row.get("id"))): row for row in asked}
    by_key: dict[tuple[Any, str], dict[str, Any]] = {}
    strange = []
    for row in rows:
        key = (row.get("source"), str(row.get("id")))
        if key in by_key:
            raise SchemaError(f"the question {key[1]!r} of {key[0]!r} is answered twice; give one answer to each.")
        by_key[key] = row
        if key not in known:
            strange.append(key)
    if strange:
        raise SchemaError(
            f"{len(strange)} answers belong to no question, such as {strange[:_SHOWN]}; check `source` and `id`."
        )
    missing = [key for key in known if key not in by_key]
    if missing and not partial:
        raise SchemaError(
            f"{len(missing)} of {len(known)} questions have no answer, such as {missing[:_SHOWN]}. Answer them, or "
            "pass `partial=True` (`--partial`) to score the rest only."
        )
    return [{**known[key], field: row.get(field)} if field in row else {**known[key]} for key, row in by_key.items()]


def _check_rows(rows: Sequence[Mapping[str, Any]], field: str) -> None:
    if not rows:
        raise SchemaError("there is no answer to score; expected one JSON object per line.")
    seen = set()
    for number, row in enumerate(rows):
        if field not in row:
            raise SchemaError(
                f"row {number} (id {row.get('id')!r}) has no `{field}`; it has {sorted(row)}. Name it: `--field`."
            )
        key = (row.get("source"), row.get("id"))
        if key in seen:
            raise SchemaError(f"the question {key[1]!r} of {key[0]!r} is answered twice; give one answer to each.")
        seen.add(key)


def _write_parsed(path: Path, rows: Sequence[Mapping[str, Any]], parsed: Sequence[Parsed]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as stream:
        for row, answer in zip(rows, parsed, strict=True):
            line = {
                "source": row["source"], "id": row["id"], "status": answer.status, "parsed": list(answer.answers),
                "named": list(answer.named), "answers": list(row["answers"]),
            }  # fmt: skip
            stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def fingerprints_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Digest which questions with which right answers there are, by source; the order of the rows has no part.

    Args:
        rows (`Iterable[Mapping]`): rows with `source`, `id` and `answers`.

    Returns:
        `dict[str, str]`: 16 hexadecimal digits by source.
    """
    lines: dict[str, list[str]] = {}
    for row in rows:
        lines.setdefault(row["source"], []).append(f"{row['id']}\0{','.join(sorted(row['answers']))}")
    return {name: hashlib.sha256("\n".join(sorted(own)).encode()).hexdigest()[:16] for name, own in lines.items()}


def rows_from_qa(
    result: Mapping[str, Any],
    *,
    split: str,
    facts_by_source: Mapping[str, Mapping[str, Any]] | None = None,
    **facts: Any,  # noqa: ANN401 - fields of ResultRow
) -> list[ResultRow]:
    """Turn the result of `score_answers` into rows.

    Args:
        result (`Mapping`): what `score_answers` or `climb_hf.metrics.qa_match` returned.
        split (`str`): the split that was scored.
        facts_by_source (`Mapping`, *optional*): fields of `ResultRow` for the rows of one source.
        **facts: fields of `ResultRow` for every row.

    Returns:
        `list[ResultRow]`: per source, per modality, and the averages.

    Example:
        >>> result = qa_match([{"a"}], [{"a"}], ["s"], classes={"s": ["a", "b"]})
        >>> [(row.level, row.metric, row.value) for row in rows_from_qa(result, split="test")][:2]
        [('source', 'accuracy', 1.0), ('source', 'sensitivity', 1.0)]
    """
    settings = {key: result[key] for key in ("hedges", "uncertain") if key in result}
    if result["n_bootstrap"]:
        settings |= {"n_bootstrap": result["n_bootstrap"], "bootstrap_seed": result["seed"]}
    settings |= facts.pop("settings", {})
    common = {"split": split, "confidence": result["confidence"], **facts}
    rows: list[ResultRow] = []
    for name, table in result["sources"].items():
        own = {"n_groups": table["n_groups"], "n_classes": table["n_classes"], **(facts_by_source or {}).get(name, {})}
        rows += _rows(table, {**common, **own, "source": name}, settings)
    for name, table in result["modalities"].items():
        rows += _rows(table, {**common, "source": name, "level": "modality"}, settings)
    for key, average in (("overall", "sources"), ("modality_average", "modalities")):
        if key in result:
            rows += _rows(
                result[key], {**common, "source": "all", "level": "overall"}, {**settings, "average": average}
            )
    return rows


def _rows(table: Mapping[str, Any], facts: Mapping[str, Any], settings: Mapping[str, Any]) -> list[ResultRow]:
    rows = []
    for metric in QA_METRICS:
        value, ends = table[metric], table.get("intervals", {}).get(metric)
        undefined = value != value
        own = (
            {**settings, "invalid_by": table["invalid_by"]}
            if metric == "invalid" and "invalid_by" in table
            else settings
        )
        rows.append(
            ResultRow(
                **facts,
                metric=metric,
                value=float(value),
                n=table["n"],
                interval=None if undefined or ends is None or ends[0] != ends[0] else tuple(ends),
                n_defined=table.get(f"n_{metric}_defined"),
                reason=_REASONS.get(metric, "no question was scored") if undefined else None,
                settings=dict(own),
            )
        )
    return rows
