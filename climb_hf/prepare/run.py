"""`prepare`: raw data of sources to Parquet shards with a card, resumable, by one process or many machines."""

import contextlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.build_log import MAX_SKIPPED, BuildLog, Failure
from climb_hf.errors import ClimbError, CorruptFileError, OptionError
from climb_hf.loading import is_synthetic
from climb_hf.prepare.manifest import (
    MANIFEST_FOLDER,
    Manifest,
    Prepared,
    ShardEntry,
    manifest_path,
    part_path,
    plan_path,
)
from climb_hf.registry import get_source, unknown_source

if TYPE_CHECKING:
    from climb_hf.prepare.plan import Plan
    from climb_hf.prepare.stores import Store

__all__ = ["finish", "prepare", "recorded", "remove_strays"]

logger = logging.getLogger(__name__)


def prepare(
    sources: str | Sequence[str] | Mapping[str, str | Path | None],
    to: str | os.PathLike[str],
    *,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    engine: str = "local",
    num_proc: int | None = None,
    address: str | None = None,
    shard_size: str | int = "500MB",
    private: bool = False,
    synthetic: bool = False,
    overwrite: bool = False,
) -> list[Prepared]:
    """Write sources as Parquet shards that plain `datasets.load_dataset(DIR)` loads without this package.

    Each source becomes a configuration with the splits, rows and values of `climb_hf.load_dataset`. A run that was
    stopped, by Ctrl-C, `kill -9` or a power cut, goes on where it was when it is called again, and writes the same
    bytes as a run that was not.

    Args:
        sources (`str`, `Sequence[str]` or `Mapping`): names, or names with the folder of their raw data.
        to (`str` or `Path`): a folder, `s3://BUCKET/PREFIX`, or `hf://datasets/USER/NAME[@BRANCH]`.
        options (`Mapping`, *optional*): options by source name; those under `"*"` go to every source that has them.
        engine (`str`, *optional*, defaults to `"local"`): `"local"` or `"ray"`.
        num_proc (`int`, *optional*): worker processes of the local engine; all cores by default.
        address (`str`, *optional*): of a Ray cluster.
        shard_size (`str` or `int`, *optional*, defaults to `"500MB"`): size of a shard, about.
        private (`bool`, *optional*, defaults to `False`): make a repository of the Hub private.
        synthetic (`bool`, *optional*, defaults to `False`): say in the card that the raw data is synthetic.
        overwrite (`bool`, *optional*, defaults to `False`): replace what stands there from other data or options.

    Returns:
        `list[Prepared]`: one per source.

    Raises:
        LicenseError: the Hub is the target and a source does not allow copies; names source, licence and clause.
        AccessError: raw data is missing; the target is full, read-only, unreachable, or another run writes there.
        OptionError: an option or address that does not exist, or the target holds something else.
        DamagedDataError: more than 5 % of a source's records cannot be read.

    Example:
        >>> import climb_hf, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> _ = climb_hf.miniature("proteins", f"{folder}/raw", n=16)
        >>> done = prepare({"proteins": f"{folder}/raw"}, f"{folder}/parquet", num_proc=1, synthetic=True)
        >>> sum(done[0].splits.values())
        16
    """
    from climb_hf.hub.licence import check_redistribution
    from climb_hf.prepare.card import refuse_foreign_card, write_card
    from climb_hf.prepare.engines import check_engine
    from climb_hf.prepare.plan import header_differences, parse_size
    from climb_hf.prepare.stores import open_store

    folders = _folders(sources)
    synthetic = synthetic or is_synthetic(folders)
    chosen = {name: _options_of(name, options or {}) for name in folders}
    size, store = parse_size(shard_size), open_store(to, private=private)
    workers = (os.cpu_count() or 1) if num_proc is None else num_proc
    check_engine(engine, workers, address)
    if store.is_public_hub:
        check_redistribution(folders, "prepared shards")
    elif store.is_remote:
        _warn_of_closed(folders, store.url)
    _check_folder(store, folders)
    results = []
    with store.lock():
        refuse_foreign_card(store)
        if store.is_public_hub:  # so that the data never stands there without its terms
            write_card(store, folders, synthetic=synthetic)
            store.flush()
        for name, folder in folders.items():
            earlier, may_differ = _earlier_header(store, name)
            plan = _plan(name, folder, chosen[name], size, synthetic, earlier)
            if earlier is not None and (differences := header_differences(earlier, plan.header, may_differ)):
                _replace(store, name, differences, overwrite=overwrite)
            results.append(_build(plan, store, engine, workers, address))
        write_card(store, folders, synthetic=synthetic)
        store.flush()
    return results


