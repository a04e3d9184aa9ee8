"""The regular expressions and word lists of the reader of answers, `climb_hf.qa.parsing`."""

import re

__all__ = [
    "ALONE",
    "FILLER",
    "FINAL",
    "KEYS",
    "MARKED",
    "MAX_MARKERS",
    "OBJECT",
    "PAIR",
    "PLAIN",
    "REFUSAL",
    "SHORT",
    "SMALL",
    "VERBS",
    "WORD",
]

SHORT = 160
LETTER = r"[A-Za-z](?![A-Za-z'’])"
FILLER = frozenset(
    [
        "and",
        "or",
        "option",
        "options",
        "choice",
        "choices",
        "answer",
        "answers",
        "the",
        "is",
        "are",
        "letter",
        "letters",
        "both",
        "correct",
        "final",
        "my",
        "i",
        "choose",
        "select",
        "would",
        "it",
        "s",
        "ans",
        "only",
        "und",
        "et",
    ]
)
SMALL = frozenset("aeouy")  #: words of one letter beside capital letters: "B e D", "A y C"
VERBS = frozenset({"choose", "select", "would", "pick", "think", "say"})
WORD = re.compile(r"[A-Za-z]+|\d+")
ALONE = re.compile(rf"(?<![A-Za-z0-9]){LETTER}")
LIST = r"[A-Z](?:\s*(?:,\s*(?:and|or)\b|,|\band\b|\bor\b|&|/|\+)\s*[A-Z](?![A-Za-z'’]))*(?![A-Za-z0-9'’])"
MARKED = re.compile(
    rf"(?<![A-Za-z0-9'’])(?P<run>[A-Z](?:\s*(?:,\s*(?:and|or)\b|,|\band\b|\bor\b|&|/|\+)\s*[A-Z](?![A-Za-z0-9'’]))+)|"
    r"\b(?i:not|is|than|but|es|est|ist)\s+(?P<bare>[A-Z])(?=\s*(?:[.,;:!?\n]|$|but\b))|"
    rf"[(\[]\s*(?P<bracketed>{LETTER})\s*[)\]]"
    r"|(?:^|(?<=[\n;,.:!?}>]))[ \t*_\"'`#-]*(?P<head>[A-Za-z])[*_\"'`]*"
    r"(?=[ \t]*[.):](?:\s|[A-Z*_]|$)|[ \t]+[-–—][ \t]|[ \t]*\n|[ \t]*$|[ \t]+\("
    r"|,?[ \t]+(?:because|since|due|but|not|rather|instead|is)\b)"
    rf"|(?i:\b(?:option|choice|answer|letter|select|choose|pick|it is|it['’]s|go with)s?\b)"
    rf"(?:\s+(?i:is|are|would|be|option|choice|letter)s?\b)*[\s:*_\"'`(\[]*(?P<cued>{LIST})"
)
FINAL = re.compile(
    r"\bfinal(?:\s+answer)?\s*(?:\bis\b|:|=)|\b(?!(?:options|choices)\s*[:=])(?:(?:correct|best|right|my)\s+)?"
    r"(?:answer|option|choice|conclusion)s?\s*(?:\bis\b|\bare\b|\bwould be\b|:|=)\s*|\bboxed\s*\{",
    re.IGNORECASE,
)
REFUSAL = re.compile(
    r"\b(?:sorry|unable to|can ?not|can['’]t|could not|couldn['’]t|as an ai|insufficient information|not possible to|"
    r"do not know|don['’]t know|not able to|consult a)\b",
    re.IGNORECASE,
)
OBJECT = re.compile(r"\{[^{}]{0,10000}\}|\[[^\[\]{}]{0,10000}\]")
PAIR = re.compile(r"[\[(]?([A-Z])[\])]?[\s*_]*[-–—:.,]*[\s*_]+([A-Za-z][^\n]{0,30})")
KEYS = ("final_answer", "answers", "answer", "labels", "label", "diagnosis", "diagnoses", "choices", "choice",
         "findings", "prediction", "class", "classes", "response", "output")  # fmt: skip
PLAIN = (str, int, float, list)
MAX_MARKERS = 64
