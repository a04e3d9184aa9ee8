"""What `climb doctor` finds: a folder of raw data against what its source expects, without building anything."""

import gzip
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from climb_hf.access.automatic import check_finished
from climb_hf.access.state import FOLDER
from climb_hf.access.way import way_of
from climb_hf.errors import AccessError, ClimbError, LayoutError
from climb_hf.indexing import Index, build_index
from climb_hf.labels import LabelMapper
from climb_hf.readers.integrity import check
from climb_hf.readers.tables import is_junk
from climb_hf.registry import get_source, source_names
from climb_hf.source import Record, Source
from climb_hf.versions import recognise

__all__ = ["Diagnosis", "diagnose"]

logger = logging.getLogger(__name__)

#: Damaged files named in full; the rest is counted.
SHOWN = 5
#: Tables up to this size have their rows counted.
_COUNTED_BYTES = 500_000_000
_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".txt", ".json", ".jsonl", ".xlsx")
_BAR_FROM = 2000


@dataclass
class Diagnosis:
    """The state of a folder of raw data.

    Args:
        name (`str`): the source.
        root (`str`): the root folder that was recognised, or the folder that was looked at.
        found (`dict[str, int]`): records by split.
        published (`dict[str, int]`): the publisher's or paper's counts by split.
        classes (`dict[str, int]`): records by class, over all splits.
        findings (`list[str]`): what is missing, damaged, left out or unusual.
        next_command (`str`): what to type next.
        recognised (`bool`): whether the folder has the layout of the source.
        release (`str`): which release it is, as far as its files tell.
        tables (`list[dict]`): `table`, `rows` (null where not counted) and `bytes`; `found` says whether it is there.
        folders (`list[dict]`): the tree: `folder`, files `expected` by the tables, `present`, `missing`, `damaged`,
            and `records_lost` by them.
        lost (`dict[str, int]`): records by split that cannot be read.
    """

    name: str
    root: str
    found: dict[str, int]
    published: dict[str, int]
    classes: dict[str, int]
    findings: list[str] = field(default_factory=list)
    next_command: str = ""
    recognised: bool = True
    release: str = ""
    tables: list[dict[str, Any]] = field(default_factory=list)
    folders: list[dict[str, Any]] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)

    def split_rows(self) -> list[dict[str, Any]]:
        """Return one row per split: records found, published, and lost by missing or damaged files."""
        names = [*self.found, *(split for split in self.published if split not in self.found)]
        return [
            {
                "split": name,
                "found": self.found.get(name, 0),
                "published": self.published.get(name),
                "lost": self.lost.get(name, 0),
            }
            for name in names
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {**self.__dict__}


def diagnose(name: str, data_dir: str | Path | None = None, *, progress: bool = False) -> Diagnosis:
    """Compare a folder with the layout, tables and sizes a source expects.

    Files are checked as a default build checks them (exists, size, magic bytes, end marker), none is decoded. A count
    that differs from the published one is a finding, never an error: partial downloads are legal. A folder without the
    layout of the source is not an error either: the diagnosis says what it holds instead.

    Args:
        name (`str`): a source.
        data_dir (`str` or `Path`, *optional*): the folder; defaults to `$CLIMB_DATA/NAME`.
        progress (`bool`, *optional*, defaults to `False`): draw a progress bar over the records.

    Returns:
        `Diagnosis`.

    Raises:
        UnknownSourceError: no such source.
        AccessError: there is no such folder; the message says how to get the data.
    """
    from climb_hf.builder import ClimbConfig, raw_folder, raw_root

    source = get_source(name)
    given = str(Path(data_dir).expanduser()) if data_dir else None
    folder = raw_folder(source, given)
    try:
        root = raw_root(source, given, may_download=False)
        index = build_index(source, root, ClimbConfig(name=name).options())
    except LayoutError as error:
        return _unrecognised(source, folder or Path(), error)
    result = Diagnosis(name, str(root), {}, dict(source.published_splits), {})
    release = recognise(name, root) or (recognise(name, folder) if folder else None)
    result.release = release.title if release else ""
    result.tables = list(_tables(source, root))
    damaged = _check_records(source, root, index, result, progress)
    _add_findings(source, index, damaged, result)
    if release is not None and not release.is_right:
        result.findings.insert(0, f"this is {release.title}. {release.advice}")
    n_left_out = sum(index.left_out.values())
    _add_download(source, folder or root, root, bool(damaged or index.failures), n_left_out, result)
    return result


def _check_records(source: Source, root: Path, index: Index, result: Diagnosis, progress: bool) -> list[str]:
    """Check the files of every record; fills splits, classes, folders and losses, and returns the damage."""
    from climb_hf.builder import ClimbConfig

    options = ClimbConfig(name=source.name).options()
    mapper, classes, damaged = LabelMapper(source), Counter[str](), []
    folders: dict[str, Counter[str]] = {}
    total = index.n_records
    records: Iterable[tuple[str, Record]] = (
        (split, record) for split, found in index.splits.items() for record in found
    )
    if progress and total >= _BAR_FROM:
        from tqdm.auto import tqdm

        records = tqdm(records, total=total, desc=f"{source.name}: checking", unit=" records")
    for split, record in records:
        lost_in: set[str] = set()
        problem = ""
        for file in record.files:
            place = folders.setdefault(file.split("/", 1)[0] if "/" in file else ".", Counter())
            place["expected"] += 1
            try:
                check(root / file, options.verify)
                place["present"] += 1
            except (ClimbError, OSError, ValueError) as error:
                kind = "damaged" if (root / file).exists() else "missing"
                place["present"] += kind == "damaged"
                place[kind] += 1
                lost_in.add(file.split("/", 1)[0] if "/" in file else ".")
                problem = problem or str(error)
        try:
            labels, _ = mapper.labels(record)
        except (ClimbError, ValueError) as error:
            problem, labels = problem or str(error), []
        if problem:
            damaged.append(f"`{record.id}`: {problem}")
            result.lost[split] = result.lost.get(split, 0) + 1
            for place_name in lost_in:
                folders[place_name]["records_lost"] += 1
        else:
            classes.update(mapper.names[label] for label in labels)
    result.found = {split: len(found) for split, found in index.splits.items()}
    by_class = dict(zip(source.concepts, source.classes, strict=True))
    result.classes = {by_class[concept]: classes.get(concept, 0) for concept in source.concepts}
    keys = ("expected", "present", "missing", "damaged", "records_lost")
    result.folders = [{"folder": place, **{key: folders[place][key] for key in keys}} for place in sorted(folders)]
    return damaged


def _add_findings(source: Source, index: Index, damaged: list[str], result: Diagnosis) -> None:
    bad = [f"`{failure.id}`: {failure.reason}" for failure in index.failures] + damaged
    for place in result.folders:
        if place["missing"]:
            share = place["missing"] / place["expected"]
            result.findings.append(
                f"`{place['folder']}`: {place['missing']:,} of {place['expected']:,} files are missing ({share:.1%}), "
                f"which costs {place['records_lost']:,} records"
            )
    result.findings += [f"damaged or missing: {text}" for text in bad[:SHOWN]]
    if len(bad) > SHOWN:
        result.findings.append(f"damaged or missing: {len(bad) - SHOWN} more")
    result.findings += [f"left out: {count} × {rule}" for rule, count in index.left_out.items()]
    result.findings += [f"class without a record: {label}" for label, count in result.classes.items() if not count]
    for split, size in source.published_splits.items():
        found = result.found.get(split, 0)
        if found != size:
            result.findings.append(f"{split}: {found:,} records found, {size:,} published")


def _tables(source: Source, root: Path) -> Iterator[dict[str, Any]]:
    """List the tables a source names, with their rows."""
    for pattern in source.fingerprint_patterns:
        is_plain = not set(pattern) & set("*?[")
        if not (pattern.lower().rstrip("*").endswith(_TABLES) or is_plain) or "**" in pattern:
            continue
        paths = [path for path in sorted(root.glob(pattern)) if path.is_file() and not is_junk(path.name)]
        for path in paths[:SHOWN]:
            yield {
                "table": path.relative_to(root).as_posix(),
                "found": True,
                "rows": _rows(path),
                "bytes": path.stat().st_size,
            }
        if not paths and is_plain and pattern.lower().endswith(_TABLES):
            yield {"table": pattern, "found": False, "rows": None, "bytes": None}


def _rows(path: Path) -> int | None:
    """Count the lines of a table but its header; `None` for formats without lines and very large files."""
    name = path.name.lower().removesuffix(".gz")
    if not name.endswith((".csv", ".tsv")) or path.stat().st_size > _COUNTED_BYTES:
        return None
    count, last = 0, b"\n"
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            while block := stream.read(1 << 20):
                count += block.count(b"\n")
                last = block[-1:]
    except (OSError, EOFError) as error:
        logger.warning("`%s` cannot be read: %s", path, error)
        return None
    return count - (last == b"\n")


def _add_download(
    source: Source, folder: Path, root: Path, is_damaged: bool, n_left_out: int, result: Diagnosis
) -> None:
    """Say what to type next."""
    from climb_hf.miniatures import is_miniature

    target = next((place for place in (folder, root) if (place / FOLDER).is_dir()), None)
    unfinished = False
    if target is not None:
        try:
            check_finished(target)
        except AccessError as error:
            unfinished = True
            result.findings.insert(0, str(error))
    command = _get_command(source, target or root)
    published = sum(result.published.values())
    fewer = published - sum(result.found.values()) - n_left_out
    if fewer > 0:
        is_made_up = is_miniature(folder) or is_miniature(root)
        advice = "this copy is synthetic, put real data elsewhere" if is_made_up else f"`{command}` completes"
        result.findings.append(f"{fewer:,} records fewer than published ({fewer / published:.1%}); {advice}")
    if unfinished or is_damaged:
        result.next_command = command
    else:
        load = f"import climb_hf; print(climb_hf.load_dataset('{source.name}', '{root}'))"
        result.next_command = f'python -c "{load}"'


def _get_command(source: Source, to: Path) -> str:
    if all(part.site == "by hand" for part in way_of(source.name).parts):
        return f"climb info {source.name}  # how to get the missing files"
    return f"climb download {source.name} --to {to} --accept-license"


def _unrecognised(source: Source, folder: Path, error: LayoutError) -> Diagnosis:
    """Describe a folder that does not have the layout of the source: what it is, and what it should be."""
    result = Diagnosis(source.name, str(folder), {}, dict(source.published_splits), {}, recognised=False)
    release = recognise(source.name, folder)
    if release is not None and not release.is_right:
        result.release = release.title
        result.findings.append(f"this is {release.title}. {release.advice}")
    result.findings.append(str(error))
    others = [name for name in source_names() if name != source.name and _fits(get_source(name), folder)]
    if others:
        listed = ", ".join(f"`{name}`" for name in others[:SHOWN])
        result.findings.append(f"the folder has the layout of {listed}: is it another source?")
    wanted = " or ".join(f"`{marker}`" for marker in source.root_markers[:SHOWN])
    result.findings.append(f"expected at the root: {wanted}")
    result.folders = _listing(folder)
    result.lost = dict(source.published_splits)
    result.next_command = _get_command(source, folder)
    return result


def _fits(source: Source, folder: Path) -> bool:
    """Tell whether the folder itself has a telling mark of a source; names such as `train.csv` tell nothing."""
    telling = [marker for marker in source.root_markers if source.name.split("_")[0] in marker.lower()]
    return any(next(folder.glob(marker), None) is not None for marker in telling)


def _listing(folder: Path) -> list[dict[str, Any]]:
    """Count what lies in a folder, by name of the entry."""
    rows = []
    for path in sorted(folder.iterdir())[: 4 * SHOWN]:
        if is_junk(path.name) or path.name == FOLDER:
            continue
        n = sum(1 for _ in path.iterdir()) if path.is_dir() else 1
        rows.append({"folder": path.name, "expected": None, "present": n})
    return rows
