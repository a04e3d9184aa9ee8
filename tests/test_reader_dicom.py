"""DICOM on synthetic files: the rendering rule, transfer syntaxes, damage, and the Pillow plugin."""

import copy
import io
import pickle
import subprocess
import sys

import datasets
import numpy as np
import pydicom
import pytest
from dicom_files import make_dicom, write_dicom, write_encapsulated, write_lossless
from PIL import Image, UnidentifiedImageError
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from climb_hf.errors import CorruptFileError, DependencyError, OptionError
from climb_hf.readers import dicom_pixels
from climb_hf.readers.dicom import (
    WINDOWS,
    apply_window,
    dicom_to_image,
    read_dicom_header,
    register_pillow_plugin,
    render_dicom,
)

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)
TWELVE = {"BitsStored": 12, "HighBit": 11}


@pytest.fixture(autouse=True)
def _plugin():
    register_pillow_plugin()


def test_range_of_values_where_no_window_is_given(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP[:, 16:48] + 100, **TWELVE)
    grey = render_dicom(path)
    assert grey.dtype == np.uint8
    assert grey.shape == (64, 32)
    expected = (RAMP[:, 16:48] - 16.0) / (4096 - 16 - 17) * 255
    np.testing.assert_array_equal(grey, np.rint(expected))
    assert render_dicom(path, bit_depth=16).max() == 65535


def test_monochrome1_is_inverted(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="MONOCHROME1", **TWELVE)
    plain = write_dicom(tmp_path / "b.dcm", RAMP, **TWELVE)
    np.testing.assert_array_equal(render_dicom(path, bit_depth=16), 65535 - render_dicom(plain, bit_depth=16))
    assert render_dicom(path)[0, 0] == 255


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID", None])
@pytest.mark.parametrize("bits", [8, 16])
def test_window_of_the_file_equals_pydicom(tmp_path, function, bits):
    elements = {"WindowCenter": [1500, 40], "WindowWidth": [1000, 80]}  # the first one counts
    elements |= {"VOILUTFunction": function} if function else {}
    path = write_dicom(tmp_path / "a.dcm", RAMP, **elements, **TWELVE)
    reference = apply_voi_lut(RAMP, pydicom.dcmread(path)) / 4095 * (2**bits - 1)
    assert np.abs(render_dicom(path, bit_depth=bits) - reference).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("function", ["LINEAR", "SIGMOID"])
def test_rescaled_values_are_windowed(tmp_path, function):
    stored = (RAMP.astype(np.int16) - 2048) // 2
    elements = {"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": -200, "WindowWidth": 700}
    path = write_dicom(tmp_path / "a.dcm", stored, VOILUTFunction=function, **elements)
    ds = pydicom.dcmread(path)
    reference = apply_voi_lut(apply_modality_lut(stored, ds), ds)
    low, high = -32768 * 2 - 1024, 32767 * 2 - 1024
    assert np.abs(render_dicom(path) - (reference - low) / (high - low) * 255).max() <= 0.5 + 1e-6


@pytest.mark.parametrize(
    "elements", [{"WindowCenter": 10, "WindowWidth": 0}, {"WindowCenter": 10}, {"WindowWidth": 9}]
)
def test_unusable_windows_are_ignored(tmp_path, elements):
    path = write_dicom(tmp_path / "a.dcm", RAMP, **elements, **TWELVE)
    np.testing.assert_array_equal(render_dicom(path), render_dicom(write_dicom(tmp_path / "b.dcm", RAMP, **TWELVE)))


def test_window_of_one_value_is_a_threshold(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP, WindowCenter=100, WindowWidth=1, **TWELVE)
    np.testing.assert_array_equal(render_dicom(path), np.where(RAMP > 99.5, 255, 0))


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_voi_lut_sequence_goes_before_the_window(tmp_path, syntax):
    lut = Dataset()
    lut.LUTDescriptor = [1024, 512, 12]
    table = (4095 * (np.arange(1024) / 1023) ** 2).astype(np.uint16)
    lut.LUTData = table.tolist() if syntax is None else table.tobytes()
    lut["LUTData"].VR = "US" if syntax is None else "OW"
    lut["LUTDescriptor"].VR = "US"
    options = {} if syntax is None else {"syntax": syntax}
    elements = {"VOILUTSequence": Sequence([lut]), "WindowCenter": 5, "WindowWidth": 10}
    path = write_dicom(tmp_path / "a.dcm", RAMP, **elements, **options, **TWELVE)
    expected = table[np.clip(RAMP.astype(int) - 512, 0, 1023)] / 4095 * 255
    np.testing.assert_array_equal(render_dicom(path), np.rint(expected))


