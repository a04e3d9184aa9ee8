"""Vision encoders over timm and transformers backbones, for images, videos and volumes."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.models.vision.configuration_vision import ClimbVisionConfig
    from climb_hf.models.vision.modeling_vision import ClimbVisionForClassification, ClimbVisionModel
    from climb_hf.models.vision.presets import VISION_PRESETS, VisionPreset, get_preset

__all__ = [
    "VISION_PRESETS",
    "ClimbVisionConfig",
    "ClimbVisionForClassification",
    "ClimbVisionModel",
    "VisionPreset",
    "get_preset",
]

_LAZY = {
    "ClimbVisionConfig": "climb_hf.models.vision.configuration_vision",
    "ClimbVisionForClassification": "climb_hf.models.vision.modeling_vision",
    "ClimbVisionModel": "climb_hf.models.vision.modeling_vision",
    "VISION_PRESETS": "climb_hf.models.vision.presets",
    "VisionPreset": "climb_hf.models.vision.presets",
    "get_preset": "climb_hf.models.vision.presets",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
