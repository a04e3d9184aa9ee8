"""Pictures: reduced-scale decoding, colour rules, orientation, resizing and encoding, on synthetic images."""

import io

import numpy as np
import pytest
from dicom_files import write_dicom
from PIL import Image

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.readers.dicom import render_dicom
from climb_hf.readers.image import encode_image, load_image, resize_image, to_rgb


def natural(height, width, seed=0):
    """Return a synthetic picture whose spectrum falls off like that of photographs, uint8 RGB."""
    generator = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    amplitude = 1 / np.maximum(frequency, 1 / max(height, width)) ** 1.4
    channels = []
    for _ in range(3):
        phase = np.exp(2j * np.pi * generator.random(amplitude.shape))
        plane = np.fft.irfft2(amplitude * phase, s=(height, width))
        channels.append((plane - plane.mean()) / plane.std())
    channels = [0.9 * channels[0] + 0.3 * plane for plane in channels]
    return np.clip(128 + 50 * np.stack(channels, axis=-1), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def photo():
    return natural(900, 1200)


def reference(picture, size=(224, 224)):
    return np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)).astype(int)


@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_reduced_scale_is_close_to_full_decoding(photo, subsampling, progressive):
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=92, subsampling=subsampling, progressive=progressive)
    ours = load_image(buffer.getvalue(), size=224)
    assert (ours.shape, ours.dtype) == ((224, 224, 3), np.uint8)
    difference = np.abs(ours - reference(Image.open(buffer)))
    assert difference.mean() < 1.5
    assert difference.max() <= 24


def test_jpeg_is_really_decoded_at_reduced_scale(photo, monkeypatch):
    drafts = []
    plugin = Image.open(io.BytesIO(encode_image(photo, "JPEG"))).__class__
    draft = plugin.draft

    def recorded(self, mode, size):
        result = draft(self, mode, size)
        drafts.append(self.size)
        return result

    monkeypatch.setattr(plugin, "draft", recorded)
    load_image(encode_image(photo, "JPEG"), size=(224, 224))
    load_image(encode_image(photo, "JPEG"), size=(500, 500))
    assert drafts == [(300, 225), (1200, 900)]


def test_without_size_every_pixel_is_exact(photo, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encode_image(photo))
    for source in (
        path,
        str(path),
        path.read_bytes(),
        {"path": str(path)},
        {"bytes": path.read_bytes(), "path": None},
    ):
        np.testing.assert_array_equal(load_image(source), photo)
    np.testing.assert_array_equal(load_image(Image.fromarray(photo)), photo)
    jpeg = encode_image(photo, "JPEG")
    np.testing.assert_array_equal(load_image(jpeg), np.asarray(Image.open(io.BytesIO(jpeg))))


def test_resizing_without_reduction_equals_pillow(photo):
    ours = load_image(encode_image(photo), size=(100, 180))
    np.testing.assert_array_equal(ours, reference(Image.fromarray(photo), (180, 100)))


def test_grey_jpeg_becomes_three_equal_channels(photo):
    grey = photo[..., 0]
    ours = load_image(encode_image(grey, "JPEG"), size=128)
    assert ours.shape == (128, 128, 3)
    assert (ours == ours[..., :1]).all()
    assert np.abs(ours - reference(Image.fromarray(grey), (128, 128))).mean() < 1.5
    assert load_image(encode_image(grey), mode="L").shape == (900, 1200, 1)
    colour = load_image(encode_image(photo, "JPEG"), mode="L", size=128)
    expected = np.asarray(Image.fromarray(photo).convert("L").resize((128, 128), Image.Resampling.BICUBIC))
    assert np.abs(colour[..., 0].astype(int) - expected).mean() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [None, (60, 90)])
@pytest.mark.parametrize("keep_aspect", ["stretch", "crop", "pad"])
def test_orientation(orientation, size, keep_aspect):
    upright = natural(240, 320, seed=3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    # The stored picture is the inverse of the turn that viewers apply.
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = Image.fromarray(upright)
    stored = stored if orientation == 1 else stored.transpose(Image.Transpose(turns[orientation]))
    stored.save(buffer, "JPEG", quality=98, subsampling=0, exif=exif)
    ours = load_image(buffer.getvalue(), size=size, keep_aspect=keep_aspect).astype(int)
    expected = load_image(upright_jpeg(upright), size=size, keep_aspect=keep_aspect)
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).mean() < 2


def upright_jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=98, subsampling=0)
    return buffer.getvalue()


def test_crop_and_pad():
    wide = np.zeros((100, 400, 3), np.uint8)
    wide[:, 150:250] = 255  # the centred square is white
    for encode in (lambda pixels: encode_image(pixels), lambda pixels: encode_image(pixels, "JPEG")):
        crop = load_image(encode(wide), size=20, keep_aspect="crop")
        assert crop[:, 2:-2].min() >= 250
        pad = load_image(encode(np.full((100, 400, 3), 200, np.uint8)), size=40, keep_aspect="pad")
        assert pad[:15].max() == 0
        assert pad[25:].max() == 0
        assert np.abs(pad[15:25].astype(int) - 200).max() <= 2


