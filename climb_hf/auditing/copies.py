"""From "the same" and "near" to what it means: which records of which split are copies of which others."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import numpy as np

from climb_hf.auditing.collection import Collection
from climb_hf.auditing.linking import Links, Space
from climb_hf.source import Record, Source

__all__ = ["CopyBook", "Key", "book_contents", "book_groups", "book_links", "book_patients"]

#: What is shared, then source and split of the earlier and of the later record.
Key = tuple[str, tuple[int, int], tuple[int, int]]


class CopyBook:
    """For each kind of relation and each pair of splits: the later records, each with its nearest earlier one.

    Sources stand in the order of the audit, splits in the order train, validation, test; within a split the order is
    that of the index.

    Args:
        collection (`Collection`): the records.
    """

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.found: defaultdict[Key, dict[int, tuple[int, int]]] = defaultdict(dict)

    def add(self, kind: str, one: int, other: int, distance: int = 0) -> None:
        """Note that two rows are related; `distance` in bits, the smallest is kept."""
        x, y = self.collection.combination(one), self.collection.combination(other)
        if (x, one) > (y, other):
            one, other, x, y = other, one, y, x
        self._keep((kind, x, y), one, other, distance)
        if kind in ("identical", "near") and self._contradict(one, other):
            self._keep(("labels" if kind == "identical" else "near labels", x, y), one, other, distance)

    def _keep(self, key: Key, one: int, other: int, distance: int) -> None:
        known = self.found[key].get(other)
        if known is None or distance < known[0]:
            self.found[key][other] = (distance, one)

    def has(self, kind: str, x: tuple[int, int], y: tuple[int, int], row: int) -> bool:
        """Tell whether a row of the later split `y` is noted already."""
        return row in self.found.get((kind, x, y), {})

    def _contradict(self, one: int, other: int) -> bool:
        """Tell whether two copies have different classes, as far as their sources know the same classes."""
        labels = [found for row in (one, other) if (found := self.collection.labels(row)) is not None]
        if len(labels) < 2:
            return False
        parts = [self.collection.parts[self.collection.part[row]] for row in (one, other)]
        if parts[0] is parts[1]:
            return set(labels[0]) != set(labels[1])
        shared = _classes(parts[0].source) & _classes(parts[1].source)
        known = [set(values) & shared for values in labels]
        for part, seen in zip(parts, known, strict=True):
            if not seen and not part.source.multi_label:
                return False  # its class is none that the other source knows
        return known[0] != known[1]


def _classes(source: Source) -> set[str]:
    return set(source.concepts)


def book_contents(book: CopyBook, content: np.ndarray) -> None:
    """Note the records with the same content.

    Args:
        book (`CopyBook`): where.
        content (`np.ndarray`): (n,) of `content_ids`.
    """
    for rows in _members(content):
        firsts: dict[tuple[int, int], int] = {}
        for row in rows:
            here = book.collection.combination(row)
            for first in firsts.values():
                book.add("identical", first, row)
            firsts.setdefault(here, row)


def book_links(book: CopyBook, content: np.ndarray, space: Space, links: Links) -> None:
    """Note the records that are near to each other: of different content and, within a source, of different patients.

    A record that is noted as identical to one of a split is not noted as near to another of it.

    Args:
        book (`CopyBook`): where.
        content (`np.ndarray`): (n,) of `content_ids`.
        space (`Space`): the prints that were linked.
        links (`Links`): of `link_prints`.
    """
    node_of_content = np.full(int(content.max(initial=-1)) + 2, -1, dtype=np.int64)
    node_of_content[content[space.prints.rows]] = links.node
    node = np.where(content >= 0, node_of_content[content], -1)
    wanted = np.zeros(int(links.node.max(initial=-1)) + 1, dtype=bool)
    wanted[links.left], wanted[links.right] = True, True
    members: dict[int, list[int]] = {}
    for rows in _members(node, singles=wanted):
        members[int(node[rows[0]])] = rows
        if len(rows) > 1 and len(set(content[rows].tolist())) > 1:
            _book_rows(book, content, rows, rows, 0)
    for one, other, distance in zip(links.left.tolist(), links.right.tolist(), links.distance.tolist(), strict=True):
        _book_rows(book, content, members[one], members[other], distance)


def _book_rows(book: CopyBook, content: np.ndarray, left: list[int], right: list[int], distance: int) -> None:
    """Note near rows of two nodes: each row once for every split that the other node has rows in."""
    collection = book.collection
    partners = [_by_combination(collection, rows) for rows in (left, right)]
    sides = [(left, partners[1]), (right, partners[0])]
    for rows, others in sides[:1] if left is right else sides:
        for row in rows:
            here = collection.combination(row)
            for there, candidates in others.items():
                if there > here or book.has("identical", there, here, row):
                    continue
                for other in candidates:
                    is_earlier = (there, other) < (here, row)
                    if is_earlier and content[other] != content[row] and not collection.same_group(other, row):
                        book.add("near", other, row, distance)
                        break


def _by_combination(collection: Collection, rows: list[int]) -> dict[tuple[int, int], list[int]]:
    """Return by source and split the first two rows of different patients: one of them is not the asker's own."""
    found: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for row in rows:
        known = found[collection.combination(row)]
        if not known or (len(known) == 1 and not collection.same_group(known[0], row)):
            known.append(row)
    return found


def _members(numbers: np.ndarray, singles: np.ndarray | None = None) -> Iterator[list[int]]:
    """Yield the rows of each number that stands for several, or that `singles` asks for; -1 is no number."""
    order = np.argsort(numbers, kind="stable")
    order = order[np.searchsorted(numbers[order], 0) :]
    if not len(order):
        return
    begins = np.flatnonzero(np.r_[True, np.diff(numbers[order]) > 0])
    sizes = np.diff(np.r_[begins, len(order)])
    chosen = sizes > 1
    if singles is not None:
        chosen |= singles[numbers[order[begins]]]
    for begin, size in zip(begins[chosen].tolist(), sizes[chosen].tolist(), strict=True):
        yield order[begin : begin + size].tolist()


def book_groups(book: CopyBook) -> None:
    """Note the records whose patient also stands in an earlier split of the same source."""
    _book_shared(book, "group", ((int(part), record.group) for part, record in _with_part(book.collection)))


def book_patients(book: CopyBook) -> None:
    """Note the records whose patient also stands in another source with the same patient ids."""
    keys = (
        (family, record.group) if (family := book.collection.parts[part].source.patient_ids) else None
        for part, record in _with_part(book.collection)
    )
    _book_shared(book, "patient", keys)


def _with_part(collection: Collection) -> Iterator[tuple[int, Record]]:
    return zip(collection.part.tolist(), collection.records, strict=True)


def _book_shared(book: CopyBook, kind: str, keys: Iterable[tuple | None]) -> None:
    firsts: defaultdict[tuple, dict[tuple[int, int], int]] = defaultdict(dict)
    for row, key in enumerate(keys):
        if key is None:
            continue
        here = book.collection.combination(row)
        for there, first in firsts[key].items():
            if there != here and (kind == "group" or there[0] != here[0]):
                book.add(kind, first, row)
        firsts[key].setdefault(here, row)
