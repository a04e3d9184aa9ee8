"""BIOT: spectrogram frames of every EEG channel as tokens under linear attention, with its contrastive pretraining."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.models.biot.configuration_biot import BiotConfig
    from climb_hf.models.biot.modeling_biot import BiotForClassification, BiotModel
    from climb_hf.models.biot.pretraining_biot import BiotForPretraining

__all__ = ["BiotConfig", "BiotForClassification", "BiotForPretraining", "BiotModel"]

_LAZY = {
    "BiotConfig": "climb_hf.models.biot.configuration_biot",
    "BiotForClassification": "climb_hf.models.biot.modeling_biot",
    "BiotForPretraining": "climb_hf.models.biot.pretraining_biot",
    "BiotModel": "climb_hf.models.biot.modeling_biot",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
