"""Pictures and videos together: a mixture, batches with padded frames, a model that ignores them; real clips."""

import csv

import pytest
import torch

import climb_hf
from climb_hf.builder import ClimbConfig
from climb_hf.indexing import build_index
from climb_hf.models import ClimbVisionConfig, ClimbVisionForClassification
from climb_hf.processing.image_processor import ClimbImageProcessor
from climb_hf.training.collator import ClassificationCollator

NAMES = ("brain_tumor", "covid_blues", "echonet_dynamic", "cholec80")


@pytest.fixture(scope="module")
def mixture(miniatures, tmp_path_factory):
    folders = {name: miniatures(name, 8)[0] for name in NAMES}
    options = {"*": {"image_size": 32}, "covid_blues": {"num_frames": 10}, "echonet_dynamic": {"num_frames": 3}}
    return climb_hf.load_mixture(folders, cache_dir=tmp_path_factory.mktemp("mixture"), split="train", options=options)


def rows_of(mixture, *names):
    """The first row of each source."""
    return [next(row for row in mixture if row["source"] == name) for name in names]


def collator_of(mixture, **options):
    sources = [climb_hf.get_source(name) for name in NAMES]
    return ClassificationCollator(
        ClimbImageProcessor(size=32),
        mixture.features["labels"].feature.names,
        {source.name: list(source.concepts) for source in sources},
        {source.name: source.multi_label for source in sources},
        label_names=mixture.features["labels"].feature.names,
        **options,
    )


def test_a_mixture_holds_pictures_and_frames(mixture):
    assert set(mixture["source"]) == set(NAMES)
    picture, clip, traced, interval = rows_of(mixture, *NAMES)
    assert (picture["image"].size, picture["frames"], picture["fps"]) == ((32, 32), None, None)
    assert (clip["image"], traced["image"]) == (None, None)
    assert 7 <= len(clip["frames"]) <= 10
    assert (len(traced["frames"]), len(traced["masks"]), len(interval["frames"])) == (3, 3, 1)
    assert traced["frame_labels"] is not None
    assert interval["frame_labels"][0][0] in ("Preparation", "CalotTriangleDissection", "ClippingCutting")


def test_the_collator_pads_and_masks_frames(mixture):
    rows = rows_of(mixture, *NAMES)
    counts = [1, *(len(row["frames"]) for row in rows[1:])]
    batch = collator_of(mixture)(rows)
    assert batch["pixel_values"].shape == (4, max(counts), 3, 32, 32)
    assert batch["frame_mask"].sum(dim=1).tolist() == counts
    assert batch["frame_mask"].tolist() == [[k < count for k in range(max(counts))] for count in counts]
    for row, count in enumerate(counts):
        assert not batch["pixel_values"][row, count:].any()
        alone = collator_of(mixture)([rows[row]])["pixel_values"]
        alone = alone if alone.ndim == 5 else alone[:, None]
        assert torch.equal(batch["pixel_values"][row, :count], alone[0])


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_padded_frames_change_nothing(mixture, pooling):
    rows = rows_of(mixture, *NAMES)
    batch = collator_of(mixture)(rows)
    torch.manual_seed(0)
    config = ClimbVisionConfig(backbone="timm/test_resnet", image_size=32, pooling=pooling, vocabulary=["a", "b"])
    model = ClimbVisionForClassification(config).eval()
    padded, mask = batch["pixel_values"], batch["frame_mask"]
    with torch.no_grad():
        whole = model(pixel_values=padded, frame_mask=mask).logits
        for filler in (float("nan"), 1e6):
            changed = torch.where(mask[:, :, None, None, None], padded, torch.tensor(filler))
            assert torch.equal(model(pixel_values=changed, frame_mask=mask).logits, whole)
        longer = torch.cat([padded, torch.full_like(padded[:, :5], 7.0)], dim=1)
        more = torch.cat([mask, torch.zeros(len(mask), 5, dtype=torch.bool)], dim=1)
        found = model(pixel_values=longer, frame_mask=more).logits
        assert torch.equal(found, whole) if pooling == "mean" else torch.allclose(found, whole, rtol=0, atol=1e-6)
        for row in range(len(rows)):
            count = int(mask[row].sum())
            own = model(pixel_values=padded[row : row + 1, :count], frame_mask=mask[row : row + 1, :count]).logits
            torch.testing.assert_close(own[0], whole[row], rtol=0, atol=1e-5)


# patient -> videos, PCR result, age, sex of the real part, read off its tables by hand
REAL = {
    3: (7, 1, 80, "female"), 5: (7, 1, 70, "female"), 6: (6, 1, 74, "male"), 11: (6, 0, 67, "female"),
    15: (6, 1, 60, "female"), 16: (6, 0, 39, "female"), 20: (2, 0, 60, "male"), 23: (6, 0, 32, "male"),
    29: (7, 1, 53, "female"), 32: (1, 0, 66, "male"), 35: (6, 1, 45, "male"), 36: (5, 1, 74, "male"),
    39: (6, 1, 47, "female"), 41: (3, 0, 50, "male"), 45: (6, 0, 28, "female"), 50: (6, 1, 67, "male"),
    53: (6, 1, 42, "male"), 55: (6, 0, 35, "male"), 56: (6, 0, 52, "male"), 61: (7, 1, 66, "female"),
}  # fmt: skip
REAL_FRAMES = {"patient_5_R3": 7, "patient_3_R2": 8, "patient_61_R2": 26, "patient_3_L1": 101, "patient_50_L1": 100}


def test_real_covid_blues_labels_patients_and_frames(real_dir):
    folder, source = real_dir / "covid_blues", climb_hf.get_source("covid_blues")
    options = ClimbConfig(name="covid_blues").options()
    index = build_index(source, folder, options)
    records = {record.id: (split, record) for split, part in index.splits.items() for record in part}
    found = {}
    for split, record in records.values():
        patient = int(record.group)
        assert split == ("train" if patient <= 47 else "test")  # three quarters of 63 patients
        count, label, age, sex = found.get(patient, (0, *(int(v) for v in record.raw_labels), record.age, record.sex))
        assert (label, age, sex) == (int(record.raw_labels[0]), record.age, record.sex)
        found[patient] = (count + 1, label, age, sex)
    assert found == REAL
    with (folder / "severity.csv").open(newline="", encoding="utf-8") as stream:
        severity = {row["video_file"]: row["Severity Score"] for row in csv.DictReader(stream)}
    config = ClimbConfig(name="covid_blues")
    config.num_frames, config.image_size = "all", 16
    for name, count in REAL_FRAMES.items():
        record = records[name][1]
        columns = source.read(record, folder, config.options())
        assert (len(columns["frames"]), columns["fps"]) == (count, pytest.approx(25))
        assert record.metadata["severity_score"] == float(severity[name])
