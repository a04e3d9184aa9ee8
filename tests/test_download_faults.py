"""Downloads when things go wrong: broken lines, changed files, refusals, full disks, kills, and two at once."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from download_fixtures import content, publisher, route, tree  # noqa: F401 - fixtures
from download_server import Fault

from climb_hf.access import download, http, transfer
from climb_hf.access.files import RemoteFile
from climb_hf.access.https import Https
from climb_hf.access.physionet import PhysioNet
from climb_hf.access.state import read_state
from climb_hf.access.way import Way
from climb_hf.errors import AccessError, LicenseError, OptionError
from climb_hf.registry import get_source

URL = "https://www.example.org/"
BIG = 3_000_000


@pytest.fixture
def web(publisher, route):  # noqa: F811
    """Publish files on a plain site as the source `proteins`."""

    def publish(checksums=True, sizes=True, **files):
        import hashlib

        remote = []
        for name, data in files.items():
            name = name.replace("__", ".")
            publisher.files[f"/web/{name}"] = data
            checksum = f"sha256:{hashlib.sha256(data).hexdigest()}" if checksums else ""
            remote.append(RemoteFile(name, URL + name, len(data) if sizes else None, checksum))
        route("proteins", Way("web", (Https(tuple(remote)),)))
        return publisher

    return publish


def get(to, **options):
    return download("proteins", to, accept_license=True, quiet=True, **options)


@pytest.mark.parametrize("checksums", [True, False])
def test_a_broken_line_is_continued_where_it_broke(web, tmp_path, checksums):
    data = content(0, BIG)
    site = web(checksums, a__bin=data)
    site.faults = [Fault("a.bin", times=6, drop_after=500_000)]  # more often than `RETRIES`: there is progress
    get(tmp_path / "raw")
    assert tree(tmp_path / "raw") == {"a.bin": data}
    ranges = [entry[2] for entry in site.requests("a.bin")]
    assert ranges[0] == ""
    assert all(text.startswith("bytes=") for text in ranges[1:])
    assert site.sent["/web/a.bin"] < BIG + 6 * 300_000


def test_an_interrupted_download_continues_in_a_later_run(web, tmp_path, monkeypatch):
    data = content(1, BIG)
    site = web(a__bin=data, b__bin=b"small")
    site.faults = [Fault("a.bin", times=9, drop_after=0), Fault("a.bin", times=0)]
    site.faults[0].drop_after = 700_000
    monkeypatch.setattr(http, "RETRIES", 0)
    with pytest.raises(AccessError, match=r"1 of 2 files could not be had(.|\n)*only what is missing"):
        get(tmp_path / "raw")
    assert tree(tmp_path / "raw") == {"b.bin": b"small"}  # nothing half in the tree
    assert json.loads((tmp_path / "raw/.climb/download.json").read_text())["status"] == "unfinished"
    site.faults.clear()
    report = get(tmp_path / "raw")
    assert (report.n_received, report.n_kept) == (1, 1)
    assert tree(tmp_path / "raw")["a.bin"] == data
    assert site.requests("a.bin")[-1][2].startswith("bytes=")
    assert len(site.requests("b.bin")) == 1
    assert not (tmp_path / "raw/.climb/parts").exists()


def test_a_file_that_changed_meanwhile_starts_over(web, tmp_path, monkeypatch):
    site = web(checksums=False, sizes=False, a__bin=content(2, BIG))
    site.faults = [Fault("a.bin", times=1, drop_after=1_500_000)]
    monkeypatch.setattr(http, "RETRIES", 0)
    with pytest.raises(AccessError):
        get(tmp_path / "raw")
    site.files["/web/a.bin"] = changed = content(3, BIG - 7)
    get(tmp_path / "raw")
    assert tree(tmp_path / "raw")["a.bin"] == changed


def test_a_server_without_ranges_or_validators_gives_the_whole_file_again(web, tmp_path):
    data = content(4, BIG)
    site = web(a__bin=data)
    site.ranges = site.validators = False
    site.faults = [Fault("a.bin", times=2, drop_after=600_000)]
    get(tmp_path / "raw")
    assert tree(tmp_path / "raw")["a.bin"] == data


def test_a_server_that_does_not_say_how_long_the_file_is(web, tmp_path):
    data = content(14, BIG)
    site = web(checksums=False, sizes=False, a__bin=data)
    site.chunked = True
    site.faults = [Fault("a.bin", times=1, drop_after=600_000)]
    get(tmp_path / "raw")
    assert tree(tmp_path / "raw")["a.bin"] == data
    assert site.requests("a.bin")[1][2].startswith("bytes=")


def test_a_complete_part_needs_no_second_transfer(web, tmp_path, monkeypatch):
    data = content(5, BIG)
    site = web(sizes=False, a__bin=data)

    def fail(self, path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transfer.Transfer, "finish", fail)
        with pytest.raises(KeyboardInterrupt):
            get(tmp_path / "raw")
    get(tmp_path / "raw")
    assert tree(tmp_path / "raw")["a.bin"] == data
    assert site.sent["/web/a.bin"] == BIG  # the server only said 416


def test_wrong_checksum_and_changed_size_are_not_put_in_place(web, tmp_path):
    site = web(a__bin=b"right", b__bin=b"longer")
    site.files["/web/a.bin"] = b"wrong"
    site.files["/web/b.bin"] = b"longer and longer"
    with pytest.raises(AccessError, match="2 of 2 files") as failure:
        get(tmp_path / "raw")
    assert "the checksum does not fit, twice: expected sha256:" in str(failure.value)
    assert "expected 6 bytes, the server offers 17: the file has changed" in str(failure.value)
    assert tree(tmp_path / "raw") == {}
    assert len(site.requests("a.bin")) == 2


@pytest.mark.parametrize(("status", "words"), [(404, "has no such file"), (403, "refuses access"), (410, "withdrawn")])
def test_one_file_that_is_refused_does_not_stop_the_others(web, tmp_path, status, words):
    site = web(a__bin=b"a", b__bin=b"b", c__bin=b"c")
    site.faults = [Fault("b.bin", times=99, status=status)]
    with pytest.raises(AccessError, match=f"1 of 3 files could not be had(.|\n)*{words}.*status {status}"):
        get(tmp_path / "raw", connections=1)
    assert sorted(tree(tmp_path / "raw")) == ["a.bin", "c.bin"]


def test_unauthorised_stops_everything(web, tmp_path):
    site = web(**{f"f{n}__bin": b"x" for n in range(50)})
    site.faults = [Fault("bin", times=99, status=401)]
    with pytest.raises(AccessError, match="asks for credentials"):
        get(tmp_path / "raw", connections=2)
    assert len(site.log) <= 4


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again_after_the_time_it_names(web, tmp_path, status):
    site = web(a__bin=b"a")
    seconds = 1 if status == 429 else 0
    site.faults = [Fault("a.bin", times=1, status=status, headers={"Retry-After": str(seconds)})]
    start = time.monotonic()
    get(tmp_path / "raw")
    assert time.monotonic() - start >= seconds
    assert len(site.requests("a.bin")) == 2


def test_a_server_that_stays_busy_or_asks_for_an_hour_is_given_up(web, tmp_path):
    site = web(a__bin=b"a")
    site.faults = [Fault("a.bin", times=99, status=503)]
    with pytest.raises(AccessError, match="status 503"):
        get(tmp_path / "raw")
    assert len(site.requests("a.bin")) == 4
    site.faults = [Fault("a.bin", times=1, status=429, headers={"Retry-After": "3600"})]
    with pytest.raises(AccessError, match="asks to wait 3600 s"):
        get(tmp_path / "raw")


@pytest.mark.parametrize("typed", [True, False])
def test_a_login_page_is_not_taken_for_the_file(web, tmp_path, typed):
    site = web(checksums=False, sizes=False, a__csv=b"id\n1\n")
    site.faults = [Fault("a.csv", times=1, page=True)]
    if not typed:
        site.faults.clear()
        site.files["/web/a.csv"] = b"\n<!DOCTYPE html><title>Sign in</title>"
    with pytest.raises(AccessError, match="a web page instead of the file"):
        get(tmp_path / "raw")
    assert tree(tmp_path / "raw") == {}


def test_a_name_in_a_list_cannot_leave_the_target(publisher, route, tmp_path):  # noqa: F811
    route("proteins", Way("p", (PhysioNet("x", "1"),)))
    publisher.physionet("x", "1", {"../../evil.txt": b"x", "good.txt": b"y"})
    with pytest.raises(AccessError, match=r"evil\.txt.*not a plain path"):
        get(tmp_path / "deep" / "raw")
    assert not list(tmp_path.rglob("evil.txt"))


def test_no_server_at_all(monkeypatch, route, tmp_path):  # noqa: F811
    monkeypatch.setattr(http, "RETRIES", 1)
    monkeypatch.setattr(http, "BACKOFF", 0.01)
    route("proteins", Way("web", (Https((RemoteFile("a", "http://127.0.0.1:9/a"),)),)))
    with pytest.raises(AccessError, match=r"127\.0\.0\.1:9/a` cannot be reached"):
        get(tmp_path / "raw")


# ---------------------------------------------------------------------- disk, lock, licence


def test_disk_space_is_checked_first(web, tmp_path, monkeypatch):
    import shutil

    site = web(a__bin=content(6, 1000))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=64_000_500))
    with pytest.raises(AccessError, match=r"1\.0 kB are needed, 64\.0 MB are free(.|\n)*`--only`"):
        get(tmp_path / "raw")
    assert not site.log


def test_a_disk_that_fills_up_stops_and_is_continued(web, tmp_path, monkeypatch):
    data = content(7, BIG)
    site = web(a__bin=data)
    real, room = os.write, [1_000_000]

    def write(handle, block):
        if len(block) > 100:
            room[0] -= len(block)
            if room[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
        return real(handle, block)

    monkeypatch.setattr(transfer.os, "write", write)
    with pytest.raises(AccessError, match=r"the disk is full\. Free some space and run the same command again"):
        get(tmp_path / "raw")
    room[0] = 10**9
    get(tmp_path / "raw")
    assert tree(tmp_path / "raw")["a.bin"] == data
    assert site.requests("a.bin")[-1][2].startswith("bytes=")


def test_a_read_only_target(web, tmp_path, monkeypatch):
    from pathlib import Path

    web(a__bin=b"a")
    (tmp_path / "file").write_text("x")
    with pytest.raises(AccessError, match="a file stands where a folder should be"):
        get(tmp_path / "file" / "raw")

    def refuse(self, *args, **kwargs):
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(AccessError, match=r"cannot be written to\. Choose another folder with `--to`"):
        get(tmp_path / "raw")


def test_two_downloads_of_one_target(web, tmp_path):
    site = web(a__bin=content(8, 400_000))
    site.rate = 400_000
    first = threading.Thread(target=get, args=(tmp_path / "raw",))
    first.start()
    while not site.log:
        time.sleep(0.01)
    with pytest.raises(AccessError, match="another download to this folder is running"):
        get(tmp_path / "raw")
    first.join()
    assert get(tmp_path / "raw").n_kept == 1


def test_the_licence_is_shown_and_accepted_once(web, tmp_path, monkeypatch):
    site = web(a__bin=b"a")
    with pytest.raises(LicenseError, match=r"`--accept-license`(.|\n)*PROTEINS(.|\n)*licence: unknown"):
        download("proteins", tmp_path / "raw", quiet=True)
    assert not site.log
    assert not (tmp_path / "raw").exists()
    get(tmp_path / "raw")
    licence = json.loads((tmp_path / "raw/.climb/download.json").read_text())["licence"]
    assert licence["license"] == "unknown"
    assert licence["accepted"].startswith("20")
    download("proteins", tmp_path / "raw", quiet=True)  # once is enough
    monkeypatch.setenv("CLIMB_ACCEPT_LICENSE", "1")
    download("proteins", tmp_path / "other", quiet=True)


def test_a_licence_is_accepted_for_its_publisher_only(web, tmp_path, monkeypatch):
    web(a__bin=b"a")
    get(tmp_path / "raw")
    monkeypatch.setattr(
        type(get_source("proteins")), "homepage", "https://other.example.org/"
    )  # the same words of another publisher
    with pytest.raises(LicenseError, match=r"terms: https://other\.example\.org/"):
        download("proteins", tmp_path / "raw", quiet=True)


def test_a_command_that_changes_nothing_leaves_a_complete_folder_complete(web, tmp_path):
    site = web(a__bin=b"a")
    get(tmp_path / "raw")
    before = read_state(tmp_path / "raw")
    with pytest.raises(OptionError, match="no file fits"):
        get(tmp_path / "raw", only=["typo*"])
    assert read_state(tmp_path / "raw") == before
    (tmp_path / "raw/a.bin").unlink()
    del site.files["/web/a.bin"]
    with pytest.raises(AccessError, match="could not be had"):
        get(tmp_path / "raw")
    assert read_state(tmp_path / "raw")["status"] == "unfinished"


def test_what_lies_there_is_kept_and_what_was_changed_is_fetched(web, tmp_path):
    site = web(a__bin=b"aaaa", b__bin=b"bbbb")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.bin").write_bytes(b"aaaa")  # by another program
    (tmp_path / "raw/b.bin").write_bytes(b"bbXb")
    report = get(tmp_path / "raw")
    assert (report.n_received, report.n_kept) == (1, 1)
    assert not site.requests("a.bin")
    assert tree(tmp_path / "raw") == {"a.bin": b"aaaa", "b.bin": b"bbbb"}
    (tmp_path / "raw/a.bin").unlink()
    assert get(tmp_path / "raw").n_received == 1


def test_options(web, tmp_path, monkeypatch):
    web(a__bin=b"a")
    with pytest.raises(OptionError, match=r"no way `kagle`; choose one of \['web'\]"):
        get(tmp_path / "raw", via="kagle")
    with pytest.raises(OptionError, match=r"no file fits `--only` \['x\*'\]"):
        get(tmp_path / "raw", only=["x*"])
    with pytest.raises(OptionError, match="`connections` must be from 1 to 64"):
        get(tmp_path / "raw", connections=0)
    monkeypatch.delenv("CLIMB_DATA", raising=False)
    with pytest.raises(OptionError, match="say where to put the data"):
        get(None)
    monkeypatch.setenv("CLIMB_DATA", str(tmp_path / "all"))
    get(None)
    assert tree(tmp_path / "all" / "proteins") == {"a.bin": b"a"}


def test_a_dry_run_writes_nothing_and_knows_sizes(publisher, tmp_path):  # noqa: F811
    publisher.physionet("ptb-xl", "1.0.3", {f"records500/{n}.dat": bytes(n) for n in range(10)})
    report = download("ptbxl", tmp_path / "raw", dry_run=True)
    assert (report.n_files, report.n_bytes, report.is_estimate) == (10, 45, False)
    assert not (tmp_path / "raw").exists()
    part = download("ptbxl", tmp_path / "raw", dry_run=True, only=["records500/9.dat"])
    assert (part.n_files, part.n_bytes) == (1, 9)


# ---------------------------------------------------------------------- processes

CHILD = """
import sys
from climb_hf.access.catalogue import ROUTES
from climb_hf.access.files import RemoteFile
from climb_hf.access.https import Https
from climb_hf.access.way import Way
ROUTES["proteins"] = (Way("web", (Https((RemoteFile("a.bin", "https://www.example.org/a.bin", {size}),)),)),)
sys.argv = ["climb", "download", "proteins", "--to", {to!r}, "--accept-license"]
from climb_hf.cli import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_download_resumes(publisher, tmp_path, number):  # noqa: F811
    data = content(9, BIG)
    publisher.files["/web/a.bin"] = data
    publisher.rate = 1_500_000
    code = CHILD.format(size=BIG, to=str(tmp_path / "raw"))
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )  # fmt: skip
    while publisher.sent["/web/a.bin"] < BIG // 2:
        assert child.poll() is None, child.communicate()
        time.sleep(0.02)
    publisher.rate = 50_000  # so slow that it cannot end before the signal arrives
    child.send_signal(number)
    _, errors = child.communicate(timeout=20)
    assert child.returncode == (-9 if number == signal.SIGKILL else 130)
    assert "Traceback" not in errors
    assert tree(tmp_path / "raw") == {}
    publisher.rate, sent = 0.0, publisher.sent["/web/a.bin"]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert tree(tmp_path / "raw") == {"a.bin": data}
    assert publisher.sent["/web/a.bin"] - sent < 0.7 * BIG
    assert "1 files downloaded" in done.stdout


