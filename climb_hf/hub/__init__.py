"""Publishing: checkpoints and data sets with their cards, and the guard of licences. Imports nothing until it is used.

Example:
    >>> from climb_hf.hub import check_redistribution
    >>> check_redistribution(["ptbxl"])  # CC-BY-4.0: copies may be passed on
"""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes

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

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)
