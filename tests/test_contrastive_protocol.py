"""`climb train --recipe openpmc/…`: recipes, towers, tokenizer, what is saved, and that it learns."""

import json

import numpy as np
import pytest
import torch
from pair_helpers import make_dataset, make_pairs
from PIL import Image
from torchvision.transforms import v2
from transformers import VisionTextDualEncoderModel, VisionTextDualEncoderProcessor
from typer.testing import CliRunner

from climb_hf.cli.app import app
from climb_hf.errors import OptionError
from climb_hf.hub import model_card
from climb_hf.models.dual_encoder import build_dual_encoder, tower_fields
from climb_hf.processing.augmentation import Augmentation
from climb_hf.processing.image_processor import ClimbImageProcessor
from climb_hf.processing.text import fit_tokenizer
from climb_hf.protocols import contrastive
from climb_hf.protocols.pairs import Pairs
from climb_hf.training.contrastive import recall_at_1
from climb_hf.training.recipes import load_recipe, training_arguments

SMALL = ["model.image.image_size=32", "processor.size=32", "training.use_cpu=true", "training.disable_tqdm=true"]


@pytest.fixture
def squares(monkeypatch):
    """Let the sources be synthetic squares; a row has no picture, one no text."""
    rows = make_pairs(200)
    rows[0]["image"], rows[1]["text"] = None, " "
    dataset = make_dataset(rows).remove_columns("source")
    monkeypatch.setattr(contrastive, "load_pairs", lambda *args, **kwargs: Pairs({"squares": dataset}, {}))
    monkeypatch.setattr(contrastive, "source_options", lambda name, options: {})
    return dataset


def train(folder, *overrides, **options):
    return contrastive.train({"squares": None}, folder, overrides=[*SMALL, *overrides], synthetic=True, **options)


def test_training_reaches_better_than_chance_retrieval_and_loads_again(tmp_path, squares):
    run = train(tmp_path, "training.num_train_epochs=30", "training.save_strategy=no", "data.held_out=0.2")
    held = [entry for entry in run.history if "eval_recall_at_1" in entry]
    assert len(held) == 30
    assert held[-1]["eval_recall_at_1"] > 3 * held[-1]["eval_chance_at_1"]
    assert held[-1]["eval_loss"] < held[0]["eval_loss"] - 0.5
    model = VisionTextDualEncoderModel.from_pretrained(run.checkpoint).eval()
    processor = VisionTextDualEncoderProcessor.from_pretrained(run.checkpoint)
    assert processor.tokenizer.model_max_length == 64
    _, part = contrastive.hold_out(squares, 0.2, 0)
    rows = [row for row in part if row["image"] is not None and row["text"].strip()]
    with torch.no_grad():
        pixels = processor.image_processor([row["image"] for row in rows])["pixel_values"]
        texts = processor.tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt")
        outputs = model(pixel_values=pixels, **texts)
    again = recall_at_1(outputs.image_embeds, outputs.text_embeds)
    assert held[-1]["eval_n"] == len(rows)
    assert again == pytest.approx(held[-1]["eval_recall_at_1_image_to_text"], abs=0.03)


def test_facts_and_card(tmp_path, squares):
    run = train(tmp_path, "training.num_train_epochs=1", "model.text.max_length=6", "data.held_out=0.2")
    facts = json.loads((run.checkpoint / "training.json").read_text())
    sums = {key: facts["pairs"]["squares"][key] + facts["pairs_held_out"]["squares"][key] for key in
            ("rows", "without_image", "without_text", "truncated")}  # fmt: skip
    assert sums == {"rows": 200, "without_image": 1, "without_text": 1, "truncated": 198}
    assert (
        facts["n_examples"]["squares"]
        == facts["pairs"]["squares"]["rows"]
        - facts["pairs"]["squares"]["without_image"]
        - facts["pairs"]["squares"]["without_text"]
    )
    assert facts["contrastive_batch"] == 32
    assert facts["synthetic"] is True
    card = (run.checkpoint / "README.md").read_text()
    assert "pipeline_tag: zero-shot-image-classification" in card
    assert "Trained on synthetic miniatures" in card
    code = card.split("```python\n")[1].split("```")[0]
    assert "VisionTextDualEncoderModel.from_pretrained(checkpoint)" in code
    Image.new("RGB", (40, 30)).save(tmp_path / "image.png")
    code = code.replace('"model"', repr(str(run.checkpoint))).replace("image.png", str(tmp_path / "image.png"))
    exec(compile(code, "card", "exec"), {})


