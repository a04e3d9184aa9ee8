"""PTB-XL-Finegrained: the records of PTB-XL with the 23 diagnostic subclasses of its own statement table.

Classes: multi-label, the `diagnostic_subclass` of every statement with `diagnostic` = 1, likelihood ignored. The CLIMB
paper says 24 and prints 22; the column holds 23 (the paper forgot LVH). Records without a diagnostic statement (411 in
1.0.3) stay, with an empty list: none of the 23 was stated.
Challenge copies cannot be used: their SNOMED codes have lost the detail.
"""

from collections.abc import Iterator
from pathlib import Path

from climb_hf.dataset_scripts.ptbxl import STATEMENTS, TABLE, PtbXl

from climb_hf.errors import LayoutError
from climb_hf.readers.memo import memoize_by_files
from climb_hf.readers.tables import find_root, read_csv_rows, to_float
from climb_hf.source import Options, Record, Skipped


class PtbXlFinegrained(PtbXl):
    """PTB-XL with its 23 diagnostic subclasses."""

    name = "ptbxl_finegrained"
    title = "PTB-XL-Finegrained: diagnostic subclasses of PTB-XL"
    published_splits = {}
    cautions = (
        "The paper's split (`split_by='paper'`) is BenchMD's list of PTB-XL, which shares patients.",
        "The CLIMB paper prints 22 of the 23 subclasses; `LVH` is the one it forgot.",
    )
    label_schemes = ("climb", "raw")

    def find_root(self, data_dir: Path) -> Path:
        """Return the folder of the table; a Challenge copy is refused."""
        if next(data_dir.rglob("HR[0-9]*.hea"), None) and not next(data_dir.rglob(TABLE), None):
            raise LayoutError(
                f"{self.name}: expected `{TABLE}` in `{data_dir}`, found a Challenge copy, whose SNOMED codes "
                f"have lost the subclasses. {self.how_to_get[0]}"
            )
        return find_root(data_dir, self.root_markers, self.name)

    def _native(self, root: Path, options: Options) -> Iterator[Record | Skipped]:
        _diagnostic_codes(root)  # a damaged statement table is an error of the source, not of its records
        yield from super()._native(root, options)

    def _label_values(self, root: Path, codes: dict[str, float], heart_axis: str) -> tuple[str, ...]:
        diagnostic = _diagnostic_codes(root) or frozenset(self.vocabulary().raw_values)
        return tuple(code for code in codes if code in diagnostic)

    def _challenge(self, root: Path) -> Iterator[Record]:
        raise LayoutError(f"{self.name}: `{TABLE}` not found in `{root}`. {self.how_to_get[0]}")


@memoize_by_files(STATEMENTS)
def _diagnostic_codes(root: Path) -> frozenset[str]:
    """Return the codes whose row of the statement table has `diagnostic` = 1; empty where the table is absent."""
    path = root / STATEMENTS
    if not path.is_file():
        return frozenset()
    rows = read_csv_rows(path, required=("", "diagnostic"))
    return frozenset(row[""] for row in rows if to_float(row["diagnostic"]) == 1)
