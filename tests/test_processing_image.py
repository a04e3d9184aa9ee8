import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification, ViTImageProcessor

from climb_hf.errors import CorruptFileError, OptionError, SchemaError
from climb_hf.models import ClimbVisionConfig, ClimbVisionForClassification
from climb_hf.processing import ClimbImageProcessor
from climb_hf.processing.augmentation import Augmentation

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def picture(height=32, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def normalised(array, mean=MEAN, std=STD):
    """The definition, in float64: (x / 255 - mean) / std, channels first."""
    return torch.from_numpy(((array / 255 - mean) / std).transpose(2, 0, 1))


def encoded(array, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, **{"format": "PNG", **options})
    return buffer.getvalue()


# --- images ----------------------------------------------------------------------------------------------------------


def test_values_are_scaled_and_normalised():
    array = picture()
    batch = ClimbImageProcessor(size=32)([array, array[::-1].copy()])
    assert set(batch) == {"pixel_values"}
    pixels = batch["pixel_values"]
    assert (pixels.shape, pixels.dtype) == ((2, 3, 32, 32), torch.float32)
    assert pixels.is_contiguous()
    torch.testing.assert_close(pixels[0].double(), normalised(array), atol=1e-6, rtol=0)
    torch.testing.assert_close(pixels[1].double(), normalised(array[::-1]), atol=1e-6, rtol=0)


def test_own_statistics_and_factor():
    array = picture()
    processor = ClimbImageProcessor(size=32, image_mean=0.5, image_std=[0.5, 0.25, 0.1])
    expected = normalised(array, np.full(3, 0.5), np.array([0.5, 0.25, 0.1]))
    torch.testing.assert_close(processor(array)["pixel_values"][0].double(), expected, atol=1e-6, rtol=1e-6)
    raw = ClimbImageProcessor(size=32, image_mean=0, image_std=1, rescale_factor=1)(array)["pixel_values"][0]
    assert torch.equal(raw, torch.from_numpy(array.transpose(2, 0, 1)).float())


def test_every_form_of_an_image_gives_the_same_tensor(tmp_path):
    array, processor = picture(40, 56), ClimbImageProcessor(size=(24, 32))
    (tmp_path / "a.png").write_bytes(encoded(array))
    forms = {
        "HWC": array,
        "CHW": array.transpose(2, 0, 1),
        "tensor": torch.from_numpy(array.transpose(2, 0, 1).copy()),
        "PIL": Image.fromarray(array),
        "path": tmp_path / "a.png",
        "name": str(tmp_path / "a.png"),
        "bytes": encoded(array),
        "undecoded": {"bytes": encoded(array), "path": None},
        "reference": {"bytes": None, "path": str(tmp_path / "a.png")},
    }
    expected = processor(array)["pixel_values"]
    assert expected.shape == (1, 3, 24, 32)
    for name, form in forms.items():
        assert torch.equal(processor(form)["pixel_values"], expected), name
        assert torch.equal(processor([form])["pixel_values"], expected), name
    batch = np.stack([array, array])
    assert torch.equal(processor(batch)["pixel_values"], expected.repeat(2, 1, 1, 1))
    assert isinstance(processor(array, return_tensors="np")["pixel_values"], np.ndarray)


def test_grey_images():
    grey = picture()[..., 0]
    colour = ClimbImageProcessor(size=32)(grey)["pixel_values"]
    assert torch.equal(colour, ClimbImageProcessor(size=32)(np.repeat(grey[..., None], 3, 2))["pixel_values"])
    processor = ClimbImageProcessor(size=32, num_channels=1)
    assert processor.image_mean == [pytest.approx(0.449)]
    assert processor.image_std == [pytest.approx(0.226)]
    for form in (grey, grey[..., None], grey[None], torch.from_numpy(grey)[None], Image.fromarray(grey)):
        pixels = processor(form)["pixel_values"]
        assert pixels.shape == (1, 1, 32, 32)
        torch.testing.assert_close(pixels[0].double(), normalised(grey[..., None], 0.449, 0.226), atol=1e-6, rtol=0)


def test_an_image_is_the_same_alone_and_in_any_batch():
    processor = ClimbImageProcessor(size=32)
    arrays = [picture(40 + 3 * seed, 50, seed) for seed in range(5)]
    together = processor(arrays)["pixel_values"]
    assert torch.equal(processor(arrays[::-1])["pixel_values"], together.flip(0))
    for index, array in enumerate(arrays):
        assert torch.equal(processor(array)["pixel_values"][0], together[index])


def test_resize_modes():
    halves = np.zeros((20, 60, 3), np.uint8)
    halves[:, 20:40] = 255  # the middle third is white
    fields = {"size": 20, "image_mean": 0, "image_std": 1}

    def row(**options):
        return ClimbImageProcessor(**fields, **options)(halves)["pixel_values"][0, 0]

    assert row(resize_mode="crop").min() == 1
    stretched = row()
    assert (stretched[:, :5] < 0.01).all()
    assert (stretched[:, 8:12] > 0.99).all()
    padded = row(resize_mode="pad")
    assert (padded[:6] == 0).all()
    assert (padded[-6:] == 0).all()
    assert padded[10, 10] > 0.99
    whole = np.zeros((60, 60, 3), np.uint8)
    whole[15:45, 15:45] = 255
    zoomed = ClimbImageProcessor(**fields, resize_mode="crop", crop_pct=0.5)(whole)["pixel_values"]
    assert zoomed.shape == (1, 3, 20, 20)
    assert zoomed[0, :, 1:-1, 1:-1].min() > 0.95


def test_reduced_decoding_of_a_large_jpeg_stays_close(tmp_path):
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(picture(900, 1200).astype(float), (25, 25, 0))
    smooth = ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)
    content = encoded(smooth, format="JPEG", quality=95)
    processor = ClimbImageProcessor(size=64, image_mean=0, image_std=1)
    full = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    difference = processor(content)["pixel_values"] - processor(full)["pixel_values"]
    assert difference.abs().max() < 6 / 255


