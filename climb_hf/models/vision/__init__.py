"""Vision encoders over timm and transformers backbones, for images, videos and volumes."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.models.vision.configuration_vision import ClimbVisionConfig
    from climb_hf.models.vision.modeling_vision import ClimbVisionForClassification, ClimbVisionModel

__all__ = ["ClimbVisionConfig", "ClimbVisionForClassification", "ClimbVisionModel"]

_LAZY = {
    "ClimbVisionConfig": "climb_hf.models.vision.configuration_vision",
    "ClimbVisionForClassification": "climb_hf.models.vision.modeling_vision",
    "ClimbVisionModel": "climb_hf.models.vision.modeling_vision",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
