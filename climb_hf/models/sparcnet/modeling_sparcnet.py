"""SPaRCNet: a one-dimensional DenseNet over the samples of all channels.

After "Development of Expert-Level Classification of Seizures and Rhythmic and Periodic Patterns During EEG
Interpretation" (Jing et al. 2023), with the sizes that the BIOT repository runs as a baseline; the authors' own
network has others. Written from a description of its layers.
"""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from climb_hf.errors import SchemaError
from climb_hf.models.convolutional import (
    ConvolutionalPreTrainedModel,
    FirstPass,
    first_pass,
    init_bias,
    normed_once,
)
from climb_hf.models.layers import check_signal, present_channels
from climb_hf.models.outputs import ClimbClassifierOutput
from climb_hf.models.sparcnet.configuration_sparcnet import SparcNetConfig
from climb_hf.models.vocabulary_head import VocabularyHead

__all__ = ["SparcNetForClassification", "SparcNetModel", "SparcNetPreTrainedModel"]


class SparcNetDenseLayer(GradientCheckpointingLayer):
    """Norm, ELU and convolution twice; what comes out is put beside what went in.

    Args:
        width (`int`): channels of the input.
        config (`SparcNetConfig`): the sizes.
    """

    def __init__(self, width: int, config: SparcNetConfig) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm1d(width)
        self.conv1 = nn.Conv1d(width, config.bottleneck_size, 1)
        self.norm2 = nn.BatchNorm1d(config.bottleneck_size)
        self.conv2 = nn.Conv1d(config.bottleneck_size, config.growth_rate, 3, padding=1)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(self, features: Tensor, once: FirstPass | None = None) -> Tensor:
        """Transform (batch, width, time) to (batch, width + growth_rate, time)."""
        with normed_once(self, once):
            # no name holds on to a wide map that the next step has read: without gradients its memory is used again
            update = F.elu(self.norm2(self.conv1(F.elu(self.norm1(features)))))  # (B, D, T) -> (B, bottleneck, T)
            return torch.cat([features, self.dropout(self.conv2(update))], 1)  # beside (B, growth, T)


class SparcNetBlock(nn.Module):
    """Dense layers, then half as many channels and half as many steps.

    Args:
        width (`int`): channels of the input.
        outputs (`int`): channels of the output.
        config (`SparcNetConfig`): the sizes.
    """

    def __init__(self, width: int, outputs: int, config: SparcNetConfig) -> None:
        super().__init__()
        widths = [width + index * config.growth_rate for index in range(config.layers_per_block + 1)]
        self.layers = nn.ModuleList(SparcNetDenseLayer(inputs, config) for inputs in widths[:-1])
        self.norm = nn.BatchNorm1d(widths[-1])
        self.conv = nn.Conv1d(widths[-1], outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Transform (batch, width, time) to (batch, outputs, time // 2)."""
        for layer in self.layers:
            features = layer(features, first_pass(layer))
        return F.avg_pool1d(self.conv(F.elu(self.norm(features))), 2)


class SparcNetPreTrainedModel(ConvolutionalPreTrainedModel):
    """What the models share: loading and initialisation."""

    config: SparcNetConfig
    base_model_prefix = "sparcnet"
    _no_split_modules = ["SparcNetDenseLayer"]  # noqa: RUF012 - as transformers declares it

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv1d):
            init.kaiming_normal_(module.weight)  # the published choice; biases as torch has them
            init_bias(module)
        else:
            super()._init_weights(module)


class SparcNetModel(SparcNetPreTrainedModel):
    """Encoder without a head: one feature per window.

    Args:
        config (`SparcNetConfig`): the configuration; `vocabulary` plays no part.
    """

    def __init__(self, config: SparcNetConfig) -> None:
        super().__init__(config)
        widths = config.widths
        self.conv = nn.Conv1d(config.num_channels, widths[0], 7, stride=2, padding=3)
        self.norm = nn.BatchNorm1d(widths[0])
        self.blocks = nn.ModuleList(SparcNetBlock(inputs, outputs, config) for inputs, outputs in pairwise(widths))
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
                quantile of its absolute values. Time is meant to be `config.signal_length`; others work as long as
                the last block leaves a step of them.
            channel_mask (`torch.Tensor`, *optional*):
                (batch, channels) bool, `True` for a recorded channel. The others are read as 0: this architecture
                mixes the channels in its first layer and cannot leave one out.
            output_hidden_states (`bool`, *optional*): return the features (batch, time, width) before the first and
                after every block.
            **kwargs: ignored.

        Returns:
            `BaseModelOutputWithPooling`: `last_hidden_state` (batch, time, width), the steps that the last block
            leaves, one for 2,000 and 1,000 samples; `pooler_output` (batch, width), their mean.

        Raises:
            SchemaError: shapes that do not fit.
        """
        config = self.config
        check_signal(signal, config.num_channels, processor="EegFeatureExtractor")
        if config.steps(signal.shape[2]) < 1:
            raise SchemaError(
                f"`signal` must have at least {4 * 2**config.depth - 3} samples for {config.depth} dense blocks, but "
                f"has {signal.shape[2]}; the model is made for {config.signal_length}. Set `length` of the "
                "checkpoint's `EegFeatureExtractor`, or build a model with this `signal_length`."
            )
        features = self.conv(present_channels(signal, channel_mask).to(self.dtype))  # (B, C, L) -> (B, D, L/2)
        features = F.max_pool1d(F.elu(self.norm(features)), 3, stride=2, padding=1)  # -> (B, D, L/4)
        states = [features]
        for block in self.blocks:
            states.append(block(states[-1]))
        tokens = states[-1].transpose(1, 2)  # (B, D, T) -> (B, T, D)
        wanted = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return BaseModelOutputWithPooling(
            last_hidden_state=tokens,
            # the published code takes such lengths only that leave one step: there the mean changes nothing
            pooler_output=tokens.mean(1),
            hidden_states=tuple(state.transpose(1, 2) for state in states) if wanted else None,
        )


class SparcNetForClassification(VocabularyHead, SparcNetPreTrainedModel):
    """The encoder with an ELU and a linear head over the vocabulary V.

    Args:
        config (`SparcNetConfig`): the configuration, with a `vocabulary`.

    Raises:
        VocabularyError: the configuration has no vocabulary.

    Example:
        >>> config = SparcNetConfig(vocabulary=["normal_eeg", "abnormal_eeg"])
        >>> SparcNetForClassification(config)(torch.zeros(2, 16, 2000)).logits.shape
        torch.Size([2, 2])
    """

    def __init__(self, config: SparcNetConfig) -> None:
        super().__init__(config)
        self.check_head()
        self.sparcnet = SparcNetModel(config)
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
            signal (`torch.Tensor`): (batch, channels, time), see `SparcNetModel`.
            channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool, see `SparcNetModel`.
            labels (`torch.Tensor`, *optional*): see `VocabularyHead.classify`.
            target_mask (`torch.Tensor`, *optional*): (batch, |V|) bool: V_k of each row's source.
            exclusive (`torch.Tensor`, *optional*): (batch,) bool: single-label rows.
            **kwargs: `output_hidden_states`, `return_dict`; anything else is ignored.

        Returns:
            `ClimbClassifierOutput`: with `logits` (batch, |V|) and, for labels, the mean loss.

        Raises:
            SchemaError: shapes that do not fit.
        """
        outputs = self.sparcnet(signal, channel_mask, **{**kwargs, "return_dict": True})
        return self.classify(outputs, labels, target_mask, exclusive)
