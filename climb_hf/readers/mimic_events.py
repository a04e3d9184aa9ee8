"""The event tables of MIMIC-IV, scanned once: rows of wanted items inside the windows of wanted visits.

`scan_events` hands out Arrow tables of the used columns. Where a table has the columns of a release since 2.2 in their
order, its lines are filtered before parsing (`climb_hf.readers.line_filter`); the filter is coarse and the query that
follows is exact. Other tables are for DuckDB's own reader.
"""

import re
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from climb_hf.errors import SchemaError
from climb_hf.readers.line_filter import MARGIN, Block, Places, Words, first_comma, parse_digits, read_blocks
from climb_hf.readers.mimic_layout import TABLES, Table

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Windows", "can_scan", "scan_events"]

#: Columns whose place the filter relies on, by table.
_LEADING = {
    "chartevents": ("subject_id", "hadm_id", "stay_id", "caregiver_id", "charttime", "storetime", "itemid"),
    "labevents": (
        "labevent_id", "subject_id", "hadm_id", "specimen_id", "itemid", "order_provider_id", "charttime",
    ),
}  # fmt: skip
_COMMA = 44
#: Bytes of lines that are parsed at a time.
_ENOUGH = 1 << 23
#: Largest difference of two ids for which a table of all ids between them is kept.
_MOST_IDS = 20_000_000


@dataclass
class Windows:
    """First and last moment of interest by id (admission, stay or patient).

    Args:
        ids (array): (n,) int64, 8 digits each, any order, unique.
        first (array): (n,) datetime64; the earliest moment of interest.
        last (array): (n,) datetime64.
    """

    ids: NDArray[np.int64]
    first: NDArray[np.datetime64]
    last: NDArray[np.datetime64]

    def __post_init__(self) -> None:
        self._base = int(self.ids.min()) if self.ids.size else 0
        span = int(self.ids.max()) - self._base + 1 if self.ids.size else 0
        self.is_usable = 0 < span <= _MOST_IDS
        if self.is_usable:
            self._place = np.full(span, -1, np.int32)
            self._place[self.ids - self._base] = np.arange(len(self.ids), dtype=np.int32)
            self._bounds = (*_comparable(self.first), *_comparable(self.last))

    def places(self, ids: NDArray[np.int64]) -> Places:
        """Return the row of each id, -1 where it has no window."""
        offset = ids - self._base
        is_outside = (offset < 0) | (offset >= len(self._place))
        offset[is_outside] = 0
        places = self._place[offset].astype(np.int64)
        places[is_outside] = -1
        return places

    def hold(self, places: Places, day: Words, clock: Words) -> NDArray[np.bool_]:
        """Tell which windows hold a moment, to the minute.

        Args:
            places (array): rows of the windows.
            day (array): the bytes `YYYY-MM-` as a big-endian number.
            clock (array): the bytes `DD HH:MM` as a big-endian number.

        Returns:
            bool array.
        """
        first_day, first_clock, last_day, last_clock = (bound[places] for bound in self._bounds)
        is_late = (day > first_day) | ((day == first_day) & (clock >= first_clock))
        return is_late & ((day < last_day) | ((day == last_day) & (clock <= last_clock)))


