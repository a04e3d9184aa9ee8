"""Remembering what was parsed from a folder for as long as its files have not changed."""

import functools
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = ["memoize_by_files"]

_T = TypeVar("_T")
#: Folders remembered by each function.
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
