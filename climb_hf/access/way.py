"""A way to the raw data of a source, and the choice among several.

A way has parts, which are downloaded one after the other into the same folder, and steps that remain for the user.
"""

from dataclasses import dataclass

from climb_hf.access.backend import Backend
from climb_hf.errors import OptionError

__all__ = ["Way", "way_of", "ways"]


@dataclass(frozen=True)
class Way:
    """One way to the raw data of a source.

    Args:
        name (`str`): what `--via` calls it.
        parts (`tuple[Backend, ...]`): where it comes from, in order.
        size (`int`, *optional*): bytes on disk that the publisher or its users state, where the list has no sizes.
        then (`tuple[str, ...]`, *optional*): what remains to be done by hand.
    """

    name: str
    parts: tuple[Backend, ...]
    size: int | None = None
    then: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it can be downloaded without an account, and is complete without further steps."""
        return not self.then and all(part.is_open for part in self.parts)

    def describe(self) -> str:
        """Return what is taken from where."""
        return "; ".join(part.describe() for part in self.parts)


def ways(name: str) -> tuple[Way, ...]:
    """Return the ways to the raw data of a source, the default first.

    Args:
        name (`str`): a source; one of another package has no row and comes by hand, with its own steps.

    Returns:
        `tuple[Way, ...]`.

    Example:
        >>> [way.name for way in ways("ptbxl")]
        ['physionet', 'split']
    """
    from climb_hf.access.by_hand import ByHand
    from climb_hf.access.catalogue import ROUTES

    return ROUTES.get(name) or (Way("hand", (ByHand(),)),)


def way_of(name: str, via: str | None = None) -> Way:
    """Return one way to a source.

    Args:
        name (`str`): a source.
        via (`str`, *optional*): name of the way; the default way otherwise.

    Returns:
        `Way`.

    Raises:
        OptionError: the source has no such way.
    """
    found = ways(name)
    if via is None:
        return found[0]
    for way in found:
        if way.name == via:
            return way
    raise OptionError(f"{name}: there is no way `{via}`; choose one of {[way.name for way in found]} with `--via`.")
