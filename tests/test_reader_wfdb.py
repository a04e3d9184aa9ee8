import os
import struct
import subprocess
import sys

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError, OptionError, SchemaError
from climb_hf.readers.wfdb import quick_check_record, read_header, read_record

wfdb = pytest.importorskip("wfdb")  # also swallows what its import warns of under pandas 3
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # pandas 3 about wfdb.wrsamp

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def checksum(values):
    return ((int(values.astype(np.int64).sum()) + 0x8000) & 0xFFFF) - 0x8000


def write_challenge(folder, name="JS99999", samples=500, unit="mV", form="16x1+24", gain="1000.0(0)", leads=LEADS):
    """Write a synthetic Challenge record by hand: MATLAB v4 matrix `val` behind 24 header bytes."""
    digital = np.random.default_rng(7).integers(-3000, 3000, (samples, len(leads))).astype("<i2")
    mat = struct.pack("<5i", 30, len(leads), samples, 0, 4) + b"val\0" + digital.tobytes()
    (folder / f"{name}.mat").write_bytes(mat)
    lines = [f"{name} {len(leads)} 500 {samples}"]
    for i, lead in enumerate(leads):
        sums = f"{digital[0, i]} {checksum(digital[:, i])}"
        lines.append(f"{name}.mat {form} {gain}/{unit} 16 0 {sums} 0 {lead}")
    lines += ["# Age: 59", "# Dx: 164934002,426783006", "#Sex: Female"]
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    return digital


def write_plain(folder, lines, digital=None, name="r1"):
    (folder / f"{name}.hea").write_text(lines)
    if digital is not None:
        (folder / f"{name}.dat").write_bytes(np.asarray(digital, "<i2").tobytes())
    return folder / name


def wrsamp(folder, name, physical, fmt, unit="mV", **options):
    n = physical.shape[1]
    wfdb.wrsamp(
        name,
        fs=options.pop("fs", 500),
        units=[unit] * n,
        sig_name=[*LEADS, "X"][:n],
        p_signal=physical,
        fmt=[fmt] * n if isinstance(fmt, str) else fmt,
        write_dir=str(folder),
        **options,
    )
    return folder / name


@pytest.fixture
def physical():
    time = np.linspace(0, 10, 1001)
    return np.stack([np.sin(time * (k + 1)) * (k + 0.5) for k in range(12)], axis=1)


# --- header ---


def test_header_fields_of_a_challenge_record(tmp_path):
    digital = write_challenge(tmp_path)
    header = read_header(tmp_path / "JS99999.hea")
    assert (header.name, header.n_signals, header.sampling_rate, header.n_samples) == ("JS99999", 12, 500.0, 500)
    third = header.channels[3]
    assert (third.file_name, third.format, third.samples_per_frame, third.skew) == ("JS99999.mat", 16, 1, 0)
    assert (third.byte_offset, third.gain, third.baseline, third.unit) == (24, 1000.0, 0, "mV")
    assert (third.adc_resolution, third.adc_zero, third.name) == (16, 0, "aVR")
    assert third.initial_value == digital[0, 3]
    assert third.checksum == checksum(digital[:, 3])
    assert header.comments == ("Age: 59", "Dx: 164934002,426783006", "Sex: Female")
    assert header.info == {"Age": "59", "Dx": "164934002,426783006", "Sex": "Female"}


def test_header_defaults_of_absent_fields(tmp_path):
    write_plain(tmp_path, "r1 3\nr1.dat 16\nr1.dat 16 0 12 5\nr1.dat 16x2:3 100(-7)\n")
    header = read_header(tmp_path / "r1")
    assert (header.sampling_rate, header.n_samples, header.start, header.comments) == (250.0, None, "", ())
    first, second, third = header.channels
    assert (first.gain, first.baseline, first.unit, first.adc_resolution) == (200.0, 0, "mV", 12)
    assert (first.adc_zero, first.initial_value, first.checksum, first.name) == (0, 0, None, "record r1, signal 0")
    assert (second.gain, second.baseline, second.adc_zero, second.initial_value) == (200.0, 5, 5, 5)
    assert (third.samples_per_frame, third.skew, third.byte_offset, third.baseline) == (2, 3, 0, -7)


