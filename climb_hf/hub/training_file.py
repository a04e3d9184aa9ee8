"""What a run writes beside its checkpoint for the commands that follow: how it was trained, and its history."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from climb_hf.provenance import recipe_hash

__all__ = ["HISTORY_FILE", "TRAINING_FILE", "read_training", "write_training"]

#: Facts of the training that a checkpoint keeps beside its weights, and its log.
TRAINING_FILE, HISTORY_FILE = "training.json", "history.json"


def write_training(
    folder: str | os.PathLike[str],
    facts: Mapping[str, Any],
    recipe: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    **more: Any,  # noqa: ANN401 - JSON values
) -> None:
    """Write `training.json` and `history.json` of a finished run.

    Args:
        folder (`str` or `os.PathLike`): the checkpoint.
        facts (`Mapping`): what the card says of the training.
        recipe (`Mapping`): the settings; kept whole, with their hash.
        history (`Sequence[Mapping]`): log of the trainer.
        **more: further facts, which take precedence.
    """
    kept = {**facts, "recipe_settings": dict(recipe), "recipe_hash": recipe_hash(recipe), **more}
    for name, content in ((TRAINING_FILE, kept), (HISTORY_FILE, list(history))):
        (Path(folder) / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_training(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a checkpoint says about its training; empty where it says nothing.

    Args:
        folder (`str` or `os.PathLike`): the checkpoint itself.

    Returns:
        `dict`: `sources`, `recipe_settings`, `recipe_hash`, `synthetic` and so on.

    Example:
        >>> read_training("no/such/checkpoint")
        {}
    """
    file = Path(folder) / TRAINING_FILE
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
