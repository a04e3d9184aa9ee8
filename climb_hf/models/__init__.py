"""The encoders; each is imported when it is first used, so this package itself imports no torch."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.models.outputs import ClimbClassifierOutput
    from climb_hf.models.vision.configuration_vision import ClimbVisionConfig
    from climb_hf.models.vision.modeling_vision import ClimbVisionForClassification, ClimbVisionModel

__all__ = [
    "ClimbClassifierOutput",
    "ClimbVisionConfig",
    "ClimbVisionForClassification",
    "ClimbVisionModel",
]

_LAZY = {
    "ClimbClassifierOutput": "climb_hf.models.outputs",
    "ClimbVisionConfig": "climb_hf.models.vision.configuration_vision",
    "ClimbVisionForClassification": "climb_hf.models.vision.modeling_vision",
    "ClimbVisionModel": "climb_hf.models.vision.modeling_vision",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
