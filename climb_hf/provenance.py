"""Where a number came from: versions, and a digest of the recipe that is the same on every machine."""

import dataclasses
import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from climb_hf._version import __version__

__all__ = ["clean_recipe", "provenance", "recipe_hash"]

_PACKAGES = ("torch", "transformers", "datasets", "numpy")
#: Keys whose value is a secret; `max_tokens` or `cls_token` are none.
_SECRET_KEY = re.compile(
    r"(.*(hub|hf|api|auth|access|refresh|bearer|wandb|kaggle).*)?token"
    r"|.*(passw|secret|api_?key|access_?key|credential|authori[sz]ation).*",
    re.IGNORECASE,
)
_LOCAL_PATH = re.compile(r"(/|~|[A-Za-z]:\\|\\\\).+")


def provenance() -> dict[str, str]:
    """Return the versions that a number depends on.

    Returns:
        `dict[str, str]`: of climb_hf, torch, transformers, datasets, numpy and python; packages that are not installed
        are left out. Nothing is imported.

    Example:
        >>> sorted(provenance())
        ['climb_hf', 'datasets', 'numpy', 'python', 'torch', 'transformers']
    """
    versions = {"climb_hf": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**versions, "python": platform.python_version()}


def clean_recipe(recipe: Any) -> Any:  # noqa: ANN401 - nested plain values, or a dataclass
    """Return a recipe as it may be published: plain values, without secrets and local paths.

    Keys that name a secret (token, password, API key …) are dropped, absolute local paths are cut to their last part:
    two machines with the same recipe publish the same text.

    Args:
        recipe (`dict` or dataclass): the recipe, nested as deep as it likes.

    Returns:
        The cleaned copy, of JSON values only.

    Example:
        >>> clean_recipe({"lr": 1e-4, "hub_token": "hf_x", "data_dir": "/home/someone/raw/ptb-xl"})
        {'lr': 0.0001, 'data_dir': 'ptb-xl'}
    """
    if dataclasses.is_dataclass(recipe) and not isinstance(recipe, type):
        recipe = dataclasses.asdict(recipe)
    if isinstance(recipe, Mapping):
        return {str(key): clean_recipe(value) for key, value in recipe.items() if not _SECRET_KEY.fullmatch(str(key))}
    if isinstance(recipe, list | tuple):
        return [clean_recipe(value) for value in recipe]
    if recipe is None or isinstance(recipe, bool | int | float):
        return recipe
    text = os.fspath(recipe) if isinstance(recipe, os.PathLike) else str(recipe)
    return re.split(r"[/\\]", text.rstrip("/\\"))[-1] if _LOCAL_PATH.fullmatch(text) else text


def recipe_hash(recipe: Any) -> str:  # noqa: ANN401 - nested plain values, or a dataclass
    """Digest what a recipe sets, the same on every machine: of `clean_recipe`, whatever the order of its keys.

    The name and description of a recipe do not count.

    Args:
        recipe (`dict` or dataclass): the recipe.

    Returns:
        `str`: 16 hexadecimal digits.

    Example:
        >>> recipe_hash({"lr": 1e-4, "epochs": 3}) == recipe_hash({"epochs": 3, "lr": 1e-4, "hub_token": "hf_x"})
        True
    """
    content = clean_recipe(recipe)
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if key not in ("name", "description")}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
