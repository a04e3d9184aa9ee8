"""The unified label vocabulary V, and each source's subset V_k of it.

`vocabulary.csv` holds one row per source, label scheme and raw value of the publisher: the class it belongs to (the
string of the CLIMB paper's Table 7) and the concept that the class means. V is the tuple of all concepts in the order
in which they first appear. It is append-only: a released prefix of V never changes, so label indices stay valid.
See `docs/vocabulary.md` for what is shared between sources and how to append.

This module needs the standard library only.
"""

import difflib
import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from climb_hf.errors import LabelError, VocabularyError
from climb_hf.vocabulary_file import Row, read_blocks

__all__ = [
    "SourceVocabulary",
    "concept_index",
    "concepts",
    "digest",
    "display_name",
    "schemes",
    "source_vocabulary",
    "sources",
    "string_vocabulary",
]

_PATH = Path(__file__).with_name("vocabulary.csv")
#: Class names that say nothing without their modality.
_GENERIC = frozenset({"abnormal", "benign", "control", "malignant", "no", "none", "normal", "other", "yes"})
_SHOWN = 12  # known values an error message lists before it shortens


@dataclass(frozen=True)
class SourceVocabulary:
    """V_k: the classes of one source under one label scheme, and the raw values they come from.

    Args:
        source (`str`): name of the source.
        scheme (`str`): label scheme; `"climb"` is the default of every source.
        classes (`tuple[str, ...]`): class names in the order of the CLIMB paper's Table 7; empty if a source has none.
        concepts (`tuple[str, ...]`): the same classes, in the same order, as names in V.
        multi_label (`bool`): whether a record may have several classes or none; true for sources without classes.
        modality (`str`): modality, in the words of the paper's Table 6.
        task (`str`): task in one or two words.
        raw_values (`tuple[str, ...]`): all values the publisher uses, in file order; those of no class stand last.
        raw_classes (`tuple[str | None, ...]`): the class of each raw value, `None` for those of no class.
        spellings (`tuple[tuple[str, ...], ...]`): for each raw value, the other spellings that are accepted for it.

    Example:
        >>> from climb_hf.vocabulary import source_vocabulary
        >>> vocabulary = source_vocabulary("ham10000")
        >>> vocabulary.class_of("bkl"), vocabulary.concept_of("bkl")
        ('Other (OTHER)', 'skin.other')
        >>> vocabulary.sorted_concepts(["bcc", "nv"])
        ('skin.nevus', 'skin.basal_cell_carcinoma')
    """

    source: str
    scheme: str
    classes: tuple[str, ...]
    concepts: tuple[str, ...]
    multi_label: bool
    modality: str
    task: str
    raw_values: tuple[str, ...]
    raw_classes: tuple[str | None, ...] = field(repr=False)
    spellings: tuple[tuple[str, ...], ...] = field(repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the caches out, so that equal vocabularies have equal pickles."""
        return {item.name: getattr(self, item.name) for item in fields(self)}

    @functools.cached_property
    def _canonical(self) -> dict[str, str]:
        pairs = zip(self.raw_values, self.spellings, strict=True)
        return {spelling: raw for raw, others in pairs for spelling in (raw, *others)}

    @functools.cached_property
    def _positions(self) -> dict[str, int]:
        """Position of the class of each spelling in `classes`; -1 for values of no class."""
        position: dict[str | None, int] = {name: index for index, name in enumerate(self.classes)}
        of_raw = dict(zip(self.raw_values, self.raw_classes, strict=True))
        return {spelling: position.get(of_raw[raw], -1) for spelling, raw in self._canonical.items()}

    @property
    def indices(self) -> tuple[int, ...]:
        """Positions of the classes in V, in the order of `classes`."""
        return tuple(map(concept_index, self.concepts))

    @property
    def classes_without_values(self) -> tuple[str, ...]:
        """Classes that no raw value can give, such as `Hypertrophy (HYP)` of `cpsc`: a record is never positive."""
        reached = set(self.raw_classes)
        return tuple(name for name in self.classes if name not in reached)

    def knows(self, raw: str) -> bool:
        """Whether a raw value is documented, with or without a class."""
        return raw in self._positions

    def canonical(self, raw: str) -> str:
        """Return the spelling of a raw value that stands in `raw_values`.

        Args:
            raw (`str`): a raw value in any accepted spelling.

        Returns:
            `str`: e.g. `"Other diseases"` for `"Other disease"` of `vindr_cxr`.

        Raises:
            LabelError: the value is not documented.
        """
        self._position(raw)
        return self._canonical[raw]

    def class_of(self, raw: str) -> str | None:
        """Return the class of a raw value.

        Args:
            raw (`str`): a value as the publisher wrote it.

        Returns:
            `str`, or `None` for a documented value that belongs to no class.

        Raises:
            LabelError: the value is not documented; the message lists the known ones.
        """
        position = self._position(raw)
        return self.classes[position] if position >= 0 else None

    def concept_of(self, raw: str) -> str | None:
        """Return the concept of a raw value, `None` for a documented value of no class.

        Raises:
            LabelError: the value is not documented.
        """
        position = self._position(raw)
        return self.concepts[position] if position >= 0 else None

    def sorted_concepts(self, raws: Iterable[str]) -> tuple[str, ...]:
        """Return the concepts of several raw values.

        Args:
            raws (`Iterable[str]`): the raw values of one record.

        Returns:
            `tuple[str, ...]`: each concept once, in the order of `concepts`; values of no class add nothing.

        Raises:
            LabelError: a value is not documented.
        """
        found = {self._position(raw) for raw in raws}
        found.discard(-1)
        return tuple(self.concepts[position] for position in sorted(found))

    def raw_scheme(self) -> tuple[str, ...]:
        """Return the unmerged classes of `labels="raw"`: the raw values in file order, those of no class included."""
        return self.raw_values

    def _position(self, raw: str) -> int:
        position = self._positions.get(raw)
        if position is None:
            shown = ", ".join(map(repr, self.raw_values[:_SHOWN])) or "none"
            rest = len(self.raw_values) - _SHOWN
            more = f", … and {rest} more" if rest > 0 else ""
            near = _near(str(raw), tuple(self._positions))
            raise LabelError(
                f"{self.source}: label value {raw!r} is unknown to the `{self.scheme}` scheme{near}; known values: "
                f"{shown}{more}. Check that the raw data is the documented release; a value that is new there needs a "
                "row in `climb_hf/vocabulary.csv`, see docs/vocabulary.md."
            )
        return position


@dataclass(frozen=True)
class _Vocabulary:
    concepts: tuple[str, ...]
    index: Mapping[str, int]
    display: Mapping[str, str]
    by_source: Mapping[str, Mapping[str, SourceVocabulary]]


def concepts() -> tuple[str, ...]:
    """Return V, the names of all concepts in their fixed order.

    Example:
        >>> from climb_hf import vocabulary
        >>> vocabulary.concepts()[:2]
        ('chest_xray.atelectasis', 'chest_xray.cardiomegaly')
    """
    return _load().concepts


def concept_index(name: str) -> int:
    """Return the position of a concept in V.

    Args:
        name (`str`): a concept such as `"ecg.normal"`.

    Returns:
        `int`: its label index.

    Raises:
        VocabularyError: no such concept; the message offers near names.
    """
    index = _load().index.get(name)
    if index is None:
        raise VocabularyError(
            f"no concept {name!r}{_near(name, concepts())}. `vocabulary.concepts()` lists all of them."
        )
    return index


def display_name(concept: str) -> str:
    """Return a human-readable name of a concept, unique in V.

    The name is the class string of the concept's first row; the modality is added where that string is generic (`Yes`)
    or names other concepts too, and the source where the modality is not enough. It is meant for tables and prompts:
    appended sources may lengthen it. Store concepts, not display names.

    Args:
        concept (`str`): a concept of V.

    Returns:
        `str`: e.g. `"Normal (ECG)"`.

    Raises:
        VocabularyError: no such concept.

    Example:
        >>> from climb_hf import vocabulary
        >>> vocabulary.display_name("skin.melanoma"), vocabulary.display_name("eeg.normal")
        ('Melanoma (MEL)', 'Normal (EEG)')
    """
    concept_index(concept)
    return _load().display[concept]


def sources() -> tuple[str, ...]:
    """Return the names of all sources in the vocabulary, those without classes included, in file order."""
    return tuple(_load().by_source)


def schemes(source: str) -> tuple[str, ...]:
    """Return the label schemes of a source that have rows of their own; `"climb"` is always the first.

    Args:
        source (`str`): name of a source.

    Returns:
        `tuple[str, ...]`: `"raw"` is not among them, it is derived from `"climb"` by `SourceVocabulary.raw_scheme`.

    Raises:
        VocabularyError: no such source.
    """
    by_scheme = _load().by_source.get(source)
    if by_scheme is None:
        raise VocabularyError(
            f"no source {source!r} in the vocabulary{_near(source, sources())}. `vocabulary.sources()` lists all; "
            "a new source needs its rows in `climb_hf/vocabulary.csv`, see docs/vocabulary.md."
        )
    return tuple(by_scheme)


def source_vocabulary(source: str, scheme: str = "climb") -> SourceVocabulary:
    """Return the classes of a source under a label scheme.

    Args:
        source (`str`): name of a source.
        scheme (`str`, *optional*, defaults to `"climb"`): one of `schemes(source)`.

    Returns:
        `SourceVocabulary`: the same object for the same arguments; without classes where the source has none.

    Raises:
        VocabularyError: no such source or scheme; the message offers near names.

    Example:
        >>> from climb_hf.vocabulary import source_vocabulary
        >>> source_vocabulary("vindr_cxr", "findings").concept_of("Infiltration")
        'chest_xray.lung_opacity'
    """
    known = schemes(source)
    if scheme not in known:
        raise VocabularyError(
            f"{source}: no label scheme {scheme!r}{_near(scheme, known)}; use one of {list(known)} "
            '(`labels="raw"` is derived from "climb", see `SourceVocabulary.raw_scheme`).'
        )
    return _load().by_source[source][scheme]


def string_vocabulary(
    sources: Iterable[str], schemes: Mapping[str, str] | None = None
) -> tuple[tuple[str, ...], dict[tuple[str, str], str]]:
    """Merge the classes of several sources by their lower-cased strings, as the CLIMB paper's training code did.

    There the output units are the sorted set of all lower-cased answers, regardless of modality: `normal` of an X-ray
    and `normal` of an ultrasound video are one unit (repository DDVD233/InternVL, `test_classifier.py`; it reads the
    strings of its question files, here they are those of Table 7). The default of this package is to share concepts.

    Args:
        sources (`Iterable[str]`): names of the sources of the mixture.
        schemes (`Mapping[str, str]`, *optional*): label scheme by source, `"climb"` for those not named.

    Returns:
        The sorted units, and the unit of every (source, concept).

    Raises:
        VocabularyError: no such source or scheme.

    Example:
        >>> from climb_hf.vocabulary import string_vocabulary
        >>> units, unit_of = string_vocabulary(["tuab", "busi"])
        >>> units
        ('abnormal', 'benign', 'malignant', 'normal')
        >>> unit_of["tuab", "eeg.normal"] == unit_of["busi", "breast_ultrasound.normal"]
        True
    """
    unit_of = {}
    for source in sources:
        vocabulary = source_vocabulary(source, (schemes or {}).get(source, "climb"))
        for concept, name in zip(vocabulary.concepts, vocabulary.classes, strict=True):
            unit_of[source, concept] = name.lower()
    return tuple(sorted(set(unit_of.values()))), unit_of


@functools.cache
def digest() -> str:
    """Return the SHA-256 of the vocabulary file as hexadecimal text; part of the cache fingerprint of every build."""
    return hashlib.sha256(_PATH.read_bytes()).hexdigest()


@functools.cache
def _load() -> _Vocabulary:
    return _build(read_blocks(_PATH.read_text(encoding="utf-8")))


def _build(blocks: Mapping[tuple[str, str], Sequence[Row]]) -> _Vocabulary:
    first: dict[str, Row] = {}
    by_source: dict[str, dict[str, SourceVocabulary]] = {}
    for (source, scheme), rows in blocks.items():
        classes = {row.class_name: row.concept for row in rows if row.class_name}
        known = [row for row in rows if row.spellings]
        by_source.setdefault(source, {})[scheme] = SourceVocabulary(
            source=source,
            scheme=scheme,
            classes=tuple(classes),
            concepts=tuple(classes.values()),
            multi_label=rows[0].multi_label == "true",
            modality=rows[0].modality,
            task=rows[0].task,
            raw_values=tuple(row.spellings[0] for row in known),
            raw_classes=tuple(row.class_name or None for row in known),
            spellings=tuple(row.spellings[1:] for row in known),
        )
        for row in rows:
            if row.concept:
                first.setdefault(row.concept, row)
    return _Vocabulary(
        concepts=tuple(first),
        index={concept: index for index, concept in enumerate(first)},
        display=_display_names(first),
        by_source=by_source,
    )


def _display_names(first: Mapping[str, Row]) -> dict[str, str]:
    """Name each concept by the shortest of class, class (modality), class (modality, source) that is its own."""

    def forms(row: Row) -> tuple[str, ...]:
        with_modality = f"{row.class_name} ({row.modality})"
        with_source = f"{row.class_name} ({row.modality}, {row.source})"
        generic = row.class_name.lower() in _GENERIC
        return (with_modality, with_source) if generic else (row.class_name, with_modality, with_source)

    count = Counter(form.lower() for row in first.values() for form in {row.class_name, *forms(row)})
    return {
        concept: next((form for form in forms(row) if count[form.lower()] == 1), f"{row.class_name} ({concept})")
        for concept, row in first.items()
    }


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    return f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""
