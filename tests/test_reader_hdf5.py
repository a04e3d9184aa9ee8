"""Rows of HDF5 files: against h5py itself, compressed as a whole, damaged, and made to point elsewhere."""

import builtins
import gzip
import multiprocessing

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError, DependencyError
from climb_hf.readers import hdf5
from climb_hf.readers.hdf5 import read_hdf5_array, read_hdf5_row, unpacked

h5py = pytest.importorskip("h5py")


def write(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, (values, options) in arrays.items():
            file.create_dataset(name, data=values, **options)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own, and no file left open by another test."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    hdf5._failed.clear()
    return tmp_path / "cache"


@pytest.mark.parametrize(
    "options",
    [{}, {"chunks": (3, 4, 5)}, {"chunks": (2, 4, 5), "compression": "gzip"}, {"chunks": (4, 2, 5), "shuffle": True}],
    ids=["whole", "chunks", "gzip", "shuffle"],
)
@pytest.mark.parametrize("dtype", ["u1", ">i2", "f4", "bool"])
def test_rows_are_those_of_h5py_in_any_order(tmp_path, options, dtype):
    values = (np.arange(140).reshape(7, 4, 5) % 2).astype(dtype) if dtype == "bool" else np.arange(140, dtype=dtype)
    values = values.reshape(7, 4, 5)
    path = write(tmp_path / "a.h5", x=(values, options))
    for row in (6, 0, 3, 3):
        found = read_hdf5_row(path, "x", row)
        assert found.dtype == values.dtype
        assert (found == values[row]).all()
    assert (read_hdf5_array(path, "x") == values).all()
    packed = tmp_path / "b.h5.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert (read_hdf5_row(packed, "x", 5) == values[5]).all()
    assert (read_hdf5_array(packed, "x") == values).all()


def test_only_the_row_is_read(tmp_path):
    path = tmp_path / "large.h5"
    with h5py.File(path, "w") as file:  # 30 GB by its head, of which one row is written
        data = file.create_dataset("x", shape=(1 << 20, 96, 96, 3), dtype="u1", chunks=(1, 96, 96, 3))
        data[1 << 19] = 7
    assert path.stat().st_size < 1 << 20
    assert read_hdf5_row(path, "x", 1 << 19).mean() == 7
    with pytest.raises(CorruptFileError, match=r"`x` would take 28,991,029,248 bytes"):
        read_hdf5_array(path, "x")


def test_a_compressed_file_is_unpacked_once_and_again_when_it_changes(tmp_path, cache, monkeypatch):
    path = write(tmp_path / "a.h5", x=(np.arange(6).reshape(3, 2), {}))
    assert unpacked(path) == path
    packed = tmp_path / "raw" / "a.h5.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(path.read_bytes()))
    copy = unpacked(packed)
    assert copy.read_bytes() == path.read_bytes()
    assert copy.is_relative_to(cache)
    assert [entry.name for entry in packed.parent.iterdir()] == ["a.h5.gz"], "nothing is written beside the raw data"
    with monkeypatch.context() as patched:
        patched.setattr(hdf5.gzip, "open", lambda *_: 1 / 0)
        assert unpacked(packed) == copy
    write(path, x=(np.arange(8).reshape(4, 2), {}))
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_hdf5_row(packed, "x", 3).tolist() == [6, 7]
    assert unpacked(packed) != copy


def test_a_damaged_compressed_file_is_decompressed_once(tmp_path, cache, monkeypatch):
    packed = tmp_path / "a.h5.gz"
    content = gzip.compress(np.random.default_rng(0).bytes(100_000))
    packed.write_bytes(content[:50_000])
    with pytest.raises(CorruptFileError, match=r"a\.h5\.gz`: the compressed file is damaged .*Download it again"):
        read_hdf5_row(packed, "x", 0)
    monkeypatch.setattr(hdf5.gzip, "open", lambda *_: 1 / 0)
    with pytest.raises(CorruptFileError, match="Download it again"):
        read_hdf5_row(packed, "x", 1)
    assert not [entry for entry in cache.rglob("a.h5*")], "nothing incomplete stays"
    with pytest.raises(CorruptFileError, match=r"none\.h5\.gz` cannot be read"):
        read_hdf5_row(tmp_path / "none.h5.gz", "x", 0)


def test_a_full_disk_is_named_once(tmp_path, monkeypatch):
    packed = tmp_path / "a.h5.gz"
    packed.write_bytes(gzip.compress(bytes(10)))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hdf5.shutil, "copyfileobj", full)
    for row in (0, 1):
        with pytest.raises(
            CorruptFileError, match=r"No space left on device; [\d,]+ bytes are free.*HF_DATASETS_CACHE"
        ):
            read_hdf5_row(packed, "x", row)


