"""From dataset rows to the batch of a classifier: pixels or signals, masks, targets, and who the rows are."""

import copy
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from climb_hf.errors import CorruptFileError, OptionError, SchemaError
from climb_hf.training.batches import DRAW
from climb_hf.training.targets import TargetBuilder, Uncertain

if TYPE_CHECKING:
    import datasets

__all__ = ["ClassificationCollator", "prepare_for_training"]


class ClassificationCollator:
    """Turns rows with an `image`, with `frames` or with a `signal` into one batch for a classifier.

    The processor decides what is read: a feature extractor whose first model input is `signal` takes the signals, any
    other the pictures. A signal batch is what the extractor makes of the rows, in one call.

    Rows of both kinds may stand in one batch: an image is then one frame. Batches of images alone are
    (batch, channels, height, width); as soon as a row has frames, frames are padded with zeros to the longest row and
    `frame_mask` says which are real. The collator pickles, so it works in the workers of a DataLoader.

    Augmentation is the processor's and used for training only (`for_training`, which `ClimbTrainer` calls). Its
    randomness depends on the seed and on the number of the draw alone, so it is the same for any number of workers
    and processes, and new for every repetition of a row.

    Args:
        processor: an image processor: called with `images=[…], return_tensors="pt"`, it gives `pixel_values`
            (images, channels, height, width). `ClimbImageProcessor`, and any with a true `accepts_encoded_images`, is
            handed undecoded `{"bytes", "path"}` values as they are and decodes at reduced scale. Or a signal feature
            extractor: called with the rows, it gives `signal` (batch, channels, time) and its masks.
        vocabulary (`Sequence[str]`): the model's concepts V (`config.vocabulary`).
        source_classes (`Mapping[str, Sequence[str]]`): V_k by source (`config.source_classes`).
        multi_label (`Mapping[str, bool]`): whether each source is multi-label (`config.source_multi_label`).
        label_names (`Sequence[str]`, *optional*): names of the dataset's ClassLabel; defaults to the library's V.
        uncertain (`str`, *optional*, defaults to `"ignore"`): what uncertain labels do, see `TargetBuilder`.
        num_frames (`int`, *optional*): at most this many frames per row, equally spaced over those it has. Defaults to
            the processor's `num_frames`, else to all.

    Raises:
        OptionError: `num_frames` below 1, or an unknown `uncertain`.
        VocabularyError: classes that are not in the vocabulary.
    """

    #: The collator wants the number of the draw in every row (`climb_hf.training.batches.DRAW`).
    uses_draws = True

    def __init__(
        self,
        processor: Any,  # noqa: ANN401 - any image processor of transformers
        vocabulary: Sequence[str],
        source_classes: Mapping[str, Sequence[str]],
        multi_label: Mapping[str, bool],
        *,
        label_names: Sequence[str] | None = None,
        uncertain: Uncertain = "ignore",
        num_frames: int | None = None,
    ) -> None:
        if num_frames is not None and num_frames < 1:
            raise OptionError(
                f"`num_frames` must be at least 1, found {num_frames}; leave it away to keep all frames."
            )
        self.processor = processor
        self.num_frames = getattr(processor, "num_frames", None) if num_frames is None else num_frames
        self.targets = TargetBuilder(
            vocabulary, source_classes, multi_label, label_names=label_names, uncertain=uncertain
        )
        self._seed: int | None = None

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
        if getattr(self.processor, "augmentation", None) is None and not getattr(self.processor, "is_random", False):
            return self
        collator = copy.copy(self)
        collator._seed = seed
        return collator

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Collate rows.

        Args:
            rows (`Sequence[Mapping]`): each with `id`, `source`, `labels`, and `image`, `frames`, or `signal` with
                `sampling_rate`.

        Returns:
            `dict`: `pixel_values` float32, (batch, channels, height, width), or with `frame_mask` (batch, frames) bool
            (batch, frames, channels, height, width); for signals what the extractor gives instead; `labels`,
            `target_mask`, `exclusive` as `TargetBuilder`;
            `ids`, `sources`, `groups`: lists of strings (`None` where a row has no group).

        Raises:
            SchemaError: a row without a picture, or with a signal that does not fit the extractor.
            CorruptFileError: a picture that cannot be decoded.
            VocabularyError: a source or a label that is not known.
        """
        batch = self._signals(rows) if reads_signals(self.processor) else self._images(rows)
        batch.update(self.targets(rows))
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

    def _images(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return `pixel_values`, and `frame_mask` where a row has frames."""
        pictures = [self._pictures(row) for row in rows]
        try:
            pixels = self._pixels(rows, pictures)
        except CorruptFileError:
            self._name_the_record(rows, pictures)
            raise
        if any(_has_frames(row) for row in rows):
            return _padded(pixels, [len(group) for group in pictures])
        return {"pixel_values": pixels}

    def _signals(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what the feature extractor makes of the rows: `signal` and its masks."""
        if self._seed is None:
            return dict(self.processor(rows, return_tensors="pt"))
        return dict(self.processor(rows, seeds=[_draw_seed(self._seed, row) for row in rows], return_tensors="pt"))

    def _pictures(self, row: Mapping[str, Any]) -> list[Any]:
        if not _has_frames(row):
            if row.get("image") is None:
                raise SchemaError(
                    f"record `{row.get('id')}` of `{row.get('source')}` has neither `image` nor `frames`; filter such "
                    "rows out before training."
                )
            return [row["image"]]
        frames = row["frames"]
        if self.num_frames is None or len(frames) <= self.num_frames:
            return list(frames)
        from climb_hf.readers.video import frame_indices

        return [frames[position] for position in frame_indices(len(frames), self.num_frames)]

    def _pixels(self, rows: Sequence[Mapping[str, Any]], pictures: list[list[Any]]) -> Tensor:
        """Return (frames of all rows, channels, height, width)."""
        opened = [[self._opened(picture) for picture in group] for group in pictures]
        if self._seed is None:
            flat = [picture for group in opened for picture in group]
            return self.processor(images=flat, return_tensors="pt")["pixel_values"]
        # Row by row, each with its own seed: what a row becomes must not depend on the batch it is in.
        found = []
        for row, group in zip(rows, opened, strict=True):
            seed = _draw_seed(self._seed, row)
            made = self.processor(images=[group], augment=True, generator=seed, return_tensors="pt")
            found.append(made["pixel_values"][0])
        return torch.cat(found)

    def _opened(self, picture: Any) -> Any:  # noqa: ANN401 - encoded or decoded picture
        if not isinstance(picture, Mapping) or _reads_encoded(self.processor):
            return picture
        from PIL import Image

        content = picture.get("bytes")
        try:
            with Image.open(picture["path"] if content is None else io.BytesIO(content)) as image:
                return image.convert("RGB")
        except (OSError, SyntaxError) as error:
            raise CorruptFileError(f"{picture.get('path') or 'stored bytes'}: {error}") from error

    def _name_the_record(self, rows: Sequence[Mapping[str, Any]], pictures: list[list[Any]]) -> None:
        for row, group in zip(rows, pictures, strict=True):
            try:
                self._pixels([row], [group])
            except CorruptFileError as error:
                raise CorruptFileError(
                    f"a picture of record `{row.get('id')}` of `{row.get('source')}` cannot be decoded: {error}. "
                    'Rebuild the dataset with `verify="full"` to have such records skipped and named.'
                ) from error


def reads_signals(processor: Any) -> bool:  # noqa: ANN401 - any processor
    """Tell whether a processor takes signals: whether `signal` is the first input it makes for a model.

    Args:
        processor: any processor of transformers.

    Returns:
        `bool`.

    Example:
        >>> from climb_hf.processing import ClimbImageProcessor, EcgFeatureExtractor
        >>> reads_signals(EcgFeatureExtractor()), reads_signals(ClimbImageProcessor())
        (True, False)
    """
    return list(getattr(processor, "model_input_names", None) or [])[:1] == ["signal"]


def _draw_seed(seed: int, row: Mapping[str, Any]) -> int:
    """Return what makes one draw of a row random: it depends on the seed and the number of the draw alone."""
    return int(np.random.SeedSequence([seed, int(row.get(DRAW, 0))]).generate_state(1)[0])


def _has_frames(row: Mapping[str, Any]) -> bool:
    frames = row.get("frames")
    return frames is not None and len(frames) > 0


def _reads_encoded(processor: Any) -> bool:  # noqa: ANN401 - any image processor
    from climb_hf.processing.image_processor import ClimbImageProcessor

    return bool(getattr(processor, "accepts_encoded_images", isinstance(processor, ClimbImageProcessor)))


def _padded(pixels: Tensor, counts: list[int]) -> dict[str, Tensor]:
    mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]  # (B, F)
    padded = pixels.new_zeros(*mask.shape, *pixels.shape[1:])
    padded[mask] = pixels  # (n, C, H, W) -> (B, F, C, H, W)
    return {"pixel_values": padded, "frame_mask": mask}


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
