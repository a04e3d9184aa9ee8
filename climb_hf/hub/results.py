"""Results in the Hub's two formats: `model-index` in the card, and `.eval_results/*.yaml` beside the weights.

Both hold the numbers per source only, without subgroups; an undefined number is left out, since neither format can say
why. The whole table, with intervals, counts and reasons, stands in `results.jsonl`.
"""

from collections.abc import Iterable, Sequence

from huggingface_hub import EvalResult, EvalResultEntry, eval_result_entries_to_yaml

from climb_hf.results import ResultRow

__all__ = [
    "BENCHMARK",
    "METRIC_TITLES",
    "eval_entries",
    "eval_results_yaml",
    "hub_metric",
    "model_index",
    "settings_text",
    "varying_settings",
]

#: The benchmark data set whose leaderboard `.eval_results` entries point to. Its tasks are named `<source>_<metric>`,
#: with the settings that are switched on behind: `brain_tumor_auc_without_duplicates`.
BENCHMARK = "climb-hf/climb"

METRIC_TITLES = {
    "auc": "AUC (macro, one-vs-rest)",
    "sensitivity": "sensitivity (macro)",
    "specificity": "specificity (macro)",
    "f1": "F1 (macro)",
    "accuracy": "accuracy (mean per-class binary)",
    "top1": "top-1 accuracy",
    "exact_match": "exact match",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "mae": "mean absolute error",
}
#: The Hub's name of a metric, where it has the same meaning there.
_HUB_METRIC = {"auc": "roc_auc", "sensitivity": "recall", "top1": "accuracy", "accuracy": "mean_binary_accuracy"}


def hub_metric(metric: str) -> str:
    """Return the Hub's name of a metric.

    Args:
        metric (`str`): our name.

    Returns:
        `str`: such as `"roc_auc"` for `"auc"`. Our `accuracy` is a mean over classes, so it has a name of its own.
    """
    return _HUB_METRIC.get(metric, metric)


def _published(rows: Sequence[ResultRow]) -> list[ResultRow]:
    return [row for row in rows if row.level == "source" and row.subgroup is None and row.is_defined]


def varying_settings(rows: Iterable[ResultRow]) -> list[str]:
    """Return the settings in which results differ, sorted.

    Args:
        rows (`Iterable[ResultRow]`): results.

    Returns:
        `list[str]`: keys of `ResultRow.settings`.
    """
    rows = list(rows)
    keys = sorted({key for row in rows for key in row.settings})
    return [key for key in keys if len({str(row.settings.get(key)) for row in rows}) > 1]


def settings_text(row: ResultRow, keys: Sequence[str]) -> str:
    """Return some settings of a result in words, `""` where it has none of them.

    Args:
        row (`ResultRow`): the result.
        keys (`Sequence[str]`): keys of its settings.

    Returns:
        `str`.

    Example:
        >>> row = ResultRow(source="a", split="test", metric="auc", value=0.9, n=3, settings={"k": 8, "frozen": True})
        >>> settings_text(row, ["frozen", "k"])
        'frozen, k 8'
    """
    values = {key: row.settings.get(key) for key in keys}
    return ", ".join(
        key.replace("_", " ") if value is True else f"{key} {value}"
        for key, value in values.items()
        if value is not None and value is not False
    )


def _distinction(row: ResultRow, rows: Sequence[ResultRow]) -> str:
    """What tells a row from others of the same source, split and metric."""
    twins = [
        other for other in rows if (other.source, other.split, other.metric) == (row.source, row.split, row.metric)
    ]
    parts = []
    for name in ("definition", "protocol", "seed"):
        if len({getattr(other, name) for other in twins}) > 1:
            parts.append(f"{name} {getattr(row, name)}")
    parts.append(settings_text(row, varying_settings(twins)))
    return ", ".join(filter(None, parts))


def model_index(rows: Sequence[ResultRow], titles: dict[str, str], task: str) -> list[EvalResult]:
    """Return results as `EvalResult`, for the `model-index` of a card.

    Args:
        rows (`Sequence[ResultRow]`): the numbers.
        titles (`dict[str, str]`): title of each source.
        task (`str`): the Hub's task, such as `"image-classification"`.

    Returns:
        `list[EvalResult]`: one per source, split and metric; the data set is `climb` with the source as its
        configuration, as in `load_dataset("climb", source)`.

    Example:
        >>> row = ResultRow(source="ptbxl", split="test", metric="auc", value=0.9, n=10)
        >>> model_index([row], {"ptbxl": "PTB-XL"}, "image-classification")[0].metric_type
        'roc_auc'
    """
    published = _published(rows)
    entries = []
    for row in published:
        title = METRIC_TITLES.get(row.metric, row.metric)
        distinction = _distinction(row, published)
        arguments: dict[str, float | str | None] = {"n": row.n, "n_groups": row.n_groups, "definition": row.definition}
        if row.interval is not None:
            arguments |= {"confidence": row.confidence, "low": row.interval[0], "high": row.interval[1]}
        entries.append(
            EvalResult(
                task_type=task,
                dataset_type="climb",
                dataset_name=titles.get(row.source, row.source) + (" (synthetic)" if row.synthetic else ""),
                dataset_config=row.source,
                dataset_split=row.split,
                metric_type=hub_metric(row.metric),
                metric_name=f"{title}, {distinction}" if distinction else title,
                metric_value=row.value,
                metric_args={name: value for name, value in arguments.items() if value is not None},
            )
        )
    return entries


def eval_entries(rows: Sequence[ResultRow], benchmark: str = BENCHMARK) -> list[EvalResultEntry]:
    """Return results as `EvalResultEntry`; numbers on synthetic data are left out, they belong on no leaderboard.

    Args:
        rows (`Sequence[ResultRow]`): the numbers.
        benchmark (`str`, *optional*, defaults to `"climb-hf/climb"`): Hub data set that holds the leaderboard.

    Returns:
        `list[EvalResultEntry]`: one per source and metric.

    Example:
        >>> row = ResultRow(source="ptbxl", split="test", metric="auc", value=0.9, n=10, interval=(0.8, 0.95))
        >>> eval_entries([row])[0].notes
        'split test, 95% interval 0.8 to 0.95, n 10, definition climb'
    """
    published = [row for row in _published(rows) if not row.synthetic]
    entries = []
    for row in published:
        notes = [f"split {row.split}"]
        if row.interval is not None:
            notes.append(f"{row.confidence:.0%} interval {row.interval[0]:.4g} to {row.interval[1]:.4g}")
        notes += [f"n {row.n}", f"definition {row.definition}"]
        if distinction := _distinction(row, published):
            notes.append(distinction)
        entries.append(
            EvalResultEntry(
                dataset_id=benchmark,
                task_id="_".join(
                    [row.source, row.metric, *(key for key in row.settings if row.settings[key] is True)]
                ),
                value=row.value,
                date=row.date,
                notes=", ".join(notes),
            )
        )
    return entries


def eval_results_yaml(rows: Sequence[ResultRow], benchmark: str = BENCHMARK) -> str:
    """Return the text of an `.eval_results/*.yaml` file, `""` where there is nothing to report.

    Args:
        rows (`Sequence[ResultRow]`): the numbers.
        benchmark (`str`, *optional*, defaults to `"climb-hf/climb"`): Hub data set that holds the leaderboard.

    Returns:
        `str`: YAML in the form that the Hub reads.
    """
    import yaml

    entries = eval_entries(rows, benchmark)
    if not entries:
        return ""
    return yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=120)
