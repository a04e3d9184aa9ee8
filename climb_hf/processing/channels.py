"""From the channels a signal has to the channels a model wants: by name, never by position."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from climb_hf.errors import SchemaError

__all__ = ["ChannelPlan", "Terms", "plan_channels"]

#: A channel as a sum of weighted input channels: (column, weight) each. Empty: it cannot be had.
Terms = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class ChannelPlan:
    """How every wanted channel is made from the given ones.

    Args:
        width (`int`): number of given channels.
        terms (`tuple[Terms, ...]`): one per wanted channel.

    Example:
        >>> plan = ChannelPlan(2, (((1, 1.0),), ((1, 1.0), (0, -1.0)), ()))
        >>> plan(np.array([[[1.0], [3.0]]], np.float32))[0, :, 0].tolist()
        [3.0, 2.0, nan]
    """

    width: int
    terms: tuple[Terms, ...]

    @property
    def is_identity(self) -> bool:
        """Whether the wanted channels are the given ones, in their order."""
        return self.terms == tuple(((column, 1.0),) for column in range(self.width))

    @property
    def present(self) -> np.ndarray:
        """(wanted,) bool: which channels can be had."""
        return np.array([bool(terms) for terms in self.terms])

    def __call__(self, signal: np.ndarray) -> np.ndarray:
        """Make the wanted channels.

        Args:
            signal (`np.ndarray`): (batch, given, time) float32.

        Returns:
            `np.ndarray`: (batch, wanted, time) float32. Sums are taken in float64 and rounded once; a channel that
            cannot be had is NaN, and so is every sample with a NaN term.
        """
        if self.is_identity:
            return signal
        chosen = signal[:, [terms[0][0] if terms else 0 for terms in self.terms]]
        for row, terms in enumerate(self.terms):
            if not terms:
                chosen[:, row] = np.nan
            elif terms[0][1] != 1.0 or len(terms) > 1:
                chosen[:, row] = sum(weight * signal[:, column].astype(np.float64) for column, weight in terms)
        return chosen


def plan_channels(
    wanted: Sequence[str],
    given: Sequence[str],
    canonical: Callable[[str], str],
    derive: Callable[[str, Mapping[str, int]], Terms],
    is_known: Callable[[str], bool] = bool,
) -> ChannelPlan:
    """Find for every wanted channel how to make it from the given ones.

    Args:
        wanted (`Sequence[str]`): names of the model's channels.
        given (`Sequence[str]`): names of the signal's channels.
        canonical (`Callable[[str], str]`): brings a name to the form in which names are compared.
        derive (`Callable`): given the canonical name of an absent channel and the columns of the present ones by
            canonical name, returns how to make it, or nothing.
        is_known (`Callable[[str], bool]`, *optional*): tells of a canonical name whether it means anything; given
            channels that do not are passed over. By default all do.

    Returns:
        `ChannelPlan`.

    Raises:
        SchemaError: a name stands twice.

    Example:
        >>> plan_channels(["b", "A"], ["a", "B", "c"], str.lower, lambda name, columns: ()).terms
        (((1, 1.0),), ((0, 1.0),))
    """
    names = [(column, canonical(name)) for column, name in enumerate(given) if is_known(canonical(name))]
    columns = {name: column for column, name in names}
    if len(columns) != len(names):
        twice = sorted({given[column] for column, name in names if columns[name] != column})
        raise SchemaError(
            f"channel names must differ, but {twice} stand more than once in {list(given)}; drop or rename the copies."
        )
    terms = tuple(
        ((columns[name], 1.0),) if name in columns else derive(name, columns) for name in map(canonical, wanted)
    )
    return ChannelPlan(len(given), terms)
