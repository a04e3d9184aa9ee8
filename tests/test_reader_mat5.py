"""MATLAB 5 structs against `scipy.io`: every number class, text, compression, byte order, and damage of every kind."""

import struct
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from climb_hf.errors import CorruptFileError
from climb_hf.readers.mat5 import content_key, read_struct

FIELDS = ("sex", "age", "data")


def save(path, *, compress=False, name="ECG", **fields):
    content = {"sex": "Male", "age": np.uint8(74), "data": np.arange(36.0).reshape(12, 3) / 8, **fields}
    savemat(path, {name: content}, do_compression=compress)
    return path


@pytest.mark.parametrize("compress", [False, True])
def test_fields_of_a_struct_equal_those_of_scipy(tmp_path, compress):
    data = np.random.default_rng(0).normal(size=(12, 4001))
    path = save(tmp_path / "a.mat", compress=compress, data=data)
    found, expected = read_struct(path, "ECG", FIELDS), loadmat(path)["ECG"][0, 0]
    assert found["sex"] == "Male" == expected["sex"][0]
    assert found["age"].tolist() == [[74]] == expected["age"].tolist()
    np.testing.assert_array_equal(found["data"], expected["data"])
    np.testing.assert_array_equal(found["data"], data)


@pytest.mark.parametrize("kind", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_every_number_class(tmp_path, kind):
    values = np.array([[1, 2, 3], [4, 5, 100]], kind)
    found = read_struct(save(tmp_path / "a.mat", data=values), "ECG", ("data",))["data"]
    assert found.dtype == np.dtype(kind)
    np.testing.assert_array_equal(found, values)


@pytest.mark.parametrize("text", ["", "F", "Male", "Männlich", "女"])
def test_text_of_any_length(tmp_path, text):
    assert read_struct(save(tmp_path / "a.mat", sex=text), "ECG", ("sex",))["sex"].rstrip() == text


def test_values_that_the_struct_may_lack(tmp_path):
    path = save(tmp_path / "a.mat", age=np.nan, data=np.zeros((12, 0)), other={"cell": np.array([1, "a"], object)})
    found = read_struct(path, "ECG", FIELDS)
    assert np.isnan(found["age"]).all()
    assert found["data"].shape == (12, 0)


def test_other_variables_before_the_struct_are_passed_over(tmp_path):
    savemat(tmp_path / "a.mat", {"x": np.ones(3), "name": "ecg", "ECG": {"data": np.eye(2)}})
    np.testing.assert_array_equal(read_struct(tmp_path / "a.mat", "ECG", ("data",))["data"], np.eye(2))


def test_doubles_that_matlab_stores_as_small_integers(tmp_path):
    path = save(tmp_path / "a.mat", data=np.array([[1.0, 2.0], [3.0, 4.0]]))
    content = path.read_bytes()
    as_double = struct.pack("<II", 9, 32) + np.array([1, 3, 2, 4], "<f8").tobytes()
    assert as_double in content
    as_bytes = struct.pack("<I", 4 << 16 | 2) + bytes([1, 3, 2, 4])
    lost = len(as_double) - len(as_bytes)
    at = content.index(as_double)
    content = bytearray(content.replace(as_double, as_bytes))
    for tag in (128, at - content[:at][::-1].index(struct.pack("<I", 14)[::-1]) - 4):  # struct and field get shorter
        (size,) = struct.unpack_from("<I", content, tag + 4)
        struct.pack_into("<I", content, tag + 4, size - lost)
    path.write_bytes(content)
    found = read_struct(path, "ECG", ("data",))["data"]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, loadmat(path)["ECG"][0, 0]["data"])
    np.testing.assert_array_equal(found, [[1, 2], [3, 4]])


def big_endian():
    """A file of a big-endian machine, by hand."""

    def element(kind, body):
        return struct.pack(">II", kind, len(body)) + body + bytes(-len(body) % 8)

    def matrix(code, dims, name, *rest):
        head = element(6, struct.pack(">II", code, 0)) + element(5, struct.pack(f">{len(dims)}i", *dims))
        return element(14, head + element(1, name) + b"".join(rest))

    sex = matrix(4, (1, 4), b"", element(4, "Male".encode("utf-16-be")))
    data = matrix(6, (12, 2), b"", element(9, np.arange(24, dtype=">f8").tobytes()))
    names = element(1, b"sex".ljust(8, b"\0") + b"data".ljust(8, b"\0"))
    content = matrix(2, (1, 1), b"ECG", struct.pack(">HHI", 4, 5, 8), names, sex, data)
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x0100) + b"MI" + content


