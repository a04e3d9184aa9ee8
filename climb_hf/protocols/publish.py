"""`climb push`: a saved run, with the results of its evaluation, to the Hub."""

import json
from pathlib import Path

from climb_hf.errors import AccessError
from climb_hf.protocols.multitask import TRAINING_FILE

__all__ = ["publish"]

#: Keys of the training file that are facts of the card.
_NOT_FACTS = ("recipe_settings", "recipe_hash")


def publish(checkpoint: str | Path, repo_id: str, *, results: str | Path | None = None, private: bool = False) -> str:
    """Publish a checkpoint of `train` with a card that holds the results of `evaluate`.

    Weights may be published whatever the data; the card states the terms of every source (docs/publishing.md).

    Args:
        checkpoint (`str` or `Path`): folder of the run or of the checkpoint.
        repo_id (`str`): `"user/name"`.
        results (`str` or `Path`, *optional*): `results.jsonl` of an evaluation; without it the card has no numbers.
        private (`bool`, *optional*, defaults to `False`): make the repository private.

    Returns:
        `str`: address of the commit.

    Raises:
        AccessError: no checkpoint there, or the Hub refuses.
        OptionError: the repository name is none, or a file would hold a secret.
    """
    from climb_hf.hub import push_to_hub
    from climb_hf.protocols.checkpoints import load_checkpoint
    from climb_hf.results import read_results

    folder = Path(checkpoint)
    folder = folder if (folder / "config.json").is_file() else folder / "model"
    if not (folder / "config.json").is_file():
        raise AccessError(f"`{checkpoint}` holds no checkpoint; pass what `climb train --to DIR` was given.")
    kept = (
        json.loads((folder / TRAINING_FILE).read_text(encoding="utf-8")) if (folder / TRAINING_FILE).is_file() else {}
    )
    model, processor, _ = load_checkpoint(folder)
    commit = push_to_hub(
        repo_id,
        model,
        processor,
        results=read_results(results) if results else (),
        recipe=kept.get("recipe_settings"),
        training={key: value for key, value in kept.items() if key not in _NOT_FACTS},
        private=private,
    )
    return str(commit.commit_url)
