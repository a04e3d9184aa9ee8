"""Which encoders exist: one row each, from which registration, lazy imports and the documentation follow.

The rows name classes by the convention of transformers (`<stem>Config`, `<stem>Model`, `<stem>ForClassification`), so
nothing is imported until it is asked for.
"""

import importlib
from dataclasses import dataclass
from typing import Any

__all__ = ["MODELS", "ModelEntry", "entry_of"]


@dataclass(frozen=True)
class ModelEntry:
    """One encoder.

    Args:
        name (`str`): its folder under `climb_hf/models`, such as `"biot"`.
        stem (`str`): what its class names begin with, such as `"Biot"`.
        inputs (`str`): `"image"`, `"eeg"`, `"ecg"`, `"graph"` or `"multimodal"`: what it reads.
        processor (`str`): `module:Class` of what turns an example into its input.
        further (`tuple[str, ...]`): other public classes, each as `module:Class` with a module of the folder, such as
            `("pretraining_biot:BiotForPretraining",)`.
        is_convertible (`bool`, *optional*, defaults to `True`): whether there are published checkpoints to convert
            (`convert_<name>.py`).
    """

    name: str
    stem: str
    inputs: str
    processor: str
    further: tuple[str, ...] = ()
    is_convertible: bool = True

    @property
    def config_module(self) -> str:
        """Dotted name of the module that defines the configuration."""
        return f"climb_hf.models.{self.name}.configuration_{self.name}"

    @property
    def model_module(self) -> str:
        """Dotted name of the module that defines the models."""
        return f"climb_hf.models.{self.name}.modeling_{self.name}"

    @property
    def public(self) -> dict[str, str]:
        """Public class -> module that defines it."""
        models = dict.fromkeys((f"{self.stem}Model", f"{self.stem}ForClassification"), self.model_module)
        further = (place.split(":") for place in self.further)
        return {
            f"{self.stem}Config": self.config_module,
            **models,
            **{name: f"climb_hf.models.{self.name}.{module}" for module, name in further},
        }

    def load(self, kind: str) -> Any:  # noqa: ANN401 - a class
        """Import one of the classes.

        Args:
            kind (`str`): `"Config"`, `"Model"`, `"ForClassification"` or `"processor"`.

        Returns:
            The class.
        """
        if kind == "processor":
            module, name = self.processor.split(":")
        else:
            module, name = (self.config_module if kind == "Config" else self.model_module), self.stem + kind
        return getattr(importlib.import_module(module), name)

    def load_pretraining(self) -> Any:  # noqa: ANN401 - a class
        """Import the class with the model's pretraining objective.

        Returns:
            The class, such as `EcgJepaForPretraining`.

        Raises:
            OptionError: the model has none.
        """
        from climb_hf.errors import OptionError

        for place in self.further:
            module, name = place.split(":")
            if name.endswith("ForPretraining"):
                return getattr(importlib.import_module(f"climb_hf.models.{self.name}.{module}"), name)
        raise OptionError(f"`{self.stem}` has no pretraining objective; train it with labels (`climb train`).")


_PICTURES = "climb_hf.processing.image_processor:ClimbImageProcessor"
_ECG = "climb_hf.processing.ecg_extractor:EcgFeatureExtractor"
_EEG = "climb_hf.processing.eeg_extractor:EegFeatureExtractor"
_GRAPHS = "climb_hf.processing.graph_processor:ClimbGraphProcessor"
_FUSION = "climb_hf.processing.fusion_processor:ClimbFusionProcessor"

#: Every encoder, in the order of the documentation.
MODELS: tuple[ModelEntry, ...] = (
    ModelEntry("vision", "ClimbVision", "image", _PICTURES),
    ModelEntry("medvit", "MedVit", "image", _PICTURES),
    ModelEntry("sparcnet", "SparcNet", "eeg", _EEG),
    ModelEntry("cnn_transformer", "CnnTransformer", "eeg", _EEG),
    ModelEntry("ffcl", "Ffcl", "eeg", _EEG),
    ModelEntry("contrawr", "ContraWr", "eeg", _EEG),
    ModelEntry("st_transformer", "StTransformer", "eeg", _EEG),
    ModelEntry("biot", "Biot", "eeg", _EEG, ("pretraining_biot:BiotForPretraining",)),
    ModelEntry("ecg_jepa", "EcgJepa", "ecg", _ECG, ("pretraining_ecg_jepa:EcgJepaForPretraining",)),
    ModelEntry("units", "Units", "ecg", _ECG, ("pretraining_units:UnitsForPretraining",)),
    ModelEntry("ecg_transformer", "EcgTransformer", "ecg", _ECG),
    ModelEntry("graph", "ClimbGraph", "graph", _GRAPHS),
    ModelEntry("fusion", "ClimbFusion", "multimodal", _FUSION, ("regression_fusion:ClimbFusionForRegression",), False),
)


def entry_of(model_type: str) -> ModelEntry:
    """Return the encoder with a `model_type`.

    Args:
        model_type (`str`): of a configuration, such as `"climb_biot"`.

    Returns:
        `ModelEntry`

    Raises:
        OptionError: it is none of ours.

    Example:
        >>> entry_of("climb_vision").stem
        'ClimbVision'
    """
    from climb_hf.errors import OptionError

    found = {entry.load("Config").model_type: entry for entry in MODELS}
    if model_type not in found:
        raise OptionError(f"there is no encoder of the type {model_type!r}; ours are {', '.join(sorted(found))}.")
    return found[model_type]
