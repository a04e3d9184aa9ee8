"""Recipes: the hyperparameters of a run in YAML, with one level of inheritance and overrides from the command line.

A recipe has the sections `model`, `processor`, `data` and `training`; every key is checked against the class it will
be given to, so a misspelt key is refused with the names that are near it. `search` holds the values to try for some
keys (`training.learning_rate: [1e-4, 1e-3]`), which `climb train --search` does.
"""

import dataclasses
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from climb_hf.errors import OptionError

if TYPE_CHECKING:
    from climb_hf.training.arguments import ClimbTrainingArguments

__all__ = ["is_contrastive", "list_recipes", "load_recipe", "refuse_unknown", "training_arguments"]

_FOLDER = Path(__file__).with_name("recipes")
_SECTIONS = ("model", "processor", "data", "training")
_TOP = ("name", "description", "search", *_SECTIONS)
#: `model`: besides the fields of the model's configuration.
_MODEL = ("type", "preset", "checkpoint", "pretrained")
#: `data`: arguments of `climb_hf.load_mixture`, the splits to train and evaluate on, how often rows come in an epoch.
_DATA = ("sources", "options", "vocabulary", "num_proc", "streaming", "train_split", "eval_split", "repeat")
#: `model` and `data` of contrastive training; the towers are checked by `climb_hf.models.dual_encoder`.
_PAIR_MODEL = ("type", "image", "text", "projection_dim", "logit_scale_init_value")
_PAIR_DATA = ("options", "train_split", "held_out")


class _Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2: `1e-4` is a number, `no` is a string; a key may stand once."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - filled below

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if repeated := sorted({str(key) for key in keys if keys.count(key) > 1}):
            raise OptionError(f"the keys {repeated} stand twice in one section of the recipe; keep one of each.")
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("bool", r"true|True|false|False", "tTfF"),
    ("null", r"null|Null|~|", ["n", "N", "~", ""]),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    (
        "float",
        r"[-+]?(([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.inf)|\.nan",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), list(_first))


def list_recipes() -> list[str]:
    """Return the names of the recipes that come with the library.

    Returns:
        `list[str]`: names for `load_recipe`, sorted.

    Example:
        >>> [name for name in list_recipes() if "/" not in name]
        ['paper_vision', 'quick', 'quickstart']
    """
    return sorted(path.relative_to(_FOLDER).with_suffix("").as_posix() for path in _FOLDER.rglob("*.yaml"))


