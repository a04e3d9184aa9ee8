"""Where the match of every query stands in its gallery: exact counts of what scores more and what scores the same.

Scores are cosines. Rows are normalised in float64 and stored in float32; the score of a pair is the sum, in float64
and in a fixed order, of the products of the two stored rows. Blocks of the score matrix are computed in float32 only
to sort out the pairs that cannot be near the match of their query (by the rounding bound of a dot product); every
other pair is decided on its exact score. So the counts do not depend on the size of the blocks, the number of threads,
the device or the library that multiplied, equal rows tie exactly, and the whole matrix is never held.
"""

import functools
import hashlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from climb_hf.errors import OptionError, SchemaError
from climb_hf.metrics.auc import name_rows
from climb_hf.metrics.bootstrap import codes_of

__all__ = ["Backend", "Ranks", "Ties", "rank_pairs", "unit_rows"]

Ties = Literal["expected", "optimistic", "pessimistic"]
Backend = Literal["blocks", "faiss"]
Floats = NDArray[np.float32]

BLOCK = (1024, 4096)  # images x texts scored at once: 16 MB as float32
_PAIRS = 1 << 10  # pairs decided exactly at once: two rows each in float64
_PAIR_LIST = 1 << 20  # positive pairs listed at once
_REPEATED = 1 << 15  # from here on, pairs of equal rows are looked up once
_AMBIGUOUS_SHARE = 1 / 64  # above this share of a block, the block is sorted out in float64
_FAISS_DEPTH = 512


@dataclass(frozen=True, slots=True)
class Ranks:
    """For each of `n` queries, where its best match stands in a gallery of `size` items.

    Args:
        greater (`NDArray`): items that score strictly more than the best match, shape `(n,)`, int64.
        tied (`NDArray`): items that score the same as the best match, the matches among them included, shape `(n,)`.
        matches (`NDArray`): matches among `tied`, shape `(n,)`, at least 1.
        relevant (`NDArray`): matches in the whole gallery, shape `(n,)`.
        size (`int`): items in the gallery.
    """

    greater: NDArray[np.int64]
    tied: NDArray[np.int64]
    matches: NDArray[np.int64]
    relevant: NDArray[np.int64]
    size: int

    def hits(self, k: int, ties: Ties = "expected") -> NDArray[np.float64]:
        """Recall@k of every query: whether a match is among the first `k` items.

        Items of equal score stand in no order. `"expected"` is the probability of a hit when they are shuffled, exact:
        with `m` places left for `tied` items, of which `p` match, 1 - C(tied - p, m) / C(tied, m). `"optimistic"` puts
        the matches first among them, `"pessimistic"` last.

        Args:
            k (`int`): depth, at least 1.
            ties (`str`, *optional*, defaults to `"expected"`): the rule for equal scores.

        Returns:
            `NDArray`: shape `(n,)`, float64, in [0, 1].

        Example:
            >>> one = np.ones(1, dtype=np.int64)
            >>> ranks = Ranks(greater=2 * one, tied=4 * one, matches=one, relevant=one, size=9)
            >>> [float(ranks.hits(3, rule)[0]) for rule in ("pessimistic", "expected", "optimistic")]
            [0.0, 0.25, 1.0]
        """
        if ties == "optimistic":
            return (self.greater < k).astype(np.float64)
        others = self.tied - self.matches
        if ties == "pessimistic":
            return (self.greater + others < k).astype(np.float64)
        places = np.clip(k - self.greater, 0, self.tied)
        single = self.matches == 1
        few, many = np.minimum(places, self.matches), np.maximum(places, self.matches)
        missed = np.ones(len(places))
        for step in range(int(few[~single].max(initial=0))):  # C(t - p, m) / C(t, m), factor by factor
            left = np.maximum(self.tied - step, 1)
            missed *= np.where(step < few, np.maximum(self.tied - many - step, 0) / left, 1.0)
        found: NDArray[np.float64] = np.where(single, places / self.tied, 1.0 - missed)
        return found

    def places(self, ties: Ties = "expected") -> NDArray[np.float64]:
        """Rank of the best match of every query, from 1; under `"expected"` the mean over shuffled ties.

        Args:
            ties (`str`, *optional*, defaults to `"expected"`): the rule for equal scores.

        Returns:
            `NDArray`: shape `(n,)`, float64.
        """
        first = self.greater.astype(np.float64) + 1.0
        others = (self.tied - self.matches).astype(np.float64)
        if ties == "optimistic":
            return first
        return first + others if ties == "pessimistic" else first + others / (self.matches.astype(np.float64) + 1.0)

    def by_chance(self) -> "Ranks":
        """Ranks of a model that gives every item the same score: its expected recall@k is the chance level."""
        return Ranks(
            np.zeros_like(self.greater), np.full_like(self.greater, self.size), self.relevant, self.relevant, self.size
        )


