"""Training a fusion model on one target of the records, such as death within 48 hours or the length of stay."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from climb_hf.processing.batching import RowBatcher
from climb_hf.training.collator import prepare_for_training
from climb_hf.training.losses import masked_classification_loss
from climb_hf.training.trainer import ClimbTrainer

__all__ = ["FusionTrainer", "TargetCollator", "modality_presence", "target_values"]


class TargetCollator:
    """Turns rows into a batch with one number of their `targets` as label.

    Args:
        processor (`ClimbFusionProcessor`): of the model.
        target (`str`): key of `targets`, such as `"ihm48"`.

    Example:
        >>> import numpy as np
        >>> from climb_hf.processing import ClimbFusionProcessor, ClimbImageProcessor
        >>> collate = TargetCollator(ClimbFusionProcessor(ClimbImageProcessor(size=8)), "los_days")
        >>> row = {"id": "a", "source": "s", "image": np.zeros((9, 9, 3), np.uint8), "targets": {"los_days": 2.5}}
        >>> batch = collate([row, {**row, "targets": None}])
        >>> batch["labels"].flatten().tolist(), batch["target_mask"].flatten().tolist()
        ([2.5, 0.0], [True, False])
    """

    def __init__(self, processor: Any, target: str) -> None:  # noqa: ANN401 - any processor
        self.inputs, self.target = RowBatcher(processor), target

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate rows.

        Args:
            rows (`Sequence[Mapping]`): each with `id`, `source`, `targets` and at least one modality.

        Returns:
            `dict`: `labels` (batch, 1) float32, 0 where the target is unknown; `target_mask` (batch, 1) bool; the
            input of the model; `ids`, `sources`, `groups`.

        Raises:
            SchemaError: a row without any modality; the records are named.
        """
        values = torch.tensor([_value(row.get("targets"), self.target) for row in rows])[:, None]
        known = torch.isfinite(values)
        batch: dict[str, Any] = {"labels": torch.where(known, values, 0.0), "target_mask": known}
        batch.update(self.inputs(rows))
        batch["ids"] = [str(row["id"]) for row in rows]
        batch["sources"] = [str(row["source"]) for row in rows]
        batch["groups"] = [row.get("group") for row in rows]
        return batch

    def prepare_dataset(self, dataset: Any) -> Any:  # noqa: ANN401 - any dataset
        """Return the dataset with its pictures undecoded, so that the processor decodes them at reduced scale."""
        return prepare_for_training(dataset) if hasattr(dataset, "cast_column") else dataset


class FusionTrainer(ClimbTrainer):
    """A `ClimbTrainer` with the losses of the fusion models: weighted binary cross-entropy, or squared error."""

    def classification_loss(self, logits: Tensor, targets: Mapping[str, Tensor], items: Tensor | None) -> Tensor:
        """Return the loss of one micro-batch.

        Args:
            logits (`Tensor`): (batch, outputs).
            targets (`Mapping[str, Tensor]`): `labels` and `target_mask`.
            items (`Tensor`, *optional*): rows with a known target of the whole optimizer step.

        Returns:
            `Tensor`: scalar.
        """
        model = self.accelerator.unwrap_model(self.model)
        labels, mask = targets["labels"], targets.get("target_mask")
        if not hasattr(model, "row_losses"):
            weights = model.positive_weights()
            return masked_classification_loss(logits, labels, mask, positive_weights=weights, num_items_in_batch=items)
        losses, valid = model.row_losses(logits, labels, mask)
        count = valid.sum() if items is None else torch.as_tensor(items, device=losses.device)
        return losses.sum() / count.clamp(min=1)


def _value(targets: Mapping[str, Any] | None, name: str) -> float:
    value = None if targets is None else targets.get(name)
    return float("nan") if value is None else float(value)


def target_values(dataset: Any, name: str) -> np.ndarray:  # noqa: ANN401 - a datasets.Dataset
    """Return one target of every row.

    Args:
        dataset (`datasets.Dataset`): rows with `targets`.
        name (`str`): the target.

    Returns:
        `np.ndarray`: (rows,) float64, NaN where it is unknown.
    """
    column = dataset.with_format(None)["targets"]
    return np.array([_value(row, name) for row in column], dtype=np.float64)


def modality_presence(dataset: Any, modalities: Sequence[str]) -> np.ndarray:  # noqa: ANN401 - a datasets.Dataset
    """Tell which modalities the rows have, from the stored columns: nothing is decoded.

    Args:
        dataset (`datasets.Dataset`): rows of the family `multimodal`.
        modalities (`Sequence[str]`): `"image"`, `"signal"`, `"text"`.

    Returns:
        `np.ndarray`: (rows, modalities) bool. A modality whose column does not exist is absent everywhere.
    """
    from climb_hf.training.batches import stored_column

    found = np.zeros((len(dataset), len(modalities)), dtype=bool)
    for column, name in enumerate(modalities):
        if name not in dataset.column_names:
            continue
        stored, mapping = stored_column(dataset, name)
        if name == "signal":
            own = getattr(stored, "storage", stored).value_lengths().fill_null(0).to_numpy(zero_copy_only=False) > 0
        elif name == "text":
            own = np.array([bool(text and text.strip()) for text in stored.to_pylist()], dtype=bool)
        else:
            own = stored.is_valid().to_numpy(zero_copy_only=False)
        found[:, column] = own if mapping is None else own[mapping]
    return found
