"""Values of DICOM header tags in our units."""

from typing import Any

__all__ = ["dicom_demographics", "dicom_view"]

#: Years per unit of an age string (DICOM PS3.5, value representation AS).
_YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
_SEX = {"M": "male", "F": "female"}
#: Codes of ViewCodeSequence in mammography (PS3.16, context group 4014), by SNOMED CT and by its earlier identifiers.
_VIEWS = {"399162004": "CC", "R-10242": "CC", "399368009": "MLO", "R-10226": "MLO"}


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


def dicom_view(header: Any) -> tuple[str | None, str | None]:  # noqa: ANN401 - a pydicom Dataset
    """Return the side and the view of a mammogram's header.

    Args:
        header: a pydicom Dataset, or any mapping with `get`.

    Returns:
        Side (`"L"`, `"R"` or `None`) from ImageLaterality, else Laterality; view (`"CC"`, `"MLO"` or `None`) from
        ViewCodeSequence, else ViewPosition.

    Example:
        >>> dicom_view({"ImageLaterality": "L", "ViewCodeSequence": [{"CodeValue": "399368009"}]})
        ('L', 'MLO')
        >>> dicom_view({"ViewPosition": "CC"})
        (None, 'CC')
    """
    side = str(header.get("ImageLaterality") or header.get("Laterality") or "").strip().upper()
    codes = header.get("ViewCodeSequence") or [{}]
    view = _VIEWS.get(str(codes[0].get("CodeValue")), str(header.get("ViewPosition") or "").strip().upper())
    return side if side in ("L", "R") else None, view if view in ("CC", "MLO") else None
