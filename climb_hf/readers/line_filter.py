"""Lines of big compressed tables, filtered before they are parsed: only those that may count reach the CSV parser.

Parsing is what costs in a table of hundreds of millions of rows, and nearly all rows of MIMIC-IV's event tables are
outside every window. A row's first columns (ids, times, item) have fixed or short widths, so NumPy can look at them at
known offsets, eight bytes at a time, in a whole block of lines at once. The filter may drop a line only if it has
recognised its structure; every other line is kept and judged by the parser and the query behind it, so it changes how
long a scan takes and nothing else.
"""

import contextlib
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import CorruptFileError
from climb_hf.optional import is_available

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BLOCK", "MARGIN", "Block", "QuotedLineEnd", "check_whole", "first_comma", "parse_digits", "read_blocks"]

#: A line is looked at only if this many bytes follow its start in the block, so no offset can leave the block.
MARGIN = 192
#: Bytes of a block: it and what is computed from it stay in a core's cache, and no memory is asked for twice.
BLOCK = 1 << 20
_CHUNK, _PIECE = 1 << 14, 1 << 17  # bytes of compressed input, and of output, at a time

Words = NDArray[np.uint64]
Places = NDArray[np.int64]

_LINE_END, _QUOTE = 10, 34
_ONES = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_COMMAS = np.uint64(0x2C2C2C2C2C2C2C2C)
_BYTE_INDEX = np.uint64(0x0001020304050607)  # times 256**k, its top byte is k
_LOW_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
_PAIRS, _FOURS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)


class QuotedLineEnd(Exception):
    """A quoted cell holds a line end, so lines are no rows; the table is for a real CSV parser."""


class _Decompressor(Protocol):
    eof: bool
    unused_data: bytes
    unconsumed_tail: bytes

    def decompress(self, data: bytes, max_length: int = ...) -> bytes: ...


def _decompressor() -> _Decompressor:
    """Give the fastest gzip decoder there is: ISA-L where `isal` is installed, else zlib."""
    if is_available("isal"):
        from isal import isal_zlib

        return cast(_Decompressor, isal_zlib.decompressobj(31))
    return cast(_Decompressor, zlib.decompressobj(31))


def _errors() -> tuple[type[Exception], ...]:
    """Return what the decoders raise on damaged data."""
    if is_available("isal"):
        from isal import isal_zlib

        return EOFError, zlib.error, cast("type[Exception]", isal_zlib.error)
    return EOFError, zlib.error


def _pieces(path: Path) -> Iterator[bytes]:
    """Yield the decompressed content of a plain or gzip file in small pieces."""
    with path.open("rb") as stream:
        if path.suffix != ".gz":
            while data := stream.read(_PIECE):
                yield data
            return
        decoder, data, is_open = _decompressor(), b"", False
        while True:
            data = data or stream.read(_CHUNK)
            if not data:
                break
            is_open = True
            content = decoder.decompress(data, _PIECE)
            data = decoder.unconsumed_tail
            if decoder.eof:  # further members may follow
                data, decoder, is_open = decoder.unused_data, _decompressor(), False
            if content:
                yield content
        if is_open:
            raise EOFError("the compressed data ends early")


def check_whole(path: Path) -> None:
    """Decompress all of a gzip file, to see that it is whole.

    Args:
        path (`Path`): the file; a plain one passes unread.

    Raises:
        CorruptFileError: it is truncated or damaged.
    """
    with _damage_named(path):
        for _ in _pieces(path) if path.suffix == ".gz" else ():
            pass


@contextlib.contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    try:
        yield
    except _errors() as error:
        raise CorruptFileError(f"`{path}`: the compressed table is damaged ({error}). Download it again.") from error


def read_blocks(path: Path, free: "deque[Block]") -> Iterator["Block"]:
    """Read a table in blocks of whole lines, without its header.

    Args:
        path (`Path`): a CSV file, compressed by gzip or not.
        free (`deque` of `Block`): blocks to fill, taken from the left; whoever is done with a block puts it back.

    Yields:
        `Block`.

    Raises:
        CorruptFileError: the compressed file is truncated or damaged.
        QuotedLineEnd: a line is longer than a block.
    """
    block, is_header = free.popleft(), True
    pieces = _pieces(path)
    while True:
        with _damage_named(path):
            content = next(pieces, b"")
        if not content:
            break
        if block.used + len(content) > len(block.content):
            rest = block.cut()
            if is_header:
                block.skip_line()
                is_header = False
            yield block
            block = free.popleft()
            block.fill(rest)
        block.fill(content)
    if block.used and block.content[block.used - 1] != _LINE_END:
        block.fill(b"\n")
    block.cut()
    if is_header:
        block.skip_line()
    if block.end > block.begin:
        yield block