def test_header_accepts_2020_style_dates_counters_and_crlf(tmp_path):
    text = (
        "E07835.mat 1 360/12.5(-3) 5000 05-May-2020 09:49:17\r\n# 1\r\nE.mat 16+24 1000/mV 16 0 -268 147 0 MLII x\r\n"
    )
    (tmp_path / "E.hea").write_bytes(text.encode())
    header = read_header(tmp_path / "E")
    assert (header.name, header.sampling_rate, header.n_samples) == ("E07835.mat", 360.0, 5000)
    assert header.start == "05-May-2020 09:49:17"
    assert (header.channels[0].byte_offset, header.channels[0].name) == (24, "MLII x")


def test_header_in_latin_1_and_utf_8(tmp_path):
    for encoding in ("latin-1", "utf-8"):
        (tmp_path / "r1.hea").write_bytes("r1 1 500 2\nr1.dat 16 5/µV 16 0 0 0 0 I\n".encode(encoding))
        assert read_header(tmp_path / "r1").channels[0].unit == "µV"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "empty header"),
        ("# only a comment\n", "empty header"),
        ("r1 x 500 5000\n", "expected a record line"),
        ("r1 1 0 5000\nr1.dat 16\n", "sampling rate"),
        ("r1 1 nan 5000\nr1.dat 16\n", "sampling rate"),
        ("r1 1 500 -3\nr1.dat 16\n", "negative"),
        # as published: JS01052 lost the line feed between record line and first signal line
        ("r1 2 500 500000/mV 16 0 15 31255 0 I\nr1.mat 16+24 1000/mV 16 0 1 2 0 II\n", "500000/mV"),
        ("r1 2 500 5000\nr1.mat 16+24 1000/mV 16 0 1 2 0 II\n", "promises 2 signal lines, found 1"),
        ("r1 1 500 5000\nr1.dat\n", "does not follow"),
        ("r1 1 500 5000\nr1.dat 16x0\n", "16x0"),
        ("r1 1 500 5000\nr1.dat 16+a\n", "16\\+a"),
        ("r1 1 500 5000\nr1.dat 16 10(3/mV\n", "gain field"),
        ("r1 1 500 5000\nr1.dat 16 inf/mV\n", "gain field"),
        ("r1 1 500 5000\nr1.dat 16 1000/mV 16 zero\n", "zero"),
        ("r1/2 1 500 5000\nr1a 2500\nr1b x\n", "r1b x"),
    ],
)
def test_header_errors_name_the_file(tmp_path, text, match):
    (tmp_path / "r1.hea").write_text(text)
    with pytest.raises(CorruptFileError, match=match) as caught:
        read_header(tmp_path / "r1")
    assert "r1.hea" in str(caught.value)


def test_missing_header(tmp_path):
    with pytest.raises(CorruptFileError, match="no header file"):
        read_header(tmp_path / "r1")


# --- format 16 ---


def test_format_16_equals_the_wfdb_package(tmp_path, physical):
    physical[5:9, 2] = np.nan
    path = wrsamp(tmp_path, "r1", physical, "16", comments=["Dx: 1"])
    expected = wfdb.rdrecord(str(path)).p_signal
    record = read_record(path, verify_checksum=True)
    assert record.signal.dtype == np.float32
    assert record.signal.shape == (1001, 12)
    assert record.signal.flags.c_contiguous
    np.testing.assert_array_equal(record.signal, expected.astype(np.float32))
    assert np.isnan(record.signal).sum() == 4
    assert record.sampling_rate == 500
    assert record.channel_names == LEADS
    assert record.units == ("mV",) * 12


@pytest.mark.parametrize(("gain", "baseline"), [(200.0, 0), (204.7, 3), (1000.0, -1024), (4880.0, 2**24 + 1)])
def test_gain_and_baseline_round_once(tmp_path, gain, baseline):
    digital = np.arange(-2000, 2000).reshape(-1, 2)
    lines = f"r1 2 500 2000\nr1.dat 16 {gain}({baseline})/mV\nr1.dat 16 {gain}({baseline})/mV\n"
    record = read_record(write_plain(tmp_path, lines, digital))
    np.testing.assert_array_equal(record.signal, ((digital - float(baseline)) / gain).astype(np.float32))


def test_gains_and_baselines_that_differ_between_channels(tmp_path):
    digital = np.arange(30).reshape(-1, 3) - 9
    lines = "r1 3 500 10\nr1.dat 16 100(5)/mV\nr1.dat 16 2/uV\nr1.dat 16 0.5(-1)/V\n"
    record = read_record(write_plain(tmp_path, lines, digital))
    expected = np.stack([(digital[:, 0] - 5) / 100, digital[:, 1] / 2000, (digital[:, 2] + 1) * 2000], axis=1)
    np.testing.assert_array_equal(record.signal, expected.astype(np.float32))


