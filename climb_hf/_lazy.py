"""Module attributes that are imported when they are first used (PEP 562), so importing a package stays cheap."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazy_attributes"]


def lazy_attributes(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the `__getattr__` and `__dir__` of a package.

    Args:
        package (`str`): its `__name__`.
        modules (`Mapping[str, str]`): attribute -> dotted module that defines it; an attribute that is a submodule of
            the package maps to that submodule's own name.

    Returns:
        The two functions, to be assigned at module level.

    Example:
        >>> getattr_, dir_ = lazy_attributes("json", {"JSONDecoder": "json.decoder"})
        >>> getattr_("JSONDecoder").__name__, dir_()
        ('JSONDecoder', ['JSONDecoder'])
    """

    def getattr_(name: str) -> Any:  # noqa: ANN401 - any attribute
        if name not in modules:
            raise AttributeError(f"module `{package}` has no attribute {name!r}; it has {', '.join(sorted(modules))}")
        module = importlib.import_module(modules[name])
        return module if modules[name] == f"{package}.{name}" else getattr(module, name)

    def dir_() -> list[str]:
        return sorted(modules)

    return getattr_, dir_
