"""Bipolar derivations of scalp EEG from recordings against a common reference, found by electrode name.

Publishers write the same electrode as `EEG FP1-REF`, `EEG Fp1-LE`, `Fp1` or `POL Fp1`, and the temporal electrodes by
their old (T3, T4, T5, T6) or new names (T7, T8, P7, P8) of the 10-20 system. Position in a file says nothing.
"""

import itertools
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.readers.edf import EdfHeader, EdfSignal, read_edf, read_edf_header

__all__ = ["BIPOLAR_16", "TCP_22", "bipolar_rate", "electrode", "pair_channels", "read_bipolar"]

#: The sixteen derivations of the EEG sources, in the order of the signal column.
BIPOLAR_16 = (
    "FP1-F7", "F7-T7", "T7-P7", "P7-O1", "FP2-F8", "F8-T8", "T8-P8", "P8-O2",
    "FP1-F3", "F3-C3", "C3-P3", "P3-O1", "FP2-F4", "F4-C4", "C4-P4", "P4-O2",
)  # fmt: skip
#: The 22 derivations by which Temple University's annotations count channels, with the names of its documents.
TCP_22 = (
    "FP1-F7", "F7-T3", "T3-T5", "T5-O1", "FP2-F8", "F8-T4", "T4-T6", "T6-O2", "A1-T3", "T3-C3", "C3-CZ", "CZ-C4",
    "C4-T4", "T4-A2", "FP1-F3", "F3-C3", "C3-P3", "P3-O1", "FP2-F4", "F4-C4", "C4-P4", "P4-O2",
)  # fmt: skip
_NEW_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
_LABEL = re.compile(r"(?:(?:EEG|POL)[ _]+)?([A-Z]{1,3}\d{0,2})(?:-(REF|LE|AR|AVG))?")


def electrode(label: str) -> tuple[str, str] | None:
    """Read a channel label as electrode and reference.

    Args:
        label (`str`): such as `"EEG T3-REF"`.

    Returns:
        The upper-case 10-20 name of the electrode, in its newer form, and the reference (`""` where none is named);
        `None` for a label of another form, such as a derivation.

    Example:
        >>> electrode("EEG T3-REF"), electrode("Fp1"), electrode("EEG FP1-F7")
        (('T7', 'REF'), ('FP1', ''), None)
    """
    match = _LABEL.fullmatch(label.strip().upper())
    return (_NEW_NAMES.get(match[1], match[1]), match[2] or "") if match else None


@lru_cache(maxsize=256)
def pair_channels(
    names: tuple[str, ...], derivations: tuple[str, ...] = BIPOLAR_16
) -> tuple[tuple[str, str] | None, ...]:
    """Find the two channels of every derivation.

    Args:
        names (`tuple[str, ...]`): channel labels of a recording.
        derivations (`tuple[str, ...]`, *optional*, defaults to the sixteen of the EEG sources): such as `"FP1-F7"`.

    Returns:
        For each derivation the labels of its electrodes, both against the same reference; `None` where one is missing.

    Raises:
        CorruptFileError: two channels of one reference are the same electrode.

    Example:
        >>> pair_channels(("EEG T3-REF", "EEG F7-REF", "EEG FP1-LE"), ("F7-T7", "FP1-F7"))
        (('EEG F7-REF', 'EEG T3-REF'), None)
    """
    by_reference: dict[str, dict[str, list[str]]] = {}
    for name in names:
        if found := electrode(name):
            by_reference.setdefault(found[1], {}).setdefault(found[0], []).append(name)
    pairs: list[tuple[str, str] | None] = []
    for derivation in derivations:
        wanted = [found[0] if (found := electrode(part)) else part for part in derivation.split("-")]
        fitting = (named for named in by_reference.values() if all(place in named for place in wanted))
        labels = [named[place] for named in itertools.islice(fitting, 1) for place in wanted]
        for several in (several for several in labels if len(several) > 1):
            raise CorruptFileError(f"channels {several} are the same electrode. Leave the file out.")
        pairs.append((labels[0][0], labels[1][0]) if labels else None)
    return tuple(pairs)


