"""UniTS: one transformer over time and variables for any task, with prompt tokens."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.models.units.configuration_units import UnitsConfig
    from climb_hf.models.units.modeling_units import UnitsForClassification, UnitsModel
    from climb_hf.models.units.pretraining_units import UnitsForPretraining

__all__ = ["UnitsConfig", "UnitsForClassification", "UnitsForPretraining", "UnitsModel"]

_LAZY = {
    "UnitsConfig": "climb_hf.models.units.configuration_units",
    "UnitsForClassification": "climb_hf.models.units.modeling_units",
    "UnitsForPretraining": "climb_hf.models.units.pretraining_units",
    "UnitsModel": "climb_hf.models.units.modeling_units",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
