"""Batches of 2500 × 12 float32 signals: `SignalReader` against the torch format of `datasets`, in one run."""

import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch
from datasets import Array2D, Dataset, Features, disable_progress_bars

from climb_hf.processing.arrow_signal import SignalReader

ROWS, STEPS, CHANNELS, BATCH, ROUNDS = 256, 2500, 12, 32, 9
REQUIRED = 3.0


def _dataset(folder: str) -> Dataset:
    rng = np.random.default_rng(0)

    def rows():
        for _ in range(ROWS):
            yield {"signal": rng.standard_normal((STEPS, CHANNELS), dtype=np.float32)}

    features = Features({"signal": Array2D((None, CHANNELS), "float32")})
    return Dataset.from_generator(rows, features=features, cache_dir=folder)


def _seconds(read: Callable[[list[int]], torch.Tensor], order: np.ndarray) -> float:
    start = time.perf_counter()
    for first in range(0, ROWS, BATCH):
        batch = read(order[first : first + BATCH].tolist())
        if tuple(batch.shape) != (BATCH, STEPS, CHANNELS):
            raise ValueError(f"expected a batch of {(BATCH, STEPS, CHANNELS)}, got {tuple(batch.shape)}")
    return time.perf_counter() - start


def run() -> list[dict]:
    """Return one row: samples per second of both, medians of alternating rounds over shuffled indices."""
    disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        dataset = _dataset(folder)
        formatted = dataset.with_format("torch")
        reader = SignalReader(dataset)
        order = np.random.default_rng(1).permutation(ROWS)
        pairs = []
        for _ in range(ROUNDS):
            theirs = _seconds(lambda indices: formatted[indices]["signal"], order)
            ours = _seconds(lambda indices: torch.from_numpy(reader.batch(indices)[0]), order)
            pairs.append((ours, theirs))
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(theirs / ours for ours, theirs in pairs)
    return [
        {
            "name": f"signal batches {STEPS}x{CHANNELS}, batch {BATCH}, vs datasets' torch format",
            "ours": ROWS / ours,
            "reference": ROWS / theirs,
            "ratio": ratio,
            "required": REQUIRED,
            "unit": "samples/s",
        }
    ]


if __name__ == "__main__":
    for row in run():
        print(row)