def test_modality_lut_sequence(tmp_path):
    lut = Dataset()
    lut.LUTDescriptor, lut.ModalityLUTType = [4096, 0, 16], "US"
    lut.LUTData = (65535 - np.arange(4096) * 16).tolist()
    lut["LUTData"].VR = lut["LUTDescriptor"].VR = "US"
    path = write_dicom(tmp_path / "a.dcm", RAMP, ModalityLUTSequence=Sequence([lut]), **TWELVE)
    np.testing.assert_array_equal(render_dicom(path), np.rint((4095 - RAMP.astype(int)) / 4095 * 255))


def test_ct_windows(tmp_path):
    hounsfield = np.linspace(-1024, 3000, 4096).round().astype(np.int16).reshape(64, 64)
    elements = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}
    path = write_dicom(tmp_path / "a.dcm", hounsfield + 1024, **elements)
    for window, (center, width) in {**WINDOWS, (50, 350): (50, 350), None: (40, 400)}.items():
        expected = np.rint(np.clip((hounsfield - (center - width / 2)) / width, 0, 1) * 255)
        np.testing.assert_array_equal(render_dicom(path, window=window), expected, err_msg=str(window))
    raw = render_dicom(path, window="raw")
    assert raw.dtype == np.uint16
    np.testing.assert_array_equal(raw, hounsfield.astype(int) + 1024)
    own = write_dicom(tmp_path / "b.dcm", hounsfield + 1024, WindowCenter=-600, WindowWidth=1501, **elements)
    np.testing.assert_allclose(render_dicom(own), render_dicom(path, window=(-600.5, 1500)), atol=0)
    np.testing.assert_array_equal(apply_window(hounsfield, "lung"), render_dicom(path, window="lung"))


def test_named_window_of_monochrome1_is_inverted_but_raw_is_not(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="MONOCHROME1", **TWELVE)
    assert render_dicom(path, window=(2000, 1000))[0, 0] == 255
    np.testing.assert_array_equal(render_dicom(path, window="raw"), RAMP + 1024)


def test_values_above_the_declared_depth_do_not_wrap(tmp_path):
    values = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 4  # up to 16380, declared 12 bits
    path = write_dicom(tmp_path / "a.dcm", values, **TWELVE)
    grey = render_dicom(path)
    np.testing.assert_array_equal(grey, np.rint(values / values.max() * 255))
    overlay = write_dicom(tmp_path / "b.dcm", RAMP | 0x8000, **TWELVE)  # a bit of an overlay above the values
    ds = pydicom.dcmread(overlay)
    ds.add_new((0x6000, 0x0102), "US", 15)
    ds.save_as(overlay)
    np.testing.assert_array_equal(render_dicom(overlay), np.rint(RAMP / 4095 * 255))


def test_signed_values_whose_sign_is_not_extended(tmp_path):
    values = RAMP.astype(np.int16) - 2048
    bare = write_dicom(tmp_path / "a.dcm", values & 0x0FFF, **TWELVE)
    whole = write_dicom(tmp_path / "b.dcm", values, **TWELVE)
    np.testing.assert_array_equal(render_dicom(bare), np.rint((values + 2048.0) / 4095 * 255))
    np.testing.assert_array_equal(render_dicom(whole), render_dicom(bare))


def test_padding_is_black_and_outside_the_range(tmp_path):
    values = RAMP.astype(np.int16) + 1000
    values[0] = -2000
    path = write_dicom(tmp_path / "a.dcm", values, PixelPaddingValue=-2000, PhotometricInterpretation="MONOCHROME1")
    grey = render_dicom(path)
    assert (grey[0] == 0).all()
    np.testing.assert_array_equal(grey[1:], np.rint((5095 - values[1:]) / (4095 - 64) * 255))


def test_constant_and_wide_values(tmp_path):
    assert render_dicom(write_dicom(tmp_path / "a.dcm", np.full((4, 4), 7, np.uint8))).max() == 0
    wide = np.arange(16, dtype=np.uint32).reshape(4, 4) * 100_000
    np.testing.assert_array_equal(render_dicom(write_dicom(tmp_path / "b.dcm", wide)).ravel(), np.arange(16) * 17)


