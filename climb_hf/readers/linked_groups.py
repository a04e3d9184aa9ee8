"""Studies that share samples belong together: one leakage group for all that are linked, directly or by others."""

from collections.abc import Iterable, Mapping

__all__ = ["linked_groups"]


def linked_groups(members: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Join the groups that share a member.

    Args:
        members (`Mapping[str, Iterable[str]]`): group -> ids that are unique over all groups, such as run accessions.

    Returns:
        `dict[str, str]`: group -> the first group, in the order of `members`, that it is linked to; itself if none.

    Example:
        >>> linked_groups({"E-1": ["r1", "r2"], "E-2": ["r3"], "E-3": ["r2", "r4"], "E-4": ["r4"]})
        {'E-1': 'E-1', 'E-2': 'E-2', 'E-3': 'E-1', 'E-4': 'E-1'}
    """
    order = {group: place for place, group in enumerate(members)}
    parent = {group: group for group in members}

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    holder: dict[str, str] = {}
    for group, ids in members.items():
        for member in ids:
            one, other = root(holder.setdefault(member, group)), root(group)
            first, second = (one, other) if order[one] < order[other] else (other, one)
            parent[second] = first
    return {group: root(group) for group in members}
