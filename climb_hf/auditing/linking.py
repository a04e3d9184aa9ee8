"""Near duplicates among prints: equal codes first, then near codes, each candidate confirmed by similarity."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from climb_hf.auditing import pictures, signals
from climb_hf.auditing.hamming import near_pairs
from climb_hf.auditing.prints import Prints

__all__ = ["Links", "Space", "link_prints"]

#: So few signals are all compared: a code needs a population to stand out from.
FEW_SIGNALS = 128
_BLOCK = 100_000


class Space:
    """Prints of one kind with their codes and similarity.

    Args:
        prints (`Prints`): the prints.
        min_similarity (`float`, *optional*): correlation from which two are near; by default that of the kind.
    """

    def __init__(self, prints: Prints, min_similarity: float | None = None) -> None:
        self.prints = prints
        if prints.kind == "picture":
            default = pictures.MIN_SIMILARITY
            self.codes = pictures.picture_codes(prints.vectors)
            self.flat = pictures.flat_pictures(prints.vectors)
        else:
            default = signals.MIN_SIMILARITY
            self._signals = prints.vectors[:]
            self.codes = signals.signal_codes(self._signals)
            self.flat = signals.flat_signals(self._signals)
        self.min_similarity = default if min_similarity is None else min_similarity

    def similarity(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the similarity of pairs of prints, (p,) float32 in [-1, 1]."""
        if self.prints.kind == "picture":
            return pictures.picture_similarity(self.prints.vectors, left, right)
        return signals.signal_similarity(self._signals, left, right)


@dataclass
class Links:
    """What is near to what.

    Args:
        node (`np.ndarray`): (n,) int64, the node of each print; prints of a node have one code and look like its
            first; -1 for flat ones.
        left (`np.ndarray`): (e,) nodes of the first of each near pair.
        right (`np.ndarray`): (e,) nodes of the second.
        distance (`np.ndarray`): (e,) bits in which their codes differ.
        n_candidates (`int`): pairs that codes alone would have accused.
    """

    node: np.ndarray
    left: np.ndarray
    right: np.ndarray
    distance: np.ndarray
    n_candidates: int = 0


def link_prints(
    space: Space, radius: int, group: np.ndarray, progress: Callable[[Iterator, int | None, str], Iterator]
) -> Links:
    """Find the near duplicates among prints.

    Args:
        space (`Space`): the prints.
        radius (`int`): largest distance of codes in bits.
        group (`np.ndarray`): (n,) int64, the patient of each print, -1 for none in particular; pairs of nodes of one
            patient are left out, as neighbouring slices would be most of them.
        progress: (items, total, title) -> items.

    Returns:
        `Links`.
    """
    node, leaders, codes, starts = _equal_codes(space)
    group_of = _node_groups(node, group, len(leaders))
    parts, n_candidates = [], 0
    is_small = space.prints.kind == "signal" and len(leaders) <= FEW_SIGNALS
    pairs = _all_pairs(space.codes[leaders]) if is_small else near_pairs(codes, radius)
    for one, other, distance in progress(pairs, None, f"{space.prints.title}: comparing {len(leaders):,} prints"):
        if not is_small:
            one, other, distance = _expand(one, other, distance, starts)
        for start in range(0, len(one), _BLOCK):
            left, right, bits = (side[start : start + _BLOCK] for side in (one, other, distance))
            apart = (group_of[left] != group_of[right]) | (group_of[left] < 0)
            left, right, bits = left[apart], right[apart], bits[apart]
            n_candidates += len(left)
            is_near = space.similarity(leaders[left], leaders[right]) >= space.min_similarity
            parts.append((left[is_near], right[is_near], bits[is_near]))
    empty = np.empty(0, dtype=np.int64)
    found = [np.concatenate(column) for column in zip(*parts, strict=True)] if parts else [empty] * 3
    return Links(node, found[0], found[1], found[2], n_candidates)


def _equal_codes(space: Space) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Group prints of one code around leaders they look like; return nodes, leaders, codes, first leader per code."""
    usable = np.flatnonzero(~space.flat)
    usable = usable[np.argsort(space.codes[usable], kind="stable")]
    codes, begins = np.unique(space.codes[usable], return_index=True)
    ends = np.append(begins[1:], len(usable))
    node = np.full(len(space.codes), -1, dtype=np.int64)
    leaders: list[int] = []
    starts = np.zeros(len(codes) + 1, dtype=np.int64)
    for place, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist(), strict=True)):
        rest = usable[begin:end]
        while len(rest):
            leader, joins = rest[0], np.ones(1, dtype=bool)
            if len(rest) > 1:
                joins = space.similarity(np.full(len(rest), leader), rest) >= space.min_similarity
                joins[0] = True
            node[rest[joins]] = len(leaders)
            leaders.append(int(leader))
            rest = rest[~joins]
        starts[place + 1] = len(leaders)
    return node, np.array(leaders, dtype=np.int64), codes, starts


def _node_groups(node: np.ndarray, group: np.ndarray, n_nodes: int) -> np.ndarray:
    lowest, highest = np.full(n_nodes, np.iinfo(np.int64).max), np.full(n_nodes, -1)
    used = node >= 0
    np.minimum.at(lowest, node[used], group[used])
    np.maximum.at(highest, node[used], group[used])
    return np.where(lowest == highest, highest, -1)


def _expand(
    one: np.ndarray, other: np.ndarray, distance: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn pairs of codes into pairs of their leaders, nearly always one each."""
    n_one, n_other = starts[one + 1] - starts[one], starts[other + 1] - starts[other]
    counts = n_one * n_other
    which = np.repeat(np.arange(len(one)), counts)
    within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    left = starts[one[which]] + within // n_other[which]
    right = starts[other[which]] + within % n_other[which]
    return left, right, distance[which]


def _all_pairs(codes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    one, other = np.triu_indices(len(codes), 1)
    yield one, other, np.bitwise_count(codes[one] ^ codes[other])
