"""A text table in blocks of rows, each small enough to hold in memory, with the records of the whole table.

May import the files that read bytes and records. It must not know numbers, dates or models.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import polars as pl

from fastbp.tables.decoding import encoding_of
from fastbp.tables.loading import Report, Source
from fastbp.tables.records import header, last_end, long_cells, parsed, rectangle, repaired, sniffed_separator

BLOCK_BYTES = 1 << 22  # of text in one block; a smaller table is one block
BLOCK_ROWS = 114 * 144  # 16,416: a network predicts 144 rows at once, and the last rows of a call may round otherwise

_SNIFFED = 1 << 16  # characters, at least, that decide the separator
_LONGEST = 1 << 26  # bytes of a record; a longer one is the work of a stray quote
_FIRST = 1 << 12

Block = tuple[pl.DataFrame, Sequence[int]]  # its cells, and the line in which each row starts


class NotInBlocksError(Exception):
    """A table gives the right answer only if it is read as a whole. The message says why."""


class NotRectangularError(Exception):
    """A record has too many or too few cells, or a quote stands within a cell."""


@dataclass(frozen=True)
class Layout:
    r"""What stands before the first row of a text table.

    Attributes
    ----------
    headers : tuple of str
        As the file writes them.
    separator : str
    line_end : {"\n", "\r\n"}
    preamble : str
        The byte-order mark and the line ``sep=;``.
    start : int
        Characters before the first row, without the byte-order mark.
    first_line : int
        The line in which the first row starts.
    """

    headers: tuple[str, ...]
    separator: str
    line_end: str
    preamble: str
    start: int
    first_line: int


def layout_of(source: Source) -> Layout:
    """Return the layout of a text table.

    Raises
    ------
    NotInBlocksError
        If the file is no text in Unicode, is smaller than a block, or shows its layout only as a whole.
    """
    given = source.pieces(BLOCK_BYTES, _nobody)
    start = _start(given)
    if len(start) <= BLOCK_BYTES and next(given, None) is None:
        raise NotInBlocksError("it is small")
    if start.startswith(b"PAR1") or re.match(rb"(\xef\xbb\xbf)?\s*\[?\s*\{\s*[\"}]", start):
        raise NotInBlocksError("JSON is one text")
    encoding = encoding_of(start[:_FIRST])
    texts = _texts(source, _nobody)
    text = ""
    while len(text) < _SNIFFED and (more := next(texts, None)) is not None:
        text += more
    if encoding is None or not text.strip():
        raise NotInBlocksError("it starts with no table")
    if "\n" not in text:
        raise NotInBlocksError("its first line is long, or ends by a carriage return alone")
    preamble = "\ufeff" if encoding[1] else ""
    announced = re.match(r"sep=([,;\t|])\r?\n", text)  # a first line that Excel writes
    line_end = "\r\n" if re.match(r"[^\n]*\r\n", text) else "\n"
    body = text[announced.end() :] if announced else text
    with long_cells():
        separator = announced[1] if announced else sniffed_separator(body)
        headers, rest, n_lines = header(body, separator)
    if not rest:
        raise NotInBlocksError("its header is long")
    first_line = 1 + n_lines + (announced is not None)
    preamble += announced[0] if announced else ""
    return Layout(headers, separator, line_end, preamble, len(text) - len(rest), first_line)


def blocks_of(source: Source, layout: Layout, is_repaired: bool, notices: list[str], report: Report) -> Iterator[Block]:
    """Return the rows of a text table in blocks of `BLOCK_ROWS`. All columns are text, under other names.

    Parameters
    ----------
    source : Source
    layout : Layout
    is_repaired : bool
        Whether the table is no rectangle, so that Python's csv reader has to repair its records.
    notices : list of str
        A sentence is added after the last block if rows are filled up.
    report : function of two integers
        Is told how many bytes of the file are read, and its size.

    Raises
    ------
    NotInBlocksError
        If the file is not Unicode throughout.
    NotRectangularError
        If the table is no rectangle and `is_repaired` is False.
    ValueError
        If the file is damaged, or a record is too long. The message names the line.
    """
    texts = _body(source, layout, report)
    found = _repaired(source, layout, texts, notices) if is_repaired else _rectangles(texts, layout)
    held: list[pl.DataFrame] = []
    held_lines: list[int] = []
    for cells, lines in found:
        held.append(cells)
        held_lines += lines
        if len(held_lines) < BLOCK_ROWS:
            continue
        joined = pl.concat(held)
        n_whole = joined.height // BLOCK_ROWS * BLOCK_ROWS
        for row in range(0, n_whole, BLOCK_ROWS):
            yield joined[row : row + BLOCK_ROWS], held_lines[row : row + BLOCK_ROWS]
        held, held_lines = [joined[n_whole:]], held_lines[n_whole:]
    if held_lines:
        yield pl.concat(held), held_lines


def _repaired(source: Source, layout: Layout, texts: Iterator[str], notices: list[str]) -> Iterator[Block]:
    width = len(layout.headers)
    lines = _lines(texts)
    found = repaired(lines, layout.separator, width, layout.first_line, source.path, notices, BLOCK_ROWS)
    while True:
        with long_cells():  # not while the block is used
            block = next(found, None)
        if block is None:
            return
        yield parsed(block[0], layout.separator), block[1]


def _nobody(done: int, total: int) -> None:
    """Take a report that nobody wants."""


def _start(pieces: Iterator[bytes]) -> bytes:
    start = b""
    while len(start) < _FIRST and (piece := next(pieces, None)) is not None:
        start += piece
    return start


def _texts(source: Source, report: Report) -> Iterator[str]:
    """Return the text of a file in pieces, without its byte-order mark and without what only ends it."""
    pieces = source.pieces(BLOCK_BYTES, report)
    start = _start(pieces)
    encoding, mark = encoding_of(start[:_FIRST]) or ("utf-8", b"")
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    held = ""  # line ends and 0x1a, which ends a file of DOS, are dropped if nothing follows them
    try:
        for piece in chain([start[len(mark) :]], pieces):
            if encoding == "utf-8" and b"\0" in piece:
                raise NotInBlocksError("it holds a zero byte")
            text = held + decoder.decode(piece)
            kept = text.rstrip("\x1a\r\n")
            held = text[len(kept) :]
            yield kept.replace("\r\r\n", "\r\n")
        text = held + decoder.decode(b"", True)
    except UnicodeDecodeError:
        raise NotInBlocksError(f"it is not {encoding.upper()} throughout") from None
    yield text.rstrip("\x1a").rstrip("\r\n").replace("\r\r\n", "\r\n")


def _body(source: Source, layout: Layout, report: Report) -> Iterator[str]:
    n_before = layout.start
    for text in _texts(source, report):
        body = text[n_before:]
        n_before -= len(text) - len(body)
        for place in range(0, len(body), BLOCK_BYTES):
            yield body[place : place + BLOCK_BYTES]


def _rectangles(texts: Iterator[str], layout: Layout) -> Iterator[Block]:
    line, rest = layout.first_line, b""
    for text in texts:
        rest += text.encode()
        end = last_end(rest) + 1
        if end == 0 and len(rest) > _LONGEST:
            raise NotRectangularError
        if end:
            yield _rectangle(rest[:end], layout, line)
            line += rest.count(b"\n", 0, end)
            rest = rest[end:]
    if rest:
        yield _rectangle(rest, layout, line)


def _rectangle(body: bytes, layout: Layout, line: int) -> Block:
    found = rectangle(body, layout.separator, len(layout.headers), line)
    if found is None:
        raise NotRectangularError
    return found


def _lines(texts: Iterator[str]) -> Iterator[str]:
    """Return the lines of a text, each with its end, as Python's csv reader wants them."""
    rest = ""
    for text in texts:
        lines = io.StringIO(rest + text, newline="").readlines()
        rest = lines.pop() if lines else ""
        yield from lines
    if rest:
        yield from io.StringIO(rest, newline="").readlines()
