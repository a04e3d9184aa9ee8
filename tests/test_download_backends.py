"""Every back end end to end against a real local server: what arrives is what the publisher holds, and it loads."""

import json
import re
import zipfile
from types import SimpleNamespace

import pytest
from download_fixtures import content, publisher, route, tree  # noqa: F401 - fixtures

import climb_hf
from climb_hf.access import download
from climb_hf.access.files import RemoteFile
from climb_hf.access.github import GitHub, GitHubFiles
from climb_hf.access.https import Https, HttpTable, HttpTree
from climb_hf.access.kaggle import Kaggle
from climb_hf.access.physionet import PhysioNet
from climb_hf.access.records import Dataverse, Figshare, Zenodo
from climb_hf.access.tcia import Tcia
from climb_hf.access.way import Way
from climb_hf.errors import AccessError, CorruptFileError, DependencyError

COMMIT = "3ea9f4eae54c67e5bddbf6f7a73582967a5f5f79"


def get(name, to, **options):
    return download(name, to, accept_license=True, quiet=True, **options)


def test_physionet_lists_first_verifies_and_loads(publisher, miniatures, tmp_path):  # noqa: F811
    folder, expected = miniatures("ptbxl", n=16)
    files = {name: data for name, data in tree(folder).items() if name != "SHA256SUMS.txt"}
    publisher.physionet("ptb-xl", "1.0.3", files)
    publisher.latency = 0.005
    report = get("ptbxl", tmp_path / "raw", connections=32)
    assert tree(tmp_path / "raw") == files
    assert report.n_received == len(files)
    assert report.received_bytes >= sum(map(len, files.values()))
    assert publisher.log[0][1] == "/physionet/files/ptb-xl/1.0.3/SHA256SUMS.txt"
    assert 2 <= publisher.most_active <= 8  # more connections are throttled there
    loaded = climb_hf.load_dataset("ptbxl", tmp_path / "raw", cache_dir=tmp_path / "cache")
    assert sum(map(len, loaded.values())) == len(expected)

    n_requests = len(publisher.log)
    again = get("ptbxl", tmp_path / "raw")
    assert (again.n_received, again.n_kept, len(publisher.log)) == (0, len(files), n_requests)  # not even the list


def test_physionet_takes_one_folder_of_a_project_and_the_parts_that_are_asked_for(publisher, route, tmp_path):  # noqa: F811
    names = ("training/georgia/g1/E1.hea", "training/georgia/g1/E1.mat", "training/cpsc/A1.mat", "LICENSE.txt")
    publisher.physionet("challenge-2021", "1.0.3", {name: name.encode() for name in names})
    get("georgia", tmp_path / "raw")
    assert sorted(tree(tmp_path / "raw")) == sorted(names[:2])
    report = get("georgia", tmp_path / "part", only=["*.hea"])
    assert sorted(tree(tmp_path / "part")) == ["training/georgia/g1/E1.hea"]
    assert report.n_files == 1
    facts = json.loads((tmp_path / "part" / ".climb" / "download.json").read_text())
    assert (facts["status"], facts["only"]) == ("part", ["*.hea"])


@pytest.mark.parametrize("place", ["environment", "netrc"])
def test_physionet_credentials_from_the_environment_or_netrc(publisher, route, tmp_path, monkeypatch, place):  # noqa: F811
    publisher.physionet("vindr-mammo", "1.0.0", {"images/a.dicom": b"x" * 99}, login="reader:pass-word-7431")
    if place == "environment":
        monkeypatch.setenv("PHYSIONET_USERNAME", "reader")
        monkeypatch.setenv("PHYSIONET_PASSWORD", "pass-word-7431")
    else:
        (tmp_path / "netrc").write_text("machine physionet.org login reader password pass-word-7431\n")
        (tmp_path / "netrc").chmod(0o600)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    get("vindr_mammo", tmp_path / "raw")
    assert tree(tmp_path / "raw") == {"images/a.dicom": b"x" * 99}


