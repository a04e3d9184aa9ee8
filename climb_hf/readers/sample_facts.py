"""Sex and age of a person as submitters of expression studies write them: free text, with many spellings."""

import re

__all__ = ["age_in_years", "sex_of"]

_SEX = {"f": "female", "female": "female", "woman": "female", "m": "male", "male": "male", "man": "male"}
_AGE = re.compile(r"(\d{1,3}(?:\.\d+)?)\s*(y|yr|yrs|year|years|years old)?", re.IGNORECASE)


def sex_of(text: str | None) -> str | None:
    """Return the sex a text states.

    Args:
        text (`str`, *optional*): such as `"F"` or `"Male"`.

    Returns:
        `str`, *optional*: `"female"` or `"male"`; `None` for anything else, such as `"mixed"` or `"hermaphrodite"`.

    Example:
        >>> sex_of("F"), sex_of("Male "), sex_of("mixed")
        ('female', 'male', None)
    """
    return _SEX.get((text or "").strip().lower())


def age_in_years(text: str | None, organism: str | None) -> float | None:
    """Return the age in years that a text states; for humans, whose bare numbers are years.

    Args:
        text (`str`, *optional*): such as `"61"` or `"45 year"`.
        organism (`str`, *optional*): scientific name.

    Returns:
        `float`, *optional*: 0 to 120; `None` for other units, ranges and species.

    Example:
        >>> age_in_years("45 year", "Homo sapiens"), age_in_years("61", "Homo sapiens")
        (45.0, 61.0)
        >>> age_in_years("8", "Mus musculus") is None
        True
        >>> age_in_years("8 weeks", "Homo sapiens"), age_in_years("60-69 years", "Homo sapiens")
        (None, None)
    """
    match = _AGE.fullmatch((text or "").strip())
    if match is None or organism != "Homo sapiens":
        return None
    age = float(match[1])
    return age if age <= 120 else None
