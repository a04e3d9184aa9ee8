"""From images, videos and volumes as examples hold them to `pixel_values`, the same in training and in use.

Images are decoded at reduced scale where the format allows it (`climb_hf.readers.image.load_image`), brought to one
size, and normalised in float32. The numbers that matter (size, statistics, frames) are in the processor's file beside
the checkpoint, `preprocessor_config.json`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypedDict, cast

import numpy as np
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature

from climb_hf.errors import OptionError, SchemaError
from climb_hf.processing.augmentation import Augmentation

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["ClimbImageProcessor"]

_MODES = ("stretch", "crop", "pad")
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class ClimbImageProcessorKwargs(TypedDict, total=False):
    """The fields that may be given to `from_pretrained` or to a call, over those of the file."""

    size: int | Sequence[int] | dict[str, int]
    resize_mode: str
    crop_pct: float
    interpolation: str
    image_mean: float | Sequence[float] | None
    image_std: float | Sequence[float] | None
    num_channels: int
    num_frames: int | None
    rescale_factor: float
    augmentation: dict[str, Any] | None


_FIELDS = ", ".join(ClimbImageProcessorKwargs.__annotations__)
_BOOKKEEPING = {"auto_map", "feature_extractor_type", "image_processor_type", "processor_class"}


class ClimbImageProcessor(BaseImageProcessor):
    """Prepares images, videos and volumes for `ClimbVisionModel` and `MedVitModel`.

    Args:
        size (`int`, `(int, int)` or `dict`, *optional*, defaults to `224`):
            output side in pixels, (height, width), or `{"height": …, "width": …}`, which is how it is stored.
        resize_mode (`str`, *optional*, defaults to `"stretch"`):
            `"stretch"` to the size without keeping the aspect ratio (the CLIMB paper's vision models), `"crop"` (short
            side to the size, centre crop) or `"pad"` (long side to the size, black borders).
        crop_pct (`float`, *optional*, defaults to `1.0`):
            only for `"crop"`: the share of the resized short side that the crop keeps, in (0, 1].
        interpolation (`str`, *optional*, defaults to `"bicubic"`):
            resampling filter, with antialiasing; `"bicubic"` is the only one.
        image_mean (`float` or `list[float]`, *optional*):
            subtracted after scaling to [0, 1], one per channel. Defaults to ImageNet's (0.485, 0.456, 0.406), for one
            channel to their mean.
        image_std (`float` or `list[float]`, *optional*):
            divided by, likewise. Defaults to ImageNet's (0.229, 0.224, 0.225), for one channel to their mean.
        num_channels (`int`, *optional*, defaults to `3`):
            3 (RGB; grey images are repeated) or 1 (luminance).
        num_frames (`int`, *optional*):
            frames kept of a longer video or volume, equally spaced with the first and last included. All by default.
        rescale_factor (`float`, *optional*, defaults to `1 / 255`):
            multiplied with the 8-bit values before the statistics.
        augmentation (`dict` or `Augmentation`, *optional*):
            random changes for training, used only by calls with `augment=True`. See `Augmentation` for its keys.
        **kwargs:
            bookkeeping keys of the file, such as `image_processor_type`.

    Raises:
        OptionError: an unknown field, or a value of the wrong type or out of range.

    Example:
        >>> processor = ClimbImageProcessor(size=32)
        >>> processor(np.zeros((48, 64, 3), np.uint8))["pixel_values"].shape
        torch.Size([1, 3, 32, 32])
        >>> videos = [[np.zeros((48, 64, 3), np.uint8)] * 2, [np.zeros((48, 64, 3), np.uint8)]]
        >>> processor(videos)["frame_mask"].tolist()
        [[True, True], [True, False]]
    """

    model_input_names = ["pixel_values", "frame_mask"]  # noqa: RUF012 - declared so in the base class
    valid_kwargs = ClimbImageProcessorKwargs  # type: ignore[assignment]  # only our own fields

    def __init__(
        self,
        *,
        size: int | Sequence[int] | dict[str, int] = 224,
        resize_mode: str = "stretch",
        crop_pct: float = 1.0,
        interpolation: str = "bicubic",
        image_mean: float | Sequence[float] | None = None,
        image_std: float | Sequence[float] | None = None,
        num_channels: int = 3,
        num_frames: int | None = None,
        rescale_factor: float = 1 / 255,
        augmentation: "Augmentation | dict[str, Any] | None" = None,
        **kwargs: Any,  # noqa: ANN401 - as in the base class
    ) -> None:
        if unknown := sorted(set(kwargs) - _BOOKKEEPING):
            raise OptionError(f"unknown fields {unknown}. A processor has {_FIELDS}.")
        super().__init__(**kwargs)
        if num_channels not in (1, 3):
            raise OptionError(f"`num_channels` must be 1 or 3, but is {num_channels!r}.")
        if resize_mode not in _MODES:
            raise OptionError(f"`resize_mode` must be one of {_MODES}, but is {resize_mode!r}.")
        if interpolation != "bicubic":
            raise OptionError(f"`interpolation` must be `bicubic`, but is {interpolation!r}.")
        if not 0 < crop_pct <= 1 or (crop_pct != 1 and resize_mode != "crop"):
            raise OptionError(f"`crop_pct` must be in (0, 1], and 1 unless `resize_mode='crop'`, but is {crop_pct!r}.")
        if num_frames is not None and num_frames < 1:
            raise OptionError(f"`num_frames` must be at least 1, or absent for all frames, but is {num_frames!r}.")
        if not rescale_factor > 0:
            raise OptionError(f"`rescale_factor` must be above 0, but is {rescale_factor!r}.")
        self.size = _as_size(size)
        self.resize_mode, self.crop_pct, self.interpolation = resize_mode, float(crop_pct), interpolation
        self.num_channels, self.num_frames, self.rescale_factor = num_channels, num_frames, float(rescale_factor)
        self.image_mean = _per_channel("image_mean", image_mean, _IMAGENET_MEAN, num_channels)
        self.image_std = _per_channel("image_std", image_std, _IMAGENET_STD, num_channels)
        if min(self.image_std) <= 0:
            raise OptionError(f"`image_std` must be above 0, but is {self.image_std}.")
        found = Augmentation.of(augmentation)
        self.augmentation = None if found is None else found.to_dict()

    @classmethod
    def from_backbone(cls, backbone_name: str, **fields: Any) -> Self:  # noqa: ANN401 - fields of the processor
        """Make a processor with the size and statistics that a backbone's published weights were trained with.

        Args:
            backbone_name (`str`): `"timm/<architecture>[.<tag>]"` (needs no network), or a Hub repository or folder of
                a transformers model with its own image processor.
            **fields: fields of the processor that take precedence.

        Returns:
            `ClimbImageProcessor`: with `size`, `image_mean` and `image_std` of the backbone, stretching to the size.

        Raises:
            OptionError: timm has no such weights.

        Example:
            >>> ClimbImageProcessor.from_backbone("timm/test_vit").image_mean
            [0.5, 0.5, 0.5]
        """
        if backbone_name.startswith("timm/"):
            from climb_hf.models.vision.backbone_weights import native_statistics

            native = native_statistics(backbone_name)
        else:
            from transformers import AutoImageProcessor

            other = AutoImageProcessor.from_pretrained(backbone_name)
            cropped = getattr(other, "do_center_crop", False) and other.crop_size
            size = dict(cropped or other.size)
            side = size.get("shortest_edge") or (size["height"], size["width"])
            native = {"size": side, "image_mean": list(other.image_mean), "image_std": list(other.image_std)}
        if fields.get("num_channels") == 1:
            native["image_mean"] = float(np.mean(native["image_mean"]))
            native["image_std"] = float(np.mean(native["image_std"]))
        return cls(**{**native, **fields})

    @classmethod
    def from_preset(cls, name: str, *, statistics: str = "checkpoint", **fields: Any) -> Self:  # noqa: ANN401 - fields
        """Make the processor of an encoder of the CLIMB paper.

        Args:
            name (`str`): one of `climb_hf.models.vision.VISION_PRESETS`.
            statistics (`str`, *optional*, defaults to `"checkpoint"`): `"checkpoint"` for what the published weights
                were trained with, `"paper"` for ImageNet's, which the paper's code uses for every model.
            **fields: fields of the processor that take precedence.

        Returns:
            `ClimbImageProcessor`: stretching to the encoder's size, with as many frames as the paper's code used.

        Raises:
            OptionError: no such preset, or other statistics.

        Example:
            >>> processor = ClimbImageProcessor.from_preset("swinv2_large")
            >>> processor.size, processor.num_frames
            ({'height': 192, 'width': 192}, 8)
        """
        from climb_hf.models.vision.presets import get_preset

        own = get_preset(name).processor_fields(statistics)
        if fields.get("num_channels") == 1:
            own |= {key: float(np.mean(own[key])) for key in ("image_mean", "image_std")}
        return cls(**{**own, **fields})

    def __call__(
        self,
        images: Any,  # noqa: ANN401 - many kinds, see below
        *args: Any,  # noqa: ANN401 - the base class has them
        augment: bool = False,
        generator: "Generator | int | None" = None,
        return_tensors: str | None = "pt",
        **fields: Any,  # noqa: ANN401 - fields of the processor
    ) -> BatchFeature:
        """Prepare a batch.

        Args:
            images:
                one image or a list of them, or a list of lists of frames. An image is a PIL image, a path, encoded
                bytes, a `{"bytes", "path"}` dictionary (an undecoded `Image()` column), or an 8-bit array or tensor
                (H, W), (H, W, C) or (C, H, W). A 4-D array is a batch of images at the top and one video in a list.
            *args: none are accepted.
            augment (`bool`, *optional*, defaults to `False`): apply `augmentation`.
            generator (`torch.Generator` or `int`, *optional*):
                source of the randomness, or a seed; required with `augment=True`. Vary it from batch to batch.
            return_tensors (`str`, *optional*, defaults to `"pt"`): `"pt"` for torch, `"np"` or `None` for NumPy.
            **fields: fields of the processor, for this call only.

        Returns:
            `BatchFeature`: `pixel_values` float32 (batch, channels, height, width); with frames (batch, frames,
            channels, height, width), padded with zeros to the longest row, and `frame_mask` bool (batch, frames).
            The same input gives the same output to the last bit, alone or in any batch.

        Raises:
            SchemaError: an input that is no image, or a video without frames.
            CorruptFileError: a file that cannot be decoded.
            OptionError: `augment=True` without a generator or an `augmentation`.
        """
        if args:
            raise OptionError(f"`ClimbImageProcessor` takes the images as its only positional argument, not {args!r}.")
        return self.preprocess(images, augment=augment, generator=generator, return_tensors=return_tensors, **fields)

    def preprocess(
        self,
        images: Any,  # noqa: ANN401 - see __call__
        *,
        augment: bool = False,
        generator: "Generator | int | None" = None,
        return_tensors: str | None = "pt",
        **fields: Any,  # noqa: ANN401 - fields of the processor
    ) -> BatchFeature:
        """Prepare a batch; the same as calling the processor."""
        if fields:
            if unknown := sorted(set(fields) - set(ClimbImageProcessorKwargs.__annotations__)):
                raise OptionError(f"unknown arguments {unknown}. A call may set the fields {_FIELDS}.")
            changed = type(self)(**{**self.to_dict(), **fields})
            return changed.preprocess(images, augment=augment, generator=generator, return_tensors=return_tensors)
        import torch

        if return_tensors not in ("pt", "np", None):
            raise OptionError(f"`return_tensors` must be `pt`, `np` or absent, but is {return_tensors!r}.")
        rows, has_frames = _as_rows(images)
        rows = [self._choose_frames(row) for row in rows]
        change = self._augmentation(augment, generator)
        size = (self.size["height"], self.size["width"])
        decode = size if change is None else change.decode_size(size)
        if change is not None and change.crop_of == "picture":
            generator = _as_generator(generator)
            raw = np.stack([image for row in rows for image in self._load_crops(row, change, generator)])
        else:
            raw = np.stack([self._load(frame, decode) for row in rows for frame in row])  # (n, H, W, C) uint8
        lengths = torch.tensor([len(row) for row in rows])
        pixels = torch.empty(len(raw), self.num_channels, *decode)
        pixels.copy_(torch.from_numpy(raw).permute(0, 3, 1, 2))  # (n, H, W, C) uint8 -> (n, C, H, W) float32
        if change is not None:
            owner = torch.arange(len(rows)).repeat_interleave(lengths)
            pixels = change(pixels, owner, size, _as_generator(generator))
        pixels = self._normalise(pixels)
        data: dict[str, Any] = {"pixel_values": pixels}
        if has_frames:
            mask = torch.arange(int(lengths.max())) < lengths[:, None]  # (B, F)
            padded = torch.zeros(*mask.shape, *pixels.shape[1:])
            padded[mask] = pixels  # (n, C, H, W) -> (B, F, C, H, W)
            data = {"pixel_values": padded, "frame_mask": mask}
        if return_tensors != "pt":
            data = {name: value.numpy() for name, value in data.items()}
        return BatchFeature(data=data)

    def _choose_frames(self, row: list[Any]) -> list[Any]:
        from climb_hf.readers.video import frame_indices

        if self.num_frames is None or len(row) <= self.num_frames:
            return row
        return [row[index] for index in frame_indices(len(row), self.num_frames)]

    def _augmentation(self, augment: bool, generator: "Generator | int | None") -> Augmentation | None:
        if not augment:
            return None
        if self.augmentation is None:
            raise OptionError("`augment=True`, but the processor has no `augmentation`. Pass `augmentation={…}`.")
        if generator is None:
            raise OptionError(
                "`augment=True` needs `generator`: a `torch.Generator` or a seed, so runs can be repeated."
            )
        return Augmentation.of(self.augmentation)

    def _load(self, source: Any, size: tuple[int, int]) -> np.ndarray:  # noqa: ANN401 - see __call__
        """Return one image as uint8 (height, width, channels)."""
        from climb_hf.readers.image import load_image

        mode: Literal["RGB", "L"] = "RGB" if self.num_channels == 3 else "L"
        aspect = cast(Literal["stretch", "crop", "pad"], self.resize_mode)
        height, width = size
        larger = (int(height / self.crop_pct), int(width / self.crop_pct))  # rounded down, as timm
        image = load_image(_as_source(source), size=larger, mode=mode, keep_aspect=aspect)
        top, left = round((larger[0] - height) / 2), round((larger[1] - width) / 2)
        return image.reshape(*larger, self.num_channels)[top : top + height, left : left + width]

    def _load_crops(self, row: list[Any], change: Augmentation, generator: "Generator") -> list[np.ndarray]:
        """Return the images of one example, cropped before they are resized, as uint8 (height, width, channels)."""
        from climb_hf.readers.image import load_image, resize_image

        mode: Literal["RGB", "L"] = "RGB" if self.num_channels == 3 else "L"
        whole = [load_image(_as_source(frame), mode=mode) for frame in row]
        left, upper, right, lower = change.box(whole[0].shape[1], whole[0].shape[0], generator)
        size = (self.size["height"], self.size["width"])
        return [resize_image(np.ascontiguousarray(image[upper:lower, left:right]), size) for image in whole]

    def _normalise(self, pixels: "Tensor") -> "Tensor":
        """Scale, shift and divide in one pass: (x · factor − mean) / std = x · (factor / std) − mean / std."""
        import torch

        mean, std = np.asarray(self.image_mean), np.asarray(self.image_std)
        scale = torch.from_numpy(self.rescale_factor / std).float().view(-1, 1, 1)
        shift = torch.from_numpy(-mean / std).float().view(-1, 1, 1)
        return torch.addcmul(shift, pixels, scale)


def _as_size(size: Any) -> dict[str, int]:  # noqa: ANN401 - int, pair or dictionary
    if isinstance(size, dict):
        sides = [size.get("height"), size.get("width")]
    else:
        sides = [size, size] if isinstance(size, int | np.integer) else list(size)
    if len(sides) != 2 or not all(isinstance(side, int | np.integer) and side > 0 for side in sides):
        raise OptionError(f"`size` must be a side, (height, width) or a dictionary of the two, but is {size!r}.")
    height, width = (int(side) for side in sides if side is not None)
    return {"height": height, "width": width}


def _per_channel(name: str, value: Any, default: Sequence[float], channels: int) -> list[float]:  # noqa: ANN401
    if value is None:
        value = default if channels == 3 else float(np.mean(default))
    values = [float(value)] * channels if isinstance(value, int | float) else [float(item) for item in value]
    if len(values) != channels or not np.isfinite(values).all():
        raise OptionError(
            f"`{name}` must be {channels} finite numbers for `num_channels={channels}`, but is {value!r}."
        )
    return values


def _as_generator(generator: "Generator | int | None") -> "Generator":
    import torch

    if isinstance(generator, torch.Generator):
        return generator
    return torch.Generator().manual_seed(int(generator or 0))


def _dimensions(item: Any) -> int | None:  # noqa: ANN401 - anything
    return len(item.shape) if hasattr(item, "shape") else None


def _as_rows(images: Any) -> tuple[list[list[Any]], bool]:  # noqa: ANN401 - see __call__
    """Return a list of frames per example, and whether there are frames at all."""
    if not isinstance(images, list | tuple):
        images = list(images) if _dimensions(images) == 4 else [images]
    if not len(images):
        raise SchemaError("`images` is empty. Pass at least one image, or one list of frames.")
    has_frames = any(isinstance(item, list | tuple) or _dimensions(item) == 4 for item in images)
    rows = [list(item) if isinstance(item, list | tuple) or _dimensions(item) == 4 else [item] for item in images]
    if empty := [index for index, row in enumerate(rows) if not row]:
        raise SchemaError(f"the videos or volumes at {empty[:5]} of the batch have no frames. Leave them out.")
    return rows, has_frames


def _as_source(image: Any) -> Any:  # noqa: ANN401 - in: see __call__; out: what `load_image` reads
    """Turn arrays and tensors into PIL images; everything else is for `load_image`."""
    if not hasattr(image, "shape"):
        if isinstance(image, str | Path | bytes | bytearray | dict) or hasattr(image, "convert"):
            return bytes(image) if isinstance(image, bytearray) else image
        raise SchemaError(
            "an image must be a PIL image, a path, bytes, a {'bytes', 'path'} dictionary, or an 8-bit array, but is a "
            f"{type(image).__name__}."
        )
    from PIL import Image

    is_tensor = hasattr(image, "detach")
    array = image.detach().cpu().numpy() if is_tensor else np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise SchemaError(
            f"an image array must be 8-bit (uint8, 0 to 255) of 2 or 3 dimensions, but is {array.dtype} "
            f"{array.shape}. Scale it with the window or range that fits its modality first."
        )
    if array.ndim == 3:
        last, first = array.shape[-1] in (1, 3, 4), array.shape[0] in (1, 3, 4)
        if not (last or first):
            raise SchemaError(f"an image array must have 1, 3 or 4 channels first or last, but is {array.shape}.")
        if first and (is_tensor or not last):
            array = array.transpose(1, 2, 0)  # (C, H, W) -> (H, W, C)
        array = array[..., 0] if array.shape[-1] == 1 else array
    return Image.fromarray(np.ascontiguousarray(array))
