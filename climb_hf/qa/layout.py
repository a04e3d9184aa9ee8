"""What models put around an answer: a copy of the options, ticked boxes, check marks, JSON."""

import json
import re
from collections.abc import Sequence

from climb_hf.qa.templates import frames_of

__all__ = ["after_listing", "load_json", "marks_as_words", "without_own_letters"]

_TICKS, _CROSSES = "✓✔✅☑", "✗✘❌"
_MARKED = re.compile(
    rf"[{_TICKS}{_CROSSES}☐]|\([+−–-]\)|\[[ xX]\]|:[ \t]{{0,3}}[+−–-][ \t]{{0,3}}(?:[,;]|$)", re.MULTILINE
)
_BOX = re.compile(r"^(\s*(?:[-*+]\s+|\d+[.)]\s+)?)(?:\[([ xX])\]|([☑☐]))(?=\s*\S)")
_SIGN = re.compile(r"[ \t]{0,3}(?:\(([+−–-])\)|(?<!nswer):[ \t]{0,3}([+−–-])(?=[ \t]{0,3}(?:[,;]|$)))")
_LETTER = re.compile(r"(?<![A-Za-z0-9])\(?([A-Z])[.):] {0,3}(?=[A-Za-z])")
_VERDICTS = re.compile(
    r"^([ \t]*\(?[A-Z])[.)]{1,2}[ \t]+(yes|no|true|false|present|absent)\.?$", re.IGNORECASE | re.MULTILINE
)
_TICK = re.compile(rf"[ \t]{{0,3}}([{_TICKS}{_CROSSES}])\ufe0f?")


def after_listing(text: str, shown: Sequence[str]) -> str:
    r"""Return what stands behind a copy of the options of the question, or the text where there is none.

    Args:
        text (`str`): an answer.
        shown (`Sequence[str]`): the choices in the order of the question.

    Returns:
        `str`: the whole text where nothing stands behind the copy.

    Example:
        >>> after_listing("Options:\nA. No DR\nB. Mild DR\nIt is B.", ["No DR", "Mild DR"])
        'It is B.'
    """
    if f"{shown[-1]}\n" not in text or len(shown) > 26:
        return text
    listing = "\n".join(f"{chr(65 + index)}. {choice}" for index, choice in enumerate(shown))
    rest = text.rpartition(listing + "\n")[2].strip()
    for manner in (*frames_of("single"), *frames_of("multiple")):
        rest = rest.removeprefix(manner).lstrip()
    return rest or text


def without_own_letters(text: str, shown: Sequence[str]) -> str:
    """Leave out letters that stand before the very choice they mean.

    Args:
        text (`str`): an answer.
        shown (`Sequence[str]`): the choices in the order of the question.

    Returns:
        `str`.

    Example:
        >>> without_own_letters("Either A. No DR or (B) Mild DR", ["No DR", "Mild DR"])
        'Either No DR or Mild DR'
    """

    def put(found: re.Match[str]) -> str:
        choice = "".join(shown[ord(found[1]) - 65 :][:1]).casefold()
        behind = text[found.end() : found.end() + len(choice)].casefold()
        return "" if choice and behind == choice else found[0]

    return _LETTER.sub(put, text)


def marks_as_words(text: str) -> str:
    r"""Write boxes, check marks and signs as words that affirm or deny.

    Args:
        text (`str`): an answer.

    Returns:
        `str`.

    Example:
        >>> marks_as_words("Edema ✓, pneumonia ✗, fracture (-)")
        'Edema: yes, pneumonia: no, fracture: no'
        >>> marks_as_words("- [x] Edema\n- [ ] Pneumonia")
        '- Edema\n- no Pneumonia'
    """
    if len(_VERDICTS.findall(text)) > 1:  # a line of its own for each letter
        text = _VERDICTS.sub(r"\1: \2.", text)
    if not _MARKED.search(text):
        return text
    return "\n".join(map(_line, text.split("\n")))


def _line(line: str) -> str:
    line = _BOX.sub(lambda found: found[1] + ("no" if found[2] == " " or found[3] == "☐" else ""), line)
    line = re.sub(r"^(\s*(?:[-*+]\s+)?) +", r"\1", line)
    line = _SIGN.sub(lambda found: ": yes" if "+" in found[0] else ": no", line)
    is_before = line.lstrip(" -*+")[:1] in (*_TICKS, *_CROSSES) and bool(line.strip(" -*+"))
    words = ("; ", "; no ") if is_before else (": yes,", ": no,")
    return _TICK.sub(lambda found: words[found[1] in _CROSSES], line).replace(",,", ",").rstrip(",")


def load_json(text: str) -> object:
    """Return what JSON says, `None` where the text is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
