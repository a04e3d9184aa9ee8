"""ST-Transformer: attention over EEG channels, two convolutions over time, a transformer over their outputs."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.models.st_transformer.configuration_st_transformer import StTransformerConfig
    from climb_hf.models.st_transformer.modeling_st_transformer import (
        StTransformerForClassification,
        StTransformerModel,
    )

__all__ = ["StTransformerConfig", "StTransformerForClassification", "StTransformerModel"]

_LAZY = {
    "StTransformerConfig": "climb_hf.models.st_transformer.configuration_st_transformer",
    "StTransformerForClassification": "climb_hf.models.st_transformer.modeling_st_transformer",
    "StTransformerModel": "climb_hf.models.st_transformer.modeling_st_transformer",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
