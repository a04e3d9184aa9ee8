"""Prints of all contents of an audit: decoded once, by all cores, and remembered."""

import struct
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.auditing.cache import FileTable, file_key
from climb_hf.auditing.collection import PICTURE_FAMILIES, Collection, Part
from climb_hf.auditing.contents import Progress
from climb_hf.errors import ClimbError
from climb_hf.registry import get_source
from climb_hf.source import Options, Record

__all__ = ["Prints", "Vectors", "make_prints"]

#: Part of every key: another number makes all prints anew.
VERSION = "1"
#: Pictures that a source cuts or renders itself are asked for in this size.
_READ_SIDE = 64
_CHUNK = 32
#: Fewer records than this are not worth starting processes for.
_FEW = 200
_SAVE_SECONDS = 120.0
_DICOM = (".dcm", ".dicom", ".dic")
_DAMAGE = (
    ClimbError, ValueError, OSError, EOFError, LookupError, ArithmeticError, SyntaxError, TypeError, AttributeError,
    struct.error, zlib.error,
)  # fmt: skip

Print = tuple[np.ndarray, tuple[float, float]] | str


class Vectors:
    """Vectors that stay on disk until they are asked for: those of several tables as one array.

    Args:
        tables (`Sequence[tuple[FileTable, np.ndarray]]`): each table with the places of its rows.
    """

    def __init__(self, tables: Sequence[tuple[FileTable, np.ndarray]]) -> None:
        self._tables = [table for table, _ in tables]
        self._places = np.concatenate([places for _, places in tables])
        self._table = np.repeat(np.arange(len(tables)), [len(places) for _, places in tables])

    def __len__(self) -> int:
        return len(self._places)

    def _rows(self, which: Any) -> np.ndarray:  # noqa: ANN401 - slice or indices
        places, table = self._places[which], self._table[which]
        rows = np.empty(len(places), dtype=self._tables[0].dtype)
        for number in np.unique(table):
            chosen = np.flatnonzero(table == number)
            rows[chosen] = self._tables[number].rows(places[chosen])
        return rows

    def __getitem__(self, which: Any) -> np.ndarray:  # noqa: ANN401 - slice or indices
        """Return vectors, (k, width)."""
        return self._rows(which)["vector"]

    def facts(self) -> np.ndarray:
        """Return the two numbers beside each vector, (n, 2) float32: spacing of rows and columns, or rate and 0."""
        return self._rows(slice(None))["facts"]


@dataclass
class Prints:
    """Prints that can be compared with each other.

    Args:
        kind (`"picture"` or `"signal"`): what was decoded.
        title (`str`): for people, such as `"pictures"` or `"ECG signals of 12 channels"`.
        rows (`np.ndarray`): (n,) for each print the first record with that content.
        vectors (`Vectors`): (n, width).
    """

    kind: str
    title: str
    rows: np.ndarray
    vectors: Vectors


def make_prints(
    collection: Collection,
    content: np.ndarray,
    open_table: Callable[[str, str, int], FileTable],
    num_proc: int,
    progress: Progress,
) -> tuple[list[Prints], list[tuple[int, str]]]:
    """Make the prints of all contents that can be compared.

    Args:
        collection (`Collection`): the records.
        content (`np.ndarray`): (n,) of `content_ids`; of equal contents the first record is decoded.
        open_table: (name, dtype, width) -> the table of a source.
        num_proc (`int`): worker processes.
        progress: as in `content_ids`.

    Returns:
        `tuple[list[Prints], list[tuple[int, str]]]`: prints by kind, and the records that could not be decoded.
    """
    _, first = np.unique(content, return_index=True)
    first = np.sort(first[content[first] >= 0])
    spaces: defaultdict[tuple[str, str], list[tuple[np.ndarray, FileTable, np.ndarray]]] = defaultdict(list)
    failed: list[tuple[int, str]] = []
    for number, part in enumerate(collection.parts):
        rows = first[collection.part[first] == number]
        space = _space(part)
        if space is None or not len(rows):
            continue
        dtype, width = _shape(part)
        table = open_table(f"{part.source.name}-{space[0]}-{width}", dtype, width)
        keys = np.array([_key(collection, part, row) for row in rows], dtype=np.uint64)
        reasons = _fill(collection, part, rows, keys, table, num_proc, progress)
        places = table.find(keys)
        failed += [(int(row), reasons[int(row)]) for row in rows[places < 0] if int(row) in reasons]
        spaces[space].append((rows[places >= 0], table, places[places >= 0]))
    found = []
    for (kind, title), tables in spaces.items():
        if rows := np.concatenate([rows for rows, _, _ in tables]).tolist():
            vectors = Vectors([(table, places) for _, table, places in tables])
            found.append(Prints(kind, title, np.array(rows), vectors))
    return found, failed


def _space(part: Part) -> tuple[str, str] | None:
    """Return the kind of prints of a source, and what they may be compared with."""
    source = part.source
    if source.family in PICTURE_FAMILIES:
        return "picture", "pictures"
    if source.family == "signal" and source.channels:
        return "signal", f"{source.modality} signals of {len(source.channels)} channels"
    return None


def _shape(part: Part) -> tuple[str, int]:
    from climb_hf.auditing.pictures import SIDE
    from climb_hf.auditing.signals import signal_width

    is_signal = part.source.family == "signal"
    return ("<f2", signal_width(len(part.source.channels))) if is_signal else ("u1", SIDE * SIDE)


