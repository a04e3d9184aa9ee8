"""What turns an example into model input; saved beside the model, so a checkpoint and one raw example suffice."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from climb_hf.processing.image_processor import ClimbImageProcessor

__all__ = ["ClimbImageProcessor"]

_LAZY = {"ClimbImageProcessor": "climb_hf.processing.image_processor"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module `climb_hf.processing` has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
