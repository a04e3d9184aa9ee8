"""climb-hf: clinical data sources as Hugging Face datasets with one label schema, and encoders over mixtures of them.

Importing this package registers the path `"climb"` with `datasets` and the models with `transformers`; both take
effect when those libraries are imported, so the import itself is light.

Example:
    >>> import climb_hf
    >>> "ptbxl" in climb_hf.list_sources(modality="ECG")
    True
"""

from typing import TYPE_CHECKING

from climb_hf._lazy import lazy_attributes
from climb_hf._version import __version__
from climb_hf.registration import install_hooks

if TYPE_CHECKING:
    from climb_hf import metrics, models, vocabulary
    from climb_hf.auditing.run import audit
    from climb_hf.loading import load_dataset
    from climb_hf.miniatures import miniature
    from climb_hf.mixture import load_mixture
    from climb_hf.registry import get_source, list_sources
    from climb_hf.training.arguments import ClimbTrainingArguments
    from climb_hf.training.trainer import ClimbTrainer

__all__ = [
    "ClimbTrainer",
    "ClimbTrainingArguments",
    "__version__",
    "audit",
    "get_source",
    "list_sources",
    "load_dataset",
    "load_mixture",
    "metrics",
    "miniature",
    "models",
    "vocabulary",
]

_LAZY = {
    "ClimbTrainer": "climb_hf.training.trainer",
    "ClimbTrainingArguments": "climb_hf.training.arguments",
    "audit": "climb_hf.auditing.run",
    "get_source": "climb_hf.registry",
    "list_sources": "climb_hf.registry",
    "load_dataset": "climb_hf.loading",
    "load_mixture": "climb_hf.mixture",
    "metrics": "climb_hf.metrics",
    "miniature": "climb_hf.miniatures",
    "models": "climb_hf.models",
    "vocabulary": "climb_hf.vocabulary",
}

__getattr__, __dir__ = lazy_attributes(__name__, _LAZY)

install_hooks()
