"""What turns an example into model input; saved beside the model, so a checkpoint and one raw example suffice."""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.processing.ecg_extractor import EcgFeatureExtractor
    from climb_hf.processing.eeg_extractor import EegFeatureExtractor
    from climb_hf.processing.fusion_processor import ClimbFusionProcessor
    from climb_hf.processing.graph_batch import GraphBatch
    from climb_hf.processing.graph_processor import ClimbGraphProcessor
    from climb_hf.processing.image_processor import ClimbImageProcessor
    from climb_hf.processing.imu_extractor import ImuFeatureExtractor

__all__ = [
    "ClimbFusionProcessor",
    "ClimbGraphProcessor",
    "ClimbImageProcessor",
    "EcgFeatureExtractor",
    "EegFeatureExtractor",
    "GraphBatch",
    "ImuFeatureExtractor",
]

_LAZY = {
    "ClimbFusionProcessor": "climb_hf.processing.fusion_processor",
    "ClimbGraphProcessor": "climb_hf.processing.graph_processor",
    "GraphBatch": "climb_hf.processing.graph_batch",
    "ClimbImageProcessor": "climb_hf.processing.image_processor",
    "EcgFeatureExtractor": "climb_hf.processing.ecg_extractor",
    "EegFeatureExtractor": "climb_hf.processing.eeg_extractor",
    "ImuFeatureExtractor": "climb_hf.processing.imu_extractor",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
