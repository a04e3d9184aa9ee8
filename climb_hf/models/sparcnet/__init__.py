"""SPaRCNet: a one-dimensional DenseNet over the samples of an EEG window."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.models.sparcnet.configuration_sparcnet import SparcNetConfig
    from climb_hf.models.sparcnet.modeling_sparcnet import SparcNetForClassification, SparcNetModel

__all__ = ["SparcNetConfig", "SparcNetForClassification", "SparcNetModel"]

_LAZY = {
    "SparcNetConfig": "climb_hf.models.sparcnet.configuration_sparcnet",
    "SparcNetForClassification": "climb_hf.models.sparcnet.modeling_sparcnet",
    "SparcNetModel": "climb_hf.models.sparcnet.modeling_sparcnet",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