def test_colour(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    path = write_dicom(tmp_path / "a.dcm", rgb)
    np.testing.assert_array_equal(render_dicom(path), rgb)
    ybr = pydicom.pixels.convert_color_space(rgb, "RGB", "YBR_FULL")
    path = write_dicom(tmp_path / "b.dcm", ybr, PhotometricInterpretation="YBR_FULL")
    assert np.abs(render_dicom(path).astype(int) - rgb).max() <= 2
    wide = write_dicom(tmp_path / "c.dcm", rgb.astype(np.uint16) * 257)
    np.testing.assert_array_equal(render_dicom(wide), rgb)
    with pytest.raises(OptionError, match="colour image"):
        render_dicom(path, window="lung")


@pytest.mark.parametrize("bits", [8, 16])
def test_palette(tmp_path, bits):
    index = np.arange(256, dtype=np.uint8).reshape(16, 16)
    colours = np.random.default_rng(1).integers(0, 256, (3, 256))
    elements = {}
    for name, channel in zip(("Red", "Green", "Blue"), colours, strict=True):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, bits]
        data = channel.astype(np.uint8).tobytes() if bits == 8 else (channel * 257).astype("<u2").tobytes()
        elements[f"{name}PaletteColorLookupTableData"] = data
    path = write_dicom(tmp_path / "a.dcm", index, PhotometricInterpretation="PALETTE COLOR", **elements)
    np.testing.assert_array_equal(render_dicom(path), colours.T[index])
    assert Image.open(path).mode == "RGB"


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_lossless_syntaxes(tmp_path, syntax):
    ds = make_dicom(RAMP, **TWELVE)
    ds.compress(syntax)
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(render_dicom(tmp_path / "a.dcm"), np.rint(RAMP / 4095 * 255))


@pytest.mark.parametrize("precision", [12, 16])
def test_jpeg_lossless(tmp_path, precision):
    noise = np.random.default_rng(2).integers(0, 1 << precision, (33, 47)).astype(np.uint16)
    path = write_lossless(tmp_path / "a.dcm", noise, precision, BitsStored=precision, HighBit=precision - 1)
    np.testing.assert_array_equal(render_dicom(path, window="raw"), np.minimum(noise.astype(int) + 1024, 65535))


def test_jpeg_baseline(tmp_path):
    grey = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "JPEG", quality=95)
    path = write_encapsulated(tmp_path / "a.dcm", grey, [buffer.getvalue()], JPEGBaseline8Bit)
    assert np.abs(render_dicom(path, window=(127.5, 255)).astype(int) - grey).max() <= 3


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_native_syntaxes(tmp_path, syntax):
    values = RAMP.byteswap() if syntax == ExplicitVRBigEndian else RAMP
    path = write_dicom(tmp_path / "a.dcm", values, syntax=syntax, **TWELVE)
    np.testing.assert_array_equal(render_dicom(path), np.rint(RAMP / 4095 * 255))
    assert read_dicom_header(path).Rows == 64


def test_frames(tmp_path):
    cine = np.stack([np.full((6, 5), 10 * k, np.uint8) for k in range(4)])
    cine[:, 0, 0] = 255
    cine[:, 0, 1] = 0
    path = write_dicom(tmp_path / "a.dcm", cine, n_frames=4)
    with pytest.raises(OptionError, match="holds 4 frames: pass `frame=` from 0 to 3"):
        render_dicom(path)
    with pytest.raises(OptionError, match="from 0 to 3"):
        render_dicom(path, frame=4)
    np.testing.assert_array_equal(render_dicom(path, frame=2), cine[2])
    with Image.open(path) as image:
        assert (image.n_frames, image.is_animated) == (4, True)
        for index in (3, 0, 1):
            image.seek(index)
            np.testing.assert_array_equal(np.array(image), cine[index])
        with pytest.raises(EOFError):
            image.seek(4)


def test_functional_groups_of_enhanced_images(tmp_path):
    volume = np.stack([RAMP, RAMP]).astype(np.int16)

    def groups(slope, center):
        item, rescale, voi = Dataset(), Dataset(), Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = slope, 0, "HU"
        voi.WindowCenter, voi.WindowWidth = center, 1001
        item.PixelValueTransformationSequence, item.FrameVOILUTSequence = Sequence([rescale]), Sequence([voi])
        return item

    frames = Sequence([groups(1, 500.5), groups(2, 3000.5)])
    path = write_dicom(tmp_path / "a.dcm", volume, n_frames=2, PerFrameFunctionalGroupsSequence=frames)
    for index, (slope, center) in enumerate([(1, 500), (2, 3000)]):
        expected = np.rint(np.clip((RAMP * slope - (center - 500.0)) / 1000, 0, 1) * 255)
        np.testing.assert_array_equal(render_dicom(path, frame=index), expected)


def test_sources(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP, **TWELVE)
    expected = render_dicom(path)
    with path.open("rb") as file:
        np.testing.assert_array_equal(render_dicom(file), expected)
    for source in (str(path), path.read_bytes(), pydicom.dcmread(path)):
        np.testing.assert_array_equal(render_dicom(source), expected)
    assert dicom_to_image(path).mode == "L"
    assert dicom_to_image(path, bit_depth=16).mode == "I;16"
    with pytest.raises(OptionError, match="path, bytes or a binary file"):
        render_dicom(3)


