"""FFCL: residual convolutions over the spectrogram of an EEG window beside an LSTM over its samples."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.models.ffcl.configuration_ffcl import FfclConfig
    from climb_hf.models.ffcl.modeling_ffcl import FfclForClassification, FfclModel

__all__ = ["FfclConfig", "FfclForClassification", "FfclModel"]

_LAZY = {
    "FfclConfig": "climb_hf.models.ffcl.configuration_ffcl",
    "FfclForClassification": "climb_hf.models.ffcl.modeling_ffcl",
    "FfclModel": "climb_hf.models.ffcl.modeling_ffcl",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
