"""Folders of patients: which are there, and which of their files no table lists. Names only, nothing is opened."""

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from climb_hf.readers.tables import is_junk

__all__ = ["subfolders", "unlisted_files"]


def subfolders(root: Path, folders: Iterable[str], prefix: str = "") -> dict[str, str]:
    """Map the name of every folder inside some folders to the folder that holds it.

    Args:
        root (`Path`): what the paths are relative to.
        folders (`Iterable[str]`): relative paths; those that do not exist are passed over, the first holder wins.
        prefix (`str`, *optional*, defaults to `""`): what the names begin with.

    Returns:
        `dict[str, str]`: name -> relative path of its holder, `""` for the root itself.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "train" / "patient1").mkdir(parents=True)
        >>> subfolders(root, ["train", "valid"], "patient")
        {'patient1': 'train'}
    """
    found: dict[str, str] = {}
    for folder in folders:
        if (root / folder).is_dir():
            with os.scandir(root / folder) as entries:
                names = sorted(e.name for e in entries if e.name.startswith(prefix) and e.is_dir())
            for name in names:
                found.setdefault(name, folder)
    return found


def unlisted_files(root: Path, folders: Iterable[str], suffix: str, listed: Collection[str]) -> Iterator[str]:
    """Walk folders and name the files of a suffix that are not listed, litter left out.

    Args:
        root (`Path`): what the paths are relative to.
        folders (`Iterable[str]`): relative paths of the folders to walk.
        suffix (`str`): such as `".jpg"`, in any letter case.
        listed (`Collection[str]`): relative paths that a table lists; a set.

    Returns:
        `Iterator[str]`: relative paths, sorted within each folder.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "a").mkdir()
        >>> _ = [(root / "a" / name).write_text("") for name in ("1.jpg", "2.jpg", "index.html")]
        >>> list(unlisted_files(root, ["a"], ".jpg", {"a/1.jpg"}))
        ['a/2.jpg']
    """
    for folder in folders:
        pending = [folder]
        while pending:
            place = pending.pop()
            with os.scandir(root / place) as entries:
                items = sorted((entry.name, entry.is_dir()) for entry in entries if not is_junk(entry.name))
            pending += [f"{place}/{name}" for name, is_folder in reversed(items) if is_folder]
            for name, is_folder in items:
                if not is_folder and name.lower().endswith(suffix) and f"{place}/{name}" not in listed:
                    yield f"{place}/{name}"
