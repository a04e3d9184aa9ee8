"""The plan of a run: which records make which shard. It depends on the data and the options, never on the engine."""

import dataclasses
import hashlib
import inspect
import itertools
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import OptionError
from climb_hf.indexing import Index, build_index
from climb_hf.provenance import clean_recipe
from climb_hf.source import Options, Record, Source

if TYPE_CHECKING:
    from climb_hf.builder import Climb

__all__ = ["Plan", "ShardTask", "make_plan", "parse_size", "settings_of"]

#: Version of what this package writes; another one is another result.
FORMAT = 1
#: Records that are read to learn how large a row is.
SAMPLE = 24
#: Most records of a shard, whatever their size, so that a shard stays a unit of minutes.
MAX_RECORDS = 200_000
#: What the header says of the index. It may change while a run is not finished: damaged files are got again.
INDEX_KEYS = ("index", "records", "skipped", "left_out", "rows_per_shard")
_PACKAGES = ("datasets", "numpy", "pillow", "pyarrow")
_UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class ShardTask:
    """Everything a worker needs to build one shard.

    Args:
        source (`str`): name of the source.
        root (`str`): root of the raw data; the same path on every machine.
        options (`Options`): checked options.
        split (`str`): name of the split.
        path (`str`): path of the shard in the target.
        records (`tuple[Record, ...]`): its records.
        environment (`dict[str, str]`): versions that the bytes depend on.
    """

    source: str
    root: str
    options: Options
    split: str
    path: str
    records: tuple[Record, ...]
    environment: Mapping[str, str]

    def digest(self) -> str:
        """Digest records and sizes of their files: the same wherever the raw data lies, and whatever its times."""
        digest = hashlib.sha256()
        _digest_records(digest, self.records, self.root)
        return digest.hexdigest()[:32]


