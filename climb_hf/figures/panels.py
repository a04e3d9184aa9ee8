"""From figures to rows: decode, find panels, crop, filter, give each its text."""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from PIL import Image, ImageOps

from climb_hf.build_log import Failure
from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.figures.alignment import align_panels
from climb_hf.figures.boxes import Detection, clean_boxes, reading_order
from climb_hf.figures.captions import split_caption
from climb_hf.figures.gutters import gutter_boxes
from climb_hf.figures.licences import is_redistributable
from climb_hf.figures.reading import Figure

if TYPE_CHECKING:
    from datasets import Features

__all__ = ["SOURCE", "BoxFinder", "FigureOptions", "PanelMaker", "decode", "features"]

#: Value of the column `source`.
SOURCE = "pmc_figures"
#: Finds the parts of figures; a test gives boxes that are known.
BoxFinder = Callable[[Sequence[Image.Image], Sequence[Figure]], Sequence[Sequence[Detection]]]

_KEPT_FORMATS = ("JPEG", "PNG")
_PLAIN_MODES = ("1", "L", "P", "RGB", "CMYK")
_ORIENTATION = 0x0112
_BLANK_SHARE, _BLANK_WIDTH, _GRID = 0.995, 8, 128


@dataclass(frozen=True)
class FigureOptions:
    """What is made of figures.

    Args:
        detector (`str`, *optional*, defaults to `"gutters"`): `"gutters"`, `"none"` (figures stay whole), or an
            object-detection checkpoint.
        caption (`str`, *optional*, defaults to `"full"`): `"full"` gives every panel the whole caption, as
            Open-PMC-18M v1 and v2 do; `"split"` gives it its own part.
        unaligned (`str`, *optional*, defaults to `"full"`): with `"split"`, what panels get whose number is not that
            of the labels: `"full"` caption, or `"drop"`.
        threshold (`float`, *optional*, defaults to `0.2`): score that a box of a checkpoint needs.
        overlap (`float`, *optional*, defaults to `0.2`): overlap (IoU) of boxes above which the lower score goes.
        expand (`float`, *optional*, defaults to `0.0`): part of its size that a box grows by on each side.
        min_side (`int`, *optional*, defaults to `32`): shorter side of a panel in pixels at least.
        min_caption (`int`, *optional*, defaults to `1`): characters of a text at least.
        order (`str`, *optional*, defaults to `"rows"`): reading order of panels, `"rows"` or `"columns"`.
        classifier (`str`, *optional*): an image-classification checkpoint that says what is kept.
        classes (`tuple[str, ...]`, *optional*): its classes that are kept.
        top_k (`int`, *optional*, defaults to `1`): a wanted class must be among the best `top_k`.
        licenses (`str`, *optional*, defaults to `"all"`): `"open"` keeps only what may be passed on.
        image_format (`str`, *optional*, defaults to `"JPEG"`): of panels, `"JPEG"` (quality 95) or `"PNG"`.
        max_pixels (`int`, *optional*, defaults to `80_000_000`): a larger figure is not decoded.
        batch_size (`int`, *optional*, defaults to `8`): figures that a checkpoint sees at once.
        columns (`tuple[tuple[str, str], ...]`, *optional*): columns of tables by what they hold, see
            `climb_hf.figures.reading.COLUMNS`.

    Raises:
        OptionError: a value that is not allowed.
    """

    detector: str = "gutters"
    caption: str = "full"
    unaligned: str = "full"
    threshold: float = 0.2
    overlap: float = 0.2
    expand: float = 0.0
    min_side: int = 32
    min_caption: int = 1
    order: str = "rows"
    classifier: str | None = None
    classes: tuple[str, ...] = ()
    top_k: int = 1
    licenses: str = "all"
    image_format: str = "JPEG"
    max_pixels: int = 80_000_000
    batch_size: int = 8
    columns: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        choices = {
            "caption": ("full", "split"), "unaligned": ("full", "drop"), "order": ("rows", "columns"),
            "licenses": ("all", "open"), "image_format": _KEPT_FORMATS,
        }  # fmt: skip
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise OptionError(f"`{name}` must be {' or '.join(allowed)}, got {getattr(self, name)!r}.")
        for name in ("threshold", "overlap", "expand"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"`{name}` must be from 0 to 1, got {getattr(self, name)!r}.")
        for name in ("min_side", "max_pixels", "batch_size", "top_k"):
            if getattr(self, name) < 1:
                raise OptionError(f"`{name}` must be 1 or more, got {getattr(self, name)!r}.")
        if bool(self.classes) != bool(self.classifier):
            raise OptionError("`classifier` and `classes` go together: a checkpoint, and its classes to keep.")