def unit_rows(embeddings: ArrayLike, name: str) -> Floats:
    """Rows of length 1: normalised in float64, rounded to float32.

    Args:
        embeddings (`ArrayLike`): shape `(n, d)`, finite, no row of zeros.
        name (`str`): what error messages call them.

    Returns:
        `NDArray`: shape `(n, d)`, float32, contiguous.

    Raises:
        SchemaError: wrong shape, a value that is not finite, or a row of zeros; the rows are named.

    Example:
        >>> unit_rows([[3.0, 4.0]], "images").tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """
    try:
        rows = np.asarray(embeddings)
        rows = rows if rows.dtype.kind == "f" else rows.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise SchemaError(f"`{name}` must be numbers of shape (rows, width): {error}.") from error
    if rows.ndim != 2 or not rows.shape[1]:
        raise SchemaError(f"`{name}` must have shape (rows, width), found {rows.shape}.")
    units = np.empty(rows.shape, dtype=np.float32)
    bad: dict[str, list[int]] = {"NaN or infinite values": [], "only zeros": []}
    for start in range(0, len(rows), BLOCK[1]):
        part = rows[start : start + BLOCK[1]].astype(np.float64)
        top = np.abs(part).max(axis=1, keepdims=True)
        finite = np.isfinite(top[:, 0])
        bad["NaN or infinite values"] += (start + np.flatnonzero(~finite)).tolist()
        bad["only zeros"] += (start + np.flatnonzero(top[:, 0] == 0)).tolist()
        part /= np.where(np.isfinite(top) & (top > 0), top, 1.0)  # no overflow in the squares
        length = np.sqrt((part * part).sum(axis=1, keepdims=True))
        with np.errstate(invalid="ignore"):
            units[start : start + BLOCK[1]] = part / np.where(length > 0, length, 1.0) + 0.0  # no negative zero
    for what, numbers in bad.items():
        if numbers:
            raise SchemaError(
                f"`{name}` must be finite and not zero, found {what} in row {name_rows(numbers)}. Check the input "
                "of these rows, or the checkpoint if it is most of them."
            )
    return units


