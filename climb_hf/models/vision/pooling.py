"""From the features of frames to the feature of a video or volume, with padding that has no effect."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from climb_hf.errors import OptionError

__all__ = ["FrameAttention", "mean_over_frames"]


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


class FrameAttention(nn.Module):
    """A learned query that attends to the valid frames, then a layer norm; one frame reduces it to a projection.

    The pooling of the paper's Swin row: learned query, 8 heads, layer norm, frame mask respected.

    Args:
        width (`int`): width of the features.
        heads (`int`): attention heads; must divide `width`.

    Raises:
        OptionError: `heads` does not divide `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise OptionError(
                f"`pooling_heads` must divide the width of the features, but {width} is no multiple of {heads}. "
                "Choose another number of heads or `pooling='mean'`."
            )
        self.heads = heads
        self.query = nn.Parameter(torch.zeros(1, 1, width))
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)  # softmax ignores a constant added to every score
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, features: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Pool frames.

        Args:
            features (`torch.Tensor`): (batch, frames, hidden).
            frame_mask (`torch.Tensor`, *optional*): (batch, frames) bool, `True` for a valid frame.

        Returns:
            `torch.Tensor`: (batch, hidden); zeros for a row without a valid frame.
        """
        rows, _, width = features.shape
        query = self._split(self.q_proj(self.query.expand(rows, -1, -1)))  # (1, 1, D) -> (B, heads, 1, D/heads)
        key = self._split(self.k_proj(features))  # (B, F, D) -> (B, heads, F, D/heads)
        value = self._split(self.v_proj(features))  # (B, F, D) -> (B, heads, F, D/heads)
        mask = anything = None
        if frame_mask is not None:
            anything = frame_mask.any(1, keepdim=True)  # (B, F) -> (B, 1)
            mask = (frame_mask | ~anything)[:, None, None]  # (B, F) -> (B, 1, 1, F)
        pooled = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)  # (B, heads, 1, D/heads)
        pooled = self.norm(self.out_proj(pooled.transpose(1, 2).reshape(rows, width)))  # (B, heads, 1, ·) -> (B, D)
        return pooled if anything is None else pooled.masked_fill(~anything, 0)

    def _split(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, N, D) -> (B, heads, N, D/heads)
