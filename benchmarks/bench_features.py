"""The feature cache and the linear probe, against their limits and against what one would write without them.

Reading: 300,000 x 768 float16 features from the cache into memory, with the page cache warm, against reading the same
file with `numpy.load`, and against the limit of 1 GB/s. Probe: 40 epochs on 100,000 x 768 cached features and ten
classes, against a loop over a `torch` DataLoader (timed for one epoch and scaled) and against the limit of a minute.
Features and labels are synthetic.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from climb_hf.protocols.feature_keys import digest_of
from climb_hf.protocols.features import _read, _write_json, _write_rows
from climb_hf.protocols.linear_head import ProbeSettings, fit_linear_head

READ_ROWS, ROWS, WIDTH, CLASSES, REPEATS = 300_000, 100_000, 768, 10, 5
LIMIT_GB_PER_SECOND, LIMIT_SECONDS = 1.0, 60.0


def reading():
    """Two rows: GB/s of the cache against plain `numpy.load` and against the limit."""
    with tempfile.TemporaryDirectory() as root:
        key = {"synthetic": True}
        folder = Path(root) / digest_of(key)
        folder.mkdir()
        values = np.lib.format.open_memmap(folder / "features.npy", "w+", "float16", (READ_ROWS, WIDTH))
        values[:] = np.random.default_rng(0).normal(size=WIDTH).astype(np.float16)
        values.flush()
        gigabytes = values.nbytes / 1e9
        ids = [str(row) for row in range(READ_ROWS)]
        empty: list[list[str]] = [[] for _ in ids]
        rows = {"id": ids, "source": ["s"] * READ_ROWS, "group": ids, "labels": empty, "uncertain": empty}
        _write_rows(folder / "rows.arrow", rows)
        _write_json(folder / "features.json", {"key": key, "shape": [READ_ROWS, WIDTH], "dtype": "float16"})
        found = _read(folder, key, folder.name)
        times: dict[str, list[float]] = {"ours": [], "numpy": []}
        for _ in range(REPEATS):
            start = time.perf_counter()
            np.array(found.values)
            times["ours"].append(time.perf_counter() - start)
            start = time.perf_counter()
            np.load(folder / "features.npy")
            times["numpy"].append(time.perf_counter() - start)
        ours, plain = (gigabytes / statistics.median(times[name]) for name in ("ours", "numpy"))
    name = f"feature cache: read {READ_ROWS:,} x {WIDTH} float16"
    return [
        {"name": f"{name}, against numpy.load", "ours": ours, "reference": plain, "unit": "GB/s",
         "ratio": ours / plain, "required": None},
        {"name": f"{name} (limit {LIMIT_GB_PER_SECOND:g} GB/s)", "ours": ours, "reference": LIMIT_GB_PER_SECOND,
         "unit": "GB/s", "ratio": ours / LIMIT_GB_PER_SECOND, "required": 1.0},
    ]  # fmt: skip


def dataloader_epoch(x, y):
    """What most projects write: a DataLoader over single rows, autograd, AdamW."""
    data = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True)
    layer = torch.nn.Linear(x.shape[1], CLASSES)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.1, betas=(0.9, 0.98), eps=1e-6)
    start = time.perf_counter()
    for rows, wanted in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layer(rows.float()), wanted).backward()
        optimizer.step()
    return time.perf_counter() - start


def probing():
    """Two rows: seconds of the probe against the DataLoader loop and against the limit."""
    generator = np.random.default_rng(0)
    y = generator.integers(0, CLASSES, ROWS)
    x = (generator.normal(size=(ROWS, WIDTH)) + 0.1 * generator.normal(size=(CLASSES, WIDTH))[y]).astype(np.float16)
    start = time.perf_counter()
    fit_linear_head(x, np.eye(CLASSES, dtype=bool)[y])
    ours = time.perf_counter() - start
    reference = dataloader_epoch(x, y) * ProbeSettings().epochs
    name = f"linear probe: 40 epochs on {ROWS:,} x {WIDTH}"
    return [
        {"name": f"{name}, against a DataLoader loop", "ours": ours, "reference": reference, "unit": "s",
         "ratio": reference / ours, "required": None},
        {"name": f"{name} (limit {LIMIT_SECONDS:g} s)", "ours": ours, "reference": LIMIT_SECONDS, "unit": "s",
         "ratio": LIMIT_SECONDS / ours, "required": 1.0},
    ]  # fmt: skip


def run():
    """Measure; rows of name, ours, reference, ratio, required ratio (or `None`), unit."""
    return reading() + probing()


if __name__ == "__main__":
    for row in run():
        print("{name:72s} {ours:8.2f} {unit} {reference:9.2f} {unit}  ratio {ratio:6.1f}".format(**row))
