"""Synthetic raw copy of PTB-XL for the 23 diagnostic subclasses: the tree of `miniatures.ptbxl`, byte for byte.

The content is synthetic. Only what is expected differs: the subclasses of the diagnostic statements, likelihoods
ignored. A record whose statements hold no diagnosis (an atrial fibrillation alone, say) expects no class, `()`.
The Challenge layouts do not keep the subclasses, so there is no `layout` option.
"""

from pathlib import Path

from climb_hf.miniatures import _scp
from climb_hf.miniatures._common import Expected
from climb_hf.miniatures.ptbxl import write

__all__ = ["make"]


def make(root: Path, n: int = 32, seed: int = 0, *, with_benchmd: bool = False) -> list[Expected]:
    """Write a synthetic PTB-XL folder and tell the subclasses of its records.

    Args:
        root (`pathlib.Path`): folder to write into.
        n (`int`, *optional*, defaults to `32`): number of ECGs, 8 to 21,799; every subclass is in every split from
            92 on.
        seed (`int`, *optional*, defaults to `0`): seed of tables and signals.
        with_benchmd (`bool`, *optional*, defaults to `False`): also write `ptbxl_splits.csv` for these ids.

    Returns:
        `list[Expected]`: by ascending id; `classes` are subclass strings, `values` those of `miniatures.ptbxl`.

    Raises:
        OptionError: an option out of range.
    """
    return [
        Expected(
            str(ecg.ecg_id),
            ecg.split,
            str(ecg.patient),
            tuple(_scp.SUBCLASSES[name] for name in _scp.subclasses_of(ecg.codes)),
            values,
        )
        for ecg, values in write(root, n, seed, "native", with_benchmd)
    ]
