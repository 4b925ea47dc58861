"""Tables read from files: CSV and its dialects, JSON lines and Parquet.

May import `tables.notation`. It knows bytes, text encodings and separators. It must not know targets, networks or
scaling.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import sys
import zlib
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl

from fastbp.tables.notation import has_decimal_commas, texts_of, typed

SEPARATORS = (",", ";", "\t", "|")

_SNIFFED_CHARACTERS = 1 << 16
_SNIFFED_RECORDS = 50
_END = "end of the table"  # a record put after the last one; an open quote would swallow this record


@dataclass(frozen=True)
class Table:
    """The cells of a table as the file holds them, and the dialect of the file.

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
    """

    cells: pl.DataFrame
    separator: str = ","
    decimal_comma: bool = False
    notices: tuple[str, ...] = ()

    def values(self, as_text: frozenset[str] = frozenset()) -> pl.DataFrame:
        """Return the columns with types: numbers or dates if no cell holds anything else, otherwise text.

        Missing cells do not count.

        Parameters
        ----------
        as_text : frozenset of str, default empty
            Names of columns that stay text even if all their cells are numbers or dates.

        Returns
        -------
        polars.DataFrame of shape (n_rows, n_columns)
        """
        columns = []
        for column in self.cells:
            if column.name in as_text and column.dtype != pl.String and not column.dtype.is_nested():
                column = column.cast(pl.String)
            if column.dtype == pl.String:
                column = texts_of(column) if column.name in as_text else typed(column, self.separator)
            columns.append(column)
        return pl.DataFrame(columns)


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read a table from a file: CSV and its dialects, JSON lines, each also compressed by gzip, or Parquet.

    The first bytes of a file decide its format, and its name has no effect. Text is UTF-8, UTF-16 with a byte-order
    mark, or Windows-1252 (which has the letters of Latin-1). A comma, semicolon, tab or bar separates cells.

    Parameters
    ----------
    path : path-like
        "-" is standard input.

    Returns
    -------
    Table

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If the file holds no table. The message says why.
    """
    path = Path(path)
    if str(path) == "-":
        path, data = Path("standard input"), sys.stdin.buffer.read()
    elif path.is_dir():
        raise ValueError(f"{path} is a directory, not a file")
    else:
        data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        data = _decompressed(data, path)
    if data.startswith(b"PAR1"):
        table = _read_parquet(data, path)
    elif re.match(rb"(\xef\xbb\xbf)?\s*\[?\s*\{\s*[\"}]", data):
        table = _read_json_lines(data, path)
    else:
        notices: list[str] = []
        table = _read_text(_decoded(data, path, notices), path, notices)
    if table.cells.height == 0:
        raise ValueError(f"{path} has a header but no rows")
    return table


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]


def _decompressed(data: bytes, path: Path) -> bytes:
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is a damaged gzip file ({_first_line(error)})") from None


def _read_parquet(data: bytes, path: Path) -> Table:
    try:
        return Table(pl.read_parquet(io.BytesIO(data)))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{path} is a damaged Parquet file ({_first_line(error)})") from None


def _read_json_lines(data: bytes, path: Path) -> Table:
    try:
        file = io.BytesIO(data.removeprefix(b"\xef\xbb\xbf").lstrip())
        is_array = file.getvalue().startswith(b"[")
        return Table(pl.read_json(file) if is_array else pl.read_ndjson(file, infer_schema_length=None))
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{path} is no table of JSON lines ({_first_line(error)})") from None


def _decoded(data: bytes, path: Path, notices: list[str]) -> str:
    """Return bytes as text without a byte-order mark, in which lines end with LF or CR LF."""
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            text = data.decode("utf-16")
        else:
            try:
                text = data.decode("utf-8-sig")
            except UnicodeDecodeError:
                text = data.decode("cp1252")
                notices.append("the file is not UTF-8; its text is read as Windows-1252 (Latin-1)")
    except UnicodeDecodeError:
        text = "\0"
    text = text.rstrip("\x1a").rstrip("\r\n")  # 0x1a ends a file of DOS
    start = text[:4096]
    n_control = sum(character < " " and character not in "\t\n\v\f\r" for character in start)
    if "\0" in text or n_control > 0.01 * len(start):
        raise ValueError(f"{path} is neither a text table (CSV, TSV) nor Parquet: it holds binary data")
    if not text.strip():
        raise ValueError(f"{path} is empty")
    return text if "\n" in text else text.replace("\r", "\n")


