"""Two models on the same records: the paired bootstrap of macro AUC by source, and DeLong's test of each class."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.errors import SchemaError
from climb_hf.report.predictions import SourcePredictions, load_predictions

__all__ = ["Comparison", "compare_predictions", "holm"]

_SHOWN = 5


@dataclass(frozen=True)
class Comparison:
    """What differs between two models.

    Args:
        names (`tuple[str, str]`): of the models.
        sources (`list[dict]`): one row per source and one for the mean: AUC of both, difference, interval, p.
        classes (`list[dict]`): one row per class: the same by DeLong's test.
        remarks (`list[str]`): what was left out.
    """

    names: tuple[str, str]
    sources: list[dict[str, Any]]
    classes: list[dict[str, Any]]
    remarks: list[str]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number by Holm's procedure; NaN stays NaN and does not count.

    Args:
        p_values (`Sequence[float]`): of one family of tests.

    Returns:
        `list[float]`.

    Example:
        >>> holm([0.01, 0.04, float("nan"), 0.03])
        [0.03, 0.06, nan, 0.06]
    """
    known = sorted((value, place) for place, value in enumerate(p_values) if not math.isnan(value))
    adjusted, highest = [math.nan] * len(p_values), 0.0
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, value * (len(known) - rank)))
        adjusted[place] = highest
    return adjusted


def compare_predictions(
    a: str | Path, b: str | Path, *, n_bootstrap: int = 1000, confidence: float = 0.95, seed: int = 0
) -> Comparison:
    """Test whether two models differ on the records that both have scored.

    Args:
        a (`str` or `Path`): folder of `climb evaluate --to` of the first model.
        b (`str` or `Path`): of the second.
        n_bootstrap (`int`, *optional*, defaults to `1000`): resamples.
        confidence (`float`, *optional*, defaults to `0.95`): level of the intervals.
        seed (`int`, *optional*, defaults to `0`): seed of the resamples.

    Returns:
        `Comparison`: differences are first minus second.

    Raises:
        SchemaError: no source in common, or other records, classes or labels of one; the message counts them.
    """
    first, second = load_predictions(a), load_predictions(b)
    shared = [name for name in first if name in second]
    if not shared:
        raise SchemaError(
            f"`{a}` and `{b}` have no source in common: {', '.join(first)} and {', '.join(second)}. Score both on the "
            "same sources."
        )
    pairs = {name: _aligned(first[name], second[name]) for name in shared}
    names = _names(a, b)
    remarks = [
        f"Only scored by {owner}, so not compared: {', '.join(alone)}."
        for owner, own, other in ((names[0], first, second), (names[1], second, first))
        if (alone := [name for name in own if name not in other])
    ]
    return Comparison(
        names, _by_source(pairs, names, n_bootstrap, confidence, seed), _by_class(pairs, names, confidence), remarks
    )


def _names(a: str | Path, b: str | Path) -> tuple[str, str]:
    """The shortest ends of two paths that differ."""
    one, two = Path(a).absolute().parts, Path(b).absolute().parts
    for length in range(1, max(len(one), len(two)) + 1):
        if one[-length] != two[-length] if length <= min(len(one), len(two)) else True:
            return "/".join(one[-length:]), "/".join(two[-length:])
    return "first", "second"


def _aligned(one: SourcePredictions, two: SourcePredictions) -> tuple[SourcePredictions, SourcePredictions]:
    """The same rows and classes of both, in the order of the first."""
    where = {key: row for row, key in enumerate(two.ids)}
    shared = sum(key in where for key in one.ids)
    if shared < max(len(one.ids), len(two.ids)):
        strange = [key[0] for key in one.ids if key not in where][:_SHOWN]
        strange = strange or [key[0] for key in set(two.ids) - set(one.ids)][:_SHOWN]
        raise SchemaError(
            f"`{one.source}`: the first model has scored {len(one.ids)} records, the second {len(two.ids)}, and only "
            f"{shared} are the same; not in both: {', '.join(strange)}. Score both on the same split and data."
        )
    columns = np.arange(two.references.shape[1])
    if one.classes and two.classes:
        if set(one.classes) != set(two.classes):
            alone = ", ".join(sorted(set(one.classes) ^ set(two.classes)))
            raise SchemaError(
                f"`{one.source}`: the models have other classes: {alone} in one of them only. Evaluate both "
                "with the same `labels` option."
            )
        columns = np.array([two.classes.index(name) for name in one.classes])
    elif one.references.shape[1] != two.references.shape[1]:
        raise SchemaError(
            f"`{one.source}`: {one.references.shape[1]} and {two.references.shape[1]} classes; evaluate both again "
            "with this release, which saves the names of the classes."
        )
    other = two.select(np.array([where[key] for key in one.ids], dtype=np.intp), columns)
    both = one.counted & other.counted
    if differing := int(((one.references != other.references) & both).any(axis=1).sum()):
        raise SchemaError(
            f"`{one.source}`: {differing} of {len(one.ids)} records have other labels in the two files; evaluate both "
            "on the same data with the same options."
        )
    return one, other


