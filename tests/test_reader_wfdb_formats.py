"""Storage formats of WFDB signal files, each against the `wfdb` package, whole and in parts."""

import os
import subprocess
import sys

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError
from climb_hf.readers.wfdb import quick_check_record, read_record
from climb_hf.readers.wfdb_formats import DECODED, GROUPS, INVALID, decode

wfdb = pytest.importorskip("wfdb")
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # pandas 3 about wfdb.wrsamp

BITS = {8: 8, 16: 16, 24: 24, 32: 32, 61: 16, 80: 8, 160: 16, 212: 12, 310: 10, 311: 10}


def encode(flat, form):
    """Store integers as signal(5) says, written apart from the reader."""
    flat = np.asarray(flat, np.int64)
    if form == 80:
        return (flat + 128).astype("u1").tobytes()
    if form in (16, 61):
        return flat.astype("<i2" if form == 16 else ">i2").tobytes()
    if form == 160:
        return (flat + 2**15).astype("<u2").tobytes()
    if form == 32:
        return flat.astype("<i4").tobytes()
    if form == 24:
        return b"".join(int(v).to_bytes(3, "little", signed=True) for v in flat)
    samples, size = GROUPS[form]
    out = b""
    for start in range(0, len(flat), samples):
        values = [int(v) & (0xFFF if form == 212 else 0x3FF) for v in flat[start : start + samples]]
        values += [0] * (samples - len(values))
        if form == 212:
            out += bytes([values[0] & 0xFF, values[0] >> 8 | values[1] >> 8 << 4, values[1] & 0xFF])
        elif form == 310:
            words = values[0] << 1 | (values[2] & 31) << 11, values[1] << 1 | (values[2] >> 5) << 11
            out += b"".join(word.to_bytes(2, "little") for word in words)
        else:
            out += (values[0] | values[1] << 10 | values[2] << 20).to_bytes(4, "little")
        assert len(out) % size == 0
    return out


def random_samples(form, n, channels=3):
    """Samples over the whole range of a format, its ends among them, the invalid marker not."""
    top = 2 ** (BITS[form] - 1)
    digital = np.random.default_rng(form + n).integers(1 - top, top, (n, channels))
    digital[0], digital[-1] = 1 - top, top - 1
    return digital


def write(folder, form, digital, *, name="r1", head=b"", field="", gain="100(-3)/mV", stated=True):
    file = f"{name}.dat"
    (folder / file).write_bytes(head + encode(digital.reshape(-1), form))
    count = f" {len(digital)}" if stated else ""
    lines = [f"{name} {digital.shape[1]} 500{count}"]
    for i, column in enumerate(digital.T):
        total = (int(column.sum()) + 2**15) % 2**16 - 2**15
        offset = f"+{len(head)}" if head else ""
        lines.append(f"{file} {form}{field}{offset} {gain} 0 0 {column[0]} {total} 0 L{i}")
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")
    return folder / name


def reference(path, **options):
    return wfdb.rdrecord(str(path), **options).p_signal.astype(np.float32)


def test_the_table_of_formats_is_complete():
    assert set(GROUPS) == set(BITS)
    assert set(DECODED) == set(BITS) - {8}
    assert all(INVALID[form] == -(2 ** (BITS[form] - 1)) for form in DECODED)


@pytest.mark.parametrize("form", sorted(DECODED))
def test_decoding_gives_back_every_value(form):
    low, high = INVALID[form], -INVALID[form]
    values = np.arange(low, high) if BITS[form] <= 16 else np.unique(np.linspace(low, high - 1, 9999).astype(np.int64))
    decoded = decode(encode(values, form), form)
    np.testing.assert_array_equal(decoded[: len(values)], values)
    assert not decoded[len(values) :].any()


@pytest.mark.parametrize("samples", [999, 1000, 1001])
@pytest.mark.parametrize("form", sorted(DECODED))
def test_whole_records_and_parts_equal_the_wfdb_package(tmp_path, form, samples):
    digital = random_samples(form, samples)
    path = write(tmp_path, form, digital)
    record = read_record(path, verify_checksum=True)
    np.testing.assert_array_equal(record.signal, ((digital + 3) / 100).astype(np.float32))
    np.testing.assert_array_equal(record.signal, reference(path))
    for start, stop in ((0, 1), (1, 2), (7, samples), (samples - 1, samples), (100, 613)):
        part = read_record(path, channels=["L2", "L0"], start=start, stop=stop)
        np.testing.assert_array_equal(part.signal, record.signal[start:stop, [2, 0]])
    assert quick_check_record(path).n_samples == samples
    file = path.with_suffix(".dat")
    file.write_bytes(file.read_bytes()[:-3])
    for reader in (read_record, quick_check_record):
        with pytest.raises(CorruptFileError, match="truncated"):
            reader(path)


@pytest.mark.parametrize("form", sorted(DECODED))
def test_the_marker_of_an_invalid_sample_is_nan(tmp_path, form):
    digital = random_samples(form, 60)
    digital[[5, 17], [0, 2]] = INVALID[form]
    path = write(tmp_path, form, digital)
    found = read_record(path).signal
    np.testing.assert_array_equal(np.isnan(found), digital == INVALID[form])
    np.testing.assert_array_equal(found, reference(path))


