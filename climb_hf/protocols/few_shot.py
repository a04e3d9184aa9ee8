"""Few-shot samples: k records per class, spread over patients, nested in k, the same for every order of the rows."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from climb_hf.errors import OptionError, SchemaError

__all__ = ["NONE_OF_THEM", "FewShot", "few_shot", "without_groups"]

logger = logging.getLogger(__name__)

#: The class of the rows of a multi-label source without any positive.
NONE_OF_THEM = "(none of the classes)"


@dataclass(frozen=True)
class FewShot:
    """A few-shot sample.

    Args:
        positions (`list[int]`): the rows, ascending.
        counts (`dict[str, int]`): rows of the sample by class; a multi-label row counts for each of its classes.
        short (`dict[str, int]`): classes with fewer than k rows to draw from, and how many they have.
    """

    positions: list[int]
    counts: dict[str, int] = field(default_factory=dict)
    short: dict[str, int] = field(default_factory=dict)


def few_shot(
    labels: Sequence[Sequence[str]],
    groups: Sequence[str | None],
    ids: Sequence[str],
    k: int | None,
    *,
    classes: Sequence[str],
    multi_label: bool = False,
    uncertain: Sequence[Sequence[str]] | None = None,
    seed: int = 0,
) -> FewShot:
    """Draw k rows per class.

    The rows of a class are put in an order that depends on the seed and the names of records and groups alone: first
    one row of every patient, then a second one of each, and so on; patients and rows by hash. The first k are taken.
    So the sample with k rows is part of that with more, rows added elsewhere move nothing, and k rows come from as
    many patients as there are. Multi-label sources: each class gives its first k rows, which may be positive for other
    classes too, and the rows without any positive count as one more class.

    Args:
        labels (`Sequence[Sequence[str]]`): positive classes of every row.
        groups (`Sequence[str | None]`): patient of every row; a row without one is its own.
        ids (`Sequence[str]`): record of every row.
        k (`int`, *optional*): rows per class; `None` for all rows.
        classes (`Sequence[str]`): the classes to draw from; other labels are not looked at.
        multi_label (`bool`, *optional*, defaults to `False`): whether a row may have any number of classes. Rows of
            single-label sources without exactly one are left out.
        uncertain (`Sequence[Sequence[str]]`, *optional*): classes of every row that may or may not hold; a row that
            has only such ones is not drawn as one without any class.
        seed (`int`, *optional*, defaults to `0`): another seed gives another sample.

    Returns:
        `FewShot`: a class with fewer than k rows gives all it has, is named in `short`, and a warning is logged.

    Raises:
        OptionError: `k` below 1.
        SchemaError: the sequences differ in length.

    Example:
        >>> labels = [["a"], ["a"], ["b"], ["a"]]
        >>> sample = few_shot(labels, ["p", "p", "q", "r"], ["1", "2", "3", "4"], 2, classes=["a", "b"])
        >>> sample.counts, sample.short
        ({'a': 2, 'b': 1}, {'b': 1})
    """
    if k is not None and (isinstance(k, bool) or not isinstance(k, int) or k < 1):
        raise OptionError(f"`k` must be a number of records per class from 1 on, or `None` for all, found {k!r}.")
    if not len(labels) == len(groups) == len(ids):
        raise SchemaError(
            f"`labels`, `groups` and `ids` must have one entry per row, found {len(labels)}, {len(groups)} and "
            f"{len(ids)}."
        )
    pools = _pools(labels, classes, multi_label, uncertain or [()] * len(labels))
    chosen: dict[str, list[int]] = {}
    for name, rows in pools.items():
        chosen[name] = rows if k is None else _ordered(rows, groups, ids, seed, name)[:k]
    short = {name: len(rows) for name, rows in pools.items() if k is not None and len(rows) < k}
    if multi_label and not short.get(NONE_OF_THEM, 1):
        del short[NONE_OF_THEM]  # a source in which every row has a class lacks nothing
    if short:
        named = ", ".join(f"{name}: {count}" for name, count in short.items())
        logger.warning("fewer than %s records of some classes; all of them are used (%s)", k, named)
    positions = sorted({row for rows in chosen.values() for row in rows})
    taken = set(positions)
    counts = {name: sum(row in taken for row in rows) for name, rows in pools.items()}
    return FewShot(positions, counts, short)


def _pools(
    labels: Sequence[Sequence[str]], classes: Sequence[str], multi_label: bool, uncertain: Sequence[Sequence[str]]
) -> dict[str, list[int]]:
    pools: dict[str, list[int]] = {name: [] for name in classes}
    if multi_label:
        pools[NONE_OF_THEM] = []
    for row, own in enumerate(labels):
        positive = [name for name in dict.fromkeys(own or ()) if name in pools and name != NONE_OF_THEM]
        if multi_label:
            is_open = not positive and any(name in pools for name in uncertain[row] or ())
            for name in positive or ([] if is_open else [NONE_OF_THEM]):
                pools[name].append(row)
        elif len(positive) == 1:
            pools[positive[0]].append(row)
    return pools


def _ordered(rows: Sequence[int], groups: Sequence[str | None], ids: Sequence[str], seed: int, name: str) -> list[int]:
    """Order the rows of one class: round by round over the patients."""
    members: dict[str, list[tuple[bytes, int]]] = defaultdict(list)
    for row in rows:
        patient = f"record {ids[row]}" if groups[row] is None else f"group {groups[row]}"
        members[patient].append((_hash(seed, name, "row", ids[row]), row))
    ordered = []
    for patient, own in members.items():
        place = _hash(seed, name, "patient", patient)
        ordered += [(turn, place, digest, row) for turn, (digest, row) in enumerate(sorted(own))]
    return [row for *_, row in sorted(ordered)]


def _hash(seed: int, *parts: str) -> bytes:
    return hashlib.sha256("\0".join([str(seed), *parts]).encode()).digest()[:8]


def without_groups(groups: Sequence[str | None], held_out: Iterable[str | None]) -> list[int]:
    """Return the rows whose patient is not among those that are scored.

    Args:
        groups (`Sequence[str | None]`): patient of every row to train on.
        held_out (`Iterable[str | None]`): patients of the rows that are scored.

    Returns:
        `list[int]`: positions; rows without a patient stay.

    Example:
        >>> without_groups(["p", "q", None], ["q"])
        [0, 2]
    """
    scored = {group for group in held_out if group is not None}
    return [row for row, group in enumerate(groups) if group is None or group not in scored]
