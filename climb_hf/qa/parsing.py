"""From the free text of a model to a set of choices, or to the reason why it is none.

Understood are letters ("B", "(b)", "A and C", "option D"), texts of choices and their synonyms in any case, number and
punctuation, lists, JSON, and denials ("no effusion", "not B", "edema is absent"). The longest phrase wins, and classes
of other sources shadow what they contain: "No DR" is not "DR", "Viral Pneumonia" is not "Pneumonia". An answer is
never guessed: what is cut off, names everything, or names what is no choice is invalid, and says why.
"""

import bisect
import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from climb_hf.errors import SchemaError
from climb_hf.qa import patterns
from climb_hf.qa.layout import after_listing, load_json, marks_as_words, without_own_letters
from climb_hf.qa.matcher import LETTER_BASE, Matcher, Scan, classes_of_modality
from climb_hf.qa.templates import NONE_OF_THE_ABOVE, choice_set, template_of
from climb_hf.qa.words import cleaned, normalised, tokens_of
from climb_hf.registry import get_source, source_names

__all__ = ["INVALID", "MAX_CHARACTERS", "Parsed", "letters", "parse_answer"]

#: Longer answers are not read.
MAX_CHARACTERS = 100_000
#: Why an answer is no answer.
INVALID: dict[str, str] = {
    "empty": "nothing was answered",
    "truncated": "the answer breaks off within a choice, within JSON or before it says anything",
    "too_long": f"more than {MAX_CHARACTERS} characters",
    "several": "more than one choice where exactly one is right",
    "all": "every choice is named",
    "contradiction": f"`{NONE_OF_THE_ABOVE}` together with a choice",
    "outside": "a class is named that is no choice",
    "denied": "choices are only denied",
    "refused": "the model says that it cannot answer",
    "unrecognised": "no choice is named",
}


@dataclass(frozen=True, slots=True)
class Parsed:
    """What an answer says.

    Args:
        answers (`tuple[str, ...]`): the choices it stands for, in the order of the question; empty when invalid.
        status (`str`): `"ok"`, or a key of `INVALID`.
        named (`tuple[str, ...]`): the choices it affirms, valid or not.

    Example:
        >>> question = {"choices": ["No DR", "Mild DR", "Severe DR"], "multi_label": False}
        >>> parse_answer("There is no DR.", question)
        Parsed(answers=('No DR',), status='ok', named=('No DR',))
        >>> parse_answer("B or C", question)
        Parsed(answers=(), status='several', named=('Mild DR', 'Severe DR'))
    """

    answers: tuple[str, ...]
    status: str = "ok"
    named: tuple[str, ...] = ()

    @property
    def is_valid(self) -> bool:
        """Whether the answer counts."""
        return self.status == "ok"


