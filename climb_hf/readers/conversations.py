"""Conversations in LLaVA's JSON form, as chat messages: one row of `image`, `conversations` and whatever else."""

from typing import Any

from climb_hf.errors import SchemaError

__all__ = ["IMAGE_TOKEN", "conversation_of", "to_messages", "to_text"]

#: Where the picture stands in a turn, in the form that LLaVA reads.
IMAGE_TOKEN = "<image>"  # noqa: S105 - a place holder, no secret
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
#: LLaVA-Med's files spell the key in both ways, and its trainer reads both.
_KEYS = ("conversations", "conversatons")


def conversation_of(row: dict[str, Any]) -> list[tuple[str, str]]:
    r"""Return the turns of a row.

    Args:
        row (`dict`): with `conversations` (or `conversatons`): a list of `{"from": …, "value": …}`.

    Returns:
        `list[tuple[str, str]]`: role (`"user"`, `"assistant"` or `"system"`) and text as written.

    Raises:
        SchemaError: there is no turn, or one has another form.

    Example:
        >>> conversation_of({"conversatons": [{"from": "human", "value": "<image>\nWhat is it?"}]})
        [('user', '<image>\nWhat is it?')]
    """
    turns = next((row[key] for key in _KEYS if key in row), None)
    if not isinstance(turns, list) or not turns:
        raise SchemaError(f"expected a list of turns under `conversations`, found {turns!r}.")
    found = []
    for turn in turns:
        role = _ROLES.get(turn.get("from", "")) if isinstance(turn, dict) else None
        if role is None or not isinstance(turn.get("value"), str):
            raise SchemaError(
                f"expected a turn `{{'from': 'human' or 'gpt', 'value': text}}`, found {str(turn)[:80]!r}."
            )
        found.append((role, turn["value"]))
    return found


def to_messages(turns: list[tuple[str, str]], *, has_image: bool) -> list[dict[str, Any]]:
    r"""Return turns as the messages that chat templates of `transformers` take.

    Args:
        turns (`list[tuple[str, str]]`): role and text.
        has_image (`bool`): put a place for the picture first into the first user turn.

    Returns:
        `list[dict]`: `{"role": …, "content": [{"type": "image"}, {"type": "text", "text": …}]}`; the image token is
        taken out of the text.

    Example:
        >>> to_messages([("user", "What is it?\n<image>"), ("assistant", "A CT.")], has_image=True)[0]["content"]
        [{'type': 'image'}, {'type': 'text', 'text': 'What is it?'}]
    """
    messages, is_due = [], has_image
    for role, text in turns:
        content: list[dict[str, Any]] = [{"type": "text", "text": _without_token(text)}]
        if is_due and role == "user":
            content.insert(0, {"type": "image"})
            is_due = False
        messages.append({"role": role, "content": content})
    return messages


def to_text(turns: list[tuple[str, str]]) -> str:
    r"""Return a conversation as plain text, one turn after the other on lines of their own.

    Args:
        turns (`list[tuple[str, str]]`): role and text.

    Returns:
        `str`: without image tokens.

    Example:
        >>> to_text([("user", "<image>\nWhat is it?"), ("assistant", "A CT.")])
        'What is it?\nA CT.'
    """
    return "\n".join(_without_token(text) for _, text in turns)


def _without_token(text: str) -> str:
    return text.replace(IMAGE_TOKEN, "").strip() if IMAGE_TOKEN in text else text
