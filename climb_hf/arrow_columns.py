"""Columns that a source hands out as Arrow: written as they are, without a Python object per value.

`datasets` encodes every example through Python lists, which costs a row of 60,000 genes 120,000 objects. Its
`ArrowWriter` already concatenates columns whose values are Arrow arrays of length 1; only `Features.encode_example`
stands before it. `ArrowFeatures` leaves such values alone and encodes the others as usual, so a source may return a
one-element `pyarrow.Array` of the column's own type from `read` wherever that is what it has.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from datasets import DatasetInfo, Features

__all__ = ["ArrowFeatures", "arrow_values_kept", "plain_values"]


class ArrowFeatures(Features):
    """Features whose `encode_example` passes one-element Arrow arrays on untouched.

    Example:
        >>> from datasets import List, Value
        >>> features = ArrowFeatures({"id": Value("string"), "genes": List(Value("string"))})
        >>> features.encode_example({"id": 7, "genes": pa.array([["a", "b"]])})["genes"].to_pylist()
        [['a', 'b']]
    """

    def encode_example(self, example: dict[str, Any]) -> dict[str, Any]:
        """Encode one example.

        Args:
            example (`dict`): values by column name.

        Returns:
            `dict`: the same columns; Arrow arrays are the objects that came in.
        """
        ready = {name: value for name, value in example.items() if isinstance(value, pa.Array)}
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


def plain_values(example: dict[str, Any]) -> dict[str, Any]:
    """Return an example with its Arrow values as Python ones, which is what streaming hands out.

    Args:
        example (`dict`): values by column name.

    Returns:
        `dict`: a new dictionary.

    Example:
        >>> plain_values({"genes": pa.array([["a", "b"]]), "age": 61})
        {'genes': ['a', 'b'], 'age': 61}
    """
    return {name: value[0].as_py() if isinstance(value, pa.Array) else value for name, value in example.items()}
