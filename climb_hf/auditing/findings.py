"""From the book of copies to findings: how bad each is, in words, with examples."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from climb_hf.auditing.collection import Collection
from climb_hf.auditing.copies import CopyBook, Key
from climb_hf.auditing.linking import Space
from climb_hf.auditing.result import Finding, Pair, RecordName, Severity
from climb_hf.splits import SPLITS

__all__ = ["CHECK_ORDER", "copy_findings", "file_findings", "record_name"]

#: Checks in the order of a report.
CHECK_ORDER = {
    name: place
    for place, name in enumerate(("groups", "identical", "near", "patients", "labels", "classes", "values", "files"))
}
_CHECKS = {"group": "groups", "patient": "patients", "near labels": "labels"}
_WHAT = {
    "group": "of a patient (or other group) who is also in {x}",
    "identical": "byte-identical to a record of {x}",
    "near": "near duplicates of a record of {x}",
    "patient": "of a patient who is also in {x}",
    "labels": "byte-identical to a record of {x} with other labels",
    "near labels": "near duplicates of a record of {x} with other labels",
}
_SHOWN = 3


def record_name(collection: Collection, row: int) -> RecordName:
    """Return a row as reports name it."""
    record, part = collection.records[row], collection.parts[collection.part[row]]
    file = collection.files[row]
    relative = file.removeprefix(f"{part.root.absolute()}/") if file else ""
    split = SPLITS[collection.split[row]]
    return RecordName(part.source.name, split, record.id, record.group, relative, collection.labels(row))


def copy_findings(book: CopyBook, spaces: Sequence[Space], content: np.ndarray, max_pairs: int) -> Iterator[Finding]:
    """Yield one finding for every kind of relation and every two splits.

    Args:
        book (`CopyBook`): the relations.
        spaces (`Sequence[Space]`): the prints, for the similarity of pairs.
        content (`np.ndarray`): (n,) of `content_ids`.
        max_pairs (`int`): pairs named per finding.

    Yields:
        `Finding`.
    """
    place_of = {int(content[row]): (space, place) for space in spaces for place, row in enumerate(space.prints.rows)}
    for key, found in book.found.items():
        kind, x, y = key
        collection = book.collection
        names = [f"{collection.parts[part].source.name} {SPLITS[split]}" for part, split in (x, y)]
        rows = sorted(found, key=lambda row: (found[row][0], row))
        pairs = tuple(_pair(book, kind, found[row], row, place_of, content) for row in rows[:max_pairs])
        ids = tuple(collection.records[row].id for row in sorted(found))
        here = "the same split" if x == y else names[0]
        text = f"{len(ids):,} records of {names[1]} are {_WHAT[kind].format(x=here)}{_advice(key)}"
        where = names[0] if x == y else " / ".join(names)
        yield Finding(_CHECKS.get(kind, kind), _severity(key), where, len(ids), text, ids, pairs)


def _pair(
    book: CopyBook,
    kind: str,
    found: tuple[int, int],
    row: int,
    place_of: dict[int, tuple[Space, int]],
    content: np.ndarray,
) -> Pair:
    _, partner = found
    names = record_name(book.collection, partner), record_name(book.collection, row)
    places = [place for row_ in (partner, row) if (place := place_of.get(int(content[row_]))) is not None]
    if kind not in ("near", "near labels") or len(set(places)) < 2:
        return Pair(*names)
    (space, one), (_, other) = places
    similarity = space.similarity(np.array([one]), np.array([other]))[0]
    bits = int(np.bitwise_count(space.codes[one] ^ space.codes[other]))
    return Pair(*names, distance=bits, similarity=round(float(similarity), 4))


def _severity(key: Key) -> Severity:
    kind, x, y = key
    if kind.endswith("labels"):
        return "warning"
    if x == y:
        return "note"
    if x[0] == y[0]:
        return "leak"
    is_train = [split == 0 for _, split in (x, y)]
    return "leak" if any(is_train) and not all(is_train) else "warning"


def _advice(key: Key) -> str:
    kind, x, y = key
    if kind == "labels":
        return ": one of the two is wrong"
    if kind == "near labels":
        return ": look at them, one of the two may be wrong"
    if x == y:
        return ""
    if x[0] != y[0]:
        return ": leave them out where a model of one source is scored on the other"
    return ": leave them out of the score, or out of the training" if kind != "group" else ": split by group"


def file_findings(collection: Collection, spaces: Sequence[Space], failed: list[tuple[int, str]]) -> Iterator[Finding]:
    """Yield what could not be compared: missing, undecodable and flat files.

    Args:
        collection (`Collection`): the records.
        spaces (`Sequence[Space]`): the prints.
        failed (`list[tuple[int, str]]`): records that could not be decoded, and why.

    Yields:
        `Finding`.
    """
    for part in collection.parts:
        if part.n_failed:
            text = f"{part.n_failed:,} rows of the tables give no record; `climb doctor {part.source.name}` names them"
            yield Finding("files", "warning", f"{part.source.name}: all splits", part.n_failed, text)
    missing = defaultdict(list)
    for row, (record, file) in enumerate(zip(collection.records, collection.files, strict=True)):
        if record.files and not file:
            missing[int(collection.part[row])].append(record.id)
    for number, ids in missing.items():
        where = f"{collection.parts[number].source.name}: all splits"
        text = f"{len(ids):,} records have no file; they were not compared. The first is `{ids[0]}`"
        yield Finding("files", "warning", where, len(ids), text, tuple(ids))
    reasons = defaultdict(list)
    for row, reason in failed:
        reasons[int(collection.part[row])].append((collection.records[row].id, reason))
    for number, rows in reasons.items():
        where = f"{collection.parts[number].source.name}: all splits"
        examples = "; ".join(f"`{id_}`: {reason}" for id_, reason in rows[:_SHOWN])
        text = f"{len(rows):,} records could not be decoded; they were compared byte by byte only. {examples}"
        yield Finding("files", "warning", where, len(rows), text, tuple(id_ for id_, _ in rows))
    flat = defaultdict(list)
    for space in spaces:
        for row in space.prints.rows[space.flat].tolist():
            flat[int(collection.part[row]), space.prints.kind].append(collection.records[row].id)
    for (number, kind), ids in flat.items():
        where = f"{collection.parts[number].source.name}: all splits"
        shows = "show nothing" if kind == "picture" else "are flat or shorter than two seconds"
        text = f"{len(ids):,} {kind}s {shows}; they were compared byte by byte only. The first is `{ids[0]}`"
        yield Finding("files", "note", where, len(ids), text, tuple(ids))
