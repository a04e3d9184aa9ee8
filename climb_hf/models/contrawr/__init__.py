"""ContraWR: residual convolutions over the spectrogram of an EEG window."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.models.contrawr.configuration_contrawr import ContraWrConfig
    from climb_hf.models.contrawr.modeling_contrawr import ContraWrForClassification, ContraWrModel

__all__ = ["ContraWrConfig", "ContraWrForClassification", "ContraWrModel"]

_LAZY = {
    "ContraWrConfig": "climb_hf.models.contrawr.configuration_contrawr",
    "ContraWrForClassification": "climb_hf.models.contrawr.modeling_contrawr",
    "ContraWrModel": "climb_hf.models.contrawr.modeling_contrawr",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
