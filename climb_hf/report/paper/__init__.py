"""The printed result tables of the CLIMB paper and of Open-PMC-18M as data, and where they contradict themselves."""

from climb_hf.report.paper.checks import Note, notes_of
from climb_hf.report.paper.numbers import CellKey, PaperNumber, paper_numbers
from climb_hf.report.paper.tables import TABLES, PaperTable, paper_rows, table_of

__all__ = [
    "TABLES",
    "CellKey",
    "Note",
    "PaperNumber",
    "PaperTable",
    "notes_of",
    "paper_numbers",
    "paper_rows",
    "table_of",
]
