"""What the tests of `prepare` share: the files of a target, a slow run to kill, rows that can be compared."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def tree(folder) -> dict[str, bytes]:
    """Content of every file of a target by path, without the lock."""
    folder = Path(folder)
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".prepare.lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def shards(folder) -> list[str]:
    return [path for path in tree(folder) if path.endswith(".parquet")]


def comparable(value):
    """Pictures by their pixels, arrays by their values; NaN equals NaN."""
    if isinstance(value, dict):
        return {key: comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    if hasattr(value, "getdata"):
        return value.mode, value.size, value.tobytes()
    return "NaN" if value != value else value


def start_command(*arguments, **environment) -> subprocess.Popen:
    """Start `climb` in a process group of its own."""
    root = Path(__file__).resolve().parents[1]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}
    code = "from climb_hf.cli import main\nif __name__ == '__main__':\n    main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], env={**variables, **environment},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip


def wait_for(condition, seconds=120.0, what="the condition"):
    """Poll until something is there, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen in {seconds} s")