def test_extreme_samples_and_the_invalid_marker(tmp_path):
    record = read_record(
        write_plain(tmp_path, "r1 1 500 4\nr1.dat 16 1000(-32768)/mV\n", [[-32768], [-32767], [0], [32767]])
    )
    np.testing.assert_array_equal(record.signal[:, 0], np.float32([np.nan, 0.001, 32.768, 65.535]))


def test_all_invalid_is_left_to_the_caller(tmp_path):
    record = read_record(write_plain(tmp_path, "r1 1 500 3\nr1.dat 16\n", [[-32768]] * 3))
    assert np.isnan(record.signal).all()


def test_parts_equal_slices(tmp_path, physical):
    path = wrsamp(tmp_path, "r1", physical, "16")
    whole = read_record(path).signal
    for start, stop in ((0, 1), (17, 900), (1000, 1001), (4, None)):
        for verify in (False, True):
            part = read_record(path, start=start, stop=stop, verify_checksum=verify)
            np.testing.assert_array_equal(part.signal, whole[start:stop])


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 5), (6, 5), (0, 1002), (1001, None)])
@pytest.mark.parametrize("fmt", ["16", "212"])
def test_impossible_parts(tmp_path, physical, fmt, start, stop):
    path = wrsamp(tmp_path, "r1", physical, fmt)
    with pytest.raises(OptionError, match="<= 1001"):
        read_record(path, start=start, stop=stop)


@pytest.mark.parametrize(
    ("written", "asked", "factor"),
    [
        ("mV", "mV", 1),
        ("mv", "mV", 1),
        ("V", "mV", 1e3),
        ("uV", "mV", 1e-3),
        ("UV", "mV", 1e-3),
        ("µV", "mV", 1e-3),
        ("μV", "mV", 1e-3),
        ("mV", "uV", 1e3),
        ("mV", "V", 1e-3),
        ("nV", "uV", 1e-3),
        ("g", None, 1),
    ],
)
def test_units(tmp_path, written, asked, factor):
    digital = np.arange(-50, 50).reshape(-1, 1)
    path = tmp_path / "r1"
    (tmp_path / "r1.hea").write_text(f"r1 1 500 100\nr1.dat 16 4/{written} 16 0 0 0 0 I\n", encoding="utf-8")
    (tmp_path / "r1.dat").write_bytes(digital.astype("<i2").tobytes())
    record = read_record(path, unit=asked)
    np.testing.assert_allclose(record.signal, digital / 4 * factor, rtol=6e-8)
    assert record.units == (asked or written,)


def test_unknown_units(tmp_path):
    path = write_plain(tmp_path, "r1 2 500 1\nr1.dat 16 4/mmHg 16 0 0 0 0 ABP\nr1.dat 16 4 16 0 0 0 0 I\n", [[1, 2]])
    with pytest.raises(SchemaError, match=r"`mmHg`.*`unit=None`"):
        read_record(path)
    with pytest.raises(OptionError, match=r"`parsec`"):
        read_record(path, unit="parsec")
    assert read_record(path, channels=["i"]).signal.tolist() == [[0.5]]


def test_channels_by_name_in_the_wanted_order(tmp_path):
    stored = ("I", "II", "III", "AVR", "AVF", "AVL", "V1", "V2", "V3", "V4", "V5", "V6")
    digital = write_challenge(tmp_path, leads=stored)
    record = read_record(tmp_path / "JS99999", channels=LEADS)
    assert record.channel_names == LEADS
    order = [0, 1, 2, 3, 5, 4, 6, 7, 8, 9, 10, 11]
    np.testing.assert_array_equal(record.signal, digital[:, order] / np.float32(1000))
    assert record.signal.flags.c_contiguous
    assert read_record(tmp_path / "JS99999", channels=["v6", "avr"]).channel_names == ("v6", "avr")


def test_missing_double_and_no_leads(tmp_path):
    write_challenge(tmp_path, leads=("I", "II", "II"))
    with pytest.raises(CorruptFileError, match=r"lead `aVR` is missing; the record has I, II, II"):
        read_record(tmp_path / "JS99999", channels=["I", "aVR"])
    with pytest.raises(CorruptFileError, match=r"lead `II` stands more than once"):
        read_record(tmp_path / "JS99999", channels=["II"])
    with pytest.raises(OptionError, match="at least one lead"):
        read_record(tmp_path / "JS99999", channels=[])
    assert read_record(tmp_path / "JS99999").channel_names == ("I", "II", "II")


