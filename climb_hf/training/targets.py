"""From the label columns of rows to `labels`, `target_mask` and `exclusive`: the same for every kind of input."""

import logging
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal

import numpy as np
import torch

from climb_hf.errors import OptionError, VocabularyError
from climb_hf.training.batches import stored_column

__all__ = ["TargetBuilder"]

logger = logging.getLogger(__name__)

Uncertain = Literal["ignore", "negative"]


class TargetBuilder:
    """Builds the targets of the masked loss over a model's own vocabulary.

    A row's mask is V_k, the classes of its source. What the publisher left blank is negative; what the publisher
    called uncertain is never positive: it leaves the mask of that row (`uncertain="ignore"`, the default: a finding
    nobody could decide says nothing about either side), or it counts as negative (`"negative"`, the reading of the
    CLIMB paper). A concept that is both positive and uncertain in one row (two raw values of one concept) is positive.
    A label outside V_k contributes nothing, and is logged once. A row whose `labels` are null has an empty mask.

    Args:
        vocabulary (`Sequence[str]`): the model's concepts V, one per output (`config.vocabulary`).
        source_classes (`Mapping[str, Sequence[str]]`): V_k by source (`config.source_classes`).
        multi_label (`Mapping[str, bool]`): for each source, whether a row may have any number of classes.
        label_names (`Sequence[str]`, *optional*): the names behind the integers in the rows' `labels`: those of the
            dataset's ClassLabel. Defaults to the library's vocabulary, `climb_hf.vocabulary.concepts()`.
        uncertain (`str`, *optional*, defaults to `"ignore"`): `"ignore"` or `"negative"`.

    Raises:
        OptionError: an unknown policy.
        VocabularyError: a class of a source that is not in the vocabulary, or a source without `multi_label`.

    Example:
        >>> build = TargetBuilder(["a", "b", "c"], {"s": ["a", "b"]}, {"s": True}, label_names=["a", "b", "c"])
        >>> targets = build([{"source": "s", "labels": [0], "uncertain": [1]}, {"source": "s", "labels": []}])
        >>> targets["labels"].tolist(), targets["target_mask"].int().tolist()
        ([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[1, 0, 0], [1, 1, 0]])
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        source_classes: Mapping[str, Sequence[str]],
        multi_label: Mapping[str, bool],
        *,
        label_names: Sequence[str] | None = None,
        uncertain: Uncertain = "ignore",
    ) -> None:
        if uncertain not in ("ignore", "negative"):
            raise OptionError(f"`uncertain` must be `ignore` or `negative`, found {uncertain!r}.")
        if label_names is None:
            from climb_hf.vocabulary import concepts

            label_names = concepts()
        self.vocabulary, self.uncertain = list(vocabulary), uncertain
        self.label_names = list(label_names)
        self.multi_label = {source: bool(multi_label.get(source)) for source in source_classes}
        outputs = {name: output for output, name in enumerate(self.vocabulary)}
        #: position in the ClassLabel -> output of the model, -1 where the model has none
        self._outputs = np.array([outputs.get(name, -1) for name in self.label_names], dtype=np.int64)
        self._masks: dict[str, np.ndarray] = {}
        for source, classes in source_classes.items():
            if missing := [name for name in classes if name not in outputs]:
                raise VocabularyError(
                    f"source `{source}` labels {missing[:5]}, which the model's vocabulary of {len(outputs)} concepts "
                    "does not hold; build the model with them or extend its vocabulary."
                )
            if source not in multi_label:
                raise VocabularyError(f"source `{source}` is missing in `multi_label`; say whether it is multi-label.")
            mask = np.zeros(len(self.vocabulary), dtype=bool)
            mask[[outputs[name] for name in classes]] = True
            self._masks[source] = mask
        self._warned: set[tuple[str, int]] = set()

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        """Build the targets of some rows.

        Args:
            rows (`Sequence[Mapping]`): each with `source`, `labels` and, optionally, `uncertain`; labels are
                positions in `label_names`, or names.

        Returns:
            `dict`: `labels` (rows, |V|) float32, 0 or 1; `target_mask` (rows, |V|) bool; `exclusive` (rows,) bool,
            true for single-label sources.

        Raises:
            VocabularyError: a source or a label that is not known.
        """
        labels = np.zeros((len(rows), len(self.vocabulary)), dtype=np.float32)
        masks = np.zeros(labels.shape, dtype=bool)
        exclusive = np.zeros(len(rows), dtype=bool)
        for position, row in enumerate(rows):
            mask = self._mask(row)
            exclusive[position] = not self.multi_label[row["source"]]
            if row.get("labels") is None:
                continue
            masks[position] = mask
            if (doubtful := row.get("uncertain")) is not None and self.uncertain == "ignore":
                masks[position, self._positions(row, doubtful, mask)] = False
            positive = self._positions(row, row["labels"], mask)
            labels[position, positive] = 1.0
            masks[position, positive] = True
        return {
            "labels": torch.from_numpy(labels),
            "target_mask": torch.from_numpy(masks),
            "exclusive": torch.from_numpy(exclusive),
        }

    def check_dataset(self, dataset: Any) -> None:  # noqa: ANN401 - any dataset
        """Check that the integers in a dataset's `labels` mean what this builder takes them for.

        Args:
            dataset: anything; only datasets with `features` and a ClassLabel can be checked.

        Raises:
            VocabularyError: the ClassLabel of the dataset has other names.
        """
        feature = (getattr(dataset, "features", None) or {}).get("labels")
        names = getattr(getattr(feature, "feature", None), "names", None)
        if names is not None and list(names) != self.label_names:
            raise VocabularyError(
                f"the dataset's labels are positions in a vocabulary of {len(names)} names, the collator expects "
                f"{len(self.label_names)} names or another order; pass "
                '`label_names=dataset.features["labels"].feature.names`.'
            )

    def positive_counts(self, dataset: Any) -> tuple[np.ndarray, int]:  # noqa: ANN401 - any dataset
        """Count in how many rows each of the model's outputs is positive, for class weights.

        Args:
            dataset: a `datasets.Dataset` with a `labels` column, or a sequence of rows.

        Returns:
            `tuple[np.ndarray, int]`: (|V|,) int64 counts and the number of rows.
        """
        if hasattr(dataset, "column_names"):
            stored, mapping = stored_column(dataset, "labels")
            labels = stored.flatten().to_numpy(zero_copy_only=False)
            counts = np.bincount(labels, _times_used(stored, mapping), minlength=len(self.label_names))
            counts = counts.round().astype(np.int64)
        else:
            lists = [dataset[position] for position in range(len(dataset))]
            known = [self._known(row, name) for row in lists if row["labels"] is not None for name in row["labels"]]
            counts = np.bincount(np.array(known, dtype=np.int64), minlength=len(self.label_names))
        known_outputs = self._outputs >= 0
        result = np.zeros(len(self.vocabulary), dtype=np.int64)
        result[self._outputs[known_outputs]] = counts[: len(self.label_names)][known_outputs]
        return result, len(dataset)

    def outputs_of(self, source: str, concepts: Sequence[str]) -> np.ndarray:
        """Return the model's output for each of some concepts, -1 for those outside the source's classes.

        Args:
            source (`str`): name of a source the model knows.
            concepts (`Sequence[str]`): names in the vocabulary.

        Returns:
            `np.ndarray`: (concepts,) int64.

        Raises:
            VocabularyError: the model does not know the source.
        """
        mask = self._mask({"source": source})
        position = {name: output for output, name in enumerate(self.vocabulary) if mask[output]}
        return np.array([position.get(name, -1) for name in concepts], dtype=np.int64)

    def _mask(self, row: Mapping[str, Any]) -> np.ndarray:
        source = row["source"]
        if source not in self._masks:
            near = get_close_matches(str(source), self._masks, n=3)
            hint = f" Near: {', '.join(near)}." if near else ""
            raise VocabularyError(
                f"record `{row.get('id')}` comes from the source {source!r}, which the model does not know; it knows "
                f"{len(self._masks)} sources.{hint} Give the model its classes in `source_classes`."
            )
        return self._masks[source]

    def _positions(self, row: Mapping[str, Any], values: Any, mask: np.ndarray) -> list[int]:  # noqa: ANN401
        found = []
        for value in values:
            label = self._known(row, value)
            output = int(self._outputs[label])
            if output >= 0 and mask[output]:
                found.append(output)
            elif (row["source"], label) not in self._warned:
                self._warned.add((row["source"], label))
                logger.warning(
                    "source `%s` has the label `%s` (record `%s`), which is not among the model's classes of this "
                    "source; it contributes nothing.",
                    row["source"],
                    self.label_names[label],
                    row.get("id"),
                )
        return found

    def _known(self, row: Any, value: Any) -> int:  # noqa: ANN401 - an integer of any library, or a name
        if isinstance(value, str):
            if value not in self.label_names:
                raise VocabularyError(f"unknown label {value!r}; near: {get_close_matches(value, self.label_names)}.")
            return self.label_names.index(value)
        label = int(value)
        if not 0 <= label < len(self.label_names):
            record = row.get("id") if isinstance(row, Mapping) else None
            raise VocabularyError(
                f"record `{record}` has the label {label}, but `label_names` has {len(self.label_names)} names; pass "
                "the names of the dataset's ClassLabel."
            )
        return label


def _times_used(stored: Any, mapping: np.ndarray | None) -> np.ndarray | None:  # noqa: ANN401 - a list array of Arrow
    """For each stored label: how many rows of the dataset it belongs to; `None` for once."""
    if mapping is None:
        return None
    times = np.bincount(mapping, minlength=len(stored))
    return np.repeat(times, stored.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
