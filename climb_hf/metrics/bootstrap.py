"""The cluster bootstrap of `climb_hf.metrics`, vectorised over resamples.

Whole groups (patients) are drawn with replacement, because the rows of one patient are not independent. A resample is
a vector of integer weights: how often each row was drawn. Areas under the curve then come from cumulative weights in
score order, sorted once per class, and every count (true positives and so on) from one matrix product. All of it is
integer arithmetic, so the result does not depend on how the work is cut.

Several resamples are added up at once: their weights share one 64-bit word, each in a lane wide enough for its largest
cumulative sum.
"""

import zlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import OptionError
from climb_hf.metrics.auc import parallel, thread_count

__all__ = ["RankPlan", "cluster_weights", "codes_of", "interval_of", "resampled_aucs", "weighted_sums"]

_CHUNK_CELLS = 1 << 22  # weights held at once: 16 MB as int32
_BLOCK_CELLS = 1 << 17  # 64-bit words worked on at once: 1 MB, the size of a core's cache
_PRODUCT_ROWS = 1 << 16  # rows of a partial matrix product
_FLOAT32_EXACT = 1 << 24  # integers up to here are exact in float32


def codes_of(values: Sequence[Hashable] | NDArray[Any]) -> tuple[NDArray[np.intp], list[Hashable]]:
    """Number `values` in order of first appearance.

    Args:
        values (`Sequence`): `n` hashable values.

    Returns:
        `tuple`: codes of shape `(n,)`, and the distinct values that they index.

    Example:
        >>> codes, names = codes_of(["b", "a", "b"])
        >>> codes.tolist(), names
        ([0, 1, 0], ['b', 'a'])
    """
    known: dict[Hashable, int] = {}
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    codes = np.fromiter((known.setdefault(value, len(known)) for value in listed), dtype=np.intp, count=len(listed))
    return codes, list(known)


def check_bootstrap(n_bootstrap: int, confidence: float, seed: int) -> None:
    """Raise an `OptionError` where the options of the bootstrap make no sense."""
    if n_bootstrap < 0:
        raise OptionError(f"`n_bootstrap` must be 0 (no intervals) or more, found {n_bootstrap}: 1000 is usual.")
    if not 0 < confidence < 1:
        raise OptionError(f"`confidence` must lie between 0 and 1, found {confidence}: 0.95 is usual.")
    if seed < 0:
        raise OptionError(f"`seed` must not be negative, found {seed}: pass 0 or more.")


