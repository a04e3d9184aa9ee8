"""State dictionaries of reference implementations, made from names and shapes alone, to test converters without them.

The rule: every floating tensor is drawn from a generator seeded with the CRC-32 of its full reference name; names and
shapes alone tell the numbers.
"""

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

KEPT = ("pe", "pos_embed")  # tables that are computed, not drawn


def drawn(name: str, shape: Sequence[int]) -> Tensor:
    """Return the float32 tensor that the rule gives for a reference name."""
    values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(shape))
    if name.endswith("running_var"):
        values = 1 + 0.1 * np.abs(values)
    elif len(shape) >= 2:
        values = values / math.sqrt(math.prod(shape[1:]))
    elif name.endswith("weight"):
        values = 1 + 0.1 * values
    else:
        values = 0.1 * values
    return torch.tensor(np.asarray(values), dtype=torch.float32).reshape(tuple(shape))


def reference_state(
    shapes: Mapping[str, Sequence[int]], kept: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Fill a state dictionary of the reference's names; `kept` gives its computed tables and its integers."""
    kept = dict(kept or {})
    assert all(name.rpartition(".")[2] not in KEPT for name in shapes), "computed tables belong in `kept`"
    return {**{name: drawn(name, shape) for name, shape in shapes.items()}, **kept}


def reference_input(*shape: int) -> Tensor:
    """The input of every fingerprint: `RandomState(0).standard_normal(shape)` as float32."""
    return torch.tensor(np.random.RandomState(0).standard_normal(shape), dtype=torch.float32)


def assert_fingerprint(
    output: Tensor,
    first: Sequence[float],
    *,
    mean: float | None = None,
    std: float | None = None,
    rtol: float = 1e-4,
) -> None:
    """Compare the first values of the flattened output, and its mean and sample standard deviation, with a record."""
    flat = output.detach().double().flatten()
    np.testing.assert_allclose(flat[: len(first)].numpy(), first, rtol=rtol)
    if mean is not None:
        np.testing.assert_allclose(flat.mean().item(), mean, rtol=rtol)
    if std is not None:
        np.testing.assert_allclose(flat.std().item(), std, rtol=rtol)