def load_recipe(name_or_path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Load a recipe, with what it inherits and what is overridden.

    Args:
        name_or_path (`str` or `Path`): name of a recipe of the library, or path of a YAML file. `base:` in the file
            names one other recipe, by name or by a path relative to the file; sections are merged key by key.
        overrides (`Sequence[str]`, *optional*): `"section.key=value"`, the value in YAML; deeper keys reach into
            dictionaries (`"training.lr_scheduler_kwargs.num_cycles=1"`).

    Returns:
        `dict`: `name`, `description`, `model`, `processor`, `data`, `training`; absent sections are empty. `search`,
        values by dotted key, where the recipe has it.

    Raises:
        OptionError: no such recipe, a file that is no recipe, an unknown key, or an override that cannot be applied.

    Example:
        >>> recipe = load_recipe("quick", ["training.learning_rate=1e-4", "training.mixture=balanced"])
        >>> recipe["training"]["learning_rate"], recipe["training"]["mixture"]
        (0.0001, 'balanced')
    """
    path = _find(name_or_path, Path())
    content = _read(path)
    base = content.pop("base", None)
    if base is not None:
        inherited = _read(_find(base, path.parent))
        if inherited.pop("base", None) is not None:
            raise OptionError(
                f"`{path}` inherits from `{base}`, which inherits itself; a recipe may have one base only."
            )
        content = _merged(inherited, content)
    refuse_unknown(content, _TOP, f"`{path.name}`")
    recipe: dict[str, Any] = {"name": _name(path), "description": "", **content}
    for section in _SECTIONS:
        recipe[section] = {} if recipe.get(section) is None else recipe[section]
        if not isinstance(recipe[section], dict):
            raise OptionError(f"section `{section}` of `{path.name}` must hold keys, found {recipe[section]!r}.")
    for override in overrides:
        _apply(recipe, override)
    _check(recipe, path.name)
    return recipe


def training_arguments(
    recipe: Mapping[str, Any],
    output_dir: str | Path,
    **overrides: Any,  # noqa: ANN401 - any field of the arguments
) -> "ClimbTrainingArguments":
    """Return the arguments of a run from a recipe.

    Args:
        recipe (`Mapping`): from `load_recipe`.
        output_dir (`str` or `Path`): where checkpoints go.
        **overrides: fields that take precedence over the recipe's.

    Returns:
        `ClimbTrainingArguments`.

    Raises:
        OptionError: a value that is not allowed, or that this machine cannot do.
    """
    values = {**recipe["training"], **overrides, "output_dir": str(output_dir)}
    try:
        return _arguments_class(recipe)(**values)
    except OptionError:
        raise
    except ValueError as error:  # the checks of transformers
        advice = " Without a GPU that has bfloat16: `--set training.bf16=false`." if values.get("bf16") else ""
        raise OptionError(f"`training` of recipe `{recipe.get('name', '')}` is refused: {error}{advice}") from error


def is_contrastive(recipe: Mapping[str, Any]) -> bool:
    """Tell whether a recipe trains a dual encoder on pairs of image and text.

    Args:
        recipe (`Mapping`): from `load_recipe`.

    Returns:
        `bool`

    Example:
        >>> is_contrastive(load_recipe("openpmc/quick")), is_contrastive(load_recipe("quick"))
        (True, False)
    """
    from climb_hf.models.dual_encoder import DUAL_ENCODER

    return recipe["model"].get("type") == DUAL_ENCODER


def _arguments_class(recipe: Mapping[str, Any]) -> "type[ClimbTrainingArguments]":
    if is_contrastive(recipe):
        from climb_hf.training.contrastive_arguments import ContrastiveTrainingArguments

        return ContrastiveTrainingArguments
    from climb_hf.training.arguments import ClimbTrainingArguments

    return ClimbTrainingArguments


def _find(name: str | Path, folder: Path) -> Path:
    path = folder / name
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise OptionError(f"there is no recipe `{path}`; the library has {', '.join(list_recipes())}.")
    if str(name) in list_recipes():
        return _FOLDER / f"{name}.yaml"
    raise OptionError(
        f"there is no recipe {str(name)!r}{_near(str(name), list_recipes())}; the library has "
        f"{', '.join(list_recipes())}. A file is given by its path, which ends in `.yaml`."
    )


def _name(path: Path) -> str:
    """Return the name of a recipe of the library, with its folder; of a file, its stem."""
    return path.relative_to(_FOLDER).with_suffix("").as_posix() if path.is_relative_to(_FOLDER) else path.stem


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise OptionError(f"`{path}` is no valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise OptionError(f"`{path}` must hold the sections {', '.join(_SECTIONS)}, found {type(content).__name__}.")
    return content


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = _merged(base[key], value) if both else value
    return result


def _apply(recipe: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    keys = name.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys) or keys[0] not in _SECTIONS:
        raise OptionError(
            f"an override must be `section.key=value` with one of the sections {', '.join(_SECTIONS)}, found "
            f"{override!r}{_near(keys[0], _SECTIONS)}."
        )
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise OptionError(f"the value of `{override}` is no valid YAML: {error}") from error
    target = recipe
    for depth, key in enumerate(keys[:-1]):
        if target.get(key) is None:
            target[key] = {}
        if not isinstance(target[key], dict):
            raise OptionError(f"`{'.'.join(keys[: depth + 1])}` is {target[key]!r}, so `{name}` cannot be set in it.")
        target[key] = dict(target[key])
        target = target[key]
    target[keys[-1]] = value


def _check(recipe: Mapping[str, Any], file: str) -> None:
    from climb_hf.training.vlm_recipe import VLM_TYPE, known_keys

    if recipe["model"].get("type") == VLM_TYPE:
        for section, keys in known_keys().items():
            refuse_unknown(recipe[section], keys, f"section `{section}` of `{file}`")
        return
    fields = dataclasses.fields(_arguments_class(recipe))
    training = {field.name for field in fields if field.init} - {"output_dir"}
    refuse_unknown(recipe["training"], training, f"section `training` of `{file}`")
    if is_contrastive(recipe):
        _check_pairs(recipe, file)
        return
    refuse_unknown(recipe["data"], _DATA, f"section `data` of `{file}`")
    configuration = _configuration_class(recipe["model"], file)
    known = {field.name for field in dataclasses.fields(configuration)}
    refuse_unknown(recipe["model"], known | set(_MODEL), f"section `model` of `{file}`")
    refuse_unknown(recipe["processor"], _processor_fields(configuration), f"section `processor` of `{file}`")
    _check_search(recipe.get("search") or {}, file)


def _check_search(search: Any, file: str) -> None:  # noqa: ANN401 - whatever the file holds
    for key, values in search.items() if isinstance(search, dict) else [(search, None)]:
        if not isinstance(values, list) or not values or str(key).partition(".")[0] not in _SECTIONS:
            raise OptionError(
                f"section `search` of `{file}` must hold lists of values by `section.key`, found {key!r}: {values!r}."
            )


def _check_pairs(recipe: Mapping[str, Any], file: str) -> None:
    from climb_hf.models import ClimbVisionConfig
    from climb_hf.models.dual_encoder import tower_fields

    refuse_unknown(recipe["data"], _PAIR_DATA, f"section `data` of `{file}`")
    refuse_unknown(recipe["model"], _PAIR_MODEL, f"section `model` of `{file}`")
    refuse_unknown(recipe["processor"], _processor_fields(ClimbVisionConfig), f"section `processor` of `{file}`")
    for kind in ("image", "text"):
        tower = recipe["model"].get(kind)
        if not isinstance(tower, dict):
            raise OptionError(f"section `model` of `{file}` must describe the tower `{kind}`, found {tower!r}.")
        own = ("tokenizer", "max_length") if kind == "text" else ()
        tower_fields(kind, {key: value for key, value in tower.items() if key not in own})


def _configuration_class(model: Mapping[str, Any], file: str) -> type:
    from transformers import CONFIG_MAPPING

    kind = model.get("type")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        known = [name for name in CONFIG_MAPPING if name.startswith("climb_")] or list(CONFIG_MAPPING)
        raise OptionError(
            f"section `model` of `{file}` must name the `type` of the model, found {kind!r}"
            f"{_near(str(kind), known)}; ours are {', '.join(known[:20])}."
        )
    return CONFIG_MAPPING[kind]


def _processor_fields(configuration: type) -> set[str]:
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    for mapping in (IMAGE_PROCESSOR_MAPPING, FEATURE_EXTRACTOR_MAPPING, PROCESSOR_MAPPING):
        if configuration not in mapping:
            continue
        found = mapping[configuration]
        choices = found.values() if isinstance(found, dict) else found if isinstance(found, tuple) else (found,)
        for processor in choices:
            if processor is not None:
                declared = getattr(getattr(processor, "valid_kwargs", None), "__annotations__", None)
                known = set(declared or inspect.signature(processor.__init__).parameters) - {"self", "kwargs"}
                return known | (
                    {"preset"} if hasattr(processor, "preset") or hasattr(processor, "from_preset") else set()
                )
    return set()


def refuse_unknown(found: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse keys that nothing would read.

    Args:
        found (`Mapping`): what was given.
        known (`Iterable[str]`): keys there are.
        where (`str`): place, for the message.

    Raises:
        OptionError: the first unknown key, with those that are near it.
    """
    known = sorted(known)
    for key in found:
        if key not in known:
            some = f"{', '.join(known[:40])}{' …' if len(known) > 40 else ''}" if known else "none"
            raise OptionError(f"{where} has the unknown key `{key}`{_near(str(key), known)}; known keys: {some}.")


def _near(name: str, known: Iterable[str]) -> str:
    found = get_close_matches(name, list(known), n=3)
    return f" (near: {', '.join(found)})" if found else ""
