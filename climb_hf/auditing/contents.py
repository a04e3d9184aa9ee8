"""Which records have the same content, byte for byte: sizes first, then samples of equal-sized files, then digests."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.auditing.cache import FileTable, file_key
from climb_hf.auditing.collection import Collection
from climb_hf.readers.duplicates import file_digest

__all__ = ["DIGEST_WIDTH", "Progress", "content_ids"]

#: Bytes of the pieces of a file that are read first.
_PIECE = 4096
#: A row of the table: digest of the pieces, digest of the whole file or zeros.
_PART, _FULL = 16, 32
DIGEST_WIDTH = _PART + _FULL
_BATCH = 256

Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]


def content_ids(collection: Collection, table: FileTable, threads: int, progress: Progress) -> np.ndarray:
    """Give equal numbers to records with the same content.

    Where a source cuts several records out of one file, the k-th of a file equals the k-th of a byte-identical file.

    Args:
        collection (`Collection`): the records.
        table (`FileTable`): digests that are known already; new ones are added and saved.
        threads (`int`): threads that read files.
        progress: wraps what is worked through: (items, total, title) -> items.

    Returns:
        `np.ndarray`: (n,) int64, -1 for records without a file or with an empty one.
    """
    same = _identical_files(collection, table, threads, progress)
    numbers: dict[tuple[str, int], int] = {}
    places: defaultdict[str, int] = defaultdict(int)
    whole = [part.reads_whole_file for part in collection.parts]
    content = np.full(len(collection), -1, dtype=np.int64)
    for row, file in enumerate(collection.files):
        if not file or not collection.stats[file][0]:
            continue
        place = 0
        if not whole[collection.part[row]]:
            place = places[file]
            places[file] += 1
        content[row] = numbers.setdefault((same.get(file, file), place), len(numbers))
    return content


def _identical_files(collection: Collection, table: FileTable, threads: int, progress: Progress) -> dict[str, str]:
    """Map files to the first file with the same bytes; files with bytes of their own may be absent."""
    sizes: defaultdict[int, list[str]] = defaultdict(list)
    for file, (size, _) in collection.stats.items():
        if size:
            sizes[size].append(file)
    candidates = [file for files in sizes.values() if len(files) > 1 for file in files]
    if not candidates:
        return {}
    keys = np.array([file_key(file, *collection.stats[file], "bytes") for file in candidates], dtype=np.uint64)
    places = table.find(keys)
    known = table.rows(places[places >= 0])["vector"].tobytes()
    pieces = (known[start : start + DIGEST_WIDTH] for start in range(0, len(known), DIGEST_WIDTH))
    digests = {file: next(pieces) for file, place in zip(candidates, places.tolist(), strict=True) if place >= 0}
    before = dict(digests)
    with ThreadPoolExecutor(threads) as pool:
        try:
            new = [file for file in candidates if file not in digests]
            for file, sample in _work(pool, _sample, new, progress, "sampling files of equal size"):
                digests[file] = sample + bytes(_FULL)
            alike: defaultdict[bytes, list[str]] = defaultdict(list)
            for file in candidates:
                alike[digests[file][:_PART]].append(file)
            open_ = [f for files in alike.values() if len(files) > 1 for f in files if not any(digests[f][_PART:])]
            for file, digest in _work(pool, _digest, open_, progress, "comparing files that look the same"):
                digests[file] = digests[file][:_PART] + digest
        finally:
            fresh = [k for k, file in enumerate(candidates) if digests.get(file) != before.get(file)]
            table.add_vectors(keys[fresh], b"".join(digests[candidates[k]] for k in fresh))
            table.save()
    first: dict[bytes, str] = {}
    return {f: first.setdefault(digests[f][_PART:], f) for f in candidates if any(digests[f][_PART:])}


def _work(
    pool: ThreadPoolExecutor, function: Callable[[str], bytes], files: list[str], progress: Progress, title: str
) -> Iterator[tuple[str, bytes]]:
    """Yield (file, result) in order; little is under way at a time, so that an interruption is quick."""
    results = (
        pair
        for start in range(0, len(files), _BATCH)
        for pair in zip(files[start : start + _BATCH], pool.map(function, files[start : start + _BATCH]), strict=False)
    )
    yield from progress(results, len(files), title)


def _sample(file: str) -> bytes:
    """Digest three small pieces of a file; one that cannot be read gets a digest of its own name."""
    digest = hashlib.blake2b(digest_size=_PART)
    try:
        with Path(file).open("rb") as stream:
            size = stream.seek(0, 2)
            for offset in (0, size // 2, max(size - _PIECE, 0)):
                stream.seek(offset)
                digest.update(stream.read(_PIECE))
    except OSError:
        digest.update(os.fsencode(file))
    return digest.digest()


def _digest(file: str) -> bytes:
    """Return the SHA-256 of a file, zeros if it cannot be read: such files are equal to nothing."""
    try:
        return bytes.fromhex(file_digest(Path(file)))
    except OSError:
        return bytes(_FULL)
