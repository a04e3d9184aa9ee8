"""Remembering what was parsed from a folder for as long as its files have not changed."""

import functools
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

__all__ = ["memoize_by_files", "memoize_file"]

_T = TypeVar("_T")
_P = ParamSpec("_P")
#: Folders or files remembered by each function.
_KEPT = 2


def memoize_by_files(*patterns: str) -> Callable[[Callable[[Path], _T]], Callable[[Path], _T]]:
    """Make a function of a folder remember its result until a file it reads changes.

    The folder and the path, size and modification time of the files that match `patterns` are the key; the results of
    two folders are kept in each process.

    Args:
        *patterns (`str`): glob patterns below the folder.

    Returns:
        A decorator for functions of one `Path`.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> count = memoize_by_files("*.txt")(lambda folder: len(list(folder.glob("*.txt"))))
        >>> before = count(folder)
        >>> _ = (folder / "a.txt").write_text("a")
        >>> before, count(folder)
        (0, 1)
    """

    def decorate(function: Callable[[Path], _T]) -> Callable[[Path], _T]:
        known: OrderedDict[tuple[object, ...], _T] = OrderedDict()

        @functools.wraps(function)
        def remembered(folder: Path) -> _T:
            files = sorted(path for pattern in patterns for path in folder.glob(pattern))
            key = (folder, *((path, path.stat().st_size, path.stat().st_mtime_ns) for path in files))
            if key not in known:
                known[key] = function(folder)
                while len(known) > _KEPT:
                    known.popitem(last=False)
            return known[key]

        return remembered

    return decorate


def memoize_file(function: Callable[Concatenate[Path, _P], _T]) -> Callable[Concatenate[Path, _P], _T]:
    """Make a reader of one file remember its last two results until the file changes.

    For tables whose records are read one after the other. Path, size and modification time and the other arguments,
    which must be hashable, are the key.

    Args:
        function: reads a file, whose path is the first argument.

    Returns:
        The same function, remembering.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "a.txt"
        >>> _ = file.write_text("one")
        >>> read = memoize_file(lambda path: [path.read_text()])
        >>> read(file) is read(file)
        True
    """
    known: OrderedDict[tuple[object, ...], _T] = OrderedDict()

    @functools.wraps(function)
    def remembered(path: Path, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        stat = path.stat()
        key = (path, stat.st_size, stat.st_mtime_ns, args, tuple(kwargs.items()))
        if key not in known:
            while len(known) >= _KEPT:  # before reading, so that a third table is never in memory
                known.popitem(last=False)
            known[key] = function(path, *args, **kwargs)
        known.move_to_end(key)
        return known[key]

    return remembered
