"""Image-text retrieval: recall@k in both directions, median rank, chance level, intervals."""

from collections.abc import Hashable, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from climb_hf.errors import OptionError, SchemaError
from climb_hf.metrics.bootstrap import check_bootstrap, cluster_weights, interval_of, weighted_sums
from climb_hf.metrics.inputs import group_codes
from climb_hf.metrics.ranking import BLOCK, Backend, Ranks, Ties, rank_pairs

__all__ = ["DIRECTIONS", "retrieval_metrics", "score_ranks"]

DIRECTIONS = ("image_to_text", "text_to_image")
#: Depths of the Open-PMC-18M tables.
DEPTHS = (10, 50, 200)

Draws = dict[tuple[str, str], NDArray[np.float64]]


def retrieval_metrics(
    images: ArrayLike,
    texts: ArrayLike,
    *,
    ks: Sequence[int] = DEPTHS,
    keys: Sequence[Hashable] | None = None,
    ties: Ties = "expected",
    groups: Sequence[Hashable] | None = None,
    n_bootstrap: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
    name: str = "",
    block: tuple[int, int] = BLOCK,
    device: str | None = None,
    backend: Backend = "blocks",
    progress: bool = False,
) -> dict[str, Any]:
    """Score the retrieval of texts by images and of images by texts, by cosine; row `i` of both is a pair.

    Recall@k of a query is whether a match is among the `k` best items; the gallery is the whole other side. One match
    per query by default, the item of the same row, as in the Open-PMC-18M protocol: a duplicate of it is no hit. With
    `keys` all items of an equal key match (the same caption, say), and any of them is a hit.

    Equal scores: items of equal score stand in no order. `ties="expected"`, the default, is the exact expectation over
    their orders; `"optimistic"` puts the match first, `"pessimistic"` last; both stand in `bounds` in any case.

    Intervals are percentiles of a bootstrap over whole groups of queries; the gallery stays as it is.

    Args:
        images (`ArrayLike`): embeddings, shape `(n, d)`, finite; any length, they are normalised here.
        texts (`ArrayLike`): embeddings, shape `(n, d)`.
        ks (`Sequence[int]`, *optional*, defaults to `(10, 50, 200)`): depths.
        keys (`Sequence`, *optional*): shape `(n,)`; see above.
        ties (`str`, *optional*, defaults to `"expected"`): `"expected"`, `"optimistic"` or `"pessimistic"`.
        groups (`Sequence`, *optional*): patient (or other cluster) of each row, shape `(n,)`; by default each row.
        n_bootstrap (`int`, *optional*, defaults to `0`): resamples for the intervals; 0 for none.
        confidence (`float`, *optional*, defaults to `0.95`): level of the intervals, in (0, 1).
        seed (`int`, *optional*, defaults to `0`): seed of the bootstrap.
        name (`str`, *optional*): what is resampled, such as the source's name; with `seed` it fixes the resamples.
        block (`tuple[int, int]`, *optional*): images and texts scored at once; results do not depend on it.
        device (`str`, *optional*): torch device for the products, such as `"cuda"`.
        backend (`str`, *optional*, defaults to `"blocks"`): or `"faiss"`; the results are the same.
        progress (`bool`, *optional*, defaults to `False`): show a progress bar.

    Returns:
        `dict` of plain values: `image_to_text` and `text_to_image` (each `recall@k` in [0, 1], `median_rank` from 1,
        `n_tied`: queries whose match ties with another item, `bounds`: `[pessimistic, optimistic]` by `recall@k`),
        `average` (`recall@k`: mean of both directions), `average_recall` (mean over directions and depths, as in the
        paper's tables over its data sets), `chance` (`recall@k` of a model that cannot tell items apart; k / n with
        one match per query), `n`, `n_groups`, `n_bootstrap`, `confidence`, `seed`, and with a bootstrap `intervals`
        of the same shape. Recall at a depth that reaches the whole gallery says nothing: it is NaN, and not part of
        `average_recall` (NaN if there is no other).

    Raises:
        SchemaError: shapes that differ, an embedding with NaN, infinity or zeros only (rows named), a missing key.
        OptionError: a depth below 1, or an option that is not allowed.
        DependencyError: `backend="faiss"` without FAISS.

    Example:
        >>> result = retrieval_metrics([[1, 0], [0, 1], [1, 1]], [[1, 0.1], [1, 0.9], [1, 0.8]], ks=[1, 2])
        >>> result["image_to_text"]["recall@1"], result["text_to_image"]["recall@2"], result["chance"]["recall@2"]
        (0.6666666666666666, 0.6666666666666666, 0.6666666666666666)
    """
    check_bootstrap(n_bootstrap, confidence, seed)
    check_depths(ks, ties)
    ranks = rank_pairs(images, texts, keys=keys, block=block, device=device, backend=backend, progress=progress)
    table, _ = score_ranks(
        ranks, ks=ks, ties=ties, groups=groups, n_bootstrap=n_bootstrap, confidence=confidence, seed=seed, name=name
    )
    return table


def check_depths(ks: Sequence[int], ties: str) -> None:
    """Raise an `OptionError` where depths or the rule for ties are not allowed."""
    if not ks or any(isinstance(k, bool) or int(k) != k or k < 1 for k in ks) or len(set(ks)) < len(ks):
        raise OptionError(f"`ks` must be distinct whole numbers, 1 or more, at least one; found {list(ks)}.")
    if ties not in get_args(Ties):
        raise OptionError(f"`ties` must be one of {get_args(Ties)}, found {ties!r}.")