def _by_source(
    pairs: Mapping[str, tuple[SourcePredictions, SourcePredictions]],
    names: tuple[str, str],
    n_bootstrap: int,
    confidence: float,
    seed: int,
) -> list[dict[str, Any]]:
    from climb_hf.metrics import compare_scores

    width = max(one.references.shape[1] for one, _ in pairs.values())
    n_classes = {name: one.references.shape[1] for name, (one, _) in pairs.items()}

    def stacked(arrays: Sequence[np.ndarray], fill: float, kind: type) -> np.ndarray:
        parts: list[np.ndarray] = [
            np.pad(own.astype(kind), ((0, 0), (0, width - own.shape[1])), constant_values=fill) for own in arrays
        ]
        return np.concatenate(parts)

    table = compare_scores(
        stacked([one.references for one, _ in pairs.values()], 0, bool),
        stacked([one.scores for one, _ in pairs.values()], 0, float),
        stacked([two.scores for _, two in pairs.values()], 0, float),
        [name for name, (one, _) in pairs.items() for _ in one.ids],
        source_classes={name: list(range(count)) for name, count in n_classes.items()},
        multi_label={name: one.multi_label for name, (one, _) in pairs.items()},
        groups=[f"{name} {group}" for name, (one, _) in pairs.items() for group in one.groups],
        valid=stacked([one.counted & two.counted for one, two in pairs.values()], 1, bool),
        n_bootstrap=n_bootstrap, confidence=confidence, seed=seed,
    )  # fmt: skip
    counts = {name: len(one.ids) for name, (one, _) in pairs.items()}
    counts["overall"] = sum(counts.values())
    titles = {name: name for name in pairs} | ({"overall": "mean of all sources"} if len(pairs) > 1 else {})
    return [
        {"source": title, "rows": counts[name], **_columns(table[name]["auc"], names, ("a", "b")),
         "resamples": table[name]["auc"]["n_resamples"]}
        for name, title in titles.items()
    ]  # fmt: skip


def _columns(own: Mapping[str, float], names: tuple[str, str], keys: tuple[str, str]) -> dict[str, Any]:
    values = {f"AUC {name}": own[key] for name, key in zip(names, keys, strict=True)}
    return {**values, **{key: own[key] for key in ("difference", "low", "high", "p")}}


def _by_class(
    pairs: Mapping[str, tuple[SourcePredictions, SourcePredictions]], names: tuple[str, str], confidence: float
) -> list[dict[str, Any]]:
    from climb_hf.metrics import delong_test

    rows: list[dict[str, Any]] = []
    for name, (one, two) in pairs.items():
        both, chances = one.counted & two.counted, (one.probabilities(), two.probabilities())
        for column in range(one.references.shape[1]):
            kept = np.flatnonzero(both[:, column])
            own = delong_test(
                one.references[kept, column], chances[0][kept, column], chances[1][kept, column],
                [one.groups[row] for row in kept], confidence=confidence,
            )  # fmt: skip
            known = one.classes[column] if one.classes else f"class {column + 1}"
            counts = {"rows": len(kept), "positives": int(one.references[kept, column].sum())}
            rows.append({"source": name, "class": known, **counts, **_columns(own, names, ("auc_a", "auc_b"))})
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p (Holm)"] = adjusted
    return rows
