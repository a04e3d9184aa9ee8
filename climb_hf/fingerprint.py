"""The cheap fingerprint of a source's code and raw data, which keys the cache."""

import hashlib
import inspect
import sys
from collections.abc import Iterable
from pathlib import Path

from climb_hf._version import __version__
from climb_hf.source import Source

__all__ = ["raw_fingerprint"]


def raw_fingerprint(source: Source, root: Path, base: str | None = None, tables: Iterable[Path] = ()) -> str:
    """Digest what a build depends on: package, source code and version, and the state of the raw tables.

    Contents are not read: names, sizes and modification times of the files the source names stand for them, so
    changed raw data is never served from an old cache.

    Args:
        source (`Source`): the source.
        root (`Path`): root folder of its raw data.
        base (`str`, *optional*): a digest to build upon.
        tables (`Iterable[Path]`, *optional*): further files that options name, such as a split list.

    Returns:
        `str`: 16 hexadecimal digits.
    """
    digest = hashlib.sha256(f"{__version__}\0{base}\0{source.name}\0{source.version}\0{root}".encode())
    for cls in type(source).__mro__:
        if issubclass(cls, Source) and cls is not Source:
            digest.update(inspect.getsource(sys.modules[cls.__module__]).encode())
    for path in (*source.fingerprint_files(root), *tables):
        stat = path.stat()
        name = path.relative_to(root) if path.is_relative_to(root) else path
        digest.update(f"{name.as_posix()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
