"""Byte-identical files: found by size first, so that only candidates are read."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

__all__ = ["file_digest", "first_copies"]


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file's content as hexadecimal digits.

    Args:
        path (`Path`): the file; it is read in blocks.
        algorithm (`str`, *optional*, defaults to `"sha256"`): or `"md5"`, where a publisher gives no other.

    Returns:
        `str`.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def first_copies(root: Path, files: Sequence[str]) -> dict[str, str]:
    """Map every later copy of a content to its first file.

    Args:
        root (`Path`): folder the paths are relative to.
        files (`Sequence[str]`): relative paths, the first copy before the later ones; missing files are ignored.

    Returns:
        `dict[str, str]`: later copy -> first copy; a file with a content of its own is absent.

    Example:
        >>> import pathlib, tempfile
        >>> root = pathlib.Path(tempfile.mkdtemp())
        >>> _ = [(root / name).write_text(text) for name, text in (("a", "x"), ("b", "y"), ("c", "x"))]
        >>> first_copies(root, ["a", "b", "c"])
        {'c': 'a'}
    """
    by_size: defaultdict[int, list[str]] = defaultdict(list)
    for file in files:
        path = root / file
        if path.is_file():
            by_size[path.stat().st_size].append(file)
    copies = {}
    for candidates in by_size.values():
        seen: dict[str, str] = {}
        for file in candidates if len(candidates) > 1 else ():
            first = seen.setdefault(file_digest(root / file), file)
            if first != file:
                copies[file] = first
    return copies
