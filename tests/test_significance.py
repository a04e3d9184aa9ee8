"""Two models on the same rows: against textbook formulas, simulation and known answers."""

import itertools
import math

import numpy as np
import pytest

from climb_hf.errors import OptionError, SchemaError
from climb_hf.metrics import binary_auc, compare_scores, delong_test, masked_metrics


def textbook_delong(y, a, b):
    """DeLong's covariance by its definition: the structural components, one by one."""
    y, scores = np.asarray(y, bool), (np.asarray(a), np.asarray(b))
    v10, v01 = [], []
    for s in scores:
        wins = (s[y][:, None] > s[~y][None, :]) + 0.5 * (s[y][:, None] == s[~y][None, :])
        v10.append(wins.mean(axis=1))
        v01.append(wins.mean(axis=0))
    covariance = np.cov(v10) / y.sum() + np.cov(v01) / (~y).sum()
    return covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]


def test_scores_that_do_not_vary_say_nothing_of_chance():
    found = delong_test([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], [0.9, 0.8, 0.2, 0.1])
    assert (found["auc_a"], found["auc_b"], found["difference"]) == (1.0, 0.0, 1.0)
    assert all(math.isnan(found[name]) for name in ("standard_error", "low", "high", "z", "p"))


@pytest.mark.parametrize("seed", range(5))
def test_delong_is_the_textbook_formula_ties_included(seed):
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 2, 60)
    a = np.round(generator.normal(size=60) + y, 1)
    b = np.round(generator.normal(size=60) + 0.5 * y, 1)
    result = delong_test(y, a, b)
    assert result["auc_a"] == pytest.approx(binary_auc(y, a), abs=1e-12)
    assert result["auc_b"] == pytest.approx(binary_auc(y, b), abs=1e-12)
    assert result["standard_error"] ** 2 == pytest.approx(textbook_delong(y, a, b), rel=1e-10)
    assert result["z"] == pytest.approx(result["difference"] / math.sqrt(textbook_delong(y, a, b)))
    assert result["p"] == pytest.approx(2 * (1 - 0.5 * (1 + math.erf(abs(result["z"]) / math.sqrt(2)))))


def test_rows_of_their_own_are_groups_of_one():
    generator = np.random.default_rng(1)
    y, a, b = generator.integers(0, 2, 40), generator.normal(size=40), generator.normal(size=40)
    assert delong_test(y, a, b, groups=list(range(40))) == delong_test(y, a, b)


def test_repeated_rows_of_a_patient_do_not_make_it_more_certain():
    generator = np.random.default_rng(2)
    y = np.repeat(generator.integers(0, 2, 30), 8)
    a, b = (np.repeat(generator.normal(size=30) + k * y[::8], 8) for k in (1.0, 0.3))
    patients = np.repeat(np.arange(30), 8)
    naive, clustered = delong_test(y, a, b), delong_test(y, a, b, patients.tolist())
    once = delong_test(y[::8], a[::8], b[::8])
    assert clustered["difference"] == pytest.approx(naive["difference"])
    assert clustered["standard_error"] == pytest.approx(once["standard_error"], rel=1e-9)
    assert naive["standard_error"] < 0.5 * clustered["standard_error"]


def test_delong_rejects_at_its_level_when_nothing_differs():
    generator = np.random.default_rng(3)
    rejected = 0
    for _ in range(400):
        y = generator.integers(0, 2, 80)
        shared = generator.normal(size=80) + y
        rejected += delong_test(y, shared + generator.normal(size=80), shared + generator.normal(size=80))["p"] < 0.05
    assert 6 <= rejected <= 36  # 20 expected; five standard deviations of a binomial are 22


def test_undefined_comparisons_are_nan():
    assert all(math.isnan(value) for value in delong_test([1, 1], [0.1, 0.2], [0.3, 0.1]).values())
    few = delong_test([1, 0, 0], [0.9, 0.1, 0.2], [0.1, 0.9, 0.5])
    assert few["difference"] == 1.0
    assert math.isnan(few["p"])
    same = delong_test([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], [0.2, 0.4, 0.6, 0.8])
    assert (same["difference"], same["z"], same["p"]) == (0.0, 0.0, 1.0)


