"""The records of a text table: its separator, its header and its cells, repaired where they are no rectangle.

It must not know bytes, numbers or dates.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import polars as pl

SEPARATORS = (",", ";", "\t", "|")

_SNIFFED_CHARACTERS = 1 << 16
_SNIFFED_RECORDS = 50
_PIECE = 1 << 23  # bytes that are parsed at once
_END = "end of the table"  # a record put after the last one; an open quote would swallow this record


@dataclass(frozen=True)
class Records:
    """The records of a text table.

    Attributes
    ----------
    headers : tuple of str
        The names of the columns as the file writes them, between its quotes.
    cells : polars.DataFrame of shape (n_rows, n_columns)
        Columns of text with other names.
    separator : str
    lines : sequence of int
        The line of the file in which each row starts.
    """

    headers: tuple[str, ...]
    cells: pl.DataFrame
    separator: str
    lines: Sequence[int]


def read_records(text: str, path: Path, notices: list[str]) -> Records:
    """Return the records of a text table.

    Parameters
    ----------
    text : str
        Not empty.
    path : Path
        Named in messages.
    notices : list of str
        A sentence is added if rows are filled up.

    Raises
    ------
    ValueError
        If a record is too long, a quote is not closed, or there is no row. The message names the line.
    """
    announced = re.match(r"sep=([,;\t|])\r?\n", text)  # a first line that Excel writes
    n_skipped = 1 if announced else 0
    text = text[announced.end() :] if announced else text
    with long_cells():
        separator = announced[1] if announced else sniffed_separator(text)
        headers, body, n_lines = header(text, separator)
        first_line = 1 + n_skipped + n_lines
        if not body.strip("\r\n"):
            raise ValueError(f"{path} has a header but no rows")
        encoded = body.encode()
        found = rectangle(encoded, separator, len(headers), first_line)
        if found is not None:
            return Records(headers, found[0], separator, found[1])
        given = io.TextIOWrapper(io.BytesIO(encoded), encoding="utf-8", newline="")
        blocks = list(repaired(given, separator, len(headers), first_line, path, notices))
    if not blocks:
        raise ValueError(f"{path} has a header but no rows")
    encoded, lines = blocks[0]
    return Records(headers, parsed(encoded, separator), separator, lines)


@contextmanager
def long_cells() -> Iterator[None]:
    """Let Python's csv reader take cells of any length."""
    before = csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def parsed(body: bytes, separator: str) -> pl.DataFrame:
    """Return the cells of records without a header, as columns of text.

    A type that polars infers would lose how a cell was written.
    """
    return pl.read_csv(body, separator=separator, infer_schema=False, has_header=False)


def header(text: str, separator: str) -> tuple[tuple[str, ...], str, int]:
    """Return the cells of the first record that is not blank, the text after it, and the number of its lines."""
    n_taken = _SNIFFED_CHARACTERS
    while True:  # a header may be long, and a text need not be copied for it
        lines = io.StringIO(text[:n_taken], newline="").readlines()
        reader = csv.reader(iter(lines), delimiter=separator)
        record = next((record for record in reader if record), [])
        n_read = sum(map(len, lines[: reader.line_num]))
        if n_read < n_taken or n_taken >= len(text):
            return tuple(record), text[n_read:], reader.line_num
        n_taken *= 4


def sniffed_separator(text: str) -> str:
    """Return the separator for which most of the first records have as many cells as the header."""

    def agreement(separator: str) -> tuple[float, int]:
        lines = io.StringIO(text[:_SNIFFED_CHARACTERS], newline="")
        records = [record for record in islice(csv.reader(lines, delimiter=separator), _SNIFFED_RECORDS) if record]
        width = len(records[0])
        return (sum(len(record) == width for record in records) / len(records) if width > 1 else 0.0, width)

    return max(SEPARATORS, key=agreement)


def rectangle(body: bytes, separator: str, width: int, first_line: int) -> tuple[pl.DataFrame, Sequence[int]] | None:
    """Return records and the line in which each of them starts, or None if a record has not `width` cells.

    The body is parsed in pieces, so that Ctrl-C need not wait for the whole body.
    """
    frames: list[pl.DataFrame] = []
    lines: list[Sequence[int]] = []
    start, line = 0, first_line
    while start < len(body):
        piece = _piece(body, start)
        of_piece = _lines_of_rectangle(piece, separator, width, line)
        if of_piece is None:
            return None
        try:
            frames.append(parsed(piece, separator))
        except pl.exceptions.PolarsError:
            return None
        if frames[-1].shape != (len(of_piece), width):
            return None
        lines.append(of_piece)
        start += len(piece)
        line += piece.count(b"\n")
    n_rows = sum(map(len, lines))
    if all(isinstance(of_piece, range) for of_piece in lines):
        return pl.concat(frames), range(first_line, first_line + n_rows)
    return pl.concat(frames), list(chain.from_iterable(lines))


