"""The one gate to optional packages: nothing else in the library checks whether a package is installed."""

import importlib
import importlib.util
from types import ModuleType

from climb_hf.errors import DependencyError

__all__ = ["is_available", "require"]


def is_available(module: str) -> bool:
    """Tell whether `module` can be imported, without importing it.

    Args:
        module (`str`): top-level module name, such as `"pydicom"`.

    Returns:
        `bool`: `True` if the import system finds it.

    Example:
        >>> is_available("json")
        True
    """
    return importlib.util.find_spec(module) is not None


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional module, or say which extra of climb-hf brings it.

    Args:
        module (`str`): dotted module name, such as `"pydicom"`.
        extra (`str`): the extra of climb-hf that installs it, such as `"dicom"`.

    Returns:
        The imported module.

    Raises:
        DependencyError: the package is not installed.

    Example:
        >>> require("json", extra="dicom").dumps([1])
        '[1]'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DependencyError(
            f"this needs the package `{module}`, which is not installed ({error}). "
            f"Install it with `pip install 'climb-hf[{extra}]'`."
        ) from error
