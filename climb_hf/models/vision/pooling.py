"""A learned mean over the features of frames, with padding that has no effect."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from climb_hf.errors import OptionError

__all__ = ["FrameAttention"]


class FrameAttention(nn.Module):
    """A learned query that attends to the layer-normed valid frames; one frame reduces it to a projection.

    The pooling of the paper's Swin row (`DDVD233/InternVL:internvl_chat/internvl/model/swin_transformer.py`): learned
    query, 8 heads, layer norm of the frames, frame mask respected. A row without a valid frame, for which that code
    gives NaN, gives zeros.

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
        self.norm = nn.LayerNorm(width)
        self.query = nn.Parameter(torch.zeros(1, 1, width))
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)  # softmax ignores a constant added to every score
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

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
        features = self.norm(features)
        key = self._split(self.k_proj(features))  # (B, F, D) -> (B, heads, F, D/heads)
        value = self._split(self.v_proj(features))  # (B, F, D) -> (B, heads, F, D/heads)
        mask = anything = None
        if frame_mask is not None:
            anything = frame_mask.any(1, keepdim=True)  # (B, F) -> (B, 1)
            mask = (frame_mask | ~anything)[:, None, None]  # (B, F) -> (B, 1, 1, F)
        pooled = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)  # (B, heads, 1, D/heads)
        pooled = self.out_proj(pooled.transpose(1, 2).reshape(rows, width))  # (B, heads, 1, D/heads) -> (B, D)
        return pooled if anything is None else pooled.masked_fill(~anything, 0)

    def _split(self, values: Tensor) -> Tensor:
        return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, N, D) -> (B, heads, N, D/heads)
