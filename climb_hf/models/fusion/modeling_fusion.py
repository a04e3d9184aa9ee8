"""Fusion of pictures, signals and text of one example, any of which may be absent.

After the fusion experiments of the CLIMB paper (code `DDVD233/CLIMB:fusion`, which has no licence; written from a
description). Three things differ from that code. An absent modality is a learned token, or left out, never zeros that
look like data: only the rows that have a modality go through its encoder, so nothing in the place of an absent one can
have an effect, on outputs, gradients or running statistics. Late fusion is the mean over the modalities that are
there, not over all of them. Cross-attention runs over the tokens of one example; the published code attends across the
examples of the batch, so that a prediction depends on who else is in it, and there is no option to get that back.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import can_return_tuple

from climb_hf.errors import SchemaError
from climb_hf.models.fusion.configuration_fusion import ClimbFusionConfig
from climb_hf.models.fusion.layers_fusion import (
    CrossAttentionBlock,
    FusionHead,
    build_encoder,
    encoder_widths,
    mean_of_tokens,
    scattered,
    token_mask,
)
from climb_hf.models.outputs import ClimbClassifierOutput
from climb_hf.models.vocabulary_head import VocabularyHead

__all__ = ["INPUTS", "ClimbFusionForClassification", "ClimbFusionModel", "ClimbFusionPreTrainedModel"]

#: Model input by modality: the content, and the mask that belongs to it.
INPUTS = {
    "image": ("pixel_values", "frame_mask"),
    "signal": ("signal", "channel_mask"),
    "text": ("input_ids", "attention_mask"),
}
#: Encoders whose tokens stand channel by channel, so that those of absent channels can be left out.
_BY_CHANNEL = ("climb_ecg_jepa",)


class ClimbFusionPreTrainedModel(PreTrainedModel):
    """What the models share: loading, initialisation, building from encoders, and encoders that stay frozen."""

    config: ClimbFusionConfig
    base_model_prefix = "fusion"
    main_input_name = "modality_mask"
    input_modalities = ("image", "time", "text")  # type: ignore[assignment]
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    #: The loss is a mean already; the Trainer must not divide it again.
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.ParameterDict):
            for parameter in module.values():
                init.normal_(parameter, std=self.config.initializer_range)

    def get_input_embeddings(self) -> None:  # type: ignore[override]
        """Return `None`: the tokens of the text belong to its encoder."""

    @property
    def _fusion(self) -> "ClimbFusionModel":
        return self.base_model  # type: ignore[return-value]

    def head_widths(self) -> dict[str, int]:
        """Return the width of every feature that has hidden layers of its own in the head."""
        if self.config.strategy == "late":
            return {name: width for name, (width, _) in self._fusion.widths.items()}
        return {"fused": self._fusion.hidden_size}

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation; frozen encoders stay in evaluation."""
        super().train(mode)
        for name in self.config.frozen:
            getattr(self._fusion, f"{name}_encoder").eval()
        return self

    def freeze(self) -> None:
        """Stop training the parameters of the encoders in `config.frozen`; building and loading call it."""
        for name in self.config.frozen:
            getattr(self._fusion, f"{name}_encoder").requires_grad_(False)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as in the base class
        """Load a checkpoint as transformers does; frozen encoders are frozen again."""
        loaded = super().from_pretrained(*args, **kwargs)
        (loaded[0] if isinstance(loaded, tuple) else loaded).freeze()
        return loaded

    @classmethod
    def from_encoders(cls, encoders: Mapping[str, PreTrainedModel], **fields: Any) -> Self:  # noqa: ANN401 - see below
        """Build a fusion of encoders, with their weights in it.

        Args:
            encoders (`Mapping[str, PreTrainedModel]`): by `"image"`, `"signal"`, `"text"`; encoders without a head.
            **fields: fields of `ClimbFusionConfig`.

        Returns:
            The model in evaluation mode; what is not part of an encoder is freshly initialised.

        Raises:
            OptionError: an encoder that does not read its modality.

        Example:
            >>> from climb_hf.models import EcgJepaConfig, EcgJepaModel
            >>> encoder = EcgJepaModel(EcgJepaConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=4))
            >>> model = ClimbFusionModel.from_encoders({"signal": encoder})
            >>> torch.equal(model.signal_encoder.patch_embedding.weight, encoder.patch_embedding.weight)
            True
        """
        model = cls(ClimbFusionConfig.from_encoders(**encoders, **fields))
        for name in model.config.modalities:
            own, state = getattr(model._fusion, f"{name}_encoder"), encoders[name].state_dict()
            own.load_state_dict({key: value for key, value in state.items() if key in own.state_dict()}, strict=True)
        return model.eval()


