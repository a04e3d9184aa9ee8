"""`make_figures`: published figures to a data set of panels with texts, resumable, the same bytes every time.

Shards, manifest, lock and resuming are those of `climb prepare`: a shard is some units of the input (row groups,
packages) in order, written beside its place, synced, renamed and noted; what is noted is whole.
"""

import dataclasses
import hashlib
import inspect
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.build_log import MAX_SKIPPED
from climb_hf.errors import DamagedDataError, OptionError
from climb_hf.figures.panels import BoxFinder, FigureOptions, PanelMaker, features
from climb_hf.figures.reading import Unit, list_units, read_figures

if TYPE_CHECKING:
    from climb_hf.build_log import Failure
    from climb_hf.prepare.manifest import ShardEntry
    from climb_hf.prepare.stores import Store

__all__ = ["NAME", "FigureSet", "make_figures"]

#: Name of the configuration, and of its folder and manifest in the target.
NAME = "figures"
_FORMAT = 1
_PACKAGES = ("datasets", "numpy", "pillow", "pyarrow")
_MODELS = ("torch", "transformers")
#: What may change while a run is not finished: damaged files are got again.
_INDEX_KEYS = ("index", "records", "skipped")
_MAX_REASONS = 3


@dataclasses.dataclass(frozen=True)
class FigureSet:
    """What `make_figures` wrote.

    Args:
        rows (`int`): panels, and figures that stayed whole.
        shards (`int`): number of shards.
        reused (`int`): shards that stood there from an earlier run.
        bytes (`int`): size of all shards.
        counts (`dict[str, int]`): figures read, cut, kept whole, aligned; dropped, by reason; rows by licence.
        failures (`list[dict]`): what could not be read: `id`, `file`, `error`, `reason`.
        sha256 (`str`): digest of the manifest.
    """

    rows: int
    shards: int
    reused: int
    bytes: int
    counts: dict[str, int]
    failures: list[dict[str, str]]
    sha256: str


@dataclasses.dataclass(frozen=True)
class _Task:
    """Everything a worker needs to build one shard."""

    path: str
    units: tuple[Unit, ...]
    options: FigureOptions
    environment: Mapping[str, str]
    boxes: BoxFinder | None
    device: str | None

    def digest(self) -> str:
        """Digest the units: the same on every machine."""
        return _index_digest(self.units)


def make_figures(
    inputs: str | Path | Sequence[str | Path],
    to: str | os.PathLike[str],
    *,
    options: FigureOptions | None = None,
    boxes: BoxFinder | None = None,
    device: str | None = None,
    num_proc: int | None = None,
    shard_size: str | int = "500MB",
    max_failed: float = MAX_SKIPPED,
    synthetic: bool = False,
    overwrite: bool = False,
) -> FigureSet:
    """Cut compound figures into panels, and write panels with texts as Parquet that plain `load_dataset` loads.

    A run that was stopped, `kill -9` included, goes on where it was when it is called again, and writes the same bytes
    as a run that was not.

    Args:
        inputs (`str`, `Path` or a sequence): Parquet tables of figures, packages of PMC Open Access, folders of them.
        to (`str` or `Path`): a folder, or `s3://BUCKET/PREFIX`. Never the Hub: look at the licences first.
        options (`FigureOptions`, *optional*): what is made.
        boxes (`BoxFinder`, *optional*): function of figures that gives their parts, in place of `options.detector`; a
            function of a module where `num_proc` is above 1.
        device (`str`, *optional*): torch device of checkpoints.
        num_proc (`int`, *optional*): worker processes. All cores by default; one where a checkpoint is used.
        shard_size (`str` or `int`, *optional*, defaults to `"500MB"`): bytes of the input that make a shard.
        max_failed (`float`, *optional*, defaults to `0.05`): share of figures and packages that may be unreadable.
        synthetic (`bool`, *optional*, defaults to `False`): say in the card that the figures are synthetic.
        overwrite (`bool`, *optional*, defaults to `False`): replace what was made there from other figures or options.

    Returns:
        `FigureSet`.

    Raises:
        AccessError: no input, or the target cannot be written.
        OptionError: an option out of range, or the target holds something else.
        SchemaError: a table without pictures or captions.
        DamagedDataError: more of the input than `max_failed` cannot be read.

    Example:
        >>> import tempfile
        >>> from climb_hf.miniatures._compound_figures import write_packages
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = write_packages(folder / "raw", 8)
        >>> make_figures(folder / "raw", folder / "panels", num_proc=1, synthetic=True).counts["figures"]
        8
    """
    from climb_hf.figures.card import refuse_other_target, write_figure_card
    from climb_hf.prepare.engines import check_engine
    from climb_hf.prepare.manifest import Manifest
    from climb_hf.prepare.plan import parse_size
    from climb_hf.prepare.run import finish
    from climb_hf.prepare.stores import open_store

    options = options or FigureOptions()
    store, size = open_store(to), parse_size(shard_size)
    uses_checkpoint = (boxes is None and options.detector not in ("gutters", "none")) or options.classifier is not None
    workers = (1 if uses_checkpoint else os.cpu_count() or 1) if num_proc is None else num_proc
    check_engine("local", workers, None)
    if store.is_public_hub:
        raise OptionError(
            f"{store.url}: figures are written to a folder first, so that their licences can be looked at. Then "
            "publish the folder with `climb push`."
        )
    given = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    _check_apart(given, to)
    units, failures = list_units(given)
    header = _header(units, failures, options, boxes, size, synthetic=synthetic)
    tasks = _tasks(units, options, boxes, device, size, header["environment"])
    with store.lock():
        refuse_other_target(store)
        _check_earlier(store, header, overwrite=overwrite)
        entries, reused = _build(store, tasks, header, workers)
        _judge(entries, failures, max_failed)
        manifest = Manifest(header, tuple(entries))
        finish(store, manifest)
        write_figure_card(store, manifest)
        store.flush()
    return FigureSet(
        rows=sum(entry.rows for entry in entries), shards=len(entries), reused=reused,
        bytes=sum(entry.bytes for entry in entries), counts=total_counts(entries),
        failures=[*header["skipped"], *(item for entry in entries for item in entry.skipped)], sha256=manifest.sha256,
    )  # fmt: skip


