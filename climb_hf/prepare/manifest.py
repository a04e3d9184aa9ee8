"""The manifest of a prepared source: what was built from what, and every shard with its rows, bytes and SHA-256.

While a run goes on there is one small file per shard, `manifest/NAME/<shard>.json`, written after the shard itself; a
run that was killed goes on after what they name. At the end they become `manifest/NAME.jsonl`, a header and a line per
shard in order, which depends on data, options and versions only: two runs, interrupted or not, by whatever engine,
write the same bytes.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from climb_hf.errors import CorruptFileError, LayoutError

if TYPE_CHECKING:
    from climb_hf.prepare.stores import Store

__all__ = ["MANIFEST_FOLDER", "Manifest", "Prepared", "ShardEntry", "part_path", "read_manifest", "verify"]

MANIFEST_FOLDER = "manifest"
_CHUNK = 8 << 20


@dataclass(frozen=True)
class ShardEntry:
    """One shard that was written.

    Args:
        path (`str`): relative to the target.
        split (`str`): name of the split.
        records (`int`): records of the index that belong to it.
        rows (`int`): rows in it, `records` less the skipped ones.
        bytes (`int`): size of the file.
        memory (`int`): bytes of the rows as an Arrow table.
        sha256 (`str`): hexadecimal digest of the file.
        index (`str`): digest of its records as the index gives them.
        skipped (`tuple[dict, ...]`): records that could not be read: `id`, `file`, `error`, `reason`.
        counts (`dict[str, int]`): what else is counted of it; not stored where it is empty.
    """

    path: str
    split: str
    records: int
    rows: int
    bytes: int
    memory: int
    sha256: str
    index: str
    skipped: tuple[dict[str, str], ...] = ()
    counts: dict[str, int] = field(default_factory=dict)

    def line(self) -> str:
        """Return the entry as one line of JSON, always the same."""
        facts = asdict(self)
        if not self.counts:
            del facts["counts"]
        return json.dumps(facts, sort_keys=True, ensure_ascii=False)

    @classmethod
    def of(cls, line: str) -> "ShardEntry":
        """Read an entry; raises `CorruptFileError` where the line is none."""
        try:
            facts = json.loads(line)
            return cls(**{**facts, "skipped": tuple(facts["skipped"])})
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptFileError(f"expected the entry of a shard, found {line[:80]!r} ({error}).") from error


@dataclass(frozen=True)
class Manifest:
    """The manifest of one source in a target.

    Args:
        header (`dict`): source, version, licence, options, digests, counts; see `climb_hf.prepare.plan`.
        shards (`tuple[ShardEntry, ...]`): in the order of the rows.
    """

    header: dict[str, Any]
    shards: tuple[ShardEntry, ...]

    def text(self) -> str:
        """Return the content of `manifest/NAME.jsonl`."""
        head = json.dumps(self.header, sort_keys=True, ensure_ascii=False)
        return "\n".join([head, *(shard.line() for shard in self.shards)]) + "\n"

    @property
    def sha256(self) -> str:
        """Hexadecimal digest of the manifest, which stands for the whole prepared source."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    @classmethod
    def of(cls, text: str, where: str) -> "Manifest":
        """Read a manifest.

        Args:
            text (`str`): content of the file.
            where (`str`): its path, for messages.

        Raises:
            CorruptFileError: it is none.
        """
        lines = text.splitlines()
        try:
            header = json.loads(lines[0])
            return cls(header, tuple(ShardEntry.of(line) for line in lines[1:]))
        except (ValueError, IndexError) as error:
            raise CorruptFileError(
                f"`{where}` is no manifest of `climb prepare`: {error} Delete it, and the folder of its source, to "
                "prepare the source anew."
            ) from error

    def splits(self) -> dict[str, dict[str, int]]:
        """Return rows, bytes and memory by split; a split without a row is left out."""
        found: dict[str, dict[str, int]] = {}
        for shard in self.shards:
            counts = found.setdefault(shard.split, {"rows": 0, "bytes": 0, "memory": 0})
            for key in counts:
                counts[key] += getattr(shard, key)
        return {split: counts for split, counts in found.items() if counts["rows"]}


