"""Many sources as one dataset: equal columns, one vocabulary, nothing left to null-filling that would break later."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from climb_hf.errors import OptionError, SchemaError, SplitError
from climb_hf.loading import load_dataset
from climb_hf.registry import get_source, source_names

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features, IterableDataset, IterableDatasetDict

__all__ = ["combine", "label_schemes", "load_mixture", "source_options"]

_ORDER = ("train", "validation", "test")


def load_mixture(
    sources: str | Sequence[str] | Mapping[str, str | Path | None],
    *,
    split: str | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
    cache_dir: str | Path | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    vocabulary: Literal["concepts", "strings"] = "concepts",
) -> "Dataset | DatasetDict | IterableDataset | IterableDatasetDict":
    """Load several sources and put their rows behind each other, with the columns of all their families.

    A column that a source's family does not have is added before concatenation: null, or an empty `(0, C)` array for
    a signal. Rows keep their order, source by source; how they are mixed is the work of the samplers of
    `climb_hf.training.sampling`.

    Args:
        sources (`Sequence[str]` or `Mapping`): names, or names with the folder of their raw data; one name alone is
            a mixture of one.
        split (`str`, *optional*): one split; all splits where it is absent. A source without that split gives no rows.
        streaming (`bool`, *optional*, defaults to `False`): as in `climb_hf.load_dataset`.
        num_proc (`int`, *optional*): worker processes of each build.
        cache_dir (`str` or `Path`, *optional*): where the tables are built.
        options (`Mapping`, *optional*): options by source name; those under `"*"` go to every source that has them.
        vocabulary (`str`, *optional*, defaults to `"concepts"`): `"strings"` merges classes by their lower-cased
            string, across modalities, as the CLIMB paper's training code did (`DDVD233/InternVL`).

    Returns:
        One dataset, or one per split.

    Raises:
        OptionError: no source, a value of `vocabulary` that does not exist, or options for a source that is not in
            the mixture.
        SchemaError: two sources cannot share a column, such as ECG and EEG signals.
        SplitError: no source has the split.

    Example:
        >>> import climb_hf, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> names = {name: f"{folder}/{name}" for name in ("proteins", "brain_tumor")}
        >>> for name, raw in names.items():
        ...     _ = climb_hf.miniature(name, raw, n=16)
        >>> mixture = climb_hf.load_mixture(names, split="train", cache_dir=folder)
        >>> sorted(set(mixture["source"]))
        ['brain_tumor', 'proteins']
    """
    if not sources:
        raise OptionError("`load_mixture` needs at least one source, got none. `climb sources` lists them.")
    if vocabulary not in ("concepts", "strings"):
        raise OptionError(f'`vocabulary` must be "concepts" or "strings", got {vocabulary!r}.')
    names_given = [sources] if isinstance(sources, str) else sources
    folders = dict(names_given) if isinstance(names_given, Mapping) else dict.fromkeys(names_given)
    _check_options(list(folders), options or {})
    parts, schemes = {}, label_schemes(list(folders), options or {})
    for name, folder in folders.items():
        chosen = source_options(name, options or {})
        parts[name] = load_dataset(name, folder, streaming=streaming, num_proc=num_proc, cache_dir=cache_dir, **chosen)
    names = [name for name in _ORDER if any(name in part for part in parts.values())]
    if split is not None and split not in names:
        raise SplitError(f"no source of {list(folders)} has a split `{split}`; they have {names}.")
    mixed = {
        name: combine([part[name] for part in parts.values() if name in part], vocabulary=vocabulary, of=schemes)
        for name in ([split] if split else names)
    }
    if split:
        return mixed[split]
    from datasets import DatasetDict, IterableDatasetDict

    return IterableDatasetDict(mixed) if streaming else DatasetDict(mixed)


def _check_options(names: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse options that would silently go to no source."""
    if strangers := [name for name in options if name != "*" and name not in names]:
        raise OptionError(
            f"`options` names {strangers}, which are not in the mixture; expected some of {names} or '*'."
        )
    known = {option for name in source_names() for option in get_source(name).option_names}
    if unknown := [option for option in options.get("*", {}) if option not in known]:
        raise OptionError(f"`options['*']` has {unknown}, which no source knows; expected some of {sorted(known)}.")


