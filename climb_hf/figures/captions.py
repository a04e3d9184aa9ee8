"""Captions by panel: "(a) CT. (b) MRI." to a text for each label, with what is said of all panels kept for all."""

import re
from collections.abc import Sequence

from climb_hf.figures.markers import Marker, find_markers, is_sentence_end

__all__ = ["split_caption"]

_NUMBER = re.compile(r"^\s*(?:fig(?:ure)?|plate|scheme)\.?\s*S?\d+[a-z]?\s*[.:|]?\s*$", re.I)
_LEADING = " \t\n.,:;)]–—-"
_TRAILING = re.compile(r"(?:[\s,;(\[]|(?:^|\s)(?:and|or|while|whereas|&)\s*$)+$", re.I)
_AND = re.compile(r"^(?:and|or)\s+", re.I)
_SENTENCE = re.compile(r"[.!?][)\]\"”’]?\s+(?=[A-Z0-9(\[])")
#: How sentences begin that are said of the whole figure, where they stand behind the last label.
_SHARED = re.compile(
    r"(?<=[.!?;])\s+(?=(?:Scale[\s-]bars?|Bars?\b\s*[=:,]|Error bars|Abbreviations?|All (?:panels|images|scale|data)|"
    r"Data (?:are|were|represent)|(?:Original )?[Mm]agnifications?\b|In all (?:panels|images)))"
)


def split_caption(caption: str) -> dict[str, str]:
    """Split a caption by its panel labels.

    Labels may stand before their text ("(a) CT", "A, CT", "a CT"), behind it ("CT (a) and MRI (b)"), or within its
    sentence; singly, in lists or in ranges. What stands before the first label, and sentences such as "Scale bar,
    50 µm." or "Abbreviations: …" behind the last, belong to every label. A label that is named twice gets both texts.

    Args:
        caption (`str`): the caption.

    Returns:
        `dict[str, str]`: text by label, in the order of the labels; empty where the caption has no two labels in
        sequence.

    Example:
        >>> split_caption("Chest images. (a, b) CT before and after. (c) MRI, see Fig. 2a.")
        {'a': 'Chest images. CT before and after.', 'b': 'Chest images. CT before and after.', 'c': \
'Chest images. MRI, see Fig. 2a.'}
    """
    markers = find_markers(caption)
    if not markers:
        return {}
    style = _style(caption, markers)
    preamble, parts, tail = _WAYS[style](caption, markers)
    texts: dict[str, str] = {}
    order: dict[str, tuple[int, ...]] = {}
    for marker, part in zip(markers, parts, strict=True):
        for label, key in zip(marker.labels, marker.keys, strict=True):
            order.setdefault(label, key)
            own = texts.get(label, "")
            texts[label] = _sentences(own, part) if marker.begins else _join([own, part])
    preamble = "" if _NUMBER.match(preamble) else preamble
    whole, result = caption.strip(), {}
    for label in sorted(texts, key=order.__getitem__):
        own = _sentences(texts[label], tail[1:]) if tail.startswith(".") else _join([texts[label], tail])
        result[label] = _join([preamble, own]) if own else whole
    return result


def _join(parts: Sequence[str]) -> str:
    """Join the pieces of one sentence."""
    return " ".join(part.strip() for part in parts if part.strip())


def _sentences(first: str, second: str) -> str:
    """Join two sentences."""
    first, second = first.strip(), second.strip()
    return f"{first}. {second}" if first and second and first[-1] not in ".:;!?" else _join([first, second])


def _style(caption: str, markers: Sequence[Marker]) -> str:
    """Decide where the text of a label stands: behind it, before it, or around it."""
    if not caption[: markers[0].start].strip() or _NUMBER.match(caption[: markers[0].start]):
        return "before"
    leading = sum((marker.begins or marker.follows_joint) and not marker.closes for marker in markers)
    trailing = sum(not marker.begins and not marker.follows_joint and marker.closes for marker in markers)
    if not leading and not trailing and _clause_starts(caption, markers):
        return "within"
    if leading == trailing:
        return "before" if markers[0].begins or not leading else "behind"
    return "before" if leading > trailing else "behind"


def _before(caption: str, markers: Sequence[Marker]) -> tuple[str, list[str], str]:
    """Labels before their texts; what is said of all begins with "." where it is a sentence of its own."""
    ends = [marker.start for marker in markers[1:]] + [len(caption)]
    parts = [_trim(caption[marker.end : end]) for marker, end in zip(markers, ends, strict=True)]
    shared = _SHARED.search(parts[-1])
    tail = ""
    if shared is not None:
        parts[-1], tail = parts[-1][: shared.start()], "." + parts[-1][shared.end() :]
    preamble = caption[: markers[0].start]
    return _TRAILING.sub("", preamble) if not is_sentence_end(preamble) else preamble.strip(), parts, tail


def _behind(caption: str, markers: Sequence[Marker]) -> tuple[str, list[str], str]:
    """Labels behind their texts: what follows the last one is said of all."""
    starts = [0] + [marker.end for marker in markers[:-1]]
    parts = [caption[start : marker.start] for start, marker in zip(starts, markers, strict=True)]
    bounds = [match.end() for match in _SENTENCE.finditer(parts[0]) if is_sentence_end(parts[0][: match.end()])]
    bound = bounds[-1] if bounds else 0
    preamble, parts[0] = parts[0][:bound].strip(), parts[0][bound:]
    rest = caption[markers[-1].end :].lstrip()
    begins = "." if rest[:1] in (".", ";") else ""
    return preamble, [_trim(part) for part in parts], begins + rest.lstrip(_LEADING)


def _within(caption: str, markers: Sequence[Marker]) -> tuple[str, list[str], str]:
    """Labels in the middle of their clauses; the labels themselves are left out of the text."""
    starts = _clause_starts(caption, markers)
    ends = [*starts[1:], len(caption)]
    parts = []
    for marker, start, end in zip(markers, starts, ends, strict=True):
        parts.append(_trim(_join([caption[start : marker.start], caption[marker.end : end]])))
    return caption[: starts[0]].strip(), parts, ""


def _clause_starts(caption: str, markers: Sequence[Marker]) -> list[int]:
    """Where the clause of each label begins; empty where no boundary stands between two of them."""
    starts = []
    for number, marker in enumerate(markers):
        low = markers[number - 1].end if number else 0
        text = caption[low : marker.start]
        bounds = [match.end() for match in _SENTENCE.finditer(text) if is_sentence_end(text[: match.end()])]
        bounds = bounds or [match.end() for match in re.finditer(r"[;,]\s+(?:(?:and|while|whereas)\s+)?", text)]
        if number and not bounds:
            return []
        starts.append(low + (bounds[-1] if bounds else 0))
    return starts


def _trim(part: str) -> str:
    """Remove the punctuation and conjunctions that join a part to its neighbours."""
    part = _TRAILING.sub("", _AND.sub("", part.lstrip(_LEADING)).rstrip())
    if part.count(")") > part.count("(") and part.rstrip(".").endswith(")"):
        part = part.rstrip(".").removesuffix(")") + part[len(part.rstrip(".")) :]
    return part


_WAYS = {"before": _before, "behind": _behind, "within": _within}
