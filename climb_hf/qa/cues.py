"""The words that deny, affirm or bound what an answer names; token sequences in the form of `climb_hf.qa.words`.

The idea is that of NegEx (Chapman et al. 2001, a simple algorithm for identifying negated findings and diseases in
discharge summaries): a denial reaches forward over a list until something ends it, or stands right behind its word.
"""

__all__ = [
    "AFFIRMED_AFTER",
    "BRIDGES",
    "DENIED_AFTER",
    "DENIERS",
    "FILLERS",
    "HARD_STOPS",
    "HEADINGS",
    "LINKS",
    "NEXT_ONLY",
    "NOT_DENIALS",
    "NOT_FOLLOWERS",
    "SOFT_STOPS",
]

#: Deny everything that follows, up to a stop.
DENIERS = (
    "no", "not", "without", "neither", "nor", "never", "cannot", "absence of", "lack of", "lacks", "lacking",
    "free of",
    "negative for", "denies", "excludes", "excluding", "exclude", "rules out", "rule out", "ruling out", "ruled out",
    "rather than", "instead of", "as opposed to", "other than", "unlike", "no sign of", "no evidence of", "not a",
    "no indication of", "no", "zero", "fails to show", "devoid of", "inconsistent with", "against", "non",
    "unlikely to", "less likely", "low risk of", "low probability of", "low likelihood of", "low suspicion of",
    "low suspicion for",
)  # fmt: skip
#: Deny only the next thing named.
NEXT_ONLY = frozenset({"rather than", "instead of", "as opposed to", "other than", "unlike", "against", "non"})
#: Look like a denial and are none.
NOT_DENIALS = (
    "no doubt", "without doubt", "without a doubt", "without any doubt", "no question", "not only", "no longer only",
    "not just", "not merely", "without question", "no change", "no other than", "nothing but", "none other than",
    "not surprisingly", "not uncommon", "not sure but", "no wonder", "cannot rule out", "can not rule out",
    "could not rule out", "cannot exclude", "can not exclude", "could not exclude", "not rule out", "not exclude",
)  # fmt: skip
#: With a colon they deny the list that follows, on this line or below it.
HEADINGS = (
    "absent", "not present", "not seen", "not found", "negative", "excluded", "ruled out", "no", "denied", "incorrect",
)  # fmt: skip
#: Between two denials, these make the second one a statement of its own: "no fracture, no DR".
LINKS = frozenset({",", ":", "and", "or", "&", "/", "so", "hence", "thus", "therefore", "also"})
#: End a denial at once.
HARD_STOPS = frozenset(
    {".", ";", "!", "?", "\n", "but", "however", "although", "though", "whereas", "while", "yet", "except", "because",
     "|", "]", "}"}
)  # fmt: skip
#: End a denial that has denied something: "not A, it is B".
SOFT_STOPS = frozenset(
    {"is", "are", "was", "it", "this", "that", "there", "show", "showing", "has", "have", "with", "consistent",
     "suggest", "suggestive", "suggesting", "demonstrate", "indicate", "indicating", "diagnosis", "answer", "only",
     "positive", "yes", "present", "rather", "instead", "reveal", "likely", "so", "therefore", "hence", "thus", ":",
     "he", "she", "they", "i", "we", "which", "correct", "actually", "than"}
)  # fmt: skip
#: May stand between a thing named and what is said of it.
BRIDGES = frozenset(
    {":", "=", "(", ")", "?", "|", "do", "doe", "test", "result", "is", "are", "was", "were", "be", "been", "can",
     "could", "ha", "has", "have", "being", "seem",
     "appear", "to", "clearly", "definitely", "therefore", "both", "all", "also", "it", "seemed"}
)  # fmt: skip
#: Stand behind a thing and deny it.
DENIED_AFTER = frozenset(
    {"absent", "negative", "excluded", "unlikely", "false", "none", "incorrect", "wrong", "ruled", "denied",
     "improbable", "missing", "impossible"}
)  # fmt: skip
#: Stand behind a thing and affirm it.
AFFIRMED_AFTER = frozenset(
    {"present", "seen", "noted", "visible", "detected", "positive", "yes", "true", "identified", "observed", "evident",
     "confirmed", "correct", "found", "shown", "likely", "suspected"}
)  # fmt: skip
#: "not" behind a thing denies it when one of these, or the end of the sentence, comes next.
NOT_FOLLOWERS = frozenset(
    {*AFFIRMED_AFTER, *DENIED_AFTER, "there", "demonstrated", "visualized", "appreciated", "applicable", "the",
     "shown",
     "correct", "here", "apparent", "an", "a", "considered", "possible", "supported", "fit", "match", "apply", "hold",
     "consistent", "in", "what",
     ".", ";", "!", "?", "\n", ",", ")", "]", "}", "|"}
)  # fmt: skip
#: Say nothing of their own: a sentence of these and one choice is that choice and no explanation.
FILLERS = frozenset(
    {"the", "a", "an", "is", "are", "it", "this", "that", "answer", "answers", "option", "choice", "correct", "image",
     "picture", "show", "diagnosis", "most", "likely", "my", "final", "i", "think", "choose", "select", "would", "be",
     "to", "of", "finding", "patient", "has", "have", "with", "grade", "class", "there", "eye", "lesion", "probably",
     "and", "best", "fit", "consistent", "scan", "yes", "no", "which", "x", "ray", ".", ",", ":", ";", "!", "?", "\n",
     "(", ")", "[", "]", "{", "}", "=", "&", "+", "/", "|", "s", "in"}
)  # fmt: skip