# --- frames ----------------------------------------------------------------------------------------------------------


def test_frames_are_padded_with_zeros_and_masked():
    processor = ClimbImageProcessor(size=32)
    frames = [picture(seed=seed) for seed in range(3)]
    batch = processor([frames, frames[:1]])
    pixels, mask = batch["pixel_values"], batch["frame_mask"]
    assert pixels.shape == (2, 3, 3, 32, 32)
    assert mask.tolist() == [[True, True, True], [True, False, False]]
    assert torch.equal(pixels[0], processor(frames)["pixel_values"])
    assert torch.equal(pixels[1, 0], pixels[0, 0])
    assert (pixels[1, 1:] == 0).all()
    assert torch.equal(processor([np.stack(frames), frames[0]])["pixel_values"], pixels)


def test_frames_of_a_longer_video_are_equally_spaced():
    frames = [np.full((8, 8, 3), value, np.uint8) for value in range(0, 210, 10)]  # 21 frames
    processor = ClimbImageProcessor(size=8, num_frames=5, image_mean=0, image_std=1, rescale_factor=1)
    batch = processor([frames, frames[:2]])
    assert batch["pixel_values"][0, :, 0, 0, 0].tolist() == [0, 50, 100, 150, 200]
    assert batch["frame_mask"].tolist() == [[True] * 5, [True, True, False, False, False]]


# --- files -----------------------------------------------------------------------------------------------------------


