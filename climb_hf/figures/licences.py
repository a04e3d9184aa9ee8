"""The licence of an article: what its package says, in one spelling, and whether its panels may be passed on.

A panel that is cut out of a figure is an adaptation. So licences without derivatives do not allow passing it on, nor
does a figure that an article itself reprints by permission of somebody else, whatever the article's licence.
"""

import re

__all__ = ["THIRD_PARTY", "UNKNOWN", "is_redistributable", "is_reprint", "licence_of"]

UNKNOWN = "unknown"
THIRD_PARTY = "third-party"

_URL = re.compile(
    r"creativecommons\.org/(?:licen[sc]es|publicdomain)/(zero|mark|by(?:-(?:nc|nd|sa))*)(?:/(\d\.\d))?", re.I
)
_SHORT = re.compile(r"\bCC[\s_-]*(0|BY(?:[\s_-]*(?:NC|ND|SA))*)(?![A-Za-z])[\s_-]*(\d\.\d)?", re.I)
_PHRASE = re.compile(
    r"creative\s+commons\s+(attribution[\s,–-]*(?:(?:and\s+)?(?:non[\s-]?commercial|no[\s-]?deriv\w*|share[\s-]?alike)"
    r"(?:\s+use)?[\s,/–-]*)*)(?:licen[sc]e)?[\s,(]*(?:version\s+)?(?:(\d\.\d))?",
    re.I,
)
_DEDICATED = re.compile(r"\b(public\s+domain|CC0)\b", re.I)
_REPRINT = re.compile(
    r"\b(re-?produced|re-?printed|re-?used|re-?published|adapted|modified|taken)\b[^.;]{0,80}?"
    r"\b(with|by)\s+(the\s+)?(kind\s+)?permission|\bwith\s+(kind\s+)?permission\s+(of|from)\b|\bcopyright\b|©",
    re.I,
)
_OPEN = re.compile(r"(CC0|CC-PDM|CC-BY(-NC)?(-SA)?)(-\d\.\d)?")


def licence_of(*texts: str | None) -> str:
    """Return the licence that texts name, the most restrictive where they name several.

    Args:
        *texts (`str`, *optional*): address, attribute or sentence of a licence; `None` and `""` say nothing.

    Returns:
        `str`: such as `"CC-BY-NC-4.0"`, `"CC-BY"` where no version is given, `"CC0-1.0"`, or `"unknown"`.

    Example:
        >>> licence_of("https://creativecommons.org/licenses/by-nc/4.0/"), licence_of("CC BY"), licence_of("free")
        ('CC-BY-NC-4.0', 'CC-BY', 'unknown')
    """
    found: set[tuple[str, str]] = set()
    for text in filter(None, texts):
        named = _named(text)
        found |= named
    if not found:
        return UNKNOWN
    parts = {part for kind, _ in found for part in kind.split("-")}
    if "by" not in parts:
        kind = "PDM" if "mark" in parts else "CC0"
        return "CC0-1.0" if kind == "CC0" else "CC-PDM-1.0"
    marks = [mark for mark in ("nc", "nd", "sa") if mark in parts]
    if "nd" in marks and "sa" in marks:
        marks.remove("sa")
    versions = {version for kind, version in found if kind.startswith("by") and version}
    return "-".join(["CC-BY", *(mark.upper() for mark in marks), *([max(versions)] if len(versions) == 1 else [])])


def is_redistributable(licence: str) -> bool:
    """Tell whether panels under a licence may be passed on, under its conditions.

    Args:
        licence (`str`): as `licence_of` spells it.

    Returns:
        `bool`: `True` for CC0, CC-BY, CC-BY-SA, CC-BY-NC and CC-BY-NC-SA; `False` for licences without derivatives
        and for anything that is not known.

    Example:
        >>> [is_redistributable(name) for name in ("CC-BY-4.0", "CC-BY-NC-SA", "CC-BY-ND-4.0", "unknown")]
        [True, True, False, False]
    """
    return _OPEN.fullmatch(licence) is not None


def is_reprint(caption: str) -> bool:
    """Tell whether a caption says that its figure is somebody else's.

    Args:
        caption (`str`): the caption, credit lines included.

    Returns:
        `bool`.

    Example:
        >>> is_reprint("Reprinted with permission from Elsevier."), is_reprint("CT of the chest.")
        (True, False)
    """
    return _REPRINT.search(caption) is not None


def _named(text: str) -> set[tuple[str, str]]:
    """Kinds (`by-nc`, `zero`) with versions that a text names: addresses first, then codes, then prose."""
    for pattern in (_URL, _SHORT):
        found = {(_kind(match[1]), match[2] or "") for match in pattern.finditer(text)}
        if found:
            return found
    found = {(_prose(match[1]), match[2] or "") for match in _PHRASE.finditer(text)}
    if not found and _DEDICATED.search(text):
        return {("zero", "")}
    return found


def _kind(text: str) -> str:
    return "zero" if text == "0" else "-".join(re.split(r"[\s_-]+", _spaced(text.lower())))


def _spaced(text: str) -> str:
    return re.sub(r"(?<=by)(?=nc|nd|sa)|(?<=nc)(?=nd|sa)", "-", text)


def _prose(text: str) -> str:
    text = text.lower()
    marks = [("nc", r"non[\s-]?commercial"), ("nd", r"no[\s-]?deriv"), ("sa", r"share[\s-]?alike")]
    return "-".join(["by", *(mark for mark, pattern in marks if re.search(pattern, text))])
