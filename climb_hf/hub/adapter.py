"""Adapters of vision-language models as folders and repositories: weights, processor, card, recipe and terms."""

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import AccessError, OptionError
from climb_hf.hub import tables
from climb_hf.hub.card import load_template, recipe_text, tidy
from climb_hf.hub.checkpoint import RECIPE_FILE, RESULTS_FILE, refuse_secrets
from climb_hf.hub.facts import TrainingFacts
from climb_hf.hub.licence import AGREEMENT_LEVELS, LICENSE_FILE, combine_licences, licence_text
from climb_hf.hub.training_file import TRAINING_FILE, read_training
from climb_hf.provenance import recipe_hash
from climb_hf.results import ResultRow, read_results, write_results

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, ModelCard

__all__ = ["adapter_card", "push_adapter", "save_adapter"]

CONFIG_FILE = "adapter_config.json"
_NOT_FACTS = ("recipe_settings", "recipe_hash")
#: Files of an adapter that are published; optimizer states and logs stay.
_PUBLISHED = (".json", ".jsonl", ".jinja", ".md", ".model", ".safetensors", ".txt", ".yaml")


def save_adapter(
    folder: str | os.PathLike[str],
    model: Any,  # noqa: ANN401 - a PeftModel
    processor: Any,  # noqa: ANN401 - any processor
    *,
    results: Sequence[ResultRow] = (),
    recipe: Any = None,  # noqa: ANN401 - nested plain values
    training: TrainingFacts | dict[str, Any] | None = None,
    name: str | None = None,
) -> Path:
    """Save an adapter with everything that belongs to it.

    Args:
        folder (`str` or `Path`): where to; made if absent.
        model (`PeftModel`): the model with its adapter.
        processor: its processor, with the chat template it was trained with.
        results (`Sequence[ResultRow]`, *optional*): numbers, for the card.
        recipe (`dict`, *optional*): the recipe.
        training (`TrainingFacts` or `dict`, *optional*): facts of the training.
        name (`str`, *optional*): what the card's code loads. Defaults to the folder's name.

    Returns:
        `Path`: the folder.

    Raises:
        OptionError: a text to be written holds a secret.
    """
    folder, facts = Path(folder), TrainingFacts.of(training)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    _write_texts(folder, facts, results, recipe, name or folder.resolve().name)
    refuse_secrets(folder)
    return folder


def _write_texts(folder: Path, facts: TrainingFacts, results: Sequence[ResultRow], recipe: Any, name: str) -> None:  # noqa: ANN401
    parts = [*([] if facts.synthetic else facts.data_terms(())), *facts.weight_terms()]
    licence = combine_licences(parts)
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    (folder / "README.md").write_text(
        str(adapter_card(config, facts, name=name, results=results, recipe=recipe)), encoding="utf-8"
    )
    if recipe is not None:
        (folder / RECIPE_FILE).write_text(recipe_text(recipe), encoding="utf-8")
    if licence.license == "other":
        (folder / LICENSE_FILE).write_text(licence_text(parts, licence), encoding="utf-8")
    if results:
        write_results(folder / RESULTS_FILE, results)


