"""From dataset rows to the batch of a classifier: its input, the targets, and who the rows are."""

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from climb_hf.processing.batching import RowBatcher
from climb_hf.training.batches import DRAW
from climb_hf.training.node_targets import has_node_labels, node_targets
from climb_hf.training.targets import TargetBuilder, Uncertain

if TYPE_CHECKING:
    import datasets

__all__ = ["ClassificationCollator", "prepare_for_training"]


class ClassificationCollator:
    """Turns rows with pictures, frames, a signal or a graph into one batch for a classifier.

    The processor decides what is read (`climb_hf.processing.batching.RowBatcher`). Pictures and frames may stand in
    one batch: an image is then one frame. The collator pickles, so it works in the workers of a DataLoader.

    Augmentation is the processor's and used for training only (`for_training`, which `ClimbTrainer` calls). Its
    randomness depends on the seed and on the number of the draw alone, so it is the same for any number of workers
    and processes, and new for every repetition of a row.

    Args:
        processor: an image processor, a feature extractor of signals, or a processor of graphs; see `RowBatcher`.
        vocabulary (`Sequence[str]`): the model's concepts V (`config.vocabulary`).
        source_classes (`Mapping[str, Sequence[str]]`): V_k by source (`config.source_classes`).
        multi_label (`Mapping[str, bool]`): whether each source is multi-label (`config.source_multi_label`).
        label_names (`Sequence[str]`, *optional*): names of the dataset's ClassLabel; defaults to the library's V.
        uncertain (`str`, *optional*, defaults to `"ignore"`): what uncertain labels do, see `TargetBuilder`.
        num_frames (`int`, *optional*): at most this many frames per row, see `RowBatcher`.

    Raises:
        OptionError: `num_frames` below 1, or an unknown `uncertain`.
        VocabularyError: classes that are not in the vocabulary.
    """

    #: The collator wants the number of the draw in every row (`climb_hf.training.batches.DRAW`).
    uses_draws = True

    def __init__(
        self,
        processor: Any,  # noqa: ANN401 - any processor of transformers
        vocabulary: Sequence[str],
        source_classes: Mapping[str, Sequence[str]],
        multi_label: Mapping[str, bool],
        *,
        label_names: Sequence[str] | None = None,
        uncertain: Uncertain = "ignore",
        num_frames: int | None = None,
    ) -> None:
        self.inputs = RowBatcher(processor, num_frames)
        self.targets = TargetBuilder(
            vocabulary, source_classes, multi_label, label_names=label_names, uncertain=uncertain
        )
        self._seed: int | None = None

    @property
    def processor(self) -> Any:  # noqa: ANN401 - any processor of transformers
        """The processor."""
        return self.inputs.processor

    @property
    def num_frames(self) -> int | None:
        """At most this many frames per row; `None` for all."""
        return self.inputs.num_frames

    @classmethod
    def from_config(
        cls,
        processor: Any,  # noqa: ANN401 - any image processor of transformers
        config: Any,  # noqa: ANN401 - any configuration with a vocabulary
        dataset: "datasets.Dataset | None" = None,
        *,
        uncertain: Uncertain = "ignore",
        num_frames: int | None = None,
    ) -> "ClassificationCollator":
        """Make the collator that fits a model and a dataset.

        Args:
            processor: the image processor.
            config: the model's configuration: `vocabulary`, `source_classes`, `source_multi_label`.
            dataset (`datasets.Dataset`, *optional*): gives the names behind its label integers. Defaults to the
                library's vocabulary.
            uncertain (`str`, *optional*, defaults to `"ignore"`): what uncertain labels do, see `TargetBuilder`.
            num_frames (`int`, *optional*): at most this many frames per row.

        Returns:
            `ClassificationCollator`.
        """
        names = None if dataset is None else cast("Any", dataset.features["labels"]).feature.names
        return cls(
            processor,
            config.vocabulary,
            config.source_classes,
            config.source_multi_label,
            label_names=names,
            uncertain=uncertain,
            num_frames=num_frames,
        )

    def for_training(self, seed: int) -> "ClassificationCollator":
        """Return the collator that augments, where the processor has an `augmentation` or is random in training.

        Args:
            seed (`int`): seed of the augmentation.

        Returns:
            `ClassificationCollator`: a copy, or this one where there is nothing to augment.
        """
        if not self.inputs.is_random:
            return self
        collator = copy.copy(self)
        collator._seed = seed
        return collator

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate rows.

        Args:
            rows (`Sequence[Mapping]`): each with `id`, `source`, `labels`, and the input of the processor's kind:
                `image` or `frames`, `signal` with `sampling_rate`, or a graph's columns.

        Returns:
            `dict`: `labels`, `target_mask`, `exclusive` as `TargetBuilder`, with a row per node where nodes carry the
            labels; the model's input as `RowBatcher`; `ids`, `sources`, `groups`: lists of strings (`None` where a row
            has no group).

        Raises:
            SchemaError: a row without the input, or one that does not fit the processor.
            CorruptFileError: a picture that cannot be decoded.
            VocabularyError: a source or a label that is not known.
        """
        seeds = None if self._seed is None else [_draw_seed(self._seed, row) for row in rows]
        per_node = self.inputs.kind == "graph" and has_node_labels(rows)
        # targets stand first: their length, not that of the nodes, is the size of the batch
        batch: dict[str, Any] = dict(node_targets(rows, self.targets) if per_node else self.targets(rows))
        batch.update(self.inputs(rows, seeds))
        batch["ids"] = [str(row["id"]) for row in rows]
        batch["sources"] = [str(row["source"]) for row in rows]
        batch["groups"] = [row.get("group") for row in rows]
        return batch

    def prepare_dataset(self, dataset: Any) -> Any:  # noqa: ANN401 - any dataset
        """Check a dataset's label names and have its pictures handed out undecoded.

        Args:
            dataset: any dataset; only `datasets.Dataset` and `IterableDataset` are changed.

        Returns:
            The dataset to read from.

        Raises:
            VocabularyError: the dataset's labels are positions in another vocabulary.
        """
        self.targets.check_dataset(dataset)
        return prepare_for_training(dataset) if hasattr(dataset, "cast_column") else dataset


def _draw_seed(seed: int, row: Mapping[str, Any]) -> int:
    """Return what makes one draw of a row random: it depends on the seed and the number of the draw alone."""
    return int(np.random.SeedSequence([seed, int(row.get(DRAW, 0))]).generate_state(1)[0])


def prepare_for_training(dataset: Any) -> Any:  # noqa: ANN401 - map-style or streamed dataset
    """Return the dataset with its pictures undecoded, so that the collator decodes them, at reduced scale.

    Nothing is copied and nothing is written: the columns keep their storage and only say `decode=False`.

    Args:
        dataset (`datasets.Dataset` or `datasets.IterableDataset`): any dataset.

    Returns:
        The same kind of dataset, giving `{"bytes", "path"}` for every picture; other columns are as they were.

    Example:
        >>> import datasets, PIL.Image
        >>> features = datasets.Features({"image": datasets.Image()})
        >>> rows = datasets.Dataset.from_dict({"image": [PIL.Image.new("L", (2, 2))]}, features=features)
        >>> sorted(prepare_for_training(rows)[0]["image"])
        ['bytes', 'path']
    """
    from datasets import Dataset, Image, List

    undecoded: dict[str, Any] = {}
    for name, feature in (dataset.features or {}).items():
        if isinstance(feature, Image) and feature.decode:
            undecoded[name] = Image(mode=feature.mode, decode=False)
        elif isinstance(feature, List) and isinstance(feature.feature, Image) and feature.feature.decode:
            undecoded[name] = List(Image(mode=feature.feature.mode, decode=False), length=feature.length)
    if not undecoded:
        return dataset
    if isinstance(dataset, Dataset):
        return _with_features(dataset, undecoded)
    for name, feature in undecoded.items():
        dataset = dataset.cast_column(name, feature)
    return dataset


def _with_features(dataset: "datasets.Dataset", changed: dict[str, Any]) -> "datasets.Dataset":
    # `Dataset.cast_column` would rewrite every List(Image) column into the cache; the storage is the same, so a new
    # Dataset over the same table and the same index mapping does.
    from datasets import Dataset
    from datasets.fingerprint import Hasher

    form = dataset.format
    if form["type"] == "custom":  # the user's own transform decides what comes out
        return dataset
    info = dataset.info.copy()
    info.features = cast("Any", type(dataset.features)({**dataset.features, **changed}))
    result = Dataset(
        dataset.data,
        info=info,
        split=dataset.split,
        indices_table=dataset._indices,
        fingerprint=Hasher.hash([dataset._fingerprint, sorted(changed)]),
    )
    if form["type"] is None and form["columns"] == dataset.column_names:
        return result
    return result.with_format(form["type"], form["columns"], form["output_all_columns"], **form["format_kwargs"])
