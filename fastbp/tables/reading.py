"""Tables read from files: CSV and its dialects, JSON lines and Parquet.

May import the other files that read. It must not know targets, networks or scaling.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from fastbp.tables.decoding import decoded
from fastbp.tables.loading import Report, memory_error, read_bytes
from fastbp.tables.notation import decimal_mark
from fastbp.tables.records import read_records
from fastbp.tables.table import Table
from fastbp.tables.typed import read_json, read_parquet

__all__ = ["Table", "read_table"]

_INDEX = re.compile(r"(Unnamed: \d+(\.\d+)*)?")  # over the index that pandas writes, and over one that it read


def read_table(path: str | os.PathLike[str], report: Report | None = None) -> Table:
    """Read a table from a file: CSV and its dialects, JSON lines, each also compressed by gzip, or Parquet.

    The first bytes of a file decide its format, and its name has no effect. Text is UTF-8, UTF-16, UTF-32 or
    Windows-1252 (which has the letters of Latin-1). A comma, semicolon, tab or bar separates cells.

    Parameters
    ----------
    path : path-like
        "-" is standard input.
    report : function of two integers, optional
        Is told how many bytes are read, and the size of the file, or 0 for a pipe.

    Returns
    -------
    Table

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file holds no table, or more than an eighth of the machine's memory. The message says why.
    """
    path = Path(path)
    name = Path("standard input") if str(path) == "-" else path
    return table_of(lambda: read_bytes(path, report), name)


def table_of(read: Callable[[], bytes], path: Path) -> Table:
    """Return the table in the bytes that a function reads; `read_table` has the errors. Messages name `path`."""
    try:
        data = read()
        if data.startswith(b"PAR1"):
            table = _typed_table(*read_parquet(data, path))
        elif re.match(rb"(\xef\xbb\xbf)?\s*\[?\s*\{\s*[\"}]", data):
            table = _typed_table(read_json(data, path))
        else:
            notices: list[str] = []
            text, preamble = decoded(data, path, notices)
            del data  # the text takes as much memory
            table = _read_text(text, preamble, path, notices)
    except MemoryError:
        raise ValueError(memory_error(path)) from None
    if table.cells.height == 0:
        raise ValueError(f"{path} has a header but no rows")
    return table


def _typed_table(cells: pl.DataFrame, index: tuple[str, ...] = ()) -> Table:
    notices = tuple(f"column {name!r} is left out: it is pandas' index" for name in index)
    return Table(cells, notices=notices, is_typed=True, index=index)


def _read_text(text: str, preamble: str, path: Path, notices: list[str]) -> Table:
    text = text.rstrip("\x1a").rstrip("\r\n")  # 0x1a ends a file of DOS
    if not text.strip():
        raise ValueError(f"{path} is empty")
    text = text.replace("\r\r\n", "\r\n") if "\n" in text else text.replace("\r", "\n")
    line_end = "\r\n" if re.match(r"[^\n]*\r\n", text) else "\n"
    if announced := re.match(r"sep=[,;\t|]\r?\n", text):
        preamble += announced[0]
    records = read_records(text, path, notices)
    names, twins = unique_names(records.headers, notices)
    cells = records.cells
    cells.columns = names
    mark = decimal_mark(cells, records.separator)
    of_table = Index(records.headers, names)
    of_table.count(cells)
    index = of_table.names()
    notices += [f"column {name!r} is left out: it is pandas' index" for name in index]
    return Table(
        cells=cells,
        separator=records.separator,
        decimal_comma=mark.mark == ",",
        notices=tuple(notices),
        index=index,
        headers=records.headers,
        twins=twins,
        lines=records.lines,
        line_end=line_end,
        preamble=preamble,
        mark=mark,
    )


def unique_names(headers: tuple[str, ...], notices: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return a different name for each column, and for each column whose header stands over another too, the header."""
    stripped = [header.strip() for header in headers]
    places: dict[str, list[int]] = {}
    for place, name in enumerate(stripped):
        places.setdefault(name, []).append(place)
    names = list(stripped)
    twins: dict[str, str] = {}
    for name, own in places.items():
        if len(own) == 1:
            continue
        for place in own[1:]:
            free = f"{name} (column {place + 1})" if name else f"column {place + 1}"
            while free in names:
                free += "_"
            names[place] = free
        twins |= dict.fromkeys((names[place] for place in own), name)
        listed = ", ".join(repr(names[place]) for place in own[1:])
        notices.append(f"{len(own)} columns have the name {name!r}; those after the first are called {listed}")
    return names, twins


class Index:
    """The first columns whose headers are pandas' names for an index, and which of them hold distinct whole numbers.

    Parameters
    ----------
    headers : sequence of str
    names : sequence of str
        The names of the same columns.
    """

    def __init__(self, headers: Sequence[str], names: Sequence[str]) -> None:
        self._n_columns = len(names)
        self._numbers: dict[str, list[pl.Series]] = {}
        for header, name in zip(headers, names, strict=True):
            if not _INDEX.fullmatch(header.strip()):
                break
            self._numbers[name] = []

    def count(self, cells: pl.DataFrame) -> None:
        """Add the rows of a block. A column that holds anything but whole numbers ends the index."""
        for name in list(self._numbers):
            numbers = cells[name].str.strip_chars().cast(pl.Int64, strict=False)
            if numbers.null_count():
                listed = list(self._numbers)
                self._numbers = {kept: self._numbers[kept] for kept in listed[: listed.index(name)]}
                return
            self._numbers[name].append(numbers)

    def names(self) -> tuple[str, ...]:
        """Return the names of the columns that hold an index."""
        index: list[str] = []
        for name, blocks in self._numbers.items():
            numbers = pl.concat(blocks) if blocks else pl.Series(dtype=pl.Int64)
            if numbers.n_unique() < len(numbers):
                break
            index.append(name)
        return tuple(index) if len(index) < self._n_columns else ()
