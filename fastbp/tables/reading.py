"""A table in a file, as people have it, made into a polars frame.

It knows bytes, encodings, separators and how numbers are written. It must not know what the table is for: no target,
no network, no scaling.
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

SEPARATORS = (",", ";", "\t", "|")

# What stands for "missing" in any column. Spelled exactly: "Na" is a chemical element.
MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "Null", "null", "?", "<NA>", "#N/A")
# What also stands for it, in small letters, where every other cell of the column is a number.
MISSING_NUMBER = ("", "na", "n/a", "nan", "null", "?", "<na>", "none", "-", "--", ".", "#n/a", "#value!", "#div/0!")

# Of dates, and of dates with times.
DATES = ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M")

_SNIFFED_CHARACTERS = 1 << 16
_SNIFFED_RECORDS = 50
_END = "end of the table"  # a record of our own behind the last one: it is not seen again if a quote stays open


@dataclass(frozen=True)
class Table:
    """A table as its file holds it.

    Attributes
    ----------
    cells : polars.DataFrame
        The cells untouched: text where the file is text, typed columns where it is Parquet.
    separator : str
        What stands between two cells; a comma for Parquet.
    decimal_comma : bool
        Whether the file writes one and a half as ``1,5``.
    notices : tuple of str
        What had to be guessed or mended, one sentence each.
    """

    cells: pl.DataFrame
    separator: str = ","
    decimal_comma: bool = False
    notices: tuple[str, ...] = ()

    def values(self, as_text: frozenset[str] = frozenset()) -> pl.DataFrame:
        """Give every column its type: numbers or dates where all cells that are there are such, otherwise text.

        Parameters
        ----------
        as_text : frozenset of str
            Columns to leave as text although they could be read as numbers.
        """
        columns = []
        for column in self.cells:
            if column.name in as_text and column.dtype != pl.String and not column.dtype.is_nested():
                column = column.cast(pl.String)
            if column.dtype == pl.String:
                if column.name in as_text:
                    column = _text(column)
                else:
                    numbers = _numbers(column, _thousands(self.separator))
                    column = _dates(_text(column)) if numbers is None else numbers
            columns.append(column)
        return pl.DataFrame(columns)


def read_table(path: str | os.PathLike[str]) -> Table:
    """Read CSV, its dialects, JSON lines, any of them compressed by gzip, or Parquet; "-" is standard input.

    The file's first bytes decide what it is, not its name. Text is UTF-8, UTF-16 with its byte-order mark, or else
    Windows-1252 (which holds Latin-1's letters). A comma, semicolon, tab or bar separates cells.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If there is no table in it; the message says why.
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
    """Return the text in `data`, with line feeds at line ends and no byte-order mark."""
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
    text = text.rstrip("\x1a").rstrip("\r\n")  # 0x1a: DOS's own end of a file
    start = text[:4096]
    n_control = sum(character < " " and character not in "\t\n\v\f\r" for character in start)
    if "\0" in text or n_control > 0.01 * len(start):
        raise ValueError(f"{path} is neither a text table (CSV, TSV) nor Parquet: it holds binary data")
    if not text.strip():
        raise ValueError(f"{path} is empty")
    return text if "\n" in text else text.replace("\r", "\n")


def _read_text(text: str, path: Path, notices: list[str]) -> Table:
    announced = re.match(r"sep=([,;\t|])\r?\n", text)  # Excel's own first line
    if announced:
        text = text[announced.end() :]
    separator = announced[1] if announced else _sniffed_separator(text)
    cells = _cells(text, separator, path, notices)
    names = [name.strip() for name in cells.columns]
    if len(set(names)) == len(names):
        cells.columns = names
    return Table(cells, separator, _has_decimal_commas(cells, separator), tuple(notices))


def _cells(text: str, separator: str, path: Path, notices: list[str]) -> pl.DataFrame:
    """Parse text with polars, after mending unless it is plainly a rectangle: polars takes a short row in silence."""
    # Everything stays text: polars' own guess of a type would lose how the cell was written.
    if _is_rectangular(text, separator):
        with suppress(pl.exceptions.PolarsError):
            return pl.read_csv(text.encode(), separator=separator, infer_schema=False)
    return pl.read_csv(_mended(text, separator, path, notices).encode(), separator=separator, infer_schema=False)


def _sniffed_separator(text: str) -> str:
    """Return the separator by which the first records agree best with the header."""

    def agreement(separator: str) -> tuple[float, int]:
        lines = io.StringIO(text[:_SNIFFED_CHARACTERS], newline="")
        records = [record for record in islice(csv.reader(lines, delimiter=separator), _SNIFFED_RECORDS) if record]
        width = len(records[0])
        return (sum(len(record) == width for record in records) / len(records) if width > 1 else 0.0, width)

    return max(SEPARATORS, key=agreement)


def _is_rectangular(text: str, separator: str) -> bool:
    """Whether every record has as many cells as the header, by counting what stands outside quotes."""
    data = np.frombuffer(text.encode(), dtype=np.uint8)
    quotes = data == ord('"')
    outside = np.logical_not(np.logical_xor.accumulate(quotes))
    if not outside[-1]:
        return False
    (ends,) = np.nonzero((data == ord("\n")) & outside)
    (separators,) = np.nonzero((data == ord(separator)) & outside)
    n_separators = np.bincount(np.searchsorted(ends, separators), minlength=ends.size + 1)
    return bool(np.all(n_separators == n_separators[0]))


def _mended(text: str, separator: str, path: Path, notices: list[str]) -> str:
    """Return the same table with blank lines, stray quotes, short rows and empty extra cells put right."""
    reader = csv.reader(io.StringIO(f"{text}\n{_END}", newline=""), delimiter=separator)
    mended = io.StringIO()
    writer = csv.writer(mended, delimiter=separator, lineterminator="\n")
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
        notices.append(f"{rows} fewer cells than the header (line {first_short}); the rest is taken as missing")
    return mended.getvalue()


def _thousands(separator: str) -> str:
    """Return the mark that groups thousands in such a file: where commas separate no cells, they mark decimals."""
    return "," if separator == "," else "."


def _has_decimal_commas(cells: pl.DataFrame, separator: str) -> bool:
    if separator == ",":
        return False
    return any(bool(c.str.contains(",", literal=True).any()) and _numbers(c, ".") is not None for c in cells)


def _text(column: pl.Series) -> pl.Series:
    column = column.str.strip_chars()
    return column.set(column.is_in(MISSING), None)


def _dates(column: pl.Series) -> pl.Series:
    """Return a column of texts as dates, or dates and times, where all that are there are such by ISO 8601."""
    n_missing = column.null_count()
    if n_missing == len(column) or not column.drop_nulls().head(1).str.contains(r"^\d{4}-\d\d-\d\d").all():
        return column
    for pattern in DATES:
        dates = column.str.strptime(pl.Datetime("us"), pattern, strict=False)
        if dates.null_count() == n_missing:
            return dates
    with_zone = column.str.replace(r"[Zz]$", "+00:00").str.replace(r"([+-]\d\d):?(\d\d)$", "${1}:${2}")
    for pattern in DATES[1:]:
        dates = with_zone.str.strptime(pl.Datetime("us", "UTC"), f"{pattern}%:z", strict=False)
        if dates.null_count() == n_missing:
            return dates
    return column


def _numbers(column: pl.Series, thousands: str) -> pl.Series | None:
    """Return a text column's numbers, as integers where all of them are, or None where a cell is no number."""
    text = column.str.strip_chars()
    text = text.set(text.str.to_lowercase().is_in(MISSING_NUMBER), None)
    if text.null_count() == len(text):
        return None
    for dtype in (pl.Int64, pl.Float64):
        numbers = text.cast(dtype, strict=False)
        if numbers.null_count() == text.null_count():
            return numbers
    group, point = re.escape(thousands), re.escape("." if thousands == "," else ",")
    grouped = rf"^[+-]?(\d+|\d{{1,3}}({group}\d{{3}})+)?({point}\d*)?([eE][+-]?\d+)?$"
    if not text.str.contains(grouped).all():
        return None
    plain = text.str.replace_all(group, "").str.replace(point, ".")
    numbers = plain.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == text.null_count() else None
