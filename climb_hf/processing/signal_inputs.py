"""What may be given to a signal feature extractor, brought to one form: (time, channels) arrays with their rates."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from climb_hf.errors import SchemaError

__all__ = ["RawSignal", "read_signals", "recorded_part"]


@dataclass(slots=True)
class RawSignal:
    """One signal as it was given.

    Args:
        values (`np.ndarray`): (time, channels), of the dtype it was given in.
        rate (`float`): sampling rate in Hz.
        name (`str`): what errors call it.
    """

    values: np.ndarray
    rate: float
    name: str


def read_signals(raw: Any, sampling_rate: Any = None) -> list[RawSignal]:  # noqa: ANN401 - many kinds, see below
    """Return the signals of one example or of a batch.

    Args:
        raw: an example of a dataset (`signal`, `sampling_rate`), a list of them, a slice of a dataset (columns of
            lists), or without a dictionary: one (time, channels) array, a list of such arrays of any lengths, or one
            (batch, time, channels) array. Arrays may be NumPy's, torch's, or nested lists.
        sampling_rate (`float` or `Sequence[float]`, *optional*): rate in Hz, or one per signal; required where the
            examples do not say it.

    Returns:
        `list[RawSignal]`: at least one.

    Raises:
        SchemaError: no signal, a wrong number of dimensions, a rate that is missing, contradictory or not positive.

    Example:
        >>> read_signals({"signal": np.zeros((5, 2), "float32"), "sampling_rate": 10.0})[0].values.shape
        (5, 2)
    """
    rows = _rows(raw)
    if not rows:
        raise SchemaError("no signal was given. Pass one example, or a list with at least one.")
    rates = _per_row(sampling_rate, len(rows))
    return [_read(row, rate, position) for position, (row, rate) in enumerate(zip(rows, rates, strict=True))]


def recorded_part(values: np.ndarray, name: str) -> np.ndarray:
    """Return a signal without the end at which no channel was recorded: NaN stands for that in our datasets.

    Args:
        values (`np.ndarray`): (time, channels), floats, at least one sample.
        name (`str`): what errors call it.

    Returns:
        `np.ndarray`: (time or less, channels), a view.

    Raises:
        SchemaError: NaN throughout.

    Example:
        >>> recorded_part(np.array([[1.0, np.nan], [2.0, 3.0], [np.nan, np.nan]]), "x").shape
        (2, 2)
    """
    if not math.isnan(values[-1, 0]):
        return values
    recorded = np.flatnonzero(~np.isnan(values).all(axis=1))
    if not recorded.size:
        raise SchemaError(f"{name} is NaN throughout. Leave such records out (`is_usable`).")
    return values[: recorded[-1] + 1]


def _rows(raw: Any) -> list[Any]:  # noqa: ANN401 - see read_signals
    """Split what was given into signals: dictionaries or arrays."""
    if isinstance(raw, Mapping):
        if "signal" not in raw:
            raise SchemaError(f"an example needs the key `signal`, found {sorted(raw)}; rename the signal's column.")
        if _depth(raw["signal"]) < 3:
            return [raw]
        keys = [key for key in ("signal", "sampling_rate", "id", "source") if raw.get(key) is not None]
        rates = raw.get("sampling_rate")
        if rates is not None and np.ndim(rates) == 0:
            raw = {**raw, "sampling_rate": [rates] * len(raw["signal"])}
        return [dict(zip(keys, values, strict=True)) for values in zip(*(raw[key] for key in keys), strict=True)]
    if isinstance(raw, list | tuple) and raw and isinstance(raw[0], Mapping):
        if strangers := [position for position, row in enumerate(raw) if not isinstance(row, Mapping)]:
            raise SchemaError(f"a batch is all examples or all arrays, but {strangers[:5]} of it are no examples.")
        return list(raw)
    if isinstance(raw, list | tuple) and not raw:
        return []
    depth = _depth(raw)
    if depth == 2:
        return [raw]
    if depth == 3:
        return list(raw)
    raise SchemaError(
        f"a signal has the axes (time, channels), a batch (batch, time, channels), but {depth} axes were found. "
        "Give a single channel as (time, 1)."
    )


def _depth(value: Any) -> int:  # noqa: ANN401 - array or nested list
    """Number of axes; the first element speaks for a list."""
    if hasattr(value, "ndim") and value.dtype != object:  # ragged columns come as arrays of arrays
        return int(value.ndim)
    if not isinstance(value, list | tuple | np.ndarray):
        return 0
    return 1 + (_depth(value[0]) if len(value) else 1)  # an absent signal is an empty list of time steps


def _per_row(sampling_rate: Any, count: int) -> Sequence[Any]:  # noqa: ANN401 - number or numbers
    if sampling_rate is None or np.ndim(sampling_rate) == 0:
        return [sampling_rate] * count
    if len(sampling_rate) != count:
        raise SchemaError(
            f"`sampling_rate` holds {len(sampling_rate)} rates for {count} signals; pass one, or one each."
        )
    return list(sampling_rate)


def _read(row: Any, rate: Any, position: int) -> RawSignal:  # noqa: ANN401 - example or array; number
    name = f"signal {position} of the batch"
    if isinstance(row, Mapping):
        if "signal" not in row:
            raise SchemaError(f"an example needs the key `signal`, found {sorted(row)}; rename the signal's column.")
        if row.get("id") is not None:
            name = f"record `{row['id']}`" + (f" of `{row['source']}`" if row.get("source") else "")
        stated = row.get("sampling_rate")
        if stated is not None and rate is not None and not np.isclose(float(stated), float(rate), rtol=1e-6):
            raise SchemaError(
                f"{name}: its `sampling_rate` is {float(stated):g} Hz, but {float(rate):g} Hz was passed. Leave the "
                "argument away, or resample first."
            )
        row, rate = row["signal"], rate if stated is None else stated
    if rate is None:
        raise SchemaError(
            f"{name}: the sampling rate is not known, and none is assumed. Pass `sampling_rate=` in Hz, or examples "
            "with the key `sampling_rate`."
        )
    rate = float(rate)
    if not 0 < rate < float("inf"):
        raise SchemaError(f"{name}: `sampling_rate` must be a number of Hz above 0, found {rate}.")
    return RawSignal(_array(row, name), rate, name)


def _array(value: Any, name: str) -> np.ndarray:  # noqa: ANN401 - array or nested list
    if not isinstance(value, np.ndarray):
        value = value.detach().cpu().numpy() if hasattr(value, "detach") else _from_lists(value, name)
    if value.size == 0:
        raise SchemaError(f"{name} has no samples: its signal is absent. Leave such records out (`is_usable`).")
    if value.ndim != 2:
        raise SchemaError(f"{name} must be (time, channels), but its shape is {value.shape}.")
    if value.dtype.kind not in "fiu":
        raise SchemaError(f"{name} must hold real numbers, but its dtype is {value.dtype}.")
    return value


def _from_lists(value: Any, name: str) -> np.ndarray:  # noqa: ANN401 - nested lists
    try:
        return np.asarray(value)
    except ValueError as error:
        raise SchemaError(f"{name}: rows of unequal length are no (time, channels) signal ({error}).") from error