def test_physionet_names_absent_and_wrong_credentials(publisher, tmp_path, monkeypatch):  # noqa: F811
    publisher.physionet("vindr-mammo", "1.0.0", {"a": b"x"}, login="reader:pass-word-7431")
    with pytest.raises(
        AccessError, match=r"no credentials were found(.|\n)*PHYSIONET_USERNAME(.|\n)*1\. Create a Phys"
    ):
        get("vindr_mammo", tmp_path / "raw")
    assert publisher.log == []
    monkeypatch.setenv("PHYSIONET_USERNAME", "reader")
    with pytest.raises(AccessError, match="set both"):
        get("vindr_mammo", tmp_path / "raw")
    monkeypatch.setenv("PHYSIONET_PASSWORD", "another-word-991")
    with pytest.raises(AccessError, match=r"status 403(.|\n)*agreement of PhysioNet vindr-mammo 1\.0\.0") as failure:
        get("vindr_mammo", tmp_path / "raw")
    assert "another-word-991" not in str(failure.value)
    (tmp_path / "netrc").write_text("machine physionet.org login reader pass-word-7431 x\n")
    monkeypatch.delenv("PHYSIONET_USERNAME")
    monkeypatch.delenv("PHYSIONET_PASSWORD")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(AccessError, match="cannot be read as a netrc file") as failure:
        get("vindr_mammo", tmp_path / "raw")
    assert "pass-word-7431" not in str(failure.value)


def test_zenodo_checks_md5_and_unpacks(publisher, route, tmp_path):  # noqa: F811
    archive = tmp_path / "masks.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("masks/1.mhd", b"m" * 500)
    publisher.zenodo("8348419", {"trainset.csv": b"id\n1\n", "masks.zip": archive.read_bytes(), "data0.rar": b"Rar!"})
    report = get("lndb", tmp_path / "raw")
    assert tree(tmp_path / "raw") == {"trainset.csv": b"id\n1\n", "masks/1.mhd": b"m" * 500, "data0.rar": b"Rar!"}
    assert "unrar" in report.remaining[0]
    assert get("lndb", tmp_path / "raw").n_received == 0
    (tmp_path / "raw/masks/1.mhd").unlink()  # a member that is gone brings the archive again
    assert get("lndb", tmp_path / "raw").n_received == 1
    assert (tmp_path / "raw/masks/1.mhd").is_file()

    publisher.files["/zenodo/api/records/8348419/files/trainset.csv/content"] = b"id\n2\n"
    with pytest.raises(AccessError, match=r"trainset\.csv(.|\n)*expected md5:") as failure:
        get("lndb", tmp_path / "other")
    assert "1 of 3 files could not be had" in str(failure.value)
    assert not (tmp_path / "other" / "trainset.csv").exists()
    assert Zenodo("1").describe() == "Zenodo 1"


def test_figshare_and_dataverse_records(publisher, route, tmp_path):  # noqa: F811
    publisher.figshare("4879853", {"list.csv": b"a,b\n"})
    route("jichi", Way("figshare", (Figshare("4879853"),)))
    get("jichi", tmp_path / "jichi")
    assert tree(tmp_path / "jichi") == {"list.csv": b"a,b\n"}

    tables = {"HAM10000_metadata.csv": b"image_id\nISIC_1\n"}
    publisher.dataverse("10.7910/DVN/DBW86T", {"readme.txt": b"no", "HAM10000_images_part_1.txt": b"yes"}, tables)
    route("ham10000", Way("dataverse", (Dataverse("10.7910/DVN/DBW86T", only=("HAM10000_*",)),)))
    get("ham10000", tmp_path / "ham")
    assert tree(tmp_path / "ham") == {**tables, "HAM10000_images_part_1.txt": b"yes"}
    asked = [request[1] for request in publisher.requests("datafile")]  # in parallel: in any order
    assert sum(path.endswith("?format=original") for path in asked) == len(tables)


