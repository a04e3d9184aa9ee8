"""The rows of a folder that `climb prepare` wrote, wherever the raw data of a source is asked for."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import CorruptFileError, OptionError, SchemaError
from climb_hf.prepare.manifest import Manifest, manifest_path

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

__all__ = ["find_prepared", "load_prepared"]

#: Options that say how to read raw data, not what the rows are.
_OF_READING = ("strict", "verify")


def find_prepared(name: str, data_dir: "str | Path | None") -> Path | None:
    """Return the folder of prepared data that was given in place of raw data.

    Args:
        name (`str`): the source.
        data_dir (`str` or `Path`, *optional*): what the user gave; defaults to `$CLIMB_DATA/NAME`.

    Returns:
        `Path` or `None`: `None` where there is no finished manifest of the source.

    Raises:
        UnknownSourceError: no such source.

    Example:
        >>> find_prepared("proteins", "raw/PROTEINS") is None
        True
    """
    from climb_hf.builder import raw_folder
    from climb_hf.registry import get_source

    folder = raw_folder(get_source(name), str(data_dir) if data_dir else None)
    return folder if folder is not None and (folder / manifest_path(name)).is_file() else None


def load_prepared(
    name: str,
    folder: Path,
    options: Mapping[str, Any],
    *,
    split: str | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
    cache_dir: "str | Path | None" = None,
    download_mode: str | None = None,
) -> "Dataset | DatasetDict | IterableDataset | IterableDatasetDict":
    """Load a prepared source as `climb_hf.load_dataset` loads a raw one: the same rows, features and origin.

    Args:
        name (`str`): the source.
        folder (`Path`): what was given to `climb prepare --to`.
        options (`Mapping`): options of the source; they must be those it was prepared with. A share of the train
            groups for `validation` is carved here, if none was when the folder was written.
        split (`str`, *optional*): one split, or a slice of one; while streaming no slice of a carved one.
        streaming (`bool`, *optional*, defaults to `False`): as in `datasets`.
        num_proc (`int`, *optional*): worker processes; one per shard at most.
        cache_dir (`str` or `Path`, *optional*): where the table is built.
        download_mode (`str`, *optional*): as in `datasets`.

    Returns:
        What `datasets.load_dataset` returns.

    Raises:
        OptionError: other options than those of the folder.
        SchemaError: the folder is of another version of the source's reader or of the vocabulary.
        CorruptFileError: a shard is missing or has another size.
    """
    import datasets

    from climb_hf.origin import origin_line
    from climb_hf.prepare.shard import features_of
    from climb_hf.registry import get_source

    manifest = Manifest.of((folder / manifest_path(name)).read_text(encoding="utf-8"), manifest_path(name))
    config = _checked(name, folder, manifest, options)
    is_carved = config.validation > 0 and manifest.header["options"]["validation"] == 0
    files: dict[str, list[str]] = {}
    for shard in manifest.shards:
        path = folder / shard.path
        if not path.is_file() or path.stat().st_size != shard.bytes:
            found = f"{path.stat().st_size:,} bytes" if path.is_file() else "nothing"
            raise CorruptFileError(f"{name}: `{path}` must have {shard.bytes:,} bytes, found {found}. Copy it again.")
        if shard.rows:
            files.setdefault(shard.split, []).append(str(path))
    n_files = sum(map(len, files.values()))
    loaded = datasets.load_dataset(
        "parquet", data_files=files, split=None if is_carved else split, streaming=streaming,
        download_mode=download_mode, cache_dir=str(cache_dir) if cache_dir else None,
        num_proc=None if num_proc is None or streaming else max(1, min(num_proc, n_files)),
    )  # fmt: skip
    if is_carved:
        loaded = _part(_carved(loaded, config.validation, config.seed), split)
    source, expected = get_source(name), features_of(name, config.options())
    for part in loaded.values() if isinstance(loaded, dict) else (loaded,):
        if part.features != expected:
            raise SchemaError(
                f"{name}: the columns or class names in `{folder}` are not those of this version of climb-hf. Prepare "
                f"it again, or load it as it is with `datasets.load_dataset({str(folder)!r}, {name!r})`."
            )
        part.info.description = f"{source.title}.\n\n{origin_line(source, config.changed_options())}"
        part.info.citation, part.info.homepage, part.info.license = source.citation, source.homepage, source.license
    return loaded


def _carved(loaded: Any, share: float, seed: int) -> Any:  # noqa: ANN401 - both kinds of dictionaries
    """Move a share of the train groups to `validation`, behind the publisher's own: the groups that raw data gives."""
    from datasets import concatenate_datasets

    from climb_hf.splits import SPLITS, carve_validation

    kept, moved = (
        loaded["train"].filter(
            lambda group, wanted=wanted: carve_validation("train", group, share, seed) == wanted, input_columns="group"
        )
        for wanted in ("train", "validation")
    )
    own = [loaded["validation"]] if "validation" in loaded else []
    parts = {**loaded, "train": kept, "validation": concatenate_datasets([*own, moved])}
    return type(loaded)({name: parts[name] for name in SPLITS if name in parts})


def _part(parts: Any, split: str | None) -> Any:  # noqa: ANN401 - of both kinds
    """Return one split, or a slice such as `train[:10%]` of it."""
    from datasets import ReadInstruction, concatenate_datasets

    if split is None or split in parts:
        return parts if split is None else parts[split]
    lengths = {name: len(part) for name, part in parts.items()}
    pieces = ReadInstruction.from_spec(split).to_absolute(lengths)
    return concatenate_datasets([parts[piece.splitname].select(range(piece.from_, piece.to)) for piece in pieces])


def _checked(name: str, folder: Path, manifest: Manifest, options: Mapping[str, Any]) -> Any:  # noqa: ANN401 - lazy
    """Return the configuration of the given options, if the folder was prepared with them by this reader."""
    from climb_hf.builder import ClimbConfig
    from climb_hf.prepare.plan import settings_of
    from climb_hf.registry import get_source, near_names

    source, config = get_source(name), ClimbConfig(name=name)
    for option, value in options.items():
        if option not in source.option_names:
            raise OptionError(f"{name}: there is no option `{option}`. {near_names(option, source.option_names)}")
        if value is not None:
            setattr(config, option, value)
    wanted, prepared = json.loads(json.dumps(settings_of(config.options()))), manifest.header["options"]
    flat = [{**given, **given.get("extra", {})} for given in (prepared, wanted)]
    differing = {
        key: (flat[0].get(key), flat[1].get(key))
        for key in sorted({*flat[0], *flat[1]} - {"extra", *_OF_READING})
        if flat[0].get(key) != flat[1].get(key) and not (key == "validation" and flat[0].get(key) == 0)
    }
    if differing:
        told = "; ".join(f"`{key}` was {then!r}, is {now!r}" for key, (then, now) in differing.items())
        raise OptionError(
            f"{name}: `{folder}` was prepared with other options ({told}). Pass those it was prepared with (in a "
            f"recipe: `--set data.options.{name}.KEY=VALUE`), or prepare it again with `--set KEY=VALUE`."
        )
    if manifest.header["version"] != source.version:
        raise SchemaError(
            f"{name}: `{folder}` was prepared by version {manifest.header['version']} of the reader, this is "
            f"{source.version}. Prepare it again from the raw data."
        )
    return config
