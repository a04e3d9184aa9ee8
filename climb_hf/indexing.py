"""The index of a source, checked and split: everything about a build that needs no file to be decoded."""

import logging
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from climb_hf.build_log import Failure
from climb_hf.errors import LayoutError
from climb_hf.source import LeftOut, Options, Record, Skipped, Source
from climb_hf.splits import SPLITS, carve_validation, check_disjoint, group_split

__all__ = ["Index", "IndexReport", "build_index"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IndexReport:
    """What an index holds beside its records.

    Args:
        n_records (`int`): records in all splits.
        failures (`tuple[Failure, ...]`): rows that could not become a record.
        left_out (`dict[str, int]`): number of rows left out, by rule.
    """

    n_records: int
    failures: tuple[Failure, ...] = ()
    left_out: dict[str, int] = field(default_factory=dict)


@dataclass
class Index:
    """Records of a source by split.

    Args:
        splits (`dict[str, list[Record]]`): in the order train, validation, test; empty splits are absent.
        failures (`list[Failure]`): rows that could not become a record.
        left_out (`Counter[str]`): rows left out by a documented rule.
    """

    splits: dict[str, list[Record]]
    failures: list[Failure]
    left_out: Counter[str]

    @property
    def n_records(self) -> int:
        """Number of records in all splits."""
        return sum(map(len, self.splits.values()))

    def report(self) -> IndexReport:
        """Return the counts that belong to the build's summary."""
        return IndexReport(self.n_records, tuple(self.failures), dict(self.left_out))


def build_index(source: Source, root: Path, options: Options, *, refuse_leaks: bool = True) -> Index:
    """Read the index of a source and give every record its split.

    A record keeps the split its source states; else the hash of (seed, group) decides. `validation` is carved from the
    train groups only. Duplicate ids are failures. The default split is checked to share no group.

    Args:
        source (`Source`): the source.
        root (`Path`): the documented root of its raw data.
        options (`Options`): checked options.
        refuse_leaks (`bool`, *optional*, defaults to `True`): raise if the default split shares a group.

    Returns:
        `Index`.

    Raises:
        LayoutError: the folder yields no record at all.
        SplitError: the default split of the source shares a group.
    """
    splits: dict[str, list[Record]] = {split: [] for split in SPLITS}
    index, ids = Index(splits, [], Counter()), set()
    for row in source.index(root, options):
        if isinstance(row, LeftOut):
            index.left_out[row.rule] += 1
        elif isinstance(row, Skipped):
            index.failures.append(Failure(row.id, row.file, row.error, row.reason))
        elif outside := [file for file in row.files if not _is_inside(file)]:
            reason = f"{source.name}: the table names `{outside[0]}`, a path outside the raw folder; it is not read."
            index.failures.append(Failure(row.id, outside[0], "SchemaError", reason))
        elif row.id in ids:
            reason = f"{source.name}: the id `{row.id}` stands for two records; the first is kept."
            index.failures.append(Failure(row.id, row.files[0] if row.files else "", "SchemaError", reason))
        else:
            ids.add(row.id)
            split = row.split or group_split(row.group, source.fractions, options.seed)
            splits[carve_validation(split, row.group, options.validation, options.seed)].append(row)
    index.splits = {split: records for split, records in splits.items() if records}
    if not index.splits and not index.failures:
        raise LayoutError(
            f"{source.name}: `{root}` has the right layout but not one usable record "
            f"(left out by rule: {dict(index.left_out) or 'none'}). See `climb info {source.name}` for the tree."
        )
    if refuse_leaks and options.split_by == "official":
        check_disjoint(((r.group, s) for s, records in index.splits.items() for r in records), source.name)
    for rule, count in index.left_out.items():
        logger.info("%s: %d records left out: %s", source.name, count, rule)
    return index


def _is_inside(file: str) -> bool:
    """Tell whether a path from a table stays below the folder it is relative to."""
    if file and ".." not in file and ":" not in file and not file.startswith(("/", "\\")):
        return True  # nearly all of millions, without taking the path apart
    path = PurePosixPath(file.replace("\\", "/"))
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and ":" not in path.parts[0]
