"""Build and reading of a 20,000-gene × 200-sample matrix against a pandas loop into `datasets.Dataset.from_list`."""

import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import climb_hf
from climb_hf.processing.expression import to_matrix

GENES, SAMPLES, ROUNDS = 20_000, 200, 3
ACCESSION = "E-MTAB-1"


def write(folder: Path) -> Path:
    """Write one baseline experiment; cells hold five quartiles, as the publisher's do."""
    place = folder / "experiments" / ACCESSION
    place.mkdir(parents=True)
    middle = np.random.default_rng(0).integers(5, 5000, (GENES, SAMPLES))
    cells = [[f"{v - 3},{v - 1},{v},{v + 2},{v + 4}" for v in row] for row in middle.tolist()]
    lines = [f"ENSG{i:011d}\tNAME{i}\t" + "\t".join(row) for i, row in enumerate(cells)]
    table = place / f"{ACCESSION}-tpms.tsv"
    header = "GeneID\tGene Name\t" + "\t".join(f"g{i}" for i in range(1, SAMPLES + 1))
    table.write_text("\n".join([header, *lines]) + "\n")
    groups = "".join(f'<assay_group id="g{i}"><assay>SRR{i}</assay></assay_group>' for i in range(1, SAMPLES + 1))
    (place / f"{ACCESSION}-configuration.xml").write_text(
        f'<configuration experimentType="rnaseq_mrna_baseline">{groups}</configuration>'
    )
    return table


def ours(folder: Path, cache: Path) -> tuple[float, float, np.ndarray]:
    """Return the seconds of a fresh build, those of reading every row, and the rows."""
    shutil.rmtree(cache, ignore_errors=True)
    next(folder.rglob("*-tpms.tsv")).touch()  # a changed file is parsed anew, not remembered from the last round
    start = time.perf_counter()
    built = climb_hf.load_dataset("expression_atlas", folder, cache_dir=cache)
    middle = time.perf_counter()
    values = to_matrix(next(iter(built.values()))).values
    return middle - start, time.perf_counter() - middle, values


def plain(table: Path) -> tuple[float, float, np.ndarray]:
    """Return the same of the loop a user would write: pandas, the median of each cell, a list of rows."""
    import datasets
    import pandas as pd

    start = time.perf_counter()
    frame = pd.read_csv(table, sep="\t", index_col=0)
    names, rows = frame.index.tolist(), []
    for group in frame.columns[1:]:
        medians = frame[group].str.split(",").str[2].astype(float)
        rows.append({"id": group, "genes": names, "expression": medians.tolist()})
    features = datasets.Features(
        {"id": datasets.Value("string"), "genes": datasets.List(datasets.Value("string")),
         "expression": datasets.List(datasets.Value("float32"))}
    )  # fmt: skip
    built = datasets.Dataset.from_list(rows, features=features)
    middle = time.perf_counter()
    values = np.array([row["expression"] for row in built], np.float32)
    return middle - start, time.perf_counter() - middle, values


def run() -> list[dict]:
    """Return two rows: the build and the reading of all rows, in rows per second."""
    with tempfile.TemporaryDirectory() as root:
        folder, cache = Path(root) / "raw", Path(root) / "cache"
        table = write(folder)
        (*_, one), (*_, two) = ours(folder, cache), plain(table)
        if not np.array_equal(one, two):
            raise RuntimeError("the two readings differ")
        times = [(ours(folder, cache)[:2], plain(table)[:2]) for _ in range(ROUNDS)]
    rows = []
    for place, what in enumerate(("build", "read into a matrix")):
        mine, other = (SAMPLES / statistics.median(pair[side][place] for pair in times) for side in (0, 1))
        rows.append(
            {"name": f"expression: {what}, {GENES:,} genes x {SAMPLES} samples, vs a pandas loop", "ours": mine,
             "reference": other, "ratio": mine / other, "required": 3.0 if place == 0 else None, "unit": "rows/s"}
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    print(run())
    sys.stderr.write(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB\n")