def letters(count: int) -> list[str]:
    """Return the letters that stand before choices: A to Z, then AA and on.

    Example:
        >>> letters(3), letters(28)[-2:]
        (['A', 'B', 'C'], ['AA', 'AB'])
    """
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return [(alphabet[i // 26 - 1] if i >= 26 else "") + alphabet[i % 26] for i in range(count)]


def parse_answer(text: Any, question: Any) -> Parsed:  # noqa: ANN401 - whatever a model or a file gave
    """Read the answer to a question.

    Args:
        text (`str`): what the model wrote; a list of strings is read as the list of its answers, `None` as nothing.
        question (`Question` or `Mapping`): with `choices`, `multi_label` and, for synonyms, `source`.

    Returns:
        `Parsed`.

    Raises:
        SchemaError: the question has no choices, or the answer is neither text nor a list of texts.

    Example:
        >>> import climb_hf.qa
        >>> question = {"source": "covid_us", "choices": ["Normal", "COVID-19", "Pneumonia"], "multi_label": False}
        >>> climb_hf.qa.parse_answer("**B.** COVID pneumonia", question).answers
        ('COVID-19',)
        >>> climb_hf.qa.parse_answer("Viral Pneumonia", question).status
        'outside'
    """
    if isinstance(question, Mapping):
        choices, multi_label = question.get("choices"), question.get("multi_label")
        source = question.get("source")
    else:
        choices, multi_label, source = question.choices, question.multi_label, question.source
    if not choices:
        raise SchemaError(
            f"a question needs `choices`, found {choices!r}; build it with `climb_hf.qa.build_questions`."
        )
    reader = _reader(source, tuple(sorted(choices)), bool(multi_label))
    return reader.read(text, tuple(choices))


@functools.lru_cache(maxsize=1024)
def _reader(source: str | None, choices: tuple[str, ...], multi_label: bool) -> "_Reader":
    """The compiled reader of a set of choices, whatever their order."""
    if len(set(choices)) < len(choices):
        raise SchemaError(f"the choices of a question must differ, found {list(choices)}.")
    words: dict[str, dict[str, Sequence[str]]] = {"synonyms": {}, "absence": {}, "exact": {}}
    outside: tuple[str, ...] = ()
    if source in source_names():
        facts = get_source(source)
        template = template_of(facts)
        for scheme in () if template.refused else ("climb", *facts.label_schemes, *template.schemes):
            if scheme == "raw":
                continue
            own = choice_set(facts, _vocabulary_scheme(facts, scheme))
            if set(own.texts) & set(choices):
                for key, by_text in own.words.items():
                    for choice, listed in by_text.items():
                        words[key].setdefault(choice, listed)
        outside = classes_of_modality(facts.modality, source)
    return _Reader(choices, Matcher(choices, words, outside), multi_label)


def _vocabulary_scheme(facts: Any, scheme: str) -> str:  # noqa: ANN401 - a Source
    return str(facts.vocabulary(scheme).scheme)


class _Reader:
    """Reads answers to questions with one set of choices."""

    def __init__(self, texts: tuple[str, ...], matcher: Matcher, multi_label: bool) -> None:
        self.texts, self.matcher, self.multi_label = texts, matcher, multi_label
        self.position = {text: index for index, text in enumerate(texts)}
        self.longest = max(map(len, (*texts, *matcher.sorted_forms))) + 12  # marks around a choice

    def read(self, text: object, shown: tuple[str, ...]) -> Parsed:
        if isinstance(text, list | tuple | set | frozenset):
            if not text and self.matcher.none >= 0:
                return self._of([self.matcher.none], shown)
            return self._verdict(
                *self._listed(sorted(text) if isinstance(text, set | frozenset) else text, shown), shown
            )
        if text is None or (isinstance(text, float) and text != text):
            return Parsed((), "empty")
        if not isinstance(text, str):
            if isinstance(text, bool | int | float):
                text = str(text)
            else:
                raise SchemaError(f"an answer must be text or a list of texts, found {type(text).__name__}.")
        if len(text) > MAX_CHARACTERS:
            return Parsed((), "too_long")
        text = cleaned(text).strip()
        if "</think>" in text:
            text = text.rsplit("</think>", 1)[1].strip()
        elif text.startswith("<think>"):
            return Parsed((), "truncated")
        text = after_listing(marks_as_words(text), shown)
        return self._text(text, shown) if text else Parsed((), "empty")

    def _text(self, text: str, shown: tuple[str, ...]) -> Parsed:
        if text[0] in "{[" and (parsed := self._structured(text, shown)) is not None:
            return parsed
        if len(text) <= patterns.SHORT:
            position = self.matcher.exact.get(normalised(text))
            if position is not None:
                return self._of([position], shown)
            found = self._only_letters(text, shown)
            if found is not None:
                return found
            pair = patterns.PAIR.fullmatch(text)  # "B: No", where B is the choice that "no" stands for
            position = self.matcher.exact.get(normalised(pair[2])) if pair else None
            if pair and position is not None and shown[ord(pair[1]) - 65 :][:1] == (self.texts[position],):
                return self._of([position], shown)
        if text == "[]" and self.matcher.none >= 0:
            return self._of([self.matcher.none], shown)
        if "{" in text or "[" in text:
            parsed = self._structured(text, shown)
            if parsed is not None:
                return parsed
        final = self._final(text, shown) if patterns.FINAL.search(text) else None
        return final or self._free(text, shown)

    def _whole(self, text: str, shown: tuple[str, ...]) -> Parsed | None:
        """Read an answer that is one choice, or letters, and nothing else."""
        if len(text) <= self.longest:
            position = self.matcher.exact.get(normalised(text))
            if position is not None:
                return self._of([position], shown)
        return self._only_letters(text, shown) if len(text) <= patterns.SHORT else None

    def _only_letters(self, text: str, shown: tuple[str, ...]) -> Parsed | None:
        """Read an answer of letters only: "B", "(a), (c)", "A and D", "ACD"."""
        found: list[int] = []
        first = patterns.WORD.search(text)
        if first is None or (len(first[0]) > 1 and first[0].lower() not in patterns.FILLER and not first[0].isupper()):
            return None
        tokens = patterns.WORD.findall(text)
        if any(len(word) == 1 and word.isupper() for word in tokens):
            tokens = [word for word in tokens if word not in patterns.SMALL]
        for index, word in enumerate(tokens):
            if word in ("I", "i") and tokens[index + 1 : index + 2] and tokens[index + 1].lower() in patterns.VERBS:
                continue  # "I choose B"
            if len(word) == 1 and word.isalpha() and (word != "s" or len(shown) > 18):
                found.append(ord(word.upper()) - 65)
            elif word.lower() not in patterns.FILLER:
                break
        else:
            if found:
                return self._lettered(found, shown)
        if len(tokens) == 1 and self.multi_label and tokens[0].isupper() and len(set(tokens[0])) == len(tokens[0]):
            found = [ord(letter) - 65 for letter in tokens[0]]
            if max(found) < len(shown) and found == sorted(found):
                return self._lettered(found, shown)
        return None

    def _lettered(self, found: list[int], shown: tuple[str, ...]) -> Parsed:
        inside = [self.position[shown[index]] for index in found if index < len(shown)]
        if len(inside) < len(found):
            return Parsed((), "outside", self._names(inside, shown))
        return self._of(inside, shown)

    def _structured(self, text: str, shown: tuple[str, ...]) -> Parsed | None:
        """Read JSON, alone, fenced, or the last object within other text; `None` where there is none."""
        body = re.sub(r"^```(?:json)?|```$", "", text).strip()
        if body[:1] in ("{", "[") and len(body) > 3 and (body[0] == "{" or '"' in body):
            content = load_json(body)
            if content is None and body.count(body[0]) > body.count({"{": "}", "[": "]"}[body[0]]):
                return Parsed((), "truncated")
            parsed = self._object(content, shown)
            if parsed is not None:
                return parsed
        for part in reversed(patterns.OBJECT.findall(text)[-patterns.MAX_MARKERS :]):
            if '"' in part and (parsed := self._object(load_json(part), shown)) is not None:
                return parsed
        return None

    def _object(self, content: object, shown: tuple[str, ...]) -> Parsed | None:
        while isinstance(content, dict):
            lowered = {str(key).lower().strip(): value for key, value in content.items()}
            value = next((lowered[key] for key in patterns.KEYS if key in lowered), content)
            if value is not content:
                if not isinstance(value, dict):
                    return self.read(value, shown) if value is None or isinstance(value, patterns.PLAIN) else None
                content = value
                continue
            if lowered and all(isinstance(value, bool) or value in (0, 1, "yes", "no") for value in lowered.values()):
                chosen = [key for key, value in content.items() if value in (True, 1, "yes")]
                if not chosen:
                    none = [self.matcher.none] if self.matcher.none >= 0 else []
                    return self._of(none, shown) if none else self._free("; ".join(f"{k}: no" for k in content), shown)
                return self._verdict(*self._listed(chosen, shown), shown)
            return None
        if isinstance(content, list) and all(isinstance(item, str) for item in content):
            return self.read(content, shown)
        return None

    def _listed(self, items: Sequence[object], shown: tuple[str, ...]) -> tuple[list[int], bool]:
        """Read each item of a list as an answer of its own; whether one is no choice comes second."""
        found, has_outside = [], False
        for item in items:
            parsed = self._text(cleaned(item).strip(), shown) if isinstance(item, str) and item.strip() else None
            if parsed is None or not parsed.named:
                has_outside |= parsed is not None and parsed.status != "denied"
            else:
                found += [self.position[name] for name in parsed.named]
                has_outside |= parsed.status == "outside"
        return list(dict.fromkeys(found)), has_outside

    def _final(self, text: str, shown: tuple[str, ...]) -> Parsed | None:
        """Read what stands behind "the answer is"; `None` where that is nothing, or differs from mark to mark."""
        marks = list(patterns.FINAL.finditer(text))[-patterns.MAX_MARKERS :]
        explicit = [mark for mark in marks if "final" in mark.group().lower() or "boxed" in mark.group().lower()]
        results = []
        for mark in explicit[-1:] or marks:
            line = text[mark.end() : mark.end() + 4000].lstrip().split("\n", 1)[0]
            if line[:3].lower() == "not":
                return None
            results.append(self._text_of_line(line, shown))
        answers = {frozenset(parsed.answers) for parsed in results if parsed.is_valid}
        if not results[-1].is_valid and results[-1].status not in ("several", "all", "outside", "contradiction"):
            return (
                Parsed((), "truncated")
                if not text[marks[-1].end() :].strip(" *:.\n")
                and len(marks) == 1
                and not self._free(text, shown).is_valid
                else None
            )
        return results[-1] if len(answers) <= 1 else None

    def _text_of_line(self, line: str, shown: tuple[str, ...]) -> Parsed:
        line = line.strip().rstrip("}").strip()
        if not line:
            return Parsed((), "empty")
        if (found := self._whole(line, shown)) is not None:
            return found
        return self._free("answer " + line if line[:1].isupper() and line[1:2] in (" ", ",") else line, shown)

    def _free(self, text: str, shown: tuple[str, ...]) -> Parsed:
        text = without_own_letters(text, shown)
        scan = self.matcher.scan(tokens_of(self._with_letters(text, shown)))
        affirmed, denied = scan.affirmed, scan.denied
        if not self.multi_label and len(affirmed) != 1:
            if len(scan.decisive) == 1:
                affirmed = list(scan.decisive)
            elif not affirmed and not scan.outside and len(self.texts) == 2 and len(denied) == 1:
                affirmed = [1 - next(iter(denied))]  # of two choices one is denied
        if not affirmed and not scan.outside:
            return Parsed((), self._why_nothing(text, scan))
        if self.multi_label and self._breaks_off(text, scan.tail):
            return Parsed((), "truncated", self._names(affirmed, shown))
        is_plain = not self.multi_label and bool(affirmed) and scan.decisive == set(affirmed)
        has_outside = bool(scan.outside) and not is_plain
        return self._verdict(affirmed, has_outside, shown)

    def _with_letters(self, text: str, shown: tuple[str, ...]) -> str:
        """Put characters of their own in place of the letters that stand for choices."""
        if not patterns.ALONE.search(text):
            return text

        def put(match: re.Match[str]) -> str:
            whole, kind = match.group(), match.lastgroup or "head"
            group = match.group(kind)
            after = match.string[match.end() : match.end() + 5]
            if kind == "cued" and group[-1] in "AI" and re.match(r"\s(?!is\b|are\b)[a-z]", after):
                return whole  # "the answer is A benign lesion", "I think"
            if kind == "head" and group.islower() and group in "as":
                return whole
            marks = [self.position[shown[ord(x) - 65]] for x in re.findall(r"\b[A-Z]\b", group)
                     if ord(x) - 65 < len(shown)] if kind in ("cued", "run") else (
                [self.position[shown[ord(group.upper()) - 65]]] if ord(group.upper()) - 65 < len(shown) else []
            )  # fmt: skip
            if not marks:
                return whole
            first = whole.rindex(group)
            spelled = " , ".join(chr(LETTER_BASE + mark) for mark in marks)
            return f"{whole[:first]} {spelled} "

        return patterns.MARKED.sub(put, text)

    def _why_nothing(self, text: str, scan: Scan) -> str:
        if scan.denied:
            return "denied"
        if patterns.REFUSAL.search(text[:4000]):
            return "refused"
        return "truncated" if self._breaks_off(text, scan.tail) else "unrecognised"

    def _breaks_off(self, text: str, tail: list[str]) -> bool:
        """Tell whether a text ends within a choice: "Pleural Eff"."""
        if not tail or text[-1:] in ".!?)]}\"'":
            return False
        cut = max((i for i, token in enumerate(tail) if token in (",", ";", "\n", ":", ".")), default=-1) + 1
        last = tail[cut:][-8:]
        forms = self.matcher.sorted_forms
        for start in range(len(last)):
            piece = " ".join(last[start:])
            at = bisect.bisect_left(forms, piece)
            is_prefix = at < len(forms) and forms[at].startswith(piece) and forms[at] != piece
            if len(piece) >= 3 and is_prefix:
                return True
        return False

    def _of(self, positions: Sequence[int], shown: tuple[str, ...]) -> Parsed:
        return self._verdict(list(dict.fromkeys(positions)), False, shown)

    def _names(self, positions: Sequence[int], shown: tuple[str, ...]) -> tuple[str, ...]:
        chosen = {self.texts[position] for position in positions}
        return tuple(text for text in shown if text in chosen)

    def _verdict(self, positions: Sequence[int], has_outside: bool, shown: tuple[str, ...]) -> Parsed:
        named = self._names(positions, shown)
        status, regular = "ok", [name for name in named if name != NONE_OF_THE_ABOVE]
        n_regular = len(shown) - (NONE_OF_THE_ABOVE in shown)
        if has_outside:
            status = "outside"
        elif not named:
            status = "unrecognised"
        elif len(regular) == n_regular > 1:
            status = "all"
        elif not self.multi_label and len(named) > 1:
            status = "several"
        elif regular and len(regular) < len(named):
            status = "contradiction"
        return Parsed(named if status == "ok" else (), status, named)
