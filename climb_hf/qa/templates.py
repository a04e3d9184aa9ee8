"""The templates of CLIMB-QA: what a question of each source says, beside the source's facts and checked against them.

`templates.yaml` holds one entry per source of the CLIMB benchmark. A source of another package declares the same keys
as its attribute `qa_template`; a source with neither gets a generic template from its title, modality and classes.
Importing this module reads and checks all of them: a template whose choices are not the classes V_k of its source is a
`SchemaError` at once, never a wrong question later.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from climb_hf import vocabulary
from climb_hf.errors import OptionError, SchemaError
from climb_hf.qa.words import normalised
from climb_hf.source import Source
from climb_hf.vocabulary import SourceVocabulary, source_vocabulary

__all__ = [
    "NONE_OF_THE_ABOVE",
    "TEMPLATE_FILE",
    "Bin",
    "ChoiceSet",
    "Template",
    "choice_set",
    "frames_of",
    "template_of",
]

#: The choice that a question of a multi-label source ends with: the answer where no class is positive.
NONE_OF_THE_ABOVE = "None of the above"

#: The templates of the library.
TEMPLATE_FILE = Path(__file__).with_name("templates.yaml")
_KEYS = frozenset(
    {"input", "tasks", "choices", "synonyms", "absence", "exact", "schemes", "bins", "fields", "media", "refused"}
)
_WORDS = ("synonyms", "absence", "exact")
_MIN_TASKS = 3


@dataclass(frozen=True)
class Bin:
    """A choice that is a range of a regression target.

    Args:
        text (`str`): the choice.
        up_to (`float`, *optional*): largest value that belongs to it.
        below (`float`, *optional*): bound that values stay below; without either every larger value belongs to it.
    """

    text: str
    up_to: float | None = None
    below: float | None = None

    def holds(self, value: float) -> bool:
        """Whether a value that no earlier range holds belongs here."""
        return value <= self.up_to if self.up_to is not None else self.below is None or value < self.below


@dataclass(frozen=True)
class Template:
    """What questions of a source are made of; the keys of `templates.yaml`.

    Args:
        source (`str`): name of the source.
        input (`str`): noun phrase for what is shown.
        tasks (`tuple[str, ...]`): the question in several wordings; the first is the default.
        choices (`Mapping[str, str]`): text of the choice by class of the default label scheme.
        synonyms, absence, exact (`Mapping[str, Sequence[str]]`): words an answer may use, by class.
        schemes (`Mapping[str, Mapping]`): keys that differ under a label scheme.
        target (`str`, *optional*): regression target whose ranges are the choices.
        bins (`tuple[Bin, ...]`): the ranges, in ascending order.
        fields (`tuple[Mapping, ...]`): facts of the record that are written into the question.
        has_media (`bool`, *optional*, defaults to `True`): whether pictures belong to the question.
        refused (`str`, *optional*): why the source has no questions.
        is_generic (`bool`, *optional*, defaults to `False`): whether it was made from the facts of the source.
    """

    source: str
    input: str = ""
    tasks: tuple[str, ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)
    absence: Mapping[str, Sequence[str]] = field(default_factory=dict)
    exact: Mapping[str, Sequence[str]] = field(default_factory=dict)
    schemes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    target: str | None = None
    bins: tuple[Bin, ...] = ()
    fields: tuple[Mapping[str, str], ...] = ()
    has_media: bool = True
    refused: str | None = None
    is_generic: bool = False

    def tasks_of(self, scheme: str) -> tuple[str, ...]:
        """Return the wordings of the question under a label scheme."""
        return tuple(self.schemes.get(scheme, {}).get("tasks", self.tasks))

    def words_of(self, scheme: str, key: str) -> Mapping[str, Sequence[str]]:
        """Return `choices`, `synonyms`, `absence` or `exact` under a label scheme."""
        own: Mapping[str, Sequence[str]] = self.schemes.get(scheme, {}).get(key) or getattr(self, key)
        return own


@dataclass(frozen=True)
class ChoiceSet:
    """The choices of the questions of one source under one label scheme.

    Args:
        source (`str`): name of the source.
        scheme (`str`): label scheme.
        texts (`tuple[str, ...]`): the choices in the order of V_k, `NONE_OF_THE_ABOVE` not among them.
        concepts (`tuple[str | None, ...]`): concept of each choice; `None` for ranges of a target.
        multi_label (`bool`): whether several choices, or none, may be right.
        words (`Mapping[str, Mapping[str, tuple[str, ...]]]`): `synonyms`, `absence` and `exact`, by choice.
    """

    source: str
    scheme: str
    texts: tuple[str, ...]
    concepts: tuple[str | None, ...]
    multi_label: bool
    words: Mapping[str, Mapping[str, tuple[str, ...]]] = field(repr=False, default_factory=dict)

    @property
    def shown(self) -> tuple[str, ...]:
        """The choices as a question shows them: multi-label sources end with `NONE_OF_THE_ABOVE`."""
        return (*self.texts, NONE_OF_THE_ABOVE) if self.multi_label else self.texts


def usable_classes(scheme: SourceVocabulary) -> list[tuple[str, str]]:
    """Return (class, concept) of the classes that a value of the publisher can give, in order: V_k."""
    never = set(scheme.classes_without_values)
    return [pair for pair in zip(scheme.classes, scheme.concepts, strict=True) if pair[0] not in never]


def parse_template(name: str, entry: Mapping[str, Any]) -> Template:
    """Check an entry against the vocabulary and return the template.

    Args:
        name (`str`): the source.
        entry (`Mapping`): the keys of `templates.yaml`.

    Returns:
        `Template`.

    Raises:
        SchemaError: an unknown key, too few wordings, or choices that are not the classes of the source.

    Example:
        >>> choices = {"No": "No tumor", "Yes": "Tumor"}
        >>> parse_template("brain_mri", {"input": "a slice", "tasks": ["a?", "b?", "c?"], "choices": choices}).choices
        {'No': 'No tumor', 'Yes': 'Tumor'}
    """
    where = f"question template of `{name}`"
    if not isinstance(entry, Mapping):
        raise SchemaError(f"{where}: expected a mapping of {sorted(_KEYS)}, found {type(entry).__name__}.")
    if unknown := sorted(set(entry) - _KEYS):
        raise SchemaError(f"{where}: unknown keys {unknown}; expected some of {sorted(_KEYS)}.")
    if entry.get("refused"):
        return Template(name, refused=str(entry["refused"]).strip())
    tasks = tuple(map(str, entry.get("tasks") or ()))
    if not entry.get("input") or len(set(tasks)) < _MIN_TASKS:
        raise SchemaError(
            f"{where}: it needs `input` and at least {_MIN_TASKS} different `tasks`, found {len(tasks)}."
        )
    given = entry.get("bins") or {}
    bins = tuple(Bin(**choice) for choice in given.get("choices", ()))
    template = Template(
        source=name,
        input=str(entry["input"]),
        tasks=tasks,
        choices=dict(entry.get("choices") or {}),
        schemes=dict(entry.get("schemes") or {}),
        target=given.get("target"),
        bins=bins,
        fields=tuple(entry.get("fields") or ()),
        has_media=entry.get("media", "any") != "none",
        synonyms=dict(entry.get("synonyms") or {}),
        absence=dict(entry.get("absence") or {}),
        exact=dict(entry.get("exact") or {}),
    )
    _check_choices(where, template)
    return template


def _check_choices(where: str, template: Template) -> None:
    for scheme in ("climb", *template.schemes):
        classes = [text for text, _ in usable_classes(source_vocabulary(template.source, scheme))]
        if template.bins:
            if classes or template.choices:
                raise SchemaError(f"{where}: `bins` are for a source without classes, which has {classes}.")
            known = [choice.text for choice in template.bins]
        else:
            known = list(template.words_of(scheme, "choices"))
            if scheme == "climb" or "choices" in template.schemes[scheme]:
                _compare(where, known, classes, scheme)
        texts = [normalised(str(text)) for text in (template.words_of(scheme, "choices").values() or known)]
        if len(set(texts)) < len(texts) or normalised(NONE_OF_THE_ABOVE) in texts or not all(texts):
            raise SchemaError(f"{where}: the texts of the choices must differ and not be empty, found {texts}.")
        for key in _WORDS:
            _check_words(f"{where}, `{key}`", template.words_of(scheme, key), known)


def _compare(where: str, known: list[str], classes: list[str], scheme: str) -> None:
    lacking = [name for name in classes if name not in known]
    strange = [name for name in known if name not in classes and scheme == "climb"]  # others may share a longer list
    problem = f"lacks the classes {lacking}" if lacking else f"names {strange}, which are no classes"
    if lacking or strange:
        raise SchemaError(f"{where}: `choices` {problem} of label scheme `{scheme}`; expected exactly {classes}.")


def _check_words(where: str, words: Mapping[str, Sequence[str]], known: list[str]) -> None:
    owner: dict[str, str] = {}
    for name, listed in words.items():
        if name not in known:
            raise SchemaError(f"{where}: {name!r} is no class; expected some of {known}.")
        for word in listed or ():
            if not isinstance(word, str) or not normalised(word):
                raise SchemaError(
                    f"{where}: {word!r} of {name!r} must be words; put quotes around yes, no and numbers."
                )
            if owner.setdefault(normalised(word), name) != name:
                raise SchemaError(f"{where}: {word!r} stands for both {owner[normalised(word)]!r} and {name!r}.")


@functools.cache
def _load() -> tuple[dict[str, tuple[str, ...]], dict[str, Template]]:
    content = yaml.safe_load(TEMPLATE_FILE.read_text(encoding="utf-8"))
    frames = {key: tuple(map(str, lines)) for key, lines in content.pop("_frames").items()}
    return frames, {name: parse_template(name, entry) for name, entry in content.items()}


def frames_of(key: str) -> tuple[str, ...]:
    """Return the wordings that all sources share: `"contexts"`, `"text_contexts"`, `"single"` or `"multiple"`."""
    return _load()[0][key]


def template_of(source: Source) -> Template:
    """Return the template of a source: its own, that of the library, or a generic one from its facts.

    Args:
        source (`Source`): the source.

    Returns:
        `Template`; one with `refused` where the source has no questions.

    Raises:
        SchemaError: the `qa_template` that the source declares does not fit its classes.

    Example:
        >>> import climb_hf
        >>> template_of(climb_hf.get_source("aptos2019")).choices["Mild"]
        'Mild DR'
        >>> template_of(climb_hf.get_source("abide")).refused
        'the only input is a graph, which a vision-language model does not read'
    """
    declared = getattr(source, "qa_template", None)
    if declared is not None:
        return parse_template(source.name, declared)
    return _load()[1].get(source.name) or _generic(source.name, source.family, source.modality, source.title)


@functools.cache
def _generic(name: str, family: str, modality: str, title: str) -> Template:
    classes = usable_classes(source_vocabulary(name))
    if family not in ("image", "frames"):
        return Template(name, refused=f"a source of the family `{family}` has no pictures to ask about")
    if not classes:
        return Template(name, refused="the source has no classes to choose from")
    shown = "frames or slices" if family == "frames" else "one picture"
    return Template(
        source=name,
        input=f"{shown} of a medical data set (modality: {modality}; {title})",
        tasks=("Which class does it belong to?", "Classify what is shown.", "Which of these does it show?"),
        choices={text: _without_commas(text) for text, _ in classes},
        is_generic=True,
    )


def _without_commas(text: str) -> str:
    """Make a class name fit a list of choices, in which commas separate: parts are joined by `or`, asides dropped."""
    return re.sub(r"\s*\([^()]*,[^()]*\)", "", text).replace(", ", " or ")


def choice_set(source: Source, scheme: str = "climb") -> ChoiceSet:
    """Return the choices of a source's questions.

    Args:
        source (`Source`): the source.
        scheme (`str`, *optional*, defaults to `"climb"`): label scheme; `"raw"` has codes for classes and is refused.

    Returns:
        `ChoiceSet`.

    Raises:
        OptionError: the source has no questions, or the label scheme has no named classes.

    Example:
        >>> import climb_hf
        >>> choice_set(climb_hf.get_source("messidor2")).texts
        ('No DR', 'Mild DR', 'Moderate DR', 'Severe DR', 'Proliferative DR')
    """
    template = template_of(source)
    if template.refused:
        raise OptionError(f"{source.name}: there are no questions for this source: {template.refused}.")
    if scheme == "raw":
        raise OptionError(
            f"{source.name}: `labels='raw'` has the publisher's codes for classes; ask with another one."
        )
    return _choice_set(template.source, scheme) if source.name in _load()[1] else _choices(template, scheme)


@functools.cache
def _choice_set(name: str, scheme: str) -> ChoiceSet:
    return _choices(_load()[1][name], scheme)


def _choices(template: Template, scheme: str) -> ChoiceSet:
    of_scheme = source_vocabulary(template.source, scheme)
    pairs: list[tuple[str, str | None]] = [*usable_classes(of_scheme)]
    pairs = [(choice.text, None) for choice in template.bins] if template.bins else pairs
    by_class = template.words_of(scheme, "choices")
    by_concept = dict(zip(of_scheme.concepts, of_scheme.classes, strict=True))
    text_of = {name: str(by_class.get(name, name)) for name, _ in pairs}
    words: dict[str, dict[str, tuple[str, ...]]] = {key: {} for key in _WORDS}
    for key in _WORDS:
        for name, listed in template.words_of(scheme, key).items():
            if name in text_of:
                words[key][text_of[name]] = tuple(listed or ())
    for name, concept in pairs:
        known = (name, by_concept.get(concept, name) if concept else name, *_vocabulary_words(concept))
        words["synonyms"][text_of[name]] = (*words["synonyms"].get(text_of[name], ()), *known)
    return ChoiceSet(
        source=template.source,
        scheme=scheme,
        texts=tuple(text_of.values()),
        concepts=tuple(concept for _, concept in pairs),
        multi_label=of_scheme.multi_label and not template.bins,
        words=words,
    )


def _vocabulary_words(concept: str | None) -> tuple[str, ...]:
    """What any source calls a concept: class names and the publishers' own words, without codes."""
    return _words_by_concept().get(concept, ()) if concept else ()


@functools.cache
def _words_by_concept() -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for name in vocabulary.sources():
        for scheme in vocabulary.schemes(name):
            entry = source_vocabulary(name, scheme)
            concept_of = dict(zip(entry.classes, entry.concepts, strict=True))
            for raw, of_class, others in zip(entry.raw_values, entry.raw_classes, entry.spellings, strict=True):
                if of_class is not None:
                    usable = [word for word in (of_class, raw, *others) if _is_word(word)]
                    found.setdefault(concept_of[of_class], {}).update(dict.fromkeys(usable))
    return {concept: tuple(words) for concept, words in found.items()}


def _is_word(raw: str) -> bool:
    return sum(map(str.isalpha, raw)) > 1 and "=" not in raw and raw.lower() not in ("yes", "no", "true", "false")


_load()
