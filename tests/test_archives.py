"""Extraction: what is whole arrives, what attacks or is damaged changes nothing."""

import io
import os
import stat
import struct
import tarfile
import zipfile

import pytest
from download_fixtures import content, publisher, tree  # noqa: F401 - a fixture

from climb_hf.access import download, extract
from climb_hf.access.by_hand import Archive, ByHand
from climb_hf.access.catalogue import ROUTES
from climb_hf.access.way import Way
from climb_hf.errors import AccessError, CorruptFileError


def make_zip(path, members, **links):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
        for name, target in links.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            file.writestr(info, target)
    return path


def make_tar(path, members, mode="w:gz"):
    with tarfile.open(path, mode) as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(data, bytes):
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
            else:
                info.type, info.linkname = data
                file.addfile(info)
    return path


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_every_kind_is_told_by_content_and_extracted(tmp_path, kind):
    members = {
        "top/a.csv": b"id\n",
        "top/deep/b.bin": content(0, 70_000),
        "top/.DS_Store": b"junk",
        "__MACOSX/x": b"junk",
    }
    archive = tmp_path / f"data.{kind}"
    make_zip(archive, members) if kind == "zip" else make_tar(archive, members, f"w:{kind.partition('.')[2]}")
    found = extract(archive, tmp_path / "raw")
    assert tree(tmp_path / "raw") == {"top/a.csv": b"id\n", "top/deep/b.bin": members["top/deep/b.bin"]}
    assert sorted(found) == [("top/a.csv", 3), ("top/deep/b.bin", 70_000)]
    extract(archive, tmp_path / "flat", strip=1, only=["deep"])
    assert list(tree(tmp_path / "flat")) == ["deep/b.bin"]
    assert not list((tmp_path / "raw").glob("unpacking-*"))


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/tmp/evil", "C:\\evil", "..\\evil", "a\\..\\..\\evil", "a/\x01b"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_leave_the_target_are_refused(tmp_path, kind, name):
    members = {"good.csv": b"id\n", name: b"evil"}
    archive = make_zip(tmp_path / "a.zip", members) if kind == "zip" else make_tar(tmp_path / "a.tgz", members)
    with pytest.raises(CorruptFileError, match="not a plain path inside the target folder"):
        extract(archive, tmp_path / "deep" / "raw")
    assert tree(tmp_path / "deep") == {}
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("target", ["../../etc/passwd", "/etc/passwd", "a/../../x"])
def test_links_that_lead_out_are_refused(tmp_path, target):
    archive = make_zip(tmp_path / "a.zip", {"good": b"x"}, link=target)
    with pytest.raises(CorruptFileError, match="outside the target"):
        extract(archive, tmp_path / "zip")
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        archive = make_tar(tmp_path / "a.tgz", {"good": b"x", "link": (kind, target)})
        with pytest.raises(CorruptFileError, match="outside the target"):
            extract(archive, tmp_path / "tar")
    assert tree(tmp_path / "zip") == tree(tmp_path / "tar") == {}


def test_a_file_cannot_be_written_through_a_link(tmp_path):
    (tmp_path / "outside").mkdir()
    members = {"link": (tarfile.SYMTYPE, "../outside"), "link/evil": b"x"}
    with pytest.raises(CorruptFileError):
        extract(make_tar(tmp_path / "a.tgz", members), tmp_path / "raw")
    assert not list((tmp_path / "outside").iterdir())


def test_links_inside_become_copies(tmp_path):
    members = {"a/x.bin": b"data", "b/soft": (tarfile.SYMTYPE, "../a/x.bin"), "hard": (tarfile.LNKTYPE, "a/x.bin")}
    extract(make_tar(tmp_path / "a.tgz", members), tmp_path / "raw")
    assert tree(tmp_path / "raw") == {"a/x.bin": b"data", "b/soft": b"data", "hard": b"data"}
    assert not any(path.is_symlink() for path in (tmp_path / "raw").rglob("*"))
    with pytest.raises(CorruptFileError, match="which is not in it"):
        extract(make_zip(tmp_path / "a.zip", {"x": b"x"}, dangling="y"), tmp_path / "other")


