"""Splits of the CLIMB paper that were drawn image by image, without a seed: from its lists, or with its counts only.

The paper's code drew 80 % of each class at random, once for its train list and once more for its evaluation list, so
the two published lists may share images. The evaluation list alone gives a split without that overlap: what it names
is `test`, all the rest is `train`, and both have exactly the paper's sizes.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from climb_hf.errors import SchemaError, SplitError
from climb_hf.splits import group_fraction

__all__ = ["hash_order", "read_evaluation_list", "share_per_class"]


def hash_order(names: Iterable[str], seed: int = 42) -> list[str]:
    """Sort names by a hash of (seed, name): a shuffle that no other order of the files can change.

    Args:
        names (`Iterable[str]`): names of the images.
        seed (`int`, *optional*, defaults to `42`): another seed gives another order.

    Returns:
        `list[str]`.

    Example:
        >>> hash_order(["a", "b", "c"]) == hash_order(["c", "b", "a"])
        True
    """
    return sorted(names, key=lambda name: (group_fraction(name, seed, salt="image"), name))


def share_per_class(classes: Mapping[str, str], share: float, seed: int = 42) -> frozenset[str]:
    """Choose the same share of the images of every class, rounded to whole images as pandas' `sample` rounds it.

    Args:
        classes (`Mapping[str, str]`): class of each image of the published table, present or not.
        share (`float`): share to choose, in [0, 1].
        seed (`int`, *optional*, defaults to `42`): seed of the draw.

    Returns:
        `frozenset[str]`: the chosen images.

    Example:
        >>> len(share_per_class({f"{i}": "benign" for i in range(32542)}, 0.8))
        26034
    """
    members: defaultdict[str, list[str]] = defaultdict(list)
    for name, of_class in classes.items():
        members[of_class].append(name)
    return frozenset(
        name for names in members.values() for name in hash_order(names, seed)[: round(share * len(names))]
    )


def read_evaluation_list(
    path: str | Path | None, *, source: str, known: Collection[str], where: str
) -> frozenset[str]:
    """Read the images of a CLIMB annotation list, JSON lines with the paths of each question under `images`.

    Args:
        path (`str` or `Path`, *optional*): the list, from `split_file=`.
        source (`str`): name for the messages.
        known (`Collection[str]`): image ids of the source's table.
        where (`str`): where the list is published, for the message.

    Returns:
        `frozenset[str]`: image ids, which are the file names without folder and ending.

    Raises:
        SplitError: no list was given, it does not exist, or it names no image of the source.
        SchemaError: a line is not JSON or names no image.
    """
    if path is None or not Path(path).is_file():
        found = "none was given" if path is None else f"`{path}` is not a file"
        raise SplitError(
            f"{source}: `split_by='paper'` needs the paper's evaluation list as `split_file=`, but {found}. The split "
            f"was drawn per image without a seed, so only the list has it: {where}"
        )
    listed = set()
    with Path(path).open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    listed |= {PurePosixPath(image.replace("\\", "/")).stem for image in json.loads(line)["images"]}
                except (ValueError, TypeError, KeyError, AttributeError) as error:
                    raise SchemaError(
                        f"{source}: `{path}`, line {number}: expected a JSON object with paths under `images` "
                        f"({error!r}). Download the list again."
                    ) from error
    if listed.isdisjoint(known):
        raise SplitError(
            f"{source}: `{path}` names {len(listed)} images, but not one of the {len(known)} in the source's table. "
            "Pass the list of this source."
        )
    return frozenset(listed)