def test_the_file_beside_the_checkpoint_is_enough(tmp_path):
    config = ClimbVisionConfig(backbone="timm/test_vit", image_size=32, vocabulary=["nevus", "melanoma"])
    torch.manual_seed(0)
    model = ClimbVisionForClassification(config).eval()
    processor = ClimbImageProcessor(size=32, image_mean=0.5, image_std=0.5, num_frames=4, augmentation={})
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    AutoImageProcessor.register(ClimbVisionConfig, ClimbImageProcessor, exist_ok=True)
    loaded = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(loaded) is ClimbImageProcessor
    assert loaded.to_dict() == processor.to_dict()
    stored = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert stored["size"] == {"height": 32, "width": 32}
    assert stored["image_mean"] == [0.5] * 3
    assert stored["rescale_factor"] == 1 / 255
    example = picture(48, 64)
    with torch.no_grad():
        expected = model(**processor(example)).logits
        found = AutoModelForImageClassification.from_pretrained(tmp_path)(**loaded(example)).logits
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_fields_can_be_changed_when_loading_and_calling(tmp_path):
    ClimbImageProcessor(size=32).save_pretrained(tmp_path)
    assert ClimbImageProcessor.from_pretrained(tmp_path, size=48).size == {"height": 48, "width": 48}
    processor = ClimbImageProcessor.from_pretrained(tmp_path)
    assert processor(picture(), size=16)["pixel_values"].shape == (1, 3, 16, 16)
    assert processor.size["height"] == 32
    with pytest.raises(OptionError, match=r"unknown arguments \['sizee'\]"):
        processor(picture(), sizee=16)


def test_statistics_of_a_backbone(tmp_path):
    processor = ClimbImageProcessor.from_backbone("timm/eva02_tiny_patch14_336")
    assert processor.size == {"height": 336, "width": 336}
    assert processor.image_mean == pytest.approx([0.48145466, 0.4578275, 0.40821073])
    assert processor.image_std == pytest.approx([0.26862954, 0.26130258, 0.27577711])
    assert ClimbImageProcessor.from_backbone("timm/test_vit", size=64, num_channels=1).image_mean == [0.5]
    ViTImageProcessor(size={"height": 96, "width": 64}, image_mean=[0.1, 0.2, 0.3]).save_pretrained(tmp_path)
    processor = ClimbImageProcessor.from_backbone(str(tmp_path))
    assert (processor.size, processor.image_mean) == ({"height": 96, "width": 64}, [0.1, 0.2, 0.3])
    with pytest.raises(OptionError, match="has no weights called"):
        ClimbImageProcessor.from_backbone("timm/test_vit.nope")


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": 0}, "`size` must be a side"),
        ({"size": {"shortest_edge": 32}}, "`size` must be a side"),
        ({"resize_mode": "squash"}, "`resize_mode` must be one of"),
        ({"crop_pct": 0.9}, "unless `resize_mode='crop'`"),
        ({"interpolation": "nearest"}, "`interpolation` must be `bicubic`"),
        ({"image_mean": [0.5]}, "must be 3 finite numbers"),
        ({"image_std": [0.1, 0.1, 0]}, "`image_std` must be above 0"),
        ({"num_channels": 4}, "`num_channels` must be 1 or 3"),
        ({"num_frames": 0}, "`num_frames` must be at least 1"),
        ({"rescale_factor": 0}, "`rescale_factor` must be above 0"),
        ({"do_normalise": True}, r"unknown fields \['do_normalise'\]"),
        ({"augmentation": {"flip": 1}}, r"unknown keys \['flip'\]"),
        ({"augmentation": {"crop_scale": (0.5, 1.2)}}, "`crop_scale` must be a range"),
        ({"augmentation": {"brightness": 2}}, r"`brightness` must be in \[0, 1\]"),
    ],
)
def test_fields_out_of_range(fields, message):
    with pytest.raises(OptionError, match=message):
        ClimbImageProcessor(**fields)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "`images` is empty"),
        ([[picture()], []], r"at \[1\] of the batch have no frames"),
        (picture().astype(np.float32), "must be 8-bit"),
        (picture().astype(np.uint16), "window or range"),
        (np.zeros((5, 7, 9), np.uint8), "1, 3 or 4 channels"),
        (np.zeros(9, np.uint8), "2 or 3 dimensions"),
        ([3], "but is a int"),
    ],
)
def test_inputs_that_are_no_images(images, message):
    with pytest.raises(SchemaError, match=message):
        ClimbImageProcessor(size=32)(images)


