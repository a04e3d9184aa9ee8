"""Files of a folder tree by name, for sources whose pictures users keep in folders of their own choice."""

import os
from collections.abc import Sequence
from pathlib import Path

from climb_hf.readers.tables import is_junk

__all__ = ["files_by_name"]


def files_by_name(root: Path, suffixes: Sequence[str]) -> dict[str, list[str]]:
    """Find the files below a folder and key them by their lower-cased name.

    Args:
        root (`Path`): the folder; junk and hidden folders below it are passed over.
        suffixes (`Sequence[str]`): lower-case endings that count, such as `(".png", ".jpg")`.

    Returns:
        `dict[str, list[str]]`: lower-cased name -> paths relative to `root`, the shallowest first, then by name; in
        the order of the first path.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "b").mkdir()
        >>> for name in ("b/A.JPG", "a.jpg", ".DS_Store"):
        ...     _ = (root / name).write_bytes(b"")
        >>> files_by_name(root, (".jpg",))
        {'a.jpg': ['a.jpg', 'b/A.JPG']}
    """
    endings = tuple(suffixes)
    paths = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and not is_junk(name)]
        inside = Path(folder).relative_to(root)
        paths += [(inside / name).as_posix() for name in files if name.lower().endswith(endings) and not is_junk(name)]
    found: dict[str, list[str]] = {}
    for path in sorted(paths, key=lambda path: (path.count("/"), path)):
        found.setdefault(path.rpartition("/")[2].lower(), []).append(path)
    return found
