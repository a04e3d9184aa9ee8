"""Training on answers: batches whose loss is on answer tokens only, and a trainer for adapters and a projector."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from transformers import Trainer

from climb_hf.errors import TrainingError
from climb_hf.qa.chat import (
    append_answers,
    check_context,
    encode_answer,
    encode_prompts,
    pictures_of_row,
    prompt_text,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AdapterTrainer", "AnswerCollator"]


class AnswerCollator:
    """Makes batches of questions with their answers.

    Args:
        processor: of the model, with a chat template.
        pad_token_id (`int`): token to pad with.
        limit (`int`, *optional*): tokens that the model can hold.

    Raises:
        OptionError: a question with its answer does not fit into the context; with counts.
    """

    def __init__(self, processor: Any, pad_token_id: int, limit: int | None = None) -> None:  # noqa: ANN401
        self.processor, self.pad_token_id, self.limit = processor, pad_token_id, limit

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> "dict[str, Tensor]":
        """Encode a batch.

        Args:
            rows (`Sequence[Mapping]`): questions with undecoded `images`.

        Returns:
            `dict[str, Tensor]`: what the model reads, and `labels`: the token where it belongs to an answer or ends
            it, -100 elsewhere.
        """
        pictures = [pictures_of_row(row) for row in rows]
        texts = [
            prompt_text(self.processor, row["question"], len(own)) for row, own in zip(rows, pictures, strict=True)
        ]
        answers = [
            encode_answer(self.processor, row["question"], len(own), row["answer"])
            for row, own in zip(rows, pictures, strict=True)
        ]
        inputs = encode_prompts(self.processor, texts, pictures, "right")
        inputs, labels = append_answers(inputs, answers, self.pad_token_id)
        check_context(inputs["attention_mask"].sum(dim=1).tolist(), self.limit, rows)
        return {**inputs, "labels": labels}


class AdapterTrainer(Trainer):
    """A `transformers.Trainer` with a learning rate of its own for the projector, and a stop where the loss breaks.

    Args:
        *args: as of `transformers.Trainer`.
        projector_learning_rate (`float`, *optional*): of parameters that are no adapters.
        **kwargs: as of `transformers.Trainer`.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - as of Trainer
        projector_learning_rate: float | None = None,
        **kwargs: Any,  # noqa: ANN401 - as of Trainer
    ) -> None:
        self.projector_learning_rate = projector_learning_rate
        super().__init__(*args, **kwargs)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:  # noqa: ANN401 - any model
        """Create the optimizer that the arguments name, with a group for adapters and one for the projector.

        Args:
            model (`nn.Module`, *optional*): the model; that of the trainer by default.

        Returns:
            `torch.optim.Optimizer`.
        """
        own: Any = self.model
        if self.optimizer is None:
            trained = [(name, one) for name, one in own.named_parameters() if one.requires_grad]
            adapters = [one for name, one in trained if "lora_" in name]
            others = [one for name, one in trained if "lora_" not in name]
            kind, options = Trainer.get_optimizer_cls_and_kwargs(self.args, own)
            decay = {"weight_decay": self.args.weight_decay}
            rate = self.projector_learning_rate or self.args.learning_rate
            groups = [{"params": adapters, **decay}, {"params": others, **decay, "lr": rate}]
            self.optimizer = kind([group for group in groups if group["params"]], **options)
        return self.optimizer

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> "Tensor":  # noqa: ANN401
        """Run one micro-batch.

        Args:
            model (`nn.Module`): the model, possibly wrapped.
            inputs (`dict`): the batch.
            num_items_in_batch (*optional*): answer tokens of the whole optimizer step.

        Returns:
            `Tensor`: the detached loss.

        Raises:
            TrainingError: the loss is not finite.
        """
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not bool(torch.isfinite(loss)):
            raise TrainingError(
                f"the loss is not finite at step {self.state.global_step + 1}. Lower `training.learning_rate`, or "
                "train in bfloat16 or float32 instead of float16."
            )
        return loss
