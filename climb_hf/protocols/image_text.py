"""What the evaluations of image-text encoders share: facts of the checkpoint, and miniatures in place of data."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from climb_hf.hub.training_file import read_training
from climb_hf.protocols.data import Sources, parse_sources
from climb_hf.protocols.dual_encoder import checkpoint_folder
from climb_hf.provenance import provenance

__all__ = ["common_facts", "named_sources"]


def common_facts(checkpoint: str | Path, protocol: str, split: str, *, synthetic: bool) -> dict[str, Any]:
    """Return the fields of `ResultRow` that all numbers of one evaluation share.

    Args:
        checkpoint (`str` or `Path`): the image-text encoder.
        protocol (`str`): `"retrieval"` or `"zero_shot"`.
        split (`str`): the split scored.
        synthetic (`bool`): the data is synthetic; so is a checkpoint that was trained on such data.

    Returns:
        `dict`: fields of `climb_hf.results.ResultRow`.
    """
    facts = read_training(checkpoint_folder(checkpoint))
    return {
        "split": split,
        "protocol": protocol,
        "model": Path(checkpoint).name,
        "seed": facts.get("seed"),
        "recipe_hash": facts.get("recipe_hash"),
        "synthetic": synthetic or bool(facts.get("synthetic", False)),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": provenance(),
    }


@contextmanager
def named_sources(
    arguments: Sequence[str], folder: Path | None, cache_dir: Path | None, *, miniature: bool
) -> Iterator[tuple[Sources, Path | None]]:
    """Give the sources of a command line, or synthetic miniatures of them, and where their tables are built.

    Args:
        arguments (`Sequence[str]`): each `NAME` or `NAME=DIR`.
        folder (`Path`, *optional*): where miniatures go (below `miniatures`); without it they vanish at the end, with
            the tables built from them.
        cache_dir (`Path`, *optional*): where tables are built.
        miniature (`bool`): write miniatures instead of reading real data.

    Yields:
        `tuple`: folder of the raw data by source name, and the cache.
    """
    if not miniature:
        yield parse_sources(arguments), cache_dir
        return
    from climb_hf.protocols.miniature import miniature_sources

    if folder is not None:
        yield miniature_sources(arguments, folder / "miniatures"), cache_dir
        return
    with TemporaryDirectory(prefix="climb-miniatures-") as temporary:
        yield miniature_sources(arguments, temporary), cache_dir or Path(temporary) / "cache"
