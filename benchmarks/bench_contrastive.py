"""Contrastive training: what gradient caching saves and costs against a plain step, and what the loss costs.

Each step runs in a process of its own, so that the peaks of memory are its own; a process that only builds the model
and the batch is taken off. On a GPU the peak is the device's.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

PAIRS, CHUNK, SIDE, TOKENS, STEPS = 256, 32, 96, 32, 4
IMAGE = {"type": "climb_vision", "backbone": "timm/vit_tiny_patch16_224", "image_size": SIDE}
TEXT = {"preset": "bert_tiny", "hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 512}
REQUIRED_MEMORY, REQUIRED_TIME = 3.0, 0.6  # a forward pass more is 4/3 of the work: 0.75 at best


def _trainer(folder: str, size: int | None):
    from climb_hf.models.dual_encoder import build_dual_encoder
    from climb_hf.training.contrastive_arguments import ContrastiveTrainingArguments
    from climb_hf.training.contrastive_trainer import ContrastiveTrainer

    torch.manual_seed(0)
    model = build_dual_encoder(IMAGE, TEXT, projection_dim=512)
    arguments = ContrastiveTrainingArguments(
        folder, contrastive_batch_size=PAIRS, gradient_cache_size=size, bf16=torch.cuda.is_available()
    )
    return ContrastiveTrainer(model, arguments, data_collator=lambda rows: rows)


def _batch(device: torch.device) -> dict:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(5, 2000, (PAIRS, TOKENS), generator=generator)
    batch = {"pixel_values": torch.randn(PAIRS, 3, SIDE, SIDE, generator=generator), "input_ids": tokens}
    batch["attention_mask"] = torch.ones_like(tokens)
    return {key: value.to(device) for key, value in batch.items()}


def _measure(mode: str) -> dict:
    """Time steps in this process and return them with its peak of memory in MiB."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(folder, CHUNK if mode == "cached" else None)
        batch, times = _batch(trainer.args.device), []
        trainer.current_gradient_accumulation_steps = 1
        for parameter in trainer.model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        for _ in range(0 if mode == "nothing" else STEPS):
            start = time.perf_counter()
            trainer.training_step(trainer.model, dict(batch))
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
            trainer.model.zero_grad(set_to_none=False)
            trainer._pending.clear()
            trainer._finite_rows.clear()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated() / 2**20
    return {"peak": peak, "times": times[1:]}


def _in_process(mode: str) -> dict:
    done = subprocess.run([sys.executable, __file__, mode], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def _loss_times() -> tuple[float, float]:
    """Median seconds of forward and backward of our loss, and of transformers', at 2,048 pairs of width 512."""
    from torch.nn import functional
    from transformers.models.vision_text_dual_encoder.modeling_vision_text_dual_encoder import (
        image_text_contrastive_loss,
    )

    from climb_hf.training.contrastive import contrastive_loss

    torch.set_num_threads(1)
    image, text = (functional.normalize(torch.randn(2048, 512), dim=1).requires_grad_() for _ in range(2))
    ours, theirs = [], []
    for _ in range(8):
        start = time.perf_counter()
        contrastive_loss(image, text, 14.0).backward()
        middle = time.perf_counter()
        image_text_contrastive_loss(14.0 * (text @ image.T)).backward()
        ours.append(middle - start)
        theirs.append(time.perf_counter() - middle)
    return statistics.median(ours[2:]), statistics.median(theirs[2:])


def run() -> list[dict]:
    """Return three rows: peak memory, time of a step, time of the loss."""
    found: dict[str, list[dict]] = {mode: [] for mode in ("nothing", "plain", "cached")}
    for _ in range(2):
        for mode, results in found.items():
            results.append(_in_process(mode))
    base = statistics.median(result["peak"] for result in found["nothing"])
    peaks = {mode: statistics.median(result["peak"] for result in found[mode]) - base for mode in ("plain", "cached")}
    times = {
        mode: statistics.median(time for result in found[mode] for time in result["times"])
        for mode in ("plain", "cached")
    }
    ours, theirs = _loss_times()
    what = f"contrastive step, {PAIRS} pairs in chunks of {CHUNK}, vs all at once"
    return [
        {
            "name": f"{what}: peak memory", "ours": peaks["cached"], "reference": peaks["plain"], "unit": "MiB",
            "ratio": peaks["plain"] / peaks["cached"], "required": REQUIRED_MEMORY,
        },
        {
            "name": f"{what}: time", "ours": times["cached"], "reference": times["plain"], "unit": "s",
            "ratio": times["plain"] / times["cached"], "required": REQUIRED_TIME,
        },
        {
            "name": "InfoNCE of 2,048 pairs with gradient, vs transformers", "ours": ours, "reference": theirs,
            "unit": "s", "ratio": theirs / ours, "required": 0.9,
        },
    ]  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(_measure(sys.argv[1])))
    else:
        for row in run():
            print(row)
