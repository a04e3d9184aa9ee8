"""The guard in `push_to_hub` of `datasets`: rows of ours whose terms forbid it stay where they are.

`climb_hf.registration` puts it before `push_to_hub` of tables, streams and their dictionaries. Rows that do not come
from climb-hf pass untouched: asked is what `DatasetInfo` declares (`climb_hf.origin`), and, where that is lost, the
column `source` of rows in our schema. `private=True` makes no difference.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict

__all__ = ["carrying", "check_push", "guarded"]


def check_push(dataset: "Dataset | DatasetDict | IterableDataset | IterableDatasetDict") -> None:
    """Refuse to publish rows of ours that may not be passed on.

    Args:
        dataset: rows of any origin; those not of climb-hf are no business of this check.

    Raises:
        LicenseError: a source does not allow copies; names source, licence and clause.

    Example:
        >>> from datasets import Dataset
        >>> check_push(Dataset.from_dict({"id": ["1"], "source": ["web"]}))
    """
    from climb_hf.hub.licence import check_redistribution
    from climb_hf.origin import origins_of

    check_redistribution([origin.source for origin in origins_of(dataset)], "rows of this data set")


def carrying(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `to_iterable_dataset` whose stream keeps the description, and in it the origin. Twice changes nothing.

    Args:
        method (`Callable`): that of `datasets.Dataset`, which drops everything but the features.

    Returns:
        `Callable`: with the same name, signature and documentation.
    """
    if getattr(method, "_climb", False):
        return method

    @functools.wraps(method)
    def to_iterable_dataset(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - mirrors the original
        stream = method(self, *args, **kwargs)
        stream.info.description = stream.info.description or self.info.description
        return stream

    to_iterable_dataset._climb = True  # type: ignore[attr-defined]
    return to_iterable_dataset


def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `push_to_hub` that asks `check_push` first. Guarding twice changes nothing.

    Args:
        method (`Callable`): a method whose first argument is the dataset.

    Returns:
        `Callable`: with the same name, signature and documentation.
    """
    if getattr(method, "_climb", False):
        return method

    @functools.wraps(method)
    def push_to_hub(self: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - mirrors the original
        check_push(self)
        return method(self, *args, **kwargs)

    push_to_hub._climb = True  # type: ignore[attr-defined]
    return push_to_hub
