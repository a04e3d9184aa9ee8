"""Batches of 2500 × 12 float32 signals against the torch format of `datasets`, in one run.

Three steps of the same way: the stored column alone, the column as model input (channels first, checked for NaN), and
whole training batches with targets.
"""

import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch
from datasets import Dataset, disable_progress_bars

import climb_hf
from climb_hf.processing.arrow_signal import SignalReader
from climb_hf.processing.ecg_extractor import EcgFeatureExtractor
from climb_hf.schema import features
from climb_hf.training.collator import ClassificationCollator
from climb_hf.training.sampling import IndexedRows

ROWS, STEPS, CHANNELS, BATCH, ROUNDS = 256, 2500, 12, 32, 9
REQUIRED = 3.0


def _dataset(folder: str, names: list[str]) -> Dataset:
    rng = np.random.default_rng(0)
    absent = dict.fromkeys(("targets", "duplicate_of", "report", "frame_labels"))

    def rows():
        for row in range(ROWS):
            yield {
                **absent,
                "id": str(row),
                "source": "ptbxl",
                "group": str(row // 2),
                "signal": rng.standard_normal((STEPS, CHANNELS), dtype=np.float32),
                "sampling_rate": 250.0,
                "labels": [row % len(names)],
                "raw_labels": [names[row % len(names)]],
                "uncertain": [],
                "age": 60.0,
                "sex": "female",
                "metadata": {"device": "synthetic", "folds": row % 10},
            }

    return Dataset.from_generator(rows, features=features("signal", names, channels=CHANNELS), cache_dir=folder)


def _seconds(read: Callable[[list[int]], torch.Tensor], order: np.ndarray, shape: tuple[int, ...]) -> float:
    start = time.perf_counter()
    for first in range(0, ROWS, BATCH):
        batch = read(order[first : first + BATCH].tolist())
        if tuple(batch.shape) != shape:
            raise ValueError(f"expected a batch of {shape}, got {tuple(batch.shape)}")
    return time.perf_counter() - start


def run() -> list[dict]:
    """Return three rows: samples per second of both, medians of alternating rounds over shuffled indices."""
    disable_progress_bars()
    names = list(climb_hf.get_source("ptbxl").concepts)
    stored, made = (BATCH, STEPS, CHANNELS), (BATCH, CHANNELS, STEPS)
    with tempfile.TemporaryDirectory() as folder:
        dataset = _dataset(folder, names)
        column = dataset.select_columns("signal").with_format("torch")
        formatted = dataset.with_format("torch")
        reader, indexed, extractor = SignalReader(dataset), IndexedRows(dataset), EcgFeatureExtractor()
        collator = ClassificationCollator(extractor, names, {"ptbxl": names}, {"ptbxl": True}, label_names=names)
        order = np.random.default_rng(1).permutation(ROWS)
        ways = {
            "signal batches": (
                (lambda indices: torch.from_numpy(reader.batch(indices)[0]), stored),
                (lambda indices: column[indices]["signal"], stored),
            ),
            "signal batches as model input": (
                (lambda indices: extractor(reader.rows(indices), 250.0)["signal"], made),
                (lambda indices: column[indices]["signal"], stored),
            ),
            "training batches of signals, same collator": (
                (lambda indices: collator(indexed.__getitems__(indices))["signal"], made),
                (lambda indices: collator(formatted.__getitems__(indices))["signal"], made),
            ),
        }
        pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, sides in ways.items():
                theirs, ours = (_seconds(read, order, shape) for read, shape in reversed(sides))
                pairs[name].append((ours, theirs))
    return [_row(name, found) for name, found in pairs.items()]


def _row(name: str, pairs: list[tuple[float, float]]) -> dict:
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {
        "name": f"{name} {STEPS}x{CHANNELS}, batch {BATCH}, vs datasets' torch format",
        "ours": ROWS / ours,
        "reference": ROWS / theirs,
        "ratio": statistics.median(theirs / ours for ours, theirs in pairs),
        "required": REQUIRED,
        "unit": "samples/s",
    }


if __name__ == "__main__":
    for row in run():
        print(row)