def test_bad_options(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP, **TWELVE)
    for options, text in (
        ({"window": "lungs"}, "one of lung"),
        ({"bit_depth": 12}, "8 or 16"),
        ({"window": 3}, "centr"),
    ):
        with pytest.raises(OptionError, match=text):
            render_dicom(path, **options)
    with pytest.raises(OptionError, match="positive width"):
        render_dicom(path, window=(40, 0))


def test_header_is_read_without_pixels(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP, PatientAge="045Y", PatientSex="F", **TWELVE)
    header = read_dicom_header(path)
    assert (header.PatientAge, header.Rows, "PixelData" in header) == ("045Y", 64, False)
    few = read_dicom_header(path, tags=["PatientAge"])
    assert few.PatientAge == "045Y"
    assert "PatientSex" not in few


def test_damaged_files_are_named(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP, **TWELVE)
    data = path.read_bytes()
    missing = tmp_path / "missing.dcm"
    with pytest.raises(CorruptFileError, match=r"missing\.dcm"):
        render_dicom(missing)
    damaged = tmp_path / "damaged.dcm"
    for cut, reader in ((len(data) // 2, render_dicom), (250, read_dicom_header), (100, read_dicom_header)):
        damaged.write_bytes(data[:cut])
        with pytest.raises(CorruptFileError, match=r"damaged\.dcm"):
            reader(damaged)
    write_dicom(damaged, RAMP, PixelData=None)
    with pytest.raises(CorruptFileError, match=r"damaged\.dcm.*ends before its pixel data"):
        render_dicom(damaged)
    damaged.write_bytes(data.replace(b"\x02\x00\x10\x00UI", b"\x02\x00\x13\x00SH"))
    with pytest.raises(CorruptFileError, match="Transfer Syntax UID"):
        read_dicom_header(damaged)
    ds = make_dicom(RAMP, **TWELVE)
    ds.compress(JPEG2000Lossless)
    ds.save_as(damaged, enforce_file_format=True)
    damaged.write_bytes(damaged.read_bytes()[:-200])
    with pytest.raises(CorruptFileError, match=r"damaged\.dcm"):
        render_dicom(damaged)


def test_missing_decoder_is_said(tmp_path, monkeypatch):
    path = write_lossless(tmp_path / "a.dcm", RAMP[:8])

    class Nothing:
        is_available = False

    monkeypatch.setattr(pydicom.pixels, "get_decoder", lambda syntax: Nothing)
    with pytest.raises(DependencyError, match=r"climb-hf\[dicom\]"):
        render_dicom(path)
    assert dicom_pixels.n_frames(pydicom.dcmread(path)) == 1


def test_plugin_opens_lazily_and_like_other_formats(tmp_path):
    path = write_dicom(tmp_path / "a.dicom", RAMP[:32], **TWELVE)
    expected = render_dicom(path)
    image = Image.open(path)
    assert (image.format, image.size, image.mode) == ("DICOM", (64, 32), "L")
    assert image._im is None  # nothing decoded yet
    np.testing.assert_array_equal(np.array(image), expected)
    for twin in (copy.deepcopy(image), pickle.loads(pickle.dumps(Image.open(path))), Image.open(path).copy()):
        np.testing.assert_array_equal(np.array(twin), expected)
    with Image.open(io.BytesIO(path.read_bytes())) as image:
        np.testing.assert_array_equal(np.array(image.convert("RGB"))[..., 1], expected)
    register_pillow_plugin()
    assert Image.ID.count("DICOM") == 1
    assert Image.registered_extensions()[".dcm"] == "DICOM"


def test_plugin_leaves_other_formats_alone_and_names_damage(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.tif")
    assert Image.open(tmp_path / "a.tif").format == "TIFF"
    (tmp_path / "b.dcm").write_bytes(b"nothing of the kind" * 20)
    with pytest.raises(UnidentifiedImageError):
        Image.open(tmp_path / "b.dcm")
    path = write_dicom(tmp_path / "c.dcm", RAMP, **TWELVE)
    path.write_bytes(path.read_bytes()[:-100])
    image = Image.open(path)
    with pytest.raises(CorruptFileError, match=r"c\.dcm"):
        image.load()


def test_datasets_image_feature_decodes_dicom(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP, PhotometricInterpretation="MONOCHROME1", **TWELVE)
    features = datasets.Features({"image": datasets.Image(mode="RGB")})
    rows = datasets.Dataset.from_dict({"image": [str(path), {"bytes": path.read_bytes(), "path": None}]}, features)
    for row in rows:
        assert row["image"].mode == "RGB"
        np.testing.assert_array_equal(np.array(row["image"])[..., 0], render_dicom(path))


def test_registering_is_light():
    code = (
        "import sys; from climb_hf.readers.dicom import register_pillow_plugin as r; r(); "
        "print([m for m in ('pydicom', 'datasets', 'torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
