"""How ECG-JEPA is pretrained: latents of hidden patches are predicted, lead by lead, from the visible ones."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import ModelOutput, can_return_tuple

from climb_hf.errors import SchemaError
from climb_hf.models.ecg_jepa.configuration_ecg_jepa import EcgJepaConfig
from climb_hf.models.ecg_jepa.modeling_ecg_jepa import EcgJepaModel, EcgJepaPreTrainedModel, TokenStack, positions

__all__ = ["EcgJepaForPretraining", "EcgJepaPretrainingOutput", "draw_hidden_patches"]


def draw_hidden_patches(patches: int, masking: str, generator: torch.Generator | None = None) -> Tensor:
    """Draw the patches to hide, the same for every lead and record of a batch.

    `"block"`: the union of four blocks, each of int(patches · u) patches with u uniform in (0.175, 0.225), anywhere.
    `"random"`: int(patches · u) patches with u uniform in (0.6, 0.7).

    Args:
        patches (`int`): patches per lead.
        masking (`str`): `"block"` or `"random"`.
        generator (`torch.Generator`, *optional*): of the CPU; torch's global one by default.

    Returns:
        `torch.Tensor`: (n,) int64 in rising order, 0 < n < patches.

    Example:
        >>> draw_hidden_patches(50, "random", torch.Generator().manual_seed(0)).numel() in range(30, 36)
        True
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    hidden = torch.zeros(patches, dtype=torch.bool)
    if masking == "random":
        count = max(int(patches * uniform(0.6, 0.7)), 1)
        hidden[torch.randperm(patches, generator=generator)[:count]] = True
    else:
        for _ in range(4):
            size = max(int(patches * uniform(0.175, 0.225)), 1)
            start = int(torch.randint(0, patches - size, (), generator=generator))
            hidden[start : start + size] = True
    if hidden.all():  # only with very few patches
        hidden[-1] = False
    return hidden.nonzero().squeeze(1)


@dataclass
class EcgJepaPretrainingOutput(ModelOutput):
    """Output of `EcgJepaForPretraining`.

    Args:
        loss (`torch.Tensor`): scalar float32: smooth L1 between predictions and targets.
        predictions (`torch.Tensor`): (batch, channels, hidden patches, width).
        targets (`torch.Tensor`): the same shape, of the target encoder, normalised; without gradient.
        context (`torch.Tensor`): (batch, channels · visible patches, width), of the encoder.
    """

    loss: torch.Tensor | None = None
    predictions: torch.Tensor | None = None
    targets: torch.Tensor | None = None
    context: torch.Tensor | None = None


class Predictor(nn.Module):
    """Predicts the latents of the hidden patches of one lead from the visible ones.

    Args:
        config (`EcgJepaConfig`): the configuration.
    """

    def __init__(self, config: EcgJepaConfig) -> None:
        super().__init__()
        width = config.predictor_hidden_size
        self.position_embedding: Tensor
        self.embedding = nn.Linear(config.hidden_size, width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, width))
        self.register_buffer("position_embedding", torch.empty(config.num_patches, width))
        self.stack = TokenStack(
            width, config.predictor_num_layers, config.predictor_num_heads, 4 * width, config.layer_norm_eps
        )
        self.projection = nn.Linear(width, config.hidden_size)

    def forward(self, context: Tensor, visible: Tensor, hidden: Tensor) -> Tensor:
        """Predict.

        Args:
            context (`torch.Tensor`): (leads of all records, visible patches, width of the encoder).
            visible (`torch.Tensor`): (n,) int64 places of the visible patches.
            hidden (`torch.Tensor`): (m,) int64 places of the hidden ones.

        Returns:
            `torch.Tensor`: (leads of all records, m, width of the encoder).
        """
        tokens = self.embedding(context)
        masks = self.mask_token.expand(len(tokens), len(hidden), -1)
        order = torch.cat([visible, hidden])
        tokens, _ = self.stack(torch.cat([tokens, masks], 1), self.position_embedding.index_select(0, order))
        return self.projection(tokens[:, len(visible) :])


