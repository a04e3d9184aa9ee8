"""Which sources exist: the modules of `dataset_scripts` and the entry points `climb_hf.sources` of other packages."""

import difflib
import functools
import importlib
import pkgutil
import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from types import ModuleType

from climb_hf.errors import SchemaError, UnknownSourceError
from climb_hf.source import FAMILY_OPTIONS, Source

__all__ = ["get_source", "list_sources", "near_names", "source_names", "unknown_source"]

_REQUIRED = (
    "title", "homepage", "citation", "license", "redistributable", "access", "how_to_get", "modality", "family",
    "domains", "tasks", "published_splits", "root_markers", "fingerprint_patterns",
)  # fmt: skip


def _modules() -> Iterator[ModuleType]:
    package = importlib.import_module("climb_hf.dataset_scripts")
    for info in sorted(pkgutil.iter_modules(package.__path__), key=lambda info: info.name):
        yield importlib.import_module(f"{package.__name__}.{info.name}")
    for point in sorted(entry_points(group="climb_hf.sources"), key=lambda point: point.name):
        try:
            yield importlib.import_module(point.value)
        except ImportError as error:
            raise SchemaError(
                f"the source plug-in `{point.name}` ({point.value}) could not be imported: {error}. "
                "Repair or uninstall the package that declares it."
            ) from error


def _check(cls: type[Source], known: dict[str, Source]) -> None:
    where = f"{cls.__module__}.{cls.__qualname__}"
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise SchemaError(f"{where}: `name` must be lower_snake_case, got {name!r}.")
    if name in known:
        raise SchemaError(f"{where}: the source name `{name}` is taken by {type(known[name]).__module__}.")
    missing = [attribute for attribute in _REQUIRED if not hasattr(cls, attribute)]
    if missing:
        raise SchemaError(f"{where}: set the class attributes {missing}.")
    if cls.family not in FAMILY_OPTIONS:
        raise SchemaError(f"{where}: `family` must be one of {sorted(FAMILY_OPTIONS)}, got {cls.family!r}.")


@functools.cache
def _sources() -> dict[str, Source]:
    known: dict[str, Source] = {}
    for module in _modules():
        for value in vars(module).values():
            is_own = isinstance(value, type) and issubclass(value, Source) and value.__module__ == module.__name__
            if is_own and "name" in vars(value):
                _check(value, known)
                known[value.name] = value()
    return dict(sorted(known.items()))


def source_names() -> tuple[str, ...]:
    """Return the names of all registered sources, sorted.

    Example:
        >>> "brain_tumor" in source_names()
        True
    """
    return tuple(_sources())


def near_names(name: str, known: tuple[str, ...]) -> str:
    """Return the part of an error message that offers names close to a wrong one, or lists all."""
    close = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(f'`{c}`' for c in close)}?" if close else f"Known: {', '.join(known)}."


def unknown_source(name: str | None) -> UnknownSourceError:
    """Build the error for a missing or unknown source name."""
    known = source_names()
    example = "`datasets.load_dataset('climb', 'brain_tumor', data_dir=...)`"
    if not name or name == "default":
        return UnknownSourceError(
            f"expected the name of a source as second argument, got none. Write {example}. "
            f"Sources: {', '.join(known)}. `climb sources` shows them with access and size."
        )
    return UnknownSourceError(
        f"unknown source `{name}`. {near_names(name, known)} `climb sources` lists all; an example is {example}."
    )


def get_source(name: str) -> Source:
    """Return a source by its exact name.

    Args:
        name (`str`): such as `"ptbxl"`.

    Returns:
        `Source`: with the facts as attributes: `title`, `modality`, `family`, `domains`, `tasks`, `license`, `access`,
        `homepage`, `citation`, `redistributable`, `classes`, `concepts`, `published_splits`.

    Raises:
        UnknownSourceError: no such source; the message offers near names.

    Example:
        >>> get_source("ptbxl").modality
        'ECG'
    """
    if name not in _sources():
        raise unknown_source(name)
    return _sources()[name]


def list_sources(
    modality: str | None = None, family: str | None = None, access: str | None = None, benchmark: str | None = None
) -> list[str]:
    """Return the names of the sources that fit, sorted.

    Args:
        modality (`str`, *optional*): such as `"ECG"`; letter case is ignored.
        family (`str`, *optional*): such as `"image"`.
        access (`str`, *optional*): such as `"open"`.
        benchmark (`str`, *optional*): `"climb"` or `"openpmc"`: the sources of that paper's tables.

    Returns:
        `list[str]`.

    Example:
        >>> list_sources(family="graph")
        ['abcd', 'abide', 'ppi', 'ppmi', 'proteins']
    """
    wanted = {"modality": modality, "family": family, "access": access, "benchmark": benchmark}
    return [
        name
        for name, source in _sources().items()
        if all(value is None or getattr(source, key).lower() == value.lower() for key, value in wanted.items())
    ]
