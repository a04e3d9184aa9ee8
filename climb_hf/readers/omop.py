"""Persons of the OMOP common data model: sex, birth, race and ethnicity by standard concept."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from climb_hf.readers.tables import read_csv_rows, to_int

__all__ = ["Person", "parse_time", "read_persons"]

_SEX = {8507: "male", 8532: "female"}
_RACE = {
    8527: "white",
    8515: "asian",
    8516: "black",
    8657: "american indian or alaska native",
    8557: "native hawaiian or other pacific islander",
}
_ETHNICITY = {38003563: "hispanic", 38003564: "not hispanic"}
_YEAR = timedelta(days=365.25)


@dataclass(frozen=True)
class Person:
    """One row of the table `person`.

    Args:
        sex (`str`, *optional*): `"female"` or `"male"`; other concepts give `None`.
        birth (`datetime`, *optional*): as exactly as the table says it.
        race (`str`, *optional*): in words.
        ethnicity (`str`, *optional*): in words.
    """

    sex: str | None = None
    birth: datetime | None = None
    race: str | None = None
    ethnicity: str | None = None

    def age_at(self, time: datetime | None) -> float | None:
        """Return the age in years at a time, `None` where either is unknown or the time lies before birth."""
        if time is None or self.birth is None or time < self.birth:
            return None
        return (time - self.birth) / _YEAR


def parse_time(text: str) -> datetime | None:
    """Read an ISO date or time, without its zone; anything else is `None`.

    Example:
        >>> parse_time("2012-05-06 07:08:09").year, parse_time("")
        (2012, None)
    """
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=None)
    except ValueError:
        return None


def read_persons(table: Path) -> dict[str, Person]:
    """Read the table `person`; column names in any letter case.

    Args:
        table (`Path`): comma-separated, plain or gzip-compressed.

    Returns:
        `dict[str, Person]`: by `person_id` as written.

    Raises:
        SchemaError: a column or number is missing.
    """
    persons = {}
    for row in read_csv_rows(table):
        cells = {name.lower(): cell for name, cell in row.items()}
        concepts = {name: to_int(cells.get(f"{name}_concept_id", "")) or 0 for name in ("gender", "race", "ethnicity")}
        persons[cells.get("person_id", "").strip()] = Person(
            _SEX.get(concepts["gender"]),
            _birth(cells),
            _RACE.get(concepts["race"]),
            _ETHNICITY.get(concepts["ethnicity"]),
        )
    return persons


def _birth(cells: Mapping[str, str]) -> datetime | None:
    if (stated := parse_time(cells.get("birth_datetime", ""))) is not None:
        return stated
    year, month, day = (to_int(cells.get(f"{part}_of_birth", "")) for part in ("year", "month", "day"))
    # Without month or day the middle of what is known.
    return None if year is None else datetime(year, month or 7, day or (15 if month else 1))
