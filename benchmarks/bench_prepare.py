"""`climb prepare`: records per second of one process, and of two against one.

The picture source is DICOM of about a megapixel, resized to 224 px; the signals are 10 s ECGs of 12 leads at 500 Hz,
stored as they are. Two numbers are given for each: records of one process against the loop that a user would write
(`load_dataset`, then `Dataset.to_parquet` with the media embedded), and two processes against one. The processes are
started anew for each run, and import for seconds before they build: the same records are built several times over, and
only the second half of the shards is timed, when all workers are at work, as a source of any size spreads the start
over hours.
"""

import dataclasses
import hashlib
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from bench_build import enlarge

import climb_hf

CASES = (("vindr_cxr", "images", 240, {"image_size": 224}), ("ptbxl", "signals", 960, {}))
ROUNDS, SHARDS, TIMES = 3, 6, 8


def shards_per_second(name: str, folder: Path, target: Path, options: dict, num_proc: int) -> float:
    """Return the records per second over the second half of a fresh run, the whole pool at work."""
    from climb_hf.prepare.engines import run_tasks
    from climb_hf.prepare.plan import make_plan
    from climb_hf.prepare.stores import LocalStore

    shutil.rmtree(target, ignore_errors=True)
    plan = make_plan(name, folder, options, shard_size=1 << 40)
    plan.rows_per_shard = -(-plan.index.n_records // SHARDS)
    times, records = [], []
    tasks = [dataclasses.replace(task, path=f"{n}/{task.path}") for n in range(TIMES) for task in plan.tasks()]
    for entry, _ in run_tasks(tasks, LocalStore(str(target)), num_proc=num_proc):
        times.append(time.perf_counter())
        records.append(entry.records)
    half = len(times) // 2
    return sum(records[half + 1 :]) / (times[-1] - times[half])


def plain(name: str, folder: Path, cache: Path, options: dict, records: int) -> float:
    """Return the records per second of a build followed by `to_parquet` with the pictures embedded."""
    from datasets.table import embed_table_storage

    shutil.rmtree(cache, ignore_errors=True)
    start = time.perf_counter()
    for split, part in climb_hf.load_dataset(name, folder, cache_dir=cache, **options).items():
        whole = part.with_format("arrow").map(embed_table_storage, batched=True, batch_size=100)
        whole.to_parquet(str(cache / f"{split}.parquet"))
    return records / (time.perf_counter() - start)


def measure(name: str, unit: str, records: int, options: dict) -> list[dict]:
    """Return the two rows of a source."""
    with tempfile.TemporaryDirectory() as root:
        folder, target, cache = Path(root) / "raw", Path(root) / "out", Path(root) / "cache"
        climb_hf.miniature(name, folder, n=records)
        if name == "vindr_cxr":
            enlarge(folder)
        shards_per_second(name, folder, target, options, 1)  # warms the file cache
        columns = zip(
            *(
                (
                    shards_per_second(name, folder, target, options, 1),
                    plain(name, folder, cache, options, records),
                    shards_per_second(name, folder, target, options, 2),
                )
                for _ in range(ROUNDS)
            ),
            strict=True,
        )
        one, reference, two = (statistics.median(column) for column in columns)
    return [
        {"name": f"prepare {unit}, 1 process vs load_dataset and to_parquet", "ours": one, "reference": reference,
         "ratio": one / reference, "required": 1.0, "unit": f"{unit}/s"},
        {"name": f"prepare {unit}, 2 processes vs 1", "ours": two, "reference": one, "ratio": two / one,
         "required": 1.8, "unit": f"{unit}/s"},
    ]  # fmt: skip


def burn(seconds: float) -> float:
    """Return the SHA-256 digests of a megabyte per second that this process makes."""
    block, number, start = bytes(1 << 20), 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        hashlib.sha256(block)
        number += 1
    return number / (time.perf_counter() - start)


def machine() -> dict:
    """Return what two processes can have of this machine just now: with nothing to share but its cores."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.map(burn, [0.2, 0.2], chunksize=1)
        pairs = [(burn(2.0), sum(pool.map(burn, [2.0, 2.0], chunksize=1))) for _ in range(ROUNDS)]
    one, two = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"name": "SHA-256 alone, 2 processes vs 1: what the machine has free", "ours": two, "reference": one,
            "ratio": two / one, "required": None, "unit": "MiB/s"}  # fmt: skip


def run() -> list[dict]:
    """Return five rows: pictures and signals against the loop and against one process; the machine alone."""
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    rows = [row for case in CASES for row in measure(*case)]
    return [*rows, machine()]


if __name__ == "__main__":
    for line in run():
        print(line)
