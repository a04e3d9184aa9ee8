"""A deflated `.npz` of pictures (300 MB of pixels, synthetic): opening, reading in order and memory, against NumPy.

`numpy.load` decompresses a whole array before its first row can be used. Ours opens the file by its directory and the
heads of the arrays, and decompresses row after row. Memory is the peak of the resident memory in processes of their
own while every row of the train array is read once (Linux only), less what was resident after the imports.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS, SIZE, REPEATS = 2000, 224, 5
NAME = "synthetic_224.npz"


def write(folder: Path) -> Path:
    """Write smooth pictures with noise, deflated, with labels."""
    import numpy as np

    random = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32) / SIZE
    images = np.empty((ROWS, SIZE, SIZE, 3), np.uint8)
    grain = random.normal(0, 2, (SIZE + 64, SIZE + 64, 3))
    for number, picture in enumerate(images):
        ground = 120 + 60 * np.sin(6 * y + number) * np.cos(5 * x - number)
        picture[:] = ground[..., None] + grain[number % 64 :][:SIZE, number % 61 :][:, :SIZE]
    labels = random.integers(0, 9, (ROWS, 1)).astype(np.uint8)
    np.savez_compressed(folder / NAME, train_images=images, train_labels=labels)
    return folder / NAME


def open_ours(path: Path) -> None:
    """Know the shapes and all labels, and have the first picture."""
    from climb_hf.readers import npz

    npz._members.cache_clear()
    npz._stream.cache_clear()
    npz.open_npz(path)
    npz.read_npz_array(path, "train_labels")
    npz.read_npz_row(path, "train_images", 0)


def open_numpy(path: Path) -> None:
    """The same with NumPy."""
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        arrays["train_labels"]
        arrays["train_images"][0]


def read_ours(path: Path) -> int:
    """Read every picture in order."""
    from climb_hf.readers import npz

    npz._stream.cache_clear()
    return sum(int(npz.read_npz_row(path, "train_images", row)[0, 0, 0]) for row in range(ROWS))


def read_numpy(path: Path) -> int:
    """Read every picture in order from the loaded array."""
    import numpy as np

    with np.load(path, allow_pickle=False) as arrays:
        return sum(int(picture[0, 0, 0]) for picture in arrays["train_images"])


def resident_mb(key: str) -> float:
    """Return `VmRSS` or `VmHWM` of this process in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))


def measure(path: Path, function) -> float:
    """Return the peak memory in MB of reading all pictures, above that of this process before."""
    open_ours(path)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_mb("VmRSS")
    function(path)
    return resident_mb("VmHWM") - before


def seconds(function, path: Path) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    function(path)
    return time.perf_counter() - start


def run() -> list[dict]:
    """Return the rows: opening, reading, memory."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        path = write(Path(name))
        for title, mine, reference, required in (
            ("NPZ, deflated, 300 MB: open, labels, first picture, vs numpy.load", open_ours, open_numpy, 50),
            ("NPZ, deflated, 300 MB: all pictures in order, vs numpy.load", read_ours, read_numpy, None),
        ):
            times = [(seconds(mine, path), seconds(reference, path)) for _ in range(REPEATS)]
            ours, other = (statistics.median(column) for column in zip(*times, strict=True))
            rows.append({"name": title, "ours": ours, "reference": other, "unit": "s", "required": required})
        peaks = []
        for which in ("ours", "numpy"):
            command = [sys.executable, __file__, "--measure", which, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks.append(json.loads(done.stdout))
        title = "NPZ, deflated, 300 MB: peak memory of all pictures, vs numpy.load"
        rows.append({"name": title, "ours": peaks[0], "reference": peaks[1], "unit": "MB", "required": 10})
    return [{**row, "ratio": row["reference"] / row["ours"]} for row in rows]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[3]), {"ours": read_ours, "numpy": read_numpy}[sys.argv[2]])))
    else:
        for row in run():
            print(row)
