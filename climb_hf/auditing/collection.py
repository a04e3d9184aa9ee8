"""The records of several sources in one list, with the file of each that its content is told by."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.errors import ClimbError, OptionError, SplitError
from climb_hf.indexing import build_index
from climb_hf.labels import LabelMapper
from climb_hf.registry import get_source, near_names
from climb_hf.source import Options, Record, Source
from climb_hf.splits import SPLITS

__all__ = ["Collection", "Part", "collect"]

logger = logging.getLogger(__name__)

PICTURE_FAMILIES = ("image", "frames", "text-image")


@dataclass(frozen=True)
class Part:
    """One source of an audit.

    Args:
        source (`Source`): the source.
        root (`Path`): its root folder.
        options (`Options`): the options its index was read with.
        mapper (`LabelMapper`): from records to labels.
        n_failed (`int`): rows of the publisher's tables that could not become a record.
        n_left_out (`int`): rows left out by a documented rule.
    """

    source: Source
    root: Path
    options: Options
    mapper: LabelMapper
    n_failed: int = 0
    n_left_out: int = 0

    @property
    def reads_whole_file(self) -> bool:
        """Whether a record's content is its file: no window, crop or row of it is cut out by the source."""
        is_plain = type(self.source).read is Source.read or self.source.family == "text-image"
        return is_plain and self.source.family in PICTURE_FAMILIES


@dataclass
class Collection:
    """Records as rows; arrays are aligned with `records`.

    Args:
        parts (`list[Part]`): the sources in the order given.
        records (`list[Record]`): of all sources, source by source and split by split.
        part (`np.ndarray`): (n,) place of the record's source in `parts`.
        split (`np.ndarray`): (n,) place of its split in `climb_hf.splits.SPLITS`.
        files (`list[str]`): the main file of each record, absolute, `""` for none; see `collect`.
        stats (`dict[str, tuple[int, int]]`): size and time of every main file that exists.
        n_missing (`int`): records whose main file does not exist.
    """

    parts: list[Part]
    records: list[Record]
    part: np.ndarray
    split: np.ndarray
    files: list[str] = field(default_factory=list)
    stats: dict[str, tuple[int, int]] = field(default_factory=dict)
    n_missing: int = 0
    _labels: dict[int, tuple[str, ...] | None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.records)

    def combination(self, row: int) -> tuple[int, int]:
        """Return source and split of a row, as numbers that sort in the order of the audit."""
        return int(self.part[row]), int(self.split[row])

    def same_group(self, one: int, other: int) -> bool:
        """Tell whether two rows are of one patient of one source."""
        return self.part[one] == self.part[other] and self.records[one].group == self.records[other].group

    def labels(self, row: int) -> tuple[str, ...] | None:
        """Return the classes of a record as names in the vocabulary, `None` where they cannot be mapped."""
        if row not in self._labels:
            mapper = self.parts[self.part[row]].mapper
            try:
                self._labels[row] = tuple(mapper.names[label] for label in mapper.labels(self.records[row])[0])
            except (ClimbError, LookupError, ValueError):
                self._labels[row] = None
        return self._labels[row]


def collect(
    sources: Mapping[str, str | Path | None],
    splits: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Collection:
    """Read the indexes of sources.

    The main file of a record is the largest of its files: the samples of a recording and not its header, the picture
    and not its mask.

    Args:
        sources (`Mapping`): folder by name; `None` means `$CLIMB_DATA/NAME`.
        splits (`Sequence[str]`, *optional*): the splits to keep; all by default.
        options (`Mapping`, *optional*): options by source name, those under `"*"` for all; see `load_mixture`.

    Returns:
        `Collection`.

    Raises:
        UnknownSourceError: a name is not registered.
        AccessError: the raw data of a source is missing.
        SplitError: no source has such a split.
    """
    from climb_hf.builder import raw_root
    from climb_hf.mixture import source_options

    if wrong := sorted(set(splits or ()) - set(SPLITS)):
        raise SplitError(f"`splits` must be among {list(SPLITS)}, found {wrong}.")
    parts: list[Part] = []
    records: list[Record] = []
    lengths: list[tuple[int, int, int]] = []
    for name, folder in sources.items():
        source = get_source(name)
        chosen = _options(source, source_options(name, options or {}))
        root = raw_root(source, str(Path(folder).expanduser()) if folder else None)
        index = build_index(source, root, chosen, refuse_leaks=False)
        mapper = LabelMapper(source, source.label_scheme(chosen.labels, chosen.extra))
        for split, found in index.splits.items():
            if not splits or split in splits:
                records += found
                lengths.append((len(parts), SPLITS.index(split), len(found)))
        parts.append(Part(source, root, chosen, mapper, len(index.failures), sum(index.left_out.values())))
    if not records:
        raise SplitError(f"no record is in the splits {list(splits or SPLITS)}; choose other `splits`.")
    of_part, of_split = (np.repeat([row[k] for row in lengths], [row[2] for row in lengths]) for k in (0, 1))
    collection = Collection(parts, records, of_part, of_split)
    _find_files(collection)
    return collection


def _options(source: Source, chosen: Mapping[str, Any]) -> Options:
    from climb_hf.builder import ClimbConfig

    config = ClimbConfig(name=source.name)
    for name, value in chosen.items():
        if name not in source.option_names:
            known = tuple(sorted(source.option_names))
            raise OptionError(f"{source.name}: there is no option `{name}`. {near_names(name, known)}")
        setattr(config, name, value)
    return config.options()


def _find_files(collection: Collection) -> None:
    """Fill in the main files and their state; every file is looked at once."""
    known: dict[str, tuple[int, int] | None] = {}
    roots = [str(part.root.absolute()) for part in collection.parts]
    for row, record in enumerate(collection.records):
        best, largest = "", -1
        for file in record.files:
            path = f"{roots[collection.part[row]]}/{file}"
            if path not in known:
                try:
                    stat = os.stat(path)  # noqa: PTH116 - a million times: a string, not a Path
                    known[path] = (stat.st_size, stat.st_mtime_ns)
                except OSError:
                    known[path] = None
            if (state := known[path]) is not None and state[0] > largest:
                best, largest = path, state[0]
        collection.files.append(best)
        collection.n_missing += bool(record.files) and not best
    used = set(collection.files)
    collection.stats = {path: state for path, state in known.items() if state is not None and path in used}
