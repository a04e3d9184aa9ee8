"""Runs every benchmark and prints one table: ours, the reference, their ratio in the same run, and what is required.

Each `bench_*.py` has `run()`, which measures ours and the reference alternately and returns rows of medians. Absolute
times depend on the machine; the ratios are what we claim.
"""

import importlib
import sys
from pathlib import Path

from climb_hf.report.tables import format_table

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run all benchmarks, or those named on the command line; returns 1 where a required ratio is missed."""
    sys.path.insert(0, str(HERE))
    names = sys.argv[1:] or sorted(path.stem for path in HERE.glob("bench_*.py"))
    rows = []
    for name in names:
        sys.stderr.write(f"{name} …\n")
        rows += importlib.import_module(name).run()
    for row in rows:
        row["met"] = None if row.get("required") is None else row["ratio"] >= row["required"]
    print(format_table(rows, ["name", "ours", "reference", "unit", "ratio", "required", "met"]))
    return int(any(row["met"] is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