def test_damaged_files_and_arguments(tmp_path):
    content = encoded(picture(200, 200), format="JPEG")
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    processor = ClimbImageProcessor(size=32)
    with pytest.raises(CorruptFileError, match=r"cut\.jpg"):
        processor(tmp_path / "cut.jpg")
    with pytest.raises(CorruptFileError, match=r"absent\.png"):
        processor(str(tmp_path / "absent.png"))
    with pytest.raises(OptionError, match="only positional argument"):
        processor(picture(), "pt")
    with pytest.raises(OptionError, match="`return_tensors`"):
        processor(picture(), return_tensors="tf")


# --- augmentation ----------------------------------------------------------------------------------------------------


def test_augmentation_is_off_unless_asked_for_and_repeats_with_its_seed():
    plain, processor = ClimbImageProcessor(size=32), ClimbImageProcessor(size=32, augmentation={})
    arrays = [picture(60, 60, seed) for seed in range(3)]
    assert torch.equal(processor(arrays)["pixel_values"], plain(arrays)["pixel_values"])
    first = processor(arrays, augment=True, generator=7)["pixel_values"]
    assert first.shape == (3, 3, 32, 32)
    assert torch.equal(processor(arrays, augment=True, generator=7)["pixel_values"], first)
    generator = torch.Generator().manual_seed(7)
    assert torch.equal(processor(arrays, augment=True, generator=generator)["pixel_values"], first)
    assert not torch.equal(processor(arrays, augment=True, generator=generator)["pixel_values"], first)
    with pytest.raises(OptionError, match="needs `generator`"):
        processor(arrays, augment=True)
    with pytest.raises(OptionError, match="has no `augmentation`"):
        plain(arrays, augment=True, generator=1)


def test_frames_of_a_video_change_together_and_videos_apart():
    processor = ClimbImageProcessor(size=16, augmentation={"crop_scale": (0.5, 0.9)})
    frame = picture(40, 40)
    pixels = processor([[frame] * 3, [frame] * 2], augment=True, generator=0)["pixel_values"]
    assert torch.equal(pixels[0, 0], pixels[0, 2])
    assert torch.equal(pixels[1, 0], pixels[1, 1])
    assert not torch.allclose(pixels[0, 0], pixels[1, 0], atol=0.1)
    assert (pixels[1, 2] == 0).all()


def test_what_each_change_does():
    still = {"crop_scale": (1, 1), "crop_ratio": (1, 1), "brightness": 0, "contrast": 0}
    array = picture()
    fields = {"size": 32, "image_mean": 0, "image_std": 1, "rescale_factor": 1}

    def changed(source=array, **options):
        processor = ClimbImageProcessor(**fields, augmentation={**still, **options})
        return processor([source] * 64, augment=True, generator=0)["pixel_values"]

    plain = ClimbImageProcessor(**fields)(array)["pixel_values"]
    torch.testing.assert_close(changed(), plain.expand(64, -1, -1, -1), atol=2e-2, rtol=0)
    torch.testing.assert_close(changed(horizontal_flip=1.0)[:1], plain.flip(-1), atol=2e-2, rtol=0)
    grey = np.full((32, 32, 3), 100, np.uint8)
    bright = changed(grey, brightness=0.5)[:, 0, 0, 0]
    assert 50 <= bright.min() < 70
    assert 130 < bright.max() <= 150
    contrast = changed(grey, contrast=0.5)[:, 0, 0, 0]
    assert 127.5 - 27.5 * 1.5 <= contrast.min() < contrast.max() <= 127.5 - 27.5 * 0.5
    assert changed(np.full((32, 32, 3), 250, np.uint8), brightness=0.5).max() == 255
    left = np.zeros((64, 64, 3), np.uint8)
    left[:, :32] = 255
    share = (changed(left, crop_scale=(0.25, 0.25)) / 255).mean(
        (1, 2, 3)
    )  # half the side: anything from left to right
    assert share.min() < 0.1
    assert share.max() > 0.9


def test_flips_are_off_by_default_and_small_crops_keep_their_resolution():
    assert Augmentation().horizontal_flip == 0
    assert Augmentation(crop_scale=(0.25, 1)).decode_size((32, 48)) == (64, 96)
