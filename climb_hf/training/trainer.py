"""`ClimbTrainer`: a `transformers.Trainer` for mixtures of sources with masked labels.

Accelerate, DDP, mixed precision, resuming, trackers and `push_to_hub` are transformers' own. Added are the masked loss
normalised over the valid rows of the whole optimizer step, the mixture, evaluation per source, and a stop at the first
loss that is not finite.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import TrainerCallback

from climb_hf.errors import OptionError, TrainingError
from climb_hf.training.arguments import ClimbTrainingArguments
from climb_hf.training.batches import TARGET_KEYS, check_rows, describe, empty_stand_ins, logits_of, split_batch
from climb_hf.training.collator import ClassificationCollator
from climb_hf.training.evaluating import SourceEvaluator
from climb_hf.training.losses import class_weights_from_counts, masked_classification_loss, valid_rows
from climb_hf.training.node_rows import scores_nodes
from climb_hf.training.optimizers import decay_parameter_names, optimizer_class
from climb_hf.training.publishing import CardWriter
from climb_hf.training.sampling import IndexedRows, MixtureSampler, RowIndexCollator, refuse_no_batch, source_codes

__all__ = ["ClimbTrainer"]


class ClimbTrainer(CardWriter, SourceEvaluator):
    """Trains and evaluates a classifier on any mixture of sources.

    The model is called without labels and returns `logits` (batch, |V|); the loss is `masked_classification_loss` over
    the batch's `labels`, `target_mask` and `exclusive`, divided by the number of valid rows of the whole optimizer
    step: all micro-batches, all processes. So gradient accumulation and N processes give the loss curve of one process
    at the same global batch (up to dropout and layers that look across the batch, such as batch norm). Where processes
    need more rows to fill the last batch of an epoch, stand-ins without a valid label are used. A batch without
    `labels` is trained on the model's own `loss` (self-supervised models).

    Args:
        model (`PreTrainedModel`, *optional*): its `config` has `vocabulary`, `source_classes`, `source_multi_label`.
        args (`ClimbTrainingArguments`, *optional*): the arguments.
        data_collator (`Callable`, *optional*): rows to batch, with `labels`, `target_mask`, `exclusive` and the lists
            `ids`, `sources`, `groups`. Defaults to a `ClassificationCollator` from `processing_class` and the
            model's configuration.
        train_dataset, eval_dataset, processing_class: as in `transformers.Trainer`; `eval_dataset` may hold several
            sources, or be a dictionary of datasets. `processing_class` is saved beside every checkpoint.
        class_weights (`Tensor`, *optional*): (|V|,) weights of the terms of multi-label rows; defaults to what
            `args.class_weighting` asks for.
        modalities (`Mapping[str, str]`, *optional*): modality of each source; defaults to the library's vocabulary.
        **kwargs: further arguments of `transformers.Trainer`. `compute_metrics` is called with all logits and labels;
            `compute_loss_func` and `preprocess_logits_for_metrics` are refused.

    Raises:
        OptionError: arguments that contradict the masked loss.
        TrainingError: from `train`, a loss or gradient that is not finite, before the optimizer uses it.

    Example:
        ```python
        arguments = ClimbTrainingArguments("runs/skin", mixture="balanced", num_train_epochs=5)
        trainer = ClimbTrainer(model, arguments, train_dataset=mixture["train"],
                               eval_dataset=mixture["validation"], processing_class=processor)
        trainer.train()
        trainer.evaluate()["eval_mean_auc"]
        ```
    """

    args: ClimbTrainingArguments
    model: Any
    data_collator: Any

    #: The loss is normalised over the accumulated batch; transformers must not divide it again.
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: nn.Module | None = None,
        args: ClimbTrainingArguments | None = None,
        data_collator: Any = None,  # noqa: ANN401 - any callable
        train_dataset: Any = None,  # noqa: ANN401 - any dataset
        eval_dataset: Any = None,  # noqa: ANN401 - any dataset, or a dictionary of them
        processing_class: Any = None,  # noqa: ANN401 - any processor
        *,
        class_weights: Tensor | None = None,
        modalities: Mapping[str, str] | None = None,
        **kwargs: Any,  # noqa: ANN401 - arguments of Trainer
    ) -> None:
        args = ClimbTrainingArguments() if args is None else args
        if not isinstance(args, ClimbTrainingArguments):
            raise OptionError(f"`args` must be `ClimbTrainingArguments`, found `{type(args).__name__}`.")
        for name in ("compute_loss_func", "preprocess_logits_for_metrics"):
            if kwargs.get(name) is not None:
                raise OptionError(f"`{name}` is not supported: override `ClimbTrainer.classification_loss` instead.")
        self._user_metrics = kwargs.pop("compute_metrics", None)
        if kwargs.get("optimizers", (None, None))[0] is None and kwargs.get("optimizer_cls_and_kwargs") is None:
            kwargs["optimizer_cls_and_kwargs"] = optimizer_class(args)
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            **kwargs,
        )
        self.model_accepts_loss_kwargs = True  # releases without `loss_is_scaled_for_ga` read this one
        if data_collator is None:
            data_collator = self._default_collator()
        self.data_collator = RowIndexCollator(data_collator)
        self._weights = class_weights
        self._modalities = modalities
        self._sampler: MixtureSampler | None = None
        self._pending: list[tuple[Tensor, dict[str, Any]]] = []
        self._grad_norm: Any = None
        self._seen = {}
        self.evaluation_table = None
        self.add_callback(_Hooks(self))

    # ---- data ----

    def _default_collator(self) -> ClassificationCollator:
        if self.processing_class is None or not hasattr(self.model.config, "source_classes"):
            raise OptionError(
                "no `data_collator` was given, and none can be made: pass `processing_class=` (the image processor) "
                "and a model whose configuration has `vocabulary`, `source_classes` and `source_multi_label`."
            )
        data = self.train_dataset
        if data is None:
            data = next(iter(self.eval_dataset.values())) if isinstance(self.eval_dataset, dict) else self.eval_dataset
        known = data if "labels" in (getattr(data, "features", None) or {}) else None
        return ClassificationCollator.from_config(
            self.processing_class,
            self.model.config,
            known,
            uncertain=self.args.uncertain,
            num_frames=self.args.num_frames,
        )

    def _get_dataloader(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as in Trainer
        if (prepare := getattr(self.data_collator.collator, "prepare_dataset", None)) is not None:
            dataset = prepare(dataset)
        if not isinstance(dataset, torch.utils.data.IterableDataset) and hasattr(dataset, "__len__"):
            dataset = IndexedRows(dataset)
        collator, training = self.data_collator, kwargs.get("is_training", False)
        if training and hasattr(collator.collator, "for_training"):
            self.data_collator = RowIndexCollator(collator.collator.for_training(self._data_seed()))
        drop_last = self.args.dataloader_drop_last
        # transformers drops the last batch of evaluations too; an evaluation must count every row.
        self.args.dataloader_drop_last = drop_last and training
        try:
            return super()._get_dataloader(dataset, *args, **kwargs)
        finally:
            self.args.dataloader_drop_last, self.data_collator = drop_last, collator

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:  # noqa: ANN401 - as in Trainer
        """Return the dataloader of an evaluation.

        Args:
            eval_dataset (`Dataset` or `str`, *optional*): a dataset, or the name of one of `self.eval_dataset`.

        Returns:
            `DataLoader`.
        """
        # With persistent workers transformers keeps one loader for all datasets passed as objects.
        getattr(self, "_eval_dataloaders", {}).pop("eval", None)
        return super().get_eval_dataloader(eval_dataset)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:  # noqa: ANN401 - as in Trainer
        if not isinstance(train_dataset, IndexedRows):
            return super()._get_train_sampler(train_dataset)
        world = self.accelerator.num_processes
        split = getattr(self.args.accelerator_config, "split_batches", False)
        batch, drop_last = self._train_batch_size * (1 if split else world), self.args.dataloader_drop_last
        multiple = batch if world > 1 and not drop_last else 1
        codes, _ = source_codes(train_dataset.dataset)
        seed = self._data_seed()
        self._sampler = MixtureSampler(codes, self.args.mixture, self.args.temperature, seed, multiple, numbered=True)
        refuse_no_batch(len(self._sampler), batch if drop_last else 1)
        return self._sampler

    def _data_seed(self) -> int:
        return self.args.seed if self.args.data_seed is None else self.args.data_seed

    # ---- loss ----

    def classification_loss(self, logits: Tensor, targets: Mapping[str, Tensor], items: Tensor | None) -> Tensor:
        """Return the loss of one micro-batch; override to train on another one.

        Args:
            logits (`Tensor`): (batch, |V|).
            targets (`Mapping[str, Tensor]`): `labels`, and where the collator gives them `target_mask`, `exclusive`.
            items (`Tensor`, *optional*): number of valid rows of the whole optimizer step; the sum over rows is to be
                divided by it.

        Returns:
            `Tensor`: scalar.
        """
        return masked_classification_loss(
            logits,
            targets["labels"],
            targets.get("target_mask"),
            targets.get("exclusive"),
            class_weights=self.class_weights(logits.device),
            num_items_in_batch=items,
        )

    def class_weights(self, device: torch.device | str = "cpu") -> Tensor | None:
        """Return the weights of the classes in multi-label rows.

        Args:
            device (`torch.device`, *optional*, defaults to `"cpu"`): where to put them.

        Returns:
            `Tensor`: (|V|,) float32, or `None` without weighting.
        """
        if self._weights is None and self.args.class_weighting == "inverse_frequency":
            targets = getattr(self.data_collator.collator, "targets", None)
            if targets is None or self.train_dataset is None or scores_nodes(self.model.config):
                raise OptionError(
                    "`class_weighting='inverse_frequency'` counts the labels of the records (not of their nodes) of "
                    "`train_dataset` with the collator's `targets`; pass both, or the weights as `class_weights=`."
                )
            self._weights = class_weights_from_counts(*targets.positive_counts(self.train_dataset))
        if self._weights is not None:
            self._weights = self._weights.to(device)
        return self._weights

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> Tensor | None:
        if not batch_samples or "labels" not in batch_samples[0]:
            return None
        for batch in batch_samples:
            empty_stand_ins(batch)
        count = torch.stack(
            [valid_rows(*(batch.get(key) for key in TARGET_KEYS)).sum() for batch in batch_samples]
        ).sum()
        if self.accelerator.num_processes > 1:
            count = self.accelerator.gather(count.to(device).reshape(1)).sum()
        return count.to(device) / self._replicas()

    def _replicas(self) -> int:
        # Ranks of one tensor-parallel group see the same batch.
        return self.get_tp_size() if hasattr(self, "get_tp_size") else 1

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,  # noqa: ANN401 - a Tensor or a number
    ) -> Any:  # noqa: ANN401 - a loss, or a loss and the outputs
        """Compute the loss of one micro-batch.

        Args:
            model (`nn.Module`): the model, possibly wrapped.
            inputs (`dict`): the batch; it is not changed.
            return_outputs (`bool`, *optional*, defaults to `False`): also return the model's outputs.
            num_items_in_batch (`Tensor`, *optional*): valid rows of the whole optimizer step, over all processes.

        Returns:
            `Tensor` or `tuple[Tensor, ModelOutput]`: the loss, scaled such that the mean over processes of the sums
            over micro-batches is the loss of the global batch.
        """
        features, targets = split_batch(inputs)
        outputs = model(**features)
        if "labels" in targets:
            check_rows(logits_of(outputs), targets["labels"])
            loss = self.classification_loss(logits_of(outputs), targets, num_items_in_batch)
            if num_items_in_batch is not None:
                # DDP averages the gradients of the processes, the loss of the global batch is their sum.
                loss = loss * (self.accelerator.num_processes // self._replicas())
        else:
            loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs[0]
            if self.is_in_train:
                loss = loss / self.current_gradient_accumulation_steps
        return (loss, outputs) if return_outputs else loss

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | int | None = None
    ) -> Tensor:
        """Run forward and backward of one micro-batch, and note whether its loss is finite.

        Args:
            model (`nn.Module`): the model, possibly wrapped.
            inputs (`dict`): the batch.
            num_items_in_batch (`Tensor`, *optional*): valid rows of the whole optimizer step.

        Returns:
            `Tensor`: the detached loss.
        """
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._pending.append((torch.isfinite(loss), inputs))
        return loss

    def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as in Trainer
        self._grad_norm = super()._get_grad_norm(*args, **kwargs)
        return self._grad_norm

    def check_finite(self) -> None:
        """Stop if a loss of this optimizer step, or its gradient, is not finite; called before the step is taken.

        One value is read back from the device per optimizer step. With several processes all of them stop. A gradient
        that overflows under float16 is left to the loss scaler.

        Raises:
            TrainingError: naming the records of the micro-batches in question, on every process.
        """
        pending, norm = self._pending, self._grad_norm
        self._pending, self._grad_norm = [], None
        if not pending:
            return
        losses = torch.stack([flag for flag, _ in pending])
        finite = losses.all()
        scaled = getattr(self.accelerator, "scaler", None) is not None
        if isinstance(norm, Tensor) and not scaled:
            finite = finite & torch.isfinite(norm.detach()).to(finite.device)
        elif isinstance(norm, float) and not scaled and not math.isfinite(norm):
            finite = torch.zeros_like(finite)
        if self.accelerator.num_processes > 1:
            finite = self.accelerator.gather(finite.reshape(1).int()).min() > 0
        if bool(finite):
            return
        bad = [batch for flag, batch in pending if not bool(flag)]
        named = gather_object([describe(batch) for batch in bad])
        what = "the loss" if named else "the gradient"
        named = named or gather_object([describe(batch) for _, batch in pending])
        raise TrainingError(
            f"{what} is not finite at step {self.state.global_step + 1}; the optimizer has not been stepped. "
            f"Records of the batch: {'; '.join(named)}. Check these records' inputs, lower `learning_rate`, or train "
            "in bfloat16 or float32 instead of float16."
        )

    # ---- optimizer and logs ----

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Return the names of the parameters with weight decay.

        Args:
            model (`nn.Module`): the model.

        Returns:
            `list[str]`: see `climb_hf.training.optimizers.decay_parameter_names`.
        """
        return decay_parameter_names(model)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Create the optimizer that `args.optimizer` names.

        Args:
            model (`nn.Module`, *optional*): the model; defaults to the trainer's.

        Returns:
            `torch.optim.Optimizer`.

        Raises:
            OptionError: SOAP with sharded parameters.
        """
        if self.args.optimizer == "soap" and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            raise OptionError(
                "`optimizer='soap'` needs whole parameters, but FSDP or DeepSpeed shards them; train with DDP, or "
                "choose `optimizer='adamw'`."
            )
        return super().create_optimizer() if model is None else super().create_optimizer(model)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Return 0: transformers counts 6 × parameters × inputs, which is wrong for anything but token models.

        Args:
            inputs (`dict`): the batch.

        Returns:
            `int`: 0.
        """
        return 0

    def log(self, logs: dict[str, Any], *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as in Trainer
        """Log numbers, without the operation count that is not measured.

        Args:
            logs (`dict`): the numbers.
            *args: as in `transformers.Trainer`.
            **kwargs: as in `transformers.Trainer`.
        """
        logs.pop("total_flos", None)
        super().log(logs, *args, **kwargs)


class _Hooks(TrainerCallback):
    def __init__(self, trainer: ClimbTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401
        # Accelerate's loaders do not reach the sampler of an epoch that several processes resume in the middle.
        if self.trainer._sampler is not None:
            self.trainer._sampler.set_epoch(int(state.epoch or 0))

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401
        self.trainer.check_finite()