def _piece(body: bytes, start: int) -> bytes:
    """Return whole records from a place on, of about `_PIECE` bytes."""
    n_bytes = _PIECE
    while start + n_bytes < len(body):
        piece = body[start : start + n_bytes]
        if end := last_end(piece) + 1:
            return piece[:end]
        n_bytes *= 2
    return body[start:]


def last_end(data: bytes) -> int:
    """Return the place of the last line end outside quotes, or −1."""
    if b'"' not in data:
        return data.rfind(b"\n")
    codes = np.frombuffer(data, dtype=np.uint8)
    is_inside = np.logical_xor.accumulate(codes == ord('"'))
    (ends,) = np.nonzero((codes == ord("\n")) & ~is_inside)
    return int(ends[-1]) if ends.size else -1


def _lines_of_rectangle(body: bytes, separator: str, width: int, first_line: int) -> Sequence[int] | None:
    """Return the line in which each record starts, or None if a record has not `width` cells.

    Separators and line ends within quotes do not count.
    """
    data = np.frombuffer(body, dtype=np.uint8)
    (all_ends,) = np.nonzero(data == ord("\n"))
    (separators,) = np.nonzero(data == ord(separator))
    ends = all_ends
    if b'"' in body:
        outside = data == ord('"')
        np.logical_xor.accumulate(outside, out=outside)
        np.logical_not(outside, out=outside)
        if not outside[-1]:
            return None
        ends, separators = all_ends[outside[all_ends]], separators[outside[separators]]
    n_records = ends.size + (data[-1] != ord("\n"))
    n_separators = np.bincount(np.searchsorted(ends, separators), minlength=n_records)
    if np.any(n_separators != width - 1):
        return None
    if width == 1 and re.search(rb"^\r?$", body.removesuffix(b"\n"), re.MULTILINE):  # blank lines are no records
        return None
    if all_ends.size == ends.size:
        return range(first_line, first_line + n_records)
    starts = np.concatenate([[0], ends + 1])[:n_records]
    return (first_line + np.searchsorted(all_ends, starts)).tolist()  # type: ignore[no-any-return]


def repaired(
    given: Iterable[str],
    separator: str,
    width: int,
    first_line: int,
    path: Path,
    notices: list[str],
    n_rows: int = sys.maxsize,
) -> Iterator[tuple[bytes, list[int]]]:
    """Return records without blank lines, stray quotes and empty extra cells, and with short rows filled up.

    Parameters
    ----------
    given : iterable of str
        The lines of the table below its header, each with its end.
    separator : str
    width : int
        Cells of the header.
    first_line : int
        Line of the file in which the first record starts.
    path : Path
        Named in messages.
    notices : list of str
        A sentence is added after the last record if rows are filled up.
    n_rows : int, default all
        Rows of one block.

    Yields
    ------
    bytes, list of int
        A block of records, and the line in which each of them starts.
    """
    reader = csv.reader(chain(given, [_END]), delimiter=separator)
    block = io.StringIO(newline="")
    writer = csv.writer(block, delimiter=separator, lineterminator="\n")
    lines: list[int] = []
    n_short, first_short, line = 0, 0, first_line
    try:
        for record in reader:
            if record == [_END]:
                break
            start, line = line, first_line + reader.line_num
            if not record:
                continue
            if len(record) > width and any(cell.strip() for cell in record[width:]):
                raise ValueError(f"{path}: line {start} has {len(record)} cells, where the header has {width}")
            if len(record) < width:
                n_short, first_short = n_short + 1, first_short or start
            writer.writerow((record + [""] * width)[:width])
            lines.append(start)
            if len(lines) == n_rows:
                yield block.getvalue().encode(), lines
                lines = []
                block.seek(0)
                block.truncate()
        else:
            raise ValueError(f"{path}: a quote is opened in line {start} and never closed")
    except csv.Error as error:
        line = first_line + reader.line_num - 1
        raise ValueError(f"{path}: line {line} cannot be read ({error})") from None
    if n_short:
        rows = "1 row has" if n_short == 1 else f"{n_short} rows have"
        notices.append(
            f"{rows} fewer cells than the header (the first is line {first_short}); their other cells are missing"
        )
    if lines:
        yield block.getvalue().encode(), lines
