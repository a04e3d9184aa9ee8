"""What the classifiers return, the same for every kind of input."""

from dataclasses import dataclass

import torch
from transformers.utils import ModelOutput

__all__ = ["ClimbClassifierOutput"]


@dataclass
class ClimbClassifierOutput(ModelOutput):
    """Output of every `XForClassification`.

    Args:
        loss (`torch.Tensor`, *optional*):
            scalar float32; given when `labels` were passed.
        logits (`torch.Tensor`):
            (batch, |V|): one raw score per concept of `config.vocabulary`, in its order.
        pooler_output (`torch.Tensor`):
            (batch, hidden): the feature that the head reads, before dropout.
        last_hidden_state (`torch.Tensor`):
            the encoder's tokens; (batch, tokens, width), with an axis for frames before the tokens where there is one.
        hidden_states (`tuple[torch.Tensor, ...]`, *optional*):
            one tensor per layer, when asked for.
        attentions (`tuple[torch.Tensor, ...]`, *optional*):
            one tensor per attention layer, when asked for and the backbone offers them.
    """

    loss: torch.Tensor | None = None
    logits: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None
    last_hidden_state: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
