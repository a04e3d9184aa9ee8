"""Synthetic raw copy of LC25000 for its lung half: the drawn pictures of `lc25000`.

None of them comes from a patient. The other half lies beside it, one picture per class, as in the archive.
"""

from pathlib import Path

from climb_hf.miniatures._common import Expected, check_count
from climb_hf.miniatures.lc25000 import write_pictures

__all__ = ["make"]

_FOLDERS = ("lung_n", "lung_aca", "lung_scc")
_OTHERS = ("colon_n", "colon_aca")


def make(
    root: Path, n: int = 32, seed: int = 0, *, layout: str = "official", with_clusters: bool = False
) -> list[Expected]:
    """Write a synthetic LC25000 folder.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of lung pictures, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of the content.
        layout (`str`, *optional*, defaults to `"official"`): as of the miniature of `lc25000`.
        with_clusters (`bool`, *optional*, defaults to `False`): likewise.

    Returns:
        `list[Expected]`: by class in the order of the source, then by number; as of the miniature of `lc25000`.

    Raises:
        OptionError: an option out of range.
    """
    check_count("lc25000_lung", n, seed)
    write_pictures(root, len(_OTHERS), seed, "lc25000_lung", _OTHERS, layout, with_clusters)
    return write_pictures(root, n, seed, "lc25000_lung", _FOLDERS, layout, with_clusters)
