"""Frames of videos and volumes around an encoder of single images: flattened, put back in place, averaged.

The models of pictures take (batch, channels, height, width) or (batch, frames, channels, height, width) with a
`frame_mask`. Padded frames are left out before the encoder, not multiplied by zero, so they change neither the result
nor the statistics of a batch norm.
"""

import torch
from torch import Tensor

from climb_hf.errors import SchemaError

__all__ = ["flatten_frames", "mean_over_frames", "restore_frames"]


def flatten_frames(pixel_values: Tensor, frame_mask: Tensor | None, channels: int) -> tuple[Tensor, Tensor | None]:
    """Return the images to encode, and their places where some frames are left out.

    Args:
        pixel_values (`torch.Tensor`):
            (batch, channels, height, width) or (batch, frames, channels, height, width). One channel is repeated where
            the encoder reads three.
        frame_mask (`torch.Tensor`, *optional*): (batch, frames) bool, `True` for a valid frame; only with frames.
        channels (`int`): channels that the encoder reads.

    Returns:
        `tuple`: the images (valid, channels, height, width), and their indices (valid,) int64 among batch · frames, or
        `None` where none is left out.

    Raises:
        SchemaError: shapes that do not fit, or no valid frame in the whole batch.

    Example:
        >>> pixels, mask = torch.zeros(2, 2, 3, 8, 8), torch.tensor([[True, True], [True, False]])
        >>> images, valid = flatten_frames(pixels, mask, 3)
        >>> tuple(images.shape), valid.tolist()
        ((3, 3, 8, 8), [0, 1, 2])
    """
    shape = tuple(pixel_values.shape)
    if pixel_values.ndim not in (4, 5) or 0 in shape or shape[-3] not in (1, channels):
        raise SchemaError(
            "`pixel_values` must be (batch, channels, height, width) or (batch, frames, channels, height, width) "
            f"with {channels} channels or 1, but is {shape}. Prepare images with the checkpoint's "
            "`AutoImageProcessor`."
        )
    if frame_mask is not None and (frame_mask.dtype != torch.bool or tuple(frame_mask.shape) != shape[:-3]):
        raise SchemaError(
            f"`frame_mask` must be bool of the shape (batch, frames) of `pixel_values` {shape}, but is "
            f"{frame_mask.dtype} {tuple(frame_mask.shape)}. Single images take no `frame_mask`."
        )
    images = pixel_values.flatten(0, -4)  # (B[, F], C, H, W) -> (B·F, C, H, W)
    valid = None
    if frame_mask is not None:
        valid = frame_mask.flatten().nonzero().squeeze(1)  # (B, F) -> (V,)
        if valid.shape[0] == 0:
            raise SchemaError("`frame_mask` leaves no valid frame in the whole batch. Leave such a batch out.")
        images = images.index_select(0, valid)  # (B·F, C, H, W) -> (V, C, H, W)
    if images.shape[1] != channels:
        images = images.expand(-1, channels, -1, -1)  # (V, 1, H, W) -> (V, 3, H, W)
    return images, valid


def restore_frames(
    tokens: Tensor, pooled: Tensor, valid: Tensor | None, pixel_values: Tensor
) -> tuple[Tensor, Tensor]:
    """Put what the encoder made of the valid frames back at their places.

    Args:
        tokens (`torch.Tensor`): (valid, tokens, width).
        pooled (`torch.Tensor`): (valid, hidden).
        valid (`torch.Tensor`, *optional*): their places, from `flatten_frames`.
        pixel_values (`torch.Tensor`): what went into `flatten_frames`.

    Returns:
        `tuple`: tokens (batch, tokens, width) of images or (batch, frames, tokens, width) of frames; features (batch,
        frames, hidden), of images with one frame. Padded frames hold zeros.
    """
    if pixel_values.ndim == 4:
        return tokens, pooled.unsqueeze(1)  # (B, D) -> (B, 1, D)
    return _placed(tokens, valid, pixel_values), _placed(pooled, valid, pixel_values)  # (V, …) -> (B, F, …)


def _placed(values: Tensor, valid: Tensor | None, pixel_values: Tensor) -> Tensor:
    rows, frames = pixel_values.shape[:2]
    if valid is not None:
        values = values.new_zeros(rows * frames, *values.shape[1:]).index_copy(0, valid, values)
    return values.unflatten(0, (rows, frames))


def mean_over_frames(features: Tensor, frame_mask: Tensor | None) -> Tensor:
    """Average over the valid frames; a row without any gives zeros.

    Frames are added one after the other, so padding (zeros) at any place leaves the sum the same to the last bit,
    which a blocked reduction would not promise. The sum is at least float32.

    Args:
        features (`torch.Tensor`): (batch, frames, hidden); padded frames hold zeros.
        frame_mask (`torch.Tensor`, *optional*): (batch, frames) bool, `True` for a valid frame; all are if absent.

    Returns:
        `torch.Tensor`: (batch, hidden), of the dtype of `features`.

    Example:
        >>> features = torch.tensor([[[2.0], [4.0], [0.0]]])
        >>> mean_over_frames(features, torch.tensor([[True, True, False]]))
        tensor([[3.]])
    """
    total = features[:, 0].to(torch.promote_types(features.dtype, torch.float32))
    for index in range(1, features.shape[1]):
        total = total + features[:, index]
    if frame_mask is None:
        return (total / features.shape[1]).to(features.dtype)
    count = frame_mask.sum(1, keepdim=True).clamp(min=1)
    return (total / count).to(features.dtype)
