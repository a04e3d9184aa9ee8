"""Fusion with a head for numbers: length of stay, for example."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils import can_return_tuple

from climb_hf.errors import OptionError
from climb_hf.models.fusion.configuration_fusion import ClimbFusionConfig
from climb_hf.models.fusion.layers_fusion import FusionHead
from climb_hf.models.fusion.modeling_fusion import INPUTS, ClimbFusionModel, ClimbFusionPreTrainedModel
from climb_hf.models.outputs import ClimbClassifierOutput

__all__ = ["ClimbFusionForRegression"]


class ClimbFusionForRegression(FusionHead, ClimbFusionPreTrainedModel):
    """The fusion with a head for numbers; the loss is the mean squared error.

    Args:
        config (`ClimbFusionConfig`): the configuration, with `regression_targets`.

    Raises:
        OptionError: the configuration names no target.

    Example:
        >>> from climb_hf.models import EcgJepaConfig
        >>> signal = EcgJepaConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=4).to_dict()
        >>> fields = {"regression_targets": ["los_days"], "target_mean": [4.5], "target_scale": [2.0]}
        >>> config = ClimbFusionConfig(modalities=["signal"], signal_config=signal, **fields)
        >>> ClimbFusionForRegression(config)(signal=torch.zeros(2, 8, 2500)).logits.shape
        torch.Size([2, 1])
    """

    def __init__(self, config: ClimbFusionConfig) -> None:
        super().__init__(config)
        if not config.regression_targets:
            raise OptionError(
                "`ClimbFusionForRegression` needs `regression_targets=[…]`: a name for each of its outputs."
            )
        self.fusion = ClimbFusionModel(config)
        width = self.build_hidden(self.head_widths(), [2, 8], "gelu")
        self.regressor = nn.Linear(width, len(config.regression_targets))
        self.post_init()
        self.freeze()

    def row_losses(self, predictions: Tensor, labels: Tensor, target_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the squared error of every row, in units of `config.target_scale`, mean over its known targets.

        Args:
            predictions (`torch.Tensor`): (batch, targets), in the targets' units.
            labels (`torch.Tensor`): (batch, targets) float, in the targets' units.
            target_mask (`torch.Tensor`, *optional*): (batch, targets) bool, `True` where the value is known.

        Returns:
            `tuple`: (batch,) float32 losses, 0 where no target is known, and (batch,) bool: any is known.
        """
        known = torch.ones_like(labels, dtype=torch.bool) if target_mask is None else target_mask.bool()
        known = known & torch.isfinite(labels)
        scale = _numbers(self.config.target_scale, 1.0, predictions)
        errors = (predictions.float() - torch.where(known, labels.float(), 0.0)) / scale
        counted = torch.where(known, errors, 0.0).square().sum(1) / known.sum(1).clamp(min=1)
        return counted, known.any(1)

    @can_return_tuple
    def forward(
        self,
        modality_mask: Tensor | None = None,
        labels: Tensor | None = None,
        target_mask: Tensor | None = None,
        **inputs: Any,  # noqa: ANN401 - content and masks
    ) -> ClimbClassifierOutput:
        """Predict the targets, and compute the loss where labels are given.

        Args:
            modality_mask (`torch.Tensor`, *optional*): (batch, modalities) bool; see `ClimbFusionModel.forward`.
            labels (`torch.Tensor`, *optional*): (batch, targets) float; NaN where unknown.
            target_mask (`torch.Tensor`, *optional*): (batch, targets) bool, `True` where the value is known.
            **inputs: content and masks, as `ClimbFusionModel.forward` takes them; anything else is ignored.

        Returns:
            `ClimbClassifierOutput`: with `logits` (batch, targets), the predictions in the targets' units.

        Raises:
            SchemaError: an example without any modality, or shapes that do not fit.
        """
        outputs = self.fusion(modality_mask, **{**inputs, "return_dict": True})
        present = [inputs.get(INPUTS[name][0]) is not None for name in self.config.modalities]
        scaled = self.regressor(self.hidden_features(outputs.pooler_output, modality_mask, present)).float()
        mean = _numbers(self.config.target_mean, 0.0, scaled)
        predictions = mean + _numbers(self.config.target_scale, 1.0, scaled) * scaled
        loss = None
        if labels is not None:
            losses, valid = self.row_losses(predictions, labels, target_mask)
            loss = losses.sum() / valid.sum().clamp(min=1)
        return ClimbClassifierOutput(
            loss=loss,
            logits=predictions,
            pooler_output=outputs.pooler_output,
            last_hidden_state=outputs.last_hidden_state,
        )


def _numbers(values: list[float] | None, default: float, like: Tensor) -> Tensor:
    return torch.tensor([default] if values is None else values, dtype=torch.float32, device=like.device)