@pytest.mark.parametrize("form", [16, 24, 212, 311])
def test_a_byte_offset_and_an_unstated_length(tmp_path, form):
    digital = random_samples(form, 600)
    path = write(tmp_path, form, digital, head=b"x" * 7)
    np.testing.assert_array_equal(read_record(path, verify_checksum=True).signal, reference(path))
    np.testing.assert_array_equal(read_record(path, start=33, stop=77).signal, reference(path)[33:77])
    (tmp_path / "b").mkdir()
    path = write(tmp_path / "b", form, digital, stated=False)
    record = read_record(path)
    assert record.header.n_samples == 600
    np.testing.assert_array_equal(record.signal, ((digital + 3) / 100).astype(np.float32))


@pytest.mark.parametrize("form", ["16", "212", "24", "32", "80"])
def test_round_trips_of_records_the_wfdb_package_wrote(tmp_path, form):
    time = np.linspace(0, 10, 1001)
    physical = np.stack([np.sin(time * (k + 1)) * (k + 0.5) for k in range(12)], axis=1)
    physical[5:9, 1] = np.nan
    names = [f"L{i}" for i in range(12)]
    wfdb.wrsamp("r1", 500, ["mV"] * 12, names, p_signal=physical, fmt=[form] * 12, write_dir=str(tmp_path))
    record = read_record(tmp_path / "r1", verify_checksum=True)
    np.testing.assert_array_equal(record.signal, reference(tmp_path / "r1"))
    assert np.isnan(record.signal).sum() == 4
    resolution = {"16": 1e-3, "212": 1e-2, "24": 1e-5, "32": 1e-6, "80": 0.1}[form]
    np.testing.assert_allclose(record.signal, physical, atol=resolution)


def test_format_8_stores_differences_and_goes_through_the_wfdb_package(tmp_path):
    digital = np.cumsum(np.random.default_rng(0).integers(-90, 90, (500, 2)), axis=0)
    differences = np.diff(digital, axis=0, prepend=digital[:1]).astype("i1")
    (tmp_path / "r1.dat").write_bytes(differences.tobytes())
    lines = [f"r1.dat 8 100/mV 10 0 {column[0]} 0 0 L{i}" for i, column in enumerate(digital.T)]
    (tmp_path / "r1.hea").write_text("\n".join(["r1 2 500 500", *lines]) + "\n")
    np.testing.assert_array_equal(read_record(tmp_path / "r1").signal, (digital / 100).astype(np.float32))


def test_a_compressed_record_goes_through_the_wfdb_package(tmp_path):
    pytest.importorskip("soundfile")
    physical = np.sin(np.linspace(0, 20, 4000)).reshape(-1, 2)
    wfdb.wrsamp("r1", 500, ["mV"] * 2, ["I", "II"], p_signal=physical, fmt=["516"] * 2, write_dir=str(tmp_path))
    record = read_record(tmp_path / "r1", channels=["II"])
    np.testing.assert_array_equal(record.signal, reference(tmp_path / "r1")[:, [1]])
    np.testing.assert_allclose(record.signal, physical[:, [1]], atol=1e-3)


def test_several_files_in_different_formats_and_with_offsets(tmp_path):
    first, second = random_samples(16, 400, 2), random_samples(212, 400, 3)
    write(tmp_path, 16, first, name="a", head=b"0123")
    write(tmp_path, 212, second, name="b")
    lines = [(tmp_path / f"{n}.hea").read_text().splitlines()[1:] for n in "ab"]
    renamed = [line.rsplit(" ", 1)[0] + f" M{i}" for i, line in enumerate(lines[1])]
    (tmp_path / "r1.hea").write_text("\n".join(["r1 5 500 400", *lines[0], *renamed]) + "\n")
    record = read_record(tmp_path / "r1", channels=["M2", "L0", "M0"], verify_checksum=True)
    np.testing.assert_array_equal(record.signal, reference(tmp_path / "r1")[:, [4, 0, 2]])
    expected = (np.stack([second[:, 2], first[:, 0], second[:, 0]], axis=1) + 3) / 100
    np.testing.assert_array_equal(record.signal, expected.astype(np.float32))


@pytest.mark.parametrize("form", [16, 212])
def test_skew_is_undone(tmp_path, form):
    digital = random_samples(form, 300, 2)
    path = write(tmp_path, form, digital)
    lines = path.with_suffix(".hea").read_text().splitlines()
    lines[2] = lines[2].replace(f" {form} ", f" {form}:4 ")
    path.with_suffix(".hea").write_text("\n".join(lines) + "\n")
    found = read_record(path).signal
    np.testing.assert_array_equal(found, reference(path))
    np.testing.assert_array_equal(found[:-4, 1], ((digital[4:, 1] + 3) / 100).astype(np.float32))
    assert np.isnan(found[-4:, 1]).all()
    np.testing.assert_array_equal(found[:, 0], ((digital[:, 0] + 3) / 100).astype(np.float32))


def test_the_packed_formats_do_not_import_the_wfdb_package(tmp_path):
    path = write(tmp_path, 212, random_samples(212, 50))
    code = (
        "import sys; from climb_hf.readers.wfdb import read_record; "
        f"read_record({str(path)!r}); print('wfdb' in sys.modules or 'pandas' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert run.stdout.strip() == "False"
