"""What the evaluations of image-text encoders share: the facts of their result rows."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from climb_hf.hub.training_file import read_training
from climb_hf.protocols.dual_encoder import checkpoint_folder
from climb_hf.provenance import provenance

__all__ = ["common_facts"]


def common_facts(checkpoint: str | Path, protocol: str, split: str, *, synthetic: bool) -> dict[str, Any]:
    """Return the fields of `ResultRow` that all numbers of one evaluation share.

    Args:
        checkpoint (`str` or `Path`): the image-text encoder.
        protocol (`str`): `"retrieval"` or `"zero_shot"`.
        split (`str`): the split scored.
        synthetic (`bool`): the data is synthetic; so is a checkpoint that was trained on such data.

    Returns:
        `dict`: fields of `climb_hf.results.ResultRow`.
    """
    facts = read_training(checkpoint_folder(checkpoint))
    return {
        "split": split,
        "protocol": protocol,
        "model": Path(checkpoint).name,
        "seed": facts.get("seed"),
        "recipe_hash": facts.get("recipe_hash"),
        "synthetic": synthetic or bool(facts.get("synthetic", False)),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": provenance(),
    }
