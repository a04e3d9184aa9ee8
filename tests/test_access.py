"""The table of ways, the command, the download by `load_dataset`, and the Hub as a back end."""

import json
import os
import subprocess
import sys
import zipfile

import pytest
from download_fixtures import content, publisher, route, tree  # noqa: F401 - fixtures
from hub_server import Repository, stand_in_hub
from typer.testing import CliRunner

import climb_hf
from climb_hf.access import ROUTES, ways
from climb_hf.access.credentials import redact, register_secret
from climb_hf.access.files import RemoteFile, RunningDigest
from climb_hf.access.github import GitHub
from climb_hf.access.http import HttpClient, RequestError
from climb_hf.access.https import Https
from climb_hf.access.kaggle import Kaggle
from climb_hf.access.physionet import PhysioNet
from climb_hf.access.way import Way
from climb_hf.cli.app import app
from climb_hf.errors import AccessError, OptionError

URL = "https://www.example.org/PROTEINS.zip"


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_every_source_has_a_way():
    assert not set(climb_hf.list_sources()) - set(ROUTES)
    for name, found in ROUTES.items():
        assert found, name
        assert len({way.name for way in found}) == len(found)
        assert all(way.describe() for way in found)
    assert ways("a_source_of_another_package")[0].name == "hand"


def test_ways_agree_with_the_access_level_of_their_source():
    """A credentialed source asks for credentials; what is downloaded unasked is open."""
    for name in climb_hf.list_sources():
        source, default = climb_hf.get_source(name), ways(name)[0]
        parts = [part for way in ways(name) for part in way.parts]
        if source.access == "credentialed":
            assert any(isinstance(part, PhysioNet) and part.credentialed for part in parts), name
            assert not default.is_open, name
        if source.access in ("application", "competition"):
            assert not default.is_open, name
        for part in parts:
            if isinstance(part, GitHub) and part.commit:
                assert len(part.commit) == 40
            if isinstance(part, Kaggle):
                assert bool(part.dataset) != bool(part.competition)
                assert part.dataset.count("/") == (1 if part.dataset else 0)
            if isinstance(part, PhysioNet) and part is default.parts[0]:
                assert part.slug in " ".join((source.homepage, *source.how_to_get)), (name, part)
            for file in getattr(part, "remote", ()):
                assert file.url.startswith("https://") or name == "ppi"
                if file.checksum:
                    RunningDigest(file.checksum, 0)


def test_the_command_plans_and_downloads(publisher, tmp_path):  # noqa: F811
    publisher.physionet("ptb-xl", "1.0.3", {"ptbxl_database.csv": b"x" * 1500, "records500/1.dat": b"y" * 500})
    text = run("download", "ptbxl", "--to", tmp_path / "raw", "--dry-run").output
    assert "ptbxl: 2 files, 2.0 kB, from PhysioNet ptb-xl 1.0.3" in text
    assert "1.5 kB  ptbxl_database.csv" in text
    assert f"Next: climb download ptbxl --to {tmp_path / 'raw'} --accept-license" in text
    result = run("download", "ptbxl", "--to", tmp_path / "raw", "--accept-license")
    assert "licence: CC-BY-4.0" in result.output
    assert "2 files downloaded" in result.output
    assert f"Next: climb doctor ptbxl --data-dir {tmp_path / 'raw'}" in result.output
    several = run("download", "ptbxl", "ptbxl_finegrained", "--to", tmp_path / "all", "--accept-license", "--json")
    assert [report["n_received"] for report in json.loads(several.stdout)] == [2, 2]
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["ptbxl", "ptbxl_finegrained"]
    assert run("download", "ptbxl", "chexpert", "--from", "x.zip", "--to", tmp_path).exit_code == 2


@pytest.fixture
def proteins(publisher, route, miniatures, tmp_path):  # noqa: F811
    folder, expected = miniatures("proteins")
    with zipfile.ZipFile(tmp_path / "PROTEINS.zip", "w") as file:
        for name, data in tree(folder).items():
            file.writestr(name, data)
    publisher.files["/web/PROTEINS.zip"] = (tmp_path / "PROTEINS.zip").read_bytes()
    route("proteins", Way("web", (Https((RemoteFile("PROTEINS.zip", URL, unpack=True),)),)))
    return publisher, len(expected)


