"""Means over seeds, and paired differences between two models, with Student's t intervals."""

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from climb_hf.metrics.significance import mean_interval

if TYPE_CHECKING:
    from climb_hf.results import ResultRow

__all__ = ["AGGREGATE", "DIFFERENCE", "aggregate_seeds"]

AGGREGATE, DIFFERENCE = "mean over seeds", "mean difference over seeds"
_CONFIDENCE = 0.95
#: Settings that are those of a single run.
_OF_A_RUN = ("shots", "n_bootstrap", "bootstrap_seed")


def aggregate_seeds(rows: "Sequence[ResultRow]", pair: tuple[str, str] | None = None) -> "list[ResultRow]":
    """Return the means over seeds of every model and k, and the paired differences of two models.

    Args:
        rows (`Sequence[ResultRow]`): rows of single runs.
        pair (`tuple[str, str]`, *optional*): two models; the difference is that of the first minus the second, over
            the seeds that both have.

    Returns:
        `list[ResultRow]`: without a seed of their own; `settings` names the seeds, how many were undefined, and the
        standard deviation over seeds. A mean over runs that are all undefined is NaN.
    """
    runs: dict[tuple[Any, ...], dict[int, ResultRow]] = defaultdict(dict)
    for row in rows:
        copies = bool(row.settings.get("without_duplicates"))
        runs[row.model, row.settings["k"], row.metric, copies][row.seed or 0] = row
    means = [_mean(own) for own in runs.values()]
    if pair is not None:
        for (model, *rest), own in runs.items():
            other = runs.get((pair[1], *rest))
            if model == pair[0] and other:
                means.append(_difference(own, other))
    return means


def _mean(own: "dict[int, ResultRow]") -> "ResultRow":
    defined = {seed: row.value for seed, row in own.items() if row.is_defined}
    return _row(list(own.values()), defined, AGGREGATE, next(iter(own.values())).metric)


def _difference(own: "dict[int, ResultRow]", other: "dict[int, ResultRow]") -> "ResultRow":
    both = [seed for seed in own if seed in other and own[seed].is_defined and other[seed].is_defined]
    found = _row(
        [own[seed] for seed in own if seed in other] or list(own.values()),
        {seed: own[seed].value - other[seed].value for seed in both},
        DIFFERENCE,
        f"{next(iter(own.values())).metric}_difference",
    )
    return replace(found, settings={**found.settings, "against": next(iter(other.values())).model})


def _row(rows: "list[ResultRow]", values: dict[int, float], kind: str, metric: str) -> "ResultRow":
    first = rows[0]
    mean, interval = mean_interval(list(values.values()))
    settings = {name: value for name, value in first.settings.items() if name not in _OF_A_RUN}
    settings |= {
        "aggregate": kind,
        "seeds": [row.seed for row in rows],
        "n_seeds": len(values),
        "n_seeds_undefined": len(rows) - len(values),
        "std": statistics.stdev(values.values()) if len(values) > 1 else None,
        "interval_over": "seeds",
    }
    return replace(
        first, metric=metric, value=mean, interval=interval, confidence=_CONFIDENCE, seed=None, n_defined=None,
        settings=settings, reason=None if values else f"undefined for every seed: {first.reason}",
    )  # fmt: skip
