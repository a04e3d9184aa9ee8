"""One step of `ClimbTrainer` against one step of a plain PyTorch loop, over the same rows, in one run.

Both read the rows through a DataLoader with the same collator, and use the same model, loss, optimizer, clipping and
schedule. A plain step is taken right after every step of the trainer, so each pair of times was measured side by side.
"""

import itertools
import os
import statistics
import tempfile
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import PreTrainedConfig, PreTrainedModel, TrainerCallback

from climb_hf.training.arguments import ClimbTrainingArguments
from climb_hf.training.losses import masked_classification_loss
from climb_hf.training.targets import TargetBuilder
from climb_hf.training.trainer import ClimbTrainer

BATCH, SIDE, STEPS, WARM_UP = 24, 96, 80, 5
REQUIRED = 0.97  # ours at least 0.97 of the plain loop's steps per second: at most 3 % slower
CLASSES = {"a": ["x0", "x1", "x2"], "b": ["x3", "x4"]}
VOCABULARY = [f"x{number}" for number in range(50)]


class BenchmarkConfig(PreTrainedConfig):
    """Configuration of the benchmark's model."""

    model_type = "climb_benchmark"
    vocabulary: list | None = None
    source_classes: dict | None = None
    source_multi_label: dict | None = None


class BenchmarkModel(PreTrainedModel):
    """A plain convolutional network of about twenty layers."""

    config: BenchmarkConfig
    main_input_name = "pixel_values"

    def __init__(self, config: BenchmarkConfig) -> None:
        super().__init__(config)
        widths = [3, 32, 64, 96, 128, 128]
        blocks = []
        for before, after in itertools.pairwise(widths):
            convolutions = [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.Conv2d(after, after, 3, padding=1)]
            blocks += [layer for conv in convolutions for layer in (conv, nn.GroupNorm(8, after), nn.GELU())]
        self.body = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(widths[-1], len(config.vocabulary or []))
        self.post_init()

    def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the logits."""
        return {"logits": self.head(self.body(pixel_values))}


class Collator:
    """Stacks the pictures and builds the targets."""

    def __init__(self) -> None:
        multi_label = {"a": True, "b": False}
        self.targets = TargetBuilder(VOCABULARY, CLASSES, multi_label, label_names=VOCABULARY)

    def __call__(self, rows: list[dict]) -> dict[str, Any]:
        """Collate rows."""
        batch = {"pixel_values": torch.stack([row["pixel_values"] for row in rows]), **self.targets(rows)}
        return batch | {"ids": [row["id"] for row in rows], "sources": [row["source"] for row in rows]}


class PlainStep(TrainerCallback):
    """Times the trainer's steps, and takes and times a plain step after each of them."""

    def __init__(self, rows: list[dict], model: BenchmarkModel) -> None:
        self.model, self.ours, self.reference = model, [], []
        self.batches = iter(DataLoader(rows * 10, batch_size=BATCH, collate_fn=Collator()))
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1.0)
        self.started = 0.0

    def on_train_begin(self, *args, **kwargs) -> None:
        """Start the clock of the first step."""
        self.model.train()
        self.started = time.perf_counter()

    def on_step_end(self, *args, **kwargs) -> None:
        """Note the trainer's time, then take a plain step."""
        start = time.perf_counter()
        self.ours.append(start - self.started)
        batch = next(self.batches)
        loss = masked_classification_loss(
            self.model(batch["pixel_values"])["logits"], batch["labels"], batch["target_mask"], batch["exclusive"]
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        self.started = time.perf_counter()
        self.reference.append(self.started - start)


def _rows() -> list[dict]:
    generator = torch.Generator().manual_seed(0)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(BATCH * (STEPS + WARM_UP) // 5):
        source = "ab"[number % 2]
        labels = [3 + int(rng.integers(2))] if source == "b" else [k for k in range(3) if rng.random() < 0.5]
        pixels = torch.randn(3, SIDE, SIDE, generator=generator)
        rows.append({"id": str(number), "source": source, "labels": labels, "pixel_values": pixels})
    return rows


def _model() -> BenchmarkModel:
    torch.manual_seed(0)
    config = BenchmarkConfig(vocabulary=VOCABULARY, source_classes=CLASSES, source_multi_label={"a": True, "b": False})
    return BenchmarkModel(config)


def run() -> list[dict]:
    """Return one row: steps per second of both, and the median ratio of the pairs."""
    torch.set_num_threads(1)
    rows = _rows()
    plain = PlainStep(rows, _model())
    with tempfile.TemporaryDirectory() as folder:
        arguments = ClimbTrainingArguments(
            folder,
            max_steps=STEPS + WARM_UP,
            per_device_train_batch_size=BATCH,
            learning_rate=1e-3,
            lr_scheduler_type="constant",
            logging_strategy="no",
            save_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = ClimbTrainer(_model(), arguments, Collator(), rows, modalities={}, callbacks=[plain])
        trainer.train()
    ours, reference = plain.ours[WARM_UP:], plain.reference[WARM_UP:]
    return [
        {
            "name": f"training step, batch {BATCH} of {SIDE}x{SIDE}, vs a plain PyTorch loop",
            "ours": 1 / statistics.median(ours),
            "reference": 1 / statistics.median(reference),
            "ratio": statistics.median(theirs / own for own, theirs in zip(ours, reference, strict=True)),
            "required": REQUIRED,
            "unit": "steps/s",
        }
    ]


if __name__ == "__main__":
    for row in run():
        print(row)