@dataclass
class Plan:
    """Shards of one source, and the header of its manifest.

    Args:
        builder (`Climb`): the builder that `load_dataset` would use; gives source, options, root and features.
        index (`Index`): the checked and split index.
        header (`dict`): source, version, licence, options, digests, counts and what the index skipped or left out.
        rows_per_shard (`int`): records of a shard.
    """

    builder: "Climb"
    index: Index
    header: dict[str, Any]
    rows_per_shard: int

    def tasks(self) -> list[ShardTask]:
        """Return all shards in the order of the rows; of nearly equal numbers of records within a split."""
        tasks = []
        for split, records in self.index.splits.items():
            number = -(-len(records) // self.rows_per_shard)
            bounds = [len(records) * step // number for step in range(number + 1)]
            for shard, (start, stop) in enumerate(itertools.pairwise(bounds)):
                path = f"{self.builder.source.name}/{split}-{shard:05d}-of-{number:05d}.parquet"
                tasks.append(self._task(split, path, records[start:stop]))
        return tasks

    def _task(self, split: str, path: str, records: Sequence[Record]) -> ShardTask:
        builder = self.builder
        return ShardTask(
            builder.source.name, str(builder.raw_folder), builder.options, split, path, tuple(records),
            self.header["environment"],
        )  # fmt: skip


def make_plan(
    name: str,
    data_dir: str | Path | None,
    options: Mapping[str, Any],
    *,
    shard_size: int,
    synthetic: bool = False,
    earlier: Mapping[str, Any] | None = None,
) -> Plan:
    """Read the index of a source and decide on its shards.

    The size of a row is measured on a few records spread over the index, so a shard comes out near `shard_size`
    whatever a record is: a 30 kB radiograph or one of the 300 segments of an EEG file.

    Args:
        name (`str`): the source.
        data_dir (`str` or `Path`, *optional*): its raw data; defaults to `$CLIMB_DATA/NAME`.
        options (`Mapping`): options of the source.
        shard_size (`int`): bytes of a shard, about.
        synthetic (`bool`, *optional*, defaults to `False`): the raw data is synthetic.
        earlier (`Mapping`, *optional*): header of an unfinished or finished run; if it was made with the same options
            its number of rows per shard is taken, and nothing is measured.

    Returns:
        `Plan`.

    Raises:
        UnknownSourceError: no such source.
        AccessError: the raw data is missing.
        OptionError: an option or value the source does not have.
    """
    from climb_hf.builder import Climb
    from climb_hf.registration import module_hash

    builder = Climb(
        dataset_name="climb", config_name=name, data_dir=str(data_dir) if data_dir else None, hash=module_hash(),
        **options,
    )  # fmt: skip
    index = build_index(builder.source, builder.raw_folder, builder.options)
    header = {
        "format": FORMAT,
        "source": name,
        "version": builder.source.version,
        "license": builder.source.license,
        "options": settings_of(builder.options),
        "environment": {package: version(package) for package in _PACKAGES},
        "code": _code_digest(builder.source, module_hash()),
        "index": _index_digest(index, str(builder.raw_folder)),
        "records": index.n_records,
        "skipped": [
            {**dataclasses.asdict(failure), "reason": failure.reason.replace(f"{builder.raw_folder}/", "")}
            for failure in index.failures
        ],
        "left_out": dict(sorted(index.left_out.items())),
        "shard_size": shard_size,
        "synthetic": synthetic,
    }
    is_same = earlier is not None and not header_differences(earlier, {**header, "rows_per_shard": None}, INDEX_KEYS)
    known = earlier.get("rows_per_shard") if is_same and earlier is not None else None
    plan = Plan(builder, index, header, known or 1)
    if known is None:
        plan.rows_per_shard = _rows_per_shard(plan, shard_size)
    header["rows_per_shard"] = plan.rows_per_shard
    return plan


def settings_of(options: Options) -> dict[str, Any]:
    """Return options as plain values that are the same on every machine, without local paths."""
    plain = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return clean_recipe({**plain, "extra": dict(options.extra)})


def parse_size(text: str | int) -> int:
    """Return a size in bytes.

    Args:
        text (`str` or `int`): such as `"500MB"`, `"1GiB"` or a number of bytes.

    Returns:
        `int`.

    Raises:
        OptionError: it is no positive size.

    Example:
        >>> parse_size("500MB")
        500000000
    """
    stripped = str(text).strip().upper()
    unit = next((unit for unit in sorted(_UNITS, key=len, reverse=True) if stripped.endswith(unit)), "")
    try:
        size = int(float(stripped.removesuffix(unit)) * _UNITS.get(unit, 1))
    except (ValueError, OverflowError):
        size = 0
    if size < 1:
        raise OptionError(f"`shard_size` must be a positive size such as 500MB or 2GiB, got {text!r}.")
    return size


def _rows_per_shard(plan: Plan, shard_size: int) -> int:
    from climb_hf.prepare.shard import stored_size

    records = [record for split in plan.index.splits.values() for record in split]
    step = max(1, len(records) // SAMPLE)
    size = stored_size(plan._task("train", "", records[::step][:SAMPLE]))
    return max(1, min(MAX_RECORDS, int(shard_size / size)))


def _code_digest(source: Source, package: str) -> str:
    """Digest the package and the source's own module."""
    from climb_hf.prepare import shard

    digest = hashlib.sha256(package.encode())
    for module in (sys.modules[type(source).__module__], shard):
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()[:32]


def _index_digest(index: Index, root: str) -> str:
    """Digest every record with its split and its files' sizes: the same wherever the folder, whatever its times."""
    digest = hashlib.sha256()
    for split, records in index.splits.items():
        digest.update(f"{split}\0{len(records)}\n".encode())
        _digest_records(digest, records, root)
    return digest.hexdigest()[:32]


def _digest_records(digest: "hashlib._Hash", records: Iterable[Record], root: str) -> None:
    """Add records and the sizes of their files, -1 where one cannot be had, so that replaced files are noticed."""
    sizes: dict[str, int] = {}
    for record in records:
        digest.update(repr(record).encode("utf-8", "surrogatepass"))
        for name in record.files:
            if name not in sizes:
                try:
                    sizes[name] = os.stat(f"{root}/{name}").st_size  # noqa: PTH116 - millions of them
                except (OSError, ValueError):
                    sizes[name] = -1
            digest.update(f"\0{sizes[name]}".encode())


def header_differences(found: Mapping[str, Any], wanted: Mapping[str, Any], ignore: Sequence[str] = ()) -> list[str]:
    """Return in words how two headers differ, for messages.

    Args:
        found (`Mapping`): header that stands in the target.
        wanted (`Mapping`): header of this run.
        ignore (`Sequence[str]`, *optional*): keys that may differ.

    Returns:
        `list[str]`: empty where they are equal.
    """
    texts = {
        "index": "the raw data has changed",
        "code": "climb-hf, its vocabulary or the source's reader has changed",
    }
    lines = []
    for key in sorted({*found, *wanted} - set(ignore)):
        if found.get(key) != wanted.get(key):
            then, now = (json.dumps(side.get(key), ensure_ascii=False)[:200] for side in (found, wanted))
            lines.append(texts.get(key, f"`{key}` was {then}, is {now}"))
    return lines
