"""What every protocol does first: the sources a user named, loaded, with their classes as a model stores them."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import OptionError, SplitError
from climb_hf.loading import is_synthetic, load_dataset
from climb_hf.mixture import label_schemes, source_options
from climb_hf.registry import get_source, unknown_source
from climb_hf.vocabulary import concepts, string_vocabulary

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["data_fingerprint", "is_synthetic", "load_parts", "model_classes", "parse_sources", "repeat_rows"]

Sources = Mapping[str, str | Path | None]


def parse_sources(arguments: Sequence[str]) -> dict[str, str | None]:
    """Read the sources of a command line.

    Args:
        arguments (`Sequence[str]`): each `NAME` or `NAME=DIR`; without a folder `$CLIMB_DATA/NAME` is meant.

    Returns:
        `dict[str, str | None]`: folder by name, in the order given.

    Raises:
        UnknownSourceError: a name is not registered.
        OptionError: a name stands twice.

    Example:
        >>> parse_sources(["brain_tumor=raw/brain", "covid_blues"])
        {'brain_tumor': 'raw/brain', 'covid_blues': None}
    """
    sources: dict[str, str | None] = {}
    for argument in arguments:
        name, _, folder = argument.partition("=")
        if name in sources:
            raise OptionError(f"the source `{name}` is named twice; name each source once.")
        get_source(name)
        sources[name] = folder or None
    if not sources:
        raise unknown_source(None)
    return sources


def load_parts(
    sources: Sources,
    split: str | None,
    options: Mapping[str, Mapping[str, Any]],
    *,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
    is_required: bool = True,
) -> "dict[str, Dataset]":
    """Load one split of several sources.

    Args:
        sources (`Mapping`): folder by name.
        split (`str` or `None`): `"train"`, `"validation"` or `"test"`; `None` takes the `evaluation_split` of each.
        options (`Mapping`): options by source name, those under `"*"` for all; see `climb_hf.load_mixture`.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of each build.
        is_required (`bool`, *optional*, defaults to `True`): whether a source without the split is an error.

    Returns:
        `dict[str, Dataset]`: the split of each source that has it.

    Raises:
        SplitError: a source has no such split.
    """
    parts = {}
    for name, folder in sources.items():
        chosen = source_options(name, options)
        dataset = load_dataset(name, folder, cache_dir=cache_dir, num_proc=num_proc, **chosen)
        wanted = split or get_source(name).evaluation_split
        if wanted in dataset:
            parts[name] = dataset[wanted]
        elif is_required:
            raise SplitError(f"{name}: there is no split `{wanted}`, only {list(dataset)}; choose another `split`.")
    return parts


def repeat_rows(parts: "Mapping[str, Dataset]", times: Mapping[str, int]) -> "dict[str, Dataset]":
    """Repeat the rows of some sources, so that an epoch holds them several times.

    Args:
        parts (`Mapping[str, Dataset]`): rows by source.
        times (`Mapping[str, int]`): how often, by source; sources that are not among the parts are passed over.

    Returns:
        `dict[str, Dataset]`: nothing is copied, the rows are named again.

    Raises:
        OptionError: a number below 1, or none.

    Example:
        >>> from datasets import Dataset
        >>> repeat_rows({"a": Dataset.from_dict({"id": ["1", "2"]})}, {"a": 2})["a"]["id"][:]
        ['1', '2', '1', '2']
    """
    wrong = {name: number for name, number in times.items() if type(number) is not int or number < 1}
    if wrong:
        raise OptionError(f"`data.repeat` must give whole numbers from 1 on, found {wrong}.")
    return {
        name: part if times.get(name, 1) == 1 else part.select(list(range(len(part))) * times[name])
        for name, part in parts.items()
    }


def model_classes(
    names: Sequence[str], options: Mapping[str, Mapping[str, Any]] | None = None, vocabulary: str = "concepts"
) -> dict[str, Any]:
    """Return the fields of a model's configuration that say what its outputs mean.

    Classes that no value of the publisher can give (`SourceVocabulary.classes_without_values`) are left out of V_k: an
    output that is never positive would be trained as a negative.

    Args:
        names (`Sequence[str]`): sources the model is for.
        options (`Mapping`, *optional*): options by source name, which may choose a label scheme.
        vocabulary (`str`, *optional*, defaults to `"concepts"`): `"strings"` merges classes by their lower-cased
            string (see `climb_hf.load_mixture`).

    Returns:
        `dict`: `vocabulary` (all of V, or the strings of the sources), `source_classes` (V_k by source) and
        `source_multi_label`.

    Example:
        >>> model_classes(["proteins"])["source_classes"]
        {'proteins': ['protein.enzyme', 'protein.not_enzyme']}
    """
    outputs, classes, multi_label = list(concepts()), {}, {}
    schemes = label_schemes(names, options or {})
    units, unit_of = string_vocabulary(list(names), schemes) if vocabulary == "strings" else ((), {})
    for name in names:
        source, chosen = get_source(name), source_options(name, options or {})
        scheme = source.vocabulary(source.label_scheme(chosen.get("labels", "climb"), chosen))
        pairs = zip(scheme.classes, scheme.concepts, strict=True)
        usable = [concept for value, concept in pairs if value not in scheme.classes_without_values]
        classes[name] = [unit_of[name, concept] for concept in usable] if units else usable
        multi_label[name] = scheme.multi_label
    return {
        "vocabulary": list(units) or outputs,
        "source_classes": classes,
        "source_multi_label": multi_label,
    }


def data_fingerprint(dataset: "Dataset") -> str:
    """Digest which records with which labels a dataset holds, whatever machine or folder it was built on.

    Args:
        dataset (`Dataset`): rows with our columns.

    Returns:
        `str`: 16 hexadecimal digits; the order of the rows has no part in it.
    """
    names = dataset.features["labels"].feature.names
    columns = dataset.select_columns(["source", "id", "labels"]).with_format(None)
    lines = sorted(
        f"{row['source']}\0{row['id']}\0{','.join(sorted(names[i] for i in row['labels']))}" for row in columns
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
