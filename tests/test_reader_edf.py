"""Reading of EDF, EDF+ and BDF: equality with MNE, segments, damage, discontinuous recordings."""

import os
import warnings

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError, OptionError, SchemaError
from climb_hf.readers import edf
from climb_hf.readers.edf import read_edf, read_edf_annotations, read_edf_header

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mne

RANDOM = np.random.default_rng(7)


def channel(label, count, records, unit="uV", physical=("-3276.8", "3276.7"), digital=(-32768, 32767), values=None):
    if values is None:
        values = RANDOM.integers(digital[0], digital[1], (records, count), endpoint=True)
    return {"label": label, "count": count, "unit": unit, "physical": physical, "digital": digital, "values": values}


def annotations(records, texts, size=40):
    """Annotation channel with one string of bytes per record."""
    values = np.frombuffer(b"".join(text.ljust(2 * size, b"\0") for text in texts), "<i2").reshape(records, size)
    return channel("EDF Annotations", size, records, "", ("-1", "1"), values=values)


def write(path, channels, *, seconds="1", stated=None, reserved="", width=2, patient="X", head=None, tail=b""):
    records = len(channels[0]["values"])
    fields = [("0" if width == 2 else "\xffBIOSEMI", 8), (patient, 80), ("Startdate X", 80), ("31.02.00", 8)]
    fields += [("10.00.00", 8), (256 * (len(channels) + 1), 8), (reserved, 44)]
    fields += [(records if stated is None else stated, 8), (seconds, 8), (len(channels), 4)]
    for index, text in (head or {}).items():
        fields[index] = (text, fields[index][1])
    columns = [("label", 16), (None, 80), ("unit", 8), ("low", 8), ("high", 8), ("first", 8), ("last", 8), (None, 80)]
    for key, size in [*columns, ("count", 8), (None, 32)]:
        for c in channels:
            pairs = {"low": c["physical"][0], "high": c["physical"][1], "first": c["digital"][0]}
            fields.append(({**c, **pairs, "last": c["digital"][1]}[key] if key else "", size))
    text = [value if isinstance(value, bytes) else str(value).encode("latin-1") for value, _ in fields]
    data = b"".join(t.ljust(size)[:size] for t, (_, size) in zip(text, fields, strict=True))
    block = np.concatenate([c["values"] for c in channels], axis=1)
    if width == 2:
        data += block.astype("<i2").tobytes()
    else:
        data += block.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()
    path.write_bytes(data + tail)
    return path