class EcgJepaForPretraining(EcgJepaPreTrainedModel):
    """The encoder, its slow copy that makes the targets, and the predictor.

    The copy follows the encoder by `update_target(momentum)`, to be called after every optimizer step, as
    `climb pretrain` does. It runs without dropping paths; the published code leaves it in training mode.

    Args:
        config (`EcgJepaConfig`): the configuration; `vocabulary` plays no part.

    Example:
        >>> sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
        >>> config = EcgJepaConfig(**sizes, predictor_hidden_size=48, predictor_num_layers=1, predictor_num_heads=4)
        >>> EcgJepaForPretraining(config)(torch.zeros(2, 8, 2500), torch.arange(10, 30)).predictions.shape
        torch.Size([2, 8, 20, 64])
    """

    def __init__(self, config: EcgJepaConfig) -> None:
        super().__init__(config)
        self.ecg_jepa = EcgJepaModel(config)
        slow = copy.deepcopy(config)
        slow.drop_path_rate = 0.0
        self.target = EcgJepaModel(slow)
        self.target.requires_grad_(False)
        self.predictor = Predictor(config)
        self.post_init()
        self._copy_to_target()

    def _copy_to_target(self) -> None:
        self.target.load_state_dict(self.ecg_jepa.state_dict())

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **kwargs: Any) -> Any:  # noqa: ANN401
        """Load a checkpoint; from one of the encoder alone, the target starts as the encoder's copy.

        Args:
            *args: as `PreTrainedModel.from_pretrained`.
            output_loading_info (`bool`, *optional*, defaults to `False`): also return what was missing.
            **kwargs: as `PreTrainedModel.from_pretrained`.

        Returns:
            The model, or the model and a dictionary.
        """
        loaded: Any = super().from_pretrained(*args, output_loading_info=True, **kwargs)
        model, info = loaded
        if any(name.startswith("target.") for name in info["missing_keys"]):
            model._copy_to_target()
        return (model, info) if output_loading_info else model

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Predictor):
            init.trunc_normal_(module.mask_token, std=self.config.initializer_range)
            table = positions(1, self.config.num_patches, self.config.predictor_hidden_size)
            init.copy_(module.position_embedding, table)

    @torch.no_grad()
    def update_target(self, momentum: float) -> None:
        """Move the target encoder towards the encoder: target ← momentum · target + (1 − momentum) · encoder.

        Args:
            momentum (`float`): in [0, 1]; the published schedule goes from 0.996 linearly to 1.
        """
        for slow, fast in zip(self.target.parameters(), self.ecg_jepa.parameters(), strict=True):
            slow.lerp_(fast.to(slow.dtype), 1 - momentum)

    def train(self, mode: bool = True) -> "EcgJepaForPretraining":
        """Set the mode of the encoder and the predictor; the target encoder stays in evaluation mode."""
        super().train(mode)
        self.target.train(False)
        return self

    @can_return_tuple
    def forward(
        self,
        signal: Tensor,
        hidden_patches: Tensor | None = None,
        channel_mask: Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401 - whatever a Trainer passes along
    ) -> EcgJepaPretrainingOutput:
        """Compute the loss of a batch.

        Args:
            signal (`torch.Tensor`): (batch, channels, time) in mV.
            hidden_patches (`torch.Tensor`, *optional*):
                (m,) int64: the patches to predict; drawn with torch's global generator where absent.
            channel_mask (`torch.Tensor`, *optional*): (batch, channels) bool; every lead must be there.
            **kwargs: ignored.

        Returns:
            `EcgJepaPretrainingOutput`

        Raises:
            SchemaError: shapes that do not fit, or records with absent leads.
        """
        if channel_mask is not None and not bool(channel_mask.all()):
            raise SchemaError(
                "ECG-JEPA is pretrained on records with all of its leads, but `channel_mask` marks absent ones. Leave "
                "such records out."
            )
        config = self.config
        if hidden_patches is None:
            hidden_patches = draw_hidden_patches(config.num_patches, config.masking)
        hidden = hidden_patches.to(signal.device)
        is_visible = torch.ones(config.num_patches, dtype=torch.bool, device=signal.device)
        is_visible[hidden] = False
        visible = is_visible.nonzero().squeeze(1)
        with torch.no_grad():
            every = self.target(signal).last_hidden_state
            every = F.layer_norm(every, every.shape[-1:]).unflatten(1, (config.num_channels, config.num_patches))
            targets = every.index_select(2, hidden)  # (B, C, T, D) -> (B, C, m, D)
        context = self.ecg_jepa(signal, visible=visible).last_hidden_state  # (B, C·n, D)
        by_lead = context.unflatten(1, (config.num_channels, len(visible))).flatten(0, 1)  # -> (B·C, n, D)
        predictions = self.predictor(by_lead, visible, hidden).unflatten(0, (-1, config.num_channels))
        loss = F.smooth_l1_loss(predictions.float(), targets.float())
        return EcgJepaPretrainingOutput(loss, predictions, targets, context)
