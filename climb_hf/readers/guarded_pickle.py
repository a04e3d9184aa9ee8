"""A `.npy` file that holds a pickled dictionary of arrays, read without running anything the file asks for.

An object array is stored as a pickle, and a pickle is a program. Here the program may name the few functions that
NumPy writes into such files, and gets stand-ins for them, written in Python: they take the bytes, check shape, type
and length, and make plain arrays from them. NumPy's own state setters, which trust what they are given, are never
called. Any other global is refused by name, before anything of it is imported.
"""

import math
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError

__all__ = ["read_pickled_npy"]

_PLAIN = re.compile(r"[biuf][1248]|f16|[SU]\d{1,6}|O8?")
_MAX_DEPTH = 6  # a dictionary of arrays of texts needs 3
_MAX_ITEMS = 1_000_000
_ADVICE = "Get the file from its publisher again; do not unpickle it by other means unless you trust its origin."


def read_pickled_npy(path: str | Path) -> dict[str, Any]:
    """Read the dictionary that `np.save(path, dictionary)` wrote.

    Args:
        path (`str` or `Path`): a `.npy` file with a 0-dimensional object array.

    Returns:
        `dict[str, Any]`: texts as keys; values are arrays of numbers (read-only), texts or plain objects, numbers,
        texts, `None`, and lists and dictionaries of these.

    Raises:
        CorruptFileError: no such file; not a dictionary in an object array; truncated; a global that is not allowed
            (the message names it); an array whose bytes contradict its shape.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a.npy"
        >>> np.save(file, {"label": np.array([0, 1]), "site": np.array(["NYU", "USM"])})
        >>> found = read_pickled_npy(file)
        >>> found["label"].tolist(), found["site"].tolist()
        ([0, 1], ['NYU', 'USM'])
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            _check_header(stream, path)
            content = _plain(_Unpickler(stream).load())
    except OSError as error:
        raise CorruptFileError(f"`{path}` cannot be read ({error.strerror}). Fetch it again.") from error
    except _Refused as error:
        raise CorruptFileError(f"`{path}`: {error} {_ADVICE}") from error
    except Exception as error:  # a damaged pickle raises whatever its opcodes run into
        raise CorruptFileError(
            f"`{path}`: expected a pickled dictionary of arrays, found something that cannot be read as one "
            f"({type(error).__name__}: {error}). {_ADVICE}"
        ) from error
    if isinstance(content, np.ndarray) and content.dtype.kind == "O" and content.shape == ():
        content = content[()]
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise CorruptFileError(f"`{path}`: expected a dictionary with texts as keys, found {type(content).__name__}.")
    return content


class _Refused(Exception):
    """What the file asks for is not allowed."""


def _check_header(stream: BinaryIO, path: Path) -> None:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if dtype.kind != "O" or shape != ():
        raise CorruptFileError(
            f"`{path}`: expected a pickled dictionary (a 0-dimensional object array), found {dtype} of shape {shape}."
        )


class _Global:
    """A name that the pickle may use; calling it is all that can be done with it."""

    __slots__ = ("_function", "name")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name, self._function = name, function

    def __call__(self, *args: Any) -> Any:  # noqa: ANN401 - what the pickle passes
        return self._function(*args)

    def __setstate__(self, state: object) -> None:
        raise _Refused(f"the pickle tries to change `{self.name}`, which is not allowed.")


class _Dtype:
    """Stands for `numpy.dtype`: a plain type of numbers, texts or objects, and its byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: object, *flags: object) -> None:
        if not isinstance(code, str) or not _PLAIN.fullmatch(code):
            raise _Refused(f"the pickle holds an array of the type {code!r}; only plain types are allowed.")
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, order, *composite = state
        if order not in ("<", ">", "=", "|") or any(part is not None for part in composite[:3]):
            raise _Refused("the pickle holds an array of a composite type; only plain types are allowed.")
        self.order = order

    @property
    def dtype(self) -> np.dtype:
        """The NumPy type, made from the checked code alone."""
        return np.dtype(self.code).newbyteorder(cast(Any, self.order))


