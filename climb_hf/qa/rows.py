"""A question as a row: its columns, its chat messages, and the pictures that belong to it."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Features

__all__ = ["Question", "messages_for", "pictures_of", "question_features"]

_TEXT = "text"


@dataclass(frozen=True, slots=True)
class Question:
    """One question of CLIMB-QA.

    Args:
        id (`str`): id of the record.
        source (`str`): name of the source.
        group (`str`): patient; no group stands in two splits of the default.
        split (`str`): `"train"`, `"validation"` or `"test"`.
        modality (`str`): modality of the source, for the averages.
        question (`str`): input context, task, the choices by letter, and how to answer.
        choices (`tuple[str, ...]`): all choices of V_k as shown; multi-label ones end with `"None of the above"`.
        concepts (`tuple[str | None, ...]`): concept of each choice in the vocabulary; `None` where it has none.
        answers (`tuple[str, ...]`): the right choices, in the order of `choices`, never empty.
        answer (`str`): the same as text, separated by commas.
        multi_label (`bool`): whether several choices may be right.
        uncertain (`tuple[str, ...]`): choices that the publisher is not sure of; they are not scored.
        paraphrase (`int`): which wording of the template it is.
        duplicate_of (`str`, *optional*): id of the first copy of the same content.
    """

    id: str
    source: str
    group: str
    split: str
    modality: str
    question: str
    choices: tuple[str, ...]
    concepts: tuple[str | None, ...]
    answers: tuple[str, ...]
    answer: str
    multi_label: bool
    uncertain: tuple[str, ...] = ()
    paraphrase: int = 0
    duplicate_of: str | None = None

    def as_dict(self, n_images: int = 1) -> dict[str, Any]:
        """Return plain JSON values, with the `messages` of the chat format.

        Args:
            n_images (`int`, *optional*, defaults to `1`): pictures that belong to the question.

        Returns:
            `dict`.
        """
        values = ((key, getattr(self, key)) for key in _FIELDS)
        content = {key: list(value) if isinstance(value, tuple) else value for key, value in values}
        return {**content, "messages": messages_for(self.question, n_images, self.answer)}


_FIELDS = tuple(item.name for item in fields(Question))


def messages_for(question: str, n_images: int, answer: str | None = None) -> list[dict[str, Any]]:
    """Return a question as the messages of transformers' chat templates and of TRL, a placeholder for each picture.

    Args:
        question (`str`): the text of the question.
        n_images (`int`): number of pictures; they come before the text.
        answer (`str`, *optional*): the right answer, for training; left out for asking.

    Returns:
        `list[dict]`: one message of the user, and one of the assistant where there is an answer.

    Example:
        >>> messages_for("What is it?", 1)
        [{'role': 'user', 'content': [{'type': 'image'}, {'type': 'text', 'text': 'What is it?'}]}]
    """
    pictures: list[dict[str, str]] = [{"type": "image"} for _ in range(n_images)]
    asked = {"role": "user", "content": [*pictures, {"type": _TEXT, "text": question}]}
    if answer is None:
        return [asked]
    return [asked, {"role": "assistant", "content": [{"type": _TEXT, "text": answer}]}]


def pictures_of(columns: Mapping[str, Any]) -> list[Any]:
    """Return the pictures among the input columns of any family, in order.

    Example:
        >>> pictures_of({"image": "a.png"}), pictures_of({"frames": ["b", "c"]}), pictures_of({"image": None})
        (['a.png'], ['b', 'c'], [])
    """
    frames = columns.get("frames")
    if frames is not None:
        return list(frames)
    return [columns["image"]] if columns.get("image") is not None else []


@functools.cache
def question_features() -> "Features":
    """Return the columns of `load_dataset("climb", NAME, qa=True)`: those of `Question`, `images` and `messages`."""
    from datasets import Features, Image, Json, List, Value

    text = Value("string")
    return Features(
        {
            **dict.fromkeys(("id", "source", "group", "split", "modality", "question"), text),
            "choices": List(text),
            "concepts": List(text),
            "answers": List(text),
            "answer": text,
            "multi_label": Value("bool"),
            "uncertain": List(text),
            "paraphrase": Value("int32"),
            "duplicate_of": text,
            "images": List(Image(mode="RGB")),
            "messages": Json(),
        }
    )