def _comparable(moments: NDArray[np.datetime64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Write moments as `YYYY-MM-` and `DD HH:MM` and read each as a big-endian number: they sort as the times do."""
    texts = np.datetime_as_string(moments, unit="m").astype("U16")
    letters = texts.view(np.uint32).reshape(-1, 16).astype(np.uint8)
    letters[:, 10] = ord(" ")  # for the T
    both = letters.view(">u8").astype(np.uint64)
    return both[:, 0].copy(), both[:, 1].copy()


def can_scan(table: Table) -> bool:
    """Tell whether a table has the columns the filter knows, in their places."""
    leading = _LEADING.get(table.name, ())
    return bool(leading) and table.header[: len(leading)] == leading


def scan_events(
    table: Table, *, items: Collection[int] | None, windows: Mapping[str, Windows], threads: int = 1
) -> Iterator["pa.Table"]:
    """Yield the rows of an event table that may count, in the order of the file.

    Args:
        table (`Table`): `labevents` or `chartevents` for which `can_scan` holds.
        items (`Collection[int]`, *optional*): wanted items; `None` for all.
        windows (`Mapping[str, Windows]`): id column -> moments of interest. The first column counts; where its cell is
            empty, the next one.
        threads (`int`, *optional*, defaults to `1`): threads that filter and parse; one more decompresses.

    Yields:
        `pyarrow.Table`: the used columns.

    Raises:
        CorruptFileError: the file is damaged.
        SchemaError: a value is not of its column's type.
        QuotedLineEnd: a cell holds a line end; read the table by another way.
    """
    chooser = _Chooser(table, items, windows)
    free = deque(Block() for _ in range(threads + 2))
    filtering: deque[tuple[Block, Future[pa.Buffer]]] = deque()
    parsing: deque[Future[pa.Table]] = deque()
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        kept: list[pa.Buffer] = []

        def collect(most: int, enough: int) -> None:
            """Take in filtered blocks until few are pending, and have what is enough parsed."""
            while len(filtering) > most:
                block, future = filtering.popleft()
                kept.append(future.result())
                free.append(block)
            if kept and sum(lines.size for lines in kept) >= enough:
                parsing.append(pool.submit(chooser.parse, kept.copy()))
                kept.clear()

        for block in read_blocks(table.path, free):
            filtering.append((block, pool.submit(chooser.choose, block)))
            collect(threads, _ENOUGH)
            while len(parsing) > threads:
                yield parsing.popleft().result()
        collect(0, 1)
        while parsing:
            yield parsing.popleft().result()


class _Chooser:
    """Filters and parses the blocks of one table."""

    def __init__(self, table: Table, items: Collection[int] | None, windows: Mapping[str, Windows]) -> None:
        import pyarrow as pa

        self._table, self._windows = table, windows
        self._is_usable = all(window.is_usable for window in windows.values())
        self._find, digits = {"chartevents": (_chart_places, 6), "labevents": (_lab_places, 5)}[table.name]
        self._items = np.full(1 << 16, items is None)
        texts = [str(item).encode() for item in items or () if len(str(item)) == digits]
        if texts:
            self._items[_hash(np.frombuffer(b"".join(t.ljust(8, b"\0") for t in texts), "<u8"))] = True
        kinds = {"BIGINT": pa.int64(), "DOUBLE": pa.float64(), "TIMESTAMP": pa.timestamp("us"), "VARCHAR": pa.string()}
        self._types = {name: kinds[kind] for name, kind in TABLES[table.name].items()}

    def choose(self, block: Block) -> "pa.Buffer":
        """Return the lines of a block that may count."""
        starts = block.starts()
        keep = np.ones(len(starts) - 1, bool)
        n_safe = int(np.searchsorted(starts, block.end - MARGIN))
        places = starts[: min(n_safe, len(keep))]
        if places.size:
            found = self._find(block, places)
            is_wanted = self._items[_hash(found.items)]
            keep[: len(places)] = is_wanted | ~found.is_known
            if self._is_usable:
                rows = np.flatnonzero(is_wanted & found.is_known)
                if rows.size:
                    keep[rows] = self._in_window(block, found, rows)
        return block.select(starts, keep)

    def _in_window(self, block: Block, found: "_Found", rows: Places) -> NDArray[np.bool_]:
        """Tell for rows of wanted items whether their visit has a window that holds them; `True` where unsure."""
        is_kept = np.zeros(len(rows), bool)
        left = np.arange(len(rows))
        for column, windows in self._windows.items():
            digits = block.words(found.id_places[column][rows[left]])
            is_id = _fits(digits, _NUMBER)
            given = left[is_id]
            places = windows.places(parse_digits(digits[is_id], 8))
            given, places = given[places >= 0], places[places >= 0]
            is_kept[given] |= self._holds(windows, block, found, rows[given], places)
            others = ~is_id
            is_empty = (digits & np.uint64(0xFF)) == np.uint64(_COMMA)
            is_kept[left[others & ~is_empty]] = True
            left = left[others & is_empty]
        is_kept[left] = True
        return is_kept

    @staticmethod
    def _holds(windows: Windows, block: Block, found: "_Found", rows: Places, places: Places) -> NDArray[np.bool_]:
        time = found.time[rows]
        if found.provider_first:
            width, has_comma = first_comma(block.words(time))
            time += np.where(has_comma, width + 1, 0)
        day, clock = block.words(time), block.words(time + 8)
        is_time = _fits(day, _DAY) & _fits(clock, _CLOCK)
        return windows.hold(places, day.byteswap(), clock.byteswap()) | ~is_time

    def parse(self, kept: "list[pa.Buffer]") -> "pa.Table":
        """Parse lines: the used columns, with their types."""
        import pyarrow as pa
        from pyarrow import csv

        lines = b"".join(kept)
        try:
            return csv.read_csv(
                pa.BufferReader(lines),
                read_options=csv.ReadOptions(
                    column_names=list(self._table.header), use_threads=False, block_size=len(lines) + 1
                ),
                convert_options=csv.ConvertOptions(
                    column_types=self._types,
                    include_columns=list(self._types),
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowInvalid as error:
            reason = re.sub(r"Row #\d+: ", "", str(error))[:200]  # the number counts filtered lines
            raise SchemaError(
                f"mimic_iv: `{self._table.path}` cannot be read ({reason}). Restore the publisher's table."
            ) from error


@dataclass
class _Found:
    """Where the leading columns of some lines are.

    Args:
        items (array): digits of each line's item, as bytes of a number.
        is_known (array): whether the line has the expected structure up to the item.
        id_places (dict): id column -> offset of its first digit.
        time (array): offset of `charttime`, or of the column before it.
        provider_first (`bool`): a column of up to seven bytes stands between `time` and `charttime`.
    """

    items: Words
    is_known: NDArray[np.bool_]
    id_places: dict[str, Places]
    time: Places
    provider_first: bool


def _pattern(text: str) -> tuple[np.uint64, np.uint64]:
    """Make mask and value of eight bytes: `0` is any digit, `?` any byte, others are themselves."""
    mask = bytes(0 if c == "?" else 0xF0 if c == "0" else 0xFF for c in text)
    value = bytes(0 if c == "?" else ord(c) for c in text)
    return np.uint64(int.from_bytes(mask, "little")), np.uint64(int.from_bytes(value, "little"))


_NUMBER, _DAY, _CLOCK = _pattern("00000000"), _pattern("0000-00-"), _pattern("00 00:00")
_STORED, _UNSTORED = _pattern(",0??????"), _pattern(",,??????")
_FULL_ID, _NO_ID = _pattern(",0000000"), _pattern(",,??????")
_ITEM_6, _ITEM_5 = _pattern(",000000,"), _pattern(",00000,?")
_MAGIC = np.uint64(0x9E3779B97F4A7C15)


def _hash(items: Words) -> Words:
    """Map the digits of an item to 16 bits; two items may share a value, which only keeps a few lines more."""
    return (items * _MAGIC) >> np.uint64(48)


def _fits(words: Words, pattern: tuple[np.uint64, np.uint64]) -> NDArray[np.bool_]:
    return (words & pattern[0]) == pattern[1]


def _chart_places(block: Block, starts: Places) -> _Found:
    """Find the columns of chart events: three ids of 8 digits, a caregiver of up to 6, two times, an item of 6."""
    caregiver = block.words(starts + 26)  # with the comma before it
    known = (caregiver & np.uint64(0xFF)) == np.uint64(_COMMA)
    width, has_comma = first_comma(caregiver >> np.uint64(8))
    time = starts + width
    time += 28
    known &= has_comma
    stored = block.words(time + 19)
    item = time + 39  # with the comma before it
    is_stored = _fits(stored, _STORED)
    if not is_stored.all():
        item -= np.where(_fits(stored, _UNSTORED), 19, 0)
        known &= is_stored | _fits(stored, _UNSTORED)
    items = block.words(item)
    known &= _fits(items, _ITEM_6)
    places = {"subject_id": starts, "hadm_id": starts + 9, "stay_id": starts + 18}
    return _Found((items >> np.uint64(8)) & np.uint64(0xFFFFFFFFFFFF), known, places, time, provider_first=False)


def _lab_places(block: Block, starts: Places) -> _Found:
    """Find the columns of lab events: number as wide as the first line's, patient, admission or none, specimen.

    A specimen of other than 8 digits (one in ten) makes a line one more look longer.
    """
    digits = block.content.find(b",", int(starts[0]), int(starts[0]) + 24) - int(starts[0])
    if digits < 1:
        return _Found(np.zeros(len(starts), np.uint64), np.zeros(len(starts), bool), {}, starts, provider_first=True)
    subject = starts + (digits + 1)
    known = _fits(block.words(subject - 1), _FULL_ID)
    if digits < 8:
        width, has_comma = first_comma(block.words(starts))
        known &= has_comma & (width == digits)
    admission = block.words(subject + 8)
    is_empty = _fits(admission, _NO_ID)
    known &= is_empty | _fits(admission, _FULL_ID)
    specimen = subject + np.where(is_empty, 10, 18)
    words = block.words(specimen)
    item = specimen + 8  # with the comma before it
    is_short = np.flatnonzero(~_fits(words, _NUMBER))
    if is_short.size:
        width, _ = first_comma(words[is_short])
        item[is_short] = specimen[is_short] + width
    items = block.words(item)
    known &= _fits(items, _ITEM_5)
    places = {"subject_id": subject, "hadm_id": subject + 9}
    return _Found((items >> np.uint64(8)) & np.uint64(0xFFFFFFFFFF), known, places, item + 7, provider_first=True)
