"""`climb_hf.audit`: leaks and duplicates within and across sources and splits; and which records two sources share."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.auditing.cache import FileTable
from climb_hf.auditing.checks import check_classes, check_headers, check_values
from climb_hf.auditing.collection import Collection, collect
from climb_hf.auditing.contents import DIGEST_WIDTH, content_ids
from climb_hf.auditing.copies import CopyBook, book_contents, book_groups, book_links, book_patients
from climb_hf.auditing.findings import CHECK_ORDER, copy_findings, file_findings, record_name
from climb_hf.auditing.linking import Space, link_prints
from climb_hf.auditing.prints import make_prints
from climb_hf.auditing.result import AuditReport, sort_findings
from climb_hf.errors import OptionError
from climb_hf.provenance import clean_recipe, provenance
from climb_hf.splits import SPLITS

__all__ = ["RADIUS", "SharedRecord", "audit", "shared_records"]

#: Bits in which the codes of near duplicates may differ.
RADIUS = 8
Sources = Mapping[str, str | Path | None]


@dataclass(frozen=True)
class SharedRecord:
    """A record of one source that another source holds too.

    Args:
        id (`str`): its id.
        split (`str`): its split.
        kind (`str`): `"identical"` (byte by byte), `"near"` or `"patient"` (another recording of the same patient).
        other_id (`str`): id of the nearest record of the other source.
        other_split (`str`): its split.
        distance (`int`): bits in which their codes differ; 0 unless near.
    """

    id: str
    split: str
    kind: str
    other_id: str
    other_split: str
    distance: int = 0


def audit(
    sources: Sources,
    splits: Sequence[str] | None = None,
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    near: bool = True,
    radius: int = RADIUS,
    min_similarity: float | None = None,
    max_pairs: int = 200,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
    progress: bool = True,
) -> AuditReport:
    """Look for leakage, duplicates and implausible values within and across sources and splits.

    Found are: patients in two splits; byte-identical files; near duplicates of pictures (resized, re-encoded,
    brighter), of the middle frames of videos and volumes, and of signals (shifted by up to four seconds, rescaled,
    resampled); patients whom linked sources share; duplicates with contradicting labels; classes that a split lacks;
    implausible age, sex, spacing or sampling rate. Files are decoded for near duplicates only, once: what was learned
    from a file is remembered until its size or time changes. Every pair of codes within `radius` is found.

    Args:
        sources (`Mapping`): folder by name of the source; `None` means `$CLIMB_DATA/NAME`.
        splits (`Sequence[str]`, *optional*): the splits to look at; all by default.
        options (`Mapping`, *optional*): options by source name, such as `{"ptbxl": {"split_by": "paper"}}`, those
            under `"*"` for all.
        near (`bool`, *optional*, defaults to `True`): look for near duplicates; without, nothing is decoded.
        radius (`int`, *optional*, defaults to `8`): bits of 64 in which the codes of near duplicates may differ, 0 to
            16.
        min_similarity (`float`, *optional*): correlation that near duplicates must have as well; by default 0.98 for
            pictures and 0.94 for signals.
        max_pairs (`int`, *optional*, defaults to `200`): pairs named per finding; ids are always named in full.
        cache_dir (`str` or `Path`, *optional*): where prints and digests are kept; by default beside the data sets
            that `datasets` builds. It holds small grey views of pictures: treat it like the data.
        num_proc (`int`, *optional*): worker processes; all cores by default.
        progress (`bool`, *optional*, defaults to `True`): show progress bars.

    Returns:
        `AuditReport`.

    Raises:
        UnknownSourceError: a name is not registered.
        AccessError: the raw data of a source is missing.
        OptionError: an argument out of range.

    Example:
        >>> import climb_hf, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> _ = climb_hf.miniature("brain_tumor", folder + "/raw", n=16)
        >>> report = climb_hf.audit({"brain_tumor": folder + "/raw"}, cache_dir=folder, progress=False)
        >>> [(f.severity, f.where, f.count) for f in report.select("identical", "leak")]
        [('leak', 'brain_tumor train / brain_tumor test', 1)]
    """
    _check_arguments(radius, min_similarity, num_proc)
    run = _Run(cache_dir, num_proc or _cores(), progress)
    collection = collect(sources, splits, options)
    book, spaces, content, counts, failed = run.relate(collection, near, radius, min_similarity)
    findings = [
        *copy_findings(book, spaces, content, max_pairs),
        *file_findings(collection, spaces, failed),
        *check_classes(collection),
        *check_values(collection),
        *check_headers(collection, [space.prints for space in spaces]),
    ]
    settings = {
        "splits": list(splits or SPLITS), "options": clean_recipe(dict(options or {})), "near": near, "radius": radius,
        "min_similarity": min_similarity,
    }  # fmt: skip
    report = AuditReport(
        _source_rows(collection),
        sort_findings(findings, CHECK_ORDER),
        counts,
        settings,
        provenance(),
        _withheld(collection),
    )
    report._draw = _drawer(collection)
    return report


def shared_records(
    a: tuple[str, str | Path | None] | str,
    b: tuple[str, str | Path | None] | str,
    *,
    kinds: Sequence[str] = ("identical", "near"),
    splits: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    radius: int = RADIUS,
    min_similarity: float | None = None,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
    progress: bool = True,
) -> dict[str, SharedRecord]:
    """Return the records of source `a` that have a copy in source `b`.

    A protocol that scores a model on `a` leaves them out if the model was trained on `b`.

    Args:
        a (`str` or `tuple`): name of a source, or (name, folder).
        b (`str` or `tuple`): another source, likewise.
        kinds (`Sequence[str]`, *optional*): of `"identical"`, `"near"` and `"patient"`; files are decoded for `"near"`
            only.
        splits (`Sequence[str]`, *optional*): the splits of both to look at; all by default.
        options (`Mapping`, *optional*): as in `audit`.
        radius (`int`, *optional*, defaults to `8`): as in `audit`.
        min_similarity (`float`, *optional*): as in `audit`.
        cache_dir (`str` or `Path`, *optional*): as in `audit`.
        num_proc (`int`, *optional*): as in `audit`.
        progress (`bool`, *optional*, defaults to `True`): as in `audit`.

    Returns:
        `dict[str, SharedRecord]`: by id of `a`, in the order of its index; identical goes before near before patient.

    Raises:
        OptionError: `a` is `b`, or an unknown kind.
    """
    (name, folder), (other, other_folder) = ((item, None) if isinstance(item, str) else item for item in (a, b))
    known = ("identical", "near", "patient")
    if name == other:
        raise OptionError(f"`a` and `b` are both `{name}`; use `climb_hf.audit` to compare the splits of one source.")
    if wrong := sorted(set(kinds) - set(known)):
        raise OptionError(f"`kinds` must be among {list(known)}, found {wrong}.")
    _check_arguments(radius, min_similarity, num_proc)
    collection = collect({other: other_folder, name: folder}, splits, options)  # the later one is asked about
    run = _Run(cache_dir, num_proc or _cores(), progress)
    book, *_ = run.relate(collection, "near" in kinds, radius, min_similarity)
    best: dict[int, tuple[int, int, int]] = {}
    for (kind, x, y), rows in book.found.items():
        if kind in kinds and x[0] == 0 and y[0] == 1:
            for row, (distance, partner) in rows.items():
                best[row] = min(best.get(row, (len(known), 0, 0)), (known.index(kind), distance, partner))
    shared = {}
    for row, (kind_place, distance, partner) in sorted(best.items()):
        mine, its = record_name(collection, row), record_name(collection, partner)
        shared[mine.id] = SharedRecord(mine.id, mine.split, known[kind_place], its.id, its.split, distance)
    return shared


class _Run:
    """Where tables are kept, how many cores there are, whether bars are shown."""

    def __init__(self, cache_dir: str | Path | None, num_proc: int, progress: bool) -> None:
        self._folder = Path(cache_dir) if cache_dir else _default_cache()
        self._num_proc, self._progress = num_proc, progress

    def relate(
        self, collection: Collection, near: bool, radius: int, min_similarity: float | None
    ) -> tuple[CopyBook, list[Space], np.ndarray, list[dict[str, Any]], list[tuple[int, str]]]:
        """Return all relations between records, the prints, content numbers, counts and undecodable records."""
        book, spaces = CopyBook(collection), []
        book_groups(book)
        book_patients(book)
        content = content_ids(collection, self._table("digests", "u1", DIGEST_WIDTH), self._num_proc, self._bar)
        book_contents(book, content)
        counts = [{"what": "files", "count": len(collection.stats)}]
        failed: list[tuple[int, str]] = []
        if near:
            found, failed = make_prints(collection, content, self._table, self._num_proc, self._bar)
            for prints in found:
                space = Space(prints, min_similarity)
                group = _groups(collection, content, prints.rows)
                links = link_prints(space, radius, group, self._bar)
                book_links(book, content, space, links)
                spaces.append(space)
                counts.append({"what": f"{prints.title}: distinct contents", "count": len(prints.rows)})
                counts.append({"what": f"{prints.title}: candidate pairs", "count": links.n_candidates})
                counts.append({"what": f"{prints.title}: near pairs among them", "count": len(links.left)})
        return book, spaces, content, counts, failed

    def _table(self, name: str, dtype: str, width: int) -> FileTable:
        return FileTable(self._folder / f"{name}.npy", dtype, width)

    def _bar(self, items: Iterable, total: int | None, title: str) -> Iterator:
        from tqdm.auto import tqdm

        if total == 0:
            return iter(items)
        return iter(tqdm(items, total=total, desc=title, delay=1, disable=not self._progress, dynamic_ncols=True))


def _check_arguments(radius: int, min_similarity: float | None, num_proc: int | None) -> None:
    from climb_hf.auditing.hamming import MAX_RADIUS

    if isinstance(radius, bool) or not isinstance(radius, int) or not 0 <= radius <= MAX_RADIUS:
        raise OptionError(f"`radius` must be a whole number of bits from 0 to {MAX_RADIUS}, got {radius!r}.")
    if min_similarity is not None and not 0 < min_similarity <= 1:
        raise OptionError(f"`min_similarity` must be a correlation in (0, 1], got {min_similarity!r}.")
    if num_proc is not None and num_proc < 1:
        raise OptionError(f"`num_proc` must be at least 1, got {num_proc!r}.")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _default_cache() -> Path:
    import datasets

    return Path(datasets.config.HF_DATASETS_CACHE) / "climb_audit"


def _groups(collection: Collection, content: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return for each print the number of its patient, -1 if records of several patients have that content."""
    numbers: dict[tuple[int, str], int] = {}
    keys = zip(collection.part.tolist(), collection.records, strict=True)
    group = np.array([numbers.setdefault((part, record.group), len(numbers)) for part, record in keys])
    lowest = np.full(int(content.max(initial=-1)) + 1, len(numbers))
    highest = np.full(len(lowest), -1)
    used = content >= 0
    np.minimum.at(lowest, content[used], group[used])
    np.maximum.at(highest, content[used], group[used])
    chosen = content[rows]
    return np.where(lowest[chosen] == highest[chosen], highest[chosen], -1)


