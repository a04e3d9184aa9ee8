"""Reading of ECG files against the `wfdb` package and `scipy.io.loadmat`: 12 leads, 10 s at 500 Hz (synthetic).

The rows of `.mat` and `loadmat` compare equal work: gains, lead names and comments of the header, the signal in mV as
float32. One reference scales lead by lead, as the example code of the Challenges does, the other all leads at once.

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
from scipy.io import loadmat, savemat

from climb_hf.readers.mat5 import read_struct
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


def write_others(folder: Path) -> tuple[str, str, str]:
    """Write a record in format 212 and MATLAB structs, plain and compressed; return the paths, without `.hea`."""
    signal = np.random.default_rng(0).normal(0, 0.5, (SAMPLES, len(LEADS)))
    units, forms = ["mV"] * len(LEADS), ["212"] * len(LEADS)
    wfdb.wrsamp("packed", 500, units, list(LEADS), p_signal=signal, fmt=forms, write_dir=str(folder))
    struct_of = {"ECG": {"sex": "Male", "age": np.uint8(74), "data": np.round(signal.T, 4)}}
    paths = str(folder / "struct.mat"), str(folder / "compressed.mat")
    for path in paths:
        savemat(path, struct_of, do_compression="compressed" in path)
    return (str(folder / "packed"), *paths)


def load_challenge(path: str, *, by_lead: bool = False) -> tuple[np.ndarray, list[str], dict[str, str]]:
    """Read a Challenge record with SciPy: signal (time, leads) in mV, lead names, comments."""
    lines = Path(f"{path}.hea").read_text().splitlines()
    n_leads = int(lines[0].split()[1])
    fields = [line.split() for line in lines[1 : n_leads + 1]]
    gains = np.array([float(field[2].split("/")[0].split("(")[0]) for field in fields])
    baselines = np.array([int(field[2].split("(")[1].split(")")[0]) for field in fields])
    comments = dict(line.lstrip("# ").split(": ", 1) for line in lines[n_leads + 1 :])
    digital = loadmat(f"{path}.mat")["val"]
    if by_lead:
        signal = np.empty((digital.shape[1], n_leads), "f4")
        for i in range(n_leads):
            signal[:, i] = (digital[i] - baselines[i]) / gains[i]
    else:
        signal = ((digital.T - baselines) / gains).astype("f4")
    return signal, [field[-1] for field in fields], comments


def read_ecg(path: str) -> np.ndarray:
    """Read a struct as the data set does: (time, 12) float32."""
    data = read_struct(path, "ECG", ("sex", "age", "data"))["data"]
    return np.asarray(data).T.astype("f4", order="C")


def load_ecg(path: str) -> np.ndarray:
    """Do the same with SciPy."""
    return loadmat(path)["ECG"]["data"][0, 0].T.astype("f4", order="C")


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
        packed, plain_struct, compressed = write_others(Path(folder))
        expected = wfdb.rdrecord(packed).p_signal.astype(np.float32)
        if not np.array_equal(read_record(packed, verify_checksum=True).signal, expected):
            raise RuntimeError(f"{packed}: the two readers disagree")
        for by_lead in (False, True):
            if not np.array_equal(read_record(challenge).signal, load_challenge(challenge, by_lead=by_lead)[0]):
                raise RuntimeError(f"{challenge}: the two readers disagree")
        for path in (plain_struct, compressed):
            if not np.array_equal(read_ecg(path), load_ecg(path)):
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
            compare("wfdb: record, format 212", lambda: read_record(packed), lambda: wfdb.rdrecord(packed), None),
            compare(
                "wfdb: .mat / loadmat, by lead",
                lambda: read_record(challenge),
                lambda: load_challenge(challenge, by_lead=True),
                3,
            ),
            compare(
                "wfdb: .mat / loadmat, vectorised",
                lambda: read_record(challenge),
                lambda: load_challenge(challenge),
                None,
            ),
            compare("CPSC struct / loadmat", lambda: read_ecg(plain_struct), lambda: load_ecg(plain_struct), None),
            compare("CPSC struct, compressed", lambda: read_ecg(compressed), lambda: load_ecg(compressed), None),
            compare("wfdb: header", lambda: read_header(plain), lambda: wfdb.rdheader(plain), None),
        ]


if __name__ == "__main__":
    for row in run():
        print("{name:32s} {ours:9.1f} {unit}   {reference:9.1f} {unit}   ratio {ratio:6.1f}".format(**row))
