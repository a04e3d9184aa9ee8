"""A complete checkpoint in a folder: weights, processor, vocabulary, card, results, recipe and terms.

What `save_checkpoint` writes is what `push_to_hub` uploads; every file is generated, none is edited afterwards.
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import OptionError
from climb_hf.hub.card import model_card, parts_of, recipe_text, vocabulary_of
from climb_hf.hub.facts import TrainingFacts
from climb_hf.hub.licence import LICENSE_FILE, LICENSE_TITLE, combine_licences, licence_text
from climb_hf.hub.results import eval_results_yaml
from climb_hf.results import ResultRow, write_results

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, FeatureExtractionMixin, PreTrainedModel, ProcessorMixin

__all__ = ["OWN_FILES", "refuse_secrets", "save_checkpoint"]

VOCABULARY_FILE, RESULTS_FILE, RECIPE_FILE = "vocabulary.json", "results.jsonl", "recipe.yaml"
EVAL_FILE = ".eval_results/climb_hf.yaml"

#: Files that belong to one version of a checkpoint: those that a new version does not have are removed.
OWN_FILES = re.compile(
    r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|vocabulary\.json|results\.jsonl|recipe\.yaml"
    r"|LICENSE\.md|\.eval_results/climb_hf\.yaml|adapter_model\.safetensors"
)
_SECRET_VARIABLE = re.compile(r".*(TOKEN|PASSWORD|PASSWD|SECRET|API_?KEY|ACCESS_?KEY|KAGGLE_KEY)")
_SECRET_FORM = re.compile(
    rb"hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{36,}|AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_SHORTEST_SECRET = 8
_HEADER_BYTES = 1 << 20
_TEXT_SUFFIXES = (".json", ".jsonl", ".yaml", ".md", ".txt", ".py", ".safetensors")


def save_checkpoint(
    folder: str | os.PathLike[str],
    model: "PreTrainedModel",
    processor: "BaseImageProcessor | FeatureExtractionMixin | ProcessorMixin",
    *,
    results: Sequence[ResultRow] = (),
    recipe: Any = None,  # noqa: ANN401 - nested plain values, or a dataclass
    training: TrainingFacts | dict[str, Any] | None = None,
    name: str | None = None,
) -> Path:
    """Save a model with everything that belongs to it.

    Writes `model.safetensors`, `config.json`, the processor, `vocabulary.json` (V, display names, every source's V_k),
    `README.md` (the card), and where there is something to say `results.jsonl`, `.eval_results/climb_hf.yaml`,
    `recipe.yaml` and `LICENSE.md`. What an earlier save wrote is replaced, or removed where it is no longer true.

    Args:
        folder (`str` or `Path`): where to; made if absent.
        model (`PreTrainedModel`): the model.
        processor: its processor, as `AutoImageProcessor` or `AutoFeatureExtractor` will load it.
        results (`Sequence[ResultRow]`, *optional*): numbers of an evaluation, for the card.
        recipe (`dict` or dataclass, *optional*): the recipe; secrets and local paths are left out of what is written.
        training (`TrainingFacts` or `dict`, *optional*): facts of the training, such as `seed`, `base_model`,
            `synthetic`.
        name (`str`, *optional*): what the card's code loads. Defaults to the folder's name.

    Returns:
        `Path`: the folder.

    Raises:
        OptionError: `training` holds a key that is no fact, or a text to be written holds a secret.

    Example:
        >>> import tempfile
        >>> from climb_hf.models import ClimbVisionConfig, ClimbVisionForClassification
        >>> from climb_hf.processing.image_processor import ClimbImageProcessor
        >>> config = ClimbVisionConfig(backbone="timm/test_vit", image_size=32, vocabulary=["nevus", "melanoma"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     saved = save_checkpoint(folder, ClimbVisionForClassification(config), ClimbImageProcessor(size=32))
        ...     print(*sorted(path.name for path in saved.iterdir()))
        README.md config.json model.safetensors preprocessor_config.json vocabulary.json
    """
    folder, facts, results = Path(folder), TrainingFacts.of(training).with_recipe(recipe), list(results)
    parts = parts_of(model, facts)
    licence = combine_licences(parts)
    card = model_card(model, name=name or folder.resolve().name, results=results, recipe=recipe, training=facts)
    texts = {
        "README.md": str(card),
        VOCABULARY_FILE: json.dumps(vocabulary_of(model), indent=2, ensure_ascii=False) + "\n",
        RECIPE_FILE: recipe_text(recipe),
        EVAL_FILE: eval_results_yaml(results),
        LICENSE_FILE: licence_text(parts, licence) if licence.license == "other" else "",
    }
    for file, text in texts.items():
        _refuse_secret(file, text.encode(), _secrets())
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale(folder, texts, results)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    for file, text in texts.items():
        if text:
            path = folder / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if results:
        write_results(folder / RESULTS_FILE, results)
    refuse_secrets(folder)
    return folder


def _remove_stale(folder: Path, texts: dict[str, str], results: Sequence[ResultRow]) -> None:
    """Remove what an earlier save wrote and this one has nothing for; a licence file of somebody else stays."""
    stale = [file for file, text in texts.items() if not text]
    for file in stale if results else [*stale, RESULTS_FILE]:
        path = folder / file
        if path.is_file() and (file != LICENSE_FILE or path.read_text(encoding="utf-8").startswith(LICENSE_TITLE)):
            path.unlink()


def _secrets(token: str | None = None) -> dict[str, bytes]:
    """The secrets that this process could leak, by where they come from."""
    from huggingface_hub import get_token

    found = {f"the environment variable `{name}`": value for name, value in os.environ.items() if _is_secret(name)}
    found["the Hub token"] = get_token() or ""
    found["the `token` given"] = token if isinstance(token, str) else ""
    return {where: value.encode() for where, value in found.items() if len(value) >= _SHORTEST_SECRET}


def _is_secret(variable: str) -> bool:
    return bool(_SECRET_VARIABLE.fullmatch(variable.upper()))


def _refuse_secret(file: str, content: bytes, secrets: dict[str, bytes]) -> None:
    where = next((where for where, value in secrets.items() if value in content), None)
    if where is None and _SECRET_FORM.search(content):
        where = "something of the form of an access token or private key"
    if where is not None:
        raise OptionError(
            f"`{file}` would hold {where}. Take it out of `recipe`, `training`, `results` or the configuration; "
            "nothing was published."
        )


def refuse_secrets(folder: str | os.PathLike[str], token: str | None = None) -> None:
    """Refuse a checkpoint in which a secret of this process stands: environment variables, Hub token, forms of keys.

    Args:
        folder (`str` or `Path`): the checkpoint. Its text files are read, and the header of its weights.
        token (`str`, *optional*): a further secret.

    Raises:
        OptionError: names the file and where the secret comes from, never the secret.
    """
    folder, secrets = Path(folder), _secrets(token)
    for path in sorted([*folder.glob("*"), *folder.glob(".eval_results/*")]):
        if path.suffix in _TEXT_SUFFIXES and path.is_file():
            with path.open("rb") as stream:
                content = stream.read(_HEADER_BYTES if path.suffix == ".safetensors" else -1)
            _refuse_secret(path.relative_to(folder).as_posix(), content, secrets)
