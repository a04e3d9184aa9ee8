"""Masked metrics against a loop over scikit-learn, with and without the bootstrap, in one run.

Both sides compute, per class, the area under the ROC curve, sensitivity, specificity, F1 and accuracy of the same
synthetic scores, and must agree. The required ratio is claimed for one thread; the rows with all threads say how many.
scikit-learn's bootstrap is timed on a few resamples and scaled to the full number, as it would take an hour.
"""

import statistics
import time

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, recall_score, roc_auc_score

from climb_hf.metrics import cluster_weights, masked_metrics
from climb_hf.metrics.auc import thread_count

NAMES = ("auc", "sensitivity", "specificity", "f1", "accuracy")
ROWS, CLASSES, REPEATS = 200_000, 50, 3
BOOT_ROWS, BOOT_CLASSES, RESAMPLES, TIMED_RESAMPLES = 100_000, 20, 1_000, 2
REQUIRED = 10.0
BOOTSTRAP_LIMIT_SECONDS = 10.0


def synthetic(rows, classes, multi_label, seed=0):
    """Synthetic outcomes and scores: bool (rows, classes) and float32 logits."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(rows, classes)).astype(np.float32)
    if multi_label:
        y = generator.random((rows, classes)) < 0.1
    else:
        y = generator.integers(0, classes, rows)[:, None] == np.arange(classes)
    logits += y
    return y, logits


def loop(y, logits, multi_label, weights=None):
    """What most projects write: one class after the other through scikit-learn."""
    if multi_label:
        ranking, decisions = logits, logits >= 0
    else:
        shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        ranking = shifted / shifted.sum(axis=1, keepdims=True)
        decisions = logits.argmax(axis=1)[:, None] == np.arange(y.shape[1])
    table = [
        (
            roc_auc_score(y[:, k], ranking[:, k], sample_weight=weights),
            recall_score(y[:, k], decisions[:, k], sample_weight=weights),
            recall_score(y[:, k], decisions[:, k], pos_label=0, sample_weight=weights),
            f1_score(y[:, k], decisions[:, k], sample_weight=weights),
            accuracy_score(y[:, k], decisions[:, k], sample_weight=weights),
        )
        for k in range(y.shape[1])
    ]
    return dict(zip(NAMES, np.mean(table, axis=0), strict=True))


def ours(y, logits, multi_label, **options):
    """The same numbers by `masked_metrics`."""
    result = masked_metrics(
        y,
        logits,
        ["synthetic"] * len(y),
        source_classes={"synthetic": range(y.shape[1])},
        multi_label={"synthetic": multi_label},
        **options,
    )
    return result["sources"]["synthetic"]


def check(result, expected):
    """Refuse to time two sides that do not compute the same."""
    worst = max(abs(result[name] - expected[name]) for name in NAMES)
    if not worst <= 1e-12:
        raise RuntimeError(f"the two sides differ by {worst}")


def compare(multi_label):
    """One thread, then all: two rows against the same median of the loop."""
    y, logits = synthetic(ROWS, CLASSES, multi_label)
    times = {"loop": [], 1: [], None: []}
    for _ in range(REPEATS):
        for threads in (1, None):
            start = time.perf_counter()
            result = ours(y, logits, multi_label, num_threads=threads)
            times[threads].append(time.perf_counter() - start)
        start = time.perf_counter()
        expected = loop(y, logits, multi_label)
        times["loop"].append(time.perf_counter() - start)
        check(result, expected)
    reference = statistics.median(times["loop"])
    name = f"metrics: {'multi' if multi_label else 'single'}-label {ROWS:,} x {CLASSES}"
    rows = []
    for threads, required in ((1, REQUIRED), (None, None)):
        label = f"{name}, {threads or thread_count(None, ROWS * CLASSES)} thread(s)"
        rows.append(_row(label, statistics.median(times[threads]), reference, required))
    return rows


def bootstrap(multi_label):
    """Intervals from 1,000 resamples, against scikit-learn with the same weights and against the limit."""
    y, logits = synthetic(BOOT_ROWS, BOOT_CLASSES, multi_label)
    start = time.perf_counter()
    ours(y, logits, multi_label, n_bootstrap=RESAMPLES, num_threads=1)
    seconds = time.perf_counter() - start
    weights = next(cluster_weights(None, BOOT_ROWS, TIMED_RESAMPLES, 0, "synthetic"))
    start = time.perf_counter()
    for drawn in weights:
        loop(y, logits, multi_label, drawn)
    reference = (time.perf_counter() - start) / TIMED_RESAMPLES * RESAMPLES
    kind = "multi" if multi_label else "single"
    name = f"metrics: {RESAMPLES:,} resamples, {kind}-label {BOOT_ROWS:,} x {BOOT_CLASSES}"
    return [
        _row(f"{name}, 1 thread(s)", seconds, reference, REQUIRED),
        _row(f"{name} (limit {BOOTSTRAP_LIMIT_SECONDS:g} s)", seconds, BOOTSTRAP_LIMIT_SECONDS, 1.0),
    ]


def _row(name, seconds, reference, required):
    return {
        "name": name,
        "ours": seconds,
        "reference": reference,
        "ratio": reference / seconds,
        "required": required,
        "unit": "s",
    }


def run():
    """Measure; rows of name, ours, reference, ratio, required ratio (or `None`), unit."""
    return [row for measured in (compare, bootstrap) for multi_label in (True, False) for row in measured(multi_label)]


if __name__ == "__main__":
    for row in run():
        print("{name:64s} {ours:8.3f} {unit} {reference:9.3f} {unit}  ratio {ratio:7.1f}".format(**row))