def test_record_without_signals(tmp_path):
    with pytest.raises(CorruptFileError, match="at least one signal"):
        read_record(write_plain(tmp_path, "r1 0 500 10\n"))


def test_samples_derived_from_the_file_size(tmp_path):
    path = write_plain(tmp_path, "r1 2 500\nr1.dat 16\nr1.dat 16\n", np.arange(14).reshape(-1, 2))
    record = read_record(path)
    assert record.signal.shape == (7, 2)
    assert record.header.n_samples == 7
    assert quick_check_record(path).n_samples is None
    (tmp_path / "r1.dat").write_bytes(b"\0" * 27)
    for reader in (read_record, quick_check_record):
        with pytest.raises(CorruptFileError, match="found 27"):
            reader(path)


# --- damage ---


@pytest.mark.parametrize("reader", [read_record, quick_check_record])
def test_sizes_that_contradict_the_header(tmp_path, reader):
    write_challenge(tmp_path)
    file, path = tmp_path / "JS99999.mat", tmp_path / "JS99999.hea"
    data = file.read_bytes()
    assert len(data) == 12024
    file.write_bytes(data[:-1])
    with pytest.raises(CorruptFileError, match=r"expected 12024 bytes by `JS99999.hea`, found 12023: .* truncated"):
        reader(path)
    file.write_bytes(data + b"\0\0")
    with pytest.raises(CorruptFileError, match=r"expected 12024 .* found 12026: .* longer"):
        reader(path)
    file.write_bytes(b"")
    with pytest.raises(CorruptFileError, match="found 0"):
        reader(path)
    file.unlink()
    with pytest.raises(CorruptFileError, match=r"`JS99999.mat` is missing"):
        reader(path)


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<5i", 30, 12, 500, 0, 4) + b"vaI\0",
        struct.pack("<5i", 0, 12, 500, 0, 4) + b"val\0",
        struct.pack("<5i", 30, 500, 12, 0, 4) + b"val\0",
        struct.pack("<5i", 30, 12, 500, 1, 4) + b"val\0",
        struct.pack(">5i", 1030, 12, 500, 0, 4) + b"val\0",
        b"MATLAB 5.0 MAT-file, Pla",
    ],
)
def test_mat_header_must_be_sane(tmp_path, header):
    write_challenge(tmp_path)
    file = tmp_path / "JS99999.mat"
    file.write_bytes(header + file.read_bytes()[24:])
    with pytest.raises(CorruptFileError, match=r"expected a MATLAB v4 file .* 12 × 500 int16 matrix"):
        read_record(tmp_path / "JS99999")


def test_mat_header_needs_its_offset(tmp_path):
    write_challenge(tmp_path, form="16")
    (tmp_path / "JS99999.mat").write_bytes((tmp_path / "JS99999.mat").read_bytes()[24:])
    with pytest.raises(CorruptFileError, match="before byte 0"):
        read_record(tmp_path / "JS99999")


def test_checksums(tmp_path):
    write_challenge(tmp_path)
    read_record(tmp_path / "JS99999", verify_checksum=True)
    file = tmp_path / "JS99999.mat"
    data = bytearray(file.read_bytes())
    data[24 + 2 * (12 * 499 + 3)] ^= 1
    file.write_bytes(data)
    read_record(tmp_path / "JS99999")
    with pytest.raises(CorruptFileError, match=r"expected checksum -?\d+ for `aVR`, found -?\d+"):
        read_record(tmp_path / "JS99999", channels=["I"], start=0, stop=2, verify_checksum=True)


@pytest.mark.parametrize("name", ["../r1.dat", "..", "/etc/passwd", "a\\b.dat", "a\0.dat"])
@pytest.mark.parametrize("reader", [read_record, quick_check_record])
def test_no_way_out_of_the_folder(tmp_path, name, reader):
    with pytest.raises(CorruptFileError, match="without folders"):
        reader(write_plain(tmp_path, f"r1 1 500 2\n{name} 16\n"))


# --- through the wfdb package ---


