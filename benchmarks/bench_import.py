"""Import time of the package against that of the libraries it plugs into, each in a fresh interpreter."""

import statistics
import subprocess
import sys
import time

LIMIT_SECONDS = 0.5


def seconds(statement: str, repeats: int = 5) -> float:
    """Return the median wall time of a fresh interpreter that runs a statement, less that of an empty one."""

    def once(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    return statistics.median(once(statement) - once("pass") for _ in range(repeats))


def run() -> list[dict]:
    """Return one row: `import climb_hf` must take less than half a second."""
    ours = max(seconds("import climb_hf"), 1e-3)
    return [
        {
            "name": "import climb_hf (limit 0.5 s)",
            "ours": ours,
            "reference": LIMIT_SECONDS,
            "ratio": LIMIT_SECONDS / ours,
            "required": 1.0,
            "unit": "s",
        }
    ]


if __name__ == "__main__":
    print(run())