def test_github_archive_at_a_commit_with_its_large_files(publisher, route, miniatures, tmp_path):  # noqa: F811
    folder, expected = miniatures("brain_tumor")
    files = tree(folder)
    large = {name: files.pop(name) for name in sorted(files)[:3]}
    publisher.github("SartajBhuvaji/Brain-Tumor-Classification-DataSet", COMMIT, files, large)
    report = get("brain_tumor", tmp_path / "raw")
    assert tree(tmp_path / "raw") == {**files, **large}
    assert report.n_received == 4
    found = climb_hf.load_dataset("brain_tumor", tmp_path / "raw", cache_dir=tmp_path / "cache")
    assert sum(map(len, found.values())) == len(expected)
    n_requests = len(publisher.log)
    assert get("brain_tumor", tmp_path / "raw").n_received == 0
    assert len(publisher.log) == n_requests
    assert all("planted-signature" not in path.read_text() for path in (tmp_path / "raw/.climb").glob("*.json*"))

    publisher.github("SartajBhuvaji/Brain-Tumor-Classification-DataSet", "a" * 40, files)
    other = publisher.files[f"/codeload/SartajBhuvaji/Brain-Tumor-Classification-DataSet/zip/{'a' * 40}"]
    publisher.files[f"/codeload/SartajBhuvaji/Brain-Tumor-Classification-DataSet/zip/{COMMIT}"] = other
    with pytest.raises(AccessError, match="its comment says"):
        get("brain_tumor", tmp_path / "other")
    assert tree(tmp_path / "other") == {}


def test_github_without_a_commit_is_pinned_in_the_target(publisher, route, tmp_path):  # noqa: F811
    route("kits23", Way("github", (GitHub("neheller/kits23"),)))
    publisher.github("neheller/kits23", "b" * 40, {"dataset/kits23.json": b"[]"})
    get("kits23", tmp_path / "raw")
    publisher.github("neheller/kits23", "c" * 40, {"dataset/kits23.json": b"[1]"})
    assert get("kits23", tmp_path / "raw").n_received == 0
    assert tree(tmp_path / "raw") == {"dataset/kits23.json": b"[]"}
    get("kits23", tmp_path / "new")
    assert tree(tmp_path / "new") == {"dataset/kits23.json": b"[1]"}


def test_single_large_files_of_a_repository(publisher, route, tmp_path):  # noqa: F811
    data = content(1, 4000)
    publisher.github("mao1207/BioMed-VITAL", COMMIT, {}, {"data/urls.jsonl": data})
    oid = re.search(r"lfs/(\w+)", "".join(publisher.files)).group(1)
    route("vital", Way("lfs", (GitHubFiles("mao1207/BioMed-VITAL", (("data/urls.jsonl", oid, 4000),)),)))
    get("vital", tmp_path / "raw")
    assert tree(tmp_path / "raw") == {"data/urls.jsonl": data}
    assert any("X-Lfs: planted-header" in seen or "x-lfs: planted-header" in seen for seen in publisher.seen)
    route("vital", Way("lfs", (GitHubFiles("mao1207/BioMed-VITAL", (("data/urls.jsonl", "0" * 64, 4000),)),)))
    with pytest.raises(AccessError, match=r"does not serve the large file `data/urls\.jsonl`: not there"):
        get("vital", tmp_path / "other")


def test_tcia_by_collection_checks_md5_and_loads(publisher, route, miniatures, tmp_path):  # noqa: F811
    pytest.importorskip("pydicom")
    folder, _ = miniatures("cmmd", n=12)
    series = {}
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.name == "1-1.dcm")):
        files = {file.name: file.read_bytes() for file in sorted(path.parent.glob("*.dcm"))}
        patient = path.relative_to(folder).parts[-4]
        series[f"1.3.6.1.{number}"] = (patient, f"1.3.6.2.{number}", files)
    publisher.tcia("CMMD", series)
    report = get("cmmd", tmp_path / "raw")
    assert report.n_received == len(series)
    assert "CMMD_clinicaldata_revision.xlsx" in report.remaining[0]
    patient, study, files = series["1.3.6.1.0"]
    for name, data in files.items():
        assert (tmp_path / f"raw/CMMD/{patient}/{study}/1.3.6.1.0/{name}").read_bytes() == data
    table = next(folder.rglob("CMMD_clinicaldata_revision.xlsx"))
    get("cmmd", tmp_path / "raw", archives=[table])  # what remained by hand
    loaded = climb_hf.load_dataset("cmmd", tmp_path / "raw", cache_dir=tmp_path / "cache")
    mine = climb_hf.load_dataset("cmmd", folder, cache_dir=tmp_path / "cache")
    assert {k: v["id"] for k, v in loaded.items()} == {k: v["id"] for k, v in mine.items()}
    assert get("cmmd", tmp_path / "raw").n_kept == len(series)