@dataclass(frozen=True)
class Prepared:
    """What `prepare` did for one source.

    Args:
        source (`str`): name of the source.
        rows (`int`): rows written, over all splits.
        shards (`int`): number of shards.
        bytes (`int`): size of all shards.
        skipped (`int`): records that could not be read.
        reused (`int`): shards that stood there from an earlier run.
        sha256 (`str`): digest of the manifest.
        splits (`dict[str, int]`): rows by split.
    """

    source: str
    rows: int
    shards: int
    bytes: int
    skipped: int
    reused: int
    sha256: str
    splits: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, manifest: Manifest, reused: int) -> "Prepared":
        """Sum a manifest up."""
        shards = manifest.shards
        return cls(
            source=manifest.header["source"],
            rows=sum(shard.rows for shard in shards),
            shards=len(shards),
            bytes=sum(shard.bytes for shard in shards),
            skipped=len(manifest.header["skipped"]) + sum(len(shard.skipped) for shard in shards),
            reused=reused,
            sha256=manifest.sha256,
            splits={split: counts["rows"] for split, counts in manifest.splits().items()},
        )


def manifest_path(name: str) -> str:
    """Return the path of a source's manifest in the target."""
    return f"{MANIFEST_FOLDER}/{name}.jsonl"


def part_path(shard_path: str) -> str:
    """Return the path of the small file that says a shard is there."""
    return f"{MANIFEST_FOLDER}/{shard_path.removesuffix('.parquet')}.json"


def plan_path(name: str) -> str:
    """Return the path of the plan of a run that is not finished."""
    return f"{MANIFEST_FOLDER}/{name}/plan.json"


def finished(store: "Store") -> dict[str, Manifest]:
    """Return the manifests of all sources that are complete in a target, by name.

    Args:
        store (`Store`): the target.

    Returns:
        `dict[str, Manifest]`: sorted by name.
    """
    found = {}
    for path in sorted(store.sizes(MANIFEST_FOLDER)):
        parts = path.split("/")
        if len(parts) == 2 and path.endswith(".jsonl"):
            content = store.read(path)
            if content is not None:
                found[parts[1].removesuffix(".jsonl")] = Manifest.of(content.decode(), path)
    return found


def read_manifest(target: str, name: str) -> Manifest:
    """Read the manifest of a prepared source.

    Args:
        target (`str`): folder or address that was given to `prepare`.
        name (`str`): the source.

    Returns:
        `Manifest`.

    Raises:
        LayoutError: the source is not there, or not finished.
    """
    from climb_hf.prepare.stores import open_store

    store = open_store(target)
    content = store.read(manifest_path(name))
    if content is None:
        raise LayoutError(
            f"`{manifest_path(name)}` is not in {store.url}: `{name}` was not prepared there, or not to the end. "
            f"Run `climb prepare {name} --to {store.url}`."
        )
    return Manifest.of(content.decode(), manifest_path(name))


def verify(target: str, name: str) -> list[str]:
    """Compare every shard of a prepared source with its digest.

    Args:
        target (`str`): a local folder that was given to `prepare`.
        name (`str`): the source.

    Returns:
        `list[str]`: what is wrong, one sentence per shard; empty where all is well.

    Raises:
        LayoutError: the source is not there, or not finished.
    """
    from climb_hf.prepare.stores import open_store

    store, wrong = open_store(target), []
    for shard in read_manifest(target, name).shards:
        digest, size = hashlib.sha256(), 0
        try:
            with store.open(shard.path) as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
                    size += len(chunk)
        except FileNotFoundError:
            wrong.append(f"`{shard.path}` is missing.")
            continue
        if digest.hexdigest() != shard.sha256:
            wrong.append(f"`{shard.path}` has changed: {size:,} bytes found, {shard.bytes:,} expected.")
    return wrong


def failures(entries: Sequence[ShardEntry]) -> list[dict[str, str]]:
    """Return all skipped records of shards, in order."""
    return [failure for entry in entries for failure in entry.skipped]
