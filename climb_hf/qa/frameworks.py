"""What the exported tasks call inside other frameworks: the question, its pictures, and our metric on the answers.

The files that `climb qa export` writes import these functions, so that a question reads the same everywhere and is
scored by the same parser. None of the frameworks is imported here.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from climb_hf.metrics.qa import QA_METRICS
from climb_hf.qa.scoring import score_answers

__all__ = [
    "aggregate_accuracy",
    "aggregate_f1",
    "aggregate_invalid",
    "aggregate_sensitivity",
    "aggregate_specificity",
    "doc_to_messages",
    "doc_to_target",
    "doc_to_text",
    "doc_to_visual",
    "exact_match",
    "process_results",
    "question_of",
]

_SCORED = ("id", "source", "group", "modality", "answers", "multi_label", "uncertain")


def question_of(doc: Mapping[str, Any]) -> dict[str, Any]:
    """Return an exported row as the question that our metric scores.

    Example:
        >>> question_of({"id": "1", "source": "s", "options": ["a", "b"], "answers": ["a"]})["choices"]
        ['a', 'b']
    """
    return {"choices": list(doc["options"]), **{name: doc[name] for name in _SCORED if name in doc}}


def doc_to_visual(doc: Mapping[str, Any]) -> list[Any]:
    """Return the pictures of a row, RGB, in order (lmms-eval)."""
    return [picture.convert("RGB") for picture in doc["images"] or ()]


def doc_to_text(doc: Mapping[str, Any], lmms_eval_specific_kwargs: Mapping[str, str] | None = None) -> str:
    """Return the question with its options (lmms-eval).

    Args:
        doc (`Mapping`): an exported row.
        lmms_eval_specific_kwargs (`Mapping`, *optional*): `pre_prompt` and `post_prompt` of a model.

    Returns:
        `str`.

    Example:
        >>> doc_to_text({"question": "What?"}, {"post_prompt": " Short."})
        'What? Short.'
    """
    around = lmms_eval_specific_kwargs or {}
    return f"{around.get('pre_prompt', '')}{doc['question']}{around.get('post_prompt', '')}"


def doc_to_target(doc: Mapping[str, Any]) -> str:
    """Return the right answer as text (lmms-eval).

    Example:
        >>> doc_to_target({"answers": ["a", "b"]})
        'a, b'
    """
    return ", ".join(doc["answers"])


def doc_to_messages(
    doc: Mapping[str, Any], lmms_eval_specific_kwargs: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return the messages of lmms-eval's protocol: pictures first, then the text."""
    pictures = [{"type": "image", "url": picture} for picture in doc_to_visual(doc)]
    text = {"type": "text", "text": doc_to_text(doc, lmms_eval_specific_kwargs)}
    return [{"role": "user", "content": [*pictures, text]}]


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what the aggregations of lmms-eval get of one answer.

    Args:
        doc (`Mapping`): an exported row.
        results (`Sequence[str]`): what the model wrote, one text.

    Returns:
        `dict`: by name of the metric, the question with `prediction`.
    """
    item = {**question_of(doc), "prediction": results[0] if results else ""}
    return {f"climb_{metric}": item for metric in QA_METRICS}


def _aggregate(items: Sequence[Mapping[str, Any]], metric: str) -> float:
    result, _ = score_answers(items, [item["prediction"] for item in items])
    return float(result["overall"][metric])


aggregate_accuracy = functools.partial(_aggregate, metric="accuracy")
aggregate_sensitivity = functools.partial(_aggregate, metric="sensitivity")
aggregate_specificity = functools.partial(_aggregate, metric="specificity")
aggregate_f1 = functools.partial(_aggregate, metric="f1")
aggregate_invalid = functools.partial(_aggregate, metric="invalid")


def exact_match(question: Mapping[str, Any], text: str) -> float:
    """Return 1.0 where an answer names exactly the right choices, else 0.0 (lighteval's metric of a sample).

    Args:
        question (`Mapping`): of `question_of`.
        text (`str`): what the model wrote.

    Returns:
        `float`.

    Example:
        >>> asked = {"id": "1", "source": "s", "choices": ["No DR", "Mild DR"], "answers": ["No DR"]}
        >>> exact_match(asked, "There is no DR."), exact_match(asked, "B")
        (1.0, 0.0)
    """
    return float(score_answers([question], [text])[0]["overall"]["accuracy"])
