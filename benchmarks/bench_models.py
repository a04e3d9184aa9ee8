"""The encoders at the papers' input sizes against a straightforward port in plain torch, in one run.

Both sides have the same weights and must give the same logits. "Forward" is without gradients, "training" is a forward
and a backward pass in training mode; an optimizer would cost both the same. Times are those of one thread on its core,
so that other work on the machine has less part in them. The memory of a training step is what the process grows by at
its peak, measured in a process of its own with and without recomputed activations.

A further model is one more `Case`.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from plain_ecg import plain_ecg_jepa, plain_ecg_transformer, plain_units
from plain_eeg import (
    plain_biot,
    plain_cnn_transformer,
    plain_contrawr,
    plain_ffcl,
    plain_sparcnet,
    plain_st_transformer,
)
from plain_vision import plain_medvit
from torch import Tensor, nn

import climb_hf.models

CLASSES = 7
REQUIRED = 0.97  # never more than 3 % slower than the port


@dataclass(frozen=True)
class Case:
    """One encoder.

    Args:
        stem: as in `climb_hf.models`.
        size: input size, for the table.
        plain: (our model, **inputs) -> logits of the port.
        inputs: (batch, generator) -> keyword arguments of `forward`.
        batch: records per step.
        rounds: alternating measurements of each side.
        memory: records in the step whose memory is measured; 0 to measure none.
        preset: published size, where there are several; otherwise it is the default configuration.
    """

    stem: str
    size: str
    plain: Callable[..., Tensor]
    inputs: Callable[[int, torch.Generator], dict[str, Any]]
    batch: int
    rounds: int
    memory: int = 0
    preset: str | None = None

    def model(self) -> nn.Module:
        """Our classifier, the same at each call."""
        torch.manual_seed(0)
        make = getattr(climb_hf.models, f"{self.stem}Config")
        config = make.preset(self.preset, num_labels=CLASSES) if self.preset else make(num_labels=CLASSES)
        return getattr(climb_hf.models, f"{self.stem}ForClassification")(config)

    def given(self, batch: int) -> dict[str, Any]:
        """Synthetic input."""
        return self.inputs(batch, torch.Generator().manual_seed(0))


def signals(channels: int, length: int) -> Callable[[int, torch.Generator], dict[str, Any]]:
    return lambda batch, generator: {"signal": torch.randn(batch, channels, length, generator=generator)}


def pictures(side: int) -> Callable[[int, torch.Generator], dict[str, Any]]:
    return lambda batch, generator: {"pixel_values": torch.randn(batch, 3, side, side, generator=generator)}


EEG = signals(16, 2000)

CASES = (
    Case("EcgJepa", "8x2500", plain_ecg_jepa, signals(8, 2500), batch=1, rounds=3, memory=2),
    Case("EcgTransformer", "12x5000", plain_ecg_transformer, signals(12, 5000), batch=4, rounds=5),
    Case("Units", "12x2500", plain_units, signals(12, 2500), batch=2, rounds=5),
    Case("Biot", "16x2000", plain_biot, EEG, batch=4, rounds=9, memory=16),
    Case("SparcNet", "16x2000", plain_sparcnet, EEG, batch=8, rounds=15),
    Case("ContraWr", "16x2000", plain_contrawr, EEG, batch=8, rounds=15),
    Case("CnnTransformer", "16x2000", plain_cnn_transformer, EEG, batch=8, rounds=11),
    Case("Ffcl", "16x2000", plain_ffcl, EEG, batch=8, rounds=9),
    Case("StTransformer", "16x2000", plain_st_transformer, EEG, batch=8, rounds=15),
    Case("MedVit", "small 3x224x224", plain_medvit, pictures(224), batch=2, rounds=3, preset="small"),
)


def check(case: Case, model: nn.Module, inputs: dict[str, Any]) -> None:
    """Refuse to time two sides that do not compute the same."""
    model.eval()
    with torch.no_grad():
        ours, theirs = model(**inputs).logits, case.plain(model, **inputs)
    if not torch.allclose(ours, theirs, atol=1e-5, rtol=1e-4):
        raise RuntimeError(f"{case.stem}: the two sides differ by {(ours - theirs).abs().max().item()}")


def seconds(model: nn.Module, logits: Callable[[], Tensor], *, training: bool) -> float:
    model.train(training)
    model.zero_grad()
    start = time.process_time()
    with torch.set_grad_enabled(training):
        result = logits()
        if training:
            result.square().mean().backward()
    return time.process_time() - start


def speed(case: Case) -> list[dict]:
    """Two rows: samples per second of a forward pass and of training."""
    model, inputs = case.model(), case.given(case.batch)
    check(case, model, inputs)

    def ours() -> Tensor:
        return model(**inputs).logits

    def theirs() -> Tensor:
        return case.plain(model, **inputs)

    rows = []
    for kind in ("forward", "training"):
        pairs = []
        for turn in range(case.rounds + 1):
            order = (ours, theirs) if turn % 2 else (theirs, ours)
            taken = {side: seconds(model, side, training=kind == "training") for side in order}
            if turn:  # the first warms up
                pairs.append((taken[ours], taken[theirs]))
        own, reference = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append(
            {
                "name": f"{case.stem} {case.size}, {kind}, batch {case.batch}, vs a port in plain torch",
                "ours": case.batch / own,
                "reference": case.batch / reference,
                "ratio": statistics.median(theirs / ours for ours, theirs in pairs),
                "required": REQUIRED,
                "unit": "samples/s",
            }
        )
    return rows


def peak() -> int:
    """Return the most bytes that this process has had in memory."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts a parent's peak into `ru_maxrss` of its child
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def grown(case: Case, *, recompute: bool) -> float:
    """Return the MiB by which this process grows in a training step, gradients not counted; for a fresh process."""
    import psutil

    model, inputs = case.model().train(), case.given(case.memory)
    if recompute:
        prefix = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
        getattr(model, f"{prefix}_checkpointing_enable")()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter).add_(0)  # written, so that the pages are there
    before = psutil.Process().memory_info().rss
    model(**inputs).logits.square().mean().backward()
    return (peak() - before) / 2**20


def memory(case: Case) -> dict:
    """One row: MiB of a training step with recomputed activations (ours) and without (the reference)."""
    found = []
    for recompute in ("recompute", "keep"):
        command = [sys.executable, __file__, case.stem, recompute]
        # glibc keeps freed blocks below this size for later; large ones shall count while they are in use only
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20)}
        environment |= {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
        text = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        found.append(float(text.split()[-1]))
    return {
        "name": f"{case.stem} {case.size}, memory of training, batch {case.memory}: recomputed vs kept activations",
        "ours": found[0],
        "reference": found[1],
        "ratio": found[1] / found[0],
        "required": None,
        "unit": "MiB",
    }


def run() -> list[dict]:
    """Return two rows per model, and one of memory where that is measured; on one thread."""
    torch.set_num_threads(1)
    rows = []
    for case in CASES:
        rows += speed(case)
        if case.memory:
            rows.append(memory(case))
    return rows


if __name__ == "__main__":
    if len(sys.argv) == 3:
        torch.set_num_threads(1)
        print(grown(next(case for case in CASES if case.stem == sys.argv[1]), recompute=sys.argv[2] == "recompute"))
    else:
        for row in run():
            print(row)