def by_mne(path, include=(), reader=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = (reader or mne.io.read_raw_edf)(path, preload=True, include=list(include) or None, verbose="ERROR")
    return raw.get_data().T * 1e6


def plain(tmp_path, records=6, count=50, n=3, **options):
    units = ("uV", "mV", "V")
    ranges = (("-3276.8", "3276.7"), ("-5.0", "5.25"), ("-.01", "0.02"))
    channels = [channel(f"EEG {i}", count, records, units[i % 3], ranges[i % 3]) for i in range(n)]
    return write(tmp_path / "a.edf", channels, **options)


def test_values_equal_those_of_mne_in_every_unit(tmp_path):
    path = plain(tmp_path)
    read = read_edf(path)
    assert read.signal.dtype == np.float32
    assert (read.sampling_rate, read.channel_names, read.unit) == (50.0, ("EEG 0", "EEG 1", "EEG 2"), "uV")
    np.testing.assert_allclose(read.signal, by_mne(path), rtol=1e-6, atol=1e-3)
    in_millivolt = read_edf(path, unit="mV").signal
    np.testing.assert_allclose(in_millivolt, by_mne(path) / 1000, rtol=1e-6, atol=1e-6)
    assert read_edf(path, unit=None).signal[:, 2].max() < 0.03  # volts as the header states


@pytest.mark.parametrize("seconds", ["1", "0.5", "2.5"])
@pytest.mark.parametrize("sparse", [False, True])
def test_segments_are_slices_of_the_whole(tmp_path, monkeypatch, seconds, sparse):
    if sparse:
        monkeypatch.setattr(edf, "_LARGE", 0)
        monkeypatch.setattr(edf, "_SPARSE", 0)
    path = plain(tmp_path, seconds=seconds)
    whole = by_mne(path)
    for start, stop in ((0, 1), (0, 50), (49, 51), (13, 277), (250, 300), (299, 300), (0, 300)):
        read = read_edf(path, channels=("eeg 2", "EEG 0"), start=start, stop=stop)
        assert read.sampling_rate == 50 / float(seconds)
        np.testing.assert_allclose(read.signal, whole[start:stop, [2, 0]], rtol=1e-6, atol=1e-3)
    monkeypatch.setattr(edf, "_CHUNK", 700)  # whole recordings are converted in pieces
    np.testing.assert_allclose(read_edf(path).signal, whole, rtol=1e-6, atol=1e-3)


def test_only_the_records_and_channels_asked_for_are_read(tmp_path, monkeypatch):
    sizes = []
    read = edf._read
    monkeypatch.setattr(edf, "_read", lambda *args: sizes.append(args[3]) or read(*args))
    path = plain(tmp_path, records=40)
    read_edf(path, channels=("EEG 1",), start=510, stop=640)
    assert sum(sizes) == 3 * 3 * 50 * 2  # three of forty records
    sizes.clear()
    one_record = plain(tmp_path, records=1, count=40_000)
    found = read_edf(one_record, channels=("EEG 1",), start=20_000, stop=20_100).signal
    assert sizes == [200]
    np.testing.assert_allclose(found[:, 0], by_mne(one_record)[20_000:20_100, 1], rtol=1e-6, atol=1e-3)


def test_channels_of_other_rates_are_left_alone_and_never_mixed(tmp_path):
    channels = [channel("IBI", 1, 8, ""), channel("EEG A", 64, 8), channel("EMG", 128, 8), channel("EEG B", 64, 8)]
    path = write(tmp_path / "a.edf", channels)
    read = read_edf(path, channels=("EEG B", "EEG A"), start=60, stop=200)
    truth = by_mne(path, ("EEG A", "EEG B"))[60:200, ::-1]
    np.testing.assert_allclose(read.signal, truth, rtol=1e-6, atol=1e-3)
    assert read_edf(path, channels=("EMG",)).sampling_rate == 128
    with pytest.raises(CorruptFileError, match=r"one rate, found EEG A 64 Hz, EMG 128 Hz.*`channels`"):
        read_edf(path, channels=("EEG A", "EMG"))


def test_record_count_of_minus_one_is_taken_from_the_file(tmp_path):
    path = plain(tmp_path, stated=-1, tail=b"\1\2\3")
    assert (read_edf_header(path).n_records, read_edf_header(path).duration) == (6, 6.0)
    np.testing.assert_allclose(read_edf(path).signal, by_mne(path), rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize(("stated", "word"), [(7, "truncated"), (5, "longer"), (99999999, "truncated"), (0, "longer")])
def test_a_record_count_that_contradicts_the_file_is_refused(tmp_path, stated, word):
    path = plain(tmp_path, stated=stated)
    with pytest.raises(CorruptFileError, match=rf"found 6: the file is\s{word}"):
        read_edf(path)
    header = read_edf_header(path, check_size=False)
    assert (header.n_records, header.stated_records, header.is_complete) == (6, stated, False)


def test_every_cut_of_a_file_is_noticed(tmp_path):
    path = plain(tmp_path, records=3, count=20)
    content = path.read_bytes()
    for size in (0, 8, 255, 256, 300, 1023, 1024, 1100, len(content) - 119, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(CorruptFileError):
            read_edf(path)
    with pytest.raises(CorruptFileError, match="cannot be read"):
        read_edf(tmp_path / "none.edf")


@pytest.mark.parametrize(
    ("head", "found"),
    [
        ({0: "1"}, "version `0`"),
        ({5: 512}, "header of 1024 bytes"),
        ({5: "many"}, "header size"),
        ({9: "0"}, "header of"),
        ({9: "9999"}, "header of 2560000 bytes"),
        ({8: "0"}, "positive duration"),
        ({8: "-1"}, "positive duration"),
        ({8: "nan"}, "positive duration"),
        ({7: "six"}, "number of data records"),
    ],
)
def test_absurd_headers_are_refused(tmp_path, head, found):
    with pytest.raises(CorruptFileError, match=found):
        read_edf_header(plain(tmp_path, head=head))


def test_absurd_channels_are_refused_without_reading(tmp_path):
    for count, match in ((-5, "number of samples"), ("x", "whole number"), (99999999, "truncated|found 0")):
        c = channel("A", 10, 2)
        c["count"] = count
        with pytest.raises(CorruptFileError, match=match):
            read_edf(write(tmp_path / "a.edf", [c]))


def test_headers_of_any_encoding_and_impossible_dates_load(tmp_path):
    channels = [channel("EEG Größe", 10, 2, b"\xc2\xb5V"), channel("B", 10, 2, b"\xb5V", ("-12,5", "12,5"))]
    channels += [channel("C", 10, 2, b"\x83\xcaV"), channel("D", 10, 2, "μV".encode())]
    path = write(tmp_path / "a.edf", channels, patient="Ärztin F 01-JAN-0000 Å Age:36")
    read = read_edf(path)
    assert read.header.patient == "Ärztin F 01-JAN-0000 Å Age:36"
    assert read.header.start_date == "31.02.00"
    assert read.channel_names == ("EEG Größe", "B", "C", "D")
    assert abs(read.signal[:, 1]).max() <= 12.5
    assert abs(read.signal[:, 0]).max() > 12.5


def test_a_bad_range_matters_only_where_the_channel_is_asked_for(tmp_path):
    channels = [
        channel("A", 10, 2),
        channel("B", 10, 2, physical=("0", "0")),
        channel("C", 10, 2, physical=("?", "1")),
    ]
    channels += [channel("D", 10, 2, "%"), channel("A2", 10, 2), channel("a2", 10, 2)]
    path = write(tmp_path / "a.edf", channels)
    assert read_edf(path, channels=["A"]).signal.shape == (20, 1)
    for name in "BC":
        with pytest.raises(CorruptFileError, match=f"range of values for channel `{name}`"):
            read_edf(path, channels=[name])
    with pytest.raises(SchemaError, match="found `%`"):
        read_edf(path, channels=["D"])
    assert read_edf(path, channels=["D"], unit=None).unit is None
    with pytest.raises(CorruptFileError, match="stands more than once"):
        read_edf(path, channels=["A2"])
    with pytest.raises(CorruptFileError, match="`E` is missing; the file has A, B"):
        read_edf(path, channels=["E"])


def test_options_out_of_range_are_refused(tmp_path):
    path = plain(tmp_path)
    for options in (
        {"start": -1},
        {"start": 300},
        {"stop": 301},
        {"start": 5, "stop": 5},
        {"unit": "kg"},
        {"gaps": 0},
    ):
        with pytest.raises(OptionError):
            read_edf(path, **options)


def test_bdf_equals_mne(tmp_path):
    limits = (-8388608, 8388607)
    channels = [channel(f"A{i}", 32, 4, "uV", ("-262144", "262143"), limits) for i in range(3)]
    path = write(tmp_path / "a.bdf", channels, width=3, head={0: b"\xffBIOSEMI"}, reserved="24BIT")
    read = read_edf(path)
    assert read.header.kind == "BDF"
    np.testing.assert_allclose(read.signal, by_mne(path, reader=mne.io.read_raw_bdf), rtol=1e-6, atol=0.02)
    assert np.array_equal(read_edf(path, start=33, stop=70).signal, read.signal[33:70])


def test_annotations_equal_those_of_mne_and_are_no_signal(tmp_path):
    texts = [
        b"+0\x14\x14\0+0.5\x151.25\x14spike\x14\0",
        b"+1\x14\x14\0",
        b"+2\x14\x14\0+2.25\x14seiz\xc3\xa9\x14end\x14\0",
    ]
    path = write(tmp_path / "a.edf", [channel("A", 20, 3), annotations(3, texts)], reserved="EDF+C")
    assert read_edf(path).channel_names == ("A",)
    found = [(a.onset, a.duration or 0.0, a.text) for a in read_edf_annotations(path)]
    assert found == [(0.5, 1.25, "spike"), (2.25, 0.0, "seizé"), (2.25, 0.0, "end")]
    truth = mne.read_annotations(path)
    assert sorted(zip(truth.onset, truth.duration, truth.description, strict=True)) == sorted(found)
    assert read_edf_annotations(plain(tmp_path)) == []


def discontinuous(tmp_path, onsets):
    stamps = [f"+{onset}\x14\x14\0".encode() for onset in onsets]
    channels = [channel("A", 20, len(onsets)), annotations(len(onsets), stamps)]
    return write(tmp_path / "a.edf", channels, reserved="EDF+D")


def test_discontinuous_recordings_without_a_gap_are_read_as_they_stand(tmp_path):
    path = discontinuous(tmp_path, ("5.5", "6.5", "7.5"))
    assert read_edf_header(path).kind == "EDF+D"
    np.testing.assert_allclose(read_edf(path).signal, by_mne(path), rtol=1e-6, atol=1e-3)


def test_gaps_are_refused_or_filled_with_nan(tmp_path):
    path = discontinuous(tmp_path, ("0", "1", "4", "5"))
    with pytest.raises(CorruptFileError, match=r'2 s missing after data record 1\. .*gaps="nan"'):
        read_edf(path)
    signal = read_edf(path, gaps="nan").signal[:, 0]
    stored = by_mne(path)[:, 0]
    assert len(signal) == 120
    assert np.isnan(signal[40:80]).all()
    np.testing.assert_allclose(signal[:40], stored[:40], rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(signal[80:], stored[40:], rtol=1e-6, atol=1e-3)
    part = read_edf(path, start=30, stop=95, gaps="nan").signal[:, 0]
    np.testing.assert_array_equal(part, signal[30:95])


def test_time_stamps_that_overlap_or_are_missing_are_refused(tmp_path):
    with pytest.raises(CorruptFileError, match="data record 2 starts before"):
        read_edf(discontinuous(tmp_path, ("0", "1", "1.5")))
    with pytest.raises(CorruptFileError, match="time stamp in data record 0"):
        read_edf(write(tmp_path / "b.edf", [channel("A", 20, 2)], reserved="EDF+D"))
    with pytest.raises(OptionError, match="Ask for a part"):
        read_edf(discontinuous(tmp_path, ("0", "99999999")), gaps="nan")


def test_a_header_is_parsed_once_and_again_when_the_file_changes(tmp_path):
    path = plain(tmp_path)
    first = read_edf_header(path)
    assert read_edf_header(path) is first
    os.utime(path, ns=(1, 1))
    assert read_edf_header(path) is not first
    plain(tmp_path, records=9)
    assert read_edf_header(path).n_records == 9
