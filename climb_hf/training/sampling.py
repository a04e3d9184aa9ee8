"""Which rows of a mixture are trained on, in which order: the same for every number of processes.

One epoch always has as many examples as the mixture has rows, so an epoch costs the same whatever the mixture. Each
source k gets a quota of them: proportional n_k, balanced N / K, temperature T n_k^(1/T) (normalised; T = 1 is
proportional, T → ∞ balanced), in whole examples by largest remainder. A source's examples come from an endless row of
its own permutations, read on from epoch to epoch: no row comes again before every row of its source has been seen, and
a proportional epoch is exactly one permutation of all rows. The order depends on (seed, epoch) alone.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from climb_hf.errors import OptionError, SchemaError
from climb_hf.training.batches import DRAW, ROW_INDEX, stored_column

if TYPE_CHECKING:
    import datasets

__all__ = ["IndexedRows", "MixtureSampler", "RowIndexCollator", "refuse_no_batch", "source_codes", "source_quotas"]

Mixture = Literal["proportional", "balanced", "temperature"]


def source_quotas(sizes: Sequence[int], mixture: Mixture, temperature: float, total: int) -> list[int]:
    """Return how many of an epoch's examples each source gives.

    Args:
        sizes (`Sequence[int]`): rows of each source, each at least 1.
        mixture (`str`): `"proportional"`, `"balanced"` or `"temperature"`.
        temperature (`float`): T of `"temperature"`, above 0.
        total (`int`): examples of the epoch.

    Returns:
        `list[int]`: one quota per source, summing to `total`; a tie of remainders goes to the earlier source.

    Raises:
        OptionError: an unknown mixture or a temperature that is not a positive number.

    Example:
        >>> source_quotas([900, 100], "temperature", 2.0, 1000)  # shares 3 : 1
        [750, 250]
    """
    if mixture == "proportional":
        exponent = 1.0
    elif mixture == "balanced":
        exponent = 0.0
    elif mixture == "temperature":
        if not temperature > 0:
            raise OptionError(
                f"`temperature` must be above 0, found {temperature}; 1 is proportional, large is balanced."
            )
        exponent = 1.0 / temperature
    else:
        raise OptionError(f"unknown mixture `{mixture}`; expected `proportional`, `balanced` or `temperature`.")
    # Relative to the largest source: n ** exponent itself would overflow for small temperatures.
    weights = (np.asarray(sizes, dtype=np.float64) / max(sizes)) ** exponent
    shares = weights / weights.sum() * total
    # Shares that are whole numbers up to rounding must not lose an example to another source.
    quotas = np.floor(shares + 1e-9).astype(np.int64)
    for source in np.argsort(-(shares - quotas), kind="stable")[: total - int(quotas.sum())]:
        quotas[source] += 1
    return quotas.tolist()


def source_codes(dataset: Any, column: str = "source") -> tuple[np.ndarray, list[str]]:  # noqa: ANN401 - any dataset
    """Return the source of every row as a number.

    Args:
        dataset: a `datasets.Dataset`, or any sequence of rows (dictionaries).
        column (`str`, *optional*, defaults to `"source"`): the column with the source's name. Where it is absent all
            rows count as one source.

    Returns:
        `tuple[np.ndarray, list[str]]`: (rows,) int32 positions in the sorted list of source names.

    Raises:
        SchemaError: a row without a source.
    """
    if hasattr(dataset, "column_names"):
        if column not in dataset.column_names:
            return np.zeros(len(dataset), dtype=np.int32), [""]
        stored, mapping = stored_column(dataset, column)
        values = stored.dictionary_encode(null_encoding="encode")
        names = values.dictionary.to_pylist()
        codes = values.indices.to_numpy()
        codes = codes if mapping is None else codes[mapping]
        present = sorted(np.unique(codes).tolist(), key=lambda code: names[code] or "")
        if None in (names[code] for code in present):
            row = int(np.flatnonzero(codes == names.index(None))[0])
            raise SchemaError(f"row {row} of the training data has no `{column}`; every row must name its source.")
        renumbered = np.zeros(len(names), dtype=np.int32)
        renumbered[present] = np.arange(len(present))
        return renumbered[codes], [names[code] for code in present]
    rows = [dataset[position].get(column, "") for position in range(len(dataset))]
    names = sorted(set(rows))
    positions = {name: position for position, name in enumerate(names)}
    return np.array([positions[name] for name in rows], dtype=np.int32), names


class MixtureSampler(Sampler[Any]):
    """Draws the rows of one epoch from a mixture of sources, in an order that depends on (seed, epoch) alone.

    Args:
        codes (`Sequence[int]`): (rows,) the source of every row, numbered from 0 (`source_codes`).
        mixture (`str`, *optional*, defaults to `"proportional"`): `"proportional"`, `"balanced"` or `"temperature"`.
        temperature (`float`, *optional*, defaults to `1.0`): T of `"temperature"`.
        seed (`int`, *optional*, defaults to `0`): seed of all permutations.
        multiple (`int`, *optional*, defaults to `1`): fill the epoch up to a multiple of this with stand-ins, written
            as -1 - row; set it to the global size of a micro-batch so that no process gets real rows twice.

    Raises:
        OptionError: an unknown mixture, or values out of range.

    Example:
        >>> sampler = MixtureSampler([0, 0, 0, 1], mixture="balanced", seed=1)
        >>> rows = list(sampler)
        >>> len(rows), rows.count(3)
        (4, 2)
        >>> sampler.set_epoch(1)
        >>> list(sampler) == rows
        False
    """

    def __init__(
        self,
        codes: Sequence[int] | np.ndarray,
        mixture: Mixture = "proportional",
        temperature: float = 1.0,
        seed: int = 0,
        multiple: int = 1,
        numbered: bool = False,
    ) -> None:
        codes = np.asarray(codes)
        if codes.size == 0:
            raise OptionError("the training data has no rows; check the split and the sources of the mixture.")
        if seed < 0 or multiple < 1:
            raise OptionError(f"`seed` must be 0 or more and `multiple` 1 or more, found {seed} and {multiple}.")
        self._rows = [np.flatnonzero(codes == code) for code in np.unique(codes)]
        self.quotas = source_quotas([len(rows) for rows in self._rows], mixture, temperature, codes.size)
        self.seed, self.multiple, self.epoch, self.numbered = seed, multiple, 0, numbered

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose rows the next iteration gives.

        Args:
            epoch (`int`): number of the epoch, from 0.
        """
        self.epoch = int(epoch)

    def __len__(self) -> int:
        return math.ceil(sum(self.quotas) / self.multiple) * self.multiple

    def __iter__(self) -> Iterator[Any]:
        order = self.order(self.epoch)
        before = self.epoch * sum(self.quotas)
        for first in range(0, len(order), 8192):  # in blocks: no list of millions of Python integers
            rows = order[first : first + 8192].tolist()
            yield from zip(rows, itertools.count(before + first)) if self.numbered else rows

    def order(self, epoch: int) -> np.ndarray:
        """Return the rows of an epoch.

        Args:
            epoch (`int`): number of the epoch, from 0.

        Returns:
            `np.ndarray`: (len(self),) int64; negative entries are stand-ins, -1 - row.
        """
        chosen = [self._source_rows(source, epoch) for source in range(len(self._rows))]
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(np.concatenate(chosen))
        missing = len(self) - len(order)
        return np.concatenate([order, -1 - np.resize(order, missing)]) if missing else order

    def _source_rows(self, source: int, epoch: int) -> np.ndarray:
        rows, quota = self._rows[source], self.quotas[source]
        first, size = epoch * quota, len(self._rows[source])
        rounds = range(first // size, -(-(first + quota) // size))
        drawn = [np.random.default_rng([self.seed, 1 + source, turn]).permutation(rows) for turn in rounds]
        joined = np.concatenate(drawn) if drawn else rows[:0]
        start = first - rounds.start * size
        return joined[start : start + quota]


class IndexedRows(Dataset):
    """A map-style dataset whose rows know their position (key `row_index`), and whose arrays are read fast.

    Negative positions are the stand-ins of `MixtureSampler`: the row is fetched and keeps the negative number. Columns
    of the kind `Array2D` of a `datasets.Dataset` are read by `climb_hf.processing.arrow_signal.SignalReader`, as
    (time, C) float32 arrays, instead of nested lists; columns of matrices, such as `edge_index`, by
    `climb_hf.processing.arrow_graph.MatrixReader`.

    Args:
        dataset: a `datasets.Dataset`, or anything with `len()` and integer indexing that gives dictionaries.

    Example:
        >>> IndexedRows([{"id": "a"}, {"id": "b"}])[1]
        {'id': 'b', 'row_index': 1}
    """

    def __init__(self, dataset: Any) -> None:  # noqa: ANN401 - any map-style dataset
        self.dataset = dataset
        self._readers, self._plain = _signal_readers(dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int | tuple[int, int]) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int | tuple[int, int]]) -> list[dict[str, Any]]:
        """Return several rows at once, the way `torch.utils.data.DataLoader` asks for them.

        Args:
            indices (`Sequence`): positions or stand-ins (negative), each alone or with the number of its draw.

        Returns:
            `list[dict]`: one dictionary per index.
        """
        draws = [index if isinstance(index, tuple) else (index, None) for index in indices]
        positions = [index if index >= 0 else -1 - index for index, _ in draws]
        if hasattr(self._plain, "__getitems__"):
            rows = [dict(row) for row in self._plain.__getitems__(positions)]
        else:
            rows = [dict(self._plain[position]) for position in positions]
        for column, reader in self._readers.items():
            for row, signal in zip(rows, reader.rows(positions), strict=True):
                row[column] = signal
        for row, (index, draw) in zip(rows, draws, strict=True):
            row[ROW_INDEX] = index
            if draw is not None:
                row[DRAW] = draw
        return rows