def test_delong_refuses_what_does_not_fit():
    with pytest.raises(SchemaError, match="`scores_b` must have the shape of `y`"):
        delong_test([0, 1], [0.1, 0.2], [0.1])
    with pytest.raises(SchemaError, match="`scores_a` must not be NaN"):
        delong_test([0, 1], [0.1, float("nan")], [0.1, 0.2])
    with pytest.raises(SchemaError, match="`groups`"):
        delong_test([0, 1], [0.1, 0.2], [0.1, 0.3], ["p"])
    with pytest.raises(OptionError, match="confidence"):
        delong_test([0, 1], [0.1, 0.2], [0.1, 0.3], confidence=1.5)


def two_sources(seed=0, n=120):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 2, n)
    references = np.eye(2, dtype=bool)[truth]
    good = references + generator.normal(scale=0.7, size=(n, 2))
    poor = references + generator.normal(scale=3.0, size=(n, 2))
    sources = ["a" if row % 3 else "b" for row in range(n)]
    facts = {"source_classes": {"a": [0, 1], "b": [0, 1]}, "multi_label": {"a": False, "b": False}}
    return references, good, poor, sources, [f"p{row // 2}" for row in range(n)], facts


def test_both_models_see_the_resamples_of_masked_metrics():
    references, good, poor, sources, groups, facts = two_sources()
    table = compare_scores(references, good, poor, sources, groups=groups, n_bootstrap=300, **facts)
    each = [
        masked_metrics(references, scores, sources, groups=groups, n_bootstrap=300, **facts) for scores in (good, poor)
    ]
    for name, (side, result) in itertools.product("ab", zip("ab", each, strict=True)):
        assert table[name]["auc"][side] == result["sources"][name]["auc"]
    assert table["overall"]["auc"]["a"] == pytest.approx(each[0]["overall"]["auc"])
    assert table["overall"]["auc"]["difference"] == pytest.approx(
        each[0]["overall"]["auc"] - each[1]["overall"]["auc"]
    )


def test_a_clear_difference_is_found_and_equality_is_not():
    references, good, poor, sources, groups, facts = two_sources()
    clear = compare_scores(references, good, poor, sources, groups=groups, n_bootstrap=400, **facts)["overall"]["auc"]
    assert clear["p"] < 0.05
    assert 0 < clear["low"] < clear["difference"] < clear["high"]
    reverse = compare_scores(references, poor, good, sources, groups=groups, n_bootstrap=400, **facts)
    assert reverse["overall"]["auc"]["low"] == pytest.approx(-clear["high"])
    same = compare_scores(references, good, good, sources, groups=groups, n_bootstrap=50, **facts)["a"]["auc"]
    assert (same["difference"], same["low"], same["high"], same["p"]) == (0.0, 0.0, 0.0, 1.0)


def test_a_source_with_one_class_is_left_out_of_the_mean():
    references, good, poor, sources, groups, facts = two_sources()
    rows = [row for row in range(len(sources)) if sources[row] == "a" or references[row, 0]]
    table = compare_scores(
        references[rows], good[rows], poor[rows], [sources[row] for row in rows],
        groups=[groups[row] for row in rows], n_bootstrap=50, **facts,
    )  # fmt: skip
    assert math.isnan(table["b"]["auc"]["difference"])
    assert math.isnan(table["b"]["auc"]["p"])
    assert table["overall"]["auc"]["a"] == table["a"]["auc"]["a"]


def test_options_that_make_no_sense():
    references, good, poor, sources, _, facts = two_sources(n=6)
    with pytest.raises(OptionError, match="n_bootstrap"):
        compare_scores(references, good, poor, sources, n_bootstrap=0, **facts)
    with pytest.raises(OptionError, match="'mcc'"):
        compare_scores(references, good, poor, sources, metrics=["mcc"], **facts)


def test_rows_without_a_patient_are_not_one_patient():
    with pytest.raises(SchemaError, match="found None in row 1, 3"):
        delong_test([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], [0.5, 0.6, 0.7, 0.8], ["a", None, "b", None])
