"""Synthetic raw copies of the sources, in the on-disk formats of their publishers.

A miniature is a small folder that looks to every reader like the real download: same tree, file names, table headers,
quoting, data types, units and compression, the known oddities of the release included. Its content is drawn by a
seeded generator and depends on the labels, so a small model can learn it. **All of it is synthetic**: no pixel, sample
or row comes from a patient. Quickstart, dry runs and tests use miniatures; no source imports them.

There is one maker per source, `climb_hf.miniatures.<name>.make(root, n=32, seed=0, **options)`; `miniature` finds it.
"""

import difflib
import importlib
import json
import pkgutil
import shutil
from collections.abc import Callable
from inspect import signature  # by name: the attribute `inspect` of this package is a maker
from os import PathLike
from pathlib import Path

from climb_hf.errors import OptionError, UnknownSourceError
from climb_hf.miniatures._common import Expected, check_count
from climb_hf.readers.marker import MARKER

__all__ = ["RUN_FOLDER", "Expected", "available", "is_miniature", "miniature"]

#: Folder of the synthetic raw copies of a dry run, below that of the run.
RUN_FOLDER = "miniature"


def available() -> tuple[str, ...]:
    """Names of the sources that have a maker, sorted.

    Returns:
        `tuple[str, ...]`: the names `miniature` accepts.

    Example:
        >>> "brain_tumor" in available()
        True
    """
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")))


def miniature(name: str, root: str | PathLike[str], n: int = 32, seed: int = 0, **options: object) -> list[Expected]:
    """Write a synthetic raw copy of a source and tell what a correct reader finds in it.

    The same arguments always write the same bytes. A folder written by an earlier call is replaced; any other folder
    that is not empty is refused.

    Args:
        name (`str`): source, one of `available()`.
        root (`str` or `os.PathLike`): folder to write into; made if absent, and the `data_dir` to load from.
        n (`int`, *optional*, defaults to `32`): number of records (images, videos, graphs or ECGs), at least 8.
        seed (`int`, *optional*, defaults to `0`): other seeds give other content in the same format.
        options: options of the maker, such as `layout="kaggle"`; see its docstring.

    Returns:
        `list[Expected]`: one entry per usable record, in the order in which the publisher lists them.

    Raises:
        UnknownSourceError: no maker of that name.
        OptionError: an option the maker does not know or a value it does not allow, or a folder that holds files which
            no earlier call wrote.
        DependencyError: the format needs a package that is not installed.

    Example:
        >>> import tempfile
        >>> folder = tempfile.TemporaryDirectory()
        >>> expected = miniature("proteins", folder.name, n=8)
        >>> expected[0].id, expected[0].classes
        ('1', ('Enzyme',))
        >>> folder.cleanup()
    """
    make = _maker(name, options)
    check_count(name, n, seed)
    folder = Path(root)
    _empty(folder)
    try:
        expected = make(folder, n=n, seed=seed, **options)
    except BaseException:
        for child in folder.iterdir():  # the folder was empty before: all of it is ours
            shutil.rmtree(child) if child.is_dir() else child.unlink()
        raise
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    marker = {"miniature": name, "n": n, "seed": seed, "synthetic": True, "files": files}
    (folder / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8", newline="\n")
    return expected


def is_miniature(folder: str | PathLike[str]) -> bool:
    """Whether a folder is a synthetic raw copy written by `miniature`, so that what comes of it can be called so.

    Args:
        folder (`str` or `os.PathLike`): a raw folder, which need not exist.

    Returns:
        `bool`: whether the folder, or the one that holds it, bears the mark of a miniature.

    Example:
        >>> is_miniature("no/such/folder")
        False
    """
    path = Path(folder)
    return any((place / MARKER).is_file() for place in (path, path.parent))


def _maker(name: str, options: dict[str, object]) -> Callable[..., list[Expected]]:
    """The `make` of a source, if it exists and knows the options."""
    names = available()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3) or list(names)
        raise UnknownSourceError(
            f"expected a source that has a miniature, found `{name}`. Near names: {', '.join(near)}. "
            "`climb_hf.miniatures.available()` lists all."
        )
    make: Callable[..., list[Expected]] = importlib.import_module(f"{__name__}.{name}").make
    known = [p for p in signature(make).parameters if p not in ("root", "n", "seed")]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise OptionError(
            f"{name}: the miniature has no option `{unknown[0]}`. "
            f"Use one of: {', '.join(f'`{k}`' for k in known) or 'none, it takes no options'}."
        )
    return make


def _empty(folder: Path) -> None:
    """Make `folder` an empty folder, deleting only what an earlier call listed as its own."""
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"expected a folder for the miniature, found the file `{folder}`. Choose another `root`.")
    folder.mkdir(parents=True, exist_ok=True)
    own = _listed(folder)
    found = [p for p in sorted(folder.rglob("*")) if not p.is_dir() or p.is_symlink()]
    foreign = [p for p in found if p.relative_to(folder).as_posix() not in own]
    if foreign:
        raise OptionError(
            f"expected an empty or new folder for the miniature, found {len(foreign)} file(s) in `{folder}` that no "
            f"miniature wrote (first: `{foreign[0].relative_to(folder).as_posix()}`). Choose another `root`, or empty "
            "the folder yourself."
        )
    for path in found:
        path.unlink()
    for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        path.rmdir()


def _listed(folder: Path) -> set[str]:
    """Relative paths that the marker file of an earlier call names, with the marker itself."""
    marker = folder / MARKER
    if not marker.is_file():
        return set()
    try:
        files = json.loads(marker.read_text(encoding="utf-8"))["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise OptionError(
            f"expected the file list of an earlier miniature in `{marker}`, found something else ({error!r}). "
            "Choose another `root`, or empty the folder yourself."
        ) from error
    return {MARKER, *map(str, files)}