def adapter_card(
    config: dict[str, Any],
    facts: TrainingFacts,
    *,
    name: str,
    results: Sequence[ResultRow] = (),
    recipe: Any = None,  # noqa: ANN401 - nested plain values
) -> "ModelCard":
    """Write the card of an adapter.

    Args:
        config (`dict`): content of `adapter_config.json`.
        facts (`TrainingFacts`): facts of the training.
        name (`str`): repository or folder that the code example loads.
        results (`Sequence[ResultRow]`, *optional*): numbers of CLIMB-QA.
        recipe (`dict`, *optional*): the recipe.

    Returns:
        `huggingface_hub.ModelCard`.
    """
    from huggingface_hub import ModelCard, ModelCardData

    from climb_hf.report.qa import answer_table

    parts = [*([] if facts.synthetic else facts.data_terms(())), *facts.weight_terms()]
    licence = combine_licences(parts)
    data = [part for part in parts if part.kind == "data"]
    lines = answer_table(results)
    fields = licence.card_fields
    base = facts.base_model if facts.base_model and "/" in facts.base_model else None  # a local copy has no address
    synthetic = facts.synthetic or any(row.synthetic for row in results)
    card = ModelCard.from_template(
        ModelCardData(
            library_name="peft",
            pipeline_tag="image-text-to-text",
            license=fields["license"],
            license_name=fields.get("license_name"),
            license_link=fields.get("license_link"),
            tags=["climb", "climb-qa", "lora", "medical", *(["synthetic"] if synthetic else [])],
            base_model=base,
            datasets=None if facts.synthetic else sorted(facts.sources or ()) or None,
        ),
        template_str=load_template("adapter_template.md"),
        name=name,
        title=name.rstrip("/").rsplit("/", 1)[-1],
        base=base,
        local_base=None if base else facts.base_model,
        synthetic=synthetic,
        sources=", ".join(f"`{source}`" for source in facts.sources or ()),
        rank=config.get("r"),
        alpha=config.get("lora_alpha"),
        targets=config.get("target_modules"),
        projector=", ".join(f"`{module}`" for module in config.get("modules_to_save") or ()),
        table=tables.markdown_table(list(lines[0]), [tuple(map(_cell, line.values())) for line in lines])
        if lines
        else "",
        data_table=tables.data_table(parts, dict(facts.n_examples)) if parts else "",
        signed=", ".join(f"`{part.name}`" for part in data if part.access in AGREEMENT_LEVELS),
        licence=licence,
        cautions="\n".join(f"* `{part.name}`: {caution}" for part in data for caution in part.cautions),
        recipe=recipe_text(recipe).strip(),
        recipe_name=facts.recipe,
        recipe_hash="" if recipe is None else recipe_hash(recipe),
        seed=facts.seed,
        date=facts.date,
        versions=", ".join(f"{package} {number}" for package, number in facts.versions.items()),
        citations="\n\n".join(dict.fromkeys(part.citation for part in data if part.citation)),
    )
    card.text = tidy(card.text)
    return card


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def push_adapter(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    results: Sequence[ResultRow] = (),
    base_model: str | None = None,
    private: bool = False,
    token: str | None = None,
) -> "CommitInfo":
    """Publish an adapter of `climb qa finetune`, with its card, in one commit.

    Args:
        folder (`str` or `Path`): the adapter, or the run that holds it.
        repo_id (`str`): `"user/name"`.
        results (`Sequence[ResultRow]`, *optional*): numbers for the card; those in the folder by default.
        base_model (`str`, *optional*): Hub name of the base, where the adapter names a local folder.
        private (`bool`, *optional*, defaults to `False`): make the repository private.
        token (`str`, *optional*): access token; that of `hf auth login` by default.

    Returns:
        `CommitInfo`: of the commit.

    Raises:
        AccessError: no adapter there, or the Hub refuses.
        OptionError: the base is a local folder that nobody else has.
    """
    from climb_hf.hub.push import push_folder

    folder = Path(folder)
    folder = folder if (folder / CONFIG_FILE).is_file() else folder / "adapter"
    if not (folder / CONFIG_FILE).is_file():
        raise AccessError(f"`{folder.parent}` holds no adapter; pass what `climb qa finetune --to DIR` was given.")
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    kept = read_training(folder)
    facts = {key: value for key, value in kept.items() if key not in _NOT_FACTS}
    recorded = str(config.get("base_model_name_or_path"))
    base = base_model or next((name for name in (facts.get("base_model"),) if name and "/" in name), None)
    if base is None and (Path(recorded).is_absolute() or Path(recorded).exists()):
        raise OptionError(
            "the adapter's base is a folder of this machine, which nobody else has; name the base on the Hub with "
            "`base_model` (`--base-model USER/NAME`)."
        )
    own = folder / RESULTS_FILE
    rows = list(results) or (read_results(own) if own.is_file() else [])
    with tempfile.TemporaryDirectory(prefix="climb-push-") as temporary:
        target = Path(temporary)
        for path in folder.iterdir():
            if path.is_file() and path.suffix in _PUBLISHED and path.name != LICENSE_FILE:
                shutil.copy2(path, target / path.name)
        config["base_model_name_or_path"] = base or recorded
        (target / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        if kept:
            (target / TRAINING_FILE).write_text(json.dumps({**kept, "base_model": base or recorded}, indent=1) + "\n")
        full = TrainingFacts.of({**facts, "base_model": base or recorded})
        _write_texts(target, full, rows, kept.get("recipe_settings"), repo_id)
        return push_folder(target, repo_id, "Upload adapter with climb-hf", private=private, token=token)