def _read_text(text: str, path: Path, notices: list[str]) -> Table:
    announced = re.match(r"sep=([,;\t|])\r?\n", text)  # a first line that Excel writes
    if announced:
        text = text[announced.end() :]
    separator = announced[1] if announced else _sniffed_separator(text)
    cells = _cells(text, separator, path, notices)
    names = [name.strip() for name in cells.columns]
    if len(set(names)) == len(names):
        cells.columns = names
    return Table(cells, separator, has_decimal_commas(cells, separator), tuple(notices))


def _cells(text: str, separator: str, path: Path, notices: list[str]) -> pl.DataFrame:
    """Parse a text table. A table that is not a rectangle is repaired first, as polars accepts short rows silently."""
    # All columns stay text: a type that polars infers would lose how a cell was written.
    if _is_rectangular(text, separator):
        with suppress(pl.exceptions.PolarsError):
            return pl.read_csv(text.encode(), separator=separator, infer_schema=False)
    return pl.read_csv(_repaired(text, separator, path, notices).encode(), separator=separator, infer_schema=False)


def _sniffed_separator(text: str) -> str:
    """Return the separator for which most of the first records have as many cells as the header."""

    def agreement(separator: str) -> tuple[float, int]:
        lines = io.StringIO(text[:_SNIFFED_CHARACTERS], newline="")
        records = [record for record in islice(csv.reader(lines, delimiter=separator), _SNIFFED_RECORDS) if record]
        width = len(records[0])
        return (sum(len(record) == width for record in records) / len(records) if width > 1 else 0.0, width)

    return max(SEPARATORS, key=agreement)


def _is_rectangular(text: str, separator: str) -> bool:
    """Return whether all records have as many cells as the header; separators within quotes do not count."""
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    quotes = data == ord('"')
    outside = np.logical_not(np.logical_xor.accumulate(quotes))
    if not outside[-1]:
        return False
    (ends,) = np.nonzero((data == ord("\n")) & outside)
    (separators,) = np.nonzero((data == ord(separator)) & outside)
    n_separators = np.bincount(np.searchsorted(ends, separators), minlength=ends.size + 1)
    return bool(np.all(n_separators == n_separators[0]))


def _repaired(text: str, separator: str, path: Path, notices: list[str]) -> str:
    """Return the table without blank lines, stray quotes and empty extra cells, and with short rows filled up."""
    reader = csv.reader(io.StringIO(f"{text}\n{_END}", newline=""), delimiter=separator)
    repaired = io.StringIO()
    writer = csv.writer(repaired, delimiter=separator, lineterminator="\n")
    width, n_short, first_short, line = 0, 0, 0, 1
    try:
        for record in reader:
            if record == [_END]:
                break
            start, line = line, reader.line_num + 1
            if not record:
                continue
            width = width or len(record)
            if len(record) > width and any(cell.strip() for cell in record[width:]):
                raise ValueError(f"{path}: line {start} has {len(record)} cells, where the header has {width}")
            if len(record) < width:
                n_short, first_short = n_short + 1, first_short or start
            writer.writerow((record + [""] * width)[:width])
        else:
            raise ValueError(f"{path}: a quote is opened in line {start} and never closed")
    except csv.Error as error:
        raise ValueError(f"{path}: line {reader.line_num} cannot be read ({error})") from None
    if n_short:
        rows = "1 row has" if n_short == 1 else f"{n_short} rows have"
        notices.append(
            f"{rows} fewer cells than the header (the first is line {first_short}); their other cells are missing"
        )
    return repaired.getvalue()
