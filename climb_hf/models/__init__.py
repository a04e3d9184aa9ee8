"""The encoders; each is imported when it is first used, so this package itself imports no torch."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes
from climb_hf.models.catalogue import MODELS

if TYPE_CHECKING:
    from climb_hf.models.auto import AutoModelForClimbClassification
    from climb_hf.models.biot import BiotConfig, BiotForClassification, BiotForPretraining, BiotModel
    from climb_hf.models.cnn_transformer import (
        CnnTransformerConfig,
        CnnTransformerForClassification,
        CnnTransformerModel,
    )
    from climb_hf.models.contrawr import ContraWrConfig, ContraWrForClassification, ContraWrModel
    from climb_hf.models.ecg_jepa import EcgJepaConfig, EcgJepaForClassification, EcgJepaForPretraining, EcgJepaModel
    from climb_hf.models.ecg_transformer import (
        EcgTransformerConfig,
        EcgTransformerForClassification,
        EcgTransformerModel,
    )
    from climb_hf.models.ffcl import FfclConfig, FfclForClassification, FfclModel
    from climb_hf.models.fusion import (
        ClimbFusionConfig,
        ClimbFusionForClassification,
        ClimbFusionForRegression,
        ClimbFusionModel,
    )
    from climb_hf.models.graph import ClimbGraphConfig, ClimbGraphForClassification, ClimbGraphModel
    from climb_hf.models.medvit import MedVitConfig, MedVitForClassification, MedVitModel
    from climb_hf.models.outputs import ClimbClassifierOutput
    from climb_hf.models.sparcnet import SparcNetConfig, SparcNetForClassification, SparcNetModel
    from climb_hf.models.st_transformer import (
        StTransformerConfig,
        StTransformerForClassification,
        StTransformerModel,
    )
    from climb_hf.models.units import UnitsConfig, UnitsForClassification, UnitsForPretraining, UnitsModel
    from climb_hf.models.vision.configuration_vision import ClimbVisionConfig
    from climb_hf.models.vision.modeling_vision import ClimbVisionForClassification, ClimbVisionModel

__all__ = [
    "AutoModelForClimbClassification",
    "BiotConfig",
    "BiotForClassification",
    "BiotForPretraining",
    "BiotModel",
    "ClimbClassifierOutput",
    "ClimbFusionConfig",
    "ClimbFusionForClassification",
    "ClimbFusionForRegression",
    "ClimbFusionModel",
    "ClimbGraphConfig",
    "ClimbGraphForClassification",
    "ClimbGraphModel",
    "ClimbVisionConfig",
    "ClimbVisionForClassification",
    "ClimbVisionModel",
    "CnnTransformerConfig",
    "CnnTransformerForClassification",
    "CnnTransformerModel",
    "ContraWrConfig",
    "ContraWrForClassification",
    "ContraWrModel",
    "EcgJepaConfig",
    "EcgJepaForClassification",
    "EcgJepaForPretraining",
    "EcgJepaModel",
    "EcgTransformerConfig",
    "EcgTransformerForClassification",
    "EcgTransformerModel",
    "FfclConfig",
    "FfclForClassification",
    "FfclModel",
    "MedVitConfig",
    "MedVitForClassification",
    "MedVitModel",
    "SparcNetConfig",
    "SparcNetForClassification",
    "SparcNetModel",
    "StTransformerConfig",
    "StTransformerForClassification",
    "StTransformerModel",
    "UnitsConfig",
    "UnitsForClassification",
    "UnitsForPretraining",
    "UnitsModel",
]

_LAZY = {
    "AutoModelForClimbClassification": "climb_hf.models.auto",
    "ClimbClassifierOutput": "climb_hf.models.outputs",
}
for _entry in MODELS:
    _LAZY.update(_entry.public)

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
