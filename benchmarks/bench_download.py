"""Downloads from a local server: one large file against `curl`, 2,000 small files against a sequential loop.

Run: `python benchmarks/bench_download.py`. Ours is the whole `download()`: licence record, lock, free space, journal,
and the move into place. `curl` writes the same file and does no more; the second row gives both sides the SHA-256 to
check. The loop keeps its connection, as a careful loop does; the server answers each request after 10 ms, which is the
distance of a server in the same country. A figure is the median of rounds in which both sides take turns.
"""

import hashlib
import http.client
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from climb_hf.access import download
from climb_hf.access.catalogue import ROUTES
from climb_hf.access.files import RemoteFile
from climb_hf.access.https import Https
from climb_hf.access.way import Way

BIG, SMALL, FILES = 300_000_000, 10_000, 2000
LATENCY = 0.010
ROUNDS = 7


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    folder, latency = Path(), 0.0

    def log_message(self, *args: object) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        """Send a file by `sendfile`."""
        path = self.folder / self.path.lstrip("/")
        if self.latency and path.stat().st_size < BIG:
            time.sleep(self.latency)
        self.send_response(200)
        self.send_header("Content-Length", str(path.stat().st_size))
        self.end_headers()
        self.wfile.flush()
        with path.open("rb") as stream:
            self.connection.sendfile(stream)


@contextmanager
def serve(folder: Path) -> Iterator[int]:
    """Run the server in a process of its own; yields its port."""
    command = [sys.executable, __file__, "--serve", str(folder), str(LATENCY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


def ours(files: list[RemoteFile], to: Path) -> None:
    """Download with the command's function."""
    ROUTES["proteins"] = (Way("web", (Https(tuple(files)),)),)
    report = download("proteins", to, accept_license=True, quiet=True)
    if report.n_received != len(files):
        raise RuntimeError(f"{report.n_received} of {len(files)} files arrived")


def curl(url: str, to: Path, checksum: str = "") -> None:
    """Download with curl, and check with `sha256sum`."""
    subprocess.run(["curl", "-s", "-f", "-o", str(to), url], check=True)
    if checksum:
        line = f"{checksum}  {to}\n"
        subprocess.run(["sha256sum", "--status", "-c", "-"], input=line, text=True, check=True)


def loop(files: list[RemoteFile], port: int, to: Path) -> None:
    """Download file after file over one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for file in files:
        connection.request("GET", "/" + file.url.rpartition("/")[2])
        data = connection.getresponse().read()
        path = to / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def compare(
    name: str, unit: str, required: float | None, rounds: int, a: Callable[[Path], None], b: Callable[[Path], None]
) -> dict[str, Any]:
    """Time both in turns, each into a folder of its own."""
    times: dict[str, list[float]] = {"ours": [], "reference": []}
    for number in range(rounds + 1):
        for side, action in (("ours", a), ("reference", b)):
            with tempfile.TemporaryDirectory(dir=_place()) as folder:
                start = time.perf_counter()
                action(Path(folder))
                if number:  # the first round warms up
                    times[side].append(time.perf_counter() - start)
    fast, slow = (statistics.median(times[side]) for side in ("ours", "reference"))
    return {"name": name, "ours": fast, "reference": slow, "ratio": slow / fast, "required": required, "unit": unit}


def _place() -> str | None:
    """A folder in memory where there is one, so that no disk is measured."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and shutil.disk_usage(memory).free > 4 * BIG else None


def run() -> list[dict[str, Any]]:
    """Measure; rows of name, ours, reference, ratio, required ratio, unit. Without curl its rows are left out."""
    os.environ.pop("CLIMB_MIRRORS", None)
    rows = []
    with tempfile.TemporaryDirectory(dir=_place()) as name:
        folder = Path(name)
        source = random.Random(0)
        big = folder / "big.bin"
        block = source.randbytes(1_000_000)
        big.write_bytes(block * (BIG // len(block)))
        sums = []
        for number in range(FILES):
            data = source.randbytes(SMALL)
            (folder / f"{number:04d}.dat").write_bytes(data)
            sums.append(hashlib.sha256(data).hexdigest())
        sha = hashlib.sha256(big.read_bytes()).hexdigest()
        with serve(folder) as port:
            base = f"http://127.0.0.1:{port}"
            plain = [RemoteFile("big.bin", f"{base}/big.bin", BIG)]
            checked = [RemoteFile("big.bin", f"{base}/big.bin", BIG, f"sha256:{sha}")]
            if shutil.which("curl"):
                title = f"download: one file of {BIG // 10**6} MB, against curl"
                rows.append(
                    compare(
                        title, "s", 0.9, ROUNDS, lambda to: ours(plain, to), lambda to: curl(plain[0].url, to / "f")
                    )
                )
                rows.append(
                    compare(
                        "… with SHA-256, against curl and sha256sum", "s", 0.9, ROUNDS,
                        lambda to: ours(checked, to), lambda to: curl(plain[0].url, to / "f", sha),
                    )
                )  # fmt: skip
            else:
                sys.stderr.write("curl is not installed: its rows are left out\n")
            small = [
                RemoteFile(f"records/{n // 100:02d}/{n:04d}.dat", f"{base}/{n:04d}.dat", SMALL, f"sha256:{sums[n]}")
                for n in range(FILES)
            ]
            title = f"download: {FILES:,} files of {SMALL // 1000} kB at {LATENCY * 1000:.0f} ms, against a loop"
            rows.append(compare(title, "s", 5.0, 3, lambda to: ours(small, to), lambda to: loop(small, port, to)))
    return rows


def main() -> None:
    """Serve a folder, or print the rows."""
    if sys.argv[1:2] == ["--serve"]:
        _Handler.folder, _Handler.latency = Path(sys.argv[2]), float(sys.argv[3])
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.daemon_threads = True
        print(server.server_port, flush=True)
        server.serve_forever()
    from climb_hf.report.tables import format_table

    print(format_table(run(), ["name", "ours", "reference", "unit", "ratio", "required"]))


if __name__ == "__main__":
    main()
