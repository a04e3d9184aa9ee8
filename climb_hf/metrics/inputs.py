"""What `masked_metrics` takes, checked: the rows of each source over its own classes."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from climb_hf.errors import SchemaError, VocabularyError
from climb_hf.metrics.auc import as_outcomes, as_scores, name_rows, refuse_nan
from climb_hf.metrics.bootstrap import codes_of

__all__ = ["Arrays", "SourceRows", "group_codes", "source_order"]


@dataclass(frozen=True, slots=True)
class SourceRows:
    """The rows of one source over its `C` classes.

    Args:
        y (`NDArray`): outcomes, shape `(n, C)`, bool.
        scores (`NDArray`): logits or probabilities, shape `(n, C)`.
        counted (`NDArray`, *optional*): cells that count, shape `(n, C)`, bool; `None`: all.
        groups (`NDArray`, *optional*): group code of each row, shape `(n,)`; `None`: each row is a group.
        classes (`Sequence[int]`): the classes' columns in the vocabulary.
        multi_label (`bool`): whether a row can have any number of positives.
    """

    y: NDArray[np.bool_]
    scores: NDArray[Any]
    counted: NDArray[np.bool_] | None
    groups: NDArray[np.intp] | None
    classes: Sequence[int]
    multi_label: bool

    @property
    def n_groups(self) -> int:
        """Number of groups among the rows."""
        return len(self.y) if self.groups is None else int(self.groups.max(initial=-1)) + 1

    def subset(self, chosen: NDArray[np.intp]) -> "SourceRows":
        """The rows `chosen`, with their groups numbered anew."""
        counted = None if self.counted is None else self.counted[chosen]
        groups = None if self.groups is None else codes_of(self.groups[chosen])[0]
        return replace(self, y=self.y[chosen], scores=self.scores[chosen], counted=counted, groups=groups)


@dataclass(frozen=True, slots=True)
class Arrays:
    """References, scores and valid cells over the whole vocabulary, each of shape `(n, |V|)`."""

    references: NDArray[Any]
    scores: NDArray[Any]
    valid: NDArray[Any] | None

    @classmethod
    def of(cls, references: ArrayLike, scores: ArrayLike, valid: ArrayLike | None) -> "Arrays":
        """Check that the shapes agree; the values are checked source by source."""
        try:
            labels, logits = np.asarray(references), np.asarray(scores)
        except ValueError as error:
            raise SchemaError(
                f"`references` and `scores` must have the same number of columns in every row ({error})."
            ) from error
        cells = None if valid is None else np.asarray(valid)
        if labels.ndim != 2:
            raise SchemaError(f"`references` must have shape (rows, classes of the vocabulary), found {labels.shape}.")
        for name, array in (("scores", logits), ("valid", cells)):
            if array is not None and array.shape != labels.shape:
                raise SchemaError(
                    f"`{name}` must have the shape of `references`, {labels.shape}, found {array.shape}."
                )
        return cls(labels, logits, cells)

    def check_length(self, name: str, values: Sequence[Any]) -> None:
        """Raise a `SchemaError` unless `values` has one value per row."""
        if len(values) != len(self.references):
            raise SchemaError(f"`{name}` must have one value per row, {len(self.references)}, found {len(values)}.")

    def rows_of(
        self,
        source: str,
        chosen: NDArray[np.intp],
        classes: Sequence[int],
        groups: NDArray[np.intp] | None,
        *,
        multi_label: bool,
        from_logits: bool,
    ) -> SourceRows:
        """Cut out and check the rows `chosen` over `classes`; errors name the rows as the caller counts them."""
        index = _class_index(source, classes, self.references.shape[1])

        def cut(array: NDArray[Any]) -> NDArray[Any]:
            rows = array if len(chosen) == len(array) else array[chosen]
            return rows if index == list(range(rows.shape[1])) else rows[:, index]

        counted = None if self.valid is None else as_outcomes(cut(self.valid), f"valid of {source}", chosen)
        labels = cut(self.references)
        y = as_outcomes(labels if counted is None else np.where(counted, labels, 0), f"references of {source}", chosen)
        scores = as_scores(cut(self.scores), f"scores of {source}", ndim=2)
        refuse_nan(scores, f"scores of {source}", chosen)
        outside = np.isinf(scores) if from_logits else (scores < 0) | (scores > 1)
        if outside.any():
            rows = name_rows(chosen[np.unique(np.nonzero(outside)[0])])
            wanted = "finite" if from_logits else "probabilities in [0, 1] (for logits pass `from_logits=True`)"
            raise SchemaError(f"scores of {source} must be {wanted}, found {scores[outside][0]} in row {rows}.")
        return SourceRows(y, scores, counted, groups, index, multi_label)


def _class_index(source: str, classes: Sequence[int], width: int) -> list[int]:
    index = [int(column) for column in classes]
    if not index or len(set(index)) < len(index) or min(index) < 0 or max(index) >= width:
        raise VocabularyError(
            f"{source}: its classes must be distinct columns from 0 to {width - 1}, at least one, found {index}. "
            f"Check `source_classes` against the vocabulary of the model."
        )
    return index


def check_single_label(source: str, rows: SourceRows, chosen: NDArray[np.intp]) -> None:
    """Raise a `SchemaError` unless every row has one positive, or none and a cell that is left out."""
    positives = np.count_nonzero(rows.y, axis=1)
    wrong = positives != 1
    if rows.counted is not None:
        wrong &= (positives > 1) | rows.counted.all(axis=1)
    if wrong.any():
        bad = np.flatnonzero(wrong)
        raise SchemaError(
            f"{source}: a single-label row must have exactly one positive among the source's classes, found "
            f"{positives[bad[0]]} in row {name_rows(chosen[bad])}. Declare the source in `multi_label`, leave the row "
            f"out, or mark its unknown cells in `valid`."
        )


def source_order(
    present: Iterable[Hashable], classes: Mapping[str, Sequence[int]], multi_label: Mapping[str, bool]
) -> list[str]:
    """The sources that have rows, in the order of `classes`; a `VocabularyError` names those it does not know."""
    found = set(present)
    for option, mapping in (("source_classes", classes), ("multi_label", multi_label)):
        missing = sorted(str(name) for name in found.difference(mapping))
        if missing:
            raise VocabularyError(
                f"rows of {', '.join(missing)} were given, but `{option}` lacks them: add them there."
            )
    return [name for name in classes if name in found]


def group_codes(groups: Sequence[Hashable] | None, chosen: NDArray[np.intp]) -> NDArray[np.intp] | None:
    """Group codes of the rows `chosen`; a `SchemaError` names rows without a group."""
    if groups is None:
        return None
    codes, names = codes_of([groups[row] for row in chosen.tolist()])
    if None in names:
        rows = chosen[codes == names.index(None)]
        raise SchemaError(f"`groups` must name a group for every row, found None in row {name_rows(rows)}.")
    return codes