class ClimbFusionModel(ClimbFusionPreTrainedModel):
    """The encoders and what joins their features, without a head.

    Args:
        config (`ClimbFusionConfig`): the configuration; `vocabulary` plays no part.

    Example:
        >>> from climb_hf.models import EcgJepaConfig
        >>> text = {"model_type": "distilbert", "dim": 16, "n_heads": 2, "n_layers": 1, "vocab_size": 50}
        >>> signal = EcgJepaConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=4).to_dict()
        >>> config = ClimbFusionConfig(modalities=["signal", "text"], signal_config=signal, text_config=text)
        >>> model = ClimbFusionModel(config).eval()
        >>> present = torch.tensor([[True, True], [False, True]])  # the columns are `config.modalities`
        >>> ids = torch.tensor([[1, 7, 2], [1, 9, 2]])
        >>> output = model(modality_mask=present, signal=torch.randn(2, 8, 2500), input_ids=ids)
        >>> output.pooler_output.shape  # 64 of the signal, 16 of the text
        torch.Size([2, 80])
    """

    def __init__(self, config: ClimbFusionConfig) -> None:
        super().__init__(config)
        for name, one in config.encoder_configs.items():
            setattr(self, f"{name}_encoder", build_encoder(one))
        self.widths = {name: encoder_widths(getattr(self, f"{name}_encoder")) for name in config.modalities}
        is_attended = config.strategy == "cross_attention"
        # The content of an absent modality never reaches the model; these stand in its place.
        self.absent = nn.ParameterDict()
        self.kinds = nn.ParameterDict()
        if is_attended:
            self._build_attention(config)
        elif config.strategy == "mlp":
            for name, (width, _) in self.widths.items():
                self.absent[name] = nn.Parameter(torch.empty(width))
        self.hidden_size = config.hidden_size if is_attended else sum(width for width, _ in self.widths.values())
        self.post_init()
        self.freeze()

    def _build_attention(self, config: ClimbFusionConfig) -> None:
        width = config.hidden_size
        self.absent["text"] = nn.Parameter(torch.empty(width))  # asks where no text is there to ask
        if "text" in self.widths:
            self.text_projection = nn.Linear(self.widths["text"][0], width)
        self.token_projection = nn.ModuleDict()
        for name in (one for one in config.modalities if one != "text"):
            self.absent[name] = nn.Parameter(torch.empty(width))
            self.kinds[name] = nn.Parameter(torch.empty(width))  # tells the query which modality a token is of
            self.token_projection[name] = nn.Linear(self.widths[name][1], width)
        hidden = config.intermediate_size or 4 * width
        self.blocks = nn.ModuleList(
            CrossAttentionBlock(width, config.num_attention_heads, hidden, config.attention_head_size)
            for _ in range(config.num_fusion_layers)
        )
        self.norm = nn.LayerNorm(width)

    @can_return_tuple
    def forward(
        self,
        modality_mask: Tensor | None = None,
        pixel_values: Tensor | None = None,
        frame_mask: Tensor | None = None,
        signal: Tensor | None = None,
        channel_mask: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401 - whatever a Trainer passes along
    ) -> BaseModelOutputWithPooling:
        """Encode what is there and fuse it.

        Args:
            modality_mask (`torch.Tensor`, *optional*):
                (batch, modalities) bool, in the order of `config.modalities`: `True` where the example has it. Rows of
                absent content may hold anything, NaN included. Without it, what is passed is there for every row.
            pixel_values (`torch.Tensor`, *optional*): (batch, [frames,] channels, height, width).
            frame_mask (`torch.Tensor`, *optional*): (batch, frames) bool, `True` for a valid frame.
            signal (`torch.Tensor`, *optional*): (batch, channels, time).
            channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool, `True` for a recorded channel.
            input_ids (`torch.Tensor`, *optional*): (batch, tokens) int64.
            attention_mask (`torch.Tensor`, *optional*): (batch, tokens), 1 for a token that is not padding.
            **kwargs: ignored.

        Returns:
            `BaseModelOutputWithPooling`: `pooler_output` (batch, width), the fused feature: the features behind each
            other for late (0 where absent) and mlp (the learned token where absent), the answer to the text for
            cross-attention; `last_hidden_state` (batch, 1, width) the same as one token.

        Raises:
            SchemaError: an example without any modality, or masks and content that do not fit together.
        """
        given: dict[str, Any] = {
            "pixel_values": pixel_values,
            "frame_mask": frame_mask,
            "signal": signal,
            "channel_mask": channel_mask,
            "input_ids": input_ids,
            "attention_mask": attention_mask,
        }
        count, present = self._presence(modality_mask, given)
        encoded = {name: self._encode(name, present[name], count, given) for name in self.config.modalities}
        if self.config.strategy == "cross_attention":
            fused = self._attend(encoded, count)
        else:
            features = [self._feature(name, encoded[name], count) for name in self.config.modalities]
            fused = torch.cat(features, -1)  # (B, D_m) each -> (B, ΣD_m)
        return BaseModelOutputWithPooling(last_hidden_state=fused.unsqueeze(1), pooler_output=fused)

    def _presence(
        self, modality_mask: Tensor | None, given: Mapping[str, Tensor | None]
    ) -> tuple[int, dict[str, Tensor | None]]:
        """Return the size of the batch, and the rows that have each modality: `None` for all."""
        names, contents = self.config.modalities, {name: given[INPUTS[name][0]] for name in self.config.modalities}
        sizes = {len(one) for one in (*contents.values(), modality_mask) if one is not None}
        if len(sizes) != 1:
            raise SchemaError(f"the inputs must have one batch size, but have {sorted(sizes) or 'none: pass some'}.")
        count = sizes.pop()
        if modality_mask is None:
            return count, {name: None if one is not None else _no_rows(self.device) for name, one in contents.items()}
        if modality_mask.dtype != torch.bool or modality_mask.shape != (count, len(names)):
            raise SchemaError(
                f"`modality_mask` must be bool of the shape {(count, len(names))}, with a column for each of "
                f"{', '.join(names)}, but is {modality_mask.dtype} {tuple(modality_mask.shape)}."
            )
        empty = (~modality_mask.any(1)).nonzero().flatten().tolist()
        if empty:
            raise SchemaError(
                f"the rows {empty[:10]} of the batch have none of the modalities {', '.join(names)}; there is nothing "
                "to predict from. Leave such records out."
            )
        rows: dict[str, Tensor | None] = {}
        for column, name in enumerate(names):
            found = modality_mask[:, column].nonzero().flatten()
            rows[name] = None if len(found) == count else found
            if len(found) and contents[name] is None:
                raise SchemaError(f"`modality_mask` says that {name} is there, but no `{INPUTS[name][0]}` was passed.")
        return count, rows

    def _encode(
        self, name: str, rows: Tensor | None, count: int, given: Mapping[str, Tensor | None]
    ) -> "tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]":
        """Encode the rows that have a modality: rows, features (n, D), tokens (n, T, W), mask of the tokens (n, T)."""
        content, mask = (given[key] for key in INPUTS[name])
        if rows is not None:
            if not len(rows):
                return rows, None, None, None
            content = None if content is None else content.index_select(0, rows)
            mask = None if mask is None else mask.index_select(0, rows)
        return rows, *self._run(name, content, mask)

    def _run(self, name: str, content: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        encoder: Callable[..., Any] = getattr(self, f"{name}_encoder")
        accepted = inspect.signature(encoder.forward).parameters  # type: ignore[attr-defined]
        further = {INPUTS[name][1]: mask} if mask is not None and INPUTS[name][1] in accepted else {}
        outputs = encoder(**{INPUTS[name][0]: content}, **further)
        tokens = outputs.last_hidden_state
        if name == "text":
            first = self.config.text_pooling == "first"
            return (tokens[:, 0] if first else mean_of_tokens(tokens, mask)), tokens, token_mask(tokens, None, None)
        if tokens.ndim == 4:  # frames
            tokens = tokens.flatten(1, 2)  # (n, F, T, W) -> (n, F·T, W)
        by_channel = name == "signal" and self.config.signal_config.model_type in _BY_CHANNEL  # type: ignore[union-attr]
        kept = token_mask(tokens, mask if by_channel else None, mask if name == "image" else None)
        return outputs.pooler_output, tokens, kept

    def _feature(self, name: str, encoded: Any, count: int) -> Tensor:  # noqa: ANN401 - of _encode
        """The features of a modality for the whole batch, with what stands in the place of absent ones: (B, D)."""
        rows, feature, _, _ = encoded
        absent = self.absent[name] if name in self.absent else None  # noqa: SIM401 - get() would not be traced
        if feature is None:
            width = self.widths[name][0]
            whole = torch.zeros(width, device=self.device, dtype=self.dtype) if absent is None else absent
            return whole.expand(count, width)
        return scattered(feature, rows, count, absent)

    def _attend(self, encoded: Mapping[str, Any], count: int) -> Tensor:
        """Let the text ask the tokens of the other modalities, example by example: (B, D)."""
        query = self.absent["text"].expand(count, -1)
        if "text" in encoded and encoded["text"][1] is not None:
            rows, feature = encoded["text"][:2]
            query = scattered(self.text_projection(feature), rows, count, self.absent["text"])
        tokens, masks = [], []
        for name, projection in self.token_projection.items():
            rows, _, own, kept = encoded[name]
            is_there = torch.ones(count, 1, dtype=torch.bool, device=query.device)
            if rows is not None:
                is_there = is_there.logical_not().index_fill(0, rows, True)
            if own is not None:
                tokens.append(scattered(projection(own) + self.kinds[name], rows, count))  # (n, T, W) -> (B, T, D)
                masks.append(scattered(kept, rows, count))  # (n, T) -> (B, T)
            tokens.append(self.absent[name].expand(count, 1, -1))
            masks.append(~is_there)  # seen where the modality is absent only
        dtype = query.dtype
        keys, mask = torch.cat([one.to(dtype) for one in tokens], 1), torch.cat(masks, 1)
        query = query.unsqueeze(1)  # (B, D) -> (B, 1, D)
        for block in self.blocks:
            query = block(query, keys, mask)
        return self.norm(query).squeeze(1)  # (B, 1, D) -> (B, D)


def _no_rows(device: torch.device) -> Tensor:
    return torch.zeros(0, dtype=torch.int64, device=device)


class ClimbFusionForClassification(FusionHead, VocabularyHead, ClimbFusionPreTrainedModel):
    """The fusion with a head over the vocabulary V.

    A binary outcome such as death within 48 hours is a vocabulary of one concept, labelled by a multi-label source:
    its loss is the binary cross-entropy, with `config.positive_weight` on the positive term.

    Args:
        config (`ClimbFusionConfig`): the configuration, with a `vocabulary`.

    Raises:
        VocabularyError: the configuration has no vocabulary.

    Example:
        >>> from climb_hf.models import EcgJepaConfig
        >>> signal = EcgJepaConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=4).to_dict()
        >>> config = ClimbFusionConfig(modalities=["signal"], signal_config=signal, vocabulary=["death"])
        >>> ClimbFusionForClassification(config)(signal=torch.zeros(2, 8, 2500)).logits.shape
        torch.Size([2, 1])
    """

    def __init__(self, config: ClimbFusionConfig) -> None:
        super().__init__(config)
        self.check_head()
        self.fusion = ClimbFusionModel(config)
        self.build_head(self.build_hidden(self.head_widths(), [2], "relu"))
        self.post_init()
        self.freeze()

    def head_input(self, outputs: Any) -> Tensor:  # noqa: ANN401 - a ModelOutput of the encoder
        """Return what the last layer reads; see `FusionHead.hidden_features`."""
        return outputs.hidden

    def positive_weights(self) -> Tensor | None:
        """Return the factor of the positive terms of the binary cross-entropy, `None` for 1."""
        weight = self.config.positive_weight
        return None if weight in (None, 1) else torch.tensor(float(weight))

    @can_return_tuple
    def forward(
        self,
        modality_mask: Tensor | None = None,
        labels: Tensor | None = None,
        target_mask: Tensor | None = None,
        exclusive: Tensor | None = None,
        **inputs: Any,  # noqa: ANN401 - content and masks
    ) -> ClimbClassifierOutput:
        """Score the concepts of V, and compute the loss where labels are given.

        Args:
            modality_mask (`torch.Tensor`, *optional*): (batch, modalities) bool; see `ClimbFusionModel.forward`.
            labels (`torch.Tensor`, *optional*): see `VocabularyHead.classify`.
            target_mask (`torch.Tensor`, *optional*): (batch, |V|) bool: V_k of each row's source.
            exclusive (`torch.Tensor`, *optional*): (batch,) bool: single-label rows.
            **inputs: content and masks, as `ClimbFusionModel.forward` takes them; anything else is ignored.

        Returns:
            `ClimbClassifierOutput`: with `logits` (batch, |V|) and, for labels, the mean loss.

        Raises:
            SchemaError: an example without any modality, or shapes that do not fit.
        """
        outputs = self.fusion(modality_mask, **{**inputs, "return_dict": True})
        present = [inputs.get(INPUTS[name][0]) is not None for name in self.config.modalities]
        outputs.hidden = self.hidden_features(outputs.pooler_output, modality_mask, present)
        return self.classify(outputs, labels, target_mask, exclusive)
