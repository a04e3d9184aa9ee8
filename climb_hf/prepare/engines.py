"""Who builds the shards: this process, worker processes, or the machines of a Ray cluster. The bytes are the same.

An engine is given the tasks and yields a result per shard, in any order. A shard whose worker dies (killed for its
memory, a machine that is switched off) is given to another; a shard that kills its workers again and again is named.
"""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from climb_hf.errors import AccessError, ClimbError, OptionError
from climb_hf.optional import require
from climb_hf.prepare.shard import build_shard

if TYPE_CHECKING:
    from climb_hf.prepare.manifest import ShardEntry
    from climb_hf.prepare.stores import Store

__all__ = ["check_engine", "run_tasks"]

#: Options of glibc's `mallopt`, from its malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: Workers that one shard may lose before the run gives up.
ATTEMPTS = 3

Result = tuple["ShardEntry", Any]
#: What describes one shard; it has a `path` and can be pickled: `ShardTask` for `build_shard`.
Task = Any
Builder = Callable[[Task, "Store"], Result]


def run_tasks(
    tasks: Iterable[Task], store: "Store", *, engine: str = "local", num_proc: int = 1, address: str | None = None,
    build: Builder | None = None,
) -> Generator[Result, None, None]:  # fmt: skip
    """Build shards and yield each when it is in the target.

    Args:
        tasks (`Iterable`): what to build, each with a `path`, such as `ShardTask`.
        store (`Store`): the target.
        engine (`str`, *optional*, defaults to `"local"`): `"local"` or `"ray"`.
        num_proc (`int`, *optional*, defaults to `1`): worker processes of the local engine; `1` works in this process.
        address (`str`, *optional*): of a Ray cluster; by default `RAY_ADDRESS`, or a cluster of this machine alone.
        build (`Callable`, *optional*): builds one shard of a task and a store. Defaults to `build_shard`.

    Yields:
        The entry of a shard, and the store's receipt.

    Raises:
        OptionError: no such engine, or `address` without Ray.
        DependencyError: Ray is not installed.
        ClimbError: a shard lost its worker three times.
    """
    check_engine(engine, num_proc, address)
    build = build or build_shard
    if engine == "ray":
        yield from _ray(tasks, store, address, build)
    elif num_proc == 1:
        for task in tasks:
            yield build(task, store)
    else:
        yield from _pool(tasks, store, num_proc, build)


def check_engine(engine: str, num_proc: int, address: str | None) -> None:
    """Refuse an engine, number of processes or address that does not exist.

    Raises:
        OptionError: names the argument.
    """
    if engine not in ("local", "ray"):
        raise OptionError(f"`engine` must be local or ray, got {engine!r}.")
    if engine == "local" and address is not None:
        raise OptionError(f"`address` is for `engine='ray'`, got {address!r} with `engine='local'`.")
    if num_proc < 1:
        raise OptionError(f"`num_proc` must be 1 or more, got {num_proc}.")


# ---------------------------------------------------------------------- processes of this machine


