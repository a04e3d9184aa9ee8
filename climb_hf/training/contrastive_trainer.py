"""`ContrastiveTrainer`: image-text pretraining with negatives from all processes, and gradient caching.

Gradient caching (Gao et al., 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"): the
contrastive batch is embedded in chunks without a graph, the loss and its gradient by the embeddings are computed over
all of them, and each chunk is embedded again, with the same random state, to carry its share of that gradient to the
weights. The gradient is that of the whole batch; the memory is that of a chunk.
"""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from torch.nn import functional
from transformers import TrainerCallback
from transformers.trainer_utils import speed_metrics

from climb_hf.errors import OptionError, TrainingError
from climb_hf.training.batches import RECORD_KEYS, ROW_INDEX
from climb_hf.training.contrastive import (
    clamp_logit_scale,
    contrastive_loss,
    effective_scale,
    gather_with_gradient,
    recall_at_1,
    warmup_cosine,
)
from climb_hf.training.contrastive_arguments import ContrastiveTrainingArguments
from climb_hf.training.contrastive_data import TEXT_KEY, ContrastiveCollator
from climb_hf.training.pretraining import PretrainingTrainer

__all__ = ["ContrastiveTrainer"]

_NAMED = 20  # records that an error lists


class ContrastiveTrainer(PretrainingTrainer):
    """Trains a dual encoder on pairs of image and text.

    The loss is `climb_hf.training.contrastive.contrastive_loss` over the pairs of one micro-batch of all processes, in
    float32; accumulated micro-batches are averaged. N processes give the loss curve of one at the same contrastive
    batch (up to dropout). With `lr_scheduler_type="cosine"` the schedule is `warmup_cosine`, W = ⌊T · warmup_steps⌋
    where `warmup_steps` is below 1. Weight decay acts on every parameter of two or more dimensions, tables of
    positions included, and on no other.

    Args:
        model (`PreTrainedModel`): `VisionTextDualEncoderModel`, or any model that returns `image_embeds` and
            `text_embeds` and has a `logit_scale`.
        args (`ContrastiveTrainingArguments`): the arguments.
        train_dataset, eval_dataset: rows with `image`, `text`, `id`, `source`, `group`.
        processing_class (`VisionTextDualEncoderProcessor`): saved beside every checkpoint.
        **kwargs: as `ClimbTrainer`.

    Raises:
        OptionError: arguments that contradict each other or the model.
        TrainingError: from `train`, embeddings, a loss or a gradient that are not finite; records are named.
    """

    args: ContrastiveTrainingArguments

    def __init__(
        self,
        model: nn.Module,
        args: ContrastiveTrainingArguments,
        train_dataset: Any = None,  # noqa: ANN401 - any dataset
        eval_dataset: Any = None,  # noqa: ANN401 - any dataset
        processing_class: Any = None,  # noqa: ANN401 - any processor
        data_collator: Any = None,  # noqa: ANN401 - any callable
        **kwargs: Any,  # noqa: ANN401 - as in ClimbTrainer
    ) -> None:
        if not isinstance(args, ContrastiveTrainingArguments):
            raise OptionError(f"`args` must be `ContrastiveTrainingArguments`, found `{type(args).__name__}`.")
        super().__init__(
            model,
            args,
            ContrastiveCollator(processing_class) if data_collator is None else data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            **kwargs,
        )
        self._check_setting()
        self._finite_rows: list[tuple[Tensor, Mapping[str, Any]]] = []
        self.add_callback(_Clamp(self))

    def _check_setting(self) -> None:
        if self.args.n_gpu > 1:
            raise OptionError(
                "one process sees several devices, where the loss would not see all pairs; start one process per "
                "device: `torchrun --nproc-per-node N -m climb_hf train …`."
            )
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise OptionError("contrastive training runs under DDP only, not under FSDP or DeepSpeed.")
        if self.args.gradient_cache_size is None:
            return
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.model.modules()):
            raise OptionError(
                "`gradient_cache_size` embeds a batch in chunks, but the model has batch norm, which looks across "
                "the batch; leave it away, or choose a tower with layer norm."
            )

    # ---- loss ----

    @property
    def logit_scale(self) -> nn.Parameter:
        """The learned logarithm of the scale."""
        scale: nn.Parameter = self.accelerator.unwrap_model(self.model).logit_scale
        return scale

    def pair_loss(self, image: Tensor, text: Tensor, inputs: Mapping[str, Any]) -> Tensor:
        """Return the loss of one micro-batch over the pairs of all processes; the same on every process.

        Args:
            image (`Tensor`): (n, d) embeddings of this process.
            text (`Tensor`): (n, d).
            inputs (`Mapping`): the batch: `row_index`, `text_key`.

        Returns:
            `Tensor`: scalar float32.
        """
        keys = inputs.get(TEXT_KEY) if self.args.false_negatives == "mask" else None
        with torch.autocast(image.device.type, enabled=False):
            both = torch.cat(
                [functional.normalize(_at_least_float32(part), dim=-1) for part in (image, text)], 1
            )  # (n, 2 d)
            if self.accelerator.num_processes > 1:
                both, keys = self._gather(both, keys, inputs.get(ROW_INDEX))
            image, text = both.chunk(2, 1)  # (N, 2 d) -> (N, d), (N, d)
            scale = effective_scale(self.logit_scale, self.args.logit_scale)
            return contrastive_loss(image, text, scale, keys)

    def _gather(self, both: Tensor, keys: Tensor | None, index: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Gather the embeddings and keys of all processes, without the rows that only fill up a batch."""
        none = torch.zeros(len(both), dtype=torch.int64, device=both.device)
        notes = torch.stack([none if index is None else index, none if keys is None else keys], 1)
        notes = self.accelerator.gather(notes)  # (n, 2) -> (N, 2)
        both = gather_with_gradient(both)  # (n, 2 d) -> (N, 2 d)
        counts = notes[:, 0] >= 0
        return both[counts], None if keys is None else notes[counts, 1]

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ANN401 - as in ClimbTrainer
    ) -> Any:  # noqa: ANN401 - a loss, or a loss and the outputs
        """Compute the loss of one micro-batch.

        Args:
            model (`nn.Module`): the model, possibly wrapped.
            inputs (`dict`): the batch; it is not changed.
            return_outputs (`bool`, *optional*, defaults to `False`): also return the model's outputs.
            num_items_in_batch (`Tensor`, *optional*): not used.

        Returns:
            `Tensor` or `tuple[Tensor, ModelOutput]`: the loss, divided by the number of accumulated micro-batches.
        """
        outputs = model(**_features(inputs))
        loss = self._noted_loss(outputs["image_embeds"], outputs["text_embeds"], inputs)
        return (loss, outputs) if return_outputs else loss

    def _noted_loss(self, image: Tensor, text: Tensor, inputs: Mapping[str, Any]) -> Tensor:
        finite = torch.isfinite(image.detach()).all(1) & torch.isfinite(text.detach()).all(1)
        self._finite_rows.append((finite, {key: inputs.get(key) for key in RECORD_KEYS}))
        return self.pair_loss(image, text, inputs) / self.current_gradient_accumulation_steps

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Run forward and backward of one micro-batch, in chunks where `gradient_cache_size` asks for it.

        Args:
            model (`nn.Module`): the model, possibly wrapped.
            inputs (`dict`): the batch.
            num_items_in_batch (`Tensor`, *optional*): not used.

        Returns:
            `Tensor`: the detached loss.
        """
        if self.args.gradient_cache_size is None:
            return super().training_step(model, inputs, num_items_in_batch)
        model.train()
        inputs = self._prepare_inputs(inputs)
        loss = self._cached_step(model, inputs, self.args.gradient_cache_size)
        self._pending.append((torch.isfinite(loss), inputs))
        return loss

    def _cached_step(self, model: nn.Module, inputs: dict[str, Any], size: int) -> Tensor:
        features = _features(inputs)
        rows = len(features["pixel_values"])
        chunks = [{key: value[at : at + size] for key, value in features.items()} for at in range(0, rows, size)]
        states, parts = [], []
        for chunk in chunks:
            states.append(_random_state(self.args.device))
            with torch.no_grad(), self.compute_loss_context_manager():
                parts.append(_embeds(model(**chunk)))
        image, text = (torch.cat(side).requires_grad_() for side in zip(*parts, strict=True))  # (n, d) each
        loss = self._noted_loss(image, text, inputs)
        by_image, by_text, by_scale = torch.autograd.grad(loss, [image, text, self.logit_scale])
        del parts, image, text
        for number, (chunk, state) in enumerate(zip(chunks, states, strict=True)):
            last = number == len(chunks) - 1
            at = slice(number * size, (number + 1) * size)
            _restore_random_state(self.args.device, state)
            # The processes exchange gradients once, after the last chunk.
            with contextlib.nullcontext() if last else self.accelerator.no_sync(model):
                with self.compute_loss_context_manager():
                    one, other = _embeds(model(**chunk))
                carrier = (one * by_image[at]).sum() + (other * by_text[at]).sum()
                if last:
                    carrier = carrier + self.logit_scale * by_scale
                self.accelerator.backward(carrier)
        return loss.detach()

    def check_finite(self) -> None:
        """Stop if a loss of this optimizer step, or its gradient, is not finite; called before the step is taken.

        Raises:
            TrainingError: naming the records whose embeddings are not finite, where there are any, on every process.
        """
        noted, self._finite_rows = self._finite_rows, []
        try:
            super().check_finite()
        except TrainingError as error:
            named = gather_object([name for finite, records in noted for name in _not_finite(finite, records)])
            if not named:
                raise
            more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
            raise TrainingError(
                f"the embeddings of {', '.join(named[:_NAMED])}{more} are not finite at step "
                f"{self.state.global_step + 1}; the optimizer has not been stepped. Check these records' pictures and "
                "texts, lower `learning_rate`, or train in bfloat16 or float32 instead of float16."
            ) from error

    # ---- optimizer, schedule, logs ----

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Return the names of the parameters with weight decay: all of two or more dimensions.

        Args:
            model (`nn.Module`): the model.

        Returns:
            `list[str]`
        """
        return [name for name, value in model.named_parameters() if value.ndim > 1]

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:  # noqa: ANN401 - as in Trainer
        """Create the schedule, see the class.

        Args:
            num_training_steps (`int`): optimizer steps of the whole training.
            optimizer (`torch.optim.Optimizer`, *optional*): defaults to the trainer's.

        Returns:
            The scheduler.
        """
        if self.args.lr_scheduler_type != "cosine" or self.args.lr_scheduler_kwargs:
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:
            share = self.args.warmup_steps
            warmup = int(share) if share >= 1 else math.floor(num_training_steps * share + 1e-9)
            scaled: Any = self.optimizer if optimizer is None else optimizer
            scheduler: Any = torch.optim.lr_scheduler.LambdaLR(
                scaled, lambda step: warmup_cosine(step, num_training_steps, warmup)
            )
            self.lr_scheduler = scheduler
        return self.lr_scheduler

    def log(self, logs: dict[str, Any], *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as in Trainer
        """Log numbers, with the scale s beside every training loss.

        Args:
            logs (`dict`): the numbers.
            *args: as in `transformers.Trainer`.
            **kwargs: as in `transformers.Trainer`.
        """
        if "loss" in logs:
            logs["logit_scale"] = float(self.logit_scale.detach().float().exp())
        super().log(logs, *args, **kwargs)

    # ---- evaluation ----

    def embed_pairs(self, dataset: Any = None) -> dict[str, Tensor]:  # noqa: ANN401 - any dataset
        """Embed every pair of a dataset once, whatever the number of processes.

        Args:
            dataset (`Dataset`, *optional*): defaults to `self.eval_dataset`.

        Returns:
            `dict`: `image` and `text`, (n, d) float32 of unit length on the CPU, and `text_key` (n,) int64, in the
            order of the dataset.
        """
        loader = self.get_eval_dataloader(dataset)
        self.callback_handler.eval_dataloader = loader
        was_training = self.model.training
        self.model.eval()
        found: list[tuple[Tensor, ...]] = []
        for batch in loader:
            inputs = self._prepare_inputs(batch)
            with torch.no_grad(), self.compute_loss_context_manager():
                embeds = _embeds(self.model(**_features(inputs)))
            unit = (functional.normalize(part.float(), dim=-1) for part in embeds)
            gathered = self.accelerator.gather((*unit, inputs[TEXT_KEY], inputs[ROW_INDEX]))
            found.append(tuple(part.cpu() for part in gathered))
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        self.model.train(was_training)
        image, text, keys, index = (torch.cat(parts) for parts in zip(*found, strict=True))
        # The last batch may repeat rows: the first of each counts, in ascending order.
        order = torch.from_numpy(np.unique(index.numpy(), return_index=True)[1])
        return {"image": image[order], "text": text[order], TEXT_KEY: keys[order]}

    def evaluate(
        self,
        eval_dataset: Any = None,  # noqa: ANN401 - any dataset
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, Any]:
        """Measure loss and retrieval on held-out pairs.

        Args:
            eval_dataset (`Dataset`, *optional*): defaults to `self.eval_dataset`.
            ignore_keys (`list[str]`, *optional*): not used.
            metric_key_prefix (`str`, *optional*, defaults to `"eval"`): prefix of every key.

        Returns:
            `dict`: `eval_loss`, the mean over blocks of a contrastive batch in the order of the rows, weighted by
            their size; `eval_recall_at_1_image_to_text`, `eval_recall_at_1_text_to_image` over all rows with the own
            row as the one right answer, their mean `eval_recall_at_1`, and `eval_chance_at_1` = 1 / n.
        """
        start = time.time()
        found = self.embed_pairs(eval_dataset)
        image, text, keys = found["image"], found["text"], found[TEXT_KEY]
        size, masks = self._train_batch_size * self.args.world_size, self.args.false_negatives == "mask"
        scale = float(effective_scale(self.logit_scale.detach(), self.args.logit_scale))
        blocks = [slice(at, at + size) for at in range(0, len(image), size)]
        losses = [contrastive_loss(image[at], text[at], scale, keys[at] if masks else None) for at in blocks]
        total = sum(float(loss) * len(image[at]) for loss, at in zip(losses, blocks, strict=True))
        recalls = recall_at_1(image, text), recall_at_1(text, image)
        metrics: dict[str, Any] = {
            "loss": total / len(image),
            "recall_at_1_image_to_text": recalls[0],
            "recall_at_1_text_to_image": recalls[1],
            "recall_at_1": sum(recalls) / 2,
            "chance_at_1": 1 / len(image),
            "n": len(image),
        }
        metrics = {f"{metric_key_prefix}_{key}": value for key, value in metrics.items()}
        metrics.update(speed_metrics(metric_key_prefix, start, num_samples=len(image)))
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class _Clamp(TrainerCallback):
    def __init__(self, trainer: ContrastiveTrainer) -> None:
        self.trainer = trainer

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401
        # mmlearn clips s where it is used, where a scale above the bound has no gradient and stays; the parameter
        # itself is clamped here, as in open_clip, so that it can fall again and the checkpoint holds what was used.
        clamp_logit_scale(self.trainer.logit_scale, self.trainer.args.max_logit_scale)


def _features(inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    return {key: value for key, value in inputs.items() if key not in (*RECORD_KEYS, ROW_INDEX, TEXT_KEY)}


def _embeds(outputs: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    return _at_least_float32(outputs["image_embeds"]), _at_least_float32(outputs["text_embeds"])


def _at_least_float32(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _not_finite(finite: Tensor, records: Mapping[str, Any]) -> Iterator[str]:
    rows = finite.tolist()
    ids, sources = (records.get(key) or ["?"] * len(rows) for key in ("ids", "sources"))
    return (f"{source}:{name}" for name, source, good in zip(ids, sources, rows, strict=True) if not good)


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _restore_random_state(device: torch.device, states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