def _warn_of_closed(names: Iterable[str], where: str) -> None:
    """Say that a bucket must be as closed as the data in it."""
    from climb_hf.hub.licence import terms_of

    closed = [name for name in names if not terms_of(name).redistributable]
    if closed:
        logger.warning(
            "%s: the terms of %s forbid passing copies on; keep the bucket closed to everybody who has not agreed to "
            "them (`climb info NAME` shows the terms)", where, ", ".join(closed),
        )  # fmt: skip


def _folders(sources: str | Sequence[str] | Mapping[str, str | Path | None]) -> dict[str, str | Path | None]:
    given = [sources] if isinstance(sources, str) else sources
    folders = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given)
    if not folders:
        raise unknown_source(None)
    for name in folders:
        get_source(name)
    return folders


def _check_folder(store: "Store", folders: Mapping[str, str | Path | None]) -> None:
    """Refuse a folder that `load_dataset` would take for a pattern, and one that holds raw data."""
    if store.is_remote:
        return
    if set(store.url) & set("*?["):
        raise OptionError(f"`{store.url}`: `load_dataset` takes `*`, `?` and `[` for patterns. Choose another `--to`.")
    for name, folder in folders.items():
        if folder is not None and Path(folder).expanduser().resolve() == Path(store.url).expanduser().resolve():
            raise OptionError(
                f"`{store.url}` holds the raw data of `{name}`, which stays as it is. Choose another `--to`."
            )