def test_resumed_run_keeps_its_tokenizer_and_curve(tmp_path, squares):
    options = ("training.num_train_epochs=3", "training.logging_steps=1", "training.save_total_limit=5")
    whole = train(tmp_path, *options)
    checkpoints = sorted((tmp_path / "trainer").glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    for path in checkpoints[1:]:
        path.rename(tmp_path / path.name)
    weights = (whole.checkpoint / "model.safetensors").read_bytes()
    again = train(tmp_path, *options, resume=True)
    assert [entry["loss"] for entry in again.history if "loss" in entry] == [
        entry["loss"] for entry in whole.history if "loss" in entry
    ]
    assert (again.checkpoint / "model.safetensors").read_bytes() == weights


def test_groups_stand_on_one_side(squares):
    rest, taken = contrastive.hold_out(squares, 0.3, 7)
    assert len(rest) + len(taken) == 200
    assert 20 < len(taken) < 100
    assert not set(rest["group"][:]) & set(taken["group"][:])
    assert [len(part) for part in contrastive.hold_out(squares, 0.0, 7)] == [200, 0]
    with pytest.raises(OptionError, match=r"must be in \[0, 1\), found 1"):
        contrastive.hold_out(squares, 1, 7)


def test_the_recipe_holds_the_published_values(tmp_path):
    recipe = load_recipe("openpmc/pmc18m")
    training, model = recipe["training"], recipe["model"]
    assert (training["learning_rate"], training["weight_decay"]) == (5e-4, 0.2)
    assert (training.get("adam_beta1"), training["adam_beta2"], training["adam_epsilon"]) == (0.9, 0.98, 1e-6)
    assert (training["contrastive_batch_size"], training["gradient_accumulation_steps"]) == (2048, 4)
    assert (training["num_train_epochs"], training["warmup_steps"], training["max_grad_norm"]) == (64, 0.1, 0.0)
    assert (training["bf16"], training["seed"], training["logit_scale"]) == (True, 0, "single")
    assert (training["max_logit_scale"], training["false_negatives"]) == (100.0, "keep")
    assert model["logit_scale_init_value"] == pytest.approx(np.log(1 / 0.07))
    assert (model["projection_dim"], model["text"]["max_length"]) == (512, 256)
    arguments = training_arguments(recipe, tmp_path, use_cpu=True, bf16=False)
    assert arguments.per_device_train_batch_size == 2048
    processor = ClimbImageProcessor(**recipe["processor"])
    assert (processor.size, processor.resize_mode) == ({"height": 224, "width": 224}, "crop")
    assert processor.image_mean == [0.48145466, 0.4578275, 0.40821073]
    assert processor.image_std == [0.26862954, 0.26130258, 0.27577711]
    assert processor.augmentation == {
        "crop_of": "picture", "crop_scale": [0.9, 1.0], "crop_ratio": [0.75, 4 / 3], "brightness": 0.0,
        "contrast": 0.0, "horizontal_flip": 0.0,
    }  # fmt: skip
    assert (arguments.optimizer, arguments.optim) == ("adamw", "adamw_torch_fused")
    assert arguments.lr_scheduler_type == "cosine"
    assert (arguments.dataloader_drop_last, arguments.load_best_model_at_end) == (True, False)
    assert (model["image"]["pretrained"], recipe["data"]["train_split"]) == (True, "train")
    pubmed_bert = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
    assert model["text"]["pretrained"] == model["text"]["tokenizer"] == pubmed_bert
    shape = tower_fields("text", {"preset": "bert_base"})[1]
    assert [shape[key] for key in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")] == [
        30522, 768, 12, 12,
    ]  # fmt: skip
    kind, fields = tower_fields("image", model["image"])
    assert (kind, fields["backbone"]) == ("climb_vision", "timm/vit_base_patch16_224.augreg2_in21k_ft_in1k")
    card = model_card(
        build_dual_encoder({"preset": "vit_tiny_test"}, {"preset": "bert_tiny"}),
        name="me/pairs",
        training={"sources": ["vital"], "base_model": fields["backbone"], "further_base_models": ["some/bert"]},
    )
    assert card.data.base_model == [fields["backbone"], "some/bert"]
    assert card.data.license == "other"


def test_towers_of_transformers_work_too(tmp_path):
    text = {"type": "bert", "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}
    image = {"type": "vit", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32}
    model = build_dual_encoder(image, text, projection_dim=8)
    assert (model.visual_projection.in_features, model.text_projection.in_features) == (16, 24)
    model.vision_model.save_pretrained(tmp_path / "image")
    again = build_dual_encoder({"pretrained": str(tmp_path / "image")}, text, projection_dim=8)
    for name, value in model.vision_model.state_dict().items():
        assert torch.equal(again.vision_model.state_dict()[name], value)
    own = build_dual_encoder({"preset": "vit_tiny_test"}, text, projection_dim=8)
    own.save_pretrained(tmp_path / "own")
    loaded = VisionTextDualEncoderModel.from_pretrained(tmp_path / "own")
    for name, value in own.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.image.preset=vit_huge", "`model.image.preset` must be one of vit_base_patch16_224"),
        ("model.text.hiden_size=3", r"unknown key `hiden_size` \(near: hidden_size"),
        ("model.towers=2", "unknown key `towers`"),
        ("data.eval_split=test", "unknown key `eval_split`"),
        ("training.logit_scael=single", "unknown key `logit_scael`"),
        ("processor.sise=32", "unknown key `sise`"),
        ("model.text=null", "must describe the tower `text`"),
        ("model.image={type: no_such}", "`model.image` must have a `preset`"),
    ],
)
def test_recipes_are_checked(override, message):
    with pytest.raises(OptionError, match=message):
        load_recipe("openpmc/quick", [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.text.tokenizer=null", "`model.text.tokenizer` must be a Hub repository"),
        ("model.text.pretrained=some/bert", "`train`, but the tower has pretrained weights"),
        ("model.text.max_position_embeddings=16", "`max_position_embeddings` 16, but needs 64"),
        ("model.image.pretrained=3", "`model.image.pretrained` must be true, false or a name"),
    ],
)
def test_towers_that_do_not_fit_are_refused(tmp_path, squares, override, message):
    with pytest.raises(OptionError, match=message):
        train(tmp_path, override)


