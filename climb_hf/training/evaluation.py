"""From the gathered logits of an evaluation to one row per record, its numbers per source, and a file."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from climb_hf.errors import SchemaError, TrainingError, VocabularyError
from climb_hf.metrics import METRIC_NAMES, masked_metrics
from climb_hf.training.losses import masked_row_losses
from climb_hf.training.node_rows import rows_of_nodes

__all__ = ["PredictedRows", "Scheme", "gather_rows", "load_rows", "merge_sets", "save_rows", "score_rows"]

#: What `ClimbTrainer.predict_rows` returns: see there.
PredictedRows = dict[str, Any]

_ARRAYS = ("references", "scores", "target_mask", "exclusive")
_STRINGS = ("ids", "sources", "groups")


class Scheme:
    """The classes of the sources as columns of the logits.

    Args:
        vocabulary (`Sequence[str]`): the concepts V, one per column.
        source_classes (`Mapping[str, Sequence[str]]`): V_k by source, as names.
        multi_label (`Mapping[str, bool]`): whether each source is multi-label.
        modalities (`Mapping[str, str]`, *optional*): modality of each source. Defaults to those of the library's
            vocabulary, for the sources it knows.

    Example:
        >>> Scheme(["a", "b", "c"], {"s": ["c", "a"]}, {"s": False}, {}).columns
        {'s': [2, 0]}
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        source_classes: Mapping[str, Sequence[str]],
        multi_label: Mapping[str, bool],
        modalities: Mapping[str, str] | None = None,
    ) -> None:
        outputs = {name: column for column, name in enumerate(vocabulary)}
        self.columns = {source: [outputs[name] for name in names] for source, names in source_classes.items()}
        self.multi_label = dict(multi_label)
        self.modalities = _known_modalities(self.columns) if modalities is None else dict(modalities)

    def relabelled(self, labels: Mapping[str, str]) -> "Scheme":
        """Return the scheme of some sources under other names.

        Args:
            labels (`Mapping[str, str]`): new name -> source.

        Returns:
            `Scheme`.
        """
        scheme = Scheme([], {}, {}, {})
        scheme.columns = {label: self.columns[source] for label, source in labels.items() if source in self.columns}
        scheme.multi_label = {label: self.multi_label[labels[label]] for label in scheme.columns}
        scheme.modalities = {
            label: self.modalities[source] for label, source in labels.items() if source in self.modalities
        }
        return scheme


def gather_rows(
    predictions: tuple[np.ndarray, ...], references: np.ndarray, records: Mapping[int, tuple[str, str, str | None]]
) -> PredictedRows:
    """Put gathered arrays and the records they belong to together, each record once.

    Args:
        predictions (`tuple[np.ndarray, ...]`): logits (n, |V|), target mask (n, |V|), exclusive (n,) and row number
            (n,), as gathered: rows that fill up the last batch of a process may come twice. Where nodes are scored,
            all but the row number have an axis of nodes behind n, and numbers of nodes (n,) follow.
        references (`np.ndarray`): labels (n, |V|), or (n, nodes, |V|).
        records (`Mapping[int, tuple]`): row number -> (id, source, group).

    Returns:
        `dict`: see `ClimbTrainer.predict_rows`; rows in the order of their number, with one row per node where nodes
        are scored.

    Raises:
        TrainingError: a row without its record.
    """
    scores, mask, exclusive, index, *nodes = predictions
    numbers, first = np.unique(index, return_index=True)
    if missing := [int(number) for number in numbers if int(number) not in records]:
        raise TrainingError(f"rows {missing[:5]} were predicted, but their records are unknown; evaluate again.")
    ids, sources, groups = (
        zip(*(records[int(number)] for number in numbers), strict=True) if len(numbers) else ((),) * 3
    )
    rows: PredictedRows = {
        "ids": list(ids),
        "sources": list(sources),
        "groups": list(groups),
        "references": references[first] > 0.5,
        "scores": scores[first].astype(np.float32),
        "target_mask": mask[first].astype(bool),
        "exclusive": exclusive[first].astype(bool),
        "row_index": numbers.astype(np.int64),
    }
    return rows_of_nodes(rows, nodes[0][first]) if nodes else rows


