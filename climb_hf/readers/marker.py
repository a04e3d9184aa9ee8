"""The file that marks a folder as a synthetic copy: checksums of the publisher cannot hold there."""

import json
from pathlib import Path

__all__ = ["MARKER", "is_synthetic"]

#: Written by `climb_hf.miniature` beside the files that it names.
MARKER = ".climb_miniature.json"


def is_synthetic(path: Path) -> bool:
    """Tell whether a file was written by `climb_hf.miniature`, by the marker in its folder.

    Args:
        path (`Path`): a file.

    Returns:
        `bool`: `True` if the folder has a marker that names the file.

    Example:
        >>> is_synthetic(Path("nowhere/pathmnist.npz"))
        False
    """
    marker = path.parent / MARKER
    if not marker.is_file():
        return False
    try:
        return path.name in json.loads(marker.read_text(encoding="utf-8"))["files"]
    except (ValueError, KeyError, TypeError):
        return False
