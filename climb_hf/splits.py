"""Group-wise splits that depend on the group's name alone: no patient in two splits, and no patient ever moves.

A group's place is a hash of (seed, group), so a partial download, another order of the files or records added later
leave every group where it was. Where a class is so rare that chance could keep it out of a split, `stratified_split`
cuts the same order of hashes inside each stratum of a published table. `draw_per_class` is another thing: it rebuilds
the image-level draw of published benchmarks.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence

from climb_hf.errors import SplitError

__all__ = [
    "SPLITS",
    "carve_validation",
    "check_disjoint",
    "draw_per_class",
    "group_fraction",
    "group_split",
    "stratified_split",
]

#: Split names, in the order in which they are handed out.
SPLITS = ("train", "validation", "test")


def group_fraction(group: str, seed: int = 42, salt: str = "split") -> float:
    """Map a group to a number in [0, 1) that is uniform over groups and independent between salts.

    Args:
        group (`str`): patient, lesion or other leakage key.
        seed (`int`, *optional*, defaults to `42`): another seed gives another, independent split.
        salt (`str`, *optional*, defaults to `"split"`): keeps draws for different purposes apart.

    Returns:
        `float`: a number in [0, 1).

    Example:
        >>> group_fraction("patient-7") == group_fraction("patient-7")
        True
    """
    digest = hashlib.sha256(f"{salt}\0{seed}\0{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def group_split(group: str, fractions: Mapping[str, float], seed: int = 42) -> str:
    """Return the split of a group: the hash of (seed, group) laid against the cumulated fractions.

    Args:
        group (`str`): patient, lesion or other leakage key.
        fractions (`Mapping[str, float]`): share of each split; they sum to 1.
        seed (`int`, *optional*, defaults to `42`): seed of the split.

    Returns:
        `str`: a key of `fractions`.

    Raises:
        SplitError: the fractions do not sum to 1.

    Example:
        >>> group_split("patient-7", {"train": 1.0})
        'train'
    """
    _check_fractions(fractions)
    place, bound, split = group_fraction(group, seed), 0.0, ""
    for split, share in fractions.items():
        bound += share
        if place < bound:
            return split
    return split  # the last one where rounding leaves the bound just below the place


def stratified_split(strata: Mapping[str, str], fractions: Mapping[str, float], seed: int = 42) -> dict[str, str]:
    """Split groups so that every stratum is shared out by the fractions.

    The groups of a stratum are ordered by `group_fraction` and cut into consecutive runs, one per split. A run is its
    share of the stratum rounded down or up; what rounding leaves goes to the splits that are furthest below their
    share of all groups so far, so small strata do not add up to a wrong total. Unlike `group_split`, the result
    depends on which groups exist: give all groups of the published table, not those whose files are there.

    Args:
        strata (`Mapping[str, str]`): stratum of every group; the order does not matter.
        fractions (`Mapping[str, float]`): share of each split; they sum to 1.
        seed (`int`, *optional*, defaults to `42`): another seed gives another split.

    Returns:
        `dict[str, str]`: split of every group, in the order of `strata`.

    Raises:
        SplitError: the fractions do not sum to 1.

    Example:
        >>> strata = {f"p{i}": "rare" if i < 4 else "common" for i in range(40)}
        >>> split_of = stratified_split(strata, {"train": 0.75, "test": 0.25})
        >>> [sum(split_of[g] == "test" for g in strata if strata[g] == s) for s in ("rare", "common")]
        [1, 9]
    """
    _check_fractions(fractions)
    members = defaultdict(list)
    for group, stratum in strata.items():
        members[stratum].append(group)
    n_seen, placed, split_of = 0, dict.fromkeys(fractions, 0), {}
    for stratum in sorted(members):
        groups = sorted(members[stratum], key=lambda group: (group_fraction(group, seed), group))
        n_seen += len(groups)
        counts = {split: math.floor(share * len(groups) + 1e-9) for split, share in fractions.items()}
        lacking = {split: share * n_seen - placed[split] - counts[split] for split, share in fractions.items()}
        n_left = len(groups) - sum(counts.values())
        for split in sorted(lacking, key=lambda split: -round(lacking[split], 9))[:n_left]:
            counts[split] += 1
        start = 0
        for split, count in counts.items():
            split_of.update(dict.fromkeys(groups[start : start + count], split))
            placed[split] += count
            start += count
    return {group: split_of[group] for group in strata}


def _check_fractions(fractions: Mapping[str, float]) -> None:
    if abs(sum(fractions.values()) - 1.0) > 1e-9:
        raise SplitError(f"split fractions must sum to 1, got {dict(fractions)}; correct the source's `fractions`.")


def carve_validation(split: str, group: str, share: float, seed: int = 42) -> str:
    """Move a share of the train groups to `validation`; other splits are left as they are.

    Args:
        split (`str`): the record's split.
        group (`str`): its leakage key.
        share (`float`): share of the train groups, in [0, 1).
        seed (`int`, *optional*, defaults to `42`): seed of the draw, independent of the hash split's own.

    Returns:
        `str`: `"validation"` or `split`.
    """
    moved = share > 0 and split == "train" and group_fraction(group, seed, salt="validation") < share
    return "validation" if moved else split


def check_disjoint(rows: Iterable[tuple[str, str]], source: str) -> None:
    """Raise if a group stands in two splits.

    Args:
        rows (`Iterable[tuple[str, str]]`): (group, split) of every record.
        source (`str`): name for the message.

    Raises:
        SplitError: naming the first such group and its splits.
    """
    seen: dict[str, str] = {}
    for group, split in rows:
        other = seen.setdefault(group, split)
        if other != split:
            raise SplitError(
                f"{source}: expected every group in one split, found `{group}` in both `{other}` and `{split}`. "
                "The default split must not leak; correct the source's `group` or `split`."
            )


def draw_per_class(classes: Sequence[Hashable], fraction: float = 0.8, seed: int = 0) -> list[str]:
    """Split records class by class as BenchMD and the CLIMB paper do where a publisher has no split.

    From each class, `int(fraction * count)` records are drawn without replacement for training by NumPy's legacy
    generator, seeded afresh for every class; this is what pandas' `sample(n, random_state=seed)` draws. The rest is
    the test part. The draw goes by position, so it is the published one only for the publisher's complete table in its
    own order, and it knows nothing of patients: it is image-level.

    Args:
        classes (`Sequence`): class of each record, in the order of the publisher's table.
        fraction (`float`, *optional*, defaults to `0.8`): share of each class drawn for training.
        seed (`int`, *optional*, defaults to `0`): seed of the generator.

    Returns:
        `list[str]`: `"train"` or `"test"` for each record, in the same order.

    Example:
        >>> draw_per_class(["no", "no", "no", "no", "no", "yes", "yes"])
        ['train', 'train', 'train', 'train', 'test', 'test', 'train']
    """
    import numpy as np

    positions: defaultdict[Hashable, list[int]] = defaultdict(list)
    for position, name in enumerate(classes):
        positions[name].append(position)
    split = ["test"] * len(classes)
    for members in positions.values():
        n_train = int(fraction * len(members))
        for drawn in np.random.RandomState(seed).choice(len(members), size=n_train, replace=False):
            split[members[drawn]] = "train"
    return split
