"""`ClimbTrainer` with the real vision encoder, image processor and `datasets` rows: the path that users take."""

import io
import json

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Image, List, Value, concatenate_datasets
from PIL import Image as PillowImage
from transformers import AutoImageProcessor, AutoModelForImageClassification

import climb_hf
from climb_hf import vocabulary
from climb_hf.errors import CorruptFileError, VocabularyError
from climb_hf.models.vision.configuration_vision import ClimbVisionConfig
from climb_hf.models.vision.modeling_vision import ClimbVisionForClassification
from climb_hf.processing.image_processor import ClimbImageProcessor
from climb_hf.training.losses import masked_classification_loss

SOURCES = {name: vocabulary.source_vocabulary(name) for name in ("ham10000", "chexpert")}
CLASSES = {name: list(found.concepts) for name, found in SOURCES.items()}
MULTI = {name: found.multi_label for name, found in SOURCES.items()}
VOCABULARY = sorted({concept for concepts in CLASSES.values() for concept in concepts})


def picture(level, seed):
    noise = np.random.default_rng(seed).integers(0, 40, (24, 20, 3))
    return PillowImage.fromarray((noise + level).astype("uint8"))


def make_dataset(count, source, names=None, seed=0):
    names = list(vocabulary.concepts()) if names is None else names
    features = Features(
        {
            **dict.fromkeys(("id", "source", "group"), Value("string")),
            "image": Image(mode="RGB"),
            "labels": List(ClassLabel(names=names)),
            "uncertain": List(ClassLabel(names=names)),
        }
    )
    rng = np.random.default_rng(seed)
    chosen = [int(rng.integers(len(CLASSES[source]))) for _ in range(count)]
    columns = {
        "id": [f"{source}-{number}" for number in range(count)],
        "source": [source] * count,
        "group": [f"{source}-{number // 2}" for number in range(count)],
        "image": [picture(15 * label, seed + number) for number, label in enumerate(chosen)],
        "labels": [[CLASSES[source][label]] for label in chosen],
        "uncertain": [[] for _ in chosen],
    }
    return Dataset.from_dict(columns, features=features)


def make_mixture(sizes=(12, 20), seed=0):
    return concatenate_datasets(
        [make_dataset(size, name, seed=seed) for size, name in zip(sizes, SOURCES, strict=True)]
    )


