"""MedViT: convolutions and attention for medical pictures, in three sizes."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.models.medvit.configuration_medvit import MedVitConfig
    from climb_hf.models.medvit.modeling_medvit import MedVitForClassification, MedVitModel

__all__ = ["MedVitConfig", "MedVitForClassification", "MedVitModel"]

_LAZY = {
    "MedVitConfig": "climb_hf.models.medvit.configuration_medvit",
    "MedVitForClassification": "climb_hf.models.medvit.modeling_medvit",
    "MedVitModel": "climb_hf.models.medvit.modeling_medvit",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
