"""Finds what a text names, in one pass from left to right: the longest phrase first, and whether it is denied."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from climb_hf import vocabulary
from climb_hf.qa import cues
from climb_hf.qa.templates import NONE_OF_THE_ABOVE
from climb_hf.qa.words import canonical, forms_of, tokens_of

__all__ = ["LETTER_BASE", "Matcher", "Scan"]

#: A letter that stands for a choice is put into the text as the character with this code plus the choice's position.
LETTER_BASE = 0xE000
_END = ""  # key of a trie node that holds what ends there; no word is empty
_OUTSIDE, _DENY, _DENY_NEXT, _SKIP, _DENY_BELOW = -1, -2, -3, -4, -5
_ABSENCE = -100  # minus the position of the choice that the denial means
_NONE_WORDS = (
    "none", "none of these", "none of them", "none of those", "none apply", "none applies", "none of the options",
    "none of the listed", "none of the findings", "nothing", "no option applies", "no class applies", "no findings",
    "none of the above options", "none of the given options", "none are present", "none is present", "none present",
)  # fmt: skip
#: Words too common to stand for a class of another source.
_COMMON = frozenset(
    {"normal", "abnormal", "other", "benign", "malignant", "control", "yes", "no", "none", "no finding", "lesion"}
)
_INNER_MARKS = frozenset({",", "(", ")", "/", "&"})
#: Before a comma these are no part of a phrase: "No, PE is present".
_DENYING = frozenset({"no", "not", "without", "none"})
_Trie = dict[str, Any]


@dataclass(slots=True)
class Scan:
    """What a text names.

    Args:
        affirmed (`list[int]`): positions of the choices named, in order of appearance, each once.
        denied (`set[int]`): positions of choices that are only denied.
        outside (`list[str]`): phrases named that are classes of other sources.
        decisive (`set[int]`): choices that a sentence names and says nothing else.
        tail (`list[str]`): tokens behind the last phrase named.
    """

    affirmed: list[int] = field(default_factory=list)
    denied: set[int] = field(default_factory=set)
    outside: list[str] = field(default_factory=list)
    decisive: set[int] = field(default_factory=set)
    tail: list[str] = field(default_factory=list)


class Matcher:
    """The phrases of one set of choices, compiled once.

    Args:
        texts (`Sequence[str]`): the choices, in any fixed order.
        words (`Mapping[str, Mapping[str, Sequence[str]]]`): `synonyms`, `absence` and `exact` by choice.
        outside (`Iterable[str]`): classes of other sources, which are answers outside these choices.
    """

    def __init__(
        self,
        texts: Sequence[str],
        words: Mapping[str, Mapping[str, Sequence[str]]],
        outside: Iterable[str] = (),
    ) -> None:
        self.texts = tuple(texts)
        self.none = self.texts.index(NONE_OF_THE_ABOVE) if NONE_OF_THE_ABOVE in self.texts else -1
        claims: dict[tuple[str, ...], int] = {}
        self._claim_texts(claims)
        own = set(claims)
        shared: set[tuple[str, ...]] = set()
        for position, text in enumerate(self.texts):
            for word in (*words.get("synonyms", {}).get(text, ()), *(_NONE_WORDS if position == self.none else ())):
                for form in forms_of(word):
                    if form in claims and claims[form] != position and form not in own:
                        shared.add(form)
                    claims.setdefault(form, position)
        for form in shared:
            del claims[form]
        whole = {
            " ".join(form): position
            for position, text in enumerate(self.texts)
            for word in words.get("exact", {}).get(text, ())
            for form in forms_of(word)
        }
        if self.none >= 0:
            whole.setdefault("none", self.none)
        for form in [
            form for form in claims if len(form) == 1 and form[0] in ("no", "yes", "none", "other", "nothing")
        ]:
            whole.setdefault(form[0], claims.pop(form))
        #: Position of the choice that a whole answer stands for, by its tokens.
        self.exact = {**whole, **{" ".join(form): position for form, position in claims.items()}}
        self.sorted_forms = sorted(self.exact)
        self._trie: _Trie = {}
        self._add_others(claims, outside)
        for position, text in enumerate(self.texts):
            for word in words.get("absence", {}).get(text, ()):
                self._add(tuple(tokens_of(word)), _ABSENCE - position, claims)
        self._add_cues()
        for form, position in claims.items():
            self._add(form, position)

    def _claim_texts(self, claims: dict[tuple[str, ...], int]) -> None:
        """Let each choice claim its own text, whole texts before their parts."""
        forms = [forms_of(text) for text in self.texts]
        for position, own in enumerate(forms):
            claims.setdefault(own[0], position)
        for position, own in enumerate(forms):
            for form in own[1:]:
                if sum(form in others for others in forms) == 1:
                    claims.setdefault(form, position)

    def _add(self, form: tuple[str, ...], value: int, claims: Mapping[tuple[str, ...], int] | None = None) -> None:
        if not form or (claims is not None and form in claims):
            return
        node = self._trie
        for word in form:
            node = node.setdefault(word, {})
        node[_END] = value

    def _add_cues(self) -> None:
        for phrase in cues.DENIERS:
            kind = _DENY_NEXT if phrase in cues.NEXT_ONLY else _DENY
            self._add(tuple(map(canonical, phrase.split())), kind)
        for phrase in cues.HEADINGS:
            self._add((*map(canonical, phrase.split()), ":"), _DENY_BELOW)
        for phrase in cues.NOT_DENIALS:
            self._add(tuple(map(canonical, phrase.split())), _SKIP)

    def _add_others(self, claims: Mapping[tuple[str, ...], int], outside: Iterable[str]) -> None:
        """Let classes of other sources shadow our phrases within them: "Viral Pneumonia" names no "Pneumonia"."""
        for name in outside:
            for form in forms_of(name):
                if " ".join(form) not in _COMMON:
                    self._add(form, _OUTSIDE, claims)
        for form in _class_forms():
            holds_ours = any(form[i:j] in claims for i in range(len(form)) for j in range(i + 1, len(form) + 1))
            if len(form) > 1 and holds_ours and form[0] not in ("no", "not", "without"):
                self._add(form, _OUTSIDE, claims)

    def scan(self, tokens: Sequence[str]) -> Scan:
        """Walk over the tokens once and return what they name.

        Args:
            tokens (`Sequence[str]`): of `climb_hf.qa.words.tokens_of`, letters of choices put in as characters.

        Returns:
            `Scan`.
        """
        return _Walk(self, tokens).run()

    def longest(self, tokens: Sequence[str], start: int) -> tuple[int, int]:
        """Return the end of the longest phrase that begins at `start`, and what it stands for; (start, 0) for none."""
        node, end, value = self._trie, start, 0
        for position in range(start, len(tokens)):
            word = tokens[position]
            if word in _INNER_MARKS and position > start + (tokens[start] in _DENYING):
                continue  # "Other lesion (OTHER)", "myelocytes, metamyelocytes": marks within a phrase do not count
            if (
                word in (":", "=", "is")
                and position > start
                and "".join(tokens[position + 1 : position + 2]).isdigit()
            ):
                continue  # "Grade: 2", "the category is 4"
            node = node.get(word)  # type: ignore[assignment]
            if node is None:
                break
            if _END in node:
                end, value = position + 1, node[_END]
        return end, value


class _Walk:
    """One pass over the tokens of one text."""

    __slots__ = (
        "_affirmed",
        "_after_comma",
        "_bare",
        "_denied",
        "_group",
        "_named",
        "_previous",
        "_scope",
        "_segment",
        "m",
        "out",
        "t",
    )  # fmt: skip

    def __init__(self, matcher: Matcher, tokens: Sequence[str]) -> None:
        self.m, self.t, self.out = matcher, tokens, Scan()
        self._scope = 0  # 0: none, 1: a list is denied, 2: only the next thing is, 3: what stands below a heading is
        self._named = False  # whether the denial in force has denied something
        self._segment: set[int] = set()  # choices that this sentence affirms
        self._bare = True  # whether this sentence says nothing else
        self._affirmed: dict[int, None] = {}
        self._denied: set[int] = set()
        self._group: list[int] = []  # things named just before, linked by "and" or commas
        self._previous = -1

    def run(self) -> Scan:
        tokens, longest, trie = self.t, self.m.longest, self.m._trie
        i, n, last = 0, len(tokens), 0
        while i < n:
            word = tokens[i]
            code = ord(word) - LETTER_BASE if len(word) == 1 else -1
            if code >= 0:
                text = self._text_behind(i, code)
                i = last = text or self._mention(i, i + 1, code)
                continue
            if word in trie:
                end, value = longest(tokens, i)
                if end > i:
                    if value >= 0 and word in _DENYING:
                        if self._scope and tokens[i - 1] in cues.LINKS:
                            self._scope, self._named = 0, False  # "no mass effect, no hemorrhage"
                        inner, other = longest(tokens, i + 1)
                        if inner > end and other >= 0 and other != value:
                            end, value = i + 1, _DENY  # "no nodule of 3 mm or more" is not "no nodule"
                    if value <= _DENY and value > _ABSENCE:
                        self._deny(i, end, value)
                        i = end
                    else:
                        start, i = i, self._mention(i, end, value)
                        last = i = self._other_numbers(start, i) if i == end and value >= 0 else i
                    continue
            if word == "?":
                self._bare = False  # what is asked is not decided
            if self._scope == 3 and self._goes_on(i):
                pass
            elif word in cues.HARD_STOPS or (self._named and word in cues.SOFT_STOPS):
                self._scope, self._named = 0, False
                if word in ".!?\n;":
                    self._close()
            if word not in cues.FILLERS:
                self._bare = False
            i += 1
        self._close()
        out = self.out
        out.affirmed = list(self._affirmed)
        out.denied = self._denied.difference(self._affirmed)
        out.tail = list(tokens[last:])
        return out

    def _close(self) -> None:
        if self._bare and len(self._segment) == 1:
            self.out.decisive |= self._segment
        self._segment, self._bare = set(), True

    def _deny(self, start: int, end: int, value: int) -> None:
        follows = self.t[end] if end < len(self.t) else ""
        if value == _SKIP or (self.t[start] == "no" and end == start + 1 and follows in (",", ".", ":", "")):
            return  # "No, it is B": an interjection
        self._scope, self._named = {_DENY_NEXT: 2, _DENY_BELOW: 3}.get(value, 1), False

    def _mention(self, start: int, end: int, value: int) -> int:
        """Take in one phrase; returns where to go on."""
        verdict, after, is_plural = self._said_after(end)
        if verdict and self._scope and not self._may_affirm(start, end, after, is_plural):
            verdict = None  # "no fracture is visible"
        denied = bool(self._scope) if verdict is None else not verdict
        linked = self._previous >= 0 and all(
            t in (",", "and", "or", "nor", "&", "/", "+") for t in self.t[self._previous : start]
        )
        self._group = self._group if linked else []
        if verdict is False and is_plural:
            for other in self._group:
                self._affirmed.pop(other, None)
                self._segment.discard(other)
                self._denied.add(other)
        if self._scope:
            self._named = True
            if self._scope == 2 or verdict is True:
                self._scope = 0
        self._record(start, end, value, denied)
        if denied:
            self._bare = False
        self._previous = end
        return after

    def _text_behind(self, at: int, code: int) -> int:
        """Return where the text of a choice stands behind its letter, else 0: "B. Edema: no" says one thing."""
        at += 1
        while at < len(self.t) and self.t[at] in ".):(,":
            at += 1
        end, value = self.m.longest(self.t, at)
        return at if end > at and value == code else 0

    def _goes_on(self, at: int) -> bool:
        """Whether the list below a heading goes on: "Absent:", then a line for each."""
        before, after = self.t[at - 1], self.t[at + 1] if at + 1 < len(self.t) else ""
        return (self.t[at] == "\n" and after != "\n") or (self.t[at] == "." and before.isdigit())

    def _other_numbers(self, start: int, end: int) -> int:
        """Take in the second number of "BI-RADS 3 or 4", "grade 2-3"; returns where to go on."""
        t = self.t
        link = t[end] if t[end - 1].isdigit() and end < len(t) else ""
        at = end + (link in ("or", "and", "to", "/", "&"))
        number, behind = ("".join(t[at : at + 1]), "".join(t[at + 1 : at + 2]))
        if not link or not number.isdigit() or behind in ("mm", "cm") or (link == "and" and behind.isalpha()):
            return end
        stem = t[start : end - 1]
        found, value = self.m.longest([*stem, number], 0)
        return self._mention(at, at + 1, value) if found == len(stem) + 1 and value >= 0 else end

    def _may_affirm(self, start: int, end: int, after: int, is_plural: bool) -> bool:
        """Whether "is present" ends a denial: "no A, B is present" does, "no A or B is present" does not."""
        if not self._named or is_plural:
            return False
        between = self.t[self._previous : start]
        says = self.t[end:after]
        plainly = len(says) > 1 or says[0] in ("present", "positive", "yes", "true")
        return plainly and "or" not in between and "nor" not in between

    def _record(self, start: int, end: int, value: int, denied: bool) -> None:
        if value <= _ABSENCE:
            if not denied:
                return
            value, denied = _ABSENCE - value, False
        if value == _OUTSIDE:
            self._bare = False
            if not denied:
                self.out.outside.append(" ".join(self.t[start:end]))
        elif denied:
            self._denied.add(value)
        elif value >= 0:
            self._affirmed[value] = None
            self._segment.add(value)
            self._group.append(value)

    def _said_after(self, end: int) -> tuple[bool | None, int, bool]:
        """Look for "is absent", "not seen", ": yes" right behind a phrase: verdict, where to go on, plural."""
        tokens, n = self.t, len(self.t)
        i, is_plural, is_pair = end, False, False
        while i < n and i < end + 6 and tokens[i] in cues.BRIDGES:
            is_plural |= tokens[i] in ("are", "were", "both")
            is_pair |= tokens[i] in (":", "=", "?", "|")
            i += 1
        if i >= n:
            return None, end, False
        word, follows = tokens[i], tokens[i + 1] if i + 1 < n else "."
        if word in cues.DENIED_AFTER and not (word == "none" and i == end):
            return False, i + 1 + (word == "ruled" and follows == "out"), is_plural
        if word in cues.AFFIRMED_AFTER and (i > end or word in ("present", "seen", "visible", "positive", "noted")):
            return True, i + 1, is_plural
        if (word == "less" and follows == "likely" and tokens[end] not in "(?|") or (word == "free" and i == end):
            return False, i + 1 + (word == "less"), is_plural
        if word == "not" and follows in cues.DENIED_AFTER:
            return True, i + 2, is_plural  # "is not absent"
        if word in ("not", "cannot") and follows in ("be", "been", "appear", "seem", "clearly"):
            at = i + 1
            while at < min(n, i + 5) and tokens[at] in cues.BRIDGES:
                at += 1
            if at < n and tokens[at] in cues.AFFIRMED_AFTER:
                return False, at + 1, is_plural  # "does not appear to be present", "cannot be seen"
        if word == "not" and follows in cues.NOT_FOLLOWERS:
            return False, i + 1 + (follows in cues.AFFIRMED_AFTER), is_plural
        if word == "no" and i > end - (not is_pair) and follows in (".", ",", ";", "\n", "}", ")", "]", "|"):
            return False, i + 1, is_plural
        if is_pair and word in ("0", "1") and follows in (".", ",", ";", "\n", "}", ")", "]", "|"):
            return word == "1", i + 1, is_plural
        return None, end, False


@functools.cache
def _class_forms() -> tuple[tuple[str, ...], ...]:
    names = {text for name in vocabulary.sources() for text in vocabulary.source_vocabulary(name).classes}
    return tuple(sorted({form for text in names for form in forms_of(text)}))


@functools.cache
def classes_of_modality(modality: str, besides: str) -> tuple[str, ...]:
    """Return the classes of the other sources of a modality that are words of their own.

    Args:
        modality (`str`): such as `"Chest X-ray"`.
        besides (`str`): the source that is left out.

    Returns:
        `tuple[str, ...]`: sorted.
    """
    entries = (vocabulary.source_vocabulary(name) for name in vocabulary.sources() if name != besides)
    found = {text for entry in entries if entry.modality == modality for text in entry.classes}
    return tuple(sorted(text for text in found if text.lower() not in _COMMON))
