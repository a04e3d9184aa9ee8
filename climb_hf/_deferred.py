"""Registration of model classes with the Auto classes of transformers, without importing the models.

A model module imports transformers, which may import its Auto classes, which run our registration: if that imported
the models, it would find the first of them half imported. So the mapping holds a promise, kept at the first look.
"""

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["register_later", "register_promise"]


@dataclass(frozen=True)
class _Promise:
    module: str
    name: str


class _Content(dict[Any, Any]):
    """A dictionary that imports a promised class when it is looked up."""

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401 - any class
        value = super().__getitem__(key)
        if isinstance(value, _Promise):
            value = self[key] = getattr(importlib.import_module(value.module), value.name)
        return value

    def __iter__(self) -> Iterator[Any]:  # without it, dict(content) would copy the promises
        return super().__iter__()

    def get(self, key: Any, default: Any = None) -> Any:  # noqa: ANN401 - any class
        return self[key] if key in self else default  # noqa: SIM401 - it is what this method is

    def values(self) -> Any:  # noqa: ANN401 - a list serves all readers
        return [self[key] for key in self]

    def items(self) -> Any:  # noqa: ANN401 - a list serves all readers
        return [(key, self[key]) for key in self]


def register_later(auto: Any, config: type, module: str, name: str) -> None:  # noqa: ANN401 - an Auto class
    """Register a model class for a configuration with an Auto class; it is imported when it is first looked up.

    Args:
        auto: an Auto class of transformers, such as `AutoModel`.
        config (`type`): the configuration class.
        module (`str`): dotted name of the module that defines the model.
        name (`str`): the model's class.
    """
    register_promise(auto._model_mapping, config, module, name)


def register_promise(mapping: Any, config: type, module: str, name: str) -> None:  # noqa: ANN401 - of an Auto class
    """Register a class for a configuration in a mapping of an Auto class; it is imported when it is first looked up.

    Args:
        mapping: a lazy mapping of transformers, such as `PROCESSOR_MAPPING`.
        config (`type`): the configuration class.
        module (`str`): dotted name of the module that defines the class.
        name (`str`): the class.
    """
    if not isinstance(mapping._extra_content, _Content):
        mapping._extra_content = _Content(mapping._extra_content)
    mapping._extra_content[config] = _Promise(module, name)