def _key(collection: Collection, part: Part, row: int) -> int:
    file = collection.files[row]
    state = (file, *collection.stats[file], VERSION)
    if part.reads_whole_file:
        return file_key(*state)
    options, record = part.options, collection.records[row]
    shown = repr((options.window, options.bit_depth, sorted(options.extra.items())))
    return file_key(*state, record.id, part.source.version, shown)


def _fill(
    collection: Collection, part: Part, rows: np.ndarray, keys: np.ndarray, table: FileTable, num_proc: int,
    progress: Progress,
) -> dict[int, str]:  # fmt: skip
    """Add the prints that the table lacks; return why records could not be decoded."""
    lacking = np.flatnonzero(table.find(keys) < 0)
    chunks = [lacking[start : start + _CHUNK] for start in range(0, len(lacking), _CHUNK)]
    jobs = [
        (part.source.name, part.root, part.options, [collection.records[rows[k]] for k in chunk],
         [collection.files[rows[k]] for k in chunk])
        for chunk in chunks
    ]  # fmt: skip
    reasons: dict[int, str] = {}
    saved = time.monotonic()
    made: list[tuple[int, np.ndarray, tuple[float, float]]] = []
    try:
        results = _results(jobs, num_proc if len(lacking) >= _FEW else 1)
        with_progress = progress(_one_by_one(chunks, results), len(lacking), f"{part.source.name}: decoding")
        for k, result in with_progress:
            if isinstance(result, str):
                reasons[int(rows[k])] = result
            else:
                made.append((int(keys[k]), *result))
            if len(made) >= 4096:
                _add(table, made)
                made = []
                if time.monotonic() - saved > _SAVE_SECONDS:
                    table.save()
                    saved = time.monotonic()
    finally:
        _add(table, made)
        table.save()
    return reasons


def _add(table: FileTable, made: list[tuple[int, np.ndarray, tuple[float, float]]]) -> None:
    rows = np.zeros(len(made), dtype=table.dtype)
    for place, row in enumerate(made):
        rows[place] = row
    if made:
        table.add(rows)


def _one_by_one(chunks: list[np.ndarray], results: Iterable[list[Print]]) -> Iterator[tuple[int, Print]]:
    for chunk, found in zip(chunks, results, strict=True):
        yield from zip(chunk.tolist(), found, strict=True)


def _results(jobs: list[tuple], num_proc: int) -> Iterator[list[Print]]:
    if num_proc <= 1 or len(jobs) <= 1:
        yield from (_print_records(*job) for job in jobs)
        return
    with ProcessPoolExecutor(min(num_proc, len(jobs))) as pool:
        try:
            window = 8 * num_proc  # so that little is pickled ahead, and an interruption is quick
            waiting = [pool.submit(_print_records, *job) for job in jobs[:window]]
            for position in range(len(jobs)):
                result = waiting[position % window].result()
                if position + window < len(jobs):
                    waiting[position % window] = pool.submit(_print_records, *jobs[position + window])
                yield result
        except BrokenProcessPool as error:
            raise ClimbError(
                "a worker process died while files were decoded; the usual cause is memory. Use fewer `num_proc`; "
                "what was decoded before is remembered."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _print_records(name: str, root: Path, options: Options, records: list[Record], files: list[str]) -> list[Print]:
    """Decode records of one source; runs in the worker processes."""
    part = Part(get_source(name), root, options, None)  # type: ignore[arg-type]  # labels are not looked at here
    found: list[Print] = []
    for record, file in zip(records, files, strict=True):
        try:
            found.append(
                _print_signal(part, record) if part.source.family == "signal" else _picture(part, record, file)
            )
        except ImportError:
            raise  # a package is missing: the same for every record
        except _DAMAGE as error:
            found.append(f"{type(error).__name__}: {error}")
    return found


def _print_signal(part: Part, record: Record) -> Print:
    from climb_hf.auditing.signals import signal_print

    columns = part.source.read(record, part.root, part.options)
    rate = float(columns["sampling_rate"])
    return signal_print(columns["signal"], rate), (rate, 0.0)


def _picture(part: Part, record: Record, file: str) -> Print:
    """Return the view of a picture, or of the middle frame of a video or volume, and the spacing its header states."""
    from climb_hf.auditing.pictures import picture_view

    source = part.source
    picture: Any = file
    if source.family == "frames":
        options = replace(part.options, image_size=_READ_SIDE, num_frames=3)
        frames = source.read(record, part.root, options)["frames"]
        picture = frames[len(frames) // 2]
    elif not part.reads_whole_file:
        picture = source.read(record, part.root, replace(part.options, image_size=_READ_SIDE))["image"]
    return picture_view(picture), _spacing(file)


def _spacing(file: str) -> tuple[float, float]:
    if not file.lower().endswith(_DICOM):
        return (np.nan, np.nan)
    from climb_hf.readers.dicom import read_dicom_header

    header = read_dicom_header(file, tags=["PixelSpacing", "ImagerPixelSpacing"])
    values = header.get("PixelSpacing") or header.get("ImagerPixelSpacing")
    return (float(values[0]), float(values[1])) if values and len(values) == 2 else (np.nan, np.nan)
