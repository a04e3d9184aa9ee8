"""Cells of text tables that hold a Python literal."""

import ast

__all__ = ["to_words"]


def to_words(cell: str) -> list[str]:
    """Read a list of texts as Python writes it; nothing is executed.

    Args:
        cell (`str`): such as `['a', 'b']`.

    Returns:
        `list[str]`: empty for a cell that is empty, broken or no list.

    Example:
        >>> to_words("['Soft tissue', 'Skin']"), to_words("['Soft tis"), to_words("nan")
        (['Soft tissue', 'Skin'], [], [])
    """
    try:
        value = ast.literal_eval(cell.strip() or "[]")
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [str(item) for item in value] if isinstance(value, list | tuple) else []
