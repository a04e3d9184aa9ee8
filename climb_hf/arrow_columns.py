"""Columns that a source hands out as arrays: written as they are, without a Python object per value.

`datasets` encodes every example through Python lists, which costs a row of 60,000 genes 120,000 objects and a dense
graph of 360 nodes as many. Its `ArrowWriter` already concatenates columns whose values are Arrow arrays of length 1;
only `Features.encode_example` stands before it. `ArrowFeatures` leaves such values alone and encodes the others as
usual, so a source may return from `read` a one-element `pyarrow.Array` of the column's own type, or, for a list of
lists of numbers, a NumPy matrix.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import DatasetInfo, Features, List, Value

__all__ = ["ArrowFeatures", "arrow_values_kept", "nested_array", "nests_numbers", "plain_values"]


def nests_numbers(feature: Any) -> bool:  # noqa: ANN401 - any feature of datasets
    """Tell whether a feature is a list of lists of numbers, such as `edge_index`.

    Args:
        feature: a feature of `datasets`.

    Returns:
        `bool`

    Example:
        >>> nests_numbers(List(List(Value("int64")))), nests_numbers(List(Value("int64")))
        (True, False)
    """
    inner = feature.feature if isinstance(feature, List) else None
    leaf = inner.feature if isinstance(inner, List) else None
    return isinstance(leaf, Value) and (pa.types.is_integer(leaf.pa_type) or pa.types.is_floating(leaf.pa_type))


def nested_array(values: np.ndarray, leaf: pa.DataType) -> pa.ListArray:
    """Return a matrix as an Arrow array of one row, a list of lists.

    Args:
        values (`np.ndarray`): (rows, columns) numbers.
        leaf (`pa.DataType`): type of the stored numbers.

    Returns:
        `pa.ListArray`: of length 1.

    Example:
        >>> nested_array(np.array([[1, 2], [3, 4]]), pa.int64()).to_pylist()
        [[[1, 2], [3, 4]]]
    """
    n_rows, n_columns = values.shape
    flat = pa.array(np.ascontiguousarray(values, dtype=leaf.to_pandas_dtype()).reshape(-1), type=leaf)
    rows = pa.ListArray.from_arrays(pa.array(np.arange(n_rows + 1, dtype=np.int32) * np.int32(n_columns)), flat)
    return pa.ListArray.from_arrays(pa.array([0, n_rows], type=pa.int32()), rows)


def _ready(value: Any, feature: Any) -> pa.Array | None:  # noqa: ANN401 - any value and feature
    """Return a value as the one-element array that the writer takes, or `None` where it is an ordinary value."""
    if isinstance(value, pa.Array):
        return value
    if isinstance(value, np.ndarray) and value.ndim == 2 and nests_numbers(feature):
        return nested_array(value, feature.feature.feature.pa_type)
    return None


class ArrowFeatures(Features):
    """Features whose `encode_example` passes one-element Arrow arrays on, and makes matrices such arrays.

    Example:
        >>> from datasets import List, Value
        >>> features = ArrowFeatures({"id": Value("string"), "genes": List(Value("string"))})
        >>> features.encode_example({"id": 7, "genes": pa.array([["a", "b"]])})["genes"].to_pylist()
        [['a', 'b']]
        >>> features = ArrowFeatures({"edge_index": List(List(Value("int64")))})
        >>> features.encode_example({"edge_index": np.array([[0, 1], [1, 0]])})["edge_index"].to_pylist()
        [[[0, 1], [1, 0]]]
    """

    def encode_example(self, example: dict[str, Any]) -> dict[str, Any]:
        """Encode one example.

        Args:
            example (`dict`): values by column name.

        Returns:
            `dict`: the same columns; Arrow arrays are the objects that came in.
        """
        found = {name: _ready(value, self.get(name)) for name, value in example.items()}
        ready = {name: value for name, value in found.items() if value is not None}
        if not ready:
            return Features(self).encode_example(example)
        rest = Features({name: feature for name, feature in self.items() if name not in ready})
        return {**rest.encode_example({n: v for n, v in example.items() if n not in ready}), **ready}


@contextmanager
def arrow_values_kept(info: DatasetInfo) -> Iterator[None]:
    """Let a builder write Arrow values as they are while the body runs.

    Args:
        info (`datasets.DatasetInfo`): of the builder; its features are exchanged and put back.

    Yields:
        Nothing.
    """
    plain = info.features
    info.features = plain if plain is None else ArrowFeatures(plain)
    try:
        yield
    finally:
        info.features = plain


def plain_values(example: dict[str, Any], features: Features) -> dict[str, Any]:
    """Return an example with its arrays as Python values, rounded as stored, which is what streaming hands out.

    Args:
        example (`dict`): values by column name.
        features (`Features`): of the table.

    Returns:
        `dict`: a new dictionary.

    Example:
        >>> features = Features({"genes": List(Value("string")), "age": Value("float32")})
        >>> plain_values({"genes": pa.array([["a", "b"]]), "age": 61}, features)
        {'genes': ['a', 'b'], 'age': 61}
    """
    found = {name: _ready(value, features.get(name)) for name, value in example.items()}
    return {name: example[name] if value is None else value[0].as_py() for name, value in found.items()}