def test_big_endian(tmp_path):
    (tmp_path / "a.mat").write_bytes(big_endian())
    found = read_struct(tmp_path / "a.mat", "ECG", ("sex", "data"))
    assert found["sex"] == "Male"
    np.testing.assert_array_equal(found["data"], np.arange(24.0).reshape(12, 2, order="F"))
    np.testing.assert_array_equal(found["data"], loadmat(tmp_path / "a.mat")["ECG"][0, 0]["data"])


@pytest.mark.parametrize("compress", [False, True])
def test_a_file_cut_anywhere_is_refused(tmp_path, compress):
    content = save(tmp_path / "a.mat", compress=compress).read_bytes()
    path = tmp_path / "b.mat"
    for size in {*range(0, len(content) - 9, 7), len(content) - 9}:
        path.write_bytes(content[:size])
        with pytest.raises(CorruptFileError, match=r"b\.mat"):
            read_struct(path, "ECG", FIELDS)


def test_flipped_bytes_never_raise_anything_else(tmp_path):
    content = save(tmp_path / "a.mat").read_bytes()
    random = np.random.default_rng(0)
    path, refused = tmp_path / "b.mat", 0
    for _ in range(400):
        damaged = bytearray(content)
        for at in random.integers(124, len(content), 3):
            damaged[at] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_struct(path, "ECG", FIELDS)
        except CorruptFileError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    ("fields", "wanted", "match"),
    [
        ({}, ("voltage",), "field `voltage` is missing"),
        ({"data": np.ones(3) * 1j}, ("data",), "neither text nor real numbers"),
        ({"data": {"inner": 1.0}}, ("data",), "neither text nor real numbers"),
        ({"data": np.array(["a", 1], object)}, ("data",), "neither text nor real numbers"),
    ],
)
def test_fields_that_are_not_there_or_of_another_kind(tmp_path, fields, wanted, match):
    with pytest.raises(CorruptFileError, match=match):
        read_struct(save(tmp_path / "a.mat", **fields), "ECG", wanted)


def test_other_files_are_refused_with_what_they_hold(tmp_path):
    path = save(tmp_path / "a.mat", name="val")
    with pytest.raises(CorruptFileError, match=r"its variables are \['val'\]"):
        read_struct(path, "ECG", FIELDS)
    savemat(path, {"val": np.ones((12, 50), "i2")}, format="4")
    with pytest.raises(CorruptFileError, match="no header of version 5"):
        read_struct(path, "ECG", FIELDS)
    savemat(path, {"ECG": np.ones(3)})
    with pytest.raises(CorruptFileError, match="not one struct"):
        read_struct(path, "ECG", FIELDS)
    with pytest.raises(CorruptFileError, match="is missing"):
        read_struct(tmp_path / "none.mat", "ECG", FIELDS)


def test_a_compressed_element_that_would_fill_the_memory_is_refused(tmp_path):
    body = zlib.compress(struct.pack("<II", 14, 0xFFFFFFF0) + bytes(1 << 20))
    head = b"MATLAB 5.0".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    (tmp_path / "a.mat").write_bytes(head + struct.pack("<II", 15, len(body)) + body)
    with pytest.raises(CorruptFileError, match="a compressed variable of 4294967288 bytes"):
        read_struct(tmp_path / "a.mat", "ECG", FIELDS)


def test_copies_have_one_key_whenever_they_were_saved(tmp_path):
    first, second, third = (save(tmp_path / f"{name}.mat") for name in "abc")
    content = second.read_bytes()
    second.write_bytes(b"MATLAB 5.0 MAT-file, saved at another time".ljust(116) + content[116:])
    save(third, data=np.ones((12, 3)))
    assert content_key(first) == content_key(second) != content_key(third)
