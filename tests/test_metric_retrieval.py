"""Retrieval metrics against brute force: ties, duplicates, chunks, devices, intervals, and what bad input gets."""

import itertools
import math
import sys

import numpy as np
import pytest
from scipy.stats import hypergeom

from climb_hf.errors import DependencyError, OptionError, SchemaError
from climb_hf.metrics import retrieval_metrics
from climb_hf.metrics import score_blocks as blocks_module
from climb_hf.metrics.ranking import Ranks, rank_pairs, unit_rows

RNG = np.random.default_rng


def discrete(n, d, seed):
    """Embeddings of -1, 0 and 1: many exact ties and copies, no row of zeros."""
    rows = RNG(seed).integers(-1, 2, (n, d)).astype(float)
    rows[:, 0] += (rows == 0).all(axis=1)
    return rows


def brute_scores(images, texts):
    a, b = (unit_rows(rows, "x").astype(np.float64) for rows in (images, texts))
    return np.array([[math.fsum(x * y) for y in b] for x in a])


def brute_hits(scores, is_match, k):
    """Recall@k per query by counting all orders of the ties with scipy's hypergeometric distribution."""
    hits = []
    for row, match in zip(scores, is_match, strict=True):
        best = row[match].max()
        above, tied, good = (row > best).sum(), (row == best).sum(), (row[match] == best).sum()
        hits.append(1 - hypergeom.pmf(0, tied, good, min(max(k - above, 0), tied)))
    return np.array(hits)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("grouped", [False, True])
