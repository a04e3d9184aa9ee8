"""Who builds the shards: processes that are killed, Ray with a dead worker, a bucket behind a real S3 server."""

import contextlib
import functools
import json
import os
import signal
import threading
import time
import urllib.request
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace

import datasets
import pytest
from prepare_helpers import start_command, tree, wait_for

from climb_hf import optional
from climb_hf.errors import AccessError, ClimbError, OptionError
from climb_hf.prepare import engines, prepare, read_manifest, verify
from climb_hf.prepare.card import UNFINISHED
from climb_hf.prepare.plan import make_plan
from climb_hf.prepare.stores import LocalStore, open_store

SETTINGS = {"shard_size": "60KB", "synthetic": True}


def parts(folder, name):
    """The small files of shards that are complete."""
    return sorted((folder / "manifest" / name).glob("*-of-*.json"))


def test_worker_with_other_versions_is_refused(miniatures, tmp_path):
    raw, _ = miniatures("brain_tumor", 12)
    plan = make_plan("brain_tumor", raw, {}, shard_size=60_000)
    plan.header["environment"] = {**plan.header["environment"], "pyarrow": "0.1"}
    with pytest.raises(OptionError, match="same versions on every machine"):
        engines.build_shard(plan.tasks()[0], LocalStore(str(tmp_path)))


def test_plan_is_the_same_for_another_copy_of_the_data(miniatures, tmp_path):
    raw, _ = miniatures("ptbxl", 12)
    copy, _ = miniatures.copy("ptbxl", tmp_path / "elsewhere", 12)
    os.utime(copy / "ptbxl_database.csv", (1, 1))
    plans = [make_plan("ptbxl", folder, {}, shard_size=60_000) for folder in (raw, copy)]
    assert plans[0].header == plans[1].header
    paths = [[(task.path, [record.id for record in task.records]) for task in plan.tasks()] for plan in plans]
    assert paths[0] == paths[1]
    assert make_plan("ptbxl", raw, {"length": 500}, shard_size=60_000).header != plans[0].header


def test_missing_extras_are_named(monkeypatch, miniatures, tmp_path):
    def absent(module):
        raise ImportError(f"No module named {module!r}")

    monkeypatch.setattr(optional.importlib, "import_module", absent)
    with pytest.raises(ClimbError, match=r"pip install 'climb-hf\[s3\]'"):
        open_store("s3://bucket/prefix")
    with pytest.raises(ClimbError, match=r"pip install 'climb-hf\[ray\]'"):
        list(engines.run_tasks([], LocalStore(str(tmp_path)), engine="ray"))


def test_two_processes_write_what_one_writes(miniatures, tmp_path):
    raw, _ = miniatures("brain_tumor", 24)
    (one,) = prepare({"brain_tumor": raw}, tmp_path / "a" / "out", num_proc=1, **SETTINGS)
    (two,) = prepare({"brain_tumor": raw}, tmp_path / "b" / "out", num_proc=2, **SETTINGS)
    assert one.sha256 == two.sha256
    assert tree(tmp_path / "a" / "out") == tree(tmp_path / "b" / "out")


@pytest.mark.slow
def test_kill_9_during_prepare_resumes_and_equals_byte_for_byte(miniatures, tmp_path):
    raw, _ = miniatures("ptbxl", 96)
    target = tmp_path / "b" / "out"
    command = ("prepare", f"ptbxl={raw}", "--to", target, "--num-proc", 2, "--shard-size", "60KB", "--synthetic")
    for number in (1, 20):
        run = start_command(*command)
        wait_for(lambda: len(parts(target, "ptbxl")) >= number or run.poll() is not None, what="a shard")  # noqa: B023
        assert run.poll() is None, run.communicate()
        workers = {int(line) for line in _children(run.pid)}
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        assert UNFINISHED in (target / "README.md").read_text()  # does not load
        wait_for(lambda: not any(map(_is_running, workers)), what="the end of the workers")  # noqa: B023
    before = len(parts(target, "ptbxl"))
    run = start_command(*command, "--json")
    output, _ = run.communicate(timeout=300)
    assert run.returncode == 0, output
    (found,) = json.loads(output[output.index("[\n") :])
    assert found["reused"] >= before - 1 >= 19
    (whole,) = prepare({"ptbxl": raw}, tmp_path / "a" / "out", num_proc=1, **SETTINGS)
    assert found["sha256"] == whole.sha256
    assert tree(target) == tree(tmp_path / "a" / "out")