def cluster_weights(
    groups: NDArray[np.intp] | None, n_rows: int, n_bootstrap: int, seed: int, name: str = ""
) -> Iterator[NDArray[np.int32]]:
    """Draw groups with replacement and yield how often each row was drawn.

    The stream of random numbers depends on `seed` and `name` only, so a source keeps its resamples whatever other
    sources are evaluated beside it. Resample by resample, `G` group numbers are drawn with
    `default_rng([seed, crc32(name)]).integers(0, G, size=G)`.

    Args:
        groups (`NDArray`, *optional*): group code of each row, shape `(n_rows,)`, in `[0, G)`; `None`: row by row.
        n_rows (`int`): number of rows.
        n_bootstrap (`int`): number of resamples.
        seed (`int`): seed, 0 or more.
        name (`str`, *optional*): what is resampled, such as the source's name.

    Yields:
        `NDArray`: shape `(b, n_rows)`, int32, the next `b` resamples; `b` is chosen to bound memory.

    Example:
        >>> next(cluster_weights(np.array([0, 0, 1]), 3, n_bootstrap=2, seed=0)).shape
        (2, 3)
    """
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    n_groups = n_rows if groups is None else int(groups.max(initial=-1)) + 1
    size = max(6, _CHUNK_CELLS // max(n_rows, n_groups, 1))  # enough to fill the lanes of a word
    for start in range(0, n_bootstrap, size):
        drawn = np.empty((min(size, n_bootstrap - start), n_groups), dtype=np.int32)
        for row in drawn:
            row[:] = np.bincount(generator.integers(0, n_groups, size=n_groups), minlength=n_groups)
        yield drawn if groups is None else np.take(drawn, groups, axis=1)


@dataclass(frozen=True, slots=True)
class RankPlan:
    """One class sorted once, so that every resample only adds up weights.

    Of the two outcomes the rarer is the one looked up; `flipped` says that it is the negative one.

    Args:
        order (`NDArray`): rows that count, by increasing score, shape `(m,)`.
        rows (`NDArray`): the rows of the rarer outcome, shape `(p,)`.
        first (`NDArray`): for each of `rows`, how many of `order` score strictly lower, shape `(p,)`.
        last (`NDArray`): for each of `rows`, how many of `order` score lower or the same, shape `(p,)`.
        flipped (`bool`): whether `rows` are the negative ones.
    """

    order: NDArray[np.intp]
    rows: NDArray[np.intp]
    first: NDArray[np.intp]
    last: NDArray[np.intp]
    flipped: bool

    @classmethod
    def of(
        cls, outcomes: NDArray[np.bool_], scores: NDArray[Any], counted: NDArray[np.bool_] | None
    ) -> "RankPlan | None":
        """Plan one class from arrays of shape `(n,)`; `None` where it lacks one of the two outcomes."""
        order = np.argsort(scores, kind="stable")
        if counted is not None:
            order = order[counted[order]]
        truth, values = outcomes[order], scores[order]
        n_positive = int(np.count_nonzero(truth))
        if n_positive in (0, len(truth)):
            return None
        flipped = 2 * n_positive > len(truth)
        places = np.flatnonzero(~truth if flipped else truth)
        starts = np.flatnonzero(np.append(True, values[1:] != values[:-1]))  # first place of every tie
        tie = np.searchsorted(starts, places, side="right")
        return cls(order, order[places], starts[tie - 1], np.append(starts, len(truth))[tie], flipped)


def _lane_sums(words: NDArray[np.uint64], weights: NDArray[np.int32], plan: RankPlan, bits: int) -> NDArray[np.int64]:
    """Sum over `plan.rows` of weight x (weight below + weight up to and including the ties), per resample, `(b,)`.

    `words` are the packed weights, shape `(b / lanes, n)`; `weights` the same, one resample a row, shape `(b, n)`.
    """
    lanes, mask = 64 // bits, np.uint64((1 << bits) - 1)
    below = np.zeros((len(words), len(plan.order) + 1), dtype=np.uint64)
    np.cumsum(np.take(words, plan.order, axis=1), axis=1, out=below[:, 1:])
    both = np.take(below, plan.first, axis=1)
    both += np.take(below, plan.last, axis=1)
    sums = np.empty(len(weights), dtype=np.int64)
    for lane in range(lanes):
        own = weights[lane::lanes]
        if not len(own):
            break
        ranks = ((both[: len(own)] >> np.uint64(lane * bits)) & mask).view(np.int64)
        sums[lane::lanes] = np.einsum("ij,ij->i", ranks, np.take(own, plan.rows, axis=1))
    return sums


def _pack(weights: NDArray[np.int32], bits: int) -> NDArray[np.uint64]:
    """Put consecutive resamples, shape `(b, n)`, side by side in 64-bit words, shape `(ceil(b / lanes), n)`."""
    lanes = 64 // bits
    words = np.zeros((-(-len(weights) // lanes), weights.shape[1]), dtype=np.uint64)
    for lane in range(lanes):
        own = weights[lane::lanes].astype(np.uint64)
        words[: len(own)] |= own << np.uint64(lane * bits)
    return words


def resampled_aucs(
    weights: NDArray[np.int32],
    plans: Sequence[RankPlan | None],
    positives: NDArray[np.float64],
    negatives: NDArray[np.float64],
    num_threads: int | None = None,
) -> NDArray[np.float64]:
    """Areas under the curve of every class in every resample, ties exact.

    Args:
        weights (`NDArray`): how often each row was drawn, shape `(b, n)`, int32.
        plans (`Sequence`): one `RankPlan` per class, `None` where the class is undefined.
        positives (`NDArray`): weight of the positive rows that count, shape `(b, K)`.
        negatives (`NDArray`): weight of the negative rows that count, shape `(b, K)`.
        num_threads (`int`, *optional*): threads over the resamples.

    Returns:
        `NDArray`: shape `(b, K)`, float64; NaN where a resample lacks one of the two outcomes.
    """
    bits = max(1, (2 * int(weights.sum(axis=1, dtype=np.int64).max(initial=0))).bit_length())
    lanes = 64 // bits
    words = _pack(weights, bits)
    step = max(1, _BLOCK_CELLS // max(weights.shape[1], 1))
    pairs = positives * negatives
    aucs = np.full((len(weights), len(plans)), np.nan)

    def block(start: int) -> None:
        rows = slice(start * lanes, (start + step) * lanes)
        for k, plan in enumerate(plans):
            if plan is None:
                continue
            own = (negatives if plan.flipped else positives)[rows, k]
            wins = _lane_sums(words[start : start + step], weights[rows], plan, bits) - own * own
            ratio = np.divide(wins, 2 * pairs[rows, k], out=np.full(len(own), np.nan), where=pairs[rows, k] > 0)
            aucs[rows, k] = 1 - ratio if plan.flipped else ratio

    parallel(block, range(0, len(words), step), thread_count(num_threads, weights.size))
    return aucs


def weighted_sums(
    weights: NDArray[np.int32], width: int, columns: Callable[[slice], NDArray[Any]]
) -> NDArray[np.float64]:
    """Add up columns over every resample, by blocks of rows; exact where the columns hold 0 and 1.

    Args:
        weights (`NDArray`): how often each row was drawn, shape `(b, n)`, int32.
        width (`int`): number of columns `c`.
        columns (`Callable`): gives the columns of a slice of the rows, shape `(c, rows)`, bool or float64.

    Returns:
        `NDArray`: shape `(b, c)`, float64.
    """
    total = np.zeros((len(weights), width))
    for start in range(0, weights.shape[1], _PRODUCT_ROWS):
        rows = slice(start, start + _PRODUCT_ROWS)
        block, part = columns(rows), weights[:, rows]
        exact = block.dtype == np.bool_ and part.sum(axis=1, dtype=np.int64).max(initial=0) < _FLOAT32_EXACT
        if exact:
            total += part.astype(np.float32) @ block.astype(np.float32).T
        else:
            total += part.astype(np.float64) @ block.astype(np.float64).T
    return total


def interval_of(values: NDArray[np.float64], confidence: float) -> tuple[list[float], int]:
    """Percentile interval of resampled `values`.

    Args:
        values (`NDArray`): shape `(b,)`; NaN where a resample is undefined.
        confidence (`float`): share of the resamples between the two ends, in (0, 1).

    Returns:
        `tuple`: `[low, high]` (linear interpolation, NaN where no resample is defined), and how many were defined.

    Example:
        >>> interval_of(np.array([0.1, 0.2, 0.3, np.nan]), 0.5)
        ([0.15000000000000002, 0.25], 3)
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        return [float("nan"), float("nan")], 0
    tail = (1 - confidence) / 2
    return [float(end) for end in np.quantile(defined, [tail, 1 - tail])], len(defined)
