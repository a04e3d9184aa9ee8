"""Struct variables of MATLAB 5 to 7 `.mat` files, as the original CPSC 2018 release keeps its ECGs.

Only what such a file needs: one struct of numeric and character fields, plain or compressed. Every size is checked
against the bytes that are there before anything is allocated, and nothing in the file can name code to run. File
format: MathWorks, "MAT-File Format", Level 5.
"""

import hashlib
import math
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError

__all__ = ["content_key", "read_struct"]

_HEADER = 128
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # mi types
_TEXTS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _CHAR = 2, 4
_MAX_BYTES = 1 << 28  # of one variable, far above an ECG of an hour; refuses what would only fill the memory
_SAMPLED = 4096


def read_struct(path: str | os.PathLike[str], variable: str, fields: Sequence[str]) -> dict[str, NDArray | str]:
    """Read fields of a 1 × 1 struct.

    Args:
        path (`str` or `os.PathLike`): the file.
        variable (`str`): name of the struct, such as `"ECG"`.
        fields (`Sequence[str]`): the wanted fields; others are passed over.

    Returns:
        `dict`: by field, text as `str`, numbers as an array of MATLAB's class and dimensions, column by column.

    Raises:
        CorruptFileError: not such a file, truncated, sizes that contradict each other, or a field is missing or is
            neither text nor real numbers.

    Example:
        >>> import pathlib, tempfile
        >>> from scipy.io import savemat
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "A0001.mat"
        >>> savemat(file, {"ECG": {"sex": "Male", "age": 74.0, "data": np.ones((12, 3000))}})
        >>> ecg = read_struct(file, "ECG", ("sex", "data"))
        >>> ecg["sex"], ecg["data"].shape
        ('Male', (12, 3000))
    """
    file = Path(path)
    try:
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise CorruptFileError(f"`{file}` is missing. Restore it from the publisher.") from error
    try:
        return _find(data, variable, fields)
    except (ValueError, struct.error, zlib.error, LookupError, OverflowError) as error:
        raise CorruptFileError(
            f"`{file}`: expected a MATLAB 5 file with a struct `{variable}` of {', '.join(f'`{f}`' for f in fields)}, "
            f"found damage or another format ({error}). Restore it from the publisher, or leave it out."
        ) from error


def content_key(path: Path) -> tuple[int, bytes]:
    """Give a key that two files share if they hold the same variables, whenever they were saved.

    The size, and the SHA-256 of the first and last 4 KiB behind the header, whose text holds the date of saving.

    Args:
        path (`Path`): a MATLAB 5 file.

    Returns:
        `tuple`: hashable; read with two small accesses.
    """
    with path.open("rb") as stream:
        stream.seek(_HEADER)
        head = stream.read(_SAMPLED)
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(_HEADER, size - _SAMPLED))
        return size, hashlib.sha256(head + stream.read()).digest()