def score_ranks(
    ranks: tuple[Ranks, Ranks],
    *,
    ks: Sequence[int] = DEPTHS,
    ties: Ties = "expected",
    groups: Sequence[Hashable] | None = None,
    n_bootstrap: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
    name: str = "",
) -> tuple[dict[str, Any], Draws]:
    """Turn the ranks of both directions into the result of `retrieval_metrics`, and its resamples.

    Args:
        ranks (`tuple[Ranks, Ranks]`): of `rank_pairs`.
        ks (`Sequence[int]`, *optional*, defaults to `(10, 50, 200)`): depths.
        ties (`str`, *optional*, defaults to `"expected"`): the rule for equal scores.
        groups (`Sequence`, *optional*): cluster of each row.
        n_bootstrap (`int`, *optional*, defaults to `0`): resamples.
        confidence (`float`, *optional*, defaults to `0.95`): level of the intervals.
        seed (`int`, *optional*, defaults to `0`): seed of the bootstrap.
        name (`str`, *optional*): what is resampled.

    Returns:
        `tuple`: the table, and for each (direction or `"average"`, metric) the resampled values, shape
        `(n_bootstrap,)`; empty without a bootstrap.
    """
    check_depths(ks, ties)
    check_bootstrap(n_bootstrap, confidence, seed)
    n = ranks[0].size
    if groups is not None and len(groups) != n:
        raise SchemaError(f"`groups` must have one value per row, {n}, found {len(groups)}.")
    codes = group_codes(None if groups is None else list(groups), np.arange(n))
    useful = [k for k in ks if k < n]
    table: dict[str, Any] = {}
    for direction, own in zip(DIRECTIONS, ranks, strict=True):
        bounds = {
            f"recall@{k}": [_mean(own.hits(k, rule), k, n) for rule in ("pessimistic", "optimistic")] for k in ks
        }
        table[direction] = {
            **{f"recall@{k}": _mean(own.hits(k, ties), k, n) for k in ks},
            "median_rank": float(np.median(own.places(ties))) if n else float("nan"),
            "n_tied": int(np.count_nonzero(own.tied > own.matches)),
            "bounds": bounds,
        }
    names = [f"recall@{k}" for k in useful]
    table["average"] = {f"recall@{k}": float(np.mean([table[way][f"recall@{k}"] for way in DIRECTIONS])) for k in ks}
    table["average_recall"] = float(np.mean([table["average"][metric] for metric in names])) if names else float("nan")
    table["chance"] = {f"recall@{k}": _mean(ranks[0].by_chance().hits(k), k, n) for k in ks}
    n_groups = n if codes is None else int(codes.max(initial=-1)) + 1
    table |= {"n": n, "n_groups": n_groups, "n_bootstrap": n_bootstrap, "confidence": confidence, "seed": seed}
    draws: Draws = {}
    if n_bootstrap:
        draws = _resample(ranks, ks, ties, codes, n_groups, n_bootstrap, seed, name)
        table["intervals"] = _intervals(draws, confidence)
    return table, draws


def _mean(hits: NDArray[np.float64], k: int, n: int) -> float:
    return float(hits.mean()) if n > 0 and k < n else float("nan")


def _resample(
    ranks: tuple[Ranks, Ranks],
    ks: Sequence[int],
    ties: Ties,
    codes: NDArray[np.intp] | None,
    n_groups: int,
    n_bootstrap: int,
    seed: int,
    name: str,
) -> Draws:
    """Every metric in every resample of the queries; both directions use the same resamples."""
    n = ranks[0].size
    useful = [k for k in ks if k < n]
    names = [(way, f"recall@{k}") for way in DIRECTIONS for k in useful]
    everything = [*names, *((way, "median_rank") for way in DIRECTIONS)]
    draws: Draws = {key: np.full(n_bootstrap, np.nan) for key in everything}
    if n_groups > 1:  # a single cluster says nothing about the spread between clusters
        columns = np.stack([*(own.hits(k, ties) for own in ranks for k in useful), np.ones(n)])
        places = [own.places(ties) for own in ranks]
        done = 0
        for weights in cluster_weights(codes, n, n_bootstrap, seed, name):
            rows = slice(done, done + len(weights))
            sums = weighted_sums(weights, len(columns), lambda part: columns[:, part])
            for column, key in enumerate(names):
                draws[key][rows] = sums[:, column] / sums[:, -1]
            for way, own in zip(DIRECTIONS, places, strict=True):
                draws[way, "median_rank"][rows] = _weighted_medians(own, weights)
            done += len(weights)
    for k in useful:
        draws["average", f"recall@{k}"] = np.mean([draws[way, f"recall@{k}"] for way in DIRECTIONS], axis=0)
    if useful:
        draws["average", "average_recall"] = np.mean([draws["average", f"recall@{k}"] for k in useful], axis=0)
    return draws


def _weighted_medians(values: NDArray[np.float64], weights: NDArray[np.int32]) -> NDArray[np.float64]:
    """Median of `values` repeated by each row of `weights`, shape `(b,)`."""
    order = np.argsort(values, kind="stable")
    totals = np.cumsum(weights[:, order], axis=1, dtype=np.int64)
    ordered, whole = values[order], totals[:, -1:]
    low, high = ((totals * 2 >= whole).argmax(axis=1), (totals * 2 > whole).argmax(axis=1))
    return (ordered[low] + ordered[high]) / 2


def _intervals(draws: Draws, confidence: float) -> dict[str, Any]:
    ends: dict[str, Any] = {way: {} for way in (*DIRECTIONS, "average")}
    for (way, metric), values in draws.items():
        ends[way][metric] = interval_of(values, confidence)[0]
    average = ends["average"].pop("average_recall", None)
    return ends if average is None else {**ends, "average_recall": average}
