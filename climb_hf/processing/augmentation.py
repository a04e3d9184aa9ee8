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
        crop_of (`str`, *optional*, defaults to `"resized"`):
            `"resized"` crops what has been brought to the processor's form, bilinearly, a batch at a time;
            `"picture"` crops the whole picture before it is resized (bicubic, antialiased) and stretched to the size,
            as torchvision's `RandomResizedCrop` does: `crop_ratio` is then width / height of the crop itself.

    Raises:
        OptionError: a value out of range.
    """

    crop_scale: tuple[float, float] = (0.8, 1.0)
    crop_ratio: tuple[float, float] = (0.9, 1.1)
    brightness: float = 0.1
    contrast: float = 0.1
    horizontal_flip: float = 0.0
    crop_of: str = "resized"

    def __post_init__(self) -> None:
        for name in ("crop_scale", "crop_ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high or (name == "crop_scale" and high > 1):
                raise OptionError(f"`{name}` must be a range (low, high) above 0, but is {(low, high)}.")
            object.__setattr__(self, name, (float(low), float(high)))
        for name in ("brightness", "contrast", "horizontal_flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"`{name}` must be in [0, 1], but is {getattr(self, name)!r}.")
        if self.crop_of not in ("resized", "picture"):
            raise OptionError(f"`crop_of` must be `resized` or `picture`, but is {self.crop_of!r}.")

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
        if self.crop_of == "picture":
            return size
        factor = 1 / math.sqrt(self.crop_scale[0])
        return math.ceil(size[0] * factor), math.ceil(size[1] * factor)

    def box(self, width: int, height: int, generator: "Generator") -> tuple[int, int, int, int]:
        """Draw the part of a whole picture to keep, by the rule of torchvision's `RandomResizedCrop`.

        A share of the area and a ratio are drawn up to ten times until the crop fits; after that the largest centred
        crop within the range of ratios is taken.

        Args:
            width (`int`): of the picture, in pixels.
            height (`int`): likewise.
            generator (`torch.Generator`): source of the randomness.

        Returns:
            `tuple[int, int, int, int]`: left, upper, right, lower.

        Example:
            >>> import torch
            >>> Augmentation(crop_scale=(1, 1), crop_ratio=(0.75, 4 / 3)).box(300, 100, torch.Generator())
            (83, 0, 216, 100)
        """
        import torch

        low, high = self.crop_ratio
        for area, ratio, across, down in torch.rand(10, 4, generator=generator).tolist():
            kept = width * height * (self.crop_scale[0] + area * (self.crop_scale[1] - self.crop_scale[0]))
            ratio = math.exp(math.log(low) + ratio * (math.log(high) - math.log(low)))
            columns, rows = round(math.sqrt(kept * ratio)), round(math.sqrt(kept / ratio))
            if 0 < columns <= width and 0 < rows <= height:
                left, upper = int(across * (width - columns + 1)), int(down * (height - rows + 1))
                return left, upper, left + columns, upper + rows
        columns = min(width, max(1, round(height * high)))
        rows = min(height, max(1, round(width / low)))
        left, upper = (width - columns) // 2, (height - rows) // 2
        return left, upper, left + columns, upper + rows

    def __call__(self, images: "Tensor", rows: "Tensor", size: tuple[int, int], generator: "Generator") -> "Tensor":
        """Change a batch.

        Args:
            images (`torch.Tensor`): (n, channels, height, width) float32 in [0, 255].
            rows (`torch.Tensor`): (n,) int64, 0 … R − 1: the example that each image is a frame of.
            size (`tuple[int, int]`): (height, width) of the result.
            generator (`torch.Generator`): source of the randomness; seven numbers are drawn per example.

        Returns:
            `torch.Tensor`: (n, channels, height, width) float32 in [0, 255].
        """
        import torch

        draws = torch.rand(int(rows.max()) + 1, 7, generator=generator)[rows]  # (R, 7) -> (n, 7)
        crop, flip, bright, contrast = draws[:, :4], *draws[:, 4:].unbind(1)
        mirrored = flip < self.horizontal_flip
        if self.crop_of == "picture":  # cropped already, see `box`
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
        else:
            images = self._crop(images, size, crop, mirrored)
        bright = 1 + self.brightness * (2 * bright - 1)
        contrast = 1 + self.contrast * (2 * contrast - 1)
        images = images * bright.view(-1, 1, 1, 1)
        return ((images - 127.5) * contrast.view(-1, 1, 1, 1) + 127.5).clamp_(0, 255)

    def _crop(self, images: "Tensor", size: tuple[int, int], draws: "Tensor", mirrored: "Tensor") -> "Tensor":
        import torch
        from torch.nn import functional

        area, ratio, across, down = draws.unbind(1)
        area = self.crop_scale[0] + area * (self.crop_scale[1] - self.crop_scale[0])
        low, high = (math.log(value) for value in self.crop_ratio)
        ratio = torch.exp(low + ratio * (high - low))
        width = (area * ratio).sqrt().clamp(max=1)
        height = (area / ratio).sqrt().clamp(max=1)
        theta = torch.zeros(len(images), 2, 3)
        theta[:, 0, 0], theta[:, 0, 2] = width * torch.where(mirrored, -1.0, 1.0), (2 * across - 1) * (1 - width)
        theta[:, 1, 1], theta[:, 1, 2] = height, (2 * down - 1) * (1 - height)
        grid = functional.affine_grid(theta, [len(images), images.shape[1], *size], align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
