"""CNN-Transformer: residual convolutions over the spectrograms of segments, a transformer over the segments."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.models.cnn_transformer.configuration_cnn_transformer import CnnTransformerConfig
    from climb_hf.models.cnn_transformer.modeling_cnn_transformer import (
        CnnTransformerForClassification,
        CnnTransformerModel,
    )

__all__ = ["CnnTransformerConfig", "CnnTransformerForClassification", "CnnTransformerModel"]

_LAZY = {
    "CnnTransformerConfig": "climb_hf.models.cnn_transformer.configuration_cnn_transformer",
    "CnnTransformerForClassification": "climb_hf.models.cnn_transformer.modeling_cnn_transformer",
    "CnnTransformerModel": "climb_hf.models.cnn_transformer.modeling_cnn_transformer",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
