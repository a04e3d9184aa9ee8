"""From rows of a dataset to what a model is called with, by the processor that belongs to the model.

Training, evaluation and the pipeline all go through `RowBatcher`, so they cannot differ.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from climb_hf.errors import CorruptFileError, OptionError, SchemaError

__all__ = ["RowBatcher", "input_kind"]


def input_kind(processor: Any) -> str:  # noqa: ANN401 - any processor
    """Tell what a processor reads.

    Args:
        processor: an image processor, a feature extractor of signals, or a processor of graphs.

    Returns:
        `str`: `"graph"`, `"signal"` or `"picture"`.

    Example:
        >>> from climb_hf.processing import ClimbGraphProcessor, ClimbImageProcessor, EcgFeatureExtractor
        >>> input_kind(ClimbGraphProcessor()), input_kind(EcgFeatureExtractor()), input_kind(ClimbImageProcessor())
        ('graph', 'signal', 'picture')
    """
    if hasattr(processor, "model_inputs"):
        return "graph"
    names = list(getattr(processor, "model_input_names", None) or [])
    return "signal" if names[:1] == ["signal"] else "picture"


class RowBatcher:
    """Turns rows with an `image`, `frames`, a `signal` or a graph into the input of a model.

    Args:
        processor: an image processor: called with `images=[…], return_tensors="pt"`, it gives `pixel_values`
            (images, channels, height, width); `ClimbImageProcessor`, and any with a true `accepts_encoded_images`, is
            handed undecoded `{"bytes", "path"}` values and decodes at reduced scale. Or a signal feature extractor:
            called with the rows, it gives `signal` (batch, channels, time) and its masks. Or one with
            `model_inputs(rows)`, such as `ClimbGraphProcessor`.
        num_frames (`int`, *optional*): at most this many frames per row, equally spaced over those it has. Defaults to
            the processor's `num_frames`, else to all.

    Raises:
        OptionError: `num_frames` below 1.
    """

    def __init__(self, processor: Any, num_frames: int | None = None) -> None:  # noqa: ANN401 - any processor
        if num_frames is not None and num_frames < 1:
            raise OptionError(
                f"`num_frames` must be at least 1, found {num_frames}; leave it away to keep all frames."
            )
        self.processor = processor
        self.kind = input_kind(processor)
        self.num_frames = getattr(processor, "num_frames", None) if num_frames is None else num_frames

    @property
    def is_random(self) -> bool:
        """Whether rows come out differently with other seeds: the processor augments or crops at random."""
        return getattr(self.processor, "augmentation", None) is not None or bool(
            getattr(self.processor, "is_random", False)
        )

    def __call__(self, rows: Sequence[Mapping[str, Any]], seeds: Sequence[int] | None = None) -> dict[str, Any]:
        """Batch rows.

        Args:
            rows (`Sequence[Mapping]`): rows of one kind of input.
            seeds (`Sequence[int]`, *optional*): one per row, for what the processor does at random in training; none
                of it is done without.

        Returns:
            `dict`: `pixel_values` float32, (batch, channels, height, width), or with `frame_mask` (batch, frames) bool
            (batch, frames, channels, height, width) as soon as a row has frames, padded with zeros to the longest; or
            what the signal or graph processor gives.

        Raises:
            SchemaError: a row without the input, or one that does not fit the processor.
            CorruptFileError: a picture that cannot be decoded.
        """
        if self.kind == "graph":
            return dict(self.processor.model_inputs(rows))
        if self.kind == "signal":
            more = {} if seeds is None else {"seeds": list(seeds)}
            return dict(self.processor(list(rows), return_tensors="pt", **more))
        return self._images(rows, seeds)

    def _images(self, rows: Sequence[Mapping[str, Any]], seeds: Sequence[int] | None) -> dict[str, Any]:
        pictures = [self._pictures(row) for row in rows]
        try:
            pixels = self._pixels(pictures, seeds)
        except CorruptFileError:
            self._name_the_record(rows, pictures)
            raise
        if any(_has_frames(row) for row in rows):
            return _padded(pixels, [len(group) for group in pictures])
        return {"pixel_values": pixels}

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

    def _pixels(self, pictures: list[list[Any]], seeds: Sequence[int] | None) -> Tensor:
        """Return (frames of all rows, channels, height, width)."""
        opened = [[self._opened(picture) for picture in group] for group in pictures]
        if seeds is None:
            flat = [picture for group in opened for picture in group]
            return self.processor(images=flat, return_tensors="pt")["pixel_values"]
        # Row by row, each with its own seed: what a row becomes must not depend on the batch it is in.
        found = []
        for seed, group in zip(seeds, opened, strict=True):
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
                self._pixels([group], None)
            except CorruptFileError as error:
                raise CorruptFileError(
                    f"a picture of record `{row.get('id')}` of `{row.get('source')}` cannot be decoded: {error}. "
                    'Rebuild the dataset with `verify="full"` to have such records skipped and named.'
                ) from error


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
