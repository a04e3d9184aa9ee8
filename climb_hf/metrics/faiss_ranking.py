"""The counts of `climb_hf.metrics.ranking` by way of an exact FAISS index."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from climb_hf.metrics.ranking import count_blocks, exact_scores, tolerance
from climb_hf.optional import require

__all__ = ["faiss_counts"]

_QUERIES = 4096


def faiss_counts(
    a: NDArray[np.float32], b: NDArray[np.float32], goals: NDArray[np.float64], block: tuple[int, int], depth: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count what scores more than, and the same as, the goal of each row of `a` in a flat inner-product index of `b`.

    A query whose goal lies deeper than `depth` items is counted by blocks: the index cannot tell how deep.

    Args:
        a (`NDArray`): queries, unit rows, shape `(n, d)`.
        b (`NDArray`): gallery, unit rows, shape `(m, d)`.
        goals (`NDArray`): exact score of each query's best match, shape `(n,)`.
        block (`tuple[int, int]`): block of the queries that lie deeper.
        depth (`int`): items asked for per query.

    Returns:
        `tuple`: counts greater and equal, shape `(n,)`, int64: those of `count_blocks`.

    Raises:
        DependencyError: FAISS is not installed.
    """
    faiss: Any = require("faiss", extra="faiss")
    index = faiss.IndexFlatIP(b.shape[1])
    index.add(b)
    depth = min(depth, len(b))
    greater, tied = np.zeros(len(a), np.int64), np.zeros(len(a), np.int64)
    reach = tolerance(b.shape[1], np.float32)
    deep = []
    for start in range(0, len(a), _QUERIES):
        queries = np.arange(start, min(start + _QUERIES, len(a)))
        scores, items = index.search(a[queries], depth)
        is_seen = (scores[:, -1] < goals[queries] - reach) | (depth == len(b))
        deep.append(queries[~is_seen])
        above = scores > (goals[queries] + reach)[:, None]
        near = (scores >= (goals[queries] - reach)[:, None]) & ~above & is_seen[:, None]
        row, place = np.nonzero(near)
        exact = exact_scores(a, b, queries[row], items[row, place])
        goal = goals[queries[row]]
        greater[queries] = above.sum(axis=1) * is_seen + np.bincount(row[exact > goal], minlength=len(queries))
        tied[queries] = np.bincount(row[exact == goal], minlength=len(queries))
    left = np.concatenate(deep) if deep else np.empty(0, np.intp)
    if len(left):
        (greater[left], tied[left]), _ = count_blocks(a[left], b, (goals[left], None), block)
    return greater, tied
