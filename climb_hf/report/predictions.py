"""Saved predictions source by source: what the comparison of two models and the reliability diagrams read."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.errors import AccessError, SchemaError

__all__ = ["SourcePredictions", "load_predictions", "predictions_beside"]


@dataclass(frozen=True)
class SourcePredictions:
    """Predictions of one source.

    Args:
        source (`str`): its name.
        ids (`tuple[tuple[str, int], ...]`): id of each row, and which row of that id it is (nodes of a graph).
        groups (`tuple[str, ...]`): patient of each row; a row without one is its own.
        references (`np.ndarray`): outcomes, shape `(n, K)`, bool.
        scores (`np.ndarray`): logits, shape `(n, K)`.
        counted (`np.ndarray`): cells with a known label, shape `(n, K)`, bool.
        multi_label (`bool`): whether a row can have any number of positives.
        classes (`tuple[str, ...]`): names of the K classes; empty where the file has none.
    """

    source: str
    ids: tuple[tuple[str, int], ...]
    groups: tuple[str, ...]
    references: np.ndarray
    scores: np.ndarray
    counted: np.ndarray
    multi_label: bool
    classes: tuple[str, ...]

    def probabilities(self) -> np.ndarray:
        """Return softmax (single-label) or sigmoid (multi-label) of the scores, shape `(n, K)`."""
        from climb_hf.metrics.scoring import sigmoid, softmax

        return sigmoid(self.scores) if self.multi_label else softmax(self.scores)

    def select(self, rows: np.ndarray, columns: np.ndarray) -> "SourcePredictions":
        """Return some rows and columns, in the order given.

        Args:
            rows (`np.ndarray`): positions of rows.
            columns (`np.ndarray`): positions of classes.

        Returns:
            `SourcePredictions`.
        """
        cut = np.ix_(rows, columns)
        return SourcePredictions(
            self.source, tuple(self.ids[row] for row in rows), tuple(self.groups[row] for row in rows),
            self.references[cut], self.scores[cut], self.counted[cut], self.multi_label,
            tuple(self.classes[column] for column in columns) if self.classes else (),
        )  # fmt: skip


def predictions_beside(folder: str | Path) -> list[Path]:
    """Return the files with predictions of an evaluation: in its folder, or one per source in folders below.

    Args:
        folder (`str` or `Path`): what `climb evaluate --to` was given.

    Returns:
        `list[Path]`.
    """
    folder = Path(folder)
    return sorted(folder.glob("predictions*.npz")) or sorted(folder.glob("*/predictions*.npz"))


def load_predictions(folder: str | Path) -> dict[str, SourcePredictions]:
    """Read the predictions of an evaluation.

    Args:
        folder (`str` or `Path`): what `climb evaluate --to` was given, or a file.

    Returns:
        `dict[str, SourcePredictions]`: by source.

    Raises:
        AccessError: there are none.
        SchemaError: a source stands in two files.
    """
    from climb_hf.training.evaluation import load_rows

    files = [Path(folder)] if Path(folder).is_file() else predictions_beside(folder)
    if not files:
        raise AccessError(f"`{folder}` holds no `predictions.npz`; write it with `climb evaluate … --to {folder}`.")
    found: dict[str, SourcePredictions] = {}
    for file in files:
        rows = load_rows(file)
        for source in dict.fromkeys(rows["sources"]):
            if source in found:
                raise SchemaError(f"`{folder}`: the predictions of `{source}` stand in two files; leave one out.")
            found[source] = _of_source(rows, source)
    return found


def _of_source(rows: dict[str, Any], source: str) -> SourcePredictions:
    chosen = np.flatnonzero(np.asarray(rows["sources"]) == source)
    columns = np.flatnonzero(rows["target_mask"][chosen].any(axis=0))
    cut = np.ix_(chosen, columns)
    names = rows.get("vocabulary")
    seen: Counter[str] = Counter()
    ids = []
    for row in chosen:
        name = rows["ids"][row]
        ids.append((name, seen[name]))
        seen[name] += 1
    return SourcePredictions(
        source, tuple(ids), tuple(rows["groups"][row] or f"record {rows['ids'][row]}" for row in chosen),
        rows["references"][cut].astype(bool), rows["scores"][cut], rows["target_mask"][cut].astype(bool),
        not bool(rows["exclusive"][chosen].any()),
        tuple(names[column] for column in columns) if names is not None else (),
    )  # fmt: skip