def _source_rows(collection: Collection) -> list[dict[str, Any]]:
    rows = []
    for number, part in enumerate(collection.parts):
        for place, split in enumerate(SPLITS):
            chosen = np.flatnonzero((collection.part == number) & (collection.split == place)).tolist()
            groups = len({collection.records[row].group for row in chosen})
            if chosen:
                rows.append({"source": part.source.name, "split": split, "records": len(chosen), "groups": groups})
    return rows


def _withheld(collection: Collection) -> dict[str, str]:
    from climb_hf.hub.licence import AGREEMENT_LEVELS

    withheld = {}
    for part in collection.parts:
        source = part.source
        if not source.redistributable:
            withheld[source.name] = f"licence {source.license}: {source.license_note}".rstrip(": ")
        elif source.access in AGREEMENT_LEVELS:
            withheld[source.name] = f"access by {source.access}"
    return withheld


def _drawer(collection: Collection) -> Any:  # noqa: ANN401 - a function of a pair
    from climb_hf.report.audits import draw_pair

    parts = {part.source.name: part for part in collection.parts}
    rows: dict[tuple[str, str], Any] = {}

    def draw(pair: Any) -> Any:  # noqa: ANN401 - see AuditReport
        if not rows:
            names = [part.source.name for part in collection.parts]
            pairs = zip(collection.part.tolist(), collection.records, strict=True)
            rows.update({(names[number], record.id): record for number, record in pairs})
        found = [(parts[name.source], rows[name.source, name.id]) for name in (pair.first, pair.second)]
        return draw_pair(found, pair)

    return draw