def _options_of(name: str, options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Options of one source: those for all sources that it has, then its own."""
    known = get_source(name).option_names
    shared = {key: value for key, value in options.get("*", {}).items() if key in known}
    return {**shared, **options.get(name, {})}


def _plan(
    name: str, folder: str | Path | None, options: Mapping[str, Any], size: int, synthetic: bool,
    earlier: Mapping[str, Any] | None,
) -> "Plan":  # fmt: skip
    from climb_hf.prepare.plan import make_plan

    plan = make_plan(name, folder, options, shard_size=size, synthetic=synthetic, earlier=earlier)
    failures = plan.index.failures
    BuildLog.judge(plan.builder.source, failures, plan.index.report(), strict=plan.builder.options.strict)
    return plan


def _earlier_header(store: "Store", name: str) -> tuple[dict[str, Any] | None, Sequence[str]]:
    """The header of what stands in the target of this source, finished or not, and what of it may change."""
    from climb_hf.prepare.plan import INDEX_KEYS

    content = store.read(manifest_path(name))
    if content is not None:
        return Manifest.of(content.decode(), manifest_path(name)).header, ()
    content = store.read(plan_path(name))
    return (None, ()) if content is None else (json.loads(content), INDEX_KEYS)


def _replace(store: "Store", name: str, differences: Sequence[str], *, overwrite: bool) -> None:
    """Remove what was prepared from other data or options, where that is wished."""
    if not overwrite:
        raise OptionError(
            f"{store.url}: `{name}` was prepared there otherwise: {'; '.join(differences)}. "
            "Choose another target, or replace it with `--overwrite`."
        )
    from climb_hf.prepare.card import write_card

    write_card(store, [name], synthetic=False, without=name)  # what is half there does not load
    parts = {**store.sizes(name), **store.sizes(f"{MANIFEST_FOLDER}/{name}")}
    store.delete([*(path for path in (manifest_path(name),) if store.read(path) is not None), *parts])
    store.flush()


def recorded(store: "Store", name: str) -> dict[str, ShardEntry]:
    """Return the shards of a source that are complete in a target, by path.

    Args:
        store (`Store`): the target.
        name (`str`): the source.

    Returns:
        `dict[str, ShardEntry]`: those whose file is there with the size that was noted.
    """
    content = store.read(manifest_path(name))
    if content is not None:
        entries = list(Manifest.of(content.decode(), manifest_path(name)).shards)
    else:
        entries = []
        for path in store.sizes(f"{MANIFEST_FOLDER}/{name}"):
            if path != plan_path(name) and (text := store.read(path)) is not None:
                with contextlib.suppress(CorruptFileError):  # such a shard is built again
                    entries.append(ShardEntry.of(text.decode("utf-8", "replace").strip()))
    present = store.sizes(name)
    return {entry.path: entry for entry in entries if present.get(entry.path) == entry.bytes}


def _build(plan: "Plan", store: "Store", engine: str, num_proc: int, address: str | None) -> Prepared:
    """Build the shards that are not there yet, and write the manifest."""
    from datasets.utils import tqdm

    from climb_hf.prepare.card import write_card
    from climb_hf.prepare.engines import run_tasks

    name, tasks = plan.builder.source.name, plan.tasks()
    known = recorded(store, name)
    digests = {task.path: task.digest() for task in tasks if task.path in known}
    entries = {path: known[path] for path, digest in digests.items() if known[path].index == digest}
    missing = [task for task in tasks if task.path not in entries]
    reused = len(entries)
    if missing or store.read(manifest_path(name)) is None:
        if not store.is_public_hub:  # where the card stands already
            write_card(store, [name], synthetic=plan.header["synthetic"], without=name)
        store.write(plan_path(name), json.dumps(plan.header, sort_keys=True, ensure_ascii=False).encode())
        remove_strays(store, name, [task.path for task in tasks])
        done = sum(entry.records for entry in entries.values())
        bar = tqdm(total=plan.index.n_records, initial=done, unit="record", desc=name)
        judge = _Judge(plan, store, entries.values())
        workers = min(num_proc, max(1, len(missing)))
        results = run_tasks(missing, store, engine=engine, num_proc=workers, address=address)
        with bar, contextlib.closing(results):
            for entry, receipt in results:
                entries[entry.path] = entry
                store.record(entry, receipt)
                bar.update(entry.records)
                judge.add(entry)
        judge.close()
    manifest = Manifest(plan.header, tuple(entries[task.path] for task in tasks))
    finish(store, manifest)
    return Prepared.of(manifest, reused)


def remove_strays(store: "Store", name: str, paths: Sequence[str]) -> None:
    """Remove shards of a run over an index that has changed since.

    Args:
        store (`Store`): the target.
        name (`str`): the source.
        paths (`Sequence[str]`): the shards of this run.
    """
    shards = {path for path in store.sizes(name) if path.endswith(".parquet")} - set(paths)
    parts = set(store.sizes(f"{MANIFEST_FOLDER}/{name}")) - {plan_path(name), *map(part_path, paths)}
    if shards or parts:
        store.delete(sorted({*shards, *parts}))
        store.flush()


class _Judge:
    """Names failures, and stops where they are too many for the whole run, as a build does."""

    def __init__(self, plan: "Plan", store: "Store", entries: Iterable[ShardEntry]) -> None:
        self._plan, self._store = plan, store
        self._failures = list(plan.index.failures)
        self._parts: list[str] = []
        for entry in entries:
            self._count(entry)

    def _count(self, entry: ShardEntry) -> None:
        self._failures += [Failure(**failure) for failure in entry.skipped]
        if entry.skipped:
            self._parts.append(part_path(entry.path))

    def add(self, entry: ShardEntry) -> None:
        """Count the failures of a shard; raises past the limit, or at the first where the run is strict."""
        name, is_strict = self._plan.builder.source.name, self._plan.builder.options.strict
        for failure in entry.skipped:
            logger.warning("%s: skipped `%s` (%s): %s", name, failure["id"], failure["file"], failure["reason"])
        self._count(entry)
        report = self._plan.index.report()
        if self._failures and (
            is_strict or len(self._failures) > MAX_SKIPPED * (report.n_records + len(report.failures))
        ):
            self.close()

    def close(self) -> None:
        """Judge the run; before it fails, its shards with failures are forgotten: their files may be repaired."""
        plan = self._plan
        try:
            BuildLog.judge(
                plan.builder.source, self._failures, plan.index.report(), strict=plan.builder.options.strict
            )
        except ClimbError:
            self._store.flush()
            there = self._store.sizes(f"{MANIFEST_FOLDER}/{plan.builder.source.name}")
            self._store.delete([path for path in self._parts if path in there])
            self._store.flush()
            raise


def finish(store: "Store", manifest: Manifest) -> None:
    """Write the manifest of a complete source and remove the small files of its shards.

    Args:
        store (`Store`): the target.
        manifest (`Manifest`): the manifest.
    """
    name = manifest.header["source"]
    store.flush()  # on the Hub the parts must be there to be removed
    content = manifest.text().encode()
    if store.read(manifest_path(name)) != content:
        store.write(manifest_path(name), content)
    store.delete(list(store.sizes(f"{MANIFEST_FOLDER}/{name}")))
    store.flush()
