"""What the tests of downloads share: the stand-in server behind `CLIMB_MIRRORS`, short waits, small random content."""

import random
import shutil

import pytest
from download_server import serve

from climb_hf.access import http
from climb_hf.access.catalogue import ROUTES
from climb_hf.readers.tables import is_junk

SECRETS = ("PHYSIONET_USERNAME", "PHYSIONET_PASSWORD", "ZENODO_TOKEN", "GITHUB_TOKEN", "HF_TOKEN", "KAGGLE_KEY")


@pytest.fixture
def publisher(monkeypatch, tmp_path):
    for name in (*SECRETS, "CLIMB_ACCEPT_LICENSE", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setattr(http, "BACKOFF", 0.01)
    monkeypatch.setattr(http, "RETRIES", 3)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**16, 0, 10**16))
    with serve() as publisher:
        monkeypatch.setenv("CLIMB_MIRRORS", publisher.mirrors)
        yield publisher


@pytest.fixture
def route(monkeypatch):
    """Replace the way to a source: `route("proteins", Way(...))`."""

    def replace(name, *ways):
        monkeypatch.setitem(ROUTES, name, ways)

    return replace


def content(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def tree(folder):
    """Files of a folder by relative path, without ours."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and ".climb" not in path.parts
        and path.name != ".climb_miniature.json"
        and not is_junk(path.name)
    }
