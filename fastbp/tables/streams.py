"""Tables that are read in blocks of rows for a model, so that a table of any size takes little memory.

A text table in Unicode is read twice: first all cells are counted, because all of them decide the decimal mark and the
kind of a column, and then the blocks are returned. Tables that show these only as a whole are read as a whole.

May import the other files that read. It must not know networks or the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import polars as pl

from fastbp.tables.blocks import (
    BLOCK_ROWS,
    Layout,
    NotInBlocksError,
    NotRectangularError,
    blocks_of,
    layout_of,
)
from fastbp.tables.counting import ColumnCounts
from fastbp.tables.kinds import MIN_CELLS, Reading
from fastbp.tables.loading import Source, max_bytes
from fastbp.tables.notation import NO_MARK, Mark, decimal_mark
from fastbp.tables.parquet_blocks import ParquetBlocks
from fastbp.tables.reading import Index, table_of, unique_names
from fastbp.tables.table import Table, first_row, repeated_notice, units_notice, without

Tell = Callable[[str, str, int, int], None]  # takes phase, unit, and how much is done, and how much there is, or 0


class Part(NamedTuple):
    """Some rows of a table.

    Attributes
    ----------
    cells : polars.DataFrame of shape (n, n_columns)
        As the file holds them.
    typed : polars.DataFrame of shape (n, n_used)
        The columns of the model, with their types.
    """

    cells: pl.DataFrame
    typed: pl.DataFrame


@dataclass(frozen=True)
class Stream:
    """A table in blocks of rows.

    Attributes
    ----------
    like : Table
        Has the dialect of the file, and no rows.
    names : tuple of str
        The columns of the table without pandas' index.
    notices : tuple of str
    n_rows : int
    parts : function
        Returns an iterator of `Part` from the first row on.
    whole : function
        Returns all columns with types, for a message about all rows. Takes as much memory as the table.
    """

    like: Table
    names: tuple[str, ...]
    notices: tuple[str, ...]
    n_rows: int
    parts: Callable[[], Iterator[Part]]
    whole: Callable[[], pl.DataFrame]


def stream_of(source: Source, reading: Reading, used: Collection[str], keep: Collection[str], tell: Tell) -> Stream:
    """Return a table in blocks of rows, read as the training table of a model was.

    Parameters
    ----------
    source : Source
    reading : Reading
    used : collection of str
        The columns that the model uses.
    keep : collection of str
        The columns of the training table: they are read even if they hold pandas' index.
    tell : function
        Is told how much is read.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file holds no table. The message says why.
    """
    try:
        if source.start.startswith(b"PAR1"):
            return _parquet_stream(source, reading, keep, tell)
        return _text_stream(source, reading, used, keep, tell)
    except NotInBlocksError as reason:
        if source.size > max_bytes():
            _refuse_whole(source, reason)
        return _whole_stream(source, reading, keep, tell)


def _refuse_whole(source: Source, reason: NotInBlocksError) -> None:
    try:
        source.content()
    except ValueError as error:
        raise ValueError(f"{source.path} must be read as a whole, because {reason}: {error}") from None


def _whole_stream(source: Source, reading: Reading, keep: Collection[str], tell: Tell) -> Stream:
    tell("reading the table", "", 0, 0)
    table = table_of(source.content, source.path).read_like(reading)
    typed = table.typed(keep)

    def parts() -> Iterator[Part]:
        for row in range(0, table.cells.height, BLOCK_ROWS):
            yield Part(table.cells[row : row + BLOCK_ROWS], typed.frame[row : row + BLOCK_ROWS])

    notices = (*table.notices, *typed.notices)
    names = tuple(typed.frame.columns)
    return Stream(table, names, notices, table.cells.height, parts, lambda: typed.frame)


# --- Parquet ------------------------------------------------------------------------------------------------------


def _parquet_stream(source: Source, reading: Reading, keep: Collection[str], tell: Tell) -> Stream:
    given = ParquetBlocks(source, lambda done, total: tell("reading", "rows", done, total))
    index = given.index
    notices = tuple(f"column {name!r} is left out: it is pandas' index" for name in index)
    like = Table(given.empty, notices=notices, is_typed=True, index=index, reading=reading)

    def parts() -> Iterator[Part]:
        for cells in given.blocks():
            yield Part(cells, replace(like, cells=cells).typed(keep).frame)

    def whole() -> pl.DataFrame:
        return replace(like, cells=pl.concat(list(given.blocks()))).typed(keep).frame

    names = tuple(like.typed(keep).frame.columns)
    return Stream(like, names, notices, given.n_rows, parts, whole)


# --- text ---------------------------------------------------------------------------------------------------------


def _text_stream(source: Source, reading: Reading, used: Collection[str], keep: Collection[str], tell: Tell) -> Stream:
    layout = layout_of(source)
    is_repaired = False
    try:
        facts = _facts(source, layout, is_repaired, reading, used, tell)
    except NotRectangularError:
        is_repaired = True
        facts = _facts(source, layout, is_repaired, reading, used, tell)
    like = facts.like
    columns = {name: facts.columns[name] for name in like.cells.columns if name in used}
    names = tuple(name for name in like.cells.columns if name not in like.index or name in keep)
    notices = [*like.notices, *facts.notices]
    for name in names:
        if (notice := facts.columns[name].decide(name in used)) is not None:
            notices.append(notice)
    starts_with_units = facts.starts_with_units(names)
    if starts_with_units:
        notices.append(units_notice(facts.first_line))

    def parts() -> Iterator[Part]:
        is_units = starts_with_units
        for cells, _ in blocks_of(source, layout, is_repaired, [], _nobody):
            cells.columns = like.cells.columns
            table = replace(like, cells=cells)
            repeated = table.repeated_headers()
            typed = [columns[name].typed(without(cells[name], repeated)) for name in columns]
            typed = [without(column, first_row(column)) for column in typed] if is_units else typed
            is_units = False
            yield Part(cells, pl.DataFrame(dict(zip(columns, typed, strict=True))))

    def whole() -> pl.DataFrame:
        return table_of(source.content, source.path).read_like(reading).typed(keep).frame

    return Stream(like, names, tuple(notices), facts.n_rows, parts, whole)


def _nobody(done: int, size: int) -> None:
    """Take a report that nobody wants: the rows that are predicted tell more."""


@dataclass(frozen=True)
class _Facts:
    """What only all rows of a text table tell."""

    like: Table
    columns: dict[str, ColumnCounts]
    n_rows: int
    first_line: int
    notices: list[str]

    def starts_with_units(self, names: Sequence[str]) -> bool:
        """Return whether the first row holds an odd text in each of two or more columns of numbers."""
        odd = [self.columns[name].is_first_odd for name in names if self.columns[name].kind == "numbers"]
        return self.n_rows >= MIN_CELLS and len(odd) > 1 and all(odd)


def _facts(
    source: Source,
    layout: Layout,
    is_repaired: bool,
    reading: Reading,
    used: Collection[str],
    tell: Tell,
    mark: Mark | None = None,
) -> _Facts:
    """Count the cells of a text table. The mark of the first block is tried first, unless one is given."""
    ragged: list[str] = []
    repaired_notices: list[str] = []
    names, twins = unique_names(layout.headers, ragged)
    like = Table(
        cells=pl.DataFrame(schema=dict.fromkeys(names, pl.String)),
        separator=layout.separator,
        headers=layout.headers,
        twins=twins,
        line_end=layout.line_end,
        preamble=layout.preamble,
    )
    columns: dict[str, ColumnCounts] = {}
    marks: list[Mark] = []
    index = Index(layout.headers, names)
    n_rows, first_line, n_repeated, first_repeated = 0, 0, 0, 0
    given = blocks_of(
        source, layout, is_repaired, repaired_notices, lambda done, size: tell("reading", "bytes", done, size)
    )
    for cells, lines in given:
        cells.columns = names
        marks.append(decimal_mark(cells, layout.separator))
        if not columns:
            first_line = lines[0]
            assumed = mark or marks[0]
            is_comma = replace(like, mark=assumed, decimal_comma=assumed.mark == ",").read_like(reading).decimal_comma
            columns = {name: ColumnCounts(name, "," if is_comma else ".", layout.separator, reading) for name in names}
        index.count(cells)
        repeated = replace(like, cells=cells).repeated_headers()
        if n := int(repeated.sum()):
            first_repeated = first_repeated or lines[repeated.arg_true()[0]]
            n_repeated += n
        for name, counts in columns.items():
            counts.count(without(cells[name], repeated) if n else cells[name], lines)
        n_rows += cells.height
    if n_rows == 0:
        raise NotInBlocksError("it has no rows")
    found = _mark_of(marks, layout.separator, reading)
    like = replace(like, mark=found, decimal_comma=found.mark == ",").read_like(reading)
    if like.decimal_comma != is_comma:
        if mark is not None:
            raise NotInBlocksError("its parts have different decimal marks")
        return _facts(source, layout, is_repaired, reading, used, tell, found)
    left_out = index.names()
    said = [f"column {name!r} is left out: it is pandas' index" for name in left_out]
    like = replace(like, index=left_out, notices=(*repaired_notices, *ragged, *said))
    notices = [repeated_notice(n_repeated, first_repeated)] if n_repeated else []
    return _Facts(like, columns, n_rows, first_line, notices)


def _mark_of(marks: list[Mark], separator: str, reading: Reading) -> Mark:
    """Return the decimal mark of a file by those of its blocks."""
    proven = {mark.mark: mark for mark in marks if mark.is_proven}
    if len(proven) > 1:
        raise NotInBlocksError("its parts have different decimal marks")
    if proven:
        return next(iter(proven.values()))
    shown = [mark for mark in marks if mark.mark is not None]
    if shown and separator != "," and reading.decimal_mark is None:
        raise NotInBlocksError("no cell proves its decimal mark")
    return shown[0] if shown else NO_MARK
