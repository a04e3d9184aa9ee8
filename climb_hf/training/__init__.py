"""Training on mixtures of sources: trainer, losses, optimizer, collators, sampling, recipes.

Everything is imported on first use, so importing this package is cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from climb_hf.training.arguments import ClimbTrainingArguments
    from climb_hf.training.collator import ClassificationCollator, prepare_for_training
    from climb_hf.training.losses import class_weights_from_counts, masked_classification_loss, valid_rows
    from climb_hf.training.recipes import load_recipe, recipe_hash
    from climb_hf.training.sampling import MixtureSampler
    from climb_hf.training.soap import SOAP, soap_parameter_groups
    from climb_hf.training.targets import TargetBuilder
    from climb_hf.training.trainer import ClimbTrainer

_LAZY = {
    "ClassificationCollator": "collator",
    "ClimbTrainer": "trainer",
    "ClimbTrainingArguments": "arguments",
    "MixtureSampler": "sampling",
    "SOAP": "soap",
    "TargetBuilder": "targets",
    "class_weights_from_counts": "losses",
    "load_recipe": "recipes",
    "masked_classification_loss": "losses",
    "prepare_for_training": "collator",
    "recipe_hash": "recipes",
    "soap_parameter_groups": "soap",
    "valid_rows": "losses",
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
    "recipe_hash",
    "soap_parameter_groups",
    "valid_rows",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name in _LAZY:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module `{__name__}` has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