def test_colour_rules():
    clear = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    clear.putpixel((1, 0), (0, 0, 255, 255))
    assert list(map(tuple, np.asarray(to_rgb(clear))[0].tolist())) == [(255, 255, 255), (0, 0, 255)]
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    assert list(map(tuple, np.asarray(to_rgb(palette))[0].tolist())) == [(10, 20, 30), (40, 50, 60)]
    palette.info["transparency"] = 1
    assert list(map(tuple, np.asarray(to_rgb(palette))[0].tolist())) == [(10, 20, 30), (255, 255, 255)]
    half = Image.new("LA", (1, 1), (0, 128))
    assert to_rgb(half).getpixel((0, 0)) == (127, 127, 127)
    assert to_rgb(Image.new("1", (1, 1), 1)).getpixel((0, 0)) == (255, 255, 255)
    assert to_rgb(Image.new("CMYK", (1, 1), (0, 0, 0, 255))).getpixel((0, 0)) == (0, 0, 0)
    opaque = Image.new("RGB", (1, 1), (1, 2, 3))
    assert to_rgb(opaque) is opaque


def test_16_bits_keep_their_range():
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    buffer = encode_image(values)
    assert Image.open(io.BytesIO(buffer)).mode == "I;16"
    assert load_image(buffer)[0, :, 0].tolist() == [0, 1, 128, 255]
    dark = np.array([[0, 4095]], np.uint16)  # no stretching: the range of the type counts, not that of the values
    assert load_image(encode_image(dark), mode="L").ravel().tolist() == [0, 16]
    wide = Image.fromarray(np.array([[-100, 100]], np.int32))
    assert load_image(wide, mode="L").ravel().tolist() == [0, 255]
    floats = Image.fromarray(np.array([[0.5, np.nan, 1.5, 1.0]], np.float32))
    assert load_image(floats, mode="L").ravel().tolist() == [0, 0, 255, 128]


def test_a_picture_handed_in_is_not_changed(photo):
    picture = Image.open(io.BytesIO(encode_image(photo, "JPEG")))
    load_image(picture, size=64)
    assert picture.size == (1200, 900)
    assert np.asarray(picture).shape == (900, 1200, 3)


def test_dicom_loads_as_a_picture(tmp_path):
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    path = write_dicom(tmp_path / "a.dcm", ramp, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(load_image(path)[..., 2], render_dicom(path))
    assert load_image(path, size=16).shape == (16, 16, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [None, 64])
def test_truncated_files_are_named(photo, tmp_path, format, size):
    data = encode_image(photo, format)
    path = tmp_path / "cut.img"
    for share in (0.9, 0.5, 0.001):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(CorruptFileError, match=r"cut\.img"):
            load_image(path, size=size)
    with pytest.raises(CorruptFileError, match="<bytes>"):
        load_image(data[:1000])
    with pytest.raises(CorruptFileError, match="missing"):
        load_image(tmp_path / "missing.png")


def test_bad_options(photo):
    for options, text in (
        ({"size": 0}, "positive int"),
        ({"size": (3, 4, 5)}, "positive int"),
        ({"size": 3.5}, "positive int"),
        ({"mode": "BGR"}, "'RGB' or 'L'"),
        ({"size": 4, "keep_aspect": "fit"}, "'stretch', 'crop' or 'pad'"),
    ):
        with pytest.raises(OptionError, match=text):
            load_image(Image.fromarray(photo), **options)
    for source in (7, {"path": None, "bytes": None}):
        with pytest.raises(OptionError, match="expected a path"):
            load_image(source)


def test_resize_arrays(photo):
    np.testing.assert_array_equal(resize_image(photo, 50), reference(Image.fromarray(photo), (50, 50)))
    assert resize_image(photo[..., :1], (20, 30)).shape == (20, 30, 1)
    deep = photo[..., 0].astype(np.uint16) * 257
    small = resize_image(deep, 64)
    assert small.dtype == np.uint16
    assert np.abs(small / 257 - resize_image(photo[..., 0], 64)).max() < 1.5  # 8 bits round twice
    with pytest.raises(OptionError, match="float64"):
        resize_image(photo / 255, 8)


def test_encode(photo):
    for pixels in (photo, photo[..., 0], photo[..., :1], photo[..., 0].astype(np.uint16) * 200, photo[..., 0] > 128):
        back = np.asarray(Image.open(io.BytesIO(encode_image(pixels))))
        expected = pixels.squeeze() * np.uint8(255) if pixels.dtype == bool else pixels.squeeze()
        np.testing.assert_array_equal(back, expected)
    assert np.abs(load_image(encode_image(photo, "JPEG")).astype(int) - photo).mean() < 2
    with pytest.raises(OptionError, match="8 bits"):
        encode_image(np.zeros((2, 2), np.uint16), "JPEG")
    with pytest.raises(OptionError, match="'PNG' or 'JPEG'"):
        encode_image(photo, "BMP")


@pytest.mark.parametrize(
    "size",
    [(640, 480), (481, 640), (1022, 767), (224, 300), (225, 224), (100, 90), (301, 300), (2500, 2049)],
)
def test_crop_has_the_pixels_of_torchvision(size):
    transforms = pytest.importorskip("torchvision.transforms.v2")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    resize = transforms.Resize(224, transforms.InterpolationMode.BICUBIC, antialias=True)
    expected = np.asarray(transforms.CenterCrop(224)(resize(picture)))
    found = load_image(picture, size=224, keep_aspect="crop")
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert (found != expected).mean() < 0.001
