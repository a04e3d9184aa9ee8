"""Answers of a vision-language model: free text, or the choice with the highest likelihood."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from climb_hf.qa.chat import (
    IGNORED,
    append_answers,
    check_context,
    context_limit,
    encode_answer,
    encode_prompts,
    pictures_of_row,
    prompt_text,
)
from climb_hf.qa.templates import NONE_OF_THE_ABOVE
from climb_hf.qa.vlm import Vlm

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Answerer", "Generator", "Likelihood", "Normalisation", "answer_log_likelihoods"]

Normalisation = Literal["tokens", "none"]
#: A choice of a multi-label question holds from this probability of "Yes" against "No".
YES_THRESHOLD = 0.5
_PRESENCE = '{question}\nIs "{choice}" one of the right options? Answer Yes or No.'


class Answerer(Protocol):
    """What answers questions, a batch at a time."""

    def answer(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return `prediction` of each question, and what else is worth keeping."""


@dataclass
class Generator:
    """Answers in free text.

    Args:
        vlm (`Vlm`): the model.
        max_new_tokens (`int`, *optional*, defaults to `64`): tokens of an answer at most.
        temperature (`float`, *optional*, defaults to `0.0`): 0 is greedy; above, answers are drawn.
        seed (`int`, *optional*, defaults to `0`): seed of the drawing.
    """

    vlm: Vlm
    max_new_tokens: int = 64
    temperature: float = 0.0
    seed: int = 0

    def answer(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Generate an answer to each question; left padding, the chat template of the processor.

        Args:
            rows (`Sequence[Mapping]`): questions with undecoded `images`.

        Returns:
            `list[dict]`: `prediction`, the raw text; `n_prompt_tokens`, `n_new_tokens`; `finished`, whether the model
            ended by itself.

        Raises:
            OptionError: a question does not fit into the context.
        """
        import torch

        model, processor = self.vlm.model, self.vlm.processor
        pictures = [pictures_of_row(row) for row in rows]
        prompts = [prompt_text(processor, row["question"], len(own)) for row, own in zip(rows, pictures, strict=True)]
        inputs = encode_prompts(processor, prompts, pictures)
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        check_context(lengths, context_limit(model), rows, n_new=self.max_new_tokens)
        given = {name: value.to(model.device) for name, value in inputs.items()}
        with torch.inference_mode():
            found = model.generate(**given, **self._options(rows))
        width = inputs["input_ids"].shape[1]
        ends = model.generation_config.eos_token_id
        stops = set(ends if isinstance(ends, list) else [ends, processor.tokenizer.eos_token_id])
        answers = []
        for row, n_prompt in zip(found[:, width:].tolist(), lengths, strict=True):
            stop = next((place for place, token in enumerate(row) if token in stops), None)
            kept = row if stop is None else row[:stop]
            text = processor.tokenizer.decode(kept, skip_special_tokens=True)
            answers.append(
                {
                    "prediction": text.strip(),
                    "n_prompt_tokens": n_prompt,
                    "n_new_tokens": len(kept),
                    "finished": stop is not None,
                }
            )
        return answers

    def _options(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        from transformers import set_seed

        options: dict[str, Any] = {"max_new_tokens": self.max_new_tokens, "pad_token_id": self.vlm.pad_token_id}
        if self.temperature == 0:
            return {**options, "do_sample": False, "num_beams": 1, "temperature": None, "top_p": None, "top_k": None}
        import zlib

        set_seed(zlib.crc32(f"{self.seed}\0{rows[0]['source']}\0{rows[0]['id']}".encode()))
        return {**options, "do_sample": True, "temperature": self.temperature, "top_p": None, "top_k": None}


@dataclass
class Likelihood:
    """Takes the choice that the model finds most likely.

    Single-label questions: each choice is put behind the prompt as the whole answer, its end of turn included; the
    one with the highest log-likelihood is taken. Multi-label questions: each choice is asked for by itself, and holds
    where "Yes" is at least as likely as "No" (p of the two >= 0.5); none of them is "None of the above".

    Args:
        vlm (`Vlm`): the model.
        normalise (`str`, *optional*, defaults to `"tokens"`): `"tokens"` divides a log-likelihood by the number of
            answer tokens, so that long choices stand no worse; `"none"` does not.
        batch_size (`int`, *optional*, defaults to `8`): sequences per forward pass.
    """

    vlm: Vlm
    normalise: Normalisation = "tokens"
    batch_size: int = 8

    def answer(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Choose for each question.

        Args:
            rows (`Sequence[Mapping]`): questions with undecoded `images`.

        Returns:
            `list[dict]`: `prediction`, a JSON list of the choices; `chosen`, the same; `scores` by choice:
            log-likelihood, or probability of "Yes".

        Raises:
            OptionError: a question does not fit into the context.
        """
        asked: list[tuple[Mapping[str, Any], str, str, list[Image]]] = []
        for row in rows:
            own = pictures_of_row(row)
            if row["multi_label"]:
                asked += [
                    (row, _PRESENCE.format(question=row["question"], choice=choice), word, own)
                    for choice in row["choices"]
                    if choice != NONE_OF_THE_ABOVE
                    for word in ("Yes", "No")
                ]
            else:
                asked += [(row, row["question"], choice, own) for choice in row["choices"]]
        scores: list[float] = []
        for start in range(0, len(asked), self.batch_size):
            scores += self._scores(asked[start : start + self.batch_size])
        answers, place = [], 0
        for row in rows:
            n = 2 * (len(row["choices"]) - 1) if row["multi_label"] else len(row["choices"])
            answers.append(_chosen(row, scores[place : place + n]))
            place += n
        return answers

    def _scores(self, asked: "Sequence[tuple[Mapping[str, Any], str, str, list[Image]]]") -> list[float]:
        found = answer_log_likelihoods(
            self.vlm,
            [row for row, *_ in asked],
            [question for _, question, _, _ in asked],
            [answer for _, _, answer, _ in asked],
            [pictures for *_, pictures in asked],
        )
        return [total / n if self.normalise == "tokens" else total for total, n in found]


def _chosen(row: Mapping[str, Any], scores: Sequence[float]) -> dict[str, Any]:
    if row["multi_label"]:
        import math

        texts = [choice for choice in row["choices"] if choice != NONE_OF_THE_ABOVE]
        values = [1 / (1 + math.exp(min(no - yes, 700.0))) for yes, no in zip(scores[::2], scores[1::2], strict=True)]
        chosen = [text for text, value in zip(texts, values, strict=True) if value >= YES_THRESHOLD]
    else:
        texts, values = list(row["choices"]), list(scores)
        chosen = [texts[max(range(len(values)), key=values.__getitem__)]]
    chosen = chosen or [NONE_OF_THE_ABOVE]
    return {
        "prediction": json.dumps(chosen, ensure_ascii=False),
        "chosen": chosen,
        "scores": dict(zip(texts, values, strict=True)),
    }


def answer_log_likelihoods(
    vlm: Vlm,
    rows: Sequence[Mapping[str, Any]],
    questions: Sequence[str],
    answers: Sequence[str],
    pictures: "Sequence[Sequence[Image]]",
) -> list[tuple[float, int]]:
    """Return the log-likelihood of answers to questions, in one forward pass.

    Args:
        vlm (`Vlm`): the model.
        rows (`Sequence[Mapping]`): the rows they belong to, for messages.
        questions (`Sequence[str]`): what is asked.
        answers (`Sequence[str]`): the answers.
        pictures (`Sequence[Sequence[Image]]`): the pictures of each.

    Returns:
        `list[tuple[float, int]]`: sum over the answer's tokens, its end of turn included; and their number.

    Raises:
        OptionError: a sequence does not fit into the context.
    """
    import torch

    processor, model = vlm.processor, vlm.model
    prompts = [prompt_text(processor, text, len(own)) for text, own in zip(questions, pictures, strict=True)]
    tokens = [
        encode_answer(processor, text, len(own), answer)
        for text, own, answer in zip(questions, pictures, answers, strict=True)
    ]
    inputs, labels = append_answers(encode_prompts(processor, prompts, pictures, "right"), tokens, vlm.pad_token_id)
    check_context(inputs["attention_mask"].sum(dim=1).tolist(), context_limit(model), rows)
    with torch.inference_mode():
        logits = model(**{name: value.to(model.device) for name, value in inputs.items()}).logits
        targets = labels[:, 1:].to(logits.device)
        counted = targets != IGNORED
        logs = torch.log_softmax(logits[:, :-1].float(), dim=-1)
        found = logs.gather(2, targets.clamp(min=0).unsqueeze(2)).squeeze(2)
        sums = (found * counted).sum(dim=1)
    return list(zip(sums.tolist(), counted.sum(dim=1).tolist(), strict=True))
