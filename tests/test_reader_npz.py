"""Rows out of `.npz` files: round trips against NumPy, order of access, memory, damage, absurd heads, pickles."""

import io
import struct
import threading
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError
from climb_hf.readers import npz
from climb_hf.readers.npz import open_npz, read_npz_array, read_npz_row

SAVERS = {"deflated": np.savez_compressed, "stored": np.savez}


def noise(n, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def member_bytes(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def archive_of(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("saver", SAVERS)
def test_rows_and_arrays_equal_numpys(tmp_path, saver):
    arrays = {
        "grey": noise(40, 28, 28),
        "colour": noise(25, 16, 16, 3, seed=1),
        "labels": noise(40, 1, seed=2),
        "flat": np.linspace(0, 1, 17),
        "ints": np.arange(12, dtype=">i4").reshape(3, 2, 2),
        "empty": np.zeros((0, 5), np.float32),
    }
    path = tmp_path / "a.npz"
    SAVERS[saver](path, **arrays)
    members = open_npz(path)
    assert list(members) == list(arrays)
    assert {m.is_stored for m in members.values()} == {saver == "stored"}
    with np.load(path, allow_pickle=False) as reference:
        for name in arrays:
            assert members[name].header.shape == reference[name].shape
            assert read_npz_array(path, name).dtype == reference[name].dtype
            np.testing.assert_array_equal(read_npz_array(path, name), reference[name])
            for row in range(len(reference[name])):
                np.testing.assert_array_equal(read_npz_row(path, name, row), reference[name][row])


@pytest.mark.parametrize("saver", SAVERS)
@pytest.mark.parametrize("marks", [1 << 23, 500])
def test_any_order_of_rows_gives_the_same(tmp_path, monkeypatch, saver, marks):
    monkeypatch.setattr(npz, "_MARK_EVERY", marks)
    monkeypatch.setattr(npz, "_MARKS", 200)
    images = noise(300, 20, 20) // 64  # compressible
    path = tmp_path / "a.npz"
    SAVERS[saver](path, images=images)
    order = np.random.default_rng(3).permutation(300).tolist()
    for row in (*order, *reversed(range(300)), 299, 0, 299):
        np.testing.assert_array_equal(read_npz_row(path, "images", row), images[row])


def test_a_kept_state_shortens_the_way_back(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "_MARK_EVERY", 10_000)
    path = tmp_path / "a.npz"
    images = noise(200, 1000)
    np.savez_compressed(path, images=images)
    stream = npz._Inflater(path, open_npz(path)["images"])
    start = open_npz(path)["images"].header.offset
    for row in range(200):
        assert stream.read(start + 1000 * row, 1000) == images[row].tobytes()
    distances = np.diff([mark.given for mark in stream._marks])
    assert len(stream._marks) >= 15
    assert distances.min() >= 10_000
    pulled = []
    pull = stream._pull
    monkeypatch.setattr(stream, "_pull", lambda file, most: pulled.append(most) or pull(file, most))
    assert stream.read(start + 1000 * 150, 1000) == images[150].tobytes()
    assert pulled[0] <= distances.max()  # skipped bytes: less than one distance, not 150,000
    assert len(stream._marks) == len(distances) + 1


def test_the_array_is_never_in_memory_as_a_whole(tmp_path):
    path = tmp_path / "a.npz"
    images = np.zeros((600, 224, 224, 3), np.uint8)  # 90 MB
    images[::7, :, :, 1] = np.arange(224, dtype=np.uint8)
    np.savez_compressed(path, images=images)
    del images
    tracemalloc.start()
    total = sum(int(read_npz_row(path, "images", row)[0, 5, 1]) for row in range(0, 600, 50))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 5 * sum(row % 7 == 0 for row in range(0, 600, 50))
    assert peak < 6_000_000


def test_threads_share_one_decoder_without_mixing_rows(tmp_path):
    path = tmp_path / "a.npz"
    images = noise(400, 30, 30)
    np.savez_compressed(path, images=images)
    wrong = []

    def work(seed):
        for row in np.random.default_rng(seed).integers(0, 400, 60).tolist():
            if not np.array_equal(read_npz_row(path, "images", row), images[row]):
                wrong.append(row)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_replaced_file_is_read_anew(tmp_path):
    path = tmp_path / "a.npz"
    for value in (1, 2):
        np.savez_compressed(path, images=np.full((3 + value, 4), value, np.uint8))
        assert read_npz_row(path, "images", 2).tolist() == [value] * 4


def test_pickles_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was loaded",))

    content = member_bytes(np.array([Evil(), None], dtype=object))
    path = archive_of(tmp_path / "a.npz", labels=content)
    for read in (open_npz, lambda p: read_npz_array(p, "labels"), lambda p: read_npz_row(p, "labels", 0)):
        with pytest.raises(CorruptFileError, match=r"`labels.npy`: expected numbers, found Python objects"):
            read(path)
    fields = np.zeros(2, dtype=[("a", "u1"), ("b", "O")])
    with pytest.raises(CorruptFileError, match="Python objects"):
        open_npz(archive_of(tmp_path / "b.npz", labels=member_bytes(fields)))


def test_absurd_heads_are_refused(tmp_path):
    whole = member_bytes(noise(4, 8))
    tall = whole.replace(b"(4, 8)", b"(9, 8)")
    path = archive_of(tmp_path / "a.npz", images=tall)
    with pytest.raises(CorruptFileError, match=r"promises 200 bytes \(shape \(9, 8\), uint8\), the archive holds 160"):
        open_npz(path)
    cases = {
        "no array": (b"nonsense" * 10, "expected a NumPy array file"),
        "column-major": (member_bytes(np.asfortranarray(noise(4, 8))), "column-major"),
        "a number": (member_bytes(np.array(3)), "a single value"),
        "empty": (b"", "expected a NumPy array file"),
    }
    for name, (content, message) in cases.items():
        with pytest.raises(CorruptFileError, match=message):
            open_npz(archive_of(tmp_path / f"{name}.npz", images=content))


def test_archives_that_are_none_and_members_that_are_odd(tmp_path):
    with pytest.raises(CorruptFileError, match="cannot be read"):
        open_npz(tmp_path / "nowhere.npz")
    (tmp_path / "text.npz").write_bytes(b"<html>")
    with pytest.raises(CorruptFileError, match=r"text.npz`: opening as `.npz` failed"):
        open_npz(tmp_path / "text.npz")
    path = tmp_path / "lzma.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("images.npy", member_bytes(noise(4, 8)))
    with pytest.raises(CorruptFileError, match="stored or deflated"):
        open_npz(path)
    path = tmp_path / "twice.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", member_bytes(noise(4, 8)))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("images.npy", member_bytes(noise(4, 8)))
    with pytest.raises(CorruptFileError, match="stands twice"):
        open_npz(path)


def test_a_claim_that_deflate_cannot_keep_is_refused(tmp_path):
    path = archive_of(tmp_path / "bomb.npz", images=member_bytes(noise(4, 8)))
    content = bytearray(path.read_bytes())
    place = content.rfind(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 1 << 31)
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"cannot hold 2147483648"):
        open_npz(path)


def test_missing_names_and_rows(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, images=noise(3, 4))
    with pytest.raises(CorruptFileError, match=r"expected an array `labels`, found \['images'\]"):
        read_npz_row(path, "labels", 0)
    for row in (-1, 3):
        with pytest.raises(CorruptFileError, match=f"expected a row {row} of `images`, found 3 rows"):
            read_npz_row(path, "images", row)


def test_damage_inside_a_member_is_named_and_rows_before_it_still_read(tmp_path):
    path = tmp_path / "a.npz"
    images = noise(200, 1000) // 32
    np.savez_compressed(path, images=images, labels=noise(200, 1))
    member = open_npz(path)["images"]
    whole = path.read_bytes()
    coder = zlib.compressobj(wbits=-15)
    half = coder.compress(member_bytes(images)[:100_000]) + coder.flush(zlib.Z_SYNC_FLUSH)
    broken = (half + b"\x07" * member.size)[: member.size]  # a block of a kind that does not exist
    path.write_bytes(whole[: member.start] + broken + whole[member.start + member.size :])
    np.testing.assert_array_equal(read_npz_row(path, "images", 10), images[10])
    with pytest.raises(CorruptFileError, match=r"a.npz`: `images` cannot be decompressed up to byte"):
        read_npz_row(path, "images", 190)
    np.testing.assert_array_equal(read_npz_row(path, "images", 11), images[11])
    with pytest.raises(CorruptFileError, match=r"reading `images` failed"):
        read_npz_array(path, "images")
    stream = npz._Inflater(path, member)
    coder = zlib.compressobj(wbits=-15)
    short = coder.compress(b"x" * 10) + coder.flush()
    path.write_bytes((bytes(member.start) + short).ljust(len(whole), b"\0"))
    with pytest.raises(CorruptFileError, match="end too early"):
        stream.read(0, 1000)


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, images=noise(50, 100))
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(CorruptFileError, match="opening as"):
        open_npz(path)
