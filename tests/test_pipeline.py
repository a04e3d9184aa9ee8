"""`pipeline("climb-classification")` for pictures, videos, signals and graphs."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

import climb_hf
from climb_hf.errors import OptionError, SchemaError
from climb_hf.hub import save_checkpoint
from climb_hf.models import (
    ClimbVisionConfig,
    ClimbVisionForClassification,
    EcgJepaConfig,
    EcgJepaForClassification,
)
from climb_hf.processing import ClimbImageProcessor, EcgFeatureExtractor

SKIN = {
    "vocabulary": ["nevus", "melanoma", "edema"],
    "source_classes": {"skin": ["melanoma", "nevus"]},
    "source_multi_label": {"skin": False},
}


@pytest.fixture
def pictures(tmp_path):
    torch.manual_seed(0)
    model = ClimbVisionForClassification(ClimbVisionConfig(backbone="timm/test_vit", image_size=32, **SKIN)).eval()
    processor = ClimbImageProcessor(size=32)
    save_checkpoint(tmp_path / "vision", model, processor)
    return model, processor, pipeline("climb-classification", model=str(tmp_path / "vision"), device="cpu")


@pytest.fixture
def hearts(tmp_path):
    torch.manual_seed(0)
    fields = {
        "vocabulary": ["a", "b", "c"],
        "source_classes": {"one": ["a", "b"], "two": ["b", "c"]},
        "source_multi_label": {"one": True, "two": False},
    }
    config = EcgJepaConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, **fields)
    model, processor = EcgJepaForClassification(config).eval(), EcgFeatureExtractor.preset("ecg_jepa")
    save_checkpoint(tmp_path / "ecg", model, processor)
    return model, processor, pipeline("climb-classification", model=str(tmp_path / "ecg"), device="cpu")


def picture(seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8))


def test_a_picture_in_every_form(pictures, tmp_path):
    model, processor, predict = pictures
    image = picture()
    with torch.no_grad():
        logits = model(**processor(image, return_tensors="pt")).logits
    expected = model.masked_probabilities(logits, "skin")[0]
    image.save(tmp_path / "image.png")
    for given in (image, np.asarray(image), tmp_path / "image.png", str(tmp_path / "image.png"), {"image": image}):
        answer = {entry["label"]: entry["score"] for entry in predict(given)}
        np.testing.assert_allclose([answer["melanoma"], answer["nevus"]], expected, atol=1e-6)
    assert sum(answer.values()) == pytest.approx(1)


def test_a_list_in_batches_equals_one_by_one(pictures):
    _, _, predict = pictures
    images = [picture(seed) for seed in range(5)]
    alone = [predict(image) for image in images]
    together = predict(images, batch_size=2)
    assert len(together) == 5
    for one, other in zip(alone, together, strict=True):
        assert [entry["label"] for entry in one] == [entry["label"] for entry in other]
        np.testing.assert_allclose([e["score"] for e in one], [e["score"] for e in other], atol=1e-6)
    assert list(predict(image for image in images)) == alone


def test_a_video(pictures):
    _, _, predict = pictures
    frames = [picture(seed) for seed in range(3)]
    answer = predict({"frames": frames}, top_k=1)
    assert len(answer) == 1
    mixed = predict([{"frames": frames}, {"image": frames[0]}], batch_size=2)
    np.testing.assert_allclose(mixed[0][0]["score"], answer[0]["score"], atol=1e-6)


def test_a_signal(hearts):
    model, processor, predict = hearts
    signal = np.random.default_rng(0).standard_normal((5000, 12)).astype(np.float32)
    with torch.no_grad():
        logits = model(**processor({"signal": signal, "sampling_rate": 500.0})).logits
    expected = model.masked_probabilities(logits, "two")[0]
    answer = {entry["label"]: entry["score"] for entry in predict(signal, sampling_rate=500, source="two")}
    np.testing.assert_allclose([answer["b"], answer["c"]], expected, atol=1e-6)
    row = {"signal": signal, "sampling_rate": 500.0}
    rows = predict([row, row, row], batch_size=2, source="two")
    np.testing.assert_allclose([entry["score"] for entry in rows[2]], sorted(answer.values(), reverse=True), atol=1e-6)


def test_a_row_of_a_dataset(hearts, miniatures, tmp_path):
    _, _, predict = hearts
    folder, _ = miniatures("ptbxl")
    row = climb_hf.load_dataset("ptbxl", folder, cache_dir=tmp_path)["test"][0]
    assert [set(entry) for entry in predict(row, source="one")] == [{"label", "score"}] * 2


def test_eeg(miniatures, tmp_path):
    from climb_hf.models import BiotConfig, BiotForClassification
    from climb_hf.processing import EegFeatureExtractor

    torch.manual_seed(0)
    config = BiotConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, vocabulary=["normal", "abnormal"])
    model, processor = BiotForClassification(config).eval(), EegFeatureExtractor.preset("biot")
    save_checkpoint(tmp_path / "biot", model, processor)
    predict = pipeline("climb-classification", model=str(tmp_path / "biot"), device="cpu")
    folder, _ = miniatures("tuab")
    row = climb_hf.load_dataset("tuab", folder, cache_dir=tmp_path)["test"][0]
    with torch.no_grad():
        expected = model(**processor(row)).logits[0].sigmoid()
    answer = {entry["label"]: entry["score"] for entry in predict(row)}
    np.testing.assert_allclose([answer["normal"], answer["abnormal"]], expected, atol=1e-6)


def test_graphs(miniatures, tmp_path):
    from climb_hf.models import ClimbGraphConfig, ClimbGraphForClassification
    from climb_hf.processing import ClimbGraphProcessor

    torch.manual_seed(0)
    config = ClimbGraphConfig(num_features=3, edge_dim=None, hidden_size=8, vocabulary=["enzyme", "other"])
    model, processor = ClimbGraphForClassification(config).eval(), ClimbGraphProcessor.for_source("proteins")
    save_checkpoint(tmp_path / "graph", model, processor)
    predict = pipeline("climb-classification", model=str(tmp_path / "graph"), device="cpu")
    folder, _ = miniatures("proteins")
    rows = list(climb_hf.load_dataset("proteins", folder, cache_dir=tmp_path)["test"])[:3]
    with torch.no_grad():
        expected = model(**processor(rows)).logits.sigmoid()
    for given, alone, scores in zip(
        predict(rows, batch_size=2), [predict(row) for row in rows], expected, strict=True
    ):
        for answer in (given, alone):
            found = {entry["label"]: entry["score"] for entry in answer}
            np.testing.assert_allclose([found["enzyme"], found["other"]], scores, atol=1e-6)


def test_what_is_missing_is_said(hearts, pictures):
    _, _, predict = hearts
    signal = np.zeros((5000, 12), np.float32)
    with pytest.raises(SchemaError, match="sampling rate"):
        predict(signal)
    with pytest.raises(OptionError, match="one of one, two"):
        predict(signal, sampling_rate=500)
    with pytest.raises(OptionError, match="unknown options"):
        predict(signal, sampling_rat=500)
    with pytest.raises(SchemaError, match="expected a picture"):
        pictures[2](7)
    with pytest.raises(OptionError, match="no processor"):
        pipeline("climb-classification", model=hearts[0], device="cpu")
