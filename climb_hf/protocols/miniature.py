"""Synthetic raw copies as the data of a whole protocol: what `--miniature` of the commands does."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from climb_hf.errors import OptionError
from climb_hf.miniatures import RUN_FOLDER, miniature

__all__ = ["is_first_process", "miniature_sources", "named_sources"]


def miniature_sources(
    arguments: Sequence[str],
    folder: str | Path,
    *,
    n: int = 64,
    seed: int = 0,
    **options: Any,  # noqa: ANN401 - options of the makers
) -> dict[str, Path]:
    """Write a synthetic raw copy of each source, so that a protocol runs before any data is at hand.

    Args:
        arguments (`Sequence[str]`): names of sources, without folders.
        folder (`str` or `Path`): where the copies go, one folder by name. Copies of an earlier call are replaced;
            the same arguments always write the same bytes.
        n (`int`, *optional*, defaults to `64`): records per source, at least 8.
        seed (`int`, *optional*, defaults to `0`): seed of the generator.
        **options: options of every maker.

    Returns:
        `dict[str, Path]`: raw folder by source, in the order given. **All of it is synthetic.**

    Raises:
        OptionError: a source is named with a folder of its own or twice, or the folder holds files of others.
        UnknownSourceError: no such source.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [path.name for path in miniature_sources(["proteins"], folder, n=8).values()]
        ['proteins']
    """
    from climb_hf.protocols.data import parse_sources

    sources = parse_sources(arguments)
    given = [name for name, path in sources.items() if path is not None]
    if given:
        raise OptionError(
            f"synthetic data was asked for, but {', '.join(f'`{name}`' for name in given)} came with a folder of raw "
            "data. Name the sources alone, or leave `--miniature` away."
        )
    folders = {name: Path(folder) / name for name in sources}
    for name, path in folders.items():
        miniature(name, path, n=n, seed=seed, **options)
    return folders


def is_first_process() -> bool:
    """Whether this is the only process, or the first of several on its machine; it alone writes and speaks.

    Returns:
        `bool`.

    Example:
        >>> is_first_process()
        True
    """
    return os.environ.get("LOCAL_RANK", "0") == "0"


@contextmanager
def named_sources(
    arguments: Sequence[str], folder: Path | None, cache_dir: Path | None = None, *, miniature: bool, n: int = 64
) -> Iterator[tuple[dict[str, Any], Path | None]]:
    """Give the sources of a command line, or synthetic miniatures of them, and where their tables are built.

    Args:
        arguments (`Sequence[str]`): each `NAME` or `NAME=DIR`.
        folder (`Path`, *optional*): of the run; miniatures go to `miniature` in it and their tables to `cache`.
            Without it both vanish at the end.
        cache_dir (`Path`, *optional*): where tables are built.
        miniature (`bool`): write miniatures instead of reading real data. Of several processes the first writes, the
            others wait.
        n (`int`, *optional*, defaults to `64`): synthetic records per source.

    Yields:
        `tuple[dict, Path | None]`: folder of the raw data by source name, and the cache.

    Raises:
        OptionError: a source is named twice, or a miniature is wanted of one that came with a folder.
        UnknownSourceError: no such source.

    Example:
        >>> with named_sources(["proteins"], None, miniature=True, n=8) as (sources, cache):
        ...     sources["proteins"].name, cache.name
        ('proteins', 'cache')
    """
    from climb_hf.protocols.data import parse_sources

    if not miniature:
        yield parse_sources(arguments), cache_dir
    elif folder is None:
        with TemporaryDirectory(prefix="climb-miniature-") as temporary:
            yield miniature_sources(arguments, temporary, n=n), cache_dir or Path(temporary) / "cache"
    else:
        place = folder / RUN_FOLDER
        if is_first_process():
            miniature_sources(arguments, place, n=n)
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()
        yield {name: place / name for name in parse_sources(arguments)}, cache_dir or folder / "cache"
