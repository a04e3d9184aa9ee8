"""The fields of a signal feature extractor, their check, and nothing that computes."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from climb_hf.errors import OptionError
from climb_hf.processing.signal_steps import NORMALIZATIONS

__all__ = ["SignalOptions", "checked_options"]


class SignalOptions(TypedDict, total=False):
    """The fields of a signal feature extractor; `SignalFeatureExtractor` says what they do."""

    channels: Sequence[str]
    input_channels: Sequence[str]
    sampling_rate: float | None
    resample_method: str
    bandpass: Sequence[float] | None
    filter_order: int
    length: int | None
    crop: str
    padding: str
    min_length: int
    normalization: str
    missing_channels: str
    extra_channels: str
    drop_zero_start: int
    padding_side: str
    padding_value: float
    return_channel_mask: bool
    return_attention_mask: bool


_CHOICES = {
    "resample_method": ("polyphase", "fft"),
    "crop": ("start", "center", "random", "error"),
    "padding": ("constant", "error"),
    "normalization": NORMALIZATIONS,
    "missing_channels": ("mask", "error"),
    "extra_channels": ("ignore", "error"),
    "padding_side": ("right", "left"),
    "return_channel_mask": (True, False),
    "return_attention_mask": (True, False),
}
_LEAST = {"length": 1, "min_length": 1, "filter_order": 1, "drop_zero_start": 0}


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields in the form in which they are saved.

    Args:
        options (`Mapping`): all fields of `SignalOptions`.

    Returns:
        `dict`: the same with lists for sequences and plain numbers.

    Raises:
        OptionError: a value that is not allowed, with what is.
    """
    found = dict(options)
    for name, allowed in _CHOICES.items():
        if not any(found[name] is value or found[name] == value for value in allowed):
            raise OptionError(f"`{name}` must be one of {allowed}, but is {found[name]!r}.")
    for name, least in _LEAST.items():
        value = found[name]
        if value is None and name == "length":
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise OptionError(f"`{name}` must be a whole number of at least {least}, but is {value!r}.")
        found[name] = int(value)
    for name in ("channels", "input_channels"):
        found[name] = _names(name, found[name])
    found["padding_value"] = _number("padding_value", found["padding_value"])
    rate = found["sampling_rate"]
    if rate is not None and not _number("sampling_rate", rate) > 0:
        raise OptionError(f"`sampling_rate` must be above 0 Hz, or absent to keep each signal's, but is {rate!r}.")
    found["sampling_rate"] = None if rate is None else float(rate)
    found["bandpass"] = _band(found["bandpass"], found["sampling_rate"])
    if found["length"] is not None and found["min_length"] > found["length"]:
        raise OptionError(f"`min_length` ({found['min_length']}) must not exceed `length` ({found['length']}).")
    return found


def _names(field: str, value: Any) -> list[str]:  # noqa: ANN401 - any value of a file
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    if not is_list or not value or not all(isinstance(name, str) and name.strip() for name in value):
        raise OptionError(f"`{field}` must be a list of channel names, but is {value!r}.")
    return list(value)


def _number(field: str, value: Any) -> float:  # noqa: ANN401 - any value of a file
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not np.isfinite(value):
        raise OptionError(f"`{field}` must be a finite number, but is {value!r}.")
    return float(value)


def _band(value: Any, rate: float | None) -> list[float] | None:  # noqa: ANN401 - any value of a file
    if value is None:
        return None
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise OptionError(f"`bandpass` must be (low, high) in Hz, or absent, but is {value!r}.")
    low, high = (_number("bandpass", edge) for edge in value)
    top = "" if rate is None else f" < {rate / 2:g} (half the sampling rate)"
    if not 0 < low < high or (rate is not None and high >= rate / 2):
        raise OptionError(f"`bandpass` must be (low, high) in Hz with 0 < low < high{top}, but is {value!r}.")
    return [low, high]
