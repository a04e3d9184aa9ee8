"""Values of DICOM header tags in our units."""

from typing import Any

__all__ = ["dicom_demographics"]

#: Years per unit of an age string (DICOM PS3.5, value representation AS).
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_SEX = {"M": "male", "F": "female"}


def dicom_demographics(header: Any) -> tuple[float | None, str | None]:  # noqa: ANN401 - a pydicom Dataset
    """Return age and sex of a header's patient.

    Args:
        header: a pydicom Dataset, or any mapping with `get`.

    Returns:
        Age in years (`float` or `None` where the tag is absent, empty, zero or not an age string) and sex (`"female"`,
        `"male"` or `None` where it is absent, empty or other).

    Example:
        >>> dicom_demographics({"PatientAge": "043Y", "PatientSex": "F"})
        (43.0, 'female')
        >>> dicom_demographics({"PatientAge": "", "PatientSex": "O"})
        (None, None)
    """
    text = str(header.get("PatientAge") or "").strip().upper()
    number, unit = (text[:-1], text[-1]) if text and text[-1] in _YEARS else (text, "Y")
    age = int(number) * _YEARS[unit] if number.isdigit() and int(number) > 0 else None
    return age, _SEX.get(str(header.get("PatientSex") or "").strip().upper())
