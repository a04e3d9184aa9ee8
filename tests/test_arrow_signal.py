"""Signals read from Arrow storage equal the arrays that were written, through every kind of table."""

import pickle

import datasets
import numpy as np
import pyarrow as pa
import pytest
from datasets import Array2D, Dataset, Features, Value

from climb_hf.errors import SchemaError
from climb_hf.processing.arrow_signal import SignalReader, signal_batch, signal_rows

CHANNELS = 3
FEATURES = Features({"id": Value("string"), "signal": Array2D((None, CHANNELS), "float32")})


def make_signals(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((length, CHANNELS)).astype("float32") for length in lengths]


def make_dataset(signals, prefix="r"):
    ids = [f"{prefix}{position}" for position in range(len(signals))]
    return Dataset.from_dict({"id": ids, "signal": signals}, features=FEATURES)


def assert_rows(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one, other)


def test_rows_are_exact_in_any_order_with_repeats():
    signals = make_signals([4, 7, 1, 5])
    order = [3, 0, 0, 2, 1, -1]
    assert_rows(signal_rows(make_dataset(signals), order), [signals[index] for index in order])


def test_rows_are_views_of_the_storage():
    row = signal_rows(make_dataset(make_signals([6])), [0])[0]
    assert row.base is not None
    assert not row.flags.writeable


def test_index_mappings_and_chunks():
    signals = make_signals([3, 5, 2, 4, 6, 1, 2])
    joined = datasets.concatenate_datasets([make_dataset(signals[:3]), make_dataset(signals[3:])])
    assert joined.data.column("signal").num_chunks == 2
    assert_rows(signal_rows(joined, [6, 0, 3]), [signals[6], signals[0], signals[3]])
    chosen = joined.select([5, 2, 4, 0])
    assert_rows(signal_rows(chosen, [0, 1, 2, 3]), [signals[5], signals[2], signals[4], signals[0]])
    assert_rows(signal_rows(chosen.select([3, 1]), [1, 0]), [signals[2], signals[0]])
    sliced = joined.select(range(2, 6))
    assert_rows(signal_rows(sliced, [0, 3]), [signals[2], signals[5]])


def test_saved_and_memory_mapped(tmp_path):
    signals = make_signals([3, 0, 5])
    make_dataset(signals).save_to_disk(tmp_path / "ds")
    assert_rows(signal_rows(datasets.load_from_disk(tmp_path / "ds"), [2, 1, 0]), [signals[2], signals[1], signals[0]])


def test_empty_and_null_rows_have_no_time_steps():
    signals = make_signals([2, 0, 3])
    rows = signal_rows(make_dataset([signals[0], signals[1], None, signals[2]]), [2, 1, 3, 0])
    assert [row.shape for row in rows] == [(0, CHANNELS), (0, CHANNELS), (3, CHANNELS), (2, CHANNELS)]
    np.testing.assert_array_equal(rows[2], signals[2])
    assert signal_rows(make_dataset(signals), []) == []


def test_nan_samples_stay():
    signals = make_signals([4])
    signals[0][1, 2] = np.nan
    np.testing.assert_array_equal(signal_rows(make_dataset(signals), [0])[0], signals[0])


def test_batch_pads_and_cuts():
    signals = make_signals([2, 4, 0])
    reader = SignalReader(make_dataset(signals))
    batch, lengths = reader.batch([0, 1, 2])
    assert batch.shape == (3, 4, CHANNELS)
    assert lengths.tolist() == [2, 4, 0]
    np.testing.assert_array_equal(batch[0, :2], signals[0])
    np.testing.assert_array_equal(batch[1], signals[1])
    assert not batch[0, 2:].any()
    assert not batch[2].any()
    cut, lengths = reader.batch([1, 0], length=3)
    np.testing.assert_array_equal(cut[0], signals[1][:3])
    assert lengths.tolist() == [3, 2]
    assert signal_batch(make_dataset(signals), [1]).flags.writeable
    assert signal_batch(make_dataset(signals), []).shape == (0, 0, CHANNELS)


def test_equal_to_the_format_of_datasets():
    signals = make_signals([8] * 5)
    dataset = make_dataset(signals)
    theirs = dataset.with_format("numpy")[[4, 2, 0]]["signal"]
    np.testing.assert_array_equal(signal_batch(dataset, [4, 2, 0]), theirs)


def test_fixed_shape_and_other_widths():
    features = Features({"signal": Array2D((2, CHANNELS), "float64")})
    values = np.arange(12, dtype="float64").reshape(2, 2, CHANNELS)
    dataset = Dataset.from_dict({"signal": list(values)}, features=features)
    assert_rows(signal_rows(dataset, [1, 0]), [values[1].astype("float32"), values[0].astype("float32")])


def test_wrong_columns_are_refused():
    dataset = make_dataset(make_signals([2]))
    with pytest.raises(SchemaError, match="Name the signal column with `column=`"):
        SignalReader(dataset, "ecg")
    with pytest.raises(SchemaError, match="must be an `Array2D"):
        SignalReader(dataset, "id")


def test_indices_outside_the_dataset():
    reader = SignalReader(make_dataset(make_signals([2, 3])))
    with pytest.raises(IndexError, match=r"must lie in \[-2, 2\)"):
        reader.rows([0, 2])
    with pytest.raises(IndexError, match="must lie in"):
        reader.rows([-3])


def test_pickles_with_the_dataset(tmp_path):
    signals = make_signals([3, 2])
    make_dataset(signals).save_to_disk(tmp_path / "ds")
    reader = SignalReader(datasets.load_from_disk(tmp_path / "ds").select([1, 0]))
    reader.rows([0])
    assert_rows(pickle.loads(pickle.dumps(reader)).rows([0, 1]), [signals[1], signals[0]])


def test_row_that_contradicts_the_channels():
    reader = SignalReader(make_dataset(make_signals([2])))
    reader._chunks = [pa.array([[[1.0, 2.0], [3.0]]], type=pa.list_(pa.list_(pa.float32())))]
    with pytest.raises(SchemaError, match="holds 3 values, expected 6"):
        reader.rows([0])
