"""Rows of NumPy arrays one at a time; object arrays of strings without loading a pickle."""

import os
import pickle

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError
from climb_hf.readers.npy import read_npy_header, read_npy_row, read_npy_strings


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "u1"])
def test_rows_equal_those_of_numpy(tmp_path, dtype):
    array = np.random.default_rng(0).integers(0, 200, (7, 3, 5)).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    header = read_npy_header(tmp_path / "a.npy")
    assert (header.shape, header.dtype, header.row_bytes) == ((7, 3, 5), np.dtype(dtype), 15 * array.itemsize)
    for row in range(7):
        np.testing.assert_array_equal(read_npy_row(tmp_path / "a.npy", row), array[row])
    with pytest.raises(CorruptFileError, match="row 7, found 7 rows"):
        read_npy_row(tmp_path / "a.npy", 7)


def test_a_truncated_array_loses_only_the_rows_that_are_gone(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(60.0).reshape(10, 6))
    path.write_bytes(path.read_bytes()[:-40])
    np.testing.assert_array_equal(read_npy_row(path, 8), np.arange(48.0, 54.0))
    with pytest.raises(CorruptFileError, match="ends inside row 9"):
        read_npy_row(path, 9)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.npy"
    for content in (b"", b"PK\3\4 a zip", b"\x93NUMPY\x01\x00\xff\xff{", b"\x93NUMPY\x09\x00"):
        path.write_bytes(content)
        with pytest.raises(CorruptFileError, match="NumPy array file"):
            read_npy_header(path)
    np.save(path, np.asfortranarray(np.ones((3, 4))))
    with pytest.raises(CorruptFileError, match="row-major"):
        read_npy_header(path)
    np.save(path, np.float64(3))
    with pytest.raises(CorruptFileError, match="first axis"):
        read_npy_header(path)
    np.save(path, np.array([{}], dtype=object))
    with pytest.raises(CorruptFileError, match="Python objects"):
        read_npy_row(path, 0)
    with pytest.raises(CorruptFileError, match="cannot be read"):
        read_npy_header(tmp_path / "none.npy")


@pytest.mark.parametrize("dtype", [None, object, "S16"])
def test_strings_of_every_kind_are_read(tmp_path, dtype):
    names = [f"subject{i:04d}_{i}" for i in range(20)]
    np.save(tmp_path / "a.npy", np.array(names, dtype=dtype))
    np.save(tmp_path / "b.npy", np.array(names, dtype=dtype).reshape(-1, 1))
    assert read_npy_strings(tmp_path / "a.npy") == read_npy_strings(tmp_path / "b.npy")
    assert read_npy_strings(tmp_path / "a.npy")[7] == "subject0007_7"


def head_of_objects(count):
    text = f"{{'descr': '|O', 'fortran_order': False, 'shape': ({count},), }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


class Harmful:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickles_that_call_anything_are_refused_and_do_nothing(tmp_path):
    path, target = tmp_path / "a.npy", tmp_path / "made"
    np.save(path, np.array(["x", Harmful(target)], dtype=object))
    with pytest.raises(CorruptFileError, match=r"posix\.mkdir|nt\.mkdir"):
        read_npy_strings(path)
    for content in (pickle.dumps(Harmful(target)), pickle.dumps(["a", "b"]), b"not a pickle", pickle.dumps(5)[:-2]):
        path.write_bytes(head_of_objects(2) + content)
        with pytest.raises(CorruptFileError, match="array of strings"):
            read_npy_strings(path)
    assert not target.exists()


def test_arrays_of_other_objects_are_refused(tmp_path):
    for values in ([1, 2], ["a", None], [["a"], ["b"]]):
        array = np.empty(2, dtype=object)
        array[:] = values if not isinstance(values[0], list) else None
        np.save(tmp_path / "a.npy", array)
        with pytest.raises(CorruptFileError, match="strings"):
            read_npy_strings(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(CorruptFileError, match="3 strings, found something else"):
        read_npy_strings(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.array(["a", "b", "c"], dtype=object))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content.replace(b"(3,)", b"(9,)"))
    with pytest.raises(CorruptFileError, match="9 strings"):
        read_npy_strings(tmp_path / "a.npy")