def merge_sets(sets: Mapping[str | None, PredictedRows]) -> tuple[PredictedRows, dict[str, str], list[str]]:
    """Put several evaluation sets together, and name what is reported apart.

    Args:
        sets (`Mapping`): name of the set (`None` for a single, unnamed one) -> its rows.

    Returns:
        `tuple[dict, dict[str, str], list[str]]`: all rows; label -> source; the label of every row. In an unnamed set
        a label is the source; in a named set of one source it is the set's name, else "<set>_<source>".
    """
    labels: dict[str, str] = {}
    of_rows: list[str] = []
    for name, rows in sets.items():
        present = sorted(set(rows["sources"]))
        names = {
            source: source if name is None else name if len(present) == 1 else f"{name}_{source}" for source in present
        }
        labels.update({label: source for source, label in names.items()})
        of_rows += [names[source] for source in rows["sources"]]
    parts = list(sets.values())
    merged: PredictedRows = {key: [value for part in parts for value in part[key]] for key in _STRINGS}
    merged.update({key: np.concatenate([part[key] for part in parts]) for key in _ARRAYS})
    return merged, labels, of_rows


def score_rows(
    rows: PredictedRows,
    labels: Sequence[str],
    scheme: Scheme,
    class_weights: torch.Tensor | None = None,
    subgroups: Mapping[str, Sequence[Any]] | None = None,
    **options: Any,  # noqa: ANN401 - options of masked_metrics
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Score rows per label (source) and on average.

    Rows whose loss is not defined (no known class, or a single-label row without exactly one positive) are left out
    and counted. With `definition="climb"` cells outside the mask of their row (uncertain labels) are left out too.

    Args:
        rows (`dict`): from `ClimbTrainer.predict_rows`.
        labels (`Sequence[str]`): (n,) what each row is reported under.
        scheme (`Scheme`): classes of those labels.
        class_weights (`torch.Tensor`, *optional*): (|V|,) weights of the loss.
        subgroups (`Mapping`, *optional*): columns such as sex, each of (n,); sources in which a column is never known
            are not scored by it.
        **options: `definition`, `n_bootstrap`, `confidence`, `seed`, `calibration` of
            `climb_hf.metrics.masked_metrics`.

    Returns:
        `tuple[dict, dict]`: flat numbers (`loss`, `mean_auc`, `<label>_auc`, `modality_<name>_auc`, …) and the whole
        table of `climb_hf.metrics.masked_metrics`, with `n_left_out` and `loss` per label.

    Raises:
        TrainingError: a logit that is not finite; the records are named.
        VocabularyError: a label without classes.
    """
    _refuse_non_finite(rows)
    if unknown := sorted(set(labels) - set(scheme.columns)):
        raise VocabularyError(f"rows of {unknown} cannot be scored: the model has no classes for them.")
    losses, valid = _row_losses(rows, class_weights)
    names = np.asarray(labels, dtype=object)
    kept = np.flatnonzero(valid)
    table = masked_metrics(
        rows["references"][kept],
        rows["scores"][kept],
        names[kept].tolist(),
        source_classes=scheme.columns,
        multi_label=scheme.multi_label,
        modalities=scheme.modalities,
        groups=[_group(rows, position) for position in kept],
        valid=_counted_cells(rows, names, scheme, kept) if options.get("definition", "climb") == "climb" else None,
        subgroups={column: [values[row] for row in kept.tolist()] for column, values in (subgroups or {}).items()}
        or None,
        **options,
    )
    for source in table["sources"].values():
        known = {column: parts for column, parts in source.get("subgroups", {}).items() if set(parts) - {"unknown"}}
        if "subgroups" in source:
            source["subgroups"] = known
    undefined = {"n_classes_defined": 0, **dict.fromkeys(METRIC_NAMES, float("nan"))}
    for label in sorted(set(labels)):
        unscored = {"n": 0, "multi_label": scheme.multi_label[label], "n_classes": len(scheme.columns[label])}
        source = table["sources"].setdefault(label, {**unscored, **undefined})
        source["loss"] = _mean(losses[(names == label) & valid])
        source["n_left_out"] = int(((names == label) & ~valid).sum())
    return {"loss": _mean(losses[valid]), **_flat(table)}, table


def save_rows(rows: PredictedRows, path: str | Path, vocabulary: Sequence[str] | None = None) -> Path:
    """Write predicted rows to a compressed `.npz` file without pickles.

    Args:
        rows (`dict`): from `ClimbTrainer.predict_rows`.
        path (`str` or `Path`): the file; folders are made.
        vocabulary (`Sequence[str]`, *optional*): names of the columns, for the comparison of several models.

    Returns:
        `Path`: the file.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, np.ndarray] = {key: np.asarray(rows[key]) for key in (*_ARRAYS, "row_index") if key in rows}
    for key in _STRINGS:
        arrays[key] = np.asarray(["" if value is None else value for value in rows[key]], dtype=np.str_)
    if vocabulary is not None:
        arrays["vocabulary"] = np.asarray(list(vocabulary), dtype=np.str_)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for options
    return path


