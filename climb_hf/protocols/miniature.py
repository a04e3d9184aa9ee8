"""Synthetic raw copies as the data of a whole protocol: what `--miniature` of the commands does."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from climb_hf.errors import OptionError
from climb_hf.miniatures import miniature

__all__ = ["miniature_sources"]


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