def test_devices_are_refused(tmp_path):
    with pytest.raises(CorruptFileError, match="a device or pipe"):
        extract(make_tar(tmp_path / "a.tgz", {"fifo": (tarfile.FIFOTYPE, "")}), tmp_path / "raw")


def test_bombs_are_refused_by_what_they_declare(tmp_path):
    archive = make_zip(tmp_path / "bomb.zip", {f"{n}.bin": bytes(400_000) for n in range(10)})
    with pytest.raises(CorruptFileError, match=r"declares 3 files of 1\.2 MB and more, beyond the limit of 1\.0 MB"):
        extract(archive, tmp_path / "raw", limit=1_000_000)
    assert tree(tmp_path / "raw") == {}
    assert len(extract(archive, tmp_path / "raw")) == 10  # 4 MB are always allowed
    tar = make_tar(tmp_path / "bomb.tgz", {"big": bytes(2_000_000)})
    with pytest.raises(CorruptFileError, match="beyond the limit"):
        extract(tar, tmp_path / "tar", limit=1_000_000)


def test_links_cannot_multiply_what_is_declared(tmp_path):
    links = {f"l{n}": (tarfile.LNKTYPE if n % 2 else tarfile.SYMTYPE, "big") for n in range(50)}
    tar = make_tar(tmp_path / "bomb.tgz", {"big": bytes(300_000), **links})
    with pytest.raises(CorruptFileError, match=r"declares 4 files of 1\.2 MB and more, beyond the limit of 1\.0 MB"):
        extract(tar, tmp_path / "raw", limit=1_000_000)
    assert tree(tmp_path / "raw") == {}
    assert len(extract(tar, tmp_path / "raw", limit=51 * 300_000)) == 51


@pytest.mark.parametrize("name", [".climb/download.json", "./.climb/files.jsonl", "top/.climb/lock"])
def test_an_archive_cannot_write_the_record_of_downloads(tmp_path, name):
    archive = make_zip(tmp_path / "a.zip", {"top/a.csv": b"id", name: b"{}"})
    with pytest.raises(CorruptFileError, match=r"where downloads are recorded"):
        extract(archive, tmp_path / "raw", strip=name.startswith("top"))
    assert tree(tmp_path / "raw") == {}


