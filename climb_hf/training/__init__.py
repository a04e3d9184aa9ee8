"""Training on mixtures of sources: trainer, losses, optimizer, collators, sampling, recipes.

Everything is imported on first use, so importing this package is cheap.
"""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

if TYPE_CHECKING:
    from climb_hf.training.arguments import ClimbTrainingArguments
    from climb_hf.training.collator import ClassificationCollator, prepare_for_training
    from climb_hf.training.losses import class_weights_from_counts, masked_classification_loss, valid_rows
    from climb_hf.training.recipes import load_recipe
    from climb_hf.training.sampling import MixtureSampler
    from climb_hf.training.soap import SOAP, soap_parameter_groups
    from climb_hf.training.targets import TargetBuilder
    from climb_hf.training.trainer import ClimbTrainer

_LAZY = {
    "ClassificationCollator": "climb_hf.training.collator",
    "ClimbTrainer": "climb_hf.training.trainer",
    "ClimbTrainingArguments": "climb_hf.training.arguments",
    "MixtureSampler": "climb_hf.training.sampling",
    "SOAP": "climb_hf.training.soap",
    "TargetBuilder": "climb_hf.training.targets",
    "class_weights_from_counts": "climb_hf.training.losses",
    "load_recipe": "climb_hf.training.recipes",
    "masked_classification_loss": "climb_hf.training.losses",
    "prepare_for_training": "climb_hf.training.collator",
    "soap_parameter_groups": "climb_hf.training.soap",
    "valid_rows": "climb_hf.training.losses",
}

__all__ = [
    "SOAP",
    "ClassificationCollator",
    "ClimbTrainer",
    "ClimbTrainingArguments",
    "MixtureSampler",
    "TargetBuilder",
    "class_weights_from_counts",
    "load_recipe",
    "masked_classification_loss",
    "prepare_for_training",
    "soap_parameter_groups",
    "valid_rows",
]

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
