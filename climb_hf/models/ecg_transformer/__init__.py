"""A plain transformer over short segments of all twelve leads."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.models.ecg_transformer.configuration_ecg_transformer import EcgTransformerConfig
    from climb_hf.models.ecg_transformer.modeling_ecg_transformer import (
        EcgTransformerForClassification,
        EcgTransformerModel,
    )

__all__ = ["EcgTransformerConfig", "EcgTransformerForClassification", "EcgTransformerModel"]

_LAZY = {
    "EcgTransformerConfig": "climb_hf.models.ecg_transformer.configuration_ecg_transformer",
    "EcgTransformerForClassification": "climb_hf.models.ecg_transformer.modeling_ecg_transformer",
    "EcgTransformerModel": "climb_hf.models.ecg_transformer.modeling_ecg_transformer",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
