"""Dictionaries of arrays as NumPy pickles them, and pickles that ask for more."""

import io
import os
import pickle

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError
from climb_hf.readers.guarded_pickle import read_pickled_npy

CONTENT = {
    "corr": np.arange(24.0).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big_endian": np.arange(3, dtype=">i4"),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3)),
    "site": np.array(["NYU", "UM_1"]),
    "objects": np.array(["NYU", 7, None, 2.5], dtype=object),
    "scalar": np.float64(2.5),
    "text": np.str_("abc"),
    "list": [1, 2.5, "a", None, True],
    "nested": {"a": {"b": np.array([1])}},
}


def write(path, content, protocol=4):
    """The pickle as `np.save` frames it."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": ()})
    if isinstance(content, bytes):
        buffer.write(content)
    else:
        wrapped = np.empty((), dtype=object)
        wrapped[()] = content
        pickle.dump(wrapped, buffer, protocol=protocol)
    path.write_bytes(buffer.getvalue())
    return path


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one, other)
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol_comes_back_value_for_value(tmp_path, protocol):
    assert same(read_pickled_npy(write(tmp_path / "a.npy", CONTENT, protocol)), CONTENT)


def test_what_numpy_saves(tmp_path):
    np.save(tmp_path / "a.npy", CONTENT, allow_pickle=True)
    assert same(read_pickled_npy(tmp_path / "a.npy"), CONTENT)


def test_names_of_numpy_1_are_known(tmp_path):
    content = pickle.dumps({"a": np.arange(3)}, protocol=2).replace(b"numpy._core.", b"numpy.core.")
    assert b"numpy.core.multiarray" in content
    assert read_pickled_npy(write(tmp_path / "a.npy", content))["a"].tolist() == [0, 1, 2]


class Runs:
    def __init__(self, target, *args):
        self.target, self.args = target, args

    def __reduce__(self):
        return self.target, self.args


@pytest.mark.parametrize(
    ("target", "args", "name"),
    [
        (os.system, ("touch {}",), "system"),
        (eval, ("open('{}', 'w')",), "eval"),
        (np.load, ("{}",), "numpy.load|npyio.load"),
        (np.memmap, ("{}", "uint8", "w+", 0, 4), "numpy.memmap"),
        (getattr, ("", "upper"), "builtins.getattr"),
        (np.ndarray, ((10**9,),), "numpy.ndarray"),
    ],
)
def test_a_pickle_that_runs_something_is_refused_by_name_and_does_not_run(tmp_path, target, args, name):
    trace = tmp_path / "trace"
    args = tuple(arg.format(trace) if isinstance(arg, str) else arg for arg in args)
    file = write(tmp_path / "a.npy", {"label": Runs(target, *args)})
    with pytest.raises(CorruptFileError, match=rf"(?s)({name}).*not allowed"):
        read_pickled_npy(file)
    assert not trace.exists()


def opcodes(*parts):
    return b"\x80\x02" + b"".join(parts) + b"."


ARRAY = b"cnumpy._core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01bt"


def dtype_of(code, order=b"<", state=None):
    made = b"cnumpy\ndtype\n(X" + bytes([len(code), 0, 0, 0]) + code + b"K\x00K\x01tR"
    state = state or b"NNNK\x08K\x08K\x00"
    return made + b"(K\x03X\x01\x00\x00\x00" + order + state + b"tb"


def array_of(dtype, shape, content):
    return ARRAY + b"R(K\x01" + shape + dtype + b"\x89" + content + b"tb"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        # an object array whose type claims to hold plain bytes: NumPy would take them for addresses
        (array_of(dtype_of(b"O8", b"|"), b"K\x01\x85", b"C\x08AAAAAAAA"), "without its 1 objects"),
        (array_of(dtype_of(b"O8", b"|"), b"K\x09\x85", b"]K\x01a"), "without its 9 objects"),
        (array_of(dtype_of(b"f8"), b"K\x09\x85", b"C\x08AAAAAAAA"), "without its bytes"),
        (array_of(dtype_of(b"f8"), b"J\xff\xff\xff\xff\x85", b"C\x08AAAAAAAA"), "shape"),
        (array_of(dtype_of(b"V8"), b"K\x01\x85", b"C\x08AAAAAAAA"), "only plain types"),
        (array_of(dtype_of(b"f8", state=b"NX\x01\x00\x00\x00aNK\x08K\x08K\x00"), b"K\x01\x85", b"C\x00"), "composite"),
        (ARRAY + b"R", "without content"),
        (b"cnumpy\ndtype\n}X\x04\x00\x00\x00nameX\x01\x00\x00\x00xsb", "tries to change"),
        (b"cnumpy\ndtype\nN}X\x09\x00\x00\x00_functionX\x01\x00\x00\x00xs\x86b", "tries to change"),
        (b"Pelsewhere\n", "outside of the file"),
        (b"]" * 40 + b"a" * 39, "nests more than"),
        (b"]q\x00h\x00a", "nests more than"),
        (b"(K\x01K\x02l", "expected a dictionary"),
        (b"}K\x01K\x02s", "texts as keys"),
        (b"cnumpy\ndtype\n)\x81", "cannot be read"),
        (b"\x82\x01", "cannot be read"),
    ],
)  # fmt: skip
def test_crafted_states_never_reach_numpy(tmp_path, content, reason):
    with pytest.raises(CorruptFileError, match=reason):
        read_pickled_npy(write(tmp_path / "a.npy", opcodes(content)))


def test_a_bomb_of_references_is_refused(tmp_path):
    bomb = ["x"] * 100
    for _ in range(4):
        bomb = [bomb] * 100
    with pytest.raises(CorruptFileError, match="nests more than"):
        read_pickled_npy(write(tmp_path / "a.npy", {"a": bomb}))


def test_files_of_another_kind(tmp_path):
    np.save(tmp_path / "plain.npy", np.arange(3))
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "list.npy", np.array([[1], "a"], dtype=object), allow_pickle=True)
    whole = write(tmp_path / "whole.npy", CONTENT).read_bytes()
    (tmp_path / "cut.npy").write_bytes(whole[: len(whole) * 6 // 10])
    for name, reason in (
        ("plain.npy", "expected a pickled dictionary"),
        ("text.npy", "cannot be read"),
        ("list.npy", "found object of shape"),
        ("cut.npy", "cannot be read"),
        ("absent.npy", "No such file"),
    ):
        with pytest.raises(CorruptFileError, match=reason):
            read_pickled_npy(tmp_path / name)
