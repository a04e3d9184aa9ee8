"""Targets by hand, and batches of images, frames and both."""

import io
import pickle

import datasets
import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image, List, Value
from PIL import Image as PillowImage
from torch.utils.data import DataLoader

from climb_hf.errors import CorruptFileError, OptionError, SchemaError, VocabularyError
from climb_hf.processing.image_processor import ClimbImageProcessor
from climb_hf.training.collator import ClassificationCollator, prepare_for_training
from climb_hf.training.targets import TargetBuilder

NAMES = ["other", "edema", "effusion", "nevus", "melanoma"]  # of the dataset's ClassLabel
VOCABULARY = ["nevus", "melanoma", "edema", "effusion"]  # of the model: another order, one name less
CLASSES = {"chest": ["edema", "effusion"], "skin": ["melanoma", "nevus"]}
MULTI = {"chest": True, "skin": False}


class MeanProcessor:
    """Stands in for an image processor: every picture becomes 3 × 2 × 2 of its mean grey value."""

    def __call__(self, images, return_tensors):
        assert return_tensors == "pt"
        values = [float(np.asarray(image).mean()) for image in images]
        return {"pixel_values": torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()}


class EncodedProcessor(MeanProcessor):
    accepts_encoded_images = True

    def __call__(self, images, return_tensors):
        assert all(set(image) == {"bytes", "path"} for image in images)
        return super().__call__([PillowImage.open(io.BytesIO(image["bytes"])) for image in images], return_tensors)


def build(**options):
    return TargetBuilder(VOCABULARY, CLASSES, MULTI, label_names=NAMES, **options)


def collator(processor=None, **options):
    return ClassificationCollator(
        processor or MeanProcessor(), VOCABULARY, CLASSES, MULTI, label_names=NAMES, **options
    )


def grey(value):
    return PillowImage.new("RGB", (4, 4), (value, value, value))


def row(number, source, labels, **columns):
    return {"id": f"r{number}", "source": source, "group": f"g{number}", "labels": labels, **columns}


def test_targets_by_hand():
    rows = [
        row(0, "chest", [1, 2]),
        row(1, "chest", []),
        row(2, "skin", [4]),
        row(3, "chest", ["edema"], uncertain=["effusion"]),
        row(4, "chest", None),
    ]
    targets = build()(rows)
    assert targets["labels"].tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    chest, skin = [0, 0, 1, 1], [1, 1, 0, 0]
    assert targets["target_mask"].int().tolist() == [chest, chest, skin, [0, 0, 1, 0], [0, 0, 0, 0]]
    assert targets["exclusive"].tolist() == [False, False, True, False, False]
    assert (targets["labels"].dtype, targets["target_mask"].dtype) == (torch.float32, torch.bool)


def test_uncertain_policies():
    rows = [row(0, "chest", [1], uncertain=[2]), row(1, "chest", [1], uncertain=[1])]
    ignored, negative = build()(rows), build(uncertain="negative")(rows)
    assert ignored["target_mask"].int().tolist() == [[0, 0, 1, 0], [0, 0, 1, 1]]  # positive and uncertain: positive
    assert negative["target_mask"].int().tolist() == [[0, 0, 1, 1]] * 2
    assert ignored["labels"].tolist() == negative["labels"].tolist() == [[0, 0, 1, 0]] * 2
    with pytest.raises(OptionError, match="`uncertain` must be `ignore` or `negative`"):
        build(uncertain="positive")


def test_labels_outside_the_sources_classes_do_nothing(caplog):
    builder = build()
    with caplog.at_level("WARNING"):
        targets = builder([row(0, "chest", [1, 3]), row(1, "chest", [0]), row(2, "chest", [3])])
    assert targets["labels"].tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert len(caplog.records) == 2  # once per source and label
    assert "label `nevus` (record `r0`)" in caplog.text


def test_wrong_sources_and_labels_name_the_record():
    with pytest.raises(VocabularyError, match=r"record `r7` comes from the source 'chests'.*Near: chest"):
        build()([row(7, "chests", [])])
    with pytest.raises(VocabularyError, match="record `r7` has the label 5"):
        build()([row(7, "chest", [5])])
    with pytest.raises(VocabularyError, match="unknown label 'edemas'"):
        build()([row(7, "chest", ["edemas"])])
    with pytest.raises(VocabularyError, match=r"source `x` labels \['fracture'\]"):
        TargetBuilder(VOCABULARY, {"x": ["fracture"]}, {"x": True}, label_names=NAMES)
    with pytest.raises(VocabularyError, match="is missing in `multi_label`"):
        TargetBuilder(VOCABULARY, {"x": ["edema"]}, {}, label_names=NAMES)


