"""What the text columns of a table hold: numbers, dates or texts, and which odd cells then count as missing.

May import `tables.notation`. It must not know files, targets or models.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from fastbp.tables.notation import (
    MISSING_NOTED,
    dates_of,
    has_leading_zeros,
    is_mostly_numbers,
    known_of,
    numbers_of,
    sample_of,
    texts_of,
)

# A column of at least MIN_CELLS is numbers (or dates) if at least MIN_SHARE of its cells are, and at most MAX_ODD
# different texts are not. From NOTED_SHARE on, a notice says why the column is text.
MIN_CELLS = 20
MIN_SHARE = 0.95
MAX_ODD = 5
NOTED_SHARE = 0.8


@dataclass(frozen=True)
class Reading:
    """How the cells of a table are read. A model keeps the reading of its training table.

    Attributes
    ----------
    decimal_mark : {".", ","} or None
        None leaves the mark to the file.
    odd : dict of str to list of str
        For each column of numbers or dates, the texts that count as missing.
    numbers : collection of str
        Names of the columns that are numbers even if whole numbers have leading zeros.
    texts : collection of str
        Names of the columns that stay text.
    """

    decimal_mark: str | None = None
    odd: dict[str, list[str]] = field(default_factory=dict)
    numbers: Collection[str] = ()
    texts: Collection[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what a model keeps, as JSON can hold it."""
        return {"decimal_mark": self.decimal_mark, "odd": self.odd}


def typed_column(
    column: pl.Series, mark: str, separator: str, lines: Sequence[int], reading: Reading
) -> tuple[pl.Series, list[str], str | None]:
    """Return a text column with its type, the odd texts that count as missing, and a notice or None.

    Parameters
    ----------
    column : polars.Series of str
    mark : {".", ","}
        The decimal mark of the file. If commas do not separate the cells, a column can have the other one.
    separator : str
    lines : sequence of int
        The line of each cell, for the notice.
    reading : Reading
    """
    name = column.name
    text = known_of(column)
    if name in reading.texts or text.null_count() == len(text):
        return texts_of(column), [], None
    zeros = text.filter(has_leading_zeros(text))
    is_code = name not in reading.numbers and len(zeros) > 0 and _are_codes(text, len(zeros))
    allowed = [*MISSING_NOTED, *(odd.lower() for odd in reading.odd.get(name, ()))]
    if name in reading.odd and text.drop_nulls().str.to_lowercase().is_in(allowed).all():
        return text.set(text.is_not_null(), None), [], None
    closest: tuple[int, str, pl.Series] | None = None
    for kind, values in _candidates(text, mark, separator, is_code):
        odd = text.filter(values.is_null())
        strange = odd.filter(~odd.str.to_lowercase().is_in(allowed)).drop_nulls()
        n_good = len(values) - values.null_count()
        n_cells = n_good + len(strange)
        is_tolerable = n_cells >= MIN_CELLS and n_good >= MIN_SHARE * n_cells and strange.n_unique() <= MAX_ODD
        if n_good and (len(strange) == 0 or is_tolerable):
            found = odd.drop_nulls()
            if len(found) == 0:
                notice = None
                if len(zeros) and name not in reading.numbers:
                    notice = f"column {name!r} is numbers, although {_zeros_of(text, lines)}"
                return values, [], notice
            said = _counted(text, values, kind, lines)
            return (
                values,
                found.unique(maintain_order=True).to_list(),
                f"column {name!r}: {said}; they count as missing",
            )
        if n_cells >= MIN_CELLS and n_good >= NOTED_SHARE * n_cells and (closest is None or n_good > closest[0]):
            closest = (n_good, kind, values)
    notice = f"column {name!r} is read as text: {_zeros_of(text, lines)}" if is_code else None
    if closest is not None:
        notice = f"column {name!r} is read as text: {_counted(text, closest[2], closest[1], lines)}"
    return texts_of(column), [], notice


def _are_codes(text: pl.Series, n_zeros: int) -> bool:
    """Return whether texts are codes: leading zeros are no rare exception, or all texts have the same length."""
    return (
        n_zeros > (1 - MIN_SHARE) * (len(text) - text.null_count()) or text.str.len_chars().drop_nulls().n_unique() == 1
    )


def _zeros_of(text: pl.Series, lines: Sequence[int]) -> str:
    rows = has_leading_zeros(text).arg_true()
    first = f"{text[rows[0]]!r} in line {lines[rows[0]]}"
    cells = "1 cell is a whole number" if len(rows) == 1 else f"{len(rows):,} cells are whole numbers"
    return f"{cells} with leading zeros ({first})"


def odd_cells(text: pl.Series, values: pl.Series, places: Sequence[int], word: str = "line") -> str:
    """Return the first odd texts of a column with their places: "'..' (line 302), 'x' (line 7)"."""
    rows = (text.is_not_null() & values.is_null()).arg_true().to_list()
    first: dict[str, int] = {}
    for row in rows:
        first.setdefault(text[row], row)
        if len(first) > MAX_ODD:
            break
    shown = [f"{odd!r} ({word} {places[row]})" for odd, row in list(first.items())[:MAX_ODD]]
    return ", ".join(shown) + (", …" if len(rows) > len(shown) else "")


def _counted(text: pl.Series, values: pl.Series, kind: str, lines: Sequence[int]) -> str:
    n_cells, n_good = len(text) - text.null_count(), len(values) - values.null_count()
    return f"{n_good:,} of {n_cells:,} cells are {kind}, but not {odd_cells(text, values, lines)}"


def _candidates(text: pl.Series, mark: str, separator: str, is_code: bool) -> list[tuple[str, pl.Series]]:
    """Return a column as numbers, with the better decimal mark, and as dates, with null for odd cells."""
    found = []
    if not is_code and is_mostly_numbers(sample_of(text)):
        numbers = numbers_of(text, mark)
        if numbers.null_count() > text.null_count() and separator != ",":
            others = numbers_of(text, "," if mark == "." else ".")
            numbers = others if others.null_count() < numbers.null_count() else numbers
        if numbers.null_count() < len(numbers):
            found.append(("numbers", numbers))
        if numbers.null_count() == text.null_count():
            return found
    dates = dates_of(text)
    if dates is not None and dates.null_count() < len(dates):
        found.insert(0, ("dates", dates))
    return found
