"""Tables that people open in a spreadsheet: no text in them becomes a formula there.

Not for submissions, whose bytes are the competition's business, nor for tables that a stage reads back.
"""

from __future__ import annotations

import pandas as pd

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a spreadsheet's formula, or a cell that hides one, begins


def guarded(text: str) -> str:
    """The text, behind an apostrophe where a spreadsheet would take it for a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(FORMULA) else text


def guarded_table(table: pd.DataFrame) -> pd.DataFrame:
    """The table with all texts of its cells and its columns' names guarded; numbers stay."""
    safe = table.map(lambda cell: guarded(cell) if isinstance(cell, str) else cell)
    return safe.rename(columns=lambda name: guarded(name) if isinstance(name, str) else name)