def test_tcia_by_manifest_and_a_wrong_md5(publisher, route, tmp_path):  # noqa: F811
    series = {f"1.3.{n}": (f"P{n}", f"1.2.{n}", {"1-1.dcm": bytes([n]) * 200}) for n in range(4)}
    publisher.tcia("CBIS-DDSM", series)
    text = "downloadServerUrl=x\nListOfSeriesToDownload=\n1.3.1\n1.3.3\n1.3.99\n"
    publisher.files["/web/a.tcia"] = text.encode()
    route("cbis_ddsm", Way("tcia", (Tcia("CBIS-DDSM", "https://www.example.org/a.tcia"),)))
    report = get("cbis_ddsm", tmp_path / "raw")
    assert [name for name in tree(tmp_path / "raw") if name.endswith(".dcm")] == [
        "CBIS-DDSM/P1/1.2.1/1.3.1/1-1.dcm",
        "CBIS-DDSM/P3/1.2.3/1.3.3/1-1.dcm",
    ]
    assert report.notes == ["1 series of the manifest are not in the collection any more"]
    good = publisher.files["/nbia/getImageWithMD5Hash?SeriesInstanceUID=1.3.1"]
    publisher.files["/nbia/getImageWithMD5Hash?SeriesInstanceUID=1.3.1"] = re.sub(
        rb"1-1\.dcm,[0-9a-f]{32}", b"1-1.dcm," + b"0" * 32, good
    )
    with pytest.raises(AccessError, match="1 of 2 files"):
        get("cbis_ddsm", tmp_path / "other")


def test_plain_https_with_redirect_and_unpacking(publisher, route, miniatures, tmp_path):  # noqa: F811
    folder, expected = miniatures("proteins")
    archive = tmp_path / "PROTEINS.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name, data in tree(folder).items():
            file.writestr(name, data)
    publisher.files["/web/moved.zip"] = archive.read_bytes()
    publisher.files["/web/PROTEINS.zip"] = f"redirect:{publisher.base}/web/moved.zip?token=planted".encode()
    url = "https://www.example.org/PROTEINS.zip"
    route("proteins", Way("web", (Https((RemoteFile("PROTEINS.zip", url, unpack=True),)),)))
    get("proteins", tmp_path / "raw")
    assert tree(tmp_path / "raw") == tree(folder)
    loaded = climb_hf.load_dataset("proteins", tmp_path / "raw", cache_dir=tmp_path / "cache")
    assert sum(map(len, loaded.values())) == len(expected)


def test_a_tree_of_index_pages(publisher, route, tmp_path):  # noqa: F811
    page = '<html><a href="../">Parent</a><a href="?C=N">Name</a><a href="https://elsewhere.org/">x</a>{}</html>'
    publisher.files["/web/geo/"] = page.format('<a href="GDSnnn/">GDSnnn/</a>').encode()
    links = "".join(f'<a href="{name}">{name}</a>' for name in ("GDS507.soft.gz", "GDS507_full.soft.gz", "x.txt"))
    publisher.files["/web/geo/GDSnnn/"] = page.format(links).encode()
    publisher.files["/web/geo/GDSnnn/GDS507.soft.gz"] = b"\x1f\x8b data"
    tree_of = HttpTree("https://www.example.org/geo/", ("GDS*.soft.gz",), ("*_full*",), into="datasets", depth=2)
    route("geo", Way("ftp", (tree_of,)))
    get("geo", tmp_path / "raw")
    assert tree(tmp_path / "raw") == {"datasets/GDSnnn/GDS507.soft.gz": b"\x1f\x8b data"}


def test_a_table_that_names_files(publisher, route, tmp_path):  # noqa: F811
    publisher.files["/web/table.csv"] = b"SUB,FILE_ID\n1,Pitt_1\n2,no_filename\n3,CMU_3\n"
    for name in ("Pitt_1", "CMU_3"):
        publisher.files[f"/web/{name}.1D"] = name.encode()
    part = HttpTable(
        RemoteFile("pcp/table.csv", "https://www.example.org/table.csv"), "FILE_ID",
        "https://www.example.org/{}.1D", "pcp/{}.1D", absent=("no_filename",),
    )  # fmt: skip
    route("proteins", Way("pcp", (part,)))
    get("proteins", tmp_path / "raw")
    assert sorted(tree(tmp_path / "raw")) == ["pcp/CMU_3.1D", "pcp/Pitt_1.1D", "pcp/table.csv"]


