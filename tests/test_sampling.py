"""Mixtures: exact quotas, no repetition before a source is exhausted, one order for every number of processes."""

from collections import Counter

import datasets
import numpy as np
import pytest
import torch
from accelerate.data_loader import BatchSamplerShard
from torch.utils.data import BatchSampler, DataLoader

from climb_hf.errors import OptionError, SchemaError
from climb_hf.training.sampling import IndexedRows, MixtureSampler, RowIndexCollator, source_codes, source_quotas

SIZES = [40, 10, 2]
CODES = np.repeat([0, 1, 2], SIZES)


@pytest.mark.parametrize(
    ("mixture", "temperature", "expected"),
    [
        ("proportional", 1.0, [40, 10, 2]),
        ("balanced", 1.0, [18, 17, 17]),  # 52 / 3: the remainders tie, the first source gets the odd one
        ("temperature", 1.0, [40, 10, 2]),
        ("temperature", 1e6, [18, 17, 17]),
        ("temperature", 2.0, [30, 15, 7]),  # sqrt: 6.3246, 3.1623, 1.4142 of 10.9011 -> 30.17, 15.08, 6.75
        ("temperature", 0.001, [52, 0, 0]),
    ],
)
def test_quotas(mixture, temperature, expected):
    assert source_quotas(SIZES, mixture, temperature, 52) == expected


def test_quotas_refuse_nonsense():
    with pytest.raises(OptionError, match="expected `proportional`, `balanced` or `temperature`"):
        source_quotas([1], "even", 1.0, 1)
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(OptionError, match="must be above 0"):
            source_quotas([1], "temperature", temperature, 1)


def test_proportional_is_one_permutation():
    sampler = MixtureSampler(CODES, seed=3)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        assert sorted(sampler) == list(range(52))
    assert len(sampler) == 52


def test_order_depends_on_seed_and_epoch_alone():
    one, other = MixtureSampler(CODES, "balanced", seed=5), MixtureSampler(CODES, "balanced", seed=5)
    list(one)
    one.set_epoch(4)
    other.set_epoch(4)
    assert list(one) == list(other) == list(one)
    assert list(one) != MixtureSampler(CODES, "balanced", seed=6).order(4).tolist()
    assert list(one) != one.order(3).tolist()


def test_sources_are_mixed_within_the_epoch():
    halves = MixtureSampler(np.repeat([0, 1], 500), seed=0).order(0)[:500]
    assert 200 < (halves < 500).sum() < 300


def test_balanced_repeats_only_exhausted_sources():
    sampler = MixtureSampler(CODES, "balanced", seed=1)
    epochs = [sampler.order(epoch) for epoch in range(5)]
    for epoch, order in enumerate(epochs):
        counts = Counter(CODES[order].tolist())
        assert [counts[source] for source in range(3)] == [18, 17, 17]
        seen = Counter(np.concatenate(epochs[: epoch + 1]).tolist())
        for rows, quota in ((range(40), 18), (range(40, 50), 17), (range(50, 52), 17)):
            mean = quota * (epoch + 1) / len(rows)
            assert all(abs(seen[row] - mean) < 1 for row in rows)
    # the large source is read on from epoch to epoch: its 40 rows are all seen within 3 epochs of 18
    large = np.concatenate([order[order < 40] for order in epochs[:3]])
    assert len(set(large.tolist())) == 40
    assert max(Counter(large.tolist()).values()) == 2


def ranks(sampler, batch_size, world):
    shards = [BatchSamplerShard(BatchSampler(sampler, batch_size, False), world, rank) for rank in range(world)]
    return [list(shard) for shard in shards]


