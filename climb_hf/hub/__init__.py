"""Publishing: checkpoints and data sets with their cards, and the guard of licences. Imports nothing until it is used.

Example:
    >>> from climb_hf.hub import check_redistribution
    >>> check_redistribution(["ptbxl"])  # CC-BY-4.0: copies may be passed on
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from climb_hf.hub.card import model_card
    from climb_hf.hub.checkpoint import save_checkpoint
    from climb_hf.hub.data import push_dataset
    from climb_hf.hub.facts import TrainingFacts
    from climb_hf.hub.licence import check_redistribution, combine_licences, terms_of
    from climb_hf.hub.push import push_folder, push_to_hub

__all__ = [
    "TrainingFacts",
    "check_redistribution",
    "combine_licences",
    "model_card",
    "push_dataset",
    "push_folder",
    "push_to_hub",
    "save_checkpoint",
    "terms_of",
]

_LAZY = {
    "TrainingFacts": "climb_hf.hub.facts",
    "check_redistribution": "climb_hf.hub.licence",
    "combine_licences": "climb_hf.hub.licence",
    "model_card": "climb_hf.hub.card",
    "push_dataset": "climb_hf.hub.data",
    "push_folder": "climb_hf.hub.push",
    "push_to_hub": "climb_hf.hub.push",
    "save_checkpoint": "climb_hf.hub.checkpoint",
    "terms_of": "climb_hf.hub.licence",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module `climb_hf.hub` has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