class _Array:
    """Stands for `numpy.ndarray` between its creation and its state."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, is_fortran, content = state
        self.value = _array(content, dtype, shape, "F" if is_fortran is True else "C")


def _array(content: Any, dtype: object, shape: object, order: object) -> NDArray[Any]:  # noqa: ANN401
    """Make an array of checked shape from its bytes, or from its list of objects."""
    if not isinstance(dtype, _Dtype) or order not in ("C", "F"):
        raise _Refused("the pickle holds an array whose type or order is not stated as NumPy does.")
    if not isinstance(shape, tuple) or len(shape) > 4 or not all(type(n) is int and n >= 0 for n in shape):
        raise _Refused(f"the pickle holds an array of the shape {shape!r}; expected up to four lengths.")
    count, plain = math.prod(shape), dtype.dtype
    if plain.kind == "O":
        if not isinstance(content, list) or len(content) != count:
            raise _Refused(f"the pickle holds an object array of shape {shape} without its {count} objects.")
        objects = np.empty(count, dtype=object)
        for position, item in enumerate(content):  # slicing would take nested sequences apart
            objects[position] = item
        return objects.reshape(shape, order=order)
    if not isinstance(content, bytes | bytearray) or len(content) != count * plain.itemsize:
        raise _Refused(f"the pickle holds an array of shape {shape} and type {plain} without its bytes.")
    values = np.frombuffer(content, dtype=plain) if count else np.empty(0, dtype=plain)
    return values.reshape(shape, order=order)


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    if kind is not _NDARRAY:
        raise _Refused("the pickle makes an array of another class than `numpy.ndarray`.")
    return _Array()


def _scalar(dtype: object, content: object = b"") -> Any:  # noqa: ANN401 - a number or a text
    return _array(content, dtype, (), "C")[()]


def _from_buffer(content: object, dtype: object, shape: object, order: object = "C") -> NDArray[Any]:
    return _array(content, dtype, shape, order)


def _encode(text: object, encoding: object = "latin1") -> bytes:
    """Stands for `_codecs.encode`, which old pickles call to write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused("the pickle encodes text in another way than NumPy does.")
    return text.encode("latin-1")


def _no_bytes(*args: object) -> bytes:
    """Stands for `bytes`, which old pickles call for an empty text of bytes."""
    if args:
        raise _Refused("the pickle makes bytes in another way than NumPy does.")
    return b""


def _no_call(*args: object) -> None:
    raise _Refused("the pickle calls `numpy.ndarray` directly, which is not allowed.")


_NDARRAY = _Global("numpy.ndarray", _no_call)
_ALLOWED = {
    "numpy.ndarray": _NDARRAY,
    "numpy.dtype": _Global("numpy.dtype", _Dtype),
    "_codecs.encode": _Global("_codecs.encode", _encode),
    "__builtin__.bytes": _Global("bytes", _no_bytes),
    "builtins.bytes": _Global("bytes", _no_bytes),
}
for _core in ("numpy.core", "numpy._core"):  # the package was renamed in NumPy 2
    _ALLOWED[f"{_core}.multiarray._reconstruct"] = _Global("_reconstruct", _reconstruct)
    _ALLOWED[f"{_core}.multiarray.scalar"] = _Global("scalar", _scalar)
    _ALLOWED[f"{_core}.numeric._frombuffer"] = _Global("_frombuffer", _from_buffer)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - a stand-in
        found = _ALLOWED.get(f"{module}.{name}")
        if found is None:
            raise _Refused(f"the pickle asks for `{module}.{name}`, which is not allowed: it could run any code.")
        return found

    def persistent_load(self, pid: object) -> Any:  # noqa: ANN401 - never returns
        raise _Refused("the pickle refers to objects outside of the file, which is not allowed.")


def _plain(content: Any) -> Any:  # noqa: ANN401 - plain values and stand-ins
    """Replace stand-ins by their arrays, and make sure that nothing but plain values is left."""
    left = _MAX_ITEMS

    def walk(item: Any, depth: int) -> Any:  # noqa: ANN401
        nonlocal left
        left -= 1
        if depth > _MAX_DEPTH or left < 0:
            raise _Refused(f"the pickle nests more than {_MAX_DEPTH} levels or {_MAX_ITEMS:,} values.")
        if isinstance(item, _Array):
            if item.value is None:
                raise _Refused("the pickle holds an array without content.")
            return walk(item.value, depth)
        if isinstance(item, np.ndarray):
            if item.dtype.kind != "O":
                return item
            changed = np.empty(item.size, dtype=object)
            for position, value in enumerate(item.ravel()):
                changed[position] = walk(value, depth + 1)
            return changed.reshape(item.shape)
        if isinstance(item, dict):
            return {walk(key, depth + 1): walk(value, depth + 1) for key, value in item.items()}
        if isinstance(item, list | tuple):
            return type(item)(walk(value, depth + 1) for value in item)
        if item is None or isinstance(item, bool | int | float | str | bytes | np.generic):
            return item
        raise _Refused(f"the pickle holds a {type(item).__name__}; only arrays and plain values are allowed.")

    return walk(content, 0)
