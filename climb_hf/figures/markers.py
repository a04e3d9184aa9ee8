"""Panel labels in captions: "(a)", "A,", "a-c", "(A and B)", "(ii)", "Panel B:" where they mark a part of the text.

A label is a label because it stands in a sequence (a, then b, then c; A1, then A2, then B1) of one way of writing.
What only looks like one is not taken: units, "factor(s)", "see Fig. 2a", "lipoprotein(a)", "B cells", a label that is
mentioned again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

__all__ = ["Marker", "find_markers", "is_sentence_end"]

#: Characters before and behind a label that decide what it is; longer captions are not looked at.
_NEAR, _MAX_CAPTION = 80, 20_000
#: A position in a sequence: (1,) for the first letter, (2, 1) for B1.
Key = tuple[int, ...]

_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x", "xi", "xii", "xiii", "xiv", "xv", "xvi")
_ITEM = r"(?:[ivx]{2,5}|[IVX]{2,5}|[A-Za-z]\d?|\d{1,2})"
_JOIN = r"(?:\s*,\s*(?:and|&)\s+|\s*[,;/&+]\s*|\s+(?:and|to|through)\s+|\s*[-‐‑‒–—−]\s*)"
_RANGES = (*"-‐‑‒–—−", "to", "through")
_LIST = rf"{_ITEM}(?:{_JOIN}{_ITEM}){{0,25}}"
_JOINTS = re.compile(rf"({_JOIN})")
_PANEL = r"(?:[Pp]anels?\s+)?"
_PARENTHESES = re.compile(rf"[(\[]\s*{_PANEL}(?P<list>{_LIST})\s*[)\]](?![-a-z0-9])")
_HALF = re.compile(rf"(?<![\w(\[.-]){_PANEL}(?P<list>{_LIST})\)(?=\s|$)")
_POINTED = re.compile(rf"(?<![\w(\[]){_PANEL}(?P<list>{_LIST})\s*(?:[.,:]|[-–—](?=\s))(?=\s)")
_COLON = re.compile(rf"(?<=[(,;\s]){_PANEL}(?P<list>{_LIST}):(?=\s)")
_BARE = re.compile(
    rf"(?<![\w(\[.]){_PANEL}(?P<list>[a-z](?:{_JOIN}[a-z]){{0,25}})\s+(?=[^\s,.;:)])"
    rf"|(?<![\w(\[.]){_PANEL}(?P<upper>[A-Z](?:{_JOIN}[A-Z]){{0,25}})\s+(?=[A-Z0-9])"
)
#: What follows a bare letter where it is no label.
_NO_LABEL = re.compile(r"(?:cells?|lymphocytes?|waves?|lines?|and|or)\b", re.I)
_REFERENCE = re.compile(
    r"\b(?:fig(?:ure)?s?|tables?|refs?|references?|eqs?|equations?|movies?|videos?|files?|schemes?|appendix|box|"
    r"supplement\w*|grades?|stages?|types?|class(?:es)?|vitamins?|hepatitis)\.?\s*(?:S?\d+)?\s*$",
    re.I,
)
_MENTION = re.compile(
    r"\b(?:in|see|seen|from|as|to|of|than|with|panels?|image|for|by|and|or|shown|versus|vs\.?)\s*$", re.I
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:figs?|vs|e\.g|i\.e|cf|refs?|approx|ca|al|dr|resp|mag|incl|sp|spp|st)\.$", re.I
)
_CLOSING = re.compile(r"\s*(?:[.,;:)\]]|$|(?:and|or|vs\.?|versus)\s|&)")
_CONJUNCTION = re.compile(r"(?:,|\band|\bor|&)\s*$", re.I)
_BETWEEN = re.compile(r"\s*(?:,\s*and|,|;|and|&|/|\+|to|through|[-‐‑‒–—−])?\s*")


@dataclass(frozen=True)
class Marker:
    """A panel label, or several, that mark a part of a caption.

    Args:
        start (`int`): where it begins in the caption.
        end (`int`): where it ends, punctuation of its own included.
        labels (`tuple[str, ...]`): the labels as written, ranges filled in.
        keys (`tuple[Key, ...]`): their positions in the sequence.
        begins (`bool`): it is the first thing of a sentence or clause.
        follows_joint (`bool`): a comma or conjunction stands before it.
        closes (`bool`): a clause ends behind it.
        is_mention (`bool`): "in", "see", "of" or the like stands before it.
        is_attached (`bool`): a letter or digit stands directly before it.
    """

    start: int
    end: int
    labels: tuple[str, ...]
    keys: tuple[Key, ...]
    begins: bool
    follows_joint: bool
    closes: bool
    is_mention: bool
    is_attached: bool


def find_markers(caption: str) -> list[Marker]:
    """Return the labels that mark parts of a caption, in its order.

    Args:
        caption (`str`): the caption.

    Returns:
        `list[Marker]`: with at least two different labels, from the first of the sequence on; else empty.

    Example:
        >>> [marker.labels for marker in find_markers("(a–c) CT, time (s). (d) See (a).")]
        [('a', 'b', 'c'), ('d',)]
    """
    best: list[Marker] = []
    if len(caption) > _MAX_CAPTION:
        return best
    written = [(pattern, is_free, list(pattern.finditer(caption))) for pattern, is_free in _WAYS]
    written = [way for way in written if way[2]]
    for families in (("lower", "upper", "roman", "ROMAN", "grid", "GRID"), ("digit",)):
        for may_be_attached in (False, True):
            for pattern, is_free, matches in written:
                for family in families:
                    if family == "digit" and pattern is not _PARENTHESES and pattern is not _HALF:
                        continue
                    chain = _chain(
                        _merged(_read(caption, pattern, matches, family, is_free), caption, family), may_be_attached
                    )
                    if _n_labels(chain) > 1 and (not best or _rank(chain) < _rank(best)):
                        best = chain
            if best:
                return best
    return []


#: Ways of writing, and whether a marker of that way may stand inside a sentence.
_WAYS = ((_PARENTHESES, True), (_HALF, True), (_POINTED, False), (_COLON, True), (_BARE, False))


def is_sentence_end(text: str) -> bool:
    """Tell whether a text ends where a sentence or clause may end: nothing, `.`, `;`, `:`, `!` or `?`.

    Args:
        text (`str`): what stands before a position.

    Returns:
        `bool`: `False` after an abbreviation such as "vs."

    Example:
        >>> is_sentence_end("A mass. "), is_sentence_end("CT vs. ")
        (True, False)
    """
    text = text.rstrip().rstrip(")]\"'”’").rstrip() if text.rstrip()[-2:-1] in (".", "?", "!") else text.rstrip()
    return not text or (text[-1] in ".;:!?" and not _ABBREVIATION.search(text))


def _rank(chain: Sequence[Marker]) -> tuple[int, int]:
    return chain[0].start, -_n_labels(chain)


def _n_labels(chain: Sequence[Marker]) -> int:
    return len({key for marker in chain for key in marker.keys})


def _read(
    caption: str, pattern: re.Pattern[str], matches: Sequence[re.Match[str]], family: str, is_free: bool
) -> list[Marker]:
    """Return everything that looks like a label of one family in one way of writing."""
    found = []
    for match in matches:
        keys = _keys(match["list"] or match.groupdict().get("upper") or "", family)
        if not keys:
            continue
        start, end = match.span()
        before, after = caption[max(0, start - _NEAR) : start], caption[end : end + _NEAR]
        begins = is_sentence_end(before)
        if not (is_free or begins) or _is_refused(before, after, pattern):
            continue
        if pattern is _HALF and caption.count("(", 0, start) > caption.count(")", 0, start):
            continue
        marker = Marker(
            start=start,
            end=end,
            labels=tuple(_spell(key, family) for key in keys),
            keys=keys,
            begins=begins,
            follows_joint=_CONJUNCTION.search(before) is not None,
            closes=_CLOSING.match(after) is not None,
            is_mention=_MENTION.search(before) is not None,
            is_attached=before[-1:].isalnum(),
        )
        found.append(marker)
    return found


def _is_refused(before: str, after: str, pattern: re.Pattern[str]) -> bool:
    reference = _REFERENCE.search(before)
    if reference is not None and reference.start() > 0:
        return True
    return pattern is _BARE and _NO_LABEL.match(after) is not None


def _keys(text: str, family: str) -> tuple[Key, ...]:
    """Positions of a list such as "a, c-e" in a family; empty where it is none of it."""
    items = _JOINTS.split(text.strip())
    keys: list[Key] = []
    for number in range(0, len(items), 2):
        key = _key(items[number], family)
        joint = items[number - 1].strip() if number else ""
        if key is None or (keys and key <= keys[-1]):
            return ()
        keys += _between(keys[-1], key) if joint in _RANGES else []
        keys.append(key)
    return tuple(keys)


def _key(item: str, family: str) -> Key | None:
    lower = family in ("lower", "roman", "grid")
    if family == "digit":
        return (int(item),) if item.isdigit() and 1 <= int(item) <= 20 else None
    if item != (item.lower() if lower else item.upper()):
        return None
    if family in ("roman", "ROMAN"):
        return (_ROMAN.index(item.lower()) + 1,) if item.lower() in _ROMAN else None
    if family in ("grid", "GRID"):
        is_pair = len(item) == 2 and item[0].isalpha() and item[1].isdigit()
        return (ord(item[0].lower()) - 96, int(item[1])) if is_pair else None
    return (ord(item.lower()) - 96,) if len(item) == 1 and item.isalpha() else None


def _between(first: Key, last: Key) -> list[Key]:
    """Positions between two of a range; of a grid only within one letter."""
    if first[:-1] != last[:-1]:
        return []
    return [(*first[:-1], number) for number in range(first[-1] + 1, last[-1])]


def _spell(key: Key, family: str) -> str:
    if family == "digit":
        return str(key[0])
    is_roman = family in ("roman", "ROMAN")
    text = _ROMAN[key[0] - 1] if is_roman else chr(96 + key[0]) + "".join(map(str, key[1:]))
    return text if family in ("lower", "roman", "grid") else text.upper()


def _merged(markers: Sequence[Marker], caption: str, family: str) -> list[Marker]:
    """Join labels that stand side by side, "(a) and (b)", "(a)–(c)"."""
    joined: list[Marker] = []
    for marker in markers:
        between = caption[joined[-1].end : marker.start] if joined else ""
        if joined and _BETWEEN.fullmatch(between) and marker.keys[0] > joined[-1].keys[-1]:
            is_range = between.strip() in _RANGES
            keys = (
                *joined[-1].keys,
                *(_between(joined[-1].keys[-1], marker.keys[0]) if is_range else ()),
                *marker.keys,
            )
            labels = tuple(_spell(key, family) for key in keys)
            joined[-1] = replace(joined[-1], end=marker.end, labels=labels, keys=keys, closes=marker.closes)
        else:
            joined.append(marker)
    return joined


def _chain(markers: Sequence[Marker], may_be_attached: bool) -> list[Marker]:
    """Keep the markers that continue the sequence, and those that begin a sentence about panels named before."""
    usable = [marker for marker in markers if may_be_attached or not marker.is_attached]
    chain: list[Marker] = []
    seen: set[Key] = set()
    lists = _listed(usable)
    for number, marker in enumerate(usable):
        new = [key for key in marker.keys if key not in seen]
        if new:
            if not _continues(seen, new[0], is_strong=marker.begins):
                continue
            if marker.is_mention and any(
                later.begins and set(new) <= set(later.keys) for later in usable[number + 1 :]
            ):
                continue  # "enlarged in (b). (b) ..."
        elif marker.start in lists:
            pass
        elif not marker.begins or marker.closes:
            continue
        chain.append(marker)
        seen.update(marker.keys)
    is_broken = any(later[-1] - key[-1] > 1 for marker in chain for key, later in pairwise(marker.keys))
    return [] if is_broken and len(seen) < max(seen)[0] else chain  # "(a, c)" without a "b"


def _listed(markers: Sequence[Marker]) -> set[int]:
    """Return where the labels stand that say one by one what a range before them announced: "(a-c) CT of (a) …"."""
    starts: set[int] = set()
    for number, marker in enumerate(markers):
        run = markers[number + 1 : number + 1 + len(marker.keys)]
        if len(marker.keys) > 1 and tuple(key for other in run for key in other.keys) == marker.keys:
            starts.update(other.start for other in run)
    return starts


def _continues(seen: set[Key], key: Key, *, is_strong: bool) -> bool:
    """Tell whether a label is the next of the sequence; at the beginning of a sentence one may be left out."""
    if not seen:
        return all(part == 1 for part in key)
    last = max(seen)
    if len(key) > 1:
        return key in ((*last[:-1], last[-1] + 1), (last[0] + 1, 1))
    missing = next(number for number in range(1, last[0] + 2) if (number,) not in seen)
    return key[0] == missing or 1 <= key[0] - last[0] <= (2 if is_strong else 1)