@pytest.mark.slow
def test_shards_of_a_dead_worker_are_built_by_another(miniatures, tmp_path):
    raw, _ = miniatures("ptbxl", 96)
    target, killed = tmp_path / "b" / "out", []

    def kill_one():
        wait_for(lambda: len(parts(target, "ptbxl")) >= 3, what="three shards")
        killed.append(next(iter(_children(os.getpid(), "spawn_main"))))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_one)
    killer.start()
    (done,) = prepare({"ptbxl": raw}, target, num_proc=2, **SETTINGS)
    killer.join()
    assert killed
    (whole,) = prepare({"ptbxl": raw}, tmp_path / "a" / "out", num_proc=1, **SETTINGS)
    assert done.sha256 == whole.sha256
    assert tree(target) == tree(tmp_path / "a" / "out")


class PoolThatBreaks:
    """A pool of no processes whose worker dies between two results: it notices when the next task is given to it."""

    def __init__(self, submitted, refuse_at, *_, **__):
        self._submitted, self._refuse_at = submitted, refuse_at

    def submit(self, build, task, store):
        self._submitted.append(task)
        if len(self._submitted) in self._refuse_at:
            raise BrokenProcessPool("a process was terminated abruptly")
        future = Future()
        future.set_result(build(task, store))
        return future

    def shutdown(self, **_):
        pass


def test_tasks_that_a_broken_pool_does_not_take_are_not_lost(monkeypatch):
    monkeypatch.setattr(engines, "ProcessPoolExecutor", functools.partial(PoolThatBreaks, [], (4, 7)))
    tasks = [SimpleNamespace(path=f"shard-{number}") for number in range(9)]
    results = engines.run_tasks(tasks, None, num_proc=2, build=lambda task, store: (task.path, None))
    assert sorted(path for path, _ in results) == [task.path for task in tasks]


def _die(task, store):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_shard_that_kills_its_workers_is_named(miniatures, tmp_path, monkeypatch):
    raw, _ = miniatures("brain_tumor", 12)
    monkeypatch.setattr(engines, "build_shard", _die)
    with pytest.raises(ClimbError, match=r"died 3 times .*brain_tumor/train-00000-of-.*num_proc.*__main__"):
        prepare({"brain_tumor": raw}, tmp_path / "out", num_proc=2, **SETTINGS)


@pytest.mark.slow
def test_ctrl_c_stops_at_once_and_leaves_nothing_half(miniatures, tmp_path):
    raw, _ = miniatures("ptbxl", 96)
    target = tmp_path / "out"
    run = start_command("prepare", f"ptbxl={raw}", "--to", target, "--num-proc", 2, "--shard-size", "60KB")
    wait_for(lambda: len(parts(target, "ptbxl")) >= 2, what="two shards")
    begun = time.monotonic()
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to all processes of the group
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 130, output
    assert time.monotonic() - begun < 20
    assert "Traceback" not in output
    assert not [path for path in tree(target) if ".tmp-" in path]


def _children(process: int, named: str = "") -> list[int]:
    """Processes below one, whose command line has a word."""
    import psutil

    found = []
    for child in psutil.Process(process).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if named in " ".join(child.cmdline()):
                found.append(child.pid)
    return found


def _is_running(process: int) -> bool:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    return False


# ---------------------------------------------------------------------- Ray


