"""Result files: one JSON object per line and number, with its interval and where it came from.

The command line, the protocols, model cards and reports share this one format. A number that is undefined is `null` in
the file and NaN in memory, always with the reason beside it. The module needs numpy neither to write nor to read.
"""

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from climb_hf._version import __version__
from climb_hf.errors import SchemaError
from climb_hf.provenance import clean_recipe, provenance, recipe_hash

__all__ = [
    "SCHEMA_VERSION",
    "WITHOUT_DUPLICATES",
    "ResultRow",
    "clean_recipe",
    "provenance",
    "read_results",
    "recipe_hash",
    "rows_from_metrics",
    "write_results",
]

SCHEMA_VERSION = 1

#: Settings of a number over the records that are no copies of others.
WITHOUT_DUPLICATES = {"without_duplicates": True}

Level = Literal["source", "modality", "overall"]

_METRICS = ("auc", "sensitivity", "specificity", "f1", "accuracy", "top1", "exact_match")
_REASONS = {
    "auc": "no class has both outcomes",
    "sensitivity": "no class has a positive",
    "specificity": "no class has a negative",
    "f1": "no class is present or predicted",
}


@dataclass(frozen=True, kw_only=True)
class ResultRow:
    """One number of an evaluation.

    Args:
        source (`str`): the source scored; for averages the modality, or `"all"`.
        split (`str`): the split scored, such as `"test"`.
        metric (`str`): a name of `climb_hf.metrics.METRIC_NAMES`, or another metric's.
        value (`float`): the number; NaN where it is undefined, then with a `reason`.
        n (`int`): rows scored.
        interval (`tuple[float, float]`, *optional*): ends of the bootstrap interval.
        confidence (`float`, *optional*, defaults to `0.95`): level of the interval.
        n_left_out (`int`, *optional*): rows without a usable label, which were not scored.
        n_groups (`int`, *optional*): patients or other clusters among the rows.
        n_classes (`int`, *optional*): classes of the source.
        n_defined (`int`, *optional*): classes (for averages: sources) that the mean is over.
        reason (`str`, *optional*): why the value is undefined.
        level (`str`, *optional*, defaults to `"source"`): `"source"`, `"modality"` or `"overall"`.
        subgroup (`str`, *optional*): such as `"sex=female"`.
        definition (`str`, *optional*, defaults to `"climb"`): definition of the metrics, `"climb"` or `"paper"`.
        protocol (`str`, *optional*): such as `"multitask"`.
        settings (`dict`, *optional*): what else distinguishes the number, such as `{"k": 8}`; JSON values.
        model (`str`, *optional*): name of the checkpoint.
        seed (`int`, *optional*): seed of the training.
        recipe_hash (`str`, *optional*): see `recipe_hash`.
        data_fingerprint (`str`, *optional*): fingerprint of the data that was scored.
        synthetic (`bool`, *optional*, defaults to `False`): whether the data is synthetic.
        date (`str`, *optional*): ISO-8601 date of the evaluation.
        versions (`dict[str, str]`, *optional*): see `provenance`.
        schema_version (`int`, *optional*): version of this format.

    Raises:
        SchemaError: a value of the wrong kind, or an undefined number without a reason.

    Example:
        >>> ResultRow(source="ptbxl", split="test", metric="auc", value=0.91, n=2158, interval=(0.9, 0.92)).value
        0.91
    """

    source: str
    split: str
    metric: str
    value: float
    n: int
    interval: tuple[float, float] | None = None
    confidence: float = 0.95
    n_left_out: int | None = None
    n_groups: int | None = None
    n_classes: int | None = None
    n_defined: int | None = None
    reason: str | None = None
    level: Level = "source"
    subgroup: str | None = None
    definition: str = "climb"
    protocol: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    seed: int | None = None
    recipe_hash: str | None = None
    data_fingerprint: str | None = None
    synthetic: bool = False
    date: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        where = f"result `{self.source}`/`{self.split}`/`{self.metric}`"
        for name in ("source", "split", "metric"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise SchemaError(f"{where}: `{name}` must be a non-empty string, found {getattr(self, name)!r}.")
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or math.isinf(self.value):
            raise SchemaError(f"{where}: `value` must be a finite number or NaN, found {self.value!r}.")
        if math.isnan(self.value) and not self.reason:
            raise SchemaError(f"{where}: `value` is undefined (NaN); say why in `reason`.")
        if isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 0:
            raise SchemaError(f"{where}: `n` must be a count of rows, found {self.n!r}.")
        if self.level not in get_args(Level):
            raise SchemaError(f"{where}: `level` must be one of {get_args(Level)}, found {self.level!r}.")
        if self.interval is not None:
            low, high = self.interval
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise SchemaError(f"{where}: `interval` must be (low, high), finite, found {self.interval!r}.")
            object.__setattr__(self, "interval", (float(low), float(high)))

    @property
    def is_defined(self) -> bool:
        """Whether the number exists."""
        return not math.isnan(self.value)

    @property
    def is_without_duplicates(self) -> bool:
        """Whether copies of other records were left out."""
        return bool(self.settings.get("without_duplicates"))

    def text(self, digits: int = 3, *, signed: bool = False) -> str:
        """Return the number with its interval as people read it, or why there is none.

        Args:
            digits (`int`, *optional*, defaults to `3`): digits after the point.
            signed (`bool`, *optional*, defaults to `False`): write `+` as well, as differences are written.

        Returns:
            `str`.

        Example:
            >>> ResultRow(source="ptbxl", split="test", metric="auc", value=0.91, n=9, interval=(0.9, 0.92)).text()
            '0.910 [0.900, 0.920]'
        """
        if not self.is_defined:
            return f"n/a ({self.reason})"
        form = f"{'+' if signed else ''}.{digits}f"
        ends = "" if self.interval is None else f" [{self.interval[0]:{form}}, {self.interval[1]:{form}}]"
        return f"{self.value:{form}}{ends}"

    def to_dict(self) -> dict[str, Any]:
        """Return the row as values of JSON; an undefined value becomes `None`."""
        return {**dataclasses.asdict(self), "value": self.value if self.is_defined else None}

    def to_json(self) -> str:
        """Return the row as one line of strict JSON; an undefined value becomes `null`."""
        try:
            return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise SchemaError(
                f"result `{self.source}`/`{self.metric}`: `settings` and `versions` must hold JSON values: {error}."
            ) from error


def write_results(path: str | os.PathLike[str], rows: Iterable[ResultRow], *, append: bool = False) -> Path:
    """Write results as JSON lines.

    Args:
        path (`str` or `Path`): the file; its folder is made.
        rows (`Iterable[ResultRow]`): the numbers.
        append (`bool`, *optional*, defaults to `False`): add to the file instead of replacing it.

    Returns:
        `Path`: the file.

    Raises:
        SchemaError: a row holds something JSON cannot; nothing is written then.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     row = ResultRow(source="a", split="test", metric="auc", value=float("nan"), n=3, reason="one class")
        ...     read_results(write_results(pathlib.Path(folder) / "results.jsonl", [row]))[0].reason
        'one class'
    """
    path = Path(path)
    text = "".join(row.to_json() + "\n" for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    if append:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
    else:
        part = path.with_name(f".{path.name}.{os.getpid()}")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    return path


def read_results(path: str | os.PathLike[str]) -> list[ResultRow]:
    """Read a file of `write_results`.

    Args:
        path (`str` or `Path`): the file.

    Returns:
        `list[ResultRow]`: in file order; undefined values are NaN.

    Raises:
        SchemaError: a line is not a result of a version this package reads; the message names file and line.
    """
    path = Path(path)
    rows = []
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SchemaError(
            f"`{path}`: expected lines of JSON in UTF-8: {error}. Write it with `write_results`."
        ) from error
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            rows.append(_parse(line, f"`{path}`, line {number}"))
    return rows


def _parse(line: str, where: str) -> ResultRow:
    try:
        content = json.loads(line)
    except json.JSONDecodeError as error:
        raise SchemaError(
            f"{where}: expected one JSON object per line: {error}. Write it with `write_results`."
        ) from error
    if not isinstance(content, dict):
        raise SchemaError(f"{where}: expected a JSON object, found {type(content).__name__}.")
    found = content.get("schema_version", SCHEMA_VERSION)
    if found != SCHEMA_VERSION:
        raise SchemaError(
            f"{where}: results of format {found!r}, this climb-hf ({__version__}) reads {SCHEMA_VERSION}. "
            "Read them with the release named in their `versions`."
        )
    known = {item.name: item for item in dataclasses.fields(ResultRow)}
    missing = [
        name
        for name, item in known.items()
        if name not in content and item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    ]
    if missing or (unknown := sorted(content.keys() - known.keys())):
        problem = f"lacks {missing}" if missing else f"has unknown keys {unknown}"
        raise SchemaError(f"{where}: the result {problem}. Put what is your own under `settings`.")
    if content["value"] is None:
        content["value"] = math.nan
    if content.get("interval") is not None:
        content["interval"] = tuple(content["interval"])
    try:
        return ResultRow(**content)
    except (SchemaError, TypeError, ValueError) as error:
        raise SchemaError(f"{where}: {error}") from error


def rows_from_metrics(
    metrics: Mapping[str, Any],
    *,
    split: str,
    facts_by_source: Mapping[str, Mapping[str, Any]] | None = None,
    **facts: Any,  # noqa: ANN401 - fields of ResultRow
) -> list[ResultRow]:
    """Turn the result of `climb_hf.metrics.masked_metrics` into rows.

    Metrics that do not apply to a source give no row: `top1` where it is multi-label, `exact_match` where it is not.

    Args:
        metrics (`Mapping`): what `masked_metrics` returned.
        split (`str`): the split that was scored.
        facts_by_source (`Mapping`, *optional*): fields of `ResultRow` for the rows of one source, such as
            `{"ptbxl": {"data_fingerprint": "1f…"}}`.
        **facts: fields of `ResultRow` for every row, such as `seed`, `recipe_hash`, `versions`, `date`.

    Returns:
        `list[ResultRow]`: per source (and its subgroups), then per modality, then over all sources.

    Example:
        >>> from climb_hf.metrics import masked_metrics
        >>> result = masked_metrics(
        ...     [[1, 0], [0, 1]], [[2.0, 1.0], [0.0, 3.0]], ["a", "a"],
        ...     source_classes={"a": [0, 1]}, multi_label={"a": False},
        ... )
        >>> rows = rows_from_metrics(result, split="test")
        >>> [(row.level, row.source, row.value) for row in rows if row.metric == "auc"]
        [('source', 'a', 1.0), ('overall', 'all', 1.0)]
    """
    common = {"split": split, "definition": metrics["definition"], "confidence": metrics["confidence"], **facts}
    if metrics["n_bootstrap"]:
        bootstrap = {"n_bootstrap": metrics["n_bootstrap"], "bootstrap_seed": metrics["seed"]}
        common["settings"] = {**bootstrap, **common.get("settings", {})}
    rows: list[ResultRow] = []
    for source, table in metrics["sources"].items():
        own = {**common, "source": source, **(facts_by_source or {}).get(source, {})}
        rows += _source_rows(table, own)
        for column, values in table.get("subgroups", {}).items():
            for value, part in values.items():
                rows += _source_rows(part, {**own, "subgroup": f"{column}={value}"})
    for modality, table in metrics["modalities"].items():
        rows += _average_rows(table, {**common, "source": modality, "level": "modality"})
    return rows + _average_rows(metrics["overall"], {**common, "source": "all", "level": "overall"})


def _source_rows(table: Mapping[str, Any], facts: Mapping[str, Any]) -> list[ResultRow]:
    if "auc" not in table:  # nothing of the source could be scored
        left_out = {"n": table["n"], "n_left_out": table.get("n_left_out")}
        return [ResultRow(**facts, **left_out, metric="auc", value=math.nan, reason="no row could be scored")]
    calibration = {name: value for name, value in table.get("calibration", {}).items() if name in ("brier", "ece")}
    values = {**{metric: table[metric] for metric in _METRICS}, **calibration}
    rows = []
    for metric, value in values.items():
        inapplicable = metric == "top1" if table["multi_label"] else metric == "exact_match"
        if inapplicable and math.isnan(value):
            continue
        reason = _REASONS.get(metric, "no row with a label") if table["n"] else "no row could be scored"
        counted = {
            "n_groups": table["n_groups"],
            "n_classes": table["n_classes"],
            "n_left_out": table.get("n_left_out"),
            "n_defined": table["n_classes_defined"] if metric == "auc" else table.get(f"n_{metric}_defined"),
        }
        rows.append(_row(table, {**facts, **counted}, metric, value, reason))
    return rows


def _average_rows(table: Mapping[str, Any], facts: Mapping[str, Any]) -> list[ResultRow]:
    return [
        _row(
            table,
            {**facts, "n_defined": table[f"n_{metric}_defined"]},
            metric,
            table[metric],
            "undefined for every source",
        )
        for metric in _METRICS
        if metric not in ("top1", "exact_match") or not math.isnan(table[metric])
    ]


def _row(table: Mapping[str, Any], facts: Mapping[str, Any], metric: str, value: float, reason: str) -> ResultRow:
    undefined = math.isnan(value)
    ends = None if undefined else table.get("intervals", {}).get(metric)
    return ResultRow(
        **facts,
        metric=metric,
        value=float(value),
        n=table["n"],
        interval=None if ends is None or any(map(math.isnan, ends)) else tuple(ends),
        reason=reason if undefined else None,
    )