def load_rows(path: str | Path) -> PredictedRows:
    """Read what `save_rows` wrote.

    Args:
        path (`str` or `Path`): the file.

    Returns:
        `dict`: as `ClimbTrainer.predict_rows`; a group that was `None` comes back as `None`. With `vocabulary`, names
        of the columns, where they were saved.

    Raises:
        SchemaError: a file without the arrays.
    """
    with np.load(Path(path), allow_pickle=False) as file:
        if missing := [key for key in (*_ARRAYS, *_STRINGS) if key not in file]:
            raise SchemaError(f"`{path}` holds no predicted rows: {missing} are missing; write it with `save_rows`.")
        rows: PredictedRows = {key: file[key] for key in file.files}
    for key in (*_STRINGS, "vocabulary"):
        if key in rows:
            rows[key] = rows[key].tolist()
    rows["groups"] = [group or None for group in rows["groups"]]
    return rows


def _known_modalities(sources: Mapping[str, Any]) -> dict[str, str]:
    from climb_hf import vocabulary

    known = set(vocabulary.sources())
    return {name: vocabulary.source_vocabulary(name).modality for name in sources if name in known}


def _group(rows: PredictedRows, position: np.integer) -> str:
    # A row without a group is its own cluster; sources do not share patients.
    group = rows["groups"][position]
    return f"record {rows['ids'][position]}" if group is None else f"group {group}"


def _counted_cells(rows: PredictedRows, names: np.ndarray, scheme: Scheme, kept: np.ndarray) -> np.ndarray | None:
    """Cells of the kept rows that count; `None` where all classes of every row do."""
    outside = np.ones(rows["scores"].shape, dtype=bool)
    for label, columns in scheme.columns.items():
        outside[np.ix_(names == label, columns)] = False
    counted = (rows["target_mask"] | outside)[kept]
    return None if counted.all() else counted


def _refuse_non_finite(rows: PredictedRows) -> None:
    bad = np.flatnonzero(~np.isfinite(rows["scores"]).all(axis=1))
    if bad.size:
        named = ", ".join(f"{rows['sources'][row]}:{rows['ids'][row]}" for row in bad[:10])
        raise TrainingError(
            f"{bad.size} of {len(rows['ids'])} records have logits that are not finite: {named}. Check these records' "
            "inputs and the weights of the model."
        )


def _row_losses(rows: PredictedRows, class_weights: torch.Tensor | None) -> tuple[np.ndarray, np.ndarray]:
    losses, valid = masked_row_losses(
        torch.from_numpy(rows["scores"]),
        torch.from_numpy(rows["references"]),
        torch.from_numpy(rows["target_mask"]),
        torch.from_numpy(rows["exclusive"]),
        class_weights=None if class_weights is None else class_weights.cpu(),
    )
    return losses.double().numpy(), valid.numpy()


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _flat(table: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for label, source in table["sources"].items():
        own = "exact_match" if source.get("multi_label") else "top1"
        names = [
            name for name in METRIC_NAMES if name in source and (name not in ("top1", "exact_match") or name == own)
        ]
        flat.update({f"{label}_{name}": source[name] for name in names})
        flat.update({f"{label}_{key}": source[key] for key in ("loss", "n", "n_left_out") if key in source})
        flat.update({f"{label}_{key}": source[key] for key in ("n_classes", "n_classes_defined") if key in source})
        for name in names:
            if interval := source.get("intervals", {}).get(name):
                flat[f"{label}_{name}_low"], flat[f"{label}_{name}_high"] = interval
    for modality, average in table["modalities"].items():
        slug = re.sub(r"[^a-z0-9]+", "_", modality.lower()).strip("_")
        flat.update({f"modality_{slug}_{name}": average[name] for name in ("auc", "sensitivity", "specificity")})
    overall = table["overall"]
    flat.update({f"mean_{name}": overall[name] for name in METRIC_NAMES})
    for name in ("auc", "sensitivity", "specificity"):
        if interval := overall.get("intervals", {}).get(name):
            flat[f"mean_{name}_low"], flat[f"mean_{name}_high"] = interval
    flat["n_sources"], flat["n_sources_auc_defined"] = overall["n_sources"], overall["n_auc_defined"]
    return flat