class FakeApi:
    """The parts of Kaggle's client that we call."""

    def __init__(self, archive, error=None):
        self.archive, self.error, self.calls = archive, error, []
        self.config_values = {"username": "reader", "key": "kaggle-key-planted"}

    def authenticate(self):
        if self.error == "token":
            raise OSError("Could not find kaggle.json with kaggle-key-planted")

    def dataset_download_files(self, dataset, path=None, force=False, quiet=True, unzip=False, licenses=()):
        print("Dataset URL: …")
        self.calls.append(dataset)
        if self.error:
            raise self.error
        with open(f"{path}/{dataset.split('/')[1]}.zip", "wb") as file:  # noqa: PTH123 - as Kaggle's client does
            file.write(self.archive)

    def dataset_list_files(self, dataset, page_token=None, page_size=20):
        names = ("yes/1.jpg", "no/2.jpg") if page_token is None else ("no/3.jpg",)
        files = [SimpleNamespace(name=name, total_bytes=3) for name in names]
        return SimpleNamespace(files=files, next_page_token="2" if page_token is None else "")

    def dataset_download_file(self, dataset, file_name, path=None, force=False, quiet=True, licenses=()):
        self.calls.append(file_name)
        with zipfile.ZipFile(f"{path}/{file_name.split('/')[-1]}.zip", "w") as file:
            file.writestr(file_name.split("/")[-1], "abc")


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    archive = tmp_path / "kaggle.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("yes/1.jpg", "abc")
        file.writestr("no/2.jpg", "abc")
    api = FakeApi(archive.read_bytes())
    monkeypatch.setitem(__import__("sys").modules, "kaggle", SimpleNamespace(api=api))
    return api


def test_kaggle_through_its_client(publisher, kaggle, tmp_path, capsys):  # noqa: F811
    report = get("brain_mri", tmp_path / "raw")
    assert tree(tmp_path / "raw") == {"no/2.jpg": b"abc", "yes/1.jpg": b"abc"}
    assert report.n_received == 1
    assert get("brain_mri", tmp_path / "raw").n_kept == 1
    assert kaggle.calls == ["navoneel/brain-mri-images-for-brain-tumor-detection"]
    assert capsys.readouterr().out == ""  # the client's chatter would spoil JSON
    planned = download("brain_mri", tmp_path / "none", dry_run=True)
    assert (planned.n_files, planned.n_bytes, planned.is_estimate) == (3, 9, False)
    get("brain_mri", tmp_path / "part", only=["no/2*"])
    assert tree(tmp_path / "part") == {"no/2.jpg": b"abc"}


def test_kaggle_errors_name_the_remedy_and_no_key(publisher, kaggle, route, tmp_path):  # noqa: F811
    kaggle.error = "token"
    with pytest.raises(AccessError, match=r"no valid token(.|\n)*kaggle\.json") as failure:
        get("brain_mri", tmp_path / "raw")
    assert "planted" not in str(failure.value)
    kaggle.error = Exception("403 kaggle-key-planted")
    kaggle.error.status = 403
    with pytest.raises(AccessError, match=r"accept the rules or terms at https://www\.kaggle\.com/datasets/navoneel"):
        get("brain_mri", tmp_path / "raw")
    kaggle.error = Exception("broken kaggle-key-planted")
    with pytest.raises(AccessError, match="failed: broken \\*\\*\\*"):
        get("brain_mri", tmp_path / "raw")
    kaggle.error = None
    route("brain_mri", Way("kaggle", (Kaggle("a/b", checksum="sha256:" + "0" * 64),)))
    with pytest.raises(CorruptFileError, match="expected sha256:000"):
        get("brain_mri", tmp_path / "raw")


def test_without_the_package_kaggle_the_extra_is_named(publisher, monkeypatch, tmp_path):  # noqa: F811
    monkeypatch.setitem(__import__("sys").modules, "kaggle", None)
    with pytest.raises(DependencyError, match=r"climb-hf\[kaggle\]"):
        get("brain_mri", tmp_path / "raw")


def test_physionet_describes_itself():
    assert PhysioNet("a", "1", path="x").describe() == "PhysioNet a 1, x"