def test_no_secret_in_output_records_or_errors(publisher, tmp_path):  # noqa: F811
    """Every text of two runs, one that is refused and one that works, is searched for what was planted."""
    planted = ("word-31c7-planted", "tok-zen-8812-planted", "tok-hub-5511-planted", "git-77aa-planted")
    files = {"a.csv": b"id\n", "breast-level_annotations.csv": b"id\n"}
    environment = {
        **os.environ, "PHYSIONET_USERNAME": "reader", "PHYSIONET_PASSWORD": planted[0], "ZENODO_TOKEN": planted[1],
        "HF_TOKEN": planted[2], "GITHUB_TOKEN": planted[3], "CLIMB_LOG": "debug",
    }  # fmt: skip
    texts = []
    for login in (f"reader:{planted[0]}", "reader:something-else"):
        publisher.physionet("vindr-mammo", "1.0.0", files, login=login)
        command = ["download", "vindr_mammo", "--to", str(tmp_path / login[-4:]), "--accept-license"]
        code = (
            "import logging, sys; logging.basicConfig(level=10); sys.argv[1:] = " + repr(command) + "\n"
            "from climb_hf.access.engine import shutil\n"
            "shutil.disk_usage = lambda path: shutil._ntuple_diskusage(10**16, 0, 10**16)\n"
            "from climb_hf.cli import main; main()"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.returncode == (0 if planted[0] in login else 1), done.stderr
        texts += [done.stdout, done.stderr]
    texts += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    import base64

    encoded = base64.b64encode(f"reader:{planted[0]}".encode()).decode()
    assert any(encoded in seen for seen in publisher.seen)  # it was sent
    assert not [text for text in texts for secret in (*planted, encoded) if secret in text]


def test_credentials_do_not_follow_a_redirect_to_another_host(publisher, route, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("PHYSIONET_USERNAME", "reader")
    monkeypatch.setenv("PHYSIONET_PASSWORD", "word-31c7-planted")
    publisher.physionet("x", "1", {"a.bin": b"data"})
    publisher.files["/web/elsewhere"] = b"data"
    publisher.files["/physionet/files/x/1/a.bin"] = (
        f"redirect:http://localhost:{publisher.port}/web/elsewhere".encode()
    )
    route("proteins", Way("p", (PhysioNet("x", "1", credentialed=True),)))
    get(tmp_path / "raw")
    headers = dict(zip((entry[1] for entry in publisher.log), publisher.seen, strict=True))
    assert "authorization" in headers["/physionet/files/x/1/a.bin"].lower()
    assert "authorization" not in headers["/web/elsewhere"].lower()
    assert tree(tmp_path / "raw") == {"a.bin": b"data"}
