"""From the values a record carries to labels: one place, for every source and label scheme."""

from collections.abc import Iterable

from climb_hf import vocabulary
from climb_hf.errors import LabelError
from climb_hf.source import Record, Source

__all__ = ["LabelMapper"]


class LabelMapper:
    """Maps the label values of a source's records to ClassLabel indices.

    Args:
        source (`Source`): the source.
        scheme (`str`, *optional*, defaults to `"climb"`): `"raw"` keeps the publisher's values unmerged, with their
            own names; every other scheme maps them to concepts of the unified vocabulary.

    Attributes:
        names (`tuple[str, ...]`): names of the ClassLabel.

    Raises:
        LabelError: from `labels`, for a value the source's facts do not know.
    """

    def __init__(self, source: Source, scheme: str = "climb") -> None:
        self._source = source
        self._vocabulary = source.vocabulary(scheme)
        self._is_raw = scheme == "raw"
        self.names = self._vocabulary.raw_scheme() if self._is_raw else vocabulary.concepts()
        self._index = {name: index for index, name in enumerate(self.names)}

    def labels(self, record: Record) -> tuple[list[int], list[int]]:
        """Return the positive and the uncertain labels of a record.

        Args:
            record (`Record`): its `label_values`, else its `raw_labels`, are mapped.

        Returns:
            Two lists of indices into `names`, each in the order of the source's classes without repetition.

        Raises:
            LabelError: an unknown value; a single-label record without exactly one class.
        """
        values = record.raw_labels if record.label_values is None else record.label_values
        positive = self._map(values)
        if not self._vocabulary.multi_label and not self._is_raw and len(positive) != 1:
            raise LabelError(
                f"{self._source.name}: record `{record.id}` needs exactly one class, its values {list(values)} give "
                f"{len(positive)}; expected one of {list(self._vocabulary.classes)}."
            )
        uncertain = [index for index in self._map(record.uncertain) if index not in positive]
        return positive, uncertain

    def _map(self, values: Iterable[str]) -> list[int]:
        if self._is_raw:
            return sorted({self._index[self._vocabulary.canonical(value)] for value in values})
        return [self._index[concept] for concept in self._vocabulary.sorted_concepts(values)]