@pytest.mark.slow
def test_ray_with_a_killed_worker_gives_the_manifest_of_the_local_engine(miniatures, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is not installed (extra `ray`): its engine is not tested")
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
    raw, _ = miniatures("ptbxl", 96)
    target, killed = tmp_path / "b" / "out", []

    def kill_one():
        wait_for(lambda: len(parts(target, "ptbxl")) >= 2, what="two shards")
        (worker, *_) = wait_for(lambda: _children(os.getpid(), "ray::build_shard"), what="a task of Ray")
        os.kill(worker, signal.SIGKILL)
        killed.append(worker)

    killer = threading.Thread(target=kill_one)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        killer.start()
        (done,) = prepare({"ptbxl": raw}, target, engine="ray", **SETTINGS)
        killer.join()
    finally:
        ray.shutdown()
    assert len(killed) == 1
    (whole,) = prepare({"ptbxl": raw}, tmp_path / "a" / "out", num_proc=1, **SETTINGS)
    assert done.sha256 == whole.sha256
    assert tree(target) == tree(tmp_path / "a" / "out")


@pytest.mark.slow
def test_ray_raises_our_errors_and_names_a_cluster_that_is_not_there(miniatures, tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed (extra `ray`): its engine is not tested")
    raw, _ = miniatures("brain_tumor", 12)
    with pytest.raises(AccessError, match="ray start --head"):
        prepare({"brain_tumor": raw}, tmp_path / "out", engine="ray", address="127.0.0.1:1", **SETTINGS)


# ---------------------------------------------------------------------- S3


@pytest.fixture
def bucket(monkeypatch):
    """A bucket of a real S3-compatible server on the loopback interface."""
    pytest.importorskip("s3fs", reason="s3fs is not installed (extra `s3`)")
    moto = pytest.importorskip("moto.server", reason="moto is not installed (extra `dev`)")
    import s3fs

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()  # what an earlier test left
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret-4f1e")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("climb")
    yield "s3://climb/data"
    server.stop()
    s3fs.S3FileSystem.clear_instance_cache()


def objects(prefix="climb/data"):
    import s3fs

    system = s3fs.S3FileSystem(use_listings_cache=False)
    return {key.removeprefix(f"{prefix}/"): system.cat_file(key) for key in system.find(prefix)}


@pytest.mark.slow
def test_bucket_holds_the_bytes_of_a_folder_and_resumes(bucket, miniatures, tmp_path, monkeypatch, caplog):
    raw, _ = miniatures("ptbxl", 12)
    (whole,) = prepare({"ptbxl": raw}, tmp_path / "data", num_proc=1, **SETTINGS)
    real, built = engines.build_shard, []

    def build(task, store):
        built.append(task.path)
        if len(built) == 4:
            raise KeyboardInterrupt
        return real(task, store)

    with monkeypatch.context() as patched:
        patched.setattr(engines, "build_shard", build)
        with pytest.raises(KeyboardInterrupt):
            prepare({"ptbxl": raw}, bucket, num_proc=1, **SETTINGS)
    assert sum(path.endswith(".parquet") for path in objects()) == 3
    (done,) = prepare({"ptbxl": raw}, bucket, num_proc=2, **SETTINGS)
    assert (done.reused, done.sha256) == (3, whole.sha256)
    assert objects() == tree(tmp_path / "data")
    assert verify(bucket, "ptbxl") == []
    assert read_manifest(bucket, "ptbxl").sha256 == whole.sha256
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)  # it stops requests to buckets too
    files = {"train": f"{bucket}/ptbxl/train-*.parquet"}
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == whole.splits["train"]
    assert not any(b"planted-secret" in content for content in objects().values())
    assert "planted-secret" not in caplog.text


@pytest.mark.slow
def test_bucket_upload_that_fails_leaves_nothing(bucket):
    store = open_store(bucket)

    def fail(size):
        with store.writer("ptbxl/shard.parquet") as upload:
            upload.stream.write(b"x" * size)
            raise ZeroDivisionError

    for size in (1000, 80 << 20):  # in one piece, and after the first part of several has gone
        with pytest.raises(ZeroDivisionError):
            fail(size)
    assert objects() == {}
    assert store.read("ptbxl/shard.parquet") is None


@pytest.mark.slow
def test_bucket_is_allowed_for_closed_data_with_a_warning(bucket, miniatures, caplog):
    raw, _ = miniatures("vindr_cxr", 12)
    prepare({"vindr_cxr": raw}, bucket, num_proc=1, **SETTINGS)
    assert "the terms of vindr_cxr forbid passing copies on; keep the bucket closed" in caplog.text
    assert b"**Not to be passed on.** The terms of `vindr_cxr`" in objects()["README.md"]


@pytest.mark.slow
def test_bucket_lock(bucket, monkeypatch):
    from climb_hf.prepare import bucket as module

    store, other = open_store(bucket), open_store(bucket)
    with store.lock(), pytest.raises(AccessError, match=r"another .*process \d+ on .*or choose another target"):
        other.lock().__enter__()
    assert objects() == {}
    gone = {"host": "another-machine", "pid": 1}
    store.write(".prepare.lock", json.dumps(gone).encode())
    with pytest.raises(AccessError, match="another-machine"):
        other.lock().__enter__()
    monkeypatch.setattr(module, "_DEAD", 0.0)
    with other.lock():  # no sign of life for too long
        assert json.loads(objects()[".prepare.lock"])["pid"] == os.getpid()
    assert objects() == {}


@pytest.mark.slow
def test_bucket_that_is_not_there_or_cannot_be_reached(bucket, miniatures, monkeypatch):
    import s3fs

    raw, _ = miniatures("brain_tumor", 12)
    with pytest.raises(AccessError, match="s3://nowhere/x"):
        prepare({"brain_tumor": raw}, "s3://nowhere/x", num_proc=1, **SETTINGS)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(AccessError, match="AWS_ENDPOINT_URL"):
        prepare({"brain_tumor": raw}, bucket, num_proc=1, **SETTINGS)
