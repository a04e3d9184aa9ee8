"""`climb push`: a saved run with the results of its evaluation, or prepared data, to the Hub."""

from pathlib import Path

from climb_hf.errors import AccessError
from climb_hf.hub.training_file import read_training

__all__ = ["publish"]

#: Keys of the training file that are facts of the card.
_NOT_FACTS = ("recipe_settings", "recipe_hash")


def publish(
    checkpoint: str | Path,
    repo_id: str,
    *,
    results: str | Path | None = None,
    private: bool = False,
    base_model: str | None = None,
) -> str:
    """Publish a checkpoint of `train` with a card that holds the results of `evaluate`, or a folder of `prepare`.

    Adapters of `climb qa finetune` are published in the same way.

    Weights may be published whatever the data; the card states the terms of every source (docs/publishing.md). Data
    is published only where every source allows copies; `private` makes no difference.

    Args:
        checkpoint (`str` or `Path`): folder of the run, of the checkpoint, or of prepared sources.
        repo_id (`str`): `"user/name"`.
        results (`str` or `Path`, *optional*): `results.jsonl` of an evaluation; without it the card has no numbers.
        private (`bool`, *optional*, defaults to `False`): make the repository private.
        base_model (`str`, *optional*): Hub name of an adapter's base, where it was trained on a local copy.

    Returns:
        `str`: address of the commit, or of the data set.

    Raises:
        LicenseError: prepared data of a source that does not allow copies.
        AccessError: no checkpoint there, or the Hub refuses.
        OptionError: the repository name is none, or a file would hold a secret.
    """
    from climb_hf.hub import push_to_hub
    from climb_hf.hub.adapter import push_adapter
    from climb_hf.prepare.upload import is_prepared, push_prepared
    from climb_hf.protocols.checkpoints import load_checkpoint
    from climb_hf.qa.vlm import adapter_folder
    from climb_hf.results import read_results

    folder = Path(checkpoint)
    if is_prepared(folder):
        return push_prepared(folder, repo_id, private=private)
    if adapter_folder(folder) is not None:
        numbers = read_results(results) if results else ()
        return str(push_adapter(folder, repo_id, results=numbers, base_model=base_model, private=private).commit_url)
    folder = folder if (folder / "config.json").is_file() else folder / "model"
    if not (folder / "config.json").is_file():
        raise AccessError(f"`{checkpoint}` holds no checkpoint; pass what `climb train --to DIR` was given.")
    kept = read_training(folder)
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