def test_other_recipes_are_refused(tmp_path):
    with pytest.raises(OptionError, match="trains no dual encoder"):
        contrastive.train({}, tmp_path, recipe="quick")


def test_tokenizer_is_the_same_every_time():
    texts = [f"film {number % 13} of the chest, with a small opacity {number}" for number in range(200)]
    first, again = (fit_tokenizer(texts, vocab_size=90, max_length=8) for _ in range(2))
    assert first.get_vocab() == again.get_vocab()
    assert 80 < len(first) <= 90
    assert first.convert_ids_to_tokens(first("Chest film!")["input_ids"])[1:3] == ["chest", "film"]
    assert first("film ¿")["input_ids"][-2] == first.unk_token_id
    assert first.pad_token_id == 0


def test_crop_of_the_picture_is_that_of_torchvision():
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (60, 90, 3)).astype(np.uint8))
    augmentation = {"crop_of": "picture", "crop_scale": [0.3, 0.9], "crop_ratio": [0.75, 4 / 3]}
    still = {"brightness": 0.0, "contrast": 0.0}
    processor = ClimbImageProcessor(size=32, image_mean=0.0, image_std=1.0, augmentation={**augmentation, **still})
    for seed in range(5):
        found = processor(picture, augment=True, generator=seed)["pixel_values"][0]
        left, upper, right, lower = Augmentation.of(augmentation).box(90, 60, torch.Generator().manual_seed(seed))
        expected = v2.functional.resized_crop(
            picture, upper, left, lower - upper, right - left, [32, 32], interpolation=v2.InterpolationMode.BICUBIC
        )
        np.testing.assert_allclose(found.permute(1, 2, 0) * 255, np.asarray(expected), atol=1e-3)


def test_boxes_have_the_distribution_of_torchvision():
    augmentation = Augmentation(crop_of="picture", crop_scale=(0.9, 1.0), crop_ratio=(0.75, 4 / 3))
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    for width, height in ((100, 100), (90, 110), (400, 100), (50, 300)):
        ours = np.array([augmentation.box(width, height, generator) for _ in range(2000)])
        image = torch.zeros(3, height, width)
        make = v2.RandomResizedCrop(8, scale=(0.9, 1.0), ratio=(0.75, 4 / 3))
        drawn = [make.make_params([image]) for _ in range(2000)]
        theirs = np.array([[p["left"], p["top"], p["left"] + p["width"], p["top"] + p["height"]] for p in drawn])
        assert ours.min() >= 0
        assert (ours[:, 2] <= width).all()
        assert (ours[:, 3] <= height).all()
        np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=0.012 * max(width, height))
        np.testing.assert_allclose(ours.std(0), theirs.std(0), atol=0.012 * max(width, height))


@pytest.mark.slow
def test_command_on_miniatures(tmp_path):
    arguments = ["train", "vital", "--miniature", "--to", str(tmp_path), "--cache-dir", str(tmp_path / "cache")]
    short = ["--recipe", "openpmc/quick", "--set", "training.use_cpu=true", "--set", "training.num_train_epochs=2"]
    result = CliRunner().invoke(app, [*arguments, *short], catch_exceptions=False)
    assert result.exit_code == 0
    assert f"climb retrieve {tmp_path} --sources vital=" in result.stdout.replace("\n", "")
    facts = json.loads((tmp_path / "model" / "training.json").read_text())
    assert facts["synthetic"] is True
    assert facts["recipe"] == "openpmc/quick"
