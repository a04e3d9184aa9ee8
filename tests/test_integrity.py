"""Quick and full checks: whole synthetic files pass, cut ones are named, oddities of real files are tolerated."""

import gzip
import io
import struct

import numpy as np
import pytest
from dicom_files import make_dicom, write_dicom, write_lossless
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless
from test_reader_video import write_video

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.readers.integrity import check, damage_named, ends_early, file_kind, quick_check, source_name

RGB = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
RAMP = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)


def encoded(format, **options):
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, format, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Whole synthetic files: content by name."""
    folder = tmp_path_factory.mktemp("whole")
    found = {
        "baseline.jpg": encoded("JPEG"),
        "progressive.jpeg": encoded("JPEG", progressive=True),
        "a.png": encoded("PNG"),
        "a.gif": encoded("GIF"),
        "a.bmp": encoded("BMP"),
        "a.tif": encoded("TIFF"),
        "lzw.tiff": encoded("TIFF", compression="tiff_lzw"),
        "a.webp": encoded("WEBP"),
        "a.nii.gz": gzip.compress(RAMP.tobytes()),
    }
    buffer = io.BytesIO()
    np.savez(buffer, a=RAMP)
    found["a.npz"] = buffer.getvalue()
    write_dicom(folder / "explicit.dcm", RAMP)
    write_dicom(folder / "implicit.dicom", RAMP, syntax=ImplicitVRLittleEndian)
    write_dicom(folder / "deflated.dcm", RAMP, syntax=DeflatedExplicitVRLittleEndian)
    write_lossless(folder / "lossless.dcm", RAMP)
    for name, syntax in (("j2k.dcm", JPEG2000Lossless), ("rle.dic", RLELossless)):
        ds = make_dicom(RAMP)
        ds.compress(syntax)
        ds.save_as(folder / name, enforce_file_format=True)
    for name in ("h264.mp4", "mpeg4.avi", "mpeg4.mov", "wmv2.wmv"):
        codec = {"h264": "libx264"}.get(name.split(".")[0], name.split(".")[0])
        write_video(folder / name, codec=codec, n_frames=20)
    found |= {path.name: path.read_bytes() for path in folder.iterdir()}
    return found


NAMES = [
    "baseline.jpg",
    "progressive.jpeg",
    "a.png",
    "a.gif",
    "a.bmp",
    "a.tif",
    "lzw.tiff",
    "a.webp",
    "a.nii.gz",
    "a.npz",
    "explicit.dcm",
    "implicit.dicom",
    "deflated.dcm",
    "lossless.dcm",
    "j2k.dcm",
    "rle.dic",
    "h264.mp4",
    "mpeg4.avi",
    "mpeg4.mov",
    "wmv2.wmv",
]


@pytest.mark.parametrize("name", NAMES)
def test_whole_files_pass_and_cut_ones_are_named(files, tmp_path, name):
    data, path = files[name], tmp_path / name
    path.write_bytes(data)
    for mode in ("none", "quick", "full"):
        check(path, mode)
    assert not ends_early(path)
    for share in (0.0, 0.3, 0.6, 0.99):
        path.write_bytes(data[: int(len(data) * share)])
        mode = "full" if name.endswith(".gz") else "quick"  # gzip has no end marker
        with pytest.raises(CorruptFileError, match=name.replace(".", r"\.")):
            check(path, mode)
        check(path, "none")


@pytest.mark.parametrize("name", NAMES)
def test_damaged_content_raises_nothing_else(files, tmp_path, name):
    generator, named = np.random.default_rng(1), []
    for _ in range(10):
        data = bytearray(files[name])
        for position in generator.integers(0, min(len(data), 1500), 3):
            data[position] = generator.integers(256)
        (tmp_path / name).write_bytes(data)
        try:
            check(tmp_path / name, "full")
        except CorruptFileError as error:
            named.append(name in str(error))
    assert all(named)


@pytest.mark.parametrize(
    "name", ["baseline.jpg", "progressive.jpeg", "a.png", "a.gif", "a.npz", "h264.mp4", "j2k.dcm"]
)
@pytest.mark.parametrize("tail", [b"\x00" * 9, b"\x00" * 4000])
def test_padding_is_tolerated(files, tmp_path, name, tail):
    path = tmp_path / name
    path.write_bytes(files[name] + (b"" if name == "a.npz" else tail))
    assert quick_check(path) is None


@pytest.mark.parametrize("name", ["baseline.jpg", "progressive.jpeg", "a.png", "a.gif"])
def test_foreign_bytes_after_the_end_are_tolerated(files, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(files[name] + b"camera trailer" * 300)
    assert check(path, "full") is None


def test_thumbnail_does_not_pass_for_the_picture(tmp_path):
    jpeg = encoded("JPEG")
    thumbnail = encoded("JPEG", quality=5)
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg[:2] + segment + jpeg[2:])
    quick_check(path)
    path.write_bytes(jpeg[:2] + segment + jpeg[2:400])
    with pytest.raises(CorruptFileError, match="end-of-image"):
        quick_check(path)


def test_missing_empty_and_foreign_files(tmp_path):
    cases = {"missing.jpg": None, "empty.png": b"", "page.jpg": b"<!DOCTYPE html>" * 50, "text.dcm": b"x" * 500}
    for name, content in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(CorruptFileError, match=name.replace(".", r"\.")):
            quick_check(tmp_path / name)
    with pytest.raises(CorruptFileError, match="not a file"):
        quick_check(tmp_path)


def test_content_goes_before_the_suffix(files, tmp_path):
    for name, content in (("png.jpg", "a.png"), ("jpeg.png", "baseline.jpg"), ("mov.mp4", "mpeg4.mov")):
        (tmp_path / name).write_bytes(files[content])
        check(tmp_path / name, "full")
    (tmp_path / "video.jpg").write_bytes(files["h264.mp4"])
    with pytest.raises(CorruptFileError, match="holds mp4"):
        quick_check(tmp_path / "video.jpg")
    (tmp_path / "table.csv").write_text("id\n1\n")
    check(tmp_path / "table.csv", "full")


def test_dicom_whose_header_contradicts_its_data(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP, Rows=64)
    with pytest.raises(CorruptFileError, match="asks for 4096 bytes of pixel data, it holds 2048"):
        quick_check(path)
    write_dicom(path, RAMP, NumberOfFrames=2)
    with pytest.raises(CorruptFileError, match="asks for 4096 bytes"):
        quick_check(path)
    write_dicom(path, RAMP, Rows=None)
    with pytest.raises(CorruptFileError, match=r"a\.dcm"):
        quick_check(path)


def test_mp4_without_index(files, tmp_path):
    data = files["h264.mp4"]
    path = tmp_path / "a.mp4"
    path.write_bytes(data[: data.index(b"moov") - 4])
    with pytest.raises(CorruptFileError, match="moov"):
        quick_check(path)


def test_option_and_names(tmp_path):
    with pytest.raises(OptionError, match="'quick', 'full' or 'none'"):
        check(tmp_path, "fast")
    assert source_name(tmp_path) == str(tmp_path)
    assert source_name(io.BytesIO()) == "<BytesIO>"
    assert file_kind(b"\x00" * 128 + b"DICM") == "dicom"
    assert file_kind(b"plain text") is None
    with pytest.raises(CorruptFileError, match=r"`x\.png`: decoding failed \(no\)"), damage_named("x.png", "decoding"):
        raise SyntaxError("no.")


def test_all_real_jpegs_pass(real_dir):
    paths = list((real_dir / "brain_tumor").glob("*/*/*.jpg"))
    assert len(paths) == 3264
    for path in paths:
        quick_check(path)