def bipolar_rate(header: EdfHeader, derivations: tuple[str, ...] = BIPOLAR_16) -> float:
    """Return the sampling rate of the electrodes of the derivations, from the header alone.

    Args:
        header (`EdfHeader`): header of a recording.
        derivations (`tuple[str, ...]`, *optional*, defaults to the sixteen of the EEG sources): such as `"FP1-F7"`.

    Returns:
        `float`: Hz.

    Raises:
        CorruptFileError: not one derivation has both of its electrodes, or an electrode stands twice.
    """
    pairs = _pairs(header, derivations)
    label = next((pair[0] for pair in pairs if pair is not None), None)
    for channel in header.channels:
        if channel.name == label:
            return header.sampling_rate(channel)
    raise _missing(header, derivations)


def read_bipolar(
    path: str | os.PathLike[str],
    *,
    derivations: Sequence[str] = BIPOLAR_16,
    start: int = 0,
    stop: int | None = None,
    missing: Literal["raise", "nan"] = "raise",
) -> EdfSignal:
    """Read bipolar derivations of an EDF recording, or a part of them, in µV.

    Args:
        path (`str` or `os.PathLike`): an EDF file whose channels stand against a common reference.
        derivations (`Sequence[str]`, *optional*, defaults to the sixteen of the EEG sources): such as `"FP1-F7"`.
        start (`int`, *optional*, defaults to `0`): first sample, at the rate of the electrodes.
        stop (`int`, *optional*): one past the last sample; default: the end of the recording.
        missing (`str`, *optional*, defaults to `"raise"`): what a derivation with a missing electrode gives: an error,
            or a channel of NaN (`"nan"`).

    Returns:
        [`EdfSignal`]: `signal` (time, derivations) float32, µV; first electrode minus second.

    Raises:
        CorruptFileError: as `read_edf`; an electrode is missing (all are, with `missing="nan"`) or stands twice.
        OptionError: `start`, `stop` or `missing` is not possible.
    """
    if missing not in ("raise", "nan"):
        raise OptionError(f"expected `missing` to be 'raise' or 'nan', found {missing!r}.")
    header = read_edf_header(path)
    pairs = _pairs(header, tuple(derivations))
    absent = [name for name, pair in zip(derivations, pairs, strict=True) if pair is None]
    if absent and (missing == "raise" or len(absent) == len(pairs)):
        raise _missing(header, absent)
    present = [pair for pair in pairs if pair is not None]
    labels = list(dict.fromkeys(label for pair in present for label in pair))
    read = read_edf(header.path, channels=labels, start=start, stop=stop)
    column = {label: i for i, label in enumerate(labels)}
    plus, minus = ([column[pair[side]] for pair in present] for side in (0, 1))
    difference = read.signal.take(plus, axis=1) - read.signal.take(minus, axis=1)
    if absent:
        signal = np.full((len(difference), len(pairs)), np.nan, np.float32)
        signal[:, [i for i, pair in enumerate(pairs) if pair is not None]] = difference
        difference = signal
    return EdfSignal(difference, read.sampling_rate, tuple(derivations), "uV", header)


def _pairs(header: EdfHeader, derivations: tuple[str, ...]) -> tuple[tuple[str, str] | None, ...]:
    try:
        return pair_channels(header.channel_names, derivations)
    except CorruptFileError as error:
        raise CorruptFileError(f"`{header.path}`: {error}") from error


def _missing(header: EdfHeader, derivations: Sequence[str]) -> CorruptFileError:
    return CorruptFileError(
        f"`{header.path}`: an electrode of {', '.join(derivations)} is missing; the file has "
        f"{', '.join(header.channel_names)}. Leave the file out, or have such derivations filled with NaN "
        '(`missing="nan"`).'
    )