def test_a_small_compressed_array_leaves_no_copy_and_a_bomb_is_refused(tmp_path, cache, monkeypatch):
    path = write(tmp_path / "y.h5", y=(np.arange(4, dtype="u1"), {}))
    packed = tmp_path / "y.h5.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_hdf5_array(packed, "y").tolist() == [0, 1, 2, 3]
    assert not cache.exists()
    monkeypatch.setattr(hdf5, "_MAX_BYTES", 1000)
    with pytest.raises(CorruptFileError, match="the unpacked file would take 1,001 bytes"):
        read_hdf5_array(packed, "y")


@pytest.mark.parametrize("kept", [0, 7, 600, 0.6, 0.99])
def test_a_truncated_file_is_named(tmp_path, kept):
    path = write(tmp_path / "a.h5", x=(np.zeros((50, 40), "f8"), {}))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    for read in (lambda: read_hdf5_row(path, "x", 1), lambda: read_hdf5_array(path, "x")):
        with pytest.raises(CorruptFileError, match=r"a\.h5`: reading failed"):
            read()


def test_damage_in_a_chunk_costs_its_rows_only(tmp_path):
    path = write(
        tmp_path / "a.h5",
        x=(np.random.default_rng(0).integers(0, 255, (4, 5000), "u1"), {"chunks": (1, 5000), "fletcher32": True}),
    )
    with h5py.File(path) as file:
        start = file["x"].id.get_chunk_info(2).byte_offset
    content = bytearray(path.read_bytes())
    content[start + 10] ^= 0xFF
    path.write_bytes(content)
    assert read_hdf5_row(path, "x", 1).shape == (5000,)
    with pytest.raises(CorruptFileError, match="reading failed"):
        read_hdf5_row(path, "x", 2)


def test_what_is_no_own_array_of_numbers_is_refused(tmp_path):
    secret = write(tmp_path / "secret.h5", x=(np.arange(3), {}))
    (tmp_path / "raw.bin").write_bytes(bytes(64))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["external"] = h5py.ExternalLink(str(secret), "x")
        file["soft"] = h5py.SoftLink("/missing")
        file.create_group("group")
        file.create_dataset("storage", shape=(8,), dtype="u1", external=[(str(tmp_path / "raw.bin"), 0, 8)])
        layout = h5py.VirtualLayout(shape=(3,), dtype="i8")
        layout[:] = h5py.VirtualSource(str(secret), "x", shape=(3,))
        file.create_virtual_dataset("virtual", layout)
        file["text"] = ["a", "b"]
        file["empty"] = h5py.Empty("f4")
        file["scalar"] = 3
        file.create_dataset("wide", shape=(4, 1 << 29), dtype="u1", chunks=(1, 1 << 20))
        file.create_dataset("thick", shape=(1 << 20, 1 << 10), dtype="u1", chunks=(1 << 19, 1 << 10))
    for name in ("external", "soft", "group", "storage", "virtual"):
        with pytest.raises(CorruptFileError, match=f"expected `{name}` to be an array in the file itself"):
            read_hdf5_row(path, name, 0)
    for name, text in {
         "nothing": "expected a data set `nothing`, found",
        "text": "expected numbers in `text`", "empty": "expected numbers in `empty`",
        "scalar": r"expected a row 0 of `scalar`, found the shape \(\)",
        "wide": "a row of `wide` would take 536,870,912 bytes", "thick": "a chunk of `thick` would take 536,870,912",
    }.items():  # fmt: skip
        with pytest.raises(CorruptFileError, match=text):
            read_hdf5_row(path, name, 0)
    plain = write(tmp_path / "b.h5", x=(np.arange(3), {}))
    for row in (3, -1):
        with pytest.raises(CorruptFileError, match=rf"expected a row {row} of `x`, found the shape \(3,\)"):
            read_hdf5_row(plain, "x", row)


def _rows(path):
    return [int(read_hdf5_row(path, "x", row)) for row in range(100)]


def test_forked_processes_open_files_of_their_own(tmp_path):
    path = write(tmp_path / "a.h5", x=(np.arange(100), {"chunks": (3,)}))
    assert _rows(path) == list(range(100))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(_rows, [path] * 4) == [list(range(100))] * 4


def test_few_files_stay_open(tmp_path):
    paths = [write(tmp_path / f"{k}.h5", x=(np.array([k]), {})) for k in range(9)]
    assert [int(read_hdf5_row(path, "x", 0)) for path in paths] == list(range(9))
    assert len(hdf5._files) <= hdf5._OPEN
    assert all(bool(file) for file, _ in hdf5._files.values())


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    path = write(tmp_path / "a.h5", x=(np.arange(3), {}))
    real = builtins.__import__
    monkeypatch.setattr(hdf5, "_files", type(hdf5._files)())

    def refuse(name, *args, **kwargs):
        if name == "h5py":
            raise ImportError("No module named 'h5py'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr("importlib.import_module", refuse)
    with pytest.raises(DependencyError, match=r"climb-hf\[hdf5\]"):
        read_hdf5_row(path, "x", 0)