def _check_apart(inputs: Sequence[str | Path], to: str | os.PathLike[str]) -> None:
    """Refuse a target inside an input folder: what is written would be read."""
    target = Path(to).expanduser().absolute()
    inside = [str(given) for given in inputs if target.is_relative_to(Path(given).expanduser().absolute())]
    if inside and "://" not in os.fspath(to):
        raise OptionError(f"the target `{to}` lies in the input `{inside[0]}`. Choose a folder outside.")


def total_counts(entries: Sequence["ShardEntry"]) -> dict[str, int]:
    """Return the counts over all shards, sorted by name."""
    counts: Counter[str] = Counter()
    for entry in entries:
        counts.update(entry.counts)
    return {name: counts[name] for name in sorted(counts) if counts[name]}


def _header(
    units: Sequence[Unit], failures: Sequence["Failure"], options: FigureOptions, boxes: BoxFinder | None, size: int,
    *, synthetic: bool,
) -> dict[str, Any]:  # fmt: skip
    from climb_hf.provenance import clean_recipe

    checkpoints = [name for name in (options.detector, options.classifier) if name and name not in ("gutters", "none")]
    if checkpoints:
        from climb_hf.figures.checkpoints import weights_digest
    packages = (*_PACKAGES, *(_MODELS if checkpoints else ()))
    return {
        "format": _FORMAT,
        "source": NAME,
        "license": "per row",
        "options": clean_recipe(dataclasses.asdict(options)),
        "boxes": None if boxes is None else getattr(boxes, "__qualname__", type(boxes).__qualname__),
        "checkpoints": [weights_digest(name) for name in checkpoints],
        "environment": {package: version(package) for package in packages},
        "code": _code_digest(),
        "index": _index_digest(units),
        "records": len(units),
        "skipped": [dataclasses.asdict(failure) for failure in failures],
        "shard_size": size,
        "synthetic": synthetic,
    }


def _index_digest(units: Sequence[Unit]) -> str:
    return hashlib.sha256("\n".join(unit.identity() for unit in units).encode()).hexdigest()[:32]


def _code_digest() -> str:
    """Digest the modules that decide what the rows are."""
    from climb_hf.figures import alignment, boxes, captions, gutters, jats, licences, markers, panels, reading
    from climb_hf.prepare import shard
    from climb_hf.readers import image

    digest = hashlib.sha256()
    for module in (
        alignment, boxes, captions, gutters, jats, licences, markers, panels, reading, shard, image,
        sys.modules[__name__],
    ):  # fmt: skip
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()[:32]


def _tasks(
    units: Sequence[Unit], options: FigureOptions, boxes: BoxFinder | None, device: str | None, size: int,
    environment: Mapping[str, str],
) -> list[_Task]:  # fmt: skip
    """Put units in order into shards of about `size` bytes of input."""
    groups: list[list[Unit]] = []
    filled = 0
    for unit in units:
        if not groups or filled + unit.size > size:
            groups.append([])
            filled = 0
        groups[-1].append(unit)
        filled += unit.size
    paths = [f"{NAME}/train-{number:05d}-of-{len(groups):05d}.parquet" for number in range(len(groups))]
    return [
        _Task(path, tuple(group), options, environment, boxes, device)
        for path, group in zip(paths, groups, strict=True)
    ]


