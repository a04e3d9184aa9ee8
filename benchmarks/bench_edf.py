"""EEG segments from EDF against MNE, and the index of a corpus of the size of TUAB from headers alone (synthetic).

The recording is 20 minutes of 27 channels at 250 Hz; a segment is ten seconds of sixteen bipolar derivations. The
reference loads the recording by `mne.io.read_raw_edf(preload=True)` and subtracts the same channels: once per segment
where single segments are asked for, as a shuffled data set does, and once per recording where all of its segments are
read in a row, which is the loop of the earlier preprocessing scripts (for information: both sides then convert every
sample once). Both sides take turns; files come from the page cache.

The corpus is 3,000 files of true size, sparse on disk, so that only headers hold bytes. Its index runs in a process of
its own, as a build does it; the reference figures are the limits that we hold ourselves to.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

RATE, MINUTES, CHANNELS = 250, 20, 27
REPETITIONS = 7
FILES, LIMIT_SECONDS, LIMIT_GB = 3000, 180.0, 2.0
ELECTRODES = (
    "FP1", "FP2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2", "F7", "F8", "T3", "T4", "T5", "T6", "A1", "A2",
    "FZ", "CZ", "PZ",
)  # fmt: skip
PAIRS = (
    "FP1-F7", "F7-T3", "T3-T5", "T5-O1", "FP2-F8", "F8-T4", "T4-T6", "T6-O2",
    "FP1-F3", "F3-C3", "C3-P3", "P3-O1", "FP2-F4", "F4-C4", "C4-P4", "P4-O2",
)  # fmt: skip


def header(seconds: int) -> bytes:
    """Return an EDF header of 27 channels, one second per data record."""
    labels = [f"EEG {name}-REF" for name in ELECTRODES] + [f"EEG {i}-REF" for i in range(26, 32)]
    fields = [("0", 8), ("00000000 M 01-JAN-1978 00000000 Age:37", 80), ("Startdate 01-JAN-2010 X X X", 80)]
    fields += [("01.01.10", 8), ("00.00.00", 8), (256 * (CHANNELS + 1), 8), ("", 44), (seconds, 8), (1, 8)]
    fields += [(CHANNELS, 4), *((label, 16) for label in labels)]
    for value, width in (("", 80), ("uV", 8), (-5000, 8), (5000, 8), (-32768, 8), (32767, 8), ("", 80), (RATE, 8)):
        fields += [(value, width)] * CHANNELS
    fields += [("", 32)] * CHANNELS
    return b"".join(str(value).encode().ljust(width) for value, width in fields)


def turns(name: str, ours: Callable[[], Any], reference: Callable[[], Any], required: float | None) -> dict[str, Any]:
    """Time both in turns and return a row of medians in milliseconds."""
    times: dict[str, list[float]] = {"ours": [], "reference": []}
    for _ in range(REPETITIONS):
        for side, function in (("ours", ours), ("reference", reference)):
            start = time.perf_counter()
            function()
            times[side].append(1e3 * (time.perf_counter() - start))
    fast, slow = (statistics.median(times[side]) for side in ("ours", "reference"))
    return {"name": name, "ours": fast, "reference": slow, "ratio": slow / fast, "required": required, "unit": "ms"}


def segments(folder: Path) -> list[dict[str, Any]]:
    """Measure single segments, and all segments of a recording."""
    import mne

    from climb_hf.readers.montage import read_bipolar

    path, length, count = folder / "a.edf", 10 * RATE, 6 * MINUTES
    samples = np.random.default_rng(0).integers(-3000, 3000, (60 * MINUTES, CHANNELS * RATE)).astype("<i2")
    path.write_bytes(header(60 * MINUTES) + samples.tobytes())

    def load() -> np.ndarray:
        raw = mne.io.read_raw_edf(path, preload=True, verbose="ERROR")
        place = {name: i for i, name in enumerate(raw.ch_names)}
        data = raw.get_data()
        plus, minus = ([place[f"EEG {pair.split('-')[side]}-REF"] for pair in PAIRS] for side in (0, 1))
        return data[plus] - data[minus]

    def ours(k: int) -> np.ndarray:
        return read_bipolar(path, start=k * length, stop=(k + 1) * length).signal

    def reference_all() -> list[np.ndarray]:
        data = load()
        return [data[:, k * length : (k + 1) * length] for k in range(count)]

    for k, part in enumerate(reference_all()):  # warm up, and prove that both sides do the same work
        if not np.allclose(ours(k), 1e6 * part.T, atol=1e-3):
            raise RuntimeError(f"segment {k}: the two readers disagree")
    return [
        turns("EDF: one 10 s segment of 20 min", lambda: ours(57), lambda: load()[:, 57 * length : 58 * length], 5.0),
        turns("EDF: all segments of 20 min", lambda: [ours(k) for k in range(count)], reference_all, None),
    ]


def write_corpus(folder: Path) -> int:
    """Write sparse recordings of true size in the tree of TUAB; return the number of windows in them."""
    windows, lengths = 0, np.random.default_rng(1).integers(1080, 1650, FILES)
    for number, seconds in enumerate(lengths.tolist()):
        part, label = ("eval" if number % 11 == 0 else "train"), ("normal" if number % 2 else "abnormal")
        subject = "aaaa" + "".join(chr(97 + (number // 26**k) % 26) for k in (3, 2, 1, 0))
        path = folder / "edf" / part / label / "01_tcp_ar" / f"{subject}_s001_t000.edf"
        path.parent.mkdir(parents=True, exist_ok=True)
        head = header(seconds)
        path.write_bytes(head)
        os.truncate(path, len(head) + 2 * CHANNELS * RATE * seconds)
        windows += seconds // 10
    return windows


def measure(folder: Path) -> dict[str, float]:
    """Index the folder in this process; return seconds, peak memory in GB and the number of records."""
    import climb_hf
    from climb_hf.builder import ClimbConfig
    from climb_hf.indexing import build_index

    options = ClimbConfig(name="tuab").options()
    start = time.perf_counter()
    index = build_index(climb_hf.get_source("tuab"), folder, options)
    seconds = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    return {"seconds": seconds, "peak_gb": peak, "records": index.n_records}


def run() -> list[dict[str, Any]]:
    """Measure; rows of name, ours, reference, ratio, required ratio, unit."""
    with tempfile.TemporaryDirectory() as root:
        rows = segments(Path(root))
    with tempfile.TemporaryDirectory() as root:
        windows = write_corpus(Path(root))
        command = [sys.executable, __file__, "--measure", root]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if found["records"] != windows:
        raise RuntimeError(f"expected {windows} records, found {found['records']}")
    name = f"index of TUAB's size, {FILES:,} files to {windows:,} segments"
    limits = (("time", found["seconds"], LIMIT_SECONDS, "s"), ("peak memory", found["peak_gb"], LIMIT_GB, "GB"))
    for what, ours, limit, unit in limits:
        row = {"name": f"{name}: {what} (limit)", "ours": ours, "reference": limit, "ratio": limit / ours}
        rows.append({**row, "required": 1.0, "unit": unit})
    return rows


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2]))))
    else:
        for row in run():
            print("{name:70s} {ours:9.3f} {unit}   {reference:9.3f} {unit}   ratio {ratio:6.1f}".format(**row))