def test_load_dataset_downloads_an_open_source_once_it_is_accepted(proteins, tmp_path, monkeypatch):
    site, n_rows = proteins
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(
        AccessError, match=r"climb download proteins --to \S+raw --accept-license(.|\n)*accept_license=True"
    ):
        climb_hf.load_dataset("proteins", tmp_path / "raw", cache_dir=tmp_path / "cache")
    assert not site.log
    loaded = climb_hf.load_dataset("proteins", tmp_path / "raw", cache_dir=tmp_path / "cache", accept_license=True)
    assert sum(map(len, loaded.values())) == n_rows
    n_requests = len(site.log)
    climb_hf.load_dataset("proteins", tmp_path / "raw", cache_dir=tmp_path / "cache", accept_license=True)
    assert len(site.log) == n_requests

    monkeypatch.setenv("CLIMB_ACCEPT_LICENSE", "1")
    monkeypatch.setenv("CLIMB_DATA", str(tmp_path / "all"))
    import datasets

    hooked = datasets.load_dataset("climb", "proteins", cache_dir=str(tmp_path / "cache"))
    assert sum(map(len, hooked.values())) == n_rows
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(AccessError, match="is not a folder"):
        climb_hf.load_dataset("proteins", tmp_path / "offline", cache_dir=tmp_path / "cache")


def test_an_unfinished_download_is_never_loaded_as_if_it_were_whole(proteins, tmp_path):
    climb_hf.access.download("proteins", tmp_path / "raw", accept_license=True, quiet=True)
    facts = tmp_path / "raw" / ".climb" / "download.json"
    facts.write_text(facts.read_text().replace('"complete"', '"unfinished"'))
    with pytest.raises(AccessError, match=r"did not end, so files are missing\. Go on with `climb download proteins"):
        climb_hf.load_dataset("proteins", tmp_path / "raw", cache_dir=tmp_path / "cache")


def test_gated_sources_are_never_downloaded_by_themselves(publisher, tmp_path):  # noqa: F811
    for name in ("mimic_cxr", "aptos2019", "chexpert"):
        with pytest.raises(AccessError, match=r"1\. "):
            climb_hf.load_dataset(name, tmp_path / name, cache_dir=tmp_path / "cache", accept_license=True)
    assert not publisher.log


HUB = """
import sys
from climb_hf.access import download
from climb_hf.access.catalogue import ROUTES
from climb_hf.access.hub import Hub
from climb_hf.access.way import Way
rename = (r"images/(case_\\d+)\\.nii\\.gz", r"dataset/\\1/imaging.nii.gz")
ROUTES["proteins"] = (Way("hub", (Hub({repo!r}, only=("images/*", "*.json"), rename=rename),)),)
report = download("proteins", {to!r}, accept_license=True, quiet=True)
print(report.n_received, report.n_kept)
"""


def test_the_hub_at_one_commit_with_a_token(tmp_path):
    files = {"images/case_00001.nii.gz": content(0, 300_000), "a.json": b"{}", "other.txt": b"no"}
    environment = {**os.environ, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf-token-planted"}
    with stand_in_hub({"hf-token-planted": "reader"}) as (endpoint, hub):
        repository = Repository(private=True, large={"images/case_00001.nii.gz"})
        repository.add("main", files, "first")
        hub.repositories["dataset", "reader/kits"] = repository
        environment["HF_ENDPOINT"] = endpoint
        to = tmp_path / "raw"

        def call(repo="reader/kits", **changes):
            code = HUB.format(repo=repo, to=str(to))
            return subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, env={**environment, **changes}
            )

        done = call()
        assert done.stdout.split() == ["2", "0"], done.stderr
        assert tree(to) == {"dataset/case_00001/imaging.nii.gz": content(0, 300_000), "a.json": b"{}"}
        assert call().stdout.split() == ["0", "2"]
        refused = call("reader/absent")
        assert refused.returncode == 1
        assert "cannot be listed" in refused.stderr
        texts = [done.stdout, done.stderr, refused.stderr, *(path.read_text() for path in to.rglob("*.json*"))]
        assert not any("hf-token-planted" in text for text in texts)


def test_the_client_refuses_unsafe_addresses(publisher, monkeypatch):  # noqa: F811
    client = HttpClient()
    for url in ("file:///etc/passwd", "ftp://host/x"):
        with pytest.raises(RequestError, match="not an address"):
            client.open(url)
    publisher.files["/web/loop"] = f"redirect:{publisher.base}/web/loop".encode()
    publisher.files["/web/file"] = b"redirect:file:///etc/passwd"
    with pytest.raises(RequestError, match="more than 10 redirects"):
        client.open("https://www.example.org/loop")
    with pytest.raises(RequestError, match="unsafe address"):
        client.open("https://www.example.org/file")
    monkeypatch.setenv("CLIMB_MIRRORS", "nonsense")
    with pytest.raises(OptionError, match="CLIMB_MIRRORS"):
        HttpClient()


def test_secrets_are_taken_out_of_texts():
    register_secret("a-planted-secret", "", None, "abc")
    assert redact("x a-planted-secret abc") == "x *** abc"
    assert "a-planted-secret" not in str(RequestError("at https://h/?k=a-planted-secret"))
