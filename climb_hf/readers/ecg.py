"""What the 12-lead ECG sources share: the order of the leads, and the comments of PhysioNet/CinC Challenge headers."""

from dataclasses import dataclass
from pathlib import Path

from climb_hf.errors import CorruptFileError
from climb_hf.readers.tables import to_float
from climb_hf.readers.wfdb import read_header

__all__ = ["ECG_LEADS", "ChallengeComments", "read_challenge_comments"]

#: The twelve leads in the order of the signal column.
ECG_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_SEX = {"male": "male", "m": "male", "female": "female", "f": "female"}


@dataclass(frozen=True)
class ChallengeComments:
    """The comment lines of a Challenge header.

    Args:
        codes (`tuple[str, ...]`): SNOMED CT codes of `Dx`, in file order.
        age (`float`, *optional*): years; `None` where the header says `NaN` or a non-positive number.
        sex (`str`, *optional*): `"female"`, `"male"` or `None`.
        other (`dict[str, str]`): the remaining comments (`Rx`, `Hx`, `Sx`) by key.
    """

    codes: tuple[str, ...]
    age: float | None
    sex: str | None
    other: dict[str, str]


def read_challenge_comments(path: Path) -> ChallengeComments:
    """Read the comments of a Challenge 2020 (`#Dx:`) or 2021 (`# Dx:`) header.

    Args:
        path (`Path`): a `.hea` file.

    Returns:
        `ChallengeComments`.

    Raises:
        CorruptFileError: the header is damaged, or has no `Dx` line.
    """
    fields = {}
    for comment in read_header(path).comments:
        key, separator, value = comment.strip().lstrip("#").partition(":")
        if separator:
            fields[key.strip()] = value.strip()
    if "Dx" not in fields:
        raise CorruptFileError(
            f"`{path}`: expected a comment line `Dx:` with diagnosis codes, found {sorted(fields)}."
        )
    age = to_float(fields.pop("Age", ""), missing=("", "NaN", "nan", "Unknown"))
    return ChallengeComments(
        codes=tuple(code.strip() for code in fields.pop("Dx").split(",") if code.strip()),
        age=age if age is not None and age > 0 else None,
        sex=_SEX.get(fields.pop("Sex", "").lower()),
        other=fields,
    )
