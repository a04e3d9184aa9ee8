"""Tables as text: aligned for a terminal, which is Markdown as well."""

import math
from collections.abc import Mapping, Sequence

__all__ = ["format_table", "format_value"]


def format_value(value: object, digits: int = 3) -> str:
    """Return a cell's text: floats with fixed digits, NaN as `n/a`, null as empty, sequences joined by commas.

    Args:
        value (`object`): a cell.
        digits (`int`, *optional*, defaults to `3`): decimals of a float.

    Returns:
        `str`.

    Example:
        >>> format_value(0.51251), format_value(float("nan")), format_value(None)
        ('0.513', 'n/a', '')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "n/a" if math.isnan(value) else f"{value:.{digits}f}"
    if isinstance(value, list | tuple):
        return ", ".join(format_value(item, digits) for item in value)
    return str(value)


def format_table(rows: Sequence[Mapping[str, object]], columns: Sequence[str] | None = None) -> str:
    """Return rows as an aligned Markdown table; number columns are set to the right.

    Args:
        rows (`Sequence[Mapping]`): cells by column name.
        columns (`Sequence[str]`, *optional*): columns in order; those of the first row where absent.

    Returns:
        `str`: the table without a final line break; empty for no rows.

    Example:
        >>> print(format_table([{"source": "ptbxl", "n": 3}]))
        | source |  n |
        | :----- | -: |
        | ptbxl  |  3 |
    """
    if not rows:
        return ""
    names = list(columns or rows[0])
    numeric = {name: all(isinstance(row.get(name), int | float | None) for row in rows) for name in names}
    cells = [[format_value(row.get(name)).replace("|", "\\|").replace("\n", " ") for name in names] for row in rows]
    widths = [max(2, len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(names)]

    def line(values: Sequence[str]) -> str:
        aligned = (v.rjust(w) if numeric[n] else v.ljust(w) for v, w, n in zip(values, widths, names, strict=True))
        return f"| {' | '.join(aligned)} |"

    rule = ["-" * (w - 1) + ":" if numeric[n] else ":" + "-" * (w - 1) for w, n in zip(widths, names, strict=True)]
    return "\n".join([line(names), f"| {' | '.join(rule)} |", *map(line, cells)])
