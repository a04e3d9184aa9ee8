"""The encoders; each is imported when it is first used, so this package itself imports no torch."""

import importlib
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module `climb_hf.models` has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