def features() -> "Features":
    """Return the features of the rows."""
    from datasets import Features, List, Value
    from datasets import Image as ImageFeature

    text = Value("string")
    return Features(
        {
            "id": text, "source": text, "group": text, "image": ImageFeature(mode="RGB"), "text": text,
            "caption": text, "figure": text, "panel": text, "box": List(Value("int32"), length=4),
            "score": Value("float32"), "license": text, "redistributable": Value("bool"),
        }
    )  # fmt: skip


@dataclass
class PanelMaker:
    """Makes rows of figures, and counts what becomes of them.

    Args:
        options (`FigureOptions`): what is made.
        boxes (`BoxFinder`, *optional*): finds the parts of figures in place of `options.detector`.
        device (`str`, *optional*): torch device of checkpoints.

    Attributes:
        counts (`Counter`): figures read, panels written, and everything left out by its reason.
        failures (`list[Failure]`): figures that could not be read.
    """

    options: FigureOptions
    boxes: BoxFinder | None = None
    device: str | None = None
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def rows(self, figures: Iterable[Figure | Failure]) -> Iterator[dict[str, Any]]:
        """Yield the rows of figures, in their order.

        Args:
            figures (`Iterable[Figure or Failure]`): of `climb_hf.figures.reading.read_figures`.

        Yields:
            `dict`: a row, see `features`.
        """
        batch: list[tuple[Figure, Image.Image, bool]] = []
        for figure in figures:
            usable = self._usable(figure)
            if usable is not None:
                batch.append(usable)
            if len(batch) >= (1 if self._is_quick else self.options.batch_size):
                yield from self._batch_rows(batch)
                batch = []
        if batch:
            yield from self._batch_rows(batch)

    @property
    def _is_quick(self) -> bool:
        return self.boxes is None and self.options.detector in ("gutters", "none")

    def _usable(self, figure: Figure | Failure) -> tuple[Figure, Image.Image, bool] | None:
        """Decode a figure; `None`, counted, where it is of no use. The flag says that its file may stay as it is."""
        if isinstance(figure, Failure):
            self.failures.append(figure)
            return None
        self.counts["figures"] += 1
        if len(figure.caption) < max(1, self.options.min_caption):
            self.counts["figure dropped: no caption" if not figure.caption else "figure dropped: short caption"] += 1
            return None
        if self.options.licenses == "open" and not is_redistributable(figure.license):
            self.counts["figure dropped: licence"] += 1
            return None
        try:
            image, is_kept = decode(figure.content, figure.file, max_pixels=self.options.max_pixels)
        except CorruptFileError as error:
            self.counts["figures"] -= 1
            self.failures.append(Failure.of(f"{figure.article}/{figure.id}", figure.file, error))
            return None
        return figure, image, is_kept

    def _batch_rows(self, batch: Sequence[tuple[Figure, Image.Image, bool]]) -> Iterator[dict[str, Any]]:
        images = [image for _, image, _ in batch]
        for (figure, image, is_kept), found in zip(
            batch, self._find(images, [item[0] for item in batch]), strict=True
        ):
            letters = {part.label: part.box for part in found if part.label}
            panels, small = clean_boxes(
                [part for part in found if not part.label], image.size, expand=self.options.expand,
                min_side=self.options.min_side, threshold=self.options.overlap,
            )  # fmt: skip
            self.counts["panel dropped: small"] += small
            if len(panels) < (2 if self._is_quick else 1):
                yield from self._whole(figure, image, panels, is_kept)
            else:
                yield from self._panels(figure, image, panels, letters)

    def _find(self, images: Sequence[Image.Image], figures: Sequence[Figure]) -> Sequence[Sequence[Detection]]:
        if self.boxes is not None:
            return self.boxes(images, figures)
        if self.options.detector == "none":
            return [[] for _ in images]
        if self.options.detector == "gutters":
            return [gutter_boxes(image) for image in images]
        return _detector(self.options.detector, self.options.threshold, self.device)(images)

    def _whole(
        self, figure: Figure, image: Image.Image, panels: Sequence[Detection], is_kept: bool
    ) -> Iterator[dict[str, Any]]:
        """A figure without parts stays whole, with its caption; its file is not written anew."""
        self.counts["figures kept whole"] += 1
        if min(image.size) < self.options.min_side:
            self.counts["panel dropped: small"] += 1
        elif self._is_wanted([image])[0]:
            content = figure.content if is_kept else _encode(image, "PNG")
            score = panels[0].score if panels else None
            yield self._row(figure, "", 0, (0, 0, *image.size), score, content, figure.caption)

    def _panels(
        self, figure: Figure, image: Image.Image, panels: Sequence[Detection], letters: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        self.counts["figures cut"] += 1
        order = reading_order([panel.box for panel in panels], self.options.order)
        panels = [panels[number] for number in order]
        texts, labels = self._texts(figure, panels, letters)
        crops = [image.crop(cast(tuple[int, int, int, int], panel.box)) for panel in panels]
        wanted = self._is_wanted(crops)
        for number, (panel, crop, text, label) in enumerate(zip(panels, crops, texts, labels, strict=True), 1):
            if text is None:
                self.counts["panel dropped: not aligned"] += 1
            elif len(text) < self.options.min_caption:
                self.counts["panel dropped: short text"] += 1
            elif wanted[number - 1]:
                content = _encode(crop, self.options.image_format)
                yield self._row(figure, label, number, panel.box, panel.score, content, text)

    def _texts(
        self, figure: Figure, panels: Sequence[Detection], letters: Mapping[str, Any]
    ) -> tuple[list[str | None], list[str]]:
        """Text and label of every panel."""
        parts = split_caption(figure.caption)
        labels = align_panels(
            [panel.box for panel in panels], list(parts), label_boxes=letters, order=self.options.order
        )
        if self.options.caption == "full":
            return [figure.caption] * len(panels), labels
        is_aligned = any(labels)
        self.counts["figures aligned" if is_aligned else "figures not aligned"] += 1
        other = figure.caption if self.options.unaligned == "full" else None
        return [parts[label] if label else other for label in labels], labels

    def _is_wanted(self, crops: Sequence[Image.Image]) -> list[bool]:
        """Tell which pictures are neither blank nor of another class, and count the others."""
        wanted = [not _is_blank(crop) for crop in crops]
        self.counts["panel dropped: blank"] += wanted.count(False)
        if self.options.classifier and any(wanted):
            classify = _classifier(self.options, self.device)
            shown = [number for number, is_wanted in enumerate(wanted) if is_wanted]
            for number, is_kept in zip(shown, classify([crops[number] for number in shown]), strict=True):
                wanted[number] = is_kept
                self.counts["panel dropped: class"] += not is_kept
        return wanted

    def _row(
        self, figure: Figure, label: str, number: int, box: Sequence[float], score: float | None, content: bytes,
        text: str,
    ) -> dict[str, Any]:  # fmt: skip
        self.counts["panels"] += 1
        is_open = is_redistributable(figure.license)
        self.counts[f"licence {figure.license}"] += 1
        self.counts["closed"] += not is_open
        suffix = "png" if content.startswith(b"\x89PNG") else "jpg"
        name = f"{figure.article}/{figure.id}" + (f"/{number}" if number else "")
        return {
            "id": name, "source": SOURCE, "group": figure.article,
            "image": {"bytes": content, "path": f"{name.replace('/', '_')}.{suffix}"},
            "text": text, "caption": figure.caption if text != figure.caption else None, "figure": figure.id,
            "panel": label, "box": [int(side) for side in box], "score": score, "license": figure.license,
            "redistributable": is_open,
        }  # fmt: skip


def decode(content: bytes, name: str, *, max_pixels: int = 80_000_000) -> tuple[Image.Image, bool]:
    """Decode a figure: upright, grey or RGB.

    Args:
        content (`bytes`): a picture file.
        name (`str`): where it is from, for messages.
        max_pixels (`int`, *optional*, defaults to `80_000_000`): a larger one is refused before it is decoded.

    Returns:
        `tuple[PIL.Image.Image, bool]`: and whether the file is a JPEG or PNG that needs no change.

    Raises:
        CorruptFileError: no picture, truncated, or too large.
    """
    from climb_hf.readers.image import to_rgb
    from climb_hf.readers.integrity import damage_named

    with damage_named(name, "decoding"), Image.open(io.BytesIO(content)) as opened:
        if opened.width * opened.height > max_pixels:
            raise CorruptFileError(
                f"`{name}`: {opened.width:,} × {opened.height:,} pixels, more than the {max_pixels:,} accepted "
                "(`max_pixels`)."
            )
        opened.load()
        is_turned = opened.getexif().get(_ORIENTATION, 1) != 1
        image = ImageOps.exif_transpose(opened) if is_turned else opened
        is_kept = opened.format in _KEPT_FORMATS and not is_turned
        # Plain readers turn these to RGB otherwise: black behind what is transparent, 16 bits cut off at 255.
        is_kept = is_kept and image.mode in _PLAIN_MODES and not image.has_transparency_data
        if image.mode not in ("L", "RGB") or image.has_transparency_data:
            image = to_rgb(image)
        return image, is_kept  # its pixels outlive its file


def _encode(image: Image.Image, kind: str) -> bytes:
    from climb_hf.readers.image import encode_image

    return encode_image(image, cast(Literal["PNG", "JPEG"], kind))


def _is_blank(image: Image.Image) -> bool:
    """Tell whether nearly all of a picture has one shade of grey, by a grid of at most 128 × 128 of its pixels."""
    size = min(image.width, _GRID), min(image.height, _GRID)
    sample = image.resize(size, Image.Resampling.NEAREST).convert("L")
    counts = np.cumsum(sample.histogram())
    most = np.max(counts[_BLANK_WIDTH:] - counts[:-_BLANK_WIDTH], initial=counts[_BLANK_WIDTH - 1])
    return bool(most >= _BLANK_SHARE * size[0] * size[1])


_LOADED: dict[tuple[Any, ...], Any] = {}


def _detector(checkpoint: str, threshold: float, device: str | None) -> Any:  # noqa: ANN401 - loaded once a process
    from climb_hf.figures.checkpoints import CheckpointDetector

    key = ("detector", checkpoint, threshold, device)
    if key not in _LOADED:
        _LOADED[key] = CheckpointDetector(checkpoint, threshold=threshold, device=device)
    return _LOADED[key]


def _classifier(options: FigureOptions, device: str | None) -> Any:  # noqa: ANN401 - loaded once a process
    from climb_hf.figures.checkpoints import CheckpointClassifier

    key = ("classifier", options.classifier, options.classes, options.top_k, device)
    if key not in _LOADED:
        _LOADED[key] = CheckpointClassifier(
            str(options.classifier), options.classes, top_k=options.top_k, device=device
        )
    return _LOADED[key]
