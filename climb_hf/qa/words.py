"""Words as the parser sees them: tokens without case, punctuation and spelling variants, the same on both sides."""

import functools
import re
import unicodedata

__all__ = ["canonical", "forms_of", "normalised", "tokens_of"]

#: Letters stand for words, digits for numbers; the marks kept are those that bound sentences and lists.
_TOKEN = re.compile(r"[^\W\d_]+|\d+|[<>]=?|[.;!?\n,:=&+/()\[\]{}|\ue000-\ue0ff]")
_PRIVATE = re.compile("[\ue000-\ue0ff\u200b-\u200f\u2060\ufeff]")
_MARKS = frozenset(".;!?\n,:=&+/()[]{}|")
_NOT = re.compile(r"n['’`]t\b")
_SPELLINGS = {
    "tumour": "tumor", "oedema": "edema", "haemorrhage": "hemorrhage", "naevus": "nevus", "naevi": "nevus",
    "nevi": "nevus", "carcinomata": "carcinoma", "adenomata": "adenoma", "keratose": "keratosis",
    "pneumothoraces": "pneumothorax", "atelectase": "atelectasis", "opacitie": "opacity",
    "abnormalitie": "abnormality",
    "fibrose": "fibrosis", "oesophagus": "esophagus", "anaemia": "anemia", "ischaemia": "ischemia",
    "diagnose": "diagnosis", "biopsie": "biopsy", "malignancie": "malignancy", "masse": "mass",
    "hemorrhagic": "hemorrhage", "haemorrhagic": "hemorrhage",
}  # fmt: skip


@functools.lru_cache(maxsize=1 << 14)
def canonical(token: str) -> str:
    """Return a token without plural and in American spelling.

    Args:
        token (`str`): lower-case letters, or digits.

    Returns:
        `str`.

    Example:
        >>> canonical("tumours"), canonical("atelectasis"), canonical("opacities")
        ('tumor', 'atelectasis', 'opacity')
    """
    if len(token) > 3 and token[-1] == "s" and token[-2] not in "sui":
        token = token[:-1]
    return _SPELLINGS.get(token, token)


def cleaned(text: str) -> str:
    """Return text in one Unicode form, without invisible characters; case is kept."""
    if not text.isascii():
        text = _PRIVATE.sub("", unicodedata.normalize("NFKC", text)).replace("≥", ">=").replace("≤", "<=")
    return text


def tokens_of(text: str) -> list[str]:
    """Split cleaned text into canonical tokens; marks that bound sentences and lists stay as tokens.

    Args:
        text (`str`): any text.

    Returns:
        `list[str]`.

    Example:
        >>> tokens_of("No BI-RADS4; tumours ≥3mm, it isn't")
        ['no', 'bi', 'rad', '4', ';', 'tumor', '3', 'mm', ',', 'it', 'is', 'not']
    """
    return [canonical(token) for token in _TOKEN.findall(_NOT.sub(" not", text.casefold()))]


def forms_of(text: str) -> list[tuple[str, ...]]:
    """Return the token sequences that stand for a phrase: the phrase, and what stands outside and inside brackets.

    Args:
        text (`str`): a choice, class name or synonym.

    Returns:
        `list[tuple[str, ...]]`: without marks, without empty ones, the longest first.

    Example:
        >>> forms_of("Nevus (NV)")
        [('nevus', 'nv'), ('nevus',), ('nv',)]
    """
    text = cleaned(text)
    outside, _, rest = text.partition("(")
    inside, _, after = rest.partition(")")
    parts = [text, f"{outside} {after}", inside] if rest else [text]
    found = [tuple(token for token in tokens_of(part) if token not in _MARKS) for part in parts]
    return list(dict.fromkeys(form for form in found if form))


def normalised(text: str) -> str:
    """Return a phrase as one string of canonical tokens, so that equal phrases are equal strings.

    Example:
        >>> normalised("Mild  DR.") == normalised("mild dr")
        True
    """
    return " ".join(token for token in tokens_of(cleaned(text)) if token not in _MARKS)
