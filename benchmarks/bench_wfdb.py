"""Reading of WFDB records against the `wfdb` package: 12 leads, 10 s at 500 Hz, format 16 (synthetic).

Run: `python benchmarks/bench_wfdb.py`. A figure is the median over repetitions in which both sides take turns, so a
slow moment of the machine hits both; files come from the page cache.
"""

import statistics
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import wfdb

from climb_hf.readers.wfdb import read_header, read_record

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
REORDERED = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
SAMPLES = 5000
REPETITIONS = 60


def write_records(folder: Path) -> tuple[str, str]:
    """Write one record as plain `.dat` and as Challenge `.mat`; return both paths without suffix."""
    digital = np.random.default_rng(0).integers(-2000, 2000, (SAMPLES, len(LEADS))).astype("<i2")
    sums = (digital.sum(axis=0, dtype=np.int64) + 2**15) % 2**16 - 2**15
    mat = struct.pack("<5i", 30, len(LEADS), SAMPLES, 0, 4) + b"val\0"
    for name, suffix, form, head in (("plain", ".dat", "16", b""), ("challenge", ".mat", "16x1+24", mat)):
        (folder / f"{name}{suffix}").write_bytes(head + digital.tobytes())
        lines = [f"{name} {len(LEADS)} 500 {SAMPLES}"]
        for lead, first, total in zip(LEADS, digital[0], sums, strict=True):
            lines.append(f"{name}{suffix} {form} 1000.0(0)/mV 16 0 {first} {total} 0 {lead}")
        lines += ["# Age: 60", "# Sex: Female", "# Dx: 426783006"]
        (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    return str(folder / "plain"), str(folder / "challenge")


def compare(
    name: str, ours: Callable[[], Any], reference: Callable[[], Any], required: float | None
) -> dict[str, Any]:
    """Time both in turns; `ours` repeats ten times per turn to rise above the clock."""
    times: dict[str, list[float]] = {"ours": [], "reference": []}
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        for _ in range(10):
            ours()
        middle = time.perf_counter()
        reference()
        times["ours"].append((middle - start) / 10)
        times["reference"].append(time.perf_counter() - middle)
    fast, slow = (1e6 * statistics.median(times[side]) for side in ("ours", "reference"))
    return {"name": name, "ours": fast, "reference": slow, "ratio": slow / fast, "required": required, "unit": "µs"}


def run() -> list[dict[str, Any]]:
    """Measure; rows of name, ours, reference, ratio, required ratio (or `None`), unit."""
    with tempfile.TemporaryDirectory() as folder:
        plain, challenge = write_records(Path(folder))
        for path in (plain, challenge):  # warm up, and prove that both sides do the same work
            expected = wfdb.rdrecord(path).p_signal.astype(np.float32)
            if not np.array_equal(read_record(path, verify_checksum=True).signal, expected):
                raise RuntimeError(f"{path}: the two readers disagree")
        order = [LEADS.index(lead) for lead in REORDERED]
        return [
            compare("wfdb: record, .dat", lambda: read_record(plain), lambda: wfdb.rdrecord(plain), 20),
            compare("wfdb: record, .mat", lambda: read_record(challenge), lambda: wfdb.rdrecord(challenge), 20),
            compare(
                "wfdb: record, leads reordered",
                lambda: read_record(plain, channels=REORDERED),
                lambda: wfdb.rdrecord(plain, channels=order),
                20,
            ),
            compare(
                "wfdb: 1 s of 10 s",
                lambda: read_record(plain, start=2000, stop=2500),
                lambda: wfdb.rdrecord(plain, sampfrom=2000, sampto=2500),
                None,
            ),
            compare("wfdb: header", lambda: read_header(plain), lambda: wfdb.rdheader(plain), None),
        ]


if __name__ == "__main__":
    for row in run():
        print("{name:32s} {ours:9.1f} {unit}   {reference:9.1f} {unit}   ratio {ratio:6.1f}".format(**row))