def source_options(name: str, options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the options of one source in a mixture: those for all sources that it has, then its own.

    Args:
        name (`str`): the source.
        options (`Mapping`): options by source name; those under `"*"` are for all.

    Returns:
        `dict[str, Any]`.

    Raises:
        OptionError: `labels="raw"`, which shares no vocabulary with another source.

    Example:
        >>> source_options("brain_tumor", {"*": {"num_frames": 4, "image_size": 64}, "brain_tumor": {"strict": True}})
        {'image_size': 64, 'strict': True}
    """
    known = get_source(name).option_names
    shared = {key: value for key, value in options.get("*", {}).items() if key in known}
    chosen = {**shared, **options.get(name, {})}
    if chosen.get("labels") == "raw":
        raise OptionError(f"{name}: `labels='raw'` has no shared vocabulary, so it cannot be part of a mixture.")
    return chosen


def label_schemes(names: Sequence[str], options: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the vocabulary scheme that the options choose for each source.

    Args:
        names (`Sequence[str]`): the sources.
        options (`Mapping`): options by source name; those under `"*"` are for all.

    Returns:
        `dict[str, str]`: scheme by source.

    Example:
        >>> label_schemes(["vindr_cxr", "proteins"], {"vindr_cxr": {"labels": "findings"}})
        {'vindr_cxr': 'findings', 'proteins': 'climb'}
    """
    schemes = {}
    for name in names:
        source, chosen = get_source(name), source_options(name, options)
        scheme = source.label_scheme(chosen.get("labels", "climb"), chosen)
        schemes[name] = source.vocabulary_scheme.get(scheme, scheme)
    return schemes


def combine(
    parts: "Sequence[Dataset | IterableDataset]",
    *,
    vocabulary: str = "concepts",
    of: Sequence[str] | Mapping[str, str] = (),
) -> "Dataset | IterableDataset":
    """Concatenate datasets of our schema that may be of different families.

    Args:
        parts (`Sequence`): datasets with our shared columns, all in memory-mapped or all in streaming form.
        vocabulary (`str`, *optional*, defaults to `"concepts"`): see `load_mixture`.
        of (`Sequence[str]` or `Mapping[str, str]`, *optional*): the sources whose strings make the vocabulary of
            `"strings"`, or these with the vocabulary scheme of each, as from `label_schemes`.

    Returns:
        One dataset with the union of the columns.

    Raises:
        SchemaError: a column stands in two parts with different types.
    """
    from datasets import concatenate_datasets

    features = _union([part.features for part in parts])
    aligned = [_align(part, features) for part in parts]
    mixed = aligned[0] if len(aligned) == 1 else concatenate_datasets(aligned)
    return _merge_strings(mixed, of) if vocabulary == "strings" else mixed


def _union(all_features: "Sequence[Features]") -> "Features":
    from datasets import Features

    union: dict[str, Any] = {}
    for features in all_features:
        for name, feature in features.items():
            if union.setdefault(name, feature) != feature:
                raise SchemaError(
                    f"the column `{name}` is {_short(union[name])} in one source and {_short(feature)} in another. "
                    "Mix signals of one modality only, and load all sources with the same `labels` and `bit_depth`."
                )
    return Features(union)


def _short(feature: Any) -> str:  # noqa: ANN401 - any feature of datasets
    text = str(feature)
    return text if len(text) < 80 else f"{text[:80]}…"


def _align(part: "Dataset | IterableDataset", features: "Features") -> "Dataset | IterableDataset":
    from datasets import IterableDataset

    from climb_hf.schema import absent_value

    absent = {name: feature for name, feature in features.items() if name not in part.features}
    if isinstance(part, IterableDataset):
        values = {name: absent_value(feature) for name, feature in absent.items()}
        return part.map(_with_columns, fn_kwargs={"values": values}, features=features) if values else part
    for name, feature in absent.items():
        value = absent_value(feature)
        column = [None if value is None else value.tolist()] * len(part)
        part = part.add_column(name, column, feature=feature)
    return part.select_columns(list(features))


def _with_columns(row: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    return {**row, **values}


def _merge_strings(
    mixed: "Dataset | IterableDataset", sources: Sequence[str] | Mapping[str, str]
) -> "Dataset | IterableDataset":
    from datasets import ClassLabel, Features, List

    from climb_hf.vocabulary import string_vocabulary

    units, unit_of = string_vocabulary(list(sources), sources if isinstance(sources, Mapping) else {})
    names = mixed.features["labels"].feature.names
    position = {unit: index for index, unit in enumerate(units)}
    merged = Features(
        {**mixed.features, **dict.fromkeys(("labels", "uncertain"), List(ClassLabel(names=list(units))))}
    )

    def rename(row: dict[str, Any]) -> dict[str, Any]:
        return {
            column: sorted({position[unit_of[(row["source"], names[index])]] for index in row[column]})
            for column in ("labels", "uncertain")
        }

    return mixed.map(rename, features=merged)