def test_equals_brute_force_with_ties_and_copies(seed, grouped):
    n, d = 20 + 3 * seed, 2 + seed
    images, texts = discrete(n, d, seed), discrete(n, d, seed + 100)
    keys = RNG(seed).integers(0, n // 2, n).tolist() if grouped else None
    scores = brute_scores(images, texts)
    codes = np.array(keys if grouped else range(n))
    is_match = codes[:, None] == codes[None, :]
    result = retrieval_metrics(images, texts, ks=[1, 3, 10], keys=keys)
    for k in (1, 3, 10):
        assert result["image_to_text"][f"recall@{k}"] == pytest.approx(
            brute_hits(scores, is_match, k).mean(), abs=1e-12
        )
        assert result["text_to_image"][f"recall@{k}"] == pytest.approx(
            brute_hits(scores.T, is_match, k).mean(), abs=1e-12
        )
    assert result["image_to_text"]["n_tied"] > 0
    recalls = [result[way][f"recall@{k}"] for way in ("image_to_text", "text_to_image") for k in (1, 3, 10)]
    assert result["average_recall"] == pytest.approx(np.mean(recalls))


def test_expectation_is_the_mean_over_all_orders():
    n_above, n_tied, n_good, size = 1, 5, 2, 9
    one = np.ones(1, dtype=np.int64)
    ranks = Ranks(n_above * one, n_tied * one, n_good * one, n_good * one, size)
    orders = list(itertools.permutations([True] * n_good + [False] * (n_tied - n_good)))
    for k in range(1, size):
        expected = np.mean([any(order[: max(k - n_above, 0)]) for order in orders])
        assert ranks.hits(k)[0] == pytest.approx(expected, abs=1e-15)
    places = np.mean([n_above + 1 + order.index(True) for order in orders])
    assert ranks.places()[0] == pytest.approx(places)
    assert ranks.places("optimistic")[0] == 2
    assert ranks.places("pessimistic")[0] == 5
    assert [ranks.hits(k, "optimistic")[0] for k in (1, 2)] == [0, 1]
    assert [ranks.hits(k, "pessimistic")[0] for k in (4, 5)] == [0, 1]


@pytest.mark.parametrize("kind", ["discrete", "dense", "collapsed", "nearly collapsed"])
def test_blocks_devices_and_libraries_change_nothing(kind):
    n, d = 150, 24
    images, texts = RNG(0).normal(size=(2, n, d))
    if kind == "discrete":
        images, texts = discrete(n, 3, 0), discrete(n, 3, 1)
    elif kind == "collapsed":
        images, texts = np.ones((2, n, d))
    elif kind == "nearly collapsed":
        images, texts = 1000 + 1e-3 * images, 1000 + 1e-3 * texts
    reference = rank_pairs(images, texts)
    for options in ({"block": (7, 150)}, {"block": (5, 3)}, {"block": (64, 13)}, {"device": "cpu", "block": (50, 60)}):
        for ours, other in zip(reference, rank_pairs(images, texts, **options), strict=True):
            for field in ("greater", "tied", "matches"):
                assert np.array_equal(getattr(ours, field), getattr(other, field)), options


def test_very_many_ties_are_looked_up_once(monkeypatch):
    from climb_hf.metrics import ranking

    images, texts = discrete(80, 2, 0), discrete(80, 2, 1)
    reference = rank_pairs(images, texts)
    monkeypatch.setattr(ranking, "_REPEATED", 1)
    for ours, other in zip(reference, rank_pairs(images, texts), strict=True):
        assert np.array_equal(ours.greater, other.greater)
        assert np.array_equal(ours.tied, other.tied)


def test_whole_matrix_is_never_made(monkeypatch):
    seen = []
    real = blocks_module.NumpyBlocks.sort_out
    monkeypatch.setattr(
        blocks_module.NumpyBlocks, "sort_out", lambda self, part, *rest: seen.append(part) or real(self, part, *rest)
    )
    rank_pairs(*RNG(0).normal(size=(2, 100, 8)), block=(16, 32))
    assert len(seen) >= 7 * 4
    assert max((rows.stop - rows.start) * (columns.stop - columns.start) for rows, columns in seen) == 16 * 32


def test_a_collapsed_model_is_at_chance_and_a_perfect_one_at_one():
    n = 400
    flat = retrieval_metrics(np.ones((n, 8)), np.ones((n, 8)))
    assert flat["chance"] == {"recall@10": 10 / n, "recall@50": 50 / n, "recall@200": 200 / n}
    for way in ("image_to_text", "text_to_image"):
        assert {k: flat[way][k] for k in flat["chance"]} == flat["chance"]
        assert flat[way]["bounds"]["recall@10"] == [0.0, 1.0]
        assert flat[way]["median_rank"] == (n + 1) / 2
        assert flat[way]["n_tied"] == n
    same = RNG(0).normal(size=(n, 8))
    perfect = retrieval_metrics(same, 3 * same)
    assert (perfect["average_recall"], perfect["image_to_text"]["median_rank"]) == (1.0, 1.0)


def test_random_embeddings_are_near_chance():
    n = 1500
    result = retrieval_metrics(*RNG(3).normal(size=(2, n, 16)), n_bootstrap=200)
    for k in (10, 50, 200):
        chance, spread = k / n, math.sqrt(k / n / (2 * n))
        assert abs(result["average"][f"recall@{k}"] - chance) < 4 * spread
    low, high = result["intervals"]["image_to_text"]["recall@200"]
    assert low < result["image_to_text"]["recall@200"] < high


def test_copies_limit_a_perfect_model_unless_they_match():
    """Groups of 4 equal texts: row matching finds one of four, by chance; text matching finds all."""
    texts = np.repeat(RNG(0).normal(size=(25, 8)), 4, axis=0)
    labels = np.repeat(np.arange(25), 4).tolist()
    by_row = retrieval_metrics(texts, texts, ks=[1, 2])
    assert by_row["image_to_text"]["recall@1"] == pytest.approx(0.25)
    assert by_row["average"]["recall@2"] == pytest.approx(0.5)
    by_text = retrieval_metrics(texts, texts, ks=[1, 2], keys=labels)
    assert by_text["average_recall"] == pytest.approx(1.0)
    assert by_text["chance"]["recall@1"] == pytest.approx(4 / 100)
    assert by_text["chance"]["recall@2"] == pytest.approx(1 - (96 * 95) / (100 * 99))


def test_depth_of_the_whole_gallery_says_nothing():
    result = retrieval_metrics(*RNG(0).normal(size=(2, 20, 4)), ks=[5, 20, 50], n_bootstrap=10)
    assert math.isnan(result["average"]["recall@20"])
    assert math.isnan(result["chance"]["recall@50"])
    assert result["average_recall"] == result["average"]["recall@5"]
    assert "recall@20" not in result["intervals"]["image_to_text"]
    assert math.isnan(retrieval_metrics(np.ones((2, 3)), np.ones((2, 3)), ks=[9])["average_recall"])


def test_intervals_equal_an_explicit_bootstrap_over_groups():
    n, n_bootstrap = 60, 40
    images = RNG(0).normal(size=(n, 5))
    texts = images + RNG(1).normal(size=(n, 5))
    groups = [f"p{i // 4}" for i in range(n)]
    result = retrieval_metrics(images, texts, ks=[1, 5], groups=groups, n_bootstrap=n_bootstrap, seed=3, name="s")
    ranks = rank_pairs(images, texts)[0]
    hits, places = ranks.hits(5), ranks.places()
    from climb_hf.metrics.bootstrap import cluster_weights

    codes = np.arange(n) // 4
    weights = np.concatenate(list(cluster_weights(codes, n, n_bootstrap, 3, "s")))
    drawn = [np.repeat(np.arange(n), w) for w in weights]
    recalls = [hits[rows].mean() for rows in drawn]
    medians = [np.median(places[rows]) for rows in drawn]
    assert result["n_groups"] == 15
    own = result["intervals"]["image_to_text"]
    assert own["recall@5"] == pytest.approx(np.quantile(recalls, [0.025, 0.975]))
    assert own["median_rank"] == pytest.approx(np.quantile(medians, [0.025, 0.975]))
    one = retrieval_metrics(images, texts, ks=[1], groups=["p"] * n, n_bootstrap=5)
    assert all(math.isnan(end) for end in one["intervals"]["image_to_text"]["recall@1"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_no_numbers_are_named(value):
    images, texts = RNG(0).normal(size=(2, 30, 4))
    texts[[7, 21], 2] = value
    with pytest.raises(SchemaError, match=r"`texts` must be finite.*in row 7, 21"):
        retrieval_metrics(images, texts)
    images[3] = 0
    with pytest.raises(SchemaError, match=r"`images`.*only zeros in row 3"):
        retrieval_metrics(images, images)


def test_extreme_lengths_do_not_matter():
    images, texts = RNG(0).normal(size=(2, 40, 6))
    reference = retrieval_metrics(images, texts, ks=[1, 5])
    scaled = retrieval_metrics(images * 1e200, texts * 1e-200, ks=[1, 5])
    assert scaled == reference


def test_bad_arguments():
    images, texts = RNG(0).normal(size=(2, 9, 4))
    with pytest.raises(SchemaError, match=r"same shape, found \(9, 4\) and \(8, 4\)"):
        retrieval_metrics(images, texts[:8])
    with pytest.raises(SchemaError, match="one value per row, 9, found 2"):
        retrieval_metrics(images, texts, keys=["a", "b"])
    with pytest.raises(SchemaError, match="None in row 4"):
        retrieval_metrics(images, texts, keys=[*"abcd", None, *"efgh"])
    with pytest.raises(SchemaError, match="`groups`"):
        retrieval_metrics(images, texts, groups=["a"])
    for ks in ([], [0], [1, 1], [1.5]):
        with pytest.raises(OptionError, match="`ks`"):
            retrieval_metrics(images, texts, ks=ks)
    with pytest.raises(OptionError, match="`ties`"):
        retrieval_metrics(images, texts, ties="lucky")
    with pytest.raises(OptionError, match="`backend`"):
        retrieval_metrics(images, texts, backend="annoy")


def test_faiss_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(DependencyError, match=r"climb-hf\[faiss\]"):
        retrieval_metrics(*RNG(0).normal(size=(2, 9, 4)), backend="faiss")


@pytest.mark.parametrize("depth", [3, 512])
def test_faiss_gives_the_same_counts(monkeypatch, depth):
    pytest.importorskip("faiss")
    from climb_hf.metrics import ranking

    monkeypatch.setattr(ranking, "_FAISS_DEPTH", depth)
    for images, texts in (RNG(0).normal(size=(2, 90, 6)), (discrete(90, 3, 0), discrete(90, 3, 1))):
        pairs = zip(rank_pairs(images, texts), rank_pairs(images, texts, backend="faiss"), strict=True)
        for ours, other in pairs:
            for field in ("greater", "tied", "matches"):
                assert np.array_equal(getattr(ours, field), getattr(other, field))