def make_trainer(folder, rows=None, evaluation=None, augmentation=None, **options):
    torch.manual_seed(0)
    config = ClimbVisionConfig(
        backbone="timm/test_vit",
        image_size=32,
        vocabulary=VOCABULARY,
        source_classes=CLASSES,
        source_multi_label=MULTI,
    )
    defaults = {
        "num_train_epochs": 1,
        "learning_rate": 1e-3,
        "per_device_train_batch_size": 8,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return climb_hf.ClimbTrainer(
        ClimbVisionForClassification(config),
        climb_hf.ClimbTrainingArguments(str(folder), **{**defaults, **options}),
        train_dataset=rows,
        eval_dataset=evaluation,
        processing_class=ClimbImageProcessor(size=32, augmentation=augmentation),
    )


def losses(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "grad_norm" in entry]


def test_train_save_load_and_evaluate(tmp_path):
    evaluation = make_mixture((9, 11), seed=50)
    trainer = make_trainer(tmp_path, make_mixture(), evaluation, save_strategy="epoch", mixture="balanced")
    trainer.train()
    metrics = trainer.evaluate()
    assert len(losses(trainer)) == 4
    assert {"eval_ham10000_auc", "eval_ham10000_top1", "eval_chexpert_exact_match", "eval_mean_auc"} <= set(metrics)
    assert (metrics["eval_ham10000_n"], metrics["eval_chexpert_n"]) == (9, 11)
    assert trainer.evaluation_table["sources"]["chexpert"]["modality"] == SOURCES["chexpert"].modality
    checkpoint = tmp_path / "checkpoint-4"
    assert json.loads((checkpoint / "preprocessor_config.json").read_text())["size"] == {"height": 32, "width": 32}
    model = AutoModelForImageClassification.from_pretrained(checkpoint).eval()
    processor = AutoImageProcessor.from_pretrained(checkpoint)
    rows = trainer.predict_rows(evaluation)
    with torch.no_grad():
        logits = model(**processor(evaluation["image"][:])).logits
    np.testing.assert_allclose(rows["scores"], logits.numpy(), rtol=1e-4, atol=1e-5)
    assert rows["ids"] == evaluation["id"][:]
    assert rows["references"].sum() == 20


def test_the_card_of_a_push_is_ours_with_scores_and_terms(tmp_path):
    trainer = make_trainer(tmp_path, make_mixture(), make_mixture(seed=5))
    trainer.evaluate()
    trainer.create_model_card(model_name="skin-and-chest")
    card = (tmp_path / "README.md").read_text()
    assert "skin-and-chest" in card
    assert "chexpert" in card
    assert json.loads((tmp_path / "vocabulary.json").read_text())
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert {row["source"] for row in rows if row["level"] == "source"} == set(SOURCES)
    assert AutoModelForImageClassification.from_pretrained(tmp_path).config.vocabulary == VOCABULARY


def test_first_loss_is_that_of_the_model(tmp_path):
    mixture = make_mixture()
    trainer = make_trainer(tmp_path, mixture, per_device_train_batch_size=32)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    trainer.model.load_state_dict(before)
    batch = trainer.data_collator.collator([mixture[number] for number in range(32)])
    with torch.no_grad():
        output = trainer.model.eval()(
            **{key: value for key, value in batch.items() if isinstance(value, torch.Tensor)}
        )
    targets = [batch[key] for key in ("labels", "target_mask", "exclusive")]
    assert losses(trainer)[0] == pytest.approx(output.loss.item(), rel=1e-5)
    assert output.loss.item() == pytest.approx(masked_classification_loss(output.logits, *targets).item(), rel=1e-6)


def test_augmented_curve_is_the_same_with_workers_and_accumulation(tmp_path):
    augmentation = {"crop_scale": [0.4, 0.9], "brightness": 0.4}
    options = {"augmentation": augmentation, "num_train_epochs": 2}
    whole = make_trainer(tmp_path / "a", make_mixture(), **options)
    whole.train()
    workers = make_trainer(tmp_path / "b", make_mixture(), dataloader_num_workers=2, **options)
    workers.train()
    parts = make_trainer(
        tmp_path / "c", make_mixture(), per_device_train_batch_size=4, gradient_accumulation_steps=2, **options
    )
    parts.train()
    assert losses(workers) == losses(whole)
    np.testing.assert_allclose(losses(parts), losses(whole), rtol=1e-4)
    plain = make_trainer(tmp_path / "d", make_mixture(), num_train_epochs=2)
    plain.train()
    assert losses(plain)[0] != losses(whole)[0]
    same = make_trainer(tmp_path / "e", evaluation=make_mixture(), augmentation=augmentation).predict_rows()["scores"]
    other = make_trainer(tmp_path / "f", evaluation=make_mixture()).predict_rows()["scores"]
    np.testing.assert_array_equal(same, other)  # nothing is augmented at evaluation


def test_bfloat16_follows_float32(tmp_path):
    full, half = (make_trainer(tmp_path / name, make_mixture(), bf16=name == "half") for name in ("full", "half"))
    full.train()
    half.train()
    np.testing.assert_allclose(losses(half), losses(full), rtol=0.05)
    assert losses(half) != losses(full)
    assert {value.dtype for value in half.model.parameters()} == {torch.float32}


def test_streamed_training_and_evaluation(tmp_path):
    mixture = make_mixture()
    trainer = make_trainer(tmp_path, mixture.to_iterable_dataset(), max_steps=3)
    trainer.train()
    assert len(losses(trainer)) == 3
    streamed = trainer.predict_rows(mixture.to_iterable_dataset())
    stored = trainer.predict_rows(mixture)
    assert streamed["ids"] == stored["ids"] == mixture["id"][:]
    np.testing.assert_array_equal(streamed["scores"], stored["scores"])


def test_labels_of_another_vocabulary_are_refused(tmp_path):
    other = make_dataset(8, "ham10000", names=list(reversed(vocabulary.concepts())))
    trainer = make_trainer(tmp_path, make_mixture())
    with pytest.raises(VocabularyError, match="positions in a vocabulary"):
        trainer.evaluate(other)
    # given as training data, its own names are used
    assert make_trainer(tmp_path, other).data_collator.collator.targets.label_names[0] == vocabulary.concepts()[-1]


def test_broken_picture_stops_and_names_the_record(tmp_path):
    mixture = make_mixture()
    content = io.BytesIO()
    picture(10, 1).save(content, "PNG")
    broken = {"bytes": content.getvalue()[:60], "path": None}
    rows = mixture.cast_column("image", Image(mode="RGB", decode=False)).to_list()
    rows[5]["image"] = broken
    trainer = make_trainer(tmp_path, Dataset.from_list(rows, features=mixture.features))
    with pytest.raises(CorruptFileError, match="picture of record `ham10000-5` of `ham10000`"):
        trainer.train()