def write_digital(folder, form, digital):
    """Write integers in a format that the `wfdb` package reads but does not write."""
    flat = digital.reshape(-1)
    data = flat.astype("<i2").tobytes()
    if form == 61:
        data = flat.astype(">i2").tobytes()
    elif form == 160:
        data = (flat + 2**15).astype("<u2").tobytes()
    elif form == 212:
        even, odd = (np.append(flat, 0)[k : flat.size + flat.size % 2 : 2] & 0xFFF for k in (0, 1))
        triplets = np.stack([even & 0xFF, (even >> 8) | (odd >> 8 << 4), odd & 0xFF], axis=1)
        data = triplets.astype("u1").tobytes()
    n = digital.shape[1]
    lines = [f"r1.dat {form} 100(-3)/mV 12 0 {digital[0, i]} {checksum(digital[:, i])} 0 {LEADS[i]}" for i in range(n)]
    (folder / "r1.dat").write_bytes(data)
    (folder / "r1.hea").write_text("\n".join([f"r1 {n} 500 {len(digital)}", *lines]) + "\n")
    return folder / "r1"


@pytest.mark.parametrize("samples", [1000, 1001])
@pytest.mark.parametrize("form", [61, 160, 212])
def test_formats_written_by_hand(tmp_path, form, samples):
    digital = np.random.default_rng(1).integers(-2047, 2048, (samples, 3))
    path = write_digital(tmp_path, form, digital)
    record = read_record(path, verify_checksum=True)
    np.testing.assert_array_equal(record.signal, ((digital + 3) / 100).astype(np.float32))
    np.testing.assert_array_equal(record.signal, wfdb.rdrecord(str(path)).p_signal.astype(np.float32))
    assert quick_check_record(path).channels[2].name == "III"
    part = read_record(path, channels=["iii", "I"], start=11, stop=200, unit="uV")
    np.testing.assert_allclose(part.signal, 10.0 * (digital[11:200, [2, 0]] + 3), rtol=6e-8)
    assert part.signal.flags.c_contiguous


@pytest.mark.parametrize("fmt", ["24", "32", "80"])
def test_formats_written_by_the_wfdb_package(tmp_path, physical, fmt):
    physical[5:9, 1] = np.nan
    path = wrsamp(tmp_path, "r1", physical[:, :3], fmt)
    record = read_record(path, verify_checksum=True)
    assert record.signal.dtype == np.float32
    assert np.isnan(record.signal).sum() == 4
    np.testing.assert_array_equal(record.signal, wfdb.rdrecord(str(path)).p_signal.astype(np.float32))
    file = tmp_path / "r1.dat"
    file.write_bytes(file.read_bytes()[:-4])
    for reader in (read_record, quick_check_record):
        with pytest.raises(CorruptFileError, match="truncated"):
            reader(path)


def test_format_212_checksum_and_size(tmp_path):
    path = write_digital(tmp_path, 212, np.arange(-30, 30).reshape(-1, 2))
    data = (tmp_path / "r1.dat").read_bytes()
    (tmp_path / "r1.dat").write_bytes(bytes([data[0] ^ 1]) + data[1:])
    read_record(path)
    with pytest.raises(CorruptFileError, match=r"checksum -?\d+ for `I`"):
        read_record(path, verify_checksum=True)
    for damaged in (data[:-1], data + b"\0"):
        (tmp_path / "r1.dat").write_bytes(damaged)
        for reader in (read_record, quick_check_record):
            with pytest.raises(CorruptFileError, match=f"expected 90 bytes by `r1.hea`, found {len(damaged)}"):
                reader(path)


def test_several_files_per_record(tmp_path, physical):
    for name, part in (("a", slice(0, 2)), ("b", slice(2, 5))):
        wrsamp(tmp_path, name, physical[:, part], "16")
    first, second = ((tmp_path / f"{n}.hea").read_text().splitlines()[1:] for n in "ab")
    renamed = [line.rsplit(" ", 1)[0] + f" V{i}" for i, line in enumerate(second, 1)]
    (tmp_path / "r1.hea").write_text("\n".join(["r1 5 500 1001", *first, *renamed]) + "\n")
    record = read_record(tmp_path / "r1", channels=["V2", "I"], verify_checksum=True)
    expected = wfdb.rdrecord(str(tmp_path / "r1")).p_signal
    np.testing.assert_array_equal(record.signal, expected[:, [3, 0]].astype(np.float32))
    (tmp_path / "b.dat").unlink()
    with pytest.raises(CorruptFileError, match=r"`b.dat` is missing"):
        quick_check_record(tmp_path / "r1")


