"""`ClimbTrainer`: a `transformers.Trainer` for mixtures of sources with masked labels.

Accelerate, DDP, mixed precision, resuming, trackers and `push_to_hub` are transformers' own. Added are the masked loss
normalised over the valid rows of the whole optimizer step, the mixture, evaluation per source, and a stop at the first
loss that is not finite.
"""

import contextlib
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import EvalPrediction, Trainer, TrainerCallback
from transformers.trainer_utils import PredictionOutput, speed_metrics

from climb_hf.errors import OptionError, SchemaError, TrainingError
from climb_hf.training.arguments import ClimbTrainingArguments
from climb_hf.training.collator import RECORD_KEYS, ClassificationCollator
from climb_hf.training.evaluation import PredictedRows, Scheme, gather_rows, merge_sets, save_rows, score_rows
from climb_hf.training.losses import class_weights_from_counts, masked_classification_loss, valid_rows
from climb_hf.training.sampling import ROW_INDEX, IndexedRows, MixtureSampler, RowIndexCollator, source_codes

__all__ = ["ClimbTrainer"]

_TARGETS = ("labels", "target_mask", "exclusive")
_NAMED = 20  # records that an error message lists


class ClimbTrainer(Trainer):
    """Trains and evaluates a classifier on any mixture of sources.

    The model is called without labels and returns `logits` (batch, |V|); the loss is `masked_classification_loss` over
    the batch's `labels`, `target_mask` and `exclusive`, divided by the number of valid rows of the whole optimizer step:
    all micro-batches, all processes. So gradient accumulation and N processes give the loss curve of one process at the
    same global batch (up to layers that look across the batch, such as batch norm, and dropout). Where processes
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
            model=model,  # type: ignore[arg-type]  # transformers types it as its own model or any module
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
        self._seen: dict[int, tuple[str, str, str | None]] = {}
        #: The whole table of the last `evaluate`: `climb_hf.metrics.masked_metrics` with losses.
        self.evaluation_table: dict[str, Any] | None = None
        self.add_callback(_Hooks(self))

    # ---- data ----

    def _default_collator(self) -> ClassificationCollator:
        if self.processing_class is None or not hasattr(self.model.config, "source_classes"):
            raise OptionError(
                "no `data_collator` was given, and none can be made: pass `processing_class=` (the image processor) and "
                "a model whose configuration has `vocabulary`, `source_classes` and `source_multi_label`."
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
        drop_last = self.args.dataloader_drop_last
        # transformers drops the last batch of evaluations too; an evaluation must count every row.
        self.args.dataloader_drop_last = drop_last and kwargs.get("is_training", False)
        try:
            return super()._get_dataloader(dataset, *args, **kwargs)
        finally:
            self.args.dataloader_drop_last = drop_last

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
        multiple = 1
        if world > 1 and not self.args.dataloader_drop_last:
            multiple = self._train_batch_size * (1 if self.args.accelerator_config.split_batches else world)
        codes, _ = source_codes(train_dataset.dataset)
        seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
        self._sampler = MixtureSampler(codes, self.args.mixture, self.args.temperature, seed, multiple)
        return self._sampler

    # ---- loss ----

    def classification_loss(self, logits: Tensor, targets: Mapping[str, Tensor], items: Tensor | None) -> Tensor:
        """Return the loss of one micro-batch; override to train on another one.

        Args:
            logits (`Tensor`): (batch, |V|).
            targets (`Mapping[str, Tensor]`): `labels`, and `target_mask` and `exclusive` where the collator gives them.
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
            if targets is None or self.train_dataset is None:
                raise OptionError(
                    "`class_weighting='inverse_frequency'` counts the labels of `train_dataset` with the collator's "
                    "`targets`; pass both, or the weights as `class_weights=`."
                )
            self._weights = class_weights_from_counts(*targets.positive_counts(self.train_dataset))
        if self._weights is not None:
            self._weights = self._weights.to(device)
        return self._weights

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> Tensor | None:
        if not batch_samples or "labels" not in batch_samples[0]:
            return None
        for batch in batch_samples:
            _empty_stand_ins(batch)
        count = torch.stack([valid_rows(*(batch.get(key) for key in _TARGETS)).sum() for batch in batch_samples]).sum()
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
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:  # noqa: ANN401 - a loss, or a loss and the outputs
        """Compute the loss of one micro-batch.

        Args:
            model (`nn.Module`): the model, possibly wrapped.
            inputs (`dict`): the batch; it is not changed.
            return_outputs (`bool`, *optional*, defaults to `False`): also return the model's outputs.
            num_items_in_batch (`Tensor`, *optional*): valid rows of the whole optimizer step, over all processes.

        Returns:
            `Tensor` or `tuple[Tensor, ModelOutput]`: the loss, scaled such that the mean over processes of the sums over
            micro-batches is the loss of the global batch.
        """
        features, targets = _split(inputs)
        outputs = model(**features)
        if "labels" in targets:
            loss = self.classification_loss(_logits(outputs), targets, num_items_in_batch)
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
        named = gather_object([_describe(batch) for batch in bad])
        what = "the loss" if named else "the gradient"
        named = named or gather_object([_describe(batch) for _, batch in pending])
        raise TrainingError(
            f"{what} is not finite at step {self.state.global_step + 1}; the optimizer has not been stepped. "
            f"Records of the batch: {'; '.join(named)}. Check these records' inputs, lower `learning_rate`, or train in "
            "bfloat16 or float32 instead of float16."
        )

    # ---- evaluation ----

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[None, Any, Tensor]:
        """Predict one batch.

        Args:
            model (`nn.Module`): the model, possibly wrapped.
            inputs (`dict`): the batch.
            prediction_loss_only (`bool`): not used; the loss comes from the gathered logits.
            ignore_keys (`list[str]`, *optional*): not used; only the logits are kept.

        Returns:
            `tuple`: `None`; float32 logits (batch, |V|), mask (batch, |V|) uint8, exclusive (batch,) uint8 and row number
            (batch,); labels (batch, |V|) float32.
        """
        batch = self._prepare_inputs(inputs)
        features, targets = _split(batch)
        with torch.no_grad(), self.compute_loss_context_manager():
            logits = _logits(model(**features)).float()
        labels = targets.get("labels", torch.zeros_like(logits)).float()
        known = torch.ones_like(logits) if "labels" in targets else torch.zeros_like(logits)
        mask = targets.get("target_mask", known).to(torch.uint8)
        exclusive = targets.get("exclusive", torch.zeros_like(labels[:, 0])).to(torch.uint8)
        index = batch.get(ROW_INDEX)
        if index is None:
            if self.accelerator.num_processes > 1:
                raise OptionError(
                    "streamed data can only be evaluated by one process; load the split without streaming."
                )
            index = torch.arange(len(logits), device=logits.device) + len(self._seen)
        ids, sources, groups = (inputs.get(key, [None] * len(logits)) for key in RECORD_KEYS)
        for number, *record in zip(index.tolist(), ids, sources, groups, strict=True):
            self._seen[number] = tuple(record)
        return None, (logits, mask, exclusive, index), labels

    def predict_rows(self, dataset: Any = None, path: str | Path | None = None) -> PredictedRows:  # noqa: ANN401
        """Predict every row of a dataset once, whatever the number of processes.

        Args:
            dataset (`Dataset` or `str`, *optional*): a dataset, or the name of one of `self.eval_dataset`; defaults to
                `self.eval_dataset`.
            path (`str` or `Path`, *optional*): write the rows to this `.npz` file (main process only).

        Returns:
            `dict`: `ids`, `sources`, `groups`: lists of n strings (groups may be `None`); `references` (n, |V|) bool;
            `scores` (n, |V|) float32 logits; `target_mask` (n, |V|) bool; `exclusive` (n,) bool; `row_index` (n,) int64,
            ascending.

        Raises:
            SchemaError: a dataset without rows, or a collator that does not give `ids` and `sources`.
            TrainingError: not every row came back.
        """
        loader = self.get_eval_dataloader(dataset)
        self._seen = {}
        output = super().evaluation_loop(loader, description="Prediction", prediction_loss_only=False)
        if output.predictions is None:
            raise SchemaError("the dataset to evaluate has no rows; check the split.")
        records: dict[int, Any] = {}
        for part in gather_object([self._seen]):
            records.update(part)
        self._seen = {}
        if any(record[0] is None or record[1] is None for record in records.values()):
            raise SchemaError("the collator must give `ids` and `sources`, one string per row, for an evaluation.")
        rows = gather_rows(output.predictions, output.label_ids, records)
        expected = len(loader.dataset) if hasattr(loader.dataset, "__len__") else len(records)
        if len(rows["ids"]) != expected:
            raise TrainingError(f"{len(rows['ids'])} of {expected} rows were predicted; evaluate again.")
        if path is not None and self.is_world_process_zero():
            save_rows(rows, path)
        return rows

    def evaluate(
        self,
        eval_dataset: Any = None,  # noqa: ANN401 - any dataset, or a dictionary of them
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, Any]:
        """Evaluate per source and on average.

        Args:
            eval_dataset (`Dataset` or `dict[str, Dataset]`, *optional*): one dataset of any number of sources, or several
                by name; defaults to `self.eval_dataset`.
            ignore_keys (`list[str]`, *optional*): not used; only the logits are kept.
            metric_key_prefix (`str`, *optional*, defaults to `"eval"`): prefix of every key.

        Returns:
            `dict`: `eval_loss` (mean over all valid rows), `eval_mean_auc` and the other metrics averaged over sources,
            `eval_modality_<name>_auc`, and per source `eval_<source>_auc`, `…_sensitivity`, `…_specificity`, `…_f1`,
            `…_accuracy`, `…_top1` or `…_exact_match`, `…_loss`, `…_n`, `…_n_left_out`, `…_n_classes`,
            `…_n_classes_defined`; with `n_bootstrap`, `…_<metric>_low` and `…_high`. In a dictionary of datasets one
            source per dataset is named by its key, several by `<key>_<source>`. An undefined number is NaN. The whole
            table is kept in `evaluation_table`.

        Raises:
            TrainingError: logits that are not finite, or rows that did not come back.
        """
        start = time.time()
        data = self.eval_dataset if eval_dataset is None else eval_dataset
        chosen: dict[str | None, Any] = {None: eval_dataset}
        if isinstance(data, dict):
            chosen = {name: name if eval_dataset is None else part for name, part in data.items()}
        if not chosen:
            raise OptionError("`eval_dataset` is an empty dictionary; pass at least one dataset.")
        sets = {name: self.predict_rows(part) for name, part in chosen.items()}
        metrics = self._score(sets, metric_key_prefix)
        total = sum(len(rows["ids"]) for rows in sets.values())
        steps = math.ceil(total / (self.args.eval_batch_size * self.args.world_size))
        metrics.update(speed_metrics(metric_key_prefix, start, num_samples=total, num_steps=steps))
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def predict(
        self,
        test_dataset: Any,  # noqa: ANN401 - any dataset
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "test",
    ) -> PredictionOutput:
        """Predict and score a dataset; `predict_rows` also gives ids, sources and groups.

        Args:
            test_dataset (`Dataset`): the dataset.
            ignore_keys (`list[str]`, *optional*): not used.
            metric_key_prefix (`str`, *optional*, defaults to `"test"`): prefix of the metrics.

        Returns:
            `PredictionOutput`: logits (n, |V|), labels (n, |V|) bool, metrics.
        """
        rows = self.predict_rows(test_dataset)
        metrics = self._score({None: rows}, metric_key_prefix)
        return PredictionOutput(predictions=rows["scores"], label_ids=rows["references"], metrics=metrics)

    def _score(self, sets: Mapping[str | None, PredictedRows], prefix: str) -> dict[str, Any]:
        rows, labels, of_rows = merge_sets(sets)
        config = self.model.config
        scheme = Scheme(config.vocabulary, config.source_classes, config.source_multi_label, self._modalities)
        flat, self.evaluation_table = score_rows(
            rows,
            of_rows,
            scheme.relabelled(labels),
            definition=self.args.metric_definition,
            n_bootstrap=self.args.n_bootstrap,
            confidence=self.args.confidence,
            seed=self.args.seed,
            class_weights=self.class_weights(),
        )
        if self._user_metrics is not None:
            flat.update(self._user_metrics(EvalPrediction(predictions=rows["scores"], label_ids=rows["references"])))
        if self.args.save_predictions and self.is_world_process_zero():
            for name, part in sets.items():
                stem = "-".join([prefix, *([name] if name else []), str(self.state.global_step)])
                save_rows(part, Path(self.args.output_dir) / "predictions" / f"{stem}.npz")
        return {key if key.startswith(f"{prefix}_") else f"{prefix}_{key}": value for key, value in flat.items()}

    # ---- optimizer and logs ----

    def get_decay_parameter_names(self, model: nn.Module) -> list[str]:
        """Return the names of the parameters with weight decay.

        Args:
            model (`nn.Module`): the model.

        Returns:
            `list[str]`: parameters of two or more dimensions that no submodule lists in `no_weight_decay()` (timm's
            class tokens and position tables); biases and norms are one-dimensional.
        """
        excluded: set[str] = set()
        for prefix, module in model.named_modules():
            if callable(listed := getattr(module, "no_weight_decay", None)):
                with contextlib.suppress(TypeError):
                    excluded |= {f"{prefix}.{name}" if prefix else name for name in listed()}
        return [name for name, value in model.named_parameters() if value.ndim > 1 and name not in excluded]

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
                "`optimizer='soap'` needs whole parameters, but FSDP or DeepSpeed shards them; train with DDP, or choose "
                "`optimizer='adamw'`."
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


