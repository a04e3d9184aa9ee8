"""The small functions of `climb_hf.metrics`: areas, calibration, regression error, age bands."""

import math
import zlib

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from climb_hf.errors import OptionError, SchemaError
from climb_hf.metrics import (
    age_bands,
    auc_matrix,
    binary_auc,
    brier_score,
    expected_calibration_error,
    mean_absolute_error,
)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.uint8, bool])
def test_auc_matrix_equals_scikit_learn(dtype):
    rng = np.random.default_rng(3)
    y = rng.random((500, 6)) < [0.5, 0.02, 0.98, 0.3, 0.0, 1.0]
    s = (rng.normal(2, 1, size=(500, 6)) * 3 + y).clip(0).astype(dtype)
    got = auc_matrix(y, s)
    np.testing.assert_array_equal(got, auc_matrix(y.astype(int), s, num_threads=3))
    for k in range(4):
        assert got[k] == pytest.approx(roc_auc_score(y[:, k], s[:, k]), abs=1e-12)
        assert got[k] == binary_auc(y[:, k], s[:, k])
    assert np.isnan(got[4:]).all()
    mask = rng.random(y.shape) < 0.6
    masked = auc_matrix(np.where(mask, y, 7), np.where(mask, s, np.nan), mask)
    for k in range(4):
        assert masked[k] == pytest.approx(roc_auc_score(y[mask[:, k], k], s[mask[:, k], k]), abs=1e-12)


def test_auc_keeps_neighbouring_float64_scores_apart():
    s = np.array([1.0, np.nextafter(1.0, 2.0)])
    assert binary_auc([0, 1], s) == 1.0
    assert binary_auc([1, 0], s) == 0.0
    assert binary_auc([1, 0], [2**53 + 1, 2**53]) == 1.0  # integers beyond float64
    assert binary_auc([1, 0], s.astype(np.float32)) == 0.5
    assert binary_auc([0, 1], [-0.0, 0.0]) == 0.5


def test_weighted_auc_equals_scikit_learn():
    rng = np.random.default_rng(4)
    y, s, w = rng.random(400) < 0.3, np.round(rng.normal(size=400), 1), rng.random(400)
    w[::7] = 0
    assert binary_auc(y, s, w) == pytest.approx(roc_auc_score(y, s, sample_weight=w), abs=1e-12)
    counts = rng.integers(0, 4, 400)
    assert binary_auc(y, s, counts) == pytest.approx(binary_auc(np.repeat(y, counts), np.repeat(s, counts)), abs=1e-12)
    assert math.isnan(binary_auc(y, s, y.astype(float)))
    with pytest.raises(SchemaError, match="not negative"):
        binary_auc(y, s, -w)


def test_auc_errors():
    with pytest.raises(SchemaError, match="NaN in row 1"):
        binary_auc([0, 1], [0.5, np.nan])
    with pytest.raises(SchemaError, match="same shape"):
        binary_auc([0, 1], [0.5])
    with pytest.raises(SchemaError, match="`Y` must have the shape"):
        auc_matrix([[1]], [[0.5, 0.5]])
    with pytest.raises(SchemaError, match="must be numbers"):
        binary_auc([0, 1], ["high", "low"])


def test_age_bands():
    ages = [0, 17.99, 18, 39.5, 40, 80, None, float("nan")]
    assert age_bands(ages) == ["<18", "<18", "18-<40", "18-<40", "40-<60", ">=80", "unknown", "unknown"]
    assert age_bands([0.5, 2], edges=[1]) == ["<1", ">=1"]
    with pytest.raises(OptionError, match="increasing"):
        age_bands([1], edges=[40, 18])


def test_calibration_bins_and_errors():
    assert expected_calibration_error([[1], [0]], [[1.0], [0.0]], multi_label=True) == 0
    assert expected_calibration_error([[0], [1]], [[0.5], [0.5]], multi_label=True, n_bins=2) == 0
    assert brier_score([[1, 0]], [[0.0, 1.0]]) == 1.0
    assert brier_score([[1, 9]], [[0.0, np.nan]], mask=[[1, 0]]) == 1.0
    with pytest.raises(SchemaError, match=r"\[0, 1\], found 1.5 in row 0"):
        brier_score([[1]], [[1.5]])
    with pytest.raises(OptionError, match="`n_bins`"):
        expected_calibration_error([[1]], [[1.0]], multi_label=True, n_bins=0)


def test_mean_absolute_error():
    rng = np.random.default_rng(10)
    truth, groups = rng.normal(size=60), rng.integers(0, 20, 60)
    truth[5] = np.nan
    predicted = truth + rng.normal(size=60)
    predicted[5] = 1e9
    result = mean_absolute_error(truth, predicted, groups=groups, n_bootstrap=50, seed=1, name="los")
    known = np.flatnonzero(~np.isnan(truth))
    errors = np.abs(truth - predicted)
    assert result["mae"] == pytest.approx(errors[known].mean(), abs=1e-12)
    assert (result["n"], result["n_missing"], result["seed"], result["confidence"]) == (59, 1, 1, 0.95)
    codes = list(dict.fromkeys(groups[known]))
    generator = np.random.default_rng([1, zlib.crc32(b"los")])
    draws = []
    for _ in range(50):
        drawn = generator.integers(0, len(codes), size=len(codes))
        draws.append(np.mean(np.concatenate([errors[known][groups[known] == codes[g]] for g in drawn])))
    np.testing.assert_allclose(result["interval"], np.percentile(draws, [2.5, 97.5]), atol=1e-12)
    assert result["n_resamples"] == 50
    empty = mean_absolute_error([np.nan], [1.0], n_bootstrap=3)
    assert math.isnan(empty["mae"])
    assert (empty["n"], empty["n_resamples"]) == (0, 0)
    predicted[7] = np.inf
    with pytest.raises(SchemaError, match="row 7"):
        mean_absolute_error(truth, predicted)
