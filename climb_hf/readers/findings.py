"""Tables of chest findings as CheXpert's labelers write them: one column per finding, 1, 0, -1 or blank."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from climb_hf.errors import LabelError, SchemaError
from climb_hf.readers.tables import find_table, read_csv_rows
from climb_hf.vocabulary import SourceVocabulary

__all__ = ["Findings", "read_findings", "study_findings"]

_VALUES = {"": None, "1.0": 1.0, "0.0": 0.0, "-1.0": -1.0, "1": 1.0, "0": 0.0, "-1": -1.0}


@dataclass(frozen=True, slots=True)
class Findings:
    """What one row states about the findings; equal rows of a table share one object.

    Args:
        values (`dict[str, float]`): finding -> 1.0 (present), 0.0 (absent) or -1.0 (uncertain), as far as stated.
        positive (`tuple[str, ...]`): findings stated present, in the order of the vocabulary.
        uncertain (`tuple[str, ...]`): findings stated uncertain.
    """

    values: dict[str, float]
    positive: tuple[str, ...]
    uncertain: tuple[str, ...]


def read_findings(
    path: Path, vocabulary: SourceVocabulary, required: Sequence[str] = ()
) -> Iterator[tuple[dict[str, str], Findings]]:
    r"""Read a table of findings by column name.

    There are few thousand distinct rows among hundreds of thousands, so the objects are shared: a caller may keep one
    per study without paying for 14 values each.

    Args:
        path (`Path`): the table, with or without `.gz`.
        vocabulary (`SourceVocabulary`): its raw values, in any accepted spelling, are the columns of the findings.
        required (`Sequence[str]`, *optional*): further columns that must be there.

    Returns:
        `Iterator`: of the row, column name -> cell, and its `Findings`.

    Raises:
        LayoutError: the table does not exist.
        SchemaError: a finding has no column, or a column is missing.
        LabelError: a cell is none of 1, 0, -1 and blank.

    Example:
        >>> import tempfile
        >>> from climb_hf.vocabulary import source_vocabulary
        >>> findings = source_vocabulary("chexpert")
        >>> table = Path(tempfile.mkdtemp()) / "valid.csv"
        >>> header = ",".join(["Path", *findings.raw_values])
        >>> _ = table.write_text(f"{header}\na.jpg,1.0,-1.0" + "," * 12)
        >>> [found.values for _, found in read_findings(table, findings, required=("Path",))]
        [{'Atelectasis': 1.0, 'Cardiomegaly': -1.0}]
    """
    known: dict[tuple[str, ...], Findings] = {}
    columns: list[str] = []
    for row in read_csv_rows(path, required=required):
        if not columns:
            columns = _columns(path, row, vocabulary)
        cells = tuple([row[name] for name in columns])
        found = known.get(cells)
        if found is None:
            found = known[cells] = _findings(path, cells, vocabulary)
        yield row, found


def _columns(path: Path, row: dict[str, str], vocabulary: SourceVocabulary) -> list[str]:
    """Return the table's name of each raw value, in the order of the vocabulary."""
    names = {vocabulary.canonical(name): name for name in row if vocabulary.knows(name)}
    missing = [name for name in vocabulary.raw_values if name not in names]
    if missing:
        raise SchemaError(
            f"{vocabulary.source}: `{path.name}` should have a column for each of the {len(vocabulary.raw_values)} "
            f"findings, but has none for {', '.join(f'`{name}`' for name in missing)}. Restore the publisher's table."
        )
    return [names[name] for name in vocabulary.raw_values]


def _findings(path: Path, cells: tuple[str, ...], vocabulary: SourceVocabulary) -> Findings:
    values: dict[str, float] = {}
    for name, cell in zip(vocabulary.raw_values, cells, strict=True):
        try:
            value = _VALUES[cell.strip()]
        except KeyError:
            raise LabelError(
                f"{vocabulary.source}: `{path.name}`, column `{name}`: expected 1.0, 0.0, -1.0 or blank, found "
                f"{cell!r}. Restore the publisher's table."
            ) from None
        if value is not None:
            values[name] = value
    return Findings(
        values,
        tuple(name for name, value in values.items() if value == 1.0),
        tuple(name for name, value in values.items() if value == -1.0),
    )


def study_findings(path: Path, vocabulary: SourceVocabulary, *, is_needed: bool) -> dict[str, Findings]:
    """Read a table of one row per study.

    Args:
        path (`Path`): the table, with a column `study_id`.
        vocabulary (`SourceVocabulary`): the findings.
        is_needed (`bool`): whether its absence is an error.

    Returns:
        `dict[str, Findings]`: by study; empty where the table is absent and not needed.

    Raises:
        LayoutError: the table is needed and absent.
    """
    if not is_needed and find_table(path) is None:
        return {}
    return {row["study_id"]: found for row, found in read_findings(path, vocabulary, ("study_id",))}
