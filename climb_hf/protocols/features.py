"""Features of frozen encoders: extracted once, cached as memory-mapped float16, never stale.

An entry of the cache is a folder: `features.npy` (float16, read by memory map), `rows.arrow` (ids, sources, groups,
labels) and `features.json`, which is written last and holds everything that the key is a digest of: weights,
configuration, processor, options, versions, the data's fingerprint and the state of the picture files that it points
to. Changing any of them makes another key. An extraction that was stopped goes on where the last finished shard ends.
"""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from climb_hf.errors import CorruptFileError, OptionError, SchemaError, TrainingError
from climb_hf.protocols.encoders import Encoder, load_encoder
from climb_hf.protocols.feature_keys import digest_of, features_key, weights_digest

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["Features", "extract_features"]

logger = logging.getLogger(__name__)

_VALUES, _ROWS, _SIDECAR, _PROGRESS = "features.npy", "rows.arrow", "features.json", "progress.json"
_DTYPES = ("float16", "float32")
#: Records between two states that a stopped extraction goes on from.
SHARD_ROWS = 4096


@dataclass(frozen=True)
class Features:
    """Features of some records, and who the records are.

    Args:
        values (`np.ndarray`): (n, width) float16 (or float32), memory-mapped where it was read from the cache.
        ids (`list[str]`): record of every row; `"<record>:<node>"` where nodes are encoded.
        sources (`list[str]`): source of every row.
        groups (`list[str | None]`): patient of every row.
        labels (`list[list[str]]`): positive concepts of every row.
        uncertain (`list[list[str]]`): concepts whose label is uncertain or unknown.
        keys (`tuple[str, ...]`): keys in the cache.
        folders (`tuple[Path, ...]`): where the entries lie.
    """

    values: np.ndarray
    ids: list[str]
    sources: list[str]
    groups: list[str | None]
    labels: list[list[str]]
    uncertain: list[list[str]]
    keys: tuple[str, ...] = ()
    folders: tuple[Path, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.values)

    def targets(self, concepts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return labels over some concepts, and which of them are known.

        Args:
            concepts (`Sequence[str]`): classes in order, V_k.

        Returns:
            `tuple[np.ndarray, np.ndarray]`: (n, K) bool positives, and (n, K) bool, false where uncertain.

        Example:
            >>> rows = Features(np.zeros((2, 1), np.float16), ["1", "2"], ["s"] * 2, [None] * 2, [["a"], []],
            ...                 [[], ["b"]])
            >>> [part.tolist() for part in rows.targets(["a", "b"])]
            [[[True, False], [False, False]], [[True, True], [True, False]]]
        """
        place = {name: column for column, name in enumerate(concepts)}
        positive, known = np.zeros((len(self), len(place)), bool), np.ones((len(self), len(place)), bool)
        for row, (own, doubtful) in enumerate(zip(self.labels, self.uncertain, strict=True)):
            for name in doubtful:
                if name in place:
                    known[row, place[name]] = False
            for name in own:
                if name in place:
                    positive[row, place[name]] = known[row, place[name]] = True
        return positive, known


def extract_features(
    model: str | Path | Encoder,
    parts: "Dataset | Mapping[str, Dataset]",
    *,
    cache_dir: str | Path | None = None,
    batch_size: int = 64,
    dtype: str = "float16",
    num_workers: int = 0,
    device: str | None = None,
    progress: bool = True,
) -> Features:
    """Encode every record once, or read the features from the cache; a hit does not run the model.

    Args:
        model (`str`, `Path` or `Encoder`): a checkpoint of ours (any input), a dual encoder (its projected image
            embedding), or an encoder in memory (`climb_hf.protocols.encoders.as_encoder`).
        parts (`Dataset` or `Mapping[str, Dataset]`): rows with our columns; several data sets are cached apart and
            their rows stand behind each other, then as a copy in memory.
        cache_dir (`str` or `Path`, *optional*): where entries are kept; by default beside the data sets that
            `datasets` builds. They are derived from patient data: treat them like the data.
        batch_size (`int`, *optional*, defaults to `64`): records per batch.
        dtype (`str`, *optional*, defaults to `"float16"`): or `"float32"`, for features beyond ±65504.
        num_workers (`int`, *optional*, defaults to `0`): processes that decode.
        device (`str`, *optional*): where to encode; an accelerator where there is one.
        progress (`bool`, *optional*, defaults to `True`): show a bar where it takes more than two seconds.

    Returns:
        `Features`: rows in the order of the data.

    Raises:
        CorruptFileError: weights of the checkpoint are missing or left over, or a picture cannot be decoded.
        TrainingError: a feature that is not finite in `dtype`; the records are named.
        OptionError: an option out of range.
    """
    if dtype not in _DTYPES:
        raise OptionError(f"`dtype` must be one of {', '.join(_DTYPES)}, found {dtype!r}.")
    if batch_size < 1:
        raise OptionError(f"`batch_size` must be at least 1, found {batch_size}.")
    encoder = model if isinstance(model, Encoder) else load_encoder(model)
    weights = weights_digest(encoder)
    root = _default_cache() if cache_dir is None else Path(cache_dir)
    run = _Extraction(encoder, batch_size, dtype, num_workers, device, progress)
    datasets_given = list(parts.values()) if isinstance(parts, Mapping) else [parts]
    if not datasets_given:
        raise OptionError("`parts` holds no data set; pass at least one.")
    found = [_cached(run, part, features_key(encoder, part, dtype, weights=weights), root) for part in datasets_given]
    return found[0] if len(found) == 1 else _joined(found)


def _default_cache() -> Path:
    import datasets

    return Path(datasets.config.HF_DATASETS_CACHE) / "climb_features"


def _joined(found: Sequence[Features]) -> Features:
    widths = {part.values.shape[1] for part in found}
    if len(widths) > 1:
        raise SchemaError(f"the parts have features of different widths {sorted(widths)}; extract them apart.")

    def together(name: str) -> list[Any]:
        return [value for part in found for value in getattr(part, name)]

    values = np.concatenate([part.values for part in found])
    rows = (together(name) for name in ("ids", "sources", "groups", "labels", "uncertain"))
    ids, sources, groups, labels, uncertain = rows
    return Features(
        values, ids, sources, groups, labels, uncertain, tuple(together("keys")), tuple(together("folders"))
    )


def _cached(run: "_Extraction", dataset: "Dataset", key: dict[str, Any], root: Path) -> Features:
    from filelock import FileLock

    name = digest_of(key)
    folder = root / name
    found = _read(folder, key, name)
    if found is not None:
        return found
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / f"{name}.lock"):
        found = _read(folder, key, name)  # another process may have made it meanwhile
        if found is None:
            run(dataset, folder, key)
            found = _read(folder, key, name)
    if found is None:
        raise CorruptFileError(f"`{folder}` was written, but cannot be read back; check the disk and extract again.")
    return found


def _read(folder: Path, key: dict[str, Any], name: str) -> Features | None:
    """Open an entry; `None` where it is absent, unfinished or damaged."""
    import pyarrow as pa

    try:
        sidecar = json.loads((folder / _SIDECAR).read_text(encoding="utf-8"))
        values = np.load(folder / _VALUES, mmap_mode="r", allow_pickle=False)
        with pa.memory_map(str(folder / _ROWS)) as source:
            rows = pa.ipc.open_file(source).read_all().to_pydict()
    except FileNotFoundError:
        return None
    except (OSError, ValueError, pa.ArrowInvalid) as error:
        logger.warning("the features in `%s` are damaged (%s); they are extracted again", folder, error)
        return None
    expected = (sidecar.get("key"), sidecar.get("shape"), sidecar.get("dtype"), len(rows["id"]))
    if expected != (key, list(values.shape), str(values.dtype), len(values)):
        logger.warning("the features in `%s` are not what `%s` says; they are extracted again", folder, _SIDECAR)
        return None
    return Features(
        values, rows["id"], rows["source"], rows["group"], rows["labels"], rows["uncertain"], (name,), (folder,)
    )


@dataclass
class _Extraction:
    """Runs an encoder over a data set and writes an entry of the cache."""

    encoder: Encoder
    batch_size: int
    dtype: str
    num_workers: int
    device: str | None
    progress: bool

    def __call__(self, dataset: "Dataset", folder: Path, key: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _SIDECAR).unlink(missing_ok=True)  # from here on the entry is unfinished
        rows = _rows(dataset, self.encoder.output == "nodes")
        n_rows = len(rows["id"])
        values = self._values(dataset, folder, key, n_rows)
        if values is None or len(values) != n_rows:
            raise SchemaError(f"the data set has {n_rows} rows to encode; check the split, which may be empty.")
        _write_rows(folder / _ROWS, rows)
        _write_json(folder / _SIDECAR, {"key": key, "shape": list(values.shape), "dtype": self.dtype})
        (folder / _PROGRESS).unlink(missing_ok=True)

    def _values(self, dataset: "Dataset", folder: Path, key: dict[str, Any], n_rows: int) -> np.memmap | None:
        records, written, values = _resumed(folder, key, n_rows)
        since = 0
        for batch, found in self._batches(dataset, records):
            if values is None:
                values = np.lib.format.open_memmap(
                    folder / _VALUES, mode="w+", dtype=self.dtype, shape=(n_rows, found.shape[1])
                )
            with np.errstate(over="ignore"):
                values[written : written + len(found)] = found
            self._check(values[written : written + len(found)], found, batch)
            records, written, since = records + len(batch), written + len(found), since + len(batch)
            if since >= SHARD_ROWS:
                values.flush()
                _write_json(folder / _PROGRESS, {"key": key, "records": records, "rows": written})
                since = 0
        if values is not None:
            values.flush()
        return values

    def _batches(self, dataset: "Dataset", start: int) -> Any:  # noqa: ANN401 - pairs of rows' ids and vectors
        import torch
        from tqdm.auto import tqdm

        from climb_hf.processing.batching import RowBatcher
        from climb_hf.training.collator import prepare_for_training
        from climb_hf.training.sampling import IndexedRows

        batcher = RowBatcher(self.encoder.processor)
        rest = dataset if start == 0 else dataset.select(range(start, len(dataset)))
        loader = torch.utils.data.DataLoader(
            IndexedRows(prepare_for_training(rest)),
            batch_size=self.batch_size,
            collate_fn=_Collate(batcher),
            num_workers=self.num_workers,
        )
        device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.encoder.model.eval().to(device)
        bar = tqdm(
            total=len(dataset), initial=start, desc="features", unit="record", delay=2, dynamic_ncols=True,
            disable=not self.progress,
        )  # fmt: skip
        with bar:
            for ids, inputs in loader:
                yield ids, self.encoder(inputs).float().cpu().numpy()
                bar.update(len(ids))

    def _check(self, stored: np.ndarray, found: np.ndarray, ids: Sequence[str]) -> None:
        if np.isfinite(stored).all():
            return
        bad = np.flatnonzero(~np.isfinite(stored).all(axis=1))
        named = ", ".join(ids[row] for row in bad[:10]) if len(ids) == len(stored) else f"nodes of {ids[0]} …"
        advice = "Check these records' inputs and the weights of the model."
        if np.isfinite(found).all():
            advice = f"Their largest value is {np.abs(found).max():g}; extract them with `dtype='float32'`."
        raise TrainingError(f"features of {len(bad)} records are not finite as {self.dtype}: {named}. {advice}")


@dataclass
class _Collate:
    """Turns rows into (ids, input of the model); a class, so that worker processes can have it."""

    batcher: Any

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], dict[str, Any]]:
        return [f"{row['source']}:{row['id']}" for row in rows], self.batcher(rows)


def _resumed(folder: Path, key: dict[str, Any], n_rows: int) -> tuple[int, int, np.memmap | None]:
    """Return how many records and rows a stopped extraction has finished, and its array."""
    try:
        state = json.loads((folder / _PROGRESS).read_text(encoding="utf-8"))
        values = np.lib.format.open_memmap(folder / _VALUES, mode="r+")
    except (OSError, ValueError):
        return 0, 0, None
    if state.get("key") != key or len(values) != n_rows or str(values.dtype) != key["dtype"]:
        return 0, 0, None
    logger.info("going on after %s records of an extraction that was stopped", state["records"])
    return state["records"], state["rows"], values


def _rows(dataset: "Dataset", per_node: bool) -> dict[str, list[Any]]:
    """Return who the rows are, with their labels as names of concepts."""
    names: list[str] = dataset.features["labels"].feature.names
    columns = ["id", "source", "group", "labels", "uncertain", *(["node_labels"] if per_node else [])]
    found: dict[str, list[Any]] = {name: [] for name in ("id", "source", "group", "labels", "uncertain")}
    for row in dataset.select_columns([name for name in columns if name in dataset.features]).with_format(None):
        if per_node:
            _add_nodes(found, row)
            continue
        found["id"].append(row["id"])
        found["source"].append(row["source"])
        found["group"].append(row.get("group"))
        found["labels"].append([names[label] for label in row["labels"] or []])
        found["uncertain"].append([names[label] for label in row.get("uncertain") or []])
        if row["labels"] is None:  # not labelled: no class is known
            found["uncertain"][-1] = names
    return found


def _add_nodes(found: dict[str, list[Any]], row: Mapping[str, Any]) -> None:
    """Add a row per node of a graph; a label of -1 is unknown."""
    from climb_hf.vocabulary import source_vocabulary

    concepts = source_vocabulary(row["source"]).concepts
    if row.get("node_labels") is None:
        raise SchemaError(
            f"the graph `{row['id']}` of `{row['source']}` has no `node_labels`, but the model encodes nodes "
            '(`level="node"`); use a model of graphs.'
        )
    for node, values in enumerate(row["node_labels"]):
        found["id"].append(f"{row['id']}:{node}")
        found["source"].append(row["source"])
        found["group"].append(row["id"])
        found["labels"].append([name for name, value in zip(concepts, values, strict=True) if value == 1])
        found["uncertain"].append([name for name, value in zip(concepts, values, strict=True) if value == -1])


def _write_rows(path: Path, rows: Mapping[str, list[Any]]) -> None:
    import pyarrow as pa

    types = {"labels": pa.list_(pa.string()), "uncertain": pa.list_(pa.string())}
    table = pa.table({name: pa.array(values, types.get(name, pa.string())) for name, values in rows.items()})
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with pa.OSFile(str(part), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    part.replace(path)


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(json.dumps(content, indent=1), encoding="utf-8")
    part.replace(path)
