"""From questions to the tokens a vision-language model reads: chat template, pictures, answers behind prompts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from climb_hf.errors import AccessError, CorruptFileError, OptionError
from climb_hf.qa.rows import messages_for

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

__all__ = [
    "append_answers",
    "check_context",
    "context_limit",
    "encode_answer",
    "encode_prompts",
    "pictures_of_row",
    "prompt_text",
    "require_template",
]

#: What labels are where no loss is computed, as everywhere in transformers.
IGNORED = -100
_SHOWN = 3


def require_template(processor: Any, model: str) -> None:  # noqa: ANN401 - any processor
    """Refuse a processor without a chat template.

    Args:
        processor: of the model.
        model (`str`): name for the message.

    Raises:
        OptionError: neither the processor nor its tokenizer has one.
    """
    if getattr(processor, "chat_template", None) or getattr(_tokenizer(processor), "chat_template", None):
        return
    raise OptionError(
        f"`{model}`: its processor has no chat template, so how a question must be put to it is unknown. Give one "
        "with `chat_template=FILE` (`--chat-template`), a Jinja file as in the model's documentation, or choose the "
        "instruction-tuned version of the model."
    )


def _tokenizer(processor: Any) -> Any:  # noqa: ANN401 - any processor
    return getattr(processor, "tokenizer", processor)


def pictures_of_row(row: Mapping[str, Any]) -> "list[Image]":
    """Decode the pictures of a question.

    Args:
        row (`Mapping`): a row of `load_dataset("climb", NAME, qa=True)` whose `images` are not decoded (dictionaries
            with `path` and `bytes`) or are pictures already.

    Returns:
        `list[PIL.Image.Image]`: RGB.

    Raises:
        AccessError: a file is no longer there; source, record and file are named.
        CorruptFileError: a file is no picture.
    """
    import datasets

    decoder = datasets.Image(mode="RGB")
    pictures = []
    for value in row["images"] or ():
        if not isinstance(value, Mapping):
            pictures.append(value.convert("RGB"))
            continue
        where = f"{row['source']}: the picture of record `{row['id']}`"
        try:
            pictures.append(decoder.decode_example(dict(value)))
        except FileNotFoundError as error:
            raise AccessError(
                f"{where} is missing: `{value.get('path')}`. Put it back, or build again without it "
                f"(`climb doctor {row['source']}` looks at the whole folder)."
            ) from error
        except (OSError, ValueError, SyntaxError) as error:
            raise CorruptFileError(f"{where} cannot be read (`{value.get('path')}`): {error}") from error
    return pictures


def prompt_text(processor: Any, question: str, n_images: int) -> str:  # noqa: ANN401 - any processor
    """Return a question as the model's chat template writes it, up to where the answer begins.

    Args:
        processor: with a chat template.
        question (`str`): the text.
        n_images (`int`): number of pictures, which come before the text.

    Returns:
        `str`.
    """
    return _rendered(processor, messages_for(question, n_images), add_generation_prompt=True)


def _rendered(processor: Any, messages: list[dict[str, Any]], **options: Any) -> str:  # noqa: ANN401
    try:
        return str(processor.apply_chat_template(messages, tokenize=False, **options))
    except TypeError:  # a template that takes text as a string
        flat = [{**message, "content": _plain(message["content"])} for message in messages]
        return str(processor.apply_chat_template(flat, tokenize=False, **options))


def _plain(content: list[dict[str, Any]]) -> str:
    if any(part["type"] != "text" for part in content):
        raise OptionError("the chat template of this model takes no pictures; choose an image-text-to-text model.")
    return "".join(part["text"] for part in content)


def encode_answer(processor: Any, question: str, n_images: int, answer: str) -> list[int]:  # noqa: ANN401
    """Return the tokens that the template writes behind the prompt for an answer, its end of turn included.

    They are those behind the tokens of the prompt when both are tokenised as one text, as a model writes them. Where a
    token would stand across the border, the answer is tokenised by itself: the tokens of the prompt are the same
    whether it is asked or trained on.

    Args:
        processor: with a chat template.
        question (`str`): the text of the question.
        n_images (`int`): number of pictures.
        answer (`str`): the answer.

    Returns:
        `list[int]`: token ids; the last one ends the turn.

    Raises:
        OptionError: the template writes the answer somewhere else than behind the prompt.
    """
    prompt = prompt_text(processor, question, n_images)
    whole = _rendered(processor, messages_for(question, n_images, answer))
    if not whole.startswith(prompt):
        raise OptionError(
            "the chat template of this model does not write an answer directly behind the prompt of "
            "`add_generation_prompt=True`, so which tokens are the answer is not known. Give another with "
            "`chat_template=FILE` (`--chat-template`)."
        )
    tokenizer = _tokenizer(processor)
    whole = whole.rstrip("\n")
    asked, ids, alone = (
        list(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (prompt, whole, whole[len(prompt) :])
    )
    ids = ids[len(asked) :] if ids[: len(asked)] == asked else alone
    ends = {tokenizer.eos_token_id, *tokenizer.all_special_ids}
    if (not ids or ids[-1] not in ends) and tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
    return ids


def encode_prompts(
    processor: Any,  # noqa: ANN401 - any processor
    prompts: Sequence[str],
    pictures: "Sequence[Sequence[Image]]",
    side: str = "left",
) -> "dict[str, Tensor]":
    """Return prompts with their pictures as one batch.

    Args:
        processor: of the model.
        prompts (`Sequence[str]`): from `prompt_text`, `n` of them.
        pictures (`Sequence[Sequence[Image]]`): those of each prompt.
        side (`str`, *optional*, defaults to `"left"`): where padding goes: left to generate, right to score.

    Returns:
        `dict[str, Tensor]`: `input_ids` and `attention_mask`, shape `(n, tokens)`, and what the vision part reads.
    """
    bos = str(getattr(_tokenizer(processor), "bos_token", None) or "")
    has_start = bool(bos) and all(prompt.startswith(bos) for prompt in prompts)
    given: dict[str, Any] = {"images": [list(own) for own in pictures]} if any(pictures) else {}
    inputs = processor(
        text=list(prompts), **given, padding=True, padding_side=side, return_tensors="pt",
        add_special_tokens=not has_start,
    )  # fmt: skip
    return dict(inputs)


def append_answers(
    inputs: "Mapping[str, Tensor]", answers: Sequence[Sequence[int]], pad_token_id: int
) -> "tuple[dict[str, Tensor], Tensor]":
    """Put answer tokens behind prompts, and mark them as the only ones with a loss.

    Args:
        inputs (`Mapping[str, Tensor]`): from `encode_prompts`, padded on either side.
        answers (`Sequence[Sequence[int]]`): answer tokens of each prompt.
        pad_token_id (`int`): token to pad with, on the right.

    Returns:
        `tuple`: the inputs, and labels of shape `(n, tokens)`: the token where it belongs to an answer, -100
        elsewhere.

    Example:
        >>> import torch
        >>> inputs = {"input_ids": torch.tensor([[0, 5], [6, 7]]), "attention_mask": torch.tensor([[0, 1], [1, 1]])}
        >>> grown, labels = append_answers(inputs, [[8, 9], [8]], 0)
        >>> grown["input_ids"].tolist(), labels.tolist()
        ([[5, 8, 9], [6, 7, 8]], [[-100, 8, 9], [-100, -100, 8]])
    """
    import torch

    ids, mask = inputs["input_ids"], inputs["attention_mask"].bool()
    lengths = [int(row.sum()) + len(own) for row, own in zip(mask, answers, strict=True)]
    shape = (len(lengths), max(lengths))
    grown = {}
    for name, value in inputs.items():
        if value.shape[:2] != ids.shape or value.dim() != 2:
            grown[name] = value
            continue
        rows = value.new_full(shape, pad_token_id if name == "input_ids" else 0)
        for row, own in enumerate(answers):
            kept = value[row][mask[row]]
            rows[row, : len(kept)] = kept
            if name in ("input_ids", "attention_mask"):
                tail = torch.tensor(own if name == "input_ids" else [1] * len(own), dtype=value.dtype)
                rows[row, len(kept) : lengths[row]] = tail
        grown[name] = rows
    labels = ids.new_full(shape, IGNORED)
    for row, own in enumerate(answers):
        labels[row, lengths[row] - len(own) : lengths[row]] = torch.tensor(own, dtype=ids.dtype)
    return grown, labels


def context_limit(model: Any) -> int | None:  # noqa: ANN401 - any model
    """Return how many tokens a model reads and writes together, `None` where its configuration does not say."""
    text = model.config.get_text_config()
    found = getattr(text, "max_position_embeddings", None)
    return int(found) if isinstance(found, int) and found > 0 else None


def check_context(
    lengths: Sequence[int], limit: int | None, rows: Sequence[Mapping[str, Any]], *, n_new: int = 0
) -> None:
    """Refuse questions that do not fit into the context of the model.

    Args:
        lengths (`Sequence[int]`): tokens of each question, those of its pictures included.
        limit (`int`, *optional*): tokens that the model can hold.
        rows (`Sequence[Mapping]`): the questions.
        n_new (`int`, *optional*, defaults to `0`): tokens that have to stay free for the answer.

    Raises:
        OptionError: with the counts of the longest one.
    """
    over = [(length, row) for length, row in zip(lengths, rows, strict=True) if limit and length + n_new > limit]
    if not over:
        return
    length, row = max(over, key=lambda item: item[0])
    named = ", ".join(f"{own['source']}:{own['id']}" for _, own in over[:_SHOWN])
    free = f" and {n_new} tokens are kept for the answer (`max_new_tokens`)" if n_new else ""
    raise OptionError(
        f"{len(over)} of {len(rows)} questions ({named}) do not fit into the model's context of {limit} tokens: the "
        f"longest has {length} tokens with {len(row['images'] or ())} pictures{free}. Show fewer pictures "
        "(`num_frames`, `--num-frames`), smaller ones, or take a model with a longer context."
    )
