"""ContraWR's encoder: four residual blocks over the spectrogram of all channels.

After "Self-supervised Electroencephalogram Representation Learning for Automatic Sleep Staging" (Yang et al. 2023), as
it is run as a supervised baseline in the BIOT repository; the contrastive pretraining of the original plays no part
here. Written from a description of its layers.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from climb_hf.models.contrawr.configuration_contrawr import ContraWrConfig
from climb_hf.models.convolutional import ConvolutionalPreTrainedModel
from climb_hf.models.layers import check_signal, present_channels
from climb_hf.models.outputs import ClimbClassifierOutput
from climb_hf.models.spectrogram import SpectrogramEncoder
from climb_hf.models.vocabulary_head import VocabularyHead

__all__ = ["ContraWrForClassification", "ContraWrModel", "ContraWrPreTrainedModel"]


class ContraWrPreTrainedModel(ConvolutionalPreTrainedModel):
    """What the models share: loading and initialisation."""

    config: ContraWrConfig
    base_model_prefix = "contrawr"
    _no_split_modules = ["ResidualBlock"]  # noqa: RUF012 - as transformers declares it


class ContraWrModel(ContraWrPreTrainedModel):
    """Encoder without a head: one feature per window.

    Args:
        config (`ContraWrConfig`): the configuration; `vocabulary` plays no part.
    """

    def __init__(self, config: ContraWrConfig) -> None:
        super().__init__(config)
        self.spectrogram = SpectrogramEncoder(config)
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
                quantile of its absolute values. Any time above `n_fft` / 2.
            channel_mask (`torch.Tensor`, *optional*):
                (batch, channels) bool, `True` for a recorded channel. The others are read as 0: this architecture
                mixes the channels in its first layer and cannot leave one out.
            output_hidden_states (`bool`, *optional*): return the maps (batch, width, frequencies, time) before the
                first block (the spectrogram) and after every one.
            **kwargs: ignored.

        Returns:
            `BaseModelOutputWithPooling`: `last_hidden_state` (batch, n, width), the places of the last map (n = 1 up
            to 2,500 samples with the default sizes); `pooler_output` (batch, width), their mean.

        Raises:
            SchemaError: shapes that do not fit.
        """
        check_signal(signal, self.config.num_channels, processor="EegFeatureExtractor")
        tokens, maps = self.spectrogram(present_channels(signal, channel_mask), self.dtype)
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return BaseModelOutputWithPooling(
            last_hidden_state=tokens,
            # the published code has no pooling, so it takes such lengths only whose last map is a single place: there
            # the mean changes nothing
            pooler_output=tokens.mean(1),
            hidden_states=tuple(maps) if wanted else None,
        )


class ContraWrForClassification(VocabularyHead, ContraWrPreTrainedModel):
    """The encoder with an ELU and a linear head over the vocabulary V.

    Args:
        config (`ContraWrConfig`): the configuration, with a `vocabulary`.

    Raises:
        VocabularyError: the configuration has no vocabulary.

    Example:
        >>> import torch
        >>> config = ContraWrConfig(vocabulary=["normal_eeg", "abnormal_eeg"])
        >>> ContraWrForClassification(config)(torch.zeros(2, 16, 2000)).logits.shape
        torch.Size([2, 2])
    """

    def __init__(self, config: ContraWrConfig) -> None:
        super().__init__(config)
        self.check_head()
        self.contrawr = ContraWrModel(config)
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
            signal (`torch.Tensor`): (batch, channels, time), see `ContraWrModel`.
            channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool, see `ContraWrModel`.
            labels (`torch.Tensor`, *optional*): see `VocabularyHead.classify`.
            target_mask (`torch.Tensor`, *optional*): (batch, |V|) bool: V_k of each row's source.
            exclusive (`torch.Tensor`, *optional*): (batch,) bool: single-label rows.
            **kwargs: `output_hidden_states`, `return_dict`; anything else is ignored.

        Returns:
            `ClimbClassifierOutput`: with `logits` (batch, |V|) and, for labels, the mean loss.

        Raises:
            SchemaError: shapes that do not fit.
        """
        outputs = self.contrawr(signal, channel_mask, **{**kwargs, "return_dict": True})
        return self.classify(outputs, labels, target_mask, exclusive)