def test_positive_counts():
    labels = [[1, 2], [1], [], [4], [0]]
    features = Features({"labels": List(ClassLabel(names=NAMES))})
    dataset = Dataset.from_dict({"labels": labels}, features=features)
    counts, rows = build().positive_counts(dataset)
    assert (counts.tolist(), rows) == ([0, 1, 2, 1], 5)
    assert build().positive_counts(dataset.select([0, 3]))[0].tolist() == [0, 1, 1, 1]
    assert build().positive_counts(dataset.select([1, 1, 4, 1]))[0].tolist() == [0, 0, 3, 0]
    nulls = Dataset.from_dict({"labels": [None, [1], None, [1, 4]]}, features=features)
    assert build().positive_counts(nulls.select([3, 0, 1]))[0].tolist() == [0, 1, 2, 0]
    assert build().positive_counts(nulls)[0].tolist() == [0, 1, 2, 0]
    assert build().positive_counts([{"labels": part} for part in labels])[0].tolist() == [0, 1, 2, 1]


def test_images_alone_have_no_axis_for_frames():
    batch = collator()([row(0, "skin", [3], image=grey(10)), row(1, "chest", [], image=grey(30), frames=None)])
    assert batch["pixel_values"].shape == (2, 3, 2, 2)
    assert batch["pixel_values"][:, 0, 0, 0].tolist() == [10.0, 30.0]
    assert "frame_mask" not in batch
    assert (batch["ids"], batch["sources"], batch["groups"]) == (["r0", "r1"], ["skin", "chest"], ["g0", "g1"])
    assert {"labels", "target_mask", "exclusive"} <= batch.keys()


def test_frames_and_images_in_one_batch():
    rows = [
        row(0, "chest", [], frames=[grey(1), grey(2), grey(3)], image=None),
        row(1, "skin", [3], image=grey(9)),
        row(2, "chest", [1], frames=[grey(5)]),
    ]
    batch = collator()(rows)
    assert batch["pixel_values"].shape == (3, 3, 3, 2, 2)
    assert batch["pixel_values"][:, :, 0, 0, 0].tolist() == [[1, 2, 3], [9, 0, 0], [5, 0, 0]]
    assert batch["frame_mask"].int().tolist() == [[1, 1, 1], [1, 0, 0], [1, 0, 0]]


def test_num_frames_are_equally_spaced():
    rows = [row(0, "chest", [], frames=[grey(value) for value in range(9)])]
    assert collator(num_frames=3)(rows)["pixel_values"][0, :, 0, 0, 0].tolist() == [0, 4, 8]
    assert collator(num_frames=20)(rows)["pixel_values"].shape[1] == 9
    with pytest.raises(OptionError, match="`num_frames` must be at least 1"):
        collator(num_frames=0)


def test_row_without_a_picture():
    with pytest.raises(SchemaError, match="record `r3` of `chest` has neither `image` nor `frames`"):
        collator()([row(3, "chest", [], image=None, frames=[])])


def picture_dataset(count=5):
    features = Features(
        {
            "id": Value("string"),
            "source": Value("string"),
            "group": Value("string"),
            "labels": List(ClassLabel(names=NAMES)),
            "uncertain": List(ClassLabel(names=NAMES)),
            "image": Image(mode="RGB"),
            "frames": List(Image(mode="RGB")),
        }
    )
    columns = {
        "id": [f"r{number}" for number in range(count)],
        "source": ["chest"] * count,
        "group": ["g"] * count,
        "labels": [[1]] * count,
        "uncertain": [[]] * count,
        "image": [grey(10 * number) for number in range(count)],
        "frames": [[grey(number)] * (number % 3) for number in range(count)],
    }
    return Dataset.from_dict(columns, features=features)


def test_prepare_for_training_changes_the_decoding_only():
    original = picture_dataset().select([4, 2, 0, 1])
    prepared = prepare_for_training(original)
    assert prepared.features["image"] == Image(mode="RGB", decode=False)
    assert prepared.features["frames"] == List(Image(mode="RGB", decode=False))
    assert prepared["id"][:] == ["r4", "r2", "r0", "r1"]
    assert set(prepared[1]["image"]) == {"bytes", "path"}
    assert [set(frame) for frame in prepared[1]["frames"]] == [{"bytes", "path"}] * 2
    assert original.features["image"].decode
    assert isinstance(original[0]["image"], PillowImage.Image)
    assert prepared._fingerprint != original._fingerprint
    assert prepared.cache_files == original.cache_files
    assert prepare_for_training(prepared) is prepared
    plain = original.remove_columns(["image", "frames"])
    assert prepare_for_training(plain) is plain


def test_prepare_for_training_keeps_format_and_streams():
    formatted = prepare_for_training(picture_dataset().with_format("numpy"))
    assert formatted.format["type"] == "numpy"
    streamed = prepare_for_training(picture_dataset().to_iterable_dataset())
    first = next(iter(streamed))
    assert set(first["image"]) == {"bytes", "path"}
    assert isinstance(first["frames"], list)


