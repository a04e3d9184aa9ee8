"""Pairs of picture and text from any source that has them, in one form: what contrastive training and retrieval read.

Sources of the family text-image give their captions as they are, except conversations (`vital`): a whole conversation
is longer than text encoders read and repeats itself, so the first question and its answer stand for it. Sources of
another family that can give pairs (`Source.pair_options`: `mimic_cxr` with `task="pairs"`) are loaded as such.
"""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import OptionError, SplitError
from climb_hf.mixture import source_options
from climb_hf.protocols.data import Sources, load_parts
from climb_hf.registry import get_source, source_names

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["COLUMNS", "Pairs", "load_pairs", "pair_sources"]

logger = logging.getLogger(__name__)

#: Columns of a dataset of pairs.
COLUMNS = ("image", "text", "id", "group", "source", "labels", "duplicate_of")
NO_TEXT, NO_PICTURE = "no text", "no picture"


class Pairs(dict[str, "Dataset"]):
    """Datasets of pairs by source, with the count of rows that are none.

    Args:
        datasets (`Mapping[str, Dataset]`): by source, with the columns `COLUMNS`.
        dropped (`Mapping[str, Mapping[str, int]]`): by source, number of rows without text or without picture, of
            those that the source's build kept; a source that lost none maps to `{}`.
    """

    def __init__(self, datasets: "Mapping[str, Dataset]", dropped: Mapping[str, Mapping[str, int]]) -> None:
        super().__init__(datasets)
        self.dropped = {name: dict(counts) for name, counts in dropped.items()}


def pair_sources() -> tuple[str, ...]:
    """Return the names of the sources that give pairs of picture and text.

    Example:
        >>> pair_sources()
        ('deepeyenet', 'mimic_cxr', 'quilt1m', 'vital')
    """
    return tuple(name for name in source_names() if _gives_pairs(name))


def _gives_pairs(name: str) -> bool:
    source = get_source(name)
    return source.family == "text-image" or bool(source.pair_options)


def load_pairs(
    sources: Sources,
    split: str | None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    cache_dir: str | Path | None = None,
    num_proc: int | None = None,
    is_required: bool = True,
) -> Pairs:
    """Load one split of several sources as pairs of picture and text.

    Rows without text (null or white space) or without picture are dropped and counted. The rest keeps its order, so
    row i of a split is the same pair in every run on the same raw data.

    Args:
        sources (`Mapping`): folder of the raw data by source name; `None` takes `$CLIMB_DATA/NAME`.
        split (`str` or `None`): `"train"`, `"validation"` or `"test"`; `None` takes the `evaluation_split` of each.
        options (`Mapping`, *optional*): options by source name, those under `"*"` for all; see
            `climb_hf.load_mixture`. Choose a source's text with its own option, such as
            `{"mimic_cxr": {"text": "impression"}}`.
        cache_dir (`str` or `Path`, *optional*): where tables are built.
        num_proc (`int`, *optional*): worker processes of each build.
        is_required (`bool`, *optional*, defaults to `True`): whether a source without the split is an error.

    Returns:
        `Pairs`: by source a `Dataset` with `image` (RGB), `text`, `id`, `group`, `source`, `labels` and
        `duplicate_of`; all have equal features, so `datasets.concatenate_datasets` joins them.

    Raises:
        OptionError: a source gives no pairs, at all or with these options.
        SplitError: a source has no such split, or not one pair in it.

    Example:
        >>> import climb_hf, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> _ = climb_hf.miniature("quilt1m", folder + "/quilt1m")
        >>> pairs = load_pairs({"quilt1m": folder + "/quilt1m"}, None, cache_dir=folder)
        >>> pairs["quilt1m"].num_rows, pairs["quilt1m"][0]["text"]
        (8, 'thin walls around air spaces – pink, medium power (synthetic 3)')
    """
    chosen = {name: _options(name, options or {}) for name in sources}
    found, dropped = {}, {}
    parts = load_parts(sources, split, chosen, cache_dir=cache_dir, num_proc=num_proc, is_required=is_required)
    for name, part in parts.items():
        if "text" not in part.column_names:
            raise OptionError(
                f"{name}: with the options {chosen[name]} its rows have no `text`; pairs need "
                f"{dict(get_source(name).pair_options)}."
            )
        found[name], dropped[name] = _whole_pairs(name, part, split or get_source(name).evaluation_split)
    return Pairs(found, dropped)


def _options(name: str, options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    source = get_source(name)
    if not _gives_pairs(name):
        raise OptionError(
            f"{name}: a source of the family `{source.family}` has no pairs of picture and text. Sources that have: "
            f"{', '.join(pair_sources())}."
        )
    return {**source.pair_options, **source_options(name, options)}


def _whole_pairs(name: str, part: "Dataset", split: str) -> "tuple[Dataset, dict[str, int]]":
    """Keep the rows that have both, and count the others."""
    texts, is_changed = _texts(part)
    if is_changed:
        part = part.remove_columns("text").add_column("text", texts, feature=part.features["text"])
    no_picture = part.data.column("image").is_null().to_pylist()  # without decoding any
    kept, counts = [], Counter[str]()
    for place, (text, is_absent) in enumerate(zip(texts, no_picture, strict=True)):
        if not (text or "").strip():
            counts[NO_TEXT] += 1
        elif is_absent:
            counts[NO_PICTURE] += 1
        else:
            kept.append(place)
    if not kept:
        raise SplitError(
            f"{name}: of {part.num_rows} rows of `{split}` not one has a picture and a text ({dict(counts)}). "
            f"See `climb doctor {name}` for what the folder lacks."
        )
    if counts:
        logger.warning("%s: %d of %d rows of `%s` are no pairs: %s", name, counts.total(), part.num_rows, split,
                       ", ".join(f"{count} {why}" for why, count in counts.items()))  # fmt: skip
        part = part.select(kept)
    return part.select_columns(list(COLUMNS)), dict(counts)


def _texts(part: "Dataset") -> tuple[list[str | None], bool]:
    """Return the texts, and whether some are not those of the column: a conversation is its first exchange."""
    texts, is_changed = list(part["text"]), False
    is_plain = part.data.column("messages").null_count == part.num_rows
    conversations = () if is_plain else part["messages"]
    for place, messages in enumerate(conversations):
        if messages:
            texts[place], is_changed = _first_exchange(messages), True
    return texts, is_changed


def _first_exchange(messages: list[dict[str, Any]]) -> str | None:
    """Return the first question and the answer to it, one per line; `None` without an answer."""
    said = [
        (message["role"], " ".join(part["text"] for part in message["content"] if part["type"] == "text").strip())
        for message in messages
    ]
    question = next((place for place, (role, _) in enumerate(said) if role == "user"), None)
    if question is None:
        return None
    answer = next((text for role, text in said[question + 1 :] if role == "assistant"), "")
    return f"{said[question][1]}\n{answer}".strip() if answer else None
