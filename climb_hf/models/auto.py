"""One Auto class for every classifier of ours, whatever it reads."""

from collections import OrderedDict

from transformers.models.auto.auto_factory import _BaseAutoModelClass, _LazyAutoMapping
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from climb_hf._deferred import register_later
from climb_hf.models.catalogue import MODELS

__all__ = ["AutoModelForClimbClassification"]


class AutoModelForClimbClassification(_BaseAutoModelClass):
    """Loads or builds the `XForClassification` that a configuration belongs to: pictures, EEG, ECG or graphs.

    Example:
        >>> from climb_hf.models import ClimbVisionConfig
        >>> config = ClimbVisionConfig(backbone="timm/test_vit", image_size=32, vocabulary=["nevus", "melanoma"])
        >>> type(AutoModelForClimbClassification.from_config(config)).__name__
        'ClimbVisionForClassification'
    """

    _model_mapping = _LazyAutoMapping(CONFIG_MAPPING_NAMES, OrderedDict())  # type: ignore[assignment]


for _entry in MODELS:
    register_later(
        AutoModelForClimbClassification, _entry.load("Config"), _entry.model_module, f"{_entry.stem}ForClassification"
    )
