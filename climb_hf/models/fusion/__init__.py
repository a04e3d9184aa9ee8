"""Fusion of pictures, signals and text: late, by a two-layer network, or by cross-attention."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.models.fusion.configuration_fusion import ClimbFusionConfig
    from climb_hf.models.fusion.modeling_fusion import ClimbFusionForClassification, ClimbFusionModel
    from climb_hf.models.fusion.regression_fusion import ClimbFusionForRegression

__all__ = ["ClimbFusionConfig", "ClimbFusionForClassification", "ClimbFusionForRegression", "ClimbFusionModel"]

_LAZY = {
    "ClimbFusionConfig": "climb_hf.models.fusion.configuration_fusion",
    "ClimbFusionForClassification": "climb_hf.models.fusion.modeling_fusion",
    "ClimbFusionForRegression": "climb_hf.models.fusion.regression_fusion",
    "ClimbFusionModel": "climb_hf.models.fusion.modeling_fusion",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
