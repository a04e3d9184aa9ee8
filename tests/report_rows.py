"""Hand-made result rows and predictions for the tests of the report."""

from pathlib import Path

import numpy as np

from climb_hf.results import ResultRow, write_results
from climb_hf.training.evaluation import save_rows

COMMON = {"split": "test", "versions": {"climb-hf": "0.1"}, "date": "2026-01-02", "data_fingerprint": "f00d"}


def row(source, value, metric="auc", *, model="cnx", n=100, protocol="multitask", **facts):
    settings = {"architecture": "convnextv2_base", "training": "multitask"} if protocol == "multitask" else {}
    settings |= facts.pop("settings", {})
    if value != value:
        facts.setdefault("reason", "no class has both outcomes")
    own = {"seed": 42, "recipe_hash": "aa", **COMMON, **facts}
    return ResultRow(
        source=source, metric=metric, value=value, n=n, model=model, protocol=protocol, settings=settings, **own
    )


def vision_run(**facts):
    """Two sources of chest X-ray, one of ultrasound, and the averages that an evaluation writes."""
    values = {"mimic_cxr": 0.8, "chexpert": 0.7, "busi": 0.9}
    rows = [row(name, value, interval=(value - 0.05, value + 0.05), **facts) for name, value in values.items()]
    rows += [row(name, 0.4, "sensitivity", **facts) for name in values]
    rows.append(row("Chest X-ray", 0.75, level="modality", n_defined=2, interval=(0.72, 0.78), n=200, **facts))
    rows.append(row("Ultrasound", 0.9, level="modality", n_defined=1, **facts))
    rows.append(row("all", 0.8, level="overall", n_defined=3, n=300, interval=(0.78, 0.82), **facts))
    return rows


def write(folder: Path, *rows) -> Path:
    return write_results(folder / "results.jsonl", rows)


def predictions(folder: Path, scores, references, *, ids=None, groups=None, source="busi", names=("x", "a", "b")):
    """Save single-label predictions over columns 1 and 2 of a vocabulary of three."""
    n = len(scores)
    wide = np.zeros((n, 3), dtype=np.float32)
    wide[:, 1:] = scores
    known = np.zeros((n, 3), dtype=bool)
    known[:, 1:] = True
    truth = np.zeros((n, 3), dtype=bool)
    truth[np.arange(n), 1 + np.asarray(references)] = True
    rows = {
        "ids": list(ids or [f"r{i}" for i in range(n)]), "sources": [source] * n, "groups": groups or [None] * n,
        "references": truth, "scores": wide, "target_mask": known, "exclusive": np.ones(n, dtype=bool),
    }  # fmt: skip
    return save_rows(rows, folder / "predictions.npz", names)
