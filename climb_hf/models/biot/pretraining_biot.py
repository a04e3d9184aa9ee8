"""How BIOT is pretrained: a recording is recognised among others from a random part of its frames.

The unsupervised objective of `ycq091044/BIOT` (`run_unsupervised_pretrain.py`): no augmentation of the signal, no
momentum encoder, no stop of the gradient.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.utils import ModelOutput, can_return_tuple

from climb_hf.errors import SchemaError
from climb_hf.models.biot.configuration_biot import BiotConfig
from climb_hf.models.biot.modeling_biot import BiotModel, BiotPreTrainedModel

__all__ = ["BiotForPretraining", "BiotPretrainingOutput", "draw_kept_frames"]

_Group = tuple[Tensor | None, Tensor | None, Tensor | None]  # loss, similarities, features
_NOTHING: _Group = (None, None, None)


def draw_kept_frames(channels: int, frames: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw the frames to keep: in each channel independently n of them, n uniform in frames // 2 … frames - 1.

    Args:
        channels (`int`): channels.
        frames (`int`): frames of a channel, at least 2.
        generator (`torch.Generator`, *optional*): of the CPU; torch's global one by default.

    Returns:
        `torch.Tensor`: (channels, frames) bool.

    Raises:
        SchemaError: fewer than 2 frames, of which no part could be kept.

    Example:
        >>> kept = draw_kept_frames(16, 19, torch.Generator().manual_seed(0))
        >>> bool((kept.sum(1) >= 9).all() and (kept.sum(1) <= 18).all())
        True
    """
    if frames < 2:
        raise SchemaError(
            f"pretraining keeps a part of the frames of a signal, which takes at least 2, but it has {frames}. Pass "
            "longer signals."
        )
    counts = torch.randint(frames // 2, frames, (channels, 1), generator=generator)
    ranks = torch.rand(channels, frames, generator=generator).argsort(1)  # a random permutation of each row
    return ranks < counts


@dataclass
class BiotPretrainingOutput(ModelOutput):
    """Output of `BiotForPretraining`.

    Args:
        loss (`torch.Tensor`): scalar float32: the sum over the groups of the mean cross-entropy.
        similarities (`torch.Tensor`, *optional*):
            (batch, batch) float32 of the main group: rows are whole recordings, columns are parts of recordings;
            cosines divided by the temperature.
        sleep_similarities (`torch.Tensor`, *optional*): the same of the second group.
        pooler_output (`torch.Tensor`, *optional*): (batch, width): the features of the whole recordings of the main
            group.
        sleep_pooler_output (`torch.Tensor`, *optional*): the same of the second group.
    """

    loss: torch.Tensor | None = None
    similarities: torch.Tensor | None = None
    sleep_similarities: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None
    sleep_pooler_output: torch.Tensor | None = None


class BiotForPretraining(BiotPreTrainedModel):
    """The encoder with the layers that its contrastive pretraining adds, for one or two groups of recordings.

    The published encoder with 18 channels learned from two groups in every step: PREST (resting EEG, the 16
    derivations) and SHHS (sleep, C3-A2 and C4-A1). Their losses are computed apart and added. A batch is contrasted
    with itself; with several processes each contrasts its own rows.

    Args:
        config (`BiotConfig`): the configuration; `vocabulary` plays no part. The published sizes are
            `BiotConfig(num_channel_tokens=18)`.

    Example:
        >>> model = BiotForPretraining(BiotConfig(num_hidden_layers=1, num_channel_tokens=18))
        >>> output = model(torch.randn(4, 16, 2000), sleep_signal=torch.randn(3, 2, 6000))
        >>> output.similarities.shape, output.sleep_similarities.shape
        (torch.Size([4, 4]), torch.Size([3, 3]))
    """

    def __init__(self, config: BiotConfig) -> None:
        super().__init__(config)
        self.biot = BiotModel(config)
        width = config.hidden_size
        self.prediction = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        signal: Tensor | None = None,
        channel_mask: Tensor | None = None,
        channel_ids: Tensor | None = None,
        kept_frames: Tensor | None = None,
        sleep_signal: Tensor | None = None,
        sleep_kept_frames: Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401 - whatever a Trainer passes along
    ) -> BiotPretrainingOutput:
        """Compute the loss of a batch.

        Args:
            signal (`torch.Tensor`, *optional*): (batch, channels, time): the main group, see `BiotModel`.
            channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool, `True` for a recorded channel.
            channel_ids (`torch.Tensor`, *optional*): (channels,) or (batch, channels) integers, see `BiotModel`.
            kept_frames (`torch.Tensor`, *optional*):
                (channels, frames) bool: the part of the recordings to recognise them from; drawn with torch's global
                generator where absent.
            sleep_signal (`torch.Tensor`, *optional*):
                (batch of its own, channels, time): the second group, whose channel tokens follow those of the first:
                they start at `channel_offset + num_channels`.
            sleep_kept_frames (`torch.Tensor`, *optional*): (channels, frames) bool, as `kept_frames`.
            **kwargs: ignored.

        Returns:
            `BiotPretrainingOutput`

        Raises:
            SchemaError: no group at all, or shapes that do not fit.
        """
        if signal is None and sleep_signal is None:
            raise SchemaError("a batch needs `signal`, `sleep_signal` or both, but has neither.")
        main = sleep = _NOTHING
        if signal is not None:
            main = self._contrast(signal, channel_mask, channel_ids, kept_frames)
        if sleep_signal is not None:
            first = self.config.channel_offset + self.config.num_channels
            places = torch.arange(first, first + sleep_signal.shape[1], device=sleep_signal.device)
            sleep = self._contrast(sleep_signal, None, places, sleep_kept_frames)
        losses = [group[0] for group in (main, sleep) if group[0] is not None]
        return BiotPretrainingOutput(torch.stack(losses).sum(), main[1], sleep[1], main[2], sleep[2])

    def _contrast(
        self, signal: Tensor, channel_mask: Tensor | None, channel_ids: Tensor | None, kept_frames: Tensor | None
    ) -> _Group:
        """Return the loss of a group, its similarities and the features of its whole recordings."""
        whole = self.biot(signal, channel_mask, channel_ids).pooler_output
        if kept_frames is None:
            kept_frames = draw_kept_frames(signal.shape[1], self.config.num_frames(signal.shape[2]))
        part = self.prediction(self.biot(signal, channel_mask, channel_ids, kept_frames).pooler_output)
        with torch.autocast(signal.device.type, enabled=False):  # cosines / 0.2 need more than the bits of bfloat16
            cosines = F.normalize(whole.float(), dim=-1) @ F.normalize(part.float(), dim=-1).T  # (B, D) -> (B, B)
            similarities = cosines / self.config.temperature
            loss = F.cross_entropy(similarities, torch.arange(len(signal), device=signal.device))
        return loss, similarities, whole
