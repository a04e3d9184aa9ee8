"""A large JSON array read object by object, and single objects of it read again by their place in the file.

Files of hundreds of megabytes that hold one array need a multiple of their size when parsed at once. Here a window of
a few megabytes slides over the file; what an index keeps of an object is its place, so texts are in memory only while
their row is read.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from climb_hf.errors import CorruptFileError

__all__ = ["iter_json_rows", "read_json_row"]

_CHUNK = 1 << 22
_BLANK = " \t\r\n"
_LONGEST_TOKEN = 16  # bytes: literals and escaped characters are shorter


def iter_json_rows(path: Path, chunk: int = _CHUNK) -> Iterator[tuple[int, int, Any]]:
    r"""Read the elements of a file that is one JSON array.

    Args:
        path (`Path`): UTF-8 text, with or without a byte order mark, however indented.
        chunk (`int`, *optional*, defaults to 4 MiB): bytes read at a time; an element may be longer.

    Returns:
        `Iterator[tuple[int, int, Any]]`: first byte, byte after the last, and the element.

    Raises:
        CorruptFileError: while iterating: the file is no array, cut off, damaged or not UTF-8; the place is named.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "rows.json"
        >>> _ = file.write_text('[{"a": "é"},\n {"a": 2}]', encoding="utf-8")
        >>> list(iter_json_rows(file))
        [(1, 12, {'a': 'é'}), (15, 23, {'a': 2})]
    """
    # Latin-1 maps every byte to one character, so places in the text are places in the file; JSON's own characters
    # are ASCII and never part of a longer UTF-8 character.
    scan = json.JSONDecoder().raw_decode
    with path.open("rb") as stream:
        text, offset = stream.read(chunk).decode("latin-1"), 0
        place = _skip(text, 3 if text.startswith("\xef\xbb\xbf") else 0)
        if text[place : place + 1] != "[":
            raise CorruptFileError(f"`{path.name}`: expected a JSON array, found {text[place : place + 20]!r}.")
        place, is_first = place + 1, True
        while True:
            start = _skip(text, place)
            if not is_first and text[start : start + 1] == ",":
                start = _skip(text, start + 1)
            elif not is_first and start < len(text) and text[start] != "]":
                raise _damage(path, offset + start, "expected `,` or `]`")
            try:
                if start < len(text) and text[start] == "]" and (is_first or "," not in text[place:start]):
                    return
                value, end = scan(text, start)
                if end == len(text) and not isinstance(value, dict | list):
                    raise ValueError("a number may go on")
            except ValueError as error:
                more = stream.read(max(chunk, len(text) - place)) if _may_go_on(error, len(text)) else b""
                if not more:
                    raise _damage(path, offset + start, f"no whole row ({error})") from error
                text, offset, place = text[place:] + more.decode("latin-1"), offset + place, 0
                continue
            yield offset + start, offset + end, _as_utf8(value, text[start:end], path, offset + start)
            place, is_first = end, False


def read_json_row(path: Path, start: int, end: int) -> Any:  # noqa: ANN401 - any JSON value
    """Read one element by the place that `iter_json_rows` gave.

    Args:
        path (`Path`): the same file, unchanged.
        start (`int`): its first byte.
        end (`int`): the byte after its last.

    Returns:
        The element.

    Raises:
        CorruptFileError: there is no element at that place (any more).
    """
    with path.open("rb") as stream:
        stream.seek(start)
        raw = stream.read(end - start)
    try:
        return json.loads(raw)
    except ValueError as error:
        raise _damage(path, start, f"expected a row there ({error})") from error


def _as_utf8(value: Any, text: str, path: Path, place: int) -> Any:  # noqa: ANN401 - any JSON value
    """Return the element with its texts decoded as UTF-8; most are ASCII and right already."""
    if text.isascii():
        return value
    try:
        return json.loads(text.encode("latin-1"))
    except UnicodeDecodeError as error:
        raise _damage(path, place, f"expected UTF-8 text ({error})") from error


def _may_go_on(error: ValueError, size: int) -> bool:
    """Tell a row that the window cuts from a damaged one, for which the rest of the file need not be read."""
    if not isinstance(error, json.JSONDecodeError):
        return True
    return error.msg.startswith("Unterminated string") or error.pos > size - _LONGEST_TOKEN


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in _BLANK:
        place += 1
    return place


def _damage(path: Path, place: int, what: str) -> CorruptFileError:
    return CorruptFileError(f"`{path.name}`, byte {place}: {what}: the file is cut off or damaged. Get it again.")
