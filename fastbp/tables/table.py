"""A table as a file holds it: its cells, the dialect of the file, and the columns with their types.

May import the other files about cells. It must not know bytes, targets or models.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import polars as pl

from fastbp.tables.kinds import MIN_CELLS, Reading, typed_column
from fastbp.tables.loading import Report
from fastbp.tables.notation import NO_MARK, Mark, known_of
from fastbp.tables.typed import text_of


class Typed(NamedTuple):
    """The columns of a table with their types.

    Attributes
    ----------
    frame : polars.DataFrame of shape (n_rows, n_columns)
    notices : list of str
        Which cells count as missing although they hold something, one sentence per column.
    reading : Reading
        How to read another table in the same way.
    """

    frame: pl.DataFrame
    notices: list[str]
    reading: Reading


@dataclass(frozen=True)
class Table:
    r"""The cells of a table as the file holds them, and the dialect of the file.

    Attributes
    ----------
    cells : polars.DataFrame of shape (n_rows, n_columns)
        Columns of text from a text file, typed columns from JSON lines or Parquet.
    separator : str, default ","
        The character between two cells. A comma if the file is not text.
    decimal_comma : bool, default False
        Whether the file writes one and a half as ``1,5``.
    notices : tuple of str, default ()
        What was guessed or repaired, one sentence each.
    is_typed : bool, default False
        Whether the file holds types. A text of such a file is no number, no date and not missing.
    index : tuple of str, default ()
        Names of the columns that hold pandas' index.
    headers : tuple of str, default ()
        The names of the columns as the file writes them. Empty if they are those of `cells`.
    twins : dict of str to str, default {}
        For each column of `cells` whose name stands over another column too, this name.
    lines : sequence of int, default ()
        The line of the file in which each row starts. Empty if the file is not text.
    line_end : str, default "\n"
    preamble : str, default ""
        What the file holds before its header: a byte-order mark, the line ``sep=;``, or both.
    mark : Mark, default NO_MARK
        The decimal mark that the file itself shows.
    reading : Reading, default Reading()
        How a model read its training table.
    """

    cells: pl.DataFrame
    separator: str = ","
    decimal_comma: bool = False
    notices: tuple[str, ...] = ()
    is_typed: bool = False
    index: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    twins: dict[str, str] = field(default_factory=dict)
    lines: Sequence[int] = ()
    line_end: str = "\n"
    preamble: str = ""
    mark: Mark = NO_MARK
    reading: Reading = field(default_factory=Reading)

    def values(self, as_text: frozenset[str] = frozenset(), keep: Collection[str | None] = ()) -> pl.DataFrame:
        """Return the columns with types: numbers or dates if no cell holds anything else, otherwise text.

        Missing cells do not count, and neither do a few odd cells; see `typed_column`.

        Parameters
        ----------
        as_text : frozenset of str, default empty
            Names of columns that stay text even if all their cells are numbers or dates.
        keep : collection of str, default ()
            Names of columns that are returned even if they hold pandas' index.

        Returns
        -------
        polars.DataFrame of shape (n_rows, n_columns)
        """
        return replace(self, reading=replace(self.reading, texts={*self.reading.texts, *as_text})).typed(keep).frame

    def typed(self, keep: Collection[str | None] = (), report: Report | None = None) -> Typed:
        """Return the columns as `values` does, with notices about odd cells, and how to read another table so.

        Parameters
        ----------
        keep : collection of str, default ()
            As for `values`.
        report : function of two integers, optional
            Is told how many columns are done, and how many there are.
        """
        lines = self.lines or range(1, self.cells.height + 1)
        mark = "," if self.decimal_comma else "."
        repeated = self.repeated_headers()
        notices = []
        if self._is_mark_guessed():
            notices.append(
                f"no cell proves the decimal mark: {self.mark.example!r} is read with the decimal mark {mark!r}"
            )
        if n := int(repeated.sum()):
            notices.append(repeated_notice(n, lines[repeated.arg_true()[0]]))
        columns: dict[str, pl.Series] = {}  # a list of series would rename a column without a name
        odd_texts: dict[str, list[str]] = {}
        for place, column in enumerate(self.cells):
            if report is not None:
                report(place, self.cells.width)
            name = column.name
            if name in self.index and name not in keep:
                continue
            if name in self.reading.texts and column.dtype != pl.String and not column.dtype.is_nested():
                column = text_of(column)
            if column.dtype == pl.String and not self.is_typed:
                column = without(column, repeated) if n else column
                column, odd, notice = typed_column(column, mark, self.separator, lines, self.reading)
                if odd:
                    odd_texts[name] = odd
                if notice is not None:
                    notices.append(notice)
            columns[name] = column
        if self._starts_with_units(columns):
            notices.append(units_notice(lines[0]))
            columns = {name: without(column, first_row(column)) for name, column in columns.items()}
        return Typed(pl.DataFrame(columns), notices, Reading(None if self.mark.mark is None else mark, odd_texts))

    def read_like(self, reading: Reading) -> Table:
        """Return the table to be read as another one was. A decimal mark that a cell of this file proves is kept."""
        is_comma = self.decimal_comma
        if not self.mark.is_proven and reading.decimal_mark is not None:
            is_comma = reading.decimal_mark == ","
        return replace(self, reading=reading, decimal_comma=is_comma)

    def check_single(self, name: str) -> None:
        """Raise a `ValueError` if a name stands over more than one column."""
        if name in self.twins.values():
            places = [i + 1 for i, column in enumerate(self.cells.columns) if self.twins.get(column) == name]
            listed = " and ".join(map(str, places))
            raise ValueError(
                f"the table has {len(places)} columns named {name!r} (columns {listed}): rename all but one"
            )

    def _is_mark_guessed(self) -> bool:
        """Return whether a number could be read with either decimal mark, and nothing but a default decides."""
        is_open = self.separator != "," and not self.mark.is_proven and self.reading.decimal_mark is None
        return is_open and self.mark.mark is not None

    def _starts_with_units(self, columns: dict[str, pl.Series]) -> bool:
        """Return whether the first row holds an odd text, such as a unit, in each of two or more columns of numbers."""
        if self.is_typed or self.cells.height < MIN_CELLS:
            return False
        of_numbers = [name for name, column in columns.items() if column.dtype.is_numeric()]
        odd = [known_of(self.cells[name].head(1))[0] is not None and columns[name][0] is None for name in of_numbers]
        return len(odd) > 1 and all(odd)

    def repeated_headers(self) -> pl.Series:
        """Return which rows hold the names of all columns, (n_rows,)."""
        repeated = pl.Series([False]).new_from_index(0, self.cells.height)
        if len(self.headers) < 2:
            return repeated
        is_same = (self.cells.to_series(0) == self.headers[0]).fill_null(False)
        for row in is_same.arg_true().to_list()[:1000]:
            texts = tuple((cell or "").strip() for cell in self.cells.row(row))
            repeated[row] = texts == tuple(header.strip() for header in self.headers)
        return repeated


def without(column: pl.Series, is_missing: pl.Series) -> pl.Series:
    """Return a column with null for some of its cells."""
    return column.set(is_missing, None)


def first_row(column: pl.Series) -> pl.Series:
    """Return which cell is the first one, (n,)."""
    return pl.int_range(len(column), eager=True) == 0


def repeated_notice(n: int, first_line: int) -> str:
    """Return the notice about rows that repeat the header."""
    rows = "1 row repeats" if n == 1 else f"{n} rows repeat"
    return f"{rows} the header (the first is line {first_line}); their cells count as missing"


def units_notice(line: int) -> str:
    """Return the notice about a first row of units."""
    return f"line {line} holds no number in any column of numbers; all its cells count as missing"