class RowIndexCollator:
    """Carries the positions of the rows around a collator that need not know of them.

    Args:
        collator: takes a list of rows and returns a dictionary. It sees the number of a row's draw (key `draw`) only
            where it has a true `uses_draws`.

    Example:
        >>> RowIndexCollator(lambda rows: {"n": len(rows)})([{"row_index": 4}, {"row_index": -3}])
        {'n': 2, 'row_index': tensor([ 4, -3])}
    """

    def __init__(self, collator: Any) -> None:  # noqa: ANN401 - any callable
        self.collator = collator

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Collate the rows.

        Args:
            rows (`list[dict]`): rows, with or without `row_index`.

        Returns:
            `dict`: the batch of the inner collator, with `row_index` (batch,) int64 where the rows have one.
        """
        if not rows or not isinstance(rows[0], dict) or ROW_INDEX not in rows[0]:
            return self.collator(rows)
        aside = (ROW_INDEX,) if getattr(self.collator, "uses_draws", False) else (ROW_INDEX, DRAW)
        batch = self.collator([{key: row[key] for key in row if key not in aside} for row in rows])
        batch[ROW_INDEX] = torch.tensor([row[ROW_INDEX] for row in rows], dtype=torch.int64)
        return batch


def _signal_readers(dataset: Any) -> tuple[dict[str, Any], Any]:  # noqa: ANN401 - any dataset
    features, form = getattr(dataset, "features", None), getattr(dataset, "format", None)
    if features is None or form is None or form["type"] not in (None, "numpy", "torch"):
        return {}, dataset
    if set(form["columns"] or dataset.column_names) != set(dataset.column_names):
        return {}, dataset
    from datasets import Array2D

    from climb_hf.arrow_columns import nests_numbers
    from climb_hf.processing.arrow_graph import MatrixReader
    from climb_hf.processing.arrow_signal import SignalReader

    kinds: dict[str, Any] = {
        name: SignalReader if isinstance(features[name], Array2D) else MatrixReader
        for name in dataset.column_names
        if isinstance(features[name], Array2D) or nests_numbers(features[name])
    }
    others = [name for name in dataset.column_names if name not in kinds]
    if not kinds or not others:
        return {}, dataset
    plain: datasets.Dataset = dataset.select_columns(others)
    return {column: reader(dataset, column) for column, reader in kinds.items()}, plain


def refuse_no_batch(rows: int, batch: int) -> None:
    """Refuse a training without a step: fewer rows than a batch, where the batch that is not full is dropped.

    Args:
        rows (`int`): of an epoch.
        batch (`int`): rows of a batch over all processes; 1 where no batch is dropped.

    Raises:
        OptionError: no batch is full.

    Example:
        >>> refuse_no_batch(8, 8)
    """
    if rows < batch:
        raise OptionError(
            f"`dataloader_drop_last` leaves no batch: an epoch has {rows} rows, a batch {batch}. Lower the batch "
            "size, or set `training.dataloader_drop_last=false`."
        )
