"""Where rows come from: source, version, licence and options, carried in `DatasetInfo`.

`datasets.DatasetInfo` has no field for it, and of its fields only the four texts survive `concatenate_datasets` and
`interleave_datasets` (`DatasetInfo.from_merge` joins them). So one line of JSON at the end of `description` carries
the origin; `map`, `filter`, `select`, `save_to_disk` and the like keep it too. Where it is lost (Parquet files keep no
description), the column `source` still tells the sources.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from climb_hf.provenance import clean_recipe
from climb_hf.registry import get_source, source_names
from climb_hf.source import Source

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, DatasetInfo, IterableDataset, IterableDatasetDict

__all__ = ["Origin", "declared_origins", "origin_line", "origins_of", "source_column"]

_PREFIX = "climb-hf origin: "
#: Columns that together mark rows of our schema.
OUR_COLUMNS = ("id", "source", "group")


@dataclass(frozen=True)
class Origin:
    """What is known of the origin of rows.

    Args:
        source (`str`): name of the source.
        version (`str`): version of the source's reader, `""` if unknown.
        license (`str`): SPDX identifier, or what the publisher calls it; `"unknown"` if no such source is registered.
        options (`dict`): options of the build that are not at their default; empty where the line was lost.
    """

    source: str
    version: str = ""
    license: str = "unknown"
    options: dict[str, Any] = field(default_factory=dict)


def origin_line(source: Source, options: Mapping[str, Any]) -> str:
    """Return the line of JSON that stands for an origin.

    Args:
        source (`Source`): the source.
        options (`Mapping`): options of the build that are not at their default; local paths are cut to their last
            part.

    Returns:
        `str`: one line.

    Example:
        >>> import climb_hf
        >>> origin_line(climb_hf.get_source("ptbxl"), {"length": 1000})
        'climb-hf origin: {"license": "CC-BY-4.0", "options": {"length": 1000}, "source": "ptbxl", "version": "1.0.0"}'
    """
    facts = {
        "source": source.name,
        "version": source.version,
        "license": source.license,
        "options": clean_recipe(dict(options)),
    }
    return _PREFIX + json.dumps(facts, sort_keys=True, ensure_ascii=False)


def declared_origins(info: "DatasetInfo | None") -> list[Origin]:
    r"""Return the origins that a `DatasetInfo` declares, each once, in order.

    Args:
        info (`datasets.DatasetInfo`, *optional*): of a dataset.

    Returns:
        `list[Origin]`: empty where it declares none.

    Example:
        >>> from datasets import DatasetInfo
        >>> declared_origins(DatasetInfo(description='Rows.\nclimb-hf origin: {"source": "ptbxl"}'))[0].source
        'ptbxl'
    """
    if info is None:
        return []
    found = []
    for line in (info.description or "").splitlines():
        if line.startswith(_PREFIX):
            facts = _facts(line.removeprefix(_PREFIX))
            if isinstance(facts.get("source"), str):
                known = {key: facts[key] for key in ("source", "version", "license", "options") if key in facts}
                found.append(Origin(**known))
    if not found and "climb" in (info.builder_name, info.dataset_name) and info.config_name:
        found.append(_registered(info.config_name.split("-")[0]))  # built before the line was written
    return [origin for number, origin in enumerate(found) if origin not in found[:number]]


def origins_of(
    dataset: "Dataset | DatasetDict | IterableDataset | IterableDatasetDict", *, scan: bool = True
) -> list[Origin]:
    """Return where the rows of a dataset come from.

    Args:
        dataset: rows, or rows by split.
        scan (`bool`, *optional*, defaults to `True`): also read the column `source` of rows in our schema; rows that
            stream are read once for it.

    Returns:
        `list[Origin]`: what `DatasetInfo` declares, then registered sources that only the column `source` names,
        sorted.

    Example:
        >>> from datasets import Dataset
        >>> rows = Dataset.from_dict({"id": ["1"], "source": ["ptbxl"], "group": ["p"]})
        >>> [origin.license for origin in origins_of(rows)]
        ['CC-BY-4.0']
    """
    parts = list(dataset.values()) if isinstance(dataset, dict) else [dataset]
    found: dict[str, Origin] = {}
    for part in parts:
        for origin in declared_origins(part.info):
            found.setdefault(origin.source, origin)
    named = {name for part in parts for name in source_column(part)} if scan else set()
    known = set(source_names())
    found.update({name: _registered(name) for name in sorted(named) if name in known and name not in found})
    return list(found.values())


def source_column(part: "Dataset | IterableDataset") -> set[str]:
    """Return the values of the column `source` of rows in our schema.

    Args:
        part: rows, in a table or streaming.

    Returns:
        `set[str]`: empty where the columns `id`, `source` and `group` are not all there.
    """
    from datasets import Dataset, Value

    columns = part.column_names  # `None` for a stream that does not know them
    if not set(OUR_COLUMNS) <= set(next(iter(part), {}) if columns is None else columns):
        return set()
    feature = (part.features or {}).get("source")
    is_plain = isinstance(part, Dataset) and isinstance(feature, Value)
    values = part.unique("source") if is_plain else (row["source"] for row in _rows(part))
    return {name for value in values for name in _names(value, feature)}


def _rows(part: "Dataset | IterableDataset") -> Iterator[dict[str, Any]]:
    rows: Iterable[dict[str, Any]] = part.with_format(None).select_columns("source")
    yield from rows


def _names(value: Any, feature: Any) -> set[str]:  # noqa: ANN401 - any column may be called `source`
    """Return the names in a value: of a class, a text, or a batch of them."""
    from datasets import ClassLabel

    if isinstance(value, list):
        return {name for part in value for name in _names(part, getattr(feature, "feature", feature))}
    if isinstance(feature, ClassLabel) and isinstance(value, int) and value >= 0:
        value = feature.int2str(value)
    return {value} if isinstance(value, str) and value else set()


def _registered(name: str) -> Origin:
    if name not in source_names():
        return Origin(name)
    source = get_source(name)
    return Origin(name, source.version, source.license)


def _facts(text: str) -> dict[str, Any]:
    try:
        facts = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return facts if isinstance(facts, dict) else {}
