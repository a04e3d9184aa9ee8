"""The index of a folder of DICOM files (tables and names only) against opening the pixels of every file."""

import statistics
import tempfile
import time
from pathlib import Path

import climb_hf
from climb_hf.builder import ClimbConfig
from climb_hf.indexing import build_index

RECORDS = 200


def index(folder: Path) -> int:
    """Index the folder as a build does; returns the number of records."""
    return build_index(climb_hf.get_source("vindr_cxr"), folder, ClimbConfig(name="vindr_cxr").options()).n_records


def open_pixels(folder: Path) -> int:
    """Open the pixels of every file, as a reader does that learns its records from the files."""
    import pydicom

    return sum(pydicom.dcmread(path).pixel_array.size > 0 for path in folder.rglob("*.dicom"))


def seconds(function, folder: Path) -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    function(folder)
    return time.perf_counter() - start


def run() -> list[dict]:
    """Return one row: milliseconds per record, medians of five alternating runs on synthetic data."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "vindr"
        climb_hf.miniature("vindr_cxr", folder, n=RECORDS)
        times = [(seconds(index, folder), seconds(open_pixels, folder)) for _ in range(5)]
    ours, reference = (statistics.median(column) / RECORDS * 1000 for column in zip(*times, strict=True))
    row = {"name": "index of DICOM records / opening their pixels", "ours": ours, "reference": reference}
    return [{**row, "ratio": reference / ours, "required": 5.0, "unit": "ms per record"}]


if __name__ == "__main__":
    print(run())