@pytest.mark.parametrize(("batch_size", "world"), [(8, 1), (4, 2), (2, 4), (8, 2)])
def test_same_global_batches_on_every_world_size(batch_size, world):
    reference = MixtureSampler(CODES, "balanced", seed=9).order(0).tolist()
    sampler = MixtureSampler(CODES, "balanced", seed=9, multiple=batch_size * world)
    batches = ranks(sampler, batch_size, world)
    assert len({len(shard) for shard in batches}) == 1
    joined = [row for step in zip(*batches, strict=True) for batch in step for row in batch]
    assert [row for row in joined if row >= 0] == reference
    stand_ins = joined[len(reference) :]
    assert len(joined) == len(sampler) == -(-52 // (batch_size * world)) * batch_size * world
    assert stand_ins == [-1 - row for row in reference[: len(stand_ins)]]


def test_more_processes_than_rows():
    sampler = MixtureSampler([0, 0], seed=0, multiple=8)
    order = list(sampler)
    assert sorted(order[:2]) == [0, 1]
    assert len(order) == 8
    assert set(order[2:]) == {-1, -2}


def test_values_out_of_range():
    with pytest.raises(OptionError, match="has no rows"):
        MixtureSampler([])
    with pytest.raises(OptionError, match="`multiple` 1 or more"):
        MixtureSampler([0], multiple=0)


def mixture():
    one = datasets.Dataset.from_dict({"id": ["a", "b"], "source": ["ptbxl"] * 2})
    two = datasets.Dataset.from_dict({"id": ["c", "d", "e"], "source": ["isic2020"] * 3})
    return datasets.concatenate_datasets([one, two])


def test_source_codes():
    codes, names = source_codes(mixture().select([4, 0, 2]))
    assert names == ["isic2020", "ptbxl"]
    assert codes.tolist() == [0, 1, 0]
    assert source_codes(mixture().select([1, 0]))[1] == ["ptbxl"]
    rows = [{"source": "b"}, {"source": "a"}, {"source": "b"}]
    assert source_codes(rows)[0].tolist() == [1, 0, 1]
    assert source_codes(mixture().remove_columns("source")) == (pytest.approx(np.zeros(5)), [""])
    with pytest.raises(SchemaError, match="row 1 of the training data has no `source`"):
        source_codes(datasets.Dataset.from_dict({"source": ["x", None]}))
    assert source_codes(datasets.Dataset.from_dict({"source": ["x", None]}).select([0]))[1] == ["x"]


def test_indexed_rows():
    rows = IndexedRows(mixture())
    assert len(rows) == 5
    assert rows[3] == {"id": "d", "source": "isic2020", "row_index": 3}
    assert [row["id"] for row in rows.__getitems__([4, -1, 0, -5])] == ["e", "a", "a", "e"]
    assert [row["row_index"] for row in rows.__getitems__([4, -1, 0, -5])] == [4, -1, 0, -5]


def test_indexed_rows_read_signals_as_arrays():
    features = datasets.Features({"id": datasets.Value("string"), "signal": datasets.Array2D((None, 2), "float32")})
    signals = [np.full((length, 2), length, dtype="float32") for length in (3, 0, 2)]
    dataset = datasets.Dataset.from_dict({"id": list("abc"), "signal": signals}, features=features)
    rows = IndexedRows(dataset.select([2, 1, 0])).__getitems__([0, -3, 1])
    assert [row["id"] for row in rows] == ["c", "a", "b"]
    assert [row["signal"].shape for row in rows] == [(2, 2), (3, 2), (0, 2)]
    assert all(row["signal"].dtype == np.float32 for row in rows)
    np.testing.assert_array_equal(rows[1]["signal"], signals[0])
    transformed = dataset.with_transform(lambda batch: {"id": batch["id"], "n": [len(s) for s in batch["signal"]]})
    assert IndexedRows(transformed)[0] == {"id": "a", "n": 3, "row_index": 0}


def test_numbers_of_the_draws():
    sampler = MixtureSampler(CODES, "balanced", seed=9, numbered=True, multiple=8)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    assert [row for row, _ in first] == sampler.order(0).tolist()
    assert [draw for _, draw in first] == list(range(56))  # 52 rows and 4 stand-ins
    assert [draw for _, draw in second][:52] == list(range(52, 104))
    rows = IndexedRows(mixture()).__getitems__([(2, 7), (-1, 8)])
    assert [(row["id"], row["row_index"], row["draw"]) for row in rows] == [("c", 2, 7), ("a", -1, 8)]

    class Uses:
        uses_draws = True

        def __call__(self, rows):
            return {"draws": [row["draw"] for row in rows]}

    assert RowIndexCollator(Uses())(rows)["draws"] == [7, 8]
    assert RowIndexCollator(lambda rows: {"keys": sorted(rows[0])})(rows)["keys"] == ["id", "source"]


def test_row_index_passes_by_the_collator():
    def inner(rows):
        assert all("row_index" not in row for row in rows)
        return {"ids": [row["id"] for row in rows]}

    loader = DataLoader(IndexedRows(mixture()), batch_size=3, collate_fn=RowIndexCollator(inner))
    batches = list(loader)
    assert [batch["ids"] for batch in batches] == [["a", "b", "c"], ["d", "e"]]
    assert torch.cat([batch["row_index"] for batch in batches]).tolist() == [0, 1, 2, 3, 4]
    assert RowIndexCollator(inner)([{"id": "x"}]) == {"ids": ["x"]}