def _keep_freed_memory() -> None:
    """Let the C library keep what is freed for the next picture, instead of asking the system for it again.

    A fresh worker has an empty heap, so glibc gives every large buffer back at once, and the kernel clears its pages
    anew for the next one: 1.8 million page faults and a fifth of the time of megapixel pictures. Other C libraries
    have no such function, and go on as they are.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_M_MMAP_THRESHOLD, 32 << 20)  # the largest that glibc takes
        set_option(_M_TRIM_THRESHOLD, 256 << 20)


def _begin_worker() -> None:
    """Leave Ctrl-C to the main process, and end with it: a worker without its parent would wait for ever."""
    _keep_freed_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _pool(tasks: Iterable[Task], store: "Store", num_proc: int, build: Builder) -> Iterator[Result]:
    """Keep `num_proc` spawned workers busy; after the death of one, begin a new pool with what was under way."""
    todo, attempts = iter(tasks), dict[str, int]()
    waiting: deque[Task] = deque()
    is_done = False
    while not is_done:
        pool = ProcessPoolExecutor(num_proc, multiprocessing.get_context("spawn"), initializer=_begin_worker)
        running: dict[Future[Result], Task] = {}
        try:
            while True:
                waiting.extend(islice(todo, max(0, 2 * num_proc - len(running) - len(waiting))))
                while waiting and len(running) < 2 * num_proc:
                    running[pool.submit(build, waiting[0], store)] = waiting[0]
                    waiting.popleft()  # only now: a pool that is already broken takes nothing
                if not running:
                    is_done = True
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    del running[future]
                    yield result
        except BrokenProcessPool:
            done = [future for future in running if _has_result(future)]
            lost = [task for future, task in running.items() if future not in done]
            waiting.extendleft(reversed(lost))
            for future in done:
                yield future.result()
            _count_deaths(lost, attempts)
        finally:
            _stop(pool)


def _has_result(future: "Future[Result]") -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _count_deaths(lost: list[Task], attempts: dict[str, int]) -> None:
    """Count a death for every shard that was under way, and give up where there were too many."""
    for task in lost:
        attempts[task.path] = attempts.get(task.path, 0) + 1
    worn = [path for path, number in attempts.items() if number >= ATTEMPTS]
    if worn:
        raise ClimbError(
            f"a worker process died {ATTEMPTS} times while one of these shards was built: {', '.join(worn)}. The "
            "usual cause is memory: use fewer `num_proc` or a smaller `shard_size` (`dmesg` names killed processes). "
            'Or, in a script of your own, that the call does not stand under `if __name__ == "__main__":`, which '
            "worker processes need; `num_proc=1` needs none. Run the same command again to go on."
        )


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers at once; what they were writing vanishes or is removed by the next run."""
    workers = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.join(timeout=0.2)
        if worker.is_alive():
            worker.terminate()
    for worker in workers:
        worker.join()


# ---------------------------------------------------------------------- Ray


def _ray(tasks: Iterable[Task], store: "Store", address: str | None, build: Builder) -> Iterator[Result]:
    """Give every shard to Ray as one task on one core; Ray starts it anew elsewhere when its worker dies."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = require("ray", extra="ray")
    begun = not ray.is_initialized()
    if begun:
        _check_address(address)
        try:
            ray.init(address=address, log_to_driver=False, include_dashboard=False if address is None else None)
        except ConnectionError as error:
            raise AccessError(
                f"no Ray cluster at {address!r} ({error}). Start one with `ray start --head`, or leave `address` out."
            ) from error
    remote = ray.remote(build).options(num_cpus=1, max_retries=ATTEMPTS, retry_exceptions=False)
    running: list[Any] = []
    try:
        target, todo = ray.put(store), iter(tasks)
        while True:
            width = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))
            running += [remote.remote(task, target) for task in islice(todo, max(0, width - len(running)))]
            if not running:
                break
            ready, running = ray.wait(running, num_returns=1)
            yield _result(ray, ready[0])
    finally:
        for reference in running:
            with contextlib.suppress(Exception):  # the cluster may be gone
                ray.cancel(reference, force=True)
        if begun:
            ray.shutdown()


def _check_address(address: str | None) -> None:
    """Find out at once that nobody answers at HOST:PORT; Ray would try for minutes."""
    parts = urlsplit(address if "://" in (address or "") else f"//{address}") if address else None
    if parts is None or not parts.hostname or parts.port is None:
        return  # "auto", "local" or a folder: found or refused at once by Ray
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=10).close()
    except OSError as error:
        raise AccessError(
            f"no Ray cluster at {address!r} ({error}). Start one with `ray start --head`, or leave `address` out."
        ) from error


def _result(ray: Any, reference: Any) -> Result:  # noqa: ANN401 - ray is optional
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise cause if isinstance(cause, ClimbError) else error from None
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
        raise ClimbError(
            f"a shard lost its worker {ATTEMPTS + 1} times. The usual cause is memory: use a smaller `shard_size`. "
            "Run the same command again to go on."
        ) from error
