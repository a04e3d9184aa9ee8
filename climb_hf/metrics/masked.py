"""The benchmark's numbers: every source over its own classes, averages per modality and over sources."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from climb_hf.errors import OptionError
from climb_hf.metrics.bootstrap import check_bootstrap, codes_of, interval_of
from climb_hf.metrics.calibration import N_BINS, brier_score, expected_calibration_error
from climb_hf.metrics.inputs import Arrays, SourceRows, check_single_label, group_codes, source_order
from climb_hf.metrics.scoring import METRIC_NAMES, Decided, Definition, Values, decide, mean_defined, measure, resample

__all__ = ["masked_metrics"]

_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class _Options:
    definition: Definition
    n_bootstrap: int
    confidence: float
    seed: int
    from_logits: bool
    calibration: bool
    num_threads: int | None


def masked_metrics(
    references: ArrayLike,
    scores: ArrayLike,
    sources: Sequence[str],
    *,
    source_classes: Mapping[str, Sequence[int]],
    multi_label: Mapping[str, bool],
    modalities: Mapping[str, str] | None = None,
    groups: Sequence[Hashable] | None = None,
    valid: ArrayLike | None = None,
    definition: Definition = "climb",
    n_bootstrap: int = 0,
    confidence: float = 0.95,
    seed: int = 0,
    from_logits: bool = True,
    subgroups: Mapping[str, Sequence[Hashable]] | None = None,
    calibration: bool = False,
    num_threads: int | None = None,
) -> dict[str, Any]:
    """Score every source over its own classes, then average per modality and over sources.

    Per source, over its classes V_k: macro one-vs-rest `auc` over the classes with both outcomes (single-label: of the
    softmax over V_k), macro `sensitivity`, `specificity` and `f1`, `accuracy` (mean per-class binary accuracy), `top1`
    (single-label) and `exact_match` (multi-label). Decisions: argmax within V_k, or probability >= 0.5. A class enters
    a macro mean only where its value is defined: sensitivity needs a positive, specificity a negative, F1 a positive
    or a row called positive.

    `definition="paper"` computes what the tables of the CLIMB paper print, after its published code: classes without
    both outcomes among the rows are dropped before anything else, the threshold is strict, a multi-label row without
    any decision gets the first class that is kept, and `exact_match` of a single-label source repeats its `accuracy`.

    Intervals are percentiles of a bootstrap over whole groups within the source; decisions stay those of the full
    sample, and a class that lacks an outcome in a resample is left out of that resample's macro mean. The average over
    sources is taken resample by resample, where all its sources are defined.

    Args:
        references (`ArrayLike`): outcomes over the vocabulary, shape `(n, |V|)`, bool or 0/1; only V_k is looked at.
        scores (`ArrayLike`): logits, shape `(n, |V|)`, finite within V_k; or probabilities (`from_logits=False`).
        sources (`Sequence[str]`): source of each row, shape `(n,)`.
        source_classes (`Mapping`): V_k: for each source the columns of its classes.
        multi_label (`Mapping`): for each source whether a row can have any number of positives.
        modalities (`Mapping`, *optional*): modality of each source, for the averages.
        groups (`Sequence`, *optional*): patient (or other cluster) of each row, shape `(n,)`; by default each row.
        valid (`ArrayLike`, *optional*): shape `(n, |V|)`, bool; `False` leaves a cell out (an uncertain label).
        definition (`str`, *optional*, defaults to `"climb"`): `"climb"` or `"paper"`.
        n_bootstrap (`int`, *optional*, defaults to `0`): resamples for the intervals; 0 for none.
        confidence (`float`, *optional*, defaults to `0.95`): level of the intervals, in (0, 1).
        seed (`int`, *optional*, defaults to `0`): seed of the bootstrap.
        from_logits (`bool`, *optional*, defaults to `True`): whether `scores` are logits.
        subgroups (`Mapping`, *optional*): columns such as `{"sex": …, "age": age_bands(ages)}`, each of shape `(n,)`;
            every source is then also scored per value (`None`, NaN and `""` are `"unknown"`).
        calibration (`bool`, *optional*, defaults to `False`): add `brier` and `ece` (15 bins of equal width).
        num_threads (`int`, *optional*): threads; all cores (at most 8) for large inputs by default.

    Returns:
        `dict` of plain Python values, NaN where undefined: `sources` (a table per source that has rows: `n`,
        `n_groups`, `n_classes`, `n_classes_defined`, the metrics, `n_…_defined`, lists `per_class`, and where asked
        `intervals`, `n_resamples`, `calibration`, `subgroups`), `modalities` and `overall` (unweighted means over the
        sources with a defined value, `n_sources`, `n_…_defined`, `intervals`), `definition`, `n`, `n_bootstrap`,
        `confidence`, `seed`.

    Raises:
        SchemaError: shapes differ, an outcome is not 0 or 1, a score within V_k is not finite, a group is missing, or
            a single-label row does not have exactly one positive; the rows are named.
        VocabularyError: a source has no classes, or a class is not a column.
        OptionError: an option has a value that is not allowed.

    Example:
        >>> result = masked_metrics(
        ...     [[1, 0, 0], [0, 1, 0], [1, 0, 0]],
        ...     [[2.0, 1.0, 9.0], [0.0, 3.0, 9.0], [0.5, 1.0, 9.0]],
        ...     ["a", "a", "a"],
        ...     source_classes={"a": [0, 1]},
        ...     multi_label={"a": False},
        ... )
        >>> result["overall"]["auc"], round(result["overall"]["top1"], 3)
        (1.0, 0.667)
    """
    if definition not in get_args(Definition):
        raise OptionError(f"`definition` must be 'climb' or 'paper', found {definition!r}.")
    if definition == "paper" and valid is not None:
        raise OptionError("`valid` was given, but `definition='paper'` counts every cell: leave out one of the two.")
    check_bootstrap(n_bootstrap, confidence, seed)
    options = _Options(definition, n_bootstrap, confidence, seed, from_logits, calibration, num_threads)
    arrays = Arrays.of(references, scores, valid)
    columns = {f"subgroups[{name!r}]": values for name, values in (subgroups or {}).items()}
    for name, values in {"sources": sources, "groups": groups, **columns}.items():
        if values is not None:
            arrays.check_length(name, values)
    clusters = None if groups is None else list(groups)
    strata = {column: list(values) for column, values in (subgroups or {}).items()}

    codes, present = codes_of(sources)
    tables: dict[str, dict[str, Any]] = {}
    draws: dict[str, Values] = {}
    for name in source_order(present, source_classes, multi_label):
        chosen = np.flatnonzero(codes == present.index(name))
        rows = arrays.rows_of(
            name,
            chosen,
            source_classes[name],
            group_codes(clusters, chosen),
            multi_label=bool(multi_label[name]),
            from_logits=from_logits,
        )
        if definition == "climb" and not rows.multi_label:
            check_single_label(name, rows, chosen)
        tables[name], draws[name] = _table(rows, name, options)
        if strata:
            tables[name]["subgroups"] = {
                column: _subgroup_tables(rows, [values[row] for row in chosen], f"{name}/{column}", options)
                for column, values in strata.items()
            }
    return {
        "sources": tables,
        "modalities": _modality_averages(tables, draws, modalities or {}, options),
        "overall": _average(list(tables), tables, draws, options),
        "definition": definition,
        "n": len(arrays.references),
        "n_bootstrap": n_bootstrap,
        "confidence": confidence,
        "seed": seed,
    }


def _table(rows: SourceRows, name: str, options: _Options) -> tuple[dict[str, Any], Values]:
    """The numbers of one set of rows, and its resamples (empty without a bootstrap)."""
    source = decide(
        rows.y,
        rows.scores,
        rows.counted,
        multi_label=rows.multi_label,
        definition=options.definition,
        from_logits=options.from_logits,
    )
    values, per_class, counts = measure(source, options.num_threads)
    defined = {metric: int(np.count_nonzero(~np.isnan(array))) for metric, array in per_class.items()}
    table: dict[str, Any] = {
        "n": len(rows.y),
        "n_groups": rows.n_groups,
        "multi_label": rows.multi_label,
        "n_classes": len(rows.classes),
        "n_classes_defined": defined["auc"],
        **{metric: float(values[metric]) for metric in METRIC_NAMES},
        **{f"n_{metric}_defined": number for metric, number in defined.items()},
        "per_class": {
            "class": [rows.classes[k] for k in source.kept],
            "positives": counts[1].tolist(),
            "negatives": (counts[3] - counts[1]).tolist(),
            **{metric: array.tolist() for metric, array in per_class.items()},
        },
    }
    if options.calibration:
        table["calibration"] = _calibration(source)
    if not options.n_bootstrap:
        return table, {}
    draws, areas = _resamples(source, rows, name, options)
    table.update(_intervals(draws, options.confidence))
    ends = [interval_of(areas[:, k], options.confidence) for k in range(areas.shape[1])]
    table["per_class"]["auc_interval"] = [interval for interval, _ in ends]
    table["per_class"]["n_resamples"] = [number for _, number in ends]
    return table, draws


def _resamples(source: Decided, rows: SourceRows, name: str, options: _Options) -> tuple[Values, NDArray[np.float64]]:
    if rows.n_groups < 2:  # a single cluster says nothing about the spread between clusters
        undefined = np.full(options.n_bootstrap, np.nan)
        return dict.fromkeys(METRIC_NAMES, undefined), np.full((options.n_bootstrap, len(source.kept)), np.nan)
    return resample(
        source,
        rows.groups,
        n_bootstrap=options.n_bootstrap,
        seed=options.seed,
        name=name,
        num_threads=options.num_threads,
    )


def _calibration(source: Decided) -> dict[str, Any]:
    brier = ece = float("nan")
    if source.outcomes.size:
        y, p = source.outcomes.T, source.probabilities.T
        mask = None if source.counted is None else source.counted.T
        brier = brier_score(y, p, mask)
        ece = expected_calibration_error(y, p, multi_label=source.multi_label, mask=mask)
    return {"brier": brier, "ece": ece, "n_bins": N_BINS}


def _intervals(draws: Values, confidence: float) -> dict[str, dict[str, Any]]:
    ends = {metric: interval_of(draws[metric], confidence) for metric in METRIC_NAMES}
    return {
        "intervals": {metric: interval for metric, (interval, _) in ends.items()},
        "n_resamples": {metric: number for metric, (_, number) in ends.items()},
    }


def _subgroup_tables(
    rows: SourceRows, values: Sequence[Hashable], name: str, options: _Options
) -> dict[str, dict[str, Any]]:
    """One table per value; the classes, and under `"paper"` which of them are kept, are judged within the subgroup."""
    codes, found = codes_of([_UNKNOWN if _is_missing(value) else str(value) for value in values])
    tables = {}
    for value in sorted(map(str, found)):
        subset = rows.subset(np.flatnonzero(codes == found.index(value)))
        tables[value] = _table(subset, f"{name}={value}", options)[0]
    return tables


def _is_missing(value: Hashable) -> bool:
    return value is None or value == "" or value != value  # NaN differs from itself


def _modality_averages(
    tables: Mapping[str, dict[str, Any]],
    draws: Mapping[str, Values],
    modalities: Mapping[str, str],
    options: _Options,
) -> dict[str, dict[str, Any]]:
    members: dict[str, list[str]] = {}
    for name, table in tables.items():
        table["modality"] = modalities.get(name)
        if name in modalities:
            members.setdefault(modalities[name], []).append(name)
    return {modality: _average(names, tables, draws, options) for modality, names in members.items()}


def _average(
    names: Sequence[str], tables: Mapping[str, Mapping[str, Any]], draws: Mapping[str, Values], options: _Options
) -> dict[str, Any]:
    """Unweighted means over sources, each metric over the sources that define it."""
    result: dict[str, Any] = {"n_sources": len(names), "n": sum(tables[name]["n"] for name in names)}
    means: Values = {}
    for metric in METRIC_NAMES:
        values = np.array([tables[name][metric] for name in names], dtype=np.float64)
        defined = [name for name in names if not np.isnan(tables[name][metric])]
        result[metric] = float(mean_defined(values))
        result[f"n_{metric}_defined"] = len(defined)
        if options.n_bootstrap:
            drawn = [draws[name][metric] for name in defined]
            means[metric] = np.mean(drawn, axis=0) if drawn else np.full(options.n_bootstrap, np.nan)
    if options.n_bootstrap:
        result.update(_intervals(means, options.confidence))
    return result
