"""Checks of the index and of headers: classes that a split lacks, and values that no patient or machine has."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from climb_hf.auditing.collection import Collection
from climb_hf.auditing.prints import Prints
from climb_hf.auditing.result import Finding
from climb_hf.splits import SPLITS

__all__ = ["check_classes", "check_headers", "check_values"]

#: Years. The oldest person whose age is documented reached 122.
AGES = (0.0, 122.0)
#: mm between neighbouring pixels or slices: from a slide scanner to the thickest slices in use.
SPACINGS = (1e-4, 20.0)
#: Hz, from the slowest recorders of a kind of signal to the fastest.
SAMPLING_RATES: Mapping[str, tuple[float, float]] = {"ECG": (50, 5000), "EEG": (50, 30000), "IMU": (5, 8000)}
ANY_RATE = (0.1, 100_000.0)
SEXES = (None, "female", "male")
#: Families whose groups are studies or articles, not people.
IMPERSONAL = ("expression", "text-image", "graph")
_SHOWN = 3


def check_classes(collection: Collection) -> Iterator[Finding]:
    """Find classes that stand in one split of a source but not in another, and classes without any record.

    A metric of a class that its test split lacks is undefined, and one that the train split lacks is never learned.

    Args:
        collection (`Collection`): the records.

    Yields:
        `Finding`.
    """
    counts: defaultdict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    unmapped: defaultdict[int, list[int]] = defaultdict(list)
    for row in range(len(collection)):
        labels = collection.labels(row)
        if labels is None:
            unmapped[int(collection.part[row])].append(row)
        else:
            counts[collection.combination(row)].update(labels)
    for number, part in enumerate(collection.parts):
        name, vocabulary = part.source.name, part.source.vocabulary(part.options.labels)
        splits = [split for split in range(len(SPLITS)) if (number, split) in counts]
        possible = [
            (title, concept)
            for title, concept in zip(vocabulary.classes, vocabulary.concepts, strict=True)
            if title not in vocabulary.classes_without_values
        ]
        nowhere = [title for title, concept in possible if not any(counts[number, s][concept] for s in splits)]
        if nowhere and splits:
            text = f"no record has the class {_listed(nowhere)}; expected in a partial copy only"
            yield Finding("classes", "note", f"{name}: all splits", 0, text)
        for split in splits:
            lacking = [title for title, concept in possible if not counts[number, split][concept]]
            lacking = [title for title in lacking if title not in nowhere]
            if lacking:
                text = f"the split lacks the class {_listed(lacking)}, which other splits have"
                yield Finding("classes", "warning", f"{name}: {SPLITS[split]}", 0, text)
        if rows := unmapped.get(number):
            ids = tuple(collection.records[row].id for row in rows)
            text = f"labels that the source's classes do not know; the first is record `{ids[0]}`"
            yield Finding("labels", "warning", f"{name}: all splits", len(ids), text, ids)


def check_values(collection: Collection) -> Iterator[Finding]:
    """Find ages, sexes and spacings that cannot be, and patients of two sexes, as far as the tables say.

    Args:
        collection (`Collection`): the records.

    Yields:
        `Finding`.
    """
    found: defaultdict[tuple[int, str], list[tuple[int, str]]] = defaultdict(list)
    sexes: dict[tuple[int, str], str] = {}
    impersonal = {number for number, part in enumerate(collection.parts) if part.source.family in IMPERSONAL}
    for row, (part, record) in enumerate(zip(collection.part.tolist(), collection.records, strict=True)):
        if record.age is not None and not _is_within(record.age, AGES):
            found[part, f"age outside {AGES[0]:g} to {AGES[1]:g} years"].append((row, f"{record.age:g}"))
        if record.sex not in SEXES:
            found[part, "sex other than female, male or unknown"].append((row, repr(record.sex)))
        elif (
            record.sex and sexes.setdefault((part, record.group), record.sex) != record.sex and part not in impersonal
        ):
            found[part, "patient with two sexes"].append((row, f"patient `{record.group}`"))
        for name, value in (record.metadata or {}).items():
            limits = _limits_of(name, collection.parts[part].source.modality)
            for number in _numbers(value) if limits else ():
                if not _is_within(number, limits or ANY_RATE):
                    found[part, f"`{name}` outside {_range(limits or ANY_RATE)}"].append((row, f"{number:g}"))
                    break
    for (part, problem), rows in found.items():
        yield _value_finding(collection, part, problem, rows)


def check_headers(collection: Collection, prints: Sequence[Prints]) -> Iterator[Finding]:
    """Find sampling rates and spacings that cannot be, among the files that were decoded.

    Args:
        collection (`Collection`): the records.
        prints (`Sequence[Prints]`): with the facts read beside them.

    Yields:
        `Finding`.
    """
    found: defaultdict[tuple[int, str], list[tuple[int, str]]] = defaultdict(list)
    for part_prints in prints:
        facts = part_prints.vectors.facts()
        for part in np.unique(collection.part[part_prints.rows]).tolist():
            modality = collection.parts[part].source.modality
            is_signal = part_prints.kind == "signal"
            limits = SAMPLING_RATES.get(modality, ANY_RATE) if is_signal else SPACINGS
            values = facts[:, :1] if is_signal else facts
            wrong = ~((values >= limits[0]) & (values <= limits[1])) & (is_signal | ~np.isnan(values))
            chosen = np.flatnonzero(wrong.any(axis=1) & (collection.part[part_prints.rows] == part))
            what = "sampling rate" if is_signal else "pixel spacing"
            for place in chosen.tolist():
                value = ", ".join(f"{number:g}" for number in values[place])
                key = (part, f"{what} outside {_range(limits)} {'Hz' if is_signal else 'mm'}")
                found[key].append((int(part_prints.rows[place]), value))
    for (part, problem), rows in found.items():
        yield _value_finding(collection, part, problem, rows)


def _value_finding(collection: Collection, part: int, problem: str, rows: list[tuple[int, str]]) -> Finding:
    ids = tuple(collection.records[row].id for row, _ in rows)
    examples = ", ".join(f"`{collection.records[row].id}` ({value})" for row, value in rows[:_SHOWN])
    where = f"{collection.parts[part].source.name}: all splits"
    return Finding("values", "warning", where, len(ids), f"{problem}: {examples}", ids)


def _limits_of(name: str, modality: str) -> tuple[float, float] | None:
    lowered = name.lower()
    if "spacing" in lowered or "slice_thickness" in lowered:
        return SPACINGS
    if "sampling_rate" in lowered or "sampling_frequency" in lowered:
        return SAMPLING_RATES.get(modality, ANY_RATE)
    return None


def _numbers(value: Any) -> list[float]:  # noqa: ANN401 - any JSON value
    values = value if isinstance(value, list | tuple) else [value]
    return [float(item) for item in values if isinstance(item, int | float) and not isinstance(item, bool)]


def _is_within(value: float, limits: tuple[float, float]) -> bool:
    return math.isfinite(value) and limits[0] <= value <= limits[1]


def _range(limits: tuple[float, float]) -> str:
    return f"{limits[0]:g} to {limits[1]:,g}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