class _Reader:
    """A cursor over elements; every step is checked against the bytes that are left."""

    def __init__(self, data: memoryview, order: str) -> None:
        self.data, self.order, self.at = data, order, 0

    def element(self) -> tuple[int, memoryview]:
        """Take the next element: its type and its bytes."""
        first, size = struct.unpack(f"{self.order}II", self._take(8, "a tag"))
        if first >> 16:  # small element: size, type and bytes in one tag
            if first >> 16 > 4:
                raise ValueError(f"a small element of {first >> 16} bytes")
            return first & 0xFFFF, self.data[self.at - 4 : self.at - 4 + (first >> 16)]
        body = self._take(size, f"an element of {size} bytes")
        if first != _COMPRESSED:
            self.at = min(self.at + -size % 8, len(self.data))
        return first, body

    def _take(self, size: int, what: str) -> memoryview:
        if size > len(self.data) - self.at:
            raise ValueError(f"{what} ends {size - len(self.data) + self.at} bytes after the end of the data")
        self.at += size
        return self.data[self.at - size : self.at]

    def numbers(self, count: int | None = None) -> NDArray:
        """Take the next element as numbers, whose count is checked if given."""
        kind, body = self.element()
        if kind not in _NUMBERS:
            raise ValueError(f"type {kind} where numbers should stand")
        dtype = np.dtype(self.order + _NUMBERS[kind])
        if len(body) % dtype.itemsize or count not in (None, len(body) // dtype.itemsize):
            raise ValueError(f"{len(body)} bytes of {dtype} where {count} values should stand")
        return np.frombuffer(body, dtype)

    def matrix(self) -> tuple[int, bool, tuple[int, ...], str]:
        """Take the head of a matrix: class, whether it is complex, dimensions, name."""
        flags = int(self.numbers(2)[0])
        dims = tuple(self.numbers().tolist())
        _, name = self.element()
        if len(dims) < 2 or min(dims) < 0:
            raise ValueError(f"dimensions {dims}")
        return flags & 0xFF, bool(flags & 0x800), dims, bytes(name).decode("latin-1")


def _find(data: bytes, variable: str, fields: Sequence[str]) -> dict[str, NDArray | str]:
    marks = {b"IM": "<", b"MI": ">"}
    order = marks.get(data[126:128])
    if order is None or struct.unpack(f"{order}H", data[124:126])[0] != 0x0100:
        raise ValueError("no header of version 5")
    reader = _Reader(memoryview(data)[_HEADER:], order)
    names = []
    while reader.at < len(reader.data):
        kind, body = reader.element()
        if kind == _COMPRESSED:
            body = _inflate(body, order)
            kind, body = _Reader(body, order).element()
        if kind != _MATRIX:
            raise ValueError(f"type {kind} where a variable should stand")
        inner = _Reader(body, order)
        code, _, dims, name = inner.matrix()
        if name == variable:
            if code != _STRUCT or math.prod(dims) != 1:
                raise ValueError(f"`{name}` is of class {code} and dimensions {dims}, not one struct")
            return _fields(inner, fields)
        names.append(name)
    raise ValueError(f"its variables are {names}")


def _inflate(body: memoryview, order: str) -> memoryview:
    """Decompress an element, whose tag says first how long it is."""
    stream = zlib.decompressobj()
    tag = stream.decompress(body, 8)
    size = struct.unpack(f"{order}II", tag)[1] + 8
    if size > _MAX_BYTES:
        raise ValueError(f"a compressed variable of {size} bytes")
    rest = stream.decompress(stream.unconsumed_tail, size)
    if len(rest) + 8 < size:
        raise ValueError(f"the compressed data end after {len(rest) + 8} of {size} bytes")
    return memoryview(tag + rest)


def _fields(reader: _Reader, wanted: Sequence[str]) -> dict[str, NDArray | str]:
    length = int(reader.numbers(1)[0])
    _, names = reader.element()
    if length < 1 or len(names) % length:
        raise ValueError(f"{len(names)} bytes of field names of {length} bytes")
    found: dict[str, NDArray | str] = {}
    for start in range(0, len(names), length):
        name = bytes(names[start : start + length]).split(b"\0")[0].decode("latin-1")
        kind, body = reader.element()
        if kind != _MATRIX:
            raise ValueError(f"type {kind} where field `{name}` should stand")
        if name in wanted:
            found[name] = _value(_Reader(body, reader.order), name)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ValueError(f"field `{missing[0]}` is missing")
    return found


def _value(reader: _Reader, name: str) -> NDArray | str:
    code, is_complex, dims, _ = reader.matrix()
    if code == _CHAR:
        kind, body = reader.element()
        if kind not in _TEXTS:
            raise ValueError(f"type {kind} where the text of `{name}` should stand")
        wide = _TEXTS[kind] in ("utf-16", "utf-32")
        return bytes(body).decode(_TEXTS[kind] + ({"<": "-le", ">": "-be"}[reader.order] if wide else ""))
    if code not in _CLASSES or is_complex:
        raise ValueError(f"field `{name}` is of class {code}, neither text nor real numbers")
    if math.prod(dims) == 0:
        return np.zeros(dims, _CLASSES[code])
    return reader.numbers(math.prod(dims)).astype(_CLASSES[code], copy=False).reshape(dims, order="F")
