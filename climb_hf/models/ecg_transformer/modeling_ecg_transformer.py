"""The plain ECG transformer: segments of all leads as tokens, pre-norm blocks, the mean of all tokens.

After the domain-agnostic transformer of BenchMD and DABS, whose design goes back to vit-pytorch (MIT); most likely the
"Transformer" of Table 25 of the CLIMB paper. Written from a description of its layers.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from climb_hf.models.ecg_transformer.configuration_ecg_transformer import EcgTransformerConfig
from climb_hf.models.layers import PreNormBlock, check_signal, present_channels
from climb_hf.models.outputs import ClimbClassifierOutput
from climb_hf.models.vocabulary_head import VocabularyHead

__all__ = ["EcgTransformerForClassification", "EcgTransformerModel", "EcgTransformerPreTrainedModel"]


class EcgTransformerPreTrainedModel(PreTrainedModel):
    """What the models share: loading and initialisation."""

    config: EcgTransformerConfig
    base_model_prefix = "ecg_transformer"
    main_input_name = "signal"
    input_modalities = ("time",)  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["PreNormBlock"]  # noqa: RUF012 - as transformers declares it
    #: The loss is a mean already; the Trainer must not divide it again.
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, EcgTransformerModel):
            init.normal_(module.class_token)  # N(0, 1), as positions are: the published choice
            init.normal_(module.position_embedding)


class EcgTransformerModel(EcgTransformerPreTrainedModel):
    """Encoder without a head: one feature per record.

    Args:
        config (`EcgTransformerConfig`): the configuration; `vocabulary` plays no part.
    """

    def __init__(self, config: EcgTransformerConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.embedding = nn.Linear(config.segment_length * config.num_channels, width)
        self.class_token = nn.Parameter(torch.empty(1, 1, width))
        self.position_embedding = nn.Parameter(torch.empty(1, config.num_segments + 1, width))
        self.blocks = nn.ModuleList(
            PreNormBlock(
                width,
                config.num_attention_heads,
                config.intermediate_size,
                head_width=config.head_dim,
                dropout=config.hidden_dropout,
            )
            for _ in range(config.num_hidden_layers)
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
        """Encode records.

        Args:
            signal (`torch.Tensor`): (batch, channels, time) in mV, of the configuration's channels and length.
            channel_mask (`torch.Tensor`, *optional*):
                (batch, channels) bool, `True` for a recorded lead. The others are read as 0: this architecture mixes
                the leads in its first layer and cannot leave one out.
            output_hidden_states (`bool`, *optional*): return the tokens before the first and after every block.
            **kwargs: ignored.

        Returns:
            `BaseModelOutputWithPooling`: `last_hidden_state` (batch, 1 + segments, width), the class token first;
            `pooler_output` (batch, width), the mean of all of them.

        Raises:
            SchemaError: shapes that do not fit.
        """
        config = self.config
        check_signal(signal, config.num_channels, config.signal_length, processor="EcgFeatureExtractor")
        signal = present_channels(signal, channel_mask).to(self.dtype)
        segments = signal.unflatten(2, (config.num_segments, config.segment_length))
        segments = segments.permute(0, 2, 3, 1).flatten(2)  # (B, C, n, s) -> (B, n, s, C) -> (B, n, s·C): time-major
        tokens = self.embedding(segments)
        tokens = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], 1) + self.position_embedding
        states = [tokens]
        for block in self.blocks:
            tokens = block(tokens)
            states.append(tokens)
        wanted = config.output_hidden_states if output_hidden_states is None else output_hidden_states
        return BaseModelOutputWithPooling(
            last_hidden_state=tokens,
            pooler_output=tokens.mean(1),
            hidden_states=tuple(states) if wanted else None,
        )


class EcgTransformerForClassification(VocabularyHead, EcgTransformerPreTrainedModel):
    """The encoder with a layer norm and a linear head over the vocabulary V.

    Args:
        config (`EcgTransformerConfig`): the configuration, with a `vocabulary`.

    Raises:
        VocabularyError: the configuration has no vocabulary.

    Example:
        >>> config = EcgTransformerConfig(num_hidden_layers=1, vocabulary=["normal_ecg", "atrial_fibrillation"])
        >>> EcgTransformerForClassification(config)(torch.zeros(2, 12, 5000)).logits.shape
        torch.Size([2, 2])
    """

    def __init__(self, config: EcgTransformerConfig) -> None:
        super().__init__(config)
        self.check_head()
        self.ecg_transformer = EcgTransformerModel(config)
        self.head_norm = nn.LayerNorm(config.hidden_size)
        self.build_head(config.hidden_size)
        self.post_init()

    def head_input(self, outputs: Any) -> Tensor:  # noqa: ANN401 - a ModelOutput of the encoder
        """Return the normalised feature (batch, width); see `VocabularyHead`."""
        return self.head_norm(outputs.pooler_output)

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
            signal (`torch.Tensor`): (batch, channels, time) in mV.
            channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool, see `EcgTransformerModel`.
            labels (`torch.Tensor`, *optional*): see `VocabularyHead.classify`.
            target_mask (`torch.Tensor`, *optional*): (batch, |V|) bool: V_k of each row's source.
            exclusive (`torch.Tensor`, *optional*): (batch,) bool: single-label rows.
            **kwargs: `output_hidden_states`, `return_dict`; anything else is ignored.

        Returns:
            `ClimbClassifierOutput`: with `logits` (batch, |V|) and, for labels, the mean loss.

        Raises:
            SchemaError: shapes that do not fit.
        """
        outputs = self.ecg_transformer(signal, channel_mask, **{**kwargs, "return_dict": True})
        return self.classify(outputs, labels, target_mask, exclusive)
