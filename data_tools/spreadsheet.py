"""Tables that spreadsheets open: what strangers wrote is a text there, never a formula."""

from typing import TypeVar

Cell = TypeVar("Cell")
_BEGINS = ("=", "+", "-", "@", "\t", "\r")


def escape_formula(cell: Cell) -> Cell | str:
    """Put an apostrophe before a text that a spreadsheet would take for a formula; numbers stay.

    Args:
        cell: a text that a stranger may have written, or anything else.

    Example:
        >>> escape_formula("=1+1"), escape_formula("a cat"), escape_formula(-1.5)
        ("'=1+1", 'a cat', -1.5)
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_BEGINS) else cell