def _check_earlier(store: "Store", header: Mapping[str, Any], *, overwrite: bool) -> None:
    """Refuse, or remove, what was made in the target otherwise."""
    from climb_hf.figures.card import write_unfinished_card
    from climb_hf.prepare.manifest import MANIFEST_FOLDER, Manifest, manifest_path, plan_path
    from climb_hf.prepare.plan import header_differences

    finished, begun = store.read(manifest_path(NAME)), store.read(plan_path(NAME))
    if finished is None and begun is None:
        return
    earlier = json.loads(begun or b"{}")
    if finished is not None:
        earlier = Manifest.of(finished.decode(), manifest_path(NAME)).header
    differences = header_differences(earlier, header, () if finished is not None else _INDEX_KEYS)
    if not differences:
        return
    if not overwrite:
        raise OptionError(
            f"{store.url}: figures were made there otherwise: {'; '.join(differences)}. Choose another target, or "
            "replace them with `--overwrite`."
        )
    write_unfinished_card(store)
    parts = {**store.sizes(NAME), **store.sizes(f"{MANIFEST_FOLDER}/{NAME}")}
    store.delete([*([manifest_path(NAME)] if finished is not None else []), *parts])
    store.flush()


def _build(
    store: "Store", tasks: Sequence[_Task], header: Mapping[str, Any], num_proc: int
) -> tuple[list["ShardEntry"], int]:
    """Build the shards that are not there yet."""
    import contextlib

    from datasets.utils import tqdm

    from climb_hf.figures.card import write_unfinished_card
    from climb_hf.prepare.engines import run_tasks
    from climb_hf.prepare.manifest import manifest_path, plan_path
    from climb_hf.prepare.run import recorded, remove_strays

    known = recorded(store, NAME)
    entries = {task.path: known[task.path] for task in tasks if task.path in known}
    entries = {task.path: entries[task.path] for task in tasks if _is_same(entries.get(task.path), task)}
    reused = len(entries)
    missing = [task for task in tasks if task.path not in entries]
    if missing or store.read(manifest_path(NAME)) is None:
        write_unfinished_card(store)
        store.write(plan_path(NAME), json.dumps(header, sort_keys=True, ensure_ascii=False).encode())
        remove_strays(store, NAME, [task.path for task in tasks])
        total = sum(unit.size for task in tasks for unit in task.units)
        left = sum(unit.size for task in missing for unit in task.units)
        bar = tqdm(total=total, initial=total - left, unit="B", unit_scale=True, desc=NAME)
        sizes = {task.path: sum(unit.size for unit in task.units) for task in tasks}
        results = run_tasks(missing, store, num_proc=min(num_proc, max(1, len(missing))), build=build_figure_shard)
        with bar, contextlib.closing(results):
            for entry, receipt in results:
                entries[entry.path] = entry
                store.record(entry, receipt)
                bar.update(sizes[entry.path])
                counts = total_counts(list(entries.values()))
                bar.set_postfix(figures=counts.get("figures", 0), panels=counts.get("panels", 0))
    return [entries[task.path] for task in tasks], reused


def _is_same(entry: "ShardEntry | None", task: _Task) -> bool:
    return entry is not None and entry.index == task.digest()


def build_figure_shard(task: _Task, store: "Store") -> tuple["ShardEntry", Any]:
    """Build one shard of panels and put it into the target in one step.

    Args:
        task (`_Task`): what to build.
        store (`Store`): the target.

    Returns:
        `tuple[ShardEntry, Any]`: the entry of the manifest, and the store's receipt.
    """
    from climb_hf.prepare.manifest import ShardEntry
    from climb_hf.prepare.shard import HashingSink, check_environment, write_examples

    check_environment(task.environment)
    maker = PanelMaker(task.options, task.boxes, task.device)
    figures = (figure for unit in task.units for figure in read_figures(unit, dict(task.options.columns)))
    with store.writer(task.path) as upload:
        sink = HashingSink(upload.stream)
        rows, memory = write_examples(maker.rows(figures), features(), sink)
    counts = {name: maker.counts[name] for name in sorted(maker.counts) if maker.counts[name]}
    skipped = tuple(dataclasses.asdict(failure) for failure in maker.failures)
    records = counts.get("figures", 0) + len(skipped)
    entry = ShardEntry(
        task.path, "train", records, rows, sink.size, memory, sink.sha256, task.digest(), skipped, counts
    )
    return entry, upload.receipt


def _judge(entries: Sequence["ShardEntry"], failures: Sequence["Failure"], max_failed: float) -> None:
    """Refuse an input of which too much cannot be read."""
    reasons = [failure.reason for failure in failures] + [
        item["reason"] for entry in entries for item in entry.skipped
    ]
    whole = sum(entry.counts.get("figures", 0) for entry in entries) + len(reasons)
    if reasons and len(reasons) > max_failed * whole:
        raise DamagedDataError(
            f"{len(reasons):,} of {whole:,} figures, packages and tables cannot be read, more than {max_failed:.0%}: "
            f"{' '.join(reasons[:_MAX_REASONS])} Get them again, or allow more with `--max-failed`."
        )
