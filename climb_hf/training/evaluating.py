"""Evaluation per source inside `transformers.Trainer`: every row once, whatever the number of processes."""

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import EvalPrediction, Trainer
from transformers.trainer_utils import PredictionOutput, speed_metrics

from climb_hf.errors import OptionError, SchemaError, TrainingError
from climb_hf.training.arguments import ClimbTrainingArguments
from climb_hf.training.batches import RECORD_KEYS, ROW_INDEX, check_rows, logits_of, split_batch
from climb_hf.training.evaluation import PredictedRows, Scheme, gather_rows, merge_sets, save_rows, score_rows
from climb_hf.training.node_rows import nodes_per_record, record_first, scores_nodes

__all__ = ["SourceEvaluator"]

_SCHEME = ("vocabulary", "source_classes", "source_multi_label")  # of a model's configuration


class SourceEvaluator(Trainer):
    """The half of `ClimbTrainer` that predicts and scores; it is not used on its own."""

    args: ClimbTrainingArguments
    model: Any
    _seen: dict[int, tuple[str, str, str | None]]
    _modalities: Mapping[str, str] | None
    _user_metrics: Any
    #: The whole table of the last `evaluate`: `climb_hf.metrics.masked_metrics`, with losses.
    evaluation_table: dict[str, Any] | None

    def class_weights(self, device: torch.device | str = "cpu") -> Tensor | None:
        """Return the weights of the classes in multi-label rows; `ClimbTrainer` defines them.

        Args:
            device (`torch.device`, *optional*, defaults to `"cpu"`): where to put them.

        Returns:
            `None`.
        """
        return None

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
            `tuple`: `None`; float32 logits (batch, |V|), mask (batch, |V|) int8, exclusive (batch,) int8 and row
            number (batch,) int64; labels (batch, |V|) float32. Where nodes are scored, the arrays but the row number
            have an axis of nodes behind that of the batch, and (batch,) int64 numbers of nodes follow.
        """
        batch = self._prepare_inputs(inputs)
        features, targets = split_batch(batch)
        with torch.no_grad(), self.compute_loss_context_manager():
            logits = logits_of(model(**features)).float()
        labels = targets.get("labels", torch.zeros_like(logits)).float()
        check_rows(logits, labels)
        known = torch.ones_like(logits) if "labels" in targets else torch.zeros_like(logits)
        mask = targets.get("target_mask", known).to(torch.int8)
        exclusive = targets.get("exclusive", torch.zeros_like(labels[:, 0])).to(torch.int8)
        index = self._note_records(inputs, batch.get(ROW_INDEX), len(logits), logits.device)
        if not scores_nodes(self.model.config):
            return None, (logits, mask, exclusive, index), labels
        nodes = nodes_per_record(features, len(index))
        logits, mask, exclusive, labels = (record_first(one, nodes) for one in (logits, mask, exclusive, labels))
        return None, (logits, mask, exclusive, index, nodes), labels

    def _note_records(
        self, inputs: Mapping[str, Any], index: Tensor | None, rows: int, device: torch.device
    ) -> Tensor:
        """Remember who the records of a batch are; return their numbers."""
        records = rows if index is None else len(index)
        ids, sources, groups = (inputs.get(key, [None] * records) for key in RECORD_KEYS)
        if index is None:
            if self.accelerator.num_processes > 1:
                raise OptionError("streamed data is evaluated by one process only; load the split without streaming.")
            index = torch.arange(len(ids), device=device) + len(self._seen)
        for number, *record in zip(index.tolist(), ids, sources, groups, strict=True):
            self._seen[number] = tuple(record)
        return index

    def predict_rows(self, dataset: Any = None, path: str | Path | None = None) -> PredictedRows:  # noqa: ANN401
        """Predict every row of a dataset once, whatever the number of processes.

        Args:
            dataset (`Dataset` or `str`, *optional*): a dataset, or the name of one of `self.eval_dataset`; defaults to
                `self.eval_dataset`.
            path (`str` or `Path`, *optional*): write the rows to this `.npz` file (main process only).

        Returns:
            `dict`: `ids`, `sources`, `groups`: lists of n strings (groups may be `None`); `references` (n, |V|) bool;
            `scores` (n, |V|) float32 logits; `target_mask` (n, |V|) bool; `exclusive` (n,) bool; `row_index` (n,)
            int64, ascending. A model that scores nodes (`config.level == "node"`) gives a row per node, with the id
            "<record>:<node>", the graph as its group and the graph's row number.

        Raises:
            SchemaError: a dataset without rows, or a collator that does not give `ids` and `sources`.
            TrainingError: not every row came back.
        """
        loader = self.get_eval_dataloader(dataset)
        self._seen = {}
        output = self.evaluation_loop(loader, description="Prediction", prediction_loss_only=False)
        if output.predictions is None:
            raise SchemaError("the dataset to evaluate has no rows; check the split.")
        records: dict[int, Any] = {}
        for part in gather_object([self._seen]):
            records.update(part)
        self._seen = {}
        if any(record[0] is None or record[1] is None for record in records.values()):
            raise SchemaError("the collator must give `ids` and `sources`, one string per row, for an evaluation.")
        rows = gather_rows(cast("Any", output.predictions), cast("Any", output.label_ids), records)
        expected = len(loader.dataset) if hasattr(loader.dataset, "__len__") else len(records)
        if (found := len(np.unique(cast("Any", output.predictions)[3]))) != expected:
            raise TrainingError(f"{found} of {expected} rows were predicted; evaluate again.")
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
            eval_dataset (`Dataset` or `dict[str, Dataset]`, *optional*): one dataset of any number of sources, or
                several by name; defaults to `self.eval_dataset`.
            ignore_keys (`list[str]`, *optional*): not used; only the logits are kept.
            metric_key_prefix (`str`, *optional*, defaults to `"eval"`): prefix of every key.

        Returns:
            `dict`: `eval_loss` (mean over all valid rows), `eval_mean_auc` and the other metrics' means over sources,
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
        total = sum(len(np.unique(rows["row_index"])) for rows in sets.values())
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
        if missing := [name for name in _SCHEME if not hasattr(config, name)]:
            raise OptionError(
                f"the model's configuration must have {missing}, or its rows cannot be scored per source."
            )
        scheme = Scheme(config.vocabulary, config.source_classes, config.source_multi_label, self._modalities)
        flat, self.evaluation_table = score_rows(
            rows,
            of_rows,
            scheme.relabelled(labels),
            self.class_weights(),
            definition=self.args.metric_definition,
            n_bootstrap=self.args.n_bootstrap,
            confidence=self.args.confidence,
            seed=self.args.seed,
        )
        if self._user_metrics is not None:
            flat.update(self._user_metrics(EvalPrediction(predictions=rows["scores"], label_ids=rows["references"])))
        if self.args.save_predictions and self.is_world_process_zero():
            for name, part in sets.items():
                stem = "-".join([prefix, *([name] if name else []), str(self.state.global_step)])
                save_rows(part, Path(str(self.args.output_dir)) / "predictions" / f"{stem}.npz")
        return {key if key.startswith(f"{prefix}_") else f"{prefix}_{key}": value for key, value in flat.items()}