def test_a_declared_size_that_lies_is_found(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a.bin": bytes(100_000)})
    data = bytearray(archive.read_bytes())
    where = data.rfind(b"PK\x01\x02") + 24
    assert struct.unpack_from("<I", data, where) == (100_000,)
    struct.pack_into("<I", data, where, 10)  # the directory says 10 bytes, the content has 100,000
    archive.write_bytes(data)
    with pytest.raises(CorruptFileError):
        extract(archive, tmp_path / "raw")
    assert tree(tmp_path / "raw") == {}


def test_damaged_encrypted_doubled_or_no_archives(tmp_path):
    whole = make_zip(tmp_path / "a.zip", {"a.bin": content(1, 5000), "b.bin": content(2, 5000)}).read_bytes()
    cases = {
        "cut.zip": whole[:4000],
        "flipped.zip": whole[:2000] + bytes([whole[2000] ^ 255]) + whole[2001:],
        "text.zip": b"<html>not an archive</html>" * 20,
        "cut.tgz": make_tar(tmp_path / "b.tgz", {"a.bin": content(3, 50_000)}).read_bytes()[:20_000],
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(CorruptFileError, match="damaged or no archive"):
            extract(tmp_path / name, tmp_path / "raw")
    locked = bytearray(make_zip(tmp_path / "l.zip", {"a": b"x"}).read_bytes())
    locked[6] |= 1
    locked[locked.rfind(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(CorruptFileError, match="is encrypted"):
        extract(tmp_path / "locked.zip", tmp_path / "raw")
    with zipfile.ZipFile(tmp_path / "twice.zip", "w") as make:
        make.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            make.writestr("a", b"2")
    with pytest.raises(CorruptFileError, match="holds `a` twice"):
        extract(tmp_path / "twice.zip", tmp_path / "raw")
    assert tree(tmp_path / "raw") == {}


def test_space_is_checked_before_anything_is_written(tmp_path, monkeypatch):
    import shutil

    archive = make_zip(tmp_path / "a.zip", {"a.bin": bytes(5_000_000)})
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=65_000_000))
    with pytest.raises(AccessError, match=r"unpacks to 5\.0 MB, 65\.0 MB are free"):
        extract(archive, tmp_path / "raw")


# ---------------------------------------------------------------------- --from


def by_hand(name, to, *files):
    return download(name, to, archives=files, accept_license=True, quiet=True)


def test_steps_by_hand_are_numbered(publisher, tmp_path):  # noqa: F811
    with pytest.raises(AccessError, match=r"by hand:\n  1\. Register at(.|\n)*--from FILE --to DIR"):
        by_hand("chexpert", tmp_path / "raw")
    assert not (tmp_path / "raw").exists()


def test_what_the_user_got_is_checked_and_laid_out(publisher, miniatures, tmp_path):  # noqa: F811
    folder, _ = miniatures("chexpert")
    archive = make_zip(tmp_path / "CheXpert.zip", {f"top/{name}": data for name, data in tree(folder).items()})
    report = by_hand("chexpert", tmp_path / "raw", archive)
    assert {f"top/{name}" for name in tree(folder)} == set(tree(tmp_path / "raw"))
    assert "no checksum is published" in report.notes[0]
    assert report.next_command.startswith("climb doctor chexpert --data-dir")
    assert archive.exists()  # the user's own file stays
    with pytest.raises(AccessError, match="expected an archive or table at"):
        by_hand("chexpert", tmp_path / "other", tmp_path / "nothing.zip")
    report = by_hand("chexpert", tmp_path / "other", make_zip(tmp_path / "wrong.zip", {"x.txt": b"x"}))
    assert "the folder is not complete yet: chexpert: `train.csv`" in report.notes[1]


def test_a_split_archive_with_checksums(publisher, monkeypatch, tmp_path):  # noqa: F811
    import hashlib

    whole = make_zip(
        tmp_path / "w.zip", {"IMAGES/1.png": content(4, 3000), "messidor_data.csv": b"image_id\n"}
    ).read_bytes()
    pieces = {f"IMAGES.zip.{n + 1:03d}": whole[n * 1000 : (n + 1) * 1000] for n in range(-(-len(whole) // 1000))}
    known = [Archive(name, len(data), f"sha256:{hashlib.sha256(data).hexdigest()}") for name, data in pieces.items()]
    known.append(Archive("IMAGES.zip", len(whole), f"sha256:{hashlib.sha256(whole).hexdigest()}"))
    monkeypatch.setitem(ROUTES, "messidor2", (Way("hand", (ByHand(tuple(known)),)),))
    paths = [tmp_path / name for name in pieces]
    for path in paths:
        path.write_bytes(pieces[path.name])
    by_hand("messidor2", tmp_path / "raw", *reversed(paths))
    assert tree(tmp_path / "raw")["IMAGES/1.png"] == content(4, 3000)
    with pytest.raises(AccessError, match=r"expected the pieces \.001 to \.004, found \.001, \.003, \.004"):
        by_hand("messidor2", tmp_path / "raw", paths[0], *paths[2:])
    with pytest.raises(CorruptFileError, match=r"IMAGES\.zip` has 3,000 bytes, expected"):
        by_hand("messidor2", tmp_path / "raw", *paths[:3])
    paths[1].write_bytes(b"x" * 1000)
    with pytest.raises(CorruptFileError, match=r"IMAGES\.zip\.002` has sha256:\w+, expected"):
        by_hand("messidor2", tmp_path / "raw", *paths)


def test_a_stage_left_by_a_killed_process_is_removed(publisher, miniatures, tmp_path):  # noqa: F811
    left = tmp_path / "raw" / ".climb" / "unpacking-left"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    archive = make_zip(tmp_path / "a.zip", tree(miniatures("chexpert")[0]))
    by_hand("chexpert", tmp_path / "raw", archive)
    assert not left.exists()
    assert os.listdir(tmp_path / "raw" / ".climb")  # noqa: PTH208 - names
