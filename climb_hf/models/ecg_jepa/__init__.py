"""ECG-JEPA: eight leads as patches, trained by predicting masked latents."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.models.ecg_jepa.configuration_ecg_jepa import EcgJepaConfig
    from climb_hf.models.ecg_jepa.modeling_ecg_jepa import EcgJepaForClassification, EcgJepaModel
    from climb_hf.models.ecg_jepa.pretraining_ecg_jepa import EcgJepaForPretraining

__all__ = ["EcgJepaConfig", "EcgJepaForClassification", "EcgJepaForPretraining", "EcgJepaModel"]

_LAZY = {
    "EcgJepaConfig": "climb_hf.models.ecg_jepa.configuration_ecg_jepa",
    "EcgJepaForClassification": "climb_hf.models.ecg_jepa.modeling_ecg_jepa",
    "EcgJepaForPretraining": "climb_hf.models.ecg_jepa.pretraining_ecg_jepa",
    "EcgJepaModel": "climb_hf.models.ecg_jepa.modeling_ecg_jepa",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