def rank_pairs(
    images: ArrayLike,
    texts: ArrayLike,
    *,
    keys: Sequence[Hashable] | None = None,
    block: tuple[int, int] = BLOCK,
    device: str | None = None,
    backend: Backend = "blocks",
    progress: bool = False,
) -> tuple[Ranks, Ranks]:
    """Rank the texts for every image and the images for every text, by cosine.

    Args:
        images (`ArrayLike`): embeddings, shape `(n, d)`; row `i` belongs to text `i`.
        texts (`ArrayLike`): embeddings, shape `(n, d)`.
        keys (`Sequence`, *optional*): shape `(n,)`; rows with equal keys match each other. By default row `i` matches
            row `i` only.
        block (`tuple[int, int]`, *optional*): images and texts scored at once; the counts do not depend on it.
        device (`str`, *optional*): torch device that multiplies the blocks, such as `"cuda"`; by default numpy does.
        backend (`str`, *optional*, defaults to `"blocks"`): `"faiss"` looks through an exact FAISS index first
            (`pip install 'climb-hf[faiss]'`); the counts are the same.
        progress (`bool`, *optional*, defaults to `False`): show a progress bar.

    Returns:
        `tuple[Ranks, Ranks]`: image to text, text to image.

    Raises:
        SchemaError: shapes that differ, an embedding that is not finite or zero (rows named), a missing key.
        OptionError: an unknown backend, or a block without rows.

    Example:
        >>> there, back = rank_pairs([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.1], [1.0, 0.9]])
        >>> there.greater.tolist(), back.greater.tolist()
        ([0, 0], [0, 1])
    """
    if backend not in get_args(Backend) or min(block) < 1:
        raise OptionError(
            f"`backend` must be one of {get_args(Backend)} and `block` positive, found {backend, block}."
        )
    a, b = unit_rows(images, "images"), unit_rows(texts, "texts")
    if a.shape != b.shape:
        raise SchemaError(f"`images` and `texts` must have the same shape, found {a.shape} and {b.shape}.")
    codes = _codes(keys, len(a))
    sizes = np.bincount(codes, minlength=1)[codes] if len(codes) else codes
    best = [_best_matches(a, b, codes), _best_matches(b, a, codes)]
    goals = [scores for scores, _ in best]
    if backend == "faiss":
        from climb_hf.metrics.faiss_ranking import faiss_counts

        counted = [
            faiss_counts(a, b, goals[0], block, _FAISS_DEPTH),
            faiss_counts(b, a, goals[1], block, _FAISS_DEPTH),
        ]
    else:
        counted = count_blocks(a, b, (goals[0], goals[1]), block, device=device, progress=progress)
    (there, back) = (
        Ranks(greater, tied, matches, sizes.astype(np.int64), len(a))
        for (greater, tied), (_, matches) in zip(counted, best, strict=True)
    )
    return there, back


def _codes(keys: Sequence[Hashable] | None, n_rows: int) -> NDArray[np.intp]:
    if keys is None:
        return np.arange(n_rows)
    if len(keys) != n_rows:
        raise SchemaError(f"`keys` must have one value per row, {n_rows}, found {len(keys)}.")
    codes, names = codes_of(list(keys))
    if None in names:
        rows = np.flatnonzero(codes == names.index(None))
        raise SchemaError(f"`keys` must name what every row matches, found None in row {name_rows(rows)}.")
    return codes


def exact_scores(a: Floats, b: Floats, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Cosines of the pairs `(left[i], right[i])`: products summed in float64, always in the same order."""
    scores = np.empty(len(left))
    for start in range(0, len(left), _PAIRS):
        pair = slice(start, start + _PAIRS)
        scores[pair] = np.multiply(a[left[pair]], b[right[pair]], dtype=np.float64).sum(axis=1)
    return scores


def _best_matches(a: Floats, b: Floats, codes: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The best score of each row of `a` with a row of `b` of its code, and how many of them have it."""
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes, minlength=1)
    first = np.concatenate(([0], np.cumsum(counts)[:-1]))
    scores, matches = np.empty(len(a)), np.empty(len(a), dtype=np.int64)
    for rows in _by_pairs(counts[codes]):
        sizes = counts[codes[rows]]
        starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        within = np.arange(sizes.sum()) - np.repeat(starts, sizes)
        found = exact_scores(a, b, np.repeat(rows, sizes), order[np.repeat(first[codes[rows]], sizes) + within])
        scores[rows] = np.maximum.reduceat(found, starts)
        matches[rows] = np.add.reduceat(found == np.repeat(scores[rows], sizes), starts, dtype=np.int64)
    return scores, matches


