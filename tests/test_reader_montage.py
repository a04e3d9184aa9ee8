"""Bipolar derivations by electrode name, whatever the labels and their order; windows around events."""

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.miniatures._eeg import ELECTRODES, to_trace, trace_values, write_edf
from climb_hf.readers.edf import read_edf_header
from climb_hf.readers.montage import BIPOLAR_16, TCP_22, bipolar_rate, electrode, pair_channels, read_bipolar
from climb_hf.readers.tuh import read_event

RATE, SECONDS = 50, 8
RANDOM = np.random.default_rng(3)
VALUES = {name: RANDOM.normal(0, 100, RATE * SECONDS) for name in ELECTRODES}
OLD = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}


def write(path, form="EEG {}-REF", order=ELECTRODES):
    traces = {name: to_trace(form.format(name), VALUES[name], RATE) for name in order}
    write_edf(path, list(traces.values()), "X F X X Age:3")
    return {name: trace_values(trace) for name, trace in traces.items()}


def expected(stored, derivations=BIPOLAR_16):
    pairs = [[OLD.get(part, part) for part in name.split("-")] for name in derivations]
    return np.stack([stored[a] - stored[b] for a, b in pairs], axis=1)


def test_the_order_is_that_of_the_sixteen_derivations():
    assert len(BIPOLAR_16) == len(set(BIPOLAR_16)) == 16
    assert [BIPOLAR_16[i] for i in (0, 3, 4, 8, 12, 15)] == [
        "FP1-F7", "P7-O1", "FP2-F8", "FP1-F3", "FP2-F4", "P4-O2"
    ]  # fmt: skip
    assert len(TCP_22) == 22
    assert (TCP_22[8], TCP_22[13], TCP_22[21]) == ("A1-T3", "T4-A2", "P4-O2")


@pytest.mark.parametrize("form", ["EEG {}-REF", "EEG {}-LE", "{}", "POL {}", "EEG {}", "eeg {}-Ref", "EEG {}-AVG"])
def test_labels_are_read_by_name_in_any_form_and_order(tmp_path, form):
    stored = write(tmp_path / "a.edf", form, tuple(RANDOM.permutation(ELECTRODES)))
    read = read_bipolar(tmp_path / "a.edf")
    assert (read.channel_names, read.sampling_rate, read.unit) == (BIPOLAR_16, RATE, "uV")
    np.testing.assert_allclose(read.signal, expected(stored), atol=1e-3)
    part = read_bipolar(tmp_path / "a.edf", start=70, stop=133)
    np.testing.assert_array_equal(part.signal, read.signal[70:133])
    tcp = read_bipolar(tmp_path / "a.edf", derivations=TCP_22)
    np.testing.assert_allclose(tcp.signal, expected(stored, TCP_22), atol=1e-3)


def test_old_and_new_names_are_the_same_electrodes():
    assert [electrode(f"EEG {name}-REF") for name in ("T3", "T7", "t6", "P8")] == [
        ("T7", "REF"), ("T7", "REF"), ("P8", "REF"), ("P8", "REF")
    ]  # fmt: skip
    assert [electrode(label) for label in ("EEG FP1-F7", "IBI-1", "PHOTIC-REF", "EEG 26-REF", "")] == [None] * 5
    assert pair_channels(("F7", "T7"), ("F7-T3",)) == (("F7", "T7"),)


def test_electrodes_of_different_references_are_never_subtracted():
    assert pair_channels(("EEG FP1-REF", "EEG F7-LE"), ("FP1-F7",)) == (None,)
    names = ("EEG FP1-LE", "EEG FP1-REF", "EEG F7-REF")
    assert pair_channels(names, ("FP1-F7",)) == (("EEG FP1-REF", "EEG F7-REF"),)


def test_a_missing_electrode_is_refused_or_gives_nan(tmp_path):
    stored = write(tmp_path / "a.edf", order=[name for name in ELECTRODES if name != "T3"])
    with pytest.raises(CorruptFileError, match=r'F7-T7, T7-P7 is missing; the file has .*missing="nan"'):
        read_bipolar(tmp_path / "a.edf")
    read = read_bipolar(tmp_path / "a.edf", missing="nan")
    assert np.flatnonzero(np.isnan(read.signal).all(axis=0)).tolist() == [1, 2]
    np.testing.assert_allclose(read.signal[:, 3:], expected({**stored, "T3": VALUES["T3"]})[:, 3:], atol=1e-3)
    write(tmp_path / "b.edf", order=["FP1", "CZ"])
    for missing in ("raise", "nan"):
        with pytest.raises(CorruptFileError, match="is missing"):
            read_bipolar(tmp_path / "b.edf", missing=missing)
    with pytest.raises(CorruptFileError, match="is missing"):
        bipolar_rate(read_edf_header(tmp_path / "b.edf"))
    with pytest.raises(OptionError, match="`missing`"):
        read_bipolar(tmp_path / "a.edf", missing="zero")


def test_an_electrode_in_two_channels_is_refused_where_it_matters(tmp_path):
    traces = [to_trace(f"EEG {name}-REF", VALUES[name], RATE) for name in (*ELECTRODES, "A1")]
    write_edf(tmp_path / "a.edf", traces, "X")
    assert read_bipolar(tmp_path / "a.edf").signal.shape == (RATE * SECONDS, 16)
    traces += [to_trace("EEG T7-REF", VALUES["T3"], RATE)]
    write_edf(tmp_path / "b.edf", traces, "X")
    with pytest.raises(CorruptFileError, match=r"b\.edf`: channels \['EEG T3-REF', 'EEG T7-REF'\] are the same"):
        read_bipolar(tmp_path / "b.edf")


def window_of_biot(signal, start, stop, rate):
    """The window as the earlier code cut it: three copies in a row, two seconds on both sides of the event."""
    times = np.arange(len(signal)) / rate
    first, last = (np.where(times >= second)[0][0] for second in (start, stop))
    tripled = np.concatenate([signal] * 3)
    return tripled[len(signal) + first - 2 * rate : len(signal) + last + 2 * rate]


@pytest.mark.parametrize("start", [0.0, 0.2, 0.4, 1.9, 2.0, 2.34, 3.1, 5.0, 5.02, 6.4, 6.9])
def test_event_windows_equal_the_earlier_codes_and_wrap_around(tmp_path, start):
    stored = write(tmp_path / "a.edf")
    read = read_event(tmp_path / "a.edf", start, start + 1)
    assert read.signal.shape == (5 * RATE, 16)
    np.testing.assert_allclose(read.signal, window_of_biot(expected(stored), start, start + 1, RATE), atol=1e-3)


def test_events_of_other_lengths_are_centred_and_short_recordings_repeat(tmp_path):
    stored = expected(write(tmp_path / "a.edf"))
    read = read_event(tmp_path / "a.edf", 3.0, 5.0).signal  # centre 4 s
    np.testing.assert_allclose(read, stored[75:325], atol=1e-3)
    at_end = read_event(tmp_path / "a.edf", 7.0, 8.0).signal
    np.testing.assert_allclose(at_end, np.concatenate([stored[250:], stored[:100]]), atol=1e-3)
    long = read_event(tmp_path / "a.edf", 3.0, 4.0, seconds=20).signal
    np.testing.assert_allclose(long, stored[np.arange(-325, 675) % 400], atol=1e-3)
