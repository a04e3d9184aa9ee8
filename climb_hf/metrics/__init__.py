"""Metrics over the classes that a source knows: exact, with intervals, and honest about what is undefined.

Pure functions of numpy arrays. Every source is scored over its own classes V_k of the shared vocabulary; what cannot
be computed is NaN and counted, never 0 or 0.5. Where scikit-learn defines a number, ours is the same.
"""

from climb_hf.metrics.auc import auc_matrix, binary_auc
from climb_hf.metrics.bootstrap import cluster_weights, interval_of
from climb_hf.metrics.calibration import brier_score, expected_calibration_error
from climb_hf.metrics.masked import masked_metrics
from climb_hf.metrics.qa import QA_METRICS, qa_match
from climb_hf.metrics.regression import age_bands, mean_absolute_error
from climb_hf.metrics.retrieval import retrieval_metrics
from climb_hf.metrics.scoring import METRIC_NAMES
from climb_hf.metrics.significance import compare_scores, delong_test, mean_interval

__all__ = [
    "METRIC_NAMES",
    "QA_METRICS",
    "age_bands",
    "auc_matrix",
    "binary_auc",
    "brier_score",
    "cluster_weights",
    "compare_scores",
    "delong_test",
    "expected_calibration_error",
    "interval_of",
    "masked_metrics",
    "mean_absolute_error",
    "mean_interval",
    "qa_match",
    "retrieval_metrics",
]
