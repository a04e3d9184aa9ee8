"""Random changes of training images, drawn once per example and applied to the whole batch at once."""

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from climb_hf.errors import OptionError

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["Augmentation"]


@dataclass(frozen=True)
class Augmentation:
    """How training images may vary; every frame of a video or volume gets the same change.

    Args:
        crop_scale (`tuple[float, float]`, *optional*, defaults to `(0.8, 1.0)`):
            range of the share of the area that a random crop keeps, within (0, 1].
        crop_ratio (`tuple[float, float]`, *optional*, defaults to `(0.9, 1.1)`):
            range of the crop's aspect ratio (width / height) relative to the output's, drawn evenly in its logarithm.
        brightness (`float`, *optional*, defaults to `0.1`):
            pixels are multiplied by 1 ± up to this.
        contrast (`float`, *optional*, defaults to `0.1`):
            distances from mid-grey are multiplied by 1 ± up to this.
        horizontal_flip (`float`, *optional*, defaults to `0.0`):
            probability of mirroring. Off, because left and right mean something in most medical images.

    Raises:
        OptionError: a value out of range.
    """

    crop_scale: tuple[float, float] = (0.8, 1.0)
    crop_ratio: tuple[float, float] = (0.9, 1.1)
    brightness: float = 0.1
    contrast: float = 0.1
    horizontal_flip: float = 0.0

    def __post_init__(self) -> None:
        for name in ("crop_scale", "crop_ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high or (name == "crop_scale" and high > 1):
                raise OptionError(f"`{name}` must be a range (low, high) above 0, but is {(low, high)}.")
            object.__setattr__(self, name, (float(low), float(high)))
        for name in ("brightness", "contrast", "horizontal_flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"`{name}` must be in [0, 1], but is {getattr(self, name)!r}.")

    @classmethod
    def of(cls, value: "Augmentation | dict[str, Any] | None") -> "Augmentation | None":
        """Read an augmentation from the dictionary that a processor's file holds.

        Raises:
            OptionError: an unknown key or a value out of range.
        """
        if value is None or isinstance(value, Augmentation):
            return value
        if unknown := sorted(set(value) - set(cls.__dataclass_fields__)):
            raise OptionError(f"`augmentation` has unknown keys {unknown}; it knows {list(cls.__dataclass_fields__)}.")
        return cls(**value)

    def to_dict(self) -> dict[str, Any]:
        """Return the values as JSON can hold them."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def decode_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the size to decode at, so that even the smallest crop has the output's resolution."""
        factor = 1 / math.sqrt(self.crop_scale[0])
        return math.ceil(size[0] * factor), math.ceil(size[1] * factor)

    def __call__(self, images: "Tensor", rows: "Tensor", size: tuple[int, int], generator: "Generator") -> "Tensor":
        """Change a batch.

        Args:
            images (`torch.Tensor`): (n, channels, height, width) float32 in [0, 255].
            rows (`torch.Tensor`): (n,) int64, 0 … R − 1: the example that each image is a frame of.
            size (`tuple[int, int]`): (height, width) of the result.
            generator (`torch.Generator`): source of the randomness; six numbers are drawn per example.

        Returns:
            `torch.Tensor`: (n, channels, height, width) float32 in [0, 255]. Crops are resampled bilinearly.
        """
        import torch
        from torch.nn import functional

        draws = torch.rand(int(rows.max()) + 1, 7, generator=generator)[rows]  # (R, 7) -> (n, 7)
        area, ratio, across, down, flip, bright, contrast = draws.unbind(1)
        area = self.crop_scale[0] + area * (self.crop_scale[1] - self.crop_scale[0])
        low, high = (math.log(value) for value in self.crop_ratio)
        ratio = torch.exp(low + ratio * (high - low))
        width = (area * ratio).sqrt().clamp(max=1)
        height = (area / ratio).sqrt().clamp(max=1)
        mirror = torch.where(flip < self.horizontal_flip, -1.0, 1.0)
        theta = torch.zeros(len(images), 2, 3)
        theta[:, 0, 0], theta[:, 0, 2] = width * mirror, (2 * across - 1) * (1 - width)
        theta[:, 1, 1], theta[:, 1, 2] = height, (2 * down - 1) * (1 - height)
        grid = functional.affine_grid(theta, [len(images), images.shape[1], *size], align_corners=False)
        images = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
        bright = 1 + self.brightness * (2 * bright - 1)
        contrast = 1 + self.contrast * (2 * contrast - 1)
        images = images * bright.view(-1, 1, 1, 1)
        return ((images - 127.5) * contrast.view(-1, 1, 1, 1) + 127.5).clamp_(0, 255)
