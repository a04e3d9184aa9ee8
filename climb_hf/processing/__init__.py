"""What turns an example into model input; saved beside the model, so a checkpoint and one raw example suffice."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.processing.image_processor import ClimbImageProcessor

__all__ = ["ClimbImageProcessor"]

_LAZY = {"ClimbImageProcessor": "climb_hf.processing.image_processor"}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