class Block:
    """A megabyte of a table: whole lines, and views that read eight bytes at any offset. It is used again and again.

    Args:
        size (`int`, *optional*, defaults to 1 MiB): bytes it holds.
    """

    def __init__(self, size: int = BLOCK) -> None:
        self.content = bytearray(size + 2 * _PIECE)
        self.bytes = np.frombuffer(self.content, np.uint8)
        self._words: Words = np.ndarray((len(self.content) - 7,), "<u8", buffer=self.content, strides=(1,))
        self._hits = np.empty(len(self.content), bool)
        self.begin = self.end = self.used = 0

    def fill(self, content: bytes) -> None:
        """Append bytes; there must be room."""
        if self.used + len(content) > len(self.content):
            raise QuotedLineEnd
        self.content[self.used : self.used + len(content)] = content
        self.used += len(content)

    def cut(self) -> bytes:
        """End the block behind its last line end; returns what follows, and makes ready to be filled anew."""
        self.begin, self.end = 0, self.content.rfind(b"\n", 0, self.used) + 1
        rest = bytes(self.content[self.end : self.used])
        self.used = 0
        return rest

    def skip_line(self) -> None:
        """Begin behind the first line."""
        self.begin = self.content.find(b"\n", 0, self.end) + 1

    def starts(self) -> Places:
        """Return the offset of every line, and at last that of the end.

        Raises:
            QuotedLineEnd: a cell holds a line end.
        """
        found = self._places_of(_LINE_END)
        starts = np.empty(len(found) + 1, np.int64)
        starts[0] = self.begin
        np.add(found, self.begin + 1, out=starts[1:])
        if self.content.find(b'"', self.begin, self.end) >= 0:
            quotes = self._places_of(_QUOTE) + self.begin
            if len(quotes) & 1:
                raise QuotedLineEnd
            ends = starts[np.searchsorted(starts, quotes[::2], side="right")]
            if (quotes[1::2] >= ends).any():  # a pair of quotes on both sides of a line end
                raise QuotedLineEnd
        return starts

    def _places_of(self, byte: int) -> Places:
        """Return where a byte stands, from `begin`; words of eight are looked at first, as it is rare."""
        hits = np.equal(self.bytes[self.begin : self.end], byte, out=self._hits[: self.end - self.begin])
        whole = len(hits) // 8 * 8
        words = hits[:whole].view(np.uint64)
        index = np.flatnonzero(words != 0)
        marked = words[index]
        if (marked & (marked - np.uint64(1))).any():  # two in one word
            return np.flatnonzero(hits)
        places = (index << 3) + ((marked * _BYTE_INDEX) >> np.uint64(56)).astype(np.int64)
        rest = np.flatnonzero(hits[whole:])
        return np.concatenate([places, rest + whole]) if rest.size else places

    def words(self, places: Places) -> Words:
        """Return the eight bytes at some offsets as little-endian numbers: the first byte is the lowest."""
        return self._words[places]

    def select(self, starts: Places, keep: NDArray[np.bool_]) -> "pa.Buffer":
        """Return the lines to keep, joined, in memory of their own."""
        import pyarrow as pa

        offsets = pa.py_buffer(starts.astype(np.int32))
        lines = pa.Array.from_buffers(pa.binary(), len(starts) - 1, [None, offsets, pa.py_buffer(self.content)])
        kept = lines.filter(pa.array(keep))
        _, places, data = kept.buffers()
        bounds = np.frombuffer(places, np.int32)[kept.offset : kept.offset + len(kept) + 1]
        return data.slice(int(bounds[0]), int(bounds[-1] - bounds[0])) if len(kept) else pa.py_buffer(b"")


def first_comma(words: Words) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Find the first comma among the eight bytes of each word.

    Args:
        words (array): uint64.

    Returns:
        Its index (0 to 7, 0 where there is none), and whether there is one.

    Example:
        >>> first_comma(np.frombuffer(b"12,45,78", "<u8"))
        (array([2]), array([ True]))
    """
    folded = words ^ _COMMAS
    zero = (folded - _ONES) & ~folded & _HIGH
    lowest = (zero & (~zero + np.uint64(1))) >> np.uint64(7)
    return ((lowest * _BYTE_INDEX) >> np.uint64(56)).astype(np.int64), zero != 0


def parse_digits(words: Words, count: "int | Places") -> NDArray[np.int64]:
    """Read the first bytes of each word as a decimal number; they must be digits.

    Args:
        words (array): uint64.
        count (`int` or array): how many digits, 1 to 8.

    Returns:
        int64 array.

    Example:
        >>> parse_digits(np.frombuffer(b"220045,7", "<u8"), 6)
        array([220045])
    """
    shift = np.asarray(64 - 8 * np.asarray(count), np.uint64)
    digits = (words << shift) & _LOW_NIBBLES
    digits = (digits * np.uint64(10) + (digits >> np.uint64(8))) & _PAIRS
    digits = (digits * np.uint64(100) + (digits >> np.uint64(16))) & _FOURS
    return ((digits * np.uint64(10_000) + (digits >> np.uint64(32))) & np.uint64(0xFFFFFFFF)).astype(np.int64)
