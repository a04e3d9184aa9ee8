"""FFCL: the spectrogram's residual blocks beside an LSTM over the samples, their features side by side.

After "Motor Imagery EEG Classification Algorithm Based on CNN-LSTM Feature Fusion Network" (Li et al. 2022), as it is
run as a baseline in the BIOT repository. Written from a description of its layers.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from climb_hf.models.convolutional import ConvolutionalPreTrainedModel
from climb_hf.models.ffcl.configuration_ffcl import FfclConfig
from climb_hf.models.layers import check_signal, present_channels
from climb_hf.models.outputs import ClimbClassifierOutput
from climb_hf.models.spectrogram import SpectrogramEncoder
from climb_hf.models.vocabulary_head import VocabularyHead

__all__ = ["FfclForClassification", "FfclModel", "FfclPreTrainedModel"]


class FfclPreTrainedModel(ConvolutionalPreTrainedModel):
    """What the models share: loading and initialisation."""

    config: FfclConfig
    base_model_prefix = "ffcl"
    _no_split_modules = ["ResidualBlock"]  # noqa: RUF012 - as transformers declares it


class FfclModel(FfclPreTrainedModel):
    """Encoder without a head: one feature per window.

    Args:
        config (`FfclConfig`): the configuration; `vocabulary` plays no part.
    """

    def __init__(self, config: FfclConfig) -> None:
        super().__init__(config)
        self.spectrogram = SpectrogramEncoder(config)
        # the paper describes an LSTM in both directions, the published code has one: weights of it have its shapes
        self.lstm = nn.LSTM(
            config.signal_length // config.num_phases,
            config.lstm_hidden_size,
            config.lstm_num_layers,
            batch_first=True,
            dropout=config.lstm_dropout if config.lstm_num_layers > 1 else 0.0,
        )
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        signal: Tensor,
        channel_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - whatever a Trainer passes along
    ) -> BaseModelOutputWithPooling:
        """Encode windows.

        Args:
            signal (`torch.Tensor`): (batch, channels, time) floats at 200 Hz, each channel divided by the 0.95
                quantile of its absolute values, of the configuration's channels and length.
            channel_mask (`torch.Tensor`, *optional*):
                (batch, channels) bool, `True` for a recorded channel. The others are read as 0: this architecture
                mixes the channels in its first layer and cannot leave one out.
            output_hidden_states (`bool`, *optional*): return the maps (batch, width, frequencies, time) before the
                first block (the spectrogram) and after every one.
            **kwargs: ignored.

        Returns:
            `BaseModelOutputWithPooling`: `last_hidden_state` (batch, 1, width) and `pooler_output` (batch, width):
            the feature of the spectrogram, then that of the LSTM. The two describe the same samples by different
            axes and have no sequence in common, so the window is one token.

        Raises:
            SchemaError: shapes that do not fit.
        """
        config = self.config
        check_signal(signal, config.num_channels, config.signal_length, processor="EegFeatureExtractor")
        signal = present_channels(signal, channel_mask)
        tokens, maps = self.spectrogram(signal, self.dtype)
        rows = signal.to(self.dtype).unflatten(2, (-1, config.num_phases))  # (B, C, L) -> (B, C, l, P)
        rows = rows.permute(0, 3, 1, 2).flatten(1, 2)  # -> (B, P, C, l) -> (B, P·C, l): samples i, i + P, i + 2P, …
        steps, _ = self.lstm(rows)  # channel after channel of a phase, phase after phase -> (B, P·C, H)
        feature = torch.cat([tokens.mean(1), steps[:, -1]], 1)  # (B, D) and (B, H) -> (B, D + H)
        wanted = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return BaseModelOutputWithPooling(
            last_hidden_state=feature[:, None],
            pooler_output=feature,
            hidden_states=tuple(maps) if wanted else None,
        )


class FfclForClassification(VocabularyHead, FfclPreTrainedModel):
    """The encoder with an ELU and a linear head over the vocabulary V.

    Args:
        config (`FfclConfig`): the configuration, with a `vocabulary`.

    Raises:
        VocabularyError: the configuration has no vocabulary.

    Example:
        >>> config = FfclConfig(vocabulary=["normal_eeg", "abnormal_eeg"])
        >>> FfclForClassification(config)(torch.zeros(2, 16, 2000)).logits.shape
        torch.Size([2, 2])
    """

    def __init__(self, config: FfclConfig) -> None:
        super().__init__(config)
        self.check_head()
        self.ffcl = FfclModel(config)
        self.build_head(config.hidden_size)
        self.post_init()

    def head_input(self, outputs: Any) -> Tensor:  # noqa: ANN401 - a ModelOutput of the encoder
        """Return the activated feature (batch, width); see `VocabularyHead`."""
        return F.elu(outputs.pooler_output)

    @can_return_tuple
    def forward(
        self,
        signal: Tensor,
        channel_mask: Tensor | None = None,
        labels: Tensor | None = None,
        target_mask: Tensor | None = None,
        exclusive: Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401 - output options of the encoder
    ) -> ClimbClassifierOutput:
        """Score the concepts of V, and compute the loss where labels are given.

        Args:
            signal (`torch.Tensor`): (batch, channels, time), see `FfclModel`.
            channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool, see `FfclModel`.
            labels (`torch.Tensor`, *optional*): see `VocabularyHead.classify`.
            target_mask (`torch.Tensor`, *optional*): (batch, |V|) bool: V_k of each row's source.
            exclusive (`torch.Tensor`, *optional*): (batch,) bool: single-label rows.
            **kwargs: `output_hidden_states`, `return_dict`; anything else is ignored.

        Returns:
            `ClimbClassifierOutput`: with `logits` (batch, |V|) and, for labels, the mean loss.

        Raises:
            SchemaError: shapes that do not fit.
        """
        outputs = self.ffcl(signal, channel_mask, **{**kwargs, "return_dict": True})
        return self.classify(outputs, labels, target_mask, exclusive)