def optimizer_class(args: ClimbTrainingArguments) -> tuple[type[torch.optim.Optimizer], dict[str, Any]] | None:
    """Return the optimizer's class and arguments, without its parameter groups.

    Args:
        args (`ClimbTrainingArguments`): `optimizer`, `optimizer_kwargs`, `learning_rate`, `adam_beta1`, …

    Returns:
        `tuple`, or `None` where transformers' own `optim` is to be used.
    """
    extra = args.optimizer_kwargs if isinstance(args.optimizer_kwargs, dict) else {}
    if args.optimizer == "adamw" and not extra:
        return None
    common = {"lr": args.learning_rate, "betas": (args.adam_beta1, args.adam_beta2), "eps": args.adam_epsilon, **extra}
    if args.optimizer == "soap":
        from climb_hf.training.soap import SOAP

        return SOAP, common
    return (torch.optim.AdamW if args.optimizer == "adamw" else torch.optim.Adam), common


class _Hooks(TrainerCallback):
    def __init__(self, trainer: ClimbTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401
        # Accelerate's loaders do not reach the sampler of an epoch that several processes resume in the middle.
        if self.trainer._sampler is not None:
            self.trainer._sampler.set_epoch(int(state.epoch or 0))

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ANN401
        self.trainer.check_finite()


def _split(batch: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    aside = (*_TARGETS, *RECORD_KEYS, ROW_INDEX)
    return (
        {key: value for key, value in batch.items() if key not in aside},
        {key: batch[key] for key in _TARGETS if batch.get(key) is not None},
    )


def _logits(outputs: Any) -> Tensor:  # noqa: ANN401 - a ModelOutput or a tuple
    return outputs["logits"] if isinstance(outputs, Mapping) else outputs[0]


def _empty_stand_ins(batch: dict[str, Any]) -> None:
    index = batch.get(ROW_INDEX)
    if index is None:
        return
    mask = batch.get("target_mask")
    mask = torch.ones_like(batch["labels"], dtype=torch.bool) if mask is None else mask.bool()
    batch["target_mask"] = mask & (index >= 0).unsqueeze(1)


def _describe(batch: Mapping[str, Any]) -> str:
    size = len(next(value for value in batch.values() if isinstance(value, Tensor)))
    ids, sources = (batch.get(key) or ["?"] * size for key in ("ids", "sources"))
    names = [f"{source}:{record}" for source, record in zip(sources, ids, strict=True)]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    broken = np.zeros(size, dtype=bool)
    for key, value in batch.items():
        if key not in _TARGETS and isinstance(value, Tensor) and value.is_floating_point() and len(value) == size:
            broken |= ~torch.isfinite(value).reshape(size, -1).all(dim=1).cpu().numpy()
    inputs = [name for name, wrong in zip(names, broken, strict=True) if wrong]
    found = f" (with inputs that are not finite: {', '.join(inputs[:_NAMED])})" if inputs else ""
    return ", ".join(names[:_NAMED]) + more + found