def _by_pairs(sizes: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Runs of rows that have about `_PAIR_LIST` pairs together."""
    cuts = np.flatnonzero(np.diff(np.cumsum(sizes) // _PAIR_LIST)) + 1
    yield from (rows for rows in np.split(np.arange(len(sizes)), cuts) if len(rows))


def tolerance(width: int, kind: Any) -> float:  # noqa: ANN401 - a floating type of numpy
    """Bound of the rounding error of a dot product of unit rows, whatever the order of the sum, with some reserve."""
    return 1.05 * (width + 8) * float(np.finfo(kind).eps) / 2


Goals = tuple[NDArray[np.float64] | None, NDArray[np.float64] | None]
Counted = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


def count_blocks(
    a: Floats,
    b: Floats,
    goals: Goals,
    block: tuple[int, int] = BLOCK,
    *,
    device: str | None = None,
    progress: bool = False,
) -> Counted:
    """Count, for rows of `a` and of `b`, what scores more than their goal and what scores the same.

    Args:
        a (`NDArray`): unit rows, shape `(n, d)`.
        b (`NDArray`): unit rows, shape `(m, d)`.
        goals (`tuple`): exact score to compare with, of each row of `a` (against all of `b`), `(n,)`, and of each row
            of `b` (against all of `a`), `(m,)`; `None` leaves that direction out.
        block (`tuple[int, int]`, *optional*): rows of `a` and of `b` multiplied at once.
        device (`str`, *optional*): torch device that multiplies.
        progress (`bool`, *optional*, defaults to `False`): show a progress bar.

    Returns:
        `list`: per direction the counts greater and equal, int64; zeros for a direction that was left out.
    """
    from tqdm import tqdm

    from climb_hf.metrics.score_blocks import NumpyBlocks, TorchBlocks

    scorer = NumpyBlocks(a, b) if device is None else TorchBlocks(a, b, device)
    counted: Counted = [(np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)) for rows in (a, b)]
    score = _Scorer(a, b)
    starts = tqdm(range(0, len(a), block[0]), desc="ranking", unit="block", disable=not progress)
    for top in starts:
        for left in range(0, len(b), block[1]):
            part = (slice(top, min(top + block[0], len(a))), slice(left, min(left + block[1], len(b))))
            wanted = tuple(None if goal is None else goal[rows] for goal, rows in zip(goals, part, strict=True))
            n_cells = (part[0].stop - top) * (part[1].stop - left)
            found = scorer.sort_out(part, wanted, np.float32)
            if sum(len(pairs[0]) for _, pairs in found) > _AMBIGUOUS_SHARE * n_cells:
                found = scorer.sort_out(part, wanted, np.float64)
            for axis, (above, pairs) in enumerate(found):
                goal, (greater, tied) = goals[axis], counted[axis]
                if goal is None:
                    continue
                greater[part[axis]] += above
                own = (pairs[0] + top, pairs[1] + left)
                scores = score(*own)
                of = own[axis]
                greater += np.bincount(of[scores > goal[of]], minlength=len(goal))
                tied += np.bincount(of[scores == goal[of]], minlength=len(goal))
    return counted


class _Scorer:
    """Exact scores of pairs of rows; where very many are asked for, those of equal rows are computed once."""

    def __init__(self, a: Floats, b: Floats) -> None:
        self.a, self.b = a, b

    @functools.cached_property
    def _numbers(self) -> list[NDArray[np.intp]]:
        """For each side a number for every row, the same for rows that are equal bit for bit."""
        return [
            codes_of([hashlib.blake2b(row, digest_size=16).digest() for row in rows])[0] for rows in (self.a, self.b)
        ]

    def __call__(self, left: NDArray[np.intp], right: NDArray[np.intp]) -> NDArray[np.float64]:
        if len(left) < _REPEATED:
            return exact_scores(self.a, self.b, left, right)
        keys = self._numbers[0][left] * np.intp(len(self.b)) + self._numbers[1][right]
        _, chosen, back = np.unique(keys, return_index=True, return_inverse=True)
        return exact_scores(self.a, self.b, left[chosen], right[chosen])[back]
