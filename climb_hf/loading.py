"""`climb_hf.load_dataset`: the same as `datasets.load_dataset("climb", ...)`, without the hook; is data synthetic."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

__all__ = ["is_synthetic", "load_dataset"]


def load_dataset(
    name: str,
    data_dir: "str | Path | None" = None,
    *,
    split: str | None = None,
    streaming: bool = False,
    num_proc: int | None = None,
    cache_dir: "str | Path | None" = None,
    download_mode: str | None = None,
    accept_license: bool = False,
    **options: Any,  # noqa: ANN401 - options of the source
) -> "Dataset | DatasetDict | IterableDataset | IterableDatasetDict":
    """Load a source with the shared schema.

    Args:
        name (`str`): a source of `climb_hf.list_sources()`.
        data_dir (`str` or `Path`, *optional*): the raw data, or a folder of `climb prepare`; defaults to
            `$CLIMB_DATA/NAME`.
        split (`str`, *optional*): one split, or a slice such as `"train[:10%]"`; all splits where it is absent.
        streaming (`bool`, *optional*, defaults to `False`): read on the fly instead of building a table first.
        num_proc (`int`, *optional*): worker processes of the build.
        cache_dir (`str` or `Path`, *optional*): where the table is built.
        download_mode (`str`, *optional*): as in `datasets`; `"force_redownload"` builds anew.
        accept_license (`bool`, *optional*, defaults to `False`): where the raw data of an open source is absent,
            accept its licence and download it into `data_dir`, with progress; `CLIMB_ACCEPT_LICENSE=1` does the same.
        **options: options of the source, see `climb_hf.source.Options` and `climb info NAME`.

    Returns:
        What `datasets.load_dataset` returns.

    Raises:
        UnknownSourceError: no such source.
        AccessError: the raw data is missing; the message says how to get it.
        OptionError: an option or value the source does not have.
        DamagedDataError: more than 5 % of the records cannot be read.

    Example:
        >>> import climb_hf, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> _ = climb_hf.miniature("proteins", folder + "/proteins", n=16)
        >>> climb_hf.load_dataset("proteins", folder + "/proteins", cache_dir=folder)["train"].features["num_nodes"]
        Value('int64')
    """
    from climb_hf.builder import Climb, raw_folder
    from climb_hf.prepare.reading import find_prepared, load_prepared
    from climb_hf.registration import module_hash

    if (prepared := find_prepared(name, data_dir)) is not None:
        return load_prepared(
            name, prepared, options, split=split, streaming=streaming, num_proc=num_proc, cache_dir=cache_dir,
            download_mode=download_mode,
        )  # fmt: skip
    if accept_license:
        from climb_hf.access.automatic import provide
        from climb_hf.registry import get_source

        source = get_source(name)
        provide(source, raw_folder(source, str(data_dir) if data_dir else None), accept_license=True)
    builder = Climb(
        cache_dir=str(cache_dir) if cache_dir else None,
        dataset_name="climb",
        config_name=name,
        data_dir=str(data_dir) if data_dir else None,
        hash=module_hash(),
        **options,
    )
    if streaming:
        return builder.as_streaming_dataset(split=split)
    builder.download_and_prepare(num_proc=num_proc, download_mode=download_mode)
    return builder.as_dataset(split=split)


def is_synthetic(sources: "Mapping[str, str | Path | None]") -> bool:
    """Whether any of some sources is a synthetic raw copy: then every number made from them is called synthetic.

    Args:
        sources (`Mapping`): folder by name, raw or prepared; `None` takes `$CLIMB_DATA/NAME`.

    Returns:
        `bool`.

    Raises:
        UnknownSourceError: no such source.

    Example:
        >>> is_synthetic({"proteins": "raw/PROTEINS"})
        False
    """
    from climb_hf.builder import raw_folder
    from climb_hf.miniatures import is_miniature
    from climb_hf.prepare.manifest import read_manifest
    from climb_hf.prepare.reading import find_prepared
    from climb_hf.registry import get_source

    for name, given in sources.items():
        folder = raw_folder(get_source(name), str(given) if given else None)
        if (prepared := find_prepared(name, given)) is not None:
            is_made_up = bool(read_manifest(str(prepared), name).header.get("synthetic"))
        else:
            is_made_up = folder is not None and is_miniature(folder)
        if is_made_up:
            return True
    return False
