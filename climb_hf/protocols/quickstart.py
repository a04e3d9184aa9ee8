"""The quickstart: every step from raw files to a reloaded model, on synthetic data of three imaging modalities."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.report.tables import format_table

if TYPE_CHECKING:
    from climb_hf.protocols.multitask import Run
    from climb_hf.report.html import Picture
    from climb_hf.results import ResultRow

__all__ = ["SOURCES", "quickstart"]

#: MRI slices (JPEG), skin photographs (PNG with a table), chest X-rays (DICOM, multi-label).
SOURCES = ("brain_tumor", "pad_ufes_20", "vindr_cxr")
_SAMPLES_PER_SOURCE = 4


def quickstart(to: str | Path, *, n: int = 240, seed: int = 0, say: Callable[[str], Any] = print) -> "list[ResultRow]":
    """Write synthetic data, load it, train, score, save, reload, predict one picture, and write a report.

    Args:
        to (`str` or `Path`): folder for `data/`, `model/`, `results.jsonl` and `report.html`.
        n (`int`, *optional*, defaults to `240`): synthetic records per source.
        seed (`int`, *optional*, defaults to `0`): seed of data and training.
        say (`Callable[[str], Any]`, *optional*): takes each line of the account.

    Returns:
        `list[ResultRow]`: scores on the held-out test split.

    Raises:
        OptionError: the folder holds files that no earlier quickstart wrote.
    """
    import datasets
    from transformers.utils import logging as transformers_logging

    from climb_hf.miniatures import miniature
    from climb_hf.protocols.multitask import evaluate, train
    from climb_hf.report.results import result_table

    start, to = time.monotonic(), Path(to)
    logging.getLogger("climb_hf").setLevel(logging.ERROR)
    datasets.disable_progress_bars()  # each step takes a second or two; training keeps its own bar
    transformers_logging.disable_progress_bar()
    say("All data of this quickstart is SYNTHETIC: drawn by a seeded generator in the publishers' formats.\n")
    folders = {name: to / "data" / name for name in SOURCES}
    loaded = {}
    for name, folder in folders.items():
        miniature(name, folder, n=n, seed=seed)
        loaded[name] = datasets.load_dataset("climb", name, data_dir=str(folder), cache_dir=str(to / "cache"))
        counts = ", ".join(f"{split} {part.num_rows}" for split, part in loaded[name].items())
        say(f"load_dataset('climb', '{name}'): {counts}")
    say("\nTraining one small ConvNeXtV2 on the mixture, from random weights ...")
    run = train(
        dict(folders),
        to,
        recipe="quickstart",
        overrides=[f"training.seed={seed}"],
        cache_dir=to / "cache",
        synthetic=True,
    )
    say("Scoring the held-out test split ...\n")
    results = evaluate(run.checkpoint, dict(folders), output_dir=to, n_bootstrap=500, cache_dir=to / "cache")
    say(format_table(result_table(results, ("auc", "sensitivity", "specificity"))))
    say(f"\nSaved {run.checkpoint} and reloaded it with from_pretrained.")
    say(_predict_one(run.checkpoint, loaded["brain_tumor"]["test"]))
    report = _report(to, run, results, loaded)
    say(f"Report: {report}")
    say(f"Done in {time.monotonic() - start:.0f} s. Synthetic data: these numbers say nothing about patients.")
    return results


def _predict_one(checkpoint: Path, dataset: Any) -> str:  # noqa: ANN401 - a Dataset
    """Predict the first picture of a dataset with what was saved, and say what came out."""
    import torch

    from climb_hf.protocols.checkpoints import load_checkpoint
    from climb_hf.vocabulary import source_vocabulary

    model, processor, _ = load_checkpoint(checkpoint)
    row = dataset[0]
    known = source_vocabulary(row["source"])
    with torch.inference_mode():
        logits = model(**processor(row["image"], return_tensors="pt")).logits
    probability, position = model.masked_probabilities(logits, row["source"])[0].max(0)
    names = dataset.features["labels"].feature.names
    truth = known.classes[known.concepts.index(names[row["labels"][0]])]
    return (
        f"Prediction for `{row['id']}`: {known.classes[int(position)]} (p = {float(probability):.2f}); "
        f"its label is {truth}."
    )


def _gallery(loaded: dict[str, Any]) -> "list[Picture]":
    from climb_hf.report.html import image_picture

    pictures = []
    for name, dataset in loaded.items():
        part = dataset["test"]
        names = part.features["labels"].feature.names
        for row in part.select(range(min(_SAMPLES_PER_SOURCE, len(part)))):
            labels = ", ".join(names[label] for label in row["labels"]) or "no label"
            pictures.append(image_picture(row["image"], f"{name}: {labels}"))
    return pictures


def _report(to: Path, run: "Run", results: "list[ResultRow]", loaded: dict[str, Any]) -> Path:
    from climb_hf.report.html import Section, write_report
    from climb_hf.report.runs import SYNTHETIC_NOTICE, evaluation_sections, history_section

    sizes = [
        {"source": name, **{split: part.num_rows for split, part in dataset.items()}}
        for name, dataset in loaded.items()
    ]
    sections = [
        Section("Data", ["Synthetic miniatures in the publishers' on-disk formats."], rows=sizes),
        history_section(run.history),
        *evaluation_sections(results),
        Section("Samples (synthetic)", gallery=_gallery(loaded)),
        Section("Use the model", code=_USE.format(folder=run.checkpoint.name)),
    ]
    return write_report(to / "report.html", "climb-hf quickstart", sections, notice=SYNTHETIC_NOTICE)


_USE = """import climb_hf
from transformers import pipeline

predict = pipeline("climb-classification", model="{folder}")
print(predict(image, source="brain_tumor"))"""