@pytest.mark.parametrize(
    ("processor", "prepared"), [(MeanProcessor, True), (MeanProcessor, False), (EncodedProcessor, True)]
)
def test_encoded_pictures_give_the_same_batch(processor, prepared):
    dataset = picture_dataset()
    source = prepare_for_training(dataset) if prepared else dataset
    batch = collator(processor())([source[0], source[3]])
    assert batch["pixel_values"][:, 0, 0, 0].tolist() == [0.0, 30.0]
    assert collator(processor())([source[0], source[2]])["pixel_values"].shape == (2, 2, 3, 2, 2)


def test_broken_picture_names_the_record():
    with pytest.raises(CorruptFileError, match="picture of record `r1` of `chest` cannot be decoded: stored bytes"):
        collator()([row(1, "chest", [], image={"bytes": b"no picture", "path": None})])


def real_processor(**fields):
    return ClimbImageProcessor(size=8, **fields)


def noisy(seed):
    return PillowImage.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8))


def test_with_the_image_processor():
    rows = [
        row(0, "chest", [], frames=[noisy(1), noisy(2), noisy(3)]),
        row(1, "skin", [3], image=noisy(4)),
    ]
    batch = collator(real_processor())(rows)
    expected = real_processor()([[noisy(1), noisy(2), noisy(3)], [noisy(4)]])
    assert torch.equal(batch["pixel_values"], expected["pixel_values"])
    assert torch.equal(batch["frame_mask"], expected["frame_mask"])
    few = collator(real_processor(num_frames=2))(rows)
    assert torch.equal(
        few["pixel_values"], real_processor(num_frames=2)([rows[0]["frames"], [noisy(4)]])["pixel_values"]
    )
    dataset = picture_dataset().remove_columns("frames")
    decoded = collator(real_processor())([dataset[1], dataset[2]])["pixel_values"]
    prepared = prepare_for_training(dataset)
    assert torch.equal(collator(real_processor())([prepared[1], prepared[2]])["pixel_values"], decoded)
    with pytest.raises(CorruptFileError, match=r"picture of record `r9` of `chest` cannot be decoded: .*"):
        collator(real_processor())([rows[1], row(9, "chest", [], image={"bytes": b"no picture", "path": None})])


def test_augmentation_depends_on_seed_and_draw_alone():
    def rows(*draws):
        return [row(0, "skin", [3], image=noisy(4)) | {"draw": draw} for draw in draws]

    plain = collator(real_processor(augmentation={"crop_scale": [0.5, 0.7]}))
    training = plain.for_training(3)
    pixels = training(rows(5, 6, 7))["pixel_values"]
    assert torch.equal(training(rows(7, 5))["pixel_values"], pixels[[2, 0]])
    assert not torch.equal(pixels[0], pixels[1])
    assert not torch.equal(plain.for_training(4)(rows(5))["pixel_values"], pixels[:1])
    assert torch.equal(plain(rows(5))["pixel_values"], collator(real_processor())(rows(9))["pixel_values"])
    videos = [row(0, "chest", [], frames=[noisy(1), noisy(1)], draw=2), row(1, "skin", [3], image=noisy(4), draw=3)]
    found = training(videos)["pixel_values"]
    assert found.shape == (2, 2, 3, 8, 8)
    assert torch.equal(found[0, 0], found[0, 1])
    without = collator(real_processor())
    assert without.for_training(3) is without


def test_in_the_workers_of_a_data_loader():
    dataset = prepare_for_training(picture_dataset().remove_columns("frames"))
    alone = list(DataLoader(dataset, batch_size=2, collate_fn=collator()))
    workers = list(DataLoader(dataset, batch_size=2, collate_fn=collator(), num_workers=2))
    assert [batch["ids"] for batch in workers] == [["r0", "r1"], ["r2", "r3"], ["r4"]]
    for one, other in zip(alone, workers, strict=True):
        torch.testing.assert_close(one["pixel_values"], other["pixel_values"], rtol=0, atol=0)
        assert torch.equal(one["labels"], other["labels"])
    copied = pickle.loads(pickle.dumps(collator()))
    assert torch.equal(copied([dataset[0]])["labels"], alone[0]["labels"][:1])


def test_from_config_and_label_names_of_the_dataset():
    class Config:
        vocabulary, source_classes, source_multi_label = VOCABULARY, CLASSES, MULTI

    dataset = picture_dataset()
    made = ClassificationCollator.from_config(MeanProcessor(), Config, dataset)
    assert made.targets.label_names == NAMES
    assert set(made.prepare_dataset(dataset)[0]["image"]) == {"bytes", "path"}
    other = dataset.cast_column("labels", List(ClassLabel(names=NAMES[::-1])))
    with pytest.raises(VocabularyError, match=r"label_names=dataset\.features"):
        made.prepare_dataset(other)
    assert datasets.Dataset is type(other)
