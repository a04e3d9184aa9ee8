"""Synthetic pairs of image and text, and a small dual encoder that can be trained on them in seconds."""

import datasets
import numpy as np
import torch
from PIL import Image
from transformers import VisionTextDualEncoderProcessor

from climb_hf.models.dual_encoder import build_dual_encoder
from climb_hf.processing.image_processor import ClimbImageProcessor
from climb_hf.processing.text import fit_tokenizer
from climb_hf.training.contrastive_arguments import ContrastiveTrainingArguments
from climb_hf.training.contrastive_trainer import ContrastiveTrainer

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (40, 40, 220), "yellow": (220, 220, 40)}
PLACES = {"left": (0, 8), "right": (16, 8), "top": (8, 0), "bottom": (8, 16)}


def make_pairs(count, seed=0, side=24):
    """Rows with a coloured square on grey, and a text that says which and where; two rows per group."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        colour, place = (list(choice)[rng.integers(4)] for choice in (COLOURS, PLACES))
        pixels = rng.integers(90, 130, (side, side, 3)).astype(np.uint8)
        left, top = PLACES[place]
        pixels[top : top + 8, left : left + 8] = COLOURS[colour]
        text = f"A {colour} square at the {place}."
        rows.append({"id": f"r{number}", "source": "squares", "group": f"g{number // 2}", "text": text})
        rows[-1]["image"] = Image.fromarray(pixels)
    return rows


def make_dataset(rows):
    features = datasets.Features(
        {**{name: datasets.Value("string") for name in ("id", "source", "group", "text")}, "image": datasets.Image()}
    )
    return datasets.Dataset.from_list(rows, features=features)


def make_processor(max_length=16, augmentation=None):
    texts = [f"A {colour} square at the {place}." for colour in COLOURS for place in PLACES]
    tokenizer = fit_tokenizer(texts, vocab_size=200, max_length=max_length)
    return VisionTextDualEncoderProcessor(ClimbImageProcessor(size=32, augmentation=augmentation), tokenizer)


def make_model(seed=0, dropout=0.0, **fields):
    torch.manual_seed(seed)
    image = {"type": "climb_vision", "backbone": "timm/test_vit", "image_size": 32}
    text = {"preset": "bert_tiny", "vocab_size": 200, "num_hidden_layers": 1, "hidden_size": 32}
    dropouts = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return build_dual_encoder(image, {**text, **dropouts}, projection_dim=16, **fields)


def make_trainer(folder, rows, evaluation=None, model=None, augmentation=None, **options):
    defaults = {
        "num_train_epochs": 2,
        "learning_rate": 1e-3,
        "weight_decay": 0.2,
        "adam_beta2": 0.98,
        "adam_epsilon": 1e-6,
        "max_grad_norm": 0.0,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "contrastive_batch_size": 8,
        "logging_steps": 1,
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": 0,
    }
    return ContrastiveTrainer(
        make_model() if model is None else model,
        ContrastiveTrainingArguments(str(folder), **{**defaults, **options}),
        train_dataset=rows,
        eval_dataset=evaluation,
        processing_class=make_processor(augmentation=augmentation),
    )


def curve(trainer):
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