def test_several_segments_per_record(tmp_path, physical):
    wrsamp(tmp_path, "s1", physical[:600, :2], "16")
    wrsamp(tmp_path, "s2", physical[600:, :2], "16")
    (tmp_path / "r1.hea").write_text("r1/2 2 500 1001\ns1 600\ns2 401\n# Dx: 5\n")
    record = read_record(tmp_path / "r1", channels=["ii"], verify_checksum=True)
    expected = wfdb.rdrecord(str(tmp_path / "r1")).p_signal[:, [1]]
    np.testing.assert_array_equal(record.signal, expected.astype(np.float32))
    assert record.header.segments == (("s1", 600), ("s2", 401))
    assert record.header.info == {"Dx": "5"}
    (tmp_path / "r1.hea").write_text("r1/2 2 500 1001\ns1 601\ns2 400\n")
    with pytest.raises(CorruptFileError, match=r"expected 601 samples in segment `s1`, found 600"):
        quick_check_record(tmp_path / "r1")
    (tmp_path / "r1.hea").write_text("r1/2 2 500 1000\ns1 600\ns2 401\n")
    with pytest.raises(CorruptFileError, match="another total length"):
        quick_check_record(tmp_path / "r1")
    (tmp_path / "r1.hea").write_text("r1/1 2 500 600\nr1 600\n")
    with pytest.raises(CorruptFileError, match="in segment `r1`, found segments"):
        quick_check_record(tmp_path / "r1")


def test_variable_layout_with_a_gap(tmp_path, physical):
    wrsamp(tmp_path, "s1", physical[:600, :2], "16")
    wrsamp(tmp_path, "s2", physical[600:, :1], "16")
    (tmp_path / "r1_layout.hea").write_text("r1_layout 2 500 0\n~ 0 1000/mV 0 0 0 0 0 I\n~ 0 1000/mV 0 0 0 0 0 II\n")
    (tmp_path / "r1.hea").write_text("r1/4 2 500 1011\nr1_layout 0\ns1 600\n~ 10\ns2 401\n")
    assert quick_check_record(tmp_path / "r1").n_samples == 1011
    record = read_record(tmp_path / "r1", channels=["II", "I"], verify_checksum=True)
    np.testing.assert_allclose(record.signal[:600], physical[:600, [1, 0]], atol=1e-3)
    np.testing.assert_allclose(record.signal[610:, 1], physical[600:, 0], atol=1e-3)
    assert np.isnan(record.signal[600:610]).all()
    assert np.isnan(record.signal[610:, 0]).all()


def test_several_samples_per_frame_are_averaged(tmp_path):
    digital = np.arange(30).reshape(10, 3)  # 2 + 1 samples per frame
    path = write_plain(tmp_path, "r1 2 250 10\nr1.dat 16x2 1/mV\nr1.dat 16 1/mV 16 0 0 0 0 II\n", digital)
    record = read_record(path)
    expected = np.stack([digital[:, :2].mean(axis=1), digital[:, 2]], axis=1)
    np.testing.assert_array_equal(record.signal, expected.astype(np.float32))
    assert record.sampling_rate == 250


def test_unknown_format(tmp_path):
    path = write_plain(tmp_path, "r1 1 500 2\nr1.dat 99\n", [[1], [2]])
    for reader in (read_record, quick_check_record):
        with pytest.raises(CorruptFileError, match=r"storage format of signal\(5\), found `99`"):
            reader(path)


def test_fast_path_does_not_import_wfdb(tmp_path):
    write_challenge(tmp_path)
    code = (
        "import sys; from climb_hf.readers.wfdb import read_record; "
        f"read_record({str(tmp_path / 'JS99999')!r}); print('wfdb' in sys.modules or 'pandas' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "False"


# --- real records ---


def test_the_fifty_real_records(shared_dir):
    headers = sorted((shared_dir / "real" / "ecg_cinc2021").glob("*.hea"))
    assert len(headers) == 50
    for path in headers:
        assert quick_check_record(path).n_samples == 5000
        record = read_record(path, channels=LEADS, verify_checksum=True)
        expected = wfdb.rdrecord(str(path.with_suffix(""))).p_signal
        np.testing.assert_array_equal(record.signal, expected.astype(np.float32))
        assert record.sampling_rate == 500
        assert record.header.info["Dx"]
    flat = read_record(shared_dir / "real" / "ecg_cinc2021" / "JS20004").signal
    assert [LEADS[i] for i in np.flatnonzero((flat == 0).all(axis=0))] == ["V2", "V4", "V6"]
