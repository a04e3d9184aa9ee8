"""From scores over the classes of one source to result rows: what the probe and the transfer protocol share."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from climb_hf.mixture import source_options
from climb_hf.protocols.data import data_fingerprint
from climb_hf.provenance import provenance
from climb_hf.results import WITHOUT_DUPLICATES, ResultRow, rows_from_metrics

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["ScoredSource", "common_facts", "duplicates_of", "predicted_rows", "score_source", "with_options"]


@dataclass(frozen=True)
class ScoredSource:
    """Which source is scored, over which classes.

    Args:
        name (`str`): the source.
        concepts (`list[str]`): its classes V_k in order; columns of the scores.
        multi_label (`bool`): whether a record may have any number of them.
        duplicates (`frozenset[str]`): ids of scored records that are copies of another record.
    """

    name: str
    concepts: list[str]
    multi_label: bool
    duplicates: frozenset[str] = field(default_factory=frozenset)


def duplicates_of(dataset: "Dataset") -> frozenset[str]:
    """Return the ids of the records that name another record as the same content.

    Args:
        dataset (`Dataset`): rows with our columns.

    Returns:
        `frozenset[str]`.
    """
    columns = dataset.select_columns(["id", "duplicate_of"]).with_format(None)
    return frozenset(id_ for id_, of in zip(columns["id"], columns["duplicate_of"], strict=True) if of)


def common_facts(protocol: str, dataset: "Dataset", split: str, **facts: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the fields that every result row of a protocol has.

    Args:
        protocol (`str`): its name.
        dataset (`Dataset`): the rows that are scored.
        split (`str`): their split.
        **facts: further fields of `ResultRow`.

    Returns:
        `dict`.
    """
    return {
        "protocol": protocol,
        "split": split,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": provenance(),
        "data_fingerprint": data_fingerprint(dataset),
        **facts,
    }


def predicted_rows(
    source: ScoredSource,
    scores: np.ndarray,
    targets: tuple[np.ndarray, np.ndarray],
    ids: Sequence[str],
    groups: Sequence[str | None],
) -> dict[str, Any]:
    """Put scores over V_k in the form of `ClimbTrainer.predict_rows`, for `score_source` and `save_rows`.

    Args:
        source (`ScoredSource`): the source.
        scores (`np.ndarray`): (n, K) logits.
        targets (`tuple[np.ndarray, np.ndarray]`): (n, K) bool positives and known cells.
        ids (`Sequence[str]`): records.
        groups (`Sequence[str | None]`): patients.

    Returns:
        `dict`.
    """
    return {
        "ids": list(ids),
        "sources": [source.name] * len(ids),
        "groups": list(groups),
        "references": targets[0],
        "scores": scores.astype(np.float32),
        "target_mask": targets[1],
        "exclusive": np.full(len(ids), not source.multi_label),
        "row_index": np.arange(len(ids), dtype=np.int64),
    }


def with_options(name: str, options: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Any]:
    """Return the setting of a result that says with which options its source was loaded, if any.

    Args:
        name (`str`): the source.
        options (`Mapping`, *optional*): options by source name, those under `"*"` for all.

    Returns:
        `dict`: empty, or `options` alone.

    Example:
        >>> with_options("brain_tumor", {"*": {"num_frames": 4}, "brain_tumor": {"image_size": 96}})
        {'options': {'image_size': 96}}
    """
    chosen = source_options(name, options or {})
    return {"options": chosen} if chosen else {}


def score_source(
    rows: Mapping[str, Any],
    source: ScoredSource,
    vocabulary: Sequence[str],
    *,
    scoring: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> list[ResultRow]:
    """Score one source; where it names copies, a second time without them.

    Beside the metrics of `climb_hf.metrics.masked_metrics` a single-label source of two classes gets `f1_positive`,
    the F1 of its second class (id 1 of the protocols), which `settings["positive_class"]` names.

    Args:
        rows (`Mapping`): as `ClimbTrainer.predict_rows` gives them.
        source (`ScoredSource`): the source.
        vocabulary (`Sequence[str]`): names of the columns of the scores.
        scoring (`Mapping`): `n_bootstrap`, `seed`, optionally `definition` and `confidence`.
        facts (`Mapping`): fields of every row.

    Returns:
        `list[ResultRow]`: of the level `"source"`.
    """
    found = _score(rows, source, vocabulary, scoring, facts)
    if not source.duplicates:
        return found
    keep = np.array([id_ not in source.duplicates for id_ in rows["ids"]])
    if keep.all():
        return found
    fewer = {
        key: values[keep] if isinstance(values, np.ndarray) else [v for v, k in zip(values, keep, strict=True) if k]
        for key, values in rows.items()
    }
    settings = {**facts.get("settings", {}), **WITHOUT_DUPLICATES}
    return found + _score(fewer, source, vocabulary, scoring, {**facts, "settings": settings})


def _score(
    rows: Mapping[str, Any],
    source: ScoredSource,
    vocabulary: Sequence[str],
    scoring: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> list[ResultRow]:
    from climb_hf.training.evaluation import Scheme, score_rows

    scheme = Scheme(vocabulary, {source.name: source.concepts}, {source.name: source.multi_label})
    if not rows["ids"]:
        return [ResultRow(**facts, source=source.name, metric="auc", value=math.nan, n=0, reason="no row to score")]
    _, table = score_rows(dict(rows), rows["sources"], scheme, **scoring)
    found = [row for row in rows_from_metrics(table, **facts) if row.level == "source"]
    if not source.multi_label and len(source.concepts) == 2:
        found.append(_positive_f1(rows, source, scheme.columns[source.name], scoring, facts))
    return found


def _positive_f1(
    rows: Mapping[str, Any],
    source: ScoredSource,
    columns: Sequence[int],
    scoring: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> ResultRow:
    """Return the F1 of the second class, with its interval over resampled patients."""
    from climb_hf.metrics import cluster_weights, interval_of
    from climb_hf.metrics.bootstrap import codes_of

    kept = np.flatnonzero(rows["references"][:, columns].sum(axis=1) == 1)
    truth = rows["references"][kept, columns[1]].astype(np.int64)
    called = (rows["scores"][kept][:, columns].argmax(axis=1) == 1).astype(np.int64)
    patients = [rows["groups"][row] or f"record {rows['ids'][row]}" for row in kept]
    codes, present = codes_of(patients)
    counts = np.stack([truth * called, truth + called], axis=1)  # F1 = 2 TP / (2 TP + FP + FN)
    hits, total = counts.sum(axis=0)
    value = float(2 * hits / total) if total else math.nan
    settings = {**facts.get("settings", {}), "positive_class": source.concepts[1]}
    interval, n_bootstrap = None, scoring.get("n_bootstrap", 0)
    if n_bootstrap and len(kept):
        confidence, seed = scoring.get("confidence", 0.95), scoring.get("seed", 0)
        draws = cluster_weights(codes, len(kept), n_bootstrap, seed, source.name)
        drawn = np.concatenate([weights @ counts for weights in draws]).astype(float)  # (b, 2)
        (low, high), n_defined = interval_of(2 * drawn[:, 0] / np.where(drawn[:, 1], drawn[:, 1], np.nan), confidence)
        interval = (low, high) if n_defined else None
        settings |= {"n_bootstrap": n_bootstrap, "bootstrap_seed": seed}
    return ResultRow(
        **{**facts, "settings": settings}, source=source.name, metric="f1_positive", value=value, n=len(kept),
        n_groups=len(present), n_classes=2, interval=interval,
        reason=None if total else "the class is neither present nor predicted",
    )  # fmt: skip
